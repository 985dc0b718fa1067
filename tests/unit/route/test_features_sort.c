/* Which indices stay, and their order: each way beside the rule as it is written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/route/features_internal.h"
#include "tests/lib/seed.h"
#include "tests/unit/route/fixture.h"

#define MAX FEATURES_SPARSE_MAX

/* The first 512 different ones, ascending. */
static uint32_t plain_sort(const uint16_t *index, uint32_t n, uint16_t out[MAX])
{
    static uint8_t in[65536];
    uint32_t different = 0, listed = 0;
    memset(in, 0, sizeof in);
    for (uint32_t i = 0; i < n && different < MAX; i++) {
        different += in[index[i]] == 0;
        in[index[i]] = 1;
    }
    for (uint32_t i = 0; i < sizeof in; i++)
        if (in[i] != 0)
            out[listed++] = (uint16_t)i;
    return listed;
}

/* The set is each way's own, for all calls. */
static void expect_sorted(const uint16_t *index, uint32_t n)
{
    static struct features_set sets[FEATURES_WAYS], empty;
    uint16_t expected[MAX], sorted[MAX + 1];
    const uint32_t count = plain_sort(index, n, expected);
    for (int way = FEATURES_WAY_SCALAR; way < FEATURES_WAYS; way++) {
        const struct features_way *w = features_way_of((enum features_ways)way);
        if (w == NULL)
            continue;
        sorted[MAX] = 0xeeee;
        assert_int_equal(w->sort(index, n, &sets[way], sorted), count);
        assert_memory_equal(sorted, expected, count * sizeof sorted[0]);
        assert_int_equal(sorted[MAX], 0xeeee); /* Nothing behind it. */
        assert_memory_equal(&sets[way], &empty, sizeof empty);
    }
}

static uint16_t unsorted[FEATURES_FOUND_MAX];

/* In steps of at most `most`: dense at first, spread over everything at last. */
static void a_set_is_listed_alike_by_all_ways_and_left_empty(void **state)
{
    (void)state;
    struct random r = {5};
    for (unsigned round = 0; round < 2000; round++) {
        const uint32_t most = 1 + round % 130, limit = random_below(&r, MAX + 1);
        uint32_t next = round % 2 == 0 ? 65536 - limit : random_below(&r, 8192), n = 0;
        for (; next < 65536 && n < limit; next += 1 + random_below(&r, most))
            unsorted[limit - ++n] = (uint16_t)next;
        expect_sorted(unsorted + limit - n, n);
    }
}

/* Up to so many different numbers, next to each other. */
static void indices_are_sorted_alike_by_all_ways(void **state)
{
    (void)state;
    static const uint32_t kinds[] = {1, 2, 20, 300, 3000, 65536};
    struct random r = {9};
    for (uint32_t n = 0; n <= FEATURES_FOUND_MAX; n += n < 600 ? 1 : 13)
        for (unsigned k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
            const uint32_t from = random_below(&r, 65537 - kinds[k]);
            for (uint32_t i = 0; i < n; i++)
                unsorted[i] = (uint16_t)(from + random_below(&r, kinds[k]));
            expect_sorted(unsorted, n);
        }
}

/* What sorts every arrangement of two numbers sorts everything (Knuth, 5.3.4, theorem Z). */
static void any_share_of_two_numbers_is_sorted(void **state)
{
    (void)state;
    static const uint32_t most[] = {256, 512, 1024};
    struct random r = {10};
    for (unsigned k = 0; k < 3; k++)
        for (uint32_t ones = 0; ones <= most[k]; ones++)
            for (unsigned round = 0; round < 4; round++) {
                for (uint32_t i = 0; i < most[k]; i++)
                    unsorted[i] = round == 0   ? i < ones
                                  : round == 1 ? most[k] - i <= ones
                                               : random_below(&r, most[k]) < ones;
                expect_sorted(unsorted, most[k]);
            }
}

/* So many different ones among n, in no order; which place is a new one's is left to chance. */
static void fill_with(struct random *r, uint32_t different, uint32_t n)
{
    const uint32_t step = 1 + 2 * random_below(r, 32768), from = random_below(r, 65536);
    for (uint32_t i = 0, in = 0; i < n; i++) {
        const bool is_new = in == 0 || random_below(r, n - i) < different - in;
        unsorted[i] = (uint16_t)(from + step * (is_new ? in : random_below(r, in)));
        in += is_new;
    }
}

static void the_first_512_different_ones_stay_by_all_ways(void **state)
{
    (void)state;
    struct random r = {test_seed(20261122)};
    for (uint32_t different = MAX - 2; different <= MAX + 2; different++)
        for (uint32_t n = different; n <= FEATURES_FOUND_MAX; n += 1 + (n - different) / 8) {
            fill_with(&r, different, n);
            expect_sorted(unsorted, n);
            expect_sorted(unsorted, random_below(&r, n + 1));
        }
}

/* The one that has no room comes at every place, and then what has room comes again. */
static void one_too_many_is_left_out_wherever_it_comes(void **state)
{
    (void)state;
    struct random r = {test_seed(20261122)};
    for (uint32_t at = MAX; at <= 1100; at++) {
        fill_with(&r, MAX + 1, MAX + 1);
        const uint16_t last = unsorted[MAX];
        for (uint32_t i = MAX; i <= 1100; i++)
            unsorted[i] = i == at ? last : unsorted[random_below(&r, MAX)];
        expect_sorted(unsorted, at);
        expect_sorted(unsorted, at + 1);
        expect_sorted(unsorted, 1101);
    }
}

static struct features_hasher hasher;

/* What the scalar way makes of it. */
static uint32_t expect_same_by_all_ways(const char *text, size_t len)
{
    const struct features_input input = {
        .text = {text, len}, .alias = STR("auto"), .segment = STR("7")};
    struct features plain, other;
    features_extract_by(&features_scalar, &hasher, &input, &plain);
    for (int way = FEATURES_WAY_SCALAR + 1; way < FEATURES_WAYS; way++) {
        if (features_way_of((enum features_ways)way) == NULL)
            continue;
        features_extract_by(features_way_of((enum features_ways)way), &hasher, &input, &other);
        assert_int_equal(other.n, plain.n);
        assert_memory_equal(other.index, plain.index, plain.n * sizeof plain.index[0]);
    }
    return plain.n;
}

struct words {
    uint16_t at[3000], len[3000];
    uint32_t n;
};

/* Words of up to `longest` letters; so many of a hundred come again. */
static void fill_text(struct random *r, char *text, size_t len, uint32_t longest, uint32_t again)
{
    static struct words w;
    w.n = 0;
    for (size_t at = 0; at < len;) {
        const bool is_old = w.n > 0 && random_below(r, 100) < again;
        const uint32_t old = is_old ? random_below(r, w.n) : 0;
        size_t n = is_old ? w.len[old] : 1 + random_below(r, longest);
        n = n < len - at ? n : len - at;
        for (size_t i = 0; i < n; i++)
            text[at + i] = is_old ? text[w.at[old] + i]
                                  : "abcdefghijklmnopqrstuvwxyz\xd0\xd1"[random_below(r, 28)];
        w.at[w.n] = (uint16_t)at;
        w.len[w.n++] = (uint16_t)n;
        at += n;
        if (at < len)
            text[at++] = random_below(r, 9) == 0 ? ',' : ' ';
    }
}

static void words_that_come_again_fill_the_set_alike_by_all_ways(void **state)
{
    (void)state;
    enum { LEN = 2500, SHORT = 40 };
    static char text[LEN];
    struct random r = {test_seed(20261122)};
    uint32_t full_by_head = 0, full_by_tail = 0, not_full = 0;
    features_hasher_init(&hasher, (struct siphash_key){random_u64(&r), random_u64(&r)});
    for (unsigned round = 0; round < 3000; round++) {
        const size_t len = 800 + random_below(&r, LEN - 800 + 1);
        fill_text(&r, text, len, 1 + round % 9, round * 7 % 99);
        const uint32_t n = expect_same_by_all_ways(text, len);
        const size_t head = len < FEATURES_HEAD_BYTES ? len : FEATURES_HEAD_BYTES;
        const bool by_head = expect_same_by_all_ways(text, head) == MAX;
        full_by_head += by_head;
        full_by_tail += n == MAX && !by_head;
        not_full += n < MAX;
        (void)expect_same_by_all_ways(text, SHORT);
    }
    assert_true(full_by_head > 100 && full_by_tail > 100 && not_full > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_set_is_listed_alike_by_all_ways_and_left_empty),
        cmocka_unit_test(indices_are_sorted_alike_by_all_ways),
        cmocka_unit_test(any_share_of_two_numbers_is_sorted),
        cmocka_unit_test(the_first_512_different_ones_stay_by_all_ways),
        cmocka_unit_test(one_too_many_is_left_out_wherever_it_comes),
        cmocka_unit_test(words_that_come_again_fill_the_set_alike_by_all_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
