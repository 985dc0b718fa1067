#include "common/route/selftest.h"

#include <string.h>

#include "common/route/bytes.h"
#include "common/route/explain.h"

#define VERSION_BYTES_MAX 64

static void put_request(struct bytes_writer *w, const struct policy_request *r)
{
    bytes_put_u32(w, r->t_in);
    bytes_put_u32(w, r->t_out_cap);
    bytes_put_i64(w, r->lambda);
    bytes_put_i64(w, r->mu);
    bytes_put_u32(w, r->floor_q16);
    bytes_put_i64(w, r->max_cost_nanousd);
    bytes_put_u32(w, r->max_latency_ms);
    bytes_put_u32(w, r->sticky);
    bytes_put_u8(w, r->explore);
    bytes_put_raw(w, r->request_id, sizeof r->request_id);
    bytes_put_str(w, r->policy_version);
}

static void get_request(struct bytes_reader *b, struct policy_request *r)
{
    r->t_in = bytes_get_u32(b);
    r->t_out_cap = bytes_get_u32(b);
    r->lambda = bytes_get_i64(b);
    r->mu = bytes_get_i64(b);
    r->floor_q16 = bytes_get_u32(b);
    r->max_cost_nanousd = bytes_get_i64(b);
    r->max_latency_ms = bytes_get_u32(b);
    r->sticky = bytes_get_u32(b);
    r->explore = bytes_get_bool(b);
    const uint8_t *id = bytes_take(b, sizeof r->request_id);
    if (id != NULL)
        memcpy(r->request_id, id, sizeof r->request_id);
    r->policy_version = bytes_get_str(b, VERSION_BYTES_MAX);
}

static void put_params(struct bytes_writer *w, const struct policy_params *p, uint32_t model_count)
{
    bytes_put_u8(w, p->strategy);
    bytes_put_i64(w, p->lambda);
    bytes_put_i64(w, p->mu);
    bytes_put_i64(w, p->mu_latency);
    bytes_put_u32(w, p->floor_q16);
    bytes_put_u8(w, p->floor_soft);
    bytes_put_u32(w, p->gamma);
    bytes_put_u32(w, p->eps_cap);
    bytes_put_u32(w, p->delta_q16);
    bytes_put_u32(w, p->cost_ratio);
    bytes_put_i64(w, p->stick_margin);
    bytes_put_u64(w, p->draw_key.k0);
    bytes_put_u64(w, p->draw_key.k1);
    for (uint32_t m = 0; m < model_count; m++)
        bytes_put_i32(w, p->off[m]);
}

static void get_params(struct bytes_reader *b, struct policy_params *p, uint32_t model_count)
{
    uint8_t strategy = bytes_get_u8(b);
    b->bad = b->bad || strategy > POLICY_STATIC;
    p->strategy = strategy == POLICY_STATIC ? POLICY_STATIC : POLICY_LEARNED;
    p->lambda = bytes_get_i64(b);
    p->mu = bytes_get_i64(b);
    p->mu_latency = bytes_get_i64(b);
    p->floor_q16 = bytes_get_u32(b);
    p->floor_soft = bytes_get_bool(b);
    p->gamma = bytes_get_u32(b);
    p->eps_cap = bytes_get_u32(b);
    p->delta_q16 = bytes_get_u32(b);
    p->cost_ratio = bytes_get_u32(b);
    p->stick_margin = bytes_get_i64(b);
    p->draw_key.k0 = bytes_get_u64(b);
    p->draw_key.k1 = bytes_get_u64(b);
    for (uint32_t m = 0; m < model_count; m++)
        p->off[m] = bytes_get_i32(b);
}

static void put_features(struct bytes_writer *w, const struct features *f)
{
    uint8_t encoded[FEATURES_ENCODED_MAX];
    size_t len = features_encode(f, encoded);
    bytes_put_str(w, (struct str){.data = (const char *)encoded, .len = len});
    for (unsigned d = 0; d < FEATURES_DENSE; d++)
        bytes_put_u16(w, (uint16_t)f->dense[d]);
}

static void get_features(struct bytes_reader *b, struct features *f)
{
    struct str encoded = bytes_get_str(b, FEATURES_ENCODED_MAX);
    if (!b->bad && features_decode(encoded, f) != 0)
        b->bad = true;
    for (unsigned d = 0; d < FEATURES_DENSE; d++)
        f->dense[d] = bytes_get_i16(b);
}

static void put_candidate(struct bytes_writer *w, const struct policy_candidate *c)
{
    bytes_put_i32(w, c->ordinal);
    bytes_put_u32(w, c->excl);
    bytes_put_i64(w, c->price_in);
    bytes_put_i64(w, c->price_out);
    bytes_put_i64(w, c->price_cached);
    bytes_put_u32(w, c->cached_tokens);
    bytes_put_u32(w, c->max_out);
    bytes_put_u32(w, c->ttft_est_ms);
    bytes_put_u32(w, c->tpot_est_us);
    bytes_put_u32(w, c->prior_q16);
    bytes_put_u32(w, c->prior_out);
    bytes_put_u32(w, c->domain);
    bytes_put_u32(w, c->live);
}

static void get_candidate(struct bytes_reader *b, struct policy_candidate *c)
{
    c->ordinal = bytes_get_i32(b);
    c->excl = bytes_get_u32(b);
    c->price_in = bytes_get_i64(b);
    c->price_out = bytes_get_i64(b);
    c->price_cached = bytes_get_i64(b);
    c->cached_tokens = bytes_get_u32(b);
    c->max_out = bytes_get_u32(b);
    c->ttft_est_ms = bytes_get_u32(b);
    c->tpot_est_us = bytes_get_u32(b);
    c->prior_q16 = bytes_get_u32(b);
    c->prior_out = bytes_get_u32(b);
    c->domain = bytes_get_u32(b);
    c->live = bytes_get_u32(b);
}

static void put_decision(struct bytes_writer *w, const struct policy_decision *d)
{
    bytes_put_u32(w, d->greedy);
    bytes_put_u32(w, d->chosen);
    bytes_put_u32(w, d->draw);
    bytes_put_u32(w, d->flags);
    bytes_put_u8(w, d->fallback_count);
    bytes_put_raw(w, d->fallback, d->fallback_count);
    for (uint32_t i = 0; i < d->count; i++) {
        const struct policy_row *row = &d->row[i];
        bytes_put_i32(w, row->z);
        bytes_put_u32(w, row->q);
        bytes_put_u32(w, row->out_tok);
        bytes_put_i64(w, row->cost);
        bytes_put_u32(w, row->lat_ms);
        bytes_put_i64(w, row->u);
        bytes_put_u32(w, row->excl);
        bytes_put_u32(w, row->p);
    }
}

static void get_decision(struct bytes_reader *b, uint32_t count, struct policy_decision *d)
{
    d->count = count;
    d->greedy = bytes_get_u32(b);
    d->chosen = bytes_get_u32(b);
    d->draw = bytes_get_u32(b);
    d->flags = bytes_get_u32(b);
    d->fallback_count = bytes_get_u8(b);
    if (d->fallback_count > count)
        b->bad = true;
    const uint8_t *fallback = bytes_take(b, d->fallback_count);
    if (fallback != NULL)
        memcpy(d->fallback, fallback, d->fallback_count);
    for (uint32_t i = 0; i < count; i++) {
        struct policy_row *row = &d->row[i];
        row->z = bytes_get_i32(b);
        row->q = bytes_get_u32(b);
        row->out_tok = bytes_get_u32(b);
        row->cost = bytes_get_i64(b);
        row->lat_ms = bytes_get_u32(b);
        row->u = bytes_get_i64(b);
        row->excl = bytes_get_u32(b);
        row->p = bytes_get_u32(b);
    }
}

int selftest_encode(const struct selftest_case *c, uint32_t model_count,
                    const struct policy_decision *decision, struct buf *out)
{
    struct bytes_writer w = {.out = out};
    if (model_count > ARTIFACT_MODELS_MAX || c->count < 1 || c->count > POLICY_CANDIDATES_MAX ||
        decision->count != c->count || c->request->policy_version.len > VERSION_BYTES_MAX)
        return ERR_INVALID;
    put_request(&w, c->request);
    put_params(&w, c->params, model_count);
    put_features(&w, c->features);
    bytes_put_u8(&w, c->count);
    for (uint32_t i = 0; i < c->count; i++)
        put_candidate(&w, &c->candidates[i]);
    put_decision(&w, decision);
    return w.rc;
}

int selftest_decode(struct str *io_rest, uint32_t model_count, struct selftest_vector *out_vector)
{
    struct selftest_vector *v = out_vector;
    struct bytes_reader b = bytes_reader(*io_rest);
    if (model_count > ARTIFACT_MODELS_MAX)
        return ERR_INVALID;
    memset(v, 0, sizeof *v);
    get_request(&b, &v->request);
    get_params(&b, &v->params, model_count);
    get_features(&b, &v->features);
    v->count = bytes_get_u8(&b);
    if (b.bad || v->count < 1 || v->count > POLICY_CANDIDATES_MAX)
        return ERR_CORRUPT;
    for (uint32_t i = 0; i < v->count; i++)
        get_candidate(&b, &v->candidates[i]);
    get_decision(&b, v->count, &v->decision);
    if (b.bad)
        return ERR_CORRUPT;
    *io_rest = (struct str){.data = (const char *)b.p, .len = b.left};
    return 0;
}

static int run_case(const struct artifact *a, const struct selftest_case *c,
                    struct policy_decision *out_decision)
{
    return policy_decide(a, c->features, c->params, c->request, c->candidates, c->count,
                         out_decision);
}

static int write_vectors(const struct artifact *a, const struct selftest_case *cases,
                         uint32_t case_count, struct buf *out, struct err *err)
{
    struct policy_decision decision;
    struct bytes_writer w = {.out = out};
    bytes_put_u32(&w, case_count);
    int rc = w.rc;
    for (uint32_t i = 0; rc == 0 && i < case_count; i++) {
        rc = run_case(a, &cases[i], &decision);
        if (rc == 0)
            rc = selftest_encode(&cases[i], a->model_count, &decision, out);
        if (rc != 0)
            err_set(err, rc, "self-test vector %u: %s", i, err_text(rc));
    }
    return rc;
}

int selftest_build(const struct artifact_spec *spec, const struct selftest_case *cases,
                   uint32_t case_count, struct buf *out, struct err *err)
{
    struct artifact_spec with_vectors = *spec;
    struct artifact *a = NULL;
    enum artifact_reason reason;
    struct buf draft, vectors;
    if (case_count < 1 || case_count > ARTIFACT_SELFTESTS_MAX)
        return err_set(err, ERR_INVALID, "%u self-test vectors, not 1..64", case_count);
    buf_init(&draft, ARTIFACT_BYTES_MAX);
    buf_init(&vectors, ARTIFACT_BYTES_MAX);
    with_vectors.selftest = STR_NULL;
    int rc = artifact_encode(&with_vectors, &draft, err);
    if (rc == 0)
        rc = artifact_decode(buf_str(&draft), &a, &reason, err);
    if (rc == 0)
        rc = write_vectors(a, cases, case_count, &vectors, err);
    if (rc == 0) {
        with_vectors.selftest = buf_str(&vectors);
        rc = artifact_encode(&with_vectors, out, err);
    }
    artifact_destroy(a);
    buf_deinit(&vectors);
    buf_deinit(&draft);
    return rc == ERR_CORRUPT || rc == ERR_VERSION ? ERR_INVALID : rc;
}

int selftest_run(const struct artifact *a, enum artifact_reason *out_reason, struct err *err)
{
    struct selftest_vector v;
    struct policy_decision decision;
    struct bytes_reader r = bytes_reader(a->selftest);
    uint32_t count = bytes_get_u32(&r);
    struct str rest = {.data = (const char *)r.p, .len = r.left};
    *out_reason = ARTIFACT_SELFTEST_FORMAT_REASON;
    if (r.bad || count < 1 || count > ARTIFACT_SELFTESTS_MAX)
        return err_set(err, ERR_CORRUPT, "policy file: %s", artifact_reason_text(*out_reason));
    for (uint32_t i = 0; i < count; i++) {
        struct selftest_case read = {&v.features, &v.params, &v.request, v.candidates, 0};
        if (selftest_decode(&rest, a->model_count, &v) != 0)
            return err_set(err, ERR_CORRUPT, "policy file: self-test vector %u malformed", i);
        read.count = v.count;
        if (run_case(a, &read, &decision) != 0)
            return err_set(err, ERR_CORRUPT, "policy file: self-test vector %u out of range", i);
        struct explain_mismatch m = explain_compare(&v.decision, &decision);
        if (m.field != NULL) {
            *out_reason = ARTIFACT_SELFTEST_DIFFERS_REASON;
            return err_set(err, ERR_CORRUPT, "policy file: self-test vector %u gives another %s", i,
                           m.field);
        }
    }
    if (rest.len != 0)
        return err_set(err, ERR_CORRUPT, "policy file: bytes after the self-test vectors");
    *out_reason = ARTIFACT_OK_REASON;
    return 0;
}

static enum artifact_reason check_expected(const struct artifact *a,
                                           const struct artifact_expect *expect)
{
    if (a->meta.hash_key_id != expect->hash_key_id)
        return ARTIFACT_DEPLOYMENT_REASON;
    if (expect->newer_than != 0 && a->meta.generation <= expect->newer_than)
        return ARTIFACT_NOT_NEWER_REASON;
    return ARTIFACT_OK_REASON;
}

int artifact_load(struct str file, const struct artifact_expect *expect,
                  struct artifact **out_artifact, enum artifact_reason *out_reason, struct err *err)
{
    struct artifact *a = NULL;
    int rc = artifact_decode(file, &a, out_reason, err);
    if (rc == 0) {
        *out_reason = check_expected(a, expect);
        if (*out_reason != ARTIFACT_OK_REASON)
            rc = err_set(err, ERR_CONFLICT, "policy file: %s", artifact_reason_text(*out_reason));
    }
    if (rc == 0)
        rc = selftest_run(a, out_reason, err);
    if (rc != 0) {
        artifact_destroy(a);
        return rc;
    }
    *out_artifact = a;
    return 0;
}
