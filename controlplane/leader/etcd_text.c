/* The JSON of etcd's v3 gateway (etcd 3.4 to 3.6): int64 come as text or numbers, members that are
 * zero are left out, keys and values are base64. The keep-alive is a stream of the gateway whose
 * first message is all of it: {"result":{"ID":..,"TTL":..}}. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "common/crypto/digest.h"
#include "controlplane/leader/etcd.h"

#define KEY_BYTES  128
#define RANGE_TEXT 256

/* --- questions --- */

static int put_base64(struct buf *out, const char *name, const char *text)
{
    int rc = buf_printf(out, "\"%s\":\"", name);
    if (rc == 0)
        rc = base64_encode(str_from(text), out);
    return rc == 0 ? buf_append_char(out, '"') : rc;
}

static void key_of(const struct election_op *op, char out[KEY_BYTES])
{
    (void)snprintf(out, KEY_BYTES, "%s%s/%016llx", ETCD_PREFIX, leader_role_name(op->role),
                   (unsigned long long)op->lease);
}

/* Of a transaction: is our key's create_revision this one? 0: it is not there. */
static int put_compare(struct buf *out, const char *key, int64_t revision)
{
    int rc = buf_append_text(out, "{\"compare\":[{\"target\":\"CREATE\",\"result\":\"EQUAL\",");
    if (rc == 0)
        rc = put_base64(out, "key", key);
    if (rc == 0)
        rc = buf_printf(out, ",\"create_revision\":\"%lld\"}],\"success\":[{", (long long)revision);
    return rc;
}

static int put_enter(struct buf *out, const struct election_op *op, const char *value)
{
    char key[KEY_BYTES];
    key_of(op, key);
    int rc = put_compare(out, key, 0);
    if (rc == 0)
        rc = buf_append_text(out, "\"request_put\":{");
    if (rc == 0)
        rc = put_base64(out, "key", key);
    if (rc == 0)
        rc = buf_append_char(out, ',');
    if (rc == 0)
        rc = put_base64(out, "value", value);
    return rc == 0 ? buf_printf(out, ",\"lease\":\"%lld\"}}]}", (long long)op->lease) : rc;
}

static int put_leave(struct buf *out, const struct election_op *op)
{
    char key[KEY_BYTES];
    key_of(op, key);
    int rc = put_compare(out, key, op->revision);
    if (rc == 0)
        rc = buf_append_text(out, "\"request_delete_range\":{");
    if (rc == 0)
        rc = put_base64(out, "key", key);
    return rc == 0 ? buf_append_text(out, "}}]}") : rc;
}

static int put_list(struct buf *out)
{
    char end[] = ETCD_PREFIX;
    end[sizeof end - 2]++; /* One past every key with the prefix. */
    int rc = buf_append_char(out, '{');
    if (rc == 0)
        rc = put_base64(out, "key", ETCD_PREFIX);
    if (rc == 0)
        rc = buf_append_char(out, ',');
    if (rc == 0)
        rc = put_base64(out, "range_end", end);
    return rc == 0 ? buf_printf(out,
                                ",\"limit\":\"%u\",\"keys_only\":true,\"sort_order\":\"ASCEND\","
                                "\"sort_target\":\"CREATE\"}",
                                ETCD_KEYS_MAX)
                   : rc;
}

int etcd_question(const struct election_op *op, uint32_t ttl_s, const char *value,
                  const char **out_path, struct buf *out_body)
{
    switch (op->ask) {
    case ELECTION_GRANT:
        *out_path = "/v3/lease/grant";
        return buf_printf(out_body, "{\"TTL\":\"%u\"}", ttl_s);
    case ELECTION_KEEPALIVE:
        *out_path = "/v3/lease/keepalive";
        return buf_printf(out_body, "{\"ID\":\"%lld\"}", (long long)op->lease);
    case ELECTION_ENTER:
        *out_path = "/v3/kv/txn";
        return put_enter(out_body, op, value);
    case ELECTION_LIST:
        *out_path = "/v3/kv/range";
        return put_list(out_body);
    case ELECTION_LEAVE:
        *out_path = "/v3/kv/txn";
        return put_leave(out_body, op);
    }
    return ERR_INVALID;
}

/* --- answers --- */

bool etcd_read_i64(const json_t *object, const char *name, int64_t *out)
{
    const json_t *v = json_object_get(object, name);
    *out = 0;
    if (v == NULL)
        return true;
    if (json_is_integer(v)) {
        *out = json_integer_value(v);
        return true;
    }
    return json_is_string(v) &&
           str_parse_i64(str_from(json_string_value(v)), INT64_MIN, INT64_MAX, out) == 0;
}

static bool read_name(struct str name, struct election_key *out)
{
    struct str role, lease, prefix = STR(ETCD_PREFIX);
    uint64_t id = 0;
    if (!str_starts(name, prefix) ||
        !str_cut(str_slice(name, prefix.len, name.len), '/', &role, &lease) || lease.len != 16)
        return false;
    for (size_t i = 0; i < lease.len; i++) {
        char c = lease.data[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        id = id << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    unsigned i = 0;
    while (i < LEADER_ROLES && !str_is(role, leader_role_name((enum leader_role)i)))
        i++;
    out->role = (enum leader_role)i;
    out->lease = (int64_t)id;
    return i < LEADER_ROLES;
}

/* A key of another kind under our prefix is nobody's. */
static int read_key(const json_t *kv, struct election_key *out, bool *out_ours)
{
    struct buf name;
    const json_t *key = json_object_get(kv, "key");
    buf_init(&name, RANGE_TEXT);
    int rc =
        json_is_string(key) ? base64_decode(str_from(json_string_value(key)), &name) : ERR_PROTOCOL;
    if (rc == 0 && !etcd_read_i64(kv, "create_revision", &out->create_revision))
        rc = ERR_PROTOCOL;
    *out_ours = rc == 0 && out->create_revision > 0 && read_name(buf_str(&name), out);
    buf_deinit(&name);
    return rc == ERR_TOO_LARGE ? 0 : rc;
}

static int read_list(const json_t *root, struct election_key *keys, struct election_answer *out)
{
    const json_t *kvs = json_object_get(root, "kvs"), *kv;
    size_t i;
    int64_t before = 0;
    if (kvs != NULL && (!json_is_array(kvs) || json_array_size(kvs) > ETCD_KEYS_MAX))
        return ERR_PROTOCOL;
    json_array_foreach(kvs, i, kv)
    {
        bool ours;
        struct election_key *k = &keys[out->key_count];
        int rc = read_key(kv, k, &ours);
        if (rc != 0)
            return rc;
        if (!ours)
            continue;
        if (k->create_revision < before) /* Not in the order that was asked for. */
            return ERR_PROTOCOL;
        before = k->create_revision;
        out->key_count++;
    }
    out->keys = keys;
    return json_is_true(json_object_get(root, "more")) ? ERR_PROTOCOL : 0;
}

static int read_txn(const json_t *root)
{
    return json_is_object(json_object_get(root, "header")) ? 0 : ERR_PROTOCOL;
}

static int read_answer(enum election_ask ask, const json_t *root, struct election_key *keys,
                       struct election_answer *out)
{
    const json_t *result = json_object_get(root, "result");
    switch (ask) {
    case ELECTION_GRANT:
        return etcd_read_i64(root, "ID", &out->lease) && out->lease > 0 ? 0 : ERR_PROTOCOL;
    case ELECTION_KEEPALIVE:
        return json_is_object(result) && etcd_read_i64(result, "TTL", &out->ttl_s) ? 0
                                                                                   : ERR_PROTOCOL;
    case ELECTION_LIST:
        return json_is_object(json_object_get(root, "header")) ? read_list(root, keys, out)
                                                               : ERR_PROTOCOL;
    case ELECTION_ENTER:
    case ELECTION_LEAVE:
        return read_txn(root);
    }
    return ERR_PROTOCOL;
}

void etcd_answer(enum election_ask ask, unsigned http_status, struct str body,
                 struct election_key *keys, struct election_answer *out_answer)
{
    json_t *root = json_loadb(body.data == NULL ? "" : body.data, body.len,
                              JSON_DISABLE_EOF_CHECK | JSON_REJECT_DUPLICATES, NULL);
    int64_t code = 0;
    *out_answer = (struct election_answer){0};
    if (http_status == 200 && json_is_object(root)) {
        out_answer->status = read_answer(ask, root, keys, out_answer);
        if (out_answer->status != 0)
            *out_answer = (struct election_answer){.status = ERR_PROTOCOL};
    } else {
        /* gRPC's NOT_FOUND, of a lease that is over. */
        bool gone = json_is_object(root) && etcd_read_i64(root, "code", &code) && code == 5;
        out_answer->status = gone ? ERR_NOT_FOUND : ERR_UNAVAILABLE;
    }
    json_decref(root);
}
