/* Whole exchanges, for each pair of a caller's and a provider's dialect that this build knows:
 * requests, streams cut anywhere, whole replies, and memory that fails. */
#include "dataplane/translate/exchange.h"

#include <string.h>

#include "common/base/mem.h"
#include "dataplane/translate/notes.h"
#include "tests/unit/dataplane/translate/tr_kit.h"

struct sample { /* Of a provider: the same words in each. */
    const char *host, *model;
    const char *stream, *reply;
};
struct spoken { /* Of a caller. */
    const char *request;
    const char *end; /* Stands in what ends a stream. */
};

static const struct sample samples[DIALECTS] = {
    [DIALECT_OPENAI] =
        {"groq", "llama-3.3-70b",
         "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":"
         "\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n"
         ": alive\n\n"
         "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":"
         "\"Gr\xc3\xbc\xc3\x9f \\ud83d\\ude00\"},\"finish_reason\":null}]}\n\n"
         "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":"
         "[{\"index\":0,\"id\":\"x1\",\"type\":\"function\",\"function\":{\"name\":\"look\","
         "\"arguments\":\"\"}}]},\"finish_reason\":null}]}\n\n"
         "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":"
         "[{\"index\":0,\"function\":{\"arguments\":\"{\\\"at\\\":1}\"}}]},\"finish_reason\":"
         "null}]}\n\n"
         "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},"
         "\"finish_reason\":\"tool_calls\"}]}\n\n"
         "data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":7,"
         "\"completion_tokens\":5,\"total_tokens\":12}}\n\n"
         "data: [DONE]\n\n",
         "{\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":{\"role\":"
         "\"assistant\",\"content\":\"Gr\xc3\xbc\xc3\x9f\",\"tool_calls\":[{\"id\":\"x1\",\"type\":"
         "\"function\",\"function\":{\"name\":\"look\",\"arguments\":\"{\\\"at\\\":1}\"}}]},"
         "\"finish_reason\":\"tool_calls\"}],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":"
         "5,"
         "\"total_tokens\":12}}"},
    [DIALECT_RESPONSES] =
        {"openai", "gpt-4.1",
         "event: response.created\ndata: "
         "{\"type\":\"response.created\",\"response\":{\"id\":\"resp_c\",\"object\":\"response\","
         "\"created_at\":1,\"status\":\"in_progress\",\"model\":\"m\",\"output\":[]},\"sequence_"
         "number\":0}\n\n"
         "event: response.output_item.added\ndata: "
         "{\"type\":\"response.output_item.added\",\"output_index\":0,\"item\":{\"id\":\"msg_1\","
         "\"type\":\"message\",\"role\":\"assistant\",\"status\":\"in_progress\",\"content\":[]},"
         "\"sequence_number\":1}\n\n"
         "event: response.content_part.added\ndata: "
         "{\"type\":\"response.content_part.added\",\"item_id\":\"msg_1\",\"output_index\":0,"
         "\"content_index\":0,\"part\":{\"type\":\"output_text\",\"text\":\"\",\"annotations\":[]},"
         "\"sequence_number\":2}\n\n"
         "event: response.output_text.delta\ndata: "
         "{\"type\":\"response.output_text.delta\",\"item_id\":\"msg_1\",\"output_index\":0,"
         "\"content_index\":0,\"delta\":\"Gr\xc3\xbc\xc3\x9f "
         "\\ud83d\\ude00\",\"sequence_number\":3}\n\n"
         "event: response.output_text.done\ndata: "
         "{\"type\":\"response.output_text.done\",\"item_id\":\"msg_1\",\"output_index\":0,"
         "\"content_index\":0,\"text\":\"Gr\xc3\xbc\xc3\x9f "
         "\\ud83d\\ude00\",\"sequence_number\":4}\n\n"
         "event: response.output_item.done\ndata: "
         "{\"type\":\"response.output_item.done\",\"output_index\":0,\"item\":{\"id\":\"msg_1\","
         "\"type\":\"message\",\"role\":\"assistant\",\"status\":\"completed\",\"content\":[{"
         "\"type\":\"output_text\",\"text\":\"Gr\xc3\xbc\xc3\x9f "
         "\\ud83d\\ude00\",\"annotations\":[]}]},\"sequence_number\":5}\n\n"
         "event: response.output_item.added\ndata: "
         "{\"type\":\"response.output_item.added\",\"output_index\":1,\"item\":{\"id\":\"fc_1\","
         "\"type\":\"function_call\",\"call_id\":\"x1\",\"name\":\"look\",\"arguments\":\"\","
         "\"status\":\"in_progress\"},\"sequence_number\":6}\n\n"
         "event: response.function_call_arguments.delta\ndata: "
         "{\"type\":\"response.function_call_arguments.delta\",\"item_id\":\"fc_1\",\"output_"
         "index\":1,\"delta\":\"{\\\"at\\\":1}\",\"sequence_number\":7}\n\n"
         "event: response.function_call_arguments.done\ndata: "
         "{\"type\":\"response.function_call_arguments.done\",\"item_id\":\"fc_1\",\"output_"
         "index\":1,\"arguments\":\"{\\\"at\\\":1}\",\"sequence_number\":8}\n\n"
         "event: response.output_item.done\ndata: "
         "{\"type\":\"response.output_item.done\",\"output_index\":1,\"item\":{\"id\":\"fc_1\","
         "\"type\":\"function_call\",\"call_id\":\"x1\",\"name\":\"look\",\"arguments\":\"{"
         "\\\"at\\\":1}\",\"status\":\"completed\"},\"sequence_number\":9}\n\n"
         "event: response.completed\ndata: "
         "{\"type\":\"response.completed\",\"response\":{\"id\":\"resp_c\",\"object\":\"response\","
         "\"created_at\":1,\"status\":\"completed\",\"model\":\"m\",\"output\":[{\"id\":\"msg_1\","
         "\"type\":\"message\",\"role\":\"assistant\",\"status\":\"completed\",\"content\":[{"
         "\"type\":\"output_text\",\"text\":\"Gr\xc3\xbc\xc3\x9f "
         "\\ud83d\\ude00\",\"annotations\":[]}]},{\"id\":\"fc_1\",\"type\":\"function_call\","
         "\"call_id\":\"x1\",\"name\":\"look\",\"arguments\":\"{\\\"at\\\":1}\",\"status\":"
         "\"completed\"}],\"usage\":{\"input_tokens\":7,\"input_tokens_details\":{\"cached_"
         "tokens\":0},\"output_tokens\":5,\"output_tokens_details\":{\"reasoning_tokens\":0},"
         "\"total_tokens\":12}},\"sequence_number\":10}\n\n",
         "{\"id\":\"resp_c\",\"object\":\"response\",\"created_at\":1,\"status\":\"completed\","
         "\"model\":\"m\",\"output\":[{\"id\":\"msg_1\",\"type\":\"message\",\"role\":"
         "\"assistant\",\"status\":\"completed\",\"content\":[{\"type\":\"output_text\",\"text\":"
         "\"Gr\xc3\xbc\xc3\x9f\",\"annotations\":[]}]},{\"id\":\"fc_1\",\"type\":\"function_call\","
         "\"call_id\":\"x1\",\"name\":\"look\",\"arguments\":\"{\\\"at\\\":1}\",\"status\":"
         "\"completed\"}],\"usage\":{\"input_tokens\":7,\"input_tokens_details\":{\"cached_"
         "tokens\":0},\"output_tokens\":5,\"output_tokens_details\":{\"reasoning_tokens\":0},"
         "\"total_tokens\":12}}"},
    [DIALECT_ANTHROPIC] =
        {"anthropic", "claude-sonnet-4-5",
         "event: message_start\ndata: "
         "{\"type\":\"message_start\",\"message\":{\"id\":\"c\",\"type\":"
         "\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[],\"stop_reason\":null,"
         "\"usage\":{\"input_tokens\":7,\"output_tokens\":1}}}\n\n"
         "event: ping\ndata: {\"type\":\"ping\"}\n\n"
         "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,"
         "\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n"
         "event: content_block_delta\ndata: "
         "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":"
         "{\"type\":\"text_delta\",\"text\":\"Gr\xc3\xbc\xc3\x9f \\ud83d\\ude00\"}}\n\n"
         "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
         "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,"
         "\"content_block\":{\"type\":\"tool_use\",\"id\":\"x1\",\"name\":\"look\",\"input\":{}}}"
         "\n\n"
         "event: content_block_delta\ndata: "
         "{\"type\":\"content_block_delta\",\"index\":1,\"delta\":"
         "{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"at\\\":1}\"}}\n\n"
         "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":1}\n\n"
         "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":"
         "\"tool_use\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":5}}\n\n"
         "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
         "{\"id\":\"c\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[{"
         "\"type\":\"text\",\"text\":\"Gr\xc3\xbc\xc3\x9f\"},{\"type\":\"tool_use\",\"id\":\"x1\","
         "\"name\":\"look\",\"input\":{\"at\":1}}],\"stop_reason\":\"tool_use\",\"stop_sequence\":"
         "null,\"usage\":{\"input_tokens\":7,\"output_tokens\":5}}"},
    [DIALECT_GEMINI] =
        {"gemini", "gemini-2.5-flash",
         "data: "
         "{\"responseId\":\"c\",\"modelVersion\":\"m\",\"candidates\":[{\"content\":{\"role\":"
         "\"model\",\"parts\":[{\"text\":\"Gr\xc3\xbc\xc3\x9f \\ud83d\\ude00\"}]}}]}\n\n"
         "data: {\"responseId\":\"c\",\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{"
         "\"functionCall\":{\"id\":\"x1\",\"name\":\"look\",\"args\":{\"at\":1}}}]},"
         "\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":7,"
         "\"candidatesTokenCount\":5}}\n\n",
         "{\"responseId\":\"c\",\"modelVersion\":\"m\",\"candidates\":[{\"content\":{\"role\":"
         "\"model\",\"parts\":[{\"text\":\"Gr\xc3\xbc\xc3\x9f\"},{\"functionCall\":{\"id\":\"x1\","
         "\"name\":\"look\",\"args\":{\"at\":1}}}]},\"finishReason\":\"STOP\"}],\"usageMetadata\":{"
         "\"promptTokenCount\":7,\"candidatesTokenCount\":5}}"},
};

static const struct spoken spoken[DIALECT_CALLERS] = {
    [DIALECT_OPENAI] = {"{\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":\"system\","
                        "\"content\":\"s\"},{\"role\":\"user\",\"content\":\"q\"}],\"tools\":[{"
                        "\"type\":\"function\",\"function\":{\"name\":\"look\",\"parameters\":{"
                        "\"type\":\"object\",\"properties\":{\"at\":{\"type\":\"integer\"}}}}}]}",
                        "data: [DONE]\n\n"},
    [DIALECT_RESPONSES] =
        {"{\"model\":\"m\",\"stream\":true,\"instructions\":\"s\",\"input\":\"q\","
         "\"tools\":[{\"type\":\"function\",\"name\":\"look\",\"parameters\":{"
         "\"type\":\"object\",\"properties\":{\"at\":{\"type\":\"integer\"}}}}]}",
         "event: response.completed\n"},
    [DIALECT_ANTHROPIC] = {"{\"model\":\"m\",\"max_tokens\":100,\"stream\":true,\"system\":\"s\","
                           "\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"tools\":[{"
                           "\"name\":\"look\",\"input_schema\":{\"type\":\"object\",\"properties\":"
                           "{\"at\":{\"type\":\"integer\"}}}}]}",
                           "event: message_stop\n"},
};

struct run {
    struct tr_kit *kit;
    struct tr_exchange *x;
    struct provider_reply reply;
    struct provider_out pieces;
    struct buf gathered, out;
    bool bad;
};

static bool is_known(enum dialect caller, enum dialect provider)
{
    return tr_caller_find(caller) != NULL && tr_provider_find(provider) != NULL &&
           samples[provider].stream != NULL;
}

static struct tr_exchange *create(enum dialect caller, enum dialect provider, bool stream)
{
    const struct tr_exchange_config config = {
        .caller = caller,
        .provider = provider,
        .target = {.model = str_from(samples[provider].model),
                   .host = host_find(str_from(samples[provider].host))},
        .answer_id = STR("0198"),
        .answer_model = STR("served"),
        .created_s = 1700000000,
        .tokens_in = 7,
        .stream = stream,
        .want_usage = true,
    };
    return tr_exchange_create(&config);
}

static int write_request(struct run *run, enum dialect caller)
{
    struct str body, path;
    struct call_refusal refusal;
    int rc = json_parse(&run->kit->json, str_from(spoken[caller].request), NULL);
    if (rc == 0)
        rc = tr_exchange_write(run->x, &run->kit->json, &run->kit->arena, &body, &path, &refusal);
    if (rc == 0) {
        fault_suspend();
        struct json json;
        json_init(&json, JSON_NODES_MAX);
        assert_int_equal(json_parse(&json, body, NULL), 0);
        assert_true(path.len > 1 && path.data[0] == '/');
        json_deinit(&json);
        fault_continue();
    }
    return rc;
}

static int begin(struct run *run, struct tr_kit *kit, enum dialect caller, enum dialect provider)
{
    memset(run, 0, sizeof *run);
    run->kit = kit;
    provider_reply_reset(&run->reply);
    buf_init(&run->gathered, 1U << 20);
    buf_init(&run->out, 1U << 20);
    run->x = create(caller, provider, true);
    return run->x == NULL ? ERR_NOMEM : write_request(run, caller);
}

static void flush(struct run *run)
{
    fault_suspend();
    size_t before = run->out.len;
    if (run->pieces.gathering)
        assert_int_equal(buf_append_str(&run->out, buf_str(&run->gathered)), 0);
    assert_int_equal(run->pieces.count, 0);
    assert_int_equal(run->out.len - before, run->pieces.bytes);
    fault_continue();
}

static void feed(struct run *run, struct str piece)
{
    enum provider_event kind;
    provider_out_start(&run->pieces, &run->gathered);
    while (!run->bad && !run->reply.done &&
           tr_exchange_read_next(run->x, &run->kit->json, &run->reply, &piece, &run->pieces, &kind))
        run->bad = kind == PROVIDER_BAD || kind == PROVIDER_ERROR;
    flush(run);
}

static void finish(struct run *run)
{
    provider_out_start(&run->pieces, &run->gathered);
    tr_exchange_read_end(run->x, &run->kit->json, &run->reply, &run->pieces);
    flush(run);
}

static void end(struct run *run)
{
    tr_exchange_destroy(run->x);
    provider_reply_deinit(&run->reply);
    buf_deinit(&run->gathered);
    buf_deinit(&run->out);
    tr_kit_reset(run->kit);
}

/* The whole stream at once: what every other way has to give. */
static void run_whole(struct run *run, struct tr_kit *kit, enum dialect caller,
                      enum dialect provider)
{
    assert_int_equal(begin(run, kit, caller, provider), 0);
    feed(run, str_from(samples[provider].stream));
    finish(run);
}

typedef void (*pair_fn)(struct tr_kit *kit, enum dialect caller, enum dialect provider);

static void each_pair(void **state, pair_fn fn)
{
    for (int caller = 0; caller < DIALECT_CALLERS; caller++)
        for (int provider = 0; provider < DIALECTS; provider++)
            if (is_known((enum dialect)caller, (enum dialect)provider))
                fn(*state, (enum dialect)caller, (enum dialect)provider);
}

static void pair_streams(struct tr_kit *kit, enum dialect caller, enum dialect provider)
{
    struct run run;
    run_whole(&run, kit, caller, provider);
    assert_false(run.bad);
    assert_true(run.reply.done);
    assert_int_equal(run.reply.finish, CALL_FINISH_TOOL_CALLS);
    assert_int_equal(run.reply.usage.tokens_in, 7);
    assert_int_equal(run.reply.usage.tokens_out, 5);
    assert_true(run.reply.content_bytes >= 20);
    struct str out = buf_str(&run.out);
    assert_true(str_valid_utf8(out));
    assert_true(str_search(out, STR("Gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80")) >= 0);
    assert_true(str_search(out, STR("look")) >= 0);
    assert_true(str_search(out, STR("{\\\"at\\\":1}")) >= 0);
    assert_int_equal(str_search(out, str_from(spoken[caller].end)), -1);
    assert_true(str_search(buf_str(&run.reply.end), str_from(spoken[caller].end)) >= 0);
    end(&run);
}

static void a_stream_of_any_dialect_is_one_of_any_other(void **state)
{
    each_pair(state, pair_streams);
}

static void pair_cut(struct tr_kit *kit, enum dialect caller, enum dialect provider)
{
    struct run whole;
    struct str stream = str_from(samples[provider].stream);
    run_whole(&whole, kit, caller, provider);
    for (size_t at = 1; at < stream.len; at++) {
        struct run run;
        assert_int_equal(begin(&run, kit, caller, provider), 0);
        feed(&run, str_slice(stream, 0, at));
        feed(&run, str_slice(stream, at, stream.len));
        finish(&run);
        assert_true(str_eq(buf_str(&run.out), buf_str(&whole.out)));
        assert_true(str_eq(buf_str(&run.reply.end), buf_str(&whole.reply.end)));
        assert_true(run.reply.done);
        assert_true(run.reply.text_q8 == whole.reply.text_q8);
        end(&run);
    }
    struct run bytes;
    assert_int_equal(begin(&bytes, kit, caller, provider), 0);
    for (size_t at = 0; at < stream.len; at++)
        feed(&bytes, str_slice(stream, at, at + 1));
    finish(&bytes);
    assert_true(str_eq(buf_str(&bytes.out), buf_str(&whole.out)));
    end(&bytes);
    end(&whole);
}

static void t06_where_a_stream_is_cut_makes_no_difference(void **state)
{
    each_pair(state, pair_cut);
}

static void pair_prefix(struct tr_kit *kit, enum dialect caller, enum dialect provider)
{
    struct run whole;
    struct str stream = str_from(samples[provider].stream);
    run_whole(&whole, kit, caller, provider);
    for (size_t at = 0; at < stream.len; at++) {
        struct run run;
        assert_int_equal(begin(&run, kit, caller, provider), 0);
        feed(&run, str_slice(stream, 0, at));
        finish(&run);
        assert_false(run.bad);
        /* Either it is marked as whole, which asks for a finish, or what came is a true prefix. */
        assert_true(run.reply.done == (run.reply.finish != CALL_FINISH_NONE));
        assert_true(run.reply.done || run.reply.end.len == 0);
        assert_true(run.reply.done || str_starts(buf_str(&whole.out), buf_str(&run.out)));
        end(&run);
    }
    end(&whole);
}

static void t11_a_stream_that_breaks_off_is_a_true_prefix_and_not_marked_as_whole(void **state)
{
    each_pair(state, pair_prefix);
}

static void pair_reply(struct tr_kit *kit, enum dialect caller, enum dialect provider)
{
    struct run run = {.kit = kit};
    struct str out;
    provider_reply_reset(&run.reply);
    run.x = create(caller, provider, false);
    assert_non_null(run.x);
    assert_int_equal(write_request(&run, caller), 0);
    assert_int_equal(tr_exchange_read_reply(run.x, &kit->json, &run.reply,
                                            str_from(samples[provider].reply), &kit->arena, &out),
                     0);
    assert_true(run.reply.done);
    assert_int_equal(run.reply.finish, CALL_FINISH_TOOL_CALLS);
    assert_int_equal(run.reply.usage.tokens_out, 5);
    assert_int_equal(json_parse(&kit->json, out, NULL), 0);
    assert_true(str_search(out, STR("Gr\xc3\xbc\xc3\x9f")) >= 0);
    assert_true(str_search(out, STR("served")) >= 0);
    assert_int_equal(
        tr_exchange_read_reply(run.x, &kit->json, &run.reply, STR("<html>"), &kit->arena, &out),
        ERR_PROTOCOL);
    end(&run);
}

static void a_whole_reply_of_any_dialect_is_one_of_any_other(void **state)
{
    each_pair(state, pair_reply);
}

static void pair_faults(struct tr_kit *kit, enum dialect caller, enum dialect provider)
{
    bool fired = true;
    struct run whole;
    run_whole(&whole, kit, caller, provider);
    for (unsigned n = 0; fired; n++) {
        struct run run;
        arena_pool_trim(&kit->pool, 0);
        json_reset(&kit->json, 0);
        fault_arm_alloc(n);
        int rc = begin(&run, kit, caller, provider);
        if (rc == 0) {
            feed(&run, str_from(samples[provider].stream));
            if (!run.bad)
                finish(&run);
        }
        fired = fault_disarm();
        if (!fired)
            assert_int_equal(rc, 0);
        if (rc == 0) /* What came is true, or it is said that it is not all. */
            assert_true(run.bad || !run.reply.done ||
                        str_eq(buf_str(&run.out), buf_str(&whole.out)));
        if (run.x == NULL)
            tr_kit_reset(kit);
        end(&run);
    }
    end(&whole);
}

static void each_failed_allocation_is_told_or_breaks_the_stream(void **state)
{
    each_pair(state, pair_faults);
}

static void pair_bad(struct tr_kit *kit, enum dialect caller, enum dialect provider)
{
    struct run run;
    assert_int_equal(begin(&run, kit, caller, provider), 0);
    feed(&run, STR("data: {\"no\n\n"));
    assert_true(run.bad);
    assert_int_equal(run.out.len, 0);
    run.bad = false;
    feed(&run, str_from(samples[provider].stream)); /* Nothing is read any more. */
    finish(&run);
    assert_int_equal(run.out.len, 0);
    assert_false(run.reply.done);
    end(&run);
}

static void a_frame_that_is_none_ends_the_reading(void **state)
{
    each_pair(state, pair_bad);
}

/* A caller of the Responses dialect is told the whole answer again at its end: that is kept. */
static void pair_memory(struct tr_kit *kit, enum dialect caller, enum dialect provider)
{
    struct run run;
    struct str stream = str_from(samples[provider].stream);
    ptrdiff_t words = str_search(stream, STR("Gr\xc3\xbc"));
    if (caller == DIALECT_RESPONSES)
        return;
    size_t to = (size_t)words, from = (size_t)words;
    while (from > 0 && !str_eq(str_slice(stream, from - 2, from), STR("\n\n")))
        from--;
    while (!str_eq(str_slice(stream, to, to + 2), STR("\n\n")))
        to++;
    assert_int_equal(begin(&run, kit, caller, provider), 0);
    uint64_t before = mem_live_bytes();
    feed(&run, str_slice(stream, 0, from));
    for (unsigned i = 0; i < 20000; i++) {
        feed(&run, str_slice(stream, from, to + 2));
        buf_clear(&run.out);
    }
    assert_false(run.bad);
    assert_true(run.reply.content_bytes >= 20000 * 5);
    assert_true(mem_live_bytes() < before + 65536);
    end(&run);
}

static void a_long_stream_takes_no_more_memory_than_a_short_one(void **state)
{
    each_pair(state, pair_memory);
}

static void a_dialect_that_is_not_there_is_no_exchange(void **state)
{
    (void)state;
    const struct tr_exchange_config config = {.caller = DIALECTS, .provider = DIALECT_OPENAI};
    assert_null(tr_exchange_create(&config));
    tr_exchange_destroy(NULL);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, tr_kit_setup, tr_kit_teardown)
    const struct CMUnitTest tests[] = {
        T(a_stream_of_any_dialect_is_one_of_any_other),
        T(t06_where_a_stream_is_cut_makes_no_difference),
        T(t11_a_stream_that_breaks_off_is_a_true_prefix_and_not_marked_as_whole),
        T(a_whole_reply_of_any_dialect_is_one_of_any_other),
        T(each_failed_allocation_is_told_or_breaks_the_stream),
        T(a_frame_that_is_none_ends_the_reading),
        T(a_long_stream_takes_no_more_memory_than_a_short_one),
        T(a_dialect_that_is_not_there_is_no_exchange),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
