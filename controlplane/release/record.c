/* A record holds every input of its decision but the exclusions the caller had set: those are what
 * the policy itself never sets. */
#include "controlplane/release/record.h"

#include <string.h>

#include "common/base/mem.h"
#include "common/route/params_wire.h"

#define DETAIL_MAX (4U << 20)

#define LIVE_STICKY  4U /* Bit of Cand.live. */
#define ARTIFACT_MAX (64U << 20)
#define POLICY_SETS  (POLICY_EXCL(QUALITY_FLOOR) | POLICY_EXCL(COST_CAP) | POLICY_EXCL(LATENCY_CAP))

void record_cache_deinit(struct record_cache *cache)
{
    for (unsigned i = 0; i < RECORD_CACHE; i++) {
        artifact_destroy(cache->artifacts[i].artifact);
        buf_deinit(&cache->params[i].body);
    }
    *cache = (struct record_cache){0};
}

static int load_blob(struct pq_conn *c, const char *sql, const uint8_t sha[32], struct buf *out,
                     bool *out_found, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_bytes(&p, (struct str){.data = (const char *)sha, .len = 32});
    int rc = pq_conn_query(c, sql, &p, &r, err);
    if (rc != 0)
        return rc;
    *out_found = pq_result_rows(r) > 0;
    if (*out_found)
        rc = pq_result_bytes(r, 0, 0, out);
    pq_result_destroy(r);
    return rc;
}

/* *out NULL: not stored, or no longer readable. */
static int cached_artifact(struct pq_conn *c, struct record_cache *cache, const uint8_t sha[32],
                           const struct artifact **out, struct err *err)
{
    struct buf body = {0};
    bool found;
    enum artifact_reason reason;
    for (unsigned i = 0; i < RECORD_CACHE; i++) {
        if (cache->artifacts[i].artifact != NULL && memcmp(cache->artifacts[i].sha, sha, 32) == 0) {
            *out = cache->artifacts[i].artifact;
            return 0;
        }
    }
    *out = NULL;
    buf_init(&body, ARTIFACT_MAX);
    int rc =
        load_blob(c, "SELECT body FROM policy_artifact WHERE sha256 = $1", sha, &body, &found, err);
    if (rc == 0 && found) {
        unsigned slot = cache->next_artifact++ % RECORD_CACHE;
        artifact_destroy(cache->artifacts[slot].artifact);
        cache->artifacts[slot].artifact = NULL;
        if (artifact_decode(buf_str(&body), &cache->artifacts[slot].artifact, &reason, NULL) == 0) {
            memcpy(cache->artifacts[slot].sha, sha, 32);
            *out = cache->artifacts[slot].artifact;
        }
    }
    buf_deinit(&body);
    return rc;
}

static int cached_params(struct pq_conn *c, struct record_cache *cache, const uint8_t sha[32],
                         const struct buf **out, struct err *err)
{
    bool found;
    *out = NULL;
    for (unsigned i = 0; i < RECORD_CACHE; i++) {
        if (cache->params[i].used && memcmp(cache->params[i].sha, sha, 32) == 0) {
            *out = &cache->params[i].body;
            return 0;
        }
    }
    unsigned slot = cache->next_params++ % RECORD_CACHE;
    cache->params[slot].used = false;
    buf_deinit(&cache->params[slot].body);
    buf_init(&cache->params[slot].body, 65536);
    int rc = load_blob(c, "SELECT body FROM policy_params WHERE sha256 = $1", sha,
                       &cache->params[slot].body, &found, err);
    if (rc == 0 && found) {
        memcpy(cache->params[slot].sha, sha, 32);
        cache->params[slot].used = true;
        *out = &cache->params[slot].body;
    }
    return rc;
}

int record_params(struct str body, const struct artifact *artifact, struct policy_params *io_params)
{
    Steelyard__Control__V1__Params *m =
        steelyard__control__v1__params__unpack(NULL, body.len, (const uint8_t *)body.data);
    if (m == NULL)
        return ERR_CORRUPT;
    /* What a record's artifact does not know, it did not offer either. */
    (void)policy_params_read(io_params, artifact, m);
    steelyard__control__v1__params__free_unpacked(m, NULL);
    return 0;
}

static void fill_candidate(struct policy_candidate *c, struct policy_row *row,
                           const Steelyard__Telemetry__V1__Cand *m)
{
    *c = (struct policy_candidate){.ordinal = (int32_t)m->model - 1,
                                   .excl = m->excl & ~POLICY_SETS,
                                   .price_in = m->price_in,
                                   .price_out = m->price_out,
                                   .price_cached =
                                       m->cached_tok > 0 ? m->price_cached : PRICE_UNKNOWN,
                                   .cached_tokens = m->cached_tok,
                                   .max_out = m->max_out,
                                   .ttft_est_ms = m->ttft_est,
                                   .tpot_est_us = m->tpot_est_us,
                                   .prior_q16 = m->prior_q == 0 ? POLICY_NO_PRIOR : m->prior_q,
                                   .prior_out = m->prior_out,
                                   .domain = m->domain,
                                   .live = m->live};
    *row = (struct policy_row){.z = m->z,
                               .q = m->q,
                               .out_tok = m->out_tok,
                               .cost = m->cost,
                               .lat_ms = m->lat_ms,
                               .u = m->u,
                               .excl = m->excl,
                               .p = m->p};
}

/* The inputs of the way that ordered the candidates, if one did. */
static int fill_way(struct record *r)
{
    const Steelyard__Telemetry__V1__Decision *d = r->pb;
    if (d->way == WAY_LEARNED)
        return 0;
    if (d->n_way_weight != d->n_cand || d->n_way_priority != d->n_cand ||
        (d->n_way_measure != 0 && d->n_way_measure != d->n_cand))
        return ERR_CORRUPT;
    r->way.way = d->way;
    r->way.count = (uint32_t)d->n_cand;
    for (size_t i = 0; i < d->n_cand; i++)
        r->way.candidates[i] =
            (struct way_candidate){.measure = d->n_way_measure != 0 ? d->way_measure[i] : 0,
                                   .weight = d->way_weight[i],
                                   .priority = d->way_priority[i]};
    r->request.way = &r->way;
    return 0;
}

static int fill_recorded(struct record *r)
{
    const Steelyard__Telemetry__V1__Decision *d = r->pb;
    struct policy_decision *out = &r->recorded;
    struct policy_request *q = &r->request;
    if (d->n_cand > POLICY_CANDIDATES_MAX || d->n_fallback > POLICY_CANDIDATES_MAX ||
        d->request_id.len != 16)
        return ERR_CORRUPT;
    out->count = (uint32_t)d->n_cand;
    out->greedy = d->greedy;
    out->chosen = d->chosen;
    out->draw = d->draw;
    out->fallback_count = (uint32_t)d->n_fallback;
    q->sticky = POLICY_NONE;
    for (uint32_t i = 0; i < out->count; i++) {
        fill_candidate(&r->candidates[i], &out->row[i], d->cand[i]);
        if ((d->cand[i]->live & LIVE_STICKY) != 0)
            q->sticky = i;
    }
    for (uint32_t i = 0; i < out->fallback_count; i++) {
        if (d->fallback[i] >= out->count)
            return ERR_CORRUPT;
        out->fallback[i] = (uint8_t)d->fallback[i];
    }
    q->t_in = d->t_in;
    q->t_out_cap = d->t_out_cap;
    q->lambda = d->lambda;
    q->mu = d->mu;
    q->floor_q16 = d->floor_q16;
    q->max_cost_nanousd = d->max_cost;
    q->max_latency_ms = d->max_latency_ms;
    q->explore = d->explore;
    q->policy_version =
        (struct str){.data = (const char *)d->policy_version.data, .len = d->policy_version.len};
    memcpy(q->request_id, d->request_id.data, 16);
    return fill_way(r);
}

int record_features(const Steelyard__Telemetry__V1__Decision *d, struct features *out_features)
{
    const bool packed = d->packed_features.len > 0;
    const ProtobufCBinaryData *form = packed ? &d->packed_features : &d->features;
    if (form->len == 0 || d->n_dense != FEATURES_DENSE)
        return ERR_NOT_FOUND;
    memset(out_features, 0, sizeof(*out_features));
    for (size_t i = 0; i < FEATURES_DENSE; i++) {
        if (d->dense[i] < INT16_MIN || d->dense[i] > INT16_MAX)
            return ERR_CORRUPT;
        out_features->dense[i] = (int16_t)d->dense[i];
    }
    const struct str bytes = {.data = (const char *)form->data, .len = form->len};
    return packed ? features_unpack(bytes, out_features) : features_decode(bytes, out_features);
}

static int fill_features(struct record *r)
{
    int rc = record_features(r->pb, &r->features);
    r->has_features = rc == 0;
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

int record_open(struct pq_conn *c, struct record_cache *cache, struct str detail,
                struct siphash_key draw_key, struct record *out_record, struct err *err)
{
    struct record *r = out_record;
    const struct buf *params = NULL;
    memset(r, 0, sizeof *r);
    r->pb =
        steelyard__telemetry__v1__decision__unpack(NULL, detail.len, (const uint8_t *)detail.data);
    if (r->pb == NULL)
        return err_set(err, ERR_CORRUPT, "the record cannot be read");
    policy_params_init(&r->params);
    r->params.strategy = POLICY_STATIC;
    if (r->pb->n_cand == 0)
        r->skip = RECORD_NO_DECISION;
    int rc = fill_recorded(r);
    if (rc == 0)
        rc = fill_features(r);
    if (rc != 0) {
        record_close(r);
        return err_set(err, rc, "the record is malformed");
    }
    if (r->pb->policy_version.len == 32) {
        rc = cached_artifact(c, cache, r->pb->policy_version.data, &r->artifact, err);
        if (rc == 0 && r->artifact == NULL)
            r->skip = RECORD_NO_ARTIFACT;
    }
    if (rc == 0 && r->pb->params_sha.len == 32) {
        rc = cached_params(c, cache, r->pb->params_sha.data, &params, err);
        if (rc == 0 && params == NULL)
            r->skip = RECORD_NO_ARTIFACT;
        else if (rc == 0)
            rc = record_params(buf_str(params), r->artifact, &r->params);
    }
    if (rc != 0) {
        record_close(r);
        return rc;
    }
    r->params.draw_key = draw_key;
    r->input = (struct explain_input){.artifact = r->artifact,
                                      .features = r->has_features ? &r->features : NULL,
                                      .params = &r->params,
                                      .request = &r->request,
                                      .candidates = r->candidates,
                                      .count = (uint32_t)r->pb->n_cand};
    return 0;
}

int record_open_row(struct pq_conn *c, struct record_cache *cache, const struct pq_result *row,
                    struct siphash_key draw_key, struct record *out_record, struct err *err)
{
    struct buf detail;
    buf_init(&detail, DETAIL_MAX);
    int rc = pq_result_bytes(row, 0, 0, &detail);
    if (rc == 0)
        rc = record_open(c, cache, buf_str(&detail), draw_key, out_record, err);
    buf_deinit(&detail);
    return rc;
}

void record_close(struct record *r)
{
    if (r->pb != NULL)
        steelyard__telemetry__v1__decision__free_unpacked(r->pb, NULL);
    r->pb = NULL;
}

/* Of the policy's flags a record holds EXPLORED, STICKY and NO_POLICY; the others follow from the
 * inputs and are taken as recomputed. */
static uint32_t recorded_flags(const struct record *r, uint32_t recomputed)
{
    uint32_t flags =
        recomputed & ~(uint32_t)(POLICY_FLAG_EXPLORED | POLICY_FLAG_STICKY | POLICY_FLAG_NO_POLICY);
    if ((r->pb->flags & STEELYARD__TELEMETRY__V1__DECISION_FLAG__FLAG_EXPLORED) != 0)
        flags |= POLICY_FLAG_EXPLORED;
    if ((r->pb->flags & STEELYARD__TELEMETRY__V1__DECISION_FLAG__FLAG_STICKY) != 0)
        flags |= POLICY_FLAG_STICKY;
    if ((r->pb->flags & STEELYARD__TELEMETRY__V1__DECISION_FLAG__FLAG_NO_POLICY) != 0)
        flags |= POLICY_FLAG_NO_POLICY;
    return flags;
}

int record_replay(struct record *r, struct policy_decision *out_decision,
                  struct explain_mismatch *out_mismatch)
{
    int rc = explain_recompute(&r->input, &r->recorded, out_decision);
    if (rc != 0)
        return rc;
    r->recorded.flags = recorded_flags(r, out_decision->flags);
    *out_mismatch = explain_compare(&r->recorded, out_decision);
    return 0;
}

/* What the other version was asked: the same but for its weights and its own names of the models.
 * Behind the route's candidates stand fallbacks, which no version knows. */
static void ask_shadow(const struct record *r, const struct artifact *artifact,
                       struct policy_request *out_request, struct policy_candidate *out_candidates)
{
    const Steelyard__Telemetry__V1__Decision *d = r->pb;
    const Steelyard__Telemetry__V1__Shadow *s = d->shadow;
    *out_request = r->request;
    out_request->sticky = POLICY_NONE;
    out_request->lambda = s->lambda;
    out_request->mu = s->mu;
    out_request->floor_q16 = s->floor_q16;
    out_request->t_out_cap = s->t_out_cap;
    memcpy(out_candidates, r->candidates, d->n_cand * sizeof r->candidates[0]);
    for (uint32_t i = 0; i < d->n_cand; i++)
        out_candidates[i].ordinal = artifact == NULL || i >= s->ranked
                                        ? POLICY_UNKNOWN_MODEL
                                        : artifact_model(artifact, str_from(d->models[i]));
}

static struct explain_mismatch compare_shadow(const Steelyard__Telemetry__V1__Shadow *s,
                                              const struct policy_choice *c)
{
    const struct {
        const char *field;
        int64_t recorded, recomputed;
    } pairs[] = {
        {"shadow.chosen", s->chosen, c->position == POLICY_NONE ? 0 : c->position + INT64_C(1)},
        {"shadow.q", s->q, c->q},
        {"shadow.cost", s->cost, c->cost},
        {"shadow.excl_any", s->excl_any, c->excl_any},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        if (pairs[i].recorded != pairs[i].recomputed)
            return (struct explain_mismatch){pairs[i].field, 0, pairs[i].recorded,
                                             pairs[i].recomputed};
    return (struct explain_mismatch){.field = NULL};
}

int record_replay_shadow(struct pq_conn *c, struct record_cache *cache, const struct record *r,
                         const uint8_t artifact_sha[32], struct explain_mismatch *out_mismatch,
                         struct err *err)
{
    const Steelyard__Telemetry__V1__Shadow *s = r->pb->shadow;
    struct policy_candidate candidates[POLICY_CANDIDATES_MAX];
    struct policy_request request;
    struct policy_params params;
    struct policy_choice choice;
    const struct artifact *artifact = NULL;
    const struct buf *body = NULL;
    if (s == NULL || s->ranked == 0 || s->params_sha.len != 32 || r->skip != RECORD_USABLE ||
        !r->has_features || r->pb->n_models < r->pb->n_cand)
        return ERR_NOT_FOUND;
    int rc = artifact_sha == NULL ? 0 : cached_artifact(c, cache, artifact_sha, &artifact, err);
    if (rc == 0)
        rc = cached_params(c, cache, s->params_sha.data, &body, err);
    if (rc == 0 && (body == NULL || (artifact_sha != NULL && artifact == NULL)))
        rc = ERR_NOT_FOUND;
    if (rc != 0)
        return rc;
    policy_params_init(&params);
    params.strategy = POLICY_STATIC;
    if (record_params(buf_str(body), artifact, &params) != 0 || !policy_params_valid(&params))
        return ERR_INVALID;
    ask_shadow(r, artifact, &request, candidates);
    rc = policy_greedy_by_valid(artifact, &r->features, &params, &request, candidates,
                                (uint32_t)r->pb->n_cand, &choice);
    if (rc == 0)
        *out_mismatch = compare_shadow(s, &choice);
    return rc;
}

const char *record_status_name(uint32_t status)
{
    static const char *const names[] = {"unknown", "ok",         "cancelled", "partial",
                                        "failed",  "node_crash", "decided"};
    return status < sizeof names / sizeof names[0] ? names[status] : "unknown";
}

const char *record_source_name(uint32_t source, uint32_t flags)
{
    static const char *const names[] = {"none", "provider", "counted", "estimated"};
    if (source == 0 && (flags & STEELYARD__TELEMETRY__V1__DECISION_FLAG__FLAG_USAGE_ESTIMATED) != 0)
        source = STEELYARD__TELEMETRY__V1__USAGE_SOURCE__USAGE_ESTIMATED;
    return source < sizeof names / sizeof names[0] ? names[source] : "unknown";
}

const char *record_reason_name(uint32_t reason)
{
    static const char *const names[] = {
        "ok",       "connect", "tls",       "timeout",      "status",  "rate_limited", "auth",
        "protocol", "cut",     "cancelled", "client_error", "address", "node_crash"};
    return reason < sizeof names / sizeof names[0] ? names[reason] : "unknown";
}
