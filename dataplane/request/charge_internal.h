/* charge_internal.h: shared by charge*.c only. */
#ifndef STEELYARD_DATAPLANE_REQUEST_CHARGE_INTERNAL_H
#define STEELYARD_DATAPLANE_REQUEST_CHARGE_INTERNAL_H

#include <assert.h>
#include <string.h>

#include "dataplane/request/charge.h"

void charge_find(struct request *r);

static inline uint32_t charge_tokens_of_bytes(uint64_t bytes)
{
    return bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)bytes;
}

/* Input tokens at most: what no tokenizer exceeds, and what the model cannot take (with the eighth
 * by which `decide` lets a prompt be longer than its window). */
static inline uint64_t charge_input(const struct snapshot_model *m, uint32_t tokens_most)
{
    uint64_t window = (uint64_t)m->context_window + m->context_window / 8;
    return window != 0 && window < tokens_most ? window : tokens_most;
}

/* Output tokens of one choice at most. asked 0: the caller named no limit. */
static inline uint64_t charge_output(const struct snapshot_model *m, uint32_t asked)
{
    uint64_t most = m->max_output;
    if (most == 0)
        most = m->context_window != 0 ? m->context_window : POLICY_OUT_TOKENS_MAX;
    return asked != 0 && asked < most ? asked : most;
}

/* One call at one deployment. */
struct charge_call {
    const struct snapshot_price *price; /* Known. */
    uint64_t tokens_in;
    uint64_t tokens_out; /* Of one choice. */
    uint32_t choices;
};
/* false: its price is not known. */
bool charge_call_of(const struct request *r, const struct snapshot_model *m,
                    const struct snapshot_price *price, struct charge_call *out_call);
/* Its worst case with so much output. ERR_OVERFLOW: more than any budget. */
int charge_worst(const struct charge_call *c, uint64_t tokens_out, int64_t *out_nanousd) MUST_CHECK;
/* Output of each choice that fits into so much money, CHARGE_FLOOR_TOKENS at least; 0: none. */
uint32_t charge_fit(const struct charge_call *c, int64_t free);

#endif
