/* The dialogue and the tools of a request as Converse takes them. Texts must not be blank, a turn
 * must not be empty, and a turn with a document must hold a text, too. */
#include "dataplane/translate/bedrock_internal.h"

#include "dataplane/translate/arguments.h"
#include "dataplane/translate/media.h"
#include "dataplane/translate/names.h"
#include "dataplane/translate/schema.h"

#define DOCUMENT_NAME_BYTES 120U

static void begin(struct bedrock_asking *b, const char *key)
{
    json_writer_begin_object(b->a.w);
    json_writer_key(b->a.w, key);
    json_writer_begin_object(b->a.w);
}

static void end(struct bedrock_asking *b)
{
    json_writer_end_object(b->a.w);
    json_writer_end_object(b->a.w);
}

static void put_text(struct bedrock_asking *b, struct str text)
{
    json_writer_begin_object(b->a.w);
    tr_put_text(b->a.w, "text", text);
    json_writer_end_object(b->a.w);
}

static bool is_blank(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] != ' ' && s.data[i] != '\t' && s.data[i] != '\n' && s.data[i] != '\r')
            return false;
    return true;
}

static bool is_text(const struct tr_part *part)
{
    return part->kind == TR_PART_TEXT || part->kind == TR_PART_REFUSAL;
}

/* ---- pictures, documents, sound ---- */

static void put_source(struct bedrock_asking *b, const struct tr_media *media)
{
    json_writer_key(b->a.w, "source");
    json_writer_begin_object(b->a.w);
    if (media->base64.len > 0) {
        tr_put_text(b->a.w, "bytes", media->base64);
    } else {
        json_writer_key(b->a.w, "s3Location");
        json_writer_begin_object(b->a.w);
        tr_put_text(b->a.w, "uri", media->url);
        json_writer_end_object(b->a.w);
    }
    json_writer_end_object(b->a.w);
}

/* By value, or where AWS can read it. */
static bool is_there(const struct tr_media *media)
{
    return media->base64.len > 0 || str_starts(media->url, STR("s3://"));
}

static bool is_one_of(struct str format, const char *const *formats)
{
    for (; *formats != NULL; formats++)
        if (str_is(format, *formats))
            return true;
    return false;
}

static const char *const picture_formats[] = {"jpeg", "png", "gif", "webp", NULL};
static const char *const document_formats[] = {"pdf",  "csv",  "doc", "docx", "xls",
                                               "xlsx", "html", "txt", "md",   NULL};

static int put_image(struct bedrock_asking *b, const struct tr_media *media)
{
    struct str format = tr_media_format(tr_media_mime(media));
    if (!is_there(media) || !is_one_of(format, picture_formats))
        return tr_refuse(b->a.refusal, "messages",
                         "an image must be JPEG, PNG, GIF or WebP, by value or in S3");
    begin(b, "image");
    tr_put_text(b->a.w, "format", format);
    put_source(b, media);
    end(b);
    return 0;
}

static bool may_be_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '(' || c == ')' || c == '[' || c == ']';
}

/* A name there has no dots and is nobody else's: all but the first end in a number, and the first
 * does not end in a digit, so that the beginning of a dialogue keeps its names when it grows. */
static struct str document_name(struct bedrock_asking *b, struct str name)
{
    char room[DOCUMENT_NAME_BYTES];
    size_t len = 0;
    for (size_t i = name.len; i > 1; i--)
        if (name.data[i - 1] == '.') {
            name.len = i - 1;
            break;
        }
    for (size_t i = 0; i < name.len && len < sizeof room; i++) {
        bool blank = !may_be_name(name.data[i]);
        if (!blank || (len > 0 && room[len - 1] != ' '))
            room[len++] = blank ? ' ' : name.data[i];
    }
    while (len > 0 && room[len - 1] == ' ')
        len--;
    struct str base = len > 0 ? (struct str){room, len} : STR("document");
    uint32_t number = ++b->documents;
    bool digit = base.data[base.len - 1] >= '0' && base.data[base.len - 1] <= '9';
    if (number == 1 && !digit)
        return arena_copy(b->a.arena, base);
    return str_from(arena_printf(b->a.arena, "%.*s %u", STR_ARG(base), (unsigned)number));
}

/* A text by its type, whatever its name is. */
static struct str document_format(struct str mime)
{
    struct str format = tr_media_format(mime);
    if (is_one_of(format, document_formats))
        return format;
    if (str_is(mime, "text/markdown"))
        return STR("md");
    return str_starts(mime, STR("text/")) || str_is(mime, "application/json") ? STR("txt")
                                                                              : STR_NULL;
}

static int put_file(struct bedrock_asking *b, const struct tr_media *media)
{
    struct str mime = tr_media_mime(media), format = document_format(mime);
    if (is_there(media) && is_one_of(tr_media_format(mime), picture_formats))
        return put_image(b, media);
    if (!is_there(media) || format.len == 0)
        return tr_refuse(b->a.refusal, "messages",
                         "a file must be a PDF, a text or an office document, by value or in S3");
    struct str name = document_name(b, media->name);
    if (name.len == 0)
        return ERR_TOO_LARGE;
    begin(b, "document");
    tr_put_text(b->a.w, "format", format);
    tr_put_text(b->a.w, "name", name);
    put_source(b, media);
    end(b);
    return 0;
}

static int put_audio(struct bedrock_asking *b, const struct tr_media *media)
{
    struct str format = tr_media_format(tr_media_mime(media));
    if (!is_there(media) || format.len == 0)
        return tr_refuse(b->a.refusal, "messages", "sound must be given by value, with its format");
    begin(b, "audio");
    tr_put_text(b->a.w, "format", format);
    put_source(b, media);
    end(b);
    return 0;
}

/* ---- parts ---- */

static int put_reasoning(struct bedrock_asking *b, const struct tr_reasoning *reasoning)
{
    begin(b, "reasoningContent");
    if (reasoning->opaque.len > 0) {
        tr_put_text(b->a.w, "redactedContent", reasoning->opaque);
    } else {
        json_writer_key(b->a.w, "reasoningText");
        json_writer_begin_object(b->a.w);
        json_writer_key(b->a.w, "text");
        json_writer_string(b->a.w, reasoning->text);
        tr_put_text(b->a.w, "signature", reasoning->signature);
        json_writer_end_object(b->a.w);
    }
    end(b);
    return 0;
}

static int put_call(struct bedrock_asking *b, const struct tr_call *call)
{
    struct str input;
    int rc = tr_arguments_object(&b->a.scratch, call->arguments, b->a.arena, &input);
    if (rc != 0)
        return rc;
    begin(b, "toolUse");
    tr_put_text(b->a.w, "toolUseId", call->id);
    tr_put_text(b->a.w, "name", tr_names_inside(b->a.terms, call->name));
    tr_put_raw(b->a.w, "input", input);
    end(b);
    return 0;
}

/* What may stand in a result, and in a turn. */
static int put_leaf(struct bedrock_asking *b, const struct tr_part *part)
{
    switch (part->kind) {
    case TR_PART_TEXT:
    case TR_PART_REFUSAL:
        put_text(b, part->text);
        return 0;
    case TR_PART_IMAGE:
        return put_image(b, &part->media);
    case TR_PART_FILE:
        return put_file(b, &part->media);
    case TR_PART_AUDIO:
        return put_audio(b, &part->media);
    case TR_PART_REASONING:
    case TR_PART_CALL:
    case TR_PART_RESULT:
        break;
    }
    return tr_refuse(b->a.refusal, "messages", NULL);
}

static int put_leaves(struct bedrock_asking *b, const struct tr_result *result, uint32_t *out_count)
{
    int rc = 0;
    *out_count = 0;
    for (uint32_t i = 0; rc == 0 && i < result->part_count; i++) {
        if (is_text(&result->parts[i]) && is_blank(result->parts[i].text))
            continue;
        rc = put_leaf(b, &result->parts[i]);
        ++*out_count;
    }
    return rc;
}

static int put_result(struct bedrock_asking *b, const struct tr_result *result)
{
    bool status = b->claude || bedrock_has(b, TR_QUIRK_RESULT_STATUS);
    uint32_t count;
    begin(b, "toolResult");
    tr_put_text(b->a.w, "toolUseId", result->call_id);
    json_writer_key(b->a.w, "content");
    json_writer_begin_array(b->a.w);
    if (result->is_error && !status)
        put_text(b, STR("The tool failed."));
    int rc = put_leaves(b, result, &count);
    if (count == 0 && !(result->is_error && !status))
        put_text(b, STR("(no output)"));
    json_writer_end_array(b->a.w);
    if (result->is_error && status)
        tr_put_text(b->a.w, "status", STR("error"));
    end(b);
    return rc;
}

/* Calls and results where no tool can be declared: as the texts they are. */
static void put_flat_call(struct bedrock_asking *b, const struct tr_call *call)
{
    struct json_writer *w = b->a.w;
    json_writer_begin_object(w);
    json_writer_key(w, "text");
    json_writer_begin_string(w);
    json_writer_part(w, STR("[Called the tool "));
    json_writer_part(w, call->name);
    json_writer_part(w, STR(" with "));
    json_writer_part(w, call->arguments.len > 0 ? call->arguments : STR("{}"));
    json_writer_part(w, STR("]"));
    json_writer_end_string(w);
    json_writer_end_object(w);
}

static int put_flat_result(struct bedrock_asking *b, const struct tr_result *result)
{
    struct json_writer *w = b->a.w;
    uint32_t count;
    json_writer_begin_object(w);
    json_writer_key(w, "text");
    json_writer_begin_string(w);
    json_writer_part(w, result->is_error ? STR("[The tool ") : STR("[Result of the tool "));
    json_writer_part(w, result->name);
    json_writer_part(w, result->is_error ? STR(" failed:]") : STR(":]"));
    json_writer_end_string(w);
    json_writer_end_object(w);
    return put_leaves(b, result, &count);
}

/* Reasoning takes no mark. */
static int put_part(struct bedrock_asking *b, const struct tr_part *part)
{
    int rc = 0;
    if (part->kind == TR_PART_REASONING)
        return put_reasoning(b, &part->reasoning);
    if (part->kind == TR_PART_CALL && b->flatten)
        put_flat_call(b, &part->call);
    else if (part->kind == TR_PART_CALL)
        rc = put_call(b, &part->call);
    else if (part->kind == TR_PART_RESULT && b->flatten)
        rc = put_flat_result(b, &part->result);
    else if (part->kind == TR_PART_RESULT)
        rc = put_result(b, &part->result);
    else
        rc = put_leaf(b, part);
    if (rc == 0)
        bedrock_put_mark(b, &part->cache);
    return rc;
}

/* ---- turns ---- */

static int put_turn(struct bedrock_asking *b, const struct tr_turn *turn)
{
    bool any = false, text = false, document = false;
    int rc = 0;
    json_writer_begin_object(b->a.w);
    tr_put_text(b->a.w, "role", turn->role == TR_ASSISTANT ? STR("assistant") : STR("user"));
    json_writer_key(b->a.w, "content");
    json_writer_begin_array(b->a.w);
    for (uint32_t i = 0; rc == 0 && i < turn->part_count; i++) {
        const struct tr_part *part = &turn->parts[i];
        if (is_text(part) && is_blank(part->text))
            continue;
        any = true;
        text |= is_text(part);
        document |= part->kind == TR_PART_FILE;
        rc = put_part(b, part);
    }
    if (!any)
        put_text(b, STR("."));
    else if (document && !text)
        put_text(b, STR("See the document."));
    json_writer_end_array(b->a.w);
    json_writer_end_object(b->a.w);
    return rc;
}

int bedrock_put_messages(struct bedrock_asking *b)
{
    int rc = 0;
    if (b->a.turns.ends_in_assistant &&
        (!bedrock_has(b, TR_QUIRK_PREFILL) || anthropic_thinks(&b->a)))
        return tr_refuse(b->a.refusal, "messages",
                         "this model does not continue a last message of the assistant");
    json_writer_key(b->a.w, "messages");
    json_writer_begin_array(b->a.w);
    for (uint32_t i = 0; rc == 0 && i < b->a.turns.count; i++)
        rc = put_turn(b, &b->a.turns.turns[i]);
    json_writer_end_array(b->a.w);
    return rc;
}

/* ---- tools ---- */

static int put_tool(struct bedrock_asking *b, struct str name, struct str description,
                    struct str schema, bool strict)
{
    int rc = strict ? tr_schema_strict(schema, b->a.arena, &schema)
                    : tr_schema_object(schema, b->a.arena, &schema);
    if (rc == ERR_INVALID)
        return tr_refuse(b->a.refusal, "tools", "a tool's schema is no JSON object");
    if (rc != 0)
        return rc;
    begin(b, "toolSpec");
    tr_put_text(b->a.w, "name", name);
    if (!is_blank(description))
        tr_put_text(b->a.w, "description", description);
    json_writer_key(b->a.w, "inputSchema");
    json_writer_begin_object(b->a.w);
    tr_put_raw(b->a.w, "json", schema);
    json_writer_end_object(b->a.w);
    if (strict) {
        json_writer_key(b->a.w, "strict");
        json_writer_bool(b->a.w, true);
    }
    end(b);
    return 0;
}

/* A mark of tools Claude alone takes; of others it counts as skipped. */
static void put_tool_mark(struct bedrock_asking *b, const struct tr_cache *cache)
{
    if (b->claude)
        bedrock_put_mark(b, cache);
    else if (cache->ttl_s > 0)
        b->a.marks_to_skip -= b->a.marks_to_skip > 0;
}

static int put_declared(struct bedrock_asking *b)
{
    const struct tr_request *r = b->a.request;
    bool native = bedrock_has(b, TR_QUIRK_SCHEMA);
    int rc = 0;
    if (b->stub)
        return put_tool(b, STR("unavailable"), STR("Not available: do not call it."), STR_NULL,
                        false);
    if (b->a.format == ANTHROPIC_FORMAT_TOOL)
        return put_tool(b, STR("json"), r->format_description, r->format_schema, false);
    for (uint32_t i = 0; rc == 0 && i < r->tool_count; i++) {
        const struct tr_tool *t = &r->tools[i];
        rc = put_tool(b, tr_names_inside(b->a.terms, t->name), t->description, t->schema,
                      native && t->strict > 0 && t->schema.len > 0);
        put_tool_mark(b, &t->cache);
    }
    return rc;
}

static void put_choice(struct bedrock_asking *b)
{
    const char *kind = NULL;
    if (b->choice_apart)
        return;
    switch (b->choice) {
    case TR_CHOICE_UNSET:
    case TR_CHOICE_NONE:
        return;
    case TR_CHOICE_AUTO:
        kind = "auto";
        break;
    case TR_CHOICE_REQUIRED:
        kind = "any";
        break;
    case TR_CHOICE_NAMED:
        kind = "tool";
        break;
    }
    json_writer_key(b->a.w, "toolChoice");
    begin(b, kind);
    if (b->choice == TR_CHOICE_NAMED)
        tr_put_text(b->a.w, "name", tr_names_inside(b->a.terms, b->a.request->tool_name));
    end(b);
}

int bedrock_put_tools(struct bedrock_asking *b)
{
    if (!bedrock_has_tools(b))
        return 0;
    json_writer_key(b->a.w, "toolConfig");
    json_writer_begin_object(b->a.w);
    json_writer_key(b->a.w, "tools");
    json_writer_begin_array(b->a.w);
    int rc = put_declared(b);
    json_writer_end_array(b->a.w);
    put_choice(b);
    json_writer_end_object(b->a.w);
    return rc;
}
