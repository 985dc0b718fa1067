/* Prices over the admin API: what wins, what an import adds, holds back and leaves alone. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/fault.h"
#include "tests/unit/controlplane/admin_fixture.h"
#include "tests/unit/controlplane/fixture.h"

#define FILE_OF(price)                                                                             \
    "version: 1\n"                                                                                 \
    "providers:\n"                                                                                 \
    "  openai: {base_url: \"https://api.openai.com/v1\"}\n"                                        \
    "  cloud: {base_url: \"https://example.openai.azure.com/v1\", catalog: azure}\n"               \
    "  local: {base_url: \"http://127.0.0.1:1/v1\", private: true}\n"                              \
    "models:\n"                                                                                    \
    "  gpt-5-mini: {deployments: [{provider: openai}, {provider: cloud, model: mini}]" price "}\n" \
    "  own: {deployments: [{provider: local}], price: {input: 2 USD, output: 1 USD}}\n"            \
    "  unpriced: {deployments: [{provider: local}]}\n"                                             \
    "routes: {auto: {models: [gpt-5-mini, own]}}\n"
static const char plain[] = FILE_OF("");
static const char priced[] = FILE_OF(", price: {input: 7 USD, output: 70 USD}");

static const char *database;
static struct pq_conn *db;

#define ROW(provider, model, in, out)                                                              \
    "{\"provider\":\"" provider "\",\"model\":\"" model "\",\"price\":{\"input\":\"" in            \
    "\",\"output\":\"" out "\"}}"
#define HEAD "\"source\":\"models.dev\",\"source_date\":\"2026-07-02\""

static json_t *import(unsigned expected, const char *body)
{
    return admin_ask("POST", "/api/v1/catalog/import", body, expected);
}

static json_int_t count(const json_t *reply, const char *name)
{
    return json_integer_value(json_object_get(json_object_get(reply, "counts"), name));
}

static const json_t *deployment(const json_t *shown, size_t index)
{
    return json_array_get(json_object_get(shown, "configured"), index);
}

static const char *text_of(const json_t *o, const char *name)
{
    const char *text = json_string_value(json_object_get(o, name));
    return text == NULL ? "" : text;
}

/* The input rate that holds, and who says so. */
static void assert_holds(const char *model, size_t index, const char *source, const char *input)
{
    char path[128];
    const json_t *row;
    size_t i;
    bool found = false;
    snprintf(path, sizeof path, "/api/v1/catalog/show?model=%s", model);
    json_t *shown = admin_ask("GET", path, NULL, 200);
    const json_t *d = deployment(shown, index);
    assert_string_equal(text_of(d, "source"), source);
    json_array_foreach(json_object_get(d, "prices"), i, row)
    {
        if (json_is_true(json_object_get(row, "holds"))) {
            assert_string_equal(text_of(json_object_get(row, "price"), "input"), input);
            assert_string_equal(text_of(row, "source"), source);
            found = true;
        }
    }
    assert_true(found);
    json_decref(shown);
}

static void the_shipped_price_holds_until_something_is_imported(void **state)
{
    (void)state;
    assert_holds("gpt-5-mini", 0, "builtin", "0.25");
    json_t *shown = admin_ask("GET", "/api/v1/catalog/show?model=gpt-5-mini", NULL, 200);
    assert_string_equal(text_of(deployment(shown, 1), "source"), ""); /* Unknown, not zero. */
    assert_int_equal(json_array_size(json_object_get(deployment(shown, 1), "prices")), 0);
    json_decref(shown);
    shown = admin_ask("GET", "/api/v1/catalog/show?model=unpriced", NULL, 200);
    assert_int_equal(json_array_size(json_object_get(deployment(shown, 0), "prices")), 0);
    json_decref(shown);
    json_decref(admin_ask("GET", "/api/v1/catalog/show?model=nobody", NULL, 404));
    json_decref(admin_ask("GET", "/api/v1/catalog/show", NULL, 400));
}

static const char changes[] =
    "{" HEAD ",\"reason\":\"monthly\",\"rows\":[" ROW("openai", "gpt-5-mini", "0.5", "4") "," ROW(
        "openai", "gpt-5-nano", "0.05",
        "9") "," ROW("openai", "brand-new", "1", "2") "," ROW("azure", "mini", "0.3", "3") "]%s}";

static void a_dry_run_says_what_would_be_and_changes_nothing(void **state)
{
    (void)state;
    char body[2048];
    snprintf(body, sizeof body, changes, ",\"dry_run\":true");
    json_t *reply = import(200, body);
    assert_int_equal(count(reply, "rows"), 4);
    assert_int_equal(count(reply, "new"), 2);
    assert_int_equal(count(reply, "changed"), 1);
    assert_int_equal(count(reply, "held"), 1); /* 0.4 to 9 is more than threefold. */
    const json_t *list = json_object_get(reply, "changes"), *change;
    size_t i, seen = 0;
    json_array_foreach(list, i, change)
    {
        if (strcmp(text_of(change, "model"), "gpt-5-mini") == 0) {
            assert_string_equal(text_of(change, "change"), "changed");
            assert_string_equal(text_of(change, "old_source"), "builtin");
            assert_string_equal(text_of(change, "factor"), "2.000");
            assert_string_equal(text_of(json_object_get(change, "old"), "input"), "0.25");
            assert_string_equal(text_of(json_object_get(change, "new"), "input"), "0.5");
            seen++;
        } else if (strcmp(text_of(change, "model"), "gpt-5-nano") == 0) {
            assert_string_equal(text_of(change, "change"), "held");
            assert_string_equal(text_of(change, "factor"), "22.500");
            seen++;
        }
    }
    assert_int_equal(seen, 2);
    json_decref(reply);
    assert_int_equal(fixture_i64(db, "SELECT count(*) FROM catalog_price"), 0);
    assert_int_equal(fixture_i64(db, "SELECT count(*) FROM audit_log WHERE action ~ '^catalog'"),
                     0);
    assert_holds("gpt-5-mini", 0, "builtin", "0.25");
}

static void an_import_adds_what_differs_and_nodes_are_told(void **state)
{
    (void)state;
    char body[2048];
    int64_t before = fixture_i64(db, "SELECT generation FROM config_head");
    snprintf(body, sizeof body, changes, "");
    json_t *reply = import(200, body);
    assert_int_equal(json_integer_value(json_object_get(reply, "generation")), before + 1);
    json_decref(reply);
    assert_int_equal(fixture_i64(db, "SELECT count(*) FROM catalog_price"), 3);
    assert_int_equal(fixture_i64(db, "SELECT count(*) FROM audit_log WHERE action = "
                                     "'catalog.import' AND reason = 'monthly' AND actor = "
                                     "'operator' AND subject = 'models.dev'"),
                     1);
    /* What held before still does for what was served before. */
    assert_int_equal(fixture_i64(db, "SELECT count(*) FROM price WHERE model = 'gpt-5-mini' AND "
                                     "provider = 'openai'"),
                     2);
    assert_int_equal(fixture_i64(db, "SELECT count(*) FROM price WHERE source = 'import' AND facts "
                                     "= 'models.dev 2026-07-02'"),
                     2);
}

static void the_imported_price_holds_and_comes_with_its_source(void **state)
{
    (void)state;
    assert_holds("gpt-5-mini", 0, "import", "0.5");
    assert_holds("gpt-5-mini", 1, "import", "0.3");
    json_t *shown = admin_ask("GET", "/api/v1/catalog/show?model=gpt-5-mini", NULL, 200);
    assert_int_equal(json_array_size(json_object_get(deployment(shown, 0), "prices")), 2);
    json_decref(shown);
}

static void importing_the_same_again_writes_nothing(void **state)
{
    (void)state;
    char body[2048];
    int64_t before = fixture_i64(db, "SELECT count(*) FROM audit_log");
    snprintf(body, sizeof body, changes, "");
    json_t *reply = import(200, body);
    assert_int_equal(count(reply, "same"), 3);
    assert_int_equal(count(reply, "held"), 1);
    assert_null(json_object_get(reply, "generation"));
    json_decref(reply);
    assert_int_equal(fixture_i64(db, "SELECT count(*) FROM audit_log"), before);
    assert_int_equal(fixture_i64(db, "SELECT count(*) FROM catalog_import"), 1);
}

static void a_large_change_is_taken_when_it_is_accepted(void **state)
{
    (void)state;
    char body[2048];
    snprintf(body, sizeof body, changes, ",\"accept_large\":true");
    json_t *reply = import(200, body);
    assert_int_equal(count(reply, "changed"), 1);
    assert_int_equal(count(reply, "held"), 0);
    json_decref(reply);
}

static void a_correction_of_the_past_is_a_further_row(void **state)
{
    (void)state;
    json_t *reply = import(200, "{" HEAD ",\"valid_from\":\"2026-01-01\",\"rows\":[" ROW(
                                    "openai", "gpt-5-mini", "0.26", "2") "]}");
    assert_int_equal(count(reply, "changed"), 1);
    json_decref(reply);
    json_t *shown = admin_ask("GET", "/api/v1/catalog/show?model=gpt-5-mini", NULL, 200);
    const json_t *prices = json_object_get(deployment(shown, 0), "prices");
    assert_int_equal(json_array_size(prices), 3);
    assert_string_equal(text_of(json_array_get(prices, 1), "valid_from"), "2026-01-01T00:00:00Z");
    assert_string_equal(text_of(json_object_get(json_array_get(prices, 1), "price"), "input"),
                        "0.26");
    json_decref(shown);
    assert_holds("gpt-5-mini", 0, "import", "0.5");
}

static void the_configuration_wins(void **state)
{
    (void)state;
    admin_fixture_apply(database, priced);
    json_decref(admin_ask("POST", "/api/v1/catalog/import",
                          "{" HEAD ",\"rows\":[" ROW("x", "y", "1", "1") "]}",
                          200)); /* Also: an import keeps what the file gave. */
    assert_holds("gpt-5-mini", 0, "config", "7");
    assert_holds("gpt-5-mini", 1, "config", "7");
    admin_fixture_apply(database, plain);
    json_decref(admin_ask("POST", "/api/v1/catalog/import",
                          "{" HEAD ",\"rows\":[" ROW("x", "z", "1", "1") "]}", 200));
    assert_holds("gpt-5-mini", 0, "import", "0.5");
}

static void tiers_and_every_kind_of_rate_come_back_as_they_were(void **state)
{
    (void)state;
    json_decref(import(
        200, "{" HEAD ",\"rows\":[{\"provider\":\"openai\",\"model\":\"full\",\"released\":"
             "\"2026-01-02\",\"context_window\":1000,\"max_output\":10,\"capabilities\":[\"tools\","
             "\"json\"],\"price\":{\"input\":\"1\",\"output\":\"2\",\"cached_input\":\"0.1\","
             "\"cache_write\":\"1.25\",\"cache_write_1h\":null,\"reasoning\":\"0.000000001\","
             "\"tiers\":[{\"above\":200000,\"input\":\"2\",\"output\":\"3.5\"}]}}]}"));
    json_t *page = admin_ask("GET", "/api/v1/catalog?model=full", NULL, 200);
    const json_t *row = json_array_get(json_object_get(page, "items"), 0);
    const json_t *price = json_object_get(row, "price");
    assert_string_equal(text_of(row, "source"), "import");
    assert_string_equal(text_of(row, "facts"), "models.dev 2026-07-02");
    assert_string_equal(text_of(row, "released"), "2026-01-02");
    assert_int_equal(json_array_size(json_object_get(row, "capabilities")), 2);
    assert_string_equal(text_of(price, "reasoning"), "0.000000001");
    assert_true(json_is_null(json_object_get(price, "cache_write_1h")));
    const json_t *tier = json_array_get(json_object_get(price, "tiers"), 0);
    assert_int_equal(json_integer_value(json_object_get(tier, "above")), 200000);
    assert_string_equal(text_of(tier, "output"), "3.5");
    json_decref(page);
}

static void the_list_has_pages_and_filters(void **state)
{
    (void)state;
    char path[128], cursor[64] = "", last[256] = "";
    size_t seen = 0;
    do {
        snprintf(path, sizeof path, "/api/v1/catalog?limit=7%s%s",
                 cursor[0] == '\0' ? "" : "&cursor=", cursor);
        json_t *page = admin_ask("GET", path, NULL, 200);
        const json_t *item;
        size_t i;
        json_array_foreach(json_object_get(page, "items"), i, item)
        {
            char name[256];
            snprintf(name, sizeof name, "%s\t%s", text_of(item, "provider"),
                     text_of(item, "model"));
            assert_true(strcmp(name, last) > 0);
            memcpy(last, name, sizeof last);
            seen++;
        }
        snprintf(cursor, sizeof cursor, "%s", text_of(page, "next"));
        json_decref(page);
    } while (cursor[0] != '\0');
    assert_true(seen > 60);
    json_t *page = admin_ask("GET", "/api/v1/catalog?provider=azure", NULL, 200);
    assert_int_equal(json_array_size(json_object_get(page, "items")), 1);
    json_decref(page);
}

static void lint_names_what_is_suspicious_in_files_and_imports(void **state)
{
    (void)state;
    json_t *page = admin_ask("GET", "/api/v1/catalog/lint", NULL, 200), *item;
    bool own = false, nano = false;
    size_t i;
    json_array_foreach(json_object_get(page, "items"), i, item)
    {
        const char *code = text_of(json_array_get(json_object_get(item, "findings"), 0), "code");
        if (strcmp(text_of(item, "model"), "own") == 0)
            own = strcmp(text_of(item, "source"), "config") == 0 &&
                  strcmp(code, "output_below_input") == 0;
        if (strcmp(text_of(item, "model"), "gpt-5-nano") == 0)
            nano = strcmp(code, "differs") == 0;
    }
    assert_true(own && nano);
    json_decref(page);
}

static void requests_that_are_wrong_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{}",
        "{\"source\":\"x\",\"rows\":[]}",
        "{\"source\":\"x\",\"source_date\":\"yesterday\",\"rows\":[]}",
        "{" HEAD "}",
        "{" HEAD ",\"rows\":{}}",
        "{" HEAD ",\"rows\":[1]}",
        "{" HEAD ",\"rows\":[{\"provider\":\"p\",\"model\":\"m\"}]}",
        "{" HEAD ",\"rows\":[{\"provider\":\"p\",\"model\":\"m\",\"price\":{\"input\":1}}]}",
        "{" HEAD ",\"rows\":[{\"provider\":\"p\",\"model\":\"m\",\"price\":{\"tiers\":[{}]}}]}",
        "{" HEAD ",\"rows\":[],\"valid_from\":\"soon\"}",
        "{" HEAD ",\"rows\":[],\"accept_large\":1}",
        "{" HEAD ",\"rows\":[],\"max_factor\":1}",
        "{" HEAD ",\"rows\":[],\"dry_run\":\"yes\"}",
        "{" HEAD ",\"rows\":[],\"force\":true}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        json_decref(import(400, bad[i]));
    /* A price that cannot be is no mistake of the request: it is told and left out. */
    json_t *reply = import(
        200, "{" HEAD ",\"rows\":[" ROW("p", "m", "-1", "1") "," ROW("p", "", "1", "1") "]}");
    assert_int_equal(count(reply, "skipped"), 2);
    json_decref(reply);
}

static void rows_of_prices_never_change(void **state)
{
    (void)state;
    static const char *const statements[] = {
        "UPDATE catalog_price SET input = 1", "DELETE FROM catalog_price",
        "UPDATE price SET input = 1", "DELETE FROM price", "DELETE FROM catalog_import"};
    for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++) {
        struct err err = {0};
        assert_int_equal(pq_conn_query(db, statements[i], NULL, NULL, &err), ERR_INVALID);
    }
}

static int start(void **state)
{
    (void)state;
    (void)cluster_start();
    database = cluster_database("catalog", true);
    db = fixture_connect(database);
    admin_fixture_start(database, plain);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    admin_fixture_stop();
    pq_conn_close(db);
    cluster_stop();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_shipped_price_holds_until_something_is_imported),
        cmocka_unit_test(a_dry_run_says_what_would_be_and_changes_nothing),
        cmocka_unit_test(an_import_adds_what_differs_and_nodes_are_told),
        cmocka_unit_test(the_imported_price_holds_and_comes_with_its_source),
        cmocka_unit_test(importing_the_same_again_writes_nothing),
        cmocka_unit_test(a_large_change_is_taken_when_it_is_accepted),
        cmocka_unit_test(a_correction_of_the_past_is_a_further_row),
        cmocka_unit_test(the_configuration_wins),
        cmocka_unit_test(tiers_and_every_kind_of_rate_come_back_as_they_were),
        cmocka_unit_test(the_list_has_pages_and_filters),
        cmocka_unit_test(lint_names_what_is_suspicious_in_files_and_imports),
        cmocka_unit_test(requests_that_are_wrong_are_refused),
        cmocka_unit_test(rows_of_prices_never_change),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
