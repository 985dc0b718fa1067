/* openai_shape.h: events of one provider are alike but for a few values: id, time, the text; whole
 * replies but for these and their counts. A shape is one of them with holes; what fits it says what
 * it said, but for text and counts, and costs a few comparisons instead of a reading.
 *
 * A hole stands for a whole string or integer that nobody looks at, or for the one text. Putting
 * another string or integer into it changes nothing else that a reader would see, so what fits is
 * well-formed because the shape was. A worker keeps the few shapes it saw last, for all streams.
 * Pure; not thread-safe. */
#ifndef STEELYARD_DATAPLANE_LLM_OPENAI_SHAPE_H
#define STEELYARD_DATAPLANE_LLM_OPENAI_SHAPE_H

#include "dataplane/llm/openai_usual.h"
#include "dataplane/llm/print.h"

#define OPENAI_SHAPES      8
#define OPENAI_SHAPE_BYTES 1024 /* Between the holes; a longer event makes no shape. */

struct openai_shape {
    uint64_t print;
    bool finish_seen;
    bool usage_object;
    bool usage_known;
    enum call_finish finish;
    uint8_t hole_count;                    /* 0: not in use. */
    uint8_t model_hole;                    /* The model's name stands behind so many holes ... */
    uint16_t model_at;                     /* ... at this offset of the fixed bytes. */
    uint16_t model_len;                    /* UINT16_MAX: none. */
    uint16_t before[OPENAI_HOLES_MAX + 1]; /* Fixed bytes before each hole, and behind the last. */
    uint8_t kind[OPENAI_HOLES_MAX];
    char fixed[OPENAI_SHAPE_BYTES];
};

struct openai_fit {
    const char *end;  /* Of the event's JSON. */
    struct str model; /* As in struct openai_facts; so is the rest. */
    uint64_t print;
    uint64_t text_q8;
    uint64_t content_bytes;
    bool finish_seen;
    bool usage_object;
    enum call_finish finish;
    struct call_usage usage;
};
struct openai_shapes {
    struct openai_shape shapes[OPENAI_SHAPES];
    uint8_t next;          /* To be replaced. */
    struct openai_fit fit; /* What the last text said that fitted. */
    struct prints *prints; /* Of the worker; borrowed. NULL: none are kept. */
};
/* What the text begins with, if it fits a shape: content of one choice, and perhaps its finish and
 * usage; until the next call. NULL: it fits none. io_last: the one that fitted last, which is tried
 * first. */
const struct openai_fit *openai_shapes_fit(struct openai_shapes *s, struct str text,
                                           uint8_t *io_last);
/* Makes a shape of a text that was read, if it is of the kind that can be: one choice, one text. */
void openai_shapes_learn(struct openai_shapes *s, struct str text, const struct openai_facts *facts,
                         uint8_t *out_last);
/* The one that fitted last is learned anew when it comes again. */
void openai_shapes_forget(struct openai_shapes *s, uint8_t last);

#endif
