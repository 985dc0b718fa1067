/* http1_trace.h: runs one message through the parsers of common/net/http1.h and writes down all
 * they said, so that two ways of splitting the same bytes can be compared as texts. */
#ifndef STEELYARD_TESTS_LIB_HTTP1_TRACE_H
#define STEELYARD_TESTS_LIB_HTTP1_TRACE_H

#include <stdbool.h>

#include "common/base/buf.h"
#include "common/base/str.h"

struct http1_trace_input {
    struct str bytes;
    bool response;
    bool reply_to_head;
    uint64_t body_max_bytes;
    /* Length of the next piece; NULL: everything at once. At least 1. */
    size_t (*next_piece)(void *arg);
    void *arg;
};

/* After the last byte the connection closes. Every head is parsed in an allocation of exactly its
 * size that moves with each piece. out is cleared first. */
void http1_trace(const struct http1_trace_input *input, struct buf *out);
size_t http1_trace_byte_by_byte(void *arg);

#endif
