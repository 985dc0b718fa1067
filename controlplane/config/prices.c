#include "controlplane/config/prices.h"

#include <stdio.h>
#include <string.h>

#include "common/crypto/digest.h"
#include "controlplane/catalog/builtin.h"
#include "controlplane/catalog/vendors.h"

#define CONFIG  STEELYARD__CONTROL__V1__PRICE_SOURCE__PRICE_SOURCE_CONFIG
#define BUILTIN STEELYARD__CONTROL__V1__PRICE_SOURCE__PRICE_SOURCE_BUILTIN

struct str prices_vendor(struct str base_url, struct str named)
{
    return named.len > 0 ? named : vendor_of_url(base_url);
}

const struct catalog_row *prices_shipped(struct str vendor, struct str model)
{
    return vendor.len == 0 ? NULL : catalog_rows_find(&catalog_builtin, vendor, model);
}

size_t prices_merge(const struct price_fact *given, size_t given_count,
                    const struct price_fact *imported, size_t imported_count,
                    const struct catalog_row *shipped, struct price_fact out[PRICES_PER_MODEL_MAX])
{
    size_t count = 0;
    int64_t ends_us = given_count > 0 ? given[0].valid_from_us : INT64_MAX;
    bool replaced = imported_count > 0 && imported[0].valid_from_us <= 0;
    if (shipped != NULL && ends_us > 0 && !replaced)
        out[count++] = (struct price_fact){.price = shipped->price,
                                           .valid_from_us = 0,
                                           .source = BUILTIN,
                                           .facts = shipped->source};
    for (size_t i = 0; i < imported_count && i < PRICES_IMPORTED_MAX; i++) {
        if (imported[i].valid_from_us < ends_us)
            out[count++] = imported[i];
    }
    for (size_t i = 0; i < given_count && i < PRICES_GIVEN_MAX; i++)
        out[count++] = given[i];
    return count;
}

/* --- the row of the resource ---------------------------------------------------------------------
 */

static uint64_t later_field(int64_t rate)
{
    return rate == PRICE_UNKNOWN ? 0 : (uint64_t)rate + 1;
}

static int64_t from_later_field(uint64_t value)
{
    return value == 0 ? PRICE_UNKNOWN : value - 1 > INT64_MAX ? INT64_MAX : (int64_t)(value - 1);
}

static char *text_in(struct arena *a, struct str s)
{
    static char empty[1] = "";
    return s.len == 0 ? empty : (char *)(uintptr_t)arena_copy(a, s).data;
}

static int write_tiers(struct arena *a, const struct price *price,
                       Steelyard__Control__V1__Price *out)
{
    Steelyard__Control__V1__PriceTier *t = arena_zalloc(a, price->tier_count, sizeof *t);
    Steelyard__Control__V1__PriceTier **list =
        arena_zalloc(a, price->tier_count, sizeof(Steelyard__Control__V1__PriceTier *));
    if (t == NULL || list == NULL)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < price->tier_count; i++) {
        const struct price_rates *r = &price->tiers[i].rates;
        steelyard__control__v1__price_tier__init(&t[i]);
        t[i].above = price->tiers[i].above;
        t[i].input = r->input;
        t[i].output = r->output;
        t[i].cached_input = r->cached_read;
        t[i].cache_write = r->cache_write;
        t[i].cache_write_1h = r->cache_write_1h;
        t[i].reasoning = r->reasoning;
        list[i] = &t[i];
    }
    out->tiers = list;
    out->n_tiers = price->tier_count;
    return 0;
}

int prices_write(struct arena *a, struct str provider, struct str model,
                 const struct price_fact *fact, Steelyard__Control__V1__Price *out)
{
    const struct price_rates *r = &fact->price.base;
    steelyard__control__v1__price__init(out);
    out->provider = text_in(a, provider);
    out->model = text_in(a, model);
    out->facts = text_in(a, fact->facts);
    if (out->provider == NULL || out->model == NULL || out->facts == NULL)
        return ERR_NOMEM;
    out->input = r->input;
    out->output = r->output;
    out->cached_input = r->cached_read;
    out->cache_write = r->cache_write;
    out->cache_write_1h = later_field(r->cache_write_1h);
    out->reasoning = later_field(r->reasoning);
    out->valid_from_us = fact->valid_from_us;
    out->source = fact->source;
    int rc = fact->price.tier_count == 0 ? 0 : write_tiers(a, &fact->price, out);
    if (rc == 0)
        out->price_id = prices_id(out);
    return rc;
}

bool prices_read(const Steelyard__Control__V1__Price *row, struct price_fact *out)
{
    struct price p = {.base = {.input = row->input,
                               .output = row->output,
                               .cached_read = row->cached_input,
                               .cache_write = row->cache_write,
                               .cache_write_1h = from_later_field(row->cache_write_1h),
                               .reasoning = from_later_field(row->reasoning)}};
    if (row->n_tiers > PRICE_TIERS_MAX)
        return false;
    for (; p.tier_count < row->n_tiers; p.tier_count++) {
        const Steelyard__Control__V1__PriceTier *t = row->tiers[p.tier_count];
        p.tiers[p.tier_count] =
            (struct price_tier){t->above,
                                {t->input, t->output, t->cached_input, t->cache_write,
                                 t->cache_write_1h, t->reasoning}};
    }
    if (!price_is_valid(&p))
        return false;
    *out = (struct price_fact){.price = p,
                               .valid_from_us = row->valid_from_us,
                               .source = row->source,
                               .facts = str_from(row->facts)};
    return true;
}

/* What came later is only part of the text where it says something, so that ids made before stay.
 */
uint64_t prices_id(const Steelyard__Control__V1__Price *p)
{
    char text[2048];
    size_t at = 0;
#define ADD(...)                                                                                   \
    do {                                                                                           \
        int n_ = snprintf(text + at, sizeof text - at, __VA_ARGS__);                               \
        at += n_ < 0 ? 0 : (size_t)n_ < sizeof text - at ? (size_t)n_ : sizeof text - at - 1;      \
    } while (0)
    ADD("%s\n%s\n%lld\n%lld\n%lld\n%lld\n%lld", p->provider, p->model, (long long)p->input,
        (long long)p->output, (long long)p->cached_input, (long long)p->cache_write,
        (long long)p->valid_from_us);
    if (p->cache_write_1h != 0 || p->reasoning != 0 || p->n_tiers > 0)
        ADD("\n%llu\n%llu", (unsigned long long)p->cache_write_1h,
            (unsigned long long)p->reasoning);
    for (size_t i = 0; i < p->n_tiers; i++) {
        const Steelyard__Control__V1__PriceTier *t = p->tiers[i];
        ADD("\n%llu:%lld:%lld:%lld:%lld:%lld:%lld", (unsigned long long)t->above,
            (long long)t->input, (long long)t->output, (long long)t->cached_input,
            (long long)t->cache_write, (long long)t->cache_write_1h, (long long)t->reasoning);
    }
#undef ADD
    struct sha256 sum = digest_sha256(text, at);
    uint64_t id = 0;
    for (unsigned i = 0; i < 8; i++)
        id = id << 8 | sum.bytes[i];
    id >>= 1;
    return id == 0 ? 1 : id;
}
