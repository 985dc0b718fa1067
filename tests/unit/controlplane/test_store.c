/* Migrations, partitions, the connection pool and work off the loop, against a real server. */
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "common/base/clock.h"
#include "controlplane/store/migrate.h"
#include "controlplane/store/pq.h"
#include "controlplane/store/work.h"
#include "tests/lib/fault.h"
#include "tests/unit/controlplane/fixture.h"

struct migrator {
    uv_thread_t thread;
    const char *conninfo;
    int rc;
    int applied;
};

static void run_migrations(void *arg)
{
    struct migrator *m = arg;
    struct pq_conn *c = NULL;
    m->rc = pq_conn_open(m->conninfo, "migrate", 5000, 60000, &c, NULL);
    if (m->rc == 0)
        m->rc = migrate_run(c, &m->applied, NULL);
    pq_conn_close(c);
}

static void migrations_run_twice_and_from_many_programs_at_once(void **state)
{
    (void)state;
    const char *db = cluster_database("fresh", false);
    struct migrator m[6];
    struct err err = {0};
    struct migrate_status status;
    struct pq_conn *c = fixture_connect(db);
    int total = 0;
    assert_int_equal(migrate_check(c, &err), ERR_VERSION);
    for (int i = 0; i < 6; i++) {
        m[i] = (struct migrator){.conninfo = db};
        assert_int_equal(uv_thread_create(&m[i].thread, run_migrations, &m[i]), 0);
    }
    for (int i = 0; i < 6; i++) {
        uv_thread_join(&m[i].thread);
        assert_int_equal(m[i].rc, 0);
        total += m[i].applied;
    }
    assert_int_equal(migrate_status(c, &status, &err), 0);
    assert_int_equal(status.version, status.known_max);
    assert_int_equal(total, fixture_i64(c, "SELECT count(*) FROM schema_version"));
    assert_int_equal(migrate_run(c, &total, &err), 0);
    assert_int_equal(total, 0);
    assert_int_equal(migrate_check(c, &err), 0);
    /* A database from the future is refused. */
    fixture_exec(c, "INSERT INTO schema_version (version, name) VALUES (9999, 'later')");
    assert_int_equal(migrate_check(c, &err), ERR_VERSION);
    assert_int_equal(migrate_run(c, NULL, &err), ERR_VERSION);
    pq_conn_close(c);
}

static void partitions_are_made_ahead_and_dropped_behind(void **state)
{
    struct pq_conn *c = fixture_connect(*state);
    struct err err = {0};
    unsigned created, dropped;
    int64_t now = INT64_C(1795233600000000); /* 2026-11-21 */
    uint64_t rows;
    struct partitions_config config = {.days_ahead = 7};
    assert_int_equal(partitions_maintain(c, &config, now, &created, &dropped, &err), 0);
    assert_int_equal(created, 9 * 3);
    assert_int_equal(partitions_maintain(c, &config, now, &created, &dropped, &err), 0);
    assert_int_equal(created + dropped, 0);
    assert_int_equal(fixture_i64(c, "SELECT (to_regclass('decision_20261128') IS NOT NULL AND "
                                    "to_regclass('attempt_20261120') IS NOT NULL)::int"),
                     1);
    config.retention_days = 5;
    assert_int_equal(
        partitions_maintain(c, &config, now + INT64_C(8) * 86400000000, &created, &dropped, &err),
        0);
    assert_int_equal(dropped, 4 * 3); /* 20, 21, 22 and 23 November. */
    assert_int_equal(partitions_default_rows(c, &rows, &err), 0);
    assert_int_equal(rows, 0);
    pq_conn_close(c);
}

static void values_survive_the_way_there_and_back(void **state)
{
    struct pq_conn *c = fixture_connect(*state);
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    struct err err = {0};
    struct buf bytes = {0};
    buf_init(&bytes, 100);
    pq_params_text(&p, STR("it's \"text\""));
    pq_params_i64(&p, INT64_MIN);
    pq_params_bytes(&p, (struct str){.data = "\0\1\xff", .len = 3});
    pq_params_time_us(&p, INT64_C(1795233600123456));
    pq_params_bool(&p, true);
    pq_params_null(&p);
    pq_params_time_us(&p, INT64_C(-1));
    assert_int_equal(pq_conn_query(c,
                                   "SELECT $1::text, $2::bigint, $3::bytea, $4::timestamptz, "
                                   "$5::boolean, $6::text, $7::timestamptz",
                                   &p, &r, &err),
                     0);
    assert_true(str_is(pq_result_text(r, 0, 0), "it's \"text\""));
    assert_int_equal(pq_result_i64(r, 0, 1), INT64_MIN);
    assert_int_equal(pq_result_bytes(r, 0, 2, &bytes), 0);
    assert_memory_equal(bytes.data, "\0\1\xff", 3);
    assert_int_equal(pq_result_time_us(r, 0, 3), INT64_C(1795233600123456));
    assert_true(pq_result_bool(r, 0, 4));
    assert_true(pq_result_is_null(r, 0, 5));
    assert_int_equal(pq_result_time_us(r, 0, 6), -1);
    pq_result_destroy(r);
    /* A NUL cannot travel as text: said before anything is sent. */
    pq_params_text(&p, (struct str){.data = "a\0b", .len = 3});
    assert_int_equal(pq_conn_query(c, "SELECT $1::text", &p, NULL, &err), ERR_INVALID);
    assert_int_equal(pq_conn_query(c, "SELECT 1/0", NULL, NULL, &err), ERR_INVALID);
    assert_string_equal(pq_conn_sqlstate(c), "22012");
    assert_int_equal(pq_conn_query(c, "SELECT * FROM no_such_table", NULL, NULL, &err),
                     ERR_DATABASE);
    fixture_exec(c, "SET statement_timeout = 20");
    assert_int_equal(pq_conn_query(c, "SELECT pg_sleep(10)", NULL, NULL, &err), ERR_TIMEOUT);
    buf_deinit(&bytes);
    pq_conn_close(c);
}

struct pool_run {
    unsigned ok, unavailable, canceled, other;
    unsigned ups, downs;
    bool closed;
    struct pq_session *session;
};

static void on_reply(void *arg, const struct pq_reply *reply)
{
    struct pool_run *run = arg;
    run->ok += reply->status == 0;
    run->unavailable += reply->status == ERR_UNAVAILABLE;
    run->canceled += reply->status == ERR_CANCELED;
    run->other +=
        reply->status != 0 && reply->status != ERR_UNAVAILABLE && reply->status != ERR_CANCELED;
}

static unsigned answered(const struct pool_run *run)
{
    return run->ok + run->unavailable + run->canceled + run->other;
}

static void on_pool_state(void *arg, bool up, const char *message)
{
    struct pool_run *run = arg;
    (void)message;
    run->ups += up;
    run->downs += !up;
}

static void on_pool_closed(void *arg)
{
    ((struct pool_run *)arg)->closed = true;
}

static struct pq_pool *make_pool(uv_loop_t *loop, const char *db, unsigned size,
                                 struct pool_run *run)
{
    struct pq_pool *pool = NULL;
    struct err err = {0};
    struct pq_pool_config config = {.conninfo = db,
                                    .application_name = "test-pool",
                                    .size = size,
                                    .on_state = on_pool_state,
                                    .arg = run};
    assert_int_equal(pq_pool_create(loop, &config, &pool, &err), 0);
    return pool;
}

static unsigned send_one(struct pq_pool *pool, struct pool_run *run)
{
    struct pq_params p = {0};
    pq_params_i64(&p, 7);
    return pq_query(pool, "SELECT $1::bigint, pg_sleep(0.001)", &p, on_reply, run) == 0;
}

/* One after the other until so many in all were served, however long connections take to come back;
 * returns how many were sent. */
static unsigned serve_until(struct pq_pool *pool, uv_loop_t *loop, struct pool_run *run,
                            unsigned ok)
{
    unsigned before = answered(run), sent = 0;
    while (run->ok < ok) {
        sent += send_one(pool, run);
        do {
            uv_run(loop, UV_RUN_ONCE);
        } while (answered(run) < before + sent);
    }
    return sent;
}

static void every_query_is_answered_once_while_connections_are_killed(void **state)
{
    const char *db = *state;
    struct pool_run run = {0};
    uv_loop_t loop;
    uv_loop_init(&loop);
    struct pq_pool *pool = make_pool(&loop, db, 3, &run);
    struct pq_conn *c = fixture_connect(db);
    unsigned sent = 0;
    for (int killed = 0; killed < 4; killed++) {
        sent += serve_until(pool, &loop, &run, run.ok + 25);
        for (int i = 0; i < 50; i++) {
            sent += send_one(pool, &run);
            if (i == 25)
                fixture_exec(c, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                                "application_name = 'test-pool'");
            uv_run(&loop, UV_RUN_NOWAIT);
        }
        while (answered(&run) < sent)
            uv_run(&loop, UV_RUN_ONCE);
    }
    sent += serve_until(pool, &loop, &run, run.ok + 25);
    assert_int_equal(answered(&run), sent);
    assert_int_equal(run.other, 0);
    /* What waits when the pool closes is told so. */
    for (int i = 0; i < 10; i++)
        assert_int_equal(pq_query(pool, "SELECT pg_sleep(5)", NULL, on_reply, &run), 0);
    uv_run(&loop, UV_RUN_NOWAIT);
    pq_pool_close(pool, on_pool_closed, &run);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(run.closed);
    assert_int_equal(answered(&run), sent + 10);
    assert_int_equal(run.canceled, 10);
    assert_int_equal(uv_loop_close(&loop), 0);
    pq_conn_close(c);
}

static void on_cancelled(void *arg, const struct pq_reply *reply)
{
    struct pool_run *run = arg;
    assert_int_equal(reply->status, ERR_TIMEOUT);
    pq_session_put(run->session);
    run->session = NULL;
    run->ok++;
}

static void on_session(void *arg, int status, struct pq_session *session)
{
    struct pool_run *run = arg;
    assert_int_equal(status, 0);
    run->session = session;
    assert_int_equal(
        pq_session_query(session, "BEGIN; SELECT pg_sleep(60)", NULL, on_cancelled, run), 0);
    pq_session_cancel(session);
}

static void a_running_statement_can_be_cancelled_and_the_session_is_clean_after(void **state)
{
    const char *db = *state;
    struct pool_run run = {0}, after = {0};
    uv_loop_t loop;
    uv_loop_init(&loop);
    struct pq_pool *pool = make_pool(&loop, db, 1, &run);
    assert_int_equal(pq_session_take(pool, on_session, &run), 0);
    while (run.ok == 0)
        uv_run(&loop, UV_RUN_ONCE);
    /* The open transaction was rolled back before the next user got the connection. */
    assert_int_equal(pq_query(pool, "SELECT 1 / (txid_current_if_assigned() IS NULL)::int", NULL,
                              on_reply, &after),
                     0);
    while (answered(&after) == 0)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(after.ok, 1);
    pq_pool_close(pool, on_pool_closed, &run);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void f2_a_pool_without_a_server_says_so_and_comes_back(void **state)
{
    const char *db = *state;
    struct pool_run run = {0};
    uv_loop_t loop;
    uv_loop_init(&loop);
    struct pq_pool *pool = make_pool(&loop, db, 2, &run);
    while (run.ups == 0)
        uv_run(&loop, UV_RUN_ONCE);
    cluster_restart();
    while (run.downs == 0 || run.ups == 1)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(pq_query(pool, "SELECT 1", NULL, on_reply, &run), 0);
    while (answered(&run) == 0)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(run.ok, 1);
    pq_pool_close(pool, on_pool_closed, &run);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

struct job_run {
    unsigned done;
    int64_t sum;
    int last_status;
};

static int on_work(void *arg, struct pq_conn *conn, struct err *err)
{
    struct job_run *j = arg;
    struct pq_result *r = NULL;
    int rc = pq_conn_query(conn, "BEGIN", NULL, NULL, err); /* Left open: rolled back for us. */
    if (rc == 0)
        rc = pq_conn_query(conn, "SELECT 7", NULL, &r, err);
    if (rc == 0)
        __atomic_add_fetch(&j->sum, pq_result_i64(r, 0, 0), __ATOMIC_RELAXED);
    pq_result_destroy(r);
    return rc;
}

static void on_work_done(void *arg, int status, const struct err *err)
{
    struct job_run *j = arg;
    (void)err;
    j->done++;
    j->last_status = status;
}

static void work_runs_off_the_loop_and_reports_once(void **state)
{
    const char *db = *state;
    struct job_run j = {0};
    struct work *w = NULL;
    uv_loop_t loop;
    uv_loop_init(&loop);
    assert_int_equal(
        work_create(&loop, &(struct work_config){.conninfo = db, .application_name = "w"}, &w), 0);
    for (int i = 0; i < 50; i++)
        assert_int_equal(work_submit(w, on_work, on_work_done, &j), 0);
    while (j.done < 50)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(j.sum, 350);
    for (int i = 0; i < 20; i++)
        assert_int_equal(work_submit(w, on_work, on_work_done, &j), 0);
    work_close(w, NULL, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(j.done, 70);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static int setup(void **state)
{
    cluster_start();
    *state = (void *)(uintptr_t)cluster_database("store", true);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(migrations_run_twice_and_from_many_programs_at_once),
        cmocka_unit_test(partitions_are_made_ahead_and_dropped_behind),
        cmocka_unit_test(values_survive_the_way_there_and_back),
        cmocka_unit_test(every_query_is_answered_once_while_connections_are_killed),
        cmocka_unit_test(a_running_statement_can_be_cancelled_and_the_session_is_clean_after),
        cmocka_unit_test(f2_a_pool_without_a_server_says_so_and_comes_back),
        cmocka_unit_test(work_runs_off_the_loop_and_reports_once),
    };
    return cmocka_run_group_tests(tests, setup, fixture_stop_cluster);
}
