#include "dataplane/request/account.h"

#include "common/base/checked.h"
#include "dataplane/request/steps.h"

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
        .cache_write = u->tokens_cache_write,
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
        .tokens_reasoning = row->tokens_reasoning,
    };
    int64_t cost = 0, sum;
    r->flags |= row->flags;
    if (row->tokens_in == 0 && row->tokens_out == 0)
        return; /* Nothing was made: nothing to pay. */
    if (d == NULL || !account_cost(d, row->start_us, &u, &row->price_id, &cost)) {
        r->cost_unknown = true;
        r->flags |= RECORD_FLAG_COST_UNKNOWN;
        return;
    }
    row->cost_nanousd = cost;
    if (checked_add(r->cost_nanousd, cost, &sum))
        r->cost_nanousd = sum;
}

static void count_tokens(struct request *r, const struct record_attempt *row)
{
    const struct {
        struct str type;
        uint64_t n;
    } kinds[] = {
        {STR("input"), row->tokens_in},
        {STR("output"), row->tokens_out},
        {STR("cache_read"), row->tokens_cached},
        {STR("cache_write"), row->tokens_cache_write},
        {STR("reasoning"), row->tokens_reasoning},
    };
    struct str provider, rest;
    const struct snapshot_model *m =
        row == r->attempt.record ? r->attempt.model : r->work->candidate_models[row->model];
    str_cut(row->server, '/', &provider, &rest);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const struct str labels[] = {provider, m->id, kinds[i].type};
        if (kinds[i].n > 0)
            metrics_add(meter(&r->env->meters, METER_TOKENS, labels), kinds[i].n);
    }
}

static struct str outcome_label(enum record_reason reason)
{
    switch (reason) {
    case RECORD_REASON_OK:
    case RECORD_REASON_CLIENT_ERROR:
        return STR("ok");
    case RECORD_REASON_RATE_LIMITED:
        return STR("rate_limited");
    case RECORD_REASON_TIMEOUT:
        return STR("timeout");
    case RECORD_REASON_CANCELLED:
    case RECORD_REASON_NODE_CRASH:
        return STR("cancelled");
    case RECORD_REASON_CONNECT:
    case RECORD_REASON_TLS:
    case RECORD_REASON_STATUS:
    case RECORD_REASON_AUTH:
    case RECORD_REASON_PROTOCOL:
    case RECORD_REASON_CUT:
    case RECORD_REASON_ADDRESS:
        break;
    }
    return STR("error");
}

enum step_result step_account(struct request *r)
{
    if (r->unseen) {
        atomic_fetch_sub(&r->env->shared->unseen, 1);
        r->unseen = false;
    }
    for (uint32_t i = 0; i < r->attempt_count; i++) {
        struct record_attempt *row = &r->attempts[i];
        struct str provider, rest;
        settle(r, row);
        count_tokens(r, row);
        str_cut(row->server, '/', &provider, &rest);
        const struct str labels[] = {provider, row->server, outcome_label(row->reason)};
        metrics_inc(meter(&r->env->meters, METER_ATTEMPTS, labels));
    }
    return STEP_NEXT;
}
