/* What the database itself refuses about accounts, budgets and keys, whoever asks. */
#include <stdio.h>
#include <string.h>

#include "tests/lib/fault.h"
#include "tests/unit/controlplane/fixture.h"

static const char *conninfo;

static int start_cluster(void **state)
{
    (void)state;
    (void)cluster_start();
    conninfo = cluster_database("rules", true);
    return 0;
}

static int stop_cluster(void **state)
{
    (void)state;
    cluster_stop();
    return 0;
}

#define KEY_ROW(id, public_id, sha, more_columns, more_values)                                     \
    "INSERT INTO api_key (id, public_id, sha256, name" more_columns ") VALUES (" #id               \
    ", '" public_id "', decode(repeat('" sha "', 32), 'hex'), 'k'" more_values ")"

static const char base_rows[] =
    "INSERT INTO account (id, kind, name) VALUES (1, 'org', 'acme'), (2, 'org', 'other'), "
    "(5, 'user', 'u'), (6, 'tag', 't'), (7, 'model', 'm'), (8, 'team', 'gone'), "
    "(9, 'team', 'spare');"
    "INSERT INTO account (id, kind, name, parent) VALUES (3, 'team', 'web', 1);"
    "UPDATE account SET removed = now() WHERE id = 8;"
    "INSERT INTO budget (account_id, limit_nano, period) VALUES (3, 5, 'day'), (1, 5, 'month');" //
    KEY_ROW(20, "k20", "20", ", team_id", ", 3") ";"                                             //
    KEY_ROW(21, "k21", "21", "",
            "") ";" //
                "UPDATE api_key SET disabled = true, removed = now() WHERE id = 21";

static void refuses(struct pq_conn *c, const char *sql)
{
    struct err err = {0};
    int rc = pq_conn_script(c, sql, &err);
    if (rc == 0)
        fail_msg("was taken: %s", sql);
    /* A rule said no: the statement itself is well formed. */
    const char *state = pq_conn_sqlstate(c);
    if (strncmp(state, "22", 2) != 0 && strncmp(state, "23", 2) != 0)
        fail_msg("%s: %s: %s", state, err.message, sql);
}

static void nonsense_is_refused_by_the_database(void **state)
{
    static const char *const bad[] = {
        "INSERT INTO account (id, kind, name) VALUES (0, 'org', 'zero')",
        "INSERT INTO account (id, kind, name) VALUES (30, 'club', 'x')",
        "INSERT INTO account (id, kind, name) VALUES (30, 'org', '')",
        "INSERT INTO account (id, kind, name) VALUES (30, 'org', E'a\\nb')",
        "INSERT INTO account (id, kind, name) VALUES (30, 'org', 'acme')",
        "INSERT INTO account (id, kind, name, metadata) VALUES (30, 'org', 'x', '[]')",
        "INSERT INTO account (id, kind, name, metadata) VALUES (30, 'org', 'x', '{')",
        "INSERT INTO account (id, kind, name, rpm) VALUES (30, 'org', 'x', 0)",
        "INSERT INTO account (id, kind, name, parent) VALUES (30, 'org', 'x', 1)",
        "INSERT INTO account (id, kind, name, parent) VALUES (30, 'user', 'x', 1)",
        "INSERT INTO account (id, kind, name, parent) VALUES (30, 'team', 'x', 3)",
        "INSERT INTO account (id, kind, name, parent) VALUES (30, 'team', 'x', 99)",
        "UPDATE account SET kind = 'org' WHERE id = 9",
        "UPDATE account SET id = 99 WHERE id = 9",
        "UPDATE account SET removed = NULL WHERE id = 8",
        "UPDATE account SET disabled = true WHERE id = 8",
        "UPDATE account SET parent = 9 WHERE id = 3",
        "UPDATE account SET removed = now() WHERE id = 3", /* Has a key. */
        "UPDATE account SET removed = now() WHERE id = 1", /* Has a team. */
        "UPDATE account SET rpm = 1 WHERE id = 20",        /* A key's rates are its own. */
        "DELETE FROM account WHERE id = 9",
        "INSERT INTO budget (account_id, limit_nano, period) VALUES (3, 5, 'day')",
        "INSERT INTO budget (account_id, limit_nano, period) VALUES (3, 0, 'week')",
        "INSERT INTO budget (account_id, limit_nano, period) VALUES (3, -1, 'week')",
        "INSERT INTO budget (account_id, limit_nano, period) VALUES (3, 5, 'hour')",
        "INSERT INTO budget (account_id, limit_nano, period) VALUES (8, 5, 'week')",
        "INSERT INTO budget (account_id, limit_nano, period) VALUES (99, 5, 'week')",
        "INSERT INTO budget (account_id, limit_nano, period, tz) VALUES (3, 5, 'week', 'Mars/X')",
        "INSERT INTO budget (account_id, limit_nano, period, mode) VALUES (3, 5, 'week', 'firm')",
        "INSERT INTO budget (account_id, limit_nano, period, carry) VALUES (3, 5, 'total', 'debt')",
        "INSERT INTO budget (account_id, limit_nano, period, offline_nano) VALUES (3, 5, 'week', "
        "6)",
        "INSERT INTO budget (account_id, limit_nano, period, warn_permille) VALUES (3, 5, 'week', "
        "1001)",
        "INSERT INTO budget (account_id, limit_nano, period, webhook) VALUES (3, 5, 'week', "
        "'file:///etc/passwd')",
        "UPDATE budget SET account_id = 1 WHERE account_id = 3",
        "UPDATE budget SET tz = 'Mars/X' WHERE account_id = 3",
        "DELETE FROM budget WHERE account_id = 3",
        KEY_ROW(31, "k20", "31", "", ""),              /* Its public id was given out. */
        KEY_ROW(31, "k21", "31", "", ""),              /* Also after removal. */
        KEY_ROW(31, "k31", "20", "", ""),              /* So was its secret. */
        KEY_ROW(31, "k31", "31", ", team_id", ", 1"),  /* An org. */
        KEY_ROW(31, "k31", "31", ", team_id", ", 8"),  /* Removed. */
        KEY_ROW(31, "k31", "31", ", org_id", ", 3"),   /* A team. */
        KEY_ROW(31, "k31", "31", ", user_id", ", 3"),  /* A team. */
        KEY_ROW(31, "k31", "31", ", role", ", 'god'"), /* */
        KEY_ROW(31, "k31", "31", ", rpm", ", 0"),
        KEY_ROW(31, "k31", "31", ", max_cost_nano", ", 0"),
        KEY_ROW(31, "k31", "31", ", removed", ", now()"), /* But not disabled. */
        KEY_ROW(31, "k31", "31", ", prev_until", ", now()"),
        KEY_ROW(31, "k31", "31", ", metadata", ", '7'"),
        "UPDATE api_key SET removed = NULL WHERE id = 21",
        "UPDATE api_key SET disabled = false WHERE id = 21",
        "UPDATE api_key SET sha256 = decode(repeat('99', 32), 'hex') WHERE id = 21",
        "UPDATE api_key SET public_id = 'x' WHERE id = 20",
        "UPDATE api_key SET role = 'admin' WHERE id = 20",
        "UPDATE api_key SET blocked = true WHERE id = 20",
        "DELETE FROM api_key WHERE id = 20",
    };
    (void)state;
    struct pq_conn *c = fixture_connect(conninfo);
    fixture_exec(c, base_rows);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refuses(c, bad[i]);
    pq_conn_close(c);
}

static void rows_follow_each_other(void **state)
{
    (void)state;
    struct pq_conn *c = fixture_connect(conninfo);
    /* The account of a key comes and ends with it, and stands below its team. */
    assert_int_equal(fixture_i64(c, "SELECT parent FROM account WHERE id = 20 AND kind = 'key'"),
                     3);
    assert_int_equal(
        fixture_i64(c, "SELECT count(*) FROM account WHERE id = 21 AND removed IS NOT NULL"), 1);
    /* A key has the org of its team, also when the team moves. */
    assert_int_equal(fixture_i64(c, "SELECT org_id FROM api_key WHERE id = 20"), 1);
    fixture_exec(c, "UPDATE account SET parent = 2 WHERE id = 3");
    assert_int_equal(fixture_i64(c, "SELECT org_id FROM api_key WHERE id = 20"), 2);
    fixture_exec(c, "UPDATE api_key SET org_id = 1 WHERE id = 20");
    assert_int_equal(fixture_i64(c, "SELECT org_id FROM api_key WHERE id = 20"), 2);
    /* cfg rises with the bounds of the period and with nothing else. */
    fixture_exec(c, "UPDATE budget SET limit_nano = 7, warn_permille = 500 WHERE account_id = 3");
    assert_int_equal(fixture_i64(c, "SELECT cfg FROM budget WHERE account_id = 3"), 1);
    fixture_exec(c, "UPDATE budget SET tz = 'Europe/Berlin' WHERE account_id = 3");
    fixture_exec(c, "UPDATE budget SET period = 'week', cfg = 77 WHERE account_id = 3");
    assert_int_equal(fixture_i64(c, "SELECT cfg FROM budget WHERE account_id = 3"), 3);
    /* A removed budget leaves room for another; a removed account ends its budgets. */
    fixture_exec(c, "UPDATE budget SET removed = now() WHERE account_id = 3");
    refuses(c, "UPDATE budget SET removed = NULL WHERE account_id = 3");
    fixture_exec(c, "INSERT INTO budget (account_id, limit_nano, period) VALUES (3, 9, 'week')");
    fixture_exec(c, "UPDATE api_key SET disabled = true, removed = now() WHERE id = 20");
    fixture_exec(c, "UPDATE account SET removed = now() WHERE id = 3");
    assert_int_equal(
        fixture_i64(c, "SELECT count(*) FROM budget WHERE account_id = 3 AND removed IS NULL"), 0);
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM budget WHERE account_id = 3"), 2);
    fixture_exec(c, "INSERT INTO account (id, kind, name) VALUES (40, 'team', 'web')");
    pq_conn_close(c);
}

static void nodes_get_live_keys_with_their_whole_path(void **state)
{
    (void)state;
    struct pq_conn *c = fixture_connect(conninfo);
    fixture_exec(c, "UPDATE account SET parent = 1 WHERE id = 40");
    fixture_exec(c, KEY_ROW(-50, "k50", "50", ", team_id, user_id", ", 40, 5"));
    fixture_exec(c, KEY_ROW(51, "k51", "51", ", role", ", 'operator'"));
    fixture_exec(c, KEY_ROW(52, "k52", "52", ", rpm", ", 60"));
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM pushed_key"), 2);
    /* Unsigned: a negative id is a large one. */
    assert_int_equal(
        fixture_i64(c, "SELECT count(*) FROM pushed_key WHERE id = -50 AND NOT disabled AND "
                       "accounts = ARRAY[1, 5, 40, -50]::bigint[]"),
        1);
    fixture_exec(c, "UPDATE account SET disabled = true WHERE id = 1");
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM pushed_key WHERE disabled"), 1);
    /* Only what has something to be held to. */
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM pushed_account"), 1);
    fixture_exec(c, "UPDATE account SET tpm = 1000 WHERE id = 5");
    fixture_exec(c, "INSERT INTO budget (account_id, limit_nano, period) VALUES (52, 9, 'week')");
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM pushed_account"), 3);
    assert_int_equal(fixture_i64(c, "SELECT rpm FROM pushed_account WHERE id = 52"), 60);
    pq_conn_close(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nonsense_is_refused_by_the_database),
        cmocka_unit_test(rows_follow_each_other),
        cmocka_unit_test(nodes_get_live_keys_with_their_whole_path),
    };
    return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}
