/* The first attempt is fixed, its worst case is reserved on all budgets, and its intent is in the
 * spool, before any byte goes upstream (promises P1, P3). */
#include "dataplane/request/attempt.h"
#include "dataplane/request/charge.h"
#include "dataplane/request/entry.h"
#include "dataplane/request/steps.h"

/* How long a request waits for the spool's writer, whom a busy disk can keep waiting: the ring
 * holds what some hundred milliseconds of full load bring. */
#define ROOM_WAIT_MS 1000U

static void count_wait(struct request *r, const char *outcome)
{
    const struct str labels[] = {str_from(outcome)};
    metrics_inc(meter(&r->env->meters, METER_SPOOL_WAITS, labels));
}

/* Before anything is taken for it, so that there is nothing to give back. */
static bool waits_for_room(struct request *r)
{
    uint64_t *until_ms = &r->work->room_until_ms;
    const uint64_t now_ms = r->now_ns / 1000000;
    if (!spool_is_behind(r->env->spool)) {
        if (*until_ms != 0)
            count_wait(r, "room");
        *until_ms = 0;
        return false;
    }
    if (*until_ms == 0)
        *until_ms = now_ms + ROOM_WAIT_MS;
    if (now_ms >= *until_ms) { /* spool_intent refuses it. */
        count_wait(r, "in_vain");
        return false;
    }
    request_poll(r);
    return true;
}

/* What was affordable when it was weighed may not be any more, or not at the deployment that was
 * drawn: then the next candidate. ERR_NOT_FOUND: nobody is there. */
static int pick_affordable(struct request *r)
{
    if (!attempt_pick(r))
        return ERR_NOT_FOUND;
    if (r->charge == NULL)
        return 0;
    int rc;
    do {
        rc = charge_take(r);
    } while (rc == ERR_LIMIT && attempt_pick_other(r));
    return rc;
}

static enum step_result refuse(struct request *r, int rc)
{
    switch (rc) {
    case ERR_NOT_FOUND:
        if (r->wait_known)
            r->detail.wait_ms = r->wait_ms;
        return request_fail(r, FAULT_NO_UPSTREAM);
    case ERR_LIMIT:
        return charge_refuse(r);
    case ERR_NOMEM:
        return request_fail(r, FAULT_OVERLOAD);
    default:
        meters_reject(&r->env->meters, "budget");
        r->detail.wait_ms = 1000;
        return request_fail(r, FAULT_BUDGET_UNKNOWN);
    }
}

enum step_result step_reserve(struct request *r)
{
    __attribute__((uninitialized)) struct record_decision d;
    if (r->charge != NULL && charge_sleeps(r))
        return STEP_WAIT;
    if (!r->client_gone && waits_for_room(r))
        return STEP_WAIT;
    if (r->client_gone) { /* While it waited. */
        r->outcome = RECORD_STATUS_CANCELLED;
        return STEP_FAIL;
    }
    int rc = pick_affordable(r);
    if (rc == ERR_LIMIT && charge_wait(r)) {
        r->at_position = POLICY_NONE;
        r->work->failed_mask = 0;
        return STEP_WAIT;
    }
    if (rc != 0)
        return refuse(r, rc);
    if (r->charge != NULL)
        charge_woken(r);
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
