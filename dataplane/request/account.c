#include "dataplane/request/account.h"

#include "common/base/checked.h"
#include "dataplane/request/hedge.h"
#include "dataplane/request/steps.h"
#include "dataplane/request/tally.h"
#include "dataplane/request/throttle.h"

bool account_cost(const struct snapshot_deployment *d, int64_t wall_us, const struct call_usage *u,
                  uint64_t *out_price_id, int64_t *out_cost_nanousd)
{
    const struct snapshot_price *price = snapshot_price(d, wall_us);
    if (price == NULL)
        return false;
    const struct price_tokens tokens = {
        .input = u->tokens_in - u->tokens_cached - u->tokens_cache_write,
        .output = u->tokens_out - u->tokens_reasoning,
        .cached_read = u->tokens_cached,
        .cache_write = u->tokens_cache_write - u->tokens_cache_write_1h,
        .cache_write_1h = u->tokens_cache_write_1h,
        .reasoning = u->tokens_reasoning,
    };
    *out_price_id = price->id;
    return price_cost(&price->price, &tokens, out_cost_nanousd) == 0;
}

static const struct snapshot_deployment *deployment_of(const struct request *r,
                                                       const struct record_attempt *row)
{
    if (row == r->attempt.record) /* The last one, as nearly always. */
        return r->attempt.target->deployment;
    const struct snapshot_model *m = r->work->candidate_models[row->model];
    for (uint32_t i = 0; i < m->deployment_count; i++)
        if (m->deployments[i].name.data == row->server.data)
            return &m->deployments[i];
    return NULL;
}

static void settle(struct request *r, struct record_attempt *row)
{
    const struct snapshot_deployment *d = deployment_of(r, row);
    const struct call_usage u = {
        .tokens_in = row->tokens_in,
        .tokens_out = row->tokens_out,
        .tokens_cached = row->tokens_cached,
        .tokens_cache_write = row->tokens_cache_write,
        .tokens_cache_write_1h = row->tokens_cache_write_1h,
        .tokens_reasoning = row->tokens_reasoning,
    };
    int64_t cost = 0, sum;
    r->flags |= row->flags;
    if (row->usage == RECORD_USAGE_NONE || (row->tokens_in == 0 && row->tokens_out == 0))
        return; /* Nothing was made: nothing to pay. */
    if (row->held != NULL && row->held->reserved_nanousd > 0 &&
        row->usage == RECORD_USAGE_ESTIMATED) {
        cost = row->held->reserved_nanousd; /* The worst, as nobody knows better. */
    } else if (d == NULL || !account_cost(d, row->start_us, &u, &row->price_id, &cost)) {
        r->cost_unknown = true;
        r->flags |= RECORD_FLAG_COST_UNKNOWN;
        return;
    }
    row->cost_nanousd = cost;
    if (checked_add(r->cost_nanousd, cost, &sum))
        r->cost_nanousd = sum;
}

enum step_result step_account(struct request *r)
{
    if (hedge_of(r) != NULL && !hedge_settled(r))
        return STEP_WAIT;
    for (uint32_t i = 0; i < r->attempt_count; i++) {
        settle(r, &r->attempts[i]);
        tally_attempt(r, &r->attempts[i]);
    }
    throttle_settle(r);
    return STEP_NEXT;
}
