/* Features in a record: written alike by every way, and through the ring. */
#include <string.h>

#include "common/base/rand.h"
#include "dataplane/telemetry/flat.h"
#include "tests/lib/seed.h"
#include "tests/unit/dataplane/planes_fixture.h"

/* n indices, ascending: neighbours, near ones and far ones in turns. */
static void make_list(struct features *f, uint32_t n)
{
    const uint32_t room = UINT16_MAX + 1 - n;
    uint32_t used = 0;
    f->n = (uint16_t)n;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t kind = (uint32_t)rand_below(8);
        const uint32_t most = kind == 0 ? 0 : kind == 7 ? 5000 : 2 * room / n;
        uint32_t more = (uint32_t)rand_below(most + 1);
        if (more > room - used)
            more = room - used;
        used += more;
        f->index[i] = (uint16_t)(used + i);
    }
}

static void check_ways(const struct features *f, const uint8_t *expected, size_t len)
{
    uint8_t way[RECORD_INDICES_MAX];
    assert_int_equal(record_write_indices_sse2(f, way), len);
    assert_memory_equal(way, expected, len);
    assert_int_equal(record_write_indices(f, way), len);
    assert_memory_equal(way, expected, len);
    if (!record_has_avx512())
        return;
    assert_int_equal(record_write_indices_avx512(f, way), len);
    assert_memory_equal(way, expected, len);
}

static void lists_of_every_length_are_written_as_the_router_packs_them(void **state)
{
    (void)state;
    static struct sample s;
    uint8_t expected[RECORD_INDICES_MAX];
    rand_seed_thread(test_seed(88172645463325252U));
    for (uint32_t round = 0; round < 6 * (FEATURES_SPARSE_MAX + 1); round++) {
        make_list(&s.features, round % (FEATURES_SPARSE_MAX + 1));
        size_t len = features_pack(&s.features, expected);
        assert_true(len <= FEATURES_PACKED_MAX);
        check_ways(&s.features, expected, len);
    }
}

static void any_list_of_indices_is_written_alike_and_inside(void **state)
{
    (void)state;
    rand_seed_thread(test_seed(88172645463325252U));
    for (uint32_t round = 0; round < 2000; round++) {
        struct features f = {.n = (uint16_t)(round % (FEATURES_SPARSE_MAX + 1))};
        uint8_t plain[RECORD_INDICES_MAX];
        for (uint32_t i = 0; i < f.n; i++)
            f.index[i] = (uint16_t)(rand_u64() >> (round % 3 * 16)); /* In no order. */
        size_t len = features_pack(&f, plain);
        assert_true(len <= RECORD_INDICES_MAX);
        check_ways(&f, plain, len);
    }
}

static void dense_values_are_written_alike_by_every_way(void **state)
{
    (void)state;
    static const int16_t edges[] = {0,    -1,    63,    64,    -64,       -65,      8191,
                                    8192, -8192, -8193, 16384, INT16_MAX, INT16_MIN};
    rand_seed_thread(test_seed(88172645463325252U));
    for (uint32_t round = 0; round < 4000; round++) {
        int16_t dense[FEATURES_DENSE];
        uint8_t plain[RECORD_DENSE_MAX], way[RECORD_DENSE_MAX];
        for (uint32_t i = 0; i < FEATURES_DENSE; i++) {
            dense[i] = (int16_t)(rand_u64() >> (round % 48));
            dense[i] = (int16_t)(dense[i] / (1 << round % 14));
            if (round % 3 == 0)
                dense[i] = edges[(round + i * (round / 13 + 1)) % 13];
        }
        size_t len = record_write_dense_plain(dense, plain);
        assert_int_equal(record_write_dense(dense, way), len);
        assert_memory_equal(way, plain, len);
        if (!record_has_avx512())
            continue;
        assert_int_equal(record_write_dense_avx512(dense, way), len);
        assert_memory_equal(way, plain, len);
    }
}

/* Layout of flat.c's shape, behind the 152 bytes of plain values. */
struct shape {
    uint16_t candidates, features, routed, parts;
};
#define SHAPE_AT 152U

/* What version 7 of the ring wrote: indices as they are, and how many. */
static size_t as_version_7(uint8_t *at, size_t len, const struct features *f, size_t features_at)
{
    struct shape shape;
    memcpy(&shape, at + SHAPE_AT, sizeof(shape));
    assert_int_equal(shape.parts & 8, 8);
    const size_t packed = shape.features, plain = 2 * (size_t)f->n;
    memmove(at + features_at + plain, at + features_at + packed, len - features_at - packed);
    memcpy(at + features_at, f->index, plain);
    shape.parts = (uint16_t)(shape.parts & ~8);
    shape.features = (uint16_t)(f->n + 1);
    memcpy(at + SHAPE_AT, &shape, sizeof(shape));
    return len - packed + plain;
}

static void features_pass_the_ring_and_those_of_older_rings_are_packed(void **state)
{
    (void)state;
    static struct sample s;
    static struct flat_scratch scratch;
    static uint64_t ring[FLAT_DECISION_MAX / 8];
    uint8_t expected[RECORD_INDICES_MAX], *at = (uint8_t *)ring;
    rand_seed_thread(test_seed(1));
    sample_init(&s, 42);
    s.d.rollout = NULL;
    const size_t features_at = SHAPE_AT + sizeof(struct shape) +
                               s.d.account_count * sizeof(s.accounts[0]) +
                               s.d.charge_count * sizeof(s.charges[0]) + sizeof(s.features.dense);
    for (uint32_t n = 0; n <= FEATURES_SPARSE_MAX; n += n < 70 ? 1 : 17) {
        make_list(&s.features, n);
        const size_t packed = features_pack(&s.features, expected);
        size_t len = (size_t)(flat_put_decision(at, &s.d) - at);
        for (int old = 0; old < 2; old++) {
            struct record_decision back;
            if (old)
                len = as_version_7(at, len, &s.features, features_at);
            struct str data = {.data = (const char *)at, .len = len};
            assert_true(flat_take_decision(&data, &scratch, &back));
            assert_int_equal(data.len, 0);
            assert_int_equal(back.packed_features.len, packed);
            assert_memory_equal(back.packed_features.data, expected, packed);
            assert_memory_equal(back.features->dense, s.features.dense, sizeof(s.features.dense));
            assert_memory_equal(back.alias.data, "main", 4);
            for (size_t cut = 0; cut < len; cut += 1 + n / 8) {
                data = (struct str){.data = (const char *)at, .len = cut};
                assert_false(flat_take_decision(&data, &scratch, &back));
            }
        }
    }
    const struct shape none = {.parts = 8}; /* There are some, of no bytes. */
    memset(at, 0, SHAPE_AT);
    memcpy(at + SHAPE_AT, &none, sizeof(none));
    struct record_decision back;
    struct str data = {.data = (const char *)at, .len = 400};
    assert_false(flat_take_decision(&data, &scratch, &back));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_of_every_length_are_written_as_the_router_packs_them),
        cmocka_unit_test(any_list_of_indices_is_written_alike_and_inside),
        cmocka_unit_test(dense_values_are_written_alike_by_every_way),
        cmocka_unit_test(features_pass_the_ring_and_those_of_older_rings_are_packed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
