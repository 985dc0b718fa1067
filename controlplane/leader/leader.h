/* leader.h: which control plane does what only one may do: one election per role, so that roles
 * spread over replicas. What every replica does (push, ingest, allocations, admin) needs none.
 *
 * A term is a number that rises with each holder of a role. That this replica holds one is a hint
 * for who tries; what is true is decided in Postgres: the first statement of every transaction of a
 * leader is leader_fence(), which refuses every term but the newest (LEARNING-AND-CONTROL 9).
 *
 * With etcd: term = etcd_era * 2^40 + create_revision of the owner's key. Without: this replica
 * takes a new era of every role from Postgres when it starts, and leads until another one does.
 * Changes by people are made on any replica and are not fenced by a role: the row lock on
 * config_head orders them. Loop thread, except where said. */
#ifndef STEELYARD_CONTROLPLANE_LEADER_LEADER_H
#define STEELYARD_CONTROLPLANE_LEADER_LEADER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "common/base/err.h"
#include "common/base/str.h"
#include "controlplane/store/work.h"

enum leader_role {
    LEADER_TRAINER, /* Training, drift, lambda. */
    LEADER_ROLLOUT,
    LEADER_RATES,
    LEADER_KEEPER, /* Partitions, retention, reconciliation, notices. */
    LEADER_ROLES,
};
const char *leader_role_name(enum leader_role role); /* "trainer", ...: as in leader_fence. */

#define LEADER_HOLDER_BYTES 128
#define LEADER_WORKERS      4U /* A claim that waits for one role's row delays no other role's. */
#define LEADER_STATEMENT_MS 5000U /* A claim that takes longer is made again. */
#define LEADER_ERA_SHIFT    40U   /* term = etcd_era << 40 | revision */

/* What a transaction of a leader is fenced with. holder is borrowed, from the struct leader when
 * leader_get_claim made it; that does not change while the leader lives, so any thread may read it.
 */
struct leader_claim {
    enum leader_role role;
    uint64_t term;
    struct str holder;
};

struct leader;
/* A role came (term > 0) or went (0), later than the call that caused it, never from inside one. */
typedef void (*leader_change_cb)(void *arg, enum leader_role role, uint64_t term);

struct leader_config {
    /* Claims run here. In a control plane it is leadership's own (LEADER_WORKERS at a time), so
     * that no other work, however it is blocked, delays a takeover. Borrowed until leader_close is
     * done.
     */
    struct work *work;
    const char *holder; /* This replica: --replica-id. Copied. */
    uint32_t check_ms;  /* 0: 3 s. Without etcd: how often Postgres is asked whether another one
                         * took over. */
    /* etcd: "http://127.0.0.1:2379,https://..."; NULL or "": none, this replica leads every role.
     * Borrowed until leader_close is done. */
    const char *etcd;
    const char *etcd_ca; /* PEM; NULL: the system's. */
    const char *etcd_cert, *etcd_key;
    uint32_t ttl_ms; /* Of its lease; 0: 10 s. Whole seconds. */
    /* A replica that leads far fewer could have this role: is this a bad moment? NULL: never. */
    bool (*is_busy)(void *arg, enum leader_role role);
    leader_change_cb on_change;
    void *arg;
};
/* The schema is there. Terms follow through on_change. */
int leader_create(uv_loop_t *loop, const struct leader_config *config, struct leader **out_leader,
                  struct err *err) MUST_CHECK;
/* Every role ends at once (on_change follows) and for good: with etcd the lease is given back, so
 * that others take over without waiting for its end. What runs under a role's term may still be
 * committed until somebody has claimed the next one. The second call does nothing. */
void leader_resign(struct leader *l);
/* Every role ends at once, without on_change; with etcd the keys are given back. */
void leader_close(struct leader *l, void (*cb)(void *arg), void *arg);

/* 0: not the leader here (any more). Looks at the monotonic clock, so that a process that was
 * stopped past its lease says 0 before it did anything. */
uint64_t leader_term(const struct leader *l, enum leader_role role);
/* The claim to hand to a worker thread. False, nothing written: not the leader. */
bool leader_get_claim(const struct leader *l, enum leader_role role,
                      struct leader_claim *out_claim);
struct leader_stats {
    uint64_t etcd_asked;
    uint64_t etcd_failed;           /* No answer, or one of no use. */
    uint64_t deposed[LEADER_ROLES]; /* Calls of leader_deposed. */
};
struct leader_stats leader_get_stats(const struct leader *l);
/* Nobody held the role before its present term: there is nothing that an earlier holder may have
 * left behind in other processes. */
bool leader_is_first(const struct leader *l, enum leader_role role);
/* A transaction with this claim was refused (ERR_CONFLICT of leader_fence): that is counted and
 * logged, and the role ends here at once, if that is still its term. */
void leader_deposed(struct leader *l, enum leader_role role, uint64_t term);

/* Worker thread. First statement of every transaction of a leader, inside it: takes the row of the
 * role, which orders old and new leaders. ERR_CONFLICT: a higher term was there, or the same one of
 * another holder (etcd counts anew); roll back and call leader_deposed on the loop. */
int leader_fence(struct pq_conn *c, const struct leader_claim *claim, struct err *err) MUST_CHECK;
/* The same in a transaction of its own: before work whose every step is safe to be done by two, so
 * that a deposed leader finds out and ends. */
int leader_check(struct pq_conn *c, const struct leader_claim *claim, struct err *err) MUST_CHECK;
/* Worker thread, outside a transaction. For who got ERR_CONFLICT from work that has other reasons
 * for it too: a version that cannot be promoted, a deadlock. False also when nobody can say. */
bool leader_is_deposed(struct pq_conn *c, const struct leader_claim *claim);

#endif
