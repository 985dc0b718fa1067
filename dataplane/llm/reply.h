/* reply.h: what the readers of replies share. Private to this folder. */
#ifndef STEELYARD_DATAPLANE_LLM_REPLY_H
#define STEELYARD_DATAPLANE_LLM_REPLY_H

#include "dataplane/llm/provider.h"

/* A count of a usage object; 0 if it is missing or null, and *usage suspect if it is none. */
uint64_t reply_count(const struct json *j, uint32_t object, struct str key,
                     struct call_usage *usage);
/* Adds a string's text to what was seen of the content. False: no string, or empty. */
bool reply_text(struct provider_reply *reply, const struct json *j, uint32_t node);
/* The "model" of an object, if it has one and nothing was noted before. */
void reply_note_model(struct provider_reply *reply, const struct json *j, uint32_t object);

#endif
