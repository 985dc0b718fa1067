/* What a request may cost is taken from all budgets of its path before it is sent, or it is told
 * why not (docs/budgets.md). */
#include <signal.h>
#include <string.h>

#include "tests/unit/dataplane/node/charge_fixture.h"

/* ---- the usual ---- */

static void f35_the_worst_case_is_held_while_it_runs_and_the_cost_is_spent(void **state)
{
    (void)state;
    const struct rig_options o = charge_options_of(charge_five, 3);
    struct rig r;
    struct rig_client c;
    struct sums s;
    charge_begin(&r, &o, &s, PLENTY);
    rig_script(&r, 0, (struct rig_script){.then = RIG_HOLD});
    rig_script(&r, 0, charge_whole_reply());
    rig_connect(&r, &c);
    rig_ask(&c, ASK);
    rig_until(&r, r.providers[0].requests == 1);
    for (uint64_t b = 1001; b <= 1003; b++)
        assert_true(rig_free(&r, b) == PLENTY - WORST);
    rig_cut(&r, 0); /* No head came: the provider's own failure costs nothing. */
    rig_until(&r, rig_answered(&c));
    rig_disconnect(&r, &c);
    rig_until(&r, r.env.active_count == 0);
    for (uint64_t b = 1001; b <= 1003; b++)
        assert_true(rig_free(&r, b) == PLENTY - s.cost || s.cost == 0);
    rig_stop(&r);
    assert_int_equal(s.rows, 1);
    assert_int_equal(s.charged, 1);
    assert_true(s.reserved == WORST);
    assert_true(s.epoch != 0);
    assert_int_equal(s.clamp, 0);
    for (uint64_t a = 1; a <= 3; a++)
        assert_true(s.of[a] == s.cost);
}

static void tags_users_and_groups_of_models_pay_each_once(void **state)
{
    (void)state;
    static const struct rig_account accounts[] = {
        {1, ACCOUNT_ORG, "acme"},    {4, ACCOUNT_TAG, "app=x"}, {5, ACCOUNT_USER, "alice"},
        {6, ACCOUNT_TAG, "mine"},    {7, ACCOUNT_USER, "bob"},  {8, ACCOUNT_MODEL, "small"},
        {9, ACCOUNT_MODEL, "large"},
    };
    static const char body[] = "{\"model\":\"auto\",\"user\":\"alice\",\"messages\":[{\"role\":"
                               "\"user\",\"content\":\"hi\"}]}";
    struct rig_options o = charge_options_of(accounts, 7);
    char request[1024];
    struct rig r;
    struct rig_answer a;
    struct sums s;
    o.key_tag = "mine";
    charge_begin(&r, &o, &s, PLENTY);
    rig_script(&r, 0, charge_whole_reply());
    int n =
        snprintf(request, sizeof request,
                 "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " RIG_KEY
                 "\r\nx-steelyard-tags: app=x, b=y,app=x\r\nContent-Length: %zu\r\n\r\n%s",
                 sizeof body - 1, body);
    rig_exchange_raw(&r, request, (size_t)n, &a);
    assert_int_equal(a.status, 200);
    for (size_t i = 0; i < 7; i++)
        assert_true(rig_free(&r, accounts[i].id + 1000) ==
                    (accounts[i].id == 7 || accounts[i].id == 9 ? PLENTY : PLENTY - COST));
    buf_deinit(&a.body);
    rig_stop(&r);
    for (uint64_t id = 1; id < 10; id++)
        assert_true(s.of[id] == (id == 2 || id == 3 || id == 7 || id == 9 ? 0 : COST));
}

static void without_a_budget_on_the_path_nothing_is_held(void **state)
{
    (void)state;
    static const struct rig_account others[] = {{5, ACCOUNT_USER, "alice"}};
    struct rig_options o = charge_options_of(others, 1);
    struct rig r;
    struct rig_answer a;
    struct sums s;
    o.without_budgets = true;
    charge_begin(&r, &o, &s, 0);
    rig_script(&r, 0, charge_whole_reply());
    rig_exchange(&r, ASK, &a);
    assert_int_equal(a.status, 200);
    buf_deinit(&a.body);
    rig_stop(&r);
    assert_true(s.cost == COST);
    assert_int_equal(s.charged, 0);
    assert_int_equal(s.usage, RECORD_USAGE_PROVIDER);
    assert_true(s.epoch == 0);
}

/* ---- too little ---- */

static void near_the_end_less_output_is_asked_for(void **state)
{
    (void)state;
    const struct rig_options o = charge_options_of(charge_five, 2);
    const int64_t left = WORST_IN + INT64_C(2000) * 400;
    struct rig r;
    struct rig_answer a;
    struct sums s;
    charge_begin(&r, &o, &s, left);
    rig_script(&r, 0, charge_whole_reply());
    rig_exchange(&r, ASK, &a);
    assert_int_equal(a.status, 200);
    assert_true(rig_has_header(&a, "x-steelyard-budget-clamped: 400\r\n"));
    assert_true(str_search(buf_str(&r.providers[0].last), STR("{\"max_tokens\":400,")) > 0);
    assert_true(rig_free(&r, 1001) == left - COST);
    buf_deinit(&a.body);
    rig_stop(&r);
    assert_int_equal(s.clamp, 400);
    assert_true(s.reserved == left);
}

static void with_less_output_there_is_less_reasoning(void **state)
{
    (void)state;
    static const char ask[] = "{\"model\":\"small\",\"reasoning\":{\"max_tokens\":2000},"
                              "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
    static const struct {
        const char *there, *warning;
        struct str sent;
    } rows[] = {
        {NULL,
         "x-steelyard-warnings: clamped_thinking_budget\r\n",
         {"\"reasoning\":{\"max_tokens\":399},", 31}},
        /* Which does not take so few. */
        {"anthropic/claude-sonnet-4.5",
         "x-steelyard-warnings: dropped_thinking\r\n",
         {"\"reasoning\":{\"enabled\":false},", 30}},
    };
    const int64_t worst_in = INT64_C(2000) * (int64_t)(sizeof ask - 1 + TOKENS_MESSAGE_MOST);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig_options o = charge_options_of(charge_five, 2);
        struct rig r;
        struct rig_answer a;
        struct sums s;
        o.small_there = rows[i].there;
        charge_begin(&r, &o, &s, worst_in + INT64_C(2000) * 400);
        rig_script(&r, 0, charge_whole_reply());
        rig_exchange(&r, ask, &a);
        assert_int_equal(a.status, 200);
        assert_true(rig_has_header(&a, "x-steelyard-budget-clamped: 400\r\n"));
        assert_true(rig_has_header(&a, rows[i].warning));
        assert_true(str_search(buf_str(&r.providers[0].last), rows[i].sent) > 0);
        buf_deinit(&a.body);
        rig_stop(&r);
        assert_int_equal(s.clamp, 400);
    }
}

static void choices_multiply_what_is_held(void **state)
{
    (void)state;
    static const char ask[] = "{\"model\":\"small\",\"n\":4,\"max_tokens\":300,\"messages\":[{"
                              "\"role\":\"user\",\"content\":\"hi\"}]}";
    const struct rig_options o = charge_options_of(charge_five, 1);
    struct rig r;
    struct rig_answer a;
    struct sums s;
    charge_begin(&r, &o, &s, PLENTY);
    rig_script(&r, 0, charge_whole_reply());
    rig_exchange(&r, ask, &a);
    assert_int_equal(a.status, 200);
    buf_deinit(&a.body);
    rig_stop(&r);
    assert_true(s.reserved ==
                2000 * (int64_t)(sizeof ask - 1 + TOKENS_MESSAGE_MOST) + 4 * 300 * INT64_C(2000));
}

static void what_cannot_be_afforded_leaves_the_choice_to_the_cheaper(void **state)
{
    (void)state;
    struct rig_options o = charge_options_of(charge_five, 2);
    struct rig r;
    struct rig_answer a;
    struct sums s;
    o.large_price = 1000000;                                  /* A thousandth of the other's. */
    charge_begin(&r, &o, &s, WORST_IN + 1000 * INT64_C(200)); /* 100 tokens: below the floor. */
    rig_script(&r, 1, charge_whole_reply());
    rig_exchange(&r, ASK, &a);
    assert_int_equal(a.status, 200);
    assert_true(rig_has_header(&a, "x-steelyard-served: two/large\r\n"));
    assert_false(rig_has_header(&a, "x-steelyard-budget-clamped"));
    assert_int_equal(r.providers[0].requests, 0);
    buf_deinit(&a.body);
    rig_stop(&r);
    assert_int_equal(s.excl, POLICY_EXCL(BUDGET));
}

static void when_nothing_is_left_the_answer_says_whose_and_until_when(void **state)
{
    (void)state;
    const struct rig_options o = charge_options_of(charge_five, 2);
    struct rig r;
    struct rig_answer a;
    struct sums s;
    charge_begin(&r, &o, &s, 1);
    rig_grant(&r, 1001, PLENTY, PLENTY);
    rig_exhaust(&r, 1002, 1);
    rig_exchange(&r, ASK, &a);
    assert_int_equal(a.status, 429);
    assert_true(charge_says(
        &a, "\"type\":\"insufficient_quota\",\"param\":null,\"code\":\"budget_exceeded\""));
    assert_true(
        charge_says(&a, "The budget of team 'search' (day) is used up: 0.000000001 USD are left"));
    assert_true(charge_says(&a, "It begins anew at 20"));
    assert_true(rig_has_header(&a, "x-should-retry: false"));
    assert_true(rig_has_header(&a, "retry-after: "));
    assert_true(rig_free(&r, 1001) == PLENTY);
    assert_true(rig_free(&r, 1002) == 1);
    buf_deinit(&a.body);
    rig_stop(&r);
    assert_int_equal(s.rows, 1); /* Refused by a decision, which is recorded. */
    assert_int_equal(s.excl, POLICY_EXCL(BUDGET));
    assert_true(s.cost == 0);
}

static void what_was_asked_for_in_vain_is_not_called_used_up(void **state)
{
    (void)state;
    const struct rig_options o = charge_options_of(charge_five, 2);
    enum { SILENT, RECALLS, GRANTS, AWAY, KINDS };
    for (int plane = 0; plane < KINDS; plane++) {
        struct rig r;
        struct rig_answer a;
        struct sums s;
        charge_begin(&r, &o, &s, 1);
        rig_grant(&r, 1001, PLENTY, PLENTY);
        if (plane == RECALLS || plane == GRANTS)
            rig_recall(&r, 1002, 1, PLENTY);
        if (plane == RECALLS) /* Nobody asked, and it says nothing new. */
            rig_grant(&r, 1002, 1, PLENTY);
        if (plane == GRANTS) /* They have given some back. */
            rig_grant(&r, 1002, 2, PLENTY);
        if (plane == AWAY)
            budget_table_lost(r.budgets);
        uint64_t before_ms = uv_now(&r.loop);
        rig_exchange(&r, ASK, &a);
        assert_true(plane == AWAY || uv_now(&r.loop) - before_ms >= CHARGE_PARK_MS);
        assert_int_equal(a.status, plane == RECALLS ? 429 : 503);
        assert_true(charge_says(&a, plane == RECALLS ? "\"code\":\"budget_exceeded\""
                                                     : "\"code\":\"budget_unavailable\""));
        assert_true(charge_says(&a, "Of the budget of team 'search' (day) this node holds "));
        assert_true(charge_says(&a, plane == GRANTS
                                        ? "0.000000002 USD, this request may cost up to 0.0"
                                        : "0.000000001 USD, this request may cost up to 0.0"));
        assert_true(charge_says(&a, plane == AWAY
                                        ? "the control plane could not be asked for more"
                                        : "no more has come from the control plane in time"));
        assert_false(charge_says(&a, "used up"));
        assert_true(rig_has_header(&a, "retry-after: 1\r\n"));
        assert_true(rig_has_header(&a, plane == RECALLS ? "x-should-retry: false\r\n"
                                                        : "x-should-retry: true\r\n"));
        buf_deinit(&a.body);
        rig_stop(&r);
        assert_int_equal(s.rows, 1);
        assert_int_equal(s.excl, POLICY_EXCL(BUDGET));
    }
}

static void a_parked_request_goes_on_when_the_grant_comes(void **state)
{
    (void)state;
    const struct rig_options o = charge_options_of(charge_five, 2);
    struct rig r;
    struct rig_client c;
    struct rig_answer a;
    struct sums s;
    charge_begin(&r, &o, &s, 0);
    rig_contact(&r);
    rig_script(&r, 0, charge_whole_reply());
    rig_connect(&r, &c);
    rig_ask(&c, ASK);
    rig_until(&r, !list_empty(&r.env.polled));
    rig_grant(&r, 1001, PLENTY, PLENTY);
    rig_grant(&r, 1002, PLENTY, PLENTY);
    rig_until(&r, rig_answered(&c));
    rig_answer_read(&c, &a);
    assert_int_equal(a.status, 200);
    buf_deinit(&a.body);
    rig_disconnect(&r, &c);
    assert_true(rig_free(&r, 1002) == PLENTY - COST);
    rig_stop(&r);
    assert_true(s.reserved == WORST);
}

static void a_client_that_leaves_while_parked_costs_nothing(void **state)
{
    (void)state;
    const struct rig_options o = charge_options_of(charge_five, 1);
    struct rig r;
    struct rig_client c;
    struct sums s;
    charge_begin(&r, &o, &s, 0);
    rig_contact(&r);
    rig_connect(&r, &c);
    rig_ask(&c, ASK);
    rig_until(&r, !list_empty(&r.env.polled));
    rig_disconnect(&r, &c);
    rig_until(&r, r.env.active_count == 0);
    rig_stop(&r);
    assert_int_equal(s.rows, 0);
}

static void f1_without_contact_a_budget_nobody_has_seen_is_not_guessed(void **state)
{
    (void)state;
    struct rig_options o = charge_options_of(charge_five, 1);
    for (int without = 0; without < 2; without++) {
        struct rig r;
        struct rig_answer a;
        struct sums s;
        o.without_budgets = without == 1;
        charge_begin(&r, &o, &s, 0);
        rig_exchange(&r, ASK, &a);
        assert_int_equal(a.status, 503);
        assert_true(charge_says(&a, "\"code\":\"budget_unavailable\""));
        assert_true(rig_has_header(&a, "x-should-retry: true"));
        buf_deinit(&a.body);
        rig_stop(&r);
    }
}

static void f36_a_model_without_a_price_is_refused_where_there_is_a_budget(void **state)
{
    (void)state;
    struct rig_options o = charge_options_of(charge_five, 1);
    struct rig r;
    struct rig_answer a;
    struct sums s;
    charge_begin(&r, &o, &s, PLENTY);
    rig_exchange(&r, ASK_LARGE, &a);
    assert_int_equal(a.status, 400);
    assert_true(charge_says(&a, "\"code\":\"price_unknown\""));
    assert_int_equal(r.providers[1].requests, 0);
    buf_deinit(&a.body);
    rig_stop(&r);
    o.account_count = 0; /* And recorded as unknown where there is none. */
    charge_begin(&r, &o, &s, 0);
    rig_script(&r, 1, charge_whole_reply());
    rig_exchange(&r, ASK_LARGE, &a);
    assert_int_equal(a.status, 200);
    assert_false(rig_has_header(&a, "x-steelyard-cost-usd"));
    buf_deinit(&a.body);
    rig_stop(&r);
    assert_true((s.flags & RECORD_FLAG_COST_UNKNOWN) != 0);
}

static void b18_fields_that_change_the_price_are_refused_where_there_is_a_budget(void **state)
{
    (void)state;
    static const char ask[] = "{\"model\":\"small\",\"service_tier\":\"priority\",\"messages\":[{"
                              "\"role\":\"user\",\"content\":\"hi\"}]}";
    struct rig_options o = charge_options_of(charge_five, 1);
    for (int budgets = 0; budgets < 2; budgets++) {
        struct rig r;
        struct rig_answer a;
        struct sums s;
        o.account_count = (size_t)budgets;
        charge_begin(&r, &o, &s, budgets != 0 ? PLENTY : 0);
        rig_script(&r, 0, charge_whole_reply());
        rig_exchange(&r, ask, &a);
        assert_int_equal(a.status, budgets != 0 ? 400 : 200);
        buf_deinit(&a.body);
        rig_stop(&r);
    }
}

static void more_than_sixteen_budgets_are_refused(void **state)
{
    (void)state;
    struct rig_account many[17];
    for (size_t i = 0; i < 17; i++)
        many[i] = (struct rig_account){i + 1, i < 16 ? ACCOUNT_TEAM : ACCOUNT_TAG, "t"};
    struct rig_options o = charge_options_of(many, 17);
    for (int tagged = 0; tagged < 2; tagged++) {
        struct rig r;
        struct rig_answer a;
        struct sums s;
        o.key_tag = tagged != 0 ? "t" : NULL;
        charge_begin(&r, &o, &s, PLENTY);
        rig_script(&r, 0, charge_whole_reply());
        rig_exchange(&r, ASK, &a);
        assert_int_equal(a.status, tagged != 0 ? 400 : 200);
        assert_int_equal(charge_says(&a, "too_many_budgets"), tagged);
        buf_deinit(&a.body);
        rig_stop(&r);
        for (uint64_t id = 1; id <= 16; id++)
            assert_true(s.of[id] == (tagged != 0 ? 0 : COST));
    }
}

/* ---- bodies that go up while they come ---- */

static void a_body_on_its_way_up_is_held_for_by_its_length(void **state)
{
    (void)state;
    enum { TEXT = 80000 };
    static const char *const ends[] = {"", ",\"n\":8"};
    const struct rig_options o = charge_options_of(charge_five, 2);
    for (size_t i = 0; i < 2; i++) {
        struct rig r;
        struct rig_client c;
        struct rig_answer a;
        struct sums s;
        struct buf ask;
        char text[TEXT];
        memset(text, 'a', TEXT);
        buf_init(&ask, TEXT + 1024);
        assert_int_equal(buf_append_text(&ask, "{\"model\":\"small\",\"messages\":[{\"role\":"
                                               "\"user\",\"content\":\""),
                         0);
        assert_int_equal(buf_append(&ask, text, TEXT), 0);
        assert_int_equal(buf_printf(&ask, "\"}]%s}", ends[i]), 0);
        /* Enough for one choice, and for less than the floor of eight. */
        int64_t granted = 2000 * ((int64_t)ask.len + TOKENS_MESSAGE_MOST + MAX_OUT);
        charge_begin(&r, &o, &s, granted);
        rig_script(&r, 0, charge_whole_reply());
        rig_connect(&r, &c);
        char head[512];
        int n = snprintf(
            head, sizeof head,
            "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " RIG_KEY
            "\r\nContent-Length: %zu\r\n\r\n",
            ask.len);
        rig_send(&c, head, (size_t)n);
        rig_send(&c, ask.data, ask.len / 2);
        for (int turn = 0; turn < 20; turn++)
            assert_true(rig_turn(&r));
        if (r.providers[0].received > 0)
            assert_true(rig_free(&r, 1001) < 2000 * 100);
        rig_send(&c, ask.data + ask.len / 2, ask.len - ask.len / 2);
        rig_until(&r, rig_answered(&c) || c.ended);
        rig_answer_read(&c, &a);
        assert_int_equal(a.status, i == 0 ? 200 : 503);
        assert_int_equal(r.providers[0].requests, i == 0 ? 1 : 0);
        buf_deinit(&a.body);
        buf_deinit(&ask);
        rig_disconnect(&r, &c);
        rig_until(&r, r.env.active_count == 0);
        assert_true(rig_free(&r, 1001) == granted - (i == 0 ? COST : 0));
        rig_stop(&r);
        assert_true(s.of[1] == (i == 0 ? COST : 0));
    }
}

/* ---- retries ---- */

static void f16_each_attempt_is_held_and_paid_by_its_own_model(void **state)
{
    (void)state;
    static const struct rig_account accounts[] = {
        {1, ACCOUNT_ORG, "acme"}, {8, ACCOUNT_MODEL, "small"}, {9, ACCOUNT_MODEL, "large"}};
    struct rig_options o = charge_options_of(accounts, 3);
    struct rig r;
    struct rig_answer a;
    struct sums s;
    o.large_price = 1000000000;
    charge_begin(&r, &o, &s, PLENTY);
    rig_script(&r, 0, (struct rig_script){.reply = UNWELL});
    rig_script(&r, 1, charge_whole_reply());
    rig_exchange(&r, ASK, &a);
    assert_int_equal(a.status, 200);
    assert_true(rig_free(&r, 1001) == PLENTY - 15000);
    assert_true(rig_free(&r, 1008) == PLENTY);
    assert_true(rig_free(&r, 1009) == PLENTY - 15000);
    buf_deinit(&a.body);
    rig_stop(&r);
    assert_int_equal(s.attempts, 2);
    assert_true(s.of[1] == 15000 && s.of[8] == 0 && s.of[9] == 15000);
}

static void a_chain_ends_where_the_next_attempt_is_not_affordable(void **state)
{
    (void)state;
    struct rig_options o = charge_options_of(charge_five, 1);
    struct rig r;
    struct rig_answer a;
    struct sums s;
    o.large_price = 1000000000;
    charge_begin(&r, &o, &s, WORST + 1000);
    rig_script(&r, 0, (struct rig_script){.reply = UNWELL});
    rig_exchange(&r, ASK, &a);
    assert_int_equal(a.status, 502);
    assert_int_equal(r.providers[1].requests, 0);
    assert_true(rig_free(&r, 1001) == WORST + 1000);
    buf_deinit(&a.body);
    rig_stop(&r);
    assert_int_equal(s.attempts, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f35_the_worst_case_is_held_while_it_runs_and_the_cost_is_spent),
        cmocka_unit_test(tags_users_and_groups_of_models_pay_each_once),
        cmocka_unit_test(without_a_budget_on_the_path_nothing_is_held),
        cmocka_unit_test(near_the_end_less_output_is_asked_for),
        cmocka_unit_test(with_less_output_there_is_less_reasoning),
        cmocka_unit_test(choices_multiply_what_is_held),
        cmocka_unit_test(what_cannot_be_afforded_leaves_the_choice_to_the_cheaper),
        cmocka_unit_test(when_nothing_is_left_the_answer_says_whose_and_until_when),
        cmocka_unit_test(what_was_asked_for_in_vain_is_not_called_used_up),
        cmocka_unit_test(a_parked_request_goes_on_when_the_grant_comes),
        cmocka_unit_test(a_client_that_leaves_while_parked_costs_nothing),
        cmocka_unit_test(f1_without_contact_a_budget_nobody_has_seen_is_not_guessed),
        cmocka_unit_test(f36_a_model_without_a_price_is_refused_where_there_is_a_budget),
        cmocka_unit_test(b18_fields_that_change_the_price_are_refused_where_there_is_a_budget),
        cmocka_unit_test(more_than_sixteen_budgets_are_refused),
        cmocka_unit_test(a_body_on_its_way_up_is_held_for_by_its_length),
        cmocka_unit_test(f16_each_attempt_is_held_and_paid_by_its_own_model),
        cmocka_unit_test(a_chain_ends_where_the_next_attempt_is_not_affordable),
    };
    (void)signal(SIGPIPE, SIG_IGN); /* Scripted providers write to whoever left. */
    int failed = rig_run_for_each_transport(tests, sizeof tests / sizeof tests[0]);
    replies_free();
    return failed;
}
