/* anthropic.h: the adapter of the Messages dialect. The same dialect is spoken by callers, so
 * bodies pass through: on the way up only `model` and, under a budget, `max_tokens` change; on the
 * way down only `model` (and a usage member the caller asked for); reasoning that was sealed on its
 * way from another dialect is taken out (anthropic_seals.c). Every other byte is kept, what
 * is unknown too: a prefix that changes by one byte is no longer in the provider's prompt cache,
 * and signed thinking is bound to it. Pure.
 *
 * Source: the Messages API as the SDKs of October 2026 have it (versions 2023-06-01, 2026-10-21).
 */
#ifndef STEELYARD_DATAPLANE_LLM_ANTHROPIC_H
#define STEELYARD_DATAPLANE_LLM_ANTHROPIC_H

#include "dataplane/llm/provider.h"

/* How the seal of opaque reasoning begins (dataplane/translate/seal.h). */
#define ANTHROPIC_SEAL "sy1."

/* Said in a body where the address says the model. */
#define ANTHROPIC_VERTEX_VERSION "vertex-2023-10-16"

extern const struct provider_adapter provider_anthropic;

/* json: empty, or with a scan begun and fed from this body while it arrived. */
int anthropic_read_call(struct json *json, struct str body, struct arena *arena,
                        struct call *out_call, struct call_refusal *out_refusal) MUST_CHECK;
/* The body of count_tokens: the same without max_tokens. call->tokens_in is our own count. */
int anthropic_read_count(struct json *json, struct str body, struct arena *arena,
                         struct call *out_call, struct call_refusal *out_refusal) MUST_CHECK;
int anthropic_write_call(const struct call *call, struct str body, struct str upstream_model,
                         struct arena *arena, struct str *out_pieces, size_t *out_count) MUST_CHECK;
int anthropic_read_event(struct json *json, struct provider_reply *reply,
                         const struct sse_event *event, const struct provider_rewrite *rewrite,
                         struct provider_out *out, enum provider_event *out_kind) MUST_CHECK;
int anthropic_read_like(struct provider_reply *reply, struct str *io_input,
                        const struct provider_rewrite *rewrite,
                        struct provider_out *out) MUST_CHECK;
int anthropic_read_reply(struct json *json, struct provider_reply *reply, struct str body,
                         const struct provider_rewrite *rewrite, struct arena *arena,
                         struct str *out_pieces, size_t *out_count) MUST_CHECK;

/* A stop_reason; OTHER for what is not known. */
enum call_finish anthropic_finish_of(struct str stop_reason);
/* Adds what a usage object says to what was said before: counts are cumulative, the last one of
 * each kind stands. Those of message_start are an estimate of the output, so u->known is set only
 * by a final one. Not an object: nothing. */
void anthropic_note_usage(struct call_usage *u, const struct json *j, uint32_t node, bool final);

#endif
