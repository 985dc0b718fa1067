/* A request for a host of the Responses dialect: for models that live nowhere else. Nothing is kept
 * there (store false), so reasoning comes back encrypted and goes in again from the caller. */
#include "dataplane/translate/responses_ask.h"
#include "common/json/json_writer.h"
#include "dataplane/translate/arguments.h"
#include "dataplane/translate/effort.h"
#include "dataplane/translate/names.h"
#include "dataplane/translate/notes.h"
#include "dataplane/translate/quirks.h"

#define OUTPUT_MIN 16 /* Less is refused there. */

static int drop(struct tr_asking *a, const char *param)
{
    return tr_drop(a->target, a->terms, a->refusal, param);
}

static bool quirk(const struct tr_asking *a, enum tr_quirk flag)
{
    return tr_quirks_has(a->target->quirks, flag);
}

static void print_max_output(struct tr_asking *a)
{
    tr_put_whole(a->w, "max_output_tokens",
                 tr_ask_output(a->request, a->target, a->terms, OUTPUT_MIN));
}

static int print_sampling(struct tr_asking *a)
{
    const struct tr_request *q = a->request;
    int rc = 0;
    if (tr_takes_temperature(q, a->target))
        tr_put_number(a->w, "temperature", q->temperature);
    else if (q->temperature != TR_UNSET)
        rc = drop(a, "temperature");
    if (tr_takes_top_p(q, a->target))
        tr_put_number(a->w, "top_p", q->top_p);
    else if (rc == 0 && q->top_p != TR_UNSET)
        rc = drop(a, "top_p");
    return rc;
}

/* What chat completions have and this dialect has not. */
static int drop_fields(struct tr_asking *a)
{
    const struct tr_request *q = a->request;
    const struct tr_loss rows[] = {
        {q->stop_count > 0, "stop"},
        {q->seed != TR_UNSET, "seed"},
        {q->top_k != TR_UNSET, "top_k"},
        {q->frequency_penalty != TR_UNSET, "frequency_penalty"},
        {q->presence_penalty != TR_UNSET, "presence_penalty"},
        {tr_asks_logprobs(q), "logprobs"},
    };
    if (q->choices > 1)
        return tr_refuse(a->refusal, "n", "this model's provider gives one answer");
    return tr_drop_given(a->target, a->terms, a->refusal, rows, sizeof rows / sizeof rows[0]);
}

static int print_reasoning(struct tr_asking *a)
{
    const struct tr_request *q = a->request;
    enum tr_effort asked = tr_effort_asked(q);
    if (!quirk(a, TR_QUIRK_REASONS))
        return asked == TR_EFFORT_UNSET || asked == TR_EFFORT_NONE ? 0
                                                                   : drop(a, "reasoning_effort");
    tr_put_raw(a->w, "include", STR("[\"reasoning.encrypted_content\"]"));
    enum tr_effort given = tr_ask_effort(asked, a->target, a->terms);
    const bool effort = asked != TR_EFFORT_UNSET;
    const bool shown = q->think_shown == 1 || (q->think_shown < 0 && (effort || q->think_auto));
    if (!effort && !shown)
        return 0;
    json_writer_key(a->w, "reasoning");
    json_writer_begin_object(a->w);
    if (effort)
        tr_put_text(a->w, "effort", str_from(tr_effort_name(given)));
    if (shown && given != TR_EFFORT_NONE)
        tr_put_text(a->w, "summary", STR("auto"));
    json_writer_end_object(a->w);
    return 0;
}

/* ---- tools ---- */

static void print_custom(struct tr_asking *a, const struct tr_tool *tool)
{
    struct json_writer *w = a->w;
    json_writer_begin_object(w);
    tr_put_text(w, "type", STR("custom"));
    tr_put_text(w, "name", tr_names_inside(a->terms, tool->name));
    tr_put_text(w, "description", tool->description);
    if (tool->grammar.len > 0) {
        json_writer_key(w, "format");
        json_writer_begin_object(w);
        tr_put_text(w, "type", STR("grammar"));
        tr_put_text(w, "syntax", tool->syntax);
        tr_put_text(w, "definition", tool->grammar);
        json_writer_end_object(w);
    }
    json_writer_end_object(w);
}

static void print_tool(struct tr_asking *a, const struct tr_tool *tool)
{
    struct json_writer *w = a->w;
    if (tool->custom) {
        print_custom(a, tool);
        return;
    }
    json_writer_begin_object(w);
    tr_put_text(w, "type", STR("function"));
    tr_put_text(w, "name", tr_names_inside(a->terms, tool->name));
    tr_put_text(w, "description", tool->description);
    tr_put_raw(w, "parameters", tr_tool_schema(tool));
    json_writer_key(w, "strict"); /* Left out it would be true, and many schemas refused. */
    json_writer_bool(w, tool->strict == 1);
    json_writer_end_object(w);
}

static void print_choice(struct tr_asking *a)
{
    const struct tr_request *q = a->request;
    if (!tr_openai_print_choice(a, STR("required")))
        return;
    json_writer_key(a->w, "tool_choice");
    json_writer_begin_object(a->w);
    tr_put_text(a->w, "type", tr_names_custom(q) ? STR("custom") : STR("function"));
    tr_put_text(a->w, "name", tr_names_inside(a->terms, q->tool_name));
    json_writer_end_object(a->w);
}

static int print_tools(struct tr_asking *a)
{
    const struct tr_request *q = a->request;
    if (q->tool_count == 0)
        return 0;
    if (tr_check_choice(q, a->refusal) != 0)
        return ERR_INVALID;
    json_writer_key(a->w, "tools");
    json_writer_begin_array(a->w);
    for (uint32_t i = 0; i < q->tool_count; i++)
        print_tool(a, &q->tools[i]);
    json_writer_end_array(a->w);
    print_choice(a);
    if (q->parallel >= 0) {
        json_writer_key(a->w, "parallel_tool_calls");
        json_writer_bool(a->w, q->parallel == 1);
    }
    return 0;
}

/* ---- the form of the answer ---- */

static void print_format(struct tr_asking *a)
{
    const struct tr_request *q = a->request;
    if (q->format == TR_FORMAT_TEXT)
        return;
    json_writer_key(a->w, "format");
    json_writer_begin_object(a->w);
    if (q->format == TR_FORMAT_JSON) {
        tr_put_text(a->w, "type", STR("json_object"));
    } else {
        tr_put_text(a->w, "type", STR("json_schema"));
        tr_put_text(a->w, "name", q->format_name.len > 0 ? q->format_name : STR("answer"));
        tr_put_text(a->w, "description", q->format_description);
        tr_put_raw(a->w, "schema", q->format_schema);
        json_writer_key(a->w, "strict");
        json_writer_bool(a->w, q->format_strict == 1);
    }
    json_writer_end_object(a->w);
}

static int print_text(struct tr_asking *a)
{
    const struct tr_request *q = a->request;
    const bool verbose = q->verbosity.len > 0 && quirk(a, TR_QUIRK_VERBOSITY);
    if (q->format != TR_FORMAT_TEXT || verbose) {
        json_writer_key(a->w, "text");
        json_writer_begin_object(a->w);
        print_format(a);
        if (verbose)
            tr_put_text(a->w, "verbosity", q->verbosity);
        json_writer_end_object(a->w);
    }
    return q->verbosity.len > 0 && !verbose ? drop(a, "verbosity") : 0;
}

/* ---- the whole ---- */

static int print_instructions(struct tr_asking *a)
{
    struct str text = STR_NULL;
    int rc = tr_parts_text(a->request->system, a->request->system_count, a->arena, &text);
    tr_put_text(a->w, "instructions", text);
    return rc;
}

static int print_circumstances(struct tr_asking *a)
{
    const struct tr_request *q = a->request;
    tr_openai_print_identity(a, "safety_identifier", q->user);
    tr_openai_print_identity(a, "prompt_cache_key", q->cache_key);
    tr_put_text(a->w, "service_tier", str_from(tr_openai_tier_name(q->tier)));
    json_writer_key(a->w, "store");
    json_writer_bool(a->w, false);
    if (q->stream) {
        json_writer_key(a->w, "stream");
        json_writer_bool(a->w, true);
    }
    return tr_openai_print_metadata(a);
}

static int print_members(struct tr_asking *a)
{
    static int (*const parts[])(struct tr_asking *) = {
        print_instructions, tr_responses_print_input, drop_fields,
        print_sampling,     print_reasoning,          print_tools,
        print_text,         print_circumstances,
    };
    int rc = 0;
    tr_put_text(a->w, "model", a->target->model);
    print_max_output(a);
    for (size_t i = 0; rc == 0 && i < sizeof parts / sizeof parts[0]; i++)
        rc = parts[i](a);
    return rc;
}

int tr_responses_print_request(const struct tr_request *request, const struct tr_target *target,
                               struct arena *arena, struct tr_terms *terms,
                               struct call_refusal *refusal, struct buf *out)
{
    struct tr_asking a = {request, target, arena, terms, refusal, NULL};
    return tr_openai_print_body(&a, print_members, out);
}

int tr_responses_print_path(const struct tr_target *target, bool stream, struct buf *out)
{
    (void)stream; /* Said in the body. */
    const struct str version = target->version;
    if (!tr_host_has(target, HOST_QUIRK_VERSIONED_PATHS))
        return buf_append_str(out, STR("/responses"));
    if (version.len == 0 || str_is(version, "v1"))
        return buf_append_str(out, STR("/openai/v1/responses"));
    int rc = buf_append_str(out, STR("/openai/responses?api-version="));
    return rc == 0 ? tr_openai_put_encoded(out, version) : rc;
}
