#include "dataplane/state/rollouts.h"

#include <string.h>

#include "tests/lib/fault.h"

#define TTL_MS  UINT32_C(600000)
#define WALL_US INT64_C(1700000000000000)

/* A snapshot of nothing but rollouts, as rollouts.c sees one. */
struct stage {
    struct snapshot snapshot;
    struct snapshot_rollout list[3];
};

static unsigned events[4];
static uint64_t last_id;

static void on_event(void *user, uint64_t id, enum rollouts_event event)
{
    (void)user;
    events[event]++;
    last_id = id;
}

static void begin(struct rollouts *r)
{
    memset(events, 0, sizeof events);
    rollouts_init(r, on_event, NULL);
}

static struct rollouts_time at(uint64_t ms)
{
    return (struct rollouts_time){.mono_ms = 1000000 + ms, .wall_us = WALL_US + (int64_t)ms * 1000};
}

static void stage_add(struct stage *s, uint64_t id, const char *version)
{
    struct snapshot_rollout *r = &s->list[s->snapshot.rollout_count++];
    *r = (struct snapshot_rollout){.id = id,
                                   .state = ROLLOUT_STATE_CANARY,
                                   .ttl_ms = TTL_MS,
                                   .version = str_from(version),
                                   .gate = rollout_gate_create(id)};
    assert_non_null(r->gate);
    s->snapshot.rollouts = s->list;
}

static void stage_end(struct stage *s)
{
    for (uint32_t i = 0; i < s->snapshot.rollout_count; i++)
        rollout_gate_unref(s->list[i].gate);
    *s = (struct stage){0};
}

/* The next generation with the same rollout: gates are shared. */
static void stage_follow(struct stage *s, const struct stage *before, const char *version)
{
    *s = *before;
    s->snapshot.rollouts = s->list;
    for (uint32_t i = 0; i < s->snapshot.rollout_count; i++) {
        (void)rollout_gate_ref(s->list[i].gate);
        s->list[i].version = str_from(version);
    }
}

static bool open_at(const struct stage *s, uint32_t i)
{
    return snapshot_rollout_open(&s->list[i]);
}

static void a_canary_that_nobody_watches_reverts_when_its_ttl_ends(void **state)
{
    (void)state;
    static struct rollouts r;
    struct stage s = {0};
    begin(&r);
    stage_add(&s, 7, "a");
    rollouts_take(&r, &s.snapshot, true, at(0));
    assert_true(open_at(&s, 0));
    assert_int_equal(rollouts_expire(&r, at(TTL_MS - 1).mono_ms), 1);
    assert_true(open_at(&s, 0));
    assert_int_equal(rollouts_expire(&r, at(TTL_MS).mono_ms), 0);
    assert_false(open_at(&s, 0));
    assert_int_equal(events[ROLLOUTS_EXPIRED], 1);
    assert_int_equal(rollouts_open(&r), 0);
    rollouts_deinit(&r);
    stage_end(&s);
}

static void a_watched_canary_goes_on_however_long(void **state)
{
    (void)state;
    static struct rollouts r;
    struct stage s = {0};
    begin(&r);
    stage_add(&s, 7, "a");
    stage_add(&s, 8, "b");
    rollouts_take(&r, &s.snapshot, true, at(0));
    for (uint64_t ms = 10000; ms <= 3600000; ms += 10000) {
        rollouts_watch(&r, 7, false, at(ms));
        (void)rollouts_expire(&r, at(ms).mono_ms);
    }
    assert_true(open_at(&s, 0));
    assert_false(open_at(&s, 1)); /* Not this one: nobody named it. */
    assert_int_equal(last_id, 8);
    rollouts_deinit(&r);
    stage_end(&s);
}

static void an_expired_canary_comes_back_only_while_it_is_still_listed(void **state)
{
    (void)state;
    static struct rollouts r;
    struct stage s = {0}, next = {0};
    begin(&r);
    stage_add(&s, 7, "a");
    rollouts_take(&r, &s.snapshot, true, at(0));
    (void)rollouts_expire(&r, at(TTL_MS).mono_ms);
    rollouts_watch(&r, 7, false, at(TTL_MS + 1)); /* Said of another configuration. */
    assert_false(open_at(&s, 0));
    /* A generation that changes other things does not open it either. */
    stage_follow(&next, &s, "a");
    rollouts_take(&r, &next.snapshot, true, at(TTL_MS + 2));
    assert_false(open_at(&next, 0));
    rollouts_watch(&r, 7, true, at(TTL_MS + 3));
    assert_true(open_at(&next, 0));
    assert_int_equal(events[ROLLOUTS_REVIVED], 1);
    assert_true(open_at(&s, 0)); /* Requests that hold the snapshot before see the same. */
    (void)rollouts_expire(&r, at(2 * TTL_MS + 2).mono_ms);
    assert_true(open_at(&next, 0));
    (void)rollouts_expire(&r, at(2 * TTL_MS + 3).mono_ms);
    assert_false(open_at(&next, 0));
    rollouts_deinit(&r);
    stage_end(&s);
    stage_end(&next);
}

static void a_newer_generation_of_the_rollout_starts_its_ttl_anew(void **state)
{
    (void)state;
    static struct rollouts r;
    struct stage s = {0}, next = {0};
    begin(&r);
    stage_add(&s, 7, "a");
    rollouts_take(&r, &s.snapshot, true, at(0));
    (void)rollouts_expire(&r, at(TTL_MS).mono_ms);
    assert_false(open_at(&s, 0));
    stage_follow(&next, &s, "another stage");
    rollouts_take(&r, &next.snapshot, true, at(TTL_MS + 10));
    assert_true(open_at(&next, 0));
    assert_int_equal(rollouts_expire(&r, at(TTL_MS + 11).mono_ms), TTL_MS - 1);
    rollouts_deinit(&r);
    stage_end(&s);
    stage_end(&next);
}

static void an_aborted_rollout_never_serves_again_whatever_is_published(void **state)
{
    (void)state;
    static struct rollouts r;
    struct stage s = {0}, next = {0};
    begin(&r);
    stage_add(&s, 7, "a");
    rollouts_take(&r, &s.snapshot, true, at(0));
    rollouts_abort(&r, 7);
    assert_false(open_at(&s, 0));
    assert_int_equal(events[ROLLOUTS_ABORTED], 1);
    rollouts_abort(&r, 7);
    assert_int_equal(events[ROLLOUTS_ABORTED], 1);
    rollouts_watch(&r, 7, true, at(1));
    assert_false(open_at(&s, 0));
    stage_follow(&next, &s, "another stage");
    rollouts_take(&r, &next.snapshot, true, at(2));
    assert_false(open_at(&next, 0));
    /* Also one that is aborted before it comes. */
    rollouts_abort(&r, 9);
    stage_end(&s);
    stage_add(&s, 9, "c");
    rollouts_take(&r, &s.snapshot, true, at(3));
    assert_false(open_at(&s, 0));
    rollouts_deinit(&r);
    stage_end(&s);
    stage_end(&next);
}

static void what_is_published_no_more_is_closed_for_requests_that_hold_it_still(void **state)
{
    (void)state;
    static struct rollouts r;
    struct stage s = {0};
    struct stage empty = {0};
    begin(&r);
    stage_add(&s, 7, "a");
    rollouts_take(&r, &s.snapshot, true, at(0));
    rollouts_take(&r, &empty.snapshot, true, at(1));
    assert_false(open_at(&s, 0));
    assert_int_equal(events[ROLLOUTS_EXPIRED] + events[ROLLOUTS_ABORTED], 0);
    rollouts_watch(&r, 7, true, at(2));
    assert_false(open_at(&s, 0));
    rollouts_deinit(&r);
    stage_end(&s);
}

static void a_state_of_a_later_version_is_taken_as_aborted(void **state)
{
    (void)state;
    static struct rollouts r;
    struct stage s = {0};
    begin(&r);
    stage_add(&s, 7, "a");
    s.list[0].state = ROLLOUT_STATE_UNKNOWN;
    rollouts_take(&r, &s.snapshot, true, at(0));
    rollouts_watch(&r, 7, true, at(1));
    assert_false(open_at(&s, 0));
    rollouts_deinit(&r);
    stage_end(&s);
}

/* A process that ran until `ended`, watched last at 0, and the one after it. */
static void restart(struct rollouts *before, struct rollouts *after)
{
    struct buf file;
    buf_init(&file, ROLLOUTS_FILE_BYTES_MAX);
    assert_int_equal(rollouts_encode(before, &file), 0);
    rollouts_saved(before);
    assert_false(rollouts_need_save(before));
    rollouts_deinit(before);
    begin(after);
    assert_int_equal(rollouts_decode(after, buf_str(&file)), 0);
    buf_deinit(&file);
}

static void a_restart_within_the_ttl_goes_on_with_what_is_left_of_it(void **state)
{
    (void)state;
    static struct rollouts r, later;
    struct stage s = {0};
    begin(&r);
    stage_add(&s, 7, "a");
    rollouts_take(&r, &s.snapshot, true, at(0));
    assert_true(rollouts_need_save(&r));
    restart(&r, &later);
    stage_end(&s);
    stage_add(&s, 7, "a");
    rollouts_take(&later, &s.snapshot, false, at(400000));
    assert_true(open_at(&s, 0));
    assert_int_equal(rollouts_expire(&later, at(400000).mono_ms), TTL_MS - 400000);
    rollouts_deinit(&later);
    stage_end(&s);
}

static void a_canary_whose_ttl_ran_out_while_the_node_was_down_is_not_served(void **state)
{
    (void)state;
    static struct rollouts r, later;
    static const struct {
        int64_t wall_ms;
        bool listed; /* Of the file; else it is missing. */
    } rows[] = {{TTL_MS, true}, {-1, true}, {0, false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage s = {0};
        begin(&r);
        stage_add(&s, 7, "a");
        rollouts_take(&r, &s.snapshot, true, at(0));
        restart(&r, &later);
        if (!rows[i].listed)
            begin(&later);
        stage_end(&s);
        stage_add(&s, 7, "a");
        struct rollouts_time now = at(0); /* The monotonic clock began anew. */
        now.wall_us += rows[i].wall_ms * 1000;
        rollouts_take(&later, &s.snapshot, false, now);
        assert_false(open_at(&s, 0));
        assert_int_equal(rollouts_expire(&later, now.mono_ms), 0);
        rollouts_watch(&later, 7, true, now);
        assert_true(open_at(&s, 0));
        rollouts_deinit(&later);
        stage_end(&s);
    }
}

static void an_abort_is_remembered_over_restarts(void **state)
{
    (void)state;
    static struct rollouts r, later;
    struct stage s = {0};
    begin(&r);
    for (uint64_t id = 1; id <= ROLLOUTS_ABORTED_MAX + 5; id++)
        rollouts_abort(&r, id);
    restart(&r, &later);
    restart(&later, &r); /* And over a second one, in the same order. */
    stage_add(&s, ROLLOUTS_ABORTED_MAX + 5, "a");
    stage_add(&s, 6, "b");
    stage_add(&s, 5, "c"); /* More than are remembered have been aborted since. */
    rollouts_take(&r, &s.snapshot, true, at(0));
    assert_false(open_at(&s, 0));
    assert_false(open_at(&s, 1));
    assert_true(open_at(&s, 2));
    rollouts_deinit(&r);
    stage_end(&s);
}

static void watches_are_saved_once_a_minute_and_an_abort_at_once(void **state)
{
    (void)state;
    static struct rollouts r;
    struct stage s = {0};
    begin(&r);
    stage_add(&s, 7, "a");
    rollouts_take(&r, &s.snapshot, true, at(0));
    rollouts_saved(&r);
    rollouts_watch(&r, 7, true, at(60000));
    assert_false(rollouts_need_save(&r));
    rollouts_watch(&r, 7, true, at(60001));
    assert_true(rollouts_need_save(&r));
    rollouts_saved(&r);
    rollouts_abort(&r, 1);
    assert_true(rollouts_need_save(&r));
    rollouts_deinit(&r);
    stage_end(&s);
}

static void a_damaged_file_opens_nothing_wherever_it_is_cut_or_changed(void **state)
{
    (void)state;
    static struct rollouts r, later;
    struct stage s = {0};
    struct buf file;
    begin(&r);
    stage_add(&s, 7, "a");
    rollouts_abort(&r, 3);
    rollouts_take(&r, &s.snapshot, true, at(0));
    buf_init(&file, ROLLOUTS_FILE_BYTES_MAX);
    assert_int_equal(rollouts_encode(&r, &file), 0);
    for (size_t len = 0; len < file.len; len++) {
        begin(&later);
        assert_int_equal(rollouts_decode(&later, str_slice(buf_str(&file), 0, len)), ERR_CORRUPT);
        assert_int_equal(later.known_count + later.aborted_count, 0);
        file.data[len] ^= 1;
        assert_int_equal(rollouts_decode(&later, buf_str(&file)), ERR_CORRUPT);
        file.data[len] ^= 1;
    }
    begin(&later);
    assert_int_equal(rollouts_decode(&later, buf_str(&file)), 0);
    assert_int_equal(later.known_count, 1);
    assert_int_equal(later.aborted_count, 1);
    buf_deinit(&file);
    rollouts_deinit(&r);
    stage_end(&s);
}

static void saving_survives_each_failed_allocation(void **state)
{
    (void)state;
    static struct rollouts r;
    begin(&r);
    for (uint64_t id = 1; id <= 200; id++)
        rollouts_abort(&r, id);
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        struct buf file;
        buf_init(&file, ROLLOUTS_FILE_BYTES_MAX);
        fault_arm_alloc(n);
        int rc = rollouts_encode(&r, &file);
        fired = fault_disarm();
        assert_int_equal(rc, fired ? ERR_NOMEM : 0);
        buf_deinit(&file);
    }
    rollouts_deinit(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_canary_that_nobody_watches_reverts_when_its_ttl_ends),
        cmocka_unit_test(a_watched_canary_goes_on_however_long),
        cmocka_unit_test(an_expired_canary_comes_back_only_while_it_is_still_listed),
        cmocka_unit_test(a_newer_generation_of_the_rollout_starts_its_ttl_anew),
        cmocka_unit_test(an_aborted_rollout_never_serves_again_whatever_is_published),
        cmocka_unit_test(what_is_published_no_more_is_closed_for_requests_that_hold_it_still),
        cmocka_unit_test(a_state_of_a_later_version_is_taken_as_aborted),
        cmocka_unit_test(a_restart_within_the_ttl_goes_on_with_what_is_left_of_it),
        cmocka_unit_test(a_canary_whose_ttl_ran_out_while_the_node_was_down_is_not_served),
        cmocka_unit_test(an_abort_is_remembered_over_restarts),
        cmocka_unit_test(watches_are_saved_once_a_minute_and_an_abort_at_once),
        cmocka_unit_test(a_damaged_file_opens_nothing_wherever_it_is_cut_or_changed),
        cmocka_unit_test(saving_survives_each_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
