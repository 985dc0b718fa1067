/* What stands between a reader of replies and a printer of answers: names and ids as the caller
 * knows them, what was promised when the request was printed, and the account of it all. */
#include <string.h>

#include "common/base/mem.h"
#include "dataplane/llm/tokens.h"
#include "dataplane/translate/exchange_internal.h"
#include "dataplane/translate/ids.h"
#include "dataplane/translate/names.h"

static int deliver(struct exchange_flow *f, const struct tr_event *event)
{
    struct tr_exchange *x = f->x;
    if (f->collect != NULL)
        return tr_collect_put(f->collect, event);
    struct buf *out = event->kind == TR_EVENT_DONE ? &f->reply->end : f->out;
    return x->caller->print_event(x->caller_state, &x->print, event, out);
}

static void note_text(struct exchange_flow *f, const struct tr_event *event, struct str text)
{
    f->reply->content = true;
    f->reply->text_q8 += tokens_text_q8(text);
    f->reply->content_bytes += text.len;
    f->x->choices[event->choice].content = true;
    f->kinds |= EXCHANGE_KIND(PROVIDER_CONTENT);
}

static int put_text(struct exchange_flow *f, const struct tr_event *event)
{
    if (event->text.len == 0)
        return 0;
    note_text(f, event, event->text);
    return deliver(f, event);
}

/* What a caller does not want to see counts, but is no content. */
static int put_reasoning(struct exchange_flow *f, const struct tr_event *event)
{
    if (!f->x->hides_reasoning)
        return put_text(f, event);
    f->x->choices[event->choice].hid |= event->text.len > 0;
    f->reply->text_q8 += tokens_text_q8(event->text);
    f->reply->content_bytes += event->text.len;
    f->kinds |= EXCHANGE_KIND(PROVIDER_OPEN);
    return 0;
}

static int put_opaque(struct exchange_flow *f, const struct tr_event *event)
{
    f->kinds |= EXCHANGE_KIND(PROVIDER_OPEN);
    if (event->kind == TR_EVENT_SEAL && f->x->choices[event->choice].hid) {
        f->x->choices[event->choice].hid = false; /* Without its text it is worth nothing. */
        return 0;
    }
    return event->opaque.len > 0 ? deliver(f, event) : 0;
}

static bool is_answer(const struct tr_exchange *x, const struct tr_event *event)
{
    const struct exchange_choice *c = &x->choices[event->choice];
    return c->has_answer && c->answer_call == event->call_index;
}

/* A second call where one alone was asked for, or a second answer. */
static bool is_dropped(const struct tr_exchange *x, const struct tr_event *event)
{
    const struct exchange_choice *c = &x->choices[event->choice];
    return x->terms.first_call_only && c->has_call && c->first_call != event->call_index;
}

/* ---- calls of functions that stand for custom tools ---- */

static struct exchange_custom *find_custom(struct tr_exchange *x, const struct tr_event *event)
{
    for (uint32_t i = x->custom_count; i > 0; i--) {
        struct exchange_custom *c = &x->customs[i - 1];
        if (c->choice == event->choice && c->call_index == event->call_index)
            return c;
    }
    return NULL;
}

static int begin_custom(struct tr_exchange *x, const struct tr_event *event)
{
    if (x->customs == NULL)
        x->customs = mem_calloc(EXCHANGE_CUSTOMS_MAX, sizeof *x->customs);
    if (x->customs == NULL)
        return ERR_NOMEM;
    if (x->custom_count == EXCHANGE_CUSTOMS_MAX)
        return ERR_TOO_LARGE;
    x->customs[x->custom_count++] =
        (struct exchange_custom){.choice = event->choice, .call_index = event->call_index};
    return 0;
}

/* What came of the text: of a piece, or at the end. */
static int put_input(struct exchange_flow *f, struct exchange_custom *c, struct str piece, bool end)
{
    struct buf *text = &f->x->custom_text;
    buf_clear(text);
    text->max = piece.len + 2 * sizeof c->input.head;
    int rc = tr_custom_input_take(&c->input, piece, text);
    if (rc == 0 && end)
        rc = tr_custom_input_end(&c->input, text);
    const struct tr_event event = {.kind = TR_EVENT_ARGUMENTS,
                                   .choice = c->choice,
                                   .call_index = c->call_index,
                                   .text = buf_str(text)};
    return rc == 0 && text->len > 0 ? deliver(f, &event) : rc;
}

/* Before the call, or all of a choice's, are closed. */
static int end_customs(struct exchange_flow *f, uint32_t choice)
{
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < f->x->custom_count; i++)
        if (f->x->customs[i].choice == choice)
            rc = put_input(f, &f->x->customs[i], STR_NULL, true);
    return rc;
}

static int put_call(struct exchange_flow *f, const struct tr_event *event)
{
    struct tr_exchange *x = f->x;
    struct exchange_choice *c = &x->choices[event->choice];
    if (x->terms.answer_is_a_tool && !c->has_answer && str_is(event->call.name, "json")) {
        c->has_answer = true;
        c->answer_call = event->call_index;
        return 0;
    }
    if (x->terms.first_call_only && c->has_call) {
        tr_note(&x->terms, "dropped_call");
        return 0;
    }
    if (!c->has_call)
        c->first_call = event->call_index;
    c->has_call = true;
    struct tr_event named = *event;
    char room[TR_ID_FRESH_BYTES];
    named.call.name = tr_names_outside(&x->terms, event->call.name);
    if (event->call.custom && x->terms.customs == NULL)
        return ERR_PROTOCOL; /* Nobody offered such a tool. */
    if (!event->call.custom && tr_customs_has(&x->terms, named.call.name)) {
        int rc = begin_custom(x, event);
        if (rc != 0)
            return rc;
        named.call.custom = true;
    }
    if (named.call.id.len == 0) {
        tr_id_fresh(room);
        named.call.id = (struct str){room, sizeof room};
    }
    c->calls++;
    note_text(f, event, event->call.name);
    return deliver(f, &named);
}

static int put_arguments(struct exchange_flow *f, const struct tr_event *event)
{
    const struct exchange_choice *c = &f->x->choices[event->choice];
    if (is_answer(f->x, event)) {
        struct tr_event text = *event;
        text.kind = TR_EVENT_TEXT;
        text.call_index = 0;
        return put_text(f, &text);
    }
    if (!c->has_call || is_dropped(f->x, event))
        return 0;
    struct exchange_custom *custom = find_custom(f->x, event);
    if (custom == NULL)
        return put_text(f, event);
    if (event->text.len > 0)
        note_text(f, event, event->text);
    return put_input(f, custom, event->text, false);
}

static int put_part_end(struct exchange_flow *f, const struct tr_event *event)
{
    if (f->x->choices[event->choice].calls > 0 && is_dropped(f->x, event))
        return 0;
    f->kinds |= EXCHANGE_KIND(PROVIDER_OPEN);
    struct exchange_custom *custom = find_custom(f->x, event);
    int rc = custom != NULL ? put_input(f, custom, STR_NULL, true) : 0;
    return rc == 0 ? deliver(f, event) : rc;
}

/* What the provider said, made to agree with what there is. */
static enum call_finish finish_of(const struct exchange_choice *c, enum call_finish said)
{
    switch (said) {
    case CALL_FINISH_STOP:
    case CALL_FINISH_TOOL_CALLS:
        return c->calls > 0 ? CALL_FINISH_TOOL_CALLS : CALL_FINISH_STOP;
    case CALL_FINISH_OTHER:
        if (c->calls > 0)
            return CALL_FINISH_TOOL_CALLS;
        return c->content ? CALL_FINISH_STOP : CALL_FINISH_OTHER;
    case CALL_FINISH_NONE:
    case CALL_FINISH_LENGTH:
    case CALL_FINISH_CONTENT_FILTER:
        break;
    }
    return said;
}

static int put_finish(struct exchange_flow *f, const struct tr_event *event)
{
    struct exchange_choice *c = &f->x->choices[event->choice];
    if (c->finished || event->finish == CALL_FINISH_NONE)
        return 0;
    struct tr_event told = *event;
    c->finished = true;
    f->reply->finish = finish_of(c, event->finish);
    told.finish = f->reply->finish == CALL_FINISH_OTHER ? CALL_FINISH_STOP : f->reply->finish;
    f->kinds |= EXCHANGE_KIND(PROVIDER_CONTENT);
    if (f->reply->finish != CALL_FINISH_OTHER) /* An answer that says nothing is one, too. */
        f->reply->content = true;
    int rc = end_customs(f, event->choice);
    return rc == 0 ? deliver(f, &told) : rc;
}

/* Counts that cannot be true are not told on. */
static int put_usage(struct exchange_flow *f, const struct tr_event *event)
{
    struct tr_event told = *event;
    f->reply->usage = event->usage;
    f->kinds |= EXCHANGE_KIND(PROVIDER_USAGE);
    provider_usage_check(&told.usage, f->x->tokens_in, f->reply->text_q8, f->reply->content_bytes);
    return deliver(f, &told);
}

static struct str keep(struct str text, char *room, size_t room_bytes)
{
    size_t len = 0;
    for (size_t next; len < text.len; len += next) {
        next = str_utf8_length(text, len);
        if (next == 0 || len + next > room_bytes)
            break;
    }
    memcpy(room, text.data != NULL ? text.data : "", len);
    return (struct str){room, len};
}

static int put_error(struct exchange_flow *f, const struct tr_event *event)
{
    struct tr_exchange *x = f->x;
    x->failed = true;
    x->error = event->error;
    x->error.message = keep(event->error.message, x->message, sizeof x->message);
    x->error.code = keep(event->error.code, x->code, sizeof x->code);
    f->kinds |= EXCHANGE_KIND(PROVIDER_ERROR);
    return 0;
}

static int put_start(struct exchange_flow *f, const struct tr_event *event)
{
    f->kinds |= EXCHANGE_KIND(PROVIDER_OPEN);
    if (f->x->started)
        return 0;
    f->x->started = true;
    return deliver(f, event);
}

/* Some printers begin with the first event, others with START: none goes without. */
static int start_before(struct exchange_flow *f, const struct tr_event *event)
{
    if (f->x->started || event->kind == TR_EVENT_START || event->kind == TR_EVENT_ERROR ||
        event->kind == TR_EVENT_PING)
        return 0;
    const struct tr_event start = {.kind = TR_EVENT_START};
    return put_start(f, &start);
}

int exchange_put(void *arg, const struct tr_event *event)
{
    struct exchange_flow *f = arg;
    if (f->x->failed || f->reply->done)
        return 0;
    if (event->choice >= CALL_CHOICES_MAX)
        return ERR_TOO_LARGE;
    f->reply->anything = true;
    if (event->model.len > 0)
        (void)provider_reply_print(f->reply, event->model, event->system);
    int rc = start_before(f, event);
    if (rc != 0)
        return rc;
    switch (event->kind) {
    case TR_EVENT_START:
        return put_start(f, event);
    case TR_EVENT_TEXT:
    case TR_EVENT_REFUSAL:
        return put_text(f, event);
    case TR_EVENT_REASONING:
        return put_reasoning(f, event);
    case TR_EVENT_SEAL:
    case TR_EVENT_REDACTED:
        return put_opaque(f, event);
    case TR_EVENT_CALL:
        return put_call(f, event);
    case TR_EVENT_ARGUMENTS:
        return put_arguments(f, event);
    case TR_EVENT_PART_END:
        return put_part_end(f, event);
    case TR_EVENT_FINISH:
        return put_finish(f, event);
    case TR_EVENT_USAGE:
        return put_usage(f, event);
    case TR_EVENT_ERROR:
        return put_error(f, event);
    case TR_EVENT_PING:
        f->kinds |= EXCHANGE_KIND(PROVIDER_OPEN);
        return deliver(f, event);
    case TR_EVENT_DONE:
        f->kinds |= EXCHANGE_KIND(PROVIDER_DONE);
        rc = deliver(f, event);
        if (rc == 0)
            f->reply->done = true;
        return rc;
    }
    return 0;
}
