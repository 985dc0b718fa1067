#include "common/route/policy.h"

#include <string.h>

#include "common/base/siphash.h"
#include "common/route/fixed.h"
#include "common/route/score.h"
#include "common/route/utility.h"

/* policy_decide in the order of its steps: expectations of every candidate, exclusions, utility,
 * greedy choice, stickiness, exploration, draw, fallback order. */

#define P_ONE             (UINT64_C(1) << 32)
#define PRIOR_OUT_DEFAULT 512
#define VERSION_BYTES_MAX 64

static bool way_valid(const struct way_input *w, uint32_t count)
{
    if (w->way == WAY_LEARNED || w->way >= WAYS || w->count != count)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (w->candidates[i].weight > WAY_WEIGHT_MAX)
            return false;
    return true;
}

static bool request_valid(const struct policy_request *r, uint32_t count)
{
    return (r->way == NULL || way_valid(r->way, count)) && r->lambda >= 0 &&
           r->lambda <= ARTIFACT_LAMBDA_MAX && r->mu >= 0 && r->mu <= ARTIFACT_LAMBDA_MAX &&
           r->floor_q16 <= 65536 && r->max_cost_nanousd >= 0 &&
           (r->sticky < count || r->sticky == POLICY_NONE) &&
           r->policy_version.len <= VERSION_BYTES_MAX;
}

static bool rate_valid(int64_t rate)
{
    return rate == PRICE_UNKNOWN || (rate >= 0 && rate <= PRICE_RATE_MAX);
}

static bool candidate_valid(const struct artifact *a, const struct policy_candidate *c)
{
    bool known = c->ordinal != POLICY_UNKNOWN_MODEL;
    if (known && (a == NULL || c->ordinal < 0 || (uint32_t)c->ordinal >= a->model_count))
        return false;
    return rate_valid(c->price_in) && rate_valid(c->price_out) && rate_valid(c->price_cached) &&
           (c->prior_q16 <= 65536 || c->prior_q16 == POLICY_NO_PRIOR);
}

/* But for the parameters. */
static bool inputs_valid(const struct artifact *a, const struct policy_request *request,
                         const struct policy_candidate *candidates, uint32_t count)
{
    if (count < 1 || count > POLICY_CANDIDATES_MAX || !request_valid(request, count))
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!candidate_valid(a, &candidates[i]))
            return false;
    return true;
}

static uint32_t out_cap(const struct policy_request *r, const struct policy_candidate *c)
{
    uint32_t cap = POLICY_OUT_TOKENS_MAX;
    if (r->t_out_cap != 0 && r->t_out_cap < cap)
        cap = r->t_out_cap;
    if (c->max_out != 0 && c->max_out < cap)
        cap = c->max_out;
    return cap;
}

static uint32_t prior_out(const struct policy_candidate *c, uint32_t cap)
{
    uint32_t out = c->prior_out;
    if (out == 0)
        out = cap / 4 < PRIOR_OUT_DEFAULT ? cap / 4 : PRIOR_OUT_DEFAULT;
    return out < 1 ? 1 : out > cap ? cap : out;
}

/* price_cost of three kinds whose rates are known to be in range: at most 2^32 tokens of each at a
 * rate of at most 2^50, so that the sum fits 128 bits and its millionth 64. */
static int64_t expected_cost(const struct policy_request *r, const struct policy_candidate *c,
                             uint32_t out_tok)
{
    uint32_t cached = c->cached_tokens < r->t_in ? c->cached_tokens : r->t_in;
    uint32_t fresh = r->t_in - cached;
    int64_t price_cached = c->price_cached != PRICE_UNKNOWN ? c->price_cached : c->price_in;
    if ((fresh != 0 && c->price_in == PRICE_UNKNOWN) ||
        (cached != 0 && price_cached == PRICE_UNKNOWN) ||
        (out_tok != 0 && c->price_out == PRICE_UNKNOWN))
        return PRICE_UNKNOWN;
    utility_i128 total = PRICE_TOKENS_PER_UNIT - 1;
    if (fresh != 0)
        total += (utility_i128)c->price_in * fresh;
    if (cached != 0)
        total += (utility_i128)price_cached * cached;
    if (out_tok != 0)
        total += (utility_i128)c->price_out * out_tok;
    if (total <= INT64_MAX)
        return (int64_t)total / PRICE_TOKENS_PER_UNIT;
    utility_i128 cost = total / PRICE_TOKENS_PER_UNIT;
    return cost > POLICY_COST_MAX ? POLICY_COST_MAX : (int64_t)cost;
}

static uint32_t expected_latency_ms(const struct policy_candidate *c, uint32_t out_tok)
{
    uint64_t ms = c->ttft_est_ms + ((uint64_t)out_tok * c->tpot_est_us + 999) / 1000;
    return ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

/* Quality of every candidate. One that has neither model nor prior counts as the lowest of the
 * others; if nobody has anything, position decides and false is returned. */
static bool fill_quality(const struct artifact *a, const struct policy_candidate *candidates,
                         uint32_t count, struct policy_row *row)
{
    uint32_t lowest = POLICY_NO_PRIOR;
    for (uint32_t i = 0; i < count; i++) {
        const struct policy_candidate *c = &candidates[i];
        row[i].q = a != NULL && c->ordinal >= 0 ? score_calibrate(&a->calib[c->ordinal], row[i].z)
                                                : c->prior_q16;
        if (row[i].q < lowest)
            lowest = row[i].q;
    }
    for (uint32_t i = 0; i < count; i++)
        if (row[i].q == POLICY_NO_PRIOR)
            row[i].q = lowest == POLICY_NO_PRIOR ? 0 : lowest;
    return lowest != POLICY_NO_PRIOR;
}

void utility_costs(const struct policy_row *row, uint32_t count, int64_t *out_cost)
{
    int64_t dearest = 0;
    for (uint32_t i = 0; i < count; i++)
        if (row[i].cost > dearest)
            dearest = row[i].cost;
    for (uint32_t i = 0; i < count; i++)
        out_cost[i] = row[i].cost == PRICE_UNKNOWN ? dearest : row[i].cost;
}

uint32_t utility_argmax(const struct policy_row *row, const int64_t *u, const int64_t *cost,
                        uint32_t count)
{
    uint32_t best = POLICY_NONE;
    for (uint32_t i = 0; i < count; i++) {
        if (row[i].excl != 0)
            continue;
        if (best == POLICY_NONE || u[i] > u[best] || (u[i] == u[best] && cost[i] < cost[best]))
            best = i;
    }
    return best;
}

static void exclude_by_caps(const struct policy_request *r, struct policy_decision *d)
{
    if (r->max_cost_nanousd == 0 && r->max_latency_ms == 0) /* Mostly nobody asks for one. */
        return;
    for (uint32_t i = 0; i < d->count; i++) {
        struct policy_row *row = &d->row[i];
        /* A cost nobody knows cannot be shown to be under a cap. */
        if (r->max_cost_nanousd != 0 &&
            (row->cost == PRICE_UNKNOWN || row->cost > r->max_cost_nanousd))
            row->excl |= POLICY_EXCL(COST_CAP);
        if (r->max_latency_ms != 0 && row->lat_ms > r->max_latency_ms)
            row->excl |= POLICY_EXCL(LATENCY_CAP);
    }
}

static void exclude_by_floor(const struct policy_params *params, const struct policy_request *r,
                             struct policy_decision *d)
{
    uint32_t best = POLICY_NONE; /* Of those that nothing else excludes. */
    bool reached = false;
    if (r->floor_q16 == 0) /* Nobody is below it. */
        return;
    for (uint32_t i = 0; i < d->count; i++) {
        if (d->row[i].excl != 0)
            continue;
        reached = reached || d->row[i].q >= r->floor_q16;
        if (best == POLICY_NONE || d->row[i].q > d->row[best].q)
            best = i;
    }
    bool relaxed = params->floor_soft && !reached && best != POLICY_NONE;
    for (uint32_t i = 0; i < d->count; i++)
        if (d->row[i].q < r->floor_q16 && !(relaxed && i == best))
            d->row[i].excl |= POLICY_EXCL(QUALITY_FLOOR);
    if (relaxed)
        d->flags |= POLICY_FLAG_FLOOR_RELAXED;
}

static void fill_utility(const struct policy_request *r, struct policy_decision *d, int64_t *cost,
                         int64_t *u)
{
    utility_costs(d->row, d->count, cost);
    for (uint32_t i = 0; i < d->count; i++) {
        struct policy_row *row = &d->row[i];
        if (row->cost == PRICE_UNKNOWN)
            d->flags |= POLICY_FLAG_COST_ASSUMED;
        u[i] = (d->flags & POLICY_FLAG_STATIC) != 0
                   ? -((int64_t)i << 36)
                   : utility_of(row->q, cost[i], row->lat_ms, r->lambda, r->mu);
        row->u = u[i];
    }
}

/* The place in the way's order stands for the utility. */
static void fill_by_way(const struct way_input *way, struct policy_decision *d, int64_t *cost,
                        int64_t *u)
{
    __attribute__((uninitialized)) int64_t measure[POLICY_CANDIDATES_MAX];
    __attribute__((uninitialized)) uint8_t order[POLICY_CANDIDATES_MAX];
    __attribute__((uninitialized)) uint32_t p[POLICY_CANDIDATES_MAX];
    uint64_t open = 0;
    utility_costs(d->row, d->count, cost);
    for (uint32_t i = 0; i < d->count; i++) {
        const struct policy_row *row = &d->row[i];
        measure[i] = way->candidates[i].measure;
        if (way->way == WAY_LOWEST_LATENCY)
            measure[i] = row->lat_ms;
        else if (way->way == WAY_LOWEST_COST)
            measure[i] = row->cost == PRICE_UNKNOWN ? INT64_MAX : row->cost;
        if (row->excl == 0)
            open |= UINT64_C(1) << i;
        u[i] = -((int64_t)d->count << 36);
    }
    uint32_t ordered = way_order(way, measure, open, d->draw, order, p);
    for (uint32_t i = 0; i < ordered; i++)
        u[order[i]] = -((int64_t)i << 36);
    for (uint32_t i = 0; i < d->count; i++) {
        d->row[i].u = u[i];
        d->row[i].p = p[i];
        if (p[i] == WAY_ALWAYS)
            d->flags |= POLICY_FLAG_CERTAIN;
    }
}

/* Inverse-gap weighting over the candidates near the greedy one; sets p of them all. Returns the
 * total given away, 0 if nothing may be explored. */
static uint64_t weigh_exploration(const struct policy_params *params,
                                  const struct policy_request *r, const int64_t *cost,
                                  struct policy_decision *d)
{
    const uint32_t star = d->greedy;
    const struct policy_row *best = &d->row[star];
    uint32_t q_min = best->q > params->delta_q16 ? best->q - params->delta_q16 : 0;
    if (q_min < r->floor_q16)
        q_min = r->floor_q16;
    uint64_t members = 0, sum = 0, k = 1;
    for (uint32_t i = 0; i < d->count; i++)
        if (i != star && d->row[i].excl == 0 && d->row[i].q >= q_min &&
            cost[i] <= (utility_i128)cost[star] * params->cost_ratio) {
            members |= UINT64_C(1) << i;
            k++;
        }
    for (uint32_t i = 0; i < d->count; i++) {
        if ((members >> i & 1) == 0)
            continue;
        /* Decided by position for want of any number: nothing says that one is better. */
        uint64_t gap = (d->flags & POLICY_FLAG_STATIC) != 0
                           ? 0
                           : (uint64_t)best->u - (uint64_t)d->row[i].u; /* Up to 2^63. */
        utility_i128 weight = ((utility_i128)k << 20) + (((utility_i128)params->gamma * gap) >> 16);
        /* 2^52 / weight; k >= 2, so below 2^31. Nearly every weight fits 64 bits. */
        d->row[i].p = weight > ((utility_i128)1 << 52)
                          ? 0
                          : (uint32_t)((UINT64_C(1) << 52) / (uint64_t)weight);
        sum += d->row[i].p;
    }
    if (sum <= params->eps_cap)
        return sum;
    uint64_t capped = 0;
    for (uint32_t i = 0; i < d->count; i++) {
        d->row[i].p = (uint32_t)((uint64_t)d->row[i].p * params->eps_cap / sum);
        capped += d->row[i].p;
    }
    return capped;
}

/* SipHash of the request id and the version: the id fills two blocks. */
static uint32_t draw_u32(const struct policy_params *params, const struct policy_request *r)
{
    const uint8_t *version = (const uint8_t *)r->policy_version.data;
    const size_t len = r->policy_version.len;
    size_t at = 0;
    struct sip s = sip_begin(params->draw_key);
    s = sip_block(s, sip_load(r->request_id));
    s = sip_block(s, sip_load(r->request_id + 8));
    for (; len - at >= 8; at += 8)
        s = sip_block(s, sip_load(version + at));
    uint64_t last = (uint64_t)(16 + len) << 56;
    for (unsigned i = 0; at < len; at++, i++)
        last |= (uint64_t)version[at] << (8 * i);
    return (uint32_t)(sip_final(sip_block(s, last)) >> 32);
}

/* Greedy first, then the others by position. */
static uint32_t pick(const struct policy_decision *d)
{
    if (d->draw < d->row[d->greedy].p)
        return d->greedy;
    uint64_t passed = d->row[d->greedy].p;
    for (uint32_t i = 0; i < d->count; i++) {
        if (i == d->greedy)
            continue;
        passed += d->row[i].p;
        if (d->draw < passed)
            return i;
    }
    return d->greedy; /* Not reached: the p sum to 2^32. */
}

static void choose(const struct policy_params *params, const struct policy_request *r,
                   const int64_t *cost, struct policy_decision *d)
{
    const uint32_t sticky = r->sticky;
    uint64_t explored = 0;
    d->chosen = d->greedy;
    if (sticky != POLICY_NONE && d->row[sticky].excl == 0 &&
        (uint64_t)d->row[d->greedy].u - (uint64_t)d->row[sticky].u <
            (uint64_t)params->stick_margin) {
        d->chosen = sticky;
        d->flags |= POLICY_FLAG_STICKY;
    } else if (r->explore && params->eps_cap > 0 && params->strategy == POLICY_LEARNED) {
        explored = weigh_exploration(params, r, cost, d);
    }
    if (explored == 0) {
        d->row[d->chosen].p = POLICY_ALWAYS;
        d->flags |= POLICY_FLAG_CERTAIN;
        return;
    }
    d->row[d->greedy].p = (uint32_t)(P_ONE - explored);
    d->chosen = pick(d);
    if (d->chosen != d->greedy)
        d->flags |= POLICY_FLAG_EXPLORED;
}

static bool same_domain(const struct policy_candidate *a, const struct policy_candidate *b)
{
    return a->domain != 0 && a->domain == b->domain;
}

/* Each in turn is taken to have failed, so that its domain comes last from then on. */
static void order_fallbacks(const struct policy_candidate *candidates, const int64_t *cost,
                            const int64_t *u, struct policy_decision *d)
{
    uint64_t left = 0, suspect = 0; /* By position. */
    for (uint32_t i = 0; i < d->count; i++)
        if (d->row[i].excl == 0 && i != d->chosen)
            left |= UINT64_C(1) << i;
    for (uint32_t failed = d->chosen; left != 0;) {
        /* A suspect's domain was looked at when it became one. */
        for (uint64_t bits = (suspect >> failed & 1) == 0 ? left : 0; bits != 0; bits &= bits - 1) {
            unsigned i = (unsigned)__builtin_ctzll(bits);
            if (same_domain(&candidates[i], &candidates[failed]))
                suspect |= UINT64_C(1) << i;
        }
        uint64_t among = (left & ~suspect) != 0 ? left & ~suspect : left;
        uint32_t best = (uint32_t)__builtin_ctzll(among);
        for (uint64_t bits = among & (among - 1); bits != 0; bits &= bits - 1) {
            uint32_t i = (uint32_t)__builtin_ctzll(bits);
            if (u[i] > u[best] || (u[i] == u[best] && cost[i] < cost[best]))
                best = i;
        }
        d->fallback[d->fallback_count++] = (uint8_t)best;
        left &= ~(UINT64_C(1) << best);
        failed = best;
    }
}

/* From z and out_tok, which are already in the rows, to the greedy choice. */
static inline void rank(const struct artifact *a, const struct policy_params *params,
                        const struct policy_request *r, const struct policy_candidate *candidates,
                        struct policy_decision *d, int64_t *cost, int64_t *u)
{
    bool learned = params->strategy == POLICY_LEARNED && r->way == NULL;
    for (uint32_t i = 0; i < d->count; i++) {
        struct policy_row *row = &d->row[i];
        row->cost = expected_cost(r, &candidates[i], row->out_tok);
        row->lat_ms = expected_latency_ms(&candidates[i], row->out_tok);
        row->excl = candidates[i].excl;
    }
    if (!fill_quality(learned ? a : NULL, candidates, d->count, d->row) || !learned)
        d->flags |= POLICY_FLAG_STATIC;
    if (a == NULL)
        d->flags |= POLICY_FLAG_NO_POLICY;
    exclude_by_caps(r, d);
    if ((d->flags & POLICY_FLAG_STATIC) == 0)
        exclude_by_floor(params, r, d);
    if (r->way != NULL)
        fill_by_way(r->way, d, cost, u);
    else
        fill_utility(r, d, cost, u);
    d->greedy = utility_argmax(d->row, u, cost, d->count);
}

/* Everything after z and out_tok. */
static void decide_rest(const struct artifact *a, const struct policy_params *params,
                        const struct policy_request *r, const struct policy_candidate *candidates,
                        struct policy_decision *d)
{
    __attribute__((uninitialized)) int64_t cost[POLICY_CANDIDATES_MAX], u[POLICY_CANDIDATES_MAX];
    d->draw = draw_u32(params, r);
    rank(a, params, r, candidates, d, cost, u);
    d->chosen = POLICY_NONE;
    if (d->greedy == POLICY_NONE)
        return;
    if (r->way != NULL)
        d->chosen = d->greedy;
    else
        choose(params, r, cost, d);
    order_fallbacks(candidates, cost, u, d);
}

/* The part of a decision that is compared and recorded starts out zero. */
static void decision_begin(struct policy_decision *d, uint32_t count)
{
    memset(d, 0, offsetof(struct policy_decision, row) + count * sizeof d->row[0]);
    d->count = count;
}

int policy_decide(const struct artifact *a, const struct features *f,
                  const struct policy_params *params, const struct policy_request *request,
                  const struct policy_candidate *candidates, uint32_t count,
                  struct policy_decision *out_decision)
{
    if (!policy_params_valid(params))
        return ERR_INVALID;
    return policy_decide_by_valid(a, f, params, request, candidates, count, out_decision);
}

/* Inputs were looked at; scored: by the artifact. */
static inline void expect(const struct artifact *a, const struct features *f, bool scored,
                          const struct policy_params *params, const struct policy_request *request,
                          const struct policy_candidate *candidates, uint32_t count,
                          struct policy_decision *out_decision)
{
    __attribute__((uninitialized)) struct score score;
    decision_begin(out_decision, count);
    if (scored)
        score_models(a, f, &score);
    for (uint32_t i = 0; i < count; i++) {
        const struct policy_candidate *c = &candidates[i];
        struct policy_row *row = &out_decision->row[i];
        uint32_t cap = out_cap(request, c);
        if (scored && c->ordinal >= 0) {
            row->z = score.z[c->ordinal] + params->off[c->ordinal];
            row->out_tok = fixed_exp2_u32(score.length_q16[c->ordinal], cap);
        } else {
            row->out_tok = prior_out(c, cap);
        }
    }
}

int policy_decide_by_valid(const struct artifact *a, const struct features *f,
                           const struct policy_params *params, const struct policy_request *request,
                           const struct policy_candidate *candidates, uint32_t count,
                           struct policy_decision *out_decision)
{
    if (!inputs_valid(a, request, candidates, count))
        return ERR_INVALID;
    bool scored = a != NULL && params->strategy == POLICY_LEARNED && request->way == NULL;
    if (scored && f->n > FEATURES_SPARSE_MAX)
        return ERR_INVALID;
    expect(a, f, scored, params, request, candidates, count, out_decision);
    decide_rest(a, params, request, candidates, out_decision);
    return 0;
}

static struct policy_choice choice_of(const struct policy_decision *d)
{
    struct policy_choice c = {.position = d->greedy, .cost = PRICE_UNKNOWN};
    for (uint32_t i = 0; i < d->count; i++)
        c.excl_any |= d->row[i].excl;
    if (d->greedy != POLICY_NONE) {
        c.q = d->row[d->greedy].q;
        c.cost = d->row[d->greedy].cost;
    }
    return c;
}

int policy_greedy_by_valid(const struct artifact *a, const struct features *f,
                           const struct policy_params *params, const struct policy_request *request,
                           const struct policy_candidate *candidates, uint32_t count,
                           struct policy_choice *out_choice)
{
    __attribute__((uninitialized)) struct policy_decision d;
    __attribute__((uninitialized)) int64_t cost[POLICY_CANDIDATES_MAX], u[POLICY_CANDIDATES_MAX];
    if (!inputs_valid(a, request, candidates, count) || request->way != NULL)
        return ERR_INVALID;
    bool scored = a != NULL && params->strategy == POLICY_LEARNED;
    if (scored && f->n > FEATURES_SPARSE_MAX)
        return ERR_INVALID;
    expect(a, f, scored, params, request, candidates, count, &d);
    rank(a, params, request, candidates, &d, cost, u);
    *out_choice = choice_of(&d);
    return 0;
}

int policy_greedy_beside(const struct artifact *a, const struct policy_decision *decided,
                         const struct policy_params *by, const struct policy_params *params,
                         const struct policy_request *request,
                         const struct policy_candidate *candidates,
                         struct policy_choice *out_choice)
{
    __attribute__((uninitialized)) struct policy_decision d;
    __attribute__((uninitialized)) int64_t cost[POLICY_CANDIDATES_MAX], u[POLICY_CANDIDATES_MAX];
    if (!inputs_valid(a, request, candidates, decided->count) || by->strategy != params->strategy ||
        request->way != NULL)
        return ERR_INVALID;
    bool scored = a != NULL && params->strategy == POLICY_LEARNED;
    decision_begin(&d, decided->count);
    for (uint32_t i = 0; i < d.count; i++) {
        const int32_t ordinal = candidates[i].ordinal;
        d.row[i].z = decided->row[i].z;
        if (scored && ordinal >= 0)
            d.row[i].z += params->off[ordinal] - by->off[ordinal];
        d.row[i].out_tok = decided->row[i].out_tok;
    }
    rank(a, params, request, candidates, &d, cost, u);
    *out_choice = choice_of(&d);
    return 0;
}

int policy_decide_from_z(const struct artifact *a, const int32_t *z, const uint32_t *out_tok,
                         const struct policy_params *params, const struct policy_request *request,
                         const struct policy_candidate *candidates, uint32_t count,
                         struct policy_decision *out_decision)
{
    if (!policy_params_valid(params) || !inputs_valid(a, request, candidates, count))
        return ERR_INVALID;
    decision_begin(out_decision, count);
    for (uint32_t i = 0; i < count; i++) {
        out_decision->row[i].z = z[i];
        out_decision->row[i].out_tok = out_tok[i];
    }
    decide_rest(a, params, request, candidates, out_decision);
    return 0;
}

uint32_t policy_next(const struct policy_candidate *candidates,
                     const struct policy_decision *decision, uint64_t failed_mask)
{
    int64_t cost[POLICY_CANDIDATES_MAX];
    uint32_t best = POLICY_NONE;
    bool best_suspect = false;
    utility_costs(decision->row, decision->count, cost);
    for (uint32_t i = 0; i < decision->count; i++) {
        const struct policy_row *row = &decision->row[i];
        if (row->excl != 0 || (failed_mask >> i & 1) != 0)
            continue;
        bool suspect = false;
        for (uint32_t k = 0; k < decision->count; k++)
            if ((failed_mask >> k & 1) != 0 && same_domain(&candidates[i], &candidates[k]))
                suspect = true;
        bool better = best == POLICY_NONE || (best_suspect && !suspect);
        if (!better && suspect == best_suspect)
            better = row->u > decision->row[best].u ||
                     (row->u == decision->row[best].u && cost[i] < cost[best]);
        if (better) {
            best = i;
            best_suspect = suspect;
        }
    }
    return best;
}
