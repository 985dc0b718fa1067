/* responses.h: the adapter of the OpenAI Responses dialect where caller and provider both speak it.
 * On the way up only model changes, and max_output_tokens where a budget clamps it; usage always
 * comes unasked. On the way down only response.model (and a usage member the caller asked for).
 *
 * What refers to state that a provider keeps (previous_response_id, conversation, prompt,
 * background, references to items and files) and hosted tools bind a call to this dialect (struct
 * call, bound_to); tools of a host make its price vary. Pure. */
#ifndef STEELYARD_DATAPLANE_LLM_RESPONSES_H
#define STEELYARD_DATAPLANE_LLM_RESPONSES_H

#include "dataplane/llm/provider.h"

extern const struct provider_adapter provider_responses;

/* Items of answers that were translated are named by us: "rs_sy1_...". No provider knows them, so a
 * reference to one of reasoning is left out on the way up, as reasoning under our seal is, and one
 * to any other item is refused: its text is not kept. */
#define RESPONSES_OWN_ID "sy1_"

/* An event may hold the whole answer, with instructions and tools. */
#define RESPONSES_EVENT_BYTES_MAX (16U << 20)

int responses_read_call(struct json *json, struct str body, struct arena *arena,
                        struct call *out_call, struct call_refusal *out_refusal) MUST_CHECK;
int responses_write_call(const struct call *call, struct str body, struct str upstream_model,
                         struct arena *arena, struct str *out_pieces, size_t *out_count) MUST_CHECK;
/* The events that end a good stream (response.completed, response.incomplete) are put into
 * reply->end and are PROVIDER_DONE, or PROVIDER_CONTENT if nothing a caller would read came before:
 * then they are what commits the stream. response.failed and error are PROVIDER_ERROR. */
int responses_read_event(struct json *json, struct provider_reply *reply,
                         const struct sse_event *event, const struct provider_rewrite *rewrite,
                         struct provider_out *out, enum provider_event *out_kind) MUST_CHECK;
int responses_read_reply(struct json *json, struct provider_reply *reply, struct str body,
                         const struct provider_rewrite *rewrite, struct arena *arena,
                         struct str *out_pieces, size_t *out_count) MUST_CHECK;

/* Of a response object: its usage (not .known: it has none), and how it ended. */
struct call_usage responses_read_usage(const struct json *j, uint32_t node);
enum call_finish responses_read_finish(const struct json *j, uint32_t response);

/* What a stream that broke ends with: response.failed with the next sequence number. seen: of a
 * stream that passed through, reply->responses. NULL: no event came; then, as where it has no id,
 * the response goes by other_id. code: one of the dialect's ("server_error", ...). */
int responses_write_failed(const struct responses_seen *seen, struct str other_id, struct str model,
                           const char *code, struct str message, struct buf *out) MUST_CHECK;

#endif
