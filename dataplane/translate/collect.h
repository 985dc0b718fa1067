/* collect.h: a whole reply out of its events, for print_answer. Texts are copied, so events may
 * point to what is gone with the next one. */
#ifndef STEELYARD_DATAPLANE_TRANSLATE_COLLECT_H
#define STEELYARD_DATAPLANE_TRANSLATE_COLLECT_H

#include "common/base/arena.h"
#include "dataplane/translate/neutral.h"

struct tr_collect { /* Private fields. */
    struct arena *arena;
    struct tr_collected *first, *last; /* Parts in the order of their beginning. */
    struct tr_choice_answer choices[CALL_CHOICES_MAX];
    uint32_t choice_count;
    uint32_t part_count;
    struct call_usage usage;
    bool done;
};

void tr_collect_init(struct tr_collect *c, struct arena *arena);
/* As a sink's put. ERR_TOO_LARGE: the arena's ceiling, or too many parts or choices. Errors and
 * pings are not its business. */
int tr_collect_put(struct tr_collect *c, const struct tr_event *event) MUST_CHECK;
/* The answer; lives in c and in the arena. At least one choice. */
int tr_collect_finish(struct tr_collect *c, struct tr_answer *out) MUST_CHECK;

#endif
