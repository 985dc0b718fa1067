/* Any bytes as a request: whole, byte by byte and in random pieces must say the same; the scans of
 * sixteen bytes must find what the scalar ones find, from every byte on; and where it is remembered
 * it must be known, with a byte changed, for what it then is. */
#include <string.h>

#include "common/net/http1_memory.h"
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

static void compare_known(struct http1_memory *m, const char *data, size_t size)
{
    struct http1_head plain, known;
    http1_request_init(&plain);
    http1_request_init(&known);
    const enum http1_result result = http1_head_parse(&plain, data, size);
    if (http1_head_parse_known(m, &known, data, size) != result || plain.reason != known.reason)
        abort();
    if (result == HTTP1_DONE &&
        (plain.head_bytes != known.head_bytes || plain.content_length != known.content_length ||
         plain.body_kind != known.body_kind || plain.keep_alive != known.keep_alive ||
         plain.expect_continue != known.expect_continue || plain.names != known.names ||
         plain.path.data != known.path.data || plain.path.len != known.path.len ||
         plain.host.data != known.host.data || plain.host.len != known.host.len ||
         plain.field_count != known.field_count || plain.line_at != known.line_at ||
         memcmp(plain.fields, known.fields, plain.field_count * sizeof plain.fields[0]) != 0))
        abort();
}

static void compare_changed(const char *data, size_t size)
{
    static struct http1_memory m;
    static const char others[] = {' ', 'x', '0', '\r', 0x7F};
    char *copy = mem_alloc(size + 1);
    if (copy == NULL)
        abort();
    memset(&m, 0, sizeof m);
    compare_known(&m, data, size);
    for (size_t i = 0; i < size; i += 1 + size / 64) {
        memcpy(copy, data, size);
        copy[i] = others[i % sizeof others];
        compare_known(&m, copy, size);
        compare_known(&m, data, size);
    }
    mem_free(copy);
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
    compare_changed((const char *)data, size);
    return 0;
}
