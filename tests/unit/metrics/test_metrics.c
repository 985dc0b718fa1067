#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/metrics/metrics.h"
#include "tests/lib/fault.h"

enum { REQUESTS, COST, INFLIGHT, DURATION, BARE };
static const struct metrics_family families[] = {
    [REQUESTS] = {"t_requests_total", METRICS_COUNTER, "Requests.", 0, {"route", "code"}, {0}},
    [COST] = {"t_cost_usd_total", METRICS_COUNTER, "Cost.", 9, {"route"}, {0}},
    [INFLIGHT] = {"t_inflight", METRICS_GAUGE, "Now.", 0, {NULL}, {0}},
    [DURATION] = {"t_seconds", METRICS_HISTOGRAM, "Time.", 9, {"route"}, {50000000, 1500000000}},
    [BARE] = {"t_bare_seconds", METRICS_HISTOGRAM, "Time.", 9, {NULL}, METRICS_BUCKETS_F},
    {NULL, METRICS_COUNTER, NULL, 0, {NULL}, {0}},
};

struct fixture {
    struct metrics *metrics;
    struct metrics_shard *a;
    struct metrics_shard *b;
    struct buf out;
};

static int set_up(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    assert_non_null(f);
    f->metrics = metrics_create(families, 3);
    assert_non_null(f->metrics);
    f->a = metrics_shard_create(f->metrics);
    f->b = metrics_shard_create(f->metrics);
    assert_non_null(f->a);
    assert_non_null(f->b);
    buf_init(&f->out, 1U << 20);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    metrics_destroy(f->metrics);
    buf_deinit(&f->out);
    mem_free(f);
    return 0;
}

static const char *scrape(struct fixture *f, enum metrics_format format)
{
    buf_clear(&f->out);
    assert_int_equal(metrics_write(f->metrics, format, &f->out), 0);
    return buf_cstr(&f->out);
}

static void has(struct fixture *f, enum metrics_format format, const char *wanted)
{
    const char *text = scrape(f, format);
    if (strstr(text, wanted) == NULL)
        fail_msg("no %s in\n%s", wanted, text);
}

static void shards_are_added_up(void **state)
{
    struct fixture *f = *state;
    const struct str labels[] = {STR("auto"), STR("200")};
    metrics_inc(metrics_series_get(f->a, REQUESTS, labels));
    metrics_add(metrics_series_get(f->b, REQUESTS, labels), 41);
    assert_ptr_equal(metrics_series_get(f->a, REQUESTS, labels),
                     metrics_series_get(f->a, REQUESTS, labels));
    metrics_gauge_add(metrics_series_get(f->a, INFLIGHT, NULL), 2);
    metrics_gauge_add(metrics_series_get(f->b, INFLIGHT, NULL), -5);
    has(f, METRICS_PROMETHEUS,
        "# HELP t_requests_total Requests.\n# TYPE t_requests_total counter\n"
        "t_requests_total{route=\"auto\",code=\"200\"} 42\n");
    has(f, METRICS_PROMETHEUS, "\nt_inflight -3\n");
    assert_null(strstr(scrape(f, METRICS_PROMETHEUS), "t_seconds"));
    assert_null(strstr(scrape(f, METRICS_PROMETHEUS), "# EOF"));
}

static void values_are_exact_decimal_fractions(void **state)
{
    struct fixture *f = *state;
    const struct str labels[] = {STR("r")};
    struct metrics_series *cost = metrics_series_get(f->a, COST, labels);
    metrics_add(cost, 1);
    has(f, METRICS_PROMETHEUS, "t_cost_usd_total{route=\"r\"} 0.000000001\n");
    metrics_add(cost, 12345678909ULL);
    has(f, METRICS_PROMETHEUS, "t_cost_usd_total{route=\"r\"} 12.34567891\n");
}

static void histograms_are_cumulative(void **state)
{
    struct fixture *f = *state;
    const struct str labels[] = {STR("r")};
    metrics_observe(metrics_series_get(f->a, DURATION, labels), 50000000); /* On the bound. */
    metrics_observe(metrics_series_get(f->b, DURATION, labels), 50000001);
    metrics_observe(metrics_series_get(f->a, DURATION, labels), 2000000000);
    has(f, METRICS_PROMETHEUS,
        "t_seconds_bucket{route=\"r\",le=\"0.05\"} 1\nt_seconds_bucket{route=\"r\",le=\"1.5\"} 2\n"
        "t_seconds_bucket{route=\"r\",le=\"+Inf\"} 3\nt_seconds_sum{route=\"r\"} 2.100000001\n"
        "t_seconds_count{route=\"r\"} 3\n");
    metrics_observe(metrics_series_get(f->a, BARE, NULL), 0);
    has(f, METRICS_PROMETHEUS, "t_bare_seconds_bucket{le=\"0.00005\"} 1\n");
    has(f, METRICS_PROMETHEUS, "t_bare_seconds_count 1\n");
}

static void open_metrics_has_its_own_names_an_end_and_exemplars(void **state)
{
    struct fixture *f = *state;
    const struct str labels[] = {STR("r"), STR("200")};
    const uint8_t trace[16] = {0x4b, 0xf9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 0x36};
    metrics_inc(metrics_series_get(f->a, REQUESTS, labels));
    metrics_observe_traced(metrics_series_get(f->a, DURATION, labels), 60000000, trace,
                           1700000000500000);
    has(f, METRICS_OPENMETRICS,
        "# TYPE t_requests counter\nt_requests_total{route=\"r\",code=\"200\"} 1\n");
    has(f, METRICS_OPENMETRICS,
        "le=\"0.05\"} 0\nt_seconds_bucket{route=\"r\",le=\"1.5\"} 1 # "
        "{trace_id=\"4bf90102030405060708090a0b0c0d36\"} 0.06 1700000000.5\n");
    const char *text = scrape(f, METRICS_OPENMETRICS);
    assert_string_equal(text + strlen(text) - 6, "# EOF\n");
    assert_null(strstr(scrape(f, METRICS_PROMETHEUS), "trace_id"));
    assert_int_equal(metrics_negotiate(STR("application/openmetrics-text;version=1.0.0,*/*")),
                     METRICS_OPENMETRICS);
    assert_int_equal(metrics_negotiate(STR_NULL), METRICS_PROMETHEUS);
}

static void past_the_maximum_series_are_counted_as_other(void **state)
{
    struct fixture *f = *state;
    char text[8];
    for (int i = 0; i < 10; i++) {
        (void)snprintf(text, sizeof(text), "r%d", i);
        const struct str labels[] = {str_from(text), STR("200")};
        metrics_inc(metrics_series_get(i % 2 == 0 ? f->a : f->b, REQUESTS, labels));
    }
    has(f, METRICS_PROMETHEUS, "{route=\"r2\",code=\"200\"} 1\n");
    has(f, METRICS_PROMETHEUS, "t_requests_total{route=\"_other\",code=\"_other\"} 7\n");
    assert_null(strstr(scrape(f, METRICS_PROMETHEUS), "r3"));
    const struct str known[] = {STR("r1"), STR("200")}; /* From the shard that had not seen it. */
    metrics_inc(metrics_series_get(f->a, REQUESTS, known));
    has(f, METRICS_PROMETHEUS, "{route=\"r1\",code=\"200\"} 2\n");
}

static void b45_label_values_are_escaped_and_cut(void **state)
{
    struct fixture *f = *state;
    char large[300];
    memset(large, 'x', sizeof(large));
    memcpy(large + 127, "\xc3\xa9", 2); /* Across the limit. */
    const struct str odd[] = {STR("a\"b\\c\nd\x01"), STR("\xff")};
    const struct str cut[] = {{.data = large, .len = sizeof(large)}, STR("")};
    metrics_inc(metrics_series_get(f->a, REQUESTS, odd));
    metrics_inc(metrics_series_get(f->a, REQUESTS, cut));
    has(f, METRICS_PROMETHEUS, "{route=\"a\\\"b\\\\c\\nd \",code=\"_invalid\"} 1\n");
    has(f, METRICS_PROMETHEUS, "xxxx\",code=\"\"} 1\n");
    assert_null(strstr(scrape(f, METRICS_PROMETHEUS), "\xc3"));
}

static void a_hidden_gauge_is_not_printed(void **state)
{
    struct fixture *f = *state;
    struct metrics_series *g = metrics_series_get(f->a, INFLIGHT, NULL);
    assert_null(strstr(scrape(f, METRICS_PROMETHEUS), "\nt_inflight "));
    metrics_gauge_set(g, 0);
    has(f, METRICS_PROMETHEUS, "t_inflight 0\n");
    metrics_gauge_hide(g);
    assert_null(strstr(scrape(f, METRICS_PROMETHEUS), "\nt_inflight "));
}

static void collect(void *arg)
{
    struct fixture *f = arg;
    metrics_gauge_set(metrics_series_get(f->a, INFLIGHT, NULL), 7);
}

static void the_collector_runs_before_each_scrape(void **state)
{
    struct fixture *f = *state;
    metrics_set_collector(f->metrics, collect, f);
    has(f, METRICS_PROMETHEUS, "t_inflight 7\n");
    has(f, METRICS_PROMETHEUS, "process_open_fds ");
    has(f, METRICS_PROMETHEUS, "# TYPE process_cpu_seconds_total counter\n");
}

static void the_reference_comes_from_the_table(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(metrics_markdown(families, &f->out), 0);
    assert_non_null(
        strstr(buf_cstr(&f->out), "| `t_requests_total` | counter | route, code | Requests. |\n"));
}

static void f30_each_failed_allocation_loses_counts_only(void **state)
{
    struct fixture *f = *state;
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        char text[16];
        (void)snprintf(text, sizeof(text), "n%u", n);
        const struct str labels[] = {str_from(text)};
        fault_arm_alloc(n);
        struct metrics *m = metrics_create(families, 0);
        struct metrics_shard *s = m != NULL ? metrics_shard_create(m) : NULL;
        if (s != NULL)
            metrics_inc(metrics_series_get(s, COST, labels));
        fired = fault_disarm();
        buf_clear(&f->out);
        if (m != NULL)
            assert_int_equal(metrics_write(m, METRICS_PROMETHEUS, &f->out), 0);
        metrics_destroy(m);
    }
}

#define THREADS 3
#define ROUNDS  20000

static void *count(void *arg)
{
    struct metrics_shard *s = metrics_shard_create(arg);
    const struct str labels[] = {STR("r"), STR("200")};
    const uint8_t trace[16] = {1};
    assert_non_null(s);
    for (int i = 0; i < ROUNDS; i++) {
        metrics_inc(metrics_series_get(s, REQUESTS, labels));
        metrics_observe_traced(metrics_series_get(s, DURATION, labels), (uint64_t)i, trace, i);
    }
    return NULL;
}

static void threads_count_while_another_scrapes(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count, f->metrics), 0);
    for (int i = 0; i < 50; i++)
        (void)scrape(f, METRICS_OPENMETRICS);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    has(f, METRICS_PROMETHEUS, "t_requests_total{route=\"r\",code=\"200\"} 60000\n");
    has(f, METRICS_PROMETHEUS, "t_seconds_count{route=\"r\"} 60000\n");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(shards_are_added_up),
        T(values_are_exact_decimal_fractions),
        T(histograms_are_cumulative),
        T(open_metrics_has_its_own_names_an_end_and_exemplars),
        T(past_the_maximum_series_are_counted_as_other),
        T(b45_label_values_are_escaped_and_cut),
        T(a_hidden_gauge_is_not_printed),
        T(the_collector_runs_before_each_scrape),
        T(the_reference_comes_from_the_table),
        T(f30_each_failed_allocation_loses_counts_only),
        T(threads_count_while_another_scrapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
