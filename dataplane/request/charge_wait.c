/* Too little money here: the control plane is asked once, while the request waits. If it says that
 * nothing is left, the answer tells whose budget is used up, how much of it is left and until when.
 * If no more has come in time, it says that: with 429 where others have to give it back first, and
 * with 503 where nobody knows, because the control plane was slow or could not be asked. */
#include "common/base/clock.h"
#include "dataplane/request/answer.h"
#include "dataplane/request/charge_internal.h"
#include "dataplane/request/steps.h"

#define TEXT_BYTES 640
#define NOT_ASKED  ", and the control plane could not be asked for more."
#define IN_VAIN    ", and no more has come from the control plane in time."

static void count_wait(struct request *r, const char *outcome)
{
    const struct str labels[] = {str_from(outcome)};
    metrics_inc(meter(&r->env->meters, METER_BUDGET_WAITS, labels));
}

static int ask_one(struct request *r, uint64_t budget, const struct budget_ref *ref)
{
    int64_t need = r->work->plan.need;
    if (ref != NULL && budget_ref_free(ref) >= need)
        return 0;
    return budget_ask(r->env->shared->budgets, budget, need);
}

static int ask_group(struct request *r, const struct account *a)
{
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < a->budget_count; i++) {
        struct budget_ref ref;
        bool found =
            budget_find(r->env->shared->budgets, a->budgets[i].id, request_steady_us(r), &ref) == 0;
        rc = ask_one(r, a->budgets[i].id, found ? &ref : NULL);
    }
    return rc;
}

/* Every budget of the path must have enough; of the groups one will do. */
static int ask_all(struct request *r)
{
    const struct charge_plan *plan = &r->work->plan;
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < plan->count; i++)
        rc = ask_one(r, plan->budgets[i].budget->id,
                     (plan->missing >> i & 1) != 0 ? NULL : &r->charge->path.ref[i]);
    if (rc != 0)
        return rc;
    int of_groups = 0;
    bool asked = false;
    for (uint32_t i = 0; i < r->work->candidate_count; i++) {
        const struct account *a = r->work->candidate_models[i]->account;
        if (a == NULL || a->budget_count == 0 ||
            (r->work->candidates[i].excl & ~POLICY_EXCL(BUDGET)) != 0)
            continue;
        int one = ask_group(r, a);
        asked |= one == 0;
        of_groups = one != 0 ? one : of_groups;
    }
    return asked ? 0 : of_groups;
}

bool charge_wait(struct request *r)
{
    struct charge *c = r->charge;
    uint64_t now_ms = r->now_ns / 1000000;
    uint64_t generation = budget_generation(r->env->shared->budgets);
    if (c->asked_over || r->work->plan.need == 0)
        return false;
    if (c->parked && now_ms >= c->park_until_ms) {
        c->asked_over = true;
        count_wait(r, "in_vain");
        return false;
    }
    if (!c->parked || generation != c->generation) {
        int rc = ask_all(r);
        if (rc != 0) {
            c->asked_over = true;
            count_wait(r, rc == ERR_LIMIT ? "exhausted" : "unavailable");
            return false;
        }
        c->generation = generation;
        if (!c->parked)
            c->park_until_ms = now_ms + CHARGE_PARK_MS;
        c->parked = true;
    }
    request_poll(r);
    return true;
}

bool charge_sleeps(struct request *r)
{
    const struct charge *c = r->charge;
    if (!c->parked || c->asked_over || r->now_ns / 1000000 >= c->park_until_ms ||
        budget_generation(r->env->shared->budgets) != c->generation)
        return false;
    request_poll(r);
    return true;
}

void charge_woken(struct request *r)
{
    struct charge *c = r->charge;
    if (!c->parked || c->asked_over)
        return;
    c->asked_over = true; /* Once is enough. */
    count_wait(r, "granted");
}

/* ---- in vain ---- */

static int append_period(const struct charge_plan *plan, int64_t end_us, struct buf *b)
{
    char text[CLOCK_RFC3339_BYTES];
    if (plan->tight_missing || end_us == BUDGET_FOREVER_US)
        return 0;
    clock_format_rfc3339(end_us, text);
    int rc = buf_append_text(b, " It begins anew at ");
    if (rc == 0)
        rc = buf_append_text(b, text);
    return rc == 0 ? buf_append_text(b, ".") : rc;
}

/* "team 'search' (day)" */
static int append_whose(const struct charge_plan *plan, struct buf *b)
{
    const struct account *a = plan->tight.account;
    int rc = buf_append_text(b, account_kind_name(a->kind));
    /* A name that JSON would have to escape is left out: what is told is whose kind it is. */
    if (rc == 0 && str_is_plain(a->name)) {
        rc = buf_append_text(b, " '");
        if (rc == 0)
            rc = buf_append_str(b, a->name);
        if (rc == 0)
            rc = buf_append_text(b, "'");
    }
    if (rc == 0)
        rc = buf_append_text(b, " (");
    if (rc == 0)
        rc = buf_append_text(b, account_period_name(plan->tight.budget->period));
    return rc == 0 ? buf_append_text(b, ")") : rc;
}

static int append_amounts(const struct charge_plan *plan, const char *between, struct buf *b)
{
    int rc = answer_write_usd(plan->tight_free > 0 ? plan->tight_free : 0, b);
    if (rc == 0)
        rc = buf_append_text(b, between);
    if (rc == 0)
        rc = answer_write_usd(plan->need, b);
    return rc == 0 ? buf_append_text(b, " USD") : rc;
}

static int write_used_up(const struct charge_plan *plan, int64_t end_us, struct buf *b)
{
    int rc = buf_append_text(b, "The budget of ");
    if (rc == 0)
        rc = append_whose(plan, b);
    if (rc == 0)
        rc = buf_append_text(b, " is used up: ");
    if (rc == 0)
        rc = append_amounts(plan, " USD are left, and this request may cost up to ", b);
    if (rc == 0)
        rc = buf_append_text(b, ".");
    return rc == 0 ? append_period(plan, end_us, b) : rc;
}

static int write_in_vain(const struct charge_plan *plan, const char *why, struct buf *b)
{
    int rc = buf_append_text(b, "Of the budget of ");
    if (rc == 0)
        rc = append_whose(plan, b);
    if (rc == 0)
        rc = buf_append_text(b, " this node holds ");
    if (rc == 0)
        rc = append_amounts(plan, " USD, this request may cost up to ", b);
    return rc == 0 ? buf_append_text(b, why) : rc;
}

/* Of those that have too little, one of which the plane has said that there is no more. */
static bool find_used_up(struct request *r)
{
    const struct budget_table *table = r->env->shared->budgets;
    struct charge_plan *plan = &r->work->plan;
    if (budget_refused(table, plan->tight.budget->id))
        return true;
    for (uint32_t i = 0; i < plan->count; i++) {
        const struct budget_ref *ref = &r->charge->path.ref[i];
        if ((plan->missing >> i & 1) != 0 || budget_ref_free(ref) >= plan->need ||
            !budget_refused(table, plan->budgets[i].budget->id))
            continue;
        plan->tight = plan->budgets[i];
        plan->tight_ref = *ref;
        return true;
    }
    return false;
}

enum fault charge_refusal(struct request *r)
{
    struct charge_plan *plan = &r->work->plan;
    meters_reject(&r->env->meters, "budget");
    if (plan->need == 0 || plan->tight.account == NULL)
        return FAULT_PRICE_UNKNOWN;
    /* Nothing of it has ever been here: that is not to say that it is used up. */
    if (plan->tight_missing) {
        r->detail.wait_ms = 1000;
        return FAULT_BUDGET_UNKNOWN;
    }
    bool used_up = find_used_up(r);
    int64_t end_us = budget_ref_end_us(&plan->tight_ref), now_us = request_steady_us(r);
    struct buf text = answer_arena_buf(r, TEXT_BYTES);
    plan->tight_free = budget_ref_free(&plan->tight_ref);
    bool asked = !used_up && !r->path->asks_only;
    bool away = asked && ask_all(r) == ERR_UNAVAILABLE;
    bool unknown =
        away || (asked && !budget_recalled(r->env->shared->budgets, plan->tight.budget->id));
    int rc = used_up ? write_used_up(plan, end_us, &text)
                     : write_in_vain(plan, away ? NOT_ASKED : IN_VAIN, &text);
    if (rc == 0 && buf_append_char(&text, '\0') == 0)
        r->detail.message = text.data;
    if (!used_up) {
        r->detail.wait_ms = 1000;
        return unknown ? FAULT_BUDGET_UNKNOWN : FAULT_BUDGET_SPENT;
    }
    if (end_us != BUDGET_FOREVER_US)
        r->detail.wait_ms = end_us > now_us ? (end_us - now_us) / 1000 : 0;
    return FAULT_BUDGET_SPENT;
}

enum step_result charge_refuse(struct request *r)
{
    return request_fail(r, charge_refusal(r));
}
