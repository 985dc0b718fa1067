/* Waves, watches and aborts between the plane's nodes server and nodes' sync. The pure part first,
 * on a clock of integers. */
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/link/wire.h"
#include "control.pb-c.h"
#include "controlplane/nodes/wave.h"
#include "dataplane/state/rollouts.h"
#include "tests/unit/dataplane/planes_fixture.h"

/* ---- the simulation ---- */

#define FLEET_MAX  300
#define HEALTHY_MS 30000U

struct fleet {
    size_t count;
    enum wave_step step;
    uint64_t wait_until_ms;
    struct {
        bool connected, holds;
        uint64_t since_ms;
    } nodes[FLEET_MAX];
};

static struct wave_census census(const struct fleet *f, uint64_t now_ms)
{
    struct wave_census c = {.waiting = now_ms < f->wait_until_ms};
    for (size_t i = 0; i < f->count; i++) {
        bool holds = f->nodes[i].connected && f->nodes[i].holds;
        c.connected += f->nodes[i].connected;
        c.holding += holds;
        c.settled += holds && now_ms - f->nodes[i].since_ms >= HEALTHY_MS;
    }
    return c;
}

static void turn(struct fleet *f, uint64_t now_ms)
{
    struct wave_census c = census(f, now_ms);
    f->step = wave_next(f->step, &c);
    size_t room = wave_room(f->step, &c);
    for (size_t i = 0; i < f->count && room > 0; i++) {
        if (!f->nodes[i].connected || f->nodes[i].holds)
            continue;
        f->nodes[i].holds = true;
        f->nodes[i].since_ms = now_ms;
        room--;
    }
}

static size_t holders(const struct fleet *f)
{
    size_t n = 0;
    for (size_t i = 0; i < f->count; i++)
        n += f->nodes[i].holds;
    return n;
}

static void fleet_of(struct fleet *f, size_t count)
{
    memset(f, 0, sizeof *f);
    f->count = count;
    for (size_t i = 0; i < count; i++)
        f->nodes[i].connected = true;
}

static void a_candidate_reaches_one_node_then_a_tenth_then_all(void **state)
{
    (void)state;
    static struct fleet f;
    static const struct {
        size_t count, tenth;
    } sizes[] = {{1, 1}, {2, 1}, {4, 1}, {10, 1}, {11, 2}, {25, 3}, {300, 30}};
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        size_t tenth = sizes[k].tenth;
        fleet_of(&f, sizes[k].count);
        for (uint64_t ms = 0; ms <= 3 * HEALTHY_MS; ms += 50) {
            turn(&f, ms);
            /* Where one node is a tenth already, the second wait is the first. */
            size_t bound = ms < HEALTHY_MS ? 1 : tenth > 1 && ms < 2 * HEALTHY_MS ? tenth : f.count;
            assert_true(holders(&f) <= bound);
            if (ms == HEALTHY_MS - 50)
                assert_int_equal(holders(&f), 1);
            if (tenth > 1 && ms == 2 * HEALTHY_MS - 50)
                assert_int_equal(holders(&f), tenth);
        }
        assert_int_equal(f.step, WAVE_ALL);
        assert_int_equal(holders(&f), f.count);
    }
}

static void a_node_that_dies_of_it_again_and_again_lets_nobody_else_have_it(void **state)
{
    (void)state;
    static struct fleet f;
    fleet_of(&f, 20);
    for (uint64_t ms = 0; ms <= 20 * HEALTHY_MS; ms += 50) {
        /* Down every 20 s for one second; it comes back with what it had. */
        bool down = ms % 20000 >= 19000;
        if (f.nodes[0].connected && down)
            f.nodes[0].connected = false, f.wait_until_ms = ms + 2 * HEALTHY_MS;
        if (!f.nodes[0].connected && !down) {
            f.nodes[0].connected = true;
            f.nodes[0].since_ms = ms;
        }
        turn(&f, ms);
        assert_int_equal(f.step, WAVE_ONE);
    }
    assert_int_equal(holders(&f), 1);
}

static void a_stopped_wave_reaches_nobody_more(void **state)
{
    (void)state;
    static struct fleet f;
    fleet_of(&f, 20);
    turn(&f, 0);
    f.step = WAVE_STOPPED;
    for (uint64_t ms = 0; ms <= 3 * HEALTHY_MS; ms += 50)
        turn(&f, ms);
    assert_int_equal(f.step, WAVE_STOPPED);
    assert_int_equal(holders(&f), 1);
}

static void without_nodes_a_wave_waits(void **state)
{
    (void)state;
    const struct wave_census none = {0};
    assert_int_equal(wave_next(WAVE_ONE, &none), WAVE_ONE);
    assert_int_equal(wave_room(WAVE_ALL, &none), 0);
}

/* ---- over streams ---- */

#define CORES   4
#define ROLLOUT UINT64_C(1700000000123)

struct core {
    char *dir;
    char id[40];
    struct rpc_client *client;
    struct snapshot_cell *cell;
    struct sync *sync;
};

struct world {
    uv_loop_t loop;
    struct plane plane;
    struct core cores[CORES];
};

static const struct rpc_backoff quick = {.base_ms = 2, .cap_ms = 40};

static void on_closed(void *user)
{
    --*(int *)user;
}

static void core_open(struct core *n, struct world *w)
{
    struct err err = {0};
    bool loaded;
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
}

static void core_start(struct core *n, unsigned number, struct world *w)
{
    n->dir = temp_dir_make();
    (void)snprintf(n->id, sizeof n->id, "0190a0b0-1111-7222-8333-4444555577%02x", number);
    core_open(n, w);
    sync_start(n->sync);
}

static void core_close(struct core *n, struct world *w)
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
}

static void core_stop(struct core *n, struct world *w)
{
    core_close(n, w);
    temp_dir_remove(n->dir);
}

static void pack_params(struct buf *out, uint64_t version, const char *artifact)
{
    Steelyard__Control__V1__Params p = STEELYARD__CONTROL__V1__PARAMS__INIT;
    p.policy = wire_text("best");
    p.version = version;
    if (artifact != NULL)
        p.artifact_sha256 =
            (ProtobufCBinaryData){.len = 32, .data = (uint8_t *)(uintptr_t)artifact};
    buf_init(out, SIZE_MAX);
    assert_int_equal(wire_pack(&p.base, out), 0);
}

static void pack_rollout(struct buf *out, const struct buf *stable, const struct buf *candidate,
                         uint32_t stage)
{
    static uint8_t salt[16];
    char hex[2][SHA256_HEX_BYTES];
    struct sha256 sum = digest_sha256(stable->data, stable->len);
    hex_encode(sum.bytes, SHA256_BYTES, hex[0]);
    sum = digest_sha256(candidate->data, candidate->len);
    hex_encode(sum.bytes, SHA256_BYTES, hex[1]);
    Steelyard__Control__V1__Rollout m = STEELYARD__CONTROL__V1__ROLLOUT__INIT;
    m.id = ROLLOUT;
    m.policy = wire_text("best");
    m.state = STEELYARD__CONTROL__V1__ROLLOUT_STATE__ROLLOUT_CANARY;
    m.stage = stage;
    m.pct_bp = 2500;
    m.salt = (ProtobufCBinaryData){.len = sizeof salt, .data = salt};
    m.stable_params = hex[0];
    m.candidate_params = hex[1];
    buf_init(out, SIZE_MAX);
    assert_int_equal(wire_pack(&m.base, out), 0);
}

enum what { STABLE, CANDIDATE, BAD_CANDIDATE };

/* stage 0: nothing but the stable version. */
static void publish(struct world *w, uint64_t generation, enum what what, uint32_t stage,
                    bool key_disabled)
{
    struct buf catalogue, keys, limits, params, next, rollout;
    static const char nowhere[32] = "no such artifact is known here.";
    body_catalogue(&catalogue, "best");
    body_keys(&keys, key_disabled);
    body_limits(&limits);
    pack_params(&params, 1, NULL);
    pack_params(&next, 2, what == BAD_CANDIDATE ? nowhere : NULL);
    pack_rollout(&rollout, &params, &next, stage);
    const char *names[] = {"catalogue",   "keys", "limits", "params/best", "params/best/candidate",
                           "rollout/best"};
    const struct str bodies[] = {buf_str(&catalogue), buf_str(&keys), buf_str(&limits),
                                 buf_str(&params),    buf_str(&next), buf_str(&rollout)};
    plane_publish(&w->plane, 1, generation, names, bodies, what == STABLE ? 4 : 6);
    struct buf *all[] = {&catalogue, &keys, &limits, &params, &next, &rollout};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        buf_deinit(all[i]);
}

static bool key_works(const struct core *n)
{
    const struct identity *who;
    struct snapshot *s = snapshot_cell_current(n->cell);
    return s != NULL && keyring_find(&s->keyring, STR(TEST_KEY), clock_wall_us(), &who) == 0;
}

static const struct snapshot_rollout *rollout_of(const struct core *n)
{
    struct snapshot *s = snapshot_cell_current(n->cell);
    return s != NULL && s->rollout_count > 0 ? &s->rollouts[0] : NULL;
}

static bool serves(const struct core *n)
{
    const struct snapshot_rollout *r = rollout_of(n);
    return r != NULL && snapshot_rollout_open(r);
}

static size_t cores_with(const struct world *w, bool (*is)(const struct core *n))
{
    size_t count = 0;
    for (size_t i = 0; i < CORES; i++)
        count += is(&w->cores[i]);
    return count;
}

static bool all_serve(void *arg)
{
    return cores_with(arg, serves) == CORES;
}

static bool none_serves(void *arg)
{
    return cores_with(arg, serves) == 0;
}

static bool one_serves(void *arg)
{
    return cores_with(arg, serves) == 1;
}

static bool no_key_works(void *arg)
{
    return cores_with(arg, key_works) == 0;
}

static bool all_keys_work(void *arg)
{
    return cores_with(arg, key_works) == CORES;
}

static bool wave_is_refused(void *arg)
{
    return ((struct world *)arg)->plane.waves_refused > 0;
}

static int setup(void **state)
{
    static struct world w;
    memset(&w, 0, sizeof w);
    assert_int_equal(uv_loop_init(&w.loop), 0);
    plane_init(&w.plane, &w.loop);
    *state = &w;
    return 0;
}

static void begin(struct world *w, uint32_t healthy_ms)
{
    w->plane.wave_healthy_ms = healthy_ms;
    plane_start(&w->plane, NULL, NULL);
    publish(w, 1, STABLE, 0, false);
    for (unsigned i = 0; i < CORES; i++)
        core_start(&w->cores[i], i, w);
    run_until(&w->loop, all_keys_work, w);
}

static void end(struct world *w)
{
    for (unsigned i = 0; i < CORES; i++)
        core_stop(&w->cores[i], w);
    plane_stop(&w->plane);
}

static int teardown(void **state)
{
    struct world *w = *state;
    plane_deinit(&w->plane);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    return 0;
}

static void a_rollout_is_with_all_nodes_once_their_wave_has_come(void **state)
{
    struct world *w = *state;
    begin(w, 200);
    publish(w, 2, CANDIDATE, 1, false);
    run_until(&w->loop, one_serves, w); /* Never two before: run_until looks after each turn. */
    run_until(&w->loop, all_serve, w);
    /* A later stage is with all of them without a wave. */
    publish(w, 3, CANDIDATE, 2, false);
    struct str key = STR("rollout/best");
    const struct nodes_resource *r = nodes_resources_find(w->plane.resources, key);
    while (nodes_holding(w->plane.nodes, key, r->version) < CORES)
        uv_run(&w->loop, UV_RUN_ONCE);
    for (size_t i = 0; i < CORES; i++)
        assert_int_equal(rollout_of(&w->cores[i])->stage, 2);
    assert_int_equal(w->plane.refused, 0);
    end(w);
}

static void nothing_else_waits_for_a_wave(void **state)
{
    struct world *w = *state;
    begin(w, 3600000);
    publish(w, 2, CANDIDATE, 1, false);
    run_until(&w->loop, one_serves, w);
    publish(w, 3, CANDIDATE, 1, true);
    run_until(&w->loop, no_key_works, w);
    assert_int_equal(cores_with(w, serves), 1); /* It goes on meanwhile. */
    end(w);
}

static void b42_a_refused_candidate_reaches_one_node_and_keeps_nothing_else_away(void **state)
{
    struct world *w = *state;
    begin(w, 50);
    /* With a revocation in the same generation. */
    publish(w, 2, BAD_CANDIDATE, 1, true);
    run_until(&w->loop, wave_is_refused, w);
    run_until(&w->loop, no_key_works, w);
    assert_string_equal(w->plane.last_policy, "best");
    assert_string_equal(w->plane.last_code, "REFERENCE");
    /* Whatever follows, nobody else is asked. */
    publish(w, 3, BAD_CANDIDATE, 1, false);
    run_until(&w->loop, all_keys_work, w);
    assert_int_equal(w->plane.refused, 1);
    assert_int_equal(w->plane.waves_refused, 1);
    /* Withdrawn, and a good one instead: a new wave. */
    publish(w, 4, CANDIDATE, 1, false);
    run_until(&w->loop, all_serve, w);
    assert_int_equal(w->plane.waves_refused, 1);
    end(w);
}

static void an_abort_is_heard_at_once_and_by_who_comes_later(void **state)
{
    struct world *w = *state;
    begin(w, 1);
    publish(w, 2, CANDIDATE, 1, false);
    run_until(&w->loop, all_serve, w);
    core_close(&w->cores[0], w); /* It does not hear it. */
    nodes_abort(w->plane.nodes, ROLLOUT);
    core_open(&w->cores[0], w);
    assert_true(serves(&w->cores[0])); /* From disk, within its ttl. */
    sync_start(w->cores[0].sync);
    run_until(&w->loop, none_serves, w);
    struct sync_status status;
    sync_get_status(w->cores[0].sync, &status);
    assert_int_equal(status.rollouts_aborted, 1);
    assert_int_equal(status.rollouts_open, 0);
    /* Remembered: not from disk again, and not by another stage. */
    core_close(&w->cores[0], w);
    core_open(&w->cores[0], w);
    assert_false(serves(&w->cores[0]));
    sync_start(w->cores[0].sync);
    const uint64_t ids[] = {ROLLOUT};
    nodes_watch(w->plane.nodes, ids, 1);
    publish(w, 3, CANDIDATE, 2, true);
    run_until(&w->loop, no_key_works, w);
    assert_int_equal(cores_with(w, serves), 0);
    end(w);
}

static void a_canary_reverts_when_nobody_watches_and_comes_back_when_somebody_does(void **state)
{
    struct world *w = *state;
    const uint64_t ids[] = {1, ROLLOUT};
    w->plane.rollout_ttl_s = 1;
    begin(w, 1);
    nodes_watch(w->plane.nodes, ids, 2);
    publish(w, 2, CANDIDATE, 1, false);
    run_until(&w->loop, all_serve, w);
    /* Watched with each heartbeat, five a second, it outlives its ttl. */
    for (uint64_t from_ms = clock_mono_ms(); clock_mono_ms() - from_ms < 1500;)
        uv_run(&w->loop, UV_RUN_ONCE);
    for (size_t i = 0; i < CORES; i++)
        assert_true(rollout_of(&w->cores[i]) != NULL);
    run_until(&w->loop, all_serve, w);
    nodes_watch(w->plane.nodes, NULL, 0);
    run_until(&w->loop, none_serves, w);
    struct sync_status status;
    sync_get_status(w->cores[0].sync, &status);
    assert_true(status.rollouts_expired >= 1);
    nodes_watch(w->plane.nodes, ids, 2);
    run_until(&w->loop, all_serve, w);
    end(w);
}

static void a_node_without_a_plane_does_not_serve_a_canary_whose_ttl_is_over(void **state)
{
    struct world *w = *state;
    w->plane.rollout_ttl_s = 1;
    begin(w, 1);
    publish(w, 2, CANDIDATE, 1, false);
    run_until(&w->loop, all_serve, w);
    run_until(&w->loop, none_serves, w);
    core_close(&w->cores[0], w);
    core_open(&w->cores[0], w);
    assert_non_null(rollout_of(&w->cores[0]));
    assert_false(serves(&w->cores[0]));
    end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_candidate_reaches_one_node_then_a_tenth_then_all),
        cmocka_unit_test(a_node_that_dies_of_it_again_and_again_lets_nobody_else_have_it),
        cmocka_unit_test(a_stopped_wave_reaches_nobody_more),
        cmocka_unit_test(without_nodes_a_wave_waits),
        cmocka_unit_test_setup_teardown(a_rollout_is_with_all_nodes_once_their_wave_has_come, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(nothing_else_waits_for_a_wave, setup, teardown),
        cmocka_unit_test_setup_teardown(
            b42_a_refused_candidate_reaches_one_node_and_keeps_nothing_else_away, setup, teardown),
        cmocka_unit_test_setup_teardown(an_abort_is_heard_at_once_and_by_who_comes_later, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            a_canary_reverts_when_nobody_watches_and_comes_back_when_somebody_does, setup,
            teardown),
        cmocka_unit_test_setup_teardown(
            a_node_without_a_plane_does_not_serve_a_canary_whose_ttl_is_over, setup, teardown),
    };
    rpc_init();
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    rpc_shutdown();
    return rc;
}
