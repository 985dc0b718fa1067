/* Usual path: a lock, then a transaction per life that ended and does not agree (its row first,
 * then its periods in ascending order: as reports do), then one snapshot in which everything is
 * compared and the result is stored. */
#include "controlplane/spend/reconcile.h"

#include <string.h>

#include "common/base/clock.h"

#define LOCK   "7305131472205837423"
#define LIVES  256 /* In one go; the rest comes next time. */
#define DAY_US INT64_C(86400000000)
#define LEDGER                                                                                     \
    "budget_ledger b ON b.budget_id = a.budget_id AND b.period_start = a.period_start "            \
    "AND b.cfg = a.cfg AND b.node_id = a.node_id AND b.lease_epoch = a.epoch"
#define TRUEUP                                                                                     \
    "spend_trueup t ON t.budget_id = a.budget_id AND t.period_start = a.period_start "             \
    "AND t.cfg = a.cfg AND t.node_id = a.node_id AND t.lease_epoch = a.epoch"
#define OF_LIFE "a.node_id = $1::uuid AND a.epoch = $2"

/* --- true-ups -----------------------------------------------------------------------------------
 */

/* All rows of a life are there when a later life of the node has sent some (spools are shipped
 * oldest first), nothing of it or its lease came for the time that the longest stream may take, and
 * nothing of the node was lost or put aside since the life began. */
static const char lives_sql[] =
    "SELECT l.node_id, l.epoch, EXISTS (SELECT FROM budget_ledger n WHERE n.node_id = l.node_id "
    "AND n.lease_epoch > l.epoch) AND l.last_report < now() - $1 * interval '1 millisecond' "
    "AND NOT EXISTS (SELECT FROM budget_ledger n WHERE n.node_id = l.node_id AND n.lease_epoch = "
    "l.epoch AND n.last_received >= now() - $1 * interval '1 millisecond') "
    "AND NOT EXISTS (SELECT FROM telemetry_gap g WHERE g.node_id = l.node_id AND g.received >= "
    "l.registered) AND NOT EXISTS (SELECT FROM ingest_deadletter g WHERE g.node_id = l.node_id AND "
    "g.received >= l.registered) AS complete FROM lease_life l WHERE l.state <> 0 AND EXISTS "
    "(SELECT FROM budget_alloc a LEFT JOIN " LEDGER " LEFT JOIN " TRUEUP " WHERE a.node_id = "
    "l.node_id AND a.epoch = l.epoch AND (a.state = 2 OR coalesce(b.cost, 0) <> a.s + "
    "coalesce(t.amount, 0))) ORDER BY l.node_id, l.epoch LIMIT $2";

static const char lock_life[] =
    "SELECT FROM lease_life a WHERE " OF_LIFE " AND a.state <> 0 FOR UPDATE";
static const char lock_periods[] =
    "SELECT FROM budget_period p JOIN budget_alloc a USING (budget_id, period_start, cfg) "
    "WHERE " OF_LIFE " ORDER BY p.budget_id, p.period_start, p.cfg FOR UPDATE OF p";
/* A lost life that is known in full: what it did not spend is free again. s never falls. */
static const char close_lost[] =
    "WITH v AS (SELECT a.budget_id, a.period_start, a.cfg, a.g, a.s, a.r, "
    "least(greatest(a.s, coalesce(b.cost, 0)), a.g - a.r) AS s2 FROM budget_alloc a LEFT "
    "JOIN " LEDGER " WHERE " OF_LIFE " AND a.state = 2), "
    "p AS (UPDATE budget_period p SET committed = p.committed - (v.g - v.r - v.s2), settled = "
    "p.settled + v.s2 - v.s FROM v WHERE p.budget_id = v.budget_id AND p.period_start = "
    "v.period_start AND p.cfg = v.cfg) "
    "UPDATE budget_alloc a SET s = v.s2, r = v.g - v.s2, state = 1 FROM v WHERE " OF_LIFE
    " AND a.budget_id = v.budget_id AND a.period_start = v.period_start AND a.cfg = v.cfg";
static const char close_life[] = "UPDATE lease_life a SET state = 1 WHERE " OF_LIFE;
/* Until all rows are there, only upwards. */
static const char post_sql[] =
    "WITH v AS (SELECT a.budget_id, a.period_start, a.cfg, coalesce(b.cost, 0) - a.s - "
    "coalesce(t.amount, 0) AS delta FROM budget_alloc a LEFT JOIN " LEDGER " LEFT JOIN " TRUEUP
    " WHERE " OF_LIFE " AND a.state = 1), "
    "w AS (SELECT * FROM v WHERE delta > 0 OR (delta < 0 AND $3)), "
    "t AS (INSERT INTO spend_trueup AS t (budget_id, period_start, cfg, node_id, lease_epoch, "
    "amount, complete) SELECT budget_id, period_start, cfg, $1::uuid, $2, delta, $3 FROM w ON "
    "CONFLICT (budget_id, period_start, cfg, node_id, lease_epoch) DO UPDATE SET amount = t.amount "
    "+ excluded.amount, complete = excluded.complete, posted = now()) "
    "INSERT INTO budget_adjust (budget_id, period_start, cfg, amount, actor, reason) SELECT "
    "budget_id, period_start, cfg, delta, 'reconcile', 'trueup' FROM w ORDER BY 1, 2, 3";

struct life {
    char node[40];
    int64_t epoch;
    bool complete;
};

static int life_query(struct pq_conn *c, const char *sql, const struct life *l, bool with_complete,
                      struct pq_result **out_result, struct err *err)
{
    struct pq_params p = {0};
    pq_params_text(&p, str_from(l->node));
    pq_params_i64(&p, l->epoch);
    if (with_complete)
        pq_params_bool(&p, l->complete);
    return pq_conn_query(c, sql, &p, out_result, err);
}

static int trueup_life(struct pq_conn *c, const struct life *l, int64_t *io_posted, struct err *err)
{
    struct pq_result *r = NULL;
    int64_t posted = 0;
    int rc = pq_conn_script(c, "BEGIN", err);
    if (rc == 0)
        rc = life_query(c, lock_life, l, false, NULL, err);
    if (rc == 0)
        rc = life_query(c, lock_periods, l, false, NULL, err);
    if (rc == 0 && l->complete)
        rc = life_query(c, close_lost, l, false, NULL, err);
    if (rc == 0 && l->complete)
        rc = life_query(c, close_life, l, false, NULL, err);
    if (rc == 0)
        rc = life_query(c, post_sql, l, true, &r, err);
    if (rc == 0)
        posted = (int64_t)pq_result_affected(r);
    pq_result_destroy(r);
    if (rc == 0)
        rc = pq_conn_script(c, "COMMIT", err);
    else
        pq_conn_attempt(c, "ROLLBACK");
    if (rc == 0)
        *io_posted += posted;
    return rc;
}

static int trueup(struct pq_conn *c, const struct reconcile_options *o, int64_t *out_posted,
                  struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    int64_t posted = 0;
    pq_params_i64(&p, (int64_t)(o->grace_ms != 0 ? o->grace_ms : RECONCILE_GRACE_DEFAULT_MS));
    pq_params_i64(&p, LIVES);
    int rc = pq_conn_query(c, lives_sql, &p, &r, err);
    for (int i = 0; rc == 0 && i < pq_result_rows(r); i++) {
        struct life l = {.epoch = pq_result_i64(r, i, 1), .complete = pq_result_bool(r, i, 2)};
        if (!str_copy(pq_result_text(r, i, 0), l.node, sizeof l.node))
            rc = err_set(err, ERR_INTERNAL, "a node's id is too long");
        else
            rc = trueup_life(c, &l, &posted, err);
    }
    pq_result_destroy(r);
    if (rc == 0)
        *out_posted = posted;
    return rc;
}

/* --- comparing ----------------------------------------------------------------------------------
 */

#define KEY       "budget_id, period_start, cfg"
#define PPM(a, b) "(abs(" a " - " b ")::numeric * 1000000 / greatest(" a ", " b ", 1))::bigint"
/* What moves was counted or booked just now, and a part of the other side is on its way: then a
 * difference is an alarm only when it is large, old and more than what open requests hold. */
static const char compare_sql[] =
    "WITH l AS (SELECT " KEY ", sum(cost)::bigint AS cost, max(last_received) AS seen FROM "
    "budget_ledger GROUP BY 1, 2, 3), "
    "a AS (SELECT " KEY ", coalesce(sum(reserved) FILTER (WHERE state = 0), 0)::bigint AS open, "
    "max(last_report) AS seen FROM budget_alloc GROUP BY 1, 2, 3), "
    "t AS (SELECT " KEY ", sum(amount)::bigint AS amount FROM spend_trueup GROUP BY 1, 2, 3), "
    "pairs AS (SELECT " KEY ", coalesce(l.cost, 0) AS counted, coalesce(p.settled, 0) + "
    "coalesce(t.amount, 0) AS booked, coalesce(p.adjust, 0) - coalesce(t.amount, 0) AS adjusted, "
    "coalesce(a.open, 0) AS open, coalesce(greatest(l.seen, a.seen) > now() - interval '2 "
    "minutes', false) AS moving FROM budget_period p FULL JOIN l USING (" KEY ") LEFT JOIN a "
    "USING (" KEY ") LEFT JOIN t USING (" KEY ") WHERE coalesce(p.period_end, 'infinity') >= $1), "
    "b AS (SELECT *, " PPM(
        "counted",
        "booked") " AS ppm FROM pairs), "
                  "d AS (SELECT (ts AT TIME ZONE 'UTC')::date AS day, count(*) AS n, "
                  "sum(cost)::bigint AS cost "
                  "FROM decision WHERE ts >= date_trunc('day', $1, 'UTC') GROUP BY 1), "
                  "s AS (SELECT 'day' AS kind, day, sum(decisions)::bigint AS n, sum(cost)::bigint "
                  "AS cost FROM "
                  "spend_day WHERE day >= (SELECT min(day) FROM d) GROUP BY 2 UNION ALL SELECT "
                  "'hour', "
                  "(hour AT TIME ZONE 'UTC')::date, sum(decisions)::bigint, sum(cost)::bigint FROM "
                  "usage_hour "
                  "WHERE hour >= (SELECT min(day) FROM d)::timestamp AT TIME ZONE 'UTC' GROUP BY "
                  "2), "
                  "dd AS (SELECT k.kind, day, coalesce(d.n, 0) AS dn, coalesce(s.n, 0) AS sn, "
                  "coalesce(d.cost, 0) "
                  "AS counted, coalesce(s.cost, 0) AS booked FROM (VALUES ('day'), ('hour')) k "
                  "(kind) CROSS JOIN "
                  "(SELECT day FROM d UNION SELECT day FROM s) days LEFT JOIN d USING (day) LEFT "
                  "JOIN s USING "
                  "(day, kind)), "
                  "x AS (SELECT 'budget' AS kind, " KEY
                  ", NULL::date AS day, counted, booked, adjusted, open, "
                  "moving, ppm, ppm > $4 AND (NOT moving OR (ppm > 10 * $4 AND period_start < "
                  "now() - interval "
                  "'1 hour' AND abs(counted - booked) > open)) AS alarm FROM b WHERE counted <> "
                  "booked "
                  "UNION ALL SELECT kind, NULL, NULL, NULL, day, counted, booked, 0, 0, false, "
                  "greatest(" PPM("counted", "booked") ", " PPM(
                      "dn",
                      "sn") "), true FROM dd "
                            "WHERE counted <> booked OR dn <> sn), "
                            "c AS (INSERT INTO spend_check (started, actor, since, budgets, days, "
                            "differing, alarms, "
                            "worst_ppm, trued_up) SELECT $2, $3, $1, (SELECT count(*) FROM b), "
                            "(SELECT count(DISTINCT day) "
                            "FROM dd), (SELECT count(*) FROM x), (SELECT count(*) FROM x WHERE "
                            "alarm), (SELECT "
                            "coalesce(max(ppm) FILTER (WHERE NOT moving OR alarm), 0) FROM x), $5 "
                            "RETURNING *), "
                            "i AS (INSERT INTO spend_difference (check_id, position, kind, " KEY
                            ", day, counted, booked, "
                            "adjusted, open_nano, moving, ppm, alarm) SELECT c.id, n, kind, " KEY
                            ", day, counted, booked, "
                            "adjusted, open, moving, ppm, alarm FROM c, (SELECT *, row_number() "
                            "OVER (ORDER BY alarm DESC, "
                            "abs(counted - booked) DESC, " KEY
                            ", day, kind) AS n FROM x) y WHERE n <= $6) "
                            "SELECT id, budgets, days, differing, alarms, worst_ppm FROM c";

static int compare(struct pq_conn *c, const struct reconcile_options *o, int64_t started_us,
                   int64_t posted, struct reconcile_result *out, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_time_us(&p, o->since_us);
    pq_params_time_us(&p, started_us);
    pq_params_text(&p, str_from(o->actor));
    pq_params_i64(&p, RECONCILE_ALARM_PPM);
    pq_params_i64(&p, posted);
    pq_params_i64(&p, RECONCILE_DIFFERENCES_MAX);
    int rc = pq_conn_script(
        c, "BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL statement_timeout = '30min'", err);
    if (rc == 0)
        rc = pq_conn_query(c, compare_sql, &p, &r, err);
    else
        pq_params_deinit(&p);
    if (rc == 0)
        *out = (struct reconcile_result){.check_id = pq_result_i64(r, 0, 0),
                                         .budgets = pq_result_i64(r, 0, 1),
                                         .days = pq_result_i64(r, 0, 2),
                                         .differing = pq_result_i64(r, 0, 3),
                                         .alarms = pq_result_i64(r, 0, 4),
                                         .worst_ppm = pq_result_i64(r, 0, 5),
                                         .trued_up = posted};
    pq_result_destroy(r);
    if (rc == 0)
        rc = pq_conn_script(c, "COMMIT", err);
    else
        pq_conn_attempt(c, "ROLLBACK");
    return rc;
}

int reconcile_run(struct pq_conn *c, const struct reconcile_options *options,
                  struct reconcile_result *out_result, struct err *err)
{
    struct pq_result *r = NULL;
    int64_t started = clock_wall_us(), posted = 0;
    int rc = pq_conn_query(c, "SELECT pg_try_advisory_lock(" LOCK ")", NULL, &r, err);
    if (rc != 0)
        return rc;
    bool mine = pq_result_bool(r, 0, 0);
    pq_result_destroy(r);
    if (!mine)
        return err_set(err, ERR_BUSY, "another reconciliation runs");
    rc = trueup(c, options, &posted, err);
    if (rc == 0)
        rc = compare(c, options, started, posted, out_result, err);
    pq_conn_attempt(c, "SELECT pg_advisory_unlock(" LOCK ")");
    return rc;
}

/* Also what was late when the last one ran: two days before its own. */
int reconcile_due(struct pq_conn *c, uint64_t every_ms, struct reconcile_result *out_result,
                  bool *out_ran, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    *out_ran = false;
    pq_params_i64(&p, (int64_t)every_ms);
    int rc = pq_conn_query(c,
                           "SELECT coalesce(max(started), '-infinity') <= now() - $1 * interval '1 "
                           "millisecond' FROM spend_check",
                           &p, &r, err);
    if (rc != 0)
        return rc;
    bool due = pq_result_bool(r, 0, 0);
    pq_result_destroy(r);
    if (!due)
        return 0;
    const struct reconcile_options o = {.actor = "schedule",
                                        .since_us = clock_wall_us() - 2 * DAY_US};
    rc = reconcile_run(c, &o, out_result, err);
    *out_ran = rc == 0;
    return rc == ERR_BUSY ? 0 : rc;
}
