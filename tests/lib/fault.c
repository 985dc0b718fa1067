#include "tests/lib/fault.h"

#include "common/base/mem.h"

static unsigned left;
static bool fired;

static bool fail_when_counted_down(void)
{
    if (fired)
        return false;
    if (left-- > 0)
        return false;
    fired = true;
    return true;
}

void fault_arm_alloc(unsigned n)
{
    left = n;
    fired = false;
    mem_fail_hook = fail_when_counted_down;
}

bool fault_disarm(void)
{
    mem_fail_hook = NULL;
    return fired;
}
