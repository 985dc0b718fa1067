/* One change, one transaction: fence, head locked, rows, resources, generation, audit, NOTIFY. That
 * something really changed is remembered in a setting local to the transaction, so that the steps
 * need no object of their own. */
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "control.pb-c.h"
#include "controlplane/release/publish.h"

#define KEYS_BYTES_MAX (64U << 20)

int publish_fence_take(struct pq_conn *c, struct str holder, uint64_t *out_term, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_text(&p, holder);
    int rc = pq_conn_query(c,
                           "UPDATE leader_fence SET term = term + 1, holder = $1 "
                           "WHERE role = 'release' RETURNING term",
                           &p, &r, err);
    if (rc != 0)
        return rc;
    *out_term = (uint64_t)pq_result_i64(r, 0, 0);
    pq_result_destroy(r);
    return 0;
}

int publish_begin(struct pq_conn *c, const struct publish_actor *actor, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    int rc = pq_conn_script(c, "BEGIN", err);
    if (rc != 0)
        return rc;
    pq_params_i64(&p, (int64_t)actor->term);
    pq_params_text(&p, actor->holder.data == NULL ? STR("") : actor->holder);
    rc = pq_conn_query(c,
                       "UPDATE leader_fence SET term = $1, holder = $2 "
                       "WHERE role = 'release' AND term <= $1",
                       &p, &r, err);
    if (rc != 0)
        return rc;
    bool fenced = pq_result_affected(r) == 0;
    pq_result_destroy(r);
    if (fenced)
        return err_set(err, ERR_CONFLICT,
                       "another control plane has taken over; this one may change nothing");
    return pq_conn_query(c, "SELECT generation FROM config_head FOR UPDATE", NULL, NULL, err);
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
        rc = pq_conn_query(c, "UPDATE config_head SET generation = generation + 1, changed = now()",
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

/* --- keys --------------------------------------------------------------------------------------
 */

/* One Key as field 1 of Keys. */
static int append_key(struct buf *out, const Steelyard__Control__V1__Key *key)
{
    size_t len = steelyard__control__v1__key__get_packed_size(key);
    uint8_t head[12];
    size_t n = 0;
    head[n++] = 1 << 3 | 2;
    for (size_t rest = len;; rest >>= 7) {
        head[n++] = (uint8_t)((rest & 0x7f) | (rest > 0x7f ? 0x80U : 0U));
        if (rest <= 0x7f)
            break;
    }
    int rc = buf_append(out, head, n);
    if (rc == 0)
        rc = buf_reserve(out, len);
    if (rc == 0)
        out->len += steelyard__control__v1__key__pack(key, (uint8_t *)out->data + out->len);
    return rc;
}

/* Splits text joined by line feeds, which no name has. Pointers are into a copy that out[0] owns.
 */
static char **split_names(struct str joined, size_t *out_count, char **out_text)
{
    size_t count = 0;
    *out_count = 0;
    *out_text = NULL;
    if (joined.len == 0)
        return NULL;
    for (size_t i = 0; i < joined.len; i++)
        count += joined.data[i] == '\n';
    count++;
    char *text = mem_strndup(joined.data, joined.len);
    char **names = mem_calloc(count, sizeof *names);
    if (text == NULL || names == NULL) {
        mem_free(text);
        mem_free(names);
        return NULL;
    }
    size_t at = 0;
    names[at++] = text;
    for (size_t i = 0; i < joined.len; i++) {
        if (text[i] == '\n') {
            text[i] = '\0';
            names[at++] = text + i + 1;
        }
    }
    *out_count = count;
    *out_text = text;
    return names;
}

#define PATH_MAX_ACCOUNTS 8

/* "1,2,3" of bigints, which the wire has as unsigned. */
static size_t split_ids(struct str joined, uint64_t out[PATH_MAX_ACCOUNTS])
{
    size_t count = 0;
    bool more = joined.len > 0;
    while (more && count < PATH_MAX_ACCOUNTS) {
        struct str head;
        more = str_cut(joined, ',', &head, &joined);
        out[count++] = (uint64_t)strtoll(head.data, NULL, 10);
    }
    return count;
}

static int append_row(struct buf *out, const struct pq_result *r)
{
    struct buf sha = {0}, previous = {0};
    char *route_text, *model_text, *endpoint_text, *tag_text;
    uint64_t accounts[PATH_MAX_ACCOUNTS];
    Steelyard__Control__V1__Key key = STEELYARD__CONTROL__V1__KEY__INIT;
    buf_init(&sha, SHA256_BYTES);
    buf_init(&previous, SHA256_BYTES);
    int rc = pq_result_bytes(r, 0, 2, &sha);
    if (rc == 0 && !pq_result_is_null(r, 0, 14))
        rc = pq_result_bytes(r, 0, 14, &previous);
    key.id = (uint64_t)pq_result_i64(r, 0, 0);
    key.public_id = (char *)(uintptr_t)pq_result_text(r, 0, 1).data;
    key.sha256 = (ProtobufCBinaryData){sha.len, (uint8_t *)sha.data};
    key.name = (char *)(uintptr_t)pq_result_text(r, 0, 3).data;
    key.routes = split_names(pq_result_text(r, 0, 4), &key.n_routes, &route_text);
    key.models = split_names(pq_result_text(r, 0, 5), &key.n_models, &model_text);
    key.disabled = pq_result_bool(r, 0, 6);
    if (!pq_result_is_null(r, 0, 7))
        key.expires_us = pq_result_time_us(r, 0, 7);
    key.no_explore = pq_result_bool(r, 0, 8);
    key.may_no_log = pq_result_bool(r, 0, 9);
    key.segment = (uint32_t)pq_result_i64(r, 0, 10);
    key.n_accounts = split_ids(pq_result_text(r, 0, 11), accounts);
    key.accounts = accounts;
    key.endpoints = split_names(pq_result_text(r, 0, 12), &key.n_endpoints, &endpoint_text);
    key.max_cost = pq_result_i64(r, 0, 13);
    if (previous.len > 0) {
        key.prev_sha256 = (ProtobufCBinaryData){previous.len, (uint8_t *)previous.data};
        key.prev_until_us = pq_result_time_us(r, 0, 15);
    }
    key.rpm = (uint64_t)pq_result_i64(r, 0, 16);
    key.tpm = (uint64_t)pq_result_i64(r, 0, 17);
    key.concurrency = (uint64_t)pq_result_i64(r, 0, 18);
    key.tags = split_names(pq_result_text(r, 0, 19), &key.n_tags, &tag_text);
    if (rc == 0 && ((key.routes == NULL && pq_result_text(r, 0, 4).len > 0) ||
                    (key.models == NULL && pq_result_text(r, 0, 5).len > 0) ||
                    (key.endpoints == NULL && pq_result_text(r, 0, 12).len > 0) ||
                    (key.tags == NULL && pq_result_text(r, 0, 19).len > 0)))
        rc = ERR_NOMEM;
    if (rc == 0)
        rc = append_key(out, &key);
    mem_free(route_text);
    mem_free(model_text);
    mem_free(key.routes);
    mem_free(key.models);
    mem_free(endpoint_text);
    mem_free(key.endpoints);
    mem_free(tag_text);
    mem_free(key.tags);
    buf_deinit(&sha);
    buf_deinit(&previous);
    return rc;
}

static int on_key_row(void *arg, const struct pq_result *row)
{
    return append_row(arg, row);
}

int publish_put_keys(struct pq_conn *c, struct err *err)
{
    struct buf body = {0};
    buf_init(&body, KEYS_BYTES_MAX);
    int rc = pq_conn_stream(c,
                            "SELECT id, public_id, sha256, name, array_to_string(routes, chr(10)), "
                            "array_to_string(models, chr(10)), disabled, expires, no_explore, "
                            "may_no_log, segment, array_to_string(accounts, ','), "
                            "array_to_string(endpoints, chr(10)), max_cost_nano, prev_sha256, "
                            "prev_until, rpm, tpm, concurrency, array_to_string(tags, chr(10)) "
                            "FROM pushed_key ORDER BY id",
                            NULL, on_key_row, &body, err);
    if (rc == 0) {
        struct publish_change change = {.key = STR("keys"),
                                        .type =
                                            STEELYARD__CONTROL__V1__RESOURCE_TYPE__RESOURCE_KEYS,
                                        .body = body.len > 0 ? buf_str(&body) : STR("")};
        rc = publish_put(c, &change, err);
    } else if (err != NULL && err->message[0] == '\0') {
        (void)err_set(err, rc, "keys: %s", err_text(rc));
    }
    buf_deinit(&body);
    return rc;
}
