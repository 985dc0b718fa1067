/* Any bytes as a response, in parts and known by one before it; the first byte says whether it
 * answers a HEAD. */
#include "tests/fuzz/http1_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct http1_trace_input input = {
        .bytes = {.data = (const char *)data + 1, .len = size - 1},
        .response = true,
        .reply_to_head = data[0] == 'h',
        .body_max_bytes = 4096,
    };
    http1_fuzz_splits(input);
    http1_fuzz_known(input);
    return 0;
}
