/* sim_rates [--runs N] [--seed S] [--verbose]: shares of rate limits on a virtual clock. The real
 * tables of nodes and the real splitter, and between them a network that loses, repeats, reorders
 * and delays; nodes that join, leave, die, come back and are cut off, with clocks that do not go
 * alike; a plane that dies and is followed by one that knows nothing. After every step:
 *   - of each account and kind, the shares in force on all nodes together are at most the whole;
 *   - what went through in any window is at most rate * window + burst + one a node (kept as a
 *     bucket that leaks at the limit, which is the same for all windows at once);
 *   - requests under way are at most the limit and one a node.
 * At the end of a run, when all is quiet and one node gets all requests, at least nine tenths of
 * the limit go through there. A broken bound prints the seed; --runs 1 --seed S plays it again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/rand.h"
#include "controlplane/budgets/rates_internal.h"
#include "dataplane/limits/limits.h"
#include "dataplane/limits/limits_internal.h"

#define NODES     6U
#define ACCOUNTS  3U
#define MESSAGES  1024U
#define RUNNING   64U
#define STEP_MS   50U
#define STORM_MS  240000U
#define SETTLE_MS 45000U
#define SKEW_MS   120000U

static const struct limits_values limits[ACCOUNTS] = {
    {60, 60000, 4}, {600, 0, 16}, {6000, 3000000, 0}};

struct running {
    struct limits_hold hold;
    uint64_t until_ms;
};
struct sim_node {
    struct limits_table *table; /* NULL: not there. */
    uint64_t life;
    uint64_t report_ms, cut_until_ms, back_ms;
    int32_t drift_ppm;
    uint32_t safe, nodes; /* What it left behind. */
    bool known;
    struct running running[RUNNING];
};
struct message {
    bool used, up;
    uint32_t node;
    uint64_t life, due_ms;
    struct rates_report report;
    struct rates_answer answer;
    struct rates_demand demands[ACCOUNTS];
    struct rates_share shares[ACCOUNTS];
};
struct sim {
    uint64_t seed, now_ms, next_life, term;
    struct rates *plane; /* NULL: away. */
    uint64_t plane_back_ms;
    struct sim_node nodes[NODES];
    struct message messages[MESSAGES];
    bool storm;
    uint32_t loss, delay_ms; /* Of 100; at most. */
    uint32_t weight[NODES];
    double owed[ACCOUNTS]; /* Let through, less what the limit brought in; at least 0. */
    uint64_t through[ACCOUNTS];
};

static bool verbose;
static struct limits_report scratch;

static void fail(const struct sim *s, const char *what, uint32_t account, double is, double most)
{
    fprintf(stderr, "seed %llu at %llu ms: %s of account %u: %.3f, at most %.3f\n",
            (unsigned long long)s->seed, (unsigned long long)s->now_ms, what, account, is, most);
    exit(1);
}

static uint64_t local_ns(const struct sim *s, const struct sim_node *n)
{
    uint64_t ns = s->now_ms * 1000000;
    return ns + 1000000000000 + ns / 1000000 * (uint64_t)(n->drift_ppm + 10000) - ns / 100;
}

/* ---- the network ---- */

static struct message *post(struct sim *s)
{
    if (s->storm && rand_below(100) < s->loss)
        return NULL;
    for (uint32_t i = 0; i < MESSAGES; i++) {
        struct message *m = &s->messages[i];
        if (m->used)
            continue;
        m->used = true;
        m->due_ms = s->now_ms + 1 + rand_below(s->storm ? s->delay_ms : 20);
        return m;
    }
    return NULL;
}

static void send_up(struct sim *s, uint32_t node, bool leaving)
{
    struct sim_node *n = &s->nodes[node];
    limits_report(n->table, local_ns(s, n), &scratch);
    struct message *m = post(s);
    if (m == NULL || n->cut_until_ms > s->now_ms) {
        if (m != NULL)
            m->used = false;
        return;
    }
    m->up = true;
    m->node = node;
    m->life = n->life;
    m->report = (struct rates_report){.key = {.life = n->life},
                                      .report_no = scratch.report_no,
                                      .term = scratch.term,
                                      .applied = scratch.applied,
                                      .safe = scratch.safe,
                                      .nodes = scratch.nodes,
                                      .leaving = leaving,
                                      .count = scratch.count,
                                      .demands = m->demands};
    m->report.key.node[0] = (uint8_t)(node + 1);
    for (uint32_t i = 0; i < scratch.count; i++) {
        m->demands[i].account = scratch.demands[i].account;
        m->demands[i].held = scratch.demands[i].held;
        memcpy(m->demands[i].want, scratch.demands[i].want, sizeof m->demands[i].want);
    }
}

static void arrive_up(struct sim *s, struct message *m)
{
    struct rates_answer a;
    const struct sim_node *n = &s->nodes[m->node];
    if (s->plane == NULL || n->cut_until_ms > s->now_ms || n->life != m->life)
        return; /* A newer stream of a node ends an older one. */
    int rc = rates_report(s->plane, &m->report, s->now_ms, &a);
    struct message *down = rc == 1 ? post(s) : NULL;
    if (down == NULL)
        return;
    down->up = false;
    down->node = m->node;
    down->life = m->life;
    down->answer = a;
    memcpy(down->shares, a.shares, a.count * sizeof *a.shares);
    down->answer.shares = down->shares;
}

static void arrive_down(struct sim *s, struct message *m)
{
    struct sim_node *n = &s->nodes[m->node];
    struct limits_share shares[ACCOUNTS];
    if (n->table == NULL || n->life != m->life || n->cut_until_ms > s->now_ms)
        return;
    for (uint32_t i = 0; i < m->answer.count; i++) {
        shares[i].account = m->shares[i].account;
        memcpy(shares[i].share, m->shares[i].share, sizeof shares[i].share);
    }
    const struct limits_answer a = {.report_no = m->answer.report_no,
                                    .answer_no = m->answer.answer_no,
                                    .term = m->answer.term,
                                    .safe = m->answer.safe,
                                    .nodes = m->answer.nodes,
                                    .count = m->answer.count,
                                    .shares = shares};
    (void)limits_apply(n->table, &a, local_ns(s, n));
}

static void hush(struct sim *s, const struct message *last)
{
    for (uint32_t i = 0; i < MESSAGES; i++)
        if (s->messages[i].node == last->node)
            s->messages[i].used = false;
}

static void deliver(struct sim *s)
{
    for (uint32_t i = 0; i < MESSAGES; i++) {
        struct message *m = &s->messages[i];
        if (!m->used || m->due_ms > s->now_ms)
            continue;
        if (m->up)
            arrive_up(s, m);
        else
            arrive_down(s, m);
        if (m->up && m->report.leaving) /* The last of its stream. */
            hush(s, m);
        else if (s->storm && rand_below(100) < 5) /* Once more. */
            m->due_ms = s->now_ms + 1 + rand_below(15000);
        else
            m->used = false;
    }
}

/* ---- nodes ---- */

static void node_up(struct sim *s, uint32_t node)
{
    struct sim_node *n = &s->nodes[node];
    n->drift_ppm = (int32_t)rand_below(8000) - 4000;
    n->table = limits_create(16, local_ns(s, n));
    n->life = ++s->next_life;
    if (verbose)
        printf("%llu: node %u up, life %llu, safe %.3f nodes %u\n", (unsigned long long)s->now_ms,
               node, (unsigned long long)n->life, (double)n->safe / BUCKET_SHARE_ONE, n->nodes);
    n->report_ms = s->now_ms;
    if (n->table == NULL)
        abort();
    if (n->known) {
        limits_remember(n->table, n->safe, n->nodes);
    }
}

static void node_down(struct sim *s, uint32_t node, bool in_order)
{
    struct sim_node *n = &s->nodes[node];
    for (uint32_t i = 0; i < RUNNING; i++)
        n->running[i].hold.admitted = false;
    n->safe = limits_safe(n->table);
    n->nodes = limits_nodes(n->table);
    n->known = true;
    if (verbose)
        printf("%llu: node %u down, in order %d\n", (unsigned long long)s->now_ms, node, in_order);
    if (in_order && s->plane != NULL && n->cut_until_ms <= s->now_ms) {
        send_up(s, node, true); /* Heard or not, nothing is left behind. */
        n->safe = n->nodes = 0;
    }
    limits_destroy(n->table);
    n->table = NULL;
    n->back_ms = s->now_ms + 100 + rand_below(40000);
}

static void end_running(struct sim *s, struct sim_node *n)
{
    for (uint32_t i = 0; i < RUNNING; i++)
        if (n->running[i].hold.admitted && n->running[i].until_ms <= s->now_ms)
            limits_settle(&n->running[i].hold, 5 + rand_below(10), local_ns(s, n));
}

static void request(struct sim *s, uint32_t node, uint32_t account, uint64_t lasts_ms)
{
    struct sim_node *n = &s->nodes[node];
    struct limits_refusal why;
    uint32_t slot = 0;
    while (slot < RUNNING && n->running[slot].hold.admitted)
        slot++;
    if (slot == RUNNING)
        return;
    struct running *r = &n->running[slot];
    r->hold = (struct limits_hold){.count = 0};
    if (limits_find(n->table, account + 1, &limits[account], 1, local_ns(s, n), &r->hold) != 0)
        abort();
    if (!limits_admit(&r->hold, 10, local_ns(s, n), &why))
        return;
    r->until_ms = s->now_ms + lasts_ms;
    s->through[account]++;
    s->owed[account] += 1;
}

static void traffic(struct sim *s, uint32_t percent_of_limit)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < NODES; i++)
        sum += s->nodes[i].table != NULL ? s->weight[i] : 0;
    for (uint32_t a = 0; a < ACCOUNTS && sum > 0; a++) {
        uint64_t mean_q = limits[a].requests_per_min * percent_of_limit * STEP_MS / 6000;
        uint64_t count = mean_q / 1000 + (rand_below(1000) < mean_q % 1000);
        for (uint64_t i = 0; i < count; i++) {
            uint32_t pick = (uint32_t)rand_below(sum), node = 0;
            for (;; node++) {
                if (s->nodes[node].table == NULL)
                    continue;
                if (pick < s->weight[node])
                    break;
                pick -= s->weight[node];
            }
            request(s, node, a, s->storm ? rand_below(3000) : 10);
        }
    }
}

/* ---- what must hold ---- */

static const struct limits_slot *slot_of(const struct limits_table *t, uint64_t account)
{
    for (uint32_t i = 0; i < t->used; i++)
        if (t->slots[i].account == account)
            return &t->slots[i];
    return NULL;
}

static void tell(const struct sim *s, uint64_t account, int kind)
{
    for (uint32_t i = 0; i < NODES; i++) {
        const struct limits_table *t = s->nodes[i].table;
        const struct limits_slot *slot = t != NULL ? slot_of(t, account) : NULL;
        if (t == NULL)
            continue;
        printf("node %u life %llu: safe %.3f nodes %u term %llu applied %llu", i,
               (unsigned long long)s->nodes[i].life, (double)t->safe / BUCKET_SHARE_ONE, t->nodes,
               (unsigned long long)t->term, (unsigned long long)t->applied);
        if (slot != NULL)
            printf(" share %.3f given %.3f shared %d ends in %.1f s, held for %.1f s",
                   (double)slot->share[kind] / BUCKET_SHARE_ONE,
                   (double)slot->given[kind] / BUCKET_SHARE_ONE, slot->shared,
                   ((double)slot->ends_ns - (double)local_ns(s, &s->nodes[i])) / 1e9,
                   ((double)slot->hold_ns - (double)local_ns(s, &s->nodes[i])) / 1e9);
        printf("\n");
    }
}

static void check(struct sim *s)
{
    for (uint32_t a = 0; a < ACCOUNTS; a++) {
        uint64_t sum[LIMITS_KINDS] = {0};
        uint64_t running = 0, alive = 0;
        for (uint32_t i = 0; i < NODES; i++) {
            const struct limits_table *t = s->nodes[i].table;
            if (t == NULL)
                continue;
            const struct limits_slot *slot = slot_of(t, a + 1);
            for (int k = 0; k < LIMITS_KINDS; k++)
                sum[k] += slot != NULL ? slot->share[k] : t->safe;
            running += slot != NULL ? slot->running : 0;
            alive++;
        }
        for (int k = 0; k < LIMITS_KINDS; k++) {
            if (sum[k] > BUCKET_SHARE_ONE && verbose)
                tell(s, a + 1, k);
            if (sum[k] > BUCKET_SHARE_ONE)
                fail(s,
                     k == 0   ? "shares of requests"
                     : k == 1 ? "shares of tokens"
                              : "shares at once",
                     a, (double)sum[k] / BUCKET_SHARE_ONE, 1);
        }
        double limit = (double)limits[a].requests_per_min;
        s->owed[a] -= limit * STEP_MS / 60000;
        if (s->owed[a] < 0)
            s->owed[a] = 0;
        /* One of each life always fits. Clocks are fast by 0.4 % at most. */
        double most = limit * 1.02 + (double)s->next_life;
        if (s->owed[a] > most)
            fail(s, "requests in some window beyond the rate", a, s->owed[a], most);
        if (limits[a].concurrency != 0 && running > limits[a].concurrency + alive)
            fail(s, "requests at once", a, (double)running,
                 (double)(limits[a].concurrency + alive));
    }
}

/* ---- a run ---- */

static void stir(struct sim *s)
{
    if (rand_below(4000) == 0 && s->plane != NULL) {
        rates_destroy(s->plane);
        s->plane = NULL;
        s->plane_back_ms = s->now_ms + 100 + rand_below(60000);
        if (verbose)
            printf("%llu: plane away\n", (unsigned long long)s->now_ms);
    }
    if (rand_below(300) == 0)
        for (uint32_t i = 0; i < NODES; i++)
            s->weight[i] = rand_below(2) == 0 ? 0 : 1U << rand_below(8);
    uint32_t i = (uint32_t)rand_below(NODES);
    struct sim_node *n = &s->nodes[i];
    if (rand_below(800) == 0)
        n->cut_until_ms = s->now_ms + rand_below(60000);
    if (n->table != NULL && s->seed % 2 == 0 && rand_below(1500) == 0)
        node_down(s, i, rand_below(2) == 0);
    if (n->table == NULL && !n->known && rand_below(400) == 0)
        node_up(s, i);
}

static void step(struct sim *s, uint32_t percent_of_limit)
{
    s->now_ms += STEP_MS;
    if (s->storm)
        stir(s);
    if (s->plane == NULL && s->now_ms >= s->plane_back_ms) {
        s->term++;
        for (uint32_t i = 0; i < MESSAGES; i++) /* Streams end with a plane. */
            s->messages[i].used = false;
        if (verbose)
            printf("%llu: plane %llu\n", (unsigned long long)s->now_ms,
                   (unsigned long long)s->term);
        s->plane = rates_create(s->term, s->term == 1, s->now_ms);
        if (s->plane == NULL)
            abort();
    }
    deliver(s);
    for (uint32_t i = 0; i < NODES; i++) {
        struct sim_node *n = &s->nodes[i];
        if (n->table == NULL && n->known && s->now_ms >= n->back_ms)
            node_up(s, i);
        if (n->table == NULL)
            continue;
        end_running(s, n);
        if (s->now_ms >= n->report_ms) {
            send_up(s, i, false);
            n->report_ms = s->now_ms + (limits_busy(n->table) ? 500 : 2000);
        }
        limits_tick(n->table, local_ns(s, n));
    }
    traffic(s, percent_of_limit);
    check(s);
}

static void run(uint64_t seed)
{
    struct sim *s = mem_zalloc(sizeof *s);
    if (s == NULL)
        abort();
    rand_seed_thread(seed);
    s->seed = seed;
    s->now_ms = 1000;
    s->storm = true;
    s->loss = (uint32_t)rand_below(40);
    s->delay_ms = 2 + (uint32_t)rand_below(seed % 3 == 0 ? 12000 : 300);
    for (uint32_t i = 0; i < NODES; i++)
        s->weight[i] = 1;
    for (uint32_t i = 0; i < 2 + seed % 4; i++)
        node_up(s, i);
    uint32_t percent = 30 + (uint32_t)rand_below(400);
    for (uint64_t end = s->now_ms + STORM_MS; s->now_ms < end;)
        step(s, percent);
    s->storm = false;
    for (uint32_t i = 0; i < NODES; i++) {
        s->nodes[i].cut_until_ms = 0;
        s->nodes[i].back_ms = s->now_ms;
        s->weight[i] = 0;
    }
    uint32_t hot = (uint32_t)rand_below(2);
    s->weight[hot] = 1;
    s->plane_back_ms = s->plane == NULL ? s->now_ms : 0;
    for (uint64_t end = s->now_ms + SETTLE_MS; s->now_ms < end;)
        step(s, 200);
    uint64_t before[ACCOUNTS];
    memcpy(before, s->through, sizeof before);
    for (uint64_t end = s->now_ms + SKEW_MS; s->now_ms < end;)
        step(s, 200);
    for (uint32_t a = 0; a < ACCOUNTS; a++) {
        double usable = (double)(s->through[a] - before[a]) * 60000 / SKEW_MS /
                        (double)limits[a].requests_per_min;
        if (verbose)
            printf("seed %llu account %u: %.3f of the limit on one node\n",
                   (unsigned long long)seed, a, usable);
        /* Not while something is held back for nodes that forgot that they were there. */
        bool whole = rates_unmet(s->plane, s->now_ms) == 0;
        if ((usable < 0.9 && whole) || usable > 1.02)
            fail(s, "usable part of the limit (at least 0.9)", a, usable, 1.02);
    }
    for (uint32_t i = 0; i < NODES; i++)
        limits_destroy(s->nodes[i].table);
    rates_destroy(s->plane);
    mem_free(s);
}

int main(int argc, char **argv)
{
    uint64_t runs = 100, seed = 1;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--verbose") == 0)
            verbose = true;
        else if (strcmp(argv[i], "--runs") == 0 && i + 1 < argc)
            runs = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10);
        else
            return 2;
    }
    for (uint64_t i = 0; i < runs; i++)
        run(seed + i);
    printf("%llu runs from seed %llu: no limit was exceeded\n", (unsigned long long)runs,
           (unsigned long long)seed);
    return 0;
}
