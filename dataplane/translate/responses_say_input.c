/* The dialogue as items, for a host of the Responses dialect. */
#include "common/json/json_writer.h"
#include "dataplane/translate/arguments.h"
#include "dataplane/translate/media.h"
#include "dataplane/translate/names.h"
#include "dataplane/translate/notes.h"
#include "dataplane/translate/responses_ask.h"

static void print_text(struct tr_asking *a, const char *type, const char *member, struct str text)
{
    json_writer_begin_object(a->w);
    tr_put_text(a->w, "type", str_from(type));
    json_writer_key(a->w, member);
    json_writer_string(a->w, text);
    json_writer_end_object(a->w);
}

static int print_image(struct tr_asking *a, const struct tr_media *m)
{
    if (m->base64.len == 0 && m->url.len == 0)
        return tr_refuse(a->refusal, "messages",
                         "images are given to this provider by value or by address");
    json_writer_begin_object(a->w);
    tr_put_text(a->w, "type", STR("input_image"));
    if (m->base64.len > 0) {
        json_writer_key(a->w, "image_url");
        tr_media_put_data_url(a->w, m);
    } else {
        tr_put_text(a->w, "image_url", m->url);
    }
    tr_put_text(a->w, "detail", m->detail.len > 0 ? m->detail : STR("auto"));
    json_writer_end_object(a->w);
    return 0;
}

/* A text file is text there, too; what else is sent by value has to have a name. */
static int print_file(struct tr_asking *a, const struct tr_media *m)
{
    struct str text;
    if (m->base64.len > 0 && str_starts(tr_media_mime(m), STR("text/"))) {
        int rc = tr_media_decode(m->base64, a->arena, &text);
        if (rc == ERR_INVALID)
            return tr_refuse(a->refusal, "messages", "a file is not base64");
        if (rc == 0)
            print_text(a, "input_text", "text", text);
        return rc;
    }
    if (m->base64.len == 0 && m->url.len == 0)
        return tr_refuse(a->refusal, "messages",
                         "files are given to this provider by value or by address");
    json_writer_begin_object(a->w);
    tr_put_text(a->w, "type", STR("input_file"));
    if (m->base64.len > 0) {
        struct str format = tr_media_format(tr_media_mime(m));
        json_writer_key(a->w, "filename");
        json_writer_begin_string(a->w);
        json_writer_part(a->w, m->name.len > 0 ? m->name : STR("file."));
        json_writer_part(a->w, m->name.len > 0 ? STR_NULL : format);
        json_writer_end_string(a->w);
        json_writer_key(a->w, "file_data");
        tr_media_put_data_url(a->w, m);
    } else {
        tr_put_text(a->w, "file_url", m->url);
    }
    json_writer_end_object(a->w);
    return 0;
}

/* Of a user's message, or of what a tool gave. */
static int print_part(struct tr_asking *a, const struct tr_part *part)
{
    switch (part->kind) {
    case TR_PART_TEXT:
    case TR_PART_REFUSAL:
        print_text(a, "input_text", "text", part->text);
        return 0;
    case TR_PART_IMAGE:
        return print_image(a, &part->media);
    case TR_PART_FILE:
        return print_file(a, &part->media);
    case TR_PART_AUDIO:
        return tr_refuse(a->refusal, "messages", "audio is not given to this provider");
    case TR_PART_REASONING:
    case TR_PART_CALL:
    case TR_PART_RESULT:
        break; /* Items of their own. */
    }
    return 0;
}

static int print_parts(struct tr_asking *a, const struct tr_part *parts, uint32_t count)
{
    int rc = 0;
    json_writer_begin_array(a->w);
    for (uint32_t i = 0; rc == 0 && i < count; i++)
        rc = print_part(a, &parts[i]);
    if (rc == 0)
        json_writer_end_array(a->w);
    return rc;
}

static int print_user(struct tr_asking *a, const struct tr_turn *turn)
{
    json_writer_begin_object(a->w);
    tr_put_text(a->w, "type", STR("message"));
    tr_put_text(a->w, "role", STR("user"));
    json_writer_key(a->w, "content");
    int rc = print_parts(a, turn->parts, turn->part_count);
    if (rc == 0)
        json_writer_end_object(a->w);
    return rc;
}

/* ---- what the model said ---- */

static void print_reasoning(struct tr_asking *a, const struct tr_reasoning *r)
{
    struct str sealed = r->opaque.len > 0 ? r->opaque : r->signature;
    ptrdiff_t end = str_find(sealed, TR_RESPONSES_ID_END);
    json_writer_begin_object(a->w);
    tr_put_text(a->w, "type", STR("reasoning"));
    if (end > 0)
        tr_put_text(a->w, "id", str_slice(sealed, 0, (size_t)end));
    json_writer_key(a->w, "summary");
    json_writer_begin_array(a->w);
    if (r->text.len > 0)
        print_text(a, "summary_text", "text", r->text);
    json_writer_end_array(a->w);
    tr_put_text(a->w, "encrypted_content",
                str_slice(sealed, end >= 0 ? (size_t)end + 1 : 0, sealed.len));
    json_writer_end_object(a->w);
}

static void print_call(struct tr_asking *a, const struct tr_call *call)
{
    json_writer_begin_object(a->w);
    tr_put_text(a->w, "type", call->custom ? STR("custom_tool_call") : STR("function_call"));
    tr_put_text(a->w, "call_id", call->id);
    tr_put_text(a->w, "name", tr_names_inside(a->terms, call->name));
    if (call->custom) {
        json_writer_key(a->w, "input");
        json_writer_string(a->w, call->arguments);
    } else {
        tr_put_text(a->w, "arguments", call->arguments.len > 0 ? call->arguments : STR("{}"));
    }
    json_writer_end_object(a->w);
}

static bool is_said(const struct tr_part *part)
{
    return part->kind == TR_PART_TEXT || part->kind == TR_PART_REFUSAL;
}

/* Texts in a row are one message. Returns how many. */
static uint32_t print_said(struct tr_asking *a, const struct tr_part *parts, uint32_t count)
{
    uint32_t n = 0;
    json_writer_begin_object(a->w);
    tr_put_text(a->w, "type", STR("message"));
    tr_put_text(a->w, "role", STR("assistant"));
    json_writer_key(a->w, "content");
    json_writer_begin_array(a->w);
    for (; n < count && is_said(&parts[n]); n++) {
        if (parts[n].kind == TR_PART_REFUSAL)
            print_text(a, "refusal", "refusal", parts[n].text);
        else
            print_text(a, "output_text", "text", parts[n].text);
    }
    json_writer_end_array(a->w);
    json_writer_end_object(a->w);
    return n;
}

static int print_assistant(struct tr_asking *a, const struct tr_turn *turn)
{
    for (uint32_t i = 0; i < turn->part_count; i++) {
        const struct tr_part *part = &turn->parts[i];
        if (is_said(part))
            i += print_said(a, part, turn->part_count - i) - 1;
        else if (part->kind == TR_PART_REASONING)
            print_reasoning(a, &part->reasoning);
        else if (part->kind == TR_PART_CALL)
            print_call(a, &part->call);
        else /* A picture it made: no item can say so. */
            tr_note(a->terms, "dropped_media");
    }
    return 0;
}

/* ---- what tools gave ---- */

static int print_result(struct tr_asking *a, const struct tr_result *result)
{
    bool text = true;
    int rc = 0;
    for (uint32_t i = 0; i < result->part_count; i++)
        text &= result->parts[i].kind == TR_PART_TEXT;
    json_writer_begin_object(a->w);
    tr_put_text(a->w, "type",
                result->custom ? STR("custom_tool_call_output") : STR("function_call_output"));
    tr_put_text(a->w, "call_id", result->call_id);
    json_writer_key(a->w, "output");
    if (text) {
        struct str joined = STR_NULL;
        rc = tr_parts_text(result->parts, result->part_count, a->arena, &joined);
        json_writer_string(a->w, joined);
    } else {
        rc = print_parts(a, result->parts, result->part_count);
    }
    if (rc == 0)
        json_writer_end_object(a->w);
    return rc;
}

static int print_turn(struct tr_asking *a, const struct tr_turn *turn)
{
    int rc = 0;
    switch (turn->role) {
    case TR_USER:
        return print_user(a, turn);
    case TR_ASSISTANT:
        return print_assistant(a, turn);
    case TR_TOOL:
        for (uint32_t i = 0; rc == 0 && i < turn->part_count; i++)
            if (turn->parts[i].kind == TR_PART_RESULT)
                rc = print_result(a, &turn->parts[i].result);
        return rc;
    }
    return 0;
}

int tr_responses_print_input(struct tr_asking *a)
{
    static const struct tr_turns_options options = {
        .tool_turns = true,
        .drop_empty = true,
        .replay = TR_REPLAY_SIGNED,
        .vendor = DIALECT_RESPONSES,
        .id_class = TR_ID_ANY,
    };
    struct tr_turns turns;
    int rc =
        tr_turns_prepare(a->request, &options, a->target, a->arena, a->terms, a->refusal, &turns);
    if (rc != 0)
        return rc;
    json_writer_key(a->w, "input");
    json_writer_begin_array(a->w);
    for (uint32_t i = 0; rc == 0 && i < turns.count; i++)
        rc = print_turn(a, &turns.turns[i]);
    if (rc == 0)
        json_writer_end_array(a->w);
    return rc;
}
