#include "controlplane/release/catalog_store.h"

#include "common/base/buf.h"

static int on_row(void *arg, const struct pq_result *r)
{
    struct catalog_row row = {
        .provider = pq_result_text(r, 0, 0),
        .model = pq_result_text(r, 0, 1),
        .price = {.base = {pq_result_i64(r, 0, 2), pq_result_i64(r, 0, 3), pq_result_i64(r, 0, 4),
                           pq_result_i64(r, 0, 5), pq_result_i64(r, 0, 6), pq_result_i64(r, 0, 7)}},
        .context = (uint32_t)pq_result_i64(r, 0, 9),
        .max_output = (uint32_t)pq_result_i64(r, 0, 10),
        .can = (uint32_t)pq_result_i64(r, 0, 11),
        .released = pq_result_text(r, 0, 12),
        .source = pq_result_text(r, 0, 13),
        .as_of = pq_result_text(r, 0, 14),
    };
    if (catalog_tiers_read(pq_result_text(r, 0, 8), &row.price) != 0)
        return ERR_INVALID; /* Not what catalog_store_add writes. */
    return catalog_rows_add(arg, &row);
}

int catalog_store_load(struct pq_conn *c, int64_t at_us, struct catalog_rows *out, struct err *err)
{
    struct pq_params p = {0};
    pq_params_time_us(&p, at_us);
    int rc = pq_conn_stream(
        c,
        "SELECT DISTINCT ON (p.provider, p.model) p.provider, p.model, p.input, p.output, "
        "p.cached_input, p.cache_write, p.cache_write_1h, p.reasoning, p.tiers, p.context, "
        "p.max_output, p.can, p.released, i.source, i.source_date::text FROM catalog_price p "
        "JOIN catalog_import i ON i.id = p.import_id WHERE p.valid_from <= $1 "
        "ORDER BY p.provider, p.model, p.valid_from DESC, p.id DESC",
        &p, on_row, out, err);
    if (rc != 0 && err != NULL && err->message[0] == '\0')
        (void)err_set(err, rc, "imported prices: %s", err_text(rc));
    if (rc == 0)
        catalog_rows_sort(out); /* The database may order names in another way. */
    return rc;
}

static int add_price(struct pq_conn *c, int64_t import, int64_t valid_from_us,
                     const struct catalog_row *row, struct err *err)
{
    struct pq_params p = {0};
    struct buf tiers = {0};
    const struct price_rates *r = &row->price.base;
    buf_init(&tiers, 4096);
    int rc = catalog_tiers_write(&row->price, &tiers);
    pq_params_i64(&p, import);
    pq_params_text(&p, row->provider);
    pq_params_text(&p, row->model);
    pq_params_i64(&p, r->input);
    pq_params_i64(&p, r->output);
    pq_params_i64(&p, r->cached_read);
    pq_params_i64(&p, r->cache_write);
    pq_params_i64(&p, r->cache_write_1h);
    pq_params_i64(&p, r->reasoning);
    pq_params_text(&p, tiers.len > 0 ? buf_str(&tiers) : STR(""));
    pq_params_i64(&p, row->context);
    pq_params_i64(&p, row->max_output);
    pq_params_i64(&p, row->can);
    pq_params_text(&p, row->released);
    pq_params_time_us(&p, valid_from_us);
    buf_deinit(&tiers);
    if (rc != 0) {
        pq_params_deinit(&p);
        return err_set(err, rc, "%s", err_text(rc));
    }
    return pq_conn_query(c,
                         "INSERT INTO catalog_price (import_id, provider, model, input, output, "
                         "cached_input, cache_write, cache_write_1h, reasoning, tiers, context, "
                         "max_output, can, released, valid_from) VALUES ($1, $2, $3, $4, $5, $6, "
                         "$7, $8, $9, $10, $11, $12, $13, $14, $15)",
                         &p, NULL, err);
}

int catalog_store_add(struct pq_conn *c, const struct catalog_import *import,
                      const struct catalog_row *const *rows, size_t count, int64_t *out_id,
                      struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_text(&p, import->actor);
    pq_params_text(&p, import->source);
    pq_params_text(&p, import->source_date);
    pq_params_i64(&p, (int64_t)import->row_count);
    pq_params_i64(&p, (int64_t)count);
    int rc = pq_conn_query(c,
                           "INSERT INTO catalog_import (actor, source, source_date, row_count, "
                           "added) VALUES ($1, $2, $3, $4, $5) RETURNING id",
                           &p, &r, err);
    if (rc == 0)
        *out_id = pq_result_i64(r, 0, 0);
    pq_result_destroy(r);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = add_price(c, *out_id, import->valid_from_us, rows[i], err);
    return rc;
}
