/* Budgets as they are shown, and the handlers of /budgets. */
#include <stdio.h>
#include <string.h>

#include "controlplane/admin/accounts.h"

/* A member a line. */
/* clang-format off */
#define BUDGET_JSON                                                                                \
    "json_build_object('id', b.id, 'account', a.kind || ':' || a.name, "                           \
    "'limit_usd', " SQL_USD("b.limit_nano") ", 'period', b.period, 'tz', b.tz, "                   \
    "'anchor', " SQL_TIME("b.anchor") ", 'mode', b.mode, "                                         \
    "'warn_percent', b.warn_permille / 10, 'carry', b.carry, "                                     \
    "'offline_usd', " SQL_USD("b.offline_nano") ", 'webhook', b.webhook, 'cfg', b.cfg, "           \
    "'committed_usd', " SQL_USD("coalesce(s.committed, 0)") ", "                                   \
    "'settled_usd', " SQL_USD("coalesce(s.settled, 0)") ", "                                       \
    "'adjusted_usd', " SQL_USD("coalesce(s.adjust, 0)") ", "                                       \
    "'remaining_usd', " SQL_USD("greatest(b.limit_nano - coalesce(s.committed + s.adjust, 0), 0)") \
    ", 'period_start', " SQL_TIME("now_in.period_start") ", "                                      \
    "'period_end', " SQL_TIME("nullif(now_in.period_end, 'infinity')") ", "                        \
    "'created', " SQL_TIME("b.created") ", 'created_by', b.created_by, "                           \
    "'removed', " SQL_TIME("b.removed") ")"
/* clang-format on */
/* The period that runs now; its row comes with the first node that asks for money of it. */
#define BUDGET_FROM                                                                                \
    " FROM budget b JOIN account a ON a.id = b.account_id CROSS JOIN LATERAL "                     \
    "budget_period_bounds(b.period, b.tz, b.anchor, now()) now_in LEFT JOIN budget_period s ON "   \
    "s.budget_id = b.id AND s.cfg = b.cfg AND s.period_start = now_in.period_start "

int budget_json(struct pq_conn *c, int64_t id, json_t **out_json, struct err *err)
{
    struct pq_params p = {0};
    pq_params_i64(&p, id);
    return query_json(c, "SELECT " BUDGET_JSON BUDGET_FROM "WHERE b.id = $1", &p, out_json, err);
}

/* Its own accounts, and those of the keys it may see. */
#define SEEN(o, t, u)                                                                              \
    "(($" #o "::bigint = 0 AND $" #t "::bigint = 0 AND $" #u "::bigint = 0) OR a.id IN ($" #o      \
    ", $" #t ", $" #u ") OR ($" #t " = 0 AND $" #u " = 0 AND a.parent = $" #o                      \
    ") OR EXISTS (SELECT FROM api_key k WHERE k.id = a.id AND " RIGHTS_SQL(o, t, u) "))"
#define LIST_WHERE                                                                                 \
    "WHERE ($1::bigint IS NULL OR b.id > $1) AND ($2::bigint = 0 OR b.account_id = $2) AND "       \
    "(b.removed IS NULL OR $4) AND " SEEN(5, 6, 7) " ORDER BY b.id LIMIT $3"

int budgets_list(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    char cursor[32], account[200], removed[8];
    struct pq_params p = {0};
    int64_t limit, account_id = 0, after = 0;
    int rc = call_limit(call, &limit, err);
    if (rc != 0)
        return rc;
    bool has_cursor = call_query(call, "cursor", cursor, sizeof cursor, &rc);
    bool has_account = call_query(call, "account", account, sizeof account, &rc);
    bool with_removed = call_query(call, "removed", removed, sizeof removed, &rc);
    if (rc != 0 || (has_cursor && str_parse_i64(str_from(cursor), 1, INT64_MAX, &after) != 0) ||
        (with_removed && strcmp(removed, "true") != 0))
        return err_set(err, ERR_INVALID, "cursor, account or removed: not one of ours");
    if (has_account)
        rc = account_find(call, c, account, false, &account_id, err);
    if (rc != 0)
        return rc;
    if (has_cursor)
        pq_params_i64(&p, after);
    else
        pq_params_null(&p);
    pq_params_i64(&p, account_id);
    pq_params_i64(&p, limit);
    pq_params_bool(&p, with_removed);
    rights_params(call, &p);
    return query_page(call, c, "SELECT " BUDGET_JSON ", b.id" BUDGET_FROM LIST_WHERE, &p, limit,
                      err);
}

/* A budget's number in the path, if the caller may see it. live: a removed one is a conflict. */
static int find_budget(struct admin_call *call, struct pq_conn *c, bool live, int64_t *out_id,
                       struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    if (str_parse_i64(str_from(call->param[0]), 1, INT64_MAX, out_id) != 0)
        return err_set(err, ERR_NOT_FOUND, "there is no budget %s", call->param[0]);
    pq_params_i64(&p, *out_id);
    rights_params(call, &p);
    int rc = pq_conn_query(c,
                           "SELECT b.removed IS NOT NULL FROM budget b JOIN account a ON a.id = "
                           "b.account_id WHERE b.id = $1 AND " SEEN(2, 3, 4),
                           &p, &r, err);
    if (rc == 0 && pq_result_rows(r) == 0)
        rc = err_set(err, ERR_NOT_FOUND, "there is no budget %s", call->param[0]);
    else if (rc == 0 && live && pq_result_bool(r, 0, 0))
        rc = err_set(err, ERR_CONFLICT, "budget %s was removed", call->param[0]);
    pq_result_destroy(r);
    return rc;
}

int budgets_show(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    json_t *json = NULL;
    int64_t id;
    int rc = find_budget(call, c, false, &id, err);
    if (rc == 0)
        rc = budget_json(c, id, &json, err);
    if (rc == 0)
        rc = write_json(call, json);
    json_decref(json);
    return rc;
}

static int finish(struct admin_call *call, struct pq_conn *c, const char *action, int64_t id,
                  const json_t *detail, struct err *err)
{
    char subject[24];
    json_t *reply = NULL;
    int rc = publish_put_accounts(c, err);
    if (rc == 0)
        rc = budget_json(c, id, &reply, err);
    snprintf(subject, sizeof subject, "%lld", (long long)id);
    return rc == 0 ? change_end(call, c, action, subject, detail, reply, err) : rc;
}

int budgets_set(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    json_t *detail = json_object();
    const char *account;
    int64_t account_id, id;
    int rc = call_text(call->body, "account", true, 200, &account, err);
    if (rc == 0)
        rc = change_begin(call, c, err);
    if (rc == 0)
        rc = account_find(call, c, account, true, &account_id, err);
    if (rc == 0)
        rc = budget_put(call, c, call->body, account_id, 0, detail, &id, err);
    if (rc == 0)
        rc = json_object_set_new(detail, "account", json_string(account)) != 0 ? ERR_NOMEM : 0;
    if (rc == 0)
        rc = finish(call, c, "budget.set", id, detail, err);
    json_decref(detail);
    return rc;
}

int budgets_update(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    json_t *detail = json_object();
    int64_t id, same;
    int rc = change_begin(call, c, err);
    if (rc == 0)
        rc = find_budget(call, c, true, &id, err);
    if (rc == 0)
        rc = budget_put(call, c, call->body, 0, id, detail, &same, err);
    if (rc == 0)
        rc = finish(call, c, "budget.update", id, detail, err);
    json_decref(detail);
    return rc;
}

int budgets_delete(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    struct pq_params p = {0};
    int64_t id = 0;
    int rc = change_begin(call, c, err);
    if (rc == 0)
        rc = find_budget(call, c, true, &id, err);
    pq_params_i64(&p, id);
    if (rc == 0)
        rc = pq_conn_query(c, "UPDATE budget SET removed = now() WHERE id = $1", &p, NULL, err);
    pq_params_deinit(&p);
    return rc == 0 ? finish(call, c, "budget.delete", id, NULL, err) : rc;
}
