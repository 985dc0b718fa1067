/* Patterns of conditions: what they mean, what is refused, and that matching always ends soon. */
#include "common/route/pattern.h"

#include <string.h>

#include "common/route/rule.h"
#include "tests/lib/fault.h"

static struct arena_pool pool;
static struct arena arena;
static struct pattern_room *room;

static int setup(void **state)
{
    (void)state;
    arena_pool_init(&pool, 4);
    arena_init(&arena, &pool, 1U << 20);
    room = pattern_room_create();
    return room != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    pattern_room_destroy(room);
    arena_reset(&arena);
    arena_pool_deinit(&pool);
    return 0;
}

static bool matches(const char *pattern, const char *text)
{
    const struct pattern *p = NULL;
    const char *problem = NULL;
    assert_int_equal(pattern_compile(str_from(pattern), &arena, &p, &problem), 0);
    pattern_room_begin(room);
    const bool yes = pattern_matches(p, str_from(text), room);
    assert_false(pattern_room_gave_up(room));
    return yes;
}

static void a_pattern_matches_anywhere_as_in_javascript(void **state)
{
    (void)state;
    assert_true(matches("gpt", "my gpt-4o"));
    assert_true(matches("^gpt-4(o|\\.1)$", "gpt-4.1"));
    assert_false(matches("^gpt$", "gpt\n")); /* The end alone, not the line's. */
    assert_true(matches("\\u0041[^]", "A\n"));
    assert_false(matches("[]", "a"));
    assert_true(matches("^.{2}$", "\xc3\xa9\xc3\xa9")); /* Characters, not bytes. */
    assert_true(matches("(?<=user-)\\d+", "user-17"));
    assert_true(matches("^(a)?b\\1$", "b")); /* A group that took no part is empty. */
    assert_true(matches("(?i)EU", "eu"));
    assert_false(matches("a", ""));
    assert_true(matches("^$", ""));
}

static void a_pattern_that_is_none_is_refused_with_the_reason(void **state)
{
    (void)state;
    static const char *const bad[] = {"(",
                                      "[a",
                                      "a{2,1}",
                                      "*",
                                      "\\",
                                      "(?<n>a)(?<n>b)",
                                      "\\C",
                                      "((((((((((((((((((((((a))))))))))))))))))))))",
                                      "(?:(?:(?:abc{99}){99}){99}){99}",
                                      "(*UCP)a",
                                      "(?:abc){9000}"};
    const struct pattern *p;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *problem = NULL;
        if (pattern_compile(str_from(bad[i]), &arena, &p, &problem) != ERR_INVALID)
            fail_msg("%s", bad[i]);
        assert_non_null(problem);
    }
    char long_one[PATTERN_BYTES_MAX + 1];
    memset(long_one, 'a', sizeof long_one);
    assert_int_equal(pattern_compile((struct str){long_one, PATTERN_BYTES_MAX}, &arena, &p, NULL),
                     0);
    assert_int_equal(
        pattern_compile((struct str){long_one, PATTERN_BYTES_MAX + 1}, &arena, &p, NULL),
        ERR_INVALID);
    assert_int_equal(pattern_compile(STR(""), &arena, &p, NULL), ERR_INVALID);
}

/* A search that would take longer than the world has stood ends after its steps, and is no match.
 */
static void what_takes_too_many_steps_is_given_up(void **state)
{
    (void)state;
    static const char *const slow[] = {"^(a+)+$",
                                       "^(a|a)*$",
                                       "(a*)*[bc]",
                                       "^(([a-z])+.)+[A-Z]$",
                                       "(?=(a+))a*[bc]\\1",
                                       "(.*)*[xy].*[xy]",
                                       "^(?:a?){20}[bc]",
                                       "(a|(?R))*[cd]",
                                       "([^x]|a)*?(a|b)*[yz]"};
    char text[PATTERN_TEXT_MAX];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '!';
    for (size_t i = 0; i < sizeof slow / sizeof slow[0]; i++) {
        const struct pattern *p;
        assert_int_equal(pattern_compile(str_from(slow[i]), &arena, &p, NULL), 0);
        pattern_room_begin(room);
        assert_false(pattern_matches(p, (struct str){text, sizeof text}, room));
        if (!pattern_room_gave_up(room))
            fail_msg("%s", slow[i]);
    }
}

static void the_steps_of_a_request_are_shared_by_its_patterns(void **state)
{
    (void)state;
    const struct pattern *slow, *quick;
    char text[PATTERN_TEXT_MAX + 1];
    memset(text, 'a', sizeof text);
    assert_int_equal(pattern_compile(STR("^(a+)+$"), &arena, &slow, NULL), 0);
    assert_int_equal(pattern_compile(STR("a"), &arena, &quick, NULL), 0);
    pattern_room_begin(room);
    assert_true(pattern_matches(quick, STR("a"), room));
    assert_false(pattern_matches(slow, STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"), room));
    assert_false(pattern_matches(quick, STR("a"), room));
    assert_true(pattern_room_gave_up(room));
    pattern_room_begin(room);
    assert_false(pattern_room_gave_up(room));
    assert_true(pattern_matches(quick, STR("a"), room));
    assert_false(pattern_matches(quick, (struct str){text, sizeof text}, room)); /* Too long. */
    assert_true(pattern_room_gave_up(room));
    pattern_room_begin(room);
    assert_false(pattern_matches(quick, STR("\xff\xfe"), room)); /* No text. */
    assert_true(pattern_room_gave_up(room));
}

static struct str value(void *arg, struct str path)
{
    (void)arg;
    return str_is(path, "metadata.user") ? STR("a-17@example.com") : STR_NULL;
}

static void a_condition_with_a_pattern_holds_where_it_matches(void **state)
{
    (void)state;
    const struct str v[] = {STR("@example\\.com$")};
    struct rule_step s = {
        .op = RULE_REGEX, .path = STR("metadata.user"), .values = v, .value_count = 1};
    assert_false(rule_valid(&s, 1)); /* It is not compiled. */
    assert_int_equal(pattern_compile(v[0], &arena, &s.pattern, NULL), 0);
    assert_true(rule_valid(&s, 1));
    assert_true(rule_has_patterns(&s, 1));
    pattern_room_begin(room);
    assert_true(rule_holds(&s, 1, value, NULL, room));
    assert_false(rule_holds(&s, 1, value, NULL, NULL));
    s.path = STR("metadata.none");
    assert_false(rule_holds(&s, 1, value, NULL, room));
    s.op = RULE_EQ;
    assert_false(rule_valid(&s, 1)); /* A pattern is for $regex alone. */
}

static void f24_without_memory_nothing_is_half_made(void **state)
{
    (void)state;
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        struct pattern_room *made;
        fault_arm_alloc(n);
        made = pattern_room_create();
        fired = fault_disarm();
        assert_true((made == NULL) == fired);
        pattern_room_destroy(made);
    }
    fired = true;
    for (unsigned n = 0; fired; n++) {
        const struct pattern *p = NULL;
        struct arena small;
        struct arena_pool own;
        arena_pool_init(&own, 0);
        arena_init(&small, &own, 1U << 20);
        fault_arm_alloc(n);
        int rc = pattern_compile(STR("^(a|b(?<name>c))+[x-z]{1,40}$"), &small, &p, NULL);
        fired = fault_disarm();
        assert_int_equal(rc, fired ? ERR_NOMEM : 0);
        arena_reset(&small);
        arena_pool_deinit(&own);
    }
    /* The first match is what takes memory. */
    const struct pattern *p;
    struct pattern_room *fresh = pattern_room_create();
    assert_non_null(fresh);
    assert_int_equal(pattern_compile(STR("(a|b)+c"), &arena, &p, NULL), 0);
    pattern_room_begin(fresh);
    fault_arm_alloc(0);
    const bool yes = pattern_matches(p, STR("abc"), fresh);
    fired = fault_disarm();
    assert_true(yes != fired);
    assert_true(pattern_room_gave_up(fresh) == fired);
    pattern_room_destroy(fresh);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_pattern_matches_anywhere_as_in_javascript),
        T(a_pattern_that_is_none_is_refused_with_the_reason),
        T(what_takes_too_many_steps_is_given_up),
        T(the_steps_of_a_request_are_shared_by_its_patterns),
        T(a_condition_with_a_pattern_holds_where_it_matches),
        T(f24_without_memory_nothing_is_half_made),
    };
#undef T
    return cmocka_run_group_tests(tests, NULL, NULL);
}
