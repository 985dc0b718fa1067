/* explain.h: why a decision came out as it did: from the record's inputs alone. Recomputes,
 * compares with the record, and breaks the difference between two candidates into terms. Pure; the
 * printing is the caller's. */
#ifndef STEELYARD_COMMON_ROUTE_EXPLAIN_H
#define STEELYARD_COMMON_ROUTE_EXPLAIN_H

#include "common/route/policy.h"

#define EXPLAIN_TERMS_MAX 10

/* Everything a decision was made of; all borrowed. */
struct explain_input {
    const struct artifact *artifact; /* NULL: none was in service. */
    const struct features *features; /* NULL: dropped; z and out_tok of `recorded` are used. */
    const struct policy_params *params;
    const struct policy_request *request;
    const struct policy_candidate *candidates;
    uint32_t count;
};

/* First field that differs between a record and what was recomputed. */
struct explain_mismatch {
    const char *field; /* "z", "q", "out_tok", "cost", "lat_ms", "u", "excl", "p", "count",
                          "greedy", "chosen", "draw", "flags", "fallback"; NULL: none. */
    uint32_t position; /* Candidate; POLICY_NONE for a field of the whole decision. */
    int64_t recorded;
    int64_t recomputed;
};

/* The whole decision again. `recorded` is needed only when features are NULL. */
int explain_recompute(const struct explain_input *in, const struct policy_decision *recorded,
                      struct policy_decision *out_decision) MUST_CHECK;
struct explain_mismatch explain_compare(const struct policy_decision *recorded,
                                        const struct policy_decision *recomputed);

enum explain_kind {
    EXPLAIN_SPARSE,      /* index: feature index; word if the artifact has one. */
    EXPLAIN_DENSE,       /* index: dense feature; word is its name. */
    EXPLAIN_TASK,        /* index: task class; word is its name. */
    EXPLAIN_BIAS,        /* The models' means. */
    EXPLAIN_OFFSET,      /* off[m] */
    EXPLAIN_CALIBRATION, /* Two models, same z, different quality. */
    EXPLAIN_PRIOR,       /* Quality difference where a prior or no policy stands for z. */
    EXPLAIN_COST,
    EXPLAIN_LATENCY,
};
const char *explain_kind_name(enum explain_kind kind); /* "sparse", ... */

struct explain_term {
    enum explain_kind kind;
    uint32_t index;
    struct str word; /* Borrowed from the artifact; may be empty. */
    int64_t z;       /* Contribution to z[a] - z[b]; 0 where it has none. */
    int64_t u; /* Contribution to U[a] - U[b] (z terms: along the slope of a's calibration). */
};

struct explain_terms {
    uint32_t a;           /* Positions: the chosen one against the best of the others. */
    uint32_t b;           /* POLICY_NONE: there was no other; then count is 0. */
    int64_t u_difference; /* U[a] - U[b] */
    uint32_t count;
    struct explain_term term[EXPLAIN_TERMS_MAX]; /* Largest |u| first. */
};
/* b POLICY_NONE: the eligible runner-up by U (an excluded one when no other is left). */
void explain_terms(const struct explain_input *in, const struct policy_decision *decision,
                   uint32_t a, uint32_t b, struct explain_terms *out_terms);

/* Where the greedy choice turns: with lambda <= below it would be below_position, with lambda >=
 * above it would be above_position. Positions are POLICY_NONE where no lambda does. */
struct explain_threshold {
    int64_t below;
    uint32_t below_position;
    int64_t above;
    uint32_t above_position;
};
void explain_threshold(const struct explain_input *in, const struct policy_decision *decision,
                       struct explain_threshold *out_threshold);

#endif
