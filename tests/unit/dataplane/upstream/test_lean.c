/* What only the lean transport promises: what it costs, how its pool ages, and that each failed
 * allocation is told. What every transport must do is asked by the test_transport_* programs. */
#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/rand.h"
#include "dataplane/upstream/lean_internal.h"
#include "tests/unit/dataplane/upstream/conform.h"

#define SOUND "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsound"

/* ---- the wheel ---- */

struct bell {
    struct lean_alarm alarm;
    struct lean_wheel *wheel;
    uint64_t set_for_ms;
    uint64_t rung_ms;
    unsigned rings;
    bool again;
};

static void on_ring(struct lean_alarm *alarm)
{
    struct bell *b = container_of(alarm, struct bell, alarm);
    b->rings++;
    b->rung_ms = uv_now(b->wheel->timer.loop);
    if (b->again) {
        b->again = false;
        lean_wheel_set(b->wheel, &b->alarm, b->rung_ms + 1);
    }
}

static void bell_set(struct bell *b, struct lean_wheel *w, uint64_t at_ms)
{
    if (b->wheel == NULL)
        b->alarm = (struct lean_alarm){.at_ms = UINT64_MAX, .ring = on_ring};
    b->wheel = w;
    b->set_for_ms = at_ms;
    lean_wheel_set(w, &b->alarm, at_ms);
}

static void alarms_ring_once_and_never_early(void **state)
{
    (void)state;
    enum { BELLS = 64 };
    struct bell bells[BELLS] = {0};
    struct lean_wheel w;
    uv_loop_t loop;
    assert_int_equal(uv_loop_init(&loop), 0);
    lean_wheel_init(&w, &loop);
    uint64_t now = uv_now(&loop);
    for (unsigned i = 0; i < BELLS; i++)
        bell_set(&bells[i], &w, now + i * 3);
    for (unsigned i = 0; i < BELLS; i += 4)
        lean_wheel_unset(&bells[i].alarm);
    bell_set(&bells[1], &w, now + 100000); /* A later time changes nothing ... */
    bells[1].set_for_ms = now + 3;
    bell_set(&bells[63], &w, now + 1); /* ... an earlier one does. */
    bells[2].again = true;
    uv_run(&loop, UV_RUN_DEFAULT); /* Ends: nothing is left that would wake the loop. */
    for (unsigned i = 0; i < BELLS; i++) {
        assert_int_equal(bells[i].rings, i % 4 == 0 ? 0 : i == 2 ? 2 : 1);
        if (bells[i].rings > 0)
            assert_true(bells[i].rung_ms >= bells[i].set_for_ms);
    }
    assert_true(bells[63].rung_ms <= bells[61].rung_ms);
    uv_close((uv_handle_t *)&w.timer, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void an_alarm_beyond_the_wheel_is_hung_in_its_last_slot(void **state)
{
    (void)state;
    struct bell far = {0}, near = {0};
    struct lean_wheel w;
    uv_loop_t loop;
    assert_int_equal(uv_loop_init(&loop), 0);
    lean_wheel_init(&w, &loop);
    uint64_t now = uv_now(&loop);
    bell_set(&far, &w, now + 3600000);
    assert_true(w.due_slot < now / LEAN_SLOT_MS + LEAN_SLOTS);
    bell_set(&near, &w, now + 5);
    assert_true(w.due_slot <= (now + 5) / LEAN_SLOT_MS + 1);
    while (near.rings == 0)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(far.rings, 0);
    lean_wheel_unset(&far.alarm);
    uv_close((uv_handle_t *)&w.timer, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* ---- a server that allocates nothing ---- */

struct bare {
    int listener;
    int fd;
    uint16_t port;
};

static void bare_start(struct bare *s)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    s->fd = -1;
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(s->listener >= 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(s->listener, 8), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&address, &len), 0);
    s->port = ntohs(address.sin_port);
}

/* Answers whatever came, if something did. */
static void bare_answer(struct bare *s, struct str reply)
{
    char in[4096];
    if (s->fd < 0)
        s->fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (s->fd >= 0 && recv(s->fd, in, sizeof in, 0) > 0)
        assert_int_equal(send(s->fd, reply.data, reply.len, MSG_NOSIGNAL), (ssize_t)reply.len);
}

static void a_call_on_a_kept_connection_allocates_nothing(void **state)
{
    struct conform *c = *state;
    struct bare server;
    const struct str body[] = {STR("{\"a\":"), STR("1}")};
    const struct fetch_field fields[] = {{STR("Authorization"), STR("Bearer secret")}};
    bare_start(&server);
    conform_origin_at(c, "http", "127.0.0.1", server.port);
    for (int i = 0; i < 100; i++) {
        c->x.drop = true;
        exchange_begin(c, &c->x,
                       (struct fetch_request){
                           .fields = fields, .field_count = 1, .body = body, .body_count = 2});
        while (c->x.dones == 0) {
            bare_answer(&server, STR(SOUND));
            uv_run(&c->loop, UV_RUN_NOWAIT);
        }
        assert_int_equal(c->x.result.status, 0);
        assert_int_equal(c->x.result.reused, i > 0);
        if (i == 0)
            fault_arm_alloc(0);
    }
    assert_false(fault_disarm());
    close(server.fd);
    close(server.listener);
}

/* What begins between `work` and `send` goes out in `send`, without a turn of the loop; what begins
 * after it waits for the next one. */
static void calls_of_a_turn_are_sent_in_its_end(void **state)
{
    struct conform *c = *state;
    struct bare server;
    struct exchange next = {.drop = true};
    char in[4096];
    bare_start(&server);
    conform_origin_at(c, "http", "127.0.0.1", server.port);
    for (int round = 0; round < 3; round++) {
        const bool in_turn = round < 2; /* The first one's connection is dialled yet. */
        c->x = next;
        if (in_turn)
            c->ops->work(c->transport);
        exchange_begin(c, &c->x, (struct fetch_request){.method = STR("GET")});
        if (round > 0)
            assert_true(recv(server.fd, in, sizeof in, MSG_PEEK) < 0);
        if (in_turn)
            c->ops->send(c->transport);
        if (round > 0)
            assert_int_equal(recv(server.fd, in, sizeof in, MSG_PEEK) > 0, in_turn);
        while (c->x.dones == 0) {
            bare_answer(&server, STR(SOUND));
            uv_run(&c->loop, UV_RUN_NOWAIT);
            c->ops->work(c->transport);
            c->ops->send(c->transport);
        }
        assert_int_equal(c->x.result.status, 0);
        assert_int_equal(c->x.result.reused, round > 0);
    }
    close(server.fd);
    close(server.listener);
}

static void a_stream_takes_less_than_700_bytes(void **state)
{
    (void)state;
    assert_true(lean_stream_bytes() < 700);
}

/* ---- requests ---- */

static struct transport_origin *origin_of(struct conform *c)
{
    if (c->origin == NULL)
        conform_origin(c, (struct fetch_origin_config){0});
    return c->origin;
}

static struct str random_text(char *out, size_t max, const char *alphabet)
{
    size_t len = (size_t)rand_below(max + 1);
    for (size_t i = 0; i < len; i++)
        out[i] = alphabet[rand_below(strlen(alphabet) + 1)]; /* NUL, too. */
    return (struct str){out, len};
}

/* What is refused is the same, though it is asked of other bytes. */
static void requests_are_refused_as_everywhere_else(void **state)
{
    static const char odd[] = "aZ09-_ \t\r\n:?#/\x01\x7f\x80\xff\"";
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABC0123456789-/?";
    struct conform *c = *state;
    struct transport_origin *o = origin_of(c);
    unsigned refused = 0, taken = 0;
    rand_seed_thread(95);
    for (unsigned i = 0; i < 200000; i++) {
        char method[8], target[40], names[3][24], values[3][48];
        struct fetch_field fields[3];
        struct str head;
        const struct fetch_request r = {
            .method = random_text(method, 6, i % 7 == 0 ? odd : "GETPOS"),
            .target = {target, 1 + random_text(target + 1, 30, i % 5 == 0 ? odd : good).len},
            .fields = fields,
            .field_count = i % 4,
        };
        target[0] = i % 31 == 0 ? 'x' : '/';
        for (unsigned k = 0; k < 3; k++) {
            fields[k].name = random_text(names[k], 20, (i + k) % 11 == 0 ? odd : "abcdef-XYZ");
            fields[k].value = random_text(values[k], 40, (i + k) % 13 == 0 ? odd : good);
            if (i % 17 == 0 && k == 1)
                fields[k].name = i % 2 == 0 ? STR("Transfer-Encoding") : STR("hOST");
        }
        int rc = fetch_check_request(&r);
        assert_int_equal(lean_request_compose(o, &r, &head), rc);
        refused += rc != 0;
        taken += rc == 0;
    }
    assert_true(refused > 10000 && taken > 1000);
}

/* ---- the pool ---- */

static bool none_is_open(void *arg)
{
    struct conform *c = arg;
    return lean_origin_stats(c->origin).open_connections == 0;
}

static void f20_idle_connections_go_when_they_are_old(void **state)
{
    struct conform *c = *state;
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND), S_AGAIN);
    origin_of(c)->idle_ms = 20;
    conform_expect(c, 0, "sound");
    conform_expect(c, 0, "sound");
    assert_true(c->x.result.reused);
    assert_int_equal(lean_origin_stats(c->origin).idle_connections, 1);
    assert_true(wire_run(&c->loop, none_is_open, c));
    assert_true(wire_run(&c->loop, conform_saw_gone, c));
    conform_expect(c, 0, "sound");
    assert_false(c->x.result.reused);
}

static void f20_the_connection_used_last_is_used_next(void **state)
{
    struct conform *c = *state;
    struct exchange x[3] = {0};
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND), S_AGAIN);
    for (int i = 0; i < 3; i++)
        exchange_begin(c, &x[i], (struct fetch_request){0});
    for (int i = 0; i < 3; i++)
        exchange_wait(&x[i]);
    assert_int_equal(lean_origin_stats(c->origin).idle_connections, 3);
    const struct list *front = origin_of(c)->idle.next;
    for (int i = 0; i < 5; i++) {
        conform_expect(c, 0, "sound");
        assert_ptr_equal(origin_of(c)->idle.next, front);
    }
    assert_int_equal(lean_origin_stats(c->origin).reused, 5);
    for (int i = 0; i < 3; i++)
        exchange_deinit(&x[i]);
}

static unsigned ended[8];
static unsigned ended_count;

static void note_end(struct exchange *x)
{
    ended[ended_count++] = (unsigned)x->pause_every; /* Used as a name here. */
}

static void calls_without_a_connection_wait_in_order(void **state)
{
    struct conform *c = *state;
    struct exchange x[8] = {0};
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(SOUND), S_AGAIN);
    conform_origin_at(c, "http", "127.0.0.1", c->evil.port);
    origin_of(c)->max_connections = 1;
    ended_count = 0;
    for (unsigned i = 0; i < 8; i++) {
        x[i].on_end = note_end;
        x[i].pause_every = 100 + i;
        exchange_begin(c, &x[i], (struct fetch_request){0});
    }
    assert_int_equal(lean_origin_stats(c->origin).waiting, 7);
    exchange_cancel(&x[3]);
    for (unsigned i = 0; i < 8; i++)
        exchange_wait(&x[i]);
    static const unsigned order[] = {103, 100, 101, 102, 104, 105, 106, 107};
    assert_memory_equal(ended, order, sizeof order);
    assert_int_equal(x[3].result.status, ERR_CANCELED);
    assert_int_equal(x[3].result.phase, FETCH_RESOLVE);
    assert_int_equal(lean_origin_stats(c->origin).connections_opened, 1);
    for (unsigned i = 0; i < 8; i++)
        exchange_deinit(&x[i]);
}

/* The first one's connection cannot be made; that must not leave the others waiting. */
static void a_slot_that_gets_free_is_given_on(void **state)
{
    struct conform *c = *state;
    struct exchange x[4] = {0};
    conform_origin_at(c, "http", "127.0.0.1", 1);
    origin_of(c)->max_connections = 1;
    for (int i = 0; i < 4; i++)
        exchange_begin(c, &x[i], (struct fetch_request){0});
    for (int i = 0; i < 4; i++) {
        exchange_wait(&x[i]);
        assert_int_equal(x[i].result.status, ERR_REFUSED);
        exchange_deinit(&x[i]);
    }
    assert_int_equal(lean_origin_stats(c->origin).open_connections, 0);
}

/* ---- failed allocations ---- */

/* The upstream and the call share a loop and a process; only allocations of the transport count. */
static bool failing;
static unsigned allocations_left;
static bool starved;

static bool fail_in_transport(void)
{
    if (!failing || starved || allocations_left-- > 0)
        return false;
    starved = true;
    return true;
}

static void run_starving(struct conform *c, struct bare *server, struct str first, struct str rest,
                         bool pause)
{
    unsigned turns = 0;
    c->x.drop = true;
    c->x.pause_at = pause ? 1 : 0;
    exchange_begin(c, &c->x, (struct fetch_request){0});
    while (c->x.dones == 0 && turns < 10000) {
        int before = server->fd;
        char in[4096];
        failing = true;
        uv_run(&c->loop, UV_RUN_NOWAIT);
        failing = false;
        if (before < 0)
            server->fd = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (server->fd >= 0 && recv(server->fd, in, sizeof in, 0) > 0)
            (void)send(server->fd, first.data, first.len, MSG_NOSIGNAL);
        else if (server->fd >= 0 && rest.len > 0 && turns > 20) {
            (void)send(server->fd, rest.data, rest.len, MSG_NOSIGNAL);
            rest = STR_NULL;
        }
        if (pause && c->x.call != NULL && turns > 30) {
            failing = true;
            exchange_resume(&c->x);
            failing = false;
        }
        turns++;
    }
    assert_int_equal(c->x.dones, 1);
}

static void each_failed_allocation(struct conform *c, struct str first, struct str rest, bool pause)
{
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        struct bare server;
        bare_start(&server);
        conform_origin_at(c, "http", "127.0.0.1", server.port);
        allocations_left = n;
        starved = false;
        mem_fail_hook = fail_in_transport;
        run_starving(c, &server, first, rest, pause);
        mem_fail_hook = NULL;
        fired = starved;
        assert_int_equal(c->x.result.status, fired ? ERR_NOMEM : 0);
        if (server.fd >= 0)
            close(server.fd);
        close(server.listener);
        conform_origin_drop(c);
    }
}

static void f30_half_a_head_that_cannot_be_kept_is_told(void **state)
{
    each_failed_allocation(*state, STR("HTTP/1.1 200 OK\r\nContent-Le"),
                           STR("ngth: 5\r\n\r\nsound"), false);
}

static void f30_a_paused_body_that_cannot_be_kept_is_told(void **state)
{
    each_failed_allocation(*state,
                           STR("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                               "1\r\na\r\n1\r\nb\r\n0\r\n\r\n"),
                           STR_NULL, true);
}

static void f30_transport_and_origin_survive_each_failed_allocation(void **state)
{
    (void)state;
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        uv_loop_t loop;
        struct err err = {0};
        struct transport_origin *o = NULL;
        const struct fetch_origin_config config = {
            .url = "http://127.0.0.1:1", .allow_private = true, .allow_http = true};
        assert_int_equal(uv_loop_init(&loop), 0);
        fault_arm_alloc(n);
        struct transport *t = transport_lean.create(&loop);
        int rc = t != NULL ? transport_lean.origin_create(t, &config, &o, &err) : ERR_NOMEM;
        fired = fault_disarm();
        assert_int_equal(rc, fired ? ERR_NOMEM : 0);
        if (rc == 0)
            transport_lean.origin_close(o, NULL, NULL);
        if (t != NULL)
            transport_lean.close(t, NULL, NULL);
        uv_run(&loop, UV_RUN_DEFAULT);
        assert_int_equal(uv_loop_close(&loop), 0);
    }
}

int main(int argc, char **argv)
{
    static char lean[] = "lean";
    char *args[] = {argv[0], lean, NULL};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alarms_ring_once_and_never_early),
        cmocka_unit_test(an_alarm_beyond_the_wheel_is_hung_in_its_last_slot),
        cmocka_unit_test(a_stream_takes_less_than_700_bytes),
        CONFORM(a_call_on_a_kept_connection_allocates_nothing),
        CONFORM(calls_of_a_turn_are_sent_in_its_end),
        CONFORM(requests_are_refused_as_everywhere_else),
        CONFORM(f20_idle_connections_go_when_they_are_old),
        CONFORM(f20_the_connection_used_last_is_used_next),
        CONFORM(calls_without_a_connection_wait_in_order),
        CONFORM(a_slot_that_gets_free_is_given_on),
        CONFORM(f30_half_a_head_that_cannot_be_kept_is_told),
        CONFORM(f30_a_paused_body_that_cannot_be_kept_is_told),
        cmocka_unit_test(f30_transport_and_origin_survive_each_failed_allocation),
    };
    (void)argc;
    return conform_main(2, args, tests, sizeof tests / sizeof tests[0]);
}
