/* internal.h: what the importers share: the tree of the original with its findings, and the plan
 * that is printed at the end. Private to controlplane/import.
 *
 * Memory: everything lies in one arena. A failed allocation or a limit is kept in import.status and
 * checked once, at the end; until then every function goes on with what it has. */
#ifndef STEELYARD_CONTROLPLANE_IMPORT_INTERNAL_H
#define STEELYARD_CONTROLPLANE_IMPORT_INTERNAL_H

#include <stdint.h>

#include "common/base/arena.h"
#include "common/hosts/hosts.h"
#include "controlplane/config/yaml.h"
#include "controlplane/import/import.h"

/* yaml_node.marks */
#define MARK_TOLD  1U /* Has a finding, which speaks for all inside. */
#define MARK_ABOVE 2U /* Something inside has one. */

struct note {
    struct note *next;
    struct import_finding finding;
    unsigned order;
};

#define WEIGHT_ONE 1000000U /* A weight of 1: six decimals of the original are kept. */

struct plan_text {
    struct plan_text *next;
    struct str text, value; /* value: of header fields. */
    uint64_t weight;        /* Of a route's candidate; 0: not given. */
};

struct plan_provider {
    struct plan_provider *next;
    struct str name;
    const struct host *host;
    struct str base_url;   /* Empty: the host's own. May be os.environ/NAME. */
    struct str key;        /* A reference as written, "os.environ/NAME"; empty: none. */
    struct str credential; /* Word of the configuration; empty: key. */
    struct str version, region, project;
    struct plan_text *headers;
    uint64_t total_ms, first_content_ms; /* 0: not given. */
    bool is_private, reject;
};

struct plan_deployment {
    struct plan_deployment *next;
    const struct plan_provider *provider;
    struct str model, region;
    uint64_t weight; /* Over WEIGHT_ONE. */
    uint64_t priority;
};

#define RATES 6
struct plan_model {
    struct plan_model *next;
    struct str name;  /* As the original has it. */
    struct str given; /* As ours: another one where a route took the name. */
    struct plan_deployment *deployments, *last;
    int64_t rates[RATES]; /* As catalog_rate; -1: not given. input, output, ... */
    uint64_t context_window, max_output;
    const struct yaml_node *origin; /* Where it was named first. */
};

/* Targets and conditions of a route: names of the original's models, or of targets. */
struct plan_member {
    struct plan_member *next;
    struct str what;
    uint64_t weight; /* Over WEIGHT_ONE; under a share. */
};
struct plan_target {
    struct plan_target *next;
    struct str name;
    bool balance;
    struct plan_member *members;
};
#define PLAN_QUERIES_MAX 8
struct plan_condition {
    struct plan_condition *next;
    const struct yaml_node *queries[PLAN_QUERIES_MAX]; /* All must hold. */
    unsigned count;
    struct str then;
};

struct plan_route {
    struct plan_route *next;
    struct str name;
    const char *strategy;                 /* NULL: not given. */
    struct plan_text *models, *fallbacks; /* Names of the original. */
    struct plan_text *too_long, *refused; /* Fallbacks by what went wrong. */
    struct plan_target *targets;
    struct plan_condition *conditions;
    struct str chosen_by_default; /* len 0: not given. */
    uint64_t timeout_ms;
    int retries; /* -1: not given. */
};

struct plan {
    struct plan_provider *providers, *last_provider;
    struct plan_model *models, *last_model;
    struct plan_route *routes, *last_route;
    unsigned provider_count, model_count, route_count;
};

struct import {
    struct arena_pool chunks;
    struct arena arena;
    struct import_options options;
    enum import_format format;
    struct yaml_node *root;
    struct note *notes, *last_note;
    struct note **sorted;
    size_t note_count;
    size_t counts[IMPORT_VERDICTS];
    struct plan plan;
    struct plan_text *literals; /* Secrets of the file (text) and the variables for them (value). */
    struct buf yaml;
    int status;
};

/* ---- tree.c: reading ---- */

int tree_read(struct import *i, struct str text, struct findings *findings) MUST_CHECK;
/* The value of a key: the last one, where it is repeated; NULL: none, or null. */
struct yaml_node *tree_get(const struct yaml_node *map, const char *key);
struct yaml_node *tree_get_str(const struct yaml_node *map, struct str key);
/* What is in root, itself first, in the order of the document; NULL: that was the last. */
const struct yaml_node *tree_next(const struct yaml_node *root, const struct yaml_node *at);
/* The text of a scalar; STR_NULL of anything else, of NULL and of null. */
struct str tree_text(const struct yaml_node *node);
bool tree_bool(const struct yaml_node *node, bool *out); /* true, True, yes, on, ... */
/* A number of at least 0 in units of 10^-scale ("0.5", "3"), cut; false: none. */
bool tree_fixed(const struct yaml_node *node, unsigned scale, int64_t *out);

/* ---- notes.c: findings ---- */

void note_add(struct import *i, struct yaml_node *node, enum import_verdict verdict,
              const char *format, ...) PRINTF_LIKE(4, 5);
/* What has no finding by now gets one: nobody knows it. */
void note_rest(struct import *i);
int notes_sort(struct import *i) MUST_CHECK;

/* A key that is known: what becomes of it is said by a function, or always the same. */
struct rule {
    const char *key; /* NULL ends a table. A trailing '*' stands for any rest. */
    enum import_verdict verdict;
    const char *text; /* NULL: run says it. */
    void (*run)(struct import *i, struct yaml_node *node, void *data);
};
/* Every entry of a map that has no finding yet and is in the table. */
void rules_apply(struct import *i, struct yaml_node *map, const struct rule *rules, void *data);

/* ---- values.c: what texts of the original may become ---- */

/* A copy with what is no printable ASCII replaced; at most max bytes. For findings. */
struct str value_shown(struct import *i, struct str s, size_t max);
/* A name of ours: 1 to 120 printable bytes; what cannot stand in one becomes '_'. */
struct str value_name(struct import *i, struct str s);
/* May stand in the configuration as it is: one line, printable, no reference of ours. */
bool value_is_plain(struct str s);
bool value_is_environment(struct str s, struct str *out_name); /* os.environ/NAME */
/* Variables that the file names are not given to literal secrets. Call it once, first. */
void values_reserve(struct import *i);
/* The reference in place of a secret, with its finding. suggested: a variable, for a literal one.
 * Empty: a placeholder, so none is needed. */
struct str value_secret(struct import *i, struct yaml_node *node, struct str suggested);
/* An address, with its finding; empty: it could not be taken. suffix: appended unless there. */
struct str value_address(struct import *i, struct yaml_node *node, const char *suffix);
bool value_is_own_network(struct str url); /* localhost, private addresses, names without a dot. */
bool value_is_region(struct str s);        /* "us-east-1": it becomes part of an address. */
bool value_seconds(const struct yaml_node *node, uint64_t *out_ms); /* 1 ms to a day */
bool value_names_secret(struct str key); /* "x-api-key", "aws_secret_access_key": by its words. */
struct str value_join(struct import *i, const char *format, ...) PRINTF_LIKE(2, 3);

/* ---- vendors.c ---- */

enum vendor_names { VENDOR_LITELLM, VENDOR_PORTKEY };
/* A provider as the other program calls it; NULL: no such one here. */
const struct host *vendor_find(enum vendor_names names, struct str name);
/* Of a model's name alone ("gpt-4o", "claude-..."); NULL: it could be anybody's. */
const struct host *vendor_of_model(struct str model);

/* ---- plan.c: the result ---- */

/* The provider that is just this one (name is ignored), or a new one. NULL: no memory, too many. */
const struct plan_provider *plan_provider(struct import *i, const struct plan_provider *like);
/* By its name in the original; made if it is not there. NULL as above. */
struct plan_model *plan_model(struct import *i, struct str name, const struct yaml_node *origin);
struct plan_model *plan_find_model(const struct import *i, struct str name);
struct plan_deployment *plan_deploy(struct import *i, struct plan_model *m,
                                    const struct plan_provider *provider, struct str model);
struct plan_route *plan_route(struct import *i, struct str name);
struct plan_route *plan_find_route(const struct import *i, struct str name);
/* Appends; false: it was there. */
bool plan_text_add(struct import *i, struct plan_text **list, struct str text, struct str value);
/* Asked of the table of the configuration: what it cannot say is a person's to do. */
bool plan_has_strategies(void);
bool plan_has_typed_fallbacks(void);
int plan_print(struct import *i) MUST_CHECK; /* -> i->yaml */
/* Pieces of the text. */
void plan_put(struct import *i, const char *text);
void plan_put_text(struct import *i, struct str s); /* A scalar. */
void plan_put_number(struct import *i, const char *name, uint64_t value, const char *unit);
void plan_put_tree(struct import *i, const struct plan_route *r); /* plan_tree.c */
uint64_t plan_common_divisor(uint64_t a, uint64_t b);

/* ---- the formats ---- */

void litellm_import(struct import *i);
void portkey_import(struct import *i);
void openrouter_import(struct import *i);
void route_switch_import(struct import *i);

#endif
