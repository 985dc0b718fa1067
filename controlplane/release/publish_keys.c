/* The Keys resources: 256 shards by the first byte of the SHA-256 of the public id. The database
 * marks the shards whose rows changed (migration 0008); those alone are read, by an index, and
 * packed, one after the other, so that neither a change of one key nor a build of all holds more
 * than a shard in memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "control.pb-c.h"
#include "controlplane/release/publish.h"

#define SHARD_BYTES_MAX (64U << 20)
#define SHARDS          256

struct packing {
    struct buf body;
    int64_t count;
};

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
    char *route_text, *model_text, *endpoint_text, *tag_text, *region_text;
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
    key.require_regions =
        split_names(pq_result_text(r, 0, 20), &key.n_require_regions, &region_text);
    key.require_data = (uint32_t)pq_result_i64(r, 0, 21);
    if (rc == 0 && ((key.routes == NULL && pq_result_text(r, 0, 4).len > 0) ||
                    (key.models == NULL && pq_result_text(r, 0, 5).len > 0) ||
                    (key.endpoints == NULL && pq_result_text(r, 0, 12).len > 0) ||
                    (key.tags == NULL && pq_result_text(r, 0, 19).len > 0) ||
                    (key.require_regions == NULL && pq_result_text(r, 0, 20).len > 0)))
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
    mem_free(region_text);
    mem_free(key.require_regions);
    buf_deinit(&sha);
    buf_deinit(&previous);
    return rc;
}

static int on_key_row(void *arg, const struct pq_result *row)
{
    struct packing *p = arg;
    p->count++;
    return append_row(&p->body, row);
}

static int pack_shard(struct pq_conn *c, int shard, struct packing *p, struct err *err)
{
    struct pq_params params = {0};
    pq_params_i64(&params, shard);
    buf_clear(&p->body);
    p->count = 0;
    int rc = pq_conn_stream(
        c,
        "SELECT id, public_id, sha256, name, array_to_string(routes, chr(10)), "
        "array_to_string(models, chr(10)), disabled, expires, no_explore, may_no_log, segment, "
        "array_to_string(accounts, ','), array_to_string(endpoints, chr(10)), max_cost_nano, "
        "prev_sha256, prev_until, rpm, tpm, concurrency, array_to_string(tags, chr(10)), "
        "array_to_string(require_regions, chr(10)), require_data "
        "FROM pushed_key WHERE steelyard_key_shard(public_id) = $1 ORDER BY id",
        &params, on_key_row, p, err);
    if (rc != 0 && err != NULL && err->message[0] == '\0')
        (void)err_set(err, rc, "keys: %s", err_text(rc));
    return rc;
}

static int put_shard(struct pq_conn *c, int shard, const struct packing *p, struct err *err)
{
    struct pq_params params = {0};
    char key[16];
    (void)snprintf(key, sizeof key, "keys/%02x", (unsigned)shard);
    struct publish_change change = {.key = str_from(key)};
    if (p->count > 0) {
        change.type = STEELYARD__CONTROL__V1__RESOURCE_TYPE__RESOURCE_KEYS;
        change.body = buf_str(&p->body);
    }
    int rc = publish_put(c, &change, err);
    if (rc != 0)
        return rc;
    pq_params_i64(&params, shard);
    pq_params_i64(&params, p->count);
    return pq_conn_query(c, "UPDATE key_shard SET keys = $2, changed = false WHERE shard = $1",
                         &params, NULL, err);
}

/* Only what adds keys is refused: fewer are always welcome. */
static int check_count(struct pq_conn *c, int64_t before, struct err *err)
{
    struct pq_result *r = NULL;
    int rc = pq_conn_query(c, "SELECT sum(keys) FROM key_shard", NULL, &r, err);
    if (rc != 0)
        return rc;
    int64_t now = pq_result_i64(r, 0, 0);
    pq_result_destroy(r);
    if (now > PUBLISH_KEYS_MAX && now > before)
        return err_set(err, ERR_LIMIT,
                       "nodes would get %lld keys, at most %d are sent: delete unused ones first",
                       (long long)now, PUBLISH_KEYS_MAX);
    return 0;
}

/* The shards whose rows changed, and how many keys there were at the last time. */
static int changed_shards(struct pq_conn *c, int out[SHARDS], int *out_count, int64_t *out_keys,
                          struct err *err)
{
    struct pq_result *r = NULL;
    /* The one resource of older versions says nothing where there are shards. */
    int rc = pq_conn_query(c,
                           "WITH old AS (DELETE FROM resource WHERE key = 'keys') "
                           "SELECT s.shard, (SELECT sum(keys) FROM key_shard) FROM key_shard s "
                           "WHERE s.changed ORDER BY s.shard",
                           NULL, &r, err);
    if (rc != 0)
        return rc;
    *out_count = pq_result_rows(r);
    for (int i = 0; i < *out_count; i++)
        out[i] = (int)pq_result_i64(r, i, 0);
    *out_keys = *out_count > 0 ? pq_result_i64(r, 0, 1) : 0;
    pq_result_destroy(r);
    return 0;
}

int publish_put_keys(struct pq_conn *c, struct err *err)
{
    struct packing p = {.count = 0};
    int shards[SHARDS];
    int count = 0;
    int64_t before = 0;
    buf_init(&p.body, SHARD_BYTES_MAX);
    int rc = changed_shards(c, shards, &count, &before, err);
    for (int i = 0; rc == 0 && i < count; i++) {
        rc = pack_shard(c, shards[i], &p, err);
        if (rc == 0)
            rc = put_shard(c, shards[i], &p, err);
    }
    if (rc == 0 && count > 0)
        rc = check_count(c, before, err);
    buf_deinit(&p.body);
    return rc;
}
