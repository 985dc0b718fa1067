/* table_internal.h: what allocation.c (workers), table.c (life, answers) and table_report.c share.
 */
#ifndef STEELYARD_DATAPLANE_BUDGET_TABLE_INTERNAL_H
#define STEELYARD_DATAPLANE_BUDGET_TABLE_INTERNAL_H

#include <stdatomic.h>

#include "common/base/list.h"
#include "dataplane/budget/allocation.h"
#include "dataplane/budget/slot_file.h"

#define TABLE_ASKS        1024U /* Budgets that wait for the control thread at once. */
#define TABLE_ASK_PROBES  16U
#define TABLE_ASK_CLAIMED UINT64_MAX

#define TABLE_PERIODIC_MS   1000U
#define TABLE_CONTACT_MS    10000U /* An empty report, when there is nothing to say. */
#define TABLE_OVERDUE_MS    5000U
#define TABLE_SILENT_MS     20000U /* No contact for so long: an outage. */
#define TABLE_AGAIN_MS      50U    /* After "recalling". */
#define TABLE_AGAIN_MAX     6U
#define TABLE_EXHAUSTED_MS  1000U /* An exhausted budget is asked for no oftener. */
#define TABLE_UNKNOWN_MS    5000U
#define TABLE_RUNWAY_S      300
#define TABLE_NEXT_US       60000000 /* The next period is asked for so long before, */
#define TABLE_NEXT_EVERY_MS 5000U
#define TABLE_GRACE_US      INT64_C(3600000000) /* A slot lives on so long after its period. */
#define TABLE_OFFSET_US     5000000
#define TABLE_TOLD_MS       600000U /* So long an acknowledged life is kept. */

/* A budget that this node has met. Never removed: readers need no lock. */
struct budget_entry {
    _Atomic uint64_t budget;               /* 0: empty. Written last. */
    _Atomic(struct budget_slot *) slot[2]; /* The running period's, and the next's. */
    _Atomic uint32_t refused;              /* The plane said: exhausted, or no such budget. */
    _Atomic bool recalled;                 /* The plane said: others have to give back first. */
};

struct budget_ask_cell {
    _Atomic uint64_t budget; /* 0: free. */
    _Atomic int64_t need;    /* The largest of them ... */
    _Atomic int64_t sum;     /* ... and all together. */
};

/* An ask on the control thread's side. */
struct pending_ask {
    uint64_t budget;
    int64_t need, sum;
    uint64_t due_ms;
    uint32_t tries;
    bool sent; /* In the report under way. */
};

/* What the control thread remembers of a slot of the running life. */
struct slot_shadow {
    int64_t told_settled, told_returned, told_reserved, told_granted;
    int64_t rate_per_s; /* Moving average of what is spent or reserved. */
    int64_t last_spent;
    int64_t offline_max;
    uint64_t next_asked_ms;
    uint64_t told_in; /* report_no */
    bool touch;       /* Report it in the next round whatever it says. */
    bool credited;    /* Got its credit in this outage. */
};

/* A life that ended, whose counters are not acknowledged yet. */
struct ended_life {
    struct list link;
    struct slot_file file;
    bool own;      /* Of this process. */
    bool draining; /* Open requests still settle to it. */
    bool told;     /* Acknowledged; kept a while, in case the database forgets it. */
    uint64_t told_ms;
    uint32_t cursor; /* Acknowledged so far. */
    uint32_t cursor_sent;
};

struct budget_table {
    struct budget_table_options options;
    void (*wake)(void *user);
    void *wake_user;
    char *dir;
    int lock_fd;
    uint32_t counter; /* The last epoch's upper half. */
    /* Shared with workers. */
    _Atomic uint64_t generation;
    _Atomic uint64_t fence_at_ms;
    _Atomic int64_t offset_us;
    _Atomic bool in_contact;
    _Atomic uint64_t epoch; /* 0: none, nothing is admitted. */
    struct budget_entry *entries;
    size_t space_bytes; /* Of entries, shadows and free_slots together. */
    uint32_t entry_mask;
    struct budget_ask_cell asks[TABLE_ASKS];
    _Atomic bool asked; /* Some cell may be in use. */
    /* The control thread's. */
    uint32_t entry_count;
    struct slot_file file;
    struct slot_shadow *shadows;
    uint32_t *free_slots; /* Indices that may be used again. */
    uint32_t free_count;
    uint64_t last_tag;
    struct list ended;
    struct pending_ask pending[TABLE_ASKS];
    uint32_t pending_count;
    bool streaming;
    bool retired;
    int life_rc; /* Why there is no running life. */
    bool under_way;
    uint64_t report_no;
    uint64_t sent_ms;
    uint64_t contact_ms; /* When the last acknowledged report was sent; 0: never. */
    uint64_t final_sent; /* Life of which the report under way has a piece. */
    bool final_last_sent;
    bool echo_wanted, echoing;
    uint32_t cursor; /* Of the echo or the periodic round. */
    bool rounding;
    bool hurry; /* A round is due now. */
    uint64_t round_ms;
    uint64_t slow_ms;
    uint32_t fence_after_s;
    bool fenced;
    struct budget_table_stats stats;
};

/* allocation.c */
struct budget_entry *table_entry(const struct budget_table *t, uint64_t budget);
void table_note(struct budget_table *t, uint64_t budget, int64_t need, int *out_rc);
/* What a slot says now, in one consistent view. */
struct budget_usage slot_usage(const struct budget_slot *slot);
/* Takes up to all of `free` above `keep` (never what is credit) and counts it as returned. */
int64_t slot_give_back(struct budget_slot *slot, int64_t keep);

/* table.c */
/* NULL: none. */
struct budget_slot *table_slot(const struct budget_table *t, uint64_t budget, int64_t wall_us);
void table_pend(struct budget_table *t, uint64_t budget, int64_t need, int64_t sum,
                uint64_t due_ms);
static inline int64_t table_sum(int64_t a, int64_t b) /* At most BUDGET_AMOUNT_MAX. */
{
    return a < BUDGET_AMOUNT_MAX - b ? a + b : BUDGET_AMOUNT_MAX;
}
void table_drain_asks(struct budget_table *t, uint64_t mono_ms, int64_t wall_us);

/* table_report.c: was this told, in a report that was sent? */
bool table_told(const struct slot_shadow *shadow, const struct budget_usage *u);

/* table_lives.c */
int table_recover(struct budget_table *t, struct budget_recovery *found,
                  struct err *err) MUST_CHECK;
int table_open_life(struct budget_table *t, struct err *err) MUST_CHECK;
void table_end_life(struct budget_table *t);
/* Those that were told are let go after a while. */
void table_drain_lives(struct budget_table *t, uint64_t mono_ms);
/* The database may have lost commits: what was told is told again. */
void table_retell_lives(struct budget_table *t);
void table_report_final(struct budget_table *t, struct budget_report *r);
void table_final_acked(struct budget_table *t);
void table_close_lives(struct budget_table *t);

static inline int64_t table_now_us(const struct budget_table *t, int64_t wall_us)
{
    return wall_us + atomic_load_explicit(&t->offset_us, memory_order_relaxed);
}

#endif
