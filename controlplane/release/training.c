/* A training run from end to end: scope, rows, learner, stored version, perhaps promotion. */
#include "controlplane/release/training.h"

#include "common/base/mem.h"
#include "common/crypto/digest.h"
#include "control.pb-c.h"

#define PARAMS_BYTES_MAX   65536U

typedef Steelyard__Control__V1__Params Params;

/* What is in service now: the base of the new parameters and the incumbent of the gates. */
struct incumbent {
    struct buf params;
    struct buf artifact;
    uint64_t version;
};

int training_mode_parse(struct str text, enum training_mode *out_mode)
{
    if (!str_is(text, "observed") && !str_is(text, "full"))
        return ERR_INVALID;
    *out_mode = str_is(text, "full") ? TRAINING_FULL : TRAINING_OBSERVED;
    return 0;
}

static int incumbent_read(struct pq_conn *c, struct str policy, struct incumbent *in,
                          struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    buf_init(&in->params, PARAMS_BYTES_MAX);
    buf_init(&in->artifact, ARTIFACT_BYTES_MAX);
    pq_params_text(&p, policy);
    int rc = pq_conn_query(c,
                           "SELECT v.version, p.body, a.body FROM policy_version v "
                           "JOIN policy_params p ON p.sha256 = v.params "
                           "LEFT JOIN policy_artifact a ON a.sha256 = v.artifact "
                           "WHERE v.name = $1 AND v.state = 'current'",
                           &p, &r, err);
    if (rc != 0)
        return rc;
    if (pq_result_rows(r) == 1) {
        in->version = (uint64_t)pq_result_i64(r, 0, 0);
        rc = pq_result_bytes(r, 0, 1, &in->params);
        if (rc == 0 && !pq_result_is_null(r, 0, 2))
            rc = pq_result_bytes(r, 0, 2, &in->artifact);
    }
    pq_result_destroy(r);
    return rc != 0 ? err_set(err, rc, "policy in service: %s", err_text(rc)) : 0;
}

static void incumbent_deinit(struct incumbent *in)
{
    buf_deinit(&in->params);
    buf_deinit(&in->artifact);
}

/* The parameters in service, with the lambda that was learned; gamma and delta are the artifact's.
 */
static int new_params(const struct incumbent *in, struct str artifact, struct buf *out,
                      struct err *err)
{
    struct artifact *a = NULL;
    enum artifact_reason reason;
    Params *m = steelyard__control__v1__params__unpack(NULL, in->params.len,
                                                       (const uint8_t *)in->params.data);
    int rc = m == NULL ? err_set(err, ERR_CORRUPT, "parameters in service cannot be read")
                       : artifact_decode(artifact, &a, &reason, err);
    if (rc == 0) {
        const struct artifact_segment *all = artifact_segment(a, 0);
        m->lambda = all != NULL ? all->lambda : m->lambda;
        m->gamma = 0;
        m->delta_q16 = 0;
        size_t len = steelyard__control__v1__params__get_packed_size(m);
        rc = buf_reserve(out, len);
        if (rc == 0)
            out->len += steelyard__control__v1__params__pack(m, (uint8_t *)out->data + out->len);
        else
            (void)err_set(err, rc, "parameters: %s", err_text(rc));
    }
    artifact_destroy(a);
    if (m != NULL)
        steelyard__control__v1__params__free_unpacked(m, NULL);
    return rc;
}

static int read_data(struct pq_conn *c, const struct training_request *request,
                     const struct training_scope *scope, struct dataset **out_data,
                     uint64_t *out_read, struct err *err)
{
    struct str names[ARTIFACT_MODELS_MAX];
    struct dataset *data = NULL;
    for (uint32_t m = 0; m < scope->model_count; m++)
        names[m] = str_from(scope->models[m]);
    int rc = dataset_create(names, scope->model_count, 0, &data, err);
    if (rc == 0)
        rc = training_rows_read(c, request, scope, data, out_read, err);
    if (rc == 0 && dataset_rows(data) == 0)
        rc = err_set(err, ERR_INVALID,
                     "policy '%.*s' has no labelled decision yet: send requests to %s, then "
                     "POST /v1/feedback with each decision's id and score",
                     STR_ARG(request->policy), scope->routes[0]);
    if (rc == 0) {
        *out_data = data;
        data = NULL;
    }
    dataset_destroy(data);
    return rc;
}

static int store(struct pq_conn *c, const struct training_request *request,
                 const struct incumbent *in, const struct learn_result *learned,
                 const struct sha256 *digest, struct training_result *out, struct err *err)
{
    struct buf params;
    buf_init(&params, PARAMS_BYTES_MAX);
    int rc = new_params(in, buf_str(&learned->artifact), &params, err);
    if (rc == 0) {
        const struct publish_policy policy = {
            .name = request->policy,
            .artifact = buf_str(&learned->artifact),
            .params = buf_str(&params),
            .report_json = buf_str(&learned->report),
            .target_json = request->target_json,
            .data_digest = {.data = (const char *)digest->bytes, .len = SHA256_BYTES},
            .rows = out->rows,
            .gates_ok = learned->passed,
        };
        rc = publish_policy_store(c, request->actor, &policy, &out->version, err);
    }
    buf_deinit(&params);
    out->gates_ok = learned->passed;
    if (rc == 0 && request->promote && learned->passed) {
        rc = publish_policy_promote(c, request->actor, request->policy, out->version,
                                    &out->generation, err);
        out->promoted = rc == 0;
    }
    return rc;
}

static void fill_options(const struct training_request *request, const struct training_scope *scope,
                         const struct incumbent *in, struct learn_options *out)
{
    learn_options_init(out);
    out->models = scope->facts;
    out->target = request->target;
    out->generation = in->version + 1;
    out->window_from_us = request->since_us;
    out->window_to_us = request->until_us;
    out->hash_key_id = request->hash_key_id;
    out->incumbent = buf_str(&in->artifact);
    if (in->artifact.len > 0)
        out->parent = digest_sha256(in->artifact.data, in->artifact.len);
    out->on_progress = request->on_progress;
    out->on_progress_data = request->progress_data;
}

int training_run(struct pq_conn *c, const struct training_request *request,
                 struct training_result *out_result, struct err *err)
{
    struct training_scope scope = {0};
    struct incumbent in = {0};
    struct dataset *data = NULL;
    struct learn_result learned = {0};
    struct learn_options options;
    struct training_result result = {0};
    struct sha256 digest;
    int rc = pq_conn_query(c, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", NULL, NULL, err);
    if (rc == 0)
        rc = training_scope_read(c, request->policy, request->until_us, &scope, err);
    if (rc == 0)
        rc = incumbent_read(c, request->policy, &in, err);
    if (rc == 0)
        rc = read_data(c, request, &scope, &data, &result.rows, err);
    pq_conn_attempt(c, "ROLLBACK"); /* Nothing was written. */
    if (rc != 0)
        goto out;
    fill_options(request, &scope, &in, &options);
    rc = dataset_digest(data, &digest);
    if (rc == 0)
        rc = learn_run(data, &options, &learned, err);
    if (rc == 0)
        rc = store(c, request, &in, &learned, &digest, &result, err);
    if (rc == 0)
        *out_result = result;
out:
    learn_result_deinit(&learned);
    dataset_destroy(data);
    incumbent_deinit(&in);
    training_scope_deinit(&scope);
    return rc;
}
