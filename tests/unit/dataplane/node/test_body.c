/* Bodies that arrive in parts: scanned as they come, answered as if they had come at once. */
#include <string.h>

#include "dataplane/conn_internal.h"
#include "tests/unit/dataplane/node/rig.h"

#define AUTH       "Authorization: Bearer " RIG_KEY "\r\n"
#define HEAD(path) "POST " path " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" AUTH
#define POST       HEAD("/v1/chat/completions")
#define OK_REPLY                                                                                   \
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"             \
    "{\"model\":\"up-small\",\"choices\":[{\"message\":{\"content\":\"hello\"},\"finish_reason\":" \
    "\"stop\"}],\"usage\":null}"
#define TEXT(text)                                                                                 \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }
#define BYTES(text) text, sizeof(text) - 1
#define CALL        "{\"model\":\"small\",\"messages\":[{\"role\":\"user\",\"content\":"

static struct conn *only_conn(struct rig *r)
{
    assert_int_equal(r->conns.open_count, 1);
    return container_of(r->conns.open.next, struct conn, link);
}

static bool has_read(struct rig *r, size_t bytes)
{
    if (r->conns.open_count != 1)
        return false;
    const struct conn *c = only_conn(r);
    return c->state == CONN_BODY && c->message->body.payload_bytes == bytes;
}

/* Parts go when they are sent, not when the one before was acknowledged. */
static void connect_client(struct rig *r, struct rig_client *c)
{
    rig_connect(r, c);
    assert_int_equal(uv_tcp_nodelay(&c->tcp, 1), 0);
}

static void send_head(struct rig_client *c, const char *head, size_t body_bytes)
{
    char text[1024];
    struct buf b = {.data = text, .cap = sizeof text, .max = sizeof text};
    assert_int_equal(buf_printf(&b, "%sContent-Length: %zu\r\n\r\n", head, body_bytes), 0);
    rig_send(c, b.data, b.len);
}

static void take_answer(struct rig *r, struct rig_client *c, struct rig_answer *a)
{
    rig_until(r, rig_answered(c) || c->ended || c->broken);
    rig_answer_read(c, a);
    assert_true(a->complete);
    buf_clear(&c->in);
}

/* The body in two parts, the first of which the node has read before it gets the second. */
static void ask_in_parts(struct rig *r, struct rig_client *c, struct str body, size_t cut,
                         struct rig_answer *a)
{
    send_head(c, POST, body.len);
    if (cut > 0 && cut < body.len) {
        rig_send(c, body.data, cut);
        rig_until(r, has_read(r, cut));
        rig_send(c, body.data + cut, body.len - cut);
    } else {
        rig_send(c, body.data, body.len);
    }
    take_answer(r, c, a);
}

static const struct str bodies[] = {
    TEXT(CALL "\"a\\u00e9\\n\xc3\xa9 \xf0\x9f\x98\x80\"}],\"n\":1,\"temperature\":0.75e0,"
              "\"stop\":[null,true,false]} "),
    TEXT(CALL "\"bad UTF-8 \xc3\"}]}"),
    TEXT(CALL "\"twice\"}],\"model\":\"large\"}"),
    TEXT(CALL "\"twice\"}],\"mode\\u006c\":\"large\"}"),
    TEXT(CALL "\"half\"}]"),
    TEXT(CALL "\"more\"}]}}"),
    TEXT(CALL "7}]}"),
    TEXT(CALL "\"lone \\ud83d\"}]}"),
    TEXT(CALL "\"number\"}],\"n\":01}"),
    TEXT("\xef\xbb\xbf{}"),
    TEXT("{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}"),
};

static void b13_a_body_cut_at_any_byte_is_answered_as_in_one_piece(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    struct rig_answer whole, parts;
    rig_start(&r, NULL);
    rig_script(&r, 0, (struct rig_script){.reply = OK_REPLY});
    connect_client(&r, &c);
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        ask_in_parts(&r, &c, bodies[i], 0, &whole);
        assert_int_equal(whole.status, i == 0 ? 200 : 400);
        for (size_t cut = 1; cut < bodies[i].len; cut++) {
            ask_in_parts(&r, &c, bodies[i], cut, &parts);
            assert_int_equal(parts.status, whole.status);
            if (whole.status != 200 && !str_eq(buf_str(&parts.body), buf_str(&whole.body)))
                fail_msg("body %zu cut at %zu: %s", i, cut, parts.body.data);
            buf_deinit(&parts.body);
        }
        buf_deinit(&whole.body);
    }
    assert_int_equal(r.providers[0].requests, bodies[0].len);
    assert_int_equal(r.conns.messages.count, 1); /* One connection was enough. */
    assert_int_equal(r.env.scans.count, 1);
    rig_disconnect(&r, &c);
    rig_stop(&r);
}

static void b13_chunks_of_one_byte_are_answered_as_one_piece(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    struct rig_answer whole, parts;
    rig_start(&r, NULL);
    rig_script(&r, 0, (struct rig_script){.reply = OK_REPLY});
    connect_client(&r, &c);
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        char chunk[6] = "1\r\n?\r\n";
        ask_in_parts(&r, &c, bodies[i], 0, &whole);
        rig_send(&c, BYTES(POST "Transfer-Encoding: chunked\r\n\r\n"));
        for (size_t at = 0; at < bodies[i].len; at++) {
            chunk[3] = bodies[i].data[at];
            rig_send(&c, chunk, sizeof chunk);
            rig_until(&r, has_read(&r, at + 1));
        }
        rig_send(&c, BYTES("0\r\n\r\n"));
        take_answer(&r, &c, &parts);
        assert_int_equal(parts.status, whole.status);
        if (whole.status != 200)
            assert_true(str_eq(buf_str(&parts.body), buf_str(&whole.body)));
        buf_deinit(&parts.body);
        buf_deinit(&whole.body);
    }
    rig_disconnect(&r, &c);
    rig_stop(&r);
}

/* ---- wrong before it is whole ---- */

static void b13_a_wrong_body_with_much_to_come_is_answered_at_once(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    struct rig_answer whole, early;
    const struct str wrong = STR("{\"model\":\"small\",\"messages\":[}");
    rig_start(&r, NULL);
    connect_client(&r, &c);
    ask_in_parts(&r, &c, wrong, 0, &whole);
    send_head(&c, POST, 20 << 20);
    rig_send(&c, wrong.data, wrong.len);
    take_answer(&r, &c, &early);
    assert_int_equal(early.status, 400);
    assert_true(str_eq(buf_str(&early.body), buf_str(&whole.body)));
    assert_true(rig_has_header(&early, "connection: close\r\n"));
    rig_until(&r, c.ended || c.broken);
    assert_int_equal(r.env.active_count, 0);
    buf_deinit(&early.body);
    buf_deinit(&whole.body);
    rig_disconnect(&r, &c);
    rig_stop(&r);
}

static void b13_of_a_wrong_body_a_short_rest_is_read_to_keep_the_connection(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    struct rig_answer a;
    static char rest[60000];
    rig_start(&r, NULL);
    connect_client(&r, &c);
    send_head(&c, POST, 2 + sizeof rest);
    rig_send(&c, "[}", 2);
    rig_until(&r, has_read(&r, 2));
    rig_send(&c, rest, sizeof rest);
    take_answer(&r, &c, &a);
    assert_int_equal(a.status, 400);
    assert_false(rig_has_header(&a, "connection: close\r\n"));
    buf_deinit(&a.body);
    ask_in_parts(&r, &c, STR("{}"), 1, &a);
    assert_int_equal(a.status, 400);
    buf_deinit(&a.body);
    rig_disconnect(&r, &c);
    rig_stop(&r);
}

/* What answers before the body's sense does so for a part, too. */
static void b12_another_media_type_is_415_however_wrong_the_body(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    struct rig_answer a;
    rig_start(&r, NULL);
    connect_client(&r, &c);
    send_head(&c,
              "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n" AUTH,
              1 << 20);
    rig_send(&c, "[}", 2);
    take_answer(&r, &c, &a);
    assert_int_equal(a.status, 415);
    buf_deinit(&a.body);
    rig_disconnect(&r, &c);
    rig_stop(&r);
}

/* Its length may yet be too much, or its chunks no chunks: what it is, is said at its end. */
static void b13_a_wrong_chunked_body_is_read_to_its_end(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    struct rig_answer a;
    rig_start(&r, NULL);
    connect_client(&r, &c);
    rig_send(&c, BYTES(POST "Transfer-Encoding: chunked\r\n\r\n2\r\n[}\r\n"));
    rig_until(&r, has_read(&r, 2));
    rig_send(&c, BYTES("no chunk\r\n"));
    take_answer(&r, &c, &a);
    assert_int_equal(a.status, 400);
    assert_true(str_search(buf_str(&a.body), STR("offset")) < 0);
    buf_deinit(&a.body);
    rig_disconnect(&r, &c);
    rig_stop(&r);
}

/* ---- bounds ---- */

static void f23_a_scan_that_would_outgrow_the_body_is_given_up(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    struct rig_answer a;
    static char part[100000]; /* Each two bytes of it are a node of sixteen. */
    enum { PARTS = 10 };
    rig_start(&r, NULL);
    connect_client(&r, &c);
    send_head(&c, POST, 1 + PARTS * sizeof part);
    rig_send(&c, "[", 1);
    rig_until(&r, has_read(&r, 1));
    for (size_t i = 0; i < sizeof part; i += 2)
        memcpy(part + i, "1,", 2);
    for (size_t i = 0; i < PARTS; i++) {
        rig_send(&c, part, sizeof part);
        if (i == PARTS - 1)
            break;
        rig_until(&r, has_read(&r, 1 + (i + 1) * sizeof part));
        assert_null(container_of(r.env.active.next, struct request, link)->scan);
    }
    take_answer(&r, &c, &a);
    assert_int_equal(a.status, 400);
    assert_true(str_search(buf_str(&a.body), STR("too many")) >= 0);
    buf_deinit(&a.body);
    rig_disconnect(&r, &c);
    rig_stop(&r);
}

static void f23_who_leaves_amid_a_body_leaves_no_scan(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    rig_start(&r, NULL);
    for (size_t cut = 1; cut < bodies[0].len; cut += 7) {
        connect_client(&r, &c);
        send_head(&c, POST, bodies[0].len);
        rig_send(&c, bodies[0].data, cut);
        rig_until(&r, has_read(&r, cut));
        rig_disconnect(&r, &c);
        rig_until(&r, r.conns.open_count == 0 && r.env.active_count == 0);
        assert_int_equal(r.env.scans.count, 1);
    }
    rig_stop(&r);
}

static void f24_under_memory_pressure_nothing_is_scanned_ahead(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    struct rig_answer a;
    rig_start(&r, NULL);
    connect_client(&r, &c);
    send_head(&c, POST, bodies[1].len);
    rig_send(&c, bodies[1].data, 1);
    rig_until(&r, has_read(&r, 1));
    r.env.shedding = true;
    rig_send(&c, bodies[1].data + 1, 1);
    rig_until(&r, has_read(&r, 2));
    assert_null(container_of(r.env.active.next, struct request, link)->scan);
    r.env.shedding = false;
    rig_send(&c, bodies[1].data + 2, bodies[1].len - 2);
    take_answer(&r, &c, &a);
    assert_int_equal(a.status, 400);
    buf_deinit(&a.body);
    rig_disconnect(&r, &c);
    rig_stop(&r);
}

static void f30_a_body_is_read_without_its_scan_if_memory_fails(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    struct rig_answer a;
    rig_start(&r, NULL);
    rig_script(&r, 0, (struct rig_script){.reply = OK_REPLY});
    for (unsigned n = 0; n < 2; n++) { /* The scan, its nodes. */
        connect_client(&r, &c);
        send_head(&c, POST, bodies[0].len);
        rig_until(&r, has_read(&r, 0));
        rig_send(&c, bodies[0].data, 20);
        fault_arm_alloc(n);
        rig_until(&r, has_read(&r, 20));
        assert_true(fault_disarm());
        assert_null(container_of(r.env.active.next, struct request, link)->scan);
        rig_send(&c, bodies[0].data + 20, bodies[0].len - 20);
        take_answer(&r, &c, &a);
        assert_int_equal(a.status, 200);
        buf_deinit(&a.body);
        rig_disconnect(&r, &c);
        rig_until(&r, r.conns.open_count == 0);
        request_env_trim(&r.env);
    }
    rig_stop(&r);
}

/* The head lies in front of the body, and moves with it. */
static void an_unknown_path_is_logged_although_its_body_moved(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    struct rig_answer a;
    static char body[60000];
    rig_start(&r, NULL);
    r.shared.settings.access_log = true;
    connect_client(&r, &c);
    send_head(&c, HEAD("/v1/nowhere"), sizeof body);
    rig_until(&r, has_read(&r, 0));
    for (size_t at = 0; at < sizeof body; at += 20000)
        rig_send(&c, body + at, 20000);
    take_answer(&r, &c, &a);
    assert_int_equal(a.status, 404); /* Sanitizers look at what the line was made of. */
    buf_deinit(&a.body);
    rig_disconnect(&r, &c);
    rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(b13_a_body_cut_at_any_byte_is_answered_as_in_one_piece),
        cmocka_unit_test(b13_chunks_of_one_byte_are_answered_as_one_piece),
        cmocka_unit_test(b13_a_wrong_body_with_much_to_come_is_answered_at_once),
        cmocka_unit_test(b13_of_a_wrong_body_a_short_rest_is_read_to_keep_the_connection),
        cmocka_unit_test(b12_another_media_type_is_415_however_wrong_the_body),
        cmocka_unit_test(b13_a_wrong_chunked_body_is_read_to_its_end),
        cmocka_unit_test(f23_a_scan_that_would_outgrow_the_body_is_given_up),
        cmocka_unit_test(f23_who_leaves_amid_a_body_leaves_no_scan),
        cmocka_unit_test(f24_under_memory_pressure_nothing_is_scanned_ahead),
        cmocka_unit_test(f30_a_body_is_read_without_its_scan_if_memory_fails),
        cmocka_unit_test(an_unknown_path_is_logged_although_its_body_moved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
