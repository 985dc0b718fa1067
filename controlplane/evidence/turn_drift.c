/* Labels of whole hours, oldest first, each hour once: how far is in the table, under the fence. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/route/artifact.h"
#include "controlplane/evidence/drift.h"
#include "controlplane/evidence/turn_internal.h"

#define HOUR_US        INT64_C(3600000000)
#define HOURS_BACK     48 /* Older labels are left out. */
#define HOURS_A_TURN   24
#define Q16            65536.0
#define STABILITY_ROWS 5000
#define FEATURES_ALL   (FEATURES_DENSE + 1) /* Predicted quality last. */
#define DAY_US         (24 * HOUR_US)

struct model {
    struct drift_sums sums;
    struct drift_hour pending; /* Labels of hours with few of them. */
    double quality;            /* Sum of q, for its mean. */
    uint64_t labels;
};
struct drift {
    struct turn *turn;
    int64_t hour_us; /* Folded up to here. */
    struct model models[ARTIFACT_MODELS_MAX];
};

/* --- state ---------------------------------------------------------------------------------------
 */

static struct str artifact_of(const struct turn *t)
{
    return (struct str){.data = (const char *)t->artifact, .len = SHA256_BYTES};
}

static uint32_t model_index(const struct turn *t, struct str name)
{
    uint32_t m = 0;
    while (m < t->facts->model_count && !str_eq(t->facts->model_ids[m], name))
        m++;
    return m;
}

static int64_t floor_hour(int64_t us)
{
    return us - us % HOUR_US;
}

static int load_state(struct drift *d)
{
    struct turn *t = d->turn;
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_text(&p, str_from(t->policy->name));
    pq_params_bytes(&p, artifact_of(t));
    int rc = pq_conn_query(t->c,
                           "SELECT model, hour, up, down, bias, labels, pending_labels, "
                           "pending_residuals, pending_variances FROM drift_state WHERE "
                           "policy = $1 AND artifact = $2",
                           &p, &r, t->err);
    int64_t oldest = floor_hour(t->now_us - HOURS_BACK * HOUR_US);
    d->hour_us = floor_hour(t->promoted_us);
    for (int i = 0; rc == 0 && i < pq_result_rows(r); i++) {
        uint32_t m = model_index(t, pq_result_text(r, i, 0));
        d->hour_us = pq_result_time_us(r, i, 1);
        if (m == t->facts->model_count)
            continue;
        int64_t labels = pq_result_i64(r, i, 5);
        d->models[m].sums =
            (struct drift_sums){.up = pq_result_double(r, i, 2),
                                .down = pq_result_double(r, i, 3),
                                .residuals = pq_result_double(r, i, 4) * (double)labels,
                                .labels = (uint64_t)labels};
        d->models[m].pending = (struct drift_hour){.labels = (uint64_t)pq_result_i64(r, i, 6),
                                                   .residuals = pq_result_double(r, i, 7),
                                                   .variances = pq_result_double(r, i, 8)};
    }
    pq_result_destroy(r);
    d->hour_us = d->hour_us < oldest ? oldest : d->hour_us;
    return rc;
}

static int save_model(struct drift *d, struct str model, const struct model *state)
{
    struct turn *t = d->turn;
    const struct drift_sums *s = &state->sums;
    const double values[5] = {s->up, s->down, s->labels > 0 ? s->residuals / (double)s->labels : 0,
                              state->pending.residuals, state->pending.variances};
    char numbers[5][40];
    struct pq_params p = {0};
    for (int i = 0; i < 5; i++)
        snprintf(numbers[i], sizeof numbers[i], "%.17g", values[i]);
    pq_params_text(&p, str_from(t->policy->name));
    pq_params_text(&p, model);
    pq_params_bytes(&p, artifact_of(t));
    pq_params_time_us(&p, d->hour_us);
    for (int i = 0; i < 3; i++)
        pq_params_text(&p, str_from(numbers[i]));
    pq_params_i64(&p, (int64_t)s->labels);
    pq_params_i64(&p, (int64_t)state->pending.labels);
    pq_params_text(&p, str_from(numbers[3]));
    pq_params_text(&p, str_from(numbers[4]));
    return pq_conn_query(
        t->c,
        "INSERT INTO drift_state (policy, model, artifact, hour, up, down, bias, "
        "labels, pending_labels, pending_residuals, pending_variances) VALUES ($1, "
        "$2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (policy, model) DO "
        "UPDATE SET artifact = $3, hour = $4, up = $5, down = $6, bias = $7, "
        "labels = $8, pending_labels = $9, pending_residuals = $10, "
        "pending_variances = $11",
        &p, NULL, t->err);
}

static int insert_event(struct turn *t, struct str model, const char *kind, double value,
                        double bias, uint64_t version)
{
    char numbers[2][40];
    struct pq_params p = {0};
    snprintf(numbers[0], sizeof numbers[0], "%.17g", value);
    snprintf(numbers[1], sizeof numbers[1], "%.17g", bias);
    pq_params_text(&p, str_from(t->policy->name));
    pq_params_text(&p, model);
    pq_params_text(&p, str_from(kind));
    pq_params_text(&p, str_from(numbers[0]));
    pq_params_text(&p, str_from(numbers[1]));
    if (version > 0)
        pq_params_i64(&p, (int64_t)version);
    else
        pq_params_null(&p);
    int rc = pq_conn_query(t->c,
                           "INSERT INTO drift_event (policy, model, kind, value, bias, version) "
                           "VALUES ($1, $2, $3, $4, $5, $6)",
                           &p, NULL, t->err);
    t->seen->drifts += rc == 0;
    return rc;
}

/* --- labels --------------------------------------------------------------------------------------
 */

static int on_label(void *arg, const struct training_row *row)
{
    struct drift *d = arg;
    Steelyard__Telemetry__V1__Decision *m = steelyard__telemetry__v1__decision__unpack(
        NULL, row->detail.len, (const uint8_t *)row->detail.data);
    uint32_t skip = STEELYARD__TELEMETRY__V1__DECISION_FLAG__FLAG_PINNED |
                    STEELYARD__TELEMETRY__V1__DECISION_FLAG__FLAG_FALLBACK_SERVED;
    if (m == NULL)
        return 0;
    bool ours = m->policy_version.len == SHA256_BYTES &&
                memcmp(m->policy_version.data, d->turn->artifact, SHA256_BYTES) == 0;
    if (ours && (m->flags & skip) == 0 && m->served > 0 && m->served <= m->n_cand &&
        m->served <= m->n_models) {
        uint32_t at = model_index(d->turn, str_from(m->models[m->served - 1]));
        if (at < d->turn->facts->model_count) {
            struct model *model = &d->models[at];
            double q = m->cand[m->served - 1]->q / Q16;
            model->pending.labels++;
            model->pending.residuals += row->score_q16 / Q16 - q;
            model->pending.variances += q * (1 - q);
            model->quality += q;
            model->labels++;
        }
    }
    steelyard__telemetry__v1__decision__free_unpacked(m, NULL);
    return 0;
}

/* Without a rollout under way, what is worse is believed less. */
static int answer(struct drift *d, uint32_t m, enum drift_verdict verdict, double value,
                  double bias)
{
    struct turn *t = d->turn;
    uint64_t version = 0;
    struct str name = t->facts->model_ids[m];
    int rc = 0;
    if (verdict == DRIFT_WORSE && bias < 0 && t->quiet) {
        char detail[256];
        double q =
            d->models[m].labels > 0 ? d->models[m].quality / (double)d->models[m].labels : .5;
        int32_t offset = (int32_t)lrint(drift_offset(q, bias) * Q16);
        snprintf(detail, sizeof detail,
                 "{\"model\":\"%.*s\",\"sum\":%.4g,\"bias\":%.4g,\"offset_added\":%d}",
                 STR_ARG(str_slice(name, 0, 100)), value, bias, offset);
        struct publish_actor actor = {
            .name = STR("drift"), .reason = STR("a model became worse"), .claim = t->claim};
        struct publish_tune tune = {.name = str_from(t->policy->name),
                                    .current = t->version,
                                    .approved = t->approved,
                                    .lambda = -1,
                                    .explore = -1,
                                    .model = name,
                                    .offset_added = offset,
                                    .detail = str_from(detail)};
        rc = publish_policy_tune(t->c, &actor, &tune, &version, t->err);
        if (rc == 0) {
            t->version = version;
            t->seen->offsets++;
        }
    }
    return rc != 0 ? rc
                   : insert_event(t, name, verdict == DRIFT_WORSE ? "worse" : "better", value, bias,
                                  version);
}

struct alarm {
    uint32_t model;
    enum drift_verdict verdict;
    double value;
    double bias;
};

static uint32_t fold_hour(struct drift *d, struct alarm *alarms)
{
    uint32_t count = 0;
    for (uint32_t m = 0; m < d->turn->facts->model_count; m++) {
        struct model *model = &d->models[m];
        struct alarm a = {.model = m};
        if (model->pending.labels < DRIFT_LABELS_MIN)
            continue;
        a.verdict = drift_fold(&model->sums, &model->pending, &a.value, &a.bias);
        model->pending = (struct drift_hour){0};
        if (a.verdict != DRIFT_NONE)
            alarms[count++] = a;
    }
    return count;
}

static int save_hour(struct drift *d)
{
    struct turn *t = d->turn;
    static const struct model zero;
    int rc = pq_conn_script(t->c, "BEGIN", t->err);
    if (rc == 0)
        rc = leader_fence(t->c, t->claim, t->err);
    if (rc == 0)
        rc = save_model(d, STR(""), &zero); /* How far, also when no model has labels. */
    for (uint32_t m = 0; rc == 0 && m < t->facts->model_count; m++)
        rc = save_model(d, t->facts->model_ids[m], &d->models[m]);
    if (rc == 0)
        rc = pq_conn_script(t->c, "COMMIT", t->err);
    else
        pq_conn_attempt(t->c, "ROLLBACK");
    return rc;
}

static int fold_labels(struct drift *d)
{
    struct turn *t = d->turn;
    struct alarm alarms[ARTIFACT_MODELS_MAX];
    int64_t until =
        floor_hour(t->now_us - (int64_t)t->policy->label_maturity_s * 1000000 - HOUR_US);
    int rc = 0;
    for (int h = 0; rc == 0 && h < HOURS_A_TURN && d->hour_us < until; h++) {
        const struct training_query query = {.since_us = d->hour_us,
                                             .until_us = d->hour_us + HOUR_US,
                                             .label_before_us = t->now_us,
                                             .routes = t->facts->routes,
                                             .route_count = t->facts->route_count,
                                             .order = TRAINING_BY_TIME};
        rc = training_stream(t->c, &query, on_label, d, t->err);
        if (rc != 0)
            return rc;
        d->hour_us += HOUR_US;
        uint32_t count = fold_hour(d, alarms);
        rc = save_hour(d);
        for (uint32_t i = 0; rc == 0 && i < count; i++)
            rc = answer(d, alarms[i].model, alarms[i].verdict, alarms[i].value, alarms[i].bias);
    }
    return rc;
}

/* --- what is asked -------------------------------------------------------------------------------
 */

struct sample {
    double *values[FEATURES_ALL]; /* [STABILITY_ROWS] */
    uint32_t count;
};

static int on_sampled(void *arg, const struct pq_result *row)
{
    struct sample *s = arg;
    struct buf detail = {0};
    buf_init(&detail, 4U << 20);
    int rc = pq_result_bytes(row, 0, 0, &detail);
    Steelyard__Telemetry__V1__Decision *m =
        rc == 0 ? steelyard__telemetry__v1__decision__unpack(NULL, detail.len,
                                                             (const uint8_t *)detail.data)
                : NULL;
    if (m != NULL && m->n_dense == FEATURES_DENSE && m->n_cand > 0 && s->count < STABILITY_ROWS) {
        double best = 0;
        for (size_t i = 0; i < m->n_cand; i++)
            best = fmax(best, m->cand[i]->q / Q16);
        for (int f = 0; f < FEATURES_DENSE; f++)
            s->values[f][s->count] = m->dense[f];
        s->values[FEATURES_DENSE][s->count++] = best;
    }
    if (m != NULL)
        steelyard__telemetry__v1__decision__free_unpacked(m, NULL);
    buf_deinit(&detail);
    return rc;
}

static int sample(struct turn *t, int64_t from_us, int64_t to_us, double *room, struct sample *out)
{
    struct pq_params p = {0};
    out->count = 0;
    for (int f = 0; f < FEATURES_ALL; f++)
        out->values[f] = room + (size_t)f * STABILITY_ROWS;
    int rc = train_facts_routes(t->facts, &p);
    pq_params_time_us(&p, from_us);
    pq_params_time_us(&p, to_us);
    pq_params_bytes(&p, artifact_of(t));
    pq_params_i64(&p, STABILITY_ROWS);
    return rc != 0 ? rc
                   : pq_conn_stream(t->c,
                                    "SELECT detail FROM decision WHERE ts >= $2 AND ts < $3 AND "
                                    "route = ANY (string_to_array($1, chr(10))) AND policy_sha = "
                                    "$4 ORDER BY request_id DESC LIMIT $5",
                                    &p, on_sampled, out, t->err);
}

/* What it learned from, by the report of its training; false: an older version, which has none. */
static bool read_references(const struct turn *t, struct reference *out)
{
    const json_t *all = json_object_get(t->report, "learned_from");
    if (json_array_size(all) != FEATURES_ALL)
        return false;
    for (size_t f = 0; f < FEATURES_ALL; f++)
        if (reference_read(json_array_get(all, f), &out[f]) != 0)
            return false;
    return true;
}

/* Without: its first day in service, by the same artifact. *out_known: there is enough of it. */
static int first_day(struct turn *t, double *room, struct reference *out, bool *out_known)
{
    struct sample before;
    *out_known = t->now_us - t->promoted_us >= 2 * DAY_US;
    if (!*out_known)
        return 0;
    int rc = sample(t, t->promoted_us, t->promoted_us + DAY_US, room, &before);
    for (int f = 0; rc == 0 && f < FEATURES_ALL; f++)
        reference_make(before.values[f], before.count, &out[f]);
    return rc;
}

/* Once a day is often enough to hear that requests are others. */
static int note_change(struct turn *t, const char *kind, double value)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    if (!(value > DRIFT_PSI_MAX))
        return 0;
    pq_params_text(&p, str_from(t->policy->name));
    pq_params_text(&p, str_from(kind));
    pq_params_time_us(&p, t->created_us);
    int rc = pq_conn_query(t->c,
                           "SELECT FROM drift_event WHERE policy = $1 AND kind = $2 AND ts > "
                           "greatest($3::timestamptz, now() - interval '1 day') LIMIT 1",
                           &p, &r, t->err);
    bool known = rc == 0 && pq_result_rows(r) > 0;
    pq_result_destroy(r);
    return rc != 0 || known ? rc : insert_event(t, STR(""), kind, value, 0, 0);
}

/* The requests of the last day against those that the version has learned from. */
static int look_at_requests(struct turn *t)
{
    struct reference before[FEATURES_ALL];
    struct sample after;
    double worst[2] = {0, 0}; /* Features, quality. */
    bool known = true;
    int rc = 0;
    double *room = mem_calloc((size_t)FEATURES_ALL * STABILITY_ROWS, sizeof(*room));
    if (room == NULL)
        return ERR_NOMEM;
    if (!read_references(t, before))
        rc = first_day(t, room, before, &known);
    if (rc == 0 && known)
        rc = sample(t, t->now_us - DAY_US, t->now_us, room, &after);
    for (int f = 0; rc == 0 && known && f < FEATURES_ALL; f++) {
        double index = drift_stability(&before[f], after.values[f], after.count);
        double *most = &worst[f == FEATURES_DENSE ? 1 : 0];
        *most = index > *most ? index : *most;
    }
    mem_free(room);
    t->seen->stability = fmax(worst[0], worst[1]);
    if (rc == 0)
        rc = note_change(t, "requests", worst[0]);
    return rc != 0 ? rc : note_change(t, "quality", worst[1]);
}

int turn_drift(struct turn *t)
{
    if (!t->has_artifact)
        return 0;
    struct drift *d = mem_zalloc(sizeof(*d));
    if (d == NULL)
        return ERR_NOMEM;
    d->turn = t;
    int rc = load_state(d);
    if (rc == 0)
        rc = fold_labels(d);
    mem_free(d);
    return rc != 0 ? rc : look_at_requests(t);
}
