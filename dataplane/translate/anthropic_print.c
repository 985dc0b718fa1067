/* Answers as a caller of the Messages dialect gets them: frames of a stream, and the whole message.
 * Reasoning leaves with its signature sealed (seal.h), so that it goes back to its vendor alone. */
#include "dataplane/translate/anthropic_internal.h"

#include <string.h>

#include "dataplane/translate/arguments.h"
#include "dataplane/translate/seal.h"

struct str anthropic_stop_reason(enum call_finish finish, struct str stop_sequence)
{
    switch (finish) {
    case CALL_FINISH_LENGTH:
        return STR("max_tokens");
    case CALL_FINISH_TOOL_CALLS:
        return STR("tool_use");
    case CALL_FINISH_CONTENT_FILTER:
        return STR("refusal");
    case CALL_FINISH_NONE:
    case CALL_FINISH_STOP:
    case CALL_FINISH_OTHER:
        break;
    }
    return stop_sequence.len > 0 ? STR("stop_sequence") : STR("end_turn");
}

void anthropic_put_usage(struct json_writer *w, const struct tr_print *print,
                         const struct call_usage *usage, bool final)
{
    uint64_t written = usage->tokens_cache_write, read = usage->tokens_cached;
    uint64_t in = usage->tokens_in > written + read ? usage->tokens_in - written - read : 0;
    struct str member = STR_NULL;
    json_writer_key(w, "usage");
    json_writer_begin_object(w);
    json_writer_key(w, "input_tokens");
    json_writer_u64(w, usage->known ? in : print->tokens_in);
    json_writer_key(w, "cache_creation_input_tokens");
    json_writer_u64(w, written);
    json_writer_key(w, "cache_read_input_tokens");
    json_writer_u64(w, read);
    json_writer_key(w, "output_tokens");
    json_writer_u64(w, usage->tokens_out);
    if (usage->tokens_reasoning > 0) {
        json_writer_key(w, "output_tokens_details");
        json_writer_begin_object(w);
        json_writer_key(w, "thinking_tokens");
        json_writer_u64(w, usage->tokens_reasoning);
        json_writer_end_object(w);
    }
    if (final && print->usage_member != NULL)
        member = print->usage_member(print->arg, usage);
    ptrdiff_t colon = str_find(member, ':'); /* "name":value */
    if (colon > 2) {
        json_writer_key_str(w, str_slice(member, 1, (size_t)colon - 1));
        json_writer_raw(w, str_slice(member, (size_t)colon + 1, member.len));
    }
    json_writer_end_object(w);
}

/* Members of a message up to its content. */
static void put_head(struct json_writer *w, const struct tr_print *print)
{
    json_writer_key(w, "id");
    json_writer_begin_string(w);
    if (!str_starts(print->id, STR("msg_")))
        json_writer_part(w, STR("msg_"));
    json_writer_part(w, print->id);
    json_writer_end_string(w);
    json_writer_key(w, "type");
    json_writer_text(w, "message");
    json_writer_key(w, "role");
    json_writer_text(w, "assistant");
    json_writer_key(w, "model");
    json_writer_string(w, print->model);
}

static void put_stop(struct json_writer *w, enum call_finish finish, struct str stop_sequence)
{
    struct str reason = anthropic_stop_reason(finish, stop_sequence);
    json_writer_key(w, "stop_reason");
    json_writer_string(w, reason);
    json_writer_key(w, "stop_sequence");
    if (str_is(reason, "stop_sequence"))
        json_writer_string(w, stop_sequence);
    else
        json_writer_null(w);
}

static void put_sealed(struct json_writer *w, const char *key, const struct tr_print *print,
                       struct str value)
{
    char room[TR_SEAL_BYTES_MAX];
    enum dialect sealed;
    uint32_t maker;
    (void)tr_seal_take(value, &sealed, &maker);
    json_writer_key(w, key);
    json_writer_begin_string(w);
    if (value.len > 0 && sealed == DIALECTS)
        json_writer_part(w, tr_seal_prefix(print->vendor, print->maker, room));
    json_writer_part(w, value);
    json_writer_end_string(w);
}

/* ---- a stream ---- */

void anthropic_begin_frame(struct json_writer *w, struct buf *out, const char *name)
{
    json_writer_init(w, out);
    if (w->status == 0)
        w->status = buf_append_text(out, "event: ");
    if (w->status == 0)
        w->status = buf_append_text(out, name);
    if (w->status == 0)
        w->status = buf_append_text(out, "\ndata: ");
    json_writer_begin_object(w);
    json_writer_key(w, "type");
    json_writer_text(w, name);
}

int anthropic_end_frame(struct json_writer *w, struct buf *out)
{
    size_t begin = w->begin;
    json_writer_end_object(w);
    int rc = json_writer_finish(w);
    if (rc == 0)
        rc = buf_append_text(out, "\n\n");
    if (rc != 0)
        out->len = begin;
    return rc;
}

static int print_start(struct anthropic_printing *p, const struct tr_print *print, struct buf *out)
{
    struct json_writer w;
    if (p->started)
        return 0;
    p->started = true;
    anthropic_begin_frame(&w, out, "message_start");
    json_writer_key(&w, "message");
    json_writer_begin_object(&w);
    put_head(&w, print);
    json_writer_key(&w, "content");
    json_writer_begin_array(&w);
    json_writer_end_array(&w);
    json_writer_key(&w, "stop_reason");
    json_writer_null(&w);
    json_writer_key(&w, "stop_sequence");
    json_writer_null(&w);
    anthropic_put_usage(&w, print, &p->usage, false);
    json_writer_end_object(&w);
    return anthropic_end_frame(&w, out);
}

/* "index" and the beginning of "content_block", which the caller fills. */
static void begin_block(struct anthropic_printing *p, struct json_writer *w, enum tr_part_kind kind,
                        const char *type, struct buf *out)
{
    p->open = true;
    p->kind = kind;
    anthropic_begin_frame(w, out, "content_block_start");
    json_writer_key(w, "index");
    json_writer_u64(w, p->index);
    json_writer_key(w, "content_block");
    json_writer_begin_object(w);
    json_writer_key(w, "type");
    json_writer_text(w, type);
}

static int end_block(struct json_writer *w, struct buf *out)
{
    json_writer_end_object(w);
    return anthropic_end_frame(w, out);
}

int anthropic_print_delta(const struct anthropic_printing *p, const char *type, const char *member,
                          struct str text, struct buf *out)
{
    struct json_writer w;
    anthropic_begin_frame(&w, out, "content_block_delta");
    json_writer_key(&w, "index");
    json_writer_u64(&w, p->index);
    json_writer_key(&w, "delta");
    json_writer_begin_object(&w);
    json_writer_key(&w, "type");
    json_writer_text(&w, type);
    json_writer_key(&w, member);
    json_writer_string(&w, text);
    json_writer_end_object(&w);
    return anthropic_end_frame(&w, out);
}

int anthropic_close_block(struct anthropic_printing *p, struct buf *out)
{
    struct json_writer w;
    int rc = 0;
    if (!p->open)
        return 0;
    if (p->kind == TR_PART_CALL && !p->any_arguments)
        rc = anthropic_print_delta(p, "input_json_delta", "partial_json", STR(""), out);
    if (rc != 0)
        return rc;
    anthropic_begin_frame(&w, out, "content_block_stop");
    json_writer_key(&w, "index");
    json_writer_u64(&w, p->index);
    p->open = false;
    p->index++;
    return anthropic_end_frame(&w, out);
}

int anthropic_open_call(struct anthropic_printing *p, struct str id, struct str name,
                        struct buf *out)
{
    struct json_writer w;
    p->any_arguments = false;
    p->scan = (struct anthropic_scan){0};
    begin_block(p, &w, TR_PART_CALL, "tool_use", out);
    json_writer_key(&w, "id");
    json_writer_string(&w, id);
    json_writer_key(&w, "name");
    json_writer_string(&w, name);
    json_writer_key(&w, "input");
    json_writer_begin_object(&w);
    json_writer_end_object(&w);
    return end_block(&w, out);
}

static int open_text(struct anthropic_printing *p, struct buf *out)
{
    struct json_writer w;
    begin_block(p, &w, TR_PART_TEXT, "text", out);
    json_writer_key(&w, "text");
    json_writer_text(&w, "");
    return end_block(&w, out);
}

static int open_thinking(struct anthropic_printing *p, struct buf *out)
{
    struct json_writer w;
    begin_block(p, &w, TR_PART_REASONING, "thinking", out);
    json_writer_key(&w, "thinking");
    json_writer_text(&w, "");
    json_writer_key(&w, "signature");
    json_writer_text(&w, "");
    return end_block(&w, out);
}

/* Closes what is open and of another kind, calls that wait included. */
static int turn_to(struct anthropic_printing *p, enum tr_part_kind kind, struct buf *out)
{
    if (p->open && p->kind == kind)
        return 0;
    int rc = anthropic_print_calls_end(p, out);
    if (rc == 0)
        rc = anthropic_close_block(p, out);
    if (rc != 0)
        return rc;
    return kind == TR_PART_TEXT ? open_text(p, out) : open_thinking(p, out);
}

static int print_text(struct anthropic_printing *p, struct str text, struct buf *out)
{
    if (text.len == 0)
        return 0;
    int rc = turn_to(p, TR_PART_TEXT, out);
    return rc == 0 ? anthropic_print_delta(p, "text_delta", "text", text, out) : rc;
}

static int print_reasoning(struct anthropic_printing *p, struct str text, struct buf *out)
{
    if (text.len == 0)
        return 0;
    int rc = turn_to(p, TR_PART_REASONING, out);
    return rc == 0 ? anthropic_print_delta(p, "thinking_delta", "thinking", text, out) : rc;
}

/* The signature is the last a block says. */
static int print_seal(struct anthropic_printing *p, const struct tr_print *print,
                      struct str signature, struct buf *out)
{
    struct json_writer w;
    if (signature.len == 0)
        return 0;
    int rc = turn_to(p, TR_PART_REASONING, out);
    if (rc != 0)
        return rc;
    anthropic_begin_frame(&w, out, "content_block_delta");
    json_writer_key(&w, "index");
    json_writer_u64(&w, p->index);
    json_writer_key(&w, "delta");
    json_writer_begin_object(&w);
    json_writer_key(&w, "type");
    json_writer_text(&w, "signature_delta");
    put_sealed(&w, "signature", print, signature);
    json_writer_end_object(&w);
    rc = anthropic_end_frame(&w, out);
    return rc == 0 ? anthropic_close_block(p, out) : rc;
}

static int print_redacted(struct anthropic_printing *p, const struct tr_print *print,
                          struct str data, struct buf *out)
{
    struct json_writer w;
    int rc = anthropic_print_calls_end(p, out);
    if (rc == 0)
        rc = anthropic_close_block(p, out);
    if (rc != 0)
        return rc;
    begin_block(p, &w, TR_PART_REASONING, "redacted_thinking", out);
    put_sealed(&w, "data", print, data);
    rc = end_block(&w, out);
    return rc == 0 ? anthropic_close_block(p, out) : rc;
}

static int print_done(struct anthropic_printing *p, const struct tr_print *print, struct buf *out)
{
    struct json_writer w;
    int rc = anthropic_print_calls_end(p, out);
    if (rc == 0)
        rc = anthropic_close_block(p, out);
    if (rc != 0)
        return rc;
    anthropic_begin_frame(&w, out, "message_delta");
    json_writer_key(&w, "delta");
    json_writer_begin_object(&w);
    put_stop(&w, p->finish, (struct str){p->stop, p->stop_len});
    json_writer_end_object(&w);
    anthropic_put_usage(&w, print, &p->usage, true);
    rc = anthropic_end_frame(&w, out);
    if (rc != 0)
        return rc;
    anthropic_begin_frame(&w, out, "message_stop");
    return anthropic_end_frame(&w, out);
}

static void note_finish(struct anthropic_printing *p, const struct tr_event *event)
{
    struct str stop = str_slice(event->stop_sequence, 0, sizeof p->stop);
    p->finish = event->finish;
    p->stop_len = (uint32_t)stop.len;
    if (stop.len > 0)
        memcpy(p->stop, stop.data, stop.len);
}

/* A call that is signed itself (Gemini) has no place for it here: the signature stands before it,
 * as that of reasoning which is not shown, and goes back with the call. */
static int print_call(struct anthropic_printing *p, const struct tr_print *print,
                      const struct tr_event *event, struct buf *out)
{
    bool amid_calls = p->waiting.len > 0 || (p->open && p->kind == TR_PART_CALL);
    int rc = amid_calls ? 0 : print_seal(p, print, event->call.signature, out);
    return rc == 0 ? anthropic_print_call(p, event, out) : rc;
}

static int print_begun(struct anthropic_printing *p, const struct tr_print *print,
                       const struct tr_event *event, struct buf *out)
{
    switch (event->kind) {
    case TR_EVENT_TEXT:
    case TR_EVENT_REFUSAL: /* Words of a refusal are words here. */
        return print_text(p, event->text, out);
    case TR_EVENT_REASONING:
        return print_reasoning(p, event->text, out);
    case TR_EVENT_SEAL:
        return print_seal(p, print, event->opaque, out);
    case TR_EVENT_REDACTED:
        return print_redacted(p, print, event->opaque, out);
    case TR_EVENT_CALL:
        return print_call(p, print, event, out);
    case TR_EVENT_ARGUMENTS:
        return anthropic_print_call(p, event, out);
    case TR_EVENT_PART_END:
        return p->open && p->kind != TR_PART_CALL ? anthropic_close_block(p, out)
                                                  : anthropic_print_call(p, event, out);
    case TR_EVENT_DONE:
        return print_done(p, print, out);
    case TR_EVENT_START:
    case TR_EVENT_FINISH:
    case TR_EVENT_USAGE:
    case TR_EVENT_ERROR:
    case TR_EVENT_PING:
        break;
    }
    return 0;
}

int anthropic_print_event(void *state, const struct tr_print *print, const struct tr_event *event,
                          struct buf *out)
{
    struct anthropic_printing *p = state;
    size_t begin = out->len;
    if (event->choice != 0) /* There is one answer in this dialect. */
        return 0;
    if (event->kind == TR_EVENT_USAGE)
        p->usage = event->usage;
    if (event->kind == TR_EVENT_FINISH)
        note_finish(p, event);
    if (event->kind == TR_EVENT_USAGE || event->kind == TR_EVENT_FINISH ||
        event->kind == TR_EVENT_ERROR)
        return 0;
    if (event->kind == TR_EVENT_PING)
        return buf_append_text(out, "event: ping\ndata: {\"type\": \"ping\"}\n\n");
    int rc = print_start(p, print, out);
    if (rc == 0)
        rc = print_begun(p, print, event, out);
    if (rc != 0)
        out->len = begin;
    return rc;
}

void anthropic_print_end(void *state)
{
    struct anthropic_printing *p = state;
    buf_deinit(&p->waiting);
}

/* ---- the whole message ---- */

static void put_thinking(struct json_writer *w, const struct tr_print *print, struct str text,
                         struct str signature)
{
    json_writer_begin_object(w);
    json_writer_key(w, "type");
    json_writer_text(w, "thinking");
    json_writer_key(w, "thinking");
    json_writer_string(w, text);
    put_sealed(w, "signature", print, signature);
}

/* One part is one block: what is empty or of no JSON is made into what a reader expects. */
static void put_part(struct json_writer *w, const struct tr_print *print, struct json *scratch,
                     const struct tr_answer_part *part)
{
    bool object;
    switch (part->kind) {
    case TR_PART_TEXT:
    case TR_PART_REFUSAL:
        if (part->text.len == 0)
            return;
        json_writer_begin_object(w);
        json_writer_key(w, "type");
        json_writer_text(w, "text");
        json_writer_key(w, "text");
        json_writer_string(w, part->text);
        break;
    case TR_PART_REASONING:
        if (!part->redacted) {
            put_thinking(w, print, part->text, part->opaque);
            break;
        }
        json_writer_begin_object(w);
        json_writer_key(w, "type");
        json_writer_text(w, "redacted_thinking");
        put_sealed(w, "data", print, part->opaque);
        break;
    case TR_PART_CALL:
        if (part->call.signature.len > 0) { /* As in a stream. */
            put_thinking(w, print, STR_NULL, part->call.signature);
            json_writer_end_object(w);
        }
        object = tr_is_object(scratch, part->text);
        json_writer_begin_object(w);
        json_writer_key(w, "type");
        json_writer_text(w, "tool_use");
        json_writer_key(w, "id");
        json_writer_string(w, part->call.id);
        json_writer_key(w, "name");
        json_writer_string(w, part->call.name);
        json_writer_key(w, "input");
        if (object || part->text.len == 0)
            json_writer_raw(w, object ? json_raw(scratch, JSON_ROOT) : STR("{}"));
        else {
            json_writer_begin_object(w);
            json_writer_key(w, "rawInvalidInput");
            json_writer_string(w, part->text);
            json_writer_end_object(w);
        }
        break;
    case TR_PART_IMAGE:
    case TR_PART_FILE:
    case TR_PART_AUDIO:
    case TR_PART_RESULT:
        return; /* Not of an answer. */
    }
    json_writer_end_object(w);
}

int anthropic_print_answer(const struct tr_print *print, const struct tr_answer *answer,
                           struct buf *out)
{
    static const struct tr_choice_answer nothing = {0};
    const struct tr_choice_answer *c = answer->choice_count > 0 ? &answer->choices[0] : &nothing;
    struct json_writer w;
    struct json scratch;
    json_init(&scratch, JSON_NODES_MAX);
    json_writer_init(&w, out);
    json_writer_begin_object(&w);
    put_head(&w, print);
    json_writer_key(&w, "content");
    json_writer_begin_array(&w);
    for (uint32_t i = 0; i < c->part_count; i++)
        put_part(&w, print, &scratch, &c->parts[i]);
    json_writer_end_array(&w);
    put_stop(&w, c->finish, c->stop_sequence);
    anthropic_put_usage(&w, print, &answer->usage, true);
    json_writer_end_object(&w);
    json_deinit(&scratch);
    return json_writer_finish(&w);
}
