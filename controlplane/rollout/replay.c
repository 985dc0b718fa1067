#include "controlplane/rollout/replay.h"

#include "common/base/mem.h"
#include "common/crypto/digest.h"

#define DETAIL_MAX (4U << 20)

/* By what the version says, and by nothing else. */
static bool is_of(const struct record *r, struct str params_hex)
{
    char hex[SHA256_HEX_BYTES];
    if (r->pb->params_sha.len != SHA256_BYTES)
        return true; /* An older record, which does not say. */
    hex_encode(r->pb->params_sha.data, SHA256_BYTES, hex);
    return str_is(params_hex, hex);
}

static void count(struct replay_result *out, const char *field)
{
    out->same += field == NULL;
    out->differ += field != NULL;
    out->field = out->field != NULL ? out->field : field;
}

/* Of a decision that the stable version served: what the candidate would have chosen. */
static int replay_shadow(struct pq_conn *c, const struct record *record, struct str artifact,
                         struct str params_hex, struct record_cache *cache,
                         struct replay_result *out, struct err *err)
{
    const Steelyard__Telemetry__V1__Shadow *s = record->pb->shadow;
    struct explain_mismatch mismatch = {0};
    char hex[SHA256_HEX_BYTES];
    const uint8_t *sha = artifact.len == SHA256_BYTES ? (const uint8_t *)artifact.data : NULL;
    if (s != NULL && s->params_sha.len == SHA256_BYTES) {
        hex_encode(s->params_sha.data, SHA256_BYTES, hex);
        if (!str_is(params_hex, hex)) {
            count(out, "shadow.params");
            return 0;
        }
    }
    int rc = record_replay_shadow(c, cache, record, sha, &mismatch, err);
    if (rc == ERR_NOT_FOUND)
        out->skipped++;
    else if (rc == ERR_INVALID)
        count(out, "shadow.inputs");
    else if (rc != 0)
        return rc;
    else
        count(out, mismatch.field);
    return 0;
}

struct replayed_row {
    struct str detail, params_hex, artifact; /* Of the candidate; artifact may be empty. */
    bool shadow;
};

static int replay_one(struct pq_conn *c, const struct replayed_row *row, struct record *record,
                      struct record_cache *cache, struct siphash_key draw_key,
                      struct replay_result *out, struct err *err)
{
    struct policy_decision decision;
    struct explain_mismatch mismatch = {0};
    int rc = record_open(c, cache, row->detail, draw_key, record, err);
    if (rc == ERR_CORRUPT) {
        count(out, "record");
        return 0;
    }
    if (rc != 0)
        return rc;
    if (row->shadow)
        rc = replay_shadow(c, record, row->artifact, row->params_hex, cache, out, err);
    else if (record->skip != RECORD_USABLE)
        out->skipped++;
    else if (!is_of(record, row->params_hex))
        count(out, "params");
    else if (record_replay(record, &decision, &mismatch) != 0)
        count(out, "inputs");
    else
        count(out, mismatch.field);
    record_close(record);
    return rc;
}

static int replay_rows(struct pq_conn *c, const struct pq_result *rows, struct record_cache *cache,
                       struct siphash_key draw_key, struct replay_result *out, struct err *err)
{
    struct record *record = mem_zalloc(sizeof *record);
    int rc = record == NULL ? err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM)) : 0;
    for (int i = 0; rc == 0 && i < pq_result_rows(rows); i++) {
        struct buf detail, artifact;
        buf_init(&detail, DETAIL_MAX);
        buf_init(&artifact, SHA256_BYTES);
        rc = pq_result_bytes(rows, i, 0, &detail);
        if (rc == 0 && !pq_result_is_null(rows, i, 2))
            rc = pq_result_bytes(rows, i, 2, &artifact);
        const struct replayed_row row = {.detail = buf_str(&detail),
                                         .params_hex = pq_result_text(rows, i, 1),
                                         .artifact = buf_str(&artifact),
                                         .shadow = pq_result_bool(rows, i, 3)};
        if (rc == 0)
            rc = replay_one(c, &row, record, cache, draw_key, out, err);
        buf_deinit(&detail);
        buf_deinit(&artifact);
    }
    mem_free(record);
    return rc;
}

/* As many of each: what the candidate decided where it serves, and what it would have chosen where
 * the stable version does (32: OBS_SHADOWED). What came before the state began was judged before:
 * an operator may have resumed since. */
static const char sample_sql[] =
    "WITH r AS (SELECT x.*, v.artifact FROM rollout x JOIN policy_version v ON v.name = x.policy "
    "AND v.version = x.candidate WHERE x.id = $1 AND x.state IN ('shadow', 'canary', 'hold')) "
    "SELECT d.detail, r.candidate_params, r.artifact, s.shadow FROM r CROSS JOIN LATERAL ("
    "(SELECT o.request_id, false AS shadow FROM canary_obs o WHERE o.rollout_id = r.id AND o.arm = "
    "2 AND r.state <> 'shadow' AND o.xid >= r.folded_xid AND o.bucket >= r.state_since ORDER BY "
    "o.xid DESC LIMIT $2) UNION ALL "
    "(SELECT o.request_id, true FROM canary_obs o WHERE o.rollout_id = r.id AND o.arm = 1 AND "
    "(o.flags & 32) <> 0 AND o.xid >= r.folded_xid AND o.bucket >= r.state_since ORDER BY o.xid "
    "DESC LIMIT $2)) s JOIN decision d ON d.request_id = s.request_id AND "
    "d.ts > now() - interval '1 day'";

int rollout_replay(struct pq_conn *c, int64_t id, struct record_cache *cache,
                   struct siphash_key draw_key, struct replay_result *out, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *rows = NULL;
    struct replay_result result = {0};
    *out = result;
    pq_params_i64(&p, id);
    pq_params_i64(&p, REPLAY_SAMPLE);
    int rc = pq_conn_query(c, sample_sql, &p, &rows, err);
    if (rc == 0)
        rc = replay_rows(c, rows, cache, draw_key, &result, err);
    pq_result_destroy(rows);
    if (rc == 0)
        *out = result;
    return rc;
}
