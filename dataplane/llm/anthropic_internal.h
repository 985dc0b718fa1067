/* anthropic_internal.h: what the files that read a Messages body share. */
#ifndef STEELYARD_DATAPLANE_LLM_ANTHROPIC_INTERNAL_H
#define STEELYARD_DATAPLANE_LLM_ANTHROPIC_INTERNAL_H

#include "dataplane/llm/anthropic.h"
#include "dataplane/llm/edit.h"
#include "dataplane/llm/reading.h"

/* Readers of the fields "messages" and "system". */
int anthropic_read_messages(struct call_reading *r, uint32_t node) MUST_CHECK;
int anthropic_read_system(struct call_reading *r, uint32_t node) MUST_CHECK;

/* Something a person said: not the results of tools alone, which come as the user's turn too. */
bool anthropic_has_own_words(const struct json *j, uint32_t content);

/* A block of reasoning that another dialect's provider made, as we handed it out. */
bool anthropic_is_sealed(const struct json *j, uint32_t block);
struct anthropic_seals {
    struct edit *edits;
    size_t room;
    size_t count;      /* That there are, whatever the room. */
    bool thinking_off; /* One of them switches it off. */
};
/* What takes such blocks out of a body. */
void anthropic_edit_seals(const struct json *j, struct anthropic_seals *s);

#endif
