#include "controlplane/catalog/exchange.h"

#include <stdio.h>
#include <string.h>

#include "controlplane/catalog/compare.h"

#define PER_MILLION 6

static const char *const can_words[] = {"tools", "images", "json", "stream", "reasoning"};

static const struct {
    const char *name;
    size_t offset;
} rate_fields[] = {
    {"input", offsetof(struct price_rates, input)},
    {"output", offsetof(struct price_rates, output)},
    {"cached_input", offsetof(struct price_rates, cached_read)},
    {"cache_write", offsetof(struct price_rates, cache_write)},
    {"cache_write_1h", offsetof(struct price_rates, cache_write_1h)},
    {"reasoning", offsetof(struct price_rates, reasoning)},
};
#define RATE_FIELDS (sizeof rate_fields / sizeof rate_fields[0])

static int64_t *rate_of(struct price_rates *r, size_t field)
{
    return (int64_t *)(void *)((char *)r + rate_fields[field].offset);
}

/* --- out -----------------------------------------------------------------------------------------
 */

static json_t *rates_to_json(const struct price_rates *r)
{
    struct price_rates copy = *r;
    json_t *o = json_object();
    for (size_t i = 0; o != NULL && i < RATE_FIELDS; i++) {
        char text[32];
        int64_t rate = *rate_of(&copy, i);
        json_t *value =
            rate == PRICE_UNKNOWN ? json_null() : json_string(catalog_rate_text(rate, text));
        if (json_object_set_new(o, rate_fields[i].name, value) != 0) {
            json_decref(o);
            return NULL;
        }
    }
    return o;
}

json_t *catalog_price_to_json(const struct price *price)
{
    json_t *o = rates_to_json(&price->base), *tiers = json_array();
    bool ok = o != NULL && tiers != NULL;
    for (uint32_t i = 0; ok && i < price->tier_count; i++) {
        json_t *tier = rates_to_json(&price->tiers[i].rates);
        ok = tier != NULL &&
             json_object_set_new(tier, "above", json_integer((json_int_t)price->tiers[i].above)) ==
                 0;
        if (json_array_append_new(tiers, tier) != 0)
            ok = false;
    }
    if (ok && json_object_set(o, "tiers", tiers) != 0)
        ok = false;
    json_decref(tiers);
    if (!ok) {
        json_decref(o);
        return NULL;
    }
    return o;
}

json_t *catalog_can_to_json(uint32_t can)
{
    json_t *list = json_array();
    for (size_t i = 0; list != NULL && i < sizeof can_words / sizeof can_words[0]; i++) {
        if ((can >> i & 1) != 0 && json_array_append_new(list, json_string(can_words[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

json_t *catalog_row_to_json(const struct catalog_row *row)
{
    json_t *price = catalog_price_to_json(&row->price), *can = catalog_can_to_json(row->can);
    json_t *o = NULL;
    if (price != NULL && can != NULL)
        o = json_pack("{s:s%, s:s%, s:O, s:I, s:I, s:O, s:s%}", "provider", row->provider.data,
                      row->provider.len, "model", row->model.data, row->model.len, "price", price,
                      "context_window", (json_int_t)row->context, "max_output",
                      (json_int_t)row->max_output, "capabilities", can, "released",
                      row->released.data == NULL ? "" : row->released.data, row->released.len);
    json_decref(price);
    json_decref(can);
    return o;
}

json_t *catalog_factor_to_json(uint64_t permille)
{
    char text[32];
    if (permille == CATALOG_FACTOR_INFINITE)
        return json_string("infinite");
    snprintf(text, sizeof text, "%llu.%03llu", (unsigned long long)(permille / 1000),
             (unsigned long long)(permille % 1000));
    return json_string(text);
}

/* --- in ------------------------------------------------------------------------------------------
 */

/* A row that has a rate too many digits for: noted in *out_bad, for a skip. */
static int rates_from_json(const json_t *o, struct price_rates *out, const char **out_bad,
                           struct err *err)
{
    *out = (struct price_rates)PRICE_RATES_UNKNOWN;
    for (size_t i = 0; i < RATE_FIELDS; i++) {
        const json_t *v = json_object_get(o, rate_fields[i].name);
        if (v == NULL || json_is_null(v))
            continue;
        if (!json_is_string(v))
            return err_set(err, ERR_INVALID, "\"%s\" must be decimal text like \"0.075\", or null",
                           rate_fields[i].name);
        if (catalog_rate(str_from(json_string_value(v)), PER_MILLION, rate_of(out, i)) != 0)
            *out_bad = rate_fields[i].name;
    }
    return 0;
}

static int price_from_json(const json_t *o, struct price *out, const char **out_bad,
                           struct err *err)
{
    const json_t *tiers = json_object_get(o, "tiers");
    int rc = rates_from_json(o, &out->base, out_bad, err);
    if (rc == 0 && tiers != NULL &&
        (!json_is_array(tiers) || json_array_size(tiers) > PRICE_TIERS_MAX))
        rc = err_set(err, ERR_INVALID, "\"tiers\" must be a list of at most %d", PRICE_TIERS_MAX);
    for (size_t i = 0; rc == 0 && i < json_array_size(tiers); i++) {
        const json_t *tier = json_array_get(tiers, i), *above = json_object_get(tier, "above");
        if (!json_is_integer(above) || json_integer_value(above) < 1)
            return err_set(err, ERR_INVALID, "\"above\" of a tier must be a number of tokens");
        out->tiers[i].above = (uint64_t)json_integer_value(above);
        rc = rates_from_json(tier, &out->tiers[i].rates, out_bad, err);
        out->tier_count++;
    }
    return rc;
}

static uint32_t tokens_from_json(const json_t *v)
{
    json_int_t n = json_integer_value(v);
    return n > 0 && n <= UINT32_MAX ? (uint32_t)n : 0;
}

static struct str text_from_json(const json_t *v)
{
    return json_is_string(v)
               ? (struct str){.data = json_string_value(v), .len = json_string_length(v)}
               : STR("");
}

int catalog_row_from_json(const json_t *json, struct catalog_rows *t, struct err *err)
{
    const json_t *price = json_object_get(json, "price"), *can, *word;
    const char *bad = NULL;
    size_t i;
    struct catalog_row row = {.provider = text_from_json(json_object_get(json, "provider")),
                              .model = text_from_json(json_object_get(json, "model")),
                              .released = text_from_json(json_object_get(json, "released"))};
    if (!json_is_object(json) || !json_is_object(price))
        return err_set(err, ERR_INVALID, "a row must be an object with provider, model and price");
    if (row.released.len > 10)
        return err_set(err, ERR_INVALID, "\"released\" must be a day");
    int rc = price_from_json(price, &row.price, &bad, err);
    if (rc != 0)
        return rc;
    row.context = tokens_from_json(json_object_get(json, "context_window"));
    row.max_output = tokens_from_json(json_object_get(json, "max_output"));
    can = json_object_get(json, "capabilities");
    json_array_foreach(can, i, word)
    {
        for (size_t k = 0; k < sizeof can_words / sizeof can_words[0]; k++) {
            if (str_is(text_from_json(word), can_words[k]))
                row.can |= 1U << k;
        }
    }
    if (bad != NULL)
        rc = catalog_rows_skip(t, row.provider, row.model,
                               "%s is no price that can be taken exactly", bad);
    else
        rc = catalog_rows_add(t, &row);
    return rc == 0 ? 0 : err_set(err, rc, "%s", err_text(rc));
}
