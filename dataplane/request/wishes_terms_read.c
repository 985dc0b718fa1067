/* What stands at a target of Portkey's beside whom it asks: retries, a time limit, members of the
 * body that are written over. */
#include "dataplane/request/wishes_plan.h"

#include <string.h>

#define RETRIES_MAX 5 /* Portkey's own; more than two are never made here. */
#define DAY_MS      INT64_C(86400000)

static int take_integer(struct wishes_reading *r, uint32_t node, int64_t min, int64_t max,
                        int64_t *out, const char *message)
{
    return json_i64(r->json, node, min, max, out) == 0 ? 0 : wishes_refuse(r, node, message);
}

int plan_read_codes(struct wishes_reading *r, uint32_t node, const struct wishes_codes **out)
{
    uint32_t one;
    int rc = 0;
    struct wishes_codes *codes = arena_zalloc(r->arena, 1, sizeof *codes);
    if (codes == NULL)
        return ERR_NOMEM;
    if (json_kind(r->json, node) != JSON_ARRAY)
        return wishes_refuse(r, node, "This is a list of status codes.");
    for (uint32_t at = 0; rc == 0 && json_next_element(r->json, node, &at, &one);) {
        int64_t code = 0;
        if (codes->count == WISHES_CODES_MAX)
            return wishes_refuse(r, one, "There are too many of these. Name at most 32.");
        rc = take_integer(r, one, 100, 599, &code, "A status code is a number from 100 to 599.");
        codes->codes[codes->count++] = (uint16_t)code;
    }
    *out = codes->count > 0 ? codes : NULL;
    return rc;
}

/* ---- retry ---- */

static int read_retry(struct wishes_reading *r, uint32_t node, struct wishes_terms *t)
{
    static const struct wishes_field fields[] = {
        WISHES_FIELD("attempts", wishes_pass),
        WISHES_FIELD("on_status_codes", wishes_pass),
        /* Waits that providers ask for are always heeded. */
        WISHES_FIELD("use_retry_after_header", wishes_check_bool),
        WISHES_FIELD("use_retry_after_headers", wishes_check_bool),
    };
    const struct json *j = r->json;
    int64_t attempts = 0;
    int rc = wishes_fields(r, node, fields, sizeof fields / sizeof fields[0],
                           "A retry has attempts, on_status_codes and use_retry_after_header.");
    const uint32_t count = json_get(j, node, STR("attempts"));
    const uint32_t codes = json_get(j, node, STR("on_status_codes"));
    if (rc == 0 && wishes_is_there(j, count)) {
        rc = take_integer(r, count, 0, RETRIES_MAX, &attempts, "Say 0 to 5 attempts.");
        t->retries = (int32_t)attempts;
    }
    if (rc == 0 && wishes_is_there(j, codes))
        rc = plan_read_codes(r, codes, &t->try_again);
    return rc;
}

/* ---- cache ---- */

static int check_mode(struct wishes_reading *r, uint32_t node)
{
    if (json_string_is(r->json, node, STR("simple")) ||
        json_string_is(r->json, node, STR("semantic")))
        return 0;
    return wishes_refuse(r, node, "The modes of a cache are simple and semantic.");
}

/* Well formed, and told in a warning: no answers are kept. */
static int read_cache(struct wishes_reading *r, uint32_t node)
{
    static const struct wishes_field fields[] = {
        WISHES_FIELD("mode", check_mode),
        WISHES_FIELD("max_age", wishes_pass),
    };
    r->w->ignored |= WISHES_IGNORED_CACHE;
    return wishes_fields(r, node, fields, sizeof fields / sizeof fields[0],
                         "A cache has a mode and a max_age.");
}

/* ---- override_params ---- */

/* What neither raises what a call may cost beyond its tokens, nor changes what is asked, nor whom
 * the caller is. */
static const struct str overridable[] = {
    {"temperature", 11},
    {"top_p", 5},
    {"top_k", 5},
    {"min_p", 5},
    {"max_tokens", 10},
    {"max_completion_tokens", 21},
    {"max_output_tokens", 17},
    {"frequency_penalty", 17},
    {"presence_penalty", 16},
    {"seed", 4},
    {"stop", 4},
    {"stop_sequences", 14},
    {"response_format", 15},
    {"reasoning_effort", 16},
    {"verbosity", 9},
    {"logit_bias", 10},
    {"logprobs", 8},
    {"top_logprobs", 12},
    {"tool_choice", 11},
    {"parallel_tool_calls", 19},
};

static struct str find_overridable(const struct json *j, uint32_t key)
{
    for (size_t i = 0; i < sizeof overridable / sizeof overridable[0]; i++)
        if (json_string_is(j, key, overridable[i]))
            return overridable[i];
    return STR_NULL;
}

static struct wishes_override *place(struct wishes_terms *t, struct str key)
{
    for (uint32_t i = 0; i < t->override_count; i++)
        if (str_eq(t->overrides[i].key, key))
            return &t->overrides[i];
    return t->override_count < WISHES_OVERRIDES_MAX ? &t->overrides[t->override_count++] : NULL;
}

static int read_overrides(struct wishes_reading *r, uint32_t node, struct wishes_terms *t,
                          struct str *io_model)
{
    const struct json *j = r->json;
    uint32_t key, value;
    int64_t ignored;
    int rc = 0;
    if (json_kind(j, node) != JSON_OBJECT)
        return wishes_refuse(r, node, NULL);
    for (uint32_t at = 0; rc == 0 && json_next_member(j, node, &at, &key, &value);) {
        if (json_kind(j, value) == JSON_NULL)
            continue;
        if (json_string_is(j, key, STR("model"))) {
            rc = wishes_take_name(r, value, io_model);
            continue;
        }
        const struct str name = find_overridable(j, key);
        if (name.len == 0)
            return wishes_refuse(r, value, "This is not overridden here. Set it in the body.");
        if (str_starts(name, STR("max_")))
            rc = take_integer(r, value, 1, 100000000, &ignored, "Say a number of tokens.");
        struct wishes_override *o = place(t, name);
        if (o == NULL)
            return wishes_refuse(r, value, "There are too many of these. Override at most 16.");
        *o = (struct wishes_override){.key = name, .value = json_raw(j, value)};
    }
    return rc;
}

/* ---- all ---- */

int plan_read_terms(struct wishes_reading *r, uint32_t node, const struct wishes_terms **io_terms,
                    struct str *io_model)
{
    const struct json *j = r->json;
    const uint32_t retry = json_get(j, node, STR("retry"));
    const uint32_t timeout = json_get(j, node, STR("request_timeout"));
    const uint32_t cache = json_get(j, node, STR("cache"));
    const uint32_t overrides = json_get(j, node, STR("override_params"));
    int rc = wishes_is_there(j, cache) ? read_cache(r, cache) : 0;
    if (rc != 0 || (!wishes_is_there(j, retry) && !wishes_is_there(j, timeout) &&
                    !wishes_is_there(j, overrides)))
        return rc;
    struct wishes_terms *t = arena_alloc(r->arena, sizeof *t);
    if (t == NULL)
        return ERR_NOMEM;
    if (*io_terms != NULL)
        *t = **io_terms;
    else
        *t = (struct wishes_terms){.retries = -1};
    if (wishes_is_there(j, retry))
        rc = read_retry(r, retry, t);
    if (rc == 0 && wishes_is_there(j, timeout)) {
        int64_t ms = 0;
        rc = take_integer(r, timeout, 1, DAY_MS, &ms, "Say milliseconds, up to a day.");
        t->timeout_ms = (uint32_t)ms;
    }
    if (rc == 0 && wishes_is_there(j, overrides))
        rc = read_overrides(r, overrides, t, io_model);
    *io_terms = t;
    return rc;
}
