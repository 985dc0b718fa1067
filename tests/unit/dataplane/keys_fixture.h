/* keys_fixture.h: keys by number, and resources that hold them. */
#ifndef STEELYARD_TESTS_UNIT_DATAPLANE_KEYS_FIXTURE_H
#define STEELYARD_TESTS_UNIT_DATAPLANE_KEYS_FIXTURE_H

#include "control.pb-c.h"
#include "dataplane/state/keyring.h"

#define KEYS_TEXT_BYTES 64

typedef Steelyard__Control__V1__Key TestKey;

/* "sk-sy-<10 characters>-<secret>" of key `number`, in its `turn`-th secret. */
void keys_text(unsigned number, unsigned turn, char out[KEYS_TEXT_BYTES]);
unsigned keys_shard(unsigned number);
/* A key that needs storage for its id and hashes. */
struct keys_key {
    TestKey m;
    char public_id[16], name[16];
    struct sha256 sha256, previous;
    char *names[4];
    uint64_t accounts[3];
};
void keys_init(struct keys_key *k, unsigned number, unsigned turn); /* id = number + 1 */
/* "keys/xx", or "keys" for KEYRING_SHARD_ANY. One reference. NULL: out of memory. */
struct resource *keys_resource(int shard, struct keys_key *const *keys, size_t count);
struct str keys_resource_key(int shard, char out[16]);

#endif
