/* What a request may cost: weighed for every candidate before the choice, taken for every attempt
 * before it is sent, settled once. */
#include "dataplane/request/charge.h"

#include "common/base/checked.h"
#include "common/base/mem.h"
#include "dataplane/request/ask.h"
#include "dataplane/request/charge_internal.h"
#include "dataplane/request/early.h"
#include "dataplane/request/steps.h"
#include "dataplane/translate/quirks.h"

#define TRIES 4 /* Others take from the same budgets meanwhile. */

/* ---- one call ---- */

bool charge_call_of(const struct request *r, const struct snapshot_model *m,
                    const struct snapshot_price *price, struct charge_call *out_call)
{
    if (price == NULL || !price_known(&price->price))
        return false;
    *out_call = (struct charge_call){
        .price = price,
        .tokens_in =
            charge_input(m, r->work->call.input_elsewhere ? UINT32_MAX : r->work->call.tokens_most),
        .tokens_out = r->path->input_only ? 0 : charge_output(m, r->work->call.max_tokens),
        .choices = r->work->call.choices,
    };
    return true;
}

int charge_worst(const struct charge_call *c, uint64_t tokens_out, int64_t *out_nanousd)
{
    int64_t worst;
    int rc = price_worst(&c->price->price, c->tokens_in, c->choices * tokens_out, &worst);
    if (rc != 0)
        return rc;
    if (worst > BUDGET_AMOUNT_MAX)
        return ERR_OVERFLOW;
    *out_nanousd = worst;
    return 0;
}

uint32_t charge_fit(const struct charge_call *c, int64_t free)
{
    uint64_t all;
    if (free <= 0 || price_worst_output(&c->price->price, c->tokens_in, free, &all) != 0)
        return 0;
    uint64_t each = all / c->choices;
    if (each > c->tokens_out)
        each = c->tokens_out;
    return each < CHARGE_FLOOR_TOKENS ? 0 : (uint32_t)each;
}

/* ---- weighing ---- */

static void note_tight(struct charge_plan *plan, const struct charge_budget *b,
                       const struct budget_ref *ref, int64_t free)
{
    if (plan->tight.account != NULL && (plan->tight_missing || free >= plan->tight_free))
        return;
    plan->tight = *b;
    plan->tight_missing = ref == NULL;
    if (ref != NULL)
        plan->tight_ref = *ref;
    plan->tight_free = free;
}

/* The least of all budgets of the path. */
static int64_t path_free(struct request *r)
{
    struct charge_plan *plan = &r->work->plan;
    int64_t least = INT64_MAX;
    for (uint32_t i = 0; i < plan->count; i++) {
        bool missing = (plan->missing >> i & 1) != 0;
        const struct budget_ref *ref = missing ? NULL : &r->charge->path.ref[i];
        int64_t free = missing ? 0 : budget_ref_free(ref);
        if (free < least || missing) {
            least = free < least ? free : least;
            note_tight(plan, &plan->budgets[i], ref, free);
        }
    }
    return least;
}

/* The same of a model's group. */
static int64_t group_free(struct request *r, const struct account *a)
{
    int64_t least = INT64_MAX;
    for (uint32_t i = 0; i < a->budget_count; i++) {
        struct budget_ref ref;
        const struct charge_budget b = {a, &a->budgets[i]};
        bool missing =
            budget_find(r->env->shared->budgets, b.budget->id, request_steady_us(r), &ref) != 0;
        int64_t free = missing ? 0 : budget_ref_free(&ref);
        if (free < least)
            least = free;
        note_tight(&r->work->plan, &b, missing ? NULL : &ref, free);
    }
    return least;
}

static void note_need(struct charge_plan *plan, int64_t worst)
{
    if (plan->need == 0 || worst < plan->need)
        plan->need = worst;
}

/* false: not even with less output. */
static bool weigh_one(struct request *r, uint32_t i, int64_t free)
{
    struct charge_plan *plan = &r->work->plan;
    const struct snapshot_model *m = r->work->candidate_models[i];
    struct charge_call call;
    int64_t worst = BUDGET_AMOUNT_MAX;
    bool grouped = m->account != NULL && m->account->budget_count > 0;
    if (plan->count == 0 && !grouped)
        return true;
    if (!charge_call_of(r, m, r->work->candidate_prices[i], &call)) {
        plan->unpriced = true;
        return false;
    }
    if (grouped) {
        int64_t of_group = group_free(r, m->account);
        free = of_group < free ? of_group : free;
    }
    bool known = charge_worst(&call, call.tokens_out, &worst) == 0;
    if (known && worst <= free && plan->missing == 0)
        return true;
    uint32_t fit = plan->missing == 0 ? charge_fit(&call, free) : 0;
    if (fit == 0) {
        note_need(plan, worst > 0 ? worst : 1);
        return false;
    }
    r->work->candidates[i].max_out = fit;
    return true;
}

bool charge_weigh(struct request *r)
{
    struct charge_plan *plan = &r->work->plan;
    struct charge *c = r->charge;
    bool any = false, dear = false;
    if (c->parked)
        charge_find(r);
    plan->need = 0;
    plan->unpriced = false;
    plan->tight.account = NULL;
    int64_t free = path_free(r);
    for (uint32_t i = 0; i < r->work->candidate_count; i++) {
        struct policy_candidate *cand = &r->work->candidates[i];
        cand->excl &= ~POLICY_EXCL(BUDGET);
        if (cand->excl != 0)
            continue;
        cand->max_out = r->work->candidate_models[i]->max_output;
        if (weigh_one(r, i, free)) {
            any = true;
            continue;
        }
        cand->excl = POLICY_EXCL(BUDGET);
        dear = true;
    }
    c->pressure_q16 = plan->missing == 0 ? budget_pressure(c->path.ref, plan->count) : 0;
    return any || !dear;
}

/* Nothing changes up to where the pressure begins; from there the weight rises with the square of
 * what is behind it, up to its factor where nothing is left: no step anywhere. */
int64_t charge_lambda(struct request *r, int64_t lambda)
{
    const struct request_settings *s = &r->env->shared->settings;
    uint64_t pressure = r->charge->pressure_q16, from = s->pressure_from_q16;
    if (pressure <= from || from >= BUDGET_PRESSURE_ONE || s->pressure_factor <= 1 || lambda <= 0)
        return lambda;
    uint64_t x = (pressure - from) * BUDGET_PRESSURE_ONE / (BUDGET_PRESSURE_ONE - from);
    uint64_t more = (uint64_t)(s->pressure_factor - 1) * (x * x >> 16); /* Q16 */
    __extension__ const unsigned __int128 scaled =
        (unsigned __int128)(uint64_t)lambda * (BUDGET_PRESSURE_ONE + more) >> 16;
    return scaled > ARTIFACT_LAMBDA_MAX ? ARTIFACT_LAMBDA_MAX : (int64_t)scaled;
}

/* ---- taking ---- */

static struct charge_group *find_group(struct request *r, uint32_t position)
{
    struct charge *c = r->charge;
    for (uint32_t i = 0; i < c->group_count; i++)
        if (c->groups[i].position == position)
            return &c->groups[i];
    return NULL;
}

/* The budgets of the group of this candidate's model; NULL with rc 0: it has none. */
static int open_group(struct request *r, uint32_t position, struct charge_group **out)
{
    struct charge *c = r->charge;
    const struct account *a = r->work->candidate_models[position]->account;
    *out = find_group(r, position);
    if (*out != NULL || a == NULL || a->budget_count == 0)
        return 0;
    if (c->groups == NULL)
        c->groups = mem_calloc(REQUEST_ATTEMPTS_MAX, sizeof *c->groups);
    if (c->groups == NULL)
        return ERR_NOMEM;
    struct charge_group *g = &c->groups[c->group_count];
    *g = (struct charge_group){.position = position, .held = {.count = a->budget_count}};
    for (uint32_t i = 0; i < a->budget_count; i++) {
        const struct charge_budget b = {a, &a->budgets[i]};
        if (budget_find(r->env->shared->budgets, b.budget->id, request_steady_us(r),
                        &g->held.ref[i]) != 0) {
            note_tight(&r->work->plan, &b, NULL, 0);
            return ERR_LIMIT;
        }
    }
    *out = g;
    return 0;
}

/* What is taken of a group that is not counted yet is its first. */
static int take_group(struct request *r, struct charge_group *g, int64_t amount, int64_t *out_free)
{
    struct charge *c = r->charge;
    struct budget_table *table = r->env->shared->budgets;
    uint64_t now_ms = r->now_ns / 1000000;
    if (g != &c->groups[c->group_count])
        return budget_extend(table, &g->held, amount, now_ms, out_free);
    int rc = budget_reserve(table, &g->held, amount, now_ms, out_free);
    if (rc != 0)
        return rc;
    if (c->path.count > 0 && g->held.lease_epoch != c->path.lease_epoch) {
        budget_shrink(&g->held, 0); /* The node began another life in between. */
        return ERR_AGAIN;
    }
    c->group_count++;
    return 0;
}

/* Of all budgets or of none. */
static int take(struct request *r, struct charge_group *g, int64_t amount, int64_t *out_free)
{
    struct charge *c = r->charge;
    struct budget_table *table = r->env->shared->budgets;
    uint64_t now_ms = r->now_ns / 1000000;
    int rc = c->taken ? budget_extend(table, &c->path, amount, now_ms, out_free)
                      : budget_reserve(table, &c->path, amount, now_ms, out_free);
    if (rc != 0 || g == NULL)
        return rc;
    rc = take_group(r, g, amount, out_free);
    if (rc != 0)
        budget_shrink(&c->path, c->path.amount - amount);
    return rc;
}

/* As much output as there is money for, for a request that has not begun to go up. */
static int take_what_fits(struct request *r, const struct charge_call *call,
                          struct charge_group **io_group, uint32_t position, int64_t *out_amount,
                          uint64_t *out_tokens)
{
    int rc = ERR_LIMIT;
    uint64_t tokens = call->tokens_out;
    for (int i = 0; i < TRIES; i++) {
        int64_t free = INT64_MAX, amount = BUDGET_AMOUNT_MAX;
        rc = charge_worst(call, tokens, &amount);
        if (i == 0)
            note_need(&r->work->plan, amount > 0 ? amount : 1);
        /* What is more than any budget fails as such, and says how much there is. */
        rc = take(r, *io_group, amount, &free);
        if (rc == 0) {
            *out_amount = amount;
            *out_tokens = tokens;
            return 0;
        }
        if (rc == ERR_AGAIN) {
            if (r->charge->taken)
                return ERR_LIMIT; /* Not for this request any more. */
            charge_find(r);
            if (r->work->plan.missing != 0)
                return ERR_LIMIT;
            rc = open_group(r, position, io_group);
        } else if (rc == ERR_LIMIT) {
            tokens = early_open(r) ? 0 : charge_fit(call, free);
            if (tokens == 0)
                return ERR_LIMIT;
            continue;
        }
        if (rc != 0)
            return rc;
    }
    return ERR_LIMIT;
}

/* The name that OpenAI itself has given the field; others know the older one. */
static bool takes_completion(const struct upstream_target *t)
{
    struct str host = t->deployment->provider->host;
    static const struct str ends[] = {{"openai.com", 10}, {"openai.azure.com", 16}};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        if (host.len >= ends[i].len &&
            str_eq_nocase(str_slice(host, host.len - ends[i].len, host.len), ends[i]))
            return true;
    return false;
}

/* Of a body that passes; 0: no bound is known. */
static uint32_t least_reasoning(const struct request *r, const struct snapshot_deployment *d)
{
    if (r->path->adapter != NULL || d->provider->kind == NULL)
        return 0;
    const int32_t least = tr_quirks_find(ask_dialect(r, d), d->upstream_model)->budget_min;
    return least > 0 ? (uint32_t)least : 0;
}

static void note_taken(struct request *r, const struct charge_group *g, int64_t amount)
{
    struct charge *c = r->charge;
    struct charge_plan *plan = &r->work->plan;
    struct record_held *held = &c->held[c->held_count++];
    if (!c->taken)
        for (uint32_t i = 0; i < c->path.count; i++) {
            const struct budget_charge b = budget_ref_charge(&c->path.ref[i]);
            plan->charges[i] = (struct record_charge){b.budget, b.period_start_us, b.cfg};
        }
    c->taken = true;
    *held = (struct record_held){.reserved_nanousd = amount};
    for (uint32_t i = 0; g != NULL && i < g->held.count; i++) {
        const struct budget_charge b = budget_ref_charge(&g->held.ref[i]);
        held->charges[held->charge_count++] =
            (struct record_charge){b.budget, b.period_start_us, b.cfg};
    }
}

int charge_take(struct request *r)
{
    struct charge *c = r->charge;
    struct charge_plan *plan = &r->work->plan;
    const struct upstream_target *t = r->work->next_target;
    const uint32_t position = r->at_position;
    const struct snapshot_model *m = r->work->candidate_models[position];
    struct charge_group *group;
    struct charge_call call;
    int64_t amount = 0;
    uint64_t tokens = 0;
    assert(c->held_count < REQUEST_ATTEMPTS_MAX);
    r->work->call.clamp_out = c->clamp = 0;
    if (!c->taken && plan->missing != 0)
        charge_find(r);
    int rc = open_group(r, position, &group);
    if (rc == 0 && !c->taken && plan->missing != 0)
        rc = ERR_LIMIT;
    if (rc != 0) {
        note_need(plan, 1);
        return rc;
    }
    if (plan->count == 0 && group == NULL) {
        note_taken(r, NULL, 0); /* Nobody pays for this model. */
        return 0;
    }
    if (!charge_call_of(r, m, snapshot_price(t->deployment, request_wall_us(r)), &call)) {
        plan->unpriced = true;
        return ERR_LIMIT;
    }
    rc = take_what_fits(r, &call, &group, position, &amount, &tokens);
    if (rc != 0)
        return rc;
    note_taken(r, group, amount);
    if (tokens == call.tokens_out)
        return 0;
    r->work->call.clamp_out = c->clamp = (uint32_t)tokens;
    r->work->call.clamp_complete = r->path->adapter == NULL && takes_completion(t);
    r->work->call.think_least = least_reasoning(r, t->deployment);
    metrics_inc(meter(&r->env->meters, METER_BUDGET_CLAMPED, NULL));
    return 0;
}

int charge_take_beside(struct request *r)
{
    const struct charge *c = r->charge;
    const struct upstream_target *t = r->work->next_target;
    const uint32_t position = r->at_position;
    struct charge_group *group;
    struct charge_call call;
    int64_t amount;
    if (c->clamp != 0 || !c->taken || c->held_count == REQUEST_ATTEMPTS_MAX)
        return ERR_LIMIT; /* There is not even enough for one. */
    int rc = open_group(r, position, &group);
    if (rc != 0)
        return rc;
    if (r->work->plan.count == 0 && group == NULL) {
        note_taken(r, NULL, 0);
        return 0;
    }
    if (!charge_call_of(r, r->work->candidate_models[position],
                        snapshot_price(t->deployment, request_wall_us(r)), &call) ||
        charge_worst(&call, call.tokens_out, &amount) != 0)
        return ERR_LIMIT;
    int64_t free;
    rc = take(r, group, amount, &free);
    if (rc == 0)
        note_taken(r, group, amount);
    return rc;
}

void charge_give_back(struct request *r)
{
    struct charge *c = r->charge;
    const struct record_held *held = &c->held[--c->held_count];
    struct charge_group *group = find_group(r, r->at_position);
    if (held->reserved_nanousd == 0)
        return;
    budget_shrink(&c->path, c->path.amount - held->reserved_nanousd);
    if (group != NULL)
        budget_shrink(&group->held, group->held.amount - held->reserved_nanousd);
}

int charge_whole(struct request *r)
{
    struct charge *c = r->charge;
    const struct attempt *a = &r->attempt;
    struct charge_call call;
    int64_t worst;
    if (c == NULL || c->held_count == 0)
        return 0;
    struct record_held *held = &c->held[c->held_count - 1];
    struct charge_group *group = find_group(r, r->at_position);
    if (r->work->plan.count == 0 && group == NULL)
        return 0;
    const struct snapshot_price *price = snapshot_price(a->target->deployment, request_wall_us(r));
    if (!charge_call_of(r, a->model, price, &call) ||
        charge_worst(&call, call.tokens_out, &worst) != 0)
        return ERR_LIMIT;
    if (worst <= held->reserved_nanousd)
        return 0;
    int rc = take(r, group, worst - held->reserved_nanousd, NULL);
    if (rc == 0)
        held->reserved_nanousd = worst;
    else
        r->work->plan.need = worst;
    return rc;
}

/* ---- the end ---- */

void charge_fill(const struct request *r, struct record_decision *d)
{
    const struct charge *c = r->charge;
    d->pressure_q16 = c->pressure_q16;
    if (!c->taken)
        return;
    d->charges = r->work->plan.charges;
    d->charge_count = r->work->plan.count;
    d->lease_epoch = c->path.lease_epoch;
    if (c->group_count > 0 && d->charge_count == 0)
        d->lease_epoch = c->groups[0].held.lease_epoch;
    d->reserved_nanousd = c->held[0].reserved_nanousd;
    d->budget_clamp = c->clamp > INT32_MAX ? INT32_MAX : (int32_t)c->clamp;
}

static int64_t spent_at(const struct request *r, uint32_t position)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < r->attempt_count; i++)
        if (r->attempts[i].model == position &&
            !checked_add(sum, r->attempts[i].cost_nanousd, &sum))
            return BUDGET_AMOUNT_MAX;
    return sum < BUDGET_AMOUNT_MAX ? sum : BUDGET_AMOUNT_MAX;
}

void charge_settle(struct request *r)
{
    struct charge *c = r->charge;
    if (c->settled)
        return;
    c->settled = true;
    if (!c->taken)
        return;
    budget_settle(&c->path,
                  r->cost_nanousd < BUDGET_AMOUNT_MAX ? r->cost_nanousd : BUDGET_AMOUNT_MAX);
    for (uint32_t i = 0; i < c->group_count; i++)
        budget_settle(&c->groups[i].held, spent_at(r, c->groups[i].position));
}
