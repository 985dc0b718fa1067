/* steelyard doctor against an admin API and a node that answer from one table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/controlplane/ctl_fixture.h"

#define KEY    "op-key" /* The one that the fixture lets in. */
#define UP     "{\"version\":\"1.0\",\"database\":{\"ok\":true,\"schema\":13},\"nodes\":"
#define WHOLE  "{\"choices\":[{\"message\":{\"role\":\"assistant\",\"content\":\"391\"}}]}"
#define STREAM "data: {\"choices\":[{\"delta\":{\"content\":\"391\"}}]}\n\ndata: [DONE]\n\n"

static void answer_all(struct fake_admin *a, const char *nodes, unsigned node_status,
                       const char *reply)
{
    static char status[512]; /* Borrowed by the fixture. */
    (void)snprintf(status, sizeof status, UP "%s}", nodes);
    a->answer_count = 0;
    fake_admin_answer(a, "GET /api/v1/status", 200, status);
    fake_admin_answer(a, "POST /api/v1/keys", 201, "{\"id\":\"K1\",\"key\":\"" KEY "\"}");
    fake_admin_answer(a, "POST /api/v1/keys/K1/delete", 200, "{}");
    fake_admin_answer(a, "GET /v1/models", node_status, "{}");
    fake_admin_answer(a, "POST /v1/chat/completions", 200, reply);
    a->answers[a->answer_count - 1].uses = 1;
    fake_admin_answer(a, "POST /v1/chat/completions", 200, STREAM);
}

#define GOOD_NODES "[{\"connected\":true,\"lag_generations\":0},{\"connected\":false}]"

static struct ran doctor(struct fake_admin *a, const char *model)
{
    return ctl_do_at(a, WORDS("doctor", "--in-cluster", "--node", a->url, "--timeout", "60s",
                              "--output", "json", model != NULL ? "--model" : "-q",
                              model != NULL ? model : "-q"));
}

static void all_is_well_and_the_key_is_taken_back(void **state)
{
    struct fake_admin *a = *state;
    answer_all(a, GOOD_NODES, 200, WHOLE);
    struct ran r = doctor(a, "auto");
    if (r.code != 0)
        fail_msg("%s%s", r.out, r.err);
    assert_null(strstr(r.out, "failed"));
    assert_non_null(strstr(r.out, "stream"));
    assert_int_equal(a->used[2], 1);
    ran_free(&r);
}

static void no_model_means_no_answer_is_asked_for(void **state)
{
    struct fake_admin *a = *state;
    answer_all(a, GOOD_NODES, 200, WHOLE);
    struct ran r = doctor(a, NULL);
    assert_int_equal(r.code, 0);
    assert_int_equal(a->used[4] + a->used[5], 0);
    assert_non_null(strstr(r.out, "skipped"));
    assert_int_equal(a->used[2], 1);
    ran_free(&r);
}

static void what_is_wrong_is_named_and_is_exit_10(void **state)
{
    struct fake_admin *a = *state;
    static const struct {
        const char *nodes;
        unsigned node_status;
        const char *reply, *says;
    } cases[] = {
        {"[]", 200, WHOLE, "0 connected"},
        {"[{\"connected\":true,\"lag_generations\":2}]", 200, WHOLE, "0 of them up to date"},
        {GOOD_NODES, 404, WHOLE, "answers 404"},
        {GOOD_NODES, 200, "{\"choices\":[]}", "not an answer"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        memset(a->used, 0, sizeof a->used);
        answer_all(a, cases[i].nodes, cases[i].node_status, cases[i].reply);
        struct ran r = doctor(a, "auto");
        assert_int_equal(r.code, 10);
        if (strstr(r.out, cases[i].says) == NULL)
            fail_msg("'%s' is not in %s", cases[i].says, r.out);
        assert_int_equal(a->used[2], 1); /* Taken back, whatever came. */
        ran_free(&r);
    }
}

static void in_a_cluster_nothing_is_guessed(void **state)
{
    (void)state;
    struct ran r = ctl_do(WORDS("doctor", "--in-cluster"));
    assert_int_equal(r.code, 2);
    assert_non_null(strstr(r.err, "--server and --node"));
    ran_free(&r);
}

static void an_unreachable_control_plane_is_exit_6(void **state)
{
    (void)state;
    struct ran r = ctl_do(WORDS("doctor", "--in-cluster", "-s", "http://127.0.0.1:1", "--node",
                                "http://127.0.0.1:1"));
    assert_int_equal(r.code, 6);
    assert_non_null(strstr(r.out, "control"));
    ran_free(&r);
}

#define WITH_ADMIN(f) cmocka_unit_test_setup_teardown(f, ctl_start_admin, ctl_stop_admin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_ADMIN(all_is_well_and_the_key_is_taken_back),
        WITH_ADMIN(no_model_means_no_answer_is_asked_for),
        WITH_ADMIN(what_is_wrong_is_named_and_is_exit_10),
        cmocka_unit_test(in_a_cluster_nothing_is_guessed),
        cmocka_unit_test(an_unreachable_control_plane_is_exit_6),
    };
    return cmocka_run_group_tests_name("ctl_doctor", tests, ctl_start, ctl_stop);
}
