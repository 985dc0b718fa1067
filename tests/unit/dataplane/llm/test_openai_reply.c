#include "dataplane/llm/openai.h"
#include "dataplane/llm/openai_shape.h"

#include <string.h>

#include "dataplane/llm/tokens.h"
#include "tests/lib/fault.h"
#include "tests/unit/dataplane/llm/llm_kit.h"

#define CHUNK(model, delta, finish)                                                                \
    "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"" model    \
    "\",\"choices\":[{\"index\":0,\"delta\":" delta ",\"finish_reason\":" finish "}]}\n\n"
#define USAGE(model, in, out)                                                                      \
    "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"" model    \
    "\",\"choices\":[],\"usage\":{\"prompt_tokens\":" in ",\"completion_tokens\":" out "}}\n\n"

/* One read by the reader without short cuts. */
static void feed_strictly(struct llm_kit *f, struct str input,
                          const struct provider_rewrite *rewrite)
{
    struct sse_event event;
    enum provider_event kind;
    llm_kit_feed_begin(f);
    while (sse_reader_next(&f->reply.sse, &input, &event)) {
        assert_int_equal(
            openai_read_event_strictly(&f->json, &f->reply, &event, rewrite, &f->pieces, &kind), 0);
        if (event.copied)
            assert_int_equal(provider_out_gather(&f->pieces), 0);
        llm_kit_note(f, kind);
    }
    llm_kit_feed_end(f);
}

static void feed(struct llm_kit *f, struct str input, const struct provider_rewrite *rewrite)
{
    llm_kit_feed(f, &provider_openai, input, rewrite);
}

static struct str add_member(void *arg, const struct call_usage *usage)
{
    (void)arg;
    assert_true(usage->known);
    return STR("\"steelyard\":{}");
}

static const char *const stream_up =
    CHUNK("gpt-x-2026", "{\"role\":\"assistant\",\"content\":\"\"}",
          "null") ": note\n\n" CHUNK("gpt-x-2026", "{\"content\":\"Hel\"}", "null")
        CHUNK("gpt-x-2026", "{\"content\":\"lo\"}", "null") CHUNK("gpt-x-2026", "{}", "\"stop\"")
            USAGE("gpt-x-2026", "9", "2") "data: [DONE]\n\n";
static const char *const stream_down =
    CHUNK("small", "{\"role\":\"assistant\",\"content\":\"\"}", "null")
        CHUNK("small", "{\"content\":\"Hel\"}", "null")
            CHUNK("small", "{\"content\":\"lo\"}", "null") CHUNK("small", "{}", "\"stop\"");

static void events_pass_with_the_model_that_serves_however_they_are_cut(void **state)
{
    struct llm_kit *f = *state;
    const struct provider_rewrite rewrite = {.model = STR("small"), .model_plain = true};
    size_t len = strlen(stream_up);
    for (size_t cut = 0; cut <= len; cut++) {
        llm_kit_start(f);
        feed(f, (struct str){stream_up, cut}, &rewrite);
        feed(f, (struct str){stream_up + cut, len - cut}, &rewrite);
        assert_string_equal(buf_cstr(&f->out), stream_down);
        assert_int_equal(f->count, 7);
        assert_int_equal(f->kinds[0], PROVIDER_OPEN);
        assert_int_equal(f->kinds[1], PROVIDER_SILENT);
        assert_int_equal(f->kinds[2], PROVIDER_CONTENT);
        assert_int_equal(f->kinds[4], PROVIDER_CONTENT);
        assert_int_equal(f->kinds[5], PROVIDER_USAGE);
        assert_int_equal(f->kinds[6], PROVIDER_DONE);
        assert_true(f->reply.done && f->reply.content);
        assert_int_equal(f->reply.finish, CALL_FINISH_STOP);
        assert_int_equal(f->reply.usage.tokens_in, 9);
        assert_int_equal(f->reply.usage.tokens_out, 2);
        assert_int_equal(f->reply.content_bytes, 5);
    }
}

static void bytes_are_untouched_when_nothing_has_to_change(void **state)
{
    struct llm_kit *f = *state;
    const struct provider_rewrite rewrite = {
        .model = STR("m"), .model_plain = true, .want_usage = true};
    static const char odd[] = "event: x\r\ndata:  {\"model\" : \"m\" , \"choices\":[{\"delta\":{ "
                              "\"content\":\"a\"}}]}\r\n\r\n"
                              "id: 7\ndata: "
                              "{\"choices\":[],\"model\":\"m\",\"usage\":{\"prompt_tokens\":1,"
                              "\"completion_tokens\":1}}\n\n";
    llm_kit_start(f);
    feed(f, STR(""), &rewrite);
    feed(f, (struct str){odd, sizeof odd - 1}, &rewrite);
    assert_string_equal(buf_cstr(&f->out), odd);
}

static void usage_gets_the_member_the_caller_asked_for(void **state)
{
    struct llm_kit *f = *state;
    const struct provider_rewrite rewrite = {
        .model = STR("m"), .model_plain = true, .want_usage = true, .usage_member = add_member};
    llm_kit_start(f);
    feed(f, str_from(USAGE("up", "3", "4")), &rewrite);
    assert_string_equal(
        buf_cstr(&f->out),
        "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":"
        "\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,"
        "\"steelyard\":{}}}\n\n");
}

static void data_on_several_lines_is_one_event(void **state)
{
    struct llm_kit *f = *state;
    const struct provider_rewrite rewrite = {.model = STR("m"), .model_plain = true};
    llm_kit_start(f);
    feed(f,
         STR("data: {\"model\":\"up\",\ndata: \"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n"),
         &rewrite);
    assert_int_equal(f->kinds[0], PROVIDER_CONTENT);
    llm_kit_start(f);
    feed(f,
         STR("data: {\"model\":\"up\",\ndata: \"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n"),
         &rewrite);
    struct buf first;
    buf_init(&first, 4096);
    assert_int_equal(buf_append_str(&first, buf_str(&f->out)), 0);
    llm_kit_start(f);
    feed(f, buf_str(&first), &rewrite); /* What was written reads as the same event. */
    assert_int_equal(f->kinds[0], PROVIDER_CONTENT);
    assert_true(str_search(buf_str(&f->out), STR("\"m\"")) >= 0);
    buf_deinit(&first);
}

static void b37_events_that_are_none_of_the_dialect_are_told_apart(void **state)
{
    struct llm_kit *f = *state;
    const struct provider_rewrite rewrite = {.model = STR("m"), .model_plain = true};
    static const struct {
        const char *event;
        enum provider_event kind;
    } rows[] = {
        {"data: {\"error\":{\"message\":\"boom\"}}\n\n", PROVIDER_ERROR},
        {"data: {\"error\":\"boom\"}\n\n", PROVIDER_ERROR},
        {"data: {\"choices\":\n\n", PROVIDER_BAD},
        {"data: not json\n\n", PROVIDER_BAD},
        {"data: []\n\n", PROVIDER_BAD},
        {"data: {}\n\n", PROVIDER_BAD},
        {"data: {\"choices\":7}\n\n", PROVIDER_BAD},
        {"data: {\"choices\":[{\"delta\":{\"content\":\"\xff\"}}]}\n\n", PROVIDER_BAD},
        {"data: {\"choices\":[],\"prompt_filter_results\":[]}\n\n", PROVIDER_OPEN},
        {"data: {\"error\":null,\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n",
         PROVIDER_CONTENT},
        {"data: "
         "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"function\":{"
         "\"name\":"
         "\"f\",\"arguments\":\"\"}}]}}]}\n\n",
         PROVIDER_CONTENT},
        {"data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\n", PROVIDER_CONTENT},
        {"data: {\"choices\":[{\"delta\":{\"refusal\":\"no\"}}]}\n\n", PROVIDER_CONTENT},
        {"data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}]}\n\n", PROVIDER_CONTENT},
        {"data:[DONE]\n\n", PROVIDER_DONE},
        {"data: [DONE] \r\n\r\nx", PROVIDER_DONE},
        {"event: ping\n\n", PROVIDER_SILENT},
        {": comment\n\n", PROVIDER_SILENT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        llm_kit_start(f);
        feed(f, str_from(rows[i].event), &rewrite);
        assert_int_equal(f->kinds[0], rows[i].kind);
    }
}

static void assert_usage(struct llm_kit *f, const char *usage, bool known, bool suspect)
{
    char body[512];
    struct buf b = {.data = body, .cap = sizeof body, .max = sizeof body};
    struct str pieces[PROVIDER_REPLY_PIECES_MAX];
    size_t count;
    const struct provider_rewrite rewrite = {.model = STR("m"), .model_plain = true};
    llm_kit_start(f);
    assert_int_equal(buf_printf(&b,
                                "{\"model\":\"m\",\"choices\":[{\"message\":{\"content\":"
                                "\"0123456789 0123456789 0123456789 0123456789 0123456789 "
                                "0123456789 0123456789\"}}],\"usage\":%s}",
                                usage),
                     0);
    assert_int_equal(
        openai_read_reply(&f->json, &f->reply, buf_str(&b), &rewrite, &f->arena, pieces, &count),
        0);
    provider_usage_check(&f->reply.usage, 5, f->reply.text_q8, f->reply.content_bytes);
    assert_int_equal(f->reply.usage.known, known);
    assert_int_equal(f->reply.usage.suspect, suspect);
}

static void b38_usage_that_cannot_be_true_is_replaced_by_our_own_count(void **state)
{
    struct llm_kit *f = *state;
    assert_usage(f, "{\"prompt_tokens\":7,\"completion_tokens\":20}", true, false);
    assert_usage(f, "{\"prompt_tokens\":0,\"completion_tokens\":0}", true, false);
    assert_int_equal(f->reply.usage.tokens_in, 0);
    assert_usage(f, "null", false, false);
    assert_usage(f, "{}", false, false);
    assert_usage(f, "{\"prompt_tokens\":7}", false, false);
    static const char *const untrue[] = {
        "{\"prompt_tokens\":-7,\"completion_tokens\":20}",
        "{\"prompt_tokens\":7,\"completion_tokens\":20.5}",
        "{\"prompt_tokens\":7,\"completion_tokens\":\"20\"}",
        "{\"prompt_tokens\":7,\"completion_tokens\":99999999999}",
        "{\"prompt_tokens\":7,\"completion_tokens\":99999999999999999999}",
        "{\"prompt_tokens\":0,\"completion_tokens\":20}",
        "{\"prompt_tokens\":7,\"completion_tokens\":0}",
        "{\"prompt_tokens\":7,\"completion_tokens\":1}",
    };
    for (size_t i = 0; i < sizeof untrue / sizeof untrue[0]; i++) {
        assert_usage(f, untrue[i], true, true);
        assert_int_equal(f->reply.usage.tokens_in, 5);
        assert_int_equal(f->reply.usage.tokens_out, tokens_round(f->reply.text_q8));
    }
}

static void details_of_usage_are_parts_of_the_whole(void **state)
{
    struct llm_kit *f = *state;
    assert_usage(f,
                 "{\"prompt_tokens\":10,\"completion_tokens\":20,\"prompt_tokens_details\":"
                 "{\"cached_tokens\":12},\"completion_tokens_details\":{\"reasoning_tokens\":5}}",
                 true, false);
    assert_int_equal(f->reply.usage.tokens_cached, 10); /* More cached than there were. */
    assert_int_equal(f->reply.usage.tokens_reasoning, 5);
    assert_usage(f,
                 "{\"prompt_tokens\":10,\"completion_tokens\":20,\"total_tokens\":35,"
                 "\"completion_tokens_details\":{\"reasoning_tokens\":5}}",
                 true, false);
    assert_int_equal(f->reply.usage.tokens_out, 25); /* Left out of the sum by this host. */
}

static void a_whole_reply_keeps_its_bytes_but_the_model(void **state)
{
    struct llm_kit *f = *state;
    const struct provider_rewrite rewrite = {.model = STR("small"), .model_plain = true};
    const struct str body =
        STR("{ \"id\":\"x\",\"model\": \"up\" ,\"choices\":[{\"message\":{\"content\":"
            "\"a\\u00e9\"},\"finish_reason\":\"tool_calls\"}],\"odd\":1.50}");
    struct str pieces[PROVIDER_REPLY_PIECES_MAX];
    size_t count;
    llm_kit_start(f);
    assert_int_equal(
        openai_read_reply(&f->json, &f->reply, body, &rewrite, &f->arena, pieces, &count), 0);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(buf_append_str(&f->out, pieces[i]), 0);
    assert_string_equal(
        buf_cstr(&f->out),
        "{ \"id\":\"x\",\"model\": \"small\" ,\"choices\":[{\"message\":{\"content\":"
        "\"a\\u00e9\"},\"finish_reason\":\"tool_calls\"}],\"odd\":1.50}");
    assert_int_equal(f->reply.finish, CALL_FINISH_TOOL_CALLS);
}

static void what_needs_no_change_is_one_span_of_what_was_read(void **state)
{
    struct llm_kit *f = *state;
    const struct provider_rewrite rewrite = {.model = STR("m"), .model_plain = true};
    const char *events = CHUNK("m", "{\"role\":\"assistant\",\"content\":\"\"}", "null")
        CHUNK("m", "{\"content\":\"a\"}", "null") CHUNK("m", "{\"content\":\"b\"}", "null")
            CHUNK("m", "{}", "\"stop\"");
    llm_kit_start(f);
    feed(f, str_from(events), &rewrite);
    assert_false(f->pieces.gathering);
    assert_int_equal(f->pieces.count, 1);
    assert_ptr_equal(f->pieces.room[1].data, events);
    assert_int_equal(f->pieces.room[1].len, strlen(events));
}

static void the_models_id_takes_the_place_of_the_name_without_a_copy(void **state)
{
    struct llm_kit *f = *state;
    const struct provider_rewrite rewrite = {.model = STR("small"), .model_plain = true};
    const char *two =
        CHUNK("up", "{\"content\":\"a\"}", "null") CHUNK("up", "{\"content\":\"b\"}", "null");
    llm_kit_start(f);
    feed(f, str_from(two), &rewrite);
    assert_false(f->pieces.gathering);
    assert_int_equal(f->pieces.count, 5);
    assert_ptr_equal(f->pieces.room[2].data, rewrite.model.data);
    assert_string_equal(buf_cstr(&f->out), CHUNK("small", "{\"content\":\"a\"}", "null")
                                               CHUNK("small", "{\"content\":\"b\"}", "null"));
    llm_kit_start(f);
    for (int i = 0; i < 8; i++) /* More than there are pieces. */
        assert_int_equal(buf_append_text(&f->out, two), 0);
    struct buf many = f->out;
    buf_init(&f->out, 1U << 20);
    feed(f, buf_str(&many), &rewrite);
    assert_true(f->pieces.gathering);
    struct str rest = buf_str(&f->out);
    for (int i = 0; i < 16; i++) {
        const char *one = i % 2 == 0 ? CHUNK("small", "{\"content\":\"a\"}", "null")
                                     : CHUNK("small", "{\"content\":\"b\"}", "null");
        assert_true(str_starts(rest, str_from(one)));
        rest = str_slice(rest, strlen(one), rest.len);
    }
    assert_int_equal(rest.len, 0);
    buf_deinit(&many);
}

/* What the short cut must not take differently, and forms it takes. */
static const char *const odd_events[] = {
    "data: {\"choices\":[{\"delta\":{\"content\":\"a\\n\\\"b\\u00e9\"}}],\"model\":\"x\"}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"\xc3\xa9\xe4\xb8\xad\"}}],\"model\":\"x\"}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"\xc3\"}}],\"model\":\"x\"}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"model\":\"x\",\"model\":\"x\"}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"a\",\"content\":\"b\"}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"mod\\u0065l\":\"x\"}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"model\":null}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"model\":\"m\\/x\"}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}},],\"model\":\"x\"}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"model\":\"x\",}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"model\":\"x\"}}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"model\":\"x\"\n\n",
    "data: {\"choices\":[{\"index\":01,\"delta\":{\"content\":\"a\"}}]}\n\n",
    "data: {\"choices\":[{\"index\":-1,\"delta\":{\"content\":\"a\"}}]}\n\n",
    "data: {\"choices\":[{\"index\":1.5e3,\"delta\":{\"content\":\"a\"}}]}\n\n",
    "data: {\"choices\":[{\"delta\":null,\"finish_reason\":\"odd\"}],\"created\":\"x\"}\n\n",
    "data: "
    "{\"choices\":[{\"delta\":{\"content\":\"a\"},\"logprobs\":{\"content\":[{\"b\":1}]}}]}\n\n",
    "data: {\"choices\":[],\"usage\":null}\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\n\n",
    "data: "
    "{\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":9,"
    "\"completion_tokens_details\":{\"reasoning_tokens\":6}}}\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":2,"
    "\"prompt_cache_hit_tokens\":4,\"prompt_cache_miss_tokens\":6}}\n\n",
    "data: "
    "{\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1099511627777}}\n\n",
    "data: "
    "{\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1,\"queue\":0.5}}\n\n",
    "data: "
    "{\"choices\":[],\"x_groq\":{\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":5}}}\n\n",
    "data: "
    "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"type\":\"function\","
    "\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}},{\"index\":1}]}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"tool_calls\":[7]}}]}\n\n",
    "data: { \"choices\" : [ { \"delta\" : { \"content\" : \"a\" } } ] , \"model\" : \"x\" } \n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"error\":{\"message\":\"no\"}}\n\n",
    "data: "
    "{\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"error\":null,\"obfuscation\":\"zz\"}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"a\tb\"}}]}\n\n",
    "data: {\"choices\":[7]}\n\n",
    "data: {\"model\":\"x\"}\n\n",
    "data: \n\n",
    "data: {\n\n",
    "data:{\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"model\":\"x\"}\r\n\r\n",
    "id: 1\rdata: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\rdata: \"model\":\"x\"}\r\r",
};

static void assert_same_usage(const struct call_usage *a, const struct call_usage *b)
{
    assert_int_equal(a->known, b->known);
    assert_int_equal(a->suspect, b->suspect);
    assert_int_equal(a->tokens_in, b->tokens_in);
    assert_int_equal(a->tokens_out, b->tokens_out);
    assert_int_equal(a->tokens_cached, b->tokens_cached);
    assert_int_equal(a->tokens_cache_write, b->tokens_cache_write);
    assert_int_equal(a->tokens_reasoning, b->tokens_reasoning);
}

static struct str add_any(void *arg, const struct call_usage *usage)
{
    (void)arg;
    (void)usage;
    return STR("\"steelyard\":{}");
}

static void b37_the_short_cut_says_what_the_strict_reader_says(void **state)
{
    struct llm_kit *f = *state;
    const struct provider_rewrite rewrites[] = {
        {.model = STR("m"), .model_plain = true},
        {.model = STR("x"), .model_plain = true, .want_usage = true},
        {.model = STR("q\"t"), .want_usage = true},
        {.model = STR("m"), .model_plain = true, .want_usage = true, .usage_member = add_any},
    };
    struct buf strict;
    buf_init(&strict, 1U << 20);
    for (size_t w = 0; w < sizeof rewrites / sizeof rewrites[0]; w++)
        for (size_t i = 0; i < sizeof odd_events / sizeof odd_events[0]; i++) {
            struct provider_reply reply;
            llm_kit_start(f);
            feed_strictly(f, str_from(odd_events[i]), &rewrites[w]);
            buf_clear(&strict);
            assert_int_equal(buf_append_str(&strict, buf_str(&f->out)), 0);
            reply = f->reply;
            enum provider_event kind = f->kinds[0];
            for (size_t cut = 0; cut <= strlen(odd_events[i]); cut++) {
                struct str input = str_from(odd_events[i]);
                llm_kit_start(f);
                feed(f, str_slice(input, 0, cut), &rewrites[w]);
                feed(f, str_slice(input, cut, input.len), &rewrites[w]);
                assert_int_equal(f->kinds[0], kind);
                assert_true(str_eq(buf_str(&f->out), buf_str(&strict)));
                assert_int_equal(f->reply.text_q8, reply.text_q8);
                assert_int_equal(f->reply.content_bytes, reply.content_bytes);
                assert_int_equal(f->reply.finish, reply.finish);
                assert_int_equal(f->reply.content, reply.content);
                assert_same_usage(&f->reply.usage, &reply.usage);
            }
        }
    buf_deinit(&strict);
}

/* Events that fit a shape, nearly fit it, or look like it. */
static void b37_a_shape_takes_only_what_says_the_same(void **state)
{
    struct llm_kit *f = *state;
    const struct provider_rewrite rewrite = {.model = STR("m"), .model_plain = true};
#define LIKE(id, created, text, rest)                                                              \
    "data: {\"id\":\"" id "\",\"created\":" created                                                \
    ",\"model\":\"up\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" text                   \
    "\"},\"finish_reason\":null}]" rest "}\n\n"
    static const char *const events[] = {
        LIKE("a", "1", "x", ""),
        LIKE("a", "1", "another text, longer than sixteen bytes", ""),
        LIKE("bc", "234", "y", ""),
        LIKE("bc", "234", "\\n\xc3\xa9", ""),
        LIKE("", "0", "\\u00e9", ""),
        LIKE("a", "1", "", ""),
        LIKE("a", "01", "x", ""),
        LIKE("a", "1.5", "x", ""),
        LIKE("a", "-1", "x", ""),
        LIKE("a", "null", "x", ""),
        LIKE("a", "", "x", ""),
        LIKE("a", "1", "x", ",\"id\":\"b\""),
        LIKE("a", "1", "x", ",\"obfuscation\":\"q\""),
        LIKE("a", "1", "x", ",\"obfuscation\":\"rst\""),
        LIKE("a", "1", "x\"},\"finish_reason\":\"stop\"},{\"delta\":{\"content\":\"y", ""),
        LIKE("a", "1", "x\",\"content\":\"y", ""),
        LIKE("a", "1", "x\xc3", ""),
        LIKE("a", "1", "x\\", ""),
        LIKE("a\",\"model\":\"x", "1", "x", ""),
        LIKE("a\t", "1", "x", ""),
        LIKE("a", "1", "x", "}"),
        LIKE("a", "1", "x", "]"),
        CHUNK("up", "{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"a\"}}]}", "null"),
        CHUNK("up", "{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"bcd\"}}]}",
              "null"),
        CHUNK("up", "{\"tool_calls\":[{\"index\":1,\"function\":{\"arguments\":\"bcd\"}}]}",
              "null"),
        CHUNK("up", "{\"role\":\"assistant\",\"content\":\"a\"}", "null"),
        CHUNK("m", "{\"reasoning_content\":\"a\"}", "null"),
        CHUNK("m", "{\"reasoning_content\":\"bc\"}", "null"),
        CHUNK("m", "{\"reasoning_content\":\"bc\",\"content\":\"a\"}", "null"),
        CHUNK("m", "{\"content\":\"bc\"}", "\"length\""),
        CHUNK("m", "{\"content\":\"bc\"}", "null"),
    };
#undef LIKE
    struct buf strict;
    buf_init(&strict, 1U << 20);
    const size_t count = sizeof events / sizeof events[0];
    for (size_t turn = 0; turn < 2 * count; turn++) /* Each behind each distance of others. */
        for (size_t i = 0; i < count; i++) {
            struct str event = str_from(events[(i * (turn + 1) + turn) % count]);
            llm_kit_start(f);
            feed_strictly(f, event, &rewrite);
            struct provider_reply reply = f->reply;
            enum provider_event kind = f->kinds[0];
            buf_clear(&strict);
            assert_int_equal(buf_append_str(&strict, buf_str(&f->out)), 0);
            llm_kit_start(f);
            feed(f, event, &rewrite);
            assert_int_equal(f->count, 1);
            assert_int_equal(f->kinds[0], kind);
            assert_true(str_eq(buf_str(&f->out), buf_str(&strict)));
            assert_int_equal(f->reply.text_q8, reply.text_q8);
            assert_int_equal(f->reply.content_bytes, reply.content_bytes);
            assert_int_equal(f->reply.finish, reply.finish);
            assert_int_equal(f->reply.content, reply.content);
        }
    buf_deinit(&strict);
}

/* Whole replies one after the other, each against the strict reader. */
static void b38_a_shape_reads_the_counts_of_each_reply(void **state)
{
    struct llm_kit *f = *state;
    const struct provider_rewrite rewrite = {.model = STR("small"), .model_plain = true};
#define REPLY(id, text, finish, in, out, total, more)                                              \
    "{\n \"id\": \"" id                                                                            \
    "\", \"model\": \"up\", \"choices\": [{\"index\": 0, \"message\": {\"content\": \"" text       \
    "\"}, \"finish_reason\": " finish "}],\n \"usage\": {\"prompt_tokens\": " in                   \
    ", \"completion_tokens\": " out ", \"total_tokens\": " total more "}}"
#define DETAILS(cached, reasoning)                                                                 \
    ", \"prompt_tokens_details\": {\"cached_tokens\": " cached                                     \
    ", \"audio_tokens\": 0}, \"completion_tokens_details\": {\"reasoning_tokens\": " reasoning "}"
    static const char *const replies[] = {
        REPLY("a", "x", "\"stop\"", "1", "2", "3", ""),
        REPLY("bc", "another, longer", "\"stop\"", "100", "20000", "20100", ""),
        REPLY("bc", "y", "\"length\"", "1", "2", "3", ""),
        REPLY("bc", "y", "null", "1", "2", "3", ""),
        REPLY("a", "x", "\"stop\"", "1", "2", "9", DETAILS("0", "6")),
        REPLY("a", "x", "\"stop\"", "12", "5", "17", DETAILS("4", "2")),
        REPLY("a", "x", "\"stop\"", "12", "5", "23", DETAILS("0", "6")),
        REPLY("a", "x", "\"stop\"", "12", "05", "23", DETAILS("0", "6")),
        REPLY("a", "x", "\"stop\"", "12", "-5", "23", DETAILS("0", "6")),
        REPLY("a", "x", "\"stop\"", "12", "5.5", "23", DETAILS("0", "6")),
        REPLY("a", "x", "\"stop\"", "12", "9999999999999", "23", DETAILS("0", "6")),
        REPLY("a", "x", "\"stop\"", "12", "null", "23", DETAILS("0", "6")),
        REPLY("a", "", "\"stop\"", "12", "5", "17", ""),
        REPLY("a", "x", "\"stop\"", "12", "5", "17", "") "\n",
        REPLY("a", "x", "\"stop\"", "12", "5", "17", "") "x",
        REPLY("a", "x", "\"stop\"", "12", "5", "17", ", \"prompt_cache_hit_tokens\": 3"),
        REPLY("a", "x", "\"stop\"", "12", "5", "17", ", \"prompt_tokens\": 3"),
    };
#undef REPLY
#undef DETAILS
    const size_t count = sizeof replies / sizeof replies[0];
    struct str pieces[PROVIDER_REPLY_PIECES_MAX], strict[PROVIDER_REPLY_PIECES_MAX];
    size_t n, strict_n;
    for (size_t turn = 0; turn < 2 * count; turn++)
        for (size_t i = 0; i < count; i++) {
            struct str body = str_from(replies[(i * (turn + 1) + turn) % count]);
            llm_kit_start(f);
            int want = openai_read_reply_strictly(&f->json, &f->reply, body, &rewrite, &f->arena,
                                                  strict, &strict_n);
            struct provider_reply reply = f->reply;
            llm_kit_start(f);
            assert_int_equal(
                openai_read_reply(&f->json, &f->reply, body, &rewrite, &f->arena, pieces, &n),
                want);
            if (want != 0)
                continue;
            assert_same_usage(&f->reply.usage, &reply.usage);
            assert_int_equal(f->reply.finish, reply.finish);
            assert_int_equal(f->reply.content, reply.content);
            assert_int_equal(f->reply.text_q8, reply.text_q8);
            assert_int_equal(f->reply.content_bytes, reply.content_bytes);
            for (size_t k = 0; k < n; k++)
                assert_int_equal(buf_append_str(&f->out, pieces[k]), 0);
            struct str rest = buf_str(&f->out);
            for (size_t k = 0; k < strict_n; k++) {
                assert_true(str_starts(rest, strict[k]));
                rest = str_slice(rest, strict[k].len, rest.len);
            }
            assert_int_equal(rest.len, 0);
            arena_reset(&f->arena);
        }
}

static void b37_an_event_over_the_maximum_ends_the_stream_however_it_comes(void **state)
{
    struct llm_kit *f = *state;
    const struct provider_rewrite rewrite = {.model = STR("m"), .model_plain = true};
    static char big[SSE_EVENT_BYTES_MAX + 64];
    static const char front[] = "data: {\"choices\":[{\"delta\":{\"content\":\"";
    static const char back[] = "\"}}]}\n\n";
    for (size_t over = 0; over < 2; over++) {
        size_t len = SSE_EVENT_BYTES_MAX + over;
        memset(big, 'a', len);
        memcpy(big, front, sizeof front - 1);
        memcpy(big + len - (sizeof back - 1), back, sizeof back - 1);
        for (size_t step = 65536; step <= sizeof big; step *= 32) {
            llm_kit_start(f);
            for (size_t at = 0; at < len; at += step)
                feed(f, (struct str){big + at, len - at < step ? len - at : step}, &rewrite);
            assert_int_equal(f->count, 1 - over);
            assert_int_equal(sse_reader_status(&f->reply.sse), over ? ERR_TOO_LARGE : 0);
        }
    }
}

#define SAID(event, model, more)                                                                   \
    "{\"id\":\"c\",\"object\":\"chat.completion" event "\",\"created\":1,\"model\":\"" model       \
    "\"" more
#define SAID_EVENT(model, more, delta)                                                             \
    "data: " SAID(".chunk", model, more) ",\"choices\":[{\"index\":0,\"delta\":" delta             \
                                         ",\"finish_reason\":null}]}\n\n"
#define SAID_WHOLE(model, more)                                                                    \
    SAID("", model, more)                                                                          \
    ",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"hi\"},"          \
    "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}"

static uint64_t print_of(const char *text)
{
    return prints_note(NULL, str_from(text), STR_NULL);
}

/* By the usual reader, by a shape, and by the strict one: what an answer says that made it. */
static void every_reader_finds_the_same_fingerprint(void **state)
{
    struct llm_kit *f = *state;
    static const struct {
        const char *event, *whole, *text;
    } cases[] = {
        {SAID_EVENT("gpt-1", ",\"system_fingerprint\":\"fp_9\"", "{\"content\":\"hi\"}"),
         SAID_WHOLE("gpt-1", ",\"system_fingerprint\":\"fp_9\""), "gpt-1 fp_9"},
        {SAID_EVENT("gpt-1", ",\"system_fingerprint\":null", "{\"content\":\"hi\"}"),
         SAID_WHOLE("gpt-1", ",\"system_fingerprint\":null"), "gpt-1"},
        {SAID_EVENT("gpt-1", "", "{\"content\":\"hi\"}"), SAID_WHOLE("gpt-1", ""), "gpt-1"},
        {SAID_EVENT("", "", "{\"content\":\"hi\"}"), SAID_WHOLE("", ""), NULL},
        /* Only the strict reader takes these. */
        {SAID_EVENT("gpt-1", ",\"x\":{},\"system_fingerprint\":\"fp_9\"", "{\"content\":\"hi\"}"),
         SAID_WHOLE("gpt-1", ",\"x\":{},\"system_fingerprint\":\"fp_9\""), "gpt-1 fp_9"},
    };
    static struct prints prints;
    struct str pieces[PROVIDER_REPLY_PIECES_MAX];
    size_t count;
    const struct provider_rewrite rewrite = {.model = STR("small"), .model_plain = true};
    f->shapes.prints = &prints;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const uint64_t expected = cases[i].text != NULL ? print_of(cases[i].text) : 0;
        for (int again = 0; again < 3; again++) {
            llm_kit_start(f);
            llm_kit_feed(f, &provider_openai, str_from(cases[i].event), &rewrite);
            assert_true(f->reply.content);
            assert_true(f->reply.print == expected);
            llm_kit_start(f);
            feed_strictly(f, str_from(cases[i].event), &rewrite);
            assert_true(f->reply.print == expected);
            llm_kit_start(f);
            assert_int_equal(openai_read_reply(&f->json, &f->reply, str_from(cases[i].whole),
                                               &rewrite, &f->arena, pieces, &count),
                             0);
            assert_true(f->reply.print == expected);
            llm_kit_start(f);
            assert_int_equal(openai_read_reply_strictly(&f->json, &f->reply,
                                                        str_from(cases[i].whole), &rewrite,
                                                        &f->arena, pieces, &count),
                             0);
            assert_true(f->reply.print == expected);
        }
        if (cases[i].text != NULL)
            assert_true(str_is(prints_text(&prints, expected), cases[i].text));
    }
    assert_null(prints_text(&prints, 1).data);
    assert_null(prints_text(&prints, 0).data);
}

static void b32_a_reply_that_is_no_completion_is_a_protocol_error(void **state)
{
    struct llm_kit *f = *state;
    const struct provider_rewrite rewrite = {.model = STR("m"), .model_plain = true};
    static const char *const bodies[] = {
        "",
        "<html>",
        "[]",
        "{}",
        "{\"choices\":[]}",
        "{\"choices\":{}}",
        "{\"choices\":[{}]",
        "{\"error\":{\"message\":\"x\"},\"choices\":[{}]}",
        "{\"choices\":[{}],\"choices\":[{}]}",
    };
    struct str pieces[PROVIDER_REPLY_PIECES_MAX];
    size_t count;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        llm_kit_start(f);
        assert_int_equal(openai_read_reply(&f->json, &f->reply, str_from(bodies[i]), &rewrite,
                                           &f->arena, pieces, &count),
                         ERR_PROTOCOL);
    }
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, llm_kit_setup, llm_kit_teardown)
    const struct CMUnitTest tests[] = {
        TEST(events_pass_with_the_model_that_serves_however_they_are_cut),
        TEST(bytes_are_untouched_when_nothing_has_to_change),
        TEST(what_needs_no_change_is_one_span_of_what_was_read),
        TEST(the_models_id_takes_the_place_of_the_name_without_a_copy),
        TEST(b37_the_short_cut_says_what_the_strict_reader_says),
        TEST(b37_a_shape_takes_only_what_says_the_same),
        TEST(b38_a_shape_reads_the_counts_of_each_reply),
        TEST(b37_an_event_over_the_maximum_ends_the_stream_however_it_comes),
        TEST(usage_gets_the_member_the_caller_asked_for),
        TEST(data_on_several_lines_is_one_event),
        TEST(b37_events_that_are_none_of_the_dialect_are_told_apart),
        TEST(b38_usage_that_cannot_be_true_is_replaced_by_our_own_count),
        TEST(details_of_usage_are_parts_of_the_whole),
        TEST(a_whole_reply_keeps_its_bytes_but_the_model),
        TEST(every_reader_finds_the_same_fingerprint),
        TEST(b32_a_reply_that_is_no_completion_is_a_protocol_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
