/* Real threads: workers that serve while snapshots change and that stop while clients are
 * connected. Mostly for ThreadSanitizer. */
#include "dataplane/worker.h"

#include <arpa/inet.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/node.h"
#include "tests/lib/fault.h"

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)kind;
    (void)where;
    return remove(path);
}

static uint16_t port_of(const char *dir)
{
    char path[64];
    struct buf b = {.data = path, .cap = sizeof path, .max = sizeof path}, file = {0};
    uint64_t port = 0;
    assert_int_equal(buf_append_text(&b, dir), 0);
    assert_int_equal(buf_append(&b, "/addresses.json", 16), 0);
    assert_int_equal(buf_read_file(&file, path, 4096, NULL), 0);
    ptrdiff_t at = str_search(buf_str(&file), STR("127.0.0.1:"));
    assert_true(at >= 0);
    struct str digits, rest;
    assert_true(str_cut(str_slice(buf_str(&file), (size_t)at + 10, file.len), '"', &digits, &rest));
    assert_int_equal(str_parse_u64(digits, UINT16_MAX, &port), 0);
    buf_deinit(&file);
    return (uint16_t)port;
}

struct clients {
    uint16_t port;
    _Atomic uint32_t answered;
};

static void ask(void *arg)
{
    struct clients *c = arg;
    static const char request[] = "GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n";
    for (int i = 0; i < 50; i++) {
        char answer[2048];
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(c->port)};
        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (fd < 0)
            return;
        if (connect(fd, (const struct sockaddr *)&a, sizeof a) == 0 &&
            send(fd, request, sizeof request - 1, MSG_NOSIGNAL) > 0 &&
            recv(fd, answer, sizeof answer, 0) > 12 && memcmp(answer, "HTTP/1.1 503", 12) == 0)
            c->answered++;
        close(fd);
    }
}

static void on_stopped(void *arg)
{
    *(bool *)arg = true;
}

static void f31_a_node_of_several_threads_serves_drains_and_ends(void **state)
{
    (void)state;
    char dir[] = "/tmp/steelyard-node-XXXXXX";
    struct settings settings;
    struct err err = {0};
    struct node *n = NULL;
    uv_loop_t loop;
    uv_thread_t threads[4];
    bool stopped = false;
    int rest;
    assert_non_null(mkdtemp(dir));
    char *argv[] = {(char *)(uintptr_t) "test",
                    (char *)(uintptr_t) "--listen",
                    (char *)(uintptr_t) "127.0.0.1:0",
                    (char *)(uintptr_t) "--metrics-listen",
                    (char *)(uintptr_t) "127.0.0.1:0",
                    (char *)(uintptr_t) "--state-dir",
                    dir,
                    (char *)(uintptr_t) "--workers",
                    (char *)(uintptr_t) "3",
                    (char *)(uintptr_t) "--drain-delay",
                    (char *)(uintptr_t) "0s",
                    (char *)(uintptr_t) "--no-access-log",
                    NULL};
    memset(&settings, 0, sizeof settings);
    assert_int_equal(options_parse(settings_table, &settings, 12, argv, &rest, &err), 0);
    assert_int_equal(settings_check(&settings, &err), 0);
    log_init("test", LOG_ERROR, LOG_JSON);
    assert_int_equal(fetch_global_init(&err), 0);
    assert_int_equal(uv_loop_init(&loop), 0);
    if (node_create(&loop, &settings, &n, &err) != 0)
        fail_msg("%s", err.message);
    struct clients c = {.port = port_of(dir)};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(uv_thread_create(&threads[i], ask, &c), 0);
    for (int i = 0; i < 5; i++)
        uv_run(&loop, UV_RUN_ONCE);
    for (size_t i = 0; i < 4; i++)
        uv_thread_join(&threads[i]);
    assert_int_equal(c.answered, 200);
    node_drain(n, on_stopped, &stopped);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(stopped);
    node_destroy(n);
    assert_int_equal(uv_loop_close(&loop), 0);
    fetch_global_deinit();
    nftw(dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static void settings_that_cannot_be_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *argument, *says;
    } rows[] = {
        {"--log-level=loud", "--log-level"},   {"--log-format=xml", "--log-format"},
        {"--durability=none", "--durability"}, {"--node-id=x", "--node-id"},
        {"--control-cert=x", "--control-ca"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct settings s;
        struct err err = {0};
        int rest;
        char *argv[] = {(char *)(uintptr_t) "test", (char *)(uintptr_t)rows[i].argument, NULL};
        memset(&s, 0, sizeof s);
        assert_int_equal(options_parse(settings_table, &s, 2, argv, &rest, &err), 0);
        assert_int_equal(settings_check(&s, &err), ERR_INVALID);
        assert_non_null(strstr(err.message, rows[i].says));
    }
}

static uint64_t connections_with(uint64_t descriptors, const char *argument, uint64_t *out_asked)
{
    struct settings s;
    struct rlimit before, limit;
    struct err err = {0};
    int rest;
    char *argv[] = {(char *)(uintptr_t) "test", (char *)(uintptr_t)argument, NULL};
    memset(&s, 0, sizeof s);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    limit = (struct rlimit){descriptors, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(options_parse(settings_table, &s, 2, argv, &rest, &err), 0);
    assert_int_equal(settings_check(&s, &err), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    *out_asked = s.asked_connections;
    return s.max_connections;
}

static void f25_connections_are_half_of_the_descriptors_less_a_reserve(void **state)
{
    (void)state;
    uint64_t asked;
    assert_int_equal(connections_with(1024, "--workers=1", &asked), (1024 - 256) / 2);
    assert_int_equal(asked, 0);
    assert_int_equal(connections_with(1024, "--max-connections=100", &asked), 100);
    assert_int_equal(asked, 0);
    assert_int_equal(connections_with(1024, "--max-connections=5000", &asked), (1024 - 256) / 2);
    assert_int_equal(asked, 5000);
    assert_int_equal(connections_with(300, "--workers=1", &asked), 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f25_connections_are_half_of_the_descriptors_less_a_reserve),
        cmocka_unit_test(settings_that_cannot_be_are_refused_by_name),
        cmocka_unit_test(f31_a_node_of_several_threads_serves_drains_and_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
