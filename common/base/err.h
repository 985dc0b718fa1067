/* err.h: every error code of the project in one table, and an error with a message for people.
 *
 * Functions return 0 or a negative ERR_*. `struct err` is for start-up, admin and jobs, where a
 * person reads the message; a request carries codes alone. Foreign codes (errno, libuv) are
 * translated where they enter. Thread-safe: no state. */
#ifndef STEELYARD_COMMON_BASE_ERR_H
#define STEELYARD_COMMON_BASE_ERR_H

#include <stddef.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(format_index, first_arg)                                                       \
    __attribute__((format(printf, format_index, first_arg)))

/* X(name, text): the text is what err_text() says. Codes are -1, -2, ... in this order; they are
 * not stored anywhere, so new ones may be put where they belong. */
#define ERR_TABLE(X)                                                                               \
    X(NOMEM, "out of memory")                                                                      \
    X(LIMIT, "a configured limit was reached")                                                     \
    X(INVALID, "invalid value")                                                                    \
    X(SYNTAX, "syntax error")                                                                      \
    X(RANGE, "number out of range")                                                                \
    X(NOT_FOUND, "not found")                                                                      \
    X(EXISTS, "already exists")                                                                    \
    X(CONFLICT, "conflicts with the current state")                                                \
    X(DENIED, "permission denied")                                                                 \
    X(UNAUTHENTICATED, "no valid credentials")                                                     \
    X(BUSY, "at capacity")                                                                         \
    X(AGAIN, "not ready yet")                                                                      \
    X(CANCELED, "cancelled")                                                                       \
    X(TIMEOUT, "timed out")                                                                        \
    X(EOF, "ended too early")                                                                      \
    X(CLOSED, "connection closed")                                                                 \
    X(REFUSED, "connection refused")                                                               \
    X(UNREACHABLE, "unreachable")                                                                  \
    X(PROTOCOL, "protocol violation")                                                              \
    X(TOO_LARGE, "too large")                                                                      \
    X(CORRUPT, "corrupt data")                                                                     \
    X(VERSION, "unsupported version")                                                              \
    X(OVERFLOW, "arithmetic overflow")                                                             \
    X(NO_SPACE, "no space left on device")                                                         \
    X(IO, "input/output error")                                                                    \
    X(TLS, "TLS failure")                                                                          \
    X(DATABASE, "database error")                                                                  \
    X(UPSTREAM, "upstream error")                                                                  \
    X(UNAVAILABLE, "unavailable")                                                                  \
    X(UNSUPPORTED, "not supported")                                                                \
    X(INTERNAL, "internal error")

enum err_index {
#define X(name, text) ERR_INDEX_##name,
    ERR_TABLE(X)
#undef X
        ERR_INDEX_COUNT
};

enum err_code {
    ERR_OK = 0,
#define X(name, text) ERR_##name = -1 - ERR_INDEX_##name,
    ERR_TABLE(X)
#undef X
};

#define ERR_MESSAGE_BYTES 512

struct err {
    int code; /* 0 or ERR_*. */
    char message[ERR_MESSAGE_BYTES];
};

/* "TIMEOUT" / "timed out"; for an unknown code "UNKNOWN" / "unknown error". Static strings. */
const char *err_name(int code);
const char *err_text(int code);

/* Fills err (which may be NULL) and returns code, so that `return err_set(...)` works. */
int err_set(struct err *err, int code, const char *format, ...) PRINTF_LIKE(3, 4);
/* Puts "what: " in front of the message; without a message yet, err_text(code) is the message. */
void err_wrap(struct err *err, const char *format, ...) PRINTF_LIKE(2, 3);

int err_from_errno(int errno_value);
int err_from_uv(int uv_status); /* 0 stays 0. */

#endif
