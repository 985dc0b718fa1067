#include "common/route/explain.h"

#include <string.h>

#include "common/base/checked.h"
#include "common/route/fixed.h"
#include "common/route/score.h"
#include "common/route/utility.h"

int explain_recompute(const struct explain_input *in, const struct policy_decision *recorded,
                      struct policy_decision *out_decision)
{
    bool needs_features = in->artifact != NULL && in->params->strategy == POLICY_LEARNED &&
                          in->request->way == NULL;
    if (!needs_features || in->features != NULL)
        return policy_decide(in->artifact, in->features, in->params, in->request, in->candidates,
                             in->count, out_decision);
    int32_t z[POLICY_CANDIDATES_MAX];
    uint32_t out_tok[POLICY_CANDIDATES_MAX];
    if (recorded == NULL || recorded->count != in->count || in->count > POLICY_CANDIDATES_MAX)
        return ERR_INVALID;
    for (uint32_t i = 0; i < in->count; i++) {
        z[i] = recorded->row[i].z;
        out_tok[i] = recorded->row[i].out_tok;
    }
    return policy_decide_from_z(in->artifact, z, out_tok, in->params, in->request, in->candidates,
                                in->count, out_decision);
}

#define COMPARE(text, pos, a, b)                                                                   \
    do {                                                                                           \
        if ((a) != (b))                                                                            \
            return (struct explain_mismatch){text, pos, (int64_t)(a), (int64_t)(b)};               \
    } while (0)

static struct explain_mismatch compare_row(const struct policy_row *a, const struct policy_row *b,
                                           uint32_t i)
{
    COMPARE("z", i, a->z, b->z);
    COMPARE("q", i, a->q, b->q);
    COMPARE("out_tok", i, a->out_tok, b->out_tok);
    COMPARE("cost", i, a->cost, b->cost);
    COMPARE("lat_ms", i, a->lat_ms, b->lat_ms);
    COMPARE("u", i, a->u, b->u);
    COMPARE("excl", i, a->excl, b->excl);
    COMPARE("p", i, a->p, b->p);
    return (struct explain_mismatch){.field = NULL};
}

struct explain_mismatch explain_compare(const struct policy_decision *recorded,
                                        const struct policy_decision *recomputed)
{
    const struct policy_decision *a = recorded, *b = recomputed;
    COMPARE("count", POLICY_NONE, a->count, b->count);
    for (uint32_t i = 0; i < a->count; i++) {
        struct explain_mismatch m = compare_row(&a->row[i], &b->row[i], i);
        if (m.field != NULL)
            return m;
    }
    COMPARE("greedy", POLICY_NONE, a->greedy, b->greedy);
    COMPARE("chosen", POLICY_NONE, a->chosen, b->chosen);
    COMPARE("draw", POLICY_NONE, a->draw, b->draw);
    COMPARE("flags", POLICY_NONE, a->flags, b->flags);
    COMPARE("fallback", POLICY_NONE, a->fallback_count, b->fallback_count);
    for (uint32_t i = 0; i < a->fallback_count; i++)
        COMPARE("fallback", i, a->fallback[i], b->fallback[i]);
    return (struct explain_mismatch){.field = NULL, .position = POLICY_NONE};
}

const char *explain_kind_name(enum explain_kind kind)
{
    switch (kind) {
    case EXPLAIN_SPARSE:
        return "sparse";
    case EXPLAIN_DENSE:
        return "dense";
    case EXPLAIN_TASK:
        return "task";
    case EXPLAIN_BIAS:
        return "bias";
    case EXPLAIN_OFFSET:
        return "offset";
    case EXPLAIN_CALIBRATION:
        return "calibration";
    case EXPLAIN_PRIOR:
        return "prior";
    case EXPLAIN_COST:
        return "cost";
    case EXPLAIN_LATENCY:
        return "latency";
    }
    return "unknown";
}

static uint64_t magnitude(int64_t v)
{
    return v < 0 ? -(uint64_t)v : (uint64_t)v;
}

static int64_t saturate(utility_i128 v)
{
    return v > POLICY_U_MAX ? POLICY_U_MAX : v < -POLICY_U_MAX ? -POLICY_U_MAX : (int64_t)v;
}

/* Larger |u| first, then larger |z|; equal ones keep the order they came in. */
static bool comes_before(const struct explain_term *a, const struct explain_term *b)
{
    if (magnitude(a->u) != magnitude(b->u))
        return magnitude(a->u) > magnitude(b->u);
    return magnitude(a->z) > magnitude(b->z);
}

static void add_term(struct explain_terms *terms, struct explain_term term)
{
    uint32_t at = terms->count;
    if (term.u == 0 && term.z == 0)
        return;
    while (at > 0 && comes_before(&term, &terms->term[at - 1]))
        at--;
    if (at == EXPLAIN_TERMS_MAX)
        return;
    if (terms->count < EXPLAIN_TERMS_MAX)
        terms->count++;
    for (uint32_t i = terms->count - 1; i > at; i--)
        terms->term[i] = terms->term[i - 1];
    terms->term[at] = term;
}

/* How z terms are counted in U: rise of quality over run of z, along a's calibration. */
struct slope {
    int64_t rise; /* Q16 */
    int64_t run;  /* > 0 */
};

static void add_z_term(struct explain_terms *terms, struct slope slope, enum explain_kind kind,
                       uint32_t index, struct str word, int64_t z)
{
    int64_t u = saturate((utility_i128)z * slope.rise * (1 << 20) / slope.run);
    add_term(terms, (struct explain_term){kind, index, word, z, u});
}

static struct slope slope_between(const struct artifact_calib *calib, int32_t za, int32_t zb)
{
    const int32_t near = 4096; /* Equal z: the slope around it. */
    int64_t low = za < zb ? za : zb, high = za < zb ? zb : za;
    if (low == high) {
        low -= near;
        high += near;
    }
    /* A recomputed z is within 2^30; one from a record alone may be anything. */
    low = low < INT32_MIN ? INT32_MIN : low;
    high = high > INT32_MAX ? INT32_MAX : high;
    return (struct slope){(int64_t)score_calibrate(calib, (int32_t)high) -
                              score_calibrate(calib, (int32_t)low),
                          high - low};
}

static void add_feature_terms(const struct artifact *a, const struct features *f, uint32_t ma,
                              uint32_t mb, struct slope slope, struct explain_terms *terms)
{
    for (uint32_t i = 0; i < f->n; i++) {
        uint16_t index = f->index[i];
        const int16_t *row =
            a->rows + (size_t)(index >> (FEATURES_INDEX_BITS - a->index_bits)) * a->row_lanes;
        int64_t z = floor_shift_i64((int64_t)(row[ma] - row[mb]) * fixed_rsqrt[f->n],
                                    a->scale.quality_shift);
        add_z_term(terms, slope, EXPLAIN_SPARSE, index, artifact_word(a, index), z);
    }
    for (uint32_t d = 0; d < FEATURES_DENSE; d++) {
        unsigned shift = a->scale.quality_dense_shift;
        int64_t z = floor_shift_i64((int64_t)a->dense[d][ma] * f->dense[d], shift) -
                    floor_shift_i64((int64_t)a->dense[d][mb] * f->dense[d], shift);
        add_z_term(terms, slope, EXPLAIN_DENSE, d, str_from(features_dense_name(d)), z);
    }
    struct score score;
    score_models(a, f, &score);
    for (uint32_t t = 0; t < a->task_count; t++) {
        int64_t g = (int64_t)a->task_quality[t][ma] - a->task_quality[t][mb];
        add_z_term(terms, slope, EXPLAIN_TASK, t, a->tasks[t],
                   floor_shift_i64(g * score.task_p[t], 16));
    }
}

/* Terms of the quality part of U[a] - U[b]. */
static void add_quality_terms(const struct explain_input *in, const struct policy_decision *d,
                              struct explain_terms *terms)
{
    const struct policy_row *ra = &d->row[terms->a], *rb = &d->row[terms->b];
    const struct artifact *art = in->artifact;
    int32_t ma = in->candidates[terms->a].ordinal, mb = in->candidates[terms->b].ordinal;
    int64_t difference = (int64_t)ra->q - rb->q;
    if (art == NULL || in->params->strategy != POLICY_LEARNED || ma < 0 || mb < 0) {
        add_term(terms,
                 (struct explain_term){EXPLAIN_PRIOR, 0, STR_NULL, 0, difference * (1 << 20)});
        return;
    }
    const struct artifact_calib *calib = &art->calib[ma];
    struct slope slope = slope_between(calib, ra->z, rb->z);
    int64_t crossed = (int64_t)score_calibrate(calib, rb->z) - rb->q;
    add_term(terms,
             (struct explain_term){EXPLAIN_CALIBRATION, 0, STR_NULL, 0, crossed * (1 << 20)});
    add_z_term(terms, slope, EXPLAIN_BIAS, 0, STR_NULL, (int64_t)art->bias[ma] - art->bias[mb]);
    add_z_term(terms, slope, EXPLAIN_OFFSET, 0, STR_NULL,
               (int64_t)in->params->off[ma] - in->params->off[mb]);
    if (in->features != NULL)
        add_feature_terms(art, in->features, (uint32_t)ma, (uint32_t)mb, slope, terms);
}

/* Best U besides `a` among those with (or, second, without) a clear exclusion mask. */
static uint32_t find_runner_up(const struct policy_decision *d, uint32_t a)
{
    uint32_t best = POLICY_NONE;
    for (uint32_t i = 0; i < d->count; i++) {
        if (i == a)
            continue;
        bool eligible = d->row[i].excl == 0;
        bool best_eligible = best != POLICY_NONE && d->row[best].excl == 0;
        if (best == POLICY_NONE || (eligible && !best_eligible) ||
            (eligible == best_eligible && d->row[i].u > d->row[best].u))
            best = i;
    }
    return best;
}

void explain_terms(const struct explain_input *in, const struct policy_decision *decision,
                   uint32_t a, uint32_t b, struct explain_terms *out_terms)
{
    int64_t cost[POLICY_CANDIDATES_MAX];
    memset(out_terms, 0, sizeof *out_terms);
    out_terms->a = a;
    out_terms->b = POLICY_NONE;
    if (a >= decision->count)
        return;
    out_terms->b = b < decision->count && b != a ? b : find_runner_up(decision, a);
    if (out_terms->b == POLICY_NONE)
        return;
    const struct policy_row *ra = &decision->row[a], *rb = &decision->row[out_terms->b];
    out_terms->u_difference = saturate((utility_i128)ra->u - rb->u);
    if ((decision->flags & POLICY_FLAG_STATIC) != 0)
        return; /* Position decided; there are no terms. */
    utility_costs(decision->row, decision->count, cost);
    const struct policy_request *r = in->request;
    add_quality_terms(in, decision, out_terms);
    add_term(out_terms, (struct explain_term){EXPLAIN_COST, 0, STR_NULL, 0,
                                              utility_part(r->lambda, cost[out_terms->b], 24) -
                                                  utility_part(r->lambda, cost[a], 24)});
    add_term(out_terms, (struct explain_term){EXPLAIN_LATENCY, 0, STR_NULL, 0,
                                              utility_part(r->mu, rb->lat_ms, 8) -
                                                  utility_part(r->mu, ra->lat_ms, 8)});
}

static uint32_t greedy_at(const struct policy_decision *d, const int64_t *cost, int64_t lambda,
                          int64_t mu)
{
    int64_t u[POLICY_CANDIDATES_MAX];
    for (uint32_t i = 0; i < d->count; i++)
        u[i] = utility_of(d->row[i].q, cost[i], d->row[i].lat_ms, lambda, mu);
    return utility_argmax(d->row, u, cost, d->count);
}

/* Where lambda crosses from `same` (greedy is d->greedy) to `other` (it is not): the value next to
 * the crossing on the other side. The lambdas at which one candidate is greedy are an interval, as
 * every U is a falling line in lambda, so halving finds the crossing exactly. */
static int64_t find_crossing(const struct policy_decision *d, const int64_t *cost, int64_t mu,
                             int64_t same, int64_t other)
{
    while (same - other > 1 || other - same > 1) {
        int64_t middle = same + (other - same) / 2;
        if (greedy_at(d, cost, middle, mu) == d->greedy)
            same = middle;
        else
            other = middle;
    }
    return other;
}

void explain_threshold(const struct explain_input *in, const struct policy_decision *decision,
                       struct explain_threshold *out_threshold)
{
    int64_t cost[POLICY_CANDIDATES_MAX];
    const struct policy_decision *d = decision;
    const int64_t lambda = in->request->lambda, mu = in->request->mu;
    *out_threshold =
        (struct explain_threshold){.below_position = POLICY_NONE, .above_position = POLICY_NONE};
    if (d->greedy == POLICY_NONE || (d->flags & POLICY_FLAG_STATIC) != 0)
        return;
    utility_costs(d->row, d->count, cost);
    if (greedy_at(d, cost, 0, mu) != d->greedy) {
        out_threshold->below = find_crossing(d, cost, mu, lambda, 0);
        out_threshold->below_position = greedy_at(d, cost, out_threshold->below, mu);
    }
    if (greedy_at(d, cost, ARTIFACT_LAMBDA_MAX, mu) != d->greedy) {
        out_threshold->above = find_crossing(d, cost, mu, lambda, ARTIFACT_LAMBDA_MAX);
        out_threshold->above_position = greedy_at(d, cost, out_threshold->above, mu);
    }
}
