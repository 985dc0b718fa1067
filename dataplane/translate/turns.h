/* turns.h: the dialogue as a provider takes it: who may follow whom, where results stand, which ids
 * calls have, whose reasoning goes back. A pure pass over the neutral turns; what it changes is
 * noted, and with no_repair refused instead. */
#ifndef STEELYARD_DATAPLANE_TRANSLATE_TURNS_H
#define STEELYARD_DATAPLANE_TRANSLATE_TURNS_H

#include "dataplane/translate/dialects.h"
#include "dataplane/translate/ids.h"

/* Which reasoning stays in turns of the assistant. */
enum tr_replay {
    TR_REPLAY_NONE,
    TR_REPLAY_SIGNED, /* Of `vendor`, and of the target's maker, with signature or opaque. */
    TR_REPLAY_TEXT,   /* Any that has a text (hosts with reasoning_content). */
};

struct tr_turns_options {
    bool merge;             /* Roles alternate: neighbours of one role are one turn. */
    bool tool_turns;        /* Results stand in turns of TR_TOOL; else first in a user's turn. */
    bool text_results;      /* Results hold text alone; pictures and files in them go into a user's
                             * turn behind. */
    bool user_first;        /* The first turn is the user's (and there is one). */
    bool drop_empty;        /* Texts that are empty (and results' too) go ... */
    bool trim_last;         /* ... and blanks at the end of a last text of the assistant. */
    bool text_before_calls; /* In a run between reasonings (anthropic). */
    enum tr_replay replay;
    enum dialect vendor;
    enum tr_id_class id_class;
};
struct tr_turns {
    struct tr_turn *turns;
    uint32_t count;
    bool ends_in_assistant; /* A prefill. */
    bool calls;             /* There are calls or results somewhere. */
    /* A turn of the assistant with calls, since the last text of a user, does not begin with
     * reasoning of the vendor: anthropic takes it with thinking off alone. */
    bool unsigned_calls;
};

/* Always: a result follows its call at once, results stand in the order of calls, have the name of
 * their tool, and ids that agree; a missing one is filled in ("no result", is_error), one without a
 * call becomes text. Refusals name messages in the words of chat completions.
 * ERR_INVALID with *refusal, ERR_TOO_LARGE (the arena's ceiling). */
int tr_turns_prepare(const struct tr_request *request, const struct tr_turns_options *options,
                     const struct tr_target *target, struct arena *arena, struct tr_terms *terms,
                     struct call_refusal *refusal, struct tr_turns *out) MUST_CHECK;

/* The texts of parts joined by blank lines ("\n\n"), in the arena (or the part's own if there is
 * but one); for dialects that have one string. Parts that are no text are left out. */
int tr_parts_text(const struct tr_part *parts, uint32_t count, struct arena *arena,
                  struct str *out) MUST_CHECK;
/* Cache marks of the request, at most TR_CACHE_MARKS_MAX: how many of the earliest (tools first,
 * then system, then turns) are to be left out. */
uint32_t tr_marks_to_drop(const struct tr_request *request, const struct tr_turns *turns);

#endif
