/* openai_internal.h: what the files that read a chat completion body share. */
#ifndef STEELYARD_DATAPLANE_LLM_OPENAI_INTERNAL_H
#define STEELYARD_DATAPLANE_LLM_OPENAI_INTERNAL_H

#include "dataplane/llm/edit.h"
#include "dataplane/llm/openai.h"
#include "dataplane/llm/reading.h"

/* Asks for the usage event of a stream whose caller did not. 0: nothing to change, else 1. */
size_t openai_stream_edit(const struct call *call, struct edit *out_edit);

/* The readers of the fields "messages", "stream_options" and so on. */
int openai_read_messages(struct call_reading *r, uint32_t node);
int openai_read_stream_options(struct call_reading *r, uint32_t node);
int openai_read_n(struct call_reading *r, uint32_t node);
int openai_read_best_of(struct call_reading *r, uint32_t node);

#endif
