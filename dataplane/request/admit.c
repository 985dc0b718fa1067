/* Is there room? Answered at once, before anything that costs (RELIABILITY F21, F24). And whose
 * budgets will pay: what they have is weighed in `decide`. Rates and concurrency of keys and teams
 * come last: what is refused before takes nothing of them. */
#include "dataplane/request/charge.h"
#include "dataplane/request/steps.h"
#include "dataplane/request/throttle.h"

enum step_result step_admit(struct request *r)
{
    struct request_env *env = r->env;
    retry_budget_request(&env->shared->retries, env->lane, r->start_ns / 1000000);
    if (env->shedding) {
        meters_reject(&env->meters, "overload");
        return request_fail(r, FAULT_OVERLOAD);
    }
    if (atomic_load_explicit(&env->shared->ending, memory_order_relaxed)) {
        meters_reject(&env->meters, "draining");
        return request_fail(r, FAULT_UNAVAILABLE);
    }
    return charge_open(r) == STEP_NEXT ? throttle_admit(r) : STEP_FAIL;
}
