/* What a request came to is settled once, however it ends, and weighs on the choices that follow.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/dataplane/node/charge_fixture.h"

/* ---- whose counts ---- */

struct billing {
    const char *usage; /* Member of the reply; "": none. */
    int64_t cost;      /* -1: our own count, which is not nothing. */
    uint32_t source;
    uint32_t flags;
};

static void usage_is_the_providers_zero_included_else_ours(void **state)
{
    (void)state;
    static const struct billing rows[] = {
        {",\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5}", COST, RECORD_USAGE_PROVIDER,
         0},
        {",\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0}", 0, RECORD_USAGE_PROVIDER,
         RECORD_FLAG_USAGE_SUSPECT},
        {"", -1, RECORD_USAGE_COUNTED, RECORD_FLAG_USAGE_ESTIMATED},
        {",\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":60000000}", -1,
         RECORD_USAGE_COUNTED, RECORD_FLAG_USAGE_ESTIMATED | RECORD_FLAG_USAGE_SUSPECT},
        {",\"usage\":{\"prompt_tokens\":-1,\"completion_tokens\":5}", -1, RECORD_USAGE_COUNTED,
         RECORD_FLAG_USAGE_ESTIMATED | RECORD_FLAG_USAGE_SUSPECT},
    };
    const struct rig_options o = charge_options_of(charge_five, 1);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig r;
        struct rig_answer a;
        struct sums s;
        char body[512];
        (void)snprintf(body, sizeof body,
                       "{\"id\":\"c\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"m\","
                       "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"
                       "\"hello\"},\"finish_reason\":\"stop\"}]%s}",
                       rows[i].usage);
        charge_begin(&r, &o, &s, PLENTY);
        rig_script(&r, 0,
                   (struct rig_script){.reply = replies_make(JSON_HEAD
                                                             "Transfer-Encoding: chunked\r\n\r\n",
                                                             body, "0\r\n\r\n")});
        rig_exchange(&r, ASK, &a);
        assert_int_equal(a.status, 200);
        int64_t spent = PLENTY - rig_free(&r, 1001);
        buf_deinit(&a.body);
        rig_stop(&r);
        assert_true(s.of[1] == spent);
        assert_true(rows[i].cost < 0 ? spent > 0 && spent < WORST : spent == rows[i].cost);
        assert_int_equal(s.usage, rows[i].source);
        assert_int_equal(s.flags & (RECORD_FLAG_USAGE_ESTIMATED | RECORD_FLAG_USAGE_SUSPECT),
                         rows[i].flags);
    }
}

static void f19_who_leaves_early_pays_for_what_the_provider_made(void **state)
{
    (void)state;
    struct rig_options o = charge_options_of(charge_five, 1);
    for (int i = 0; i < 4; i++) {
        struct rig r;
        struct rig_client c;
        struct sums s;
        const bool stream = (i & 2) != 0, counted = i == 3;
        const int64_t longer = stream ? (int64_t)(sizeof ASK_STREAM - sizeof ASK) : 0;
        o.abort_stops_billing = (i & 1) != 0;
        charge_begin(&r, &o, &s, PLENTY);
        r.shared.settings.unseen_ms = 60;
        rig_script(&r, 0, (struct rig_script){.then = RIG_HOLD});
        rig_connect(&r, &c);
        rig_ask(&c, stream ? ASK_STREAM : ASK);
        rig_until(&r, r.providers[0].requests == 1);
        rig_disconnect(&r, &c);
        rig_until(&r, r.env.active_count == 0);
        int64_t spent = PLENTY - rig_free(&r, 1001);
        rig_stop(&r);
        assert_int_equal(s.rows, 1);
        assert_int_equal(s.status, RECORD_STATUS_CANCELLED);
        assert_true(s.of[1] == spent);
        /* Where the cut ends it, a stream that has brought nothing: its input. Of an answer that
         * comes whole, as where the cut ends nothing, nobody knows: all that was held. */
        assert_true(counted ? spent > 0 && spent < WORST_IN : spent == WORST + 2000 * longer);
        assert_int_equal(s.usage, counted ? RECORD_USAGE_COUNTED : RECORD_USAGE_ESTIMATED);
    }
}

static void f19_what_is_read_unseen_is_paid_by_its_usage(void **state)
{
    (void)state;
    struct rig_options o = charge_options_of(charge_five, 1);
    struct rig r;
    struct rig_client c;
    struct sums s;
    o.abort_stops_billing = false;
    charge_begin(&r, &o, &s, PLENTY);
    rig_script(&r, 0,
               (struct rig_script){
                   .reply = replies_stream(EV_ROLE EV_TEXT EV_STOP EV_USAGE EV_DONE), .piece = 3});
    rig_connect(&r, &c);
    rig_ask(&c, ASK_STREAM);
    rig_until(&r, c.in.len > 0);
    rig_disconnect(&r, &c);
    rig_until(&r, r.env.active_count == 0);
    assert_true(rig_free(&r, 1001) == PLENTY - COST);
    rig_stop(&r);
    assert_int_equal(s.status, RECORD_STATUS_CANCELLED);
    assert_int_equal(s.usage, RECORD_USAGE_PROVIDER);
}

static void f19_a_stream_that_goes_on_unread_is_paid_as_it_was_held(void **state)
{
    (void)state;
    for (int stops = 0; stops < 2; stops++) {
        struct rig_options o = charge_options_of(charge_five, 1);
        struct rig r;
        struct rig_client c;
        struct sums s;
        o.abort_stops_billing = stops != 0;
        charge_begin(&r, &o, &s, PLENTY);
        r.shared.settings.unseen_max = 0; /* Too many are read on already. */
        rig_script(&r, 0,
                   (struct rig_script){.reply = replies_make(SSE_HEAD, EV_ROLE EV_TEXT, ""),
                                       .then = RIG_HOLD});
        rig_connect(&r, &c);
        rig_ask(&c, ASK_STREAM);
        rig_until(&r, c.in.len > 0);
        rig_disconnect(&r, &c);
        rig_until(&r, r.env.active_count == 0);
        int64_t spent = PLENTY - rig_free(&r, 1001);
        rig_stop(&r);
        assert_int_equal(s.status, RECORD_STATUS_CANCELLED);
        assert_true(stops != 0 ? spent > 0 && spent < s.reserved : spent == s.reserved);
        assert_int_equal(s.usage, stops != 0 ? RECORD_USAGE_COUNTED : RECORD_USAGE_ESTIMATED);
    }
}

/* ---- without an answer ---- */

/* The provider may have worked on each, and bill it, and nobody here will ever know. */
static void b38_what_was_taken_and_never_answered_is_paid_as_it_was_held(void **state)
{
    (void)state;
    static const struct rig_script scripts[] = {
        {.then = RIG_CLOSE},
        {.then = RIG_RESET},
        {.reply = "HTTP/1.1 200", .then = RIG_CLOSE},
        {.reply = "HTTP/1.1 200 OK\r\nContent-Type: text/ev", .then = RIG_RESET},
        {.reply = "HTTP/1.1 100 Continue\r\n\r\n", .then = RIG_CLOSE},
        {.reply = "none of your business\r\n\r\n", .then = RIG_CLOSE},
        {.then = RIG_HOLD}, /* Until the head is late. */
        {.reply = SSE_HEAD "8\r\n: wait\n\n\r\n", .then = RIG_CLOSE},
        {.reply = JSON_HEAD "Content-Length: 300\r\n\r\n{\"id\"", .then = RIG_CLOSE},
    };
    for (size_t i = 0; i < 4 * sizeof scripts / sizeof scripts[0]; i++) {
        struct rig_options o = charge_options_of(charge_five, 3);
        struct rig r;
        struct rig_answer a;
        struct sums s;
        o.abort_stops_billing = (i & 1) != 0;
        o.head_ms = 60;
        charge_begin(&r, &o, &s, PLENTY);
        rig_script(&r, 0, scripts[i / 4]);
        rig_script(&r, 1, scripts[i / 4]);
        rig_exchange(&r, (i & 2) != 0 ? ASK_STREAM : ASK, &a);
        assert_true(a.status >= 500 || a.status == 0 || (i & 2) != 0);
        buf_deinit(&a.body);
        int64_t spent[3];
        for (uint64_t k = 0; k < 3; k++)
            spent[k] = PLENTY - rig_free(&r, 1001 + k);
        rig_stop(&r);
        assert_int_equal(s.usage, RECORD_USAGE_ESTIMATED);
        assert_true(s.attempts >= 1 && s.reserved >= WORST);
        for (uint64_t k = 0; k < 3; k++) {
            assert_true(spent[k] >= s.attempts * s.reserved); /* "large" costs more. */
            assert_true(spent[k] == s.of[k + 1]);
        }
    }
}

static void f20_what_the_provider_never_took_costs_nothing(void **state)
{
    (void)state;
    const struct rig_options o = charge_options_of(charge_five, 1);
    struct rig r;
    struct rig_client c;
    struct rig_answer a;
    struct sums s;
    charge_begin(&r, &o, &s, PLENTY);
    rig_script(&r, 0, charge_whole_reply());
    rig_connect(&r, &c);
    for (int i = 0; i < 2; i++) {
        rig_ask(&c, ASK);
        if (i == 1)
            rig_cut(&r, 0); /* The connection that is kept is dead by now. */
        rig_until(&r, rig_answered(&c));
        rig_answer_read(&c, &a);
        buf_clear(&c.in);
        assert_int_equal(a.status, 200);
        buf_deinit(&a.body);
    }
    assert_true(rig_free(&r, 1001) == PLENTY - 2 * COST);
    rig_disconnect(&r, &c);
    rig_stop(&r);
    assert_int_equal(s.attempts, 1);
}

static void f20_a_kept_connection_that_took_it_is_paid_and_the_next_sending_held_anew(void **state)
{
    (void)state;
    for (int poor = 0; poor < 2; poor++) {
        const struct rig_options o = charge_options_of(charge_five, 1);
        struct rig r;
        struct rig_answer a;
        struct sums s;
        charge_begin(&r, &o, &s, COST + WORST + (poor != 0 ? 0 : WORST));
        rig_script(&r, 0, charge_whole_reply());
        rig_script(&r, 0, (struct rig_script){.then = RIG_CLOSE});
        rig_script(&r, 0, charge_whole_reply());
        rig_exchange(&r, ASK_SMALL, &a);
        assert_int_equal(a.status, 200);
        buf_deinit(&a.body);
        int64_t before = rig_free(&r, 1001);
        rig_exchange(&r, ASK_SMALL, &a);
        assert_int_equal(a.status, poor != 0 ? 502 : 200);
        buf_deinit(&a.body);
        int64_t spent = before - rig_free(&r, 1001);
        size_t requests = r.providers[0].requests;
        rig_stop(&r);
        assert_int_equal(requests, poor != 0 ? 2 : 3);
        assert_int_equal(s.attempts, poor != 0 ? 1 : 2);
        assert_true(spent == s.reserved + (poor != 0 ? 0 : COST));
    }
}

/* ---- pressure ---- */

static void cost_weighs_more_as_the_tightest_budget_nears_its_end(void **state)
{
    (void)state;
    static const struct {
        int64_t limit;
        uint64_t factor_q8; /* Of the policy's lambda. */
    } rows[] = {{PLENTY * 100, 256}, {PLENTY * 2, 256}, {PLENTY * 4 / 3, 448}, {PLENTY, 1024}};
    const struct rig_options o = charge_options_of(charge_five, 2);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig r;
        struct rig_answer a;
        struct sums s;
        struct budget_reservation spent = {.count = 1};
        charge_begin(&r, &o, &s, 0);
        rig_grant(&r, 1001, PLENTY * 2, PLENTY * 100);
        rig_grant(&r, 1002, PLENTY + WORST, rows[i].limit);
        assert_int_equal(budget_find(r.budgets, 1002, clock_wall_us(), &spent.ref[0]), 0);
        assert_int_equal(budget_reserve(r.budgets, &spent, PLENTY, 0, NULL), 0);
        budget_settle(&spent, PLENTY);
        rig_script(&r, 0, charge_whole_reply());
        rig_exchange(&r, ASK, &a);
        assert_int_equal(a.status, 200);
        buf_deinit(&a.body);
        rig_stop(&r);
        assert_in_range(s.lambda,
                        POLICY_LAMBDA_DEFAULT / 256 * (int64_t)rows[i].factor_q8 * 99 / 100,
                        POLICY_LAMBDA_DEFAULT / 256 * (int64_t)rows[i].factor_q8 * 101 / 100);
        assert_in_range(s.pressure, (uint64_t)(PLENTY * 65536 / rows[i].limit) - 2,
                        (uint64_t)(PLENTY * 65536 / rows[i].limit) + 2);
    }
}

/* ---- all of it ---- */

static struct rig_script any_reply(void)
{
    static const char *const replies[] = {
        "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\nretry-after: 0\r\n\r\n",
        "HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\n{}x",
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 300\r\n\r\n{\"id\"",
    };
    switch (rand() % 8) {
    case 0:
        return (struct rig_script){.reply = replies[rand() % 4], .then = RIG_CLOSE};
    case 1:
        return (struct rig_script){.reply = UNWELL};
    case 2:
        return (struct rig_script){.then = RIG_RESET};
    case 3:
        return (struct rig_script){.reply = replies_stream(EV_ROLE EV_TEXT EV_TEXT),
                                   .piece = 1 + (size_t)rand() % 200,
                                   .then = RIG_CLOSE};
    case 4:
        return (struct rig_script){.reply = replies_stream(EV_ROLE EV_TEXT EV_STOP EV_DONE),
                                   .piece = 1 + (size_t)rand() % 200};
    case 5:
        return (struct rig_script){.reply =
                                       replies_stream(EV_ROLE EV_TEXT EV_STOP EV_USAGE EV_DONE),
                                   .piece = 1 + (size_t)rand() % 200};
    default:
        return (struct rig_script){.reply = replies_whole(), .piece = (size_t)rand() % 300};
    }
}

/* Whatever clients and providers do: what is settled is what the rows say, and nothing stays held.
 */
static void p3_what_is_settled_is_what_the_rows_say(void **state)
{
    (void)state;
    static const struct rig_account accounts[] = {
        {1, ACCOUNT_ORG, "acme"},    {2, ACCOUNT_TEAM, "search"}, {3, ACCOUNT_KEY, "0123456789"},
        {8, ACCOUNT_MODEL, "small"}, {9, ACCOUNT_MODEL, "large"},
    };
    for (unsigned seed = 1; seed <= 24; seed++) {
        struct rig_options o = charge_options_of(accounts, 5);
        struct rig r;
        struct sums s;
        srand(seed);
        o.abort_stops_billing = seed % 2 == 0;
        o.large_price = 3000000000;
        o.route_timeout_ms = 400;
        const int64_t granted = seed % 3 == 0 ? 4 * WORST : PLENTY;
        charge_begin(&r, &o, &s, granted);
        r.shared.settings.unseen_ms = 50;
        for (size_t i = 0; i < 4; i++) {
            rig_script(&r, 0, any_reply());
            rig_script(&r, 1, any_reply());
        }
        for (int i = 0; i < 12; i++) {
            static const char *const asks[] = {ASK, ASK_STREAM, ASK_SMALL, ASK_LARGE};
            struct rig_client c;
            rig_connect(&r, &c);
            rig_ask(&c, asks[rand() % 4]);
            for (int turns = rand() % 3 == 0 ? rand() % 12 : 100000;
                 turns > 0 && !rig_answered(&c) && !c.ended && !c.broken; turns--)
                assert_true(rig_turn(&r));
            rig_disconnect(&r, &c);
        }
        rig_until(&r, r.env.active_count == 0);
        int64_t spent[10] = {0};
        for (size_t i = 0; i < 5; i++)
            spent[accounts[i].id] = granted - rig_free(&r, accounts[i].id + 1000);
        rig_stop(&r);
        for (size_t i = 0; i < 5; i++)
            if (s.of[accounts[i].id] != spent[accounts[i].id])
                fail_msg("seed %u, account %u: rows say %lld, settled were %lld", seed,
                         (unsigned)accounts[i].id, (long long)s.of[accounts[i].id],
                         (long long)spent[accounts[i].id]);
        assert_true(s.of[1] == s.cost);
        assert_true(s.of[8] + s.of[9] == s.cost);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usage_is_the_providers_zero_included_else_ours),
        cmocka_unit_test(f19_who_leaves_early_pays_for_what_the_provider_made),
        cmocka_unit_test(f19_what_is_read_unseen_is_paid_by_its_usage),
        cmocka_unit_test(f19_a_stream_that_goes_on_unread_is_paid_as_it_was_held),
        cmocka_unit_test(b38_what_was_taken_and_never_answered_is_paid_as_it_was_held),
        cmocka_unit_test(f20_what_the_provider_never_took_costs_nothing),
        cmocka_unit_test(f20_a_kept_connection_that_took_it_is_paid_and_the_next_sending_held_anew),
        cmocka_unit_test(cost_weighs_more_as_the_tightest_budget_nears_its_end),
        cmocka_unit_test(p3_what_is_settled_is_what_the_rows_say),
    };
    (void)signal(SIGPIPE, SIG_IGN); /* Scripted providers write to whoever left. */
    int failed = rig_run_for_each_transport(tests, sizeof tests / sizeof tests[0]);
    replies_free();
    return failed;
}
