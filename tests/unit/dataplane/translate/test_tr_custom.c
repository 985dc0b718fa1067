/* Custom tools: as they are where the provider has them, as functions of one argument where it has
 * not, and back again; whole exchanges, cut anywhere. */
#include "dataplane/translate/custom.h"

#include <string.h>

#include "common/base/mem.h"
#include "dataplane/translate/exchange.h"
#include "dataplane/translate/notes.h"
#include "tests/unit/dataplane/translate/tr_kit.h"

/* ---- the argument, in pieces ---- */

/* In pieces of `step` bytes; 0: whole. */
static void take(const char *json, size_t step, struct buf *out)
{
    struct tr_custom_input in = {.state = TR_CUSTOM_HEAD};
    struct str text = str_from(json);
    buf_clear(out);
    for (size_t at = 0; at<text.len; at += step> 0 ? step : text.len)
        assert_int_equal(
            tr_custom_input_take(&in, str_slice(text, at, at + (step > 0 ? step : text.len)), out),
            0);
    assert_int_equal(tr_custom_input_end(&in, out), 0);
}

static void t02_t06_the_argument_comes_out_whatever_the_pieces(void **state)
{
    (void)state;
    static const struct {
        const char *json, *text;
    } rows[] = {
        {"{\"input\":\"*** Begin Patch\\n+a\\n\"}", "*** Begin Patch\n+a\n"},
        {" {\n \"input\" :\t\"x\" } ", "x"},
        {"{\"input\":\"\"}", ""},
        {"{}", ""},
        {" { } ", ""},
        {"", ""},
        {" ", ""},
        {"{\"input\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}", "\"\\/\b\f\n\r\t"},
        {"{\"input\":\"Gr\\u00fc\xc3\x9f \\ud83d\\ude00\\u0041\"}",
         "Gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80"
         "A"},
        /* What no JSON may hold, and models write. */
        {"{\"input\":\"a\nb\"}", "a\nb"},
        {"{\"input\":\"\\ud83d\"}", "\xef\xbf\xbd"},
        {"{\"input\":\"\\ud83dx\\ude00\\ud83d\\n\"}", "\xef\xbf\xbdx\xef\xbf\xbd\xef\xbf\xbd\n"},
        {"{\"input\":\"\\u12\xc3\xa4\"}", "\xef\xbf\xbd\xc3\xa4"},
        {"{\"input\":\"\\q\"}", "q"},
        {"{\"input\":\"cut of", "cut of"},
        {"{\"input\":\"cut \\u00", "cut "},
        {"{\"input\":\"a\",\"more\":\"b\"}", "a"},
        /* Another shape passes as it is. */
        {"*** Begin Patch", "*** Begin Patch"},
        {"{\"patch\":\"x\"}", "{\"patch\":\"x\"}"},
        {"{\"input\":7}", "{\"input\":7}"},
        {"{\"inp", "{\"inp"},
        {"\"x\"", "\"x\""},
        {"[]", "[]"},
        {"\xc3\xa4", "\xc3\xa4"},
    };
    struct buf out;
    buf_init(&out, 4096);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (size_t step = 0; step < 9; step++) {
            take(rows[i].json, step, &out);
            assert_true(str_is(buf_str(&out), rows[i].text));
        }
    char blanks[200];
    memset(blanks, ' ', sizeof blanks - 1);
    blanks[sizeof blanks - 1] = '\0';
    take(blanks, 3, &out);
    assert_int_equal(out.len, sizeof blanks - 1);
    buf_deinit(&out);
}

/* ---- requests ---- */

#define LARK "start: \\\"x\\\""
#define RESPONSES_TOOLS                                                                            \
    "\"tools\":[{\"type\":\"custom\",\"name\":\"apply.patch\",\"description\":\"Patches.\","       \
    "\"format\":{\"type\":\"grammar\",\"syntax\":\"lark\",\"definition\":\"" LARK "\"}},{"         \
    "\"type\":\"function\",\"name\":\"look\",\"parameters\":{\"type\":\"object\"}}]"
#define CHAT_TOOLS                                                                                 \
    "\"tools\":[{\"type\":\"custom\",\"custom\":{\"name\":\"apply.patch\",\"description\":"        \
    "\"Patches.\",\"format\":{\"type\":\"grammar\",\"grammar\":{\"syntax\":\"lark\","              \
    "\"definition\":\"" LARK "\"}}}},{\"type\":\"function\",\"function\":{\"name\":\"look\"}}]"
#define RESPONSES_ASK                                                                              \
    "{\"model\":\"m\",\"stream\":true,\"input\":[{\"role\":\"user\",\"content\":\"q\"},{\"type\":" \
    "\"custom_tool_call\",\"id\":\"ctc_1\",\"call_id\":\"c1\",\"name\":\"apply.patch\","           \
    "\"input\":\"a\\nb\"},{\"type\":\"custom_tool_call_output\",\"call_id\":\"c1\",\"output\":"    \
    "\"Done.\"},{\"role\":\"user\",\"content\":\"more\"}],\"tool_choice\":{\"type\":\"custom\","   \
    "\"name\":\"apply.patch\"}," RESPONSES_TOOLS "}"
#define CHAT_ASK                                                                                   \
    "{\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{"       \
    "\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c1\",\"type\":\"custom\","  \
    "\"custom\":{\"name\":\"apply.patch\",\"input\":\"a\\nb\"}}]},{\"role\":\"tool\","             \
    "\"tool_call_id\":\"c1\",\"content\":\"Done.\"},{\"role\":\"user\",\"content\":\"more\"}],"    \
    "\"tool_choice\":{\"type\":\"custom\",\"custom\":{\"name\":\"apply.patch\"}}," CHAT_TOOLS "}"

struct sample { /* Of a provider: a call of the tool, as it writes it. */
    const char *host, *model, *stream, *reply;
};
/* "*** Begin\n+ü😀\"\n", as the value of an argument inside a JSON string, and inside JSON. */
#define IN_TEXT   "{\\\"input\\\": \\\"*** Begin\\\\n+\\\\u00fc\\\\ud83d\\\\ude00\\\\\\\"\\\\n\\\"}"
#define IN_TEXT_1 "{\\\"inp"
#define IN_TEXT_2 "ut\\\": \\\"*** Begin\\\\n+\\\\u00fc\\\\ud8"
#define IN_TEXT_3 "3d\\\\ude00\\\\\\\"\\\\n\\\"}"
#define IN_JSON   "{\"input\":\"*** Begin\\n+\\u00fc\\ud83d\\ude00\\\"\\n\"}"
#define AS_SAID   "*** Begin\\n+\xc3\xbc\xf0\x9f\x98\x80\\\"\\n" /* Printed anew. */

#define CHUNK(delta, finish)                                                                       \
    "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":" delta               \
    ",\"finish_reason\":" finish "}]}\n\n"
#define CALL_DELTA(text)                                                                           \
    CHUNK("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"" text "\"}}]}", "null")
#define ANTHROPIC_DELTA(text)                                                                      \
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{"  \
    "\"type\":\"input_json_delta\",\"partial_json\":\"" text "\"}}\n\n"
#define ITEM(type, said, text)                                                                     \
    "{\"id\":\"i1\",\"type\":\"" type "\",\"call_id\":\"x1\",\"name\":\"apply_patch\",\"" said     \
    "\":\"" text "\",\"status\":\"completed\"}"
#define RESPONSES_STREAM(type, said, event, text)                                                  \
    "data: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_c\",\"model\":\"m\","        \
    "\"status\":\"in_progress\",\"output\":[]}}\n\n"                                               \
    "data: {\"type\":\"response.output_item.added\",\"output_index\":0,\"item\":" ITEM(            \
        type, said, "") "}\n\n"                                                                    \
                        "data: {\"type\":\"" event                                                 \
                        "\",\"item_id\":\"i1\",\"output_index\":0,\"delta\":\"" text "\"}\n\n"     \
                        "data: "                                                                   \
                        "{\"type\":\"response.output_item.done\",\"output_index\":0,\"item\":"     \
                        "" ITEM(type, said, text) "}\n\n"                                          \
                                                  "data: "                                         \
                                                  "{\"type\":\"response.completed\","              \
                                                  "\"response\":{\"id\":\"resp_c\",\"model\":"     \
                                                  "\"m\",\"status\":\"completed\",\"output\":["    \
                                                  "" ITEM(type, said,                              \
                                                          text) "],\"usage\":{\"input_tokens\":7," \
                                                                "\"output_tokens\":5}}}\n\n"
#define RESPONSES_REPLY(type, said, text)                                                          \
    "{\"id\":\"resp_c\",\"model\":\"m\",\"status\":\"completed\",\"output\":[" ITEM(type, said,    \
                                                                                    text) "]}"

static const struct sample samples[] = {
    {"groq", "llama-3.3-70b",
     CHUNK("{\"tool_calls\":[{\"index\":0,\"id\":\"x1\",\"type\":\"function\",\"function\":{"
           "\"name\":\"apply_patch\",\"arguments\":\"\"}}]}",
           "null") CALL_DELTA(IN_TEXT_1) CALL_DELTA(IN_TEXT_2) CALL_DELTA(IN_TEXT_3)
         CHUNK("{}", "\"tool_calls\"") "data: [DONE]\n\n",
     "{\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
     "\"content\":null,\"tool_calls\":[{\"id\":\"x1\",\"type\":\"function\",\"function\":{"
     "\"name\":\"apply_patch\",\"arguments\":\"" IN_TEXT "\"}}]},\"finish_reason\":"
     "\"tool_calls\"}]}"},
    /* It has such tools. */
    {"openai", "gpt-5",
     CHUNK("{\"tool_calls\":[{\"index\":0,\"id\":\"x1\",\"type\":\"custom\",\"custom\":{\"name\":"
           "\"apply_patch\",\"input\":\"\"}}]}",
           "null") CHUNK("{\"tool_calls\":[{\"index\":0,\"custom\":{\"input\":\"" AS_SAID "\"}}]}",
                         "null") CHUNK("{}", "\"tool_calls\"") "data: [DONE]\n\n",
     "{\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
     "\"content\":null,\"tool_calls\":[{\"id\":\"x1\",\"type\":\"custom\",\"custom\":{\"name\":"
     "\"apply_patch\",\"input\":\"" AS_SAID "\"}}]},\"finish_reason\":\"tool_calls\"}]}"},
    {"openai", "gpt-4.1",
     RESPONSES_STREAM("function_call", "arguments", "response.function_call_arguments.delta",
                      IN_TEXT),
     RESPONSES_REPLY("function_call", "arguments", IN_TEXT)},
    {"openai", "gpt-5-codex",
     RESPONSES_STREAM("custom_tool_call", "input", "response.custom_tool_call_input.delta",
                      AS_SAID),
     RESPONSES_REPLY("custom_tool_call", "input", AS_SAID)},
    {"anthropic", "claude-sonnet-4-5",
     "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"c\",\"type\":"
     "\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[],\"usage\":{"
     "\"input_tokens\":7,\"output_tokens\":1}}}\n\n"
     "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,"
     "\"content_block\":{\"type\":\"tool_use\",\"id\":\"x1\",\"name\":\"apply_patch\",\"input\":{}}"
     "}\n\n" ANTHROPIC_DELTA(IN_TEXT_1) ANTHROPIC_DELTA(IN_TEXT_2)
         ANTHROPIC_DELTA(IN_TEXT_3) "event: content_block_stop\ndata: "
                                    "{\"type\":\"content_block_stop\",\"index\":0}\n\n"
                                    "event: message_delta\ndata: "
                                    "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":"
                                    "\"tool_use\"},\"usage\":{\"output_tokens\":5}}\n\n"
                                    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
     "{\"id\":\"c\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[{"
     "\"type\":\"tool_use\",\"id\":\"x1\",\"name\":\"apply_patch\",\"input\":" IN_JSON
     "}],\"stop_reason\":\"tool_use\",\"usage\":{\"input_tokens\":7,\"output_tokens\":5}}"},
    {"gemini", "gemini-2.5-flash",
     "data: {\"responseId\":\"c\",\"modelVersion\":\"m\",\"candidates\":[{\"content\":{\"role\":"
     "\"model\",\"parts\":[{\"functionCall\":{\"id\":\"x1\",\"name\":\"apply.patch\","
     "\"args\":" IN_JSON "}}]},\"finishReason\":\"STOP\"}]}\n\n",
     "{\"responseId\":\"c\",\"modelVersion\":\"m\",\"candidates\":[{\"content\":{\"role\":"
     "\"model\",\"parts\":[{\"functionCall\":{\"id\":\"x1\",\"name\":\"apply.patch\","
     "\"args\":" IN_JSON "}}]},\"finishReason\":\"STOP\"}]}"},
    {"cohere", "command-a",
     "data: {\"type\":\"message-start\",\"id\":\"c\",\"delta\":{\"message\":{\"role\":"
     "\"assistant\"}}}\n\n"
     "data: {\"type\":\"tool-call-start\",\"index\":0,\"delta\":{\"message\":{\"tool_calls\":{"
     "\"id\":\"x1\",\"type\":\"function\",\"function\":{\"name\":\"apply_patch\",\"arguments\":"
     "\"\"}}}}}\n\n"
     "data: {\"type\":\"tool-call-delta\",\"index\":0,\"delta\":{\"message\":{\"tool_calls\":{"
     "\"function\":{\"arguments\":\"" IN_TEXT_1 "\"}}}}}\n\n"
     "data: {\"type\":\"tool-call-delta\",\"index\":0,\"delta\":{\"message\":{\"tool_calls\":{"
     "\"function\":{\"arguments\":\"" IN_TEXT_2 IN_TEXT_3 "\"}}}}}\n\n"
     "data: {\"type\":\"tool-call-end\",\"index\":0}\n\n"
     "data: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"TOOL_CALL\"}}\n\n",
     "{\"id\":\"c\",\"finish_reason\":\"TOOL_CALL\",\"message\":{\"role\":\"assistant\","
     "\"tool_calls\":[{\"id\":\"x1\",\"type\":\"function\",\"function\":{\"name\":"
     "\"apply_patch\",\"arguments\":\"" IN_TEXT "\"}}]}}"},
    {"bedrock", "us.anthropic.claude-sonnet-4-5", NULL,
     "{\"output\":{\"message\":{\"role\":\"assistant\",\"content\":[{\"toolUse\":{\"toolUseId\":"
     "\"x1\",\"name\":\"apply_patch\",\"input\":" IN_JSON "}}]}},\"stopReason\":\"tool_use\","
     "\"usage\":{\"inputTokens\":7,\"outputTokens\":5}}"},
};
static const enum dialect dialects[] = {DIALECT_OPENAI,    DIALECT_OPENAI,    DIALECT_RESPONSES,
                                        DIALECT_RESPONSES, DIALECT_ANTHROPIC, DIALECT_GEMINI,
                                        DIALECT_COHERE,    DIALECT_BEDROCK};
#define SAMPLES (sizeof samples / sizeof samples[0])

static const char *const asks[] = {
    [DIALECT_OPENAI] = CHAT_ASK, [DIALECT_RESPONSES] = RESPONSES_ASK};

struct run {
    struct tr_kit *kit;
    struct tr_exchange *x;
    struct provider_reply reply;
    struct buf out;
    struct str body;
    bool bad;
};

static int begin(struct run *run, struct tr_kit *kit, enum dialect caller, size_t sample)
{
    const struct tr_exchange_config config = {
        .caller = caller,
        .provider = dialects[sample],
        .target = {.model = str_from(samples[sample].model),
                   .host = host_find(str_from(samples[sample].host))},
        .answer_id = STR("0198"),
        .answer_model = STR("served"),
        .created_s = 1700000000,
        .stream = true,
    };
    struct call_refusal refusal;
    struct str path;
    *run = (struct run){.kit = kit};
    provider_reply_reset(&run->reply);
    buf_init(&run->out, 1U << 20);
    run->x = tr_exchange_create(&config);
    if (run->x == NULL)
        return ERR_NOMEM;
    int rc = json_parse(&kit->json, str_from(asks[caller]), NULL);
    return rc == 0 ? tr_exchange_write(run->x, &kit->json, &kit->arena, &run->body, &path, &refusal)
                   : rc;
}

static void feed(struct run *run, struct str piece, bool last)
{
    struct provider_out out;
    struct buf gathered;
    enum provider_event kind;
    buf_init(&gathered, 1U << 20);
    provider_out_start(&out, &gathered);
    while (!run->bad && !run->reply.done &&
           tr_exchange_read_next(run->x, &run->kit->json, &run->reply, &piece, &out, &kind))
        run->bad = kind == PROVIDER_BAD || kind == PROVIDER_ERROR;
    if (last && !run->bad)
        tr_exchange_read_end(run->x, &run->kit->json, &run->reply, &out);
    fault_suspend();
    assert_int_equal(buf_append_str(&run->out, buf_str(&gathered)), 0);
    if (last)
        assert_int_equal(buf_append_str(&run->out, buf_str(&run->reply.end)), 0);
    fault_continue();
    buf_deinit(&gathered);
}

static void end(struct run *run)
{
    tr_exchange_destroy(run->x);
    provider_reply_deinit(&run->reply);
    buf_deinit(&run->out);
    tr_kit_reset(run->kit);
}

static bool is_native(size_t sample)
{
    return strncmp(samples[sample].model, "gpt-5", 5) == 0;
}

static bool noted(const struct run *run, const char *code)
{
    const struct tr_terms *terms = tr_exchange_terms(run->x);
    for (uint32_t i = 0; i < terms->note_count; i++)
        if (strcmp(terms->notes[i], code) == 0)
            return true;
    return false;
}

static void assert_has(struct str text, const char *piece)
{
    if (str_search(text, str_from(piece)) < 0)
        fail_msg("%.*s\nhas no %s", (int)text.len, text.data, piece);
}

typedef void (*pair_fn)(struct tr_kit *kit, enum dialect caller, size_t sample);
static void each_pair(void **state, pair_fn fn)
{
    for (int caller = 0; caller <= DIALECT_RESPONSES; caller++)
        for (size_t i = 0; i < SAMPLES; i++)
            fn(*state, (enum dialect)caller, i);
}

static void pair_asked(struct tr_kit *kit, enum dialect caller, size_t sample)
{
    struct run run;
    assert_int_equal(begin(&run, kit, caller, sample), 0);
    const bool native = is_native(sample);
    assert_int_equal(noted(&run, "custom_tool_as_function"), !native);
    assert_int_equal(noted(&run, "unenforced_grammar"), !native);
    assert_int_equal(str_search(run.body, STR("\"custom")) >= 0, native);
    assert_has(run.body, "Done.");
    assert_has(run.body, "Patches.");
    assert_has(run.body, "start: \\\"x\\\"");
    if (!native)
        assert_has(run.body, "written for Lark");
    else if (dialects[sample] == DIALECT_RESPONSES)
        assert_has(run.body,
                   "{\"type\":\"custom_tool_call\",\"call_id\":\"c1\",\"name\":\"apply_patch\","
                   "\"input\":\"a\\nb\"},{\"type\":\"custom_tool_call_output\",\"call_id\":"
                   "\"c1\",\"output\":\"Done.\"}");
    else
        assert_has(run.body, "{\"id\":\"c1\",\"type\":\"custom\",\"custom\":{\"name\":"
                             "\"apply_patch\",\"input\":\"a\\nb\"}}");
    end(&run);
}

static void a_custom_tool_goes_as_such_or_as_a_function(void **state)
{
    each_pair(state, pair_asked);
}

static void a_function_in_its_place_has_one_argument(void **state)
{
    static const char *const pieces[] = {
        "{\"name\":\"apply_patch\",\"description\":\"Patches.\\n\\nThe argument \\\"input\\\" is a "
        "text, given to the tool as it is: no JSON in it. It must follow this grammar, written for "
        "Lark:\\nstart: \\\"x\\\"\",\"input_schema\":{\"type\":\"object\",\"properties\":{"
        "\"input\":{\"type\":\"string\",\"description\":\"The whole input of the tool, as it "
        "is.\"}},\"required\":[\"input\"],\"additionalProperties\":false}}",
        "\"tool_choice\":{\"type\":\"tool\",\"name\":\"apply_patch\"}",
        ("{\"type\":\"tool_use\",\"id\":\"c1\",\"name\":\"apply_patch\",\"input\":{\"input\":"
         "\"a\\nb\"}}"),
        "{\"type\":\"tool_result\",\"tool_use_id\":\"c1\",\"content\":\"Done.\"}",
    };
    struct run run;
    assert_int_equal(begin(&run, *state, DIALECT_RESPONSES, 4), 0);
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++)
        assert_has(run.body, pieces[i]);
    end(&run);
}

/* ---- answers ---- */

static void assert_answer(struct str out, enum dialect caller, bool stream)
{
    assert_true(str_valid_utf8(out));
    assert_int_equal(str_search(out, STR("{\\\"")), -1); /* No arguments in JSON. */
    if (caller == DIALECT_RESPONSES) {
        assert_has(out, "\"type\":\"custom_tool_call\",\"status\":\"completed\",\"call_id\":\"x1\","
                        "\"name\":\"apply.patch\",\"input\":\"" AS_SAID "\"}");
        assert_has(out, "{\"id\":\"ctc_sy1_0198_");
        assert_has(out, "{\"type\":\"custom\",\"name\":\"apply.patch\",\"description\":"
                        "\"Patches.\",\"format\":{\"type\":\"grammar\",\"syntax\":\"lark\","
                        "\"definition\":\"start: \\\"x\\\"\"}}");
        assert_has(out, "\"tool_choice\":{\"type\":\"custom\",\"name\":\"apply.patch\"}");
        if (!stream)
            return;
        assert_has(out, "event: response.custom_tool_call_input.delta\n");
        assert_has(out, "\"item_id\":\"ctc_sy1_0198_0\",\"output_index\":0,\"input\":\"" AS_SAID
                        "\"}\n\n");
        assert_int_equal(str_search(out, STR("function_call_arguments")), -1);
    } else if (stream) {
        assert_has(out, "\"tool_calls\":[{\"index\":0,\"id\":\"x1\",\"type\":\"custom\","
                        "\"custom\":{\"name\":\"apply.patch\",\"input\":\"\"}");
        assert_has(out, "{\"tool_calls\":[{\"index\":0,\"custom\":{\"input\":\"");
        assert_has(out, "\"finish_reason\":\"tool_calls\"");
    } else {
        assert_has(out, "{\"id\":\"x1\",\"type\":\"custom\",\"custom\":{\"name\":\"apply.patch\","
                        "\"input\":\"" AS_SAID "\"}}");
    }
}

static void pair_stream(struct tr_kit *kit, enum dialect caller, size_t sample)
{
    struct run whole;
    struct str stream = str_from(samples[sample].stream != NULL ? samples[sample].stream : "");
    if (stream.len == 0)
        return;
    assert_int_equal(begin(&whole, kit, caller, sample), 0);
    feed(&whole, stream, true);
    assert_false(whole.bad);
    assert_true(whole.reply.done);
    assert_int_equal(whole.reply.finish, CALL_FINISH_TOOL_CALLS);
    assert_answer(buf_str(&whole.out), caller, true);
    for (size_t at = 1; at < stream.len; at += 1 + at / 200) {
        struct run cut;
        assert_int_equal(begin(&cut, kit, caller, sample), 0);
        feed(&cut, str_slice(stream, 0, at), false);
        feed(&cut, str_slice(stream, at, stream.len), true);
        assert_true(str_eq(buf_str(&cut.out), buf_str(&whole.out)));
        end(&cut);
    }
    end(&whole);
}

static void t06_its_call_comes_back_as_one_of_a_custom_tool(void **state)
{
    each_pair(state, pair_stream);
}

static void pair_reply(struct tr_kit *kit, enum dialect caller, size_t sample)
{
    struct run run;
    struct str out;
    assert_int_equal(begin(&run, kit, caller, sample), 0);
    assert_int_equal(tr_exchange_read_reply(run.x, &kit->json, &run.reply,
                                            str_from(samples[sample].reply), &kit->arena, &out),
                     0);
    assert_int_equal(run.reply.finish, CALL_FINISH_TOOL_CALLS);
    assert_answer(out, caller, false);
    end(&run);
}

static void a_whole_answer_says_the_same(void **state)
{
    each_pair(state, pair_reply);
}

static void pair_left(struct tr_kit *kit, enum dialect caller, size_t sample)
{
    struct str stream = str_from(samples[sample].stream != NULL ? samples[sample].stream : "");
    for (size_t at = 0; at < stream.len; at += 37) {
        struct run run;
        uint64_t before = mem_live_bytes();
        assert_int_equal(begin(&run, kit, caller, sample), 0);
        feed(&run, str_slice(stream, 0, at), false);
        assert_false(run.reply.done);
        end(&run);
        arena_pool_trim(&kit->pool, 0);
        json_reset(&kit->json, 0);
        if (at > 0) /* What the kit itself keeps is there by then. */
            assert_true(mem_live_bytes() <= before);
    }
}

static void t23_a_caller_who_leaves_amid_a_stream_leaves_nothing_behind(void **state)
{
    each_pair(state, pair_left);
}

static void pair_faults(struct tr_kit *kit, enum dialect caller, size_t sample)
{
    bool fired = true;
    for (unsigned n = 0; fired && samples[sample].stream != NULL; n++) {
        struct run run;
        arena_pool_trim(&kit->pool, 0);
        json_reset(&kit->json, 0);
        fault_arm_alloc(n);
        int rc = begin(&run, kit, caller, sample);
        if (rc == 0)
            feed(&run, str_from(samples[sample].stream), true);
        fired = fault_disarm();
        assert_true(fired || (rc == 0 && run.reply.done));
        assert_true(rc == 0 || rc == ERR_NOMEM || rc == ERR_TOO_LARGE);
        if (run.x == NULL)
            tr_kit_reset(kit);
        end(&run);
    }
}

static void each_failed_allocation_is_told_or_breaks_the_stream(void **state)
{
    each_pair(state, pair_faults);
}

/* Nobody offered it a custom tool. */
static void a_custom_call_out_of_nowhere_is_no_reply(void **state)
{
    struct tr_kit *kit = *state;
    struct run run = {.kit = kit};
    struct str out, path;
    struct call_refusal refusal;
    const struct tr_exchange_config config = {
        .caller = DIALECT_ANTHROPIC,
        .provider = DIALECT_RESPONSES,
        .target = {.model = STR("gpt-5"), .host = host_find(STR("openai"))},
        .answer_id = STR("0198"),
        .answer_model = STR("served"),
    };
    provider_reply_reset(&run.reply);
    run.x = tr_exchange_create(&config);
    assert_non_null(run.x);
    assert_int_equal(json_parse(&kit->json,
                                STR("{\"model\":\"m\",\"max_tokens\":9,\"messages\":[{\"role\":"
                                    "\"user\",\"content\":\"q\"}]}"),
                                NULL),
                     0);
    assert_int_equal(tr_exchange_write(run.x, &kit->json, &kit->arena, &run.body, &path, &refusal),
                     0);
    assert_int_equal(tr_exchange_read_reply(run.x, &kit->json, &run.reply,
                                            str_from(samples[3].reply), &kit->arena, &out),
                     ERR_PROTOCOL);
    end(&run);
}

static void some_of_the_tools_may_be_allowed(void **state)
{
    struct tr_kit *kit = *state;
    assert_int_equal(
        tr_kit_read(kit, DIALECT_RESPONSES,
                    "{\"model\":\"m\",\"input\":\"q\",\"tool_choice\":{\"type\":\"allowed_tools\","
                    "\"mode\":\"required\",\"tools\":[{\"type\":\"custom\",\"name\":"
                    "\"apply.patch\"}]}," RESPONSES_TOOLS "}"),
        0);
    assert_int_equal(kit->request.tool_count, 1);
    assert_true(kit->request.tools[0].custom);
    assert_true(str_is(kit->request.tools[0].syntax, "lark"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, tr_kit_setup, tr_kit_teardown)
    const struct CMUnitTest tests[] = {
        T(t02_t06_the_argument_comes_out_whatever_the_pieces),
        T(a_custom_tool_goes_as_such_or_as_a_function),
        T(a_function_in_its_place_has_one_argument),
        T(t06_its_call_comes_back_as_one_of_a_custom_tool),
        T(a_whole_answer_says_the_same),
        T(t23_a_caller_who_leaves_amid_a_stream_leaves_nothing_behind),
        T(each_failed_allocation_is_told_or_breaks_the_stream),
        T(a_custom_call_out_of_nowhere_is_no_reply),
        T(some_of_the_tools_may_be_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
