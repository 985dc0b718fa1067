#include "dataplane/translate/asking.h"

#include "dataplane/translate/arguments.h"
#include "dataplane/translate/effort.h"

int tr_drop_given(const struct tr_target *target, struct tr_terms *terms,
                  struct call_refusal *refusal, const struct tr_loss *rows, size_t count)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++)
        if (rows[i].given)
            rc = tr_drop(target, terms, refusal, rows[i].param);
    return rc;
}

bool tr_asks_logprobs(const struct tr_request *request)
{
    return request->logprobs > 0 ||
           (request->top_logprobs != TR_UNSET && request->top_logprobs > 0);
}

int64_t tr_ask_output(const struct tr_request *request, const struct tr_target *target,
                      struct tr_terms *terms, int64_t min)
{
    int64_t most = target->max_output > 0 ? target->max_output : target->quirks->max_output;
    int64_t tokens = request->max_output;
    if (tokens != TR_UNSET && most > 0 && tokens > most) {
        tokens = most;
        tr_note(terms, "clipped_max_tokens");
    }
    if (tokens != TR_UNSET && tokens < min) {
        tokens = min;
        tr_note(terms, "raised_max_tokens");
    }
    if (target->clamp_output > 0 && (tokens == TR_UNSET || tokens > target->clamp_output))
        tokens = target->clamp_output;
    return tokens;
}

int64_t tr_room_for_reasoning(const struct tr_request *request, const struct tr_target *target)
{
    const int64_t said = request->max_output;
    if (target->clamp_output > 0 && (said == TR_UNSET || said > target->clamp_output))
        return target->clamp_output;
    return said;
}

void tr_put_stops(struct json_writer *w, const char *key, const struct tr_request *request,
                  uint32_t most, struct tr_terms *terms)
{
    if (request->stop_count == 0)
        return;
    json_writer_key(w, key);
    json_writer_begin_array(w);
    for (uint32_t i = 0; i < request->stop_count && i < most; i++)
        json_writer_string(w, request->stops[i]);
    json_writer_end_array(w);
    if (request->stop_count > most)
        tr_note(terms, "clipped_stop");
}

bool tr_takes_temperature(const struct tr_request *request, const struct tr_target *target)
{
    return !tr_target_has(target, TR_QUIRK_NO_SAMPLING) ||
           (tr_target_has(target, TR_QUIRK_SAMPLING_AT_NONE) &&
            tr_effort_asked(request) == TR_EFFORT_NONE);
}

bool tr_takes_top_p(const struct tr_request *request, const struct tr_target *target)
{
    return tr_takes_temperature(request, target) &&
           !(tr_target_has(target, TR_QUIRK_ONE_SAMPLING) && request->temperature != TR_UNSET);
}

enum tr_effort tr_ask_effort(enum tr_effort asked, const struct tr_target *target,
                             struct tr_terms *terms)
{
    enum tr_effort given = tr_effort_clip(asked, target->quirks->efforts);
    if (given != asked)
        tr_note(terms, "clipped_reasoning_effort");
    return given;
}

enum tr_choice tr_ask_choice(const struct tr_request *request, const struct tr_target *target,
                             struct tr_terms *terms)
{
    const bool forced =
        request->tool_choice == TR_CHOICE_REQUIRED || request->tool_choice == TR_CHOICE_NAMED;
    if (!forced || !tr_target_has(target, TR_QUIRK_NO_FORCED_TOOL))
        return request->tool_choice;
    tr_note(terms, "unforced_tool_choice");
    return TR_CHOICE_AUTO;
}

bool tr_is_named(const struct tr_request *request, const struct tr_tool *tool)
{
    return str_eq(tool->name, request->tool_name);
}

bool tr_names_custom(const struct tr_request *request)
{
    for (uint32_t i = 0; i < request->tool_count; i++)
        if (tr_is_named(request, &request->tools[i]))
            return request->tools[i].custom;
    return false;
}

int tr_check_choice(const struct tr_request *request, struct call_refusal *refusal)
{
    bool known = request->tool_choice != TR_CHOICE_NAMED;
    for (uint32_t i = 0; i < request->tool_count && !known; i++)
        known = tr_is_named(request, &request->tools[i]);
    return known ? 0
                 : tr_refuse(refusal, "tool_choice", "names a tool that is not among the tools");
}

struct str tr_tool_schema(const struct tr_tool *tool)
{
    return tool->schema.len > 0 ? tool->schema : STR("{\"type\":\"object\",\"properties\":{}}");
}
