/* Which origins the deployments of a snapshot share. */
#include "dataplane/upstream/view.h"

#include <string.h>

#include "common/base/buf.h"
#include "control.pb-c.h"
#include "dataplane/state/resources.h"
#include "dataplane/state/snapshot_build.h"
#include "dataplane/upstream/lean.h"
#include "tests/lib/fault.h"

#define PROVIDERS 5

typedef Steelyard__Control__V1__Provider Provider;
typedef Steelyard__Control__V1__Model Model;
typedef Steelyard__Control__V1__Deployment Deployment;

static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

static void put(struct resource_set *set, Steelyard__Control__V1__ResourceType type,
                const char *key, const ProtobufCMessage *message)
{
    uint8_t body[4096];
    size_t len = protobuf_c_message_get_packed_size(message);
    assert_true(len <= sizeof body);
    (void)protobuf_c_message_pack(message, body);
    struct resource *r = resource_create(type, str_from(key), (struct str){(char *)body, len});
    assert_non_null(r);
    assert_int_equal(resource_set_put(set, r), 0);
}

/* One model at each provider, all at the same address. */
static void put_catalogue(struct resource_set *set, const Steelyard__Control__V1__Transport *how)
{
    static const char *const names[PROVIDERS] = {"a", "b", "c", "d", "e"};
    Provider providers[PROVIDERS], *provider_ptrs[PROVIDERS];
    Model models[PROVIDERS], *model_ptrs[PROVIDERS];
    Deployment deployments[PROVIDERS], *deployment_ptrs[PROVIDERS];
    for (size_t i = 0; i < PROVIDERS; i++) {
        steelyard__control__v1__provider__init(&providers[i]);
        steelyard__control__v1__model__init(&models[i]);
        steelyard__control__v1__deployment__init(&deployments[i]);
        providers[i].name = text(names[i]);
        providers[i].type = text("openai");
        providers[i].base_url = text("http://127.0.0.1:8000/v1");
        providers[i].allow_private = i != PROVIDERS - 1; /* The last one cannot be reached. */
        providers[i].transport = how[i];
        deployments[i].provider = text(names[i]);
        deployments[i].upstream_model = text("m");
        deployments[i].weight = 1;
        models[i].id = text(names[i]);
        models[i].deployments = &deployment_ptrs[i];
        models[i].n_deployments = 1;
        provider_ptrs[i] = &providers[i];
        model_ptrs[i] = &models[i];
        deployment_ptrs[i] = &deployments[i];
    }
    Steelyard__Control__V1__Catalogue c = STEELYARD__CONTROL__V1__CATALOGUE__INIT;
    c.providers = provider_ptrs;
    c.n_providers = PROVIDERS;
    c.models = model_ptrs;
    c.n_models = PROVIDERS;
    put(set, STEELYARD__CONTROL__V1__RESOURCE_TYPE__RESOURCE_CATALOGUE, "catalogue", &c.base);
}

static void publish(struct snapshot_cell *cell, uint64_t generation,
                    const Steelyard__Control__V1__Transport *how)
{
    uint8_t key[16] = {1};
    struct resource_set *set = resource_set_create();
    struct snapshot *s = NULL;
    struct snapshot_refusal refusal = {0};
    const struct snapshot_inputs inputs = {.era = 1, .generation = generation};
    Steelyard__Control__V1__Limits l = STEELYARD__CONTROL__V1__LIMITS__INIT;
    l.feature_key = l.draw_key = l.decision_id_key = l.text_key = (ProtobufCBinaryData){16, key};
    l.hash_key_id = 5;
    assert_non_null(set);
    put_catalogue(set, how);
    put(set, STEELYARD__CONTROL__V1__RESOURCE_TYPE__RESOURCE_LIMITS, "limits", &l.base);
    if (snapshot_build(set, &inputs, &s, &refusal) != 0)
        fail_msg("%s %s: %s", refusal.code, refusal.key, refusal.detail);
    assert_int_equal(snapshot_cell_publish(cell, s), 0);
    snapshot_unref(s);
}

static void set_true(void *flag)
{
    *(bool *)flag = true;
}

static void origins_are_shared_by_providers_with_the_same_transport(void **state)
{
    (void)state;
    static const Steelyard__Control__V1__Transport first[PROVIDERS] = {0, 1, 2, 2, 0};
    static const Steelyard__Control__V1__Transport second[PROVIDERS] = {77, 2, 2, 1, 0};
    struct snapshot_cell *cell = snapshot_cell_create(1);
    struct snapshot_reader *reader = snapshot_cell_reader(cell, 0);
    struct endpoint_registry *registry = endpoint_registry_create();
    struct upstream u;
    uv_loop_t loop;
    bool closed = false;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(upstream_init(&u, &loop, reader, registry), 0);
    assert_null(u.wires[UPSTREAM_WIRE_LIBCURL].transport); /* Nobody has asked for it. */
    publish(cell, 1, first);
    struct upstream_view *v = upstream_pin(&u);
    const struct upstream_target *t = v->targets;
    assert_ptr_equal(t[0].origin->ops, &transport_lean); /* auto: decision 0095. */
    assert_ptr_equal(t[0].origin, t[1].origin);
    assert_ptr_equal(t[2].origin->ops, &transport_over_fetch);
    assert_ptr_equal(t[2].origin, t[3].origin);
    assert_null(t[4].origin);
    struct upstream_origin *lean = t[0].origin;
    publish(cell, 2, second);
    struct upstream_view *w = upstream_pin(&u);
    assert_ptr_not_equal(v, w);
    assert_ptr_equal(w->targets[0].origin, lean); /* Kept, as is what a newer plane may say. */
    assert_ptr_equal(w->targets[3].origin, lean);
    assert_ptr_equal(w->targets[1].origin, v->targets[2].origin);
    upstream_unpin(&u, v);
    upstream_unpin(&u, w);
    upstream_close(&u, set_true, &closed);
    assert_false(closed);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(closed);
    upstream_deinit(&u);
    endpoint_registry_destroy(registry);
    snapshot_reader_close(reader);
    snapshot_cell_destroy(cell);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(origins_are_shared_by_providers_with_the_same_transport),
    };
    assert_int_equal(fetch_global_init(NULL), 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
