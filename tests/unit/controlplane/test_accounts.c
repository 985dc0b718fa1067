/* Keys, teams and budgets over the admin API: their lives, what each role may do, and that no
 * sequence of calls gives a key more than its maker has. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/admin/admin.h"
#include "tests/lib/fault.h"
#include "tests/lib/seed.h"
#include "tests/unit/controlplane/admin_fixture.h"
#include "tests/unit/controlplane/fixture.h"

static const char yaml[] =
    "version: 1\n"
    "providers: {sim: {base_url: \"http://127.0.0.1:1/v1\", private: true}}\n"
    "models:\n"
    "  large: {deployments: [{provider: sim}]}\n"
    "  small: {deployments: [{provider: sim}]}\n"
    "routes: {auto: {models: [small, large]}, cheap: {models: [small]}}\n"
    "keys: [{id: filed, rpm: 60, tpm: 9000, hash: \"sha256:"
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}]\n";

static const char *database;
static struct pq_conn *db;

/* --- asking ------------------------------------------------------------------------------------
 */

PRINTF_LIKE(3, 4)
static json_t *ask(unsigned expected, const char *path, const char *body, ...)
{
    char text[8192];
    va_list args;
    va_start(args, body);
    vsnprintf(text, sizeof text, body, args);
    va_end(args);
    return admin_ask("POST", path, text, expected);
}

static void done(unsigned expected, const char *path, const char *body)
{
    json_decref(admin_ask("POST", path, body, expected));
}

static const char *text_at(const json_t *object, const char *field)
{
    const char *text = json_string_value(json_object_get(object, field));
    assert_non_null(text);
    return text;
}

static const char *path_of(const char *noun, const json_t *object, const char *verb)
{
    static char path[256];
    snprintf(path, sizeof path, "/api/v1/%s/%s%s%s", noun, text_at(object, "id"),
             verb[0] == '\0' ? "" : "/", verb);
    return path;
}

static unsigned as(const json_t *credential, const char *path, const char *body, json_t **out)
{
    char header[256], text[2048];
    json_t *json = NULL;
    snprintf(header, sizeof header, "Bearer %s", text_at(credential, "key"));
    unsigned status =
        admin_ask_as(header, body == NULL ? "GET" : "POST", path, body, &json, text, sizeof text);
    if (getenv("TEST_LOUD") != NULL)
        print_message("%s %s: %u %.200s\n", path, body == NULL ? "" : body, status, text);
    if (out != NULL)
        *out = json;
    else
        json_decref(json);
    return status;
}

PRINTF_LIKE(1, 2)
static int64_t count(const char *format, ...)
{
    char sql[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(sql, sizeof sql, format, args);
    va_end(args);
    return fixture_i64(db, sql);
}

/* --- keys --------------------------------------------------------------------------------------
 */

static void a_key_lives_and_is_never_usable_again_after_its_end(void **state)
{
    (void)state;
    done(201, "/api/v1/orgs", "{\"name\":\"acme\"}");
    done(201, "/api/v1/teams", "{\"name\":\"web\",\"org\":\"acme\",\"rpm\":600}");
    json_t *key =
        ask(201, "/api/v1/keys",
            "{\"name\":\"app\",\"routes\":[\"auto\"],\"models\":[\"small\"],\"endpoints\":"
            "[\"chat.completions\"],\"team\":\"web\",\"user\":\"ann\",\"tags\":[\"batch\"],"
            "\"rpm\":60,\"tpm\":1000,\"concurrency\":4,\"max_cost_usd\":\"0.05\",\"budgets\":"
            "[{\"limit_usd\":\"5.00\",\"period\":\"month\"}],\"expires\":\"30d\",\"metadata\":"
            "{\"a\":1},\"reason\":\"ticket 7\"}");
    const char *id = text_at(key, "id");
    assert_string_equal(text_at(key, "team"), "web");
    assert_string_equal(text_at(key, "org"), "acme");
    assert_string_equal(text_at(key, "user"), "ann");
    assert_string_equal(text_at(key, "max_cost_usd"), "0.05");
    assert_int_equal(count("SELECT max_cost_nano FROM api_key WHERE public_id = '%s'", id),
                     50000000);
    assert_int_equal(count("SELECT limit_nano FROM budget JOIN account a ON a.id = account_id "
                           "WHERE a.name = '%s'",
                           id),
                     5000000000);
    json_decref(ask(200, path_of("keys", key, "update"),
                    "{\"rpm\":null,\"models\":[],\"max_cost_usd\":\"1\",\"reason\":\"more\"}"));
    assert_int_equal(count("SELECT count(*) FROM pushed_key WHERE public_id = '%s' AND rpm IS NULL "
                           "AND models = '{}' AND routes = '{auto}' AND tpm = 1000 AND "
                           "max_cost_nano = 1000000000 AND NOT disabled",
                           id),
                     1);
    /* The old secret works for as long as was said. */
    json_t *rotated = ask(200, path_of("keys", key, "rotate"), "{\"overlap\":\"2h\"}");
    assert_string_not_equal(text_at(rotated, "key"), text_at(key, "key"));
    assert_string_equal(text_at(rotated, "id"), id);
    assert_int_equal(count("SELECT count(*) FROM pushed_key WHERE public_id = '%s' AND sha256 = "
                           "sha256('%s') AND prev_sha256 = sha256('%s') AND prev_until BETWEEN "
                           "now() + interval '119 min' AND now() + interval '2 h'",
                           id, text_at(rotated, "key"), text_at(key, "key")),
                     1);
    json_t *again = ask(200, path_of("keys", key, "rotate"), "{\"overlap\":\"0s\"}");
    assert_int_equal(count("SELECT count(*) FROM pushed_key WHERE public_id = '%s' AND prev_sha256 "
                           "IS NULL AND sha256 = sha256('%s')",
                           id, text_at(again, "key")),
                     1);
    done(200, path_of("keys", key, "disable"), "{\"reason\":\"leaked\"}");
    assert_int_equal(count("SELECT count(*) FROM pushed_key WHERE disabled"), 1);
    done(200, path_of("keys", key, "enable"), "{}");
    /* Expiry only ever moves closer here. */
    done(200, path_of("keys", key, "expire"), "{\"at\":\"90d\"}");
    assert_int_equal(count("SELECT count(*) FROM api_key WHERE expires > now() + interval '31 d'"),
                     0);
    done(200, path_of("keys", key, "expire"), "{}");
    assert_int_equal(count("SELECT count(*) FROM api_key WHERE public_id = '%s' AND expires <= "
                           "now()",
                           id),
                     1);
    done(200, path_of("keys", key, "delete"), "{\"reason\":\"gone\"}");
    assert_int_equal(count("SELECT count(*) FROM pushed_key WHERE public_id = '%s'", id), 0);
    static const char *const verbs[] = {"update", "rotate", "disable",
                                        "enable", "expire", "delete"};
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        done(409, path_of("keys", key, verbs[i]), "{}");
    /* Its row, budget and account stay for those who ask what was. */
    json_t *shown = admin_ask("GET", path_of("keys", key, ""), NULL, 200);
    assert_true(json_is_true(json_object_get(shown, "deleted")));
    json_decref(shown);
    assert_int_equal(
        count("SELECT count(*) FROM audit_log WHERE subject = '%s' AND actor = 'operator'", id), 9);
    assert_int_equal(count("SELECT count(*) FROM audit_log WHERE subject = '%s' AND action = "
                           "'key.create' AND reason = 'ticket 7'",
                           id),
                     1);
    assert_int_equal(count("SELECT count(*) FROM audit_log WHERE detail LIKE '%%sk-sy-%%'"), 0);
    json_decref(again);
    json_decref(rotated);
    json_decref(key);
}

static void what_a_person_disabled_no_file_brings_back(void **state)
{
    (void)state;
    assert_int_equal(count("SELECT count(*) FROM pushed_key WHERE public_id = 'filed' AND rpm = 60 "
                           "AND tpm = 9000 AND concurrency IS NULL"),
                     1);
    done(409, "/api/v1/keys/filed/rotate", "{}");
    done(409, "/api/v1/keys/filed/update", "{\"rpm\":1}");
    done(200, "/api/v1/keys/filed/disable", "{\"reason\":\"leaked\"}");
    admin_fixture_apply(database, yaml);
    assert_int_equal(
        count("SELECT count(*) FROM pushed_key WHERE public_id = 'filed' AND disabled"), 1);
    done(200, "/api/v1/keys/filed/enable", "{}");
    admin_fixture_apply(database, yaml);
    assert_int_equal(
        count("SELECT count(*) FROM pushed_key WHERE public_id = 'filed' AND NOT disabled"), 1);
    done(200, "/api/v1/keys/filed/delete", "{}");
    admin_fixture_apply(database, yaml);
    assert_int_equal(count("SELECT count(*) FROM pushed_key WHERE public_id = 'filed'"), 0);
}

static void a_dry_run_says_what_would_be_and_changes_nothing(void **state)
{
    (void)state;
    int64_t keys = count("SELECT count(*) FROM api_key");
    int64_t audit = count("SELECT count(*) FROM audit_log");
    json_t *key = ask(200, "/api/v1/keys", "{\"name\":\"x\",\"dry_run\":true}");
    assert_true(json_is_true(json_object_get(key, "dry_run")));
    assert_null(json_object_get(key, "key"));
    json_decref(key);
    done(400, "/api/v1/keys", "{\"name\":\"x\",\"dry_run\":true,\"routes\":[\"nowhere\"]}");
    done(200, "/api/v1/teams", "{\"name\":\"x\",\"dry_run\":true}");
    done(200, "/api/v1/budgets",
         "{\"account\":\"tag:x\",\"limit_usd\":\"1\",\"period\":\"day\",\"dry_run\":true}");
    assert_int_equal(count("SELECT count(*) FROM api_key"), keys);
    assert_int_equal(count("SELECT count(*) FROM audit_log"), audit);
    assert_int_equal(count("SELECT count(*) FROM account WHERE name = 'x'"), 0);
}

static void b28_nonsense_about_keys_teams_and_budgets_is_400(void **state)
{
    static const char *const bad[][2] = {
        {"keys", "{\"name\":\"a\",\"rpm\":0}"},
        {"keys", "{\"name\":\"a\",\"rpm\":1.5}"},
        {"keys", "{\"name\":\"a\",\"tpm\":-1}"},
        {"keys", "{\"name\":\"a\",\"team\":\"nowhere\"}"},
        {"keys", "{\"name\":\"a\",\"team\":\"web\",\"org\":\"acme\"}"},
        {"keys", "{\"name\":\"a\",\"endpoints\":[\"ftp\"]}"},
        {"keys", "{\"name\":\"a\",\"max_cost_usd\":0.1}"},
        {"keys", "{\"name\":\"a\",\"max_cost_usd\":\"0\"}"},
        {"keys", "{\"name\":\"a\",\"max_cost_usd\":\"0.0000000001\"}"},
        {"keys", "{\"name\":\"a\",\"budgets\":[{\"limit_usd\":\"1\"}]}"},
        {"keys", "{\"name\":\"a\",\"budgets\":[{\"limit\":\"1\",\"period\":\"day\"}]}"},
        {"keys", "{\"name\":\"a\",\"role\":\"admin\",\"rpm\":5}"},
        {"keys", "{\"name\":\"a\",\"metadata\":[]}"},
        {"keys", "{\"name\":\"a\",\"dry_run\":\"yes\"}"},
        {"keys", "{\"name\":null}"},
        {"teams", "{}"},
        {"teams", "{\"name\":\"a\",\"org\":\"nowhere\"}"},
        {"teams", "{\"name\":\"a\",\"rpm\":\"many\"}"},
        {"orgs", "{\"name\":\"a\",\"org\":\"acme\"}"},
        {"budgets", "{\"account\":\"team:web\",\"limit_usd\":5.0,\"period\":\"day\"}"},
        {"budgets", "{\"account\":\"team:web\",\"limit_usd\":\"-5\",\"period\":\"day\"}"},
        {"budgets", "{\"account\":\"team:web\",\"limit_usd\":\"5\"}"},
        {"budgets", "{\"account\":\"team:web\",\"limit_usd\":\"5\",\"period\":\"hour\"}"},
        {"budgets", "{\"account\":\"team:web\",\"period\":\"day\"}"},
        {"budgets", "{\"account\":\"web\",\"limit_usd\":\"5\",\"period\":\"day\"}"},
        {"budgets",
         "{\"account\":\"team:web\",\"limit_usd\":\"5\",\"period\":\"day\",\"tz\":\"Mars/X\"}"},
        {"budgets", "{\"account\":\"team:web\",\"limit_usd\":\"5\",\"period\":\"day\",\"mode\":1}"},
        {"budgets", "{\"account\":\"team:web\",\"limit_usd\":\"5\",\"period\":\"day\","
                    "\"webhook\":\"file:///x\"}"},
        {"budgets", "{\"account\":\"team:web\",\"limit_usd\":\"5\",\"period\":\"day\","
                    "\"offline_usd\":\"6\"}"},
    };
    (void)state;
    int64_t audit = count("SELECT count(*) FROM audit_log");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char path[64];
        snprintf(path, sizeof path, "/api/v1/%s", bad[i][0]);
        done(400, path, bad[i][1]);
    }
    done(404, "/api/v1/budgets",
         "{\"account\":\"team:nowhere\",\"limit_usd\":\"1\",\"period\":\"day\"}");
    assert_int_equal(count("SELECT count(*) FROM audit_log"), audit);
}

/* --- teams and budgets -------------------------------------------------------------------------
 */

static void a_disabled_team_stops_its_keys_and_a_team_with_keys_stays(void **state)
{
    (void)state;
    done(201, "/api/v1/teams", "{\"name\":\"ops\"}");
    done(409, "/api/v1/teams", "{\"name\":\"ops\"}");
    json_t *key = ask(201, "/api/v1/keys", "{\"name\":\"k\",\"team\":\"ops\"}");
    done(200, "/api/v1/teams/ops/update", "{\"disabled\":true,\"reason\":\"budget review\"}");
    assert_int_equal(count("SELECT count(*) FROM pushed_key WHERE public_id = '%s' AND disabled",
                           text_at(key, "id")),
                     1);
    done(200, "/api/v1/teams/ops/update", "{\"disabled\":false,\"org\":\"acme\"}");
    assert_int_equal(count("SELECT cardinality(accounts) FROM pushed_key WHERE public_id = '%s'",
                           text_at(key, "id")),
                     3);
    done(409, "/api/v1/teams/ops/delete", "{}");
    done(200, path_of("keys", key, "delete"), "{}");
    done(200, "/api/v1/teams/ops/delete", "{}");
    done(404, "/api/v1/teams/ops/delete", "{}");
    done(201, "/api/v1/teams", "{\"name\":\"ops\"}");
    json_t *list = admin_ask("GET", "/api/v1/teams?limit=1", NULL, 200);
    assert_int_equal(json_array_size(json_object_get(list, "items")), 1);
    assert_string_equal(text_at(list, "next"), "ops");
    json_decref(list);
    list = admin_ask("GET", "/api/v1/teams?limit=50&cursor=ops", NULL, 200);
    assert_int_equal(json_array_size(json_object_get(list, "items")), 1);
    json_decref(list);
    json_decref(key);
}

static void a_budget_is_set_raised_lowered_moved_and_removed(void **state)
{
    char path[64];
    (void)state;
    json_t *b = ask(200, "/api/v1/budgets",
                    "{\"account\":\"team:web\",\"limit_usd\":\"100.000000001\",\"period\":"
                    "\"month\",\"tz\":\"Europe/Berlin\",\"warn_percent\":90,\"webhook\":"
                    "\"https://hooks.example/x\",\"reason\":\"plan\"}");
    int64_t id = json_integer_value(json_object_get(b, "id"));
    assert_string_equal(text_at(b, "limit_usd"), "100.000000001");
    assert_string_equal(text_at(b, "remaining_usd"), "100.000000001");
    assert_string_equal(text_at(b, "committed_usd"), "0");
    assert_string_equal(text_at(b, "mode"), "strict");
    assert_int_equal(json_integer_value(json_object_get(b, "warn_percent")), 90);
    json_decref(b);
    /* The same account and period: the same budget. */
    b = ask(200, "/api/v1/budgets",
            "{\"account\":\"team:web\",\"limit_usd\":\"50\",\"period\":\"month\"}");
    assert_int_equal(json_integer_value(json_object_get(b, "id")), id);
    assert_string_equal(text_at(b, "tz"), "Europe/Berlin");
    assert_int_equal(json_integer_value(json_object_get(b, "cfg")), 1);
    json_decref(b);
    snprintf(path, sizeof path, "/api/v1/budgets/%lld/update", (long long)id);
    b = ask(200, path, "{\"limit_usd\":\"200\",\"period\":\"week\"}");
    assert_int_equal(json_integer_value(json_object_get(b, "cfg")), 2);
    assert_string_equal(text_at(b, "limit_usd"), "200");
    json_decref(b);
    done(200, "/api/v1/budgets",
         "{\"account\":\"team:web\",\"limit_usd\":\"9\",\"period\":\"day\"}");
    done(409, path, "{\"period\":\"day\"}"); /* There is one. */
    done(400, path, "{\"limit_usd\":null}");
    json_t *list = admin_ask("GET", "/api/v1/budgets?account=team:web", NULL, 200);
    assert_int_equal(json_array_size(json_object_get(list, "items")), 2);
    json_decref(list);
    snprintf(path, sizeof path, "/api/v1/budgets/%lld/delete", (long long)id);
    done(200, path, "{\"reason\":\"over\"}");
    done(409, path, "{}");
    list = admin_ask("GET", "/api/v1/budgets?account=team:web", NULL, 200);
    assert_int_equal(json_array_size(json_object_get(list, "items")), 1);
    json_decref(list);
    list = admin_ask("GET", "/api/v1/budgets?account=team:web&removed=true", NULL, 200);
    assert_int_equal(json_array_size(json_object_get(list, "items")), 2);
    json_decref(list);
    assert_int_equal(count("SELECT count(*) FROM audit_log WHERE subject = '%lld' AND action LIKE "
                           "'budget.%%'",
                           (long long)id),
                     4);
    assert_int_equal(count("SELECT count(*) FROM budget WHERE id = %lld", (long long)id), 1);
}

static void a_budget_shows_what_was_handed_out_and_spent_in_its_period(void **state)
{
    char path[64];
    (void)state;
    json_t *b = ask(200, "/api/v1/budgets",
                    "{\"account\":\"tag:shown\",\"limit_usd\":\"10\",\"period\":\"month\"}");
    long long id = (long long)json_integer_value(json_object_get(b, "id"));
    const char *start = text_at(b, "period_start"), *end = text_at(b, "period_end");
    assert_non_null(strstr(start, "-01T00:00:00")); /* The 1st, before any node asked. */
    assert_true(strcmp(start, end) < 0);
    snprintf(path, sizeof path, "/api/v1/budgets/%lld", id);
    assert_int_equal(
        count("WITH made AS (INSERT INTO budget_period (budget_id, period_start, cfg, period_end, "
              "limit_nano, committed, settled) VALUES (%lld, '%s', 1, '%s', 10000000000, "
              "4500000000, 1250000000), (%lld, timestamptz '%s' - interval '1 month', 1, '%s', "
              "10000000000, 9, 9) RETURNING 1) SELECT count(*) FROM made",
              id, start, end, id, start, start),
        2);
    assert_int_equal(
        count("WITH made AS (INSERT INTO budget_adjust (budget_id, period_start, cfg, amount, "
              "actor, reason) VALUES (%lld, '%s', 1, 500000000, 't', 't') RETURNING 1) SELECT "
              "count(*) FROM made",
              id, start),
        1);
    json_t *shown = admin_ask("GET", path, NULL, 200);
    assert_string_equal(text_at(shown, "committed_usd"), "4.5");
    assert_string_equal(text_at(shown, "settled_usd"), "1.25");
    assert_string_equal(text_at(shown, "adjusted_usd"), "0.5");
    assert_string_equal(text_at(shown, "remaining_usd"), "5");
    json_decref(shown);
    json_t *theirs = admin_ask("POST", "/budget/info", "{\"budgets\":[\"tag:shown\"]}", 200);
    assert_true(json_number_value(json_object_get(json_array_get(theirs, 0), "spend")) == 1.75);
    assert_string_equal(text_at(json_array_get(theirs, 0), "budget_reset_at"), end);
    json_decref(theirs);
    /* Lowered below what is out: nothing remains, nothing is negative. */
    shown = ask(200, "/api/v1/budgets",
                "{\"account\":\"tag:shown\",\"limit_usd\":\"2\",\"period\":\"month\"}");
    assert_string_equal(text_at(shown, "remaining_usd"), "0");
    json_decref(shown);
    /* For ever has no end. */
    shown = ask(200, "/api/v1/budgets",
                "{\"account\":\"tag:shown\",\"limit_usd\":\"2\",\"period\":\"total\"}");
    assert_true(json_is_null(json_object_get(shown, "period_end")));
    json_decref(shown);
    json_decref(b);
}

static void a_path_has_at_most_sixteen_budgets(void **state)
{
    static const char *const on[] = {"org:acme", "team:web", "user:many", "tag:many1", "tag:many2"};
    static const char *const periods[] = {"day", "week", "month", "total"};
    char body[256];
    (void)state;
    json_t *key = ask(201, "/api/v1/keys",
                      "{\"name\":\"k\",\"team\":\"web\",\"user\":\"many\",\"tags\":[\"many1\"]}");
    for (unsigned i = 0; i < 20; i++) {
        snprintf(body, sizeof body, "{\"account\":\"%s\",\"limit_usd\":\"9\",\"period\":\"%s\"}",
                 on[i / 4], periods[i % 4]);
        done(200, "/api/v1/budgets", body);
    }
    /* Sixteen are on its path; tag many2 is not, and must not come. */
    done(400, path_of("keys", key, "update"), "{\"tags\":[\"many1\",\"many2\"]}");
    done(400, "/api/v1/budgets",
         "{\"account\":\"model:small\",\"limit_usd\":\"9\",\"period\":\"day\"}");
    done(200, path_of("keys", key, "delete"), "{}");
    done(200, "/api/v1/budgets",
         "{\"account\":\"model:small\",\"limit_usd\":\"9\",\"period\":\"day\"}");
    json_decref(key);
}

/* --- roles -------------------------------------------------------------------------------------
 */

static void each_role_may_call_what_the_table_says(void **state)
{
    static const char *const names[] = {"none", "viewer", "operator", "admin"};
    struct admin_route_facts route;
    (void)state;
    json_t *plain = ask(201, "/api/v1/keys", "{\"name\":\"plain\"}");
    assert_int_equal(as(plain, "/api/v1/keys", NULL, NULL), 401);
    for (unsigned role = ROLE_VIEWER; role <= ROLE_ADMIN; role++) {
        for (unsigned bound = 0; bound < (role == ROLE_ADMIN ? 1 : 2); bound++) {
            json_t *who = ask(201, "/api/v1/keys", "{\"name\":\"who\",\"role\":\"%s\"%s}",
                              names[role], bound == 0 ? "" : ",\"team\":\"web\"");
            for (size_t i = 0; admin_route_at(i, &route); i++) {
                char path[256];
                bool may = role >= (unsigned)route.role && (bound == 0 || route.scoped);
                snprintf(path, sizeof path, "%s%s", route.prefix, route.pattern);
                for (char *at = path; (at = strpbrk(at, "{}")) != NULL;)
                    *at = 'x';
                /* Nobody may: refused before the body is looked at. Who may: refused because of
                 * it, or answered. */
                unsigned status = as(
                    who, path, strcmp(route.method, "GET") == 0 ? NULL : "{\"nonsense\":1}", NULL);
                if ((status == 403) == may)
                    fail_msg("%s %s as %s%s: %u", route.method, path, names[role],
                             bound ? " of a team" : "", status);
            }
            /* Its own life is a key's: it ends, and nobody listens any more. */
            done(200, path_of("keys", who, "disable"), "{}");
            assert_int_equal(as(who, "/api/v1/keys", NULL, NULL), 401);
            done(200, path_of("keys", who, "enable"), "{}");
            assert_int_equal(as(who, "/api/v1/keys", NULL, NULL), 200);
            json_t *fresh = ask(200, path_of("keys", who, "rotate"), "{\"overlap\":\"0s\"}");
            assert_int_equal(as(who, "/api/v1/keys", NULL, NULL), 401);
            assert_int_equal(as(fresh, "/api/v1/keys", NULL, NULL), 200);
            done(200, path_of("keys", who, "expire"), "{}");
            assert_int_equal(as(fresh, "/api/v1/keys", NULL, NULL), 401);
            json_decref(fresh);
            json_decref(who);
        }
    }
    /* None of them is ever sent to a node. */
    assert_int_equal(count("SELECT count(*) FROM pushed_key p JOIN api_key k USING (id) WHERE "
                           "k.role IS NOT NULL"),
                     0);
    json_decref(plain);
}

static void an_operator_of_a_team_sees_and_changes_that_team_alone(void **state)
{
    json_t *mine = NULL, *list = NULL;
    (void)state;
    json_t *who =
        ask(201, "/api/v1/keys", "{\"name\":\"lead\",\"role\":\"operator\",\"team\":\"web\"}");
    json_t *theirs = ask(201, "/api/v1/keys", "{\"name\":\"other\",\"team\":\"ops\"}");
    json_t *given = ask(201, "/api/v1/keys", "{\"name\":\"given\",\"team\":\"web\"}");
    assert_int_equal(as(who, "/api/v1/keys", "{\"name\":\"m\",\"reason\":\"r\"}", &mine), 201);
    assert_string_equal(text_at(mine, "team"), "web");
    assert_int_equal(as(who, "/api/v1/keys", "{\"name\":\"m\",\"team\":\"ops\"}", NULL), 403);
    assert_int_equal(as(who, "/api/v1/keys", "{\"name\":\"m\",\"team\":null}", NULL), 403);
    assert_int_equal(as(who, path_of("keys", mine, "update"), "{\"team\":\"ops\"}", NULL), 403);
    assert_int_equal(as(who, "/api/v1/keys", "{\"name\":\"m\",\"role\":\"admin\"}", NULL), 403);
    assert_int_equal(as(who, path_of("keys", theirs, ""), NULL, NULL), 404);
    assert_int_equal(as(who, path_of("keys", theirs, "disable"), "{}", NULL), 404);
    assert_int_equal(as(who, path_of("keys", theirs, "rotate"), "{}", NULL), 404);
    assert_int_equal(as(who, path_of("keys", given, "disable"), "{}", NULL), 200);
    assert_int_equal(as(who, path_of("keys", given, "update"), "{\"rpm\":5}", NULL), 403);
    assert_int_equal(as(who, path_of("keys", who, "update"), "{\"rpm\":5}", NULL), 403);
    assert_int_equal(as(who, "/api/v1/keys?limit=1000", NULL, &list), 200);
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(list, "items"), i, item)
        assert_string_equal(text_at(item, "team"), "web");
    json_decref(list);
    assert_int_equal(as(who, "/api/v1/teams", NULL, &list), 200);
    assert_int_equal(json_array_size(json_object_get(list, "items")), 1);
    json_decref(list);
    assert_int_equal(as(who, "/api/v1/teams/ops", NULL, NULL), 404);
    assert_int_equal(as(who, "/api/v1/decisions", NULL, NULL), 403);
    assert_int_equal(count("SELECT count(*) FROM audit_log WHERE actor = 'key:%s' AND action = "
                           "'key.create' AND reason = 'r'",
                           text_at(who, "id")),
                     1);
    json_decref(mine);
    json_decref(given);
    json_decref(theirs);
    json_decref(who);
}

/* --- property ----------------------------------------------------------------------------------
 */

static uint64_t seed_state;

static unsigned draw(unsigned below) /* splitmix64 */
{
    uint64_t z = seed_state += 0x9e3779b97f4a7c15ULL;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
    return (unsigned)((z ^ z >> 31) % below);
}

/* Fields of a key at random, many of them more than any maker here has. */
static void random_fields(char *out, size_t bytes, bool with_role)
{
    static const char *const pieces[] = {
        ",\"routes\":[\"auto\"]",
        ",\"routes\":[]",
        ",\"routes\":[\"auto\",\"cheap\"]",
        ",\"models\":[\"small\"]",
        ",\"models\":[\"small\",\"large\"]",
        ",\"endpoints\":[\"models\"]",
        ",\"endpoints\":null",
        ",\"rpm\":10",
        ",\"rpm\":40",
        ",\"rpm\":null",
        ",\"tpm\":900",
        ",\"concurrency\":2",
        ",\"max_cost_usd\":\"0.5\"",
        ",\"max_cost_usd\":\"2\"",
        ",\"max_cost_usd\":null",
        ",\"expires\":\"5d\"",
        ",\"expires\":\"50d\"",
        ",\"expires\":null",
        ",\"team\":\"ops\"",
        ",\"team\":null",
        ",\"user\":\"eve\"",
        ",\"tags\":[]",
        ",\"tags\":[\"web\",\"x\"]",
        ",\"may_no_log\":true",
        ",\"no_explore\":false",
        ",\"budgets\":[{\"limit_usd\":\"3\",\"period\":\"day\"}]",
        ",\"budgets\":[{\"limit_usd\":\"6\",\"period\":\"day\"}]",
        ",\"budgets\":[{\"limit_usd\":\"1\",\"period\":\"day\"}]",
        ",\"budgets\":[{\"limit_usd\":\"1\",\"period\":\"day\",\"tz\":\"Asia/Tokyo\"}]",
        ",\"budgets\":[{\"limit_usd\":\"1\",\"period\":\"day\",\"mode\":\"soft\"}]",
    };
    static const char *const as_it_should[] = {
        ",\"rpm\":1", ",\"tpm\":10", ",\"concurrency\":1",
        (",\"budgets\":[{\"limit_usd\":\"0.1\",\"period\":\"day\"}]")};
    size_t at = (size_t)snprintf(out, bytes, "{\"name\":\"r\"");
    const char *used[16];
    unsigned wanted = draw(4), count_used = 0;
    for (unsigned i = 0; i < wanted; i++)
        used[count_used++] = pieces[draw(sizeof pieces / sizeof pieces[0])];
    if (draw(4) > 0) {
        for (unsigned i = 0; i < 4; i++)
            used[count_used++] = as_it_should[i];
    }
    for (unsigned i = 0; i < count_used; i++) {
        /* One of each field: duplicates are a syntax error. */
        bool repeated = false;
        for (unsigned k = 0; k < i && !repeated; k++)
            repeated = strncmp(used[k], used[i], strcspn(used[i], ":")) == 0;
        if (!repeated)
            at += (size_t)snprintf(out + at, bytes - at, "%s", used[i]);
    }
    if (with_role && draw(3) == 0)
        at += (size_t)snprintf(out + at, bytes - at, ",\"role\":\"%s\"",
                               draw(2) == 0 ? "operator" : "admin");
    snprintf(out + at, bytes - at, "}");
}

/* Written apart from what the code checks with, over all keys that hang below a maker. */
static const char broken_sql[] =
    "WITH RECURSIVE below (top, id) AS (SELECT id, id FROM api_key WHERE role IS NOT NULL UNION "
    "ALL "
    "SELECT b.top, k.id FROM below b JOIN api_key k ON k.maker = b.id) "
    "SELECT count(*) FROM below JOIN api_key m ON m.id = below.top JOIN api_key k ON k.id = "
    "below.id "
    "WHERE k.id <> m.id AND k.removed IS NULL AND ("
    " (k.role IS NOT NULL AND NOT (k.role = 'viewer' OR m.role = 'admin' OR k.role = m.role))"
    " OR (m.routes <> '{}' AND (k.routes = '{}' OR NOT m.routes @> k.routes))"
    " OR (m.models <> '{}' AND (k.models = '{}' OR NOT m.models @> k.models))"
    " OR (m.endpoints <> '{}' AND (k.endpoints = '{}' OR NOT m.endpoints @> k.endpoints))"
    " OR coalesce(k.max_cost_nano, 1e18) > coalesce(m.max_cost_nano, 1e18)"
    /* A credential that was expired early leaves its keys as they are. */
    " OR (m.maker IS NULL AND coalesce(k.expires, 'infinity') > coalesce(m.expires, 'infinity'))"
    " OR (m.team_id IS NOT NULL AND k.team_id IS DISTINCT FROM m.team_id)"
    " OR (m.user_id IS NOT NULL AND k.user_id IS DISTINCT FROM m.user_id)"
    " OR NOT k.tags @> m.tags OR (k.may_no_log AND NOT m.may_no_log)"
    " OR coalesce(k.rpm, 1e18) > coalesce(m.rpm, 1e18)"
    " OR coalesce(k.tpm, 1e18) > coalesce(m.tpm, 1e18)"
    " OR coalesce(k.concurrency, 1e18) > coalesce(m.concurrency, 1e18))";
static const char overgiven_sql[] =
    "SELECT count(*) FROM api_key m WHERE m.role IS NOT NULL AND ("
    "(SELECT sum(rpm) FROM api_key WHERE maker = m.id AND removed IS NULL) > m.rpm OR "
    "(SELECT sum(tpm) FROM api_key WHERE maker = m.id AND removed IS NULL) > m.tpm OR "
    "(SELECT sum(b.limit_nano) FROM budget b JOIN api_key k ON k.id = b.account_id WHERE "
    "k.maker = m.id AND b.period = 'day') > "
    "(SELECT limit_nano FROM budget WHERE account_id = m.id AND period = 'day'))";
static const char unbudgeted_sql[] =
    "SELECT count(*) FROM api_key m JOIN api_key k ON k.maker = m.id WHERE k.removed IS NULL AND "
    "EXISTS (SELECT FROM budget WHERE account_id = m.id) AND NOT EXISTS (SELECT FROM budget WHERE "
    "account_id = k.id AND removed IS NULL AND period = 'day' AND tz = 'UTC' AND mode = 'strict')";

static void no_sequence_of_calls_gives_a_key_more_than_its_maker_has(void **state)
{
    static const char *const verbs[] = {"update",  "rotate", "enable",
                                        "disable", "expire", "delete"};
    char body[2048], path[256];
    (void)state;
    const uint64_t seed = test_seed(20261121);
    seed_state = seed;
    json_t *makers[12];
    json_t *keys[64];
    unsigned maker_count = 0, key_count = 0, made = 0, refused = 0;
    makers[maker_count++] =
        ask(201, "/api/v1/keys",
            "{\"name\":\"root\",\"role\":\"operator\",\"routes\":[\"auto\"],\"models\":[\"small\"],"
            "\"endpoints\":[\"chat.completions\",\"models\"],\"expires\":\"20d\",\"team\":\"web\","
            "\"user\":\"ann\",\"tags\":[\"web\"],\"rpm\":50,\"tpm\":1000,\"concurrency\":9,"
            "\"max_cost_usd\":\"1\",\"no_explore\":true,\"budgets\":[{\"limit_usd\":\"5\","
            "\"period\":\"day\"}]}");
    makers[maker_count++] =
        ask(201, "/api/v1/keys", "{\"name\":\"bare\",\"role\":\"operator\",\"expires\":\"9d\"}");
    keys[key_count++] = ask(201, "/api/v1/keys", "{\"name\":\"foreign\",\"team\":\"web\"}");
    for (unsigned step = 0; step < 400; step++) {
        json_t *who = makers[draw(maker_count)], *reply = NULL;
        bool create = draw(3) == 0;
        random_fields(body, sizeof body, create);
        if (create) {
            snprintf(path, sizeof path, "/api/v1/keys");
        } else {
            unsigned verb = draw(sizeof verbs / sizeof verbs[0]);
            snprintf(path, sizeof path, "%s", path_of("keys", keys[draw(key_count)], verbs[verb]));
            if (verb != 0)
                snprintf(body, sizeof body, "{}");
        }
        unsigned status = as(who, path, body, &reply);
        if (status != 200 && status != 201 && status != 400 && status != 401 && status != 403 &&
            status != 404 && status != 409)
            fail_msg("step %u: %s %s: %u", step, path, body, status);
        made += status == 201;
        refused += status == 403;
        if (status == 201 && json_object_get(reply, "role") != NULL &&
            json_is_string(json_object_get(reply, "role")) && maker_count < 12)
            makers[maker_count++] = json_incref(reply);
        if (status == 201 && key_count < 64)
            keys[key_count++] = json_incref(reply);
        json_decref(reply);
        int64_t broken = count("%s", broken_sql), over = count("%s", overgiven_sql),
                bare = count("%s", unbudgeted_sql);
        if (broken + over + bare != 0)
            fail_msg("seed %llu, step %u: %s %s gave too much (%lld, %lld, %lld)",
                     (unsigned long long)seed, step, path, body, (long long)broken, (long long)over,
                     (long long)bare);
    }
    print_message("%u made, %u refused, %u makers\n", made, refused, maker_count);
    assert_true(made >= 20 && refused >= 20 && maker_count >= 3);
    for (unsigned i = 0; i < maker_count; i++)
        json_decref(makers[i]);
    for (unsigned i = 0; i < key_count; i++)
        json_decref(keys[i]);
}

static int setup(void **state)
{
    (void)state;
    (void)cluster_start();
    database = cluster_database("accounts", true);
    admin_fixture_start(database, yaml);
    db = fixture_connect(database);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pq_conn_close(db);
    admin_fixture_stop();
    cluster_stop();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_lives_and_is_never_usable_again_after_its_end),
        cmocka_unit_test(what_a_person_disabled_no_file_brings_back),
        cmocka_unit_test(a_dry_run_says_what_would_be_and_changes_nothing),
        cmocka_unit_test(b28_nonsense_about_keys_teams_and_budgets_is_400),
        cmocka_unit_test(a_disabled_team_stops_its_keys_and_a_team_with_keys_stays),
        cmocka_unit_test(a_budget_is_set_raised_lowered_moved_and_removed),
        cmocka_unit_test(a_budget_shows_what_was_handed_out_and_spent_in_its_period),
        cmocka_unit_test(each_role_may_call_what_the_table_says),
        cmocka_unit_test(an_operator_of_a_team_sees_and_changes_that_team_alone),
        cmocka_unit_test(no_sequence_of_calls_gives_a_key_more_than_its_maker_has),
        cmocka_unit_test(a_path_has_at_most_sixteen_budgets),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
