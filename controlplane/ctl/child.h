/* child.h: one process that `serve` keeps alive.
 *
 *   IDLE -> RUNNING -> BACKOFF -> RUNNING ...   a dead child comes back, later each time it dies
 *   RUNNING -> STOPPING -> STOPPED              asked to stop; BACKOFF -> STOPPED at once
 *
 * Children run in sessions of their own, so that a terminal's Ctrl-C reaches serve alone and the
 * order of stopping holds. A child that outlived a killed serve is found by its environment
 * (STEELYARD_SERVE=NAME:STATE_DIR in /proc) and adopted: watched through a pidfd, not started
 * twice. Before any gRPC: this program links none. All on the loop's thread. */
#ifndef STEELYARD_CONTROLPLANE_CTL_CHILD_H
#define STEELYARD_CONTROLPLANE_CTL_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "common/base/err.h"

#define CHILD_ARGS_MAX         48
#define CHILD_ARG_BYTES        4200
#define CHILD_BACKOFF_FIRST_MS 250U
#define CHILD_BACKOFF_MAX_MS   10000U
#define CHILD_STEADY_MS        60000U /* Alive for so long: the back-off starts over. */

enum child_state { CHILD_IDLE, CHILD_RUNNING, CHILD_BACKOFF, CHILD_STOPPING, CHILD_STOPPED };

struct child {
    /* Set by the owner before child_init. */
    const char *name;
    bool drop_user; /* Run as uid and gid below. */
    uid_t uid;
    gid_t gid;
    bool pipe_errors; /* Its stderr is read by us, line by line. */
    /* Fills args afresh before each start; non-zero stops everything. */
    int (*prepare)(struct child *c, struct err *err);
    void (*before_spawn)(struct child *c); /* A new one is about to start; may be NULL. */
    /* The process ended; before any restart. exit_status -1: not known (it was adopted). */
    void (*on_exit)(struct child *c, int64_t exit_status, int signal_number);
    void (*on_line)(struct child *c, const char *line); /* With pipe_errors. */
    void *owner;

    /* For prepare: child_arg. */
    char *args[CHILD_ARGS_MAX + 1];
    unsigned arg_count;

    /* private */
    uv_loop_t *loop;
    enum child_state state;
    pid_t pid;
    bool own, handle_open, replace;
    int pidfd;
    uv_process_t process;
    uv_poll_t watch;
    uv_timer_t timer;
    uv_pipe_t errors;
    bool errors_open;
    char line[2048];
    size_t line_len;
    uint64_t started_ms, backoff_ms;
    unsigned starts;
    char mark[4300]; /* STEELYARD_SERVE=... */
};

void child_init(struct child *c, uv_loop_t *loop, const char *state_dir);
/* Adds one argument, formatted; frees all of the last start when arg_count is 0 again. */
int child_arg(struct child *c, const char *format, ...) MUST_CHECK PRINTF_LIKE(2, 3);
void child_clear_args(struct child *c);
/* Adopts the one that is still running with the same arguments, else starts a new one. One that
 * runs with other arguments is stopped first. */
int child_start(struct child *c, struct err *err) MUST_CHECK;
/* As child_start, for a pid that its owner knows (Postgres names its own). 0: none. */
int child_start_or_watch(struct child *c, pid_t pid, struct err *err) MUST_CHECK;
void child_signal(struct child *c, int number); /* Nothing when it does not run. */
void child_stop(struct child *c, int number);   /* Then on_exit, and no restart. */
bool child_alive(const struct child *c);
void child_deinit(struct child *c); /* When stopped; handles close in later loop turns. */

#endif
