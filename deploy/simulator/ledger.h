/* ledger.h: what the simulated provider bills: its own book, written as it serves, from its own
 * prices. One JSON object a line, one line a request; nothing of it is told to who is served. */
#ifndef STEELYARD_DEPLOY_SIMULATOR_LEDGER_H
#define STEELYARD_DEPLOY_SIMULATOR_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "deploy/simulator/models.h"

/* nano-USD a token. All 0: it serves for nothing. */
struct sim_price {
    int64_t input, output;
};

struct sim_billed {
    const char *outcome;
    const struct sim_model *model;
    const struct sim_reply *answer;
    uint64_t number; /* Of requests so far. */
    unsigned status;
    bool stream, with_usage;
    uint32_t choices, tokens_in, tokens_out; /* Output of all choices together. */
    const struct sim_price *price;
};

/* "sim-strong=2500/10000,sim-weak=150/600": nano-USD a token of input and output. Models that are
 * not named keep what they have. */
int sim_prices_parse(const char *text, struct sim_price io_prices[SIM_MODEL_COUNT],
                     struct err *err) MUST_CHECK;

int sim_ledger_open(const char *path, int *out_fd, struct err *err) MUST_CHECK;
/* Returns what was billed, nano-USD. fd below 0: nothing is written. */
int64_t sim_ledger_write(int fd, const struct sim_billed *b);

#endif
