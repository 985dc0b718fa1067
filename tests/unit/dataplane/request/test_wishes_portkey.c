/* Configs of Portkey's that come with a request: what they choose, and what of them is refused. */
#include "dataplane/request/wishes.h"

#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/route/rule.h"
#include "tests/lib/fault.h"

static struct arena_pool pool;
static struct arena arena;
static struct json json;
static struct wishes w;
static struct wishes_refusal refusal;
static struct pattern_room *room;

static int setup(void **state)
{
    (void)state;
    arena_pool_init(&pool, 4);
    arena_init(&arena, &pool, 1U << 20);
    json_init(&json, JSON_NODES_MAX);
    wishes_init(&w);
    room = pattern_room_create();
    return room != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    pattern_room_destroy(room);
    json_deinit(&json);
    arena_reset(&arena);
    arena_pool_deinit(&pool);
    return 0;
}

static int portkey(const char *text)
{
    wishes_init(&w);
    return wishes_read_portkey(&json, str_from(text), &arena, &w, &refusal);
}

/* ---- what a request says ---- */

static const char *plan = "free", *tokens = "100";

static struct str value(void *arg, struct str path)
{
    (void)arg;
    if (str_is(path, "metadata.plan"))
        return str_from(plan);
    if (str_is(path, "params.max_tokens"))
        return str_from(tokens);
    if (str_is(path, "url.pathname"))
        return STR("/v1/chat/completions");
    return STR_NULL;
}

static bool holds(void *arg, const struct rule_step *steps, uint32_t count)
{
    (void)arg;
    pattern_room_begin(room);
    assert_true(rule_valid(steps, count));
    return rule_holds(steps, count, value, NULL, room);
}

static int choose(uint64_t seed)
{
    return wishes_choose(&w, holds, NULL, seed, &refusal);
}

/* The models of the targets, in order. */
static const char *order(const char *config)
{
    static char out[256];
    size_t len = 0;
    assert_int_equal(portkey(config), 0);
    assert_non_null(w.plan);
    if (choose(7) != 0)
        return "none";
    out[0] = '\0';
    for (uint32_t i = 0; i < w.target_count; i++)
        len += (size_t)snprintf(out + len, sizeof out - len, "%s%.*s", i > 0 ? " " : "",
                                STR_ARG(w.targets[i].model));
    return out;
}

static void assert_str(struct str s, const char *text)
{
    assert_int_equal(s.len, strlen(text));
    assert_memory_equal(s.data, text, s.len);
}

#define TO(model)        "{\"name\":\"" model "\",\"override_params\":{\"model\":\"" model "\"}}"
#define MODE(mode, more) "{\"strategy\":{\"mode\":\"" mode "\"" more "},\"targets\":["

/* ---- choosing ---- */

static void a_config_is_a_list_of_targets(void **state)
{
    (void)state;
    assert_int_equal(
        portkey(
            MODE("fallback",
                 ",\"on_status_codes\":[429,503]") "{\"provider\":\"@openai\",\"override_params\":{"
                                                   "\"model\":\"gpt\"}},"
                                                   "{\"provider\":\"anthropic\",\"virtual_key\":"
                                                   "\"ant-1\",\"model\":\"@anthropic/haiku\","
                                                   "\"retry\":{\"attempts\":2}}]}"),
        0);
    assert_int_equal(choose(1), 0);
    assert_null(w.plan);
    assert_int_equal(w.target_count, 2);
    assert_str(w.targets[0].provider, "openai");
    assert_str(w.targets[0].model, "gpt");
    assert_str(w.targets[0].path, "x-portkey-config.targets[0]");
    assert_str(w.targets[1].model, "anthropic/haiku");
    assert_str(w.targets[1].virtual_key, "ant-1");
    assert_int_equal(w.targets[0].terms->retries, -1);
    assert_int_equal(w.targets[1].terms->retries, 2);
    assert_int_equal(w.targets[1].terms->go_on->count, 2);
    assert_int_equal(w.targets[1].terms->go_on->codes[1], 503);
    assert_int_equal(portkey("{\"provider\":\"a\"}"), 0);
    assert_null(w.plan);
    assert_int_equal(w.target_count, 1);
    assert_int_equal(portkey("pc-prod-1"), 0);
    assert_str(w.route, "pc-prod-1");
}

static void of_a_config_without_a_mode_the_first_target_serves(void **state)
{
    (void)state;
    assert_string_equal(order("{\"targets\":[" TO("a") "," TO("b") "]}"), "a");
    assert_string_equal(order(MODE("single", "") TO("a") "," TO("b") "]}"), "a");
    assert_string_equal(order(MODE("fallback", "") TO("a") "," TO("b") "]}"), "a b");
}

static void targets_share_by_weight_and_the_rest_stands_behind(void **state)
{
    (void)state;
    static const char config[] = MODE("loadbalance", "") "{\"provider\":\"a\",\"weight\":0.25},"
                                                         "{\"provider\":\"b\",\"weight\":\"0.75\"},"
                                                         "{\"provider\":\"c\",\"weight\":0}]}";
    unsigned first[3] = {0};
    for (uint64_t seed = 0; seed < 1000; seed++) {
        assert_int_equal(portkey(config), 0);
        assert_int_equal(choose(seed * UINT64_C(0x2545f4914f6cdd1d)), 0);
        assert_int_equal(w.target_count, 3);
        first[w.targets[0].provider.data[0] - 'a']++;
        assert_str(w.targets[2].provider, "c");
        arena_reset(&arena);
    }
    assert_in_range(first[0], 180, 320);
    assert_int_equal(first[2], 0);
    /* Weights of any size keep their proportion. */
    assert_string_equal(order(MODE("loadbalance", "") "{\"model\":\"a\",\"weight\":1000000},"
                                                      "{\"model\":\"b\",\"weight\":0.001}]}"),
                        "a b");
}

static void targets_stand_in_targets(void **state)
{
    (void)state;
    assert_string_equal(
        order(MODE("fallback", "") MODE("single", "") TO("a") "," TO("x") "]}," MODE("fallback", "")
                  TO("b") "," MODE("fallback", "") TO("c") "]}]}," TO("d") "]}"),
        "a b c d");
}

#define CONDITIONS                                                                                 \
    ",\"conditions\":["                                                                            \
    "{\"query\":{\"metadata.plan\":{\"$eq\":\"paid\"},\"params.max_tokens\":{\"$gt\":50}},"        \
    "\"then\":\"a\"},"                                                                             \
    "{\"query\":{\"$or\":[{\"metadata.plan\":{\"$regex\":\"^tri\"}},"                              \
    "{\"$and\":[{\"metadata.plan\":{\"$in\":[\"x\",\"y\"]}},{\"url.pathname\":"                    \
    "\"/v1/chat/completions\"}]}]},\"then\":\"b\"}]"

static void the_first_condition_that_holds_says_who_serves(void **state)
{
    (void)state;
    static const char config[] =
        MODE("conditional", CONDITIONS ",\"default\":\"c\"") TO("a") "," TO("b") "," TO("c") "]}";
    bool params = false;
    plan = "free";
    assert_string_equal(order(config), "c");
    plan = "paid";
    assert_string_equal(order(config), "a");
    tokens = "50";
    assert_string_equal(order(config), "c");
    tokens = "100";
    plan = "trial";
    assert_string_equal(order(config), "b");
    plan = "y";
    assert_string_equal(order(config), "b");
    assert_int_equal(portkey(config), 0);
    assert_true(wishes_plan_asks(w.plan, &params) && params);
    assert_int_equal(
        portkey(MODE("conditional", ",\"conditions\":[{\"query\":{\"metadata.plan\":1},\"then\":"
                                    "\"a\"}],\"default\":\"a\"") TO("a") "]}"),
        0);
    assert_true(wishes_plan_asks(w.plan, &params) && !params);
    assert_int_equal(portkey(MODE("single", "") TO("a") "]}"), 0);
    assert_false(wishes_plan_asks(w.plan, &params));
}

static void conditions_stand_in_targets_and_targets_in_conditions(void **state)
{
    (void)state;
    static const char config[] = MODE("fallback", "") MODE("conditional", CONDITIONS)
        MODE("fallback", "") TO("a1") "," TO("a2") "],\"name\":\"a\"}," TO("b") "]}," TO("c") "]}";
    plan = "paid";
    assert_string_equal(order(config), "a1 a2 c");
    plan = "free"; /* Nobody in there: the next one. */
    assert_string_equal(order(config), "c");
}

static void without_a_default_a_request_that_meets_nothing_is_refused(void **state)
{
    (void)state;
    plan = "free";
    assert_string_equal(order(MODE("conditional", CONDITIONS) TO("a") "," TO("b") "]}"), "none");
    assert_str(refusal.param, "x-portkey-config.strategy");
    assert_non_null(refusal.message);
}

/* ---- terms ---- */

static void what_stands_above_a_target_holds_for_it(void **state)
{
    (void)state;
    assert_int_equal(
        portkey(
            "{\"strategy\":{\"mode\":\"fallback\",\"on_status_codes\":[429]},"
            "\"retry\":{\"attempts\":1,\"on_status_codes\":[500],\"use_retry_after_header\":true},"
            "\"request_timeout\":5000,\"override_params\":{\"temperature\":0.5,\"model\":\"m\"},"
            "\"cache\":{\"mode\":\"semantic\",\"max_age\":60},\"targets\":["
            "{\"provider\":\"a\"},"
            "{\"provider\":\"b\",\"request_timeout\":100,\"override_params\":{\"max_tokens\":7,"
            "\"temperature\":1}},"
            "{\"strategy\":{\"mode\":\"fallback\"},\"targets\":[{\"provider\":\"c\"}]}]}"),
        0);
    assert_int_equal(w.ignored, WISHES_IGNORED_CACHE);
    assert_int_equal(choose(1), 0);
    const struct wishes_terms *a = w.targets[0].terms, *b = w.targets[1].terms;
    assert_str(w.targets[1].model, "m");
    assert_true(a->timeout_ms == 5000 && b->timeout_ms == 100);
    assert_true(a->override_count == 1 && b->override_count == 2);
    assert_str(a->overrides[0].key, "temperature");
    assert_str(a->overrides[0].value, "0.5");
    assert_str(b->overrides[0].value, "1");
    assert_str(b->overrides[1].value, "7");
    assert_true(b->retries == 1 && b->try_again->codes[0] == 500 && b->go_on->codes[0] == 429);
    assert_null(w.targets[2].terms->go_on); /* The inner fallback goes on after anything. */
    assert_int_equal(portkey("{\"retry\":{\"attempts\":0}}"), 0);
    assert_true(w.target_count == 0 && w.terms->retries == 0);
}

/* ---- refusals ---- */

static void b18_b46_what_is_malformed_or_not_a_clients_is_refused_by_its_path(void **state)
{
    (void)state;
#define Q(query)                                                                                   \
    MODE("conditional", ",\"conditions\":[{\"query\":" query ",\"then\":\"a\"}]") TO("a") "]}"
#define AT_QUERY ".strategy.conditions[0].query"
    static const struct {
        const char *text, *param;
    } cases[] = {
        {"{", ""},
        {"{\"api_key\":\"sk\"}", ".api_key"},
        {"{\"custom_host\":\"http://x\"}", ".custom_host"},
        {"{\"forward_headers\":[]}", ".forward_headers"},
        {"{\"input_guardrails\":[{\"default.contains\":{}}]}", ".input_guardrails"},
        {"{\"targets\":[{\"provider\":\"a\",\"api_key\":\"sk\"}]}", ".targets[0].api_key"},
        {"{\"targets\":[{\"provider\":\"a\"},{\"custom_host\":\"h\"}]}", ".targets[1].custom_host"},
        {"{\"targets\":[{\"strategy\":{\"mode\":\"single\"},\"targets\":[]}]}",
         ".targets[0].targets"},
        {"{\"targets\":[{\"strategy\":{\"mode\":\"single\"},\"provider\":\"a\"}]}",
         ".targets[0].strategy"},
        {"{\"targets\":[{\"override_params\":{\"messages\":[]}}]}",
         ".targets[0].override_params.messages"},
        {"{\"targets\":[{\"provider\":\"a\",\"override_params\":{\"max_tokens\":-1}}]}",
         ".targets[0].override_params.max_tokens"},
        {"{\"targets\":[{\"provider\":\"a\",\"override_params\":{\"stream\":true}}]}",
         ".targets[0].override_params.stream"},
        {"{\"targets\":[{}]}", ".targets[0]"},
        {"{\"targets\":[1]}", ".targets[0]"},
        {"{\"targets\":[]}", ".targets"},
        {"{\"targets\":{}}", ".targets"},
        {"{\"strategy\":{\"mode\":\"conditional\"}}", ".strategy"},
        {"{\"strategy\":{\"mode\":\"best\"},\"targets\":[{\"provider\":\"a\"}]}", ".strategy.mode"},
        {"{\"strategy\":{\"kind\":\"single\"},\"targets\":[{\"provider\":\"a\"}]}",
         ".strategy.kind"},
        {MODE("fallback", ",\"on_status_codes\":[9]") TO("a") "]}", ".strategy.on_status_codes[0]"},
        {MODE("fallback", ",\"on_status_codes\":429") TO("a") "]}", ".strategy.on_status_codes"},
        {MODE("loadbalance", "") "{\"provider\":\"a\",\"weight\":-1}]}", ".targets[0].weight"},
        {"{\"retry\":{\"attempts\":9}}", ".retry.attempts"},
        {"{\"retry\":{\"attempts\":1,\"backoff\":2}}", ".retry.backoff"},
        {"{\"retry\":{\"on_status_codes\":[\"x\"]}}", ".retry.on_status_codes[0]"},
        {"{\"retry\":3}", ".retry"},
        {"{\"request_timeout\":0}", ".request_timeout"},
        {"{\"request_timeout\":\"5s\"}", ".request_timeout"},
        {"{\"cache\":{\"mode\":\"fast\"}}", ".cache.mode"},
        {"{\"cache\":true}", ".cache"},
        {MODE("conditional", "") TO("a") "]}", ".strategy"},
        {MODE("conditional", ",\"conditions\":{}") TO("a") "]}", ".strategy.conditions"},
        {MODE("conditional", ",\"conditions\":[{\"then\":\"a\"}]") TO("a") "]}",
         ".strategy.conditions[0]"},
        {MODE("conditional", ",\"conditions\":[{\"query\":{\"metadata.a\":1},\"then\":\"z\"}]")
             TO("a") "]}",
         ".strategy.conditions[0].then"},
        {MODE("conditional", ",\"conditions\":[],\"default\":\"z\"") TO("a") "]}",
         ".strategy.default"},
        {Q("[]"), AT_QUERY},
        {Q("{}"), AT_QUERY},
        {Q("{\"plan\":1}"), AT_QUERY ".plan"},
        {Q("{\"metadata.plan\":null}"), AT_QUERY ".metadata?plan"},
        {Q("{\"metadata.plan\":{}}"), AT_QUERY ".metadata?plan"},
        {Q("{\"metadata.plan\":{\"$like\":1}}"), AT_QUERY ".metadata?plan.?like"},
        {Q("{\"metadata.plan\":{\"$and\":[]}}"), AT_QUERY ".metadata?plan.?and"},
        {Q("{\"metadata.plan\":{\"$in\":\"a\"}}"), AT_QUERY ".metadata?plan.?in"},
        {Q("{\"metadata.plan\":{\"$gt\":[1]}}"), AT_QUERY ".metadata?plan.?gt"},
        {Q("{\"metadata.plan\":{\"$regex\":\"(\"}}"), AT_QUERY ".metadata?plan.?regex"},
        {Q("{\"metadata.plan\":{\"$regex\":7}}"), AT_QUERY ".metadata?plan.?regex"},
        {Q("{\"$or\":[]}"), AT_QUERY ".?or"},
        {Q("{\"$or\":{\"metadata.a\":1}}"), AT_QUERY ".?or"},
        {Q("{\"$or\":[1]}"), AT_QUERY ".?or[0]"},
        {Q("{\"$eq\":1}"), AT_QUERY ".?eq"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char param[256];
        (void)snprintf(param, sizeof param, "x-portkey-config%s", cases[i].param);
        if (portkey(cases[i].text) != ERR_INVALID)
            fail_msg("%s", cases[i].text);
        if (!str_is(refusal.param, param))
            fail_msg("%s: %.*s", cases[i].text, STR_ARG(refusal.param));
    }
#undef Q
}

/* So many of a part, between a head and a tail. */
static const char *repeated(const char *head, const char *part, const char *with, unsigned count,
                            const char *tail)
{
    static char text[WISHES_BYTES_MAX];
    struct buf b = {.data = text, .cap = sizeof text, .max = sizeof text};
    assert_int_equal(buf_append_text(&b, head), 0);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(buf_append_text(&b, i == 0 ? "" : with), 0);
        assert_int_equal(buf_append_text(&b, part), 0);
    }
    assert_int_equal(buf_append_text(&b, tail), 0);
    assert_int_equal(buf_append_char(&b, '\0'), 0);
    return text;
}

static void b30_everything_that_can_be_repeated_has_a_maximum(void **state)
{
    (void)state;
    const char *head = MODE("fallback", "");
    assert_int_equal(portkey(repeated(head, TO("a"), ",", WISHES_TARGETS_MAX, "]}")), 0);
    assert_int_equal(portkey(repeated(head, TO("a"), ",", WISHES_TARGETS_MAX + 1, "]}")),
                     ERR_INVALID);
    assert_str(refusal.param, "x-portkey-config.targets[32]");
    static const char group[] = "{\"targets\":[{\"provider\":\"a\"}]}";
    assert_int_equal(portkey(repeated(head, group, ",", 31, "]}")), 0);
    assert_int_equal(portkey(repeated(head, group, ",", 32, "]}")), ERR_INVALID);
    assert_str(refusal.param, "x-portkey-config.targets[31]");
    static const char tail[] = "{\"provider\":\"a\"}]}]}]}]}]}]}]}]}";
    assert_int_equal(portkey(repeated("", "{\"targets\":[", "", 8, tail)), 0);
    assert_int_equal(portkey(repeated("{\"targets\":[", "{\"targets\":[", "", 8,
                                      "{\"provider\":\"a\"}]}]}]}]}]}]}]}]}]}")),
                     ERR_INVALID);
    head = "{\"targets\":[" TO("a") "],\"strategy\":{\"mode\":\"conditional\",\"conditions\":[";
    static const char condition[] = "{\"query\":{\"metadata.a\":1},\"then\":\"a\"}";
    assert_int_equal(portkey(repeated(head, condition, ",", 32, "]}}")), 0);
    assert_int_equal(portkey(repeated(head, condition, ",", 33, "]}}")), ERR_INVALID);
    static const char pattern[] = "{\"query\":{\"metadata.a\":{\"$regex\":\"a\"}},\"then\":\"a\"}";
    assert_int_equal(portkey(repeated(head, pattern, ",", 8, "]}}")), 0);
    assert_int_equal(portkey(repeated(head, pattern, ",", 9, "]}}")), ERR_INVALID);
    head = "{\"targets\":[" TO("a") "],\"strategy\":{\"mode\":\"conditional\",\"conditions\":["
                                    "{\"then\":\"a\",\"query\":{\"$and\":[";
    assert_int_equal(portkey(repeated(head, "{\"params.a\":1}", ",", 63, "]}}]}}")), 0);
    assert_int_equal(portkey(repeated(head, "{\"params.a\":1}", ",", 64, "]}}]}}")), ERR_INVALID);
    head = "{\"targets\":[" TO("a") "],\"strategy\":{\"mode\":\"conditional\",\"conditions\":["
                                    "{\"then\":\"a\",\"query\":";
    assert_int_equal(
        portkey(repeated(head, "{\"$or\":[", "", 7, "{\"params.a\":1}]}]}]}]}]}]}]}}]}}")), 0);
    assert_int_equal(
        portkey(repeated(head, "{\"$or\":[", "", 8, "{\"params.a\":1}]}]}]}]}]}]}]}]}}]}}")),
        ERR_INVALID);
    assert_true(arena.used_bytes < 1U << 20);
}

static void f24_out_of_memory_at_any_place_refuses_nothing_and_keeps_nothing(void **state)
{
    (void)state;
    static const char config[] =
        MODE("fallback", ",\"on_status_codes\":[500]") MODE("conditional", CONDITIONS)
            TO("a") ","
                    "{\"name\":\"b\",\"provider\":\"\\u0061\",\"retry\":{"
                    "\"attempts\":1}}]}," TO("c") "]}";
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        const uint64_t before = mem_live_bytes();
        struct arena_pool own;
        struct json own_json;
        arena_pool_init(&own, 0);
        arena_init(&arena, &own, 1U << 20);
        json_init(&own_json, JSON_NODES_MAX);
        wishes_init(&w);
        fault_arm_alloc(n);
        int rc = wishes_read_portkey(&own_json, str_from(config), &arena, &w, &refusal);
        fired = fault_disarm();
        assert_int_equal(rc, fired ? ERR_NOMEM : 0);
        json_deinit(&own_json);
        arena_reset(&arena);
        arena_pool_deinit(&own);
        assert_int_equal(mem_live_bytes(), before);
    }
    arena_init(&arena, &pool, 1U << 20);
    /* And where the request's own memory ends. */
    int rc = ERR_NOMEM;
    for (size_t bytes = 64; rc == ERR_NOMEM; bytes += 64) {
        arena_reset(&arena);
        arena_init(&arena, &pool, bytes);
        rc = portkey(config);
        assert_true(rc == 0 || rc == ERR_NOMEM);
    }
    assert_int_equal(rc, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_config_is_a_list_of_targets),
        T(of_a_config_without_a_mode_the_first_target_serves),
        T(targets_share_by_weight_and_the_rest_stands_behind),
        T(targets_stand_in_targets),
        T(the_first_condition_that_holds_says_who_serves),
        T(conditions_stand_in_targets_and_targets_in_conditions),
        T(without_a_default_a_request_that_meets_nothing_is_refused),
        T(what_stands_above_a_target_holds_for_it),
        T(b18_b46_what_is_malformed_or_not_a_clients_is_refused_by_its_path),
        T(b30_everything_that_can_be_repeated_has_a_maximum),
        T(f24_out_of_memory_at_any_place_refuses_nothing_and_keeps_nothing),
    };
#undef T
    return cmocka_run_group_tests(tests, NULL, NULL);
}
