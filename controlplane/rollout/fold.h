/* fold.h: takes what nodes reported of a rollout since the last fold, each row once, and gives it
 * to the guards. A row of canary_obs carries the number of its transaction; a fold takes those
 * below the oldest transaction that still runs and not below where the last fold ended. All of them
 * have ended by then, so no row can appear behind the mark, however late its transaction commits,
 * and nothing waits for a time that is long enough. A vote counts at the fold that sees the later
 * of vote and decision.
 *
 * Blocking: on a worker's connection, in a leader's transaction, with the rollout's row locked. */
#ifndef STEELYARD_CONTROLPLANE_ROLLOUT_FOLD_H
#define STEELYARD_CONTROLPLANE_ROLLOUT_FOLD_H

#include "controlplane/rollout/store.h"

#define FOLD_ROWS_MAX 50000U /* Of one fold; the rest is taken by the next. */

struct fold_result {
    uint64_t rows, votes;
    bool more;          /* There is more to fold at once. */
    bool went_back;     /* The database numbers its transactions anew (restored from a dump). */
    int64_t waiting_us; /* Wall time of the oldest row that cannot be folded yet; 0: none. */
};

/* Changes guards, counts, fold and folded_xid of r; the caller saves them in the same transaction.
 */
int rollout_fold(struct pq_conn *c, struct rollout *r, int64_t now_us, uint64_t term,
                 struct fold_result *out, struct err *err) MUST_CHECK;

#endif
