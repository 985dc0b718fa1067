/* The candidates under way to the nodes, and what each node may be sent of a generation. A node
 * gets, in this order and each only once the one before is acknowledged: everything else; the
 * candidates' parameters and artifacts, when their wave reaches it; the rollouts, once it has what
 * they name. So a candidate that is refused has kept nothing else away. */
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "control.pb-c.h"
#include "controlplane/nodes/nodes_internal.h"

#define PARAMS    STR("params/")
#define ARTIFACT  STR("artifact/")
#define ROLLOUT   STR("rollout/")
#define CANDIDATE STR("/candidate")

enum part { PART_REST, PART_CANDIDATE, PART_ROLLOUT };

/* What kind of resource a key names, and of which policy. */
static enum part part_of(struct str key, struct str *out_policy)
{
    if (str_starts(key, ROLLOUT)) {
        *out_policy = str_slice(key, ROLLOUT.len, key.len);
        return PART_ROLLOUT;
    }
    size_t from = str_starts(key, PARAMS)     ? PARAMS.len
                  : str_starts(key, ARTIFACT) ? ARTIFACT.len
                                              : 0;
    if (from == 0 || !str_ends(key, CANDIDATE))
        return PART_REST;
    *out_policy = str_slice(key, from, key.len - CANDIDATE.len);
    return PART_CANDIDATE;
}

static struct nodes_wave *find(const struct nodes *n, struct str policy)
{
    LIST_FOREACH (it, &n->waves) {
        struct nodes_wave *w = container_of(it, struct nodes_wave, link);
        if (str_eq(str_from(w->policy), policy))
            return w;
    }
    return NULL;
}

static void wave_free(struct nodes_wave *w)
{
    list_remove(&w->link);
    mem_free(w);
}

void waves_clear(struct nodes *n)
{
    while (!list_empty(&n->waves))
        wave_free(container_of(n->waves.next, struct nodes_wave, link));
}

/* ---- which waves there are ---- */

/* The candidate's two resources as published; artifact NULL: it has that of the stable version. */
struct candidate {
    const struct nodes_resource *params, *artifact;
};

static struct candidate candidate_in(const struct nodes_resources *r, const struct nodes_wave *w)
{
    return (struct candidate){.params = nodes_resources_find(r, str_from(w->params_key)),
                              .artifact = nodes_resources_find(r, str_from(w->artifact_key))};
}

static bool join(struct str a, struct str b, struct str c, char out[NODES_WAVE_KEY_BYTES])
{
    if (a.len + b.len + c.len >= NODES_WAVE_KEY_BYTES)
        return false;
    memcpy(out, a.data, a.len);
    memcpy(out + a.len, b.data, b.len);
    if (c.len > 0)
        memcpy(out + a.len + b.len, c.data, c.len);
    out[a.len + b.len + c.len] = '\0';
    return true;
}

/* NULL: no memory, or a key too long for any node: it is not sent. */
static struct nodes_wave *begin(struct nodes *n, struct str policy)
{
    struct nodes_wave *w = mem_zalloc(sizeof(*w));
    if (w == NULL)
        return NULL;
    if (!str_copy(policy, w->policy, sizeof(w->policy)) ||
        !join(PARAMS, policy, CANDIDATE, w->params_key) ||
        !join(ARTIFACT, policy, CANDIDATE, w->artifact_key)) {
        mem_free(w);
        return NULL;
    }
    list_push_back(&n->waves, &w->link);
    return w;
}

static void set_version(char out[NODES_VERSION_BYTES], const struct nodes_resource *r)
{
    if (r == NULL || !str_copy(r->version, out, NODES_VERSION_BYTES))
        out[0] = '\0';
}

static bool is_version(const char *version, const struct nodes_resource *r)
{
    return str_eq(str_from(version), r != NULL ? r->version : STR_NULL);
}

static void update_one(struct nodes *n, const struct nodes_resources *r, struct str policy)
{
    struct nodes_wave *w = find(n, policy);
    if (w == NULL)
        w = begin(n, policy);
    if (w == NULL)
        return;
    struct candidate c = candidate_in(r, w);
    w->listed = true;
    if (is_version(w->params, c.params) && is_version(w->artifact, c.artifact))
        return;
    set_version(w->params, c.params);
    set_version(w->artifact, c.artifact);
    w->step = WAVE_ONE;
    w->wait_until_ms = 0;
    w->room = 0; /* Until the next tick has counted. */
}

void waves_update(struct nodes *n, const struct nodes_resources *r)
{
    if (n->waves_era == nodes_resources_era(r) &&
        n->waves_generation == nodes_resources_generation(r))
        return;
    n->waves_era = nodes_resources_era(r);
    n->waves_generation = nodes_resources_generation(r);
    LIST_FOREACH (it, &n->waves)
        container_of(it, struct nodes_wave, link)->listed = false;
    for (size_t i = 0; i < nodes_resources_count(r); i++) {
        struct str policy;
        const struct nodes_resource *item = nodes_resources_at(r, i);
        if (part_of(item->key, &policy) == PART_CANDIDATE)
            update_one(n, r, policy);
    }
    LIST_FOREACH_SAFE (it, tmp, &n->waves) {
        struct nodes_wave *w = container_of(it, struct nodes_wave, link);
        if (!w->listed)
            wave_free(w);
    }
}

/* ---- what a node may have ---- */

static bool has_candidate(const struct sync_peer *p, const struct nodes_wave *w)
{
    return sync_peer_holds(p, str_from(w->params_key), str_from(w->params)) &&
           (w->artifact[0] == '\0' ||
            sync_peer_holds(p, str_from(w->artifact_key), str_from(w->artifact)));
}

static bool has_rest(const struct sync_peer *p, const struct nodes_resources *r)
{
    for (size_t i = 0; i < nodes_resources_count(r); i++) {
        struct str policy;
        const struct nodes_resource *item = nodes_resources_at(r, i);
        if (part_of(item->key, &policy) == PART_REST &&
            !sync_peer_holds(p, item->key, item->version))
            return false;
    }
    return true;
}

/* Both resources of a candidate are asked about in turn: `granted` is of this update. */
static bool may_have_candidate(const struct sync_peer *p, struct nodes_wave *w)
{
    if (w == NULL || w->step == WAVE_STOPPED)
        return false;
    return has_candidate(p, w) || w->step == WAVE_ALL || w->granted_to == p;
}

static bool may_have(const struct nodes *n, const struct sync_peer *p,
                     const struct nodes_resource *item, bool rest)
{
    struct str policy;
    struct nodes_wave *w;
    enum part part = part_of(item->key, &policy);
    if (part == PART_REST || sync_peer_holds(p, item->key, item->version))
        return true;
    w = find(n, policy);
    if (part == PART_CANDIDATE)
        return rest && may_have_candidate(p, w);
    /* Without a candidate the node says what is wrong with it. */
    return w == NULL || (w->step != WAVE_STOPPED && has_candidate(p, w));
}

/* Who is next takes the room there is. */
static void grant(struct nodes *n, const struct sync_peer *p)
{
    LIST_FOREACH (it, &n->waves) {
        struct nodes_wave *w = container_of(it, struct nodes_wave, link);
        w->granted_to = NULL;
        if (w->step == WAVE_STOPPED || w->step == WAVE_ALL || w->room == 0 || has_candidate(p, w))
            continue;
        w->granted_to = p;
        w->room--;
    }
}

static void release_ref(void *owner)
{
    nodes_resources_unref(owner);
}

struct nodes_resources *waves_view(struct nodes *n, const struct sync_peer *p,
                                   struct nodes_resources *current)
{
    size_t count = nodes_resources_count(current), kept = 0;
    waves_update(n, current);
    if (list_empty(&n->waves))
        return nodes_resources_ref(current);
    bool rest = has_rest(p, current);
    if (rest)
        grant(n, p);
    for (size_t i = 0; i < count; i++)
        kept += may_have(n, p, nodes_resources_at(current, i), rest);
    if (kept == count)
        return nodes_resources_ref(current);
    struct nodes_resources *view =
        nodes_resources_create(nodes_resources_era(current), nodes_resources_generation(current),
                               release_ref, nodes_resources_ref(current));
    if (view == NULL) {
        nodes_resources_unref(current);
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        const struct nodes_resource *item = nodes_resources_at(current, i);
        if (may_have(n, p, item, rest) && nodes_resources_add(view, item) != 0) {
            nodes_resources_unref(view);
            return NULL;
        }
    }
    return view;
}

/* ---- time ---- */

static bool is_bringing(const struct sync_peer *p, const struct nodes_wave *w)
{
    const struct nodes_resource *r =
        p->sending != NULL ? nodes_resources_find(p->sending, str_from(w->params_key)) : NULL;
    return r != NULL && is_version(w->params, r);
}

static uint64_t since_of(const struct sync_peer *p, const struct nodes_wave *w)
{
    uint64_t params = sync_peer_since(p, str_from(w->params_key));
    uint64_t artifact =
        w->artifact[0] != '\0' ? sync_peer_since(p, str_from(w->artifact_key)) : params;
    return params > artifact ? params : artifact;
}

static struct wave_census census_of(const struct nodes *n, const struct nodes_wave *w,
                                    uint64_t now_ms)
{
    struct wave_census c = {.waiting = now_ms < w->wait_until_ms};
    LIST_FOREACH (it, &n->sync_peers) {
        const struct sync_peer *p = container_of(it, struct sync_peer, link);
        if (p->entry == NULL)
            continue;
        bool has = has_candidate(p, w);
        c.connected++;
        c.holding += has || is_bringing(p, w);
        c.settled += has && now_ms - since_of(p, w) >= n->options.wave_healthy_ms;
    }
    return c;
}

bool waves_tick(struct nodes *n)
{
    bool room = false;
    uint64_t now_ms = clock_mono_ms();
    LIST_FOREACH (it, &n->waves) {
        struct nodes_wave *w = container_of(it, struct nodes_wave, link);
        if (w->step == WAVE_ALL || w->step == WAVE_STOPPED)
            continue;
        struct wave_census c = census_of(n, w, now_ms);
        w->step = wave_next(w->step, &c);
        w->room = wave_room(w->step, &c);
        room = room || w->room > 0;
    }
    return room;
}

void waves_left(struct nodes *n, const struct sync_peer *p)
{
    uint64_t now_ms = clock_mono_ms();
    LIST_FOREACH (it, &n->waves) {
        struct nodes_wave *w = container_of(it, struct nodes_wave, link);
        bool has = has_candidate(p, w);
        if (!is_bringing(p, w) && (!has || now_ms - since_of(p, w) >= n->options.wave_healthy_ms))
            continue;
        w->wait_until_ms = now_ms + 2 * (uint64_t)n->options.wave_healthy_ms;
        w->room = 0;
    }
}

/* ---- refusals ---- */

static void stop(struct nodes *n, struct nodes_wave *w, const struct nodes_push_result *result)
{
    if (w->step == WAVE_STOPPED)
        return;
    w->step = WAVE_STOPPED;
    log_event(LOG_WARN, "wave: a node refused the candidate, no other node gets it",
              LOG_TEXT_FIELD("policy", w->policy), LOG_TEXT_FIELD("node", result->node_id));
    if (n->options.release->on_wave_nack != NULL)
        n->options.release->on_wave_nack(n->options.plane, str_from(w->policy), result);
}

static bool is_new(const struct sync_peer *p, const struct nodes_resources *sent, struct str key)
{
    const struct nodes_resource *r = nodes_resources_find(sent, key);
    return r != NULL && !sync_peer_holds(p, key, r->version);
}

/* Did this update bring the node something of the wave? */
static bool brought(const struct sync_peer *p, const struct nodes_resources *sent,
                    const struct nodes_wave *w)
{
    char rollout[NODES_WAVE_KEY_BYTES];
    return is_new(p, sent, str_from(w->params_key)) || is_new(p, sent, str_from(w->artifact_key)) ||
           (join(ROLLOUT, str_from(w->policy), STR_NULL, rollout) &&
            is_new(p, sent, str_from(rollout)));
}

static bool blames(const struct sync_peer *p, const struct nodes_resources *sent,
                   const struct nodes_wave *w, const struct nodes_nack *nack)
{
    struct str policy;
    /* It died of this generation, and comes back without the candidate. */
    if (str_is(nack->code, "CRASHED"))
        return !has_candidate(p, w);
    if (!brought(p, sent, w))
        return false;
    if (part_of(nack->key, &policy) != PART_REST)
        return str_eq(policy, str_from(w->policy));
    return !is_new(p, sent, nack->key); /* Of a whole update, or of what it had before. */
}

bool waves_refused(struct nodes *n, const struct sync_peer *p, const struct nodes_resources *sent,
                   const struct nodes_push_result *result)
{
    bool blamed = false;
    LIST_FOREACH_SAFE (it, tmp, &n->waves) {
        struct nodes_wave *w = container_of(it, struct nodes_wave, link);
        bool stops = false;
        for (size_t i = 0; i < result->nack_count; i++)
            stops = stops || blames(p, sent, w, &result->nacks[i]);
        if (!stops)
            continue;
        blamed = blamed || brought(p, sent, w);
        stop(n, w, result);
    }
    return blamed;
}
