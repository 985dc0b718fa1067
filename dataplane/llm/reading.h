/* reading.h: what the readers of callers' bodies share: where a reading stands, and readers of the
 * fields that more than one dialect has. Each takes null as if the field were not there. They
 * return 0, or what reading_refuse says. Private to this folder. */
#ifndef STEELYARD_DATAPLANE_LLM_READING_H
#define STEELYARD_DATAPLANE_LLM_READING_H

#include <string.h>

#include "dataplane/llm/provider.h"
#include "dataplane/llm/tokens.h"

struct call_reading {
    const struct json *json;
    struct arena *arena;
    struct call *call;
    struct call_refusal *refusal;
    uint32_t user_content;   /* Of the last user message: a string, or parts with "text". */
    uint32_t system_content; /* Of the first system or developer message; alike. */
    uint64_t tokens_q8;
    uint64_t image_bytes;   /* Of the body: they are no text. */
    int64_t max_completion; /* -1: not given. */
    struct call_span *cuts; /* The call's. */
    uint32_t cuts_room;
};

struct reading_field {
    struct str name;
    int (*read)(struct call_reading *r, uint32_t node);
};
#define READING_FIELD(name, fn)                                                                    \
    {                                                                                              \
        {name, sizeof name - 1}, fn                                                                \
    }

/* Parses the body (or ends the scan of it that is under way), and sets out_call to defaults.
 * Refuses what is no object. */
int reading_begin(struct call_reading *r, struct json *json, struct str body, struct arena *arena,
                  struct call *out_call, struct call_refusal *out_refusal);
/* Members of the root through the table; what it does not name is left alone. */
int reading_fields(struct call_reading *r, const struct reading_field *fields, size_t count);
/* Estimates and texts, from what was noted. */
int reading_sum(struct call_reading *r, struct str body);
/* The same, and whether a text may stand for others. */
int reading_end(struct call_reading *r, struct str body);

/* Notes why the body is refused and, unless JSON_NONE, at which node; returns the code. */
int reading_refuse(struct call_reading *r, enum call_defect defect, uint32_t node,
                   const char *message);
/* Notes that this node keeps the call in its dialect (struct call, bound_to). */
int reading_bind(struct call_reading *r, uint32_t node);
/* An element of an array is left out of what goes up, with its comma (struct call, cuts). In the
 * order of the text. */
int reading_cut(struct call_reading *r, uint32_t element);
/* "sy1.": what opaque values that we handed out begin with (translate's seal.h). */
bool reading_is_sealed(const struct call_reading *r, uint32_t node);
int reading_missing(struct call_reading *r, const char *param);
static inline int reading_bad(struct call_reading *r, uint32_t node)
{
    return reading_refuse(r, CALL_BAD_FIELD, node, NULL);
}

/* Of a node that is there. */
static inline struct call_span reading_span(const struct call_reading *r, uint32_t node)
{
    const struct json_node *n = &r->json->nodes[node];
    return (struct call_span){.at = n->start, .len = n->end - n->start};
}
static inline bool reading_null(const struct call_reading *r, uint32_t node)
{
    return json_kind(r->json, node) == JSON_NULL;
}
/* A string that is compared with many names: what it says without a look at its node, if it has no
 * escapes, as nearly all. */
static inline bool reading_name_is(const struct json *j, uint32_t node, struct str plain,
                                   struct str name)
{
    if (plain.data == NULL)
        return json_string_is(j, node, name);
    return plain.len == name.len && memcmp(plain.data, name.data, name.len) == 0;
}

/* A whole number in a range; *out stays for null. */
int reading_count(struct call_reading *r, uint32_t node, int64_t min, int64_t max, int64_t *out);
/* The same of a decimal, in ten-thousandths. */
int reading_decimal(struct call_reading *r, uint32_t node, int64_t min, int64_t max, int64_t *out);
int reading_bool(struct call_reading *r, uint32_t node);   /* Its kind is checked ... */
int reading_string(struct call_reading *r, uint32_t node); /* ... and this one's. */

int reading_model(struct call_reading *r, uint32_t node);
/* A list of messages, each through the reader; inline, so that it can be so, too. */
static inline int reading_messages(struct call_reading *r, uint32_t node,
                                   int (*read_message)(struct call_reading *r, uint32_t message))
{
    uint32_t message;
    int rc = 0;
    if (json_kind(r->json, node) != JSON_ARRAY || json_count(r->json, node) == 0)
        return reading_bad(r, node);
    r->call->dialogue = json_raw(r->json, node);
    for (uint32_t at = 0; rc == 0 && json_next_element(r->json, node, &at, &message);)
        rc = read_message(r, message);
    return rc;
}
int reading_max_tokens(struct call_reading *r, uint32_t node);
int reading_top_logprobs(struct call_reading *r, uint32_t node);
int reading_stream(struct call_reading *r, uint32_t node);
int reading_temperature(struct call_reading *r, uint32_t node);
int reading_top_p(struct call_reading *r, uint32_t node);
int reading_tools(struct call_reading *r, uint32_t node);  /* Named in "function", or flat. */
int reading_format(struct call_reading *r, uint32_t node); /* An object with a "type". */
int reading_format_within(struct call_reading *r, uint32_t node); /* The same as its "format". */
int reading_effort(struct call_reading *r, uint32_t node);
/* Notes how much reasoning an object asks for: a number of tokens that is too large to be counted,
 * or no whole one, as the most there is; of what is no number, and of 0, nothing. */
void reading_think(struct call_reading *r, enum call_think_way way, uint32_t object,
                   uint32_t tokens);
/* OpenRouter's "reasoning", if that is what it is; it is not checked. */
void reading_think_reasoning(struct call_reading *r, uint32_t node);
int reading_user(struct call_reading *r, uint32_t node);
int reading_tier(struct call_reading *r, uint32_t node);
int reading_extra(struct call_reading *r, uint32_t node);     /* The price varies with it. */
int reading_forbidden(struct call_reading *r, uint32_t node); /* RELIABILITY B18 */
#define READING_FORBIDDEN                                                                          \
    READING_FIELD("api_base", reading_forbidden), READING_FIELD("base_url", reading_forbidden),    \
        READING_FIELD("api_key", reading_forbidden), READING_FIELD("headers", reading_forbidden),  \
        READING_FIELD("extra_headers", reading_forbidden),                                         \
        READING_FIELD("extra_body", reading_forbidden)

/* Adds a string to the estimates. */
void reading_weigh(struct call_reading *r, uint32_t string);
/* The texts that features are made of. False: no memory. */
bool reading_take_texts(struct call_reading *r);

/* What a caller wishes beside the call: only where it stands. */
int reading_wish_models(struct call_reading *r, uint32_t node);
int reading_wish_provider(struct call_reading *r, uint32_t node);
int reading_wish_route(struct call_reading *r, uint32_t node);
int reading_wish_usage(struct call_reading *r, uint32_t node);
int reading_wish_preferences(struct call_reading *r, uint32_t node);
#define READING_WISHES                                                                             \
    READING_FIELD("models", reading_wish_models),                                                  \
        READING_FIELD("provider", reading_wish_provider),                                          \
        READING_FIELD("route", reading_wish_route), READING_FIELD("usage", reading_wish_usage),    \
        READING_FIELD("modelPreferences", reading_wish_preferences)
/* The model's name, or a list of models in place of it. */
int reading_need_model(struct call_reading *r);
/* A whole body, from reading_begin to reading_end. input: the field that must be there. */
int reading_call(struct call_reading *r, struct json *json, struct str body, struct arena *arena,
                 struct call *out_call, struct call_refusal *out_refusal,
                 const struct reading_field *fields, size_t count, const char *input);

#endif
