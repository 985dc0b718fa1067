/* A caller's chat completion body, in every way that call_fuzz.h looks at it: with a clamp, too. */
#include "dataplane/llm/openai.h"
#include "tests/fuzz/call_fuzz.h"

static void check_sent(struct tried *t, struct str body)
{
    struct call again;
    struct call_refusal refusal;
    t->call.clamp_out = body.len % 3 == 0 ? 2 * (uint32_t)body.len : 0;
    t->call.think_least = body.len % 2 == 0 ? 100 : 0;
    check(send_again(&provider_openai, t, body, &again, &refusal) == 0);
    check(again.stream == t->call.stream && again.messages == t->call.messages);
    check(!again.stream || again.include_usage);
    if (t->call.clamp_out == 0)
        return;
    check(again.max_tokens == t->call.clamp_out);
    for (int way = 0; way < CALL_THINKS; way++)
        check(again.think[way].tokens < t->call.clamp_out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return try_call(&provider_openai, (struct str){(const char *)data, size}, check_sent);
}
