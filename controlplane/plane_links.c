/* What the rooms ask of each other: nodes ask for the resources of the current generation and hand
 * in telemetry; publish says when the generation changed. */
#include "common/base/log.h"
#include "common/base/mem.h"
#include "control.pb-c.h"
#include "controlplane/plane_internal.h"

#define ROLLOUT_TTL_S 600U /* Unwatched so long, a node goes back to stable by itself. */

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
                                                .ttl_s = is_rollout ? ROLLOUT_TTL_S : 0};
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

/* ---- roles ---- */

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
        .label_maturity_s = p->label_maturity_ms / 1000};
    return str_copy(policy.name, out->name, sizeof out->name);
}

/* ---- metrics ---- */

enum {
    METER_BUILD,
    METER_READY,
    METER_NODES,
    METER_GENERATION,
    METER_INGESTED,
    METER_DUPLICATES,
    METER_QUARANTINED,
    METER_QUEUE,
    METER_NOTICED,
    METER_DELIVERED,
    METER_UNDELIVERED,
    METER_CHECKED,
    METER_CHECK_ALARMS,
    METER_CHECK_WORST,
    METER_DEFAULT_ROWS,
    METER_DAYS_AHEAD,
    METER_BURNING,
    METER_STOPPED,
    METER_ROLLOUTS,
    METER_ROLLOUTS_WATCHED,
    METER_ROLLOUT_LOOKS,
    METER_ROLLOUT_LOOKS_FAILED,
    METER_ROLLOUT_LAST_LOOK,
    METER_ROLLOUT_ROWS,
    METER_ROLLOUT_FORWARD,
    METER_ROLLOUT_HELD,
    METER_ROLLOUT_HALTED,
    METER_ROLLOUT_BACK,
    METER_ROLLOUT_ABORTS,
    METER_DRIFT_EVENTS,
    METER_DRIFT_OFFSETS,
    METER_DRIFT_STABILITY,
    METER_LAMBDA_STEPS,
    METER_RETRAINS,
    METER_EVIDENCE_ERRORS,
};

const struct metrics_family plane_metrics_table[] = {
    {.name = "steelyard_build_info",
     .type = METRICS_GAUGE,
     .help = "Always 1; the version is in the label.",
     .labels = {"version"}},
    {.name = "steelyard_ready",
     .type = METRICS_GAUGE,
     .help = "1 while it serves and Postgres answers."},
    {.name = "steelyard_nodes_connected",
     .type = METRICS_GAUGE,
     .help = "Nodes with an open control stream."},
    {.name = "steelyard_generation",
     .type = METRICS_GAUGE,
     .help = "Generation of the configuration that nodes should run."},
    {.name = "steelyard_ingest_records",
     .type = METRICS_GAUGE,
     .help = "Records committed to Postgres since the start."},
    {.name = "steelyard_ingest_duplicates",
     .type = METRICS_GAUGE,
     .help = "Records that were sent again and already stored, since the start."},
    {.name = "steelyard_ingest_quarantined",
     .type = METRICS_GAUGE,
     .help = "Records put aside in ingest_deadletter since the start; more than 0 wants a look."},
    {.name = "steelyard_ingest_queue_bytes",
     .type = METRICS_GAUGE,
     .help = "Telemetry received and not yet committed."},
    {.name = "steelyard_budget_thresholds_noticed",
     .type = METRICS_GAUGE,
     .help = "Thresholds of budgets that were crossed, since the start."},
    {.name = "steelyard_budget_messages_delivered",
     .type = METRICS_GAUGE,
     .help = "Messages that budgets' webhooks took, since the start."},
    {.name = "steelyard_budget_messages_failed",
     .type = METRICS_GAUGE,
     .help = "Tries at budgets' webhooks that failed, since the start; they are tried again."},
    {.name = "steelyard_reconcile_last_seconds",
     .type = METRICS_GAUGE,
     .help = "Unix time of the last reconciliation by this control plane; 0: none yet."},
    {.name = "steelyard_reconcile_alarms",
     .type = METRICS_GAUGE,
     .help = "Differences above 0.1 % in the last reconciliation; more than 0 wants a look: "
             "steelyard spend checks."},
    {.name = "steelyard_reconcile_worst_ppm",
     .type = METRICS_GAUGE,
     .help = "The largest difference in the last reconciliation, parts per million."},
    {.name = "steelyard_partition_default_rows",
     .type = METRICS_GAUGE,
     .help = "Rows of telemetry that no day's partition took; more than 0 wants a look."},
    {.name = "steelyard_partition_days_ahead",
     .type = METRICS_GAUGE,
     .help = "Days after today that have partitions, of the table with the fewest."},
    {.name = "steelyard_budgets_burning",
     .type = METRICS_GAUGE,
     .help = "Budgets used up twice as far as their period has passed, and by a tenth at least."},
    {.name = "steelyard_rollouts_stopped",
     .type = METRICS_GAUGE,
     .help = "Rollouts that guards held, halted or rolled back in the last hour."},
    {.name = "steelyard_rollout_active",
     .type = METRICS_GAUGE,
     .help = "Rollouts and overrides under way."},
    {.name = "steelyard_rollout_watched",
     .type = METRICS_GAUGE,
     .help = "Of these, looked at within the last minute; nodes connected here are told so."},
    {.name = "steelyard_rollout_looks",
     .type = METRICS_GAUGE,
     .help = "Looks at guards by this control plane since the start."},
    {.name = "steelyard_rollout_looks_failed",
     .type = METRICS_GAUGE,
     .help = "Looks that failed, since the start."},
    {.name = "steelyard_rollout_last_look_seconds",
     .type = METRICS_GAUGE,
     .help = "Unix time of the last look by this control plane; 0: none yet."},
    {.name = "steelyard_rollout_rows_folded",
     .type = METRICS_GAUGE,
     .help = "Decisions that looks by this control plane counted, since the start."},
    {.name = "steelyard_rollout_forward",
     .type = METRICS_GAUGE,
     .help = "Edges forward that this control plane took, since the start."},
    {.name = "steelyard_rollout_held",
     .type = METRICS_GAUGE,
     .help = "Edges to hold, since the start."},
    {.name = "steelyard_rollout_halted",
     .type = METRICS_GAUGE,
     .help = "Edges to halted, since the start; more than 0 wants a look."},
    {.name = "steelyard_rollout_rolled_back",
     .type = METRICS_GAUGE,
     .help = "Candidates taken back by their guards, since the start."},
    {.name = "steelyard_rollout_aborts_waiting",
     .type = METRICS_GAUGE,
     .help = "Aborts that nodes obey already and that wait for Postgres to be written."},
    {.name = "steelyard_drift_events",
     .type = METRICS_GAUGE,
     .help =
         "Models, or what policies are asked, that were found to have changed, since the start."},
    {.name = "steelyard_drift_offsets",
     .type = METRICS_GAUGE,
     .help =
         "Models whose expected quality was lowered because they became worse, since the start."},
    {.name = "steelyard_drift_stability_permille",
     .type = METRICS_GAUGE,
     .help =
         "Largest population stability index of the last look, times 1000; above 200 is drift."},
    {.name = "steelyard_lambda_steps",
     .type = METRICS_GAUGE,
     .help = "Steps of lambda towards a spend target, since the start."},
    {.name = "steelyard_retrains",
     .type = METRICS_GAUGE,
     .help = "Training runs that began by themselves, since the start."},
    {.name = "steelyard_evidence_errors",
     .type = METRICS_GAUGE,
     .help = "Looks at policies that failed, since the start."},
    {.name = NULL},
};

static void set_gauge(struct plane *p, unsigned family, uint64_t value)
{
    metrics_gauge_set(metrics_series_get(p->shard, family, NULL), (int64_t)value);
}

static void collect_rollouts(struct plane *p)
{
    if (p->rollouts == NULL)
        return;
    const struct controller_stats r = controller_stats(p->rollouts);
    set_gauge(p, METER_ROLLOUTS, r.active);
    set_gauge(p, METER_ROLLOUTS_WATCHED, r.watched);
    set_gauge(p, METER_ROLLOUT_LOOKS, r.looks);
    set_gauge(p, METER_ROLLOUT_LOOKS_FAILED, r.failed_looks);
    set_gauge(p, METER_ROLLOUT_LAST_LOOK, r.last_look_wall_s);
    set_gauge(p, METER_ROLLOUT_ROWS, r.rows);
    set_gauge(p, METER_ROLLOUT_FORWARD, r.forward);
    set_gauge(p, METER_ROLLOUT_HELD, r.held);
    set_gauge(p, METER_ROLLOUT_HALTED, r.halted);
    set_gauge(p, METER_ROLLOUT_BACK, r.rolled_back);
    set_gauge(p, METER_ROLLOUT_ABORTS, r.aborts_waiting);
}

static void collect(void *arg)
{
    struct plane *p = arg;
    const struct publish_set *set = p->publish != NULL ? publish_current(p->publish) : NULL;
    set_gauge(p, METER_READY,
              p->state == PLANE_SERVING && p->publish != NULL && publish_is_up(p->publish));
    set_gauge(p, METER_NODES, p->nodes != NULL ? nodes_connected(p->nodes) : 0);
    set_gauge(p, METER_GENERATION, set != NULL ? set->generation : 0);
    if (p->keeper != NULL) {
        const struct keeper_stats k = keeper_stats(p->keeper);
        set_gauge(p, METER_NOTICED, k.noticed);
        set_gauge(p, METER_DELIVERED, k.delivered);
        set_gauge(p, METER_UNDELIVERED, k.failed);
        set_gauge(p, METER_CHECKED, (uint64_t)k.last_check_wall_s);
        set_gauge(p, METER_CHECK_ALARMS, (uint64_t)k.last_alarms);
        set_gauge(p, METER_CHECK_WORST, (uint64_t)k.last_worst_ppm);
    }
    if (p->books.known) {
        set_gauge(p, METER_DEFAULT_ROWS, p->books.default_rows);
        set_gauge(p, METER_DAYS_AHEAD, p->books.days_ahead);
        set_gauge(p, METER_BURNING, p->books.budgets_burning);
        set_gauge(p, METER_STOPPED, p->books.rollouts_stopped);
    }
    collect_rollouts(p);
    if (p->evidence != NULL) {
        const struct evidence_stats e = evidence_get_stats(p->evidence);
        set_gauge(p, METER_DRIFT_EVENTS, e.drifts);
        set_gauge(p, METER_DRIFT_OFFSETS, e.offsets);
        set_gauge(p, METER_DRIFT_STABILITY, (uint64_t)(1000 * e.stability));
        set_gauge(p, METER_LAMBDA_STEPS, e.lambda_steps);
        set_gauge(p, METER_RETRAINS, e.retrains);
        set_gauge(p, METER_EVIDENCE_ERRORS, e.errors);
    }
    if (p->intake == NULL)
        return;
    const struct intake_stats stats = intake_stats(p->intake);
    set_gauge(p, METER_INGESTED, stats.records);
    set_gauge(p, METER_DUPLICATES, stats.duplicates);
    set_gauge(p, METER_QUARANTINED, stats.quarantined);
    set_gauge(p, METER_QUEUE, stats.queue_bytes);
}

int plane_metrics_create(struct plane *p, struct err *err)
{
    const struct str version = STR(STEELYARD_VERSION);
    p->metrics = metrics_create(plane_metrics_table, 0);
    p->shard = p->metrics != NULL ? metrics_shard_create(p->metrics) : NULL;
    if (p->shard == NULL)
        return err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    metrics_gauge_set(metrics_series_get(p->shard, METER_BUILD, &version), 1);
    metrics_set_collector(p->metrics, collect, p);
    return 0;
}
