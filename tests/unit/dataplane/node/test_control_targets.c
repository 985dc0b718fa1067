/* Lists of control planes and the names in them: resolver, timer and clients are played here, so
 * that answers come when the test says so and time passes by a number. */
#include "dataplane/control_targets.h"

#include <netinet/in.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "tests/lib/fault.h"

/* --- the world -----------------------------------------------------------------------------------
 */

static uint64_t now_ms;
static uv_timer_cb look; /* What the timer calls. */
static uv_getaddrinfo_t *query;
static uv_getaddrinfo_cb answer_cb;
static char asked[64]; /* The name that is asked for now. */
static unsigned asked_count, cancelled;
static uint64_t turn;
static char told[256]; /* What the client has: "target=name ...". */
static unsigned told_count;
static int told_status;

static uint64_t mono_ns(void)
{
    return now_ms * 1000000;
}

static int64_t wall_us(void)
{
    return 1795233600000000;
}

int __wrap_uv_timer_start(uv_timer_t *timer, uv_timer_cb cb, uint64_t timeout, uint64_t repeat);
int __wrap_uv_timer_start(uv_timer_t *timer, uv_timer_cb cb, uint64_t timeout, uint64_t repeat)
{
    (void)timer;
    assert_true(timeout == 1000 && repeat == 1000);
    look = cb;
    return 0;
}

int __wrap_uv_getaddrinfo(uv_loop_t *loop, uv_getaddrinfo_t *req, uv_getaddrinfo_cb cb,
                          const char *node, const char *service, const struct addrinfo *hints);
int __wrap_uv_getaddrinfo(uv_loop_t *loop, uv_getaddrinfo_t *req, uv_getaddrinfo_cb cb,
                          const char *node, const char *service, const struct addrinfo *hints)
{
    (void)loop;
    (void)service;
    assert_null(query); /* One at a time. */
    assert_int_equal(hints->ai_socktype, SOCK_STREAM);
    query = req;
    answer_cb = cb;
    assert_true(str_copy(str_from(node), asked, sizeof asked));
    asked_count++;
    return 0;
}

void __wrap_uv_freeaddrinfo(struct addrinfo *list);
void __wrap_uv_freeaddrinfo(struct addrinfo *list)
{
    (void)list;
}

int __wrap_uv_cancel(uv_req_t *req);
int __wrap_uv_cancel(uv_req_t *req)
{
    assert_ptr_equal(req, query);
    cancelled++;
    return 0;
}

static void note(const char *const *targets, const char *const *names, size_t count)
{
    struct buf text;
    buf_init(&text, sizeof told - 1);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(buf_printf(&text, "%s%s=%s", i > 0 ? " " : "", targets[i],
                                    names[i] != NULL ? names[i] : ""),
                         0);
    assert_true(str_copy(buf_str(&text), told, sizeof told));
    buf_deinit(&text);
    told_count++;
}

int __wrap_rpc_client_create_list(uv_loop_t *loop, const char *const *targets,
                                  const char *const *names, size_t count, const struct rpc_tls *tls,
                                  struct rpc_client *beside, struct rpc_client **out_client,
                                  struct err *err);
int __wrap_rpc_client_create_list(uv_loop_t *loop, const char *const *targets,
                                  const char *const *names, size_t count, const struct rpc_tls *tls,
                                  struct rpc_client *beside, struct rpc_client **out_client,
                                  struct err *err)
{
    (void)loop;
    (void)tls;
    (void)beside;
    (void)err;
    note(targets, names, count);
    *out_client = (struct rpc_client *)(void *)told; /* Only passed on. */
    return 0;
}

int __wrap_rpc_client_set_targets(struct rpc_client *client, const char *const *targets,
                                  const char *const *names, size_t count, struct err *err);
int __wrap_rpc_client_set_targets(struct rpc_client *client, const char *const *targets,
                                  const char *const *names, size_t count, struct err *err)
{
    assert_ptr_equal(client, told);
    if (told_status != 0)
        return err_set(err, told_status, "not now");
    note(targets, names, count);
    return 0;
}

uint64_t __wrap_rpc_client_turn(const struct rpc_client *client);
uint64_t __wrap_rpc_client_turn(const struct rpc_client *client)
{
    assert_ptr_equal(client, told);
    return turn;
}

/* IPv4 addresses 10.0.0.x in this order; "": no answer. */
static void answer(const char *last_bytes)
{
    struct sockaddr_in address[8];
    struct addrinfo list[8];
    size_t n = strlen(last_bytes);
    uv_getaddrinfo_t *req = query;
    assert_non_null(req);
    query = NULL;
    memset(list, 0, sizeof list);
    memset(address, 0, sizeof address);
    for (size_t i = 0; i < n; i++) {
        address[i].sin_family = AF_INET;
        address[i].sin_addr.s_addr = htonl(0x0a000000U + (uint32_t)(last_bytes[i] - '0'));
        list[i].ai_family = AF_INET;
        list[i].ai_addr = (struct sockaddr *)&address[i];
        list[i].ai_next = i + 1 < n ? &list[i + 1] : NULL;
    }
    answer_cb(req, n > 0 ? 0 : UV_EAI_AGAIN, n > 0 ? list : NULL);
}

static void on_gone(void *user)
{
    *(bool *)user = true;
}

static uv_loop_t loop;

static struct control_targets *open_targets(const char *list)
{
    struct control_targets *t = NULL;
    struct rpc_client *client = NULL;
    struct err err = {0};
    asked_count = cancelled = told_count = 0;
    told_status = 0;
    uv_loop_init(&loop);
    if (control_targets_create(&loop, list, NULL, &t, &err) != 0)
        fail_msg("%s", err.message);
    assert_int_equal(control_targets_client(t, &client, &err), 0);
    return t;
}

static void close_targets(struct control_targets *t)
{
    bool gone = false;
    control_targets_close(t, on_gone, &gone);
    if (query != NULL) {
        uv_run(&loop, UV_RUN_NOWAIT);
        assert_false(gone); /* The resolver still points here. */
        assert_int_equal(cancelled, 1);
        answer("");
    }
    while (!gone)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* One tick of the timer, so many milliseconds later. */
static void pass(struct control_targets *t, uint64_t ms)
{
    uv_timer_t timer = {.data = t};
    now_ms += ms;
    look(&timer);
}

/* --- tests ---------------------------------------------------------------------------------------
 */

static void a_bad_list_is_refused_and_says_why(void **state)
{
    (void)state;
    static const struct {
        const char *list, *says;
    } bad[] = {{"", "no target"},
               {"a:1,,b:1", "empty"},
               {"control", "'control' is no host:port"},
               {"control:", "no host:port"},
               {":8091", "no host:port"},
               {"control:0", "no host:port"},
               {"control:65536", "no host:port"},
               {"control:x", "no host:port"},
               {"1:1,2:1,3:1,4:1,5:1,6:1,7:1,8:1,9:1,1:1,2:1,3:1,4:1,5:1,6:1,7:1,8:1,9:1,1:1,2:1,"
                "3:1,4:1,5:1,6:1,7:1,8:1,9:1,1:1,2:1,3:1,4:1,5:1,6:1",
                "more than 32"}};
    uv_loop_init(&loop);
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct control_targets *t = NULL;
        struct err err = {0};
        assert_true(control_targets_create(&loop, bad[i].list, NULL, &t, &err) != 0);
        assert_non_null(strstr(err.message, bad[i].says));
        assert_null(t);
    }
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void literals_and_sockets_are_not_asked_for(void **state)
{
    (void)state;
    struct control_targets *t = open_targets("10.0.0.9:8091, [::1]:8091 ,unix:/run/x:y");
    assert_int_equal(asked_count, 0);
    assert_string_equal(told, "10.0.0.9:8091= [::1]:8091= unix:/run/x:y=");
    pass(t, 60000);
    assert_int_equal(asked_count, 0);
    close_targets(t);
}

static void a_name_is_a_target_until_its_addresses_are_known(void **state)
{
    (void)state;
    struct control_targets *t = open_targets("control:8091,10.0.0.9:1,other:2");
    assert_string_equal(told, "control:8091= 10.0.0.9:1= other:2=");
    assert_string_equal(asked, "control");
    answer("21");
    /* Sorted; the certificate must say the name. */
    assert_string_equal(told, "10.0.0.1:8091=control 10.0.0.2:8091=control 10.0.0.9:1= other:2=");
    assert_string_equal(asked, "other");
    answer(""); /* Not known: its name stays. */
    assert_string_equal(told, "10.0.0.1:8091=control 10.0.0.2:8091=control 10.0.0.9:1= other:2=");
    assert_null(query);
    close_targets(t);
}

static void names_are_asked_for_again_when_a_connection_was_lost_and_now_and_then(void **state)
{
    (void)state;
    struct control_targets *t = open_targets("control:1");
    answer("12");
    unsigned before = told_count;
    pass(t, 29000);
    assert_int_equal(asked_count, 1);
    pass(t, 1000); /* Old. */
    assert_int_equal(asked_count, 2);
    answer("21"); /* The same in another order. */
    assert_int_equal(told_count, before);
    turn++; /* A client went on to another. */
    pass(t, 1000);
    assert_int_equal(asked_count, 2); /* Not that often. */
    pass(t, 1000);
    assert_int_equal(asked_count, 3);
    pass(t, 60000); /* One answer is awaited. */
    assert_int_equal(asked_count, 3);
    answer("3");
    assert_string_equal(told, "10.0.0.3:1=control");
    turn++;
    pass(t, 2000);
    answer(""); /* No answer: the last addresses stay. */
    assert_string_equal(told, "10.0.0.3:1=control");
    close_targets(t);
}

static void a_client_that_takes_no_addresses_keeps_its_own(void **state)
{
    (void)state;
    struct control_targets *t = open_targets("control:1");
    told_status = ERR_NOMEM;
    answer("1");
    assert_string_equal(told, "control:1=");
    told_status = 0;
    pass(t, 30000);
    answer("1"); /* Nothing new, and yet the client lacks it. */
    assert_string_equal(told, "10.0.0.1:1=control");
    close_targets(t);
}

static void more_clients_than_there_is_room_for_are_refused(void **state)
{
    (void)state;
    struct rpc_client *client = NULL;
    struct err err = {0};
    struct control_targets *t = open_targets("10.0.0.1:1");
    for (unsigned i = 1; i < CONTROL_CLIENTS_MAX; i++)
        assert_int_equal(control_targets_client(t, &client, &err), 0);
    assert_int_equal(control_targets_client(t, &client, &err), ERR_LIMIT);
    close_targets(t);
}

static void closing_waits_for_the_resolver(void **state)
{
    (void)state;
    struct control_targets *t = open_targets("control:1");
    assert_non_null(query);
    close_targets(t);
    assert_null(query);
}

static void each_failed_allocation_leaves_nothing_behind(void **state)
{
    (void)state;
    uint64_t before = mem_live_bytes();
    uv_loop_init(&loop);
    for (unsigned n = 0; n < 2; n++) {
        struct control_targets *t = NULL;
        struct err err = {0};
        fault_arm_alloc(n);
        assert_int_equal(control_targets_create(&loop, "control:1", NULL, &t, &err), ERR_NOMEM);
        assert_true(fault_disarm());
        assert_int_equal(mem_live_bytes(), before);
    }
    assert_null(query);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static int setup(void **state)
{
    static const struct clock_source source = {.mono_ns = mono_ns, .wall_us = wall_us};
    (void)state;
    now_ms = 1000000;
    clock_set_source(&source);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bad_list_is_refused_and_says_why),
        cmocka_unit_test(literals_and_sockets_are_not_asked_for),
        cmocka_unit_test(a_name_is_a_target_until_its_addresses_are_known),
        cmocka_unit_test(names_are_asked_for_again_when_a_connection_was_lost_and_now_and_then),
        cmocka_unit_test(a_client_that_takes_no_addresses_keeps_its_own),
        cmocka_unit_test(more_clients_than_there_is_room_for_are_refused),
        cmocka_unit_test(closing_waits_for_the_resolver),
        cmocka_unit_test(each_failed_allocation_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
