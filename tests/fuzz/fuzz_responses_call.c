/* A caller's Responses body, in every way that call_fuzz.h looks at it: with a clamp, and without
 * what is cut. */
#include "dataplane/llm/responses.h"
#include "tests/fuzz/call_fuzz.h"

static void check_sent(struct tried *t, struct str body)
{
    const struct call *call = &t->call;
    struct call again;
    struct call_refusal refusal;
    t->call.clamp_out = body.len % 3 == 0 ? 0 : (uint32_t)body.len;
    int rc = send_again(&provider_responses, t, body, &again, &refusal);
    if (call->cut_count > 0) { /* Perhaps nothing is left. */
        check(rc == 0 ? again.cut_count == 0 : refusal.defect == CALL_MISSING_FIELD);
        return;
    }
    check(rc == 0);
    check(again.stream == call->stream && again.messages == call->messages);
    check(again.tokens_in == call->tokens_in && str_eq(again.bound_to, call->bound_to));
    check(call->clamp_out == 0 || again.max_tokens == call->clamp_out);
    check(call->clamp_out == 0 || again.think[CALL_THINK_REASONING].tokens < call->clamp_out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return try_call(&provider_responses, (struct str){(const char *)data, size}, check_sent);
}
