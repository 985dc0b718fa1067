/* simulator.h: a provider that is simulated and says so, for trials and tests. Speaks the OpenAI
 * chat dialect (whole and as a stream) and GET /v1/models; breaks on request; keeps a ledger.
 *
 *   POST /v1/chat/completions   GET /v1/models
 *   GET /simulator/stats        POST /simulator/faults {"error_rate": 0.1, ...}
 *   POST /simulator/machines {"first": 0, "count": 1}
 *
 * Every answer carries `x-simulated: true` and a system_fingerprint: "steelyard-simulator" of
 * machine 0, "steelyard-simulator.3" of machine 3. So many machines from the first on take turns;
 * they answer alike. One loop, one thread. */
#ifndef STEELYARD_DEPLOY_SIMULATOR_SIMULATOR_H
#define STEELYARD_DEPLOY_SIMULATOR_SIMULATOR_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "common/base/err.h"
#include "deploy/simulator/ledger.h"

/* Each request suffers at most one of these; parts per million, drawn per request from the seed and
 * the request's number. */
struct sim_faults {
    uint32_t error_ppm;      /* 500 instead of an answer. */
    uint32_t rate_limit_ppm; /* 429 with retry-after-ms. */
    uint32_t cut_ppm;        /* The connection is cut: streams after half of the words. */
    uint32_t slow_ppm;       /* slow_ms are added in front. */
    uint32_t no_usage_ppm;   /* An answer without usage. */
    uint32_t mute_ppm; /* Made and billed whole, and then the connection is cut: no byte comes. */
    uint32_t slow_ms;
};

struct sim_machines {
    uint32_t first;
    uint32_t count; /* 0: as 1. */
};

struct simulator_config {
    const char *address;
    const char *ledger_path;  /* NULL: none. Appended to, one JSON object a request. */
    uint64_t seed;            /* Of the models' mistakes and of the faults. */
    uint32_t latency_percent; /* 100: as in the table of models; 0: at once. */
    uint64_t token_bytes;     /* Bytes a token of input; 0: 4. */
    struct sim_price prices[SIM_MODEL_COUNT]; /* What its ledger bills. */
    struct sim_faults faults;
    struct sim_machines machines;
};

struct simulator_stats {
    uint64_t requests, complete, errors, rate_limited, cut, cancelled;
    uint64_t tokens_in, tokens_out;
    int64_t billed_nano; /* Also of what was cut or cancelled. */
};

struct simulator;
int simulator_start(uv_loop_t *loop, const struct simulator_config *config,
                    struct simulator **out_simulator, struct err *err) MUST_CHECK;
/* Cuts what runs; the simulator is gone when cb is called. cb may be NULL. */
void simulator_close(struct simulator *s, void (*cb)(void *arg), void *arg);
uint16_t simulator_port(const struct simulator *s);
struct simulator_stats simulator_stats(const struct simulator *s);

#endif
