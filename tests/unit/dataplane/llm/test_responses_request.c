#include "dataplane/llm/responses.h"

#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/route/features.h"
#include "dataplane/llm/tokens.h"
#include "tests/lib/fault.h"
#include "tests/unit/dataplane/llm/llm_kit.h"
#include "tests/unit/dataplane/llm/quotes.h"

/* ' stands for " in all bodies here. */
static int read_text(struct llm_kit *f, const char *body)
{
    return llm_kit_read_quotes(f, &provider_responses, body);
}

static void assert_refused(struct llm_kit *f, const char *body, enum call_defect defect,
                           const char *param)
{
    llm_kit_assert_refused(f, read_text(f, body), defect, param);
}

static void a_call_with_a_text_is_summed_up(void **state)
{
    struct llm_kit *f = *state;
    assert_int_equal(read_text(f,
                               "{'model':'auto','input':'Hi \\u00e9','instructions':'Be brief.',"
                               "'stream':true,'max_output_tokens':50,'temperature':0.5,'top_p':1,"
                               "'text':{'format':{'type':'json_schema','name':'x','schema':{}}},"
                               "'reasoning':{'effort':'low','summary':'auto'},'user':'u-1',"
                               "'tools':[{'type':'function','name':'find','parameters':{}}],"
                               "'tool_choice':'auto','parallel_tool_calls':false,'store':false,"
                               "'include':['reasoning.encrypted_content'],'metadata':{'a':'b'}}"),
                     0);
    const struct call *c = &f->call;
    assert_true(str_is(c->model, "auto"));
    assert_true(c->stream && c->include_usage && c->json_mode && c->reasoning && c->has_tools);
    assert_false(c->has_images || c->price_varies || c->input_elsewhere);
    assert_int_equal(c->max_tokens, 50);
    assert_int_equal(c->temperature_q8, 128);
    assert_int_equal(c->choices, 1);
    assert_int_equal(c->messages, 1);
    assert_int_equal(c->turns, 1);
    assert_int_equal(c->tool_count, 1);
    assert_true(str_is(c->tools[0], "find"));
    assert_true(str_is(c->text, "Hi \xc3\xa9"));
    assert_true(str_is(c->system, "Be brief."));
    assert_true(str_is(c->user, "u-1"));
    assert_true(str_is(c->dialogue, "\"Hi \\u00e9\""));
    assert_int_equal(c->text_bytes, 5 + 9);
    assert_true(c->tokens_in > 10 && c->tokens_in < 60);
    assert_int_equal(c->tokens_most, f->body.len + TOKENS_MESSAGE_MOST);
    assert_int_equal(c->bound_to.len, 0);
}

static void items_are_counted_by_what_they_are(void **state)
{
    struct llm_kit *f = *state;
    assert_int_equal(
        read_text(f, "{'model':'m','input':["
                     "{'role':'developer','content':'one'},"
                     "{'type':'message','role':'user','content':[{'type':'input_text','text':'a'},"
                     "{'type':'input_image','image_url':'data:image/png;base64,AAAA'},"
                     "{'type':'input_text','text':'b'}]},"
                     "{'type':'reasoning','id':'rs_1','summary':[{'type':'summary_text','text':"
                     "'hm'}],'encrypted_content':'AAAAAAAAAA'},"
                     "{'type':'function_call','call_id':'c1','name':'f','arguments':'{}'},"
                     "{'type':'function_call_output','call_id':'c1','output':'out'},"
                     "{'type':'function_call_output','call_id':'c2','output':[{'type':"
                     "'input_text','text':'x'}]},"
                     "{'role':'assistant','content':[{'type':'output_text','text':'done',"
                     "'annotations':[]},{'type':'refusal','refusal':'no'}]},"
                     "{'role':'user','content':'last'}]}"),
        0);
    const struct call *c = &f->call;
    assert_int_equal(c->messages, 8);
    assert_int_equal(c->turns, 2);
    assert_int_equal(c->images, 1);
    assert_true(c->has_images);
    assert_true(str_is(c->text, "last"));
    assert_true(str_is(c->system, "one"));
    assert_int_equal(c->text_bytes, 3 + 1 + 1 + 2 + 1 + 2 + 3 + 1 + 4 + 2 + 4);
    assert_int_equal(c->tokens_most,
                     f->body.len - 28 + TOKENS_IMAGE_MOST + 8 * TOKENS_MESSAGE_MOST);
    assert_int_equal(c->bound_to.len, 0);
}

static void null_means_not_given(void **state)
{
    struct llm_kit *f = *state;
    assert_int_equal(
        read_text(f, "{'model':'m','input':'x','instructions':null,'stream':null,'tools':null,"
                     "'max_output_tokens':null,'temperature':null,'top_p':null,'text':null,"
                     "'reasoning':null,'user':null,'service_tier':null,'conversation':null,"
                     "'previous_response_id':null,'prompt':null,'background':null,'store':null,"
                     "'tool_choice':null,'parallel_tool_calls':null,'top_logprobs':null}"),
        0);
    assert_int_equal(f->call.bound_to.len, 0);
    assert_int_equal(f->call.max_tokens, 0);
    assert_false(f->call.stream);
    assert_int_equal(f->call.temperature_q8, FEATURES_TEMPERATURE_UNSET);
}

static void what_lives_with_one_provider_binds_the_call_to_the_dialect(void **state)
{
    struct llm_kit *f = *state;
    static const struct {
        const char *body, *bound_to;
        bool elsewhere, varies;
    } rows[] = {
        {"{'model':'m','previous_response_id':'resp_1','input':'x'}", "previous_response_id", true,
         false},
        {"{'model':'m','input':'x','conversation':{'id':'conv_1'}}", "conversation", true, false},
        {"{'model':'m','prompt':{'id':'p'}}", "prompt", true, false},
        {"{'model':'m','input':'x','background':true}", "background", false, false},
        {"{'model':'m','input':'x','background':false}", NULL, false, false},
        {"{'model':'m','input':[{'type':'item_reference','id':'msg_1'}]}", "input[0].type", true,
         false},
        {"{'model':'m','input':[{'id':'msg_1'}]}", "input[0]", true, false},
        {"{'model':'m','input':[{'role':'user','content':'a'},{'type':'web_search_call','id':'w'}]"
         "}",
         "input[1].type", false, false},
        {"{'model':'m','input':'x','tools':[{'type':'web_search'}]}", "tools[0].type", false, true},
        {"{'model':'m','input':'x','tools':[{'type':'function','name':'f'},{'type':'custom',"
         "'name':'g'}]}",
         NULL, false, false},
        {"{'model':'m','input':[{'type':'custom_tool_call','call_id':'c','name':'g','input':'x'},"
         "{'type':'custom_tool_call_output','call_id':'c','output':'y'}]}",
         NULL, false, false},
        {"{'model':'m','input':'x','tool_choice':{'type':'custom','name':'g'}}", NULL, false,
         false},
        {"{'model':'m','input':'x','tool_choice':{'type':'file_search'}}", "tool_choice.type",
         false, false},
        {"{'model':'m','input':'x','tool_choice':{'type':'function','name':'f'}}", NULL, false,
         false},
        {"{'model':'m','input':[{'role':'user','content':[{'type':'input_image','file_id':'f'}]}]}",
         "input[0].content[0].file_id", false, false},
        {"{'model':'m','input':[{'role':'user','content':[{'type':'input_file','file_id':'f'}]}]}",
         "input[0].content[0].file_id", true, false},
        {"{'model':'m','input':[{'role':'user','content':[{'type':'input_file','file_url':'f'}]}]}",
         NULL, true, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(read_text(f, rows[i].body), 0);
        if (rows[i].bound_to != NULL)
            assert_string_equal(f->call.bound_to.data, rows[i].bound_to);
        else
            assert_int_equal(f->call.bound_to.len, 0);
        assert_int_equal(f->call.input_elsewhere, rows[i].elsewhere);
        assert_int_equal(f->call.price_varies, rows[i].varies);
        if (rows[i].elsewhere) /* Nothing bounds it but the model's window. */
            assert_int_equal(f->call.tokens_most, UINT32_MAX);
    }
}

static void b13_bytes_that_are_no_json_are_refused_with_their_offset(void **state)
{
    struct llm_kit *f = *state;
    assert_refused(f, "{'model':'m','input':'x',}", CALL_BAD_JSON, NULL);
    assert_int_equal(f->refusal.offset, 25);
    assert_refused(f, "[]", CALL_BAD_JSON, NULL);
    assert_refused(f, "", CALL_BAD_JSON, NULL);
}

static void b14_a_repeated_key_is_refused_with_its_path(void **state)
{
    struct llm_kit *f = *state;
    assert_refused(f, "{'model':'m','input':[{'role':'user','role':'user','content':'x'}]}",
                   CALL_BAD_JSON, "input[0].role");
}

static void b16_counts_are_whole_numbers_in_their_range(void **state)
{
    struct llm_kit *f = *state;
    static const char *const bad[] = {"0", "-1", "1.5", "1e3", "'5'", "4294967296"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char body[128];
        (void)snprintf(body, sizeof body, "{'model':'m','input':'x','max_output_tokens':%s}",
                       bad[i]);
        assert_refused(f, body, CALL_BAD_FIELD, "max_output_tokens");
    }
}

static void b18_fields_that_would_set_an_address_or_a_key_are_refused(void **state)
{
    struct llm_kit *f = *state;
    static const char *const names[] = {"api_base", "base_url",      "api_key",
                                        "headers",  "extra_headers", "extra_body"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char body[128];
        (void)snprintf(body, sizeof body, "{'model':'m','input':'x','%s':'y'}", names[i]);
        assert_refused(f, body, CALL_FORBIDDEN_FIELD, names[i]);
    }
    assert_int_equal(read_text(f, "{'model':'m','input':'x','unheard_of':{'a':1}}"), 0);
    static const char *const varying[] = {"'service_tier':'priority'", "'n':2", "'speed':'fast'"};
    for (size_t i = 0; i < sizeof varying / sizeof varying[0]; i++) {
        char body[128];
        (void)snprintf(body, sizeof body, "{'model':'m','input':'x',%s}", varying[i]);
        assert_int_equal(read_text(f, body), 0);
        assert_true(f->call.price_varies);
    }
}

static void t20_fields_of_the_wrong_kind_are_refused_with_their_path(void **state)
{
    struct llm_kit *f = *state;
    static const struct {
        const char *body, *param;
        enum call_defect defect;
    } rows[] = {
        {"{'input':'x'}", "model", CALL_MISSING_FIELD},
        {"{'model':'m'}", "input", CALL_MISSING_FIELD},
        {"{'model':'m','input':[]}", "input", CALL_MISSING_FIELD},
        {"{'model':'','input':'x'}", "model", CALL_BAD_FIELD},
        {"{'model':'m','input':7}", "input", CALL_BAD_FIELD},
        {"{'model':'m','input':[7]}", "input[0]", CALL_BAD_FIELD},
        {"{'model':'m','input':[{}]}", "input[0]", CALL_BAD_FIELD},
        {"{'model':'m','input':[{'type':3}]}", "input[0].type", CALL_BAD_FIELD},
        {"{'model':'m','input':[{'type':'message','content':'x'}]}", "input[0]", CALL_BAD_FIELD},
        {"{'model':'m','input':[{'role':'judge','content':'x'}]}", "input[0].role", CALL_BAD_FIELD},
        {"{'model':'m','input':[{'role':'user'}]}", "input[0]", CALL_BAD_FIELD},
        {"{'model':'m','input':[{'role':'user','content':[{'type':'smell'}]}]}",
         "input[0].content[0].type", CALL_BAD_FIELD},
        {"{'model':'m','input':[{'role':'user','content':[{'type':'input_text'}]}]}",
         "input[0].content[0]", CALL_BAD_FIELD},
        {"{'model':'m','input':[{'role':'user','content':[{'type':'input_image'}]}]}",
         "input[0].content[0]", CALL_BAD_FIELD},
        {"{'model':'m','input':[{'type':'function_call','name':'f'}]}", "input[0]", CALL_BAD_FIELD},
        {"{'model':'m','input':[{'type':'function_call_output','output':7}]}", "input[0].output",
         CALL_BAD_FIELD},
        {"{'model':'m','input':'x','instructions':[]}", "instructions", CALL_BAD_FIELD},
        {"{'model':'m','input':'x','text':7}", "text", CALL_BAD_FIELD},
        {"{'model':'m','input':'x','text':{'format':'json'}}", "text.format", CALL_BAD_FIELD},
        {"{'model':'m','input':'x','reasoning':'low'}", "reasoning", CALL_BAD_FIELD},
        {"{'model':'m','input':'x','reasoning':{'effort':1}}", "reasoning.effort", CALL_BAD_FIELD},
        {"{'model':'m','input':'x','tools':{}}", "tools", CALL_BAD_FIELD},
        {"{'model':'m','input':'x','tools':[{}]}", "tools[0]", CALL_BAD_FIELD},
        {"{'model':'m','input':'x','tool_choice':{}}", "tool_choice", CALL_BAD_FIELD},
        {"{'model':'m','input':'x','background':1}", "background", CALL_BAD_FIELD},
        {"{'model':'m','input':'x','temperature':3}", "temperature", CALL_BAD_FIELD},
        {"{'model':'m','input':'x','stream':'yes'}", "stream", CALL_BAD_FIELD},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_refused(f, rows[i].body, rows[i].defect, rows[i].param);
}

static void assert_sent(struct llm_kit *f, const char *body, uint32_t clamp, const char *model,
                        const char *want)
{
    struct str pieces[PROVIDER_REQUEST_PIECES_MAX];
    size_t count = 0;
    struct buf out;
    assert_int_equal(read_text(f, body), 0);
    f->call.clamp_out = clamp;
    assert_int_equal(
        responses_write_call(&f->call, f->body, str_from(model), &f->arena, pieces, &count), 0);
    assert_true(count <= PROVIDER_REQUEST_PIECES_MAX);
    buf_init(&out, 4096);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(buf_append_str(&out, pieces[i]), 0);
    assert_string_equal(buf_cstr(&out), quotes(&f->arena, want).data);
    buf_deinit(&out);
}

static void only_model_and_the_clamp_change_on_the_way_up(void **state)
{
    struct llm_kit *f = *state;
    static const struct {
        const char *body, *want;
        uint32_t clamp;
    } rows[] = {
        {"{'model':'up','input':'x', 'y' : [1.0e5 ] }",
         "{'model':'up','input':'x', 'y' : [1.0e5 ] }", 0},
        {"{ 'model' : 'auto' ,'input':'x','stream':true}",
         "{ 'model' : 'up' ,'input':'x','stream':true}", 0},
        {"{'input':'x','model':'a\\u0075to'}", "{'input':'x','model':'up'}", 0},
        {"{'max_output_tokens' : 900,'model':'auto','input':'x'}",
         "{'max_output_tokens' : 30,'model':'up','input':'x'}", 30},
        {"{'model':'auto','max_output_tokens':null,'input':'x'}",
         "{'model':'up','max_output_tokens':30,'input':'x'}", 30},
        {"{'model':'auto','input':'x'}", "{'max_output_tokens':30,'model':'up','input':'x'}", 30},
        {"{'model':'auto','input':'x','reasoning':{'effort':'low','max_tokens':30}}",
         "{'max_output_tokens':30,'model':'up','input':'x',"
         "'reasoning':{'effort':'low','max_tokens':29}}",
         30},
        {"{'model':'auto','input':'x','reasoning':{'max_tokens':29}}",
         "{'max_output_tokens':30,'model':'up','input':'x','reasoning':{'max_tokens':29}}", 30},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_sent(f, rows[i].body, rows[i].clamp, "up", rows[i].want);
}

static void t07_reasoning_under_our_seal_goes_to_no_provider_of_this_dialect(void **state)
{
    struct llm_kit *f = *state;
#define SEALED(n) "{'type':'reasoning','id':'rs_" n "','summary':[],'encrypted_content':'sy1.a.x'}"
#define OWN       "{'type':'item_reference','id':'rs_sy1_0a_1'}"
#define KEPT      "{'type':'reasoning','id':'rs_1','summary':[],'encrypted_content':'gA'}"
#define USER      "{'role':'user','content':'x'}"
    static const struct {
        const char *input, *want;
    } rows[] = {
        {"[" USER "," KEPT "]", "[" USER "," KEPT "]"},
        {"[" SEALED("1") "," USER "]", "[" USER "]"},
        {"[" USER " , " SEALED("1") "\n]", "[" USER " ]"},
        {"[" USER "," SEALED("1") "," OWN "," KEPT "]", "[" USER "," KEPT "]"},
        {"[" USER "," SEALED("1") " , " OWN "]", "[" USER "]"},
        {"[ " SEALED("1") "," SEALED("2") " ]", "[ ]"},
        {"[" SEALED("1") "," USER "," OWN "," USER "," SEALED("2") "]", "[" USER "," USER "]"},
        {"[" USER ",{'type':'reasoning','id':'rs_sy1_9','summary':[]}]", "[" USER "]"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char body[1024], want[1024];
        (void)snprintf(body, sizeof body, "{'model':'auto','input':%s}", rows[i].input);
        (void)snprintf(want, sizeof want, "{'max_output_tokens':30,'model':'up','input':%s}",
                       rows[i].want);
        assert_sent(f, body, 30, "up", want);
        assert_int_equal(f->call.bound_to.len, 0);
    }
    assert_refused(f,
                   "{'model':'m','input':[" USER ",{'type':'item_reference','id':'msg_sy1_0a_1'}]}",
                   CALL_BAD_FIELD, "input[1]");
}

static void f30_reading_survives_each_failed_allocation(void **state)
{
    struct llm_kit *f = *state;
    static const char *const text =
        "{'model':'m','input':[{'role':'user','content':[{'type':'input_text','text':'a\\u00e9'},"
        "{'type':'input_text','text':'b'}]},{'type':'item_reference','id':'i'},{'type':'item_"
        "reference','id':'rs_sy1_1'}],'tools':[{'type':"
        "'function','name':'\\u0066'}],'user':'\\u0075'}";
    struct arena own;
    arena_init(&own, &f->pool, 1U << 20);
    struct str body = quotes(&own, text);
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        struct arena_pool pool;
        struct arena arena;
        struct json json;
        arena_pool_init(&pool, 0);
        arena_init(&arena, &pool, 1U << 20);
        json_init(&json, JSON_NODES_MAX);
        fault_arm_alloc(n);
        int rc = responses_read_call(&json, body, &arena, &f->call, &f->refusal);
        fired = fault_disarm();
        assert_int_equal(rc, fired ? ERR_NOMEM : 0);
        if (fired)
            assert_int_equal(f->refusal.defect, CALL_NO_MEMORY);
        json_deinit(&json);
        arena_reset(&arena);
        arena_pool_deinit(&pool);
    }
    arena_reset(&own);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, llm_kit_setup, llm_kit_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_call_with_a_text_is_summed_up),
        TEST(items_are_counted_by_what_they_are),
        TEST(null_means_not_given),
        TEST(what_lives_with_one_provider_binds_the_call_to_the_dialect),
        TEST(b13_bytes_that_are_no_json_are_refused_with_their_offset),
        TEST(b14_a_repeated_key_is_refused_with_its_path),
        TEST(b16_counts_are_whole_numbers_in_their_range),
        TEST(b18_fields_that_would_set_an_address_or_a_key_are_refused),
        TEST(t20_fields_of_the_wrong_kind_are_refused_with_their_path),
        TEST(only_model_and_the_clamp_change_on_the_way_up),
        TEST(t07_reasoning_under_our_seal_goes_to_no_provider_of_this_dialect),
        TEST(f30_reading_survives_each_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
