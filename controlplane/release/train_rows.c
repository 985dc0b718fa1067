#include "controlplane/release/train_rows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/route/policy.h"
#include "common/route/price.h"
#include "controlplane/release/record.h"
#include "telemetry.pb-c.h"

#define ARTIFACT_MAX (64U << 20)
#define DAY_US       86400e6
#define CERTAIN      UINT32_MAX /* p of a choice without alternative. */

/* --- facts -------------------------------------------------------------------------------------
 */

static const struct publish_resource *resource(const struct publish_set *set, const char *key)
{
    for (size_t i = 0; i < set->count; i++) {
        if (str_is(set->items[i].key, key))
            return &set->items[i];
    }
    return NULL;
}

static int copy_body(const struct publish_set *set, const char *key, struct buf *out)
{
    const struct publish_resource *r = resource(set, key);
    buf_init(out, ARTIFACT_MAX);
    return r == NULL ? 0 : buf_append_str(out, r->body);
}

static int by_name(const void *a, const void *b)
{
    return str_compare(*(const struct str *)a, *(const struct str *)b);
}

static int add_models(struct train_facts *f, const Steelyard__Control__V1__Route *route,
                      struct err *err)
{
    for (size_t i = 0; i < route->n_models; i++) {
        struct str id = str_from(route->models[i]);
        uint32_t k = 0;
        while (k < f->model_count && !str_eq(f->model_ids[k], id))
            k++;
        if (k < f->model_count)
            continue;
        if (f->model_count == ARTIFACT_MODELS_MAX)
            return err_set(err, ERR_LIMIT, "more than %d models in the routes of the policy",
                           ARTIFACT_MODELS_MAX);
        f->model_ids[f->model_count++] = id;
    }
    return 0;
}

static void fill_model(const struct train_facts *f, struct str id, struct learn_model *out)
{
    *out = (struct learn_model){
        .price_in = PRICE_UNKNOWN, .price_out = PRICE_UNKNOWN, .prior_quality = -1};
    for (size_t i = 0; i < f->catalogue->n_models; i++) {
        const Steelyard__Control__V1__Model *m = f->catalogue->models[i];
        if (!str_is(id, m->id))
            continue;
        if (m->prior_quality_q16 > 0)
            out->prior_quality = (double)m->prior_quality_q16 / 65536.0;
        out->prior_out_tok = (double)m->prior_output_tokens;
        for (size_t k = 0; f->prices != NULL && k < f->prices->n_prices; k++) {
            const Steelyard__Control__V1__Price *p = f->prices->prices[k];
            if (strcmp(p->model, m->id) != 0 || m->n_deployments == 0 ||
                strcmp(p->provider, m->deployments[0]->provider) != 0)
                continue;
            out->price_in = p->input;
            out->price_out = p->output;
        }
    }
}

/* An artifact that cannot be read is refused where it is compared with. */
static int64_t learned_until(struct str file)
{
    struct artifact *a = NULL;
    enum artifact_reason reason;
    int64_t until = 0;
    if (file.len != 0 && artifact_decode(file, &a, &reason, NULL) == 0)
        until = a->meta.window_to_us;
    artifact_destroy(a);
    return until;
}

int train_facts_load(struct pq_conn *c, const struct publish_set *set, const char *policy,
                     struct train_facts *out_facts, struct err *err)
{
    struct train_facts *f = out_facts;
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    char key[TRAIN_NAME_BYTES + 16];
    const struct publish_resource *catalogue = resource(set, "catalogue");
    const struct publish_resource *prices = resource(set, "prices");
    if (catalogue == NULL)
        return err_set(err, ERR_UNAVAILABLE, "no catalogue is published yet");
    f->catalogue = steelyard__control__v1__catalogue__unpack(NULL, catalogue->body.len,
                                                             (const uint8_t *)catalogue->body.data);
    if (prices != NULL)
        f->prices = steelyard__control__v1__prices__unpack(NULL, prices->body.len,
                                                           (const uint8_t *)prices->body.data);
    if (f->catalogue == NULL)
        return err_set(err, ERR_CORRUPT, "the catalogue cannot be read");
    f->routes = mem_calloc(f->catalogue->n_routes + 1, sizeof *f->routes);
    if (f->routes == NULL)
        return ERR_NOMEM;
    int rc = 0;
    for (size_t i = 0; i < f->catalogue->n_routes && rc == 0; i++) {
        if (strcmp(f->catalogue->routes[i]->policy, policy) != 0)
            continue;
        f->routes[f->route_count++] = str_from(f->catalogue->routes[i]->name);
        rc = add_models(f, f->catalogue->routes[i], err);
    }
    if (rc == 0 && f->model_count == 0)
        rc = err_set(err, ERR_INVALID, "no route uses policy %s", policy);
    qsort(f->model_ids, f->model_count, sizeof f->model_ids[0], by_name);
    for (uint32_t i = 0; i < f->model_count; i++)
        fill_model(f, f->model_ids[i], &f->models[i]);
    snprintf(key, sizeof key, "artifact/%s", policy);
    if (rc == 0)
        rc = copy_body(set, key, &f->incumbent);
    f->incumbent_until_us = learned_until(buf_str(&f->incumbent));
    snprintf(key, sizeof key, "params/%s", policy);
    if (rc == 0)
        rc = copy_body(set, key, &f->params);
    if (rc != 0)
        return rc;
    pq_params_text(&p, str_from(policy));
    rc = pq_conn_query(
        c, "SELECT coalesce(max(version), 0) + 1 FROM policy_version WHERE name = $1", &p, &r, err);
    if (rc == 0)
        f->next_version = (uint64_t)pq_result_i64(r, 0, 0);
    pq_result_destroy(r);
    return rc;
}

void train_facts_deinit(struct train_facts *f)
{
    if (f->catalogue != NULL)
        steelyard__control__v1__catalogue__free_unpacked(f->catalogue, NULL);
    if (f->prices != NULL)
        steelyard__control__v1__prices__free_unpacked(f->prices, NULL);
    mem_free(f->routes);
    buf_deinit(&f->incumbent);
    buf_deinit(&f->params);
}

int train_facts_routes(const struct train_facts *f, struct pq_params *p)
{
    struct buf lines = {0};
    int rc = 0;
    buf_init(&lines, 1U << 20);
    for (size_t i = 0; i < f->route_count && rc == 0; i++) {
        rc = i == 0 ? 0 : buf_append_char(&lines, '\n');
        if (rc == 0)
            rc = buf_append_str(&lines, f->routes[i]);
    }
    if (rc == 0)
        pq_params_text(p, buf_str(&lines));
    buf_deinit(&lines);
    return rc;
}

int train_params(const struct train_facts *f, struct str artifact, struct buf *out, struct err *err)
{
    struct artifact *a = NULL;
    enum artifact_reason reason;
    struct policy_params learned;
    Steelyard__Control__V1__Params m = STEELYARD__CONTROL__V1__PARAMS__INIT;
    Steelyard__Control__V1__Params *have = steelyard__control__v1__params__unpack(
        NULL, f->params.len, (const uint8_t *)f->params.data);
    int rc = have == NULL ? err_set(err, ERR_CORRUPT, "parameters in service cannot be read")
                          : artifact_decode(artifact, &a, &reason, err);
    if (rc == 0) {
        policy_params_init(&learned);
        policy_params_from_artifact(&learned, a, 0);
        m.lambda = learned.lambda;
        m.mu = have->mu;
        m.gamma = learned.gamma;
        m.delta_q16 = learned.delta_q16;
        m.stick_margin = learned.stick_margin;
        m.floor_q16 = have->floor_q16;
        m.eps_cap = have->eps_cap;
        m.explore_most = have->explore_most;
        m.default_out_tokens = have->default_out_tokens;
        rc = buf_reserve(out, steelyard__control__v1__params__get_packed_size(&m));
        if (rc == 0)
            out->len += steelyard__control__v1__params__pack(&m, (uint8_t *)out->data + out->len);
    }
    if (have != NULL)
        steelyard__control__v1__params__free_unpacked(have, NULL);
    artifact_destroy(a);
    return rc;
}

/* --- rows --------------------------------------------------------------------------------------
 */

void train_rows_init(struct train_rows *r, const struct train_facts *facts, struct dataset *data,
                     enum train_mode mode, int64_t now_us)
{
    *r = (struct train_rows){.facts = facts, .data = data, .mode = mode, .now_us = now_us};
    buf_init(&r->question, 256);
}

void train_rows_deinit(struct train_rows *r)
{
    buf_deinit(&r->question);
}

static double weight_of(struct str source)
{
    if (str_is(source, "eval"))
        return DATASET_WEIGHT_EXACT;
    if (str_is(source, "judge"))
        return DATASET_WEIGHT_JUDGE;
    return str_is(source, "thumb") ? DATASET_WEIGHT_THUMB : DATASET_WEIGHT_IMPLICIT;
}

/* Ordinal of the model that served, or -1. */
static int32_t served_model(const struct train_rows *r, const Steelyard__Telemetry__V1__Decision *d)
{
    if (d->served == 0 || d->served > d->n_models)
        return -1;
    for (uint32_t i = 0; i < r->facts->model_count; i++) {
        if (str_is(r->facts->model_ids[i], d->models[d->served - 1]))
            return (int32_t)i;
    }
    return -1;
}

static struct dataset_label label_of(const Steelyard__Telemetry__V1__Decision *d, uint32_t model,
                                     int32_t score_q16)
{
    struct dataset_label l = {
        .model = model, .score = (double)score_q16 / 65536.0, .cost_usd = NAN};
    for (size_t i = 0; i < d->n_attempt; i++) {
        if (d->attempt[i]->model == d->served - 1)
            l.out_tok = (double)d->attempt[i]->out; /* The last one is the answer. */
    }
    if ((d->flags & STEELYARD__TELEMETRY__V1__DECISION_FLAG__FLAG_COST_UNKNOWN) == 0 &&
        d->cost >= 0)
        l.cost_usd = (double)d->cost * 1e-9;
    if (l.out_tok == 0)
        l.out_tok = NAN;
    return l;
}

static uint64_t unit_of(const void *data, size_t len)
{
    return siphash_2_4((struct siphash_key){0x5354454c, 1}, data, len);
}

static uint64_t unit_of_request(const Steelyard__Telemetry__V1__Decision *d)
{
    /* A question asked again must not stand on both sides of a fold, nor a conversation. */
    if (d->text_hash.len > 0)
        return unit_of(d->text_hash.data, d->text_hash.len);
    if (d->conv_hash.len > 0)
        return unit_of(d->conv_hash.data, d->conv_hash.len);
    return unit_of(d->request_id.data, d->request_id.len);
}

uint64_t train_rows_cluster(const Steelyard__Telemetry__V1__Decision *d)
{
    uint64_t unit = d->unit != 0 ? d->unit : unit_of(d->request_id.data, d->request_id.len);
    return unit != 0 ? unit : 1;
}

static double age_days(const struct train_rows *r, int64_t ts_us)
{
    double age = (double)(r->now_us - ts_us) / DAY_US;
    return age > 0 ? age : 0;
}

static int add_observed(struct train_rows *r, const Steelyard__Telemetry__V1__Decision *d,
                        const struct training_row *row)
{
    struct features features;
    int32_t model = served_model(r, d);
    uint32_t skip = STEELYARD__TELEMETRY__V1__DECISION_FLAG__FLAG_PINNED |
                    STEELYARD__TELEMETRY__V1__DECISION_FLAG__FLAG_FALLBACK_SERVED;
    if (model < 0 || (d->flags & skip) != 0 || d->served != d->chosen + 1 ||
        d->chosen >= d->n_cand || record_features(d, &features) != 0) {
        r->unusable++;
        return 0;
    }
    uint32_t p = d->cand[d->chosen]->p;
    double propensity = p == CERTAIN || p == 0 ? 1.0 : (double)p / 4294967296.0;
    struct dataset_label label = label_of(d, (uint32_t)model, row->score_q16);
    struct dataset_row out = {.features = &features,
                              .unit = unit_of_request(d),
                              .cluster = train_rows_cluster(d),
                              .in_tok = d->t_in,
                              .task = str_from(d->task),
                              .labels = &label,
                              .label_count = 1,
                              .propensity = propensity,
                              .label_prob = row->label_prob,
                              .seen = row->ts_us < r->facts->incumbent_until_us,
                              .weight = weight_of(row->source),
                              .age_days = age_days(r, row->ts_us)};
    return dataset_add(r->data, &out, &r->err);
}

/* The answers to one question so far become one row, if there are at least two. */
static int flush_question(struct train_rows *r)
{
    uint32_t count = r->label_count;
    r->label_count = 0;
    if (count == 0)
        return 0;
    if (count < 2) {
        r->unusable++;
        return 0;
    }
    struct dataset_row out = {.features = &r->features,
                              .unit = unit_of(r->question.data, r->question.len),
                              .in_tok = r->in_tok,
                              .task = str_from(r->task),
                              .labels = r->labels,
                              .label_count = count,
                              .propensity = 1,
                              .label_prob = 1,
                              .seen = r->ts_us < r->facts->incumbent_until_us,
                              .weight = r->weight,
                              .age_days = age_days(r, r->ts_us)};
    return dataset_add(r->data, &out, &r->err);
}

static int add_answer(struct train_rows *r, const Steelyard__Telemetry__V1__Decision *d,
                      const struct training_row *row)
{
    int32_t model = served_model(r, d);
    if (row->text_hash.len == 0 || model < 0) {
        r->unusable++;
        return 0;
    }
    int rc = 0;
    if (!str_eq(row->text_hash, buf_str(&r->question)))
        rc = flush_question(r);
    if (rc == 0 && r->label_count == 0) {
        if (record_features(d, &r->features) != 0) {
            r->unusable++;
            return 0;
        }
        buf_clear(&r->question);
        rc = buf_append_str(&r->question, row->text_hash);
        r->in_tok = d->t_in;
        r->weight = weight_of(row->source);
        if (!str_copy(str_slice(str_from(d->task), 0, sizeof r->task - 1), r->task, sizeof r->task))
            r->task[0] = '\0';
    }
    if (rc != 0)
        return rc;
    r->ts_us = row->ts_us;
    /* Asked twice of one model: the later answer counts. */
    uint32_t at = 0;
    while (at < r->label_count && r->labels[at].model != (uint32_t)model)
        at++;
    r->labels[at] = label_of(d, (uint32_t)model, row->score_q16);
    if (at == r->label_count)
        r->label_count++;
    return 0;
}

int train_rows_add(void *rows, const struct training_row *row)
{
    struct train_rows *r = rows;
    r->seen++;
    Steelyard__Telemetry__V1__Decision *d = steelyard__telemetry__v1__decision__unpack(
        NULL, row->detail.len, (const uint8_t *)row->detail.data);
    if (d == NULL) {
        r->unusable++;
        return 0;
    }
    int rc = r->mode == TRAIN_FULL ? add_answer(r, d, row) : add_observed(r, d, row);
    steelyard__telemetry__v1__decision__free_unpacked(d, NULL);
    return rc;
}

int train_rows_finish(struct train_rows *r)
{
    return r->mode == TRAIN_FULL ? flush_question(r) : 0;
}
