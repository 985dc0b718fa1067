#include <math.h>
#include <string.h>

#include "common/base/rand.h"
#include "controlplane/rollout/mean_guard.h"
#include "tests/lib/fault.h"

#define assert_near(a, b, most) assert_true(fabs((double)(a) - (double)(b)) <= (most))
#define ROWS                    24000U
#define BUCKET                  400U

struct row {
    double y;
    bool candidate;
    uint32_t cluster;
};
static struct row rows[ROWS];
static double v_psi[ROWS], weights[ROWS];

static void the_published_vectors_come_out(void **state)
{
    (void)state;
    assert_near(mean_guard_half_width(1000, 2500, .01, .01), .045200105, 1e-9);
    assert_near(mean_guard_rho2(1, .01), 12.430667, 1e-6);
}

static double share_of(uint32_t i)
{
    const double shares[] = {0, .05, .25, .5, 1};
    return shares[i * 5 / ROWS];
}

static void add(struct mean_bucket *b, const struct row *r)
{
    struct mean_cell *cell = &b->cell[r->candidate][r->cluster];
    cell->n++;
    cell->sum += r->y;
    cell->sumsq += r->y * r->y;
}

static void make_rows(void)
{
    rand_seed_thread(7);
    for (uint32_t i = 0; i < ROWS; i++) {
        const uint32_t cluster = (uint32_t)rand_below(MEAN_GUARD_CLUSTERS);
        rows[i] = (struct row){.y = 100.0 + (double)rand_below(1000) / 10.0 + cluster,
                               .candidate = (double)rand_below(10000) < 10000 * share_of(i),
                               .cluster = cluster};
    }
}

static void fold_rows(struct mean_guard *g)
{
    for (uint32_t at = 0; at < ROWS; at += BUCKET) {
        struct mean_bucket b = {.pi = share_of(at)};
        for (uint32_t i = at; i < at + BUCKET; i++)
            add(&b, &rows[i]);
        mean_guard_fold(g, &b);
    }
}

/* The definition of section 7.3, request by request. */
static void cells_give_what_the_requests_would(void **state)
{
    (void)state;
    struct mean_guard g;
    struct mean_interval x;
    double n[2] = {0}, sum[2] = {0}, weight = 0, total = 0, stable = 0, apart = 0, together = 0;
    double cluster[MEAN_GUARD_CLUSTERS] = {0};
    make_rows();
    mean_guard_init(&g, 150, 0);
    fold_rows(&g);
    for (uint32_t at = 0; at < ROWS; at += BUCKET) {
        const double pi = share_of(at), v = pi * (1 - pi);
        const double m0 = n[0] > 0 ? sum[0] / n[0] : 150, m1 = n[1] > 0 ? sum[1] / n[1] : m0;
        for (uint32_t i = at; i < at + BUCKET; i++) {
            const struct row *r = &rows[i];
            double psi = m1 - m0, own = m0;
            weights[i] = v;
            n[r->candidate]++;
            sum[r->candidate] += r->y;
            if (v <= 0)
                continue;
            psi += r->candidate ? (r->y - m1) / pi : -(r->y - m0) / (1 - pi);
            own += r->candidate ? 0 : (r->y - m0) / (1 - pi);
            v_psi[i] = v * psi;
            weight += v;
            total += v * psi;
            stable += v * own;
        }
    }
    const double d = total / weight;
    for (uint32_t i = 0; i < ROWS; i++) {
        const double e = v_psi[i] - weights[i] * d;
        apart += e * e;
        cluster[rows[i].cluster] += e;
    }
    for (uint32_t i = 0; i < MEAN_GUARD_CLUSTERS; i++)
        together += cluster[i] * cluster[i] * 64 / 63;
    assert_true(mean_guard_look(&g, .01, 100, &x));
    assert_near(x.mean, d, 1e-9);
    assert_near(x.stable, stable / weight, 1e-7);
    assert_near(x.variance / fmax(apart, together), 1, 1e-9);
    const double rho2 = mean_guard_rho2(2500 * fmax(apart, together) / weight, .01);
    const double half = mean_guard_half_width(fmax(apart, together), weight, rho2, .01);
    assert_near(x.high - x.mean, half, 1e-7);
    assert_near(x.mean - x.low, half, 1e-7);
    assert_true(x.low < 0 && x.high > 0); /* The arms are equal. */
}

static void the_same_cells_give_the_same_bits(void **state)
{
    (void)state;
    struct mean_guard a, b;
    make_rows();
    mean_guard_init(&a, 150, 300);
    mean_guard_init(&b, 150, 300);
    fold_rows(&a);
    fold_rows(&b);
    assert_memory_equal(&a, &b, sizeof(a));
}

/* n requests of each arm, the candidate's values `by` higher, in one bucket. */
static void fold_pairs(struct mean_guard *g, double pi, uint32_t n, double base, double by)
{
    struct mean_bucket b = {.pi = pi};
    for (uint32_t i = 0; i < 2 * n; i++) {
        const bool candidate = i % 2 == 1;
        add(&b, &(struct row){base + (double)rand_below(2) + (candidate ? by : 0), candidate,
                              (uint32_t)rand_below(MEAN_GUARD_CLUSTERS)});
    }
    mean_guard_fold(g, &b);
}

static void it_says_nothing_before_enough_requests_and_units(void **state)
{
    (void)state;
    struct mean_guard g;
    struct mean_interval x;
    mean_guard_init(&g, 10, 2);
    fold_pairs(&g, .5, MEAN_GUARD_REQUESTS_MIN - 1, 10, 0);
    assert_false(mean_guard_look(&g, .01, 1000, &x));
    fold_pairs(&g, .5, 1, 10, 0);
    assert_false(mean_guard_look(&g, .01, MEAN_GUARD_UNITS_MIN - 1, &x));
    assert_true(g.rho2 == 0);
    assert_true(mean_guard_look(&g, .01, MEAN_GUARD_UNITS_MIN, &x));
}

static void a_share_of_all_or_nothing_compares_nothing(void **state)
{
    (void)state;
    struct mean_guard g;
    struct mean_interval x;
    mean_guard_init(&g, 10, 2);
    fold_pairs(&g, 1, 5000, 10, 5);
    fold_pairs(&g, 0, 5000, 10, 5);
    assert_true(g.weight == 0);
    assert_false(mean_guard_look(&g, .01, 1000, &x));
    assert_int_equal(g.n[0], 10000);
}

static void a_difference_is_found_and_the_width_is_fixed_at_first_use(void **state)
{
    (void)state;
    struct mean_guard g;
    struct mean_interval x, y;
    rand_seed_thread(11);
    mean_guard_init(&g, 10, 2);
    for (int i = 0; i < 10; i++)
        fold_pairs(&g, .5, 200, 10, .4);
    assert_true(mean_guard_look(&g, .01, 200, &x));
    assert_true(x.low > 0 && x.low < .4 && x.high > .4);
    const double rho2 = g.rho2;
    for (int i = 0; i < 50; i++)
        fold_pairs(&g, .5, 200, 10, .4);
    assert_true(mean_guard_look(&g, .01, 200, &y));
    assert_true(g.rho2 == rho2);
    assert_true(y.high - y.low < (x.high - x.low) / 2);
}

static void equal_values_are_not_taken_for_certainty(void **state)
{
    (void)state;
    struct mean_guard g;
    struct mean_interval x;
    struct mean_bucket b = {.pi = .5};
    for (uint32_t i = 0; i < 2400; i++)
        add(&b, &(struct row){1, i % 2 == 0, i % MEAN_GUARD_CLUSTERS});
    mean_guard_init(&g, 1, 1);
    mean_guard_fold(&g, &b);
    assert_true(mean_guard_look(&g, .01, 200, &x));
    assert_true(x.mean == 0 && x.high > 0.001 && x.high < 0.02);
}

static void models_without_a_price_cost_the_same(void **state)
{
    (void)state;
    struct mean_guard g;
    struct mean_interval x;
    struct mean_bucket b = {.pi = .5};
    for (uint32_t i = 0; i < 2400; i++)
        add(&b, &(struct row){0, i % 2 == 0, i % MEAN_GUARD_CLUSTERS});
    mean_guard_init(&g, 0, 0);
    mean_guard_fold(&g, &b);
    assert_true(mean_guard_look(&g, .01, 200, &x));
    assert_true(x.low == 0 && x.high == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_vectors_come_out),
        cmocka_unit_test(cells_give_what_the_requests_would),
        cmocka_unit_test(the_same_cells_give_the_same_bits),
        cmocka_unit_test(it_says_nothing_before_enough_requests_and_units),
        cmocka_unit_test(a_share_of_all_or_nothing_compares_nothing),
        cmocka_unit_test(a_difference_is_found_and_the_width_is_fixed_at_first_use),
        cmocka_unit_test(equal_values_are_not_taken_for_certainty),
        cmocka_unit_test(models_without_a_price_cost_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
