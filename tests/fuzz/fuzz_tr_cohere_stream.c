/* What Cohere's v2 chat answers, in every way that tr_stream_fuzz.h looks at it. */
#include "tests/fuzz/tr_stream_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return try_stream(DIALECT_COHERE, (struct str){(const char *)data, size});
}
