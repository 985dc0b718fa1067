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
    struct kind_labels l = {.endpoint = str_from(r->path->endpoint), .route = tally_route(r)};
    if (r->committed) {
        l.provider = r->attempt.target->deployment->provider->name;
        l.model = r->attempt.model->id;
    }
    return l;
}

/* A snapshot's parts may lie where those of one before it lay: the generation tells them apart. */
static struct tally_kind *kind_of(struct request *r)
{
    const struct tally_kind want = {
        .used = true,
        .decided = r->decided,
        .streamed = streamed(r),
        .status = (uint16_t)r->status,
        .generation = r->snapshot != NULL ? r->snapshot->generation : 0,
        .era = r->snapshot != NULL ? r->snapshot->era : 0,
        .path = r->path,
        .route = r->route,
        .deployment = r->committed ? r->attempt.target->deployment : NULL,
    };
    uintptr_t mix = (uintptr_t)want.path / 16 ^ (uintptr_t)want.route / 32 ^
                    (uintptr_t)want.deployment / 64 ^ want.status ^ (want.streamed ? 8U : 0);
    struct tally_kind *k = &r->env->kinds[mix % REQUEST_KINDS];
    if (!k->used || k->path != want.path || k->route != want.route ||
        k->deployment != want.deployment || k->status != want.status ||
        k->generation != want.generation || k->era != want.era || k->decided != want.decided ||
        k->streamed != want.streamed)
        *k = want;
    return k;
}

static struct metrics_series *find(struct request *r, struct metrics_series **slot,
                                   enum meter family, const struct str *labels)
{
    if (*slot == NULL)
        *slot = meter(&r->env->meters, family, labels);
    return *slot;
}

void tally_end(struct request *r, uint64_t duration_ns)
{
    struct tally_kind *k = kind_of(r);
    const struct kind_labels l = k->requests != NULL ? (struct kind_labels){0} : labels_of(r);
    const char code[4] = {(char)('0' + r->status / 100 % 10), (char)('0' + r->status / 10 % 10),
                          (char)('0' + r->status % 10), '\0'};
    const struct str requests[] = {l.endpoint, l.route,   l.provider,
                                   l.model,    {code, 3}, k->streamed ? STR("true") : STR("false")};
    const struct str durations[] = {l.endpoint, l.route, l.provider, l.model};
    const struct str overhead[] = {l.endpoint, STR("total")};
    const struct str served[] = {l.route, l.provider, l.model};
    metrics_observe(find(r, &k->duration, METER_DURATION, durations), duration_ns);
    metrics_observe(find(r, &k->overhead, METER_OVERHEAD, overhead), r->overhead_ns);
    if (r->committed) {
        metrics_add(find(r, &k->cost, METER_COST, served), (uint64_t)r->cost_nanousd);
        if (r->ttft_ns != 0) {
            const struct kind_labels now = labels_of(r);
            const struct str first[] = {now.route, now.provider, now.model};
            metrics_observe(find(r, &k->ttft, METER_TTFT, first), r->ttft_ns);
        }
    }
    /* Last, as the others are found with it. */
    metrics_inc(find(r, &k->requests, METER_REQUESTS, requests));
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

void tally_attempt(struct request *r, const struct record_attempt *row)
{
    static const struct str types[TALLY_TOKENS] = {
        {"input", 5}, {"output", 6}, {"cache_read", 10}, {"cache_write", 11}, {"reasoning", 9}};
    const uint64_t counts[TALLY_TOKENS] = {row->tokens_in, row->tokens_out, row->tokens_cached,
                                           row->tokens_cache_write, row->tokens_reasoning};
    /* Remembered is what the serving attempt counts; others are rare. */
    const bool serves = r->committed && row == r->attempt.record;
    const struct snapshot_model *m =
        row == r->attempt.record ? r->attempt.model : r->work->candidate_models[row->model];
    struct tally_kind passing = {.used = false};
    struct tally_kind *k = serves ? kind_of(r) : &passing;
    struct metrics_series **attempts =
        row->reason == RECORD_REASON_OK ? &k->attempts_ok : &passing.attempts_ok;
    struct str provider = STR_NULL, rest;
    for (size_t i = 0; i < TALLY_TOKENS; i++) {
        if (counts[i] == 0)
            continue;
        if (k->tokens[i] == NULL && provider.data == NULL)
            str_cut(row->server, '/', &provider, &rest);
        const struct str labels[] = {provider, m->id, types[i]};
        metrics_add(find(r, &k->tokens[i], METER_TOKENS, labels), counts[i]);
    }
    if (*attempts == NULL && provider.data == NULL)
        str_cut(row->server, '/', &provider, &rest);
    const struct str labels[] = {provider, row->server, outcome_label(row->reason)};
    metrics_inc(find(r, attempts, METER_ATTEMPTS, labels));
}
