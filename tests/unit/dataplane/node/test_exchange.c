#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "tests/unit/dataplane/node/replies.h"
#include "tests/unit/dataplane/node/rig.h"

static void a_whole_answer_passes_with_the_model_that_served(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    rig_start(&r, NULL);
    rig_script(&r, 0, (struct rig_script){.reply = replies_whole()});
    rig_exchange(&r, ASK, &a);
    assert_int_equal(a.status, 200);
    assert_true(a.complete);
    assert_true(str_search(buf_str(&a.body), STR("\"model\":\"small\"")) >= 0);
    assert_true(rig_has_header(&a, "x-steelyard-served: one/small\r\n"));
    assert_true(
        rig_has_header(&a, "x-steelyard-cost-usd: 0.00002\r\n")); /* 10 x 1 + 5 x 2 micro. */
    assert_true(rig_has_header(&a, "x-steelyard-attempts: 1\r\n"));
    assert_true(rig_has_header(&a, "x-steelyard-cache: off\r\n"));
    assert_true(rig_has_header(&a, "x-steelyard-policy: static\r\n"));
    assert_int_equal(rig_records(&r), 1);
    struct str sent = buf_str(&r.providers[0].last);
    assert_true(str_starts(sent, STR("POST /v1/chat/completions HTTP/1.1\r\n")));
    assert_true(str_search(sent, STR("Bearer upstream-secret")) >= 0);
    assert_true(str_search(sent, STR(RIG_KEY)) < 0);
    assert_true(str_search(sent, STR("\"model\":\"up-small\"")) >= 0);
    buf_deinit(&a.body);
    rig_stop(&r);
}

/* Before the commit point each of these goes to the next deployment, and the client sees nothing.
 */
static void b32_b33_b34_b37_what_fails_before_content_goes_to_the_next_deployment(void **state)
{
    (void)state;
    static const struct {
        const char *name, *reply;
        enum rig_then then;
    } rows[] = {
        {"closed at once", NULL, RIG_CLOSE},
        {"reset at once", NULL, RIG_RESET},
        {"closed in head", "HTTP/1.1 200 OK\r\nContent-Ty", RIG_CLOSE},
        {"garbage", "\x01\x02garbage\r\n\r\n", RIG_CLOSE},
        {"500", "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", RIG_KEEP},
        {"502 html",
         "HTTP/1.1 502 No\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>", RIG_KEEP},
        {"503", "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", RIG_KEEP},
        {"429", "HTTP/1.1 429 No\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n", RIG_KEEP},
        {"401", "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", RIG_KEEP},
        {"302", "HTTP/1.1 302 Go\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
         RIG_KEEP},
        {"no stream", JSON_HEAD "Content-Length: 2\r\n\r\n{}", RIG_KEEP},
        {"cut after role", SSE_HEAD "c9\r\n" EV_ROLE, RIG_CLOSE},
        {"error event", SSE_HEAD "1e\r\ndata: {\"error\":{\"code\":\"x\"}}\n\n\r\n0\r\n\r\n",
         RIG_KEEP},
        {"bad json", SSE_HEAD "8\r\ndata: {\n\r\n1\r\n\n\r\n0\r\n\r\n", RIG_KEEP},
        {"end without content", SSE_HEAD "0\r\n\r\n", RIG_KEEP},
        {"only the end mark", SSE_HEAD "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n", RIG_KEEP},
        {"length and coding",
         "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: "
         "5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         RIG_CLOSE},
        {"compressed",
         "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: "
         "gzip\r\nContent-Length: 3\r\n\r\nabc",
         RIG_KEEP},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig r;
        struct rig_answer a;
        rig_start(&r, NULL);
        rig_script(&r, 0, (struct rig_script){.reply = rows[i].reply, .then = rows[i].then});
        rig_script(&r, 1,
                   (struct rig_script){.reply = replies_stream(EV_ROLE EV_TEXT EV_STOP EV_DONE)});
        rig_exchange(&r, ASK_STREAM, &a);
        if (a.status != 200 || r.providers[1].requests != 1)
            print_message("%s: status %u\n", rows[i].name, a.status);
        assert_int_equal(a.status, 200);
        assert_true(a.complete);
        assert_int_equal(r.providers[1].requests, 1);
        assert_true(str_search(buf_str(&a.body), STR("hello")) >= 0);
        assert_true(str_search(buf_str(&a.body), STR("\"model\":\"large\"")) >= 0);
        assert_true(str_ends(buf_str(&a.body), STR(EV_DONE)));
        assert_true(rig_has_header(&a, "x-steelyard-attempts: 2\r\n"));
        assert_true(rig_has_header(&a, "x-steelyard-served: two/large\r\n"));
        assert_int_equal(rig_records(&r), 1);
        buf_deinit(&a.body);
        rig_stop(&r);
    }
}

static void f12_a_provider_without_content_is_left_for_the_next(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    const struct rig_options options = {.abort_stops_billing = true, .first_content_ms = 60};
    rig_start(&r, &options);
    rig_script(&r, 0, (struct rig_script){.reply = SSE_HEAD "c9\r\n" EV_ROLE, .then = RIG_HOLD});
    rig_script(&r, 1,
               (struct rig_script){.reply = replies_stream(EV_ROLE EV_TEXT EV_STOP EV_DONE)});
    rig_exchange(&r, ASK_STREAM, &a);
    assert_int_equal(a.status, 200);
    assert_true(rig_has_header(&a, "x-steelyard-served: two/large\r\n"));
    buf_deinit(&a.body);
    rig_stop(&r);
}

static void a_request_past_its_deadline_is_504(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    const struct rig_options options = {.abort_stops_billing = true, .route_timeout_ms = 80};
    rig_start(&r, &options);
    rig_script(&r, 0, (struct rig_script){.then = RIG_HOLD});
    rig_exchange(&r, ASK, &a);
    assert_int_equal(a.status, 504);
    assert_true(str_search(buf_str(&a.body), STR("\"code\":\"timeout\"")) >= 0);
    buf_deinit(&a.body);
    rig_stop(&r);
}

static void b35_refused_credentials_are_502_and_cool_the_deployment(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    rig_start(&r, NULL);
    rig_script(&r, 0,
               (struct rig_script){
                   .reply = "HTTP/1.1 401 No\r\nContent-Type: application/json\r\nContent-Length: "
                            "14\r\n\r\n{\"secret\":\"s\"}"});
    const char *pinned =
        "{\"model\":\"small\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
    rig_exchange(&r, pinned, &a);
    assert_int_equal(a.status, 502);
    assert_true(str_search(buf_str(&a.body), STR("upstream_auth")) >= 0);
    assert_true(str_search(buf_str(&a.body), STR("secret")) < 0);
    buf_deinit(&a.body);
    rig_exchange(&r, pinned, &a); /* Cooled: nobody is asked. */
    assert_int_equal(a.status, 503);
    assert_int_equal(r.providers[0].requests, 1);
    assert_true(rig_has_header(&a, "x-should-retry: true\r\n"));
    assert_true(rig_has_header(&a, "retry-after: 60\r\n"));
    buf_deinit(&a.body);
    rig_stop(&r);
}

static void f13_rate_limits_are_told_with_their_wait(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    rig_start(&r, NULL);
    for (size_t i = 0; i < 2; i++)
        rig_script(&r, i,
                   (struct rig_script){
                       .reply = "HTTP/1.1 429 No\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"});
    rig_exchange(&r, ASK, &a);
    assert_int_equal(a.status, 429);
    assert_true(rig_has_header(&a, "x-should-retry: true\r\n"));
    assert_true(rig_has_header(&a, "retry-after: 7\r\n"));
    assert_true(str_search(buf_str(&a.body), STR("rate_limit_exceeded")) >= 0);
    buf_deinit(&a.body);
    rig_exchange(&r, ASK, &a);
    assert_int_equal(a.status, 429);
    assert_int_equal(r.providers[0].requests + r.providers[1].requests, 2);
    assert_int_equal(rig_records(&r), 2);
    buf_deinit(&a.body);
    rig_stop(&r);
}

static void a_providers_own_4xx_passes_unmodified(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    rig_start(&r, NULL);
    static const char body[] =
        "{ \"error\": {\"message\":\"too long\",\"code\":\"context_length_exceeded\"} }";
    static char reply[512];
    snprintf(reply, sizeof reply,
             "HTTP/1.1 400 No\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
             sizeof body - 1, body);
    rig_script(&r, 0, (struct rig_script){.reply = reply});
    rig_exchange(&r, ASK, &a);
    assert_int_equal(a.status, 400);
    assert_string_equal(a.body.data, body);
    assert_true(rig_has_header(&a, "x-should-retry: false\r\n"));
    assert_int_equal(r.providers[1].requests, 0);
    buf_deinit(&a.body);
    rig_stop(&r);
}

static void html_of_a_provider_is_never_echoed(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    rig_start(&r, NULL);
    rig_script(
        &r, 0,
        (struct rig_script){
            .reply =
                "HTTP/1.1 400 No\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"});
    rig_exchange(&r, ASK, &a);
    assert_int_equal(a.status, 400);
    assert_true(str_search(buf_str(&a.body), STR("upstream_refused")) >= 0);
    assert_true(str_search(buf_str(&a.body), STR("html")) < 0);
    buf_deinit(&a.body);
    rig_stop(&r);
}

static void b9_pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    struct rig_answer a;
    rig_start(&r, NULL);
    rig_script(&r, 0, (struct rig_script){.reply = replies_whole()});
    rig_connect(&r, &c);
    rig_ask(&c, ASK);
    static const char models[] =
        "GET /v1/models HTTP/1.1\r\nHost: x\r\nx-api-key: " RIG_KEY "\r\n\r\n";
    rig_send(&c, models, sizeof models - 1);
    rig_until(&r, rig_answered(&c));
    rig_answer_read(&c, &a);
    assert_true(str_search(buf_str(&a.body), STR("hello")) >= 0);
    buf_deinit(&a.body);
    buf_consume(&c.in, a.bytes);
    rig_until(&r, rig_answered(&c));
    rig_answer_read(&c, &a);
    assert_true(str_search(buf_str(&a.body), STR("\"object\":\"list\"")) >= 0);
    buf_deinit(&a.body);
    rig_disconnect(&r, &c);
    rig_stop(&r);
}

static void f20_a_kept_connection_that_died_is_no_failure_of_the_provider(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    rig_start(&r, NULL);
    rig_script(&r, 0, (struct rig_script){.reply = replies_whole()});
    struct rig_client c;
    rig_connect(&r, &c);
    for (int i = 0; i < 2; i++) {
        rig_ask(&c, ASK);
        if (i == 1)
            rig_cut(&r, 0); /* It was idle too long: that shows when the request is out. */
        rig_until(&r, rig_answered(&c));
        rig_answer_read(&c, &a);
        assert_int_equal(a.status, 200);
        assert_true(rig_has_header(&a, "x-steelyard-served: one/small\r\n"));
        assert_true(rig_has_header(&a, "x-steelyard-attempts: 1\r\n"));
        buf_clear(&c.in);
        buf_deinit(&a.body);
    }
    assert_int_equal(r.providers[0].requests, 2);
    rig_disconnect(&r, &c);
    rig_stop(&r);
}

static void f20_a_kept_connection_that_took_the_request_is_a_failed_attempt(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    rig_start(&r, NULL);
    rig_script(&r, 0, (struct rig_script){.reply = replies_whole()});
    rig_script(&r, 0, (struct rig_script){.then = RIG_CLOSE});
    rig_script(&r, 1, (struct rig_script){.reply = replies_whole()});
    for (int i = 0; i < 2; i++) {
        rig_exchange(&r, ASK, &a);
        assert_int_equal(a.status, 200);
        assert_true(rig_has_header(&a, i == 0 ? "x-steelyard-attempts: 1\r\n"
                                              : "x-steelyard-attempts: 2\r\n"));
        buf_deinit(&a.body);
    }
    assert_int_equal(r.providers[0].requests, 2);
    assert_int_equal(r.providers[1].requests, 1);
    rig_stop(&r);
}

static _Atomic uint64_t later_ns; /* The spool's threads read the clock, too. */

static uint64_t later_mono_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec + atomic_load(&later_ns);
}

static int64_t later_wall_us(void)
{
    return (int64_t)time(NULL) * 1000000;
}

/* The provider may have worked on it: that is an attempt that failed, and the next has its own row.
 */
static void f20_a_kept_connection_that_died_late_is_a_failed_attempt(void **state)
{
    (void)state;
    static const struct clock_source later = {later_mono_ns, later_wall_us};
    struct rig r;
    struct rig_client c;
    struct rig_answer a;
    atomic_store(&later_ns, 0);
    clock_set_source(&later);
    rig_start(&r, NULL);
    rig_script(&r, 0, (struct rig_script){.reply = replies_whole()});
    rig_script(&r, 0, (struct rig_script){.then = RIG_HOLD});
    rig_script(&r, 1, (struct rig_script){.reply = replies_whole()});
    rig_exchange(&r, ASK, &a);
    buf_deinit(&a.body);
    rig_connect(&r, &c);
    rig_ask(&c, ASK);
    rig_until(&r, r.providers[0].requests == 2);
    atomic_store(&later_ns, 1500000000);
    rig_cut(&r, 0);
    rig_until(&r, rig_answered(&c));
    rig_answer_read(&c, &a);
    assert_int_equal(a.status, 200);
    assert_true(rig_has_header(&a, "x-steelyard-served: two/large\r\n"));
    assert_true(rig_has_header(&a, "x-steelyard-attempts: 2\r\n"));
    buf_deinit(&a.body);
    rig_disconnect(&r, &c);
    rig_stop(&r);
    clock_set_source(NULL);
}

#define SAY(model) "{\"model\":\"" model "\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"

/* What heads have in common is kept (answer.c): by the same deployment for another reason, at
 * another one, and in another snapshot it is not the same. */
static void a_head_says_its_own_choice_whatever_those_before_said(void **state)
{
    (void)state;
    static const struct {
        const char *ask, *policy, *served;
    } rows[] = {
        {ASK, "x-steelyard-policy: static\r\n", "x-steelyard-served: one/small\r\n"},
        {SAY("small"), "x-steelyard-policy: pinned\r\n", "x-steelyard-served: one/small\r\n"},
        {SAY("large"), "x-steelyard-policy: pinned\r\n", "x-steelyard-served: two/large\r\n"},
    };
    struct rig r;
    struct rig_answer a;
    const struct rig_options later = {.generation = 2};
    rig_start(&r, NULL);
    rig_script(&r, 0, (struct rig_script){.reply = replies_whole()});
    rig_script(&r, 1, (struct rig_script){.reply = replies_whole()});
    for (size_t i = 0; i < 24; i++) {
        const size_t row = (i * i + i / 3) % 3;
        if (i == 12)
            rig_publish(&r, &later);
        rig_exchange(&r, rows[row].ask, &a);
        assert_int_equal(a.status, 200);
        assert_true(rig_has_header(&a, rows[row].policy));
        assert_true(rig_has_header(&a, rows[row].served));
        assert_true(rig_has_header(&a, "x-steelyard-cache: off\r\n"));
        assert_true(rig_has_header(&a, "x-steelyard-attempts: 1\r\n"));
        buf_deinit(&a.body);
    }
    rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_answer_passes_with_the_model_that_served),
        cmocka_unit_test(a_head_says_its_own_choice_whatever_those_before_said),
        cmocka_unit_test(b32_b33_b34_b37_what_fails_before_content_goes_to_the_next_deployment),
        cmocka_unit_test(f12_a_provider_without_content_is_left_for_the_next),
        cmocka_unit_test(a_request_past_its_deadline_is_504),
        cmocka_unit_test(b35_refused_credentials_are_502_and_cool_the_deployment),
        cmocka_unit_test(f13_rate_limits_are_told_with_their_wait),
        cmocka_unit_test(a_providers_own_4xx_passes_unmodified),
        cmocka_unit_test(html_of_a_provider_is_never_echoed),
        cmocka_unit_test(b9_pipelined_requests_are_answered_in_order),
        cmocka_unit_test(f20_a_kept_connection_that_died_is_no_failure_of_the_provider),
        cmocka_unit_test(f20_a_kept_connection_that_took_the_request_is_a_failed_attempt),
        cmocka_unit_test(f20_a_kept_connection_that_died_late_is_a_failed_attempt),
    };
    int failed = rig_run_for_each_transport(tests, sizeof tests / sizeof tests[0]);
    replies_free();
    return failed;
}
