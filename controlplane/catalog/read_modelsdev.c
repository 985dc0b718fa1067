/* api.json of models.dev: {"<provider>": {"models": {"<model>": {"id", "cost": {"input", "output",
 * "cache_read", "cache_write", "reasoning", "context_over_200k": {...}, "tiers": [{"tier": {"type":
 * "context", "size"}, ...}]}, "limit": {"context", "output"}, "modalities": {"input": []},
 * "tool_call", "reasoning", "structured_output", "release_date"}}}}, USD per million tokens. */
#include "common/json/json.h"
#include "controlplane/catalog/read.h"

#define PER_MILLION 6

struct reading {
    const struct json *j;
    struct catalog_rows *t;
    struct str provider, model;
    const char *fault; /* The first field that cannot be taken. */
};

/* Absent and null: unknown. */
static int64_t rate_at(struct reading *r, uint32_t object, const char *name)
{
    int64_t rate = PRICE_UNKNOWN;
    uint32_t node = json_get(r->j, object, str_from(name));
    enum json_kind kind = json_kind(r->j, node);
    if (kind == JSON_MISSING || kind == JSON_NULL)
        return PRICE_UNKNOWN;
    if ((kind != JSON_NUMBER || catalog_rate(json_raw(r->j, node), PER_MILLION, &rate) != 0) &&
        r->fault == NULL)
        r->fault = name;
    return rate;
}

static struct price_rates rates_at(struct reading *r, uint32_t object)
{
    return (struct price_rates){.input = rate_at(r, object, "input"),
                                .output = rate_at(r, object, "output"),
                                .cached_read = rate_at(r, object, "cache_read"),
                                .cache_write = rate_at(r, object, "cache_write"),
                                .cache_write_1h = PRICE_UNKNOWN,
                                .reasoning = rate_at(r, object, "reasoning")};
}

/* What a tier does not say stays as below it. */
static void add_tier(struct reading *r, struct price *p, uint64_t above, uint32_t object)
{
    if (p->tier_count == PRICE_TIERS_MAX) {
        r->fault = "tiers (too many)";
        return;
    }
    struct price_rates rates = rates_at(r, object);
    if (rates.input == PRICE_UNKNOWN)
        rates.input = p->base.input;
    if (rates.output == PRICE_UNKNOWN)
        rates.output = p->base.output;
    if (rates.reasoning == PRICE_UNKNOWN && p->base.reasoning > rates.output)
        rates.reasoning = p->base.reasoning;
    p->tiers[p->tier_count++] = (struct price_tier){.above = above, .rates = rates};
}

static void read_tiers(struct reading *r, uint32_t cost, struct price *p)
{
    uint32_t list = json_get(r->j, cost, STR("tiers")), at = 0, element;
    uint32_t over = json_get(r->j, cost, STR("context_over_200k"));
    if (json_kind(r->j, list) == JSON_ARRAY && json_count(r->j, list) > 0) {
        while (json_next_element(r->j, list, &at, &element)) {
            uint32_t tier = json_get(r->j, element, STR("tier"));
            uint32_t type = json_get(r->j, tier, STR("type"));
            int64_t above;
            if ((type != JSON_NONE && !json_string_is(r->j, type, STR("context"))) ||
                json_i64(r->j, json_get(r->j, tier, STR("size")), 1, UINT32_MAX, &above) != 0) {
                r->fault = "tiers";
                return;
            }
            add_tier(r, p, (uint64_t)above, element);
        }
    } else if (json_kind(r->j, over) == JSON_OBJECT) {
        add_tier(r, p, 200000, over);
    }
}

static uint32_t tokens_at(const struct json *j, uint32_t object, const char *name)
{
    int64_t value;
    uint32_t node = json_get(j, object, str_from(name));
    return json_i64(j, node, 0, UINT32_MAX, &value) == 0 ? (uint32_t)value : 0;
}

static bool true_at(const struct json *j, uint32_t object, const char *name)
{
    return json_kind(j, json_get(j, object, str_from(name))) == JSON_TRUE;
}

static uint32_t capabilities(const struct json *j, uint32_t model)
{
    uint32_t can = CATALOG_STREAM, at = 0, element;
    uint32_t input = json_get(j, json_get(j, model, STR("modalities")), STR("input"));
    can |= true_at(j, model, "tool_call") ? (uint32_t)CATALOG_TOOLS : 0;
    can |= true_at(j, model, "structured_output") ? (uint32_t)CATALOG_JSON : 0;
    can |= true_at(j, model, "reasoning") ? (uint32_t)CATALOG_REASONING : 0;
    while (json_next_element(j, input, &at, &element))
        can |= json_string_is(j, element, STR("image")) ? (uint32_t)CATALOG_IMAGES : 0;
    return can;
}

static int read_model(struct reading *r, uint32_t model)
{
    uint32_t cost = json_get(r->j, model, STR("cost"));
    uint32_t limit = json_get(r->j, model, STR("limit"));
    struct catalog_row row = {.provider = r->provider, .model = r->model};
    if (json_kind(r->j, model) != JSON_OBJECT)
        return catalog_rows_skip(r->t, r->provider, r->model, "not an object");
    if (json_kind(r->j, cost) != JSON_OBJECT)
        return catalog_rows_skip(r->t, r->provider, r->model, "no price");
    r->fault = NULL;
    row.price.base = rates_at(r, cost);
    read_tiers(r, cost, &row.price);
    if (r->fault != NULL)
        return catalog_rows_skip(r->t, r->provider, r->model,
                                 "cost.%s is no price that can be taken exactly", r->fault);
    row.context = tokens_at(r->j, limit, "context");
    row.max_output = tokens_at(r->j, limit, "output");
    row.can = capabilities(r->j, model);
    row.released = json_plain(r->j, json_get(r->j, model, STR("release_date")));
    if (row.released.len > 10)
        row.released = STR_NULL;
    return catalog_rows_add(r->t, &row);
}

int catalog_read_modelsdev(const struct json *j, struct catalog_rows *t)
{
    struct reading r = {.j = j, .t = t};
    uint32_t at = 0, key, provider;
    int rc = 0;
    while (rc == 0 && json_next_member(j, JSON_ROOT, &at, &key, &provider)) {
        uint32_t models = json_get(j, provider, STR("models")), inner = 0, name, model;
        rc = json_text(j, key, &t->arena, &r.provider);
        if (rc == 0 && json_kind(j, models) != JSON_OBJECT)
            rc = catalog_rows_skip(t, r.provider, STR(""), "a provider without models");
        while (rc == 0 && json_next_member(j, models, &inner, &name, &model)) {
            rc = json_text(j, name, &t->arena, &r.model);
            if (rc == 0)
                rc = read_model(&r, model);
        }
    }
    return rc == ERR_TOO_LARGE ? ERR_NOMEM : rc;
}
