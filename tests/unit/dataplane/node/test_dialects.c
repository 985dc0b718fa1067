/* Callers of three dialects at providers that speak the same one: what passes, what is read, what
 * is kept back, and how each is told what went wrong. */
#include "tests/unit/dataplane/node/translated.h"

#define KEY "x-api-key: " RIG_KEY "\r\n"

#define MESSAGE MESSAGE_OF("small")
#define A_START A_START_OF("small")
#define A_PING  FRAME("ping", "")
#define R_MEMBERS(status, output)                                                                  \
    "\"id\":\"resp_1\",\"object\":\"response\",\"created_at\":5,\"status\":\"" status              \
    "\",\"model\":\"small\",\"output\":[" output "]"
#define R_CREATED                                                                                  \
    FRAME("response.created",                                                                      \
          ",\"sequence_number\":0,\"response\":{" R_MEMBERS("in_progress", "") "}")
#define R_DELTA                                                                                    \
    FRAME("response.output_text.delta", ",\"sequence_number\":1,\"item_id\":\"m\",\"output_"       \
                                        "index\":0,\"content_index\":0,\"delta\":\"hello\"")
#define R_ITEM                                                                                     \
    "{\"type\":\"message\",\"id\":\"m\",\"role\":\"assistant\",\"status\":\"completed\","          \
    "\"content\":[{\"type\":\"output_text\",\"text\":\"hello\",\"annotations\":[]}]}"
#define R_COMPLETE                                                                                 \
    FRAME("response.completed",                                                                    \
          ",\"sequence_number\":2,\"response\":{" R_MEMBERS("completed", R_ITEM) R_USAGE "}")

static const struct rig_options claude = {.types = {"anthropic", "anthropic"}};

static void a_message_goes_up_as_it_came_with_what_belongs_to_its_dialect(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    struct rig_options o = claude;
    o.fixed_header = true;
    rig_start(&r, &o);
    rig_script(&r, 0, (struct rig_script){.reply = whole(JSON_HEAD, MESSAGE)});
    ask(&r,
        MESSAGES "Authorization: Bearer " RIG_KEY "\r\n"
                 "anthropic-version: 2026-10-21\r\nAnthropic-Beta: a-1,b-2\r\nanthropic-new: x\r\n"
                 "openai-beta: no\r\nx-claude-code-session-id: s1\r\n"
                 "x-claude-code-request-class: subagent\r\n",
        ASK_MESSAGE ",\"unknown\":{\"a\":[1, 2]}}", &a);
    assert_int_equal(a.status, 200);
    assert_true(sent(&r, 0, "POST /v1/messages?beta=true HTTP/1.1\r\n"));
    assert_true(sent(&r, 0, "anthropic-version: 2026-10-21\r\n"));
    assert_true(sent(&r, 0, "Anthropic-Beta: a-1,b-2\r\n"));
    assert_true(sent(&r, 0, "anthropic-new: x\r\n"));
    assert_true(sent(&r, 0, "x-title: ours\r\n"));
    assert_true(sent(&r, 0,
                     ",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
                     "\"unknown\":{\"a\":[1, 2]}}"));
    assert_true(sent(&r, 0, "{\"model\":\"up-small\""));
    assert_false(sent(&r, 0, RIG_KEY));
    assert_false(sent(&r, 0, "openai-beta"));
    assert_false(sent(&r, 0, "x-claude-code"));
    assert_true(sent(&r, 0, "x-api-key: "));
    assert_false(sent(&r, 0, "authorization: "));
    assert_string_equal(a.body.data, MESSAGE);
    assert_true(rig_has_header(&a, "x-steelyard-session: "));
    buf_deinit(&a.body);
    rig_stop(&r);
}

static void see_cost(const Steelyard__Telemetry__V1__Decision *row, void *arg)
{
    const Steelyard__Telemetry__V1__Attempt *a = row->attempt[0];
    assert_int_equal(a->in, 110);
    assert_int_equal(a->cache_write, 100);
    assert_int_equal(a->cache_write_1h, 60);
    *(int64_t *)arg = a->cost;
}

static void what_is_kept_an_hour_costs_twice_and_is_written_down(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    int64_t cost = 0;
    struct rig_options o = claude;
    o.write_price = 1250000000;
    rig_start(&r, &o);
    r.on_row = see_cost;
    r.on_row_arg = &cost;
    rig_script(
        &r, 0,
        (struct rig_script){
            .reply = whole(
                JSON_HEAD,
                "{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"small\","
                "\"content\":[{\"type\":\"text\",\"text\":\"hello\"}],\"stop_reason\":\"end_turn\","
                "\"usage\":{\"input_tokens\":10,\"cache_creation_input_tokens\":100,"
                "\"cache_creation\":{\"ephemeral_5m_input_tokens\":40,"
                "\"ephemeral_1h_input_tokens\":60},\"output_tokens\":5}}")});
    ask(&r, MESSAGES, ASK_MESSAGE "}", &a);
    assert_int_equal(a.status, 200);
    buf_deinit(&a.body);
    rig_stop(&r);
    /* A token in is 1000, out 2000, kept for five minutes 1250, for an hour 2000. */
    assert_int_equal(cost, 10 * 1000 + 40 * 1250 + 60 * 2000 + 5 * 2000);
}

static void a_version_is_said_to_anthropic_if_the_caller_said_none(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    rig_start(&r, &claude);
    rig_script(&r, 0, (struct rig_script){.reply = whole(JSON_HEAD, MESSAGE)});
    ask(&r, MESSAGES, ASK_MESSAGE "}", &a);
    assert_int_equal(a.status, 200);
    assert_true(sent(&r, 0, "anthropic-version: 2023-06-01\r\n"));
    buf_deinit(&a.body);
    rig_stop(&r);
}

static void claude_at_vertex_has_its_model_in_the_address(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    const struct rig_options o = {.types = {"vertex-anthropic", "vertex-anthropic"}};
    rig_start(&r, &o);
    rig_script(&r, 0, (struct rig_script){.reply = whole(JSON_HEAD, MESSAGE)});
    ask(&r, MESSAGES, ASK_MESSAGE ",\"unknown\":1}", &a);
    assert_int_equal(a.status, 200);
    assert_true(sent(&r, 0, "/models/up-small:rawPredict?beta=true HTTP/1.1\r\n"));
    assert_true(sent(&r, 0, "\r\n\r\n{\"anthropic_version\":\"vertex-2023-10-16\","));
    assert_true(sent(&r, 0, ",\"unknown\":1}"));
    assert_false(sent(&r, 0, "\"model\""));
    buf_deinit(&a.body);
    rig_stop(&r);
}

static void azure_is_asked_at_its_own_paths_with_its_own_field(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    const struct rig_options o = {.types = {"azure", "azure"}, .version = "2024-10-21"};
    rig_start(&r, &o);
    rig_script(&r, 0, (struct rig_script){.reply = replies_whole()});
    rig_script(
        &r, 0,
        (struct rig_script){.reply = whole(JSON_HEAD, "{\"object\":\"list\",\"data\":[],\"usage\":{"
                                                      "\"prompt_tokens\":2,\"total_tokens\":2}}")});
    ask(&r, CHAT, ASK, &a);
    assert_int_equal(a.status, 200);
    assert_true(
        sent(&r, 0, "/openai/deployments/up-small/chat/completions?api-version=2024-10-21 "));
    assert_true(sent(&r, 0, "\r\napi-key: "));
    assert_false(sent(&r, 0, "authorization: "));
    buf_deinit(&a.body);
    ask(&r, "POST /v1/embeddings HTTP/1.1\r\nHost: x\r\n" KEY,
        "{\"model\":\"small\",\"input\":\"a\"}", &a);
    assert_int_equal(a.status, 200);
    assert_true(sent(&r, 0, "/openai/deployments/up-small/embeddings?api-version=2024-10-21 "));
    buf_deinit(&a.body);
    rig_stop(&r);
}

static void a_stream_of_messages_passes_with_its_pings(void **state)
{
    (void)state;
    static const char events[] = A_START A_PING A_OPEN A_TEXT A_PING A_CLOSE A_DELTA A_STOP;
    for (size_t piece = 0; piece < 2; piece++) {
        struct rig r;
        struct rig_answer a;
        rig_start(&r, &claude);
        rig_script(&r, 0, (struct rig_script){.reply = replies_stream(events), .piece = piece});
        ask(&r, MESSAGES, ASK_MESSAGE ",\"stream\":true}", &a);
        assert_int_equal(a.status, 200);
        assert_true(a.complete);
        assert_string_equal(a.body.data, events);
        assert_int_equal(rig_records(&r), 1);
        buf_deinit(&a.body);
        rig_stop(&r);
    }
}

static void a_stream_of_a_response_passes(void **state)
{
    (void)state;
    static const char events[] = R_CREATED R_DELTA R_COMPLETE;
    struct rig r;
    struct rig_answer a;
    rig_start(&r, NULL);
    rig_script(&r, 0, (struct rig_script){.reply = replies_stream(events)});
    ask(&r, RESPONSES "OpenAI-Organization: o\r\n", ASK_INPUT, &a);
    assert_true(sent(&r, 0, "POST /v1/responses HTTP/1.1\r\n"));
    assert_true(sent(&r, 0, "OpenAI-Organization: o\r\n"));
    assert_true(a.complete);
    assert_string_equal(a.body.data, events);
    buf_deinit(&a.body);
    rig_stop(&r);
}

static void f18_a_stream_of_messages_cut_anywhere_is_complete_or_marked(void **state)
{
    (void)state;
    const struct broken b = {.head = MESSAGES,
                             .body = ASK_MESSAGE ",\"stream\":true}",
                             .events = A_START A_OPEN A_TEXT A_CLOSE A_DELTA A_STOP,
                             .end = A_STOP,
                             .mark = "event: error\ndata: {\"type\":\"error\"",
                             .options = &claude};
    cut_at_each(&b, true);
}

static void f18_a_stream_of_a_response_cut_anywhere_is_complete_or_marked(void **state)
{
    (void)state;
    const struct rig_options plain = {.generation = 1};
    const struct broken b = {.head = RESPONSES,
                             .body = ASK_INPUT,
                             .events = R_CREATED R_DELTA R_COMPLETE,
                             .end = R_COMPLETE,
                             .mark = "event: response.failed\n",
                             .options = &plain};
    cut_at_each(&b, true);
}

static void a_broken_response_is_told_with_its_id_and_the_next_number(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    rig_start(&r, NULL);
    const char *whole = replies_stream(R_CREATED R_DELTA R_COMPLETE);
    const char *last = strstr(whole, "event: response.completed");
    rig_script(&r, 0,
               (struct rig_script){
                   .reply = whole, .reply_len = (size_t)(last - whole), .then = RIG_RESET});
    ask(&r, RESPONSES, ASK_INPUT, &a);
    assert_false(a.complete);
    assert_true(says(&a, "\"type\":\"response.failed\",\"sequence_number\":2,"));
    assert_true(says(&a, "\"response\":{\"id\":\"resp_1\""));
    buf_deinit(&a.body);
    rig_stop(&r);
}

struct noted {
    bool tagged, conversation;
    unsigned count;
};

static void note_row(const Steelyard__Telemetry__V1__Decision *row, void *arg)
{
    struct noted *n = arg;
    n->count++;
    n->conversation = row->conv_hash.len > 0;
    for (size_t i = 0; i < row->n_tags; i++)
        n->tagged |= strcmp(row->tags[i], "request_class=subagent") == 0;
}

static void what_a_coding_agent_says_of_itself_is_read(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    struct noted n = {.count = 0};
    rig_start(&r, &claude);
    r.on_row = note_row;
    r.on_row_arg = &n;
    rig_script(&r, 0, (struct rig_script){.reply = whole(JSON_HEAD, MESSAGE)});
    ask(&r,
        MESSAGES "x-claude-code-session-id: s1\r\nx-claude-code-request-class: subagent\r\n"
                 "x-claude-code-context-compacted: true\r\n",
        ASK_MESSAGE "}", &a);
    assert_int_equal(a.status, 200);
    buf_deinit(&a.body);
    rig_stop(&r);
    assert_int_equal(n.count, 1);
    assert_true(n.tagged && n.conversation);
}

static void a_silent_vendor_is_covered_by_pings(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    struct rig_options o = claude;
    o.first_content_ms = 150;
    rig_start(&r, &o);
    r.shared.settings.stream_head_after_ms = 20;
    r.shared.settings.keepalive_ms = 20;
    rig_script(&r, 0, (struct rig_script){.then = RIG_HOLD});
    rig_script(
        &r, 1,
        (struct rig_script){.reply = replies_stream(A_START A_OPEN A_TEXT A_CLOSE A_DELTA A_STOP)});
    ask(&r, MESSAGES, ASK_MESSAGE ",\"stream\":true}", &a);
    assert_int_equal(a.status, 200);
    assert_true(a.complete);
    assert_true(str_starts(buf_str(&a.body), STR("event: ping\ndata: {\"type\": \"ping\"}\n\n")));
    assert_true(str_ends(buf_str(&a.body), STR(A_STOP)));
    buf_deinit(&a.body);
    rig_stop(&r);
}

static void a_refusal_of_the_vendor_passes_with_its_advice(void **state)
{
    (void)state;
#define NO_HEAD                                                                                    \
    "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nx-should-retry: true\r\n"       \
    "retry-after: 7\r\nAnthropic-RateLimit-Unified-5h-Reset: 12\r\nanthropic-ratelimit-"           \
    "requests-limit: 5\r\n"
#define NO_BODY                                                                                    \
    "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"prompt is "   \
    "too "                                                                                         \
    "long: 9 > 8\"},\"request_id\":\"r\"}"
    struct rig r;
    struct rig_answer a;
    rig_start(&r, &claude);
    rig_script(&r, 0, (struct rig_script){.reply = whole(NO_HEAD, NO_BODY)});
    ask(&r, MESSAGES, ASK_MESSAGE "}", &a);
    assert_int_equal(a.status, 400);
    assert_string_equal(a.body.data, NO_BODY);
    assert_true(rig_has_header(&a, "x-should-retry: true\r\n"));
    assert_true(rig_has_header(&a, "retry-after: 7\r\n"));
    assert_true(rig_has_header(&a, "Anthropic-RateLimit-Unified-5h-Reset: 12\r\n"));
    assert_false(rig_has_header(&a, "anthropic-ratelimit-requests-limit: 5\r\n"));
    buf_deinit(&a.body);
    rig_stop(&r);
}

static void every_dialect_is_told_in_its_own_words(void **state)
{
    (void)state;
    static const struct {
        const char *head, *body;
        unsigned status;
        const char *says, *line;
    } rows[] = {
        {MESSAGES, "{", 400, "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\"",
         "x-should-retry: false\r\n"},
        {MESSAGES, "{\"model\":\"auto\",\"messages\":[]}", 400, "\"request_id\":\"", NULL},
        {MESSAGES,
         "{\"model\":\"no\",\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}",
         404, "\"type\":\"not_found_error\"", NULL},
        {"POST /v1/messages HTTP/1.1\r\nHost: x\r\nx-api-key: no\r\n", ASK_MESSAGE "}", 401,
         "\"type\":\"authentication_error\"", "x-should-retry: false\r\n"},
        {"POST /v1/messages/batches HTTP/1.1\r\nHost: x\r\n" KEY, "{}", 404,
         "\"type\":\"not_found_error\"", NULL},
        {"POST /anthropic/v1/nothing HTTP/1.1\r\nHost: x\r\n" KEY, "{}", 404,
         "\"type\":\"not_found_error\"", NULL},
        {"POST /openai/v1/nothing HTTP/1.1\r\nHost: x\r\n" KEY, "{}", 404,
         "\"code\":\"unknown_url\"", NULL},
        {RESPONSES, "{}", 400, "\"param\":\"model\",\"code\":\"missing_required_parameter\"", NULL},
        {RESPONSES, "{\"model\":\"no\",\"input\":\"a\"}", 404, "\"code\":\"model_not_found\"",
         NULL},
    };
    struct rig r;
    rig_start(&r, &claude);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig_answer a;
        ask(&r, rows[i].head, rows[i].body, &a);
        if (a.status != rows[i].status || !says(&a, rows[i].says) ||
            (rows[i].line != NULL && !rig_has_header(&a, rows[i].line)))
            fail_msg("%zu: %u %.*s", i, a.status, (int)a.body.len, a.body.data);
        buf_deinit(&a.body);
    }
    rig_stop(&r);
}

static void a_down_vendor_is_overloaded_to_its_callers(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    rig_start(&r, &claude);
    for (size_t i = 0; i < 2; i++)
        rig_script(&r, i,
                   (struct rig_script){
                       .reply = whole("HTTP/1.1 529 Overloaded\r\nretry-after: 3\r\n", "{}")});
    ask(&r, MESSAGES, ASK_MESSAGE "}", &a);
    assert_int_equal(a.status, 502);
    assert_true(says(&a, "\"type\":\"api_error\""));
    buf_deinit(&a.body);
    ask(&r, MESSAGES, ASK_MESSAGE "}", &a); /* Both are cooling down now. */
    assert_int_equal(a.status, 529);
    assert_true(says(&a, "\"type\":\"overloaded_error\""));
    assert_true(rig_has_header(&a, "x-should-retry: true\r\n"));
    buf_deinit(&a.body);
    rig_stop(&r);
}

static void limits_have_the_names_of_the_dialect(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    struct rig_options o = claude;
    o.key_rpm = 1;
    o.key_tpm = 100000;
    rig_start(&r, &o);
    rig_script(&r, 0, (struct rig_script){.reply = whole(JSON_HEAD, MESSAGE)});
    ask(&r, MESSAGES, ASK_MESSAGE "}", &a);
    assert_int_equal(a.status, 200);
    assert_true(rig_has_header(&a, "anthropic-ratelimit-requests-limit: 1\r\n"));
    assert_true(rig_has_header(&a, "anthropic-ratelimit-requests-remaining: 0\r\n"));
    assert_true(rig_has_header(&a, "anthropic-ratelimit-input-tokens-limit: 100000\r\n"));
    assert_true(rig_has_header(&a, "anthropic-ratelimit-output-tokens-reset: 20"));
    assert_false(rig_has_header(&a, "x-ratelimit-limit-requests"));
    buf_deinit(&a.body);
    ask(&r, MESSAGES, ASK_MESSAGE "}", &a);
    assert_int_equal(a.status, 429);
    assert_true(says(&a, "\"type\":\"rate_limit_error\""));
    assert_true(rig_has_header(&a, "x-should-retry: true\r\n"));
    buf_deinit(&a.body);
    rig_stop(&r);
}

static void b21_models_have_the_shape_of_who_asks(void **state)
{
    (void)state;
#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n" KEY
#define VERSION   "anthropic-version: 2023-06-01\r\n"
    static const struct {
        const char *request, *body;
        unsigned status;
    } rows[] = {
        {GET("/v1/models?limit=1000") VERSION,
         "\"has_more\":false,\"first_id\":\"auto\",\"last_id\":\"large\"}", 200},
        {GET("/anthropic/v1/models"),
         "{\"data\":[{\"type\":\"model\",\"id\":\"auto\",\"display_name\":\"auto\",\"created_at\":"
         "\"20",
         200},
        {GET("/v1/models?limit=1") VERSION,
         "\"has_more\":true,\"first_id\":\"auto\",\"last_id\":\"auto\"}", 200},
        {GET("/v1/models?limit=1&after_id=auto") VERSION,
         "\"has_more\":true,\"first_id\":\"small\",\"last_id\":\"small\"}", 200},
        {GET("/v1/models?before_id=large&limit=1") VERSION,
         "\"has_more\":true,\"first_id\":\"small\",\"last_id\":\"small\"}", 200},
        {GET("/v1/models?after_id=large") VERSION,
         "{\"data\":[],\"has_more\":false,\"first_id\":null,\"last_id\":null}", 200},
        {GET("/v1/models?limit=0") VERSION, "limit: ", 400},
        {GET("/v1/models/small") VERSION, "{\"type\":\"model\",\"id\":\"small\"", 200},
        {GET("/v1/models/none") VERSION, "not_found_error", 404},
        {GET("/openai/v1/models/small") VERSION, "\"object\":\"model\"", 200},
        {GET("/v1/models?limit=0"), "{\"object\":\"list\"", 200},
    };
    struct rig r;
    rig_start(&r, &claude);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig_answer a;
        char request[512];
        int n = snprintf(request, sizeof request, "%s\r\n", rows[i].request);
        rig_exchange_raw(&r, request, (size_t)n, &a);
        if (a.status != rows[i].status || !says(&a, rows[i].body))
            fail_msg("%zu: %u %.*s", i, a.status, (int)a.body.len, a.body.data);
        buf_deinit(&a.body);
    }
    rig_stop(&r);
}

static void a_count_is_asked_of_who_counts_and_else_our_own(void **state)
{
    (void)state;
#define COUNT "POST /v1/messages/count_tokens?beta=true HTTP/1.1\r\nHost: x\r\n" KEY
#define TO_COUNT(model)                                                                            \
    "{\"model\":\"" model "\",\"messages\":[{\"role\":\"user\",\"content\":\"hello world\"}]}"
    struct rig r;
    struct rig_answer a;
    const struct rig_options o = {.types = {"anthropic", "openai"}};
    rig_start(&r, &o);
    rig_script(&r, 0, (struct rig_script){.reply = whole(JSON_HEAD, "{\"input_tokens\":2095}")});
    ask(&r, COUNT, TO_COUNT("small"), &a);
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body.data, "{\"input_tokens\":2095}");
    assert_true(sent(&r, 0, "POST /v1/messages/count_tokens?beta=true HTTP/1.1\r\n"));
    assert_false(rig_has_header(&a, "x-steelyard-warnings: "));
    buf_deinit(&a.body);
    ask(&r, COUNT, TO_COUNT("large"), &a);
    assert_int_equal(a.status, 200);
    assert_true(str_starts(buf_str(&a.body), STR("{\"input_tokens\":")));
    assert_true(rig_has_header(&a, "x-steelyard-warnings: count_estimated\r\n"));
    assert_int_equal(r.providers[1].requests, 0);
    buf_deinit(&a.body);
    rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_goes_up_as_it_came_with_what_belongs_to_its_dialect),
        cmocka_unit_test(what_is_kept_an_hour_costs_twice_and_is_written_down),
        cmocka_unit_test(a_version_is_said_to_anthropic_if_the_caller_said_none),
        cmocka_unit_test(claude_at_vertex_has_its_model_in_the_address),
        cmocka_unit_test(azure_is_asked_at_its_own_paths_with_its_own_field),
        cmocka_unit_test(a_stream_of_messages_passes_with_its_pings),
        cmocka_unit_test(a_stream_of_a_response_passes),
        cmocka_unit_test(f18_a_stream_of_messages_cut_anywhere_is_complete_or_marked),
        cmocka_unit_test(f18_a_stream_of_a_response_cut_anywhere_is_complete_or_marked),
        cmocka_unit_test(a_broken_response_is_told_with_its_id_and_the_next_number),
        cmocka_unit_test(what_a_coding_agent_says_of_itself_is_read),
        cmocka_unit_test(a_silent_vendor_is_covered_by_pings),
        cmocka_unit_test(a_refusal_of_the_vendor_passes_with_its_advice),
        cmocka_unit_test(every_dialect_is_told_in_its_own_words),
        cmocka_unit_test(a_down_vendor_is_overloaded_to_its_callers),
        cmocka_unit_test(limits_have_the_names_of_the_dialect),
        cmocka_unit_test(b21_models_have_the_shape_of_who_asks),
        cmocka_unit_test(a_count_is_asked_of_who_counts_and_else_our_own),
    };
    int failed = rig_run_for_each_transport(tests, sizeof tests / sizeof tests[0]);
    replies_free();
    return failed;
}
