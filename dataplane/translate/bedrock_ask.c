/* A request of another dialect as Converse takes it: the fields beside the dialogue. */
#include "dataplane/translate/bedrock_internal.h"

#include "dataplane/translate/arguments.h"
#include "dataplane/translate/effort.h"
#include "dataplane/translate/names.h"
#include "dataplane/translate/schema.h"

#define NUMBER_ONE   INT64_C(1000000) /* 1 in TR_NUMBER_SCALE. */
#define METADATA_MAX 16U
#define PAIR_BYTES   256U

/* Nova's highest effort takes neither a maximum nor sampling. */
static bool nova_high(const struct bedrock_asking *b)
{
    return b->a.target->quirks->effort_field == TR_EFFORT_FIELD_NOVA &&
           b->a.effort == TR_EFFORT_HIGH;
}

static bool no_sampling(const struct bedrock_asking *b)
{
    return bedrock_has(b, TR_QUIRK_NO_SAMPLING) || (b->claude && anthropic_thinks(&b->a)) ||
           nova_high(b);
}

static bool no_top_k(const struct bedrock_asking *b)
{
    if (b->claude)
        return no_sampling(b);
    return !bedrock_has(b, TR_QUIRK_TOP_K) && !bedrock_has(b, TR_QUIRK_TOP_K_NOVA);
}

static int drop_all(struct bedrock_asking *b)
{
    const struct tr_request *r = b->a.request;
    const struct {
        bool given;
        const char *param;
    } rows[] = {
        {r->seed != TR_UNSET, "seed"},
        {r->frequency_penalty != TR_UNSET && r->frequency_penalty != 0, "frequency_penalty"},
        {r->presence_penalty != TR_UNSET && r->presence_penalty != 0, "presence_penalty"},
        {r->logprobs > 0, "logprobs"},
        {r->verbosity.len > 0, "verbosity"},
        {no_sampling(b) && r->temperature != TR_UNSET, "temperature"},
        {no_sampling(b) && r->top_p != TR_UNSET, "top_p"},
        {no_top_k(b) && r->top_k != TR_UNSET, "top_k"},
    };
    int rc = tr_drop_unknown(r, b->a.target, b->a.terms, b->a.refusal);
    for (size_t i = 0; rc == 0 && i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].given)
            rc = tr_drop(b->a.target, b->a.terms, b->a.refusal, rows[i].param);
    return rc;
}

/* ---- inferenceConfig ---- */

/* Models other than Claude have their own maximum where none is named. */
static int64_t max_of(const struct bedrock_asking *b)
{
    return b->claude || !b->a.max_is_ours || b->a.target->clamp_output != 0 ? b->a.max_output
                                                                            : TR_UNSET;
}

static bool is_blank(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] != ' ' && s.data[i] != '\t' && s.data[i] != '\n' && s.data[i] != '\r')
            return false;
    return true;
}

static void put_stops(struct bedrock_asking *b, uint32_t count)
{
    const struct tr_request *r = b->a.request;
    if (count == 0)
        return;
    json_writer_key(b->a.w, "stopSequences");
    json_writer_begin_array(b->a.w);
    for (uint32_t i = 0; i < r->stop_count; i++)
        if (!is_blank(r->stops[i]))
            json_writer_string(b->a.w, r->stops[i]);
    json_writer_end_array(b->a.w);
}

static uint32_t count_stops(const struct tr_request *r)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < r->stop_count; i++)
        count += !is_blank(r->stops[i]);
    return count;
}

static int put_inference(struct bedrock_asking *b)
{
    const struct tr_request *r = b->a.request;
    int64_t max = max_of(b), temperature = r->temperature, top_p = r->top_p;
    uint32_t stops = count_stops(r);
    int rc = 0;
    if (no_sampling(b))
        temperature = top_p = TR_UNSET;
    if (temperature != TR_UNSET && temperature > NUMBER_ONE) {
        temperature = NUMBER_ONE;
        tr_note(b->a.terms, "clamped_temperature");
    }
    if (temperature != TR_UNSET && top_p != TR_UNSET && bedrock_has(b, TR_QUIRK_ONE_SAMPLING)) {
        rc = tr_drop(b->a.target, b->a.terms, b->a.refusal, "top_p");
        top_p = TR_UNSET;
    }
    if (rc == 0 && stops < r->stop_count)
        rc = tr_drop(b->a.target, b->a.terms, b->a.refusal, "stop");
    if (rc != 0 || (max == TR_UNSET && temperature == TR_UNSET && top_p == TR_UNSET && stops == 0))
        return rc;
    json_writer_key(b->a.w, "inferenceConfig");
    json_writer_begin_object(b->a.w);
    tr_put_whole(b->a.w, "maxTokens", max);
    tr_put_number(b->a.w, "temperature", temperature);
    tr_put_number(b->a.w, "topP", top_p);
    put_stops(b, stops);
    json_writer_end_object(b->a.w);
    return 0;
}

/* ---- system ---- */

void bedrock_put_mark(struct bedrock_asking *b, const struct tr_cache *cache)
{
    struct anthropic_asking *a = &b->a;
    if (cache->ttl_s == 0 || !(b->claude || bedrock_has(b, TR_QUIRK_CACHE_POINTS)))
        return;
    if (a->marks_to_skip > 0 || a->marks_left == 0) {
        a->marks_to_skip -= a->marks_to_skip > 0;
        return;
    }
    a->marks_left--;
    json_writer_begin_object(a->w);
    json_writer_key(a->w, "cachePoint");
    json_writer_begin_object(a->w);
    tr_put_text(a->w, "type", STR("default"));
    if (cache->ttl_s > 300)
        tr_put_text(a->w, "ttl", STR("1h"));
    json_writer_end_object(a->w);
    json_writer_end_object(a->w);
}

static void put_text(struct bedrock_asking *b, struct str text)
{
    json_writer_begin_object(b->a.w);
    tr_put_text(b->a.w, "text", text);
    json_writer_end_object(b->a.w);
}

/* A format that the model has no field for. */
static void put_words(struct bedrock_asking *b)
{
    struct json_writer *w = b->a.w;
    json_writer_begin_object(w);
    json_writer_key(w, "text");
    json_writer_begin_string(w);
    json_writer_part(w, STR("Answer with one JSON object and nothing else: no text before or after "
                            "it, no code fence."));
    if (b->a.request->format == TR_FORMAT_SCHEMA) {
        json_writer_part(w, STR(" It must be valid against this JSON schema:\n"));
        json_writer_part(w, b->a.request->format_schema);
    }
    json_writer_end_string(w);
    json_writer_end_object(w);
}

static void put_system(struct bedrock_asking *b)
{
    const struct tr_request *r = b->a.request;
    bool any = b->a.format == ANTHROPIC_FORMAT_WORDS;
    for (uint32_t i = 0; i < r->system_count; i++)
        any |= !is_blank(r->system[i].text);
    if (!any)
        return;
    json_writer_key(b->a.w, "system");
    json_writer_begin_array(b->a.w);
    for (uint32_t i = 0; i < r->system_count; i++)
        if (!is_blank(r->system[i].text)) {
            put_text(b, r->system[i].text);
            bedrock_put_mark(b, &r->system[i].cache);
        }
    if (b->a.format == ANTHROPIC_FORMAT_WORDS)
        put_words(b);
    json_writer_end_array(b->a.w);
}

/* ---- format, tier, metadata ---- */

/* The schema is a text there. */
static int put_format(struct bedrock_asking *b)
{
    const struct tr_request *r = b->a.request;
    struct json_writer *w = b->a.w;
    struct str schema;
    if (b->a.format != ANTHROPIC_FORMAT_NATIVE)
        return 0;
    int rc = tr_schema_strict(r->format_schema, b->a.arena, &schema);
    if (rc == ERR_INVALID)
        rc = tr_refuse(b->a.refusal, "response_format", "the schema is no JSON object");
    if (rc != 0)
        return rc;
    json_writer_key(w, "outputConfig");
    json_writer_begin_object(w);
    json_writer_key(w, "textFormat");
    json_writer_begin_object(w);
    tr_put_text(w, "type", STR("json_schema"));
    json_writer_key(w, "structure");
    json_writer_begin_object(w);
    json_writer_key(w, "jsonSchema");
    json_writer_begin_object(w);
    tr_put_text(w, "schema", schema);
    tr_put_text(w, "name", r->format_name);
    tr_put_text(w, "description", r->format_description);
    json_writer_end_object(w);
    json_writer_end_object(w);
    json_writer_end_object(w);
    json_writer_end_object(w);
    return 0;
}

static void put_tier(struct bedrock_asking *b)
{
    static const char *const types[] = {[TR_TIER_UNSET] = NULL,
                                        [TR_TIER_AUTO] = NULL,
                                        [TR_TIER_DEFAULT] = "default",
                                        [TR_TIER_FLEX] = "flex",
                                        [TR_TIER_PRIORITY] = "priority"};
    const char *type = types[b->a.request->tier];
    if (type == NULL)
        return;
    json_writer_key(b->a.w, "serviceTier");
    json_writer_begin_object(b->a.w);
    tr_put_text(b->a.w, "type", str_from(type));
    json_writer_end_object(b->a.w);
}

/* [a-zA-Z0-9\s:_@$#=/+,-.]{0,256} */
static bool may_be_metadata(struct str s)
{
    const struct str more = STR(" \t\n\r:_@$#=/+,-.");
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              str_find(more, c) >= 0))
            return false;
    }
    return s.len <= PAIR_BYTES;
}

static bool may_be_pair(const struct tr_pair *pair)
{
    return pair->key.len > 0 && may_be_metadata(pair->key) && may_be_metadata(pair->value);
}

static int put_metadata(struct bedrock_asking *b)
{
    const struct tr_request *r = b->a.request;
    const struct tr_pair user = {.key = STR("user_id"), .value = r->user};
    bool user_fits = r->user.len > 0 && may_be_pair(&user);
    uint32_t left = METADATA_MAX - user_fits, fits = 0;
    int rc = 0;
    for (uint32_t i = 0; i < r->metadata_count; i++)
        fits += may_be_pair(&r->metadata[i]) && !str_eq(r->metadata[i].key, user.key);
    if (r->user.len > 0 && !user_fits)
        rc = tr_drop(b->a.target, b->a.terms, b->a.refusal, "user");
    if (rc == 0 && (fits < r->metadata_count || fits > left))
        rc = tr_drop(b->a.target, b->a.terms, b->a.refusal, "metadata");
    if (rc != 0 || (!user_fits && fits == 0))
        return rc;
    json_writer_key(b->a.w, "requestMetadata");
    json_writer_begin_object(b->a.w);
    if (user_fits)
        tr_put_text(b->a.w, "user_id", r->user);
    for (uint32_t i = 0; i < r->metadata_count && left > 0; i++) {
        if (!may_be_pair(&r->metadata[i]) || str_eq(r->metadata[i].key, user.key))
            continue;
        json_writer_key_str(b->a.w, r->metadata[i].key);
        json_writer_string(b->a.w, r->metadata[i].value);
        left--;
    }
    json_writer_end_object(b->a.w);
    return 0;
}

/* Which of the stop sequences was hit, Claude says only when it is asked. */
static void put_paths(struct bedrock_asking *b)
{
    if (!b->claude || count_stops(b->a.request) == 0)
        return;
    json_writer_key(b->a.w, "additionalModelResponseFieldPaths");
    json_writer_begin_array(b->a.w);
    json_writer_string(b->a.w, STR("/stop_sequence"));
    json_writer_end_array(b->a.w);
}

/* ---- the body ---- */

/* In the order in which a cache sees it: tools, system, messages. */
static int put_body(struct bedrock_asking *b)
{
    json_writer_begin_object(b->a.w);
    int rc = bedrock_put_tools(b);
    put_system(b);
    if (rc == 0)
        rc = bedrock_put_messages(b);
    if (rc == 0)
        rc = put_inference(b);
    bedrock_put_model_fields(b);
    put_paths(b);
    if (rc == 0)
        rc = put_format(b);
    put_tier(b);
    if (rc == 0)
        rc = put_metadata(b);
    json_writer_end_object(b->a.w);
    return rc;
}

static int print_body(struct bedrock_asking *b, struct buf *out)
{
    struct json_writer w;
    size_t begin = out->len;
    b->a.w = &w;
    json_writer_init(&w, out);
    int rc = put_body(b);
    if (rc == 0)
        rc = json_writer_finish(&w);
    if (rc != 0)
        out->len = begin;
    return rc;
}

/* The highest effort of Nova would take a maximum away. */
static void plan_nova(struct bedrock_asking *b)
{
    if (!nova_high(b) || (b->a.max_is_ours && b->a.target->clamp_output == 0))
        return;
    b->a.effort = TR_EFFORT_MEDIUM;
    tr_note(b->a.terms, "lowered_reasoning_effort");
}

static int plan(struct bedrock_asking *b)
{
    int rc = anthropic_plan(&b->a);
    if (rc == 0)
        rc = bedrock_plan(b);
    if (rc != 0)
        return rc;
    plan_nova(b);
    b->a.marks_to_skip = tr_marks_to_drop(b->a.request, &b->a.turns);
    b->a.marks_left = TR_CACHE_MARKS_MAX;
    if (b->a.marks_to_skip > 0)
        tr_note(b->a.terms, "dropped_cache_control");
    return drop_all(b);
}

int bedrock_print_request(const struct tr_request *request, const struct tr_target *target,
                          struct arena *arena, struct tr_terms *terms, struct call_refusal *refusal,
                          struct buf *out)
{
    struct bedrock_asking b = {
        .a = {.request = request,
              .target = target,
              .arena = arena,
              .terms = terms,
              .refusal = refusal},
        .claude = target->quirks->dialect == DIALECT_ANTHROPIC,
    };
    if (request->choices > 1)
        return tr_refuse(refusal, "n", "only one answer is supported by this model's provider");
    json_init(&b.a.scratch, JSON_NODES_MAX);
    int rc = tr_names_build(terms, request, TR_NAME_COMMON, refusal);
    if (rc == 0)
        rc = plan(&b);
    if (rc == 0)
        rc = print_body(&b, out);
    json_deinit(&b.a.scratch);
    return rc;
}

/* An id may be an ARN: its ':' and '/' are no parts of the path. */
static int put_encoded(struct str text, struct buf *out)
{
    static const char digits[] = "0123456789ABCDEF";
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '-' || c == '_' || c == '.' || c == '~';
        const char escaped[3] = {'%', digits[c >> 4], digits[c & 15]};
        rc = plain ? buf_append_char(out, (char)c) : buf_append(out, escaped, 3);
    }
    return rc;
}

int bedrock_print_path(const struct tr_target *target, bool stream, struct buf *out)
{
    int rc = buf_append_text(out, "/model/");
    if (rc == 0)
        rc = put_encoded(target->model, out);
    return rc == 0 ? buf_append_text(out, stream ? "/converse-stream" : "/converse") : rc;
}
