/* effort.h: how much a model is to reason, in words and in tokens (PROVIDER-TRANSLATION section 6).
 * Pure. */
#ifndef STEELYARD_DATAPLANE_TRANSLATE_EFFORT_H
#define STEELYARD_DATAPLANE_TRANSLATE_EFFORT_H

#include "dataplane/translate/neutral.h"

#define TR_BUDGET_MIN    1024 /* That anthropic takes. */
#define TR_EFFORT_BIT(e) (1U << (unsigned)(e))

const char *tr_effort_name(enum tr_effort e); /* "high"; "" for UNSET. */
enum tr_effort tr_effort_of(struct str name); /* UNSET: no such one. */

/* 0 for NONE; 1024, 2048, 8192, 16384, 32768. */
int64_t tr_effort_budget(enum tr_effort e);
/* The highest effort whose budget is not above this one; NONE for 0; MINIMAL for less than that. */
enum tr_effort tr_effort_of_budget(int64_t tokens);
/* The nearest below among allowed (TR_EFFORT_BITs; 0: all), else the lowest there is. NONE counts
 * as below only if nothing else is: who asks to reason is not given none. */
enum tr_effort tr_effort_clip(enum tr_effort want, uint32_t allowed);

/* What a request says, in either way: an effort, or tokens, or nothing. A request that only says
 * "reason as you see fit" is UNSET / TR_UNSET. */
enum tr_effort tr_effort_asked(const struct tr_request *request);
int64_t tr_budget_asked(const struct tr_request *request);
/* Between min and max (0: none), and below max_output (TR_UNSET: unknown). Less than min where
 * there is no room for it: then no reasoning is to be asked for, and 0 is returned. */
int64_t tr_budget_clip(int64_t tokens, int64_t min, int64_t max, int64_t max_output);

#endif
