#include "controlplane/rollout/baseline.h"

#define SCANNED_MAX 60000 /* Decisions of any version that are looked through. */

/* STATUS_OK = 1. An attempt that the provider failed is an error, as the guard counts it, but is
 * not in these columns: more than one attempt stands in for it. */
int baseline_take(struct pq_conn *c, struct str params, int64_t now_us,
                  struct rollout_baseline *out, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_text(&p, params);
    pq_params_time_us(&p, now_us);
    pq_params_i64(&p, BASELINE_ROWS_MAX);
    pq_params_i64(&p, SCANNED_MAX);
    int rc = pq_conn_query(
        c,
        "WITH recent AS (SELECT params_sha, request_id, status, http_status, attempts, latency_ms, "
        "cost, tokens_out, flags FROM decision WHERE ts > $2::timestamptz - interval '7 days' "
        "ORDER BY request_id DESC LIMIT $4), own AS MATERIALIZED (SELECT * FROM recent WHERE "
        "params_sha = decode($1, 'hex') LIMIT $3), vote AS (SELECT avg(score_q16) / 65536 AS mean, "
        "count(*) AS n FROM own JOIN feedback f USING (request_id) WHERE f.ts > $2::timestamptz - "
        "interval '8 days' AND source IN ('eval', 'judge', "
        "'thumb')) SELECT count(*) FILTER (WHERE status = 1), "
        "percentile_disc(0.95) WITHIN GROUP (ORDER BY latency_ms) FILTER (WHERE status = 1), "
        "percentile_disc(0.99) WITHIN GROUP (ORDER BY cost) FILTER (WHERE status = 1), "
        "percentile_disc(0.995) WITHIN GROUP (ORDER BY cost) FILTER (WHERE status = 1), "
        "percentile_disc(0.995) WITHIN GROUP (ORDER BY tokens_out) FILTER (WHERE status = 1), "
        "avg(cost) FILTER (WHERE status = 1), avg(tokens_out) FILTER (WHERE status = 1), "
        "avg(CASE WHEN status IN (3, 5) OR (status = 4 AND http_status >= 500) OR attempts > 1 "
        "THEN 1.0 ELSE 0.0 END), "
        "(SELECT mean FROM vote), (SELECT n FROM vote) FROM own",
        &p, &r, err);
    if (rc != 0)
        return rc;
    *out = (struct rollout_baseline){.rows = (uint64_t)pq_result_i64(r, 0, 0),
                                     .latency_p95_ms = pq_result_double(r, 0, 1),
                                     .cost_p99 = pq_result_double(r, 0, 2),
                                     .cost_cap = pq_result_double(r, 0, 3),
                                     .tokens_cap = pq_result_double(r, 0, 4),
                                     .cost_mean = pq_result_double(r, 0, 5),
                                     .tokens_mean = pq_result_double(r, 0, 6),
                                     .error_rate = pq_result_double(r, 0, 7),
                                     .quality_mean = pq_result_double(r, 0, 8),
                                     .votes = (uint64_t)pq_result_i64(r, 0, 9)};
    pq_result_destroy(r);
    return 0;
}

void baseline_for_guards(const struct rollout_baseline *b, struct guard_baseline *out)
{
    *out = (struct guard_baseline){
        .mean = {[GUARD_COST - GUARD_EVENTS] = b->cost_mean,
                 [GUARD_QUALITY - GUARD_EVENTS] = b->quality_mean,
                 [GUARD_TOKENS - GUARD_EVENTS] = b->tokens_mean},
        .cap = {[GUARD_COST - GUARD_EVENTS] = b->cost_cap,
                [GUARD_QUALITY - GUARD_EVENTS] = 1,
                [GUARD_TOKENS - GUARD_EVENTS] = b->tokens_cap},
    };
}

int baseline_write(const struct rollout_baseline *b, json_t **out_object)
{
    json_t *o =
        json_pack("{s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:I}", "rows", (json_int_t)b->rows,
                  "latency_p95_ms", b->latency_p95_ms, "cost_p99_nanousd", b->cost_p99,
                  "cost_cap_nanousd", b->cost_cap, "tokens_cap", b->tokens_cap, "cost_mean_nanousd",
                  b->cost_mean, "tokens_mean", b->tokens_mean, "quality_mean", b->quality_mean,
                  "error_rate", b->error_rate, "votes", (json_int_t)b->votes);
    if (o == NULL)
        return ERR_NOMEM;
    *out_object = o;
    return 0;
}

static double number(const json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}

void baseline_read(const json_t *object, struct rollout_baseline *out)
{
    *out = (struct rollout_baseline){
        .rows = (uint64_t)json_integer_value(json_object_get(object, "rows")),
        .latency_p95_ms = number(object, "latency_p95_ms"),
        .cost_p99 = number(object, "cost_p99_nanousd"),
        .cost_cap = number(object, "cost_cap_nanousd"),
        .tokens_cap = number(object, "tokens_cap"),
        .cost_mean = number(object, "cost_mean_nanousd"),
        .tokens_mean = number(object, "tokens_mean"),
        .quality_mean = number(object, "quality_mean"),
        .error_rate = number(object, "error_rate"),
        .votes = (uint64_t)json_integer_value(json_object_get(object, "votes"))};
}
