#include "tests/lib/fault.h"

#include "common/base/mem.h"

static _Thread_local unsigned left;
static _Thread_local bool fired;
static _Thread_local unsigned suspended;

static bool fail_when_counted_down(void)
{
    if (fired || suspended > 0)
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

void fault_suspend(void)
{
    suspended++;
}

void fault_continue(void)
{
    suspended--;
}
