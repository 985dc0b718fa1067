/* A request that names its model goes up while its body comes: what the upstream gets, what the
 * client gets when either side fails in between, and what is written down. */
#include <string.h>

#include "common/json/json.h"
#include "dataplane/conn_internal.h"
#include "tests/unit/dataplane/node/replies.h"
#include "tests/unit/dataplane/node/rig.h"

#define HEAD(more)                                                                                 \
    "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"          \
    "Authorization: Bearer " RIG_KEY "\r\n" more
#define REFUSED                                                                                    \
    "HTTP/1.1 413 Payload Too Large\r\nContent-Type: application/json\r\n"                         \
    "Content-Length: 36\r\n\r\n{\"error\":{\"message\":\"far too much\"}}"
#define BODY_BYTES 100000U

static struct buf body; /* Of the test. */

/* {"model":"small",<members>"messages":[{"role":"user","content":"text text ..."}]<end> */
static struct str make_body(const char *members, size_t bytes, const char *end)
{
    buf_deinit(&body);
    buf_init(&body, 8U << 20);
    assert_int_equal(
        buf_printf(&body, "{\"model\":\"small\",%s\"messages\":[{\"role\":\"user\",\"content\":\"",
                   members),
        0);
    while (body.len + strlen(end) + 8 < bytes)
        assert_int_equal(buf_append(&body, "text ", 5), 0);
    assert_int_equal(buf_append_text(&body, "\"}]"), 0);
    assert_int_equal(buf_append_text(&body, end), 0);
    return buf_str(&body);
}

static const struct conn *only_conn(const struct rig *r)
{
    return r->conns.open_count != 1 ? NULL : container_of(r->conns.open.next, struct conn, link);
}

static bool has_read(const struct rig *r, size_t bytes)
{
    const struct conn *c = only_conn(r);
    return c != NULL && c->state == CONN_BODY && c->message->body.payload_bytes >= bytes;
}

static void send_head(struct rig_client *c, const char *more, size_t bytes)
{
    char text[1024];
    struct buf b = {.data = text, .cap = sizeof text, .max = sizeof text};
    assert_int_equal(buf_printf(&b, HEAD("%s") "Content-Length: %zu\r\n\r\n", more, bytes), 0);
    rig_send(c, b.data, b.len);
}

/* Head and first bytes, which the node has read when this returns. */
static void begin_with(struct rig *r, struct rig_client *c, const char *more, struct str text,
                       size_t bytes)
{
    rig_connect(r, c);
    assert_int_equal(uv_tcp_nodelay(&c->tcp, 1), 0);
    send_head(c, more, text.len);
    rig_send(c, text.data, bytes);
    rig_until(r, has_read(r, bytes));
}

static void begin(struct rig *r, struct rig_client *c, struct str text, size_t bytes)
{
    begin_with(r, c, "", text, bytes);
}

static void finish(struct rig *r, struct rig_client *c, struct str text, size_t sent,
                   struct rig_answer *a)
{
    rig_send(c, text.data + sent, text.len - sent);
    rig_until(r, rig_answered(c) || c->ended || c->broken);
    rig_answer_read(c, a);
}

static bool says(const struct rig_answer *a, const char *text)
{
    return str_search(buf_str(&a->body), str_from(text)) >= 0;
}

static void start(struct rig *r)
{
    static const struct rig_options options = {.abort_stops_billing = true};
    rig_start(r, &options);
    rig_script(r, 0, (struct rig_script){.reply = replies_whole()});
}

static void stop(struct rig *r, struct rig_client *c)
{
    rig_disconnect(r, c);
    rig_until(r, r->conns.open_count == 0 && r->env.active_count == 0);
    rig_stop(r);
    buf_deinit(&body);
}

/* The body of the last whole request. */
static struct str upstream_body(const struct rig *r)
{
    struct str all = buf_str(&r->providers[0].last);
    ptrdiff_t at = str_search(all, STR("\r\n\r\n"));
    assert_true(at > 0);
    return str_slice(all, (size_t)at + 4, all.len);
}

/* As sent, but for the model's name and, of a stream, the usage that is asked for. */
static void check_upstream(const struct rig *r, struct str sent, bool usage)
{
    struct json up, down;
    struct str up_body = upstream_body(r);
    json_init(&up, JSON_NODES_MAX);
    json_init(&down, JSON_NODES_MAX);
    assert_int_equal(json_parse(&up, up_body, NULL), 0);
    assert_int_equal(json_parse(&down, sent, NULL), 0);
    assert_true(json_string_is(&up, json_get(&up, JSON_ROOT, STR("model")), STR("up-small")));
    assert_true(str_eq(json_raw(&up, json_get(&up, JSON_ROOT, STR("messages"))),
                       json_raw(&down, json_get(&down, JSON_ROOT, STR("messages")))));
    bool asked = false;
    uint32_t options = json_get(&up, JSON_ROOT, STR("stream_options"));
    if (json_bool(&up, json_get(&up, options, STR("include_usage")), &asked) != 0)
        asked = false;
    assert_int_equal(asked, usage);
    if (json_get(&down, JSON_ROOT, STR("stream_options")) == JSON_NONE)
        assert_int_equal(json_count(&up, JSON_ROOT), json_count(&down, JSON_ROOT) + usage);
    json_deinit(&up);
    json_deinit(&down);
}

/* ---- the usual ---- */

static void the_upstream_has_most_of_a_body_before_the_node_has_all(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    struct rig_answer a;
    start(&r);
    struct str text = make_body("", BODY_BYTES, "}");
    begin(&r, &c, text, 60000);
    rig_until(&r, r.providers[0].received > 60000);
    assert_int_equal(r.providers[0].requests, 0);
    rig_send(&c, text.data + 60000, text.len - 1 - 60000);
    rig_until(&r, r.providers[0].received > text.len - 1);
    for (int i = 0; i < 20; i++)
        assert_true(rig_turn(&r));
    assert_int_equal(r.providers[0].requests, 0); /* Not without the last byte. */
    finish(&r, &c, text, text.len - 1, &a);
    assert_int_equal(a.status, 200);
    assert_true(says(&a, "hello") && says(&a, "\"small\""));
    assert_false(rig_has_header(&a, "connection: close\r\n"));
    check_upstream(&r, text, false);
    assert_int_equal(rig_records(&r), 1);
    buf_deinit(&a.body);
    /* Both connections serve on. */
    buf_clear(&c.in);
    send_head(&c, "", text.len);
    rig_send(&c, text.data, 50000);
    rig_until(&r, has_read(&r, 50000));
    finish(&r, &c, text, 50000, &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(r.providers[0].connections, 1);
    assert_int_equal(rig_records(&r), 2);
    buf_deinit(&a.body);
    stop(&r, &c);
}

static void a_body_goes_up_the_same_wherever_it_is_cut(void **state)
{
    (void)state;
    static const struct {
        const char *members;
        const char *end;
        bool stream;
        bool usage; /* Upstream. */
    } rows[] = {
        {"", "}", false, false},
        {"\"n\":1,", " , \"stream\" : false } ", false, false},
        {"", ",\"stream\":true}", true, true},
        {"\"stream\":true,", "\n}\n", true, true},
        {"\"stream_options\":{\"include_usage\":false},", ",\"stream\":true}", true, true},
        {"", ",\"stream_options\":null,\"stream\":true}", true, true},
        {"", ",\"stream_options\":{\"x\":{}},\"stream\":true}", true, true},
        {"", ",\"stream_options\":{},\"stream\":true}", true, true},
        {"\"str\\u0065am_options\":{\"include_usage\":null},", ",\"stream\":true}", true, true},
        {"\"stream_options\":{\"include_usage\":true},", ",\"stream\":true}", true, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig r;
        struct rig_client c;
        size_t early = 0;
        rig_start(&r, NULL);
        r.shared.settings.forward_early_bytes = 1;
        rig_script(&r, 0,
                   (struct rig_script){
                       .reply = rows[i].stream
                                    ? replies_stream(EV_ROLE EV_TEXT EV_STOP EV_USAGE EV_DONE)
                                    : replies_whole()});
        struct str text = make_body(rows[i].members, 0, rows[i].end);
        rig_connect(&r, &c);
        assert_int_equal(uv_tcp_nodelay(&c.tcp, 1), 0);
        for (size_t cut = 1; cut < text.len; cut++) {
            struct rig_answer a;
            send_head(&c, "", text.len);
            rig_send(&c, text.data, cut);
            rig_until(&r, has_read(&r, cut));
            early += container_of(r.env.active.next, struct request, link)->early;
            finish(&r, &c, text, cut, &a);
            assert_int_equal(a.status, 200);
            assert_true(says(&a, "hello"));
            check_upstream(&r, text, rows[i].usage);
            buf_deinit(&a.body);
            buf_clear(&c.in);
        }
        /* From the messages on. */
        assert_true(early >= text.len - 32 - strlen(rows[i].members));
        assert_int_equal(r.providers[0].connections, 1);
        assert_int_equal(r.providers[0].requests, text.len - 1);
        assert_int_equal(rig_records(&r), text.len - 1);
        stop(&r, &c);
    }
}

/* Nothing is forwarded ahead for who is not named, not ours, small, or where it is switched off. */
static void what_is_not_pinned_waits_for_its_end(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *head;
        uint64_t least;
        unsigned status;
    } rows[] = {
        {"{\"model\":\"auto\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}", "", 1, 200},
        {"{\"model\":\"none\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}", "", 1, 404},
        {"{\"model\":\"sm\\u0061ll\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}", "", 1,
         200},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"hi\",\"model\":\"small\"}],\"n\":1}", "",
         1, 400},
        {"{\"model\":\"small\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}", "", 0, 200},
        {"{\"model\":\"small\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}", "", 500,
         200},
        {"{\"model\":\"small\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
         "x-steelyard-max-cost-usd: much\r\n", 1, 400},
        {"{\"model\":\"small\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
         "Content-Encoding: gzip\r\n", 1, 415},
        {"{\"model\":\"small\",\"provider\":{},\"messages\":[{\"role\":\"user\",\"content\":"
         "\"hi\"}]}",
         "", 1, 200},
        {"{\"model\":\"small\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
         "x-steelyard-preferences: {}\r\n", 1, 200},
        /* Whether it runs already, or was answered, is known when the body is. */
        {"{\"model\":\"small\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
         "Idempotency-Key: once\r\n", 1, 200},
        {"{\"model\":\"small\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
         "Idempotency-Key: \"once\"\r\n", 1, 200},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig r;
        struct rig_client c;
        struct rig_answer a;
        struct str text = str_from(rows[i].text);
        start(&r);
        r.shared.settings.forward_early_bytes = rows[i].least;
        begin_with(&r, &c, rows[i].head, text, text.len - 1);
        for (int n = 0; n < 10; n++)
            assert_true(rig_turn(&r));
        assert_int_equal(r.providers[0].connections, 0);
        finish(&r, &c, text, text.len - 1, &a);
        if (a.status != rows[i].status)
            fail_msg("row %zu: %u %s", i, a.status, a.body.data);
        buf_deinit(&a.body);
        stop(&r, &c);
    }
}

/* ---- refused at its end ---- */

static void b13_what_is_refused_at_its_end_is_no_whole_request_upstream(void **state)
{
    (void)state;
    static const struct {
        const char *end;
        const char *code;
    } rows[] = {
        {",\"model\":\"large\"}", "\"param\":\"model\""},       /* B14 */
        {",\"mod\\u0065l\":\"small\"}", "\"param\":\"model\""}, /* B14 */
        {",\"x\":\"\xc3\"}", "UTF-8"},
        {",\"n\":99}", "\"param\":\"n\""},
        {",\"api_base\":\"http://elsewhere\"}", "api_base"},
        {",\"stream\":1}", "\"param\":\"stream\""},
        {"}}", "invalid_json"},
        {"", "invalid_json"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig r;
        struct rig_client c;
        struct rig_answer a, plain;
        start(&r);
        struct str text = make_body("", BODY_BYTES, rows[i].end);
        r.shared.settings.forward_early_bytes = 0;
        begin(&r, &c, text, 70000);
        finish(&r, &c, text, 70000, &plain);
        assert_int_equal(plain.status, 400);
        if (!says(&plain, rows[i].code) && i < 6)
            fail_msg("row %zu: %s", i, plain.body.data);
        rig_disconnect(&r, &c);
        rig_until(&r, r.conns.open_count == 0);
        assert_int_equal(r.providers[0].connections, 0);

        r.shared.settings.forward_early_bytes = 1;
        begin(&r, &c, text, 70000);
        rig_until(&r, r.providers[0].received > 70000);
        finish(&r, &c, text, 70000, &a);
        assert_int_equal(a.status, 400);
        assert_true(str_eq(buf_str(&a.body), buf_str(&plain.body)));
        rig_until(&r, r.providers[0].gone == 1);
        assert_int_equal(r.providers[0].requests, 0);
        assert_int_equal(rig_records(&r), 1); /* The first was decided by nobody. */
        buf_deinit(&a.body);
        buf_deinit(&plain.body);
        stop(&r, &c);
    }
}

static void b46_wishes_behind_the_messages_hold(void **state)
{
    (void)state;
    static const struct {
        const char *end;
        unsigned status;
        uint64_t requests;
    } rows[] = {
        {",\"provider\":{\"only\":[\"nobody\"]},\"n\":1}", 404, 0},
        {",\"provider\":{\"data_collection\":\"deny\"}}", 404, 0},
        {",\"provider\":{\"sort\":1}}", 400, 0},
        {",\"n\":1 , \"provider\":{\"sort\":\"price\"},\"usage\":{\"include\":true}}", 200, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig r;
        struct rig_client c;
        struct rig_answer a;
        start(&r);
        struct str text = make_body("", BODY_BYTES, rows[i].end);
        begin(&r, &c, text, 70000);
        rig_until(&r, r.providers[0].received > 60000);
        finish(&r, &c, text, 70000, &a);
        if (a.status != rows[i].status)
            fail_msg("row %zu: %u %s", i, a.status, a.body.data);
        if (rows[i].requests == 0)
            rig_until(&r, r.providers[0].gone == 1);
        assert_int_equal(r.providers[0].requests, rows[i].requests);
        if (rows[i].requests != 0) {
            assert_true(says(&a, "\"cost\":"));
            assert_int_equal(str_search(buf_str(&r.providers[0].last), STR("provider")), -1);
            assert_int_equal(
                str_search(buf_str(&r.providers[0].last), STR("usage\":{\"include\":true}}")), -1);
        }
        buf_deinit(&a.body);
        stop(&r, &c);
    }
}

static void b13_wrong_in_the_middle_ends_it_at_once(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    struct rig_answer a;
    start(&r);
    struct str text = make_body("", 300000, "}");
    body.data[150000] = '\n';
    begin(&r, &c, text, 100000);
    rig_until(&r, r.providers[0].received > 100000);
    rig_send(&c, text.data + 100000, 100000);
    rig_until(&r, rig_answered(&c));
    rig_answer_read(&c, &a);
    assert_int_equal(a.status, 400);
    assert_true(rig_has_header(&a, "connection: close\r\n"));
    rig_until(&r, r.providers[0].gone == 1 && (c.ended || c.broken));
    assert_true(r.providers[0].received < 151000);
    assert_int_equal(rig_records(&r), 1);
    buf_deinit(&a.body);
    stop(&r, &c);
}

/* ---- the client fails ---- */

static void f19_a_client_that_leaves_amid_its_body_ends_the_attempt(void **state)
{
    (void)state;
    static const size_t cuts[] = {20, 100, 30000, 70000, BODY_BYTES - 20};
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        struct rig r;
        struct rig_client c;
        start(&r);
        struct str text = make_body("", BODY_BYTES, "}");
        begin(&r, &c, text, cuts[i]);
        bool early = container_of(r.env.active.next, struct request, link)->early;
        assert_int_equal(early, cuts[i] > 20000);
        if (early && i % 2 == 0) /* Else while it still dials. */
            rig_until(&r, r.providers[0].received > 20);
        rig_disconnect(&r, &c);
        rig_until(&r, r.conns.open_count == 0 && r.env.active_count == 0);
        rig_until(&r, r.providers[0].gone == r.providers[0].connections);
        assert_int_equal(r.providers[0].requests, 0);
        assert_int_equal(rig_records(&r), early);
        rig_stop(&r);
        buf_deinit(&body);
    }
}

static void b10_a_body_that_stalls_is_408_and_ends_the_attempt(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    struct rig_answer a;
    start(&r);
    struct str text = make_body("", BODY_BYTES, "}");
    begin(&r, &c, text, 50000);
    rig_until(&r, r.providers[0].received > 50000);
    r.conns.config.body_grace_ms = 30;
    r.conns.config.body_min_rate = 1U << 30;
    rig_until(&r, rig_answered(&c));
    rig_answer_read(&c, &a);
    assert_int_equal(a.status, 408);
    rig_until(&r, r.providers[0].gone == 1 && r.env.active_count == 0);
    assert_int_equal(rig_records(&r), 1);
    buf_deinit(&a.body);
    stop(&r, &c);
}

/* ---- the upstream fails ---- */

static void an_upstream_that_refuses_early_is_relayed_and_dropped(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    struct rig_answer a;
    rig_start(&r, NULL);
    rig_script(&r, 0, (struct rig_script){.reply = REFUSED, .at_head = true});
    struct str text = make_body("", BODY_BYTES, "}");
    begin(&r, &c, text, 50000);
    rig_until(&r, rig_answered(&c));
    rig_answer_read(&c, &a);
    assert_int_equal(a.status, 413);
    assert_true(says(&a, "far too much"));
    assert_true(rig_has_header(&a, "connection: close\r\n"));
    rig_until(&r, r.providers[0].gone == 1 && r.env.active_count == 0);
    assert_int_equal(r.providers[0].requests, 0);
    assert_int_equal(rig_records(&r), 1);
    buf_deinit(&a.body);
    stop(&r, &c);
}

static void an_upstream_that_closes_early_is_tried_again_from_what_is_kept(void **state)
{
    (void)state;
    for (int when = 0; when < 2; when++) { /* Before, and after, the body is whole. */
        struct rig r;
        struct rig_client c;
        struct rig_answer a;
        rig_start(&r, NULL);
        rig_script(&r, 0, (struct rig_script){.at_head = true, .then = RIG_RESET});
        rig_script(&r, 0, (struct rig_script){.reply = replies_whole()});
        struct str text = make_body("", BODY_BYTES, "}");
        begin(&r, &c, text, 50000);
        if (when == 0) {
            rig_until(&r, r.providers[0].connections == 2 && r.providers[0].received > 50000);
            assert_int_equal(r.env.active_count, 1);
        }
        finish(&r, &c, text, 50000, &a);
        assert_int_equal(a.status, 200);
        check_upstream(&r, text, false);
        assert_int_equal(r.providers[0].connections, 2);
        assert_int_equal(r.providers[0].requests, 1);
        assert_int_equal(rig_records(&r), 1);
        buf_deinit(&a.body);
        stop(&r, &c);
    }
}

static void an_answer_to_half_a_request_is_none(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    struct rig_answer a;
    rig_start(&r, NULL);
    rig_script(&r, 0, (struct rig_script){.reply = replies_whole(), .at_head = true});
    struct str text = make_body("", BODY_BYTES, "}");
    begin(&r, &c, text, 50000);
    rig_until(&r, rig_answered(&c));
    rig_answer_read(&c, &a);
    assert_true(a.status >= 500);
    assert_false(says(&a, "hello"));
    assert_int_equal(rig_records(&r), 1);
    buf_deinit(&a.body);
    stop(&r, &c);
}

/* What the socket does not take waits in the body, which is kept in any case. */
static void a_deaf_upstream_gets_it_all_once_it_hears(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    struct rig_answer a;
    start(&r);
    r.providers[0].deaf = true;
    struct str text = make_body("", 7U << 20, "}");
    begin(&r, &c, text, 5U << 20);
    rig_send(&c, text.data + (5U << 20), text.len - (5U << 20));
    rig_until(&r, only_conn(&r)->state == CONN_BUSY);
    for (int i = 0; i < 20; i++)
        assert_true(rig_turn(&r));
    rig_hear(&r, 0);
    rig_until(&r, rig_answered(&c));
    rig_answer_read(&c, &a);
    assert_int_equal(a.status, 200);
    check_upstream(&r, text, false);
    buf_deinit(&a.body);
    stop(&r, &c);
}

/* One that takes whole bodies only gets it when it is whole. */
static void a_large_body_is_answered_through_each_transport(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    struct rig_answer a;
    start(&r);
    struct str text = make_body("", BODY_BYTES, ",\"stream\":false}");
    begin(&r, &c, text, 60000);
    bool early = container_of(r.env.active.next, struct request, link)->early;
    for (int i = 0; i < 10; i++)
        assert_true(rig_turn(&r));
    assert_int_equal(r.providers[0].connections, early);
    finish(&r, &c, text, 60000, &a);
    assert_int_equal(a.status, 200);
    check_upstream(&r, text, false);
    assert_int_equal(upstream_body(&r).len, text.len + 3 + (early ? 40 : 0));
    assert_int_equal(rig_records(&r), 1);
    buf_deinit(&a.body);
    stop(&r, &c);
}

/* ---- memory ---- */

static void f30_each_allocation_may_fail(void **state)
{
    (void)state;
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        struct rig r;
        struct rig_client c;
        struct rig_answer a;
        start(&r);
        struct str text = make_body("", BODY_BYTES, ",\"stream\":false}");
        rig_connect(&r, &c);
        send_head(&c, "", text.len);
        rig_until(&r, has_read(&r, 0));
        rig_send(&c, text.data, 50000);
        fault_arm_alloc(n);
        while (!has_read(&r, 50000) && !rig_answered(&c) && !c.ended && !c.broken)
            assert_true(rig_turn(&r));
        for (int i = 0; i < 5; i++)
            assert_true(rig_turn(&r));
        fired = fault_disarm();
        rig_send(&c, text.data + 50000, text.len - 50000);
        rig_until(&r, rig_answered(&c) || c.ended || c.broken);
        rig_answer_read(&c, &a);
        if (a.status != 200 && a.status != 502 && a.status != 503 && !(a.status == 0 && fired))
            fail_msg("allocation %u: status %u %s", n, a.status, a.body.data);
        if (!fired)
            assert_int_equal(a.status, 200);
        buf_deinit(&a.body);
        stop(&r, &c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_upstream_has_most_of_a_body_before_the_node_has_all),
        cmocka_unit_test(a_body_goes_up_the_same_wherever_it_is_cut),
        cmocka_unit_test(what_is_not_pinned_waits_for_its_end),
        cmocka_unit_test(b13_what_is_refused_at_its_end_is_no_whole_request_upstream),
        cmocka_unit_test(b46_wishes_behind_the_messages_hold),
        cmocka_unit_test(b13_wrong_in_the_middle_ends_it_at_once),
        cmocka_unit_test(f19_a_client_that_leaves_amid_its_body_ends_the_attempt),
        cmocka_unit_test(b10_a_body_that_stalls_is_408_and_ends_the_attempt),
        cmocka_unit_test(an_upstream_that_refuses_early_is_relayed_and_dropped),
        cmocka_unit_test(an_upstream_that_closes_early_is_tried_again_from_what_is_kept),
        cmocka_unit_test(an_answer_to_half_a_request_is_none),
        cmocka_unit_test(a_deaf_upstream_gets_it_all_once_it_hears),
        cmocka_unit_test(f30_each_allocation_may_fail),
    };
    const struct CMUnitTest both[] = {
        cmocka_unit_test(a_large_body_is_answered_through_each_transport),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    failed += rig_run_for_each_transport(both, 1);
    replies_free();
    return failed;
}
