/* utility.h: what policy.c and explain.c share: one candidate's utility and who is greedy. Private
 * to this folder. */
#ifndef STEELYARD_COMMON_ROUTE_UTILITY_H
#define STEELYARD_COMMON_ROUTE_UTILITY_H

#include "common/route/policy.h"

__extension__ typedef __int128 utility_i128;

/* Floor shift of a product that is never negative here, then saturated into int64. */
static inline int64_t utility_part(int64_t rate, int64_t amount, unsigned shift)
{
    utility_i128 part = ((utility_i128)rate * amount) >> shift;
    return part > POLICY_U_MAX ? POLICY_U_MAX : (int64_t)part;
}

static inline int64_t utility_of(uint32_t q, int64_t cost, uint32_t lat_ms, int64_t lambda,
                                 int64_t mu)
{
    /* Each part is at most 2^62, so their sum fits before it is saturated. */
    utility_i128 u = (utility_i128)((int64_t)q << 20) - utility_part(lambda, cost, 24) -
                     utility_part(mu, lat_ms, 8);
    return u < -POLICY_U_MAX ? -POLICY_U_MAX : (int64_t)u;
}

/* Cost of every candidate as U counts it: an unknown price as the dearest known one, 0 if none is.
 */
void utility_costs(const struct policy_row *row, uint32_t count, int64_t *out_cost);
/* Position of the highest U among those not excluded; ties: lower cost, then lower position. */
uint32_t utility_argmax(const struct policy_row *row, const int64_t *u, const int64_t *cost,
                        uint32_t count);

#endif
