/* Roles without etcd, and the fence, against a real server. */
#include "controlplane/leader/leader.h"

#include "tests/lib/fault.h"
#include "tests/unit/controlplane/fixture.h"

struct replica {
    struct work *work;
    struct leader *leader;
    uint64_t told[LEADER_ROLES];
    unsigned changes;
};

static void on_change(void *arg, enum leader_role role, uint64_t term)
{
    struct replica *r = arg;
    r->told[role] = term;
    r->changes++;
}

static void open_replica(uv_loop_t *loop, struct replica *r, const char *db, const char *name)
{
    struct err err = {0};
    *r = (struct replica){0};
    const struct work_config work = {.conninfo = db, .application_name = "test-leader"};
    assert_int_equal(work_create(loop, &work, &r->work), 0);
    const struct leader_config config = {
        .work = r->work, .holder = name, .check_ms = 5, .on_change = on_change, .arg = r};
    assert_int_equal(leader_create(loop, &config, &r->leader, &err), 0);
    /* Nothing is known before Postgres said so. */
    assert_int_equal(leader_term(r->leader, LEADER_KEEPER), 0);
}

static void run_until(uv_loop_t *loop, const struct replica *r, bool leads)
{
    for (unsigned i = 0; i < LEADER_ROLES; i++) {
        while ((r->told[i] != 0) != leads)
            uv_run(loop, UV_RUN_ONCE);
    }
}

static void close_replica(uv_loop_t *loop, struct replica *r)
{
    bool closed = false;
    leader_close(r->leader, fixture_on_closed, &closed);
    fixture_run_until(loop, &closed);
    fixture_close_work(loop, r->work);
}

static int change(struct pq_conn *c, const struct leader_claim *claim)
{
    struct err err = {0};
    assert_int_equal(pq_conn_script(c, "BEGIN", &err), 0);
    int rc = leader_fence(c, claim, &err);
    if (rc == 0)
        rc = pq_conn_script(c, "INSERT INTO note VALUES (1)", &err);
    pq_conn_attempt(c, rc == 0 ? "COMMIT" : "ROLLBACK");
    return rc;
}

static void a_second_control_plane_takes_every_role_and_the_first_sees_it(void **state)
{
    uv_loop_t loop;
    struct replica a, b;
    struct leader_claim old, new, none = {.role = LEADER_KEEPER};
    struct pq_conn *c = fixture_connect(*state);
    fixture_exec(c, "CREATE TABLE note (n integer)");
    uv_loop_init(&loop);
    open_replica(&loop, &a, *state, "a");
    run_until(&loop, &a, true);
    assert_true(leader_is_first(a.leader, LEADER_RATES));
    assert_true(leader_get_claim(a.leader, LEADER_KEEPER, &old));
    assert_int_equal(change(c, &old), 0);
    open_replica(&loop, &b, *state, "b");
    run_until(&loop, &b, true);
    assert_false(leader_is_first(b.leader, LEADER_RATES));
    assert_true(leader_get_claim(b.leader, LEADER_KEEPER, &new));
    assert_true(new.term > old.term);
    /* Before the first one has seen it, too. */
    assert_int_equal(change(c, &old), ERR_CONFLICT);
    assert_int_equal(change(c, &new), 0);
    assert_int_equal(change(c, &none), ERR_CONFLICT);
    assert_int_equal(fixture_i64(c, "SELECT count(*) FROM note"), 2);
    run_until(&loop, &a, false);
    assert_false(leader_get_claim(a.leader, LEADER_KEEPER, &old));
    /* And it does not take them back, so that they do not go to and fro. */
    unsigned changes = b.changes;
    close_replica(&loop, &a);
    assert_int_equal(b.changes, changes);
    assert_int_equal(leader_term(b.leader, LEADER_TRAINER), b.told[LEADER_TRAINER]);
    close_replica(&loop, &b);
    assert_int_equal(uv_loop_close(&loop), 0);
    pq_conn_close(c);
}

static void one_role_that_is_refused_ends_and_the_others_stay(void **state)
{
    uv_loop_t loop;
    struct replica a;
    uv_loop_init(&loop);
    open_replica(&loop, &a, *state, "a");
    run_until(&loop, &a, true);
    uint64_t term = leader_term(a.leader, LEADER_ROLLOUT);
    leader_deposed(a.leader, LEADER_ROLLOUT, term - 1); /* Of long ago. */
    assert_int_equal(leader_term(a.leader, LEADER_ROLLOUT), term);
    leader_deposed(a.leader, LEADER_ROLLOUT, term);
    assert_int_equal(leader_term(a.leader, LEADER_ROLLOUT), 0);
    assert_true(a.told[LEADER_ROLLOUT] != 0); /* Told later, not from inside the call. */
    while (a.told[LEADER_ROLLOUT] != 0)
        uv_run(&loop, UV_RUN_ONCE);
    assert_true(leader_term(a.leader, LEADER_TRAINER) != 0);
    close_replica(&loop, &a);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void who_resigns_ends_every_role_and_takes_none_again(void **state)
{
    uv_loop_t loop;
    struct replica a, b;
    uv_loop_init(&loop);
    open_replica(&loop, &a, *state, "a");
    leader_resign(a.leader); /* Its first claim is under way. */
    leader_resign(a.leader);
    open_replica(&loop, &b, *state, "b");
    run_until(&loop, &b, true);
    for (unsigned i = 0; i < LEADER_ROLES; i++)
        assert_int_equal(leader_term(a.leader, (enum leader_role)i), 0);
    leader_resign(b.leader);
    assert_int_equal(leader_term(b.leader, LEADER_TRAINER), 0);
    run_until(&loop, &b, false);
    close_replica(&loop, &a);
    close_replica(&loop, &b);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static int setup(void **state)
{
    cluster_start();
    *state = (void *)(uintptr_t)cluster_database("leader", true);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_control_plane_takes_every_role_and_the_first_sees_it),
        cmocka_unit_test(one_role_that_is_refused_ends_and_the_others_stay),
        cmocka_unit_test(who_resigns_ends_every_role_and_takes_none_again),
    };
    return cmocka_run_group_tests(tests, setup, fixture_stop_cluster);
}
