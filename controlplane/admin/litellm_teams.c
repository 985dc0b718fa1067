/* /team/..., /user/... and /budget/... */
#include <stdio.h>
#include <string.h>

#include "controlplane/admin/litellm.h"

static const char *const meaningless[] = {
    "models",     "members_with_roles", "members", "admins",           "model_aliases",
    "guardrails", "permissions",        "teams",   "model_max_budget", NULL};
static const char *const user_roles[] = {"internal_user", "internal_user_viewer", NULL};

static const char *text_of(const json_t *body, const char *field)
{
    return json_string_value(json_object_get(body, field));
}

/* A team or user of their body: rates, block, metadata with what only they know (alias, e-mail). */
static int translate(const json_t *body, const char *const *kept, json_t **out, struct err *err)
{
    int rc = litellm_refuse(body, meaningless, err);
    const json_t *metadata = json_object_get(body, "metadata");
    if (rc == 0 && metadata != NULL && !json_is_null(metadata) && !json_is_object(metadata))
        rc = err_set(err, ERR_INVALID, "metadata: must be an object");
    if (rc != 0)
        return rc;
    json_t *native = json_object();
    litellm_copy(body, "organization_id", native, "org");
    litellm_copy(body, "tpm_limit", native, "tpm");
    litellm_copy(body, "rpm_limit", native, "rpm");
    litellm_copy(body, "max_parallel_requests", native, "concurrency");
    litellm_copy(body, "blocked", native, "disabled");
    json_t *all = json_is_object(metadata) ? json_deep_copy(metadata) : json_object();
    bool any = metadata != NULL;
    for (size_t i = 0; kept[i] != NULL; i++) {
        const char *text = text_of(body, kept[i]);
        if (text != NULL && json_object_get(all, kept[i]) == NULL) {
            json_object_set_new(all, kept[i], json_string(text));
            any = true;
        }
    }
    if (any)
        json_object_set(native, "metadata", all);
    json_decref(all);
    *out = native;
    return 0;
}

static int account_reply(struct pq_conn *c, const char *kind, int64_t id, json_t **out_json,
                         struct err *err)
{
    struct pq_params p = {0};
    json_t *out = NULL;
    pq_params_i64(&p, id);
    int rc = query_json(
        c,
        strcmp(kind, "team") == 0
            ? "SELECT json_build_object('team_id', a.name, 'team_alias', coalesce("
              "a.metadata::json ->> 'team_alias', a.name), 'organization_id', (SELECT o.name FROM "
              "account o WHERE o.id = a.parent), 'tpm_limit', a.tpm, 'rpm_limit', a.rpm, "
              "'max_parallel_requests', a.concurrency, 'blocked', a.disabled, 'models', "
              "'[]'::json, "
              "'members_with_roles', coalesce(a.metadata::json -> 'members_with_roles', '[]'), "
              "'metadata', a.metadata::json, 'created_at', " SQL_TIME(
                  "a.created") ") FROM account a WHERE id = $1"
            : "SELECT json_build_object('user_id', a.name, 'user_alias', a.metadata::json ->> "
              "'user_alias', 'user_email', a.metadata::json ->> 'user_email', 'tpm_limit', a.tpm, "
              "'rpm_limit', a.rpm, 'max_parallel_requests', a.concurrency, 'blocked', a.disabled, "
              "'models', '[]'::json, 'metadata', a.metadata::json, 'created_at', " SQL_TIME(
                  "a.created") ") FROM account a WHERE id = $1",
        &p, &out, err);
    if (rc == 0)
        rc = litellm_add_budget(c, id, out, err);
    if (rc == 0)
        *out_json = out;
    else
        json_decref(out);
    return rc;
}

static int publish(struct pq_conn *c, struct err *err)
{
    int rc = publish_put_keys(c, err);
    return rc == 0 ? publish_put_accounts(c, err) : rc;
}

/* name NULL: a new one of new_name. */
static int put(struct admin_call *call, struct pq_conn *c, const char *kind, const char *name,
               const char *new_name, const char *const *kept, json_t *detail, int64_t *out_id,
               struct err *err)
{
    json_t *native = NULL;
    int rc = translate(call->body, kept, &native, err);
    if (rc == 0 && name == NULL)
        json_object_set_new(native, "name", json_string(new_name));
    if (rc == 0)
        rc = account_put(call, c, kind, name, native, detail, out_id, err);
    if (rc == 0)
        rc = litellm_budget(call, c, call->body, *out_id, detail, err);
    json_decref(native);
    return rc;
}

static int put_and_end(struct admin_call *call, struct pq_conn *c, const char *kind,
                       const char *name, const char *new_name, const char *const *kept,
                       struct err *err)
{
    char action[32];
    json_t *detail = json_object(), *reply = NULL;
    int64_t id;
    int rc = change_begin(call, c, err);
    if (rc == 0)
        rc = put(call, c, kind, name, new_name, kept, detail, &id, err);
    if (rc == 0)
        rc = publish(c, err);
    if (rc == 0)
        rc = account_reply(c, kind, id, &reply, err);
    snprintf(action, sizeof action, "%s.%s", kind, name == NULL ? "create" : "update");
    if (rc == 0)
        rc = change_end(call, c, action, name == NULL ? new_name : name, detail, reply, err);
    json_decref(detail);
    return rc;
}

/* --- teams --------------------------------------------------------------------------------------
 */

static const char *const team_kept[] = {"team_alias", NULL};

int litellm_team_new(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    const char *name = text_of(call->body, "team_id");
    if (name == NULL)
        name = text_of(call->body, "team_alias");
    if (name == NULL)
        return err_set(err, ERR_INVALID, "team_alias: is missing");
    return put_and_end(call, c, "team", NULL, name, team_kept, err);
}

int litellm_team_update(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    const char *name;
    int rc = call_text(call->body, "team_id", true, 127, &name, err);
    return rc == 0 ? put_and_end(call, c, "team", name, NULL, team_kept, err) : rc;
}

static int named_in_query(struct admin_call *call, struct pq_conn *c, const char *kind,
                          const char *field, int64_t *out_id, struct err *err)
{
    const char *const known[] = {field, NULL};
    char name[128];
    int rc = litellm_check_query(call, known, err);
    if (rc == 0 && !call_query(call, field, name, sizeof name, &rc))
        return err_set(err, ERR_INVALID, "%s: is missing", field);
    return rc == 0 ? account_find_kind(call, c, kind, name, false, out_id, err) : rc;
}

/* The keys of an account, in their words. */
static int keys_of(struct pq_conn *c, int64_t id, json_t **out_keys, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_i64(&p, id);
    int rc = pq_conn_query(c,
                           "SELECT id FROM api_key WHERE removed IS NULL AND $1 IN (team_id, "
                           "user_id) ORDER BY created, public_id LIMIT 1000",
                           &p, &r, err);
    json_t *keys = json_array();
    for (int i = 0; rc == 0 && i < pq_result_rows(r); i++) {
        struct key_row key = {.id = pq_result_i64(r, i, 0)};
        json_t *one = NULL;
        rc = litellm_key_json(c, &key, NULL, &one, err);
        if (rc == 0)
            json_array_append_new(keys, one);
    }
    pq_result_destroy(r);
    if (rc == 0)
        *out_keys = keys;
    else
        json_decref(keys);
    return rc;
}

static int info(struct admin_call *call, struct pq_conn *c, const char *kind, const char *field,
                const char *member, struct err *err)
{
    json_t *account = NULL, *keys = NULL;
    int64_t id;
    int rc = named_in_query(call, c, kind, field, &id, err);
    if (rc == 0)
        rc = account_reply(c, kind, id, &account, err);
    if (rc == 0)
        rc = keys_of(c, id, &keys, err);
    if (rc == 0) {
        json_t *reply = json_pack("{s:O, s:O, s:O}", field, json_object_get(account, field), member,
                                  account, "keys", keys);
        rc = reply == NULL ? ERR_NOMEM : write_json(call, reply);
        json_decref(reply);
    }
    json_decref(account);
    json_decref(keys);
    return rc;
}

int litellm_team_info(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    return info(call, c, "team", "team_id", "team_info", err);
}

int litellm_team_list(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    static const char *const known[] = {NULL};
    struct pq_result *r = NULL;
    int rc = litellm_check_query(call, known, err);
    if (rc == 0)
        rc = pq_conn_query(c,
                           "SELECT id FROM account WHERE kind = 'team' AND removed IS NULL ORDER "
                           "BY name LIMIT 10000",
                           NULL, &r, err);
    if (rc != 0)
        return rc;
    json_t *list = json_array();
    for (int i = 0; rc == 0 && i < pq_result_rows(r); i++) {
        json_t *one = NULL;
        rc = account_reply(c, "team", pq_result_i64(r, i, 0), &one, err);
        if (rc == 0)
            json_array_append_new(list, one);
    }
    pq_result_destroy(r);
    if (rc == 0)
        rc = write_json(call, list);
    json_decref(list);
    return rc;
}

/* A member is known by name and listed; rights it has none here, so "admin" would be a promise that
 * nothing keeps. */
static int add_member(struct admin_call *call, struct pq_conn *c, int64_t team,
                      const json_t *member, struct err *err)
{
    static const char *const known[] = {"user_id", "role", NULL};
    const char *user = text_of(member, "user_id"), *role = text_of(member, "role");
    struct pq_params p = {0};
    int64_t id;
    int rc = json_is_object(member)
                 ? call_check_fields(member, known, err)
                 : err_set(err, ERR_INVALID, "member: must be an object or a list of them");
    if (rc == 0 && (user == NULL || role == NULL || strcmp(role, "user") != 0))
        rc = err_set(err, ERR_INVALID,
                     "member: needs user_id, and role \"user\"; who shall manage a team gets a key "
                     "with the role operator in it");
    if (rc == 0)
        rc = account_find_kind(call, c, "user", user, true, &id, err);
    if (rc != 0)
        return rc;
    pq_params_i64(&p, team);
    pq_params_text(&p, str_from(user));
    return pq_conn_query(
        c,
        "UPDATE account SET metadata = jsonb_set(metadata::jsonb, '{members_with_roles}', "
        "coalesce(metadata::jsonb -> 'members_with_roles', '[]') || "
        "jsonb_build_object('user_id', $2::text, 'role', 'user'))::text WHERE id = $1 AND NOT "
        "coalesce(metadata::jsonb -> 'members_with_roles', '[]') @> "
        "jsonb_build_array(jsonb_build_object('user_id', $2::text))",
        &p, NULL, err);
}

int litellm_team_member_add(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    static const char *const refused[] = {"max_budget_in_team", NULL};
    const json_t *member = json_object_get(call->body, "member");
    const char *team;
    json_t *reply = NULL;
    int64_t id;
    int rc = litellm_refuse(call->body, refused, err);
    if (rc == 0)
        rc = call_text(call->body, "team_id", true, 127, &team, err);
    if (rc == 0)
        rc = change_begin(call, c, err);
    if (rc == 0)
        rc = account_find_kind(call, c, "team", team, false, &id, err);
    if (rc == 0 && json_is_array(member)) {
        for (size_t i = 0; rc == 0 && i < json_array_size(member); i++)
            rc = add_member(call, c, id, json_array_get(member, i), err);
    } else if (rc == 0) {
        rc = add_member(call, c, id, member, err);
    }
    if (rc == 0)
        rc = account_reply(c, "team", id, &reply, err);
    return rc == 0 ? change_end(call, c, "team.member_add", team, member, reply, err) : rc;
}

/* --- users --------------------------------------------------------------------------------------
 */

static const char *const user_kept[] = {"user_alias", "user_email", NULL};

static int check_user_role(const json_t *body, struct err *err)
{
    const char *role = text_of(body, "user_role");
    for (size_t i = 0; role != NULL && user_roles[i] != NULL; i++) {
        if (strcmp(role, user_roles[i]) == 0)
            return 0;
    }
    return role == NULL && json_object_get(body, "user_role") == NULL
               ? 0
               : err_set(err, ERR_INVALID,
                         "user_role: users have no rights here; who shall manage keys gets a key "
                         "with a role");
}

/* As theirs, with a key at once, unless auto_create_key is false. */
int litellm_user_new(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    struct key_row key = {0};
    char text[KEY_TEXT_BYTES] = "";
    const char *name;
    json_t *detail = json_object(), *reply = NULL, *key_body = json_object();
    int64_t id;
    bool with_key = !json_is_false(json_object_get(call->body, "auto_create_key"));
    int rc = call_text(call->body, "user_id", true, 127, &name, err);
    if (rc == 0)
        rc = check_user_role(call->body, err);
    if (rc == 0)
        rc = change_begin(call, c, err);
    if (rc == 0)
        rc = put(call, c, "user", NULL, name, user_kept, detail, &id, err);
    if (rc == 0 && with_key) {
        json_object_set_new(key_body, "user_id", json_string(name));
        litellm_copy(call->body, "key_alias", key_body, "key_alias");
        litellm_copy(call->body, "duration", key_body, "duration");
        rc = litellm_make_key(call, c, key_body, &key, text, detail, err);
    }
    if (rc == 0)
        rc = publish(c, err);
    if (rc == 0)
        rc = account_reply(c, "user", id, &reply, err);
    if (rc == 0 && with_key)
        json_object_set_new(reply, "key", json_string(text));
    if (rc == 0)
        rc = change_end(call, c, "user.create", name, detail, reply, err);
    explicit_bzero(text, sizeof text);
    json_decref(key_body);
    json_decref(detail);
    return rc;
}

int litellm_user_update(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    const char *name;
    int rc = call_text(call->body, "user_id", true, 127, &name, err);
    if (rc == 0)
        rc = check_user_role(call->body, err);
    return rc == 0 ? put_and_end(call, c, "user", name, NULL, user_kept, err) : rc;
}

int litellm_user_info(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    return info(call, c, "user", "user_id", "user_info", err);
}

/* --- budgets ------------------------------------------------------------------------------------
 */

static int budget_reply(struct pq_conn *c, const char *name, int64_t account, json_t **out,
                        struct err *err)
{
    json_t *reply = json_pack("{s:s}", "budget_id", name);
    int rc = reply == NULL ? ERR_NOMEM : litellm_add_budget(c, account, reply, err);
    if (rc == 0)
        *out = reply;
    else
        json_decref(reply);
    return rc;
}

/* Theirs are templates that users are hung under; ours belong to an account, which is the id. */
int litellm_budget_set(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    static const char *const refused[] = {"model_max_budget", "tpm_limit", "rpm_limit",
                                          "max_parallel_requests", NULL};
    const char *name;
    json_t *detail = json_object(), *reply = NULL;
    int64_t id;
    int rc = litellm_refuse(call->body, refused, err);
    if (rc == 0)
        rc = call_text(call->body, "budget_id", true, 200, &name, err);
    if (rc == 0)
        rc = change_begin(call, c, err);
    if (rc == 0) {
        rc = account_find(call, c, name, true, &id, err);
        if (rc == ERR_INVALID)
            rc =
                err_set(err, rc, "budget_id: name the account it is for, like team:web or user:u1");
    }
    if (rc == 0)
        rc = litellm_budget(call, c, call->body, id, detail, err);
    if (rc == 0)
        rc = publish_put_accounts(c, err);
    if (rc == 0)
        rc = budget_reply(c, name, id, &reply, err);
    if (rc == 0)
        rc = change_end(call, c, "budget.set", name, detail, reply, err);
    json_decref(detail);
    return rc;
}

int litellm_budget_info(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    const json_t *names = json_object_get(call->body, "budgets");
    json_t *list = json_array();
    int rc = json_is_array(names) && json_array_size(names) <= 100
                 ? 0
                 : err_set(err, ERR_INVALID, "budgets: must be a list of at most 100 ids");
    for (size_t i = 0; rc == 0 && i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        json_t *one = NULL;
        int64_t id;
        rc = name == NULL ? err_set(err, ERR_INVALID, "budgets: must hold texts")
                          : account_find(call, c, name, false, &id, err);
        if (rc == 0)
            rc = budget_reply(c, name, id, &one, err);
        if (rc == 0)
            json_array_append_new(list, one);
    }
    if (rc == 0)
        rc = write_json(call, list);
    json_decref(list);
    return rc;
}

int litellm_budget_list(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    static const char *const known[] = {NULL};
    struct pq_result *r = NULL;
    int rc = litellm_check_query(call, known, err);
    if (rc == 0)
        rc = pq_conn_query(c,
                           "SELECT DISTINCT a.kind || ':' || a.name, a.id FROM budget b JOIN "
                           "account a ON a.id = b.account_id WHERE b.removed IS NULL ORDER BY 1 "
                           "LIMIT 10000",
                           NULL, &r, err);
    if (rc != 0)
        return rc;
    json_t *list = json_array();
    for (int i = 0; rc == 0 && i < pq_result_rows(r); i++) {
        json_t *one = NULL;
        rc = budget_reply(c, pq_result_text(r, i, 0).data, pq_result_i64(r, i, 1), &one, err);
        if (rc == 0)
            json_array_append_new(list, one);
    }
    pq_result_destroy(r);
    if (rc == 0)
        rc = write_json(call, list);
    json_decref(list);
    return rc;
}
