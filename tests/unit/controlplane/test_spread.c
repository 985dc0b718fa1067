/* Changes wait for the nodes that other control planes say are connected to them; the database says
 * here what these would write. */
#include <stdio.h>
#include <string.h>

#include "controlplane/admin/spread.h"
#include "tests/lib/fault.h"
#include "tests/unit/controlplane/admin_fixture.h"
#include "tests/unit/controlplane/fixture.h"

static const char yaml[] =
    "version: 1\n"
    "providers: {sim: {base_url: \"http://127.0.0.1:1/v1\", private: true}}\n"
    "models: {small: {deployments: [{provider: sim}]}}\n"
    "routes: {auto: {models: [small]}}\n";

static const char *database;
static struct pq_conn *db;

/* Node `id` at the control plane `replica`. */
static void put_node(const char *id, const char *replica, bool connected, int64_t applied,
                     int64_t nacked)
{
    char sql[400];
    snprintf(sql, sizeof sql,
             "INSERT INTO node_presence (node_id, replica, connected, applied, nacked) VALUES "
             "('%s', '%s', %s, %lld, %lld)",
             id, replica, connected ? "true" : "false", (long long)applied, (long long)nacked);
    fixture_exec(db, sql);
}

static void put_replica(const char *id, const char *seen)
{
    char sql[200];
    snprintf(sql, sizeof sql, "INSERT INTO replica (id, address, seen) VALUES ('%s', 'x', %s)", id,
             seen);
    fixture_exec(db, sql);
}

static int clear(void **state)
{
    (void)state;
    fixture_exec(db, "DROP TRIGGER IF EXISTS take ON config_head");
    fixture_exec(db, "DELETE FROM node_presence");
    fixture_exec(db, "DELETE FROM replica");
    put_replica("other", "now()");
    return 0;
}

/* What a call says of the nodes; the change itself must be made. */
static void expect_ended(const char *body, const char *ended, int acked, int connected)
{
    json_t *made = admin_ask("POST", "/api/v1/keys", body, 201);
    const json_t *nodes = json_object_get(made, "nodes");
    char path[64];
    assert_non_null(nodes);
    assert_string_equal(json_string_value(json_object_get(nodes, "ended")), ended);
    assert_int_equal(json_integer_value(json_object_get(nodes, "acked")), acked);
    assert_int_equal(json_integer_value(json_object_get(nodes, "connected")), connected);
    snprintf(path, sizeof path, "/api/v1/keys/%s", json_string_value(json_object_get(made, "id")));
    json_decref(admin_ask("GET", path, NULL, 200));
    json_decref(made);
}

/* That one node has not got it. Who waits for less than it takes to read the rows hears of none. */
static void expect_timeout_of_one(void)
{
    long long connected = 0;
    for (unsigned wait_ms = 20; connected == 0; wait_ms *= 2) {
        char body[64];
        assert_true(wait_ms < 20000);
        snprintf(body, sizeof body, "{\"name\":\"k\",\"wait\":\"%ums\"}", wait_ms);
        json_t *made = admin_ask("POST", "/api/v1/keys", body, 201);
        const json_t *nodes = json_object_get(made, "nodes");
        assert_string_equal(json_string_value(json_object_get(nodes, "ended")), "timeout");
        assert_int_equal(json_integer_value(json_object_get(nodes, "acked")), 0);
        connected = json_integer_value(json_object_get(nodes, "connected"));
        json_decref(made);
    }
    assert_int_equal(connected, 1);
}

static void without_nodes_nothing_is_waited_for(void **state)
{
    (void)state;
    expect_ended("{\"name\":\"k\",\"wait\":\"60s\"}", "all", 0, 0);
}

static void a_node_elsewhere_is_waited_for_until_it_has_the_change(void **state)
{
    (void)state;
    put_node("n", "other", true, 0, 0);
    expect_timeout_of_one();
    /* It takes what is published. */
    fixture_exec(db,
                 "CREATE OR REPLACE FUNCTION take() RETURNS trigger LANGUAGE plpgsql AS "
                 "$$BEGIN UPDATE node_presence SET applied = NEW.generation; RETURN NEW; END$$");
    fixture_exec(db, "CREATE TRIGGER take AFTER UPDATE ON config_head FOR EACH ROW "
                     "EXECUTE FUNCTION take()");
    expect_ended("{\"name\":\"k\",\"wait\":\"60s\"}", "all", 1, 1);
    expect_ended("{\"name\":\"k\"}", "all", 1, 1);
}

static void a_node_that_refused_or_is_away_is_not_waited_for(void **state)
{
    (void)state;
    put_replica("dead", "now() - interval '1 hour'");
    put_node("gone", "other", false, 0, 0);
    put_node("lost", "dead", true, 0, 0);
    expect_ended("{\"name\":\"k\",\"wait\":\"60s\"}", "all", 0, 0);
    put_node("has", "other", true, INT32_MAX, 0);
    put_node("refused", "other", true, 0, INT32_MAX);
    expect_ended("{\"name\":\"k\",\"wait\":\"60s\"}", "some", 1, 2);
}

static void who_does_not_wait_is_told_nothing_of_nodes(void **state)
{
    (void)state;
    put_node("n", "other", true, 0, 0);
    json_t *made = admin_ask("POST", "/api/v1/keys", "{\"name\":\"k\",\"wait\":\"0s\"}", 201);
    assert_null(json_object_get(made, "nodes"));
    assert_true(json_integer_value(json_object_get(made, "generation")) > 0);
    json_decref(made);
    made = admin_ask("POST", "/api/v1/keys", "{\"name\":\"k\",\"dry_run\":true}", 200);
    assert_null(json_object_get(made, "nodes"));
    json_decref(made);
    made = admin_ask("POST", "/key/generate", "{\"wait\":\"0s\"}", 200);
    assert_null(json_object_get(made, "nodes"));
    json_decref(made);
}

static void a_wait_is_a_duration_up_to_a_minute_and_only_where_nodes_matter(void **state)
{
    static const char *const bad[] = {"{\"name\":\"k\",\"wait\":\"61s\"}",
                                      "{\"name\":\"k\",\"wait\":\"soon\"}",
                                      "{\"name\":\"k\",\"wait\":5}"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        json_decref(admin_ask("POST", "/api/v1/keys", bad[i], 400));
    json_decref(admin_ask("POST", "/api/v1/spend/reconcile", "{\"wait\":\"1s\"}", 400));
}

/* --- the waits themselves, without a server ------------------------------------------------------
 */

struct pool {
    uv_loop_t loop;
    struct work *work;
    struct spread spread;
    struct admin_config config;
    struct nodes *nodes;
    struct spread_wait waits[SPREAD_WAITS_MAX + 1];
    unsigned ended;
    bool closed;
};

static struct pool *pool_of;

static void on_end(struct spread_wait *wait)
{
    (void)wait;
    pool_of->ended++;
}

static int open_pool(void **state)
{
    static struct pool p;
    (void)clear(state);
    put_node("n", "other", true, 0, 0);
    p = (struct pool){.closed = false};
    uv_loop_init(&p.loop);
    const struct work_config work = {.conninfo = database, .application_name = "test-spread"};
    assert_int_equal(work_create(&p.loop, &work, &p.work), 0);
    p.config = (struct admin_config){.work = p.work, .nodes = &p.nodes};
    spread_init(&p.spread, &p.loop, &p.config);
    for (size_t i = 0; i <= SPREAD_WAITS_MAX; i++)
        p.waits[i] =
            (struct spread_wait){.generation = 5, .wait_ms = SPREAD_WAIT_MAX_MS, .on_end = on_end};
    *state = pool_of = &p;
    return 0;
}

static int close_pool(void **state)
{
    struct pool *p = *state;
    spread_close(&p->spread, fixture_on_closed, &p->closed);
    fixture_run_until(&p->loop, &p->closed);
    fixture_close_work(&p->loop, p->work);
    assert_int_equal(uv_loop_close(&p->loop), 0);
    return 0;
}

static void one_too_many_is_answered_at_once(void **state)
{
    struct pool *p = *state;
    for (size_t i = 0; i < SPREAD_WAITS_MAX; i++)
        spread_begin(&p->spread, &p->waits[i]);
    assert_int_equal(p->ended, 0);
    spread_begin(&p->spread, &p->waits[SPREAD_WAITS_MAX]);
    assert_int_equal(p->ended, 1);
    assert_int_equal(p->waits[SPREAD_WAITS_MAX].end, SPREAD_BUSY);
    assert_int_equal(p->spread.stats.ended[SPREAD_BUSY], 1);
    /* A client that leaves makes room. */
    spread_end(&p->spread, &p->waits[0], SPREAD_GONE);
    assert_int_equal(p->waits[0].end, SPREAD_GONE);
    spread_begin(&p->spread, &p->waits[0]);
    assert_int_equal(p->ended, 2);
    spread_drain(&p->spread);
    assert_int_equal(p->ended, 2 + SPREAD_WAITS_MAX);
    assert_int_equal(p->spread.stats.ended[SPREAD_STOPPING], SPREAD_WAITS_MAX);
}

static void whoever_waits_when_it_stops_is_answered_and_so_is_who_comes_then(void **state)
{
    struct pool *p = *state;
    spread_begin(&p->spread, &p->waits[0]);
    spread_drain(&p->spread);
    assert_int_equal(p->ended, 1);
    assert_int_equal(p->waits[0].end, SPREAD_STOPPING);
    spread_begin(&p->spread, &p->waits[1]);
    assert_int_equal(p->ended, 2);
    assert_int_equal(p->waits[1].end, SPREAD_STOPPING);
}

/* A read that began before the wait may not know of a node that came since. */
static void a_wait_goes_by_a_read_that_began_after_it(void **state)
{
    struct pool *p = *state;
    fixture_exec(db, "DELETE FROM node_presence");
    spread_begin(&p->spread, &p->waits[0]);
    spread_begin(&p->spread, &p->waits[1]);
    assert_int_equal(p->waits[0].reading, 1);
    assert_int_equal(p->waits[1].reading, 2);
    while (p->ended < 2)
        uv_run(&p->loop, UV_RUN_ONCE);
    assert_int_equal(p->waits[0].end, SPREAD_ALL);
    assert_int_equal(p->waits[1].end, SPREAD_ALL);
    assert_int_equal(p->spread.finished, 2);
}

/* What is elsewhere cannot be known: never "all". */
static void without_the_database_a_wait_ends_at_its_limit(void **state)
{
    struct pool *p = *state;
    fixture_exec(db, "ALTER TABLE node_presence RENAME TO hidden");
    p->waits[0].wait_ms = 50;
    spread_begin(&p->spread, &p->waits[0]);
    while (p->ended < 1)
        uv_run(&p->loop, UV_RUN_ONCE);
    fixture_exec(db, "ALTER TABLE hidden RENAME TO node_presence");
    assert_int_equal(p->waits[0].end, SPREAD_TIMEOUT);
}

static int setup(void **state)
{
    (void)state;
    (void)cluster_start();
    database = cluster_database("spread", true);
    admin_fixture_start(database, yaml);
    db = fixture_connect(database);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pq_conn_close(db);
    admin_fixture_stop();
    cluster_stop();
    return 0;
}

#define CLEAN(f)  cmocka_unit_test_setup(f, clear)
#define POOLED(f) cmocka_unit_test_setup_teardown(f, open_pool, close_pool)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLEAN(without_nodes_nothing_is_waited_for),
        CLEAN(a_node_elsewhere_is_waited_for_until_it_has_the_change),
        CLEAN(a_node_that_refused_or_is_away_is_not_waited_for),
        CLEAN(who_does_not_wait_is_told_nothing_of_nodes),
        CLEAN(a_wait_is_a_duration_up_to_a_minute_and_only_where_nodes_matter),
        POOLED(one_too_many_is_answered_at_once),
        POOLED(whoever_waits_when_it_stops_is_answered_and_so_is_who_comes_then),
        POOLED(a_wait_goes_by_a_read_that_began_after_it),
        POOLED(without_the_database_a_wait_ends_at_its_limit),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
