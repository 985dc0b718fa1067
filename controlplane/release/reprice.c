/* Usual path: the next decisions with an attempt at the model, their records as nodes sent them,
 * the price of each attempt at its own time, one row per attempt whose cost differs, one adjustment
 * per budget and period. Budgets are taken in ascending order, as reports of nodes lock them. */
#include "controlplane/release/reprice.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/checked.h"
#include "common/base/mem.h"
#include "common/route/price.h"
#include "control.pb-c.h"
#include "controlplane/config/prices.h"
#include "telemetry.pb-c.h"

#define BODY_BYTES_MAX   (64U << 20)
#define DETAIL_BYTES_MAX (4U << 20)

typedef Steelyard__Telemetry__V1__Decision Decision;
typedef Steelyard__Telemetry__V1__Attempt Attempt;
typedef Steelyard__Telemetry__V1__Charge Charge;
typedef Steelyard__Control__V1__Prices Prices;
typedef Steelyard__Control__V1__Price Price;

struct pricing {
    struct pq_conn *c;
    const struct reprice_request *request;
    struct reprice_result *out;
    Prices *prices;
    size_t sum_room;
};

void reprice_result_deinit(struct reprice_result *r)
{
    mem_free(r->sums);
    *r = (struct reprice_result){0};
}

/* --- prices --------------------------------------------------------------------------------------
 */

static int load_prices(struct pricing *p, struct err *err)
{
    struct pq_result *r = NULL;
    struct buf body = {0};
    buf_init(&body, BODY_BYTES_MAX);
    int rc = pq_conn_query(p->c, "SELECT body FROM resource WHERE key = 'prices'", NULL, &r, err);
    if (rc == 0 && pq_result_rows(r) > 0)
        rc = pq_result_bytes(r, 0, 0, &body);
    if (rc == 0) {
        p->prices =
            steelyard__control__v1__prices__unpack(NULL, body.len, (const uint8_t *)body.data);
        rc = p->prices == NULL ? ERR_NOMEM : 0;
    }
    buf_deinit(&body);
    pq_result_destroy(r);
    return rc;
}

/* The latest of the provider's rows that had begun. */
static bool price_at(const struct pricing *p, struct str provider, int64_t at_us, uint64_t *out_id,
                     struct price *out)
{
    const Price *best = NULL;
    struct price_fact fact;
    for (size_t i = 0; i < p->prices->n_prices; i++) {
        const Price *row = p->prices->prices[i];
        if (str_is(provider, row->provider) && str_is(p->request->model, row->model) &&
            row->valid_from_us <= at_us &&
            (best == NULL || row->valid_from_us > best->valid_from_us))
            best = row;
    }
    if (best == NULL || !prices_read(best, &fact))
        return false;
    *out_id = best->price_id;
    *out = fact.price;
    return true;
}

/* Counts are disjoint in a price and not in a record; a record whose parts are more than the whole
 * is counted by its parts. */
static struct price_tokens tokens_of(const Attempt *a)
{
    uint64_t kept = (uint64_t)a->cached + a->cache_write;
    uint32_t hour = a->cache_write_1h < a->cache_write ? a->cache_write_1h : a->cache_write;
    return (struct price_tokens){
        .input = a->in > kept ? a->in - kept : 0,
        .output = a->out > a->reasoning ? a->out - a->reasoning : 0,
        .cached_read = a->cached,
        .cache_write = a->cache_write - hour,
        .cache_write_1h = hour,
        .reasoning = a->reasoning,
    };
}

/* --- sums ----------------------------------------------------------------------------------------
 */

static int add_to_sum(struct pricing *p, const Charge *charge, int64_t amount)
{
    struct reprice_result *out = p->out;
    for (size_t i = 0; i < out->sum_count; i++) {
        struct reprice_sum *s = &out->sums[i];
        if (s->budget == charge->budget && s->period_start_us == charge->period_start_us &&
            s->cfg == charge->cfg)
            return checked_add(s->amount, amount, &s->amount) ? 0 : ERR_OVERFLOW;
    }
    if (out->sum_count == p->sum_room) {
        size_t more = p->sum_room == 0 ? 64 : p->sum_room * 2;
        struct reprice_sum *bigger = mem_realloc(out->sums, more * sizeof *bigger);
        if (bigger == NULL)
            return ERR_NOMEM;
        out->sums = bigger;
        p->sum_room = more;
    }
    out->sums[out->sum_count++] = (struct reprice_sum){.budget = charge->budget,
                                                       .period_start_us = charge->period_start_us,
                                                       .cfg = charge->cfg,
                                                       .amount = amount};
    return 0;
}

static int add_to_sums(struct pricing *p, const Decision *d, const Attempt *a, int64_t amount)
{
    int rc = checked_add(p->out->delta, amount, &p->out->delta) ? 0 : ERR_OVERFLOW;
    for (size_t i = 0; rc == 0 && i < d->n_charge; i++)
        rc = add_to_sum(p, d->charge[i], amount);
    for (size_t i = 0; rc == 0 && i < a->n_charge; i++)
        rc = add_to_sum(p, a->charge[i], amount);
    return rc;
}

/* --- one attempt ---------------------------------------------------------------------------------
 */

static int note_cost(struct pricing *p, int64_t ts_us, struct str id, size_t n, uint64_t price_id,
                     int64_t cost, struct err *err)
{
    struct pq_params v = {0};
    pq_params_time_us(&v, ts_us);
    pq_params_text(&v, id);
    pq_params_i64(&v, (int64_t)n);
    pq_params_i64(&v, (int64_t)price_id);
    pq_params_i64(&v, cost);
    pq_params_text(&v, p->request->actor);
    return pq_conn_query(p->c,
                         "INSERT INTO attempt_reprice (ts, request_id, n, price_id, cost, actor) "
                         "VALUES ($1, $2::uuid, $3, $4, $5, $6)",
                         &v, NULL, err);
}

/* What was last said, from "0:120,2:7"; else what the node charged. */
static int64_t charged(struct str rated, size_t n, const Attempt *a)
{
    bool more = rated.len > 0;
    while (more) {
        struct str item, index;
        uint64_t at;
        int64_t cost;
        more = str_cut(rated, ',', &item, &rated);
        if (str_cut(item, ':', &index, &item) && str_parse_u64(index, UINT32_MAX, &at) == 0 &&
            at == n && str_parse_i64(item, 0, INT64_MAX, &cost) == 0)
            return cost;
    }
    return a->cost;
}

static int price_attempt(struct pricing *p, const Decision *d, size_t n, int64_t ts_us,
                         struct str id, struct str rated, struct err *err)
{
    const Attempt *a = d->attempt[n];
    struct str provider, upstream;
    struct price price;
    uint64_t price_id;
    int64_t cost, change;
    if (a->model >= d->n_models || !str_is(p->request->model, d->models[a->model]))
        return 0;
    p->out->attempts++;
    const struct price_tokens tokens = tokens_of(a);
    if (a->endpoint >= d->n_servers ||
        !str_cut(str_from(d->servers[a->endpoint]), '/', &provider, &upstream) ||
        (a->in == 0 && a->out == 0) || !price_at(p, provider, a->start_us, &price_id, &price) ||
        price_cost(&price, &tokens, &cost) != 0) {
        p->out->unpriced++;
        return 0;
    }
    if (!checked_sub(cost, charged(rated, n, a), &change))
        return err_set(err, ERR_OVERFLOW, "a sum of costs does not fit");
    if (change == 0)
        return 0;
    p->out->changed++;
    int rc = add_to_sums(p, d, a, change);
    if (rc != 0)
        return err_set(err, rc, "%s", err_text(rc));
    return note_cost(p, ts_us, id, n, price_id, cost, err);
}

static int price_decision(struct pricing *p, const struct pq_result *r, int row, struct err *err)
{
    struct buf detail = {0};
    struct str id = pq_result_text(r, row, 1);
    buf_init(&detail, DETAIL_BYTES_MAX);
    int rc = pq_result_bytes(r, row, 2, &detail);
    Decision *d = rc != 0 ? NULL
                          : steelyard__telemetry__v1__decision__unpack(
                                NULL, detail.len, (const uint8_t *)detail.data);
    if (rc == 0 && d == NULL)
        rc = err_set(err, ERR_INVALID, "the record of %.*s cannot be read", STR_ARG(id));
    p->out->decisions++;
    for (size_t n = 0; rc == 0 && n < d->n_attempt; n++)
        rc = price_attempt(p, d, n, pq_result_time_us(r, row, 0), id, pq_result_text(r, row, 3),
                           err);
    if (d != NULL)
        steelyard__telemetry__v1__decision__free_unpacked(d, NULL);
    buf_deinit(&detail);
    return rc;
}

/* --- posting -------------------------------------------------------------------------------------
 */

static int compare_sums(const void *a, const void *b)
{
    const struct reprice_sum *x = a, *y = b;
    if (x->budget != y->budget)
        return x->budget < y->budget ? -1 : 1;
    if (x->period_start_us != y->period_start_us)
        return x->period_start_us < y->period_start_us ? -1 : 1;
    return x->cfg < y->cfg ? -1 : x->cfg > y->cfg;
}

static int post(struct pricing *p, struct reprice_sum *s, struct err *err)
{
    struct pq_params v = {0};
    struct pq_result *r = NULL;
    if (s->amount == 0)
        return 0;
    pq_params_i64(&v, (int64_t)s->budget);
    pq_params_i64(&v, s->period_start_us);
    pq_params_i64(&v, (int64_t)s->cfg);
    pq_params_i64(&v, s->amount);
    pq_params_text(&v, p->request->actor);
    pq_params_text(&v, p->request->reason);
    int rc =
        pq_conn_query(p->c,
                      "INSERT INTO budget_adjust (budget_id, period_start, cfg, amount, actor, "
                      "reason) SELECT budget_id, period_start, cfg, $4, $5, $6 FROM "
                      "budget_period WHERE budget_id = $1 AND period_start = "
                      "steelyard_time($2) AND cfg = $3",
                      &v, &r, err);
    if (rc == 0)
        s->posted = pq_result_affected(r) > 0;
    pq_result_destroy(r);
    return rc;
}

static int next_decisions(struct pricing *p, struct pq_result **out, struct err *err)
{
    const struct reprice_request *q = p->request;
    struct pq_params v = {0};
    pq_params_time_us(&v, q->since_us);
    pq_params_time_us(&v, q->until_us);
    pq_params_time_us(&v, q->after_us);
    pq_params_text(&v, q->after_id[0] == '\0' ? STR("00000000-0000-0000-0000-000000000000")
                                              : str_from(q->after_id));
    pq_params_text(&v, q->model);
    pq_params_i64(&v, REPRICE_BATCH);
    return pq_conn_query(
        p->c,
        "SELECT d.ts, d.request_id, d.detail, (SELECT string_agg(n || ':' || cost, ',') FROM "
        "(SELECT DISTINCT ON (n) n, cost FROM attempt_reprice r WHERE r.request_id = d.request_id "
        "ORDER BY n, id DESC) last) FROM (SELECT DISTINCT ts, request_id FROM attempt "
        "WHERE ts >= $1 AND ts < $2 AND model = $5 AND (ts, request_id) > ($3, $4::uuid) "
        "ORDER BY ts, request_id LIMIT $6) a JOIN decision d ON d.request_id = a.request_id "
        "AND d.ts = a.ts ORDER BY d.ts, d.request_id",
        &v, out, err);
}

int reprice_batch(struct pq_conn *c, const struct reprice_request *request,
                  struct reprice_result *out, struct err *err)
{
    struct pricing p = {.c = c, .request = request, .out = out};
    struct pq_result *r = NULL;
    *out = (struct reprice_result){0};
    int rc = load_prices(&p, err);
    if (rc == 0)
        rc = next_decisions(&p, &r, err);
    int rows = rc == 0 ? pq_result_rows(r) : 0;
    for (int i = 0; rc == 0 && i < rows; i++)
        rc = price_decision(&p, r, i, err);
    if (rc == 0 && rows > 0) {
        out->more = rows == REPRICE_BATCH;
        out->last_us = pq_result_time_us(r, rows - 1, 0);
        (void)str_copy(pq_result_text(r, rows - 1, 1), out->last_id, sizeof out->last_id);
    }
    if (rc == 0 && out->sum_count > 0)
        qsort(out->sums, out->sum_count, sizeof *out->sums, compare_sums);
    for (size_t i = 0; rc == 0 && i < out->sum_count; i++)
        rc = post(&p, &out->sums[i], err);
    if (rc != 0 && err != NULL && err->message[0] == '\0')
        (void)err_set(err, rc, "%s", err_text(rc));
    if (p.prices != NULL)
        steelyard__control__v1__prices__free_unpacked(p.prices, NULL);
    pq_result_destroy(r);
    return rc;
}
