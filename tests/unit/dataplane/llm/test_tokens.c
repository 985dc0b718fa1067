#include "dataplane/llm/tokens.h"

#include "tests/lib/fault.h"

static uint32_t estimate(const char *text)
{
    return tokens_round(tokens_text_q8(str_from(text)));
}

static void prose_is_estimated_within_a_fifth_of_a_byte_pair_count(void **state)
{
    (void)state;
    /* Counted with a vocabulary of 100,000 pairs. */
    static const struct {
        const char *text;
        uint32_t tokens;
    } rows[] = {
        {"The quick brown fox jumps over the lazy dog.", 10},
        {"In the beginning God created the heaven and the earth. And the earth was without form, "
         "and "
         "void; and darkness was upon the face of the deep.",
         31},
        {"Please summarize the following article in three sentences and list its main claims.", 14},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint32_t got = estimate(rows[i].text);
        assert_in_range(got, rows[i].tokens - rows[i].tokens / 4 - 1,
                        rows[i].tokens + rows[i].tokens / 3 + 1);
    }
}

static void estimates_add_up_and_never_overflow(void **state)
{
    (void)state;
    assert_int_equal(tokens_text_q8(STR("ab 1,")),
                     tokens_text_q8(STR("ab ")) + tokens_text_q8(STR("1,")));
    assert_int_equal(tokens_text_q8(STR_NULL), 0);
    assert_int_equal(tokens_round(UINT64_MAX), UINT32_MAX);
    assert_int_equal(tokens_bytes(UINT64_MAX), UINT32_MAX);
    assert_int_equal(tokens_bytes(5), 2);
    assert_int_equal(tokens_image(TOKENS_IMAGE_LOW), 85);
    assert_int_equal(tokens_image(TOKENS_IMAGE_AUTO), tokens_image(TOKENS_IMAGE_HIGH));
}

/* Every byte at every place, and lengths around the width of a block. */
static void all_ways_to_weigh_a_text_agree(void **state)
{
    (void)state;
    uint8_t text[300];
    for (unsigned round = 0; round < 256; round++) {
        for (size_t i = 0; i < sizeof text; i++)
            text[i] = (uint8_t)(round + i * (1 + round % 7));
        for (size_t from = 0; from < 40; from += 13)
            for (size_t len = 0; len <= sizeof text - from; len += 1 + len / 9) {
                uint64_t expected = tokens_sum_of(TOKENS_WAY_SCALAR)(text + from, len);
                for (int way = TOKENS_WAY_SSE2; way < TOKENS_WAYS; way++)
                    if (tokens_sum_of((enum tokens_way)way) != NULL)
                        assert_int_equal(tokens_sum_of((enum tokens_way)way)(text + from, len),
                                         expected);
            }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prose_is_estimated_within_a_fifth_of_a_byte_pair_count),
        cmocka_unit_test(estimates_add_up_and_never_overflow),
        cmocka_unit_test(all_ways_to_weigh_a_text_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
