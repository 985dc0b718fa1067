#include "dataplane/budget/allocation.h"

#include <assert.h>

#include "dataplane/budget/table_internal.h"

/* ---- finding ---- */

static uint32_t entry_hash(uint64_t budget)
{
    return (uint32_t)(budget * UINT64_C(0x9e3779b97f4a7c15) >> 32);
}

/* At most half of the entries are used: the search ends. */
struct budget_entry *table_entry(const struct budget_table *t, uint64_t budget)
{
    for (uint32_t i = entry_hash(budget);; i++) {
        struct budget_entry *e = &t->entries[i & t->entry_mask];
        uint64_t id = atomic_load_explicit(&e->budget, memory_order_acquire);
        if (id == budget)
            return e;
        if (id == 0)
            return NULL;
    }
}

static bool slot_covers(struct budget_slot *s, uint64_t budget, int64_t now_us, uint64_t *out_tag)
{
    if (s == NULL)
        return false;
    uint64_t tag = atomic_load_explicit(&s->tag, memory_order_acquire);
    if (tag == 0 || (tag & SLOT_TAG_CLOSED) != 0 ||
        atomic_load_explicit(&s->budget, memory_order_relaxed) != budget ||
        now_us < atomic_load_explicit(&s->period_start_us, memory_order_relaxed) ||
        now_us >= atomic_load_explicit(&s->period_end_us, memory_order_relaxed))
        return false;
    *out_tag = tag;
    return true;
}

int budget_find(const struct budget_table *t, uint64_t budget, int64_t wall_us,
                struct budget_ref *out_ref)
{
    const struct budget_entry *e = table_entry(t, budget);
    if (e == NULL)
        return ERR_NOT_FOUND;
    int64_t now_us = table_now_us(t, wall_us);
    for (int i = 0; i < 2; i++) {
        struct budget_slot *s = atomic_load_explicit(&e->slot[i], memory_order_acquire);
        uint64_t tag;
        if (slot_covers(s, budget, now_us, &tag)) {
            *out_ref = (struct budget_ref){.slot = s, .tag = tag};
            return 0;
        }
    }
    return ERR_NOT_FOUND;
}

struct budget_charge budget_ref_charge(const struct budget_ref *ref)
{
    return (struct budget_charge){
        .budget = atomic_load_explicit(&ref->slot->budget, memory_order_relaxed),
        .period_start_us = atomic_load_explicit(&ref->slot->period_start_us, memory_order_relaxed),
        .cfg = slot_cfg(ref->slot),
    };
}

int64_t budget_ref_free(const struct budget_ref *ref)
{
    return atomic_load_explicit(&ref->slot->free, memory_order_relaxed);
}

int64_t budget_ref_end_us(const struct budget_ref *ref)
{
    return atomic_load_explicit(&ref->slot->period_end_us, memory_order_relaxed);
}

/* ---- pressure ---- */

uint32_t budget_ref_pressure(const struct budget_ref *ref)
{
    const struct budget_slot *s = ref->slot;
    int64_t limit = atomic_load_explicit(&s->limit, memory_order_relaxed);
    if (limit <= 0)
        return 0;
    /* Loads of different moments: an error of what came in between, which is of no weight here. */
    int64_t own = atomic_load_explicit(&s->granted, memory_order_relaxed) +
                  atomic_load_explicit(&s->offline, memory_order_relaxed) -
                  atomic_load_explicit(&s->returned, memory_order_relaxed) -
                  atomic_load_explicit(&s->free, memory_order_relaxed);
    int64_t spent = own + atomic_load_explicit(&s->spent_others, memory_order_relaxed);
    if (spent <= 0)
        return 0;
    if (spent >= limit)
        return BUDGET_PRESSURE_ONE;
    return (uint32_t)((unsigned __int128)(uint64_t)spent * BUDGET_PRESSURE_ONE / (uint64_t)limit);
}

uint32_t budget_pressure(const struct budget_ref *refs, uint32_t count)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t p = budget_ref_pressure(&refs[i]);
        most = p > most ? p : most;
    }
    return most;
}

/* ---- reserving ---- */

static void slot_add(struct budget_slot *s, int64_t amount)
{
    atomic_fetch_add_explicit(&s->free, amount, memory_order_acq_rel);
}

static int slot_take(struct budget_table *t, const struct budget_ref *ref, int64_t amount)
{
    struct budget_slot *s = ref->slot;
    int64_t free = atomic_load_explicit(&s->free, memory_order_relaxed);
    do {
        if (free < amount)
            return ERR_LIMIT;
    } while (!atomic_compare_exchange_weak_explicit(&s->free, &free, free - amount,
                                                    memory_order_acq_rel, memory_order_relaxed));
    /* After the subtraction: whoever closes the slot closes its tag before he looks at free. */
    if (atomic_load_explicit(&s->tag, memory_order_acquire) != ref->tag) {
        slot_add(s, amount);
        return ERR_AGAIN;
    }
    int64_t low = atomic_load_explicit(&s->low, memory_order_relaxed);
    if (free - amount < low && atomic_compare_exchange_strong(&s->low, &low, INT64_MIN))
        table_note(t, atomic_load_explicit(&s->budget, memory_order_relaxed), 0, NULL);
    return 0;
}

static int64_t smallest_free(const struct budget_reservation *r)
{
    int64_t least = BUDGET_AMOUNT_MAX;
    for (uint32_t i = 0; i < r->count; i++) {
        int64_t free = budget_ref_free(&r->ref[i]);
        least = free < least ? free : least;
    }
    return least > 0 ? least : 0;
}

static int take_all(struct budget_table *t, const struct budget_reservation *r, int64_t amount,
                    uint64_t mono_ms, int64_t *out_free)
{
    assert(amount >= 0 && amount <= BUDGET_AMOUNT_MAX);
    assert(r->count <= BUDGET_PATH_MAX);
    if (r->count > 0 && mono_ms >= atomic_load_explicit(&t->fence_at_ms, memory_order_relaxed))
        return ERR_UNAVAILABLE;
    int rc = 0;
    uint32_t taken = 0;
    for (; taken < r->count && rc == 0; taken++)
        rc = slot_take(t, &r->ref[taken], amount);
    if (rc == 0)
        return 0;
    for (uint32_t i = 0; i + 1 < taken; i++) /* The last one took nothing. */
        slot_add(r->ref[i].slot, amount);
    if (rc == ERR_LIMIT && out_free != NULL)
        *out_free = smallest_free(r);
    return rc;
}

int budget_reserve(struct budget_table *t, struct budget_reservation *r, int64_t amount,
                   uint64_t mono_ms, int64_t *out_free)
{
    assert(r->amount == 0);
    uint64_t epoch = atomic_load_explicit(&t->epoch, memory_order_relaxed);
    for (uint32_t i = 0; i < r->count; i++) {
        uint64_t of = atomic_load_explicit(&r->ref[i].slot->epoch, memory_order_relaxed);
        if (i > 0 && of != epoch)
            return ERR_AGAIN; /* Found before and after the node began another life. */
        epoch = of;
    }
    int rc = take_all(t, r, amount, mono_ms, out_free);
    if (rc == 0) {
        r->amount = amount;
        r->lease_epoch = epoch;
    }
    return rc;
}

int budget_extend(struct budget_table *t, struct budget_reservation *r, int64_t more,
                  uint64_t mono_ms, int64_t *out_free)
{
    if (more > BUDGET_AMOUNT_MAX - r->amount)
        return ERR_LIMIT;
    int rc = take_all(t, r, more, mono_ms, out_free);
    if (rc == 0)
        r->amount += more;
    return rc;
}

void budget_shrink(struct budget_reservation *r, int64_t amount)
{
    assert(amount >= 0 && amount <= r->amount);
    for (uint32_t i = 0; i < r->count; i++)
        slot_add(r->ref[i].slot, r->amount - amount);
    r->amount = amount;
}

void budget_settle(struct budget_reservation *r, int64_t cost)
{
    assert(cost >= 0 && cost <= BUDGET_AMOUNT_MAX);
    for (uint32_t i = 0; i < r->count; i++) {
        struct budget_slot *s = r->ref[i].slot;
        /* Only a reservation of nothing can have let its slot go to another budget meanwhile. */
        if ((atomic_load_explicit(&s->tag, memory_order_acquire) & ~SLOT_TAG_CLOSED) !=
            r->ref[i].tag)
            continue;
        /* free before settled: who reads settled first never sees money that is neither. */
        slot_add(s, r->amount - cost);
        atomic_fetch_add_explicit(&s->settled, cost, memory_order_acq_rel);
    }
    r->count = 0;
    r->amount = 0;
}

/* ---- asking ---- */

static bool cell_note(struct budget_ask_cell *c, uint64_t budget, int64_t need)
{
    uint64_t id = 0;
    if (!atomic_compare_exchange_strong(&c->budget, &id, budget) && id != budget)
        return false;
    int64_t old = atomic_load(&c->need), sum = atomic_load(&c->sum);
    while (old < need && !atomic_compare_exchange_weak(&c->need, &old, need)) {
    }
    while (!atomic_compare_exchange_weak(&c->sum, &sum, table_sum(sum, need))) {
    }
    return atomic_load(&c->budget) == budget; /* Else it was drained meanwhile. */
}

void table_note(struct budget_table *t, uint64_t budget, int64_t need, int *out_rc)
{
    uint32_t first = entry_hash(budget);
    int rc = ERR_BUSY;
    for (uint32_t i = 0; i < 2 * TABLE_ASK_PROBES && rc != 0; i++)
        if (cell_note(&t->asks[(first + i % TABLE_ASK_PROBES) % TABLE_ASKS], budget, need))
            rc = 0;
    atomic_store(&t->asked, true);
    if (out_rc != NULL)
        *out_rc = rc;
    if (t->wake != NULL)
        t->wake(t->wake_user);
}

bool budget_refused(const struct budget_table *t, uint64_t budget)
{
    const struct budget_entry *e = table_entry(t, budget);
    return e != NULL && atomic_load_explicit(&e->refused, memory_order_relaxed) != 0;
}

bool budget_recalled(const struct budget_table *t, uint64_t budget)
{
    const struct budget_entry *e = table_entry(t, budget);
    return e != NULL && atomic_load_explicit(&e->recalled, memory_order_relaxed);
}

int budget_ask(struct budget_table *t, uint64_t budget, int64_t need)
{
    int rc;
    assert(need >= 0 && need <= BUDGET_AMOUNT_MAX);
    bool refused = budget_refused(t, budget);
    table_note(t, budget, need, &rc);
    if (refused)
        return ERR_LIMIT;
    if (!atomic_load_explicit(&t->in_contact, memory_order_relaxed))
        return ERR_UNAVAILABLE;
    return rc;
}

uint64_t budget_generation(const struct budget_table *t)
{
    return atomic_load_explicit(&t->generation, memory_order_acquire);
}

/* ---- for the control thread ---- */

struct budget_usage slot_usage(const struct budget_slot *slot)
{
    int64_t settled = atomic_load(&slot->settled);
    int64_t free, again;
    /* settled only rises: equal before and after means that free was read beside it. */
    for (int i = 0; i < 64; i++) {
        free = atomic_load(&slot->free);
        again = atomic_load(&slot->settled);
        if (again == settled)
            break;
        settled = again;
    }
    struct budget_usage u = {
        .budget = atomic_load(&slot->budget),
        .period_start_us = atomic_load(&slot->period_start_us),
        .cfg = slot_cfg(slot),
        .settled = settled,
        .returned = atomic_load(&slot->returned),
        .granted = atomic_load(&slot->granted),
    };
    int64_t open = u.granted + atomic_load(&slot->offline) - u.returned - settled - free;
    if (again != settled && open <= 0)
        open = 1; /* Still moving: not drained, at any rate. */
    u.reserved = open > 0 ? open : 0;
    return u;
}

int64_t slot_give_back(struct budget_slot *slot, int64_t keep)
{
    int64_t credit = atomic_load(&slot->offline);
    int64_t free = atomic_load(&slot->free);
    int64_t back;
    do {
        back = free - credit - keep;
        if (back <= 0)
            return 0;
    } while (!atomic_compare_exchange_weak(&slot->free, &free, free - back));
    atomic_fetch_add(&slot->returned, back);
    return back;
}
