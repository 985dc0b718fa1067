/* What a request wishes, where it is decided and tried. Nothing here widens: whom key and route do
 * not allow is no candidate before anything of this is asked. */
#include "dataplane/request/wishes_apply.h"

#include "common/route/artifact.h"
#include "dataplane/request/required.h"
#include "dataplane/request/steps.h"

/* ---- who may serve ---- */

static bool is_named(struct str name, const struct snapshot_provider *p)
{
    return wishes_names_provider(name, p->name, p->type,
                                 p->kind != NULL ? p->kind->title : STR_NULL);
}

static uint32_t place_in(const struct wishes_names *names, const struct snapshot_provider *p)
{
    uint32_t i = 0;
    while (i < names->count && !is_named(names->names[i], p))
        i++;
    return i;
}

static bool is_in(const struct wishes_names *names, const struct snapshot_provider *p)
{
    return place_in(names, p) < names->count;
}

/* The first target that means it; target_count: none. Targets without a provider mean any. */
static uint32_t place_among_targets(const struct wishes *w, const struct snapshot_model *m,
                                    const struct snapshot_provider *p)
{
    for (uint32_t i = 0; i < w->target_count; i++)
        if (w->targets[i].found == m &&
            (w->targets[i].provider.len == 0 || is_named(w->targets[i].provider, p)))
            return i;
    return w->target_count;
}

const struct wishes_target *wishes_target_of(const struct wishes *w, const struct snapshot_model *m,
                                             const struct snapshot_provider *p)
{
    const uint32_t at = place_among_targets(w, m, p);
    return at < w->target_count ? &w->targets[at] : NULL;
}

static bool is_target(const struct wishes *w, const struct snapshot_model *m)
{
    for (uint32_t i = 0; i < w->target_count; i++)
        if (w->targets[i].found == m)
            return true;
    return false;
}

static bool within_price(const struct request *r, const struct wishes *w,
                         const struct snapshot_deployment *d)
{
    if (w->max_input < 0 && w->max_output < 0)
        return true;
    const struct snapshot_price *price = snapshot_price(d, r->start_us);
    if (price == NULL)
        return false;
    const struct price_rates *rates = price_rates_at(&price->price, r->work->call.tokens_in);
    if (w->max_input >= 0 && (rates->input == PRICE_UNKNOWN || rates->input > w->max_input))
        return false;
    return w->max_output < 0 || (rates->output != PRICE_UNKNOWN && rates->output <= w->max_output);
}

bool wishes_allow(const struct request *r, const struct snapshot_model *m,
                  const struct snapshot_deployment *d)
{
    const struct wishes *w = r->work->wishes;
    const struct snapshot_provider *p = d->provider;
    /* It is told the same wishes, and knows the providers behind it. */
    const bool passes_on = wishes_pass_on(p);
    if (is_target(w, m) && place_among_targets(w, m, p) == w->target_count)
        return false;
    if (is_in(&w->ignore, p) || !within_price(r, w, d))
        return false;
    if (passes_on)
        return true;
    if (w->only.count > 0 && !is_in(&w->only, p))
        return false;
    return !w->no_fallbacks || w->order.count == 0 || is_in(&w->order, p);
}

bool wishes_serve(const struct request *r, const struct snapshot_model *m)
{
    for (uint32_t i = 0; i < m->deployment_count; i++)
        if (wishes_allow(r, m, &m->deployments[i]) && required_lacks(r, &m->deployments[i]) == 0)
            return true;
    return false;
}

static bool model_was_tried(const struct request *r, const struct snapshot_model *m)
{
    for (uint32_t i = 0; i < r->work->tried_count; i++)
        for (uint32_t k = 0; k < m->deployment_count; k++)
            if (r->work->tried[i] == m->deployments[k].ordinal)
                return true;
    return false;
}

bool wishes_try(const struct request *r, const struct snapshot_model *m,
                const struct snapshot_deployment *d)
{
    const struct wishes *w = r->work->wishes;
    if (w->no_fallbacks && w->order.count == 0 && model_was_tried(r, m))
        return false;
    return wishes_allow(r, m, d);
}

/* ---- who is first ---- */

bool wishes_rank(const struct wishes *w)
{
    return w->order.count > 0 || w->sort != WISHES_SORT_NONE || w->target_count > 0;
}

static int64_t measure(const struct request *r, enum wishes_sort sort,
                       const struct upstream_target *t)
{
    const struct call *call = &r->work->call;
    const struct snapshot_price *price;
    const struct price_rates *rates;
    struct endpoint_latency latency;
    switch (sort) {
    case WISHES_SORT_NONE:
        return 0;
    case WISHES_SORT_PRICE:
        price = snapshot_price(t->deployment, r->start_us);
        rates = price != NULL ? price_rates_at(&price->price, call->tokens_in) : NULL;
        if (rates == NULL || rates->input == PRICE_UNKNOWN || rates->output == PRICE_UNKNOWN)
            return INT64_MAX;
        return rates->input / 2 + rates->output / 2;
    case WISHES_SORT_THROUGHPUT:
    case WISHES_SORT_LATENCY:
        latency = endpoint_estimate(t->endpoint, call->tokens_in);
        return sort == WISHES_SORT_LATENCY ? latency.ttft_ms : latency.tpot_us;
    }
    return 0;
}

bool wishes_prefer(const struct request *r, const struct snapshot_model *m,
                   const struct upstream_target *t, const struct upstream_target *than)
{
    const struct wishes *w = r->work->wishes;
    if (w == NULL)
        return false;
    const struct snapshot_provider *a = t->deployment->provider, *b = than->deployment->provider;
    uint32_t place_a = place_among_targets(w, m, a), place_b = place_among_targets(w, m, b);
    if (place_a == place_b) {
        place_a = place_in(&w->order, a);
        place_b = place_in(&w->order, b);
    }
    if (place_a != place_b)
        return place_a < place_b;
    return measure(r, w->sort, t) < measure(r, w->sort, than);
}

uint32_t wishes_fallback(const struct request *r)
{
    const struct wishes *w = r->work->wishes;
    for (uint32_t i = 0; r->route != NULL && i < r->work->candidate_count; i++) {
        const bool listed = (w->behind >> i & 1) != 0;
        /* A hint is advice: whom it passed over is there when all whom it meant have failed. */
        const bool passed_over =
            w->hints.count > 0 && r->work->candidates[i].excl == POLICY_EXCL(WISHES);
        if ((listed || passed_over) && (r->work->failed_mask >> i & 1) == 0 &&
            wishes_serve(r, r->work->candidate_models[i]))
            return i;
    }
    return POLICY_NONE;
}

/* ---- candidates ---- */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static bool contains(struct str text, struct str part)
{
    for (size_t at = 0; at + part.len <= text.len; at++) {
        size_t i = 0;
        while (i < part.len && lower(text.data[at + i]) == lower(part.data[i]))
            i++;
        if (i == part.len)
            return true;
    }
    return false;
}

static bool is_hinted(const struct snapshot_model *m, struct str hint)
{
    return contains(m->id, hint) || contains(m->display_name, hint);
}

/* The first hint that means somebody who could serve; others are left for later. */
static void obey_hints(struct request *r)
{
    const struct wishes *w = r->work->wishes;
    for (uint32_t h = 0; h < w->hints.count; h++) {
        uint64_t meant = 0;
        for (uint32_t i = 0; i < r->work->candidate_count; i++)
            if (r->work->candidates[i].excl == 0 &&
                is_hinted(r->work->candidate_models[i], w->hints.names[h]))
                meant |= UINT64_C(1) << i;
        for (uint32_t i = 0; meant != 0 && i < r->work->candidate_count; i++)
            if ((meant >> i & 1) == 0)
                r->work->candidates[i].excl |= POLICY_EXCL(WISHES);
        if (meant != 0)
            return;
    }
}

#define OUT_UNKNOWN 512

static int64_t candidate_measure(const struct request *r, uint32_t i)
{
    const struct policy_candidate *c = &r->work->candidates[i];
    const int64_t out = c->prior_out != 0 ? c->prior_out : OUT_UNKNOWN;
    switch (r->work->wishes->sort) {
    case WISHES_SORT_NONE:
        return 0;
    case WISHES_SORT_PRICE:
        if (c->price_in == PRICE_UNKNOWN || c->price_out == PRICE_UNKNOWN)
            return INT64_MAX;
        return (int64_t)r->work->call.tokens_in * (c->price_in / 1000) +
               out * (c->price_out / 1000);
    case WISHES_SORT_THROUGHPUT:
        return c->tpot_est_us;
    case WISHES_SORT_LATENCY:
        return c->ttft_est_ms;
    }
    return 0;
}

static void swap(struct request *r, uint32_t a, uint32_t b)
{
    struct request_work *w = r->work;
    const struct policy_candidate candidate = w->candidates[a];
    const struct record_candidate name = w->candidate_names[a];
    const struct snapshot_model *model = w->candidate_models[a];
    const struct snapshot_price *price = w->candidate_prices[a];
    w->candidates[a] = w->candidates[b];
    w->candidate_names[a] = w->candidate_names[b];
    w->candidate_models[a] = w->candidate_models[b];
    w->candidate_prices[a] = w->candidate_prices[b];
    w->candidates[b] = candidate;
    w->candidate_names[b] = name;
    w->candidate_models[b] = model;
    w->candidate_prices[b] = price;
}

/* Where nothing is known of quality the order of candidates decides, and is recorded. */
static void sort_candidates(struct request *r)
{
    if (r->work->wishes->sort == WISHES_SORT_NONE || r->route == NULL || r->policy == NULL)
        return; /* Without a policy it is the way that is another one. */
    for (uint32_t i = 1; i < r->route->candidate_count; i++)
        for (uint32_t k = i; k > 0 && candidate_measure(r, k) < candidate_measure(r, k - 1); k--)
            swap(r, k, k - 1);
}

enum way wishes_way(const struct request *r, enum way own_way)
{
    switch (r->work->wishes != NULL ? r->work->wishes->sort : WISHES_SORT_NONE) {
    case WISHES_SORT_NONE:
        break;
    case WISHES_SORT_PRICE:
        return WAY_LOWEST_COST;
    case WISHES_SORT_THROUGHPUT:
    case WISHES_SORT_LATENCY:
        return WAY_LOWEST_LATENCY;
    }
    return own_way;
}

void wishes_arrange(struct request *r)
{
    sort_candidates(r);
    obey_hints(r);
}

/* ---- weights ---- */

void wishes_weigh(const struct wishes *w, const struct policy_params *params,
                  struct policy_request *q)
{
    /* mu_latency is below 2^60: its upper and lower halves apart, for 2^16 would not fit. */
    int64_t speed = (params->mu_latency >> 16) * (int64_t)w->speed_q16 +
                    ((params->mu_latency & 65535) * (int64_t)w->speed_q16 >> 16);
    q->mu = speed > ARTIFACT_LAMBDA_MAX - q->mu ? ARTIFACT_LAMBDA_MAX : q->mu + speed;
    if (w->threshold_lambda >= 0)
        q->lambda = w->threshold_lambda;
    switch (w->sort) {
    case WISHES_SORT_NONE:
        break;
    case WISHES_SORT_PRICE:
        q->lambda = ARTIFACT_LAMBDA_MAX;
        q->mu = 0;
        break;
    case WISHES_SORT_THROUGHPUT:
    case WISHES_SORT_LATENCY:
        q->mu = ARTIFACT_LAMBDA_MAX;
        break;
    }
}

static bool has_quality(const struct request *r, const struct artifact *a)
{
    for (uint32_t i = 0; i < r->work->candidate_count; i++) {
        const struct policy_candidate *c = &r->work->candidates[i];
        if ((a != NULL && c->ordinal >= 0) || c->prior_q16 != POLICY_NO_PRIOR)
            return true;
    }
    return false;
}

void wishes_decide(struct request *r, const struct artifact *a, const struct policy_params *params)
{
    struct wishes *w = r->work->wishes;
    struct policy_request *q = &r->work->policy_request;
    struct policy_choice strong, weak;
    if (w->has_threshold || w->sort != WISHES_SORT_NONE)
        q->explore = false; /* The caller has said who it is to be. */
    if (!w->has_threshold || w->threshold_lambda >= 0)
        return;
    if (params->strategy == POLICY_STATIC || !has_quality(r, a)) {
        request_warn(r, "router_without_quality");
        return;
    }
    struct policy_request probe = *q;
    probe.mu = 0;
    probe.lambda = 0;
    int rc = policy_greedy_by_valid(a, &r->work->features, params, &probe, r->work->candidates,
                                    r->work->candidate_count, &strong);
    probe.lambda = ARTIFACT_LAMBDA_MAX;
    if (rc == 0)
        rc = policy_greedy_by_valid(a, &r->work->features, params, &probe, r->work->candidates,
                                    r->work->candidate_count, &weak);
    if (rc != 0 || strong.position == POLICY_NONE)
        return;
    uint32_t lead = strong.q > weak.q ? strong.q - weak.q : 0;
    w->threshold_lambda = lead >= w->threshold_q16 ? 0 : ARTIFACT_LAMBDA_MAX;
    q->lambda = w->threshold_lambda;
}
