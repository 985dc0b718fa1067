/* grant.h: what a node gets of a budget. Pure: rows and a report go in, changed rows come out; who
 * calls it holds the rows' locks and writes them back in the same transaction (lease_store.h).
 *
 * Invariants of every function, whatever is reported:
 *   committed = sum over allocations of (g - r), changed here by exactly what g and r change;
 *   g, s and r never fall, g >= s + r;
 *   g is raised above what the node already has only while committed <= limit - adjust.
 * Money is nano-USD, times unix microseconds. */
#ifndef STEELYARD_CONTROLPLANE_BUDGETS_GRANT_H
#define STEELYARD_CONTROLPLANE_BUDGETS_GRANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GRANT_MIN_SHIFT     10 /* min_grant = limit >> 10, at least 1. */
#define GRANT_FENCE_AFTER_S 3600U
#define GRANT_STREAM_MAX_S  900U     /* D_max: how long a request may still run after the fence. */
#define GRANT_SOFT_LEARN_US 30000000 /* Soft budgets wait so long after a failover. */
#define GRANT_ACTIVE_US     60000000 /* A node that reported within this counts for the share. */

enum grant_state {
    GRANT_ACTIVE = 0,
    GRANT_CLOSED = 1, /* The life ended and said so; or a soft one was lost; or released. */
    GRANT_LOST = 2,   /* Silent beyond fence and D_max; strict: still committed. */
};

/* One (budget, period, cfg). */
struct grant_period {
    int64_t limit;
    int64_t adjust; /* Signed: posted corrections, debt carried over. Counts as spent. */
    int64_t committed;
    int64_t settled; /* sum of s */
};
/* One life's allocation of it. */
struct grant_row {
    int64_t g, s, r;
    int64_t overage; /* Reported after closing, beyond what was committed for it. */
    enum grant_state state;
};
struct grant_usage {
    int64_t settled, returned, reserved, want, need, granted;
};
struct grant_context {
    uint32_t active_nodes; /* Holding or asking, this one included; 0 counts as 1. */
    int64_t recallable;    /* What others hold above `keep`, as far as known. */
    bool learning;         /* After a failover: no grants yet. */
};
struct grant_answer {
    int64_t granted; /* By how much g was raised as a grant. */
    int64_t deficit; /* Recall so much from others; 0: none. */
    bool exhausted;  /* Nothing left, nothing to recall: waiting is of no use. */
    bool recalling;  /* Ask again soon. */
};

/* Is this a report that a node could send: nothing negative, no sum that overflows. */
bool grant_usage_valid(const struct grant_usage *u);
int64_t grant_min(int64_t limit);
/* Merges a report and grants what may be granted (LEARNING-AND-CONTROL 3.7 step 2). A closed or
 * lost row is merged and gets nothing. */
struct grant_answer grant_report(struct grant_period *p, struct grant_row *row,
                                 const struct grant_usage *u, const struct grant_context *c);
/* The life ended with these counters (u NULL: it never used this row). exact or soft: what is left
 * is free again; else it stays committed and the row is lost. */
void grant_final(struct grant_period *p, struct grant_row *row, const struct grant_usage *u,
                 bool exact, bool strict);
/* No contact for fence_after and D_max. */
void grant_lose(struct grant_period *p, struct grant_row *row, bool strict);
/* An operator says that a lost life will not come back. */
void grant_release(struct grant_period *p, struct grant_row *row);

/* Others' holdings, for the choice whom to recall from. */
struct grant_holding {
    int64_t outstanding; /* g - s - r */
    int64_t reserved;    /* As last reported. */
    bool chosen;         /* Out. */
};
/* Marks the holders with the most above keep until they cover the deficit. Returns what they hold
 * above keep. */
int64_t grant_recall(struct grant_holding *holdings, size_t count, int64_t keep, int64_t deficit);

#endif
