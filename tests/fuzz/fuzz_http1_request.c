/* Any bytes as a request: whole, byte by byte and in random pieces must say the same; the scans of
 * sixteen bytes must find what the scalar ones find, from every byte on; and where it is remembered
 * it must be known, with a byte changed, for what it then is. */
#include "common/net/http1_scan.h"
#include "tests/fuzz/http1_fuzz.h"

#define SCANNED_BYTES_MAX 512U

static void compare_scans(const char *data, size_t size)
{
    for (size_t at = 0; at <= size; at++)
        if (http1_scan_control(data, at, size) != http1_scan_control_scalar(data, at, size) ||
            http1_scan_name(data, at, size) != http1_scan_name_scalar(data, at, size) ||
            http1_scan_path(data, at, size) != http1_scan_path_scalar(data, at, size))
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http1_trace_input input = {
        .bytes = {.data = (const char *)data, .len = size},
        .body_max_bytes = 4096,
    };
    compare_scans((const char *)data, size < SCANNED_BYTES_MAX ? size : SCANNED_BYTES_MAX);
    http1_fuzz_splits(input);
    http1_fuzz_known(input);
    return 0;
}
