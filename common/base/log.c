/* log.c: formats a line (log_line.c) and hands it to the kernel in one write, or gathers lines of a
 * thread that asked for that and hands over many in one.
 *
 * The usual path is a pipe to a log collector. When the reader is slow the pipe fills and the write
 * says EAGAIN: the lines are dropped and counted. For a pipe to say so it must be non-blocking, yet
 * O_NONBLOCK belongs to the open file and would be seen by everyone who shares it (a shell, a
 * sibling); so log_init opens the pipe once more for itself. Sockets are told per call. */
#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log_line.h"
#include "common/base/mem.h"

#define REPEAT_SLOTS     256U
#define REPEAT_PROBES    8U
#define REPEAT_WINDOW_MS 10000U
#define GATHERS_MAX      256U /* Threads of more than these lose what they kept in a crash. */

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

/* Lines of one thread that wait to be written. data[0] is kept for the newline that ends a line of
 * which only a part was written before; behind max_len LOG_LINE_BYTES take the line in the making.
 * len is read by a signal handler on any thread. */
struct gather {
    struct log_start start;
    size_t max_len;
    _Atomic size_t len;
    unsigned lines;
    char data[];
};
static _Thread_local struct gather *gathered;
static struct gather *_Atomic gathers[GATHERS_MAX]; /* All of them, for the signal handler. */

static struct log_style style = {.component = {"steelyard", 9}};
static enum log_level lowest = LOG_INFO;
static int log_fd = STDOUT_FILENO;
static bool log_is_socket;
static bool log_is_file;

static int log_open_stdout(void)
{
    struct stat st;
    log_is_socket = log_is_file = false;
    if (fstat(STDOUT_FILENO, &st) != 0)
        return STDOUT_FILENO;
    log_is_socket = S_ISSOCK(st.st_mode);
    log_is_file = S_ISREG(st.st_mode);
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
    style.component = str_from(component);
    lowest = level;
    style.as_text = format == LOG_TEXT || (format == LOG_AUTO && isatty(STDOUT_FILENO) == 1);
}

bool log_enabled(enum log_level level)
{
    return level >= lowest;
}

uint64_t log_dropped(void)
{
    return atomic_load_explicit(&dropped_lines, memory_order_relaxed);
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

/* Whole lines; room before them for a newline. */
static void write_lines(char *data, size_t len, unsigned lines)
{
    int saved_errno = errno; /* A caller may log between a failure and its report. */
    bool mends = atomic_load_explicit(&torn, memory_order_relaxed) &&
                 atomic_exchange_explicit(&torn, false, memory_order_relaxed);
    if (mends) {
        *--data = '\n';
        len++;
    }
    ssize_t n = log_send(data, len);
    if (n != (ssize_t)len) {
        unsigned whole = 0;
        for (ssize_t i = mends ? 1 : 0; i < n; i++)
            whole += data[i] == '\n';
        atomic_fetch_add_explicit(&dropped_lines, lines - whole, memory_order_relaxed);
        if (n > 0 ? data[n - 1] != '\n' : mends)
            atomic_store_explicit(&torn, true, memory_order_relaxed);
    }
    errno = saved_errno;
}

static void format_line(struct log_line *line, char *data, enum log_level level, const char *msg,
                        const struct log_field *fields, uint64_t repeated)
{
    log_line_begin(line, data, &style, level, msg, gathered != NULL ? &gathered->start : NULL);
    if (repeated > 0)
        log_line_fields(line, (const struct log_field[]){LOG_U64("repeated", repeated), LOG_END});
    if (fields != NULL)
        log_line_fields(line, fields);
    log_line_end(line);
}

/* ---- gathering ---- */

static inline size_t gather_len(const struct gather *g)
{
    return atomic_load_explicit(&g->len, memory_order_relaxed);
}

/* Bytes below len are whole lines, whoever looks. */
static inline void gather_set_len(struct gather *g, size_t len)
{
    atomic_store_explicit(&g->len, len, memory_order_release);
}

static inline char *gather_end(struct gather *g)
{
    return g->data + 1 + gather_len(g);
}

static void gather_write(struct gather *g)
{
    size_t len = gather_len(g);
    unsigned lines = g->lines;
    gather_set_len(g, 0); /* First: a crash writes no line twice. */
    g->lines = 0;
    write_lines(g->data + 1, len, lines);
}

/* The line that was made behind the others. */
static void gather_line(struct gather *g, size_t line_len)
{
    char *line = gather_end(g);
    if (gather_len(g) + line_len > g->max_len) {
        gather_write(g);
        memmove(g->data + 1, line, line_len);
    }
    gather_set_len(g, gather_len(g) + line_len);
    g->lines++;
}

static void log_emit(enum log_level level, const char *msg, const struct log_field *fields,
                     uint64_t repeated)
{
    struct log_line line;
    struct gather *g = gathered;
    if (g != NULL && level <= LOG_INFO) {
        format_line(&line, gather_end(g), level, msg, fields, repeated);
        gather_line(g, line.len);
        return;
    }
    char data[1 + LOG_LINE_BYTES];
    log_gather_flush();
    format_line(&line, data + 1, level, msg, fields, repeated);
    write_lines(data + 1, line.len, 1);
}

char *log_open(const char *msg, int64_t wall_us)
{
    if (gathered == NULL || lowest > LOG_INFO)
        return NULL;
    return log_start_put(&gathered->start, gather_end(gathered), &style, LOG_INFO, msg, wall_us);
}

void log_close(char *end)
{
    *end++ = '}';
    *end++ = '\n';
    gather_line(gathered, (size_t)(end - gather_end(gathered)));
}

void log_gather_begin(void)
{
    size_t max_len = log_is_file ? LOG_GATHER_FILE_BYTES : LOG_GATHER_BYTES;
    if (gathered != NULL)
        return;
    struct gather *g = mem_alloc(sizeof *g + 1 + max_len + LOG_LINE_BYTES);
    if (g == NULL)
        return;
    memset(g, 0, sizeof *g);
    g->max_len = max_len;
    gathered = g;
    for (unsigned i = 0; i < GATHERS_MAX; i++) {
        struct gather *none = NULL;
        if (atomic_compare_exchange_strong(&gathers[i], &none, g))
            return;
    }
}

void log_gather_flush(void)
{
    if (gathered != NULL && gather_len(gathered) > 0)
        gather_write(gathered);
}

void log_gather_end(void)
{
    log_gather_flush();
    for (unsigned i = 0; i < GATHERS_MAX; i++) {
        struct gather *own = gathered;
        if (own != NULL && atomic_compare_exchange_strong(&gathers[i], &own, NULL))
            break;
    }
    mem_free(gathered);
    gathered = NULL;
}

/* ---- a crash ---- */

static const int fatal_signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
enum { FATAL_SIGNALS = sizeof fatal_signals / sizeof fatal_signals[0] };
static struct sigaction fatal_before[FATAL_SIGNALS];

/* What was gathered is written, then the signal has the effect that it would have had: a fault
 * happens once more on return, abort raises again, and what was sent by someone is sent again. Only
 * calls that a handler may make. */
static void on_fatal(int signal, siginfo_t *info, void *context)
{
    (void)context;
    int saved_errno = errno;
    for (unsigned i = 0; i < GATHERS_MAX; i++) {
        struct gather *g = atomic_load_explicit(&gathers[i], memory_order_acquire);
        size_t len = g != NULL ? atomic_exchange_explicit(&g->len, 0, memory_order_acquire) : 0;
        if (len > 0)
            (void)log_send(g->data + 1, len);
    }
    for (unsigned i = 0; i < FATAL_SIGNALS; i++)
        if (fatal_signals[i] == signal)
            (void)sigaction(signal, &fatal_before[i], NULL);
    if (info->si_code <= 0)
        (void)raise(signal);
    errno = saved_errno;
}

void log_catch_fatal(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_fatal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    (void)sigemptyset(&action.sa_mask);
    for (unsigned i = 0; i < FATAL_SIGNALS; i++)
        (void)sigaction(fatal_signals[i], &action, &fatal_before[i]);
}

/* ---- repeats ---- */

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
    for (unsigned i = 0; i < sizeof log_level_names / sizeof log_level_names[0]; i++) {
        if (str_is(s, log_level_names[i])) {
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
