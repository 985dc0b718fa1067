/* Any bytes as a published price file, in every format: reading ends, its memory is bounded by the
 * file, each row taken has a whole valid price that survives being written and read again, and the
 * same file gives the same rows. */
#include <stdlib.h>

#include "common/base/mem.h"
#include "controlplane/catalog/compare.h"
#include "controlplane/catalog/lint.h"
#include "controlplane/catalog/read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void check_row(const struct catalog_row *row)
{
    struct price again = {.base = row->price.base};
    struct buf text = {0};
    int64_t cost;
    require(price_known(&row->price) && row->provider.len > 0 && row->model.len > 0);
    buf_init(&text, 4096);
    require(catalog_tiers_write(&row->price, &text) == 0);
    require(catalog_tiers_read(buf_str(&text), &again) == 0);
    require(catalog_price_equal(&again, &row->price));
    require(catalog_factor(&again, &row->price) == 1000);
    require(price_worst(&row->price, 1000000, 1000, &cost) == 0 && cost >= 0);
    (void)catalog_lint(row, row);
    buf_deinit(&text);
}

static void check(struct str text, enum catalog_format format)
{
    struct catalog_rows a, b;
    struct err err;
    catalog_rows_init(&a);
    catalog_rows_init(&b);
    int rc = catalog_read(text, format, &a, NULL, &err);
    require(rc == 0 || rc == ERR_SYNTAX || rc == ERR_LIMIT);
    require(catalog_read(text, format, &b, NULL, &err) == rc);
    if (rc == 0) {
        require(a.count == b.count && a.skip_count == b.skip_count);
        require(a.count + a.skip_count <= text.len);
        for (size_t i = 0; i < a.count; i++) {
            check_row(&a.rows[i]);
            require(catalog_price_equal(&a.rows[i].price, &b.rows[i].price));
            require(catalog_rows_find(&a, a.rows[i].provider, a.rows[i].model) == &a.rows[i]);
        }
    }
    catalog_rows_deinit(&a);
    catalog_rows_deinit(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {.data = (const char *)data, .len = size};
    int64_t rate;
    if (size > 65536)
        return 0;
    if (catalog_rate(text, 0, &rate) == 0)
        require(rate >= 0 && rate <= PRICE_RATE_MAX);
    for (int format = CATALOG_AUTO; format <= CATALOG_CSV; format++)
        check(text, (enum catalog_format)format);
    return 0;
}
