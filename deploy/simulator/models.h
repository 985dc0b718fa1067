/* models.h: the simulated models: who is good at what, how wordy, how fast. The one table from
 * which the provider answers, /v1/models lists and the reference is read. Pure; thread-safe. */
#ifndef STEELYARD_DEPLOY_SIMULATOR_MODELS_H
#define STEELYARD_DEPLOY_SIMULATOR_MODELS_H

#include "deploy/simulator/tasks.h"

/* Per mille right at difficulty 1 and at TASK_DIFFICULTY_MAX; in a straight line between. */
struct sim_skill {
    uint16_t easy, hard;
};

struct sim_model {
    const char *id;
    const char *summary;
    struct sim_skill skill[TASK_FAMILY_COUNT];
    uint32_t ttft_ms;
    uint32_t token_us; /* Time per output token. */
    uint32_t words;    /* Of explanation before the answer line. */
};

extern const struct sim_model sim_models[];
#define SIM_MODEL_COUNT 6U
const struct sim_model *sim_model_find(struct str id); /* NULL: not ours. */

struct sim_reply {
    bool known;   /* The prompt held a task. */
    bool correct; /* The model got it right. */
    struct task_solution solution;
    char answer[TASK_ANSWER_BYTES]; /* What it says. */
    char nonce[65];                 /* From a prompt that begins with "Nonce X."; else "". */
};
/* The same model, prompt and seed give the same reply. */
void sim_model_answer(const struct sim_model *m, struct str prompt, uint64_t seed,
                      struct sim_reply *out);

#endif
