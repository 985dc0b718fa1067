/* http1_fuzz.h: compares the splits of one message and bounds the memory it takes. */
#ifndef STEELYARD_TESTS_FUZZ_HTTP1_FUZZ_H
#define STEELYARD_TESTS_FUZZ_HTTP1_FUZZ_H

#include <stdlib.h>

#include "common/base/mem.h"
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

#endif
