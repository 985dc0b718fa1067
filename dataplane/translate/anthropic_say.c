/* The dialogue and the tools of a request as a Messages provider takes them. */
#include "dataplane/translate/anthropic_internal.h"

#include "dataplane/translate/arguments.h"
#include "dataplane/translate/media.h"
#include "dataplane/translate/names.h"
#include "dataplane/translate/schema.h"

static void begin_block(struct anthropic_asking *a, const char *type)
{
    json_writer_begin_object(a->w);
    json_writer_key(a->w, "type");
    json_writer_text(a->w, type);
}

static int put_text(struct anthropic_asking *a, struct str text)
{
    begin_block(a, "text");
    json_writer_key(a->w, "text");
    json_writer_string(a->w, text);
    return 0;
}

static void put_source(struct anthropic_asking *a, const char *type, struct str mime,
                       const char *key, struct str value)
{
    json_writer_key(a->w, "source");
    json_writer_begin_object(a->w);
    json_writer_key(a->w, "type");
    json_writer_text(a->w, type);
    tr_put_text(a->w, "media_type", mime);
    json_writer_key(a->w, key);
    json_writer_string(a->w, value);
    json_writer_end_object(a->w);
}

static bool is_picture(struct str mime)
{
    return str_is(mime, "image/jpeg") || str_is(mime, "image/png") || str_is(mime, "image/gif") ||
           str_is(mime, "image/webp");
}

/* media_type is what the bytes are: a wrong one is refused there. */
static int put_image(struct anthropic_asking *a, const struct tr_media *media)
{
    if (media->base64.len == 0 && media->url.len > 0) {
        begin_block(a, "image");
        put_source(a, "url", STR(""), "url", media->url);
        return 0;
    }
    struct str mime = tr_media_mime(media);
    if (media->base64.len == 0 || !is_picture(mime))
        return tr_refuse(a->refusal, "messages",
                         "an image must be JPEG, PNG, GIF or WebP, by value or by address");
    begin_block(a, "image");
    put_source(a, "base64", mime, "data", media->base64);
    return 0;
}

static int put_file(struct anthropic_asking *a, const struct tr_media *media)
{
    struct str mime = tr_media_mime(media), text;
    if (media->base64.len == 0 && media->url.len > 0) {
        begin_block(a, "document");
        put_source(a, "url", STR(""), "url", media->url);
    } else if (media->base64.len > 0 && str_is(mime, "application/pdf")) {
        begin_block(a, "document");
        put_source(a, "base64", mime, "data", media->base64);
    } else if (media->base64.len > 0 && is_picture(mime)) {
        return put_image(a, media);
    } else if (media->base64.len > 0 &&
               (str_starts(mime, STR("text/")) || str_is(mime, "application/json"))) {
        int rc = tr_media_decode(media->base64, a->arena, &text);
        if (rc == ERR_INVALID)
            return tr_refuse(a->refusal, "messages", "a file's data is no base64");
        if (rc != 0)
            return rc;
        begin_block(a, "document");
        put_source(a, "text", STR("text/plain"), "data", text);
    } else {
        return tr_refuse(a->refusal, "messages",
                         "a file must be a PDF or text, by value or by address");
    }
    tr_put_text(a->w, "title", media->name);
    return 0;
}

static int put_reasoning(struct anthropic_asking *a, const struct tr_reasoning *reasoning)
{
    if (reasoning->opaque.len > 0) {
        begin_block(a, "redacted_thinking");
        tr_put_text(a->w, "data", reasoning->opaque);
        return 0;
    }
    begin_block(a, "thinking");
    json_writer_key(a->w, "thinking");
    json_writer_string(a->w, reasoning->text);
    json_writer_key(a->w, "signature");
    json_writer_string(a->w, reasoning->signature);
    return 0;
}

static int put_call(struct anthropic_asking *a, const struct tr_call *call)
{
    struct str input;
    int rc = tr_arguments_object(&a->scratch, call->arguments, a->arena, &input);
    if (rc != 0)
        return rc;
    begin_block(a, "tool_use");
    json_writer_key(a->w, "id");
    json_writer_string(a->w, call->id);
    json_writer_key(a->w, "name");
    json_writer_string(a->w, tr_names_inside(a->terms, call->name));
    tr_put_raw(a->w, "input", input);
    return 0;
}

/* What may stand in a result, and in a turn. */
static int put_leaf(struct anthropic_asking *a, const struct tr_part *part)
{
    switch (part->kind) {
    case TR_PART_TEXT:
    case TR_PART_REFUSAL:
        return put_text(a, part->text);
    case TR_PART_IMAGE:
        return put_image(a, &part->media);
    case TR_PART_FILE:
        return put_file(a, &part->media);
    case TR_PART_AUDIO:
        return tr_refuse(a->refusal, "messages", "sound is not supported by this model's provider");
    case TR_PART_REASONING:
    case TR_PART_CALL:
    case TR_PART_RESULT:
        break;
    }
    return tr_refuse(a->refusal, "messages", NULL);
}

static bool is_text(const struct tr_part *part)
{
    return part->kind == TR_PART_TEXT || part->kind == TR_PART_REFUSAL;
}

static int put_result(struct anthropic_asking *a, const struct tr_result *result)
{
    int rc = 0;
    begin_block(a, "tool_result");
    json_writer_key(a->w, "tool_use_id");
    json_writer_string(a->w, result->call_id);
    if (result->is_error) {
        json_writer_key(a->w, "is_error");
        json_writer_bool(a->w, true);
    }
    if (result->part_count == 1 && is_text(&result->parts[0])) {
        tr_put_text(a->w, "content", result->parts[0].text);
        return 0;
    }
    if (result->part_count == 0)
        return 0;
    json_writer_key(a->w, "content");
    json_writer_begin_array(a->w);
    for (uint32_t i = 0; rc == 0 && i < result->part_count; i++) {
        if (is_text(&result->parts[i]) && result->parts[i].text.len == 0)
            continue;
        rc = put_leaf(a, &result->parts[i]);
        if (rc == 0)
            json_writer_end_object(a->w);
    }
    if (rc == 0)
        json_writer_end_array(a->w);
    return rc;
}

static int put_part(struct anthropic_asking *a, const struct tr_part *part)
{
    int rc;
    if (part->kind == TR_PART_RESULT)
        rc = put_result(a, &part->result);
    else if (part->kind == TR_PART_CALL)
        rc = put_call(a, &part->call);
    else if (part->kind == TR_PART_REASONING)
        rc = put_reasoning(a, &part->reasoning);
    else
        rc = put_leaf(a, part);
    if (rc != 0)
        return rc;
    if (part->kind != TR_PART_REASONING) /* It takes no mark. */
        anthropic_put_cache(a, &part->cache);
    json_writer_end_object(a->w);
    return 0;
}

static int put_turn(struct anthropic_asking *a, const struct tr_turn *turn)
{
    int rc = 0;
    json_writer_begin_object(a->w);
    json_writer_key(a->w, "role");
    json_writer_text(a->w, turn->role == TR_ASSISTANT ? "assistant" : "user");
    json_writer_key(a->w, "content");
    json_writer_begin_array(a->w);
    for (uint32_t i = 0; rc == 0 && i < turn->part_count; i++)
        rc = put_part(a, &turn->parts[i]);
    if (rc != 0)
        return rc; /* Amid a part: nothing of it is used. */
    json_writer_end_array(a->w);
    json_writer_end_object(a->w);
    return 0;
}

int anthropic_put_messages(struct anthropic_asking *a)
{
    int rc = 0;
    if (a->turns.ends_in_assistant &&
        (!tr_quirks_has(a->target->quirks, TR_QUIRK_PREFILL) || anthropic_thinks(a)))
        return tr_refuse(a->refusal, "messages",
                         "this model does not continue a last message of the assistant");
    json_writer_key(a->w, "messages");
    json_writer_begin_array(a->w);
    for (uint32_t i = 0; rc == 0 && i < a->turns.count; i++)
        rc = put_turn(a, &a->turns.turns[i]);
    if (rc == 0)
        json_writer_end_array(a->w);
    return rc;
}

/* ---- tools ---- */

static int put_tool(struct anthropic_asking *a, struct str name, struct str description,
                    struct str schema, bool strict, const struct tr_cache *cache)
{
    int rc = strict ? tr_schema_strict(schema, a->arena, &schema)
                    : tr_schema_object(schema, a->arena, &schema);
    if (rc == ERR_INVALID)
        return tr_refuse(a->refusal, "tools", "a tool's schema is no JSON object");
    if (rc != 0)
        return rc;
    json_writer_begin_object(a->w);
    tr_put_text(a->w, "name", name);
    tr_put_text(a->w, "description", description);
    tr_put_raw(a->w, "input_schema", schema);
    if (strict) {
        json_writer_key(a->w, "strict");
        json_writer_bool(a->w, true);
    }
    anthropic_put_cache(a, cache);
    json_writer_end_object(a->w);
    return 0;
}

int anthropic_put_tools(struct anthropic_asking *a)
{
    static const struct tr_cache no_mark = {0};
    const struct tr_request *r = a->request;
    bool native = tr_quirks_has(a->target->quirks, TR_QUIRK_SCHEMA);
    int rc = 0;
    if (r->tool_count == 0 && a->format != ANTHROPIC_FORMAT_TOOL)
        return 0;
    json_writer_key(a->w, "tools");
    json_writer_begin_array(a->w);
    for (uint32_t i = 0; rc == 0 && i < r->tool_count; i++)
        rc = put_tool(a, tr_names_inside(a->terms, r->tools[i].name), r->tools[i].description,
                      r->tools[i].schema,
                      native && r->tools[i].strict > 0 && r->tools[i].schema.len > 0,
                      &r->tools[i].cache);
    if (rc == 0 && a->format == ANTHROPIC_FORMAT_TOOL)
        rc = put_tool(a, STR("json"), r->format_description, r->format_schema, false, &no_mark);
    json_writer_end_array(a->w);
    return rc;
}

static void begin_choice(struct anthropic_asking *a, const char *type)
{
    json_writer_key(a->w, "tool_choice");
    begin_block(a, type);
}

int anthropic_put_choice(struct anthropic_asking *a)
{
    const struct tr_request *r = a->request;
    enum tr_choice choice = r->tool_choice;
    if (a->format == ANTHROPIC_FORMAT_TOOL) {
        begin_choice(a, "tool");
        tr_put_text(a->w, "name", STR("json"));
        json_writer_end_object(a->w);
        return 0;
    }
    if (r->tool_count == 0)
        return 0;
    if ((choice == TR_CHOICE_REQUIRED || choice == TR_CHOICE_NAMED) &&
        (anthropic_thinks(a) || tr_quirks_has(a->target->quirks, TR_QUIRK_NO_FORCED_TOOL))) {
        if (a->target->reject_unsupported)
            return tr_refuse(a->refusal, "tool_choice",
                             "a tool cannot be forced of this model while it reasons");
        tr_note(a->terms, "tool_choice_auto");
        choice = TR_CHOICE_AUTO;
    }
    if (choice == TR_CHOICE_UNSET && r->parallel != 0)
        return 0;
    switch (choice) {
    case TR_CHOICE_UNSET:
    case TR_CHOICE_AUTO:
        begin_choice(a, "auto");
        break;
    case TR_CHOICE_NONE:
        begin_choice(a, "none");
        break;
    case TR_CHOICE_REQUIRED:
        begin_choice(a, "any");
        break;
    case TR_CHOICE_NAMED:
        begin_choice(a, "tool");
        tr_put_text(a->w, "name", tr_names_inside(a->terms, r->tool_name));
        break;
    }
    if (r->parallel == 0 && choice != TR_CHOICE_NONE) {
        json_writer_key(a->w, "disable_parallel_tool_use");
        json_writer_bool(a->w, true);
    }
    json_writer_end_object(a->w);
    return 0;
}
