/* steelyard.yaml: what is read, and every kind of mistake with its place. */
#include "controlplane/config/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/crypto/digest.h"
#include "common/route/rule.h"
#include "common/route/way.h"
#include "control.pb-c.h"
#include "controlplane/config/prices.h"
#include "tests/lib/fault.h"
#include "tests/unit/controlplane/config_fixture.h"

static const char good[] =
    "version: 1\n"
    "providers:\n"
    "  openai: {type: openai, api_key: os.environ/OPENAI_API_KEY}\n"
    "  local:\n"
    "    base_url: http://vllm:8000/v1/\n"
    "    private: true\n"
    "    failure_domain: rack-1\n"
    "    transport: libcurl\n"
    "    timeouts: {head: 10s, total: 2m}\n"
    "models:\n"
    "  gpt-4o-mini: {deployments: [{provider: openai}], capabilities: [tools, stream]}\n"
    "  local-small:\n"
    "    deployments: [{provider: local, model: qwen3, weight: 3}]\n"
    "    prior_quality: 0.5\n"
    "    price: {input: \"0.10 USD\", output: 0.25 USD}\n"
    "    valid_from: 2026-11-01\n"
    "routes:\n"
    "  auto: {models: [local-small, gpt-4o-mini], fallbacks: [gpt-4o-mini], timeout: 120s}\n"
    "policies:\n"
    "  cheap: {objective: {quality_floor: 0.85, minimize: cost}, explore: 0.05}\n"
    "keys:\n"
    "  - {id: demo, hash: \"sha256:"
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\", routes: [auto]}\n"
    "store: {postgres: \"${env:STEELYARD_TEST_DB:-host=/tmp}\", retention: 30d}\n";

static void a_whole_file_becomes_the_bodies_that_are_pushed(void **state)
{
    (void)state;
    struct config *c = config_fixture_parse(good);
    struct buf body = {0};
    buf_init(&body, 1U << 20);
    assert_int_equal(config_catalogue(c, &body), 0);
    Steelyard__Control__V1__Catalogue *m =
        steelyard__control__v1__catalogue__unpack(NULL, body.len, (const uint8_t *)body.data);
    assert_non_null(m);
    assert_int_equal(m->n_providers, 2);
    assert_string_equal(m->providers[0]->base_url, "https://api.openai.com/v1");
    assert_string_equal(m->providers[0]->secret_ref, "env:OPENAI_API_KEY");
    assert_string_equal(m->providers[1]->base_url, "http://vllm:8000/v1");
    assert_string_equal(m->providers[1]->secret_ref, "");
    assert_true(m->providers[1]->allow_private);
    assert_int_equal(m->providers[1]->timeouts->total_ms, 120000);
    assert_int_equal(m->providers[1]->failure_domain, 2);
    assert_int_equal(m->providers[0]->transport, STEELYARD__CONTROL__V1__TRANSPORT__TRANSPORT_AUTO);
    assert_int_equal(m->providers[1]->transport,
                     STEELYARD__CONTROL__V1__TRANSPORT__TRANSPORT_LIBCURL);
    assert_int_equal(m->models[0]->capabilities, 1 | 8);
    assert_int_equal(m->models[0]->context_window, 128000);
    assert_string_equal(m->models[0]->deployments[0]->upstream_model, "gpt-4o-mini");
    assert_int_equal(m->models[1]->prior_quality_q16, 32768);
    assert_int_equal(m->models[1]->deployments[0]->weight, 3);
    assert_string_equal(m->routes[0]->policy, "default");
    assert_int_equal(m->routes[0]->timeout_ms, 120000);
    assert_int_equal(m->routes[0]->retries, 2);
    assert_false(m->routes[0]->no_retries);
    steelyard__control__v1__catalogue__free_unpacked(m, NULL);

    buf_clear(&body);
    assert_int_equal(config_prices(c, &body), 0);
    Steelyard__Control__V1__Prices *p =
        steelyard__control__v1__prices__unpack(NULL, body.len, (const uint8_t *)body.data);
    assert_int_equal(p->n_prices, 1); /* What the file gives; the rest is merged in later. */
    assert_int_equal(p->prices[0]->output, 250000000);
    assert_int_equal(p->prices[0]->cached_input, -1);
    assert_int_equal(p->prices[0]->valid_from_us, INT64_C(1793491200000000));
    assert_true(p->prices[0]->price_id != 0);
    steelyard__control__v1__prices__free_unpacked(p, NULL);

    assert_int_equal(config_policy_count(c), 2);
    assert_int_equal(config_policy_at(c, 0).quality_floor_q16, 55706);
    assert_int_equal(config_key_count(c), 1);
    assert_int_equal(config_key_at(c, 0).sha256[1], 0x23);
    assert_true(str_is(config_settings(c).database, "host=/tmp"));
    assert_int_equal(config_settings(c).retention_days, 30);
    assert_int_equal(config_settings(c).label_maturity_ms, 0);
    buf_deinit(&body);
    config_destroy(c);
}

static void a_type_says_what_the_file_leaves_out(void **state)
{
    (void)state;
    struct config *c = config_fixture_parse(
        "version: 1\n"
        "providers:\n"
        "  claude: {type: anthropic, version: \"2023-06-01\", headers: {x-title: ours}}\n"
        "  azure: {type: azure, base_url: \"https://x.openai.azure.com\", region: swedencentral,\n"
        "          compat: {unsupported_params: reject, repair: false}}\n"
        "  cloud: {type: bedrock, base_url: \"https://b.example\", credential: aws_keys,\n"
        "          region: us-east-1, api_key: \"${env:AWS}\"}\n"
        "  home: {type: vllm}\n"
        "  maps: {type: vertex, project: p, region: us-east1}\n"
        "  proxy: {base_url: \"http://proxy:1/v1\"}\n"
        "models:\n"
        "  m: {deployments: [{provider: claude, region: eu, priority: 2}]}\n"
        "routes: {auto: {models: [m]}}\n");
    struct buf body = {0};
    buf_init(&body, 1U << 20);
    assert_int_equal(config_catalogue(c, &body), 0);
    Steelyard__Control__V1__Catalogue *m =
        steelyard__control__v1__catalogue__unpack(NULL, body.len, (const uint8_t *)body.data);
    assert_non_null(m);
    Steelyard__Control__V1__Provider **p = m->providers;
    assert_string_equal(p[0]->type, "anthropic");
    assert_string_equal(p[0]->base_url, "https://api.anthropic.com");
    assert_string_equal(p[0]->catalog, "anthropic");
    assert_string_equal(p[0]->version, "2023-06-01");
    assert_int_equal(p[0]->n_headers, 1);
    assert_string_equal(p[0]->headers[0]->name, "x-title");
    assert_string_equal(p[0]->headers[0]->value, "ours");
    assert_false(p[0]->no_repair || p[0]->reject_unsupported || p[0]->allow_private);
    assert_string_equal(p[1]->catalog, "azure"); /* It has no usual address. */
    assert_string_equal(p[1]->region, "swedencentral");
    assert_true(p[1]->no_repair && p[1]->reject_unsupported);
    assert_int_equal(p[2]->credential, STEELYARD__CONTROL__V1__CREDENTIAL__CREDENTIAL_AWS_KEYS);
    assert_string_equal(p[3]->base_url, "http://127.0.0.1:8000/v1");
    assert_true(p[3]->allow_private);
    assert_string_equal(
        p[4]->base_url,
        "https://us-east1-aiplatform.googleapis.com/v1/projects/p/locations/us-east1");
    assert_string_equal(p[4]->catalog, "google-vertex");
    assert_string_equal(p[5]->type, "openai");
    assert_string_equal(p[5]->catalog, ""); /* Whoever that is, it is not the vendor itself. */
    assert_string_equal(m->models[0]->deployments[0]->region, "eu");
    assert_int_equal(m->models[0]->deployments[0]->priority, 2);
    steelyard__control__v1__catalogue__free_unpacked(m, NULL);
    buf_deinit(&body);
    config_destroy(c);
}

static void the_same_file_gives_the_same_bytes(void **state)
{
    (void)state;
    struct buf a = {0}, b = {0};
    buf_init(&a, 1U << 20);
    buf_init(&b, 1U << 20);
    struct config *one = config_fixture_parse(good), *two = config_fixture_parse(good);
    assert_int_equal(config_catalogue(one, &a) | config_prices(one, &a), 0);
    assert_int_equal(config_catalogue(two, &b) | config_prices(two, &b), 0);
    assert_true(str_eq(buf_str(&a), buf_str(&b)));
    buf_deinit(&a);
    buf_deinit(&b);
    config_destroy(one);
    config_destroy(two);
}

/* Small files with one mistake each, and what must be said about it. */
#define HEAD "version: 1\nproviders: {p: {}}\nmodels: {m: {deployments: [{provider: p}]}}\n"
#define HEAD_PRICE(text)                                                                           \
    "version: 1\nproviders: {p: {}}\nmodels: {m: {deployments: [{provider: p}], " text "}}\n"
static const struct {
    const char *text;
    const char *finding;
} mistakes[] = {
    {"version: 1\n", "t.yaml:1:1: \"providers\" is missing"},
    {HEAD "rotues: {}\n", "t.yaml:4:1: rotues: unknown key; did you mean \"routes\"?"},
    {HEAD "zzz: 1\n", "t.yaml:4:1: zzz: unknown key\n"},
    {"version: 2\nproviders: {}\nmodels: {}\n", "t.yaml:1:10: version: must be between 1 and 1"},
    {HEAD "routes: {r: {models: [n]}}\n",
     "t.yaml:4:23: routes.r.models[0]: there is no model \"n\"; did you mean \"m\"?"},
    {HEAD "routes: {r: {models: [m, m]}}\n", "\"m\" is listed twice"},
    {HEAD "routes: {m: {models: [m]}}\n", "a route has the same name"},
    {HEAD "routes: {r: {models: []}}\n", "at least one model is needed"},
    {HEAD "routes: {r: {models: m}}\n", "expected a list, e.g. [model-small, model-large]"},
    {HEAD "routes: {r: {models: [m], conditions: [{if: {metadata.a: {$eqq: 1}}, then: m}]}}\n",
     "unknown operator; did you mean \"$eq\"?"},
    {HEAD "routes: {r: {models: [m], conditions: [{if: {plan: 1}, then: m}]}}\n",
     "a path starts with metadata., params. or headers."},
    {HEAD "routes: {r: {models: [m], conditions: [{if: {$and: {}}, then: m}]}}\n",
     "expected $and or $or with a list, or a path"},
    {HEAD "routes: {r: {models: [m], conditions: [{if: {params.a: {$in: 1}}, then: m}]}}\n",
     "expected a list of 1 to 64 values"},
    {HEAD "routes: {r: {models: [m], conditions: [{if: {params.a: 1}, then: n}]}}\n",
     "neither a model of this route nor a target: \"n\""},
    {HEAD "routes: {r: {models: [m], default: n}}\n", "neither a model of this route"},
    {HEAD "routes: {r: {models: [m], targets: {t: {of: [u]}, u: {of: [t]}}}}\n",
     "a target contains itself"},
    {HEAD "routes: {r: {models: [m], targets: {m: {of: [m]}}}}\n",
     "a model of this route has the same name"},
    {HEAD "routes: {r: {models: [{model: m, wieght: 2}], strategy: weighted}}\n",
     "t.yaml:4:34: routes.r.models[0].wieght: unknown key; did you mean \"weight\"?"},
    {HEAD "routes: {r: {models: [{model: n}], strategy: weighted}}\n", "there is no model \"n\""},
    {HEAD "routes: {r: {models: [{weight: 2}], strategy: weighted}}\n", "\"model\" is missing"},
    {HEAD "routes: {r: {models: [{model: m, weight: 2}]}}\n",
     "weight and priority need a strategy other than learned"},
    {HEAD "routes: {r: {models: [m, {model: m}], strategy: priority}}\n", "\"m\" is listed twice"},
    {HEAD "routes: {r: {models: [m], strategy: least_busy}}\n", "did you mean \"least-busy\"?"},
    {HEAD "routes: {r: {models: [m], fallbacks: {contxt_window: [m]}}}\n",
     "unknown key; did you mean \"context_window\"?"},
    {HEAD "routes: {r: {models: [m], fallbacks: {content_policy: [n]}}}\n",
     "routes.r.fallbacks.content_policy[0]: there is no model \"n\""},
    {HEAD "routes: {r: {models: [m], timeout: 5 years}}\n",
     "\"5 years\" is not a duration, e.g. 120s"},
    {HEAD "routes: {r: {models: [m], retries: -1}}\n", "\"-1\" is not a whole number"},
    {HEAD "routes: {r: {models: [m], hegde: {after: 1s}}}\n",
     "routes.r.hegde: unknown key; did you mean \"hedge\"?"},
    {HEAD "routes: {r: {models: [m], hedge: {afer: 1s}}}\n",
     "routes.r.hedge.afer: unknown key; did you mean \"after\"?"},
    {HEAD "routes: {r: {models: [m], hedge: {max_share: 0.02}}}\n", "\"after\" is missing"},
    {HEAD "routes: {r: {models: [m], hedge: {after: p99}}}\n",
     "\"p99\" is not a duration or p95, e.g. 800ms"},
    {HEAD "routes: {r: {models: [m], hedge: {after: 0s}}}\n", "must be between 1 and 600000 ms"},
    {HEAD "routes: {r: {models: [m], hedge: {after: 1s, max_share: 0.051}}}\n",
     "\"0.051\" is not a number from 0 to 0.050000, e.g. 0.02"},
    {HEAD "routes: {r: {models: [m], hedge: {after: 1s, max_share: 5%}}}\n",
     "\"5%\" is not a number from 0 to 0.050000"},
    {HEAD "routes: {r: {models: [m], policy: chaep}}\npolicies: {cheap: {}}\n",
     "there is no policy \"chaep\"; did you mean \"cheap\"?"},
    {HEAD "policies: {p: {objective: {quality: 0.9, quality_floor: 0.8}}}\n",
     "give either quality"},
#define WITH(provider)                                                                             \
    "version: 1\nproviders: {p: {" provider "}}\nmodels: {m: {deployments: [{provider: p}]}}\n"
    {WITH("credential: aws_keys"), "providers.p.credential: is for the types bedrock"},
    {WITH("type: bedrock, region: r, credential: google_metadata"),
     "is for the types vertex and vertex-anthropic"},
    {WITH("type: bedrock, region: r, credential: aws_keys"), "\"api_key\" is missing"},
    {WITH("type: bedrock, base_url: \"https://b.example\", credential: aws_web_identity"),
     "\"region\" is missing"},
    {WITH("type: bedrock, region: r, credential: aws_web_identity, api_key: \"${env:K}\""),
     "providers.p.api_key: is not used"},
    {WITH("type: bedrock, region: r, credential: aws_key"), "did you mean \"aws_keys\"?"},
#undef WITH
    {HEAD "policies: {p: {explore: 1.5}}\n", "\"1.5\" is not a number from 0 to 1"},
    {HEAD "policies: {p: {type: lerned}}\n", "use one of: learned; did you mean \"learned\"?"},
    {HEAD "routes: {\"a b\": {models: [m]}}\n", "a name has letters"},
    {"version: 1\nproviders: {p: {type: antropic}}\nmodels: {}\n", "did you mean \"anthropic\"?"},
    {"version: 1\nproviders: {p: {type: azure}}\nmodels: {}\n",
     "\"base_url\" is missing: the type azure has no usual one"},
    {"version: 1\nproviders: {p: {type: bedrock}}\nmodels: {}\n",
     "\"base_url\" is missing: that of the type bedrock follows from \"region\""},
    {"version: 1\nproviders: {p: {type: vertex, region: \"a/b\", project: p}}\nmodels: {}\n",
     "that of the type vertex follows from \"project\" and \"region\""},
    {"version: 1\nproviders: {p: {headers: {Authorization: k}}}\nmodels: {}\n",
     "a field's name has small letters"},
    {"version: 1\nproviders: {p: {headers: {x-api-key: k}}}\nmodels: {}\n",
     "a key belongs to api_key"},
    {"version: 1\nproviders: {p: {headers: {x-a: \"k\\tk\"}}}\nmodels: {}\n",
     "providers.p.headers.x-a: a value is one line"},
    {"version: 1\nproviders: {p: {headers: [a]}}\nmodels: {}\n", "expected a map of texts"},
    {"version: 1\nproviders: {p: {api_key: sk-123456}}\nmodels: {m: {deployments: [{provider: "
     "p}]}}\n",
     "t.yaml:2:26: providers.p.api_key: a key must not stand in this file"},
    {"version: 1\nproviders: {p: {base_url: \"ftp://x\"}}\nmodels: {m: {deployments: [{provider: "
     "p}]}}\n",
     "is not an http:// or https:// address"},
    {"version: 1\nproviders: {p: {}}\nmodels: {m: {deployments: [{provider: p}], price: {input: 1, "
     "output: 1 USD}}}\n",
     "\"1\" is not an amount of money, e.g. 0.15 USD"},
    {"version: 1\nproviders: {p: {}}\nmodels: {m: {deployments: []}}\n", "at least one deployment"},
    {HEAD_PRICE("prices: [{input: 1 USD, output: 1 USD}]"), "\"valid_from\" is missing"},
    {HEAD_PRICE("prices: [{valid_from: 2026-02-30, input: 1 USD, output: 1 USD}]"),
     "must be a day"},
    {HEAD_PRICE("price: {input: 1 USD, output: 1 USD}, prices: [{valid_from: 1970-01-01, "
                "input: 1 USD, output: 1 USD}]"),
     "two prices hold from the same day"},
    {HEAD_PRICE("price: {input: 1 USD, output: 1 USD, tiers: [{above: 5, input: 1 USD, output: 1 "
                "USD}, {above: 5, input: 1 USD, output: 1 USD}]}"),
     "must rise from tier to tier"},
    {HEAD_PRICE("price: {input: 1000001 USD, output: 1 USD}"), "is not an amount of money"},
    {"version: 1\nproviders: {p: {}}\nmodels: {m: {deployments: [{provider: q}]}}\n",
     "t.yaml:3:39: models.m.deployments[0].provider: there is no provider \"q\""},
    {HEAD "keys: [{id: a, hash: \"sha256:12\"}]\n", "must be sha256: and 64 hex digits"},
    {HEAD "server: {listen: \"${env:STEELYARD_NOT_SET}\"}\n",
     "environment variable STEELYARD_NOT_SET is not set"},
    {HEAD "server: {listen: \"${file:/does/not/exist}\"}\n", "/does/not/exist"},
    {HEAD "server: {body_max: 3 bytes}\n", "\"3 bytes\" is not a size, e.g. 32MiB"},
    {HEAD "server:\n  listen:\n", "t.yaml:5:3: server.listen: has no value"},
};

static void f29_each_mistake_is_told_with_its_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        struct config *c = NULL;
        struct err err = {0};
        struct buf errors = {0};
        buf_init(&errors, 65536);
        assert_int_equal(config_parse(str_from(mistakes[i].text), "t.yaml", CONFIG_LOCAL_FILE, &c,
                                      &errors, &err),
                         ERR_SYNTAX);
        assert_null(c);
        const char *text = buf_cstr(&errors);
        if (strstr(text, mistakes[i].finding) == NULL)
            fail_msg("for\n%s\nexpected: %s\ngot: %s", mistakes[i].text, mistakes[i].finding, text);
        assert_null(strstr(text, "sk-123456"));
        buf_deinit(&errors);
    }
}

static void all_mistakes_are_told_at_once(void **state)
{
    (void)state;
    struct config *c = NULL;
    struct buf errors = {0};
    buf_init(&errors, 65536);
    assert_int_equal(
        config_parse(STR("version: 1\nproviders: {p: {tpye: openai, base_url: x}}\nmodels: {m: "
                         "{deployments: [{provider: q}], prior_quality: 2}}\n"),
                     "t.yaml", CONFIG_LOCAL_FILE, &c, &errors, NULL),
        ERR_SYNTAX);
    unsigned lines = 0;
    for (size_t i = 0; i < errors.len; i++)
        lines += errors.data[i] == '\n';
    assert_int_equal(lines, 4);
    buf_deinit(&errors);
}

static void b30_anchors_aliases_tags_depth_and_repeats_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *finding;
    } rows[] = {
        {"a: &x 1\n", "t.yaml:1:"},
        {"a: &x 1\nb: *x\n", "aliases (*name)"},
        {"a: !!int 1\n", "tags (!name)"},
        {"version: 1\nversion: 1\n", "t.yaml:2:1: key \"version\" is repeated"},
        {"a: {<<: {b: 1}}\n", "merge keys"},
        {"? [a, b]\n: 1\n", "a key must be a plain word"},
        {"a: [\n", "t.yaml:"},
        {"a: 1\n---\nb: 2\n", "one document a file"},
        {"a: \"\xff\"\n", "t.yaml:1:1: not UTF-8 text"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct config *c = NULL;
        struct buf errors = {0};
        buf_init(&errors, 65536);
        assert_int_equal(
            config_parse(str_from(rows[i].text), "t.yaml", CONFIG_LOCAL_FILE, &c, &errors, NULL),
            ERR_SYNTAX);
        if (strstr(buf_cstr(&errors), rows[i].finding) == NULL)
            fail_msg("for\n%s\nexpected: %s\ngot: %s", rows[i].text, rows[i].finding,
                     buf_cstr(&errors));
        buf_deinit(&errors);
    }
    struct buf deep = {0};
    struct config *c = NULL;
    struct err err = {0};
    buf_init(&deep, 2U << 20);
    for (int i = 0; i < 5000; i++)
        assert_int_equal(buf_append_char(&deep, '['), 0);
    assert_int_equal(config_parse(buf_str(&deep), "t.yaml", CONFIG_LOCAL_FILE, &c, NULL, &err),
                     ERR_SYNTAX);
    assert_non_null(strstr(err.message, "deeper than 32"));
    buf_clear(&deep);
    for (int i = 0; i < 1100000; i++)
        assert_int_equal(buf_append_char(&deep, '\n'), 0);
    assert_int_equal(config_parse(buf_str(&deep), "t.yaml", CONFIG_LOCAL_FILE, &c, NULL, &err),
                     ERR_SYNTAX);
    assert_non_null(strstr(err.message, "larger than 1 MiB"));
    buf_deinit(&deep);
}

static void b30_references_work_only_in_the_local_file(void **state)
{
    (void)state;
    struct config *c = NULL;
    struct err err = {0};
    setenv("STEELYARD_TEST_SECRET", "leaked", 1);
    assert_int_equal(config_parse(STR(HEAD "server: {listen: \"${env:STEELYARD_TEST_SECRET}\"}\n"),
                                  "remote", CONFIG_REMOTE, &c, NULL, &err),
                     0);
    assert_true(str_is(config_settings(c).listen, "${env:STEELYARD_TEST_SECRET}"));
    config_destroy(c);
    c = config_fixture_parse(HEAD "server: {listen: \"${env:STEELYARD_TEST_SECRET}\"}\n");
    assert_true(str_is(config_settings(c).listen, "leaked"));
    config_destroy(c);
}

static void f30_each_failed_allocation_leaves_nothing_behind(void **state)
{
    (void)state;
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        struct config *c = NULL;
        struct err err = {0};
        fault_arm_alloc(n);
        int rc = config_parse(str_from(good), "t.yaml", CONFIG_LOCAL_FILE, &c, NULL, &err);
        fired = fault_disarm();
        assert_int_equal(rc, fired ? ERR_NOMEM : 0);
        assert_true((c == NULL) == fired);
        config_destroy(c);
    }
}

static size_t merged(const struct price_fact *given, size_t given_count,
                     const struct price_fact *imported, size_t imported_count, bool shipped,
                     int64_t *out_inputs)
{
    struct price_fact out[PRICES_PER_MODEL_MAX];
    const struct catalog_row row = {.price = {.base = {1, 1, -1, -1, -1, -1}},
                                    .source = STR("models.dev")};
    size_t count =
        prices_merge(given, given_count, imported, imported_count, shipped ? &row : NULL, out);
    for (size_t i = 0; i < count; i++) {
        out_inputs[i] = out[i].price.base.input;
        assert_true(i == 0 || out[i].valid_from_us > out[i - 1].valid_from_us);
    }
    return count;
}

static void given_prices_win_over_imported_ones_and_these_over_the_shipped(void **state)
{
    (void)state;
    const struct price_fact imported[] = {{.price.base.input = 20, .valid_from_us = 100},
                                          {.price.base.input = 21, .valid_from_us = 200}};
    const struct price_fact first[] = {{.price.base.input = 20, .valid_from_us = 0}};
    const struct price_fact given[] = {{.price.base.input = 30, .valid_from_us = 150},
                                       {.price.base.input = 31, .valid_from_us = 300}};
    const struct price_fact always[] = {{.price.base.input = 30, .valid_from_us = 0}};
    int64_t in[PRICES_PER_MODEL_MAX];
    assert_int_equal(merged(NULL, 0, NULL, 0, false, in), 0);
    assert_int_equal(merged(NULL, 0, NULL, 0, true, in), 1);
    assert_int_equal(in[0], 1);
    assert_int_equal(merged(NULL, 0, imported, 2, true, in), 3);
    assert_int_equal(in[0], 1);
    assert_int_equal(in[2], 21);
    assert_int_equal(merged(NULL, 0, first, 1, true, in), 1);
    assert_int_equal(in[0], 20);
    /* Before the file says something, the rest holds; after that, nothing but the file. */
    assert_int_equal(merged(given, 2, imported, 2, true, in), 4);
    assert_int_equal(in[0], 1);
    assert_int_equal(in[1], 20);
    assert_int_equal(in[2], 30);
    assert_int_equal(in[3], 31);
    assert_int_equal(merged(always, 1, imported, 2, true, in), 1);
    assert_int_equal(in[0], 30);
}

#define PRICED(text)                                                                               \
    "version: 1\nproviders: {p: {base_url: \"http://127.0.0.1:1/v1\", private: true}}\n"           \
    "models: {m: {deployments: [{provider: p}], " text "}}\n"

static void prices_of_a_file_have_tiers_and_days(void **state)
{
    (void)state;
    struct buf body = {0};
    struct price_fact fact;
    buf_init(&body, 1U << 20);
    struct config *c = config_fixture_parse(
        PRICED("price: {input: 1 USD, output: 2 USD, reasoning: 3 USD, cache_write_1h: 4 USD, "
               "tiers: [{above: 200000, input: 5 USD, output: 6 USD, cached_input: 0.5 USD}]}, "
               "prices: [{valid_from: 2027-01-01, input: 9 USD, output: 9 USD}, "
               "{valid_from: 2026-12-01, input: 8 USD, output: 8 USD}]"));
    assert_int_equal(config_prices(c, &body), 0);
    Steelyard__Control__V1__Prices *p =
        steelyard__control__v1__prices__unpack(NULL, body.len, (const uint8_t *)body.data);
    assert_int_equal(p->n_prices, 3);
    assert_true(prices_read(p->prices[0], &fact));
    assert_int_equal(fact.valid_from_us, 0);
    assert_int_equal(fact.price.base.reasoning, 3000000000);
    assert_int_equal(fact.price.base.cache_write_1h, 4000000000);
    assert_int_equal(fact.price.base.cache_write, PRICE_UNKNOWN);
    assert_int_equal(fact.price.tier_count, 1);
    assert_int_equal(fact.price.tiers[0].above, 200000);
    assert_int_equal(fact.price.tiers[0].rates.cached_read, 500000000);
    assert_int_equal(fact.price.tiers[0].rates.cache_write_1h, PRICE_UNKNOWN);
    assert_int_equal(fact.source, STEELYARD__CONTROL__V1__PRICE_SOURCE__PRICE_SOURCE_CONFIG);
    assert_true(prices_read(p->prices[1], &fact));
    assert_int_equal(fact.price.base.input, 8000000000);
    assert_true(prices_read(p->prices[2], &fact));
    assert_int_equal(fact.price.base.input, 9000000000);
    uint64_t id = p->prices[0]->price_id;
    assert_true(prices_id(p->prices[0]) == id && id != p->prices[1]->price_id);
    p->prices[0]->tiers[0]->output++;
    assert_true(prices_id(p->prices[0]) != id);
    steelyard__control__v1__prices__free_unpacked(p, NULL);
    config_destroy(c);
    buf_deinit(&body);
}

static void the_keys_of_a_deployment_derive_from_its_root(void **state)
{
    (void)state;
    uint8_t root[32] = {1, 2, 3}, again[16], text[32 + 7];
    struct config_keys keys;
    config_keys_derive(root, &keys);
    memcpy(text, root, 32);
    memcpy(text + 32, "feature", 7);
    struct sha256 sum = digest_sha256(text, sizeof text);
    memcpy(again, sum.bytes, 16);
    assert_memory_equal(keys.feature, again, 16);
    assert_memory_not_equal(keys.feature, keys.draw, 16);
    assert_memory_not_equal(keys.decision_id, keys.text, 16);
}

static void schema_and_reference_are_what_is_committed(void **state)
{
    (void)state;
    struct buf made = {0}, committed = {0};
    struct err err = {0};
    buf_init(&made, 1U << 20);
    assert_int_equal(config_schema_json(&made), 0);
    assert_int_equal(buf_read_file(&committed, STEELYARD_SOURCE_DIR "/docs/steelyard.schema.json",
                                   1U << 20, &err),
                     0);
    assert_true(str_eq(buf_str(&made), buf_str(&committed)));
    buf_clear(&made);
    buf_clear(&committed);
    assert_int_equal(config_reference_markdown(&made), 0);
    assert_int_equal(
        buf_read_file(&committed, STEELYARD_SOURCE_DIR "/docs/config-file.md", 1U << 20, &err), 0);
    assert_true(str_eq(buf_str(&made), buf_str(&committed)));
    buf_deinit(&made);
    buf_deinit(&committed);
}

struct kept {
    char text[8192];
    size_t len;
};

static int keep(void *arg, struct str path, struct str value)
{
    struct kept *k = arg;
    int len = snprintf(k->text + k->len, sizeof k->text - k->len, "%.*s=%.*s\n", STR_ARG(path),
                       STR_ARG(value));
    assert_true(len > 0 && (size_t)len < sizeof k->text - k->len);
    k->len += (size_t)len;
    return 0;
}

static void facts_are_every_value_that_holds(void **state)
{
    (void)state;
    struct config *c = config_fixture_parse(good);
    struct kept kept = {.len = 0};
    assert_int_equal(config_facts(c, keep, &kept), 0);
    static const char *const lines[] = {
        "\nproviders.openai.type=openai\n",
        "\nproviders.openai.api_key=env:OPENAI_API_KEY\n",
        "\nproviders.local.private=true\n",
        "\nproviders.local.transport=libcurl\n",
        "\nproviders.local.timeouts.head=10s\n",
        "\nmodels.gpt-4o-mini.capabilities.tools=yes\n",
        "\nmodels.local-small.deployments[0].weight=3\n",
        "\nmodels.local-small.prior_quality=0.500000\n",
        "\nmodels.local-small.price.input=0.1\n",
        "\nroutes.auto.timeout=120s\n",
        "\npolicies.cheap.explore=0.050000\n",
        "\nkeys[0].id=demo\n",
        "\nstore.postgres=(given)\n",
        "\nstore.retention=2592000s\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        if (strstr(kept.text, lines[i]) == NULL)
            fail_msg("%s is not in\n%s", lines[i], kept.text);
    }
    assert_null(strstr(kept.text, "providers.openai.ca_file"));
    config_destroy(c);
    c = config_fixture_parse(TWO_MODELS
                             "routes: {r: {models: [a, b], conditions: [{then: b,\n"
                             "    if: {$or: [{metadata.x: 1}, {params.y: {$in: [2, 3]}}]}}]}}\n");
    kept.len = 0;
    assert_int_equal(config_facts(c, keep, &kept), 0);
    assert_non_null(strstr(kept.text, "\nroutes.r.conditions[0].if.$or[0].metadata.x=1\n"
                                      "routes.r.conditions[0].if.$or[1].params.y.$in[0]=2\n"
                                      "routes.r.conditions[0].if.$or[1].params.y.$in[1]=3\n"
                                      "routes.r.conditions[0].then=b\n"));
    config_destroy(c);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--write") == 0) { /* Makes the committed files anew. */
        struct buf out = {0};
        struct err err = {0};
        char path[1024];
        buf_init(&out, 1U << 20);
        snprintf(path, sizeof path, "%s/steelyard.schema.json", argv[2]);
        int rc = config_schema_json(&out) | buf_write_file(buf_str(&out), path, 0644, &err);
        buf_clear(&out);
        snprintf(path, sizeof path, "%s/config-file.md", argv[2]);
        rc |= config_reference_markdown(&out) | buf_write_file(buf_str(&out), path, 0644, &err);
        buf_deinit(&out);
        return rc != 0;
    }
    setenv("OPENAI_API_KEY", "never read", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(facts_are_every_value_that_holds),
        cmocka_unit_test(a_whole_file_becomes_the_bodies_that_are_pushed),
        cmocka_unit_test(a_type_says_what_the_file_leaves_out),
        cmocka_unit_test(the_same_file_gives_the_same_bytes),
        cmocka_unit_test(f29_each_mistake_is_told_with_its_place),
        cmocka_unit_test(all_mistakes_are_told_at_once),
        cmocka_unit_test(b30_anchors_aliases_tags_depth_and_repeats_are_refused),
        cmocka_unit_test(b30_references_work_only_in_the_local_file),
        cmocka_unit_test(f30_each_failed_allocation_leaves_nothing_behind),
        cmocka_unit_test(given_prices_win_over_imported_ones_and_these_over_the_shipped),
        cmocka_unit_test(prices_of_a_file_have_tiers_and_days),
        cmocka_unit_test(the_keys_of_a_deployment_derive_from_its_root),
        cmocka_unit_test(schema_and_reference_are_what_is_committed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
