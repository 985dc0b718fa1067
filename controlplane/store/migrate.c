/* Usual path: lock, read the version, run each missing file in a transaction of its own together
 * with its row in schema_version, unlock. A failing migration rolls back alone and the rest wait
 * for the next attempt; a second program waits on the lock and then finds nothing to do. */
#include "controlplane/store/migrate.h"

#include "common/base/buf.h"
#include "controlplane/store/migrations.h"

#define SCHEMA_MIN   3 /* Oldest schema this program's queries work with. */
/* Any number, the same for ever. */
#define MIGRATE_LOCK "7305131472205837421"

static int known_max(void)
{
    int version = 0;
    for (const struct migration *m = migrations; m->version != 0; m++)
        version = m->version;
    return version;
}

int migrate_status(struct pq_conn *c, struct migrate_status *out_status, struct err *err)
{
    struct pq_result *r = NULL;
    struct migrate_status status = {.known_min = SCHEMA_MIN, .known_max = known_max()};
    int rc = pq_conn_query(c, "SELECT to_regclass('schema_version') IS NOT NULL", NULL, &r, err);
    if (rc != 0)
        return rc;
    bool exists = pq_result_bool(r, 0, 0);
    pq_result_destroy(r);
    r = NULL;
    if (exists) {
        rc =
            pq_conn_query(c, "SELECT coalesce(max(version), 0) FROM schema_version", NULL, &r, err);
        if (rc != 0)
            return rc;
        status.version = (int)pq_result_i64(r, 0, 0);
        pq_result_destroy(r);
    }
    *out_status = status;
    return 0;
}

int migrate_check(struct pq_conn *c, struct err *err)
{
    struct migrate_status s;
    int rc = migrate_status(c, &s, err);
    if (rc != 0)
        return rc;
    if (s.version < s.known_min || s.version > s.known_max)
        return err_set(err, ERR_VERSION,
                       "the database has schema %d, this program works with %d to %d", s.version,
                       s.known_min, s.known_max);
    return 0;
}

static int apply_one(struct pq_conn *c, const struct migration *m, struct err *err)
{
    int rc = pq_conn_script(c, "BEGIN; SET LOCAL statement_timeout = 0", err);
    if (rc == 0)
        rc = pq_conn_script(c, m->sql, err);
    if (rc == 0) {
        struct pq_params p = {0};
        pq_params_i64(&p, m->version);
        pq_params_text(&p, str_from(m->name));
        rc = pq_conn_query(c, "INSERT INTO schema_version (version, name) VALUES ($1, $2)", &p,
                           NULL, err);
    }
    if (rc == 0)
        rc = pq_conn_script(c, "COMMIT", err);
    if (rc != 0) {
        pq_conn_attempt(c, "ROLLBACK");
        err_wrap(err, "migration %s", m->name);
    }
    return rc;
}

/* By its own row and not by the highest version: a number that was left out for a while is applied
 * when it comes. */
static int is_applied(struct pq_conn *c, int version, bool *out_there, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_i64(&p, version);
    int rc = pq_conn_query(c, "SELECT EXISTS (SELECT FROM schema_version WHERE version = $1)", &p,
                           &r, err);
    if (rc == 0)
        *out_there = pq_result_bool(r, 0, 0);
    pq_result_destroy(r);
    return rc;
}

static int apply_missing(struct pq_conn *c, int *applied, struct err *err)
{
    struct migrate_status s;
    int rc = pq_conn_script(c,
                            "CREATE TABLE IF NOT EXISTS schema_version ("
                            "version integer PRIMARY KEY, name text NOT NULL, "
                            "applied timestamptz NOT NULL DEFAULT now())",
                            err);
    if (rc == 0)
        rc = migrate_status(c, &s, err);
    if (rc != 0)
        return rc;
    if (s.version > s.known_max)
        return err_set(err, ERR_VERSION, "the database has schema %d, newer than this program's %d",
                       s.version, s.known_max);
    for (const struct migration *m = migrations; rc == 0 && m->version != 0; m++) {
        bool there = false;
        rc = is_applied(c, m->version, &there, err);
        if (rc == 0 && !there) {
            rc = apply_one(c, m, err);
            *applied += rc == 0;
        }
    }
    return rc;
}

int migrate_run(struct pq_conn *c, int *out_applied, struct err *err)
{
    int applied = 0;
    /* Waiting for another program's migrations may take longer than any statement should. */
    int rc = pq_conn_script(
        c,
        "BEGIN; SET LOCAL statement_timeout = 0; SELECT pg_advisory_lock(" MIGRATE_LOCK "); COMMIT",
        err);
    if (rc != 0) {
        pq_conn_attempt(c, "ROLLBACK");
        return rc;
    }
    rc = apply_missing(c, &applied, err);
    pq_conn_attempt(c, "SELECT pg_advisory_unlock(" MIGRATE_LOCK ")");
    if (rc == 0 && out_applied != NULL)
        *out_applied = applied;
    return rc;
}
