/* What the control plane may send: one PlaneMsg whose resources become a set and a snapshot. It is taken
 * whole or refused with a code; either way nothing leaks and nothing is read out of bounds. */
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/link/wire.h"
#include "control.pb-c.h"
#include "dataplane/state/snapshot_build.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int no_secrets(struct str reference, struct secret **out_secret, struct err *err)
{
    (void)reference;
    (void)out_secret;
    return err_set(err, ERR_NOT_FOUND, "none here");
}

static void build(struct resource_set *set)
{
    struct snapshot_inputs inputs = {.era = 1, .generation = 1, .resolve = no_secrets};
    struct snapshot *s = NULL;
    struct snapshot_refusal refusal;
    int rc = snapshot_build(set, &inputs, &s, &refusal);
    if ((rc == 0) != (s != NULL) || (rc != 0 && refusal.code[0] == '\0'))
        abort();
    if (rc != 0) {
        resource_set_destroy(set);
        return;
    }
    for (uint32_t i = 0; i < s->route_count; i++)
        if (snapshot_route(s, s->routes[i].name) != &s->routes[i])
            abort();
    for (uint32_t i = 0; i < s->model_count; i++)
        if (snapshot_model(s, s->models[i].id) != &s->models[i])
            abort();
    snapshot_unref(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t before = mem_live_bytes();
    struct str packed = {.data = (const char *)data, .len = size};
    struct resource_set *loaded = NULL;
    uint32_t era;
    uint64_t generation;
    if (resource_set_decode(packed, &loaded, &era, &generation) == 0)
        resource_set_destroy(loaded);
    ProtobufCMessage *m = NULL;
    if (wire_unpack(&steelyard__control__v1__plane_msg__descriptor, packed, &m) == 0) {
        const Steelyard__Control__V1__PlaneMsg *plane = (const Steelyard__Control__V1__PlaneMsg *)m;
        struct resource_set *set = resource_set_create();
        for (size_t i = 0; set != NULL && i < plane->n_set; i++) {
            struct resource *r =
                resource_create((uint32_t)plane->set[i]->type, str_from(plane->set[i]->key),
                                wire_bytes(plane->set[i]->body));
            if (r == NULL || resource_set_put(set, r) != 0)
                break;
        }
        if (set != NULL)
            build(set);
        wire_free(m);
    }
    if (mem_live_bytes() != before)
        abort();
    return 0;
}
