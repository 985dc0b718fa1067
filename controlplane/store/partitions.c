/* Daily partitions of decision, attempt and feedback. A day is a UTC day.
 *
 * Usual path: the days ahead are made; rows that had fallen into a DEFAULT partition get the day
 * they belong to; days past their retention are detached (with their row in audit_log) and then
 * dropped. Detaching takes a lock on the whole table, for as long as it takes to change the
 * catalogue: it waits 200 ms for it and gives up a few times before it leaves the day to the next
 * hour, so that nobody waits behind it for long. (DETACH CONCURRENTLY is refused by the server
 * where there is a DEFAULT partition: docs/decisions/0186.) Dropping then locks nothing that is in
 * use, and a day that was detached but not dropped is found again by its name. */
#include <stdio.h>
#include <string.h>

#include "controlplane/store/migrate.h"

#define DAY_US          INT64_C(86400000000)
#define PARTITIONS_LOCK "7305131472205837422"
#define DETACH_TRIES    5
#define ADOPT_DAYS_MAX  62 /* Of one table in one run. */

static const char *const parents[] = {"decision", "attempt", "feedback"};
#define PARENTS (sizeof parents / sizeof parents[0])

struct run {
    struct pq_conn *c;
    const struct partitions_config *config;
    int64_t today_us;
    unsigned created, dropped;
    struct err *err;
};

static unsigned retention_days(const struct partitions_config *config, size_t parent)
{
    const unsigned own[PARENTS] = {config->retention_days, config->attempt_days,
                                   config->feedback_days};
    return own[parent] != 0 ? own[parent] : config->retention_days;
}

static void tell(const struct run *run, enum partitions_event event, const char *name,
                 uint64_t rows, uint64_t bytes)
{
    if (run->config->on_event != NULL)
        run->config->on_event(run->config->arg, event, name, rows, bytes);
}

/* Its lock was not to be had. */
static bool is_in_use(int rc)
{
    return rc == ERR_CONFLICT || rc == ERR_TIMEOUT;
}

/* --- days ahead ----------------------------------------------------------------------------------
 */

static void day_params(struct pq_params *p, const char *parent, int64_t day_us)
{
    pq_params_text(p, str_from(parent));
    pq_params_time_us(p, day_us);
    pq_params_time_us(p, day_us + DAY_US);
}

/* Moves the day's rows out of the DEFAULT partition into a partition of their own. Whole or not at
 * all. */
static int adopt_day(struct run *run, size_t parent, int64_t day_us)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    day_params(&p, parents[parent], day_us);
    int rc = pq_conn_query(
        run->c,
        "SELECT n.name, format('BEGIN; SET LOCAL lock_timeout = ''2s''; "
        "LOCK TABLE %1$I IN SHARE ROW EXCLUSIVE MODE; "
        "CREATE TABLE %2$I (LIKE %1$I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE); "
        "WITH moved AS (DELETE FROM %3$I WHERE ts >= %4$L AND ts < %5$L RETURNING *) "
        "INSERT INTO %2$I SELECT * FROM moved; "
        "ALTER TABLE %1$I ATTACH PARTITION %2$I FOR VALUES FROM (%4$L) TO (%5$L); COMMIT', "
        "$1::text, n.name, $1::text || '_default', $2::timestamptz, $3::timestamptz) "
        "FROM (SELECT $1::text || '_' || to_char($2::timestamptz, 'YYYYMMDD') AS name) n",
        &p, &r, run->err);
    if (rc != 0)
        return rc;
    rc = pq_conn_script(run->c, pq_result_text(r, 0, 1).data, run->err);
    if (rc == 0) {
        run->created++;
        tell(run, PARTITIONS_ADOPTED, pq_result_text(r, 0, 0).data, 0, 0);
    } else {
        pq_conn_attempt(run->c, "ROLLBACK");
        if (is_in_use(rc))
            rc = 0;
    }
    pq_result_destroy(r);
    return rc;
}

/* The day as "20261121" and its limits as the server writes them: it does the calendar. */
static int create_day(struct run *run, size_t parent, int64_t day_us)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    day_params(&p, parents[parent], day_us);
    int rc = pq_conn_query(
        run->c,
        "SELECT to_regclass(n.name) IS NOT NULL, "
        "format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)', n.name, $1::text, "
        "$2::timestamptz, $3::timestamptz) FROM (SELECT $1::text || '_' || "
        "to_char($2::timestamptz, 'YYYYMMDD') AS name) n",
        &p, &r, run->err);
    if (rc != 0)
        return rc;
    if (!pq_result_bool(r, 0, 0)) {
        rc = pq_conn_query(run->c, pq_result_text(r, 0, 1).data, NULL, NULL, run->err);
        if (rc == 0)
            run->created++;
        else if (strcmp(pq_conn_sqlstate(run->c), "23514") == 0) /* DEFAULT holds some of it. */
            rc = adopt_day(run, parent, day_us);
        else if (strcmp(pq_conn_sqlstate(run->c), "42P07") == 0)
            rc = 0;
        else if (is_in_use(rc)) {
            tell(run, PARTITIONS_IN_USE, parents[parent], 0, 0); /* A reader holds DEFAULT. */
            rc = 0;
        }
    }
    pq_result_destroy(r);
    return rc;
}

/* --- what fell into DEFAULT ----------------------------------------------------------------------
 */

/* Days of rows in DEFAULT, as unix microseconds; those past their retention are deleted. */
static int keep_default(struct run *run, size_t parent)
{
    char sql[512];
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    unsigned days = retention_days(run->config, parent);
    int64_t oldest = days == 0 ? 0 : run->today_us - (int64_t)days * DAY_US;
    (void)snprintf(sql, sizeof sql, "DELETE FROM %s_default WHERE ts < $1::timestamptz",
                   parents[parent]);
    pq_params_time_us(&p, oldest);
    int rc = pq_conn_query(run->c, sql, &p, NULL, run->err);
    (void)snprintf(sql, sizeof sql,
                   "SELECT DISTINCT date_trunc('day', ts) FROM %s_default LIMIT %d",
                   parents[parent], ADOPT_DAYS_MAX);
    if (rc == 0)
        rc = pq_conn_query(run->c, sql, NULL, &r, run->err);
    for (int i = 0; rc == 0 && i < pq_result_rows(r); i++)
        rc = create_day(run, parent, pq_result_time_us(r, i, 0));
    pq_result_destroy(r);
    return rc;
}

/* --- days behind ---------------------------------------------------------------------------------
 */

static int detach_once(struct run *run, const struct pq_result *r, int row, size_t parent)
{
    struct pq_params p = {0};
    int rc = pq_conn_script(run->c, "BEGIN; SET LOCAL lock_timeout = '200ms'", run->err);
    if (rc == 0)
        rc = pq_conn_script(run->c, pq_result_text(r, row, 1).data, run->err);
    if (rc == 0) {
        pq_params_text(&p, pq_result_text(r, row, 0));
        pq_params_i64(&p, pq_result_i64(r, row, 2));
        pq_params_i64(&p, pq_result_i64(r, row, 3));
        pq_params_i64(&p, retention_days(run->config, parent));
        rc = pq_conn_query(run->c,
                           "INSERT INTO audit_log (actor, action, subject, reason, detail) VALUES "
                           "('retention', 'partition.drop', $1, $4::bigint || ' days have passed', "
                           "json_build_object('rows', $2::bigint, 'bytes', $3::bigint)::text)",
                           &p, NULL, run->err);
    }
    if (rc == 0)
        rc = pq_conn_script(run->c, "COMMIT", run->err);
    if (rc != 0)
        pq_conn_attempt(run->c, "ROLLBACK");
    return rc;
}

/* Days of a table that ended before; sql takes that time and the table's name. */
static int find_old(struct run *run, size_t parent, int64_t before_us, const char *sql,
                    struct pq_result **out)
{
    struct pq_params p = {0};
    pq_params_time_us(&p, before_us);
    pq_params_text(&p, str_from(parents[parent]));
    return pq_conn_query(run->c, sql, &p, out, run->err);
}

static int detach_old(struct run *run, size_t parent, int64_t before_us)
{
    struct pq_result *r = NULL;
    int rc = find_old(
        run, parent, before_us,
        "SELECT c.relname, format('ALTER TABLE %I DETACH PARTITION %I', $2::text, c.relname), "
        "greatest(c.reltuples, 0)::bigint, pg_total_relation_size(c.oid) FROM pg_inherits i JOIN "
        "pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = $2::text::regclass AND c.relname ~ "
        "'_[0-9]{8}$' AND to_timestamp(right(c.relname, 8), 'YYYYMMDD') + interval '1 day' <= "
        "$1::timestamptz ORDER BY 1",
        &r);
    for (int i = 0; rc == 0 && i < pq_result_rows(r); i++) {
        for (int n = 1; n <= DETACH_TRIES; n++) {
            rc = detach_once(run, r, i, parent);
            if (!is_in_use(rc) || n == DETACH_TRIES)
                break;
            pq_conn_attempt(run->c, "SELECT pg_sleep(0.3)");
        }
        const char *name = pq_result_text(r, i, 0).data;
        uint64_t rows = (uint64_t)pq_result_i64(r, i, 2), bytes = (uint64_t)pq_result_i64(r, i, 3);
        tell(run, rc == 0 ? PARTITIONS_DETACHED : PARTITIONS_IN_USE, name, rows, bytes);
        if (is_in_use(rc))
            rc = 0; /* The next hour tries again. */
    }
    pq_result_destroy(r);
    return rc;
}

/* Tables that were days once: nothing but a reader that began before can be in the way. */
static int drop_detached(struct run *run, size_t parent, int64_t before_us)
{
    struct pq_result *r = NULL;
    int rc = find_old(
        run, parent, before_us,
        "SELECT c.relname, format('DROP TABLE %I', c.relname), pg_total_relation_size(c.oid) FROM "
        "pg_class c WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' AND "
        "NOT c.relispartition AND c.relname ~ ('^' || $2::text || '_[0-9]{8}$') AND "
        "to_timestamp(right(c.relname, 8), 'YYYYMMDD') + interval '1 day' <= $1::timestamptz "
        "ORDER BY 1",
        &r);
    for (int i = 0; rc == 0 && i < pq_result_rows(r); i++) {
        rc = pq_conn_script(run->c, pq_result_text(r, i, 1).data, run->err);
        if (rc == 0) {
            run->dropped++;
            tell(run, PARTITIONS_DROPPED, pq_result_text(r, i, 0).data, 0,
                 (uint64_t)pq_result_i64(r, i, 2));
        } else if (is_in_use(rc)) {
            tell(run, PARTITIONS_IN_USE, pq_result_text(r, i, 0).data, 0, 0);
            rc = 0;
        }
    }
    pq_result_destroy(r);
    return rc;
}

static int maintain(struct run *run)
{
    int rc = pq_conn_script(run->c, "SET lock_timeout = '2s'", run->err);
    for (int64_t day = -1; day <= (int64_t)run->config->days_ahead && rc == 0; day++) {
        for (size_t i = 0; i < PARENTS && rc == 0; i++)
            rc = create_day(run, i, run->today_us + day * DAY_US);
    }
    for (size_t i = 0; i < PARENTS && rc == 0; i++) {
        unsigned days = retention_days(run->config, i);
        int64_t before = run->today_us - (int64_t)days * DAY_US;
        rc = keep_default(run, i);
        if (rc == 0 && days > 0)
            rc = detach_old(run, i, before);
        if (rc == 0 && days > 0)
            rc = drop_detached(run, i, before);
    }
    return rc;
}

int partitions_maintain(struct pq_conn *c, const struct partitions_config *config, int64_t now_us,
                        unsigned *out_created, unsigned *out_dropped, struct err *err)
{
    struct pq_result *r = NULL;
    struct run run = {.c = c, .config = config, .today_us = now_us - now_us % DAY_US, .err = err};
    *out_created = *out_dropped = 0;
    int rc = pq_conn_query(c, "SELECT pg_try_advisory_lock(" PARTITIONS_LOCK ")", NULL, &r, err);
    if (rc != 0)
        return rc;
    bool mine = pq_result_bool(r, 0, 0);
    pq_result_destroy(r);
    if (!mine)
        return 0;
    rc = maintain(&run);
    pq_conn_attempt(c, "SET lock_timeout = 0; SELECT pg_advisory_unlock(" PARTITIONS_LOCK ")");
    *out_created = run.created;
    *out_dropped = run.dropped;
    return rc;
}

int partitions_default_rows(struct pq_conn *c, uint64_t *out_rows, struct err *err)
{
    struct pq_result *r = NULL;
    int rc = pq_conn_query(c,
                           "SELECT (SELECT count(*) FROM decision_default) + "
                           "(SELECT count(*) FROM attempt_default) + "
                           "(SELECT count(*) FROM feedback_default)",
                           NULL, &r, err);
    if (rc != 0)
        return rc;
    *out_rows = (uint64_t)pq_result_i64(r, 0, 0);
    pq_result_destroy(r);
    return 0;
}

int partitions_days_ahead(struct pq_conn *c, int64_t now_us, uint64_t *out_days, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_time_us(&p, now_us);
    int rc = pq_conn_query(
        c,
        "SELECT coalesce(min(d.days), 0) FROM (SELECT (max(to_date(right(c.relname, 8), "
        "'YYYYMMDD')) FILTER (WHERE c.relname ~ '_[0-9]{8}$') - ($1::timestamptz AT TIME ZONE "
        "'UTC')::date) AS days FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE "
        "i.inhparent IN ('decision'::regclass, 'attempt'::regclass, 'feedback'::regclass) GROUP BY "
        "i.inhparent) d",
        &p, &r, err);
    if (rc != 0)
        return rc;
    int64_t days = pq_result_i64(r, 0, 0);
    *out_days = days < 0 ? 0 : (uint64_t)days;
    pq_result_destroy(r);
    return 0;
}
