/* What fits into a ring when the writer hangs, and what is refused. */
#include <string.h>

#include "tests/unit/dataplane/spool_fixture.h"

static struct found found;

static void f7_a_full_ring_refuses_intents_and_has_room_for_every_outcome(void **state)
{
    struct world *w = *state;
    static struct spool_intent *open[1024];
    open_set(w, 0, 0);
    hold_writer(w);
    uint32_t n = 0;
    int rc;
    while ((rc = begin_in_ring(w, n, &open[n])) == 0)
        assert_true(++n < 1024);
    assert_int_equal(rc, ERR_NO_SPACE);
    assert_true(n > 10);
    sample_init(&sample, 0);
    assert_int_equal(spool_record(w->spool, &sample.d, &sample.o, NULL), ERR_NO_SPACE);
    uint64_t waiting = spool_set_ring_bytes(w->set);
    char id[RECORD_TEXT_BYTES_MAX + 100];
    memset(id, 'x', sizeof(id));
    for (uint32_t i = 0; i < n; i++) { /* With as much as one attempt can say. */
        sample_init(&sample, i);
        struct record_attempt many[RECORD_ATTEMPTS_MAX];
        for (uint32_t a = 0; a < RECORD_ATTEMPTS_MAX; a++) {
            many[a] = sample.attempts[0];
            many[a].provider_id = (struct str){.data = id, .len = sizeof(id)};
            many[a].fingerprint = a + 1;
            many[a].fingerprint_text = id;
            many[a].fingerprint_text_len = sizeof(id);
        }
        sample.o.attempts = many;
        sample.o.attempt_count = RECORD_ATTEMPTS_MAX; /* More than were announced. */
        sample.o.finish_reason = (struct str){.data = id, .len = sizeof(id)};
        sample.o.error_code = sample.o.finish_reason;
        spool_outcome(w->spool, open[i], &sample.o, NULL);
    }
    assert_true(spool_set_ring_bytes(w->set) > waiting);
    assert_true(spool_set_ring_bytes(w->set) <= SPOOL_RING_BYTES_MIN);
    assert_true(spool_set_refused(w->set) == 2);
    let_writer_go(w);
    spool_set_sync(w->set);
    assert_int_equal(spool_set_ring_bytes(w->set), 0);
    read_first(w, &found);
    assert_int_equal(found.records, n);
    assert_int_equal(found.gap_records, 0);
    one(w, n); /* There is room again. */
}

static void too_many_open_requests_are_refused(void **state)
{
    struct world *w = *state;
    struct spool_options options = {.dir = w->dir,
                                    .spools = 1,
                                    .open_max = 4,
                                    .ring_bytes = SPOOL_RING_BYTES_MIN,
                                    .sync_ms = 3600000,
                                    .drain_ms = 3600000};
    struct spool_intent *open[5];
    assert_int_equal(spool_set_create(&options, &w->set, NULL, NULL), 0);
    w->spool = spool_set_spool(w->set, 0);
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 4; i++)
            assert_int_equal(begin_in_ring(w, i, &open[i]), 0);
        assert_int_equal(begin_in_ring(w, 4, &open[4]), ERR_LIMIT);
        for (uint32_t i = 0; i < 4; i++)
            end_in_ring(w, i, open[(i + round) % 4]);
        if (round == 1)
            spool_set_drain(w->set);
    }
}

/* Requests that come and end, until one has no room. */
static uint32_t fill(struct world *w, uint32_t number)
{
    struct spool_intent *intent = NULL;
    uint32_t n = 0;
    for (; begin_in_ring(w, number + n, &intent) == 0; n++)
        end_in_ring(w, number + n, intent);
    return n;
}

/* Whose provider failed while the disk stands still asks another one. */
static void a_full_ring_has_room_for_what_open_requests_try_next(void **state)
{
    struct world *w = *state;
    enum { REQUESTS = 128 };
    static struct spool_intent *open[REQUESTS];
    const struct record_attempt later = {.model = 1, .server = STR("local/later"), .start_us = 99};
    struct spool_options options = {.dir = w->dir,
                                    .spools = 1,
                                    .ring_bytes = 1U << 22,
                                    .sync_ms = 3600000,
                                    .drain_ms = 3600000};
    assert_int_equal(spool_set_create(&options, &w->set, NULL, NULL), 0);
    w->spool = spool_set_spool(w->set, 0);
    hold_writer(w);
    for (uint32_t i = 0; i < REQUESTS; i++)
        assert_int_equal(begin_in_ring(w, i, &open[i]), 0);
    const uint32_t n = fill(w, REQUESTS);
    for (uint32_t round = 0; round < 3; round++)
        for (uint32_t i = 0; i < REQUESTS; i++)
            assert_int_equal(spool_attempt(w->spool, open[i], &later, NULL), 0);
    let_writer_go(w);
    assert_int_equal(spool_set_refused(w->set), 1);
    for (uint32_t i = 0; i < REQUESTS; i++)
        end_in_ring(w, i, open[i]);
    spool_set_sync(w->set);
    read_first(w, &found);
    assert_int_equal(found.records, REQUESTS + n);
    one(w, REQUESTS + n); /* There is room again. */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(f7_a_full_ring_refuses_intents_and_has_room_for_every_outcome),
        TEST(too_many_open_requests_are_refused),
        TEST(a_full_ring_has_room_for_what_open_requests_try_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
