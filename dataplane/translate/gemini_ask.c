/* A request for generateContent: its fields. What a model deviates in is data (quirks.h). */
#include "dataplane/translate/arguments.h"
#include "dataplane/translate/gemini_internal.h"
#include "dataplane/translate/names.h"
#include "dataplane/translate/openai_internal.h"

#define STOPS_MAX      5U
#define LABELS_MAX     64U
#define LABEL_TEXT_MAX 63U

/* The developer API refuses them of some models. */
static bool takes_penalties(const struct gemini_asking *a)
{
    return a->vertex || !gemini_has(a, TR_QUIRK_NO_PENALTIES);
}

static bool is_set(int64_t number)
{
    return number != TR_UNSET && number != 0;
}

/* What this dialect, or this model, has no word for. No event carries logprobs, so to ask for them
 * would be in vain. */
static int drop_all(struct gemini_asking *a)
{
    const struct tr_request *r = a->request;
    const struct tr_loss rows[] = {
        {!takes_penalties(a) && is_set(r->frequency_penalty), "frequency_penalty"},
        {!takes_penalties(a) && is_set(r->presence_penalty), "presence_penalty"},
        {tr_asks_logprobs(r), "logprobs"},
        {r->verbosity.len > 0, "verbosity"},
        {r->user.len > 0, "user"},
        {r->cache_key.len > 0, "prompt_cache_key"},
        {r->metadata_count > 0 && !a->vertex, "metadata"},
        {a->vertex && (r->tier == TR_TIER_FLEX || r->tier == TR_TIER_PRIORITY), "service_tier"},
    };
    int rc = tr_drop_unknown(r, a->target, a->terms, a->refusal);
    return rc == 0
               ? tr_drop_given(a->target, a->terms, a->refusal, rows, sizeof rows / sizeof rows[0])
               : rc;
}

/* ---- generationConfig ---- */

static void put_format(struct gemini_asking *a)
{
    switch (a->format) {
    case GEMINI_FORMAT_NONE:
    case GEMINI_FORMAT_WORDS:
        return;
    case GEMINI_FORMAT_JSON:
        break;
    case GEMINI_FORMAT_SCHEMA:
        tr_put_raw(a->w, "responseJsonSchema", a->request->format_schema);
        break;
    case GEMINI_FORMAT_OPENAPI:
        if (a->openapi.len > 0)
            tr_put_raw(a->w, "responseSchema", a->openapi);
        break;
    }
    tr_put_text(a->w, "responseMimeType", STR("application/json"));
}

static void put_generation(struct gemini_asking *a)
{
    const struct tr_request *r = a->request;
    json_writer_key(a->w, "generationConfig");
    json_writer_begin_object(a->w);
    tr_put_whole(a->w, "maxOutputTokens", tr_ask_output(r, a->target, a->terms, 0));
    tr_put_number(a->w, "temperature", r->temperature);
    tr_put_number(a->w, "topP", r->top_p);
    tr_put_whole(a->w, "topK", r->top_k);
    tr_put_stops(a->w, "stopSequences", r, STOPS_MAX, a->terms);
    tr_put_whole(a->w, "seed", r->seed);
    if (r->choices > 1)
        tr_put_whole(a->w, "candidateCount", r->choices);
    if (takes_penalties(a)) {
        tr_put_number(a->w, "frequencyPenalty", r->frequency_penalty);
        tr_put_number(a->w, "presencePenalty", r->presence_penalty);
    }
    gemini_put_thinking(a);
    put_format(a);
    json_writer_end_object(a->w);
}

/* ---- who asks, and for whom ---- */

/* Labels of Google Cloud: small letters, digits, '-' and '_'; a key begins with a letter. */
static bool is_label(struct str text, bool key)
{
    if (text.len > LABEL_TEXT_MAX || (key && text.len == 0))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        bool letter = c >= 'a' && c <= 'z';
        bool other = (c >= '0' && c <= '9') || c == '-' || c == '_';
        if (!letter && (!other || (key && i == 0)))
            return false;
    }
    return true;
}

static int put_labels(struct gemini_asking *a)
{
    const struct tr_request *r = a->request;
    uint32_t put = 0;
    if (r->metadata_count == 0 || !a->vertex)
        return 0;
    json_writer_key(a->w, "labels");
    json_writer_begin_object(a->w);
    for (uint32_t i = 0; i < r->metadata_count && put < LABELS_MAX; i++) {
        const struct tr_pair *p = &r->metadata[i];
        if (!is_label(p->key, true) || !is_label(p->value, false))
            continue;
        json_writer_key_str(a->w, p->key);
        json_writer_string(a->w, p->value);
        put++;
    }
    json_writer_end_object(a->w);
    return put < r->metadata_count ? tr_drop(a->target, a->terms, a->refusal, "metadata") : 0;
}

static void put_tier(struct gemini_asking *a)
{
    if (a->vertex)
        return;
    switch (a->request->tier) {
    case TR_TIER_UNSET:
    case TR_TIER_AUTO:
        return;
    case TR_TIER_DEFAULT:
        tr_put_text(a->w, "serviceTier", STR("standard"));
        return;
    case TR_TIER_FLEX:
        tr_put_text(a->w, "serviceTier", STR("flex"));
        return;
    case TR_TIER_PRIORITY:
        tr_put_text(a->w, "serviceTier", STR("priority"));
        return;
    }
}

/* Marks mean nothing here: what repeats is cached by itself. */
static void note_marks(struct gemini_asking *a)
{
    const struct tr_request *r = a->request;
    bool any = false;
    for (uint32_t i = 0; i < r->tool_count; i++)
        any |= r->tools[i].cache.ttl_s > 0;
    for (uint32_t i = 0; i < r->system_count; i++)
        any |= r->system[i].cache.ttl_s > 0;
    for (uint32_t i = 0; !any && i < a->turns.count; i++)
        for (uint32_t k = 0; k < a->turns.turns[i].part_count; k++)
            any |= a->turns.turns[i].parts[k].cache.ttl_s > 0;
    if (any)
        tr_note(a->terms, "dropped_cache_control");
}

/* ---- the whole ---- */

static int put_body(struct gemini_asking *a)
{
    json_writer_begin_object(a->w);
    int rc = gemini_put_dialogue(a);
    if (rc == 0)
        rc = gemini_put_tools(a);
    if (rc != 0)
        return rc;
    put_generation(a);
    put_tier(a);
    rc = put_labels(a);
    json_writer_end_object(a->w);
    return rc;
}

static int print_body(struct gemini_asking *a, struct buf *out)
{
    struct json_writer w;
    size_t begin = out->len;
    a->w = &w;
    json_writer_init(&w, out);
    int rc = put_body(a);
    if (rc == 0)
        rc = json_writer_finish(&w);
    if (rc != 0)
        out->len = begin;
    return rc;
}

static const struct tr_turns_options turns_options = {
    .merge = true,
    .user_first = true,
    .drop_empty = true,
    .replay = TR_REPLAY_SIGNED,
    .vendor = DIALECT_GEMINI,
    .id_class = TR_ID_ANY,
};

int gemini_print_request(const struct tr_request *request, const struct tr_target *target,
                         struct arena *arena, struct tr_terms *terms, struct call_refusal *refusal,
                         struct buf *out)
{
    struct gemini_asking a = {
        .request = request,
        .target = target,
        .arena = arena,
        .terms = terms,
        .refusal = refusal,
        .vertex = target->host->auth == HOST_AUTH_GOOGLE,
    };
    json_init(&a.scratch, JSON_NODES_MAX);
    int rc = tr_names_build(terms, request, TR_NAME_GEMINI, refusal);
    if (rc == 0)
        rc = tr_turns_prepare(request, &turns_options, target, arena, terms, refusal, &a.turns);
    if (rc == 0)
        rc = drop_all(&a);
    if (rc == 0)
        rc = gemini_plan_thinking(&a);
    if (rc == 0)
        rc = gemini_plan_format(&a);
    if (rc == 0) {
        note_marks(&a);
        rc = print_body(&a, out);
    }
    json_deinit(&a.scratch);
    return rc;
}

/* A tuned model of the developer API and an endpoint of Vertex stand under names of their own. */
int gemini_print_path(const struct tr_target *target, bool stream, struct buf *out)
{
    const bool vertex = target->host->auth == HOST_AUTH_GOOGLE;
    const struct str apart = vertex ? STR("endpoints/") : STR("tunedModels/");
    const struct str usual = STR("models/");
    struct str model = target->model;
    int rc = buf_append_char(out, '/');
    if (str_starts(model, apart)) {
        model = str_slice(model, apart.len, model.len);
        if (rc == 0)
            rc = buf_append_str(out, apart);
    } else {
        if (str_starts(model, usual))
            model = str_slice(model, usual.len, model.len);
        if (rc == 0 && vertex)
            rc = buf_append_text(out, "publishers/google/");
        if (rc == 0)
            rc = buf_append_str(out, usual);
    }
    if (rc == 0)
        rc = tr_openai_put_encoded(out, model);
    if (rc == 0)
        rc = buf_append_text(out, stream ? ":streamGenerateContent?alt=sse" : ":generateContent");
    return rc;
}

const struct tr_provider_dialect tr_provider_gemini = {
    .dialect = DIALECT_GEMINI,
    .framing = TR_FRAMING_SSE,
    .content_type = {.data = "text/event-stream", .len = 17},
    .print_request = gemini_print_request,
    .print_path = gemini_print_path,
    .state_bytes = sizeof(struct gemini_frames),
    .read_frame = gemini_read_frame,
    .read_end = gemini_read_end,
    .read_reply = gemini_read_reply,
    .end = gemini_frames_end,
    .read_error = gemini_read_error,
};
