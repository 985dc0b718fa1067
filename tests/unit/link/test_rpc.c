/* Streams over real gRPC on one loop: back-pressure, ends of every kind, credentials. */
#include <dirent.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/link/rpc.h"
#include "common/link/wire.h"
#include "telemetry.pb-c.h"
#include "tests/unit/dataplane/planes_fixture.h"

typedef Steelyard__Telemetry__V1__PushUp PushUp;
typedef Steelyard__Telemetry__V1__PushDown PushDown;
typedef Steelyard__Telemetry__V1__PushBatch PushBatch;

static const struct rpc_method method = {
    .path = "/steelyard.telemetry.v1.Telemetry/Push",
    .request = &steelyard__telemetry__v1__push_up__descriptor,
    .response = &steelyard__telemetry__v1__push_down__descriptor,
};
static const struct rpc_method unknown_method = {
    .path = "/steelyard.telemetry.v1.Telemetry/Other",
    .request = &steelyard__telemetry__v1__push_up__descriptor,
    .response = &steelyard__telemetry__v1__push_down__descriptor,
};

/* One end of a stream. */
struct side {
    struct rpc_stream *stream;
    uint64_t messages, last, writable, ends;
    unsigned closes;
    int code;
    char detail[256];
    bool echo;        /* Server: answers each message. */
    bool pause_first; /* Server: stops reading at once. */
    bool authenticated, named;
};

struct world {
    uv_loop_t loop;
    struct rpc_server *server;
    struct rpc_client *client;
    struct side up, down; /* The client's side and the server's. */
    unsigned accepted;
};

static struct rpc_tls no_tls;

static void on_message(struct rpc_stream *stream, const ProtobufCMessage *m, void *user)
{
    struct side *side = user;
    side->messages++;
    if (m->descriptor == &steelyard__telemetry__v1__push_down__descriptor) {
        side->last = ((const PushDown *)m)->acked_through;
        return;
    }
    const PushUp *up = (const PushUp *)m;
    if (up->body_case == STEELYARD__TELEMETRY__V1__PUSH_UP__BODY_BATCH)
        side->last = up->batch->first_seq;
    if (side->echo) {
        PushDown down = STEELYARD__TELEMETRY__V1__PUSH_DOWN__INIT;
        down.acked_through = side->last;
        assert_int_equal(rpc_stream_send(stream, &down.base), 0);
    }
}

static void on_writable(struct rpc_stream *stream, void *user)
{
    (void)stream;
    ((struct side *)user)->writable++;
}

static void on_end(struct rpc_stream *stream, void *user)
{
    struct side *side = user;
    side->ends++;
    rpc_stream_finish(stream, RPC_OK, "bye"); /* A client's second finish is harmless. */
}

static void on_close(struct rpc_stream *stream, const struct rpc_status *status, void *user)
{
    struct side *side = user;
    assert_ptr_equal(stream, side->stream);
    side->stream = NULL;
    side->closes++;
    side->code = status->code;
    (void)snprintf(side->detail, sizeof(side->detail), "%s", status->detail);
}

static const struct rpc_stream_events events = {
    .on_message = on_message, .on_writable = on_writable, .on_end = on_end, .on_close = on_close};

static void on_accept(struct rpc_stream *stream, const struct rpc_method *m, void *user)
{
    struct world *w = user;
    assert_string_equal(m->path, method.path);
    w->accepted++;
    w->down.stream = stream;
    w->down.authenticated = rpc_stream_authenticated(stream);
    w->down.named = rpc_stream_peer_is(stream, STR("node-one"));
    rpc_stream_set_user(stream, &events, &w->down);
    if (w->down.pause_first)
        rpc_stream_pause(stream);
}

static void server_start(struct world *w, const char *address, const struct rpc_tls *tls,
                         uint32_t streams_max)
{
    struct rpc_server_options options = {
        .address = address, .tls = *tls, .streams_max = streams_max};
    struct err err = {0};
    if (rpc_server_create(&w->loop, &options, &method, 1, on_accept, w, &w->server, &err) != 0)
        fail_msg("%s", err.message);
}

static void client_start(struct world *w, const struct rpc_tls *tls)
{
    struct err err = {0};
    if (rpc_client_create(&w->loop, rpc_server_address(w->server), tls, &w->client, &err) != 0)
        fail_msg("%s", err.message);
}

static void open_stream(struct world *w, const struct rpc_method *m, uint64_t deadline_ms)
{
    assert_int_equal(rpc_client_open(w->client, m, deadline_ms, &events, &w->up, &w->up.stream), 0);
}

static int setup(void **state)
{
    struct world *w = mem_zalloc(sizeof(*w));
    assert_int_equal(uv_loop_init(&w->loop), 0);
    *state = w;
    return 0;
}

static void on_flag(void *user)
{
    *(bool *)user = true;
}

static void stop(struct world *w)
{
    bool closed = false;
    if (w->client != NULL) {
        rpc_client_close(w->client, on_flag, &closed);
        while (!closed)
            uv_run(&w->loop, UV_RUN_ONCE);
    }
    w->client = NULL;
    closed = w->server == NULL;
    if (!closed)
        rpc_server_close(w->server, 0, on_flag, &closed);
    while (!closed)
        uv_run(&w->loop, UV_RUN_ONCE);
    w->server = NULL;
}

static int teardown(void **state)
{
    struct world *w = *state;
    stop(w);
    uv_run(&w->loop, UV_RUN_NOWAIT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    assert_null(w->up.stream); /* Every stream told its user that it ended, once. */
    assert_null(w->down.stream);
    assert_true(w->up.closes <= 1 && w->down.closes <= 1);
    mem_free(w);
    return 0;
}

static int send_batch(struct rpc_stream *stream, uint64_t seq, size_t bytes)
{
    static uint8_t payload[RPC_MESSAGE_BYTES_MAX];
    PushBatch batch = STEELYARD__TELEMETRY__V1__PUSH_BATCH__INIT;
    batch.first_seq = seq;
    batch.payload = (ProtobufCBinaryData){.len = bytes, .data = payload};
    PushUp up = STEELYARD__TELEMETRY__V1__PUSH_UP__INIT;
    up.body_case = STEELYARD__TELEMETRY__V1__PUSH_UP__BODY_BATCH;
    up.batch = &batch;
    return rpc_stream_send(stream, &up.base);
}

static bool up_closed(void *arg)
{
    return ((struct world *)arg)->up.closes > 0;
}
static bool both_closed(void *arg)
{
    struct world *w = arg;
    return w->up.closes > 0 && w->down.closes > 0;
}
static bool echoed(void *arg)
{
    return ((struct world *)arg)->up.last == 500;
}
static bool was_accepted(void *arg)
{
    return ((struct world *)arg)->accepted > 0;
}

static void messages_travel_both_ways_in_order_and_the_end_is_clean(void **state)
{
    struct world *w = *state;
    w->down.echo = true;
    server_start(w, "127.0.0.1:0", &no_tls, 0);
    client_start(w, NULL);
    open_stream(w, &method, 0);
    for (uint64_t i = 1; i <= 500; i++)
        assert_int_equal(send_batch(w->up.stream, i, 1000), 0);
    run_until(&w->loop, echoed, w);
    assert_int_equal(w->up.messages, 500);
    rpc_stream_finish(w->up.stream, RPC_OK, NULL);
    assert_int_equal(send_batch(w->up.stream, 1, 1), ERR_CLOSED);
    run_until(&w->loop, both_closed, w);
    assert_int_equal(w->up.code, RPC_OK);
    assert_int_equal(w->down.ends, 1);
    assert_false(w->down.authenticated);
    assert_false(w->down.named);
}

static bool is_writable(void *arg)
{
    return ((struct world *)arg)->up.writable > 0;
}

static void a_slow_reader_fills_the_queue_to_its_bound_and_no_further(void **state)
{
    struct world *w = *state;
    w->down.pause_first = true;
    server_start(w, "127.0.0.1:0", &no_tls, 0);
    client_start(w, NULL);
    open_stream(w, &method, 0);
    rpc_stream_set_send_max(w->up.stream, 1 << 20);
    run_until(&w->loop, was_accepted, w);
    /* Flow control takes some megabytes, then the queue fills, and stays full. */
    uint64_t sent = 0;
    uint64_t until = clock_mono_ms() + 300;
    int rc = 0;
    while ((clock_mono_ms() < until || sent <= 16) && sent < 1000) {
        while (sent < 1000 && (rc = send_batch(w->up.stream, sent + 1, 65536)) == 0) {
            sent++;
            until = clock_mono_ms() + 300;
        }
        uv_run(&w->loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(rc, ERR_BUSY);
    assert_true(rpc_stream_queued_bytes(w->up.stream) <= 1 << 20);
    assert_false(rpc_stream_has_room(w->up.stream, 65536));
    assert_int_equal(w->down.messages, 0);
    assert_true(sent > 16 && sent < 1000);
    w->up.writable = 0;
    rpc_stream_resume(w->down.stream);
    run_until(&w->loop, is_writable, w);
    rpc_stream_finish(w->up.stream, RPC_OK, NULL);
    run_until(&w->loop, both_closed, w);
    assert_int_equal(w->down.messages, sent); /* Nothing was lost on the way. */
    assert_int_equal(w->down.last, sent);
}

/* Who asks first is told too, and never refused. */
static void who_asks_for_room_is_told_when_there_is_some(void **state)
{
    struct world *w = *state;
    server_start(w, "127.0.0.1:0", &no_tls, 0);
    client_start(w, NULL);
    open_stream(w, &method, 0);
    rpc_stream_set_send_max(w->up.stream, 65536);
    uint64_t sent = 0;
    for (; sent < 50; sent++) {
        w->up.writable = 0;
        if (!rpc_stream_has_room(w->up.stream, 65536))
            run_until(&w->loop, is_writable, w);
        assert_true(rpc_stream_queued_bytes(w->up.stream) <= 65536 / 2);
        assert_int_equal(send_batch(w->up.stream, sent + 1, 65536), 0);
    }
    rpc_stream_finish(w->up.stream, RPC_OK, NULL);
    run_until(&w->loop, both_closed, w);
    assert_int_equal(w->down.messages, sent);
}

static void a_cancel_is_seen_by_the_other_side(void **state)
{
    struct world *w = *state;
    server_start(w, "127.0.0.1:0", &no_tls, 0);
    client_start(w, NULL);
    open_stream(w, &method, 0);
    run_until(&w->loop, was_accepted, w);
    rpc_stream_cancel(w->up.stream, RPC_CANCELLED, "changed my mind");
    run_until(&w->loop, both_closed, w);
    assert_int_equal(w->up.code, RPC_CANCELLED);
    assert_int_equal(w->down.code, RPC_CANCELLED);
}

static void a_server_can_end_a_stream_with_a_reason(void **state)
{
    struct world *w = *state;
    server_start(w, "127.0.0.1:0", &no_tls, 0);
    client_start(w, NULL);
    open_stream(w, &method, 0);
    run_until(&w->loop, was_accepted, w);
    rpc_stream_finish(w->down.stream, RPC_EXHAUSTED, "enough");
    run_until(&w->loop, both_closed, w);
    assert_int_equal(w->up.code, RPC_EXHAUSTED);
    assert_string_equal(w->up.detail, "enough");
}

static void what_is_too_large_never_leaves_and_never_arrives(void **state)
{
    struct world *w = *state;
    server_start(w, "127.0.0.1:0", &no_tls, 0);
    client_start(w, NULL);
    open_stream(w, &method, 0);
    assert_int_equal(send_batch(w->up.stream, 1, RPC_MESSAGE_BYTES_MAX), ERR_TOO_LARGE);
    assert_int_equal(send_batch(w->up.stream, 2, RPC_MESSAGE_BYTES_MAX - 64), 0);
    rpc_stream_finish(w->up.stream, RPC_OK, NULL);
    run_until(&w->loop, both_closed, w);
    assert_int_equal(w->down.messages, 1);
}

static void an_unknown_method_is_answered_at_once(void **state)
{
    struct world *w = *state;
    server_start(w, "127.0.0.1:0", &no_tls, 0);
    client_start(w, NULL);
    open_stream(w, &unknown_method, 0);
    run_until(&w->loop, up_closed, w);
    assert_int_equal(w->up.code, RPC_UNIMPLEMENTED);
    assert_int_equal(w->accepted, 0);
}

static void streams_above_the_limit_are_refused(void **state)
{
    struct world *w = *state;
    server_start(w, "127.0.0.1:0", &no_tls, 1);
    client_start(w, NULL);
    open_stream(w, &method, 0);
    run_until(&w->loop, was_accepted, w);
    struct side first = w->up;
    w->up = (struct side){0};
    rpc_stream_set_user(first.stream, &events, &first);
    open_stream(w, &method, 0);
    run_until(&w->loop, up_closed, w);
    assert_int_equal(w->up.code, RPC_EXHAUSTED);
    stop(w);
    assert_int_equal(first.closes, 1);
}

static void a_deadline_ends_a_stream(void **state)
{
    struct world *w = *state;
    server_start(w, "127.0.0.1:0", &no_tls, 0);
    client_start(w, NULL);
    open_stream(w, &method, 50);
    run_until(&w->loop, up_closed, w);
    assert_int_equal(w->up.code, RPC_DEADLINE);
    stop(w);
}

static void nobody_there_is_unavailable(void **state)
{
    struct world *w = *state;
    struct err err = {0};
    assert_int_equal(
        rpc_client_create(&w->loop, "unix:/nonexistent/steelyard.sock", NULL, &w->client, &err), 0);
    open_stream(w, &method, 0);
    run_until(&w->loop, up_closed, w);
    assert_int_equal(w->up.code, RPC_UNAVAILABLE);
}

static void a_server_that_closes_ends_every_stream(void **state)
{
    struct world *w = *state;
    server_start(w, "127.0.0.1:0", &no_tls, 0);
    client_start(w, NULL);
    open_stream(w, &method, 0);
    run_until(&w->loop, was_accepted, w);
    bool closed = false;
    rpc_server_close(w->server, 20, on_flag, &closed);
    w->server = NULL;
    while (!closed)
        uv_run(&w->loop, UV_RUN_ONCE);
    assert_int_equal(w->down.closes, 1);
    run_until(&w->loop, up_closed, w);
    assert_true(w->up.code != RPC_OK);
}

static size_t thread_count(void)
{
    size_t count = 0;
    DIR *dir = opendir("/proc/self/task");
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

/* Closes `first` while its stream is open; what is left in w->client goes on, on the same thread.
 */
static void one_closes_and_the_other_goes_on(struct world *w, struct rpc_client *first,
                                             struct rpc_client *second)
{
    bool closed = false;
    w->client = first;
    w->down.echo = true;
    open_stream(w, &method, 0);
    run_until(&w->loop, was_accepted, w);
    rpc_client_close(first, on_flag, &closed);
    w->client = second;
    run_until(&w->loop, both_closed, w);
    while (!closed)
        uv_run(&w->loop, UV_RUN_ONCE);
    assert_int_equal(w->up.code, RPC_CANCELLED);
    w->up = w->down = (struct side){.echo = true};
    open_stream(w, &method, 0);
    assert_int_equal(send_batch(w->up.stream, 500, 1000), 0);
    run_until(&w->loop, echoed, w);
}

static void clients_beside_each_other_share_a_thread_and_end_apart(struct world *w,
                                                                   bool later_first)
{
    struct err err = {0};
    struct rpc_client *beside;
    server_start(w, "127.0.0.1:0", &no_tls, 0);
    client_start(w, NULL);
    const char *target = rpc_server_address(w->server);
    const size_t threads = thread_count();
    assert_int_equal(
        rpc_client_create_list(&w->loop, &target, NULL, 1, NULL, w->client, &beside, &err), 0);
    assert_int_equal(thread_count(), threads);
    if (later_first)
        one_closes_and_the_other_goes_on(w, beside, w->client);
    else
        one_closes_and_the_other_goes_on(w, w->client, beside);
}

static void a_client_goes_on_when_one_beside_it_is_closed(void **state)
{
    clients_beside_each_other_share_a_thread_and_end_apart(*state, true);
}

static void a_client_goes_on_when_the_one_it_was_made_beside_is_closed(void **state)
{
    clients_beside_each_other_share_a_thread_and_end_apart(*state, false);
}

static void plain_text_is_for_loopback_only(void **state)
{
    struct world *w = *state;
    struct err err = {0};
    assert_int_equal(rpc_client_create(&w->loop, "10.0.0.1:8091", NULL, &w->client, &err),
                     ERR_DENIED);
    assert_int_equal(rpc_client_create(&w->loop, "control.example:8091", NULL, &w->client, &err),
                     ERR_DENIED);
    struct rpc_server_options options = {.address = "0.0.0.0:0"};
    assert_int_equal(
        rpc_server_create(&w->loop, &options, &method, 1, on_accept, w, &w->server, &err),
        ERR_DENIED);
    options.address = "127.0.0.1:not-a-port";
    assert_true(rpc_server_create(&w->loop, &options, &method, 1, on_accept, w, &w->server, &err) !=
                0);
}

/* ---- mTLS ---- */

static char *certs;

static struct rpc_tls identity(const char *name, const char *ca)
{
    static char paths[3][600];
    (void)snprintf(paths[0], 600, "%s/%s.pem", certs, name);
    (void)snprintf(paths[1], 600, "%s/%s.key", certs, name);
    (void)snprintf(paths[2], 600, "%s/%s.pem", certs, ca);
    return (struct rpc_tls){.cert_file = paths[0],
                            .key_file = paths[1],
                            .ca_file = paths[2],
                            .server_name = "control.test"};
}

static void a_certificate_of_the_ca_names_the_node(void **state)
{
    struct world *w = *state;
    struct rpc_tls server = identity("server", "ca");
    server_start(w, "127.0.0.1:0", &server, 0);
    struct rpc_tls node = identity("node-one", "ca");
    client_start(w, &node);
    open_stream(w, &method, 0);
    run_until(&w->loop, was_accepted, w);
    assert_true(w->down.authenticated);
    assert_true(w->down.named);
    assert_true(rpc_stream_peer_is(w->down.stream, STR("0190a0b0-1111-7222-8333-444455556666")));
    assert_false(rpc_stream_peer_is(w->down.stream, STR("node-two")));
    assert_false(rpc_stream_peer_is(w->down.stream, STR("node-on")));
    assert_false(rpc_stream_peer_is(w->down.stream, STR("")));
}

static void b43_a_certificate_of_another_ca_or_none_gets_no_stream(void **state)
{
    struct world *w = *state;
    struct rpc_tls server = identity("server", "ca");
    server_start(w, "127.0.0.1:0", &server, 0);
    struct rpc_tls stranger = identity("stranger", "ca");
    client_start(w, &stranger);
    open_stream(w, &method, 0);
    run_until(&w->loop, up_closed, w);
    assert_int_equal(w->up.code, RPC_UNAVAILABLE);
    assert_int_equal(w->accepted, 0);
    bool closed = false;
    rpc_client_close(w->client, on_flag, &closed);
    while (!closed)
        uv_run(&w->loop, UV_RUN_ONCE);
    w->client = NULL;
    w->up = (struct side){0};
    client_start(w, NULL); /* Plain text to a TLS port. */
    open_stream(w, &method, 0);
    run_until(&w->loop, up_closed, w);
    assert_int_equal(w->accepted, 0);
}

static void the_client_refuses_a_server_with_another_name(void **state)
{
    struct world *w = *state;
    struct rpc_tls server = identity("server", "ca");
    server_start(w, "127.0.0.1:0", &server, 0);
    struct rpc_tls node = identity("node-one", "ca");
    node.server_name = "elsewhere.test";
    client_start(w, &node);
    open_stream(w, &method, 0);
    run_until(&w->loop, up_closed, w);
    assert_int_equal(w->up.code, RPC_UNAVAILABLE);
}

struct issuer {
    EVP_PKEY *key;
    X509 *cert;
};

static void write_pem(const char *name, const struct issuer *who)
{
    char path[600];
    (void)snprintf(path, sizeof(path), "%s/%s.pem", certs, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_X509(f, who->cert), 1);
    assert_int_equal(fclose(f), 0);
    (void)snprintf(path, sizeof(path), "%s/%s.key", certs, name);
    f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_PrivateKey(f, who->key, NULL, NULL, 0, NULL, NULL), 1);
    assert_int_equal(fclose(f), 0);
}

static void add_extension(X509 *cert, int nid, const char *value)
{
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    assert_non_null(e);
    assert_int_equal(X509_add_ext(cert, e, -1), 1);
    X509_EXTENSION_free(e);
}

/* ca NULL: signs itself, and may sign others. */
static struct issuer make_certificate(const char *name, const struct issuer *ca, const char *san)
{
    struct issuer out = {.key = EVP_EC_gen("P-256"), .cert = X509_new()};
    assert_non_null(out.key);
    assert_non_null(out.cert);
    static long serial = 1;
    assert_int_equal(X509_set_version(out.cert, 2), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(out.cert), serial++), 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(out.cert), -60));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(out.cert), 86400));
    X509_NAME *subject = X509_get_subject_name(out.cert);
    assert_int_equal(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                                                (const unsigned char *)name, -1, -1, 0),
                     1);
    const struct issuer *by = ca != NULL ? ca : &out;
    assert_int_equal(X509_set_issuer_name(out.cert, X509_get_subject_name(by->cert)), 1);
    assert_int_equal(X509_set_pubkey(out.cert, out.key), 1);
    if (ca == NULL)
        add_extension(out.cert, NID_basic_constraints, "critical,CA:TRUE");
    else
        add_extension(out.cert, NID_subject_alt_name, san);
    assert_true(X509_sign(out.cert, by->key, EVP_sha256()) > 0);
    write_pem(name, &out);
    return out;
}

static void issuer_free(struct issuer *i)
{
    X509_free(i->cert);
    EVP_PKEY_free(i->key);
}

static int make_certificates(void **state)
{
    (void)state;
    certs = temp_dir_make();
    struct issuer ca = make_certificate("ca", NULL, NULL);
    struct issuer other = make_certificate("other", NULL, NULL);
    struct issuer leaves[] = {
        make_certificate("server", &ca, "DNS:control.test"),
        make_certificate("node-one", &ca,
                         "DNS:node-one,URI:urn:uuid:0190a0b0-1111-7222-8333-444455556666"),
        make_certificate("stranger", &other, "DNS:node-one"),
    };
    for (size_t i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++)
        issuer_free(&leaves[i]);
    issuer_free(&ca);
    issuer_free(&other);
    return 0;
}

/* ---- pure ---- */

static void waits_between_streams_grow_and_are_spread(void **state)
{
    (void)state;
    struct rpc_backoff b = {0};
    uint64_t ceiling = RPC_BACKOFF_BASE_MS;
    for (int i = 0; i < 100; i++) {
        assert_true(rpc_backoff_next_ms(&b) <= ceiling);
        ceiling = ceiling * 2 > RPC_BACKOFF_CAP_MS ? RPC_BACKOFF_CAP_MS : ceiling * 2;
    }
    rpc_backoff_reset(&b);
    assert_true(rpc_backoff_next_ms(&b) <= RPC_BACKOFF_BASE_MS);
}

static void a_message_may_not_take_much_more_memory_than_its_size(void **state)
{
    (void)state;
    /* A RecordList of empty records: two bytes each, a struct each. */
    struct buf b;
    buf_init(&b, 1 << 22);
    for (int i = 0; i < 500000; i++)
        assert_int_equal(buf_append(&b, "\x0a\x00", 2), 0);
    uint64_t before = mem_live_bytes();
    ProtobufCMessage *m = NULL;
    assert_int_equal(
        wire_unpack(&steelyard__telemetry__v1__record_list__descriptor, buf_str(&b), &m),
        ERR_CORRUPT);
    assert_int_equal(mem_live_bytes(), before);
    buf_deinit(&b);
}

int main(void)
{
    rpc_init();
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(messages_travel_both_ways_in_order_and_the_end_is_clean),
        TEST(a_slow_reader_fills_the_queue_to_its_bound_and_no_further),
        TEST(who_asks_for_room_is_told_when_there_is_some),
        TEST(a_cancel_is_seen_by_the_other_side),
        TEST(a_server_can_end_a_stream_with_a_reason),
        TEST(what_is_too_large_never_leaves_and_never_arrives),
        TEST(an_unknown_method_is_answered_at_once),
        TEST(streams_above_the_limit_are_refused),
        TEST(a_deadline_ends_a_stream),
        TEST(nobody_there_is_unavailable),
        TEST(a_server_that_closes_ends_every_stream),
        TEST(a_client_goes_on_when_one_beside_it_is_closed),
        TEST(a_client_goes_on_when_the_one_it_was_made_beside_is_closed),
        TEST(plain_text_is_for_loopback_only),
        TEST(a_certificate_of_the_ca_names_the_node),
        TEST(b43_a_certificate_of_another_ca_or_none_gets_no_stream),
        TEST(the_client_refuses_a_server_with_another_name),
        cmocka_unit_test(waits_between_streams_grow_and_are_spread),
        cmocka_unit_test(a_message_may_not_take_much_more_memory_than_its_size),
    };
    int rc = cmocka_run_group_tests(tests, make_certificates, NULL);
    rpc_shutdown();
    temp_dir_remove(certs);
    return rc;
}
