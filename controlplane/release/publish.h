/* publish.h: what every node should run: the resources of the current generation.
 *
 * A change writes its rows, the new resources, generation + 1 and its audit row in one transaction
 * that holds the lock on the head; readers see whole generations. Versions are rows: a policy
 * version is (name, number) and has one content for ever. A rollback is a new, higher number with
 * the old content, in a new generation.
 *
 * Two halves:
 *  - struct publish (loop thread): keeps the current set in memory, learns of changes by NOTIFY (a
 *    hint) and by looking every 2 s, and stores what nodes acknowledge.
 *  - publish_* functions on a pq_conn (worker thread, see store/work.h): the changes themselves. */
#ifndef STEELYARD_CONTROLPLANE_RELEASE_PUBLISH_H
#define STEELYARD_CONTROLPLANE_RELEASE_PUBLISH_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "common/crypto/digest.h"
#include "controlplane/leader/leader.h"
#include "controlplane/store/pq.h"

/* --- the current set ---------------------------------------------------------------------------
 */

struct publish_resource {
    struct str key;                 /* "catalogue", "artifact/<policy>", ... (control.proto) */
    uint32_t type;                  /* ResourceType */
    char version[SHA256_HEX_BYTES]; /* Hex sha256 of body. */
    struct str body;
    uint64_t generation; /* In which it last changed. */
    uint32_t ttl_s;      /* Of a rollout: unwatched so long it ends on a node; 0: not said. */
};

/* Immutable. Sorted in push order: catalogue, prices, limits, artifacts, params, accounts, keys,
 * rollouts. */
struct publish_set {
    uint32_t era;
    uint64_t generation;
    const struct publish_resource *items;
    size_t count;
};
void publish_set_ref(const struct publish_set *set);
void publish_set_unref(const struct publish_set *set); /* NULL is allowed. */

struct publish;
typedef void (*publish_changed_cb)(void *arg, const struct publish_set *set);
typedef void (*publish_close_cb)(void *arg);

struct publish_config {
    const char *conninfo;
    uint32_t poll_ms;              /* 0: 2 s. */
    publish_changed_cb on_changed; /* New set in place; also the first one. */
    void *arg;
};
int publish_create(uv_loop_t *loop, const struct publish_config *config,
                   struct publish **out_publish, struct err *err) MUST_CHECK;
void publish_close(struct publish *p, publish_close_cb cb, void *arg);
/* Borrowed; NULL until the first one was read. Keep it across turns with publish_set_ref. */
const struct publish_set *publish_current(const struct publish *p);
void publish_refresh(struct publish *p);     /* Look now (after a change of our own). */
bool publish_is_up(const struct publish *p); /* Postgres is reachable. */

/* What nodes said; stored in push_log. */
void publish_acked(struct publish *p, const char *node_id, uint64_t generation);
void publish_nacked(struct publish *p, const char *node_id, uint64_t generation, struct str key,
                    struct str version, struct str code, struct str detail);

/* --- changes -----------------------------------------------------------------------------------
 */

/* Who does it and why; goes to audit_log. Borrowed. */
struct publish_actor {
    struct str name;   /* "operator", "config", "trainer" */
    struct str reason; /* May be empty where the caller allows it. */
    /* NULL: a person or a file, on any replica: the lock on the head orders them. A leader: a newer
     * term of its role refuses the change with ERR_CONFLICT. Borrowed. */
    const struct leader_claim *claim;
};

/* A resource to set (body.data NULL: remove). type 0 with a removal. */
struct publish_change {
    struct str key;
    uint32_t type;
    struct str body;
};

/* A transaction around a change: begin is the leader's fence, if any, and locks the head, end bumps
 * the generation when a resource really changed (same body: no change), writes the audit row,
 * notifies and commits. In between the caller runs its own statements on c. After an error the
 * caller rolls back with publish_abort. */
int publish_begin(struct pq_conn *c, const struct publish_actor *actor, struct err *err) MUST_CHECK;
int publish_put(struct pq_conn *c, const struct publish_change *change, struct err *err) MUST_CHECK;
/* detail: JSON text for the audit row. *out_generation: the current one afterwards. */
int publish_commit(struct pq_conn *c, const struct publish_actor *actor, struct str action,
                   struct str subject, struct str detail, uint64_t *out_generation,
                   struct err *err) MUST_CHECK;
void publish_abort(struct pq_conn *c);
/* Between begin and commit: did a resource change? */
int publish_is_changed(struct pq_conn *c, bool *out_changed, struct err *err) MUST_CHECK;

/* The Keys resources "keys/00" to "keys/ff" from api_key (between begin and commit): those whose
 * rows changed since they were last made. ERR_LIMIT: more than PUBLISH_KEYS_MAX keys. */
#define PUBLISH_KEYS_MAX 200000
int publish_put_keys(struct pq_conn *c, struct err *err) MUST_CHECK;
/* The Accounts resource from account and budget (between begin and commit). */
int publish_put_accounts(struct pq_conn *c, struct err *err) MUST_CHECK;

/* The Prices resource (between begin and commit): what the configuration gives (packed Prices; rows
 * of other sources in it are left out) wins over imported prices, and these over the shipped table,
 * for the models and providers of the catalogue (packed Catalogue). */
int publish_put_prices(struct pq_conn *c, struct str catalogue, struct str given,
                       struct err *err) MUST_CHECK;
/* The same from what is in force, after an import. */
int publish_refresh_prices(struct pq_conn *c, struct err *err) MUST_CHECK;

/* --- policy versions -----------------------------------------------------------------------------
 */

struct publish_policy {
    struct str name;
    struct str artifact;    /* The file. */
    struct str params;      /* Packed Params; policy, version and artifact_sha256 are set here. */
    struct str report_json; /* metrics, frontier, gates, ... as the report endpoint shows them. */
    struct str target_json;
    struct str data_digest; /* 32 bytes, or empty. */
    uint64_t rows;
    struct str verdict; /* learn_verdict_name; empty: none. */
    bool gates_ok;      /* false: stored as rejected, cannot be promoted. */
};
/* Stores artifact (by content), params and the version row (state candidate or rejected). */
int publish_policy_store(struct pq_conn *c, const struct publish_actor *actor,
                         const struct publish_policy *policy, uint64_t *out_version,
                         struct err *err) MUST_CHECK;
/* A person makes a candidate (or previous) version the current one, without evidence. A rollout of
 * this version ends as promoted. ERR_NOT_FOUND; ERR_CONFLICT: rejected, or a rollout of another
 * version or an override is under way. */
int publish_policy_promote(struct pq_conn *c, const struct publish_actor *actor, struct str name,
                           uint64_t version, uint64_t *out_generation, struct err *err) MUST_CHECK;
/* Brings the content of version `to` (0: the one before the current) back under a new number. */
int publish_policy_rollback(struct pq_conn *c, const struct publish_actor *actor, struct str name,
                            uint64_t to, uint64_t *out_version, uint64_t *out_generation,
                            struct err *err) MUST_CHECK;
/* The same content as a candidate, for a rollout back to it; between begin and commit. *io_of:
 * which one (0: the one before the current), and then which it was. ERR_CONFLICT: that never
 * served, or serves now. */
int publish_policy_copy(struct pq_conn *c, const struct publish_actor *actor, struct str name,
                        uint64_t *io_of, uint64_t *out_version, struct err *err) MUST_CHECK;
/* The same between begin and commit, for a rollout that ends well; *out_from: the version before.
 */
int publish_policy_install(struct pq_conn *c, struct str name, uint64_t version, uint64_t *out_from,
                           struct err *err) MUST_CHECK;
/* The version in service with other numbers in its Params: a new version in service, copy_of
 * `approved` (the version whose content it otherwise is). Also the audit row, in a transaction of
 * its own. ERR_CONFLICT: `current` is not in service any more, or a rollout or an override is under
 * way: what it compares with must not move. */
struct publish_tune {
    struct str name;
    uint64_t current;
    uint64_t approved;
    int64_t lambda;       /* Negative: as it is. */
    int64_t explore;      /* eps_cap, of 2^32; negative: as it is. */
    struct str model;     /* Whose offset is changed; empty: none. */
    int32_t offset_added; /* Q16 logits, to what it has; within ARTIFACT_OFFSET_MAX. */
    struct str detail;    /* JSON of the audit row. */
    /* Runs before the commit with the new number; may be NULL. */
    int (*also)(void *arg, struct pq_conn *c, uint64_t version, struct err *err);
    void *arg;
};
int publish_policy_tune(struct pq_conn *c, const struct publish_actor *actor,
                        const struct publish_tune *tune, uint64_t *out_version,
                        struct err *err) MUST_CHECK;
/* Between begin and commit: policy `name` exists with the floor and exploration of these Params (of
 * the file). The first version has no artifact; a later change of the file makes a new version with
 * the artifact in service. */
int publish_put_policy(struct pq_conn *c, const struct publish_actor *actor, struct str name,
                       struct str params, struct err *err) MUST_CHECK;

/* --- rollouts: what nodes get of them (controlplane/rollout decides; all between begin and commit)
 */

#define PUBLISH_SALT_BYTES 16U

struct publish_rollout {
    uint64_t id;
    struct str policy;
    uint64_t candidate; /* Version number. */
    uint32_t state;     /* RolloutState */
    uint32_t stage;     /* 0: shadow; 1: the first. */
    uint32_t pct_bp;
    const uint8_t *salt;                        /* 16 bytes */
    struct str stable_params, candidate_params; /* Hex sha256. */
};
/* "rollout/<policy>", and the candidate's parameters and, unless stable's is the same, artifact. */
int publish_put_rollout(struct pq_conn *c, const struct publish_rollout *r,
                        struct err *err) MUST_CHECK;
/* Removes the three. */
int publish_remove_rollout(struct pq_conn *c, struct str policy, struct err *err) MUST_CHECK;
/* A person (or the file) changes what is in service while a rollout or an override may be under
 * way. version 0: whatever is under way ends (rolled_back, ended). Else a rollout of this very
 * version ends as promoted, and anything else refuses with ERR_CONFLICT. */
int publish_rollout_overtake(struct pq_conn *c, const struct publish_actor *actor,
                             struct str policy, uint64_t version, struct err *err) MUST_CHECK;
/* Hex sha256 of the Params of a version, and its state. version 0: the current one.
 * ERR_NOT_FOUND. */
struct publish_version {
    uint64_t version;
    char state[16];
    char verdict[16]; /* learn_verdict_name, or none. */
    char params[SHA256_HEX_BYTES];
};
int publish_policy_find(struct pq_conn *c, struct str name, uint64_t version,
                        struct publish_version *out, struct err *err) MUST_CHECK;

#endif
