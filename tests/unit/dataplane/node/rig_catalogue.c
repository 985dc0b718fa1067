/* The catalogue of the rig: two providers, a model at each, a route over both. */
#include <string.h>

#include "control.pb-c.h"
#include "dataplane/state/snapshot_build.h"
#include "tests/unit/dataplane/node/rig_internal.h"

static Steelyard__Control__V1__Transport transport =
    STEELYARD__CONTROL__V1__TRANSPORT__TRANSPORT_AUTO;

int rig_run_for_each_transport(const struct CMUnitTest *tests, size_t count)
{
    static const struct {
        const char *name;
        Steelyard__Control__V1__Transport transport;
    } rows[] = {
        {"libcurl", STEELYARD__CONTROL__V1__TRANSPORT__TRANSPORT_LIBCURL},
        {"lean", STEELYARD__CONTROL__V1__TRANSPORT__TRANSPORT_LEAN},
    };
    int failed = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        transport = rows[i].transport;
        failed += _cmocka_run_group_tests(rows[i].name, tests, count, NULL, NULL);
    }
    return failed;
}

void rig_put_catalogue(struct rig *r, struct resource_set *set, const struct rig_options *o)
{
    static char names[RIG_PROVIDERS][4] = {"one", "two"};
    static char models[RIG_PROVIDERS][8] = {"small", "large"};
    char urls[RIG_PROVIDERS][64];
    Steelyard__Control__V1__Provider providers[RIG_PROVIDERS];
    Steelyard__Control__V1__Timeouts timeouts = STEELYARD__CONTROL__V1__TIMEOUTS__INIT;
    Steelyard__Control__V1__Model model[RIG_PROVIDERS];
    Steelyard__Control__V1__Deployment deployments[RIG_PROVIDERS];
    Steelyard__Control__V1__Deployment *deployment_ptrs[RIG_PROVIDERS];
    Steelyard__Control__V1__Provider *provider_ptrs[RIG_PROVIDERS];
    Steelyard__Control__V1__Model *model_ptrs[RIG_PROVIDERS];
    char *route_models[RIG_PROVIDERS];
    Steelyard__Control__V1__Header header = STEELYARD__CONTROL__V1__HEADER__INIT;
    Steelyard__Control__V1__Header *header_ptr = &header;
    struct buf body;
    const char *small = o->small_there != NULL ? o->small_there : "up-small";
    header.name = (char *)(uintptr_t) "x-title";
    header.value = (char *)(uintptr_t) "ours";
    timeouts.first_content_ms = o->first_content_ms;
    timeouts.head_ms = o->head_ms;
    timeouts.between_events_ms = o->idle_ms;
    for (size_t i = 0; i < RIG_PROVIDERS; i++) {
        const char *type = o->types[i] != NULL ? o->types[i] : "openai";
        const struct host *host = host_find(str_from(type));
        const bool versioned = host == NULL || host->dialect == DIALECT_OPENAI;
        snprintf(urls[i], sizeof urls[i], "%s://127.0.0.1:%u%s",
                 o->tls_there && i == 0 ? "https" : "http", listener_port(r->providers[i].listener),
                 versioned ? "/v1" : "");
        steelyard__control__v1__provider__init(&providers[i]);
        steelyard__control__v1__model__init(&model[i]);
        steelyard__control__v1__deployment__init(&deployments[i]);
        providers[i].name = names[i];
        providers[i].type = (char *)(uintptr_t)type;
        providers[i].headers = &header_ptr;
        providers[i].reject_unsupported = o->reject_unsupported;
        if (o->version != NULL)
            providers[i].version = (char *)(uintptr_t)o->version;
        providers[i].n_headers = o->fixed_header;
        providers[i].base_url = urls[i];
        providers[i].secret_ref = (char *)(uintptr_t) "env:RIG_SECRET";
        providers[i].credential = (Steelyard__Control__V1__Credential)o->credential;
        if (o->region != NULL)
            providers[i].region = (char *)(uintptr_t)o->region;
        providers[i].allow_private = !o->public_only || i > 0;
        providers[i].abort_stops_billing = o->abort_stops_billing;
        providers[i].timeouts = &timeouts;
        providers[i].transport = transport;
        deployments[i].provider = names[i];
        deployments[i].upstream_model = (char *)(uintptr_t)(i == 0 ? small : "up-large");
        deployments[i].weight = 1;
        deployment_ptrs[i] = &deployments[i];
        model[i].id = models[i];
        model[i].deployments = &deployment_ptrs[i];
        model[i].n_deployments = 1;
        model[i].context_window = 100000;
        model[i].max_output = o->max_output;
        provider_ptrs[i] = &providers[i];
        model_ptrs[i] = &model[i];
        route_models[i] = models[i];
    }
    Steelyard__Control__V1__Route route = STEELYARD__CONTROL__V1__ROUTE__INIT;
    Steelyard__Control__V1__Route *route_ptr = &route;
    route.name = (char *)(uintptr_t) "auto";
    route.models = route_models;
    route.n_models = RIG_PROVIDERS;
    route.timeout_ms = o->route_timeout_ms;
    route.way = (Steelyard__Control__V1__Way)o->way;
    if (o->candidates != 0)
        route.n_models = o->candidates;
    if (o->weights[0] + o->weights[1] != 0) {
        route.weights = (uint32_t *)(uintptr_t)o->weights;
        route.n_weights = route.n_models;
    }
    if (o->priorities[0] + o->priorities[1] != 0) {
        route.priorities = (uint32_t *)(uintptr_t)o->priorities;
        route.n_priorities = route.n_models;
    }
    char **fallbacks = (char **)(uintptr_t)o->fallbacks;
    route.fallbacks = fallbacks;
    route.n_fallbacks = fallbacks[0] != NULL;
    route.context_window_fallbacks = fallbacks + 1;
    route.n_context_window_fallbacks = fallbacks[1] != NULL;
    route.content_policy_fallbacks = fallbacks + 2;
    route.n_content_policy_fallbacks = fallbacks[2] != NULL;
    route.rate_limit_fallbacks = fallbacks + 3;
    route.n_rate_limit_fallbacks = fallbacks[3] != NULL;
    if (o->small_window != 0)
        model[0].context_window = o->small_window;
    Steelyard__Control__V1__Deployment twin = STEELYARD__CONTROL__V1__DEPLOYMENT__INIT;
    Steelyard__Control__V1__Deployment *both[2] = {&deployments[0], &twin};
    twin.provider = names[1];
    twin.upstream_model = (char *)(uintptr_t) "up-twin";
    twin.weight = 1;
    if (o->small_twice) {
        model[0].deployments = both;
        model[0].n_deployments = 2;
    }
    if (o->on_route != NULL)
        o->on_route(&route);
    if (o->rollout != NULL)
        route.policy = (char *)(uintptr_t) "best";
    Steelyard__Control__V1__Catalogue c = STEELYARD__CONTROL__V1__CATALOGUE__INIT;
    c.providers = provider_ptrs;
    c.n_providers = RIG_PROVIDERS;
    c.models = model_ptrs;
    c.n_models = RIG_PROVIDERS;
    c.routes = &route_ptr;
    c.n_routes = 1;
    if (o->on_catalogue != NULL)
        o->on_catalogue(&c);
    buf_init(&body, 65536);
    RIG_PACK(steelyard__control__v1__catalogue, c, body);
    rig_put(set, STEELYARD__CONTROL__V1__RESOURCE_TYPE__RESOURCE_CATALOGUE, "catalogue", &body);
    buf_deinit(&body);
}
