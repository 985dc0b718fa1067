/* Any text gives a valid vector, the same by every way, whose recorded form reads back; any bytes
 * are a recorded form or are refused, and what is accepted is written back as the same bytes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/route/features_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct features_hasher hasher;
    static int ready;
    struct features f, g;
    uint8_t encoded[FEATURES_ENCODED_MAX], packed[FEATURES_PACKED_MAX];
    const struct str bytes = {(const char *)data, size};
    if (!ready) {
        features_hasher_init(&hasher, (struct siphash_key){1, 2});
        ready = 1;
    }
    const struct features_input input = {.text = bytes,
                                         .system_prompt = str_slice(bytes, size / 2, size),
                                         .alias = str_slice(bytes, 0, 3)};
    features_extract(&hasher, &input, &f);
    check(f.n <= FEATURES_SPARSE_MAX);
    for (int way = FEATURES_WAY_SCALAR; way < FEATURES_WAYS; way++) {
        if (features_way_of((enum features_ways)way) == NULL)
            continue;
        features_extract_by(features_way_of((enum features_ways)way), &hasher, &input, &g);
        check(g.n == f.n && memcmp(g.index, f.index, 2U * f.n) == 0);
        check(memcmp(g.dense, f.dense, sizeof g.dense) == 0);
    }
    size_t len = features_encode(&f, encoded);
    check(features_decode((struct str){(const char *)encoded, len}, &g) == 0);
    check(g.n == f.n && memcmp(g.index, f.index, 2U * f.n) == 0);
    len = features_pack(&f, packed);
    check(features_unpack((struct str){(const char *)packed, len}, &g) == 0);
    check(g.n == f.n && memcmp(g.index, f.index, 2U * f.n) == 0);
    if (features_unpack(bytes, &g) == 0) {
        check(features_pack(&g, packed) == size);
        check(memcmp(packed, data, size) == 0);
    }
    if (features_decode(bytes, &g) == 0) {
        check(features_encode(&g, encoded) == size);
        check(memcmp(encoded, data, size) == 0);
    }
    return 0;
}
