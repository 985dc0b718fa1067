/* The Prices resource: for each model at each of its providers what the configuration says, what
 * was imported and what is shipped, merged into one row per time from which it holds. Every row
 * that is published is kept for ever under its id, because decisions name it. */
#include "common/base/mem.h"
#include "control.pb-c.h"
#include "controlplane/config/prices.h"
#include "controlplane/release/publish.h"

#define BODY_BYTES_MAX (64U << 20)
#define GIVEN          STEELYARD__CONTROL__V1__PRICE_SOURCE__PRICE_SOURCE_CONFIG
#define UNSAID         STEELYARD__CONTROL__V1__PRICE_SOURCE__PRICE_SOURCE_UNKNOWN
#define IMPORTED       STEELYARD__CONTROL__V1__PRICE_SOURCE__PRICE_SOURCE_IMPORT

typedef Steelyard__Control__V1__Catalogue Catalogue;
typedef Steelyard__Control__V1__Prices Prices;
typedef Steelyard__Control__V1__Price Price;
typedef Steelyard__Control__V1__Provider Provider;

struct merging {
    struct pq_conn *c;
    struct arena_pool chunks;
    struct arena arena;
    const Catalogue *catalogue;
    const Prices *given; /* Rows of other sources in it are not looked at. */
    Price **rows;
    size_t count, room;
};

/* --- rows of the table ---------------------------------------------------------------------------
 */

static const char *source_word(Steelyard__Control__V1__PriceSource source)
{
    static const char *const words[] = {"", "config", "import", "builtin"};
    return (unsigned)source < sizeof words / sizeof words[0] ? words[source] : "";
}

/* Price rows never change; a row with a known id is there already. */
static int keep_price(struct pq_conn *c, const Price *row, struct err *err)
{
    struct pq_params p = {0};
    struct price_fact fact;
    struct buf tiers = {0};
    if (!prices_read(row, &fact))
        return err_set(err, ERR_INVALID, "the price of %s at %s is out of range", row->model,
                       row->provider);
    buf_init(&tiers, 4096);
    int rc = catalog_tiers_write(&fact.price, &tiers);
    if (rc != 0) {
        buf_deinit(&tiers);
        return err_set(err, rc, "prices: %s", err_text(rc));
    }
    pq_params_i64(&p, (int64_t)row->price_id);
    pq_params_text(&p, str_from(row->provider));
    pq_params_text(&p, str_from(row->model));
    pq_params_i64(&p, fact.price.base.input);
    pq_params_i64(&p, fact.price.base.output);
    pq_params_i64(&p, fact.price.base.cached_read);
    pq_params_i64(&p, fact.price.base.cache_write);
    pq_params_time_us(&p, row->valid_from_us);
    pq_params_i64(&p, fact.price.base.cache_write_1h);
    pq_params_i64(&p, fact.price.base.reasoning);
    pq_params_text(&p, tiers.len > 0 ? buf_str(&tiers) : STR(""));
    pq_params_text(&p, str_from(source_word(row->source)));
    pq_params_text(&p, str_from(row->facts));
    buf_deinit(&tiers);
    return pq_conn_query(c,
                         "INSERT INTO price (price_id, provider, model, input, output, "
                         "cached_input, cache_write, valid_from, cache_write_1h, reasoning, tiers, "
                         "source, facts) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, "
                         "$12, $13) ON CONFLICT DO NOTHING",
                         &p, NULL, err);
}

/* The newest imported rows of a model, one per time, ascending. */
static int load_imported(struct merging *m, struct str vendor, struct str model,
                         struct price_fact out[PRICES_IMPORTED_MAX], size_t *out_count,
                         struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_text(&p, vendor);
    pq_params_text(&p, model);
    pq_params_i64(&p, PRICES_IMPORTED_MAX);
    int rc = pq_conn_query(
        m->c,
        "SELECT * FROM (SELECT DISTINCT ON (p.valid_from) p.input, p.output, p.cached_input, "
        "p.cache_write, p.cache_write_1h, p.reasoning, p.tiers, p.valid_from, "
        "i.source || ' ' || i.source_date FROM catalog_price p JOIN catalog_import i "
        "ON i.id = p.import_id WHERE p.provider = $1 AND p.model = $2 "
        "ORDER BY p.valid_from DESC, p.id DESC LIMIT $3) newest ORDER BY valid_from",
        &p, &r, err);
    for (int i = 0; rc == 0 && i < pq_result_rows(r); i++) {
        struct price_fact *f = &out[i];
        *f = (struct price_fact){
            .price = {.base = {pq_result_i64(r, i, 0), pq_result_i64(r, i, 1),
                               pq_result_i64(r, i, 2), pq_result_i64(r, i, 3),
                               pq_result_i64(r, i, 4), pq_result_i64(r, i, 5)}},
            .valid_from_us = pq_result_time_us(r, i, 7),
            .source = IMPORTED,
            .facts = arena_copy(&m->arena, pq_result_text(r, i, 8)),
        };
        if (f->facts.data == NULL)
            rc = err_set(err, ERR_NOMEM, "prices: out of memory");
        else if (catalog_tiers_read(pq_result_text(r, i, 6), &f->price) != 0)
            rc = err_set(err, ERR_INVALID, "an imported price of %.*s cannot be read",
                         STR_ARG(model));
    }
    if (rc == 0)
        *out_count = (size_t)pq_result_rows(r);
    pq_result_destroy(r);
    return rc;
}

/* --- merging -------------------------------------------------------------------------------------
 */

/* What the configuration gives, ascending. Rows of before the source was said count as given: they
 * are replaced when the configuration is next applied. */
static size_t given_of(const struct merging *m, const char *provider, const char *model,
                       struct price_fact out[PRICES_GIVEN_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < m->given->n_prices && count < PRICES_GIVEN_MAX; i++) {
        const Price *row = m->given->prices[i];
        struct price_fact fact;
        if ((row->source != GIVEN && row->source != UNSAID) ||
            !str_is(str_from(row->provider), provider) || !str_is(str_from(row->model), model) ||
            !prices_read(row, &fact))
            continue;
        size_t at = count++;
        for (; at > 0 && out[at - 1].valid_from_us > fact.valid_from_us; at--)
            out[at] = out[at - 1];
        out[at] = fact;
    }
    return count;
}

static const Provider *provider_named(const Catalogue *c, const char *name)
{
    for (size_t i = 0; i < c->n_providers; i++) {
        if (str_is(str_from(c->providers[i]->name), name))
            return c->providers[i];
    }
    return NULL;
}

static int add_row(struct merging *m, struct str provider, struct str model,
                   const struct price_fact *fact)
{
    if (m->count == m->room) {
        size_t more = m->room == 0 ? 64 : m->room * 2;
        Price **bigger = mem_realloc(m->rows, more * sizeof *bigger);
        if (bigger == NULL)
            return ERR_NOMEM;
        m->rows = bigger;
        m->room = more;
    }
    Price *row = arena_zalloc(&m->arena, 1, sizeof *row);
    if (row == NULL || prices_write(&m->arena, provider, model, fact, row) != 0)
        return ERR_NOMEM;
    m->rows[m->count++] = row;
    return 0;
}

static int merge_deployment(struct merging *m, const Steelyard__Control__V1__Model *model,
                            const Steelyard__Control__V1__Deployment *d, struct err *err)
{
    struct price_fact given[PRICES_GIVEN_MAX], imported[PRICES_IMPORTED_MAX];
    struct price_fact facts[PRICES_PER_MODEL_MAX];
    const Provider *provider = provider_named(m->catalogue, d->provider);
    struct str vendor =
        provider == NULL ? STR_NULL
                         : prices_vendor(str_from(provider->base_url), str_from(provider->catalog));
    struct str upstream = str_from(d->upstream_model);
    size_t imported_count = 0;
    int rc =
        vendor.len == 0 ? 0 : load_imported(m, vendor, upstream, imported, &imported_count, err);
    if (rc != 0)
        return rc;
    size_t count = prices_merge(given, given_of(m, d->provider, model->id, given), imported,
                                imported_count, prices_shipped(vendor, upstream), facts);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = add_row(m, str_from(d->provider), str_from(model->id), &facts[i]);
        if (rc == 0)
            rc = keep_price(m->c, m->rows[m->count - 1], err);
    }
    return rc;
}

/* Two deployments of a model at one provider have one price, that of the first. */
static int merge_all(struct merging *m, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < m->catalogue->n_models; i++) {
        const Steelyard__Control__V1__Model *model = m->catalogue->models[i];
        for (size_t j = 0; rc == 0 && j < model->n_deployments; j++) {
            bool repeated = false;
            for (size_t k = 0; k < j; k++)
                repeated = repeated || str_eq(str_from(model->deployments[k]->provider),
                                              str_from(model->deployments[j]->provider));
            if (!repeated)
                rc = merge_deployment(m, model, model->deployments[j], err);
        }
    }
    return rc;
}

static int put_merged(struct merging *m, struct err *err)
{
    struct buf body = {0};
    Prices all = STEELYARD__CONTROL__V1__PRICES__INIT;
    all.prices = m->rows;
    all.n_prices = m->count;
    buf_init(&body, BODY_BYTES_MAX);
    size_t len = steelyard__control__v1__prices__get_packed_size(&all);
    int rc = buf_reserve(&body, len);
    if (rc == 0) {
        body.len = steelyard__control__v1__prices__pack(&all, (uint8_t *)body.data);
        const struct publish_change change = {
            .key = STR("prices"),
            .type = STEELYARD__CONTROL__V1__RESOURCE_TYPE__RESOURCE_PRICES,
            .body = body.len > 0 ? buf_str(&body) : STR(""),
        };
        rc = publish_put(m->c, &change, err);
    }
    buf_deinit(&body);
    return rc;
}

int publish_put_prices(struct pq_conn *c, struct str catalogue, struct str given, struct err *err)
{
    struct merging m = {.c = c};
    Catalogue *models = steelyard__control__v1__catalogue__unpack(NULL, catalogue.len,
                                                                  (const uint8_t *)catalogue.data);
    Prices *prices =
        steelyard__control__v1__prices__unpack(NULL, given.len, (const uint8_t *)given.data);
    arena_pool_init(&m.chunks, 0);
    arena_init(&m.arena, &m.chunks, BODY_BYTES_MAX);
    m.catalogue = models;
    m.given = prices;
    int rc = models == NULL || prices == NULL ? ERR_NOMEM : merge_all(&m, err);
    if (rc == 0)
        rc = put_merged(&m, err);
    if (rc != 0 && err != NULL && err->message[0] == '\0')
        (void)err_set(err, rc, "prices: %s", err_text(rc));
    mem_free(m.rows);
    arena_reset(&m.arena);
    arena_pool_deinit(&m.chunks);
    if (models != NULL)
        steelyard__control__v1__catalogue__free_unpacked(models, NULL);
    if (prices != NULL)
        steelyard__control__v1__prices__free_unpacked(prices, NULL);
    return rc;
}

static int load_body(struct pq_conn *c, const char *key, struct buf *out, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_text(&p, str_from(key));
    int rc = pq_conn_query(c, "SELECT body FROM resource WHERE key = $1", &p, &r, err);
    if (rc == 0 && pq_result_rows(r) > 0)
        rc = pq_result_bytes(r, 0, 0, out);
    pq_result_destroy(r);
    return rc;
}

int publish_refresh_prices(struct pq_conn *c, struct err *err)
{
    struct buf catalogue = {0}, prices = {0};
    buf_init(&catalogue, BODY_BYTES_MAX);
    buf_init(&prices, BODY_BYTES_MAX);
    int rc = load_body(c, "catalogue", &catalogue, err);
    if (rc == 0)
        rc = load_body(c, "prices", &prices, err);
    if (rc == 0)
        rc = publish_put_prices(c, buf_str(&catalogue), buf_str(&prices), err);
    buf_deinit(&catalogue);
    buf_deinit(&prices);
    return rc;
}
