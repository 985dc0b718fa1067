/* When a provider's limits come back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/upstream/resets.h"
#include "dataplane/upstream/retry.h"

#define NOW_US 1795320900000000LL /* 2026-11-22T04:15:00Z */

static void b41_a_reset_is_a_duration_a_number_or_a_time(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        int64_t want; /* -1: it is none. */
    } rows[] = {
        /* Durations, as Go prints them. */
        {"1s", 1000},
        {" 1s ", 1000},
        {"20ms", 20},
        {"0s", 0},
        {"6m0s", 300000},
        {"1m7s", 67000},
        {"2m59.56s", 179560},
        {"59.5604s", 59560},
        {"7.5ms", 8},
        {"0.5m", 30000},
        {"1h0m0s", 300000},
        {"3d", 300000},
        {"99999999999999s", 300000},
        {"9999999999999999s", -1},
        {"1s1s", -1},
        {"1s1m", -1},
        {"1ms1s", -1},
        {"1m 7s", -1},
        {"1", 1000},
        {"m", -1},
        {"1.s", -1},
        {".5s", -1},
        {"1x", -1},
        {"1sx", -1},
        {"-1s", -1},
        {"+1s", -1},
        {"1e3", -1},
        {"1m7", -1},
        {"1S", -1},
        {"500\xc2\xb5s", -1},
        /* Numbers. */
        {"0", 0},
        {"7.66", 7660},
        {"0.0001", 0},
        {"300.001", 300000},
        {"999999999", 300000},
        {"1795320907", 7000},
        {"1795320907.25", 7250},
        {"1795320907250", 7250},
        {"1795320000", 0},
        {"1795320899999", 0},
        {"999999999999999", 300000},
        {"99999999999999999999999999", -1},
        {"", -1},
        {" ", -1},
        {"soon", -1},
        {"0x10", -1},
        {"1.", -1},
        {"1.2.3", -1},
        /* Times. */
        {"2026-11-22T04:15:07Z", 7000},
        {"2026-11-22t04:15:07.25z", 7250},
        {"2026-11-22T04:15:07.2500000Z", 7250},
        {"2026-11-22T09:45:07+05:30", 7000},
        {"2026-11-21T23:15:07-05:00", 7000},
        {"2026-11-22T04:14:60Z", 0},
        {"2026-11-22T04:15:60Z", 60000},
        {"2026-11-22T04:14:59Z", 0},
        {"1970-01-01T00:00:00Z", 0},
        {"0000-01-01T00:00:00Z", 0},
        {"9999-12-31T23:59:59Z", 300000},
        {"2028-02-29T00:00:00Z", 300000},
        {"2027-02-29T00:00:00Z", -1},
        {"2026-11-31T00:00:00Z", -1},
        {"2026-13-01T00:00:00Z", -1},
        {"2026-00-01T00:00:00Z", -1},
        {"2026-11-00T00:00:00Z", -1},
        {"2026-11-00T00:00:60Z", -1},
        {"2026-11-22T24:00:00Z", -1},
        {"2026-11-22T04:60:00Z", -1},
        {"2026-11-22T04:15:61Z", -1},
        {"2026-11-22T04:15:7Z", -1},
        {"2026-11-22T04:15:007Z", -1},
        {"2026-11-22T04:15:07.Z", -1},
        {"2026-11-22T04:15:07", -1},
        {"2026-11-22T04:15:07ZZ", -1},
        {"2026-11-22T04:15:07+0530", -1},
        {"2026-11-22T04:15:07+24:00", -1},
        {"2026-11-22T04:15:07+05:60", -1},
        {"2026-11-22T04:15:07 Z", -1},
        {"2026-11-22 04:15:07Z", -1},
        {"2026/11/22T04:15:07Z", -1},
        {"+026-11-22T04:15:07Z", -1},
        {"2026-11-22T04:15:07.0000000000000000000000Z", -1}, /* Longer than any. */
        {"Sun, 22 Nov 2026 04:15:07 GMT", -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint32_t ms = 77;
        const bool known = resets_parse(str_from(rows[i].value), NOW_US, &ms);
        if (known != (rows[i].want >= 0) || (known && ms != rows[i].want))
            print_message("%s: %d %u\n", rows[i].value, known, ms);
        assert_int_equal(known, rows[i].want >= 0);
        if (known)
            assert_int_equal(ms, rows[i].want);
    }
    uint32_t ms;
    assert_false(resets_parse(STR_NULL, NOW_US, &ms));
}

/* Cut anywhere, with any byte anywhere: it is none, or a wait within the bounds. Each value stands
 * in memory of just its length, so that a sanitizer sees what is read behind it. */
static void b41_whatever_stands_there_a_wait_is_bounded(void **state)
{
    (void)state;
    static const char *const values[] = {"1h6m0.25s20ms", "1795320907.25",
                                         "2026-11-22T04:15:07.25Z", "2026-11-21T23:15:07-05:00",
                                         "7.66"};
    for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
        const size_t len = strlen(values[v]);
        for (size_t from = 0; from < len; from++)
            for (size_t to = from; to <= len; to++) {
                uint32_t ms = 0;
                char *just = test_malloc(to - from + 1); /* Never empty. */
                memcpy(just, values[v] + from, to - from);
                if (resets_parse((struct str){just, to - from}, NOW_US, &ms))
                    assert_in_range(ms, 0, RETRY_WAIT_MAX_MS);
                test_free(just);
            }
        for (size_t at = 0; at < len; at++)
            for (unsigned byte = 0; byte < 256; byte++) {
                char text[64];
                uint32_t ms = 0;
                memcpy(text, values[v], len);
                text[at] = (char)byte;
                if (resets_parse((struct str){text, len}, NOW_US, &ms))
                    assert_in_range(ms, 0, RETRY_WAIT_MAX_MS);
            }
    }
}

struct field {
    const char *name, *value;
};

static uint32_t wait_of(const struct field *fields, size_t count)
{
    struct resets s = {.count = 0};
    for (size_t i = 0; i < count; i++)
        resets_add(&s, str_from(fields[i].name), str_from(fields[i].value), NOW_US);
    return resets_wait_ms(&s);
}

static void b41_the_longest_wait_of_a_spent_limit_counts(void **state)
{
    (void)state;
#define A "anthropic-ratelimit-"
    static const struct {
        struct field fields[8];
        uint32_t want;
    } rows[] = {
        {{{"content-type", "text/plain"}}, 0},
        {{{"x-ratelimit-remaining-requests", "0"}, {"x-ratelimit-reset-requests", "7s"}}, 7000},
        {{{"X-RateLimit-Reset-Requests", "7s"}, {"x-ratelimit-REMAINING-requests", " 00 "}}, 7000},
        {{{"x-ratelimit-remaining-requests", "0"},
          {"x-ratelimit-reset-requests", "7s"},
          {"x-ratelimit-remaining-tokens", "0"},
          {"x-ratelimit-reset-tokens", "1m0s"},
          {"x-ratelimit-limit-tokens", "0"}},
         60000},
        /* Of what is left, nobody waits for more. */
        {{{"x-ratelimit-remaining-requests", "0"},
          {"x-ratelimit-reset-requests", "7s"},
          {"x-ratelimit-remaining-tokens", "1"},
          {"x-ratelimit-reset-tokens", "1m0s"}},
         7000},
        {{{"x-ratelimit-remaining-tokens", "0"}, {"x-ratelimit-reset-requests", "7s"}}, 0},
        {{{"x-ratelimit-remaining-tokens", "0"}}, 0},
        {{{"x-ratelimit-reset-tokens", "7s"}}, 0},
        {{{"x-ratelimit-remaining-tokens", "-0"}, {"x-ratelimit-reset-tokens", "7s"}}, 0},
        {{{"x-ratelimit-remaining-tokens", "0.0"}, {"x-ratelimit-reset-tokens", "7s"}}, 0},
        {{{"x-ratelimit-remaining-tokens", ""}, {"x-ratelimit-reset-tokens", "7s"}}, 0},
        {{{"x-ratelimit-remaining-tokens", "0"}, {"x-ratelimit-reset-tokens", "soon"}}, 0},
        /* OpenRouter has one limit, and says the time in milliseconds. */
        {{{"X-RateLimit-Remaining", "0"}, {"X-RateLimit-Reset", "1795320912000"}}, 12000},
        {{{"x-ratelimit-remainings", "0"}, {"x-ratelimit-resets", "7s"}}, 0},
        {{{"ratelimit-remaining", "0"}, {"ratelimit-reset", "7"}}, 0},
        {{{A "requests-remaining", "49"},
          {A "requests-reset", "2026-11-22T04:16:00Z"},
          {A "input-tokens-remaining", "0"},
          {A "input-tokens-reset", "2026-11-22T04:15:31Z"},
          {A "tokens-remaining", "0"},
          {A "tokens-reset", "2026-11-22T04:15:30Z"}},
         31000},
        {{{A "unified-5h-reset", "1795330000"}, {A "unified-status", "rejected"}}, 0},
        {{{A "reset", "7"}, {A "remaining", "0"}, {A "", "0"}, {A "-reset", "7"}}, 0},
        /* The same name in two vendors' fields is two limits. */
        {{{A "tokens-remaining", "0"}, {"x-ratelimit-reset-tokens", "7s"}}, 0},
        /* Who says it twice says nothing. */
        {{{"x-ratelimit-remaining-tokens", "0"},
          {"x-ratelimit-reset-tokens", "7s"},
          {"x-ratelimit-reset-tokens", "7s"}},
         0},
        {{{"x-ratelimit-remaining-tokens", "5"},
          {"x-ratelimit-remaining-tokens", "0"},
          {"x-ratelimit-reset-tokens", "7s"}},
         0},
    };
#undef A
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t count = 0;
        while (count < 8 && rows[i].fields[count].name != NULL)
            count++;
        assert_int_equal(wait_of(rows[i].fields, count), rows[i].want);
    }
}

static void b41_limits_past_the_last_place_are_not_looked_at(void **state)
{
    (void)state;
    struct resets s = {.count = 0};
    static char names[40][40];
    for (unsigned i = 0; i < 20; i++) {
        snprintf(names[i], sizeof names[i], "x-ratelimit-remaining-%u", i);
        snprintf(names[20 + i], sizeof names[i], "x-ratelimit-reset-%u", i);
        resets_add(&s, str_from(names[i]), STR("0"), NOW_US);
    }
    for (unsigned i = 0; i < 20; i++) {
        char seconds[8];
        snprintf(seconds, sizeof seconds, "%us", 1 + i);
        resets_add(&s, str_from(names[20 + i]), str_from(seconds), NOW_US);
    }
    assert_int_equal(s.count, RESETS_MAX);
    assert_int_equal(resets_wait_ms(&s), RESETS_MAX * 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(b41_a_reset_is_a_duration_a_number_or_a_time),
        cmocka_unit_test(b41_whatever_stands_there_a_wait_is_bounded),
        cmocka_unit_test(b41_the_longest_wait_of_a_spent_limit_counts),
        cmocka_unit_test(b41_limits_past_the_last_place_are_not_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
