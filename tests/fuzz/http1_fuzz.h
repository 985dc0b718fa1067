/* http1_fuzz.h: compares the splits of one message and bounds the memory it takes; and heads that
 * are known with the same ones parsed. */
#ifndef STEELYARD_TESTS_FUZZ_HTTP1_FUZZ_H
#define STEELYARD_TESTS_FUZZ_HTTP1_FUZZ_H

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/net/http1_memory.h"
#include "tests/lib/http1_trace.h"

#define HTTP1_FUZZ_BYTEWISE_MAX 4096U

static inline size_t http1_fuzz_piece(void *arg)
{
    uint32_t *x = arg; /* xorshift32: the same pieces for the same input. */
    *x ^= *x << 13;
    *x ^= *x >> 17;
    *x ^= *x << 5;
    return 1 + *x % 97;
}

static inline void http1_fuzz_splits(struct http1_trace_input input)
{
    struct buf whole;
    struct buf split;
    uint64_t live = mem_live_bytes();
    uint32_t seed = 2463534242U + (uint32_t)input.bytes.len;
    buf_init(&whole, 16U << 20);
    buf_init(&split, 16U << 20);
    http1_trace(&input, &whole);
    input.next_piece = http1_fuzz_piece;
    input.arg = &seed;
    http1_trace(&input, &split);
    if (!str_eq(buf_str(&whole), buf_str(&split)))
        abort();
    if (input.bytes.len <= HTTP1_FUZZ_BYTEWISE_MAX) {
        input.next_piece = http1_trace_byte_by_byte;
        http1_trace(&input, &split);
        if (!str_eq(buf_str(&whole), buf_str(&split)))
            abort();
    }
    if (whole.len > 10 * input.bytes.len + 4096)
        abort();
    buf_deinit(&whole);
    buf_deinit(&split);
    if (mem_live_bytes() != live)
        abort();
}

static inline void http1_fuzz_begin(struct http1_head *h, const struct http1_trace_input *input)
{
    if (input->response)
        http1_response_init(h, input->reply_to_head ? HTTP1_HEAD : HTTP1_GET);
    else
        http1_request_init(h);
}

static inline void http1_fuzz_as_parsed(struct http1_memory *m,
                                        const struct http1_trace_input *input, const char *data)
{
    const size_t size = input->bytes.len;
    struct http1_head plain, known;
    http1_fuzz_begin(&plain, input);
    http1_fuzz_begin(&known, input);
    const enum http1_result result = http1_head_parse(&plain, data, size);
    if (http1_head_parse_known(m, &known, data, size) != result || plain.reason != known.reason)
        abort();
    if (result == HTTP1_DONE &&
        (plain.head_bytes != known.head_bytes || plain.content_length != known.content_length ||
         plain.body_kind != known.body_kind || plain.keep_alive != known.keep_alive ||
         plain.expect_continue != known.expect_continue || plain.names != known.names ||
         plain.path.data != known.path.data || plain.path.len != known.path.len ||
         plain.host.data != known.host.data || plain.host.len != known.host.len ||
         plain.status != known.status || plain.phrase.data != known.phrase.data ||
         plain.phrase.len != known.phrase.len || plain.body_encoded != known.body_encoded ||
         plain.field_count != known.field_count || plain.line_at != known.line_at ||
         memcmp(plain.fields, known.fields, plain.field_count * sizeof plain.fields[0]) != 0))
        abort();
}

/* Where it is remembered it must be known, with a byte changed, for what it then is. */
static inline void http1_fuzz_known(struct http1_trace_input input)
{
    static struct http1_memory m;
    static const char others[] = {' ', 'x', '0', '\r', 0x7F};
    const size_t size = input.bytes.len;
    char *copy = mem_alloc(size + 1);
    if (copy == NULL)
        abort();
    memset(&m, 0, sizeof m);
    http1_fuzz_as_parsed(&m, &input, input.bytes.data);
    for (size_t i = 0; i < size; i += 1 + size / 64) {
        memcpy(copy, input.bytes.data, size);
        copy[i] = others[i % sizeof others];
        http1_fuzz_as_parsed(&m, &input, copy);
        http1_fuzz_as_parsed(&m, &input, input.bytes.data);
    }
    mem_free(copy);
}

#endif
