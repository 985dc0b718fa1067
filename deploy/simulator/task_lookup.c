/* Questions about a small table that stands in the prompt. */
#include "deploy/simulator/tasks_internal.h"

#define ENTRIES_MAX 16U

struct entry {
    struct str key;
    int64_t value;
};

static size_t scan_table(struct str *s, struct entry *out)
{
    size_t n = 0;
    if (!scan_after(s, "Given the table "))
        return 0;
    while (n < ENTRIES_MAX && scan_word(s, &out[n].key) && scan_literal(s, "=") &&
           scan_i64(s, &out[n].value)) {
        n++;
        if (!scan_literal(s, ","))
            break;
    }
    return n;
}

static bool solve(struct str prompt, unsigned *out_difficulty, struct task_text *answer)
{
    struct entry table[ENTRIES_MAX];
    struct str s = prompt, key;
    size_t n = scan_table(&s, table);
    if (n == 0)
        return false;
    *out_difficulty = (unsigned)(n / 3 + 1);
    struct str question = s;
    if (scan_after(&question, "what is the value of ") && scan_word(&question, &key)) {
        for (size_t i = 0; i < n; i++)
            if (str_eq(table[i].key, key))
                task_put(answer, "%lld", (long long)table[i].value);
        return true;
    }
    size_t best = 0;
    int64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += table[i].value;
        best = table[i].value > table[best].value ? i : best;
    }
    if (str_search(s, STR("which key has the largest value")) >= 0) {
        task_put(answer, "%.*s", STR_ARG(table[best].key));
        return true;
    }
    if (str_search(s, STR("what is the sum of all values")) < 0)
        return false;
    *out_difficulty += 1;
    task_put(answer, "%lld", (long long)sum);
    return true;
}

static void generate(struct task_rng *r, unsigned level, struct task_text *prompt,
                     struct task_text *answer)
{
    unsigned n = 2 * level + 1;
    uint64_t first = task_rng_below(r, TASK_NOUN_COUNT), values[11], sum = 0;
    uint64_t base = 1 + task_rng_below(r, 50);
    const char *keys[11];
    unsigned largest = 0;
    task_put(prompt, "Given the table ");
    for (unsigned i = 0; i < n; i++) {
        keys[i] = task_nouns[(first + i * 7) % TASK_NOUN_COUNT]; /* 7 and 40 share no factor. */
        values[i] = base + 13 * ((first + i * 5) % 37);          /* All different. */
        sum += values[i];
        largest = values[i] > values[largest] ? i : largest;
        task_put(prompt, "%s%s=%llu", i > 0 ? ", " : "", keys[i], (unsigned long long)values[i]);
    }
    unsigned pick = (unsigned)task_rng_below(r, n);
    switch (task_rng_below(r, 3)) {
    case 0:
        task_put(prompt, ": what is the value of %s?", keys[pick]);
        task_put(answer, "%llu", (unsigned long long)values[pick]);
        return;
    case 1:
        task_put(prompt, ": which key has the largest value?");
        task_put(answer, "%s", keys[largest]);
        return;
    default: /* The third of three. */
        task_put(prompt, ": what is the sum of all values?");
        task_put(answer, "%llu", (unsigned long long)sum);
        return;
    }
}

const struct task_family_row task_lookup = {.generate = generate, .solve = solve};
