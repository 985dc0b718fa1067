/* Both directions of the link in one process over real gRPC: configuration down, telemetry up. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "control.pb-c.h"
#include "dataplane/telemetry/shipper_internal.h"
#include "dataplane/telemetry/spool_internal.h"
#include "tests/lib/seed.h"
#include "tests/unit/dataplane/planes_fixture.h"

#define NODE_ID "0190a0b0-1111-7222-8333-444455556666"

struct node {
    uv_loop_t *loop;
    char *dir;
    struct rpc_client *client;
    struct snapshot_cell *cell;
    struct snapshot_reader *reader;
    struct sync *sync;
    bool loaded;
    struct spool_set *spools;
    struct shipper *shipper;
    struct spool_recovery recovery;
};

static uint32_t health_ms; /* 0: the default. */
static struct rpc_backoff quick = {.base_ms = 5, .cap_ms = 50};

static void node_start(struct node *n, uv_loop_t *loop, char *dir, const char *address,
                       const struct rpc_tls *tls)
{
    *n = (struct node){.loop = loop, .dir = dir};
    struct err err = {0};
    char spool_dir[600];
    (void)snprintf(spool_dir, sizeof(spool_dir), "%s/spool", dir);
    struct spool_options spool = {.dir = spool_dir,
                                  .spools = 1,
                                  .max_bytes = UINT64_C(1) << 30,
                                  .segment_bytes = 65536,
                                  .sync_ms = 5,
                                  .audit_strict = true};
    if (spool_set_create(&spool, &n->spools, &n->recovery, &err) != 0)
        fail_msg("%s", err.message);
    if (rpc_client_create(loop, address, tls, &n->client, &err) != 0)
        fail_msg("%s", err.message);
    n->cell = snapshot_cell_create(1);
    n->reader = snapshot_cell_reader(n->cell, 0);
    struct sync_options sync = {.loop = loop,
                                .client = n->client,
                                .state_dir = dir,
                                .node_id = NODE_ID,
                                .build = "test",
                                .epoch = spool_epoch(spool_set_spool(n->spools, 0)),
                                .cell = n->cell,
                                .health_ms = health_ms,
                                .backoff = quick};
    if (sync_create(&sync, &n->sync, &n->loaded, &err) != 0)
        fail_msg("%s", err.message);
    struct shipper_options shipper = {.loop = loop,
                                      .client = n->client,
                                      .spools = n->spools,
                                      .node_id = NODE_ID,
                                      .build = "test",
                                      .batch_ms = 5,
                                      .backoff = quick};
    assert_int_equal(shipper_create(&shipper, &n->shipper, &err), 0);
    sync_start(n->sync);
    shipper_start(n->shipper);
}

static void on_closed(void *user)
{
    (*(int *)user)--;
}

static void node_stop(struct node *n)
{
    int open = 2;
    sync_close(n->sync, on_closed, &open);
    shipper_close(n->shipper, on_closed, &open);
    while (open > 0)
        uv_run(n->loop, UV_RUN_ONCE);
    open = 1;
    rpc_client_close(n->client, on_closed, &open);
    while (open > 0)
        uv_run(n->loop, UV_RUN_ONCE);
    spool_set_destroy(n->spools);
    snapshot_reader_close(n->reader);
    snapshot_cell_destroy(n->cell);
}

struct world {
    uv_loop_t loop;
    struct plane plane;
    struct node node;
    char *dir;
};

static int setup(void **state)
{
    struct world *w = mem_zalloc(sizeof(*w));
    assert_int_equal(uv_loop_init(&w->loop), 0);
    plane_init(&w->plane, &w->loop);
    w->dir = temp_dir_make();
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    plane_deinit(&w->plane);
    uv_run(&w->loop, UV_RUN_NOWAIT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    temp_dir_remove(w->dir);
    mem_free(w);
    return 0;
}

/* more: the key of one more resource, or NULL. */
static void publish_with(struct world *w, uint64_t generation, const char *policy, bool disabled,
                         const char *more)
{
    struct buf bodies[3];
    body_catalogue(&bodies[0], policy);
    body_keys(&bodies[1], disabled);
    body_limits(&bodies[2]);
    const char *keys[] = {"catalogue", "keys", "limits", more};
    struct str strs[] = {buf_str(&bodies[0]), buf_str(&bodies[1]), buf_str(&bodies[2]), STR("x")};
    plane_publish(&w->plane, 1, generation, keys, strs, more != NULL ? 4 : 3);
    for (int i = 0; i < 3; i++)
        buf_deinit(&bodies[i]);
}

static void publish(struct world *w, uint64_t generation, const char *policy, bool disabled)
{
    publish_with(w, generation, policy, disabled, NULL);
}

static bool has_accepted(void *arg)
{
    struct plane *p = arg;
    return p->accepted > 0;
}

static bool has_refused(void *arg)
{
    struct plane *p = arg;
    return p->refused > 0;
}

static struct nodes_spread spread_of(const struct world *w, uint64_t generation)
{
    return nodes_spread(w->plane.nodes, generation, 60000);
}

static void a_generation_travels_to_the_node_and_is_acknowledged(void **state)
{
    struct world *w = *state;
    plane_start(&w->plane, NULL, NULL);
    publish(w, 5, "", false);
    node_start(&w->node, &w->loop, w->dir, w->plane.address, NULL);
    assert_false(w->node.loaded);
    assert_null(snapshot_pin(w->node.reader));
    run_until(&w->loop, has_accepted, &w->plane);
    assert_int_equal(w->plane.accepted_generation, 5);
    assert_int_equal(spread_of(w, 5).acked, 1);
    assert_int_equal(spread_of(w, 5).owing, 0);
    assert_int_equal(spread_of(w, 6).acked, 0);
    assert_int_equal(spread_of(w, 6).owing, 1);
    struct nodes_info info;
    nodes_get_info(w->plane.nodes, 0, &info);
    assert_true(nodes_is_connected(w->plane.nodes, str_from(info.node_id)));
    assert_false(nodes_is_connected(w->plane.nodes, STR("another")));
    struct snapshot_pin *pin = snapshot_pin(w->node.reader);
    assert_non_null(pin);
    const struct snapshot *s = pin->snapshot;
    assert_int_equal(s->generation, 5);
    const struct snapshot_route *route = snapshot_route(s, STR("main"));
    assert_non_null(route);
    assert_int_equal(route->candidate_count, 2);
    const struct identity *identity = NULL;
    assert_int_equal(keyring_find(&s->keyring, STR(TEST_KEY), 1, &identity), 0);
    assert_true(snapshot_key_has_model(identity, snapshot_model(s, STR("large"))));
    assert_false(snapshot_key_has_model(identity, snapshot_model(s, STR("small"))));
    /* A revocation reaches requests that start after it; the pinned view stays as it was. */
    publish(w, 6, "", true);
    w->plane.accepted = 0;
    run_until(&w->loop, has_accepted, &w->plane);
    struct snapshot_pin *newer = snapshot_pin(w->node.reader);
    assert_int_equal(newer->snapshot->generation, 6);
    assert_int_equal(keyring_find(&newer->snapshot->keyring, STR(TEST_KEY), 1, &identity),
                     ERR_UNAUTHENTICATED);
    assert_int_equal(keyring_find(&s->keyring, STR(TEST_KEY), 1, &identity), 0);
    snapshot_unpin(newer);
    snapshot_unpin(pin);
    node_stop(&w->node);
    plane_stop(&w->plane);
    /* F1: without a plane a node starts from what it saved. */
    node_start(&w->node, &w->loop, w->dir, w->plane.address, NULL);
    assert_true(w->node.loaded);
    assert_int_equal(snapshot_cell_generation(w->node.cell), 6);
    node_stop(&w->node);
}

static void b42_a_refused_generation_changes_nothing_also_after_a_restart(void **state)
{
    struct world *w = *state;
    plane_start(&w->plane, NULL, NULL);
    publish(w, 1, "", false);
    node_start(&w->node, &w->loop, w->dir, w->plane.address, NULL);
    run_until(&w->loop, has_accepted, &w->plane);
    publish(w, 2, "nowhere", false);
    run_until(&w->loop, has_refused, &w->plane);
    assert_string_equal(w->plane.last_code, "REFERENCE");
    assert_string_equal(w->plane.last_key, "catalogue");
    assert_int_equal(snapshot_cell_generation(w->node.cell), 1);
    node_stop(&w->node);
    plane_stop(&w->plane);
    node_start(&w->node, &w->loop, w->dir, w->plane.address, NULL);
    assert_true(w->node.loaded);
    assert_int_equal(snapshot_cell_generation(w->node.cell), 1);
    node_stop(&w->node);
}

static bool is_acked(void *arg)
{
    struct world *w = arg;
    return spread_of(w, 2).acked == 1;
}

static bool key_works(struct node *n)
{
    const struct identity *identity;
    struct snapshot_pin *pin = snapshot_pin(n->reader);
    int rc = keyring_find(&pin->snapshot->keyring, STR(TEST_KEY), 1, &identity);
    snapshot_unpin(pin);
    return rc == 0;
}

static void a_revocation_is_served_at_once_and_acknowledged_when_it_is_on_disk(void **state)
{
    struct world *w = *state;
    char bodies[600], aside[600];
    health_ms = 10;
    plane_start(&w->plane, NULL, NULL);
    publish(w, 1, "", false);
    node_start(&w->node, &w->loop, w->dir, w->plane.address, NULL);
    run_until(&w->loop, has_accepted, &w->plane);
    assert_true(key_works(&w->node));
    /* A disk that refuses: what should be a directory is none. */
    (void)snprintf(bodies, sizeof bodies, "%s/snapshot/bodies", w->dir);
    (void)snprintf(aside, sizeof aside, "%s/snapshot/aside", w->dir);
    assert_int_equal(rename(bodies, aside), 0);
    assert_int_equal(buf_write_file(STR("x"), bodies, 0600, NULL), 0);
    publish(w, 2, "", true); /* Sent at once; the answer is not read before the loop turns. */
    assert_int_equal(spread_of(w, 2).owing, 1);
    assert_int_equal(nodes_spread(w->plane.nodes, 2, 0).owing, 0); /* Too long: silent. */
    run_until(&w->loop, has_refused, &w->plane);
    assert_string_equal(w->plane.last_code, "DISK");
    assert_false(key_works(&w->node));
    assert_int_equal(spread_of(w, 2).connected, 1);
    assert_int_equal(spread_of(w, 2).acked, 0);
    assert_int_equal(spread_of(w, 2).owing, 0);
    assert_int_equal(unlink(bodies), 0);
    assert_int_equal(rename(aside, bodies), 0);
    run_until(&w->loop, is_acked, w);
    node_stop(&w->node);
    plane_stop(&w->plane);
    /* Without a plane. */
    node_start(&w->node, &w->loop, w->dir, w->plane.address, NULL);
    assert_true(w->node.loaded);
    assert_false(key_works(&w->node));
    node_stop(&w->node);
    health_ms = 0;
}

/* ---- eight nodes ---- */

#define CORES 8

struct core { /* A node without its spool. */
    char *dir;
    char id[40];
    struct rpc_client *client;
    struct snapshot_cell *cell;
    struct sync *sync;
};

static void core_start(struct core *n, unsigned number, struct world *w)
{
    struct err err = {0};
    bool loaded;
    n->dir = temp_dir_make();
    (void)snprintf(n->id, sizeof n->id, "0190a0b0-1111-7222-8333-4444555566%02x", number);
    assert_int_equal(rpc_client_create(&w->loop, w->plane.address, NULL, &n->client, &err), 0);
    n->cell = snapshot_cell_create(0);
    struct sync_options sync = {.loop = &w->loop,
                                .client = n->client,
                                .state_dir = n->dir,
                                .node_id = n->id,
                                .build = "test",
                                .cell = n->cell,
                                .backoff = quick};
    if (sync_create(&sync, &n->sync, &loaded, &err) != 0)
        fail_msg("%s", err.message);
    sync_start(n->sync);
}

static void core_stop(struct core *n, struct world *w)
{
    int open = 1;
    sync_close(n->sync, on_closed, &open);
    while (open > 0)
        uv_run(&w->loop, UV_RUN_ONCE);
    open = 1;
    rpc_client_close(n->client, on_closed, &open);
    while (open > 0)
        uv_run(&w->loop, UV_RUN_ONCE);
    snapshot_cell_destroy(n->cell);
    temp_dir_remove(n->dir);
}

struct wanted {
    struct world *w;
    uint64_t generation;
};

static bool all_acked(void *arg)
{
    const struct wanted *wanted = arg;
    return spread_of(wanted->w, wanted->generation).acked == CORES;
}

/* The debounce is an hour here: what arrives did not wait for it. Of one update and one answer for
 * each node there is nothing to take away; how long that takes is printed, not judged. */
static void a_revocation_reaches_eight_nodes_in_one_exchange_without_debounce(void **state)
{
    struct world *w = *state;
    struct core cores[CORES];
    w->plane.debounce_ms = 3600000;
    plane_start(&w->plane, NULL, NULL);
    publish(w, 1, "", false);
    for (unsigned i = 0; i < CORES; i++)
        core_start(&cores[i], i, w);
    struct wanted wanted = {.w = w, .generation = 1};
    run_until(&w->loop, all_acked, &wanted);
    /* A catalogue waits. */
    w->plane.accepted = 0;
    publish_with(w, 2, "", false, "prompt/greeting");
    for (int turns = 0; turns < 20; turns++)
        uv_run(&w->loop, UV_RUN_NOWAIT);
    assert_int_equal(w->plane.accepted, 0);
    /* A revocation does not, and brings along what waited. */
    uint64_t from_ns = clock_mono_ns();
    publish_with(w, 3, "", true, "prompt/greeting");
    wanted.generation = 3;
    run_until(&w->loop, all_acked, &wanted);
    print_message("8 nodes acknowledged after %.1f ms\n",
                  (double)(clock_mono_ns() - from_ns) / 1e6);
    assert_int_equal(w->plane.accepted, CORES);
    assert_int_equal(w->plane.refused, 0);
    for (unsigned i = 0; i < CORES; i++) {
        const struct identity *identity;
        const struct snapshot *s = snapshot_cell_current(cores[i].cell);
        assert_int_equal(keyring_find(&s->keyring, STR(TEST_KEY), 1, &identity),
                         ERR_UNAUTHENTICATED);
    }
    for (unsigned i = 0; i < CORES; i++)
        core_stop(&cores[i], w);
    plane_stop(&w->plane);
}

static void write_samples(struct node *n, uint32_t from, uint32_t to)
{
    static struct sample s;
    struct spool *spool = spool_set_spool(n->spools, 0);
    for (uint32_t i = from; i < to; i++) {
        sample_init(&s, i);
        struct spool_intent *intent = NULL;
        assert_int_equal(spool_intent(spool, &s.d, &s.attempts[0], &intent, NULL), 0);
        spool_outcome(spool, intent, &s.o, NULL);
    }
}

static bool all_stored(void *arg)
{
    struct world *w = arg;
    return w->plane.stored + w->plane.gap_records >= 1000;
}

static void check_once(struct world *w, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (w->plane.rows[i] != 1)
            fail_msg("record %u was stored %u times", i, w->plane.rows[i]);
}

static void records_travel_once_and_segments_go_when_acknowledged(void **state)
{
    struct world *w = *state;
    plane_start(&w->plane, NULL, NULL);
    node_start(&w->node, &w->loop, w->dir, w->plane.address, NULL);
    write_samples(&w->node, 0, 1000);
    run_until(&w->loop, all_stored, w);
    check_once(w, 1000);
    assert_int_equal(w->plane.gaps, 0);
    node_stop(&w->node);
    plane_stop(&w->plane);
}

#define BACKLOG 8000U

/* A batch may end with a record that goes beyond its size. */
static bool backlog_stored(void *arg)
{
    struct world *w = arg;
    const struct rpc_stream *stream = rpc_keep_stream(w->node.shipper->keep);
    assert_true(stream == NULL ||
                rpc_stream_queued_bytes(stream) <= SHIPPER_BATCH_BYTES + 2 * RECORD_BYTES_MAX);
    return w->plane.stored >= BACKLOG;
}

static void a_backlog_goes_out_batch_after_batch(void **state)
{
    struct world *w = *state;
    w->plane.ready = false;
    plane_start(&w->plane, NULL, NULL);
    node_start(&w->node, &w->loop, w->dir, w->plane.address, NULL);
    for (uint32_t i = 0; i < BACKLOG; i += 1000) {
        write_samples(&w->node, i, i + 1000);
        spool_set_sync(w->node.spools);
    }
    w->plane.ready = true;
    run_until(&w->loop, backlog_stored, w);
    check_once(w, BACKLOG);
    assert_int_equal(w->plane.gaps, 0);
    struct shipper_status status;
    shipper_get_status(w->node.shipper, &status);
    assert_int_equal(status.sent_records, BACKLOG); /* None of them twice. */
    node_stop(&w->node);
    plane_stop(&w->plane);
}

static uint64_t seeded(void)
{
    return rand_u64();
}

static void f2_f9_no_record_is_lost_or_doubled_by_a_plane_that_fails(void **state)
{
    struct world *w = *state;
    rand_seed_thread(test_seed(20261121));
    w->plane.random = seeded;
    w->plane.lose_one_in = 6;
    w->plane.busy_one_in = 5;
    w->plane.delay_ms_max = 8;
    plane_start(&w->plane, NULL, NULL);
    node_start(&w->node, &w->loop, w->dir, w->plane.address, NULL);
    char address[64];
    memcpy(address, w->plane.address, sizeof(address));
    for (uint32_t round = 0; round < 10; round++) {
        write_samples(&w->node, round * 100, round * 100 + 100);
        uint64_t turns = 5 + rand_below(60);
        for (uint64_t i = 0; i < turns; i++)
            uv_run(&w->loop, UV_RUN_ONCE);
        if (round % 3 == 1) {
            plane_stop(&w->plane); /* A new replica on the same address, with the same store. */
            plane_start(&w->plane, address, NULL);
        }
        if (round % 4 == 2) {
            node_stop(&w->node);
            node_start(&w->node, &w->loop, w->dir, address, NULL);
        }
    }
    run_until(&w->loop, all_stored, w);
    check_once(w, 1000);
    assert_int_equal(w->plane.gaps, 0);
    node_stop(&w->node);
    plane_stop(&w->plane);
}

static bool seq_regressed(void *arg)
{
    struct world *w = arg;
    return w->plane.epochs[0].next_seq == 502;
}

static bool has_five_hundred(void *arg)
{
    struct world *w = arg;
    return w->plane.stored >= 500;
}

static void records_are_sent_again_when_the_database_forgot_them(void **state)
{
    struct world *w = *state;
    plane_start(&w->plane, NULL, NULL);
    node_start(&w->node, &w->loop, w->dir, w->plane.address, NULL);
    write_samples(&w->node, 0, 499);
    write_samples(&w->node, 499, 500);
    run_until(&w->loop, has_five_hundred, w);
    w->plane.epochs[0].next_seq = 101; /* A failover lost the last 400 rows ... */
    write_samples(&w->node, 500, 501); /* ... as the next batch finds out. */
    memset(w->plane.rows + 100, 0, 400);
    w->plane.stored = 100;
    run_until(&w->loop, has_five_hundred, w);
    run_until(&w->loop, seq_regressed, w);
    check_once(w, 501);
    node_stop(&w->node);
    plane_stop(&w->plane);
}

/* All there is to ship may be shipped, and the plane has answered. */
static bool waits_for_credit(void *arg)
{
    struct world *w = arg;
    struct shipper_status status;
    shipper_get_status(w->node.shipper, &status);
    return status.connected && atomic_load(&spool_set_spool(w->node.spools, 0)->synced_seq) == 1001;
}

static void no_credit_means_no_records(void **state)
{
    struct world *w = *state;
    w->plane.ready = false;
    plane_start(&w->plane, NULL, NULL);
    node_start(&w->node, &w->loop, w->dir, w->plane.address, NULL);
    write_samples(&w->node, 0, 1000);
    run_until(&w->loop, waits_for_credit, w);
    for (int turns = 0; turns < 30; turns++) /* For "nothing happens": most are a batch timer's. */
        uv_run(&w->loop, UV_RUN_ONCE);
    struct shipper_status status;
    shipper_get_status(w->node.shipper, &status);
    assert_int_equal(status.sent_records, 0);
    w->plane.ready = true;
    run_until(&w->loop, all_stored, w);
    check_once(w, 1000);
    node_stop(&w->node);
    plane_stop(&w->plane);
}

/* The debounce is for catalogues; who may come in does not wait for it. */
static struct nodes_resources *generation_of(const char *const *texts, size_t count)
{
    struct nodes_resources *r = nodes_resources_create(1, 1, NULL, NULL);
    for (size_t i = 0; i < count; i += 2) {
        struct nodes_resource item = {.key = str_from(texts[i]), .version = str_from(texts[i + 1])};
        item.type = str_starts(item.key, STR("keys/"))
                        ? STEELYARD__CONTROL__V1__RESOURCE_TYPE__RESOURCE_KEYS
                        : STEELYARD__CONTROL__V1__RESOURCE_TYPE__RESOURCE_CATALOGUE;
        assert_int_equal(nodes_resources_add(r, &item), 0);
    }
    return r;
}

static void keys_skip_the_debounce_also_when_a_generation_was_skipped(void **state)
{
    (void)state;
    static const char *const texts[][6] = {
        {"catalogue", "1", "keys/00", "a", "keys/ff", "b"},
        {"catalogue", "2", "keys/00", "a", "keys/ff", "b"},
        {"catalogue", "2", "keys/00", "c", "keys/ff", "b"},
        {"catalogue", "2", "keys/00", "a"},
    };
    struct nodes_resources *g[4];
    for (size_t i = 0; i < 4; i++)
        g[i] = generation_of(texts[i], i == 3 ? 4 : 6);
    assert_true(nodes_resources_urgent(NULL, g[0]));
    assert_false(nodes_resources_urgent(g[0], g[1]));
    assert_true(nodes_resources_urgent(g[0], g[2]));
    assert_true(nodes_resources_urgent(g[1], g[3])); /* The last key of a shard went. */
    assert_true(nodes_resources_urgent(g[3], g[1]));
    for (size_t i = 0; i < 4; i++)
        nodes_resources_unref(g[i]);
}

int main(void)
{
    rpc_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_skip_the_debounce_also_when_a_generation_was_skipped),
        cmocka_unit_test_setup_teardown(a_generation_travels_to_the_node_and_is_acknowledged, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            b42_a_refused_generation_changes_nothing_also_after_a_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_revocation_is_served_at_once_and_acknowledged_when_it_is_on_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_revocation_reaches_eight_nodes_in_one_exchange_without_debounce, setup, teardown),
        cmocka_unit_test_setup_teardown(records_travel_once_and_segments_go_when_acknowledged,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_backlog_goes_out_batch_after_batch, setup, teardown),
        cmocka_unit_test_setup_teardown(f2_f9_no_record_is_lost_or_doubled_by_a_plane_that_fails,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(records_are_sent_again_when_the_database_forgot_them, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(no_credit_means_no_records, setup, teardown),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    rpc_shutdown();
    return rc;
}
