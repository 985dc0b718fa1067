/* pattern.h: regular expressions of conditions, over PCRE2 (pcre2api(3)), in the meaning that
 * JavaScript gives them where the two differ. Both sides may be hostile: a pattern is short, its
 * program is small, and matching counts every step of the program and ends when too many were
 * taken. What was given up matches nothing.
 *
 * A compiled pattern is constant: any number of threads may match it, each with a room of its own.
 */
#ifndef STEELYARD_COMMON_ROUTE_PATTERN_H
#define STEELYARD_COMMON_ROUTE_PATTERN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/base/str.h"

#define PATTERN_BYTES_MAX   256U
#define PATTERN_PROGRAM_MAX 16384U /* Bytes of one compiled pattern. */
#define PATTERN_TEXT_MAX    1024U  /* A longer text matches nothing. */
#define PATTERN_STEPS_MAX   5000U  /* Of all matching for one request. */

struct pattern;
struct pattern_room;

/* Lies in the arena. ERR_INVALID: it is none, or too large; *out_problem (may be NULL) is then a
 * text for people, in the arena. ERR_NOMEM. */
int pattern_compile(struct str text, struct arena *arena, const struct pattern **out,
                    const char **out_problem) MUST_CHECK;

/* What matching needs; one thread's. Its memory does not grow beyond 64 KiB. */
struct pattern_room *pattern_room_create(void) MUST_CHECK; /* NULL: no memory. */
void pattern_room_destroy(struct pattern_room *room);      /* NULL is allowed. */
/* Before a request's conditions: its steps are counted from 0. */
void pattern_room_begin(struct pattern_room *room);
/* Since begin: was something given up, for its length, its steps or for memory? */
bool pattern_room_gave_up(const struct pattern_room *room);

/* Is there a match anywhere in the text? */
bool pattern_matches(const struct pattern *p, struct str text, struct pattern_room *room);

#endif
