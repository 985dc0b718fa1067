/* controller.h: the loop's half: when to look, what to tell the nodes, what became of it. The
 * looking is done by jobs on worker threads (look.h), one at a time.
 *
 * The replica that leads LEADER_ROLLOUT looks at each rollout once per bucket. Every replica reads
 * which rollouts were looked at within the last minute and says so to its nodes, so that their ttl
 * starts again; and writes the aborts that it could not write when they were asked for. Loop
 * thread. */
#ifndef STEELYARD_CONTROLPLANE_ROLLOUT_CONTROLLER_H
#define STEELYARD_CONTROLPLANE_ROLLOUT_CONTROLLER_H

#include <uv.h>

#include "controlplane/leader/leader.h"
#include "controlplane/rollout/aborts.h"
#include "controlplane/rollout/look.h"
#include "controlplane/store/work.h"

struct controller;

struct controller_config {
    struct work *work; /* Borrowed until controller_close is done, as the next. */
    struct leader *leader;
    const char *state_dir;       /* NULL: aborts are kept in memory only. Read during create. */
    uint32_t tick_ms;            /* 0: 1 s. */
    struct siphash_key draw_key; /* For recomputing decisions. */
    /* To the nodes that are connected here. */
    void (*on_watch)(void *arg, const uint64_t *ids, size_t count);
    void (*on_abort)(void *arg, uint64_t id);
    /* A person wants this: to the other control planes. From inside controller_abort; may be NULL.
     */
    void (*on_wish)(void *arg, const struct abort_wish *wish);
    void (*on_published)(void *arg); /* There is a new generation. */
    void *arg;
};

struct controller_stats {
    uint64_t active; /* Rollouts and overrides, as of the last reading. */
    uint64_t watched;
    uint64_t looks, failed_looks, rows;          /* Since the start. */
    uint64_t forward, held, halted, rolled_back; /* Edges that this replica took. */
    uint64_t replayed, replay_differs;           /* Decisions of candidates that were recomputed. */
    uint64_t aborts_waiting;
    uint64_t last_look_wall_s;
};

int controller_create(uv_loop_t *loop, const struct controller_config *config,
                      struct controller **out_controller, struct err *err) MUST_CHECK;
/* Waits for the job under way. */
void controller_close(struct controller *c, void (*cb)(void *arg), void *arg);

/* A person aborts: nodes are told from inside this call, and it is kept until controller_settle or
 * until it was written. ERR_LIMIT: nodes were told, but it will be forgotten. */
int controller_abort(struct controller *c, const struct abort_wish *wish,
                     struct err *err) MUST_CHECK;
/* A person wants it at another control plane: nodes that are connected here are told at once, and
 * it is written by whoever is first. */
void controller_hear(struct controller *c, const struct abort_wish *wish);
/* It was written, or there was nothing to abort. */
void controller_settle(struct controller *c, int64_t id);
struct controller_stats controller_stats(const struct controller *c);

#endif
