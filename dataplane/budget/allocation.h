/* allocation.h: this node's slices of budgets. Workers reserve the worst case of a request on up to
 * sixteen budgets at once, before anything is sent, and settle it once; the control thread reports
 * what was used, takes grants, gives back what is recalled, and stops when the plane was silent for
 * too long (docs/decisions/0130).
 *
 * The counters of a slot live in a file that is mapped shared, so that they survive kill -9 without
 * a system call (slot_file.h). They are 64-bit atomics; the order of stores keeps every prefix of
 * them on the safe side: at any moment granted + offline - returned - free is at least what was
 * settled plus the open reservations in full.
 *
 *   free = granted + offline - returned - settled - reserved       (reserved is not stored)
 *
 * Money is nano-USD. Times are passed in: `mono_ms` a monotonic clock, `wall_us` unix time that
 * does not jump (clock_steady_us). Nothing in here waits, locks or talks to anybody; workers' calls
 * allocate nothing. */
#ifndef STEELYARD_DATAPLANE_BUDGET_ALLOCATION_H
#define STEELYARD_DATAPLANE_BUDGET_ALLOCATION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/crypto/uuid.h"

#define BUDGET_PATH_MAX     16U
#define BUDGET_AMOUNT_MAX   (INT64_C(1) << 60) /* Of a reservation or a cost. */
#define BUDGET_PRESSURE_ONE 65536U
#define BUDGET_REPORT_MAX   512U /* Usages of one message. */
#define BUDGET_FOREVER_US   INT64_MAX

struct budget_table;
struct budget_slot; /* One budget in one period; stays mapped for the life of the process. */

/* ---- workers: any thread ---- */

/* A slot as it was found. Copy freely; of no use after the request. */
struct budget_ref {
    struct budget_slot *slot;
    uint64_t tag; /* A slot that was given to another budget since is not charged. */
};

/* What a request holds. Lives in the request; all fields are read-only for its owner, who fills
 * count and ref by budget_find before the first reserve. count 0: nothing is charged, all succeed.
 */
struct budget_reservation {
    uint64_t lease_epoch; /* For the decision's record. */
    int64_t amount;       /* Reserved on each slot; 0: none, or settled. */
    uint32_t count;
    struct budget_ref ref[BUDGET_PATH_MAX];
};

/* For the decision's record: what exactly is charged. */
struct budget_charge {
    uint64_t budget;
    int64_t period_start_us;
    uint32_t cfg;
};

/* The slot of this budget's running period. ERR_NOT_FOUND: this node holds nothing of it yet:
 * budget_ask, park the request, retry. A few loads. */
int budget_find(const struct budget_table *t, uint64_t budget, int64_t wall_us,
                struct budget_ref *out_ref) MUST_CHECK;
struct budget_charge budget_ref_charge(const struct budget_ref *ref);
int64_t budget_ref_free(const struct budget_ref *ref);   /* May be below 0. */
int64_t budget_ref_end_us(const struct budget_ref *ref); /* Of its period; or BUDGET_FOREVER_US. */
/* How much of the limit is spent or reserved, as far as known here: 0..BUDGET_PRESSURE_ONE. */
uint32_t budget_ref_pressure(const struct budget_ref *ref);
/* The largest of several; 0 for none. */
uint32_t budget_pressure(const struct budget_ref *refs, uint32_t count);

/* Takes `amount` (0..BUDGET_AMOUNT_MAX) from every slot or from none. r->amount must be 0.
 * ERR_LIMIT: some slot has less; *out_free (may be NULL) is the smallest free of all of them, for
 * the affordability clamp, at least 0. ERR_AGAIN: a period or a life of the node ended in between:
 * find again. ERR_UNAVAILABLE: the plane was silent for too long, what is held here is not used. */
int budget_reserve(struct budget_table *t, struct budget_reservation *r, int64_t amount,
                   uint64_t mono_ms, int64_t *out_free) MUST_CHECK;
/* More for the same request: a retry, a fallback, the next slice of a stream. Errors as above; what
 * is held stays. Allowed after the period has ended: a request is charged where it was admitted. */
int budget_extend(struct budget_table *t, struct budget_reservation *r, int64_t more,
                  uint64_t mono_ms, int64_t *out_free) MUST_CHECK;
/* Gives back what will not be needed, down to `amount` <= r->amount (an attempt that cost less). */
void budget_shrink(struct budget_reservation *r, int64_t amount);
/* Once for every successful reserve: the reservation ends, `cost` (0..BUDGET_AMOUNT_MAX; it may
 * exceed the reservation) is spent. r->count becomes 0. */
void budget_settle(struct budget_reservation *r, int64_t cost);

/* "Please ask now": a request of `need` waits. 0: asked, wait until budget_generation has changed
 * and retry. ERR_LIMIT: the plane said that nothing is left. ERR_UNAVAILABLE: no contact with the
 * plane: no grant can come in time. (In both cases the need is noted and goes up with the next
 * report; an offline allowance appears as a new generation.) ERR_BUSY: too many unknown budgets
 * wait at once. */
int budget_ask(struct budget_table *t, uint64_t budget, int64_t need) MUST_CHECK;
/* Has the plane said that nothing is left of it? It does not ask. */
bool budget_refused(const struct budget_table *t, uint64_t budget);
/* Has it said that what is left is with other nodes, which have to give some of it back first? True
 * until it gives more, or says that nothing is left. */
bool budget_recalled(const struct budget_table *t, uint64_t budget);
/* Rises whenever a grant arrived or an answer came for which somebody may wait. */
uint64_t budget_generation(const struct budget_table *t);

/* ---- the control thread ---- */

struct budget_table_options {
    const char *dir; /* Made if missing; belongs to one process at a time. */
    struct uuid node_id;
    struct uuid boot_id; /* Changes when the host starts (budget_boot_id). */
    uint32_t slots_max;  /* 0: 262144. Budgets times periods held at once. */
};
struct budget_recovery {
    uint32_t epochs;     /* Earlier lives, to be reported as final. */
    uint32_t host_crash; /* Of these: of an earlier boot, whose last stores may be missing. */
    uint32_t slots;
    uint32_t quarantined; /* Files that could not be read; renamed to *.bad. */
};
/* Blocking, at start-up. ERR_CONFLICT: another process has the directory. ERR_NO_SPACE and other
 * errors of the disk: a priced request could not be written down, so there is no table. */
int budget_table_create(const struct budget_table_options *options, struct budget_table **out_table,
                        struct budget_recovery *out_recovery, struct err *err) MUST_CHECK;
/* Leaves the files for the next start. No worker may use the table any more. NULL is allowed. */
void budget_table_destroy(struct budget_table *t);
/* Called by a worker's thread when a report should go out now; must be thread-safe (a
 * uv_async_send). NULL: none. Only while no worker uses the table. */
void budget_table_set_wake(struct budget_table *t, void (*wake)(void *user), void *user);
void budget_boot_id(struct uuid *out); /* Of this host; zeros if it has none. */

struct budget_usage { /* budget.proto's Usage. */
    uint64_t budget;
    int64_t period_start_us;
    uint32_t cfg;
    bool next;
    int64_t settled, returned, reserved, want, need, granted;
};
struct budget_alloc { /* Alloc. */
    uint64_t budget;
    int64_t period_start_us, period_end_us;
    uint32_t cfg;
    bool exhausted, recall, unknown, stale, recalling;
    int64_t granted, keep, limit, spent_others, offline;
};
/* One message up. */
struct budget_report {
    uint64_t report_no;
    uint64_t lease_epoch;
    bool echo_begin, echo_end;
    uint32_t usage_count;
    struct budget_usage usage[BUDGET_REPORT_MAX];
    /* A piece of one earlier life; final_epoch 0: none. */
    uint64_t final_epoch;
    bool final_exact, final_last;
    uint32_t final_count;
    struct budget_usage final[BUDGET_REPORT_MAX];
};
/* One message down, without its allocs. */
struct budget_answer {
    uint64_t acked_report;
    uint64_t lease_epoch;
    uint64_t epoch_closed;
    bool echo;
    int64_t now_us;
    uint32_t fence_after_s;
};

uint64_t budget_table_epoch(const struct budget_table *t);
/* A stream was opened: report numbers begin again and everything is told once. */
void budget_table_opened(struct budget_table *t);
void budget_table_lost(struct budget_table *t); /* The stream is gone. */
/* Fills the next message if there is one to send: an ask is answered at once, changes every second,
 * and an empty one every ten seconds, as contact. false: nothing now. At most one is under way;
 * after five seconds without an answer the stream should be given up (budget_table_overdue). */
bool budget_table_report(struct budget_table *t, uint64_t mono_ms, int64_t wall_us,
                         struct budget_report *out_report);
bool budget_table_overdue(const struct budget_table *t, uint64_t mono_ms);
/* A message came down. Apply each alloc after it; false: it is for another life, drop its allocs.
 */
bool budget_table_answered(struct budget_table *t, const struct budget_answer *answer,
                           uint64_t mono_ms, int64_t wall_us);
/* ERR_NO_SPACE, ERR_LIMIT: no slot could be added, the budget stays unknown here; ERR_NOMEM. */
int budget_table_apply(struct budget_table *t, const struct budget_alloc *alloc, uint64_t mono_ms,
                       int64_t wall_us) MUST_CHECK;
/* Several times a second: the fence, outages, ended periods, drained lives. */
void budget_table_tick(struct budget_table *t, uint64_t mono_ms, int64_t wall_us);
/* In an orderly end, when no request is open any more and no worker runs: everything free is given
 * back, so that the next reports (or the next start, if none gets through) return it. */
void budget_table_retire(struct budget_table *t);
/* Everything that ended was acknowledged: nothing is left to say. */
bool budget_table_idle(const struct budget_table *t);

struct budget_table_stats {
    uint64_t slots;          /* In use. */
    uint64_t epochs;         /* Earlier lives that are not acknowledged yet. */
    uint64_t asks;           /* For which an answer, or the time to ask again, is waited. */
    uint64_t grants;         /* Allocs that raised something. */
    uint64_t recalls;        /* Carried out. */
    uint64_t fences;         /* Times that the plane was silent for too long. */
    uint64_t epochs_closed;  /* Times that the plane closed this node's life. */
    uint64_t refused_slots;  /* No space, no memory, no room. */
    int64_t credited;        /* Offline allowances of all outages, nano-USD. */
    int64_t clock_offset_us; /* Of the plane's clock; 0: below five seconds. */
    bool fenced;
    bool in_contact;
};
void budget_table_get_stats(const struct budget_table *t, struct budget_table_stats *out_stats);

#endif
