/* charge.h: the money of a request. Its worst case is taken from every budget on its path before
 * anything is sent, and what it came to is settled once, with its record (docs/budgets.md).
 *
 *   opened (admit) -> weighed (decide: what is not affordable is excluded) -> [asked, parked]
 *   -> held (reserve; more for each later attempt) -> settled (report)
 *
 * A request whose path has no budget has no struct charge and does nothing of this. Budgets of a
 * model's group belong to the attempts at that model, all others to the whole request. The worker's
 * thread; money is nano-USD. */
#ifndef STEELYARD_DATAPLANE_REQUEST_CHARGE_H
#define STEELYARD_DATAPLANE_REQUEST_CHARGE_H

#include "dataplane/budget/allocation.h"
#include "dataplane/request/charge_plan.h"
#include "dataplane/request/steps.h"

#define CHARGE_FLOOR_TOKENS 256U /* Less output than this is not worth its input. */
#define CHARGE_PARK_MS      150U /* RELIABILITY F35: how long a request waits for a grant. */

/* Budgets of the group of one model. */
struct charge_group {
    uint32_t position; /* Of the candidate. */
    struct budget_reservation held;
};

struct charge {
    bool settled;
    bool taken; /* Something was reserved: there is something to settle. */
    bool parked;
    bool asked_over; /* It has waited once, or there is no point in it. */
    uint32_t held_count;
    uint32_t group_count;
    uint32_t pressure_q16; /* When it was decided. */
    uint32_t clamp;        /* Output tokens asked for by the last attempt; 0: as the caller did. */
    uint64_t park_until_ms;
    uint64_t generation; /* Of the table, when it was last asked. */
    struct budget_reservation path;
    struct record_held held[REQUEST_ATTEMPTS_MAX];
    struct charge_group *groups; /* REQUEST_ATTEMPTS_MAX of them; NULL until one is needed. */
};

/* May the body go up before it is whole? Only if it is affordable without a clamp and if all
 * budgets are known by then. steering: of the head. */
bool charge_may_forward(const struct request *r, const struct snapshot_model *m,
                        const struct steering *steering);

/* Finds the budgets; r->charge stays NULL if there are none. */
enum step_result charge_open_path(struct request *r);
static inline enum step_result charge_open(struct request *r)
{
    return r->snapshot->accounts.count == 0 || r->path->free ? STEP_NEXT : charge_open_path(r);
}

/* Excludes the candidates that cannot be afforded and bounds the output of those that can be
 * afforded with less. false: somebody could serve but for the money. */
bool charge_weigh(struct request *r);
/* After that, or after charge_take: asks for more. true: wait (STEP_WAIT, and call it again). */
bool charge_wait(struct request *r);
/* The next two, and charge_settle, where r->charge is there.
 * true: it waits already, and nothing has come yet: wait on. */
bool charge_sleeps(struct request *r);
void charge_woken(struct request *r);         /* It waits no more: it can be served. */
enum fault charge_refusal(struct request *r); /* Why; fills r->detail. */
enum step_result charge_refuse(struct request *r);
/* By how much cost weighs more than the policy says. */
int64_t charge_lambda(struct request *r, int64_t lambda);

/* For the attempt that is picked and not yet opened: reserves its worst case at its deployment,
 * perhaps with less output. Once for every attempt. ERR_LIMIT: not affordable; ERR_UNAVAILABLE;
 * ERR_NOMEM. */
int charge_take(struct request *r) MUST_CHECK;
/* The same for an attempt beside one that runs: with as much output as that has, or not at all. */
int charge_take_beside(struct request *r) MUST_CHECK;
void charge_give_back(struct request *r); /* What was taken last; its attempt was not opened. */
/* The body of a request that went up early is whole: what it needs beyond its length is reserved,
 * too. ERR_LIMIT: it is not affordable. */
int charge_whole(struct request *r) MUST_CHECK;
/* Row and record of the attempt that is opened. */
static inline void charge_note(const struct request *r, struct record_attempt *row)
{
    if (r->charge != NULL && r->charge->held_count > 0)
        row->held = &r->charge->held[r->charge->held_count - 1];
}

/* The decision's part of it. */
void charge_fill(const struct request *r, struct record_decision *d);

/* Once, by what the rows say it cost. */
void charge_settle(struct request *r);
void charge_give(struct request *r); /* The memory. Settled, or nothing was taken. */
void charge_deinit(struct request_env *env);

#endif
