#include "dataplane/translate/collect.h"

#include <string.h>

#define PARTS_MAX 4096U

/* A piece of a text. */
struct piece {
    struct piece *next;
    struct str text;
};

struct tr_collected {
    struct tr_collected *next;
    enum tr_part_kind kind;
    uint32_t choice;
    uint32_t call_index;
    bool closed; /* The next piece of this kind begins another part. */
    bool redacted;
    struct tr_call call;
    struct str opaque;
    struct piece *first, *last;
    size_t bytes;
};

void tr_collect_init(struct tr_collect *c, struct arena *arena)
{
    memset(c, 0, sizeof *c);
    c->arena = arena;
}

static int copy(struct tr_collect *c, struct str text, struct str *out)
{
    *out = STR_NULL;
    if (text.len == 0)
        return 0;
    *out = arena_copy(c->arena, text);
    return out->data == NULL ? ERR_TOO_LARGE : 0;
}

static int append(struct tr_collect *c, struct tr_collected *part, struct str text)
{
    if (text.len == 0)
        return 0;
    struct piece *p = arena_alloc(c->arena, sizeof *p);
    if (p == NULL)
        return ERR_TOO_LARGE;
    p->next = NULL;
    int rc = copy(c, text, &p->text);
    if (rc != 0)
        return rc;
    if (part->last != NULL)
        part->last->next = p;
    else
        part->first = p;
    part->last = p;
    part->bytes += text.len;
    return 0;
}

static struct tr_collected *begin(struct tr_collect *c, enum tr_part_kind kind, uint32_t choice)
{
    if (c->part_count == PARTS_MAX)
        return NULL;
    struct tr_collected *part = arena_zalloc(c->arena, 1, sizeof *part);
    if (part == NULL)
        return NULL;
    part->kind = kind;
    part->choice = choice;
    if (c->last != NULL)
        c->last->next = part;
    else
        c->first = part;
    c->last = part;
    c->part_count++;
    return part;
}

/* The last part of a choice; NULL: none yet. */
static struct tr_collected *last_of(struct tr_collect *c, uint32_t choice)
{
    struct tr_collected *found = NULL;
    if (c->last != NULL && c->last->choice == choice)
        return c->last;
    for (struct tr_collected *p = c->first; p != NULL; p = p->next)
        if (p->choice == choice)
            found = p;
    return found;
}

static struct tr_collected *call_of(struct tr_collect *c, const struct tr_event *e)
{
    struct tr_collected *found = NULL;
    if (c->last != NULL && c->last->kind == TR_PART_CALL && c->last->choice == e->choice &&
        c->last->call_index == e->call_index)
        return c->last;
    for (struct tr_collected *p = c->first; p != NULL; p = p->next)
        if (p->kind == TR_PART_CALL && p->choice == e->choice && p->call_index == e->call_index)
            found = p;
    return found;
}

static int put_text(struct tr_collect *c, enum tr_part_kind kind, const struct tr_event *e)
{
    struct tr_collected *part = last_of(c, e->choice);
    if (part == NULL || part->kind != kind || part->closed || part->redacted)
        part = begin(c, kind, e->choice);
    return part == NULL ? ERR_TOO_LARGE : append(c, part, e->text);
}

/* What signs the reasoning before it, or stands for it. */
static int put_opaque(struct tr_collect *c, const struct tr_event *e)
{
    struct tr_collected *part = last_of(c, e->choice);
    bool redacted = e->kind == TR_EVENT_REDACTED;
    if (redacted || part == NULL || part->kind != TR_PART_REASONING || part->redacted)
        part = begin(c, TR_PART_REASONING, e->choice);
    if (part == NULL)
        return ERR_TOO_LARGE;
    part->redacted = redacted;
    part->closed = true;
    return copy(c, e->opaque, &part->opaque);
}

static int put_call(struct tr_collect *c, const struct tr_event *e)
{
    struct tr_collected *part = begin(c, TR_PART_CALL, e->choice);
    if (part == NULL)
        return ERR_TOO_LARGE;
    part->call_index = e->call_index;
    part->call.custom = e->call.custom;
    int rc = copy(c, e->call.id, &part->call.id);
    if (rc == 0)
        rc = copy(c, e->call.name, &part->call.name);
    return rc == 0 ? copy(c, e->call.signature, &part->call.signature) : rc;
}

static int put_finish(struct tr_collect *c, const struct tr_event *e)
{
    struct tr_choice_answer *choice = &c->choices[e->choice];
    choice->finish = e->finish;
    int rc = copy(c, e->vendor_finish, &choice->vendor_finish);
    return rc == 0 ? copy(c, e->stop_sequence, &choice->stop_sequence) : rc;
}

static int put_end(struct tr_collect *c, const struct tr_event *e)
{
    struct tr_collected *part = last_of(c, e->choice);
    if (part != NULL && part->kind != TR_PART_CALL)
        part->closed = true;
    return 0;
}

int tr_collect_put(struct tr_collect *c, const struct tr_event *e)
{
    struct tr_collected *call;
    if (e->choice >= CALL_CHOICES_MAX)
        return ERR_TOO_LARGE;
    if (e->choice >= c->choice_count)
        c->choice_count = e->choice + 1;
    switch (e->kind) {
    case TR_EVENT_TEXT:
        return put_text(c, TR_PART_TEXT, e);
    case TR_EVENT_REFUSAL:
        return put_text(c, TR_PART_REFUSAL, e);
    case TR_EVENT_REASONING:
        return put_text(c, TR_PART_REASONING, e);
    case TR_EVENT_SEAL:
    case TR_EVENT_REDACTED:
        return put_opaque(c, e);
    case TR_EVENT_CALL:
        return put_call(c, e);
    case TR_EVENT_ARGUMENTS:
        call = call_of(c, e);
        return call == NULL ? 0 : append(c, call, e->text);
    case TR_EVENT_PART_END:
        return put_end(c, e);
    case TR_EVENT_FINISH:
        return put_finish(c, e);
    case TR_EVENT_USAGE:
        c->usage = e->usage;
        return 0;
    case TR_EVENT_DONE:
        c->done = true;
        return 0;
    case TR_EVENT_START:
    case TR_EVENT_ERROR:
    case TR_EVENT_PING:
        return 0;
    }
    return 0;
}

static int join(struct tr_collect *c, const struct tr_collected *part, struct str *out)
{
    *out = STR("");
    if (part->first == NULL)
        return 0;
    if (part->first == part->last) {
        *out = part->first->text;
        return 0;
    }
    char *at = arena_alloc(c->arena, part->bytes);
    if (at == NULL)
        return ERR_TOO_LARGE;
    *out = (struct str){at, part->bytes};
    for (const struct piece *p = part->first; p != NULL; p = p->next) {
        memcpy(at, p->text.data, p->text.len);
        at += p->text.len;
    }
    return 0;
}

static int finish_choice(struct tr_collect *c, uint32_t choice, struct tr_answer_part **io_parts)
{
    struct tr_choice_answer *out = &c->choices[choice];
    out->parts = *io_parts;
    out->part_count = 0;
    for (const struct tr_collected *p = c->first; p != NULL; p = p->next) {
        if (p->choice != choice)
            continue;
        struct tr_answer_part *made = (*io_parts)++;
        out->part_count++;
        *made = (struct tr_answer_part){
            .kind = p->kind, .opaque = p->opaque, .redacted = p->redacted, .call = p->call};
        int rc = join(c, p, &made->text);
        if (rc != 0)
            return rc;
        if (p->kind == TR_PART_CALL)
            made->call.arguments = made->text;
    }
    return 0;
}

int tr_collect_finish(struct tr_collect *c, struct tr_answer *out)
{
    struct tr_answer_part *parts =
        arena_zalloc(c->arena, c->part_count > 0 ? c->part_count : 1, sizeof *parts);
    if (parts == NULL)
        return ERR_TOO_LARGE;
    if (c->choice_count == 0)
        c->choice_count = 1;
    for (uint32_t i = 0; i < c->choice_count; i++) {
        int rc = finish_choice(c, i, &parts);
        if (rc != 0)
            return rc;
    }
    *out = (struct tr_answer){c->choices, c->choice_count, c->usage};
    return 0;
}
