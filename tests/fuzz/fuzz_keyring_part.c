/* A shard of keys as the control plane may send it: it becomes a part whose every key is found by
 * its public id, or is refused with a code; what protobuf-c calls malformed is never taken. */
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/link/wire.h"
#include "control.pb-c.h"
#include "dataplane/state/keyring.h"
#include "dataplane/state/keyring_part.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_scope(const struct scope *s)
{
    for (uint32_t i = 0; s != NULL && i < s->count; i++)
        if (!scope_has(s, s->names[i].name, s->names[i].hash))
            abort();
}

static void check(const struct keyring_part *part)
{
    for (uint32_t i = 0; i < keyring_part_count(part); i++) {
        const struct identity *identity = keyring_part_at(part, i);
        if (keyring_part_get(part, identity->public_id) != identity)
            abort();
        check_scope(identity->terms->routes);
        check_scope(identity->terms->models);
        check_scope(identity->terms->endpoints);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t before = mem_live_bytes();
    struct str body = {.data = (const char *)data, .len = size};
    struct resource *r = resource_create(3, STR("keys/00"), body);
    struct keyring_part *part = NULL;
    struct keyring_fault fault = {.code = NULL};
    if (r == NULL)
        return 0;
    int rc = keyring_part_create(r, KEYRING_SHARD_ANY, &part, &fault);
    if ((rc == 0) != (part != NULL) || (rc != 0 && fault.code == NULL))
        abort();
    if (part != NULL) {
        ProtobufCMessage *m = NULL;
        check(part);
        if (wire_unpack(&steelyard__control__v1__keys__descriptor, body, &m) == 0 &&
            ((const Steelyard__Control__V1__Keys *)m)->n_keys != keyring_part_count(part))
            abort();
        wire_free(m);
    }
    keyring_part_unref(part);
    resource_unref(r);
    if (mem_live_bytes() != before)
        abort();
    return 0;
}
