/* Is there room? Answered at once, before anything that costs (RELIABILITY F21, F24). The limits of
 * keys (rates, budgets, concurrency) have their place here once the control plane sends them. */
#include "dataplane/request/steps.h"

enum step_result step_admit(struct request *r)
{
    struct request_env *env = r->env;
    retry_budget_request(&env->retries, r->start_ns / 1000000);
    if (env->shedding) {
        meters_reject(&env->meters, "overload");
        return request_fail(r, FAULT_OVERLOAD);
    }
    if (atomic_load_explicit(&env->shared->ending, memory_order_relaxed)) {
        meters_reject(&env->meters, "draining");
        return request_fail(r, FAULT_UNAVAILABLE);
    }
    return STEP_NEXT;
}
