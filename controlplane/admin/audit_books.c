/* The audit questions about the books: an account's spend by period against its limit, who moved a
 * rollout and on what evidence, and the log of changes with what each changed. */
#include <string.h>

#include "controlplane/admin/audit.h"
#include "controlplane/admin/spec.h"

/* A period without an end is null. */
#define SQL_TIME_OR_NULL(x) "CASE WHEN isfinite(" x ") THEN " SQL_TIME(x) " END"

/* Also of a removed account: what it spent stays. */
static int find_account(struct pq_conn *c, const char *text, int64_t *out_id, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_text(&p, str_from(text));
    int rc = pq_conn_query(c,
                           "SELECT id FROM account WHERE kind = split_part($1, ':', 1) AND name = "
                           "substr($1, strpos($1, ':') + 1) ORDER BY removed DESC NULLS FIRST "
                           "LIMIT 1",
                           &p, &r, err);
    if (rc == 0 && pq_result_rows(r) == 0)
        rc = err_set(err, ERR_NOT_FOUND,
                     "there is no account \"%.100s\"; accounts are named like team:web, org:acme, "
                     "key:ID, user:u1, tag:batch or model:NAME",
                     text);
    if (rc == 0)
        *out_id = pq_result_i64(r, 0, 0);
    pq_result_destroy(r);
    return rc;
}

/* clang-format off */
#define SPEND_SQL                                                                                  \
    "SELECT json_build_object('budget', b.id, 'account', a.kind || ':' || a.name, "                \
    "'period', b.period, 'period_start', " SQL_TIME("p.period_start") ", "                         \
    "'period_end', " SQL_TIME_OR_NULL("p.period_end") ", 'cfg', p.cfg, "                           \
    "'limit_usd', " SQL_USD("p.limit_nano") ", "                                                   \
    "'settled_usd', " SQL_USD("p.settled") ", 'adjusted_usd', " SQL_USD("p.adjust") ", "           \
    "'spent_usd', " SQL_USD("(p.settled + p.adjust)") ", "                                         \
    "'held_usd', " SQL_USD("greatest(p.committed - p.settled, 0)") ", "                            \
    "'used', CASE WHEN p.limit_nano > 0 THEN "                                                     \
    "round((p.settled + p.adjust)::numeric / p.limit_nano, 6) END, "                               \
    "'over', p.settled + p.adjust > p.limit_nano, "                                                \
    "'by_decisions_usd', " SQL_USD("coalesce(l.cost, 0)") ", 'charges', coalesce(l.rows, 0), "     \
    "'removed', b.removed IS NOT NULL, "                                                           \
    "'adjustment_count', (SELECT count(*) FROM budget_adjust j WHERE (j.budget_id, "               \
    "j.period_start, j.cfg) = (p.budget_id, p.period_start, p.cfg)), "                             \
    "'adjustments', (SELECT coalesce(json_agg(json_build_object('id', j.id, "                      \
    "'ts', " SQL_TIME("j.created") ", 'amount_usd', " SQL_USD("j.amount") ", 'actor', j.actor, "   \
    "'reason', j.reason) ORDER BY j.id DESC), '[]') FROM (SELECT * FROM budget_adjust k WHERE "    \
    "(k.budget_id, k.period_start, k.cfg) = (p.budget_id, p.period_start, p.cfg) "                 \
    "ORDER BY k.id DESC LIMIT 100) j)), "                                                          \
    "steelyard_us(p.period_start) || '.' || b.id || '.' || p.cfg "                                 \
    "FROM budget b JOIN account a ON a.id = b.account_id "                                         \
    "JOIN budget_period p ON p.budget_id = b.id "                                                  \
    "LEFT JOIN LATERAL (SELECT sum(g.cost)::bigint AS cost, sum(g.rows)::bigint AS rows "          \
    "FROM budget_ledger g WHERE (g.budget_id, g.period_start, g.cfg) = "                           \
    "(p.budget_id, p.period_start, p.cfg)) l ON true "                                             \
    "WHERE b.account_id = $1 AND p.period_start < $3::timestamptz AND p.period_end > "             \
    "$2::timestamptz AND ($4::bigint IS NULL OR (p.period_start, b.id, p.cfg) < "                  \
    "(steelyard_time($4), $5::bigint, $6::int)) "                                                  \
    "ORDER BY p.period_start DESC, b.id DESC, p.cfg DESC LIMIT $7"
/* clang-format on */

/* "1795219200000000.12.1": where a page of periods ended. */
static int read_place(struct str cursor, int64_t out[3])
{
    struct str rest = cursor, part;
    for (size_t i = 0; i < 3; i++) {
        if (i == 2)
            part = rest;
        else if (!str_cut(rest, '.', &part, &rest))
            return ERR_INVALID;
        if (str_parse_i64(part, INT64_MIN, INT64_MAX, &out[i]) != 0)
            return ERR_INVALID;
    }
    return 0;
}

int audit_spend(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    char account[160], cursor[80];
    int64_t id = 0, place[3];
    struct call_page page = {.until_us = INT64_C(4102444800000000)};
    struct pq_params p = {0};
    int rc = call_query_page(call, &page, err);
    if (rc != 0)
        return rc;
    bool has_cursor = call_query(call, "cursor", cursor, sizeof cursor, &rc);
    if (rc != 0 || (has_cursor && read_place(str_from(cursor), place) != 0))
        return err_set(err, ERR_INVALID, "cursor: not one of ours");
    if (!call_query(call, "account", account, sizeof account, &rc) || rc != 0)
        return err_set(err, ERR_INVALID, "account: whose, like team:web?");
    rc = find_account(c, account, &id, err);
    if (rc != 0)
        return rc;
    pq_params_i64(&p, id);
    pq_params_time_us(&p, page.since_us);
    pq_params_time_us(&p, page.until_us);
    for (size_t i = 0; i < 3; i++) {
        if (has_cursor)
            pq_params_i64(&p, place[i]);
        else
            pq_params_null(&p);
    }
    pq_params_i64(&p, page.limit);
    return query_page(call, c, SPEND_SQL, &p, page.limit, err);
}

/* --- rollouts ------------------------------------------------------------------------------------
 */

/* clang-format off */
#define ROLLOUT_SQL                                                                                \
    "SELECT json_build_object('id', r.id, 'kind', r.kind, 'policy', r.policy, "                    \
    "'stable', r.policy || '@' || r.stable, 'candidate', r.policy || '@' || r.candidate, "         \
    "'state', r.state, 'stage', r.stage, 'share', round(r.pct_bp / 10000.0, 4), "                  \
    "'created', " SQL_TIME("r.created") ", 'created_by', r.created_by, 'reason', r.reason, "       \
    "'ended', " SQL_TIME("r.ended") ", 'config', r.cfg, 'baseline', r.baseline, "                  \
    "'events', (SELECT coalesce(json_agg(json_build_object('id', e.id, "                           \
    "'ts', " SQL_TIME("e.ts") ", 'from', e.from_state, 'from_stage', e.from_stage, "               \
    "'to', e.to_state, 'to_stage', e.to_stage, 'share', round(e.pct_bp / 10000.0, 4), "            \
    "'actor', e.actor, 'reason', e.reason, 'evidence', e.evidence, 'term', e.term, "               \
    "'generation', e.generation) ORDER BY e.id), '[]') FROM rollout_event e "                      \
    "WHERE e.rollout_id = r.id AND ($2::int IS NULL OR e.to_stage = $2))) "                        \
    "FROM rollout r WHERE r.id = $1"
/* clang-format on */

int audit_rollout(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    char stage[16];
    int64_t id = 0, number = 0;
    struct pq_params p = {0};
    json_t *json = NULL;
    int rc = 0;
    if (str_parse_i64(str_from(call->param[0]), 1, INT64_MAX, &id) != 0)
        return err_set(err, ERR_NOT_FOUND, "there is no rollout %s", call->param[0]);
    bool has_stage = call_query(call, "stage", stage, sizeof stage, &rc);
    if (rc != 0 || (has_stage && str_parse_i64(str_from(stage), -1, 1000, &number) != 0))
        return err_set(err, ERR_INVALID, "stage: a number, 0 for the first, -1 for the shadow");
    pq_params_i64(&p, id);
    if (has_stage)
        pq_params_i64(&p, number);
    else
        pq_params_null(&p);
    rc = query_json(c, ROLLOUT_SQL, &p, &json, err);
    if (rc == ERR_NOT_FOUND)
        return err_set(err, rc, "there is no rollout %s", call->param[0]);
    if (rc == 0)
        rc = write_json(call, json);
    json_decref(json);
    return rc;
}

/* --- the log -------------------------------------------------------------------------------------
 */

/* clang-format off */
#define LOG_SQL                                                                                    \
    "SELECT json_build_object('id', l.id, 'ts', " SQL_TIME("l.ts") ", 'actor', l.actor, "          \
    "'action', l.action, 'subject', l.subject, 'reason', l.reason, 'detail', l.detail::json, "     \
    "'generation', coalesce(l.generation, 0), "                                                    \
    "'change_count', (SELECT count(*) FROM audit_change n WHERE n.xid = l.xid), "                  \
    "'changes', (SELECT coalesce(json_agg(json_build_object('what', h.what, 'which', h.which, "    \
    "'before', h.before, 'after', h.after) ORDER BY h.id), '[]') FROM (SELECT * FROM "             \
    "audit_change g WHERE g.xid = l.xid ORDER BY g.id LIMIT 100) h)), l.id FROM audit_log l "      \
    "WHERE l.id < $1 AND ($3::text IS NULL OR l.actor = $3) AND ($4::text IS NULL OR l.action "    \
    "= $4 OR starts_with(l.action, $4 || '.')) AND ($5::text IS NULL OR l.subject = $5) AND "      \
    "($6::timestamptz IS NULL OR l.ts >= $6) AND ($7::timestamptz IS NULL OR l.ts < $7) "          \
    "ORDER BY l.id DESC LIMIT $2"
/* clang-format on */

int audit_list(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    static const char *const names[] = {"actor", "action", "subject"};
    char cursor[32], text[160];
    int64_t before = INT64_MAX;
    struct call_page page = {0};
    struct pq_params p = {0};
    int rc = call_query_page(call, &page, err);
    if (rc != 0)
        return rc;
    bool given = call_query(call, "cursor", cursor, sizeof cursor, &rc);
    if (rc != 0 || (given && str_parse_i64(str_from(cursor), 1, INT64_MAX, &before) != 0))
        return err_set(err, ERR_INVALID, "cursor: not one of ours");
    pq_params_i64(&p, before);
    pq_params_i64(&p, page.limit);
    for (size_t i = 0; i < 3; i++) {
        bool has = call_query(call, names[i], text, sizeof text, &rc);
        pq_params_text(&p, has ? str_from(text) : STR_NULL);
    }
    call_page_params(&page, &p);
    if (rc != 0) {
        pq_params_deinit(&p);
        return err_set(err, ERR_INVALID, "actor, action or subject: not readable");
    }
    return query_page(call, c, LOG_SQL, &p, page.limit, err);
}
