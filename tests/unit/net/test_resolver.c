/* The resolver against a source that answers when the test says so, on a clock the test moves. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/net/resolver.h"
#include "tests/lib/fault.h"
#include "tests/lib/wire.h"

#define ASKED_MAX 16

struct asked {
    struct resolver_question *question; /* NULL: answered. */
    char host[RESOLVER_HOST_BYTES_MAX + 1];
};

struct fixture {
    uv_loop_t loop;
    struct resolver *resolver;
    struct resolver_source source;
    struct asked asked[ASKED_MAX];
    size_t asked_count;
    unsigned hurried;
    int refuse; /* What ask returns instead of asking. */
    bool closed;
};

struct client {
    struct resolver_query query;
    struct resolver_answer answer;
    int status;
    unsigned called;
    struct fixture *again; /* Looks another name up in the callback. */
    struct client *victim; /* Forgotten in the callback. */
};

static uint64_t now_ms;

static uint64_t test_mono_ns(void)
{
    return now_ms * 1000000U;
}

static int64_t test_wall_us(void)
{
    return (int64_t)now_ms * 1000;
}

static const struct clock_source test_clock = {.mono_ns = test_mono_ns, .wall_us = test_wall_us};

static int on_ask(void *arg, struct resolver_question *q, const char *host)
{
    struct fixture *f = arg;
    if (f->refuse != 0)
        return f->refuse;
    assert_true(f->asked_count < ASKED_MAX);
    struct asked *a = &f->asked[f->asked_count++];
    a->question = q;
    (void)snprintf(a->host, sizeof(a->host), "%s", host);
    return 0;
}

static void on_hurry(void *arg, struct resolver_question *q)
{
    (void)q;
    ((struct fixture *)arg)->hurried++;
}

static union resolver_address address(const char *text)
{
    union resolver_address a = {0};
    if (inet_pton(AF_INET, text, &a.in.sin_addr) == 1)
        a.in.sin_family = AF_INET;
    else if (inet_pton(AF_INET6, text, &a.in6.sin6_addr) == 1)
        a.in6.sin6_family = AF_INET6;
    assert_true(a.any.sa_family != 0);
    return a;
}

static void answer(struct fixture *f, size_t index, const char *text)
{
    union resolver_address a = address(text);
    struct resolver_question *q = f->asked[index].question;
    assert_non_null(q);
    f->asked[index].question = NULL;
    resolver_reply(q, 0, &a, 1);
}

static void refuse_with(struct fixture *f, size_t index, int status)
{
    struct resolver_question *q = f->asked[index].question;
    assert_non_null(q);
    f->asked[index].question = NULL;
    resolver_reply(q, status, NULL, 0);
}

static void assert_first(const struct resolver_answer *a, const char *expected)
{
    char text[INET6_ADDRSTRLEN];
    const void *bytes = a->addresses[0].any.sa_family == AF_INET
                            ? (const void *)&a->addresses[0].in.sin_addr
                            : (const void *)&a->addresses[0].in6.sin6_addr;
    assert_true(a->count > 0);
    assert_non_null(inet_ntop(a->addresses[0].any.sa_family, bytes, text, sizeof(text)));
    assert_string_equal(text, expected);
}

static void on_answer(struct resolver_query *q, int status, const struct resolver_answer *a)
{
    struct client *c = container_of(q, struct client, query);
    c->called++;
    c->status = status;
    assert_true((status == 0) == (a != NULL));
    if (a != NULL)
        c->answer = *a;
    if (c->victim != NULL)
        resolver_forget(&c->victim->query);
    if (c->again != NULL) {
        struct resolver *r = c->again->resolver;
        c->again = NULL;
        c->status = resolver_lookup(r, STR("other.example"), &c->answer, q, on_answer);
    }
}

static int lookup(struct fixture *f, struct client *c, const char *host)
{
    return resolver_lookup(f->resolver, str_from(host), &c->answer, &c->query, on_answer);
}

static void make(struct fixture *f, uint32_t names_max)
{
    f->source = (struct resolver_source){.ask = on_ask, .hurry = on_hurry, .arg = f};
    const struct resolver_config config = {
        .patience_ms = 1, .names_max = names_max, .source = &f->source};
    f->resolver = resolver_create(&f->loop, &config);
    assert_non_null(f->resolver);
}

static int set_up(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    assert_non_null(f);
    now_ms = 1000000;
    clock_set_source(&test_clock);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    make(f, 4);
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

static void close_resolver(struct fixture *f)
{
    resolver_close(f->resolver, on_closed, f);
    f->resolver = NULL;
    for (size_t i = 0; i < f->asked_count; i++)
        if (f->asked[i].question != NULL)
            refuse_with(f, i, ERR_CANCELED);
    assert_true(wire_run(&f->loop, is_closed, f));
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    if (f->resolver != NULL)
        close_resolver(f);
    wire_run_turns(&f->loop, 2);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    clock_set_source(NULL);
    mem_free(f);
    return 0;
}

static bool was_called(void *arg)
{
    return ((struct client *)arg)->called > 0;
}

/* The name's answer is in the cache, as old as the clock says later. */
static void learn(struct fixture *f, const char *host, const char *text)
{
    struct client c = {0};
    assert_int_equal(lookup(f, &c, host), ERR_AGAIN);
    answer(f, f->asked_count - 1, text);
    assert_int_equal(c.called, 1);
    assert_int_equal(c.status, 0);
    assert_first(&c.answer, text);
}

static void numbers_and_localhost_ask_nobody(void **state)
{
    struct fixture *f = *state;
    struct client c = {0};
    const char *rows[][2] = {
        {"192.0.2.7", "192.0.2.7"},       {"2001:db8::1", "2001:db8::1"},
        {"[2001:db8::1]", "2001:db8::1"}, {"::ffff:10.0.0.1", "::ffff:10.0.0.1"},
        {"localhost", "127.0.0.1"},       {"LocalHost.", "127.0.0.1"},
        {"api.localhost", "127.0.0.1"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(lookup(f, &c, rows[i][0]), 0);
        assert_first(&c.answer, rows[i][1]);
    }
    assert_int_equal(c.answer.count, 2);
    assert_int_equal(c.answer.addresses[1].any.sa_family, AF_INET6);
    assert_int_equal(f->asked_count, 0);
    assert_int_equal(resolver_stats(f->resolver).names, 0);
}

static void b40_what_no_name_is_is_refused(void **state)
{
    struct fixture *f = *state;
    struct client c = {0};
    char longest[RESOLVER_HOST_BYTES_MAX + 2];
    memset(longest, 'a', sizeof(longest));
    assert_int_equal(resolver_lookup(f->resolver,
                                     (struct str){.data = longest, .len = sizeof(longest) - 1},
                                     &c.answer, &c.query, on_answer),
                     ERR_INVALID);
    const char *bad[] = {"", "[]", "a b", "a/b", "fe80::1%eth0", "a\x01", "\xc3\xa9", "a\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(lookup(f, &c, bad[i]), ERR_INVALID);
    assert_int_equal(resolver_lookup(f->resolver, (struct str){.data = "a\0b", .len = 3}, &c.answer,
                                     &c.query, on_answer),
                     ERR_INVALID);
    assert_int_equal(f->asked_count, 0);
    longest[RESOLVER_HOST_BYTES_MAX] = '\0';
    assert_int_equal(lookup(f, &c, longest), ERR_AGAIN);
    resolver_forget(&c.query);
}

static void an_answer_is_used_until_it_runs_out(void **state)
{
    struct fixture *f = *state;
    struct client c = {0};
    learn(f, "api.example", "192.0.2.1");
    now_ms += 22499;
    assert_int_equal(lookup(f, &c, "API.Example"), 0);
    assert_false(c.answer.stale);
    assert_int_equal(f->asked_count, 1);
    now_ms += 7501;
    assert_int_equal(lookup(f, &c, "api.example"), ERR_AGAIN);
    answer(f, 1, "192.0.2.2");
    assert_first(&c.answer, "192.0.2.2");
    assert_false(c.answer.stale);
}

static void an_answer_in_use_is_renewed_before_it_runs_out(void **state)
{
    struct fixture *f = *state;
    struct client c = {0};
    learn(f, "api.example", "192.0.2.1");
    now_ms += 22500;
    assert_int_equal(lookup(f, &c, "api.example"), 0);
    assert_int_equal(lookup(f, &c, "api.example"), 0);
    assert_int_equal(f->asked_count, 2); /* Once, in the background. */
    answer(f, 1, "192.0.2.2");
    now_ms += 22000;
    assert_int_equal(lookup(f, &c, "api.example"), 0);
    assert_first(&c.answer, "192.0.2.2");
    assert_int_equal(c.called, 0);
}

static void equal_questions_are_asked_once(void **state)
{
    struct fixture *f = *state;
    struct client c[3] = {0};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(lookup(f, &c[i], "api.example"), ERR_AGAIN);
    assert_int_equal(f->asked_count, 1);
    assert_string_equal(f->asked[0].host, "api.example");
    resolver_forget(&c[1].query);
    resolver_forget(&c[1].query);
    answer(f, 0, "192.0.2.1");
    assert_int_equal(c[0].called, 1);
    assert_int_equal(c[1].called, 0);
    assert_int_equal(c[2].called, 1);
    assert_int_equal(resolver_stats(f->resolver).joined, 2);
}

static void a_callback_may_ask_again_and_forget_another(void **state)
{
    struct fixture *f = *state;
    struct client c[2] = {0};
    assert_int_equal(lookup(f, &c[0], "api.example"), ERR_AGAIN);
    assert_int_equal(lookup(f, &c[1], "api.example"), ERR_AGAIN);
    c[0].again = f;
    c[0].victim = &c[1];
    answer(f, 0, "192.0.2.1");
    assert_int_equal(c[0].status, ERR_AGAIN);
    assert_int_equal(c[1].called, 0);
    answer(f, 1, "192.0.2.9");
    assert_int_equal(c[0].called, 2);
    assert_first(&c[0].answer, "192.0.2.9");
}

static void a_failure_is_remembered_for_a_second(void **state)
{
    struct fixture *f = *state;
    struct client c = {0};
    assert_int_equal(lookup(f, &c, "api.example"), ERR_AGAIN);
    refuse_with(f, 0, ERR_UNREACHABLE);
    assert_int_equal(c.status, ERR_NOT_FOUND);
    now_ms += 999;
    assert_int_equal(lookup(f, &c, "api.example"), ERR_NOT_FOUND);
    assert_int_equal(f->asked_count, 1);
    now_ms += 1;
    assert_int_equal(lookup(f, &c, "api.example"), ERR_AGAIN);
    refuse_with(f, 1, ERR_NOMEM);
    assert_int_equal(c.status, ERR_NOMEM);
    assert_int_equal(c.called, 2);
}

static void f26_the_last_answer_is_used_up_to_an_hour_when_dns_fails(void **state)
{
    struct fixture *f = *state;
    struct client c = {0};
    learn(f, "api.example", "192.0.2.1");
    now_ms += 3600000 - 1;
    assert_int_equal(lookup(f, &c, "api.example"), ERR_AGAIN);
    refuse_with(f, 1, ERR_UNREACHABLE);
    assert_int_equal(c.status, 0);
    assert_true(c.answer.stale);
    assert_first(&c.answer, "192.0.2.1");
    now_ms += 1;
    assert_int_equal(lookup(f, &c, "api.example"), ERR_NOT_FOUND); /* Failed just now; too old. */
    now_ms += 1000;
    assert_int_equal(lookup(f, &c, "api.example"), ERR_AGAIN);
    refuse_with(f, 2, ERR_UNREACHABLE);
    assert_int_equal(c.status, ERR_NOT_FOUND);
}

static void f26_within_a_second_of_a_failure_nobody_waits(void **state)
{
    struct fixture *f = *state;
    struct client c = {0};
    learn(f, "api.example", "192.0.2.1");
    now_ms += 60000;
    assert_int_equal(lookup(f, &c, "api.example"), ERR_AGAIN);
    refuse_with(f, 1, ERR_UNREACHABLE);
    assert_int_equal(lookup(f, &c, "api.example"), 0);
    assert_true(c.answer.stale);
    assert_int_equal(f->asked_count, 2);
}

static void f26_slow_dns_is_waited_for_only_as_long_as_patience_lasts(void **state)
{
    struct fixture *f = *state;
    struct client c = {0};
    struct client later = {0};
    learn(f, "api.example", "192.0.2.1");
    now_ms += 60000;
    assert_int_equal(lookup(f, &c, "api.example"), ERR_AGAIN);
    assert_true(wire_run(&f->loop, was_called, &c));
    assert_int_equal(c.status, 0);
    assert_true(c.answer.stale);
    assert_int_equal(lookup(f, &later, "api.example"), 0); /* The question is late already. */
    assert_true(later.answer.stale);
    assert_int_equal(f->asked_count, 2);
    answer(f, 1, "192.0.2.2"); /* Learnt all the same. */
    assert_int_equal(lookup(f, &later, "api.example"), 0);
    assert_false(later.answer.stale);
    assert_first(&later.answer, "192.0.2.2");
    assert_int_equal(c.called, 1);
}

static void f26_an_answer_that_grows_too_old_while_dns_is_slow_is_not_used(void **state)
{
    struct fixture *f = *state;
    struct client c = {0};
    learn(f, "api.example", "192.0.2.1");
    now_ms += 3600000 - 1;
    assert_int_equal(lookup(f, &c, "api.example"), ERR_AGAIN);
    now_ms += 1;
    wire_run_ms(&f->loop, 5);
    assert_int_equal(c.called, 0);
    answer(f, 1, "192.0.2.2");
    assert_first(&c.answer, "192.0.2.2");
}

static void no_such_name_ends_an_old_answer(void **state)
{
    struct fixture *f = *state;
    struct client c = {0};
    learn(f, "api.example", "192.0.2.1");
    now_ms += 60000;
    assert_int_equal(lookup(f, &c, "api.example"), ERR_AGAIN);
    refuse_with(f, 1, ERR_NOT_FOUND);
    assert_int_equal(c.status, ERR_NOT_FOUND);
    now_ms += 1000;
    assert_int_equal(lookup(f, &c, "api.example"), ERR_AGAIN);
    refuse_with(f, 2, ERR_UNREACHABLE);
    assert_int_equal(c.status, ERR_NOT_FOUND);
}

static void a_failed_renewal_leaves_a_fresh_answer_alone(void **state)
{
    struct fixture *f = *state;
    struct client c = {0};
    learn(f, "api.example", "192.0.2.1");
    now_ms += 25000;
    assert_int_equal(lookup(f, &c, "api.example"), 0);
    refuse_with(f, 1, ERR_UNREACHABLE);
    assert_int_equal(lookup(f, &c, "api.example"), 0);
    assert_false(c.answer.stale);
    assert_int_equal(f->asked_count, 2);
    now_ms += 1000;
    assert_int_equal(lookup(f, &c, "api.example"), 0);
    assert_int_equal(f->asked_count, 3);
}

static void names_are_bounded_and_the_oldest_makes_room(void **state)
{
    struct fixture *f = *state;
    struct client c[5] = {0};
    const char *names[] = {"a.example", "b.example", "c.example", "d.example"};
    for (size_t i = 0; i < 4; i++)
        learn(f, names[i], "192.0.2.1");
    assert_int_equal(lookup(f, &c[0], "a.example"), 0);
    learn(f, "e.example", "192.0.2.1"); /* In place of b. */
    assert_int_equal(resolver_stats(f->resolver).names, 4);
    assert_int_equal(lookup(f, &c[0], "a.example"), 0);
    assert_int_equal(lookup(f, &c[0], "b.example"), ERR_AGAIN); /* In place of c. */
    assert_int_equal(lookup(f, &c[1], "c.example"), ERR_AGAIN);
    assert_int_equal(lookup(f, &c[2], "f.example"), ERR_AGAIN);
    assert_int_equal(lookup(f, &c[3], "g.example"), ERR_AGAIN);
    assert_int_equal(lookup(f, &c[4], "h.example"), ERR_BUSY);
    assert_int_equal(resolver_stats(f->resolver).questions, 4);
    answer(f, f->asked_count - 1, "192.0.2.1");
    assert_int_equal(lookup(f, &c[4], "h.example"), ERR_AGAIN);
    for (size_t i = 0; i < 5; i++)
        resolver_forget(&c[i].query);
}

static void families_take_turns_beginning_with_the_preferred_one(void **state)
{
    struct fixture *f = *state;
    struct client c = {0};
    const char *given[] = {"2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4",
                           "2001:db8::5", "2001:db8::6", "2001:db8::7", "2001:db8::8",
                           "192.0.2.1",   "192.0.2.2"};
    union resolver_address addresses[10];
    for (size_t i = 0; i < 10; i++)
        addresses[i] = address(given[i]);
    assert_int_equal(lookup(f, &c, "api.example"), ERR_AGAIN);
    struct resolver_question *q = f->asked[0].question;
    f->asked[0].question = NULL;
    resolver_reply(q, 0, addresses, 10);
    const size_t expected[] = {0, 8, 1, 9, 2, 3, 4, 5};
    assert_int_equal(c.answer.count, RESOLVER_ADDRESSES_MAX);
    for (size_t i = 0; i < RESOLVER_ADDRESSES_MAX; i++)
        assert_memory_equal(&c.answer.addresses[i], &addresses[expected[i]],
                            sizeof(union resolver_address));
}

static void a_source_that_refuses_is_told_at_once(void **state)
{
    struct fixture *f = *state;
    struct client c = {0};
    f->refuse = ERR_NOMEM;
    assert_int_equal(lookup(f, &c, "api.example"), ERR_NOMEM);
    f->refuse = ERR_INVALID;
    assert_int_equal(lookup(f, &c, "api.example"), ERR_NOT_FOUND);
    f->refuse = 0;
    learn(f, "api.example", "192.0.2.1");
    now_ms += 60000;
    f->refuse = ERR_NOMEM;
    assert_int_equal(lookup(f, &c, "api.example"), 0);
    assert_true(c.answer.stale);
}

static void closing_cancels_who_waits_and_waits_for_the_source(void **state)
{
    struct fixture *f = *state;
    struct client c = {0};
    assert_int_equal(lookup(f, &c, "api.example"), ERR_AGAIN);
    resolver_close(f->resolver, on_closed, f);
    assert_int_equal(f->hurried, 1);
    assert_int_equal(c.called, 0);
    assert_int_equal(lookup(f, &c, "other.example"), ERR_CANCELED);
    assert_true(wire_run(&f->loop, was_called, &c));
    assert_int_equal(c.status, ERR_CANCELED);
    wire_run_turns(&f->loop, 3);
    assert_false(f->closed);
    refuse_with(f, 0, ERR_CANCELED);
    assert_true(wire_run(&f->loop, is_closed, f));
    assert_int_equal(c.called, 1);
    f->resolver = NULL;
}

static void each_failed_allocation_is_told(void **state)
{
    struct fixture *f = *state;
    struct client c = {0};
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        char host[32];
        (void)snprintf(host, sizeof(host), "n%u.example", n);
        fault_arm_alloc(n);
        int rc = lookup(f, &c, host);
        fired = fault_disarm();
        assert_int_equal(rc, fired ? ERR_NOMEM : ERR_AGAIN);
    }
    resolver_forget(&c.query);
    close_resolver(f);
    fault_arm_alloc(0);
    assert_null(resolver_create(&f->loop, NULL));
    assert_true(fault_disarm());
}

static void the_system_is_asked_off_the_loop(void **state)
{
    struct fixture *f = *state;
    struct client c = {0};
    close_resolver(f);
    f->closed = false;
    f->resolver = resolver_create(&f->loop, NULL);
    assert_non_null(f->resolver);
    /* RFC 6761 section 6.4: this name never exists. */
    assert_int_equal(lookup(f, &c, "steelyard.invalid"), ERR_AGAIN);
    assert_int_equal(c.called, 0);
    assert_true(wire_run(&f->loop, was_called, &c));
    assert_int_equal(c.status, ERR_NOT_FOUND);
}

static void the_system_knows_what_the_hosts_file_says(void **state)
{
    struct fixture *f = *state;
    struct client c = {0};
    close_resolver(f);
    f->closed = false;
    f->resolver = resolver_create(&f->loop, NULL);
    assert_non_null(f->resolver);
    char name[RESOLVER_HOST_BYTES_MAX + 1];
    size_t bytes = sizeof(name);
    assert_int_equal(uv_os_gethostname(name, &bytes), 0);
    int rc = lookup(f, &c, name);
    if (rc == ERR_AGAIN && wire_run(&f->loop, was_called, &c))
        rc = c.status;
    if (rc != 0)
        skip(); /* A machine that does not know its own name. */
    assert_true(c.answer.count > 0);
    assert_int_equal(lookup(f, &c, name), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(numbers_and_localhost_ask_nobody),
        T(b40_what_no_name_is_is_refused),
        T(an_answer_is_used_until_it_runs_out),
        T(an_answer_in_use_is_renewed_before_it_runs_out),
        T(equal_questions_are_asked_once),
        T(a_callback_may_ask_again_and_forget_another),
        T(a_failure_is_remembered_for_a_second),
        T(f26_the_last_answer_is_used_up_to_an_hour_when_dns_fails),
        T(f26_within_a_second_of_a_failure_nobody_waits),
        T(f26_slow_dns_is_waited_for_only_as_long_as_patience_lasts),
        T(f26_an_answer_that_grows_too_old_while_dns_is_slow_is_not_used),
        T(no_such_name_ends_an_old_answer),
        T(a_failed_renewal_leaves_a_fresh_answer_alone),
        T(names_are_bounded_and_the_oldest_makes_room),
        T(families_take_turns_beginning_with_the_preferred_one),
        T(a_source_that_refuses_is_told_at_once),
        T(closing_cancels_who_waits_and_waits_for_the_source),
        T(each_failed_allocation_is_told),
        T(the_system_is_asked_off_the_loop),
        T(the_system_knows_what_the_hosts_file_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
