/* log.h: one JSON object a line on stdout, plain text on a terminal: `ts`, `level`, `msg` (fixed
 * text, no values), `component`, then fields. A value is escaped and cut at 256 bytes; a line is at
 * most 4096, so that pipes take it whole or not at all. Never prompts, keys or query strings.
 * Thread-safe and lock-free; if stdout cannot take a line, it is dropped and counted, never waited
 * for. Only the edges log; libraries return errors.
 *
 * Repeats: a warning or error is written the first time; while it comes again, log_tick (or the
 * next occurrence) writes it every 10 s with `repeated`, the count of what was left out. Info and
 * debug lines, of which the access log is made, are never folded. */
#ifndef STEELYARD_COMMON_BASE_LOG_H
#define STEELYARD_COMMON_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/str.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_AUTO, LOG_JSON, LOG_TEXT }; /* AUTO: text when stdout is a terminal. */
enum log_kind { LOG_KIND_END, LOG_KIND_STR, LOG_KIND_I64, LOG_KIND_U64, LOG_KIND_BOOL };

struct log_field {
    const char *key; /* As a JSON line has it, with LOG_KEY_PAD behind: any 16 bytes may be read. */
    uint32_t key_len;
    enum log_kind kind;
    union {
        struct str str;
        uint64_t number; /* I64 is stored as its two's complement. */
    };
};

/* k: a literal. */
#define LOG_KEY_PAD "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define LOG_FIELD(k, kind_)                                                                        \
    .key = ",\"" k "\":" LOG_KEY_PAD, .key_len = sizeof(",\"" k "\":") - 1, .kind = (kind_)
#define LOG_STR(k, s)           ((struct log_field){LOG_FIELD(k, LOG_KIND_STR), .str = (s)})
#define LOG_TEXT_FIELD(k, text) LOG_STR(k, str_from(text))
#define LOG_I64(k, v)                                                                              \
    ((struct log_field){LOG_FIELD(k, LOG_KIND_I64), .number = (uint64_t)(int64_t)(v)})
#define LOG_U64(k, v)  ((struct log_field){LOG_FIELD(k, LOG_KIND_U64), .number = (uint64_t)(v)})
#define LOG_BOOL(k, v) ((struct log_field){LOG_FIELD(k, LOG_KIND_BOOL), .number = (v) ? 1 : 0})
#define LOG_END        ((struct log_field){.kind = LOG_KIND_END})

/* component: "dataplane", "controlplane", ...; static string. Call before threads exist. */
void log_init(const char *component, enum log_level level, enum log_format format);
bool log_enabled(enum log_level level);
/* msg: a static string. fields end with LOG_END; NULL means none. */
void log_write(enum log_level level, const char *msg, const struct log_field *fields);
uint64_t log_dropped(void);

/* Gathering: from now on info and debug lines of this thread are kept and written together: when
 * LOG_GATHER_BYTES are full, LOG_GATHER_FILE_BYTES if stdout is a regular file; by log_gather_flush
 * (which the thread calls every tenth of a second or so); and before any warning or error of the
 * thread. A process that is killed by SIGKILL loses what was kept. Without memory lines are written
 * at once. */
#define LOG_GATHER_BYTES      4096U /* PIPE_BUF: pipes take them whole or not at all. */
#define LOG_GATHER_FILE_BYTES 65536U
void log_gather_begin(void);
void log_gather_flush(void);
void log_gather_end(void); /* Flushes. */
/* From now on a signal that ends the process by a fault of its own (SIGSEGV, SIGBUS, SIGFPE,
 * SIGILL, SIGABRT) first writes what all threads gathered. What another thread is writing just
 * then may be cut short. Once, after log_init. */
void log_catch_fatal(void);

/* An info line of one shape, made in place by a thread that writes one for each request: what was
 * written after log_open (each field from its comma on, log_put.h) up to `end` is the line, at most
 * LOG_OPEN_BYTES. The same as log_event would write. NULL, or a field that needs care: use that
 * instead; what was opened and not closed is nothing. Between the two the thread logs nothing. */
#define LOG_OPEN_BYTES 3800U
char *log_open(const char *msg, int64_t wall_us);
void log_close(char *end);

/* Writes the counts of repeats that are due. Call about once a second from one loop. */
void log_tick(void);
/* Writes all of them, due or not. Call before exit. */
void log_flush(void);

/* log_event(LOG_INFO, "listening", LOG_STR("address", a), LOG_U64("port", p)); */
#define log_event(level, msg, ...)                                                                 \
    do {                                                                                           \
        if (log_enabled(level))                                                                    \
            log_write((level), (msg),                                                              \
                      (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ) LOG_END});             \
    } while (0)

int log_parse_level(struct str s, enum log_level *out_level) MUST_CHECK;
int log_parse_format(struct str s, enum log_format *out_format) MUST_CHECK;

#endif
