#include "dataplane/translate/reading.h"

#include <string.h>

#define METADATA_MAX 64U
#define SCALE_ONE    INT64_C(1000000)
#define NUMBER_MAX   (INT64_C(1000000) * SCALE_ONE)

int tr_reading_begin(struct tr_reading *r, const struct json *json, struct arena *arena,
                     struct tr_request *out, struct call_refusal *refusal)
{
    *r = (struct tr_reading){.json = json, .arena = arena, .out = out, .refusal = refusal};
    memset(out, 0, sizeof *out);
    *refusal = (struct call_refusal){.offset = -1};
    out->parallel = out->logprobs = out->think_shown = out->format_strict = -1;
    out->max_output = out->temperature = out->top_p = TR_UNSET;
    out->frequency_penalty = out->presence_penalty = TR_UNSET;
    out->top_k = out->seed = out->top_logprobs = out->think_budget = TR_UNSET;
    out->choices = 1;
    r->unknown = arena_zalloc(arena, TR_UNKNOWN_MAX, sizeof *r->unknown);
    out->unknown = r->unknown;
    return r->unknown != NULL ? 0 : ERR_NOMEM;
}

int tr_reading_refuse(struct tr_reading *r, uint32_t node, const char *message)
{
    char path[JSON_PATH_BYTES];
    *r->refusal = (struct call_refusal){.defect = CALL_BAD_FIELD, .offset = -1, .message = message};
    if (node == JSON_NONE)
        return ERR_INVALID;
    json_path(r->json, node, path);
    r->refusal->param = arena_copy(r->arena, str_from(path));
    return r->refusal->param.data != NULL ? ERR_INVALID : ERR_NOMEM;
}

int tr_reading_unknown(struct tr_reading *r, const char *name)
{
    for (uint32_t i = 0; i < r->out->unknown_count; i++)
        if (strcmp(r->unknown[i], name) == 0)
            return 0;
    if (r->out->unknown_count < TR_UNKNOWN_MAX)
        r->unknown[r->out->unknown_count++] = name;
    return 0;
}

int tr_reading_unknown_node(struct tr_reading *r, uint32_t node)
{
    char path[JSON_PATH_BYTES];
    if (r->out->unknown_count == TR_UNKNOWN_MAX)
        return 0; /* A path takes a walk: not for each of very many. */
    json_path(r->json, node, path);
    struct str copy = arena_copy(r->arena, str_from(path));
    return copy.data != NULL ? tr_reading_unknown(r, copy.data) : ERR_NOMEM;
}

int tr_take_text(struct tr_reading *r, uint32_t node, struct str *out)
{
    if (!tr_is_given(r, node))
        return 0;
    if (json_kind(r->json, node) != JSON_STRING)
        return tr_reading_refuse(r, node, NULL);
    return json_text(r->json, node, r->arena, out) == 0 ? 0 : ERR_NOMEM;
}

int tr_take_bool(struct tr_reading *r, uint32_t node, bool *out)
{
    if (!tr_is_given(r, node))
        return 0;
    return json_bool(r->json, node, out) == 0 ? 0 : tr_reading_refuse(r, node, NULL);
}

int tr_take_flag(struct tr_reading *r, uint32_t node, int8_t *out)
{
    bool set = false;
    int rc = tr_take_bool(r, node, &set);
    if (rc == 0 && tr_is_given(r, node))
        *out = set;
    return rc;
}

int tr_take_i64(struct tr_reading *r, uint32_t node, int64_t min, int64_t max, int64_t *out)
{
    if (!tr_is_given(r, node))
        return 0;
    return json_i64(r->json, node, min, max, out) == 0 ? 0 : tr_reading_refuse(r, node, NULL);
}

int tr_take_number(struct tr_reading *r, uint32_t node, int64_t *out)
{
    int64_t v;
    bool exact;
    if (!tr_is_given(r, node))
        return 0;
    if (json_fixed(r->json, node, TR_NUMBER_SCALE, &v, &exact) != 0 || v > NUMBER_MAX ||
        v < -NUMBER_MAX)
        return tr_reading_refuse(r, node, NULL);
    *out = v;
    return 0;
}

int tr_take_object(struct tr_reading *r, uint32_t node, struct str *out)
{
    if (!tr_is_given(r, node))
        return 0;
    if (json_kind(r->json, node) != JSON_OBJECT)
        return tr_reading_refuse(r, node, NULL);
    *out = json_raw(r->json, node);
    return 0;
}

int tr_take_stops(struct tr_reading *r, uint32_t node)
{
    uint32_t one;
    int rc = 0;
    if (json_kind(r->json, node) != JSON_ARRAY) {
        r->out->stop_count = tr_is_given(r, node) ? 1 : 0;
        return tr_take_text(r, node, &r->out->stops[0]);
    }
    for (uint32_t at = 0; rc == 0 && json_next_element(r->json, node, &at, &one);) {
        if (json_kind(r->json, one) != JSON_STRING || r->out->stop_count == TR_STOPS_MAX)
            return tr_reading_refuse(r, one, NULL);
        rc = tr_take_text(r, one, &r->out->stops[r->out->stop_count++]);
    }
    return rc;
}

int tr_take_metadata(struct tr_reading *r, uint32_t node)
{
    uint32_t key, value, count = json_count(r->json, node);
    int rc = 0;
    if (!tr_is_given(r, node))
        return 0;
    if (json_kind(r->json, node) != JSON_OBJECT || count > METADATA_MAX)
        return tr_reading_refuse(r, node, NULL);
    struct tr_pair *pairs = tr_make(r, count, sizeof *pairs);
    if (pairs == NULL)
        return ERR_NOMEM;
    for (uint32_t at = 0; rc == 0 && json_next_member(r->json, node, &at, &key, &value);) {
        struct tr_pair *p = &pairs[r->out->metadata_count++];
        if (json_kind(r->json, value) != JSON_STRING)
            return tr_reading_refuse(r, value, NULL);
        rc = tr_take_text(r, key, &p->key);
        if (rc == 0)
            rc = tr_take_text(r, value, &p->value);
    }
    r->out->metadata = pairs;
    return rc;
}

int tr_take_cache(struct tr_reading *r, uint32_t node, struct tr_cache *out)
{
    if (!tr_is_given(r, node))
        return 0;
    if (json_kind(r->json, node) != JSON_OBJECT)
        return tr_reading_refuse(r, node, NULL);
    out->ttl_s = tr_says(r, tr_member(r, node, STR("ttl")), STR("1h")) ? 3600 : 300;
    return 0;
}

struct tr_part *tr_make_parts(struct tr_reading *r, uint32_t count, uint32_t node, int *out_rc)
{
    if (count > TR_PARTS_MAX - r->parts) {
        *out_rc = tr_reading_refuse(r, node, "more parts than one request may have");
        return NULL;
    }
    r->parts += count;
    struct tr_part *parts = tr_make(r, count, sizeof *parts);
    *out_rc = parts != NULL ? 0 : ERR_NOMEM;
    return parts;
}

void *tr_make(struct tr_reading *r, size_t count, size_t size_bytes)
{
    return arena_zalloc(r->arena, count > 0 ? count : 1, size_bytes);
}

int tr_need_text(struct tr_reading *r, uint32_t object, struct str key, struct str *out)
{
    uint32_t node = tr_member(r, object, key);
    if (json_kind(r->json, node) != JSON_STRING)
        return tr_reading_refuse(r, node == JSON_NONE ? object : node, NULL);
    return tr_take_text(r, node, out);
}

static int read_field(struct tr_reading *r, const struct tr_field *fields, size_t count,
                      uint32_t key, uint32_t value)
{
    for (size_t i = 0; i < count; i++)
        if (json_string_is(r->json, key, fields[i].name))
            return fields[i].read(r, value);
    return tr_reading_unknown_node(r, value);
}

int tr_reading_fields(struct tr_reading *r, const struct tr_field *fields, size_t count)
{
    uint32_t key, value;
    int rc = 0;
    for (uint32_t at = 0; rc == 0 && json_next_member(r->json, JSON_ROOT, &at, &key, &value);)
        if (json_kind(r->json, value) != JSON_NULL)
            rc = read_field(r, fields, count, key, value);
    return rc;
}

int tr_field_nothing(struct tr_reading *r, uint32_t node)
{
    (void)r;
    (void)node;
    return 0;
}

int tr_field_model(struct tr_reading *r, uint32_t node)
{
    return tr_take_text(r, node, &r->out->model);
}

int tr_field_stream(struct tr_reading *r, uint32_t node)
{
    return tr_take_bool(r, node, &r->out->stream);
}

int tr_field_temperature(struct tr_reading *r, uint32_t node)
{
    return tr_take_number(r, node, &r->out->temperature);
}

int tr_field_top_p(struct tr_reading *r, uint32_t node)
{
    return tr_take_number(r, node, &r->out->top_p);
}

int tr_field_top_k(struct tr_reading *r, uint32_t node)
{
    return tr_take_i64(r, node, 0, INT32_MAX, &r->out->top_k);
}

int tr_field_parallel(struct tr_reading *r, uint32_t node)
{
    return tr_take_flag(r, node, &r->out->parallel);
}
