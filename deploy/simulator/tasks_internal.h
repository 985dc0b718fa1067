/* tasks_internal.h: what the families share: a writer that cannot overflow and a reader of prose.
 */
#ifndef STEELYARD_DEPLOY_SIMULATOR_TASKS_INTERNAL_H
#define STEELYARD_DEPLOY_SIMULATOR_TASKS_INTERNAL_H

#include "deploy/simulator/tasks.h"

struct task_text {
    char *out;
    size_t size;
    size_t len;
};
void task_put(struct task_text *t, const char *format, ...) PRINTF_LIKE(2, 3);

/* Moves *io_s behind the first occurrence of literal; false and unmoved without one. */
bool scan_after(struct str *io_s, const char *literal);
bool scan_literal(struct str *io_s, const char *literal); /* At the front only. */
void scan_spaces(struct str *io_s);
bool scan_i64(struct str *io_s, int64_t *out);
bool scan_word(struct str *io_s, struct str *out);   /* Letters. */
bool scan_quoted(struct str *io_s, struct str *out); /* Next '...' anywhere ahead. */

struct task_family_row {
    void (*generate)(struct task_rng *r, unsigned level, struct task_text *prompt,
                     struct task_text *answer);
    bool (*solve)(struct str prompt, unsigned *out_difficulty, struct task_text *answer);
};
extern const struct task_family_row task_arithmetic;
extern const struct task_family_row task_dates;
extern const struct task_family_row task_words;
extern const struct task_family_row task_units;
extern const struct task_family_row task_lookup;
extern const struct task_family_row task_logic;

extern const char *const task_nouns[]; /* Lower-case words without repetition. */
#define TASK_NOUN_COUNT 40U

#endif
