/* bedrock_internal.h: what the files of the Converse dialect share. Source: the reference of
 * Converse and ConverseStream of Amazon Bedrock Runtime, as of 2026-11. */
#ifndef STEELYARD_DATAPLANE_TRANSLATE_BEDROCK_INTERNAL_H
#define STEELYARD_DATAPLANE_TRANSLATE_BEDROCK_INTERNAL_H

#include "dataplane/translate/anthropic_internal.h"

/* ---- printing a request ---- */

struct bedrock_asking {
    struct anthropic_asking a; /* Its plan of reasoning, format and turns holds here, too. */
    bool claude;               /* Whose deviations are those of its own dialect. */
    bool flatten;              /* Calls and results go as text: there are no tools to declare. */
    bool stub;                 /* A tool is declared that nobody asked for, as calls need one. */
    bool choice_apart;         /* tool_choice is a field of the model's own. */
    enum tr_choice choice;     /* As it can be said here. */
    uint32_t documents;        /* So far. */
};

int bedrock_print_request(const struct tr_request *request, const struct tr_target *target,
                          struct arena *arena, struct tr_terms *terms, struct call_refusal *refusal,
                          struct buf *out) MUST_CHECK;
int bedrock_print_path(const struct tr_target *target, bool stream, struct buf *out) MUST_CHECK;
/* What goes where: tools, choice. After the turns were prepared. */
int bedrock_plan(struct bedrock_asking *b) MUST_CHECK;
static inline bool bedrock_has(const struct bedrock_asking *b, enum tr_quirk quirk)
{
    return tr_quirks_has(b->a.target->quirks, quirk);
}
static inline bool bedrock_has_tools(const struct bedrock_asking *b)
{
    return b->stub || b->a.format == ANTHROPIC_FORMAT_TOOL ||
           (b->a.request->tool_count > 0 && !b->flatten &&
            (b->choice != TR_CHOICE_NONE || b->choice_apart));
}
/* An element {"cachePoint":...} behind what is marked, where the model takes one. */
void bedrock_put_mark(struct bedrock_asking *b, const struct tr_cache *cache);
int bedrock_put_messages(struct bedrock_asking *b) MUST_CHECK;
int bedrock_put_tools(struct bedrock_asking *b) MUST_CHECK;
/* additionalModelRequestFields, if there are any. */
void bedrock_put_model_fields(struct bedrock_asking *b);

/* ---- reading a reply ---- */

#define BEDROCK_CALLS_OPEN_MAX 64U /* Whose blocks are known; the latest ones. */

struct bedrock_frames {
    struct tr_replying r;
    struct call_usage usage;
    uint32_t calls;                          /* So far. */
    uint32_t blocks[BEDROCK_CALLS_OPEN_MAX]; /* contentBlockIndex of call i, at i mod the size. */
    bool stopped;                            /* messageStop came. */
    bool told;                               /* metadata came. */
    bool ended;                              /* An error or the end was told: nothing follows. */
};
int bedrock_read_frame(void *state, struct json *json, const struct tr_frame *frame,
                       const struct tr_sink *sink) MUST_CHECK;
int bedrock_read_whole(struct json *json, struct str body, const struct tr_sink *sink) MUST_CHECK;
int bedrock_read_end(void *state, const struct tr_sink *sink) MUST_CHECK;
void bedrock_frames_end(void *state);
void bedrock_read_error(struct json *json, unsigned status, struct str name, struct str body,
                        struct arena *arena, struct tr_error *out);
/* name: "ThrottlingException", in either case of the first letter, with whatever AWS puts around
 * it. Texts are slices of those given. */
void bedrock_error_of(unsigned status, struct str name, struct str message, struct tr_error *out);

#endif
