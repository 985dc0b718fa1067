#include "controlplane/release/replay_gate.h"

#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/crypto/digest.h"
#include "controlplane/release/record.h"

#define DETAIL_MAX (4U << 20)

struct replay {
    struct pq_conn *lookups; /* Artifacts are read while rows stream in on the other one. */
    struct record_cache cache;
    struct record record;
    struct siphash_key draw_key;
    uint64_t equal, differ, skipped;
    const char *field; /* First that differed. */
    struct err *err;
};

static int replay_one(struct replay *p, struct str detail)
{
    struct policy_decision decision;
    struct explain_mismatch mismatch = {0};
    int rc = record_open(p->lookups, &p->cache, detail, p->draw_key, &p->record, p->err);
    if (rc == ERR_CORRUPT) {
        p->differ++;
        p->field = p->field != NULL ? p->field : "record";
        return 0;
    }
    if (rc != 0)
        return rc;
    if (p->record.skip != RECORD_USABLE) {
        p->skipped++;
    } else {
        rc = record_replay(&p->record, &decision, &mismatch);
        if (rc != 0)
            mismatch.field = "inputs";
        p->equal += mismatch.field == NULL;
        p->differ += mismatch.field != NULL;
        p->field = p->field != NULL ? p->field : mismatch.field;
    }
    record_close(&p->record);
    return 0;
}

static int on_row(void *arg, const struct pq_result *row)
{
    struct replay *p = arg;
    struct buf detail = {0};
    buf_init(&detail, DETAIL_MAX);
    int rc = pq_result_bytes(row, 0, 0, &detail);
    if (rc == 0)
        rc = replay_one(p, buf_str(&detail));
    buf_deinit(&detail);
    return rc;
}

static void fill_gate(const struct replay *p, struct learn_gate *out)
{
    *out = (struct learn_gate){.name = "replay", .ok = p->differ == 0};
    int len = snprintf(out->detail, sizeof out->detail,
                       "%llu decisions of the incumbent come out again, %llu do not",
                       (unsigned long long)p->equal, (unsigned long long)p->differ);
    if (p->field != NULL && len > 0 && (size_t)len < sizeof out->detail)
        snprintf(out->detail + len, sizeof out->detail - (size_t)len, " (first: %s)", p->field);
}

int replay_gate(struct pq_conn *c, const char *conninfo, struct str artifact,
                struct siphash_key draw_key, struct learn_gate *out_gate, struct err *err)
{
    struct sha256 sha = digest_sha256(artifact.data, artifact.len);
    struct pq_params params = {0};
    struct replay *p = mem_zalloc(sizeof *p);
    if (p == NULL)
        return ERR_NOMEM;
    p->draw_key = draw_key;
    p->err = err;
    int rc = pq_conn_open(conninfo, "steelyard-replay", 5000, 60000, &p->lookups, err);
    if (rc == 0) {
        pq_params_bytes(&params,
                        (struct str){.data = (const char *)sha.bytes, .len = SHA256_BYTES});
        pq_params_i64(&params, REPLAY_GATE_DECISIONS);
        rc = pq_conn_stream(c,
                            "SELECT detail FROM decision WHERE policy_sha = $1 ORDER BY request_id "
                            "DESC LIMIT $2",
                            &params, on_row, p, err);
    }
    if (rc == 0)
        fill_gate(p, out_gate);
    record_cache_deinit(&p->cache);
    pq_conn_close(p->lookups);
    mem_free(p);
    return rc;
}
