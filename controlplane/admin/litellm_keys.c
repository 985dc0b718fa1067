/* /key/... */
#include <stdio.h>
#include <string.h>

#include "common/crypto/digest.h"
#include "controlplane/admin/litellm.h"

static const char *const meaningless[] = {"aliases",    "config",           "permissions",
                                          "guardrails", "model_max_budget", NULL};

/* Theirs -> ours; NULL ends. */
static const char *const same[][2] = {
    {"key_alias", "name"},      {"models", "models"},
    {"team_id", "team"},        {"user_id", "user"},
    {"organization_id", "org"}, {"tpm_limit", "tpm"},
    {"rpm_limit", "rpm"},       {"max_parallel_requests", "concurrency"},
    {"tags", "tags"},           {"metadata", "metadata"},
    {"expires", "expires"},     {NULL, NULL},
};

static int translate(const json_t *body, bool is_new, json_t **out, struct err *err)
{
    int rc = litellm_refuse(body, meaningless, err);
    const json_t *blocked = json_object_get(body, "blocked");
    if (rc == 0 && blocked != NULL && !json_is_null(blocked) && !json_is_boolean(blocked))
        rc = err_set(err, ERR_INVALID, "blocked: must be true or false");
    if (rc == 0 && json_object_get(body, "duration") != NULL &&
        json_object_get(body, "expires") != NULL)
        rc = err_set(err, ERR_INVALID, "duration: give it or expires, not both");
    if (rc != 0)
        return rc;
    json_t *native = json_object();
    for (size_t i = 0; same[i][0] != NULL; i++)
        litellm_copy(body, same[i][0], native, same[i][1]);
    litellm_copy(body, "duration", native, "expires");
    if (is_new && !json_is_string(json_object_get(native, "name")))
        json_object_set_new(native, "name", json_string("key"));
    else if (json_is_null(json_object_get(native, "name")))
        json_object_del(native, "name");
    *out = native;
    return 0;
}

/* "sk-sy-...", the SHA-256 of it in hex ("token"), or a public id. */
static int find(struct admin_call *call, struct pq_conn *c, const char *text,
                enum key_action action, struct key_row *out, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    char id[CALL_PARAM_BYTES];
    struct sha256 sum;
    if (strncmp(text, "sk-", 3) == 0)
        sum = digest_sha256(text, strlen(text));
    else if (hex_decode(str_from(text), sum.bytes, SHA256_BYTES) != 0)
        return key_find(call, c, text, action, out, err);
    pq_params_bytes(&p, (struct str){.data = (const char *)sum.bytes, .len = SHA256_BYTES});
    int rc = pq_conn_query(c,
                           "SELECT public_id FROM api_key WHERE sha256 = $1 OR (prev_sha256 = $1 "
                           "AND prev_until > now())",
                           &p, &r, err);
    if (rc != 0)
        return rc;
    bool found = pq_result_rows(r) > 0 && str_copy(pq_result_text(r, 0, 0), id, sizeof id);
    pq_result_destroy(r);
    return found ? key_find(call, c, id, action, out, err)
                 : err_set(err, ERR_NOT_FOUND, "key: there is no such key");
}

static int find_named(struct admin_call *call, struct pq_conn *c, enum key_action action,
                      struct key_row *out, struct err *err)
{
    const char *text;
    int rc = call_text(call->body, "key", true, 256, &text, err);
    return rc == 0 ? find(call, c, text, action, out, err) : rc;
}

int litellm_key_json(struct pq_conn *c, const struct key_row *key, const char *text,
                     json_t **out_json, struct err *err)
{
    struct pq_params p = {0};
    json_t *out = NULL;
    pq_params_i64(&p, key->id);
    int rc = query_json(
        c,
        "SELECT json_build_object('token', encode(k.sha256, 'hex'), 'token_id', "
        "encode(k.sha256, 'hex'), 'key_name', 'sk-sy-' || k.public_id || '-...', 'key_alias', "
        "k.name, 'team_id', (SELECT name FROM account WHERE id = k.team_id), 'user_id', (SELECT "
        "name FROM account WHERE id = k.user_id), 'organization_id', (SELECT name FROM account "
        "WHERE id = k.org_id), 'models', k.models, 'tpm_limit', k.tpm, 'rpm_limit', k.rpm, "
        "'max_parallel_requests', k.concurrency, 'tags', k.tags, 'metadata', k.metadata::json, "
        "'blocked', k.disabled, 'expires', " SQL_TIME("k.expires") ", 'created_at', " SQL_TIME(
            "k.created") ", 'created_by', k.created_by) FROM api_key k WHERE id = $1",
        &p, &out, err);
    if (rc == 0)
        rc = litellm_add_budget(c, key->id, out, err);
    if (rc == 0 && text != NULL)
        rc = json_object_set_new(out, "key", json_string(text)) != 0 ? ERR_NOMEM : 0;
    if (rc != 0)
        json_decref(out);
    else
        *out_json = out;
    return rc;
}

static int finish(struct admin_call *call, struct pq_conn *c, const char *action,
                  struct key_row *key, const char *text, const json_t *detail, struct err *err)
{
    json_t *reply = NULL;
    key->has_budget = true; /* Now, or until now. */
    int rc = key_publish(c, key, err);
    if (rc == 0)
        rc = litellm_key_json(c, key, text, &reply, err);
    return rc == 0 ? change_end(call, c, action, key->public_id, detail, reply, err) : rc;
}

/* Budget and block come after the fields; then what the key may do is judged once more. */
static int rest(struct admin_call *call, struct pq_conn *c, const json_t *body,
                const struct key_row *key, json_t *detail, struct err *err)
{
    const json_t *blocked = json_object_get(body, "blocked");
    int rc = litellm_budget(call, c, body, key->id, detail, err);
    if (rc == 0 && json_is_boolean(blocked))
        rc = key_block(c, key, json_is_true(blocked), err);
    return rc == 0 ? rights_check(call, c, key->id, err) : rc;
}

int litellm_make_key(struct admin_call *call, struct pq_conn *c, const json_t *body,
                     struct key_row *out, char out_text[KEY_TEXT_BYTES], json_t *detail,
                     struct err *err)
{
    json_t *native = NULL, *budget = NULL;
    int rc = translate(body, true, &native, err);
    /* Beside the key, not after it: what it may do is judged as a whole. */
    const json_t *max = json_object_get(body, "max_budget");
    if (rc == 0 && json_is_number(max) && json_number_value(max) <= 0)
        rc = err_set(err, ERR_INVALID, "max_budget: must be more than 0; to stop a key, block it");
    if (rc == 0)
        rc = litellm_native_budget(body, 0, &budget, err);
    if (rc == 0 && budget != NULL) {
        if (json_object_get(budget, "period") == NULL)
            json_object_set_new(budget, "period", json_string("total"));
        json_object_set_new(native, "budgets", json_pack("[O]", budget));
    }
    if (rc == 0)
        rc = key_create(call, c, native, out, out_text, detail, err);
    if (rc == 0 && json_is_true(json_object_get(body, "blocked")))
        rc = key_block(c, out, true, err);
    json_decref(budget);
    json_decref(native);
    return rc;
}

int litellm_key_generate(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    struct key_row key;
    char text[KEY_TEXT_BYTES] = "";
    json_t *detail = json_object();
    int rc = change_begin(call, c, err);
    if (rc == 0)
        rc = litellm_make_key(call, c, call->body, &key, text, detail, err);
    if (rc == 0)
        rc = finish(call, c, "key.create", &key, text, detail, err);
    explicit_bzero(text, sizeof text);
    json_decref(detail);
    return rc;
}

int litellm_key_update(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    struct key_row key;
    json_t *detail = json_object(), *native = NULL;
    int rc = change_begin(call, c, err);
    if (rc == 0)
        rc = find_named(call, c, KEY_UPDATE, &key, err);
    if (rc == 0)
        rc = translate(call->body, false, &native, err);
    if (rc == 0)
        rc = key_update(call, c, native, &key, detail, err);
    if (rc == 0)
        rc = rest(call, c, call->body, &key, detail, err);
    if (rc == 0)
        rc = finish(call, c, "key.update", &key, NULL, detail, err);
    json_decref(native);
    json_decref(detail);
    return rc;
}

int litellm_key_delete(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    const json_t *list = json_object_get(call->body, "keys");
    char subject[32];
    json_t *deleted = json_array(), *ids = json_array();
    if (!json_is_array(list) || json_array_size(list) == 0 || json_array_size(list) > 100) {
        json_decref(deleted);
        json_decref(ids);
        return err_set(err, ERR_INVALID, "keys: must be a list of 1 to 100 keys");
    }
    int rc = change_begin(call, c, err);
    for (size_t i = 0; i < json_array_size(list) && rc == 0; i++) {
        struct key_row key;
        const char *text = json_string_value(json_array_get(list, i));
        rc = text == NULL ? err_set(err, ERR_INVALID, "keys: must hold texts")
                          : find(call, c, text, KEY_STOP, &key, err);
        if (rc == 0)
            rc = key_delete(c, &key, err);
        if (rc == 0) {
            json_array_append(deleted, json_array_get(list, i));
            json_array_append_new(ids, json_string(key.public_id));
        }
    }
    if (rc == 0)
        rc = publish_put_keys(c, err);
    if (rc == 0)
        rc = publish_put_accounts(c, err);
    const char *first = json_string_value(json_array_get(ids, 0));
    snprintf(subject, sizeof subject, "%.20s", first == NULL ? "" : first);
    json_t *detail = json_pack("{s:o}", "keys", ids);
    json_t *reply = json_pack("{s:o}", "deleted_keys", deleted);
    if (rc == 0)
        rc = change_end(call, c, "key.delete", subject, detail, reply, err);
    else
        json_decref(reply);
    json_decref(detail);
    return rc;
}

int litellm_key_info(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    static const char *const known[] = {"key", NULL};
    struct key_row key;
    char text[256];
    json_t *info = NULL;
    int rc = litellm_check_query(call, known, err);
    if (rc == 0 && !call_query(call, "key", text, sizeof text, &rc))
        return err_set(err, ERR_INVALID, "key: is missing");
    if (rc == 0)
        rc = find(call, c, text, KEY_SHOW, &key, err);
    if (rc == 0)
        rc = litellm_key_json(c, &key, NULL, &info, err);
    if (rc != 0)
        return rc;
    json_t *reply = json_pack("{s:O, s:o}", "key", json_object_get(info, "token"), "info", info);
    rc = write_json(call, reply);
    json_decref(reply);
    return rc;
}

int litellm_key_list(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    static const char *const known[] = {"page", "size", "team_id", "user_id", "return_full_object",
                                        NULL};
    char page_text[16], size_text[16], team[128], user[128], full[8];
    uint64_t page = 1, size = 10;
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    int rc = litellm_check_query(call, known, err);
    if (rc != 0)
        return rc;
    bool has_page = call_query(call, "page", page_text, sizeof page_text, &rc);
    bool has_size = call_query(call, "size", size_text, sizeof size_text, &rc);
    bool has_team = call_query(call, "team_id", team, sizeof team, &rc);
    bool has_user = call_query(call, "user_id", user, sizeof user, &rc);
    bool is_full = call_query(call, "return_full_object", full, sizeof full, &rc) &&
                   (strcmp(full, "true") == 0 || strcmp(full, "True") == 0);
    if (rc != 0 ||
        (has_page && (str_parse_u64(str_from(page_text), 1000000, &page) != 0 || page == 0)) ||
        (has_size && (str_parse_u64(str_from(size_text), 100, &size) != 0 || size == 0)))
        return err_set(err, ERR_INVALID, "page: from 1; size: 1 to 100");
    pq_params_text(&p, has_team ? str_from(team) : STR_NULL);
    pq_params_text(&p, has_user ? str_from(user) : STR_NULL);
    rights_params(call, &p);
    pq_params_i64(&p, (int64_t)size);
    pq_params_i64(&p, (int64_t)((page - 1) * size));
    rc = pq_conn_query(
        c,
        "SELECT k.id, encode(k.sha256, 'hex'), count(*) OVER () FROM api_key k WHERE k.removed IS "
        "NULL AND ($1::text IS NULL OR k.team_id = (SELECT id FROM account WHERE kind = 'team' AND "
        "name = $1 AND removed IS NULL)) AND ($2::text IS NULL OR k.user_id = (SELECT id FROM "
        "account WHERE kind = 'user' AND name = $2 AND removed IS NULL)) AND " RIGHTS_SQL(3, 4,
                                                                                          5) //
        " ORDER BY k.created, k.public_id LIMIT $6 OFFSET $7",
        &p, &r, err);
    if (rc != 0)
        return rc;
    json_t *keys = json_array();
    int64_t total = pq_result_rows(r) > 0 ? pq_result_i64(r, 0, 2) : 0;
    for (int i = 0; i < pq_result_rows(r) && rc == 0; i++) {
        struct key_row key = {.id = pq_result_i64(r, i, 0)};
        json_t *item = json_string(pq_result_text(r, i, 1).data);
        if (is_full) {
            json_decref(item);
            item = NULL;
            rc = litellm_key_json(c, &key, NULL, &item, err);
        }
        if (rc == 0)
            json_array_append_new(keys, item);
    }
    pq_result_destroy(r);
    json_t *reply = json_pack("{s:o, s:I, s:I, s:I}", "keys", keys, "total_count",
                              (json_int_t)total, "current_page", (json_int_t)page, "total_pages",
                              (json_int_t)((total + (int64_t)size - 1) / (int64_t)size));
    if (rc == 0)
        rc = write_json(call, reply);
    json_decref(reply);
    return rc;
}

static int set_blocked(struct admin_call *call, struct pq_conn *c, bool blocked, struct err *err)
{
    struct key_row key;
    int rc = change_begin(call, c, err);
    if (rc == 0)
        rc = find_named(call, c, blocked ? KEY_STOP : KEY_ENABLE, &key, err);
    if (rc == 0)
        rc = key_block(c, &key, blocked, err);
    if (rc == 0 && !blocked)
        rc = rights_check(call, c, key.id, err);
    return rc == 0 ? finish(call, c, blocked ? "key.disable" : "key.enable", &key, NULL, NULL, err)
                   : rc;
}

int litellm_key_block(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    return set_blocked(call, c, true, err);
}

int litellm_key_unblock(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    return set_blocked(call, c, false, err);
}

/* Their old key stops at once unless grace_period says otherwise. */
int litellm_key_regenerate(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    struct key_row key;
    char text[KEY_TEXT_BYTES] = "";
    const char *grace;
    uint64_t overlap_ms = 0;
    int rc = call_text(call->body, "grace_period", false, 20, &grace, err);
    if (rc == 0 && grace != NULL &&
        (str_parse_duration_ms(str_from(grace), &overlap_ms) != 0 ||
         overlap_ms > 90ULL * 86400000ULL))
        rc = err_set(err, ERR_INVALID, "grace_period: a time like 24h, at most 90d");
    if (rc == 0)
        rc = change_begin(call, c, err);
    if (rc == 0)
        rc = find_named(call, c, KEY_ROTATE, &key, err);
    if (rc == 0)
        rc = key_rotate(call, c, &key, overlap_ms, text, err);
    if (rc == 0)
        rc = finish(call, c, "key.rotate", &key, text, NULL, err);
    explicit_bzero(text, sizeof text);
    return rc;
}
