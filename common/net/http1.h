/* http1.h: strict HTTP/1.1 messages (RFC 9112), bytes in, facts out.
 *
 * Pure: no I/O, no clock, no allocation. A head is parsed in the caller's buffer: call again with
 * the same bytes and more behind them until it is complete; no byte is looked at twice, the result
 * is the same for any split, and the buffer may move between calls. What a field means for framing
 * is decided here, once; what is doubtful is refused (RELIABILITY B1-B8). Bodies are decoded in
 * place. Not thread-safe; one parser belongs to one connection. */
#ifndef STEELYARD_COMMON_NET_HTTP1_H
#define STEELYARD_COMMON_NET_HTTP1_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"

#define HTTP1_LINE_BYTES_MAX            8192U
#define HTTP1_REQUEST_HEAD_BYTES_MAX    32768U
#define HTTP1_RESPONSE_HEAD_BYTES_MAX   65536U
#define HTTP1_FIELDS_MAX                100U
#define HTTP1_INTERIM_MAX               8U /* 1xx responses before the real one. */
#define HTTP1_CHUNK_EXTENSION_BYTES_MAX 256U
#define HTTP1_TRAILER_BYTES_MAX         8192U

/* X(name, status, closes, text). status: the answer to a request (for a response every reason is a
 * failed exchange). closes: the connection cannot be used again after that answer. The text is
 * fixed and safe to send: it never holds input. */
#define HTTP1_REASON_TABLE(X)                                                                      \
    X(NONE, 200, false, "no fault")                                                                \
    X(BAD_BYTE, 400, true, "control byte, bare CR or bare LF in the head")                         \
    X(BAD_REQUEST_LINE, 400, true, "malformed request line")                                       \
    X(BAD_STATUS_LINE, 400, true, "malformed status line")                                         \
    X(BAD_TARGET, 400, true, "malformed request target")                                           \
    X(TARGET_USERINFO, 400, true, "user information in the request target")                        \
    X(TARGET_OTHER_HOST, 400, true, "request target and Host differ")                              \
    X(FOLDED_LINE, 400, true, "folded header line")                                                \
    X(BAD_FIELD_NAME, 400, true, "malformed header field name")                                    \
    X(HOST_MISSING, 400, true, "Host header missing")                                              \
    X(HOST_REPEATED, 400, true, "Host header repeated")                                            \
    X(BAD_HOST, 400, true, "malformed Host header")                                                \
    X(LENGTH_AND_CODING, 400, true, "both Content-Length and Transfer-Encoding")                   \
    X(LENGTH_REPEATED, 400, true, "Content-Length repeated")                                       \
    X(BAD_LENGTH, 400, true, "malformed Content-Length")                                           \
    X(BAD_CODING, 400, true, "Transfer-Encoding other than chunked")                               \
    X(BAD_CHUNK_SIZE, 400, true, "malformed chunk size")                                           \
    X(BAD_CHUNK_EXTENSION, 400, true, "malformed or long chunk extension")                         \
    X(BAD_CHUNK_END, 400, true, "chunk data not followed by CRLF")                                 \
    X(BAD_TRAILER, 400, true, "malformed or long trailer")                                         \
    X(BAD_BOUNDARY, 400, true, "malformed multipart boundary")                                     \
    X(CUT_SHORT, 400, true, "message ended too early")                                             \
    X(METHOD_UNKNOWN, 405, true, "method not allowed")                                             \
    X(HEAD_TIMEOUT, 408, true, "request head took too long")                                       \
    X(BODY_TIMEOUT, 408, true, "request body took too long")                                       \
    X(BODY_TOO_LARGE, 413, true, "request body too large")                                         \
    X(LINE_TOO_LONG, 414, true, "request line too long")                                           \
    X(BODY_ENCODED, 415, false, "compressed request body")                                         \
    X(BAD_CONTENT_TYPE, 415, false, "unsupported content type")                                    \
    X(EXPECTATION, 417, true, "unsupported expectation")                                           \
    X(FIELD_TOO_LONG, 431, true, "header field too long")                                          \
    X(HEAD_TOO_LARGE, 431, true, "message head too large")                                         \
    X(FIELDS_TOO_MANY, 431, true, "too many header fields")                                        \
    X(INTERIM_TOO_MANY, 400, true, "too many interim responses")                                   \
    X(BAD_VERSION, 505, true, "HTTP version not supported")

enum http1_reason {
#define X(name, status, closes, text) HTTP1_REASON_##name,
    HTTP1_REASON_TABLE(X)
#undef X
        HTTP1_REASON_COUNT
};

unsigned http1_reason_status(enum http1_reason reason);
bool http1_reason_closes(enum http1_reason reason);
const char *http1_reason_text(enum http1_reason reason);
const char *http1_reason_name(enum http1_reason reason); /* "BAD_BYTE": for metrics and logs. */
/* "Not Found"; "Unknown" for a status outside the registry. Static. */
const char *http1_status_text(unsigned status);

enum http1_method {
    HTTP1_GET,
    HTTP1_HEAD,
    HTTP1_POST,
    HTTP1_PUT,
    HTTP1_PATCH,
    HTTP1_DELETE,
    HTTP1_OPTIONS,
};
const char *http1_method_name(enum http1_method method);

/* How the end of a body is found. */
enum http1_body_kind {
    HTTP1_BODY_NONE,   /* There is none. */
    HTTP1_BODY_LENGTH, /* content_length bytes. */
    HTTP1_BODY_CHUNKED,
    HTTP1_BODY_UNTIL_CLOSE, /* Responses only. */
};

/* Offsets from the head's first byte, so that a buffer that moves does no harm. */
struct http1_field {
    uint16_t name_at;
    uint16_t value_at;
    uint16_t name_len;
    uint16_t value_len;
};

enum http1_result {
    HTTP1_MORE,     /* Not complete: call again with more bytes. */
    HTTP1_DONE,     /* Head complete, or body ended. */
    HTTP1_DATA,     /* http1_body_next only: a piece of the body. */
    HTTP1_REJECTED, /* See .reason. Stays so. */
};

/* Parser and result in one; the caller embeds it. Read the members above "private" after HTTP1_DONE
 * only. Strings are slices of the buffer last passed (`base`): they live as long as that does;
 * after moving the buffer call http1_head_rebase. */
struct http1_head {
    enum http1_reason reason;
    uint32_t head_bytes; /* Up to and with the blank line; the body begins there. */
    uint8_t minor_version;
    bool keep_alive;      /* The connection may be used again after this exchange. */
    bool expect_continue; /* Request: send 100 before reading the body, once willing. */
    bool body_encoded;    /* Content-Encoding other than identity: BODY_ENCODED if it matters. */
    enum http1_body_kind body_kind;
    uint64_t content_length; /* For HTTP1_BODY_LENGTH. */
    /* Request only. */
    enum http1_method method;
    struct str target; /* As sent. */
    struct str path;   /* Raw, not decoded, not normalised; "*" for OPTIONS *. */
    struct str query;  /* After '?'; .data NULL when there is no '?'. */
    struct str host;   /* As sent; empty in HTTP/1.0 without Host. */
    /* Response only. */
    unsigned status;
    struct str phrase;
    unsigned interim_count; /* 1xx responses that were skipped. */

    uint64_t names; /* http1_name_bit of each field: a bit that lacks means no such field. */
    uint16_t field_count;
    struct http1_field fields[HTTP1_FIELDS_MAX];

    /* private */
    const char *base;
    bool response;
    bool reply_to_head;
    uint8_t state;
    uint8_t flags;
    uint32_t start_at; /* Where this head's first line starts (after skipped ones). */
    uint32_t line_at;
    uint32_t scan_at;
};

/* A new head; also readies one that was used. */
void http1_request_init(struct http1_head *h);
/* request_method: HEAD replies have no body (RFC 9112 section 6.3). */
void http1_response_init(struct http1_head *h, enum http1_method request_method);

/* data[0..len) is everything since the head's first byte, what was passed before included. Bytes
 * past the head are left alone. MORE, DONE or REJECTED. Works for both kinds. For a response 1xx
 * heads are skipped inside; head_bytes counts them too. */
enum http1_result http1_head_parse(struct http1_head *h, const char *data, size_t len);
/* Was any byte of a message seen? (An idle connection may close silently; CRLF before it: no.) */
bool http1_head_begun(const struct http1_head *h);
/* The buffer moved to data: adjusts every slice (after DONE only). */
void http1_head_rebase(struct http1_head *h, const char *data);

/* Chosen so that no two of the names that a node looks for, and none of them and a usual other one,
 * share a bit. name is not empty; case does not matter. */
static inline uint64_t http1_name_bit(const char *name, size_t len)
{
    unsigned first = (unsigned char)name[0] | 0x20, middle = (unsigned char)name[len / 2] | 0x20;
    return UINT64_C(1) << ((first * 2 + middle * 19 + (unsigned)len) & 63);
}

struct str http1_field_name(const struct http1_head *h, size_t index);
struct str http1_field_value(const struct http1_head *h, size_t index);
/* First field of that name (ASCII case ignored); .data NULL when absent, not when empty. A name of
 * four bytes or more is without '~', as all in use are. */
struct str http1_field_look(const struct http1_head *h, struct str name);
static inline struct str http1_field_get(const struct http1_head *h, struct str name)
{
    /* Most are not there; of a literal the bit is known when compiled. */
    return (h->names & http1_name_bit(name.data, name.len)) == 0 ? STR_NULL
                                                                 : http1_field_look(h, name);
}
size_t http1_field_count(const struct http1_head *h, struct str name);
/* Both in one: how many there are, *out_value is the first's. name: lower case, without '~', four
 * bytes or more. */
size_t http1_field_seek(const struct http1_head *h, struct str name, struct str *out_value);
static inline size_t http1_field_find(const struct http1_head *h, struct str name,
                                      struct str *out_value)
{
    return (h->names & http1_name_bit(name.data, name.len)) == 0
               ? 0
               : http1_field_seek(h, name, out_value);
}
/* Never forwarded: Connection and what it names, Keep-Alive, Proxy-*, TE, Trailer,
 * Transfer-Encoding, Upgrade (RFC 9110 section 7.6.1), Host, Content-Length, Expect, Cookie,
 * Set-Cookie (B25). */
bool http1_field_is_hop_by_hop(const struct http1_head *h, struct str name);
/* Media type of Content-Type without parameters equals `type` (ASCII case ignored). */
bool http1_content_type_is(const struct http1_head *h, struct str type);
/* The boundary parameter of a multipart type: 1-70 bytes of RFC 2046 bchars, else BAD_BOUNDARY;
 * BAD_CONTENT_TYPE when it is no multipart/form-data; NONE on success. */
enum http1_reason http1_multipart_boundary(const struct http1_head *h, struct str *out_boundary);

/* Body decoder. The caller embeds it. */
struct http1_body {
    enum http1_reason reason;
    uint64_t payload_bytes; /* Delivered so far. */

    /* private */
    enum http1_body_kind kind;
    uint8_t state;
    uint16_t line_bytes; /* Of the extension; of all trailers. */
    uint16_t name_bytes; /* Of the trailer line at hand. */
    uint64_t left;
    uint64_t max_bytes;
};

/* max_bytes: more payload is BODY_TOO_LARGE, for a declared length at once. */
void http1_body_init(struct http1_body *b, const struct http1_head *h, uint64_t max_bytes);
void http1_body_init_kind(struct http1_body *b, enum http1_body_kind kind, uint64_t length,
                          uint64_t max_bytes);
/* Consumes the front of *io_input. DATA: *out_piece is a slice of it, call again. MORE: all input
 * was used. DONE: the body ended; what is left in *io_input is the next message's. Trailers are
 * checked and dropped. */
enum http1_result http1_body_next(struct http1_body *b, struct str *io_input,
                                  struct str *out_piece);
/* The peer closed: DONE if that is how this body ends, else REJECTED with CUT_SHORT. */
enum http1_result http1_body_close(struct http1_body *b);
bool http1_body_is_done(const struct http1_body *b);

/* Writers append to out; on an error out is as before. ERR_INVALID: a name that is no token, or CR,
 * LF, NUL or another control byte in a value. ERR_TOO_LARGE, ERR_NOMEM from the buffer. */
int http1_write_request_line(struct buf *out, struct str method, struct str target) MUST_CHECK;
int http1_write_status_line(struct buf *out, unsigned status) MUST_CHECK; /* 100-599. */
int http1_write_field(struct buf *out, struct str name, struct str value) MUST_CHECK;
int http1_write_field_u64(struct buf *out, struct str name, uint64_t value) MUST_CHECK;
int http1_write_head_end(struct buf *out) MUST_CHECK; /* The blank line. */
/* An empty piece writes nothing (it would end the body). */
int http1_write_chunk(struct buf *out, struct str piece) MUST_CHECK;
/* "1f\r\n" for a piece that is sent from elsewhere, followed by http1_chunk_end. Returns its
 * length; out holds at least HTTP1_CHUNK_HEAD_BYTES. */
#define HTTP1_CHUNK_HEAD_BYTES 18
size_t http1_chunk_head(size_t piece_bytes, char *out);
#define HTTP1_CHUNK_END  STR("\r\n")
#define HTTP1_LAST_CHUNK STR("0\r\n\r\n")

/* IMF-fixdate, "Sun, 06 Nov 1994 08:49:37 GMT", 29 bytes and a NUL. */
#define HTTP1_DATE_BYTES 30
void http1_format_date(int64_t wall_us, char *out);
/* Retry-After as delay seconds or IMF-fixdate, clamped to 0..max_s (B41); anything else is
 * ERR_SYNTAX. */
int http1_parse_retry_after(struct str value, int64_t wall_us, uint32_t max_s,
                            uint32_t *out_seconds) MUST_CHECK;

bool http1_is_token(struct str s);       /* RFC 9110 section 5.6.2, not empty. */
bool http1_is_field_value(struct str s); /* No control byte but tab; obs-text allowed. */

#endif
