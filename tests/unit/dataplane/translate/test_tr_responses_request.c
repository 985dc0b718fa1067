/* A caller's Responses body in the neutral form. */
#include <stdio.h>
#include <string.h>

#include "tests/unit/dataplane/llm/quotes.h"
#include "tests/unit/dataplane/translate/tr_kit.h"

/* ' stands for " in all bodies here. */
static const struct tr_request *read_ok(struct tr_kit *kit, const char *body)
{
    tr_kit_reset(kit);
    int rc = tr_kit_read(kit, DIALECT_RESPONSES, quotes(&kit->arena, body).data);
    if (rc != 0)
        print_error("refused: %.*s\n", STR_ARG(kit->refusal.param));
    assert_int_equal(rc, 0);
    return &kit->request;
}

static void read_refused(struct tr_kit *kit, const char *body, const char *param,
                         enum call_defect defect)
{
    tr_kit_reset(kit);
    assert_int_equal(tr_kit_read(kit, DIALECT_RESPONSES, quotes(&kit->arena, body).data),
                     ERR_INVALID);
    assert_int_equal(kit->refusal.defect, defect);
    assert_string_equal(kit->refusal.param.data, param);
}

static void is(struct str text, const char *expected)
{
    assert_int_equal(text.len, strlen(expected));
    assert_memory_equal(text.data, expected, text.len);
}

static void a_text_is_a_turn_of_the_user(void **state)
{
    const struct tr_request *q = read_ok(*state, "{'model':'m','input':'h\\u0069'}");
    is(q->model, "m");
    assert_int_equal(q->turn_count, 1);
    assert_int_equal(q->turns[0].role, TR_USER);
    assert_int_equal(q->turns[0].part_count, 1);
    is(q->turns[0].parts[0].text, "hi");
    assert_true(q->max_output == TR_UNSET && q->temperature == TR_UNSET && q->top_p == TR_UNSET);
    assert_int_equal(q->system_count, 0);
    assert_int_equal(q->parallel, -1);
    assert_int_equal(q->think_shown, -1);
    assert_int_equal(q->unknown_count, 0);
}

static void every_parameter_has_its_place(void **state)
{
    const struct tr_request *q = read_ok(
        *state,
        "{'model':'m','input':'x','stream':true,'stream_options':{'include_obfuscation':false},"
        "'max_output_tokens':7,'temperature':0.7,'top_p':0.95,'top_logprobs':3,"
        "'parallel_tool_calls':false,'reasoning':{'effort':'high','summary':'auto'},"
        "'text':{'verbosity':'low','format':{'type':'json_schema','name':'n','description':'d',"
        "'schema':{'a':[1]},'strict':true}},'service_tier':'flex','metadata':{'k':'v'},"
        "'user':'u','safety_identifier':'s','prompt_cache_key':'c','store':false,"
        "'include':['reasoning.encrypted_content','message.output_text.logprobs'],"
        "'truncation':'disabled','background':false}");
    assert_true(q->stream);
    assert_int_equal(q->max_output, 7);
    assert_int_equal(q->temperature, 700000);
    assert_int_equal(q->top_p, 950000);
    assert_int_equal(q->top_logprobs, 3);
    assert_int_equal(q->logprobs, 1);
    assert_int_equal(q->parallel, 0);
    assert_int_equal(q->effort, TR_EFFORT_HIGH);
    assert_int_equal(q->think_shown, 1);
    is(q->verbosity, "low");
    assert_int_equal(q->format, TR_FORMAT_SCHEMA);
    is(q->format_name, "n");
    is(q->format_description, "d");
    is(q->format_schema, "{\"a\":[1]}");
    assert_int_equal(q->format_strict, 1);
    assert_int_equal(q->tier, TR_TIER_FLEX);
    assert_int_equal(q->metadata_count, 1);
    is(q->user, "s");
    is(q->cache_key, "c");
    assert_int_equal(q->unknown_count, 0);
}

static void what_is_not_known_is_noted_by_its_path(void **state)
{
    const struct tr_request *q =
        read_ok(*state, "{'model':'m','input':'x','odd':1,'max_tool_calls':3,'store':true,"
                        "'truncation':'auto','include':['file_search_call.results']}");
    static const char *const names[] = {"odd", "max_tool_calls", "store", "truncation", "include"};
    assert_int_equal(q->unknown_count, 5);
    for (size_t i = 0; i < 5; i++)
        assert_string_equal(q->unknown[i], names[i]);
}

static void t03_system_texts_stand_first_wherever_they_were(void **state)
{
    const struct tr_request *q = read_ok(
        *state, "{'model':'m','input':[{'role':'user','content':'a'},{'role':'developer','content':"
                "[{'type':'input_text','text':'two'}]},{'role':'user','content':'b'},{'role':"
                "'system','content':'three'}],'instructions':'one'}");
    assert_int_equal(q->system_count, 3);
    assert_int_equal(q->system_apart, 1);
    is(q->system[0].text, "one");
    is(q->system[1].text, "two");
    is(q->system[2].text, "three");
    assert_int_equal(q->turn_count, 2);
}

static void t01_t05_calls_and_outputs_in_a_row_are_one_turn_each(void **state)
{
    const struct tr_request *q = read_ok(
        *state,
        "{'model':'m','input':[{'role':'user','content':'go'},"
        "{'type':'reasoning','id':'rs_1','summary':[{'type':'summary_text','text':'a'},{'type':"
        "'summary_text','text':'b'}],'encrypted_content':'sy1.anthropic.SIG'},"
        "{'type':'function_call','id':'fc_1','call_id':'c1','name':'f','arguments':'{}',"
        "'status':'completed'},"
        "{'type':'function_call','call_id':'c2','name':'g','arguments':''},"
        "{'type':'function_call_output','call_id':'c2','output':'two'},"
        "{'type':'function_call_output','call_id':'c1','output':[{'type':'input_text','text':'o'},"
        "{'type':'input_image','image_url':'data:image/png;base64,AAAA'}]},"
        "{'type':'message','role':'assistant','content':[{'type':'output_text','text':'t',"
        "'annotations':[]},{'type':'refusal','refusal':'r'}]}]}");
    assert_int_equal(q->turn_count, 4);
    const struct tr_turn *said = &q->turns[1], *given = &q->turns[2], *last = &q->turns[3];
    assert_int_equal(said->role, TR_ASSISTANT);
    assert_int_equal(said->part_count, 3);
    assert_int_equal(said->parts[0].kind, TR_PART_REASONING);
    is(said->parts[0].reasoning.text, "a\n\nb");
    is(said->parts[0].reasoning.signature, "SIG");
    assert_int_equal(said->parts[0].reasoning.vendor, DIALECT_ANTHROPIC);
    is(said->parts[1].call.id, "c1");
    is(said->parts[1].call.arguments, "{}");
    is(said->parts[2].call.name, "g");
    assert_int_equal(given->role, TR_TOOL);
    assert_int_equal(given->part_count, 2);
    is(given->parts[0].result.call_id, "c2");
    is(given->parts[0].result.parts[0].text, "two");
    assert_int_equal(given->parts[1].result.part_count, 2);
    assert_int_equal(given->parts[1].result.parts[1].kind, TR_PART_IMAGE);
    is(given->parts[1].result.parts[1].media.base64, "AAAA");
    assert_int_equal(last->role, TR_ASSISTANT);
    assert_int_equal(last->part_count, 2);
    assert_int_equal(last->parts[1].kind, TR_PART_REFUSAL);
}

static void t07_opaque_reasoning_is_told_from_signatures(void **state)
{
    const struct tr_request *q = read_ok(
        *state, "{'model':'m','input':[{'role':'user','content':'go'},"
                "{'type':'reasoning','summary':[],'encrypted_content':'sy1.anthropic.=ALL'},"
                "{'type':'reasoning','summary':[],'encrypted_content':'sy1.anthropic.SIG'},"
                "{'type':'reasoning','summary':[],'encrypted_content':'gAAAA'},"
                "{'type':'reasoning','summary':[]},"
                "{'type':'item_reference','id':'rs_sy1_0a_1'},"
                "{'type':'reasoning','summary':[],'encrypted_content':'sy1.gemini.~T'},"
                "{'type':'function_call','call_id':'c1','name':'f','arguments':'{}'},"
                "{'type':'function_call','call_id':'c2','name':'f','arguments':'{}'}]}");
    const struct tr_turn *t = &q->turns[1];
    assert_int_equal(t->part_count, 5);
    is(t->parts[0].reasoning.opaque, "ALL");
    is(t->parts[1].reasoning.signature, "SIG");
    is(t->parts[2].reasoning.opaque, "gAAAA");
    assert_int_equal(t->parts[2].reasoning.vendor, DIALECTS);
    is(t->parts[3].call.signature, "T");
    assert_int_equal(t->parts[4].call.signature.len, 0);
}

static void media_come_by_value_and_by_address(void **state)
{
    const struct tr_request *q = read_ok(
        *state,
        "{'model':'m','input':[{'role':'user','content':["
        "{'type':'input_image','image_url':'https://x/y.png','detail':'low'},"
        "{'type':'input_file','filename':'a.pdf','file_data':'data:application/pdf;base64,QUJD'},"
        "{'type':'input_file','file_url':'https://x/y.pdf'},"
        "{'type':'input_audio','input_audio':{'data':'AAAA','format':'wav'}},"
        "{'type':'input_text','text':'t','cache_control':{'type':'ephemeral','ttl':'1h'}}]}]}");
    const struct tr_part *p = q->turns[0].parts;
    is(p[0].media.url, "https://x/y.png");
    is(p[0].media.detail, "low");
    is(p[1].media.base64, "QUJD");
    is(p[1].media.name, "a.pdf");
    is(p[2].media.url, "https://x/y.pdf");
    is(p[3].media.mime, "audio/wav");
    assert_int_equal(p[4].cache.ttl_s, 3600);
}

static void tools_are_flat_and_a_choice_may_allow_some(void **state)
{
#define TOOLS                                                                                      \
    "'tools':[{'type':'function','name':'f','description':'d','parameters':{'type':'object'},"     \
    "'strict':false},{'type':'function','name':'g','parameters':null}]"
    const struct tr_request *q = read_ok(*state, "{'model':'m','input':'x'," TOOLS
                                                 ",'tool_choice':{'type':'function','name':'g'}}");
    assert_int_equal(q->tool_count, 2);
    is(q->tools[0].description, "d");
    assert_int_equal(q->tools[0].strict, 0);
    assert_int_equal(q->tools[1].strict, -1);
    assert_int_equal(q->tools[1].schema.len, 0);
    assert_int_equal(q->tool_choice, TR_CHOICE_NAMED);
    is(q->tool_name, "g");
    q = read_ok(*state, "{'model':'m','input':'x'," TOOLS
                        ",'tool_choice':{'type':'allowed_tools','mode':'required','tools':[{'type':"
                        "'function','name':'g'}]}}");
    assert_int_equal(q->tool_count, 1);
    is(q->tools[0].name, "g");
    assert_int_equal(q->tool_choice, TR_CHOICE_REQUIRED);
    q = read_ok(*state, "{'model':'m','input':'x','tools':[],'tool_choice':'none'}"); /* t21 */
    assert_int_equal(q->tool_count, 0);
    assert_int_equal(q->tool_choice, TR_CHOICE_NONE);
}

static void what_one_provider_keeps_is_unsupported(void **state)
{
    static const struct {
        const char *body, *param;
    } rows[] = {
        {"{'model':'m','input':'x','previous_response_id':'r'}", "previous_response_id"},
        {"{'model':'m','input':'x','conversation':'c'}", "conversation"},
        {"{'model':'m','input':'x','prompt':{'id':'p'}}", "prompt"},
        {"{'model':'m','input':'x','background':true}", "background"},
        {"{'model':'m','input':[{'type':'item_reference','id':'i'}]}", "input[0].type"},
        {"{'model':'m','input':[{'id':'i'}]}", "input[0]"},
        {"{'model':'m','input':[{'type':'computer_call'}]}", "input[0].type"},
        {"{'model':'m','input':'x','tools':[{'type':'web_search'}]}", "tools[0].type"},
        {"{'model':'m','input':'x','tool_choice':{'type':'mcp'}}", "tool_choice.type"},
        {"{'model':'m','input':[{'role':'user','content':[{'type':'input_file','file_id':'f'}]}]}",
         "input[0].content[0].file_id"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        read_refused(*state, rows[i].body, rows[i].param, CALL_FORBIDDEN_FIELD);
}

static void t20_what_is_wrong_is_refused_with_its_path(void **state)
{
    static const struct {
        const char *body, *param;
    } rows[] = {
        {"{'model':'m','input':7}", "input"},
        {"{'model':'m','input':[7]}", "input[0]"},
        {"{'model':'m','input':[{'role':'judge','content':'x'}]}", "input[0].role"},
        {"{'model':'m','input':[{'role':'user','content':[{'type':'smell'}]}]}",
         "input[0].content[0].type"},
        {"{'model':'m','input':[{'role':'user','content':[{'type':'input_image'}]}]}",
         "input[0].content[0]"},
        {"{'model':'m','input':[{'role':'user','content':[{'type':'input_image','image_url':"
         "'data:image/png,x'}]}]}",
         "input[0].content[0].image_url"},
        {"{'model':'m','input':[{'role':'system','content':[{'type':'input_image','image_url':"
         "'https://x'}]}]}",
         "input[0].content"},
        {"{'model':'m','input':[{'type':'function_call','name':'f','arguments':'{}'}]}",
         "input[0]"},
        {"{'model':'m','input':[{'type':'function_call','call_id':'c','name':'f','arguments':{}}]}",
         "input[0].arguments"},
        {"{'model':'m','input':[{'type':'function_call_output','call_id':'c'}]}", "input[0]"},
        {"{'model':'m','input':'x','text':{'format':{'type':'xml'}}}", "text.format.type"},
        {"{'model':'m','input':'x','text':{'verbosity':'loud'}}", "text.verbosity"},
        {"{'model':'m','input':'x','reasoning':{'effort':'huge'}}", "reasoning.effort"},
        {"{'model':'m','input':'x','tools':[{'type':'function'}]}", "tools[0]"},
        {"{'model':'m','input':'x','tool_choice':'maybe'}", "tool_choice"},
        {"{'model':'m','input':'x','tools':[{'type':'function','name':'f'}],'tool_choice':{'type':"
         "'allowed_tools','mode':'auto','tools':[]}}",
         "tool_choice.tools"},
        {"{'model':'m','input':'x','include':'all'}", "include"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        read_refused(*state, rows[i].body, rows[i].param, CALL_BAD_FIELD);
}

static void f30_reading_survives_each_failed_allocation(void **state)
{
    static const char *const text =
        "{'model':'\\u006d','input':[{'role':'user','content':[{'type':'input_text','text':"
        "'\\u0061'}]},{'type':'reasoning','summary':[{'text':'a'},{'text':'b'}]},{'type':"
        "'function_call','call_id':'c','name':'f','arguments':'\\u007b}'},{'type':"
        "'function_call_output','call_id':'c','output':'o'}],'tools':[{'type':'function','name':"
        "'f'}],'metadata':{'a':'b'},'odd':1}";
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        struct tr_kit *kit = *state;
        tr_kit_teardown(state);
        tr_kit_setup(state);
        kit->pool.max_free = 0;
        const char *body = quotes(&kit->arena, text).data;
        fault_arm_alloc(n);
        int rc = tr_kit_read(kit, DIALECT_RESPONSES, body);
        fired = fault_disarm();
        assert_true(fired ? rc == ERR_NOMEM || rc == ERR_TOO_LARGE : rc == 0);
    }
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, tr_kit_setup, tr_kit_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_text_is_a_turn_of_the_user),
        TEST(every_parameter_has_its_place),
        TEST(what_is_not_known_is_noted_by_its_path),
        TEST(t03_system_texts_stand_first_wherever_they_were),
        TEST(t01_t05_calls_and_outputs_in_a_row_are_one_turn_each),
        TEST(t07_opaque_reasoning_is_told_from_signatures),
        TEST(media_come_by_value_and_by_address),
        TEST(tools_are_flat_and_a_choice_may_allow_some),
        TEST(what_one_provider_keeps_is_unsupported),
        TEST(t20_what_is_wrong_is_refused_with_its_path),
        TEST(f30_reading_survives_each_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
