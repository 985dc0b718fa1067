/* Budgets: what an account may spend in a period. Setting one changes the limit at once; what nodes
 * already hold of the old limit comes back as they report. */
#include <stdio.h>
#include <string.h>

#include "controlplane/admin/accounts.h"

#define PATH_BUDGETS_MAX "16"

static const char *const periods[] = {"day", "week", "month", "total", NULL};
static const char *const modes[] = {"strict", "soft", NULL};
static const char *const carries[] = {"none", "debt", NULL};

const char *const budget_fields[] = {"limit_usd", "period",       "tz",          "anchor",  "mode",
                                     "carry",     "warn_percent", "offline_usd", "webhook", NULL};

#define COLUMNS "limit_nano, period, tz, anchor, mode, warn_permille, carry, offline_nano, webhook"

static void read_budget(struct spec *s)
{
    const json_t *warn;
    spec_usd(s, "limit_usd", "limit_nano", 1);
    spec_word(s, "period", "period", periods);
    spec_text(s, "tz", "tz", 64);
    spec_time(s, "anchor", "anchor", false);
    spec_word(s, "mode", "mode", modes);
    spec_word(s, "carry", "carry", carries);
    spec_count(s, "warn_percent", "warn_permille", 1, 100);
    warn = json_object_get(s->columns, "warn_permille");
    if (json_is_integer(warn))
        spec_set(s, "warn_permille", json_integer(json_integer_value(warn) * 10));
    spec_usd(s, "offline_usd", "offline_nano", 0);
    spec_text(s, "webhook", "webhook", 2048);
    static const char *const needed[] = {"limit_nano",    "period", "tz",           "mode",
                                         "warn_permille", "carry",  "offline_nano", NULL};
    for (size_t i = 0; needed[i] != NULL; i++) {
        if (json_is_null(json_object_get(s->columns, needed[i])))
            spec_fail(s, "a budget's limit, period, tz, mode, warn_percent, carry and offline_usd "
                         "cannot be null; remove the budget, or name a value");
    }
}

/* The live budget of the account for the period; 0: none. */
static int find_live(struct pq_conn *c, int64_t account, const char *period, int64_t *out_id,
                     struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_i64(&p, account);
    pq_params_text(&p, str_from(period));
    int rc = pq_conn_query(c,
                           "SELECT id FROM budget WHERE account_id = $1 AND period = $2 AND "
                           "removed IS NULL FOR UPDATE",
                           &p, &r, err);
    if (rc == 0)
        *out_id = pq_result_rows(r) > 0 ? pq_result_i64(r, 0, 0) : 0;
    pq_result_destroy(r);
    return rc;
}

static int insert_budget(struct admin_call *call, struct pq_conn *c, struct spec *s,
                         int64_t account, int64_t *out_id, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_i64(&p, account);
    pq_params_text(&p, str_from(call->caller.name));
    int rc = spec_param(s, &p);
    if (rc != 0) {
        pq_params_deinit(&p);
        return rc;
    }
    rc = pq_conn_query(c,
                       "INSERT INTO budget (account_id, created_by, " COLUMNS ") SELECT $1, $2, "
                       "limit_nano, period, coalesce(tz, 'UTC'), anchor, coalesce(mode, 'strict'), "
                       "coalesce(warn_permille, 800), coalesce(carry, 'none'), "
                       "coalesce(offline_nano, 0), webhook "
                       "FROM jsonb_populate_record(NULL::budget, $3::jsonb) RETURNING id",
                       &p, &r, err);
    if (rc == 0)
        *out_id = pq_result_i64(r, 0, 0);
    pq_result_destroy(r);
    return rc;
}

/* A maker could spend a budget, lower it, and hand the difference to the next key. */
static int check_lowered(const struct admin_call *call, struct pq_conn *c, struct spec *s,
                         int64_t id, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    if (call->caller.role == ROLE_ADMIN)
        return 0;
    pq_params_i64(&p, id);
    int rc = spec_param(s, &p);
    if (rc != 0) {
        pq_params_deinit(&p);
        return rc;
    }
    rc = pq_conn_query(c,
                       "SELECT r.limit_nano < b.limit_nano FROM budget b, "
                       "LATERAL jsonb_populate_record(b, $2::jsonb) r WHERE b.id = $1",
                       &p, &r, err);
    if (rc == 0 && pq_result_rows(r) > 0 && pq_result_bool(r, 0, 0))
        rc = err_set(err, ERR_DENIED,
                     "limit_usd: a budget that you gave can only be raised; "
                     "disable the key to stop it, or ask an admin");
    pq_result_destroy(r);
    return rc;
}

/* The budget of a credential is what it has given to keys, or more. */
static int check_given(struct pq_conn *c, int64_t id, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    int64_t maker = 0;
    pq_params_i64(&p, id);
    int rc = pq_conn_query(c,
                           "SELECT k.id FROM budget b JOIN api_key k ON k.id = b.account_id WHERE "
                           "b.id = $1 AND k.role IS NOT NULL",
                           &p, &r, err);
    if (rc == 0 && pq_result_rows(r) > 0)
        maker = pq_result_i64(r, 0, 0);
    pq_result_destroy(r);
    return maker == 0 ? rc : rights_check_below(c, maker, err);
}

int budget_put(struct admin_call *call, struct pq_conn *c, const json_t *body, int64_t account,
               int64_t id, json_t *detail, int64_t *out_id, struct err *err)
{
    struct spec s;
    struct pq_params p = {0};
    spec_init(&s, body, err);
    read_budget(&s);
    const char *period = json_string_value(json_object_get(s.columns, "period"));
    if (id == 0 && period == NULL)
        spec_fail(&s, "\"period\" is missing: day, week, month or total");
    int rc = s.status;
    if (rc == 0 && id == 0)
        rc = find_live(c, account, period, &id, err);
    if (rc == 0 && id == 0) {
        if (!json_is_integer(json_object_get(s.columns, "limit_nano")))
            rc = err_set(err, ERR_INVALID, "\"limit_usd\" is missing");
        if (rc == 0)
            rc = insert_budget(call, c, &s, account, &id, err);
        if (rc == 0)
            rc = budget_check_paths(c, account, err);
    } else if (rc == 0) {
        rc = check_lowered(call, c, &s, id, err);
        pq_params_i64(&p, id);
        if (rc == 0)
            rc = spec_param(&s, &p);
        if (rc == 0)
            rc = pq_conn_query(c,
                               "UPDATE budget b SET (" COLUMNS ") = (SELECT " COLUMNS
                               " FROM jsonb_populate_record(b, $2::jsonb)) WHERE id = $1",
                               &p, NULL, err);
        else
            pq_params_deinit(&p);
        if (rc == ERR_EXISTS)
            rc = err_set(err, ERR_CONFLICT, "the account has another budget for that period");
    }
    if (rc == 0)
        rc = check_given(c, id, err);
    if (rc == 0)
        rc = json_object_update(detail, s.columns) != 0 ? ERR_NOMEM : 0;
    if (rc == 0)
        *out_id = id;
    spec_deinit(&s);
    return rc;
}

int budget_check_paths(struct pq_conn *c, int64_t account, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_i64(&p, account);
    int rc = pq_conn_query(
        c,
        "WITH live AS (SELECT a.id, a.kind, a.name, count(*) AS n FROM budget b JOIN account a ON "
        "a.id = b.account_id WHERE b.removed IS NULL GROUP BY a.id) "
        "SELECT k.public_id FROM api_key k, account changed WHERE changed.id = $1 AND k.removed IS "
        "NULL AND k.role IS NULL AND (changed.kind IN ('model', 'tag') OR changed.id IN (k.id, "
        "k.team_id, k.org_id, k.user_id)) AND (SELECT count(*) FROM live) > 4 AND "
        "coalesce((SELECT sum(n) FROM live WHERE id IN (k.id, k.team_id, k.org_id, k.user_id) OR "
        "(kind = 'tag' AND name = ANY (k.tags))), 0) + "
        "coalesce((SELECT max(n) FROM live WHERE kind = 'model'), 0) > " PATH_BUDGETS_MAX
        " LIMIT 1",
        &p, &r, err);
    if (rc == 0 && pq_result_rows(r) > 0)
        rc = err_set(err, ERR_INVALID,
                     "a request of key %s would be charged to more than " PATH_BUDGETS_MAX
                     " budgets",
                     pq_result_text(r, 0, 0).data);
    pq_result_destroy(r);
    return rc;
}
