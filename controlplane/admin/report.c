/* GET /report: what routing cost, what it would have cost otherwise, and what quality came back.
 * From the hourly sums, so it does not grow with traffic; quality from feedback. */
#include <string.h>

#include "common/base/clock.h"
#include "controlplane/admin/call.h"

#define SINCE_DEFAULT_US INT64_C(2592000000000) /* 30 days */

#define SCORE_SQL                                                                                  \
    "SELECT DISTINCT ON (f.request_id) f.request_id, f.score_q16 / 65536.0 AS score FROM "         \
    "feedback f "                                                                                  \
    "WHERE f.ts >= $1 ORDER BY f.request_id, array_position(ARRAY['eval', 'judge', 'thumb', "      \
    "'implicit'], f.source), f.received"

static int query_since(struct pq_conn *c, const char *sql, int64_t since_us,
                       struct pq_result **out_result, struct err *err)
{
    struct pq_params p = {0};
    pq_params_time_us(&p, since_us);
    return pq_conn_query(c, sql, &p, out_result, err);
}

/* A float8 of the database, 0..1, or null. */
static void write_quality(struct json_writer *w, const char *key, const struct pq_result *r,
                          int row, int column)
{
    json_writer_key(w, key);
    if (pq_result_is_null(r, row, column))
        json_writer_null(w);
    else
        json_writer_fixed(w, (int64_t)(pq_result_double(r, row, column) * 1e6 + 0.5), 6);
}

static int write_totals(struct admin_call *call, struct pq_conn *c, int64_t since_us,
                        struct err *err)
{
    struct pq_result *r = NULL;
    struct json_writer *w = &call->w;
    int rc = query_since(
        c,
        "WITH usage AS (SELECT sum(decisions) AS n, sum(cost) AS cost, sum(failed) AS failed, "
        "sum(explored) AS explored, sum(unpriced) AS unpriced FROM usage_hour WHERE hour >= "
        "date_trunc('hour', $1::timestamptz)), "
        "cand AS (SELECT route, model, sum(decisions) AS n, sum(cost) AS cost, sum(actual) AS "
        "actual, sum(q_q16) / sum(decisions) AS q FROM candidate_hour WHERE hour >= "
        "date_trunc('hour', $1::timestamptz) GROUP BY 1, 2), "
        "whole AS (SELECT route, max(n) AS n, max(actual) AS actual FROM cand GROUP BY 1), "
        "best AS (SELECT DISTINCT ON (route) route, cost / n AS mean FROM cand ORDER BY route, q "
        "DESC, cost / n DESC), "
        "cheap AS (SELECT DISTINCT ON (route) route, cost / n AS mean FROM cand ORDER BY route, "
        "cost / n), "
        "scores AS (" SCORE_SQL ") "
        "SELECT (SELECT coalesce(n, 0) FROM usage), (SELECT coalesce(cost, 0) FROM usage), "
        "(SELECT sum(w.n * b.mean)::bigint FROM whole w JOIN best b USING (route)), "
        "(SELECT sum(w.n * b.mean)::bigint FROM whole w JOIN cheap b USING (route)), "
        "(SELECT sum(actual)::bigint FROM whole), (SELECT avg(score) FROM scores), "
        "(SELECT count(*) FROM scores), (SELECT coalesce(failed, 0) FROM usage), "
        "(SELECT coalesce(explored, 0) FROM usage), (SELECT coalesce(unpriced, 0) FROM usage)",
        since_us, &r, err);
    if (rc != 0)
        return rc;
    int64_t n = pq_result_i64(r, 0, 0), scored = pq_result_i64(r, 0, 6);
    json_writer_key(w, "decisions");
    json_writer_i64(w, n);
    call_write_usd(w, "cost_usd", pq_result_i64(r, 0, 1));
    static const char *const counterfactual[] = {"cost_always_best_usd", "cost_always_cheapest_usd",
                                                 "cost_routed_usd"};
    for (int i = 0; i < 3; i++) {
        if (!pq_result_is_null(r, 0, 2 + i)) {
            call_write_usd(w, counterfactual[i], pq_result_i64(r, 0, 2 + i));
        } else {
            json_writer_key(w, counterfactual[i]);
            json_writer_null(w);
        }
    }
    write_quality(w, "quality", r, 0, 5);
    json_writer_key(w, "feedback_coverage");
    json_writer_fixed(w, n > 0 ? (scored > n ? n : scored) * 1000000 / n : 0, 6);
    json_writer_key(w, "failed");
    json_writer_i64(w, pq_result_i64(r, 0, 7));
    json_writer_key(w, "explored");
    json_writer_i64(w, pq_result_i64(r, 0, 8));
    json_writer_key(w, "unpriced");
    json_writer_i64(w, pq_result_i64(r, 0, 9));
    pq_result_destroy(r);
    return 0;
}

/* Rows (name, decisions, cost, quality) as a list. */
static int write_groups(struct admin_call *call, struct pq_conn *c, const char *key,
                        const char *name, const char *sql, int64_t since_us, struct err *err)
{
    struct pq_result *r = NULL;
    struct json_writer *w = &call->w;
    int rc = query_since(c, sql, since_us, &r, err);
    if (rc != 0)
        return rc;
    json_writer_key(w, key);
    json_writer_begin_array(w);
    for (int i = 0; i < pq_result_rows(r); i++) {
        json_writer_begin_object(w);
        call_write_column(w, name, r, i, 0);
        json_writer_key(w, "decisions");
        json_writer_i64(w, pq_result_i64(r, i, 1));
        call_write_usd(w, "cost_usd", pq_result_i64(r, i, 2));
        write_quality(w, "quality", r, i, 3);
        json_writer_end_object(w);
    }
    json_writer_end_array(w);
    pq_result_destroy(r);
    return 0;
}

/* Quality by a column of decision: only the rows that have a score are read. */
#define SCORED_BY(column)                                                                          \
    "scored AS (SELECT " column " AS g, avg(s.score) AS q FROM (" SCORE_SQL ") s JOIN decision d " \
    "ON d.request_id = s.request_id AND d.ts >= $1::timestamptz - interval '1 minute' GROUP BY 1)"

int report_run(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    bool given;
    int64_t since = clock_wall_us() - SINCE_DEFAULT_US;
    char text[CLOCK_RFC3339_BYTES];
    int rc = call_query_time(call, "since", &given, &since, err);
    if (rc != 0)
        return rc;
    clock_format_rfc3339(since, text);
    json_writer_begin_object(&call->w);
    json_writer_key(&call->w, "since");
    json_writer_text(&call->w, text);
    rc = write_totals(call, c, since, err);
    if (rc == 0)
        rc = write_groups(
            call, c, "by_model", "model",
            "WITH " SCORED_BY("coalesce(d.served_model, '')") ", u AS (SELECT model, "
                                                              "sum(decisions) AS n, sum(cost) AS "
                                                              "cost FROM usage_hour WHERE hour >= "
                                                              "date_trunc('hour', $1::timestamptz) "
                                                              "GROUP BY 1) SELECT u.model, u.n, "
                                                              "u.cost, scored.q FROM u LEFT JOIN "
                                                              "scored ON scored.g = u.model "
                                                              "ORDER BY u.n DESC, 1 LIMIT 200",
            since, err);
    if (rc == 0)
        rc = write_groups(
            call, c, "by_policy", "policy",
            "WITH " SCORED_BY(
                "coalesce(d.params_sha, '')") ", u AS (SELECT params_sha, "
                                              "sum(decisions) AS n, sum(cost) AS cost FROM "
                                              "usage_hour WHERE hour >= "
                                              "date_trunc('hour', $1::timestamptz) GROUP BY 1) "
                                              "SELECT coalesce((SELECT name || '@' || "
                                              "version FROM policy_version v WHERE v.params = "
                                              "u.params_sha LIMIT 1), CASE WHEN "
                                              "u.params_sha = '' THEN '(none)' ELSE "
                                              "encode(u.params_sha, 'hex') END), u.n, u.cost, "
                                              "scored.q FROM u LEFT JOIN scored ON scored.g = "
                                              "u.params_sha ORDER BY u.n DESC, 1 "
                                              "LIMIT 200",
            since, err);
    if (rc == 0)
        rc = write_groups(
            call, c, "by_day", "day",
            "WITH " SCORED_BY("date_trunc('day', d.ts)") ", u AS (SELECT "
                                                         "date_trunc('day', hour) AS day, "
                                                         "sum(decisions) AS n, sum(cost) AS cost "
                                                         "FROM usage_hour WHERE hour >= "
                                                         "date_trunc('hour', $1::timestamptz) "
                                                         "GROUP BY 1) SELECT to_char(u.day, "
                                                         "'YYYY-MM-DD'), u.n, u.cost, scored.q "
                                                         "FROM u LEFT JOIN scored ON scored.g = "
                                                         "u.day ORDER BY u.day",
            since, err);
    json_writer_end_object(&call->w);
    return rc;
}
