/* The driver: a request does one step after the other until it has to wait or has ended.
 *
 * Usual path: what may go on in a turn of the loop, by a body that is whole or a reply that has
 * ended, is gathered, and after the turn's events those are driven together: each does the next
 * step before any does the one after. So the code of a step is brought into the processor's caches
 * once a turn and not once a request (docs/decisions/0262). Whatever else drives a request does it
 * at once. */
#include <assert.h>
#include <string.h>

#include "common/base/clock.h"
#include "dataplane/request/steps.h"

#define POLL_MS 2U

enum progress { PROGRESS_ON, PROGRESS_WAITS, PROGRESS_ENDED };

unsigned request_tail(const struct request_path *path)
{
    unsigned n = 0;
    while (path->steps[n] != NULL)
        n++;
    return n - 2; /* account, report */
}

enum step_result request_answered(struct request *r)
{
    r->step = request_tail(r->path) - 1;
    return STEP_NEXT;
}

static inline enum progress take_step(struct request *r)
{
    step_fn step = r->path->steps[r->step];
    if (step == NULL) {
        request_end(r);
        return PROGRESS_ENDED;
    }
    r->wake = false;
    const enum step_result result = step(r);
    if (__builtin_expect(result == STEP_NEXT, 1)) {
        r->step++;
        return PROGRESS_ON;
    }
    if (result == STEP_FAIL) {
        assert(!r->failed); /* The tail never fails. */
        r->failed = true;
        r->step = request_tail(r->path);
        return PROGRESS_ON;
    }
    /* Or what it waits for came while it was still on the stack. */
    return r->wake ? PROGRESS_ON : PROGRESS_WAITS;
}

void request_run(struct request *r)
{
    request_run_at(r, clock_mono_ns());
}

void request_run_at(struct request *r, uint64_t now_ns)
{
    enum progress p;
    if (r->in_driver) {
        r->wake = true;
        return;
    }
    if (r->gathered) /* Its time comes within the turn. */
        return;
    r->in_driver = true;
    r->now_ns = now_ns;
    do
        p = take_step(r);
    while (p == PROGRESS_ON);
    /* The time of the last entry is added by `report`, which comes before the request is gone. */
    if (p == PROGRESS_ENDED)
        return;
    r->overhead_ns += clock_mono_ns() - now_ns;
    r->in_driver = false;
}

/* ---- together ---- */

/* May others do something before the next step of this one? Not where an answer lies in the
 * worker's buffer meanwhile, as without a call; and what is chosen must be there still when it is
 * reserved and asked. */
static bool may_part(const struct request *r)
{
    const struct request_path *p = r->path;
    const step_fn next = p->steps[r->step];
    return p->takes_call && !p->asks_only && !p->free &&
           (r->plenty || (next != step_reserve && next != step_attempt));
}

static void run_cohort(struct cohort *c)
{
    __attribute__((uninitialized)) struct request *members[COHORT_MAX];
    uint32_t count = c->count;
    memcpy(members, c->members, count * sizeof *members);
    c->count = 0;
    c->running = true;
    for (uint32_t i = 0; i < count; i++) {
        members[i]->gathered = false;
        members[i]->in_driver = true;
    }
    while (count > 0) {
        uint32_t kept = 0;
        uint64_t now_ns = 0; /* One look at the clock for all that wait from here on. */
        for (uint32_t i = 0; i < count; i++) {
            struct request *r = members[i];
            enum progress p;
            do
                p = take_step(r);
            while (p == PROGRESS_ON && (count == 1 || !may_part(r))); /* Alone none waits for it. */
            if (p == PROGRESS_ON)
                members[kept++] = r;
            if (p != PROGRESS_WAITS)
                continue;
            if (now_ns == 0)
                now_ns = clock_mono_ns();
            r->overhead_ns += now_ns - r->now_ns;
            r->in_driver = false;
        }
        count = kept;
    }
    c->running = false;
}

void request_go_on(struct request *r, uint64_t now_ns)
{
    struct cohort *c = &r->env->cohort;
    if (!c->open || c->running || r->in_driver) {
        request_run_at(r, now_ns);
        return;
    }
    if (r->gathered)
        return;
    if (c->count == COHORT_MAX)
        run_cohort(c);
    r->gathered = true;
    r->now_ns = now_ns;
    c->members[c->count++] = r;
}

/* After the events of a turn, before the loop's next one. What was said is sent here, to providers
 * first, and not where the loop comes round to it: for who waits alone that is time (0288). */
static void on_turn(uv_check_t *check)
{
    struct request_env *env = container_of(check, struct request_env, cohort.turn);
    struct cohort *c = &env->cohort;
    c->open = true;
    if (c->bring != NULL)
        c->bring(c->clients);
    upstream_work(&env->upstream);
    c->open = false;
    run_cohort(c);
    upstream_send(&env->upstream);
    if (c->send != NULL)
        c->send(c->clients);
}

/* ---- by the time ---- */

static void on_poll(uv_timer_t *timer)
{
    struct request_env *env = container_of(timer, struct request_env, poll_timer);
    struct list due;
    list_init(&due);
    for (struct list *n; (n = list_pop_front(&env->polled)) != NULL;)
        list_push_back(&due, n);
    for (struct list *n; (n = list_pop_front(&due)) != NULL;)
        request_run(container_of(n, struct request, poll_link));
    if (list_empty(&env->polled))
        uv_timer_stop(timer);
}

void request_poll(struct request *r)
{
    struct request_env *env = r->env;
    if (list_empty(&env->polled))
        uv_timer_start(&env->poll_timer, on_poll, POLL_MS, POLL_MS);
    if (list_empty(&r->poll_link))
        list_push_back(&env->polled, &r->poll_link);
}

/* ---- life ---- */

void driver_init(struct request_env *env)
{
    list_init(&env->polled);
    uv_timer_init(env->loop, &env->poll_timer);
    uv_check_init(env->loop, &env->cohort.turn);
    uv_check_start(&env->cohort.turn, on_turn);
    uv_unref((uv_handle_t *)&env->cohort.turn); /* It alone keeps no loop running. */
}

void driver_close(struct request_env *env)
{
    uv_close((uv_handle_t *)&env->poll_timer, NULL);
    uv_close((uv_handle_t *)&env->cohort.turn, NULL);
}
