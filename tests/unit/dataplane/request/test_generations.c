/* What a node remembers of its last requests: no more than it has places for, each key its own. */
#include "dataplane/request/generations.h"

#include <string.h>

#include "tests/lib/fault.h"

static struct generation entry(uint32_t number, uint64_t key_id)
{
    struct generation g = {.key_id = key_id, .answer = number | 1U << 31, .request_id = number};
    memcpy(g.decision, &number, sizeof number);
    return g;
}

static bool knows(struct generations *memory, uint32_t number, uint64_t key_id)
{
    struct generation found;
    uint8_t decision[16] = {0};
    memcpy(decision, &number, sizeof number);
    return generations_find(memory, key_id, decision, 0, &found) &&
           generations_find(memory, key_id, NULL, number | 1U << 31, &found) &&
           found.request_id == number;
}

static void the_last_ones_are_known_and_no_others(void **state)
{
    (void)state;
    struct generations *memory = generations_create();
    assert_non_null(memory);
    assert_false(knows(memory, 1, 7));
    for (uint32_t i = 1; i <= GENERATIONS_MAX + 10; i++) {
        const struct generation g = entry(i, 7);
        generations_put(memory, &g);
    }
    assert_true(knows(memory, GENERATIONS_MAX + 10, 7));
    assert_true(knows(memory, 11, 7));
    assert_false(knows(memory, 10, 7));
    generations_destroy(memory);
}

static void a_key_does_not_see_what_is_anothers(void **state)
{
    (void)state;
    struct generations *memory = generations_create();
    const struct generation g = entry(5, 7);
    generations_put(memory, &g);
    assert_true(knows(memory, 5, 7));
    assert_false(knows(memory, 5, 8));
    generations_destroy(memory);
}

static struct generation named(uint32_t number, size_t model_len, size_t provider_len)
{
    struct generation g = entry(number, 7);
    memset(g.names, (int)('a' + number % 26), model_len);
    memset(g.names + model_len, (int)('A' + number % 26), provider_len);
    g.model_len = (uint8_t)model_len;
    g.provider_len = (uint8_t)provider_len;
    return g;
}

static bool is_all(struct str s, char c, size_t len)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] != c)
            return false;
    return s.len == len;
}

/* Places that held longer names before, and every length of both. */
static void names_come_back_as_they_were_put(void **state)
{
    (void)state;
    struct generations *memory = generations_create();
    uint32_t number = 1;
    for (size_t model = 0; model <= GENERATION_BYTES; model++)
        for (size_t provider = 0; provider <= GENERATION_BYTES; provider++, number++) {
            struct generation found, g = named(number, GENERATION_BYTES - model, provider);
            g.tokens_reasoning = ~(uint64_t)number;
            generations_put(memory, &g);
            assert_true(generations_find(memory, 7, g.decision, 0, &found));
            assert_memory_equal(&found, &g, offsetof(struct generation, names));
            assert_true(is_all(generation_model(&found), (char)('a' + number % 26),
                               GENERATION_BYTES - model));
            assert_true(is_all(generation_provider(&found), (char)('A' + number % 26), provider));
        }
    generations_destroy(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_ones_are_known_and_no_others),
        cmocka_unit_test(names_come_back_as_they_were_put),
        cmocka_unit_test(a_key_does_not_see_what_is_anothers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
