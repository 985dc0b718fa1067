/* What a node knows of idempotency keys: who asks first has it, for a day and within its room. */
#include "dataplane/request/idempotency_table.h"

#include <string.h>
#include <uv.h>

#include "tests/lib/fault.h"

#define LEAST (IDEMPOTENCY_BYTES_MIN * IDEMPOTENCY_PART)

static struct sha256 digest(unsigned n)
{
    return digest_sha256(&n, sizeof n);
}

static struct idempotency_entry *claim(struct idempotency_table *t, unsigned name, unsigned body,
                                       uint64_t now_ms, enum idempotency_state expected)
{
    struct idempotency_entry *e;
    uint64_t dropped;
    const struct sha256 named = digest(name), asked = digest(body);
    assert_int_equal(idempotency_claim(t, &named, &asked, now_ms, &e, &dropped), expected);
    assert_int_equal(e != NULL, expected == IDEMPOTENCY_CLAIMED || expected == IDEMPOTENCY_DONE);
    return e;
}

static int keep(struct idempotency_table *t, struct idempotency_entry *e, struct str body,
                uint64_t *out_dropped)
{
    return idempotency_keep(t, e,
                            &(struct idempotency_answer){.status = 201,
                                                         .content_type = STR("text/odd"),
                                                         .decision = STR("id"),
                                                         .policy = STR("p@1"),
                                                         .provider = STR("one"),
                                                         .model = STR("small"),
                                                         .body = body},
                            out_dropped);
}

static void answer(struct idempotency_table *t, unsigned name, uint64_t now_ms, struct str body)
{
    uint64_t dropped;
    struct idempotency_entry *e = claim(t, name, name, now_ms, IDEMPOTENCY_CLAIMED);
    assert_int_equal(keep(t, e, body, &dropped), 0);
    idempotency_release(t, e);
}

static void b26_who_asks_first_has_it_until_it_is_answered_or_given_up(void **state)
{
    (void)state;
    struct idempotency_table *t = idempotency_table_create(LEAST);
    const uint64_t empty = idempotency_bytes(t);
    struct idempotency_entry *first = claim(t, 1, 1, 0, IDEMPOTENCY_CLAIMED);
    (void)claim(t, 1, 1, 5, IDEMPOTENCY_RUNNING);
    (void)claim(t, 1, 2, 5, IDEMPOTENCY_OTHER);
    idempotency_release(t, first);
    assert_int_equal(idempotency_bytes(t), empty);
    answer(t, 1, 6, STR("said"));
    (void)claim(t, 1, 2, 7, IDEMPOTENCY_OTHER);
    struct idempotency_entry *again = claim(t, 1, 1, 7, IDEMPOTENCY_DONE);
    const struct idempotency_answer *a = idempotency_answer(again);
    assert_int_equal(a->status, 201);
    assert_true(str_is(a->content_type, "text/odd") && str_is(a->decision, "id") &&
                str_is(a->policy, "p@1") && str_is(a->provider, "one") &&
                str_is(a->model, "small") && str_is(a->body, "said"));
    idempotency_release(t, again);
    idempotency_table_destroy(t);
}

static void an_answer_is_there_for_a_day_and_a_request_as_long_as_it_runs(void **state)
{
    (void)state;
    struct idempotency_table *t = idempotency_table_create(LEAST);
    struct idempotency_entry *runs = claim(t, 1, 1, 0, IDEMPOTENCY_CLAIMED);
    answer(t, 2, 0, STR("said"));
    idempotency_release(t, claim(t, 2, 2, IDEMPOTENCY_KEPT_MS - 1, IDEMPOTENCY_DONE));
    struct idempotency_entry *held = claim(t, 2, 2, IDEMPOTENCY_KEPT_MS - 1, IDEMPOTENCY_DONE);
    struct idempotency_entry *anew = claim(t, 2, 2, IDEMPOTENCY_KEPT_MS, IDEMPOTENCY_CLAIMED);
    assert_true(str_is(idempotency_answer(held)->body, "said"));
    (void)claim(t, 1, 1, IDEMPOTENCY_KEPT_MS, IDEMPOTENCY_RUNNING);
    idempotency_release(t, held);
    idempotency_release(t, anew);
    idempotency_release(t, runs);
    idempotency_table_destroy(t);
}

static void for_room_the_oldest_answers_go_and_never_what_runs(void **state)
{
    (void)state;
    static char text[IDEMPOTENCY_BYTES_MIN / IDEMPOTENCY_SHARE - 64];
    struct idempotency_table *t = idempotency_table_create(0);
    struct idempotency_entry *runs = claim(t, 100, 100, 0, IDEMPOTENCY_CLAIMED);
    uint64_t dropped = 0;
    for (unsigned i = 0; i < IDEMPOTENCY_SHARE - 1; i++)
        answer(t, i, i, (struct str){text, sizeof text});
    struct idempotency_entry *e = claim(t, 50, 50, 10, IDEMPOTENCY_CLAIMED);
    assert_int_equal(keep(t, e, (struct str){text, sizeof text}, &dropped), 0);
    assert_int_equal(dropped, 1);
    assert_true(idempotency_bytes(t) <= IDEMPOTENCY_BYTES_MIN);
    idempotency_release(t, e);
    idempotency_release(t, claim(t, 0, 0, 11, IDEMPOTENCY_CLAIMED));
    idempotency_release(t, claim(t, 1, 1, 11, IDEMPOTENCY_DONE));
    (void)claim(t, 100, 100, 11, IDEMPOTENCY_RUNNING);
    idempotency_release(t, runs);
    idempotency_table_destroy(t);
}

static void a_table_full_of_what_runs_takes_nothing_more(void **state)
{
    (void)state;
    static struct idempotency_entry *held[IDEMPOTENCY_BYTES_MIN / 64];
    struct idempotency_table *t = idempotency_table_create(0);
    unsigned n = 0;
    enum idempotency_state last = IDEMPOTENCY_CLAIMED;
    for (; last == IDEMPOTENCY_CLAIMED; n += last == IDEMPOTENCY_CLAIMED) {
        uint64_t dropped;
        const struct sha256 name = digest(n);
        assert_true(n < sizeof held / sizeof held[0]);
        last = idempotency_claim(t, &name, &name, 0, &held[n], &dropped);
        assert_int_equal(dropped, 0);
    }
    assert_int_equal(last, IDEMPOTENCY_FULL);
    assert_true(n > 1000 && idempotency_bytes(t) <= IDEMPOTENCY_BYTES_MIN);
    idempotency_release(t, held[--n]);
    idempotency_release(t, claim(t, 77777, 1, 0, IDEMPOTENCY_CLAIMED));
    while (n > 0)
        idempotency_release(t, held[--n]);
    idempotency_table_destroy(t);
}

static void an_answer_that_is_too_long_or_finds_no_memory_leaves_the_request_as_it_is(void **state)
{
    (void)state;
    static char text[IDEMPOTENCY_BYTES_MIN / IDEMPOTENCY_SHARE + 1];
    struct idempotency_table *t = idempotency_table_create(0);
    struct idempotency_entry *e = claim(t, 1, 1, 0, IDEMPOTENCY_CLAIMED);
    uint64_t dropped;
    assert_int_equal(keep(t, e, (struct str){text, sizeof text}, &dropped), ERR_TOO_LARGE);
    fault_arm_alloc(0);
    assert_int_equal(keep(t, e, STR("said"), &dropped), ERR_NOMEM);
    assert_true(fault_disarm());
    (void)claim(t, 1, 1, 1, IDEMPOTENCY_RUNNING);
    idempotency_release(t, e);
    fault_arm_alloc(0);
    (void)claim(t, 1, 1, 1, IDEMPOTENCY_FULL);
    assert_true(fault_disarm());
    fault_arm_alloc(0);
    assert_null(idempotency_table_create(0));
    assert_true(fault_disarm());
    idempotency_table_destroy(t);
}

/* --- threads ---------------------------------------------------------------------------------- */

#define THREADS 4
#define NAMES   300U

struct racer {
    struct idempotency_table *table;
    unsigned claimed, told;
};

static void race(void *arg)
{
    struct racer *r = arg;
    uint64_t dropped;
    for (unsigned name = 0; name < NAMES; name++) {
        struct idempotency_entry *e;
        const struct sha256 d = digest(name);
        switch (idempotency_claim(r->table, &d, &d, 0, &e, &dropped)) {
        case IDEMPOTENCY_CLAIMED:
            r->claimed += keep(r->table, e, STR("said"), &dropped) == 0;
            idempotency_release(r->table, e);
            break;
        case IDEMPOTENCY_DONE:
            r->told += str_is(idempotency_answer(e)->body, "said");
            idempotency_release(r->table, e);
            break;
        case IDEMPOTENCY_RUNNING:
            name--; /* Again. */
            break;
        case IDEMPOTENCY_OTHER:
        case IDEMPOTENCY_FULL:
            break;
        }
    }
}

static void of_many_threads_one_has_it_and_all_others_are_told(void **state)
{
    (void)state;
    uv_thread_t threads[THREADS];
    struct racer racers[THREADS] = {0};
    struct idempotency_table *t = idempotency_table_create(LEAST);
    unsigned claimed = 0, told = 0;
    for (size_t i = 0; i < THREADS; i++) {
        racers[i].table = t;
        assert_int_equal(uv_thread_create(&threads[i], race, &racers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(uv_thread_join(&threads[i]), 0);
        claimed += racers[i].claimed;
        told += racers[i].told;
    }
    assert_int_equal(claimed, NAMES);
    assert_int_equal(told, (THREADS - 1) * NAMES);
    idempotency_table_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(b26_who_asks_first_has_it_until_it_is_answered_or_given_up),
        cmocka_unit_test(an_answer_is_there_for_a_day_and_a_request_as_long_as_it_runs),
        cmocka_unit_test(for_room_the_oldest_answers_go_and_never_what_runs),
        cmocka_unit_test(a_table_full_of_what_runs_takes_nothing_more),
        cmocka_unit_test(an_answer_that_is_too_long_or_finds_no_memory_leaves_the_request_as_it_is),
        cmocka_unit_test(of_many_threads_one_has_it_and_all_others_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
