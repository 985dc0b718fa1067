/* tasks.h: small tasks whose right answer can be computed, for the simulated provider and the
 * workload that is sent through the gateway.
 *
 * Two independent halves: task_generate makes a prompt and knows its answer because it made it;
 * task_solve knows nothing but the prompt's text, parses it and computes the answer. The unit tests
 * hold them against each other. Pure; thread-safe. */
#ifndef STEELYARD_DEPLOY_SIMULATOR_TASKS_H
#define STEELYARD_DEPLOY_SIMULATOR_TASKS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/str.h"

#define TASK_PROMPT_BYTES   1024
#define TASK_ANSWER_BYTES   96
#define TASK_DIFFICULTY_MAX 5U

/* X(name, text): text is what a caller puts into `x-steelyard-tags: task=...`. */
#define TASK_FAMILY_TABLE(X)                                                                       \
    X(ARITHMETIC, "arithmetic")                                                                    \
    X(DATES, "dates")                                                                              \
    X(TEXT, "text")                                                                                \
    X(UNITS, "units")                                                                              \
    X(LOOKUP, "lookup")                                                                            \
    X(LOGIC, "logic")

enum task_family {
#define X(name, text) TASK_##name,
    TASK_FAMILY_TABLE(X)
#undef X
        TASK_FAMILY_COUNT
};
const char *task_family_name(enum task_family family);

/* Repeatable draws (SplitMix64, Steele, Lea and Flood 2014): the same seed gives the same tasks. */
struct task_rng {
    uint64_t state;
};
uint64_t task_rng_next(struct task_rng *r);
uint64_t task_rng_below(struct task_rng *r, uint64_t bound); /* bound > 0. */

struct task {
    enum task_family family;
    char prompt[TASK_PROMPT_BYTES];
    char answer[TASK_ANSWER_BYTES];
};
/* level 1..TASK_DIFFICULTY_MAX: how large the task is made. */
void task_generate(struct task_rng *r, enum task_family family, unsigned level, struct task *out);

struct task_solution {
    enum task_family family;
    unsigned difficulty; /* 1..TASK_DIFFICULTY_MAX, read off the task itself. */
    char answer[TASK_ANSWER_BYTES];
};
/* False: the text holds no task of these families. */
bool task_solve(struct str prompt, struct task_solution *out);

/* What someone who slipped would say: never the right answer, the same for the same hash. */
void task_mistake(const struct task_solution *right, uint64_t hash, char out[TASK_ANSWER_BYTES]);

/* A reply's last line "Answer: ..." (case of the answer and a closing full stop do not count). */
bool task_grade(const char *answer, struct str reply);

#endif
