/* The memo gives what extraction gives, whatever of a call changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/route/features_memo.h"

static struct features_hasher hashers[2];

static int make_hashers(void **state)
{
    (void)state;
    features_hasher_init(&hashers[0], (struct siphash_key){1, 2});
    features_hasher_init(&hashers[1], (struct siphash_key){1, 3});
    return 0;
}

static void expect_right(struct features_memo *m, const struct features_hasher *hasher,
                         uint64_t owner, const struct features_input *input, bool hit)
{
    struct features expected, got;
    uint64_t hits = features_memo_hits(m);
    memset(&got, 0xee, sizeof got);
    features_extract(hasher, input, &expected);
    features_memo_extract(m, hasher, owner, input, &got);
    assert_int_equal(got.n, expected.n);
    assert_memory_equal(got.index, expected.index, got.n * sizeof got.index[0]);
    assert_memory_equal(got.dense, expected.dense, sizeof got.dense);
    assert_int_equal(features_memo_hits(m) - hits, hit);
}

static void whatever_changes_is_seen(void **state)
{
    (void)state;
    static char text[6000];
    static const struct str tools[] = {{"search", 6}, {"read", 4}, {"write", 5}};
    struct features_memo *m = features_memo_create(64);
    assert_non_null(m);
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = "word by word, line;\n"[(i * 7 + i / 19) % 20];
    const struct features_input first = {.text = {text, 300},
                                         .system_prompt = {text + 10, 500},
                                         .segment = STR("3"),
                                         .tools = tools,
                                         .tool_count = 2};
    struct features_input c = first;
    expect_right(m, &hashers[0], 1, &c, false);
    expect_right(m, &hashers[0], 1, &c, true);
    c.t_in = 77; /* A dense feature alone: from the call, not from the memo. */
    c.bytes = 1234;
    c.messages = 9;
    expect_right(m, &hashers[0], 1, &c, true);
    expect_right(m, &hashers[0], 2, &c, false); /* Another owner. */
    expect_right(m, &hashers[1], 1, &c, false); /* Another key. */
    c.tool_count = 3;
    expect_right(m, &hashers[0], 1, &c, false);
    c.tool_count = 1;
    expect_right(m, &hashers[0], 1, &c, false);
    c = first;
    c.segment = STR("4");
    expect_right(m, &hashers[0], 1, &c, false);
    c.alias = c.segment;
    c.segment = STR_NULL;
    expect_right(m, &hashers[0], 1, &c, false);
    c = first;
    c.system_prompt.len = 499;
    expect_right(m, &hashers[0], 1, &c, false);
    c.system_prompt = STR_NULL;
    expect_right(m, &hashers[0], 1, &c, false);
    for (size_t i = 0; i < first.text.len; i += 17) {
        text[i] ^= 1;
        expect_right(m, &hashers[0], 1, &first, false);
        text[i] ^= 1;
    }
    features_memo_destroy(m);
    assert_int_equal(mem_live_bytes(), 0);
}

static void long_texts_count_by_what_is_looked_at(void **state)
{
    (void)state;
    static char text[9000];
    struct features_memo *m = features_memo_create(1);
    memset(text, 'a', sizeof text);
    for (size_t i = 0; i < sizeof text; i += 5)
        text[i] = ' ';
    struct features_input c = {.text = {text, sizeof text}, .system_prompt = {text, 5000}};
    expect_right(m, &hashers[0], 1, &c, false);
    text[5500] = 'z'; /* In neither window. */
    expect_right(m, &hashers[0], 1, &c, true);
    text[8800] = 'z';
    expect_right(m, &hashers[0], 1, &c, false);
    c.system_prompt.len = FEATURES_SYSTEM_BYTES_MAX; /* The ends of a longer one. */
    c.system_bytes = 7000;
    expect_right(m, &hashers[0], 1, &c, false);
    c.system_bytes = 7001;
    expect_right(m, &hashers[0], 1, &c, false);
    expect_right(m, &hashers[0], 1, &c, true);
    features_memo_destroy(m);
}

/* Calls that differ in their first bytes, as those of many people do. */
static uint64_t hits_of(struct features_memo *m, uint32_t from, uint32_t count, uint32_t different)
{
    char text[] = "00000000 what is it that comes again, or does not?";
    const uint64_t before = features_memo_hits(m);
    for (uint32_t i = 0; i < count; i++) {
        struct features expected, got;
        uint32_t number = from + i % different;
        for (unsigned k = 8; k-- > 0; number /= 10)
            text[k] = (char)('0' + number % 10);
        const struct features_input c = {.text = {text, sizeof text - 1},
                                         .system_prompt = STR("be brief")};
        features_extract(&hashers[0], &c, &expected);
        features_memo_extract(m, &hashers[0], 1, &c, &got);
        assert_int_equal(got.n, expected.n);
        assert_memory_equal(got.index, expected.index, got.n * sizeof got.index[0]);
        assert_memory_equal(got.dense, expected.dense, sizeof got.dense);
    }
    return features_memo_hits(m) - before;
}

static void what_never_comes_again_is_looked_up_rarely_until_it_does(void **state)
{
    (void)state;
    struct features_memo *m = features_memo_create(64);
    assert_non_null(m);
    assert_int_equal(hits_of(m, 0, 1024, 1024), 0); /* All new: from now on samples are taken. */
    assert_true(hits_of(m, 5000, 64, 8) < 64 - 8);  /* Not enough to be sure yet. */
    (void)hits_of(m, 6000, 4096, 48);               /* They come again. */
    assert_int_equal(hits_of(m, 7000, 256, 1), 255);
    features_memo_destroy(m);
    assert_int_equal(mem_live_bytes(), 0);
}

static void without_a_memo_it_is_extracted(void **state)
{
    (void)state;
    const struct features_input c = {.text = STR("what is it?")};
    struct features expected, got;
    features_extract(&hashers[0], &c, &expected);
    features_memo_extract(NULL, &hashers[0], 1, &c, &got);
    assert_int_equal(got.n, expected.n);
    assert_memory_equal(got.index, expected.index, got.n * sizeof got.index[0]);
    assert_memory_equal(got.dense, expected.dense, sizeof got.dense);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_changes_is_seen),
        cmocka_unit_test(long_texts_count_by_what_is_looked_at),
        cmocka_unit_test(what_never_comes_again_is_looked_up_rarely_until_it_does),
        cmocka_unit_test(without_a_memo_it_is_extracted),
    };
    return cmocka_run_group_tests(tests, make_hashers, NULL);
}
