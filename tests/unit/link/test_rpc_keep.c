/* Streams that are kept open over real gRPC: two servers on the test's loop. */
#include <string.h>

#include "common/base/mem.h"
#include "common/link/rpc_keep.h"
#include "telemetry.pb-c.h"
#include "tests/lib/fault.h"
#include "tests/unit/dataplane/planes_fixture.h"

typedef Steelyard__Telemetry__V1__PushUp PushUp;
typedef Steelyard__Telemetry__V1__PushDown PushDown;

#define SERVERS 2
#define NOBODY  "unix:/nonexistent/steelyard.sock"

static const struct rpc_method method = {
    .path = "/steelyard.telemetry.v1.Telemetry/Push",
    .request = &steelyard__telemetry__v1__push_up__descriptor,
    .response = &steelyard__telemetry__v1__push_down__descriptor,
};

struct server {
    struct rpc_server *rpc;
    struct rpc_stream *streams[8];
    unsigned count, accepted, messages;
    bool refuses;
};

struct kept {
    struct rpc_keep *keep;
    unsigned opened, lost, messages;
    int code;
    const char *at;       /* Target of the last stream. */
    bool close_when_lost; /* From inside on_lost. */
    bool closed;
};

struct world {
    uv_loop_t loop;
    struct server servers[SERVERS];
    char addresses[SERVERS][64];
    struct rpc_client *client;
    struct kept one, two;
    size_t staying; /* The server that is left. */
    char *dir;
};

/* ---- a server that answers each message ---- */

static void on_served(struct rpc_stream *stream, const ProtobufCMessage *m, void *user)
{
    struct server *s = user;
    PushDown down = STEELYARD__TELEMETRY__V1__PUSH_DOWN__INIT;
    (void)m;
    fault_suspend();
    s->messages++;
    assert_int_equal(rpc_stream_send(stream, &down.base), 0);
    fault_continue();
}

static void on_served_close(struct rpc_stream *stream, const struct rpc_status *status, void *user)
{
    struct server *s = user;
    (void)status;
    for (unsigned i = 0; i < s->count; i++)
        if (s->streams[i] == stream)
            s->streams[i] = s->streams[--s->count];
}

static const struct rpc_stream_events served = {.on_message = on_served,
                                                .on_close = on_served_close};
static const struct rpc_stream_events ignored = {.on_message = NULL};

static void on_accept(struct rpc_stream *stream, const struct rpc_method *m, void *user)
{
    struct server *s = user;
    (void)m;
    s->accepted++;
    if (s->refuses) {
        rpc_stream_set_user(stream, &ignored, s);
        rpc_stream_cancel(stream, RPC_DENIED, "not here");
        return;
    }
    assert_true(s->count < 8);
    s->streams[s->count++] = stream;
    rpc_stream_set_user(stream, &served, s);
}

static void serve(struct world *w, size_t i)
{
    const struct rpc_server_options options = {.address = w->addresses[i]};
    struct err err = {0};
    if (rpc_server_create(&w->loop, &options, &method, 1, on_accept, &w->servers[i],
                          &w->servers[i].rpc, &err) != 0)
        fail_msg("%s", err.message);
    (void)snprintf(w->addresses[i], sizeof w->addresses[i], "%s",
                   rpc_server_address(w->servers[i].rpc));
}

static void on_flag(void *user)
{
    *(bool *)user = true;
}

static bool is_set(void *arg)
{
    return *(bool *)arg;
}

static void end_server(struct world *w, size_t i)
{
    bool closed = false;
    rpc_server_close(w->servers[i].rpc, 0, on_flag, &closed);
    run_until(&w->loop, is_set, &closed);
    w->servers[i].rpc = NULL;
}

/* ---- the user of a kept stream ---- */

static void say(struct kept *k)
{
    PushUp up = STEELYARD__TELEMETRY__V1__PUSH_UP__INIT;
    if (rpc_keep_send(k->keep, &up.base) != 0)
        rpc_keep_give_up(k->keep, RPC_INTERNAL, "cannot send");
}

static struct rpc_client *client_of(const struct kept *k);

static void on_opened(struct rpc_keep *keep, void *user)
{
    struct kept *k = user;
    assert_ptr_equal(k->keep, keep);
    assert_non_null(rpc_keep_stream(keep));
    assert_int_equal(k->opened, k->lost);
    k->opened++;
    k->at = rpc_client_target(client_of(k));
    say(k);
}

static void on_message(struct rpc_keep *keep, const ProtobufCMessage *m, void *user)
{
    struct kept *k = user;
    (void)m;
    k->messages++;
    rpc_keep_proved(keep);
}

static void on_lost(struct rpc_keep *keep, const struct rpc_status *status, void *user)
{
    struct kept *k = user;
    k->lost++;
    k->code = status->code;
    assert_int_equal(k->opened, k->lost);
    assert_null(rpc_keep_stream(keep));
    if (k->close_when_lost)
        rpc_keep_close(keep, on_flag, &k->closed);
}

static const struct rpc_keep_events events = {
    .on_opened = on_opened, .on_message = on_message, .on_lost = on_lost};

static struct world *the_world;

static struct rpc_client *client_of(const struct kept *k)
{
    (void)k;
    return the_world->client;
}

static int keep_one(struct world *w, struct kept *k)
{
    const struct rpc_keep_options options = {
        .loop = &w->loop,
        .client = w->client,
        .method = &method,
        .events = &events,
        .user = k,
        .backoff = {.base_ms = 1, .cap_ms = 4},
    };
    struct err err = {0};
    return rpc_keep_create(&options, &k->keep, &err);
}

static void start(struct world *w, struct kept *k)
{
    assert_int_equal(keep_one(w, k), 0);
    rpc_keep_start(k->keep);
}

static void connect_to(struct world *w, const char *first, const char *second)
{
    const char *targets[] = {first, second};
    struct err err = {0};
    if (rpc_client_create_list(&w->loop, targets, NULL, second != NULL ? 2 : 1, NULL, NULL,
                               &w->client, &err) != 0)
        fail_msg("%s", err.message);
}

static void close_kept(struct world *w, struct kept *k)
{
    if (k->keep == NULL)
        return;
    if (!k->closed)
        rpc_keep_close(k->keep, on_flag, &k->closed);
    run_until(&w->loop, is_set, &k->closed);
    assert_int_equal(k->opened, k->lost);
    *k = (struct kept){0};
}

static void disconnect(struct world *w)
{
    bool closed = false;
    close_kept(w, &w->one);
    close_kept(w, &w->two);
    if (w->client == NULL)
        return;
    rpc_client_close(w->client, on_flag, &closed);
    run_until(&w->loop, is_set, &closed);
    w->client = NULL;
}

static int setup(void **state)
{
    struct world *w = mem_zalloc(sizeof *w);
    assert_int_equal(uv_loop_init(&w->loop), 0);
    w->dir = temp_dir_make();
    for (size_t i = 0; i < SERVERS; i++) {
        /* No port: while a server is away, another program could be given it. */
        int len = snprintf(w->addresses[i], sizeof w->addresses[i], "unix:%s/%zu", w->dir, i);
        assert_true(len > 0 && (size_t)len < sizeof w->addresses[i]);
        serve(w, i);
    }
    the_world = *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    disconnect(w);
    for (size_t i = 0; i < SERVERS; i++)
        if (w->servers[i].rpc != NULL)
            end_server(w, i);
    uv_run(&w->loop, UV_RUN_NOWAIT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    temp_dir_remove(w->dir);
    mem_free(w);
    return 0;
}

static bool one_speaks(void *arg)
{
    return ((struct world *)arg)->one.messages > 0;
}
static bool both_speak(void *arg)
{
    struct world *w = arg;
    return w->one.messages > 0 && w->two.messages > 0;
}

static bool both_speak_elsewhere(void *arg)
{
    struct world *w = arg;
    return w->servers[w->staying].count == 2 && both_speak(w);
}

static void speak_anew(struct world *w)
{
    w->one.messages = 0;
    w->two.messages = 0;
    run_until(&w->loop, w->two.keep != NULL ? both_speak : one_speaks, w);
}

/* ---- tests ---- */

static void a_stream_that_ends_is_opened_again(void **state)
{
    struct world *w = *state;
    connect_to(w, w->addresses[0], NULL);
    start(w, &w->one);
    assert_null(rpc_keep_stream(w->one.keep));
    for (unsigned i = 1; i <= 5; i++) {
        speak_anew(w);
        assert_int_equal(w->one.opened, i);
        assert_int_equal(w->servers[0].messages, i);
        rpc_stream_finish(w->servers[0].streams[0], RPC_EXHAUSTED, "enough");
    }
    speak_anew(w);
    assert_int_equal(w->one.code, RPC_EXHAUSTED);
    assert_int_equal(w->servers[0].count, 1); /* One at a time. */
}

static void who_loses_a_stream_goes_on_to_the_next_target(void **state)
{
    struct world *w = *state;
    connect_to(w, w->addresses[0], w->addresses[1]);
    start(w, &w->one);
    for (unsigned i = 0; i < 4; i++) {
        speak_anew(w);
        size_t at = w->servers[0].count > 0 ? 0 : 1;
        assert_int_equal(w->servers[1 - at].count, 0);
        assert_string_equal(w->one.at, w->addresses[at]);
        rpc_stream_finish(w->servers[at].streams[0], RPC_UNAVAILABLE, "going");
    }
    speak_anew(w);
    assert_true(w->servers[0].accepted >= 2 && w->servers[1].accepted >= 2);
}

static void a_target_that_is_gone_is_passed_over(void **state)
{
    struct world *w = *state;
    connect_to(w, w->addresses[0], w->addresses[1]);
    start(w, &w->one);
    start(w, &w->two);
    speak_anew(w);
    size_t at = w->servers[0].count > 0 ? 0 : 1;
    w->staying = 1 - at;
    w->one.messages = w->two.messages = 0; /* They may speak elsewhere before it has ended. */
    end_server(w, at);
    run_until(&w->loop, both_speak_elsewhere, w);
    serve(w, at); /* It is back: those who are elsewhere stay there. */
    w->servers[at].accepted = 0;
    for (int i = 0; i < 50; i++)
        uv_run(&w->loop, UV_RUN_NOWAIT);
    assert_int_equal(w->servers[at].accepted, 0);
}

static void where_nobody_is_it_tries_until_somebody_is(void **state)
{
    struct world *w = *state;
    end_server(w, 0);
    connect_to(w, NOBODY, w->addresses[0]);
    start(w, &w->one);
    while (w->one.lost < 6)
        uv_run(&w->loop, UV_RUN_ONCE);
    assert_int_equal(w->one.code, RPC_UNAVAILABLE);
    serve(w, 0);
    run_until(&w->loop, one_speaks, w);
}

static void a_target_that_refuses_is_left(void **state)
{
    struct world *w = *state;
    w->servers[0].refuses = true;
    connect_to(w, w->addresses[0], w->addresses[1]);
    for (int i = 0; i < 8; i++) { /* Wherever it begins. */
        start(w, &w->one);
        run_until(&w->loop, one_speaks, w);
        assert_int_equal(w->servers[1].count, 1);
        close_kept(w, &w->one);
        rpc_client_turn_on(w->client, rpc_client_turn(w->client));
        w->servers[1].count = 0;
    }
}

static void streams_of_one_client_follow_each_other_and_a_loss_counts_once(void **state)
{
    struct world *w = *state;
    connect_to(w, w->addresses[0], w->addresses[1]);
    start(w, &w->one);
    start(w, &w->two);
    speak_anew(w);
    for (int i = 0; i < 4; i++) {
        assert_ptr_equal(w->one.at, w->two.at);
        uint64_t turn = rpc_client_turn(w->client);
        rpc_keep_move_on(w->one.keep);
        rpc_keep_move_on(w->two.keep);
        speak_anew(w);
        assert_int_equal(rpc_client_turn(w->client), turn + 1);
        assert_int_equal(w->one.code, RPC_CANCELLED);
    }
    assert_ptr_equal(w->one.at, w->two.at);
}

static void moving_on_is_for_streams_that_are_there(void **state)
{
    struct world *w = *state;
    connect_to(w, w->addresses[0], w->addresses[1]);
    assert_int_equal(keep_one(w, &w->one), 0);
    rpc_keep_move_on(w->one.keep);
    rpc_keep_give_up(w->one.keep, RPC_INTERNAL, "nothing");
    PushUp up = STEELYARD__TELEMETRY__V1__PUSH_UP__INIT;
    assert_int_equal(rpc_keep_send(w->one.keep, &up.base), ERR_CLOSED);
    assert_int_equal(rpc_client_turn(w->client), 1);
    rpc_keep_start(w->one.keep);
    run_until(&w->loop, one_speaks, w);
    assert_int_equal(w->one.lost, 0);
}

static void the_last_stream_is_not_followed_by_another(void **state)
{
    struct world *w = *state;
    connect_to(w, w->addresses[0], NULL);
    start(w, &w->one);
    run_until(&w->loop, one_speaks, w);
    rpc_keep_no_more(w->one.keep);
    say(&w->one); /* It can still be used. */
    speak_anew(w);
    rpc_keep_give_up(w->one.keep, RPC_CANCELLED, "done");
    while (w->one.lost == 0)
        uv_run(&w->loop, UV_RUN_ONCE);
    start(w, &w->two); /* Takes the time that the first would have needed. */
    while (w->two.messages == 0)
        uv_run(&w->loop, UV_RUN_ONCE);
    assert_int_equal(w->one.opened, 1);
}

static bool both_speak_or_one_is_gone(void *arg)
{
    struct world *w = arg;
    return w->two.messages > 0 && w->one.closed;
}

static void it_can_be_closed_at_any_time(void **state)
{
    struct world *w = *state;
    connect_to(w, w->addresses[0], NULL);
    assert_int_equal(keep_one(w, &w->one), 0);
    close_kept(w, &w->one); /* Never started. */
    start(w, &w->one);
    close_kept(w, &w->one); /* Before it was opened. */
    start(w, &w->one);
    run_until(&w->loop, one_speaks, w);
    close_kept(w, &w->one); /* In use. */
    start(w, &w->one);
    start(w, &w->two);
    run_until(&w->loop, both_speak, w);
    w->one.close_when_lost = true;
    w->two.messages = 0;
    w->servers[0].messages = 0;
    end_server(w, 0);
    serve(w, 0);
    run_until(&w->loop, both_speak_or_one_is_gone, w);
    assert_int_equal(w->one.opened, 1);
}

static void without_a_client_nothing_is_opened(void **state)
{
    struct world *w = *state;
    start(w, &w->one);
    uv_run(&w->loop, UV_RUN_NOWAIT);
    assert_int_equal(w->one.opened, 0);
    assert_null(rpc_keep_stream(w->one.keep));
}

static void clients_spread_over_their_targets(void **state)
{
    struct world *w = *state;
    unsigned first = 0;
    for (int i = 0; i < 64; i++) {
        connect_to(w, w->addresses[0], w->addresses[1]);
        first += strcmp(rpc_client_target(w->client), w->addresses[0]) == 0;
        disconnect(w);
    }
    assert_in_range(first, 8, 56); /* Outside once in 10^10 runs. */
}

static void the_list_can_be_replaced_while_it_is_used(void **state)
{
    struct world *w = *state;
    struct err err = {0};
    const char *both[] = {w->addresses[0], w->addresses[1]};
    const char *more[] = {NOBODY, w->addresses[1], w->addresses[0]};
    const char *far[] = {w->addresses[0], "10.0.0.1:8091"};
    connect_to(w, w->addresses[0], NULL);
    start(w, &w->one);
    speak_anew(w);
    uint64_t turn = rpc_client_turn(w->client);
    assert_int_equal(rpc_client_set_targets(w->client, more, NULL, 3, &err), 0);
    assert_string_equal(rpc_client_target(w->client), w->addresses[0]);
    assert_int_equal(rpc_client_target_count(w->client), 3);
    assert_int_equal(rpc_client_turn(w->client), turn);
    assert_int_equal(w->one.lost, 0);
    /* What cannot be used leaves everything as it was. */
    assert_int_equal(rpc_client_set_targets(w->client, far, NULL, 2, &err), ERR_DENIED);
    assert_int_equal(rpc_client_set_targets(w->client, far, NULL, 0, &err), ERR_INVALID);
    assert_int_equal(rpc_client_target_count(w->client), 3);
    /* The one in use is listed no more: others go elsewhere, who is there stays. */
    assert_int_equal(rpc_client_set_targets(w->client, both + 1, NULL, 1, &err), 0);
    assert_string_equal(rpc_client_target(w->client), w->addresses[1]);
    assert_int_equal(rpc_client_turn(w->client), turn + 1);
    assert_int_equal(w->one.lost, 0);
    rpc_keep_move_on(w->one.keep);
    speak_anew(w);
    assert_int_equal(w->servers[1].count, 1);
    for (unsigned n = 0; n < 40; n++) { /* Each allocation in turn. */
        fault_arm_alloc(n);
        int rc = rpc_client_set_targets(w->client, both, NULL, 2, &err);
        if (!fault_disarm()) {
            assert_int_equal(rc, 0);
            return;
        }
        assert_int_equal(rc, ERR_NOMEM);
        assert_int_equal(rpc_client_target_count(w->client), 1);
    }
    fail_msg("it never succeeded");
}

static void making_one_fails_cleanly_without_memory(void **state)
{
    struct world *w = *state;
    struct err err = {0};
    const char *targets[] = {w->addresses[0], w->addresses[1]};
    const char *names[] = {"control.test", NULL};
    unsigned n = 0;
    for (; n < 60; n++) {
        fault_arm_alloc(n);
        int rc = rpc_client_create_list(&w->loop, targets, names, 2, NULL, NULL, &w->client, &err);
        if (!fault_disarm()) {
            assert_int_equal(rc, 0);
            break;
        }
        assert_int_equal(rc, ERR_NOMEM);
    }
    assert_true(n > 4 && n < 60);
    fault_arm_alloc(0);
    assert_int_equal(keep_one(w, &w->one), ERR_NOMEM);
    assert_true(fault_disarm());
    w->one.keep = NULL;
}

static void a_stream_that_finds_no_memory_is_tried_again(void **state)
{
    struct world *w = *state;
    bool fired = true;
    for (unsigned n = 0; fired && n < 60; n++) {
        connect_to(w, w->addresses[0], w->addresses[1]);
        start(w, &w->one);
        fault_arm_alloc(n);
        run_until(&w->loop, one_speaks, w);
        fired = fault_disarm();
        disconnect(w);
    }
    assert_false(fired);
}

int main(void)
{
    rpc_init();
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_stream_that_ends_is_opened_again),
        TEST(who_loses_a_stream_goes_on_to_the_next_target),
        TEST(a_target_that_is_gone_is_passed_over),
        TEST(where_nobody_is_it_tries_until_somebody_is),
        TEST(a_target_that_refuses_is_left),
        TEST(streams_of_one_client_follow_each_other_and_a_loss_counts_once),
        TEST(moving_on_is_for_streams_that_are_there),
        TEST(the_last_stream_is_not_followed_by_another),
        TEST(it_can_be_closed_at_any_time),
        TEST(without_a_client_nothing_is_opened),
        TEST(clients_spread_over_their_targets),
        TEST(the_list_can_be_replaced_while_it_is_used),
        TEST(making_one_fails_cleanly_without_memory),
        TEST(a_stream_that_finds_no_memory_is_tried_again),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    rpc_shutdown();
    return rc;
}
