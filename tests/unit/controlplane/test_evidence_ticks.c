/* When policies are looked at, and what a worker is handed for it. The database, the role and the
 * worker are the test's own: a worker begins before work_submit has returned, as one may. */
#include "controlplane/evidence/evidence.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct publish_set set = {.era = 1, .generation = 1};

static struct world {
    bool refuse; /* The queue is full. */
    int references;
    unsigned looks;
    unsigned parts;
    uint64_t drifts, retrains;
    const struct publish_set *given;
    work_done_cb done; /* Of the look under way. */
    void *arg;
} world;

bool __wrap_leader_get_claim(const struct leader *l, enum leader_role role,
                             struct leader_claim *out_claim);
void __wrap_publish_set_ref(const struct publish_set *s);
void __wrap_publish_set_unref(const struct publish_set *s);
bool __wrap_pq_conn_in_transaction(const struct pq_conn *c);
int __wrap_work_submit(struct work *w, work_run_cb run, work_done_cb done, void *arg);
int __wrap_evidence_turn(struct pq_conn *c, const struct leader_claim *claim,
                         const struct publish_set *given, const struct evidence_policy *policy,
                         unsigned parts, int64_t now_us, struct evidence_seen *io_seen,
                         struct err *err);

bool __wrap_leader_get_claim(const struct leader *l, enum leader_role role,
                             struct leader_claim *out_claim)
{
    (void)l;
    *out_claim = (struct leader_claim){.role = role, .term = 7};
    return true;
}

void __wrap_publish_set_ref(const struct publish_set *s)
{
    assert_ptr_equal(s, &set);
    world.references++;
}

void __wrap_publish_set_unref(const struct publish_set *s)
{
    world.references -= s != NULL;
}

bool __wrap_pq_conn_in_transaction(const struct pq_conn *c)
{
    (void)c;
    return false;
}

int __wrap_work_submit(struct work *w, work_run_cb run, work_done_cb done, void *arg)
{
    struct err err = {0};
    (void)w;
    world.looks++;
    if (world.refuse)
        return ERR_BUSY;
    assert_int_equal(run(arg, NULL, &err), 0);
    world.done = done;
    world.arg = arg;
    return 0;
}

int __wrap_evidence_turn(struct pq_conn *c, const struct leader_claim *claim,
                         const struct publish_set *given, const struct evidence_policy *policy,
                         unsigned parts, int64_t now_us, struct evidence_seen *io_seen,
                         struct err *err)
{
    (void)c;
    (void)policy;
    (void)now_us;
    (void)io_seen;
    (void)err;
    assert_int_equal(claim->term, 7);
    world.given = given;
    world.parts = parts;
    world.drifts += (parts & EVIDENCE_DRIFT) != 0;
    world.retrains += (parts & EVIDENCE_RETRAIN) != 0;
    return 0;
}

static const struct publish_set *current(void *arg)
{
    (void)arg;
    return &set;
}

static bool one_policy(void *arg, size_t index, struct evidence_policy *out)
{
    (void)arg;
    *out = (struct evidence_policy){.name = "p"};
    return index == 0;
}

static void on_gone(void *arg)
{
    *(bool *)arg = true;
}

static void until_looked(uv_loop_t *loop)
{
    unsigned before = world.looks;
    while (world.looks == before)
        uv_run(loop, UV_RUN_ONCE);
}

static void end_look(void)
{
    work_done_cb done = world.done;
    world.done = NULL;
    done(world.arg, 0, NULL);
}

static struct evidence *begin(uv_loop_t *loop)
{
    const struct evidence_config config = {.current = current, .policy = one_policy, .tick_ms = 1};
    struct evidence *e = NULL;
    struct err err = {0};
    world = (struct world){0};
    assert_int_equal(uv_loop_init(loop), 0);
    assert_int_equal(evidence_start(loop, &config, &e, &err), 0);
    return e;
}

static void end(uv_loop_t *loop, struct evidence *e)
{
    bool gone = false;
    evidence_close(e, on_gone, &gone);
    if (world.done != NULL)
        end_look();
    while (!gone)
        uv_run(loop, UV_RUN_ONCE);
    assert_int_equal(world.references, 0);
    assert_int_equal(uv_loop_close(loop), 0);
}

static void a_worker_that_begins_at_once_has_the_configuration(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct evidence *e = begin(&loop);
    until_looked(&loop);
    assert_ptr_equal(world.given, &set);
    assert_int_equal(world.references, 1);
    end_look();
    assert_int_equal(world.references, 0);
    assert_int_equal(evidence_get_stats(e).turns, 1);
    until_looked(&loop);
    end(&loop, e); /* The look under way is awaited. */
}

static void a_full_queue_leaves_nothing_behind_and_the_next_tick_looks(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct evidence *e = begin(&loop);
    world.refuse = true;
    until_looked(&loop);
    assert_int_equal(world.references, 0);
    world.refuse = false;
    until_looked(&loop);
    assert_ptr_equal(world.given, &set);
    end(&loop, e);
}

static void drift_is_looked_for_every_twelfth_time_and_training_every_second(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct evidence *e = begin(&loop);
    for (int i = 0; i < 24; i++) {
        until_looked(&loop);
        assert_int_equal(world.parts & (EVIDENCE_LAMBDA | EVIDENCE_EXPLORE),
                         EVIDENCE_LAMBDA | EVIDENCE_EXPLORE);
        end_look();
    }
    assert_int_equal(world.drifts, 2);
    assert_int_equal(world.retrains, 12);
    end(&loop, e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_worker_that_begins_at_once_has_the_configuration),
        cmocka_unit_test(a_full_queue_leaves_nothing_behind_and_the_next_tick_looks),
        cmocka_unit_test(drift_is_looked_for_every_twelfth_time_and_training_every_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
