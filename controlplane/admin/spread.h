/* spread.h: who has a change. Who makes a key and uses it in the next line is not refused: the call
 * that made it is answered when every connected node has its generation on its disk, or at a limit.
 *
 * Nodes that are connected here are known as of now, those of other control planes from the rows
 * that these write (replicas.h), read while somebody waits. Not waited for: a node that is not
 * connected (it gets the change with the first message after its return), that refused it, or that
 * has not answered for SPREAD_SILENT_MS, so that a node which is stuck delays one call and not all
 * of them until its connection is given up. At most SPREAD_WAITS_MAX wait; who comes then, or while
 * the control plane ends, is answered at once. Loop thread. */
#ifndef STEELYARD_CONTROLPLANE_ADMIN_SPREAD_H
#define STEELYARD_CONTROLPLANE_ADMIN_SPREAD_H

#include <uv.h>

#include "common/base/list.h"
#include "controlplane/admin/admin.h"
#include "controlplane/replicas/replicas.h"

#define SPREAD_WAIT_MS     5000U /* Unless the call says otherwise. */
#define SPREAD_WAIT_MAX_MS 60000U
#define SPREAD_SILENT_MS   5000U
#define SPREAD_WAITS_MAX   64U

enum spread_ending {
    SPREAD_ALL,     /* Every connected node has it. */
    SPREAD_SOME,    /* From the others nothing is to be expected soon. */
    SPREAD_TIMEOUT, /* The limit of the call. */
    SPREAD_BUSY,    /* Too many wait. */
    SPREAD_GONE,    /* The client left. */
    SPREAD_STOPPING /* This control plane ends. */
};
#define SPREAD_ENDINGS 6U
const char *spread_end_name(enum spread_ending end);

struct spread_stats {
    uint64_t ended[SPREAD_ENDINGS];
};

struct spread_wait {
    uint64_t generation, wait_ms;
    bool is_gone;                             /* The client left before. */
    void (*on_end)(struct spread_wait *wait); /* Once; end and count are set. */
    enum spread_ending end;
    struct nodes_spread count;
    /* Private. */
    struct list link;
    uint64_t until_ms;
    uint64_t reading; /* The first read of the rows that began after this. */
};

struct spread { /* Private, but for stats. */
    const struct admin_config *config;
    uv_timer_t timer;
    struct list waits;
    size_t waiting;
    unsigned ticks;
    uint64_t started, finished; /* Reads. A job runs while they differ. */
    struct replicas_node *rows, *read_rows;
    size_t row_count, read_count;
    bool stopping, timer_closed;
    void (*on_closed)(void *arg);
    void *closed_arg;
    struct spread_stats stats;
};

void spread_init(struct spread *s, uv_loop_t *loop, const struct admin_config *config);
/* on_end comes later, or from inside when there is nothing to wait for any more. */
void spread_begin(struct spread *s, struct spread_wait *wait);
void spread_end(struct spread *s, struct spread_wait *wait, enum spread_ending end);
void spread_drain(struct spread *s); /* Nobody waits from here on. */
/* When nobody waits any more; the callback comes when the last read ended. */
void spread_close(struct spread *s, void (*cb)(void *arg), void *arg);

/* Over all control planes; rows may be NULL. */
struct nodes_spread spread_count(const struct admin_config *config,
                                 const struct replicas_node *rows, size_t row_count,
                                 uint64_t generation);

#endif
