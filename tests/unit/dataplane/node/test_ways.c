/* Routes whose order is a way's, and lists of models that take over by what went wrong. */
#include <stdio.h>
#include <string.h>

#include "control.pb-c.h"
#include "tests/unit/dataplane/node/replies.h"
#include "tests/unit/dataplane/node/rows.h"

#define LONG_WORDS 4000

/* Ends the rig; each row must be recomputed as it is. */
static void end(struct rig *r, enum way way)
{
    rig_stop(r);
    assert_true(row_count > 0);
    for (size_t i = 0; i < row_count; i++) {
        assert_int_equal(rows[i]->way, way);
        rows_replay(NULL, rows[i]);
    }
    rows_forget();
}

/* Whose answer it was: 0 or 1. */
static unsigned served(struct rig *r, const char *body)
{
    struct rig_answer a;
    rig_exchange(r, body, &a);
    assert_int_equal(a.status, 200);
    const bool large = rig_has_header(&a, "x-steelyard-served: two/large\r\n");
    assert_true(large || rig_has_header(&a, "x-steelyard-served: one/small\r\n"));
    buf_deinit(&a.body);
    return large;
}

static void requests_take_turns(void **state)
{
    (void)state;
    struct rig r;
    rows_begin(&r, &(struct rig_options){.way = WAY_ROUND_ROBIN});
    rows_script_all(&r);
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(served(&r, ASK), i % 2);
    end(&r, WAY_ROUND_ROBIN);
}

static void a_priority_decides_whatever_the_place_in_the_list(void **state)
{
    (void)state;
    struct rig r;
    rows_begin(&r, &(struct rig_options){.way = WAY_PRIORITY, .priorities = {2, 1}});
    rows_script_all(&r);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(served(&r, ASK), 1);
    end(&r, WAY_PRIORITY);
}

static void weights_share_requests_out(void **state)
{
    (void)state;
    struct rig r;
    unsigned large = 0;
    rows_begin(&r, &(struct rig_options){.way = WAY_WEIGHTED, .weights = {1, 3}});
    rows_script_all(&r);
    for (unsigned i = 0; i < 48; i++)
        large += served(&r, ASK);
    assert_in_range(large, 20, 47); /* 36 expected; beyond this once in 10^6 runs. */
    rig_stop(&r);
    for (size_t i = 0; i < row_count; i++) {
        assert_int_equal(rows[i]->cand[0]->p, UINT32_C(1) << 30);
        assert_int_equal(rows[i]->cand[1]->p, UINT32_C(3) << 30);
        rows_replay(NULL, rows[i]);
    }
    rows_forget();
}

static void the_cheapest_serves_and_an_unknown_price_is_none(void **state)
{
    (void)state;
    struct rig r;
    rows_begin(&r, &(struct rig_options){.way = WAY_LOWEST_COST, .large_price = 1});
    rows_script_all(&r);
    assert_int_equal(served(&r, ASK), 1);
    rig_publish(&r, &(struct rig_options){.way = WAY_LOWEST_COST, .generation = 2});
    assert_int_equal(served(&r, ASK), 0); /* The large one's price is gone. */
    end(&r, WAY_LOWEST_COST);
}

static void who_has_less_under_way_serves(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client waiting;
    rows_begin(&r, &(struct rig_options){.way = WAY_LEAST_BUSY, .weights = {1, 0}});
    rig_script(&r, 0, (struct rig_script){.reply = NULL, .then = RIG_HOLD});
    rig_script(&r, 1, (struct rig_script){.reply = replies_whole()});
    rig_connect(&r, &waiting);
    rig_ask(&waiting, ASK); /* Both are idle: weight says the first. */
    rig_until(&r, r.providers[0].requests == 1);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(served(&r, ASK), 1);
    rig_disconnect(&r, &waiting);
    rig_cut(&r, 0);
    rig_until(&r, r.env.active_count == 0);
    end(&r, WAY_LEAST_BUSY);
}

static void who_had_fewer_tokens_this_minute_serves(void **state)
{
    (void)state;
    struct rig r;
    unsigned other = 0;
    rows_begin(&r, &(struct rig_options){.way = WAY_USAGE_BASED});
    rows_script_all(&r);
    unsigned first = served(&r, ASK);
    for (unsigned i = 0; i < 3; i++)
        other += served(&r, ASK) != first;
    assert_true(other > 0); /* The one that had none; a new minute may begin in between. */
    end(&r, WAY_USAGE_BASED);
}

static void the_deployments_of_a_model_are_ordered_by_the_way_too(void **state)
{
    (void)state;
    struct rig r;
    rows_begin(&r,
               &(struct rig_options){.way = WAY_ROUND_ROBIN, .candidates = 1, .small_twice = true});
    rows_script_all(&r);
    for (unsigned i = 0; i < 4; i++) {
        struct rig_answer a;
        rig_exchange(&r, ASK, &a);
        assert_int_equal(a.status, 200);
        buf_deinit(&a.body);
    }
    assert_int_equal(r.providers[0].requests, 2);
    assert_int_equal(r.providers[1].requests, 2);
    end(&r, WAY_ROUND_ROBIN);
}

/* ---- conditions and targets ---- */

/* The large one for who pays, with the small one behind it; else, if it is cold, the small one. */
static void with_conditions(void *arg)
{
    Steelyard__Control__V1__Route *route = arg;
    static uint32_t members[] = {1, 0}, weights[] = {1, 1};
    static Steelyard__Control__V1__Target target;
    static Steelyard__Control__V1__Target *targets[] = {&target};
    static Steelyard__Control__V1__RuleStep steps[4];
    static Steelyard__Control__V1__RuleStep *paid[] = {&steps[0], &steps[1], &steps[2]};
    static Steelyard__Control__V1__RuleStep *cold[] = {&steps[3]};
    static Steelyard__Control__V1__Condition conditions[2];
    static Steelyard__Control__V1__Condition *condition_ptrs[] = {&conditions[0], &conditions[1]};
    static char *plan[] = {(char *)(uintptr_t) "paid"}, *team[] = {(char *)(uintptr_t) "gold"},
                *zero[] = {(char *)(uintptr_t) "0"};
    steelyard__control__v1__target__init(&target);
    target.name = (char *)(uintptr_t) "good";
    target.n_members = target.n_weights = 2;
    target.members = members;
    target.weights = weights;
    for (size_t i = 0; i < 4; i++)
        steelyard__control__v1__rule_step__init(&steps[i]);
    steps[0].op = RULE_EQ;
    steps[0].path = (char *)(uintptr_t) "metadata.plan";
    steps[0].values = plan;
    steps[0].n_values = 1;
    steps[1].op = RULE_IN;
    steps[1].path = (char *)(uintptr_t) "headers.x-team";
    steps[1].values = team;
    steps[1].n_values = 1;
    steps[2].op = RULE_OR;
    steps[2].count = 2;
    steps[3].op = RULE_LTE;
    steps[3].path = (char *)(uintptr_t) "params.temperature";
    steps[3].values = zero;
    steps[3].n_values = 1;
    for (size_t i = 0; i < 2; i++)
        steelyard__control__v1__condition__init(&conditions[i]);
    conditions[0].steps = paid;
    conditions[0].n_steps = 3;
    conditions[0].then = 2; /* The target. */
    conditions[1].steps = cold;
    conditions[1].n_steps = 1;
    conditions[1].then = 0; /* A model alone. */
    route->targets = targets;
    route->n_targets = 1;
    route->conditions = condition_ptrs;
    route->n_conditions = 2;
}

static void who_pays_gets_the_target_of_the_condition(void **state)
{
    (void)state;
    static const struct {
        const char *headers, *body;
        bool large;
    } cases[] = {
        {"", ASK, false}, /* No condition: the order of the list. */
        {"x-steelyard-tags: plan=paid\r\n", ASK, true},
        {"x-steelyard-tags: plan=free\r\n", ASK, false},
        {"x-team: gold\r\n", ASK, true},
        {"x-team: gold\r\n",
         "{\"model\":\"auto\",\"temperature\":0,\"messages\":[{\"role\":"
         "\"user\",\"content\":\"hi\"}]}",
         true}, /* The first that holds. */
    };
    struct rig r;
    struct rig_answer a;
    rows_begin(&r, &(struct rig_options){.on_route = with_conditions});
    rows_script_all(&r);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rows_ask(&r, cases[i].headers, cases[i].body, &a);
        assert_int_equal(a.status, 200);
        assert_true(rig_has_header(&a, cases[i].large ? "x-steelyard-served: two/large\r\n"
                                                      : "x-steelyard-served: one/small\r\n"));
        buf_deinit(&a.body);
    }
    rig_stop(&r);
    assert_int_equal(row_count, sizeof cases / sizeof cases[0]);
    for (size_t i = 0; i < row_count; i++) {
        const bool chosen = cases[i].large;
        assert_int_equal(rows[i]->way, chosen ? WAY_PRIORITY : WAY_LEARNED);
        assert_int_equal(rows[i]->n_fallback, 1);
        rows_replay(NULL, rows[i]);
    }
    rows_forget();
}

static void a_target_falls_back_within_and_never_out_of_itself(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    rows_begin(&r, &(struct rig_options){.on_route = with_conditions});
    rig_script(&r, 0, (struct rig_script){.reply = replies_whole()});
    rig_script(&r, 1, (struct rig_script){.reply = NULL, .then = RIG_CLOSE});
    rows_ask(&r, "x-team: gold\r\n", ASK, &a); /* Its second member. */
    assert_int_equal(a.status, 200);
    assert_true(rig_has_header(&a, "x-steelyard-served: one/small\r\n"));
    buf_deinit(&a.body);
    end(&r, WAY_PRIORITY);
    rows_begin(&r, &(struct rig_options){.on_route = with_conditions});
    rig_script(&r, 0, (struct rig_script){.reply = NULL, .then = RIG_CLOSE});
    rig_script(&r, 1, (struct rig_script){.reply = replies_whole()});
    rows_ask(&r, "",
             "{\"model\":\"auto\",\"temperature\":0,\"messages\":[{\"role\":\"user\","
             "\"content\":\"hi\"}]}",
             &a);
    assert_int_equal(a.status, 502); /* The large one is not in it. */
    assert_int_equal(r.providers[1].requests, 0);
    buf_deinit(&a.body);
    end(&r, WAY_PRIORITY);
}

/* ---- a conversation's prompt cache ---- */

static void what_the_conversations_model_has_cached_is_counted_as_its_own(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    static char body[LONG_WORDS * 6 + 512];
    size_t at = (size_t)snprintf(
        body, sizeof body, "{\"model\":\"auto\",\"messages\":[{\"role\":\"user\",\"content\":\"");
    for (size_t i = 0; i < LONG_WORDS; i++)
        at += (size_t)snprintf(body + at, sizeof body - at, "word ");
    (void)snprintf(body + at, sizeof body - at,
                   "\"},{\"role\":\"assistant\",\"content\":\"yes\"},"
                   "{\"role\":\"user\",\"content\":\"and now?\"}]}");
    rows_begin(&r, NULL);
    rows_script_all(&r);
    const char *const bodies[] = {ASK, body, body};
    const char *const sessions[] = {"x-steelyard-session: talk\r\n",
                                    "x-steelyard-session: talk\r\n",
                                    "x-steelyard-session: other\r\n"};
    for (size_t i = 0; i < 3; i++) {
        rows_ask(&r, sessions[i], bodies[i], &a);
        assert_int_equal(a.status, 200);
        buf_deinit(&a.body);
    }
    rig_stop(&r);
    assert_int_equal(row_count, 3);
    for (size_t i = 0; i < 3; i++) {
        const Decision *d = rows[i];
        const uint32_t cached = d->cand[0]->cached_tok;
        assert_int_equal(d->cand[1]->cached_tok, 0);
        if (i == 1) { /* All but the last question, in the steps that are kept. */
            assert_true(cached >= 1024 && cached % 128 == 0 && cached < d->t_in);
            assert_true(cached + 256 > d->t_in);
        } else {
            assert_int_equal(cached, 0); /* Nothing before it; another conversation. */
        }
        rows_replay(NULL, d);
    }
    rows_forget();
}

/* ---- who takes over ---- */

#define REFUSAL(status, code, message)                                                             \
    "HTTP/1.1 " status "\r\nContent-Type: application/json\r\n",                                   \
        "{\"error\":{\"message\":\"" message                                                       \
        "\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"" code "\"}}"
#define TOO_LONG REFUSAL("400 Bad Request", "context_length_exceeded", "Too many tokens.")
#define UNFIT    REFUSAL("400 Bad Request", "content_filter", "Not that.")
#define WRONG    REFUSAL("400 Bad Request", "invalid_value", "temperature is wrong")
#define LIMITED  REFUSAL("429 Too Many Requests", "rate_limit_exceeded", "Slow down.")

static struct buf made[8];
static size_t made_count;

/* Good until eight more were made. */
static const char *refusal(const char *head, const char *body)
{
    struct buf *b = &made[made_count++ % 8];
    buf_deinit(b);
    buf_init(b, 65536);
    assert_int_equal(buf_printf(b, "%sContent-Length: %zu\r\n\r\n%s", head, strlen(body), body), 0);
    return buf_cstr(b);
}

/* The small model alone serves the route and refuses so; the large one is listed for `kind`. */
static unsigned ask_refused(const char *reply, unsigned kind, const char *type, struct rig *r)
{
    struct rig_options o = {.candidates = 1, .types = {type, NULL}};
    struct rig_answer a;
    o.fallbacks[kind] = "large";
    rows_begin(r, &o);
    rig_script(r, 0, (struct rig_script){.reply = reply});
    rig_script(r, 1, (struct rig_script){.reply = replies_whole()});
    rig_exchange(r, ASK, &a);
    const unsigned status = a.status;
    buf_deinit(&a.body);
    return status;
}

static void each_list_is_for_its_kind_of_error_alone(void **state)
{
    (void)state;
    const char *replies[] = {refusal(WRONG), refusal(TOO_LONG), refusal(UNFIT), refusal(LIMITED)};
    struct rig r;
    for (unsigned error = 0; error < 4; error++) {
        for (unsigned kind = 1; kind < 4; kind++) {
            const unsigned status = ask_refused(replies[error], kind, NULL, &r);
            assert_int_equal(status, error == kind ? 200 : error == 3 ? 429 : 400);
            assert_int_equal(r.providers[1].requests, error == kind);
            end(&r, WAY_LEARNED);
        }
    }
}

static void the_default_list_is_not_for_refusals(void **state)
{
    (void)state;
    struct rig r;
    assert_int_equal(ask_refused(refusal(TOO_LONG), 0, NULL, &r), 400);
    end(&r, WAY_LEARNED);
    assert_int_equal(ask_refused(refusal(LIMITED), 0, NULL, &r), 200);
    end(&r, WAY_LEARNED);
}

static void a_refusal_in_another_dialect_has_its_list(void **state)
{
    (void)state;
    struct rig r;
    const char *reply = refusal("HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n",
                                "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\","
                                "\"message\":\"prompt is too long: 9 tokens > 8 maximum\"}}");
    assert_int_equal(ask_refused(reply, 1, "anthropic", &r), 200);
    assert_int_equal(r.providers[1].requests, 1);
    end(&r, WAY_LEARNED);
}

static void if_the_list_fails_too_its_error_is_told(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    struct rig_options o = {.candidates = 1, .fallbacks = {NULL, "large", NULL, NULL}};
    rows_begin(&r, &o);
    rig_script(&r, 0, (struct rig_script){.reply = refusal(TOO_LONG)});
    rig_script(&r, 1, (struct rig_script){.reply = refusal(UNFIT)});
    rig_exchange(&r, ASK, &a);
    assert_int_equal(a.status, 400);
    assert_true(str_search(buf_str(&a.body), STR("Not that.")) >= 0);
    buf_deinit(&a.body);
    end(&r, WAY_LEARNED);
}

static void a_prompt_that_fits_nobody_goes_to_the_list_for_long_ones(void **state)
{
    (void)state;
    struct rig r;
    struct rig_answer a;
    static char body[LONG_WORDS * 6 + 128];
    size_t at = (size_t)snprintf(
        body, sizeof body, "{\"model\":\"auto\",\"messages\":[{\"role\":\"user\",\"content\":\"");
    for (size_t i = 0; i < LONG_WORDS; i++)
        at += (size_t)snprintf(body + at, sizeof body - at, "word ");
    (void)snprintf(body + at, sizeof body - at, "\"}]}");
    struct rig_options o = {.candidates = 1, .small_window = 500};
    rows_begin(&r, &o);
    rows_script_all(&r);
    rig_exchange(&r, body, &a);
    assert_int_equal(a.status, 400);
    buf_deinit(&a.body);
    o.fallbacks[1] = "large";
    o.generation = 2;
    rig_publish(&r, &o);
    assert_int_equal(served(&r, body), 1);
    assert_int_equal(served(&r, ASK), 0); /* One that fits does not. */
    assert_int_equal(r.providers[0].requests, 1);
    end(&r, WAY_LEARNED);
}

/* ---- room (F21, F22), outliers (F14) ---- */

/* The small model's deployment as this worker knows it. */
static struct endpoint *endpoint_of(struct rig *r, const char *provider, const char *model)
{
    struct endpoint *e =
        endpoint_table_get(&r->env.upstream.endpoints, str_from(provider), str_from(model));
    assert_non_null(e);
    return e;
}

static uint32_t now_32(const struct rig *r)
{
    return (uint32_t)uv_now(&r->loop);
}

/* As many as it can take are under way; one is left to the caller. */
static struct endpoint *fill(struct rig *r)
{
    struct endpoint *e = endpoint_of(r, "one", "up-small");
    for (unsigned i = 0; i < CONCURRENCY_MIN; i++)
        assert_true(endpoint_take(e, false, now_32(r)));
    endpoint_congested(e, now_32(r));
    assert_true(endpoint_full(e));
    r->env.queue.wait_ms = 600000; /* Nobody's time is up but by the test's word. */
    return e;
}

static void drain(struct rig *r, struct endpoint *e, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        endpoint_done(e, ENDPOINT_OK, now_32(r));
}

static void f21_who_finds_it_full_waits_and_then_is_served(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    struct rig_answer a;
    rows_begin(&r, &(struct rig_options){.candidates = 1});
    rows_script_all(&r);
    assert_int_equal(served(&r, ASK), 0);
    struct endpoint *e = fill(&r);
    rig_connect(&r, &c);
    rig_ask(&c, ASK);
    rig_until(&r, r.env.queue.count == 1);
    assert_int_equal(r.providers[0].requests, 1);
    drain(&r, e, CONCURRENCY_MIN);
    rig_until(&r, rig_answered(&c));
    rig_answer_read(&c, &a);
    assert_int_equal(a.status, 200);
    buf_deinit(&a.body);
    assert_int_equal(r.env.queue.count, 0);
    rig_disconnect(&r, &c);
    end(&r, WAY_LEARNED);
}

static void f21_a_full_deployment_leaves_the_work_to_others(void **state)
{
    (void)state;
    struct rig r;
    rows_begin(&r, &(struct rig_options){.way = WAY_PRIORITY, .priorities = {1, 2}});
    rows_script_all(&r);
    assert_int_equal(served(&r, ASK), 0);
    struct endpoint *e = fill(&r);
    assert_int_equal(served(&r, ASK), 1);
    drain(&r, e, CONCURRENCY_MIN);
    assert_int_equal(served(&r, ASK), 0);
    end(&r, WAY_PRIORITY);
}

static void f21_over_share_is_429_and_in_vain_is_503(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c[QUEUE_SHARE_MAX];
    struct rig_answer a;
    rows_begin(&r, &(struct rig_options){.candidates = 1});
    rows_script_all(&r);
    assert_int_equal(served(&r, ASK), 0);
    struct endpoint *e = fill(&r);
    for (unsigned i = 0; i < QUEUE_SHARE_MAX; i++) {
        rig_connect(&r, &c[i]);
        rig_ask(&c[i], ASK);
    }
    rig_until(&r, r.env.queue.count == QUEUE_SHARE_MAX);
    rig_exchange(&r, ASK, &a); /* At once: the others are still waiting. */
    assert_int_equal(a.status, 429);
    buf_deinit(&a.body);
    assert_int_equal(r.env.queue.count, QUEUE_SHARE_MAX);
    for (unsigned i = 0; i < QUEUE_MAX; i++)
        r.env.queue.places[i].until_ms = 0;
    for (unsigned i = 0; i < QUEUE_SHARE_MAX; i++) {
        rig_until(&r, rig_answered(&c[i]));
        rig_answer_read(&c[i], &a);
        assert_int_equal(a.status, 503);
        assert_true(rig_has_header(&a, "retry-after: 1\r\n"));
        buf_deinit(&a.body);
        rig_disconnect(&r, &c[i]);
    }
    assert_int_equal(r.env.queue.count, 0);
    drain(&r, e, CONCURRENCY_MIN);
    end(&r, WAY_LEARNED);
}

static void f21_who_leaves_while_waiting_leaves_the_queue(void **state)
{
    (void)state;
    struct rig r;
    struct rig_client c;
    rows_begin(&r, &(struct rig_options){.candidates = 1});
    rows_script_all(&r);
    assert_int_equal(served(&r, ASK), 0);
    struct endpoint *e = fill(&r);
    rig_connect(&r, &c);
    rig_ask(&c, ASK);
    rig_until(&r, r.env.queue.count == 1);
    rig_disconnect(&r, &c);
    rig_until(&r, r.env.queue.count == 0 && r.env.active_count == 0);
    drain(&r, e, CONCURRENCY_MIN);
    end(&r, WAY_LEARNED);
}

static void f14_a_deployment_far_slower_than_its_peers_is_ejected(void **state)
{
    (void)state;
    struct rig r;
    rows_begin(&r,
               &(struct rig_options){.way = WAY_ROUND_ROBIN, .candidates = 1, .small_twice = true});
    rows_script_all(&r);
    struct endpoint *slow = endpoint_of(&r, "one", "up-small");
    struct endpoint *quick = endpoint_of(&r, "two", "up-twin");
    endpoint_observe(quick, 9, 10, 0, 0);
    for (unsigned i = 0; i < 19; i++)
        assert_false(endpoint_is_behind(slow, 2000, 10));
    /* One more answer after two seconds; then only the quick one serves. */
    struct rig_client c;
    rig_script(&r, 0, (struct rig_script){.then = RIG_HOLD});
    rig_connect(&r, &c);
    rig_ask(&c, ASK);
    rig_until(&r, r.providers[0].requests == 1);
    container_of(r.env.active.next, struct request, link)->attempt.start_ns -= 2000000000;
    rig_say(&r, 0, replies_whole(), true);
    rig_until(&r, rig_answered(&c));
    rig_disconnect(&r, &c);
    for (unsigned i = 0; i < 5; i++) {
        struct rig_answer a;
        rig_exchange(&r, ASK, &a);
        assert_int_equal(a.status, 200);
        buf_deinit(&a.body);
    }
    assert_int_equal(r.providers[0].requests, 1);
    assert_int_equal(r.providers[1].requests, 5);
    assert_false(endpoint_usable(slow, now_32(&r)));
    end(&r, WAY_ROUND_ROBIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_take_turns),
        cmocka_unit_test(a_priority_decides_whatever_the_place_in_the_list),
        cmocka_unit_test(weights_share_requests_out),
        cmocka_unit_test(the_cheapest_serves_and_an_unknown_price_is_none),
        cmocka_unit_test(who_has_less_under_way_serves),
        cmocka_unit_test(who_had_fewer_tokens_this_minute_serves),
        cmocka_unit_test(the_deployments_of_a_model_are_ordered_by_the_way_too),
        cmocka_unit_test(f21_who_finds_it_full_waits_and_then_is_served),
        cmocka_unit_test(f21_a_full_deployment_leaves_the_work_to_others),
        cmocka_unit_test(f21_over_share_is_429_and_in_vain_is_503),
        cmocka_unit_test(f21_who_leaves_while_waiting_leaves_the_queue),
        cmocka_unit_test(f14_a_deployment_far_slower_than_its_peers_is_ejected),
        cmocka_unit_test(who_pays_gets_the_target_of_the_condition),
        cmocka_unit_test(a_target_falls_back_within_and_never_out_of_itself),
        cmocka_unit_test(what_the_conversations_model_has_cached_is_counted_as_its_own),
        cmocka_unit_test(each_list_is_for_its_kind_of_error_alone),
        cmocka_unit_test(the_default_list_is_not_for_refusals),
        cmocka_unit_test(a_refusal_in_another_dialect_has_its_list),
        cmocka_unit_test(if_the_list_fails_too_its_error_is_told),
        cmocka_unit_test(a_prompt_that_fits_nobody_goes_to_the_list_for_long_ones),
    };
    int rc = rig_run_for_each_transport(tests, sizeof tests / sizeof tests[0]);
    for (size_t i = 0; i < 8; i++)
        buf_deinit(&made[i]);
    replies_free();
    return rc;
}
