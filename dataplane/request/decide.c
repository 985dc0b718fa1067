/* Which model serves: a route asks its policy, a named model is honoured and recorded as it is
 * (training data). What the policy cannot know (live state, prices, what the key may use) is put
 * into the candidates here; what it says is taken as it is. */
#include <string.h>

#include "common/base/clock.h"
#include "dataplane/request/arm.h"
#include "dataplane/request/ask.h"
#include "dataplane/request/charge.h"
#include "dataplane/request/required.h"
#include "dataplane/request/session.h"
#include "dataplane/request/shadow.h"
#include "dataplane/request/steps.h"
#include "dataplane/request/tally.h"
#include "dataplane/request/ways.h"
#include "dataplane/request/weights.h"
#include "dataplane/request/wishes_apply.h"
#include "dataplane/translate/notes.h"

/* ModelCapability bits of control.proto. */
enum { CAPABILITY_TOOLS = 1, CAPABILITY_IMAGES = 2, CAPABILITY_JSON = 4 };
enum { LIVE_BREAKER_OPEN = 1, LIVE_COOLING = 2, LIVE_STICKY = 4 };

/* ---- what was asked for ---- */

static bool deployment_named(const struct snapshot_model *m, struct str provider)
{
    for (uint32_t i = 0; i < m->deployment_count; i++)
        if (str_eq(m->deployments[i].provider->name, provider))
            return true;
    return false;
}

/* "provider/model", where model is ours or the provider's name of it. */
static const struct snapshot_model *model_at_provider(const struct snapshot *s, struct str name,
                                                      struct str *out_provider)
{
    struct str model;
    if (!str_cut(name, '/', out_provider, &model))
        return NULL;
    const struct snapshot_model *m = snapshot_model(s, model);
    if (m != NULL && deployment_named(m, *out_provider))
        return m;
    for (uint32_t i = 0; i < s->model_count; i++)
        for (uint32_t k = 0; k < s->models[i].deployment_count; k++)
            if (str_eq(s->models[i].deployments[k].name, name))
                return &s->models[i];
    return NULL;
}

static void add_candidate(struct request *r, const struct snapshot_model *m, int32_t ordinal)
{
    uint32_t i = r->work->candidate_count++;
    r->work->candidate_models[i] = m;
    r->work->candidates[i] = (struct policy_candidate){.ordinal = ordinal};
}

/* A policy named by the caller takes the place of the route's. */
static void choose_policy(struct request *r)
{
    const struct steering *s = &r->work->steering;
    r->policy = r->route->policy;
    if (s->policy.len == 0)
        return;
    const struct snapshot_policy *p = snapshot_policy(r->snapshot, s->policy);
    if (p == NULL || (s->policy_version != 0 && s->policy_version != p->version))
        request_warn(r, "policy_unknown");
    else
        r->policy = p;
}

static void route_candidates(struct request *r)
{
    const struct snapshot_route *route = r->route;
    for (uint32_t i = 0; i < route->candidate_count; i++) {
        const struct snapshot_candidate *c = &route->candidates[i];
        int32_t ordinal = c->ordinal;
        if (r->policy != route->policy)
            ordinal = r->policy->artifact != NULL
                          ? artifact_model(r->policy->artifact, c->model->id)
                          : POLICY_UNKNOWN_MODEL;
        add_candidate(r, c->model, ordinal);
    }
    if (ways_has_fallbacks(route))
        ways_add_fallbacks(r);
}

/* The route before this one is looked at first: no two have the same name. */
static const struct snapshot_route *find_route(struct request *r, struct str name)
{
    const struct snapshot *s = r->snapshot;
    const uint32_t last = r->env->last_route;
    if (last < s->route_count && str_eq(s->routes[last].name, name))
        return &s->routes[last];
    const struct snapshot_route *route = snapshot_route(s, name);
    if (route != NULL)
        r->env->last_route = route->ordinal;
    return route;
}

static bool resolve_name(struct request *r, struct str name)
{
    const struct snapshot *s = r->snapshot;
    r->route = find_route(r, name);
    if (r->route != NULL) {
        if (!snapshot_key_has_route(r->identity, r->route))
            return false;
        choose_policy(r);
        route_candidates(r);
        return true;
    }
    const struct snapshot_model *m = snapshot_model(s, name);
    if (m == NULL)
        m = model_at_provider(s, name, &r->work->pin_provider);
    if (m == NULL || !snapshot_key_has_model(r->identity, m)) {
        r->work->pin_provider = STR_NULL;
        return false;
    }
    r->work->pin_name = name;
    r->flags |= RECORD_FLAG_PINNED;
    add_candidate(r, m, POLICY_UNKNOWN_MODEL);
    return true;
}

static bool is_candidate(const struct request *r, const struct snapshot_model *m)
{
    for (uint32_t i = 0; i < r->work->candidate_count; i++)
        if (r->work->candidate_models[i] == m)
            return true;
    return false;
}

/* Behind a route: as its fallbacks; else in the order of the list. */
static void add_wished(struct request *r, const struct snapshot_model *m)
{
    if (r->work->candidate_count == POLICY_CANDIDATES_MAX || is_candidate(r, m))
        return;
    add_candidate(r, m, POLICY_UNKNOWN_MODEL);
    if (r->route == NULL)
        return;
    const uint32_t at = r->work->candidate_count - 1;
    r->work->candidates[at].excl = POLICY_EXCL(DISABLED);
    r->work->wishes->behind |= UINT64_C(1) << at;
}

/* One of a list of models. A route in it decides if it is the first, else it is a list itself. */
static bool resolve_target(struct request *r, struct wishes_target *t)
{
    const struct snapshot *s = r->snapshot;
    struct str name = t->model.len > 0 ? t->model : r->work->call.model, provider = STR_NULL;
    const struct snapshot_route *route = snapshot_route(s, name);
    if (route == NULL && wishes_read_suffix(name, r->work->wishes, &name))
        route = snapshot_route(s, name);
    if (route != NULL) {
        if (!snapshot_key_has_route(r->identity, route))
            return false;
        if (r->work->candidate_count == 0)
            return resolve_name(r, name);
        for (uint32_t i = 0; i < route->candidate_count; i++)
            if (snapshot_key_has_model(r->identity, route->candidates[i].model))
                add_wished(r, route->candidates[i].model);
        return true;
    }
    const struct snapshot_model *m = snapshot_model(s, name);
    if (m == NULL) {
        m = model_at_provider(s, name, &provider);
        if (m != NULL && t->provider.len == 0)
            t->provider = provider;
    }
    if (m == NULL || !snapshot_key_has_model(r->identity, m))
        return false;
    t->found = m;
    add_wished(r, m);
    return true;
}

static bool resolve_list(struct request *r)
{
    struct wishes *w = r->work->wishes;
    for (uint32_t i = 0; i < w->target_count; i++)
        if (!resolve_target(r, &w->targets[i]))
            request_warn(r, "wished_model_unknown");
    if (r->route == NULL)
        r->flags |= RECORD_FLAG_PINNED;
    return r->work->candidate_count > 0;
}

static bool resolve(struct request *r)
{
    struct str name = r->work->call.model;
    if (r->work->wishes != NULL && r->work->wishes->route.len > 0)
        return resolve_name(r, r->work->wishes->route) && r->route != NULL;
    if (r->work->wishes != NULL && r->work->wishes->target_count > 0)
        return resolve_list(r);
    return resolve_name(r, name) || (wishes_in_name(r, &name) && resolve_name(r, name));
}

/* ---- live state ---- */

struct live {
    const struct upstream_target *target; /* Best to use; NULL: none can be used now. */
    bool breaker;                         /* Else: nothing but open breakers ... */
    bool rate_limited;                    /* ... or a provider's 429 is in the way. */
    bool busy;                            /* ... or one has enough to do. */
    bool scarce;                          /* A few more calls may change that. */
    uint64_t wait_ms;
};

static bool usable_at_all(const struct request *r, const struct upstream_target *t)
{
    return t->origin != NULL && ask_may(r, t->deployment->provider) &&
           !required_pin_misses(r, t->deployment) && required_lacks(r, t->deployment) == 0;
}

static bool wished(const struct request *r, const struct upstream_target *t,
                   const struct snapshot_model *m)
{
    return r->work->wishes == NULL || wishes_allow(r, m, t->deployment);
}

/* The one that the session stays at is the model's face, however it compares. */
static bool is_sessions(const struct request *r, const struct upstream_target *t)
{
    return r->work->session_deployment != 0 && !ways_weighs_sessions(r) &&
           session_is_at(r, t->deployment);
}

static inline void look(const struct request *r, const struct snapshot_model *m, uint64_t now_ms,
                        struct live *l)
{
    *l = (struct live){.wait_ms = UINT64_MAX};
    int64_t least = 0;
    bool sessions = false;
    const bool all = ways_most_out(r, m, now_ms);
    for (uint32_t i = 0; i < m->deployment_count; i++) {
        const struct upstream_target *t = upstream_target(r->view, &m->deployments[i]);
        if (!usable_at_all(r, t) || !wished(r, t, m))
            continue;
        l->scarce |= !endpoint_has_room(t->endpoint, COHORT_MAX, now_ms);
        const bool usable = endpoint_usable(t->endpoint, now_ms) ||
                            (all && endpoint_cooldown_ms(t->endpoint, now_ms) == 0);
        if (usable && endpoint_full(t->endpoint)) {
            l->busy = true;
            l->wait_ms = 0;
            continue;
        }
        if (usable) {
            const int64_t measure = ways_measure(r, t, now_ms);
            const bool first = l->target == NULL || wishes_prefer(r, m, t, l->target);
            const bool equal = !first && !sessions && !wishes_prefer(r, m, l->target, t);
            const bool own = equal && is_sessions(r, t);
            if (own) {
                l->target = t;
                sessions = true;
            } else if (first ||
                       (equal && (t->deployment->priority < l->target->deployment->priority ||
                                  (t->deployment->priority == l->target->deployment->priority &&
                                   measure < least)))) {
                l->target = t;
                least = measure;
            }
            continue;
        }
        uint64_t wait = endpoint_wait_ms(t->endpoint, now_ms);
        if (wait < l->wait_ms)
            l->wait_ms = wait;
        if (endpoint_cooldown_ms(t->endpoint, now_ms) == 0)
            l->breaker = true;
        else if (atomic_load_explicit(&t->endpoint->shared->rate_limited, memory_order_relaxed))
            l->rate_limited = true;
    }
}

static void note_wait(struct request *r, uint64_t wait_ms)
{
    if (wait_ms > RETRY_WAIT_MAX_MS)
        return;
    if (!r->wait_known || wait_ms < r->wait_ms)
        r->wait_ms = (uint32_t)wait_ms;
    r->wait_known = true;
}

/* The deployment by which a model is judged: the one that would serve, else its first. */
static const struct upstream_target *face(const struct request *r, const struct live *l,
                                          const struct snapshot_model *m)
{
    return l->target != NULL ? l->target : upstream_target(r->view, &m->deployments[0]);
}

static void describe(struct request *r, uint32_t i, const struct live *l)
{
    const struct snapshot_model *m = r->work->candidate_models[i];
    struct policy_candidate *c = &r->work->candidates[i];
    const struct upstream_target *t = face(r, l, m);
    const struct snapshot_price *price = snapshot_price(t->deployment, r->start_us);
    r->work->candidate_prices[i] = price;
    struct endpoint_latency latency = endpoint_estimate(t->endpoint, r->work->call.tokens_in);
    /* Of the tier that this prompt is charged at: the record holds what was decided with. */
    static const struct price_rates unknown = PRICE_RATES_UNKNOWN;
    const struct price_rates *rates =
        price != NULL ? price_rates_at(&price->price, r->work->call.tokens_in) : &unknown;
    c->price_in = rates->input;
    c->price_out = rates->output;
    c->price_cached = rates->cached_read;
    c->max_out = m->max_output;
    c->ttft_est_ms = latency.ttft_ms;
    c->tpot_est_us = latency.tpot_us;
    c->prior_q16 = m->prior_q16;
    c->prior_out = m->prior_out;
    c->domain = t->deployment->provider->failure_domain;
    r->work->candidate_names[i] =
        (struct record_candidate){.model = m->id, .price_id = price != NULL ? price->id : 0};
}

static uint32_t exclusions(const struct request *r, const struct snapshot_model *m)
{
    const struct call *c = &r->work->call;
    uint32_t excl = 0;
    uint32_t has = m->capabilities;
    if (has != 0 && ((c->has_tools && !(has & CAPABILITY_TOOLS)) ||
                     (c->has_images && !(has & CAPABILITY_IMAGES)) ||
                     (c->json_mode && !(has & CAPABILITY_JSON))))
        excl |= POLICY_EXCL(CAPABILITY);
    /* The estimate may be an eighth too high; the provider has the last word. */
    if (m->context_window != 0 && c->tokens_in - c->tokens_in / 8 > m->context_window)
        excl |= POLICY_EXCL(CONTEXT_LEN);
    if (!snapshot_key_has_model(r->identity, m))
        excl |= POLICY_EXCL(KEY_ALLOWLIST);
    return excl;
}

/* Somebody who serves it answers what this path asks, and has words for this call. */
static inline bool has_words(const struct request *r, const struct snapshot_model *m)
{
    for (uint32_t i = 0; i < m->deployment_count; i++) {
        const struct snapshot_provider *p = m->deployments[i].provider;
        if (required_lacks(r, &m->deployments[i]) != 0)
            continue;
        if (p->kind == NULL || (ask_may_serve(r, p) && ask_can_say(r, &m->deployments[i])))
            return true; /* Who is not known here is no matter of words. */
    }
    return m->deployment_count == 0;
}

/* Nothing that is counted is near its end, and nobody is chosen by how much he has to do. */
static bool has_plenty(const struct request *r, bool scarce)
{
    const enum way way = ways_of(r);
    return !scarce && r->charge == NULL && r->work->wishes == NULL && !r->work->queued &&
           way != WAY_LEAST_BUSY && way != WAY_USAGE_BASED;
}

static void fill_candidates(struct request *r)
{
    __attribute__((uninitialized)) struct live live[POLICY_CANDIDATES_MAX];
    uint64_t now_ms = r->now_ns / 1000000;
    uint32_t broken = 0;
    bool scarce = false;
    for (uint32_t i = 0; i < r->work->candidate_count; i++) {
        look(r, r->work->candidate_models[i], now_ms, &live[i]);
        broken += live[i].target == NULL && !live[i].busy && live[i].breaker;
        scarce |= live[i].scarce;
    }
    r->plenty = has_plenty(r, scarce);
    /* At most half may be ejected; beyond that all are used (F14). */
    r->ignore_breakers = broken * 2 > r->work->candidate_count && r->work->candidate_count > 1;
    for (uint32_t i = 0; i < r->work->candidate_count; i++) {
        struct policy_candidate *c = &r->work->candidates[i];
        describe(r, i, &live[i]);
        const uint32_t lacks =
            r->work->required ? required_lacks_model(r, r->work->candidate_models[i]) : 0;
        if (lacks != 0) {
            c->excl |= lacks;
            continue;
        }
        if (!has_words(r, r->work->candidate_models[i]))
            c->excl |= POLICY_EXCL(CAPABILITY);
        if (r->work->wishes != NULL && !wishes_serve(r, r->work->candidate_models[i])) {
            c->excl |= POLICY_EXCL(WISHES);
            continue;
        }
        if (r->route != NULL || r->work->candidate_count > 1)
            c->excl |= exclusions(r, r->work->candidate_models[i]);
        if (live[i].target != NULL)
            continue;
        if (live[i].busy) {
            c->excl |= POLICY_EXCL(BUSY);
            continue;
        }
        c->live |= live[i].breaker ? LIVE_BREAKER_OPEN : LIVE_COOLING;
        note_wait(r, live[i].wait_ms);
        if (live[i].breaker && r->ignore_breakers)
            continue;
        c->excl |= live[i].rate_limited ? POLICY_EXCL(RATE) : POLICY_EXCL(BREAKER_OPEN);
    }
}

/* ---- the decision ---- */

/* 0 is no cap. */
static int64_t lower_cap(int64_t a, int64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

static void fill_request(struct request *r, const struct policy_params *params)
{
    struct policy_request *q = &r->work->policy_request;
    const struct snapshot_policy *p = r->policy;
    q->t_in = r->work->call.tokens_in;
    weights_fill(r, p, params, q);
    q->max_cost_nanousd =
        lower_cap(r->work->steering.max_cost_nanousd, r->identity->terms->max_cost_nanousd);
    if (r->work->wishes != NULL)
        q->max_cost_nanousd = lower_cap(q->max_cost_nanousd, r->work->wishes->max_cost_nanousd);
    q->explore = !r->identity->no_explore && r->path->adapter == NULL;
    q->policy_version = p != NULL ? p->artifact_sha : STR_NULL;
    memcpy(q->request_id, r->id.bytes, sizeof q->request_id);
    q->sticky = session_position(r);
    for (uint32_t i = 0; i < r->work->candidate_count; i++)
        r->work->candidates[i].cached_tokens = i == q->sticky ? session_cached_tokens(r) : 0;
    if (q->sticky != POLICY_NONE)
        r->work->candidates[q->sticky].live |= LIVE_STICKY;
}

/* Of the route's candidates: who stands behind them is out for no reason of the caller's. */
static struct policy_refusal refusal_of(struct request *r)
{
    struct policy_decision *d = &r->work->decision;
    const uint32_t count = d->count;
    if (r->route != NULL)
        d->count = r->route->candidate_count;
    struct policy_refusal refusal = policy_refusal(d);
    d->count = count;
    return refusal;
}

/* The member that asks for what the first model in question has not. */
static struct str param_of_capability(const struct request *r)
{
    const struct call *c = &r->work->call;
    const struct snapshot_model *m = r->work->candidate_models[0];
    if (r->work->candidate_count == 0)
        return STR_NULL;
    if (!has_words(r, m)) /* ask_can_say */
        return c->bound_to.len == 0 && c->choices > 1 ? STR("n") : c->bound_to;
    if (c->has_images && !(m->capabilities & CAPABILITY_IMAGES))
        return tr_param_for(r->dialect, STR("messages"));
    if (c->has_tools && !(m->capabilities & CAPABILITY_TOOLS))
        return STR("tools");
    return c->json_mode && !(m->capabilities & CAPABILITY_JSON)
               ? tr_param_for(r->dialect, STR("response_format"))
               : STR_NULL;
}

static enum step_result refuse(struct request *r)
{
    struct policy_refusal refusal = refusal_of(r);
    if (r->wait_known)
        r->detail.wait_ms = r->wait_ms;
    switch ((enum policy_exclusion_index)refusal.exclusion) {
    case POLICY_EXCLUSION_CAPABILITY:
        r->detail.param = param_of_capability(r);
        return request_fail(r, FAULT_CAPABILITY);
    case POLICY_EXCLUSION_CONTEXT_LEN:
        r->detail.param = tr_param_for(r->dialect, STR("messages"));
        return request_fail(r, FAULT_CONTEXT_LENGTH);
    case POLICY_EXCLUSION_REGION:
    case POLICY_EXCLUSION_PRIVACY_CLASS:
        return required_refuse(r, (enum policy_exclusion_index)refusal.exclusion);
    case POLICY_EXCLUSION_KEY_ALLOWLIST:
        return request_fail(r, FAULT_MODEL_NOT_FOUND);
    case POLICY_EXCLUSION_CONDITION:
    case POLICY_EXCLUSION_QUALITY_FLOOR:
    case POLICY_EXCLUSION_COST_CAP:
    case POLICY_EXCLUSION_LATENCY_CAP:
        return request_fail(r, FAULT_CONSTRAINTS);
    case POLICY_EXCLUSION_WISHES:
        return request_fail(r, FAULT_WISHES);
    case POLICY_EXCLUSION_BUDGET:
        return charge_refuse(r);
    case POLICY_EXCLUSION_RATE:
        return request_fail(r, FAULT_UPSTREAM_RATE_LIMITED);
    case POLICY_EXCLUSION_BUSY:
        meters_reject(&r->env->meters, "deployment_busy");
        r->detail.wait_ms = 1000;
        return request_fail(r, FAULT_OVERLOAD);
    case POLICY_EXCLUSION_BREAKER_OPEN:
    case POLICY_EXCLUSION_STICKY:
    case POLICY_EXCLUSION_USER_PIN:
    case POLICY_EXCLUSION_DISABLED:
    case POLICY_EXCLUSIONS:
        break;
    }
    return request_fail(r, FAULT_NO_UPSTREAM);
}

static void count_decision(struct request *r)
{
    const uint32_t chosen = r->work->decision.chosen;
    tally_decision(r, chosen != POLICY_NONE ? r->work->candidate_models[chosen] : NULL);
}

static bool open_decision(struct request *r)
{
    if (!resolve(r))
        return false;
    required_note(r);
    r->id = uuid_v7_signed(r->start_us, r->identity->id, r->snapshot->limits.decision_id_key);
    uuid_format(&r->id, r->id_text);
    if (r->work->steering.session.len > 0)
        session_read(r);
    if (r->work->steering.compacted) /* No prompt cache is lost by another model. */
        r->work->session_model = r->work->session_deployment = 0;
    if (r->route != NULL && ways_has_target(r->route))
        ways_choose_target(r);
    if (r->policy != NULL && r->policy->rollout != NULL)
        arm_choose(r);
    if (r->work->steering.no_log && !r->identity->may_no_log)
        request_warn(r, "no_log_not_granted");
    fill_candidates(r);
    if (r->work->wishes != NULL)
        wishes_arrange(r);
    return true;
}

/* Whether somebody is affordable; else money is asked for, and the step waits. */
static enum step_result weigh(struct request *r)
{
    if (charge_weigh(r)) {
        charge_woken(r);
        return STEP_NEXT;
    }
    return !r->path->asks_only && charge_wait(r) ? STEP_WAIT : STEP_NEXT;
}

/* What a snapshot holds was checked when it was built. */
static int choose(struct request *r, const struct policy_params *params)
{
    const struct artifact *artifact = r->policy != NULL ? r->policy->artifact : NULL;
    return policy_decide_by_valid(artifact, &r->work->features, params, &r->work->policy_request,
                                  r->work->candidates, r->work->candidate_count,
                                  &r->work->decision);
}

static bool too_long(struct request *r)
{
    return r->route != NULL && r->work->decision.chosen == POLICY_NONE &&
           refusal_of(r).exclusion == POLICY_EXCLUSION_CONTEXT_LEN;
}

/* ---- waiting for room (F21, F22) ---- */

static const void *place_of(const struct request *r)
{
    return r->route != NULL ? (const void *)r->route : (const void *)r->work->candidate_models[0];
}

static void leave_queue(struct request *r, bool served)
{
    if (!r->work->queued)
        return;
    r->work->queued = false;
    queue_leave(&r->env->queue, r, served);
}

static bool its_turn(const struct request *r)
{
    return queue_is_next(&r->env->queue, r) ||
           queue_is_over(&r->env->queue, r, r->now_ns / 1000000);
}

/* As things are now; what the request is has not changed. */
static void look_again(struct request *r)
{
    for (uint32_t i = 0; i < r->work->candidate_count; i++) {
        struct policy_candidate *c = &r->work->candidates[i];
        c->excl &= ~(POLICY_EXCL(BUSY) | POLICY_EXCL(RATE) | POLICY_EXCL(BREAKER_OPEN));
        c->live &= ~(uint32_t)(LIVE_BREAKER_OPEN | LIVE_COOLING);
    }
    fill_candidates(r);
}

static enum step_result refuse_room(struct request *r, bool over_share)
{
    r->detail.wait_ms = 1000;
    meters_reject(&r->env->meters, over_share ? "queue_share" : "queue_full");
    return request_fail(r, over_share ? FAULT_TOO_MANY_REQUESTS : FAULT_OVERLOAD);
}

/* Who finds nothing but deployments with enough to do waits its turn, behind those that do. */
static enum step_result make_room(struct request *r)
{
    const bool busy =
        r->work->decision.chosen == POLICY_NONE && refusal_of(r).exclusion == POLICY_EXCLUSION_BUSY;
    struct queue *q = &r->env->queue;
    if (r->path->asks_only)
        return STEP_NEXT;
    if (r->work->queued && busy && !queue_is_over(q, r, r->now_ns / 1000000)) {
        request_poll(r);
        return STEP_WAIT;
    }
    if (r->work->queued) {
        leave_queue(r, !busy);
        return STEP_NEXT;
    }
    if (!busy && (r->work->decision.chosen == POLICY_NONE || !queue_waits(q, place_of(r))))
        return STEP_NEXT;
    switch (queue_join(q, r, place_of(r), r->identity->id, r->work->call.tokens_in,
                       r->now_ns / 1000000)) {
    case QUEUE_JOINED:
        r->work->queued = true;
        request_poll(r);
        return STEP_WAIT;
    case QUEUE_FULL:
        return refuse_room(r, false);
    case QUEUE_OVER_SHARE:
        break;
    }
    return refuse_room(r, true);
}

enum step_result step_decide(struct request *r)
{
    __attribute__((uninitialized)) struct policy_params plain;
    bool again = r->charge != NULL && r->charge->parked;
    if ((again || r->work->queued) && r->client_gone) {
        leave_queue(r, false);
        r->outcome = RECORD_STATUS_CANCELLED;
        return STEP_FAIL;
    }
    if (r->work->queued && !its_turn(r)) {
        request_poll(r);
        return STEP_WAIT;
    }
    if (r->charge != NULL && charge_sleeps(r))
        return STEP_WAIT;
    if (r->work->queued) {
        look_again(r);
    } else if (!again && !open_decision(r)) {
        r->detail.param = STR("model");
        return request_fail(r, FAULT_MODEL_NOT_FOUND);
    }
    if (r->charge != NULL && weigh(r) == STEP_WAIT)
        return STEP_WAIT;
    const struct policy_params *params = &plain;
    if (r->policy != NULL) {
        params = &r->policy->params;
    } else {
        policy_params_init(&plain);
        plain.strategy = POLICY_STATIC;
        plain.draw_key = r->snapshot->limits.draw_key;
    }
    fill_request(r, params);
    ways_fill(r);
    if (r->work->wishes != NULL)
        wishes_decide(r, r->policy != NULL ? r->policy->artifact : NULL, params);
    int rc = choose(r, params);
    if (rc == 0 && too_long(r) && ways_open_long(r))
        rc = choose(r, params);
    if (rc != 0)
        return request_fail(r, FAULT_INTERNAL);
    const enum step_result room = make_room(r);
    if (room != STEP_NEXT)
        return room;
    if (r->work->in_rollout)
        shadow_decide(r);
    r->decided = true;
    r->flags |= record_flags_from_policy(r->work->decision.flags);
    count_decision(r);
    if (r->work->decision.chosen != POLICY_NONE || r->path->asks_only)
        return STEP_NEXT;
    return refuse(r);
}
