/* A request for a host of chat completions: its fields. What a host or a model deviates in is data
 * (hosts.h, quirks.h); here stands only what is done about it. */
#include <string.h>

#include "common/crypto/digest.h"
#include "common/json/json_writer.h"
#include "dataplane/translate/arguments.h"
#include "dataplane/translate/effort.h"
#include "dataplane/translate/names.h"
#include "dataplane/translate/notes.h"
#include "dataplane/translate/openai_internal.h"
#include "dataplane/translate/quirks.h"

#define STOPS_MAX          4U
#define USER_BYTES_MAX     64U
#define METADATA_PAIRS     16U
#define METADATA_KEY_MAX   64U
#define METADATA_VALUE_MAX 512U

static int drop(struct tr_asking *a, const char *param)
{
    return tr_drop(a->target, a->terms, a->refusal, param);
}

static bool quirk(const struct tr_asking *a, enum tr_quirk flag)
{
    return tr_quirks_has(a->target->quirks, flag);
}

/* ---- how much, and how ---- */

static void print_max_output(struct tr_asking *a)
{
    const int64_t tokens = tr_ask_output(a->request, a->target, a->terms, 0);
    bool newer =
        !tr_host_has(a->target, HOST_QUIRK_MAX_TOKENS) && quirk(a, TR_QUIRK_MAX_COMPLETION);
    tr_put_whole(a->w, newer ? "max_completion_tokens" : "max_tokens", tokens);
}

/* Leaves out, and says so, what the model refuses. */
static int print_sampling(struct tr_asking *a)
{
    const struct tr_request *q = a->request;
    const bool penalties = !quirk(a, TR_QUIRK_NO_SAMPLING) && !quirk(a, TR_QUIRK_NO_PENALTIES);
    const struct {
        const char *name;
        int64_t value;
        bool taken;
    } fields[] = {{"temperature", q->temperature, tr_takes_temperature(q, a->target)},
                  {"top_p", q->top_p, tr_takes_top_p(q, a->target)},
                  {"frequency_penalty", q->frequency_penalty, penalties},
                  {"presence_penalty", q->presence_penalty, penalties}};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof fields / sizeof fields[0]; i++) {
        if (fields[i].taken)
            tr_put_number(a->w, fields[i].name, fields[i].value);
        else if (fields[i].value != TR_UNSET)
            rc = drop(a, fields[i].name);
    }
    if (rc == 0 && q->top_k != TR_UNSET)
        rc = drop(a, "top_k");
    /* No event carries them, so to ask would be in vain. */
    if (rc == 0 && tr_asks_logprobs(q))
        rc = drop(a, "logprobs");
    return rc;
}

static int print_limits(struct tr_asking *a)
{
    const struct tr_request *q = a->request;
    print_max_output(a);
    tr_put_whole(a->w, tr_host_has(a->target, HOST_QUIRK_RANDOM_SEED) ? "random_seed" : "seed",
                 q->seed);
    if (q->choices > 1)
        tr_put_whole(a->w, "n", q->choices);
    tr_put_stops(a->w, "stop", q, STOPS_MAX, a->terms);
    return print_sampling(a);
}

static int print_effort(struct tr_asking *a)
{
    enum tr_effort asked = tr_effort_asked(a->request);
    if (asked == TR_EFFORT_UNSET)
        return 0;
    if (!quirk(a, TR_QUIRK_REASONS) || a->target->quirks->effort_field == TR_EFFORT_FIELD_NONE)
        return asked == TR_EFFORT_NONE ? 0 : drop(a, "reasoning_effort");
    enum tr_effort given = tr_ask_effort(asked, a->target, a->terms);
    tr_put_text(a->w, "reasoning_effort", str_from(tr_effort_name(given)));
    return 0;
}

/* ---- tools ---- */

static void print_custom(struct tr_asking *a, const struct tr_tool *tool)
{
    struct json_writer *w = a->w;
    json_writer_begin_object(w);
    tr_put_text(w, "type", STR("custom"));
    json_writer_key(w, "custom");
    json_writer_begin_object(w);
    tr_put_text(w, "name", tr_names_inside(a->terms, tool->name));
    tr_put_text(w, "description", tool->description);
    if (tool->grammar.len > 0) {
        json_writer_key(w, "format");
        json_writer_begin_object(w);
        tr_put_text(w, "type", STR("grammar"));
        json_writer_key(w, "grammar");
        json_writer_begin_object(w);
        tr_put_text(w, "syntax", tool->syntax);
        tr_put_text(w, "definition", tool->grammar);
        json_writer_end_object(w);
        json_writer_end_object(w);
    }
    json_writer_end_object(w);
    json_writer_end_object(w);
}

void tr_openai_print_tool(struct tr_asking *a, const struct tr_tool *tool, bool strict)
{
    struct json_writer *w = a->w;
    if (tool->custom) {
        print_custom(a, tool);
        return;
    }
    json_writer_begin_object(w);
    tr_put_text(w, "type", STR("function"));
    json_writer_key(w, "function");
    json_writer_begin_object(w);
    json_writer_key(w, "name");
    json_writer_string(w, tr_names_inside(a->terms, tool->name));
    tr_put_text(w, "description", tool->description);
    tr_put_raw(w, "parameters", tr_tool_schema(tool));
    if (strict && tool->strict >= 0) {
        json_writer_key(w, "strict");
        json_writer_bool(w, tool->strict == 1);
    }
    json_writer_end_object(w);
    json_writer_end_object(w);
}

bool tr_openai_print_choice(struct tr_asking *a, struct str required)
{
    switch (tr_ask_choice(a->request, a->target, a->terms)) {
    case TR_CHOICE_UNSET:
        return false;
    case TR_CHOICE_AUTO:
        tr_put_text(a->w, "tool_choice", STR("auto"));
        return false;
    case TR_CHOICE_NONE:
        tr_put_text(a->w, "tool_choice", STR("none"));
        return false;
    case TR_CHOICE_REQUIRED:
        tr_put_text(a->w, "tool_choice", required);
        return false;
    case TR_CHOICE_NAMED:
        break;
    }
    return true;
}

static void print_choice(struct tr_asking *a)
{
    const struct tr_request *q = a->request;
    const bool any = tr_host_has(a->target, HOST_QUIRK_ANY_CHOICE);
    const bool custom = tr_names_custom(q);
    if (!tr_openai_print_choice(a, any ? STR("any") : STR("required")))
        return;
    if (any) { /* The named one is the only one that was printed. */
        tr_put_text(a->w, "tool_choice", STR("any"));
        return;
    }
    json_writer_key(a->w, "tool_choice");
    json_writer_begin_object(a->w);
    tr_put_text(a->w, "type", custom ? STR("custom") : STR("function"));
    json_writer_key(a->w, custom ? "custom" : "function");
    json_writer_begin_object(a->w);
    json_writer_key(a->w, "name");
    json_writer_string(a->w, tr_names_inside(a->terms, q->tool_name));
    json_writer_end_object(a->w);
    json_writer_end_object(a->w);
}

static int print_tools(struct tr_asking *a)
{
    const struct tr_request *q = a->request;
    const bool only_named =
        q->tool_choice == TR_CHOICE_NAMED && tr_host_has(a->target, HOST_QUIRK_ANY_CHOICE);
    const bool strict = !tr_host_has(a->target, HOST_QUIRK_NO_SCHEMA);
    if (q->tool_count == 0)
        return 0;
    if (tr_check_choice(q, a->refusal) != 0)
        return ERR_INVALID;
    json_writer_key(a->w, "tools");
    json_writer_begin_array(a->w);
    for (uint32_t i = 0; i < q->tool_count; i++)
        if (!only_named || tr_is_named(q, &q->tools[i]))
            tr_openai_print_tool(a, &q->tools[i], strict);
    json_writer_end_array(a->w);
    print_choice(a);
    if (q->parallel != 0)
        return 0;
    if (tr_host_has(a->target, HOST_QUIRK_NO_PARALLEL)) {
        a->terms->first_call_only = true;
        tr_note(a->terms, "first_call_only");
        return 0;
    }
    json_writer_key(a->w, "parallel_tool_calls");
    json_writer_bool(a->w, false);
    return 0;
}

/* ---- the form of the answer ---- */

static bool has_schema(const struct tr_asking *a)
{
    return quirk(a, TR_QUIRK_SCHEMA) && !tr_host_has(a->target, HOST_QUIRK_NO_SCHEMA);
}

static void print_schema(struct tr_asking *a)
{
    const struct tr_request *q = a->request;
    json_writer_key(a->w, "json_schema");
    json_writer_begin_object(a->w);
    json_writer_key(a->w, "name");
    json_writer_string(a->w, q->format_name.len > 0 ? q->format_name : STR("answer"));
    tr_put_text(a->w, "description", q->format_description);
    tr_put_raw(a->w, "schema", q->format_schema);
    if (q->format_strict >= 0) {
        json_writer_key(a->w, "strict");
        json_writer_bool(a->w, q->format_strict == 1);
    }
    json_writer_end_object(a->w);
}

static void print_format(struct tr_asking *a)
{
    if (a->request->format == TR_FORMAT_TEXT)
        return;
    const bool schema = a->request->format == TR_FORMAT_SCHEMA && has_schema(a);
    json_writer_key(a->w, "response_format");
    json_writer_begin_object(a->w);
    tr_put_text(a->w, "type", schema ? STR("json_schema") : STR("json_object"));
    if (schema)
        print_schema(a);
    json_writer_end_object(a->w);
}

/* What the model is told where its host cannot be. */
static int schema_note(struct tr_asking *a, struct str *out)
{
    const struct tr_request *q = a->request;
    *out = STR_NULL;
    if (q->format != TR_FORMAT_SCHEMA || has_schema(a))
        return 0;
    tr_note(a->terms, "schema_as_text");
    *out = str_from(arena_printf(
        a->arena, "Answer with one JSON object that fits this JSON schema, and nothing else:\n%.*s",
        STR_ARG(q->format_schema)));
    return out->data != NULL ? 0 : ERR_TOO_LARGE;
}

/* ---- who asks, and for whom ---- */

/* What is too long for the field keeps its identity as a hash. */
void tr_openai_print_identity(struct tr_asking *a, const char *key, struct str text)
{
    char hex[SHA256_HEX_BYTES];
    if (text.len > USER_BYTES_MAX) {
        struct sha256 hash = digest_sha256(text.data, text.len);
        hex_encode(hash.bytes, sizeof hash.bytes, hex);
        text = (struct str){.data = hex, .len = sizeof hex - 1};
    }
    tr_put_text(a->w, key, text);
}

int tr_openai_print_metadata(struct tr_asking *a)
{
    const struct tr_request *q = a->request;
    uint32_t put = 0;
    if (q->metadata_count == 0)
        return 0;
    json_writer_key(a->w, "metadata");
    json_writer_begin_object(a->w);
    for (uint32_t i = 0; i < q->metadata_count && put < METADATA_PAIRS; i++) {
        const struct tr_pair *p = &q->metadata[i];
        if (p->key.len > METADATA_KEY_MAX || p->value.len > METADATA_VALUE_MAX)
            continue;
        json_writer_key_str(a->w, p->key);
        json_writer_string(a->w, p->value);
        put++;
    }
    json_writer_end_object(a->w);
    return put < q->metadata_count ? drop(a, "metadata") : 0;
}

const char *tr_openai_tier_name(enum tr_tier tier)
{
    switch (tier) {
    case TR_TIER_AUTO:
        return "auto";
    case TR_TIER_DEFAULT:
        return "default";
    case TR_TIER_FLEX:
        return "flex";
    case TR_TIER_PRIORITY:
        return "priority";
    case TR_TIER_UNSET:
        break;
    }
    return "";
}

static int drop_circumstances(struct tr_asking *a)
{
    const struct tr_request *q = a->request;
    int rc = 0;
    if (q->user.len > 0)
        rc = drop(a, "user");
    if (rc == 0 && q->cache_key.len > 0)
        rc = drop(a, "prompt_cache_key");
    if (rc == 0 && q->metadata_count > 0)
        rc = drop(a, "metadata");
    if (rc == 0 && (q->tier == TR_TIER_FLEX || q->tier == TR_TIER_PRIORITY))
        rc = drop(a, "service_tier");
    return rc;
}

static int print_circumstances(struct tr_asking *a)
{
    const struct tr_request *q = a->request;
    if (q->verbosity.len > 0) {
        if (quirk(a, TR_QUIRK_VERBOSITY))
            tr_put_text(a->w, "verbosity", q->verbosity);
        else if (drop(a, "verbosity") != 0)
            return ERR_INVALID;
    }
    if (tr_host_has(a->target, HOST_QUIRK_NO_METADATA))
        return drop_circumstances(a);
    tr_openai_print_identity(a, "safety_identifier", q->user);
    tr_openai_print_identity(a, "prompt_cache_key", q->cache_key);
    tr_put_text(a->w, "service_tier", str_from(tr_openai_tier_name(q->tier)));
    return tr_openai_print_metadata(a);
}

static void print_stream(struct tr_asking *a)
{
    if (!a->request->stream)
        return;
    json_writer_key(a->w, "stream");
    json_writer_bool(a->w, true);
    if (!tr_host_has(a->target, HOST_QUIRK_NO_STREAM_OPTIONS))
        tr_put_raw(a->w, "stream_options", STR("{\"include_usage\":true}"));
}

static int print_members(struct tr_asking *a)
{
    struct str note = STR_NULL;
    json_writer_key(a->w, "model");
    json_writer_string(a->w, a->target->model);
    int rc = schema_note(a, &note);
    if (rc == 0)
        rc = tr_openai_print_messages(a, note);
    if (rc != 0)
        return rc;
    print_stream(a);
    rc = print_limits(a);
    if (rc == 0)
        rc = print_effort(a);
    if (rc == 0)
        rc = print_tools(a);
    if (rc != 0)
        return rc;
    print_format(a);
    return print_circumstances(a);
}

int tr_openai_print_body(struct tr_asking *a, int (*members)(struct tr_asking *a), struct buf *out)
{
    struct json_writer w;
    size_t before = out->len;
    int rc = tr_drop_unknown(a->request, a->target, a->terms, a->refusal);
    if (rc == 0)
        rc = tr_names_build(a->terms, a->request, TR_NAME_COMMON, a->refusal);
    if (rc != 0)
        return rc;
    a->w = &w;
    json_writer_init(&w, out);
    json_writer_begin_object(&w);
    rc = members(a);
    if (rc == 0) {
        json_writer_end_object(&w);
        rc = json_writer_finish(&w);
    }
    if (rc != 0)
        out->len = before;
    return rc;
}

int tr_openai_print_request(const struct tr_request *request, const struct tr_target *target,
                            struct arena *arena, struct tr_terms *terms,
                            struct call_refusal *refusal, struct buf *out)
{
    struct tr_asking a = {request, target, arena, terms, refusal, NULL};
    return tr_openai_print_body(&a, print_members, out);
}

/* A name of a model or deployment in a path: RFC 3986 section 2.3 stays. */
int tr_openai_put_encoded(struct buf *out, struct str text)
{
    int rc = 0;
    for (size_t i = 0; i < text.len && rc == 0; i++) {
        unsigned char c = (unsigned char)text.data[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '-' || c == '.' || c == '_' || c == '~';
        rc = plain ? buf_append_char(out, (char)c) : buf_printf(out, "%%%02X", c);
    }
    return rc;
}

int tr_openai_print_path(const struct tr_target *target, bool stream, struct buf *out)
{
    (void)stream; /* Said in the body. */
    const struct str version = target->version;
    if (!tr_host_has(target, HOST_QUIRK_VERSIONED_PATHS))
        return buf_append_str(out, STR("/chat/completions"));
    if (version.len == 0 || str_is(version, "v1"))
        return buf_append_str(out, STR("/openai/v1/chat/completions"));
    int rc = buf_append_str(out, STR("/openai/deployments/"));
    if (rc == 0)
        rc = tr_openai_put_encoded(out, target->model);
    if (rc == 0)
        rc = buf_append_str(out, STR("/chat/completions?api-version="));
    return rc == 0 ? tr_openai_put_encoded(out, version) : rc;
}
