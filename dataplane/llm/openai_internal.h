/* openai_internal.h: what the files that read a chat completion body share. */
#ifndef STEELYARD_DATAPLANE_LLM_OPENAI_INTERNAL_H
#define STEELYARD_DATAPLANE_LLM_OPENAI_INTERNAL_H

#include <string.h>

#include "dataplane/llm/openai.h"
#include "dataplane/llm/tokens.h"

struct openai_reading {
    const struct json *json;
    struct arena *arena;
    struct call *call;
    struct call_refusal *refusal;
    uint32_t user_content;   /* Of the last user message. */
    uint32_t system_content; /* Of the first system or developer message. */
    uint64_t tokens_q8;
    uint64_t image_bytes;   /* Of the body: they are no text. */
    int64_t max_completion; /* -1: not given. */
};

/* Notes why the body is refused and, unless JSON_NONE, at which node; returns the code. */
int openai_refuse(struct openai_reading *r, enum call_defect defect, uint32_t node,
                  const char *message);

/* A place where a body is changed on its way up. */
struct openai_edit {
    uint32_t at;
    uint32_t cut; /* Bytes of the body that go. */
    struct str put;
};
/* Asks for the usage event of a stream whose caller did not. 0: nothing to change, else 1. */
size_t openai_stream_edit(const struct call *call, struct openai_edit *out_edit);
/* The model's name, quoted. */
int openai_model_edit(const struct call *call, struct str upstream_model, struct arena *arena,
                      struct openai_edit *out_edit);

/* The reader of the field "messages", and what it found in them: the texts that features are made
 * of. false: no memory. */
int openai_read_messages(struct openai_reading *r, uint32_t node);
bool openai_take_texts(struct openai_reading *r);

static inline int openai_bad(struct openai_reading *r, uint32_t node)
{
    return openai_refuse(r, CALL_BAD_FIELD, node, NULL);
}

/* A string that is compared with many names: what it says without a look at its node, if it has no
 * escapes, as nearly all. */
static inline bool openai_name_is(const struct json *j, uint32_t node, struct str plain,
                                  struct str name)
{
    if (plain.data == NULL)
        return json_string_is(j, node, name);
    return plain.len == name.len && memcmp(plain.data, name.data, name.len) == 0;
}

#endif
