/* openai.h: the adapter of the OpenAI chat completions dialect (and of all that imitate it). The
 * same dialect is spoken by callers, so bodies pass through: only model and stream_options change
 * on the way up, only model (and a usage member the caller asked for) on the way down. Pure. */
#ifndef STEELYARD_DATAPLANE_LLM_OPENAI_H
#define STEELYARD_DATAPLANE_LLM_OPENAI_H

#include "dataplane/llm/provider.h"

extern const struct provider_adapter provider_openai;

/* json: empty, or with a scan begun and fed from this body while it arrived. */
int openai_read_call(struct json *json, struct str body, struct arena *arena, struct call *out_call,
                     struct call_refusal *out_refusal) MUST_CHECK;
int openai_write_call(const struct call *call, struct str body, struct str upstream_model,
                      struct arena *arena, struct str *out_pieces, size_t *out_count) MUST_CHECK;
int openai_write_part(const struct call *call, struct str body, size_t end,
                      struct str upstream_model, struct arena *arena, struct str *out_pieces,
                      size_t *out_count) MUST_CHECK;
void openai_write_rest(const struct call *call, struct str body, size_t from,
                       struct str *out_pieces, size_t *out_count);
size_t openai_part_end(const struct json *json);
#define OPENAI_PART_PAD (sizeof(",\"stream_options\":{\"include_usage\":true}") - 1)
int openai_read_event(struct json *json, struct provider_reply *reply,
                      const struct sse_event *event, const struct provider_rewrite *rewrite,
                      struct provider_out *out, enum provider_event *out_kind) MUST_CHECK;
int openai_read_like(struct provider_reply *reply, struct str *io_input,
                     const struct provider_rewrite *rewrite, struct provider_out *out) MUST_CHECK;
int openai_read_reply(struct json *json, struct provider_reply *reply, struct str body,
                      const struct provider_rewrite *rewrite, struct arena *arena,
                      struct str *out_pieces, size_t *out_count) MUST_CHECK;

/* What a usage object says; not .known: it is none. An error member that is there and not null. */
struct call_usage openai_read_usage(const struct json *j, uint32_t node);
bool openai_has_error(const struct json *j);

/* The same without the short cut for what is usual (openai_usual.h): whatever they are given, both
 * do and say the same. */
int openai_read_event_strictly(struct json *json, struct provider_reply *reply,
                               const struct sse_event *event,
                               const struct provider_rewrite *rewrite, struct provider_out *out,
                               enum provider_event *out_kind) MUST_CHECK;
int openai_read_reply_strictly(struct json *json, struct provider_reply *reply, struct str body,
                               const struct provider_rewrite *rewrite, struct arena *arena,
                               struct str *out_pieces, size_t *out_count) MUST_CHECK;

#endif
