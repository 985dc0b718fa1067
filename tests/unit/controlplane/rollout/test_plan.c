/* What is kept as JSON: plans, counts, aborts that wait. */
#include "tests/lib/fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "controlplane/rollout/aborts.h"
#include "controlplane/rollout/store.h"

static int read_plan(const char *text, struct rollout_plan *plan, struct err *err)
{
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    plan_default(plan);
    int rc = plan_read(json, plan, err);
    json_decref(json);
    return rc;
}

static void a_plan_is_read_back_as_it_was_written(void **state)
{
    (void)state;
    struct rollout_plan plan, again;
    struct err err = {0};
    json_t *json = NULL;
    assert_int_equal(
        read_plan("{\"stages\":[0.5,{\"percent\":20,\"dwell\":\"45m\",\"requests\":7},100],"
                  "\"shadow\":{\"dwell\":\"2m\"},\"evidence\":[\"tokens\"],\"bucket\":\"3s\","
                  "\"ttl\":\"45s\","
                  "\"inconclusive\":\"rollback\",\"declared_saving\":0.25,"
                  "\"guards\":{\"latency\":{\"margin\":0.5},\"clamp\":{\"on\":false}}}",
                  &plan, &err),
        0);
    assert_int_equal(plan.machine.stages, 3);
    assert_int_equal(plan.machine.stage[0].share_bp, 50);
    assert_int_equal(plan.machine.stage[1].dwell_min_s, 2700);
    assert_int_equal(plan.machine.stage[1].requests_min, 7);
    assert_int_equal(plan.machine.stage[1].units_min, 25); /* As the default's 5 %. */
    assert_int_equal(plan.machine.stage[2].share_bp, 10000);
    assert_true(plan.rules.metric[GUARD_COST].goal == -0.25);
    assert_true(plan.rules.metric[GUARD_LATENCY].goal == 0.5);
    assert_false(plan.rules.metric[GUARD_CLAMP].on);
    assert_int_equal(plan_write(&plan, &json), 0);
    plan_default(&again);
    assert_int_equal(plan_read(json, &again, &err), 0);
    json_decref(json);
    assert_memory_equal(&again.machine.stage, &plan.machine.stage,
                        3 * sizeof plan.machine.stage[0]);
    assert_int_equal(again.machine.evidence, plan.machine.evidence);
    assert_int_equal(again.machine.inconclusive, ROLLOUT_INCONCLUSIVE_ROLLBACK);
    assert_int_equal(again.bucket_s, 3);
    assert_int_equal(again.machine.ttl_s, 45);
    for (unsigned i = 0; i < GUARD_METRICS; i++) {
        assert_true(again.rules.metric[i].alpha == plan.rules.metric[i].alpha);
        assert_true(again.rules.metric[i].goal == plan.rules.metric[i].goal);
        assert_true(again.rules.metric[i].on == plan.rules.metric[i].on);
    }
}

static void what_a_plan_may_not_say_is_refused_with_the_reason(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"{\"stages\":[]}", "1 to"},
        {"{\"stages\":[5,1,100]}", "not above"},
        {"{\"stages\":[1,5]}", "100 %"},
        {"{\"stages\":[{\"percent\":100,\"dwel\":\"1h\"}]}", "dwel"},
        {"{\"stages\":[0.001,100]}", "hundredths"},
        {"{\"shadow\":{\"dwell\":\"soon\"}}", "dwell"},
        {"{\"bucket\":\"6m\"}", "bucket"},
        {"{\"evidence\":[\"luck\"]}", "luck"},
        {"{\"evidence\":[\"cost\"],\"guards\":{\"cost\":{\"on\":false}}}", "off"},
        {"{\"guards\":{\"error\":{\"alpha\":0.5}}}", "0.05"},
        {"{\"guards\":{\"speed\":{}}}", "speed"},
        {"{\"inconclusive\":\"maybe\"}", "inconclusive"},
        {"{\"declared_saving\":2}", "declared_saving"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct rollout_plan plan;
        struct err err = {0};
        assert_int_equal(read_plan(bad[i][0], &plan, &err), ERR_INVALID);
        if (strstr(err.message, bad[i][1]) == NULL)
            fail_msg("%s: %s", bad[i][0], err.message);
    }
}

static void counts_are_read_back_as_they_were_written(void **state)
{
    (void)state;
    struct rollout_counts a = {.total = 12345678901, .units = 7, .cost = {1.25e9, 3}};
    struct rollout_counts b;
    json_t *json = NULL;
    a.requests[ROLLOUT_STAGES_MAX][1] = 99;
    a.units_event[GUARD_CLAMP] = 4;
    a.shadow_q = 0.5;
    assert_int_equal(counts_write(&a, &json), 0);
    counts_read(json, &b);
    json_decref(json);
    assert_memory_equal(&a, &b, sizeof a);
}

static void each_failed_allocation_of_a_document_is_reported(void **state)
{
    (void)state;
    struct rollout_plan plan;
    struct rollout_counts counts = {0};
    bool fired = true;
    plan_default(&plan);
    json_set_alloc_funcs(mem_alloc, mem_free);
    for (unsigned n = 0; fired; n++) {
        json_t *cfg = NULL, *numbers = NULL;
        uint64_t before = mem_live_bytes();
        fault_arm_alloc(n);
        int rc = plan_write(&plan, &cfg);
        int rc2 = rc == 0 ? counts_write(&counts, &numbers) : rc;
        fired = fault_disarm();
        assert_int_equal(rc2, fired ? ERR_NOMEM : 0);
        json_decref(cfg);
        json_decref(numbers);
        if (fired)
            assert_int_equal(mem_live_bytes(), before);
    }
    json_set_alloc_funcs(malloc, free);
}

static void an_abort_survives_a_restart_until_it_was_written(void **state)
{
    (void)state;
    char dir[] = "/tmp/sy-aborts.XXXXXX", path[64];
    static struct aborts a, b;
    struct err err = {0};
    assert_non_null(mkdtemp(dir));
    assert_int_equal(aborts_load(&a, dir, &err), 0);
    const struct abort_wish one = {
        .id = 17, .ts_us = 1795233600000000, .actor = "operator", .reason = "the \"news\"\n"};
    struct abort_wish two = one;
    two.id = 18;
    assert_int_equal(aborts_add(&a, &one, &err), 0);
    assert_int_equal(aborts_add(&a, &two, &err), 0);
    two.ts_us++;
    assert_int_equal(aborts_add(&a, &two, &err), 0); /* The first wish stays. */
    assert_int_equal(aborts_load(&b, dir, &err), 0);
    assert_int_equal(b.count, 2);
    assert_string_equal(b.item[0].reason, one.reason);
    assert_int_equal(b.item[1].ts_us, one.ts_us);
    aborts_remove(&b, 17);
    assert_int_equal(aborts_load(&a, dir, &err), 0);
    assert_true(a.count == 1 && aborts_has(&a, 18) && !aborts_has(&a, 17));
    for (int64_t i = 100; a.count < ABORTS_MAX; i++) {
        two.id = i;
        assert_int_equal(aborts_add(&a, &two, &err), 0);
    }
    two.id = 5;
    assert_int_equal(aborts_add(&a, &two, &err), ERR_LIMIT);
    snprintf(path, sizeof path, "%s/rollout-aborts.json", dir);
    assert_int_equal(buf_write_file(STR("[{\"id\":1}]"), path, 0600, &err), 0);
    assert_int_equal(aborts_load(&a, dir, &err), ERR_CORRUPT);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_is_read_back_as_it_was_written),
        cmocka_unit_test(what_a_plan_may_not_say_is_refused_with_the_reason),
        cmocka_unit_test(counts_are_read_back_as_they_were_written),
        cmocka_unit_test(each_failed_allocation_of_a_document_is_reported),
        cmocka_unit_test(an_abort_survives_a_restart_until_it_was_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
