/* Every route that changes something leaves a row in audit_log, with who did it and why. The routes
 * are those of the table: a new one must be walked here, or be said to be tested elsewhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controlplane/admin/admin.h"
#include "tests/unit/controlplane/admin_fixture.h"
#include "tests/unit/controlplane/fixture.h"

static const char yaml[] =
    "version: 1\n"
    "providers: {sim: {base_url: \"http://127.0.0.1:1/v1\", private: true}}\n"
    "models:\n"
    "  large: {deployments: [{provider: sim}], price: {input: 2 USD, output: 8 USD}, "
    "prior_quality: 0.9}\n"
    "  small: {deployments: [{provider: sim}], price: {input: 0.1 USD, output: 0.4 USD}, "
    "prior_quality: 0.6}\n"
    "routes: {auto: {models: [small, large]}}\n";

static const char *database;

/* Nothing is stored, or its rows are of other tables; tested with the part. */
static const char *const elsewhere[] = {
    "/decisions/replay",         /* Reads. */
    "/budget/info",              /* Reads. */
    "/budgets/reprice",          /* A row only when something is rated anew: test_reprice. */
    "/policies/{name}/train",    /* A job: test_admin. */
    "/policies/{name}/rollback", /* Needs a trained version: test_admin. */
    "/policies/{name}/{version}/promote", /* The same. */
    "/policies/{name}/rollouts",          /* rollout_event, as the next: test_rollouts_admin. */
    "/policies/{name}/revert", /* And the system test of rollouts. */
    "/policies/{name}/override",
    "/rollouts/{id}/pause",
    "/rollouts/{id}/resume",
    "/rollouts/{id}/promote",
    "/rollouts/{id}/abort",
    "/rollouts/{id}/end",
};

/* @: the id of the last key, or of the budget. $: the last secret. */
struct step {
    const char *pattern, *path, *body;
};
#define WHY "\"reason\": \"because of it\""
#define OF_ACCOUNT(plural)                                                                         \
    {"/" plural, "/api/v1/" plural, "{\"name\": \"n1\", " WHY "}"},                                \
        {"/" plural "/{name}/update", "/api/v1/" plural "/n1/update", "{\"rpm\": 7, " WHY "}"},    \
    {                                                                                              \
        "/" plural "/{name}/delete", "/api/v1/" plural "/n1/delete", "{" WHY "}"                   \
    }
static const struct step steps[] = {
    {"/keys", "/api/v1/keys", "{\"name\": \"k\", " WHY "}"},
    {"/keys/{id}/update", "/api/v1/keys/@/update", "{\"rpm\": 3, " WHY "}"},
    {"/keys/{id}/rotate", "/api/v1/keys/@/rotate", "{" WHY "}"},
    {"/keys/{id}/disable", "/api/v1/keys/@/disable", "{" WHY "}"},
    {"/keys/{id}/enable", "/api/v1/keys/@/enable", "{" WHY "}"},
    {"/keys/{id}/expire", "/api/v1/keys/@/expire", "{" WHY "}"},
    {"/keys/{id}/delete", "/api/v1/keys/@/delete", "{" WHY "}"},
    OF_ACCOUNT("teams"),
    OF_ACCOUNT("orgs"),
    OF_ACCOUNT("users"),
    OF_ACCOUNT("tags"),
    {"/budgets", "/api/v1/budgets",
     "{\"account\": \"tag:b\", \"limit_usd\": \"5\", \"period\": \"day\", " WHY "}"},
    {"/budgets/{id}/update", "/api/v1/budgets/@/update", "{\"limit_usd\": \"6\", " WHY "}"},
    {"/budgets/{id}/delete", "/api/v1/budgets/@/delete", "{" WHY "}"},
    {"/spend/reconcile", "/api/v1/spend/reconcile", "{" WHY "}"},
    {"/catalog/import", "/api/v1/catalog/import",
     "{\"source\": \"t\", \"source_date\": \"2026-11-01\", \"rows\": [{\"provider\": \"x\", "
     "\"model\": "
     "\"y\", \"price\": {\"input\": \"1\", \"output\": \"1\"}}], " WHY "}"},
    {"/policies/{name}/freeze", "/api/v1/policies/auto/freeze", "{" WHY "}"},
    {"/policies/{name}/unfreeze", "/api/v1/policies/auto/unfreeze", "{" WHY "}"},
    {"/rollouts/freeze", "/api/v1/rollouts/freeze", "{" WHY "}"},
    {"/rollouts/unfreeze", "/api/v1/rollouts/unfreeze", "{" WHY "}"},
    {"/team/new", "/team/new", "{\"team_id\": \"t9\"}"},
    {"/team/update", "/team/update", "{\"team_id\": \"t9\", \"rpm_limit\": 9}"},
    {"/user/new", "/user/new", "{\"user_id\": \"u9\", \"auto_create_key\": false}"},
    {"/user/update", "/user/update", "{\"user_id\": \"u9\", \"rpm_limit\": 9}"},
    {"/team/member_add", "/team/member_add",
     "{\"team_id\": \"t9\", \"member\": {\"role\": \"user\", \"user_id\": \"u9\"}}"},
    {"/key/generate", "/key/generate", "{\"team_id\": \"t9\"}"},
    {"/key/update", "/key/update", "{\"key\": \"$\", \"rpm_limit\": 2}"},
    {"/key/block", "/key/block", "{\"key\": \"$\"}"},
    {"/key/unblock", "/key/unblock", "{\"key\": \"$\"}"},
    {"/key/regenerate", "/key/regenerate", "{\"key\": \"$\"}"},
    {"/key/delete", "/key/delete", "{\"keys\": [\"$\"]}"},
    {"/budget/new", "/budget/new",
     "{\"budget_id\": \"tag:c\", \"max_budget\": 3, \"budget_duration\": \"1d\"}"},
    {"/budget/update", "/budget/update", "{\"budget_id\": \"tag:c\", \"max_budget\": 4}"},
};
#define STEPS (sizeof steps / sizeof steps[0])

static void fill(const char *text, const char *id, const char *secret, char *out, size_t bytes)
{
    size_t at = 0;
    for (const char *p = text; *p != '\0' && at + 1 < bytes; p++) {
        const char *with = *p == '@' ? id : *p == '$' ? secret : NULL;
        if (with == NULL)
            out[at++] = *p;
        else
            at += (size_t)snprintf(out + at, bytes - at, "%s", with);
    }
    out[at] = '\0';
}

static void keep(const json_t *reply, const char *name, char *out, size_t bytes)
{
    const json_t *value = json_object_get(reply, name);
    if (json_is_string(value))
        (void)snprintf(out, bytes, "%s", json_string_value(value));
    else if (json_is_integer(value))
        (void)snprintf(out, bytes, "%lld", (long long)json_integer_value(value));
}

static void every_change_has_its_row(void **state)
{
    struct pq_conn *c = fixture_connect(database);
    char path[256], body[512], id[64] = "", secret[200] = "", text[1024];
    (void)state;
    for (size_t i = 0; i < STEPS; i++) {
        json_t *reply = NULL;
        int64_t before = fixture_i64(c, "SELECT coalesce(max(id), 0) FROM audit_log");
        fill(steps[i].path, id, secret, path, sizeof path);
        fill(steps[i].body, id, secret, body, sizeof body);
        unsigned status =
            admin_ask_as("Bearer " ADMIN_KEY, "POST", path, body, &reply, text, sizeof text);
        if (status / 100 != 2)
            fail_msg("POST %s: %u %s", path, status, text);
        keep(reply, "id", id, sizeof id);
        keep(reply, "key", secret, sizeof secret);
        json_decref(reply);
        char sql[256];
        (void)snprintf(
            sql, sizeof sql,
            "SELECT count(*) FROM audit_log WHERE id > %lld AND actor = 'operator' AND action "
            "<> '' AND subject <> ''%s",
            (long long)before,
            strstr(steps[i].body, WHY) != NULL ? " AND reason = 'because of it'" : "");
        if (fixture_i64(c, sql) == 0)
            fail_msg("POST %s left no row with its reason", path);
    }
    pq_conn_close(c);
}

static void every_changing_route_is_walked_or_named(void **state)
{
    struct admin_route_facts route;
    (void)state;
    for (size_t i = 0; admin_route_at(i, &route); i++) {
        bool known = strcmp(route.method, "GET") == 0;
        for (size_t k = 0; k < STEPS && !known; k++)
            known = strcmp(steps[k].pattern, route.pattern) == 0;
        for (size_t k = 0; k < sizeof elsewhere / sizeof elsewhere[0] && !known; k++)
            known = strcmp(elsewhere[k], route.pattern) == 0;
        if (!known)
            fail_msg("%s %s: does it write a row of audit_log? Walk it in this test", route.method,
                     route.pattern);
    }
}

static int start(void **state)
{
    (void)state;
    (void)cluster_start();
    database = cluster_database("routes", true);
    struct pq_conn *c = fixture_connect(database);
    fixture_exec(c, "INSERT INTO policy_params (sha256, body) VALUES (sha256('p'), '');"
                    "INSERT INTO policy_version (name, version, state, params, created_by) VALUES "
                    "('auto', 1, 'current', sha256('p'), 'trainer')");
    pq_conn_close(c);
    admin_fixture_start(database, yaml);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    admin_fixture_stop();
    cluster_stop();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_change_has_its_row),
        cmocka_unit_test(every_changing_route_is_walked_or_named),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
