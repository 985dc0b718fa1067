/* Configurations of other programs. Every file in cases/ is imported; for each of them: every leaf
 * of the original has a finding, no secret of it is copied, and the result is a valid
 * steelyard.yaml. Then single values, one by one. */
#include "controlplane/import/import.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "controlplane/config/config.h"
#include "controlplane/config/table.h"
#include "tests/lib/fault.h"

#define CASES STEELYARD_SOURCE_DIR "/tests/unit/controlplane/import/cases"

static struct import *run(enum import_format format, const char *text)
{
    struct import_options options = {.file = "t"};
    struct import *i = NULL;
    struct err err = {0};
    int rc = import_run(format, str_from(text), &options, &i, NULL, &err);
    if (rc != 0)
        fprintf(stderr, "%s\n", err.message);
    assert_int_equal(rc, 0);
    return i;
}

/* "verdict text" of the finding at this path; "" if there is none. */
static const char *told(const struct import *i, const char *path)
{
    static char out[512];
    out[0] = '\0';
    for (size_t n = 0; n < import_finding_count(i); n++) {
        struct import_finding f = import_finding_at(i, n);
        if (str_is(f.path, path))
            (void)snprintf(out, sizeof out, "%s %.*s", import_verdict_name(f.verdict),
                           STR_ARG(f.text));
    }
    return out;
}

static bool yields(const struct import *i, const char *text)
{
    bool found = str_search(import_yaml(i), str_from(text)) >= 0;
    if (!found)
        fprintf(stderr, "not in:\n%.*s\n", STR_ARG(import_yaml(i)));
    return found;
}

static bool covers(struct str finding, const char *leaf)
{
    size_t len = strlen(leaf);
    return finding.len <= len && memcmp(finding.data, leaf, finding.len) == 0 &&
           (finding.len == len || leaf[finding.len] == '.' || leaf[finding.len] == '[');
}

static size_t unaccounted(const struct import *i, struct str text)
{
    struct arena_pool chunks;
    struct arena arena;
    struct findings findings;
    struct yaml_node *root;
    size_t missing = 0;
    findings_init(&findings, "t");
    arena_pool_init(&chunks, 0);
    arena_init(&arena, &chunks, 64U << 20);
    assert_int_equal(yaml_parse_foreign(text, &arena, &findings, &root), 0);
    for (struct yaml_node *at = root; at != NULL;) {
        if (at->first != NULL) {
            at = at->first;
            continue;
        }
        char path[256];
        bool ok = at == root;
        table_path(at, path, sizeof path);
        for (size_t n = 0; n < import_finding_count(i) && !ok; n++)
            ok = covers(import_finding_at(i, n).path, path);
        if (!ok)
            fprintf(stderr, "no finding for %s\n", path);
        missing += !ok;
        while (at != NULL && at->next == NULL)
            at = at->parent;
        at = at == NULL ? NULL : at->next;
    }
    findings_deinit(&findings);
    arena_reset(&arena);
    arena_pool_deinit(&chunks);
    return missing;
}

/* Variables that the control plane would read are given; keys are references and stay so. */
static void give_variables(struct str yaml)
{
    ptrdiff_t cut;
    while ((cut = str_search(yaml, STR("os.environ/"))) >= 0) {
        char name[128];
        size_t len = 0;
        yaml = str_slice(yaml, (size_t)cut + 11, yaml.len);
        while (len < yaml.len && yaml.data[len] != '\n' && yaml.data[len] != '"')
            len++;
        if (str_copy(str_slice(yaml, 0, len), name, sizeof name))
            (void)setenv(name,
                         strstr(name, "REGION") != NULL ? "us-east-1" : "https://given.example.com",
                         0);
    }
}

static bool is_valid(const struct import *i)
{
    struct config *c = NULL;
    struct err err = {0};
    give_variables(import_yaml(i));
    int rc = config_parse(import_yaml(i), "result", CONFIG_LOCAL_FILE, &c, NULL, &err);
    if (rc != 0)
        fprintf(stderr, "%s\n%.*s\n", err.message, STR_ARG(import_yaml(i)));
    config_destroy(c);
    return rc == 0;
}

static enum import_format format_of(const char *file)
{
    static const char *const names[] = {"litellm", "portkey", "openrouter", "route-switch"};
    enum import_format format = IMPORT_LITELLM;
    for (size_t n = 0; n < 4; n++) {
        if (strncmp(file, names[n], strlen(names[n])) == 0)
            assert_true(import_format_parse(names[n], &format));
    }
    return format;
}

static void check_case(const char *file)
{
    char path[512];
    struct buf text = {0};
    struct err err = {0};
    struct import_options options = {.file = file};
    struct import *i = NULL;
    (void)snprintf(path, sizeof path, CASES "/%s", file);
    assert_int_equal(buf_read_file(&text, path, CONFIG_BYTES_MAX, &err), 0);
    int rc = import_run(format_of(file), buf_str(&text), &options, &i, NULL, &err);
    if (rc != 0)
        fail_msg("%s", err.message);
    assert_int_equal(unaccounted(i, buf_str(&text)), 0);
    assert_true(is_valid(i));
    assert_int_equal(str_search(import_yaml(i), STR("sk-secret")), -1);
    for (size_t n = 0; n < import_finding_count(i); n++) {
        struct import_finding f = import_finding_at(i, n);
        assert_int_equal(str_search(f.text, STR("sk-secret")), -1);
        assert_true(f.line > 0 && f.column > 0 && f.text.len > 0);
        if (str_search(f.text, STR("not known to this importer")) >= 0)
            fail_msg("%s: %.*s is not known", file, STR_ARG(f.path));
    }
    import_destroy(i);
    buf_deinit(&text);
}

static void every_value_of_every_case_is_accounted_for(void **state)
{
    (void)state;
    DIR *dir = opendir(CASES);
    unsigned count = 0;
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        if (e->d_name[0] == '.')
            continue;
        check_case(e->d_name);
        count++;
    }
    closedir(dir);
    assert_true(count >= 20);
}

static void deployments_of_one_name_are_one_model(void **state)
{
    (void)state;
    struct import *i = run(
        IMPORT_LITELLM, "model_list:\n"
                        "- {model_name: m, litellm_params: {model: openai/a, rpm: 20}}\n"
                        "- {model_name: m, litellm_params: {model: groq/b, rpm: 10, order: 2}}\n");
    assert_true(yields(i, "  m:\n    deployments:\n      - provider: openai\n        model: a\n"
                          "        weight: 20\n      - provider: groq\n        model: b\n"
                          "        weight: 10\n        priority: 2\n"));
    assert_string_equal(told(i, "model_list[0].litellm_params.model"),
                        "exact deployment of a at the provider openai; its key is read from the "
                        "usual variable");
    assert_non_null(strstr(told(i, "model_list[1].litellm_params.rpm"), "approximate share"));
    import_destroy(i);
}

static void a_group_with_fallbacks_is_a_route_of_its_name(void **state)
{
    (void)state;
    struct import *i =
        run(IMPORT_LITELLM, "model_list:\n"
                            "- {model_name: a, litellm_params: {model: openai/a}}\n"
                            "- {model_name: b, litellm_params: {model: openai/b}}\n"
                            "litellm_settings: {fallbacks: [{a: [b]}], num_retries: 1}\n"
                            "router_settings: {model_group_alias: {c: a}, timeout: 2.5}\n");
    assert_true(yields(i, "  a-group:\n"));
    assert_true(yields(i, "  a:\n    models:\n      - a-group\n    fallbacks:\n      - b-group\n"
                          "    timeout: 2500ms\n    retries: 1\n"));
    assert_true(yields(i, "  c:\n    models:\n      - a-group\n    fallbacks:\n      - b-group\n"));
    assert_true(is_valid(i));
    import_destroy(i);
}

static void prices_a_token_become_prices_a_million(void **state)
{
    (void)state;
    struct import *i =
        run(IMPORT_LITELLM,
            "model_list:\n"
            "- model_name: m\n"
            "  litellm_params: {model: openai/a, input_cost_per_token: 2.5e-07}\n"
            "  model_info: {output_cost_per_token: 0.000002, input_cost_per_second: 1}\n"
            "- model_name: n\n"
            "  litellm_params: {model: openai/a, input_cost_per_token: 1}\n");
    assert_true(yields(i, "    price:\n      input: 0.25 USD\n      output: 2 USD\n"));
    assert_string_equal(told(i, "model_list[1].litellm_params.input_cost_per_token"),
                        "manual left out: a price needs both input and output");
    assert_string_equal(told(i, "model_list[0].model_info.input_cost_per_second"),
                        "unsupported left out: only tokens are priced");
    import_destroy(i);
}

static void a_secret_is_never_copied(void **state)
{
    (void)state;
    struct import *i =
        run(IMPORT_LITELLM,
            "model_list:\n"
            "- {model_name: a, litellm_params: {model: openai/a, api_key: topsecret1}}\n"
            "- {model_name: b, litellm_params: {model: openai/b, api_key: topsecret2}}\n"
            "- {model_name: c, litellm_params: {model: openai/c, api_key: topsecret1}}\n"
            "- {model_name: d, litellm_params: {model: openai/d}}\n");
    assert_int_equal(str_search(import_yaml(i), STR("topsecret")), -1);
    for (size_t n = 0; n < import_finding_count(i); n++)
        assert_int_equal(str_search(import_finding_at(i, n).text, STR("topsecret")), -1);
    /* d uses the usual variable, so nobody else's secret may be called so. */
    assert_true(yields(i, "api_key: os.environ/OPENAI_API_KEY_2\n"));
    assert_true(yields(i, "api_key: os.environ/OPENAI_API_KEY_3\n"));
    assert_string_equal(told(i, "model_list[0].litellm_params.api_key"),
                        told(i, "model_list[2].litellm_params.api_key"));
    assert_int_equal(import_count(i, IMPORT_MANUAL), 3);
    import_destroy(i);
}

static void b30_references_of_an_import_are_plain_text(void **state)
{
    (void)state;
    struct import *i =
        run(IMPORT_LITELLM, "model_list:\n"
                            "- {model_name: a, litellm_params: {model: \"openai/${env:HOME}\"}}\n"
                            "- {model_name: b, litellm_params: {model: azure/b,"
                            " api_base: \"${file:/etc/passwd}\", api_version: \"${env:HOME}\","
                            " api_key: \"${file:/etc/shadow}\"}}\n");
    assert_int_equal(str_search(import_yaml(i), STR("${")), -1);
    assert_true(is_valid(i));
    assert_non_null(strstr(told(i, "model_list[0]"), "manual"));
    import_destroy(i);
    i = run(IMPORT_PORTKEY, "{\"provider\": \"openai\", \"api_key\": \"${env:HOME}\","
                            "\"override_params\": {\"model\": \"os.environ/HOME\"}}");
    assert_int_equal(str_search(import_yaml(i), STR("HOME")), -1);
    import_destroy(i);
}

static void a_region_that_would_be_another_host_is_not_taken(void **state)
{
    (void)state;
    struct import *i =
        run(IMPORT_LITELLM, "model_list: [{model_name: a, litellm_params: {model: bedrock/x,"
                            " aws_region_name: \"evil.example.com/\"}}]\n");
    assert_int_equal(str_search(import_yaml(i), STR("evil")), -1);
    assert_non_null(strstr(told(i, "model_list[0].litellm_params.aws_region_name"), "manual"));
    assert_true(is_valid(i));
    import_destroy(i);
    i = run(IMPORT_LITELLM, "model_list: [{model_name: a, litellm_params: {model: openai/x,"
                            " region_name: \"eu?\"}}]\n");
    assert_string_equal(told(i, "model_list[0].litellm_params.region_name"),
                        "manual left out: no region; write it");
    assert_true(is_valid(i));
    import_destroy(i);
    i = run(IMPORT_PORTKEY,
            "{\"provider\": \"vertex-ai\", \"vertex_region\": \"a.b/\","
            "\"vertex_project_id\": \"../x\", \"override_params\": {\"model\": \"m\"}}");
    assert_true(yields(i, "region: us-central1\n    project: my-project\n"));
    assert_true(is_valid(i));
    import_destroy(i);
}

static int refused(const char *text, const char *why)
{
    struct import_options options = {.file = "t"};
    struct import *i = NULL;
    struct err err = {0};
    int rc = import_run(IMPORT_LITELLM, str_from(text), &options, &i, NULL, &err);
    import_destroy(i);
    if (rc != 0 && strstr(err.message, why) == NULL)
        fail_msg("%s", err.message);
    return rc;
}

static void b30_what_is_too_deep_or_too_much_is_refused_with_its_place(void **state)
{
    (void)state;
    char text[4096];
    size_t at = 0;
    assert_int_equal(refused("a: [", "t:2:1: flow sequence"), ERR_SYNTAX);
    assert_int_equal(refused("{\"a\": tru}", "t:1:10"), ERR_SYNTAX);
    assert_int_equal(refused("a: !tag b\n", "t:1:9: tags"), ERR_SYNTAX);
    assert_int_equal(refused("just text\n", "a single value"), ERR_SYNTAX);
    assert_int_equal(refused("a: *nothing\n", "t:1:"), ERR_SYNTAX);
    assert_int_equal(refused("a: &a [*a]\n", "t:1:9: an alias"), ERR_SYNTAX);
    for (unsigned n = 0; n < 33; n++)
        text[at++] = '[';
    for (unsigned n = 0; n < 33; n++)
        text[at++] = ']';
    text[at] = '\0';
    assert_int_equal(refused(text, "t:1:33: nested deeper"), ERR_SYNTAX);
    /* Each alias names the one before it ten times: a billion values. */
    at = (size_t)snprintf(text, sizeof text, "x0: &x0 1\n");
    for (int n = 1; n < 10; n++) {
        at += (size_t)snprintf(text + at, sizeof text - at, "x%d: &x%d [", n, n);
        for (int k = 0; k < 10; k++)
            at += (size_t)snprintf(text + at, sizeof text - at, "*x%d%s", n - 1, k < 9 ? ", " : "");
        at += (size_t)snprintf(text + at, sizeof text - at, "]\n");
    }
    assert_int_equal(refused(text, "more than 100000 values"), ERR_SYNTAX);
}

static void a_file_above_one_mebibyte_is_refused(void **state)
{
    (void)state;
    struct import_options options = {.file = "t"};
    struct import *i = NULL;
    struct err err = {0};
    size_t len = CONFIG_BYTES_MAX + 1;
    char *text = mem_alloc(len);
    assert_non_null(text);
    memset(text, ' ', len);
    assert_int_equal(import_run(IMPORT_PORTKEY, (struct str){text, len}, &options, &i, NULL, &err),
                     ERR_SYNTAX);
    mem_free(text);
}

static void anchors_and_merge_keys_are_resolved(void **state)
{
    (void)state;
    struct import *i = run(
        IMPORT_LITELLM, "x-p: &p {timeout: 5, api_key: os.environ/K}\n"
                        "model_list:\n"
                        "- {model_name: a, litellm_params: {<<: *p, model: openai/a, timeout: 9}}\n"
                        "- {model_name: b, litellm_params: {<<: [*p], model: openai/b}}\n");
    assert_true(yields(i, "total: 9s"));
    assert_true(yields(i, "total: 5s"));
    assert_true(is_valid(i));
    import_destroy(i);
}

static void a_repeated_key_counts_once_and_is_told(void **state)
{
    (void)state;
    struct import *i =
        run(IMPORT_LITELLM, "model_list:\n- {model_name: a, litellm_params: {model: openai/x,"
                            " model: openai/y}}\n");
    assert_true(yields(i, "model: y\n"));
    assert_int_equal(import_count(i, IMPORT_UNSUPPORTED), 1);
    import_destroy(i);
}

static void what_nobody_knows_is_told_once_at_its_top(void **state)
{
    (void)state;
    struct import *i = run(IMPORT_LITELLM, "new_thing: {a: [1, 2], b: {c: 3}}\nempty: {}\nnone:\n"
                                           "router_settings: {brand_new: 1}\n");
    assert_string_equal(told(i, "new_thing"), "unsupported left out: not known to this importer");
    assert_string_equal(told(i, "router_settings.brand_new"),
                        "unsupported left out: not known to this importer");
    assert_string_equal(told(i, "empty"), "unsupported left out: not known to this importer");
    assert_string_equal(told(i, "none"), "exact empty: says nothing");
    assert_int_equal(import_finding_count(i), 4);
    import_destroy(i);
}

static void nested_balancing_multiplies_weights(void **state)
{
    (void)state;
    struct import *i =
        run(IMPORT_PORTKEY,
            "{\"strategy\": {\"mode\": \"loadbalance\"}, \"targets\": ["
            "{\"weight\": 1, \"provider\": \"openai\", \"override_params\": {\"model\": \"a\"}},"
            "{\"weight\": 1, \"strategy\": {\"mode\": \"loadbalance\"}, \"targets\": ["
            "{\"weight\": 1, \"provider\": \"groq\", \"override_params\": {\"model\": \"b\"}},"
            "{\"weight\": 3, \"provider\": \"xai\", \"override_params\": {\"model\": \"c\"}}]}]}");
    assert_true(yields(i, "        model: a\n        weight: 4\n"));
    assert_true(yields(i, "        model: b\n        weight: 1\n"));
    assert_true(yields(i, "        model: c\n        weight: 3\n"));
    assert_true(yields(i, "routes:\n  portkey:\n    models:\n      - portkey-balanced\n"));
    import_destroy(i);
}

static void fallbacks_of_balanced_targets_keep_their_order(void **state)
{
    (void)state;
    struct import *i = run(
        IMPORT_PORTKEY, "{\"strategy\": {\"mode\": \"fallback\"}, \"targets\": ["
                        "{\"strategy\": {\"mode\": \"loadbalance\"}, \"targets\": ["
                        "{\"provider\": \"openai\", \"override_params\": {\"model\": \"a\"}},"
                        "{\"provider\": \"groq\", \"override_params\": {\"model\": \"a\"}}]},"
                        "{\"provider\": \"anthropic\", \"override_params\": {\"model\": \"z\"}}]}");
    assert_true(yields(i, "  portkey:\n    models:\n      - portkey-balanced\n    fallbacks:\n"
                          "      - z\n"));
    import_destroy(i);
}

static void targets_without_a_model_take_the_one_that_is_given(void **state)
{
    (void)state;
    struct import_options options = {.file = "t", .model = "gpt-4o", .name = "mine"};
    const char *text = "{\"provider\": \"openai\", \"virtual_key\": \"main-key\"}";
    struct import *i = NULL;
    struct err err = {0};
    assert_int_equal(import_run(IMPORT_PORTKEY, str_from(text), &options, &i, NULL, &err), 0);
    assert_true(yields(i, "routes:\n  mine:\n    models:\n      - gpt-4o\n"));
    assert_true(yields(i, "api_key: os.environ/MAIN_KEY_API_KEY\n"));
    import_destroy(i);
    i = run(IMPORT_PORTKEY, text);
    assert_true(yields(i, "models: {}\n"));
    assert_true(is_valid(i));
    import_destroy(i);
}

#define LEAF(name, model)                                                                          \
    "{\"name\": \"" name "\", \"provider\": \"openai\", \"weight\": 1, "                           \
    "\"override_params\": {\"model\": \"" model "\"}}"

static void a_conditional_becomes_conditions_and_targets(void **state)
{
    (void)state;
    struct import *i = run(
        IMPORT_PORTKEY,
        "{\"strategy\": {\"mode\": \"conditional\", \"conditions\": [{\"query\": "
        "{\"metadata.plan\": {\"$eq\": \"paid\"}, \"params.max_tokens\": {\"$gt\": 5}}, \"then\": "
        "\"big\"}, {\"query\": {\"$or\": [{\"url.pathname\": \"/v1/x\"}, {\"metadata.user\": "
        "{\"$regex\": \"^a.*\\\\.com$\"}}]}, \"then\": \"spread\"}], \"default\": \"small\"},"
        "\"targets\": [" LEAF("big", "a") ", " LEAF(
            "small",
            "b") ", {\"name\": \"spread\", \"strategy\": {\"mode\": \"loadbalance\"}, \"targets\": "
                 "[" LEAF("", "c") ", {\"weight\": 3, \"strategy\": {\"mode\": \"fallback\"}, "
                                   "\"targets\": [" LEAF("", "d") ", " LEAF("", "b") "]}]}]}");
    assert_true(yields(i, "  portkey:\n    models:\n      - a\n      - b\n      - c\n      - d\n"
                          "    targets:\n"
                          "      target:\n        of:\n          - d\n          - b\n"
                          "      spread:\n        strategy: loadbalance\n        of:\n"
                          "          - target: c\n            weight: 1\n"
                          "          - target: target\n            weight: 3\n"
                          "    conditions:\n"
                          "      - if: {metadata.plan: {\"$eq\": paid}, params.max_tokens: "
                          "{\"$gt\": \"5\"}}\n        then: a\n"
                          "      - if: {\"$or\": [{url.pathname: \"/v1/x\"}, {metadata.user: "
                          "{\"$regex\": \"^a.*\\\\.com$\"}}]}\n        then: spread\n"
                          "    default: b\n"));
    assert_true(is_valid(i));
    assert_string_equal(told(i, "strategy.conditions[0].query"), "exact a condition of the route");
    assert_string_equal(told(i, "strategy.default"), "exact `default` of the route");
    assert_string_equal(told(i, "targets[2].strategy.mode"), "exact a target of the route");
    import_destroy(i);
}

/* Whatever is chosen inside is a condition of the whole, in the order in which it would be found.
 */
static void conditionals_inside_are_lifted(void **state)
{
    (void)state;
#define INNER(one, two)                                                                            \
    "{\"strategy\": {\"mode\": \"conditional\", \"conditions\": [{\"query\": {\"metadata." one     \
    "\": 1}, \"then\": \"" one "\"}], \"default\": \"" two                                         \
    "\"}, \"targets\": [" LEAF(one, one) ", " LEAF(two, two) "]}"
    struct import *i =
        run(IMPORT_PORTKEY, "{\"strategy\": {\"mode\": \"fallback\"}, \"targets\": [" INNER(
                                "a", "b") ", " INNER("c", "d") "]}");
    assert_true(yields(i, "      target:\n        of:\n          - a\n          - c\n"
                          "      target-2:\n        of:\n          - a\n          - d\n"
                          "      target-3:\n        of:\n          - b\n          - c\n"
                          "      target-4:\n        of:\n          - b\n          - d\n"
                          "    conditions:\n"
                          "      - if: {$and: [{metadata.a: \"1\"}, {metadata.c: \"1\"}]}\n"
                          "        then: target\n"
                          "      - if: {metadata.a: \"1\"}\n        then: target-2\n"
                          "      - if: {metadata.c: \"1\"}\n        then: target-3\n"
                          "    default: target-4\n"));
    assert_true(is_valid(i));
    import_destroy(i);
    i = run(
        IMPORT_PORTKEY,
        "{\"strategy\": {\"mode\": \"fallback\"}, \"targets\": [" INNER("a", "b") ", " INNER(
            "c", "d") ", " INNER("e", "f") ", " INNER("g",
                                                      "h") ", " INNER("i",
                                                                      "j") ", " INNER("k",
                                                                                      "l") "]}");
    assert_non_null(strstr(told(i, "targets[5].strategy"), "manual only its default"));
    assert_true(yields(i, "          - b\n          - d\n          - f\n"));
    assert_true(is_valid(i));
    import_destroy(i);
#undef INNER
}

static void a_condition_that_cannot_be_said_here_is_a_persons_to_write(void **state)
{
    (void)state;
    static const struct {
        const char *query, *told;
    } cases[] = {
        {"{\"metadata.a\": {\"$like\": \"x\"}}", "manual left out: unknown operator"},
        {"{\"plan\": \"x\"}", "manual left out: a path starts with"},
        {"{}", "manual left out: expected a map of conditions"},
        {"{\"metadata.a\": {\"$regex\": \"(\"}}", "manual left out: "},
        {"{\"metadata.a\": \"${env:HOME}\"}", "manual left out: its texts"},
        {"{\"metadata.a\": null}", "manual left out: its texts"},
        {"{\"$or\": [{\"metadata.a\": 1}], \"metadata.b\": 2}",
         "approximate a condition of the route; what stands behind"},
    };
    for (size_t n = 0; n < sizeof cases / sizeof cases[0]; n++) {
        char text[1024];
        (void)snprintf(
            text, sizeof text,
            "{\"strategy\": {\"mode\": \"conditional\", \"conditions\": [{\"query\": %s, "
            "\"then\": \"x\"}, {\"query\": {\"metadata.z\": 1}, \"then\": \"none\"}], "
            "\"default\": \"y\"}, \"targets\": [" LEAF("x", "a") ", " LEAF("y", "b") "]}",
            cases[n].query);
        struct import *i = run(IMPORT_PORTKEY, text);
        const char *said = told(i, "strategy.conditions[0].query");
        if (strncmp(said, cases[n].told, strlen(cases[n].told)) != 0)
            fail_msg("%s: %s", cases[n].query, said);
        assert_string_equal(told(i, "strategy.conditions[1].then"),
                            "manual left out: no target beside it has this name");
        assert_true(is_valid(i));
        import_destroy(i);
    }
}

static void positions_are_those_of_the_original(void **state)
{
    (void)state;
    struct import *i = run(IMPORT_PORTKEY, "{\n  \"provider\":\n    \"openai\",\n"
                                           "  \"\xc3\xa9\": 1, \"zz\": {\"a\": 1}\n}");
    struct import_finding f = import_finding_at(i, 0);
    assert_true(str_is(f.path, "provider") && f.line == 3 && f.column == 5);
    f = import_finding_at(i, 2);
    assert_true(str_is(f.path, "zz") && f.line == 4 && f.column == 11);
    import_destroy(i);
}

static void failed_allocations_leave_nothing_behind(void **state)
{
    (void)state;
    static const struct {
        enum import_format format;
        const char *text;
    } all[] = {
        {IMPORT_LITELLM, "x: &x {timeout: 5}\nmodel_list:\n- {model_name: a, litellm_params: "
                         "{<<: *x, model: openai/a, api_key: k, api_base: \"http://h/v1\"}}\n"
                         "litellm_settings: {fallbacks: [{a: [a]}], num_retries: 1}\n"},
        {IMPORT_PORTKEY, "{\"strategy\": {\"mode\": \"loadbalance\"}, \"targets\": [{\"provider\":"
                         "\"openai\", \"override_params\": {\"model\": \"\\u0061\"}}]}"},
        {IMPORT_OPENROUTER,
         "{\"models\": [\"a/b\", \"c/d\"], \"provider\": {\"sort\": \"price\"}}"},
        {IMPORT_ROUTE_SWITCH, "models: [{name: a, provider: openai}]\nstrategy: weighted\n"},
    };
    for (size_t k = 0; k < sizeof all / sizeof all[0]; k++) {
        uint64_t before = mem_live_bytes();
        bool fired = true;
        for (unsigned n = 0; fired; n++) {
            struct import_options options = {.file = "t"};
            struct import *i = NULL;
            struct err err = {0};
            fault_arm_alloc(n);
            int rc = import_run(all[k].format, str_from(all[k].text), &options, &i, NULL, &err);
            fired = fault_disarm();
            assert_true(rc == 0 ? i != NULL : i == NULL);
            if (fired)
                assert_true(rc == ERR_NOMEM || rc == 0);
            else
                assert_int_equal(rc, 0);
            import_destroy(i);
            assert_int_equal(mem_live_bytes(), before);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_of_every_case_is_accounted_for),
        cmocka_unit_test(deployments_of_one_name_are_one_model),
        cmocka_unit_test(a_group_with_fallbacks_is_a_route_of_its_name),
        cmocka_unit_test(prices_a_token_become_prices_a_million),
        cmocka_unit_test(a_secret_is_never_copied),
        cmocka_unit_test(b30_references_of_an_import_are_plain_text),
        cmocka_unit_test(a_region_that_would_be_another_host_is_not_taken),
        cmocka_unit_test(b30_what_is_too_deep_or_too_much_is_refused_with_its_place),
        cmocka_unit_test(a_file_above_one_mebibyte_is_refused),
        cmocka_unit_test(anchors_and_merge_keys_are_resolved),
        cmocka_unit_test(a_repeated_key_counts_once_and_is_told),
        cmocka_unit_test(what_nobody_knows_is_told_once_at_its_top),
        cmocka_unit_test(nested_balancing_multiplies_weights),
        cmocka_unit_test(fallbacks_of_balanced_targets_keep_their_order),
        cmocka_unit_test(targets_without_a_model_take_the_one_that_is_given),
        cmocka_unit_test(a_conditional_becomes_conditions_and_targets),
        cmocka_unit_test(conditionals_inside_are_lifted),
        cmocka_unit_test(a_condition_that_cannot_be_said_here_is_a_persons_to_write),
        cmocka_unit_test(positions_are_those_of_the_original),
        cmocka_unit_test(failed_allocations_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
