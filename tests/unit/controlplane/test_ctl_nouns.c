/* The commands against an admin API with canned answers: tables, JSON, exit codes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/controlplane/ctl_fixture.h"

#define KEYS                                                                                       \
    "{\"items\":[{\"id\":\"AAAAAAAAAA\",\"name\":\"me\",\"routes\":[],\"models\":[\"a\",\"b\"],"   \
    "\"disabled\":false,\"created\":\"2026-01-01T00:00:00Z\",\"expires\":null,"                    \
    "\"last_used\":null}],\"next\":null}"

static void a_list_is_an_aligned_table(void **state)
{
    struct fake_admin *a = *state;
    fake_admin_answer(a, "GET /api/v1/keys", 200, KEYS);
    struct ran r = ctl_do_at(a, WORDS("keys", "list"));
    assert_int_equal(r.code, 0);
    assert_string_equal(
        r.out, "ID          NAME  ROUTES  MODELS  DISABLED  CREATED               LAST USED\n"
               "AAAAAAAAAA  me    -       a, b    no        2026-01-01T00:00:00Z  -\n");
    assert_int_equal(r.err_len, 0);
    ran_free(&r);
}

static void the_other_formats_are_for_programs(void **state)
{
    struct fake_admin *a = *state;
    fake_admin_answer(a, "GET /api/v1/keys", 200, KEYS);
    struct ran r = ctl_do_at(a, WORDS("keys", "list", "-o", "name"));
    assert_string_equal(r.out, "AAAAAAAAAA\n");
    ran_free(&r);
    r = ctl_do_at(a, WORDS("keys", "list", "-o", "jsonl"));
    assert_non_null(strstr(r.out, "{\"id\":\"AAAAAAAAAA\",\"name\":\"me\""));
    ran_free(&r);
    r = ctl_do_at(a, WORDS("keys", "list", "-o", "json"));
    assert_non_null(strstr(r.out, "\"name\": \"me\""));
    assert_int_equal(r.out[0], '[');
    ran_free(&r);
    r = ctl_do_at(a, WORDS("keys", "list", "-o", "wide"));
    assert_non_null(strstr(r.out, "EXPIRES"));
    ran_free(&r);
}

static void pages_are_read_to_the_limit(void **state)
{
    struct fake_admin *a = *state;
    fake_admin_answer(a, "GET /api/v1/policies", 200,
                      "{\"items\":[{\"name\":\"p\",\"version\":3}],\"next\":\"c/1\"}");
    fake_admin_answer(a, "GET /api/v1/policies?cursor=c%2F1", 200,
                      "{\"items\":[{\"name\":\"p\",\"version\":2},{\"name\":\"p\",\"version\":1}],"
                      "\"next\":null}");
    struct ran r = ctl_do_at(a, WORDS("policies", "list", "-o", "jsonl"));
    assert_string_equal(r.out, "{\"name\":\"p\",\"version\":3}\n{\"name\":\"p\",\"version\":2}\n"
                               "{\"name\":\"p\",\"version\":1}\n");
    ran_free(&r);
    r = ctl_do_at(a, WORDS("policies", "list", "-o", "jsonl", "--limit", "2"));
    assert_string_equal(r.out, "{\"name\":\"p\",\"version\":3}\n{\"name\":\"p\",\"version\":2}\n");
    ran_free(&r);
}

static void control_bytes_never_reach_the_terminal(void **state)
{
    struct fake_admin *a = *state;
    fake_admin_answer(a, "GET /api/v1/keys", 200,
                      "{\"items\":[{\"id\":\"A\",\"name\":\"x\\u001b[31mred\\u0007\"}]}");
    struct ran r = ctl_do_at(a, WORDS("keys", "list"));
    assert_null(strchr(r.out, '\033'));
    assert_non_null(strstr(r.out, "x?[31mred?"));
    ran_free(&r);
}

static void statuses_become_exit_codes(void **state)
{
    struct fake_admin *a = *state;
    static const struct {
        unsigned status;
        int code;
    } cases[] = {{404, 3}, {401, 4}, {403, 4}, {409, 5}, {503, 6}, {400, 1}, {500, 1}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        a->answer_count = 0;
        fake_admin_answer(a, "GET /api/v1/decisions/x", cases[i].status,
                          "{\"detail\":\"so it is\",\"code\":\"why_not\"}");
        struct ran r = ctl_do_at(a, WORDS("decisions", "show", "x"));
        assert_int_equal(r.code, cases[i].code);
        assert_non_null(strstr(r.err, "so it is"));
        assert_non_null(strstr(r.err, "why_not"));
        assert_int_equal(r.out_len, 0);
        ran_free(&r);
    }
}

static void nobody_listening_is_exit_6(void **state)
{
    (void)state;
    struct ran r = ctl_do(WORDS("-s", "http://127.0.0.1:1", "status"));
    assert_int_equal(r.code, 6);
    assert_non_null(strstr(r.err, "is it running?"));
    ran_free(&r);
    r = ctl_do(WORDS("status", "--state-dir", "/nonexistent"));
    assert_int_equal(r.code, 6);
    ran_free(&r);
}

static void expect_silence(struct fake_admin *a, const char *const *words, int code,
                           const char *says, bool may_be_done)
{
    struct ran r = ctl_do_at(a, words);
    assert_int_equal(r.code, code);
    assert_non_null(strstr(r.err, says));
    assert_true((strstr(r.err, "may have been done") != NULL) == may_be_done);
    ran_free(&r);
}

/* A key that was made and never shown is one to look for; a list can simply be asked for again. */
static void a_change_without_an_answer_may_have_been_made(void **state)
{
    struct fake_admin *a = *state;
    const char *const create[] = {"keys", "create", "--name", "n", NULL};
    const char *const list[] = {"keys", "list", NULL};
    fake_admin_answer(a, "POST /api/v1/keys", CANNED_CUT, NULL);
    fake_admin_answer(a, "GET /api/v1/keys", CANNED_CUT, NULL);
    fake_admin_answer(a, "POST /api/v1/keys", CANNED_INTERRUPT, NULL);
    fake_admin_answer(a, "GET /api/v1/keys", CANNED_INTERRUPT, NULL);
    a->answers[0].uses = a->answers[1].uses = 1;
    expect_silence(a, create, 6, "no answer from", true);
    expect_silence(a, list, 6, "no answer from", false);
    expect_silence(a, create, 1, "interrupted", true);
    expect_silence(a, list, 1, "interrupted", false);
}

static void a_wrong_key_is_exit_4(void **state)
{
    struct fake_admin *a = *state;
    setenv("STEELYARD_OPERATOR_KEY", "wrong", 1);
    struct ran r = ctl_do_at(a, WORDS("keys", "list"));
    assert_int_equal(r.code, 4);
    ran_free(&r);
}

static void a_new_key_is_printed_alone_for_scripts(void **state)
{
    struct fake_admin *a = *state;
    fake_admin_answer(a, "POST /api/v1/keys", 201,
                      "{\"id\":\"A\",\"name\":\"n\",\"key\":\"sk-sy-A-B\"}");
    struct ran r = ctl_do_at(
        a, WORDS("keys", "create", "--name", "n", "--routes", "auto, cheap", "-o", "name"));
    assert_int_equal(r.code, 0);
    assert_string_equal(r.out, "sk-sy-A-B\n");
    assert_int_equal(r.err_len, 0);
    assert_string_equal(a->last_body,
                        "{\"name\":\"n\",\"routes\":[\"auto\",\"cheap\"],\"wait\":\"5000ms\"}");
    ran_free(&r);
}

#define NODES(acked, connected, ended)                                                             \
    "\"nodes\":{\"acked\":" acked ",\"connected\":" connected ",\"ended\":\"" ended "\"}"

static void a_disabled_key_is_told_with_how_many_nodes_refuse_it(void **state)
{
    struct fake_admin *a = *state;
    const char *const path = "POST /api/v1/keys/A/disable";
    fake_admin_answer(a, path, 200, "{\"id\":\"A\",\"generation\":7," NODES("2", "2", "all") "}");
    a->answers[a->answer_count - 1].uses = 1;
    struct ran r = ctl_do_at(a, WORDS("keys", "disable", "A"));
    assert_int_equal(r.code, 0);
    assert_string_equal(a->last_body, "{\"wait\":\"2000ms\"}");
    assert_non_null(strstr(r.err, "2 of 2 connected nodes"));
    ran_free(&r);
    fake_admin_answer(a, path, 200,
                      "{\"id\":\"A\",\"generation\":7," NODES("1", "2", "timeout") "}");
    a->answers[a->answer_count - 1].uses = 1;
    r = ctl_do_at(a, WORDS("keys", "disable", "A", "--wait", "1ms"));
    assert_int_equal(r.code, 10);
    assert_string_equal(a->last_body, "{\"wait\":\"1ms\"}");
    assert_non_null(strstr(r.err, "1 of 2 connected nodes"));
    ran_free(&r);
    /* Of those elsewhere nothing could be read. */
    fake_admin_answer(a, path, 200,
                      "{\"id\":\"A\",\"generation\":7," NODES("2", "2", "timeout") "}");
    a->answers[a->answer_count - 1].uses = 1;
    r = ctl_do_at(a, WORDS("keys", "disable", "A"));
    assert_int_equal(r.code, 10);
    assert_non_null(strstr(r.err, "is not known"));
    ran_free(&r);
    fake_admin_answer(a, path, 200, "{\"id\":\"A\",\"generation\":7}");
    r = ctl_do_at(a, WORDS("keys", "disable", "A", "--wait", "0s"));
    assert_int_equal(r.code, 0);
    assert_string_equal(a->last_body, "{\"wait\":\"0ms\"}");
    assert_int_equal(r.err_len, 0);
    ran_free(&r);
}

#define NEW_KEY "{\"id\":\"A\",\"name\":\"n\",\"key\":\"sk-sy-A-B\",\"generation\":7,"

static void a_new_key_is_printed_whoever_knows_it(void **state)
{
    struct fake_admin *a = *state;
    fake_admin_answer(a, "POST /api/v1/keys", 201, NEW_KEY NODES("2", "2", "all") "}");
    a->answers[a->answer_count - 1].uses = 1;
    struct ran r = ctl_do_at(a, WORDS("keys", "create", "-o", "name"));
    assert_int_equal(r.code, 0);
    assert_string_equal(r.out, "sk-sy-A-B\n");
    assert_int_equal(r.err_len, 0);
    ran_free(&r);
    fake_admin_answer(a, "POST /api/v1/keys", 201, NEW_KEY NODES("1", "2", "some") "}");
    r = ctl_do_at(a, WORDS("keys", "create", "-o", "name", "--wait", "1ms"));
    assert_int_equal(r.code, 0);
    assert_string_equal(r.out, "sk-sy-A-B\n");
    assert_non_null(strstr(r.err, "1 of 2 connected nodes"));
    ran_free(&r);
}

static void training_waits_shows_progress_and_prints_the_version(void **state)
{
    struct fake_admin *a = *state;
    fake_admin_answer(a, "POST /api/v1/policies/default/train", 202, "{\"job\":\"7\"}");
    fake_admin_answer(
        a, "GET /api/v1/jobs/7", 200,
        "{\"id\":\"7\",\"state\":\"running\",\"phase\":\"fit\",\"done\":50,\"total\":100}");
    a->answers[1].uses = 2;
    fake_admin_answer(a, "GET /api/v1/jobs/7", 200,
                      "{\"id\":\"7\",\"state\":\"done\",\"done\":100,\"total\":100,"
                      "\"result\":{\"policy\":\"default\",\"version\":4}}");
    fake_admin_answer(a, "GET /api/v1/policies/default/4", 200,
                      "{\"name\":\"default\",\"version\":4,\"state\":\"candidate\","
                      "\"gates\":[{\"name\":\"self-test\",\"ok\":true,\"detail\":\"64 of 64\"}]}");
    struct ran r = ctl_do_at(a, WORDS("policies", "train", "default", "--quality", "0.95"));
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.err, "training: 50% (50 of 100) fit"));
    assert_non_null(strstr(r.out, "self-test"));
    ran_free(&r);
    r = ctl_do_at(a, WORDS("policies", "train", "default", "--quality", "1.5"));
    assert_int_equal(r.code, 2);
    ran_free(&r);
    r = ctl_do_at(
        a, WORDS("policies", "train", "default", "--quality", "0.9", "--quality-floor", "0.8"));
    assert_int_equal(r.code, 2);
    ran_free(&r);
}

static void a_rejected_version_is_exit_10(void **state)
{
    struct fake_admin *a = *state;
    fake_admin_answer(a, "POST /api/v1/policies/default/train", 202, "{\"job\":\"7\"}");
    fake_admin_answer(a, "GET /api/v1/jobs/7", 200,
                      "{\"state\":\"done\",\"result\":{\"policy\":\"default\",\"version\":4}}");
    fake_admin_answer(a, "GET /api/v1/policies/default/4", 200,
                      "{\"name\":\"default\",\"version\":4,\"state\":\"rejected\"}");
    struct ran r = ctl_do_at(a, WORDS("policies", "train", "default"));
    assert_int_equal(r.code, 10);
    ran_free(&r);
    a->answers[1].body = "{\"state\":\"failed\",\"message\":\"no rows\"}";
    r = ctl_do_at(a, WORDS("policies", "train", "default"));
    assert_int_equal(r.code, 1);
    assert_non_null(strstr(r.err, "no rows"));
    ran_free(&r);
}

static void a_policy_is_named_with_or_without_its_version(void **state)
{
    struct fake_admin *a = *state;
    fake_admin_answer(a, "GET /api/v1/policies", 200,
                      "{\"items\":[{\"name\":\"d\",\"version\":3,\"state\":\"candidate\"},"
                      "{\"name\":\"d\",\"version\":2,\"state\":\"current\"}],\"next\":null}");
    fake_admin_answer(a, "GET /api/v1/policies/d/2", 200, "{\"name\":\"d\",\"version\":2}");
    fake_admin_answer(a, "POST /api/v1/policies/d/3/promote", 200, "{\"generation\":9}");
    struct ran r = ctl_do_at(a, WORDS("policies", "show", "d"));
    assert_int_equal(r.code, 0);
    ran_free(&r);
    r = ctl_do_at(a, WORDS("policies", "promote", "d@3", "--reason", "better"));
    assert_int_equal(r.code, 0);
    assert_string_equal(a->last_body, "{\"reason\":\"better\"}");
    ran_free(&r);
    r = ctl_do_at(a, WORDS("policies", "promote", "d"));
    assert_int_equal(r.code, 2);
    ran_free(&r);
    r = ctl_do_at(a, WORDS("policies", "show", "e"));
    assert_int_equal(r.code, 3);
    ran_free(&r);
}

static void replay_streams_progress_and_exits_10_on_a_difference(void **state)
{
    struct fake_admin *a = *state;
    fake_admin_answer(a, "GET /api/v1/status", 200, "{\"decisions\":{\"total\":20}}");
    fake_admin_answer(a, "POST /api/v1/decisions/replay", 200,
                      "{\"checked\":10,\"equal\":10,\"differ\":0,\"skipped\":0}\n"
                      "{\"checked\":20,\"equal\":20,\"differ\":0,\"skipped\":0}\n");
    struct ran r = ctl_do_at(a, WORDS("decisions", "replay", "--all"));
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.err, "replaying: 50% (10 of 20)"));
    assert_non_null(strstr(r.out, "Equal bit by bit  20"));
    ran_free(&r);
    a->answers[1].body = "{\"checked\":20,\"equal\":19,\"differ\":1,\"skipped\":0,"
                         "\"examples\":[{\"id\":\"x\"}]}\n";
    r = ctl_do_at(a, WORDS("decisions", "replay"));
    assert_int_equal(r.code, 10);
    assert_non_null(strstr(r.err, "differs"));
    ran_free(&r);
}

static void the_frontier_is_drawn(void **state)
{
    struct fake_admin *a = *state;
    fake_admin_answer(a, "GET /api/v1/policies/d/frontier?version=2", 200,
                      "{\"points\":[{\"lambda\":1,\"cost_usd\":0.001,\"quality\":0.8},"
                      "{\"lambda\":0,\"cost_usd\":0.002,\"quality\":0.9}],"
                      "\"chosen\":1,\"singles\":null}");
    fake_admin_answer(a, "GET /api/v1/policies/d/2", 200,
                      "{\"report\":{\"models\":[{\"model\":\"big\",\"cost_usd\":0.004,"
                      "\"quality\":0.91}]}}");
    struct ran r = ctl_do_at(a, WORDS("policies", "frontier", "d", "2"));
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.out, "*"));
    assert_non_null(strstr(r.out, "A  big                      $4.0000 per 1,000, quality 0.910"));
    assert_non_null(strstr(r.out, "@  the policy's choice"));
    ran_free(&r);
}

static void why_tells_candidates_terms_and_what_would_have_tipped_it(void **state)
{
    struct fake_admin *a = *state;
    fake_admin_answer(
        a, "GET /api/v1/decisions/d1/why", 200,
        "{\"request\":{\"id\":\"d1\",\"alias\":\"auto\"},\"candidates\":[{\"model\":\"small\","
        "\"quality\":0.91,\"cost_usd\":\"0.000123\",\"latency_ms\":80,\"utility\":12,"
        "\"probability\":0.98,\"excluded\":[]},{\"model\":\"big\",\"quality\":0.95,\"cost_usd\":"
        "\"0.01\",\"latency_ms\":300,\"utility\":3,\"probability\":0,\"excluded\":[\"max_cost\"]}],"
        "\"chosen\":\"small\",\"greedy\":\"small\",\"explored\":false,\"policy\":\"default@2\","
        "\"terms\":[{\"name\":\"'convert'\",\"value\":0.8,\"for\":\"small\",\"against\":\"big\"}],"
        "\"counterfactual\":{\"text\":\"would have chosen big if lambda < 4\"},\"attempts\":[]}");
    struct ran r = ctl_do_at(a, WORDS("decisions", "why", "d1"));
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.out, "91.0 %"));
    assert_non_null(strstr(r.out, "$0.000123"));
    assert_non_null(strstr(r.out, "max_cost"));
    assert_non_null(strstr(r.out, "'convert'"));
    assert_non_null(strstr(r.out, "would have chosen big if lambda < 4"));
    ran_free(&r);
}

static void status_can_wait_for_a_node(void **state)
{
    struct fake_admin *a = *state;
    fake_admin_answer(a, "GET /api/v1/status", 200, "{\"version\":\"1\",\"nodes\":[]}");
    a->answers[0].uses = 1;
    fake_admin_answer(a, "GET /api/v1/status", 200,
                      "{\"version\":\"1\",\"nodes\":[{\"node_id\":\"n\",\"connected\":true,"
                      "\"lag_generations\":0}]}");
    struct ran r = ctl_do_at(a, WORDS("status", "--wait", "20s"));
    assert_int_equal(r.code, 0);
    assert_int_equal(a->used[0], 1);
    ran_free(&r);
}

static void a_list_is_comma_separated_on_request(void **state)
{
    struct fake_admin *a = *state;
    fake_admin_answer(
        a, "GET /api/v1/audit?limit=2", 200,
        "{\"items\":[{\"id\":2,\"ts\":\"2026-11-21T00:00:00Z\",\"actor\":\"operator\","
        "\"action\":\"key.update\",\"subject\":\"A\",\"reason\":\"more, \\\"now\\\"\","
        "\"detail\":{\"rpm\":9},\"generation\":4,\"changes\":[]}],\"next\":null}");
    struct ran r = ctl_do_at(a, WORDS("audit", "log", "--limit", "2", "-o", "csv"));
    assert_int_equal(r.code, 0);
    assert_string_equal(r.out, "id,ts,actor,action,subject,reason,detail,generation,changes\n"
                               "2,2026-11-21T00:00:00Z,operator,key.update,A,\"more, "
                               "\"\"now\"\"\",\"{\"\"rpm\"\":9}\",4,[]\n");
    ran_free(&r);
}

static void an_export_goes_page_by_page_and_says_where_it_goes_on(void **state)
{
    struct fake_admin *a = *state;
    fake_admin_answer(a, "GET /api/v1/decisions/export?limit=500", 200,
                      "{\"items\":[{\"id\":\"a\"},{\"id\":\"b\"}],\"next\":\"b\"}");
    fake_admin_answer(a, "GET /api/v1/decisions/export?limit=500&cursor=b", 200,
                      "{\"items\":[{\"id\":\"c\"},{\"id\":\"d\"}],\"next\":null}");
    struct ran r = ctl_do_at(a, WORDS("decisions", "export"));
    assert_int_equal(r.code, 0);
    assert_string_equal(r.out, "{\"id\":\"a\"}\n{\"id\":\"b\"}\n{\"id\":\"c\"}\n{\"id\":\"d\"}\n");
    assert_null(strstr(r.err, "--cursor"));
    ran_free(&r);
    r = ctl_do_at(a, WORDS("decisions", "export", "--limit", "3"));
    assert_int_equal(r.code, 0);
    assert_string_equal(r.out, "{\"id\":\"a\"}\n{\"id\":\"b\"}\n{\"id\":\"c\"}\n");
    assert_non_null(strstr(r.err, "it goes on with --cursor c"));
    ran_free(&r);
    r = ctl_do_at(a, WORDS("decisions", "export", "--cursor", "b", "--limit", "9"));
    assert_string_equal(r.out, "{\"id\":\"c\"}\n{\"id\":\"d\"}\n");
    ran_free(&r);
    r = ctl_do_at(a, WORDS("decisions", "export", "-o", "yaml"));
    assert_int_equal(r.code, 2);
    ran_free(&r);
}

static void an_export_that_fails_says_where_it_goes_on(void **state)
{
    struct fake_admin *a = *state;
    fake_admin_answer(a, "GET /api/v1/decisions/export?limit=500", 200,
                      "{\"items\":[{\"id\":\"a\"}],\"next\":\"a\"}");
    fake_admin_answer(a, "GET /api/v1/decisions/export?limit=500&cursor=a", 503, "{}");
    struct ran r = ctl_do_at(a, WORDS("decisions", "export", "-o", "csv"));
    assert_int_not_equal(r.code, 0);
    assert_non_null(strstr(r.out, "\na,,"));
    assert_non_null(strstr(r.err, "it goes on with --cursor a"));
    ran_free(&r);
}

#define WITH_ADMIN(f) cmocka_unit_test_setup_teardown(f, ctl_start_admin, ctl_stop_admin)

static void a_change_sends_only_what_was_given_and_none_clears(void **state)
{
    struct fake_admin *a = *state;
    fake_admin_answer(a, "POST /api/v1/keys/K1/update", 200, "{\"id\":\"K1\",\"name\":\"n\"}");
    struct ran r = ctl_do_at(a, WORDS("keys", "update", "K1", "--rpm", "none", "--routes", "a,b",
                                      "--budget", "5.00/month", "--reason", "why", "--dry-run"));
    assert_int_equal(r.code, 0);
    assert_string_equal(
        a->last_body,
        "{\"routes\":[\"a\",\"b\"],\"rpm\":null,\"reason\":\"why\","
        "\"dry_run\":true,\"wait\":\"5000ms\",\"budgets\":[{\"limit_usd\":\"5.00\",\"period\":"
        "\"month\"}]}");
    ran_free(&r);
    r = ctl_do_at(a, WORDS("keys", "update", "K1", "--rpm", "many"));
    assert_int_equal(r.code, 2);
    ran_free(&r);
    r = ctl_do_at(a, WORDS("keys", "update", "K1", "--budget", "5"));
    assert_int_equal(r.code, 2);
    ran_free(&r);
    assert_int_equal(a->requests, 1);
}

static void what_cannot_be_taken_back_wants_yes(void **state)
{
    struct fake_admin *a = *state;
    fake_admin_answer(a, "POST /api/v1/keys/K1/delete", 200, "{\"id\":\"K1\"}");
    fake_admin_answer(a, "POST /api/v1/budgets/7/delete", 409,
                      "{\"status\":409,\"code\":\"conflict\",\"detail\":\"was removed\"}");
    fake_admin_answer(a, "POST /api/v1/teams/web/delete", 403,
                      "{\"status\":403,\"code\":\"denied\",\"detail\":\"role\"}");
    struct ran r = ctl_do_at(a, WORDS("keys", "delete", "K1"));
    assert_int_equal(r.code, 2); /* No terminal to ask on. */
    assert_non_null(strstr(r.err, "--yes"));
    ran_free(&r);
    assert_int_equal(a->requests, 0);
    r = ctl_do_at(a, WORDS("keys", "delete", "K1", "--yes", "-o", "name"));
    assert_int_equal(r.code, 0);
    assert_string_equal(r.out, "K1\n");
    ran_free(&r);
    r = ctl_do_at(a, WORDS("budgets", "remove", "7", "-y"));
    assert_int_equal(r.code, 5);
    ran_free(&r);
    r = ctl_do_at(a, WORDS("teams", "delete", "web", "-y"));
    assert_int_equal(r.code, 4);
    ran_free(&r);
}

static void a_budget_is_named_by_account_or_by_id(void **state)
{
    struct fake_admin *a = *state;
    static const char budget[] = "{\"id\":7,\"account\":\"team:web\",\"limit_usd\":\"5\","
                                 "\"period\":\"day\",\"wait\":\"5000ms\"}";
    fake_admin_answer(a, "POST /api/v1/budgets", 200, budget);
    fake_admin_answer(a, "POST /api/v1/budgets/7/update", 200, budget);
    fake_admin_answer(a, "GET /api/v1/budgets?account=team%3Aweb", 200,
                      "{\"items\":[{\"id\":7,\"account\":\"team:web\",\"limit_usd\":\"5\","
                      "\"tags\":[\"a b\",\"no\"],\"x\":{\"y\":null,\"z\":[]}}],\"next\":null}");
    struct ran r = ctl_do_at(a, WORDS("budgets", "set", "--account", "team:web", "--limit-usd", "5",
                                      "--period", "day", "-o", "name"));
    assert_int_equal(r.code, 0);
    assert_string_equal(r.out, "7\n");
    assert_string_equal(
        a->last_body,
        "{\"account\":\"team:web\",\"limit_usd\":\"5\",\"period\":\"day\",\"wait\":\"5000ms\"}");
    ran_free(&r);
    r = ctl_do_at(a, WORDS("budgets", "set", "7", "--webhook", "none"));
    assert_int_equal(r.code, 0);
    assert_string_equal(a->last_body, "{\"webhook\":null,\"wait\":\"5000ms\"}");
    ran_free(&r);
    r = ctl_do_at(a, WORDS("budgets", "set", "--limit-usd", "5"));
    assert_int_equal(r.code, 2);
    ran_free(&r);
    r = ctl_do_at(a, WORDS("budgets", "list", "--account", "team:web", "-o", "yaml"));
    assert_int_equal(r.code, 0);
    assert_string_equal(r.out, "- id: 7\n  account: \"team:web\"\n  limit_usd: \"5\"\n  tags:\n"
                               "    - \"a b\"\n    - \"no\"\n  x:\n    \"y\": null\n    z: []\n");
    ran_free(&r);
}

/* --- catalog -------------------------------------------------------------------------------------
 */

static const char *price_file(const char *text)
{
    static char path[64];
    snprintf(path, sizeof path, "/tmp/sy-prices-%d.csv", (int)getpid());
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0 && fclose(f) == 0);
    return path;
}

static void catalog_import_sends_rows_and_tells_what_was_held_back(void **state)
{
    struct fake_admin *a = *state;
    const char *path = price_file("provider,model,price_in,price_out,price_tiers\n"
                                  "p,m,0.5,2,200000:1/4//\np,bad,x,1,\nq,n,1,1,\n");
    fake_admin_answer(
        a, "POST /api/v1/catalog/import", 200,
        "{\"counts\":{\"same\":0,\"new\":1,\"changed\":0,\"held\":1},\"skipped\":[],"
        "\"generation\":7,\"changes\":[{\"provider\":\"p\",\"model\":\"m\",\"change\":"
        "\"held\",\"factor\":\"5.000\",\"old\":{\"input\":\"0.1\"},\"new\":{\"input\":"
        "\"0.5\"},\"old_source\":\"builtin\"}]}");
    struct ran r = ctl_do_at(a, WORDS("catalog", "import", path, "--provider", "p", "--valid-from",
                                      "2026-01-01", "--reason", "new list"));
    assert_int_equal(r.code, 10);
    assert_non_null(strstr(r.err, "skipped p/bad: price_in is no price"));
    assert_non_null(strstr(r.err, "1 new, 0 changed, 0 the same, 1 held back"));
    assert_non_null(strstr(r.out, "5.000"));
    assert_non_null(strstr(a->last_body, "\"input\":\"0.5\""));
    assert_non_null(strstr(a->last_body, "\"above\":200000"));
    assert_non_null(strstr(a->last_body, "\"source\":\"csv\""));
    assert_non_null(strstr(a->last_body, "\"valid_from\":\"2026-01-01\""));
    assert_non_null(strstr(a->last_body, "\"reason\":\"new list\""));
    assert_null(strstr(a->last_body, "\"q\""));
    ran_free(&r);
    r = ctl_do_at(a, WORDS("catalog", "diff", path, "--exit-code", "-o", "json"));
    assert_int_equal(r.code, 10);
    assert_non_null(strstr(a->last_body, "\"dry_run\":true"));
    assert_non_null(strstr(r.out, "\"held\": 1"));
    ran_free(&r);
    assert_int_equal(unlink(path), 0);
    r = ctl_do_at(a, WORDS("catalog", "import", path));
    assert_int_equal(r.code, 1);
    ran_free(&r);
}

static void catalog_lint_of_a_file_needs_no_server(void **state)
{
    (void)state;
    const char *path = price_file("provider,model,price_in,price_out\np,m,2,1\np,n,1,2\n"
                                  "openai,gpt-5-mini,250,2000\n");
    struct ran r = ctl_do(WORDS("catalog", "lint", path));
    assert_int_equal(r.code, 10);
    assert_non_null(strstr(r.out, "output_below_input"));
    assert_non_null(strstr(r.out, "unit_1e3"));
    assert_non_null(strstr(r.err, "3 rows, 0 skipped, 2 suspicious"));
    ran_free(&r);
    assert_int_equal(unlink(path), 0);
    path = price_file("{\"a\": 1}");
    r = ctl_do(WORDS("catalog", "lint", path, "--format", "xml"));
    assert_int_equal(r.code, 2);
    ran_free(&r);
    r = ctl_do(WORDS("catalog", "lint", path));
    assert_int_equal(r.code, 2);
    assert_non_null(strstr(r.err, "neither models.dev"));
    ran_free(&r);
    assert_int_equal(unlink(path), 0);
}

static void catalog_show_says_which_source_applies(void **state)
{
    struct fake_admin *a = *state;
    fake_admin_answer(
        a, "GET /api/v1/catalog/show?model=m%2F1", 200,
        "{\"model\":\"m/1\",\"configured\":[{\"model\":\"m/1\",\"provider\":\"p\","
        "\"upstream_model\":\"u\",\"source\":\"config\",\"prices\":[{\"price_id\":\"5\","
        "\"valid_from\":null,\"source\":\"config\",\"facts\":\"\",\"holds\":true,\"price\":{"
        "\"input\":\"1\",\"output\":\"2\",\"tiers\":[{\"above\":200000,\"input\":\"3\","
        "\"output\":\"4\"}]}}]}],\"catalogue\":[{\"provider\":\"x\",\"model\":\"m/1\","
        "\"price\":{\"input\":\"9\"},\"source\":\"builtin\",\"facts\":\"models.dev\"}]}");
    struct ran r = ctl_do_at(a, WORDS("catalog", "show", "m/1"));
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.out, "config"));
    assert_non_null(strstr(r.out, ">200000: 3/4"));
    assert_non_null(strstr(r.out, "builtin"));
    ran_free(&r);
}

static void repricing_goes_on_until_there_is_no_further_batch(void **state)
{
    struct fake_admin *a = *state;
    a->answers[a->answer_count] = (struct canned){
        "POST /api/v1/budgets/reprice", 200,
        "{\"decisions\":500,\"attempts\":500,\"changed\":2,\"unpriced\":1,\"delta_usd\":"
        "\"-0.500000000\",\"next\":\"7.x\",\"accounts\":[{\"account\":\"team:a\",\"budget\":3,"
        "\"period_start\":\"2026-11-21\",\"amount_usd\":\"-0.500000000\",\"posted\":true}]}",
        1};
    a->answer_count++;
    fake_admin_answer(
        a, "POST /api/v1/budgets/reprice", 200,
        "{\"decisions\":1,\"attempts\":1,\"changed\":1,\"unpriced\":0,\"delta_usd\":"
        "\"0.250000001\",\"next\":null,\"accounts\":[{\"account\":\"team:a\",\"budget\":3,"
        "\"period_start\":\"2026-11-21\",\"amount_usd\":\"0.250000001\",\"posted\":true}]}");
    struct ran r =
        ctl_do_at(a, WORDS("budgets", "reprice", "m", "--since", "2026-11-01T00:00:00Z"));
    assert_int_equal(r.code, 0);
    assert_int_equal(a->requests, 2);
    assert_non_null(strstr(a->last_body, "\"cursor\":\"7.x\""));
    assert_non_null(strstr(a->last_body, "\"since\":\"2026-11-01T00:00:00Z\""));
    assert_non_null(strstr(r.out, "-0.249999999"));
    assert_non_null(strstr(r.err, "3 of 501 attempts cost something else: -0.249999999 USD"));
    ran_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_ADMIN(a_list_is_an_aligned_table),
        WITH_ADMIN(a_list_is_comma_separated_on_request),
        WITH_ADMIN(an_export_goes_page_by_page_and_says_where_it_goes_on),
        WITH_ADMIN(an_export_that_fails_says_where_it_goes_on),
        WITH_ADMIN(the_other_formats_are_for_programs),
        WITH_ADMIN(pages_are_read_to_the_limit),
        WITH_ADMIN(control_bytes_never_reach_the_terminal),
        WITH_ADMIN(statuses_become_exit_codes),
        WITH_ADMIN(nobody_listening_is_exit_6),
        WITH_ADMIN(a_change_without_an_answer_may_have_been_made),
        WITH_ADMIN(a_wrong_key_is_exit_4),
        WITH_ADMIN(a_new_key_is_printed_alone_for_scripts),
        WITH_ADMIN(a_disabled_key_is_told_with_how_many_nodes_refuse_it),
        WITH_ADMIN(a_new_key_is_printed_whoever_knows_it),
        WITH_ADMIN(training_waits_shows_progress_and_prints_the_version),
        WITH_ADMIN(a_rejected_version_is_exit_10),
        WITH_ADMIN(a_policy_is_named_with_or_without_its_version),
        WITH_ADMIN(replay_streams_progress_and_exits_10_on_a_difference),
        WITH_ADMIN(the_frontier_is_drawn),
        WITH_ADMIN(why_tells_candidates_terms_and_what_would_have_tipped_it),
        WITH_ADMIN(status_can_wait_for_a_node),
        WITH_ADMIN(a_change_sends_only_what_was_given_and_none_clears),
        WITH_ADMIN(what_cannot_be_taken_back_wants_yes),
        WITH_ADMIN(a_budget_is_named_by_account_or_by_id),
        WITH_ADMIN(catalog_import_sends_rows_and_tells_what_was_held_back),
        WITH_ADMIN(catalog_lint_of_a_file_needs_no_server),
        WITH_ADMIN(catalog_show_says_which_source_applies),
        WITH_ADMIN(repricing_goes_on_until_there_is_no_further_batch),
    };
    return cmocka_run_group_tests_name("ctl_nouns", tests, ctl_start, ctl_stop);
}
