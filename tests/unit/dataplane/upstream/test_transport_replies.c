/* Sound replies of every shape arrive whole, wherever they are split; requests go out as asked. */
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "tests/unit/dataplane/upstream/conform.h"

#define OK_ "HTTP/1.1 200 OK\r\n"

static void expect_kept(struct conform *c, bool kept)
{
    assert_int_equal(c->x.result.phase, FETCH_COMPLETE);
    assert_true(c->x.result.request_sent && c->x.result.reply_seen && !c->x.result.reused);
    assert_int_equal(c->x.result.body_bytes, c->x.body.len);
    assert_int_equal(conform_run(c, (struct fetch_request){0}), 0);
    assert_int_equal(c->x.result.reused, kept);
    assert_int_equal(c->evil.connections, kept ? 1 : 2);
}

/* A reply, whole and in one write; then another request. */
static void expect_reply(struct conform *c, struct str reply, const char *body, bool kept)
{
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_BYTES(reply), S_AGAIN);
    conform_expect(c, 0, body);
    expect_kept(c, kept);
}

static void a_body_with_a_length(void **state)
{
    expect_reply(*state, STR(OK_ "Content-Length: 5\r\n\r\nhello"), "hello", true);
}

static void an_empty_body(void **state)
{
    struct conform *c = *state;
    expect_reply(c, STR(OK_ "Content-Length: 0\r\n\r\n"), "",
                 conform_does(c, CONFORM_KEEPS_AFTER_NO_BODY));
    assert_int_equal(c->x.heads, 1);
    assert_int_equal(c->x.pieces, 0);
}

static void a_chunked_body(void **state)
{
    expect_reply(*state,
                 STR(OK_ "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n \r\n0A\r\n"
                         "0123456789\r\n0\r\n\r\n"),
                 "hello 0123456789", true);
}

static void chunk_extensions_and_trailers_are_dropped(void **state)
{
    struct conform *c = *state;
    expect_reply(c,
                 STR(OK_ "Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n3;c=\"d\"\r\n, w\r\n"
                         "0;last\r\nX-Sum: 1\r\nContent-Type: text/evil\r\n\r\n"),
                 "hello, w", true);
    assert_true(c->x.type_absent);
}

static void an_empty_chunked_body(void **state)
{
    expect_reply(*state, STR(OK_ "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "", true);
}

static void a_body_that_ends_with_the_connection(void **state)
{
    struct conform *c = *state;
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_ "\r\nhello"), S_TURNS(2), S_SEND(" world"),
                S_CLOSE);
    conform_expect(c, 0, "hello world");
    expect_kept(c, false);
}

static void an_empty_body_that_ends_with_the_connection(void **state)
{
    struct conform *c = *state;
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_ "\r\n"), S_CLOSE);
    conform_expect(c, 0, "");
}

static void replies_without_a_body_say_how_long_it_would_be(void **state)
{
    struct conform *c = *state;
    static const struct {
        const char *method;
        unsigned status;
        struct str reply;
    } rows[] = {
        {"HEAD", 200, STR(OK_ "Content-Length: 500\r\n\r\n")},
        {"HEAD", 200, STR(OK_ "Transfer-Encoding: chunked\r\n\r\n")},
        {"GET", 304, STR("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n")},
        {"GET", 204, STR("HTTP/1.1 204 No Content\r\n\r\n")},
    };
    bool kept = conform_does(c, CONFORM_KEEPS_AFTER_NO_BODY);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        conform_serve(c, NULL);
        EVIL_SCRIPT(&c->evil, S_REQUEST, S_BYTES(rows[i].reply), S_AGAIN);
        for (unsigned n = 0; n < 2; n++) {
            const struct fetch_request r = {.method = str_from(rows[i].method)};
            assert_int_equal(conform_run(c, r), 0);
            assert_int_equal(c->x.status, rows[i].status);
            assert_int_equal(c->x.body.len, 0);
            assert_true(c->x.result.reused == (kept && n > 0));
        }
    }
}

static void interim_heads_are_skipped(void **state)
{
    struct conform *c = *state;
    expect_reply(c,
                 STR("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n"
                     "Content-Length: 7\r\nContent-Type: text/evil\r\n\r\n" OK_
                     "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"),
                 "ok", true);
    assert_string_equal(c->x.type, "text/plain");
    assert_int_equal(c->x.heads, 1);
}

static void heads_are_read_as_the_standard_allows(void **state)
{
    struct conform *c = *state;
    expect_reply(c,
                 STR("HTTP/1.1 207 \r\ncontent-LENGTH:2\r\nContent-Type: \t a/b; c=\"d\" \t\r\n"
                     "Content-Type: second\r\nX-Empty:\r\nX-Obs: \x80\xff\r\n\r\nok"),
                 "ok", true);
    assert_string_equal(c->x.type, "a/b; c=\"d\"");
    assert_int_equal(c->x.status, 207);
}

static void http_1_0_without_keep_alive_ends_the_connection(void **state)
{
    expect_reply(*state, STR("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"), "ok", false);
}

static void every_split_of_head_and_body(void **state)
{
    struct conform *c = *state;
    static const char reply[] = "HTTP/1.1 103 x\r\n\r\n" OK_
                                "Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
                                "5;e=1\r\nhello\r\n0b\r\n, my world!\r\n0\r\nT: x\r\n\r\n";
    for (size_t at = 1; at < sizeof(reply) - 1; at++) {
        conform_serve(c, NULL);
        EVIL_SCRIPT(&c->evil, S_REQUEST, S_BYTES(((struct str){reply, at})), S_TURNS(2),
                    S_BYTES(((struct str){reply + at, sizeof(reply) - 1 - at})), S_AGAIN);
        conform_expect(c, 0, "hello, my world!");
        assert_string_equal(c->x.type, "text/plain");
        assert_int_equal(conform_run(c, (struct fetch_request){0}), 0);
        assert_true(c->x.result.reused);
    }
}

static void byte_by_byte(void **state)
{
    struct conform *c = *state;
    EVIL_SCRIPT(&c->evil, S_REQUEST,
                S_SEND_BY(1, "HTTP/1.1 100 x\r\nA: b\r\n\r\n" OK_
                             "Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
                             "5\r\nhello\r\n00a;x\r\n, my world\r\n0\r\nA: b\r\n\r\n"),
                S_REQUEST, S_SEND_BY(1, OK_ "Content-Length: 11\r\nA: b\r\n\r\nhello again"));
    conform_expect(c, 0, "hello, my world");
    conform_expect(c, 0, "hello again");
    assert_true(c->x.result.reused);
}

#define LARGE_BYTES (16U << 20)

static char *pattern(size_t len)
{
    char *data = mem_alloc(len);
    assert_non_null(data);
    for (size_t i = 0; i < len; i++)
        data[i] = (char)(i * 31 + (i >> 9));
    return data;
}

/* 16 MiB is the default maximum, to the byte. */
static void sixteen_mebibytes_each_way(void **state)
{
    struct conform *c = *state;
    char *large = pattern(LARGE_BYTES);
    const struct str body = {large, LARGE_BYTES};
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_ "Content-Length: 16777216\r\n\r\n"), S_BYTES(body),
                S_REQUEST, S_SEND(OK_ "Transfer-Encoding: chunked\r\n\r\n1000000\r\n"),
                S_BYTES(body), S_SEND("\r\n0\r\n\r\n"), S_AGAIN);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(conform_run(c, (struct fetch_request){.body = &body, .body_count = 1}), 0);
        assert_int_equal(c->x.body.len, LARGE_BYTES);
        assert_memory_equal(c->x.body.data, large, LARGE_BYTES);
        assert_int_equal(c->x.result.body_bytes, LARGE_BYTES);
        assert_int_equal(c->x.result.sent_bytes, LARGE_BYTES);
        assert_true(c->evil.last.len > LARGE_BYTES);
        assert_memory_equal(c->evil.last.data + c->evil.last.len - LARGE_BYTES, large, LARGE_BYTES);
    }
    assert_true(c->x.result.reused);
    mem_free(large);
}

/* An upstream that reads slowly gets every byte too: nothing depends on one write taking all. */
static void spans_go_out_back_to_back_however_slowly_they_are_read(void **state)
{
    struct conform *c = *state;
    enum { SPANS = FETCH_BODY_SPANS_MAX, BYTES = 500000 };
    char *large = pattern(BYTES);
    struct str spans[SPANS];
    size_t at = 0;
    for (size_t i = 0; i < SPANS; i++) {
        size_t len = i + 1 == SPANS ? BYTES - at : i % 7 == 3 ? 0 : i % 5 == 0 ? 1 : 200 * i;
        len = len < BYTES - at ? len : BYTES - at;
        spans[i] = (struct str){large + at, len};
        at += len;
    }
    assert_int_equal(at, BYTES);
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_ "Content-Length: 2\r\n\r\nok"), S_AGAIN);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(conform_run(c, (struct fetch_request){.body = spans, .body_count = SPANS}),
                         0);
        assert_int_equal(c->x.result.sent_bytes, BYTES);
        assert_memory_equal(c->evil.last.data + c->evil.last.len - BYTES, large, BYTES);
        assert_true(str_search(buf_str(&c->evil.last), STR("ontent-")) > 0);
    }
    assert_int_equal(c->evil.connections, 1);
    mem_free(large);
}

static bool has_field(struct conform *c, const char *line)
{
    char text[300];
    (void)snprintf(text, sizeof(text), "\r\n%s\r\n", line);
    return str_search(buf_str(&c->evil.last), str_from(text)) >= 0;
}

static bool mentions(struct conform *c, const char *text)
{
    return str_search(buf_str(&c->evil.last), str_from(text)) >= 0;
}

static void the_request_is_what_was_asked_for_and_nothing_else(void **state)
{
    struct conform *c = *state;
    const struct str body[] = {STR("one,"), STR(""), STR("two")};
    const struct fetch_field fields[] = {{STR("X-A"), STR("b")},
                                         {STR("Content-Type"), STR("application/json")},
                                         {STR("x-a"), STR("c")}};
    char host[64];
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_ "Content-Length: 0\r\n\r\n"), S_AGAIN);
    assert_int_equal(conform_run(c, (struct fetch_request){.target = STR("/a/../%2f?b=c&d"),
                                                           .fields = fields,
                                                           .field_count = 3,
                                                           .body = body,
                                                           .body_count = 3}),
                     0);
    (void)snprintf(host, sizeof(host), "127.0.0.1:%u", c->evil.port);
    assert_true(str_starts(buf_str(&c->evil.last), STR("POST /a/../%2f?b=c&d HTTP/1.1\r\n")));
    assert_true(str_ends(buf_str(&c->evil.last), STR("\r\n\r\none,two")));
    assert_true(has_field(c, "X-A: b\r\nContent-Type: application/json\r\nx-a: c"));
    assert_true(mentions(c, host));
    assert_true(has_field(c, "Content-Length: 7"));
    assert_int_equal(conform_run(c, (struct fetch_request){.method = STR("DELETE")}), 0);
    assert_true(str_starts(buf_str(&c->evil.last), STR("DELETE / HTTP/1.1\r\n")));
    assert_false(mentions(c, "ength"));
    assert_int_equal(conform_run(c, (struct fetch_request){.method = STR("POST")}), 0);
    assert_true(has_field(c, "Content-Length: 0"));
    const char *never[] = {"Expect", "ncoding", "User-Agent", "Cookie", "Upgrade", "ype:", "TE:"};
    for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
        assert_false(mentions(c, never[i]));
}

static void bad_requests_and_origins_are_refused_before_anything_is_sent(void **state)
{
    struct conform *c = *state;
    static const struct transport_callbacks none = {0};
    static const struct fetch_field fields[] = {{STR("Host"), STR("b")},
                                                {STR("Content-Length"), STR("1")},
                                                {STR("Transfer-Encoding"), STR("chunked")},
                                                {STR("Connection"), STR("close")},
                                                {STR("Expect"), STR("100-continue")},
                                                {STR("A"), STR("b\r\nc: d")},
                                                {STR("A"), STR("b\nc")},
                                                {STR("A"), {"b\0c", 3}},
                                                {STR("A b"), STR("c")},
                                                {STR("A:"), STR("c")},
                                                {STR(""), STR("c")}};
    static const char *const targets[] = {"", "a", "/a b", "/a\r\nb", "http://b/", "/\x7f"};
    static const char *const methods[] = {"", "G T", "GET\r\n"};
    static const char *const urls[] = {"",
                                       "api.example.com",
                                       "https://",
                                       "https://a/b",
                                       "ftp://a",
                                       "https://u:p@a",
                                       "https://a:0",
                                       "https://a?",
                                       "https://a:70000",
                                       "https://a b"};
    struct str spans[FETCH_BODY_SPANS_MAX + 1] = {{0}};
    struct transport_call *call;
    struct transport_origin *o;
    conform_origin(c, (struct fetch_origin_config){0});
    struct fetch_request r = {.method = STR("GET"), .target = STR("/"), .field_count = 1};
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        r.fields = &fields[i];
        assert_int_equal(c->ops->start(c->origin, &r, &none, NULL, &call), ERR_INVALID);
    }
    r.field_count = 0;
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        r.target = str_from(targets[i]);
        assert_int_equal(c->ops->start(c->origin, &r, &none, NULL, &call), ERR_INVALID);
    }
    r.target = STR("/");
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        r.method = str_from(methods[i]);
        assert_int_equal(c->ops->start(c->origin, &r, &none, NULL, &call), ERR_INVALID);
    }
    r.method = STR("POST");
    r.body = spans;
    r.body_count = FETCH_BODY_SPANS_MAX + 1;
    assert_int_equal(c->ops->start(c->origin, &r, &none, NULL, &call), ERR_INVALID);
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        const struct fetch_origin_config config = {.url = urls[i]};
        assert_int_equal(c->ops->origin_create(c->transport, &config, &o, NULL), ERR_INVALID);
    }
    EVIL_SCRIPT(&c->evil, S_END);
    wire_run_turns(&c->loop, 10);
    assert_int_equal(c->evil.connections, 0);
}

static void a_name_with_addresses_of_two_families_is_reached_by_the_one_that_answers(void **state)
{
    struct conform *c = *state;
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_ "Content-Length: 2\r\n\r\nok"));
    conform_origin_at(c, "http", "localhost", c->evil.port);
    conform_expect(c, 0, "ok");
    assert_true(mentions(c, "ost: localhost:"));
    assert_true(c->x.result.connect_ns > 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CONFORM(a_body_with_a_length),
        CONFORM(an_empty_body),
        CONFORM(a_chunked_body),
        CONFORM(chunk_extensions_and_trailers_are_dropped),
        CONFORM(an_empty_chunked_body),
        CONFORM(a_body_that_ends_with_the_connection),
        CONFORM(an_empty_body_that_ends_with_the_connection),
        CONFORM(replies_without_a_body_say_how_long_it_would_be),
        CONFORM(interim_heads_are_skipped),
        CONFORM(heads_are_read_as_the_standard_allows),
        CONFORM(http_1_0_without_keep_alive_ends_the_connection),
        CONFORM(every_split_of_head_and_body),
        CONFORM(byte_by_byte),
        CONFORM(sixteen_mebibytes_each_way),
        CONFORM(spans_go_out_back_to_back_however_slowly_they_are_read),
        CONFORM(the_request_is_what_was_asked_for_and_nothing_else),
        CONFORM(bad_requests_and_origins_are_refused_before_anything_is_sent),
        CONFORM(a_name_with_addresses_of_two_families_is_reached_by_the_one_that_answers),
    };
    return conform_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
