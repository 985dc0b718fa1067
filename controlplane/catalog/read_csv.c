/* A header line that names the columns, then a model a line; USD per million tokens, empty:
 * unknown; lines that begin with '#' are comments. Columns are found by name, others are ignored:
 *   provider (or litellm_provider), model, price_in, price_out, price_cache_read,
 *   price_cache_write, price_cache_write_1h, price_reasoning, price_tiers
 *   ("SIZE:in/out/cache_read/cache_write" joined by ';') or tier_threshold ("200k"), price_in_tier
 *   and price_out_tier; context (or max_input), max_output, can ("tools+images+json+stream+
 *   reasoning"), release_date, source, as_of. Fields may be quoted as in RFC 4180. */
#include <string.h>

#include "controlplane/catalog/read.h"
#include "controlplane/catalog/vendors.h"

#define COLUMNS_MAX    64
#define LINE_BYTES_MAX 65536U
#define PER_MILLION    6

enum column {
    COL_PROVIDER,
    COL_LITELLM,
    COL_MODEL,
    COL_IN,
    COL_OUT,
    COL_READ,
    COL_WRITE,
    COL_WRITE_1H,
    COL_REASONING,
    COL_TIERS,
    COL_TIER_SIZE,
    COL_TIER_IN,
    COL_TIER_OUT,
    COL_CONTEXT,
    COL_MAX_INPUT,
    COL_MAX_OUTPUT,
    COL_CAN,
    COL_RELEASED,
    COL_SOURCE,
    COL_AS_OF,
    COL_COUNT,
};
static const char *const column_names[COL_COUNT] = {
    "provider",
    "litellm_provider",
    "model",
    "price_in",
    "price_out",
    "price_cache_read",
    "price_cache_write",
    "price_cache_write_1h",
    "price_reasoning",
    "price_tiers",
    "tier_threshold",
    "price_in_tier",
    "price_out_tier",
    "context",
    "max_input",
    "max_output",
    "can",
    "release_date",
    "source",
    "as_of",
};

struct line {
    struct str field[COLUMNS_MAX];
    size_t count;
};

/* Quotes are taken off in a copy, since a doubled one stands for one. */
static int take_quoted(struct arena *a, struct str text, size_t *io_at, struct str *out)
{
    char *copy = arena_alloc(a, text.len - *io_at);
    size_t n = 0, at = *io_at + 1;
    if (copy == NULL)
        return ERR_NOMEM;
    for (;; at++) {
        if (at >= text.len)
            return ERR_SYNTAX;
        if (text.data[at] == '"') {
            if (at + 1 < text.len && text.data[at + 1] == '"')
                at++;
            else
                break;
        }
        copy[n++] = text.data[at];
    }
    *out = (struct str){.data = copy, .len = n};
    *io_at = at + 1;
    return 0;
}

static int split(struct arena *a, struct str text, struct line *out)
{
    size_t at = 0;
    out->count = 0;
    for (;;) {
        if (out->count == COLUMNS_MAX)
            return ERR_SYNTAX;
        struct str *field = &out->field[out->count++];
        if (at < text.len && text.data[at] == '"') {
            int rc = take_quoted(a, text, &at, field);
            if (rc != 0)
                return rc;
            if (at < text.len && text.data[at] != ',')
                return ERR_SYNTAX;
        } else {
            size_t from = at;
            while (at < text.len && text.data[at] != ',')
                at++;
            *field = str_slice(text, from, at);
        }
        if (at >= text.len)
            return 0;
        at++;
    }
}

struct reading {
    struct catalog_rows *t;
    int place[COL_COUNT]; /* Of a column in a line, or -1. */
    const struct line *line;
    const char *fault;
};

static struct str field_at(const struct reading *r, enum column c)
{
    int at = r->place[c];
    return at < 0 || (size_t)at >= r->line->count ? STR("") : r->line->field[at];
}

static int64_t rate_of(struct reading *r, struct str text, const char *name)
{
    int64_t rate = PRICE_UNKNOWN;
    if (text.len > 0 && catalog_rate(text, PER_MILLION, &rate) != 0 && r->fault == NULL)
        r->fault = name;
    return rate;
}

static int64_t rate_at(struct reading *r, enum column c)
{
    return rate_of(r, field_at(r, c), column_names[c]);
}

static struct price_tier *new_tier(struct reading *r, struct price *p, uint64_t above)
{
    if (p->tier_count == PRICE_TIERS_MAX) {
        r->fault = "price_tiers (too many)";
        return NULL;
    }
    struct price_tier *tier = &p->tiers[p->tier_count++];
    *tier = (struct price_tier){.above = above, .rates = PRICE_RATES_UNKNOWN};
    return tier;
}

/* What a tier does not say of input and output stays as below it. */
static void end_tier(struct price_tier *tier, const struct price *p)
{
    if (tier->rates.input == PRICE_UNKNOWN)
        tier->rates.input = p->base.input;
    if (tier->rates.output == PRICE_UNKNOWN)
        tier->rates.output = p->base.output;
    if (p->base.reasoning > tier->rates.output)
        tier->rates.reasoning = p->base.reasoning;
}

static void read_tiers(struct reading *r, struct price *p)
{
    struct str rest = field_at(r, COL_TIERS);
    bool more = rest.len > 0;
    while (more && r->fault == NULL) {
        struct str part, size;
        uint64_t above;
        more = str_cut(rest, ';', &part, &rest);
        if (!str_cut(part, ':', &size, &part) || str_parse_u64(size, UINT32_MAX, &above) != 0) {
            r->fault = "price_tiers";
            return;
        }
        struct price_tier *tier = new_tier(r, p, above);
        if (tier == NULL)
            return;
        int64_t *const into[] = {&tier->rates.input, &tier->rates.output, &tier->rates.cached_read,
                                 &tier->rates.cache_write, &tier->rates.cache_write_1h};
        bool rates = true;
        for (size_t i = 0; rates && i < sizeof into / sizeof into[0]; i++) {
            struct str rate;
            rates = str_cut(part, '/', &rate, &part);
            *into[i] = rate_of(r, rate, "price_tiers");
        }
        end_tier(tier, p);
    }
}

static void read_threshold(struct reading *r, struct price *p)
{
    struct str size = field_at(r, COL_TIER_SIZE);
    uint64_t thousands;
    if (size.len == 0)
        return;
    if (!str_ends(size, STR("k")) ||
        str_parse_u64(str_slice(size, 0, size.len - 1), 1000000, &thousands) != 0) {
        r->fault = "tier_threshold";
        return;
    }
    struct price_tier *tier = new_tier(r, p, thousands * 1000);
    if (tier == NULL)
        return;
    tier->rates.input = rate_at(r, COL_TIER_IN);
    tier->rates.output = rate_at(r, COL_TIER_OUT);
    end_tier(tier, p);
}

static uint32_t tokens_of(struct str text)
{
    uint64_t value;
    return str_parse_u64(text, UINT32_MAX, &value) == 0 ? (uint32_t)value : 0;
}

static uint32_t can_of(struct str text)
{
    static const char *const words[] = {"tools", "images", "json", "stream", "reasoning"};
    uint32_t can = 0;
    bool more = text.len > 0;
    while (more) {
        struct str word;
        more = str_cut(text, '+', &word, &text);
        for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++)
            can |= str_is(word, words[i]) ? 1U << i : 0;
    }
    return can;
}

static int read_line(struct reading *r)
{
    struct str sold_by = field_at(r, COL_LITELLM), context = field_at(r, COL_CONTEXT);
    struct catalog_row row = {.provider = field_at(r, COL_PROVIDER),
                              .model = field_at(r, COL_MODEL)};
    if (r->place[COL_PROVIDER] < 0) {
        row.provider = vendor_of_litellm(sold_by);
        row.model = vendor_litellm_model(sold_by, row.model);
    }
    r->fault = NULL;
    row.price.base = (struct price_rates){.input = rate_at(r, COL_IN),
                                          .output = rate_at(r, COL_OUT),
                                          .cached_read = rate_at(r, COL_READ),
                                          .cache_write = rate_at(r, COL_WRITE),
                                          .cache_write_1h = rate_at(r, COL_WRITE_1H),
                                          .reasoning = rate_at(r, COL_REASONING)};
    read_tiers(r, &row.price);
    if (r->fault == NULL)
        read_threshold(r, &row.price);
    if (r->fault != NULL)
        return catalog_rows_skip(r->t, row.provider, row.model,
                                 "%s is no price that can be taken exactly", r->fault);
    row.context = tokens_of(context.len > 0 ? context : field_at(r, COL_MAX_INPUT));
    row.max_output = tokens_of(field_at(r, COL_MAX_OUTPUT));
    row.can = can_of(field_at(r, COL_CAN));
    row.released = field_at(r, COL_RELEASED);
    row.source = field_at(r, COL_SOURCE);
    row.as_of = field_at(r, COL_AS_OF);
    return catalog_rows_add(r->t, &row);
}

static int read_header(struct reading *r, struct err *err)
{
    for (unsigned c = 0; c < COL_COUNT; c++) {
        r->place[c] = -1;
        for (size_t i = 0; i < r->line->count; i++) {
            if (str_is(r->line->field[i], column_names[c]))
                r->place[c] = (int)i;
        }
    }
    if (r->place[COL_MODEL] < 0 || r->place[COL_IN] < 0 || r->place[COL_OUT] < 0 ||
        (r->place[COL_PROVIDER] < 0 && r->place[COL_LITELLM] < 0))
        return err_set(err, ERR_SYNTAX,
                       "the first line has to name the columns provider, model, price_in and "
                       "price_out at least");
    return 0;
}

int catalog_read_csv(struct str text, struct catalog_rows *t, struct err *err)
{
    struct line line = {.count = 0};
    struct reading r = {.t = t, .line = &line};
    size_t number = 0;
    bool more = text.len > 0, header = false;
    while (more) {
        struct str row;
        more = str_cut(text, '\n', &row, &text);
        number++;
        if (row.len > 0 && row.data[row.len - 1] == '\r')
            row = str_slice(row, 0, row.len - 1);
        if (row.len == 0 || row.data[0] == '#')
            continue;
        int rc = row.len > LINE_BYTES_MAX ? ERR_SYNTAX : split(&t->arena, row, &line);
        if (rc == ERR_SYNTAX && header) {
            rc = catalog_rows_skip(t, STR(""), str_slice(row, 0, 40), "line %zu is no row", number);
        } else if (rc == 0 && header) {
            rc = read_line(&r);
        } else if (rc == 0) {
            rc = read_header(&r, err);
            header = true;
        } else if (rc == ERR_SYNTAX) {
            return err_set(err, rc, "line %zu is no header of a table", number);
        }
        if (rc == ERR_NOMEM || rc == ERR_LIMIT)
            return err_set(err, rc, "%s", err_text(rc));
        if (rc != 0)
            return rc;
    }
    return header ? 0 : err_set(err, ERR_SYNTAX, "the file is empty");
}
