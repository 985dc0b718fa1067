/* sim_lease [--runs N] [--seed S] [--verbose]: the allocation protocol on a virtual clock. The real
 * node core (files and all), the real rules of granting, and between them a network that loses,
 * repeats, reorders and delays; nodes that die with and without their file, stand still, are cut
 * off; a database that fails over and forgets; limits that change; periods that end. What providers
 * charged is kept beside all of it, and after every step each budget is held to its bound
 * (docs/decisions/0130). A broken bound prints the seed; --runs 1 --seed S plays it again.
 *
 * The order of workers' calls is the scheduler's; their instructions are interleaved for real in
 * tests/unit/dataplane/budget/test_allocation.c. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/base/str.h"
#include "sim_plane.h"

#define NODES_MAX    8U
#define REQUESTS     24U
#define MESSAGES     512U
#define STEPS        500U
#define MONO_BASE_MS 1000000U
#define WALL_BASE_US (INT64_C(20000) * 86400000000)

struct request {
    bool open;
    struct budget_reservation r;
    int64_t cost;
    int64_t done_us;
    uint32_t count;
    uint32_t budget[SIM_BUDGETS], period[SIM_BUDGETS];
};
struct sim_node {
    char dir[64];
    struct budget_table *table; /* NULL: dead. */
    uint8_t boot;
    int64_t skew_us; /* Of its wall clock. */
    int64_t up_again_us, cut_until_us, still_until_us, connect_us;
    bool connected;
    uint32_t stream;
    uint32_t echo_era; /* The plane's memory of this stream. */
    struct request requests[REQUESTS];
    char image[262144]; /* Of its file, some time ago: what a host that dies may fall back to. */
    size_t image_len;
    char image_path[128];
};
struct message {
    bool used, up;
    uint32_t node, stream;
    int64_t due_us;
    struct budget_report *report;
    struct sim_down down;
};
struct sim {
    uint64_t seed;
    int64_t now_us;
    uint32_t node_count;
    struct sim_node nodes[NODES_MAX];
    struct message messages[MESSAGES];
    struct sim_plane plane;
    struct budget_report scratch;
    /* The world's own books. */
    int64_t spent[SIM_BUDGETS][SIM_PERIODS];
    int64_t excess[SIM_BUDGETS][SIM_PERIODS];
    int64_t cap[SIM_BUDGETS][SIM_PERIODS];
    int64_t credited; /* Of processes that ended. */
    uint64_t requests, refused, grants_seen;
    /* What may happen in this run. */
    uint32_t loss, twice; /* Of 1000. */
    bool crashes, no_file, hosts, pauses, limits, failovers, over;
    bool quiet;
};

static uint64_t draw(uint64_t bound)
{
    return rand_below(bound);
}
static bool chance(uint32_t of_1000)
{
    return draw(1000) < of_1000;
}

static void broken(const struct sim *s, const char *what)
{
    fprintf(stderr, "sim_lease: %s\nplay it again: sim_lease --runs 1 --seed %llu\n", what,
            (unsigned long long)s->seed);
    exit(1);
}

static uint64_t mono_ms(const struct sim *s)
{
    return MONO_BASE_MS + (uint64_t)(s->now_us - WALL_BASE_US) / 1000;
}
static int64_t wall_us(const struct sim *s, const struct sim_node *n)
{
    return s->now_us + n->skew_us;
}

/* ---- nodes live and die ---- */

static void remove_files(const char *dir, bool with_dir)
{
    DIR *d = opendir(dir);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        char path[512];
        (void)snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (e->d_name[0] != '.')
            (void)unlink(path);
    }
    if (d != NULL)
        (void)closedir(d);
    if (with_dir)
        (void)rmdir(dir);
}

static void node_start(struct sim *s, uint32_t i)
{
    struct sim_node *n = &s->nodes[i];
    struct budget_table_options o = {.dir = n->dir, .slots_max = 64};
    struct err err = {0};
    o.node_id.bytes[0] = (uint8_t)(i + 1);
    o.boot_id.bytes[0] = n->boot;
    if (budget_table_create(&o, &n->table, NULL, &err) != 0)
        broken(s, err.message);
    n->connected = false;
    n->connect_us = s->now_us + (int64_t)draw(1000000);
    n->image_len = 0;
}

static void pay(struct sim *s, struct request *q)
{
    for (uint32_t i = 0; i < q->count; i++) {
        s->spent[q->budget[i]][q->period[i]] += q->cost;
        if (q->cost > q->r.amount)
            s->excess[q->budget[i]][q->period[i]] += q->cost - q->r.amount;
    }
    q->open = false;
}

static void take_image(struct sim_node *n)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%016llx.alloc", n->dir,
                   (unsigned long long)budget_table_epoch(n->table));
    memcpy(n->image_path, path, sizeof path);
    int fd = open(n->image_path, O_RDONLY);
    ssize_t len = fd < 0 ? 0 : read(fd, n->image, sizeof n->image);
    n->image_len = len > 0 ? (size_t)len : 0;
    if (fd >= 0)
        (void)close(fd);
}

static void node_die(struct sim *s, uint32_t i)
{
    struct sim_node *n = &s->nodes[i];
    struct budget_table_stats stats;
    budget_table_get_stats(n->table, &stats);
    s->credited += stats.credited;
    /* Providers go on and charge what was sent to them. */
    for (uint32_t q = 0; q < REQUESTS; q++)
        if (n->requests[q].open)
            pay(s, &n->requests[q]);
    budget_table_destroy(n->table);
    n->table = NULL;
    if (s->hosts && chance(300)) {
        n->boot++;
        if (n->image_len > 0 && chance(500)) {
            int fd = open(n->image_path, O_WRONLY);
            if (fd >= 0 && write(fd, n->image, n->image_len) < 0)
                broken(s, "cannot write an image");
            if (fd >= 0)
                (void)close(fd);
        }
    } else if (s->no_file && chance(300)) {
        remove_files(n->dir, false);
    }
    n->up_again_us = s->now_us + (int64_t)draw(s->failovers ? 10000000 : 60000000);
}

/* ---- the network ---- */

static struct message *message_new(struct sim *s, uint32_t node, bool up)
{
    for (uint32_t i = 0; i < MESSAGES; i++) {
        struct message *m = &s->messages[i];
        if (m->used)
            continue;
        m->used = true;
        m->up = up;
        m->node = node;
        m->stream = s->nodes[node].stream;
        m->due_us = s->now_us + 200 + (int64_t)draw(!s->quiet && chance(100) ? 3000000 : 20000);
        return m;
    }
    return NULL; /* Lost. */
}

static bool lost(const struct sim *s, uint32_t node)
{
    return !s->quiet && (s->now_us < s->nodes[node].cut_until_us || chance(s->loss));
}

static void send_up(struct sim *s, uint32_t node, const struct budget_report *r)
{
    for (int copy = 0; copy < 2; copy++) {
        if (copy == 1 && (s->quiet || !chance(s->twice)))
            break;
        if (lost(s, node))
            continue;
        struct message *m = message_new(s, node, true);
        if (m == NULL)
            return;
        m->report = mem_alloc(sizeof *m->report);
        if (m->report == NULL)
            broken(s, "out of memory");
        memcpy(m->report, r, sizeof *r);
    }
}

static void send_down(struct sim *s, uint32_t node, uint32_t stream, const struct sim_down *d)
{
    for (int copy = 0; copy < 2; copy++) {
        if (copy == 1 && (s->quiet || !chance(s->twice)))
            break;
        if (lost(s, node))
            continue;
        struct message *m = message_new(s, node, false);
        if (m == NULL)
            return;
        m->stream = stream;
        m->down = *d;
    }
}

static void arrive_down(struct sim *s, const struct message *m)
{
    struct sim_node *n = &s->nodes[m->node];
    if (n->table == NULL || !n->connected || n->stream != m->stream)
        return;
    if (!budget_table_answered(n->table, &m->down.answer, mono_ms(s), wall_us(s, n)))
        return;
    for (uint32_t i = 0; i < m->down.count; i++)
        if (budget_table_apply(n->table, &m->down.alloc[i], mono_ms(s), wall_us(s, n)) != 0)
            broken(s, "no slot for a grant");
}

static void deliver(struct sim *s)
{
    for (uint32_t i = 0; i < MESSAGES; i++) {
        struct message *m = &s->messages[i];
        struct sim_node *n = &s->nodes[m->node];
        if (!m->used || m->due_us > s->now_us || (!m->up && s->now_us < n->still_until_us))
            continue;
        if (m->up) {
            struct sim_down down;
            /* A message of an older stream is handled like any other; it has no echo to add to. */
            uint32_t none = UINT32_MAX;
            bool current = m->stream == n->stream;
            sim_plane_report(&s->plane, m->node, m->report, current ? &n->echo_era : &none,
                             s->now_us, &down);
            sim_plane_check(&s->plane);
            if (s->plane.fault != NULL)
                broken(s, s->plane.fault);
            send_down(s, m->node, m->stream, &down);
            mem_free(m->report);
            m->report = NULL;
        } else {
            arrive_down(s, m);
        }
        m->used = false;
    }
}

static void node_turn(struct sim *s, uint32_t i)
{
    struct sim_node *n = &s->nodes[i];
    if (n->table == NULL) {
        if (s->now_us >= n->up_again_us)
            node_start(s, i);
        return;
    }
    if (s->now_us < n->still_until_us)
        return;
    budget_table_tick(n->table, mono_ms(s), wall_us(s, n));
    if (n->connected && budget_table_overdue(n->table, mono_ms(s))) {
        budget_table_lost(n->table);
        n->connected = false;
        n->connect_us = s->now_us + (int64_t)draw(1000000);
    }
    if (!n->connected && s->now_us >= n->connect_us) {
        n->connected = true;
        n->stream++;
        n->echo_era = 0;
        budget_table_opened(n->table);
    }
    struct sim_down down;
    if (s->plane.pushed[i] && sim_plane_push(&s->plane, i, budget_table_epoch(n->table), &down))
        send_down(s, i, n->stream, &down);
    if (budget_table_report(n->table, mono_ms(s), wall_us(s, n), &s->scratch))
        send_up(s, i, &s->scratch);
}

/* ---- requests ---- */

static int64_t smallest_limit(const struct sim *s)
{
    int64_t least = s->plane.budget[0].limit;
    for (uint32_t b = 1; b < s->plane.budget_count; b++)
        least = s->plane.budget[b].limit < least ? s->plane.budget[b].limit : least;
    return least;
}

/* Reserves `m` on these budgets. NULL: refused. */
static struct request *request_start(struct sim *s, uint32_t node, unsigned mask, int64_t m)
{
    struct sim_node *n = &s->nodes[node];
    struct request *q = NULL;
    for (uint32_t i = 0; i < REQUESTS && q == NULL; i++)
        q = n->requests[i].open ? NULL : &n->requests[i];
    if (q == NULL)
        return NULL;
    *q = (struct request){0};
    int rc = 0;
    for (uint32_t b = 0; b < s->plane.budget_count; b++) {
        if ((mask >> b & 1) == 0)
            continue;
        q->budget[q->count] = b;
        if (budget_find(n->table, b + 1U, wall_us(s, n), &q->r.ref[q->count]) != 0)
            rc = budget_ask(n->table, b + 1U, m) == 0 ? ERR_AGAIN : ERR_NOT_FOUND;
        else
            q->period[q->count] =
                sim_plane_period(&s->plane, budget_ref_charge(&q->r.ref[q->count]).period_start_us);
        q->count++;
    }
    s->requests++;
    q->r.count = q->count;
    if (rc == 0)
        rc = budget_reserve(n->table, &q->r, m, mono_ms(s), NULL);
    if (rc == ERR_LIMIT)
        for (uint32_t i = 0; i < q->count; i++)
            (void)!budget_ask(n->table, q->budget[i] + 1U, m);
    s->refused += rc != 0;
    q->open = rc == 0;
    return q->open ? q : NULL;
}

static void request_random(struct sim *s)
{
    uint32_t i = (uint32_t)draw(s->node_count);
    struct sim_node *n = &s->nodes[i];
    if (n->table == NULL || s->now_us < n->still_until_us)
        return;
    int64_t m = (int64_t)draw((uint64_t)smallest_limit(s) / (chance(100) ? 4 : 50)) + 1;
    unsigned mask = (unsigned)draw((UINT64_C(1) << s->plane.budget_count) - 1) + 1;
    struct request *q = request_start(s, i, mask, m);
    if (q == NULL)
        return;
    q->cost = (int64_t)draw((uint64_t)m + 1);
    if (chance(500))
        q->cost = m;
    if (s->over && chance(200))
        q->cost = m + (int64_t)draw((uint64_t)m);
    q->done_us = s->now_us + (int64_t)draw(chance(20) ? 600000000 : 5000000);
}

static void requests_turn(struct sim *s, uint32_t i)
{
    struct sim_node *n = &s->nodes[i];
    if (n->table == NULL || s->now_us < n->still_until_us)
        return;
    for (uint32_t j = 0; j < REQUESTS; j++) {
        struct request *q = &n->requests[j];
        if (!q->open)
            continue;
        if (chance(50) && q->cost <= q->r.amount) { /* A retry, before it is sent. */
            int64_t more = (int64_t)draw((uint64_t)q->r.amount + 1);
            if (budget_extend(n->table, &q->r, more, mono_ms(s), NULL) == 0)
                q->cost += more;
        }
        if (q->done_us > s->now_us)
            continue;
        int64_t cost = q->cost;
        pay(s, q);
        budget_settle(&q->r, cost);
    }
}

/* ---- what goes wrong ---- */

static void trouble(struct sim *s)
{
    uint32_t i = (uint32_t)draw(s->node_count);
    struct sim_node *n = &s->nodes[i];
    if (n->table != NULL && chance(30))
        take_image(n);
    if (s->crashes && n->table != NULL && s->now_us >= n->still_until_us && chance(8))
        node_die(s, i);
    if (chance(5))
        n->cut_until_us =
            s->now_us + (int64_t)draw(s->pauses && chance(300) ? 2400000000 : 20000000);
    if (s->pauses && chance(3))
        n->still_until_us = s->now_us + (int64_t)draw(2400000000);
    if (s->failovers && chance(6)) {
        sim_plane_failover(&s->plane, s->now_us, draw(SIM_SAVES));
        for (uint32_t k = 0; k < s->node_count; k++)
            s->nodes[k].echo_era = 0; /* The plane's connections to the database broke. */
    }
    if (chance(200))
        sim_plane_save(&s->plane, s->now_us);
    if (s->limits && chance(6)) {
        uint32_t b = (uint32_t)draw(s->plane.budget_count);
        int64_t limit = 100000 + (int64_t)draw(2000000);
        s->plane.budget[b].limit = limit;
        for (uint32_t p = 0; p < SIM_PERIODS; p++) {
            int64_t committed = s->plane.db.period[b][p].p.committed;
            s->cap[b][p] = committed > limit ? committed : limit;
        }
    }
}

/* The bound of section 3.3. */
static void check_bound(const struct sim *s)
{
    int64_t credited = s->credited;
    for (uint32_t i = 0; i < s->node_count; i++)
        if (s->nodes[i].table != NULL) {
            struct budget_table_stats stats;
            budget_table_get_stats(s->nodes[i].table, &stats);
            credited += stats.credited;
        }
    for (uint32_t b = 0; b < s->plane.budget_count; b++)
        for (uint32_t p = 0; p < SIM_PERIODS; p++) {
            int64_t bound = s->cap[b][p] + s->excess[b][p];
            if (!s->plane.budget[b].strict)
                bound += s->plane.released[b][p];
            if (s->plane.budget[b].offline > 0)
                bound += credited;
            if (s->spent[b][p] > bound) {
                fprintf(stderr, "budget %u period %u: spent %lld of %lld\n", b, p,
                        (long long)s->spent[b][p], (long long)bound);
                broken(s, "more was spent than the bound");
            }
        }
}

/* Everybody has a turn at each of these moments. */
static void pass(struct sim *s, int64_t us)
{
    int64_t end_us = s->now_us + us;
    while (s->now_us < end_us) {
        int64_t left = end_us - s->now_us;
        int64_t most = left > 20000000 ? 2000000 : left > 500000 ? 100000 : 5000;
        s->now_us += left < most ? left : most;
        deliver(s);
        for (uint32_t i = 0; i < s->node_count; i++) {
            requests_turn(s, i);
            node_turn(s, i);
        }
        sim_plane_sweep(&s->plane, s->now_us);
        check_bound(s);
    }
}

/* ---- the end: what is left can be spent, and the books agree ---- */

static int64_t unreachable(const struct sim *s, uint32_t b, uint32_t p)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < s->plane.db.row_count; i++) {
        const struct sim_row *r = &s->plane.db.rows[i];
        const struct sim_life *l = &s->plane.db.lives[r->life];
        bool alive = s->nodes[l->node].table != NULL &&
                     budget_table_epoch(s->nodes[l->node].table) == l->epoch && !l->lost;
        if (r->budget == b && r->period == p && !alive)
            sum += r->row.g - r->row.s - r->row.r;
    }
    return sum;
}

static void spend_all(struct sim *s, uint32_t b, uint32_t p)
{
    int64_t m = s->plane.budget[b].limit / 200;
    for (unsigned refused = 0; refused < 60;) {
        uint32_t i = (uint32_t)draw(s->node_count);
        struct request *q = request_start(s, i, 1U << b, m);
        if (q != NULL) {
            q->cost = m;
            q->done_us = s->now_us;
        }
        refused = q != NULL ? 0 : refused + 1;
        pass(s, q != NULL ? 5000 : 100000);
    }
    int64_t could = s->plane.budget[b].limit - unreachable(s, b, p);
    if (s->spent[b][p] < could - s->plane.budget[b].limit / 20) {
        fprintf(stderr, "budget %u: spent %lld of %lld\n", b, (long long)s->spent[b][p],
                (long long)could);
        broken(s, "less than 95 %% can be spent");
    }
}

static void finish(struct sim *s)
{
    s->quiet = true;
    s->over = false;
    for (uint32_t i = 0; i < s->node_count; i++) {
        s->nodes[i].cut_until_us = s->nodes[i].still_until_us = 0;
        s->nodes[i].up_again_us = 0;
    }
    /* The longest request ends, and lives whose end a failover forgot are lost by time: until then
     * strict budgets wait for their echo. */
    pass(s, (int64_t)(s->plane.fence_after_s + GRANT_STREAM_MAX_S + 10) * 1000000);
    uint32_t p = sim_plane_period(&s->plane, s->now_us) + 1;
    pass(s, s->plane.epoch_us + (int64_t)p * SIM_PERIOD_US + 6000000 - s->now_us);
    for (uint32_t b = 0; b < s->plane.budget_count; b++)
        spend_all(s, b, p);
    pass(s, 3000000);
    for (uint32_t b = 0; b < s->plane.budget_count; b++)
        if (s->plane.db.period[b][p].p.settled != s->spent[b][p])
            broken(s, "after quiet the counters are not what was spent");
}

static void run(struct sim *s, uint64_t seed)
{
    memset(s, 0, sizeof *s);
    rand_seed_thread(seed);
    s->seed = seed;
    s->now_us = WALL_BASE_US + (int64_t)draw(SIM_PERIOD_US);
    s->node_count = 2 + (uint32_t)draw(NODES_MAX - 1);
    s->loss = chance(500) ? 0 : (uint32_t)draw(200);
    s->twice = chance(500) ? 0 : (uint32_t)draw(300);
    s->crashes = chance(600);
    s->failovers = chance(300);
    s->no_file = !s->failovers && chance(400);
    s->hosts = chance(400);
    s->pauses = !s->failovers && chance(300);
    s->limits = !s->failovers && chance(300);
    s->over = chance(200);
    s->plane.budget_count = 1 + (uint32_t)draw(SIM_BUDGETS);
    s->plane.epoch_us = WALL_BASE_US;
    s->plane.era = 1;
    s->plane.fence_after_s = 600;
    s->plane.loss_window_us = s->failovers ? 3000000 : 0;
    for (uint32_t b = 0; b < s->plane.budget_count; b++) {
        struct sim_budget *budget = &s->plane.budget[b];
        budget->limit = 200000 + (int64_t)draw(2000000);
        budget->strict = s->failovers || chance(600);
        budget->offline = !s->failovers && chance(150) ? budget->limit / 100 : 0;
        for (uint32_t p = 0; p < SIM_PERIODS; p++)
            s->cap[b][p] = budget->limit;
    }
    for (uint32_t i = 0; i < s->node_count; i++) {
        struct sim_node *n = &s->nodes[i];
        (void)snprintf(n->dir, sizeof n->dir, "%s/steelyard-sim-%ld-%u",
                       access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", (long)getpid(), i);
        n->boot = 1;
        n->skew_us =
            chance(200) ? (int64_t)draw(200000000) - 100000000 : (int64_t)draw(4000000) - 2000000;
        node_start(s, i);
    }
    for (uint32_t step = 0; step < STEPS; step++) {
        if (sim_plane_period(&s->plane, s->now_us) + 3 >= SIM_PERIODS)
            break;
        for (uint64_t burst = draw(6); burst > 0; burst--)
            request_random(s);
        trouble(s);
        pass(s, chance(15)    ? (int64_t)draw(600000000)
                : chance(200) ? (int64_t)draw(3000000)
                              : (int64_t)draw(60000));
    }
    finish(s);
    for (uint32_t i = 0; i < s->node_count; i++) {
        budget_table_destroy(s->nodes[i].table);
        remove_files(s->nodes[i].dir, true);
    }
    for (uint32_t i = 0; i < MESSAGES; i++)
        if (s->messages[i].used && s->messages[i].up)
            mem_free(s->messages[i].report);
}

static bool number(const char *text, uint64_t *out)
{
    return text != NULL && str_parse_u64(str_from(text), UINT64_MAX, out) == 0;
}

int main(int argc, char **argv)
{
    uint64_t runs = 200, seed = 1;
    bool verbose = false;
    for (int i = 1; i < argc; i++) {
        struct str a = str_from(argv[i]);
        if (str_is(a, "--runs") && number(argv[i + 1], &runs))
            i++;
        else if (str_is(a, "--seed") && number(argv[i + 1], &seed))
            i++;
        else if (str_is(a, "--verbose"))
            verbose = true;
        else {
            fprintf(stderr, "sim_lease [--runs N] [--seed S] [--verbose]\n");
            return 2;
        }
    }
    struct sim *s = mem_alloc(sizeof *s);
    uint64_t requests = 0, refused = 0;
    if (s == NULL)
        return 1;
    for (uint64_t i = 0; i < runs; i++) {
        run(s, seed + i);
        requests += s->requests;
        refused += s->refused;
        if (verbose)
            printf("seed %llu: %u nodes, %llu requests, %llu refused\n",
                   (unsigned long long)s->seed, s->node_count, (unsigned long long)s->requests,
                   (unsigned long long)s->refused);
    }
    printf("sim_lease: %llu runs from seed %llu, %llu requests (%llu refused): all within the "
           "bounds\n",
           (unsigned long long)runs, (unsigned long long)seed, (unsigned long long)requests,
           (unsigned long long)refused);
    mem_free(s);
    return 0;
}
