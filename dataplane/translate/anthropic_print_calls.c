/* Calls of a stream. Most providers finish one call before they begin the next; some send the
 * pieces of several in turn, and here one block is open at a time. So a call that begins while the
 * open one's arguments are no whole JSON object waits, with all that is said of it, until the open
 * one is whole or the turn ends.
 *
 * What waits is a list of records in one buffer, at most WAITING_BYTES_MAX. */
#include "dataplane/translate/anthropic_internal.h"

#include <string.h>

#define WAITING_BYTES_MAX (4U << 20)

enum record_kind { RECORD_CALL, RECORD_ARGUMENTS, RECORD_END };
struct record {
    uint32_t kind;
    uint32_t call_index;
    uint32_t id_len; /* Of RECORD_CALL: the id comes first, then the name. */
    uint32_t text_len;
};

static void scan(struct anthropic_scan *s, struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (s->in_string) {
            s->in_string = s->escaped || c != '"';
            s->escaped = !s->escaped && c == '\\';
        } else if (c == '"') {
            s->in_string = true;
        } else if (c == '{' || c == '[') {
            s->begun = true;
            s->depth++;
        } else if ((c == '}' || c == ']') && s->depth > 0) {
            s->depth--;
        }
    }
}

static bool is_whole(const struct anthropic_printing *p)
{
    return p->scan.begun && p->scan.depth == 0;
}

static int print_arguments(struct anthropic_printing *p, struct str text, struct buf *out)
{
    if (text.len == 0)
        return 0;
    scan(&p->scan, text);
    p->any_arguments = true;
    return anthropic_print_delta(p, "input_json_delta", "partial_json", text, out);
}

static int wait(struct anthropic_printing *p, const struct record *record, struct str id,
                struct str text)
{
    struct buf *b = &p->waiting;
    if (b->max == 0)
        buf_init(b, WAITING_BYTES_MAX);
    size_t begin = b->len;
    int rc = buf_append(b, record, sizeof *record);
    if (rc == 0)
        rc = buf_append_str(b, id);
    if (rc == 0)
        rc = buf_append_str(b, text);
    if (rc != 0)
        b->len = begin;
    return rc;
}

static size_t record_at(const struct buf *b, size_t at, struct record *out, struct str *out_id,
                        struct str *out_text)
{
    memcpy(out, b->data + at, sizeof *out);
    at += sizeof *out;
    *out_id = (struct str){b->data + at, out->id_len};
    at += out->id_len;
    *out_text = (struct str){b->data + at, out->text_len};
    return at + out->text_len;
}

/* Opens the call that has waited longest, and takes out what waits of it. */
static int open_next(struct anthropic_printing *p, bool *out_ended, struct buf *out)
{
    struct buf *b = &p->waiting;
    struct record r;
    struct str id, text;
    size_t kept = 0, next;
    *out_ended = false;
    size_t at = record_at(b, 0, &r, &id, &text);
    p->call_index = r.call_index;
    int rc = anthropic_open_call(p, id, text, out);
    for (; rc == 0 && at < b->len; at = next) {
        next = record_at(b, at, &r, &id, &text);
        if (r.call_index != p->call_index) {
            memmove(b->data + kept, b->data + at, next - at);
            kept += next - at;
        } else if (r.kind == RECORD_ARGUMENTS) {
            rc = print_arguments(p, text, out);
        } else {
            *out_ended = true;
        }
    }
    b->len = kept;
    return rc;
}

/* The open call is whole: those that wait come, up to one that is not. */
static int go_on(struct anthropic_printing *p, bool all, struct buf *out)
{
    bool ended = true;
    int rc = anthropic_close_block(p, out);
    while (rc == 0 && p->waiting.len > 0 && ended) {
        rc = open_next(p, &ended, out);
        ended |= all || is_whole(p);
        if (rc == 0 && ended && (all || p->waiting.len > 0))
            rc = anthropic_close_block(p, out);
    }
    return rc;
}

static int begin_call(struct anthropic_printing *p, const struct tr_event *event, struct buf *out)
{
    const struct record record = {RECORD_CALL, event->call_index, (uint32_t)event->call.id.len,
                                  (uint32_t)event->call.name.len};
    int rc = 0;
    bool busy = p->open && p->kind == TR_PART_CALL && !is_whole(p);
    if (busy || p->waiting.len > 0)
        return wait(p, &record, event->call.id, event->call.name);
    rc = anthropic_close_block(p, out);
    p->call_index = event->call_index;
    return rc == 0 ? anthropic_open_call(p, event->call.id, event->call.name, out) : rc;
}

static bool waits(const struct anthropic_printing *p, uint32_t call_index)
{
    struct record r;
    struct str id, text;
    for (size_t at = 0; at < p->waiting.len;) {
        at = record_at(&p->waiting, at, &r, &id, &text);
        if (r.call_index == call_index)
            return true;
    }
    return false;
}

int anthropic_print_call(struct anthropic_printing *p, const struct tr_event *event,
                         struct buf *out)
{
    struct record record = {RECORD_ARGUMENTS, event->call_index, 0, (uint32_t)event->text.len};
    bool end = event->kind == TR_EVENT_PART_END;
    if (event->kind == TR_EVENT_CALL)
        return begin_call(p, event, out);
    if (p->open && p->kind == TR_PART_CALL && p->call_index == event->call_index) {
        int rc = end ? 0 : print_arguments(p, event->text, out);
        return rc == 0 && (end || (is_whole(p) && p->waiting.len > 0)) ? go_on(p, false, out) : rc;
    }
    if (!waits(p, event->call_index))
        return 0; /* Of a call that was closed, or never begun. */
    if (end)
        record = (struct record){RECORD_END, event->call_index, 0, 0};
    return wait(p, &record, STR(""), end ? STR("") : event->text);
}

int anthropic_print_calls_end(struct anthropic_printing *p, struct buf *out)
{
    return p->waiting.len > 0 ? go_on(p, true, out) : 0;
}
