/* Certificates: who a peer is, and a second generation of them while streams go on. */
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/link/rpc.h"
#include "telemetry.pb-c.h"
#include "tests/lib/certs.h"
#include "tests/unit/dataplane/planes_fixture.h"

typedef Steelyard__Telemetry__V1__PushUp PushUp;
typedef Steelyard__Telemetry__V1__PushBatch PushBatch;
typedef Steelyard__Telemetry__V1__PushDown PushDown;

#define PATH_BYTES 512

static const struct rpc_method method = {
    .path = "/steelyard.telemetry.v1.Telemetry/Push",
    .request = &steelyard__telemetry__v1__push_up__descriptor,
    .response = &steelyard__telemetry__v1__push_down__descriptor,
};

struct side {
    struct rpc_stream *stream;
    uint64_t last;
    bool closed;
    int code;
};

static struct {
    uv_loop_t loop;
    char *dir;
    struct certs ca[2];
    struct side up[2], down[4];
    unsigned accepted;
    bool named, role;
} w;

static const char *path_of(const char *name)
{
    static char paths[8][PATH_BYTES];
    static unsigned at;
    char *out = paths[at++ % 8];
    (void)snprintf(out, PATH_BYTES, "%s/%s", w.dir, name);
    return out;
}

static void on_message(struct rpc_stream *stream, const ProtobufCMessage *m, void *user)
{
    struct side *side = user;
    if (m->descriptor == &steelyard__telemetry__v1__push_down__descriptor) {
        side->last = ((const PushDown *)m)->acked_through;
        return;
    }
    PushDown down = STEELYARD__TELEMETRY__V1__PUSH_DOWN__INIT;
    down.acked_through = ((const PushUp *)m)->batch->first_seq;
    assert_int_equal(rpc_stream_send(stream, &down.base), 0);
}

static void on_end(struct rpc_stream *stream, void *user)
{
    (void)user;
    rpc_stream_finish(stream, RPC_OK, "bye");
}

static void on_close(struct rpc_stream *stream, const struct rpc_status *status, void *user)
{
    struct side *side = user;
    (void)stream;
    side->stream = NULL;
    side->closed = true;
    side->code = status->code;
}

static const struct rpc_stream_events events = {
    .on_message = on_message, .on_end = on_end, .on_close = on_close};

static void on_accept(struct rpc_stream *stream, const struct rpc_method *m, void *user)
{
    (void)m;
    (void)user;
    w.down[w.accepted].stream = stream;
    rpc_stream_set_user(stream, &events, &w.down[w.accepted]);
    w.named = rpc_stream_peer_is(stream, STR("node-one"));
    w.role = rpc_stream_peer_is(stream, STR("steelyard-node"));
    w.accepted++;
}

/* A certificate and its key from this generation's CA, in the files of that side. */
static void write_leaf(unsigned generation, const char *side, const char *names)
{
    const struct certs_spec spec = {.name = side, .names = names, .valid_until_s = 3600};
    struct certs leaf = certs_make(&w.ca[generation], &spec);
    char cert[64], key[64];
    (void)snprintf(cert, sizeof cert, "%s.crt", side);
    (void)snprintf(key, sizeof key, "%s.key", side);
    certs_write(&leaf, path_of(cert), path_of(key));
    certs_free(&leaf);
}

static void write_trust(bool first, bool second)
{
    struct buf all, one;
    struct err err = {0};
    buf_init(&all, 65536);
    for (unsigned i = 0; i < 2; i++) {
        if (i == 0 ? !first : !second)
            continue;
        buf_init(&one, 65536);
        certs_write(&w.ca[i], path_of("one.crt"), NULL);
        assert_int_equal(buf_read_file(&one, path_of("one.crt"), 65536, &err), 0);
        assert_int_equal(buf_append_str(&all, buf_str(&one)), 0);
        buf_deinit(&one);
    }
    assert_int_equal(buf_write_file(buf_str(&all), path_of("ca.crt"), 0600, &err), 0);
    buf_deinit(&all);
}

static struct rpc_tls files_of(const char *side)
{
    char cert[64], key[64];
    (void)snprintf(cert, sizeof cert, "%s.crt", side);
    (void)snprintf(key, sizeof key, "%s.key", side);
    return (struct rpc_tls){.cert_file = path_of(cert),
                            .key_file = path_of(key),
                            .ca_file = path_of("ca.crt"),
                            .server_name = "control.test"};
}

static void send_batch(struct rpc_stream *stream, uint64_t seq)
{
    PushBatch batch = STEELYARD__TELEMETRY__V1__PUSH_BATCH__INIT;
    PushUp up = STEELYARD__TELEMETRY__V1__PUSH_UP__INIT;
    batch.first_seq = seq;
    up.body_case = STEELYARD__TELEMETRY__V1__PUSH_UP__BODY_BATCH;
    up.batch = &batch;
    assert_int_equal(rpc_stream_send(stream, &up.base), 0);
}

static void echo(struct side *side, uint64_t seq)
{
    send_batch(side->stream, seq);
    while (side->last != seq) {
        assert_false(side->closed);
        uv_run(&w.loop, UV_RUN_ONCE);
    }
}

static void on_flag(void *user)
{
    *(bool *)user = true;
}

static void close_client(struct rpc_client *client)
{
    bool closed = false;
    rpc_client_close(client, on_flag, &closed);
    while (!closed)
        uv_run(&w.loop, UV_RUN_ONCE);
}

static void f33_a_second_generation_of_certificates_cuts_no_stream(void **state)
{
    (void)state;
    struct rpc_server *server;
    struct rpc_client *client, *old;
    struct err err = {0};
    bool closed = false;
    write_trust(true, false);
    write_leaf(0, "server", "DNS:control.test");
    write_leaf(0, "node", "DNS:node-one");
    write_leaf(0, "old", "DNS:node-one");
    const struct rpc_server_options options = {.address = "127.0.0.1:0", .tls = files_of("server")};
    assert_int_equal(
        rpc_server_create(&w.loop, &options, &method, 1, on_accept, NULL, &server, &err), 0);
    struct rpc_tls node = files_of("node");
    assert_int_equal(rpc_client_create(&w.loop, rpc_server_address(server), &node, &client, &err),
                     0);
    assert_int_equal(rpc_client_open(client, &method, 0, &events, &w.up[0], &w.up[0].stream), 0);
    echo(&w.up[0], 1);
    assert_true(w.named);
    assert_false(w.role);
    /* First everybody trusts both, then certificates are replaced, then the old CA goes. */
    write_trust(true, true);
    echo(&w.up[0], 2);
    write_leaf(1, "server", "DNS:control.test");
    write_leaf(1, "node", "DNS:steelyard-node");
    echo(&w.up[0], 3);
    assert_int_equal(rpc_client_open(client, &method, 0, &events, &w.up[1], &w.up[1].stream), 0);
    echo(&w.up[1], 4);
    assert_true(w.role);
    assert_false(w.named);
    write_trust(false, true);
    echo(&w.up[0], 5); /* Of the first generation, still. */
    echo(&w.up[1], 6);
    assert_int_equal(w.accepted, 2);
    /* Whoever comes with the old one now is refused. */
    struct rpc_tls late = files_of("old");
    struct side lost = {0};
    assert_int_equal(rpc_client_create(&w.loop, rpc_server_address(server), &late, &old, &err), 0);
    assert_int_equal(rpc_client_open(old, &method, 0, &events, &lost, &lost.stream), 0);
    while (!lost.closed)
        uv_run(&w.loop, UV_RUN_ONCE);
    assert_int_equal(lost.code, RPC_UNAVAILABLE);
    assert_int_equal(w.accepted, 2);
    echo(&w.up[0], 7);
    close_client(old);
    close_client(client);
    rpc_server_close(server, 0, on_flag, &closed);
    while (!closed)
        uv_run(&w.loop, UV_RUN_ONCE);
}

static void f33_the_end_of_a_certificate_is_read_from_its_file(void **state)
{
    (void)state;
    int64_t ends = 0, now = clock_wall_us() / 1000000;
    write_leaf(0, "server", "DNS:control.test");
    assert_int_equal(rpc_tls_ends(path_of("server.crt"), &ends), 0);
    assert_true(ends > now + 3000 && ends <= now + 3601);
    assert_int_equal(rpc_tls_ends(path_of("nothing.crt"), &ends), ERR_NOT_FOUND);
    assert_int_equal(rpc_tls_ends(path_of("server.key"), &ends), ERR_CORRUPT);
}

static int setup(void **state)
{
    (void)state;
    w.dir = temp_dir_make();
    for (unsigned i = 0; i < 2; i++)
        w.ca[i] = certs_make(NULL, &(struct certs_spec){.name = i == 0 ? "first" : "second"});
    return uv_loop_init(&w.loop);
}

static int teardown(void **state)
{
    (void)state;
    uv_run(&w.loop, UV_RUN_NOWAIT);
    assert_int_equal(uv_loop_close(&w.loop), 0);
    for (unsigned i = 0; i < 2; i++)
        certs_free(&w.ca[i]);
    temp_dir_remove(w.dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f33_a_second_generation_of_certificates_cuts_no_stream),
        cmocka_unit_test(f33_the_end_of_a_certificate_is_read_from_its_file),
    };
    rpc_init();
    int rc = cmocka_run_group_tests(tests, setup, teardown);
    rpc_shutdown();
    return rc;
}
