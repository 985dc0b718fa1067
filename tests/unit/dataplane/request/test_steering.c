/* Headers by which a caller steers are found in any case, among those of an SDK, and nothing else
 * is taken for one. */
#include "dataplane/request/steering.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "tests/lib/fault.h"

static const struct {
    const char *name;
    const char *value;
} rows[] = {
    {"x-steelyard-policy", "best@3"},
    {"x-steelyard-tags", "team=x"},
    {"x-steelyard-max-cost-usd", "0.5"},
    {"x-steelyard-quality", "0.5"},
    {"x-steelyard-session", "a"},
    {"x-steelyard-no-log", "true"},
    {"x-steelyard-usage", "1"},
    {"x-steelyard-preferences", "{}"},
    {"x-portkey-config", "{}"},
    {"x-portkey-metadata", "{}"},
    {"x-stainless-retry-count", "2"},
    {"x-claude-code-session-id", "b"},
    {"x-claude-code-request-class", "subagent"},
    {"x-claude-code-context-compacted", "true"},
    {"idempotency-key", "k"},
    {"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static const char sdk[] = "host: bench\r\naccept: application/json\r\nuser-agent: OpenAI/Python\r\n"
                          "x-stainless-lang: python\r\nx-stainless-os: Linux\r\n"
                          "x-stainless-package-version: 1.109.1\r\nx-stainless-arch: x64\r\n"
                          "x-stainless-runtime: CPython\r\nx-stainless-async: false\r\n"
                          "x-stainless-runtime-version: 3.11.2\r\n"
                          "x-stainless-read-timeout: 600\r\n";

/* What the row's header sets; false: nothing of it is there. */
static bool is_set(const struct steering *s, unsigned row)
{
    switch (row) {
    case 0:
        return str_is(s->policy, "best") && s->policy_version == 3;
    case 1:
        return s->tag_count == 1 && str_is(s->tags[0], "team=x");
    case 2:
        return s->max_cost_nanousd == 500000000;
    case 3:
        return s->quality_q16 == 32768;
    case 4:
        return str_is(s->session, "a");
    case 5:
        return s->no_log;
    case 6:
        return s->usage;
    case 7:
        return str_is(s->preferences, "{}");
    case 8:
        return str_is(s->portkey_config, "{}");
    case 9:
        return str_is(s->portkey_metadata, "{}");
    case 10:
        return s->client_retry;
    case 11:
        return str_is(s->session, "b");
    case 12:
        return s->tag_count == 1 && str_is(s->tags[0], "request_class=subagent");
    case 13:
        return s->compacted;
    case 14:
        return str_is(s->idempotency_key, "k");
    default:
        return s->traceparent.len == 55;
    }
}

static void read(const char *line_name, const char *value, struct steering *s, const char **bad)
{
    static struct http1_head head;
    static char text[1024];
    int n = snprintf(text, sizeof text, "POST /v1/messages HTTP/1.1\r\n%s%s: %s\r\n\r\n", sdk,
                     line_name, value);
    http1_request_init(&head);
    assert_int_equal(http1_head_parse(&head, text, (size_t)n), HTTP1_DONE);
    steering_read(&head, s, bad);
}

static void each_is_found_in_any_case_and_alone(void **state)
{
    (void)state;
    struct steering s;
    const char *bad;
    for (unsigned row = 0; row < ROWS; row++) {
        char name[64];
        for (unsigned way = 0; way < 3; way++) {
            for (size_t i = 0; i <= strlen(rows[row].name); i++)
                name[i] = (char)(way == 2 || (way == 1 && i % 2 == 0)
                                     ? toupper((unsigned char)rows[row].name[i])
                                     : rows[row].name[i]);
            read(name, rows[row].value, &s, &bad);
            assert_null(bad);
            for (unsigned other = 0; other < ROWS; other++)
                if (is_set(&s, other) != (other == row))
                    fail_msg("%s: row %u", name, other);
        }
    }
}

static void a_name_that_is_nearly_one_is_none(void **state)
{
    (void)state;
    struct steering s;
    const char *bad;
    for (unsigned row = 0; row < ROWS; row++) {
        const size_t len = strlen(rows[row].name);
        for (size_t i = 0; i <= len; i++) {
            char name[160] = {0};
            memcpy(name, rows[row].name, len);
            if (i < len) {
                name[i] = name[i] == '-' ? '_' : name[i] == 'q' ? 'r' : 'q';
            } else { /* As long, but for 64. */
                memset(name + len, 'x', 64);
            }
            read(name, rows[row].value, &s, &bad);
            assert_null(bad);
            for (unsigned other = 0; other < ROWS; other++)
                if (is_set(&s, other))
                    fail_msg("%s is not %s", name, rows[other].name);
        }
    }
}

static void what_is_malformed_is_named(void **state)
{
    (void)state;
    struct steering s;
    const char *bad;
    read("X-Steelyard-Quality", "2", &s, &bad);
    assert_string_equal(bad, "x-steelyard-quality");
    read("x-steelyard-no-log: true\r\nx-steelyard-usage", "yes", &s, &bad);
    assert_string_equal(bad, "x-steelyard-usage");
    assert_true(s.no_log);
    read("idempotency-key: first\r\nIdempotency-Key", "second", &s, &bad);
    assert_null(bad);
    assert_true(str_is(s.idempotency_key, "first"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_is_found_in_any_case_and_alone),
        cmocka_unit_test(a_name_that_is_nearly_one_is_none),
        cmocka_unit_test(what_is_malformed_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
