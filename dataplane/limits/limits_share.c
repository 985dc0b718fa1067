/* The control thread's side: what was asked for goes up, shares come down, and end with time. */
#include <string.h>

#include "dataplane/limits/limits_internal.h"

__extension__ typedef unsigned __int128 u128;

#define FRESH_LIMIT (1U << 20)            /* Any: only the part that is left counts. */
#define ACTIVE_NS   UINT64_C(30000000000) /* Reported for so long after the last request. */
#define AVERAGE_NS  UINT64_C(5000000000)  /* Of what is asked for. */

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t part_of(uint64_t amount, uint64_t limit)
{
    u128 part = limit != 0 ? ((u128)amount * BUCKET_SHARE_ONE + limit - 1) / limit : 0;
    return part < UINT32_MAX ? (uint32_t)part : UINT32_MAX;
}

static uint32_t slots_used(const struct limits_table *t)
{
    return least(atomic_load(&t->used), t->slots_max);
}

/* ---- shares in force ---- */

void limits_set_share(struct limits_slot *s, int kind, uint32_t share, uint64_t now_ns)
{
    uint32_t old = atomic_load(&s->share[kind]);
    if (old == share)
        return;
    if (kind == LIMITS_CONCURRENCY) {
        atomic_store(&s->share[kind], share);
        return;
    }
    uint64_t per_min = atomic_load(&s->per_min[kind]);
    uint64_t new_rate = bucket_rate(per_min, share);
    if (share < old)
        atomic_store(&s->share[kind], share);
    if (old == 0) { /* As fresh, less what was taken. */
        atomic_store(&s->buckets[kind].full_ns, now_ns + BUCKET_SPAN_NS);
        bucket_debit(&s->buckets[kind], atomic_exchange(&s->advance[kind], 0), new_rate, now_ns);
    } else {
        bucket_rescale(&s->buckets[kind], bucket_rate(per_min, old), new_rate, now_ns);
    }
    atomic_store(&s->share[kind], share);
}

static void set_safe(struct limits_table *t, uint32_t safe, uint64_t now_ns)
{
    uint32_t old = atomic_load(&t->safe);
    if (old == 0 && safe > 0)
        atomic_store(&t->fresh.full_ns, now_ns + BUCKET_SPAN_NS);
    else if (safe > 0)
        bucket_rescale(&t->fresh, bucket_rate(FRESH_LIMIT, old), bucket_rate(FRESH_LIMIT, safe),
                       now_ns);
    atomic_store(&t->safe, safe);
}

static void put_in_force(const struct limits_table *t, struct limits_slot *s, uint64_t now_ns)
{
    uint32_t safe = atomic_load(&t->safe);
    for (int k = 0; k < LIMITS_KINDS; k++) {
        uint32_t share = safe;
        if (s->shared && now_ns < s->ends_ns)
            share = s->given[k];
        else if (s->shared)
            share = least(s->given[k], safe);
        limits_set_share(s, k, share, now_ns);
    }
}

static void put_all_in_force(struct limits_table *t, uint64_t now_ns)
{
    t->stats.shared = 0;
    for (uint32_t i = 0, n = slots_used(t); i < n; i++) {
        struct limits_slot *s = &t->slots[i];
        if (s->shared && now_ns >= s->ends_ns && now_ns >= s->hold_ns)
            s->shared = false;
        t->stats.shared += s->shared;
        put_in_force(t, s, now_ns);
    }
}

void limits_alone(struct limits_table *t, uint64_t now_ns)
{
    t->answered = true;
    t->nodes = 1;
    atomic_store(&t->safe, BUCKET_SHARE_ONE);
    put_all_in_force(t, now_ns);
}

void limits_remember(struct limits_table *t, uint32_t safe, uint32_t nodes)
{
    t->remembered = least(safe, BUCKET_SHARE_ONE);
    t->nodes = nodes;
}

uint32_t limits_safe(const struct limits_table *t)
{
    return t->answered ? atomic_load(&t->safe) : t->remembered;
}

uint32_t limits_nodes(const struct limits_table *t)
{
    return t->nodes;
}

void limits_tick(struct limits_table *t, uint64_t now_ns)
{
    bool due = t->stats.shared > 0;
    if (!t->answered && atomic_load(&t->safe) != t->remembered &&
        now_ns - t->started_ns >= LIMITS_HOLD_NS) {
        set_safe(t, t->remembered, now_ns);
        due = true;
    }
    if (due)
        put_all_in_force(t, now_ns);
}

/* ---- up ---- */

/* A moving average: a jump shows within seconds, one request alone does not look like a flood. */
static uint64_t averaged(uint64_t average, uint64_t asked, uint64_t elapsed_ns)
{
    if (elapsed_ns == 0)
        return average;
    u128 now = (u128)asked * BUCKET_SPAN_NS / elapsed_ns;
    uint64_t weight = elapsed_ns < AVERAGE_NS ? elapsed_ns : AVERAGE_NS;
    u128 sum = now * weight + (u128)average * (AVERAGE_NS - weight);
    u128 mean = sum / AVERAGE_NS;
    return mean < UINT64_MAX / 2 ? (uint64_t)mean : UINT64_MAX / 2;
}

/* true: it was asked for lately. */
static bool measure(struct limits_slot *s, uint64_t now_ns, uint64_t elapsed_ns)
{
    bool asked = atomic_load(&s->running) > 0;
    for (int k = 0; k < BUCKET_KINDS; k++) {
        uint64_t total = atomic_load(&s->asked[k]);
        asked |= total != s->told[k];
        s->want[k] = averaged(s->want[k], total - s->told[k], elapsed_ns);
        s->told[k] = total;
    }
    /* The most at once, falling slowly. */
    uint64_t peak = (uint64_t)atomic_exchange(&s->peak, atomic_load(&s->running)) +
                    atomic_exchange(&s->refused, 0);
    uint32_t capped = peak < UINT32_MAX ? (uint32_t)peak : UINT32_MAX;
    uint32_t fallen = s->want_running - s->want_running / 8;
    s->want_running = capped > fallen || fallen <= 8 ? capped : fallen;
    if (asked)
        s->active_ns = now_ns;
    return s->active_ns != 0 && now_ns - s->active_ns < ACTIVE_NS;
}

static void describe(const struct limits_slot *s, struct limits_demand *out)
{
    uint64_t concurrency = atomic_load(&s->concurrency);
    *out = (struct limits_demand){.account = atomic_load(&s->account)};
    for (int k = 0; k < BUCKET_KINDS; k++)
        out->want[k] = part_of(s->want[k], atomic_load(&s->per_min[k]));
    out->want[LIMITS_CONCURRENCY] = part_of(s->want_running, concurrency);
    out->held = part_of(atomic_load(&s->running), concurrency);
}

void limits_report(struct limits_table *t, uint64_t now_ns, struct limits_report *out)
{
    uint64_t elapsed = now_ns - t->report_ns;
    uint32_t n = slots_used(t);
    uint32_t last = t->cursor;
    t->report_ns = now_ns;
    t->sent_ns[++t->report_no % LIMITS_REPORTS_SENT] = now_ns;
    out->report_no = t->report_no;
    out->term = t->term;
    out->applied = t->applied;
    out->safe = limits_safe(t);
    out->nodes = t->nodes;
    out->count = 0;
    t->busy = t->stats.shared > 0;
    /* If not all fit, the next report begins where this one ends. */
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = (t->cursor + i) % n;
        struct limits_slot *s = &t->slots[at];
        if (!measure(s, now_ns, elapsed) || atomic_load(&s->account) == 0)
            continue;
        t->busy = true;
        if (out->count == LIMITS_REPORT_MAX)
            continue;
        describe(s, &out->demands[out->count++]);
        last = at + 1;
    }
    if (out->count == LIMITS_REPORT_MAX)
        t->cursor = last;
}

bool limits_busy(const struct limits_table *t)
{
    return t->busy;
}

/* ---- down ---- */

static struct limits_slot *slot_known(const struct limits_table *t, uint64_t account)
{
    uint32_t at = (uint32_t)((account * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
    for (uint32_t n = 0; n <= t->index_mask; n++, at++) {
        uint32_t found = atomic_load(&t->index[at & t->index_mask]);
        if (found == 0)
            return NULL;
        if (atomic_load(&t->slots[found - 1].account) == account)
            return &t->slots[found - 1];
    }
    return NULL;
}

static void give(struct limits_table *t, const struct limits_answer *a,
                 const struct limits_share *g, uint64_t sent_ns, uint64_t now_ns)
{
    struct limits_slot *s = slot_known(t, g->account);
    if (s == NULL) { /* Not met yet: it will be limited to this share when it is. */
        static const struct limits_values unknown = {1 << 20, 1 << 20, 1 << 20};
        s = limits_slot_get(t, g->account, &unknown, 0, now_ns);
        if (s == NULL)
            return;
    }
    for (int k = 0; k < LIMITS_KINDS; k++)
        s->given[k] = least(g->share[k], BUCKET_SHARE_ONE);
    s->shared = true;
    s->ends_ns = sent_ns + LIMITS_TTL_NS;
    s->hold_ns = now_ns + LIMITS_HOLD_NS;
    s->mark = a->answer_no;
}

bool limits_apply(struct limits_table *t, const struct limits_answer *a, uint64_t now_ns)
{
    bool known = a->report_no > 0 && a->report_no <= t->report_no &&
                 t->report_no - a->report_no < LIMITS_REPORTS_SENT;
    bool newer = a->term > t->term || (a->term == t->term && a->answer_no > t->applied);
    if (!known || !newer || a->answer_no == 0) {
        t->stats.answers_past++;
        return false;
    }
    uint64_t sent_ns = t->sent_ns[a->report_no % LIMITS_REPORTS_SENT];
    for (uint32_t i = 0; i < a->count; i++)
        give(t, a, &a->shares[i], sent_ns, now_ns);
    for (uint32_t i = 0, n = slots_used(t); i < n; i++)
        if (t->slots[i].shared && t->slots[i].mark != a->answer_no)
            t->slots[i].shared = false;
    t->term = a->term;
    t->applied = a->answer_no;
    t->nodes = a->nodes;
    t->answered = true;
    set_safe(t, least(a->safe, BUCKET_SHARE_ONE), now_ns);
    put_all_in_force(t, now_ns);
    return true;
}

void limits_get_stats(const struct limits_table *t, struct limits_stats *out)
{
    *out = t->stats;
    out->accounts = slots_used(t);
    out->full = atomic_load(&t->full);
}
