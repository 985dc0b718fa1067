/* What answers say that made them, in the rows of attempts, and its text as often as it is told. */
#include "dataplane/llm/print.h"
#include "tests/unit/dataplane/node/translated.h"

#define WHOLE_BY(more)                                                                             \
    "{\"id\":\"c\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"up-2026\"" more ","    \
    "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"hello\"},"        \
    "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5}}"
#define EVENT_BY(more, delta, finish)                                                              \
    "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,"                      \
    "\"model\":\"up-2026\"" more ",\"choices\":[{\"index\":0,\"delta\":" delta ","                 \
    "\"finish_reason\":" finish "}]}\n\n"
#define STREAM_BY(more)                                                                            \
    EVENT_BY(more, "{\"role\":\"assistant\",\"content\":\"\"}", "null")                            \
    EVENT_BY(more, "{\"content\":\"hello\"}", "null")                                              \
    EVENT_BY(more, "{\"content\":\" you\"}", "null")                                               \
    EVENT_BY(more, "{}", "\"stop\"") EV_USAGE EV_DONE
#define FP_A ",\"system_fingerprint\":\"fp_a\""
#define FP_B ",\"system_fingerprint\":\"fp_b\""
#define GEMINI                                                                                     \
    "{\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"hello\"}]},"         \
    "\"finishReason\":\"STOP\",\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":10,"          \
    "\"candidatesTokenCount\":5},\"modelVersion\":\"gemini-3-002\",\"responseId\":\"g\"}"
#define R_WHOLE                                                                                    \
    "{\"id\":\"resp_1\",\"object\":\"response\",\"created_at\":1,\"status\":\"completed\","        \
    "\"model\":\"up-2026\",\"output\":[{\"type\":\"message\",\"id\":\"msg_1\",\"status\":"         \
    "\"completed\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":"        \
    "\"hello\",\"annotations\":[]}]}]" R_USAGE "}"

#define SAID_MAX 16
struct said {
    uint32_t count;
    uint64_t print[SAID_MAX];
    char text[SAID_MAX][PRINT_BYTES_MAX + 1];
};

static void hear(const Steelyard__Telemetry__V1__Decision *row, void *arg)
{
    struct said *s = arg;
    assert_true(row->n_attempt == 1 && s->count < SAID_MAX);
    s->print[s->count] = row->attempt[0]->fingerprint;
    (void)str_copy(str_from(row->attempt[0]->fingerprint_text), s->text[s->count],
                   sizeof s->text[0]);
    s->count++;
}

static uint64_t print_of(const char *text)
{
    return prints_note(NULL, str_from(text), STR_NULL);
}

static void answer_with(struct rig *r, const char *reply, const char *head, const char *body)
{
    struct rig_answer a;
    rig_script(r, 0, (struct rig_script){.reply = reply});
    ask(r, head, body, &a);
    assert_int_equal(a.status, 200);
    assert_true(a.complete);
    buf_deinit(&a.body);
}

static void the_row_says_what_made_the_answer_and_its_text_when_it_is_new(void **state)
{
    (void)state;
    static struct said said;
    static const char *const expected[] = {"up-2026 fp_a", "up-2026 fp_a", "up-2026 fp_b",
                                           "up-2026 fp_b", "up-2026 fp_a", "up-2026 fp_b"};
    struct rig r;
    said.count = 0;
    rig_start(&r, NULL);
    r.on_row = hear;
    r.on_row_arg = &said;
    answer_with(&r, whole(JSON_HEAD, WHOLE_BY(FP_A)), CHAT, ASK);
    answer_with(&r, whole(JSON_HEAD, WHOLE_BY(FP_A)), CHAT, ASK);
    answer_with(&r, replies_stream(STREAM_BY(FP_B)), CHAT, ASK_STREAM);
    answer_with(&r, replies_stream(STREAM_BY(FP_B)), CHAT, ASK_STREAM);
    answer_with(&r, replies_stream(STREAM_BY(FP_A)), CHAT, ASK_STREAM);
    answer_with(&r, whole(JSON_HEAD, WHOLE_BY(FP_B)), CHAT, ASK);
    rig_stop(&r);
    assert_int_equal(said.count, 6);
    for (uint32_t i = 0; i < 6; i++) {
        assert_true(said.print[i] == print_of(expected[i]));
        assert_string_equal(said.text[i], i == 0 || i == 2 ? expected[i] : "");
    }
}

/* Another's took its place in the worker's memory before it was told. */
static void a_text_that_was_lost_is_told_with_a_later_answer(void **state)
{
    (void)state;
    static struct said said;
    struct rig r;
    const struct map_entry *e;
    said.count = 0;
    rig_start(&r, NULL);
    r.on_row = hear;
    r.on_row_arg = &said;
    answer_with(&r, whole(JSON_HEAD, WHOLE_BY(FP_A)), CHAT, ASK);
    memset(&r.env.prints, 0, sizeof r.env.prints);
    for (size_t i = 0; (e = map_next(&r.env.upstream.endpoints.by_name, &i)) != NULL;) {
        struct endpoint *there = e->value;
        memset(there->prints, 0, sizeof there->prints);
    }
    answer_with(&r, whole(JSON_HEAD, WHOLE_BY(FP_A)), CHAT, ASK);
    answer_with(&r, whole(JSON_HEAD, WHOLE_BY(FP_A)), CHAT, ASK);
    answer_with(&r, whole(JSON_HEAD, WHOLE_BY(FP_A)), CHAT, ASK);
    rig_stop(&r);
    assert_int_equal(said.count, 4);
    for (uint32_t i = 0; i < 4; i++) {
        assert_true(said.print[i] == print_of("up-2026 fp_a"));
        assert_string_equal(said.text[i], i % 2 == 0 ? "up-2026 fp_a" : "");
    }
}

static void each_dialect_has_its_own_place_for_it(void **state)
{
    (void)state;
    static const struct rig_options anthropic = {.types = {"anthropic", "anthropic"}};
    static const struct rig_options gemini = {.types = {"gemini", "gemini"}};
    const struct {
        const struct rig_options *options;
        const char *reply, *head, *body, *text;
    } cases[] = {
        {&anthropic, whole(JSON_HEAD, MESSAGE_OF("claude-x-20260101")), MESSAGES, ASK_MESSAGE "}",
         "claude-x-20260101"},
        {&anthropic,
         replies_stream(A_START_OF("claude-x-20260101") A_OPEN A_TEXT A_CLOSE A_DELTA A_STOP),
         MESSAGES, ASK_MESSAGE ",\"stream\":true}", "claude-x-20260101"},
        {&anthropic, whole(JSON_HEAD, MESSAGE_OF("claude-x-20260101")), CHAT, ASK,
         "claude-x-20260101"},
        {&gemini, whole(JSON_HEAD, GEMINI), CHAT, ASK, "gemini-3-002"},
        {NULL, whole(JSON_HEAD, WHOLE_BY(FP_A)), MESSAGES, ASK_MESSAGE "}", "up-2026 fp_a"},
        {NULL, replies_stream(STREAM_BY(FP_B)), MESSAGES, ASK_MESSAGE ",\"stream\":true}",
         "up-2026 fp_b"},
        {NULL, whole(JSON_HEAD, R_WHOLE), RESPONSES, "{\"model\":\"auto\",\"input\":\"hi\"}",
         "up-2026"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static struct said said;
        struct rig r;
        said.count = 0;
        rig_start(&r, cases[i].options);
        r.on_row = hear;
        r.on_row_arg = &said;
        answer_with(&r, cases[i].reply, cases[i].head, cases[i].body);
        rig_stop(&r);
        assert_int_equal(said.count, 1);
        assert_string_equal(said.text[0], cases[i].text);
        assert_true(said.print[0] == print_of(cases[i].text));
    }
}

static void an_answer_that_does_not_say_leaves_the_row_empty(void **state)
{
    (void)state;
    static struct said said;
    struct rig r;
    struct rig_answer a;
    said.count = 0;
    rig_start(&r, &(struct rig_options){.candidates = 1});
    r.on_row = hear;
    r.on_row_arg = &said;
    rig_script(&r, 0,
               (struct rig_script){.reply = "HTTP/1.1 400 No\r\nContent-Length: 2\r\n\r\n{}"});
    ask(&r, CHAT, ASK, &a);
    assert_true(a.status >= 400);
    buf_deinit(&a.body);
    rig_stop(&r);
    assert_int_equal(said.count, 1);
    assert_true(said.print[0] == 0);
    assert_string_equal(said.text[0], "");
}

static void a_fingerprint_is_cut_where_its_room_ends(void **state)
{
    (void)state;
    static struct prints prints;
    char text[300];
    memset(text, 'a', sizeof text);
    const struct str all = {text, sizeof text};
    const struct str most = {text, PRINT_BYTES_MAX}, nearly = {text, PRINT_BYTES_MAX - 1};
    const uint64_t print = prints_note(&prints, all, STR("fp"));
    assert_true(print == prints_note(NULL, most, STR_NULL));
    assert_int_equal(prints_text(&prints, print).len, PRINT_BYTES_MAX);
    assert_true(prints_note(NULL, nearly, STR("fp")) == prints_note(NULL, nearly, STR_NULL));
    const struct str both = prints_text(
        &prints, prints_note(&prints, str_slice(all, 0, PRINT_BYTES_MAX - 3), STR("fp")));
    assert_int_equal(both.len, PRINT_BYTES_MAX);
    assert_true(str_ends(both, STR(" fp")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_row_says_what_made_the_answer_and_its_text_when_it_is_new),
        cmocka_unit_test(a_text_that_was_lost_is_told_with_a_later_answer),
        cmocka_unit_test(each_dialect_has_its_own_place_for_it),
        cmocka_unit_test(a_fingerprint_is_cut_where_its_room_ends),
        cmocka_unit_test(an_answer_that_does_not_say_leaves_the_row_empty),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    replies_free();
    return failed;
}
