/* The dialogue of a request for generateContent: systemInstruction and contents. */
#include "dataplane/translate/arguments.h"
#include "dataplane/translate/gemini_internal.h"
#include "dataplane/translate/media.h"
#include "dataplane/translate/names.h"

/* What stands for the signature of a call that has none. */
#define UNSIGNED STR("skip_thought_signature_validator")

static void put_text_part(struct gemini_asking *a, struct str text, struct str signature)
{
    json_writer_begin_object(a->w);
    json_writer_key(a->w, "text");
    json_writer_string(a->w, text);
    tr_put_text(a->w, "thoughtSignature", signature);
    json_writer_end_object(a->w);
}

static void put_words(struct gemini_asking *a)
{
    json_writer_begin_object(a->w);
    json_writer_key(a->w, "text");
    json_writer_begin_string(a->w);
    json_writer_part(a->w, STR("Answer with one JSON object and nothing else: no text before or "
                               "after it, no code fence."));
    if (a->request->format == TR_FORMAT_SCHEMA) {
        json_writer_part(a->w, STR(" It must be valid against this JSON schema:\n"));
        json_writer_part(a->w, a->request->format_schema);
    }
    json_writer_end_string(a->w);
    json_writer_end_object(a->w);
}

static bool has_system(const struct gemini_asking *a)
{
    bool any = a->format == GEMINI_FORMAT_WORDS;
    for (uint32_t i = 0; i < a->request->system_count; i++)
        any |= a->request->system[i].text.len > 0;
    return any;
}

/* As parts, wherever they stand. */
static void put_system_parts(struct gemini_asking *a)
{
    for (uint32_t i = 0; i < a->request->system_count; i++)
        if (a->request->system[i].text.len > 0)
            put_text_part(a, a->request->system[i].text, STR_NULL);
    if (a->format == GEMINI_FORMAT_WORDS)
        put_words(a);
}

/* ---- media ---- */

static void put_bytes(struct gemini_asking *a, struct str mime, struct str base64)
{
    json_writer_begin_object(a->w);
    json_writer_key(a->w, "inlineData");
    json_writer_begin_object(a->w);
    tr_put_text(a->w, "mimeType", mime);
    tr_put_text(a->w, "data", base64);
    json_writer_end_object(a->w);
    json_writer_end_object(a->w);
}

static void put_address(struct gemini_asking *a, struct str mime, struct str url)
{
    json_writer_begin_object(a->w);
    json_writer_key(a->w, "fileData");
    json_writer_begin_object(a->w);
    tr_put_text(a->w, "mimeType", mime);
    tr_put_text(a->w, "fileUri", url);
    json_writer_end_object(a->w);
    json_writer_end_object(a->w);
}

/* Buckets are Vertex's; files that were uploaded are the developer API's; other addresses are a
 * matter of the model. */
static bool takes_address(const struct gemini_asking *a, struct str url)
{
    if (str_starts(url, STR("gs://")))
        return a->vertex;
    if (!a->vertex && str_starts(url, STR("https://generativelanguage.googleapis.com/")))
        return true;
    return gemini_has(a, TR_QUIRK_URLS) &&
           (str_starts(url, STR("https://")) || str_starts(url, STR("http://")));
}

static int put_media(struct gemini_asking *a, const struct tr_part *part)
{
    const struct tr_media *media = &part->media;
    struct str mime = tr_media_mime(media);
    if (part->kind == TR_PART_IMAGE && mime.len == 0)
        mime = STR("image/jpeg");
    if (media->base64.len == 0 && media->url.len > 0) {
        if (!takes_address(a, media->url))
            return tr_refuse(a->refusal, "messages",
                             "this model takes pictures and files by value, not by address");
        put_address(a, mime, media->url);
        return 0;
    }
    if (media->base64.len == 0)
        return tr_refuse(a->refusal, "messages",
                         "pictures and files are given to this provider by value or by address");
    if (mime.len == 0)
        return tr_refuse(a->refusal, "messages", "a file must say what kind it is of");
    if (str_is(mime, "application/json"))
        mime = STR("text/plain");
    put_bytes(a, mime, media->base64);
    return 0;
}

static bool is_media(const struct tr_part *part)
{
    return part->kind == TR_PART_IMAGE || part->kind == TR_PART_FILE || part->kind == TR_PART_AUDIO;
}

static int put_result_media(struct gemini_asking *a, const struct tr_result *result)
{
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < result->part_count; i++)
        if (is_media(&result->parts[i]))
            rc = put_media(a, &result->parts[i]);
    return rc;
}

static bool has_media(const struct tr_result *result)
{
    for (uint32_t i = 0; i < result->part_count; i++)
        if (is_media(&result->parts[i]))
            return true;
    return false;
}

/* ---- calls and results ---- */

static int put_call(struct gemini_asking *a, const struct tr_call *call, struct str signature)
{
    struct str args;
    int rc = tr_arguments_object(&a->scratch, call->arguments, a->arena, &args);
    if (rc != 0)
        return rc;
    json_writer_begin_object(a->w);
    json_writer_key(a->w, "functionCall");
    json_writer_begin_object(a->w);
    if (!a->vertex)
        tr_put_text(a->w, "id", call->id);
    tr_put_text(a->w, "name", tr_names_inside(a->terms, call->name));
    tr_put_raw(a->w, "args", args);
    json_writer_end_object(a->w);
    tr_put_text(a->w, "thoughtSignature", signature);
    json_writer_end_object(a->w);
    return 0;
}

/* An object as it is; a text under a name, for it must be an object. */
static int put_response(struct gemini_asking *a, const struct tr_result *result)
{
    struct str text;
    int rc = tr_parts_text(result->parts, result->part_count, a->arena, &text);
    if (rc != 0)
        return rc;
    rc = json_parse(&a->scratch, text, NULL);
    if (rc == ERR_NOMEM)
        return rc;
    if (rc == 0 && json_kind(&a->scratch, JSON_ROOT) == JSON_OBJECT && !result->is_error) {
        tr_put_raw(a->w, "response", json_raw(&a->scratch, JSON_ROOT));
        return 0;
    }
    json_writer_key(a->w, "response");
    json_writer_begin_object(a->w);
    tr_put_text(a->w, "name", tr_names_inside(a->terms, result->name));
    json_writer_key(a->w, result->is_error ? "error" : "content");
    json_writer_string(a->w, text);
    json_writer_end_object(a->w);
    return 0;
}

static int put_result(struct gemini_asking *a, const struct tr_result *result)
{
    json_writer_begin_object(a->w);
    json_writer_key(a->w, "functionResponse");
    json_writer_begin_object(a->w);
    if (!a->vertex)
        tr_put_text(a->w, "id", result->call_id);
    tr_put_text(a->w, "name", tr_names_inside(a->terms, result->name));
    int rc = put_response(a, result);
    if (rc == 0 && gemini_has(a, TR_QUIRK_RESULT_PARTS) && has_media(result)) {
        json_writer_key(a->w, "parts");
        json_writer_begin_array(a->w);
        rc = put_result_media(a, result);
        json_writer_end_array(a->w);
    }
    json_writer_end_object(a->w);
    json_writer_end_object(a->w);
    return rc;
}

/* ---- turns ---- */

static int put_user_part(struct gemini_asking *a, const struct tr_part *part)
{
    switch (part->kind) {
    case TR_PART_TEXT:
    case TR_PART_REFUSAL:
        put_text_part(a, part->text, STR_NULL);
        return 0;
    case TR_PART_IMAGE:
    case TR_PART_FILE:
    case TR_PART_AUDIO:
        return put_media(a, part);
    case TR_PART_RESULT:
        return put_result(a, &part->result);
    case TR_PART_REASONING:
    case TR_PART_CALL:
        break;
    }
    return tr_refuse(a->refusal, "messages", NULL);
}

/* Results stand first; what of them has no place in a result follows the last one. */
static int put_user(struct gemini_asking *a, const struct tr_turn *turn)
{
    uint32_t results = 0;
    int rc = 0;
    while (results < turn->part_count && turn->parts[results].kind == TR_PART_RESULT)
        results++;
    for (uint32_t i = 0; rc == 0 && i < results; i++)
        rc = put_user_part(a, &turn->parts[i]);
    for (uint32_t i = 0; rc == 0 && !gemini_has(a, TR_QUIRK_RESULT_PARTS) && i < results; i++)
        rc = put_result_media(a, &turn->parts[i].result);
    for (uint32_t i = results; rc == 0 && i < turn->part_count; i++)
        rc = put_user_part(a, &turn->parts[i]);
    return rc;
}

/* A signature goes back on the part that it came with. Callers hold it as reasoning before that
 * part, or with a call; of reasoning nothing else goes back. */
static int put_model(struct gemini_asking *a, const struct tr_turn *turn)
{
    struct str pending = STR_NULL;
    bool first = true;
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < turn->part_count; i++) {
        const struct tr_part *part = &turn->parts[i];
        struct str signature = pending;
        if (part->kind == TR_PART_REASONING) {
            if (pending.len > 0)
                put_text_part(a, STR_NULL, pending);
            pending = part->reasoning.signature.len > 0 ? part->reasoning.signature
                                                        : part->reasoning.opaque;
            continue;
        }
        pending = STR_NULL;
        if (part->kind == TR_PART_CALL) {
            if (part->call.signature.len > 0)
                signature = part->call.signature;
            if (signature.len == 0 && first && gemini_has(a, TR_QUIRK_CALL_SIGNATURE))
                signature = UNSIGNED;
            rc = put_call(a, &part->call, signature);
            first = false;
        } else if (is_media(part)) {
            rc = put_media(a, part);
        } else {
            put_text_part(a, part->text, signature);
        }
    }
    if (rc == 0 && pending.len > 0)
        put_text_part(a, STR_NULL, pending);
    return rc;
}

static int put_turn(struct gemini_asking *a, const struct tr_turn *turn, bool with_system)
{
    const bool model = turn->role == TR_ASSISTANT;
    json_writer_begin_object(a->w);
    tr_put_text(a->w, "role", model ? STR("model") : STR("user"));
    json_writer_key(a->w, "parts");
    json_writer_begin_array(a->w);
    if (with_system)
        put_system_parts(a);
    int rc = model ? put_model(a, turn) : put_user(a, turn);
    json_writer_end_array(a->w);
    json_writer_end_object(a->w);
    return rc;
}

int gemini_put_dialogue(struct gemini_asking *a)
{
    const bool system = has_system(a), apart = !gemini_has(a, TR_QUIRK_NO_SYSTEM);
    int rc = 0;
    if (a->turns.ends_in_assistant && !gemini_has(a, TR_QUIRK_PREFILL))
        return tr_refuse(a->refusal, "messages",
                         "this model does not continue a last message of the assistant");
    if (system && apart) {
        json_writer_key(a->w, "systemInstruction");
        json_writer_begin_object(a->w);
        json_writer_key(a->w, "parts");
        json_writer_begin_array(a->w);
        put_system_parts(a);
        json_writer_end_array(a->w);
        json_writer_end_object(a->w);
    }
    json_writer_key(a->w, "contents");
    json_writer_begin_array(a->w);
    for (uint32_t i = 0; rc == 0 && i < a->turns.count; i++)
        rc = put_turn(a, &a->turns.turns[i], i == 0 && system && !apart);
    json_writer_end_array(a->w);
    return rc;
}
