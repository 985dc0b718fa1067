/* A head that is known by one before it means what parsing it says: each member, by each way of
 * comparing, for heads by chance, with a byte changed, and in parts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/net/http1_memory.h"

#define ROUNDS 60000U

static uint64_t chance;

static unsigned below(unsigned n)
{
    chance ^= chance << 13;
    chance ^= chance >> 7;
    chance ^= chance << 17;
    return (unsigned)((chance >> 11) % n);
}

static unsigned alike_count;
static enum { REQUESTS, REPLIES, REPLIES_TO_HEAD, KINDS } kind;
static http1_alike_fn alike_way;

static bool alike_counted(const struct http1_known *known, const uint8_t *data)
{
    const bool alike = alike_way(known, data);
    alike_count += alike;
    return alike;
}

static bool next_way(int *io_way)
{
    while (*io_way < HTTP1_WAYS) {
        alike_way = http1_alike_of((enum http1_way)(*io_way)++);
        if (alike_way != NULL) {
            http1_alike_best = alike_counted;
            return true;
        }
    }
    return false;
}

static void same_slice(struct str a, struct str b)
{
    assert_ptr_equal(a.data, b.data);
    assert_int_equal(a.len, b.len);
}

static void same_head(const struct http1_head *a, const struct http1_head *b)
{
    assert_int_equal(a->reason, b->reason);
    if (a->reason != HTTP1_REASON_NONE)
        return;
    assert_int_equal(a->head_bytes, b->head_bytes);
    assert_int_equal(a->minor_version, b->minor_version);
    assert_int_equal(a->keep_alive, b->keep_alive);
    assert_int_equal(a->expect_continue, b->expect_continue);
    assert_int_equal(a->body_encoded, b->body_encoded);
    assert_int_equal(a->body_kind, b->body_kind);
    assert_int_equal(a->content_length, b->content_length);
    assert_int_equal(a->method, b->method);
    same_slice(a->target, b->target);
    same_slice(a->path, b->path);
    same_slice(a->query, b->query);
    same_slice(a->host, b->host);
    same_slice(a->phrase, b->phrase);
    assert_int_equal(a->status, b->status);
    assert_int_equal(a->interim_count, b->interim_count);
    assert_int_equal(a->names, b->names);
    assert_int_equal(a->field_count, b->field_count);
    assert_memory_equal(a->fields, b->fields, a->field_count * sizeof a->fields[0]);
    assert_ptr_equal(a->base, b->base);
    assert_int_equal(a->response, b->response);
    assert_int_equal(a->reply_to_head, b->reply_to_head);
    assert_int_equal(a->state, b->state);
    assert_int_equal(a->flags, b->flags);
    assert_int_equal(a->start_at, b->start_at);
    assert_int_equal(a->line_at, b->line_at);
    assert_int_equal(a->scan_at, b->scan_at);
}

static void begin(struct http1_head *h)
{
    if (kind == REQUESTS)
        http1_request_init(h);
    else
        http1_response_init(h, kind == REPLIES ? HTTP1_GET : HTTP1_HEAD);
}

/* In a block of its own, so that a sanitizer sees a read past it. */
static void expect_as_parsed(struct http1_memory *m, const char *text, size_t len, size_t split)
{
    struct http1_head plain, known;
    char *data = test_malloc(len + (len == 0));
    assert_non_null(data);
    memcpy(data, text, len);
    begin(&plain);
    begin(&known);
    if (split < len)
        assert_int_equal(http1_head_parse(&plain, data, split),
                         http1_head_parse_known(m, &known, data, split));
    assert_int_equal(http1_head_parse(&plain, data, len),
                     http1_head_parse_known(m, &known, data, len));
    same_head(&plain, &known);
    test_free(data);
}

static size_t put_head(char *out, size_t room)
{
    static const char *const firsts[] = {
        "POST /v1/chat/completions HTTP/1.1",   "POST /v1/messages HTTP/1.1",
        "POST /v1/messages?beta=true HTTP/1.1", "GET /v1/models HTTP/1.1",
        "POST /v1/chat/completions HTTP/1.0",   "POST http://bench/v1/messages HTTP/1.1"};
    static const char *const replies[] = {"HTTP/1.1 200 OK",  "HTTP/1.1 429 Too Many Requests",
                                          "HTTP/1.1 200",     "HTTP/1.1 204 No Content",
                                          "HTTP/1.0 200 Yes", "HTTP/1.1 100 Continue"};
    static const char *const lines[] = {"host: bench",
                                        "Host:  bench:8080 ",
                                        "content-type: application/json",
                                        "authorization: Bearer sk-sy-abcdef-0123456789",
                                        "Authorization: Bearer sk-sy-fedcba-9876543210",
                                        "x-request-id: 8c1f",
                                        "x-request-id: 91ab",
                                        "connection: keep-alive",
                                        "connection: close, x",
                                        "expect: 100-continue",
                                        "content-encoding: identity",
                                        "content-encoding: deflates",
                                        "transfer-encoding: chunked",
                                        "cookie: a=b",
                                        "user-agent: OpenAI/Python 1.99.0\tx",
                                        "x-empty:",
                                        "x-empty: \t",
                                        "x-high: \xC3\xA9",
                                        "accept: */*"};
    static const char *const lengths[] = {"1", "0", "9", "10", "1024", "4711", "0012", "99999"};
    static const unsigned usual[] = {0, 2, 3, 5, 18};
    const unsigned style = below(4);
    int n = snprintf(out, room, "%s\r\n",
                     (kind == REQUESTS ? firsts : replies)[below(style == 0 ? 6 : 2)]);
    for (unsigned i = 0; i < 5; i++) {
        if (style != 0 || below(3) != 0)
            n += snprintf(out + n, room - (size_t)n, "%s\r\n",
                          lines[style == 0 ? below(19) : usual[i] + (style == 1 && i == 2)]);
    }
    if (style != 0 || below(3) != 0)
        n += snprintf(out + n, room - (size_t)n, "content-length: %s\r\n", lengths[below(8)]);
    n += snprintf(out + n, room - (size_t)n, "\r\n%s", below(2) == 0 ? "{\"model\":" : "");
    return (size_t)n;
}

static void heads_by_chance(void)
{
    for (int way = 0; next_way(&way);) {
        static struct http1_memory m;
        static const char others[] = "\r\n\t :0x\x01\x7F\xC3,";
        memset(&m, 0, sizeof m);
        chance = 0x9E3779B97F4A7C15U + (uint64_t)way;
        alike_count = 0;
        for (unsigned i = 0; i < ROUNDS; i++) {
            char text[1024];
            size_t len = put_head(text, sizeof text);
            if (below(3) == 0)
                text[below((unsigned)len)] = others[below(sizeof others - 1)];
            if (below(8) == 0)
                len = below((unsigned)len + 1);
            expect_as_parsed(&m, text, len, below(8) == 0 ? below((unsigned)len + 1) : len);
        }
        if (kind == REPLIES_TO_HEAD)
            assert_int_equal(alike_count, 0);
        else
            assert_in_range(alike_count, ROUNDS / 12, ROUNDS);
    }
}

static void heads_by_chance_are_known_for_what_they_are(void **state)
{
    (void)state;
    for (kind = REQUESTS; kind < KINDS; kind++)
        heads_by_chance();
    kind = REQUESTS;
}

/* Of a known head each byte, made each of those that may matter, at each place. */
static void change_each_byte(const char *head)
{
    const size_t len = strlen(head);
    for (int way = 0; next_way(&way);) {
        static struct http1_memory m, again;
        memset(&m, 0, sizeof m);
        expect_as_parsed(&m, head, len, SIZE_MAX);
        for (size_t at = 0; at < len; at++) {
            for (unsigned c = 0; c < 256; c++) {
                char text[256];
                memcpy(text, head, len);
                text[at] = (char)c;
                again = m;
                expect_as_parsed(&again, text, len, SIZE_MAX);
            }
            again = m;
            expect_as_parsed(&again, head, len, at);
        }
    }
}

static void a_changed_byte_is_seen(void **state)
{
    (void)state;
    change_each_byte("POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\n"
                     "content-type: application/json\r\nx-a:\r\nx-b: c\r\n"
                     "authorization: Bearer key \r\ncontent-length: 120\r\n\r\n");
    kind = REPLIES;
    change_each_byte("HTTP/1.1 200 OK\r\ndate: Sun, 22 Nov 2026 06:58:01 GMT\r\nx-a:\r\nx-b: c\r\n"
                     "connection: keep-alive\r\ncontent-encoding: identity\r\n"
                     "content-length: 120\r\n\r\n");
    change_each_byte("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                     "x-request-id: req_011CVPzZy8x4\r\ntransfer-encoding: chunked\r\n\r\n");
    change_each_byte("HTTP/1.1 304 Not Modified\r\ncontent-type: text/event-stream\r\n"
                     "x-request-id: req_011CVPzZy8x4\r\ncontent-length: 12\r\n\r\n");
    kind = REQUESTS;
}

static void the_usual_next_reply_is_known(void **state)
{
    (void)state;
    static const char *const heads[] = {
        "HTTP/1.1 200 OK\r\ndate: Sun, 22 Nov 2026 06:58:01 GMT\r\nx-request-id: req_011CV\r\n"
        "content-length: 812\r\n\r\n{",
        "HTTP/1.1 200 OK\r\ndate: Mon, 23 Nov 2026 00:09:59 GMT\r\nx-request-id: req_9z3Qk\r\n"
        "content-length: 977\r\n\r\n{"};
    static struct http1_memory m;
    kind = REPLIES;
    for (int way = 0; next_way(&way);) {
        memset(&m, 0, sizeof m);
        alike_count = 0;
        for (unsigned i = 0; i < 6; i++)
            expect_as_parsed(&m, heads[i % 2], strlen(heads[i % 2]), SIZE_MAX);
        assert_int_equal(alike_count, 5);
    }
    kind = REQUESTS;
}

static void the_usual_next_head_is_known(void **state)
{
    (void)state;
    static const char *const heads[] = {
        "POST /v1/messages HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer sk-sy-a-b\r\n"
        "content-length: 120\r\n\r\n",
        "POST /v1/messages HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer sk-sy-c-d\r\n"
        "content-length: 998\r\n\r\n",
        "POST /v1/messages HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer sk-sy-c-d\r\n"
        "content-length: 1024\r\n\r\n"};
    static struct http1_memory m;
    for (int way = 0; next_way(&way);) {
        memset(&m, 0, sizeof m);
        alike_count = 0;
        expect_as_parsed(&m, heads[0], strlen(heads[0]), SIZE_MAX);
        assert_int_equal(alike_count, 0);
        expect_as_parsed(&m, heads[1], strlen(heads[1]), SIZE_MAX);
        assert_int_equal(alike_count, 1);
        expect_as_parsed(&m, heads[2], strlen(heads[2]), SIZE_MAX); /* A digit more: another. */
        assert_int_equal(alike_count, 1);
        for (unsigned i = 0; i < 6; i++)
            expect_as_parsed(&m, heads[i % 3], strlen(heads[i % 3]), SIZE_MAX);
        assert_int_equal(alike_count, 7);
    }
}

/* New ones go on being learned when all places are taken. */
static void what_comes_often_takes_the_place_of_what_does_not(void **state)
{
    (void)state;
    static struct http1_memory m;
    char text[256];
    int way = 0;
    assert_true(next_way(&way));
    for (unsigned client = 0; client < 3 * HTTP1_MEMORY_HEADS; client++) {
        int len = snprintf(text, sizeof text,
                           "POST /v1/messages HTTP/1.1\r\nhost: client-%u\r\n"
                           "content-type: application/json\r\ncontent-length: 120\r\n\r\n",
                           client);
        for (unsigned i = 0; i < 9; i++) {
            alike_count = 0;
            expect_as_parsed(&m, text, (size_t)len, SIZE_MAX);
        }
        assert_int_equal(alike_count, 1);
    }
}

static bool holds(const void *memory, size_t bytes, const char *text)
{
    return memmem(memory, bytes, text, strlen(text)) != NULL;
}

static void no_value_of_a_client_is_kept(void **state)
{
    (void)state;
    static struct http1_memory m;
    static const char head[] = "POST /v1/messages HTTP/1.1\r\nhost: bench\r\ncookie: biscuits\r\n"
                               "authorization: Bearer sk-sy-abcdef\r\nx-api-key: sk-sy-fedcba\r\n"
                               "content-length: 120\r\n\r\n";
    static const char asked[] = "GET /v1/models?key=sk-sy-query HTTP/1.1\r\nhost: bench\r\n"
                                "x-api-key: sk-sy-fedcba\r\n\r\n";
    int way = 0;
    assert_true(next_way(&way));
    expect_as_parsed(&m, head, sizeof head - 1, SIZE_MAX);
    expect_as_parsed(&m, asked, sizeof asked - 1, SIZE_MAX);
    alike_count = 0;
    expect_as_parsed(&m, head, sizeof head - 1, SIZE_MAX);
    assert_int_equal(alike_count, 1);
    assert_true(holds(&m, sizeof m, "authorization: "));
    assert_false(holds(&m, sizeof m, "Bearer"));
    assert_false(holds(&m, sizeof m, "sk-sy"));
    assert_false(holds(&m, sizeof m, "biscuits"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_by_chance_are_known_for_what_they_are),
        cmocka_unit_test(a_changed_byte_is_seen),
        cmocka_unit_test(the_usual_next_head_is_known),
        cmocka_unit_test(the_usual_next_reply_is_known),
        cmocka_unit_test(what_comes_often_takes_the_place_of_what_does_not),
        cmocka_unit_test(no_value_of_a_client_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
