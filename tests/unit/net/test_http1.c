/* Heads and bodies: each case is parsed whole and byte by byte, and both must say the same. */
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/net/http1.h"
#include "common/net/http1_scan.h"
#include "tests/lib/fault.h"
#include "tests/lib/http1_trace.h"

#define TRACE_MAX (1U << 20)
#define H         "Host: a.example\r\n"

struct traces {
    struct buf whole;
    struct buf bytewise;
};

static int set_up(void **state)
{
    struct traces *t = mem_zalloc(sizeof(*t));
    assert_non_null(t);
    buf_init(&t->whole, TRACE_MAX);
    buf_init(&t->bytewise, TRACE_MAX);
    *state = t;
    return 0;
}

static int tear_down(void **state)
{
    struct traces *t = *state;
    buf_deinit(&t->whole);
    buf_deinit(&t->bytewise);
    mem_free(t);
    return 0;
}

static const char *trace(struct traces *t, struct http1_trace_input input)
{
    if (input.body_max_bytes == 0)
        input.body_max_bytes = 1000;
    http1_trace(&input, &t->whole);
    input.next_piece = http1_trace_byte_by_byte;
    http1_trace(&input, &t->bytewise);
    assert_string_equal(buf_cstr(&t->whole), buf_cstr(&t->bytewise));
    return buf_cstr(&t->whole);
}

static void expect_text(struct traces *t, struct http1_trace_input input, const char *wanted)
{
    const char *said = trace(t, input);
    if (strstr(said, wanted) == NULL)
        fail_msg("'%.*s' gave\n%s\ninstead of %s", STR_ARG(input.bytes), said, wanted);
}

static void request_gives(struct traces *t, struct str bytes, const char *wanted)
{
    expect_text(t, (struct http1_trace_input){.bytes = bytes}, wanted);
}

static void response_gives(struct traces *t, struct str bytes, const char *wanted)
{
    expect_text(t, (struct http1_trace_input){.bytes = bytes, .response = true}, wanted);
}

static void request_is_refused(struct traces *t, struct str bytes, enum http1_reason reason)
{
    char wanted[80];
    (void)snprintf(wanted, sizeof(wanted), "rejected %s\n", http1_reason_name(reason));
    request_gives(t, bytes, wanted);
}

static void a_plain_request_is_taken_apart(void **state)
{
    request_gives(*state,
                  STR("POST /v1/messages?beta=true HTTP/1.1\r\nHost: a.example:80\r\n"
                      "Content-Length: 5\r\nX-Y:  two words \t\r\nEmpty:\r\n\r\nhelloGET "),
                  "POST (/v1/messages?beta=true) path (/v1/messages) query 1(beta=true) host "
                  "(a.example:80)\n(Host)=(a.example:80)\n(Content-Length)=(5)\n(X-Y)=(two words)\n"
                  "(Empty)=()\nbody hello\nbody done 5 left (GET )");
    request_gives(*state, STR("\r\nGET / HTTP/1.1\r\n" H "\r\n"), "GET (/) path (/) query 0()");
    request_gives(*state, STR("GET /? HTTP/1.1\r\n" H "\r\n"), "path (/) query 1()");
    request_gives(*state, STR("OPTIONS * HTTP/1.1\r\n" H "\r\n"), "path (*)");
    request_gives(*state, STR("GET http://A.example?x HTTP/1.1\r\n" H "\r\n"),
                  "path (/) query 1(x) host (A.example)");
    request_gives(*state, STR("GET / HTTP/1.0\r\n\r\n"), "v0 keep 0 kind 0");
    request_gives(*state, STR("GET / HTTP/1.1\r\n" H "Connection: x, Close\r\n\r\n"), "v1 keep 0");
    request_gives(*state, STR("GET / HTTP/1.1\r\n" H "X: caf\xc3\xa9\r\n\r\n"), "(caf\xc3\xa9)");
}

static void an_idle_or_cut_head_is_told_apart(void **state)
{
    request_gives(*state, STR("\r\n"), "head cut, begun 0");
    request_gives(*state, STR("G"), "head cut, begun 1");
    request_gives(*state, STR("GET / HTTP/1.1\r\n"), "head cut, begun 1");
}

static void b1_malformed_bytes_and_names_are_refused(void **state)
{
    request_is_refused(*state, STR("GET / HTTP/1.1\n" H "\r\n"), HTTP1_REASON_BAD_BYTE);
    request_is_refused(*state, STR("GET / HTTP/1.1\r" H "\r\n"), HTTP1_REASON_BAD_BYTE);
    request_is_refused(*state, STR("GET / HTTP/1.1\r\n" H "A: \0\r\n\r\n"), HTTP1_REASON_BAD_BYTE);
    request_is_refused(*state, STR("GET / HTTP/1.1\r\n" H "A: \x7f\r\n\r\n"),
                       HTTP1_REASON_BAD_BYTE);
    request_is_refused(*state, STR("GET / HTTP/1.1\r\n" H "A: b\r\r\n\r\n"), HTTP1_REASON_BAD_BYTE);
    request_is_refused(*state, STR("GET / HTTP/1.1\r\n" H "A: b\r\n c\r\n\r\n"),
                       HTTP1_REASON_FOLDED_LINE);
    request_is_refused(*state, STR("GET / HTTP/1.1\r\n" H "A : b\r\n\r\n"),
                       HTTP1_REASON_BAD_FIELD_NAME);
    request_is_refused(*state, STR("GET / HTTP/1.1\r\n" H ": b\r\n\r\n"),
                       HTTP1_REASON_BAD_FIELD_NAME);
    request_is_refused(*state, STR("GET / HTTP/1.1\r\n" H "A\r\n\r\n"),
                       HTTP1_REASON_BAD_FIELD_NAME);
    request_is_refused(*state, STR("\x16\x03\x01\x02"), HTTP1_REASON_BAD_BYTE);
    request_is_refused(*state, STR("\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
                       HTTP1_REASON_BAD_REQUEST_LINE);
    request_is_refused(*state, STR("GET  / HTTP/1.1\r\n" H "\r\n"), HTTP1_REASON_BAD_REQUEST_LINE);
    request_is_refused(*state, STR("GET /\ta HTTP/1.1\r\n" H "\r\n"), HTTP1_REASON_BAD_TARGET);
    request_is_refused(*state, STR("GET /\xc3\xa9 HTTP/1.1\r\n" H "\r\n"), HTTP1_REASON_BAD_TARGET);
    request_is_refused(*state, STR("GET /#a HTTP/1.1\r\n" H "\r\n"), HTTP1_REASON_BAD_TARGET);
    request_is_refused(*state, STR("GET / HTTP/1.1 \r\n" H "\r\n"), HTTP1_REASON_BAD_REQUEST_LINE);
}

static void b2_doubtful_framing_is_refused(void **state)
{
#define POST_WITH(fields) STR("POST / HTTP/1.1\r\n" H fields "\r\n")
    request_is_refused(*state, POST_WITH("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"),
                       HTTP1_REASON_LENGTH_AND_CODING);
    request_is_refused(*state, POST_WITH("Content-Length: 1\r\nContent-Length: 1\r\n"),
                       HTTP1_REASON_LENGTH_REPEATED);
    const struct str lengths[] = {
        POST_WITH("Content-Length: +1\r\n"),
        POST_WITH("Content-Length: -1\r\n"),
        POST_WITH("Content-Length: 0x1\r\n"),
        POST_WITH("Content-Length: 1, 1\r\n"),
        POST_WITH("Content-Length:\r\n"),
        POST_WITH("Content-Length: 1 1\r\n"),
        POST_WITH("Content-Length: 18446744073709551616\r\n"),
        POST_WITH("Content-Length: 99999999999999999999999\r\n"),
    };
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
        request_is_refused(*state, lengths[i], HTTP1_REASON_BAD_LENGTH);
    const struct str codings[] = {
        POST_WITH("Transfer-Encoding: gzip, chunked\r\n"),
        POST_WITH("Transfer-Encoding: chunked, chunked\r\n"),
        POST_WITH("Transfer-Encoding: chunked;a\r\n"),
        POST_WITH("Transfer-Encoding: identity\r\n"),
        POST_WITH("Transfer-Encoding:\r\n"),
        POST_WITH("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        STR("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    };
    for (size_t i = 0; i < sizeof(codings) / sizeof(codings[0]); i++)
        request_is_refused(*state, codings[i], HTTP1_REASON_BAD_CODING);
#undef POST_WITH
}

#define CHUNKED "POST / HTTP/1.1\r\n" H "Transfer-Encoding: Chunked\r\n\r\n"

static void chunks_are_joined_and_trailers_dropped(void **state)
{
    request_gives(*state, STR(CHUNKED "5\r\nhello\r\n00B;a=\"b\"\r\n, new world\r\n0\r\n\r\nGET"),
                  "body hello, new world\nbody done 16 left (GET)");
    request_gives(*state, STR(CHUNKED "0\r\nA: b\r\nC:\r\n\r\n"), "body \nbody done 0 left ()");
    request_gives(*state, STR(CHUNKED "5\r\nhel"), "body hel\nbody rejected CUT_SHORT");
    request_gives(*state, STR(CHUNKED "0\r\n"), "body rejected CUT_SHORT");
}

static void b3_broken_chunks_are_refused(void **state)
{
    request_is_refused(*state, STR(CHUNKED "fffffffffffffffff\r\n"), HTTP1_REASON_BAD_CHUNK_SIZE);
    request_is_refused(*state, STR(CHUNKED "00000000000000001\r\na\r\n"),
                       HTTP1_REASON_BAD_CHUNK_SIZE);
    request_is_refused(*state, STR(CHUNKED "\r\n"), HTTP1_REASON_BAD_CHUNK_SIZE);
    request_is_refused(*state, STR(CHUNKED "0x1\r\n"), HTTP1_REASON_BAD_CHUNK_SIZE);
    request_is_refused(*state, STR(CHUNKED "-1\r\n"), HTTP1_REASON_BAD_CHUNK_SIZE);
    request_is_refused(*state, STR(CHUNKED "1 \r\na\r\n"), HTTP1_REASON_BAD_CHUNK_SIZE);
    request_is_refused(*state, STR(CHUNKED "1\na\r\n"), HTTP1_REASON_BAD_CHUNK_SIZE);
    request_is_refused(*state, STR(CHUNKED "1\ra"), HTTP1_REASON_BAD_CHUNK_SIZE);
    request_is_refused(*state, STR(CHUNKED "1;a\nb\r\na\r\n"), HTTP1_REASON_BAD_CHUNK_EXTENSION);
    request_is_refused(*state, STR(CHUNKED "1\r\nab\r\n"), HTTP1_REASON_BAD_CHUNK_END);
    request_is_refused(*state, STR(CHUNKED "1\r\na\n"), HTTP1_REASON_BAD_CHUNK_END);
    request_is_refused(*state, STR(CHUNKED "1\r\na\rb"), HTTP1_REASON_BAD_CHUNK_END);
    request_is_refused(*state, STR(CHUNKED "0\r\nA b: c\r\n\r\n"), HTTP1_REASON_BAD_TRAILER);
    request_is_refused(*state, STR(CHUNKED "0\r\n: c\r\n\r\n"), HTTP1_REASON_BAD_TRAILER);
    request_is_refused(*state, STR(CHUNKED "0\r\nA: \nc\r\n\r\n"), HTTP1_REASON_BAD_TRAILER);
    request_is_refused(*state, STR(CHUNKED "0\r\nA\r\n\r\n"), HTTP1_REASON_BAD_TRAILER);
    struct traces *t = *state;
    struct buf b;
    for (size_t extra = 0; extra <= 1; extra++) {
        buf_init(&b, TRACE_MAX);
        assert_int_equal(buf_append_text(&b, CHUNKED "1;"), 0);
        for (size_t i = 0; i < HTTP1_CHUNK_EXTENSION_BYTES_MAX + extra; i++)
            assert_int_equal(buf_append_char(&b, 'x'), 0);
        assert_int_equal(buf_append_text(&b, "\r\na\r\n0\r\n\r\n"), 0);
        request_gives(t, buf_str(&b),
                      extra == 0 ? "body a\nbody done" : "rejected BAD_CHUNK_EXTENSION");
        buf_deinit(&b);
    }
}

/* A request of `line` bytes in its first line, or `fields` fields of `value` bytes each. */
static void build(struct buf *b, size_t line, size_t fields, size_t value)
{
    buf_init(b, TRACE_MAX);
    assert_int_equal(buf_append_text(b, "GET /"), 0);
    while (line > 14 && b->len < line - 9)
        assert_int_equal(buf_append_char(b, 'a'), 0);
    assert_int_equal(buf_append_text(b, " HTTP/1.1\r\n" H), 0);
    for (size_t i = 0; i < fields; i++) {
        assert_int_equal(buf_append_text(b, "f:"), 0);
        for (size_t j = 0; j < value; j++)
            assert_int_equal(buf_append_char(b, 'v'), 0);
        assert_int_equal(buf_append_text(b, "\r\n"), 0);
    }
    assert_int_equal(buf_append_text(b, "\r\n"), 0);
}

static void b4_limits_are_exact(void **state)
{
    static const struct {
        size_t line, fields, value;
        const char *wanted;
    } rows[] = {
        {8192, 0, 0, "GET (/aaa"},
        {8193, 0, 0, "rejected LINE_TOO_LONG"},
        {0, 99, 1, "(f)=(v)"},
        {0, 100, 1, "rejected FIELDS_TOO_MANY"},
        {0, 1, 8190, "(f)=(v"},
        {0, 1, 8191, "rejected FIELD_TOO_LONG"},
        {0, 5, 8000, "rejected HEAD_TOO_LARGE"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct buf b;
        build(&b, rows[i].line, rows[i].fields, rows[i].value);
        request_gives(*state, buf_str(&b), rows[i].wanted);
        buf_deinit(&b);
    }
    for (size_t size = 32766; size <= 32770; size++) { /* Around the limit of the head. */
        struct buf b;
        build(&b, 0, 4, 7000);
        b.len -= 2;
        assert_int_equal(buf_append_text(&b, "g:"), 0);
        while (b.len < size - 4)
            assert_int_equal(buf_append_char(&b, 'w'), 0);
        assert_int_equal(buf_append_text(&b, "\r\n\r\n"), 0);
        assert_int_equal(b.len, size);
        request_gives(*state, buf_str(&b), size <= 32768 ? "head 3276" : "HEAD_TOO_LARGE");
        buf_deinit(&b);
    }
    request_is_refused(*state, STR("POST / HTTP/1.1\r\n" H "Content-Length: 1001\r\n\r\n"),
                       HTTP1_REASON_BODY_TOO_LARGE);
    request_is_refused(*state, STR(CHUNKED "3e8\r\n"), HTTP1_REASON_CUT_SHORT);
    request_is_refused(*state, STR(CHUNKED "3e9\r\n"), HTTP1_REASON_BODY_TOO_LARGE);
    request_is_refused(*state, STR(CHUNKED "1\r\na\r\n3e8\r\n"), HTTP1_REASON_BODY_TOO_LARGE);
}

static void b5_host_is_checked(void **state)
{
    request_is_refused(*state, STR("GET / HTTP/1.1\r\n\r\n"), HTTP1_REASON_HOST_MISSING);
    request_is_refused(*state, STR("GET / HTTP/1.1\r\n" H H "\r\n"), HTTP1_REASON_HOST_REPEATED);
    request_is_refused(*state, STR("GET http://u:p@a.example/ HTTP/1.1\r\n" H "\r\n"),
                       HTTP1_REASON_TARGET_USERINFO);
    request_is_refused(*state, STR("GET http://b.example/ HTTP/1.1\r\n" H "\r\n"),
                       HTTP1_REASON_TARGET_OTHER_HOST);
    request_is_refused(*state, STR("GET ftp://a.example/ HTTP/1.1\r\n" H "\r\n"),
                       HTTP1_REASON_BAD_TARGET);
    const struct str bad[] = {
        STR("GET / HTTP/1.1\r\nHost:\r\n\r\n"),         STR("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
        STR("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n"),     STR("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"),
        STR("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),     STR("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n"),
        STR("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"),    STR("GET / HTTP/1.1\r\nHost: []\r\n\r\n"),
        STR("GET / HTTP/1.1\r\nHost: a:123456\r\n\r\n")};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        request_is_refused(*state, bad[i], HTTP1_REASON_BAD_HOST);
    request_gives(*state, STR("GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n"), "host ([::1]:8080)");
}

static void b6_paths_are_left_as_sent(void **state)
{
    request_gives(*state, STR("GET /a%2Fb//../%00?x=/../#HTTP/1.1\r\n" H "\r\n"), "rejected");
    request_gives(*state, STR("GET /V1/a%2Fb//../%00/?x=%2f/.. HTTP/1.1\r\n" H "\r\n"),
                  "path (/V1/a%2Fb//../%00/) query 1(x=%2f/..)");
}

static void b7_methods_versions_and_upgrades(void **state)
{
    request_is_refused(*state, STR("BREW / HTTP/1.1\r\n"), HTTP1_REASON_METHOD_UNKNOWN);
    request_is_refused(*state, STR("get / HTTP/1.1\r\n"), HTTP1_REASON_METHOD_UNKNOWN);
    request_is_refused(*state, STR("CONNECT a:1 HTTP/1.1\r\n"), HTTP1_REASON_METHOD_UNKNOWN);
    request_is_refused(*state, STR("TRACE / HTTP/1.1\r\n"), HTTP1_REASON_METHOD_UNKNOWN);
    request_is_refused(*state, STR("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), HTTP1_REASON_BAD_VERSION);
    request_is_refused(*state, STR("GET / HTTP/1.2\r\n"), HTTP1_REASON_BAD_VERSION);
    request_is_refused(*state, STR("GET / HTTP/3.0\r\n"), HTTP1_REASON_BAD_VERSION);
    request_is_refused(*state, STR("GET /\r\n"), HTTP1_REASON_BAD_REQUEST_LINE);
    request_is_refused(*state, STR("GET / http/1.1\r\n"), HTTP1_REASON_BAD_REQUEST_LINE);
    request_gives(*state, STR("GET / HTTP/1.1\r\n" H "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"),
                  "v1 keep 1 kind 0");
}

static void b8_expectations(void **state)
{
    request_gives(*state,
                  STR("POST / HTTP/1.1\r\n" H "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\na"),
                  "expect 1");
    request_gives(*state, STR("POST / HTTP/1.0\r\n" H "Expect: 100-continue\r\n\r\n"), "expect 0");
    request_is_refused(*state, STR("POST / HTTP/1.1\r\n" H "Expect: 200-ok\r\n\r\n"),
                       HTTP1_REASON_EXPECTATION);
}

static struct http1_head parsed(struct str bytes)
{
    struct http1_head h;
    http1_request_init(&h);
    assert_int_equal(http1_head_parse(&h, bytes.data, bytes.len), HTTP1_DONE);
    return h;
}

/* The bits of names only save a search: what is found is what is there, for any split. */
static void b9_fields_are_found_alike_for_any_split(void **state)
{
    (void)state;
    static const char bytes[] =
        "POST / HTTP/1.1\r\n" H "Authorization: Bearer a\r\nX-Api-Key:\tb\r\nACCEPT: */*\r\n"
        "x-steelyard-tags: a=b\r\nX-STEELYARD-TAGS: c=d\r\nx: 1\r\n~: 2\r\nTE:\r\n\r\n";
    static const struct {
        const char *name;
        size_t count;
        const char *value;
    } rows[] = {{"authorization", 1, "Bearer a"}, {"x-api-key", 1, "b"}, {"accept", 1, "*/*"},
                {"x-steelyard-tags", 2, "a=b"},   {"api-key", 0, NULL},  {"authorizatiom", 0, NULL},
                {"x-goog-api-key", 0, NULL}};
    for (size_t cut = 0; cut < sizeof bytes - 1; cut++) {
        struct http1_head h;
        uint64_t names = 0;
        http1_request_init(&h);
        assert_int_equal(http1_head_parse(&h, bytes, cut), HTTP1_MORE);
        assert_int_equal(http1_head_parse(&h, bytes, sizeof bytes - 1), HTTP1_DONE);
        for (size_t i = 0; i < h.field_count; i++) {
            struct str name = http1_field_name(&h, i);
            names |= http1_name_bit(name.data, name.len);
            assert_non_null(http1_field_get(&h, name).data);
        }
        assert_true(names == h.names);
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            struct str name = str_from(rows[i].name), value = STR_NULL;
            assert_int_equal(http1_field_find(&h, name, &value), rows[i].count);
            assert_int_equal(http1_field_count(&h, name), rows[i].count);
            assert_true(rows[i].count == 0 || str_is(value, rows[i].value));
            assert_true(str_eq(http1_field_get(&h, name), value));
        }
        assert_true(str_is(http1_field_get(&h, STR("X")), "1"));
        assert_true(str_is(http1_field_get(&h, STR("~")), "2"));
        assert_null(http1_field_get(&h, STR("^")).data);
    }
    struct http1_head h;
    http1_request_init(&h); /* What an earlier head had is forgotten. */
    assert_true(h.names == 0);
}

static void b12_content_types_and_boundaries(void **state)
{
    (void)state;
#define TYPED(type) parsed(STR("POST / HTTP/1.1\r\n" H "Content-Type: " type "\r\n\r\n"))
    struct http1_head h = TYPED("Application/JSON ; charset=utf-8");
    struct str boundary;
    assert_true(http1_content_type_is(&h, STR("application/json")));
    assert_int_equal(http1_multipart_boundary(&h, &boundary), HTTP1_REASON_BAD_CONTENT_TYPE);
    h = TYPED("multipart/form-data; boundary=\"a b\"");
    assert_int_equal(http1_multipart_boundary(&h, &boundary), HTTP1_REASON_NONE);
    assert_true(str_is(boundary, "a b"));
#define TEN "0123456789"
    h = TYPED("multipart/form-data; boundary=" TEN TEN TEN TEN TEN TEN TEN);
    assert_int_equal(http1_multipart_boundary(&h, &boundary), HTTP1_REASON_NONE);
    h = TYPED("multipart/form-data; boundary=" TEN TEN TEN TEN TEN TEN TEN "1");
    assert_int_equal(http1_multipart_boundary(&h, &boundary), HTTP1_REASON_BAD_BOUNDARY);
    h = TYPED("multipart/form-data; boundary=a; boundary=b");
    assert_int_equal(http1_multipart_boundary(&h, &boundary), HTTP1_REASON_BAD_BOUNDARY);
    h = TYPED("multipart/form-data");
    assert_int_equal(http1_multipart_boundary(&h, &boundary), HTTP1_REASON_BAD_BOUNDARY);
    h = parsed(STR("POST / HTTP/1.1\r\n" H "Content-Encoding: gzip\r\n\r\n"));
    assert_true(h.body_encoded);
    assert_int_equal(http1_reason_status(HTTP1_REASON_BODY_ENCODED), 415);
}

static void b25_hop_by_hop_fields_are_known(void **state)
{
    (void)state;
    struct http1_head h =
        parsed(STR("GET / HTTP/1.1\r\n" H "Connection: close, X-Secret\r\nX-Secret: 1\r\n\r\n"));
    assert_true(http1_field_is_hop_by_hop(&h, STR("X-SECRET")));
    assert_true(http1_field_is_hop_by_hop(&h, STR("Proxy-Authorization")));
    assert_true(http1_field_is_hop_by_hop(&h, STR("transfer-encoding")));
    assert_true(http1_field_is_hop_by_hop(&h, STR("Cookie")));
    assert_false(http1_field_is_hop_by_hop(&h, STR("anthropic-version")));
    assert_int_equal(http1_field_count(&h, STR("x-secret")), 1);
    assert_true(str_is(http1_field_get(&h, STR("x-secret")), "1"));
    assert_null(http1_field_get(&h, STR("nope")).data);
}

static void responses_are_taken_apart(void **state)
{
    struct traces *t = *state;
    response_gives(t, STR("HTTP/1.1 200 Very OK\r\nContent-Length: 2\r\n\r\nab"),
                   "200 (Very OK) after 0\n(Content-Length)=(2)\nbody ab\nbody done 2 left ()");
    response_gives(t, STR("HTTP/1.1 200\r\n\r\nabc"), "keep 0 kind 3");
    response_gives(t, STR("HTTP/1.1 200\r\n\r\nabc"), "body abc\nbody done 3");
    response_gives(t,
                   STR("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nA: b\r\n\r\n"
                       "HTTP/1.1 204 No\r\n\r\n"),
                   "204 (No) after 2\nbody \nbody done 0");
    response_gives(t,
                   STR("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"),
                   "body a\nbody done 1");
    response_gives(t, STR("HTTP/1.1 304 x\r\nContent-Length: 9\r\n\r\n"), "body done 0");
    expect_text(
        t,
        (struct http1_trace_input){.bytes = STR("HTTP/1.1 200 x\r\nContent-Length: 9\r\n\r\n"),
                                   .response = true,
                                   .reply_to_head = true},
        "body done 0");
}

static void b32_broken_response_heads_are_refused(void **state)
{
    struct traces *t = *state;
    const struct str bad[] = {STR("garbage\r\n"),         STR("HTTP/1.1 20 x\r\n"),
                              STR("HTTP/1.1 2000 x\r\n"), STR("HTTP/1.1 099 x\r\n"),
                              STR("HTTP/1.1  200 x\r\n"), STR("\r\nHTTP/1.1 200 x\r\n"),
                              STR("HTTP/1.1 101 x\r\n"),  STR("HTTP/1.1 600 x\r\n")};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        response_gives(t, bad[i], "rejected BAD_STATUS_LINE");
    response_gives(t, STR("HTTP/2.0 200 x\r\n"), "rejected BAD_VERSION");
    struct buf b;
    buf_init(&b, TRACE_MAX);
    for (unsigned i = 0; i <= HTTP1_INTERIM_MAX; i++)
        assert_int_equal(buf_append_text(&b, "HTTP/1.1 102 x\r\n\r\n"), 0);
    response_gives(t, buf_str(&b), "rejected INTERIM_TOO_MANY");
    buf_clear(&b);
    assert_int_equal(buf_append_text(&b, "HTTP/1.1 200 x\r\nA: "), 0);
    while (b.len <= HTTP1_RESPONSE_HEAD_BYTES_MAX)
        assert_int_equal(buf_append_text(&b, "0123456789abcdef"), 0);
    struct http1_trace_input input = {.bytes = buf_str(&b), .response = true};
    struct buf out;
    buf_init(&out, TRACE_MAX);
    http1_trace(&input, &out); /* Not byte by byte: that would copy two gigabytes. */
    assert_string_equal(buf_cstr(&out), "head rejected HEAD_TOO_LARGE\n");
    buf_deinit(&out);
    buf_deinit(&b);
}

static void b33_short_and_long_bodies_are_seen(void **state)
{
    response_gives(*state, STR("HTTP/1.1 200 x\r\nContent-Length: 3\r\n\r\nab"),
                   "body ab\nbody rejected CUT_SHORT");
    response_gives(*state, STR("HTTP/1.1 200 x\r\nContent-Length: 1\r\n\r\nab"),
                   "body a\nbody done 1 left (b)");
}

static void b34_framing_conflicts_are_refused(void **state)
{
    response_gives(*state, STR("HTTP/1.1 200 x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
                   "rejected LENGTH_REPEATED");
    response_gives(*state,
                   STR("HTTP/1.1 200 x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
                   "rejected LENGTH_AND_CODING");
    response_gives(*state, STR("HTTP/1.1 200 x\r\nContent-Encoding: gzip\r\n\r\n"), "encoded 1");
}

static void writers_refuse_what_would_break_a_head(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 200);
    assert_int_equal(http1_write_status_line(&b, 404), 0);
    assert_int_equal(http1_write_field(&b, STR("A"), STR("b\tc")), 0);
    assert_int_equal(http1_write_field_u64(&b, STR("Content-Length"), 18446744073709551615ULL), 0);
    size_t len = b.len;
    const struct str bad[] = {STR("a\rb"), STR("a\nb"), STR("a\0b"), STR("\x7f"), STR("\x01")};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(http1_write_field(&b, STR("A"), bad[i]), ERR_INVALID);
        assert_int_equal(http1_write_field(&b, bad[i], STR("v")), ERR_INVALID);
        assert_int_equal(http1_write_request_line(&b, STR("GET"), bad[i]), ERR_INVALID);
    }
    assert_int_equal(http1_write_field(&b, STR(""), STR("v")), ERR_INVALID);
    assert_int_equal(http1_write_request_line(&b, STR("GET"), STR("/a b")), ERR_INVALID);
    assert_int_equal(http1_write_status_line(&b, 99), ERR_INVALID);
    assert_int_equal(b.len, len);
    assert_int_equal(http1_write_head_end(&b), 0);
    assert_int_equal(http1_write_chunk(&b, STR("0123456789abcdefg")), 0);
    assert_int_equal(http1_write_chunk(&b, STR("")), 0);
    assert_string_equal(buf_cstr(&b), "HTTP/1.1 404 Not Found\r\nA: b\tc\r\n"
                                      "Content-Length: 18446744073709551615\r\n\r\n"
                                      "11\r\n0123456789abcdefg\r\n");
    len = b.len;
    static const char large[200] = {'x'};
    assert_int_equal(http1_write_field(&b, STR("A"), (struct str){large, 100}), ERR_INVALID);
    assert_int_equal(http1_write_chunk(&b, (struct str){large, 150}), ERR_TOO_LARGE);
    assert_int_equal(b.len, len);
    buf_deinit(&b);
}

static void dates_are_written_and_read(void **state)
{
    (void)state;
    char date[HTTP1_DATE_BYTES];
    uint32_t s = 0;
    http1_format_date(784111777000000, date);
    assert_string_equal(date, "Sun, 06 Nov 1994 08:49:37 GMT");
    http1_format_date(951782400000000, date);
    assert_string_equal(date, "Tue, 29 Feb 2000 00:00:00 GMT");
    assert_int_equal(http1_parse_retry_after(str_from(date), 951782390000000, 300, &s), 0);
    assert_int_equal(s, 10);
}

static void b41_retry_after_is_clamped(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        int rc;
        uint32_t seconds;
    } rows[] = {
        {"7", 0, 7},
        {"0", 0, 0},
        {"-5", 0, 0},
        {"1.2", 0, 2},
        {"301", 0, 300},
        {"99999999999999999999999", 0, 300},
        {"Sun, 06 Nov 1994 08:49:37 GMT", 0, 0},
        {"Fri, 31 Dec 9999 23:59:59 GMT", 0, 300},
        {"soon", ERR_SYNTAX, 0},
        {"", ERR_SYNTAX, 0},
        {"-", ERR_SYNTAX, 0},
        {"1e3", ERR_SYNTAX, 0},
        {"Sun, 06 Nov 1994 08:49:37 UTC", ERR_SYNTAX, 0},
        {"Sun, 06 Nox 1994 08:49:37 GMT", ERR_SYNTAX, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint32_t s = 0;
        assert_int_equal(
            http1_parse_retry_after(str_from(rows[i].value), 1700000000000000, 300, &s),
            rows[i].rc);
        assert_int_equal(s, rows[i].seconds);
    }
}

static void every_reason_has_a_status_and_a_text(void **state)
{
    (void)state;
    for (unsigned i = 0; i < HTTP1_REASON_COUNT; i++) {
        assert_non_null(http1_reason_text((enum http1_reason)i));
        assert_string_not_equal(http1_status_text(http1_reason_status((enum http1_reason)i)),
                                "Unknown");
    }
    assert_true(http1_reason_closes(HTTP1_REASON_BAD_BYTE));
    assert_string_equal(http1_status_text(299), "Unknown");
}

/* Every byte at every place of a block, between bytes that are fine for the scan. */
static void scans_of_blocks_find_what_scalar_ones_find(void **state)
{
    (void)state;
    char text[40];
    for (int c = 0; c < 256; c++) {
        for (size_t place = 0; place < sizeof text; place++) {
            memset(text, 'x', sizeof text);
            text[place] = (char)c;
            for (size_t at = 0; at < 20; at++) {
                assert_int_equal(http1_scan_control(text, at, sizeof text),
                                 http1_scan_control_scalar(text, at, sizeof text));
                assert_int_equal(http1_scan_name(text, at, sizeof text),
                                 http1_scan_name_scalar(text, at, sizeof text));
                assert_int_equal(http1_scan_path(text, at, sizeof text),
                                 http1_scan_path_scalar(text, at, sizeof text));
            }
        }
    }
}

/* Only letters fold: no other token byte is taken for one of a name that is looked for. */
static void names_are_the_same_in_any_case_and_no_others_are(void **state)
{
    (void)state;
    static const char *const names[] = {"host",           "expect",           "connection",
                                        "content-length", "content-encoding", "transfer-encoding"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size_t len = strlen(names[i]);
        char other[32];
        for (size_t place = 0; place < len; place++) {
            for (int c = 0; c < 256; c++) {
                memcpy(other, names[i], len);
                other[place] = (char)c;
                if (http1_is_tchar((char)c))
                    assert_int_equal(http1_name_is(other, names[i], len),
                                     str_eq_nocase((struct str){other, len}, str_from(names[i])));
            }
        }
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(a_plain_request_is_taken_apart),
        T(an_idle_or_cut_head_is_told_apart),
        T(b1_malformed_bytes_and_names_are_refused),
        T(b2_doubtful_framing_is_refused),
        T(chunks_are_joined_and_trailers_dropped),
        T(b3_broken_chunks_are_refused),
        T(b4_limits_are_exact),
        T(b5_host_is_checked),
        T(b6_paths_are_left_as_sent),
        T(b7_methods_versions_and_upgrades),
        T(b8_expectations),
        T(b9_fields_are_found_alike_for_any_split),
        T(b12_content_types_and_boundaries),
        T(b25_hop_by_hop_fields_are_known),
        T(responses_are_taken_apart),
        T(b32_broken_response_heads_are_refused),
        T(b33_short_and_long_bodies_are_seen),
        T(b34_framing_conflicts_are_refused),
        T(writers_refuse_what_would_break_a_head),
        T(dates_are_written_and_read),
        T(b41_retry_after_is_clamped),
        T(every_reason_has_a_status_and_a_text),
        T(scans_of_blocks_find_what_scalar_ones_find),
        T(names_are_the_same_in_any_case_and_no_others_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
