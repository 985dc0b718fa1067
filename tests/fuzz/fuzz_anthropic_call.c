/* A caller's Messages body, in every way that call_fuzz.h looks at it: with a clamp, and without
 * what we sealed. */
#include "dataplane/llm/anthropic.h"
#include "tests/fuzz/call_fuzz.h"

static void check_sent(struct tried *t, struct str body)
{
    const struct call *call = &t->call;
    struct call again;
    struct call_refusal refusal;
    t->call.clamp_out = body.len % 3 == 0 ? 77 : 0;
    check(send_again(&provider_anthropic, t, body, &again, &refusal) == 0);
    check(again.max_tokens == (call->clamp_out != 0 ? 77 : call->max_tokens));
    check(call->clamp_out == 0 || again.think[CALL_THINK_THINKING].tokens < 77);
    check(again.stream == call->stream && again.messages <= call->messages);
    check(call->sealed || again.messages == call->messages);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return try_call(&provider_anthropic, (struct str){(const char *)data, size}, check_sent);
}
