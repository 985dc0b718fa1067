/* One change, one transaction: fence, head locked, rows, resources, generation, audit, NOTIFY. That
 * something really changed is remembered in a setting local to the transaction, so that the steps
 * need no object of their own. */
#include <string.h>

#include "controlplane/release/publish.h"

/* Whoever is stopped between here and its commit is cut off by the server, so that the others do
 * not wait for it. */
int publish_begin(struct pq_conn *c, const struct publish_actor *actor, struct err *err)
{
    int rc = pq_conn_script(c, "BEGIN", err);
    if (rc == 0 && actor->claim != NULL)
        rc = leader_fence(c, actor->claim, err);
    if (rc != 0)
        return rc;
    return pq_conn_query(c,
                         "SELECT generation, set_config('idle_in_transaction_session_timeout', "
                         "'3000', true) FROM config_head FOR UPDATE",
                         NULL, NULL, err);
}

static int mark_changed(struct pq_conn *c, struct err *err)
{
    return pq_conn_query(c, "SELECT set_config('steelyard.changed', '1', true)", NULL, NULL, err);
}

int publish_put(struct pq_conn *c, const struct publish_change *change, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    const char *sql;
    pq_params_text(&p, change->key);
    if (change->body.data == NULL) {
        sql = "DELETE FROM resource WHERE key = $1";
    } else {
        char version[SHA256_HEX_BYTES];
        struct sha256 sum = digest_sha256(change->body.data, change->body.len);
        hex_encode(sum.bytes, sizeof sum.bytes, version);
        pq_params_i64(&p, change->type);
        pq_params_text(&p, str_from(version));
        pq_params_bytes(&p, change->body);
        sql = "INSERT INTO resource AS r (key, type, version, body, generation) "
              "SELECT $1, $2, $3, $4, generation + 1 FROM config_head "
              "ON CONFLICT (key) DO UPDATE SET type = excluded.type, version = excluded.version, "
              "body = excluded.body, generation = excluded.generation "
              "WHERE (r.type, r.version) IS DISTINCT FROM (excluded.type, excluded.version)";
    }
    int rc = pq_conn_query(c, sql, &p, &r, err);
    if (rc != 0)
        return rc;
    bool changed = pq_result_affected(r) > 0;
    pq_result_destroy(r);
    return changed ? mark_changed(c, err) : 0;
}

int publish_is_changed(struct pq_conn *c, bool *out_changed, struct err *err)
{
    struct pq_result *r = NULL;
    int rc = pq_conn_query(
        c, "SELECT coalesce(current_setting('steelyard.changed', true), '') = '1'", NULL, &r, err);
    if (rc != 0)
        return rc;
    *out_changed = pq_result_bool(r, 0, 0);
    pq_result_destroy(r);
    return 0;
}

int publish_commit(struct pq_conn *c, const struct publish_actor *actor, struct str action,
                   struct str subject, struct str detail, uint64_t *out_generation, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    bool changed;
    int rc = publish_is_changed(c, &changed, err);
    if (rc == 0 && changed)
        rc = pq_conn_query(c,
                           "UPDATE config_head SET generation = generation + 1, "
                           "changed = clock_timestamp()",
                           NULL, NULL, err);
    if (rc != 0)
        return rc;
    pq_params_text(&p, actor->name);
    pq_params_text(&p, action);
    pq_params_text(&p, subject);
    pq_params_text(&p, actor->reason.data == NULL ? STR("") : actor->reason);
    pq_params_text(&p, detail.data == NULL ? STR("{}") : detail);
    rc = pq_conn_query(c,
                       "WITH head AS (SELECT generation FROM config_head), entry AS (INSERT INTO "
                       "audit_log (actor, action, subject, reason, detail, generation) "
                       "SELECT $1, $2, $3, $4, $5, generation FROM head) "
                       "SELECT generation, pg_notify('steelyard_head', generation::text) FROM head",
                       &p, &r, err);
    if (rc != 0)
        return rc;
    uint64_t generation = (uint64_t)pq_result_i64(r, 0, 0);
    pq_result_destroy(r);
    rc = pq_conn_script(c, "COMMIT", err);
    if (rc == 0)
        *out_generation = generation;
    return rc;
}

void publish_abort(struct pq_conn *c)
{
    pq_conn_attempt(c, "ROLLBACK");
}
