/* The control thread's side: what the plane answered, the fence, outages, ended periods. */
#include <assert.h>
#include <string.h>
#include <sys/mman.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "dataplane/budget/table_internal.h"

#define SLOTS_DEFAULT   262144U
#define FENCE_DEFAULT_S 3600U

/* ---- slots of the running life ---- */

static struct budget_entry *entry_make(struct budget_table *t, uint64_t budget)
{
    struct budget_entry *e = table_entry(t, budget);
    if (e != NULL)
        return e;
    if (budget == 0 || t->entry_count > t->entry_mask / 2)
        return NULL;
    for (uint32_t i = (uint32_t)(budget * UINT64_C(0x9e3779b97f4a7c15) >> 32);; i++) {
        e = &t->entries[i & t->entry_mask];
        if (atomic_load(&e->budget) != 0)
            continue;
        atomic_store_explicit(&e->budget, budget, memory_order_release);
        t->entry_count++;
        return e;
    }
}

static bool slot_is(const struct budget_slot *s, int64_t start_us, uint32_t cfg)
{
    return s != NULL && atomic_load(&s->period_start_us) == start_us && slot_cfg(s) == cfg;
}

/* Of any period, also an ended one: those are not in the entry any more. */
static struct budget_slot *slot_exact(const struct budget_table *t, const struct budget_entry *e,
                                      uint64_t budget, int64_t start_us, uint32_t cfg)
{
    for (int i = 0; i < 2; i++) {
        struct budget_slot *s = atomic_load(&e->slot[i]);
        if (slot_is(s, start_us, cfg))
            return s;
    }
    for (uint32_t i = 0; i < slot_file_used(&t->file); i++) {
        struct budget_slot *s = slot_file_at(&t->file, i);
        if (atomic_load(&s->tag) != 0 && atomic_load(&s->budget) == budget &&
            slot_is(s, start_us, cfg))
            return s;
    }
    return NULL;
}

struct budget_slot *table_slot(const struct budget_table *t, uint64_t budget, int64_t wall_us)
{
    struct budget_ref ref;
    return budget_find(t, budget, wall_us, &ref) == 0 ? ref.slot : NULL;
}

static int slot_new(struct budget_table *t, const struct budget_alloc *a, struct budget_slot **out)
{
    struct budget_slot *s = NULL;
    if (t->file.map == NULL || atomic_load(&t->epoch) == 0)
        return ERR_NO_SPACE; /* No life could be begun. */
    if (t->free_count > 0) {
        s = slot_file_at(&t->file, t->free_slots[--t->free_count]);
        /* Nobody holds anything of it (table_collect): zero what the last one left. */
        atomic_store(&s->cfg_check, 0);
        atomic_store(&s->granted, 0);
        atomic_store(&s->returned, 0);
        atomic_store(&s->settled, 0);
        atomic_store(&s->offline, 0);
    } else {
        int rc = slot_file_add(&t->file, &s);
        if (rc != 0)
            return rc;
    }
    t->shadows[slot_file_index(&t->file, s)] = (struct slot_shadow){.touch = true};
    atomic_store(&s->low, INT64_MIN);
    atomic_store(&s->limit, 0);
    atomic_store(&s->spent_others, 0);
    slot_name(s, t->file.epoch, a->budget, a->period_start_us, a->period_end_us, a->cfg);
    t->last_tag += 2;
    atomic_store_explicit(&s->tag, t->last_tag, memory_order_release);
    t->stats.slots++;
    *out = s;
    return 0;
}

/* Puts a new slot where workers find it: in the running period's place or in the next's. */
static void entry_place(struct budget_entry *e, struct budget_slot *s, const struct budget_alloc *a,
                        int64_t now_us)
{
    struct budget_slot *first = atomic_load(&e->slot[0]);
    bool later =
        first != NULL && a->period_start_us > now_us && atomic_load(&first->period_end_us) > now_us;
    atomic_store_explicit(&e->slot[later ? 1 : 0], s, memory_order_release);
}

/* ---- asks ---- */

void table_pend(struct budget_table *t, uint64_t budget, int64_t need, int64_t sum, uint64_t due_ms)
{
    for (uint32_t i = 0; i < t->pending_count; i++) {
        struct pending_ask *p = &t->pending[i];
        if (p->budget != budget)
            continue;
        p->need = need > p->need || p->sent ? need : p->need;
        p->sum = p->sent ? sum : table_sum(p->sum, sum);
        p->due_ms = due_ms < p->due_ms || p->sent ? due_ms : p->due_ms;
        p->sent = false;
        p->tries = 0;
        return;
    }
    if (t->pending_count < TABLE_ASKS)
        t->pending[t->pending_count++] =
            (struct pending_ask){.budget = budget, .need = need, .sum = sum, .due_ms = due_ms};
}

/* In an outage: what may be spent beyond the allocation appears on the slot, once an outage. */
static void credit(struct budget_table *t, uint64_t budget, int64_t wall_us)
{
    struct budget_slot *s = table_slot(t, budget, wall_us);
    if (s == NULL)
        return;
    struct slot_shadow *shadow = &t->shadows[slot_file_index(&t->file, s)];
    if (shadow->credited || shadow->offline_max <= 0)
        return;
    shadow->credited = true;
    t->stats.credited += shadow->offline_max;
    /* In this order a death in between counts it as spent. */
    atomic_fetch_add(&s->offline, shadow->offline_max);
    atomic_fetch_add(&s->free, shadow->offline_max);
    atomic_fetch_add(&t->generation, 1);
}

static bool outage(const struct budget_table *t, uint64_t mono_ms)
{
    return t->contact_ms != 0 && mono_ms - t->contact_ms > TABLE_SILENT_MS;
}

void table_drain_asks(struct budget_table *t, uint64_t mono_ms, int64_t wall_us)
{
    if (!atomic_exchange(&t->asked, false))
        return;
    for (uint32_t i = 0; i < TABLE_ASKS; i++) {
        struct budget_ask_cell *c = &t->asks[i];
        uint64_t budget = atomic_load_explicit(&c->budget, memory_order_relaxed);
        if (budget == 0)
            continue;
        budget = atomic_exchange(&c->budget, TABLE_ASK_CLAIMED);
        int64_t need = atomic_exchange(&c->need, 0), sum = atomic_exchange(&c->sum, 0);
        atomic_store(&c->budget, 0);
        if (outage(t, mono_ms)) {
            credit(t, budget, wall_us);
            continue;
        }
        const struct budget_entry *e = table_entry(t, budget);
        uint32_t refused = e == NULL ? 0 : atomic_load(&e->refused);
        table_pend(t, budget, need, sum, refused == 0 ? mono_ms : mono_ms + refused);
    }
}

/* ---- answers ---- */

void budget_table_opened(struct budget_table *t)
{
    t->streaming = true;
    t->under_way = false;
    t->report_no = 0;
    t->echo_wanted = true;
    t->echoing = false;
    t->rounding = false;
    for (uint32_t i = 0; i < t->pending_count; i++)
        t->pending[i].sent = false;
    for (uint32_t i = 0; i < slot_file_used(&t->file); i++)
        t->shadows[i].touch = true;
}

void budget_table_lost(struct budget_table *t)
{
    t->streaming = false;
    t->under_way = false;
    t->final_sent = 0;
    atomic_store(&t->in_contact, false);
}

bool budget_table_overdue(const struct budget_table *t, uint64_t mono_ms)
{
    return t->under_way && mono_ms - t->sent_ms > TABLE_OVERDUE_MS;
}

/* Credit is over; what of it was used shows as settled above granted, which the plane commits. */
static void end_outage(struct budget_table *t)
{
    for (uint32_t i = 0; i < slot_file_used(&t->file); i++) {
        struct budget_slot *s = slot_file_at(&t->file, i);
        if (!t->shadows[i].credited)
            continue;
        t->shadows[i].credited = false;
        t->shadows[i].touch = true;
        int64_t c = atomic_load(&s->offline);
        atomic_fetch_sub(&s->free, c);
        atomic_fetch_sub(&s->offline, c);
    }
}

static void contact(struct budget_table *t, uint64_t mono_ms)
{
    t->contact_ms = t->sent_ms != 0 ? t->sent_ms : 1;
    t->fenced = false;
    end_outage(t);
    /* A little early, from before the report that was committed. */
    atomic_store(&t->fence_at_ms, t->contact_ms + (uint64_t)t->fence_after_s * 990);
    atomic_store(&t->in_contact, mono_ms - t->contact_ms <= TABLE_SILENT_MS);
}

static void set_offset(struct budget_table *t, int64_t plane_us, int64_t wall_us)
{
    int64_t off = plane_us - wall_us;
    bool far = off > TABLE_OFFSET_US || off < -TABLE_OFFSET_US;
    t->stats.clock_offset_us = far ? off : 0;
    atomic_store(&t->offset_us, t->stats.clock_offset_us);
}

bool budget_table_answered(struct budget_table *t, const struct budget_answer *a, uint64_t mono_ms,
                           int64_t wall_us)
{
    if (a->fence_after_s != 0)
        t->fence_after_s = a->fence_after_s;
    if (a->now_us != 0)
        set_offset(t, a->now_us, wall_us);
    if (t->under_way && a->acked_report == t->report_no) {
        t->under_way = false;
        contact(t, mono_ms);
        table_final_acked(t);
    }
    if (a->echo) {
        t->echo_wanted = true;
        table_retell_lives(t);
    }
    uint64_t epoch = atomic_load(&t->epoch);
    if (a->epoch_closed != 0 && a->epoch_closed == epoch) {
        t->stats.epochs_closed++;
        table_end_life(t);
        if (t->file.map == NULL)
            t->life_rc = table_open_life(t, NULL); /* Failing that, a tick tries again. */
        atomic_fetch_add(&t->generation, 1);
        return false;
    }
    return a->lease_epoch == epoch && epoch != 0;
}

/* The ask that an alloc answers: done, or to be asked again. */
static void ask_answered(struct budget_table *t, const struct budget_alloc *a, uint64_t mono_ms)
{
    for (uint32_t i = 0; i < t->pending_count; i++) {
        struct pending_ask *p = &t->pending[i];
        if (p->budget != a->budget || !p->sent)
            continue;
        if (a->recalling && p->tries < TABLE_AGAIN_MAX) {
            p->tries++;
            p->sent = false;
            p->due_ms = mono_ms + TABLE_AGAIN_MS;
        } else {
            *p = t->pending[--t->pending_count];
        }
        return;
    }
}

static void raise(struct budget_table *t, struct budget_slot *s, int64_t granted)
{
    int64_t more = granted - atomic_load(&s->granted);
    if (more <= 0 || granted > BUDGET_AMOUNT_MAX)
        return;
    atomic_store(&s->granted, granted);
    int64_t free = atomic_fetch_add(&s->free, more) + more;
    atomic_store(&s->low, free > 1 ? free / 2 : INT64_MIN);
    t->stats.grants++;
}

static int apply_to(struct budget_table *t, struct budget_entry *e, const struct budget_alloc *a,
                    int64_t now_us)
{
    struct budget_slot *s = slot_exact(t, e, a->budget, a->period_start_us, a->cfg);
    if (s == NULL) {
        if (a->granted <= 0 || a->stale)
            return 0; /* Nothing to hold. */
        int rc = slot_new(t, a, &s);
        if (rc != 0) {
            t->stats.refused_slots++;
            return rc;
        }
        entry_place(e, s, a, now_us);
    }
    struct slot_shadow *shadow = &t->shadows[slot_file_index(&t->file, s)];
    shadow->offline_max = a->offline;
    atomic_store(&s->limit, a->limit);
    atomic_store(&s->spent_others, a->spent_others);
    raise(t, s, a->granted);
    if (a->stale && atomic_load(&s->period_end_us) > now_us)
        atomic_store(&s->period_end_us, now_us);
    if (a->recall && slot_give_back(s, a->keep > 0 ? a->keep : 0) > 0) {
        t->stats.recalls++;
        shadow->touch = true;
        t->hurry = true;
    }
    return 0;
}

int budget_table_apply(struct budget_table *t, const struct budget_alloc *a, uint64_t mono_ms,
                       int64_t wall_us)
{
    struct budget_entry *e = entry_make(t, a->budget);
    if (e == NULL) {
        t->stats.refused_slots++;
        return ERR_LIMIT;
    }
    int rc = 0;
    const uint64_t grants = t->stats.grants;
    if (!a->unknown)
        rc = apply_to(t, e, a, table_now_us(t, wall_us));
    atomic_store(&e->refused, a->unknown     ? TABLE_UNKNOWN_MS
                              : a->exhausted ? TABLE_EXHAUSTED_MS
                                             : 0);
    /* What was not asked about a need says nothing of it. */
    if (a->recalling || a->exhausted || a->unknown || t->stats.grants != grants)
        atomic_store(&e->recalled, a->recalling);
    ask_answered(t, a, mono_ms);
    atomic_fetch_add(&t->generation, 1);
    return rc;
}

/* ---- time ---- */

/* The plane was silent for too long: it may count this life as lost. Nothing that is free is used
 * any more, but an allowance for outages. */
static void fence(struct budget_table *t)
{
    t->fenced = true;
    t->stats.fences++;
    for (uint32_t i = 0; i < slot_file_used(&t->file); i++)
        if (atomic_load(&slot_file_at(&t->file, i)->tag) != 0)
            (void)slot_give_back(slot_file_at(&t->file, i), 0);
    atomic_store(&t->fence_at_ms, UINT64_MAX);
}

/* A slot whose period is long over: its money goes back, and when that is told it is free for
 * another budget. Nobody can take from it in between: its tag is closed before free is looked at.
 */
static void collect_slot(struct budget_table *t, uint32_t i, int64_t now_us)
{
    struct budget_slot *s = slot_file_at(&t->file, i);
    uint64_t tag = atomic_load(&s->tag);
    int64_t end_us = atomic_load(&s->period_end_us);
    if (tag == 0 || end_us > now_us - TABLE_GRACE_US)
        return;
    atomic_store(&s->tag, tag | SLOT_TAG_CLOSED);
    (void)slot_give_back(s, 0);
    struct budget_usage u = slot_usage(s);
    if (u.reserved != 0 || atomic_load(&s->offline) != 0 || atomic_load(&s->free) != 0 ||
        !table_told(&t->shadows[i], &u) || (t->under_way && t->shadows[i].told_in == t->report_no))
        return;
    struct budget_entry *e = table_entry(t, u.budget);
    for (int n = 0; e != NULL && n < 2; n++)
        if (atomic_load(&e->slot[n]) == s)
            atomic_store(&e->slot[n], NULL);
    atomic_store(&s->tag, 0);
    t->free_slots[t->free_count++] = i;
    t->stats.slots--;
}

/* The next period has begun: it takes the running one's place. */
static void promote(struct budget_table *t, struct budget_slot *s, int64_t now_us)
{
    struct budget_entry *e = table_entry(t, atomic_load(&s->budget));
    struct budget_slot *next = e == NULL ? NULL : atomic_load(&e->slot[1]);
    if (next != s || atomic_load(&s->period_start_us) > now_us)
        return;
    atomic_store_explicit(&e->slot[0], s, memory_order_release);
    atomic_store_explicit(&e->slot[1], NULL, memory_order_release);
}

static void rate(struct budget_slot *s, struct slot_shadow *shadow, uint64_t passed_ms)
{
    struct budget_usage u = slot_usage(s);
    int64_t spent = u.settled + u.reserved;
    int64_t more = spent > shadow->last_spent ? spent - shadow->last_spent : 0;
    int64_t now = more / (int64_t)(passed_ms / 1000 + (passed_ms < 1000));
    shadow->last_spent = spent;
    /* Quick up, slow down. */
    shadow->rate_per_s += now > shadow->rate_per_s ? (now - shadow->rate_per_s + 1) / 2
                                                   : -((shadow->rate_per_s - now + 15) / 16);
}

static void slow_tick(struct budget_table *t, uint64_t mono_ms, int64_t now_us)
{
    for (uint32_t i = 0; i < slot_file_used(&t->file); i++) {
        struct budget_slot *s = slot_file_at(&t->file, i);
        if (atomic_load(&s->tag) == 0)
            continue;
        rate(s, &t->shadows[i], mono_ms - t->slow_ms);
        promote(t, s, now_us);
        collect_slot(t, i, now_us);
    }
    t->slow_ms = mono_ms;
    if (t->file.map == NULL && !t->retired)
        t->life_rc = table_open_life(t, NULL);
}

void budget_table_tick(struct budget_table *t, uint64_t mono_ms, int64_t wall_us)
{
    if (mono_ms >= atomic_load(&t->fence_at_ms) && t->contact_ms != 0 && !t->fenced)
        fence(t);
    if (mono_ms - t->contact_ms > TABLE_SILENT_MS)
        atomic_store(&t->in_contact, false);
    table_drain_asks(t, mono_ms, wall_us);
    if (mono_ms - t->slow_ms >= TABLE_PERIODIC_MS)
        slow_tick(t, mono_ms, table_now_us(t, wall_us));
    table_drain_lives(t, mono_ms);
    if (t->file.map != NULL && atomic_load(&t->epoch) == 0)
        table_end_life(t); /* Could not be ended for want of memory. */
}

void budget_table_retire(struct budget_table *t)
{
    t->retired = true;
    table_end_life(t);
    table_drain_lives(t, t->contact_ms);
}

bool budget_table_idle(const struct budget_table *t)
{
    return t->stats.epochs == 0 && !t->under_way;
}

uint64_t budget_table_epoch(const struct budget_table *t)
{
    return atomic_load(&t->epoch);
}

void budget_table_get_stats(const struct budget_table *t, struct budget_table_stats *out)
{
    *out = t->stats;
    out->fenced = t->fenced;
    out->asks = t->pending_count;
    out->in_contact = atomic_load(&t->in_contact);
}

/* ---- life ---- */

void budget_boot_id(struct uuid *out)
{
    struct buf b = {0};
    if (buf_read_file(&b, "/proc/sys/kernel/random/boot_id", 64, NULL) != 0 ||
        b.len < UUID_TEXT_BYTES - 1 ||
        uuid_parse((struct str){.data = b.data, .len = UUID_TEXT_BYTES - 1}, out) != 0)
        memset(out, 0, sizeof(*out));
    buf_deinit(&b);
}

/* Addresses for as many budgets as a node may ever hold; memory comes as they are used. */
static int allocate(struct budget_table *t, const struct budget_table_options *options)
{
    size_t slots = t->options.slots_max, entries = 64;
    while (entries < 2 * slots)
        entries *= 2;
    t->entry_mask = (uint32_t)entries - 1;
    t->dir = mem_strdup(options->dir);
    if (t->dir == NULL)
        return ERR_NOMEM;
    t->space_bytes = entries * sizeof(*t->entries) + slots * sizeof(*t->shadows) +
                     slots * sizeof(*t->free_slots);
    void *space = mmap(NULL, t->space_bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (space == MAP_FAILED)
        return ERR_NOMEM;
    t->entries = space;
    t->shadows = (struct slot_shadow *)(void *)(t->entries + entries);
    t->free_slots = (uint32_t *)(void *)(t->shadows + slots);
    return 0;
}

int budget_table_create(const struct budget_table_options *options, struct budget_table **out_table,
                        struct budget_recovery *out_recovery, struct err *err)
{
    struct budget_recovery found = {0};
    struct budget_table *t = mem_zalloc(sizeof(*t));
    if (t == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    t->options = *options;
    if (t->options.slots_max == 0)
        t->options.slots_max = SLOTS_DEFAULT;
    t->lock_fd = -1;
    t->fence_after_s = FENCE_DEFAULT_S;
    list_init(&t->ended);
    atomic_store(&t->generation, 1);
    atomic_store(&t->fence_at_ms, UINT64_MAX);
    int rc = allocate(t, options);
    if (rc != 0)
        (void)err_set(err, rc, "out of memory");
    if (rc == 0)
        rc = table_recover(t, &found, err);
    if (rc == 0)
        rc = table_open_life(t, err);
    if (rc != 0) {
        budget_table_destroy(t);
        return rc;
    }
    if (out_recovery != NULL)
        *out_recovery = found;
    *out_table = t;
    return 0;
}

void budget_table_set_wake(struct budget_table *t, void (*wake)(void *user), void *user)
{
    t->wake = wake;
    t->wake_user = user;
}

void budget_table_destroy(struct budget_table *t)
{
    if (t == NULL)
        return;
    table_close_lives(t);
    if (t->entries != NULL)
        (void)munmap(t->entries, t->space_bytes);
    mem_free(t->dir);
    mem_free(t);
}
