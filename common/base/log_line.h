/* log_line.h: one log line in the making. For log.c only. */
#ifndef STEELYARD_COMMON_BASE_LOG_LINE_H
#define STEELYARD_COMMON_BASE_LOG_LINE_H

#include "common/base/log.h"

#define LOG_LINE_BYTES 4096U /* PIPE_BUF: what a pipe takes whole or not at all. */

/* The timestamp's text up to the second, so that it is made once a second. */
struct log_second {
    int64_t second;
    bool known;
    char text[32]; /* "2026-11-21T03:55:00." */
    uint8_t len;
};

struct log_style {
    bool as_text;
    struct str component;
};

struct log_line {
    char *data; /* LOG_LINE_BYTES. */
    size_t len;
    bool as_text;
    bool full; /* Something did not fit; what came before it is whole. */
};

/* second: NULL, or the calling thread's. */
void log_line_begin(struct log_line *l, char *data, const struct log_style *style,
                    enum log_level level, const char *msg, struct log_second *second);
void log_line_fields(struct log_line *l, const struct log_field *fields); /* Up to LOG_END. */
void log_line_end(struct log_line *l);                                    /* With the newline. */

extern const char *const log_level_names[4];

#endif
