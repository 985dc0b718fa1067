/* limits.h: requests a minute, tokens a minute and requests at once of keys, teams and
 * organisations, as far as this node may let them through. Workers admit and settle; the control
 * thread tells the plane what was asked for and applies the shares that come back
 * (docs/decisions/0155). A share is a part of the limit, so that the plane need not know limits and
 * a changed limit needs no new share.
 *
 * What is in force for an account here:
 *   - no share of its own: the safe share, a part of every limit that no other node counts on;
 *   - a share of the plane: until its time is over (LIMITS_TTL), then no more than the safe share,
 *     and the safe share itself only LIMITS_HOLD after it came: by then every larger share that
 *     others got in its place is over;
 *   - before this life's first answer: nothing but the one request that always fits; LIMITS_HOLD
 *     after the start, without a plane, the safe share of the last life.
 *
 * Workers' calls take no lock, allocate nothing and wait for nobody; slots are never moved. Times
 * are monotonic nanoseconds and passed in. */
#ifndef STEELYARD_DATAPLANE_LIMITS_LIMITS_H
#define STEELYARD_DATAPLANE_LIMITS_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "dataplane/limits/bucket.h"

#define LIMITS_PATH_MAX   17U /* The key and the accounts of its path. */
#define LIMITS_SLOTS_MAX  262144U
#define LIMITS_REPORT_MAX 8192U /* Accounts in one message. */
#define LIMITS_TTL_NS     UINT64_C(10000000000)
#define LIMITS_HOLD_NS    UINT64_C(20000000000)

enum limits_kind { LIMITS_REQUESTS, LIMITS_TOKENS, LIMITS_CONCURRENCY, LIMITS_KINDS };

struct limits_table;
struct limits_slot; /* One account; stays where it is for the life of the process. */

/* ---- workers: any thread ---- */

/* What an account is limited to; 0: not. */
struct limits_values {
    uint64_t requests_per_min;
    uint64_t tokens_per_min;
    uint64_t concurrency;
};

/* What a request holds. count 0: nothing limits it, all of these are free. */
struct limits_hold {
    uint32_t count;
    bool admitted;
    bool answered;   /* Its concurrency was given back before the rest. */
    uint64_t tokens; /* Debited at admission. */
    struct limits_slot *slots[LIMITS_PATH_MAX];
};

/* Adds an account of the path. generation: of the snapshot that says so; the newest one counts.
 * ERR_LIMIT: the table is full, the account can not be limited here: refuse. An account that is
 * there twice is taken once. */
int limits_find(struct limits_table *t, uint64_t account, const struct limits_values *values,
                uint64_t generation, uint64_t now_ns, struct limits_hold *hold) MUST_CHECK;

struct limits_refusal {
    enum limits_kind kind; /* What is waited for longest. */
    uint64_t wait_ns;      /* Until this request would be let through here, all else being equal. */
};
/* All accounts or none. false: nothing is held. */
bool limits_admit(struct limits_hold *hold, uint64_t tokens, uint64_t now_ns,
                  struct limits_refusal *out_refusal);
/* Once for a request that was admitted, also if it failed: it is no longer under way, and what it
 * really took replaces the estimate. */
void limits_settle(struct limits_hold *hold, uint64_t tokens, uint64_t now_ns);
/* Before that, at most once: its caller has the answer and may ask again, though what it took is
 * not known yet. */
void limits_answered(struct limits_hold *hold);

/* For the headers of an answer: of the account with the least left. limit 0: not limited. */
struct limits_view {
    uint64_t limit; /* Of the account, on all nodes together. */
    uint64_t remaining;
    uint64_t full_in_ns;
};
void limits_look(const struct limits_hold *hold, enum limits_kind kind, uint64_t now_ns,
                 struct limits_view *out_view);

/* ---- the control thread ---- */

/* slots_max 0: LIMITS_SLOTS_MAX. NULL: out of memory. */
struct limits_table *limits_create(uint32_t slots_max, uint64_t now_ns);
void limits_destroy(struct limits_table *t);
/* No plane shares anything out: everything is ours. */
void limits_alone(struct limits_table *t, uint64_t now_ns);
/* The safe share of the last life, for when no plane answers. */
void limits_remember(struct limits_table *t, uint32_t safe, uint32_t nodes);
uint32_t limits_safe(const struct limits_table *t); /* In force, or remembered. */
uint32_t limits_nodes(const struct limits_table *t);

struct limits_demand { /* Of an account: parts of its limits, of BUCKET_SHARE_ONE; may be above. */
    uint64_t account;
    uint32_t want[LIMITS_KINDS];
    uint32_t held; /* Requests under way. */
};
struct limits_share {
    uint64_t account;
    uint32_t share[LIMITS_KINDS];
};
struct limits_report {
    uint64_t report_no;
    uint64_t term;    /* The highest one that was heard. */
    uint64_t applied; /* Number of the last answer that was applied; 0: none in this life. */
    uint32_t safe;
    uint32_t nodes;
    uint32_t count;
    struct limits_demand demands[LIMITS_REPORT_MAX];
};
struct limits_answer {
    uint64_t report_no; /* The report it answers: its time runs from when that was sent. */
    uint64_t answer_no; /* Rising within a term. */
    uint64_t term;
    uint32_t safe;
    uint32_t nodes; /* That the plane counts with. */
    uint32_t count; /* Accounts that are not named have no share of their own any more. */
    const struct limits_share *shares;
};
/* Everything that was asked for of late. */
void limits_report(struct limits_table *t, uint64_t now_ns, struct limits_report *out_report);
/* true: something is asked for or shared out; else reports need not be frequent. */
bool limits_busy(const struct limits_table *t);
/* false: of an older term, out of order, or for a report that is forgotten; nothing changed. */
bool limits_apply(struct limits_table *t, const struct limits_answer *answer, uint64_t now_ns);
/* Several times a second. */
void limits_tick(struct limits_table *t, uint64_t now_ns);

struct limits_stats {
    uint64_t accounts;     /* Slots in use. */
    uint64_t shared;       /* Of these, with a share of their own. */
    uint64_t full;         /* Requests that met a full table. */
    uint64_t answers_past; /* Answers that were not applied. */
};
void limits_get_stats(const struct limits_table *t, struct limits_stats *out_stats);

#endif
