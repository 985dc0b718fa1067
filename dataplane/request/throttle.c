#include "dataplane/request/throttle.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/digits.h"
#include "dataplane/limits/limits.h"
#include "dataplane/request/steps.h"

#define OUT_TOKENS 1024U /* Of an answer about which nothing is known. */

/* ---- admission ---- */

/* What will be written if nobody says otherwise: it is corrected when the answer has ended. */
static uint64_t expected_out(const struct request *r)
{
    const struct call *call = &r->work->call;
    if (call->max_tokens != 0)
        return call->max_tokens;
    const struct snapshot_route *route = snapshot_route(r->snapshot, call->model);
    if (route != NULL)
        return route->policy != NULL && route->policy->default_out_tokens != 0
                   ? route->policy->default_out_tokens
                   : OUT_TOKENS;
    const struct snapshot_model *m = snapshot_model(r->snapshot, call->model);
    return m != NULL && m->prior_out != 0 ? m->prior_out : OUT_TOKENS;
}

static uint64_t expected_tokens(const struct request *r)
{
    const struct call *call = &r->work->call;
    uint64_t choices = call->choices > 0 ? call->choices : 1;
    if (r->path->asks_only || r->path->free)
        return 0;
    return r->path->input_only ? call->tokens_in : call->tokens_in + choices * expected_out(r);
}

static bool is_limited(const struct limits_values *v)
{
    return (v->requests_per_min | v->tokens_per_min | v->concurrency) != 0;
}

static int add(struct request *r, uint64_t account, const struct limits_values *values)
{
    struct request_env *env = r->env;
    if (!is_limited(values))
        return 0;
    if (r->limits == NULL) {
        r->limits = slab_take(&env->holds);
        if (r->limits == NULL)
            return ERR_NOMEM;
        *r->limits = (struct limits_hold){.count = 0};
    }
    return limits_find(env->shared->limits, account, values, r->snapshot->generation + 1, r->now_ns,
                       r->limits);
}

static int find_all(struct request *r)
{
    const struct identity *who = r->identity;
    const struct limits_values own = {who->terms->rpm, who->terms->tpm, who->terms->concurrency};
    int rc = add(r, who->id, &own);
    if (r->snapshot->accounts.count == 0)
        return rc;
    for (uint8_t i = 0; rc == 0 && i < who->account_count; i++) {
        const struct account *a = who->accounts[i] != who->id
                                      ? accounts_find(&r->snapshot->accounts, who->accounts[i])
                                      : NULL;
        if (a != NULL)
            rc = add(r, a->id, &(struct limits_values){a->rpm, a->tpm, a->concurrency});
    }
    return rc;
}

static enum step_result refuse(struct request *r, enum fault fault, uint64_t wait_ns)
{
    uint64_t wait_ms = (wait_ns + 999999) / 1000000;
    r->detail.wait_ms = (int64_t)(wait_ms > 0 ? wait_ms : 1);
    meters_reject(&r->env->meters, "rate_limit");
    return request_fail(r, fault);
}

enum step_result throttle_admit(struct request *r)
{
    struct limits_refusal why;
    if (r->env->shared->limits == NULL || r->identity == NULL)
        return STEP_NEXT;
    if (find_all(r) != 0) /* No room to count it in. */
        return refuse(r, FAULT_TOO_MANY_REQUESTS, UINT64_C(1000000000));
    if (r->limits == NULL || limits_admit(r->limits, expected_tokens(r), r->now_ns, &why))
        return STEP_NEXT;
    return refuse(r, why.kind == LIMITS_TOKENS ? FAULT_TOO_MANY_TOKENS : FAULT_TOO_MANY_REQUESTS,
                  why.wait_ns);
}

void throttle_settle(struct request *r)
{
    uint64_t tokens = 0;
    if (r->limits == NULL)
        return;
    for (uint32_t i = 0; i < r->attempt_count; i++)
        tokens += (uint64_t)r->attempts[i].tokens_in + r->attempts[i].tokens_out;
    limits_settle(r->limits, tokens, r->now_ns);
}

void throttle_give(struct request *r)
{
    if (r->limits != NULL)
        slab_give(&r->env->holds, r->limits);
    r->limits = NULL;
}

/* ---- headers ---- */

static char *put_text(char *at, struct str text)
{
    memcpy(at, text.data, text.len);
    return at + text.len;
}

char *throttle_put_duration(uint64_t ns, char *at)
{
    uint64_t ms = ns / 1000000 + (ns % 1000000 != 0);
    uint64_t s = ms / 1000, minutes = s / 60;
    if (ms < 1000) {
        at = digits_put_u64(at, ms);
        return put_text(at, ms == 0 ? STR("s") : STR("ms"));
    }
    if (minutes > 0) {
        at = digits_put_u64(at, minutes);
        *at++ = 'm';
    }
    at = digits_put_u64(at, s % 60);
    ms %= 1000;
    if (ms > 0) {
        *at++ = '.';
        *at++ = (char)('0' + ms / 100);
        digits_put_two(at, (uint32_t)(ms % 100));
        for (at += 2; at[-1] == '0';)
            at--;
    }
    *at++ = 's';
    return at;
}

static char *put_kind(const struct request *r, enum limits_kind kind, struct str name, char *at)
{
    struct limits_view v;
    limits_look(r->limits, kind, r->now_ns, &v);
    if (v.limit == 0)
        return at;
    at = put_text(put_text(at, STR("\r\nx-ratelimit-limit-")), name);
    at = digits_put_u64(put_text(at, STR(": ")), v.limit);
    at = put_text(put_text(at, STR("\r\nx-ratelimit-remaining-")), name);
    at = digits_put_u64(put_text(at, STR(": ")), v.remaining);
    at = put_text(put_text(at, STR("\r\nx-ratelimit-reset-")), name);
    return throttle_put_duration(v.full_in_ns, put_text(at, STR(": ")));
}

static char *put_anthropic(const struct request *r, enum limits_kind kind, struct str name,
                           char *at)
{
    char when[CLOCK_RFC3339_BYTES];
    struct limits_view v;
    limits_look(r->limits, kind, r->now_ns, &v);
    if (v.limit == 0)
        return at;
    clock_format_rfc3339(request_wall_us(r) + (int64_t)(v.full_in_ns / 1000), when);
    at = put_text(put_text(at, STR("\r\nanthropic-ratelimit-")), name);
    at = digits_put_u64(put_text(at, STR("-limit: ")), v.limit);
    at = put_text(put_text(at, STR("\r\nanthropic-ratelimit-")), name);
    at = digits_put_u64(put_text(at, STR("-remaining: ")), v.remaining);
    at = put_text(put_text(at, STR("\r\nanthropic-ratelimit-")), name);
    return put_text(put_text(at, STR("-reset: ")), str_from(when));
}

char *throttle_put_headers(const struct request *r, char *at)
{
    if (r->dialect == DIALECT_ANTHROPIC) {
        at = put_anthropic(r, LIMITS_REQUESTS, STR("requests"), at);
        at = put_anthropic(r, LIMITS_TOKENS, STR("input-tokens"), at);
        return put_anthropic(r, LIMITS_TOKENS, STR("output-tokens"), at);
    }
    at = put_kind(r, LIMITS_REQUESTS, STR("requests"), at);
    return put_kind(r, LIMITS_TOKENS, STR("tokens"), at);
}
