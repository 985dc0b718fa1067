#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/net/listener.h"
#include "tests/lib/calm.h"
#include "tests/lib/fault.h"
#include "tests/lib/wire.h"

#define FDS_MAX 64

struct fixture {
    uv_loop_t loop;
    struct listener *listener;
    int fds[FDS_MAX];
    size_t count;
    bool closed;
    bool close_on_accept;
};

static void on_closed(void *arg)
{
    ((struct fixture *)arg)->closed = true;
}

static void on_accept(void *arg, int fd)
{
    struct fixture *f = arg;
    assert_true(f->count < FDS_MAX);
    f->fds[f->count++] = fd;
    if (f->close_on_accept) {
        listener_close(f->listener, on_closed, f);
        f->listener = NULL;
    }
}

static int set_up(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    assert_non_null(f);
    calm_clock();
    assert_int_equal(uv_loop_init(&f->loop), 0);
    *state = f;
    return 0;
}

static bool is_closed(void *arg)
{
    return ((struct fixture *)arg)->closed;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < f->count; i++)
        close(f->fds[i]);
    if (f->listener != NULL)
        listener_close(f->listener, on_closed, f);
    if (f->listener != NULL)
        assert_true(wire_run(&f->loop, is_closed, f));
    wire_run_turns(&f->loop, 3);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    mem_free(f);
    return 0;
}

static int start(struct fixture *f, const char *address, uint32_t max, struct err *err)
{
    const struct listener_config config = {.address = address,
                                           .max_connections = max,
                                           .on_accept = on_accept,
                                           .notsent_lowat_bytes = 16384,
                                           .send_buffer_bytes = 65536,
                                           .arg = f};
    return listener_start(&f->loop, &config, &f->listener, err);
}

static bool has_accepted(void *arg)
{
    return ((struct fixture *)arg)->count > 0;
}

static void port_zero_becomes_a_real_port(void **state)
{
    struct fixture *f = *state;
    struct wire w;
    assert_int_equal(start(f, "127.0.0.1:0", 10, NULL), 0);
    assert_true(listener_port(f->listener) > 0);
    wire_open(&w, &f->loop, listener_port(f->listener));
    assert_true(wire_run(&f->loop, has_accepted, f));
    assert_true((fcntl(f->fds[0], F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(f->fds[0], F_GETFD) & FD_CLOEXEC) != 0);
    wire_close(&w);
}

static void bad_addresses_are_refused_with_a_good_one(void **state)
{
    struct fixture *f = *state;
    const char *bad[] = {"",         "127.0.0.1", "127.0.0.1:",     "127.0.0.1:65536", "::1:80",
                         "[::1]80",  "host:80",   "127.0.0.1:-1",   "unix:",           "[::1:80",
                         "1.2.3:80", NULL,        "127.0.0.1:8080x"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct err err = {0};
        assert_int_equal(start(f, bad[i], 1, &err), ERR_INVALID);
        assert_non_null(strstr(err.message, "127.0.0.1:8080"));
    }
    assert_int_equal(start(f, "127.0.0.1:0", 0, NULL), ERR_INVALID);
}

static void a_taken_port_is_an_error_unless_it_is_shared(void **state)
{
    struct fixture *f = *state;
    struct listener *second = NULL;
    char address[64];
    struct listener_config config = {.address = "127.0.0.1:0",
                                     .max_connections = 1,
                                     .reuse_port = true,
                                     .on_accept = on_accept,
                                     .arg = f};
    assert_int_equal(listener_start(&f->loop, &config, &f->listener, NULL), 0);
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", listener_port(f->listener));
    config.address = address;
    config.reuse_port = false;
    assert_int_equal(listener_start(&f->loop, &config, &second, NULL), ERR_EXISTS);
    config.reuse_port = true;
    assert_int_equal(listener_start(&f->loop, &config, &second, NULL), 0);
    assert_int_equal(listener_port(second), listener_port(f->listener));
    listener_close(second, NULL, NULL);
}

static bool all_three_connected(void *arg)
{
    struct wire *w = arg;
    return w[0].connected && w[1].connected && w[2].connected;
}

static void f25_a_limit_is_shared_and_its_places_go_to_who_needs_them(void **state)
{
    struct fixture *f = *state;
    struct listener *second = NULL;
    struct listener_limit limit = {.max = 2};
    struct wire w[3];
    const struct listener_config config = {
        .address = "127.0.0.1:0", .limit = &limit, .on_accept = on_accept, .arg = f};
    assert_int_equal(listener_start(&f->loop, &config, &f->listener, NULL), 0);
    assert_int_equal(listener_start(&f->loop, &config, &second, NULL), 0);
    for (size_t i = 0; i < 2; i++) /* One has all the places there are. */
        wire_open(&w[i], &f->loop, listener_port(f->listener));
    while (f->count < 2)
        assert_int_not_equal(uv_run(&f->loop, UV_RUN_ONCE), 0);
    wire_open(&w[2], &f->loop, listener_port(second));
    while (listener_stats(second).paused_limit == 0)
        assert_int_not_equal(uv_run(&f->loop, UV_RUN_ONCE), 0);
    assert_int_equal(listener_stats(second).open, 0);
    close(f->fds[1]);
    f->count = 1;
    listener_release(f->listener);
    while (f->count < 2) /* The other finds out by itself. */
        assert_int_not_equal(uv_run(&f->loop, UV_RUN_ONCE), 0);
    assert_int_equal(listener_stats(second).open, 1);
    assert_int_equal(listener_stats(f->listener).open, 1);
    assert_int_equal(atomic_load(&limit.open), 2);
    listener_close(second, NULL, NULL);
    assert_int_equal(atomic_load(&limit.open), 1);
    listener_close(f->listener, on_closed, f);
    f->listener = NULL;
    assert_int_equal(atomic_load(&limit.open), 0);
    for (size_t i = 0; i < 3; i++)
        wire_close(&w[i]);
    assert_true(wire_run(&f->loop, is_closed, f));
}

static void f25_accepting_pauses_at_the_limit_and_goes_on_after_a_release(void **state)
{
    struct fixture *f = *state;
    struct wire w[3];
    assert_int_equal(start(f, "127.0.0.1:0", 2, NULL), 0);
    for (size_t i = 0; i < 3; i++)
        wire_open(&w[i], &f->loop, listener_port(f->listener));
    assert_true(wire_run(&f->loop, all_three_connected, w)); /* The kernel queues the third. */
    wire_run_turns(&f->loop, 10);
    assert_int_equal(f->count, 2);
    assert_int_equal(listener_stats(f->listener).paused_limit, 1);
    close(f->fds[0]);
    f->fds[0] = f->fds[1];
    f->count = 0;
    listener_release(f->listener);
    assert_true(wire_run(&f->loop, has_accepted, f));
    assert_int_equal(listener_stats(f->listener).accepted, 3);
    assert_int_equal(listener_stats(f->listener).open, 2);
    close(f->fds[0]);
    f->count = 0;
    for (size_t i = 0; i < 3; i++)
        wire_close(&w[i]);
}

static bool is_starved(void *arg)
{
    return listener_stats(((struct fixture *)arg)->listener).paused_descriptors > 0;
}

static void f25_running_out_of_descriptors_pauses_without_spinning(void **state)
{
    struct fixture *f = *state;
    struct rlimit before;
    struct wire w;
    assert_int_equal(start(f, "127.0.0.1:0", 10, NULL), 0);
    wire_open(&w, &f->loop, listener_port(f->listener));
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int top = dup(0); /* Descriptors from here on are refused. */
    assert_true(top > 0);
    close(top);
    const struct rlimit none = {.rlim_cur = (rlim_t)top, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_true(wire_run(&f->loop, is_starved, f));
    wire_run_turns(&f->loop, 100);
    uint64_t pauses = listener_stats(f->listener).paused_descriptors;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_true(pauses <= 3); /* 100 turns, a few timers at most. */
    assert_true(wire_run(&f->loop, has_accepted, f));
    wire_close(&w);
}

static void closing_from_inside_the_accept_callback_is_fine(void **state)
{
    struct fixture *f = *state;
    struct wire w[2];
    f->close_on_accept = true;
    assert_int_equal(start(f, "127.0.0.1:0", 10, NULL), 0);
    uint16_t port = listener_port(f->listener);
    wire_open(&w[0], &f->loop, port);
    wire_open(&w[1], &f->loop, port);
    assert_true(wire_run(&f->loop, is_closed, f));
    assert_int_equal(f->count, 1);
    wire_close(&w[0]);
    wire_close(&w[1]);
}

static void unix_sockets_replace_a_stale_file_but_not_a_live_one(void **state)
{
    struct fixture *f = *state;
    char dir[] = "/tmp/steelyard-listener-XXXXXX";
    char address[80];
    struct wire w;
    struct stat st;
    struct listener *second = NULL;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(address, sizeof(address), "unix:%s/s.sock", dir);
    const char *path = address + 5;
    assert_int_equal(start(f, address, 10, NULL), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(listener_port(f->listener), 0);
    struct listener *first = f->listener;
    const struct listener_config config = {
        .address = address, .max_connections = 1, .on_accept = on_accept, .arg = f};
    assert_int_equal(listener_start(&f->loop, &config, &second, NULL), ERR_EXISTS);
    assert_int_equal(stat(path, &st), 0);
    wire_run_turns(&f->loop, 2); /* The probe above was a connection. */
    size_t probes = f->count;
    wire_open_unix(&w, &f->loop, path);
    wire_run_turns(&f->loop, 3);
    assert_int_equal(f->count, probes + 1);
    wire_close(&w);
    assert_int_equal(link(path, "/nonexistent/x"), -1);
    char kept[100];
    (void)snprintf(kept, sizeof(kept), "%s.kept", path);
    assert_int_equal(rename(path, kept), 0); /* What a crash would leave behind. */
    listener_close(first, on_closed, f);
    f->listener = NULL;
    assert_true(wire_run(&f->loop, is_closed, f));
    f->closed = false;
    assert_int_equal(rename(kept, path), 0);
    assert_int_equal(start(f, address, 10, NULL), 0);
    listener_close(f->listener, on_closed, f);
    f->listener = NULL;
    assert_int_equal(stat(path, &st), -1);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(port_zero_becomes_a_real_port),
        T(bad_addresses_are_refused_with_a_good_one),
        T(a_taken_port_is_an_error_unless_it_is_shared),
        T(f25_accepting_pauses_at_the_limit_and_goes_on_after_a_release),
        T(f25_a_limit_is_shared_and_its_places_go_to_who_needs_them),
        T(f25_running_out_of_descriptors_pauses_without_spinning),
        T(closing_from_inside_the_accept_callback_is_fine),
        T(unix_sockets_replace_a_stale_file_but_not_a_live_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
