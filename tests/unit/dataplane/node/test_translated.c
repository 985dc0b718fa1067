/* Callers of one dialect at providers of another: asked, answered, streamed, refused and billed. */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/dataplane/node/translated.h"

#define MESSAGE MESSAGE_OF("up-small")
#define A_START A_START_OF("up-small")
#define A_ALL   A_START A_OPEN A_TEXT A_CLOSE A_DELTA A_STOP

static const struct rig_options claude = {.types = {"anthropic", "anthropic"}};
static const struct rig_options mixed = {.types = {"anthropic", "openai"}};

static void a_chat_is_answered_by_a_messages_provider(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    struct seen seen;
    start(&r, &claude, &seen);
    rig_script(&r, 0, (struct rig_script){.reply = whole(JSON_HEAD, MESSAGE)});
    ask(&r, CHAT "openai-beta: x\r\nanthropic-beta: y\r\n", ASK, &a);
    assert_int_equal(a.status, 200);
    assert_true(sent(&r, 0, "POST /v1/messages HTTP/1.1\r\n"));
    assert_true(sent(&r, 0, "anthropic-version: 2023-06-01\r\n"));
    assert_true(sent(&r, 0, "x-api-key: "));
    assert_true(sent(&r, 0, "\"max_tokens\":"));
    assert_false(sent(&r, 0, "openai-beta"));
    assert_false(sent(&r, 0, "anthropic-beta"));
    assert_true(says(&a, "\"object\":\"chat.completion\""));
    assert_true(says(&a, "\"model\":\"small\""));
    assert_true(says(&a, "\"content\":\"hello\""));
    assert_true(says(&a, "\"finish_reason\":\"stop\""));
    assert_true(rig_has_header(&a, "x-steelyard-served: one/small\r\n"));
    buf_deinit(&a.body);
    stop(&r, &seen);
}

static void a_message_is_answered_by_a_chat_provider(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    struct seen seen;
    start(&r, NULL, &seen);
    rig_script(&r, 0, (struct rig_script){.reply = replies_whole()});
    ask(&r, MESSAGES "anthropic-beta: y\r\n", ASK_MESSAGE "}", &a);
    assert_int_equal(a.status, 200);
    assert_true(sent(&r, 0, "POST /v1/chat/completions HTTP/1.1\r\n")); /* Without the query. */
    assert_false(sent(&r, 0, "anthropic-"));
    assert_true(says(&a, "\"type\":\"message\""));
    assert_true(says(&a, "\"stop_reason\":\"end_turn\""));
    assert_true(says(&a, "\"model\":\"small\""));
    buf_deinit(&a.body);
    stop(&r, &seen);
}

static void a_chat_streams_from_a_messages_provider(void **state)
{
    (void)state;
    for (size_t piece = 0; piece < 2; piece++) {
        struct rig r;
        struct rig_answer a;
        struct seen seen;
        start(&r, &claude, &seen);
        rig_script(&r, 0, (struct rig_script){.reply = replies_stream(A_ALL), .piece = piece});
        ask(&r, CHAT, ASK_STREAM, &a);
        assert_int_equal(a.status, 200);
        assert_true(a.complete);
        assert_true(says(&a, "\"content\":\"hello\""));
        assert_true(says(&a, "\"finish_reason\":\"stop\""));
        assert_true(str_ends(buf_str(&a.body), STR("data: [DONE]\n\n")));
        assert_false(says(&a, "prompt_tokens"));
        buf_deinit(&a.body);
        stop(&r, &seen);
    }
}

static void a_message_streams_from_a_chat_provider(void **state)
{
    (void)state;
    for (size_t piece = 0; piece < 2; piece++) {
        struct rig r;
        struct rig_answer a;
        struct seen seen;
        start(&r, NULL, &seen);
        rig_script(
            &r, 0,
            (struct rig_script){.reply = replies_stream(EV_ROLE EV_TEXT EV_STOP EV_USAGE EV_DONE),
                                .piece = piece});
        ask(&r, MESSAGES, ASK_MESSAGE ",\"stream\":true}", &a);
        assert_int_equal(a.status, 200);
        assert_true(a.complete);
        assert_true(sent(&r, 0, "\"include_usage\":true"));
        assert_true(str_starts(buf_str(&a.body), STR("event: message_start\n")));
        assert_true(says(&a, "\"text\":\"hello\""));
        assert_true(says(&a, "\"stop_reason\":\"end_turn\""));
        assert_true(str_ends(buf_str(&a.body), STR("\"message_stop\"}\n\n")));
        buf_deinit(&a.body);
        stop(&r, &seen);
    }
}

#define R_HEAD "\"id\":\"resp_1\",\"object\":\"response\",\"model\":\"gpt-5-codex\",\"status\":"
#define R_ALL                                                                                      \
    FRAME("response.created", ",\"response\":{" R_HEAD "\"in_progress\"}")                         \
    FRAME("response.output_text.delta", ",\"output_index\":0,\"delta\":\"hello\"")                 \
    FRAME("response.completed", ",\"response\":{" R_HEAD "\"completed\"" R_USAGE "}")

static void a_chat_is_answered_by_a_model_that_has_only_responses(void **state)
{
    (void)state;
    const struct rig_options codex = {.small_there = "gpt-5-codex"};
    const char *answer = "{" R_HEAD "\"completed\",\"output\":[{\"type\":\"message\",\"content\":[{"
                         "\"type\":\"output_text\",\"text\":\"hello\"}]}]" R_USAGE "}";
    for (size_t stream = 0; stream < 2; stream++) {
        struct rig r;
        struct rig_answer a;
        struct seen seen;
        start(&r, &codex, &seen);
        rig_script(&r, 0,
                   (struct rig_script){.reply = stream != 0 ? replies_stream(R_ALL)
                                                            : whole(JSON_HEAD, answer)});
        ask(&r, CHAT, stream != 0 ? ASK_STREAM : ASK, &a);
        assert_int_equal(a.status, 200);
        assert_true(a.complete);
        assert_true(sent(&r, 0, "POST /v1/responses HTTP/1.1\r\n"));
        assert_true(sent(&r, 0, "\"model\":\"gpt-5-codex\""));
        assert_true(sent(&r, 0, "\"store\":false"));
        assert_true(says(&a, "\"model\":\"small\""));
        assert_true(says(&a, "\"content\":\"hello\""));
        assert_true(says(&a, "\"finish_reason\":\"stop\""));
        buf_deinit(&a.body);
        stop(&r, &seen);
    }
}

static void f18_a_translated_stream_cut_anywhere_is_complete_or_marked(void **state)
{
    (void)state;
    const struct rig_options plain = {.generation = 1};
    const struct broken rows[] = {
        {CHAT, ASK_STREAM, A_ALL, "data: [DONE]\n\n", "data: {\"error\":", &claude},
        {MESSAGES, ASK_MESSAGE ",\"stream\":true}", EV_ROLE EV_TEXT EV_STOP EV_USAGE EV_DONE,
         "\"message_stop\"}\n\n", "event: error\n", &plain},
        {RESPONSES, ASK_INPUT, A_ALL, "event: response.completed\n", "event: response.failed\n",
         &claude},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cut_everywhere(&rows[i]);
}

static void a_refusal_keeps_the_vendors_words_in_the_callers_form(void **state)
{
    (void)state;
    static const struct {
        const struct rig_options *options;
        const char *head, *body, *reply;
        unsigned status;
        const char *says[2];
    } rows[] = {
        {&claude,
         CHAT,
         ASK,
         "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"prompt "
         "is "
         "too long: 9 tokens > 8 maximum\"}}",
         400,
         {"\"code\":\"context_length_exceeded\"", "9 tokens > 8 maximum"}},
        {NULL,
         MESSAGES,
         ASK_MESSAGE "}",
         "{\"error\":{\"message\":\"no \\\"such\\\" "
         "thing\",\"type\":\"invalid_request_error\",\"param\":"
         "null,\"code\":null}}",
         400,
         {"{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\"",
          "no \\\"such\\\" thing"}},
        {&claude,
         CHAT,
         ASK,
         "<html>no</html>",
         400,
         {"\"error\":{\"message\":", "upstream_refused"}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig r;
        struct rig_answer a;
        rig_start(&r, rows[i].options);
        rig_script(
            &r, 0,
            (struct rig_script){
                .reply = whole("HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n",
                               rows[i].reply)});
        ask(&r, rows[i].head, rows[i].body, &a);
        if (a.status != rows[i].status || !says(&a, rows[i].says[0]) || !says(&a, rows[i].says[1]))
            fail_msg("%zu: %u %.*s", i, a.status, (int)a.body.len, a.body.data);
        assert_false(says(&a, "<html>"));
        assert_true(rig_has_header(&a, "x-should-retry: false\r\n"));
        buf_deinit(&a.body);
        rig_stop(&r);
    }
}

static void b35_a_vendor_that_refuses_our_key_is_left_for_another(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    rig_start(&r, &mixed);
    rig_script(
        &r, 0,
        (struct rig_script){
            .reply = whole("HTTP/1.1 401 No\r\nContent-Type: application/json\r\n",
                           "{\"type\":\"error\",\"error\":{\"type\":\"authentication_error\","
                           "\"message\":\"bad\"}}")});
    rig_script(&r, 1, (struct rig_script){.reply = replies_whole()});
    ask(&r, CHAT, ASK, &a);
    assert_int_equal(a.status, 200);
    assert_true(rig_has_header(&a, "x-steelyard-served: two/large\r\n"));
    assert_true(rig_has_header(&a, "x-steelyard-attempts: 2\r\n"));
    buf_deinit(&a.body);
    rig_stop(&r);
}

/* Some say under 200 that there is too much to do: it is a limit, not a failure. */
static void b37_a_limit_told_in_a_stream_cools_the_deployment(void **state)
{
    (void)state;
    static const struct {
        const struct rig_options *options;
        const char *error;
        uint64_t least_ms, most_ms;
    } rows[] = {
        {&mixed, FRAME("error", ",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"slow\"}"),
         1000, 2000},
        {&mixed,
         FRAME("error", ",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}"), 1,
         1000},
        {NULL,
         "data: {\"error\":{\"message\":\"Please try again in 7s\",\"type\":\"requests\",\"code\":"
         "\"rate_limit_exceeded\"}}\n\n",
         6000, 7000},
        {NULL, "data: {\"error\":{\"message\":\"x\",\"type\":\"server_error\"}}\n\n", 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig r;
        struct rig_answer a;
        rig_start(&r, rows[i].options);
        rig_script(&r, 0, (struct rig_script){.reply = replies_stream(rows[i].error)});
        rig_script(
            &r, 1,
            (struct rig_script){.reply = replies_stream(EV_ROLE EV_TEXT EV_STOP EV_USAGE EV_DONE)});
        ask(&r, CHAT, ASK_STREAM, &a);
        assert_int_equal(a.status, 200);
        assert_true(rig_has_header(&a, "x-steelyard-served: two/large\r\n"));
        assert_in_range(rig_cooldown_ms(&r, 0), rows[i].least_ms, rows[i].most_ms);
        buf_deinit(&a.body);
        rig_stop(&r);
    }
}

/* n has no word in the Messages dialect: who has one serves, and where nobody has it is told. */
static void what_has_no_words_goes_to_who_has_some_or_is_refused(void **state)
{
    (void)state;
    static const char two[] =
        "{\"model\":\"auto\",\"n\":2,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
    struct rig r;
    struct rig_answer a;
    rig_start(&r, &mixed);
    rig_script(&r, 1, (struct rig_script){.reply = replies_whole()});
    ask(&r, CHAT, two, &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(r.providers[0].connections, 0);
    assert_true(rig_has_header(&a, "x-steelyard-attempts: 1\r\n"));
    buf_deinit(&a.body);
    rig_stop(&r);
    rig_start(&r, &claude);
    ask(&r, CHAT, two, &a);
    assert_int_equal(a.status, 400);
    assert_true(says(&a, "\"code\":\"unsupported_parameter\""));
    assert_int_equal(r.providers[0].connections, 0);
    buf_deinit(&a.body);
    rig_stop(&r);
}

/* A provider may be told to refuse what it has no words for; that is found out when it is asked. */
static void what_must_not_be_dropped_is_said_to_another_or_refused(void **state)
{
    (void)state;
    static const char seeded[] =
        "{\"model\":\"auto\",\"seed\":7,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
    struct rig r;
    struct rig_answer a;
    struct rig_options o = mixed;
    o.reject_unsupported = true;
    rig_start(&r, &o);
    rig_script(&r, 1, (struct rig_script){.reply = replies_whole()});
    ask(&r, CHAT, seeded, &a);
    assert_int_equal(a.status, 200);
    assert_true(rig_has_header(&a, "x-steelyard-served: two/large\r\n"));
    assert_false(rig_has_header(&a, "x-steelyard-warnings: "));
    assert_int_equal(r.providers[0].connections, 0);
    buf_deinit(&a.body);
    rig_stop(&r);
    o = claude;
    o.reject_unsupported = true;
    rig_start(&r, &o);
    ask(&r, CHAT, seeded, &a);
    assert_int_equal(a.status, 400);
    assert_true(says(&a, "\"code\":\"unsupported_parameter\""));
    assert_true(says(&a, "\"param\":\"seed\""));
    assert_int_equal(r.providers[0].connections + r.providers[1].connections, 0);
    assert_int_equal(rig_records(&r), 1);
    buf_deinit(&a.body);
    rig_stop(&r);
}

static void a_broken_translated_response_is_told_with_its_id_and_the_next_number(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    rig_start(&r, &claude);
    const char *full = replies_stream(A_ALL);
    const char *last = strstr(full, "event: message_delta");
    rig_script(
        &r, 0,
        (struct rig_script){.reply = full, .reply_len = (size_t)(last - full), .then = RIG_RESET});
    ask(&r, RESPONSES, ASK_INPUT, &a);
    assert_false(a.complete);
    const char *text = buf_cstr(&a.body);
    const char *failed = strstr(text, "event: response.failed\n");
    const char *id = strstr(text, "\"id\":\"resp_");
    assert_true(failed != NULL && id != NULL && id < failed);
    assert_non_null(strstr(failed, "\"id\":\"resp_"));
    assert_memory_equal(strstr(failed, "\"id\":\"resp_"), id, 6 + 5 + 36);
    unsigned long before = 0, number = 0;
    for (const char *at = text; (at = strstr(at, "\"sequence_number\":")) != NULL;) {
        at += 18;
        before = number;
        number = strtoul(at, NULL, 10);
    }
    assert_true(number == before + 1);
    buf_deinit(&a.body);
    rig_stop(&r);
}

static void what_was_dropped_is_named(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    rig_start(&r, &claude);
    rig_script(&r, 0, (struct rig_script){.reply = whole(JSON_HEAD, MESSAGE)});
    ask(&r, CHAT,
        "{\"model\":\"auto\",\"seed\":7,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
        &a);
    assert_int_equal(a.status, 200);
    assert_true(rig_has_header(&a, "x-steelyard-warnings: dropped_seed\r\n"));
    buf_deinit(&a.body);
    rig_stop(&r);
}

static void what_was_dropped_for_one_vendor_is_not_told_of_the_next(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    rig_start(&r, &mixed);
    rig_script(
        &r, 0,
        (struct rig_script){.reply = whole("HTTP/1.1 401 No\r\nContent-Type: "
                                           "application/json\r\n",
                                           "{\"type\":\"error\",\"error\":{\"type\":"
                                           "\"authentication_error\",\"message\":\"bad\"}}")});
    rig_script(&r, 1, (struct rig_script){.reply = replies_whole()});
    ask(&r, CHAT,
        "{\"model\":\"auto\",\"seed\":7,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
        &a);
    assert_int_equal(a.status, 200);
    assert_true(rig_has_header(&a, "x-steelyard-served: two/large\r\n"));
    assert_false(rig_has_header(&a, "x-steelyard-warnings"));
    buf_deinit(&a.body);
    rig_stop(&r);
}

/* "msg_sy1_...", between its quotation marks. */
static void id_of_message(const struct rig_answer *a, char out[128])
{
    ptrdiff_t at = str_search(buf_str(&a->body), STR("msg_sy1_"));
    assert_true(at >= 0);
    size_t len = strcspn(a->body.data + at, "\"");
    assert_true(len < 128);
    memcpy(out, a->body.data + at, len);
    out[len] = '\0';
}

static void who_refers_to_an_answer_of_another_vendor_has_it_put_back(void **state)
{
    (void)state;
    for (size_t stream = 0; stream < 2; stream++) {
        struct rig r;
        struct rig_answer a;
        char id[128], next[1024];
        rig_start(&r, &claude);
        for (size_t i = 0; i < 2; i++)
            rig_script(&r, 0,
                       (struct rig_script){.reply = stream != 0 && i == 0
                                                        ? replies_stream(A_ALL)
                                                        : whole(JSON_HEAD, MESSAGE)});
        ask(&r, RESPONSES, stream != 0 ? ASK_INPUT : "{\"model\":\"auto\",\"input\":\"hi\"}", &a);
        assert_int_equal(a.status, 200);
        id_of_message(&a, id);
        buf_deinit(&a.body);
        snprintf(next, sizeof next,
                 "{\"model\":\"auto\",\"input\":[{\"role\":\"user\",\"content\":\"hi\"},"
                 "{\"type\":\"item_reference\",\"id\":\"%s\"},"
                 "{\"role\":\"user\",\"content\":\"and?\"}]}",
                 id);
        ask(&r, RESPONSES, next, &a);
        assert_int_equal(a.status, 200);
        assert_true(sent(&r, 0, "\"role\":\"assistant\""));
        assert_true(sent(&r, 0, "hello"));
        assert_true(sent(&r, 0, "and?"));
        buf_deinit(&a.body);
        id[strlen(id) - 1] ^= 1; /* One that nobody knows. */
        snprintf(next, sizeof next,
                 "{\"model\":\"auto\",\"input\":[{\"type\":\"item_reference\",\"id\":\"%s\"}]}",
                 id);
        ask(&r, RESPONSES, next, &a);
        assert_int_equal(a.status, 400);
        assert_true(says(&a, "store: false"));
        buf_deinit(&a.body);
        rig_stop(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chat_is_answered_by_a_messages_provider),
        cmocka_unit_test(a_message_is_answered_by_a_chat_provider),
        cmocka_unit_test(a_chat_streams_from_a_messages_provider),
        cmocka_unit_test(a_message_streams_from_a_chat_provider),
        cmocka_unit_test(a_chat_is_answered_by_a_model_that_has_only_responses),
        cmocka_unit_test(f18_a_translated_stream_cut_anywhere_is_complete_or_marked),
        cmocka_unit_test(a_refusal_keeps_the_vendors_words_in_the_callers_form),
        cmocka_unit_test(b35_a_vendor_that_refuses_our_key_is_left_for_another),
        cmocka_unit_test(b37_a_limit_told_in_a_stream_cools_the_deployment),
        cmocka_unit_test(what_has_no_words_goes_to_who_has_some_or_is_refused),
        cmocka_unit_test(what_must_not_be_dropped_is_said_to_another_or_refused),
        cmocka_unit_test(a_broken_translated_response_is_told_with_its_id_and_the_next_number),
        cmocka_unit_test(what_was_dropped_is_named),
        cmocka_unit_test(what_was_dropped_for_one_vendor_is_not_told_of_the_next),
        cmocka_unit_test(who_refers_to_an_answer_of_another_vendor_has_it_put_back),
    };
    int failed = rig_run_for_each_transport(tests, sizeof tests / sizeof tests[0]);
    replies_free();
    return failed;
}
