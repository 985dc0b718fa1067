/* How Gemini is asked to reason and to format: decided before anything is printed, from what the
 * caller said and what the model takes (quirks.h). */
#include "dataplane/translate/arguments.h"
#include "dataplane/translate/effort.h"
#include "dataplane/translate/gemini_internal.h"
#include "dataplane/translate/schema.h"

#define BUDGET_AUTO (-1) /* As the model sees fit. */

/* Of LEVEL models the effort, else the budget; UNSET: nothing is said. */
static enum tr_effort level_of(const struct gemini_asking *a)
{
    return tr_effort_clip(tr_effort_asked(a->request), a->target->quirks->efforts);
}

/* 0: off. */
static int64_t budget_of(const struct gemini_asking *a)
{
    const struct tr_quirks *q = a->target->quirks;
    int64_t asked = tr_budget_asked(a->request);
    if (asked == TR_UNSET)
        return a->request->think_auto ? BUDGET_AUTO : TR_UNSET;
    int64_t given = tr_budget_clip(asked, q->budget_min, q->budget_max,
                                   tr_room_for_reasoning(a->request, a->target));
    if (given == 0 && gemini_has(a, TR_QUIRK_NO_THINKING_OFF))
        return q->budget_min;
    return given;
}

/* What is said of it, if it can be said at all. */
int gemini_plan_thinking(struct gemini_asking *a)
{
    const struct tr_request *r = a->request;
    enum tr_effort asked = tr_effort_asked(r);
    if (asked == TR_EFFORT_UNSET && !r->think_auto)
        return 0;
    if (!gemini_has(a, TR_QUIRK_REASONS))
        return asked == TR_EFFORT_NONE
                   ? 0
                   : tr_drop(a->target, a->terms, a->refusal, "reasoning_effort");
    if (asked == TR_EFFORT_NONE) {
        if (gemini_has(a, TR_QUIRK_NO_THINKING_OFF))
            tr_note(a->terms, "reasoning_not_off");
        return 0;
    }
    if (gemini_has(a, TR_QUIRK_LEVEL)) {
        if (level_of(a) != asked)
            tr_note(a->terms, "clipped_reasoning_effort");
    } else if (budget_of(a) == 0) {
        tr_note(a->terms, "dropped_reasoning_effort"); /* The answer has no room for any. */
    }
    return 0;
}

/* Whose caller asks to reason sees it, unless it says otherwise. */
static bool is_shown(const struct tr_request *r)
{
    enum tr_effort asked = tr_effort_asked(r);
    if (asked == TR_EFFORT_NONE || r->think_shown == 0)
        return false;
    return r->think_shown > 0 || r->think_auto || asked != TR_EFFORT_UNSET;
}

void gemini_put_thinking(struct gemini_asking *a)
{
    const bool shown = is_shown(a->request), level = gemini_has(a, TR_QUIRK_LEVEL);
    enum tr_effort effort = level ? level_of(a) : TR_EFFORT_UNSET;
    int64_t budget = level ? TR_UNSET : budget_of(a);
    if (!gemini_has(a, TR_QUIRK_REASONS) ||
        (!shown && effort == TR_EFFORT_UNSET && budget == TR_UNSET))
        return;
    json_writer_key(a->w, "thinkingConfig");
    json_writer_begin_object(a->w);
    if (effort != TR_EFFORT_UNSET)
        tr_put_text(a->w, "thinkingLevel", str_from(tr_effort_name(effort)));
    tr_put_whole(a->w, "thinkingBudget", budget);
    if (shown && budget != 0) {
        json_writer_key(a->w, "includeThoughts");
        json_writer_bool(a->w, true);
    }
    json_writer_end_object(a->w);
}

/* ---- the form of the answer ---- */

/* Older ones refuse a form beside tools, Gemma refuses it always. */
static bool takes_format(const struct gemini_asking *a)
{
    return gemini_has(a, TR_QUIRK_SCHEMA) &&
           (a->request->tool_count == 0 || gemini_has(a, TR_QUIRK_LEVEL));
}

static int plan_schema(struct gemini_asking *a)
{
    const struct tr_request *r = a->request;
    if (gemini_has(a, TR_QUIRK_JSON_SCHEMA)) {
        a->format = GEMINI_FORMAT_SCHEMA;
        return 0;
    }
    int rc = tr_schema_gemini(r->format_schema, a->arena, &a->openapi);
    if (rc == ERR_INVALID)
        return tr_refuse(a->refusal, "response_format", "the schema is no JSON object");
    a->format = rc == ERR_UNSUPPORTED ? GEMINI_FORMAT_WORDS : GEMINI_FORMAT_OPENAPI;
    return rc == ERR_UNSUPPORTED ? 0 : rc;
}

int gemini_plan_format(struct gemini_asking *a)
{
    int rc = 0;
    switch (a->request->format) {
    case TR_FORMAT_TEXT:
        return 0;
    case TR_FORMAT_JSON:
        a->format = takes_format(a) ? GEMINI_FORMAT_JSON : GEMINI_FORMAT_WORDS;
        break;
    case TR_FORMAT_SCHEMA:
        a->format = GEMINI_FORMAT_WORDS;
        if (takes_format(a))
            rc = plan_schema(a);
        break;
    }
    if (rc == 0 && a->format == GEMINI_FORMAT_WORDS)
        tr_note(a->terms, "format_in_words");
    return rc;
}
