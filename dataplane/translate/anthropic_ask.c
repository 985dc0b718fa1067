/* A request of another dialect as a Messages provider takes it: the fields beside the dialogue. */
#include "dataplane/translate/anthropic_internal.h"

#include "dataplane/llm/anthropic.h"
#include "dataplane/translate/arguments.h"
#include "dataplane/translate/effort.h"
#include "dataplane/translate/names.h"
#include "dataplane/translate/schema.h"

#define NUMBER_ONE INT64_C(1000000) /* 1 in TR_NUMBER_SCALE. */

static bool has(const struct anthropic_asking *a, enum tr_quirk quirk)
{
    return tr_quirks_has(a->target->quirks, quirk);
}

/* Claude on Vertex: the model stands in the path, the version in the body. */
static bool on_vertex(const struct tr_target *target)
{
    return target->host != NULL && target->host->auth == HOST_AUTH_GOOGLE;
}

/* From the version of 2026-10-21 on there is no sampling to be set. */
static bool no_sampling(const struct anthropic_asking *a)
{
    return has(a, TR_QUIRK_NO_SAMPLING) || anthropic_thinks(a) ||
           (!on_vertex(a->target) && a->target->version.len > 0 &&
            str_compare(a->target->version, STR("2026-10-21")) >= 0);
}

/* What this dialect has no word for. */
static int drop_all(struct anthropic_asking *a)
{
    const struct tr_request *r = a->request;
    const struct tr_loss rows[] = {
        {r->seed != TR_UNSET, "seed"},
        {r->frequency_penalty != TR_UNSET && r->frequency_penalty != 0, "frequency_penalty"},
        {r->presence_penalty != TR_UNSET && r->presence_penalty != 0, "presence_penalty"},
        {r->logprobs > 0, "logprobs"},
        {r->verbosity.len > 0, "verbosity"},
        {r->metadata_count > 0, "metadata"},
        {r->tier == TR_TIER_FLEX, "service_tier"},
        {no_sampling(a) && r->temperature != TR_UNSET, "temperature"},
        {no_sampling(a) && r->top_p != TR_UNSET, "top_p"},
        {no_sampling(a) && r->top_k != TR_UNSET, "top_k"},
    };
    int rc = tr_drop_unknown(r, a->target, a->terms, a->refusal);
    return rc == 0
               ? tr_drop_given(a->target, a->terms, a->refusal, rows, sizeof rows / sizeof rows[0])
               : rc;
}

static int put_sampling(struct anthropic_asking *a)
{
    const struct tr_request *r = a->request;
    int64_t temperature = r->temperature, top_p = r->top_p;
    if (no_sampling(a))
        return 0;
    if (temperature != TR_UNSET && temperature > NUMBER_ONE) {
        temperature = NUMBER_ONE;
        tr_note(a->terms, "clamped_temperature");
    }
    if (temperature != TR_UNSET && top_p != TR_UNSET && has(a, TR_QUIRK_ONE_SAMPLING)) {
        int rc = tr_drop(a->target, a->terms, a->refusal, "top_p");
        if (rc != 0)
            return rc;
        top_p = TR_UNSET;
    }
    tr_put_number(a->w, "temperature", temperature);
    tr_put_number(a->w, "top_p", top_p);
    tr_put_whole(a->w, "top_k", r->top_k);
    return 0;
}

static bool is_blank(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] != ' ' && s.data[i] != '\t' && s.data[i] != '\n' && s.data[i] != '\r')
            return false;
    return true;
}

/* One that is all blanks is refused there. */
static int put_stops(struct anthropic_asking *a)
{
    const struct tr_request *r = a->request;
    uint32_t blank = 0;
    for (uint32_t i = 0; i < r->stop_count; i++)
        blank += is_blank(r->stops[i]);
    if (blank < r->stop_count) {
        json_writer_key(a->w, "stop_sequences");
        json_writer_begin_array(a->w);
        for (uint32_t i = 0; i < r->stop_count; i++)
            if (!is_blank(r->stops[i]))
                json_writer_string(a->w, r->stops[i]);
        json_writer_end_array(a->w);
    }
    return blank > 0 ? tr_drop(a->target, a->terms, a->refusal, "stop") : 0;
}

static void put_type(struct anthropic_asking *a, const char *key, const char *type)
{
    json_writer_key(a->w, key);
    json_writer_begin_object(a->w);
    json_writer_key(a->w, "type");
    json_writer_text(a->w, type);
}

static void put_thinking(struct anthropic_asking *a)
{
    switch (a->thinking) {
    case ANTHROPIC_THINKING_UNSAID:
        return;
    case ANTHROPIC_THINKING_OFF:
        put_type(a, "thinking", "disabled");
        break;
    case ANTHROPIC_THINKING_BETWEEN:
        put_type(a, "thinking", "between_tools");
        break;
    case ANTHROPIC_THINKING_ADAPTIVE:
        put_type(a, "thinking", "adaptive");
        if (a->request->think_shown >= 0) {
            json_writer_key(a->w, "display");
            json_writer_text(a->w, a->request->think_shown > 0 ? "summarized" : "omitted");
        }
        break;
    case ANTHROPIC_THINKING_BUDGET:
        put_type(a, "thinking", "enabled");
        json_writer_key(a->w, "budget_tokens");
        json_writer_i64(a->w, a->budget);
        break;
    }
    json_writer_end_object(a->w);
}

static int put_output_config(struct anthropic_asking *a)
{
    struct str schema = STR_NULL;
    bool native = a->format == ANTHROPIC_FORMAT_NATIVE;
    if (!native && a->effort == TR_EFFORT_UNSET)
        return 0;
    int rc = native ? tr_schema_strict(a->request->format_schema, a->arena, &schema) : 0;
    if (rc == ERR_INVALID)
        rc = tr_refuse(a->refusal, "response_format", "the schema is no JSON object");
    if (rc != 0)
        return rc;
    json_writer_key(a->w, "output_config");
    json_writer_begin_object(a->w);
    if (a->effort != TR_EFFORT_UNSET) {
        json_writer_key(a->w, "effort");
        json_writer_text(a->w, tr_effort_name(a->effort));
    }
    if (native) {
        put_type(a, "format", "json_schema");
        tr_put_raw(a->w, "schema", schema);
        json_writer_end_object(a->w);
    }
    json_writer_end_object(a->w);
    return 0;
}

void anthropic_put_cache(struct anthropic_asking *a, const struct tr_cache *cache)
{
    if (cache->ttl_s == 0)
        return;
    if (a->marks_to_skip > 0 || a->marks_left == 0) {
        a->marks_to_skip -= a->marks_to_skip > 0;
        return;
    }
    a->marks_left--;
    put_type(a, "cache_control", "ephemeral");
    if (cache->ttl_s > 300) {
        json_writer_key(a->w, "ttl");
        json_writer_text(a->w, "1h");
    }
    json_writer_end_object(a->w);
}

static void put_system_text(struct anthropic_asking *a, struct str text,
                            const struct tr_cache *cache)
{
    json_writer_begin_object(a->w);
    json_writer_key(a->w, "type");
    json_writer_text(a->w, "text");
    json_writer_key(a->w, "text");
    json_writer_string(a->w, text);
    anthropic_put_cache(a, cache);
    json_writer_end_object(a->w);
}

/* A format that the model has no field for. */
static void put_words(struct anthropic_asking *a)
{
    static const char any[] = "Answer with one JSON object and nothing else: no text before or "
                              "after it, no code fence.";
    json_writer_begin_object(a->w);
    json_writer_key(a->w, "type");
    json_writer_text(a->w, "text");
    json_writer_key(a->w, "text");
    json_writer_begin_string(a->w);
    json_writer_part(a->w, str_from(any));
    if (a->request->format == TR_FORMAT_SCHEMA) {
        json_writer_part(a->w, STR(" It must be valid against this JSON schema:\n"));
        json_writer_part(a->w, a->request->format_schema);
    }
    json_writer_end_string(a->w);
    json_writer_end_object(a->w);
}

static void put_system(struct anthropic_asking *a)
{
    const struct tr_request *r = a->request;
    bool any = a->format == ANTHROPIC_FORMAT_WORDS;
    for (uint32_t i = 0; i < r->system_count; i++)
        any |= r->system[i].text.len > 0;
    if (!any)
        return;
    json_writer_key(a->w, "system");
    json_writer_begin_array(a->w);
    for (uint32_t i = 0; i < r->system_count; i++)
        if (r->system[i].text.len > 0)
            put_system_text(a, r->system[i].text, &r->system[i].cache);
    if (a->format == ANTHROPIC_FORMAT_WORDS)
        put_words(a);
    json_writer_end_array(a->w);
}

static void put_who(struct anthropic_asking *a)
{
    const struct tr_request *r = a->request;
    if (r->user.len > 0) {
        json_writer_key(a->w, "metadata");
        json_writer_begin_object(a->w);
        tr_put_text(a->w, "user_id", r->user);
        json_writer_end_object(a->w);
    }
    if (r->tier == TR_TIER_AUTO || r->tier == TR_TIER_PRIORITY || r->tier == TR_TIER_DEFAULT) {
        json_writer_key(a->w, "service_tier");
        json_writer_text(a->w, r->tier == TR_TIER_DEFAULT ? "standard_only" : "auto");
    }
}

/* In the order in which a provider's cache sees it: tools, system, messages. */
static int put_body(struct anthropic_asking *a)
{
    const struct tr_request *r = a->request;
    json_writer_begin_object(a->w);
    if (on_vertex(a->target))
        tr_put_text(a->w, "anthropic_version", STR(ANTHROPIC_VERTEX_VERSION));
    else
        tr_put_text(a->w, "model", a->target->model);
    tr_put_whole(a->w, "max_tokens", a->max_output);
    int rc = anthropic_put_tools(a);
    if (rc == 0)
        rc = anthropic_put_choice(a);
    if (rc != 0)
        return rc;
    put_system(a);
    rc = anthropic_put_messages(a);
    if (rc != 0)
        return rc;
    put_thinking(a);
    rc = put_output_config(a);
    if (rc == 0)
        rc = put_sampling(a);
    if (rc == 0)
        rc = put_stops(a);
    if (rc != 0)
        return rc;
    put_who(a);
    if (r->stream) {
        json_writer_key(a->w, "stream");
        json_writer_bool(a->w, true);
    }
    json_writer_end_object(a->w);
    return 0;
}

static int print_body(struct anthropic_asking *a, struct buf *out)
{
    struct json_writer w;
    size_t begin = out->len;
    a->w = &w;
    json_writer_init(&w, out);
    int rc = put_body(a);
    int finished = rc == 0 ? json_writer_finish(&w) : rc;
    if (finished != 0)
        out->len = begin;
    return finished;
}

int anthropic_print_request(const struct tr_request *request, const struct tr_target *target,
                            struct arena *arena, struct tr_terms *terms,
                            struct call_refusal *refusal, struct buf *out)
{
    struct anthropic_asking a = {
        .request = request, .target = target, .arena = arena, .terms = terms, .refusal = refusal};
    if (request->choices > 1)
        return tr_refuse(refusal, "n", "only one answer is supported by this model's provider");
    json_init(&a.scratch, JSON_NODES_MAX);
    int rc = tr_names_build(terms, request, TR_NAME_ANTHROPIC, refusal);
    if (rc == 0)
        rc = anthropic_plan(&a);
    if (rc == 0)
        rc = drop_all(&a);
    if (rc == 0) {
        a.marks_to_skip = tr_marks_to_drop(request, &a.turns);
        a.marks_left = TR_CACHE_MARKS_MAX;
        if (a.marks_to_skip > 0)
            tr_note(terms, "dropped_cache_control");
        rc = print_body(&a, out);
    }
    json_deinit(&a.scratch);
    return rc;
}

int anthropic_print_path(const struct tr_target *target, bool stream, struct buf *out)
{
    if (!on_vertex(target))
        return buf_append_text(out, "/v1/messages");
    int rc = buf_append_text(out, "/models/");
    if (rc == 0)
        rc = buf_append_str(out, target->model);
    return rc == 0 ? buf_append_text(out, stream ? ":streamRawPredict" : ":rawPredict") : rc;
}

const struct tr_provider_dialect tr_provider_anthropic = {
    .dialect = DIALECT_ANTHROPIC,
    .framing = TR_FRAMING_SSE,
    .content_type = {.data = "text/event-stream", .len = 17},
    .print_request = anthropic_print_request,
    .print_path = anthropic_print_path,
    .state_bytes = sizeof(struct anthropic_frames),
    .read_frame = anthropic_read_frame,
    .read_end = anthropic_read_end,
    .read_reply = anthropic_read_whole,
    .end = anthropic_frames_end,
    .read_error = anthropic_read_error,
};
