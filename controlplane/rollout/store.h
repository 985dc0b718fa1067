/* store.h: a rollout as a row. All blocking, on a worker's connection; those that write do so
 * inside the caller's transaction. */
#ifndef STEELYARD_CONTROLPLANE_ROLLOUT_STORE_H
#define STEELYARD_CONTROLPLANE_ROLLOUT_STORE_H

#include "controlplane/release/publish.h"
#include "controlplane/rollout/baseline.h"
#include "controlplane/rollout/plan.h"

#define ROLLOUT_POLICY_BYTES 65U
#define ROLLOUT_XID_BYTES    24U
#define ROLLOUT_ACTIVE_MAX   64U /* Rollouts and overrides at a time: one a policy. */

/* Distinct units and requests so far, without those set apart where not said. Kept beside the
 * guards and written with them at every fold. */
struct rollout_counts {
    uint64_t total;       /* Requests, with those of units set apart. */
    uint64_t apart;       /* Units set apart. */
    uint64_t unavailable; /* Requests whose node had no candidate. */
    uint64_t votes;
    uint64_t shadowed, differs;                   /* Shadow choices, and how many differ. */
    uint64_t requests[ROLLOUT_STAGES_MAX + 1][2]; /* By stage + 1: stable, candidate. */
    uint64_t failed[2];                           /* Requests with an error. */
    uint64_t units;                               /* That came to the candidate. */
    uint64_t units_event[GUARD_EVENTS], units_valued[GUARD_MEANS];
    double cost[2], tokens[2], quality[2]; /* Sums, winsorised, for people. */
    uint64_t cost_n[2], tokens_n[2], quality_n[2];
    double shadow_cost, chosen_cost, shadow_q, chosen_q; /* Predicted, over shadow_n requests. */
    uint64_t shadow_n;
};

struct rollout {
    int64_t id;
    bool is_override;
    bool has_ended;
    char policy[ROLLOUT_POLICY_BYTES];
    uint64_t stable, candidate;
    char stable_params[SHA256_HEX_BYTES], candidate_params[SHA256_HEX_BYTES];
    struct rollout_place place; /* Not of an override. */
    uint8_t salt[PUBLISH_SALT_BYTES];
    struct rollout_plan plan;
    struct rollout_baseline baseline;
    struct guards guards;
    struct rollout_counts counts;
    int64_t created_ms;
    int64_t watched_ms;
    int64_t expires_us; /* Of an override. */
    uint64_t fold;
    char folded_xid[ROLLOUT_XID_BYTES];
};

/* Wall time of the database in microseconds. */
int rollout_now(struct pq_conn *c, int64_t *out_us, struct err *err) MUST_CHECK;

struct rollout_new {
    struct str policy;
    uint64_t candidate;
    const struct rollout_plan *plan;
    int64_t expires_us; /* Not 0: an override, which takes all traffic at once. */
    bool reverts;       /* The candidate is a copy of what served before: nothing is to be shown. */
    int64_t now_us;
};
/* Between publish_begin and publish_commit: the row, its first event and its resources. A rollout
 * starts in shadow. ERR_NOT_FOUND: no such version; ERR_CONFLICT: one is under way, or the version
 * was rejected or is in service; ERR_INVALID: its rows could not tell (verdict no_support), and the
 * plan's first stage is above 1 %. */
int rollout_create(struct pq_conn *c, const struct publish_actor *actor,
                   const struct rollout_new *in, int64_t *out_id, struct err *err) MUST_CHECK;

/* lock: the row, until the transaction ends. ERR_NOT_FOUND. */
int rollout_load(struct pq_conn *c, int64_t id, bool lock, struct rollout *out,
                 struct err *err) MUST_CHECK;
/* Ids of those under way, oldest first; at most ROLLOUT_ACTIVE_MAX. */
int rollout_list_active(struct pq_conn *c, int64_t ids[ROLLOUT_ACTIVE_MAX], size_t *out_count,
                        struct err *err) MUST_CHECK;
/* The one under way of a policy. ERR_NOT_FOUND. */
int rollout_find_active(struct pq_conn *c, struct str policy, int64_t *out_id,
                        struct err *err) MUST_CHECK;
/* Guards, counts, baseline, fold number and watermark, report and watched_at. */
int rollout_save(struct pq_conn *c, const struct rollout *r, uint64_t term, int64_t now_us,
                 const json_t *report, struct err *err) MUST_CHECK;

/* An edge between publish_begin and publish_commit: row, event, resources; the version too when it
 * is promoted. r is as loaded (with lock) in this transaction and is not changed. */
struct rollout_change {
    struct rollout_place to;
    struct str actor;
    struct str reason;      /* Of the machine, or "operator". */
    const json_t *evidence; /* May be NULL. */
    uint64_t term;          /* 0: by a person. */
    int64_t ts_us;          /* When it took effect. */
    bool reset_ratio;
};
int rollout_apply(struct pq_conn *c, const struct rollout *r, const struct rollout_change *change,
                  struct err *err) MUST_CHECK;
/* The end of an override, likewise. */
int rollout_end_override(struct pq_conn *c, const struct rollout *r, struct str actor,
                         struct str reason, uint64_t term, int64_t ts_us,
                         struct err *err) MUST_CHECK;

/* Forward edges are blocked, for this policy or for all. */
int rollout_is_frozen(struct pq_conn *c, struct str policy, bool *out_frozen,
                      struct err *err) MUST_CHECK;
int rollout_freeze(struct pq_conn *c, const struct publish_actor *actor, struct str policy,
                   struct err *err) MUST_CHECK; /* policy empty: all. ERR_CONFLICT: it is frozen. */
int rollout_unfreeze(struct pq_conn *c, const struct publish_actor *actor, struct str policy,
                     struct err *err) MUST_CHECK; /* ERR_NOT_FOUND: it is not. */

/* JSON text by jansson's allocator; NULL: out of memory. */
char *rollout_dump(const json_t *value);
void rollout_dump_free(char *text);

int counts_write(const struct rollout_counts *x, json_t **out_object) MUST_CHECK;
void counts_read(const json_t *object, struct rollout_counts *out);

#endif
