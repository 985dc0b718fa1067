/* Any bytes as an event stream: whole, byte by byte and in random pieces give the same events, the
 * raw spans joined are the input, and memory stays within a few times the largest event. */
#include <stdlib.h>

#include "common/net/sse.h"

#define EVENT_BYTES_MAX 512U
#define BYTEWISE_MAX    8192U

static void check(int rc)
{
    if (rc != 0)
        abort();
}

static void note(const struct sse_event *e, struct buf *out, struct buf *raw)
{
    check(buf_append_str(raw, e->raw));
    check(buf_printf(out, "raw %zu data %d(%.*s) name %d(%.*s) id %d(%.*s) retry %d %llu %d %d\n",
                     e->raw.len, e->has_data, STR_ARG(e->data), e->name.data != NULL,
                     STR_ARG(e->name), e->id.data != NULL, STR_ARG(e->id), e->has_retry,
                     (unsigned long long)e->retry_ms, e->has_comment, e->cut));
}

static int run(struct str bytes, unsigned piece_max, struct buf *out, struct buf *raw)
{
    struct sse_reader r;
    struct sse_event e;
    uint32_t x = 88172645U;
    sse_reader_init(&r, EVENT_BYTES_MAX);
    for (size_t at = 0; at < bytes.len && sse_reader_status(&r) == 0;) {
        x = x * 1664525U + 1013904223U;
        size_t piece = piece_max == 0 ? bytes.len : 1 + (x >> 8) % piece_max;
        struct str in = str_slice(bytes, at, at + piece);
        at += in.len;
        while (sse_reader_next(&r, &in, &e))
            note(&e, out, raw);
        if (in.len != 0 && sse_reader_status(&r) == 0)
            abort();
    }
    if (sse_finish(&r, &e))
        note(&e, out, raw);
    int status = sse_reader_status(&r);
    if (r.pending.cap + r.joined.cap > 16 * EVENT_BYTES_MAX)
        abort();
    sse_reader_deinit(&r);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct str bytes = {.data = (const char *)data, .len = size};
    const unsigned pieces[] = {0, 1, 40};
    struct buf first;
    struct buf out;
    struct buf raw;
    int status = 0;
    buf_init(&first, 256U << 20);
    buf_init(&out, 256U << 20);
    buf_init(&raw, 256U << 20);
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        if (pieces[i] == 1 && size > BYTEWISE_MAX)
            continue;
        buf_clear(&out);
        buf_clear(&raw);
        int rc = run(bytes, pieces[i], i == 0 ? &first : &out, &raw);
        if (i == 0)
            status = rc;
        else if (rc != status || !str_eq(buf_str(&first), buf_str(&out)))
            abort();
        if (rc == 0 && !str_eq(buf_str(&raw), bytes))
            abort();
    }
    buf_deinit(&first);
    buf_deinit(&out);
    buf_deinit(&raw);
    return 0;
}
