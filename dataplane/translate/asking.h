/* asking.h: what requests for providers of several dialects have alike: where the printing of one
 * stands, and the fields whose bounds are data (hosts.h, quirks.h). Pure. */
#ifndef STEELYARD_DATAPLANE_TRANSLATE_ASKING_H
#define STEELYARD_DATAPLANE_TRANSLATE_ASKING_H

#include "common/json/json_writer.h"
#include "dataplane/translate/notes.h"
#include "dataplane/translate/quirks.h"

/* Where the printing of a request stands. All are borrowed. */
struct tr_asking {
    const struct tr_request *request;
    const struct tr_target *target;
    struct arena *arena;
    struct tr_terms *terms;
    struct call_refusal *refusal;
    struct json_writer *w;
};
static inline bool tr_host_has(const struct tr_target *t, enum host_quirk quirk)
{
    return (t->host->quirks & (uint32_t)quirk) != 0;
}
static inline bool tr_target_has(const struct tr_target *t, enum tr_quirk quirk)
{
    return tr_quirks_has(t->quirks, quirk);
}

/* Fields that a dialect, or a model, has no word for: tr_drop of each that is given. */
struct tr_loss {
    bool given;
    const char *param;
};
int tr_drop_given(const struct tr_target *target, struct tr_terms *terms,
                  struct call_refusal *refusal, const struct tr_loss *rows,
                  size_t count) MUST_CHECK;
bool tr_asks_logprobs(const struct tr_request *request);

/* Tokens of output to ask for; TR_UNSET: none are said. What the caller said is cut to what the
 * model gives and raised to min, and either is noted; the target's clamp goes before all. */
int64_t tr_ask_output(const struct tr_request *request, const struct tr_target *target,
                      struct tr_terms *terms, int64_t min);
/* What reasoning has to fit into: the least of what the caller said and the clamp; TR_UNSET:
 * nothing is known. */
int64_t tr_room_for_reasoning(const struct tr_request *request, const struct tr_target *target);
/* An array of the first stops, at most that many; that there are more is noted. */
void tr_put_stops(struct json_writer *w, const char *key, const struct tr_request *request,
                  uint32_t most, struct tr_terms *terms);
/* May temperature and top_p be said (TR_QUIRK_NO_SAMPLING); both of them (TR_QUIRK_ONE_SAMPLING).
 */
bool tr_takes_temperature(const struct tr_request *request, const struct tr_target *target);
bool tr_takes_top_p(const struct tr_request *request, const struct tr_target *target);
/* tr_effort_clip to what the model takes; a change of what was asked is noted. */
enum tr_effort tr_ask_effort(enum tr_effort asked, const struct tr_target *target,
                             struct tr_terms *terms);

/* The choice, but auto, noted, where the model lets no tool be forced. */
enum tr_choice tr_ask_choice(const struct tr_request *request, const struct tr_target *target,
                             struct tr_terms *terms);
bool tr_is_named(const struct tr_request *request, const struct tr_tool *tool);
/* Is the tool that the choice names a custom one (that went as such)? */
bool tr_names_custom(const struct tr_request *request);
/* ERR_INVALID: the choice names a tool that there is not. */
int tr_check_choice(const struct tr_request *request, struct call_refusal *refusal) MUST_CHECK;
/* Of one without a schema: an object of no properties. */
struct str tr_tool_schema(const struct tr_tool *tool);

#endif
