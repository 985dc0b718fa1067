#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/priority.h"
#include "tests/lib/fault.h"

/* A thread that says who it is and stays until told to go; may start another one first. */
struct resident {
    pthread_t thread;
    pthread_barrier_t met;
    struct resident *starts;
    pid_t tid;
};

static void resident_start(struct resident *r);

static void *live(void *arg)
{
    struct resident *r = arg;
    r->tid = gettid();
    pthread_barrier_wait(&r->met);
    pthread_barrier_wait(&r->met);
    if (r->starts != NULL)
        resident_start(r->starts);
    pthread_barrier_wait(&r->met);
    pthread_barrier_wait(&r->met);
    return NULL;
}

static void resident_start(struct resident *r)
{
    assert_int_equal(pthread_barrier_init(&r->met, NULL, 2), 0);
    assert_int_equal(pthread_create(&r->thread, NULL, live, r), 0);
    pthread_barrier_wait(&r->met);
}

static void resident_end(struct resident *r)
{
    pthread_barrier_wait(&r->met);
    assert_int_equal(pthread_join(r->thread, NULL), 0);
    pthread_barrier_destroy(&r->met);
}

static void resident_go_on(struct resident *r)
{
    pthread_barrier_wait(&r->met);
    pthread_barrier_wait(&r->met);
}

static int nice_of(pid_t tid)
{
    return getpriority(PRIO_PROCESS, (id_t)tid);
}

static void threads_that_exist_and_those_they_start_stand_behind_the_callers(void **state)
{
    (void)state;
    const int usual = nice_of(0);
    const int behind = usual + PRIORITY_BEHIND_NICE < 19 ? usual + PRIORITY_BEHIND_NICE : 19;
    struct resident second = {.tid = 0}, first = {.starts = &second}, worker = {.tid = 0};
    resident_start(&first);
    priority_put_others_behind();
    resident_start(&worker);
    assert_int_equal(nice_of(first.tid), behind);
    assert_int_equal(sched_getscheduler(first.tid), SCHED_BATCH);
    assert_int_equal(nice_of(worker.tid), usual);
    assert_int_equal(sched_getscheduler(worker.tid), SCHED_OTHER);
    resident_go_on(&first);
    assert_int_equal(nice_of(second.tid), behind);
    assert_int_equal(sched_getscheduler(second.tid), SCHED_BATCH);

    priority_stand_behind();
    assert_int_equal(nice_of(0), behind);
    assert_int_equal(sched_getscheduler(0), SCHED_BATCH);
    assert_int_equal(nice_of(worker.tid), usual);
    /* Whoever is there already is not put further back. */
    priority_stand_behind();
    priority_put_others_behind();
    assert_int_equal(nice_of(0), behind);
    assert_int_equal(nice_of(first.tid), behind);

    resident_go_on(&second);
    resident_go_on(&worker);
    resident_end(&second);
    resident_end(&worker);
    resident_end(&first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_that_exist_and_those_they_start_stand_behind_the_callers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
