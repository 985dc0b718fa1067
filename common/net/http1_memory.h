/* http1_memory.h: heads that were parsed, so that the next like one need not be. A client sends the
 * same head with each request but for the length of the body, what names the request and, with
 * another key, the key; a server with each reply, but for the length, a date, ids and counts. What
 * a head means is a matter of its lines, of the fields that decide framing and of where values lie;
 * so one that is as a known head, but for the bytes of other values, which still are such as may
 * stand there, means the same, and its length is read anew. Nothing is kept of those values: no key
 * stays here (docs/decisions/0271).
 *
 * The result cannot be told from that of http1_head_parse. Belongs to one thread. */
#ifndef STEELYARD_COMMON_NET_HTTP1_MEMORY_H
#define STEELYARD_COMMON_NET_HTTP1_MEMORY_H

#include "common/net/http1.h"

#define HTTP1_MEMORY_HEADS 4U
#define HTTP1_MEMORY_BYTES 1024U /* A longer head is not remembered. */

struct http1_known {
    uint32_t len; /* 0: none. */
    uint16_t length_at;
    uint16_t length_len; /* Digits of the body's length; 0: they are as they are. */
    /* free: 0xFF where any byte may stand that is no control byte and at least that of text; else
     * it is that of text. */
    uint8_t text[HTTP1_MEMORY_BYTES];
    uint8_t free[HTTP1_MEMORY_BYTES];
    struct http1_head head; /* Its slices are of the text. */
};

/* Zeroed: empty. Of requests, or of replies; not of both. */
struct http1_memory {
    uint32_t last;   /* Is looked at first. */
    uint32_t next;   /* Makes room for the next. */
    uint32_t missed; /* Heads that were not known. */
    struct http1_known known[HTTP1_MEMORY_HEADS];
};

/* As http1_head_parse. Replies to HEAD are neither known nor remembered. */
enum http1_result http1_head_parse_known(struct http1_memory *m, struct http1_head *h,
                                         const char *data, size_t len);

/* Are the first known->len bytes of data such a head? By the widest instructions that the processor
 * has; for tests each way. NULL: not on this processor. */
enum http1_way { HTTP1_WAY_SCALAR, HTTP1_WAY_SSE2, HTTP1_WAY_AVX512, HTTP1_WAYS };
typedef bool (*http1_alike_fn)(const struct http1_known *known, const uint8_t *data);
http1_alike_fn http1_alike_of(enum http1_way way);
extern http1_alike_fn http1_alike_best; /* Set before main. */

#endif
