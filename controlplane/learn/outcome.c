#include "controlplane/learn/outcome.h"

#include <math.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/route/price.h"

#define NANO_PER_USD 1e9
#define COST_PARTS   20.0 /* Costs below mean / this weigh as if they were that large. */

struct normal { /* Normal equations of cost = in * x + out * y. */
    double ii, io, oo, ic, oc, costs, rows;
};

static void add_rows(const struct dataset_view *view, uint32_t model, double least_cost,
                     struct normal *n)
{
    for (uint32_t i = 0; i < view->row_count; i++) {
        const struct dataset_entry *e = &view->rows[i];
        for (uint32_t k = 0; k < e->label_count; k++) {
            const struct dataset_cell *l = &view->labels[e->first_label + k];
            if (l->model != model || isnan(l->cost_usd) || isnan(l->out_tok))
                continue;
            double c = (double)l->cost_usd;
            double scale = 1 / fmax(c, least_cost);
            double in = e->in_tok * scale;
            double out = (double)l->out_tok * scale;
            n->rows++;
            n->costs += c;
            n->ii += in * in;
            n->io += in * out;
            n->oo += out * out;
            n->ic += in * c * scale;
            n->oc += out * c * scale;
        }
    }
}

static int64_t to_rate(double usd_per_token)
{
    double rate = usd_per_token * NANO_PER_USD * PRICE_TOKENS_PER_UNIT;
    return rate <= 0 ? 0 : rate >= (double)PRICE_RATE_MAX ? PRICE_RATE_MAX : llrint(rate);
}

static bool fit_one(const struct dataset_view *view, uint32_t model, int64_t out_rates[2])
{
    struct normal n = {0};
    add_rows(view, model, 1, &n);
    if (n.rows == 0 || !(n.costs > 0))
        return false;
    double least = n.costs / n.rows / COST_PARTS;
    n = (struct normal){0};
    add_rows(view, model, least, &n);
    double determinant = n.ii * n.oo - n.io * n.io;
    double in = 0;
    double out = 0;
    if (determinant > 1e-9 * n.ii * n.oo) {
        in = (n.oo * n.ic - n.io * n.oc) / determinant;
        out = (n.ii * n.oc - n.io * n.ic) / determinant;
    } else if (n.ii + n.oo > 0) { /* Collinear: one rate for both kinds. */
        in = out = (n.ic + n.oc) / (n.ii + 2 * n.io + n.oo);
    }
    if (in < 0) {
        in = 0;
        out = n.oo > 0 ? n.oc / n.oo : 0;
    } else if (out < 0) {
        out = 0;
        in = n.ii > 0 ? n.ic / n.ii : 0;
    }
    out_rates[0] = to_rate(in);
    out_rates[1] = to_rate(out);
    return true;
}

void outcome_fit_prices(const struct dataset_view *view, int64_t (*io_prices)[2], bool *out_fitted)
{
    for (uint32_t m = 0; m < view->model_count; m++) {
        out_fitted[m] = false;
        if (io_prices[m][0] == PRICE_UNKNOWN || io_prices[m][1] == PRICE_UNKNOWN)
            out_fitted[m] = fit_one(view, m, io_prices[m]);
    }
}

double outcome_cost_usd(const int64_t prices[2], double in_tok, double out_tok)
{
    if (prices[0] == PRICE_UNKNOWN || prices[1] == PRICE_UNKNOWN)
        return 0;
    return ((double)prices[0] * in_tok + (double)prices[1] * out_tok) /
           (NANO_PER_USD * PRICE_TOKENS_PER_UNIT);
}

/* One row: estimates everywhere, then what is known over them. */
static uint32_t fill_row(const struct dataset_view *view, const struct dataset_entry *e,
                         const float *quality, const float *tokens, const int64_t (*prices)[2],
                         float *reward, float *cost)
{
    uint32_t known = 0;
    double w = e->label_count > 1 ? 1 : fmin((double)e->ipw, OUTCOME_WEIGHT_MAX);
    for (uint32_t m = 0; m < view->model_count; m++) {
        reward[m] = quality[m];
        cost[m] = (float)outcome_cost_usd(prices[m], e->in_tok, (double)tokens[m]);
    }
    for (uint32_t k = 0; k < e->label_count; k++) {
        const struct dataset_cell *l = &view->labels[e->first_label + k];
        uint32_t m = l->model;
        double spent = isnan(l->cost_usd) && !isnan(l->out_tok)
                           ? outcome_cost_usd(prices[m], e->in_tok, (double)l->out_tok)
                           : (double)l->cost_usd;
        if (!isnan(l->score)) {
            reward[m] += (float)(w * ((double)l->score - (double)reward[m]));
            known++;
        }
        if (!isnan(spent))
            cost[m] += (float)(w * (spent - (double)cost[m]));
        /* Exact, not by way of a rounded difference. */
        if (w == 1 && !isnan(l->score))
            reward[m] = l->score;
        if (w == 1 && !isnan(spent))
            cost[m] = (float)spent;
    }
    return view->model_count - (w == 1 ? known : 0);
}

int outcome_build(const struct dataset_view *view, const uint32_t *rows, uint32_t row_count,
                  const float *quality, const float *tokens, const int64_t (*prices)[2],
                  struct outcome *out)
{
    size_t cells = (size_t)row_count * view->model_count;
    memset(out, 0, sizeof(*out));
    out->row_count = row_count;
    out->model_count = view->model_count;
    out->reward = mem_calloc(cells + 1, sizeof(*out->reward));
    out->cost = mem_calloc(cells + 1, sizeof(*out->cost));
    if (out->reward == NULL || out->cost == NULL) {
        outcome_deinit(out);
        return ERR_NOMEM;
    }
    for (uint32_t i = 0; i < row_count; i++) {
        size_t at = (size_t)i * view->model_count;
        out->imputed += fill_row(view, &view->rows[rows[i]], quality + at, tokens + at, prices,
                                 out->reward + at, out->cost + at);
    }
    return 0;
}

void outcome_deinit(struct outcome *o)
{
    mem_free(o->reward);
    mem_free(o->cost);
    memset(o, 0, sizeof(*o));
}
