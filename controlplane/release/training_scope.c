/* What a policy chooses from: the routes that use it, their models, and what the catalogue knows of
 * those. Read from the published resources, which are what the nodes run. */
#include <string.h>

#include "common/base/mem.h"
#include "common/route/price.h"
#include "control.pb-c.h"
#include "controlplane/release/training.h"

#define BODY_BYTES_MAX (64U << 20)
#define ROUTES_MAX     4096U

typedef Steelyard__Control__V1__Catalogue Catalogue;
typedef Steelyard__Control__V1__Prices Prices;
typedef Steelyard__Control__V1__Model Model;

static int read_body(struct pq_conn *c, const char *key, struct buf *out, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_text(&p, str_from(key));
    int rc = pq_conn_query(c, "SELECT body FROM resource WHERE key = $1", &p, &r, err);
    if (rc != 0)
        return rc;
    if (pq_result_rows(r) == 1)
        rc = pq_result_bytes(r, 0, 0, out);
    pq_result_destroy(r);
    return rc != 0 ? err_set(err, rc, "resource '%s': %s", key, err_text(rc)) : 0;
}

static bool has(char *const *names, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static int add(char **names, uint32_t *io_count, const char *name)
{
    names[*io_count] = mem_strdup(name);
    return names[*io_count] != NULL ? (int)((*io_count)++, 0) : ERR_NOMEM;
}

static int take_route(struct training_scope *s, const Steelyard__Control__V1__Route *route)
{
    int rc = add(s->routes, &s->route_count, route->name);
    for (size_t m = 0; rc == 0 && m < route->n_models; m++) {
        if (has(s->models, s->model_count, route->models[m]))
            continue;
        if (s->model_count == ARTIFACT_MODELS_MAX)
            return ERR_LIMIT;
        rc = add(s->models, &s->model_count, route->models[m]);
    }
    return rc;
}

static const Model *find_model(const Catalogue *catalogue, const char *id)
{
    for (size_t i = 0; i < catalogue->n_models; i++)
        if (strcmp(catalogue->models[i]->id, id) == 0)
            return catalogue->models[i];
    return NULL;
}

/* The price in force at the model's first deployment. */
static void take_price(struct learn_model *facts, const Model *model, const Prices *prices,
                       int64_t now_us)
{
    int64_t newest = INT64_MIN;
    if (model->n_deployments == 0)
        return;
    for (size_t i = 0; i < prices->n_prices; i++) {
        const Steelyard__Control__V1__Price *p = prices->prices[i];
        if (strcmp(p->model, model->id) != 0 ||
            strcmp(p->provider, model->deployments[0]->provider) != 0 ||
            p->valid_from_us > now_us || p->valid_from_us < newest)
            continue;
        newest = p->valid_from_us;
        facts->price_in = p->input < 0 ? PRICE_UNKNOWN : p->input;
        facts->price_out = p->output < 0 ? PRICE_UNKNOWN : p->output;
    }
}

static void take_facts(struct training_scope *s, const Catalogue *catalogue, const Prices *prices,
                       int64_t now_us)
{
    for (uint32_t m = 0; m < s->model_count; m++) {
        struct learn_model *facts = &s->facts[m];
        const Model *model = find_model(catalogue, s->models[m]);
        *facts = (struct learn_model){
            .price_in = PRICE_UNKNOWN, .price_out = PRICE_UNKNOWN, .prior_quality = -1.0};
        if (model == NULL)
            continue;
        if (model->prior_quality_q16 != 0)
            facts->prior_quality = (double)model->prior_quality_q16 / 65536.0;
        facts->prior_out_tok = (double)model->prior_output_tokens;
        take_price(facts, model, prices, now_us);
    }
}

static int take_routes(struct training_scope *s, const Catalogue *catalogue, struct str policy,
                       struct err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < catalogue->n_routes && s->route_count < ROUTES_MAX; i++)
        if (str_is(policy, catalogue->routes[i]->policy))
            rc = take_route(s, catalogue->routes[i]);
    if (rc == ERR_LIMIT)
        return err_set(err, rc, "the routes of policy '%.*s' name more than %d models",
                       STR_ARG(policy), ARTIFACT_MODELS_MAX);
    if (rc == 0 && s->route_count == 0)
        return err_set(err, ERR_NOT_FOUND, "no route uses policy '%.*s'", STR_ARG(policy));
    return rc != 0 ? err_set(err, rc, "%s", err_text(rc)) : 0;
}

int training_scope_read(struct pq_conn *c, struct str policy, int64_t now_us,
                        struct training_scope *out_scope, struct err *err)
{
    struct training_scope s = {0};
    struct buf catalogue_body = {0}, prices_body = {0};
    Catalogue *catalogue = NULL;
    Prices *prices = NULL;
    buf_init(&catalogue_body, BODY_BYTES_MAX);
    buf_init(&prices_body, BODY_BYTES_MAX);
    int rc = read_body(c, "catalogue", &catalogue_body, err);
    if (rc == 0)
        rc = read_body(c, "prices", &prices_body, err);
    if (rc != 0)
        goto out;
    catalogue = steelyard__control__v1__catalogue__unpack(NULL, catalogue_body.len,
                                                          (const uint8_t *)catalogue_body.data);
    prices = steelyard__control__v1__prices__unpack(NULL, prices_body.len,
                                                    (const uint8_t *)prices_body.data);
    s.models = mem_calloc(ARTIFACT_MODELS_MAX, sizeof *s.models);
    s.routes = mem_calloc(ROUTES_MAX, sizeof *s.routes);
    s.facts = mem_calloc(ARTIFACT_MODELS_MAX, sizeof *s.facts);
    if (catalogue == NULL || prices == NULL)
        rc = err_set(err, ERR_CORRUPT, "the published catalogue cannot be read");
    else if (s.models == NULL || s.routes == NULL || s.facts == NULL)
        rc = err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    else
        rc = take_routes(&s, catalogue, policy, err);
    if (rc == 0) {
        take_facts(&s, catalogue, prices, now_us);
        *out_scope = s;
        s = (struct training_scope){0};
    }
out:
    if (catalogue != NULL)
        steelyard__control__v1__catalogue__free_unpacked(catalogue, NULL);
    if (prices != NULL)
        steelyard__control__v1__prices__free_unpacked(prices, NULL);
    buf_deinit(&catalogue_body);
    buf_deinit(&prices_body);
    training_scope_deinit(&s);
    return rc;
}

void training_scope_deinit(struct training_scope *s)
{
    for (uint32_t i = 0; i < s->model_count; i++)
        mem_free(s->models[i]);
    for (uint32_t i = 0; i < s->route_count; i++)
        mem_free(s->routes[i]);
    mem_free(s->models);
    mem_free(s->routes);
    mem_free(s->facts);
    *s = (struct training_scope){0};
}
