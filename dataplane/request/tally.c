#include "dataplane/request/tally.h"

#include "dataplane/request/steps.h"

/* Labels that all rows of a kind share. */
struct kind_labels {
    struct str endpoint;
    struct str route;
    struct str provider;
    struct str model;
};

struct str tally_route(const struct request *r)
{
    if (!r->decided)
        return STR_NULL;
    return r->route != NULL ? r->route->name : STR("pinned");
}

static bool streamed(const struct request *r)
{
    return r->decided && (r->flags & RECORD_FLAG_STREAM) != 0;
}

static struct kind_labels labels_of(const struct request *r)
{
    struct kind_labels l = {.endpoint = r->path->endpoint, .route = tally_route(r)};
    if (r->committed) {
        l.provider = r->attempt.target->deployment->provider->name;
        l.model = r->attempt.model->id;
    }
    return l;
}

__attribute__((noinline)) static void kind_begin(struct tally_kind *k, const struct request *r,
                                                 struct tally_key key)
{
    key.path = r->path;
    key.route = r->route;
    *k = (struct tally_kind){.key = key};
}

/* A snapshot's parts may lie where those of one before it lay: the generation tells them apart. */
static struct tally_kind *kind_of(struct request *r)
{
    const struct snapshot *snapshot = r->snapshot;
    const void *deployment = r->committed ? r->attempt.target->deployment : NULL;
    const bool stream = streamed(r);
    const uint64_t generation = snapshot != NULL ? snapshot->generation : 0;
    const uint64_t rest =
        (uint64_t)(snapshot != NULL ? snapshot->era : 0) << 32 |
        (uint64_t)(r->status & 0xffff) << 16 |
        (unsigned)(TALLY_USED | (r->decided ? TALLY_DECIDED : 0) | (stream ? TALLY_STREAMED : 0));
    const uintptr_t mix = (uintptr_t)r->path / 16 ^ (uintptr_t)r->route / 32 ^
                          (uintptr_t)deployment / 64 ^ r->status ^ (stream ? 8U : 0);
    struct tally_kind *k = &r->env->kinds[mix % REQUEST_KINDS];
    if (k->key.path != r->path || k->key.route != r->route || k->key.deployment != deployment ||
        k->key.generation != generation || k->key.rest != rest)
        kind_begin(
            k, r,
            (struct tally_key){.deployment = deployment, .generation = generation, .rest = rest});
    return k;
}

static void find_series(struct request *r, struct tally_kind *k)
{
    struct meters *m = &r->env->meters;
    const struct kind_labels l = labels_of(r);
    const char code[4] = {(char)('0' + r->status / 100 % 10), (char)('0' + r->status / 10 % 10),
                          (char)('0' + r->status % 10), '\0'};
    const struct str requests[] = {
        l.endpoint, l.route,   l.provider,
        l.model,    {code, 3}, (k->key.rest & TALLY_STREAMED) != 0 ? STR("true") : STR("false")};
    const struct str durations[] = {l.endpoint, l.route, l.provider, l.model};
    const struct str overhead[] = {l.endpoint, STR("total")};
    k->requests = meter(m, METER_REQUESTS, requests);
    k->duration = meter(m, METER_DURATION, durations);
    k->overhead = meter(m, METER_OVERHEAD, overhead);
}

static void count_served(struct request *r, struct tally_kind *k)
{
    if (k->cost == NULL || (k->ttft == NULL && r->ttft_ns != 0)) {
        const struct kind_labels l = labels_of(r);
        const struct str served[] = {l.route, l.provider, l.model};
        k->cost = meter(&r->env->meters, METER_COST, served);
        if (r->ttft_ns != 0)
            k->ttft = meter(&r->env->meters, METER_TTFT, served);
    }
    metrics_add(k->cost, (uint64_t)r->cost_nanousd);
    if (r->ttft_ns != 0)
        metrics_observe(k->ttft, r->ttft_ns);
}

struct tally_kind *tally_end(struct request *r, uint64_t duration_ns)
{
    struct tally_kind *k = kind_of(r);
    if (k->requests == NULL)
        find_series(r, k);
    metrics_observe(k->duration, duration_ns);
    metrics_observe(k->overhead, r->overhead_ns);
    if (r->committed)
        count_served(r, k);
    metrics_inc(k->requests);
    return k;
}

void tally_decision(struct request *r, const struct snapshot_model *chosen)
{
    const uint64_t generation = r->snapshot->generation;
    const uint32_t era = r->snapshot->era;
    uintptr_t mix =
        (uintptr_t)r->policy / 32 ^ (uintptr_t)chosen / 64 ^ (r->route != NULL ? 1U : 0);
    struct tally_choice *c = &r->env->choices[mix % REQUEST_CHOICES];
    if (c->series == NULL || c->routed != (r->route != NULL) || c->policy != r->policy ||
        c->model != chosen || c->generation != generation || c->era != era) {
        const struct str labels[] = {
            r->route == NULL    ? STR("pinned")
            : r->policy != NULL ? r->policy->name
                                : STR("static"),
            STR("stable"),
            chosen != NULL ? chosen->id : STR("none"),
        };
        *c = (struct tally_choice){
            .routed = r->route != NULL,
            .era = era,
            .generation = generation,
            .policy = r->policy,
            .model = chosen,
            .series = meter(&r->env->meters, METER_DECISIONS, labels),
        };
    }
    metrics_inc(c->series);
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

static void count_attempt(struct request *r, struct tally_kind *k, const struct record_attempt *row,
                          const struct snapshot_model *m)
{
    static const struct str types[TALLY_TOKENS] = {
        {"input", 5}, {"output", 6}, {"cache_read", 10}, {"cache_write", 11}, {"reasoning", 9}};
    const uint64_t counts[TALLY_TOKENS] = {row->tokens_in, row->tokens_out, row->tokens_cached,
                                           row->tokens_cache_write, row->tokens_reasoning};
    struct metrics_series *attempts = row->reason == RECORD_REASON_OK ? k->attempts_ok : NULL;
    struct str provider = STR_NULL, rest;
    for (size_t i = 0; i < TALLY_TOKENS; i++) {
        if (counts[i] == 0)
            continue;
        if (k->tokens[i] == NULL) {
            str_cut(row->server, '/', &provider, &rest);
            const struct str labels[] = {provider, m->id, types[i]};
            k->tokens[i] = meter(&r->env->meters, METER_TOKENS, labels);
        }
        metrics_add(k->tokens[i], counts[i]);
    }
    if (attempts == NULL) {
        str_cut(row->server, '/', &provider, &rest);
        const struct str labels[] = {provider, row->server, outcome_label(row->reason)};
        attempts = meter(&r->env->meters, METER_ATTEMPTS, labels);
        if (row->reason == RECORD_REASON_OK)
            k->attempts_ok = attempts;
    }
    metrics_inc(attempts);
}

/* An attempt that does not serve: rare, and its kind is not remembered. */
__attribute__((noinline)) static void count_other(struct request *r,
                                                  const struct record_attempt *row)
{
    struct tally_kind passing = {.requests = NULL};
    count_attempt(r, &passing, row,
                  row == r->attempt.record ? r->attempt.model
                                           : r->work->candidate_models[row->model]);
}

void tally_attempt(struct request *r, const struct record_attempt *row)
{
    if (r->committed && row == r->attempt.record)
        count_attempt(r, kind_of(r), row, r->attempt.model);
    else
        count_other(r, row);
}
