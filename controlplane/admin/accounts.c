/* Teams, organisations, users and tags: one handler for each thing done to them; the kind is in the
 * path. Those of keys come with the keys, those of models with their first budget. */
#include <stdio.h>
#include <string.h>

#include "common/base/rand.h"
#include "controlplane/admin/accounts.h"

static const char *const kinds[] = {"org", "team", "key", "user", "tag", "model", NULL};

bool account_name_ok(const char *name)
{
    size_t len = strlen(name);
    for (const char *c = name; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return false;
    }
    return len > 0 && len <= 127 && str_valid_utf8(str_from(name));
}

/* "/teams/{name}/update" -> "team". */
static const char *kind_of(const struct admin_call *call)
{
    const char *word = call->route->pattern + 1;
    for (size_t i = 0; kinds[i] != NULL; i++) {
        if (strncmp(word, kinds[i], strlen(kinds[i])) == 0)
            return kinds[i];
    }
    return "team";
}

static int insert_account(struct admin_call *call, struct pq_conn *c, const char *kind,
                          const char *name, int64_t *out_id, struct err *err)
{
    struct pq_params p = {0};
    uint64_t id;
    int rc = rand_secure(&id, sizeof id);
    if (rc != 0)
        return err_set(err, rc, "no randomness");
    id = id >> 1 | 1;
    pq_params_i64(&p, (int64_t)id);
    pq_params_text(&p, str_from(kind));
    pq_params_text(&p, str_from(name));
    pq_params_text(&p, str_from(call->caller.name));
    rc =
        pq_conn_query(c, "INSERT INTO account (id, kind, name, created_by) VALUES ($1, $2, $3, $4)",
                      &p, NULL, err);
    if (rc == ERR_EXISTS)
        rc = err_set(err, ERR_EXISTS, "there is a %s \"%.100s\" already", kind, name);
    if (rc == 0)
        *out_id = (int64_t)id;
    return rc;
}

int account_find_kind(struct admin_call *call, struct pq_conn *c, const char *kind,
                      const char *name, bool create, int64_t *out_id, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    if (!account_name_ok(name))
        return err_set(err, ERR_INVALID, "the name of a %s is 1 to 127 printable bytes", kind);
    pq_params_text(&p, str_from(kind));
    pq_params_text(&p, str_from(name));
    int rc = pq_conn_query(
        c, "SELECT id FROM account WHERE kind = $1 AND name = $2 AND removed IS NULL", &p, &r, err);
    if (rc != 0)
        return rc;
    bool found = pq_result_rows(r) > 0;
    if (found)
        *out_id = pq_result_i64(r, 0, 0);
    pq_result_destroy(r);
    if (found)
        return 0;
    if (create)
        return insert_account(call, c, kind, name, out_id, err);
    return err_set(err, ERR_NOT_FOUND, "there is no %s \"%.100s\"", kind, name);
}

int account_find(struct admin_call *call, struct pq_conn *c, const char *text, bool create,
                 int64_t *out_id, struct err *err)
{
    struct str kind, name;
    if (str_cut(str_from(text), ':', &kind, &name)) {
        for (size_t i = 0; kinds[i] != NULL; i++) {
            if (!str_is(kind, kinds[i]))
                continue;
            bool can = strcmp(kinds[i], "user") == 0 || strcmp(kinds[i], "tag") == 0 ||
                       strcmp(kinds[i], "model") == 0;
            return account_find_kind(call, c, kinds[i], name.data, create && can, out_id, err);
        }
    }
    return err_set(err, ERR_INVALID,
                   "an account is named like team:web, org:acme, key:ID, user:u1, tag:batch or "
                   "model:gpt-5.4-mini");
}

#define ACCOUNT_COLUMNS "parent, rpm, tpm, concurrency, disabled, metadata"

int account_put(struct admin_call *call, struct pq_conn *c, const char *kind, const char *name,
                const json_t *body, json_t *detail, int64_t *out_id, struct err *err)
{
    struct spec s;
    struct pq_params p = {0};
    const char *org = NULL;
    int64_t org_id;
    int rc = 0;
    spec_init(&s, body, err);
    if (name == NULL) {
        s.status = call_text(body, "name", true, 127, &name, err);
        if (s.status == 0)
            s.status = insert_account(call, c, kind, name, out_id, err);
    } else if (s.status == 0) {
        s.status = account_find_kind(call, c, kind, name, false, out_id, err);
    }
    if (s.status == 0 && json_is_null(json_object_get(body, "org")))
        spec_set(&s, "parent", json_null());
    else if (s.status == 0)
        s.status = call_text(body, "org", false, 127, &org, err);
    if (s.status == 0 && org != NULL) {
        rc = account_find_kind(call, c, "org", org, false, &org_id, err);
        s.status = rc == ERR_NOT_FOUND ? ERR_INVALID : rc;
        if (rc == 0)
            spec_set(&s, "parent", json_integer(org_id));
    }
    spec_count(&s, "rpm", "rpm", 1, 1000000000);
    spec_count(&s, "tpm", "tpm", 1, 1000000000000);
    spec_count(&s, "concurrency", "concurrency", 1, 1000000);
    spec_bool(&s, "disabled", "disabled");
    spec_object(&s, "metadata", "metadata");
    rc = s.status;
    if (rc == 0) {
        pq_params_i64(&p, *out_id);
        rc = spec_param(&s, &p);
        if (rc == 0)
            rc = pq_conn_query(c,
                               "UPDATE account a SET (" ACCOUNT_COLUMNS ") = (SELECT " //
                               ACCOUNT_COLUMNS
                               " FROM jsonb_populate_record(a, $2::jsonb)) WHERE id = $1",
                               &p, NULL, err);
        else
            pq_params_deinit(&p);
    }
    if (rc == 0 && spec_has(&s, "org"))
        rc = budget_check_paths(c, *out_id, err);
    if (rc == 0)
        rc = json_object_update(detail, s.columns) != 0 ? ERR_NOMEM : 0;
    spec_deinit(&s);
    return rc;
}

/* A member a line. */
/* clang-format off */
#define ACCOUNT_JSON                                                                               \
    "json_build_object('name', a.name, 'kind', a.kind, "                                           \
    "'org', (SELECT o.name FROM account o WHERE o.id = a.parent), "                                \
    "'rpm', a.rpm, 'tpm', a.tpm, 'concurrency', a.concurrency, "                                   \
    "'disabled', a.disabled, 'metadata', a.metadata::json, "                                       \
    "'created', " SQL_TIME("a.created") ", 'created_by', a.created_by, "                           \
    "'keys', (SELECT count(*) FROM api_key k WHERE k.removed IS NULL "                             \
        "AND (k.team_id = a.id OR k.org_id = a.id OR k.user_id = a.id)), "                         \
    "'budgets', (SELECT coalesce(json_agg(json_build_object('id', b.id, "                          \
        "'limit_usd', " SQL_USD("b.limit_nano") ", 'period', b.period) ORDER BY b.id), '[]') "     \
        "FROM budget b WHERE b.account_id = a.id AND b.removed IS NULL))"
/* clang-format on */

/* Its own accounts, and of an org that it is bound to as a whole, the teams. */
#define SEEN(o, t, u)                                                                              \
    "(($" #o "::bigint = 0 AND $" #t "::bigint = 0 AND $" #u "::bigint = 0) OR a.id IN ($" #o      \
    ", $" #t ", $" #u ") OR ($" #t " = 0 AND $" #u " = 0 AND a.parent = $" #o "))"

int account_json(struct pq_conn *c, int64_t id, json_t **out_json, struct err *err)
{
    struct pq_params p = {0};
    pq_params_i64(&p, id);
    return query_json(c, "SELECT " ACCOUNT_JSON " FROM account a WHERE id = $1", &p, out_json, err);
}

int accounts_list(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    char cursor[CALL_PARAM_BYTES];
    struct pq_params p = {0};
    int64_t limit;
    int rc = call_limit(call, &limit, err);
    if (rc != 0)
        return rc;
    bool has_cursor = call_query(call, "cursor", cursor, sizeof cursor, &rc);
    if (rc != 0)
        return err_set(err, ERR_INVALID, "cursor: not one of ours");
    pq_params_text(&p, str_from(kind_of(call)));
    pq_params_text(&p, has_cursor ? str_from(cursor) : STR_NULL);
    pq_params_i64(&p, limit);
    rights_params(call, &p);
    return query_page(
        call, c,
        "SELECT " ACCOUNT_JSON ", a.name FROM account a WHERE a.kind = $1 AND "
        "a.removed IS NULL AND ($2::text IS NULL OR a.name > $2) AND " SEEN(4, 5, 6) //
        " ORDER BY a.name LIMIT $3",
        &p, limit, err);
}

int accounts_show(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    struct pq_params p = {0};
    json_t *json = NULL;
    pq_params_text(&p, str_from(kind_of(call)));
    pq_params_text(&p, str_from(call->param[0]));
    rights_params(call, &p);
    int rc = query_json(c,
                        "SELECT " ACCOUNT_JSON " FROM account a WHERE a.kind = $1 AND a.name = $2 "
                        "AND a.removed IS NULL AND " SEEN(3, 4, 5),
                        &p, &json, err);
    if (rc == ERR_NOT_FOUND)
        rc = err_set(err, rc, "there is no %s \"%.100s\"", kind_of(call), call->param[0]);
    if (rc == 0)
        rc = write_json(call, json);
    json_decref(json);
    return rc;
}

/* What the keys of an account may do can have changed with it. */
static int finish(struct admin_call *call, struct pq_conn *c, const char *verb, const char *kind,
                  const char *name, int64_t id, const json_t *detail, struct err *err)
{
    char action[32];
    json_t *reply = NULL;
    int rc = publish_put_keys(c, err);
    if (rc == 0)
        rc = publish_put_accounts(c, err);
    if (rc == 0)
        rc = account_json(c, id, &reply, err);
    snprintf(action, sizeof action, "%s.%s", kind, verb);
    return rc == 0 ? change_end(call, c, action, name, detail, reply, err) : rc;
}

static int put(struct admin_call *call, struct pq_conn *c, const char *name, struct err *err)
{
    json_t *detail = json_object();
    int64_t id;
    int rc = change_begin(call, c, err);
    if (rc == 0)
        rc = account_put(call, c, kind_of(call), name, call->body, detail, &id, err);
    if (rc == 0)
        rc = finish(call, c, name == NULL ? "create" : "update", kind_of(call),
                    name != NULL ? name : json_string_value(json_object_get(call->body, "name")),
                    id, detail, err);
    json_decref(detail);
    return rc;
}

int accounts_create(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    int rc = put(call, c, NULL, err);
    if (rc == 0)
        call->status = change_is_dry(call) ? 200 : 201;
    return rc;
}

int accounts_update(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    return put(call, c, call->param[0], err);
}

int accounts_delete(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    struct pq_params p = {0};
    int64_t id = 0;
    int rc = change_begin(call, c, err);
    if (rc == 0)
        rc = account_find_kind(call, c, kind_of(call), call->param[0], false, &id, err);
    pq_params_i64(&p, id);
    if (rc == 0)
        rc = pq_conn_query(c, "UPDATE account SET removed = now() WHERE id = $1", &p, NULL, err);
    if (rc == ERR_INVALID)
        rc = err_set(err, ERR_CONFLICT, "%s \"%.100s\" still has keys or teams", kind_of(call),
                     call->param[0]);
    pq_params_deinit(&p);
    return rc == 0 ? finish(call, c, "delete", kind_of(call), call->param[0], id, NULL, err) : rc;
}
