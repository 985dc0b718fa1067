/* LiteLLM's price map: {"<model>": {"litellm_provider", "mode", "input_cost_per_token",
 * "output_cost_per_token", "output_cost_per_reasoning_token", "cache_read_input_token_cost",
 * "cache_creation_input_token_cost", the same with "_above_1hr" and "_above_200k_tokens",
 * "tiered_pricing": [{"range": [0, 32000], ...}], "max_input_tokens", "max_output_tokens",
 * "supports_..."}}, USD per token. "sample_spec" describes the fields and is no model. */
#include <stdio.h>

#include "common/json/json.h"
#include "controlplane/catalog/read.h"
#include "controlplane/catalog/vendors.h"

#define PER_TOKEN  0
#define NAME_BYTES 96

static const char *const token_modes[] = {"chat", "completion", "responses", "embedding", "rerank"};

struct reading {
    const struct json *j;
    struct catalog_rows *t;
    struct str provider, model;
    char fault[NAME_BYTES]; /* The first field that cannot be taken; "": none. */
};

static int64_t rate_at(struct reading *r, uint32_t object, const char *name, const char *suffix)
{
    char field[NAME_BYTES];
    int64_t rate = PRICE_UNKNOWN;
    snprintf(field, sizeof field, "%s%s", name, suffix);
    uint32_t node = json_get(r->j, object, str_from(field));
    enum json_kind kind = json_kind(r->j, node);
    if (kind == JSON_MISSING || kind == JSON_NULL)
        return PRICE_UNKNOWN;
    /* Some rows have the number as text. */
    struct str text = kind == JSON_NUMBER ? json_raw(r->j, node) : json_plain(r->j, node);
    if (catalog_rate(text, PER_TOKEN, &rate) != 0 && r->fault[0] == '\0')
        snprintf(r->fault, sizeof r->fault, "%s", field);
    return rate;
}

static struct price_rates rates_at(struct reading *r, uint32_t object, const char *suffix)
{
    char hour[48];
    snprintf(hour, sizeof hour, "_above_1hr%s", suffix);
    return (struct price_rates){
        .input = rate_at(r, object, "input_cost_per_token", suffix),
        .output = rate_at(r, object, "output_cost_per_token", suffix),
        .cached_read = rate_at(r, object, "cache_read_input_token_cost", suffix),
        .cache_write = rate_at(r, object, "cache_creation_input_token_cost", suffix),
        .cache_write_1h = rate_at(r, object, "cache_creation_input_token_cost", hour),
        .reasoning = rate_at(r, object, "output_cost_per_reasoning_token", suffix),
    };
}

/* What a tier does not say stays as below it. */
static void add_tier(struct reading *r, struct price *p, uint64_t above, struct price_rates rates)
{
    if (p->tier_count == PRICE_TIERS_MAX) {
        snprintf(r->fault, sizeof r->fault, "more than %d tiers", PRICE_TIERS_MAX);
        return;
    }
    if (rates.input == PRICE_UNKNOWN)
        rates.input = p->base.input;
    if (rates.output == PRICE_UNKNOWN)
        rates.output = p->base.output;
    if (rates.reasoning == PRICE_UNKNOWN && p->base.reasoning > rates.output)
        rates.reasoning = p->base.reasoning;
    uint32_t at = p->tier_count++;
    for (; at > 0 && p->tiers[at - 1].above > above; at--)
        p->tiers[at] = p->tiers[at - 1];
    p->tiers[at] = (struct price_tier){.above = above, .rates = rates};
}

/* "input_cost_per_token_above_200k_tokens": a tier for each size any rate names. */
static bool tier_of_field(struct str field, uint64_t *out_above)
{
    static const char *const stems[] = {
        "input_cost_per_token_above_", "output_cost_per_token_above_",
        "cache_read_input_token_cost_above_", "cache_creation_input_token_cost_above_"};
    for (size_t i = 0; i < sizeof stems / sizeof stems[0]; i++) {
        struct str stem = str_from(stems[i]), tail = STR("k_tokens");
        if (!str_starts(field, stem) || !str_ends(field, tail) || field.len < stem.len + tail.len)
            continue;
        uint64_t thousands;
        if (str_parse_u64(str_slice(field, stem.len, field.len - tail.len), 1000000, &thousands) ==
                0 &&
            thousands > 0) {
            *out_above = thousands * 1000;
            return true;
        }
    }
    return false;
}

static void read_sizes(struct reading *r, uint32_t model, struct price *p)
{
    uint32_t at = 0, key, value;
    while (json_next_member(r->j, model, &at, &key, &value)) {
        uint64_t above;
        char suffix[48];
        bool known = false;
        if (!tier_of_field(json_plain(r->j, key), &above) || json_kind(r->j, value) == JSON_NULL)
            continue;
        for (uint32_t i = 0; i < p->tier_count; i++)
            known = known || p->tiers[i].above == above;
        if (known)
            continue;
        snprintf(suffix, sizeof suffix, "_above_%lluk_tokens", (unsigned long long)(above / 1000));
        add_tier(r, p, above, rates_at(r, model, suffix));
    }
}

/* "tiered_pricing": the first range gives the base rates. */
static void read_ranges(struct reading *r, uint32_t list, struct price *p)
{
    uint32_t at = 0, element;
    bool first = true;
    while (json_next_element(r->j, list, &at, &element)) {
        int64_t from, exact = 0;
        uint32_t range = json_get(r->j, element, STR("range"));
        bool whole = false;
        if (json_fixed(r->j, json_at(r->j, range, 0), 0, &from, &whole) != 0 || !whole ||
            from < exact || (first ? from != 0 : from == 0)) {
            snprintf(r->fault, sizeof r->fault, "tiered_pricing");
            return;
        }
        struct price_rates rates = rates_at(r, element, "");
        if (first)
            p->base = rates;
        else
            add_tier(r, p, (uint64_t)from, rates);
        first = false;
    }
}

static uint32_t tokens_at(const struct json *j, uint32_t object, const char *name)
{
    int64_t value;
    return json_i64(j, json_get(j, object, str_from(name)), 0, UINT32_MAX, &value) == 0
               ? (uint32_t)value
               : 0;
}

static uint32_t capabilities(const struct json *j, uint32_t model)
{
    static const struct {
        const char *field;
        uint32_t can;
    } known[] = {
        {"supports_function_calling", CATALOG_TOOLS},
        {"supports_vision", CATALOG_IMAGES},
        {"supports_response_schema", CATALOG_JSON},
        {"supports_reasoning", CATALOG_REASONING},
    };
    uint32_t can = 0;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (json_kind(j, json_get(j, model, str_from(known[i].field))) == JSON_TRUE)
            can |= known[i].can;
    }
    return can;
}

static bool is_priced_by_token(const struct json *j, uint32_t mode)
{
    for (size_t i = 0; i < sizeof token_modes / sizeof token_modes[0]; i++) {
        if (json_string_is(j, mode, str_from(token_modes[i])))
            return true;
    }
    return mode == JSON_NONE;
}

static int read_model(struct reading *r, uint32_t model)
{
    const struct json *j = r->j;
    struct catalog_row row = {.provider = vendor_of_litellm(r->provider),
                              .model = vendor_litellm_model(r->provider, r->model)};
    uint32_t ranges = json_get(j, model, STR("tiered_pricing"));
    if (!is_priced_by_token(j, json_get(j, model, STR("mode"))))
        return catalog_rows_skip(r->t, row.provider, row.model, "not priced by tokens (mode)");
    r->fault[0] = '\0';
    if (json_kind(j, ranges) == JSON_ARRAY && json_count(j, ranges) > 0) {
        read_ranges(r, ranges, &row.price);
    } else {
        row.price.base = rates_at(r, model, "");
        read_sizes(r, model, &row.price);
    }
    if (r->fault[0] != '\0')
        return catalog_rows_skip(r->t, row.provider, row.model,
                                 "%s is no price that can be taken exactly", r->fault);
    row.context = tokens_at(j, model, "max_input_tokens");
    row.max_output = tokens_at(j, model, "max_output_tokens");
    row.can = capabilities(j, model);
    return catalog_rows_add(r->t, &row);
}

int catalog_read_litellm(const struct json *j, struct catalog_rows *t)
{
    struct reading r = {.j = j, .t = t};
    uint32_t at = 0, key, model;
    int rc = 0;
    while (rc == 0 && json_next_member(j, JSON_ROOT, &at, &key, &model)) {
        if (json_string_is(j, key, STR("sample_spec")))
            continue;
        uint32_t provider = json_get(j, model, STR("litellm_provider"));
        rc = json_text(j, key, &t->arena, &r.model);
        if (rc != 0)
            break;
        if (json_kind(j, provider) != JSON_STRING) {
            rc = catalog_rows_skip(t, STR(""), r.model, "no litellm_provider");
            continue;
        }
        rc = json_text(j, provider, &t->arena, &r.provider);
        if (rc == 0)
            rc = read_model(&r, model);
    }
    return rc == ERR_TOO_LARGE ? ERR_NOMEM : rc;
}
