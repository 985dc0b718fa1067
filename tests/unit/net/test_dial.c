/* Dialling loopback listeners. Names are answered by the test; an address that answers nothing is a
 * listener whose queue is full, so that the kernel drops what knocks. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/net/dial.h"
#include "tests/lib/calm.h"
#include "tests/lib/fault.h"
#include "tests/lib/wire.h"

#define HOLDERS   4
#define TRIED_MAX 16
#define HOUR_MS   3600000U
#define SILENT    "127.0.0.9"

struct fixture {
    uv_loop_t loop;
    struct resolver *resolver;
    struct resolver_source source;
    struct resolver_question *question;
    struct dial dial;
    unsigned called;
    struct dial_config again; /* Started in the callback when its port is set. */
    bool closed;
    int listener;
    uint16_t port;
    int silent; /* Full listener. */
    int holders[HOLDERS];
    int closed_port_fd; /* Bound, not listening. */
    uint16_t closed_port;
    int open_fds;
};

static int hook_errno;       /* What each connect says; 0: it is made. */
static int hook_errno_first; /* What the first one says. */
static union resolver_address tried[TRIED_MAX];
static size_t tried_count;
static struct sockaddr_in silent_peer;

/* Sees every connect; SILENT is led to the full listener. */
static int on_connect(int fd, const struct sockaddr *address, socklen_t len)
{
    struct in_addr silent;
    assert_true(tried_count < TRIED_MAX);
    memcpy(&tried[tried_count++], address, len);
    int error = tried_count == 1 && hook_errno_first != 0 ? hook_errno_first : hook_errno;
    if (error != 0) {
        errno = error;
        return -1;
    }
    assert_int_equal(inet_pton(AF_INET, SILENT, &silent), 1);
    if (address->sa_family == AF_INET && tried[tried_count - 1].in.sin_addr.s_addr == silent.s_addr)
        return connect(fd, (const struct sockaddr *)&silent_peer, sizeof(silent_peer));
    return connect(fd, address, len);
}

static int on_ask(void *arg, struct resolver_question *q, const char *host)
{
    struct fixture *f = arg;
    (void)host;
    assert_null(f->question);
    f->question = q;
    return 0;
}

static void answer(struct fixture *f, const char *const *texts, size_t count)
{
    union resolver_address addresses[RESOLVER_ADDRESSES_MAX] = {0};
    struct resolver_question *q = f->question;
    for (size_t i = 0; i < count; i++) {
        if (inet_pton(AF_INET, texts[i], &addresses[i].in.sin_addr) == 1)
            addresses[i].in.sin_family = AF_INET;
        else if (inet_pton(AF_INET6, texts[i], &addresses[i].in6.sin6_addr) == 1)
            addresses[i].in6.sin6_family = AF_INET6;
    }
    assert_non_null(q);
    f->question = NULL;
    resolver_reply(q, count > 0 ? 0 : ERR_NOT_FOUND, addresses, count);
}

static int bind_loopback(int *out_fd, uint16_t *out_port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(in);
    *out_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*out_fd < 0 || bind(*out_fd, (struct sockaddr *)&in, sizeof(in)) != 0 ||
        getsockname(*out_fd, (struct sockaddr *)&in, &len) != 0)
        return -1;
    *out_port = ntohs(in.sin_port);
    return 0;
}

static int count_fds(void)
{
    int count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* A queue of one, filled by connections that nobody accepts. */
static void fill_silent(struct fixture *f)
{
    uint16_t port = 0;
    assert_int_equal(bind_loopback(&f->silent, &port), 0);
    assert_int_equal(listen(f->silent, 0), 0);
    silent_peer = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    for (size_t i = 0; i < HOLDERS; i++) {
        f->holders[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        assert_true(f->holders[i] >= 0);
        (void)connect(f->holders[i], (struct sockaddr *)&silent_peer, sizeof(silent_peer));
    }
}

static int set_up(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    assert_non_null(f);
    calm_clock();
    assert_int_equal(uv_loop_init(&f->loop), 0);
    f->source = (struct resolver_source){.ask = on_ask, .arg = f};
    f->resolver =
        resolver_create(&f->loop, &(struct resolver_config){.source = &f->source, .names_max = 4});
    assert_non_null(f->resolver);
    assert_int_equal(bind_loopback(&f->listener, &f->port), 0);
    assert_int_equal(listen(f->listener, 16), 0);
    assert_int_equal(bind_loopback(&f->closed_port_fd, &f->closed_port), 0);
    fill_silent(f);
    hook_errno = 0;
    hook_errno_first = 0;
    tried_count = 0;
    dial_connect_hook = on_connect;
    f->open_fds = count_fds();
    *state = f;
    return 0;
}

static void on_closed(void *arg)
{
    ((struct fixture *)arg)->closed = true;
}

static bool is_closed(void *arg)
{
    return ((struct fixture *)arg)->closed;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(count_fds(), f->open_fds); /* Nothing was left open. */
    if (f->resolver != NULL) {
        resolver_close(f->resolver, on_closed, f);
        if (f->question != NULL)
            resolver_reply(f->question, ERR_CANCELED, NULL, 0);
        assert_true(wire_run(&f->loop, is_closed, f));
    }
    wire_run_turns(&f->loop, 2);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    close(f->listener);
    close(f->silent);
    close(f->closed_port_fd);
    for (size_t i = 0; i < HOLDERS; i++)
        close(f->holders[i]);
    dial_connect_hook = NULL;
    mem_free(f);
    return 0;
}

static void on_dialled(struct dial *d)
{
    struct fixture *f = container_of(d, struct fixture, dial);
    f->called++;
    assert_int_equal(d->state, DIAL_DONE);
    assert_true((d->result.status == 0) == (d->result.fd >= 0));
    if (f->again.port == 0)
        return;
    struct dial_config again = f->again;
    f->again.port = 0;
    if (d->result.fd >= 0)
        close(d->result.fd);
    assert_int_equal(dial_start(d, &f->loop, f->resolver, &again, on_dialled), 0);
}

static bool was_called(void *arg)
{
    return ((struct fixture *)arg)->called > 0;
}

static struct dial_config config_for(const struct fixture *f, const char *host)
{
    return (struct dial_config){
        .host = str_from(host), .port = f->port, .allow_private = true, .stagger_ms = HOUR_MS};
}

static void start(struct fixture *f, struct dial_config config)
{
    f->called = 0;
    assert_int_equal(dial_start(&f->dial, &f->loop, f->resolver, &config, on_dialled), 0);
    assert_int_equal(f->called, 0); /* Never from inside. */
}

static int finish(struct fixture *f)
{
    assert_true(wire_run(&f->loop, was_called, f));
    wire_run_turns(&f->loop, 2);
    assert_int_equal(f->called, 1);
    return f->dial.result.status;
}

static int run(struct fixture *f, struct dial_config config)
{
    start(f, config);
    return finish(f);
}

static void drop(struct fixture *f)
{
    assert_true(f->dial.result.fd >= 0);
    close(f->dial.result.fd);
    f->dial.result.fd = -1;
}

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof(value);
    assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

static void an_address_gives_a_descriptor_with_its_options_set(void **state)
{
    struct fixture *f = *state;
    struct dial_config config = config_for(f, "127.0.0.1");
    config.receive_buffer_bytes = 32768;
    config.notsent_lowat_bytes = 4096;
    assert_int_equal(run(f, config), 0);
    const struct dial_result *r = &f->dial.result;
    assert_true((fcntl(r->fd, F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(r->fd, F_GETFD) & FD_CLOEXEC) != 0);
    assert_int_equal(option(r->fd, IPPROTO_TCP, TCP_NODELAY), 1);
    assert_int_equal(option(r->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT), 4096);
    assert_int_equal(option(r->fd, SOL_SOCKET, SO_RCVBUF), 2 * 32768); /* As Linux counts. */
    assert_int_equal(option(r->fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    assert_int_equal(r->peer.in.sin_family, AF_INET);
    assert_int_equal(ntohs(r->peer.in.sin_port), f->port);
    assert_true(r->resolved);
    assert_int_equal(r->attempts, 1);
    assert_true(r->connect_ns > 0);
    drop(f);
}

static void the_descriptor_can_be_given_to_a_stream(void **state)
{
    struct fixture *f = *state;
    uv_tcp_t tcp;
    char got[3] = {0};
    assert_int_equal(run(f, config_for(f, "localhost")), 0);
    assert_int_equal(uv_tcp_init(&f->loop, &tcp), 0);
    assert_int_equal(uv_tcp_open(&tcp, f->dial.result.fd), 0);
    f->open_fds = count_fds() - 1; /* A loop's first stream makes libuv open a reserve. */
    uv_buf_t out = uv_buf_init((char[]){'a', 'b', 'c'}, 3);
    assert_int_equal(uv_try_write((uv_stream_t *)&tcp, &out, 1), 3);
    int peer = accept(f->listener, NULL, NULL);
    assert_int_equal(recv(peer, got, sizeof(got), MSG_WAITALL), 3);
    assert_memory_equal(got, "abc", 3);
    close(peer);
    uv_close((uv_handle_t *)&tcp, NULL);
    wire_run_turns(&f->loop, 2);
}

static void ipv6_works_where_it_is(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    socklen_t len = sizeof(in6);
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&in6, sizeof(in6)) != 0) {
        if (fd >= 0)
            close(fd);
        skip();
    }
    assert_int_equal(listen(fd, 4), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in6, &len), 0);
    struct dial_config config = config_for(f, "[::1]");
    config.port = ntohs(in6.sin6_port);
    assert_int_equal(run(f, config), 0);
    assert_int_equal(f->dial.result.peer.in6.sin6_family, AF_INET6);
    drop(f);
    config.host = STR("localhost"); /* 127.0.0.1 refuses, ::1 is next at once. */
    assert_int_equal(run(f, config), 0);
    assert_int_equal(f->dial.result.peer.in6.sin6_family, AF_INET6);
    assert_int_equal(f->dial.result.attempts, 2);
    drop(f);
    close(fd);
}

static void a_closed_port_is_refused(void **state)
{
    struct fixture *f = *state;
    struct dial_config config = config_for(f, "127.0.0.1");
    config.port = f->closed_port;
    assert_int_equal(run(f, config), ERR_REFUSED);
    config.host = STR("localhost"); /* Whatever ::1 says: refused is what a person can use. */
    assert_int_equal(run(f, config), ERR_REFUSED);
}

static void bad_arguments_call_nobody(void **state)
{
    struct fixture *f = *state;
    struct dial_config config = config_for(f, "127.0.0.1");
    config.port = 0;
    assert_int_equal(dial_start(&f->dial, &f->loop, f->resolver, &config, on_dialled), ERR_INVALID);
    config = config_for(f, "");
    assert_int_equal(dial_start(&f->dial, &f->loop, f->resolver, &config, on_dialled), ERR_INVALID);
    wire_run_turns(&f->loop, 2);
    assert_int_equal(f->called, 0);
}

static void a_name_is_resolved_first(void **state)
{
    struct fixture *f = *state;
    const char *one[] = {"127.0.0.1"};
    start(f, config_for(f, "api.example"));
    assert_int_equal(f->dial.state, DIAL_RESOLVING);
    answer(f, one, 1);
    assert_int_equal(finish(f), 0);
    drop(f);
    start(f, config_for(f, "api.example")); /* Known now. */
    assert_int_equal(f->dial.state, DIAL_CONNECTING);
    assert_int_equal(finish(f), 0);
    drop(f);
}

static void a_name_that_is_not_there_is_not_found(void **state)
{
    struct fixture *f = *state;
    struct dial_config config = config_for(f, "api.example");
    start(f, config);
    answer(f, NULL, 0);
    assert_int_equal(finish(f), ERR_NOT_FOUND);
    assert_false(f->dial.result.resolved);
    assert_int_equal(dial_start(&f->dial, &f->loop, f->resolver, &config, on_dialled),
                     ERR_NOT_FOUND); /* Remembered. */
    wire_run_turns(&f->loop, 2);
    assert_int_equal(f->called, 1);
}

static void f12_the_deadline_holds_while_resolving(void **state)
{
    struct fixture *f = *state;
    struct dial_config config = config_for(f, "api.example");
    config.timeout_ms = 1;
    assert_int_equal(run(f, config), ERR_TIMEOUT);
    assert_false(f->dial.result.resolved);
    assert_true(f->dial.result.resolve_ns > 0);
}

static void f12_the_deadline_holds_while_connecting(void **state)
{
    struct fixture *f = *state;
    struct dial_config config = config_for(f, "api.example");
    const char *two[] = {SILENT, SILENT};
    config.timeout_ms = 20;
    config.stagger_ms = 1;
    start(f, config);
    answer(f, two, 2);
    assert_int_equal(finish(f), ERR_TIMEOUT);
    assert_true(f->dial.result.resolved);
    assert_int_equal(f->dial.result.attempts, 2);
}

static void b40_addresses_that_must_not_be_reached_are_denied(void **state)
{
    struct fixture *f = *state;
    const struct {
        const char *host;
        bool allow_private;
    } rows[] = {
        {"127.0.0.1", false},
        {"10.1.2.3", false},
        {"172.16.0.1", false},
        {"192.168.1.1", false},
        {"100.64.0.1", false},
        {"::1", false},
        {"fc00::1", false},
        {"localhost", false},
        {"169.254.169.254", true},
        {"169.254.1.1", true},
        {"fe80::1", true},
        {"fd00:ec2::254", true},
        {"100.100.100.200", true},
        {"0.0.0.0", true},
        {"::", true},
        {"::ffff:169.254.169.254", true},
        {"::ffff:10.0.0.1", false},
        {"::ffff:127.0.0.1", false},
        {"64:ff9b::a00:1", false},
        {"224.0.0.1", true},
        {"ff02::1", true},
        {"255.255.255.255", true},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct dial_config config = config_for(f, rows[i].host);
        config.allow_private = rows[i].allow_private;
        assert_int_equal(run(f, config), ERR_DENIED);
        assert_true(f->dial.result.addresses_refused > 0);
        assert_int_equal(f->dial.result.attempts, 0);
    }
    assert_int_equal(tried_count, 0);
}

static void b40_a_name_is_judged_by_each_of_its_addresses(void **state)
{
    struct fixture *f = *state;
    const char *mixed[] = {"169.254.169.254", "127.0.0.1"};
    const char *bad[] = {"169.254.169.254", "fe80::1"};
    start(f, config_for(f, "mixed.example"));
    answer(f, mixed, 2);
    assert_int_equal(finish(f), 0);
    assert_int_equal(f->dial.result.addresses_refused, 1);
    drop(f);
    start(f, config_for(f, "bad.example"));
    answer(f, bad, 2);
    assert_int_equal(finish(f), ERR_DENIED);
    assert_int_equal(tried_count, 1);
}

static void b40_the_address_that_was_judged_is_connected_to(void **state)
{
    struct fixture *f = *state;
    const char *good[] = {"8.8.8.8"};
    struct dial_config config = config_for(f, "changes.example");
    config.allow_private = false;
    hook_errno = EHOSTUNREACH;
    start(f, config);
    answer(f, good, 1);
    assert_int_equal(finish(f), ERR_UNREACHABLE);
    assert_int_equal(tried_count, 1);
    assert_int_equal(tried[0].in.sin_addr.s_addr, inet_addr("8.8.8.8"));
    assert_int_equal(ntohs(tried[0].in.sin_port), f->port);
}

static void the_next_address_is_tried_as_soon_as_one_fails(void **state)
{
    struct fixture *f = *state;
    const char *two[] = {"127.0.0.1", "127.0.0.1"};
    hook_errno_first = ENETUNREACH;
    start(f, config_for(f, "api.example")); /* The stagger is an hour. */
    answer(f, two, 2);
    assert_int_equal(finish(f), 0);
    assert_int_equal(f->dial.result.attempts, 2);
    drop(f);
}

static void a_silent_address_is_overtaken_after_the_stagger(void **state)
{
    struct fixture *f = *state;
    const char *two[] = {SILENT, "127.0.0.1"};
    struct dial_config config = config_for(f, "api.example");
    config.stagger_ms = 5;
    config.timeout_ms = HOUR_MS;
    start(f, config);
    answer(f, two, 2);
    assert_int_equal(f->dial.result.attempts, 1);
    assert_int_equal(finish(f), 0);
    assert_int_equal(f->dial.result.attempts, 2);
    assert_int_equal(ntohs(f->dial.result.peer.in.sin_port), f->port);
    assert_int_equal(count_fds(), f->open_fds + 1); /* The loser is closed. */
    drop(f);
}

static void families_take_turns(void **state)
{
    struct fixture *f = *state;
    const char *four[] = {"2001:4860::1", "2001:4860::2", "8.8.8.8", "8.8.4.4"};
    const int expected[] = {AF_INET6, AF_INET, AF_INET6, AF_INET};
    hook_errno = ENETUNREACH;
    start(f, config_for(f, "api.example"));
    answer(f, four, 4);
    assert_int_equal(finish(f), ERR_UNREACHABLE);
    assert_int_equal(tried_count, 4);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(tried[i].any.sa_family, expected[i]);
}

static void the_error_is_the_most_telling_one(void **state)
{
    struct fixture *f = *state;
    static const int rows[][3] = {
        {ENETUNREACH, ECONNREFUSED, ERR_REFUSED}, {ECONNREFUSED, ENETUNREACH, ERR_REFUSED},
        {ETIMEDOUT, EHOSTUNREACH, ERR_TIMEOUT},   {EHOSTUNREACH, ETIMEDOUT, ERR_UNREACHABLE},
        {EPERM, EACCES, ERR_UNREACHABLE},         {ECONNRESET, ECONNRESET, ERR_REFUSED},
        {EADDRNOTAVAIL, EAGAIN, ERR_UNREACHABLE},
    };
    const char *two[] = {"127.0.0.1", "127.0.0.2"};
    start(f, config_for(f, "api.example"));
    answer(f, two, 2);
    assert_int_equal(finish(f), 0);
    drop(f);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        tried_count = 0;
        hook_errno_first = rows[i][0];
        hook_errno = rows[i][1];
        assert_int_equal(run(f, config_for(f, "api.example")), rows[i][2]);
    }
}

static void running_out_of_descriptors_is_told(void **state)
{
    struct fixture *f = *state;
    struct rlimit old;
    struct dial_config config = config_for(f, "127.0.0.1");
    wire_run_turns(&f->loop, 1);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){0, old.rlim_max}), 0);
    int rc = dial_start(&f->dial, &f->loop, f->resolver, &config, on_dialled);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(rc, 0);
    assert_int_equal(finish(f), ERR_LIMIT);
}

static void cancelling_ends_every_state_in_one_callback(void **state)
{
    struct fixture *f = *state;
    const char *one[] = {SILENT};
    dial_cancel(&f->dial); /* IDLE: nothing. */
    start(f, config_for(f, "api.example"));
    assert_int_equal(f->dial.state, DIAL_RESOLVING);
    dial_cancel(&f->dial);
    dial_cancel(&f->dial);
    assert_int_equal(f->called, 0);
    assert_int_equal(finish(f), ERR_CANCELED);
    answer(f, one, 1); /* Learnt, but nobody is told. */
    start(f, config_for(f, "api.example"));
    assert_int_equal(f->dial.state, DIAL_CONNECTING);
    wire_run_turns(&f->loop, 1);
    dial_cancel(&f->dial);
    assert_int_equal(finish(f), ERR_CANCELED);
    dial_cancel(&f->dial); /* DONE: nothing. */
    assert_int_equal(f->dial.result.status, ERR_CANCELED);
}

/* Before the close callbacks of the same turn: the connection stands, the callback is missing. */
static void on_check(uv_check_t *check)
{
    struct fixture *f = check->data;
    if (f->dial.state == DIAL_CLOSING)
        dial_cancel(&f->dial);
}

static void a_connection_that_stands_is_closed_when_cancelled_before_the_callback(void **state)
{
    struct fixture *f = *state;
    uv_check_t check;
    assert_int_equal(uv_check_init(&f->loop, &check), 0);
    check.data = f;
    assert_int_equal(uv_check_start(&check, on_check), 0);
    assert_int_equal(run(f, config_for(f, "127.0.0.1")), ERR_CANCELED);
    assert_int_equal(f->dial.result.fd, -1);
    uv_close((uv_handle_t *)&check, NULL);
    wire_run_turns(&f->loop, 2);
}

static bool was_called_twice(void *arg)
{
    return ((struct fixture *)arg)->called >= 2;
}

static void it_may_be_started_again_from_its_callback(void **state)
{
    struct fixture *f = *state;
    f->again = config_for(f, "127.0.0.1");
    start(f, config_for(f, "127.0.0.1"));
    assert_true(wire_run(&f->loop, was_called_twice, f));
    assert_int_equal(f->dial.result.status, 0);
    drop(f);
}

static void a_closing_resolver_cancels_the_dial(void **state)
{
    struct fixture *f = *state;
    start(f, config_for(f, "api.example"));
    resolver_close(f->resolver, on_closed, f);
    assert_int_equal(finish(f), ERR_CANCELED);
    resolver_reply(f->question, ERR_CANCELED, NULL, 0);
    assert_true(wire_run(&f->loop, is_closed, f));
    f->resolver = NULL;
    f->question = NULL;
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(an_address_gives_a_descriptor_with_its_options_set),
        T(the_descriptor_can_be_given_to_a_stream),
        T(ipv6_works_where_it_is),
        T(a_closed_port_is_refused),
        T(bad_arguments_call_nobody),
        T(a_name_is_resolved_first),
        T(a_name_that_is_not_there_is_not_found),
        T(f12_the_deadline_holds_while_resolving),
        T(f12_the_deadline_holds_while_connecting),
        T(b40_addresses_that_must_not_be_reached_are_denied),
        T(b40_a_name_is_judged_by_each_of_its_addresses),
        T(b40_the_address_that_was_judged_is_connected_to),
        T(the_next_address_is_tried_as_soon_as_one_fails),
        T(a_silent_address_is_overtaken_after_the_stagger),
        T(families_take_turns),
        T(the_error_is_the_most_telling_one),
        T(running_out_of_descriptors_is_told),
        T(cancelling_ends_every_state_in_one_callback),
        T(a_connection_that_stands_is_closed_when_cancelled_before_the_callback),
        T(it_may_be_started_again_from_its_callback),
        T(a_closing_resolver_cancels_the_dial),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
