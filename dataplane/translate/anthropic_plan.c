/* How a Messages provider is asked to reason and to format: decided before anything is printed,
 * from what the caller said and what the model takes (quirks.h). */
#include "dataplane/translate/anthropic_internal.h"

#include "dataplane/translate/effort.h"

#define MAX_OUTPUT_UNKNOWN 4096

static bool has(const struct anthropic_asking *a, enum tr_quirk quirk)
{
    return tr_quirks_has(a->target->quirks, quirk);
}

/* Of the model; 0: unknown. */
static int64_t model_max(const struct anthropic_asking *a)
{
    return a->target->max_output != 0 ? a->target->max_output : a->target->quirks->max_output;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void plan_output(struct anthropic_asking *a)
{
    int64_t most = model_max(a);
    a->max_is_ours = a->request->max_output == TR_UNSET;
    a->max_output = a->request->max_output;
    if (a->max_is_ours)
        a->max_output = most != 0 ? most : MAX_OUTPUT_UNKNOWN;
    else if (most != 0 && a->max_output > most) {
        a->max_output = most;
        tr_note(a->terms, "clamped_max_tokens");
    }
    if (a->target->clamp_output != 0)
        a->max_output = least(a->max_output, a->target->clamp_output);
}

/* Adaptive thinking came with the models that know the effort max. */
static bool takes_adaptive(const struct anthropic_asking *a)
{
    return has(a, TR_QUIRK_NO_BUDGET) ||
           (a->target->quirks->efforts & TR_EFFORT_BIT(TR_EFFORT_MAX)) != 0;
}

static void plan_off(struct anthropic_asking *a)
{
    if (!has(a, TR_QUIRK_NO_THINKING_OFF)) {
        a->thinking = ANTHROPIC_THINKING_OFF;
        return;
    }
    tr_note(a->terms, "reasoning_not_off");
    if (has(a, TR_QUIRK_BETWEEN_TOOLS))
        a->thinking = ANTHROPIC_THINKING_BETWEEN;
    else
        a->effort = tr_effort_clip(TR_EFFORT_MINIMAL, a->target->quirks->efforts);
}

/* A budget: raises our own maximum by itself, stays below a caller's. */
static void plan_budget(struct anthropic_asking *a, int64_t wanted)
{
    const struct tr_quirks *q = a->target->quirks;
    int64_t lowest = q->budget_min > TR_BUDGET_MIN ? q->budget_min : TR_BUDGET_MIN;
    if (a->max_is_ours && model_max(a) == 0) {
        a->max_output += wanted;
        if (a->target->clamp_output != 0)
            a->max_output = least(a->max_output, a->target->clamp_output);
    }
    a->budget = tr_budget_clip(wanted, lowest, q->budget_max, a->max_output);
    if (a->budget == 0) {
        tr_note(a->terms, "dropped_reasoning_effort");
        return;
    }
    a->thinking = ANTHROPIC_THINKING_BUDGET;
    if (a->budget < wanted && a->max_output == a->target->clamp_output)
        tr_note(a->terms, "clamped_thinking_budget");
}

static int plan_thinking(struct anthropic_asking *a)
{
    const struct tr_request *r = a->request;
    enum tr_effort effort = tr_effort_asked(r);
    int64_t budget = tr_budget_asked(r);
    if (effort == TR_EFFORT_UNSET && budget == TR_UNSET && !r->think_auto)
        return 0;
    if (!has(a, TR_QUIRK_REASONS))
        return effort == TR_EFFORT_NONE
                   ? 0
                   : tr_drop(a->target, a->terms, a->refusal, "reasoning_effort");
    if (effort == TR_EFFORT_NONE || budget == 0) {
        plan_off(a);
        return 0;
    }
    bool exact = r->think_budget != TR_UNSET && !has(a, TR_QUIRK_NO_BUDGET);
    if (takes_adaptive(a) && !exact) {
        a->thinking = ANTHROPIC_THINKING_ADAPTIVE;
        a->effort = tr_effort_clip(effort, a->target->quirks->efforts);
        return 0;
    }
    plan_budget(a, budget != TR_UNSET ? budget : tr_effort_budget(TR_EFFORT_MEDIUM));
    return 0;
}

bool anthropic_thinks(const struct anthropic_asking *a)
{
    switch (a->thinking) {
    case ANTHROPIC_THINKING_UNSAID:
        return has(a, TR_QUIRK_THINKS_UNASKED);
    case ANTHROPIC_THINKING_OFF:
        return false;
    case ANTHROPIC_THINKING_BETWEEN:
    case ANTHROPIC_THINKING_ADAPTIVE:
    case ANTHROPIC_THINKING_BUDGET:
        break;
    }
    return true;
}

void anthropic_plan_unsigned(struct anthropic_asking *a)
{
    if (!a->turns.unsigned_calls || !anthropic_thinks(a) || has(a, TR_QUIRK_NO_THINKING_OFF) ||
        a->target->quirks->dialect != DIALECT_ANTHROPIC)
        return;
    a->thinking = ANTHROPIC_THINKING_OFF;
    a->effort = TR_EFFORT_UNSET;
    tr_note(a->terms, "reasoning_off_unsigned");
}

/* A schema goes as such where the model takes one, else as the one tool there is, else in words. */
static void plan_format(struct anthropic_asking *a)
{
    const struct tr_request *r = a->request;
    switch (r->format) {
    case TR_FORMAT_TEXT:
        break;
    case TR_FORMAT_JSON:
        a->format = ANTHROPIC_FORMAT_WORDS;
        break;
    case TR_FORMAT_SCHEMA:
        if (has(a, TR_QUIRK_SCHEMA)) {
            a->format = ANTHROPIC_FORMAT_NATIVE;
        } else if (r->tool_count == 0 && !a->turns.calls && !has(a, TR_QUIRK_NO_FORCED_TOOL) &&
                   !anthropic_thinks(a)) {
            a->format = ANTHROPIC_FORMAT_TOOL;
            a->terms->answer_is_a_tool = true;
        } else {
            a->format = ANTHROPIC_FORMAT_WORDS;
        }
        break;
    }
    if (a->format == ANTHROPIC_FORMAT_WORDS)
        tr_note(a->terms, "format_in_words");
}

static const struct tr_turns_options turns_options = {
    .merge = true,
    .user_first = true,
    .drop_empty = true,
    .trim_last = true,
    .text_before_calls = true,
    .vendor = DIALECT_ANTHROPIC,
    .id_class = TR_ID_WORD,
};

/* Bedrock plans as this does: what was signed there goes back there, and not all models are Claude.
 */
static int prepare_turns(struct anthropic_asking *a)
{
    struct tr_turns_options options = turns_options;
    if (a->target->host != NULL && a->target->host->dialect == DIALECT_BEDROCK)
        options.vendor = DIALECT_BEDROCK;
    if (has(a, TR_QUIRK_NINE_IDS))
        options.id_class = TR_ID_NINE;
    options.replay = anthropic_thinks(a) ? TR_REPLAY_SIGNED : TR_REPLAY_NONE;
    return tr_turns_prepare(a->request, &options, a->target, a->arena, a->terms, a->refusal,
                            &a->turns);
}

int anthropic_plan(struct anthropic_asking *a)
{
    plan_output(a);
    int rc = plan_thinking(a);
    if (rc == 0)
        rc = prepare_turns(a);
    if (rc != 0)
        return rc;
    bool before = anthropic_thinks(a);
    anthropic_plan_unsigned(a);
    if (before != anthropic_thinks(a))
        rc = prepare_turns(a);
    plan_format(a);
    return rc;
}
