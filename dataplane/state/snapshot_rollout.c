/* Rollouts of a snapshot: what they name must be here, in just these versions. */
#include "dataplane/state/snapshot_rollout.h"

#include <string.h>

#include "common/base/mem.h"
#include "common/link/wire.h"
#include "control.pb-c.h"
#include "dataplane/state/builder.h"

#define PREFIX        STR("rollout/")
#define SALT_BYTES    16
#define SLOTS         10000U
#define TTL_S_DEFAULT 600U
#define TTL_S_MAX     86400U

typedef Steelyard__Control__V1__Rollout Rollout;

/* ---- gates ---- */

struct rollout_gate *rollout_gate_create(uint64_t id)
{
    struct rollout_gate *gate = mem_zalloc(sizeof(*gate));
    if (gate == NULL)
        return NULL;
    atomic_init(&gate->refs, 1);
    atomic_init(&gate->open, false);
    gate->id = id;
    return gate;
}

struct rollout_gate *rollout_gate_ref(struct rollout_gate *gate)
{
    atomic_fetch_add_explicit(&gate->refs, 1, memory_order_relaxed);
    return gate;
}

void rollout_gate_unref(struct rollout_gate *gate)
{
    if (gate != NULL && atomic_fetch_sub_explicit(&gate->refs, 1, memory_order_acq_rel) == 1)
        mem_free(gate);
}

/* The one in service keeps its state: an update of other things opens and closes nothing. */
static struct rollout_gate *gate_of(const struct builder *b, uint64_t id)
{
    const struct snapshot *previous = b->inputs->previous;
    for (uint32_t i = 0; previous != NULL && i < previous->rollout_count; i++)
        if (previous->rollouts[i].id == id)
            return rollout_gate_ref(previous->rollouts[i].gate);
    return rollout_gate_create(id);
}

/* ---- one rollout ---- */

static enum rollout_state state_of(const Rollout *m)
{
    switch (m->state) {
    case STEELYARD__CONTROL__V1__ROLLOUT_STATE__ROLLOUT_SHADOW:
        return ROLLOUT_STATE_SHADOW;
    case STEELYARD__CONTROL__V1__ROLLOUT_STATE__ROLLOUT_CANARY:
        return ROLLOUT_STATE_CANARY;
    case STEELYARD__CONTROL__V1__ROLLOUT_STATE__ROLLOUT_HOLD:
        return ROLLOUT_STATE_HOLD;
    case STEELYARD__CONTROL__V1__ROLLOUT_STATE__ROLLOUT_UNKNOWN:
    case _STEELYARD__CONTROL__V1__ROLLOUT_STATE_IS_INT_SIZE:
        break;
    }
    return ROLLOUT_STATE_UNKNOWN;
}

static bool is_version(const struct snapshot_policy *p, const char *hex)
{
    char text[SHA256_HEX_BYTES];
    hex_encode(p->params_sha.bytes, SHA256_BYTES, text);
    return str_eq(str_from(text), str_from(hex));
}

static int check_versions(struct builder *b, const Rollout *m, const struct snapshot_rollout *r)
{
    if (r->stable == NULL || !is_version(r->stable, m->stable_params))
        return builder_refuse(b, ERR_NOT_FOUND, "REFERENCE",
                              "stable version %.64s of policy '%.200s' is not here",
                              m->stable_params, m->policy);
    if (r->candidate == NULL || !is_version(r->candidate, m->candidate_params))
        return builder_refuse(b, ERR_NOT_FOUND, "REFERENCE",
                              "candidate %.64s of policy '%.200s' is not here", m->candidate_params,
                              m->policy);
    return 0;
}

static int check_values(struct builder *b, const Rollout *m)
{
    if (m->id == 0)
        return builder_refuse(b, ERR_INVALID, "INVALID", "id is 0");
    if (m->salt.len != SALT_BYTES)
        return builder_refuse(b, ERR_INVALID, "INVALID", "salt is not 16 bytes long");
    if (m->pct_bp > SLOTS)
        return builder_refuse(b, ERR_INVALID, "INVALID", "pct_bp is above 10000");
    for (uint32_t i = 0; i < b->s->rollout_count; i++)
        if (b->s->rollouts[i].id == m->id)
            return builder_refuse(b, ERR_EXISTS, "DUPLICATE", "id %llu appears twice",
                                  (unsigned long long)m->id);
    return 0;
}

static uint32_t ttl_ms_of(const struct resource *r)
{
    uint32_t ttl_s = r->ttl_s != 0 ? r->ttl_s : TTL_S_DEFAULT;
    return (ttl_s < TTL_S_MAX ? ttl_s : TTL_S_MAX) * 1000;
}

static int take_rollout(struct builder *b, const struct resource *r, const Rollout *m,
                        struct snapshot_rollout *out)
{
    struct str name = str_from(m->policy);
    if (!str_eq(str_slice(r->key, PREFIX.len, r->key.len), name))
        return builder_refuse(b, ERR_INVALID, "INVALID", "names policy '%.200s' under another key",
                              m->policy);
    int rc = check_values(b, m);
    if (rc != 0)
        return rc;
    /* The list is the builder's until the snapshot is whole. */
    struct snapshot_policy *stable =
        (struct snapshot_policy *)(uintptr_t)snapshot_policy(b->s, name);
    *out = (struct snapshot_rollout){
        .id = m->id,
        .state = state_of(m),
        .stage = m->stage,
        .salt = siphash_key_from_bytes(m->salt.data),
        .ttl_ms = ttl_ms_of(r),
        .stable = stable,
        .candidate = snapshot_next_policy(b->s, name),
    };
    if (out->state == ROLLOUT_STATE_CANARY || out->state == ROLLOUT_STATE_HOLD)
        out->pct_bp = m->pct_bp;
    rc = check_versions(b, m, out);
    if (rc == 0)
        rc = builder_text(b, str_from(r->version), &out->version);
    if (rc != 0)
        return rc;
    out->gate = gate_of(b, m->id);
    if (out->gate == NULL)
        return builder_no_memory(b);
    stable->rollout = out;
    b->s->rollout_count++; /* Its gate is given back with the snapshot. */
    return 0;
}

int build_rollouts(struct builder *b)
{
    size_t count = 0;
    const struct map_entry *e;
    for (size_t i = 0; (e = map_next(&b->set->by_key, &i)) != NULL;)
        count += str_starts(e->key, PREFIX);
    if (count > SNAPSHOT_POLICIES_MAX)
        return builder_refuse(b, ERR_LIMIT, "LIMIT", "more than %d rollouts",
                              SNAPSHOT_POLICIES_MAX);
    struct snapshot_rollout *list = builder_alloc(b, count, sizeof(*list));
    if (list == NULL)
        return builder_no_memory(b);
    b->s->rollouts = list;
    int rc = 0;
    for (size_t i = 0; rc == 0 && (e = map_next(&b->set->by_key, &i)) != NULL;) {
        if (!str_starts(e->key, PREFIX))
            continue;
        const struct resource *r = e->value;
        ProtobufCMessage *m = NULL;
        b->at = r;
        if (wire_unpack(&steelyard__control__v1__rollout__descriptor, r->body, &m) != 0)
            rc = builder_refuse(b, ERR_CORRUPT, "MALFORMED", "the body cannot be read");
        else
            rc = take_rollout(b, r, (const Rollout *)m, &list[b->s->rollout_count]);
        wire_free(m);
    }
    return rc;
}
