/* anthropic_internal.h: what the files that read a Messages body share. */
#ifndef STEELYARD_DATAPLANE_LLM_ANTHROPIC_INTERNAL_H
#define STEELYARD_DATAPLANE_LLM_ANTHROPIC_INTERNAL_H

#include "dataplane/llm/anthropic.h"
#include "dataplane/llm/reading.h"

/* Readers of the fields "messages" and "system". */
int anthropic_read_messages(struct call_reading *r, uint32_t node) MUST_CHECK;
int anthropic_read_system(struct call_reading *r, uint32_t node) MUST_CHECK;

#endif
