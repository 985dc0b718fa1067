/* config.h: steelyard.yaml -> what the control plane publishes.
 *
 * YAML 1.2 core schema, strict (reliability row B30): anchors, aliases, tags, repeated and unknown
 * keys, depth above 32 and files above 1 MiB are refused. All errors are reported at once, one a
 * line: "file:line:col: path: text; did you mean "x"?". One table of fields gives the reader, the
 * JSON Schema and the reference page. Provider keys are references and never read here.
 * Pure but for the environment and the files a value names. Thread-safe. */
#ifndef STEELYARD_CONTROLPLANE_CONFIG_CONFIG_H
#define STEELYARD_CONTROLPLANE_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"

#define CONFIG_BYTES_MAX (1U << 20)
#define CONFIG_DEPTH_MAX 32

struct config;

/* Where values may come from. Through the admin API `${env:}` and `${file:}` are plain text. */
enum config_origin { CONFIG_LOCAL_FILE, CONFIG_REMOTE };

/* ERR_SYNTAX: out_errors (may be NULL) got every finding, one a line; err the first of them.
 * `name` is what errors call the file. The result is immutable. */
int config_parse(struct str text, const char *name, enum config_origin origin,
                 struct config **out_config, struct buf *out_errors, struct err *err) MUST_CHECK;
int config_load(const char *path, struct config **out_config, struct buf *out_errors,
                struct err *err) MUST_CHECK;
void config_destroy(struct config *c); /* NULL is allowed. */

/* Bodies of resources (proto/control.proto), packed. Same config, same bytes. */
int config_catalogue(const struct config *c, struct buf *out) MUST_CHECK;
/* Only those that the file gives; what else holds is merged in when they are published. */
int config_prices(const struct config *c, struct buf *out) MUST_CHECK;

/* What derives from the deployment's root key: the first 16 bytes of SHA-256(root || label) with
 * the labels "feature", "draw", "decision-id" and "text"; hash_key_id is the first 4 bytes, little
 * endian, of SHA-256(feature). */
struct config_keys {
    uint8_t feature[16];
    uint8_t draw[16];
    uint8_t decision_id[16];
    uint8_t text[16];
    uint32_t hash_key_id;
};
void config_keys_derive(const uint8_t root_key[32], struct config_keys *out_keys);
/* c NULL: the keys alone, all else as the nodes have it by default. */
int config_limits(const struct config *c, const struct config_keys *keys,
                  struct buf *out) MUST_CHECK;

/* Policies of the file and their starting Params (version 0 and no artifact: the publisher fills
 * them in). Index below config_policy_count. */
struct config_policy {
    struct str name;
    uint32_t quality_q16;       /* Relative to the best model; 0: not set. */
    uint32_t quality_floor_q16; /* Absolute; 0: not set. */
    uint32_t explore;           /* u32 over 2^32. */
    double explore_spend;       /* Share of spend that exploring may add. */
    uint64_t retrain_ms;        /* 0: never by itself. */
};
size_t config_policy_count(const struct config *c);
struct config_policy config_policy_at(const struct config *c, size_t index);
int config_params(const struct config *c, size_t index, struct buf *out) MUST_CHECK;

/* Keys given in the file by hash. */
struct config_key {
    struct str id;         /* Also the name. */
    const uint8_t *sha256; /* 32 bytes. */
    const struct str *routes;
    size_t route_count;
    const struct str *models;
    size_t model_count;
    uint64_t rpm, tpm, concurrency; /* 0: no limit. */
    const struct str *regions;      /* Required of deployments; none: any. */
    size_t region_count;
    uint32_t require_data; /* DataTerms of control.proto. */
};
size_t config_key_count(const struct config *c);
struct config_key config_key_at(const struct config *c, size_t index);

/* Models and routes, for checks and lists. */
size_t config_model_count(const struct config *c);
struct str config_model_id(const struct config *c, size_t index);
bool config_has_route(const struct config *c, struct str name);

/* Settings of the control plane itself; the options win. Empty / 0: not set in the file. */
struct config_settings {
    struct str database;        /* store.postgres */
    struct str listen;          /* server.listen, for who starts the data plane */
    uint64_t retention_days;    /* store.retention, rounded up */
    uint64_t label_maturity_ms; /* telemetry.label_maturity */
};
struct config_settings config_settings(const struct config *c);

/* Every value that holds, defaults included, as text: "models.small.price.input", "0.25". In the
 * table's order; the connection string of the database only as "(given)". ERR_TOO_LARGE: a path
 * that is too long; else what cb returned. */
typedef int (*config_fact_cb)(void *arg, struct str path, struct str value);
int config_facts(const struct config *c, config_fact_cb cb, void *arg) MUST_CHECK;

/* JSON Schema (draft-07) and the reference page, from the same table. */
int config_schema_json(struct buf *out) MUST_CHECK;
int config_reference_markdown(struct buf *out) MUST_CHECK;

#endif
