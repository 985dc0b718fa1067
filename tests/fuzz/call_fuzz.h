/* call_fuzz.h: a caller's body of one dialect: whatever the bytes, it is refused with a reason or
 * becomes a call whose upstream body is read again. */
#ifndef STEELYARD_TESTS_FUZZ_CALL_FUZZ_H
#define STEELYARD_TESTS_FUZZ_CALL_FUZZ_H

#include <stdlib.h>
#include <string.h>

#include "dataplane/llm/provider.h"

struct tried {
    struct json json;
    struct arena arena;
    struct call call;
    struct buf sent; /* What went up: what is read of it borrows. */
};

static void check(bool condition)
{
    if (!condition)
        abort();
}

/* Sends the call up for the model "up" and reads that body as a caller's; what reading it says. */
static int send_again(const struct provider_adapter *adapter, struct tried *t, struct str body,
                      struct call *out_again, struct call_refusal *out_refusal)
{
    struct str pieces[PROVIDER_REQUEST_PIECES_MAX];
    size_t count = 0;
    check(adapter->write_call(&t->call, body, STR("up"), &t->arena, pieces, &count) == 0);
    check(count <= PROVIDER_REQUEST_PIECES_MAX);
    for (size_t i = 0; i < count; i++)
        check(buf_append_str(&t->sent, pieces[i]) == 0);
    int rc = adapter->read_call(&t->json, buf_str(&t->sent), &t->arena, out_again, out_refusal);
    check(rc != 0 || str_is(out_again->model, "up"));
    return rc;
}

/* accepted: what is true of a body that is taken. */
static int try_call(const struct provider_adapter *adapter, struct str body,
                    void (*accepted)(struct tried *t, struct str body))
{
    struct arena_pool pool;
    struct tried t;
    struct call_refusal refusal;
    if (body.len > 1U << 20)
        return 0;
    arena_pool_init(&pool, 8);
    arena_init(&t.arena, &pool, 8U << 20);
    json_init(&t.json, JSON_NODES_MAX);
    buf_init(&t.sent, 4U << 20);
    int rc = adapter->read_call(&t.json, body, &t.arena, &t.call, &refusal);
    if (rc == 0)
        accepted(&t, body);
    else
        check(rc == ERR_INVALID && refusal.defect != CALL_OK);
    json_deinit(&t.json);
    buf_deinit(&t.sent);
    arena_reset(&t.arena);
    arena_pool_deinit(&pool);
    return 0;
}

#endif
