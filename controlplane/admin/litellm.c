#include "controlplane/admin/litellm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_empty(const json_t *v)
{
    return v == NULL || json_is_null(v) || json_is_false(v) ||
           (json_is_object(v) && json_object_size(v) == 0) ||
           (json_is_array(v) && json_array_size(v) == 0) ||
           (json_is_number(v) && json_number_value(v) == 0.0) ||
           (json_is_string(v) && json_string_length(v) == 0);
}

int litellm_refuse(const json_t *body, const char *const *fields, struct err *err)
{
    for (size_t i = 0; fields[i] != NULL; i++) {
        if (!is_empty(json_object_get(body, fields[i])))
            return err_set(err, ERR_INVALID, "%s: has no meaning here; leave it out", fields[i]);
    }
    return 0;
}

int litellm_check_query(const struct admin_call *call, const char *const *known, struct err *err)
{
    struct str rest = httpd_query(call->req), pair, name, value;
    bool more = rest.data != NULL && rest.len > 0;
    while (more) {
        more = str_cut(rest, '&', &pair, &rest);
        if (!str_cut(pair, '=', &name, &value))
            name = pair;
        size_t i = 0;
        while (known[i] != NULL && !str_is(name, known[i]))
            i++;
        if (name.len > 0 && known[i] == NULL)
            return err_set(err, ERR_INVALID, "%.64s: has no meaning here; leave it out", name.data);
    }
    return 0;
}

void litellm_copy(const json_t *body, const char *from, json_t *out, const char *to)
{
    json_t *value = json_object_get(body, from);
    if (value != NULL)
        json_object_set(out, to, value);
}

/* --- money --------------------------------------------------------------------------------------
 */

/* A JSON number is what their scripts send; nine decimals are exact up to a few million USD. */
static int read_usd(const json_t *value, const char *field, int64_t *out_nano, struct err *err)
{
    char text[64];
    int rc = ERR_INVALID;
    if (json_is_integer(value) && json_integer_value(value) >= 0 &&
        json_integer_value(value) < 9000000000) {
        *out_nano = json_integer_value(value) * 1000000000;
        rc = 0;
    } else if (json_is_real(value) && json_real_value(value) >= 0 &&
               json_real_value(value) < 4000000.0) {
        snprintf(text, sizeof text, "%.9f", json_real_value(value));
        rc = str_parse_fixed(str_from(text), 9, out_nano);
    } else if (json_is_string(value)) {
        rc = str_parse_fixed(str_from(json_string_value(value)), 9, out_nano);
    }
    if (rc != 0 || *out_nano <= 0)
        return err_set(err, ERR_INVALID,
                       "%s: must be USD, more than 0; to stop an account, block it", field);
    return 0;
}

static json_t *usd_text(int64_t nano)
{
    char text[40];
    snprintf(text, sizeof text, "%lld.%09lld", (long long)(nano / 1000000000),
             (long long)(nano % 1000000000));
    return json_string(text);
}

static const struct {
    const char *duration, *period;
} durations[] = {{"30d", "month"}, {"1mo", "month"}, {"24h", "day"},
                 {"1d", "day"},    {"7d", "week"},   {NULL, "total"}};
#define DURATIONS (sizeof durations / sizeof durations[0])

/* "" when it was not given. */
static int read_period(const json_t *body, const char **out_period, struct err *err)
{
    const json_t *value = json_object_get(body, "budget_duration");
    const char *text = json_string_value(value);
    *out_period = value == NULL ? "" : "total";
    if (value == NULL || json_is_null(value))
        return 0;
    for (size_t i = 0; text != NULL && durations[i].duration != NULL; i++) {
        if (strcmp(durations[i].duration, text) == 0) {
            *out_period = durations[i].period;
            return 0;
        }
    }
    return err_set(err, ERR_INVALID,
                   "budget_duration: must be 24h, 1d, 7d, 30d, 1mo or null: days, weeks and months "
                   "of the calendar");
}

/* The one live budget of an account; id 0: none; ERR_CONFLICT: several. */
static int only_budget(struct pq_conn *c, int64_t account, int64_t *out_id, int64_t *out_limit,
                       struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_i64(&p, account);
    int rc = pq_conn_query(c,
                           "SELECT id, limit_nano FROM budget WHERE account_id = $1 AND removed IS "
                           "NULL ORDER BY id",
                           &p, &r, err);
    if (rc != 0)
        return rc;
    *out_id = pq_result_i64(r, 0, 0);
    *out_limit = pq_result_i64(r, 0, 1);
    if (pq_result_rows(r) == 0)
        *out_id = *out_limit = 0;
    if (pq_result_rows(r) > 1)
        rc = err_set(err, ERR_CONFLICT,
                     "max_budget: the account has several budgets; use /api/v1/budgets");
    pq_result_destroy(r);
    return rc;
}

static int remove_budget(struct pq_conn *c, int64_t id, struct err *err)
{
    struct pq_params p = {0};
    pq_params_i64(&p, id);
    return pq_conn_query(c, "UPDATE budget SET removed = now() WHERE id = $1", &p, NULL, err);
}

int litellm_native_budget(const json_t *body, int64_t limit, json_t **out, struct err *err)
{
    const json_t *max = json_object_get(body, "max_budget");
    const json_t *soft = json_object_get(body, "soft_budget");
    const char *period;
    int64_t warn = 0, hundred = 0;
    bool says_nothing =
        is_empty(max) && is_empty(soft) && is_empty(json_object_get(body, "budget_duration"));
    *out = NULL;
    int rc = read_period(body, &period, err);
    if (rc != 0 || says_nothing)
        return rc;
    json_t *native = json_object();
    if (!is_empty(max)) {
        rc = read_usd(max, "max_budget", &limit, err);
        json_object_set_new(native, "limit_usd", usd_text(limit));
    }
    if (rc == 0 && limit == 0)
        rc = err_set(err, ERR_INVALID, "budget_duration, soft_budget: need max_budget");
    if (rc == 0 && !is_empty(soft)) {
        rc = read_usd(soft, "soft_budget", &warn, err);
        if (rc == 0 && (__builtin_mul_overflow(warn, 100, &hundred) || hundred % limit != 0 ||
                        hundred / limit < 1 || hundred / limit > 100))
            rc = err_set(err, ERR_INVALID, "soft_budget: must be a whole percent of max_budget");
        if (rc == 0)
            json_object_set_new(native, "warn_percent", json_integer(hundred / limit));
    }
    if (period[0] != '\0')
        json_object_set_new(native, "period", json_string(period));
    if (rc == 0)
        *out = native;
    else
        json_decref(native);
    return rc;
}

int litellm_budget(struct admin_call *call, struct pq_conn *c, const json_t *body, int64_t account,
                   json_t *detail, struct err *err)
{
    const json_t *max = json_object_get(body, "max_budget");
    json_t *native = NULL;
    int64_t id = 0, limit = 0;
    if (max == NULL && json_object_get(body, "soft_budget") == NULL &&
        json_object_get(body, "budget_duration") == NULL)
        return 0;
    int rc = only_budget(c, account, &id, &limit, err);
    if (rc == 0 && json_is_null(max)) {
        if (!is_empty(json_object_get(body, "soft_budget")))
            return err_set(err, ERR_INVALID, "soft_budget: needs max_budget");
        return id == 0 ? 0 : remove_budget(c, id, err);
    }
    if (rc == 0 && max != NULL && is_empty(max))
        rc = err_set(err, ERR_INVALID,
                     "max_budget: must be more than 0; to stop an account, block "
                     "it");
    if (rc == 0)
        rc = litellm_native_budget(body, limit, &native, err);
    if (rc == 0 && native != NULL && id == 0 && json_object_get(native, "period") == NULL)
        json_object_set_new(native, "period", json_string("total"));
    if (rc == 0 && native != NULL)
        rc = budget_put(call, c, native, account, id, detail, &id, err);
    json_decref(native);
    return rc;
}

/* Column i of a row as a number of USD. */
static void add_usd(json_t *out, const char *name, const struct pq_result *r, int column)
{
    json_object_set_new(out, name,
                        pq_result_is_null(r, 0, column)
                            ? json_null()
                            : json_real(strtod(pq_result_text(r, 0, column).data, NULL)));
}

/* clang-format off */
static const char money_sql[] =
    "SELECT " SQL_USD("b.limit_nano") ", "
    SQL_USD("(b.limit_nano::numeric * b.warn_permille / 1000)") ", b.period, b.id, "
    "CASE WHEN b.id IS NOT NULL THEN (SELECT "
        SQL_USD("coalesce(sum(greatest(s.settled + s.adjust, 0)), 0)") " FROM budget_period s "
        "WHERE s.budget_id = b.id AND s.cfg = b.cfg AND s.period_start = "
        "(budget_period_bounds(b.period, b.tz, b.anchor, now())).period_start) "
    "ELSE (SELECT " SQL_USD("coalesce(sum(u.cost), 0)") " FROM usage_hour u JOIN api_key k "
        "ON k.id = u.key_id WHERE $1 IN (k.id, k.team_id, k.org_id, k.user_id)) END "
    "FROM (SELECT $1::bigint AS id) x "
    "LEFT JOIN budget b ON b.account_id = x.id AND b.removed IS NULL ORDER BY b.id LIMIT 1";
/* clang-format on */

int litellm_add_budget(struct pq_conn *c, int64_t account, json_t *out, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    json_t *budget = NULL;
    pq_params_i64(&p, account);
    int rc = pq_conn_query(c, money_sql, &p, &r, err);
    if (rc != 0)
        return rc;
    json_t *duration = json_null(), *reset = json_null();
    for (size_t i = 0; i < DURATIONS && !pq_result_is_null(r, 0, 2); i++) {
        if (durations[i].duration != NULL && str_is(pq_result_text(r, 0, 2), durations[i].period)) {
            duration = json_string(durations[i].duration);
            break;
        }
    }
    if (!pq_result_is_null(r, 0, 3)) {
        rc = budget_json(c, pq_result_i64(r, 0, 3), &budget, err);
        if (rc == 0)
            reset = json_incref(json_object_get(budget, "period_end"));
    }
    add_usd(out, "max_budget", r, 0);
    add_usd(out, "soft_budget", r, 1);
    add_usd(out, "spend", r, 4);
    json_object_set_new(out, "budget_duration", duration);
    json_object_set_new(out, "budget_reset_at", reset);
    json_decref(budget);
    pq_result_destroy(r);
    return rc;
}
