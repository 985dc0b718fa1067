/* wishes.h: what a request wishes of the way it is served, from whatever source: OpenRouter's
 * members of a body, Portkey's headers, MCP's model preferences, a suffix of the model's name or
 * RouteLLM's router names. One struct, read by the decision and by the choice of deployments; who
 * orders candidates reads it here and never parses a body or a header. It only narrows what the key
 * and the route allow (RELIABILITY B46).
 *
 * The readers are pure. Texts are slices of what was read, or lie in the arena. */
#ifndef STEELYARD_DATAPLANE_REQUEST_WISHES_H
#define STEELYARD_DATAPLANE_REQUEST_WISHES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "common/json/json.h"
#include "common/route/require.h"

#define WISHES_TARGETS_MAX 32
#define WISHES_NAMES_MAX   32
#define WISHES_BYTES_MAX   16384U /* Of one member or header. */
#define WISHES_NODES_MAX   2048U

enum wishes_sort {
    WISHES_SORT_NONE,
    WISHES_SORT_PRICE,
    WISHES_SORT_THROUGHPUT,
    WISHES_SORT_LATENCY
};

/* Well formed, and not obeyed here; bits. */
enum wishes_ignored {
    WISHES_IGNORED_QUANTIZATIONS = 1,
    WISHES_IGNORED_PREFERRED = 2, /* preferred_min_throughput and the like. */
    WISHES_IGNORED_CACHE = 4,     /* Portkey's cache. */
};

struct wishes_names {
    uint32_t count;
    struct str names[WISHES_NAMES_MAX];
};

struct snapshot_model;
struct wishes_plan;

#define WISHES_OVERRIDES_MAX 16
#define WISHES_CODES_MAX     32

/* A member of the body that is written over. */
struct wishes_override {
    struct str key;   /* One of a table. */
    struct str value; /* JSON. */
};
struct wishes_codes {
    uint32_t count; /* 0: any status. */
    uint16_t codes[WISHES_CODES_MAX];
};
/* How a target is asked. Constant once read: those inside share it. */
struct wishes_terms {
    uint32_t override_count;
    struct wishes_override overrides[WISHES_OVERRIDES_MAX];
    const struct wishes_codes *go_on;     /* The next target is asked after these. NULL: any. */
    const struct wishes_codes *try_again; /* The same one is asked again. NULL: any. */
    int32_t retries;                      /* Of one deployment; -1: the gateway's. */
    uint32_t timeout_ms;                  /* Of an attempt; 0: none of its own. */
};

/* One of those that are tried in order. */
struct wishes_target {
    struct str model;                   /* len 0: the call's. */
    struct str provider;                /* len 0: any. */
    struct str virtual_key;             /* Before `provider`, if a provider is called so. */
    const struct wishes_terms *terms;   /* NULL: none. */
    struct str path;                    /* Where it was read, for refusals. */
    const struct snapshot_model *found; /* Set by the decision. */
};

struct wishes {
    uint32_t target_count; /* 0: the call's model is asked. */
    struct wishes_target targets[WISHES_TARGETS_MAX];
    struct wishes_plan *plan;         /* What the targets are chosen by; NULL: they are chosen. */
    const struct wishes_terms *terms; /* Without targets; NULL: none. */
    struct wishes_names order, only, ignore;
    struct wishes_names hints; /* Parts of models' names, the first that fits. */
    bool no_fallbacks;         /* No provider beside those of `order`, or beside the first. */
    bool require_parameters;   /* Nothing of the request may be dropped. */
    uint32_t data;             /* REQUIRE_NOT_* of those who are asked (required.h). */
    bool include_cost;         /* usage.cost in the answer. */
    enum wishes_sort sort;
    int64_t max_input; /* nano-USD per million tokens; -1: none. */
    int64_t max_output;
    int64_t max_cost_nanousd; /* Of the request, expected; 0: none. */
    int32_t position;         /* 0 cost .. 100 quality; -1: the policy's own. */
    uint32_t speed_q16;       /* Part of the policy's weight of latency that is added. */
    bool has_threshold;       /* RouteLLM: the strongest model serves where it leads by ... */
    uint32_t threshold_q16;   /* ... so much quality over the cheapest, else the cheapest. */
    int64_t threshold_lambda; /* What comes of it for this request; -1: not known yet. */
    uint64_t behind;          /* Candidates of `targets` behind a route's own; bits. */
    struct str route;         /* Named by a header in place of the call's model; len 0: none. */
    uint32_t ignored;         /* enum wishes_ignored */
};
void wishes_init(struct wishes *w);

struct wishes_refusal {
    struct str param;    /* Path, in the arena. STR_NULL: none. */
    const char *message; /* Static; NULL: a value of the wrong kind or range. */
};

/* Members of a body: the text of the value alone. json is scratch. 0; ERR_INVALID with *out_refusal
 * filled, also for what is too large; ERR_NOMEM. */
int wishes_read_models(struct json *json, struct str text, struct arena *arena, struct wishes *w,
                       struct wishes_refusal *out_refusal) MUST_CHECK;
int wishes_read_provider(struct json *json, struct str text, struct arena *arena, struct wishes *w,
                         struct wishes_refusal *out_refusal) MUST_CHECK;
int wishes_read_route(struct json *json, struct str text, struct arena *arena, struct wishes *w,
                      struct wishes_refusal *out_refusal) MUST_CHECK;
int wishes_read_usage(struct json *json, struct str text, struct arena *arena, struct wishes *w,
                      struct wishes_refusal *out_refusal) MUST_CHECK;
/* MCP sampling's modelPreferences; name: of the member or header, for refusals. */
int wishes_read_preferences(struct json *json, struct str text, const char *name,
                            struct arena *arena, struct wishes *w,
                            struct wishes_refusal *out_refusal) MUST_CHECK;
/* x-portkey-config: JSON, or the name of a route. JSON with targets becomes w->plan; the targets
 * themselves are there after wishes_choose. */
int wishes_read_portkey(struct json *json, struct str text, struct arena *arena, struct wishes *w,
                        struct wishes_refusal *out_refusal) MUST_CHECK;
struct rule_step;
typedef bool (*wishes_holds)(void *arg, const struct rule_step *steps, uint32_t count);
/* Has the plan conditions? Does one of them ask for params.*, so that the body must be at hand? */
bool wishes_plan_asks(const struct wishes_plan *plan, bool *out_params);
/* The plan's targets in the order in which they are asked: by the conditions that hold, with shares
 * drawn by seed. Clears w->plan. ERR_INVALID with *out_refusal: no condition chose a target. */
int wishes_choose(struct wishes *w, wishes_holds holds, void *arg, uint64_t seed,
                  struct wishes_refusal *out_refusal) MUST_CHECK;
/* x-portkey-metadata: members become "key=value". At most max of them; *out_count says how many.
 * Their characters are the caller's to check. */
int wishes_read_metadata(struct json *json, struct str text, struct arena *arena, struct str *out,
                         uint32_t max, uint32_t *out_count,
                         struct wishes_refusal *out_refusal) MUST_CHECK;

/* "x:floor", "x:nitro": the name without it, and the sort in w. false: it has none of them. */
bool wishes_read_suffix(struct str name, struct wishes *w, struct str *out_name);
/* "router-NAME-THRESHOLD": NAME, and the threshold in w. false: it is no such name. */
bool wishes_read_router(struct str name, struct wishes *w, struct str *out_name);

/* Does a caller's name for a provider ("Amazon-Bedrock", "deepinfra/turbo") mean the one that is
 * configured as `name`, of this type, called so by people? */
bool wishes_names_provider(struct str wish, struct str name, struct str type, struct str title);

#endif
