#include "controlplane/catalog/rows.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

#define ARENA_BYTES_MAX (64U << 20)

void catalog_rows_init(struct catalog_rows *t)
{
    *t = (struct catalog_rows){0};
    arena_pool_init(&t->chunks, 0);
    arena_init(&t->arena, &t->chunks, ARENA_BYTES_MAX);
    map_init(&t->by_name);
}

void catalog_rows_deinit(struct catalog_rows *t)
{
    if (t->arena.pool == NULL)
        return;
    map_deinit(&t->by_name);
    mem_free(t->rows);
    mem_free(t->skips);
    arena_reset(&t->arena);
    arena_pool_deinit(&t->chunks);
    *t = (struct catalog_rows){0};
}

/* --- names ---------------------------------------------------------------------------------------
 */

static bool name_ok(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if ((uint8_t)s.data[i] < 0x20 || s.data[i] == 0x7f)
            return false;
    }
    return s.len > 0 && s.len <= CATALOG_NAME_BYTES_MAX && str_valid_utf8(s);
}

/* For people: controls and bytes beyond ASCII as '?', cut. */
static void printable(struct str s, char *out, size_t out_bytes)
{
    size_t n = 0;
    for (; n < s.len && n + 1 < out_bytes; n++)
        out[n] = s.data[n] >= 0x20 && s.data[n] < 0x7f ? s.data[n] : '?';
    out[n] = '\0';
}

static struct str key_of(struct arena *a, struct str provider, struct str model)
{
    char *key = arena_alloc(a, provider.len + model.len + 1);
    if (key == NULL)
        return STR_NULL;
    memcpy(key, provider.data, provider.len);
    key[provider.len] = '\n'; /* No name has one. */
    memcpy(key + provider.len + 1, model.data, model.len);
    return (struct str){.data = key, .len = provider.len + model.len + 1};
}

/* --- the table -----------------------------------------------------------------------------------
 */

static int make_room(void **items, size_t *room, size_t count, size_t size)
{
    if (count < *room)
        return 0;
    if (count >= CATALOG_ROWS_MAX)
        return ERR_LIMIT;
    size_t more = *room == 0 ? 64 : *room * 2;
    void *bigger = mem_realloc(*items, more * size);
    if (bigger == NULL)
        return ERR_NOMEM;
    *items = bigger;
    *room = more;
    return 0;
}

int catalog_rows_skip(struct catalog_rows *t, struct str provider, struct str model,
                      const char *format, ...)
{
    char left[64], right[CATALOG_NAME_BYTES_MAX + 1], reason[160];
    void *items = t->skips;
    va_list args;
    int rc = make_room(&items, &t->skip_room, t->skip_count, sizeof *t->skips);
    if (rc != 0)
        return rc;
    t->skips = items;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    printable(provider, left, sizeof left);
    printable(model, right, sizeof right);
    const char *name = arena_printf(&t->arena, "%s%s%s", left, left[0] == '\0' ? "" : "/", right);
    struct str why = arena_copy(&t->arena, str_from(reason));
    if (name == NULL || why.data == NULL)
        return ERR_NOMEM;
    t->skips[t->skip_count++] = (struct catalog_skip){str_from(name), why};
    return 0;
}

static bool rates_equal(const struct price_rates *a, const struct price_rates *b)
{
    return a->input == b->input && a->output == b->output && a->cached_read == b->cached_read &&
           a->cache_write == b->cache_write && a->cache_write_1h == b->cache_write_1h &&
           a->reasoning == b->reasoning;
}

bool catalog_price_equal(const struct price *a, const struct price *b)
{
    if (!rates_equal(&a->base, &b->base) || a->tier_count != b->tier_count)
        return false;
    for (uint32_t i = 0; i < a->tier_count; i++) {
        if (a->tiers[i].above != b->tiers[i].above ||
            !rates_equal(&a->tiers[i].rates, &b->tiers[i].rates))
            return false;
    }
    return true;
}

/* Copies of the texts; false: no memory. An absent text stays absent. */
static bool keep_texts(struct arena *a, struct catalog_row *row)
{
    struct str *const texts[] = {&row->provider, &row->model, &row->released, &row->source,
                                 &row->as_of};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (texts[i]->len == 0) {
            *texts[i] = STR("");
            continue;
        }
        *texts[i] = arena_copy(a, *texts[i]);
        if (texts[i]->data == NULL)
            return false;
    }
    return true;
}

int catalog_rows_add(struct catalog_rows *t, const struct catalog_row *row)
{
    void *items = t->rows;
    if (!name_ok(row->provider) || !name_ok(row->model))
        return catalog_rows_skip(t, row->provider, row->model,
                                 "the name is empty, too long or not printable");
    if (row->price.base.input == PRICE_UNKNOWN || row->price.base.output == PRICE_UNKNOWN)
        return catalog_rows_skip(t, row->provider, row->model, "no price for input and output");
    if (!price_known(&row->price))
        return catalog_rows_skip(t, row->provider, row->model,
                                 "a rate is out of range, or tiers are out of order");
    struct str key = key_of(&t->arena, row->provider, row->model);
    if (key.data == NULL)
        return ERR_NOMEM;
    /* Positions, because rows move when the array grows; + 1, because NULL is "not there". */
    size_t known = (size_t)(uintptr_t)map_get(&t->by_name, key);
    if (known != 0)
        return catalog_price_equal(&t->rows[known - 1].price, &row->price)
                   ? 0
                   : catalog_rows_skip(t, row->provider, row->model,
                                       "named twice with different prices; the first was taken");
    int rc = make_room(&items, &t->row_room, t->count, sizeof *t->rows);
    if (rc != 0)
        return rc;
    t->rows = items;
    struct catalog_row copy = *row;
    if (!keep_texts(&t->arena, &copy))
        return ERR_NOMEM;
    rc = map_put(&t->by_name, key, (void *)(uintptr_t)(t->count + 1), NULL);
    if (rc == 0)
        t->rows[t->count++] = copy;
    return rc;
}

static int compare_names(struct str provider, struct str model, const struct catalog_row *row)
{
    int order = str_compare(provider, row->provider);
    return order != 0 ? order : str_compare(model, row->model);
}

static int compare_rows(const void *a, const void *b)
{
    const struct catalog_row *left = a;
    return compare_names(left->provider, left->model, b);
}

void catalog_rows_sort(struct catalog_rows *t)
{
    if (t->count > 0)
        qsort(t->rows, t->count, sizeof *t->rows, compare_rows);
}

const struct catalog_row *catalog_rows_find(const struct catalog_rows *t, struct str provider,
                                            struct str model)
{
    size_t low = 0, high = t->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = compare_names(provider, model, &t->rows[mid]);
        if (order == 0)
            return &t->rows[mid];
        if (order < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

/* --- rates ---------------------------------------------------------------------------------------
 */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Cuts "e-06" off; ERR_SYNTAX if it is no exponent. */
static int cut_exponent(struct str *io_text, int *out_exponent)
{
    size_t at = 0;
    while (at < io_text->len && io_text->data[at] != 'e' && io_text->data[at] != 'E')
        at++;
    *out_exponent = 0;
    if (at == io_text->len)
        return 0;
    struct str tail = str_slice(*io_text, at + 1, io_text->len);
    bool negative = tail.len > 0 && tail.data[0] == '-';
    uint64_t value;
    if (tail.len > 0 && (tail.data[0] == '-' || tail.data[0] == '+'))
        tail = str_slice(tail, 1, tail.len);
    if (str_parse_u64(tail, 99, &value) != 0)
        return ERR_SYNTAX;
    *out_exponent = negative ? -(int)value : (int)value;
    *io_text = str_slice(*io_text, 0, at);
    return 0;
}

/* All digits as one integer; zeros that say nothing are left out, so that what does not fit is also
 * too much or too fine as a rate. */
static int digits_of(struct str text, uint64_t *out_value, int *out_decimals)
{
    uint64_t value = 0;
    int decimals = 0, zeros = 0;
    bool point = false, any = false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '.' && !point && any && i + 1 < text.len) {
            point = true;
            continue;
        }
        if (!is_digit(text.data[i]))
            return ERR_SYNTAX;
        any = true;
        if (text.data[i] == '0' && value != 0) {
            zeros++;
            decimals += point ? 1 : 0;
            continue;
        }
        decimals += point ? 1 : 0;
        if (value == 0 && text.data[i] == '0')
            continue;
        for (; zeros > 0; zeros--) {
            if (value > UINT64_MAX / 100)
                return ERR_RANGE;
            value *= 10;
        }
        if (value > UINT64_MAX / 100)
            return ERR_RANGE;
        value = value * 10 + (unsigned)(text.data[i] - '0');
    }
    if (!any)
        return ERR_SYNTAX;
    *out_value = value;
    *out_decimals = decimals - zeros;
    return 0;
}

int catalog_rate(struct str text, unsigned per, int64_t *out_rate)
{
    uint64_t value;
    int exponent, decimals;
    if (text.len > 64)
        return ERR_SYNTAX;
    bool negative = text.len > 0 && text.data[0] == '-';
    if (negative)
        text = str_slice(text, 1, text.len);
    int rc = cut_exponent(&text, &exponent);
    if (rc == 0)
        rc = digits_of(text, &value, &decimals);
    if (rc != 0)
        return rc;
    if (value == 0) {
        *out_rate = 0;
        return 0;
    }
    /* nano-USD per 10^6 tokens. */
    int shift = 9 + 6 - (int)per + exponent - decimals;
    for (; shift > 0 && value <= (uint64_t)PRICE_RATE_MAX; shift--)
        value *= 10;
    for (; shift < 0 && value % 10 == 0; shift++)
        value /= 10;
    if (negative || shift != 0 || value > (uint64_t)PRICE_RATE_MAX)
        return ERR_RANGE;
    *out_rate = (int64_t)value;
    return 0;
}

const char *catalog_rate_text(int64_t rate, char out[32])
{
    if (rate < 0) {
        out[0] = '\0';
        return out;
    }
    snprintf(out, 32, "%lld.%09lld", (long long)(rate / 1000000000),
             (long long)(rate % 1000000000));
    size_t len = strlen(out);
    while (out[len - 1] == '0')
        out[--len] = '\0';
    if (out[len - 1] == '.')
        out[--len] = '\0';
    return out;
}

/* --- tiers as text -------------------------------------------------------------------------------
 */

enum { TIER_RATES = 6 };

static void rates_out(const struct price_rates *r, int64_t out[TIER_RATES])
{
    const int64_t all[TIER_RATES] = {r->input,       r->output,         r->cached_read,
                                     r->cache_write, r->cache_write_1h, r->reasoning};
    memcpy(out, all, sizeof all);
}

int catalog_tiers_write(const struct price *price, struct buf *out)
{
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < price->tier_count; i++) {
        int64_t rates[TIER_RATES];
        rates_out(&price->tiers[i].rates, rates);
        if (i > 0)
            rc = buf_append_char(out, ';');
        if (rc == 0)
            rc = buf_append_u64(out, price->tiers[i].above);
        for (unsigned k = 0; rc == 0 && k < TIER_RATES; k++) {
            rc = buf_append_char(out, ':');
            if (rc == 0 && rates[k] != PRICE_UNKNOWN)
                rc = buf_append_i64(out, rates[k]);
        }
    }
    return rc;
}

static int tier_read(struct str text, struct price_tier *out)
{
    struct str part;
    int64_t rates[TIER_RATES];
    bool more = str_cut(text, ':', &part, &text);
    if (str_parse_u64(part, INT64_MAX, &out->above) != 0)
        return ERR_SYNTAX;
    for (unsigned k = 0; k < TIER_RATES; k++) {
        if (!more)
            return ERR_SYNTAX;
        more = str_cut(text, ':', &part, &text);
        rates[k] = PRICE_UNKNOWN;
        if (part.len > 0 && str_parse_i64(part, 0, PRICE_RATE_MAX, &rates[k]) != 0)
            return ERR_SYNTAX;
    }
    out->rates = (struct price_rates){rates[0], rates[1], rates[2], rates[3], rates[4], rates[5]};
    return more ? ERR_SYNTAX : 0;
}

int catalog_tiers_read(struct str text, struct price *io_price)
{
    struct price p = *io_price;
    bool more = text.len > 0;
    p.tier_count = 0;
    while (more) {
        struct str part;
        more = str_cut(text, ';', &part, &text);
        if (p.tier_count == PRICE_TIERS_MAX || tier_read(part, &p.tiers[p.tier_count]) != 0)
            return ERR_SYNTAX;
        p.tier_count++;
    }
    if (!price_is_valid(&p))
        return ERR_SYNTAX;
    *io_price = p;
    return 0;
}
