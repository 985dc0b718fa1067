/* reading.h: what the readers of callers' bodies share: where a reading stands, how it refuses, and
 * values of the usual kinds. Every function takes JSON_NONE and null as if the field were not
 * there: out stays. They return 0; ERR_INVALID with the refusal filled, the path of the node in it;
 * ERR_NOMEM or ERR_TOO_LARGE. Pure. */
#ifndef STEELYARD_DATAPLANE_TRANSLATE_READING_H
#define STEELYARD_DATAPLANE_TRANSLATE_READING_H

#include "dataplane/translate/dialects.h"

#define TR_UNKNOWN_MAX 32U /* Names that are kept. */

struct tr_reading {
    const struct json *json;
    struct arena *arena;
    struct tr_request *out;
    struct call_refusal *refusal;
    const char **unknown; /* TR_UNKNOWN_MAX in the arena. */
    uint32_t parts;       /* Made so far: TR_PARTS_MAX. */
};

/* Sets out to "nothing was said". */
int tr_reading_begin(struct tr_reading *r, const struct json *json, struct arena *arena,
                     struct tr_request *out, struct call_refusal *refusal) MUST_CHECK;

/* message: static, or NULL for what is usual. Returns ERR_INVALID, or ERR_NOMEM. */
int tr_reading_refuse(struct tr_reading *r, uint32_t node, const char *message) MUST_CHECK;
/* A field that has no place in the neutral form, by its path; each once. */
int tr_reading_unknown(struct tr_reading *r, const char *name) MUST_CHECK; /* Static. */
int tr_reading_unknown_node(struct tr_reading *r, uint32_t node) MUST_CHECK;

static inline bool tr_is_given(const struct tr_reading *r, uint32_t node)
{
    return json_kind(r->json, node) != JSON_MISSING && json_kind(r->json, node) != JSON_NULL;
}
static inline uint32_t tr_member(const struct tr_reading *r, uint32_t object, struct str key)
{
    return json_get(r->json, object, key);
}
static inline bool tr_says(const struct tr_reading *r, uint32_t node, struct str text)
{
    return json_string_is(r->json, node, text);
}

int tr_take_text(struct tr_reading *r, uint32_t node, struct str *out) MUST_CHECK;
int tr_take_bool(struct tr_reading *r, uint32_t node, bool *out) MUST_CHECK;
int tr_take_flag(struct tr_reading *r, uint32_t node, int8_t *out) MUST_CHECK; /* -1, 0, 1 */
int tr_take_i64(struct tr_reading *r, uint32_t node, int64_t min, int64_t max,
                int64_t *out) MUST_CHECK;
/* In TR_NUMBER_SCALE; more digits are cut. */
int tr_take_number(struct tr_reading *r, uint32_t node, int64_t *out) MUST_CHECK;
int tr_take_object(struct tr_reading *r, uint32_t node, struct str *out) MUST_CHECK; /* Raw. */
/* A string, or an array of at most TR_STOPS_MAX. */
int tr_take_stops(struct tr_reading *r, uint32_t node) MUST_CHECK;
/* Pairs of strings; a value of another kind is refused. At most 64. */
int tr_take_metadata(struct tr_reading *r, uint32_t node) MUST_CHECK;
/* {"type":"ephemeral","ttl":"5m"|"1h"}: the mark of Anthropic, which many clients send elsewhere.
 */
int tr_take_cache(struct tr_reading *r, uint32_t node, struct tr_cache *out) MUST_CHECK;

/* A string that must be there: else refused, at the object if it is missing. */
int tr_need_text(struct tr_reading *r, uint32_t object, struct str key, struct str *out) MUST_CHECK;

/* The fields of a body through a table: null is as if it were not there, and what the table does
 * not name is unknown. */
struct tr_field {
    struct str name;
    int (*read)(struct tr_reading *r, uint32_t node);
};
#define TR_FIELD(name, fn)                                                                         \
    {                                                                                              \
        {name, sizeof name - 1}, fn                                                                \
    }
int tr_reading_fields(struct tr_reading *r, const struct tr_field *fields, size_t count) MUST_CHECK;
/* Readers of fields that dialects have alike. */
int tr_field_nothing(struct tr_reading *r, uint32_t node); /* Somebody else's. */
#define TR_FIELDS_ROUTER                                                                           \
    TR_FIELD("models", tr_field_nothing), TR_FIELD("provider", tr_field_nothing),                  \
        TR_FIELD("route", tr_field_nothing), TR_FIELD("usage", tr_field_nothing)
int tr_field_model(struct tr_reading *r, uint32_t node);
int tr_field_stream(struct tr_reading *r, uint32_t node);
int tr_field_temperature(struct tr_reading *r, uint32_t node);
int tr_field_top_p(struct tr_reading *r, uint32_t node);
int tr_field_top_k(struct tr_reading *r, uint32_t node);
int tr_field_parallel(struct tr_reading *r, uint32_t node);

/* Zeroed parts of a turn; counts them. NULL with *out_rc set: too many (refused at node), or no
 * memory. */
struct tr_part *tr_make_parts(struct tr_reading *r, uint32_t count, uint32_t node, int *out_rc);
/* Zeroed; NULL: no memory. */
void *tr_make(struct tr_reading *r, size_t count, size_t size_bytes);

#endif
