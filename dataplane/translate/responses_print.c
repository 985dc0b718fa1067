/* A stream as callers of the Responses dialect get it (PROVIDER-TRANSLATION section 9): typed
 * events with a number each, and a last one that repeats all that was said. So what was said is
 * kept, escaped as it goes out, within TR_RESPONSES_HELD_MAX.
 *
 * One message or reasoning is open at a time, and calls beside it, until their PART_END or the
 * finish: pieces of their arguments may come in any order.
 *
 *   (nothing) --any event--> begun --FINISH--> all closed --DONE--> ended
 */
#include <string.h>

#include "common/base/mem.h"
#include "dataplane/llm/responses.h"
#include "dataplane/llm/tokens.h"
#include "dataplane/translate/responses_internal.h"

/* Of one answer: so much that its last event still fits in what holds that (provider_reply.end). */
#define TR_RESPONSES_HELD_MAX (PROVIDER_END_BYTES_MAX - (256U << 10))
#define ITEMS_MAX             4096U
#define CALLS_MAX             128U /* That are open side by side. */

enum open_kind { OPEN_NOTHING, OPEN_TEXT, OPEN_REFUSAL, OPEN_REASONING };

struct open_call {
    uint32_t call_index;
    uint32_t index;       /* Of its item. */
    struct tr_call call;  /* Its id, name and kind. */
    struct buf arguments; /* Escaped. */
};

struct item { /* Where it lies in `done`; len 0: it is not closed yet. */
    uint32_t at;
    uint32_t len;
};

struct printing {
    bool begun;
    bool reasoned; /* The open reasoning has all of its text; its signature may follow. */
    enum open_kind open;
    uint32_t sequence;
    uint32_t item;           /* Of the open message or reasoning. */
    uint32_t content;        /* Index of the open part in its message. */
    struct buf text;         /* Of the open part, escaped ... */
    struct buf parts;        /* ... and those of the open message that are closed. */
    struct buf done;         /* Closed items. */
    struct buf items;        /* struct item each, by their index. */
    struct open_call *calls; /* CALLS_MAX, made with the first one. */
    uint32_t call_count;
    uint32_t item_count;
    enum call_finish finish;
    struct call_usage usage;
    uint64_t text_q8;
};

struct printer {
    struct pen pen;
    struct printing *s;
    const struct tr_print *print;
};

static struct tr_said escaped(const struct buf *b)
{
    return (struct tr_said){.text = {b->data != NULL ? b->data : "", b->len}, .escaped = true};
}

static size_t held(const struct printing *s)
{
    size_t n = s->text.len + s->parts.len + s->done.len;
    for (uint32_t i = 0; i < s->call_count; i++)
        n += s->calls[i].arguments.len;
    return n;
}

/* Kept within the limit of all that is. */
static int keep(struct printing *s, struct buf *b, struct str text)
{
    if (b->max == 0)
        buf_init(b, TR_RESPONSES_HELD_MAX);
    return held(s) + text.len > TR_RESPONSES_HELD_MAX ? ERR_TOO_LARGE : buf_append_str(b, text);
}

/* ---- events ---- */

static void begin_event(struct printer *p, const char *type)
{
    struct pen *pen = &p->pen;
    PEN(pen, "event: ");
    pen_text(pen, type);
    PEN(pen, "\ndata: {\"type\":\"");
    pen_text(pen, type);
    PEN(pen, "\",\"sequence_number\":");
    pen_number(pen, p->s->sequence++);
}

static void end_event(struct printer *p)
{
    PEN(&p->pen, "}\n\n");
}

/* Of an item, or of something in it: its id where it is that, and its index. */
static void begin_item_event(struct printer *p, const char *type, const char *kind, uint32_t index)
{
    begin_event(p, type);
    if (kind != NULL) {
        PEN(&p->pen, ",\"item_id\":");
        tr_responses_say_id(&p->pen, p->print, kind, index);
    }
    PEN(&p->pen, ",\"output_index\":");
    pen_number(&p->pen, index);
}

static void put_number(struct printer *p, const char *key, uint32_t n)
{
    PEN(&p->pen, ",\"");
    pen_text(&p->pen, key);
    PEN(&p->pen, "\":");
    pen_number(&p->pen, n);
}

static void put_quoted(struct printer *p, const char *key, struct str text)
{
    PEN(&p->pen, ",\"");
    pen_text(&p->pen, key);
    PEN(&p->pen, "\":\"");
    pen_put(&p->pen, text);
    PEN(&p->pen, "\"");
}

static void put_response(struct printer *p, const char *type, const char *status)
{
    begin_event(p, type);
    PEN(&p->pen, ",\"response\":");
    tr_responses_say_head(&p->pen, p->print, status, NULL);
    tr_responses_say_tail(&p->pen, p->print, NULL);
    end_event(p);
}

static void begin(struct printer *p)
{
    if (p->s->begun)
        return;
    p->s->begun = true;
    put_response(p, "response.created", "in_progress");
    put_response(p, "response.in_progress", "in_progress");
}

/* ---- items ---- */

static uint32_t new_item(struct printer *p)
{
    struct printing *s = p->s;
    const struct item none = {0, 0};
    if (s->items.max == 0)
        buf_init(&s->items, ITEMS_MAX * sizeof none);
    if (p->pen.rc == 0)
        p->pen.rc = buf_append(&s->items, &none, sizeof none);
    return s->item_count++;
}

static void begin_added(struct printer *p, uint32_t index)
{
    begin_item_event(p, "response.output_item.added", NULL, index);
    PEN(&p->pen, ",\"item\":");
}

/* What was written of the item since `from` is kept for the last event; ends its own. */
static void end_done(struct printer *p, uint32_t index, size_t from)
{
    struct printing *s = p->s;
    if (p->pen.rc != 0)
        return;
    struct str text = {p->pen.out->data + from, p->pen.out->len - from};
    struct item at = {(uint32_t)s->done.len, (uint32_t)text.len};
    p->pen.rc = keep(s, &s->done, text);
    if (p->pen.rc == 0)
        memcpy(s->items.data + index * sizeof at, &at, sizeof at);
    end_event(p);
}

static size_t begin_done(struct printer *p, uint32_t index)
{
    begin_item_event(p, "response.output_item.done", NULL, index);
    PEN(&p->pen, ",\"item\":");
    return p->pen.out->len;
}

/* ---- messages ---- */

static void close_part(struct printer *p)
{
    struct printing *s = p->s;
    const bool refusal = s->open == OPEN_REFUSAL;
    begin_item_event(p, refusal ? "response.refusal.done" : "response.output_text.done", "msg_",
                     s->item);
    put_number(p, "content_index", s->content);
    put_quoted(p, refusal ? "refusal" : "text", escaped(&s->text).text);
    if (!refusal)
        PEN(&p->pen, ",\"logprobs\":[]");
    end_event(p);
    begin_item_event(p, "response.content_part.done", "msg_", s->item);
    put_number(p, "content_index", s->content);
    PEN(&p->pen, ",\"part\":");
    size_t from = p->pen.out->len;
    tr_responses_say_part(&p->pen, refusal, escaped(&s->text));
    buf_clear(&s->text);
    if (p->pen.rc == 0 && s->parts.len > 0)
        p->pen.rc = keep(s, &s->parts, STR(","));
    if (p->pen.rc == 0)
        p->pen.rc =
            keep(s, &s->parts, (struct str){p->pen.out->data + from, p->pen.out->len - from});
    end_event(p);
}

static void close_message(struct printer *p, enum tr_responses_status status)
{
    struct printing *s = p->s;
    close_part(p);
    size_t from = begin_done(p, s->item);
    tr_responses_say_message(&p->pen, p->print, s->item, status, escaped(&s->parts).text);
    buf_clear(&s->parts);
    end_done(p, s->item, from);
}

static void open_part(struct printer *p, enum open_kind kind)
{
    struct printing *s = p->s;
    s->open = kind;
    begin_item_event(p, "response.content_part.added", "msg_", s->item);
    put_number(p, "content_index", s->content);
    PEN(&p->pen, ",\"part\":");
    tr_responses_say_part(&p->pen, kind == OPEN_REFUSAL, (struct tr_said){.text = STR("")});
    end_event(p);
}

static void open_message(struct printer *p)
{
    struct printing *s = p->s;
    s->item = new_item(p);
    s->content = 0;
    begin_added(p, s->item);
    tr_responses_say_message(&p->pen, p->print, s->item, TR_RESPONSES_OPEN, STR_NULL);
    end_event(p);
}

/* ---- reasoning ---- */

static void open_reasoning(struct printer *p)
{
    struct printing *s = p->s;
    s->item = new_item(p);
    s->open = OPEN_REASONING;
    s->reasoned = false;
    begin_added(p, s->item);
    tr_responses_say_reasoning(&p->pen, p->print, s->item, (struct tr_said){.escaped = true}, 0,
                               STR_NULL);
    end_event(p);
    begin_item_event(p, "response.reasoning_summary_part.added", "rs_", s->item);
    PEN(&p->pen, ",\"summary_index\":0,\"part\":{\"type\":\"summary_text\",\"text\":\"\"}");
    end_event(p);
}

static void close_reasoning(struct printer *p, struct str signature)
{
    struct printing *s = p->s;
    begin_item_event(p, "response.reasoning_summary_text.done", "rs_", s->item);
    PEN(&p->pen, ",\"summary_index\":0");
    put_quoted(p, "text", escaped(&s->text).text);
    end_event(p);
    begin_item_event(p, "response.reasoning_summary_part.done", "rs_", s->item);
    PEN(&p->pen, ",\"summary_index\":0,\"part\":{\"type\":\"summary_text\"");
    put_quoted(p, "text", escaped(&s->text).text);
    PEN(&p->pen, "}");
    end_event(p);
    size_t from = begin_done(p, s->item);
    tr_responses_say_reasoning(&p->pen, p->print, s->item, escaped(&s->text), 0, signature);
    buf_clear(&s->text);
    end_done(p, s->item, from);
    s->open = OPEN_NOTHING;
}

/* Reasoning without a text: opaque as a whole, or what signs something else. */
static void put_opaque(struct printer *p, char mark, struct str opaque)
{
    uint32_t index = new_item(p);
    begin_added(p, index);
    tr_responses_say_reasoning(&p->pen, p->print, index, (struct tr_said){.escaped = true}, 0,
                               STR_NULL);
    end_event(p);
    size_t from = begin_done(p, index);
    tr_responses_say_reasoning(&p->pen, p->print, index, (struct tr_said){.escaped = true}, mark,
                               opaque);
    end_done(p, index, from);
}

/* ---- calls ---- */

static struct str copied(struct str text, char *at)
{
    if (text.len > 0)
        memcpy(at, text.data, text.len);
    return (struct str){at, text.len};
}

static int open_call(struct printing *s, const struct tr_event *e, uint32_t index)
{
    if (s->calls == NULL)
        s->calls = mem_calloc(CALLS_MAX, sizeof *s->calls);
    char *texts = mem_alloc(e->call.id.len + e->call.name.len + 1);
    if (s->calls == NULL || texts == NULL) {
        mem_free(texts);
        return ERR_NOMEM;
    }
    struct open_call *c = &s->calls[s->call_count++];
    *c = (struct open_call){.call_index = e->call_index, .index = index};
    c->call.custom = e->call.custom;
    c->call.id = copied(e->call.id, texts); /* Owns the memory of both. */
    c->call.name = copied(e->call.name, texts + e->call.id.len);
    return 0;
}

static void drop_call(struct printing *s, uint32_t at)
{
    buf_deinit(&s->calls[at].arguments);
    mem_free((char *)(uintptr_t)s->calls[at].call.id.data);
    s->call_count--;
    memmove(&s->calls[at], &s->calls[at + 1], (s->call_count - at) * sizeof s->calls[0]);
}

static void put_arguments(struct printer *p, struct open_call *c, struct str text)
{
    if (c->call.custom)
        begin_item_event(p, "response.custom_tool_call_input.delta", "ctc_", c->index);
    else
        begin_item_event(p, "response.function_call_arguments.delta", "fc_", c->index);
    PEN(&p->pen, ",\"delta\":\"");
    size_t from = p->pen.out->len;
    pen_escaped(&p->pen, text);
    if (p->pen.rc == 0)
        p->pen.rc = keep(p->s, &c->arguments,
                         (struct str){p->pen.out->data + from, p->pen.out->len - from});
    PEN(&p->pen, "\"");
    end_event(p);
}

static void close_call(struct printer *p, uint32_t at, enum tr_responses_status status)
{
    struct open_call *c = &p->s->calls[at];
    if (c->arguments.len == 0 && !c->call.custom)
        put_arguments(p, c, STR("{}"));
    if (c->call.custom) {
        begin_item_event(p, "response.custom_tool_call_input.done", "ctc_", c->index);
        put_quoted(p, "input", escaped(&c->arguments).text);
    } else {
        begin_item_event(p, "response.function_call_arguments.done", "fc_", c->index);
        PEN(&p->pen, ",\"name\":");
        pen_quoted(&p->pen, c->call.name);
        put_quoted(p, "arguments", escaped(&c->arguments).text);
    }
    end_event(p);
    size_t from = begin_done(p, c->index);
    tr_responses_say_call(&p->pen, p->print, c->index, status, &c->call, escaped(&c->arguments));
    const uint32_t index = c->index;
    drop_call(p->s, at);
    end_done(p, index, from);
}

static void close_calls(struct printer *p, enum tr_responses_status status)
{
    while (p->s->call_count > 0 && p->pen.rc == 0)
        close_call(p, 0, status);
}

/* The message or reasoning that is open. */
static void close_open(struct printer *p, enum tr_responses_status status)
{
    switch (p->s->open) {
    case OPEN_TEXT:
    case OPEN_REFUSAL:
        close_message(p, status);
        break;
    case OPEN_REASONING:
        close_reasoning(p, STR_NULL);
        break;
    case OPEN_NOTHING:
        break;
    }
    p->s->open = OPEN_NOTHING;
}

static void close_all(struct printer *p)
{
    const char *reason;
    (void)tr_responses_status_of(p->s->finish, &reason);
    enum tr_responses_status status =
        reason != NULL ? TR_RESPONSES_INCOMPLETE : TR_RESPONSES_COMPLETED;
    close_open(p, status);
    close_calls(p, status);
}

/* ---- what comes ---- */

/* A piece of what is open. */
static void put_delta(struct printer *p, const char *type, const char *kind, const char *index_key,
                      uint32_t index, struct str text)
{
    struct printing *s = p->s;
    begin_item_event(p, type, kind, s->item);
    put_number(p, index_key, index);
    PEN(&p->pen, ",\"delta\":\"");
    size_t from = p->pen.out->len;
    pen_escaped(&p->pen, text);
    if (p->pen.rc == 0)
        p->pen.rc =
            keep(s, &s->text, (struct str){p->pen.out->data + from, p->pen.out->len - from});
    PEN(&p->pen, "\"");
    if (s->open == OPEN_TEXT)
        PEN(&p->pen, ",\"logprobs\":[]");
    end_event(p);
    s->text_q8 += tokens_text_q8(text);
}

static void on_text(struct printer *p, enum open_kind kind, struct str text)
{
    struct printing *s = p->s;
    if (s->open != kind) {
        if (s->open == OPEN_TEXT || s->open == OPEN_REFUSAL) {
            close_part(p); /* The other kind of part, in the same message. */
            s->content++;
        } else {
            close_open(p, TR_RESPONSES_COMPLETED);
            open_message(p);
        }
        open_part(p, kind);
    }
    put_delta(p, kind == OPEN_REFUSAL ? "response.refusal.delta" : "response.output_text.delta",
              "msg_", "content_index", s->content, text);
}

static void on_reasoning(struct printer *p, struct str text)
{
    if (p->s->open != OPEN_REASONING || p->s->reasoned) {
        close_open(p, TR_RESPONSES_COMPLETED);
        open_reasoning(p);
    }
    put_delta(p, "response.reasoning_summary_text.delta", "rs_", "summary_index", 0, text);
}

static void on_opaque(struct printer *p, const struct tr_event *e)
{
    if (p->s->open == OPEN_REASONING && e->kind == TR_EVENT_SEAL) {
        close_reasoning(p, e->opaque);
        return;
    }
    close_open(p, TR_RESPONSES_COMPLETED);
    put_opaque(p, e->kind == TR_EVENT_REDACTED ? TR_RESPONSES_WHOLE : 0, e->opaque);
}

static void on_call(struct printer *p, const struct tr_event *e)
{
    struct printing *s = p->s;
    close_open(p, TR_RESPONSES_COMPLETED);
    if (s->call_count == CALLS_MAX)
        close_call(p, 0, TR_RESPONSES_COMPLETED);
    if (e->call.signature.len > 0)
        put_opaque(p, TR_RESPONSES_OF_CALL, e->call.signature);
    uint32_t index = new_item(p);
    begin_added(p, index);
    tr_responses_say_call(&p->pen, p->print, index, TR_RESPONSES_OPEN, &e->call,
                          (struct tr_said){.text = STR("")});
    end_event(p);
    if (p->pen.rc == 0)
        p->pen.rc = open_call(s, e, index);
    s->text_q8 += tokens_text_q8(e->call.name);
}

static uint32_t find_call(const struct printing *s, uint32_t call_index)
{
    uint32_t at = 0;
    while (at < s->call_count && s->calls[at].call_index != call_index)
        at++;
    return at;
}

static void on_arguments(struct printer *p, const struct tr_event *e)
{
    uint32_t at = find_call(p->s, e->call_index);
    if (at == p->s->call_count) { /* It was closed. */
        p->pen.rc = p->pen.rc == 0 ? ERR_TOO_LARGE : p->pen.rc;
        return;
    }
    put_arguments(p, &p->s->calls[at], e->text);
    p->s->text_q8 += tokens_text_q8(e->text);
}

static void on_part_end(struct printer *p, const struct tr_event *e)
{
    if (p->s->open != OPEN_NOTHING) {
        if (p->s->open == OPEN_REASONING)
            p->s->reasoned = true;
        else
            close_open(p, TR_RESPONSES_COMPLETED);
        return;
    }
    uint32_t at = find_call(p->s, e->call_index);
    if (at < p->s->call_count)
        close_call(p, at, TR_RESPONSES_COMPLETED);
}

/* The closed items in their order. */
static void put_output(struct printer *p)
{
    const struct printing *s = p->s;
    struct item at;
    bool any = false;
    for (uint32_t i = 0; i < s->items.len / sizeof at; i++) {
        memcpy(&at, s->items.data + i * sizeof at, sizeof at);
        if (at.len == 0)
            continue;
        if (any)
            PEN(&p->pen, ",");
        pen_put(&p->pen, (struct str){s->done.data + at.at, at.len});
        any = true;
    }
}

/* Clients want a usage: our own count, where the provider gave none. */
static struct call_usage usage_of(const struct printing *s, const struct tr_print *print)
{
    if (s->usage.known)
        return s->usage;
    return (struct call_usage){.tokens_in = print->tokens_in,
                               .tokens_out = tokens_round(s->text_q8)};
}

static void on_done(struct printer *p)
{
    const struct call_usage usage = usage_of(p->s, p->print);
    const char *reason, *status = tr_responses_status_of(p->s->finish, &reason);
    close_all(p);
    begin_event(p, reason != NULL ? "response.incomplete" : "response.completed");
    PEN(&p->pen, ",\"response\":");
    tr_responses_say_head(&p->pen, p->print, status, reason);
    put_output(p);
    tr_responses_say_tail(&p->pen, p->print, &usage);
    end_event(p);
}

static void print_one(struct printer *p, const struct tr_event *e)
{
    if (e->kind == TR_EVENT_PING) {
        PEN(&p->pen, ": keepalive\n\n");
        return;
    }
    begin(p);
    switch (e->kind) {
    case TR_EVENT_TEXT:
        on_text(p, OPEN_TEXT, e->text);
        return;
    case TR_EVENT_REFUSAL:
        on_text(p, OPEN_REFUSAL, e->text);
        return;
    case TR_EVENT_REASONING:
        on_reasoning(p, e->text);
        return;
    case TR_EVENT_SEAL:
    case TR_EVENT_REDACTED:
        on_opaque(p, e);
        return;
    case TR_EVENT_CALL:
        on_call(p, e);
        return;
    case TR_EVENT_ARGUMENTS:
        on_arguments(p, e);
        return;
    case TR_EVENT_PART_END:
        on_part_end(p, e);
        return;
    case TR_EVENT_FINISH:
        p->s->finish = e->finish;
        close_all(p);
        return;
    case TR_EVENT_USAGE:
        p->s->usage = e->usage;
        return;
    case TR_EVENT_DONE:
        on_done(p);
        return;
    case TR_EVENT_START:
    case TR_EVENT_PING:
    case TR_EVENT_ERROR: /* Told by who drives us. */
        return;
    }
}

static int print_event(void *state, const struct tr_print *print, const struct tr_event *event,
                       struct buf *out)
{
    struct printer p = {.pen = {.out = out}, .s = state, .print = print};
    size_t before = out->len;
    if (event->choice != 0) /* This dialect has but one answer. */
        return 0;
    print_one(&p, event);
    if (p.pen.rc != 0)
        out->len = before;
    return p.pen.rc;
}

static void print_end(void *state)
{
    struct printing *s = state;
    while (s->call_count > 0)
        drop_call(s, s->call_count - 1);
    mem_free(s->calls);
    s->calls = NULL;
    buf_deinit(&s->text);
    buf_deinit(&s->parts);
    buf_deinit(&s->done);
    buf_deinit(&s->items);
}

const struct tr_caller_dialect tr_caller_responses = {
    .dialect = DIALECT_RESPONSES,
    .read_request = tr_responses_read_request,
    .print_echo = tr_responses_print_echo,
    .state_bytes = sizeof(struct printing),
    .print_event = print_event,
    .end = print_end,
    .print_answer = tr_responses_print_answer,
};
