#include <math.h>

#include "controlplane/rollout/event_guard.h"
#include "tests/lib/fault.h"

#define assert_near(a, b, most) assert_true(fabs((double)(a) - (double)(b)) <= (most))

struct seen {
    double pi;
    bool candidate;
};

static double log_m_of(double tolerated, const struct seen *events, size_t count)
{
    struct event_guard g;
    event_guard_init(&g, tolerated);
    for (size_t i = 0; i < count; i++)
        event_guard_event(&g, events[i].pi, events[i].candidate);
    return event_guard_log_m(&g);
}

static void the_published_vectors_come_out(void **state)
{
    (void)state;
    const struct seen one[] = {{.05, true}, {.05, true}, {.05, false}, {.05, true}};
    const struct seen two[] = {{.05, true}, {.05, true}, {.05, false}, {.25, true}, {.25, false}};
    assert_near(log_m_of(0, one, 4), 3.815335221, 1e-9);
    assert_near(log_m_of(0, two, 5), 2.273142811, 1e-9);
    assert_near(log_m_of(0.05, one, 4), 3.678952250, 1e-9);
}

static void four_of_the_candidates_events_in_a_row_are_not_yet_a_breach(void **state)
{
    (void)state;
    struct event_guard g;
    event_guard_init(&g, 0);
    for (int i = 0; i < 3; i++)
        event_guard_event(&g, .05, true);
    assert_true(event_guard_log_m(&g) < -log(.01));
    event_guard_event(&g, .05, true);
    assert_true(event_guard_log_m(&g) >= -log(.01));
    assert_false(event_guard_breached(&g, .01, 4));
    event_guard_event(&g, .05, true);
    assert_false(event_guard_breached(&g, .01, 2)); /* Two callers are not a crowd. */
    assert_true(event_guard_breached(&g, .01, 3));
}

static void nothing_is_said_before_the_first_event(void **state)
{
    (void)state;
    struct event_guard g;
    event_guard_init(&g, 0.1);
    assert_near(event_guard_log_m(&g), 0, 0);
    event_guard_fold(&g, &(struct event_cell){.exposures = {1000, 50}});
    assert_near(event_guard_log_m(&g), 0, 0);
    assert_int_equal(g.exposures[0], 1000);
    assert_int_equal(g.exposures[1], 50);
}

static void a_cell_says_what_its_events_say_one_by_one(void **state)
{
    (void)state;
    struct event_guard cells, events;
    event_guard_init(&cells, 0);
    event_guard_init(&events, 0);
    event_guard_fold(&cells, &(struct event_cell){.exposures = {950, 50}, .events = {7, 3}});
    event_guard_fold(&cells, &(struct event_cell){.exposures = {300, 100}, .events = {1, 2}});
    for (int i = 0; i < 10; i++)
        event_guard_event(&events, .05, i % 3 == 0 && i < 9);
    for (int i = 0; i < 3; i++)
        event_guard_event(&events, .25, i > 0);
    assert_near(event_guard_log_m(&cells), event_guard_log_m(&events), 1e-12);
    assert_int_equal(cells.events[0], events.events[0]);
    assert_int_equal(cells.events[1], events.events[1]);
}

static void a_cell_of_one_arm_only_adds_to_the_counts(void **state)
{
    (void)state;
    struct event_guard g;
    event_guard_init(&g, 0);
    event_guard_fold(&g, &(struct event_cell){.exposures = {0, 20}, .events = {0, 20}});
    event_guard_fold(&g, &(struct event_cell){.exposures = {20, 0}, .events = {20, 0}});
    assert_near(event_guard_log_m(&g), 0, 0);
    assert_int_equal(g.events[0], 20);
    assert_int_equal(g.events[1], 20);
}

static void a_tolerated_excess_is_no_breach_and_twice_that_is(void **state)
{
    (void)state;
    struct event_guard g;
    event_guard_init(&g, 0.5);
    for (int i = 0; i < 400; i++)
        event_guard_fold(&g, &(struct event_cell){.exposures = {500, 500}, .events = {20, 30}});
    assert_false(event_guard_breached(&g, .01, 1000));
    event_guard_init(&g, 0.5);
    for (int i = 0; i < 100; i++)
        event_guard_fold(&g, &(struct event_cell){.exposures = {500, 500}, .events = {20, 45}});
    assert_true(event_guard_breached(&g, .01, 1000));
}

static void a_clear_case_does_not_overflow(void **state)
{
    (void)state;
    struct event_guard g;
    event_guard_init(&g, EVENT_GUARD_TOLERATED_MAX);
    event_guard_fold(&g, &(struct event_cell){.exposures = {1000000, 10000}, .events = {0, 10000}});
    for (int i = 0; i < 1000; i++)
        event_guard_fold(
            &g, &(struct event_cell){.exposures = {99000000, 1000000}, .events = {0, 1000000}});
    assert_true(isfinite(event_guard_log_m(&g)));
    assert_true(event_guard_breached(&g, 1e-9, 3));
}

/* 6,400 exposures of stable, `events` in each `every`th cluster. */
static struct event_cell lumpy_cell(uint32_t every, uint64_t events)
{
    struct event_cell cell = {.exposures = {6400, 600}, .events = {0, 8}};
    for (uint32_t i = 0; i < EVENT_GUARD_CLUSTERS; i++) {
        cell.cluster_exposures[i] = 100;
        cell.cluster_events[i] = i % every == 0 ? events : 0;
        cell.events[0] += cell.cluster_events[i];
    }
    return cell;
}

static void events_that_come_in_lumps_must_be_more(void **state)
{
    (void)state;
    struct event_guard even, lumpy;
    event_guard_init(&even, 0);
    event_guard_init(&lumpy, 0);
    for (uint32_t i = 0; i < 20; i++) {
        const struct event_cell one = lumpy_cell(2, i % 2), eight = lumpy_cell(8, i % 2 * 4);
        event_guard_fold(&even, &one);
        event_guard_fold(&lumpy, &eight);
    }
    assert_int_equal(even.events[0], lumpy.events[0]);
    assert_near(event_guard_log_m(&even), event_guard_log_m(&lumpy), 1e-9);
    assert_true(event_guard_lumps(&even) > 1 && event_guard_lumps(&even) < 6);
    assert_true(event_guard_lumps(&lumpy) > 30);
    /* The same at an alpha that the one reaches and the other does not. */
    const double alpha = exp(-event_guard_log_m(&even) / 8);
    assert_true(event_guard_breached(&even, alpha, 100));
    assert_false(event_guard_breached(&lumpy, alpha, 100));
}

static void few_or_single_events_are_no_lumps(void **state)
{
    (void)state;
    struct event_guard g;
    event_guard_init(&g, 0);
    assert_near(event_guard_lumps(&g), 1, 0);
    const struct event_cell few = lumpy_cell(64, 19), all = lumpy_cell(1, 100);
    event_guard_fold(&g, &few);
    assert_near(event_guard_lumps(&g), 1, 0);
    event_guard_init(&g, 0);
    const struct event_cell even = lumpy_cell(1, 2);
    event_guard_fold(&g, &even);
    assert_near(event_guard_lumps(&g), 1, 0);
    event_guard_init(&g, 0);
    event_guard_fold(&g, &all); /* Everything fails. */
    assert_near(event_guard_lumps(&g), 1, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_vectors_come_out),
        cmocka_unit_test(four_of_the_candidates_events_in_a_row_are_not_yet_a_breach),
        cmocka_unit_test(nothing_is_said_before_the_first_event),
        cmocka_unit_test(a_cell_says_what_its_events_say_one_by_one),
        cmocka_unit_test(a_cell_of_one_arm_only_adds_to_the_counts),
        cmocka_unit_test(a_tolerated_excess_is_no_breach_and_twice_that_is),
        cmocka_unit_test(a_clear_case_does_not_overflow),
        cmocka_unit_test(events_that_come_in_lumps_must_be_more),
        cmocka_unit_test(few_or_single_events_are_no_lumps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
