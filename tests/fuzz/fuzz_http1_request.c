/* Any bytes as a request: whole, byte by byte and in random pieces must say the same. */
#include "tests/fuzz/http1_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http1_trace_input input = {
        .bytes = {.data = (const char *)data, .len = size},
        .body_max_bytes = 4096,
    };
    http1_fuzz_splits(input);
    return 0;
}
