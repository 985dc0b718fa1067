/* Wishes in a body: OpenRouter's members (openrouter.ai/docs, "Provider Routing" and "Model
 * Fallbacks") and MCP sampling's modelPreferences (Model Context Protocol, 2025-06-18). */
#include "dataplane/request/wishes_internal.h"

#define USD_PER_MILLION_MAX INT64_C(1000000000000000) /* nano-USD; as PRICE_RATE_MAX. */

/* ---- models ---- */

int wishes_read_models(struct json *json, struct str text, struct arena *arena, struct wishes *w,
                       struct wishes_refusal *refusal)
{
    struct wishes_reading r;
    uint32_t node;
    int rc = wishes_begin(&r, json, text, "models", arena, w, refusal);
    if (rc != 0)
        return rc;
    if (json_kind(json, JSON_ROOT) != JSON_ARRAY)
        return wishes_refuse(&r, JSON_ROOT, NULL);
    for (uint32_t at = 0; rc == 0 && json_next_element(json, JSON_ROOT, &at, &node);) {
        struct wishes_target target = {.model = STR_NULL};
        rc = wishes_take_name(&r, node, &target.model);
        if (rc == 0)
            rc = wishes_add_target(&r, node, target);
    }
    return rc;
}

/* ---- provider ---- */

static int take_names(struct wishes_reading *r, uint32_t node, struct wishes_names *out)
{
    uint32_t one;
    if (json_kind(r->json, node) != JSON_ARRAY)
        return wishes_refuse(r, node, NULL);
    for (uint32_t at = 0; json_next_element(r->json, node, &at, &one);) {
        if (out->count == WISHES_NAMES_MAX)
            return wishes_refuse(r, one, "There are too many of these. Name at most 32.");
        int rc = wishes_take_name(r, one, &out->names[out->count]);
        if (rc != 0)
            return rc;
        out->count++;
    }
    return 0;
}

static int read_order(struct wishes_reading *r, uint32_t node)
{
    return take_names(r, node, &r->w->order);
}

static int read_only(struct wishes_reading *r, uint32_t node)
{
    return take_names(r, node, &r->w->only);
}

static int read_ignore(struct wishes_reading *r, uint32_t node)
{
    return take_names(r, node, &r->w->ignore);
}

static int read_allow_fallbacks(struct wishes_reading *r, uint32_t node)
{
    bool allow = true;
    int rc = wishes_take_bool(r, node, &allow);
    r->w->no_fallbacks = !allow;
    return rc;
}

static int read_sort_name(struct wishes_reading *r, uint32_t node)
{
    static const struct {
        struct str name;
        enum wishes_sort sort;
    } sorts[] = {{{"price", 5}, WISHES_SORT_PRICE},
                 {{"throughput", 10}, WISHES_SORT_THROUGHPUT},
                 {{"latency", 7}, WISHES_SORT_LATENCY}};
    for (size_t i = 0; i < sizeof sorts / sizeof sorts[0]; i++)
        if (json_string_is(r->json, node, sorts[i].name)) {
            r->w->sort = sorts[i].sort;
            return 0;
        }
    return wishes_refuse(r, node, "Sort by price, throughput or latency.");
}

static int read_partition(struct wishes_reading *r, uint32_t node)
{
    if (json_string_is(r->json, node, STR("model")) || json_string_is(r->json, node, STR("none")))
        return 0;
    return wishes_refuse(r, node, NULL);
}

static int read_sort(struct wishes_reading *r, uint32_t node)
{
    static const struct wishes_field fields[] = {
        WISHES_FIELD("by", read_sort_name),
        WISHES_FIELD("partition", read_partition),
    };
    if (json_kind(r->json, node) != JSON_OBJECT)
        return read_sort_name(r, node);
    return wishes_fields(r, node, fields, sizeof fields / sizeof fields[0], NULL);
}

static int read_max_prompt(struct wishes_reading *r, uint32_t node)
{
    return wishes_take_decimal(r, node, 9, USD_PER_MILLION_MAX, &r->w->max_input);
}

static int read_max_completion(struct wishes_reading *r, uint32_t node)
{
    return wishes_take_decimal(r, node, 9, USD_PER_MILLION_MAX, &r->w->max_output);
}

static int read_max_request(struct wishes_reading *r, uint32_t node)
{
    int rc = wishes_take_decimal(r, node, 9, USD_PER_MILLION_MAX, &r->w->max_cost_nanousd);
    if (rc == 0 && r->w->max_cost_nanousd == 0)
        r->w->max_cost_nanousd = 1; /* 0 is no cap. */
    return rc;
}

/* Of pictures and sounds no price is known here. */
static int read_max_image(struct wishes_reading *r, uint32_t node)
{
    int64_t ignored;
    return wishes_take_decimal(r, node, 9, USD_PER_MILLION_MAX, &ignored);
}

static int read_max_price(struct wishes_reading *r, uint32_t node)
{
    static const struct wishes_field fields[] = {
        WISHES_FIELD("prompt", read_max_prompt),
        WISHES_FIELD("completion", read_max_completion),
        WISHES_FIELD("request", read_max_request),
        WISHES_FIELD("image", read_max_image),
    };
    return wishes_fields(r, node, fields, sizeof fields / sizeof fields[0],
                         "Only prompt, completion and request have a highest price here.");
}

static int read_require_parameters(struct wishes_reading *r, uint32_t node)
{
    return wishes_take_bool(r, node, &r->w->require_parameters);
}

static int read_data_collection(struct wishes_reading *r, uint32_t node)
{
    if (json_string_is(r->json, node, STR("deny")))
        r->w->data |= REQUIRE_NOT_COLLECTED;
    else if (!json_string_is(r->json, node, STR("allow")))
        return wishes_refuse(r, node, "Say deny or allow.");
    return 0;
}

static int read_zdr(struct wishes_reading *r, uint32_t node)
{
    bool on = false;
    int rc = wishes_take_bool(r, node, &on);
    r->w->data |= on ? (uint32_t)REQUIRE_NOT_KEPT : 0U;
    return rc;
}

static int read_quantizations(struct wishes_reading *r, uint32_t node)
{
    struct wishes_names ignored = {0};
    r->w->ignored |= WISHES_IGNORED_QUANTIZATIONS;
    return take_names(r, node, &ignored);
}

static int read_preferred(struct wishes_reading *r, uint32_t node)
{
    (void)node;
    r->w->ignored |= WISHES_IGNORED_PREFERRED;
    return 0;
}

int wishes_read_provider(struct json *json, struct str text, struct arena *arena, struct wishes *w,
                         struct wishes_refusal *refusal)
{
    static const struct wishes_field fields[] = {
        WISHES_FIELD("order", read_order),
        WISHES_FIELD("only", read_only),
        WISHES_FIELD("ignore", read_ignore),
        WISHES_FIELD("allow_fallbacks", read_allow_fallbacks),
        WISHES_FIELD("sort", read_sort),
        WISHES_FIELD("max_price", read_max_price),
        WISHES_FIELD("require_parameters", read_require_parameters),
        WISHES_FIELD("data_collection", read_data_collection),
        WISHES_FIELD("zdr", read_zdr),
        WISHES_FIELD("quantizations", read_quantizations),
        WISHES_FIELD("preferred_min_throughput", read_preferred),
        WISHES_FIELD("preferred_max_latency", read_preferred),
    };
    struct wishes_reading r;
    int rc = wishes_begin(&r, json, text, "provider", arena, w, refusal);
    if (rc != 0)
        return rc;
    return wishes_fields(&r, JSON_ROOT, fields, sizeof fields / sizeof fields[0],
                         "This preference is not known here. Remove it.");
}

/* ---- route and usage ---- */

int wishes_read_route(struct json *json, struct str text, struct arena *arena, struct wishes *w,
                      struct wishes_refusal *refusal)
{
    struct wishes_reading r;
    int rc = wishes_begin(&r, json, text, "route", arena, w, refusal);
    if (rc != 0 || json_string_is(json, JSON_ROOT, STR("fallback")))
        return rc;
    return wishes_refuse(&r, JSON_ROOT, "The only route that is named here is fallback.");
}

static int read_include(struct wishes_reading *r, uint32_t node)
{
    return wishes_take_bool(r, node, &r->w->include_cost);
}

int wishes_read_usage(struct json *json, struct str text, struct arena *arena, struct wishes *w,
                      struct wishes_refusal *refusal)
{
    static const struct wishes_field fields[] = {WISHES_FIELD("include", read_include)};
    struct wishes_reading r;
    int rc = wishes_begin(&r, json, text, "usage", arena, w, refusal);
    return rc != 0 ? rc : wishes_fields(&r, JSON_ROOT, fields, 1, NULL);
}

/* ---- modelPreferences ---- */

#define ONE 65536

struct priorities {
    int64_t cost, speed, intelligence; /* Millionths; -1: not said. */
};

static int read_hint_name(struct wishes_reading *r, uint32_t node)
{
    struct wishes_names *hints = &r->w->hints;
    if (hints->count == WISHES_NAMES_MAX)
        return wishes_refuse(r, node, "There are too many of these. Name at most 32.");
    int rc = wishes_take_name(r, node, &hints->names[hints->count]);
    hints->count += rc == 0;
    return rc;
}

static int read_hints(struct wishes_reading *r, uint32_t node)
{
    static const struct wishes_field fields[] = {WISHES_FIELD("name", read_hint_name)};
    uint32_t one;
    int rc = 0;
    if (json_kind(r->json, node) != JSON_ARRAY)
        return wishes_refuse(r, node, NULL);
    for (uint32_t at = 0; rc == 0 && json_next_element(r->json, node, &at, &one);)
        rc = wishes_fields(r, one, fields, 1, NULL);
    return rc;
}

static int read_priority(struct wishes_reading *r, uint32_t node)
{
    int64_t ignored; /* Its range; what it says is read below. */
    if (json_kind(r->json, node) != JSON_NUMBER)
        return wishes_refuse(r, node, NULL);
    return wishes_take_decimal(r, node, 6, 1000000, &ignored);
}

static int64_t priority(const struct json *j, struct str name)
{
    bool exact;
    int64_t v = -1;
    uint32_t node = json_get(j, JSON_ROOT, name);
    if (json_kind(j, node) != JSON_NUMBER || json_fixed(j, node, 6, &v, &exact) != 0)
        return -1;
    return v;
}

/* Cost against intelligence is a place on the policy's frontier; speed is weighed beside it. */
static void weigh(struct wishes *w, const struct priorities *p)
{
    const int64_t cost = p->cost < 0 ? 0 : p->cost;
    const int64_t intelligence = p->intelligence < 0 ? 0 : p->intelligence;
    if (cost + intelligence > 0)
        w->position =
            (int32_t)((100 * intelligence + (cost + intelligence) / 2) / (cost + intelligence));
    if (p->speed > 0)
        w->speed_q16 = (uint32_t)((p->speed * ONE + 500000) / 1000000);
}

int wishes_read_preferences(struct json *json, struct str text, const char *name,
                            struct arena *arena, struct wishes *w, struct wishes_refusal *refusal)
{
    static const struct wishes_field fields[] = {
        WISHES_FIELD("hints", read_hints),
        WISHES_FIELD("costPriority", read_priority),
        WISHES_FIELD("speedPriority", read_priority),
        WISHES_FIELD("intelligencePriority", read_priority),
    };
    struct wishes_reading r;
    int rc = wishes_begin(&r, json, text, name, arena, w, refusal);
    if (rc == 0)
        rc = wishes_fields(&r, JSON_ROOT, fields, sizeof fields / sizeof fields[0], NULL);
    if (rc != 0)
        return rc;
    const struct priorities p = {.cost = priority(json, STR("costPriority")),
                                 .speed = priority(json, STR("speedPriority")),
                                 .intelligence = priority(json, STR("intelligencePriority"))};
    weigh(w, &p);
    return 0;
}
