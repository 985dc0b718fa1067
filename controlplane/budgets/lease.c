#include "controlplane/budgets/lease.h"

/* After a failover the tables may be older than what nodes were given. Strict budgets wait until
 * all have said what they hold; soft ones a while. A life that the failover may have forgotten
 * altogether has been given nothing strict yet: it was young. */
static bool learning(const struct lease_item *i, const struct lease_moment *m)
{
    bool failed_over = m->failover_us != 0;
    if (!i->strict)
        return failed_over && m->now_us - m->failover_us < GRANT_SOFT_LEARN_US;
    return m->young || (failed_over && m->unechoed);
}

void lease_decide(struct lease_item *i, const struct lease_moment *m)
{
    bool over = i->end_us <= m->now_us;
    bool stale = i->cfg != i->cfg_now;
    struct grant_usage u = i->usage;
    int64_t keep = grant_min(i->period.limit);
    struct grant_context c = {
        .active_nodes = i->others_active + 1,
        .recallable = grant_recall(i->others, i->other_count, keep, 0),
        .learning = learning(i, m),
    };
    if (over || stale || !i->known)
        u.want = u.need = 0;
    struct grant_answer a = grant_report(&i->period, &i->row, &u, &c);
    if (over || stale || !i->known)
        a = (struct grant_answer){0};
    if (a.deficit > 0)
        (void)grant_recall(i->others, i->other_count, keep, a.deficit);
    bool lowered = i->period.committed > i->period.limit - i->period.adjust && !over;
    int64_t outstanding = i->row.g - i->row.s - i->row.r;
    i->alloc = (struct lease_alloc){
        .budget = i->budget,
        .start_us = i->start_us,
        .end_us = i->end_us,
        .cfg = i->cfg,
        .exhausted = a.exhausted,
        .recalling = a.recalling,
        .recall = lowered && outstanding - u.reserved > keep,
        .keep = keep,
        .unknown = !i->known,
        .stale = stale && i->known,
        .granted = i->row.g,
        .limit = i->period.limit - i->period.adjust,
        .spent_others = i->period.settled - i->row.s,
        .offline = i->known ? i->offline : 0,
    };
    if (i->alloc.limit < 1)
        i->alloc.limit = 1; /* Corrections ate it: full pressure. */
    i->tell = i->row.state == GRANT_ACTIVE && (!over || i->row.g > u.granted);
}
