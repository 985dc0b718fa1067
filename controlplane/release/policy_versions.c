/* Policy versions: rows that never change their content, and a state that says which is in use.
 * Numbers rise within a name and are given out under the lock of config_head. */
#include <string.h>

#include "common/base/mem.h"
#include "common/route/artifact.h"
#include "control.pb-c.h"
#include "controlplane/release/policy_internal.h"

#define ARTIFACT_MAX (64U << 20)
#define PARAMS_MAX   65536U

void policy_content_init(struct policy_content *x)
{
    buf_init(&x->artifact_sha, SHA256_BYTES);
    buf_init(&x->params, PARAMS_MAX);
}

void policy_content_deinit(struct policy_content *x)
{
    buf_deinit(&x->artifact_sha);
    buf_deinit(&x->params);
}

static struct str or_null(const struct buf *b)
{
    return b->len == 0 ? STR_NULL : buf_str(b);
}

/* Params with name, number and artifact filled in; optionally with floor and exploration of another
 * Params (the file's). */
static int params_stamp(struct str in, struct str name, uint64_t version, struct str artifact_sha,
                        const Steelyard__Control__V1__Params *settings, struct buf *out,
                        struct err *err)
{
    char text[POLICY_NAME_MAX + 1];
    Steelyard__Control__V1__Params *m =
        steelyard__control__v1__params__unpack(NULL, in.len, (const uint8_t *)in.data);
    if (m == NULL)
        return err_set(err, ERR_CORRUPT, "parameters of policy %.*s cannot be read", STR_ARG(name));
    int rc = str_copy(name, text, sizeof text) ? 0 : ERR_TOO_LARGE;
    char *own_policy = m->policy;
    ProtobufCBinaryData own_artifact = m->artifact_sha256;
    m->policy = text;
    m->version = version;
    m->artifact_sha256 =
        (ProtobufCBinaryData){artifact_sha.len, (uint8_t *)(uintptr_t)artifact_sha.data};
    if (settings != NULL) {
        m->floor_q16 = settings->floor_q16;
        m->eps_cap = settings->eps_cap;
        m->explore_most = settings->explore_most;
    }
    size_t len = steelyard__control__v1__params__get_packed_size(m);
    if (rc == 0)
        rc = buf_reserve(out, len);
    if (rc == 0)
        out->len += steelyard__control__v1__params__pack(m, (uint8_t *)out->data + out->len);
    m->policy = own_policy;
    m->artifact_sha256 = own_artifact;
    steelyard__control__v1__params__free_unpacked(m, NULL);
    return rc != 0 ? err_set(err, rc, "parameters: %s", err_text(rc)) : 0;
}

static int next_version(struct pq_conn *c, struct str name, uint64_t *out_version, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_text(&p, name);
    int rc = pq_conn_query(
        c, "SELECT coalesce(max(version), 0) + 1 FROM policy_version WHERE name = $1", &p, &r, err);
    if (rc != 0)
        return rc;
    *out_version = (uint64_t)pq_result_i64(r, 0, 0);
    pq_result_destroy(r);
    return 0;
}

static int store_blob(struct pq_conn *c, const char *sql, struct str body, struct sha256 *out_sha,
                      struct err *err)
{
    struct pq_params p = {0};
    *out_sha = digest_sha256(body.data, body.len);
    pq_params_bytes(&p, (struct str){.data = (const char *)out_sha->bytes, .len = SHA256_BYTES});
    pq_params_bytes(&p, body);
    return pq_conn_query(c, sql, &p, NULL, err);
}

struct version_row {
    struct str name;
    uint64_t version;
    const char *state;
    struct str artifact_sha; /* .data NULL: none */
    struct str params;       /* Stamped. */
    struct str created_by, report, target, data_digest, verdict;
    uint64_t rows;
    uint64_t copy_of; /* 0: none */
};

static int insert_version(struct pq_conn *c, const struct version_row *v, struct err *err)
{
    struct pq_params p = {0};
    struct sha256 params_sha;
    int rc = store_blob(c,
                        "INSERT INTO policy_params (sha256, body) VALUES ($1, $2) "
                        "ON CONFLICT DO NOTHING",
                        v->params, &params_sha, err);
    if (rc != 0)
        return rc;
    pq_params_text(&p, v->name);
    pq_params_i64(&p, (int64_t)v->version);
    pq_params_text(&p, str_from(v->state));
    pq_params_bytes(&p, v->artifact_sha);
    pq_params_bytes(&p, (struct str){.data = (const char *)params_sha.bytes, .len = SHA256_BYTES});
    pq_params_text(&p, v->created_by);
    pq_params_i64(&p, (int64_t)v->rows);
    pq_params_bytes(&p, v->data_digest.len > 0 ? v->data_digest : STR_NULL);
    pq_params_text(&p, v->target.len > 0 ? v->target : STR("{}"));
    pq_params_text(&p, v->report.len > 0 ? v->report : STR("{}"));
    if (v->copy_of > 0)
        pq_params_i64(&p, (int64_t)v->copy_of);
    else
        pq_params_null(&p);
    pq_params_text(&p, v->verdict.len > 0 ? v->verdict : STR("none"));
    return pq_conn_query(
        c,
        "INSERT INTO policy_version (name, version, state, artifact, params, "
        "created_by, rows, data_digest, target, report, copy_of, verdict, promoted) "
        "VALUES "
        "($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, "
        "CASE WHEN $3 = 'current' THEN now() END)",
        &p, NULL, err);
}

/* Whoever is current steps back. */
int policy_retire_current(struct pq_conn *c, struct str name, struct err *err)
{
    struct pq_params p = {0};
    pq_params_text(&p, name);
    int rc = pq_conn_query(c,
                           "UPDATE policy_version SET state = 'archived' "
                           "WHERE name = $1 AND state = 'previous'",
                           &p, NULL, err);
    if (rc != 0)
        return rc;
    pq_params_text(&p, name);
    return pq_conn_query(c,
                         "UPDATE policy_version SET state = 'previous' "
                         "WHERE name = $1 AND state = 'current'",
                         &p, NULL, err);
}

static int load_artifact(struct pq_conn *c, struct str name, const struct buf *sha, struct buf *out,
                         struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_bytes(&p, buf_str(sha));
    int rc = pq_conn_query(c, "SELECT body FROM policy_artifact WHERE sha256 = $1", &p, &r, err);
    if (rc == 0 && pq_result_rows(r) == 0)
        rc = err_set(err, ERR_CORRUPT, "the artifact of policy %.*s is missing", STR_ARG(name));
    if (rc == 0)
        rc = pq_result_bytes(r, 0, 0, out);
    pq_result_destroy(r);
    return rc;
}

int policy_put_resources(struct pq_conn *c, struct str name, const char *suffix,
                         const struct buf *artifact_sha, struct str params, struct err *err)
{
    char key[POLICY_NAME_MAX + 32];
    struct buf artifact = {0};
    int rc = 0;
    buf_init(&artifact, ARTIFACT_MAX);
    if (artifact_sha->len > 0)
        rc = load_artifact(c, name, artifact_sha, &artifact, err);
    if (rc == 0) {
        snprintf(key, sizeof key, "artifact/%.*s%s", STR_ARG(name), suffix);
        rc = publish_put(c,
                         &(struct publish_change){
                             .key = str_from(key),
                             .type = STEELYARD__CONTROL__V1__RESOURCE_TYPE__RESOURCE_ARTIFACT,
                             .body = or_null(&artifact)},
                         err);
    }
    if (rc == 0) {
        snprintf(key, sizeof key, "params/%.*s%s", STR_ARG(name), suffix);
        rc = publish_put(
            c,
            &(struct publish_change){.key = str_from(key),
                                     .type = STEELYARD__CONTROL__V1__RESOURCE_TYPE__RESOURCE_PARAMS,
                                     .body = params},
            err);
    }
    buf_deinit(&artifact);
    return rc;
}

static int load_row(const struct pq_result *r, struct policy_content *out)
{
    int rc = pq_result_is_null(r, 0, 2) ? 0 : pq_result_bytes(r, 0, 2, &out->artifact_sha);
    return rc != 0 ? rc : pq_result_bytes(r, 0, 3, &out->params);
}

/* version 0: the one in `state`. ERR_NOT_FOUND. */
int policy_load_version(struct pq_conn *c, struct str name, uint64_t version, const char *state,
                        uint64_t *out_version, char out_state[16], struct policy_content *out,
                        struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_text(&p, name);
    pq_params_i64(&p, (int64_t)version);
    pq_params_text(&p, str_from(state));
    int rc = pq_conn_query(c,
                           "SELECT v.version, v.state, v.artifact, q.body FROM policy_version v "
                           "JOIN policy_params q ON q.sha256 = v.params WHERE v.name = $1 AND "
                           "CASE WHEN $2::bigint > 0 THEN v.version = $2::bigint ELSE v.state = $3 "
                           "END",
                           &p, &r, err);
    if (rc != 0)
        return rc;
    if (pq_result_rows(r) == 0) {
        rc = version > 0 ? err_set(err, ERR_NOT_FOUND, "there is no policy version %.*s@%llu",
                                   STR_ARG(name), (unsigned long long)version)
                         : err_set(err, ERR_NOT_FOUND, "policy %.*s has no %s version",
                                   STR_ARG(name), state);
    } else {
        *out_version = (uint64_t)pq_result_i64(r, 0, 0);
        (void)str_copy(pq_result_text(r, 0, 1), out_state, 16);
        rc = load_row(r, out);
        if (rc != 0)
            (void)err_set(err, rc, "policy version: %s", err_text(rc));
    }
    pq_result_destroy(r);
    return rc;
}

static int commit_policy(struct pq_conn *c, const struct publish_actor *actor, const char *action,
                         struct str name, uint64_t version, uint64_t from, uint64_t *out_generation,
                         struct err *err)
{
    char subject[POLICY_NAME_MAX + 32], detail[64];
    snprintf(subject, sizeof subject, "%.*s@%llu", STR_ARG(name), (unsigned long long)version);
    /* Past the evidence of a rollout, and kept as such. */
    snprintf(detail, sizeof detail, "{\"from\":%llu%s}", (unsigned long long)from,
             strcmp(action, "policy.promote") == 0 ? ",\"override\":true" : "");
    return publish_commit(c, actor, str_from(action), str_from(subject), str_from(detail),
                          out_generation, err);
}

int publish_policy_store(struct pq_conn *c, const struct publish_actor *actor,
                         const struct publish_policy *policy, uint64_t *out_version,
                         struct err *err)
{
    struct buf params = {0};
    struct sha256 sha = {0};
    struct str sha_str = STR_NULL;
    uint64_t version = 0, generation;
    buf_init(&params, PARAMS_MAX);
    int rc = publish_begin(c, actor, err);
    if (rc == 0)
        rc = next_version(c, policy->name, &version, err);
    if (rc == 0 && policy->artifact.len > 0) {
        rc = store_blob(c,
                        "INSERT INTO policy_artifact (sha256, body) VALUES ($1, $2) "
                        "ON CONFLICT DO NOTHING",
                        policy->artifact, &sha, err);
        sha_str = (struct str){.data = (const char *)sha.bytes, .len = SHA256_BYTES};
    }
    if (rc == 0)
        rc = params_stamp(policy->params, policy->name, version, sha_str, NULL, &params, err);
    if (rc == 0) {
        struct version_row v = {.name = policy->name,
                                .version = version,
                                .state = policy->gates_ok ? "candidate" : "rejected",
                                .artifact_sha = sha_str,
                                .params = buf_str(&params),
                                .created_by = actor->name,
                                .report = policy->report_json,
                                .target = policy->target_json,
                                .data_digest = policy->data_digest,
                                .verdict = policy->verdict,
                                .rows = policy->rows};
        rc = insert_version(c, &v, err);
    }
    if (rc == 0)
        rc = commit_policy(c, actor, "policy.store", policy->name, version, 0, &generation, err);
    if (rc != 0)
        publish_abort(c);
    else
        *out_version = version;
    buf_deinit(&params);
    return rc;
}

static uint64_t current_version(struct pq_conn *c, struct str name)
{
    struct policy_content ignored;
    uint64_t version = 0;
    char state[16];
    policy_content_init(&ignored);
    if (policy_load_version(c, name, 0, "current", &version, state, &ignored, NULL) != 0)
        version = 0;
    policy_content_deinit(&ignored);
    return version;
}

/* May the version become the current one? */
static int check_promotable(struct str name, uint64_t found, const char *state, uint64_t current,
                            struct err *err)
{
    if (strcmp(state, "rejected") == 0)
        return err_set(err, ERR_CONFLICT, "%.*s@%llu was rejected by its gates", STR_ARG(name),
                       (unsigned long long)found);
    if (strcmp(state, "current") == 0)
        return err_set(err, ERR_CONFLICT, "%.*s@%llu is current already", STR_ARG(name),
                       (unsigned long long)found);
    if (found < current)
        return err_set(err, ERR_CONFLICT,
                       "%.*s@%llu is older than the current @%llu and numbers only rise: roll "
                       "back to it instead",
                       STR_ARG(name), (unsigned long long)found, (unsigned long long)current);
    return 0;
}

int publish_policy_install(struct pq_conn *c, struct str name, uint64_t version, uint64_t *out_from,
                           struct err *err)
{
    struct policy_content content;
    struct pq_params p = {0};
    char state[16] = "";
    uint64_t found = 0, current = 0;
    policy_content_init(&content);
    int rc = policy_load_version(c, name, version, "candidate", &found, state, &content, err);
    if (rc == 0) {
        current = current_version(c, name);
        rc = check_promotable(name, found, state, current, err);
    }
    if (rc == 0)
        rc = policy_retire_current(c, name, err);
    if (rc == 0) {
        pq_params_text(&p, name);
        pq_params_i64(&p, (int64_t)found);
        rc = pq_conn_query(c,
                           "UPDATE policy_version SET state = 'current', promoted = now() "
                           "WHERE name = $1 AND version = $2",
                           &p, NULL, err);
    }
    if (rc == 0)
        rc =
            policy_put_resources(c, name, "", &content.artifact_sha, buf_str(&content.params), err);
    if (rc == 0)
        *out_from = current;
    policy_content_deinit(&content);
    return rc;
}

int publish_policy_promote(struct pq_conn *c, const struct publish_actor *actor, struct str name,
                           uint64_t version, uint64_t *out_generation, struct err *err)
{
    uint64_t from = 0;
    int rc = publish_begin(c, actor, err);
    if (rc == 0)
        rc = publish_policy_install(c, name, version, &from, err);
    if (rc == 0)
        rc = publish_rollout_overtake(c, actor, name, version, err);
    if (rc == 0)
        rc = commit_policy(c, actor, "policy.promote", name, version, from, out_generation, err);
    if (rc != 0)
        publish_abort(c);
    return rc;
}

/* A new version with the given content (settings: from the file, or NULL), and its Params. Inside a
 * transaction. */
static int insert_copy(struct pq_conn *c, const struct publish_actor *actor, struct str name,
                       const struct policy_content *content, uint64_t copy_of,
                       const Steelyard__Control__V1__Params *settings, const char *state,
                       uint64_t *out_version, struct buf *out_params, struct err *err)
{
    uint64_t version = 0;
    int rc = next_version(c, name, &version, err);
    if (rc == 0)
        rc = params_stamp(buf_str(&content->params), name, version, or_null(&content->artifact_sha),
                          settings, out_params, err);
    if (rc == 0) {
        struct version_row v = {.name = name,
                                .version = version,
                                .state = state,
                                .artifact_sha = or_null(&content->artifact_sha),
                                .params = buf_str(out_params),
                                .created_by = actor->name,
                                .copy_of = copy_of};
        rc = insert_version(c, &v, err);
    }
    if (rc == 0 && copy_of > 0) {
        /* What was measured belongs to the content. */
        struct pq_params p = {0};
        pq_params_text(&p, name);
        pq_params_i64(&p, (int64_t)version);
        pq_params_i64(&p, (int64_t)copy_of);
        rc = pq_conn_query(
            c,
            "UPDATE policy_version v SET report = o.report, target = o.target, "
            "rows = o.rows, data_digest = o.data_digest, verdict = o.verdict FROM policy_version o "
            "WHERE v.name = $1 AND v.version = $2 AND o.name = $1 AND "
            "o.version = $3",
            &p, NULL, err);
    }
    if (rc == 0)
        *out_version = version;
    return rc;
}

/* The same, current at once. */
static int install_copy(struct pq_conn *c, const struct publish_actor *actor, struct str name,
                        const struct policy_content *content, uint64_t copy_of,
                        const Steelyard__Control__V1__Params *settings, uint64_t *out_version,
                        struct err *err)
{
    struct buf params = {0};
    uint64_t version = 0;
    buf_init(&params, PARAMS_MAX);
    /* What a rollout compares with changes: it cannot go on. */
    int rc = publish_rollout_overtake(c, actor, name, 0, err);
    if (rc == 0)
        rc = policy_retire_current(c, name, err);
    if (rc == 0)
        rc = insert_copy(c, actor, name, content, copy_of, settings, "current", &version, &params,
                         err);
    if (rc == 0)
        rc = policy_put_resources(c, name, "", &content->artifact_sha, buf_str(&params), err);
    if (rc == 0)
        *out_version = version;
    buf_deinit(&params);
    return rc;
}

static int check_quiet(struct pq_conn *c, struct str name, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_text(&p, name);
    int rc = pq_conn_query(c,
                           "SELECT EXISTS (SELECT FROM rollout WHERE policy = $1 AND state IN "
                           "('shadow', 'canary', 'hold', 'halted', 'override'))",
                           &p, &r, err);
    if (rc == 0 && pq_result_bool(r, 0, 0))
        rc = err_set(err, ERR_CONFLICT, "a rollout of %.*s is under way", STR_ARG(name));
    pq_result_destroy(r);
    return rc;
}

static int add_offset(Steelyard__Control__V1__Params *m, const struct publish_tune *tune,
                      Steelyard__Control__V1__ModelOffset *own,
                      Steelyard__Control__V1__ModelOffset **list, size_t list_max)
{
    size_t at = 0;
    while (at < m->n_offsets && !str_is(tune->model, m->offsets[at]->model))
        at++;
    int64_t sum = tune->offset_added;
    if (at < m->n_offsets)
        sum += m->offsets[at]->offset;
    if (at >= list_max || m->n_offsets >= list_max)
        return ERR_LIMIT;
    own->offset = sum > ARTIFACT_OFFSET_MAX    ? ARTIFACT_OFFSET_MAX
                  : sum < -ARTIFACT_OFFSET_MAX ? -ARTIFACT_OFFSET_MAX
                                               : (int32_t)sum;
    for (size_t i = 0; i < m->n_offsets; i++)
        list[i] = m->offsets[i];
    list[at] = own;
    m->n_offsets = at == m->n_offsets ? at + 1 : m->n_offsets;
    m->offsets = list;
    return 0;
}

/* The Params with the new numbers over the old ones, in content. */
static int change_params(const struct publish_tune *tune, struct policy_content *content)
{
    Steelyard__Control__V1__ModelOffset own = STEELYARD__CONTROL__V1__MODEL_OFFSET__INIT;
    Steelyard__Control__V1__ModelOffset *list[ARTIFACT_MODELS_MAX + 1];
    char model[ARTIFACT_NAME_BYTES_MAX + 1];
    Steelyard__Control__V1__Params *m = steelyard__control__v1__params__unpack(
        NULL, content->params.len, (const uint8_t *)content->params.data);
    if (m == NULL)
        return ERR_CORRUPT;
    size_t had = m->n_offsets;
    Steelyard__Control__V1__ModelOffset **offsets = m->offsets;
    int rc = 0;
    if (tune->lambda >= 0)
        m->lambda = tune->lambda;
    if (tune->explore >= 0)
        m->eps_cap = (uint32_t)tune->explore;
    if (tune->model.len > 0) {
        rc = str_copy(tune->model, model, sizeof model) ? 0 : ERR_TOO_LARGE;
        own.model = model;
        if (rc == 0)
            rc = add_offset(m, tune, &own, list, ARTIFACT_MODELS_MAX + 1);
    }
    buf_clear(&content->params);
    if (rc == 0)
        rc = buf_reserve(&content->params, steelyard__control__v1__params__get_packed_size(m));
    if (rc == 0)
        content->params.len =
            steelyard__control__v1__params__pack(m, (uint8_t *)content->params.data);
    m->offsets = offsets; /* What was unpacked is what is freed. */
    m->n_offsets = had;
    steelyard__control__v1__params__free_unpacked(m, NULL);
    return rc;
}

int publish_policy_tune(struct pq_conn *c, const struct publish_actor *actor,
                        const struct publish_tune *tune, uint64_t *out_version, struct err *err)
{
    struct policy_content content;
    char state[16] = "";
    uint64_t from = 0, version = 0, generation;
    char subject[POLICY_NAME_MAX + 32];
    policy_content_init(&content);
    int rc = publish_begin(c, actor, err);
    if (rc == 0)
        rc = check_quiet(c, tune->name, err);
    if (rc == 0)
        rc = policy_load_version(c, tune->name, 0, "current", &from, state, &content, err);
    if (rc == 0 && from != tune->current)
        rc = err_set(err, ERR_CONFLICT, "%.*s@%llu is not in service any more", STR_ARG(tune->name),
                     (unsigned long long)tune->current);
    if (rc == 0) {
        rc = change_params(tune, &content);
        if (rc != 0)
            (void)err_set(err, rc, "parameters: %s", err_text(rc));
    }
    if (rc == 0)
        rc = install_copy(c, actor, tune->name, &content, tune->approved, NULL, &version, err);
    if (rc == 0 && tune->also != NULL)
        rc = tune->also(tune->arg, c, version, err);
    snprintf(subject, sizeof subject, "%.*s@%llu", STR_ARG(tune->name),
             (unsigned long long)version);
    if (rc == 0)
        rc = publish_commit(c, actor, STR("policy.tune"), str_from(subject), tune->detail,
                            &generation, err);
    if (rc != 0)
        publish_abort(c);
    else
        *out_version = version;
    policy_content_deinit(&content);
    return rc;
}

int publish_policy_rollback(struct pq_conn *c, const struct publish_actor *actor, struct str name,
                            uint64_t to, uint64_t *out_version, uint64_t *out_generation,
                            struct err *err)
{
    struct policy_content content;
    char state[16] = "";
    uint64_t from = 0, version = 0;
    policy_content_init(&content);
    int rc = publish_begin(c, actor, err);
    if (rc == 0)
        rc = policy_load_version(c, name, to, "previous", &from, state, &content, err);
    if (rc == 0 && (strcmp(state, "current") == 0 || strcmp(state, "rejected") == 0))
        rc = err_set(err, ERR_CONFLICT, "%.*s@%llu is %s", STR_ARG(name), (unsigned long long)from,
                     state);
    if (rc == 0)
        rc = install_copy(c, actor, name, &content, from, NULL, &version, err);
    if (rc == 0)
        rc = commit_policy(c, actor, "policy.rollback", name, version, from, out_generation, err);
    if (rc != 0)
        publish_abort(c);
    else
        *out_version = version;
    policy_content_deinit(&content);
    return rc;
}

int publish_policy_copy(struct pq_conn *c, const struct publish_actor *actor, struct str name,
                        uint64_t *io_of, uint64_t *out_version, struct err *err)
{
    struct policy_content content;
    struct buf params;
    char state[16] = "";
    uint64_t of = 0;
    policy_content_init(&content);
    buf_init(&params, PARAMS_MAX);
    int rc = policy_load_version(c, name, *io_of, "previous", &of, state, &content, err);
    if (rc == 0 && strcmp(state, "current") == 0)
        rc = err_set(err, ERR_CONFLICT, "%.*s@%llu is in service already", STR_ARG(name),
                     (unsigned long long)of);
    if (rc == 0 && (strcmp(state, "candidate") == 0 || strcmp(state, "rejected") == 0))
        rc = err_set(err, ERR_CONFLICT, "%.*s@%llu is %s and never served: roll it out instead",
                     STR_ARG(name), (unsigned long long)of, state);
    if (rc == 0)
        rc =
            insert_copy(c, actor, name, &content, of, NULL, "candidate", out_version, &params, err);
    if (rc == 0)
        *io_of = of;
    buf_deinit(&params);
    policy_content_deinit(&content);
    return rc;
}

int publish_put_policy(struct pq_conn *c, const struct publish_actor *actor, struct str name,
                       struct str params, struct err *err)
{
    struct policy_content content;
    char state[16];
    uint64_t current = 0, version;
    policy_content_init(&content);
    Steelyard__Control__V1__Params *want =
        steelyard__control__v1__params__unpack(NULL, params.len, (const uint8_t *)params.data);
    Steelyard__Control__V1__Params *have = NULL;
    int rc = want == NULL ? err_set(err, ERR_INVALID, "parameters cannot be read") : 0;
    if (rc == 0)
        rc = policy_load_version(c, name, 0, "current", &current, state, &content, err);
    if (rc == ERR_NOT_FOUND) { /* The first: no artifact yet. */
        rc = buf_append_str(&content.params, params);
        if (rc == 0)
            rc = install_copy(c, actor, name, &content, 0, want, &version, err);
    } else if (rc == 0) {
        have = steelyard__control__v1__params__unpack(NULL, content.params.len,
                                                      (const uint8_t *)content.params.data);
        if (have == NULL)
            rc = err_set(err, ERR_CORRUPT, "parameters in service cannot be read");
        else if (have->floor_q16 != want->floor_q16 || have->explore_most != want->explore_most)
            rc = install_copy(c, actor, name, &content, current, want, &version, err);
    }
    if (want != NULL)
        steelyard__control__v1__params__free_unpacked(want, NULL);
    if (have != NULL)
        steelyard__control__v1__params__free_unpacked(have, NULL);
    policy_content_deinit(&content);
    return rc;
}
