/* reading_memory.h: bodies of callers that were read, so that the next like one need not be. Of
 * short programs that ask again and again each body is as the one before but for the one text in
 * it; so one whose bytes before and behind a text are those of a known body, and whose text is the
 * inside of a JSON string, says the same but for that text, and only this is read: by what reads
 * texts elsewhere. Nothing is kept of texts (docs/decisions/0282).
 *
 * The result cannot be told from that of the adapter's read_call. Belongs to one thread. */
#ifndef STEELYARD_DATAPLANE_LLM_READING_MEMORY_H
#define STEELYARD_DATAPLANE_LLM_READING_MEMORY_H

#include "dataplane/llm/provider.h"

#define READING_MEMORY_BODIES 4U
#define READING_MEMORY_BYTES  256U /* Beside the text; of a body with more nothing is remembered.  \
                                    */

struct reading_known {
    const struct provider_adapter *adapter; /* NULL: none. */
    uint32_t before;                        /* Bytes before the text ... */
    uint32_t behind;                        /* ... and behind it. */
    uint32_t text_len;
    uint64_t tokens_q8; /* Of all but the text. */
    uint32_t model_at;  /* Where in the body these are. */
    uint32_t dialogue_at;
    char around[READING_MEMORY_BYTES];
    struct call call; /* Without its slices. */
};

/* Zeroed: empty. */
struct reading_memory {
    uint32_t last;   /* Is looked at first. */
    uint32_t next;   /* Makes room for the next. */
    uint32_t missed; /* Bodies that were not known. */
    struct reading_known known[READING_MEMORY_BODIES];
};

/* As adapter->read_call, for the dialogue of a dialect; json is scratch, with no scan begun. */
int reading_memory_read(struct reading_memory *m, const struct provider_adapter *adapter,
                        struct json *json, struct str body, struct arena *arena,
                        struct call *out_call, struct call_refusal *out_refusal);
/* The part of it that knows: false: it is for read_call. */
bool reading_memory_known(struct reading_memory *m, const struct provider_adapter *adapter,
                          struct json *json, struct str body, struct arena *arena,
                          struct call *out_call);

#endif
