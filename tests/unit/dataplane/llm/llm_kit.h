/* llm_kit.h: what tests of adapters share: a reader's memory, one body read, one stream fed. */
#ifndef STEELYARD_TESTS_UNIT_DATAPLANE_LLM_LLM_KIT_H
#define STEELYARD_TESTS_UNIT_DATAPLANE_LLM_LLM_KIT_H

#include "dataplane/llm/openai_shape.h"
#include "dataplane/llm/provider.h"

#define LLM_KIT_KINDS_MAX 64

struct llm_kit {
    struct arena_pool pool;
    struct arena arena;
    struct json json;
    struct call call;
    struct call_refusal refusal;
    struct str body;
    struct provider_reply reply;
    struct openai_shapes shapes;
    struct provider_out pieces; /* Of the last feed. */
    struct buf out;             /* Of all feeds since start. */
    struct buf gathered;
    enum provider_event kinds[LLM_KIT_KINDS_MAX];
    size_t count;
};

int llm_kit_setup(void **state);
int llm_kit_teardown(void **state);
/* All memory of the arena so far is gone. */
int llm_kit_read(struct llm_kit *k, const struct provider_adapter *adapter, const char *body);
/* The same of a text with ' where JSON has ". */
int llm_kit_read_quotes(struct llm_kit *k, const struct provider_adapter *adapter,
                        const char *body);
/* What a read came to; param NULL: none is named. */
void llm_kit_assert_refused(const struct llm_kit *k, int rc, enum call_defect defect,
                            const char *param);
void llm_kit_start(struct llm_kit *k);
/* One read of a stream. */
void llm_kit_feed(struct llm_kit *k, const struct provider_adapter *adapter, struct str input,
                  const struct provider_rewrite *rewrite);
/* The halves of it, for a reader of another kind: note each event in between. */
void llm_kit_feed_begin(struct llm_kit *k);
void llm_kit_note(struct llm_kit *k, enum provider_event kind);
void llm_kit_feed_end(struct llm_kit *k);

#endif
