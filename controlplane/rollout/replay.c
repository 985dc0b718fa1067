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

static int replay_one(struct pq_conn *c, struct str detail, struct str params_hex,
                      struct record *record, struct record_cache *cache,
                      struct siphash_key draw_key, struct replay_result *out, struct err *err)
{
    struct policy_decision decision;
    struct explain_mismatch mismatch = {0};
    int rc = record_open(c, cache, detail, draw_key, record, err);
    if (rc == ERR_CORRUPT) {
        count(out, "record");
        return 0;
    }
    if (rc != 0)
        return rc;
    if (record->skip != RECORD_USABLE)
        out->skipped++;
    else if (!is_of(record, params_hex))
        count(out, "params");
    else if (record_replay(record, &decision, &mismatch) != 0)
        count(out, "inputs");
    else
        count(out, mismatch.field);
    record_close(record);
    return 0;
}

static int replay_rows(struct pq_conn *c, const struct pq_result *rows, struct record_cache *cache,
                       struct siphash_key draw_key, struct replay_result *out, struct err *err)
{
    struct record *record = mem_zalloc(sizeof *record);
    int rc = record == NULL ? err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM)) : 0;
    for (int i = 0; rc == 0 && i < pq_result_rows(rows); i++) {
        struct buf detail;
        buf_init(&detail, DETAIL_MAX);
        rc = pq_result_bytes(rows, i, 0, &detail);
        if (rc == 0)
            rc = replay_one(c, buf_str(&detail), pq_result_text(rows, i, 1), record, cache,
                            draw_key, out, err);
        buf_deinit(&detail);
    }
    mem_free(record);
    return rc;
}

int rollout_replay(struct pq_conn *c, int64_t id, struct record_cache *cache,
                   struct siphash_key draw_key, struct replay_result *out, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *rows = NULL;
    struct replay_result result = {0};
    *out = result;
    pq_params_i64(&p, id);
    pq_params_i64(&p, REPLAY_SAMPLE);
    /* What came before the state began was judged before: an operator may have resumed since. */
    int rc = pq_conn_query(
        c,
        "SELECT d.detail, s.candidate_params FROM (SELECT o.request_id, r.candidate_params FROM "
        "rollout r JOIN canary_obs o ON o.rollout_id = r.id WHERE r.id = $1 AND r.state IN "
        "('canary', 'hold') AND o.arm = 2 AND o.xid >= r.folded_xid AND o.bucket >= r.state_since "
        "ORDER BY o.xid DESC LIMIT $2) s JOIN decision d ON d.request_id = s.request_id AND "
        "d.ts > now() - interval '1 day'",
        &p, &rows, err);
    if (rc == 0)
        rc = replay_rows(c, rows, cache, draw_key, &result, err);
    pq_result_destroy(rows);
    if (rc == 0)
        *out = result;
    return rc;
}
