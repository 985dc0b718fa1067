#include "dataplane/llm/responses.h"

#include <stdio.h>
#include <string.h>

#include "tests/lib/fault.h"
#include "tests/unit/dataplane/llm/llm_kit.h"
#include "tests/unit/dataplane/llm/quotes.h"

static void feed(struct llm_kit *f, struct str input, const struct provider_rewrite *rewrite)
{
    llm_kit_feed(f, &provider_responses, input, rewrite);
}

static const struct provider_rewrite small = {.model = {.data = "small", .len = 5},
                                              .model_plain = true};

#define RESPONSE(model, status, more)                                                              \
    "'response': {'id':'resp_1','object':'response','created_at':17,'status':'" status             \
    "','model':'" model "'," more "}"
#define LAST_OUT                                                                                   \
    "'output':[{'type':'reasoning','id':'rs_1','summary':[]},{'type':'message','id':'msg_1'}]"
#define LAST_USAGE                                                                                 \
    "'usage':{'input_tokens':30,'input_tokens_details':{'cached_tokens':8,'cache_write_tokens':2}" \
    ",'output_tokens':7,'output_tokens_details':{'reasoning_tokens':4},'total_tokens':37}"

/* The rarest of layouts stay: comments, blanks, other line ends, several data lines, unknown
 * fields and events. */
#define STREAM(model)                                                                              \
    "event: response.created\ndata: {'type':'response.created','sequence_number':0, " RESPONSE(    \
        model, "in_progress",                                                                      \
        "'output':[]") "}\n\n"                                                                     \
                       ": note\n\n"                                                                \
                       "event: "                                                                   \
                       "response.in_progress\r\ndata:{'type':'response.in_progress','sequence_"    \
                       "number':1," RESPONSE(                                                      \
                           model, "in_progress",                                                   \
                           "'output':[]") "}\r\n\r\n"                                              \
                                          "event: response.output_item.added\ndata: "              \
                                          "{'type':'response.output_item.added',"                  \
                                          "'sequence_number':2,'output_index':0,'item':{'id':'rs_" \
                                          "1','type':'reasoning','summary':[]}}\n\n"               \
                                          "event: response.reasoning_summary_text.delta\ndata: "   \
                                          "{'type':"                                               \
                                          "'response.reasoning_summary_text.delta','sequence_"     \
                                          "number':3,'delta':'hm','obfuscation':'x'}\n\n"          \
                                          "event: response.strange\nid: 7\ndata: "                 \
                                          "{'type':'response.strange','sequence_number':4}\n\n"    \
                                          "data: "                                                 \
                                          "{'type':'response.output_text.delta','sequence_number'" \
                                          ":5,'delta':'Gr\xc3\xbc\\u00df \\ud83d\\ude00'}\n\n"     \
                                          "event: response.output_text.done\ndata: "               \
                                          "{'type':'response.output_text.done',"                   \
                                          "'sequence_number':6,'text':'Gr\xc3\xbc\\u00df "         \
                                          "\\ud83d\\ude00'}\n\n"
#define END(model)                                                                                 \
    "event: response.completed\ndata: {'type':'response.completed','sequence_number':7," RESPONSE( \
        model, "completed", LAST_OUT "," LAST_USAGE) "}\n\n"

static void assert_read(struct llm_kit *f)
{
    static const enum provider_event want[] = {PROVIDER_OPEN,    PROVIDER_SILENT,  PROVIDER_OPEN,
                                               PROVIDER_OPEN,    PROVIDER_CONTENT, PROVIDER_OPEN,
                                               PROVIDER_CONTENT, PROVIDER_OPEN,    PROVIDER_DONE};
    assert_int_equal(f->count, sizeof want / sizeof want[0]);
    assert_memory_equal(f->kinds, want, sizeof want);
    const struct provider_reply *r = &f->reply;
    assert_true(r->done && r->content && r->usage.known && !r->usage.suspect);
    assert_int_equal(r->finish, CALL_FINISH_STOP);
    assert_int_equal(r->usage.tokens_in, 30);
    assert_int_equal(r->usage.tokens_out, 7);
    assert_int_equal(r->usage.tokens_cached, 8);
    assert_int_equal(r->usage.tokens_cache_write, 2);
    assert_int_equal(r->usage.tokens_reasoning, 4);
    assert_int_equal(r->content_bytes, 2 + 11);
    assert_true(r->text_q8 > 0);
    assert_int_equal(r->responses->next, 8);
    assert_int_equal(r->responses->created_s, 17);
    assert_int_equal(r->responses->id_len, 6);
}

static void t06_every_byte_but_the_model_passes_however_the_stream_is_cut(void **state)
{
    struct llm_kit *f = *state;
    struct str in = quotes(&f->arena, STREAM("gpt-x-2026") END("gpt-x-2026"));
    struct str want = quotes(&f->arena, STREAM("small"));
    struct str want_end = quotes(&f->arena, END("small"));
    /* A comment is not relayed. */
    ptrdiff_t note = str_search(want, STR(": note\n\n"));
    struct buf expect;
    buf_init(&expect, 1U << 16);
    assert_int_equal(buf_append_str(&expect, str_slice(want, 0, (size_t)note)), 0);
    assert_int_equal(buf_append_str(&expect, str_slice(want, (size_t)note + 8, want.len)), 0);
    for (size_t cut = 0; cut <= in.len; cut++) {
        llm_kit_start(f);
        feed(f, str_slice(in, 0, cut), &small);
        feed(f, str_slice(in, cut, in.len), &small);
        assert_read(f);
        assert_true(str_eq(buf_str(&f->out), buf_str(&expect)));
        assert_true(str_eq(buf_str(&f->reply.end), want_end));
    }
    llm_kit_start(f);
    for (size_t at = 0; at < in.len; at++)
        feed(f, str_slice(in, at, at + 1), &small);
    assert_read(f);
    assert_true(str_eq(buf_str(&f->out), buf_str(&expect)));
    buf_deinit(&expect);
}

static void a_model_that_is_named_right_leaves_every_byte(void **state)
{
    struct llm_kit *f = *state;
    struct str in = quotes(&f->arena, STREAM("small") END("small"));
    llm_kit_start(f);
    feed(f, in, &small);
    assert_int_equal(f->out.len + f->reply.end.len + strlen(": note\n\n"), in.len);
}

static struct str add_member(void *arg, const struct call_usage *usage)
{
    (void)arg;
    assert_true(usage->known);
    return STR("\"steelyard\":{}");
}

static void a_member_the_caller_asked_for_joins_the_usage(void **state)
{
    struct llm_kit *f = *state;
    const struct provider_rewrite rewrite = {.model = STR("small"), .usage_member = add_member};
    llm_kit_start(f);
    feed(f, quotes(&f->arena, END("gpt")), &rewrite);
    assert_true(str_search(buf_str(&f->reply.end),
                           STR("\"usage\":{\"steelyard\":{},\"input_tokens\":30")) > 0);
    assert_true(str_search(buf_str(&f->reply.end), STR("\"model\":\"small\"")) > 0);
}

static void an_event_of_several_data_lines_is_written_on_one(void **state)
{
    struct llm_kit *f = *state;
    llm_kit_start(f);
    feed(f,
         quotes(&f->arena, "event: response.created\ndata: {'type':'response.created',\n"
                           "data: 'response':{'model':'gpt'}}\n\n"),
         &small);
    struct str want = quotes(&f->arena, "event: response.created\ndata: {'type':'response.created',"
                                        "\ndata: 'response':{'model':'small'}}\n\n");
    assert_true(str_eq(buf_str(&f->out), want));
}

static void the_end_says_how_it_ended(void **state)
{
    struct llm_kit *f = *state;
    static const struct {
        const char *status, *more;
        enum call_finish finish;
    } rows[] = {
        {"completed", "'output':[]", CALL_FINISH_STOP},
        {"completed", "'output':[{'type':'function_call','name':'f'}]", CALL_FINISH_TOOL_CALLS},
        {"completed", "'output':[{'type':'custom_tool_call'}]", CALL_FINISH_TOOL_CALLS},
        {"incomplete", "'incomplete_details':{'reason':'max_output_tokens'}", CALL_FINISH_LENGTH},
        {"incomplete", "'incomplete_details':{'reason':'content_filter'}",
         CALL_FINISH_CONTENT_FILTER},
        {"incomplete", "'incomplete_details':null", CALL_FINISH_OTHER},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[512];
        (void)snprintf(text, sizeof text,
                       "data: {'type':'response.%s','sequence_number':3,'response':{'status':'%s',"
                       "%s}}\n\n",
                       rows[i].status, rows[i].status, rows[i].more);
        llm_kit_start(f);
        feed(f, quotes(&f->arena, text), &small);
        /* Nothing came before it: the end itself is the answer. */
        assert_int_equal(f->count, 1);
        assert_int_equal(f->kinds[0], PROVIDER_CONTENT);
        assert_true(f->reply.done && f->reply.content);
        assert_int_equal(f->out.len, 0);
        assert_true(f->reply.end.len > 0);
        assert_int_equal(f->reply.finish, rows[i].finish);
    }
}

static void a_call_that_opens_is_content(void **state)
{
    struct llm_kit *f = *state;
    llm_kit_start(f);
    feed(f,
         quotes(&f->arena,
                "data: {'type':'response.output_item.added','item':{'type':'message'}}\n\n"
                "data: {'type':'response.output_item.added','item':{'type':'function_call','name':"
                "'find','arguments':''}}\n\n"),
         &small);
    assert_int_equal(f->kinds[0], PROVIDER_OPEN);
    assert_int_equal(f->kinds[1], PROVIDER_CONTENT);
    assert_int_equal(f->reply.content_bytes, 4);
}

static void b37_t10_errors_and_what_is_no_event_are_told_apart(void **state)
{
    struct llm_kit *f = *state;
    static const struct {
        const char *text;
        enum provider_event kind;
    } rows[] = {
        {"data: {'type':'error','code':'server_error','message':'x'}\n\n", PROVIDER_ERROR},
        {"event: error\ndata: {'error':{'message':'x'}}\n\n", PROVIDER_ERROR},
        {"data: {'error':{'message':'x'}}\n\n", PROVIDER_ERROR},
        {"data: {'type':'response.failed','response':{'error':{'code':'a'},'usage':null}}\n\n",
         PROVIDER_ERROR},
        {"data: {}\n\n", PROVIDER_BAD},
        {"data: []\n\n", PROVIDER_BAD},
        {"data: {'type':'response.completed'}\n\n", PROVIDER_BAD},
        {"data: {'type':\n\n", PROVIDER_BAD},
        {"data: [DONE]\n\n", PROVIDER_SILENT},
        {": comment\n\n", PROVIDER_SILENT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        llm_kit_start(f);
        feed(f, quotes(&f->arena, rows[i].text), &small);
        assert_int_equal(f->count, 1);
        assert_int_equal(f->kinds[0], rows[i].kind);
        assert_int_equal(f->out.len, 0);
        assert_int_equal(f->reply.end.len, 0);
        assert_false(f->reply.done || f->reply.content);
    }
}

static void b38_usage_that_is_none_is_marked_or_left_out(void **state)
{
    struct llm_kit *f = *state;
    llm_kit_start(f);
    feed(f,
         quotes(&f->arena, "data: {'type':'response.completed','response':{'usage':{"
                           "'input_tokens':-3,'output_tokens':1}}}\n\n"),
         &small);
    assert_true(f->reply.usage.known && f->reply.usage.suspect);
    llm_kit_start(f);
    feed(f, quotes(&f->arena, "data: {'type':'response.completed','response':{'usage':{}}}\n\n"),
         &small);
    assert_false(f->reply.usage.known);
}

static void an_end_of_megabytes_passes(void **state)
{
    struct llm_kit *f = *state;
    enum { TEXT = 3 << 20 };
    struct buf in;
    buf_init(&in, 8U << 20);
    assert_int_equal(buf_append_text(&in, "data: {\"type\":\"response.completed\",\"response\":{"
                                          "\"output\":[{\"text\":\""),
                     0);
    for (size_t i = 0; i < TEXT / 16; i++)
        assert_int_equal(buf_append_text(&in, "0123456789abcdef"), 0);
    assert_int_equal(buf_append_text(&in, "\"}]}}\n\n"), 0);
    llm_kit_start(f);
    for (size_t at = 0; at < in.len; at += 65536)
        feed(f, str_slice(buf_str(&in), at, at + 65536), &small);
    assert_true(f->reply.done);
    assert_true(str_eq(buf_str(&f->reply.end), buf_str(&in)));
    buf_deinit(&in);
}

static void a_broken_stream_ends_with_the_number_that_is_due(void **state)
{
    struct llm_kit *f = *state;
    struct sse_reader reader;
    struct sse_event event;
    struct buf out;
    buf_init(&out, 4096);
    llm_kit_start(f);
    struct str in = quotes(&f->arena, STREAM("gpt"));
    feed(f, in, &small);
    assert_int_equal(responses_write_failed(f->reply.responses, STR("resp_x"), STR("small"),
                                            "server_error", STR("It \"broke\"."), &out),
                     0);
    struct str text = buf_str(&out);
    sse_reader_init(&reader, 0);
    assert_true(sse_reader_next(&reader, &text, &event));
    assert_true(str_is(event.name, "response.failed"));
    assert_int_equal(json_parse(&f->json, event.data, NULL), 0);
    int64_t n = -1;
    assert_int_equal(
        json_i64(&f->json, json_get(&f->json, JSON_ROOT, STR("sequence_number")), 0, 99, &n), 0);
    assert_int_equal(n, 7);
    uint32_t response = json_get(&f->json, JSON_ROOT, STR("response"));
    assert_true(json_string_is(&f->json, json_get(&f->json, response, STR("id")), STR("resp_1")));
    assert_true(
        json_string_is(&f->json, json_get(&f->json, response, STR("status")), STR("failed")));
    uint32_t error = json_get(&f->json, response, STR("error"));
    assert_true(
        json_string_is(&f->json, json_get(&f->json, error, STR("message")), STR("It \"broke\".")));
    buf_clear(&out);
    assert_int_equal(
        responses_write_failed(NULL, STR("resp_x"), STR("m"), "timeout", STR("x"), &out), 0);
    assert_true(str_search(buf_str(&out),
                           STR("\"sequence_number\":1,\"response\":{\"id\":\"resp_x\"")) > 0);
    sse_reader_deinit(&reader);
    buf_deinit(&out);
}

static void events_without_numbers_are_counted(void **state)
{
    struct llm_kit *f = *state;
    llm_kit_start(f);
    feed(f,
         quotes(&f->arena, "data: {'type':'response.created','response':{'id':'r'}}\n\n"
                           "data: {'type':'response.output_text.delta','delta':'a'}\n\n"),
         &small);
    assert_int_equal(f->reply.responses->next, 2);
}

static void assert_whole(struct llm_kit *f, const char *body, const char *want)
{
    struct str pieces[PROVIDER_REPLY_PIECES_MAX];
    size_t count = 0;
    buf_clear(&f->out);
    provider_reply_reset(&f->reply);
    assert_int_equal(responses_read_reply(&f->json, &f->reply, quotes(&f->arena, body), &small,
                                          &f->arena, pieces, &count),
                     0);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(buf_append_str(&f->out, pieces[i]), 0);
    assert_true(str_eq(buf_str(&f->out), quotes(&f->arena, want)));
}

static void a_whole_reply_passes_with_the_model_that_serves(void **state)
{
    struct llm_kit *f = *state;
#define WHOLE(model)                                                                               \
    "{ 'id':'resp_1','object':'response','status':'completed','model' : '" model                   \
    "','output':[{'type':'message','content':[{'type':'output_text','text':'Hello'}]},"            \
    "{'type':'function_call','name':'f','arguments':'{}'}],'error':null, 'odd' : "                 \
    "1.50, " LAST_USAGE " }\n"
    assert_whole(f, WHOLE("gpt"), WHOLE("small"));
    assert_true(f->reply.done && f->reply.content && f->reply.usage.known);
    assert_int_equal(f->reply.finish, CALL_FINISH_TOOL_CALLS);
    assert_int_equal(f->reply.content_bytes, 5 + 1 + 2);
    assert_int_equal(f->reply.usage.tokens_out, 7);
}

static void b32_a_reply_that_is_no_response_is_a_protocol_error(void **state)
{
    struct llm_kit *f = *state;
    static const char *const bodies[] = {
        "",
        "{}",
        "[]",
        "<html>",
        "{'output':{}}",
        "{'output':[],'error':{'message':'x'}}",
        "{'output':[],'status':'failed'}",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        struct str pieces[PROVIDER_REPLY_PIECES_MAX];
        size_t count;
        provider_reply_reset(&f->reply);
        assert_int_equal(responses_read_reply(&f->json, &f->reply, quotes(&f->arena, bodies[i]),
                                              &small, &f->arena, pieces, &count),
                         ERR_PROTOCOL);
    }
}

static void f30_a_stream_survives_each_failed_allocation(void **state)
{
    struct llm_kit *f = *state;
    struct str in = quotes(&f->arena, STREAM("gpt") END("gpt"));
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        llm_kit_teardown(state);
        llm_kit_setup(state);
        llm_kit_start(f);
        struct arena own;
        arena_init(&own, &f->pool, 1U << 20);
        in = quotes(&own, STREAM("gpt") END("gpt"));
        fault_arm_alloc(n);
        struct provider_out out;
        enum provider_event kind = PROVIDER_SILENT;
        struct str rest = in;
        provider_out_start(&out, &f->gathered);
        while (kind != PROVIDER_BAD && provider_read_next(&provider_responses, &f->json, &f->reply,
                                                          &rest, &small, &out, &kind))
            ;
        fired = fault_disarm();
        assert_true(fired ? kind == PROVIDER_BAD || sse_reader_status(&f->reply.sse) == ERR_NOMEM
                          : kind == PROVIDER_DONE);
        arena_reset(&own);
    }
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, llm_kit_setup, llm_kit_teardown)
    const struct CMUnitTest tests[] = {
        TEST(t06_every_byte_but_the_model_passes_however_the_stream_is_cut),
        TEST(a_model_that_is_named_right_leaves_every_byte),
        TEST(a_member_the_caller_asked_for_joins_the_usage),
        TEST(an_event_of_several_data_lines_is_written_on_one),
        TEST(the_end_says_how_it_ended),
        TEST(a_call_that_opens_is_content),
        TEST(b37_t10_errors_and_what_is_no_event_are_told_apart),
        TEST(b38_usage_that_is_none_is_marked_or_left_out),
        TEST(an_end_of_megabytes_passes),
        TEST(a_broken_stream_ends_with_the_number_that_is_due),
        TEST(events_without_numbers_are_counted),
        TEST(a_whole_reply_passes_with_the_model_that_serves),
        TEST(b32_a_reply_that_is_no_response_is_a_protocol_error),
        TEST(f30_a_stream_survives_each_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
