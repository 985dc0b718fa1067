/* Two attempts at once, in every order in which they can answer (RELIABILITY F17, F19). */
#include <string.h>

#include "control.pb-c.h"
#include "tests/unit/dataplane/node/hedge_fixture.h"

typedef Steelyard__Telemetry__V1__Decision Decision;
typedef Steelyard__Telemetry__V1__Attempt Attempt;

/* ---- every order ---- */

/* What an attempt does, a letter each: Head, Text, End; X: it fails. Whole answers: W; B: a 400. */
struct order {
    const char *does[2]; /* Of the first attempt, of the second. */
    char events[16];     /* '1', '2': the next letter of that attempt. 'L': the client leaves. */
    bool whole;
};

#define ORDERS_MAX 512
static struct order orders[ORDERS_MAX];
static size_t order_count;

static void add_orders(struct order o, size_t a, size_t b, size_t at)
{
    const size_t left_a = strlen(o.does[0]) - a, left_b = strlen(o.does[1]) - b;
    if (left_a + left_b == 0) {
        assert_true(order_count < ORDERS_MAX);
        o.events[at] = '\0';
        orders[order_count++] = o;
        return;
    }
    if (left_a > 0) {
        o.events[at] = '1';
        add_orders(o, a + 1, b, at + 1);
    }
    if (left_b > 0) {
        o.events[at] = '2';
        add_orders(o, a, b + 1, at + 1);
    }
}

static void make_orders(bool whole, bool leaves)
{
    static const char *const streams[] = {"HTE", "HTX", "HX", "X"};
    static const char *const wholes[] = {"W", "B", "X"};
    const size_t count = whole ? 3 : 4;
    order_count = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < count; k++) {
            struct order o = {
                .does = {whole ? wholes[i] : streams[i], whole ? wholes[k] : streams[k]},
                .whole = whole};
            add_orders(o, 0, 0, 0);
        }
    const size_t plain = order_count;
    for (size_t i = 0; leaves && i < plain; i++) {
        struct order o = orders[i];
        const size_t at = i % (strlen(o.events) + 1); /* One place each, all places in turn. */
        if (strcmp(o.does[0], "HTE") != 0 || strcmp(o.does[1], "HTE") != 0)
            continue;
        memmove(o.events + at + 1, o.events + at, strlen(o.events + at) + 1);
        o.events[at] = 'L';
        orders[order_count++] = o;
    }
}

/* What should come of it. */
struct fate {
    int won;          /* Which attempt serves; -1: none. */
    bool gone;        /* The client left before. */
    bool ended[2];    /* By the provider's doing. */
    bool complete[2]; /* ... with all that it has to say. */
    bool refused[2];  /* ... which is a 400. */
    bool stopped[2];  /* By the node's doing. */
};

static void fate_step(struct fate *f, int who, char what, bool stops)
{
    if (f->ended[who] || f->stopped[who])
        return;
    if (what == 'T' && f->won < 0 && !f->gone)
        f->won = who;
    if (what == 'W' || what == 'B' || what == 'E') {
        f->ended[who] = f->complete[who] = true;
        f->refused[who] = what == 'B';
        if (f->won < 0 && !f->gone)
            f->won = who;
    }
    if (what == 'X')
        f->ended[who] = true;
    if (f->won >= 0 && stops && !f->ended[1 - f->won])
        f->stopped[1 - f->won] = true;
}

static bool says(struct str body, int who)
{
    return str_search(body, str_from(hedge_text(who))) >= 0;
}

/* Nothing of two answers is ever joined, and an answer is whole or marked as cut (P7). */
static void check_answer(const struct rig_client *c, const struct order *o, const struct fate *f)
{
    struct rig_answer a;
    rig_answer_read(c, &a);
    const struct str body = buf_str(&a.body);
    if (f->won < 0) {
        assert_int_equal(a.status, 502);
        assert_false(says(body, 0) || says(body, 1));
    } else {
        assert_int_equal(a.status, f->refused[f->won] ? 400 : 200);
        assert_true(says(body, f->won));
        assert_false(says(body, 1 - f->won));
        if (!o->whole)
            assert_int_equal(str_search(body, STR("[DONE]")) >= 0, f->complete[f->won]);
        assert_true(rig_has_header(&a, "x-steelyard-attempts: 2\r\n"));
    }
    buf_deinit(&a.body);
}

struct expected {
    struct fate fate;
    char servers[2][32];
    char what[48];
};
static struct expected expected[ORDERS_MAX];
static size_t row_at;

static void check_attempt(const Decision *row, const struct expected *e, size_t at)
{
    const struct fate *f = &e->fate;
    const Attempt *a = row->attempt[at];
    const char *server = row->servers[a->endpoint];
    const int who = (a->flags & RECORD_FLAG_HEDGE) != 0 ? 1 : 0;
    assert_string_equal(server, e->servers[who]);
    if (f->refused[who]) {
        assert_int_equal(a->reason, RECORD_REASON_CLIENT_ERROR);
        assert_int_equal(a->cost, 0);
    } else if (f->complete[who]) {
        assert_int_equal(a->reason, RECORD_REASON_OK);
        assert_int_equal(a->usage, RECORD_USAGE_PROVIDER);
        assert_int_equal(a->cost, COST);
    } else if (f->stopped[who]) {
        assert_int_equal(a->reason, RECORD_REASON_CANCELLED);
    } else if (!f->complete[who]) {
        assert_int_not_equal(a->reason, RECORD_REASON_OK);
        assert_int_not_equal(a->reason, RECORD_REASON_CANCELLED);
    }
}

static void check_row(const Decision *row, void *arg)
{
    const struct expected *e = &expected[row_at++];
    const struct fate *f = &e->fate;
    (void)arg;
    int64_t sum = 0;
    unsigned flagged = 0;
    if (row->n_attempt != 2)
        fail_msg("%s: %zu attempts", e->what, row->n_attempt);
    for (size_t i = 0; i < 2; i++) {
        sum += row->attempt[i]->cost;
        flagged += (row->attempt[i]->flags & RECORD_FLAG_HEDGE) != 0;
        check_attempt(row, e, i);
    }
    assert_int_equal(flagged, 1);
    assert_true(sum == row->cost);
    assert_true((row->flags & RECORD_FLAG_HEDGE) != 0);
    if (f->won >= 0) /* The last row is the answer's. */
        assert_string_equal(row->servers[row->attempt[1]->endpoint], e->servers[f->won]);
    const unsigned status = f->gone               ? RECORD_STATUS_CANCELLED
                            : f->won < 0          ? RECORD_STATUS_FAILED
                            : f->refused[f->won]  ? RECORD_STATUS_FAILED
                            : f->complete[f->won] ? RECORD_STATUS_OK
                                                  : RECORD_STATUS_PARTIAL;
    if (row->status != (Steelyard__Telemetry__V1__DecisionStatus)status)
        fail_msg("%s: status %d, not %u", e->what, row->status, status);
}

static void run_order(struct rig *r, const struct order *o, struct expected *e, bool stops)
{
    struct rig_client c;
    struct fate *f = &e->fate;
    size_t said[2] = {0, 0};
    const size_t before[2] = {r->providers[0].requests, r->providers[1].requests};
    *e = (struct expected){.fate = {.won = -1}};
    snprintf(e->what, sizeof e->what, "%s %s %s", o->does[0], o->does[1], o->events);
    hedge_forget_failures(r);
    rig_connect(r, &c);
    rig_ask(&c, o->whole ? ASK : ASK_STREAM);
    rig_until(r, r->providers[0].requests > before[0] || r->providers[1].requests > before[1]);
    hedge_due(r);
    rig_until(r, r->providers[0].requests > before[0] && r->providers[1].requests > before[1]);
    const struct request *q = container_of(r->env.active.next, struct request, link);
    assert_int_equal(q->work->hedge->state, HEDGE_BOTH);
    const size_t first = str_is(q->attempt.target->deployment->provider->name, "one") ? 0 : 1;
    const size_t provider[2] = {first, 1 - first};
    for (int i = 0; i < 2; i++)
        str_copy(provider[i] == 0 ? STR("one/up-small") : STR("two/up-twin"), e->servers[i],
                 sizeof e->servers[i]);
    for (const char *at = o->events; *at != '\0'; at++) {
        if (*at == 'L') {
            rig_disconnect(r, &c);
            f->gone = !(f->won >= 0 && f->ended[f->won]) && !(f->ended[0] && f->ended[1]);
            for (int i = 0; f->gone && i < 2; i++)
                f->stopped[i] |= stops && !f->ended[i];
            hedge_settle_loop(r);
            continue;
        }
        const int who = *at - '1';
        const char what = o->does[who][said[who]];
        hedge_say(r, provider[who], who, what, said[who] > 0);
        said[who]++;
        fate_step(f, who, what, stops);
        hedge_settle_loop(r);
        /* Whatever the other still does, the caller does not wait for it. */
        if (!c.closed && f->won >= 0 && f->complete[f->won])
            rig_until(r, rig_answered(&c));
    }
    if (!c.closed) {
        rig_until(r, rig_answered(&c) || c.ended || c.broken);
        check_answer(&c, o, f);
        rig_disconnect(r, &c);
    }
    rig_until(r, r->env.active_count == 0);
    assert_int_equal(atomic_load(&r->shared.unseen), 0);
}

static void no_retries(void *route)
{
    hedge_route(route);
    ((Steelyard__Control__V1__Route *)route)->no_retries = 1;
}

static void run_orders(bool whole, bool leaves, bool stops)
{
    struct rig r;
    struct rig_options o = hedge_options();
    o.abort_stops_billing = stops;
    o.on_route = no_retries;
    rig_start(&r, &o);
    r.on_row = check_row;
    row_at = 0;
    for (size_t i = 0; i < RIG_PROVIDERS; i++)
        rig_script(&r, i, (struct rig_script){.then = RIG_HOLD});
    make_orders(whole, leaves);
    for (size_t i = 0; i < order_count; i++)
        run_order(&r, &orders[i], &expected[i], stops);
    rig_stop(&r);
    assert_int_equal(row_at, order_count);
}

static void f17_streams_in_every_order_the_first_with_content_serves(void **state)
{
    (void)state;
    run_orders(false, false, true);
}

static void f17_whole_answers_in_every_order_the_first_serves(void **state)
{
    (void)state;
    run_orders(true, false, true);
    run_orders(true, false, false);
}

static void f17_f19_where_aborting_saves_nothing_the_other_is_read_on_unseen(void **state)
{
    (void)state;
    run_orders(false, false, false);
}

static void f17_f19_a_client_that_leaves_ends_both_in_every_order(void **state)
{
    (void)state;
    run_orders(false, true, true);
    run_orders(false, true, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f17_streams_in_every_order_the_first_with_content_serves),
        cmocka_unit_test(f17_whole_answers_in_every_order_the_first_serves),
        cmocka_unit_test(f17_f19_where_aborting_saves_nothing_the_other_is_read_on_unseen),
        cmocka_unit_test(f17_f19_a_client_that_leaves_ends_both_in_every_order),
    };
    return rig_run_for_each_transport(tests, sizeof tests / sizeof tests[0]);
}
