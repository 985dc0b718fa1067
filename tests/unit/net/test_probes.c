#include <string.h>

#include "common/base/mem.h"
#include "common/metrics/metrics.h"
#include "common/net/probes.h"
#include "tests/lib/calm.h"
#include "tests/lib/fault.h"
#include "tests/lib/wire.h"

static const struct metrics_family families[] = {
    {"t_total", METRICS_COUNTER, "Things.", 0, {NULL}, {0}},
    {NULL, METRICS_COUNTER, NULL, 0, {NULL}, {0}},
};

static bool flag(void *arg)
{
    return *(bool *)arg;
}

static void set_true(void *arg)
{
    *(bool *)arg = true;
}

static void expect(uv_loop_t *loop, struct httpd *server, const char *request, const char *wanted)
{
    struct wire w;
    wire_open(&w, loop, httpd_port(server));
    wire_send(&w, str_from(request));
    assert_true(wire_run_until_ended(&w));
    if (!wire_has(&w, wanted))
        fail_msg("%s gave\n%.*s\ninstead of %s", request, STR_ARG(buf_str(&w.got)), wanted);
    wire_close(&w);
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

static void probes_answer_what_their_checks_say(void **state)
{
    uv_loop_t loop;
    struct httpd *server = NULL;
    bool policy = false;
    bool draining = true;
    bool closed = false;
    (void)state;
    struct metrics *metrics = metrics_create(families, 0);
    struct metrics_shard *shard = metrics_shard_create(metrics);
    metrics_inc(metrics_series_get(shard, 0, NULL));
    const struct probe_check checks[] = {{PROBE_READY, "policy", flag, &policy},
                                         {PROBE_READY, "not_draining", flag, &draining},
                                         {PROBE_STARTUP, "policy", flag, &policy}};
    struct probes probes = {.checks = checks, .check_count = 3, .metrics = metrics};
    const struct httpd_config config = {
        .address = "127.0.0.1:0", .on_request = probes_on_request, .arg = &probes};
    calm_clock();
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(httpd_start(&loop, &config, &server, NULL), 0);
    expect(&loop, server, GET("/livez"), "HTTP/1.1 200 OK");
    expect(&loop, server, GET("/healthz"), "\r\n\r\nok\n");
    expect(&loop, server, GET("/readyz"), "HTTP/1.1 503 Service Unavailable");
    expect(&loop, server, GET("/readyz"), "\r\n\r\nfailed\n");
    expect(&loop, server, GET("/readyz?verbose"), "[-] policy\n[+] not_draining\nfailed\n");
    expect(&loop, server, GET("/startupz"), "503");
    policy = true;
    expect(&loop, server, GET("/readyz"), "200 OK");
    expect(&loop, server, GET("/startupz"), "200 OK");
    expect(&loop, server, GET("/metrics"), "text/plain; version=0.0.4; charset=utf-8");
    expect(&loop, server, GET("/metrics"), "\nt_total 1\n");
    expect(&loop, server,
           "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
           "Accept: application/openmetrics-text\r\n\r\n",
           "# EOF\n");
    expect(&loop, server, GET("/livez/x"), "404 Not Found");
    expect(&loop, server, "POST /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
           "405 Method Not Allowed");
    probes.metrics = NULL;
    expect(&loop, server, GET("/metrics"), "404 Not Found");
    httpd_close(server, set_true, &closed);
    assert_true(wire_run(&loop, flag, &closed));
    assert_int_equal(uv_loop_close(&loop), 0);
    metrics_destroy(metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(probes_answer_what_their_checks_say)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
