/* generations.h: what a node remembers of the last requests that it served, for
 * GET /v1/generation?id=. Bounded and best-effort: a ring that all workers write into without a
 * lock, each into a place of its own; a reader that meets a writer takes the entry for gone. The
 * record of a request is elsewhere (telemetry): this is forgotten with the process. */
#ifndef STEELYARD_DATAPLANE_REQUEST_GENERATIONS_H
#define STEELYARD_DATAPLANE_REQUEST_GENERATIONS_H

#include "dataplane/request/request.h"

#define GENERATIONS_MAX  4096U
#define GENERATION_BYTES 64U /* Of a model's or provider's name; longer ones are cut. */

struct generation {
    uint8_t decision[16];
    uint64_t key_id;
    uint32_t answer; /* Keyed hash of the answer's own id; 0: it had none. */
    uint32_t request_id;
    int64_t created_us;
    int64_t cost_nanousd; /* -1: not known. */
    uint64_t tokens_in, tokens_out, tokens_cached, tokens_reasoning;
    uint32_t latency_ms, total_ms;
    uint8_t finish; /* enum call_finish */
    bool streamed, cancelled;
    uint8_t model_len, provider_len;
    /* The model's, and the provider's right behind it; of what follows nothing is kept. */
    _Alignas(8) char names[2 * GENERATION_BYTES];
};
static inline struct str generation_model(const struct generation *g)
{
    return (struct str){g->names, g->model_len};
}
static inline struct str generation_provider(const struct generation *g)
{
    return (struct str){g->names + g->model_len, g->provider_len};
}

struct generations;
struct generations *generations_create(void); /* NULL: no memory. */
void generations_destroy(struct generations *g);
void generations_put(struct generations *g, const struct generation *entry); /* Any thread. */
/* The newest of this key with that id, under any of its names. false: there is none. */
bool generations_find(struct generations *g, uint64_t key_id, const uint8_t decision[16],
                      uint32_t hash, struct generation *out);

/* The answer's own id, as the client gets it in these first bytes. */
void generation_note(struct request *r, struct str bytes);
/* The request has its record. */
void generation_keep(struct request *r);

#endif
