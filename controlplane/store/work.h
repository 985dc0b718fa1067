/* work.h: blocking database work off the loop. A function runs on a thread of libuv's pool with a
 * connection of its own; its result comes back as a callback on the loop. Connections are kept for
 * the next job. For admin requests and releases: short, few, with a transaction each. */
#ifndef STEELYARD_CONTROLPLANE_STORE_WORK_H
#define STEELYARD_CONTROLPLANE_STORE_WORK_H

#include <uv.h>

#include "controlplane/store/pq.h"

struct work;

/* Worker thread. Touches only conn and arg. Returns 0 or ERR_*, with err filled. A transaction left
 * open is rolled back. */
typedef int (*work_run_cb)(void *arg, struct pq_conn *conn, struct err *err);
/* Loop thread, exactly once per work_submit that returned 0. */
typedef void (*work_done_cb)(void *arg, int status, const struct err *err);

struct work_config {
    const char *conninfo; /* Copied. */
    const char *application_name;
    unsigned running_max;          /* 0: 3, one less than libuv's default pool. */
    unsigned queue_max;            /* 0: 256. */
    uint32_t connect_timeout_ms;   /* 0: 5 s. */
    uint32_t statement_timeout_ms; /* 0: 30 s. */
};

int work_create(uv_loop_t *loop, const struct work_config *config,
                struct work **out_work) MUST_CHECK;
/* ERR_BUSY: queue full; ERR_CANCELED: closing. No callback after an error. */
int work_submit(struct work *w, work_run_cb run, work_done_cb done, void *arg) MUST_CHECK;
/* Waiting jobs end with ERR_CANCELED, running ones as they will; then the callback, w is gone. */
void work_close(struct work *w, pq_close_cb cb, void *arg);

#endif
