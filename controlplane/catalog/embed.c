/* embed TABLE.csv: the table as C, for builtin.h. Runs at build. */
#include <stdio.h>

#include "common/base/buf.h"
#include "controlplane/catalog/read.h"

static void put_text(struct str s)
{
    printf("{\"");
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] == '"' || s.data[i] == '\\')
            putchar('\\');
        putchar(s.data[i]);
    }
    printf("\", %zu}", s.len);
}

static void put_rates(const struct price_rates *r)
{
    printf("{%lld, %lld, %lld, %lld, %lld, %lld}", (long long)r->input, (long long)r->output,
           (long long)r->cached_read, (long long)r->cache_write, (long long)r->cache_write_1h,
           (long long)r->reasoning);
}

static void put_row(const struct catalog_row *r)
{
    printf("    {.provider = ");
    put_text(r->provider);
    printf(", .model = ");
    put_text(r->model);
    printf(",\n     .price = {.base = ");
    put_rates(&r->price.base);
    printf(", .tier_count = %u, .tiers = {", r->price.tier_count);
    for (uint32_t i = 0; i < r->price.tier_count; i++) {
        printf("{%llu, ", (unsigned long long)r->price.tiers[i].above);
        put_rates(&r->price.tiers[i].rates);
        printf("}, ");
    }
    printf("{0}}},\n     .context = %u, .max_output = %u, .can = %u, .released = ", r->context,
           r->max_output, r->can);
    put_text(r->released);
    printf(", .source = ");
    put_text(r->source);
    printf(", .as_of = ");
    put_text(r->as_of);
    printf("},\n");
}

int main(int argc, char **argv)
{
    struct buf file = {0};
    struct catalog_rows t;
    struct err err = {0};
    if (argc != 2)
        return 2;
    buf_init(&file, CATALOG_FILE_BYTES_MAX);
    catalog_rows_init(&t);
    int rc = buf_read_file(&file, argv[1], CATALOG_FILE_BYTES_MAX, &err);
    if (rc == 0)
        rc = catalog_read(buf_str(&file), CATALOG_CSV, &t, NULL, &err);
    if (rc == 0 && t.skip_count > 0)
        rc = err_set(&err, ERR_INVALID, "%.*s: %.*s", STR_ARG(t.skips[0].name),
                     STR_ARG(t.skips[0].reason));
    if (rc != 0) {
        fprintf(stderr, "%s: %s\n", argv[1], err.message);
    } else {
        printf("#include \"controlplane/catalog/builtin.h\"\n\n"
               "static struct catalog_row rows[] = {\n");
        for (size_t i = 0; i < t.count; i++)
            put_row(&t.rows[i]);
        printf("};\nconst struct catalog_rows catalog_builtin = {.rows = rows, .count = %zu};\n",
               t.count);
    }
    catalog_rows_deinit(&t);
    buf_deinit(&file);
    return rc == 0 && fflush(stdout) == 0 ? 0 : 1;
}
