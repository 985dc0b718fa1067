/* The messages of a request for a host of chat completions (PROVIDER-TRANSLATION section 4): texts
 * of one message are one string, which every host takes; results are text, and what pictures they
 * hold follows as a user's message (turns.h saw to that). */
#include <string.h>

#include "common/json/json_writer.h"
#include "dataplane/translate/arguments.h"
#include "dataplane/translate/media.h"
#include "dataplane/translate/names.h"
#include "dataplane/translate/notes.h"
#include "dataplane/translate/openai_internal.h"
#include "dataplane/translate/quirks.h"
#include "dataplane/translate/turns.h"

static bool quirk(const struct tr_asking *a, enum tr_quirk flag)
{
    return tr_quirks_has(a->target->quirks, flag);
}

static void begin_message(struct tr_asking *a, struct str role)
{
    json_writer_begin_object(a->w);
    tr_put_text(a->w, "role", role);
    json_writer_key(a->w, "content");
}

static int print_system(struct tr_asking *a, struct str extra)
{
    struct str text = STR_NULL;
    const bool developer =
        quirk(a, TR_QUIRK_DEVELOPER) && !tr_host_has(a->target, HOST_QUIRK_NO_DEVELOPER);
    int rc = tr_parts_text(a->request->system, a->request->system_count, a->arena, &text);
    if (rc != 0 || (text.len == 0 && extra.len == 0))
        return rc;
    begin_message(a, developer ? STR("developer") : STR("system"));
    json_writer_begin_string(a->w);
    json_writer_part(a->w, text);
    if (text.len > 0 && extra.len > 0)
        json_writer_part(a->w, STR("\n\n"));
    json_writer_part(a->w, extra);
    json_writer_end_string(a->w);
    json_writer_end_object(a->w);
    return 0;
}

/* ---- a user's parts ---- */

static void print_text(struct json_writer *w, struct str text)
{
    json_writer_begin_object(w);
    tr_put_text(w, "type", STR("text"));
    json_writer_key(w, "text");
    json_writer_string(w, text);
    json_writer_end_object(w);
}

static int print_image(struct tr_asking *a, const struct tr_media *m)
{
    struct json_writer *w = a->w;
    if (m->base64.len == 0 && m->url.len == 0)
        return tr_refuse(a->refusal, "messages",
                         "images are given to this provider by value or by address");
    json_writer_begin_object(w);
    tr_put_text(w, "type", STR("image_url"));
    json_writer_key(w, "image_url");
    json_writer_begin_object(w);
    json_writer_key(w, "url");
    if (m->base64.len > 0)
        tr_media_put_data_url(w, m);
    else
        json_writer_string(w, m->url);
    tr_put_text(w, "detail", m->detail);
    json_writer_end_object(w);
    json_writer_end_object(w);
    return 0;
}

/* The host wants a name for a file. */
static void print_name(struct tr_asking *a, const struct tr_media *m)
{
    struct str format = tr_media_format(tr_media_mime(m));
    json_writer_key(a->w, "filename");
    if (m->name.len > 0) {
        json_writer_string(a->w, m->name);
        return;
    }
    json_writer_begin_string(a->w);
    json_writer_part(a->w, STR("file"));
    if (format.len > 0) {
        json_writer_part(a->w, STR("."));
        json_writer_part(a->w, format);
    }
    json_writer_end_string(a->w);
}

static int print_file(struct tr_asking *a, const struct tr_media *m)
{
    struct str text;
    if (m->base64.len > 0 && str_starts(tr_media_mime(m), STR("text/"))) {
        int rc = tr_media_decode(m->base64, a->arena, &text);
        if (rc == ERR_INVALID)
            return tr_refuse(a->refusal, "messages", "a file is not base64");
        if (rc == 0)
            print_text(a->w, text);
        return rc;
    }
    if (m->base64.len == 0)
        return tr_refuse(a->refusal, "messages", "files are given to this provider by value");
    json_writer_begin_object(a->w);
    tr_put_text(a->w, "type", STR("file"));
    json_writer_key(a->w, "file");
    json_writer_begin_object(a->w);
    print_name(a, m);
    json_writer_key(a->w, "file_data");
    tr_media_put_data_url(a->w, m);
    json_writer_end_object(a->w);
    json_writer_end_object(a->w);
    return 0;
}

static int print_audio(struct tr_asking *a, const struct tr_media *m)
{
    struct str format = tr_media_format(tr_media_mime(m));
    if (m->base64.len == 0 || format.len == 0)
        return tr_refuse(a->refusal, "messages", "audio is given to this provider by value");
    json_writer_begin_object(a->w);
    tr_put_text(a->w, "type", STR("input_audio"));
    json_writer_key(a->w, "input_audio");
    json_writer_begin_object(a->w);
    tr_put_text(a->w, "data", m->base64);
    tr_put_text(a->w, "format", format);
    json_writer_end_object(a->w);
    json_writer_end_object(a->w);
    return 0;
}

static int print_part(struct tr_asking *a, const struct tr_part *part)
{
    switch (part->kind) {
    case TR_PART_TEXT:
    case TR_PART_REFUSAL:
        print_text(a->w, part->text);
        return 0;
    case TR_PART_IMAGE:
        return print_image(a, &part->media);
    case TR_PART_FILE:
        return print_file(a, &part->media);
    case TR_PART_AUDIO:
        return print_audio(a, &part->media);
    case TR_PART_REASONING:
    case TR_PART_CALL:
    case TR_PART_RESULT:
        break; /* Not in a user's turn. */
    }
    return 0;
}

static bool is_text_alone(const struct tr_turn *turn)
{
    for (uint32_t i = 0; i < turn->part_count; i++)
        if (turn->parts[i].kind != TR_PART_TEXT)
            return false;
    return true;
}

static int print_user(struct tr_asking *a, const struct tr_turn *turn)
{
    struct str text = STR_NULL;
    int rc = 0;
    begin_message(a, STR("user"));
    if (is_text_alone(turn)) {
        rc = tr_parts_text(turn->parts, turn->part_count, a->arena, &text);
        json_writer_string(a->w, text);
    } else {
        json_writer_begin_array(a->w);
        for (uint32_t i = 0; rc == 0 && i < turn->part_count; i++)
            rc = print_part(a, &turn->parts[i]);
        if (rc == 0)
            json_writer_end_array(a->w);
    }
    if (rc == 0)
        json_writer_end_object(a->w);
    return rc;
}

/* ---- the model's turns, and results ---- */

/* Gemini behind this dialect wants the first call of a turn signed; where its signature was lost,
 * this is what it takes instead. */
static void print_signature(struct tr_asking *a, struct str signature, bool first)
{
    if (!quirk(a, TR_QUIRK_CALL_SIGNATURE) || (signature.len == 0 && !first))
        return;
    if (signature.len == 0)
        signature = STR("skip_thought_signature_validator");
    json_writer_key(a->w, "extra_content");
    json_writer_begin_object(a->w);
    json_writer_key(a->w, "google");
    json_writer_begin_object(a->w);
    tr_put_text(a->w, "thought_signature", signature);
    json_writer_end_object(a->w);
    json_writer_end_object(a->w);
}

static void print_call(struct tr_asking *a, const struct tr_call *call, struct str signature,
                       bool first)
{
    struct json_writer *w = a->w;
    json_writer_begin_object(w);
    tr_put_text(w, "id", call->id);
    tr_put_text(w, "type", call->custom ? STR("custom") : STR("function"));
    json_writer_key(w, call->custom ? "custom" : "function");
    json_writer_begin_object(w);
    json_writer_key(w, "name");
    json_writer_string(w, tr_names_inside(a->terms, call->name));
    json_writer_key(w, call->custom ? "input" : "arguments");
    json_writer_string(w, call->custom ? call->arguments : tr_arguments_text(call->arguments));
    json_writer_end_object(w);
    print_signature(a, signature, first);
    json_writer_end_object(w);
}

/* A caller without a place for a call's signature holds it as that of reasoning before the call.
 * signed_already: what there is to sign is in reasoning_details. */
static void print_calls(struct tr_asking *a, const struct tr_turn *turn, bool signed_already)
{
    struct str pending = STR_NULL;
    bool any = false;
    for (uint32_t i = 0; i < turn->part_count; i++) {
        const struct tr_part *part = &turn->parts[i];
        struct str signature = pending;
        pending = STR_NULL;
        if (part->kind == TR_PART_REASONING && part->reasoning.text.len == 0 &&
            !tr_openai_is_detail(part))
            pending = part->reasoning.signature;
        if (part->kind != TR_PART_CALL)
            continue;
        if (!any) {
            json_writer_key(a->w, "tool_calls");
            json_writer_begin_array(a->w);
        }
        if (part->call.signature.len > 0)
            signature = part->call.signature;
        print_call(a, &part->call, signature, !any && !signed_already);
        any = true;
    }
    if (any)
        json_writer_end_array(a->w);
}

/* Texts of one kind, joined; nothing and false if there are none. */
static bool print_joined(struct tr_asking *a, const struct tr_turn *turn, enum tr_part_kind kind,
                         struct str between)
{
    bool any = false;
    for (uint32_t i = 0; i < turn->part_count; i++) {
        const struct tr_part *p = &turn->parts[i];
        if (p->kind != kind)
            continue;
        if (any)
            json_writer_part(a->w, between);
        else
            json_writer_begin_string(a->w);
        any = true;
        json_writer_part(a->w, kind == TR_PART_REASONING ? p->reasoning.text : p->text);
    }
    if (any)
        json_writer_end_string(a->w);
    return any;
}

static bool has(const struct tr_turn *turn, enum tr_part_kind kind)
{
    for (uint32_t i = 0; i < turn->part_count; i++)
        if (turn->parts[i].kind == kind)
            return true;
    return false;
}

/* Strict hosts know no refusals: there it is what was said. */
static void print_content(struct tr_asking *a, const struct tr_turn *turn)
{
    const bool apart = !tr_host_has(a->target, HOST_QUIRK_NO_METADATA);
    if (!print_joined(a, turn, TR_PART_TEXT, STR("\n\n")) &&
        (apart || !print_joined(a, turn, TR_PART_REFUSAL, STR("\n\n")))) {
        if (has(turn, TR_PART_CALL) || has(turn, TR_PART_REFUSAL))
            json_writer_null(a->w);
        else
            json_writer_string(a->w, STR_NULL);
    }
    if (apart && has(turn, TR_PART_REFUSAL)) {
        json_writer_key(a->w, "refusal");
        (void)print_joined(a, turn, TR_PART_REFUSAL, STR("\n\n"));
    }
}

/* DeepSeek: newer models want it on every turn, "" if there was none; older ones while their calls
 * are being answered. */
static void print_reasoning(struct tr_asking *a, const struct tr_turn *turn, bool current)
{
    const bool always = quirk(a, TR_QUIRK_REASONING_ALWAYS);
    if (!always && (!current || !tr_host_has(a->target, HOST_QUIRK_REASONING_BACK) ||
                    !has(turn, TR_PART_REASONING)))
        return;
    json_writer_key(a->w, "reasoning_content");
    if (!print_joined(a, turn, TR_PART_REASONING, STR_NULL))
        json_writer_string(a->w, STR_NULL);
}

/* DeepSeek and its like. */
static bool takes_text_back(const struct tr_asking *a)
{
    return tr_host_has(a->target, HOST_QUIRK_REASONING_BACK) || quirk(a, TR_QUIRK_REASONING_ALWAYS);
}

static void print_assistant(struct tr_asking *a, const struct tr_turn *turn, bool current,
                            bool prefix)
{
    begin_message(a, STR("assistant"));
    print_content(a, turn);
    print_reasoning(a, turn, current);
    /* Where reasoning goes back as text, it is anybody's. */
    print_calls(a, turn, !takes_text_back(a) && tr_openai_print_details(a, turn));
    if (prefix) {
        json_writer_key(a->w, "prefix");
        json_writer_bool(a->w, true);
    }
    json_writer_end_object(a->w);
}

static int print_results(struct tr_asking *a, const struct tr_turn *turn)
{
    for (uint32_t i = 0; i < turn->part_count; i++) {
        const struct tr_result *result = &turn->parts[i].result;
        struct str text = STR_NULL;
        if (turn->parts[i].kind != TR_PART_RESULT)
            continue;
        int rc = tr_parts_text(result->parts, result->part_count, a->arena, &text);
        if (rc != 0)
            return rc;
        begin_message(a, STR("tool"));
        json_writer_string(a->w, text);
        tr_put_text(a->w, "tool_call_id", result->call_id);
        json_writer_end_object(a->w);
    }
    return 0;
}

static int print_turns(struct tr_asking *a, const struct tr_turns *turns, bool prefix)
{
    uint32_t last_user = 0;
    int rc = 0;
    for (uint32_t i = 0; i < turns->count; i++)
        if (turns->turns[i].role == TR_USER)
            last_user = i;
    for (uint32_t i = 0; i < turns->count && rc == 0; i++) {
        const struct tr_turn *turn = &turns->turns[i];
        switch (turn->role) {
        case TR_USER:
            rc = print_user(a, turn);
            break;
        case TR_ASSISTANT:
            print_assistant(a, turn, i > last_user, prefix && i + 1 == turns->count);
            break;
        case TR_TOOL:
            rc = print_results(a, turn);
            break;
        }
    }
    return rc;
}

int tr_openai_print_messages(struct tr_asking *a, struct str extra)
{
    const bool nine =
        tr_host_has(a->target, HOST_QUIRK_NINE_CHARACTER_IDS) || quirk(a, TR_QUIRK_NINE_IDS);
    const bool prefix = tr_host_has(a->target, HOST_QUIRK_PREFIX);
    const struct tr_turns_options options = {.tool_turns = true,
                                             .text_results = true,
                                             .replay = takes_text_back(a) ? TR_REPLAY_TEXT
                                                                          : TR_REPLAY_SIGNED,
                                             .vendor = DIALECT_OPENAI,
                                             .id_class = nine ? TR_ID_NINE : TR_ID_ANY};
    struct tr_turns turns;
    int rc =
        tr_turns_prepare(a->request, &options, a->target, a->arena, a->terms, a->refusal, &turns);
    if (rc != 0)
        return rc;
    if (turns.ends_in_assistant && !prefix && !quirk(a, TR_QUIRK_PREFILL))
        return tr_refuse(a->refusal, "messages",
                         "this provider does not go on from a last message of the assistant");
    json_writer_key(a->w, "messages");
    json_writer_begin_array(a->w);
    rc = print_system(a, extra);
    if (rc == 0)
        rc = print_turns(a, &turns, prefix && turns.ends_in_assistant);
    if (rc == 0)
        json_writer_end_array(a->w);
    return rc;
}
