/* Labelled decisions -> rows of a data set.
 *
 * Postgres gives one line per decision and vote, in an order that follows from the rows alone. A
 * decision counts with its strongest vote; lines of one unit (in full mode: the same text) gather
 * into one row with a label per model, the first one of each model. */
#include <math.h>
#include <string.h>

#include "common/base/mem.h"
#include "controlplane/release/training.h"
#include "telemetry.pb-c.h"

#define DETAIL_BYTES_MAX (1U << 20)
#define PROGRESS_EVERY   1000U
#define DAY_US           86400e6

typedef Steelyard__Telemetry__V1__Decision Decision;

/* Columns: unit, request_id, served model, task, weight rank, score, age, detail. */
static const char sql_observed[] =
    "SELECT coalesce(d.text_hash, uuid_send(d.request_id)), d.request_id, "
    "coalesce(nullif(d.served_model, ''), d.chosen_model), d.task, f.source, f.score_q16, "
    "extract(epoch FROM d.ts) * 1000000, d.detail "
    "FROM decision d JOIN feedback f ON f.request_id = d.request_id AND f.key_id = d.key_id "
    "WHERE d.ts >= $1 AND d.ts < $2 AND d.status IN (1, 6) AND d.route = ANY($3::text[]) "
    "ORDER BY d.ts, d.node_id, d.epoch, d.seq, f.source, f.received";
static const char sql_full[] =
    "SELECT coalesce(d.text_hash, uuid_send(d.request_id)), d.request_id, "
    "coalesce(nullif(d.served_model, ''), d.chosen_model), d.task, f.source, f.score_q16, "
    "extract(epoch FROM d.ts) * 1000000, d.detail "
    "FROM decision d JOIN feedback f ON f.request_id = d.request_id AND f.key_id = d.key_id "
    "WHERE d.ts >= $1 AND d.ts < $2 AND d.status IN (1, 6) "
    "AND coalesce(nullif(d.served_model, ''), d.chosen_model) = ANY($3::text[]) "
    "ORDER BY 1, d.ts, d.node_id, d.epoch, d.seq, f.source, f.received";

enum column { UNIT, REQUEST, MODEL, TASK, SOURCE, SCORE, TIME, DETAIL };

struct reader {
    const struct training_request *request;
    const struct training_scope *scope;
    struct dataset *data;
    struct err *err;
    struct buf bytes; /* One detail. */
    uint64_t read;
    /* The row that is being gathered. */
    char unit[128];
    char decision[64]; /* Last request id, so that its weaker votes are passed over. */
    double decision_weight;
    struct features features;
    struct dataset_label labels[ARTIFACT_MODELS_MAX];
    char task[128];
    struct dataset_row row;
};

static double source_weight(struct str source)
{
    if (str_is(source, "eval"))
        return DATASET_WEIGHT_EXACT;
    if (str_is(source, "judge"))
        return DATASET_WEIGHT_JUDGE;
    if (str_is(source, "implicit"))
        return DATASET_WEIGHT_IMPLICIT;
    return DATASET_WEIGHT_THUMB;
}

static int model_ordinal(const struct training_scope *scope, struct str model)
{
    for (uint32_t m = 0; m < scope->model_count; m++)
        if (str_is(model, scope->models[m]))
            return (int)m;
    return -1;
}

static int flush(struct reader *r)
{
    if (r->row.label_count == 0)
        return 0;
    r->row.features = &r->features;
    r->row.labels = r->labels;
    r->row.task = str_from(r->task);
    int rc = dataset_add(r->data, &r->row, r->err);
    r->row.label_count = 0;
    return rc;
}

/* Chance with which the router chose what was served; 1 where it had no say. */
static double propensity_of(const Decision *d)
{
    const uint32_t no_say = STEELYARD__TELEMETRY__V1__DECISION_FLAG__FLAG_PINNED |
                            STEELYARD__TELEMETRY__V1__DECISION_FLAG__FLAG_STICKY |
                            STEELYARD__TELEMETRY__V1__DECISION_FLAG__FLAG_FALLBACK_SERVED;
    if ((d->flags & no_say) != 0 || d->chosen >= d->n_cand || d->cand[d->chosen]->p == 0)
        return 1.0;
    return d->cand[d->chosen]->p == UINT32_MAX ? 1.0 : (double)d->cand[d->chosen]->p / 4294967296.0;
}

static void label_outcome(const Decision *d, struct dataset_label *label)
{
    label->out_tok = NAN;
    label->cost_usd = NAN;
    if (d->n_attempt == 0)
        return;
    const Steelyard__Telemetry__V1__Attempt *last = d->attempt[d->n_attempt - 1];
    label->out_tok = last->out;
    if ((d->flags & STEELYARD__TELEMETRY__V1__DECISION_FLAG__FLAG_COST_UNKNOWN) == 0)
        label->cost_usd = (double)last->cost / 1e9;
}

static int begin_row(struct reader *r, const struct pq_result *line, const Decision *d)
{
    struct str encoded = {.data = (const char *)d->features.data, .len = d->features.len};
    int rc = flush(r);
    if (rc != 0)
        return rc;
    if (features_decode(encoded, &r->features) != 0 || d->n_dense != FEATURES_DENSE)
        return ERR_CORRUPT;
    for (size_t i = 0; i < FEATURES_DENSE; i++)
        r->features.dense[i] = (int16_t)d->dense[i];
    static const struct siphash_key unit_key = {0, 0};
    struct str unit = pq_result_text(line, 0, UNIT);
    r->row = (struct dataset_row){
        .unit = siphash_1_3(unit_key, unit.data, unit.len),
        .in_tok = d->t_in,
        .propensity = 1.0,
        .label_prob = 1.0,
        .weight = r->decision_weight,
        .age_days =
            fmax(0.0, ((double)r->request->until_us - pq_result_double(line, 0, TIME)) / DAY_US)};
    struct str task = pq_result_text(line, 0, TASK);
    if (!str_copy(str_slice(task, 0, sizeof r->task - 1), r->task, sizeof r->task))
        r->task[0] = '\0';
    return str_copy(unit, r->unit, sizeof r->unit) ? 0 : ERR_TOO_LARGE;
}

static int add_label(struct reader *r, const struct pq_result *line, const Decision *d, int model)
{
    bool same_unit = str_is(pq_result_text(line, 0, UNIT), r->unit);
    if (r->row.label_count == 0 || r->request->mode == TRAINING_OBSERVED || !same_unit) {
        int rc = begin_row(r, line, d);
        if (rc == ERR_CORRUPT)
            return 0; /* Without features it teaches nothing. */
        if (rc != 0)
            return rc;
    }
    for (uint32_t i = 0; i < r->row.label_count; i++)
        if (r->labels[i].model == (uint32_t)model)
            return 0;
    struct dataset_label *label = &r->labels[r->row.label_count++];
    label->model = (uint32_t)model;
    label->score = (double)pq_result_i64(line, 0, SCORE) / 65536.0;
    label_outcome(d, label);
    r->row.propensity = r->row.label_count == 1 ? propensity_of(d) : 1.0;
    r->read++;
    return 0;
}

static bool keep_going(const struct reader *r)
{
    const struct learn_progress progress = {"read", (uint32_t)r->read, 0};
    return r->request->on_progress == NULL || r->read % PROGRESS_EVERY != 0 ||
           r->request->on_progress(&progress, r->request->progress_data);
}

/* One decision with one vote. */
static int on_line(void *arg, const struct pq_result *line)
{
    struct reader *r = arg;
    int model = model_ordinal(r->scope, pq_result_text(line, 0, MODEL));
    struct str id = pq_result_text(line, 0, REQUEST);
    double weight = source_weight(pq_result_text(line, 0, SOURCE));
    if (model < 0 || (str_is(id, r->decision) && weight <= r->decision_weight))
        return 0;
    bool stronger_vote = str_is(id, r->decision);
    r->decision_weight = weight;
    if (stronger_vote && r->row.label_count == 1) {
        r->labels[0].score = (double)pq_result_i64(line, 0, SCORE) / 65536.0;
        r->row.weight = weight;
        return 0;
    }
    if (stronger_vote || !str_copy(id, r->decision, sizeof r->decision))
        return 0;
    buf_clear(&r->bytes);
    int rc = pq_result_bytes(line, 0, DETAIL, &r->bytes);
    Decision *d = rc == 0 ? steelyard__telemetry__v1__decision__unpack(
                                NULL, r->bytes.len, (const uint8_t *)r->bytes.data)
                          : NULL;
    if (rc == 0 && d == NULL)
        return 0; /* Quarantined by its own check elsewhere; it cannot spoil a run. */
    if (rc == 0 && d->hash_key_id == r->request->hash_key_id)
        rc = add_label(r, line, d, model);
    if (d != NULL)
        steelyard__telemetry__v1__decision__free_unpacked(d, NULL);
    if (rc == 0 && !keep_going(r))
        rc = ERR_CANCELED;
    return rc;
}

/* A Postgres array literal of names: {"a","b"}. */
static int array_literal(char *const *names, uint32_t count, struct buf *out)
{
    int rc = buf_append_char(out, '{');
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        rc = buf_append_text(out, i > 0 ? ",\"" : "\"");
        for (const char *p = names[i]; rc == 0 && *p != '\0'; p++) {
            if (*p == '"' || *p == '\\')
                rc = buf_append_char(out, '\\');
            if (rc == 0)
                rc = buf_append_char(out, *p);
        }
        if (rc == 0)
            rc = buf_append_char(out, '"');
    }
    return rc == 0 ? buf_append_char(out, '}') : rc;
}

int training_rows_read(struct pq_conn *c, const struct training_request *request,
                       const struct training_scope *scope, struct dataset *out_data,
                       uint64_t *out_read, struct err *err)
{
    bool full = request->mode == TRAINING_FULL;
    struct pq_params p = {0};
    struct buf names;
    struct reader *r = mem_zalloc(sizeof *r);
    if (r == NULL)
        return err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    r->request = request;
    r->scope = scope;
    r->data = out_data;
    r->err = err;
    buf_init(&r->bytes, DETAIL_BYTES_MAX);
    buf_init(&names, DETAIL_BYTES_MAX);
    int rc = full ? array_literal(scope->models, scope->model_count, &names)
                  : array_literal(scope->routes, scope->route_count, &names);
    if (rc == 0) {
        pq_params_time_us(&p, request->since_us);
        pq_params_time_us(&p, request->until_us);
        pq_params_text(&p, buf_str(&names));
        rc = pq_conn_stream(c, full ? sql_full : sql_observed, &p, on_line, r, err);
    }
    if (rc == 0)
        rc = flush(r);
    if (rc == ERR_CANCELED)
        (void)err_set(err, rc, "%s", err_text(rc));
    *out_read = r->read;
    buf_deinit(&names);
    buf_deinit(&r->bytes);
    mem_free(r);
    return rc;
}
