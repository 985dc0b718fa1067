/* snapshot_rollout.h: a policy on its way from its stable version to a candidate, as a snapshot
 * holds it. What may change at any moment without a snapshot (nobody watches it any more, it was
 * aborted) is behind one flag, the gate, that all snapshots with this rollout share; rollouts.h
 * says when it opens and closes. */
#ifndef STEELYARD_DATAPLANE_STATE_SNAPSHOT_ROLLOUT_H
#define STEELYARD_DATAPLANE_STATE_SNAPSHOT_ROLLOUT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/hash.h"
#include "common/base/str.h"

struct snapshot_policy;

enum rollout_state {                            /* RolloutState of control.proto. */
                     ROLLOUT_STATE_UNKNOWN = 0, /* Never opens. */
                     ROLLOUT_STATE_SHADOW = 1,
                     ROLLOUT_STATE_CANARY = 2,
                     ROLLOUT_STATE_HOLD = 3,
};

/* Made closed. The control loop writes it, workers read it. */
struct rollout_gate {
    atomic_uint refs;
    uint64_t id;
    atomic_bool open;
};
struct rollout_gate *rollout_gate_create(uint64_t id); /* NULL: out of memory. */
struct rollout_gate *rollout_gate_ref(struct rollout_gate *gate);
void rollout_gate_unref(struct rollout_gate *gate); /* NULL is allowed. */

struct snapshot_rollout {
    uint64_t id; /* Never 0. */
    enum rollout_state state;
    uint32_t stage;
    uint32_t pct_bp; /* Slots below it are the candidate's; 0 in shadow. */
    struct siphash_key salt;
    uint32_t ttl_ms; /* Never 0. */
    const struct snapshot_policy *stable;
    const struct snapshot_policy *candidate; /* Never NULL; rollout of it is NULL. */
    struct str version;                      /* Of the resource: another one starts the ttl anew. */
    struct rollout_gate *gate;
};

/* Any thread: is the candidate in use here, be it in shadow only? Else the node serves the stable
 * version and says so in its records (arm 3). */
static inline bool snapshot_rollout_open(const struct snapshot_rollout *rollout)
{
    return atomic_load_explicit(&rollout->gate->open, memory_order_relaxed);
}

#endif
