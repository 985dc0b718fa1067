/* Reasoning as OpenRouter hands it out and takes it back: reasoning_details, a list of texts,
 * summaries and opaque values. What a vendor signed goes under our seal, so that a caller who sends
 * the message back as it got it, in one piece or in all the pieces of a stream, sends back all that
 * is needed. The signature of a call is the opaque detail that bears the call's id. */
#include <string.h>

#include "dataplane/translate/openai_internal.h"
#include "dataplane/translate/seal.h"

#define CALL_DETAILS_MAX 128U /* Of a message. */
#define NO_INDEX         (-1)

enum kind { KIND_OTHER, KIND_TEXT, KIND_SUMMARY, KIND_OPAQUE, KIND_OF_CALL };

struct detail {
    enum kind kind;
    int64_t index;
    uint32_t text;   /* Node of what it says ... */
    uint32_t sealed; /* ... and of what is opaque in it. */
};

static bool is_ours(const struct tr_reading *r, uint32_t sealed, enum dialect vendor)
{
    char head[TR_SEAL_BYTES_MAX];
    enum dialect found;
    uint32_t maker;
    size_t len = json_text_head(r->json, sealed, sizeof head, head);
    (void)tr_seal_take((struct str){head, len}, &found, &maker);
    return found == vendor;
}

static struct detail detail_of(const struct tr_reading *r, uint32_t node)
{
    const uint32_t type = tr_member(r, node, STR("type"));
    struct detail d = {.kind = KIND_OTHER, .index = NO_INDEX, .text = JSON_NONE};
    (void)!json_i64(r->json, tr_member(r, node, STR("index")), 0, UINT32_MAX, &d.index);
    d.sealed = tr_member(r, node, STR("signature"));
    if (tr_says(r, type, STR("reasoning.text"))) {
        d.kind = KIND_TEXT;
        d.text = tr_member(r, node, STR("text"));
    } else if (tr_says(r, type, STR("reasoning.summary"))) {
        d.kind = KIND_SUMMARY;
        d.text = tr_member(r, node, STR("summary"));
    } else if (tr_says(r, type, STR("reasoning.encrypted"))) {
        d.sealed = tr_member(r, node, STR("data"));
        d.kind =
            tr_is_given(r, tr_member(r, node, STR("id"))) && is_ours(r, d.sealed, DIALECT_GEMINI)
                ? KIND_OF_CALL
                : KIND_OPAQUE;
    }
    return d;
}

/* Pieces of one reasoning: a text up to its signature, a summary and what is encrypted of it. */
static bool joins(const struct tr_reading *r, const struct detail *last, const struct detail *d)
{
    const bool same = last->index == d->index || last->index == NO_INDEX || d->index == NO_INDEX;
    switch (last->kind) {
    case KIND_TEXT:
        return d->kind == KIND_TEXT && same && !tr_is_given(r, last->sealed);
    case KIND_SUMMARY:
        return (d->kind == KIND_SUMMARY && same) ||
               (d->kind == KIND_OPAQUE && last->index == d->index && d->index != NO_INDEX);
    case KIND_OTHER:
    case KIND_OPAQUE:
    case KIND_OF_CALL:
        break;
    }
    return false;
}

static bool is_part(const struct detail *d)
{
    return d->kind != KIND_OTHER && d->kind != KIND_OF_CALL;
}

uint32_t tr_openai_details_count(const struct tr_reading *r, uint32_t list)
{
    struct detail last = {.kind = KIND_OTHER};
    uint32_t node, count = 0;
    for (uint32_t at = 0; json_next_element(r->json, list, &at, &node);) {
        const struct detail d = detail_of(r, node);
        if (!is_part(&d))
            continue;
        count += joins(r, &last, &d) ? 0 : 1;
        last = d;
    }
    return count;
}

static int take_text(struct tr_reading *r, uint32_t node, struct buf *texts, struct str *io_text)
{
    struct str piece = STR_NULL;
    int rc = json_kind(r->json, node) == JSON_STRING ? tr_take_text(r, node, &piece) : 0;
    if (rc == 0 && io_text->len == 0)
        io_text->data = texts->data + texts->len;
    if (rc == 0)
        rc = buf_append_str(texts, piece); /* Room is there for all of them. */
    io_text->len += piece.len;
    return rc;
}

static int take_detail(struct tr_reading *r, const struct detail *d, struct buf *texts,
                       struct tr_reasoning *io_one)
{
    struct str sealed = STR_NULL;
    int rc = take_text(r, d->text, texts, &io_one->text);
    if (rc == 0 && json_kind(r->json, d->sealed) == JSON_STRING)
        rc = tr_take_text(r, d->sealed, &sealed);
    if (rc != 0 || sealed.len == 0)
        return rc;
    if (d->kind == KIND_OPAQUE)
        io_one->opaque = tr_seal_take(sealed, &io_one->vendor, &io_one->maker);
    else
        io_one->signature = tr_seal_take(sealed, &io_one->vendor, &io_one->maker);
    return 0;
}

int tr_openai_read_details(struct tr_reading *r, uint32_t list, struct tr_turn *turn)
{
    struct detail last = {.kind = KIND_OTHER};
    struct tr_reasoning *one = NULL;
    uint32_t node;
    size_t bytes = 0;
    for (uint32_t at = 0; json_next_element(r->json, list, &at, &node);)
        bytes += json_text_length(r->json, detail_of(r, node).text);
    char *data = arena_alloc(r->arena, bytes + 1);
    struct buf texts = {.data = data, .cap = bytes + 1, .max = bytes + 1};
    int rc = data != NULL ? 0 : ERR_NOMEM;
    for (uint32_t at = 0; rc == 0 && json_next_element(r->json, list, &at, &node);) {
        const struct detail d = detail_of(r, node);
        if (!is_part(&d))
            continue;
        if (!joins(r, &last, &d)) {
            struct tr_part *part = &turn->parts[turn->part_count++];
            part->kind = TR_PART_REASONING;
            one = &part->reasoning;
            one->vendor = DIALECTS;
        }
        rc = take_detail(r, &d, &texts, one);
        last = d;
    }
    return rc;
}

static int sign_call(struct tr_reading *r, uint32_t node, struct tr_turn *turn)
{
    struct str sealed = STR_NULL;
    const uint32_t id = tr_member(r, node, STR("id"));
    int rc = tr_take_text(r, tr_member(r, node, STR("data")), &sealed);
    for (uint32_t i = 0; rc == 0 && i < turn->part_count; i++) {
        struct tr_part *part = &turn->parts[i];
        if (part->kind != TR_PART_CALL || !tr_says(r, id, part->call.id))
            continue;
        part->call.signature = tr_seal_take(sealed, &part->call.vendor, &part->call.maker);
        return 0;
    }
    return rc;
}

int tr_openai_read_details_of_calls(struct tr_reading *r, uint32_t list, struct tr_turn *turn)
{
    uint32_t node, count = 0;
    int rc = 0;
    for (uint32_t at = 0; rc == 0 && json_next_element(r->json, list, &at, &node);)
        if (detail_of(r, node).kind == KIND_OF_CALL && count++ < CALL_DETAILS_MAX)
            rc = sign_call(r, node, turn);
    return rc;
}

/* ---- answers ---- */

void tr_openai_say_sealed(struct pen *p, const struct tr_print *print, struct str value)
{
    char room[TR_SEAL_BYTES_MAX];
    enum dialect vendor;
    uint32_t maker;
    PEN(p, "\"");
    (void)tr_seal_take(value, &vendor, &maker);
    if (value.len > 0 && vendor == DIALECTS)
        pen_put(p, tr_seal_prefix(print->vendor, print->maker, room));
    pen_escaped(p, value);
    PEN(p, "\"");
}

/* OpenRouter's words for whose reasoning it is. */
static void say_end(struct pen *p, const struct tr_print *print, uint32_t index)
{
    static const char *const formats[DIALECTS] = {
        [DIALECT_RESPONSES] = "openai-responses-v1",
        [DIALECT_ANTHROPIC] = "anthropic-claude-v1",
        [DIALECT_GEMINI] = "google-gemini-v1",
        [DIALECT_BEDROCK] = "anthropic-claude-v1",
    };
    const char *format = (size_t)print->vendor < DIALECTS ? formats[print->vendor] : NULL;
    PEN(p, ",\"format\":\"");
    pen_text(p, format != NULL ? format : "unknown");
    PEN(p, "\",\"index\":");
    pen_number(p, index);
    PEN(p, "}");
}

void tr_openai_say_detail_opaque(struct pen *p, const struct tr_print *print, uint32_t index,
                                 struct str opaque, struct str call_id)
{
    PEN(p, "{\"type\":\"reasoning.encrypted\",\"data\":");
    tr_openai_say_sealed(p, print, opaque);
    if (call_id.len > 0) {
        PEN(p, ",\"id\":");
        pen_quoted(p, call_id);
    }
    say_end(p, print, index);
}

void tr_openai_say_detail(struct pen *p, const struct tr_print *print, uint32_t index,
                          struct str text, struct str opaque)
{
    const bool summary = print->vendor == DIALECT_RESPONSES;
    if (summary && text.len == 0) {
        tr_openai_say_detail_opaque(p, print, index, opaque, STR_NULL);
        return;
    }
    if (summary)
        PEN(p, "{\"type\":\"reasoning.summary\"");
    else
        PEN(p, "{\"type\":\"reasoning.text\"");
    if (text.len > 0) {
        if (summary)
            PEN(p, ",\"summary\":");
        else
            PEN(p, ",\"text\":");
        pen_quoted(p, text);
    }
    if (opaque.len > 0 && !summary) {
        PEN(p, ",\"signature\":");
        tr_openai_say_sealed(p, print, opaque);
    }
    say_end(p, print, index);
    if (opaque.len > 0 && summary) {
        PEN(p, ",");
        tr_openai_say_detail_opaque(p, print, index, opaque, STR_NULL);
    }
}
