/* Daily partitions of decision, attempt and feedback. A day is a UTC day. A day whose rows already
 * fell into the DEFAULT partition cannot be made (the server says check_violation): its rows stay
 * where they are, queries find them there, and the count of such rows is reported. With a DEFAULT
 * partition the server offers no DETACH CONCURRENTLY, so an expired day is dropped under a short
 * lock timeout: if readers are in the way, the next hour tries again. */
#include <stdio.h>
#include <string.h>

#include "controlplane/store/migrate.h"

#define DAY_US          INT64_C(86400000000)
#define PARTITIONS_LOCK "7305131472205837422"

static const char *const parents[] = {"decision", "attempt", "feedback"};
#define PARENTS (sizeof parents / sizeof parents[0])

static int query_bool(struct pq_conn *c, const char *sql, bool *out_value, struct err *err)
{
    struct pq_result *r = NULL;
    int rc = pq_conn_query(c, sql, NULL, &r, err);
    if (rc != 0)
        return rc;
    *out_value = pq_result_rows(r) > 0 && pq_result_bool(r, 0, 0);
    pq_result_destroy(r);
    return 0;
}

/* The day as "20261121" and its limits as the server writes them: it does the calendar. */
static int create_day(struct pq_conn *c, const char *parent, int64_t day_us, unsigned *created,
                      struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_text(&p, str_from(parent));
    pq_params_time_us(&p, day_us);
    pq_params_time_us(&p, day_us + DAY_US);
    int rc = pq_conn_query(
        c,
        "SELECT to_regclass(n.name) IS NOT NULL, "
        "format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)', n.name, $1::text, "
        "$2::timestamptz, $3::timestamptz) FROM (SELECT $1::text || '_' || "
        "to_char($2::timestamptz, 'YYYYMMDD') AS name) n",
        &p, &r, err);
    if (rc != 0)
        return rc;
    if (!pq_result_bool(r, 0, 0)) {
        rc = pq_conn_query(c, pq_result_text(r, 0, 1).data, NULL, NULL, err);
        if (rc == 0)
            ++*created;
        else if (strcmp(pq_conn_sqlstate(c), "23514") == 0 ||
                 strcmp(pq_conn_sqlstate(c), "42P07") == 0)
            rc = 0;
    }
    pq_result_destroy(r);
    return rc;
}

static int drop_old(struct pq_conn *c, int64_t before_us, unsigned *dropped, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_time_us(&p, before_us);
    int rc = pq_conn_query(
        c,
        "SELECT format('DROP TABLE %I', c.relname) FROM pg_inherits i "
        "JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent "
        "WHERE p.relname IN ('decision', 'attempt', 'feedback') AND c.relname ~ '_[0-9]{8}$' "
        "AND to_timestamp(right(c.relname, 8), 'YYYYMMDD') + interval '1 day' <= $1::timestamptz",
        &p, &r, err);
    if (rc != 0)
        return rc;
    for (int i = 0; i < pq_result_rows(r) && rc == 0; i++) {
        rc = pq_conn_query(c, pq_result_text(r, i, 0).data, NULL, NULL, err);
        if (rc == 0)
            ++*dropped;
        else if (rc == ERR_CONFLICT || rc == ERR_TIMEOUT)
            rc = 0; /* Readers hold it. */
    }
    pq_result_destroy(r);
    return rc;
}

int partitions_maintain(struct pq_conn *c, const struct partitions_config *config, int64_t now_us,
                        unsigned *out_created, unsigned *out_dropped, struct err *err)
{
    unsigned created = 0, dropped = 0;
    bool mine = false;
    int rc = query_bool(c, "SELECT pg_try_advisory_lock(" PARTITIONS_LOCK ")", &mine, err);
    if (rc != 0 || !mine) {
        *out_created = 0;
        *out_dropped = 0;
        return rc;
    }
    rc = pq_conn_script(c, "SET lock_timeout = '2s'", err);
    int64_t today = now_us - now_us % DAY_US;
    for (int64_t day = -1; day <= (int64_t)config->days_ahead && rc == 0; day++) {
        for (size_t i = 0; i < PARENTS && rc == 0; i++)
            rc = create_day(c, parents[i], today + day * DAY_US, &created, err);
    }
    if (rc == 0 && config->retention_days > 0)
        rc = drop_old(c, today - (int64_t)config->retention_days * DAY_US, &dropped, err);
    pq_conn_attempt(c, "SET lock_timeout = 0; SELECT pg_advisory_unlock(" PARTITIONS_LOCK ")");
    *out_created = created;
    *out_dropped = dropped;
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
