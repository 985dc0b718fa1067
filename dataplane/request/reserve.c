/* The first attempt is fixed and its intent is in the spool, before any byte goes upstream (promise
 * P1). Budget leases will be taken here. */
#include "dataplane/request/attempt.h"
#include "dataplane/request/entry.h"
#include "dataplane/request/steps.h"

enum step_result step_reserve(struct request *r)
{
    struct record_decision d;
    if (!attempt_pick(r)) {
        if (r->wait_known)
            r->detail.wait_ms = r->wait_ms;
        return request_fail(r, FAULT_NO_UPSTREAM);
    }
    uint32_t timeout_ms = r->route != NULL ? r->route->timeout_ms : 0;
    if (timeout_ms == 0)
        timeout_ms = r->env->shared->settings.total_ms;
    r->deadline_ms = r->start_ns / 1000000 + timeout_ms;
    attempt_open(r);
    entry_fill_decision(r, &d);
    if (spool_intent(r->env->spool, &d, r->attempt.record, &r->intent, &r->position) != 0) {
        r->intent = NULL;
        attempt_abandon(r);
        meters_reject(&r->env->meters, "overload");
        return request_fail(r, FAULT_SPOOL);
    }
    return STEP_NEXT;
}
