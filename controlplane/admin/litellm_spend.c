/* /spend/... and /global/spend/report. Their start_date and end_date are days, both included.
 * Money is a JSON number there, as their scripts read it; the exact figures are at /api/v1/spend.
 * What a request said and what was answered is never stored, so `messages`, `response` are empty.
 */
#include <string.h>

#include "common/base/clock.h"
#include "controlplane/admin/litellm.h"

#define DAY_US    INT64_C(86400000000)
#define LOGS_MAX  1000
#define MONEY(x)  "trim_scale((" x ") * 0.000000001)"
#define ISO(x)    "to_char((" x ") AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"
#define NAME(k)                                                                                    \
    "(SELECT a.name FROM unnest(p.accounts) u (id) JOIN account a ON a.id = u.id AND a.kind = '" k \
    "' LIMIT 1)"

static int read_days(struct admin_call *call, int64_t *out_since, int64_t *out_until,
                     struct err *err)
{
    bool has_start, has_end;
    int64_t now = clock_wall_us(), start = now - 30 * DAY_US, end = now;
    int rc = call_query_time(call, "start_date", &has_start, &start, err);
    if (rc == 0)
        rc = call_query_time(call, "end_date", &has_end, &end, err);
    if (rc != 0)
        return rc;
    *out_since = start - start % DAY_US;
    *out_until = end - end % DAY_US + DAY_US;
    if (*out_until <= *out_since)
        return err_set(err, ERR_INVALID, "end_date: must not be before start_date");
    return 0;
}

static int write_list(struct admin_call *call, struct pq_conn *c, const char *sql,
                      struct pq_params *p, struct err *err)
{
    struct pq_result *r = NULL;
    int rc = pq_conn_query(c, sql, p, &r, err);
    if (rc != 0)
        return rc;
    json_writer_begin_array(&call->w);
    for (int i = 0; i < pq_result_rows(r); i++)
        json_writer_raw(&call->w, pq_result_text(r, i, 0));
    json_writer_end_array(&call->w);
    pq_result_destroy(r);
    return 0;
}

/* The key by its text, its token (SHA-256) or public id: 0 rows match what is unknown. */
static void key_param(struct pq_params *p, bool given, const char *text)
{
    pq_params_text(p, given ? str_from(text) : STR_NULL);
}
#define KEY_IS(n)                                                                                  \
    "($" #n "::text IS NULL OR k.public_id = $" #n " OR encode(k.sha256, 'hex') = $" #n            \
    " OR (starts_with($" #n ", 'sk-') AND k.sha256 = sha256(convert_to($" #n ", 'UTF8'))))"

/* Each decision; accounts as they stood on its day's rows are not in it, so team and user are those
 * of the key. */
static const char logs_sql[] =
    "SELECT json_build_object('request_id', d.request_id, 'call_type', CASE d.endpoint WHEN "
    "'chat.completions' THEN 'acompletion' ELSE d.endpoint END, 'api_key', encode(k.sha256, "
    "'hex'), 'spend', " MONEY("d.cost") ", 'total_tokens', d.tokens_in + d.tokens_out, "
    "'prompt_tokens', d.tokens_in, 'completion_tokens', d.tokens_out, 'startTime', " ISO("d.ts") ", "
    "'endTime', " ISO("d.ts + d.latency_ms * interval '1 millisecond'") ", 'completionStartTime', "
    "CASE WHEN d.ttft_ms > 0 THEN " ISO("d.ts + d.ttft_ms * interval '1 millisecond'") " END, "
    "'model', coalesce(d.served_model, d.chosen_model, d.alias), 'model_group', d.alias, 'user', "
    "coalesce((SELECT name FROM account WHERE id = k.user_id), ''), 'team_id', (SELECT name FROM "
    "account WHERE id = k.team_id), 'metadata', json_build_object('user_api_key_alias', k.name, "
    "'key_id', k.public_id, 'status', CASE WHEN d.status IN (3, 4, 5) THEN 'failure' ELSE "
    "'success' END, 'cost_known', (d.flags & 512) = 0), 'cache_hit', 'False', 'request_tags', "
    "to_json(coalesce(k.tags, '{}')), 'status', CASE WHEN d.status IN (3, 4, 5) THEN 'failure' "
    "ELSE 'success' END, 'end_user', '', 'messages', '{}'::json, 'response', '{}'::json) FROM "
    "decision d LEFT JOIN api_key k ON k.id = d.key_id WHERE d.ts >= $1 AND d.ts < $2 AND "
    "($3::uuid IS NULL OR d.request_id = $3) AND " KEY_IS(4) " AND ($5::text IS NULL OR k.user_id = "
    "(SELECT id FROM account WHERE kind = 'user' AND name = $5 AND removed IS NULL)) "
    "ORDER BY d.request_id DESC LIMIT $6";
static const char summary_sql[] =
    "SELECT json_build_object('startTime', to_char(day, 'YYYY-MM-DD'), 'spend', "
    "" MONEY("sum(cost)") ", 'users', (SELECT coalesce(json_object_agg(n, c), '{}') FROM (SELECT n, "
    "" MONEY("sum(c)") " AS c FROM unnest(array_agg(un), array_agg(cost)) x (n, c) WHERE n IS NOT "
    "NULL GROUP BY n) y), 'models', (SELECT coalesce(json_object_agg(n, c), '{}') FROM (SELECT n, "
    "" MONEY("sum(c)") " AS c FROM unnest(array_agg(model), array_agg(cost)) x (n, c) GROUP BY n) y))"
    " FROM (SELECT s.day, s.model, s.cost, " NAME("user") " AS un FROM spend_day s JOIN spend_path p "
    "ON p.id = s.path LEFT JOIN api_key k ON k.id = p.key_id WHERE s.day >= ($1::timestamptz AT "
    "TIME ZONE 'UTC')::date AND s.day < ($2::timestamptz AT TIME ZONE 'UTC')::date AND $3::uuid IS "
    "NULL AND " KEY_IS(4) " AND ($5::text IS NULL OR " NAME("user") " = $5)) z GROUP BY day ORDER BY "
    "day LIMIT $6";

/* GET /spend/logs: with both dates and without summarize=false it is a row a day, as theirs. */
int litellm_spend_logs(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    static const char *const known[] = {"api_key",  "user_id",   "request_id", "start_date",
                                        "end_date", "summarize", NULL};
    char key[200], user[200], id[64], summarize[8], date[64];
    struct pq_params p = {0};
    struct uuid uuid;
    int64_t since, until;
    int rc = litellm_check_query(call, known, err);
    if (rc == 0)
        rc = read_days(call, &since, &until, err);
    if (rc != 0)
        return rc;
    bool has_key = call_query(call, "api_key", key, sizeof key, &rc);
    bool has_user = call_query(call, "user_id", user, sizeof user, &rc);
    bool has_id = call_query(call, "request_id", id, sizeof id, &rc);
    bool has_summarize = call_query(call, "summarize", summarize, sizeof summarize, &rc);
    bool has_dates = call_query(call, "start_date", date, sizeof date, &rc) &&
                     call_query(call, "end_date", date, sizeof date, &rc);
    if (rc != 0 || (has_id && uuid_parse(str_from(id), &uuid) != 0))
        return err_set(err, ERR_INVALID, "api_key, user_id or request_id: not readable");
    bool sums = has_dates && !has_id && !(has_summarize && strcasecmp(summarize, "false") == 0);
    if (has_id) { /* The id says when. */
        since = uuid_time_ms(&uuid) * 1000 - DAY_US;
        until = since + 3 * DAY_US;
        if (since < 0 || since > INT64_C(4102444800000000))
            return err_set(err, ERR_NOT_FOUND, "there is no decision %s", id);
    }
    pq_params_time_us(&p, since);
    pq_params_time_us(&p, until);
    pq_params_text(&p, has_id ? str_from(id) : STR_NULL);
    key_param(&p, has_key, key);
    pq_params_text(&p, has_user ? str_from(user) : STR_NULL);
    pq_params_i64(&p, LOGS_MAX);
    return write_list(call, c, sums ? summary_sql : logs_sql, &p, err);
}

#define DAYS                                                                                       \
    "s.day >= ($1::timestamptz AT TIME ZONE 'UTC')::date AND s.day < ($2::timestamptz AT TIME "    \
    "ZONE 'UTC')::date"

int litellm_spend_keys(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    static const char *const known[] = {NULL};
    struct pq_params p = {0};
    int rc = litellm_check_query(call, known, err);
    if (rc != 0)
        return rc;
    return write_list(
        call, c,
        "SELECT json_build_object('token', encode(k.sha256, 'hex'), 'key_name', k.public_id, "
        "'key_alias', k.name, 'spend', " MONEY("sum(s.cost)") ", 'team_id', (SELECT name FROM "
        "account WHERE id = k.team_id), 'user_id', (SELECT name FROM account WHERE id = "
        "k.user_id)) FROM spend_day s JOIN spend_path p ON p.id = s.path JOIN api_key k ON k.id = "
        "p.key_id GROUP BY k.id ORDER BY sum(s.cost) DESC, k.id LIMIT 1000",
        &p, err);
}

int litellm_spend_tags(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    static const char *const known[] = {"start_date", "end_date", NULL};
    struct pq_params p = {0};
    int64_t since, until;
    int rc = litellm_check_query(call, known, err);
    if (rc == 0)
        rc = read_days(call, &since, &until, err);
    if (rc != 0)
        return rc;
    pq_params_time_us(&p, since);
    pq_params_time_us(&p, until);
    return write_list(
        call, c,
        "SELECT json_build_object('individual_request_tag', a.name, 'log_count', "
        "sum(s.decisions)::bigint, 'total_spend', " MONEY("sum(s.cost)") ") FROM spend_day s JOIN "
        "spend_path p ON p.id = s.path CROSS JOIN unnest(p.accounts) u (id) JOIN account a ON a.id "
        "= u.id AND a.kind = 'tag' WHERE " DAYS " GROUP BY a.name ORDER BY sum(s.cost) DESC, "
        "a.name LIMIT 1000",
        &p, err);
}

#define REPORT(kind, what, more)                                                                   \
    "SELECT json_build_object('group_by_day', to_char(day, 'YYYY-MM-DD'), '" what                  \
    "', json_agg(json_build_object(" more ", 'total_spend', " MONEY("cost") ", "                   \
    "'total_input_tokens', tin, 'total_output_tokens', tout, 'metadata', models) ORDER BY cost "   \
    "DESC, n)) FROM (SELECT day, n, sum(c)::bigint AS cost, sum(i)::bigint AS tin, "               \
    "sum(o)::bigint AS tout, json_agg(json_build_object('model', model, 'spend', " MONEY("c") ", " \
    "'total_tokens', i + o)) AS models FROM (SELECT s.day, " kind " AS n, s.model, "               \
    "sum(s.cost)::bigint AS c, sum(s.tokens_in)::bigint AS i, sum(s.tokens_out)::bigint AS o "     \
    "FROM spend_day s JOIN spend_path p ON p.id = s.path LEFT JOIN api_key k ON k.id = p.key_id "  \
    "WHERE " DAYS " GROUP BY 1, 2, 3) x WHERE n IS NOT NULL GROUP BY day, n) y GROUP BY day "      \
    "ORDER BY day LIMIT 400"

int litellm_global_report(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    static const char *const known[] = {"start_date", "end_date", "group_by", NULL};
    char group[16] = "team";
    struct pq_params p = {0};
    const char *sql;
    int64_t since, until;
    int rc = litellm_check_query(call, known, err);
    if (rc == 0)
        rc = read_days(call, &since, &until, err);
    if (rc != 0)
        return rc;
    (void)call_query(call, "group_by", group, sizeof group, &rc);
    if (rc == 0 && strcmp(group, "team") == 0)
        sql = REPORT(NAME("team"), "teams", "'team_name', n");
    else if (rc == 0 && strcmp(group, "customer") == 0)
        sql = REPORT(NAME("user"), "customers", "'customer', n");
    else if (rc == 0 && strcmp(group, "api_key") == 0)
        sql = REPORT("k.public_id", "keys", "'api_key', n");
    else
        return err_set(err, ERR_INVALID, "group_by: one of team, customer, api_key");
    pq_params_time_us(&p, since);
    pq_params_time_us(&p, until);
    return write_list(call, c, sql, &p, err);
}
