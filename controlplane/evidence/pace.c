#include "controlplane/evidence/pace.h"

#include <math.h>

#include "common/route/artifact.h"

struct pace_envelope pace_envelope_of(int64_t approved_lambda)
{
    int64_t lambda = approved_lambda > 0 ? approved_lambda : 0;
    return (struct pace_envelope){.low = lambda / PACE_ENVELOPE,
                                  .high = lambda > ARTIFACT_LAMBDA_MAX / PACE_ENVELOPE
                                              ? ARTIFACT_LAMBDA_MAX
                                              : lambda * PACE_ENVELOPE};
}

int64_t pace_lambda(int64_t lambda, double spend, double target,
                    const struct pace_envelope *envelope)
{
    if (lambda <= 0 || !(target > 0) || !(spend >= 0) || isinf(spend))
        return lambda;
    double error = spend / target - 1;
    if (fabs(error) <= PACE_DEAD_BAND)
        return lambda;
    double factor = exp(PACE_GAIN * fmin(fmax(error, -PACE_ERROR_MAX), PACE_ERROR_MAX));
    factor = fmin(fmax(factor, 1 - PACE_STEP_MAX), 1 + PACE_STEP_MAX);
    double wanted = floor((double)lambda * factor);
    int64_t low = envelope->low;
    int64_t high = envelope->high;
    /* From outside (the envelope has moved) the way back is by steps too. */
    if (lambda < low || lambda > high) {
        double edge = lambda < low ? (double)low : (double)high;
        double up = (double)lambda * (1 + PACE_STEP_MAX);
        double down = (double)lambda * (1 - PACE_STEP_MAX);
        return llrint(fmin(fmax(edge, down), up));
    }
    return wanted <= (double)low ? low : wanted >= (double)high ? high : llrint(wanted);
}

uint32_t pace_explore(const struct explore_account *account, uint32_t cap, uint32_t current)
{
    if (!(account->share > 0))
        return 0;
    if (account->requests < EXPLORE_REQUESTS_MIN)
        return cap;
    double most = account->share * account->spend;
    double each = account->explored > 0 ? account->extra / (double)account->explored : 0;
    double next = cap / 4294967296.0 * (double)account->requests / EXPLORE_LOOKS * each;
    if (account->extra + next > most)
        return 0;
    return current == 0 && account->extra > EXPLORE_REFILL * most ? 0 : cap;
}

enum retrain_reason retrain_due(const struct retrain_facts *f)
{
    double share = RETRAIN_SHARE_MIN * (double)f->rows;
    uint64_t enough = share > RETRAIN_LABELS_MIN ? (uint64_t)share : RETRAIN_LABELS_MIN;
    if (f->every_s == 0)
        return RETRAIN_NOT;
    if (f->drifted && f->since_s >= RETRAIN_WAIT_S && f->new_labels >= RETRAIN_DRIFT_LABELS)
        return RETRAIN_DRIFT;
    return f->since_s >= f->every_s && f->new_labels >= enough ? RETRAIN_SCHEDULE : RETRAIN_NOT;
}
