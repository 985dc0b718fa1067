/* Two callers' bodies, one after the other, with a byte of 0xFF between them: by the memory of the
 * first the second is read as if nothing had been read before. */
#include <stdlib.h>
#include <string.h>

#include "dataplane/llm/anthropic.h"
#include "dataplane/llm/openai.h"
#include "dataplane/llm/reading_memory.h"
#include "dataplane/llm/responses.h"
#include "tests/lib/call_same.h"

static void check(bool condition)
{
    if (!condition)
        abort();
}

static void read_both(const struct provider_adapter *adapter, struct json *json,
                      struct arena *arena, struct str first, struct str second)
{
    static struct reading_memory memory;
    static struct call call, known; /* Zeroed: what is compared as bytes is written, or 0. */
    struct call_refusal refusal;
    memset(&memory, 0, sizeof memory);
    (void)reading_memory_read(&memory, adapter, json, first, arena, &known, &refusal);
    const int rc = adapter->read_call(json, second, arena, &call, &refusal);
    if (reading_memory_known(&memory, adapter, json, second, arena, &known))
        check(rc == 0 && call_same(second, &call, &known));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct provider_adapter *const adapters[] = {&provider_openai, &provider_anthropic,
                                                              &provider_responses};
    const struct str input = {(const char *)data, size};
    struct str first, second;
    if (size == 0 || size > 1U << 16 ||
        !str_cut(str_slice(input, 1, size), '\xff', &first, &second))
        return 0;
    struct arena_pool pool;
    struct arena arena;
    struct json json;
    arena_pool_init(&pool, 8);
    arena_init(&arena, &pool, 8U << 20);
    json_init(&json, JSON_NODES_MAX);
    read_both(adapters[data[0] % 3], &json, &arena, first, second);
    json_deinit(&json);
    arena_reset(&arena);
    arena_pool_deinit(&pool);
    return 0;
}
