#include "deploy/simulator/models.h"

#include <stdio.h>

#include "common/base/hash.h"

#define NONCE_BYTES_MAX 64U

const struct sim_model sim_models[SIM_MODEL_COUNT] = {
    {.id = "sim-strong",
     .summary = "right about nearly everything, dear and slow",
     .skill = {[TASK_ARITHMETIC] = {990, 960},
               [TASK_DATES] = {985, 955},
               [TASK_TEXT] = {985, 950},
               [TASK_UNITS] = {990, 960},
               [TASK_LOOKUP] = {990, 965},
               [TASK_LOGIC] = {985, 950}},
     .ttft_ms = 90,
     .token_us = 1500,
     .words = 44},
    {.id = "sim-large",
     .summary = "good all round, weaker where a chain is long",
     .skill = {[TASK_ARITHMETIC] = {980, 820},
               [TASK_DATES] = {960, 780},
               [TASK_TEXT] = {960, 840},
               [TASK_UNITS] = {980, 880},
               [TASK_LOOKUP] = {980, 920},
               [TASK_LOGIC] = {970, 890}},
     .ttft_ms = 60,
     .token_us = 1000,
     .words = 36},
    {.id = "sim-math",
     .summary = "a specialist for numbers and dates",
     .skill = {[TASK_ARITHMETIC] = {990, 950},
               [TASK_DATES] = {970, 930},
               [TASK_TEXT] = {600, 250},
               [TASK_UNITS] = {985, 950},
               [TASK_LOOKUP] = {850, 550},
               [TASK_LOGIC] = {650, 350}},
     .ttft_ms = 45,
     .token_us = 800,
     .words = 30},
    {.id = "sim-text",
     .summary = "a specialist for words and tables",
     .skill = {[TASK_ARITHMETIC] = {600, 200},
               [TASK_DATES] = {400, 150},
               [TASK_TEXT] = {980, 940},
               [TASK_UNITS] = {600, 300},
               [TASK_LOOKUP] = {985, 940},
               [TASK_LOGIC] = {800, 500}},
     .ttft_ms = 40,
     .token_us = 700,
     .words = 24},
    {.id = "sim-small",
     .summary = "cheap, good at what is easy",
     .skill = {[TASK_ARITHMETIC] = {950, 400},
               [TASK_DATES] = {850, 350},
               [TASK_TEXT] = {900, 450},
               [TASK_UNITS] = {950, 550},
               [TASK_LOOKUP] = {960, 650},
               [TASK_LOGIC] = {930, 400}},
     .ttft_ms = 30,
     .token_us = 400,
     .words = 18},
    {.id = "sim-weak",
     .summary = "the cheapest, often wrong",
     .skill = {[TASK_ARITHMETIC] = {800, 120},
               [TASK_DATES] = {600, 100},
               [TASK_TEXT] = {700, 150},
               [TASK_UNITS] = {820, 250},
               [TASK_LOOKUP] = {850, 300},
               [TASK_LOGIC] = {700, 200}},
     .ttft_ms = 20,
     .token_us = 250,
     .words = 12},
};

const struct sim_model *sim_model_find(struct str id)
{
    for (size_t i = 0; i < SIM_MODEL_COUNT; i++)
        if (str_is(id, sim_models[i].id))
            return &sim_models[i];
    return NULL;
}

/* "Nonce X. " in front of a prompt comes back in the answer, so that a client can see that it got
 * its own. */
static struct str take_nonce(struct str prompt, char out[65])
{
    out[0] = '\0';
    if (!str_starts(prompt, STR("Nonce ")))
        return prompt;
    struct str rest = str_slice(prompt, 6, prompt.len);
    ptrdiff_t end = str_search(rest, STR(". "));
    if (end <= 0 || (size_t)end > NONCE_BYTES_MAX)
        return prompt;
    struct str nonce = str_slice(rest, 0, (size_t)end);
    for (size_t i = 0; i < nonce.len; i++) {
        char c = nonce.data[i];
        if (c <= ' ' || c == '"' || c == '\\' || (unsigned char)c >= 127)
            return prompt;
    }
    if (!str_copy(nonce, out, NONCE_BYTES_MAX + 1))
        return prompt;
    return str_slice(rest, (size_t)end + 2, rest.len);
}

static uint64_t draw(const struct sim_model *m, struct str prompt, uint64_t seed)
{
    struct siphash_key key = {.k0 = seed, .k1 = 0x7374656c79617264ULL};
    uint64_t of_model = siphash_2_4(key, m->id, str_from(m->id).len);
    key.k1 ^= of_model;
    return siphash_2_4(key, prompt.data, prompt.len);
}

void sim_model_answer(const struct sim_model *m, struct str prompt, uint64_t seed,
                      struct sim_reply *out)
{
    struct str question = take_nonce(prompt, out->nonce);
    out->known = task_solve(question, &out->solution);
    out->correct = false;
    if (!out->known) {
        snprintf(out->answer, sizeof(out->answer), "none");
        return;
    }
    struct sim_skill s = m->skill[out->solution.family];
    uint32_t step = out->solution.difficulty - 1;
    uint32_t per_mille = s.easy - (uint32_t)(s.easy - s.hard) * step / (TASK_DIFFICULTY_MAX - 1);
    uint64_t hash = draw(m, question, seed);
    out->correct = hash % 1000 < per_mille;
    if (out->correct)
        snprintf(out->answer, sizeof(out->answer), "%s", out->solution.answer);
    else
        task_mistake(&out->solution, hash >> 20, out->answer);
}
