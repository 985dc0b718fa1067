/* plain.h: adapters of what is no dialogue: embeddings, completions of a text, moderations,
 * reranking and the counting of tokens. Each has one form that callers and providers share, so
 * bodies pass through: on the way up only `model` changes (and, for completions, what chat
 * completions have changed), on the way down only `model`. Pure.
 *
 * Sources: the OpenAI API as its SDKs of October 2026 have it; /rerank as Cohere (v2), Jina and
 * Together have it; /v1/messages/count_tokens of Anthropic. */
#ifndef STEELYARD_DATAPLANE_LLM_PLAIN_H
#define STEELYARD_DATAPLANE_LLM_PLAIN_H

#include "dataplane/llm/provider.h"

/* Where a reply does not say what was used, it took no money: moderations, counts; else it is not
 * .known, and our own estimate holds. */
extern const struct provider_adapter provider_embeddings;
extern const struct provider_adapter provider_completions; /* Streams, too. */
extern const struct provider_adapter provider_moderations;
extern const struct provider_adapter provider_rerank;
extern const struct provider_adapter provider_count_tokens;

#endif
