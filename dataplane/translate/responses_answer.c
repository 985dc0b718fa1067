/* A whole answer as callers of the Responses dialect get it: one body. */
#include "dataplane/llm/tokens.h"
#include "dataplane/translate/responses_internal.h"

#define PARTS_BYTES_MAX (64U << 20)

struct answering {
    struct pen pen;
    const struct tr_print *print;
    enum tr_responses_status status;
    uint32_t index; /* Of the next item. */
};

static void next_item(struct answering *a)
{
    if (a->index > 0)
        PEN(&a->pen, ",");
    a->index++;
}

static bool is_text(const struct tr_answer_part *part)
{
    return part->kind == TR_PART_TEXT || part->kind == TR_PART_REFUSAL;
}

/* Texts that follow one another are parts of one message. Returns how many. */
static uint32_t put_message(struct answering *a, const struct tr_answer_part *parts, uint32_t count)
{
    struct buf content;
    uint32_t n = 0;
    buf_init(&content, PARTS_BYTES_MAX);
    struct pen inner = {.out = &content};
    for (; n < count && is_text(&parts[n]); n++) {
        if (n > 0)
            PEN(&inner, ",");
        tr_responses_say_part(&inner, parts[n].kind == TR_PART_REFUSAL,
                              (struct tr_said){.text = parts[n].text});
    }
    if (a->pen.rc == 0)
        a->pen.rc = inner.rc;
    next_item(a);
    tr_responses_say_message(&a->pen, a->print, a->index - 1, a->status, buf_str(&content));
    buf_deinit(&content);
    return n;
}

static void put_call(struct answering *a, const struct tr_answer_part *part)
{
    if (part->call.signature.len > 0) {
        next_item(a);
        tr_responses_say_reasoning(&a->pen, a->print, a->index - 1, (struct tr_said){0},
                                   TR_RESPONSES_OF_CALL, part->call.signature);
    }
    next_item(a);
    const bool empty = part->text.len == 0 && !part->call.custom;
    tr_responses_say_call(&a->pen, a->print, a->index - 1, a->status, &part->call,
                          (struct tr_said){.text = empty ? STR("{}") : part->text});
}

static void put_reasoning(struct answering *a, const struct tr_answer_part *part)
{
    const struct str text = part->redacted || part->text.len == 0 ? STR_NULL : part->text;
    next_item(a);
    tr_responses_say_reasoning(&a->pen, a->print, a->index - 1, (struct tr_said){.text = text},
                               part->redacted ? TR_RESPONSES_WHOLE : 0, part->opaque);
}

static void put_parts(struct answering *a, const struct tr_choice_answer *c)
{
    for (uint32_t i = 0; i < c->part_count; i++) {
        const struct tr_answer_part *part = &c->parts[i];
        if (is_text(part))
            i += put_message(a, part, c->part_count - i) - 1;
        else if (part->kind == TR_PART_CALL)
            put_call(a, part);
        else if (part->kind == TR_PART_REASONING)
            put_reasoning(a, part);
    }
}

static struct call_usage usage_of(const struct tr_answer *answer, const struct tr_print *print)
{
    const struct tr_choice_answer *c = &answer->choices[0];
    uint64_t text_q8 = 0;
    if (answer->usage.known)
        return answer->usage;
    for (uint32_t i = 0; i < c->part_count; i++)
        text_q8 += tokens_text_q8(c->parts[i].text);
    return (struct call_usage){.tokens_in = print->tokens_in, .tokens_out = tokens_round(text_q8)};
}

int tr_responses_print_answer(const struct tr_print *print, const struct tr_answer *answer,
                              struct buf *out)
{
    const struct tr_choice_answer *c = &answer->choices[0];
    const struct call_usage usage = usage_of(answer, print);
    const char *reason, *status = tr_responses_status_of(c->finish, &reason);
    struct answering a = {.pen = {.out = out},
                          .print = print,
                          .status =
                              reason != NULL ? TR_RESPONSES_INCOMPLETE : TR_RESPONSES_COMPLETED};
    size_t before = out->len;
    tr_responses_say_head(&a.pen, print, status, reason);
    put_parts(&a, c);
    tr_responses_say_tail(&a.pen, print, &usage);
    if (a.pen.rc != 0)
        out->len = before;
    return a.pen.rc;
}
