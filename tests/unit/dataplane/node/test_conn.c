/* A connection's bounds: what it holds, how long it waits, how much of a turn it gets. */
#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "dataplane/conn_internal.h"
#include "tests/unit/dataplane/node/rig.h"

#define AUTH "Authorization: Bearer " RIG_KEY "\r\n"
#define POST                                                                                       \
    "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" AUTH
#define MODELS "GET /v1/models HTTP/1.1\r\nHost: x\r\n" AUTH "\r\n"
#define OK_REPLY                                                                                   \
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"             \
    "{\"model\":\"up-small\",\"choices\":[{\"message\":{\"content\":\"hello\"},\"finish_reason\":" \
    "\"stop\"}],\"usage\":null}"

static struct conn *only_conn(struct rig *r)
{
    assert_int_equal(r->conns.open_count, 1);
    return container_of(r->conns.open.next, struct conn, link);
}

static void f23_a_connection_is_small_and_holds_nothing_between_requests(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    assert_true(sizeof(struct conn) - sizeof(uv_tcp_t) <= 160);
    rig_start(&r, NULL);
    rig_connect(&r, &c);
    for (int i = 0; i < 3; i++) {
        rig_send(&c, MODELS, sizeof MODELS - 1);
        rig_until(&r, rig_answered(&c));
        buf_clear(&c.in);
        assert_null(only_conn(&r)->message);
        assert_null(only_conn(&r)->ahead);
        assert_null(only_conn(&r)->out);
        assert_int_equal(r.conns.messages_used, 0);
        assert_int_equal(r.conns.messages.count, 1);
    }
    rig_disconnect(&r, &c);
    rig_stop(&r);
}

/* What is posted when the turn's answers are sent, and then what is left of it. */
static struct sending {
    unsigned turns; /* In which something was posted. */
    uint32_t count;
    size_t bytes;
    uint32_t left;
    int broken_fd; /* -1: none. Says its end first. */
} sending;

static void watch_sending(void *pool)
{
    struct conn_pool *p = pool;
    if (p->post_count > 0) {
        sending.turns++;
        sending.count = p->post_count;
        sending.bytes = p->posted_bytes;
        if (sending.broken_fd >= 0)
            assert_int_equal(shutdown(sending.broken_fd, SHUT_WR), 0);
    }
    conn_end_turn(pool);
    sending.left = p->post_count;
}

static void watch(struct rig *r, int broken_fd)
{
    sending = (struct sending){.broken_fd = broken_fd};
    r->env.cohort.send = watch_sending;
}

/* Three requests in one piece are one post, and with it one write, in the end of the turn that
 * brought them. */
static void answers_of_one_turn_go_out_together_in_its_end(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    static const char three[] = MODELS MODELS MODELS;
    rig_start(&r, NULL);
    rig_connect(&r, &c);
    watch(&r, -1);
    rig_send(&c, three, sizeof three - 1);
    rig_until(&r, sending.turns > 0);
    assert_int_equal(r.env.served, 3);
    assert_int_equal(sending.count, 1);
    assert_int_equal(sending.left, 0);
    assert_int_equal(only_conn(&r)->posts, 0);
    rig_until(&r, c.in.len >= sending.bytes);
    assert_int_equal(c.in.len, sending.bytes);
    assert_int_equal(sending.turns, 1);
    assert_false(uv_is_active((uv_handle_t *)&r.conns.turn));
    rig_disconnect(&r, &c);
    rig_stop(&r);
}

static void what_is_long_comes_after_what_was_posted(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    static char text[3 * CONN_POST_BYTES];
    rig_start(&r, NULL);
    rig_connect(&r, &c);
    rig_until(&r, r.conns.open_count == 1);
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('a' + i % 23);
    const struct str all = {text, sizeof text};
    const size_t cuts[] = {0, 10, 11, 11 + CONN_POST_BYTES + 1, sizeof text - 5, sizeof text};
    for (size_t i = 0; i + 1 < sizeof cuts / sizeof cuts[0]; i++) {
        const struct str piece = str_slice(all, cuts[i], cuts[i + 1]);
        assert_int_equal(conn_send(only_conn(&r), &piece, 1), 0);
    }
    assert_int_equal(only_conn(&r)->posts, 1); /* The last, short again. */
    watch(&r, -1);
    rig_until(&r, c.in.len == sizeof text);
    assert_int_equal(sending.turns, 0); /* It went before the loop waited. */
    assert_false(uv_is_active((uv_handle_t *)&r.conns.turn));
    assert_memory_equal(c.in.data, text, sizeof text);
    rig_disconnect(&r, &c);
    rig_stop(&r);
}

/* More than are posted at a time: those before go at once, and none is lost. */
static void posts_beyond_their_number_send_those_before(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c[2];
    const struct str piece = STR("ab");
    rig_start(&r, NULL);
    rig_connect(&r, &c[0]);
    rig_connect(&r, &c[1]);
    rig_until(&r, r.conns.open_count == 2);
    for (unsigned i = 0; i < CONN_POSTS_MAX + 2; i++) {
        struct list *at = i % 2 == 0 ? r.conns.open.next : r.conns.open.prev;
        assert_int_equal(conn_send(container_of(at, struct conn, link), &piece, 1), 0);
    }
    assert_int_equal(r.conns.post_count, 2);
    rig_until(&r, c[0].in.len == CONN_POSTS_MAX + 2 && c[1].in.len == CONN_POSTS_MAX + 2);
    rig_disconnect(&r, &c[0]);
    rig_disconnect(&r, &c[1]);
    rig_stop(&r);
}

/* The turn's end finds it out and tells nobody, for requests are being driven; the loop does. */
static void who_breaks_before_the_answer_goes_out_ends_alone(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client broken, sound;
    struct rig_answer a;
    rig_start(&r, NULL);
    rig_connect(&r, &broken);
    rig_until(&r, r.conns.open_count == 1);
    struct conn *c = only_conn(&r);
    rig_connect(&r, &sound);
    watch(&r, c->fd);
    rig_send(&broken, MODELS, sizeof MODELS - 1);
    rig_until(&r, sending.turns > 0);
    assert_int_equal(sending.left, 1);
    sending.broken_fd = -1;
    rig_send(&sound, MODELS, sizeof MODELS - 1);
    rig_until(&r, rig_answered(&sound));
    rig_answer_read(&sound, &a);
    assert_int_equal(a.status, 200);
    rig_until(&r, r.conns.open_count == 1);
    assert_int_equal(broken.in.len, 0);
    assert_int_equal(r.conns.post_count, 0);
    buf_deinit(&a.body);
    rig_disconnect(&r, &broken);
    rig_disconnect(&r, &sound);
    rig_stop(&r);
}

/* 500 KB in reads of every size: what the provider gets is what was sent. */
static void a_large_body_arrives_whole_however_it_is_cut(void **state)
{
    (void)state;
    static const size_t steps[] = {1 << 20, 70000, 9001};
    struct rig r;
    struct buf ask;
    char head[512];
    struct rig_answer a;
    rig_start(&r, NULL);
    rig_script(&r, 0, (struct rig_script){.reply = OK_REPLY});
    buf_init(&ask, 1U << 20);
    assert_int_equal(buf_append_text(&ask, "{\"model\":\"small\",\"messages\":[{\"role\":\"user\","
                                           "\"content\":\""),
                     0);
    for (int i = 0; i < 100000; i++)
        assert_int_equal(buf_append(&ask, "word ", 5), 0);
    assert_int_equal(buf_append_text(&ask, "\"}]}"), 0);
    struct buf h = {.data = head, .cap = sizeof head, .max = sizeof head};
    assert_int_equal(buf_printf(&h, POST "Content-Length: %zu\r\n\r\n", ask.len), 0);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        struct rig_client c;
        rig_connect(&r, &c);
        rig_send(&c, h.data, h.len);
        for (size_t at = 0; at < ask.len; at += steps[i]) {
            rig_send(&c, ask.data + at, ask.len - at < steps[i] ? ask.len - at : steps[i]);
            assert_true(rig_turn(&r));
        }
        rig_until(&r, rig_answered(&c));
        rig_answer_read(&c, &a);
        assert_int_equal(a.status, 200);
        buf_deinit(&a.body);
        assert_true(str_search(buf_str(&r.providers[0].last), STR("word word word")) >= 0);
        assert_true(r.providers[0].last.len > 500000);
        rig_disconnect(&r, &c);
    }
    buf_deinit(&ask);
    rig_stop(&r);
}

/* A promised length alone is given no memory: at most ten bytes held for each that came. */
static void a_promised_body_takes_no_memory_before_it_comes(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    static const char promise[] = POST "Content-Length: 30000000\r\n\r\n{\"model\":";
    rig_start(&r, NULL);
    rig_connect(&r, &c);
    rig_send(&c, promise, sizeof promise - 1);
    rig_until(&r, r.conns.open_count == 1 && only_conn(&r)->state == CONN_BODY);
    assert_true(only_conn(&r)->message->in.cap <= 10 * sizeof promise);
    static char part[100000];
    memset(part, ' ', sizeof part);
    rig_send(&c, part, sizeof part);
    rig_until(&r, only_conn(&r)->message->body.payload_bytes > sizeof part);
    assert_true(only_conn(&r)->message->in.cap <= 10 * (sizeof promise + sizeof part));
    rig_disconnect(&r, &c);
    rig_until(&r, r.conns.open_count == 0);
    rig_stop(&r);
}

/* Hundreds of small requests in one piece: another's single request is not behind all of them. */
static void b9_a_flood_of_small_requests_leaves_others_their_turn(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client flood, other;
    struct buf many;
    enum { COUNT = 400 };
    size_t answers = 0;
    rig_start(&r, NULL);
    buf_init(&many, 1U << 20);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(buf_append(&many, MODELS, sizeof MODELS - 1), 0);
    rig_connect(&r, &flood);
    rig_connect(&r, &other);
    rig_send(&flood, many.data, many.len);
    rig_until(&r, !list_empty(&r.conns.again));
    uint64_t before = r.env.served;
    rig_send(&other, MODELS, sizeof MODELS - 1);
    rig_until(&r, rig_answered(&other));
    assert_true(r.env.served - before < COUNT / 2);
    rig_until(&r, r.env.served == COUNT + 1);
    while (answers < COUNT) {
        struct rig_answer a;
        rig_until(&r, rig_answered(&flood));
        rig_answer_read(&flood, &a);
        assert_int_equal(a.status, 200);
        buf_deinit(&a.body);
        buf_consume(&flood.in, a.bytes);
        answers++;
    }
    assert_true(list_empty(&r.conns.again));
    buf_deinit(&many);
    rig_disconnect(&r, &flood);
    rig_disconnect(&r, &other);
    rig_stop(&r);
}

static void b9_who_leaves_amid_a_flood_leaves_nothing_behind(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    struct buf many;
    rig_start(&r, NULL);
    buf_init(&many, 1U << 20);
    for (int i = 0; i < 400; i++)
        assert_int_equal(buf_append(&many, MODELS, sizeof MODELS - 1), 0);
    rig_connect(&r, &c);
    rig_send(&c, many.data, many.len);
    rig_until(&r, !list_empty(&r.conns.again));
    rig_disconnect(&r, &c);
    rig_until(&r, r.conns.open_count == 0);
    assert_int_equal(r.conns.messages_used, 0);
    buf_deinit(&many);
    rig_stop(&r);
}

static void b10_a_body_that_drips_is_408(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    static const char begun[] = POST "Content-Length: 100000\r\n\r\n{";
    rig_start(&r, NULL);
    r.conns.config.body_grace_ms = 50;
    rig_connect(&r, &c);
    rig_send(&c, begun, sizeof begun - 1);
    rig_until(&r, c.ended || c.broken);
    assert_true(str_starts(buf_str(&c.in), STR("HTTP/1.1 408 ")));
    rig_disconnect(&r, &c);
    rig_stop(&r);
}

/* The body that was announced is not waited for. */
static void f24_under_memory_pressure_a_head_is_answered_at_once(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    struct rig_answer a;
    static const char head[] = POST "Content-Length: 100000\r\n\r\n";
    rig_start(&r, NULL);
    r.env.shedding = true;
    rig_connect(&r, &c);
    rig_send(&c, head, sizeof head - 1);
    rig_until(&r, c.ended || c.broken);
    rig_answer_read(&c, &a);
    assert_int_equal(a.status, 503);
    assert_true(rig_has_header(&a, "retry-after: 1\r\n"));
    assert_true(rig_has_header(&a, "x-should-retry: true\r\n"));
    assert_true(str_search(buf_str(&a.body), STR("overloaded")) >= 0);
    assert_int_equal(r.env.active_count, 0);
    buf_deinit(&a.body);
    rig_disconnect(&r, &c);
    rig_stop(&r);
}

static void f21_at_the_limit_of_requests_a_head_is_answered_at_once(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client first, second;
    static const char head[] = POST "Content-Length: 100000\r\n\r\n";
    rig_start(&r, NULL);
    r.shared.settings.requests_max = 1;
    rig_connect(&r, &first);
    rig_connect(&r, &second);
    rig_send(&first, head, sizeof head - 1);
    rig_until(&r, r.env.active_count == 1);
    rig_send(&second, head, sizeof head - 1);
    rig_until(&r, second.ended || second.broken);
    assert_true(str_starts(buf_str(&second.in), STR("HTTP/1.1 503 ")));
    rig_disconnect(&r, &first);
    rig_disconnect(&r, &second);
    rig_stop(&r);
}

static void f24_the_connection_that_holds_most_is_cut(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client small, large;
    static const char head[] = POST "Content-Length: 3000000\r\n\r\n";
    static char part[100000];
    memset(part, ' ', sizeof part);
    rig_start(&r, NULL);
    rig_connect(&r, &small);
    rig_connect(&r, &large);
    rig_send(&small, head, sizeof head - 1);
    rig_send(&large, head, sizeof head - 1);
    rig_send(&large, part, sizeof part);
    rig_until(&r, r.env.active_count == 2);
    rig_until(&r, r.conns.messages_used == 2);
    for (int i = 0; i < 20; i++)
        assert_true(rig_turn(&r));
    conn_pool_cut_largest(&r.conns);
    rig_until(&r, large.broken || large.ended);
    assert_false(small.broken || small.ended);
    assert_int_equal(r.conns.open_count, 1);
    rig_disconnect(&r, &small);
    rig_disconnect(&r, &large);
    rig_stop(&r);
}

/* ---- failing each allocation ---- */

static int raw_connect(struct rig *r)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(listener_port(r->listener))};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

/* The status; 0: the connection was closed without an answer. */
static int raw_ask(struct rig *r, const char *request, size_t len)
{
    char answer[4096];
    int fd = raw_connect(r);
    ssize_t n = -1;
    assert_int_equal(send(fd, request, len, MSG_NOSIGNAL), (ssize_t)len);
    while (n < 0 && rig_turn(r))
        n = recv(fd, answer, sizeof answer, MSG_DONTWAIT);
    close(fd);
    if (n < 12 || memcmp(answer, "HTTP/1.1 ", 9) != 0)
        return 0;
    return (answer[9] - '0') * 100 + (answer[10] - '0') * 10 + (answer[11] - '0');
}

static void f30_a_failed_allocation_costs_that_request_alone(void **state)
{
    (void)state;
    struct rig r;
    bool fired = true;
    unsigned n = 0;
    rig_start(&r, NULL);
    for (; fired; n++) {
        conn_pool_deinit(&r.conns); /* Nothing is kept: everything is allocated anew. */
        fault_arm_alloc(n);
        int status = raw_ask(&r, MODELS, sizeof MODELS - 1);
        fired = fault_disarm();
        if (status != 200 && status != 503 && !(status == 0 && fired))
            fail_msg("allocation %u: status %d", n, status);
        if (!fired)
            assert_int_equal(status, 200);
        rig_until(&r, r.conns.open_count == 0);
        assert_int_equal(r.env.active_count, 0);
        assert_int_equal(r.conns.messages_used, 0);
        assert_int_equal(r.conns.outputs_used, 0);
    }
    assert_true(n >= 3);
    rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f23_a_connection_is_small_and_holds_nothing_between_requests),
        cmocka_unit_test(answers_of_one_turn_go_out_together_in_its_end),
        cmocka_unit_test(what_is_long_comes_after_what_was_posted),
        cmocka_unit_test(posts_beyond_their_number_send_those_before),
        cmocka_unit_test(who_breaks_before_the_answer_goes_out_ends_alone),
        cmocka_unit_test(a_large_body_arrives_whole_however_it_is_cut),
        cmocka_unit_test(a_promised_body_takes_no_memory_before_it_comes),
        cmocka_unit_test(b9_a_flood_of_small_requests_leaves_others_their_turn),
        cmocka_unit_test(b9_who_leaves_amid_a_flood_leaves_nothing_behind),
        cmocka_unit_test(b10_a_body_that_drips_is_408),
        cmocka_unit_test(f24_under_memory_pressure_a_head_is_answered_at_once),
        cmocka_unit_test(f21_at_the_limit_of_requests_a_head_is_answered_at_once),
        cmocka_unit_test(f24_the_connection_that_holds_most_is_cut),
        cmocka_unit_test(f30_a_failed_allocation_costs_that_request_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
