#include "tests/unit/dataplane/node/replies.h"

#include <string.h>

#include "common/base/buf.h"
#include "tests/lib/fault.h"

#define KEPT 8

static struct buf made[KEPT];
static size_t made_count;

const char *replies_make(const char *head, const char *text, const char *tail)
{
    struct buf *b = &made[made_count++ % KEPT];
    buf_deinit(b);
    buf_init(b, 64U << 20);
    assert_int_equal(buf_printf(b, "%s%zx\r\n%s\r\n%s", head, strlen(text), text, tail), 0);
    return buf_cstr(b);
}

const char *replies_whole(void)
{
    return replies_make(JSON_HEAD "Transfer-Encoding: chunked\r\n\r\n", WHOLE, "0\r\n\r\n");
}

const char *replies_stream(const char *events)
{
    return replies_make(SSE_HEAD, events, "0\r\n\r\n");
}

void replies_free(void)
{
    for (size_t i = 0; i < KEPT; i++)
        buf_deinit(&made[i]);
}
