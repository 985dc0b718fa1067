/* The generator and the solver of the simulated tasks, held against each other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "deploy/simulator/models.h"
#include "deploy/simulator/reply.h"

#define ROUNDS 3000U

static void solver_finds_the_generators_answer_for_every_family_and_level(void **state)
{
    (void)state;
    struct task_rng r = {.state = 42};
    for (enum task_family f = 0; f < TASK_FAMILY_COUNT; f++) {
        for (unsigned i = 0; i < ROUNDS; i++) {
            struct task t;
            struct task_solution s;
            task_generate(&r, f, 1 + i % TASK_DIFFICULTY_MAX, &t);
            if (!task_solve(str_from(t.prompt), &s))
                fail_msg("not understood: %s", t.prompt);
            if (strcmp(s.answer, t.answer) != 0)
                fail_msg("%s\n  right %s, solved %s", t.prompt, t.answer, s.answer);
            assert_int_equal(s.family, f);
            assert_in_range(s.difficulty, 1, TASK_DIFFICULTY_MAX);
        }
    }
}

static void solver_answers_known_questions(void **state)
{
    (void)state;
    static const struct {
        const char *prompt, *answer;
    } known[] = {
        {"What is 12 + 34?", "46"},
        {"Compute 2 * (3 + 4) - 5.", "9"},
        {"What is 7 - 2 - 1?", "4"},
        {"What day of the week is 1970-01-01?", "Thursday"},
        {"What day of the week is 2000-02-29?", "Tuesday"},
        {"How many days are there from 2023-12-31 to 2024-03-01?", "61"},
        {"What date is 1 days after 1900-02-28?", "1900-03-01"},
        {"Reverse the text 'abc de'.", "ed cba"},
        {"How many times does the letter 'a' occur in 'banana'?", "3"},
        {"Name word number 2 of 'red green blue'.", "green"},
        {"Write 'umpire' without its vowels.", "mpr"},
        {"Convert 12 inches to millimeters.", "304.8"},
        {"Convert 3 pounds to grams.", "1360.776"},
        {"Given the table a=3, b=9, c=4: which key has the largest value?", "b"},
        {"Ann is taller than Bob. Cid is taller than Ann. Who is the second tallest?", "Ann"},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        struct task_solution s;
        assert_true(task_solve(str_from(known[i].prompt), &s));
        assert_string_equal(s.answer, known[i].answer);
    }
}

static void text_without_a_task_has_no_answer(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "hello",
        "What is love?",
        "What is ?",
        "Compute 1 +",
        "Reverse the text 'abc",
        "What is 999999999 * 999999999 * 999999999 * 999999999?",
        "Given the table : sum",
        "Name word number 9 of 'one two'.",
        "Convert 3 parsecs to meters.",
        "What day of the week is 2031-13-01?",
        "What is ((((((((((((((((((((((((((((((((((1?",
        "Who is the tallest?",
        "X is taller than ",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct task_solution s;
        if (task_solve(str_from(texts[i]), &s))
            fail_msg("'%s' gave '%s'", texts[i], s.answer);
    }
}

static void any_cut_of_a_prompt_is_survived(void **state)
{
    (void)state;
    struct task_rng r = {.state = 7};
    for (enum task_family f = 0; f < TASK_FAMILY_COUNT; f++) {
        struct task t;
        struct task_solution s;
        task_generate(&r, f, 5, &t);
        size_t n = strlen(t.prompt);
        for (size_t from = 0; from < n; from += 3)
            for (size_t to = from; to <= n; to += 2)
                (void)task_solve((struct str){t.prompt + from, to - from}, &s);
    }
}

static void a_mistake_is_never_the_right_answer(void **state)
{
    (void)state;
    struct task_rng r = {.state = 3};
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct task t;
        struct task_solution s;
        char wrong[TASK_ANSWER_BYTES], again[TASK_ANSWER_BYTES], reply[TASK_ANSWER_BYTES + 32];
        task_generate(&r, (enum task_family)(i % TASK_FAMILY_COUNT), 1 + i % 5, &t);
        assert_true(task_solve(str_from(t.prompt), &s));
        task_mistake(&s, i * 7919ULL, wrong);
        task_mistake(&s, i * 7919ULL, again);
        assert_string_equal(wrong, again);
        snprintf(reply, sizeof(reply), "so it is\nAnswer: %s", wrong);
        if (task_grade(s.answer, str_from(reply)))
            fail_msg("'%s' counts as right for '%s'", wrong, s.answer);
    }
}

static void grading_reads_the_last_answer_line(void **state)
{
    (void)state;
    assert_true(task_grade("46", STR("Answer: 45\nno:\nAnswer: 46.\n")));
    assert_true(task_grade("Tuesday", STR("Answer: tuesday")));
    assert_false(task_grade("46", STR("Answer: 460")));
    assert_false(task_grade("46", STR("46")));
    assert_false(task_grade("46", STR("")));
}

static double share_right(const struct sim_model *m, enum task_family f, unsigned level)
{
    struct task_rng r = {.state = 100 + (uint64_t)f};
    unsigned right = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct task t;
        struct sim_reply reply;
        task_generate(&r, f, level, &t);
        sim_model_answer(m, str_from(t.prompt), 1, &reply);
        assert_true(reply.known);
        right += reply.correct ? 1 : 0;
    }
    return (double)right / ROUNDS;
}

static void skill_is_what_the_table_says(void **state)
{
    (void)state;
    for (size_t m = 0; m < SIM_MODEL_COUNT; m++) {
        for (enum task_family f = 0; f < TASK_FAMILY_COUNT; f++) {
            struct sim_skill s = sim_models[m].skill[f];
            double easy = share_right(&sim_models[m], f, 1),
                   hard = share_right(&sim_models[m], f, 5);
            assert_true(easy <= s.easy / 1000.0 + 0.03 && easy >= s.hard / 1000.0 - 0.03);
            assert_true(hard <= s.easy / 1000.0 + 0.03 && hard >= s.hard / 1000.0 - 0.03);
            assert_true(easy >= hard - 0.03);
        }
    }
}

static void the_same_model_and_prompt_give_the_same_reply(void **state)
{
    (void)state;
    struct sim_reply a, b;
    unsigned differ = 0;
    for (unsigned i = 0; i < 200; i++) {
        char prompt[64];
        snprintf(prompt, sizeof(prompt), "What is %u * %u + 3?", i + 100, i + 200);
        sim_model_answer(&sim_models[5], str_from(prompt), 1, &a);
        sim_model_answer(&sim_models[5], str_from(prompt), 1, &b);
        assert_string_equal(a.answer, b.answer);
        sim_model_answer(&sim_models[5], str_from(prompt), 2, &b);
        differ += strcmp(a.answer, b.answer) != 0 ? 1 : 0;
    }
    assert_true(differ > 0); /* Another seed is another model. */
}

static void a_nonce_comes_back_in_the_answer(void **state)
{
    (void)state;
    struct sim_reply with, without;
    struct reply reply;
    sim_model_answer(&sim_models[0], STR("Nonce n1-000001. What is 12 + 34?"), 1, &with);
    sim_model_answer(&sim_models[0], STR("What is 12 + 34?"), 1, &without);
    assert_string_equal(with.nonce, "n1-000001");
    assert_string_equal(with.answer, without.answer);
    reply_compose(&sim_models[0], &with, 1, 10, 1, &reply);
    assert_true(str_is(reply_words(&reply, 0, reply.words), "n1-000001"));
    assert_true(reply.cut_by_limit);
    sim_model_answer(&sim_models[0], STR("Nonce a\"b. What is 12 + 34?"), 1, &with);
    assert_string_equal(with.nonce, "");
}

static void reply_words_join_to_the_whole_text(void **state)
{
    (void)state;
    struct sim_reply answer;
    struct reply r;
    sim_model_answer(&sim_models[0], STR("Reverse the text 'oyster nectar'."), 1, &answer);
    reply_compose(&sim_models[0], &answer, 0, 10, 1, &r);
    size_t bytes = 0;
    for (unsigned i = 0; i < r.words; i++)
        bytes += reply_words(&r, i, i + 1).len;
    assert_int_equal(bytes, reply_words(&r, 0, r.words).len);
    assert_true(task_grade(answer.answer, reply_words(&r, 0, r.words)));
    assert_false(r.cut_by_limit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(solver_finds_the_generators_answer_for_every_family_and_level),
        cmocka_unit_test(solver_answers_known_questions),
        cmocka_unit_test(text_without_a_task_has_no_answer),
        cmocka_unit_test(any_cut_of_a_prompt_is_survived),
        cmocka_unit_test(a_mistake_is_never_the_right_answer),
        cmocka_unit_test(grading_reads_the_last_answer_line),
        cmocka_unit_test(skill_is_what_the_table_says),
        cmocka_unit_test(the_same_model_and_prompt_give_the_same_reply),
        cmocka_unit_test(a_nonce_comes_back_in_the_answer),
        cmocka_unit_test(reply_words_join_to_the_whole_text),
    };
    return cmocka_run_group_tests_name("tasks", tests, NULL, NULL);
}
