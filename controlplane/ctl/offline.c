#include "controlplane/ctl/offline.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/crypto/digest.h"
#include "common/route/policy.h"
#include "common/route/selftest.h"
#include "controlplane/learn/rowfile.h"

#define ROOT_KEY_BYTES 32
#define KEY_BYTES      16
#define FEATURE_LABEL  "feature"
#define LAMBDA_UNIT    1152921504.606846976 /* 2^60 / 1e9 */
#define Q16            65536.0
#define NANO_PER_USD   1e9

/* As on the nodes: the first 16 bytes of SHA-256(root || label); the id is the first 4 bytes of
 * SHA-256(feature key), little endian. */
static int read_key(const char *path, struct siphash_key *out_key, uint64_t *out_id,
                    struct err *err)
{
    uint8_t key[KEY_BYTES] = {0};
    struct buf root;
    buf_init(&root, ROOT_KEY_BYTES + 1);
    if (path != NULL) {
        int rc = buf_read_file(&root, path, ROOT_KEY_BYTES + 1, err);
        if (rc == 0 && root.len != ROOT_KEY_BYTES)
            rc = err_set(err, ERR_INVALID, "%s: a root key has %d bytes", path, ROOT_KEY_BYTES);
        if (rc == 0)
            rc = buf_append_text(&root, FEATURE_LABEL) == ERR_NOMEM ? ERR_NOMEM : 0;
        if (rc != 0) {
            buf_deinit(&root);
            return rc;
        }
        uint8_t text[ROOT_KEY_BYTES + sizeof(FEATURE_LABEL) - 1];
        memcpy(text, root.data, ROOT_KEY_BYTES);
        memcpy(text + ROOT_KEY_BYTES, FEATURE_LABEL, sizeof(FEATURE_LABEL) - 1);
        struct sha256 derived = digest_sha256(text, sizeof(text));
        memcpy(key, derived.bytes, sizeof(key));
    }
    buf_deinit(&root);
    struct sha256 id = digest_sha256(key, sizeof(key));
    *out_id = (uint64_t)id.bytes[0] | (uint64_t)id.bytes[1] << 8 | (uint64_t)id.bytes[2] << 16 |
              (uint64_t)id.bytes[3] << 24;
    *out_key = siphash_key_from_bytes(key);
    return 0;
}

static int make_hasher(const char *path, struct features_hasher **out_hasher, uint64_t *out_id,
                       struct err *err)
{
    struct siphash_key key;
    int rc = read_key(path, &key, out_id, err);
    if (rc != 0)
        return rc;
    struct features_hasher *hasher = mem_alloc(sizeof(*hasher));
    if (hasher == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    features_hasher_init(hasher, key);
    *out_hasher = hasher;
    return 0;
}

static int load_rows(const struct offline_train *o, const struct rowfile_meta *meta,
                     const struct features_hasher *hasher, struct dataset **out_dataset,
                     struct err *err)
{
    struct dataset *dataset = NULL;
    int rc = dataset_create(meta->names, meta->model_count, 0, &dataset, err);
    for (unsigned i = 0; rc == 0 && i < o->data_count; i++)
        rc = rowfile_load(o->data[i], meta, hasher, dataset, err);
    if (rc == 0)
        *out_dataset = dataset;
    else
        dataset_destroy(dataset);
    return rc;
}

static int write_results(const struct offline_train *o, const struct learn_result *result,
                         struct err *err)
{
    int rc = 0;
    if (result->artifact.len != 0)
        rc = buf_write_file(buf_str(&result->artifact), o->out, 0644, err);
    if (rc == 0 && o->report != NULL && result->report.len != 0)
        rc = buf_write_file(buf_str(&result->report), o->report, 0644, err);
    return rc;
}

static int train_loaded(const struct offline_train *o, const struct rowfile_meta *meta,
                        const struct dataset *dataset, uint64_t key_id,
                        struct learn_result *out_result, struct err *err)
{
    struct learn_options options;
    struct buf incumbent;
    learn_options_init(&options);
    buf_init(&incumbent, ARTIFACT_BYTES_MAX);
    int rc = learn_target_parse(str_from(o->target), &options.target, err);
    if (rc == 0 && o->incumbent != NULL)
        rc = buf_read_file(&incumbent, o->incumbent, ARTIFACT_BYTES_MAX, err);
    if (rc == 0) {
        options.models = meta->models;
        options.hash_key_id = key_id;
        options.incumbent = buf_str(&incumbent);
        options.on_progress = o->on_progress;
        options.on_progress_data = o->on_progress_data;
        if (o->confidence != 0)
            options.confidence = o->confidence;
        rc = learn_run(dataset, &options, out_result, err);
    }
    buf_deinit(&incumbent);
    if (rc != 0 && rc != ERR_RANGE)
        return rc;
    int written = write_results(o, out_result, err);
    if (written != 0) {
        learn_result_deinit(out_result);
        return written;
    }
    return rc;
}

int offline_train(const struct offline_train *options, struct learn_result *out_result,
                  struct err *err)
{
    struct rowfile_meta meta = {0};
    struct features_hasher *hasher = NULL;
    struct dataset *dataset = NULL;
    uint64_t key_id = 0;
    memset(out_result, 0, sizeof(*out_result));
    int rc = rowfile_read_meta(options->meta, &meta, err);
    if (rc == 0)
        rc = make_hasher(options->hash_key, &hasher, &key_id, err);
    if (rc == 0)
        rc = load_rows(options, &meta, hasher, &dataset, err);
    if (rc == 0)
        rc = train_loaded(options, &meta, dataset, key_id, out_result, err);
    dataset_destroy(dataset);
    mem_free(hasher);
    rowfile_meta_deinit(&meta);
    return rc;
}

struct routing {
    const struct artifact *artifact;
    const struct features_hasher *hasher;
    FILE *out;
    struct policy_params params;
    struct policy_candidate candidates[ARTIFACT_MODELS_MAX];
    uint64_t count;
};

static int write_choice(const struct routing *r, const struct rowfile_query *query,
                        const struct policy_decision *decision)
{
    const struct artifact *a = r->artifact;
    json_t *quality = json_object();
    json_t *cost = json_object();
    struct str chosen = a->models[decision->greedy];
    for (uint32_t m = 0; m < a->model_count; m++) {
        const struct policy_row *row = &decision->row[m];
        json_object_setn_new(quality, a->models[m].data, a->models[m].len, json_real(row->q / Q16));
        json_object_setn_new(
            cost, a->models[m].data, a->models[m].len,
            row->cost == PRICE_UNKNOWN ? json_null() : json_real((double)row->cost / NANO_PER_USD));
    }
    json_t *line =
        json_pack("{s:o,s:o,s:o,s:o}", "id", json_stringn(query->id.data, query->id.len), "model",
                  json_stringn(chosen.data, chosen.len), "quality", quality, "cost_usd", cost);
    int rc = line == NULL ? ERR_NOMEM
             : json_dumpf(line, r->out, JSON_COMPACT | JSON_REAL_PRECISION(12)) != 0 ||
                     fputc('\n', r->out) == EOF
                 ? ERR_IO
                 : 0;
    json_decref(line);
    return rc;
}

static int on_query(const json_t *row, uint64_t line, void *data, struct err *err)
{
    struct routing *r = data;
    struct rowfile_query query;
    struct policy_decision decision;
    (void)line;
    int rc = rowfile_parse_query(row, r->hasher, &query, err);
    if (rc != 0)
        return rc;
    if (query.id.len == 0)
        return err_set(err, ERR_INVALID, "\"id\" is missing or not a string");
    struct policy_request request = {
        .t_in = query.in_tok, .lambda = r->params.lambda, .sticky = POLICY_NONE};
    rc = policy_decide(r->artifact, &query.features, &r->params, &request, r->candidates,
                       r->artifact->model_count, &decision);
    if (rc == 0)
        rc = write_choice(r, &query, &decision);
    r->count += rc == 0;
    return rc == 0 ? 0 : err_set(err, rc, "%s", err_text(rc));
}

static int load_policy(const char *path, uint64_t key_id, struct artifact **out_artifact,
                       struct err *err)
{
    struct buf file;
    enum artifact_reason reason;
    struct artifact_expect expect = {.hash_key_id = key_id};
    buf_init(&file, ARTIFACT_BYTES_MAX);
    int rc = buf_read_file(&file, path, ARTIFACT_BYTES_MAX, err);
    if (rc == 0)
        rc = artifact_load(buf_str(&file), &expect, out_artifact, &reason, err);
    buf_deinit(&file);
    return rc;
}

static void prepare_routing(const struct offline_route *o, struct routing *r)
{
    policy_params_init(&r->params);
    policy_params_from_artifact(&r->params, r->artifact, 0);
    if (o->lambda >= 0)
        r->params.lambda = o->lambda * LAMBDA_UNIT >= (double)ARTIFACT_LAMBDA_MAX
                               ? ARTIFACT_LAMBDA_MAX
                               : llrint(o->lambda * LAMBDA_UNIT);
    for (uint32_t m = 0; m < r->artifact->model_count; m++) {
        struct policy_candidate *c = &r->candidates[m];
        *c = (struct policy_candidate){
            .ordinal = (int32_t)m, .price_cached = PRICE_UNKNOWN, .prior_q16 = POLICY_NO_PRIOR};
        learn_artifact_prices(r->artifact, m, &c->price_in, &c->price_out);
    }
}

/* The lines go to a file beside `out` that takes its place when all are written. */
static int route_all(const struct offline_route *o, struct routing *r, struct err *err)
{
    char path[4096];
    bool to_stdout = strcmp(o->out, "-") == 0;
    int len = snprintf(path, sizeof(path), "%s.part", o->out);
    if (len < 0 || (size_t)len >= sizeof(path))
        return err_set(err, ERR_TOO_LARGE, "%s: path too long", o->out);
    r->out = to_stdout ? stdout : fopen(path, "we");
    if (r->out == NULL)
        return err_set(err, err_from_errno(errno), "%s: %s", path, strerror(errno));
    int rc = rowfile_each(o->queries, on_query, r, err);
    if (fflush(r->out) != 0 && rc == 0)
        rc = err_set(err, err_from_errno(errno), "%s: %s", path, strerror(errno));
    if (to_stdout)
        return rc;
    if (fclose(r->out) != 0 && rc == 0)
        rc = err_set(err, err_from_errno(errno), "%s: %s", path, strerror(errno));
    if (rc == 0 && rename(path, o->out) != 0)
        rc = err_set(err, err_from_errno(errno), "%s: %s", o->out, strerror(errno));
    if (rc != 0)
        (void)remove(path);
    return rc;
}

int offline_route(const struct offline_route *options, uint64_t *out_count, struct err *err)
{
    struct routing *r = mem_zalloc(sizeof(*r));
    struct features_hasher *hasher = NULL;
    struct artifact *artifact = NULL;
    uint64_t key_id = 0;
    if (r == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    int rc = make_hasher(options->hash_key, &hasher, &key_id, err);
    if (rc == 0)
        rc = load_policy(options->artifact, key_id, &artifact, err);
    if (rc == 0) {
        r->artifact = artifact;
        r->hasher = hasher;
        prepare_routing(options, r);
        rc = route_all(options, r, err);
    }
    if (rc == 0)
        *out_count = r->count;
    artifact_destroy(artifact);
    mem_free(hasher);
    mem_free(r);
    return rc;
}
