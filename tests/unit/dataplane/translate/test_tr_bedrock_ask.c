/* What Converse is asked, of callers of each dialect. Test texts have ' for ". */
#include <string.h>

#include "dataplane/translate/notes.h"
#include "tests/unit/dataplane/translate/tr_kit.h"

#define CLAUDE "us.anthropic.claude-sonnet-4-5-20250929-v1:0" /* Budgets, schema, prefill. */
#define NEWER  "anthropic.claude-opus-5-5"                    /* Efforts; no sampling. */
#define OLDER  "anthropic.claude-3-5-haiku-20241022-v1:0"     /* No reasoning, no schema. */
#define NOVA   "amazon.nova-pro-v1:0"
#define NOVA2  "amazon.nova-2-lite-v1:0"
#define OSS    "openai.gpt-oss-120b-1:0"
#define LLAMA  "meta.llama3-1-70b-instruct-v1:0"

static char plain_room[2][32768];

static const char *q(unsigned slot, const char *text)
{
    size_t i = 0;
    for (; text[i] != '\0' && i < sizeof plain_room[0] - 1; i++)
        plain_room[slot][i] = text[i] == '\'' ? '"' : text[i];
    plain_room[slot][i] = '\0';
    return plain_room[slot];
}

static void asked_in(void **state, enum dialect caller, const char *model, const char *body,
                     const char *expected, const char *notes)
{
    struct tr_kit *kit = *state;
    struct tr_target target = tr_kit_target("bedrock", model);
    assert_string_equal(tr_kit_asked(kit, caller, q(0, body), DIALECT_BEDROCK, &target),
                        q(1, expected));
    assert_string_equal(kit->notes, notes);
}

static void asked(void **state, const char *model, const char *body, const char *expected,
                  const char *notes)
{
    asked_in(state, DIALECT_OPENAI, model, body, expected, notes);
}

static void refused(void **state, const char *model, const char *body, const char *param)
{
    struct tr_kit *kit = *state;
    struct tr_target target = tr_kit_target("bedrock", model);
    tr_kit_reset(kit);
    assert_int_equal(tr_kit_ask(kit, DIALECT_OPENAI, q(0, body), DIALECT_BEDROCK, &target),
                     ERR_INVALID);
    if (!str_is(kit->refusal.param, param))
        fail_msg("refused at %.*s", STR_ARG(kit->refusal.param));
    assert_int_equal(kit->out.len, 0);
}

#define HI     "'messages':[{'role':'user','content':'hi'}]"
#define HI_UP  "'messages':[{'role':'user','content':[{'text':'hi'}]}]"
#define MAX(n) "'inferenceConfig':{'maxTokens':" n "}"
#define TOOL                                                                                       \
    "'tools':[{'type':'function','function':{'name':'f','description':'d','parameters':{'type':"   \
    "'object','properties':{}}}}]"
#define SPEC                                                                                       \
    "{'toolSpec':{'name':'f','description':'d','inputSchema':{'json':{'type':'object',"            \
    "'properties':{}}}}}"
#define CALL(id, args)                                                                             \
    "{'id':'" id "','type':'function','function':{'name':'f','arguments':'" args "'}}"
#define RESULT(id, text)    "{'role':'tool','tool_call_id':'" id "','content':'" text "'}"
#define USE(id, input)      "{'toolUse':{'toolUseId':'" id "','name':'f','input':" input "}}"
#define RESULT_UP(id, text) "{'toolResult':{'toolUseId':'" id "','content':[{'text':'" text "'}]}}"

static void each_caller_dialect_asks_the_same(void **state)
{
    static const char up[] = "{'system':[{'text':'be good'}]," HI_UP
                             ",'inferenceConfig':{'maxTokens':9,'temperature':0.5}}";
    asked(state, CLAUDE,
          "{'model':'m','messages':[{'role':'system','content':'be good'},{'role':'user',"
          "'content':'hi'}],'max_tokens':9,'temperature':0.5}",
          up, "");
    asked_in(state, DIALECT_ANTHROPIC, CLAUDE,
             "{'model':'m','system':'be good'," HI ",'max_tokens':9,'temperature':0.5}", up, "");
    asked_in(state, DIALECT_RESPONSES, CLAUDE,
             "{'model':'m','instructions':'be good','input':'hi','max_output_tokens':9,"
             "'temperature':0.5}",
             up, "");
}

static void t15_max_tokens_that_is_absent_is_the_models_own_but_for_claude(void **state)
{
    asked(state, CLAUDE, "{'model':'m'," HI "}", "{" HI_UP "," MAX("64000") "}", "");
    asked(state, NOVA, "{'model':'m'," HI "}", "{" HI_UP "}", "");
    asked(state, NOVA, "{'model':'m'," HI ",'max_tokens':20000}", "{" HI_UP "," MAX("10000") "}",
          "clamped_max_tokens");
    struct tr_kit *kit = *state;
    struct tr_target target = tr_kit_target("bedrock", NOVA);
    target.clamp_output = 50;
    assert_string_equal(
        tr_kit_asked(kit, DIALECT_OPENAI, q(0, "{'model':'m'," HI "}"), DIALECT_BEDROCK, &target),
        q(1, "{" HI_UP "," MAX("50") "}"));
}

static void sampling_and_stops_are_set_within_what_is_taken(void **state)
{
    asked(state, NOVA,
          "{'model':'m'," HI ",'temperature':1.5,'top_p':0.25,'top_k':20,'stop':['END',' ']}",
          "{" HI_UP ",'inferenceConfig':{'temperature':1,'topP':0.25,'stopSequences':['END']},"
          "'additionalModelRequestFields':{'inferenceConfig':{'topK':20}}}",
          "clamped_temperature, dropped_stop");
    asked(state, CLAUDE,
          "{'model':'m'," HI ",'max_tokens':5,'temperature':0,'top_p':0.5,'top_k':3,"
          "'stop':'X'}",
          "{" HI_UP ",'inferenceConfig':{'maxTokens':5,'temperature':0,'stopSequences':['X']},"
          "'additionalModelRequestFields':{'top_k':3},"
          "'additionalModelResponseFieldPaths':['/stop_sequence']}",
          "dropped_top_p");
    asked(state, NEWER, "{'model':'m'," HI ",'max_tokens':5,'temperature':0.3,'top_k':3}",
          "{" HI_UP "," MAX("5") "}", "dropped_temperature, dropped_top_k");
    asked(state, LLAMA, "{'model':'m'," HI ",'top_k':3,'seed':1,'logprobs':true}", "{" HI_UP "}",
          "dropped_seed, dropped_logprobs, dropped_top_k");
}

static void t01_results_stand_in_the_order_of_their_calls(void **state)
{
    asked(
        state, CLAUDE,
        "{'model':'m'," TOOL ",'max_tokens':5,'messages':[{'role':'user','content':'hi'},{'role':"
        "'assistant','content':null,'tool_calls':[" CALL("a", "{\\'x\\':1}") "," CALL(
            "b", "") "]}," RESULT("b", "two") "," RESULT("a", "one") ",{'role':'user','content':"
                                                                     "'so?'}]}",
        "{'toolConfig':{'tools':[" SPEC "]},'messages':[{'role':'user','content':[{'text':'hi'}]}"
        ",{'role':'assistant','content':[" USE("a", "{'x':1}") "," USE(
            "b",
            "{}") "]},{'role':'user','content':[" RESULT_UP("a",
                                                            "one") "," RESULT_UP("b",
                                                                                 "two") ",{'text':'"
                                                                                        "so?'}]}]"
                                                                                        "," MAX(
                                                                                            "5") "}",
        "");
}

static void t02_arguments_that_are_no_object_are_put_into_one(void **state)
{
    asked(state, NOVA,
          "{'model':'m'," TOOL ",'messages':[{'role':'user','content':'hi'},{'role':'assistant',"
          "'tool_calls':[" CALL("a", "{broken") "]}," RESULT("a", "") "]}",
          "{'toolConfig':{'tools':[" SPEC "]},'messages':[{'role':'user','content':[{'text':'hi'}]}"
          ",{'role':'assistant','content':[" USE(
              "a", "{'rawInvalidInput':'{broken'}") "]},"
                                                    "{'role':'user','content':[" RESULT_UP(
                                                        "a", "(no output)") "]}]}",
          "");
}

static void t03_system_texts_amid_the_dialogue_go_to_the_front(void **state)
{
    asked(state, NOVA,
          "{'model':'m','messages':[{'role':'system','content':'a'},{'role':'user','content':'hi'},"
          "{'role':'system','content':'b'},{'role':'user','content':'ho'}]}",
          "{'system':[{'text':'a'},{'text':'b'}],'messages':[{'role':'user','content':[{'text':"
          "'hi'},{'text':'ho'}]}]}",
          "");
}

#define PNG                                                                                        \
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M8AAwUBAScY4ncAAAAASUVORK5CYII="

static void t04_a_picture_in_a_result_stays_there(void **state)
{
    asked_in(state, DIALECT_ANTHROPIC, CLAUDE,
             "{'model':'m','max_tokens':5,'tools':[{'name':'f','description':'d','input_schema':"
             "{'type':'object','properties':{}}}],'messages':[{'role':'user','content':'hi'},"
             "{'role':'assistant','content':[{'type':'tool_use','id':'a','name':'f','input':{}}]},"
             "{'role':'user','content':[{'type':'tool_result','tool_use_id':'a','is_error':true,"
             "'content':[{'type':'text','text':'see'},{'type':'image','source':{'type':'base64',"
             "'media_type':'image/jpeg','data':'" PNG "'}}]}]}]}",
             "{'toolConfig':{'tools':[" SPEC "]},'messages':[{'role':'user','content':[{'text':"
             "'hi'}]},{'role':'assistant','content':[" USE(
                 "a", "{}") "]},{'role':'user','content'"
                            ":[{'toolResult':{'toolUseId':'a','content':[{'text':'see'},{'image':{'"
                            "format':'png',"
                            "'source':{'bytes':'" PNG "'}}}],'status':'error'}}]}]," MAX("5") "}",
             "");
}

static void pictures_and_documents_go_by_value_or_from_s3(void **state)
{
    asked(state, NOVA,
          "{'model':'m','messages':[{'role':'user','content':[{'type':'image_url','image_url':"
          "{'url':'data:image/jpeg;base64," PNG "'}},{'type':'image_url','image_url':{'url':"
          "'s3://b/x.webp'}}]}]}",
          "{'messages':[{'role':'user','content':[{'image':{'format':'png','source':{'bytes':'" PNG
          "'}}},{'image':{'format':'webp','source':{'s3Location':{'uri':'s3://b/x.webp'}}}}]}]}",
          "");
    asked(state, NOVA,
          "{'model':'m','messages':[{'role':'user','content':[{'type':'file','file':{'filename':"
          "'my_report..v2.pdf','file_data':'data:application/pdf;base64,JVBERi0xLjQ='}},{'type':"
          "'file','file':{'filename':'my report  v.txt','file_data':'data:text/plain;base64,aGk='}}"
          "]}]}",
          "{'messages':[{'role':'user','content':[{'document':{'format':'pdf','name':"
          "'my report v2 1','source':{'bytes':'JVBERi0xLjQ='}}},{'document':{'format':'txt','name':"
          "'my report v 2','source':{'bytes':'aGk='}}},{'text':'See the document.'}]}]}",
          "");
    refused(state, NOVA,
            "{'model':'m','messages':[{'role':'user','content':[{'type':'image_url','image_url':"
            "{'url':'https://x.example/a.png'}}]}]}",
            "messages");
}

static void t05_a_turn_of_calls_alone_is_one(void **state)
{
    asked(state, LLAMA,
          "{'model':'m'," TOOL ",'messages':[{'role':'user','content':'hi'},{'role':'assistant',"
          "'content':null,'tool_calls':[" CALL("a", "{}") "]},{'role':'user','content':'so?'}]}",
          "{'toolConfig':{'tools':[" SPEC "]},'messages':[{'role':'user','content':[{'text':'hi'}]}"
          ",{'role':'assistant','content':[" USE(
              "a",
              "{}") "]},{'role':'user','content':["
                    "{'toolResult':{'toolUseId':'a','content':[{'text':'The tool failed.'},{'text':"
                    "'no result'}]}},{'text':'so?'}]}]}",
          "filled_result");
}

/* ---- tools ---- */

#define HISTORY                                                                                    \
    "'messages':[{'role':'user','content':'hi'},{'role':'assistant','tool_calls':[" CALL(          \
        "a", "{}") "]}," RESULT("a", "one") "]"
#define HISTORY_UP                                                                                 \
    "'messages':[{'role':'user','content':[{'text':'hi'}]},{'role':'assistant','content':[" USE(   \
        "a", "{}") "]},{'role':'user','content':[" RESULT_UP("a", "one") "]}]"

static void calls_without_tools_are_declared_for_claude_and_flat_for_others(void **state)
{
    asked(state, CLAUDE, "{'model':'m','max_tokens':5," HISTORY "}",
          "{'toolConfig':{'tools':[{'toolSpec':{'name':'unavailable','description':"
          "'Not available: do not call it.','inputSchema':{'json':{'type':'object','properties':{}"
          "}}}}]}," HISTORY_UP
          "," MAX("5") ",'additionalModelRequestFields':{'tool_choice':{'type':'none'}}}",
          "declared_stub_tool");
    asked(state, LLAMA, "{'model':'m'," HISTORY "}",
          "{'messages':[{'role':'user','content':[{'text':'hi'}]},{'role':'assistant','content':["
          "{'text':'[Called the tool f with {}]'}]},{'role':'user','content':[{'text':"
          "'[Result of the tool f:]'},{'text':'one'}]}]}",
          "flattened_tools");
    asked(state, NOVA, "{'model':'m'," TOOL ",'tool_choice':'none'," HISTORY "}",
          "{'messages':[{'role':'user','content':[{'text':'hi'}]},{'role':'assistant','content':["
          "{'text':'[Called the tool f with {}]'}]},{'role':'user','content':[{'text':"
          "'[Result of the tool f:]'},{'text':'one'}]}]}",
          "flattened_tools");
}

static void choices_are_said_as_far_as_a_model_knows_them(void **state)
{
#define WITH(choice) "{'toolConfig':{'tools':[" SPEC "]" choice "}," HI_UP "}"
#define ASK(choice)  "{'model':'m'," HI "," TOOL ",'tool_choice':" choice "}"
    asked(state, NOVA, ASK("'auto'"), WITH(",'toolChoice':{'auto':{}}"), "");
    asked(state, NOVA, ASK("'required'"), WITH(",'toolChoice':{'any':{}}"), "");
    asked(state, NOVA, ASK("{'type':'function','function':{'name':'f'}}"),
          WITH(",'toolChoice':{'tool':{'name':'f'}}"), "");
    asked(state, NOVA, ASK("'none'"), "{" HI_UP "}", "");
    asked(state, LLAMA, ASK("'required'"), WITH(",'toolChoice':{'auto':{}}"), "tool_choice_auto");
    asked(state, "mistral.mistral-large-2407-v1:0",
          ASK("{'type':'function','function':{'name':'f'}}"), WITH(",'toolChoice':{'any':{}}"),
          "tool_choice_required");
    asked(state, NOVA, "{'model':'m'," HI "," TOOL ",'parallel_tool_calls':false}", WITH(""),
          "first_call_only");
    asked(state, CLAUDE,
          "{'model':'m','max_tokens':5," HI "," TOOL ",'parallel_tool_calls':false,'tool_choice':"
          "'required'}",
          "{'toolConfig':{'tools':[" SPEC "]}," HI_UP
          "," MAX("5") ",'additionalModelRequestFields':{'tool_choice':{'type':'any',"
                       "'disable_parallel_tool_use':true}}}",
          "");
    asked(state, CLAUDE, "{'model':'m','max_tokens':5," HI "," TOOL ",'tool_choice':'none'}",
          "{'toolConfig':{'tools':[" SPEC "]}," HI_UP
          "," MAX("5") ",'additionalModelRequestFields':{'tool_choice':{'type':'none'}}}",
          "");
}

static void t19_ids_and_names_are_made_to_fit(void **state)
{
    asked(state, "mistral.mistral-large-2407-v1:0",
          "{'model':'m','tools':[{'type':'function','function':{'name':'my.tool'}}],'messages':["
          "{'role':'user','content':'hi'}]}",
          "{'toolConfig':{'tools':[{'toolSpec':{'name':'my_tool','inputSchema':{'json':{'type':"
          "'object','properties':{}}}}}]}," HI_UP "}",
          "renamed_tool");
    struct tr_kit *kit = *state;
    struct tr_target target = tr_kit_target("bedrock", "mistral.mistral-large-2407-v1:0");
    const char *out = tr_kit_asked(kit, DIALECT_OPENAI, q(0, "{'model':'m'," TOOL "," HISTORY "}"),
                                   DIALECT_BEDROCK, &target);
    const char *use = strstr(out, "\"toolUseId\":\"");
    assert_non_null(use);
    assert_int_equal(strcspn(use + 13, "\""), 9);
    assert_non_null(strstr(use + 13, "\"toolResult\":{\"toolUseId\":\""));
    assert_memory_equal(use + 13, strstr(use, "\"toolResult\":{\"toolUseId\":\"") + 27, 9);
}

static void t21_empty_tools_are_none(void **state)
{
    asked(state, NOVA, "{'model':'m'," HI ",'tools':[],'tool_choice':'required'}", "{" HI_UP "}",
          "");
}

/* ---- reasoning ---- */

static void efforts_go_where_a_model_has_them(void **state)
{
    asked(state, CLAUDE,
          "{'model':'m'," HI ",'max_tokens':9000,'reasoning_effort':'low',"
          "'temperature':0.5}",
          "{" HI_UP "," MAX("9000") ",'additionalModelRequestFields':{'thinking':{'type':'enabled',"
                                    "'budget_tokens':2048}}}",
          "dropped_temperature");
    asked(state, NEWER, "{'model':'m'," HI ",'max_tokens':9,'reasoning_effort':'high'}",
          "{" HI_UP "," MAX("9") ",'additionalModelRequestFields':{'thinking':{'type':'adaptive'},"
                                 "'output_config':{'effort':'high'}}}",
          "");
    asked(state, OSS, "{'model':'m'," HI ",'reasoning_effort':'high','temperature':0.5}",
          "{" HI_UP ",'inferenceConfig':{'temperature':0.5},'additionalModelRequestFields':"
          "{'reasoning_effort':'high'}}",
          "");
    asked(state, NOVA2, "{'model':'m'," HI ",'reasoning_effort':'low'}",
          "{" HI_UP ",'additionalModelRequestFields':{'reasoningConfig':{'type':'enabled',"
          "'maxReasoningEffort':'low'}}}",
          "");
    asked(state, NOVA2, "{'model':'m'," HI ",'reasoning_effort':'high','max_tokens':9}",
          "{" HI_UP "," MAX("9") ",'additionalModelRequestFields':{'reasoningConfig':{'type':"
                                 "'enabled','maxReasoningEffort':'medium'}}}",
          "lowered_reasoning_effort");
    asked(state, NOVA2, "{'model':'m'," HI ",'reasoning_effort':'none'}",
          "{" HI_UP ",'additionalModelRequestFields':{'reasoningConfig':{'type':'disabled'}}}", "");
    asked(state, LLAMA, "{'model':'m'," HI ",'reasoning_effort':'high'}", "{" HI_UP "}",
          "dropped_reasoning_effort");
}

#define LOOP(block)                                                                                \
    "{'model':'m','max_tokens':9000,'thinking':{'type':'enabled','budget_tokens':2000},'tools':["  \
    "{'name':'f','description':'d','input_schema':{'type':'object','properties':{}}}],"            \
    "'messages':[{'role':'user','content':'hi'},{'role':'assistant','content':[" block             \
    "{'type':'tool_use','id':'a','name':'f','input':{}}]},{'role':'user','content':[{'type':"      \
    "'tool_result','tool_use_id':'a','content':'one'}]}]}"
#define THINKING(signature) "{'type':'thinking','thinking':'hm','signature':'" signature "'},"

static void t07_reasoning_goes_back_to_bedrock_alone(void **state)
{
    asked_in(
        state, DIALECT_ANTHROPIC, CLAUDE, LOOP(THINKING("sy1.bedrock.c2ln")),
        "{'toolConfig':{'tools':[" SPEC "]},'messages':[{'role':'user','content':[{'text':"
        "'hi'}]},{'role':'assistant','content':[{'reasoningContent':{'reasoningText':{'text':"
        "'hm','signature':'c2ln'}}}," USE("a", "{}") "]},{'role':'user','content':[" RESULT_UP(
            "a", "one") "]}]," MAX("9000") ",'additionalModelRequestFields':"
                                           "{'thinking':{'type':'enabled','budget_tokens':2000}}}",
        "");
    asked_in(state, DIALECT_ANTHROPIC, CLAUDE, LOOP(THINKING("sy1.anthropic.c2ln")),
             "{'toolConfig':{'tools':[" SPEC "]}," HISTORY_UP
             "," MAX("9000") ",'additionalModelRequestFields':{'thinking':{'type':'disabled'}}}",
             "reasoning_off_unsigned");
}

/* ---- format, cache, metadata ---- */

#define SCHEMA_ASK                                                                                 \
    "'response_format':{'type':'json_schema','json_schema':{'name':'n','schema':{'type':"          \
    "'object','properties':{'a':{'type':'string'}}}}}"

static void t14_a_format_is_asked_for_as_a_model_knows_it(void **state)
{
    asked(state, CLAUDE, "{'model':'m','max_tokens':5," HI "," SCHEMA_ASK "}",
          "{" HI_UP
          "," MAX("5") ",'outputConfig':{'textFormat':{'type':'json_schema',"
                       "'structure':{'jsonSchema':{'schema':'{\\'additionalProperties\\':false,\\'"
                       "type\\':"
                       "\\'object\\',\\'properties\\':{\\'a\\':{\\'type\\':\\'string\\'}}}',"
                       "'name':'n'}}}}}",
          "");
    asked(state, NOVA, "{'model':'m'," HI "," SCHEMA_ASK "}",
          "{'toolConfig':{'tools':[{'toolSpec':{'name':'json','inputSchema':{'json':{'type':"
          "'object','properties':{'a':{'type':'string'}}}}}}],'toolChoice':{'any':{}}}," HI_UP "}",
          "");
    asked(state, LLAMA, "{'model':'m'," HI "," SCHEMA_ASK "}",
          "{'system':[{'text':'Answer with one JSON object and nothing else: no text before or "
          "after it, no code fence. It must be valid against this JSON schema:\\n{\\'type\\':"
          "\\'object\\',\\'properties\\':{\\'a\\':{\\'type\\':\\'string\\'}}}'}]," HI_UP "}",
          "format_in_words");
}

static void marks_become_cache_points_where_they_are_known(void **state)
{
    static const char body[] =
        "{'model':'m','max_tokens':5,'system':[{'type':'text','text':'s','cache_control':{'type':"
        "'ephemeral','ttl':'1h'}}],'tools':[{'name':'f','description':'d','input_schema':{'type':"
        "'object','properties':{}},'cache_control':{'type':'ephemeral'}}],'messages':[{'role':"
        "'user','content':[{'type':'text','text':'hi','cache_control':{'type':'ephemeral'}}]}]}";
    asked_in(state, DIALECT_ANTHROPIC, CLAUDE, body,
             "{'toolConfig':{'tools':[" SPEC ",{'cachePoint':{'type':'default'}}]},'system':["
             "{'text':'s'},{'cachePoint':{'type':'default','ttl':'1h'}}],'messages':[{'role':"
             "'user','content':[{'text':'hi'},{'cachePoint':{'type':'default'}}]}]," MAX("5") "}",
             "");
    asked_in(state, DIALECT_ANTHROPIC, NOVA, body,
             "{'toolConfig':{'tools':[" SPEC "]},'system':[{'text':'s'},{'cachePoint':{'type':"
             "'default','ttl':'1h'}}],'messages':[{'role':'user','content':[{'text':'hi'},"
             "{'cachePoint':{'type':'default'}}]}]," MAX("5") "}",
             "");
    asked_in(state, DIALECT_ANTHROPIC, LLAMA, body,
             "{'toolConfig':{'tools':[" SPEC "]},'system':[{'text':'s'}]," HI_UP "," MAX("5") "}",
             "");
}

static void who_asks_is_metadata_and_the_tier_is_told(void **state)
{
    asked(state, NOVA,
          "{'model':'m'," HI ",'user':'u-1','metadata':{'team':'x y','odd':'a\\'b'},"
          "'service_tier':'priority'}",
          "{" HI_UP ",'serviceTier':{'type':'priority'},'requestMetadata':{'user_id':'u-1','team':"
          "'x y'}}",
          "dropped_metadata");
    asked(state, NOVA, "{'model':'m'," HI ",'user':'a!b','service_tier':'auto'}", "{" HI_UP "}",
          "dropped_user");
    asked(state, NOVA, "{'model':'m'," HI ",'user':'a\\u0000b'}", "{" HI_UP "}", "dropped_user");
}

static void t13_two_answers_and_a_prefill_are_refused(void **state)
{
    refused(state, NOVA, "{'model':'m'," HI ",'n':2}", "n");
    refused(state, NOVA,
            "{'model':'m','messages':[{'role':'user','content':'hi'},{'role':'assistant',"
            "'content':'a'}]}",
            "messages");
    asked(state, OLDER,
          "{'model':'m','max_tokens':5,'messages':[{'role':'user','content':'hi'},{'role':"
          "'assistant','content':'a '}]}",
          "{'messages':[{'role':'user','content':[{'text':'hi'}]},{'role':'assistant','content':["
          "{'text':'a'}]}]," MAX("5") "}",
          "");
}

static void blank_texts_do_not_go(void **state)
{
    asked(state, NOVA,
          "{'model':'m','messages':[{'role':'system','content':' '},{'role':'user','content':[{"
          "'type':'text','text':' \\n'},{'type':'text','text':'hi'}]}]}",
          "{" HI_UP "}", "");
    asked(state, NOVA, "{'model':'m','messages':[{'role':'user','content':'  '}]}",
          "{'messages':[{'role':'user','content':[{'text':'.'}]}]}", "");
}

static void paths_hold_the_model_percent_encoded(void **state)
{
    struct tr_kit *kit = *state;
    struct tr_target target =
        tr_kit_target("bedrock", "arn:aws:bedrock:us-east-1:1:inference-profile/us.x-v1:0");
    const struct tr_provider_dialect *d = tr_provider_find(DIALECT_BEDROCK);
    assert_int_equal(d->print_path(&target, true, &kit->out), 0);
    assert_string_equal(tr_kit_out(kit), "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-"
                                         "profile%2Fus.x-v1%3A0/converse-stream");
}

static void memory_that_is_refused_is_told(void **state)
{
    struct tr_kit *kit = *state;
    struct tr_target target = tr_kit_target("bedrock", CLAUDE);
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        tr_kit_teardown(state);
        tr_kit_setup(state);
        fault_arm_alloc(n);
        int rc = tr_kit_ask(kit, DIALECT_ANTHROPIC, q(0, LOOP(THINKING("sy1.bedrock.c2ln"))),
                            DIALECT_BEDROCK, &target);
        fired = fault_disarm();
        if (fired)
            assert_true(rc == ERR_NOMEM || rc == ERR_TOO_LARGE);
        else
            assert_int_equal(rc, 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tr_kit_setup, tr_kit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_caller_dialect_asks_the_same),
        TEST(t15_max_tokens_that_is_absent_is_the_models_own_but_for_claude),
        TEST(sampling_and_stops_are_set_within_what_is_taken),
        TEST(t01_results_stand_in_the_order_of_their_calls),
        TEST(t02_arguments_that_are_no_object_are_put_into_one),
        TEST(t03_system_texts_amid_the_dialogue_go_to_the_front),
        TEST(t04_a_picture_in_a_result_stays_there),
        TEST(pictures_and_documents_go_by_value_or_from_s3),
        TEST(t05_a_turn_of_calls_alone_is_one),
        TEST(calls_without_tools_are_declared_for_claude_and_flat_for_others),
        TEST(choices_are_said_as_far_as_a_model_knows_them),
        TEST(t19_ids_and_names_are_made_to_fit),
        TEST(t21_empty_tools_are_none),
        TEST(efforts_go_where_a_model_has_them),
        TEST(t07_reasoning_goes_back_to_bedrock_alone),
        TEST(t14_a_format_is_asked_for_as_a_model_knows_it),
        TEST(marks_become_cache_points_where_they_are_known),
        TEST(who_asks_is_metadata_and_the_tier_is_told),
        TEST(t13_two_answers_and_a_prefill_are_refused),
        TEST(blank_texts_do_not_go),
        TEST(paths_hold_the_model_percent_encoded),
        TEST(memory_that_is_refused_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
