#include "controlplane/ctl/child.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/str.h"

#define PROC_BYTES_MAX (1U << 20)

extern char **environ;

static void on_timer(uv_timer_t *timer);

void child_init(struct child *c, uv_loop_t *loop, const char *state_dir)
{
    c->loop = loop;
    c->state = CHILD_IDLE;
    c->pidfd = -1;
    c->backoff_ms = CHILD_BACKOFF_FIRST_MS;
    uv_timer_init(loop, &c->timer);
    snprintf(c->mark, sizeof(c->mark), "STEELYARD_SERVE=%s:%s", c->name, state_dir);
}

void child_clear_args(struct child *c)
{
    for (unsigned i = 0; i < c->arg_count; i++)
        mem_free(c->args[i]);
    c->arg_count = 0;
    c->args[0] = NULL;
}

int child_arg(struct child *c, const char *format, ...)
{
    char text[CHILD_ARG_BYTES];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof(text) || c->arg_count == CHILD_ARGS_MAX)
        return ERR_TOO_LARGE;
    c->args[c->arg_count] = mem_strdup(text);
    if (c->args[c->arg_count] == NULL)
        return ERR_NOMEM;
    c->args[++c->arg_count] = NULL;
    return 0;
}

bool child_alive(const struct child *c)
{
    return c->pid > 0 && (c->state == CHILD_RUNNING || c->state == CHILD_STOPPING);
}

static void end_watch(struct child *c)
{
    if (c->pidfd >= 0) {
        uv_poll_stop(&c->watch);
        close(c->pidfd);
    }
    c->pidfd = -1;
}

/* The process is gone: say so, then come back, or not. */
static void ended(struct child *c, int64_t exit_status, int signal_number)
{
    bool stopping = c->state == CHILD_STOPPING;
    uint64_t lived_ms = clock_mono_ms() - c->started_ms;
    c->pid = 0;
    c->state = stopping ? CHILD_STOPPED : CHILD_BACKOFF;
    if (lived_ms >= CHILD_STEADY_MS || c->replace)
        c->backoff_ms = CHILD_BACKOFF_FIRST_MS;
    if (!stopping && !c->replace)
        log_event(LOG_ERROR, "a process died and is started again",
                  LOG_TEXT_FIELD("process", c->name), LOG_I64("exit", exit_status),
                  LOG_I64("signal", signal_number), LOG_U64("wait_ms", c->backoff_ms));
    bool at_once = c->replace;
    c->replace = false;
    c->on_exit(c, exit_status, signal_number);
    if (c->state != CHILD_BACKOFF)
        return; /* The owner gave up on it. */
    uv_timer_start(&c->timer, on_timer, at_once ? 0 : c->backoff_ms, 0);
    c->backoff_ms =
        c->backoff_ms * 2 > CHILD_BACKOFF_MAX_MS ? CHILD_BACKOFF_MAX_MS : c->backoff_ms * 2;
}

static void on_process_closed(uv_handle_t *handle)
{
    ((struct child *)handle->data)->handle_open = false;
}

static void on_process_exit(uv_process_t *process, int64_t exit_status, int signal_number)
{
    struct child *c = process->data;
    uv_close((uv_handle_t *)process, on_process_closed);
    ended(c, exit_status, signal_number);
}

static void on_watched_exit(uv_poll_t *watch, int status, int events)
{
    struct child *c = watch->data;
    (void)status;
    (void)events;
    end_watch(c);
    uv_close((uv_handle_t *)watch, on_process_closed);
    ended(c, -1, 0);
}

static void on_error_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    struct child *c = handle->data;
    (void)suggested;
    if (c->line_len + 1 >= sizeof(c->line))
        c->line_len = 0; /* A line longer than that is cut into pieces. */
    *out = uv_buf_init(c->line + c->line_len, (unsigned)(sizeof(c->line) - 1 - c->line_len));
}

static void on_errors_closed(uv_handle_t *handle)
{
    ((struct child *)handle->data)->errors_open = false;
}

static void on_error_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *unused)
{
    struct child *c = stream->data;
    (void)unused;
    if (n < 0) {
        if (!uv_is_closing((uv_handle_t *)stream))
            uv_close((uv_handle_t *)stream, on_errors_closed);
        return;
    }
    c->line_len += (size_t)n;
    char *start = c->line, *end;
    while ((end = memchr(start, '\n', (size_t)(c->line + c->line_len - start))) != NULL) {
        *end = '\0';
        c->on_line(c, start);
        start = end + 1;
    }
    c->line_len = (size_t)(c->line + c->line_len - start);
    memmove(c->line, start, c->line_len);
    if (c->line_len + 1 >= sizeof(c->line)) {
        c->line[c->line_len] = '\0';
        c->on_line(c, c->line);
        c->line_len = 0;
    }
}

static int open_error_pipe(struct child *c)
{
    if (c->errors_open || uv_pipe_init(c->loop, &c->errors, 0) != 0)
        return ERR_IO;
    c->errors.data = c;
    c->errors_open = true;
    c->line_len = 0;
    return 0;
}

/* environ with our mark in front; the strings are borrowed. */
static char **marked_environment(struct child *c)
{
    size_t n = 0;
    while (environ[n] != NULL)
        n++;
    char **env = mem_calloc(n + 2, sizeof(char *));
    if (env == NULL)
        return NULL;
    env[0] = c->mark;
    size_t used = 1;
    for (size_t i = 0; i < n; i++)
        if (strncmp(environ[i], "STEELYARD_SERVE=", 16) != 0)
            env[used++] = environ[i];
    return env;
}

static int spawn(struct child *c, struct err *err)
{
    if (c->before_spawn != NULL)
        c->before_spawn(c);
    bool piped = c->pipe_errors && open_error_pipe(c) == 0;
    char **env = marked_environment(c);
    if (env == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = 1},
        {.flags = UV_INHERIT_FD, .data.fd = 2},
    };
    if (piped) {
        stdio[2].flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE;
        stdio[2].data.stream = (uv_stream_t *)&c->errors;
    }
    uv_process_options_t options = {.file = c->args[0],
                                    .args = c->args,
                                    .env = env,
                                    .cwd = c->drop_user ? "/" : NULL,
                                    .exit_cb = on_process_exit,
                                    .flags = UV_PROCESS_DETACHED,
                                    .stdio = stdio,
                                    .stdio_count = 3};
    if (c->drop_user) {
        options.flags |= UV_PROCESS_SETUID | UV_PROCESS_SETGID;
        options.uid = c->uid;
        options.gid = c->gid;
    }
    c->process.data = c;
    int status = uv_spawn(c->loop, &c->process, &options);
    mem_free(env);
    c->handle_open = true;
    if (status != 0) {
        uv_close((uv_handle_t *)&c->process, on_process_closed);
        if (piped)
            uv_close((uv_handle_t *)&c->errors, on_errors_closed);
        return err_set(err, err_from_uv(status), "cannot start %s (%s): %s", c->name, c->args[0],
                       uv_strerror(status));
    }
    if (piped)
        uv_read_start((uv_stream_t *)&c->errors, on_error_alloc, on_error_read);
    c->own = true;
    c->pid = uv_process_get_pid(&c->process);
    c->state = CHILD_RUNNING;
    c->started_ms = clock_mono_ms();
    c->starts++;
    return 0;
}

static int watch_pid(struct child *c, pid_t pid)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0)
        return ERR_NOT_FOUND;
    if (uv_poll_init(c->loop, &c->watch, fd) != 0) {
        close(fd);
        return ERR_IO;
    }
    c->watch.data = c;
    c->pidfd = fd;
    c->handle_open = true;
    uv_poll_start(&c->watch, UV_READABLE, on_watched_exit);
    c->own = false;
    c->pid = pid;
    c->state = CHILD_RUNNING;
    c->started_ms = clock_mono_ms();
    c->starts++;
    log_event(LOG_INFO, "a process that still runs was taken over",
              LOG_TEXT_FIELD("process", c->name), LOG_I64("pid", pid));
    return 0;
}

static int read_proc(pid_t pid, const char *file, struct buf *out)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
    buf_clear(out);
    return buf_read_file(out, path, PROC_BYTES_MAX, NULL);
}

/* Is `text` one of the NUL-ended strings of block? */
static bool block_has(struct str block, const char *text)
{
    struct str rest = block, head;
    bool more = true;
    while (more) {
        more = str_cut(rest, '\0', &head, &rest);
        if (str_is(head, text))
            return true;
    }
    return false;
}

/* Does the command line end in these arguments? A script's interpreter may stand in front. */
static bool same_args(struct str block, char *const *args, unsigned count)
{
    for (unsigned i = count; i > 0; i--) {
        size_t n = strlen(args[i - 1]) + 1; /* With its NUL. */
        if (block.len < n || memcmp(block.data + block.len - n, args[i - 1], n) != 0)
            return false;
        block.len -= n;
    }
    return block.len == 0 || block.data[block.len - 1] == '\0';
}

/* The one with our mark; -1: none. */
static pid_t find_marked(const struct child *c)
{
    DIR *proc = opendir("/proc");
    struct buf block;
    pid_t found = -1;
    uint64_t pid;
    if (proc == NULL)
        return -1;
    buf_init(&block, PROC_BYTES_MAX);
    for (const struct dirent *d; found < 0 && (d = readdir(proc)) != NULL;) {
        if (str_parse_u64(str_from(d->d_name), INT32_MAX, &pid) != 0 || (pid_t)pid == getpid())
            continue;
        if (read_proc((pid_t)pid, "environ", &block) == 0 && block_has(buf_str(&block), c->mark))
            found = (pid_t)pid;
    }
    buf_deinit(&block);
    closedir(proc);
    return found;
}

static int prepare(struct child *c, struct err *err)
{
    child_clear_args(c);
    return c->prepare(c, err);
}

int child_start(struct child *c, struct err *err)
{
    int rc = prepare(c, err);
    if (rc != 0)
        return rc;
    pid_t pid = c->starts == 0 ? find_marked(c) : -1;
    if (pid <= 0 || watch_pid(c, pid) != 0)
        return spawn(c, err);
    struct buf block;
    buf_init(&block, PROC_BYTES_MAX);
    bool same =
        read_proc(pid, "cmdline", &block) == 0 && same_args(buf_str(&block), c->args, c->arg_count);
    buf_deinit(&block);
    if (!same) {
        c->replace = true;
        child_signal(c, SIGTERM);
    }
    return 0;
}

int child_start_or_watch(struct child *c, pid_t pid, struct err *err)
{
    int rc = prepare(c, err);
    if (rc == 0 && (pid <= 0 || watch_pid(c, pid) != 0))
        rc = spawn(c, err);
    return rc;
}

static void on_timer(uv_timer_t *timer)
{
    struct child *c = container_of(timer, struct child, timer);
    struct err err = {0};
    if (c->state != CHILD_BACKOFF)
        return;
    if (c->handle_open || c->errors_open) { /* The last one's handle closes in this very turn. */
        uv_timer_start(timer, on_timer, 1, 0);
        return;
    }
    int rc = prepare(c, &err);
    if (rc == 0)
        rc = spawn(c, &err);
    if (rc != 0) {
        log_event(LOG_ERROR, "a process could not be started", LOG_TEXT_FIELD("process", c->name),
                  LOG_TEXT_FIELD("cause", err.message));
        uv_timer_start(timer, on_timer, CHILD_BACKOFF_MAX_MS, 0);
    }
}

void child_signal(struct child *c, int number)
{
    if (!child_alive(c))
        return;
    if (c->own)
        kill(c->pid, number);
    else
        (void)syscall(SYS_pidfd_send_signal, c->pidfd, number, NULL, 0);
}

void child_stop(struct child *c, int number)
{
    uv_timer_stop(&c->timer);
    if (c->state == CHILD_RUNNING) {
        c->state = CHILD_STOPPING;
        child_signal(c, number);
    } else if (c->state == CHILD_IDLE || c->state == CHILD_BACKOFF) {
        c->state = CHILD_STOPPED;
    } else {
        child_signal(c, number);
    }
}

void child_deinit(struct child *c)
{
    assert(!child_alive(c));
    if (!uv_is_closing((uv_handle_t *)&c->timer))
        uv_close((uv_handle_t *)&c->timer, NULL);
    if (c->errors_open && !uv_is_closing((uv_handle_t *)&c->errors))
        uv_close((uv_handle_t *)&c->errors, on_errors_closed);
    child_clear_args(c);
}
