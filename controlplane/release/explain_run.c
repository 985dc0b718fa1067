/* A recorded decision holds what the world was like: candidates, live state, prices, limits. Those
 * stay; artifact and parameters are exchanged. Lambda as used follows the caller's preference and
 * the pressure of budgets: that factor stays too. */
#include "controlplane/release/explain_run.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "controlplane/release/record.h"
#include "controlplane/release/train_rows.h"
#include "controlplane/release/version_load.h"

#define REPORT_MAX (4U << 20)
#define NAMED_MAX  20000
#define NANO       1e-9
#define Q16        65536.0
#define TWO_32     4294967296.0

struct version {
    struct artifact *artifact; /* NULL: decided by priors. */
    struct policy_params params;
    struct explain_version_training training;
};

struct decided { /* What a version makes of one record. */
    double p[POLICY_CANDIDATES_MAX];
    double cost[POLICY_CANDIDATES_MAX];
    double quality[POLICY_CANDIDATES_MAX];
};

struct explain_work {
    const struct explain_run_request *request;
    struct explain_run *run;
    struct pq_conn *lookups;
    struct record_cache cache;
    struct version then;
    struct version now; /* With `against`. */
    struct record record;
    struct decided recorded;
    struct decided decided_now;
    struct decided decided_then;
    struct policy_decision decision;
    struct policy_candidate candidates[POLICY_CANDIDATES_MAX];
    struct err *err;
};

/* --- versions ------------------------------------------------------------------------------------
 */

/* What training measured on rows left out against the file on the rows it was fitted on. */
static void read_report(struct str text, struct version *out)
{
    json_t *report = json_loadb(text.data, text.len, 0, NULL);
    const json_t *chosen = json_object_get(report, "chosen");
    const json_t *own = json_object_get(chosen, "final_on_training_rows");
    const json_t *own_quality = json_object_get(own, "quality");
    const json_t *quality = json_object_get(chosen, "quality");
    const json_t *costs = json_object_get(chosen, "costs");
    struct explain_version_training *t = &out->training;
    const json_t *ratio = json_object_get(costs, "over_own");
    t->cost_ratio = json_is_number(ratio) ? json_number_value(ratio) : 1;
    t->ratio_error = json_number_value(json_object_get(costs, "over_own_error"));
    if (json_is_number(own_quality) && json_is_number(quality))
        t->quality_excess = json_number_value(own_quality) - json_number_value(quality);
    t->cost = json_number_value(json_object_get(costs, "usd"));
    t->error = json_number_value(json_object_get(costs, "error"));
    json_decref(report);
}

static bool as_trained(const struct version *v)
{
    struct policy_params own;
    bool same = v->artifact != NULL;
    if (!same)
        return false;
    policy_params_init(&own);
    policy_params_from_artifact(&own, v->artifact, 0);
    for (uint32_t m = 0; m < ARTIFACT_MODELS_MAX; m++)
        same = same && v->params.off[m] == 0;
    return same && v->params.lambda == own.lambda;
}

static int load_version(struct pq_conn *c, const char *policy, uint64_t number,
                        struct siphash_key draw_key, struct version *out, struct err *err)
{
    struct buf report = {0};
    buf_init(&report, REPORT_MAX);
    int rc = version_load(c, policy, number, draw_key, &out->artifact, &out->params, &report, err);
    if (rc == 0)
        read_report(buf_str(&report), out);
    if (rc == 0 && !as_trained(out))
        out->training.cost = 0; /* Of another lambda, or before a model was believed less. */
    buf_deinit(&report);
    return rc;
}

/* --- one record ----------------------------------------------------------------------------------
 */

static int64_t scaled_lambda(const struct record *r, const struct policy_params *params)
{
    int64_t own = r->params.lambda;
    if (own <= 0 || r->request.lambda == own)
        return params->lambda;
    double lambda = (double)params->lambda * ((double)r->request.lambda / (double)own);
    return lambda >= (double)ARTIFACT_LAMBDA_MAX ? ARTIFACT_LAMBDA_MAX : llrint(lambda);
}

/* A floor above the policy's own was the caller's. */
static uint32_t floor_of(const struct record *r, const struct policy_params *params)
{
    uint32_t asked = r->request.floor_q16 > r->params.floor_q16 ? r->request.floor_q16 : 0;
    return asked > params->floor_q16 ? asked : params->floor_q16;
}

static double chance(const struct policy_decision *d, uint32_t position)
{
    if ((d->flags & POLICY_FLAG_CERTAIN) != 0 || d->row[position].p == POLICY_ALWAYS)
        return position == d->chosen ? 1 : 0;
    return d->row[position].p / TWO_32;
}

static int64_t cost_or(int64_t cost)
{
    return cost == PRICE_UNKNOWN || cost < 0 ? -1 : cost;
}

static void take(const struct policy_decision *d, struct decided *out)
{
    for (uint32_t i = 0; i < d->count; i++) {
        int64_t cost = cost_or(d->row[i].cost);
        out->p[i] = chance(d, i);
        out->cost[i] = cost < 0 ? NAN : (double)cost * NANO;
        out->quality[i] = d->row[i].q / Q16;
    }
}

/* false: the version finds nobody to choose. */
static bool decide(struct explain_work *w, const struct version *v, struct decided *out)
{
    const struct record *r = &w->record;
    struct policy_request request = r->request;
    uint32_t count = (uint32_t)r->pb->n_cand;
    request.lambda = scaled_lambda(r, &v->params);
    request.mu = v->params.mu;
    request.floor_q16 = floor_of(r, &v->params);
    memcpy(w->candidates, r->candidates, count * sizeof(w->candidates[0]));
    for (uint32_t i = 0; i < count; i++)
        w->candidates[i].ordinal = v->artifact == NULL
                                       ? POLICY_UNKNOWN_MODEL
                                       : artifact_model(v->artifact, str_from(r->pb->models[i]));
    if (policy_decide(v->artifact, &r->features, &v->params, &request, w->candidates, count,
                      &w->decision) != 0 ||
        w->decision.chosen == POLICY_NONE)
        return false;
    take(&w->decision, out);
    return true;
}

static double actual_cost(const Steelyard__Telemetry__V1__Decision *d)
{
    bool known = (d->flags & STEELYARD__TELEMETRY__V1__DECISION_FLAG__FLAG_COST_UNKNOWN) == 0 &&
                 d->status != STEELYARD__TELEMETRY__V1__DECISION_STATUS__STATUS_DECIDED &&
                 d->n_attempt > 0;
    return known ? (double)d->cost * NANO : NAN;
}

static bool usable(const struct record *r)
{
    const Steelyard__Telemetry__V1__Decision *d = r->pb;
    return r->skip == RECORD_USABLE && r->has_features && d->n_models >= d->n_cand &&
           d->chosen < d->n_cand;
}

static bool learned_from(const struct version *v, int64_t ts_us)
{
    return v->artifact != NULL && ts_us >= v->artifact->meta.window_from_us &&
           ts_us < v->artifact->meta.window_to_us;
}

static int add_row(struct explain_work *w, double score, double label_prob)
{
    const struct record *r = &w->record;
    const Steelyard__Telemetry__V1__Decision *d = r->pb;
    struct str models[POLICY_CANDIDATES_MAX];
    struct explain_run *run = w->run;
    struct policy_decision recorded = r->recorded;
    uint32_t fell_back = STEELYARD__TELEMETRY__V1__DECISION_FLAG__FLAG_FALLBACK_SERVED;
    if ((d->flags & STEELYARD__TELEMETRY__V1__DECISION_FLAG__FLAG_PINNED) != 0 ||
        !decide(w, &w->then, &w->decided_then))
        return ERR_INVALID;
    take(&recorded, &w->recorded);
    if (w->request->against != 0 && !decide(w, &w->now, &w->decided_now))
        return ERR_INVALID;
    const struct decided *now = w->request->against != 0 ? &w->decided_now : &w->recorded;
    for (uint32_t i = 0; i < d->n_cand; i++)
        models[i] = str_from(d->models[i]);
    char segment[32];
    snprintf(segment, sizeof segment, "segment %u", d->segment);
    bool tagged = d->task[0] != '\0' || d->segment == 0;
    struct explain_version_row row = {
        .unit = train_rows_cluster(d),
        .task = tagged ? str_from(d->task) : str_from(segment),
        .arms = (uint32_t)d->n_cand,
        .models = models,
        .recorded_p = w->recorded.p,
        .now = {.p = now->p, .cost = now->cost, .quality = now->quality},
        .then = {.p = w->decided_then.p,
                 .cost = w->decided_then.cost,
                 .quality = w->decided_then.quality},
        .learned = learned_from(&w->then, d->ts_us) && !isnan(score),
        .evidence = d->served == d->chosen + 1 && (d->flags & fell_back) == 0,
        .served = d->served == 0 || d->served > d->n_cand ? EXPLAIN_VERSION_NONE : d->served - 1,
        .cost = actual_cost(d),
        .score = score,
        .label_prob = label_prob,
    };
    run->from_us = run->from_us == 0 || d->ts_us < run->from_us ? d->ts_us : run->from_us;
    run->to_us = d->ts_us > run->to_us ? d->ts_us : run->to_us;
    return explain_version_add(run->x, &row);
}

/* What cannot be recomputed is counted; memory and the database end it. */
static int settle(struct explain_work *w, int rc)
{
    if (rc != ERR_INVALID && rc != ERR_CORRUPT && rc != ERR_LIMIT)
        return rc;
    w->run->unusable++;
    return 0;
}

static int on_decision(void *arg, const struct pq_result *row)
{
    struct explain_work *w = arg;
    w->run->seen++;
    int rc = record_open_row(w->lookups, &w->cache, row, w->request->draw_key, &w->record, w->err);
    if (rc != 0)
        return settle(w, rc);
    double score = pq_result_is_null(row, 0, 1) ? NAN : (double)pq_result_i64(row, 0, 1) / Q16;
    double asked = pq_result_is_null(row, 0, 2) ? 1 : pq_result_double(row, 0, 2);
    rc = usable(&w->record) ? add_row(w, score, asked) : ERR_INVALID;
    record_close(&w->record);
    return settle(w, rc);
}

/* A named model is its own only candidate. */
static int on_named(void *arg, const struct pq_result *row)
{
    struct explain_work *w = arg;
    const Steelyard__Telemetry__V1__Decision *d;
    int rc = record_open_row(w->lookups, &w->cache, row, w->request->draw_key, &w->record, w->err);
    if (rc != 0)
        return settle(w, rc);
    d = w->record.pb;
    double cost = actual_cost(d);
    if (usable(&w->record) && d->n_cand == 1 && d->served == 1 && !isnan(cost) &&
        decide(w, &w->then, &w->decided_then)) {
        bool other = w->request->against != 0 && decide(w, &w->now, &w->decided_now);
        double then = w->decided_then.cost[0];
        explain_version_call(w->run->x, str_from(d->models[0]), cost,
                             other ? w->decided_now.cost[0] : then, then);
        w->run->named++;
    }
    record_close(&w->record);
    return 0;
}

/* --- all of them ---------------------------------------------------------------------------------
 */

static int stream_routed(struct pq_conn *c, struct explain_work *w, const struct train_facts *facts)
{
    struct pq_params p = {0};
    int rc = train_facts_routes(facts, &p);
    if (rc != 0)
        return rc;
    pq_params_i64(&p, w->request->decisions);
    return pq_conn_stream(
        c,
        "SELECT d.detail, l.score_q16, l.label_prob FROM decision d LEFT JOIN LATERAL (SELECT "
        "f.score_q16, f.label_prob FROM feedback f WHERE f.request_id = d.request_id AND f.ts "
        "BETWEEN d.ts - interval '1 minute' AND d.ts + interval '1 minute' ORDER BY "
        "array_position(ARRAY['eval', 'judge', 'thumb', 'implicit'], f.source), f.received, "
        "f.key_id LIMIT 1) l ON true WHERE d.route = ANY (string_to_array($1, chr(10))) "
        "ORDER BY d.request_id DESC LIMIT $2",
        &p, on_decision, w, w->err);
}

/* Of about the same time: prices and models change. */
static int stream_named(struct pq_conn *c, struct explain_work *w, const struct train_facts *facts)
{
    struct pq_params p = {0};
    struct buf names = {0};
    int rc = 0;
    buf_init(&names, 1U << 20);
    for (uint32_t m = 0; rc == 0 && m < facts->model_count; m++) {
        rc = m == 0 ? 0 : buf_append_char(&names, '\n');
        if (rc == 0)
            rc = buf_append_str(&names, facts->model_ids[m]);
    }
    if (rc == 0) {
        pq_params_text(&p, buf_str(&names));
        pq_params_i64(&p, NAMED_MAX);
        pq_params_time_us(&p, w->run->from_us);
        pq_params_time_us(&p, w->run->to_us);
        rc = pq_conn_stream(c,
                            "SELECT detail FROM decision WHERE ts > $3::timestamptz - interval "
                            "'1 day' AND ts <= $4 AND route = '' AND served_model = ANY "
                            "(string_to_array($1, chr(10))) ORDER BY request_id DESC LIMIT $2",
                            &p, on_named, w, w->err);
    }
    buf_deinit(&names);
    return rc;
}

static int run_all(struct pq_conn *c, struct explain_work *w, struct err *err)
{
    const struct explain_run_request *q = w->request;
    struct train_facts facts = {0};
    int rc = load_version(c, q->policy, q->version, q->draw_key, &w->then, err);
    if (rc == 0 && q->against != 0)
        rc = load_version(c, q->policy, q->against, q->draw_key, &w->now, err);
    if (rc == 0)
        rc = train_facts_load(c, q->set, q->policy, &facts, err);
    if (rc == 0)
        rc = pq_conn_open(q->conninfo, "steelyard-explain", 5000, 60000, &w->lookups, err);
    explain_version_trained(w->run->x, &w->then.training);
    if (rc == 0)
        rc = stream_routed(c, w, &facts);
    if (rc == 0 && w->run->seen == w->run->unusable)
        rc = err_set(err, ERR_NOT_FOUND,
                     "no decision of policy %s can be recomputed (%llu looked at)", q->policy,
                     (unsigned long long)w->run->seen);
    if (rc == 0)
        rc = stream_named(c, w, &facts);
    if (rc == 0)
        rc = explain_version_finish(
            w->run->x, q->bootstraps != 0 ? q->bootstraps : ESTIMATE_BOOTSTRAPS, &w->run->result);
    train_facts_deinit(&facts);
    return rc;
}

int explain_run(struct pq_conn *c, const struct explain_run_request *request,
                struct explain_run *out, struct err *err)
{
    struct explain_work *w = mem_zalloc(sizeof(*w));
    memset(out, 0, sizeof(*out));
    if (w == NULL)
        return ERR_NOMEM;
    w->request = request;
    w->run = out;
    w->err = err;
    int rc = explain_version_create(request->against == 0, &out->x);
    if (rc == 0)
        rc = run_all(c, w, err);
    artifact_destroy(w->then.artifact);
    artifact_destroy(w->now.artifact);
    record_cache_deinit(&w->cache);
    pq_conn_close(w->lookups);
    mem_free(w);
    if (rc != 0)
        explain_run_deinit(out);
    return rc;
}

void explain_run_deinit(struct explain_run *run)
{
    explain_version_destroy(run->x);
    run->x = NULL;
}
