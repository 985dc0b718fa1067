#include "tests/unit/dataplane/keys_fixture.h"

#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/link/wire.h"

void keys_text(unsigned number, unsigned turn, char out[KEYS_TEXT_BYTES])
{
    (void)snprintf(out, KEYS_TEXT_BYTES, "sk-sy-id%08u-secret%024u", number, turn);
}

unsigned keys_shard(unsigned number)
{
    char id[16];
    (void)snprintf(id, sizeof id, "id%08u", number);
    return digest_sha256(id, strlen(id)).bytes[0];
}

void keys_init(struct keys_key *k, unsigned number, unsigned turn)
{
    char text[KEYS_TEXT_BYTES];
    memset(k, 0, sizeof *k);
    steelyard__control__v1__key__init(&k->m);
    (void)snprintf(k->public_id, sizeof k->public_id, "id%08u", number);
    (void)snprintf(k->name, sizeof k->name, "key %u", number);
    keys_text(number, turn, text);
    k->sha256 = digest_sha256(text, strlen(text));
    k->m.id = number + 1;
    k->m.public_id = k->public_id;
    k->m.name = k->name;
    k->m.sha256 = (ProtobufCBinaryData){.len = SHA256_BYTES, .data = k->sha256.bytes};
}

struct str keys_resource_key(int shard, char out[16])
{
    if (shard == KEYRING_SHARD_ANY)
        (void)snprintf(out, 16, "keys");
    else
        (void)snprintf(out, 16, "keys/%02x", (unsigned)shard);
    return str_from(out);
}

struct resource *keys_resource(int shard, struct keys_key *const *keys, size_t count)
{
    char name[16];
    Steelyard__Control__V1__Keys m = STEELYARD__CONTROL__V1__KEYS__INIT;
    struct resource *r = NULL;
    struct buf body;
    buf_init(&body, SIZE_MAX);
    m.keys = mem_calloc(count + 1, sizeof(*m.keys));
    if (m.keys == NULL)
        return NULL;
    m.n_keys = count;
    for (size_t i = 0; i < count; i++)
        m.keys[i] = &keys[i]->m;
    if (wire_pack(&m.base, &body) == 0)
        r = resource_create(STEELYARD__CONTROL__V1__RESOURCE_TYPE__RESOURCE_KEYS,
                            keys_resource_key(shard, name), buf_str(&body));
    buf_deinit(&body);
    mem_free(m.keys);
    return r;
}
