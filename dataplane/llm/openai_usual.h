/* openai_usual.h: what the usual chunk or reply of the OpenAI dialect says, in one pass and without
 * a parse tree. An event costs a few hundred instructions this way.
 *
 * It knows a list of members for each kind of object, all with the values they usually have, and
 * nothing else: any other key, value or escape makes it answer "not usual", and the strict reader
 * has the word. What it does accept, the strict reader (common/json) accepts, too, and says the
 * same of it; a fuzz target compares the two. Pure. */
#ifndef STEELYARD_DATAPLANE_LLM_OPENAI_USUAL_H
#define STEELYARD_DATAPLANE_LLM_OPENAI_USUAL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/str.h"
#include "dataplane/llm/call.h"

#define OPENAI_USUAL_ELEMENTS_MAX 64U /* Choices, or calls of one: more is not usual. */

/* Where an event differs from the next one of its kind (openai_shape.h). */
#define OPENAI_HOLES_MAX 16U
enum openai_count { /* What a usage object counts. */
                    OPENAI_COUNT_IN,
                    OPENAI_COUNT_OUT,
                    OPENAI_COUNT_TOTAL,
                    OPENAI_COUNT_HIT,
                    OPENAI_COUNT_CACHED,
                    OPENAI_COUNT_CACHE_WRITE,
                    OPENAI_COUNT_REASONING,
                    OPENAI_COUNTS
};
enum openai_hole {
    OPENAI_HOLE_TEXT,   /* The one text, between its quotes. */
    OPENAI_HOLE_STRING, /* One that is not looked at, between its quotes. */
    OPENAI_HOLE_NUMBER, /* The same of an integer. */
    OPENAI_HOLE_COUNT,  /* This and what follows: one of enum openai_count. */
};

struct openai_facts {
    struct str model;  /* Between its quotes, no escape in it; .data NULL: no such member. */
    struct str system; /* system_fingerprint, likewise; .data NULL also for one with escapes. */
    uint64_t print;    /* For who learns a shape: of these two. Not set here. */
    uint32_t choices;
    bool content; /* Something a caller would read. */
    bool finish_seen;
    bool usage_object;       /* There is a usage object ... */
    struct call_usage usage; /* ... and this is what it says; not .known: no counts in it. */
    enum call_finish finish; /* Of the last choice that has one. */
    uint64_t text_q8;        /* As in struct provider_reply, of this text alone. */
    uint64_t content_bytes;
    unsigned texts;     /* That are not empty. */
    uint8_t hole_count; /* UINT8_MAX: more than there is room for. */
    struct {
        const char *data;
        size_t len;
        uint8_t kind;
    } holes[OPENAI_HOLES_MAX]; /* In the order of the text. */
};

/* What the counts of a usage object come to. */
struct call_usage openai_usage_of(const uint64_t counts[OPENAI_COUNTS]);
/* part: "delta" of a chunk or "message" of a whole reply. False: not usual; *out is undefined. */
bool openai_usual_read(struct str text, struct str part, struct openai_facts *out);

#endif
