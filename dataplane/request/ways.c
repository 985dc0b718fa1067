#include "dataplane/request/ways.h"

#include "dataplane/request/ask.h"
#include "dataplane/request/required.h"
#include "dataplane/request/session.h"
#include "dataplane/request/wishes_apply.h"

#define OUT_TOKENS 512 /* Of an answer, to compare deployments of one model. */

/* ---- what a way looks at ---- */

static int64_t latency(const struct request *r, const struct upstream_target *t)
{
    const struct endpoint_latency l = endpoint_estimate(t->endpoint, r->work->call.tokens_in);
    return (int64_t)l.ttft_ms + (int64_t)l.tpot_us * OUT_TOKENS / 1000;
}

static int64_t rated(int64_t rate, uint32_t tokens)
{
    return rate / PRICE_TOKENS_PER_UNIT * tokens +
           rate % PRICE_TOKENS_PER_UNIT * tokens / PRICE_TOKENS_PER_UNIT;
}

/* What the session's deployment reads from its provider's prompt cache another one reads anew. */
static int64_t cost(const struct request *r, const struct upstream_target *t)
{
    const uint32_t tokens_in = r->work->call.tokens_in;
    const struct snapshot_price *price = snapshot_price(t->deployment, r->start_us);
    if (price == NULL)
        return INT64_MAX;
    const struct price_rates *rates = price_rates_at(&price->price, tokens_in);
    if (rates->input == PRICE_UNKNOWN || rates->output == PRICE_UNKNOWN)
        return INT64_MAX;
    const bool cached = rates->cached_read != PRICE_UNKNOWN && session_is_at(r, t->deployment);
    const uint32_t again = cached ? session_cached_tokens(r) : 0;
    return rated(rates->input, tokens_in - again) + rated(cached ? rates->cached_read : 0, again) +
           rated(rates->output, OUT_TOKENS);
}

int64_t ways_measured(const struct request *r, enum way way, const struct upstream_target *t,
                      uint64_t now_ms)
{
    switch (way) {
    case WAY_LEAST_BUSY:
        return endpoint_inflight(t->endpoint);
    case WAY_USAGE_BASED:
        return (int64_t)endpoint_used(t->endpoint, now_ms);
    case WAY_LOWEST_LATENCY:
        return latency(r, t);
    case WAY_LOWEST_COST:
        return cost(r, t);
    case WAY_LEARNED:
    case WAY_PRIORITY:
    case WAY_WEIGHTED:
    case WAY_ROUND_ROBIN:
    case WAYS:
        break;
    }
    return 0;
}

static bool is_out(const struct upstream_target *t, uint64_t now_ms)
{
    return t->origin != NULL && endpoint_cooldown_ms(t->endpoint, now_ms) == 0 &&
           !endpoint_usable(t->endpoint, now_ms);
}

static uint32_t count_out(const struct request *r, const struct snapshot_model *m, uint64_t now_ms)
{
    uint32_t out = 0;
    for (uint32_t i = 0; i < m->deployment_count; i++)
        out += is_out(upstream_target(r->view, &m->deployments[i]), now_ms);
    return out;
}

/* Of those whom this request may be sent to: how many of others are out does not matter. */
bool ways_most_of_some_out(const struct request *r, const struct snapshot_model *m, uint64_t now_ms)
{
    uint32_t all = 0, out = 0;
    for (uint32_t i = 0; i < m->deployment_count; i++) {
        if (required_lacks(r, &m->deployments[i]) != 0)
            continue;
        all++;
        out += is_out(upstream_target(r->view, &m->deployments[i]), now_ms);
    }
    return all > 1 && 2 * out > all;
}

/* Of the other deployments of the model that are in use and known; 0: there are none. */
static uint32_t peers_ttft(const struct request *r, const struct attempt *a, uint64_t now_ms)
{
    __attribute__((uninitialized)) uint32_t ttft[SNAPSHOT_DEPLOYMENTS_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < a->model->deployment_count; i++) {
        const struct upstream_target *t = upstream_target(r->view, &a->model->deployments[i]);
        if (t->endpoint == a->target->endpoint || !endpoint_usable(t->endpoint, now_ms))
            continue;
        const uint32_t ms = endpoint_estimate(t->endpoint, r->tokens_in).ttft_ms;
        uint32_t at = count;
        if (ms == 0)
            continue;
        for (; at > 0 && ttft[at - 1] > ms; at--)
            ttft[at] = ttft[at - 1];
        ttft[at] = ms;
        count++;
    }
    return count == 0 ? 0 : ttft[count / 2];
}

void ways_eject_slow(struct request *r, uint64_t now_ms)
{
    const struct attempt *a = &r->attempt;
    const struct snapshot_model *m = a->model;
    if (m->deployment_count < 2 ||
        !endpoint_is_behind(a->target->endpoint, a->record->ttft_ms, peers_ttft(r, a, now_ms)) ||
        2 * (count_out(r, m, now_ms) + 1) > m->deployment_count)
        return;
    const struct snapshot_deployment *d = a->target->deployment;
    const struct str labels[] = {d->provider->name, d->name};
    endpoint_eject_slow(a->target->endpoint, now_ms);
    metrics_add(meter(&r->env->meters, METER_EJECTED, labels), 1);
}

static bool may_serve(const struct request *r, const struct upstream_target *t, uint64_t now_ms)
{
    return t->origin != NULL && ask_may(r, t->deployment->provider) &&
           required_lacks(r, t->deployment) == 0 && endpoint_usable(t->endpoint, now_ms);
}

/* Of a model what its best deployment has. */
static int64_t model_measure(const struct request *r, const struct snapshot_model *m,
                             uint64_t now_ms)
{
    int64_t least = INT64_MAX;
    for (uint32_t i = 0; i < m->deployment_count; i++) {
        const struct upstream_target *t = upstream_target(r->view, &m->deployments[i]);
        if (!may_serve(r, t, now_ms))
            continue;
        int64_t measure = ways_measure(r, t, now_ms);
        if (measure < least)
            least = measure;
    }
    return least;
}

/* How many turns away each is, among those of its priority that may be chosen. */
static void fill_turns(const struct request *r, struct way_input *way)
{
    const struct policy_candidate *c = r->work->candidates;
    const uint32_t turn = r->view->turns[r->route->ordinal]++;
    for (uint32_t i = 0; i < way->count; i++) {
        uint32_t among = 0, place = 0;
        for (uint32_t k = 0; k < way->count; k++) {
            if (c[k].excl != 0 || way->candidates[k].priority != way->candidates[i].priority)
                continue;
            among++;
            place += k < i;
        }
        if (c[i].excl == 0)
            way->candidates[i].measure = (place + among - turn % among) % among;
    }
}

/* Whether the session's own deployment of the model can be asked now. */
static bool session_lives(const struct request *r, const struct snapshot_model *m, uint64_t now_ms)
{
    const uint64_t place = session_place(r, m);
    if (place == 0)
        return false;
    const struct upstream_target *t =
        upstream_target(r->view, &m->deployments[__builtin_ctzll(place)]);
    return may_serve(r, t, now_ms) && !endpoint_full(t->endpoint);
}

/* The session's model comes before all others, where the way does not weigh what leaving it costs.
 * It is in the recorded priorities, so that the order comes out again. */
static void stay(const struct request *r, struct way_input *way)
{
    const uint32_t at = r->work->policy_request.sticky;
    if (r->work->session_deployment == 0 || at == POLICY_NONE || way->way == WAY_LOWEST_COST ||
        !session_lives(r, r->work->candidate_models[at], r->start_ns / 1000000))
        return;
    for (uint32_t i = 0; i < way->count; i++)
        way->candidates[i].priority = i == at ? 0 : way->candidates[i].priority + 1;
}

void ways_fill(struct request *r)
{
    const struct snapshot_route *route = r->route;
    struct way_input *way = &r->work->way;
    const enum way kind = ways_of(r);
    r->work->policy_request.way = NULL;
    if (r->work->by_target) { /* Filled when it was chosen. */
        r->work->policy_request.way = way;
        stay(r, way);
        return;
    }
    if (kind == WAY_LEARNED)
        return;
    way->way = kind;
    way->count = r->work->candidate_count;
    const bool by_load = kind == WAY_LEAST_BUSY || kind == WAY_USAGE_BASED;
    for (uint32_t i = 0; i < way->count; i++) {
        struct way_candidate *c = &way->candidates[i];
        *c = (struct way_candidate){.weight = 1, .priority = WAY_PRIORITY_MAX + 1 + i};
        if (i < route->candidate_count) {
            c->weight = route->candidates[i].weight;
            c->priority = route->candidates[i].priority;
        }
        if (by_load)
            c->measure = model_measure(r, r->work->candidate_models[i], r->start_ns / 1000000);
    }
    if (kind == WAY_ROUND_ROBIN)
        fill_turns(r, way);
    stay(r, way);
    r->work->policy_request.way = way;
}

uint32_t ways_turn_of_model(const struct request *r, const struct snapshot_model *m)
{
    return r->view->turns[r->snapshot->route_count + m->ordinal]++;
}

/* ---- who takes over ---- */

static uint32_t position_of(const struct request *r, const struct snapshot_model *m)
{
    for (uint32_t i = 0; i < r->work->candidate_count; i++)
        if (r->work->candidate_models[i] == m)
            return i;
    return POLICY_NONE;
}

void ways_add_fallbacks(struct request *r)
{
    struct request_work *w = r->work;
    for (uint32_t kind = 0; kind < SNAPSHOT_FALLBACKS; kind++) {
        const struct snapshot_models *list = &r->route->fallbacks[kind];
        for (uint32_t i = 0; i < list->count && w->candidate_count < POLICY_CANDIDATES_MAX; i++) {
            if (position_of(r, list->items[i]) != POLICY_NONE)
                continue;
            const uint32_t at = w->candidate_count++;
            w->candidate_models[at] = list->items[i];
            w->candidates[at] = (struct policy_candidate){.ordinal = POLICY_UNKNOWN_MODEL,
                                                          .excl = POLICY_EXCL(DISABLED)};
        }
    }
}

bool ways_has_fallback(const struct request *r, enum snapshot_fallback kind)
{
    return r->route != NULL && r->route->fallbacks[kind].count != 0;
}

/* One of the candidates is left to the decision, unless something went wrong that it is listed for;
 * one behind them lacks nothing but that it was kept from the decision. */
static bool may_take_over(const struct request *r, enum snapshot_fallback kind, uint32_t at)
{
    if ((r->work->failed_mask >> at & 1) != 0 ||
        !snapshot_key_has_model(r->identity, r->work->candidate_models[at]))
        return false;
    if (at < r->route->candidate_count)
        return kind != SNAPSHOT_FALLBACK_ANY && r->work->decision.row[at].excl == 0;
    return true;
}

uint32_t ways_next_fallback(const struct request *r, enum snapshot_fallback kind)
{
    if (r->route == NULL)
        return POLICY_NONE;
    const struct snapshot_models *list = &r->route->fallbacks[kind];
    for (uint32_t i = 0; i < list->count; i++) {
        const uint32_t at = position_of(r, list->items[i]);
        if (at != POLICY_NONE && may_take_over(r, kind, at))
            return at;
    }
    return POLICY_NONE;
}

bool ways_open_long(struct request *r)
{
    bool opened = false;
    if (!ways_has_fallback(r, SNAPSHOT_FALLBACK_CONTEXT_WINDOW))
        return false;
    const struct snapshot_models *list = &r->route->fallbacks[SNAPSHOT_FALLBACK_CONTEXT_WINDOW];
    for (uint32_t i = 0; i < list->count; i++) {
        const uint32_t at = position_of(r, list->items[i]);
        if (at == POLICY_NONE || at < r->route->candidate_count)
            continue;
        uint32_t *excl = &r->work->candidates[at].excl;
        opened = opened || *excl == POLICY_EXCL(DISABLED);
        *excl &= ~POLICY_EXCL(DISABLED);
    }
    return opened;
}
