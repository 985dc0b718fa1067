/* The dialogue of a request for Cohere's v2 chat: messages, and documents for what was given as a
 * file. */
#include "dataplane/translate/arguments.h"
#include "dataplane/translate/cohere_internal.h"
#include "dataplane/translate/media.h"
#include "dataplane/translate/names.h"

int cohere_prepare_turns(struct tr_asking *a, struct tr_turns *out)
{
    static const struct tr_turns_options options = {
        .tool_turns = true,
        .text_results = true,
        .drop_empty = true,
        .replay = TR_REPLAY_NONE,
        .vendor = DIALECT_COHERE,
        .id_class = TR_ID_ANY,
    };
    return tr_turns_prepare(a->request, &options, a->target, a->arena, a->terms, a->refusal, out);
}

static void begin_message(struct tr_asking *a, struct str role)
{
    json_writer_begin_object(a->w);
    tr_put_text(a->w, "role", role);
}

/* ---- system ---- */

static int put_system(struct tr_asking *a, const struct tr_turns *turns)
{
    const struct tr_request *r = a->request;
    const bool words = cohere_format_in_words(a, turns);
    struct str text;
    int rc = tr_parts_text(r->system, r->system_count, a->arena, &text);
    if (rc != 0 || (text.len == 0 && !words))
        return rc;
    begin_message(a, STR("system"));
    json_writer_key(a->w, "content");
    json_writer_begin_string(a->w);
    json_writer_part(a->w, text);
    if (words) {
        json_writer_part(a->w, text.len > 0 ? STR("\n\n") : STR_NULL);
        json_writer_part(a->w, STR("Answer with one JSON object and nothing else: no text before "
                                   "or after it, no code fence."));
    }
    if (words && r->format == TR_FORMAT_SCHEMA) {
        json_writer_part(a->w, STR(" It must be valid against this JSON schema:\n"));
        json_writer_part(a->w, r->format_schema);
    }
    json_writer_end_string(a->w);
    json_writer_end_object(a->w);
    return 0;
}

/* ---- files ---- */

static bool is_picture(const struct tr_part *part)
{
    return part->kind == TR_PART_IMAGE ||
           (part->kind == TR_PART_FILE && str_starts(tr_media_mime(&part->media), STR("image/")));
}

static bool is_document(const struct tr_part *part)
{
    return part->kind == TR_PART_FILE && !is_picture(part);
}

static int file_text(struct tr_asking *a, const struct tr_media *media, struct str *out)
{
    struct str mime = tr_media_mime(media);
    if (media->base64.len == 0 ||
        (!str_starts(mime, STR("text/")) && !str_is(mime, "application/json")))
        return tr_refuse(a->refusal, "messages",
                         "a file must be text, by value, for this model's provider");
    int rc = tr_media_decode(media->base64, a->arena, out);
    return rc == ERR_INVALID ? tr_refuse(a->refusal, "messages", "a file's data is no base64") : rc;
}

bool cohere_has_documents(const struct tr_asking *a, const struct tr_turns *turns)
{
    if (a->request->tool_count > 0)
        return false;
    for (uint32_t i = 0; i < turns->count; i++)
        for (uint32_t k = 0; k < turns->turns[i].part_count; k++)
            if (is_document(&turns->turns[i].parts[k]))
                return true;
    return false;
}

static int put_document(struct tr_asking *a, const struct tr_media *media)
{
    struct str text;
    int rc = file_text(a, media, &text);
    if (rc != 0)
        return rc;
    json_writer_begin_object(a->w);
    json_writer_key(a->w, "data");
    json_writer_begin_object(a->w);
    tr_put_text(a->w, "title", media->name);
    json_writer_key(a->w, "text");
    json_writer_string(a->w, text);
    json_writer_end_object(a->w);
    json_writer_end_object(a->w);
    return 0;
}

int cohere_put_documents(struct tr_asking *a, const struct tr_turns *turns)
{
    int rc = 0;
    if (!cohere_has_documents(a, turns))
        return 0;
    json_writer_key(a->w, "documents");
    json_writer_begin_array(a->w);
    for (uint32_t i = 0; rc == 0 && i < turns->count; i++)
        for (uint32_t k = 0; rc == 0 && k < turns->turns[i].part_count; k++)
            if (is_document(&turns->turns[i].parts[k]))
                rc = put_document(a, &turns->turns[i].parts[k].media);
    json_writer_end_array(a->w);
    return rc;
}

/* ---- a user's parts ---- */

static void put_text(struct tr_asking *a, struct str text)
{
    json_writer_begin_object(a->w);
    tr_put_text(a->w, "type", STR("text"));
    json_writer_key(a->w, "text");
    json_writer_string(a->w, text);
    json_writer_end_object(a->w);
}

static int put_picture(struct tr_asking *a, const struct tr_media *m)
{
    struct json_writer *w = a->w;
    struct str mime = tr_media_mime(m);
    if (m->base64.len == 0 && m->url.len == 0)
        return tr_refuse(a->refusal, "messages",
                         "images are given to this provider by value or by address");
    json_writer_begin_object(w);
    tr_put_text(w, "type", STR("image_url"));
    json_writer_key(w, "image_url");
    json_writer_begin_object(w);
    json_writer_key(w, "url");
    json_writer_begin_string(w);
    if (m->base64.len > 0) {
        json_writer_part(w, STR("data:"));
        json_writer_part(w, mime.len > 0 ? mime : STR("image/jpeg"));
        json_writer_part(w, STR(";base64,"));
        json_writer_part(w, m->base64);
    } else {
        json_writer_part(w, m->url);
    }
    json_writer_end_string(w);
    tr_put_text(w, "detail", m->detail);
    json_writer_end_object(w);
    json_writer_end_object(w);
    return 0;
}

/* Where it is no document of the request it stands where it was given. */
static int put_file(struct tr_asking *a, const struct tr_media *media)
{
    struct str text;
    if (a->request->tool_count == 0)
        return 0;
    int rc = file_text(a, media, &text);
    if (rc == 0)
        put_text(a, text);
    return rc;
}

static int put_part(struct tr_asking *a, const struct tr_part *part)
{
    if (is_picture(part))
        return put_picture(a, &part->media);
    switch (part->kind) {
    case TR_PART_TEXT:
    case TR_PART_REFUSAL:
        put_text(a, part->text);
        return 0;
    case TR_PART_FILE:
        return put_file(a, &part->media);
    case TR_PART_AUDIO:
        return tr_refuse(a->refusal, "messages", "sound is not supported by this model's provider");
    case TR_PART_IMAGE:
    case TR_PART_REASONING:
    case TR_PART_CALL:
    case TR_PART_RESULT:
        break; /* Not in a user's turn, or seen to. */
    }
    return 0;
}

/* A message cannot be empty: one that only held files points to them. */
static int put_content(struct tr_asking *a, const struct tr_turn *turn)
{
    bool texts_alone = true, documents_alone = true;
    struct str text;
    int rc = 0;
    for (uint32_t i = 0; i < turn->part_count; i++) {
        texts_alone &= turn->parts[i].kind == TR_PART_TEXT;
        documents_alone &= is_document(&turn->parts[i]) && a->request->tool_count == 0;
    }
    if (texts_alone) {
        rc = tr_parts_text(turn->parts, turn->part_count, a->arena, &text);
        if (rc != 0)
            return rc;
        json_writer_key(a->w, "content");
        json_writer_string(a->w, text);
        return 0;
    }
    json_writer_key(a->w, "content");
    json_writer_begin_array(a->w);
    if (documents_alone)
        put_text(a, STR("See the documents."));
    for (uint32_t i = 0; rc == 0 && i < turn->part_count; i++)
        rc = put_part(a, &turn->parts[i]);
    json_writer_end_array(a->w);
    return rc;
}

/* ---- the model's turns, and results ---- */

static int put_call(struct tr_asking *a, struct json *scratch, const struct tr_call *call)
{
    struct str arguments;
    int rc = tr_arguments_object(scratch, call->arguments, a->arena, &arguments);
    if (rc != 0)
        return rc;
    json_writer_begin_object(a->w);
    tr_put_text(a->w, "id", call->id);
    tr_put_text(a->w, "type", STR("function"));
    json_writer_key(a->w, "function");
    json_writer_begin_object(a->w);
    tr_put_text(a->w, "name", tr_names_inside(a->terms, call->name));
    tr_put_text(a->w, "arguments", arguments);
    json_writer_end_object(a->w);
    json_writer_end_object(a->w);
    return 0;
}

static int put_calls(struct tr_asking *a, const struct tr_turn *turn)
{
    struct json scratch;
    int rc = 0;
    json_init(&scratch, JSON_NODES_MAX);
    json_writer_key(a->w, "tool_calls");
    json_writer_begin_array(a->w);
    for (uint32_t i = 0; rc == 0 && i < turn->part_count; i++)
        if (turn->parts[i].kind == TR_PART_CALL)
            rc = put_call(a, &scratch, &turn->parts[i].call);
    json_writer_end_array(a->w);
    json_deinit(&scratch);
    return rc;
}

/* What is said before calls is their plan. */
static int put_assistant(struct tr_asking *a, const struct tr_turn *turn)
{
    struct str text;
    bool calls = false;
    for (uint32_t i = 0; i < turn->part_count; i++)
        calls |= turn->parts[i].kind == TR_PART_CALL;
    int rc = tr_parts_text(turn->parts, turn->part_count, a->arena, &text);
    if (rc != 0)
        return rc;
    begin_message(a, STR("assistant"));
    if (calls) {
        tr_put_text(a->w, "tool_plan", text);
        rc = put_calls(a, turn);
    } else {
        json_writer_key(a->w, "content");
        json_writer_string(a->w, text);
    }
    json_writer_end_object(a->w);
    return rc;
}

static int put_results(struct tr_asking *a, const struct tr_turn *turn)
{
    for (uint32_t i = 0; i < turn->part_count; i++) {
        const struct tr_result *result = &turn->parts[i].result;
        struct str text;
        int rc = tr_parts_text(result->parts, result->part_count, a->arena, &text);
        if (rc != 0)
            return rc;
        begin_message(a, STR("tool"));
        tr_put_text(a->w, "tool_call_id", result->call_id);
        json_writer_key(a->w, "content");
        json_writer_string(a->w, text);
        json_writer_end_object(a->w);
    }
    return 0;
}

static int put_turn(struct tr_asking *a, const struct tr_turn *turn)
{
    int rc = 0;
    switch (turn->role) {
    case TR_USER:
        begin_message(a, STR("user"));
        rc = put_content(a, turn);
        json_writer_end_object(a->w);
        return rc;
    case TR_ASSISTANT:
        return put_assistant(a, turn);
    case TR_TOOL:
        break;
    }
    return put_results(a, turn);
}

int cohere_put_messages(struct tr_asking *a, const struct tr_turns *turns)
{
    if (turns->ends_in_assistant && !tr_quirks_has(a->target->quirks, TR_QUIRK_PREFILL))
        return tr_refuse(a->refusal, "messages",
                         "this provider does not go on from a last message of the assistant");
    json_writer_key(a->w, "messages");
    json_writer_begin_array(a->w);
    int rc = put_system(a, turns);
    for (uint32_t i = 0; rc == 0 && i < turns->count; i++)
        rc = put_turn(a, &turns->turns[i]);
    json_writer_end_array(a->w);
    return rc;
}
