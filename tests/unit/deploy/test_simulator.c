/* The simulated provider over HTTP: whole, streamed, broken on request, and its ledger. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/net/fetch.h"
#include "deploy/simulator/simulator.h"

struct fixture {
    uv_loop_t loop;
    struct simulator *sim;
    struct fetch_loop *fetch;
    struct fetch_origin *origin;
    char ledger[64];
    /* The last exchange. */
    bool done;
    int status;
    unsigned http_status;
    char body[65536];
};

static void on_reply(void *arg, const struct fetch_reply *reply)
{
    struct fixture *f = arg;
    f->done = true;
    f->status = reply->result.status;
    f->http_status = reply->result.http_status;
    (void)str_copy(buf_str(&reply->body), f->body, sizeof(f->body));
}

static void ask(struct fixture *f, const char *method, const char *path, const char *body)
{
    struct str span = str_from(body);
    struct fetch_request request = {.method = str_from(method),
                                    .target = str_from(path),
                                    .body = &span,
                                    .body_count = body != NULL ? 1 : 0};
    f->done = false;
    f->body[0] = '\0';
    assert_int_equal(fetch_simple(f->origin, &request, on_reply, f, NULL), 0);
    while (!f->done)
        uv_run(&f->loop, UV_RUN_ONCE);
}

static int start(void **state)
{
    static struct fixture fixture;
    struct fixture *f = &fixture;
    struct err err = {0};
    char url[64];
    memset(f, 0, sizeof(*f));
    snprintf(f->ledger, sizeof(f->ledger), "/tmp/sy-ledger-XXXXXX");
    int fd = mkstemp(f->ledger);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    struct simulator_config config = {
        .address = "127.0.0.1:0", .ledger_path = f->ledger, .seed = 1, .latency_percent = 0};
    assert_int_equal(sim_prices_parse("sim-strong=3/7,sim-weak=0/1000000000", config.prices, &err),
                     0);
    assert_int_equal(simulator_start(&f->loop, &config, &f->sim, &err), 0);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", simulator_port(f->sim));
    f->fetch = fetch_loop_create(&f->loop);
    struct fetch_origin_config origin = {.url = url, .allow_private = true, .allow_http = true};
    assert_int_equal(fetch_origin_create(f->fetch, &origin, &f->origin, &err), 0);
    *state = f;
    return 0;
}

static int stop(void **state)
{
    struct fixture *f = *state;
    fetch_origin_close(f->origin, NULL, NULL);
    fetch_loop_close(f->fetch, NULL, NULL);
    simulator_close(f->sim, NULL, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    unlink(f->ledger);
    return 0;
}

static bool ledger_has(const struct fixture *f, const char *text)
{
    struct buf file;
    buf_init(&file, 1U << 20);
    bool found = buf_read_file(&file, f->ledger, 1U << 20, NULL) == 0 &&
                 str_search(buf_str(&file), str_from(text)) >= 0;
    buf_deinit(&file);
    return found;
}

#define CHAT "/v1/chat/completions"
#define QUESTION                                                                                   \
    "\"messages\":[{\"role\":\"system\",\"content\":\"Be brief.\"},"                               \
    "{\"role\":\"user\",\"content\":\"Nonce n7. What is 12 + 30?\"}]"

static void a_whole_answer_says_that_it_is_simulated(void **state)
{
    struct fixture *f = *state;
    ask(f, "POST", CHAT, "{\"model\":\"sim-strong\"," QUESTION "}");
    assert_int_equal(f->http_status, 200);
    assert_non_null(strstr(f->body, "\"system_fingerprint\":\"steelyard-simulator\""));
    assert_non_null(strstr(f->body, "n7 "));
    assert_non_null(strstr(f->body, "Answer: 42\""));
    assert_non_null(strstr(f->body, "\"finish_reason\":\"stop\""));
    assert_true(ledger_has(f, "\"nonce\":\"n7\",\"model\":\"sim-strong\",\"task\":\"arithmetic\""));
    assert_true(ledger_has(f, "\"outcome\":\"complete\""));
}

static void machines_take_turns_and_say_which_they_are(void **state)
{
    struct fixture *f = *state;
    unsigned seen = 0;
    ask(f, "POST", "/simulator/machines", "{\"first\":7,\"count\":2}");
    assert_int_equal(f->http_status, 200);
    for (int i = 0; i < 4; i++) {
        ask(f, "POST", CHAT, "{\"model\":\"sim-strong\"," QUESTION "}");
        seen += strstr(f->body, "\"steelyard-simulator.7\"") != NULL;
        seen += strstr(f->body, "\"steelyard-simulator.8\"") != NULL ? 10 : 0;
    }
    assert_int_equal(seen, 22);
    ask(f, "POST", "/simulator/machines", "{\"first\":0,\"count\":0}");
    assert_int_equal(f->http_status, 400);
    ask(f, "POST", "/simulator/machines", "{\"first\":0,\"count\":1}");
    ask(f, "POST", CHAT, "{\"model\":\"sim-strong\"," QUESTION "}");
    assert_non_null(strstr(f->body, "\"system_fingerprint\":\"steelyard-simulator\""));
}

static void a_stream_ends_with_reason_usage_and_done(void **state)
{
    struct fixture *f = *state;
    ask(f, "POST", CHAT,
        "{\"model\":\"sim-strong\",\"stream\":true,\"stream_options\":{\"include_usage\":true}"
        "," QUESTION "}");
    assert_int_equal(f->http_status, 200);
    assert_non_null(strstr(f->body, "\"delta\":{\"role\":\"assistant\",\"content\":\"n7\"}"));
    const char *reason = strstr(f->body, "\"finish_reason\":\"stop\"");
    const char *usage = strstr(f->body, "\"choices\":[],\"usage\":{\"prompt_tokens\"");
    const char *done = strstr(f->body, "data: [DONE]\n\n");
    assert_true(reason != NULL && usage != NULL && done != NULL);
    assert_true(reason < usage && usage < done);
    ask(f, "POST", CHAT, "{\"model\":\"sim-strong\",\"stream\":true," QUESTION "}");
    assert_null(strstr(f->body, "usage"));
}

static void max_tokens_cuts_the_answer(void **state)
{
    struct fixture *f = *state;
    ask(f, "POST", CHAT, "{\"model\":\"sim-strong\",\"max_tokens\":2," QUESTION "}");
    assert_non_null(strstr(f->body, "\"finish_reason\":\"length\""));
    assert_non_null(strstr(f->body, "\"completion_tokens\":2"));
}

static void its_book_says_what_it_bills_and_nobody_else_does(void **state)
{
    struct fixture *f = *state;
    /* "Be brief." and "Nonce n7. What is 12 + 30?" are 35 bytes, two messages: 17 tokens. */
    ask(f, "POST", CHAT, "{\"model\":\"sim-strong\",\"max_tokens\":2,\"n\":3," QUESTION "}");
    assert_non_null(strstr(f->body, "\"prompt_tokens\":17,\"completion_tokens\":6,"));
    assert_non_null(strstr(f->body, "{\"index\":2,\"message\":"));
    assert_true(ledger_has(f, "\"choices\":3,\"usage\":true,\"status\":200,\"tokens_in\":17,"
                              "\"tokens_out\":6,\"billed_nano\":93,\"outcome\":\"complete\""));
    assert_null(strstr(f->body, "billed"));
    ask(f, "POST", CHAT,
        "{\"model\":\"sim-strong\",\"max_tokens\":1,\"n\":2,\"stream\":true," QUESTION "}");
    assert_non_null(strstr(f->body, "[{\"index\":1,\"delta\":{\"role\":\"assistant\","));
    assert_non_null(strstr(f->body, "[{\"index\":1,\"delta\":{},"));
    assert_true(simulator_stats(f->sim).billed_nano == 93 + 17 * 3 + 2 * 7);
    ask(f, "POST", CHAT, "{\"model\":\"sim-strong\",\"n\":9," QUESTION "}");
    assert_int_equal(f->http_status, 400);
}

static void prices_that_cannot_be_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"sim-strong",    "sim-strong=1",          "gpt-4=1/2",
                                      "sim-weak=-1/2", "sim-weak=1/2000000000", "sim-weak=a/b"};
    struct sim_price prices[SIM_MODEL_COUNT] = {0};
    struct err err = {0};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_not_equal(sim_prices_parse(bad[i], prices, &err), 0);
    assert_int_equal(sim_prices_parse("", prices, &err), 0);
}

static void bad_requests_are_answered_in_the_dialect(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *body;
        unsigned status;
    } bad[] = {{"", 400},
               {"[]", 400},
               {"{\"model\":\"sim-strong\"}", 400},
               {"{\"model\":\"sim-strong\",\"messages\":[]}", 400},
               {"{\"model\":\"gpt-4\"," QUESTION "}", 404}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ask(f, "POST", CHAT, bad[i].body);
        assert_int_equal(f->http_status, bad[i].status);
        assert_non_null(strstr(f->body, "{\"error\":{\"message\":"));
    }
    ask(f, "GET", "/nothing", NULL);
    assert_int_equal(f->http_status, 404);
}

static void set_faults(struct fixture *f, const char *body)
{
    ask(f, "POST", "/simulator/faults", body);
    assert_int_equal(f->http_status, 200);
}

static void faults_come_as_asked_and_stand_in_the_ledger(void **state)
{
    struct fixture *f = *state;
    set_faults(f, "{\"error_rate\":1}");
    ask(f, "POST", CHAT, "{\"model\":\"sim-weak\"," QUESTION "}");
    assert_int_equal(f->http_status, 500);
    set_faults(f, "{\"error_rate\":0,\"rate_limit_rate\":1}");
    ask(f, "POST", CHAT, "{\"model\":\"sim-weak\"," QUESTION "}");
    assert_int_equal(f->http_status, 429);
    set_faults(f, "{\"rate_limit_rate\":0,\"cut_rate\":1}");
    ask(f, "POST", CHAT, "{\"model\":\"sim-weak\",\"stream\":true," QUESTION "}");
    assert_int_not_equal(f->status, 0);
    assert_non_null(strstr(f->body, "delta"));
    assert_null(strstr(f->body, "[DONE]"));
    ask(f, "POST", CHAT, "{\"model\":\"sim-weak\"," QUESTION "}");
    assert_int_not_equal(f->status, 0);
    set_faults(f, "{\"cut_rate\":0,\"mute_rate\":1}");
    int64_t billed = simulator_stats(f->sim).billed_nano;
    for (int i = 0; i < 2; i++) {
        ask(f, "POST", CHAT,
            i == 0 ? "{\"model\":\"sim-strong\",\"stream\":true," QUESTION "}"
                   : "{\"model\":\"sim-strong\"," QUESTION "}");
        assert_int_not_equal(f->status, 0);
        assert_string_equal(f->body, "");
        assert_true(simulator_stats(f->sim).billed_nano > billed);
        billed = simulator_stats(f->sim).billed_nano;
    }
    set_faults(f, "{\"mute_rate\":0,\"no_usage_rate\":1}");
    ask(f, "POST", CHAT, "{\"model\":\"sim-weak\"," QUESTION "}");
    assert_int_equal(f->http_status, 200);
    assert_null(strstr(f->body, "usage"));
    assert_true(ledger_has(f, "\"outcome\":\"error\""));
    assert_true(ledger_has(f, "\"outcome\":\"rate_limited\""));
    assert_true(ledger_has(f, "\"outcome\":\"cut\""));
    struct simulator_stats s = simulator_stats(f->sim);
    assert_int_equal(s.requests, 7);
    assert_int_equal(s.complete, 1);
    ask(f, "POST", "/simulator/faults", "{\"error_rate\":2}");
    assert_int_equal(f->http_status, 400);
}

static void models_are_listed(void **state)
{
    struct fixture *f = *state;
    ask(f, "GET", "/v1/models", NULL);
    assert_int_equal(f->http_status, 200);
    assert_non_null(strstr(f->body, "\"id\":\"sim-weak\""));
    assert_non_null(strstr(f->body, "\"simulated\":true"));
}

static int global_start(void **state)
{
    struct err err = {0};
    (void)state;
    return fetch_global_init(&err);
}

static int global_stop(void **state)
{
    (void)state;
    fetch_global_deinit();
    return 0;
}

#define RUNNING(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RUNNING(a_whole_answer_says_that_it_is_simulated),
        RUNNING(machines_take_turns_and_say_which_they_are),
        RUNNING(a_stream_ends_with_reason_usage_and_done),
        RUNNING(max_tokens_cuts_the_answer),
        RUNNING(its_book_says_what_it_bills_and_nobody_else_does),
        cmocka_unit_test(prices_that_cannot_be_are_refused),
        RUNNING(bad_requests_are_answered_in_the_dialect),
        RUNNING(faults_come_as_asked_and_stand_in_the_ledger),
        RUNNING(models_are_listed),
    };
    return cmocka_run_group_tests_name("simulator", tests, global_start, global_stop);
}
