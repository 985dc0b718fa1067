#include "dataplane/llm/anthropic.h"

#include <string.h>

#include "tests/lib/fault.h"
#include "tests/unit/dataplane/llm/llm_kit.h"

static void feed(struct llm_kit *f, struct str input, const struct provider_rewrite *rewrite)
{
    llm_kit_feed(f, &provider_anthropic, input, rewrite);
}

static const struct provider_rewrite as_small = {.model = {.data = "small", .len = 5},
                                                 .model_plain = true};

#define EVENT(name, rest) "event: " name "\ndata: {\"type\":\"" name "\"" rest "}\n\n"
#define START(model)                                                                               \
    EVENT("message_start",                                                                         \
          ",\"message\":{\"model\":\"" model "\",\"id\":\"msg_1\",\"type\":\"message\",\"role\":"  \
          "\"assistant\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{"   \
          "\"input_tokens\":4,\"cache_creation_input_tokens\":30,\"cache_read_input_tokens\":200," \
          "\"cache_creation\":{\"ephemeral_5m_input_tokens\":10,\"ephemeral_1h_input_tokens\":20}" \
          ",\"output_tokens\":1,\"service_tier\":\"standard\"},\"novel\":{\"model\":\"kept\"}}")
#define BODY                                                                                       \
    EVENT("content_block_start", ",\"index\":0,\"content_block\":{\"type\":\"thinking\","          \
                                 "\"thinking\":\"\",\"signature\":\"\"}")                          \
    "event: ping\ndata: {\"type\": \"ping\"}\n\n: a comment\n\n" EVENT(                            \
        "content_block_delta",                                                                     \
        ",\"index\":0,\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"hm\"}")                \
        EVENT("content_block_delta",                                                               \
              ",\"index\":0,\"delta\":{\"type\":\"signature_delta\","                              \
              "\"signature\":\"c2ln\"}") EVENT("content_block_stop", ",\"index\":0")               \
            EVENT("content_block_start",                                                           \
                  ",\"index\":1,\"content_block\":{\"type\":\"tool_use\",\"id\":\"t\",\"name\":"   \
                  "\"f\",\"input\":{}}")                                                           \
                EVENT("content_block_delta", ",\"index\":1,\"delta\":{\"type\":"                   \
                                             "\"input_json_delta\",\"partial_json\":\"\"}")        \
                    EVENT("content_block_stop", ",\"index\":1")                                    \
                        EVENT("content_block_start", ",\"index\":2,\"content_block\":{\"type\":"   \
                                                     "\"text\",\"text\":\"\"}")                    \
                            EVENT("content_block_delta",                                           \
                                  ",\"index\":2,\"delta\":{\"type\":\"text_delta\",\"text\":"      \
                                  "\"\xc3\xa9\\ud83d\\ude00\"}")                                   \
                                EVENT("content_block_stop", ",\"index\":2")                        \
                                    EVENT("later_event", ",\"model\":\"x\"")
#define FINISH                                                                                     \
    EVENT("message_delta", ",\"delta\":{\"stop_reason\":\"tool_use\",\"stop_sequence\":null},"     \
                           "\"usage\":{\"output_tokens\":11,\"input_tokens\":5,"                   \
                           "\"output_tokens_details\":{\"thinking_tokens\":3}}")
#define STOP EVENT("message_stop", "")

static const char stream_up[] = START("claude-x-5") BODY FINISH STOP;
static const char stream_down[] = START("small") BODY FINISH;

static void only_the_model_changes_however_the_stream_is_cut(void **state)
{
    struct llm_kit *f = *state;
    size_t len = sizeof stream_up - 1;
    for (size_t cut = 0; cut <= len; cut++) {
        llm_kit_start(f);
        feed(f, (struct str){stream_up, cut}, &as_small);
        feed(f, (struct str){stream_up + cut, len - cut}, &as_small);
        assert_string_equal(buf_cstr(&f->out), stream_down);
        assert_true(str_is(buf_str(&f->reply.end), STOP));
        assert_int_equal(f->count, 16);
        assert_int_equal(f->kinds[0], PROVIDER_OPEN);
        assert_int_equal(f->kinds[2], PROVIDER_OPEN);    /* ping */
        assert_int_equal(f->kinds[3], PROVIDER_SILENT);  /* comment */
        assert_int_equal(f->kinds[4], PROVIDER_CONTENT); /* thinking */
        assert_int_equal(f->kinds[7], PROVIDER_CONTENT); /* tool_use */
        assert_int_equal(f->kinds[8], PROVIDER_OPEN);
        assert_int_equal(f->kinds[11], PROVIDER_CONTENT);
        assert_int_equal(f->kinds[13], PROVIDER_OPEN);
        assert_int_equal(f->kinds[14], PROVIDER_CONTENT);
        assert_int_equal(f->kinds[15], PROVIDER_DONE);
        assert_true(f->reply.done && f->reply.content);
        assert_int_equal(f->reply.finish, CALL_FINISH_TOOL_CALLS);
        assert_int_equal(f->reply.content_bytes, 9); /* hm, f, é and an emoji. */
        assert_true(f->reply.usage.known && !f->reply.usage.suspect);
        assert_int_equal(f->reply.usage.tokens_in, 235);
        assert_int_equal(f->reply.usage.tokens_out, 11); /* Overwritten, never added. */
        assert_int_equal(f->reply.usage.tokens_cached, 200);
        assert_int_equal(f->reply.usage.tokens_cache_write, 30);
        assert_int_equal(f->reply.usage.tokens_cache_write_1h, 20);
        assert_int_equal(f->reply.usage.tokens_reasoning, 3);
    }
}

static void bytes_are_untouched_when_nothing_has_to_change(void **state)
{
    struct llm_kit *f = *state;
    static const char odd[] =
        "event: message_start\r\ndata:  { \"type\" : \"message_start\", \"message\": {\"model\""
        ":\"small\" , \"usage\" : { } } }\r\n\r\nid: 7\ndata: {\"type\":\"content_block_delta\","
        "\ndata: \"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\n\n"
        "data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"citations_delta\"}}\n\n";
    llm_kit_start(f);
    feed(f, (struct str){odd, sizeof odd - 1}, &as_small);
    assert_string_equal(buf_cstr(&f->out), odd);
    assert_int_equal(f->kinds[2], PROVIDER_CONTENT);
    assert_false(f->reply.done);
}

#define PIECE(index, kind, member, text, pad)                                                      \
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":" index         \
    ",\"delta\":{\"type\":\"" kind "\",\"" member "\":\"" text "\"}" pad "}\n\n"

/* Whatever the short cut takes, the strict reader takes and says the same of. */
static void the_short_cut_says_what_the_strict_reader_says(void **state)
{
    struct llm_kit *f = *state;
    static const struct {
        const char *text;
        bool taken;
    } rows[] = {
        {PIECE("0", "text_delta", "text", "Hello there", "        "), true},
        {PIECE("10", "thinking_delta", "thinking", "h", ""), true},
        {PIECE("9999", "input_json_delta", "partial_json", "{}", " "), true},
        {PIECE("0", "text_delta", "text", "", ""), false},
        {PIECE("01", "text_delta", "text", "a", ""), false},
        {PIECE("", "text_delta", "text", "a", ""), false},
        {PIECE("10000", "text_delta", "text", "a", ""), false},
        {PIECE("0", "text_delta", "text", "a\\n", ""), false},
        {PIECE("0", "text_delta", "text", "\xc3\xa9", ""), false},
        {PIECE("0", "text_delta", "text", "a\x01", ""), false},
        {PIECE("0", "text_delta", "partial_json", "a", ""), false},
        {PIECE("0", "text_delta", "text", "a\",\"x\":\"b", ""), false},
        {PIECE("0", "text_delta", "text", "a", "\t"), false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct provider_out out;
        struct str input = str_from(rows[i].text);
        llm_kit_start(f);
        provider_out_start(&out, &f->gathered);
        int taken = anthropic_read_like(&f->reply, &input, &as_small, &out);
        assert_int_equal(taken, rows[i].taken);
        assert_int_equal(input.len, taken ? 0 : strlen(rows[i].text));
        struct provider_reply quick = f->reply;
        llm_kit_start(f); /* Cut, so that it is not at the front of a read. */
        feed(f, str_slice(str_from(rows[i].text), 0, 1), &as_small);
        feed(f, str_slice(str_from(rows[i].text), 1, SIZE_MAX), &as_small);
        if (!taken)
            continue;
        assert_int_equal(f->kinds[0], PROVIDER_CONTENT);
        assert_true(str_eq(out.room[1], buf_str(&f->out)));
        assert_true(quick.content && quick.anything);
        assert_int_equal(quick.text_q8, f->reply.text_q8);
        assert_int_equal(quick.content_bytes, f->reply.content_bytes);
    }
}

static struct str add_member(void *arg, const struct call_usage *usage)
{
    (void)arg;
    assert_true(usage->known);
    return STR("\"steelyard\":{}");
}

static void the_last_usage_takes_the_member_that_was_asked_for(void **state)
{
    struct llm_kit *f = *state;
    struct provider_rewrite rewrite = as_small;
    rewrite.usage_member = add_member;
    llm_kit_start(f);
    feed(f, STR(START("small") FINISH), &rewrite);
    const char *usage = strstr(buf_cstr(&f->out), "\"usage\":{\"steelyard\":{},\"output_tokens\"");
    assert_non_null(usage);
    assert_true(str_starts(buf_str(&f->out), STR(START("small"))));
}

static void usage_is_known_only_with_the_final_count(void **state)
{
    struct llm_kit *f = *state;
    llm_kit_start(f);
    feed(f, STR(START("small") BODY), &as_small);
    assert_false(f->reply.usage.known);
    feed(f, STR(EVENT("message_delta", ",\"delta\":{},\"usage\":{\"output_tokens\":-1}")),
         &as_small);
    assert_true(f->reply.usage.known && f->reply.usage.suspect);
}

static void t08_every_stop_reason_has_its_finish(void **state)
{
    struct llm_kit *f = *state;
    static const struct {
        const char *reason;
        enum call_finish finish;
    } rows[] = {
        {"end_turn", CALL_FINISH_STOP},
        {"stop_sequence", CALL_FINISH_STOP},
        {"pause_turn", CALL_FINISH_STOP},
        {"max_tokens", CALL_FINISH_LENGTH},
        {"model_context_window_exceeded", CALL_FINISH_LENGTH},
        {"tool_use", CALL_FINISH_TOOL_CALLS},
        {"refusal", CALL_FINISH_CONTENT_FILTER},
        {"something_new_that_is_quite_long_indeed", CALL_FINISH_OTHER},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[256];
        struct buf b = {.data = text, .cap = sizeof text, .max = sizeof text};
        assert_int_equal(buf_printf(&b,
                                    "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":"
                                    "\"%s\"}}\n\n",
                                    rows[i].reason),
                         0);
        llm_kit_start(f);
        feed(f, buf_str(&b), &as_small);
        assert_int_equal(f->reply.finish, rows[i].finish);
    }
}

static void b37_an_error_event_and_what_is_no_event_end_the_attempt(void **state)
{
    struct llm_kit *f = *state;
    static const struct {
        const char *text;
        enum provider_event kind;
    } rows[] = {
        {EVENT("error", ",\"error\":{\"type\":\"overloaded_error\",\"message\":\"x\"}"),
         PROVIDER_ERROR},
        {"data: {\"error\":{\"message\":\"x\"}}\n\n", PROVIDER_ERROR},
        {"data: {\"type\":\"ping\"\n\n", PROVIDER_BAD},
        {"data: [DONE]\n\n", PROVIDER_BAD},
        {"data: {\"type\":\"message_start\"}\n\n", PROVIDER_BAD},
        {"data: \"x\"\n\n", PROVIDER_BAD},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        llm_kit_start(f);
        feed(f, str_from(rows[i].text), &as_small);
        assert_int_equal(f->count, 1);
        assert_int_equal(f->kinds[0], rows[i].kind);
        assert_int_equal(f->out.len, 0);
    }
}

#define WHOLE(model, member)                                                                       \
    " {\"model\":\"" model "\",\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\","      \
    "\"content\":[{\"type\":\"text\",\"text\":\"hi\"},{\"type\":\"tool_use\",\"id\":\"t\","        \
    "\"name\":\"f\",\"input\":{\"a\":1}}],\"stop_reason\":\"end_turn\",\"usage\":{" member         \
    "\"input_tokens\":5,\"cache_read_input_tokens\":null,\"output_tokens\":2},\"novel\":1}\n"

static struct str reply_text(struct llm_kit *f, const char *body, struct provider_rewrite rewrite)
{
    static char text[1024];
    struct buf b = {.data = text, .cap = sizeof text, .max = sizeof text};
    struct str pieces[PROVIDER_REPLY_PIECES_MAX];
    size_t count = 0;
    llm_kit_start(f);
    assert_int_equal(anthropic_read_reply(&f->json, &f->reply, str_from(body), &rewrite, &f->arena,
                                          pieces, &count),
                     0);
    assert_true(count <= PROVIDER_REPLY_PIECES_MAX);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(buf_append_str(&b, pieces[i]), 0);
    return buf_str(&b);
}

static void a_whole_reply_passes_with_the_model_that_serves(void **state)
{
    struct llm_kit *f = *state;
    struct provider_rewrite rewrite = as_small;
    assert_true(str_is(reply_text(f, WHOLE("claude", ""), rewrite), WHOLE("small", "")));
    assert_true(f->reply.done && f->reply.content && f->reply.usage.known);
    assert_int_equal(f->reply.finish, CALL_FINISH_STOP);
    assert_int_equal(f->reply.usage.tokens_in, 5);
    assert_int_equal(f->reply.usage.tokens_out, 2);
    assert_int_equal(f->reply.content_bytes, 10);
    rewrite.usage_member = add_member;
    assert_true(
        str_is(reply_text(f, WHOLE("claude", ""), rewrite), WHOLE("small", "\"steelyard\":{},")));
    assert_true(str_is(reply_text(f, WHOLE("small", ""), as_small), WHOLE("small", "")));
}

static void t10_an_error_under_200_is_no_reply(void **state)
{
    struct llm_kit *f = *state;
    static const char *const bad[] = {
        "", "{}", "[]", "{\"type\":\"message\"}", "{\"type\":\"error\",\"error\":{}}", "<html>"};
    struct str pieces[PROVIDER_REPLY_PIECES_MAX];
    size_t count;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        llm_kit_start(f);
        assert_int_equal(anthropic_read_reply(&f->json, &f->reply, str_from(bad[i]), &as_small,
                                              &f->arena, pieces, &count),
                         ERR_PROTOCOL);
    }
}

static void every_failed_allocation_is_told(void **state)
{
    struct llm_kit *f = *state;
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        struct str pieces[PROVIDER_REPLY_PIECES_MAX], input = STR(START("claude") STOP);
        struct provider_out out;
        enum provider_event kind = PROVIDER_SILENT;
        size_t count;
        llm_kit_teardown(state);
        llm_kit_setup(state);
        llm_kit_start(f);
        provider_out_start(&out, &f->gathered);
        fault_arm_alloc(n);
        bool bad = false;
        while (!bad && provider_read_next(&provider_anthropic, &f->json, &f->reply, &input,
                                          &as_small, &out, &kind))
            bad = kind == PROVIDER_BAD;
        int rc = bad ? ERR_NOMEM
                     : anthropic_read_reply(&f->json, &f->reply, STR(WHOLE("claude", "")),
                                            &as_small, &f->arena, pieces, &count);
        fired = fault_disarm();
        assert_int_equal(rc, fired ? ERR_NOMEM : 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(only_the_model_changes_however_the_stream_is_cut,
                                        llm_kit_setup, llm_kit_teardown),
        cmocka_unit_test_setup_teardown(bytes_are_untouched_when_nothing_has_to_change,
                                        llm_kit_setup, llm_kit_teardown),
        cmocka_unit_test_setup_teardown(the_short_cut_says_what_the_strict_reader_says,
                                        llm_kit_setup, llm_kit_teardown),
        cmocka_unit_test_setup_teardown(the_last_usage_takes_the_member_that_was_asked_for,
                                        llm_kit_setup, llm_kit_teardown),
        cmocka_unit_test_setup_teardown(usage_is_known_only_with_the_final_count, llm_kit_setup,
                                        llm_kit_teardown),
        cmocka_unit_test_setup_teardown(t08_every_stop_reason_has_its_finish, llm_kit_setup,
                                        llm_kit_teardown),
        cmocka_unit_test_setup_teardown(b37_an_error_event_and_what_is_no_event_end_the_attempt,
                                        llm_kit_setup, llm_kit_teardown),
        cmocka_unit_test_setup_teardown(a_whole_reply_passes_with_the_model_that_serves,
                                        llm_kit_setup, llm_kit_teardown),
        cmocka_unit_test_setup_teardown(t10_an_error_under_200_is_no_reply, llm_kit_setup,
                                        llm_kit_teardown),
        cmocka_unit_test_setup_teardown(every_failed_allocation_is_told, llm_kit_setup,
                                        llm_kit_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
