/* table.h: the fields of steelyard.yaml as one table. The reader, the JSON Schema and the reference
 * page all come from it. Private to controlplane/config. */
#ifndef STEELYARD_CONTROLPLANE_CONFIG_TABLE_H
#define STEELYARD_CONTROLPLANE_CONFIG_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/str.h"
#include "common/hosts/hosts.h"
#include "controlplane/config/config.h"
#include "controlplane/config/findings.h"
#include "controlplane/config/yaml.h"

/* Every item of a map or list starts with this. */
struct item {
    struct str name; /* Of a map entry. */
    const struct yaml_node *node;
};
struct items {
    void *data;
    size_t count;
};
struct texts {
    const struct str *items;
    const struct yaml_node **nodes;
    size_t count;
};

struct pairs { /* Of a map of texts. */
    const struct str *names, *values;
    const struct yaml_node **nodes;
    size_t count;
};

struct require_config {
    struct item item;
    struct texts region;
    uint64_t data_collection; /* 0: allow; 1: deny. */
    bool zdr;
};
struct affinity_config {
    struct item item;
    bool on;
    uint64_t ttl_ms;
};
struct timeouts_config {
    struct item item;
    uint64_t connect_ms, tls_ms, head_ms, first_content_ms, between_events_ms, total_ms;
};
struct compat_config {
    struct item item;
    uint64_t unsupported; /* 0: drop; 1: reject. */
    bool repair;
};
struct provider_config {
    struct item item;
    uint64_t transport, credential, data_collection; /* The last: index of terms_words. */
    struct str base_url, api_key, ca_file, failure_domain, catalog, version, region, project;
    bool is_private, propagate, abort_stops_billing, collects_nothing, zdr;
    const struct host *host; /* Its type. */
    struct pairs headers;
    struct timeouts_config timeouts;
    struct compat_config compat;
};
struct deployment_config {
    struct item item;
    struct str provider, model, region;
    uint64_t weight, priority, data_collection;
    bool zdr;
};
struct tier_config { /* nano-USD per million tokens, -1: not given. */
    struct item item;
    uint64_t above;
    int64_t input, output, cached_input, cache_write, cache_write_1h, reasoning;
};
struct price_config { /* The same. */
    struct item item;
    int64_t input, output, cached_input, cache_write, cache_write_1h, reasoning;
    struct items tiers;
    struct str valid_from;
};
struct model_config {
    struct item item;
    struct items deployments;
    uint64_t context_window, max_output, prior_output_tokens, capabilities;
    uint64_t prior_quality_q16;
    struct str display_name, valid_from;
    struct price_config price;
    struct items prices;
};
struct candidate_config {
    struct item item;
    struct str model;
    uint64_t weight, priority; /* 0: none was given. */
};
struct fallbacks_config {
    struct item item;
    struct texts usual, context_window, content_policy, rate_limit;
};
struct member_config {
    struct item item;
    struct str target;
    uint64_t weight;
};
struct target_config {
    struct item item;
    uint64_t strategy; /* 0: fallback, 1: loadbalance. */
    struct items of;
};
struct condition_config {
    struct item item;
    const struct yaml_node *query;
    struct str then;
};
struct hedge_config {
    struct item item;
    uint64_t after;     /* ms, or TABLE_DELAY_P95; 0: no hedging. */
    uint64_t max_share; /* Of 2^32. */
};
struct route_config {
    struct item item;
    struct str policy, default_target;
    struct items targets, conditions;
    struct items models; /* struct candidate_config */
    struct fallbacks_config fallbacks;
    struct hedge_config hedge;
    uint64_t timeout_ms, retries, strategy; /* Index of table_strategies. */
    struct require_config require;
    struct affinity_config affinity;
};
struct objective_config {
    struct item item;
    uint64_t quality_q16, quality_floor_q16, minimize;
};
struct policy_config {
    struct item item;
    uint64_t type;
    struct objective_config objective;
    uint64_t explore; /* Of 2^32, as explore_spend. */
    uint64_t explore_spend;
    uint64_t retrain_ms;
};
struct key_config {
    struct item item;
    struct str id, hash;
    struct texts routes, models;
    uint64_t rpm, tpm, concurrency; /* 0: no limit. */
    struct require_config require;
    uint8_t sha256[32];
};
struct server_config {
    struct item item;
    struct str listen;
    uint64_t body_max_bytes, stream_head_after_ms, keepalive_ms;
};
struct telemetry_config {
    struct item item;
    uint64_t label_maturity_ms;
};
struct store_config {
    struct item item;
    struct str postgres;
    uint64_t retention_ms;
};
struct root_config {
    struct item item;
    uint64_t version;
    struct items providers, models, routes, policies, keys;
    struct server_config server;
    struct telemetry_config telemetry;
    struct store_config store;
};

#define TABLE_DELAY_P95 UINT64_MAX

enum field_kind {
    FIELD_TEXT,
    FIELD_SECRET, /* A reference, kept as "env:NAME" or "file:/path". */
    FIELD_URL,    /* http:// or https:// */
    FIELD_BOOL,
    FIELD_NUMBER,   /* uint64, min..max */
    FIELD_DURATION, /* uint64 ms, min..max */
    FIELD_DELAY,    /* The same, or p95: TABLE_DELAY_P95 */
    FIELD_SIZE,     /* uint64 bytes, min..max */
    FIELD_MONEY,    /* int64 nano-USD (per million tokens here) */
    FIELD_SHARE,    /* 0..1 as uint64 over 2^16 */
    FIELD_CHANCE,   /* 0..1 as uint64 over 2^32, at most 2^32 - 1, and at most max unless it is 0 */
    FIELD_WORD,     /* One of words: its index. */
    FIELD_HOST,     /* One of the types in common/hosts: const struct host *. */
    FIELD_FLAGS,    /* A list of words: a bit each, 1 << index. */
    FIELD_TEXTS,    /* A list of texts. */
    FIELD_PAIRS,    /* A map of texts. */
    FIELD_SECTION,  /* A struct inside. */
    FIELD_MAP,      /* name -> section */
    FIELD_LIST,     /* - section */
    FIELD_NODE,     /* A tree that somebody else reads: const struct yaml_node *. */
};

struct section;
struct field {
    const char *name; /* NULL ends a table. */
    enum field_kind kind;
    size_t offset;
    bool required;
    const char *fallback; /* As written in a file; NULL: not set (zero; -1 for money). */
    uint64_t min, max;
    const char *const *words; /* NULL-terminated. */
    const struct section *section;
    const char *example;
    const char *help;
};
struct section {
    const char *name; /* For the reference page. */
    const char *help;
    size_t size;
    const struct field *fields;
    const struct field *shorthand; /* Of them: what a value that is no map stands for; or NULL. */
};
extern const struct section config_root_section;
extern const char
    *const table_strategies[]; /* Names of ways (common/route/way.h), ends with NULL. */

/* Reads the tree into out_root (zeroed by the caller). Adds findings; ERR_NOMEM. */
int table_read(const struct yaml_node *tree, struct arena *arena, enum config_origin origin,
               struct findings *findings, struct root_config *out_root) MUST_CHECK;
/* The types of providers as words: an array that ends with NULL, static. */
#define TABLE_HOSTS_MAX 255
void table_hosts(const char *out_words[TABLE_HOSTS_MAX + 1]);
/* "routes.auto.models[1]" of a node; cut to fit. */
void table_path(const struct yaml_node *node, char *out, size_t out_bytes);
/* A finding at a node. */
void table_finding(struct findings *findings, const struct yaml_node *node, const char *format, ...)
    PRINTF_LIKE(3, 4);

#endif
