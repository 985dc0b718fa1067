/* What a route, a key and a request require of deployments holds whatever a deployment is asked
 * for, and what was lacking is in the record. */
#include <stdio.h>
#include <string.h>

#include "control.pb-c.h"
#include "tests/unit/dataplane/node/hedge_fixture.h"
#include "tests/unit/dataplane/node/replies.h"
#include "tests/unit/dataplane/node/rows.h"

typedef Steelyard__Control__V1__Catalogue Catalogue;
typedef Steelyard__Control__V1__Key Key;
typedef Steelyard__Control__V1__Route Route;

#define REGION      POLICY_EXCL(REGION)
#define DATA        POLICY_EXCL(PRIVACY_CLASS)
#define TEXT(words) ((char *)(uintptr_t)(words))

static unsigned status_of(struct rig *r, const char *body, const char *says)
{
    struct rig_answer a;
    rig_exchange(r, body, &a);
    const unsigned status = a.status;
    if (says != NULL && str_search(buf_str(&a.body), str_from(says)) < 0)
        fail_msg("%.*s", (int)a.body.len, a.body.data);
    buf_deinit(&a.body);
    return status;
}

/* ---- who states what ---- */

/* The first deployment is in the US, the second in the EU and keeps nothing. */
static void us_and_eu(void *arg)
{
    Catalogue *c = arg;
    c->models[0]->deployments[0]->region = TEXT("us-east-1");
    c->models[1]->deployments[0]->region = TEXT("EU-West-1");
    c->models[1]->deployments[0]->data = REQUIRE_STATED | REQUIRE_NOT_KEPT;
}

/* Nobody but the twin of the small model is in the EU. */
static void twin_in_eu(void *arg)
{
    Catalogue *c = arg;
    c->models[0]->deployments[0]->region = TEXT("us");
    c->models[0]->deployments[1]->region = TEXT("eu");
    c->models[1]->deployments[0]->region = TEXT("us");
}

static void nobody_in_eu(void *arg)
{
    Catalogue *c = arg;
    c->models[0]->deployments[0]->region = TEXT("us");
}

static char *regions_of_eu[] = {TEXT("eu"), NULL};
static char *regions_of_us[] = {TEXT("us"), NULL};

static void route_in_eu(void *arg)
{
    static Steelyard__Control__V1__Require require;
    Route *route = arg;
    steelyard__control__v1__require__init(&require);
    require.regions = regions_of_eu;
    require.n_regions = 1;
    route->require = &require;
}

static void route_keeps_nothing(void *arg)
{
    static Steelyard__Control__V1__Require require;
    Route *route = arg;
    steelyard__control__v1__require__init(&require);
    require.data = REQUIRE_NOT_COLLECTED | REQUIRE_NOT_KEPT;
    route->require = &require;
}

static void key_in_eu(void *arg)
{
    Key *key = arg;
    key->require_regions = regions_of_eu;
    key->n_require_regions = 1;
}

static void key_in_us(void *arg)
{
    Key *key = arg;
    key->require_regions = regions_of_us;
    key->n_require_regions = 1;
}

static void key_denies(void *arg)
{
    ((Key *)arg)->require_data = REQUIRE_NOT_COLLECTED;
}

/* ---- tests ---- */

static void a_routes_region_holds_under_every_strategy(void **state)
{
    (void)state;
    for (unsigned way = WAY_LEARNED; way < WAYS; way++) {
        struct rig r;
        rows_begin(&r, &(struct rig_options){
                           .way = way, .on_catalogue = us_and_eu, .on_route = route_in_eu});
        rows_script_all(&r);
        for (unsigned i = 0; i < 4; i++)
            assert_int_equal(status_of(&r, ASK, NULL), 200);
        assert_int_equal(r.providers[0].requests, 0);
        assert_int_equal(r.providers[1].requests, 4);
        rig_stop(&r);
        assert_int_equal(row_count, 4);
        for (size_t i = 0; i < row_count; i++) {
            assert_int_equal(rows[i]->cand[0]->excl, REGION);
            assert_int_equal(rows[i]->cand[1]->excl, 0);
            assert_int_equal(rows[i]->n_fallback, 0);
        }
        rows_forget();
    }
}

/* The allowed one fails: its request is answered with its failure and goes nowhere else. */
static void no_fallback_and_no_retry_leaves_the_region(void **state)
{
    (void)state;
    static const char *const lists[4][4] = {
        {"small"}, {NULL, "small"}, {NULL, NULL, "small"}, {NULL, NULL, NULL, "small"}};
    static const char *const failures[] = {
        NULL, "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 400 No\r\nContent-Type: application/json\r\nContent-Length: 87\r\n\r\n"
        "{\"error\":{\"message\":\"too long\",\"type\":\"x\",\"param\":null,"
        "\"code\":\"context_length_exceeded\"}}"};
    for (size_t list = 0; list < 4; list++)
        for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
            struct rig r;
            struct rig_options o = {.on_catalogue = us_and_eu, .on_route = route_in_eu};
            memcpy(o.fallbacks, lists[list], sizeof lists[list]);
            rows_begin(&r, &o);
            rig_script(&r, 0, (struct rig_script){.reply = replies_whole()});
            rig_script(&r, 1,
                       (struct rig_script){.reply = failures[i],
                                           .then = failures[i] != NULL ? RIG_KEEP : RIG_CLOSE});
            assert_true(status_of(&r, ASK, NULL) >= 400);
            assert_int_equal(r.providers[0].requests, 0);
            assert_true(r.providers[1].requests > 0);
            rig_stop(&r);
            rows_forget();
        }
}

static void of_a_models_deployments_only_those_that_state_it_are_asked(void **state)
{
    (void)state;
    struct rig r;
    rows_begin(&r, &(struct rig_options){.way = WAY_ROUND_ROBIN,
                                         .small_twice = true,
                                         .on_catalogue = twin_in_eu,
                                         .on_route = route_in_eu});
    rows_script_all(&r);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(status_of(&r, ASK, NULL), 200);
    assert_int_equal(r.providers[0].requests, 0);
    assert_int_equal(r.providers[1].requests, 4);
    rig_stop(&r);
    for (size_t i = 0; i < row_count; i++) {
        assert_string_equal(rows[i]->servers[0], "two/up-twin");
        assert_int_equal(rows[i]->cand[0]->excl, 0); /* One of its deployments may. */
        assert_int_equal(rows[i]->cand[1]->excl, REGION);
    }
    rows_forget();
}

static void a_key_narrows_what_its_route_allows(void **state)
{
    (void)state;
    struct rig r;
    rows_begin(&r, &(struct rig_options){
                       .on_catalogue = us_and_eu, .on_route = route_in_eu, .on_key = key_in_us});
    rows_script_all(&r);
    assert_int_equal(status_of(&r, ASK,
                               "the route requires region eu, and the key requires region us; no "
                               "deployment of what was asked for states that."),
                     403);
    assert_int_equal(r.providers[0].requests + r.providers[1].requests, 0);
    rig_stop(&r);
    assert_int_equal(row_count, 1);
    assert_int_equal(rows[0]->cand[0]->excl, REGION);
    assert_int_equal(rows[0]->cand[1]->excl, REGION);
    assert_string_equal(rows[0]->error_code, "region_required");
    rows_forget();
}

static void a_key_holds_for_models_that_it_names_as_well(void **state)
{
    (void)state;
    static const struct {
        const char *model;
        unsigned status;
    } cases[] = {{"small", 403}, {"one/small", 403}, {"large", 200}, {"two/up-large", 200}};
    struct rig r;
    rows_begin(&r, &(struct rig_options){.on_catalogue = us_and_eu, .on_key = key_in_eu});
    rows_script_all(&r);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char body[128];
        (void)snprintf(body, sizeof body,
                       "{\"model\":\"%s\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
                       cases[i].model);
        if (status_of(&r, body, NULL) != cases[i].status)
            fail_msg("%s", cases[i].model);
    }
    assert_int_equal(r.providers[0].requests, 0);
    rig_stop(&r);
    rows_forget();
}

static void what_nobody_states_is_answered_with_what_is_lacking(void **state)
{
    (void)state;
    struct rig r;
    rows_begin(&r, &(struct rig_options){.on_catalogue = nobody_in_eu, .on_route = route_in_eu});
    rows_script_all(&r);
    assert_int_equal(status_of(&r, ASK, "\"code\":\"region_required\""), 403);
    rig_stop(&r);
    rows_forget();
    rows_begin(&r, &(struct rig_options){.on_route = route_keeps_nothing, .on_key = key_denies});
    rows_script_all(&r);
    assert_int_equal(status_of(&r, ASK, "the route requires zdr: true, and the key requires "),
                     403);
    assert_int_equal(r.providers[0].requests + r.providers[1].requests, 0);
    rig_stop(&r);
    assert_int_equal(rows[0]->cand[0]->excl, DATA);
    assert_string_equal(rows[0]->error_code, "data_policy_required");
    rows_forget();
}

static void a_request_narrows_by_what_it_says_of_data(void **state)
{
    (void)state;
    struct rig r;
    rows_begin(&r, &(struct rig_options){.on_catalogue = us_and_eu});
    rows_script_all(&r);
    assert_int_equal(status_of(&r,
                               "{\"model\":\"auto\",\"provider\":{\"zdr\":true},"
                               "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
                               NULL),
                     200);
    assert_int_equal(status_of(&r,
                               "{\"model\":\"small\",\"provider\":{\"data_collection\":\"deny\"},"
                               "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
                               "the request requires data_collection: deny"),
                     404);
    assert_int_equal(r.providers[0].requests, 0);
    assert_int_equal(r.providers[1].requests, 1);
    rig_stop(&r);
    assert_int_equal(rows[0]->cand[0]->excl, DATA);
    assert_int_equal(rows[1]->cand[0]->excl, DATA);
    rows_forget();
}

/* OpenRouter is told what the request wishes and obeys; what we require it is not told. */
static void who_passes_wishes_on_must_state_what_a_route_requires(void **state)
{
    (void)state;
    struct rig r;
    const char *asks = "{\"model\":\"small\",\"provider\":{\"zdr\":true},"
                       "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
    rows_begin(&r, &(struct rig_options){.types = {"openrouter", NULL}});
    rows_script_all(&r);
    assert_int_equal(status_of(&r, asks, NULL), 200);
    rig_publish(&r, &(struct rig_options){
                        .types = {"openrouter", NULL}, .on_key = key_denies, .generation = 2});
    assert_int_equal(status_of(&r, asks, NULL), 403);
    assert_int_equal(r.providers[0].requests, 1);
    rig_stop(&r);
    rows_forget();
}

/* The second attempt, the twin in the US, may not be: the first is waited for. */
static void twin_in_us(void *arg)
{
    Catalogue *c = arg;
    c->models[0]->deployments[0]->region = TEXT("eu");
    c->models[0]->deployments[1]->region = TEXT("us");
}

static void no_second_attempt_leaves_the_region(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    struct rig_options o = hedge_options();
    o.on_catalogue = twin_in_us;
    o.on_key = key_in_eu;
    rows_begin(&r, &o);
    hedge_allow(&r);
    for (size_t i = 0; i < RIG_PROVIDERS; i++)
        rig_script(&r, i, (struct rig_script){.then = RIG_HOLD});
    rig_connect(&r, &c);
    rig_ask(&c, ASK);
    rig_until(&r, r.providers[0].requests == 1);
    hedge_due(&r);
    hedge_settle_loop(&r);
    hedge_say(&r, 0, 0, 'W', false);
    rig_until(&r, rig_answered(&c));
    rig_disconnect(&r, &c);
    rig_until(&r, r.env.active_count == 0);
    assert_int_equal(hedge_counted(&r, "refused_nobody"), 1);
    assert_int_equal(r.providers[0].requests, 1);
    assert_int_equal(r.providers[1].requests, 0);
    rig_stop(&r);
    assert_int_equal(rows[0]->attempt[0]->picked_by, PICKED_BY_ONLY);
    assert_int_equal(rows[0]->attempt[0]->passed, PICKED_PASSED(REGION));
    rows_forget();
}

static void close_all(void)
{
    replies_free();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_routes_region_holds_under_every_strategy),
        cmocka_unit_test(no_fallback_and_no_retry_leaves_the_region),
        cmocka_unit_test(of_a_models_deployments_only_those_that_state_it_are_asked),
        cmocka_unit_test(a_key_narrows_what_its_route_allows),
        cmocka_unit_test(a_key_holds_for_models_that_it_names_as_well),
        cmocka_unit_test(what_nobody_states_is_answered_with_what_is_lacking),
        cmocka_unit_test(a_request_narrows_by_what_it_says_of_data),
        cmocka_unit_test(no_second_attempt_leaves_the_region),
        cmocka_unit_test(who_passes_wishes_on_must_state_what_a_route_requires),
    };
    int failed = rig_run_for_each_transport(tests, sizeof tests / sizeof tests[0]);
    close_all();
    return failed;
}
