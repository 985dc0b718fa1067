/* What the rooms ask of each other: nodes ask for the resources of the current generation and hand
 * in telemetry; publish says when the generation changed. */
#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "control.pb-c.h"
#include "controlplane/plane_internal.h"

#define WORD_ABORT    "abort/"
#define ROLLOUT_TTL_S 600U /* Of one that was begun before plans had a ttl. */

/* ---- resources for the nodes ---- */

static void release_set(void *owner)
{
    publish_set_unref(owner);
}

static struct nodes_resources *resources_of(const struct publish_set *set)
{
    publish_set_ref(set);
    struct nodes_resources *r =
        nodes_resources_create(set->era, set->generation, release_set, (void *)(uintptr_t)set);
    if (r == NULL) {
        publish_set_unref(set);
        return NULL;
    }
    for (size_t i = 0; i < set->count; i++) {
        const struct publish_resource *item = &set->items[i];
        bool is_rollout = item->type == STEELYARD__CONTROL__V1__RESOURCE_TYPE__RESOURCE_ROLLOUT;
        const struct nodes_resource resource = {.key = item->key,
                                                .type = item->type,
                                                .version = str_from(item->version),
                                                .body = item->body,
                                                .ttl_s = !is_rollout        ? 0
                                                         : item->ttl_s != 0 ? item->ttl_s
                                                                            : ROLLOUT_TTL_S};
        if (nodes_resources_add(r, &resource) != 0) {
            nodes_resources_unref(r);
            return NULL;
        }
    }
    return r;
}

void plane_on_set(void *plane, const struct publish_set *set)
{
    struct plane *p = plane;
    struct nodes_resources *r = resources_of(set);
    if (r == NULL) {
        log_event(LOG_ERROR, "generation not pushed: out of memory",
                  LOG_U64("generation", set->generation));
        return;
    }
    bool urgent = nodes_resources_urgent(p->resources, r);
    nodes_resources_unref(p->resources);
    p->resources = r;
    log_event(LOG_INFO, "generation published", LOG_U64("generation", set->generation));
    if (p->nodes != NULL)
        nodes_changed(p->nodes, urgent);
    else
        plane_booted(p);
}

static struct nodes_resources *get_resources(void *plane)
{
    struct plane *p = plane;
    return p->resources != NULL ? nodes_resources_ref(p->resources) : NULL;
}

static void on_push_result(void *plane, const struct nodes_push_result *result)
{
    struct plane *p = plane;
    if (result->accepted) {
        publish_acked(p->publish, result->node_id, result->generation);
        replicas_touch(p->replicas);
        return;
    }
    replicas_touch(p->replicas);
    for (size_t i = 0; i < result->nack_count; i++) {
        const struct nodes_nack *n = &result->nacks[i];
        publish_nacked(p->publish, result->node_id, result->generation, n->key, n->version, n->code,
                       n->detail);
        log_event(LOG_ERROR, "node refused a generation",
                  LOG_TEXT_FIELD("node_id", result->node_id),
                  LOG_U64("generation", result->generation), LOG_STR("key", n->key),
                  LOG_STR("code", n->code), LOG_STR("detail", n->detail));
    }
}

static void on_node(void *plane, const char *node_id, bool connected)
{
    struct plane *p = plane;
    replicas_touch(p->replicas);
    log_event(LOG_DEBUG, "node seen", LOG_TEXT_FIELD("node_id", node_id),
              LOG_BOOL("connected", connected));
}

const struct nodes_release_ops plane_release_ops = {
    .resources = get_resources,
    .on_result = on_push_result,
    .on_node = on_node,
};

/* ---- telemetry from the nodes ---- */

struct submission {
    nodes_intake_cb cb;
    void *user;
};

static void on_stored(void *arg, const struct intake_result *result)
{
    struct submission *s = arg;
    struct nodes_intake_result out = {.status = 0};
    switch (result->outcome) {
    case INTAKE_STORED:
        out.acked_through = result->acked_through;
        break;
    case INTAKE_HOLE:
        out.status = ERR_CONFLICT;
        out.expected_seq = result->expected_seq;
        break;
    case INTAKE_UNAVAILABLE:
        out.status = ERR_UNAVAILABLE;
        break;
    }
    s->cb(s->user, &out);
    mem_free(s);
}

static int submit_batch(void *plane, struct nodes_batch *batch, nodes_intake_cb cb, void *user)
{
    struct plane *p = plane;
    struct intake_batch in = {
        .epoch = batch->epoch, .first_seq = batch->first_seq, .count = batch->count};
    struct submission *s;
    int rc = uuid_parse(str_from(batch->node_id), &in.node_id);
    if (rc != 0)
        return rc;
    s = mem_alloc(sizeof *s);
    if (s == NULL)
        return ERR_NOMEM;
    *s = (struct submission){.cb = cb, .user = user};
    in.records = batch->records;
    rc = intake_submit(p->intake, &in, on_stored, s);
    batch->records = in.records; /* Emptied when it was taken. */
    if (rc != 0)
        mem_free(s);
    return rc;
}

static bool intake_ready(void *plane)
{
    const struct plane *p = plane;
    return intake_is_up(p->intake);
}

const struct nodes_intake_ops plane_intake_ops = {.submit = submit_batch, .ready = intake_ready};

/* ---- budgets ---- */

static int submit_report(void *plane, const struct lease_report *report, nodes_lease_cb cb,
                         void *user)
{
    return lease_service_report(((struct plane *)plane)->leases, report, cb, user);
}

static int submit_recalls(void *plane, const struct uuid *node_id, uint64_t epoch,
                          nodes_lease_cb cb, void *user)
{
    return lease_service_recalls(((struct plane *)plane)->leases, node_id, epoch, cb, user);
}

const struct nodes_lease_ops plane_lease_ops = {.report = submit_report, .recalls = submit_recalls};

void plane_on_recall(void *plane, struct str node_id)
{
    struct plane *p = plane;
    if (p->nodes != NULL)
        nodes_recall(p->nodes, node_id);
}

/* ---- replicas ---- */

bool plane_node_at(void *plane, size_t index, struct replicas_node *out_node)
{
    const struct plane *p = plane;
    struct nodes_info n;
    if (p->nodes == NULL || index >= nodes_count(p->nodes))
        return false;
    nodes_get_info(p->nodes, index, &n);
    *out_node = (struct replicas_node){.connected = n.connected,
                                       .applied = n.generation,
                                       .nacked = n.nacked_generation,
                                       .epoch = n.epoch,
                                       .spool_records = n.spool_records,
                                       .spool_bytes = n.spool_bytes,
                                       .inflight = n.inflight,
                                       .seen_us = n.last_seen_us};
    (void)str_copy(str_from(n.node_id), out_node->node_id, sizeof out_node->node_id);
    if (n.build != NULL)
        (void)str_copy(str_from(n.build), out_node->build, sizeof out_node->build);
    if (n.peer != NULL)
        (void)str_copy(str_from(n.peer), out_node->peer, sizeof out_node->peer);
    return true;
}

void plane_leads(void *plane, char *out, size_t out_bytes)
{
    const struct plane *p = plane;
    struct buf names;
    buf_init(&names, out_bytes - 1);
    for (unsigned i = 0; i < LEADER_ROLES; i++) {
        enum leader_role role = (enum leader_role)i;
        if (leader_term(p->leader, role) != 0 &&
            buf_printf(&names, "%s%s", names.len > 0 ? " " : "", leader_role_name(role)) != 0)
            break;
    }
    (void)str_copy(buf_str(&names), out, out_bytes);
    buf_deinit(&names);
}

/* ---- rollouts ---- */

void plane_on_watch(void *plane, const uint64_t *ids, size_t count)
{
    struct plane *p = plane;
    if (p->nodes != NULL)
        nodes_watch(p->nodes, ids, count);
}

void plane_on_abort(void *plane, uint64_t id)
{
    struct plane *p = plane;
    if (p->nodes != NULL)
        nodes_abort(p->nodes, id);
}

/* While Postgres is away nothing else tells the other control planes, nor their nodes, of it. */
void plane_on_wish(void *plane, const struct abort_wish *wish)
{
    struct plane *p = plane;
    char name[WORDS_NAME_BYTES];
    struct buf value;
    if (p->words == NULL)
        return;
    buf_init(&value, WORDS_VALUE_BYTES);
    (void)snprintf(name, sizeof name, WORD_ABORT "%lld", (long long)wish->id);
    int rc = aborts_write_wish(wish, &value);
    if (rc == 0)
        rc = words_say(p->words, str_from(name), buf_str(&value));
    if (rc != 0)
        log_event(LOG_ERROR, "the other control planes are not told of an abort",
                  LOG_I64("rollout", wish->id), LOG_TEXT_FIELD("error", err_text(rc)));
    buf_deinit(&value);
}

/* Whoever can write to etcd can make a rollout go back, and nothing else: an id names one rollout
 * for ever, so that what is heard late, or twice, changes nothing. */
void plane_on_word(void *plane, struct str name, struct str value)
{
    struct plane *p = plane;
    struct abort_wish wish;
    int64_t id;
    struct str prefix = STR(WORD_ABORT);
    if (!str_starts(name, prefix))
        return; /* Of a newer program. */
    if (str_parse_i64(str_slice(name, prefix.len, name.len), 1, INT64_MAX, &id) != 0 ||
        aborts_read_wish(value, &wish) != 0 || wish.id != id) {
        log_event(LOG_WARN, "a word that is no abort", LOG_STR("name", name));
        return;
    }
    log_event(LOG_INFO, "an abort is heard of", LOG_I64("rollout", id),
              LOG_TEXT_FIELD("actor", wish.actor));
    if (p->rollouts != NULL)
        controller_hear(p->rollouts, &wish);
}

/* ---- roles ---- */

/* Half an hour of training would begin anew; the others' work is short. */
bool plane_is_busy(void *plane, enum leader_role role)
{
    const struct plane *p = plane;
    return role == LEADER_TRAINER && p->trainer != NULL && trainer_is_running(p->trainer);
}

void plane_on_role(void *plane, enum leader_role role, uint64_t term)
{
    struct plane *p = plane;
    replicas_touch(p->replicas);
    switch (role) {
    case LEADER_RATES:
        if (p->nodes != NULL &&
            nodes_lead_rates(p->nodes, term, leader_is_first(p->leader, role)) != 0)
            log_event(LOG_ERROR, "rates are not shared out: out of memory");
        break;
    case LEADER_TRAINER:
    case LEADER_ROLLOUT:
    case LEADER_KEEPER:
    case LEADER_ROLES:
        break;
    }
}

bool plane_policy(void *plane, size_t index, struct evidence_policy *out)
{
    struct plane *p = plane;
    if (p->config == NULL || index >= config_policy_count(p->config))
        return false;
    struct config_policy policy = config_policy_at(p->config, index);
    bool floor = policy.quality_floor_q16 > 0;
    *out = (struct evidence_policy){
        .retrain_every_s = policy.retrain_ms / 1000,
        .target = floor ? TRAIN_FLOOR : TRAIN_QUALITY,
        .target_value = (floor ? policy.quality_floor_q16 : policy.quality_q16) / 65536.0,
        .label_maturity_s = p->label_maturity_ms / 1000,
        .explore_spend = policy.explore_spend};
    return str_copy(policy.name, out->name, sizeof out->name);
}
