/* What a second attempt costs, and everything for which it does not begin (RELIABILITY F17). */
#include <string.h>

#include "tests/unit/dataplane/node/hedge_fixture.h"

typedef Steelyard__Telemetry__V1__Decision Decision;
typedef Steelyard__Telemetry__V1__Attempt Attempt;

/* What the rows say of the last decision. */
struct seen {
    size_t rows, attempts;
    int64_t cost, sum; /* Of the decision; of its attempts. */
    unsigned status, served, flags, http;
    struct {
        char server[64];
        unsigned reason, flags, usage;
        int64_t cost, reserved;
        unsigned out;
        int64_t start_us;
    } of[4];
};

static void on_row(const Decision *row, void *arg)
{
    struct seen *s = arg;
    s->rows++;
    s->attempts = row->n_attempt;
    s->cost = row->cost;
    s->status = row->status;
    s->served = row->served;
    s->flags = row->flags;
    s->http = row->http_status;
    s->sum = 0;
    assert_true(row->n_attempt <= 4);
    for (size_t i = 0; i < row->n_attempt; i++) {
        const Attempt *a = row->attempt[i];
        str_copy(str_from(row->servers[a->endpoint]), s->of[i].server, sizeof s->of[i].server);
        s->of[i].reason = a->reason;
        s->of[i].flags = a->flags;
        s->of[i].usage = a->usage;
        s->of[i].cost = a->cost;
        s->of[i].reserved = a->reserved;
        s->of[i].out = a->out;
        s->of[i].start_us = a->start_us;
        s->sum += a->cost;
    }
    assert_true(s->sum == s->cost);
}

static void both_hold(struct rig *r)
{
    for (size_t i = 0; i < RIG_PROVIDERS; i++)
        rig_script(r, i, (struct rig_script){.then = RIG_HOLD});
}

/* Both providers hold what they are asked. granted: of budgets, where there are accounts. */
static void begin(struct rig *r, const struct rig_options *o, int64_t granted, struct seen *s)
{
    memset(s, 0, sizeof *s);
    if (o->account_count > 0) {
        struct sums unused;
        charge_begin(r, o, &unused, granted);
    } else {
        rig_start(r, o);
    }
    r->on_row = on_row;
    r->on_row_arg = s;
    hedge_allow(r);
    both_hold(r);
}

/* Until the first attempt has begun. */
static void ask_first(struct rig *r, struct rig_client *c, const char *body)
{
    rig_connect(r, c);
    rig_ask(c, body);
    rig_until(r, r->providers[0].requests + r->providers[1].requests == 1);
}

static void ask_both(struct rig *r, struct rig_client *c, const char *body)
{
    ask_first(r, c, body);
    hedge_due(r);
    rig_until(r, r->providers[0].requests == 1 && r->providers[1].requests == 1);
}

static void leave(struct rig *r, struct rig_client *c)
{
    rig_disconnect(r, c);
    rig_until(r, r->env.active_count == 0);
}

/* ---- money ---- */

static struct rig_options with_budgets(void)
{
    struct rig_options o = hedge_options();
    o.accounts = charge_five;
    o.account_count = 3;
    return o;
}

/* What is held for the first attempt, once it has begun. */
static int64_t first_held(struct rig *r, struct rig_client *c)
{
    ask_first(r, c, ASK_STREAM);
    return PLENTY - rig_free(r, 1001);
}

/* A whole stream. */
static void say_all(struct rig *r, size_t provider, int who)
{
    hedge_say(r, provider, who, 'H', false);
    hedge_say(r, provider, who, 'T', true);
    hedge_say(r, provider, who, 'E', true);
}

static void f17_both_are_held_for_and_both_are_charged(void **state)
{
    (void)state;
    const struct rig_options o = with_budgets();
    struct rig r;
    struct rig_client c;
    struct seen s;
    begin(&r, &o, PLENTY, &s);
    const int64_t held = first_held(&r, &c);
    assert_true(held > 2000 * MAX_OUT);
    hedge_due(&r);
    rig_until(&r, r.providers[0].requests + r.providers[1].requests == 2);
    for (uint64_t b = 1001; b <= 1003; b++)
        assert_true(PLENTY - rig_free(&r, b) == 2 * held);
    const size_t winner = 1;
    say_all(&r, winner, 1);
    rig_until(&r, rig_answered(&c));
    leave(&r, &c);
    const int64_t spent = PLENTY - rig_free(&r, 1002);
    assert_int_equal(hedge_counted(&r, "won") + hedge_counted(&r, "lost"), 1);
    rig_stop(&r);
    assert_int_equal(s.rows, 1);
    assert_int_equal(s.attempts, 2);
    assert_true(s.cost == spent);
    assert_true(s.of[0].reserved == held && s.of[1].reserved == held);
    assert_int_equal(s.of[1].cost, COST);
    assert_string_equal(s.of[1].server, "two/up-twin");
}

static bool passes(const char *why)
{
    return strcmp(why, "refused_budget") != 0;
}

/* why: NULL where no time for a second ever comes. */
static void one_alone(const struct rig_options *o, int64_t granted, const char *why,
                      void (*prepare)(struct rig *r))
{
    struct rig r;
    struct rig_client c;
    struct seen s;
    begin(&r, o, granted, &s);
    if (prepare != NULL)
        prepare(&r);
    ask_first(&r, &c, ASK);
    if (why != NULL)
        hedge_due(&r);
    hedge_settle_loop(&r);
    assert_true(hedge_waits(&r) == (why != NULL && passes(why)));
    assert_int_equal(r.providers[0].requests + r.providers[1].requests, 1);
    hedge_say(&r, r.providers[0].requests == 1 ? 0 : 1, 0, 'W', false);
    rig_until(&r, rig_answered(&c));
    leave(&r, &c);
    assert_false(hedge_waits(&r));
    if (why != NULL)
        assert_int_equal(hedge_counted(&r, why), 1);
    if (o->account_count > 0)
        assert_true(rig_free(&r, 1001) == granted - COST);
    rig_stop(&r);
    assert_int_equal(s.rows, 1);
    assert_int_equal(s.attempts, 1);
    assert_int_equal(s.flags & RECORD_FLAG_HEDGE, 0);
}

static void f17_without_money_for_a_second_the_first_stays_alone(void **state)
{
    (void)state;
    const struct rig_options o = with_budgets();
    one_alone(&o, WORST + WORST / 2, "refused_budget", NULL);
}

/* The first was asked for less than the caller wants: nothing is left for a second. */
static void f17_where_the_first_is_clamped_there_is_no_second(void **state)
{
    (void)state;
    const struct rig_options o = with_budgets();
    one_alone(&o, WORST_IN + INT64_C(2000) * (MAX_OUT / 2), "refused_budget", NULL);
}

/* ---- nobody, or not now ---- */

static struct request *the_request(struct rig *r)
{
    return container_of(r->env.active.next, struct request, link);
}

static void cool_both(struct rig *r)
{
    struct upstream_view *v = upstream_pin(&r->env.upstream);
    for (uint32_t i = 0; i < v->snapshot->deployment_count; i++)
        if (str_is(v->targets[i].deployment->provider->name, "two"))
            endpoint_cool(v->targets[i].endpoint, 60000, false, clock_mono_ms());
    upstream_unpin(&r->env.upstream, v);
}

static void eject_two(struct rig *r)
{
    struct upstream_view *v = upstream_pin(&r->env.upstream);
    for (uint32_t i = 0; i < v->snapshot->deployment_count; i++)
        if (str_is(v->targets[i].deployment->provider->name, "two"))
            endpoint_eject_slow(v->targets[i].endpoint, clock_mono_ms());
    upstream_unpin(&r->env.upstream, v);
}

static void fill_two(struct rig *r)
{
    struct upstream_view *v = upstream_pin(&r->env.upstream);
    for (uint32_t i = 0; i < v->snapshot->deployment_count; i++)
        if (str_is(v->targets[i].deployment->provider->name, "two"))
            atomic_store(&v->targets[i].endpoint->shared->inflight, CONCURRENCY_MAX);
    upstream_unpin(&r->env.upstream, v);
}

static void use_up(struct rig *r)
{
    while (retry_budget_take_hedge(&r->shared.retries, HEDGE_FIVE, clock_mono_ms())) {
    }
}

static void f17_an_unhealthy_or_full_deployment_is_nobody(void **state)
{
    (void)state;
    struct rig_options o = hedge_options();
    one_alone(&o, 0, "refused_nobody", cool_both);
    one_alone(&o, 0, "refused_nobody", eject_two);
    one_alone(&o, 0, "refused_nobody", fill_two);
    o.small_twice = false; /* Another model's deployment is nobody, too. */
    o.candidates = 2;
    o.way = WAY_PRIORITY;
    one_alone(&o, 0, "refused_nobody", NULL);
}

/* Room that there is belongs to those who wait for it. */
static void f17_f21_not_while_others_wait_for_the_model(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    struct seen s;
    const struct rig_options o = hedge_options();
    int somebody = 0;
    begin(&r, &o, PLENTY, &s);
    ask_first(&r, &c, ASK);
    const struct snapshot_route *route = the_request(&r)->route;
    assert_int_equal(queue_join(&r.env.queue, &somebody, route, 1, 1, clock_mono_ms()),
                     QUEUE_JOINED);
    hedge_due(&r);
    hedge_settle_loop(&r);
    hedge_say(&r, 0, 0, 'W', false);
    rig_until(&r, rig_answered(&c));
    queue_leave(&r.env.queue, &somebody, false);
    leave(&r, &c);
    assert_int_equal(hedge_counted(&r, "refused_nobody"), 1);
    rig_stop(&r);
    assert_int_equal(s.attempts, 1);
}

static void f17_the_node_has_its_share_of_them(void **state)
{
    (void)state;
    const struct rig_options o = hedge_options();
    one_alone(&o, 0, "refused_share", use_up);
}

/* It is asked again when the first has taken as long again, and may begin then. */
static void f17_what_was_refused_is_asked_again(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    struct seen s;
    const struct rig_options o = hedge_options();
    const uint64_t taken_ms = 30000;
    begin(&r, &o, PLENTY, &s);
    use_up(&r);
    ask_first(&r, &c, ASK);
    the_request(&r)->attempt.start_ns -= taken_ms * 1000000;
    hedge_due(&r);
    hedge_settle_loop(&r);
    const struct request *q = the_request(&r);
    const uint64_t asked_ms = q->now_ns / 1000000;
    const uint64_t took_ms = asked_ms - q->attempt.start_ns / 1000000;
    assert_true(took_ms >= taken_ms);
    assert_int_equal(q->work->hedge_wait.at_ms, asked_ms + took_ms);
    assert_int_equal(r.env.hedge_due_ms, q->work->hedge_wait.at_ms);
    assert_true(uv_is_active((const uv_handle_t *)&r.env.hedge_timer));
    assert_int_equal(r.providers[1].requests, 0);
    hedge_allow(&r);
    hedge_due(&r);
    rig_until(&r, r.providers[1].requests == 1);
    assert_false(hedge_waits(&r));
    hedge_say(&r, 1, 1, 'W', false);
    rig_until(&r, rig_answered(&c));
    leave(&r, &c);
    assert_int_equal(hedge_counted(&r, "won"), 1);
    assert_int_equal(hedge_counted(&r, "refused_share"), 0);
    rig_stop(&r);
    assert_int_equal(s.attempts, 2);
}

static void f17_it_is_off_unless_the_route_says_when(void **state)
{
    (void)state;
    struct rig_options o = hedge_options();
    o.on_route = NULL;
    one_alone(&o, 0, NULL, NULL);
}

static void show_quick(struct rig *r)
{
    struct upstream_view *v = upstream_pin(&r->env.upstream);
    for (uint32_t i = 0; i < v->snapshot->deployment_count; i++)
        for (unsigned n = 0; n < QUANTILE_SAMPLES_MIN; n++)
            quantile_observe(&v->targets[i].endpoint->content[1], HEDGE_AFTER_MS);
    upstream_unpin(&r->env.upstream, v);
}

/* Of whole answers nothing is known here; of streams there is. */
static void f17_by_p95_only_once_enough_is_known(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    struct seen s;
    struct rig_options o = hedge_options();
    hedge_after_ms = 0;
    one_alone(&o, 0, NULL, NULL);
    one_alone(&o, 0, NULL, show_quick);
    begin(&r, &o, PLENTY, &s);
    show_quick(&r);
    ask_both(&r, &c, ASK_STREAM);
    leave(&r, &c);
    rig_stop(&r);
    assert_int_equal(s.attempts, 2);
    hedge_after_ms = HEDGE_AFTER_MS;
}

/* ---- while the other is read on ---- */

/* On the same connection, though his key may have one request at a time. */
static void f17_who_has_the_answer_may_ask_again_at_once(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    struct rig_answer a;
    struct seen s;
    struct rig_options o = hedge_options();
    o.abort_stops_billing = false;
    o.key_concurrency = 1;
    begin(&r, &o, PLENTY, &s);
    ask_both(&r, &c, ASK);
    hedge_say(&r, 1, 1, 'W', false);
    rig_until(&r, rig_answered(&c));
    rig_answer_read(&c, &a);
    assert_int_equal(a.status, 200);
    assert_false(str_search(a.head, STR("x-steelyard-cost-usd")) >= 0); /* Not known yet. */
    buf_deinit(&a.body);
    assert_int_equal(r.env.active_count, 1);
    assert_int_equal(rig_records(&r), 0);
    assert_int_equal(atomic_load(&r.shared.unseen), 1);
    buf_clear(&c.in);
    rig_ask(&c, ASK);
    rig_until(&r, r.providers[0].requests + r.providers[1].requests == 3);
    hedge_say(&r, 0, 0, 'W', false);
    hedge_say(&r, 1, 0, 'W', false);
    rig_until(&r, rig_answered(&c));
    rig_answer_read(&c, &a);
    assert_int_equal(a.status, 200);
    buf_deinit(&a.body);
    leave(&r, &c);
    assert_int_equal(atomic_load(&r.shared.unseen), 0);
    rig_stop(&r);
    assert_int_equal(s.rows, 2);
}

/* A node that stops does not wait for what nobody sees. */
static void f17_what_is_read_on_ends_with_the_node(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    struct seen s;
    struct rig_options o = hedge_options();
    o.abort_stops_billing = false;
    begin(&r, &o, PLENTY, &s);
    ask_both(&r, &c, ASK);
    hedge_say(&r, 1, 1, 'W', false);
    rig_until(&r, rig_answered(&c));
    atomic_store(&r.shared.ending, true);
    rig_until(&r, r.env.active_count == 0);
    rig_disconnect(&r, &c);
    rig_stop(&r);
    assert_int_equal(s.rows, 1);
    assert_int_equal(s.status, RECORD_STATUS_OK);
    assert_int_equal(s.of[0].reason, RECORD_REASON_CANCELLED);
    assert_int_equal(s.of[1].reason, RECORD_REASON_OK);
}

/* Where the record is on disk before the answer, nothing may be left to record. */
static void f17_with_durability_of_the_host_the_other_is_stopped(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    struct seen s;
    struct rig_options o = hedge_options();
    o.abort_stops_billing = false;
    begin(&r, &o, PLENTY, &s);
    r.shared.settings.durability_host = true;
    ask_both(&r, &c, ASK);
    hedge_say(&r, 1, 1, 'W', false);
    rig_until(&r, rig_answered(&c));
    assert_int_equal(rig_records(&r), 1);
    rig_until(&r, r.providers[0].gone == 1); /* Closed, not pooled. */
    leave(&r, &c);
    rig_stop(&r);
    assert_int_equal(s.of[0].reason, RECORD_REASON_CANCELLED);
}

/* ---- memory ---- */

static void f17_without_memory_for_a_second_the_first_serves(void **state)
{
    (void)state;
    struct rig r;
    struct rig_options o = hedge_options();
    rig_start(&r, &o);
    both_hold(&r);
    bool fired = true;
    for (unsigned n = 0; fired; n++) {
        struct rig_client c;
        const size_t before = r.providers[0].requests + r.providers[1].requests;
        hedge_forget_failures(&r);
        rig_connect(&r, &c);
        rig_ask(&c, ASK_STREAM);
        rig_until(&r, r.providers[0].requests + r.providers[1].requests == before + 1);
        fault_arm_alloc(n);
        hedge_due(&r);
        rig_until(&r, !hedge_waits(&r));
        hedge_settle_loop(&r);
        fired = fault_disarm();
        for (size_t i = 0; i < RIG_PROVIDERS; i++)
            say_all(&r, i, 0);
        rig_until(&r, rig_answered(&c) || c.ended || c.broken);
        leave(&r, &c);
    }
    rig_stop(&r);
}

static void f17_what_was_held_for_a_second_that_has_no_memory_is_given_back(void **state)
{
    (void)state;
    const struct rig_options o = with_budgets();
    struct rig r;
    struct rig_client c;
    struct seen s;
    begin(&r, &o, PLENTY, &s);
    const int64_t held = first_held(&r, &c);
    fault_arm_alloc(0);
    hedge_due(&r);
    rig_until(&r, !hedge_waits(&r));
    assert_true(fault_disarm());
    assert_int_equal(r.providers[0].requests + r.providers[1].requests, 1);
    for (uint64_t b = 1001; b <= 1003; b++)
        assert_true(PLENTY - rig_free(&r, b) == held);
    const size_t first = r.providers[0].requests == 1 ? 0 : 1;
    say_all(&r, first, 1);
    rig_until(&r, rig_answered(&c));
    leave(&r, &c);
    const int64_t spent = PLENTY - rig_free(&r, 1002);
    assert_int_equal(hedge_counted(&r, "refused_memory"), 1);
    rig_stop(&r);
    assert_int_equal(s.attempts, 1);
    assert_true(s.cost == spent && s.of[0].reserved == held);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f17_both_are_held_for_and_both_are_charged),
        cmocka_unit_test(f17_without_money_for_a_second_the_first_stays_alone),
        cmocka_unit_test(f17_where_the_first_is_clamped_there_is_no_second),
        cmocka_unit_test(f17_an_unhealthy_or_full_deployment_is_nobody),
        cmocka_unit_test(f17_f21_not_while_others_wait_for_the_model),
        cmocka_unit_test(f17_the_node_has_its_share_of_them),
        cmocka_unit_test(f17_what_was_refused_is_asked_again),
        cmocka_unit_test(f17_it_is_off_unless_the_route_says_when),
        cmocka_unit_test(f17_by_p95_only_once_enough_is_known),
        cmocka_unit_test(f17_who_has_the_answer_may_ask_again_at_once),
        cmocka_unit_test(f17_what_is_read_on_ends_with_the_node),
        cmocka_unit_test(f17_with_durability_of_the_host_the_other_is_stopped),
        cmocka_unit_test(f17_without_memory_for_a_second_the_first_serves),
        cmocka_unit_test(f17_what_was_held_for_a_second_that_has_no_memory_is_given_back),
    };
    return rig_run_for_each_transport(tests, sizeof tests / sizeof tests[0]);
}
