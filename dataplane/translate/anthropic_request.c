/* A caller's Messages body in the neutral form: the fields beside the dialogue. */
#include "dataplane/translate/anthropic_internal.h"

#include "dataplane/translate/effort.h"

static int read_max_tokens(struct tr_reading *r, uint32_t node)
{
    return tr_take_i64(r, node, 1, UINT32_MAX, &r->out->max_output);
}

static int read_metadata(struct tr_reading *r, uint32_t node)
{
    return tr_take_text(r, tr_member(r, node, STR("user_id")), &r->out->user);
}

static int read_tier(struct tr_reading *r, uint32_t node)
{
    if (!tr_is_given(r, node))
        return 0;
    if (tr_says(r, node, STR("auto")))
        r->out->tier = TR_TIER_AUTO;
    else if (tr_says(r, node, STR("standard_only")))
        r->out->tier = TR_TIER_DEFAULT;
    else
        return tr_reading_refuse(r, node, NULL);
    return 0;
}

static int read_speed(struct tr_reading *r, uint32_t node)
{
    if (tr_says(r, node, STR("fast")))
        r->out->tier = TR_TIER_PRIORITY;
    return 0;
}

/* Off, as much as the model sees fit, or so many tokens. */
static int read_thinking(struct tr_reading *r, uint32_t node)
{
    struct tr_request *q = r->out;
    if (!tr_is_given(r, node))
        return 0;
    uint32_t type = tr_member(r, node, STR("type"));
    uint32_t budget = tr_member(r, node, STR("budget_tokens"));
    uint32_t display = tr_member(r, node, STR("display"));
    if (tr_says(r, display, STR("summarized")))
        q->think_shown = 1;
    else if (tr_says(r, display, STR("omitted")))
        q->think_shown = 0;
    if (tr_says(r, type, STR("adaptive"))) {
        q->think_auto = true;
        return 0;
    }
    if (tr_says(r, type, STR("enabled"))) {
        if (!tr_is_given(r, budget))
            return tr_reading_refuse(r, node, "thinking of type enabled needs budget_tokens");
        return tr_take_i64(r, budget, 1, UINT32_MAX, &q->think_budget);
    }
    if (tr_says(r, type, STR("disabled")) || tr_says(r, type, STR("between_tools"))) {
        q->think_budget = 0;
        return 0;
    }
    return tr_reading_refuse(r, type == JSON_NONE ? node : type, NULL);
}

static int read_format(struct tr_reading *r, uint32_t node)
{
    struct tr_request *q = r->out;
    if (!tr_is_given(r, node))
        return 0;
    if (!tr_says(r, tr_member(r, node, STR("type")), STR("json_schema")))
        return tr_reading_refuse(r, node, NULL);
    uint32_t schema = tr_member(r, node, STR("schema"));
    if (json_kind(r->json, schema) != JSON_OBJECT)
        return tr_reading_refuse(r, node, NULL);
    q->format = TR_FORMAT_SCHEMA;
    q->format_strict = 1; /* There is no other in this dialect. */
    q->format_name = STR("answer");
    return tr_take_object(r, schema, &q->format_schema);
}

static int read_output_config(struct tr_reading *r, uint32_t node)
{
    struct str name = STR_NULL;
    uint32_t effort = tr_member(r, node, STR("effort"));
    int rc = tr_take_text(r, effort, &name);
    if (rc == 0 && name.len > 0) {
        r->out->effort = tr_effort_of(name);
        if (r->out->effort == TR_EFFORT_UNSET)
            rc = tr_reading_refuse(r, effort, NULL);
    }
    return rc == 0 ? read_format(r, tr_member(r, node, STR("format"))) : rc;
}

static const struct tr_field fields[] = {
    TR_FIELD("model", tr_field_model),
    TR_FIELD("messages", tr_field_nothing),
    TR_FIELD("system", tr_field_nothing),
    TR_FIELD("cache_control", tr_field_nothing),
    TR_FIELD("max_tokens", read_max_tokens),
    TR_FIELD("stream", tr_field_stream),
    TR_FIELD("tools", anthropic_read_tools),
    TR_FIELD("tool_choice", anthropic_read_choice),
    TR_FIELD("thinking", read_thinking),
    TR_FIELD("output_config", read_output_config),
    TR_FIELD("output_format", read_format),
    TR_FIELD("metadata", read_metadata),
    TR_FIELD("temperature", tr_field_temperature),
    TR_FIELD("top_p", tr_field_top_p),
    TR_FIELD("top_k", tr_field_top_k),
    TR_FIELD("stop_sequences", tr_take_stops),
    TR_FIELD("service_tier", read_tier),
    TR_FIELD("speed", read_speed),
};

/* "cache_control" of the request: a mark at the end of what there is. */
static int read_root_cache(struct tr_reading *r)
{
    struct tr_cache cache = {0};
    struct tr_request *q = r->out;
    int rc = tr_take_cache(r, tr_member(r, JSON_ROOT, STR("cache_control")), &cache);
    if (rc != 0 || cache.ttl_s == 0 || q->turn_count == 0)
        return rc;
    const struct tr_turn *last = &q->turns[q->turn_count - 1];
    if (last->part_count > 0 && last->parts[last->part_count - 1].cache.ttl_s == 0)
        last->parts[last->part_count - 1].cache = cache;
    return 0;
}

int anthropic_read_request(const struct json *j, struct arena *arena, struct tr_request *out,
                           struct call_refusal *refusal)
{
    struct tr_reading r;
    int rc = tr_reading_begin(&r, j, arena, out, refusal);
    if (rc == 0)
        rc = tr_reading_fields(&r, fields, sizeof fields / sizeof fields[0]);
    if (rc == 0)
        rc = anthropic_read_dialogue(&r);
    if (rc == 0)
        rc = read_root_cache(&r);
    if (rc == 0 && out->think_budget == 0) /* Off has the last word over an effort. */
        out->effort = TR_EFFORT_NONE;
    return rc;
}

const struct tr_caller_dialect tr_caller_anthropic = {
    .dialect = DIALECT_ANTHROPIC,
    .read_request = anthropic_read_request,
    .state_bytes = sizeof(struct anthropic_printing),
    .print_event = anthropic_print_event,
    .end = anthropic_print_end,
    .print_answer = anthropic_print_answer,
};
