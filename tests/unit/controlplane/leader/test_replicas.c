/* Rows of control planes and of the nodes connected to them, against a real server. */
#include "controlplane/replicas/replicas.h"

#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "tests/lib/fault.h"
#include "tests/unit/controlplane/fixture.h"

struct side {
    struct work *work;
    struct replicas *replicas;
    struct replicas_node nodes[3];
    size_t count;
};

static bool node_at(void *arg, size_t index, struct replicas_node *out_node)
{
    const struct side *s = arg;
    if (index >= s->count)
        return false;
    *out_node = s->nodes[index];
    return true;
}

static void put(struct side *s, size_t at, const char *id, bool connected, uint64_t applied)
{
    s->nodes[at] = (struct replicas_node){.connected = connected,
                                          .applied = applied,
                                          .epoch = UINT64_MAX,
                                          .seen_us = clock_wall_us()};
    (void)snprintf(s->nodes[at].node_id, sizeof s->nodes[at].node_id, "%s", id);
    (void)snprintf(s->nodes[at].build, sizeof s->nodes[at].build, "b\"\xff");
    if (s->count <= at)
        s->count = at + 1;
}

static void open_side(uv_loop_t *loop, struct side *s, const char *db, const char *id)
{
    struct err err = {0};
    const struct work_config work = {.conninfo = db, .application_name = "test-replicas"};
    assert_int_equal(work_create(loop, &work, &s->work), 0);
    const struct replicas_config config = {.work = s->work,
                                           .id = id,
                                           .address = "127.0.0.1:1",
                                           .build = "test",
                                           .every_ms = 5,
                                           .node_at = node_at,
                                           .arg = s};
    assert_int_equal(replicas_start(loop, &config, &s->replicas, &err), 0);
}

static void close_side(uv_loop_t *loop, struct side *s)
{
    bool closed = false;
    replicas_close(s->replicas, fixture_on_closed, &closed);
    fixture_run_until(loop, &closed);
    fixture_close_work(loop, s->work);
}

static void wait_for(uv_loop_t *loop, struct pq_conn *c, uint64_t generation, uint64_t acked,
                     uint64_t connected)
{
    uint64_t a = UINT64_MAX, n = UINT64_MAX;
    struct err err = {0};
    while (a != acked || n != connected) {
        uv_run(loop, UV_RUN_ONCE);
        assert_int_equal(replicas_acked(c, generation, &a, &n, &err), 0);
    }
}

static void a_node_belongs_to_the_replica_that_it_is_connected_to(void **state)
{
    uv_loop_t loop;
    struct side a = {0}, b = {0};
    struct pq_conn *c = fixture_connect(*state);
    struct replicas_node *nodes = NULL;
    size_t count = 0;
    struct err err = {0};
    uv_loop_init(&loop);
    put(&a, 0, "one", true, 5);
    put(&a, 1, "two", true, 4);
    open_side(&loop, &a, *state, "a");
    open_side(&loop, &b, *state, "b");
    wait_for(&loop, c, 5, 1, 2);
    /* Node two moves: b sees it before a sees that it went. */
    put(&b, 0, "two", true, 5);
    wait_for(&loop, c, 5, 2, 2);
    a.nodes[1].connected = false;
    for (unsigned i = 0; i < 20; i++)
        uv_run(&loop, UV_RUN_ONCE);
    wait_for(&loop, c, 5, 2, 2);
    assert_int_equal(replicas_nodes(c, &nodes, &count, &err), 0);
    assert_int_equal(count, 2);
    assert_string_equal(nodes[0].node_id, "one");
    assert_string_equal(nodes[0].build, "?"); /* No text that the database could not hold. */
    assert_true(nodes[0].epoch == UINT64_MAX);
    assert_string_equal(nodes[1].replica, "b");
    assert_true(nodes[1].connected);
    mem_free(nodes);
    /* A replica that dies is not seen any more: its nodes count as not connected. */
    close_side(&loop, &b);
    wait_for(&loop, c, 5, 1, 1);
    close_side(&loop, &a);
    fixture_exec(c, "INSERT INTO replica (id, address, seen) VALUES ('dead', '', now() - interval "
                    "'31 s'); INSERT INTO node_presence (node_id, replica, connected, applied) "
                    "VALUES ('three', 'dead', true, 9)");
    wait_for(&loop, c, 5, 0, 0);
    assert_int_equal(uv_loop_close(&loop), 0);
    pq_conn_close(c);
}

static int setup(void **state)
{
    cluster_start();
    *state = (void *)(uintptr_t)cluster_database("replicas", true);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_belongs_to_the_replica_that_it_is_connected_to),
    };
    return cmocka_run_group_tests(tests, setup, fixture_stop_cluster);
}
