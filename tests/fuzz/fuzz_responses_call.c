/* A caller's Responses body: whatever the bytes, it is refused with a reason or becomes a call
 * whose upstream body is JSON again with the provider's model and the clamp in it. */
#include <stdlib.h>
#include <string.h>

#include "dataplane/llm/responses.h"

static void check(bool condition)
{
    if (!condition)
        abort();
}

static void check_sent(struct json *json, const struct call *call, struct str body,
                       struct arena *arena)
{
    struct str pieces[PROVIDER_REQUEST_PIECES_MAX];
    struct call again;
    struct call_refusal refusal;
    struct buf sent;
    size_t count = 0;
    buf_init(&sent, 4U << 20);
    check(responses_write_call(call, body, STR("up"), arena, pieces, &count) == 0);
    check(count <= PROVIDER_REQUEST_PIECES_MAX);
    for (size_t i = 0; i < count; i++)
        check(buf_append_str(&sent, pieces[i]) == 0);
    int rc = responses_read_call(json, buf_str(&sent), arena, &again, &refusal);
    if (call->cut_count > 0) { /* Perhaps nothing is left. */
        check(rc == 0 ? again.cut_count == 0 : refusal.defect == CALL_MISSING_FIELD);
        buf_deinit(&sent);
        return;
    }
    check(rc == 0);
    check(str_is(again.model, "up"));
    check(again.stream == call->stream && again.messages == call->messages);
    check(again.tokens_in == call->tokens_in && str_eq(again.bound_to, call->bound_to));
    check(call->clamp_out == 0 || again.max_tokens == call->clamp_out);
    buf_deinit(&sent);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena_pool pool;
    struct arena arena;
    struct json json;
    struct call call;
    struct call_refusal refusal;
    struct str body = {(const char *)data, size};
    if (size > 1U << 20)
        return 0;
    arena_pool_init(&pool, 8);
    arena_init(&arena, &pool, 8U << 20);
    json_init(&json, JSON_NODES_MAX);
    int rc = responses_read_call(&json, body, &arena, &call, &refusal);
    if (rc == 0) {
        call.clamp_out = size % 3 == 0 ? 0 : (uint32_t)size;
        check_sent(&json, &call, body, &arena);
    } else {
        check(rc == ERR_INVALID && refusal.defect != CALL_OK);
    }
    json_deinit(&json);
    arena_reset(&arena);
    arena_pool_deinit(&pool);
    return 0;
}
