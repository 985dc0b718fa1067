/* What of a request's tools can be said to a model behind Converse, and the fields that are the
 * model's own. Claude takes there what it takes in its own dialect; for the others the table of
 * deviations says what they know. */
#include "dataplane/translate/bedrock_internal.h"

#include "dataplane/translate/arguments.h"
#include "dataplane/translate/effort.h"
#include "dataplane/translate/names.h"

/* Calls may stand in a dialogue only where tools are declared. */
static void plan_history(struct bedrock_asking *b)
{
    bool declared =
        b->a.request->tool_count > 0 && (b->choice != TR_CHOICE_NONE || b->choice_apart);
    if (!b->a.turns.calls || declared)
        return;
    if (b->claude) {
        b->stub = true;
        b->choice = TR_CHOICE_NONE;
        b->choice_apart = true;
        tr_note(b->a.terms, "declared_stub_tool");
    } else {
        b->flatten = true;
        tr_note(b->a.terms, "flattened_tools");
    }
}

static int plan_forced(struct bedrock_asking *b)
{
    bool thinks = b->claude && anthropic_thinks(&b->a);
    if (b->choice != TR_CHOICE_REQUIRED && b->choice != TR_CHOICE_NAMED)
        return 0;
    if (thinks || bedrock_has(b, TR_QUIRK_NO_FORCED_TOOL)) {
        if (b->a.target->reject_unsupported)
            return tr_refuse(b->a.refusal, "tool_choice",
                             "a tool cannot be forced of this model, or not while it reasons");
        tr_note(b->a.terms, "tool_choice_auto");
        b->choice = TR_CHOICE_AUTO;
    } else if (b->choice == TR_CHOICE_NAMED && bedrock_has(b, TR_QUIRK_ANY_TOOL)) {
        tr_note(b->a.terms, "tool_choice_required");
        b->choice = TR_CHOICE_REQUIRED;
    }
    return 0;
}

/* "none" and "one call alone" have no words here, but Claude knows its own. */
static void plan_apart(struct bedrock_asking *b)
{
    const struct tr_request *r = b->a.request;
    if (r->tool_count == 0)
        return;
    if (b->claude) {
        b->choice_apart = b->choice == TR_CHOICE_NONE || r->parallel == 0;
    } else if (r->parallel == 0 && b->choice != TR_CHOICE_NONE) {
        b->a.terms->first_call_only = true;
        tr_note(b->a.terms, "first_call_only");
    }
}

int bedrock_plan(struct bedrock_asking *b)
{
    b->choice =
        b->a.format == ANTHROPIC_FORMAT_TOOL ? TR_CHOICE_REQUIRED : b->a.request->tool_choice;
    if (b->a.format == ANTHROPIC_FORMAT_TOOL)
        return 0;
    int rc = plan_forced(b);
    if (rc != 0)
        return rc;
    plan_apart(b);
    plan_history(b);
    return 0;
}

/* ---- fields of the model's own ---- */

static void begin(struct bedrock_asking *b, const char *key)
{
    json_writer_key(b->a.w, key);
    json_writer_begin_object(b->a.w);
}

static void put_thinking(struct bedrock_asking *b)
{
    struct json_writer *w = b->a.w;
    static const char *const types[] = {
        [ANTHROPIC_THINKING_OFF] = "disabled",
        [ANTHROPIC_THINKING_BETWEEN] = "between_tools",
        [ANTHROPIC_THINKING_ADAPTIVE] = "adaptive",
        [ANTHROPIC_THINKING_BUDGET] = "enabled",
    };
    if (b->a.thinking != ANTHROPIC_THINKING_UNSAID) {
        begin(b, "thinking");
        tr_put_text(w, "type", str_from(types[b->a.thinking]));
        if (b->a.thinking == ANTHROPIC_THINKING_BUDGET)
            tr_put_whole(w, "budget_tokens", b->a.budget);
        json_writer_end_object(w);
    }
    if (b->a.effort != TR_EFFORT_UNSET) {
        begin(b, "output_config");
        tr_put_text(w, "effort", str_from(tr_effort_name(b->a.effort)));
        json_writer_end_object(w);
    }
}

static void put_effort(struct bedrock_asking *b)
{
    struct str effort = str_from(tr_effort_name(b->a.effort));
    switch (b->a.target->quirks->effort_field) {
    case TR_EFFORT_FIELD_NONE:
        return;
    case TR_EFFORT_FIELD_THINKING:
        put_thinking(b);
        return;
    case TR_EFFORT_FIELD_PLAIN:
        tr_put_text(b->a.w, "reasoning_effort", effort);
        return;
    case TR_EFFORT_FIELD_REASONING:
        if (effort.len == 0)
            return;
        begin(b, "reasoning");
        tr_put_text(b->a.w, "effort", effort);
        json_writer_end_object(b->a.w);
        return;
    case TR_EFFORT_FIELD_NOVA:
        if (b->a.thinking == ANTHROPIC_THINKING_UNSAID)
            return;
        begin(b, "reasoningConfig");
        tr_put_text(b->a.w, "type",
                    b->a.thinking == ANTHROPIC_THINKING_OFF ? STR("disabled") : STR("enabled"));
        if (b->a.thinking != ANTHROPIC_THINKING_OFF)
            tr_put_text(b->a.w, "maxReasoningEffort", effort.len > 0 ? effort : STR("medium"));
        json_writer_end_object(b->a.w);
        return;
    }
}

static void put_choice(struct bedrock_asking *b)
{
    const struct tr_request *r = b->a.request;
    static const char *const types[] = {
        [TR_CHOICE_UNSET] = "auto",   [TR_CHOICE_AUTO] = "auto",  [TR_CHOICE_NONE] = "none",
        [TR_CHOICE_REQUIRED] = "any", [TR_CHOICE_NAMED] = "tool",
    };
    if (!b->choice_apart)
        return;
    begin(b, "tool_choice");
    tr_put_text(b->a.w, "type", str_from(types[b->choice]));
    if (b->choice == TR_CHOICE_NAMED)
        tr_put_text(b->a.w, "name", tr_names_inside(b->a.terms, r->tool_name));
    if (r->parallel == 0 && b->choice != TR_CHOICE_NONE) {
        json_writer_key(b->a.w, "disable_parallel_tool_use");
        json_writer_bool(b->a.w, true);
    }
    json_writer_end_object(b->a.w);
}

static bool says_top_k(const struct bedrock_asking *b)
{
    if (b->claude)
        return !anthropic_thinks(&b->a) && !bedrock_has(b, TR_QUIRK_NO_SAMPLING);
    return bedrock_has(b, TR_QUIRK_TOP_K) || bedrock_has(b, TR_QUIRK_TOP_K_NOVA);
}

static void put_top_k(struct bedrock_asking *b)
{
    int64_t top_k = b->a.request->top_k;
    if (top_k == TR_UNSET || !says_top_k(b))
        return;
    if (!bedrock_has(b, TR_QUIRK_TOP_K_NOVA)) {
        tr_put_whole(b->a.w, "top_k", top_k);
        return;
    }
    begin(b, "inferenceConfig");
    tr_put_whole(b->a.w, "topK", top_k);
    json_writer_end_object(b->a.w);
}

static bool says_effort(const struct bedrock_asking *b)
{
    return b->a.target->quirks->effort_field != TR_EFFORT_FIELD_NONE &&
           (b->a.effort != TR_EFFORT_UNSET ||
            (b->a.thinking != ANTHROPIC_THINKING_UNSAID &&
             (b->claude || b->a.target->quirks->effort_field == TR_EFFORT_FIELD_NOVA)));
}

void bedrock_put_model_fields(struct bedrock_asking *b)
{
    bool top_k = b->a.request->top_k != TR_UNSET && says_top_k(b);
    bool effort = says_effort(b);
    if (!top_k && !effort && !b->choice_apart)
        return;
    begin(b, "additionalModelRequestFields");
    if (effort)
        put_effort(b);
    put_top_k(b);
    put_choice(b);
    json_writer_end_object(b->a.w);
}
