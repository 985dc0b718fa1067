/* log.c: formats a line on the stack and hands it to the kernel in one write.
 *
 * The usual path is a pipe to a log collector. When the reader is slow the pipe fills and the write
 * says EAGAIN: the line is dropped and counted. For a pipe to say so it must be non-blocking, yet
 * O_NONBLOCK belongs to the open file and would be seen by everyone who shares it (a shell, a
 * sibling); so log_init opens the pipe once more for itself. Sockets are told per call. */
#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/clock.h"

#define LINE_BYTES       4096U /* PIPE_BUF: what a pipe takes whole or not at all. */
#define TAIL_BYTES       32U   /* Room for the mark of a cut line and its end. */
#define VALUE_BYTES_MAX  256U
#define REPEAT_SLOTS     256U
#define REPEAT_PROBES    8U
#define REPEAT_WINDOW_MS 10000U

struct line {
    char data[LINE_BYTES];
    size_t len;
    bool full; /* Something did not fit; what came before it is whole. */
};

/* A message that was written: when, and how often it was left out since. */
struct repeat {
    const char *_Atomic msg;
    atomic_int level;
    atomic_uint_fast64_t since_ms; /* Plus one, so that 0 means never. */
    atomic_uint_fast64_t left_out;
};

static struct repeat repeats[REPEAT_SLOTS];
static atomic_uint_fast64_t dropped_lines;
static atomic_bool torn; /* The last line was written in part. */

static const char *log_component = "steelyard";
static enum log_level lowest = LOG_INFO;
static bool as_text;
static int log_fd = STDOUT_FILENO;
static bool log_is_socket;

static const char *const level_names[] = {"debug", "info", "warn", "error"};

static int log_open_stdout(void)
{
    struct stat st;
    log_is_socket = false;
    if (fstat(STDOUT_FILENO, &st) != 0)
        return STDOUT_FILENO;
    log_is_socket = S_ISSOCK(st.st_mode);
    if (!S_ISFIFO(st.st_mode))
        return STDOUT_FILENO;
    int own = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    return own >= 0 ? own : STDOUT_FILENO;
}

void log_init(const char *component, enum log_level level, enum log_format format)
{
    if (log_fd != STDOUT_FILENO)
        close(log_fd);
    log_fd = log_open_stdout();
    log_component = component;
    lowest = level;
    as_text = format == LOG_TEXT || (format == LOG_AUTO && isatty(STDOUT_FILENO) == 1);
}

bool log_enabled(enum log_level level)
{
    return level >= lowest;
}

uint64_t log_dropped(void)
{
    return atomic_load_explicit(&dropped_lines, memory_order_relaxed);
}

static void line_put(struct line *l, const char *data, size_t len)
{
    if (l->full || LINE_BYTES - TAIL_BYTES - l->len < len) {
        l->full = true;
        return;
    }
    memcpy(l->data + l->len, data, len);
    l->len += len;
}

static void line_text(struct line *l, const char *text)
{
    line_put(l, text, strlen(text));
}

static void line_escape(struct line *l, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    char escape[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
    if (c == '"' || c == '\\')
        line_put(l, (char[]){'\\', (char)c}, 2);
    else if (c == '\n')
        line_put(l, "\\n", 2);
    else
        line_put(l, escape, sizeof escape);
}

/* Between quotes; control bytes never reach a terminal, broken UTF-8 never reaches a collector. */
static void line_string(struct line *l, struct str s)
{
    bool cut = s.len > VALUE_BYTES_MAX;
    size_t len = cut ? VALUE_BYTES_MAX : s.len;
    line_put(l, "\"", 1);
    for (size_t i = 0; i < len;) {
        size_t n = str_utf8_length(s, i);
        unsigned char c = (unsigned char)s.data[i];
        if (n == 0) {
            line_text(l, "\xEF\xBF\xBD"); /* U+FFFD */
            n = 1;
        } else if (c < 0x20 || c == 0x7F || c == '"' || c == '\\') {
            line_escape(l, c);
        } else if (i + n > len) {
            break;
        } else {
            line_put(l, s.data + i, n);
        }
        i += n;
    }
    if (cut)
        line_text(l, "...");
    line_put(l, "\"", 1);
}

static void line_u64(struct line *l, uint64_t value)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + (char)(value % 10));
        value /= 10;
    } while (value > 0);
    line_put(l, digits + at, sizeof digits - at);
}

static void line_value(struct line *l, const struct log_field *field)
{
    int64_t number = (int64_t)field->number;
    switch (field->kind) {
    case LOG_KIND_STR:
        line_string(l, field->str);
        break;
    case LOG_KIND_I64:
        if (number < 0)
            line_put(l, "-", 1);
        line_u64(l, number < 0 ? 0 - field->number : field->number);
        break;
    case LOG_KIND_U64:
        line_u64(l, field->number);
        break;
    case LOG_KIND_BOOL:
        line_text(l, field->number != 0 ? "true" : "false");
        break;
    case LOG_KIND_END:
        break;
    }
}

/* A whole field or none of it. */
static void line_field(struct line *l, const struct log_field *field)
{
    size_t len = l->len;
    line_text(l, as_text ? " " : ",\"");
    line_text(l, field->key);
    line_text(l, as_text ? "=" : "\":");
    line_value(l, field);
    if (l->full)
        l->len = len;
}

static void line_head(struct line *l, enum log_level level, const char *msg)
{
    char ts[CLOCK_RFC3339_BYTES];
    clock_format_rfc3339(clock_wall_us(), ts);
    if (as_text) {
        line_text(l, ts);
        line_put(l, " ", 1);
        line_text(l, level_names[level]);
        line_put(l, "     ", 6 - strlen(level_names[level]));
        line_text(l, log_component);
        line_text(l, ": ");
        line_text(l, msg);
        return;
    }
    line_text(l, "{\"ts\":\"");
    line_text(l, ts);
    line_text(l, "\",\"level\":\"");
    line_text(l, level_names[level]);
    line_text(l, "\",\"msg\":");
    line_string(l, str_from(msg));
    line_text(l, ",\"component\":");
    line_string(l, str_from(log_component));
}

static void line_tail(struct line *l)
{
    static const char cut_json[] = ",\"cut\":true";
    static const char cut_text[] = " cut=true";
    if (l->full) {
        const char *mark = as_text ? cut_text : cut_json;
        size_t len = strlen(mark);
        memcpy(l->data + l->len, mark, len); /* Into the room kept by TAIL_BYTES. */
        l->len += len;
    }
    if (!as_text)
        l->data[l->len++] = '}';
    l->data[l->len++] = '\n';
}

static ssize_t log_send(const char *data, size_t len)
{
    for (;;) {
        ssize_t n = log_is_socket ? send(log_fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL)
                                  : write(log_fd, data, len);
        if (n >= 0 || errno != EINTR)
            return n;
    }
}

static void log_emit(enum log_level level, const char *msg, const struct log_field *fields,
                     uint64_t repeated)
{
    struct line line;
    line.len = 0;
    line.full = false;
    int saved_errno = errno; /* A caller may log between a failure and its report. */
    if (atomic_exchange_explicit(&torn, false, memory_order_relaxed))
        line_put(&line, "\n", 1);
    line_head(&line, level, msg);
    if (repeated > 0)
        line_field(&line, &LOG_U64("repeated", repeated));
    for (; fields != NULL && fields->kind != LOG_KIND_END && !line.full; fields++)
        line_field(&line, fields);
    line_tail(&line);
    ssize_t n = log_send(line.data, line.len);
    if (n != (ssize_t)line.len)
        atomic_fetch_add_explicit(&dropped_lines, 1, memory_order_relaxed);
    if (n > 0 && n != (ssize_t)line.len)
        atomic_store_explicit(&torn, true, memory_order_relaxed);
    errno = saved_errno;
}

static uint64_t message_hash(const char *msg)
{
    uint64_t h = 0xcbf29ce484222325U; /* FNV-1a: the texts are our own, nobody aims at them. */
    for (; *msg != '\0'; msg++)
        h = (h ^ (unsigned char)*msg) * 0x100000001b3U;
    return h;
}

/* NULL when the neighbourhood is full: such a message is never folded. */
static struct repeat *repeat_slot(enum log_level level, const char *msg)
{
    uint64_t home = message_hash(msg);
    for (unsigned i = 0; i < REPEAT_PROBES; i++) {
        struct repeat *r = &repeats[(home + i) % REPEAT_SLOTS];
        const char *known = NULL;
        if (atomic_compare_exchange_strong(&r->msg, &known, msg)) {
            atomic_store(&r->level, (int)level);
            return r;
        }
        if (strcmp(known, msg) == 0)
            return r;
    }
    return NULL;
}

/* true: the caller writes the line, with *out_left_out occurrences folded into it. */
static bool repeat_opens(struct repeat *r, uint64_t now_ms, bool always, uint64_t *out_left_out)
{
    uint64_t since = atomic_load(&r->since_ms);
    if (since != 0 && !always && now_ms + 1 - since < REPEAT_WINDOW_MS)
        return false;
    if (!atomic_compare_exchange_strong(&r->since_ms, &since, now_ms + 1))
        return false; /* Another thread writes it. */
    *out_left_out = atomic_exchange(&r->left_out, 0);
    return true;
}

void log_write(enum log_level level, const char *msg, const struct log_field *fields)
{
    uint64_t left_out = 0;
    if (!log_enabled(level))
        return;
    struct repeat *r = level >= LOG_WARN ? repeat_slot(level, msg) : NULL;
    if (r != NULL && !repeat_opens(r, clock_mono_ms(), false, &left_out)) {
        atomic_fetch_add(&r->left_out, 1);
        return;
    }
    log_emit(level, msg, fields, left_out);
}

static void log_write_repeats(bool always)
{
    uint64_t now_ms = clock_mono_ms();
    for (unsigned i = 0; i < REPEAT_SLOTS; i++) {
        struct repeat *r = &repeats[i];
        uint64_t left_out = 0;
        if (atomic_load(&r->left_out) == 0 || !repeat_opens(r, now_ms, always, &left_out))
            continue;
        if (left_out > 0)
            log_emit((enum log_level)atomic_load(&r->level), atomic_load(&r->msg), NULL, left_out);
    }
}

void log_tick(void)
{
    log_write_repeats(false);
}

void log_flush(void)
{
    log_write_repeats(true);
}

int log_parse_level(struct str s, enum log_level *out_level)
{
    for (unsigned i = 0; i < sizeof level_names / sizeof level_names[0]; i++) {
        if (str_is(s, level_names[i])) {
            *out_level = (enum log_level)i;
            return 0;
        }
    }
    return ERR_INVALID;
}

int log_parse_format(struct str s, enum log_format *out_format)
{
    static const char *const names[] = {"auto", "json", "text"};
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (str_is(s, names[i])) {
            *out_format = (enum log_format)i;
            return 0;
        }
    }
    return ERR_INVALID;
}
