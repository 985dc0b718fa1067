/* A caller's chat completion body, in every way that call_fuzz.h looks at it. */
#include "dataplane/llm/openai.h"
#include "tests/fuzz/call_fuzz.h"

static void check_sent(struct tried *t, struct str body)
{
    struct call again;
    struct call_refusal refusal;
    check(send_again(&provider_openai, t, body, &again, &refusal) == 0);
    check(again.stream == t->call.stream && again.messages == t->call.messages);
    check(!again.stream || again.include_usage);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return try_call(&provider_openai, (struct str){(const char *)data, size}, check_sent);
}
