#include "controlplane/rollout/machine.h"

#include <assert.h>

static struct rollout_edge stay(const struct rollout_place *place, enum rollout_reason reason)
{
    return (struct rollout_edge){.to = *place, .reason = reason};
}

/* To another state of the same stage. */
static struct rollout_edge go(const struct rollout_place *place, const struct rollout_facts *facts,
                              enum rollout_state state, enum rollout_reason reason)
{
    struct rollout_edge edge = {.changes = true, .to = *place, .reason = reason};
    edge.to.state = state;
    edge.to.state_since_ms = facts->now_ms;
    edge.to.why = reason;
    return edge;
}

/* A forward edge: to the next stage, or out of the last one. */
static struct rollout_edge advance(const struct rollout_config *config,
                                   const struct rollout_place *place,
                                   const struct rollout_facts *facts, enum rollout_reason reason)
{
    if (facts->frozen)
        return stay(place, ROLLOUT_REASON_FROZEN);
    const bool last = place->stage + 1 >= (int32_t)config->stages;
    struct rollout_edge edge =
        go(place, facts, last ? ROLLOUT_STATE_PROMOTED : ROLLOUT_STATE_CANARY, reason);
    if (!last) {
        edge.to.stage = place->stage + 1;
        edge.to.stage_since_ms = facts->now_ms;
    }
    return edge;
}

/* Back to where it was held or halted. */
static struct rollout_edge resume(const struct rollout_place *place,
                                  const struct rollout_facts *facts, enum rollout_reason reason)
{
    if (facts->frozen)
        return stay(place, ROLLOUT_REASON_FROZEN);
    return go(place, facts,
              place->stage == ROLLOUT_NO_STAGE ? ROLLOUT_STATE_SHADOW : ROLLOUT_STATE_CANARY,
              reason);
}

/* An operator's resume: what time and sample ratio held against it is forgiven. */
static struct rollout_edge resume_anew(const struct rollout_place *place,
                                       const struct rollout_facts *facts)
{
    struct rollout_edge edge = resume(place, facts, ROLLOUT_REASON_OPERATOR);
    if (edge.changes) {
        edge.to.stage_since_ms = facts->now_ms;
        edge.reset_ratio = true;
    }
    return edge;
}

static bool nodes_are_ready(const struct rollout_config *config, const struct rollout_facts *facts)
{
    return facts->nodes > 0 &&
           (uint64_t)facts->nodes_ready * 100U >= (uint64_t)facts->nodes * config->ready_percent;
}

static bool step_back(const struct rollout_place *place, const struct rollout_facts *facts,
                      struct rollout_edge *out)
{
    if (facts->command == ROLLOUT_COMMAND_ROLLBACK) {
        *out = go(place, facts, ROLLOUT_STATE_ROLLED_BACK, ROLLOUT_REASON_OPERATOR);
        return true;
    }
    if (facts->guards.tripped) {
        *out = go(place, facts, ROLLOUT_STATE_ROLLED_BACK, ROLLOUT_REASON_TRIP_WIRE);
        return true;
    }
    for (uint32_t i = 0; i < GUARD_METRICS; i++) {
        if (facts->guards.verdict[i] != GUARD_BREACH)
            continue;
        *out = go(place, facts, ROLLOUT_STATE_ROLLED_BACK, ROLLOUT_REASON_BREACH);
        out->metric = (enum guard_metric)i;
        return true;
    }
    return false;
}

/* What takes all traffic back to stable without a verdict on the candidate; NONE: nothing does. */
static enum rollout_reason cause_to_halt(const struct rollout_config *config,
                                         const struct rollout_facts *facts)
{
    if (facts->nack)
        return ROLLOUT_REASON_NACK;
    if (facts->replay_mismatch)
        return ROLLOUT_REASON_REPLAY;
    if (facts->data_age_s > (int64_t)config->stale_after_s)
        return ROLLOUT_REASON_STALE;
    if (facts->now_ms - facts->last_look_ms > (int64_t)config->ttl_s * 1000)
        return ROLLOUT_REASON_UNWATCHED; /* The nodes' own clocks have run out already. */
    return ROLLOUT_REASON_NONE;
}

/* The share beyond which harm must have been ruled out, not only not been seen. All of the traffic
 * has nothing left to be compared with: what was to be shown was shown before. */
static bool wants_evidence(const struct rollout_config *config, const struct rollout_place *place)
{
    const uint32_t share = config->stage[place->stage].share_bp;
    return share >= config->evidence_from_bp && share < ROLLOUT_SHARE_ALL_BP;
}

/* The first required metric whose verdict is below `least`. */
static bool lacks_evidence(const struct rollout_config *config, const struct rollout_facts *facts,
                           enum guard_verdict least, enum guard_metric *out_metric)
{
    for (uint32_t i = 0; i < GUARD_METRICS; i++) {
        if ((config->evidence & (1U << i)) == 0 || facts->guards.verdict[i] >= least)
            continue;
        *out_metric = (enum guard_metric)i;
        return true;
    }
    return false;
}

/* What keeps it from the next stage; READY: nothing. */
static enum rollout_reason missing(const struct rollout_config *config,
                                   const struct rollout_place *place,
                                   const struct rollout_facts *facts, enum guard_metric *out_metric)
{
    const int64_t dwell_ms = facts->now_ms - place->stage_since_ms;
    if (place->stage == ROLLOUT_NO_STAGE) {
        if (dwell_ms < (int64_t)config->shadow_min_s * 1000)
            return ROLLOUT_REASON_DWELL;
        if (facts->shadow_requests < config->shadow_requests_min)
            return ROLLOUT_REASON_WANTS_REQUESTS;
    } else {
        const struct rollout_stage *stage = &config->stage[place->stage];
        const bool compared = stage->share_bp < ROLLOUT_SHARE_ALL_BP;
        if (dwell_ms < (int64_t)stage->dwell_min_s * 1000)
            return ROLLOUT_REASON_DWELL;
        if (facts->requests[1] < stage->requests_min ||
            (compared && facts->requests[0] < stage->requests_min))
            return ROLLOUT_REASON_WANTS_REQUESTS;
        if (facts->units < stage->units_min)
            return ROLLOUT_REASON_WANTS_UNITS;
        if (wants_evidence(config, place) && lacks_evidence(config, facts, GUARD_SHOWN, out_metric))
            return ROLLOUT_REASON_WANTS_EVIDENCE;
    }
    return nodes_are_ready(config, facts) ? ROLLOUT_REASON_READY : ROLLOUT_REASON_WANTS_NODES;
}

static bool is_overdue(const struct rollout_config *config, const struct rollout_place *place,
                       const struct rollout_facts *facts)
{
    const uint32_t dwell_max_s = place->stage == ROLLOUT_NO_STAGE
                                     ? config->shadow_max_s
                                     : config->stage[place->stage].dwell_max_s;
    return facts->now_ms - place->stage_since_ms >= (int64_t)dwell_max_s * 1000;
}

/* The longest dwell is over and `lack` is still missing. */
static struct rollout_edge give_up(const struct rollout_config *config,
                                   const struct rollout_place *place,
                                   const struct rollout_facts *facts, enum rollout_reason lack)
{
    enum guard_metric metric = GUARD_ERROR;
    /* Nodes that lack the candidate say nothing about it. */
    if (lack == ROLLOUT_REASON_WANTS_NODES)
        return go(place, facts, ROLLOUT_STATE_HOLD, ROLLOUT_REASON_NOT_ACKED);
    const enum rollout_reason why = lack == ROLLOUT_REASON_WANTS_EVIDENCE
                                        ? ROLLOUT_REASON_INCONCLUSIVE
                                        : ROLLOUT_REASON_TOO_FEW;
    switch (config->inconclusive) {
    case ROLLOUT_INCONCLUSIVE_HOLD:
        break;
    case ROLLOUT_INCONCLUSIVE_PROMOTE_IF_HARMLESS:
        if (lack == ROLLOUT_REASON_WANTS_EVIDENCE && nodes_are_ready(config, facts) &&
            !lacks_evidence(config, facts, GUARD_HARMLESS, &metric))
            return advance(config, place, facts, ROLLOUT_REASON_HARMLESS);
        break;
    case ROLLOUT_INCONCLUSIVE_ROLLBACK:
        return go(place, facts, ROLLOUT_STATE_ROLLED_BACK, why);
    }
    return go(place, facts, ROLLOUT_STATE_HOLD, why);
}

/* An operator wants the next stage now: everything but the nodes is waived. */
static struct rollout_edge command_advance(const struct rollout_config *config,
                                           const struct rollout_place *place,
                                           const struct rollout_facts *facts)
{
    if (!nodes_are_ready(config, facts))
        return stay(place, ROLLOUT_REASON_WANTS_NODES);
    return advance(config, place, facts, ROLLOUT_REASON_OPERATOR);
}

static struct rollout_edge step_running(const struct rollout_config *config,
                                        const struct rollout_place *place,
                                        const struct rollout_facts *facts)
{
    struct rollout_edge edge;
    enum guard_metric metric = GUARD_ERROR;
    if (facts->command == ROLLOUT_COMMAND_HOLD)
        return go(place, facts, ROLLOUT_STATE_HOLD, ROLLOUT_REASON_OPERATOR);
    if (facts->guards.ratio_mismatch)
        return go(place, facts, ROLLOUT_STATE_HOLD, ROLLOUT_REASON_SAMPLE_RATIO);
    if (facts->command == ROLLOUT_COMMAND_ADVANCE)
        return command_advance(config, place, facts);
    if (facts->command != ROLLOUT_COMMAND_NONE)
        return stay(place, ROLLOUT_REASON_REFUSED);
    const enum rollout_reason lack = missing(config, place, facts, &metric);
    if (lack == ROLLOUT_REASON_READY)
        return advance(config, place, facts, ROLLOUT_REASON_READY);
    if (lack != ROLLOUT_REASON_DWELL && is_overdue(config, place, facts))
        edge = give_up(config, place, facts, lack);
    else
        edge = stay(place, lack);
    edge.metric = metric;
    return edge;
}

/* Held for want of something: what is there by now lets it go on. Its dwell went on too, so the
 * next look takes it further. */
static struct rollout_edge step_held(const struct rollout_config *config,
                                     const struct rollout_place *place,
                                     const struct rollout_facts *facts)
{
    enum guard_metric metric = GUARD_ERROR;
    if (facts->command == ROLLOUT_COMMAND_RESUME)
        return resume_anew(place, facts);
    if (facts->command == ROLLOUT_COMMAND_ADVANCE)
        return command_advance(config, place, facts);
    if (facts->command != ROLLOUT_COMMAND_NONE)
        return stay(place, ROLLOUT_REASON_REFUSED);
    const bool by_itself = place->why == ROLLOUT_REASON_INCONCLUSIVE ||
                           place->why == ROLLOUT_REASON_TOO_FEW ||
                           place->why == ROLLOUT_REASON_NOT_ACKED;
    if (by_itself && !facts->guards.ratio_mismatch &&
        missing(config, place, facts, &metric) == ROLLOUT_REASON_READY)
        return resume(place, facts, ROLLOUT_REASON_NEW_EVIDENCE);
    return stay(place, ROLLOUT_REASON_WANTS_OPERATOR);
}

static struct rollout_edge step_halted(const struct rollout_place *place,
                                       const struct rollout_facts *facts, enum rollout_reason cause)
{
    if (facts->command == ROLLOUT_COMMAND_RESUME)
        return cause == ROLLOUT_REASON_NONE ? resume_anew(place, facts) : stay(place, cause);
    return stay(place, facts->command == ROLLOUT_COMMAND_NONE ? ROLLOUT_REASON_WANTS_OPERATOR
                                                              : ROLLOUT_REASON_REFUSED);
}

struct rollout_edge rollout_step(const struct rollout_config *config,
                                 const struct rollout_place *place,
                                 const struct rollout_facts *facts)
{
    struct rollout_edge edge;
    assert(place->stage >= ROLLOUT_NO_STAGE && place->stage < (int32_t)config->stages);
    if (rollout_is_terminal(place->state))
        return stay(place, facts->command == ROLLOUT_COMMAND_NONE ? ROLLOUT_REASON_NONE
                                                                  : ROLLOUT_REASON_REFUSED);
    if (step_back(place, facts, &edge))
        return edge;
    const enum rollout_reason cause = cause_to_halt(config, facts);
    if (place->state != ROLLOUT_STATE_HALTED) {
        if (facts->command == ROLLOUT_COMMAND_HALT)
            return go(place, facts, ROLLOUT_STATE_HALTED, ROLLOUT_REASON_OPERATOR);
        if (cause != ROLLOUT_REASON_NONE)
            return go(place, facts, ROLLOUT_STATE_HALTED, cause);
    }
    switch (place->state) {
    case ROLLOUT_STATE_SHADOW:
    case ROLLOUT_STATE_CANARY:
        return step_running(config, place, facts);
    case ROLLOUT_STATE_HOLD:
        return step_held(config, place, facts);
    case ROLLOUT_STATE_HALTED:
        return step_halted(place, facts, cause);
    case ROLLOUT_STATE_PROMOTED:
    case ROLLOUT_STATE_ROLLED_BACK:
        break;
    }
    return stay(place, ROLLOUT_REASON_NONE);
}
