/* Callers of every dialect at Gemini, Vertex AI and Cohere: asked, answered, streamed and billed.
 */
#include <string.h>

#include "tests/unit/dataplane/node/translated.h"

static const struct rig_options gemini = {.types = {"gemini", "gemini"}};
static const struct rig_options vertex = {.types = {"vertex", "vertex"}};
static const struct rig_options cohere = {.types = {"cohere", "cohere"}};

#define G_USAGE                                                                                    \
    "\"usageMetadata\":{\"promptTokenCount\":10,\"candidatesTokenCount\":4,"                       \
    "\"thoughtsTokenCount\":1},\"responseId\":\"r\""
#define G_TEXT(text, finish)                                                                       \
    "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"" text "\"}]}" finish "}]," G_USAGE "}"
#define G_WHOLE G_TEXT("hello", ",\"finishReason\":\"STOP\"")
#define G_ALL                                                                                      \
    "data: " G_TEXT("hel", "") "\r\n\r\ndata: " G_TEXT("lo",                                       \
                                                       ",\"finishReason\":\"STOP\"") "\r\n\r\n"
#define C_USAGE                                                                                    \
    "\"usage\":{\"billed_units\":{\"input_tokens\":10,\"output_tokens\":5},\"tokens\":{"           \
    "\"input_tokens\":77,\"output_tokens\":5}}"
#define C_WHOLE                                                                                    \
    "{\"id\":\"c\",\"finish_reason\":\"COMPLETE\",\"message\":{\"role\":\"assistant\","            \
    "\"content\":[{\"type\":\"text\",\"text\":\"hello\"}]}," C_USAGE "}"
#define C_ALL                                                                                      \
    FRAME("message-start", ",\"id\":\"c\",\"delta\":{}")                                           \
    FRAME("content-delta",                                                                         \
          ",\"index\":0,\"delta\":{\"message\":{\"content\":{\"text\":\"hello\"}}}")               \
    FRAME("message-end", ",\"delta\":{\"finish_reason\":\"COMPLETE\"," C_USAGE "}")

struct vendor_row {
    const struct rig_options *options;
    const char *whole, *stream;             /* What it answers. */
    const char *path, *stream_path, *shown; /* What it is asked with. */
};
static const struct vendor_row vendors[] = {
    {&gemini, G_WHOLE, G_ALL, "POST /models/up-small:generateContent HTTP/1.1\r\n",
     "POST /models/up-small:streamGenerateContent?alt=sse HTTP/1.1\r\n", "x-goog-api-key: "},
    {&vertex, G_WHOLE, G_ALL,
     "POST /publishers/google/models/up-small:generateContent HTTP/1.1\r\n",
     "POST /publishers/google/models/up-small:streamGenerateContent?alt=sse HTTP/1.1\r\n",
     "authorization: Bearer "},
    {&cohere, C_WHOLE, C_ALL, "POST /v2/chat HTTP/1.1\r\n", "POST /v2/chat HTTP/1.1\r\n",
     "authorization: Bearer "},
};
#define VENDORS (sizeof vendors / sizeof vendors[0])

static void callers_are_answered_whole_by_the_other_vendors(void **state)
{
    static const char *const asks[][3] = {
        {CHAT, ASK, "\"content\":\"hello\""},
        {MESSAGES, ASK_MESSAGE "}", "\"text\":\"hello\""},
        {RESPONSES, "{\"model\":\"auto\",\"input\":\"hi\"}", "\"text\":\"hello\""},
    };
    (void)state;
    for (size_t i = 0; i < VENDORS * 3; i++) {
        const struct vendor_row *v = &vendors[i / 3];
        struct rig r;
        struct rig_answer a;
        struct seen seen;
        start(&r, v->options, &seen);
        rig_script(&r, 0, (struct rig_script){.reply = whole(JSON_HEAD, v->whole)});
        ask(&r, asks[i % 3][0], asks[i % 3][1], &a);
        assert_int_equal(a.status, 200);
        if (!sent(&r, 0, v->path) || !sent(&r, 0, v->shown))
            fail_msg("%.*s", STR_ARG(buf_str(&r.providers[0].last)));
        assert_false(sent(&r, 0, RIG_KEY));
        assert_true(says(&a, asks[i % 3][2]));
        buf_deinit(&a.body);
        stop(&r, &seen);
    }
}

static void callers_are_streamed_to_by_the_other_vendors(void **state)
{
    static const char *const asks[][3] = {
        {CHAT, ASK_STREAM, "data: [DONE]\n\n"},
        {MESSAGES, ASK_MESSAGE ",\"stream\":true}", "\"message_stop\"}\n\n"},
        {RESPONSES, ASK_INPUT, "event: response.completed\n"},
    };
    (void)state;
    for (size_t i = 0; i < VENDORS * 3 * 2; i++) {
        const struct vendor_row *v = &vendors[i / 6];
        struct rig r;
        struct rig_answer a;
        struct seen seen;
        start(&r, v->options, &seen);
        rig_script(&r, 0, (struct rig_script){.reply = replies_stream(v->stream), .piece = i % 2});
        ask(&r, asks[i / 2 % 3][0], asks[i / 2 % 3][1], &a);
        assert_int_equal(a.status, 200);
        assert_true(a.complete);
        assert_true(sent(&r, 0, v->stream_path));
        assert_true(says(&a, asks[i / 2 % 3][2]));
        buf_deinit(&a.body);
        stop(&r, &seen);
    }
}

static void b35_a_key_that_gemini_refuses_with_400_is_left_for_another(void **state)
{
    (void)state;
    static const struct rig_options both = {.types = {"gemini", "openai"}};
    struct rig r;
    struct rig_answer a;
    rig_start(&r, &both);
    rig_script(&r, 0,
               (struct rig_script){
                   .reply = whole(
                       "HTTP/1.1 400 No\r\nContent-Type: application/json\r\n",
                       "[{\"error\":{\"code\":400,\"message\":\"API key not valid.\",\"status\":"
                       "\"INVALID_ARGUMENT\",\"details\":[{\"reason\":\"API_KEY_INVALID\"}]}}]")});
    rig_script(&r, 1, (struct rig_script){.reply = replies_whole()});
    ask(&r, CHAT, ASK, &a);
    assert_int_equal(a.status, 200);
    assert_true(rig_has_header(&a, "x-steelyard-served: two/large\r\n"));
    buf_deinit(&a.body);
    rig_stop(&r);
}

static void f18_a_stream_of_other_vendors_cut_anywhere_is_complete_or_marked(void **state)
{
    (void)state;
    const struct broken rows[] = {
        {CHAT, ASK_STREAM, G_ALL, "data: [DONE]\n\n", "data: {\"error\":", &gemini},
        {MESSAGES, ASK_MESSAGE ",\"stream\":true}", C_ALL, "\"message_stop\"}\n\n",
         "event: error\n", &cohere},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cut_everywhere(&rows[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(callers_are_answered_whole_by_the_other_vendors),
        cmocka_unit_test(callers_are_streamed_to_by_the_other_vendors),
        cmocka_unit_test(b35_a_key_that_gemini_refuses_with_400_is_left_for_another),
        cmocka_unit_test(f18_a_stream_of_other_vendors_cut_anywhere_is_complete_or_marked),
    };
    int failed = rig_run_for_each_transport(tests, sizeof tests / sizeof tests[0]);
    replies_free();
    return failed;
}
