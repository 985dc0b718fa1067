/* The workload against the simulated provider itself, and its summaries side by side. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/net/fetch.h"
#include "deploy/simulator/simulator.h"
#include "deploy/workload/workload.h"

struct fixture {
    uv_loop_t loop;
    uv_async_t stop;
    struct simulator *sim;
    pthread_t thread;
    char url[64];
};

static void on_stop(uv_async_t *async)
{
    struct fixture *f = async->data;
    simulator_close(f->sim, NULL, NULL);
    uv_close((uv_handle_t *)async, NULL);
}

static void *run(void *arg)
{
    uv_run(&((struct fixture *)arg)->loop, UV_RUN_DEFAULT);
    return NULL;
}

static int start(void **state)
{
    static struct fixture f;
    struct err err = {0};
    struct simulator_config config = {.address = "127.0.0.1:0", .seed = 1};
    assert_int_equal(fetch_global_init(&err), 0);
    assert_int_equal(uv_loop_init(&f.loop), 0);
    assert_int_equal(simulator_start(&f.loop, &config, &f.sim, &err), 0);
    uv_async_init(&f.loop, &f.stop, on_stop);
    f.stop.data = &f;
    snprintf(f.url, sizeof(f.url), "http://127.0.0.1:%u", simulator_port(f.sim));
    assert_int_equal(pthread_create(&f.thread, NULL, run, &f), 0);
    *state = &f;
    return 0;
}

static int stop(void **state)
{
    struct fixture *f = *state;
    uv_async_send(&f->stop);
    pthread_join(f->thread, NULL);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    fetch_global_deinit();
    return 0;
}

static void send_all(const struct fixture *f, const char *model, const char *label, uint64_t seed,
                     struct workload_summary *out)
{
    struct err err = {0};
    struct workload_config config = {.url = f->url,
                                     .key = "any",
                                     .models = {model},
                                     .model_count = 1,
                                     .count = 200,
                                     .concurrency = 8,
                                     .seed = seed,
                                     .label = label,
                                     .quiet = true};
    assert_int_equal(workload_run(&config, out, &err), 0);
}

static void every_answer_is_graded_and_the_better_model_is_better(void **state)
{
    struct workload_summary strong, weak, again;
    send_all(*state, "sim-strong", "strong", 1, &strong);
    send_all(*state, "sim-weak", "weak", 1, &weak);
    send_all(*state, "sim-weak", "weak", 1, &again);
    assert_int_equal(strong.requests, 200);
    assert_int_equal(strong.failed, 0);
    assert_true(strong.right > 185);
    assert_true(weak.right < 150 && weak.right > 30);
    assert_int_equal(weak.right, again.right); /* The same tasks, the same answers. */
    assert_int_equal(strong.unpriced, 200);    /* Only the gateway knows prices. */
}

static void a_model_that_is_not_there_is_a_failure_with_its_reason(void **state)
{
    struct workload_summary s;
    send_all(*state, "sim-none", "none", 1, &s);
    assert_int_equal(s.failed, 200);
    assert_non_null(strstr(s.first_error, "no such model"));
}

static void summaries_are_compared_to_the_best(void **state)
{
    (void)state;
    struct workload_summary best = {.requests = 100,
                                    .right = 96,
                                    .cost_nanousd = 2000000,
                                    .served = {{"big", 100}},
                                    .served_count = 1};
    struct workload_summary after = {.requests = 100,
                                     .right = 92,
                                     .cost_nanousd = 500000,
                                     .served = {{"small", 60}, {"big", 40}},
                                     .served_count = 2};
    char dir[] = "/tmp/sy-workload-XXXXXX", first[64], second[64];
    struct err err = {0};
    struct buf text;
    assert_non_null(mkdtemp(dir));
    snprintf(first, sizeof(first), "%s/a.json", dir);
    snprintf(second, sizeof(second), "%s/b.json", dir);
    buf_init(&text, 65536);
    assert_int_equal(workload_write_json("best", &best, &text), 0);
    assert_int_equal(buf_write_file(buf_str(&text), first, 0644, &err), 0);
    buf_clear(&text);
    assert_int_equal(workload_write_json("after", &after, &text), 0);
    assert_int_equal(buf_write_file(buf_str(&text), second, 0644, &err), 0);
    buf_clear(&text);
    char *const paths[] = {first, second};
    assert_int_equal(workload_compare(paths, 2, "best", &text, &err), 0);
    const char *row = strstr(buf_cstr(&text), "after");
    assert_non_null(row);
    assert_non_null(strstr(row, "0.0050")); /* USD per 1,000 requests. */
    assert_non_null(strstr(row, "95.8 %")); /* 92 of 96. */
    assert_non_null(strstr(row, "25.0 %")); /* Of the cost. */
    assert_non_null(strstr(row, "small 60 %, big 40 %"));
    char *const missing[] = {first, dir};
    buf_clear(&text);
    assert_int_not_equal(workload_compare(missing, 2, "best", &text, &err), 0);
    buf_deinit(&text);
    unlink(first);
    unlink(second);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_answer_is_graded_and_the_better_model_is_better),
        cmocka_unit_test(a_model_that_is_not_there_is_a_failure_with_its_reason),
        cmocka_unit_test(summaries_are_compared_to_the_best),
    };
    return cmocka_run_group_tests_name("workload", tests, start, stop);
}
