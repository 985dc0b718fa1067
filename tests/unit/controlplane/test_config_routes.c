/* Routes of steelyard.yaml: strategies, candidates, conditions and targets. */
#include "controlplane/config/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/route/require.h"
#include "common/route/rule.h"
#include "common/route/way.h"
#include "control.pb-c.h"
#include "tests/lib/fault.h"
#include "tests/unit/controlplane/config_fixture.h"

static void every_word_for_a_strategy_names_a_way(void **state)
{
    (void)state;
    static const struct {
        const char *word;
        enum way way;
    } words[] = {
        {"learned", WAY_LEARNED},
        {"priority", WAY_PRIORITY},
        {"weighted", WAY_WEIGHTED},
        {"round-robin", WAY_ROUND_ROBIN},
        {"least-busy", WAY_LEAST_BUSY},
        {"lowest-latency", WAY_LOWEST_LATENCY},
        {"lowest-cost", WAY_LOWEST_COST},
        {"usage-based", WAY_USAGE_BASED},
        {"simple-shuffle", WAY_WEIGHTED},
        {"latency-based-routing", WAY_LOWEST_LATENCY},
        {"cost-based-routing", WAY_LOWEST_COST},
        {"usage-based-routing", WAY_USAGE_BASED},
        {"usage-based-routing-v2", WAY_USAGE_BASED},
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        char text[512];
        snprintf(text, sizeof text, "%sroutes: {r: {models: [a, b], strategy: %s}}\n", TWO_MODELS,
                 words[i].word);
        Steelyard__Control__V1__Catalogue *m = config_fixture_catalogue(text);
        const Steelyard__Control__V1__Route *r = m->routes[0];
        assert_int_equal(r->way, words[i].way);
        assert_string_equal(r->policy, words[i].way == WAY_LEARNED ? "default" : "");
        assert_int_equal(r->n_weights, words[i].way == WAY_LEARNED ? 0 : 2);
        steelyard__control__v1__catalogue__free_unpacked(m, NULL);
    }
}

static void a_candidate_is_a_name_or_has_weight_and_priority(void **state)
{
    (void)state;
    Steelyard__Control__V1__Catalogue *m = config_fixture_catalogue(
        TWO_MODELS "routes:\n"
                   "  w: {strategy: weighted, models: [a, {model: b, weight: 3, priority: 2}],\n"
                   "      fallbacks: [a]}\n"
                   "  p: {strategy: priority, models: [a, b],\n"
                   "      fallbacks: {default: [b], context_window: [a, b], content_policy: [b],\n"
                   "                  rate_limit: [a]}}\n");
    const Steelyard__Control__V1__Route *w = m->routes[0], *p = m->routes[1];
    assert_int_equal(w->n_models, 2);
    assert_string_equal(w->models[1], "b");
    assert_int_equal(w->weights[0], 1);
    assert_int_equal(w->weights[1], 3);
    assert_int_equal(w->priorities[0], 0);
    assert_int_equal(w->priorities[1], 2);
    assert_int_equal(w->n_fallbacks, 1);
    assert_string_equal(w->fallbacks[0], "a");
    assert_int_equal(p->priorities[0], 1); /* The place in the list. */
    assert_int_equal(p->priorities[1], 2);
    assert_string_equal(p->fallbacks[0], "b");
    assert_int_equal(p->n_context_window_fallbacks, 2);
    assert_string_equal(p->content_policy_fallbacks[0], "b");
    assert_string_equal(p->rate_limit_fallbacks[0], "a");
    steelyard__control__v1__catalogue__free_unpacked(m, NULL);
}

static void conditions_become_steps_and_targets_a_tree(void **state)
{
    (void)state;
    Steelyard__Control__V1__Catalogue *m = config_fixture_catalogue(
        TWO_MODELS
        "routes:\n"
        "  r:\n"
        "    models: [a, b]\n"
        "    targets:\n"
        "      both: {strategy: loadbalance, of: [a, {target: b, weight: 3}]}\n"
        "      all: {of: [b, both]}\n"
        "    conditions:\n"
        "      - {if: {metadata.plan: paid, params.n: {$gt: 1, $lte: 4}}, then: all}\n"
        "      - {if: {$or: [{headers.x-team: {$in: [x, y]}}, {params.user: {$ne: z}}]}, then: b}\n"
        "    default: both\n");
    const Steelyard__Control__V1__Route *r = m->routes[0];
    assert_int_equal(r->n_targets, 2);
    assert_true(r->targets[0]->balance && !r->targets[1]->balance);
    assert_int_equal(r->targets[0]->weights[1], 3);
    assert_int_equal(r->targets[1]->members[1], 2); /* The first target, behind two models. */
    assert_int_equal(r->default_target, 2 + 1);
    assert_int_equal(r->n_conditions, 2);
    const Steelyard__Control__V1__Condition *c = r->conditions[0];
    assert_int_equal(c->then, 3);
    assert_int_equal(c->n_steps, 5);
    assert_int_equal(c->steps[0]->op, RULE_EQ);
    assert_string_equal(c->steps[0]->values[0], "paid");
    assert_int_equal(c->steps[1]->op, RULE_GT);
    assert_int_equal(c->steps[2]->op, RULE_LTE);
    assert_true(c->steps[3]->op == RULE_AND && c->steps[3]->count == 2);
    assert_true(c->steps[4]->op == RULE_AND && c->steps[4]->count == 2);
    c = r->conditions[1];
    assert_int_equal(c->then, 1);
    assert_true(c->n_steps == 3 && c->steps[0]->n_values == 2);
    assert_true(c->steps[2]->op == RULE_OR && c->steps[2]->count == 2);
    steelyard__control__v1__catalogue__free_unpacked(m, NULL);
}

static void a_pattern_is_checked_when_the_file_is(void **state)
{
    (void)state;
    static const char file[] = TWO_MODELS "routes: {r: {models: [a, b], conditions: [{if: "
                                          "{metadata.user: {$regex: '%s'}, url.pathname: /v1/x}, "
                                          "then: b}]}}\n";
    char text[1024];
    struct config *c = NULL;
    struct err err = {0};
    (void)snprintf(text, sizeof text, file, "@example[.]com$");
    Steelyard__Control__V1__Catalogue *m = config_fixture_catalogue(text);
    assert_int_equal(m->routes[0]->conditions[0]->steps[0]->op, RULE_REGEX);
    assert_string_equal(m->routes[0]->conditions[0]->steps[1]->path, "url.pathname");
    steelyard__control__v1__catalogue__free_unpacked(m, NULL);
    (void)snprintf(text, sizeof text, file, "(@example");
    assert_int_equal(config_parse(str_from(text), "f", CONFIG_LOCAL_FILE, &c, NULL, &err),
                     ERR_SYNTAX);
    assert_non_null(strstr(err.message, "no pattern: at byte 9: missing closing parenthesis"));
}

/* What the pages say can be put into a file. */
static void the_files_in_the_page_about_strategies_are_read(void **state)
{
    (void)state;
    struct buf page = {0};
    struct err err = {0};
    unsigned count = 0;
    buf_init(&page, 1U << 20);
    assert_int_equal(
        buf_read_file(&page, STEELYARD_SOURCE_DIR "/docs/strategies.md", 1U << 20, &err), 0);
    struct str rest = buf_str(&page);
    for (ptrdiff_t at; (at = str_search(rest, STR("```yaml\n"))) >= 0; count++) {
        rest = str_slice(rest, (size_t)at + 8, rest.len);
        const ptrdiff_t stop = str_search(rest, STR("```"));
        assert_true(stop > 0);
        struct config *c = NULL;
        int rc = config_parse(str_slice(rest, 0, (size_t)stop), "page.yaml", CONFIG_LOCAL_FILE, &c,
                              NULL, &err);
        if (rc != 0)
            fail_msg("%s", err.message);
        config_destroy(c);
        rest = str_slice(rest, (size_t)stop + 3, rest.len);
    }
    assert_in_range(count, 2, 20);
    buf_deinit(&page);
}

static void f17_hedging_is_off_unless_it_is_said_and_never_above_five_percent(void **state)
{
    (void)state;
    Steelyard__Control__V1__Catalogue *m = config_fixture_catalogue(
        TWO_MODELS
        "routes: {off: {models: [a]}, on: {models: [a], hedge: {after: 800ms}}, usual: "
        "{models: [a], hedge: {after: p95, max_share: 0.02}}, none: {models: [a], hedge: "
        "{after: 1s, max_share: 0}}}\n");
    assert_int_equal(m->n_routes, 4);
    for (size_t i = 0; i < m->n_routes; i++) {
        const Steelyard__Control__V1__Hedge *h = m->routes[i]->hedge;
        const struct str name = str_from(m->routes[i]->name);
        assert_int_equal(h != NULL, str_is(name, "on") || str_is(name, "usual"));
        if (h == NULL)
            continue;
        assert_int_equal(h->after_ms, str_is(name, "on") ? 800 : 0);
        /* So that of twenty requests one may be. */
        assert_int_equal((UINT64_C(20) * h->max_share) >> 32, str_is(name, "on") ? 1 : 0);
        assert_int_equal((UINT64_C(19) * h->max_share) >> 32, 0);
    }
    steelyard__control__v1__catalogue__free_unpacked(m, NULL);
}

static void no_retries_is_said_apart_from_nothing_said(void **state)
{
    (void)state;
    Steelyard__Control__V1__Catalogue *m =
        config_fixture_catalogue(TWO_MODELS "routes: {r: {models: [a, b], retries: 0}}\n");
    assert_int_equal(m->routes[0]->retries, 0);
    assert_true(m->routes[0]->no_retries);
    steelyard__control__v1__catalogue__free_unpacked(m, NULL);
}

static void what_a_deployment_states_is_its_own_word_or_its_providers(void **state)
{
    (void)state;
    Steelyard__Control__V1__Catalogue *m = config_fixture_catalogue(
        "version: 1\nproviders:\n"
        "  p: {region: eu-west-1, data_collection: deny}\n"
        "  q: {zdr: true}\n  s: {collects_nothing: true}\n"
        "models:\n  a:\n    deployments:\n"
        "      - {provider: p}\n      - {provider: p, region: US, zdr: true}\n"
        "      - {provider: p, data_collection: allow}\n      - {provider: q}\n"
        "      - {provider: s}\n");
    static const struct {
        const char *region;
        uint32_t data;
    } want[] = {{"eu-west-1", REQUIRE_NOT_COLLECTED},
                {"US", REQUIRE_NOT_COLLECTED | REQUIRE_NOT_KEPT},
                {"eu-west-1", 0},
                {"", REQUIRE_NOT_COLLECTED | REQUIRE_NOT_KEPT},
                {"", REQUIRE_NOT_COLLECTED | REQUIRE_NOT_KEPT}};
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        const Steelyard__Control__V1__Deployment *d = m->models[0]->deployments[i];
        assert_string_equal(d->region, want[i].region);
        assert_int_equal(d->data, want[i].data | REQUIRE_STATED);
    }
    /* For nodes that know no more than that. */
    assert_true(!m->providers[0]->collects_nothing && m->providers[1]->collects_nothing);
    steelyard__control__v1__catalogue__free_unpacked(m, NULL);
}

static void a_route_requires_and_keeps_its_sessions(void **state)
{
    (void)state;
    Steelyard__Control__V1__Catalogue *m = config_fixture_catalogue(
        TWO_MODELS "routes:\n"
                   "  r: {models: [a], require: {region: [eu, ch], data_collection: deny}}\n"
                   "  z: {models: [a], require: {zdr: true}, affinity: true}\n"
                   "  t: {models: [a], affinity: {ttl: 10m}}\n"
                   "  n: {models: [a], affinity: {ttl: 10m, enabled: false}}\n"
                   "  f: {models: [a], affinity: false}\n");
    const Steelyard__Control__V1__Require *q = m->routes[0]->require;
    assert_int_equal(q->n_regions, 2);
    assert_string_equal(q->regions[1], "ch");
    assert_int_equal(q->data, REQUIRE_NOT_COLLECTED);
    assert_true(m->routes[0]->affinity_ms == 0);
    assert_int_equal(m->routes[1]->require->data, REQUIRE_NOT_KEPT);
    assert_true(m->routes[1]->affinity_ms == 3600000 && m->routes[2]->affinity_ms == 600000);
    assert_null(m->routes[2]->require);
    assert_true(m->routes[3]->affinity_ms == 0 && m->routes[4]->affinity_ms == 0);
    steelyard__control__v1__catalogue__free_unpacked(m, NULL);
}

static void what_is_stated_or_required_in_vain_is_a_mistake(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "version: 1\nproviders: {p: {zdr: true, data_collection: allow}}\n"
        "models: {a: {deployments: [{provider: p}]}}\n",
        "version: 1\nproviders: {p: {}}\n"
        "models: {a: {deployments: [{provider: p, zdr: true, data_collection: allow}]}}\n",
        "version: 1\nproviders: {p: {}}\n"
        "models: {a: {deployments: [{provider: p, region: eu west}]}}\n",
        TWO_MODELS "routes: {r: {models: [a], require: {region: []}}}\n",
        TWO_MODELS "routes: {r: {models: [a], require: {region: [\"eu-\"]}}}\n",
        TWO_MODELS "routes: {r: {models: [a], require: {data_collection: maybe}}}\n",
        TWO_MODELS "routes: {r: {models: [a], affinity: {ttl: 8d}}}\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct config *c = NULL;
        struct err err = {0};
        if (config_parse(str_from(bad[i]), "f", CONFIG_LOCAL_FILE, &c, NULL, &err) != ERR_SYNTAX)
            fail_msg("row %zu", i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f17_hedging_is_off_unless_it_is_said_and_never_above_five_percent),
        cmocka_unit_test(no_retries_is_said_apart_from_nothing_said),
        cmocka_unit_test(conditions_become_steps_and_targets_a_tree),
        cmocka_unit_test(a_pattern_is_checked_when_the_file_is),
        cmocka_unit_test(what_a_deployment_states_is_its_own_word_or_its_providers),
        cmocka_unit_test(a_route_requires_and_keeps_its_sessions),
        cmocka_unit_test(what_is_stated_or_required_in_vain_is_a_mistake),
        cmocka_unit_test(every_word_for_a_strategy_names_a_way),
        cmocka_unit_test(a_candidate_is_a_name_or_has_weight_and_priority),
        cmocka_unit_test(the_files_in_the_page_about_strategies_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
