/* The catalogue as it is pushed now. */
#include <string.h>

#include "common/base/clock.h"
#include "control.pb-c.h"
#include "controlplane/admin/spec.h"
#include "controlplane/catalog/exchange.h"
#include "controlplane/config/prices.h"

/* What the first deployment costs now: of the rows that have begun, the latest. */
static const Steelyard__Control__V1__Price *price_of(const Steelyard__Control__V1__Prices *prices,
                                                     const Steelyard__Control__V1__Model *m)
{
    const Steelyard__Control__V1__Price *best = NULL;
    int64_t now_us = clock_wall_us();
    for (size_t i = 0; prices != NULL && m->n_deployments > 0 && i < prices->n_prices; i++) {
        const Steelyard__Control__V1__Price *p = prices->prices[i];
        if (strcmp(p->model, m->id) == 0 && strcmp(p->provider, m->deployments[0]->provider) == 0 &&
            p->valid_from_us <= now_us && (best == NULL || p->valid_from_us >= best->valid_from_us))
            best = p;
    }
    return best;
}

/* USD per million tokens as decimal strings, so that no reader makes a float of them. */
static int write_price(struct admin_call *call, const Steelyard__Control__V1__Price *row)
{
    static const char *const sources[] = {"unknown", "config", "import", "builtin"};
    struct price_fact fact;
    if (row == NULL || !prices_read(row, &fact)) {
        json_writer_null(&call->w);
        return 0;
    }
    json_t *price = catalog_price_to_json(&fact.price);
    int rc = price == NULL || json_object_set_new(price, "source",
                                                  json_string(sources[fact.source & 3])) != 0
                 ? ERR_NOMEM
                 : write_json(call, price);
    json_decref(price);
    return rc;
}

static int write_model(struct admin_call *call, const Steelyard__Control__V1__Model *m,
                       const Steelyard__Control__V1__Price *price)
{
    struct json_writer *w = &call->w;
    static const char *const words[] = {"tools", "images", "json", "stream", "reasoning"};
    json_writer_begin_object(w);
    json_writer_key(w, "id");
    json_writer_text(w, m->id);
    json_writer_key(w, "deployments");
    json_writer_begin_array(w);
    for (size_t i = 0; i < m->n_deployments; i++) {
        json_writer_begin_object(w);
        json_writer_key(w, "provider");
        json_writer_text(w, m->deployments[i]->provider);
        json_writer_key(w, "upstream_model");
        json_writer_text(w, m->deployments[i]->upstream_model);
        json_writer_key(w, "weight");
        json_writer_u64(w, m->deployments[i]->weight);
        json_writer_end_object(w);
    }
    json_writer_end_array(w);
    json_writer_key(w, "price");
    int rc = write_price(call, price);
    json_writer_key(w, "context_window");
    json_writer_u64(w, m->context_window);
    json_writer_key(w, "max_output");
    json_writer_u64(w, m->max_output);
    json_writer_key(w, "capabilities");
    json_writer_begin_array(w);
    for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++) {
        if ((m->capabilities >> i & 1) != 0)
            json_writer_text(w, words[i]);
    }
    json_writer_end_array(w);
    json_writer_key(w, "prior_quality");
    if (m->prior_quality_q16 == 0)
        json_writer_null(w);
    else
        json_writer_fixed(w, call_q16(m->prior_quality_q16), 4);
    json_writer_end_object(w);
    return rc;
}

int models_list(struct admin_call *call, struct err *err)
{
    const struct publish_resource *c = call_resource(call, STR("catalogue"));
    const struct publish_resource *p = call_resource(call, STR("prices"));
    if (c == NULL)
        return err_set(err, ERR_UNAVAILABLE, "no catalogue is published yet");
    Steelyard__Control__V1__Catalogue *m =
        steelyard__control__v1__catalogue__unpack(NULL, c->body.len, (const uint8_t *)c->body.data);
    Steelyard__Control__V1__Prices *prices =
        p == NULL ? NULL
                  : steelyard__control__v1__prices__unpack(NULL, p->body.len,
                                                           (const uint8_t *)p->body.data);
    if (m == NULL) {
        if (prices != NULL)
            steelyard__control__v1__prices__free_unpacked(prices, NULL);
        return err_set(err, ERR_CORRUPT, "the catalogue cannot be read");
    }
    json_writer_begin_object(&call->w);
    json_writer_key(&call->w, "items");
    json_writer_begin_array(&call->w);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < m->n_models; i++)
        rc = write_model(call, m->models[i], price_of(prices, m->models[i]));
    json_writer_end_array(&call->w);
    json_writer_key(&call->w, "next");
    json_writer_null(&call->w);
    json_writer_end_object(&call->w);
    steelyard__control__v1__catalogue__free_unpacked(m, NULL);
    if (prices != NULL)
        steelyard__control__v1__prices__free_unpacked(prices, NULL);
    return rc;
}
