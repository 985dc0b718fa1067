/* While the disk stands still the spool's ring fills. What comes then waits for a moment: it is
 * served when the writer goes on, refused when it does not, and costs nothing when its client
 * leaves. */
#include <string.h>

#include "dataplane/telemetry/spool_internal.h"
#include "tests/unit/dataplane/node/charge_fixture.h"
#include "tests/unit/dataplane/node/replies.h"
#include "tests/unit/dataplane/node/rig.h"

#define WAIT_MS 1000U

/* The writer drains with the lock held, and so it stands before it as before a disk. */
static void stall(struct rig *r)
{
    pthread_mutex_lock(&r->spools->drain_lock);
}

static void go_on(struct rig *r)
{
    pthread_mutex_unlock(&r->spools->drain_lock);
}

static void ask_and_read(struct rig *r, unsigned status, bool script)
{
    struct rig_answer a;
    if (script)
        rig_script(r, 0, charge_whole_reply());
    rig_exchange(r, ASK, &a);
    assert_int_equal(a.status, status);
    if (status == 503) {
        assert_true(charge_says(&a, "\"code\":\"unavailable\""));
        assert_true(rig_has_header(&a, "retry-after: 1\r\n"));
    }
    buf_deinit(&a.body);
}

/* Votes until no request has room; then one asks, which waits. The provider is ready for it. */
static void fill(struct rig *r, struct rig_client *c)
{
    stall(r);
    while (!spool_is_behind(r->env.spool)) {
        const struct record_feedback vote = {.source = STR("eval")};
        assert_int_equal(spool_feedback(r->env.spool, &vote, NULL), 0);
    }
    rig_script(r, 0, charge_whole_reply());
    rig_connect(r, c);
    rig_ask(c, ASK);
    rig_until(r, rig_answered(c) || !list_empty(&r->env.polled));
    assert_false(rig_answered(c));
}

static bool counted(struct rig *r, const char *line)
{
    struct buf out;
    buf_init(&out, 1U << 20);
    assert_int_equal(metrics_write(r->metrics, METRICS_PROMETHEUS, &out), 0);
    const bool found = str_search(buf_str(&out), str_from(line)) >= 0;
    buf_deinit(&out);
    return found;
}

static void a_request_waits_for_the_writer_and_is_served(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    struct rig_answer a;
    rig_start(&r, NULL);
    ask_and_read(&r, 200, true);
    assert_false(counted(&r, "steelyard_spool_waits_total{"));
    fill(&r, &c);
    go_on(&r);
    rig_until(&r, rig_answered(&c));
    rig_answer_read(&c, &a);
    assert_int_equal(a.status, 200);
    buf_deinit(&a.body);
    rig_disconnect(&r, &c);
    assert_true(counted(&r, "steelyard_spool_waits_total{outcome=\"room\"} 1\n"));
    assert_int_equal(spool_set_refused(r.spools), 0);
    rig_stop(&r);
}

static void it_is_refused_when_the_writer_stays_away(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    rig_start(&r, NULL);
    fill(&r, &c);
    const uint64_t before_ms = uv_now(&r.loop);
    ask_and_read(&r, 503, false);
    assert_true(uv_now(&r.loop) - before_ms >= WAIT_MS);
    rig_until(&r, rig_answered(&c)); /* As was the one before it. */
    rig_disconnect(&r, &c);
    assert_true(counted(&r, "steelyard_spool_waits_total{outcome=\"in_vain\"} 2\n"));
    go_on(&r);
    rig_until(&r, spool_set_ring_bytes(r.spools) == 0);
    ask_and_read(&r, 200, false); /* What was ready for the first. */
    rig_stop(&r);
}

static void a_client_that_leaves_meanwhile_leaves_nothing_behind(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    rig_start(&r, NULL);
    fill(&r, &c);
    const uint64_t records = rig_records(&r);
    rig_disconnect(&r, &c);
    rig_until(&r, r.env.active_count == 0);
    assert_int_equal(rig_records(&r), records);
    assert_true(list_empty(&r.env.polled));
    go_on(&r);
    rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_waits_for_the_writer_and_is_served),
        cmocka_unit_test(it_is_refused_when_the_writer_stays_away),
        cmocka_unit_test(a_client_that_leaves_meanwhile_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
