/* The JSON of etcd's v3 gateway for words: as in etcd_text.c. */
#include <jansson.h>
#include <string.h>

#include "common/crypto/digest.h"
#include "controlplane/leader/words.h"

static int put_member(struct buf *out, const char *name, struct str prefix, struct str text)
{
    struct buf whole;
    buf_init(&whole, WORDS_VALUE_BYTES + sizeof ETCD_WORDS);
    int rc = buf_append_str(&whole, prefix);
    if (rc == 0)
        rc = buf_append_str(&whole, text);
    if (rc == 0)
        rc = buf_printf(out, "\"%s\":\"", name);
    if (rc == 0)
        rc = base64_encode(buf_str(&whole), out);
    if (rc == 0)
        rc = buf_append_char(out, '"');
    buf_deinit(&whole);
    return rc;
}

/* A transaction: put it unless it is there. */
int words_put_question(struct str name, struct str value, int64_t lease, struct buf *out_body)
{
    int rc = buf_append_text(out_body, "{\"compare\":[{\"target\":\"CREATE\",\"result\":\"EQUAL\","
                                       "\"create_revision\":\"0\",");
    if (rc == 0)
        rc = put_member(out_body, "key", STR(ETCD_WORDS), name);
    if (rc == 0)
        rc = buf_append_text(out_body, "}],\"success\":[{\"request_put\":{");
    if (rc == 0)
        rc = put_member(out_body, "key", STR(ETCD_WORDS), name);
    if (rc == 0)
        rc = buf_append_char(out_body, ',');
    if (rc == 0)
        rc = put_member(out_body, "value", STR(""), value);
    return rc == 0 ? buf_printf(out_body, ",\"lease\":\"%lld\"}}]}", (long long)lease) : rc;
}

int words_list_question(int64_t since, struct buf *out_body)
{
    char end[] = ETCD_WORDS;
    end[sizeof end - 2]++; /* One past every key with the prefix. */
    int rc = buf_append_char(out_body, '{');
    if (rc == 0)
        rc = put_member(out_body, "key", STR(ETCD_WORDS), STR(""));
    if (rc == 0)
        rc = buf_append_char(out_body, ',');
    if (rc == 0)
        rc = put_member(out_body, "range_end", str_from(end), STR(""));
    return rc == 0 ? buf_printf(out_body,
                                ",\"limit\":\"%u\",\"min_create_revision\":\"%lld\","
                                "\"sort_order\":\"ASCEND\",\"sort_target\":\"CREATE\"}",
                                WORDS_MAX, (long long)since)
                   : rc;
}

/* --- answers --- */

static bool take_text(const json_t *kv, const char *member, struct str prefix, char *out,
                      size_t out_bytes)
{
    struct buf text;
    const json_t *v = json_object_get(kv, member);
    buf_init(&text, WORDS_VALUE_BYTES + sizeof ETCD_WORDS);
    bool ok = v == NULL ||
              (json_is_string(v) && base64_decode(str_from(json_string_value(v)), &text) == 0);
    struct str whole = buf_str(&text);
    ok = ok && str_starts(whole, prefix) &&
         (whole.len == 0 || memchr(whole.data, '\0', whole.len) == NULL) &&
         str_copy(str_slice(whole, prefix.len, whole.len), out, out_bytes);
    buf_deinit(&text);
    return ok;
}

int words_list_answer(unsigned http_status, struct str body, struct words_heard *out)
{
    out->revision = 0;
    out->count = 0;
    if (http_status != 200)
        return ERR_UNAVAILABLE;
    json_t *root = json_loadb(body.data == NULL ? "" : body.data, body.len,
                              JSON_DISABLE_EOF_CHECK | JSON_REJECT_DUPLICATES, NULL);
    const json_t *header = json_object_get(root, "header");
    const json_t *kvs = json_object_get(root, "kvs"), *kv;
    size_t i;
    bool ok = json_is_object(root) && json_is_object(header) &&
              etcd_read_i64(header, "revision", &out->revision) && out->revision > 0 &&
              (kvs == NULL || (json_is_array(kvs) && json_array_size(kvs) <= WORDS_MAX));
    json_array_foreach(ok ? kvs : NULL, i, kv)
    {
        int64_t created = 0;
        if (!json_is_object(kv) || !etcd_read_i64(kv, "create_revision", &created) || created <= 0)
            ok = false;
        if (!ok)
            break;
        out->word[out->count].created = created;
        if (take_text(kv, "key", STR(ETCD_WORDS), out->word[out->count].name, WORDS_NAME_BYTES) &&
            take_text(kv, "value", STR(""), out->word[out->count].value, WORDS_VALUE_BYTES))
            out->count++;
    }
    json_decref(root);
    if (ok)
        return 0;
    out->count = 0;
    return ERR_PROTOCOL;
}
