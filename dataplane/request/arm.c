#include "dataplane/request/arm.h"

#include "common/route/slot.h"

/* Rollouts are of all segments. */
#define SEGMENT_ALL 0

static uint64_t hash(const struct request *r, char what, const void *data, size_t len)
{
    struct siphash_key key = r->snapshot->limits.text_key;
    key.k0 ^= (uint64_t)(unsigned char)what << 8; /* Apart from the hashes of sessions. */
    return siphash_2_4(key, data, len);
}

uint64_t arm_unit(const struct request *r)
{
    const struct str user = r->work->call.user;
    if (r->work->conversation != 0)
        return r->work->conversation;
    if (user.len > 0)
        return hash(r, 'u', user.data, user.len);
    return hash(r, 'r', r->id.bytes, sizeof r->id.bytes);
}

static void take_candidate(struct request *r, const struct snapshot_rollout *rollout)
{
    const struct snapshot_route *route = r->route;
    r->policy = rollout->candidate;
    for (uint32_t i = 0; i < route->candidate_count; i++)
        r->work->candidates[i].ordinal = route->candidates[i].next_ordinal;
}

void arm_choose(struct request *r)
{
    const struct snapshot_rollout *rollout = r->policy->rollout;
    struct record_rollout *a = &r->work->rollout;
    if (r->work->steering.policy.len > 0)
        return;
    r->work->in_rollout = true;
    *a = (struct record_rollout){
        .id = rollout->id, .stage = rollout->stage, .unit = arm_unit(r), .arm = RECORD_ARM_STABLE};
    a->slot = slot_of(rollout->salt, SEGMENT_ALL, a->unit);
    if (!snapshot_rollout_open(rollout)) {
        a->arm = RECORD_ARM_UNAVAILABLE;
    } else if (a->slot < rollout->pct_bp) {
        a->arm = RECORD_ARM_CANDIDATE;
        take_candidate(r, rollout);
    }
}
