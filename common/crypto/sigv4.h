/* sigv4.h: requests to AWS, signed with version 4 of its signature (AWS4-HMAC-SHA256). Pure: the
 * time is given. Source: "Create a signed AWS API request", IAM User Guide; checked against the
 * public test suite of version 4.
 *
 * The canonical request is never written down as a whole: it is hashed piece by piece, so signing
 * takes the memory of SIGV4_HEADERS_MAX names and no more. */
#ifndef STEELYARD_COMMON_CRYPTO_SIGV4_H
#define STEELYARD_COMMON_CRYPTO_SIGV4_H

#include <stdint.h>

#include "common/crypto/digest.h"

#define SIGV4_HEADERS_MAX  32U
#define SIGV4_QUERY_MAX    32U
#define SIGV4_SEGMENTS_MAX 64U
#define SIGV4_TIME_BYTES   17U   /* "20150830T123600Z" and the NUL. */
#define SIGV4_AUTH_BYTES   1024U /* Room for any authorization that is written. */

struct sigv4_keys {
    struct str access_key;
    struct str secret_key;
    struct str token; /* Of a session; empty: none. The caller sends it as x-amz-security-token. */
};

struct sigv4_field {
    struct str name;
    struct str value;
};

struct sigv4_request {
    struct str method;
    struct str path;  /* As it is sent: percent-encoded once, begins with '/'; empty is "/". */
    struct str query; /* As it is sent, without '?'. */
    const struct sigv4_field *fields; /* All of them are signed; host and x-amz-date among them. */
    size_t field_count;
    struct sha256 payload;
};

/* Of a body in pieces. ERR_NOMEM. */
int sigv4_payload(const struct str *pieces, size_t count, struct sha256 *out) MUST_CHECK;

/* "20150830T123600Z" of a wall clock. */
void sigv4_time(int64_t wall_s, char out[SIGV4_TIME_BYTES]);

/* The value of the authorization field, appended to out (SIGV4_AUTH_BYTES are enough: else
 * ERR_TOO_LARGE). time: as x-amz-date has it. ERR_INVALID: more fields, parameters or segments of a
 * path than there is room for; ERR_NOMEM. */
int sigv4_sign(const struct sigv4_request *request, const struct sigv4_keys *keys,
               struct str region, struct str service, const char time[SIGV4_TIME_BYTES],
               struct buf *out) MUST_CHECK;

/* The canonical request as text: what a receiver that disagrees is to be compared with. */
int sigv4_print_canonical(const struct sigv4_request *request, struct buf *out) MUST_CHECK;

#endif
