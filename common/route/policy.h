/* policy.h: candidates + features + artifact -> choice, its propensity and the fallback order.
 * Integers only; the same inputs give the same bits on every machine, so that a decision can be
 * recomputed from its record. What cannot be recomputed (live state, prices, estimates) is an
 * input.
 *
 *   q = calib(z)            expected quality, Q16
 *   o = 2^length            expected output tokens, clipped to [1, t_out]
 *   c = t_in*p_in + o*p_out expected cost, nano-USD, rounded up once (price.h)
 *   l = ttft + o*tpot       expected latency, ms, rounded up
 *   U = q*2^20 - (lambda*c >> 24) - (mu*l >> 8)      unit 2^-36 quality, saturates at +-2^62
 * Greedy is argmax U; ties: lower cost, then lower position. Exploration is inverse-gap weighting
 * (SquareCB: Foster and Rakhlin, 2020) with a cap. Positions are indices into the candidates, in
 * the order of the route. Pure; thread-safe; no allocation. */
#ifndef STEELYARD_COMMON_ROUTE_POLICY_H
#define STEELYARD_COMMON_ROUTE_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/hash.h"
#include "common/route/artifact.h"
#include "common/route/features.h"
#include "common/route/price.h"
#include "common/route/way.h"

#define POLICY_CANDIDATES_MAX 64
#define POLICY_UNKNOWN_MODEL  (-1)
#define POLICY_NO_PRIOR       UINT32_MAX
#define POLICY_NONE           UINT32_MAX /* No such candidate. */
#define POLICY_ALWAYS         UINT32_MAX /* p of a choice that had no alternative (2^32). */
#define POLICY_OUT_TOKENS_MAX (UINT32_C(1) << 20) /* When neither client nor model has a limit. */
#define POLICY_U_MAX          (INT64_C(1) << 62)
#define POLICY_COST_MAX       (INT64_C(1) << 62) /* Dearer counts as this. */

/* X(name, text): bit = position. Set by the caller unless it says "policy". */
#define POLICY_EXCLUSION_TABLE(X)                                                                  \
    X(CAPABILITY, "lacks a capability the request needs")                                          \
    X(CONTEXT_LEN, "context window too small")                                                     \
    X(REGION, "not in a required region")                                                          \
    X(KEY_ALLOWLIST, "not allowed for this key")                                                   \
    X(BREAKER_OPEN, "failing: circuit breaker open")                                               \
    X(RATE, "rate limit reached")                                                                  \
    X(BUDGET, "not affordable within the budget")                                                  \
    X(QUALITY_FLOOR, "expected quality below the floor") /* policy */                              \
    X(COST_CAP, "expected cost above the cap")           /* policy */                              \
    X(LATENCY_CAP, "expected latency above the cap")     /* policy */                              \
    X(STICKY, "the conversation must stay with another model")                                     \
    X(USER_PIN, "another model was pinned")                                                        \
    X(DISABLED, "disabled by an operator")                                                         \
    X(PRIVACY_CLASS, "does not state what is required of data")                                    \
    X(WISHES, "against the request's own wishes")                                                  \
    X(BUSY, "has as many requests under way as it can take")                                       \
    X(CONDITION, "not in the target that the route's conditions chose")

enum policy_exclusion_index {
#define X(name, text) POLICY_EXCLUSION_##name,
    POLICY_EXCLUSION_TABLE(X)
#undef X
        POLICY_EXCLUSIONS
};
#define POLICY_EXCL(name) (UINT32_C(1) << POLICY_EXCLUSION_##name)
const char *policy_exclusion_name(uint32_t index); /* "BREAKER_OPEN"; NULL out of range. */
const char *policy_exclusion_text(uint32_t index);

enum policy_strategy {
    POLICY_LEARNED, /* The artifact; priors for models it does not know. Without one: priors. */
    POLICY_STATIC,  /* First candidate that is not excluded, then the next: U = -position * 2^36. */
};

struct policy_candidate {
    int32_t ordinal;  /* In the artifact, or POLICY_UNKNOWN_MODEL. */
    uint32_t excl;    /* Exclusion bits the caller set. */
    int64_t price_in; /* nano-USD per million tokens, or PRICE_UNKNOWN. */
    int64_t price_out;
    int64_t price_cached; /* Of cached_tokens; PRICE_UNKNOWN counts as price_in. */
    uint32_t
        cached_tokens; /* Of t_in, expected from the provider's prefix cache; 0 unless sticky. */
    uint32_t max_out;  /* The model's output limit, 0: unknown. */
    uint32_t ttft_est_ms;
    uint32_t tpot_est_us;
    uint32_t prior_q16; /* Catalogue quality, or POLICY_NO_PRIOR. */
    uint32_t prior_out; /* Output tokens to expect, 0: unknown (a quarter of the cap, <= 512). */
    uint32_t domain;    /* Failure domain; 0: one of its own. */
    uint32_t live;      /* Bits for the record; not used here. */
};

/* One version of PARAMS. */
struct policy_params {
    enum policy_strategy strategy;
    int64_t lambda;     /* quality per nano-USD * 2^60 = round(quality per USD * 2^60 / 1e9) */
    int64_t mu;         /* round(quality per ms * 2^44) */
    int64_t mu_latency; /* mu for preference "latency". */
    uint32_t floor_q16; /* Quality floor, 0: none. */
    bool floor_soft;    /* If nobody reaches the floor, the best one serves (flag FLOOR_RELAXED). */
    uint32_t gamma;     /* Inverse-gap weighting. */
    uint32_t eps_cap;   /* Of 2^32; 0: never explore. */
    uint32_t delta_q16;
    uint32_t cost_ratio;              /* 3 */
    int64_t stick_margin;             /* In units of U. */
    int32_t off[ARTIFACT_MODELS_MAX]; /* Added to z, by ordinal; |off| <= ARTIFACT_OFFSET_MAX. */
    struct siphash_key draw_key;
};
/* What 1 USD is worth when nobody said: 10 units of quality, so that 1 % of quality is worth a
 * tenth of a cent. And for preference "latency": a second is worth 5 % of quality. */
#define POLICY_LAMBDA_DEFAULT     INT64_C(11529215046) /* round(10 * 2^60 / 1e9) */
#define POLICY_MU_LATENCY_DEFAULT INT64_C(879609302)   /* round(0.05 / 1000 * 2^44) */
/* Cold start: the values above, mu 0, no floor, eps_cap 2 %, every model explored whatever its
 * prior and price (what nobody has measured cannot be ruled out), gamma 100, stick margin 2 % of
 * quality, draw key 0. */
void policy_params_init(struct policy_params *params);
/* Largest chance of exploring by what was learned (LEARNING-AND-CONTROL 6.7), of 2^32. labels: rows
 * that the version in service learned from, 0 without an artifact; least: those of the model with
 * the fewest. Below 100 and once everything is known 2 %, in between 5 %, and never above `most`,
 * which is what a person allows. A `most` above 5 % is taken as it is: somebody wants it. */
uint32_t policy_explore_cap(uint32_t most, uint64_t labels, uint64_t least);
#define POLICY_EXPLORE_LOW  (UINT32_MAX / 50)
#define POLICY_EXPLORE_HIGH (UINT32_MAX / 20)
/* Takes lambda, floor and exploration of a segment (or of segment 0) from the artifact. */
void policy_params_from_artifact(struct policy_params *params, const struct artifact *a,
                                 uint32_t segment_id);
bool policy_params_valid(const struct policy_params *params);

/* Preference of a request or key: 0..100 on the cost-quality frontier, or a name. */
enum policy_preference {
    POLICY_PREFER_COST = 0,
    POLICY_PREFER_BALANCED = 50,
    POLICY_PREFER_QUALITY = 100,
    POLICY_PREFER_NONE = -1,    /* lambda and mu of the parameters. */
    POLICY_PREFER_LATENCY = -2, /* Lambda of the parameters, mu = mu_latency. */
};
/* "cost", "balanced", "quality", "latency" or "0".."100"; ERR_INVALID. */
int policy_preference_parse(struct str s, int32_t *out_preference) MUST_CHECK;
/* Lambda at which the mean cost is Cmin + position * (Cmax - Cmin) / 100 on the segment's frontier;
 * `fallback` when the segment has no frontier. */
int64_t policy_lambda_at(const struct artifact_segment *segment, int32_t position,
                         int64_t fallback);
/* Lambda and mu to use. Without an artifact or a frontier a position scales the parameters' lambda:
 * four times at 0, once at 50, none at 100, linear in between. */
void policy_preference_apply(const struct artifact *a, uint32_t segment_id, int32_t preference,
                             const struct policy_params *params, int64_t *out_lambda,
                             int64_t *out_mu);

/* The rest of one decision's inputs. */
struct policy_request {
    uint32_t t_in;      /* Input tokens. */
    uint32_t t_out_cap; /* Client's max tokens or the default, 0: none. */
    int64_t lambda;     /* As used, after the preference. */
    int64_t mu;
    uint32_t floor_q16;       /* As used: the higher of the parameters' and the client's. */
    int64_t max_cost_nanousd; /* 0: none. */
    uint32_t max_latency_ms;  /* 0: none. */
    uint32_t sticky;          /* Position of the conversation's model, or POLICY_NONE. */
    bool explore;             /* The key opted in and the exploration account is not empty. */
    uint8_t request_id[16];
    struct str policy_version; /* Bytes; with the request id it makes the draw. */
    /* NULL: by utility. Else the order is a way's (way.h): U = -place * 2^36 with flag STATIC, p
     * are the chances of its draw, nothing is explored. Read by policy_decide* alone. */
    const struct way_input *way;
};

enum policy_flag {
    POLICY_FLAG_EXPLORED = 1,
    POLICY_FLAG_STICKY = 2,
    POLICY_FLAG_STATIC = 4,    /* Decided by position. */
    POLICY_FLAG_NO_POLICY = 8, /* No artifact was given. */
    POLICY_FLAG_FLOOR_RELAXED = 16,
    POLICY_FLAG_COST_ASSUMED = 32, /* Some price was unknown: counted as the dearest known one. */
    POLICY_FLAG_CERTAIN = 64,      /* p of the choice is exactly 1. */
};

struct policy_row { /* One candidate's numbers, as recorded. */
    int32_t z;
    uint32_t q; /* Q16 */
    uint32_t out_tok;
    int64_t cost; /* nano-USD, or PRICE_UNKNOWN. */
    uint32_t lat_ms;
    int64_t u;
    uint32_t excl; /* The caller's bits and those of the policy. */
    uint32_t p;    /* Of 2^32; POLICY_ALWAYS with flag CERTAIN means 1. */
};

struct policy_decision {
    uint32_t count;
    uint32_t greedy; /* Position, or POLICY_NONE when all are excluded. */
    uint32_t chosen; /* Same. */
    uint32_t draw;   /* Of 2^32. */
    uint32_t flags;
    uint32_t fallback_count;
    uint8_t fallback[POLICY_CANDIDATES_MAX]; /* Positions, in the order to try after chosen. */
    struct policy_row row[POLICY_CANDIDATES_MAX];
};

/* artifact NULL, strategy STATIC or a way: f is not read. ERR_INVALID for inputs out of range
 * (count 0 or above 64, ordinal not of the artifact, negative lambda, ...): a bug of the caller.
 * All candidates excluded is no error: chosen is POLICY_NONE, see policy_refusal. */
int policy_decide(const struct artifact *a, const struct features *f,
                  const struct policy_params *params, const struct policy_request *request,
                  const struct policy_candidate *candidates, uint32_t count,
                  struct policy_decision *out_decision) MUST_CHECK;
/* The same by parameters that policy_params_valid has accepted: for those who decide often by the
 * same ones. */
int policy_decide_by_valid(const struct artifact *a, const struct features *f,
                           const struct policy_params *params, const struct policy_request *request,
                           const struct policy_candidate *candidates, uint32_t count,
                           struct policy_decision *out_decision) MUST_CHECK;
/* The greedy choice alone: no stickiness, no exploration, no draw, no fallbacks. What a version
 * that does not serve the request would have said; sticky and explore are not read. */
struct policy_choice {
    uint32_t position; /* POLICY_NONE: all are excluded. */
    uint32_t q;        /* Q16, of it. */
    int64_t cost;      /* nano-USD, of it, or PRICE_UNKNOWN. */
    uint32_t excl_any; /* Exclusion bits of all candidates together. */
};
int policy_greedy_by_valid(const struct artifact *a, const struct features *f,
                           const struct policy_params *params, const struct policy_request *request,
                           const struct policy_candidate *candidates, uint32_t count,
                           struct policy_choice *out_choice) MUST_CHECK;
/* The same result beside a decision by the same artifact and the same output cap: nothing is scored
 * again. decided was made by `by`; candidates have its ordinals. */
int policy_greedy_beside(const struct artifact *a, const struct policy_decision *decided,
                         const struct policy_params *by, const struct policy_params *params,
                         const struct policy_request *request,
                         const struct policy_candidate *candidates,
                         struct policy_choice *out_choice) MUST_CHECK;
/* The same from recorded z and length scores on (a replay whose features were dropped):
 * z[i] by position with off already in it, out_tok[i] as recorded. */
int policy_decide_from_z(const struct artifact *a, const int32_t *z, const uint32_t *out_tok,
                         const struct policy_params *params, const struct policy_request *request,
                         const struct policy_candidate *candidates, uint32_t count,
                         struct policy_decision *out_decision) MUST_CHECK;

/* Next candidate after those in failed_mask (bits by position) have failed: highest U outside the
 * failure domains of all that failed, else highest U of the rest; POLICY_NONE when none is left. */
uint32_t policy_next(const struct policy_candidate *candidates,
                     const struct policy_decision *decision, uint64_t failed_mask);

/* What to tell a client when all are excluded: the mildest cause that blocks a candidate. */
struct policy_refusal {
    uint32_t status;    /* 400, 403, 429 or 503. */
    uint32_t exclusion; /* enum policy_exclusion_index */
};
struct policy_refusal policy_refusal(const struct policy_decision *decision);

#endif
