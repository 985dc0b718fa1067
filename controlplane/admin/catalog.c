/* /catalog: what models cost and where that is known from. Reads merge what was imported with the
 * shipped table; what is in force for the models of the configuration is the Prices resource.
 * An import changes nothing that is there: it adds rows where a price differs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "control.pb-c.h"
#include "controlplane/admin/spec.h"
#include "controlplane/catalog/builtin.h"
#include "controlplane/catalog/compare.h"
#include "controlplane/catalog/exchange.h"
#include "controlplane/catalog/lint.h"
#include "controlplane/config/prices.h"
#include "controlplane/release/catalog_store.h"

#define ROWS_PER_CALL_MAX  1000U
#define RESOURCE_BYTES_MAX (64U << 20)
#define FACTOR_MAX         1000000U /* Of --max-factor, in permille of a thousand. */

typedef Steelyard__Control__V1__Catalogue Catalogue;
typedef Steelyard__Control__V1__Prices Prices;
typedef Steelyard__Control__V1__Price Price;
typedef Steelyard__Control__V1__Model Model;

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
}

/* --- rows of both sources ------------------------------------------------------------------------
 */

/* The imported row where there is one, else the shipped. Walks both in order. */
struct walk {
    const struct catalog_rows *imported;
    size_t i, k;
};
static bool walk_next(struct walk *w, const struct catalog_row **out_row, bool *out_shipped)
{
    const struct catalog_row *a = w->i < w->imported->count ? &w->imported->rows[w->i] : NULL;
    const struct catalog_row *b = w->k < catalog_builtin.count ? &catalog_builtin.rows[w->k] : NULL;
    if (a == NULL && b == NULL)
        return false;
    int order = a == NULL ? 1 : b == NULL ? -1 : str_compare(a->provider, b->provider);
    if (order == 0)
        order = str_compare(a->model, b->model);
    w->i += order <= 0;
    w->k += order >= 0;
    *out_shipped = order > 0;
    *out_row = order > 0 ? b : a;
    return true;
}

static json_t *row_json(const struct catalog_row *row, bool shipped)
{
    char facts[160];
    json_t *o = catalog_row_to_json(row);
    snprintf(facts, sizeof facts, "%.*s %.*s", STR_ARG(row->source), STR_ARG(row->as_of));
    if (o != NULL &&
        (json_object_set_new(o, "source", json_string(shipped ? "builtin" : "import")) != 0 ||
         json_object_set_new(o, "facts", json_string(facts)) != 0)) {
        json_decref(o);
        return NULL;
    }
    return o;
}

static int write_taken(struct admin_call *call, json_t *value)
{
    int rc = value == NULL ? ERR_NOMEM : write_json(call, value);
    json_decref(value);
    return rc;
}

static bool wanted(struct str have, const char *want)
{
    return want[0] == '\0' || str_is(have, want);
}

/* GET /catalog?provider=&model=&limit=&cursor= : the cursor is how many were given before. */
int catalog_list(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    char provider[CATALOG_NAME_BYTES_MAX + 1] = "", model[CATALOG_NAME_BYTES_MAX + 1] = "";
    char cursor[24] = "0", next[24] = "";
    struct catalog_rows imported;
    const struct catalog_row *row;
    uint64_t from = 0, at = 0, given = 0;
    int64_t limit = 0;
    bool shipped;
    int bad = 0, rc = call_limit(call, &limit, err);
    (void)call_query(call, "provider", provider, sizeof provider, &bad);
    (void)call_query(call, "model", model, sizeof model, &bad);
    (void)call_query(call, "cursor", cursor, sizeof cursor, &bad);
    if (rc == 0 && (bad != 0 || str_parse_u64(str_from(cursor), INT64_MAX, &from) != 0))
        rc = err_set(err, ERR_INVALID, "provider, model or cursor cannot be read");
    if (rc != 0)
        return rc;
    catalog_rows_init(&imported);
    rc = catalog_store_load(c, clock_wall_us(), &imported, err);
    json_writer_begin_object(&call->w);
    json_writer_key(&call->w, "items");
    json_writer_begin_array(&call->w);
    struct walk w = {.imported = &imported};
    while (rc == 0 && next[0] == '\0' && walk_next(&w, &row, &shipped)) {
        if (!wanted(row->provider, provider) || !wanted(row->model, model) || at++ < from)
            continue;
        if (given == (uint64_t)limit) {
            snprintf(next, sizeof next, "%llu", (unsigned long long)(from + given));
            break;
        }
        given++;
        rc = write_taken(call, row_json(row, shipped));
    }
    json_writer_end_array(&call->w);
    json_writer_key(&call->w, "next");
    json_writer_text(&call->w, next[0] == '\0' ? NULL : next);
    json_writer_end_object(&call->w);
    catalog_rows_deinit(&imported);
    return rc;
}

/* --- what is in force ----------------------------------------------------------------------------
 */

/* Unpacked copies of what is pushed, as the database has it: who has just imported sees it. NULL
 * members where nothing is yet. */
struct pushed {
    Catalogue *catalogue;
    Prices *prices;
};
static int pushed_load(struct pq_conn *c, struct pushed *out, struct err *err)
{
    struct pq_result *r = NULL;
    *out = (struct pushed){NULL, NULL};
    int rc = pq_conn_query(c, "SELECT key, body FROM resource WHERE key IN ('catalogue', 'prices')",
                           NULL, &r, err);
    for (int i = 0; rc == 0 && i < pq_result_rows(r); i++) {
        struct buf body = {0};
        bool prices = str_is(pq_result_text(r, i, 0), "prices");
        buf_init(&body, RESOURCE_BYTES_MAX);
        rc = pq_result_bytes(r, i, 1, &body);
        const uint8_t *data = (const uint8_t *)body.data;
        if (rc == 0 && prices)
            out->prices = steelyard__control__v1__prices__unpack(NULL, body.len, data);
        else if (rc == 0)
            out->catalogue = steelyard__control__v1__catalogue__unpack(NULL, body.len, data);
        if (rc == 0 && (prices ? (void *)out->prices : (void *)out->catalogue) == NULL)
            rc = ERR_NOMEM;
        buf_deinit(&body);
    }
    pq_result_destroy(r);
    return rc;
}

static void pushed_free(struct pushed *p)
{
    if (p->catalogue != NULL)
        steelyard__control__v1__catalogue__free_unpacked(p->catalogue, NULL);
    if (p->prices != NULL)
        steelyard__control__v1__prices__free_unpacked(p->prices, NULL);
}

static const char *source_name(Steelyard__Control__V1__PriceSource source)
{
    static const char *const names[] = {"unknown", "config", "import", "builtin"};
    return (unsigned)source < sizeof names / sizeof names[0] ? names[source] : "unknown";
}

/* RFC 3339; NULL: always held. */
static json_t *time_json(int64_t us)
{
    char text[32];
    time_t s = (time_t)(us / 1000000);
    struct tm tm;
    if (us <= 0 || gmtime_r(&s, &tm) == NULL ||
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        return json_null();
    return json_string(text);
}

static bool is_row_of(const Price *p, const char *provider, const char *model)
{
    return strcmp(p->provider, provider) == 0 && strcmp(p->model, model) == 0;
}

/* The row that holds now: the latest that has begun. */
static const Price *holding(const Prices *prices, const char *provider, const char *model)
{
    const Price *best = NULL;
    for (size_t i = 0; prices != NULL && i < prices->n_prices; i++) {
        const Price *p = prices->prices[i];
        if (is_row_of(p, provider, model) && p->valid_from_us <= clock_wall_us() &&
            (best == NULL || p->valid_from_us >= best->valid_from_us))
            best = p;
    }
    return best;
}

static json_t *price_row_json(const Price *row, bool holds)
{
    struct price_fact fact;
    char id[24];
    json_t *price = prices_read(row, &fact) ? catalog_price_to_json(&fact.price) : NULL;
    snprintf(id, sizeof id, "%llu", (unsigned long long)row->price_id);
    return price == NULL
               ? NULL
               : json_pack("{s:s, s:o, s:s, s:s, s:b, s:o}", "price_id", id, "valid_from",
                           time_json(row->valid_from_us), "source", source_name(row->source),
                           "facts", row->facts, "holds", holds, "price", price);
}

static json_t *deployment_json(const struct pushed *all, const Model *m, size_t index)
{
    const Steelyard__Control__V1__Deployment *d = m->deployments[index];
    const Price *now = holding(all->prices, d->provider, m->id);
    json_t *rows = json_array();
    bool ok = rows != NULL;
    for (size_t i = 0; ok && all->prices != NULL && i < all->prices->n_prices; i++) {
        const Price *p = all->prices->prices[i];
        if (is_row_of(p, d->provider, m->id))
            ok = json_array_append_new(rows, price_row_json(p, p == now)) == 0;
    }
    if (!ok) {
        json_decref(rows);
        return NULL;
    }
    return json_pack("{s:s, s:s, s:s, s:s?, s:o}", "model", m->id, "provider", d->provider,
                     "upstream_model", d->upstream_model, "source",
                     now == NULL ? NULL : source_name(now->source), "prices", rows);
}

static int add_configured(const struct pushed *all, const char *name, json_t *list)
{
    for (size_t i = 0; all->catalogue != NULL && i < all->catalogue->n_models; i++) {
        const Model *m = all->catalogue->models[i];
        for (size_t k = 0; k < m->n_deployments; k++) {
            if ((strcmp(m->id, name) == 0 ||
                 strcmp(m->deployments[k]->upstream_model, name) == 0) &&
                json_array_append_new(list, deployment_json(all, m, k)) != 0)
                return ERR_NOMEM;
        }
    }
    return 0;
}

/* Rows of a source with this model's name, or its upstream names. */
static int add_known(const struct pushed *all, const char *name, const struct catalog_rows *rows,
                     bool shipped, json_t *list)
{
    for (size_t r = 0; r < rows->count; r++) {
        bool named = str_is(rows->rows[r].model, name);
        for (size_t i = 0; !named && all->catalogue != NULL && i < all->catalogue->n_models; i++) {
            const Model *m = all->catalogue->models[i];
            for (size_t k = 0; strcmp(m->id, name) == 0 && k < m->n_deployments; k++)
                named = named || str_is(rows->rows[r].model, m->deployments[k]->upstream_model);
        }
        if (named && json_array_append_new(list, row_json(&rows->rows[r], shipped)) != 0)
            return ERR_NOMEM;
    }
    return 0;
}

/* GET /catalog/show?model=NAME */
int catalog_show(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    char name[CATALOG_NAME_BYTES_MAX + 1] = "";
    struct catalog_rows imported;
    struct pushed all;
    int bad = 0;
    if (!call_query(call, "model", name, sizeof name, &bad) || name[0] == '\0')
        return err_set(err, ERR_INVALID, "model: a name is needed");
    json_t *configured = json_array(), *known = json_array();
    catalog_rows_init(&imported);
    int rc = pushed_load(c, &all, err);
    if (rc == 0 && (configured == NULL || known == NULL))
        rc = ERR_NOMEM;
    if (rc == 0)
        rc = catalog_store_load(c, clock_wall_us(), &imported, err);
    if (rc == 0)
        rc = add_configured(&all, name, configured);
    if (rc == 0)
        rc = add_known(&all, name, &imported, false, known);
    if (rc == 0)
        rc = add_known(&all, name, &catalog_builtin, true, known);
    if (rc == 0 && json_array_size(configured) == 0 && json_array_size(known) == 0)
        rc = err_set(err, ERR_NOT_FOUND, "no model %s is configured or in the catalogue", name);
    if (rc == 0)
        rc = write_taken(call, json_pack("{s:s, s:O, s:O}", "model", name, "configured", configured,
                                         "catalogue", known));
    json_decref(configured);
    json_decref(known);
    pushed_free(&all);
    catalog_rows_deinit(&imported);
    return rc;
}

/* --- lint ----------------------------------------------------------------------------------------
 */

static int write_suspicions(struct admin_call *call, const struct catalog_row *row,
                            const char *source, const struct catalog_row *shipped)
{
    uint32_t found = catalog_lint(row, shipped);
    if (found == 0)
        return 0;
    json_t *o = catalog_row_to_json(row), *list = json_array();
    bool ok = o != NULL && list != NULL;
    for (unsigned s = 0; ok && s < CATALOG_SUSPICION_COUNT; s++) {
        enum catalog_suspicion what = (enum catalog_suspicion)s;
        if ((found >> s & 1) != 0)
            ok = json_array_append_new(list,
                                       json_pack("{s:s, s:s}", "code", catalog_suspicion_name(what),
                                                 "text", catalog_suspicion_text(what))) == 0;
    }
    ok = ok && json_object_set_new(o, "source", json_string(source)) == 0 &&
         json_object_set(o, "findings", list) == 0;
    json_decref(list);
    if (!ok) {
        json_decref(o);
        return ERR_NOMEM;
    }
    return write_taken(call, o);
}

/* Prices of the configuration, as rows under the provider's own name. */
static int lint_given(struct admin_call *call, const struct pushed *all)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && all->prices != NULL && i < all->prices->n_prices; i++) {
        const Price *p = all->prices->prices[i];
        struct price_fact fact;
        if (p->source != STEELYARD__CONTROL__V1__PRICE_SOURCE__PRICE_SOURCE_CONFIG ||
            !prices_read(p, &fact))
            continue;
        const struct catalog_row row = {.provider = str_from(p->provider),
                                        .model = str_from(p->model),
                                        .price = fact.price,
                                        .released = STR("")};
        rc = write_suspicions(call, &row, "config", NULL);
    }
    return rc;
}

/* GET /catalog/lint: of the configuration and of the imports that hold. */
int catalog_lint_run(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    struct catalog_rows imported;
    struct pushed all;
    catalog_rows_init(&imported);
    int rc = pushed_load(c, &all, err);
    if (rc == 0)
        rc = catalog_store_load(c, clock_wall_us(), &imported, err);
    json_writer_begin_object(&call->w);
    json_writer_key(&call->w, "items");
    json_writer_begin_array(&call->w);
    if (rc == 0)
        rc = lint_given(call, &all);
    for (size_t i = 0; rc == 0 && i < imported.count; i++) {
        const struct catalog_row *row = &imported.rows[i];
        rc = write_suspicions(call, row, "import",
                              catalog_rows_find(&catalog_builtin, row->provider, row->model));
    }
    json_writer_end_array(&call->w);
    json_writer_key(&call->w, "next");
    json_writer_null(&call->w);
    json_writer_end_object(&call->w);
    pushed_free(&all);
    catalog_rows_deinit(&imported);
    return rc;
}

/* --- import --------------------------------------------------------------------------------------
 */

struct importing {
    struct catalog_import facts;
    uint64_t factor; /* Permille: changes of this and more are large. */
    bool accept_large;
    struct catalog_rows now; /* What is to be imported. */
    struct catalog_rows old; /* What imports say at valid_from. */
    const struct catalog_row **adds;
    size_t add_count;
    json_t *changes;
    json_int_t same, fresh, changed, held;
};

static bool is_day(const char *text)
{
    int64_t us;
    return strlen(text) == 10 && call_time(str_from(text), &us) == 0;
}

static int read_request(struct admin_call *call, struct importing *im, struct err *err)
{
    const char *source, *date, *from;
    const json_t *rows = json_object_get(call->body, "rows"), *row, *accept;
    uint64_t factor = CATALOG_FACTOR_LARGE / 1000;
    size_t i;
    int rc = call_text(call->body, "source", true, 64, &source, err);
    if (rc == 0)
        rc = call_text(call->body, "source_date", true, 10, &date, err);
    if (rc == 0)
        rc = call_text(call->body, "valid_from", false, 64, &from, err);
    if (rc != 0)
        return rc;
    if (!is_day(date))
        return err_set(err, ERR_INVALID, "\"source_date\" must be a day like 2026-07-02");
    im->facts.valid_from_us = clock_wall_us();
    if (from != NULL && call_time(str_from(from), &im->facts.valid_from_us) != 0)
        return err_set(err, ERR_INVALID, "\"valid_from\" must be a time or a day");
    accept = json_object_get(call->body, "accept_large");
    if (accept != NULL && !json_is_boolean(accept))
        return err_set(err, ERR_INVALID, "\"accept_large\" must be true or false");
    im->accept_large = json_is_true(accept);
    if (json_object_get(call->body, "max_factor") != NULL) {
        json_int_t given = json_integer_value(json_object_get(call->body, "max_factor"));
        if (given < 2 || given > FACTOR_MAX)
            return err_set(err, ERR_INVALID, "\"max_factor\" must be 2 to %u", FACTOR_MAX);
        factor = (uint64_t)given;
    }
    im->factor = factor * 1000;
    if (!json_is_array(rows) || json_array_size(rows) > ROWS_PER_CALL_MAX)
        return err_set(err, ERR_INVALID, "\"rows\" must be a list of at most %u",
                       ROWS_PER_CALL_MAX);
    json_array_foreach(rows, i, row)
    {
        rc = catalog_row_from_json(row, &im->now, err);
        if (rc != 0)
            return rc;
    }
    im->facts.source = str_from(source);
    im->facts.source_date = str_from(date);
    im->facts.row_count = im->now.count;
    catalog_rows_sort(&im->now);
    return 0;
}

static int note_change(struct importing *im, const struct catalog_row *row,
                       const struct catalog_row *old, bool shipped, uint64_t factor,
                       const char *kind)
{
    json_t *before = old == NULL ? json_null() : catalog_price_to_json(&old->price);
    json_t *after = catalog_price_to_json(&row->price);
    if (before == NULL || after == NULL) {
        json_decref(before);
        json_decref(after);
        return ERR_NOMEM;
    }
    json_t *o = json_pack("{s:s%, s:s%, s:s, s:s?, s:o, s:o, s:o}", "provider", row->provider.data,
                          row->provider.len, "model", row->model.data, row->model.len, "change",
                          kind, "old_source",
                          old == NULL ? NULL
                          : shipped   ? "builtin"
                                      : "import",
                          "old", before, "new", after, "factor",
                          old == NULL ? json_null() : catalog_factor_to_json(factor));
    return o == NULL || json_array_append_new(im->changes, o) != 0 ? ERR_NOMEM : 0;
}

static int compare_row(struct importing *im, const struct catalog_row *row)
{
    const struct catalog_row *old = catalog_rows_find(&im->old, row->provider, row->model);
    bool shipped = old == NULL;
    if (shipped)
        old = catalog_rows_find(&catalog_builtin, row->provider, row->model);
    if (old != NULL && catalog_price_equal(&old->price, &row->price)) {
        im->same++;
        return 0;
    }
    uint64_t factor = old == NULL ? 1000 : catalog_factor(&old->price, &row->price);
    if (factor >= im->factor && !im->accept_large) {
        im->held++;
        return note_change(im, row, old, shipped, factor, "held");
    }
    im->fresh += old == NULL;
    im->changed += old != NULL;
    im->adds[im->add_count++] = row;
    return note_change(im, row, old, shipped, factor, old == NULL ? "new" : "changed");
}

static int compare_all(struct importing *im)
{
    im->changes = json_array();
    im->adds = mem_calloc(im->now.count + 1, sizeof(const struct catalog_row *));
    int rc = im->changes == NULL || im->adds == NULL ? ERR_NOMEM : 0;
    for (size_t i = 0; rc == 0 && i < im->now.count; i++)
        rc = compare_row(im, &im->now.rows[i]);
    return rc;
}

static json_t *reply_of(const struct importing *im, json_t **out_detail)
{
    json_t *skips = json_array();
    for (size_t i = 0; skips != NULL && i < im->now.skip_count; i++) {
        const struct catalog_skip *s = &im->now.skips[i];
        if (json_array_append_new(skips,
                                  json_pack("{s:s%, s:s%}", "name", s->name.data, s->name.len,
                                            "reason", s->reason.data, s->reason.len)) != 0) {
            json_decref(skips);
            return NULL;
        }
    }
    json_t *counts = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "rows", (json_int_t)im->now.count,
                               "same", im->same, "new", im->fresh, "changed", im->changed, "held",
                               im->held, "skipped", (json_int_t)im->now.skip_count);
    *out_detail = counts == NULL
                      ? NULL
                      : json_pack("{s:s%, s:O}", "source_date", im->facts.source_date.data,
                                  im->facts.source_date.len, "counts", counts);
    json_t *reply = counts == NULL || skips == NULL || *out_detail == NULL
                        ? NULL
                        : json_pack("{s:O, s:O, s:O}", "counts", counts, "changes", im->changes,
                                    "skipped", skips);
    json_decref(counts);
    json_decref(skips);
    return reply;
}

/* All of it in one transaction; when nothing is added, nothing is written at all. */
static int import_in(struct admin_call *call, struct pq_conn *c, struct importing *im,
                     struct err *err)
{
    json_t *detail = NULL, *reply = NULL;
    char subject[80];
    int64_t id = 0;
    int rc = catalog_store_load(c, im->facts.valid_from_us, &im->old, err);
    if (rc == 0)
        rc = compare_all(im);
    if (rc == 0 && im->add_count > 0)
        rc = catalog_store_add(c, &im->facts, im->adds, im->add_count, &id, err);
    if (rc == 0 && im->add_count > 0)
        rc = publish_refresh_prices(c, err);
    if (rc == 0) {
        reply = reply_of(im, &detail);
        rc = reply == NULL ? no_memory(err) : 0;
    }
    if (rc == 0 && im->add_count == 0) {
        publish_abort(c);
        if (change_is_dry(call))
            rc = json_object_set_new(reply, "dry_run", json_true()) != 0 ? ERR_NOMEM : 0;
        if (rc == 0)
            rc = write_json(call, reply);
        json_decref(reply);
    } else if (rc == 0) {
        snprintf(subject, sizeof subject, "%.*s", STR_ARG(im->facts.source));
        rc = change_end(call, c, "catalog.import", subject, detail, reply, err);
    }
    json_decref(detail);
    return rc;
}

int catalog_import_run(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    struct importing im = {.factor = 0};
    catalog_rows_init(&im.now);
    catalog_rows_init(&im.old);
    int rc = read_request(call, &im, err);
    im.facts.actor = call_actor(call).name;
    if (rc == 0)
        rc = change_begin(call, c, err);
    if (rc == 0)
        rc = import_in(call, c, &im, err);
    if (rc != 0)
        publish_abort(c);
    mem_free(im.adds);
    json_decref(im.changes);
    catalog_rows_deinit(&im.now);
    catalog_rows_deinit(&im.old);
    return rc;
}
