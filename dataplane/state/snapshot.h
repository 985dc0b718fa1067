/* snapshot.h: what the control plane told this node, as one immutable view: providers, models,
 * routes, policies, keys, limits. Built from resource bodies on the control loop, verified whole
 * before it replaces the view in service; every lookup takes constant time and no lock.
 *
 * Pinning. Each worker owns a snapshot_reader. The control loop hands a new snapshot to each reader
 * through one atomic pointer; a request pins what its worker holds by a plain counter and unpins it
 * at its end. What no request of a worker uses any more goes back to the control loop, which alone
 * frees snapshots. So a request touches no shared cache line and frees nothing large.
 *
 * Names are borrowed from the snapshot: a request that outlives its pin copies what it needs. */
#ifndef STEELYARD_DATAPLANE_STATE_SNAPSHOT_H
#define STEELYARD_DATAPLANE_STATE_SNAPSHOT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/base/map.h"
#include "common/base/str.h"
#include "common/crypto/digest.h"
#include "common/crypto/secret.h"
#include "common/hosts/hosts.h"
#include "common/route/artifact.h"
#include "common/route/features.h"
#include "common/route/policy.h"
#include "common/route/price.h"
#include "common/route/require.h"
#include "common/route/rule.h"
#include "common/route/tree.h"
#include "dataplane/credential/credential.h"
#include "dataplane/state/accounts.h"
#include "dataplane/state/keyring.h"
#include "dataplane/state/snapshot_rollout.h"

#define SNAPSHOT_PROVIDERS_MAX   256
#define SNAPSHOT_MODELS_MAX      4096
#define SNAPSHOT_ROUTES_MAX      4096
#define SNAPSHOT_POLICIES_MAX    256
#define SNAPSHOT_DEPLOYMENTS_MAX 64  /* Of one model. */
#define SNAPSHOT_PRICES_MAX      16  /* Rows of one deployment, by valid_from. */
#define SNAPSHOT_RETRIES         2   /* Of a route that does not say. */
#define SNAPSHOT_NAME_BYTES_MAX  256 /* Of any id or name. */
#define SNAPSHOT_FALLBACKS_MAX   16  /* Of one route. */
#define SNAPSHOT_AFFINITY_S_MAX  (7U * 86400U)

struct snapshot_timeouts { /* Milliseconds; never 0: F12's defaults are filled in. */
    uint32_t connect_ms;
    uint32_t tls_ms;
    uint32_t head_ms;
    uint32_t first_content_ms;
    uint32_t between_events_ms;
    uint32_t total_ms;
};

enum snapshot_transport {
    SNAPSHOT_TRANSPORT_AUTO,
    SNAPSHOT_TRANSPORT_LEAN,
    SNAPSHOT_TRANSPORT_LIBCURL,
};

struct snapshot_header {
    struct str name; /* Lower case. */
    struct str value;
};
#define SNAPSHOT_HEADERS_MAX 16

/* What the secret is (control.proto, Credential). */
enum snapshot_credential {
    SNAPSHOT_CREDENTIAL_KEY,
    SNAPSHOT_CREDENTIAL_AWS_KEYS,
    SNAPSHOT_CREDENTIAL_AWS_WEB_IDENTITY,
    SNAPSHOT_CREDENTIAL_GOOGLE_SERVICE_ACCOUNT,
    SNAPSHOT_CREDENTIAL_GOOGLE_METADATA,
};

struct snapshot_provider {
    struct str name;
    struct str type;         /* "openai" */
    const struct host *kind; /* Of that type; NULL: none is known here, it is not used. */
    struct str version;      /* anthropic-version, api-version; empty: the default. */
    struct str region;
    struct str project;
    bool reject_unsupported; /* What cannot be said to it is refused, not dropped. */
    bool no_repair;
    enum snapshot_credential credential;
    uint32_t header_count; /* Fixed fields of every request. */
    const struct snapshot_header *headers;
    struct str base_url; /* As configured; its parts follow. */
    bool tls;
    struct str host; /* Without brackets. */
    uint16_t port;
    struct str prefix;        /* "/v1", or empty. No trailing slash. */
    struct str origin;        /* "https://host:port": what the secret is bound to. */
    struct str secret_ref;    /* "env:NAME", "file:/path" or empty. */
    struct secret *secret;    /* NULL: no auth header, or secret_missing. */
    bool secret_missing;      /* secret_ref could not be resolved here: do not use the provider. */
    struct credential *shown; /* What is shown instead of the secret: may run out; NULL: nothing. */
    bool allow_private;       /* Private, loopback and link-local addresses are allowed. */
    bool abort_stops_billing;
    bool collects_nothing;
    bool propagate; /* Send traceparent upstream. */
    enum snapshot_transport transport;
    struct str ca_file;
    struct snapshot_timeouts timeouts;
    uint32_t failure_domain;
    uint32_t ordinal; /* In snapshot.providers. */
};

struct snapshot_price {
    uint64_t id;
    int64_t valid_from_us;
    struct price price;
};

struct snapshot_deployment {
    const struct snapshot_provider *provider;
    struct str upstream_model;
    struct str name;   /* "provider/upstream-model": names breakers and metrics across snapshots. */
    struct str region; /* Where it runs; empty: not stated. */
    uint32_t data;     /* REQUIRE_NOT_* that are stated of it. */
    uint32_t priority; /* Lower is tried first. */
    /* In which it is asked, by the caller's; provider->kind is known. */
    enum dialect dialects[DIALECT_CALLERS];
    uint32_t weight;  /* At least 1. */
    uint32_t ordinal; /* Over the whole snapshot, 0..deployment_count-1. */
    uint32_t price_count;
    const struct snapshot_price *prices; /* valid_from descending. */
};

struct snapshot_model {
    struct str id;
    struct str display_name; /* The id when none was given. */
    uint32_t ordinal;        /* In snapshot.models. */
    uint64_t name_hash;      /* scope_hash(id) */
    bool plain;              /* str_is_plain(id) */
    const struct snapshot_deployment *deployments;
    uint32_t deployment_count; /* At least 1. */
    uint32_t context_window;   /* Tokens, 0: unknown. */
    uint32_t max_output;       /* Tokens, 0: unknown. */
    uint32_t capabilities;     /* ModelCapability bits; 0: unknown, nothing is excluded. */
    uint32_t prior_q16;        /* POLICY_NO_PRIOR: unknown. */
    uint32_t prior_out;        /* 0: unknown. */
    int64_t created_s;
    const struct account *account; /* Its group's; NULL: no limit. */
};

struct snapshot_policy {
    struct str name;
    uint64_t version;
    struct str version_text;         /* "name@N" */
    const struct artifact *artifact; /* NULL: none yet. */
    struct str artifact_sha;         /* 32 bytes, or empty. */
    struct sha256 params_sha;        /* Of the PARAMS body. */
    struct policy_params params;
    uint32_t default_out_tokens;            /* 0: none. */
    const struct snapshot_rollout *rollout; /* From this version to another; NULL: none. */
};

struct snapshot_candidate {
    const struct snapshot_model *model;
    int32_t ordinal;      /* In the policy's artifact, or POLICY_UNKNOWN_MODEL. */
    int32_t next_ordinal; /* The same in that of its rollout's candidate. */
    uint32_t weight;
    uint32_t priority;
};

/* Lists of models that take over, by what went wrong. */
enum snapshot_fallback {
    SNAPSHOT_FALLBACK_ANY, /* All candidates failed. */
    SNAPSHOT_FALLBACK_CONTEXT_WINDOW,
    SNAPSHOT_FALLBACK_CONTENT_POLICY,
    SNAPSHOT_FALLBACK_RATE_LIMIT,
    SNAPSHOT_FALLBACKS
};
#define SNAPSHOT_CONDITIONS_MAX 32

struct snapshot_condition {
    const struct rule_step *steps; /* Valid. */
    uint32_t count;
    uint32_t then; /* A target, as in tree.h. */
};
struct snapshot_models {
    const struct snapshot_model *const *items;
    uint32_t count;
};

struct snapshot_route {
    struct str name;
    uint32_t ordinal;                            /* In snapshot.routes. */
    uint64_t name_hash;                          /* scope_hash(name) */
    const struct snapshot_policy *policy;        /* NULL: first candidate that can serve. */
    const struct snapshot_candidate *candidates; /* 1..POLICY_CANDIDATES_MAX, in route order. */
    uint32_t candidate_count;
    enum way way; /* How they are ordered; not LEARNED: there is no policy. */
    struct snapshot_models fallbacks[SNAPSHOT_FALLBACKS]; /* By enum snapshot_fallback. */
    struct tree tree;                                     /* Of the candidates; valid. */
    const struct snapshot_condition *conditions;
    uint32_t condition_count;
    uint32_t default_target; /* POLICY_NONE: none. */
    uint32_t timeout_ms;     /* 0: none of its own. */
    uint32_t retries;
    uint32_t affinity_s; /* So long a session stays where it was served; 0: it does not. */
    struct require require;
    uint32_t hedge_share;    /* Of the node's requests, of 2^32; 0: no hedging. */
    uint32_t hedge_after_ms; /* 0: the deployment's own 95th percentile. */
};

struct snapshot_limits {
    bool has_keys; /* The control plane has sent the keys below. */
    struct siphash_key feature_key;
    struct siphash_key draw_key;
    struct siphash_key decision_id_key;
    struct siphash_key text_key;
    uint32_t hash_key_id;
    uint32_t body_max_bytes; /* 0: the node's own. */
    uint32_t stream_head_after_ms;
    uint32_t keepalive_ms;
    struct features_hasher hasher;    /* Of feature_key. */
    struct hash_text_key text_hasher; /* Of text_key. */
};

struct snapshot {
    uint32_t era;
    uint64_t generation;
    int64_t applied_us;       /* Wall clock when it was built, for records. */
    uint64_t applied_mono_ms; /* For Decision.config_age_s. */
    const struct snapshot_provider *providers;
    uint32_t provider_count;
    const struct snapshot_model *models;
    uint32_t model_count;
    uint32_t deployment_count;
    const struct snapshot_route *routes;
    uint32_t route_count;
    const struct snapshot_policy *policies;
    uint32_t policy_count;
    /* Candidates of rollouts, begun or not: verified, found by no name. */
    const struct snapshot_policy *next_policies;
    uint32_t next_policy_count;
    const struct snapshot_rollout *rollouts;
    uint32_t rollout_count;
    struct snapshot_limits limits;
    struct keyring keyring;
    struct accounts accounts;
    /* The rest is private to snapshot*.c. */
    struct map models_by_id;
    struct map routes_by_name;
    struct map policies_by_name;
    struct resource_set *resources; /* What it was built from; see resources.h. */
    struct snapshot_policy_private *policy_artifacts;
    struct snapshot_policy_private *next_policy_artifacts;
    struct arena arena;
    struct arena_pool pool;
    atomic_uint refs;
};

/* Borrowed from the snapshot; NULL: unknown. */
const struct snapshot_model *snapshot_model(const struct snapshot *s, struct str id);
const struct snapshot_route *snapshot_route(const struct snapshot *s, struct str name);
const struct snapshot_policy *snapshot_policy(const struct snapshot *s, struct str name);
/* The candidate that may follow this policy's version; NULL: none is here. Not for requests: they
 * have policy->rollout. */
const struct snapshot_policy *snapshot_next_policy(const struct snapshot *s, struct str name);
/* The row in force at that time; NULL: price unknown. */
static inline const struct snapshot_price *snapshot_price(const struct snapshot_deployment *d,
                                                          int64_t wall_us)
{
    for (uint32_t i = 0; i < d->price_count; i++)
        if (d->prices[i].valid_from_us <= wall_us)
            return &d->prices[i];
    return NULL;
}
/* May the key use it? */
static inline bool snapshot_key_has_model(const struct identity *i, const struct snapshot_model *m)
{
    return scope_has(i->terms->models, m->id, m->name_hash);
}
static inline bool snapshot_key_has_route(const struct identity *i, const struct snapshot_route *r)
{
    return scope_has(i->terms->routes, r->name, r->name_hash);
}
/* Seconds since the snapshot was applied; 0 if that came after now_ms. */
static inline uint32_t snapshot_age_s(const struct snapshot *s, uint64_t now_ms)
{
    return now_ms > s->applied_mono_ms ? (uint32_t)((now_ms - s->applied_mono_ms) / 1000) : 0;
}

void snapshot_ref(struct snapshot *s);
/* The last one frees everything, also on other threads than the control loop (tests, tools). */
void snapshot_unref(struct snapshot *s); /* NULL is allowed. */

/* ---- the node's current snapshot, its readers and pins ---- */

struct snapshot_reader;

/* One request's hold on a snapshot. */
struct snapshot_pin {
    const struct snapshot *snapshot;
    /* Private. */
    struct snapshot_reader *reader;
    struct snapshot_pin *next;
    uint32_t uses;
};

struct snapshot_cell; /* One per node; belongs to the control loop but for the readers' side. */
struct snapshot_cell *snapshot_cell_create(uint32_t readers); /* NULL: out of memory. */
/* After every reader was closed (or never used). Drops all snapshots. */
void snapshot_cell_destroy(struct snapshot_cell *cell);
/* Control loop. Takes a reference of its own and offers the snapshot to every reader. ERR_NOMEM
 * leaves the old one in place everywhere. Also reaps what readers gave back. */
int snapshot_cell_publish(struct snapshot_cell *cell, struct snapshot *s) MUST_CHECK;
struct snapshot *snapshot_cell_current(struct snapshot_cell *cell); /* Control loop; borrowed. */
void snapshot_cell_reap(struct snapshot_cell *cell); /* Control loop; call now and then. */
/* Any thread: generation in service (0: none yet), so that readiness needs no pin. */
uint64_t snapshot_cell_generation(const struct snapshot_cell *cell);

/* The i-th reader; from then on it belongs to one worker thread. */
struct snapshot_reader *snapshot_cell_reader(struct snapshot_cell *cell, uint32_t index);
/* NULL: no snapshot has arrived yet (answer 503). Never blocks, never allocates. */
struct snapshot_pin *snapshot_pin(struct snapshot_reader *reader);
/* Which one it would be, for who holds a pin and asks whether it is still the newest. */
const struct snapshot *snapshot_newest(struct snapshot_reader *reader);
/* Same thread as the pin. Once per snapshot_pin. */
void snapshot_unpin(struct snapshot_pin *pin);
/* Worker, now and then while idle: lets go of a superseded snapshot no request uses. */
void snapshot_reader_refresh(struct snapshot_reader *reader);
/* Worker, when it ends: no pins are left. */
void snapshot_reader_close(struct snapshot_reader *reader);

#endif
