/* sim_election [--runs N] [--seed S] [--verbose]: elections on a virtual clock. The real machines
 * of several replicas, an etcd that keeps leases and revisions, and between them a network that
 * loses, delays and reorders; replicas that are stopped for a while and go on as if nothing had
 * happened, that are cut off, that begin anew; clocks that do not go alike; an etcd that is away.
 * After every step:
 *   - of each role at most one replica that runs says that it leads;
 *   - a role's revision only rises from holder to holder;
 * and at the end, when all is quiet, each role is led by somebody, and no replica leads two more
 * than another; from then on nothing moves any more. A broken bound prints the seed; --runs 1
 * --seed S plays it again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rand.h"
#include "controlplane/leader/election.h"

#define REPLICAS  3U
#define LEASES    4096U
#define KEYS      64U
#define MESSAGES  256U
#define TTL_MS    10000U
#define STORM_MS  300000U
#define SETTLE_MS 45000U
#define EVEN_MS   180000U /* From one that leads all to even: a few times rebalance_ms. */

struct message {
    bool used, up;
    bool dropped; /* Its asker has given up. */
    unsigned replica;
    uint64_t life, due_ms;
    struct election_op op;
    struct election_answer answer;
    struct election_key keys[KEYS];
};
struct replica {
    struct election machine;
    uint64_t life, stopped_until_ms, cut_until_ms;
    int32_t drift_ppm;
    int64_t led[LEADER_ROLES];
};
struct sim {
    uint64_t seed, now_ms, away_until_ms;
    int64_t revision, next_lease;
    uint64_t lease_ends_ms[LEASES]; /* 0: none. */
    struct election_key keys[KEYS]; /* By create_revision. */
    uint32_t key_count;
    int64_t highest[LEADER_ROLES];
    uint64_t changes;
    struct replica replicas[REPLICAS];
    struct message messages[MESSAGES];
    bool storm, verbose;
};

static uint64_t local_ms(const struct sim *s, const struct replica *r)
{
    int64_t now = (int64_t)s->now_ms;
    return 1000000 + (uint64_t)(now + now * r->drift_ppm / 1000000);
}

/* --- etcd ---------------------------------------------------------------------------------------
 */

static void drop_key(struct sim *s, uint32_t at)
{
    memmove(&s->keys[at], &s->keys[at + 1], (s->key_count - at - 1) * sizeof s->keys[0]);
    s->key_count--;
    s->revision++;
}

static void expire(struct sim *s)
{
    for (int64_t id = 1; id < s->next_lease; id++) {
        if (s->lease_ends_ms[id] == 0 || s->lease_ends_ms[id] > s->now_ms)
            continue;
        s->lease_ends_ms[id] = 0;
        for (uint32_t k = s->key_count; k-- > 0;)
            if (s->keys[k].lease == id)
                drop_key(s, k);
    }
}

static bool lease_lives(const struct sim *s, int64_t lease)
{
    return lease > 0 && lease < s->next_lease && s->lease_ends_ms[lease] != 0;
}

static void put_key(struct sim *s, const struct election_op *op)
{
    for (uint32_t k = 0; k < s->key_count; k++)
        if (s->keys[k].lease == op->lease && s->keys[k].role == op->role)
            return;
    if (s->key_count == KEYS)
        abort();
    s->keys[s->key_count++] = (struct election_key){op->role, op->lease, ++s->revision};
}

static void leave_key(struct sim *s, const struct election_op *op)
{
    for (uint32_t k = 0; k < s->key_count; k++) {
        if (s->keys[k].lease == op->lease && s->keys[k].role == op->role &&
            s->keys[k].create_revision == op->revision) {
            drop_key(s, k);
            return;
        }
    }
}

static void serve(struct sim *s, struct message *m)
{
    struct election_answer *a = &m->answer;
    *a = (struct election_answer){0};
    switch (m->op.ask) {
    case ELECTION_GRANT:
        if (s->next_lease >= LEASES)
            abort();
        s->lease_ends_ms[s->next_lease] = s->now_ms + TTL_MS;
        a->lease = s->next_lease++;
        break;
    case ELECTION_KEEPALIVE:
        if (lease_lives(s, m->op.lease)) {
            s->lease_ends_ms[m->op.lease] = s->now_ms + TTL_MS;
            a->ttl_s = TTL_MS / 1000;
        }
        break;
    case ELECTION_ENTER:
        if (lease_lives(s, m->op.lease))
            put_key(s, &m->op);
        else
            a->status = ERR_NOT_FOUND;
        break;
    case ELECTION_LIST:
        memcpy(m->keys, s->keys, sizeof m->keys);
        a->keys = m->keys;
        a->key_count = s->key_count;
        break;
    case ELECTION_LEAVE:
        leave_key(s, &m->op);
        break;
    }
}

/* --- network ------------------------------------------------------------------------------------
 */

static uint64_t delay(const struct sim *s)
{
    uint64_t some = 1 + rand_below(30);
    if (s->storm && rand_below(8) == 0)
        some += rand_below(4000);
    return some;
}

static void ask(struct sim *s, unsigned i, const struct election_op *op)
{
    for (unsigned k = 0; k < MESSAGES; k++) {
        struct message *m = &s->messages[k];
        if (m->used)
            continue;
        *m = (struct message){.used = true,
                              .up = true,
                              .replica = i,
                              .life = s->replicas[i].life,
                              .due_ms = s->now_ms + delay(s),
                              .op = *op};
        return;
    }
    abort();
}

/* An answer that did not come in time counts as none, once. */
static void time_out(struct sim *s, unsigned i)
{
    struct replica *r = &s->replicas[i];
    for (unsigned k = 0; k < MESSAGES; k++) {
        struct message *m = &s->messages[k];
        if (!m->used || m->dropped || m->replica != i || m->life != r->life ||
            local_ms(s, r) < m->op.sent_ms + r->machine.config.answer_ms)
            continue;
        const struct election_answer none = {.status = ERR_TIMEOUT};
        m->dropped = true;
        election_answer(&r->machine, &m->op, &none, local_ms(s, r));
    }
}

static void deliver(struct sim *s, struct message *m)
{
    struct replica *r = &s->replicas[m->replica];
    bool lost = s->now_ms < r->cut_until_ms || s->now_ms < s->away_until_ms ||
                (s->storm && rand_below(10) == 0);
    if (m->up) {
        if (lost) {
            m->due_ms = UINT64_MAX; /* Its asker times out. */
            return;
        }
        serve(s, m);
        m->up = false;
        m->due_ms = s->now_ms + delay(s);
        return;
    }
    if (lost) {
        m->due_ms = UINT64_MAX;
        return;
    }
    if (!m->dropped && m->life == r->life)
        election_answer(&r->machine, &m->op, &m->answer, local_ms(s, r));
    m->used = false;
}

static void move(struct sim *s)
{
    for (unsigned k = 0; k < MESSAGES; k++) {
        struct message *m = &s->messages[k];
        if (!m->used)
            continue;
        const struct replica *r = &s->replicas[m->replica];
        if (m->due_ms == UINT64_MAX) {
            if (m->dropped || m->life != r->life)
                m->used = false;
        } else if (m->due_ms <= s->now_ms && (m->up || s->now_ms >= r->stopped_until_ms)) {
            deliver(s, m);
        }
    }
}

/* --- what must hold ------------------------------------------------------------------------------
 */

static bool check(struct sim *s)
{
    for (unsigned role = 0; role < LEADER_ROLES; role++) {
        unsigned leaders = 0;
        for (unsigned i = 0; i < REPLICAS; i++) {
            struct replica *r = &s->replicas[i];
            if (s->now_ms < r->stopped_until_ms)
                continue; /* It does nothing, so it claims nothing. */
            int64_t now = election_owned(&r->machine, (enum leader_role)role, local_ms(s, r));
            leaders += now != 0;
            if (now != 0 && now != r->led[role]) {
                s->changes++;
                if (now < s->highest[role]) {
                    fprintf(stderr, "seed %llu: role %u, revision %lld after %lld, at %llu ms\n",
                            (unsigned long long)s->seed, role, (long long)now,
                            (long long)s->highest[role], (unsigned long long)s->now_ms);
                    return false;
                }
                s->highest[role] = now;
            }
            r->led[role] = now;
        }
        if (leaders > 1) {
            fprintf(stderr, "seed %llu: role %u has %u leaders at %llu ms\n",
                    (unsigned long long)s->seed, role, leaders, (unsigned long long)s->now_ms);
            return false;
        }
    }
    return true;
}

static bool check_end(struct sim *s)
{
    unsigned led[REPLICAS] = {0}, all = 0;
    for (unsigned i = 0; i < REPLICAS; i++)
        for (unsigned role = 0; role < LEADER_ROLES; role++)
            led[i] += election_owned(&s->replicas[i].machine, (enum leader_role)role,
                                     local_ms(s, &s->replicas[i])) != 0;
    for (unsigned i = 0; i < REPLICAS; i++)
        all += led[i];
    if (all != LEADER_ROLES)
        fprintf(stderr, "seed %llu: %u roles are led at the end\n", (unsigned long long)s->seed,
                all);
    return all == LEADER_ROLES;
}

static bool check_even(const struct sim *s)
{
    for (unsigned i = 0; i < REPLICAS; i++) {
        unsigned led = 0;
        for (unsigned role = 0; role < LEADER_ROLES; role++)
            led += s->replicas[i].led[role] != 0;
        if (led == 0 || led > 2) {
            fprintf(stderr, "seed %llu: a replica leads %u roles in the end\n",
                    (unsigned long long)s->seed, led);
            return false;
        }
    }
    return true;
}

static void begin(struct sim *s, unsigned i)
{
    struct replica *r = &s->replicas[i];
    const struct election_config config = election_config_of(TTL_MS, i);
    r->life++;
    memset(r->led, 0, sizeof r->led);
    election_init(&r->machine, &config, local_ms(s, r));
}

static void trouble(struct sim *s)
{
    unsigned i = (unsigned)rand_below(REPLICAS);
    struct replica *r = &s->replicas[i];
    switch (rand_below(7)) {
    case 0:
    case 1:
        r->stopped_until_ms = s->now_ms + rand_below(25000);
        break;
    case 2:
        r->cut_until_ms = s->now_ms + rand_below(20000);
        break;
    case 3:
        begin(s, i);
        break;
    case 4:
        s->away_until_ms = s->now_ms + rand_below(15000);
        break;
    case 5: /* Refused in Postgres. */
        election_leave(&r->machine, (enum leader_role)rand_below(LEADER_ROLES), 5000,
                       local_ms(s, r));
        break;
    default:
        break;
    }
}

static void share(const struct sim *s, struct replica *r)
{
    for (unsigned i = 0; i < LEADER_ROLES; i++) {
        if (!election_is_surplus(&r->machine, (enum leader_role)i, local_ms(s, r)))
            continue;
        election_leave(&r->machine, (enum leader_role)i, r->machine.config.poll_ms, local_ms(s, r));
        return;
    }
}

static void step(struct sim *s)
{
    struct election_op op;
    s->now_ms++;
    expire(s);
    move(s);
    for (unsigned i = 0; i < REPLICAS; i++) {
        struct replica *r = &s->replicas[i];
        if (s->now_ms < r->stopped_until_ms)
            continue;
        time_out(s, i);
        share(s, r);
        while (election_next(&r->machine, local_ms(s, r), &op))
            ask(s, i, &op);
    }
}

/* At the same start, roles spread. */
static bool run_start(struct sim *s)
{
    for (unsigned i = 0; i < REPLICAS; i++)
        begin(s, i);
    while (s->now_ms < SETTLE_MS) {
        step(s);
        if (!check(s))
            return false;
    }
    for (unsigned i = 0; i < REPLICAS; i++) {
        unsigned led = 0;
        for (unsigned role = 0; role < LEADER_ROLES; role++)
            led += election_owned(&s->replicas[i].machine, (enum leader_role)role,
                                  local_ms(s, &s->replicas[i])) != 0;
        if (led == 0 || led > 2) {
            fprintf(stderr, "seed %llu: a replica leads %u roles after a common start\n",
                    (unsigned long long)s->seed, led);
            return false;
        }
    }
    return check_end(s);
}

static bool run_quiet(struct sim *s, uint64_t duration_ms)
{
    for (uint64_t ends = s->now_ms + duration_ms; s->now_ms < ends;) {
        step(s);
        if (!check(s))
            return false;
    }
    return true;
}

static bool run_one(struct sim *s, uint64_t seed, bool verbose)
{
    memset(s, 0, sizeof *s);
    rand_seed_thread(seed);
    s->seed = seed;
    s->verbose = verbose;
    s->next_lease = 1;
    for (unsigned i = 0; i < REPLICAS; i++)
        s->replicas[i].drift_ppm = (int32_t)rand_below(200001) - 100000; /* Up to a tenth. */
    if (!run_start(s))
        return false;
    s->storm = true;
    uint64_t storm_ends = s->now_ms + STORM_MS;
    for (uint64_t next = s->now_ms; s->now_ms < storm_ends;) {
        if (s->now_ms >= next) {
            trouble(s);
            next = s->now_ms + rand_below(8000);
        }
        step(s);
        if (!check(s))
            return false;
    }
    s->storm = false;
    if (!run_quiet(s, SETTLE_MS) || !check_end(s) || !run_quiet(s, EVEN_MS) || !check_even(s))
        return false;
    uint64_t changes = s->changes;
    if (!run_quiet(s, EVEN_MS))
        return false;
    if (s->changes != changes) {
        fprintf(stderr, "seed %llu: roles go to and fro\n", (unsigned long long)seed);
        return false;
    }
    if (verbose)
        printf("seed %llu: %llu changes of leaders\n", (unsigned long long)seed,
               (unsigned long long)s->changes);
    return check_end(s);
}

int main(int argc, char **argv)
{
    static struct sim s;
    uint64_t runs = 20, seed = 1, changes = 0;
    bool verbose = false;
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
    for (uint64_t i = 0; i < runs; i++) {
        if (!run_one(&s, seed + i, verbose))
            return 1;
        changes += s.changes;
    }
    printf("%llu runs, %llu changes of leaders, never two at once\n", (unsigned long long)runs,
           (unsigned long long)changes);
    return 0;
}
