/* Bodies that are handed over while they come. libcurl declines them; for the others: what is sent,
 * how an offer that is not taken is told, and what ends such a call. */
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "tests/unit/dataplane/upstream/conform.h"

#define OK_        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define REFUSED    "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 2\r\n\r\nno"
#define BODY_BYTES 300007U

static char text[BODY_BYTES];

static int set_up(void **state)
{
    for (size_t i = 0; i < BODY_BYTES; i++)
        text[i] = (char)('a' + i * 7 % 26);
    return conform_set_up(state);
}

/* true: this transport takes none, and has said so. */
static bool declines(struct conform *c)
{
    static const struct transport_callbacks none;
    const struct fetch_request request = {
        .method = STR("POST"), .target = STR("/"), .growing_bytes = 10};
    struct transport_call *call;
    if (c->ops->offer != NULL)
        return false;
    conform_origin(c, (struct fetch_origin_config){0});
    assert_int_equal(c->ops->start(c->origin, &request, &none, NULL, &call), ERR_UNSUPPORTED);
    return true;
}

static struct fetch_request growing(size_t bytes)
{
    return (struct fetch_request){.growing_bytes = bytes};
}

static void turn_until_taken(struct conform *c, size_t bytes)
{
    for (int i = 0; i < 200000 && c->x.taken < bytes; i++)
        wire_run_turns(&c->loop, 1);
    assert_int_equal(c->x.taken, bytes);
}

/* The body in steps, each taken before the next is there. */
static void send_in_steps(struct conform *c, size_t bytes, size_t step)
{
    exchange_begin(c, &c->x, growing(bytes));
    for (size_t at = 0; at < bytes;) {
        assert_false(c->ops->sent(c->x.call));
        at = at + step < bytes ? at + step : bytes;
        exchange_grow(&c->x, (struct str){text, at});
        turn_until_taken(c, at);
    }
    assert_true(c->ops->sent(c->x.call));
    c->ops->whole(c->x.call, &(struct fetch_timeouts){0});
    exchange_wait(&c->x);
    assert_int_equal(c->x.result.status, 0);
    assert_int_equal(c->x.status, 200);
    assert_int_equal(c->x.result.sent_bytes, bytes);
    const struct buf *last = &c->evil.last;
    char length[64];
    struct buf b = {.data = length, .cap = sizeof length, .max = sizeof length};
    assert_int_equal(buf_printf(&b, "\r\nContent-Length: %zu\r\n", bytes), 0);
    assert_true(str_search(buf_str(last), buf_str(&b)) > 0);
    assert_memory_equal(last->data + last->len - bytes, text, bytes);
}

static void a_body_in_steps_arrives_whole(void **state)
{
    struct conform *c = *state;
    static const size_t steps[][2] = {
        {40, 1}, {1000, 7}, {BODY_BYTES, 10007}, {BODY_BYTES, 1 << 20}};
    if (declines(c))
        return;
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_), S_AGAIN);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
        send_in_steps(c, steps[i][0], steps[i][1]);
    assert_int_equal(c->evil.connections, 1); /* Whole, so the connection serves on. */
    assert_true(c->x.result.reused);
}

static void a_body_in_steps_arrives_whole_under_tls(void **state)
{
    struct conform *c = *state;
    static const struct certs_spec ca_spec = {.name = "ca"};
    static const struct certs_spec spec = {.name = "evil", .names = "IP:127.0.0.1"};
    char ca_path[] = "/tmp/sy-grow-XXXXXX";
    if (declines(c))
        return;
    int fd = mkstemp(ca_path);
    assert_true(fd >= 0 && close(fd) == 0);
    struct certs ca = certs_make(NULL, &ca_spec);
    struct certs who = certs_make(&ca, &spec);
    certs_write(&ca, ca_path, NULL);
    SSL_CTX *tls = evil_tls_context(&who, 0, 0, NULL);
    conform_serve(c, tls);
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_), S_AGAIN);
    conform_origin(c, (struct fetch_origin_config){0});
    conform_origin(
        c, (struct fetch_origin_config){.url = c->url, .allow_private = true, .ca_file = ca_path});
    send_in_steps(c, 40, 1);
    send_in_steps(c, BODY_BYTES, 10007);
    send_in_steps(c, BODY_BYTES, 1 << 20);
    assert_int_equal(c->evil.connections, 1);
    SSL_CTX_free(tls);
    certs_free(&who);
    certs_free(&ca);
    assert_int_equal(unlink(ca_path), 0);
}

static void an_offer_waits_for_the_connection(void **state)
{
    struct conform *c = *state;
    if (declines(c))
        return;
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_), S_AGAIN);
    exchange_begin(c, &c->x, growing(100));
    exchange_grow(&c->x, (struct str){text, 100});
    assert_int_equal(c->x.taken, 0);
    exchange_wait(&c->x);
    assert_int_equal(c->x.rooms, 1);
    assert_int_equal(c->x.status, 200);
}

static void f23_a_deaf_upstream_is_given_a_bounded_part(void **state)
{
    struct conform *c = *state;
    enum { BYTES = 16 << 20 };
    if (declines(c))
        return;
    char *much = mem_zalloc(BYTES);
    assert_non_null(much);
    EVIL_SCRIPT(&c->evil, S_HEAD, S_DEAF);
    exchange_begin(c, &c->x, growing(BYTES));
    exchange_grow(&c->x, (struct str){much, BYTES});
    wire_run_ms(&c->loop, 100);
    assert_true(c->x.taken > 0 && c->x.taken < BYTES);
    unsigned rooms = c->x.rooms;
    wire_run_ms(&c->loop, 20);
    assert_int_equal(c->x.rooms, rooms); /* Nobody asks in vain. */
    exchange_cancel(&c->x);
    mem_free(much); /* None of it is looked at any more. */
    exchange_wait(&c->x);
    assert_int_equal(c->x.result.status, ERR_CANCELED);
}

/* RFC 9112 section 9.3: the rest of the request is never sent, so nothing can follow it. */
static void f20_a_reply_before_the_end_costs_the_connection(void **state)
{
    struct conform *c = *state;
    if (declines(c))
        return;
    EVIL_SCRIPT(&c->evil, S_TAKE(50), S_SEND(REFUSED));
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_));
    exchange_begin(c, &c->x, growing(1000));
    exchange_grow(&c->x, (struct str){text, 500});
    exchange_wait(&c->x);
    assert_int_equal(c->x.result.status, 0);
    assert_int_equal(c->x.status, 413);
    assert_string_equal(buf_cstr(&c->x.body), "no");
    assert_true(wire_run(&c->loop, conform_saw_gone, c));
    conform_expect(c, 0, "ok");
    assert_false(c->x.result.reused);
}

static void f20_a_call_cut_amid_its_body_leaves_no_connection(void **state)
{
    struct conform *c = *state;
    if (declines(c))
        return;
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_), S_HEAD, S_HOLD);
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_), S_HEAD, S_CLOSE);
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_));
    for (int i = 0; i < 2; i++) {
        conform_expect(c, 0, "ok"); /* So that it is on a kept connection. */
        exchange_begin(c, &c->x, growing(1000));
        exchange_grow(&c->x, (struct str){text, 500});
        assert_int_equal(c->x.taken, 500);
        if (i == 0) {
            assert_true(wire_run(&c->loop, conform_saw_hold, c));
            exchange_cancel(&c->x);
        }
        exchange_wait(&c->x);
        assert_int_equal(c->x.result.status, i == 0 ? ERR_CANCELED : ERR_CLOSED);
        assert_int_equal(c->x.result.sent_bytes, 500);
    }
    conform_expect(c, 0, "ok");
    assert_int_equal(c->evil.connections, 3);
    assert_int_equal(c->evil.requests, 3);
}

/* A client may take its time: the upstream is not to blame until it has everything. */
static void f12_the_reply_is_awaited_from_the_end_of_the_body(void **state)
{
    struct conform *c = *state;
    if (declines(c))
        return;
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_HOLD);
    struct fetch_request request = growing(100);
    request.timeouts.head_ms = 30;
    exchange_begin(c, &c->x, request);
    exchange_grow(&c->x, (struct str){text, 60});
    wire_run_ms(&c->loop, 100);
    assert_int_equal(c->x.dones, 0);
    exchange_grow(&c->x, (struct str){text, 100});
    c->ops->whole(c->x.call, &(struct fetch_timeouts){.head_ms = 40});
    exchange_wait(&c->x);
    assert_int_equal(c->x.result.status, ERR_TIMEOUT);
    assert_int_equal(c->x.result.phase, FETCH_HEAD);
}

static void f12_the_total_time_counts_from_the_start(void **state)
{
    struct conform *c = *state;
    if (declines(c))
        return;
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_HOLD);
    struct fetch_request request = growing(100);
    request.timeouts.total_ms = 60;
    exchange_begin(c, &c->x, request);
    exchange_grow(&c->x, (struct str){text, 60});
    exchange_wait(&c->x);
    assert_int_equal(c->x.result.status, ERR_TIMEOUT);
}

static void f30_a_growing_call_survives_each_allocation(void **state)
{
    struct conform *c = *state;
    if (declines(c))
        return;
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_), S_AGAIN);
    bool fired = true;
    for (unsigned n = 1; fired; n++) {
        conform_origin(c, (struct fetch_origin_config){0});
        c->x.starve = n;
        exchange_begin(c, &c->x, growing(100));
        fired = c->x.starved;
        if (c->x.call == NULL)
            continue;
        exchange_grow(&c->x, (struct str){text, 100});
        exchange_wait(&c->x);
        assert_true(fired || c->x.result.status == 0);
    }
    c->x.starve = 0;
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, conform_tear_down)
    const struct CMUnitTest tests[] = {
        T(a_body_in_steps_arrives_whole),
        T(a_body_in_steps_arrives_whole_under_tls),
        T(an_offer_waits_for_the_connection),
        T(f23_a_deaf_upstream_is_given_a_bounded_part),
        T(f20_a_reply_before_the_end_costs_the_connection),
        T(f20_a_call_cut_amid_its_body_leaves_no_connection),
        T(f12_the_reply_is_awaited_from_the_end_of_the_body),
        T(f12_the_total_time_counts_from_the_start),
        T(f30_a_growing_call_survives_each_allocation),
    };
    return conform_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
