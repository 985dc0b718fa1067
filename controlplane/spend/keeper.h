/* keeper.h: what goes on about spending without being asked, while this replica leads
 * LEADER_KEEPER: thresholds are noticed and their messages posted to the budgets' webhooks, and
 * once a day everything is reconciled. The database work is on worker threads, the messages on the
 * loop. Should two control planes both believe that they lead, each row is still done once: that is
 * guarded in the database. Loop thread. */
#ifndef STEELYARD_CONTROLPLANE_SPEND_KEEPER_H
#define STEELYARD_CONTROLPLANE_SPEND_KEEPER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "common/base/err.h"
#include "controlplane/leader/leader.h"
#include "controlplane/store/work.h"

struct keeper;

struct keeper_config {
    struct work *work; /* Borrowed until keeper_close is done, as is the leader. */
    struct leader *leader;
    bool allow_private; /* Webhooks at loopback and private addresses, and there also plain http. */
    uint32_t scan_ms;   /* 0: 5 s. */
    uint64_t retry_first_ms;     /* 0: 30 s. */
    uint64_t reconcile_every_ms; /* 0: a day. */
};

struct keeper_stats {
    uint64_t noticed;   /* Thresholds, since the start, as all of these. */
    uint64_t delivered; /* Messages, */
    uint64_t failed;    /* tries that were not. */
    uint64_t checks;
    uint64_t trued_up;
    uint64_t scan_errors;
    int64_t last_worst_ppm; /* Of the last check here. */
    int64_t last_alarms;
    int64_t last_check_wall_s; /* 0: none yet. */
};

int keeper_start(uv_loop_t *loop, const struct keeper_config *config, struct keeper **out_keeper,
                 struct err *err) MUST_CHECK;
struct keeper_stats keeper_stats(const struct keeper *k);
/* A job that runs and messages under way are awaited (at most their time limit). */
void keeper_close(struct keeper *k, void (*cb)(void *arg), void *arg);

#endif
