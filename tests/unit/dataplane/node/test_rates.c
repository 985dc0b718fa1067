/* Requests of a key with rates: what goes through, what a refusal says, what every answer says. */
#include "tests/unit/dataplane/node/rig.h"

#include <stdlib.h>
#include <string.h>

#include "dataplane/limits/limits.h"
#include "dataplane/request/throttle.h"

#define ASK                                                                                        \
    "{\"model\":\"auto\",\"max_tokens\":100,"                                                      \
    "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
#define OK_REPLY                                                                                   \
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 155\r\n\r\n"             \
    "{\"model\":\"up-small\",\"choices\":[{\"message\":{\"content\":\"hello\"},\"finish_reason\":" \
    "\"stop\"}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4,\"total_tokens\":13}}"
#define BAD_REPLY "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"

static void start(struct rig *r, uint64_t rpm, uint64_t tpm, uint64_t concurrency,
                  const char *reply)
{
    const struct rig_options o = {.abort_stops_billing = true,
                                  .key_rpm = rpm,
                                  .key_tpm = tpm,
                                  .key_concurrency = concurrency};
    rig_start(r, &o);
    for (size_t i = 0; i < RIG_PROVIDERS; i++)
        rig_script(r, i, (struct rig_script){.reply = reply});
}

/* The value behind "name: "; NULL: no such header. */
static const char *header(const struct rig_answer *a, const char *name)
{
    static char value[64];
    for (size_t i = 0; i + strlen(name) + 2 < a->head.len; i++) {
        const char *at = a->head.data + i;
        if (strncasecmp(at, name, strlen(name)) != 0 || at[strlen(name)] != ':')
            continue;
        at += strlen(name) + 2;
        size_t len = (size_t)((const char *)memchr(at, '\r', 64) - at);
        memcpy(value, at, len);
        value[len] = '\0';
        return value;
    }
    return NULL;
}

static long number(const struct rig_answer *a, const char *name)
{
    const char *v = header(a, name);
    assert_non_null(v);
    return strtol(v, NULL, 10);
}

static void a_key_without_rates_gets_no_rate_headers(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    start(&r, 0, 0, 0, OK_REPLY);
    rig_exchange(&r, ASK, &a);
    assert_int_equal(a.status, 200);
    assert_null(header(&a, "x-ratelimit-limit-requests"));
    assert_null(header(&a, "x-ratelimit-limit-tokens"));
    buf_deinit(&a.body);
    struct limits_stats stats;
    limits_get_stats(r.shared.limits, &stats);
    assert_int_equal(stats.accounts, 0);
    rig_stop(&r);
}

static void requests_above_the_rate_are_refused_with_an_honest_wait(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    start(&r, 2, 0, 0, OK_REPLY);
    for (long i = 1; i <= 2; i++) {
        rig_exchange(&r, ASK, &a);
        assert_int_equal(a.status, 200);
        assert_int_equal(number(&a, "x-ratelimit-limit-requests"), 2);
        assert_int_equal(number(&a, "x-ratelimit-remaining-requests"), 2 - i);
        assert_non_null(header(&a, "x-ratelimit-reset-requests"));
        assert_null(header(&a, "x-ratelimit-limit-tokens"));
        buf_deinit(&a.body);
    }
    size_t before = r.providers[0].requests + r.providers[1].requests;
    rig_exchange(&r, ASK, &a);
    assert_int_equal(a.status, 429);
    assert_non_null(strstr(a.body.data, "\"type\":\"requests\""));
    assert_non_null(strstr(a.body.data, "\"code\":\"rate_limit_exceeded\""));
    assert_true(rig_has_header(&a, "x-should-retry: true"));
    assert_int_equal(number(&a, "x-ratelimit-remaining-requests"), 0);
    long ms = number(&a, "retry-after-ms");
    assert_in_range(ms, 1, 30000); /* One comes in every half minute. */
    assert_int_equal(number(&a, "retry-after"), (ms + 999) / 1000);
    buf_deinit(&a.body);
    assert_int_equal(r.providers[0].requests + r.providers[1].requests, before);
    rig_stop(&r);
}

static void tokens_are_debited_ahead_and_corrected_by_what_was_used(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    start(&r, 0, 120, 0, OK_REPLY);
    rig_exchange(&r, ASK, &a); /* Above 100 of 120 ahead; 13 were used. */
    assert_int_equal(a.status, 200);
    assert_int_equal(number(&a, "x-ratelimit-limit-tokens"), 120);
    assert_in_range(number(&a, "x-ratelimit-remaining-tokens"), 106, 107);
    buf_deinit(&a.body);
    assert_null(header(&a, "x-ratelimit-limit-requests"));
    rig_exchange(&r, ASK, &a);
    if (a.status == 200) { /* A slow machine: some came back in the meantime. */
        buf_deinit(&a.body);
        rig_stop(&r);
        return;
    }
    assert_int_equal(a.status, 429);
    assert_non_null(strstr(a.body.data, "\"type\":\"tokens\""));
    assert_non_null(strstr(a.body.data, "\"code\":\"rate_limit_exceeded\""));
    buf_deinit(&a.body);
    rig_stop(&r);
}

static void concurrency_is_given_back_however_a_request_ends(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    struct rig_client first, second;
    start(&r, 0, 0, 1, BAD_REPLY);
    for (int i = 0; i < 3; i++) { /* The provider refuses. */
        rig_exchange(&r, ASK, &a);
        assert_int_equal(a.status, 400);
        buf_deinit(&a.body);
        rig_exchange(
            &r, "{\"model\":\"nobody\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", &a);
        assert_int_equal(a.status, 404);
        buf_deinit(&a.body);
        rig_exchange(&r, "{", &a); /* Never admitted. */
        assert_int_equal(a.status, 400);
        buf_deinit(&a.body);
    }
    rig_stop(&r);

    start(&r, 0, 0, 1, NULL); /* The provider is silent; the client leaves. */
    rig_connect(&r, &first);
    rig_ask(&first, ASK);
    rig_until(&r, r.providers[0].requests + r.providers[1].requests > 0);
    rig_connect(&r, &second);
    rig_ask(&second, ASK);
    rig_until(&r, rig_answered(&second));
    rig_answer_read(&second, &a);
    assert_int_equal(a.status, 429);
    assert_true(number(&a, "retry-after-ms") > 0);
    buf_deinit(&a.body);
    rig_disconnect(&r, &first);
    rig_until(&r, r.env.active_count == 0);
    struct limits_hold hold = {.count = 0};
    const struct limits_values v = {.concurrency = 1};
    struct limits_view view;
    assert_int_equal(limits_find(r.shared.limits, 77, &v, 1, 1, &hold), 0);
    limits_look(&hold, LIMITS_CONCURRENCY, 1, &view);
    assert_int_equal(view.remaining, 1);
    rig_disconnect(&r, &second);
    rig_stop(&r);
}

static void a_changed_rate_holds_with_the_next_snapshot(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    start(&r, 1, 0, 0, OK_REPLY);
    rig_exchange(&r, ASK, &a);
    assert_int_equal(a.status, 200);
    buf_deinit(&a.body);
    rig_exchange(&r, ASK, &a);
    assert_int_equal(a.status, 429);
    buf_deinit(&a.body);
    const struct rig_options none = {.generation = 2};
    rig_publish(&r, &none);
    rig_exchange(&r, ASK, &a);
    assert_int_equal(a.status, 200);
    assert_null(header(&a, "x-ratelimit-limit-requests"));
    buf_deinit(&a.body);
    rig_stop(&r);
}

static void durations_are_written_as_clients_read_them(void **state)
{
    (void)state;
    static const struct {
        uint64_t ns;
        const char *text;
    } rows[] = {{0, "0s"},
                {1, "1ms"},
                {250000000, "250ms"},
                {1000000000, "1s"},
                {1500000000, "1.5s"},
                {1005000000, "1.005s"},
                {59999999999, "1m0s"},
                {360000000000, "6m0s"},
                {61020000000, "1m1.02s"},
                {7260000000000, "121m0s"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[64] = {0};
        *throttle_put_duration(rows[i].ns, text) = '\0';
        assert_string_equal(text, rows[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_without_rates_gets_no_rate_headers),
        cmocka_unit_test(requests_above_the_rate_are_refused_with_an_honest_wait),
        cmocka_unit_test(tokens_are_debited_ahead_and_corrected_by_what_was_used),
        cmocka_unit_test(concurrency_is_given_back_however_a_request_ends),
        cmocka_unit_test(a_changed_rate_holds_with_the_next_snapshot),
        cmocka_unit_test(durations_are_written_as_clients_read_them),
    };
    return rig_run_for_each_transport(tests, sizeof tests / sizeof tests[0]);
}
