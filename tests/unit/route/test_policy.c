#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/route/explain.h"
#include "common/route/fixed.h"
#include "tests/unit/route/fixture.h"

#define Q(x) ((uint32_t)((x)*65536 + 0.5))

/* Candidates whose quality is the prior and which cost nothing. */
static struct policy_candidate by_prior(double quality)
{
    return (struct policy_candidate){.ordinal = POLICY_UNKNOWN_MODEL,
                                     .prior_q16 = Q(quality),
                                     .prior_out = 100,
                                     .price_cached = PRICE_UNKNOWN};
}

struct setup {
    struct policy_params params;
    struct policy_request request;
    struct policy_candidate c[8];
    uint32_t count;
    struct policy_decision d;
};

static void setup_init(struct setup *s, uint32_t count, const double *quality)
{
    memset(s, 0, sizeof *s);
    policy_params_init(&s->params);
    s->params.eps_cap = UINT32_MAX;
    s->params.delta_q16 = 65536;
    s->params.gamma = 50;
    s->params.stick_margin = 0;
    s->request = (struct policy_request){.t_in = 1000, .sticky = POLICY_NONE};
    s->count = count;
    for (uint32_t i = 0; i < count; i++)
        s->c[i] = by_prior(quality[i]);
}

static void decide(struct setup *s)
{
    assert_int_equal(policy_decide(NULL, NULL, &s->params, &s->request, s->c, s->count, &s->d), 0);
}

static void assert_p(uint32_t p, double expected)
{
    double actual = (double)p / 4294967296.0;
    assert_true(actual - expected < 2e-6 && expected - actual < 2e-6);
}

static void inverse_gap_weighting_gives_the_published_vector(void **state)
{
    (void)state;
    struct setup s;
    setup_init(&s, 3, (const double[]){.80, .78, .60});
    s.request.explore = true;
    decide(&s);
    assert_int_equal(s.d.greedy, 0);
    /* Q16 rounds the qualities, which moves p by up to 1e-4. */
    assert_true(s.d.row[0].p / 4294967296.0 > .6729 && s.d.row[0].p / 4294967296.0 < .6733);
    assert_true(s.d.row[1].p / 4294967296.0 > .2499 && s.d.row[1].p / 4294967296.0 < .2501);
    assert_true(s.d.row[2].p / 4294967296.0 > .0768 && s.d.row[2].p / 4294967296.0 < .0770);
    s.params.eps_cap = 214748365; /* .05 */
    decide(&s);
    assert_p(s.d.row[0].p, .95);
    assert_true(s.d.row[1].p / 4294967296.0 > .03822 && s.d.row[1].p / 4294967296.0 < .03825);
    assert_true(s.d.row[2].p / 4294967296.0 > .01175 && s.d.row[2].p / 4294967296.0 < .01178);
    assert_true((uint64_t)s.d.row[0].p + s.d.row[1].p + s.d.row[2].p == UINT64_C(1) << 32);
}

static void weights_are_exact_when_the_gaps_are(void **state)
{
    (void)state;
    struct setup s;
    /* Gaps 1/32 and 1/4 with gamma 64: p = 1/(3+2), 1/(3+16). */
    setup_init(&s, 3, (const double[]){.75, .71875, .5});
    s.params.gamma = 64;
    s.request.explore = true;
    decide(&s);
    assert_int_equal(s.d.row[1].p, (UINT64_C(1) << 32) / 5);
    assert_int_equal(s.d.row[2].p, (UINT64_C(1) << 32) / 19);
}

static void draws_are_taken_with_their_propensities(void **state)
{
    (void)state;
    struct setup s;
    struct random r = {11};
    uint32_t hits[3] = {0};
    setup_init(&s, 3, (const double[]){.78, .80, .60});
    s.request.explore = true;
    for (unsigned i = 0; i < 20000; i++) {
        for (unsigned b = 0; b < 16; b++)
            s.request.request_id[b] = (uint8_t)random_u64(&r);
        decide(&s);
        assert_int_equal((s.d.flags & POLICY_FLAG_EXPLORED) != 0, s.d.chosen != s.d.greedy);
        assert_true(s.d.fallback_count == 2 && s.d.fallback[0] != s.d.chosen);
        hits[s.d.chosen]++;
    }
    assert_true(hits[1] > 13100 && hits[1] < 13850); /* .673 */
    assert_true(hits[0] > 4700 && hits[0] < 5300);   /* .25 */
    assert_true(hits[2] > 1390 && hits[2] < 1690);   /* .077 */
}

static void without_opting_in_the_greedy_choice_is_certain(void **state)
{
    (void)state;
    struct setup s;
    setup_init(&s, 3, (const double[]){.78, .80, .60});
    decide(&s);
    assert_int_equal(s.d.chosen, 1);
    assert_int_equal(s.d.row[1].p, POLICY_ALWAYS);
    assert_int_equal(s.d.row[0].p, 0);
    assert_int_equal(s.d.flags, POLICY_FLAG_CERTAIN | POLICY_FLAG_NO_POLICY);
}

static void a_cold_start_explores_every_model_alike(void **state)
{
    (void)state;
    struct setup s;
    setup_init(&s, 3, (const double[]){.80, .78, .60});
    for (unsigned i = 0; i < 3; i++) {
        s.c[i].prior_q16 = POLICY_NO_PRIOR;
        s.c[i].price_in = (int64_t)(i + 1) * 100000000000;
    }
    policy_params_init(&s.params);
    s.params.eps_cap = UINT32_MAX;
    s.request.explore = true;
    decide(&s);
    assert_int_equal(s.d.greedy, 0);
    assert_true((s.d.flags & POLICY_FLAG_STATIC) != 0);
    assert_int_equal(s.d.row[1].p, UINT32_MAX / 3);
    assert_int_equal(s.d.row[2].p, UINT32_MAX / 3);
}

static void exploration_stays_within_delta_floor_and_cost_ratio(void **state)
{
    (void)state;
    struct setup s;
    setup_init(&s, 4, (const double[]){.80, .78, .60, .79});
    s.request.explore = true;
    s.params.lambda = 0;
    s.params.delta_q16 = Q(.1);
    s.params.cost_ratio = 3;
    for (unsigned i = 0; i < 4; i++)
        s.c[i].price_in = 1000000000; /* 1 USD per million: 1e6 nano-USD a call of 1000 tokens. */
    s.c[3].price_in = 3000000001;
    decide(&s);
    assert_true(s.d.row[1].p > 0);
    assert_int_equal(s.d.row[2].p, 0); /* delta */
    assert_int_equal(s.d.row[3].p, 0); /* 3 times dearer and one more */
    s.c[3].price_in = 3000000000;
    decide(&s);
    assert_true(s.d.row[3].p > 0);
    s.request.floor_q16 = Q(.785);
    decide(&s);
    assert_int_equal(s.d.row[1].excl, POLICY_EXCL(QUALITY_FLOOR));
    assert_int_equal(s.d.row[1].p, 0);
}

static void cost_moves_the_choice_as_lambda_says(void **state)
{
    (void)state;
    struct setup s;
    setup_init(&s, 2, (const double[]){.90, .80});
    s.c[0].price_in = 10000000000; /* 1000 tokens: 0.01 USD */
    s.c[1].price_in = 1000000000;  /* 0.001 USD */
    /* .1 quality for .009 USD: worth it below 11.1 quality per USD. */
    s.request.lambda = (int64_t)(11.0 * 1152921504.606846976);
    decide(&s);
    assert_int_equal(s.d.chosen, 0);
    assert_int_equal(s.d.row[0].cost, 10000000);
    assert_int_equal(s.d.row[1].cost, 1000000);
    s.request.lambda = (int64_t)(11.2 * 1152921504.606846976);
    decide(&s);
    assert_int_equal(s.d.chosen, 1);
    struct explain_input in = {NULL, NULL, &s.params, &s.request, s.c, s.count};
    struct explain_threshold t;
    explain_threshold(&in, &s.d, &t);
    assert_int_equal(t.below_position, 0);
    assert_int_equal(t.above_position, POLICY_NONE);
    assert_true(t.below > 12800000000 && t.below < 12820000000); /* 11.11 * 1.1529e9 */
    s.request.lambda = t.below;
    decide(&s);
    assert_int_equal(s.d.chosen, 0);
    s.request.lambda = t.below + 1;
    decide(&s);
    assert_int_equal(s.d.chosen, 1);
}

static void latency_counts_with_mu_and_under_its_cap(void **state)
{
    (void)state;
    struct setup s;
    setup_init(&s, 2, (const double[]){.82, .80});
    s.c[0].ttft_est_ms = 300;
    s.c[0].tpot_est_us = 30001; /* 100 tokens: 3000.1 ms, rounded up */
    s.c[1].ttft_est_ms = 500;
    decide(&s);
    assert_int_equal(s.d.chosen, 0);
    assert_int_equal(s.d.row[0].lat_ms, 3301);
    s.request.mu = POLICY_MU_LATENCY_DEFAULT; /* .05 a second */
    decide(&s);
    assert_int_equal(s.d.chosen, 1);
    s.request.mu = 0;
    s.request.max_latency_ms = 3300;
    decide(&s);
    assert_int_equal(s.d.row[0].excl, POLICY_EXCL(LATENCY_CAP));
    assert_int_equal(s.d.chosen, 1);
}

static void ties_go_to_the_cheaper_then_to_the_first(void **state)
{
    (void)state;
    struct setup s;
    setup_init(&s, 3, (const double[]){.8, .8, .8});
    s.request.lambda = 0;
    decide(&s);
    assert_int_equal(s.d.chosen, 0);
    s.c[0].price_in = 2000000;
    s.c[1].price_in = s.c[2].price_in = 1000000;
    decide(&s);
    assert_int_equal(s.d.chosen, 1);
    assert_int_equal(s.d.fallback[0], 2);
    assert_int_equal(s.d.fallback[1], 0);
}

static void an_unknown_price_counts_as_the_dearest_and_never_as_free(void **state)
{
    (void)state;
    struct setup s;
    setup_init(&s, 3, (const double[]){.80, .80, .80});
    s.request.lambda = POLICY_LAMBDA_DEFAULT;
    s.c[0].price_in = PRICE_UNKNOWN;
    s.c[1].price_in = 5000000000;
    s.c[2].price_in = 1000000000;
    decide(&s);
    assert_int_equal(s.d.row[0].cost, PRICE_UNKNOWN);
    assert_int_equal(s.d.row[0].u, s.d.row[1].u);
    assert_int_equal(s.d.chosen, 2);
    assert_true((s.d.flags & POLICY_FLAG_COST_ASSUMED) != 0);
    s.request.max_cost_nanousd = 9000000;
    decide(&s);
    assert_int_equal(s.d.row[0].excl, POLICY_EXCL(COST_CAP));
    assert_int_equal(s.d.row[1].excl, 0);
}

static void a_conversation_stays_while_the_margin_allows(void **state)
{
    (void)state;
    struct setup s;
    setup_init(&s, 2, (const double[]){.80, .75});
    s.request.sticky = 1;
    s.request.explore = true;
    s.params.stick_margin = INT64_C(1) << 33; /* .125 */
    decide(&s);
    assert_int_equal(s.d.chosen, 1);
    assert_int_equal(s.d.greedy, 0);
    assert_int_equal(s.d.row[1].p, POLICY_ALWAYS);
    assert_true((s.d.flags & (POLICY_FLAG_STICKY | POLICY_FLAG_CERTAIN)) ==
                (POLICY_FLAG_STICKY | POLICY_FLAG_CERTAIN));
    s.params.stick_margin = INT64_C(1) << 31; /* .03 */
    decide(&s);
    assert_int_equal(s.d.flags & POLICY_FLAG_STICKY, 0);
    s.params.stick_margin = INT64_C(1) << 33;
    s.c[1].excl = POLICY_EXCL(BREAKER_OPEN);
    decide(&s);
    assert_int_equal(s.d.chosen, 0);
}

static void a_cached_prefix_makes_the_sticky_model_cheaper(void **state)
{
    (void)state;
    struct setup s;
    setup_init(&s, 1, (const double[]){.80});
    s.c[0].price_in = 1000000000;
    s.c[0].price_cached = 100000000;
    s.c[0].cached_tokens = 900;
    decide(&s);
    assert_int_equal(s.d.row[0].cost, 100 * 1000 + 900 * 100);
    s.c[0].cached_tokens = 5000; /* No more than there are. */
    decide(&s);
    assert_int_equal(s.d.row[0].cost, 1000 * 100);
}

static void fallbacks_leave_the_failed_domain_for_last(void **state)
{
    (void)state;
    struct setup s;
    setup_init(&s, 5, (const double[]){.90, .89, .88, .87, .86});
    s.c[0].domain = s.c[1].domain = 4;
    s.c[2].domain = s.c[3].domain = 9;
    decide(&s);
    const uint8_t expected[] = {2, 4, 1, 3};
    assert_int_equal(s.d.fallback_count, 4);
    assert_memory_equal(s.d.fallback, expected, 4);
    uint64_t failed = 1U << s.d.chosen;
    for (unsigned i = 0; i < 4; i++) { /* The same, asked step by step. */
        uint32_t next = policy_next(s.c, &s.d, failed);
        assert_int_equal(next, expected[i]);
        failed |= UINT64_C(1) << next;
    }
    assert_int_equal(policy_next(s.c, &s.d, failed), POLICY_NONE);
}

static void no_quality_at_all_means_the_order_of_the_route(void **state)
{
    (void)state;
    struct setup s;
    setup_init(&s, 3, (const double[]){0, 0, 0});
    for (unsigned i = 0; i < 3; i++)
        s.c[i].prior_q16 = POLICY_NO_PRIOR;
    s.c[0].excl = POLICY_EXCL(BREAKER_OPEN);
    s.request.explore = true;
    s.request.floor_q16 = Q(.9);
    decide(&s);
    assert_int_equal(s.d.chosen, 1);
    assert_int_equal(s.d.fallback[0], 2);
    assert_true((s.d.flags & POLICY_FLAG_STATIC) != 0);
    s.c[2].prior_q16 = Q(.95); /* One prior: the others count as that. */
    decide(&s);
    assert_int_equal(s.d.flags & POLICY_FLAG_STATIC, 0);
    assert_int_equal(s.d.row[1].q, Q(.95));
}

static void the_static_strategy_ignores_quality_and_cost(void **state)
{
    (void)state;
    struct setup s;
    setup_init(&s, 3, (const double[]){.1, .9, .95});
    s.params.strategy = POLICY_STATIC;
    s.c[0].price_in = 9000000000;
    s.request.lambda = POLICY_LAMBDA_DEFAULT;
    s.request.explore = true;
    decide(&s);
    assert_int_equal(s.d.chosen, 0);
    assert_int_equal(s.d.row[2].u, -(INT64_C(2) << 36));
    assert_true((s.d.flags & POLICY_FLAG_CERTAIN) != 0);
}

static void a_soft_floor_keeps_the_best_one(void **state)
{
    (void)state;
    struct setup s;
    setup_init(&s, 3, (const double[]){.5, .7, .6});
    s.request.floor_q16 = Q(.9);
    decide(&s);
    assert_int_equal(s.d.chosen, POLICY_NONE);
    struct policy_refusal refusal = policy_refusal(&s.d);
    assert_int_equal(refusal.status, 400);
    assert_string_equal(policy_exclusion_name(refusal.exclusion), "QUALITY_FLOOR");
    s.params.floor_soft = true;
    decide(&s);
    assert_int_equal(s.d.chosen, 1);
    assert_true((s.d.flags & POLICY_FLAG_FLOOR_RELAXED) != 0);
}

static void a_refusal_names_the_mildest_cause(void **state)
{
    (void)state;
    static const struct {
        uint32_t excl[3];
        uint32_t status;
        const char *name;
    } cases[] = {
        {{POLICY_EXCL(BREAKER_OPEN), POLICY_EXCL(CAPABILITY), POLICY_EXCL(RATE)},
         503,
         "BREAKER_OPEN"},
        {{POLICY_EXCL(BREAKER_OPEN) | POLICY_EXCL(BUDGET), POLICY_EXCL(CAPABILITY),
          POLICY_EXCL(BUDGET)},
         429,
         "BUDGET"},
        {{POLICY_EXCL(CONTEXT_LEN), POLICY_EXCL(CONTEXT_LEN) | POLICY_EXCL(BREAKER_OPEN),
          POLICY_EXCL(CAPABILITY)},
         400,
         "CONTEXT_LEN"},
        {{POLICY_EXCL(KEY_ALLOWLIST), POLICY_EXCL(KEY_ALLOWLIST) | POLICY_EXCL(BUDGET),
          POLICY_EXCL(REGION) | POLICY_EXCL(CAPABILITY)},
         403,
         "KEY_ALLOWLIST"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct setup s;
        setup_init(&s, 3, (const double[]){.5, .7, .6});
        for (unsigned k = 0; k < 3; k++)
            s.c[k].excl = cases[i].excl[k];
        decide(&s);
        assert_int_equal(s.d.chosen, POLICY_NONE);
        assert_int_equal(s.d.greedy, POLICY_NONE);
        assert_int_equal(s.d.fallback_count, 0);
        struct policy_refusal refusal = policy_refusal(&s.d);
        assert_int_equal(refusal.status, cases[i].status);
        assert_string_equal(policy_exclusion_name(refusal.exclusion), cases[i].name);
    }
}

static void preferences_walk_the_frontier(void **state)
{
    (void)state;
    struct artifact_segment g = {
        .point_count = 3,
        .points = {{0, 1000, 60000}, {400, 600, 59000}, {1000, 200, 50000}},
    };
    assert_int_equal(policy_lambda_at(&g, 100, 5), 0);
    assert_int_equal(policy_lambda_at(&g, 0, 5), 1000);
    assert_int_equal(policy_lambda_at(&g, 50, 5), 400); /* C = 600 */
    assert_int_equal(policy_lambda_at(&g, 75, 5), 200); /* C = 800 */
    assert_int_equal(policy_lambda_at(&g, 25, 5), 700); /* C = 400 */
    assert_int_equal(policy_lambda_at(NULL, 25, 5), 5);
    int32_t preference;
    assert_int_equal(policy_preference_parse(STR("quality"), &preference), 0);
    assert_int_equal(preference, 100);
    assert_int_equal(policy_preference_parse(STR("latency"), &preference), 0);
    assert_int_equal(preference, POLICY_PREFER_LATENCY);
    assert_int_equal(policy_preference_parse(STR("37"), &preference), 0);
    assert_int_equal(preference, 37);
    assert_int_equal(policy_preference_parse(STR("101"), &preference), ERR_INVALID);
    assert_int_equal(policy_preference_parse(STR(""), &preference), ERR_INVALID);
    struct policy_params p;
    int64_t lambda, mu;
    policy_params_init(&p);
    policy_preference_apply(NULL, 0, POLICY_PREFER_COST, &p, &lambda, &mu);
    assert_int_equal(lambda, 4 * p.lambda);
    policy_preference_apply(NULL, 0, POLICY_PREFER_BALANCED, &p, &lambda, &mu);
    assert_int_equal(lambda, p.lambda);
    policy_preference_apply(NULL, 0, POLICY_PREFER_QUALITY, &p, &lambda, &mu);
    assert_int_equal(lambda, 0);
    policy_preference_apply(NULL, 0, POLICY_PREFER_LATENCY, &p, &lambda, &mu);
    assert_int_equal(lambda, p.lambda);
    assert_int_equal(mu, p.mu_latency);
}

static void inputs_out_of_range_are_refused(void **state)
{
    (void)state;
    struct setup s;
    setup_init(&s, 2, (const double[]){.5, .7});
    struct policy_decision d;
#define REFUSED(change)                                                                            \
    do {                                                                                           \
        struct setup t = s;                                                                        \
        change;                                                                                    \
        assert_int_equal(policy_decide(NULL, NULL, &t.params, &t.request, t.c, t.count, &d),       \
                         ERR_INVALID);                                                             \
    } while (0)
    REFUSED(t.count = 0);
    REFUSED(t.count = 65);
    REFUSED(t.c[1].ordinal = 0);
    REFUSED(t.c[1].ordinal = -2);
    REFUSED(t.c[0].price_in = -2);
    REFUSED(t.c[0].price_out = PRICE_RATE_MAX + 1);
    REFUSED(t.c[0].prior_q16 = 65537);
    REFUSED(t.request.lambda = -1);
    REFUSED(t.request.mu = ARTIFACT_LAMBDA_MAX + 1);
    REFUSED(t.request.sticky = 2);
    REFUSED(t.request.floor_q16 = 65537);
    REFUSED(t.request.max_cost_nanousd = -1);
    REFUSED(t.params.off[5] = ARTIFACT_OFFSET_MAX + 1);
    REFUSED(t.params.stick_margin = -1);
}

/* Invariants of any decision. */
static void check_decision(const struct fixture_case *c, const struct policy_decision *d)
{
    uint64_t sum = 0, seen = 0;
    uint32_t open = 0;
    for (uint32_t i = 0; i < d->count; i++) {
        sum += d->row[i].p;
        open += d->row[i].excl == 0;
        assert_true(d->row[i].excl == 0 || d->row[i].p == 0);
        assert_int_equal(d->row[i].excl & c->candidates[i].excl, c->candidates[i].excl);
        assert_true(d->row[i].q <= 65536 && d->row[i].out_tok >= 1);
        assert_true(d->row[i].cost == PRICE_UNKNOWN || d->row[i].cost >= 0);
    }
    if (d->chosen == POLICY_NONE) {
        assert_int_equal(open, 0);
        return;
    }
    assert_int_equal(d->row[d->chosen].excl, 0);
    assert_true(d->row[d->chosen].p > 0);
    assert_true(sum == ((d->flags & POLICY_FLAG_CERTAIN) != 0 ? UINT32_MAX : UINT64_C(1) << 32));
    assert_int_equal(d->fallback_count, open - 1);
    seen = UINT64_C(1) << d->chosen;
    for (uint32_t i = 0; i < d->fallback_count; i++) {
        assert_int_equal(d->row[d->fallback[i]].excl, 0);
        assert_int_equal(seen >> d->fallback[i] & 1, 0);
        seen |= UINT64_C(1) << d->fallback[i];
    }
}

static void ten_thousand_decisions_are_recomputed_from_their_bytes(void **state)
{
    (void)state;
    const uint64_t seed = 20261121;
    struct random r = {seed};
    print_message("seed %llu\n", (unsigned long long)seed);
    struct artifact *a[4] = {fixture_artifact(&r, 10, 8, 8, 900),
                             fixture_artifact(&r, 9, 24, 14, 900),
                             fixture_artifact(&r, 8, 64, 31, 32767), NULL};
    struct buf bytes;
    buf_init(&bytes, 1 << 20);
    for (unsigned i = 0; i < 10000; i++) {
        const struct artifact *art = a[i % 4];
        uint32_t models = art != NULL ? art->model_count : 0;
        struct fixture_case c;
        struct policy_decision d, again;
        struct selftest_vector v;
        fixture_case_init(&c, &r, models, 1 + random_below(&r, i % 50 == 0 ? 64 : 12), i % 5 == 0);
        const struct selftest_case view = fixture_case_view(&c);
        assert_int_equal(
            policy_decide(art, &c.features, &c.params, &c.request, c.candidates, c.count, &d), 0);
        check_decision(&c, &d);
        buf_clear(&bytes);
        assert_int_equal(selftest_encode(&view, models, &d, &bytes), 0);
        struct str rest = buf_str(&bytes);
        assert_int_equal(selftest_decode(&rest, models, &v), 0);
        assert_int_equal(rest.len, 0);
        const struct explain_input in = {art,        &v.features,  &v.params,
                                         &v.request, v.candidates, v.count};
        assert_int_equal(explain_recompute(&in, NULL, &again), 0);
        struct explain_mismatch m = explain_compare(&v.decision, &again);
        if (m.field != NULL)
            fail_msg("case %u: %s of %u differs", i, m.field, m.position);
        struct explain_input dropped = in; /* From z on, without features. */
        dropped.features = NULL;
        assert_int_equal(explain_recompute(&dropped, &v.decision, &again), 0);
        assert_null(explain_compare(&v.decision, &again).field);
        struct explain_terms terms;
        struct explain_threshold t;
        explain_threshold(&in, &again, &t);
        if (again.chosen != POLICY_NONE)
            explain_terms(&in, &again, again.chosen, POLICY_NONE, &terms);
    }
    buf_deinit(&bytes);
    for (unsigned i = 0; i < 3; i++)
        artifact_destroy(a[i]);
}

static void thresholds_are_exact_on_both_sides(void **state)
{
    (void)state;
    struct random r = {99};
    unsigned below = 0, above = 0;
    for (unsigned i = 0; i < 2000; i++) {
        struct fixture_case c;
        struct policy_decision d, other;
        struct explain_threshold t;
        fixture_case_init(&c, &r, 0, 2 + random_below(&r, 8), false);
        c.params.strategy = POLICY_LEARNED;
        const struct explain_input in = {NULL, NULL, &c.params, &c.request, c.candidates, c.count};
        assert_int_equal(explain_recompute(&in, NULL, &d), 0);
        explain_threshold(&in, &d, &t);
        if (t.below_position != POLICY_NONE) {
            below++;
            c.request.lambda = t.below;
            assert_int_equal(explain_recompute(&in, NULL, &other), 0);
            assert_int_equal(other.greedy, t.below_position);
            c.request.lambda = t.below + 1;
            assert_int_equal(explain_recompute(&in, NULL, &other), 0);
            assert_int_equal(other.greedy, d.greedy);
        }
        if (t.above_position != POLICY_NONE) {
            above++;
            c.request.lambda = t.above;
            assert_int_equal(explain_recompute(&in, NULL, &other), 0);
            assert_int_equal(other.greedy, t.above_position);
            c.request.lambda = t.above - 1;
            assert_int_equal(explain_recompute(&in, NULL, &other), 0);
            assert_int_equal(other.greedy, d.greedy);
        }
    }
    assert_true(below > 100 && above > 100);
}

/* What is asked beside a decision is what it would have said, but for stickiness and exploration.
 */
static void a_version_that_is_only_asked_gives_the_greedy_choice_of_a_decision(void **state)
{
    (void)state;
    struct random r = {5};
    for (int round = 0; round < 300; round++) {
        uint32_t models = 1 + random_below(&r, 6);
        struct artifact *a = fixture_artifact(&r, 8, models, 0, 300);
        struct fixture_case c;
        fixture_case_init(&c, &r, models, 1 + random_below(&r, 20), round % 5 == 0);
        struct policy_decision d;
        struct policy_choice choice;
        assert_int_equal(
            policy_decide(a, &c.features, &c.params, &c.request, c.candidates, c.count, &d), 0);
        assert_int_equal(policy_greedy_by_valid(a, &c.features, &c.params, &c.request, c.candidates,
                                                c.count, &choice),
                         0);
        uint32_t excl = 0;
        for (uint32_t i = 0; i < d.count; i++)
            excl |= d.row[i].excl;
        assert_int_equal(choice.position, d.greedy);
        assert_int_equal(choice.excl_any, excl);
        if (d.greedy != POLICY_NONE) {
            assert_int_equal(choice.q, d.row[d.greedy].q);
            assert_true(choice.cost == d.row[d.greedy].cost);
        }
        artifact_destroy(a);
    }
}

static void other_parameters_beside_a_decision_need_no_second_scoring(void **state)
{
    (void)state;
    struct random r = {6};
    for (int round = 0; round < 300; round++) {
        uint32_t models = 1 + random_below(&r, 6);
        struct artifact *a = fixture_artifact(&r, 8, models, 0, 300);
        struct fixture_case c, other;
        uint32_t count = 1 + random_below(&r, 20);
        fixture_case_init(&c, &r, models, count, false);
        fixture_case_init(&other, &r, models, count, false);
        other.params.strategy = c.params.strategy;
        other.request.t_out_cap = c.request.t_out_cap;
        struct policy_decision d;
        struct policy_choice whole, beside;
        assert_int_equal(
            policy_decide(a, &c.features, &c.params, &c.request, c.candidates, count, &d), 0);
        assert_int_equal(policy_greedy_by_valid(a, &c.features, &other.params, &other.request,
                                                c.candidates, count, &whole),
                         0);
        assert_int_equal(policy_greedy_beside(a, &d, &c.params, &other.params, &other.request,
                                              c.candidates, &beside),
                         0);
        assert_int_equal(whole.position, beside.position);
        assert_int_equal(whole.q, beside.q);
        assert_true(whole.cost == beside.cost);
        assert_int_equal(whole.excl_any, beside.excl_any);
        artifact_destroy(a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inverse_gap_weighting_gives_the_published_vector),
        cmocka_unit_test(weights_are_exact_when_the_gaps_are),
        cmocka_unit_test(draws_are_taken_with_their_propensities),
        cmocka_unit_test(without_opting_in_the_greedy_choice_is_certain),
        cmocka_unit_test(a_cold_start_explores_every_model_alike),
        cmocka_unit_test(exploration_stays_within_delta_floor_and_cost_ratio),
        cmocka_unit_test(cost_moves_the_choice_as_lambda_says),
        cmocka_unit_test(latency_counts_with_mu_and_under_its_cap),
        cmocka_unit_test(ties_go_to_the_cheaper_then_to_the_first),
        cmocka_unit_test(an_unknown_price_counts_as_the_dearest_and_never_as_free),
        cmocka_unit_test(a_conversation_stays_while_the_margin_allows),
        cmocka_unit_test(a_cached_prefix_makes_the_sticky_model_cheaper),
        cmocka_unit_test(fallbacks_leave_the_failed_domain_for_last),
        cmocka_unit_test(no_quality_at_all_means_the_order_of_the_route),
        cmocka_unit_test(the_static_strategy_ignores_quality_and_cost),
        cmocka_unit_test(a_soft_floor_keeps_the_best_one),
        cmocka_unit_test(a_refusal_names_the_mildest_cause),
        cmocka_unit_test(preferences_walk_the_frontier),
        cmocka_unit_test(inputs_out_of_range_are_refused),
        cmocka_unit_test(ten_thousand_decisions_are_recomputed_from_their_bytes),
        cmocka_unit_test(thresholds_are_exact_on_both_sides),
        cmocka_unit_test(a_version_that_is_only_asked_gives_the_greedy_choice_of_a_decision),
        cmocka_unit_test(other_parameters_beside_a_decision_need_no_second_scoring),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
