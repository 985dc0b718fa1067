/* http1_internal.h: what the files that parse heads share. Not for other modules. */
#ifndef STEELYARD_COMMON_NET_HTTP1_INTERNAL_H
#define STEELYARD_COMMON_NET_HTTP1_INTERNAL_H

#include "common/net/http1.h"

/* Of struct http1_head.flags. */
enum head_flag {
    SEEN_HOST = 1,
    SEEN_LENGTH = 2,
    SEEN_CODING = 4,
    SAYS_CLOSE = 8,
    SKIPPED_BLANK_LINE = 16,
    SEEN_ABSOLUTE = 32,
};

extern const char http1_root_path[]; /* The path of a target that has none: no slice of the head. */

/* A whole line without its CRLF. */
enum http1_reason http1_parse_request_line(struct http1_head *h, struct str line);
enum http1_reason http1_parse_status_line(struct http1_head *h, struct str line);

/* Does the value of such a field decide framing or reuse? The name is a token. */
bool http1_is_noted(struct str name);

#endif
