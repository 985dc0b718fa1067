/* A request for Cohere's v2 chat: its fields. */
#include "dataplane/translate/arguments.h"
#include "dataplane/translate/cohere_internal.h"
#include "dataplane/translate/effort.h"
#include "dataplane/translate/names.h"

#define STOPS_MAX   5U
#define NUMBER_ONE  INT64_C(1000000) /* 1 in TR_NUMBER_SCALE. */
#define TOP_K_MAX   500
#define LAST_IN_ROW 999 /* Of priority, which is 0 unless it is said. */

/* What this dialect has no word for. No event carries logprobs. */
static int drop_all(struct tr_asking *a)
{
    const struct tr_request *r = a->request;
    const struct tr_loss rows[] = {
        {tr_asks_logprobs(r), "logprobs"},          {r->seed != TR_UNSET && r->seed < 0, "seed"},
        {r->verbosity.len > 0, "verbosity"},        {r->user.len > 0, "user"},
        {r->cache_key.len > 0, "prompt_cache_key"}, {r->metadata_count > 0, "metadata"},
    };
    return tr_drop_given(a->target, a->terms, a->refusal, rows, sizeof rows / sizeof rows[0]);
}

/* ---- how much, and how ---- */

static int64_t clamp(struct tr_asking *a, int64_t value, int64_t min, int64_t max, const char *note)
{
    if (value == TR_UNSET || (value >= min && value <= max))
        return value;
    tr_note(a->terms, note);
    return value < min ? min : max;
}

static void put_sampling(struct tr_asking *a)
{
    const struct tr_request *r = a->request;
    tr_put_number(a->w, "temperature",
                  clamp(a, r->temperature, 0, INT64_MAX, "clamped_temperature"));
    tr_put_number(
        a->w, "p",
        clamp(a, r->top_p, NUMBER_ONE / 100, NUMBER_ONE - NUMBER_ONE / 100, "clamped_top_p"));
    tr_put_whole(a->w, "k", clamp(a, r->top_k, 0, TOP_K_MAX, "clamped_top_k"));
    tr_put_number(a->w, "frequency_penalty",
                  clamp(a, r->frequency_penalty, 0, NUMBER_ONE, "clamped_frequency_penalty"));
    tr_put_number(a->w, "presence_penalty",
                  clamp(a, r->presence_penalty, 0, NUMBER_ONE, "clamped_presence_penalty"));
    if (r->seed >= 0)
        tr_put_whole(a->w, "seed", r->seed);
}

static int put_thinking(struct tr_asking *a)
{
    const struct tr_request *r = a->request;
    const struct tr_quirks *q = a->target->quirks;
    enum tr_effort asked = tr_effort_asked(r);
    int64_t budget = tr_budget_asked(r);
    if (asked == TR_EFFORT_UNSET && budget == TR_UNSET && !r->think_auto)
        return 0;
    if (!tr_target_has(a->target, TR_QUIRK_REASONS))
        return asked == TR_EFFORT_NONE
                   ? 0
                   : tr_drop(a->target, a->terms, a->refusal, "reasoning_effort");
    bool off = asked == TR_EFFORT_NONE;
    if (budget != TR_UNSET && !off) {
        budget = tr_budget_clip(budget, q->budget_min, q->budget_max,
                                tr_room_for_reasoning(r, a->target));
        off = budget == 0;
        if (off)
            tr_note(a->terms, "dropped_reasoning_effort");
    }
    json_writer_key(a->w, "thinking");
    json_writer_begin_object(a->w);
    tr_put_text(a->w, "type", off ? STR("disabled") : STR("enabled"));
    if (!off)
        tr_put_whole(a->w, "token_budget", budget);
    json_writer_end_object(a->w);
    return 0;
}

/* ---- tools ---- */

/* Strict tools are all strict, and each has an argument that it must be given. */
static int is_strict(struct tr_asking *a, bool *out)
{
    const struct tr_request *r = a->request;
    struct json schema;
    int rc = 0;
    *out = true;
    json_init(&schema, JSON_NODES_MAX);
    for (uint32_t i = 0; rc == 0 && *out && i < r->tool_count; i++) {
        *out = r->tools[i].strict > 0 && r->tools[i].schema.len > 0;
        if (*out)
            rc = json_parse(&schema, r->tools[i].schema, NULL);
        *out = *out && rc == 0 &&
               json_count(&schema, json_get(&schema, JSON_ROOT, STR("required"))) > 0;
    }
    json_deinit(&schema);
    return rc == ERR_NOMEM ? rc : 0;
}

/* One tool cannot be named, so it is the only one that there is. */
static int put_tools(struct tr_asking *a)
{
    const struct tr_request *r = a->request;
    const bool named = r->tool_choice == TR_CHOICE_NAMED;
    bool strict = false;
    if (r->tool_count == 0)
        return 0;
    if (tr_check_choice(r, a->refusal) != 0)
        return ERR_INVALID;
    int rc = is_strict(a, &strict);
    if (rc != 0)
        return rc;
    json_writer_key(a->w, "tools");
    json_writer_begin_array(a->w);
    for (uint32_t i = 0; i < r->tool_count; i++)
        if (!named || tr_is_named(r, &r->tools[i]))
            tr_openai_print_tool(a, &r->tools[i], false);
    json_writer_end_array(a->w);
    if (strict) {
        json_writer_key(a->w, "strict_tools");
        json_writer_bool(a->w, true);
    }
    if (named || r->tool_choice == TR_CHOICE_REQUIRED)
        tr_put_text(a->w, "tool_choice", STR("REQUIRED"));
    else if (r->tool_choice == TR_CHOICE_NONE)
        tr_put_text(a->w, "tool_choice", STR("NONE"));
    if (r->parallel == 0) {
        a->terms->first_call_only = true;
        tr_note(a->terms, "first_call_only");
    }
    return 0;
}

/* ---- the whole ---- */

bool cohere_format_in_words(const struct tr_asking *a, const struct tr_turns *turns)
{
    return a->request->format != TR_FORMAT_TEXT &&
           (a->request->tool_count > 0 || cohere_has_documents(a, turns));
}

static void put_format(struct tr_asking *a, const struct tr_turns *turns)
{
    const struct tr_request *r = a->request;
    if (r->format == TR_FORMAT_TEXT)
        return;
    if (cohere_format_in_words(a, turns)) {
        tr_note(a->terms, "format_in_words");
        return;
    }
    json_writer_key(a->w, "response_format");
    json_writer_begin_object(a->w);
    tr_put_text(a->w, "type", STR("json_object"));
    if (r->format == TR_FORMAT_SCHEMA)
        tr_put_raw(a->w, "json_schema", r->format_schema);
    json_writer_end_object(a->w);
}

/* What follows from documents and results is an answer with citations, and callers have no word for
 * these; marks of what to cache mean nothing here. */
static void note_losses(struct tr_asking *a, const struct tr_turns *turns)
{
    if (turns->calls || cohere_has_documents(a, turns))
        tr_note(a->terms, "dropped_citations");
}

static int put_members(struct tr_asking *a)
{
    const struct tr_request *r = a->request;
    struct tr_turns turns;
    int rc = drop_all(a);
    if (rc == 0)
        rc = cohere_prepare_turns(a, &turns);
    if (rc != 0)
        return rc;
    note_losses(a, &turns);
    tr_put_text(a->w, "model", a->target->model);
    rc = cohere_put_messages(a, &turns);
    if (rc == 0)
        rc = cohere_put_documents(a, &turns);
    if (rc == 0)
        rc = put_tools(a);
    if (rc == 0)
        rc = put_thinking(a);
    if (rc != 0)
        return rc;
    put_format(a, &turns);
    tr_put_whole(a->w, "max_tokens", tr_ask_output(r, a->target, a->terms, 0));
    put_sampling(a);
    tr_put_stops(a->w, "stop_sequences", r, STOPS_MAX, a->terms);
    if (r->tier == TR_TIER_FLEX)
        tr_put_whole(a->w, "priority", LAST_IN_ROW);
    json_writer_key(a->w, "stream"); /* It must be said either way. */
    json_writer_bool(a->w, r->stream);
    return 0;
}

int cohere_print_request(const struct tr_request *request, const struct tr_target *target,
                         struct arena *arena, struct tr_terms *terms, struct call_refusal *refusal,
                         struct buf *out)
{
    struct tr_asking a = {request, target, arena, terms, refusal, NULL};
    if (request->choices > 1)
        return tr_refuse(refusal, "n", "only one answer is supported by this model's provider");
    return tr_openai_print_body(&a, put_members, out);
}

int cohere_print_path(const struct tr_target *target, bool stream, struct buf *out)
{
    (void)target; /* Said in the body, as is whether it streams. */
    (void)stream;
    return buf_append_text(out, "/v2/chat");
}

const struct tr_provider_dialect tr_provider_cohere = {
    .dialect = DIALECT_COHERE,
    .framing = TR_FRAMING_SSE,
    .content_type = {.data = "text/event-stream", .len = 17},
    .print_request = cohere_print_request,
    .print_path = cohere_print_path,
    .state_bytes = sizeof(struct cohere_frames),
    .read_frame = cohere_read_frame,
    .read_end = cohere_read_end,
    .read_reply = cohere_read_reply,
    .end = cohere_frames_end,
    .read_error = cohere_read_error,
};
