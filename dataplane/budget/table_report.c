/* What goes up. A message holds, in this order: a piece of a life that ended, what requests wait
 * for, then a piece of the echo (everything, on a new stream) or of the round (what changed, once a
 * second). One message is under way at a time; the next follows its answer. */
#include <assert.h>
#include <string.h>

#include "dataplane/budget/table_internal.h"

bool table_told(const struct slot_shadow *shadow, const struct budget_usage *u)
{
    return !shadow->touch && shadow->told_settled == u->settled &&
           shadow->told_returned == u->returned && shadow->told_granted == u->granted &&
           shadow->told_reserved == u->reserved;
}

static int64_t runway(const struct slot_shadow *shadow)
{
    return shadow->rate_per_s < BUDGET_AMOUNT_MAX / TABLE_RUNWAY_S
               ? shadow->rate_per_s * TABLE_RUNWAY_S
               : BUDGET_AMOUNT_MAX;
}

/* All that wait are to be served by one answer; and a request's worth of ask becomes a few of them,
 * so that the next ones need not ask. */
static int64_t wanted(int64_t reserved, int64_t runway_nano, int64_t need, int64_t sum)
{
    int64_t few = need < BUDGET_AMOUNT_MAX / 4 ? need * 4 : BUDGET_AMOUNT_MAX;
    int64_t asked = sum > few ? sum : few;
    return table_sum(reserved, runway_nano > asked ? runway_nano : asked);
}

static bool room(const struct budget_report *r)
{
    return r->usage_count < BUDGET_REPORT_MAX;
}

static void tell(struct budget_table *t, struct budget_report *r, struct budget_slot *s,
                 int64_t need, int64_t sum, int64_t now_us)
{
    struct slot_shadow *shadow = &t->shadows[slot_file_index(&t->file, s)];
    struct budget_usage u = slot_usage(s);
    bool over = atomic_load(&s->period_end_us) <= now_us || t->fenced;
    u.need = over ? 0 : need;
    u.want = over ? 0 : wanted(u.reserved, runway(shadow), need, sum);
    shadow->told_settled = u.settled;
    shadow->told_returned = u.returned;
    shadow->told_reserved = u.reserved;
    shadow->told_granted = u.granted;
    shadow->told_in = r->report_no;
    shadow->touch = false;
    r->usage[r->usage_count++] = u;
}

/* ---- what requests wait for ---- */

static void report_asks(struct budget_table *t, struct budget_report *r, uint64_t mono_ms,
                        int64_t wall_us)
{
    for (uint32_t i = 0; i < t->pending_count && room(r);) {
        struct pending_ask *p = &t->pending[i];
        if (p->sent || p->due_ms > mono_ms) {
            i++;
            continue;
        }
        struct budget_slot *s = table_slot(t, p->budget, wall_us);
        if (s != NULL) {
            tell(t, r, s, p->need, p->sum, table_now_us(t, wall_us));
        } else if (p->need > 0) {
            r->usage[r->usage_count++] = (struct budget_usage){
                .budget = p->budget, .need = p->need, .want = wanted(0, 0, p->need, p->sum)};
        }
        if (p->need > 0) {
            p->sent = true;
            i++;
        } else {
            *p = t->pending[--t->pending_count]; /* A low mark: no answer is waited for. */
        }
    }
}

/* ---- rounds ---- */

/* The period after this one, shortly before it begins; the jitter is the budget's own. */
static void report_next(struct budget_table *t, struct budget_report *r, struct budget_slot *s,
                        uint64_t mono_ms, int64_t now_us)
{
    struct slot_shadow *shadow = &t->shadows[slot_file_index(&t->file, s)];
    int64_t end_us = atomic_load(&s->period_end_us);
    if (end_us <= now_us || end_us - now_us > INT64_C(2) * TABLE_NEXT_US)
        return;
    uint64_t budget = atomic_load(&s->budget);
    int64_t jitter_us = (int64_t)(budget * UINT64_C(0x9e3779b97f4a7c15) >> 40); /* < 16.8 s */
    const struct budget_entry *e = table_entry(t, budget);
    if (end_us - now_us > TABLE_NEXT_US + jitter_us || e == NULL || shadow->rate_per_s == 0 ||
        atomic_load(&e->slot[0]) != s || atomic_load(&e->slot[1]) != NULL ||
        mono_ms < shadow->next_asked_ms || !room(r))
        return;
    shadow->next_asked_ms = mono_ms + TABLE_NEXT_EVERY_MS;
    r->usage[r->usage_count++] =
        (struct budget_usage){.budget = budget,
                              .period_start_us = atomic_load(&s->period_start_us),
                              .cfg = slot_cfg(s),
                              .next = true,
                              .want = runway(shadow)};
}

static bool told_in_this(const struct budget_report *r, const struct slot_shadow *shadow)
{
    return shadow->told_in == r->report_no && !shadow->touch;
}

/* true: everything was looked at. */
static bool report_round(struct budget_table *t, struct budget_report *r, bool all,
                         uint64_t mono_ms, int64_t now_us)
{
    uint32_t used = slot_file_used(&t->file);
    for (; t->cursor < used && r->usage_count + 2 <= BUDGET_REPORT_MAX; t->cursor++) {
        struct budget_slot *s = slot_file_at(&t->file, t->cursor);
        struct slot_shadow *shadow = &t->shadows[t->cursor];
        if (atomic_load(&s->tag) == 0)
            continue;
        report_next(t, r, s, mono_ms, now_us);
        struct budget_usage u = slot_usage(s);
        if (!told_in_this(r, shadow) && (all || !table_told(shadow, &u)))
            tell(t, r, s, 0, 0, now_us);
    }
    return t->cursor == used;
}

static void report_slots(struct budget_table *t, struct budget_report *r, uint64_t mono_ms,
                         int64_t now_us)
{
    if (t->echo_wanted) {
        t->echo_wanted = false;
        t->echoing = true;
        t->rounding = false;
        t->cursor = 0;
        r->echo_begin = true;
    }
    if (t->echoing) {
        r->echo_end = report_round(t, r, true, mono_ms, now_us);
        t->echoing = !r->echo_end;
        t->round_ms = mono_ms;
        return;
    }
    if (!t->rounding && (t->hurry || mono_ms - t->round_ms >= TABLE_PERIODIC_MS)) {
        t->rounding = true;
        t->hurry = false;
        t->round_ms = mono_ms;
        t->cursor = 0;
    }
    if (t->rounding)
        t->rounding = !report_round(t, r, false, mono_ms, now_us);
}

bool budget_table_report(struct budget_table *t, uint64_t mono_ms, int64_t wall_us,
                         struct budget_report *r)
{
    if (!t->streaming || t->under_way)
        return false;
    table_drain_asks(t, mono_ms, wall_us);
    r->report_no = t->report_no + 1;
    r->lease_epoch = atomic_load(&t->epoch);
    r->echo_begin = r->echo_end = false;
    r->usage_count = r->final_count = 0;
    r->final_epoch = 0;
    r->final_exact = r->final_last = false;
    table_report_final(t, r);
    if (r->lease_epoch != 0) {
        report_asks(t, r, mono_ms, wall_us);
        report_slots(t, r, mono_ms, table_now_us(t, wall_us));
    }
    bool first = t->report_no == 0;
    if (!first && r->usage_count == 0 && r->final_epoch == 0 && !r->echo_begin && !r->echo_end &&
        mono_ms - t->sent_ms < TABLE_CONTACT_MS)
        return false;
    t->report_no = r->report_no;
    t->sent_ms = mono_ms;
    t->under_way = true;
    return true;
}
