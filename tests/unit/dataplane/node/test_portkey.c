/* Configs of Portkey's in a header, on a whole node: how the targets of a request are asked. */
#include <stdio.h>
#include <string.h>

#include "tests/unit/dataplane/node/replies.h"
#include "tests/unit/dataplane/node/rig.h"

#define TARGETS(mode, first, second)                                                               \
    "{\"strategy\":{\"mode\":\"" mode "\"},\"targets\":[" first "," second "]}"
#define TO(model, more)                                                                            \
    "{\"name\":\"" model "\",\"override_params\":{\"model\":\"" model "\"}" more "}"

/* The large model serves whoever asks it; the small one's provider replies as is said here. */
static void begin(struct rig *r, const char *reply_of_small)
{
    rig_start(r, &(struct rig_options){.way = WAY_LEARNED});
    rig_script(r, 0, (struct rig_script){.reply = reply_of_small});
    rig_script(r, 1, (struct rig_script){.reply = replies_whole()});
}

static void ask(struct rig *r, const char *config, const char *more, const char *body,
                struct rig_answer *out)
{
    char request[8192];
    int len =
        snprintf(request, sizeof request,
                 "POST /v1/chat/completions HTTP/1.1\r\nHost: n\r\nAuthorization: Bearer %s\r\n"
                 "Content-Type: application/json\r\nx-portkey-config: %s\r\n%s"
                 "Content-Length: %zu\r\n\r\n%s",
                 RIG_KEY, config, more, strlen(body), body);
    assert_in_range(len, 1, sizeof request - 1);
    rig_exchange_raw(r, request, (size_t)len, out);
}

#define BODY                                                                                       \
    "{\"model\":\"small\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"max_tokens\":9}"

static bool was_asked(const struct rig *r, size_t provider, const char *part)
{
    return str_search(buf_str(&r->providers[provider].last), str_from(part)) >= 0;
}

static void f16_a_time_limit_ends_an_attempt_and_the_next_target_serves(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    begin(&r, NULL);
    ask(&r,
        TARGETS("fallback", TO("small", ",\"request_timeout\":40,\"retry\":{\"attempts\":0}"),
                TO("large", ",\"request_timeout\":60000")),
        "", BODY, &a);
    assert_int_equal(a.status, 200);
    assert_true(rig_has_header(&a, "x-steelyard-served: two/large\r\n"));
    buf_deinit(&a.body);
    rig_stop(&r);
}

static void f16_a_status_that_is_not_listed_goes_to_the_caller(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    begin(&r, NULL);
    ask(&r,
        "{\"strategy\":{\"mode\":\"fallback\",\"on_status_codes\":[429]},\"request_timeout\":40,"
        "\"targets\":[" TO("small", "") "," TO("large", "") "]}",
        "", BODY, &a);
    assert_int_equal(a.status, 504); /* A time limit is 408, which is not there. */
    assert_int_equal(r.providers[1].requests, 0);
    buf_deinit(&a.body);
    rig_stop(&r);
}

static void members_of_the_body_are_written_over_for_their_target_alone(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    begin(&r, replies_whole());
    ask(&r,
        "{\"override_params\":{\"max_completion_tokens\":77,\"temperature\":0.25,\"stop\":[\"x\"]}"
        "}",
        "", BODY, &a);
    assert_int_equal(a.status, 200);
    assert_true(was_asked(&r, 0, "\"max_completion_tokens\":77"));
    assert_true(was_asked(&r, 0, "\"temperature\":0.25"));
    assert_true(was_asked(&r, 0, "\"stop\":[\"x\"]"));
    assert_false(was_asked(&r, 0, "\"max_tokens\":9")); /* One limit, by one name. */
    assert_true(was_asked(&r, 0, "\"content\":\"hi\""));
    buf_deinit(&a.body);
    rig_script(&r, 0, (struct rig_script){.reply = replies_whole()});
    ask(&r,
        TARGETS("fallback", TO("small", ""),
                "{\"override_params\":{\"model\":\"large\",\"seed\":5}}"),
        "", BODY, &a);
    assert_int_equal(a.status, 200);
    assert_true(was_asked(&r, 0, "\"max_tokens\":9"));
    assert_false(was_asked(&r, 0, "seed"));
    buf_deinit(&a.body);
    rig_stop(&r);
}

static void what_cannot_be_asked_so_is_refused_with_its_name(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    begin(&r, NULL);
    ask(&r, "{\"override_params\":{\"temperature\":\"warm\"}}", "", BODY, &a);
    assert_int_equal(a.status, 400);
    assert_true(str_search(buf_str(&a.body), STR("\"param\":\"temperature\"")) >= 0);
    assert_int_equal(r.providers[0].requests, 0);
    buf_deinit(&a.body);
    rig_stop(&r);
}

static void b46_a_pattern_that_is_given_up_is_told_and_does_not_match(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    begin(&r, replies_whole());
    static const char config[] =
        "{\"strategy\":{\"mode\":\"conditional\",\"default\":\"small\",\"conditions\":[{\"query\":{"
        "\"metadata.user\":{\"$regex\":\"^(a+)+$\"}},\"then\":\"large\"}]},\"targets\":[" TO(
            "small", "") "," TO("large", "") "]}";
    ask(&r, config, "x-portkey-metadata: {\"user\":\"aaaaaa\"}\r\n", BODY, &a);
    assert_true(rig_has_header(&a, "x-steelyard-served: two/large\r\n"));
    assert_false(rig_has_header(&a, "x-steelyard-warnings: condition_pattern_given_up\r\n"));
    buf_deinit(&a.body);
    ask(&r, config,
        "x-portkey-metadata: "
        "{\"user\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!\"}\r\n",
        BODY, &a);
    assert_true(rig_has_header(&a, "x-steelyard-served: one/small\r\n"));
    assert_true(rig_has_header(&a, "x-steelyard-warnings: condition_pattern_given_up\r\n"));
    buf_deinit(&a.body);
    rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f16_a_time_limit_ends_an_attempt_and_the_next_target_serves),
        cmocka_unit_test(f16_a_status_that_is_not_listed_goes_to_the_caller),
        cmocka_unit_test(members_of_the_body_are_written_over_for_their_target_alone),
        cmocka_unit_test(what_cannot_be_asked_so_is_refused_with_its_name),
        cmocka_unit_test(b46_a_pattern_that_is_given_up_is_told_and_does_not_match),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
