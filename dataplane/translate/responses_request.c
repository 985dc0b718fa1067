/* A caller's Responses body in the neutral form: the fields beside input and tools
 * (PROVIDER-TRANSLATION section 10). */
#include "dataplane/translate/openai_internal.h"
#include "dataplane/translate/responses_internal.h"

static int read_format(struct tr_reading *r, uint32_t node)
{
    uint32_t type = tr_member(r, node, STR("type"));
    if (!tr_is_given(r, node) || tr_says(r, type, STR("text")))
        return 0;
    r->out->format = TR_FORMAT_JSON;
    if (tr_says(r, type, STR("json_object")))
        return 0;
    if (!tr_says(r, type, STR("json_schema")))
        return tr_reading_refuse(r, type == JSON_NONE ? node : type, NULL);
    return tr_openai_read_schema(r, node);
}

static int read_text(struct tr_reading *r, uint32_t node)
{
    uint32_t verbosity = tr_member(r, node, STR("verbosity"));
    if (json_kind(r->json, node) != JSON_OBJECT)
        return tr_reading_refuse(r, node, NULL);
    int rc = tr_is_given(r, verbosity) ? tr_openai_read_verbosity(r, verbosity) : 0;
    return rc == 0 ? read_format(r, tr_member(r, node, STR("format"))) : rc;
}

static int read_reasoning(struct tr_reading *r, uint32_t node)
{
    uint32_t effort = tr_member(r, node, STR("effort"));
    if (json_kind(r->json, node) != JSON_OBJECT)
        return tr_reading_refuse(r, node, NULL);
    if (tr_is_given(r, tr_member(r, node, STR("summary"))) ||
        tr_is_given(r, tr_member(r, node, STR("generate_summary"))))
        r->out->think_shown = 1;
    return tr_is_given(r, effort) ? tr_openai_read_effort(r, effort) : 0;
}

static int read_include(struct tr_reading *r, uint32_t node)
{
    uint32_t one;
    int rc = 0;
    if (json_kind(r->json, node) != JSON_ARRAY)
        return tr_reading_refuse(r, node, NULL);
    for (uint32_t at = 0; rc == 0 && json_next_element(r->json, node, &at, &one);) {
        if (tr_says(r, one, STR("message.output_text.logprobs")))
            r->out->logprobs = 1;
        else if (!tr_says(r, one, STR("reasoning.encrypted_content"))) /* Always is. */
            rc = tr_reading_unknown(r, "include");
    }
    return rc;
}

static int read_truncation(struct tr_reading *r, uint32_t node)
{
    return tr_says(r, node, STR("auto")) ? tr_reading_unknown(r, "truncation") : 0;
}

static int read_kept(struct tr_reading *r, uint32_t node)
{
    return tr_openai_unsupported(r, node,
                                 "names what one provider keeps; send the whole dialogue as input");
}

static int read_background(struct tr_reading *r, uint32_t node)
{
    if (json_kind(r->json, node) != JSON_TRUE)
        return 0;
    return tr_openai_unsupported(r, node, "is not possible with this model's provider");
}

static const struct tr_field fields[] = {
    TR_FIELD("model", tr_field_model),
    TR_FIELD("input", tr_responses_read_input),
    TR_FIELD("instructions", tr_field_nothing), /* By input, before it. */
    TR_FIELD("stream", tr_field_stream),
    TR_FIELD("stream_options", tr_field_nothing),
    TR_FIELD("max_output_tokens", tr_openai_read_max_output),
    TR_FIELD("temperature", tr_field_temperature),
    TR_FIELD("top_p", tr_field_top_p),
    TR_FIELD("top_logprobs", tr_openai_read_top_logprobs),
    TR_FIELD("tools", tr_openai_read_tools),
    TR_FIELD("tool_choice", tr_openai_read_choice),
    TR_FIELD("parallel_tool_calls", tr_field_parallel),
    TR_FIELD("text", read_text),
    TR_FIELD("reasoning", read_reasoning),
    TR_FIELD("service_tier", tr_openai_read_tier),
    TR_FIELD("metadata", tr_take_metadata),
    TR_FIELD("user", tr_openai_read_user),
    TR_FIELD("safety_identifier", tr_openai_read_safety_identifier),
    TR_FIELD("prompt_cache_key", tr_openai_read_cache_key),
    TR_FIELD("include", read_include),
    TR_FIELD("truncation", read_truncation),
    TR_FIELD("store", tr_openai_read_store),
    TR_FIELD("previous_response_id", read_kept),
    TR_FIELD("conversation", read_kept),
    TR_FIELD("prompt", read_kept),
    TR_FIELD("background", read_background),
    TR_FIELDS_ROUTER,
};

int tr_responses_read_request(const struct json *j, struct arena *arena, struct tr_request *out,
                              struct call_refusal *refusal)
{
    return tr_openai_read_body(j, arena, fields, sizeof fields / sizeof fields[0], out, refusal);
}
