/* responses_internal.h: what the files that read a Responses body share. */
#ifndef STEELYARD_DATAPLANE_LLM_RESPONSES_INTERNAL_H
#define STEELYARD_DATAPLANE_LLM_RESPONSES_INTERNAL_H

#include "dataplane/llm/edit.h"
#include "dataplane/llm/reading.h"
#include "dataplane/llm/responses.h"

/* The reader of the field "input": a text, or items. */
int responses_read_input(struct call_reading *r, uint32_t node);

#endif
