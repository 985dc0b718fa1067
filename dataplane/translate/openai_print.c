/* Replies as callers of chat completions get them: chunks, or one body (PROVIDER-TRANSLATION
 * sections 8 and 9). Vendors' words for how it ended are never printed; reasoning goes as
 * reasoning_content, and what a vendor signed as thinking_blocks, so that a caller who sends the
 * message back as it got it sends back all that is needed; to a caller who asked for reasoning as
 * OpenRouter does, it goes as it does there (openai_details.c). */
#include <string.h>

#include "dataplane/translate/openai_internal.h"

#define CALLS_TRACKED 128U /* Of a choice: one that has no arguments by the end gets "{}". */

struct printing_choice {
    bool opened; /* Its role was said. */
    bool called;
    bool detailed;            /* A detail of reasoning is open (tr_print.details). */
    uint32_t blocks;          /* Of thinking_blocks, or of reasoning_details. */
    uint64_t reasoning_bytes; /* Since the last of them. */
    uint32_t calls;           /* Highest index + 1. */
    uint64_t filled[CALLS_TRACKED / 64];
    uint64_t custom[CALLS_TRACKED / 64];
};
struct printing {
    struct call_usage usage;
    struct printing_choice choices[CALL_CHOICES_MAX];
};

static void say_head(struct pen *p, const struct tr_print *print, struct str object)
{
    PEN(p, "{\"id\":");
    pen_quoted(p, print->id);
    PEN(p, ",\"object\":\"");
    pen_put(p, object);
    PEN(p, "\",\"created\":");
    pen_number(p, (uint64_t)print->created_s);
    PEN(p, ",\"model\":");
    pen_quoted(p, print->model);
}

static void say_usage(struct pen *p, const struct tr_print *print, const struct call_usage *u)
{
    uint64_t cached = u->tokens_cached < u->tokens_in ? u->tokens_cached : u->tokens_in;
    PEN(p, "{\"prompt_tokens\":");
    pen_number(p, u->tokens_in);
    PEN(p, ",\"completion_tokens\":");
    pen_number(p, u->tokens_out);
    PEN(p, ",\"total_tokens\":");
    pen_number(p, u->tokens_in + u->tokens_out);
    PEN(p, ",\"prompt_tokens_details\":{\"cached_tokens\":");
    pen_number(p, cached);
    PEN(p, ",\"cache_write_tokens\":");
    pen_number(p, u->tokens_cache_write);
    PEN(p, "},\"completion_tokens_details\":{\"reasoning_tokens\":");
    pen_number(p, u->tokens_reasoning);
    PEN(p, "}");
    struct str member = STR_NULL;
    if (print->usage_member != NULL)
        member = print->usage_member(print->arg, u);
    if (member.len > 0) {
        PEN(p, ",");
        pen_put(p, member);
    }
    PEN(p, "}");
}

static struct str finish_of(enum call_finish finish, bool called)
{
    switch (finish) {
    case CALL_FINISH_LENGTH:
        return STR("length");
    case CALL_FINISH_TOOL_CALLS:
        return STR("tool_calls");
    case CALL_FINISH_CONTENT_FILTER:
        return STR("content_filter");
    case CALL_FINISH_NONE:
    case CALL_FINISH_STOP:
    case CALL_FINISH_OTHER:
        break;
    }
    return called ? STR("tool_calls") : STR("stop");
}

/* ---- chunks ---- */

static void open_chunk(struct pen *p, const struct tr_print *print, uint32_t choice)
{
    PEN(p, "data: ");
    say_head(p, print, STR("chat.completion.chunk"));
    PEN(p, ",\"choices\":[{\"index\":");
    pen_number(p, choice);
    PEN(p, ",\"delta\":{");
}

/* finish: empty while it goes on. */
static void close_chunk(struct pen *p, const struct tr_print *print, struct str finish)
{
    PEN(p, "},\"finish_reason\":");
    if (finish.len == 0)
        PEN(p, "null}]");
    else {
        pen_quoted(p, finish);
        PEN(p, "}]");
    }
    if (print->want_usage)
        PEN(p, ",\"usage\":null");
    PEN(p, "}\n\n");
}

static void print_role(struct pen *p, const struct tr_print *print, struct printing_choice *c,
                       uint32_t choice)
{
    if (c->opened)
        return;
    c->opened = true;
    open_chunk(p, print, choice);
    PEN(p, "\"role\":\"assistant\",\"content\":\"\"");
    close_chunk(p, print, STR_NULL);
}

static void print_text(struct pen *p, const struct tr_print *print, const struct tr_event *event,
                       struct str member)
{
    open_chunk(p, print, event->choice);
    pen_put(p, member);
    pen_quoted(p, event->text);
    close_chunk(p, print, STR_NULL);
}

/* As OpenRouter has it: the text twice, for those who show it and for those who send it back. */
static void print_detail(struct pen *p, const struct tr_print *print, struct printing_choice *c,
                         const struct tr_event *event)
{
    open_chunk(p, print, event->choice);
    if (event->kind == TR_EVENT_REASONING) {
        PEN(p, "\"reasoning\":");
        pen_quoted(p, event->text);
        PEN(p, ",");
    }
    if (event->kind == TR_EVENT_REDACTED && c->detailed)
        c->blocks++;
    PEN(p, "\"reasoning_details\":[");
    if (event->kind == TR_EVENT_REDACTED)
        tr_openai_say_detail_opaque(p, print, c->blocks, event->opaque, STR_NULL);
    else
        tr_openai_say_detail(p, print, c->blocks, event->text, event->opaque);
    PEN(p, "]");
    close_chunk(p, print, STR_NULL);
    c->detailed = event->kind == TR_EVENT_REASONING;
    c->blocks += c->detailed ? 0 : 1;
}

/* What was signed is the reasoning since the last block; its text is not said twice. */
static void print_block(struct pen *p, const struct tr_print *print, struct printing_choice *c,
                        const struct tr_event *event)
{
    open_chunk(p, print, event->choice);
    PEN(p, "\"thinking_blocks\":[{\"index\":");
    pen_number(p, c->blocks++);
    if (event->kind == TR_EVENT_REDACTED) {
        PEN(p, ",\"type\":\"redacted_thinking\",\"data\":");
    } else {
        PEN(p, ",\"type\":\"thinking\",\"thinking\":\"\",\"reasoning_bytes\":");
        pen_number(p, c->reasoning_bytes);
        PEN(p, ",\"signature\":");
        c->reasoning_bytes = 0;
    }
    tr_openai_say_sealed(p, print, event->opaque);
    PEN(p, "}]");
    close_chunk(p, print, STR_NULL);
}

static void say_signature(struct pen *p, const struct tr_print *print, struct str signature)
{
    if (signature.len == 0)
        return;
    PEN(p, ",\"extra_content\":{\"google\":{\"thought_signature\":");
    tr_openai_say_sealed(p, print, signature);
    PEN(p, "}}");
}

/* A custom tool's input may be empty: nothing has to fill it. One that is
 * not tracked is no custom one (print_call). */
static bool is_custom(const struct printing_choice *c, uint32_t index)
{
    return index < CALLS_TRACKED && (c->custom[index / 64] >> (index % 64) & 1) != 0;
}

static void print_call(struct pen *p, const struct tr_print *print, struct printing_choice *c,
                       const struct tr_event *event)
{
    const uint32_t index = event->call_index;
    c->called = true;
    if (index >= c->calls)
        c->calls = index + 1;
    if (event->call.custom) {
        if (index >= CALLS_TRACKED) {
            p->rc = p->rc == 0 ? ERR_TOO_LARGE : p->rc;
            return;
        }
        c->custom[index / 64] |= UINT64_C(1) << (index % 64);
        c->filled[index / 64] |= UINT64_C(1) << (index % 64);
    }
    open_chunk(p, print, event->choice);
    PEN(p, "\"tool_calls\":[{\"index\":");
    pen_number(p, event->call_index);
    PEN(p, ",\"id\":");
    pen_quoted(p, event->call.id);
    if (event->call.custom)
        PEN(p, ",\"type\":\"custom\",\"custom\":{\"name\":");
    else
        PEN(p, ",\"type\":\"function\",\"function\":{\"name\":");
    pen_quoted(p, event->call.name);
    if (event->call.custom)
        PEN(p, ",\"input\":\"\"}");
    else
        PEN(p, ",\"arguments\":\"\"}");
    if (!print->details)
        say_signature(p, print, event->call.signature);
    PEN(p, "}]");
    if (print->details && event->call.signature.len > 0) {
        PEN(p, ",\"reasoning_details\":[");
        tr_openai_say_detail_opaque(p, print, c->blocks++, event->call.signature, event->call.id);
        PEN(p, "]");
    }
    close_chunk(p, print, STR_NULL);
}

static void print_arguments(struct pen *p, const struct tr_print *print, struct printing_choice *c,
                            uint32_t choice, uint32_t index, struct str text)
{
    if (text.len == 0)
        return;
    if (index < CALLS_TRACKED)
        c->filled[index / 64] |= UINT64_C(1) << (index % 64);
    open_chunk(p, print, choice);
    PEN(p, "\"tool_calls\":[{\"index\":");
    pen_number(p, index);
    if (is_custom(c, index))
        PEN(p, ",\"custom\":{\"input\":");
    else
        PEN(p, ",\"function\":{\"arguments\":");
    pen_quoted(p, text);
    PEN(p, "}}]");
    close_chunk(p, print, STR_NULL);
}

static void print_finish(struct pen *p, const struct tr_print *print, struct printing_choice *c,
                         const struct tr_event *event)
{
    for (uint32_t i = 0; i < c->calls && i < CALLS_TRACKED; i++)
        if ((c->filled[i / 64] >> (i % 64) & 1) == 0)
            print_arguments(p, print, c, event->choice, i, STR("{}"));
    open_chunk(p, print, event->choice);
    close_chunk(p, print, finish_of(event->finish, c->called));
}

static void print_done(struct pen *p, const struct tr_print *print, const struct printing *s)
{
    if (print->want_usage && s->usage.known) {
        PEN(p, "data: ");
        say_head(p, print, STR("chat.completion.chunk"));
        PEN(p, ",\"choices\":[],\"usage\":");
        say_usage(p, print, &s->usage);
        PEN(p, "}\n\n");
    }
    PEN(p, "data: [DONE]\n\n");
}

static void print_one(struct pen *p, struct printing *s, const struct tr_print *print,
                      const struct tr_event *event)
{
    struct printing_choice *c = &s->choices[event->choice];
    switch (event->kind) {
    case TR_EVENT_START:
        print_role(p, print, c, event->choice);
        return;
    case TR_EVENT_TEXT:
        print_role(p, print, c, event->choice);
        print_text(p, print, event, STR("\"content\":"));
        return;
    case TR_EVENT_REFUSAL:
        print_role(p, print, c, event->choice);
        print_text(p, print, event, STR("\"refusal\":"));
        return;
    case TR_EVENT_REASONING:
        print_role(p, print, c, event->choice);
        if (print->details) {
            print_detail(p, print, c, event);
            return;
        }
        c->reasoning_bytes += event->text.len;
        print_text(p, print, event, STR("\"reasoning_content\":"));
        return;
    case TR_EVENT_SEAL:
    case TR_EVENT_REDACTED:
        print_role(p, print, c, event->choice);
        if (print->details)
            print_detail(p, print, c, event);
        else
            print_block(p, print, c, event);
        return;
    case TR_EVENT_CALL:
        print_role(p, print, c, event->choice);
        print_call(p, print, c, event);
        return;
    case TR_EVENT_ARGUMENTS:
        print_arguments(p, print, c, event->choice, event->call_index, event->text);
        return;
    case TR_EVENT_FINISH:
        print_role(p, print, c, event->choice);
        print_finish(p, print, c, event);
        return;
    case TR_EVENT_USAGE:
        s->usage = event->usage;
        return;
    case TR_EVENT_PING:
        PEN(p, ": keepalive\n\n");
        return;
    case TR_EVENT_DONE:
        print_done(p, print, s);
        return;
    case TR_EVENT_PART_END: /* The next delta says it. */
    case TR_EVENT_ERROR:    /* Told by who drives us. */
        return;
    }
}

static int print_event(void *state, const struct tr_print *print, const struct tr_event *event,
                       struct buf *out)
{
    struct pen p = {.out = out};
    size_t before = out->len;
    if (event->choice >= CALL_CHOICES_MAX)
        return ERR_TOO_LARGE;
    print_one(&p, state, print, event);
    if (p.rc != 0)
        out->len = before;
    return p.rc;
}

/* ---- one body ---- */

/* The texts of all parts of a kind as one string; false: there are none, and nothing was said. */
static bool say_texts(struct pen *p, const struct tr_choice_answer *c, enum tr_part_kind kind,
                      struct str member)
{
    bool any = false;
    for (uint32_t i = 0; i < c->part_count; i++) {
        if (c->parts[i].kind != kind || c->parts[i].text.len == 0)
            continue;
        if (!any) {
            pen_put(p, member);
            PEN(p, "\"");
        }
        any = true;
        pen_escaped(p, c->parts[i].text);
    }
    if (any)
        PEN(p, "\"");
    return any;
}

static void say_blocks(struct pen *p, const struct tr_print *print,
                       const struct tr_choice_answer *c)
{
    bool any = false;
    for (uint32_t i = 0; i < c->part_count; i++) {
        const struct tr_answer_part *part = &c->parts[i];
        if (part->kind != TR_PART_REASONING || part->opaque.len == 0)
            continue;
        if (any)
            PEN(p, ",");
        else
            PEN(p, ",\"thinking_blocks\":[");
        any = true;
        if (part->redacted) {
            PEN(p, "{\"type\":\"redacted_thinking\",\"data\":");
        } else {
            PEN(p, "{\"type\":\"thinking\",\"thinking\":");
            pen_quoted(p, part->text);
            PEN(p, ",\"signature\":");
        }
        tr_openai_say_sealed(p, print, part->opaque);
        PEN(p, "}");
    }
    if (any)
        PEN(p, "]");
}

static void say_details(struct pen *p, const struct tr_print *print,
                        const struct tr_choice_answer *c)
{
    uint32_t index = 0;
    for (uint32_t i = 0; i < c->part_count; i++) {
        const struct tr_answer_part *part = &c->parts[i];
        const bool call = part->kind == TR_PART_CALL && part->call.signature.len > 0;
        if (!call && (part->kind != TR_PART_REASONING || part->text.len + part->opaque.len == 0))
            continue;
        if (index == 0)
            PEN(p, ",\"reasoning_details\":[");
        else
            PEN(p, ",");
        if (call)
            tr_openai_say_detail_opaque(p, print, index, part->call.signature, part->call.id);
        else if (part->redacted)
            tr_openai_say_detail_opaque(p, print, index, part->opaque, STR_NULL);
        else
            tr_openai_say_detail(p, print, index, part->text, part->opaque);
        index++;
    }
    if (index > 0)
        PEN(p, "]");
}

static bool say_calls(struct pen *p, const struct tr_print *print, const struct tr_choice_answer *c)
{
    bool any = false;
    for (uint32_t i = 0; i < c->part_count; i++) {
        const struct tr_answer_part *part = &c->parts[i];
        if (part->kind != TR_PART_CALL)
            continue;
        if (any)
            PEN(p, ",");
        else
            PEN(p, ",\"tool_calls\":[");
        any = true;
        PEN(p, "{\"id\":");
        pen_quoted(p, part->call.id);
        if (part->call.custom) {
            PEN(p, ",\"type\":\"custom\",\"custom\":{\"name\":");
            pen_quoted(p, part->call.name);
            PEN(p, ",\"input\":");
            pen_quoted(p, part->text);
        } else {
            PEN(p, ",\"type\":\"function\",\"function\":{\"name\":");
            pen_quoted(p, part->call.name);
            PEN(p, ",\"arguments\":");
            pen_quoted(p, part->text.len > 0 ? part->text : STR("{}"));
        }
        PEN(p, "}");
        if (!print->details)
            say_signature(p, print, part->call.signature);
        PEN(p, "}");
    }
    if (any)
        PEN(p, "]");
    return any;
}

static bool has_calls(const struct tr_choice_answer *c)
{
    for (uint32_t i = 0; i < c->part_count; i++)
        if (c->parts[i].kind == TR_PART_CALL)
            return true;
    return false;
}

static void say_choice(struct pen *p, const struct tr_print *print,
                       const struct tr_choice_answer *c, uint32_t index)
{
    PEN(p, "{\"index\":");
    pen_number(p, index);
    PEN(p, ",\"message\":{\"role\":\"assistant\"");
    if (!say_texts(p, c, TR_PART_TEXT, STR(",\"content\":"))) {
        if (has_calls(c))
            PEN(p, ",\"content\":null");
        else
            PEN(p, ",\"content\":\"\"");
    }
    if (!say_texts(p, c, TR_PART_REFUSAL, STR(",\"refusal\":")))
        PEN(p, ",\"refusal\":null");
    (void)say_texts(p, c, TR_PART_REASONING,
                    print->details ? STR(",\"reasoning\":") : STR(",\"reasoning_content\":"));
    if (print->details)
        say_details(p, print, c);
    else
        say_blocks(p, print, c);
    bool called = say_calls(p, print, c);
    PEN(p, "},\"logprobs\":null,\"finish_reason\":");
    pen_quoted(p, finish_of(c->finish, called));
    PEN(p, "}");
}

static int print_answer(const struct tr_print *print, const struct tr_answer *answer,
                        struct buf *out)
{
    struct pen p = {.out = out};
    size_t before = out->len;
    say_head(&p, print, STR("chat.completion"));
    PEN(&p, ",\"choices\":[");
    for (uint32_t i = 0; i < answer->choice_count; i++) {
        if (i > 0)
            PEN(&p, ",");
        say_choice(&p, print, &answer->choices[i], i);
    }
    PEN(&p, "]");
    if (answer->usage.known) {
        PEN(&p, ",\"usage\":");
        say_usage(&p, print, &answer->usage);
    }
    PEN(&p, "}");
    if (p.rc != 0)
        out->len = before;
    return p.rc;
}

const struct tr_caller_dialect tr_caller_openai = {
    .dialect = DIALECT_OPENAI,
    .read_request = tr_openai_read_request,
    .state_bytes = sizeof(struct printing),
    .print_event = print_event,
    .print_answer = print_answer,
};
