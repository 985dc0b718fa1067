/* Hosts of the Responses dialect: what they are asked, and what they answer as events. */
#include <string.h>

#include "tests/unit/dataplane/llm/quotes.h"
#include "tests/unit/dataplane/translate/tr_kit.h"

/* ---- requests; ' stands for " ---- */

static void assert_asked(struct tr_kit *kit, enum dialect caller, const char *model,
                         const char *body, const char *want, const char *notes)
{
    struct tr_target target = tr_kit_target("openai", model);
    struct arena own;
    arena_init(&own, &kit->pool, 1U << 20);
    const char *text = quotes(&own, body).data, *expected = quotes(&own, want).data;
    const char *got = tr_kit_asked(kit, caller, text, DIALECT_RESPONSES, &target);
    assert_string_equal(got, expected);
    assert_string_equal(kit->notes, notes);
    arena_reset(&own);
}

static void a_plain_request_keeps_nothing_there(void **state)
{
    assert_asked(*state, DIALECT_OPENAI, "gpt-4.1",
                 "{'model':'auto','messages':[{'role':'user','content':'hi'}]}",
                 "{'model':'gpt-4.1','input':[{'type':'message','role':'user','content':[{'type':"
                 "'input_text','text':'hi'}]}],'store':false}",
                 "");
}

static void everything_it_has_a_word_for_is_said(void **state)
{
    assert_asked(
        *state, DIALECT_OPENAI, "gpt-5.1-codex",
        "{'model':'a','messages':[{'role':'system','content':'S'},{'role':'user','content':["
        "{'type':'text','text':'look'},{'type':'image_url','image_url':{'url':"
        "'data:image/png;base64,iVBORw0KGgo='}},{'type':'file','file':{'filename':'a.pdf',"
        "'file_data':'data:application/pdf;base64,JVBERi0='}}]},{'role':'assistant','content':"
        "'I call','tool_calls':[{'id':'c1','type':'function','function':{'name':'f','arguments':"
        "'{}'}},{'id':'c2','type':'function','function':{'name':'f','arguments':''}}]},"
        "{'role':'tool','tool_call_id':'c2','content':'two'},{'role':'tool','tool_call_id':'c1',"
        "'content':'one'},{'role':'system','content':'T'}],'stream':true,"
        "'max_completion_tokens':100,'tools':[{'type':'function','function':{'name':'f',"
        "'description':'d','parameters':{'type':'object'},'strict':true}}],'tool_choice':"
        "{'type':'function','function':{'name':'f'}},'parallel_tool_calls':false,"
        "'reasoning_effort':'low','response_format':{'type':'json_schema','json_schema':{'name':"
        "'n','schema':{'a':1},'strict':true}},'user':'u','metadata':{'k':'v'},'service_tier':"
        "'flex','prompt_cache_key':'p'}",
        "{'model':'gpt-5.1-codex','max_output_tokens':100,'instructions':'S\\n\\nT','input':["
        "{'type':'message','role':'user','content':[{'type':'input_text','text':'look'},{'type':"
        "'input_image','image_url':'data:image/png;base64,iVBORw0KGgo=','detail':'auto'},{'type':"
        "'input_file','filename':'a.pdf','file_data':'data:application/pdf;base64,JVBERi0='}]},"
        "{'type':'message','role':'assistant','content':[{'type':'output_text','text':'I call'}]},"
        "{'type':'function_call','call_id':'c1','name':'f','arguments':'{}'},"
        "{'type':'function_call','call_id':'c2','name':'f','arguments':'{}'},"
        /* t01: results stand in the order of their calls. */
        "{'type':'function_call_output','call_id':'c1','output':'one'},"
        "{'type':'function_call_output','call_id':'c2','output':'two'}],"
        "'include':['reasoning.encrypted_content'],'reasoning':{'effort':'low','summary':'auto'},"
        "'tools':[{'type':'function','name':'f','description':'d','parameters':{'type':'object'},"
        "'strict':true}],'tool_choice':{'type':'function','name':'f'},'parallel_tool_calls':false,"
        "'text':{'format':{'type':'json_schema','name':'n','schema':{'a':1},'strict':true}},"
        "'safety_identifier':'u','prompt_cache_key':'p','service_tier':'flex','store':false,"
        "'stream':true,'metadata':{'k':'v'}}",
        "");
}

static void what_it_has_no_word_for_is_dropped_and_noted(void **state)
{
    assert_asked(*state, DIALECT_OPENAI, "gpt-5",
                 "{'model':'a','messages':[{'role':'user','content':'x'}],'temperature':0.5,"
                 "'stop':'a','seed':1,'frequency_penalty':1,'logprobs':true,'max_tokens':3}",
                 "{'model':'gpt-5','max_output_tokens':16,'input':[{'type':'message','role':'user',"
                 "'content':[{'type':'input_text','text':'x'}]}],'include':["
                 "'reasoning.encrypted_content'],'store':false}",
                 "raised_max_tokens, dropped_stop, dropped_seed, dropped_frequency_penalty, "
                 "dropped_logprobs, dropped_temperature");
}

static void t13_several_answers_are_refused(void **state)
{
    struct tr_kit *kit = *state;
    struct tr_target target = tr_kit_target("openai", "gpt-5-pro");
    assert_int_equal(
        tr_kit_ask(
            kit, DIALECT_OPENAI,
            quotes(&kit->arena, "{'model':'a','messages':[{'role':'user','content':'x'}],'n':2}")
                .data,
            DIALECT_RESPONSES, &target),
        ERR_INVALID);
    assert_true(str_is(kit->refusal.param, "n"));
    assert_int_equal(kit->out.len, 0);
}

static void t07_its_own_reasoning_goes_back_as_the_item_it_was(void **state)
{
    assert_asked(
        *state, DIALECT_ANTHROPIC, "gpt-5",
        "{'model':'a','max_tokens':100,'messages':[{'role':'user','content':'x'},{'role':"
        "'assistant','content':[{'type':'thinking','thinking':'hm','signature':"
        "'sy1.responses.rs_1:gAAA'},{'type':'redacted_thinking','data':'sy1.responses.rs_2:gBBB'},"
        "{'type':'thinking','thinking':'other','signature':'sy1.anthropic.SIG'},"
        "{'type':'text','text':'so'}]},{'role':'user','content':'y'}]}",
        "{'model':'gpt-5','max_output_tokens':100,'input':[{'type':'message','role':'user',"
        "'content':[{'type':'input_text','text':'x'}]},"
        "{'type':'reasoning','id':'rs_1','summary':[{'type':'summary_text','text':'hm'}],"
        "'encrypted_content':'gAAA'},"
        "{'type':'reasoning','id':'rs_2','summary':[],'encrypted_content':'gBBB'},"
        "{'type':'message','role':'assistant','content':[{'type':'output_text','text':'so'}]},"
        "{'type':'message','role':'user','content':[{'type':'input_text','text':'y'}]}],"
        "'include':['reasoning.encrypted_content'],'store':false}",
        "");
}

static void t04_an_image_in_a_result_stays_in_it(void **state)
{
    assert_asked(
        *state, DIALECT_ANTHROPIC, "gpt-4.1",
        "{'model':'a','max_tokens':100,'messages':[{'role':'user','content':'x'},{'role':"
        "'assistant','content':[{'type':'tool_use','id':'t1','name':'f','input':{'a':1}}]},"
        "{'role':'user','content':[{'type':'tool_result','tool_use_id':'t1','content':[{'type':"
        "'text','text':'see'},{'type':'image','source':{'type':'base64','media_type':'image/png',"
        "'data':'iVBORw0KGgo='}}]}]}]}",
        "{'model':'gpt-4.1','max_output_tokens':100,'input':[{'type':'message','role':'user',"
        "'content':[{'type':'input_text','text':'x'}]},{'type':'function_call','call_id':'t1',"
        "'name':'f','arguments':'{\\'a\\':1}'},{'type':'function_call_output','call_id':'t1',"
        "'output':[{'type':'input_text','text':'see'},{'type':'input_image','image_url':"
        "'data:image/png;base64,iVBORw0KGgo=','detail':'auto'}]}],'store':false}",
        "");
}

static void the_path_is_the_hosts(void **state)
{
    struct tr_kit *kit = *state;
    const struct tr_provider_dialect *d = tr_provider_find(DIALECT_RESPONSES);
    struct tr_target target = tr_kit_target("openai", "m");
    assert_int_equal(d->print_path(&target, true, &kit->out), 0);
    assert_string_equal(tr_kit_out(kit), "/responses");
    buf_clear(&kit->out);
    target = tr_kit_target("azure", "m");
    assert_int_equal(d->print_path(&target, true, &kit->out), 0);
    assert_string_equal(tr_kit_out(kit), "/openai/v1/responses");
    buf_clear(&kit->out);
    target.version = STR("2026-04 01");
    assert_int_equal(d->print_path(&target, true, &kit->out), 0);
    assert_string_equal(tr_kit_out(kit), "/openai/responses?api-version=2026-04%2001");
}

/* ---- replies ---- */

#define STREAM                                                                                     \
    "event: response.created\ndata: {'type':'response.created','sequence_number':0,'response':{"   \
    "'id':'resp_1','model':'gpt','status':'in_progress','output':[]}}\n\n"                         \
    "data: {'type':'response.in_progress','response':{'id':'resp_1','model':'gpt'}}\n\n"           \
    "data: {'type':'response.output_item.added','output_index':0,'item':{'type':'reasoning','id':" \
    "'rs_1','summary':[]}}\n\n"                                                                    \
    "data: {'type':'response.reasoning_summary_part.added','summary_index':0}\n\n"                 \
    "data: {'type':'response.reasoning_summary_text.delta','delta':'on\\u0065'}\n\n"               \
    "data: {'type':'response.reasoning_summary_text.done','text':'one'}\n\n"                       \
    "data: {'type':'response.reasoning_summary_part.added','summary_index':1}\n\n"                 \
    "data: {'type':'response.reasoning_summary_text.delta','delta':'two'}\n\n"                     \
    "data: {'type':'response.output_item.done','output_index':0,'item':{'type':'reasoning','id':"  \
    "'rs_1','summary':[{'type':'summary_text','text':'one'},{'type':'summary_text','text':"        \
    "'two'}],'encrypted_content':'gAAA'}}\n\n"                                                     \
    "data: {'type':'response.output_item.added','output_index':1,'item':{'type':'message','id':"   \
    "'msg_1','content':[]}}\n\n"                                                                   \
    "data: {'type':'response.output_text.delta','output_index':1,'delta':'Gr\xc3\xbc'}\n\n"        \
    "data: {'type':'response.output_text.delta','output_index':1,'delta':'\\u00df "                \
    "\\ud83d\\ude00'}"                                                                             \
    "\n\n"                                                                                         \
    "data: {'type':'response.output_text.done','output_index':1,'text':'x'}\n\n"                   \
    "data: {'type':'response.output_item.done','output_index':1,'item':{'type':'message',"         \
    "'content':[{'type':'output_text','text':'x'}]}}\n\n"                                          \
    "data: {'type':'response.output_item.added','output_index':2,'item':{'type':'function_call',"  \
    "'id':'fc_1','call_id':'c1','name':'f','arguments':''}}\n\n"                                   \
    "data: {'type':'response.output_item.added','output_index':3,'item':{'type':'function_call',"  \
    "'id':'fc_2','call_id':'c2','name':'g','arguments':''}}\n\n"                                   \
    "data: {'type':'response.function_call_arguments.delta','output_index':3,'delta':'{}'}\n\n"    \
    "data: {'type':'keepalive','sequence_number':9}\n\n"                                           \
    "data: {'type':'response.function_call_arguments.delta','output_index':2,'delta':'{\\'a\\':'}" \
    "\n\n"                                                                                         \
    "data: {'type':'response.function_call_arguments.delta','output_index':2,'delta':'1}'}\n\n"    \
    "data: {'type':'response.output_item.done','output_index':2,'item':{'type':'function_call',"   \
    "'call_id':'c1','name':'f','arguments':'{\\'a\\':1}'}}\n\n"                                    \
    "data: {'type':'response.completed','response':{'id':'resp_1','model':'gpt','status':"         \
    "'completed','output':[{'type':'function_call'}],'usage':{'input_tokens':9,"                   \
    "'input_tokens_details':{'cached_tokens':4},'output_tokens':5,'output_tokens_details':{"       \
    "'reasoning_tokens':2},'total_tokens':14}}}\n\n"

static const char *const lines = "start resp_1 gpt\n"
                                 "reasoning one\n"
                                 "reasoning \n\n\n"
                                 "reasoning two\n"
                                 "seal rs_1:gAAA\n"
                                 "part_end\n"
                                 "text Gr\xc3\xbc\n"
                                 "text \xc3\x9f \xf0\x9f\x98\x80\n"
                                 "part_end\n"
                                 "call 0 c1 f\n"
                                 "call 1 c2 g\n"
                                 "arguments 1 {}\n"
                                 "ping\n"
                                 "arguments 0 {\"a\":\n"
                                 "arguments 0 1}\n"
                                 "part_end\n"
                                 "finish tool_calls completed\n"
                                 "usage in 9 out 5 cached 4 written 0 reasoning 2\n"
                                 "done\n";

/* ' in strings of JSON is \' in the tables here; it becomes \" and so stays in its string. */
static void t06_a_stream_says_the_same_however_it_is_cut(void **state)
{
    struct tr_kit *kit = *state;
    struct str stream = quotes(&kit->arena, STREAM);
    for (size_t at = 0; at <= stream.len; at++) {
        buf_clear(&kit->log);
        assert_int_equal(tr_kit_stream_cut(kit, DIALECT_RESPONSES, stream, at), 0);
        assert_string_equal(tr_kit_log(kit), lines);
    }
    buf_clear(&kit->log);
    assert_int_equal(tr_kit_stream(kit, DIALECT_RESPONSES, stream, 1), 0);
    assert_string_equal(tr_kit_log(kit), lines);
}

static void assert_events(struct tr_kit *kit, const char *stream, const char *want)
{
    buf_clear(&kit->log);
    assert_int_equal(tr_kit_stream(kit, DIALECT_RESPONSES, quotes(&kit->arena, stream), 0), 0);
    assert_string_equal(tr_kit_log(kit), want);
}

static void hosts_that_send_no_pieces_are_read_too(void **state)
{
    assert_events(*state,
                  "data: {'type':'response.output_item.done','output_index':0,'item':{'type':"
                  "'message','content':[{'type':'output_text','text':'a'},{'type':'refusal',"
                  "'refusal':'b'}]}}\n\n"
                  "data: {'type':'response.output_item.done','output_index':1,'item':{'type':"
                  "'function_call','call_id':'c','name':'f','arguments':'{}'}}\n\n"
                  "data: {'type':'response.incomplete','response':{'id':'r','model':'m','status':"
                  "'incomplete','incomplete_details':{'reason':'max_output_tokens'}}}\n\n",
                  "text a\nrefusal b\npart_end\ncall 0 c f\narguments 0 {}\npart_end\nstart r m\n"
                  "finish length max_output_tokens\ndone\n");
    assert_events(*state,
                  "data: {'type':'response.completed','response':{'id':'r','model':'m','status':"
                  "'completed','output':[{'type':'reasoning','id':'rs','summary':[],"
                  "'encrypted_content':'g'},{'type':'message','content':[{'type':'output_text',"
                  "'text':'a'}]}]}}\n\ndata: [DONE]\n\n",
                  "start r m\nredacted rs:g\ntext a\npart_end\nfinish stop completed\ndone\n");
}

static void t10_errors_are_told_with_their_words(void **state)
{
    struct tr_kit *kit = *state;
    assert_events(kit, "data: {'type':'error','code':'rate_limit_exceeded','message':'Slow'}\n\n",
                  "error 6 Slow (rate_limit_exceeded)\n");
    assert_events(kit,
                  "event: error\ndata: {'type':'error','error':{'type':'server_error','code':null,"
                  "'message':'Oh'}}\n\n",
                  "error 10 Oh (server_error)\n");
    assert_events(kit,
                  "data: {'type':'response.failed','response':{'id':'r','status':'failed','error':{"
                  "'code':'context_length_exceeded','message':'Too long'}}}\n\n"
                  "data: {'type':'response.completed','response':{}}\n\n",
                  "error 1 Too long (context_length_exceeded)\n");
}

static void t11_b37_an_end_without_its_event_says_nothing(void **state)
{
    struct tr_kit *kit = *state;
    assert_events(kit, "data: {'type':'response.output_text.delta','delta':'a'}\n\n", "text a\n");
    static const char *const bad[] = {
        "data: {'a':1}\n\n", "data: [1]\n\n", "data: {\n\n",
        "data: {'type':'response.completed'}\n\n",
        "data: {'type':'response.function_call_arguments.delta','output_index':1,'delta':'a'}\n\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(tr_kit_stream(kit, DIALECT_RESPONSES, quotes(&kit->arena, bad[i]), 0),
                         ERR_PROTOCOL);
}

static void a_whole_reply_says_the_same(void **state)
{
    struct tr_kit *kit = *state;
    const char *body =
        quotes(&kit->arena,
               "{'id':'resp_1','object':'response','model':'gpt','status':'completed','error':null,"
               "'output':[{'type':'reasoning','id':'rs_1','summary':[{'type':'summary_text','text':"
               "'hm'}],'encrypted_content':'gA'},{'type':'web_search_call','id':'w'},{'type':"
               "'message','content':[{'type':'output_text','text':'a'}]},{'type':'function_call',"
               "'call_id':'c1','name':'f','arguments':'{}'}],'usage':{'input_tokens':1,"
               "'output_tokens':2}}")
            .data;
    assert_int_equal(tr_kit_reply(kit, DIALECT_RESPONSES, body), 0);
    assert_string_equal(tr_kit_log(kit),
                        "start resp_1 gpt\nreasoning hm\nseal rs_1:gA\npart_end\ntext a\npart_end\n"
                        "call 0 c1 f\narguments 0 {}\npart_end\nfinish tool_calls completed\n"
                        "usage in 1 out 2 cached 0 written 0 reasoning 0\ndone\n");
    buf_clear(&kit->log);
    assert_int_equal(
        tr_kit_reply(kit, DIALECT_RESPONSES,
                     quotes(&kit->arena, "{'status':'failed','error':{'code':'server_error',"
                                         "'message':'x'},'output':[]}")
                         .data),
        0);
    assert_string_equal(tr_kit_log(kit), "error 10 x (server_error)\n");
    assert_int_equal(tr_kit_reply(kit, DIALECT_RESPONSES, "{}"), ERR_PROTOCOL);
    assert_int_equal(tr_kit_reply(kit, DIALECT_RESPONSES, "<html>"), ERR_PROTOCOL);
}

static void t16_refusals_with_a_status_have_a_kind(void **state)
{
    struct tr_kit *kit = *state;
    struct tr_error e =
        tr_kit_error(kit, DIALECT_RESPONSES, 429,
                     "{\"error\":{\"message\":\"Slow\",\"code\":\"rate_limit_exceeded\"}}");
    assert_int_equal(e.kind, TR_ERROR_RATE_LIMITED);
    assert_true(str_is(e.message, "Slow"));
}

static void f30_reading_a_stream_survives_each_failed_allocation(void **state)
{
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        struct tr_kit *kit = *state;
        tr_kit_teardown(state);
        tr_kit_setup(state);
        struct str stream = quotes(&kit->arena, STREAM);
        fault_arm_alloc(n);
        int rc = tr_kit_stream(kit, DIALECT_RESPONSES, stream, 50);
        fired = fault_disarm();
        assert_int_equal(rc, fired ? ERR_NOMEM : 0);
    }
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, tr_kit_setup, tr_kit_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_plain_request_keeps_nothing_there),
        TEST(everything_it_has_a_word_for_is_said),
        TEST(what_it_has_no_word_for_is_dropped_and_noted),
        TEST(t13_several_answers_are_refused),
        TEST(t07_its_own_reasoning_goes_back_as_the_item_it_was),
        TEST(t04_an_image_in_a_result_stays_in_it),
        TEST(the_path_is_the_hosts),
        TEST(t06_a_stream_says_the_same_however_it_is_cut),
        TEST(hosts_that_send_no_pieces_are_read_too),
        TEST(t10_errors_are_told_with_their_words),
        TEST(t11_b37_an_end_without_its_event_says_nothing),
        TEST(a_whole_reply_says_the_same),
        TEST(t16_refusals_with_a_status_have_a_kind),
        TEST(f30_reading_a_stream_survives_each_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
