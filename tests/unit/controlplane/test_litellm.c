/* Scripts written for LiteLLM's proxy: its paths and field names, one script from a user's first
 * key to its end, and what is refused instead of ignored. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tests/lib/fault.h"
#include "tests/unit/controlplane/admin_fixture.h"
#include "tests/unit/controlplane/fixture.h"

static const char yaml[] =
    "version: 1\n"
    "providers: {sim: {base_url: \"http://127.0.0.1:1/v1\", private: true}}\n"
    "models: {large: {deployments: [{provider: sim}]}, small: {deployments: [{provider: sim}]}}\n"
    "routes: {auto: {models: [small, large]}}\n";

static struct pq_conn *db;

PRINTF_LIKE(3, 4)
static json_t *post(unsigned expected, const char *path, const char *format, ...)
{
    char body[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(body, sizeof body, format, args);
    va_end(args);
    return admin_ask("POST", path, body, expected);
}

static const char *text(const json_t *object, const char *field)
{
    const char *value = json_string_value(json_object_get(object, field));
    assert_non_null(value);
    return value;
}

static void has_number(const json_t *object, const char *field, double value)
{
    const json_t *number = json_object_get(object, field);
    assert_true(json_is_number(number));
    assert_true(fabs(json_number_value(number) - value) < 1e-9);
}

static void a_script_manages_teams_users_keys_and_budgets(void **state)
{
    char path[512];
    (void)state;
    json_t *team = post(200, "/team/new",
                        "{\"team_alias\":\"research\",\"max_budget\":12.5,\"budget_duration\":"
                        "\"30d\",\"rpm_limit\":100,\"models\":[],\"metadata\":{\"cost\":\"7\"}}");
    assert_string_equal(text(team, "team_id"), "research");
    has_number(team, "max_budget", 12.5);
    assert_string_equal(text(team, "budget_duration"), "30d");
    json_decref(team);
    team = post(200, "/team/member_add",
                "{\"team_id\":\"research\",\"member\":[{\"role\":\"user\",\"user_id\":\"bob\"}]}");
    assert_int_equal(json_array_size(json_object_get(team, "members_with_roles")), 1);
    json_decref(team);
    json_t *user =
        post(200, "/user/new",
             "{\"user_id\":\"eve\",\"user_email\":\"eve@example.org\",\"max_budget\":1}");
    assert_non_null(strstr(text(user, "key"), "sk-sy-"));
    assert_string_equal(text(user, "user_email"), "eve@example.org");
    json_decref(user);
    json_t *key = post(200, "/key/generate",
                       "{\"key_alias\":\"nb\",\"team_id\":\"research\",\"user_id\":\"eve\","
                       "\"models\":[\"small\"],\"max_budget\":0.1,\"soft_budget\":0.05,"
                       "\"budget_duration\":\"1d\",\"tpm_limit\":1000,\"rpm_limit\":10,"
                       "\"max_parallel_requests\":2,\"duration\":\"30d\",\"metadata\":{\"a\":1},"
                       "\"aliases\":{},\"config\":{},\"permissions\":{}}");
    const char *secret = text(key, "key");
    has_number(key, "max_budget", 0.1);
    has_number(key, "soft_budget", 0.05);
    has_number(key, "spend", 0);
    assert_string_equal(text(key, "budget_duration"), "24h");
    assert_int_equal(fixture_i64(db, "SELECT limit_nano FROM budget b JOIN api_key k ON k.id = "
                                     "b.account_id WHERE k.name = 'nb'"),
                     100000000);
    /* By the key itself, its token, and not by a key that is nearly it. */
    snprintf(path, sizeof path, "/key/info?key=%s", secret);
    json_t *info = admin_ask("GET", path, NULL, 200);
    const json_t *inner = json_object_get(info, "info");
    assert_string_equal(text(inner, "key_alias"), "nb");
    assert_string_equal(text(info, "key"), text(key, "token"));
    assert_null(json_object_get(inner, "key"));
    json_decref(info);
    snprintf(path, sizeof path, "/key/info?key=%s", text(key, "token"));
    json_decref(admin_ask("GET", path, NULL, 200));
    snprintf(path, sizeof path, "/key/info?key=%sx", secret);
    json_decref(admin_ask("GET", path, NULL, 404));
    json_t *changed =
        post(200, "/key/update",
             "{\"key\":\"%s\",\"max_budget\":0.2,\"models\":[],\"rpm_limit\":null}", secret);
    has_number(changed, "max_budget", 0.2);
    assert_string_equal(text(changed, "budget_duration"), "24h");
    assert_true(json_is_null(json_object_get(changed, "rpm_limit")));
    json_decref(changed);
    changed = post(200, "/key/update", "{\"key\":\"%s\",\"budget_duration\":\"7d\"}", secret);
    assert_string_equal(text(changed, "budget_duration"), "7d");
    has_number(changed, "max_budget", 0.2);
    json_decref(changed);
    changed = post(200, "/key/update", "{\"key\":\"%s\",\"max_budget\":null}", secret);
    assert_true(json_is_null(json_object_get(changed, "max_budget")));
    json_decref(changed);
    changed = post(200, "/key/block", "{\"key\":\"%s\"}", secret);
    assert_true(json_is_true(json_object_get(changed, "blocked")));
    json_decref(changed);
    changed = post(200, "/key/unblock", "{\"key\":\"%s\"}", secret);
    assert_true(json_is_false(json_object_get(changed, "blocked")));
    json_decref(changed);
    json_t *list =
        admin_ask("GET", "/key/list?team_id=research&return_full_object=true", NULL, 200);
    assert_int_equal(json_array_size(json_object_get(list, "keys")), 1);
    has_number(list, "total_count", 1);
    json_decref(list);
    json_t *fresh = post(200, "/key/regenerate", "{\"key\":\"%s\"}", secret);
    assert_string_not_equal(text(fresh, "key"), secret);
    json_decref(post(404, "/key/block", "{\"key\":\"%s\"}", secret)); /* The old one is gone. */
    json_t *gone = post(200, "/key/delete", "{\"keys\":[\"%s\"]}", text(fresh, "key"));
    assert_int_equal(json_array_size(json_object_get(gone, "deleted_keys")), 1);
    json_decref(gone);
    json_decref(post(409, "/key/unblock", "{\"key\":\"%s\"}", text(fresh, "key")));
    json_t *budget = post(200, "/budget/new",
                          "{\"budget_id\":\"tag:nightly\",\"max_budget\":3,\"budget_duration\":"
                          "\"1mo\"}");
    has_number(budget, "max_budget", 3);
    json_decref(budget);
    json_decref(post(200, "/budget/update", "{\"budget_id\":\"tag:nightly\",\"max_budget\":4}"));
    budget = post(200, "/budget/info", "{\"budgets\":[\"tag:nightly\"]}");
    has_number(json_array_get(budget, 0), "max_budget", 4);
    assert_string_equal(text(json_array_get(budget, 0), "budget_duration"), "30d");
    json_decref(budget);
    budget = admin_ask("GET", "/budget/list", NULL, 200);
    assert_int_equal(json_array_size(budget), 3); /* team, user, tag */
    json_decref(budget);
    json_decref(post(200, "/team/update", "{\"team_id\":\"research\",\"blocked\":true}"));
    json_t *shown = admin_ask("GET", "/team/info?team_id=research", NULL, 200);
    assert_true(json_is_true(json_object_get(json_object_get(shown, "team_info"), "blocked")));
    json_decref(shown);
    shown = admin_ask("GET", "/user/info?user_id=eve", NULL, 200);
    assert_int_equal(json_array_size(json_object_get(shown, "keys")), 1);
    json_decref(shown);
    shown = admin_ask("GET", "/team/list", NULL, 200);
    assert_int_equal(json_array_size(shown), 1);
    json_decref(shown);
    /* No secret is kept anywhere but as a hash. */
    assert_int_equal(fixture_i64(db, "SELECT count(*) FROM audit_log WHERE detail LIKE '%sk-sy-%' "
                                     "OR subject LIKE '%sk-sy-%'"),
                     0);
    assert_true(fixture_i64(db, "SELECT count(*) FROM audit_log WHERE actor = 'operator'") >= 14);
    json_decref(fresh);
    json_decref(key);
}

static void what_has_no_meaning_here_is_refused_by_name(void **state)
{
    static const char *const bad[][3] = {
        {"/key/generate", "{\"aliases\":{\"a\":\"b\"}}", "aliases"},
        {"/key/generate", "{\"model_max_budget\":{\"small\":1}}", "model_max_budget"},
        {"/key/generate", "{\"key\":\"sk-own\"}", "key"},
        {"/key/generate", "{\"send_invite_email\":true}", "send_invite_email"},
        {"/key/generate", "{\"max_budget\":1,\"budget_duration\":\"90s\"}", "budget_duration"},
        {"/key/generate", "{\"budget_duration\":\"30d\"}", "budget_duration"},
        {"/key/generate", "{\"max_budget\":0}", "max_budget"},
        {"/key/generate", "{\"max_budget\":-1}", "max_budget"},
        {"/key/generate", "{\"max_budget\":3,\"soft_budget\":1}", "soft_budget"},
        {"/key/generate", "{\"models\":[\"gpt-9\"]}", "models"},
        {"/key/generate", "{\"duration\":\"1y\"}", "expires"},
        {"/key/generate", "{\"blocked\":\"yes\"}", "blocked"},
        {"/key/delete", "{\"key_aliases\":[\"a\"]}", "key_aliases"},
        {"/team/new", "{\"team_alias\":\"t\",\"models\":[\"small\"]}", "models"},
        {"/team/new", "{}", "team_alias"},
        {"/team/member_add",
         "{\"team_id\":\"research\",\"member\":{\"role\":\"admin\",\"user_id\":\"x\"}}", "member"},
        {"/user/new", "{\"user_id\":\"z\",\"user_role\":\"proxy_admin\"}", "user_role"},
        {"/user/new", "{}", "user_id"},
        {"/budget/new", "{\"budget_id\":\"basic\",\"max_budget\":3}", "budget_id"},
        {"/budget/new", "{\"budget_id\":\"tag:x\",\"max_budget\":3,\"tpm_limit\":3}", "tpm_limit"},
    };
    (void)state;
    int64_t audit = fixture_i64(db, "SELECT count(*) FROM audit_log");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        json_t *answer = post(400, bad[i][0], "%s", bad[i][1]);
        const json_t *error = json_object_get(answer, "error");
        if (strstr(text(error, "message"), bad[i][2]) == NULL)
            fail_msg("%s %s: %s", bad[i][0], bad[i][1], text(error, "message"));
        assert_string_equal(text(error, "code"), "400");
        json_decref(answer);
    }
    json_decref(admin_ask("GET", "/key/list?sort_by=spend", NULL, 400));
    assert_int_equal(fixture_i64(db, "SELECT count(*) FROM audit_log"), audit);
    assert_int_equal(admin_ask_as("Bearer sk-1234", "POST", "/key/generate", "{}", NULL, NULL, 0),
                     401);
}

static int setup(void **state)
{
    (void)state;
    (void)cluster_start();
    const char *database = cluster_database("litellm", true);
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
        cmocka_unit_test(a_script_manages_teams_users_keys_and_budgets),
        cmocka_unit_test(what_has_no_meaning_here_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
