/* pace.h: lambda follows a spend target (LEARNING-AND-CONTROL 6.4), how much is explored (6.7),
 * when to train again (6.8). Pure. */
#ifndef STEELYARD_CONTROLPLANE_EVIDENCE_PACE_H
#define STEELYARD_CONTROLPLANE_EVIDENCE_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define PACE_GAIN      0.2
#define PACE_ERROR_MAX 0.5
#define PACE_STEP_MAX  0.10 /* Of lambda, up or down. */
#define PACE_DEAD_BAND 0.02 /* Of the target: within it lambda stays. */
#define PACE_ENVELOPE  2    /* The approved lambda divided and multiplied by this. */

struct pace_envelope {
    int64_t low;
    int64_t high;
};
/* Around the lambda of the version that a person or a rollout has approved. */
struct pace_envelope pace_envelope_of(int64_t approved_lambda);

/* lambda * exp(0.2 * clip(spend / target - 1, +-0.5)), at most a tenth up or down, within the
 * envelope. spend and target in the same unit. The same lambda: nothing to do (also for a target or
 * lambda that is not positive). */
int64_t pace_lambda(int64_t lambda, double spend, double target,
                    const struct pace_envelope *envelope);

#define EXPLORE_REQUESTS_MIN 50  /* Of the account's day; fewer tell nothing. */
#define EXPLORE_LOOKS        288 /* A day. */
#define EXPLORE_REFILL       0.5 /* An empty account is open again when so much of it is used. */

/* The account of exploration (6.7): what exploring added to the last day's spend, against a share
 * of it. */
struct explore_account {
    uint64_t requests; /* Of the last day, ... */
    uint64_t explored; /* ... and those that explored. */
    double spend;      /* Same unit as extra. */
    double extra;
    double share; /* Of spend that extra may be. */
};
/* Largest chance of exploring now, of 2^32: `cap`, or 0 while the account is empty. It is empty
 * when extra, with what it would grow by before the next look, is above its share, and stays so
 * until half of the share is free; current 0: it was. */
uint32_t pace_explore(const struct explore_account *account, uint32_t cap, uint32_t current);

#define RETRAIN_LABELS_MIN   500
#define RETRAIN_SHARE_MIN    0.10 /* Of the rows that the version in service learned from. */
#define RETRAIN_DRIFT_LABELS 100
#define RETRAIN_WAIT_S       3600 /* At least, between two runs that drift asked for. */

struct retrain_facts {
    uint64_t every_s;    /* 0: never by itself. */
    uint64_t since_s;    /* Since the last run, whatever became of it. */
    uint64_t new_labels; /* Since then. */
    uint64_t rows;       /* That the last version learned from. */
    bool drifted;        /* Since then. */
};
enum retrain_reason { RETRAIN_NOT, RETRAIN_SCHEDULE, RETRAIN_DRIFT };
enum retrain_reason retrain_due(const struct retrain_facts *facts);

#endif
