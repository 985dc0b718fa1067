/* Training runs in line: who may take one, and what becomes of one whose end was not written. */
#include "controlplane/release/train_queue.h"

#include <stdio.h>
#include <string.h>

#include "controlplane/release/publish.h"
#include "tests/lib/fault.h"
#include "tests/unit/controlplane/fixture.h"

static struct leader_claim claim(uint64_t term, const char *holder)
{
    return (struct leader_claim){.role = LEADER_TRAINER, .term = term, .holder = str_from(holder)};
}

static void ask(struct pq_conn *c, const char *job)
{
    struct train_request t = {.value = 0.9};
    struct err err = {0};
    assert_true(str_copy(str_from(job), t.job, sizeof t.job));
    assert_true(str_copy(STR("p"), t.policy, sizeof t.policy));
    assert_int_equal(train_queue_put(c, &t, STR("{}"), &err), 0);
}

static bool take(struct pq_conn *c, const struct leader_claim *by)
{
    struct train_request t;
    struct err err = {0};
    bool found = false;
    assert_int_equal(train_queue_take(c, by, &t, &found, &err), 0);
    return found;
}

static void a_run_whose_end_was_not_written_is_taken_again_by_the_same_leader(void **state)
{
    struct pq_conn *c = fixture_connect(*state);
    const struct leader_claim a = claim(1, "a");
    struct err err = {0};
    ask(c, "00000000-0000-7000-8000-000000000001");
    for (int i = 0; i < TRAIN_TRIES_MAX; i++) /* Its connection went before it could say so. */
        assert_true(take(c, &a));
    assert_false(take(c, &a));
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM job WHERE state = 'failed'"), 1);
    ask(c, "00000000-0000-7000-8000-000000000002"); /* It keeps nobody out. */
    assert_true(take(c, &a));
    assert_int_equal(train_queue_end(c, &a, "00000000-0000-7000-8000-000000000002", true, STR(""),
                                     STR("{}"), &err),
                     0);
    assert_false(take(c, &a));
    pq_conn_close(c);
}

static void f11_a_deposed_leader_neither_takes_nor_ends_a_run(void **state)
{
    struct pq_conn *c = fixture_connect(*state);
    const char *job = "00000000-0000-7000-8000-000000000003";
    const struct leader_claim a = claim(5, "a"), b = claim(6, "b");
    struct train_request t;
    struct err err = {0};
    bool found = false;
    ask(c, job);
    assert_true(take(c, &a));
    assert_false(leader_is_deposed(c, &a));
    assert_true(take(c, &b));
    assert_true(leader_is_deposed(c, &a));
    assert_int_equal(train_queue_take(c, &a, &t, &found, &err), ERR_CONFLICT);
    assert_int_equal(train_queue_end(c, &a, job, true, STR(""), STR("{}"), &err), ERR_CONFLICT);
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM job WHERE state = 'running'"), 1);
    assert_int_equal(train_queue_end(c, &b, job, true, STR(""), STR("{}"), &err), 0);
    assert_false(leader_is_deposed(c, &b));
    pq_conn_close(c);
}

static int setup(void **state)
{
    struct err err = {0};
    cluster_start();
    *state = (void *)(uintptr_t)cluster_database("train_queue", true);
    struct pq_conn *c = fixture_connect(*state);
    assert_int_equal(
        pq_conn_script(c,
                       "INSERT INTO policy_params (sha256, body) VALUES ('\\x01', ''); INSERT INTO "
                       "policy_version (name, version, state, params, created_by) VALUES ('p', 1, "
                       "'current', '\\x01', 'test')",
                       &err),
        0);
    pq_conn_close(c);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_whose_end_was_not_written_is_taken_again_by_the_same_leader),
        cmocka_unit_test(f11_a_deposed_leader_neither_takes_nor_ends_a_run),
    };
    return cmocka_run_group_tests(tests, setup, fixture_stop_cluster);
}
