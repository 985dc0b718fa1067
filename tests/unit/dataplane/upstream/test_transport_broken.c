/* Upstreams that break the rules: B32 (no head), B33 (wrong length), B34 (framing conflicts), B36
 * (floods). Whatever they send, the call ends once with the right fault, nothing wrong is delivered
 * and the connection is never used again. */
#include <string.h>

#include "common/base/mem.h"
#include "tests/unit/dataplane/upstream/conform.h"

#define OK_      "HTTP/1.1 200 OK\r\n"
#define CHUNKED_ OK_ "Transfer-Encoding: chunked\r\n\r\n"

struct broken {
    const char *what;
    struct str reply;
    int status;
    enum fetch_phase phase;
    const char *body; /* What may have been delivered. */
};

/* The reply, then either silence or the end; afterwards a sound one, which must come over another
 * connection. */
static void expect_broken(struct conform *c, const struct broken *b, bool close)
{
    conform_serve(c, NULL);
    if (close)
        EVIL_SCRIPT(&c->evil, S_REQUEST, S_BYTES(b->reply), S_CLOSE);
    else
        EVIL_SCRIPT(&c->evil, S_REQUEST, S_BYTES(b->reply));
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_ "Content-Length: 5\r\n\r\nsound"), S_AGAIN);
    (void)conform_run(c, (struct fetch_request){0});
    if (c->x.result.status != b->status || c->x.result.phase != b->phase ||
        strcmp(buf_cstr(&c->x.body), b->body) != 0)
        print_error("%s: status %s, phase %s, body '%s'\n", b->what, err_name(c->x.result.status),
                    fetch_phase_name(c->x.result.phase), buf_cstr(&c->x.body));
    assert_int_equal(c->x.result.status, b->status);
    assert_int_equal(c->x.result.phase, b->phase);
    assert_string_equal(buf_cstr(&c->x.body), b->body);
    assert_true(c->x.result.request_sent && !c->x.result.reused);
    bool whole_line = str_find(b->reply, '\n') >= 0 || b->status == ERR_PROTOCOL;
    if (whole_line || conform_does(c, CONFORM_SEES_HALF_LINES))
        assert_true(c->x.result.reply_seen == (b->reply.len > 0));
    conform_expect(c, 0, "sound");
    assert_false(c->x.result.reused);
    assert_int_equal(c->evil.connections, 2);
}

#define EACH(rows, close)                                                                          \
    for (size_t i_ = 0; i_ < sizeof(rows) / sizeof((rows)[0]); i_++)                               \
    expect_broken(*state, &(rows)[i_], close)

static void b32_a_close_before_the_end_of_the_head(void **state)
{
    static const struct broken rows[] = {
        {"nothing", {"", 0}, ERR_CLOSED, FETCH_HEAD, ""},
        {"half a line", STR("HTTP/1."), ERR_CLOSED, FETCH_HEAD, ""},
        {"half a head", STR(OK_ "A: b"), ERR_CLOSED, FETCH_HEAD, ""},
        {"no blank line", STR(OK_ "Content-Length: 0\r\n"), ERR_CLOSED, FETCH_HEAD, ""},
        {"half a blank line", STR(OK_ "Content-Length: 0\r\n\r"), ERR_CLOSED, FETCH_HEAD, ""},
        {"only interim", STR("HTTP/1.1 100 Continue\r\n\r\n"), ERR_CLOSED, FETCH_HEAD, ""},
    };
    EACH(rows, true);
}

static void b32_a_reset_before_the_head(void **state)
{
    struct conform *c = *state;
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_RESET);
    EVIL_SCRIPT(&c->evil, S_HEAD, S_SEND("HTTP/1.1 20"), S_TURNS(2), S_RESET);
    conform_expect(c, ERR_CLOSED, "");
    assert_false(c->x.result.reply_seen);
    conform_expect(c, ERR_CLOSED, "");
    assert_true(c->x.result.reply_seen == conform_does(c, CONFORM_SEES_HALF_LINES));
    assert_int_equal(c->x.result.phase, FETCH_HEAD);
}

static void b32_garbage_is_a_protocol_fault(void **state)
{
    static const struct broken rows[] = {
        {"words", STR("garbage\r\n\r\n"), ERR_PROTOCOL, FETCH_HEAD, ""},
        {"zeros", {"\0\0\0\0\r\n\r\n", 8}, ERR_PROTOCOL, FETCH_HEAD, ""},
        {"TLS alert", STR("\x15\x03\x01\x01\x01\x02\x50\r\n\r\n"), ERR_PROTOCOL, FETCH_HEAD, ""},
        {"HTTP/2", STR("HTTP/2 200\r\nContent-Length: 2\r\n\r\nab"), ERR_PROTOCOL, FETCH_HEAD, ""},
        {"HTTP/1.2", STR("HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nab"), ERR_PROTOCOL,
         FETCH_HEAD, ""},
        {"status 20", STR("HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nab"), ERR_PROTOCOL,
         FETCH_HEAD, ""},
        {"status 1000", STR("HTTP/1.1 1000 OK\r\nContent-Length: 2\r\n\r\nab"), ERR_PROTOCOL,
         FETCH_HEAD, ""},
        {"status 099", STR("HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nab"), ERR_PROTOCOL,
         FETCH_HEAD, ""},
        {"a request", STR("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), ERR_PROTOCOL, FETCH_HEAD, ""},
        {"NUL in a field",
         {OK_ "A: b\0c\r\nContent-Length: 2\r\n\r\nab", 47},
         ERR_PROTOCOL,
         FETCH_HEAD,
         ""},
        {"space before colon", STR(OK_ "Content-Length : 2\r\n\r\nab"), ERR_PROTOCOL, FETCH_HEAD,
         ""},
        {"folded line", STR(OK_ "A: b\r\n c\r\nContent-Length: 2\r\n\r\nab"), ERR_PROTOCOL,
         FETCH_HEAD, ""},
        {"no colon", STR(OK_ "Content-Length\r\n\r\nab"), ERR_PROTOCOL, FETCH_HEAD, ""},
        {"empty name", STR(OK_ ": b\r\nContent-Length: 2\r\n\r\nab"), ERR_PROTOCOL, FETCH_HEAD, ""},
        {"switching", STR("HTTP/1.1 101 x\r\nUpgrade: a\r\n\r\n"), ERR_PROTOCOL, FETCH_HEAD, ""},
    };
    EACH(rows, false);
}

static void b32_a_head_over_64_kib_or_without_end_is_a_fault(void **state)
{
    struct conform *c = *state;
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_), S_FLOOD(0, STR("X-Field: 0123456789abcdef\r\n")));
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_ "X-Long: "), S_FLOOD(0, STR("0123456789abcdef")));
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND("HTTP/1.1 200 "), S_FLOOD(0, STR("0123456789abcdef")));
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_FLOOD(0, STR("0123456789abcdef")));
    for (int i = 0; i < 3; i++) {
        conform_expect(c, ERR_TOO_LARGE, "");
        assert_int_equal(c->x.result.phase, FETCH_HEAD);
        assert_int_equal(c->x.heads, 0);
    }
    int rc = conform_run(c, (struct fetch_request){0}); /* Both are true of it. */
    assert_true(rc == ERR_TOO_LARGE || rc == ERR_PROTOCOL);
    assert_int_equal(c->evil.connections, 4);
}

static void b32_endless_interim_heads_are_a_fault(void **state)
{
    struct conform *c = *state;
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_FLOOD(0, STR("HTTP/1.1 102 Processing\r\nA: b\r\n\r\n")));
    conform_expect(c, ERR_PROTOCOL, "");
    assert_int_equal(c->x.result.phase, FETCH_HEAD);
    assert_true(wire_run(&c->loop, conform_saw_gone, c));
}

static void b33_a_short_body_is_a_cut(void **state)
{
    static const struct broken rows[] = {
        {"length", STR(OK_ "Content-Length: 9\r\n\r\nab"), ERR_CLOSED, FETCH_BODY, "ab"},
        {"length, nothing", STR(OK_ "Content-Length: 9\r\n\r\n"), ERR_CLOSED, FETCH_BODY, ""},
        {"chunk", STR(CHUNKED_ "5\r\nabc"), ERR_CLOSED, FETCH_BODY, "abc"},
        {"no last chunk", STR(CHUNKED_ "3\r\nabc\r\n"), ERR_CLOSED, FETCH_BODY, "abc"},
        {"half a last chunk", STR(CHUNKED_ "3\r\nabc\r\n0\r\n"), ERR_CLOSED, FETCH_BODY, "abc"},
        {"cut trailer", STR(CHUNKED_ "3\r\nabc\r\n0\r\nA: b\r\n"), ERR_CLOSED, FETCH_BODY, "abc"},
        {"half a size", STR(CHUNKED_ "3"), ERR_CLOSED, FETCH_BODY, ""},
    };
    EACH(rows, true);
}

/* Too much: what is owed is delivered, the rest never, and the connection is not used again. */
static void b33_bytes_past_the_end_are_never_delivered(void **state)
{
    static const struct broken rows[] = {
        {"length", STR(OK_ "Content-Length: 2\r\n\r\nabcd"), 0, FETCH_COMPLETE, "ab"},
        {"length 0", STR(OK_ "Content-Length: 0\r\n\r\nabcd"), 0, FETCH_COMPLETE, ""},
        {"chunked", STR(CHUNKED_ "2\r\nab\r\n0\r\n\r\ncd"), 0, FETCH_COMPLETE, "ab"},
        {"a whole reply",
         STR(OK_ "Content-Length: 2\r\n\r\nab" OK_ "Content-Length: 4\r\n\r\nevil"), 0,
         FETCH_COMPLETE, "ab"},
        {"204", STR("HTTP/1.1 204 x\r\n\r\nevil"), 0, FETCH_COMPLETE, ""},
        {"304", STR("HTTP/1.1 304 x\r\nContent-Length: 4\r\n\r\nevil"), 0, FETCH_COMPLETE, ""},
    };
    EACH(rows, false);
}

static void b33_a_body_in_answer_to_head_is_never_delivered(void **state)
{
    struct conform *c = *state;
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_ "Content-Length: 4\r\n\r\nevil"));
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_ "Content-Length: 5\r\n\r\nsound"));
    assert_int_equal(conform_run(c, (struct fetch_request){.method = STR("HEAD")}), 0);
    assert_int_equal(c->x.body.len, 0);
    conform_expect(c, 0, "sound");
    assert_false(c->x.result.reused);
}

static void b34_conflicting_or_odd_lengths_are_a_fault(void **state)
{
    static const struct broken rows[] = {
        {"length and coding", STR(OK_ "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nab"),
         ERR_PROTOCOL, FETCH_HEAD, ""},
        {"coding and length", STR(OK_ "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\nab"),
         ERR_PROTOCOL, FETCH_HEAD, ""},
        {"two lengths", STR(OK_ "Content-Length: 2\r\nContent-Length: 3\r\n\r\nab"), ERR_PROTOCOL,
         FETCH_HEAD, ""},
        {"equal lengths", STR(OK_ "Content-Length: 2\r\nContent-Length: 2\r\n\r\nab"), ERR_PROTOCOL,
         FETCH_HEAD, ""},
        {"list", STR(OK_ "Content-Length: 2, 2\r\n\r\nab"), ERR_PROTOCOL, FETCH_HEAD, ""},
        {"minus", STR(OK_ "Content-Length: -2\r\n\r\nab"), ERR_PROTOCOL, FETCH_HEAD, ""},
        {"plus", STR(OK_ "Content-Length: +2\r\n\r\nab"), ERR_PROTOCOL, FETCH_HEAD, ""},
        {"hex", STR(OK_ "Content-Length: 0x2\r\n\r\nab"), ERR_PROTOCOL, FETCH_HEAD, ""},
        {"blank", STR(OK_ "Content-Length: \r\n\r\nab"), ERR_PROTOCOL, FETCH_HEAD, ""},
        {"huge", STR(OK_ "Content-Length: 99999999999999999999\r\n\r\nab"), ERR_PROTOCOL,
         FETCH_HEAD, ""},
        {"gzip coding", STR(OK_ "Transfer-Encoding: gzip\r\n\r\nab"), ERR_PROTOCOL, FETCH_HEAD, ""},
        {"two codings", STR(OK_ "Transfer-Encoding: gzip, chunked\r\n\r\nab"), ERR_PROTOCOL,
         FETCH_HEAD, ""},
        {"chunked twice",
         STR(OK_ "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"
                 "\r\n0\r\n\r\n"),
         ERR_PROTOCOL, FETCH_HEAD, ""},
        {"coding in 1.0", STR("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
         ERR_PROTOCOL, FETCH_HEAD, ""},
    };
    EACH(rows, false);
}

static void b34_bad_chunks_are_a_fault(void **state)
{
    static const struct broken rows[] = {
        {"no digits", STR(CHUNKED_ "\r\nab\r\n"), ERR_PROTOCOL, FETCH_BODY, ""},
        {"no hex", STR(CHUNKED_ "xyz\r\nab\r\n"), ERR_PROTOCOL, FETCH_BODY, ""},
        {"prefix", STR(CHUNKED_ "0x2\r\nab\r\n"), ERR_PROTOCOL, FETCH_BODY, ""},
        {"minus", STR(CHUNKED_ "-2\r\nab\r\n"), ERR_PROTOCOL, FETCH_BODY, ""},
        {"overflow", STR(CHUNKED_ "ffffffffffffffff1\r\nab\r\n"), ERR_PROTOCOL, FETCH_BODY, ""},
        {"no end of data", STR(CHUNKED_ "2\r\nabcd\r\n0\r\n\r\n"), ERR_PROTOCOL, FETCH_BODY, "ab"},
    };
    EACH(rows, false);
}

static void b34_unasked_compression_is_a_fault(void **state)
{
    static const struct broken rows[] = {
        {"gzip", STR(OK_ "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\nab"), ERR_PROTOCOL,
         FETCH_BODY, ""},
        {"br", STR(OK_ "content-encoding: br\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
         ERR_PROTOCOL, FETCH_BODY, ""},
    };
    struct conform *c = *state;
    for (size_t i = 0; i < 2; i++) {
        conform_serve(c, NULL);
        EVIL_SCRIPT(&c->evil, S_REQUEST, S_BYTES(rows[i].reply), S_AGAIN);
        conform_expect(c, ERR_PROTOCOL, "");
        assert_int_equal(c->x.pieces, 0);
        assert_true(wire_run(&c->loop, conform_saw_gone, c));
    }
    conform_serve(c, NULL);
    EVIL_SCRIPT(&c->evil, S_REQUEST,
                S_SEND(OK_ "Content-Encoding: identity\r\nContent-Length: 2\r\n\r\nab"));
    conform_expect(c, 0, "ab");
}

static void b34_a_redirect_is_not_followed(void **state)
{
    struct conform *c = *state;
    EVIL_SCRIPT(&c->evil, S_REQUEST,
                S_SEND("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n"
                       "Content-Length: 4\r\n\r\nmove"),
                S_REQUEST,
                S_SEND("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=a\r\n"
                       "Content-Length: 0\r\n\r\n"));
    conform_expect(c, 0, "move");
    assert_int_equal(c->x.status, 302);
    conform_expect(c, 0, "");
    assert_int_equal(c->x.status, 401);
    assert_int_equal(c->evil.requests, 2);
    assert_int_equal(c->evil.connections, 1);
}

static void b36_one_byte_chunks_arrive_whole(void **state)
{
    struct conform *c = *state;
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(CHUNKED_), S_FLOOD(20000, STR("1\r\nx\r\n")),
                S_SEND("0\r\n\r\n"), S_AGAIN);
    c->x.drop = true;
    assert_int_equal(conform_run(c, (struct fetch_request){0}), 0);
    assert_int_equal(c->x.delivered, 20000);
    assert_int_equal(conform_run(c, (struct fetch_request){0}), 0);
    assert_true(c->x.result.reused);
}

static void b36_a_body_over_its_maximum_is_cut(void **state)
{
    struct conform *c = *state;
    const struct fetch_request capped = {.body_max_bytes = 100000};
    static char kibibyte[1024];
    memset(kibibyte, 'x', sizeof(kibibyte));
    const struct str some = {kibibyte, sizeof(kibibyte)};
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_ "Content-Length: 100001\r\n\r\n"),
                S_FLOOD(0, some));
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_ "\r\n"), S_FLOOD(0, some));
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(CHUNKED_ "7fffffffffffffff\r\n"), S_FLOOD(0, some));
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(CHUNKED_), S_FLOOD(0, STR("4\r\nabcd\r\n")));
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(OK_ "Content-Length: 100352\r\n\r\n"),
                S_FLOOD(98, some));
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(conform_run(c, capped), ERR_TOO_LARGE);
        assert_true(c->x.delivered <= 100000);
        assert_int_equal(c->x.result.phase, FETCH_BODY);
        assert_int_equal(c->evil.connections, i + 1);
    }
    assert_int_equal(conform_run(c, (struct fetch_request){.body_max_bytes = 100352}), 0);
    assert_int_equal(c->x.delivered, 100352);
}

static void b36_framing_that_outgrows_its_body_is_cut(void **state)
{
    struct conform *c = *state;
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(CHUNKED_ "2\r\nab\r\n0\r\n"),
                S_FLOOD(0, STR("Trailer: 0123456789\r\n")));
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(CHUNKED_ "2;ext="), S_FLOOD(0, STR("0123456789")));
    EVIL_SCRIPT(&c->evil, S_REQUEST, S_SEND(CHUNKED_), S_FLOOD(0, STR("0000000000000000")));
    for (unsigned i = 0; i < 3; i++) {
        int rc = conform_run(c, (struct fetch_request){0});
        assert_true(rc == ERR_TOO_LARGE || rc == ERR_PROTOCOL);
        assert_int_equal(c->x.result.phase, FETCH_BODY);
        assert_int_equal(c->evil.connections, i + 1);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CONFORM(b32_a_close_before_the_end_of_the_head),
        CONFORM(b32_a_reset_before_the_head),
        CONFORM(b32_garbage_is_a_protocol_fault),
        CONFORM(b32_a_head_over_64_kib_or_without_end_is_a_fault),
        CONFORM(b32_endless_interim_heads_are_a_fault),
        CONFORM(b33_a_short_body_is_a_cut),
        CONFORM(b33_bytes_past_the_end_are_never_delivered),
        CONFORM(b33_a_body_in_answer_to_head_is_never_delivered),
        CONFORM(b34_conflicting_or_odd_lengths_are_a_fault),
        CONFORM(b34_bad_chunks_are_a_fault),
        CONFORM(b34_unasked_compression_is_a_fault),
        CONFORM(b34_a_redirect_is_not_followed),
        CONFORM(b36_one_byte_chunks_arrive_whole),
        CONFORM(b36_a_body_over_its_maximum_is_cut),
        CONFORM(b36_framing_that_outgrows_its_body_is_cut),
    };
    return conform_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
