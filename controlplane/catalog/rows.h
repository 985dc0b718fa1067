/* rows.h: price facts of models as public catalogues have them: what a reader of a published file
 * makes, what an import compares and stores, what is compiled in.
 *
 * A row is named by (provider, model) in the names of models.dev: "openai" and "gpt-5-mini". Money
 * is exact: decimal text becomes an integer or is refused, floating point never sees it. What
 * cannot be taken is kept as a `skip` with its reason, so that nothing is left out silently.
 * One thread at a time; a finished table may be read by many. */
#ifndef STEELYARD_CONTROLPLANE_CATALOG_ROWS_H
#define STEELYARD_CONTROLPLANE_CATALOG_ROWS_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/map.h"
#include "common/base/str.h"
#include "common/route/price.h"

#define CATALOG_FILE_BYTES_MAX (16U << 20)
#define CATALOG_ROWS_MAX       20000U
#define CATALOG_NAME_BYTES_MAX 127U

/* Bits of ModelCapability (control.proto), in its order. */
enum catalog_can {
    CATALOG_TOOLS = 1,
    CATALOG_IMAGES = 2,
    CATALOG_JSON = 4,
    CATALOG_STREAM = 8,
    CATALOG_REASONING = 16,
};

struct catalog_row {
    struct str provider;
    struct str model;
    struct price price;
    uint32_t context;    /* Tokens, 0: unknown. */
    uint32_t max_output; /* Tokens, 0: unknown. */
    uint32_t can;        /* enum catalog_can, what is known. */
    struct str released; /* "2026-06-30", or empty. */
    struct str source;   /* "models.dev", of where the file says it row by row; else empty. */
    struct str as_of;    /* The day of that. */
};

struct catalog_skip { /* A row that could not be taken. */
    struct str name;  /* "provider/model", made printable. */
    struct str reason;
};

struct catalog_rows {
    struct arena_pool chunks; /* Private. */
    struct arena arena;       /* Of all texts; may be used for more that lives as long. */
    struct map by_name;       /* Private. */
    struct catalog_row *rows; /* After catalog_rows_sort: by provider, then model. */
    size_t count;
    struct catalog_skip *skips;
    size_t skip_count;
    size_t row_room, skip_room; /* Private. */
};

void catalog_rows_init(struct catalog_rows *t);
void catalog_rows_deinit(struct catalog_rows *t); /* Also fine on a zeroed struct. */

/* Copies the texts. A row whose name is known already is dropped when its price is the same, and
 * else noted as a skip: nobody can say which one holds. Checks the names (1 to 127 bytes of valid
 * UTF-8 without controls) and the price; what fails is a skip and 0 is returned. ERR_NOMEM;
 * ERR_LIMIT: more than CATALOG_ROWS_MAX rows or skips. */
int catalog_rows_add(struct catalog_rows *t, const struct catalog_row *row) MUST_CHECK;
int catalog_rows_skip(struct catalog_rows *t, struct str provider, struct str model,
                      const char *format, ...) MUST_CHECK PRINTF_LIKE(4, 5);
void catalog_rows_sort(struct catalog_rows *t);
/* NULL: not there. */
const struct catalog_row *catalog_rows_find(const struct catalog_rows *t, struct str provider,
                                            struct str model);

bool catalog_price_equal(const struct price *a, const struct price *b);

/* Decimal text, also with an exponent ("1.25e-06"), of a price in USD for 10^per tokens (per 0: a
 * token, per 6: a million) -> a rate. ERR_SYNTAX; ERR_RANGE: negative, more than PRICE_RATE_MAX, or
 * finer than 1e-15 USD a token. */
int catalog_rate(struct str text, unsigned per, int64_t *out_rate) MUST_CHECK;
/* A rate as USD per million tokens: "0.075"; "" if unknown. out: 32 bytes. */
const char *catalog_rate_text(int64_t rate, char out[32]);

/* Tiers as text, for a column: "200000:in:out:read:write:write1h:reasoning;...", rates in nano-USD
 * per million tokens, empty: unknown. Round trip. ERR_SYNTAX for any other text. */
int catalog_tiers_write(const struct price *price, struct buf *out) MUST_CHECK;
int catalog_tiers_read(struct str text, struct price *io_price) MUST_CHECK;

#endif
