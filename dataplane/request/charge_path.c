/* Which budgets a request is charged to: of the accounts of its key, of the tags of both, of the
 * end user that the body names. At most sixteen; each once. */
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "dataplane/request/charge_internal.h"
#include "dataplane/request/steps.h"

#define CHARGES_KEPT 64U

static bool add_account(struct charge_plan *plan, const struct account *a)
{
    if (a == NULL)
        return true;
    for (uint32_t i = 0; i < plan->count; i++)
        if (plan->budgets[i].account == a)
            return true;
    if (a->budget_count > BUDGET_PATH_MAX - plan->count)
        return false;
    for (uint32_t i = 0; i < a->budget_count; i++)
        plan->budgets[plan->count++] = (struct charge_budget){a, &a->budgets[i]};
    return true;
}

static bool collect(const struct request *r, const struct steering *steering, struct str user,
                    struct charge_plan *plan)
{
    const struct accounts *all = &r->snapshot->accounts;
    const struct identity *who = r->identity;
    bool fits = true;
    plan->count = 0;
    for (uint32_t i = 0; fits && i < who->account_count; i++)
        fits = add_account(plan, accounts_find(all, who->accounts[i]));
    for (uint32_t i = 0; fits && all->tags && i < who->terms->tag_count; i++)
        fits = add_account(plan, accounts_tag(all, who->terms->tags[i]));
    for (uint32_t i = 0; fits && all->tags && i < steering->tag_count; i++)
        fits = add_account(plan, accounts_tag(all, steering->tags[i]));
    return fits && add_account(plan, accounts_user(all, user));
}

static struct charge *take_memory(struct request_env *env)
{
    struct charge *c = freelist_take(&env->charges);
    if (c == NULL)
        c = mem_alloc(sizeof *c);
    if (c != NULL)
        memset(c, 0, sizeof *c);
    return c;
}

void charge_give(struct request *r)
{
    struct charge *c = r->charge;
    if (c == NULL)
        return;
    assert(c->settled || !c->taken);
    mem_free(c->groups);
    if (r->env->charges.count < CHARGES_KEPT)
        freelist_put(&r->env->charges, c);
    else
        mem_free(c);
    r->charge = NULL;
}

void charge_deinit(struct request_env *env)
{
    for (struct charge *c; (c = freelist_take(&env->charges)) != NULL;)
        mem_free(c);
}

enum step_result charge_open_path(struct request *r)
{
    struct charge_plan *plan = &r->work->plan;
    if (!collect(r, &r->work->steering, r->work->call.user, plan))
        return request_fail(r, FAULT_BUDGETS_MANY);
    if (plan->count == 0 && !r->snapshot->accounts.models)
        return STEP_NEXT;
    if (r->env->shared->budgets == NULL) {
        meters_reject(&r->env->meters, "budget");
        return request_fail(r, FAULT_BUDGET_UNKNOWN);
    }
    if (r->work->call.price_varies)
        return request_fail(r, FAULT_PRICE_VARIES);
    r->charge = take_memory(r->env);
    if (r->charge == NULL)
        return request_fail(r, FAULT_OVERLOAD);
    charge_find(r);
    return STEP_NEXT;
}

/* Nothing is reserved yet. References that were not found leave their places empty: then nothing
 * can be reserved. */
void charge_find(struct request *r)
{
    struct charge *c = r->charge;
    struct charge_plan *plan = &r->work->plan;
    const struct budget_table *table = r->env->shared->budgets;
    int64_t now_us = request_steady_us(r);
    assert(!c->taken);
    plan->missing = 0;
    c->path.count = plan->count;
    for (uint32_t i = 0; i < plan->count; i++)
        if (budget_find(table, plan->budgets[i].budget->id, now_us, &c->path.ref[i]) != 0)
            plan->missing |= UINT32_C(1) << i;
}

/* ---- before the body is whole ---- */

static int64_t free_of(const struct request *r, const struct charge_budget *b)
{
    struct budget_ref ref;
    if (budget_find(r->env->shared->budgets, b->budget->id, clock_steady_at_us(r->start_ns),
                    &ref) != 0)
        return 0;
    return budget_ref_free(&ref);
}

bool charge_may_forward(const struct request *r, const struct snapshot_model *m,
                        const struct steering *steering)
{
    struct charge_plan plan;
    const struct accounts *all = &r->snapshot->accounts;
    if (all->count == 0)
        return true;
    if (all->users || r->env->shared->budgets == NULL || !collect(r, steering, STR_NULL, &plan) ||
        !add_account(&plan, m->account))
        return false;
    const uint32_t tokens = charge_tokens_of_bytes(r->head->content_length);
    for (uint32_t i = 0; plan.count > 0 && i < m->deployment_count; i++) {
        const struct snapshot_price *price = snapshot_price(&m->deployments[i], r->start_us);
        int64_t need;
        if (price == NULL || !price_known(&price->price) ||
            price_worst(&price->price, charge_input(m, tokens), charge_output(m, 0), &need) != 0)
            return false;
        for (uint32_t k = 0; k < plan.count; k++)
            if (free_of(r, &plan.budgets[k]) < need)
                return false;
    }
    return true;
}
