/* log_line.h: one log line in the making. For log.c only. */
#ifndef STEELYARD_COMMON_BASE_LOG_LINE_H
#define STEELYARD_COMMON_BASE_LOG_LINE_H

#include "common/base/log.h"

#define LOG_LINE_BYTES 4096U /* PIPE_BUF: what a pipe takes whole or not at all. */

/* What a thread's lines begin with: the time up to the second and what follows the time, made anew
 * when they change. Zero at first. */
struct log_start {
    int64_t second;
    bool second_known;
    char second_text[27]; /* `{"ts":"2026-11-21T03:55:00.` */
    enum log_level level;
    const char *msg; /* NULL: origin is not known. */
    size_t origin_len;
    char origin[128]; /* `Z","level":"info","msg":"request","component":"dataplane"` */
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

/* The begin of a JSON line, in one go; at has room for LOG_START_BYTES. Where it ended; NULL: not
 * this way. */
#define LOG_START_BYTES 256U
char *log_start_put(struct log_start *s, char *at, const struct log_style *style,
                    enum log_level level, const char *msg, int64_t now_us);

/* start: NULL, or the calling thread's. */
void log_line_begin(struct log_line *l, char *data, const struct log_style *style,
                    enum log_level level, const char *msg, struct log_start *start);
void log_line_fields(struct log_line *l, const struct log_field *fields); /* Up to LOG_END. */
void log_line_end(struct log_line *l);                                    /* With the newline. */

extern const char *const log_level_names[4];

#endif
