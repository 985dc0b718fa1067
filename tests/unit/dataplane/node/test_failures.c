/* What a request makes of an upstream that fails, through each transport: the rows of RELIABILITY
 * that stand above the wire. */
#include <string.h>

#include "control.pb-c.h"
#include "tests/unit/dataplane/node/rig.h"

#define ASK       "{\"model\":\"auto\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
#define ASK_SMALL "{\"model\":\"small\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
#define ASK_STREAM                                                                                 \
    "{\"model\":\"auto\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
#define EVENT(delta, finish)                                                                       \
    "data: "                                                                                       \
    "{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"small\","        \
    "\"choices\":[{"                                                                               \
    "\"index\":0,\"delta\":" delta ",\"finish_reason\":" finish "}]}"
#define ROLE EVENT("{\"role\":\"assistant\",\"content\":\"\"}", "null")
#define TEXT EVENT("{\"content\":\"hello\"}", "null")
#define STOP EVENT("{}", "\"stop\"")
#define DONE "data: [DONE]"
#define NL2  "\n\n"

#define SSE_HEAD  "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
#define JSON_HEAD "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
#define ANSWER(usage)                                                                              \
    "{\"id\":\"c\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"up-small\","           \
    "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"hello\"},"        \
    "\"finish_reason\":\"stop\"}]" usage "}"
#define USAGE ",\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":15}"

static struct buf made[4];
static size_t made_count;

/* head, a content-length, body, and what comes behind it. Good until four more were made. */
static const char *reply_and(const char *head, const char *body, const char *behind)
{
    struct buf *b = &made[made_count++ % 4];
    buf_deinit(b);
    buf_init(b, 64U << 20);
    assert_int_equal(buf_printf(b, "%sContent-Length: %zu\r\n\r\n", head, strlen(body)), 0);
    assert_int_equal(buf_append_text(b, body), 0);
    assert_int_equal(buf_append_text(b, behind), 0);
    return buf_cstr(b);
}

static const char *reply(const char *head, const char *body)
{
    return reply_and(head, body, "");
}

static const char *sound(void)
{
    return reply(SSE_HEAD, ROLE NL2 TEXT NL2 STOP NL2 DONE NL2);
}

static bool holds(const struct rig_answer *a, const char *text)
{
    return str_search(buf_str(&a->body), str_from(text)) >= 0;
}

/* Seconds of retry-after; -1: not there. */
static int64_t wait_of(const struct rig_answer *a)
{
    static const char name[] = "\nretry-after: ";
    ptrdiff_t at = str_search(a->head, str_from(name));
    struct str value, rest;
    uint64_t seconds;
    if (at < 0)
        return -1;
    rest = str_slice(a->head, (size_t)at + sizeof name - 1, a->head.len);
    assert_true(str_cut(rest, '\r', &value, &rest));
    assert_int_equal(str_parse_u64(value, INT32_MAX, &seconds), 0);
    return (int64_t)seconds;
}

static void b33_a_whole_answer_of_the_wrong_length(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    rig_start(&r, NULL);
    rig_script(&r, 0,
               (struct rig_script){.reply = JSON_HEAD "Content-Length: 9999\r\n\r\n" ANSWER(USAGE),
                                   .then = RIG_CLOSE});
    rig_script(&r, 1, (struct rig_script){.reply = reply(JSON_HEAD, ANSWER(USAGE))});
    rig_exchange(&r, ASK, &a); /* Short: the next deployment. */
    assert_int_equal(a.status, 200);
    assert_true(rig_has_header(&a, "x-steelyard-served: two/large\r\n"));
    buf_deinit(&a.body);
    rig_stop(&r);
    rig_start(&r, NULL);
    rig_script(&r, 0, (struct rig_script){.reply = reply_and(JSON_HEAD, ANSWER(USAGE), "EVIL")});
    for (size_t i = 1; i <= 2; i++) { /* Longer: what was promised, on a new connection each. */
        rig_exchange(&r, ASK, &a);
        assert_int_equal(a.status, 200);
        assert_false(holds(&a, "EVIL"));
        assert_int_equal(r.providers[0].connections, i);
        buf_deinit(&a.body);
    }
    rig_stop(&r);
}

static void b36_a_whole_answer_over_its_maximum_goes_to_the_next_deployment(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    struct buf large;
    rig_start(&r, NULL);
    buf_init(&large, 64U << 20);
    assert_int_equal(buf_reserve(&large, 17U << 20), 0);
    memset(large.data, ' ', 17U << 20);
    large.len = 17U << 20;
    rig_script(&r, 0, (struct rig_script){.reply = reply(JSON_HEAD, buf_cstr(&large))});
    rig_script(&r, 1, (struct rig_script){.reply = reply(JSON_HEAD, ANSWER(USAGE))});
    rig_exchange(&r, ASK, &a);
    assert_int_equal(a.status, 200);
    assert_true(rig_has_header(&a, "x-steelyard-served: two/large\r\n"));
    buf_deinit(&a.body);
    buf_deinit(&large);
    rig_stop(&r);
}

/* Every kind of line end becomes LF, as the standard reads them. */
static void normalise(struct buf *b)
{
    size_t n = 0;
    for (size_t i = 0; i < b->len; i++) {
        if (b->data[i] == '\r' && i + 1 < b->len && b->data[i + 1] == '\n')
            continue;
        b->data[n++] = b->data[i] == '\r' ? '\n' : b->data[i];
    }
    b->len = n;
    (void)buf_cstr(b);
}

static void b37_line_ends_of_every_kind_are_understood(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        ROLE "\r\n\r\n" TEXT "\r\n\r\n" STOP "\r\n\r\n" DONE "\r\n\r\n",
        ROLE "\r\r" TEXT "\r\r" STOP "\r\r" DONE "\r\r",
        ROLE "\r\n\r\n" TEXT "\n\n" STOP "\r\r" DONE "\n\n",
        "\xef\xbb\xbf" ROLE NL2 ": a comment\n\n" TEXT NL2 STOP NL2 DONE NL2,
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        for (size_t piece = 0; piece < 2; piece++) {
            struct rig r;
            struct rig_answer a;
            rig_start(&r, NULL);
            rig_script(&r, 0,
                       (struct rig_script){.reply = reply(SSE_HEAD, bodies[i]), .piece = piece});
            rig_exchange(&r, ASK_STREAM, &a);
            assert_int_equal(a.status, 200);
            assert_true(a.complete);
            normalise(&a.body);
            assert_true(holds(&a, ROLE NL2 TEXT NL2 STOP NL2) || holds(&a, ": a comment"));
            assert_true(holds(&a, "hello"));
            assert_true(str_ends(buf_str(&a.body), STR(DONE NL2)));
            buf_deinit(&a.body);
            rig_stop(&r);
        }
    }
}

static void b37_what_follows_the_end_mark_is_not_relayed(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    rig_start(&r, NULL);
    rig_script(
        &r, 0,
        (struct rig_script){.reply = reply(SSE_HEAD, ROLE NL2 TEXT NL2 STOP NL2 DONE NL2 EVENT(
                                                         "{\"content\":\"EVIL\"}", "null") NL2)});
    rig_exchange(&r, ASK_STREAM, &a);
    assert_int_equal(a.status, 200);
    assert_true(a.complete);
    assert_false(holds(&a, "EVIL"));
    assert_true(str_ends(buf_str(&a.body), STR(DONE NL2)));
    buf_deinit(&a.body);
    rig_stop(&r);
}

/* Before the first content the next deployment answers; after it the stream is marked as cut. */
static void b37_bad_events_fail_the_attempt_or_mark_the_stream(void **state)
{
    (void)state;
    static char huge[(1U << 20) + 64];
    memset(huge, 'x', sizeof huge - 1);
    memcpy(huge, "data: ", 6);
    const char *const bad[] = {huge, "data: {", "data: {\"error\":{\"message\":\"m\"}}"};
    for (size_t i = 0; i < 2 * sizeof bad / sizeof bad[0]; i++) {
        struct rig r;
        struct rig_answer a;
        struct buf body;
        bool committed = i % 2 == 1;
        rig_start(&r, NULL);
        buf_init(&body, 8U << 20);
        assert_int_equal(buf_append_text(&body, committed ? ROLE NL2 TEXT NL2 : ROLE NL2), 0);
        assert_int_equal(buf_append_text(&body, bad[i / 2]), 0);
        assert_int_equal(buf_append_text(&body, NL2 STOP NL2 DONE NL2), 0);
        rig_script(&r, 0, (struct rig_script){.reply = reply(SSE_HEAD, buf_cstr(&body))});
        rig_script(&r, 1, (struct rig_script){.reply = sound()});
        rig_exchange(&r, ASK_STREAM, &a);
        assert_int_equal(a.status, 200);
        assert_true(a.complete == !committed);
        assert_true(holds(&a, "\"error\"") == committed);
        assert_true(str_ends(buf_str(&a.body), STR(DONE NL2)) == !committed);
        assert_int_equal(r.providers[1].requests, committed ? 0 : 1);
        assert_int_equal(rig_records(&r), 1);
        buf_deinit(&body);
        buf_deinit(&a.body);
        rig_stop(&r);
    }
}

/* 10 tokens in and 5 out cost 20 micro-dollars: what cannot be true is not billed. */
static void b38_usage_that_is_missing_or_cannot_be_true_is_counted_here(void **state)
{
    (void)state;
    static const char *const answers[] = {
        ANSWER(""),
        ANSWER(",\"usage\":null"),
        ANSWER(",\"usage\":{\"prompt_tokens\":-10,\"completion_tokens\":-5}"),
        ANSWER(",\"usage\":{\"prompt_tokens\":900000000,\"completion_tokens\":900000000}"),
        ANSWER(",\"usage\":{\"prompt_tokens\":1e300,\"completion_tokens\":0.5}"),
        ANSWER(",\"usage\":{\"prompt_tokens\":\"10\",\"completion_tokens\":[]}"),
    };
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        struct rig r;
        struct rig_answer a;
        rig_start(&r, NULL);
        rig_script(&r, 0, (struct rig_script){.reply = reply(JSON_HEAD, answers[i])});
        rig_exchange(&r, ASK, &a);
        assert_int_equal(a.status, 200);
        assert_true(rig_has_header(&a, "x-steelyard-cost-usd: 0.0000"));
        assert_false(rig_has_header(&a, "x-steelyard-cost-usd: 0.00000\r\n"));
        assert_int_equal(rig_records(&r), 1);
        buf_deinit(&a.body);
        rig_stop(&r);
    }
}

static void b41_a_wait_is_clamped_whatever_the_provider_says(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        int64_t least, most;
    } rows[] = {
        {"7", 6, 7},
        {"99999999999999999999", 299, 300},
        {"-5", 0, 10},
        {"soon", 0, 10},
        {"", 0, 10},
        {"Wed, 21 Oct 2015 07:28:00 GMT", 0, 10},
        {"Fri, 31 Dec 9999 23:59:59 GMT", 299, 300},
        {"0x10", 0, 10},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig r;
        struct rig_answer a;
        static char head[256];
        snprintf(head, sizeof head, "HTTP/1.1 429 No\r\nRetry-After: %s\r\n", rows[i].value);
        rig_start(&r, NULL);
        rig_script(&r, 0, (struct rig_script){.reply = reply(head, "")});
        rig_exchange(&r, ASK_SMALL, &a);
        assert_int_equal(a.status, 429);
        buf_deinit(&a.body);
        rig_exchange(&r, ASK_SMALL, &a);
        if (r.providers[0].requests == 1) { /* Cooled: the wait is ours. */
            assert_true(a.status == 429 || a.status == 503);
            assert_in_range(wait_of(&a), rows[i].least, rows[i].most);
        } else {
            assert_int_equal(rows[i].least, 0);
        }
        buf_deinit(&a.body);
        rig_stop(&r);
    }
}

static void f12_a_head_that_does_not_come_leaves_for_the_next_deployment(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    const struct rig_options options = {.abort_stops_billing = true, .head_ms = 200};
    rig_start(&r, &options);
    rig_script(&r, 0, (struct rig_script){.reply = SSE_HEAD, .then = RIG_HOLD});
    rig_script(&r, 1, (struct rig_script){.reply = sound()});
    rig_exchange(&r, ASK_STREAM, &a);
    assert_int_equal(a.status, 200);
    assert_true(a.complete);
    assert_true(rig_has_header(&a, "x-steelyard-served: two/large\r\n"));
    assert_int_equal(r.providers[0].gone, 1);
    buf_deinit(&a.body);
    rig_stop(&r);
}

static void f12_silence_between_events_marks_the_stream(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    const struct rig_options options = {.abort_stops_billing = true, .idle_ms = 200};
    rig_start(&r, &options);
    rig_script(
        &r, 0,
        (struct rig_script){.reply = SSE_HEAD "Content-Length: 99999\r\n\r\n" ROLE NL2 TEXT NL2,
                            .then = RIG_HOLD});
    rig_exchange(&r, ASK_STREAM, &a);
    assert_int_equal(a.status, 200);
    assert_false(a.complete);
    assert_true(holds(&a, "hello") && holds(&a, "\"error\""));
    assert_int_equal(rig_records(&r), 1);
    buf_deinit(&a.body);
    rig_stop(&r);
}

static void f13_a_busy_deployment_is_left_alone_until_its_wait_is_over(void **state)
{
    (void)state;
    static const char *const busy[] = {"429", "503", "529"};
    for (size_t i = 0; i < 3; i++) {
        struct rig r;
        struct rig_answer a;
        static char head[128];
        snprintf(head, sizeof head, "HTTP/1.1 %s No\r\nRetry-After: 30\r\n", busy[i]);
        rig_start(&r, NULL);
        rig_script(&r, 0, (struct rig_script){.reply = reply(head, "")});
        rig_script(&r, 1, (struct rig_script){.reply = reply(JSON_HEAD, ANSWER(USAGE))});
        for (size_t n = 1; n <= 4; n++) {
            rig_exchange(&r, ASK, &a);
            assert_int_equal(a.status, 200);
            assert_true(rig_has_header(&a, "x-steelyard-served: two/large\r\n"));
            assert_int_equal(r.providers[0].requests, 1);
            assert_int_equal(r.providers[1].requests, n);
            buf_deinit(&a.body);
        }
        rig_stop(&r);
    }
}

static void f14_a_deployment_that_fails_again_and_again_is_ejected(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    rig_start(&r, NULL);
    rig_script(&r, 0, (struct rig_script){.reply = reply("HTTP/1.1 500 No\r\n", "")});
    rig_script(&r, 1, (struct rig_script){.reply = reply(JSON_HEAD, ANSWER(USAGE))});
    enum { ASKED = 40 };
    for (size_t n = 0; n < ASKED; n++) {
        rig_exchange(&r, ASK, &a);
        buf_deinit(&a.body);
    }
    size_t before = r.providers[0].requests;
    assert_true(before >= 2 && before <= 10);
    rig_exchange(&r, ASK, &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(r.providers[0].requests, before);
    assert_true(rig_has_header(&a, "x-steelyard-attempts: 1\r\n"));
    buf_deinit(&a.body);
    rig_stop(&r);
}

static void f15_when_all_are_down_the_shortest_wait_is_told_at_once(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    rig_start(&r, NULL);
    rig_script(&r, 0,
               (struct rig_script){.reply = reply("HTTP/1.1 503 No\r\nRetry-After: 90\r\n", "")});
    rig_script(&r, 1,
               (struct rig_script){.reply = reply("HTTP/1.1 503 No\r\nRetry-After: 40\r\n", "")});
    rig_exchange(&r, ASK, &a);
    assert_true(a.status == 502 || a.status == 503);
    buf_deinit(&a.body);
    size_t asked = r.providers[0].requests + r.providers[1].requests;
    rig_exchange(&r, ASK, &a);
    assert_int_equal(a.status, 503);
    assert_in_range(wait_of(&a), 39, 40);
    assert_true(rig_has_header(&a, "x-should-retry: true\r\n"));
    assert_int_equal(r.providers[0].requests + r.providers[1].requests, asked);
    assert_int_equal(rig_records(&r), 2);
    buf_deinit(&a.body);
    rig_stop(&r);
}

/* At most two retries a request; and of many requests at most a fifth, but three at least. */
static void without_retries(void *route)
{
    ((Steelyard__Control__V1__Route *)route)->no_retries = 1;
}

static void f16_a_route_may_have_no_retries(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    rig_start(&r, &(struct rig_options){.on_route = without_retries});
    rig_script(&r, 0, (struct rig_script){.reply = reply("HTTP/1.1 500 No\r\n", "")});
    rig_script(&r, 1, (struct rig_script){.reply = reply(JSON_HEAD, ANSWER(USAGE))});
    rig_exchange(&r, ASK, &a);
    assert_int_equal(a.status, 502);
    assert_int_equal(r.providers[0].requests, 1);
    assert_int_equal(r.providers[1].requests, 0);
    buf_deinit(&a.body);
    rig_stop(&r);
}

static void f16_retries_have_a_budget(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    rig_start(&r, NULL);
    for (size_t i = 0; i < 2; i++)
        rig_script(&r, i, (struct rig_script){.then = RIG_CLOSE});
    enum { ASKED = 30 };
    for (size_t n = 1; n <= ASKED; n++) {
        size_t before = r.providers[0].requests + r.providers[1].requests;
        rig_exchange(&r, ASK, &a);
        assert_true(a.status == 502 || a.status == 503);
        size_t tries = r.providers[0].requests + r.providers[1].requests - before;
        assert_true(tries <= 3);
        buf_deinit(&a.body);
    }
    assert_true(r.providers[0].requests + r.providers[1].requests <= ASKED + ASKED / 5 + 3);
    assert_int_equal(rig_records(&r), ASKED);
    rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(b33_a_whole_answer_of_the_wrong_length),
        cmocka_unit_test(b36_a_whole_answer_over_its_maximum_goes_to_the_next_deployment),
        cmocka_unit_test(b37_line_ends_of_every_kind_are_understood),
        cmocka_unit_test(b37_what_follows_the_end_mark_is_not_relayed),
        cmocka_unit_test(b37_bad_events_fail_the_attempt_or_mark_the_stream),
        cmocka_unit_test(b38_usage_that_is_missing_or_cannot_be_true_is_counted_here),
        cmocka_unit_test(b41_a_wait_is_clamped_whatever_the_provider_says),
        cmocka_unit_test(f12_a_head_that_does_not_come_leaves_for_the_next_deployment),
        cmocka_unit_test(f12_silence_between_events_marks_the_stream),
        cmocka_unit_test(f13_a_busy_deployment_is_left_alone_until_its_wait_is_over),
        cmocka_unit_test(f14_a_deployment_that_fails_again_and_again_is_ejected),
        cmocka_unit_test(f15_when_all_are_down_the_shortest_wait_is_told_at_once),
        cmocka_unit_test(f16_a_route_may_have_no_retries),
        cmocka_unit_test(f16_retries_have_a_budget),
    };
    return rig_run_for_each_transport(tests, sizeof tests / sizeof tests[0]);
}
