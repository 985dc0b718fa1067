/* GET /spend: what was spent, from the daily sums, grouped; the total is the sum of the decisions,
 * each once, also where groups overlap (a request has several accounts, maybe several tags).
 * Reconciliations: the last ones, and a new one. */
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "controlplane/admin/accounts.h"
#include "controlplane/spend/reconcile.h"

#define DAY_US           INT64_C(86400000000)
#define SINCE_DEFAULT_US (30 * DAY_US)

static const char *const sources[] = {"none", "provider", "counted", "estimated", NULL};

/* clang-format off */
#define FIGURES                                                                                    \
    "'decisions', coalesce(sum(decisions), 0)::bigint, "                                           \
    "'failed', coalesce(sum(failed), 0)::bigint, "                                                 \
    "'cost_usd', " SQL_USD("coalesce(sum(cost), 0)") ", "                                          \
    "'unpriced', coalesce(sum(unpriced), 0)::bigint, "                                             \
    "'tokens_in', coalesce(sum(tokens_in), 0)::bigint, "                                           \
    "'tokens_out', coalesce(sum(tokens_out), 0)::bigint, "                                         \
    "'tokens_cached', coalesce(sum(tokens_cached), 0)::bigint, "                                   \
    "'tokens_reasoning', coalesce(sum(tokens_reasoning), 0)::bigint, "                             \
    "'cost_by_source_usd', json_build_object("                                                     \
    "'none', " SQL_USD("coalesce(sum(cost) FILTER (WHERE source = 0), 0)") ", "                    \
    "'provider', " SQL_USD("coalesce(sum(cost) FILTER (WHERE source = 1), 0)") ", "                \
    "'counted', " SQL_USD("coalesce(sum(cost) FILTER (WHERE source = 2), 0)") ", "                 \
    "'estimated', " SQL_USD("coalesce(sum(cost) FILTER (WHERE source = 3), 0)") ")"
/* clang-format on */
/* $1, $2: days; $3: accounts that all must be on the path; $4 model, $5 source, $6 policy. */
#define ROWS                                                                                       \
    "WITH s AS (SELECT d.*, p.key_id, p.accounts FROM spend_day d JOIN spend_path p ON p.id = "    \
    "d.path WHERE d.day >= ($1::timestamptz AT TIME ZONE 'UTC')::date AND d.day < "                \
    "($2::timestamptz AT TIME ZONE 'UTC')::date AND p.accounts @> $3::bigint[] AND ($4::text IS "  \
    "NULL OR d.model = $4) AND ($5::int IS NULL OR d.source = $5) AND ($6::text IS NULL OR "       \
    "d.params_sha IN (SELECT v.params FROM policy_version v WHERE v.name || '@' || v.version = "   \
    "$6) OR ($6 = '' AND d.params_sha = ''))) "

struct grouping {
    const char *by;
    const char *member; /* Of an item. */
    const char *label;  /* SQL: text. */
    const char *kind;   /* Of accounts; NULL: no join. "": all. */
    const char *order;
};
static const struct grouping groupings[] = {
    {"day", "day", "to_char(day, 'YYYY-MM-DD')", NULL, "min(day)"},
    {"model", "model", "model", NULL, "sum(cost) DESC"},
    {"source", "source", "(ARRAY['none', 'provider', 'counted', 'estimated'])[source + 1]", NULL,
     "sum(cost) DESC"},
    {"policy", "policy",
     "coalesce((SELECT min(v.name || '@' || v.version) FROM policy_version v WHERE v.params = "
     "params_sha AND v.copy_of IS NULL), CASE WHEN params_sha = '' THEN '' ELSE "
     "encode(params_sha, 'hex') END)",
     NULL, "sum(cost) DESC"},
    {"key", "key",
     "coalesce((SELECT k.public_id FROM api_key k WHERE k.id = key_id), "
     "CASE key_id WHEN 0 THEN '' ELSE key_id::text END)",
     NULL, "sum(cost) DESC"},
    {"account", "account", "coalesce(a.kind || ':' || a.name, '')", "", "sum(cost) DESC"},
    {"org", "org", "coalesce(a.name, '')", "org", "sum(cost) DESC"},
    {"team", "team", "coalesce(a.name, '')", "team", "sum(cost) DESC"},
    {"user", "user", "coalesce(a.name, '')", "user", "sum(cost) DESC"},
    {"tag", "tag", "coalesce(a.name, '')", "tag", "sum(cost) DESC"},
};
#define GROUPINGS (sizeof groupings / sizeof groupings[0])

struct filters {
    int64_t since_us, until_us;
    int64_t accounts[12];
    size_t account_count;
    bool has_model, has_source, has_policy;
    char model[256], policy[200];
    int64_t source;
};

static int64_t day_of(int64_t us)
{
    return us - us % DAY_US;
}

/* Whole UTC days: from the day of `since` on, and up to the end of the day of `until`. */
static int read_range(struct admin_call *call, struct filters *f, struct err *err)
{
    bool has_since, has_until;
    int64_t now = clock_wall_us();
    f->since_us = now - SINCE_DEFAULT_US;
    f->until_us = now;
    int rc = call_query_time(call, "since", &has_since, &f->since_us, err);
    if (rc == 0)
        rc = call_query_time(call, "until", &has_until, &f->until_us, err);
    if (rc != 0)
        return rc;
    if (f->since_us < 0 || f->until_us < f->since_us)
        return err_set(err, ERR_INVALID, "until: must not be before since");
    f->since_us = day_of(f->since_us);
    /* A bare day or midnight as the end means what ended then. */
    f->until_us = has_until && f->until_us % DAY_US == 0 && f->until_us > f->since_us
                      ? f->until_us
                      : day_of(f->until_us) + DAY_US;
    return 0;
}

static int add_account(struct admin_call *call, struct pq_conn *c, const char *name,
                       struct filters *f, struct err *err)
{
    char text[200];
    int rc = 0;
    bool given = call_query(call, name, text, sizeof text, &rc);
    if (rc != 0)
        return err_set(err, ERR_INVALID, "%s: not readable", name);
    if (!given)
        return 0;
    int64_t *to = &f->accounts[f->account_count];
    rc = strcmp(name, "account") == 0 ? account_find(call, c, text, false, to, err)
                                      : account_find_kind(call, c, name, text, false, to, err);
    if (rc == 0)
        f->account_count++;
    return rc;
}

static int read_filters(struct admin_call *call, struct pq_conn *c, struct filters *f,
                        struct err *err)
{
    static const char *const names[] = {"account", "org", "team", "key", "user", "tag"};
    const int64_t bound[] = {call->caller.org, call->caller.team, call->caller.user};
    char source[16];
    int rc = read_range(call, f, err);
    for (size_t i = 0; i < 3; i++)
        if (bound[i] != 0)
            f->accounts[f->account_count++] = bound[i];
    for (size_t i = 0; rc == 0 && i < sizeof names / sizeof names[0]; i++)
        rc = add_account(call, c, names[i], f, err);
    if (rc != 0)
        return rc;
    f->has_model = call_query(call, "model", f->model, sizeof f->model, &rc);
    f->has_policy = call_query(call, "policy", f->policy, sizeof f->policy, &rc);
    f->has_source = call_query(call, "source", source, sizeof source, &rc);
    if (rc != 0)
        return err_set(err, ERR_INVALID, "model, policy or source: not readable");
    while (f->has_source && sources[f->source] != NULL && strcmp(sources[f->source], source) != 0)
        f->source++;
    if (f->has_source && sources[f->source] == NULL)
        return err_set(err, ERR_INVALID, "source: one of none, provider, counted, estimated");
    return 0;
}

static int params_of(const struct filters *f, struct pq_params *p)
{
    char list[300] = "{";
    size_t at = 1;
    for (size_t i = 0; i < f->account_count; i++)
        at += (size_t)snprintf(list + at, sizeof list - at, "%s%lld", i > 0 ? "," : "",
                               (long long)f->accounts[i]);
    snprintf(list + at, sizeof list - at, "}");
    pq_params_time_us(p, f->since_us);
    pq_params_time_us(p, f->until_us);
    pq_params_text(p, str_from(list));
    pq_params_text(p, f->has_model ? str_from(f->model) : STR_NULL);
    if (f->has_source)
        pq_params_i64(p, f->source);
    else
        pq_params_null(p);
    pq_params_text(p, f->has_policy ? str_from(f->policy) : STR_NULL);
    return p->status;
}

/* Rows of JSON text under a key; *out_rows may be NULL. */
static int write_rows(struct admin_call *call, struct pq_conn *c, const char *key, const char *sql,
                      struct pq_params *p, int *out_rows, struct err *err)
{
    struct pq_result *r = NULL;
    int rc = pq_conn_query(c, sql, p, &r, err);
    if (rc != 0)
        return rc;
    json_writer_key(&call->w, key);
    json_writer_begin_array(&call->w);
    for (int i = 0; i < pq_result_rows(r); i++)
        json_writer_raw(&call->w, pq_result_text(r, i, 0));
    json_writer_end_array(&call->w);
    if (out_rows != NULL)
        *out_rows = pq_result_rows(r);
    pq_result_destroy(r);
    return 0;
}

static int write_total(struct admin_call *call, struct pq_conn *c, const struct filters *f,
                       struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    (void)params_of(f, &p);
    int rc = pq_conn_query(c, ROWS "SELECT json_build_object(" FIGURES ") FROM s", &p, &r, err);
    if (rc == 0) {
        json_writer_key(&call->w, "total");
        json_writer_raw(&call->w, pq_result_text(r, 0, 0));
    }
    pq_result_destroy(r);
    return rc;
}

static int write_items(struct admin_call *call, struct pq_conn *c, const struct filters *f,
                       const struct grouping *g, int64_t limit, struct err *err)
{
    char sql[6144];
    struct pq_params p = {0};
    int n = snprintf(
        sql, sizeof sql,
        ROWS "SELECT json_build_object('%s', %s, " FIGURES ") FROM s %s%s%s GROUP BY %s%s ORDER BY "
             "%s, %s LIMIT $7",
        g->member, g->label,
        g->kind == NULL ? ""
                        : "LEFT JOIN LATERAL (SELECT a.id, a.kind, a.name FROM unnest(accounts) u "
                          "(id) JOIN account a ON a.id = u.id AND (a.kind = '",
        g->kind == NULL ? "" : g->kind,
        g->kind == NULL      ? ""
        : g->kind[0] == '\0' ? "' OR true)) a ON true"
                             : "')) a ON true",
        g->label, g->kind != NULL ? ", a.id" : "", g->order, g->label);
    if (n < 0 || (size_t)n >= sizeof sql)
        return ERR_INTERNAL;
    (void)params_of(f, &p);
    pq_params_i64(&p, limit);
    return write_rows(call, c, "items", sql, &p, NULL, err);
}

/* What was corrected in that time, in the budgets of the accounts; apart, because an account may
 * have several budgets, and a correction stands in each. */
static int write_adjustments(struct admin_call *call, struct pq_conn *c, const struct filters *f,
                             struct err *err)
{
    struct pq_params p = {0};
    (void)params_of(f, &p);
    return write_rows(
        call, c, "adjustments",
        "SELECT json_build_object('budget', b.id, 'account', a.kind || ':' || a.name, 'period', "
        "b.period, 'period_start', " SQL_TIME(
            "j.period_start") ", 'reason', j.reason, 'count', "
                              "count(*), 'amount_usd', " SQL_USD(
                                  "sum(j.amount)") ") FROM budget_adjust j JOIN budget b "
                                                   "ON b.id = j.budget_id JOIN account a ON a.id = "
                                                   "b.account_id WHERE j.created >= $1 AND "
                                                   "j.created < $2 AND (a.id = ANY ($3::bigint[]) "
                                                   "OR $3::bigint[] = '{}') AND $4::text IS "
                                                   "NULL AND $5::int IS NULL AND $6::text IS NULL "
                                                   "GROUP BY b.id, a.kind, a.name, b.period, "
                                                   "j.period_start, j.reason ORDER BY b.id, "
                                                   "j.period_start, j.reason LIMIT 200",
        &p, NULL, err);
}

int spend_list(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    char by[16] = "day", text[CLOCK_RFC3339_BYTES];
    struct filters f = {0};
    const struct grouping *g = NULL;
    struct json_writer *w = &call->w;
    int64_t limit;
    int rc = call_limit(call, &limit, err);
    if (rc != 0)
        return rc;
    bool has_by = call_query(call, "by", by, sizeof by, &rc);
    for (size_t i = 0; rc == 0 && i < GROUPINGS; i++)
        if (strcmp(groupings[i].by, has_by ? by : "day") == 0)
            g = &groupings[i];
    if (g == NULL)
        return err_set(err, ERR_INVALID,
                       "by: one of account, key, team, org, user, tag, model, "
                       "policy, source, day");
    rc = read_filters(call, c, &f, err);
    /* One snapshot: the total is that of the items. */
    if (rc == 0)
        rc = pq_conn_script(c, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", err);
    if (rc != 0)
        return rc;
    json_writer_begin_object(w);
    json_writer_key(w, "by");
    json_writer_text(w, g->by);
    clock_format_rfc3339(f.since_us, text);
    json_writer_key(w, "since");
    json_writer_text(w, text);
    clock_format_rfc3339(f.until_us, text);
    json_writer_key(w, "until");
    json_writer_text(w, text);
    rc = write_total(call, c, &f, err);
    if (rc == 0)
        rc = write_items(call, c, &f, g, limit, err);
    if (rc == 0)
        rc = write_adjustments(call, c, &f, err);
    json_writer_end_object(w);
    if (rc == 0)
        rc = pq_conn_script(c, "COMMIT", err);
    return rc;
}

/* --- reconciliations ----------------------------------------------------------------------------
 */

/* clang-format off */
#define CHECK_JSON                                                                                 \
    "SELECT json_build_object('id', c.id, 'started', " SQL_TIME("c.started") ", "                  \
    "'actor', c.actor, 'since', " SQL_TIME("c.since") ", "                                         \
    "'budgets', c.budgets, 'days', c.days, 'differing', c.differing, 'alarms', c.alarms, "         \
    "'worst_percent', trim_scale(c.worst_ppm * 0.0001), 'trued_up', c.trued_up, "                  \
    "'differences', coalesce((SELECT json_agg(json_build_object('kind', d.kind, "                  \
    "'budget', d.budget_id, 'account', (SELECT a.kind || ':' || a.name FROM budget b "             \
    "JOIN account a ON a.id = b.account_id WHERE b.id = d.budget_id), "                            \
    "'period_start', " SQL_TIME("d.period_start") ", 'day', d.day, "                               \
    "'counted_usd', " SQL_USD("d.counted") ", 'booked_usd', " SQL_USD("d.booked") ", "             \
    "'adjusted_usd', " SQL_USD("d.adjusted") ", 'open_usd', " SQL_USD("d.open_nano") ", "          \
    "'moving', d.moving, 'percent', trim_scale(d.ppm * 0.0001), 'alarm', d.alarm) "                \
    "ORDER BY d.position) FROM spend_difference d WHERE d.check_id = c.id), '[]'))"
/* clang-format on */

int spend_checks(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    char cursor[32];
    struct pq_params p = {0};
    int64_t limit, before = INT64_MAX;
    int rc = call_limit(call, &limit, err);
    if (rc != 0)
        return rc;
    bool given = call_query(call, "cursor", cursor, sizeof cursor, &rc);
    if (rc != 0 || (given && str_parse_i64(str_from(cursor), 1, INT64_MAX, &before) != 0))
        return err_set(err, ERR_INVALID, "cursor: not one of ours");
    pq_params_i64(&p, before);
    pq_params_i64(&p, limit);
    return query_page(call, c,
                      CHECK_JSON ", c.id FROM spend_check c WHERE c.id < $1 ORDER BY c.id DESC "
                                 "LIMIT $2",
                      &p, limit, err);
}

int spend_reconcile(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    const char *since = NULL, *reason = NULL;
    struct reconcile_result result;
    struct reconcile_options o = {.actor = call->caller.name,
                                  .since_us = clock_wall_us() - 2 * DAY_US};
    struct pq_params p = {0};
    json_t *json = NULL;
    int rc = call_text(call->body, "since", false, 64, &since, err);
    if (rc == 0)
        rc = call_text(call->body, "reason", false, 500, &reason, err);
    if (rc == 0 && since != NULL &&
        (call_time(str_from(since), &o.since_us) != 0 || o.since_us < 0))
        rc = err_set(err, ERR_INVALID,
                     "since: write a time like 2026-11-21T00:00:00Z, a day, or "
                     "an age like 7d");
    if (rc == 0)
        rc = reconcile_run(c, &o, &result, err);
    if (rc != 0)
        return rc;
    pq_params_text(&p, str_from(call->caller.name));
    pq_params_i64(&p, result.check_id);
    pq_params_text(&p, str_from(reason != NULL ? reason : ""));
    rc = pq_conn_query(c,
                       "INSERT INTO audit_log (actor, action, subject, reason, detail) SELECT $1, "
                       "'spend.reconcile', id::text, $3, json_build_object('alarms', alarms, "
                       "'trued_up', trued_up)::text FROM spend_check WHERE id = $2",
                       &p, NULL, err);
    if (rc != 0)
        return rc;
    p = (struct pq_params){0};
    pq_params_i64(&p, result.check_id);
    rc = query_json(c, CHECK_JSON " FROM spend_check c WHERE c.id = $1", &p, &json, err);
    if (rc == 0)
        rc = write_json(call, json);
    json_decref(json);
    return rc;
}
