/* Keys as they are found and shown. */
#include <string.h>

#include "controlplane/admin/accounts.h"

int key_find(struct admin_call *call, struct pq_conn *c, const char *public_id,
             enum key_action action, struct key_row *out, struct err *err)
{
    const struct admin_caller *who = &call->caller;
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_text(&p, str_from(public_id));
    rights_params(call, &p);
    int rc = pq_conn_query(c,
                           "SELECT k.id, k.maker, k.role IS NOT NULL, k.source = 'config', "
                           "k.removed IS NOT NULL, EXISTS (SELECT FROM budget b WHERE "
                           "b.account_id = k.id AND b.removed IS NULL) FROM api_key k WHERE "
                           "k.public_id = $1 AND " RIGHTS_SQL(2, 3, 4),
                           &p, &r, err);
    if (rc != 0)
        return rc;
    memset(out, 0, sizeof *out);
    if (pq_result_rows(r) == 0) {
        rc = err_set(err, ERR_NOT_FOUND, "there is no key %s", public_id);
        goto out;
    }
    out->id = pq_result_i64(r, 0, 0);
    out->is_mine = who->id != 0 && pq_result_i64(r, 0, 1) == who->id;
    out->has_role = pq_result_bool(r, 0, 2);
    out->from_file = pq_result_bool(r, 0, 3);
    out->has_budget = pq_result_bool(r, 0, 5);
    (void)str_copy(str_from(public_id), out->public_id, sizeof out->public_id);
    if (action == KEY_SHOW)
        goto out;
    bool is_self = who->id == out->id, is_admin = who->role == ROLE_ADMIN;
    bool makes = action == KEY_UPDATE || action == KEY_ROTATE;
    if (pq_result_bool(r, 0, 4))
        rc = err_set(err, ERR_CONFLICT, "key %s was deleted", public_id);
    else if (is_self && action != KEY_ROTATE && action != KEY_STOP)
        rc = err_set(err, ERR_DENIED, "a credential cannot change itself");
    else if (!is_admin && out->has_role && !out->is_mine && !is_self)
        rc = err_set(err, ERR_DENIED, "only its maker or an admin may change a credential");
    else if (!is_admin && action == KEY_UPDATE && !out->is_mine)
        rc = err_set(err, ERR_DENIED, "only its maker or an admin may change what a key may do");
    else if (out->from_file && makes)
        rc = err_set(err, ERR_CONFLICT, "key %s is in the configuration file: change it there",
                     public_id);
out:
    pq_result_destroy(r);
    return rc;
}

/* A member a line. */
/* clang-format off */
#define NAME_OF(column) "(SELECT a.name FROM account a WHERE a.id = k." column ")"
#define KEY_JSON                                                                                   \
    "json_build_object('id', k.public_id, 'name', k.name, 'routes', k.routes, 'models', "          \
    "k.models, 'endpoints', k.endpoints, 'disabled', k.disabled, "                                 \
    "'deleted', k.removed IS NOT NULL, "                                                           \
    "'created', " SQL_TIME("k.created") ", "                                                       \
    "'expires', " SQL_TIME("k.expires") ", "                                                       \
    "'last_used', (SELECT " SQL_TIME("max(last_ts)") " FROM usage_hour u WHERE u.key_id = k.id), " \
    "'source', k.source, "                                                                         \
    "'team', " NAME_OF("team_id") ", "                                                             \
    "'org', " NAME_OF("org_id") ", "                                                               \
    "'user', " NAME_OF("user_id") ", "                                                             \
    "'tags', k.tags, 'rpm', k.rpm, 'tpm', k.tpm, 'concurrency', k.concurrency, "                   \
    "'max_cost_usd', " SQL_USD("k.max_cost_nano") ", "                                             \
    "'no_explore', k.no_explore, 'may_no_log', k.may_no_log, 'role', k.role, "                     \
    "'require_regions', k.require_regions, "                                                       \
    "'data_collection', k.data_collection, 'zdr', k.zdr, "                                         \
    "'created_by', k.created_by, "                                                                 \
    "'rotated', " SQL_TIME("k.rotated") ", "                                                       \
    "'old_secret_until', CASE WHEN k.prev_until > now() THEN " SQL_TIME("k.prev_until") " END, "   \
    "'metadata', k.metadata::json, "                                                               \
    "'budgets', (SELECT coalesce(json_agg(json_build_object('id', b.id, "                          \
        "'limit_usd', " SQL_USD("b.limit_nano") ", 'period', b.period) ORDER BY b.id), '[]') "     \
        "FROM budget b WHERE b.account_id = k.id AND b.removed IS NULL))"
/* clang-format on */

int key_json(struct pq_conn *c, int64_t id, json_t **out_json, struct err *err)
{
    struct pq_params p = {0};
    pq_params_i64(&p, id);
    return query_json(c, "SELECT " KEY_JSON " FROM api_key k WHERE id = $1", &p, out_json, err);
}

int keys_list(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    int64_t limit, team_id = 0;
    int rc = call_limit(call, &limit, err);
    char cursor[CALL_PARAM_BYTES] = "", deleted[8] = "", team[128] = "";
    struct pq_params p = {0};
    if (rc != 0)
        return rc;
    bool has_cursor = call_query(call, "cursor", cursor, sizeof cursor, &rc);
    bool with_deleted = call_query(call, "deleted", deleted, sizeof deleted, &rc);
    bool of_team = call_query(call, "team", team, sizeof team, &rc);
    if (rc != 0 || (with_deleted && strcmp(deleted, "true") != 0))
        return err_set(err, ERR_INVALID, "cursor, deleted or team: not one of ours");
    if (of_team)
        rc = account_find_kind(call, c, "team", team, false, &team_id, err);
    if (rc != 0)
        return rc;
    pq_params_text(&p, has_cursor ? str_from(cursor) : STR_NULL);
    pq_params_i64(&p, limit);
    rights_params(call, &p);
    pq_params_bool(&p, with_deleted);
    pq_params_i64(&p, team_id);
    return query_page(
        call, c,
        "SELECT " KEY_JSON ", k.public_id FROM api_key k WHERE ($1::text IS NULL OR "
        "(k.created, k.public_id) > (SELECT created, public_id FROM api_key WHERE "
        "public_id = $1)) AND " RIGHTS_SQL(
            3, 4,
            5) " AND (k.removed IS NULL OR $6) "
               "AND ($7::bigint = 0 OR k.team_id = $7) ORDER BY k.created, k.public_id LIMIT $2",
        &p, limit, err);
}
