/* What the control plane counts, as gauges that are looked up when Prometheus asks. */
#include "common/base/clock.h"
#include "common/link/rpc.h"
#include "controlplane/admin/spread.h"
#include "controlplane/plane_internal.h"

enum {
    METER_BUILD,
    METER_READY,
    METER_NODES,
    METER_GENERATION,
    METER_RELOADS,
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
    METER_ROLLOUT_REPLAYED,
    METER_ROLLOUT_DIFFER,
    METER_DRIFT_EVENTS,
    METER_DRIFT_PRINTS,
    METER_DRIFT_OFFSETS,
    METER_DRIFT_STABILITY,
    METER_LAMBDA_STEPS,
    METER_EXPLORE_STEPS,
    METER_RETRAINS,
    METER_EVIDENCE_TURNS,
    METER_EVIDENCE_ERRORS,
    METER_LEADER,
    METER_TERM,
    METER_DEPOSED,
    METER_WAITS,
    METER_ETCD_ASKED,
    METER_ETCD_FAILED,
    METER_CERTIFICATE,
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
    {.name = "steelyard_config_reload_total",
     .type = METRICS_COUNTER,
     .help = "Times the file was read again; an error leaves the old configuration in force.",
     .labels = {"result"}},
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
    {.name = "steelyard_rollout_replayed",
     .type = METRICS_GAUGE,
     .help = "Decisions of candidates that this control plane recomputed, since the start."},
    {.name = "steelyard_rollout_replay_differs",
     .type = METRICS_GAUGE,
     .help = "Of these, such as did not come out again; each halts its rollout."},
    {.name = "steelyard_drift_events",
     .type = METRICS_GAUGE,
     .help =
         "Models, or what policies are asked, that were found to have changed, since the start."},
    {.name = "steelyard_drift_fingerprints",
     .type = METRICS_GAUGE,
     .help =
         "Deployments whose answers came to say that another model makes them, since the start; "
         "among the events."},
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
    {.name = "steelyard_explore_steps",
     .type = METRICS_GAUGE,
     .help = "Changes of how much policies may explore, since the start."},
    {.name = "steelyard_retrains",
     .type = METRICS_GAUGE,
     .help = "Training runs that began by themselves, since the start."},
    {.name = "steelyard_evidence_turns",
     .type = METRICS_GAUGE,
     .help = "Looks at all policies, since the start; every five minutes where the trainer leads."},
    {.name = "steelyard_evidence_errors",
     .type = METRICS_GAUGE,
     .help = "Looks at policies that failed, since the start."},
    {.name = "steelyard_leader",
     .type = METRICS_GAUGE,
     .help = "1: this control plane leads the role. The sum over all of them is 1, or 0 during an "
             "election.",
     .labels = {"role"}},
    {.name = "steelyard_leader_term",
     .type = METRICS_GAUGE,
     .help = "Term of the role here; 0: it is not led here.",
     .labels = {"role"}},
    {.name = "steelyard_leader_deposed",
     .type = METRICS_GAUGE,
     .help =
         "How often a write met a newer term of another control plane and was refused, since the "
         "start.",
     .labels = {"role"}},
    {.name = "steelyard_admin_waits",
     .type = METRICS_GAUGE,
     .help = "Changes that were answered when the nodes had them (all), or before: some nodes "
             "refused or were silent (some), the limit came (timeout), too many waited (busy), the "
             "client left (gone), the control plane ended (stopping). Since the start.",
     .labels = {"ended"}},
    {.name = "steelyard_etcd_requests",
     .type = METRICS_GAUGE,
     .help = "Questions to etcd since the start."},
    {.name = "steelyard_etcd_failures",
     .type = METRICS_GAUGE,
     .help = "Questions to etcd without an answer of use, since the start."},
    {.name = "steelyard_certificate_expires_seconds",
     .type = METRICS_GAUGE,
     .help =
         "Until the certificate towards nodes ends; below 14 days wants a look. Not there without "
         "TLS."},
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
    set_gauge(p, METER_ROLLOUT_REPLAYED, r.replayed);
    set_gauge(p, METER_ROLLOUT_DIFFER, r.replay_differs);
}

static void collect_roles(struct plane *p)
{
    for (unsigned i = 0; p->leader != NULL && i < LEADER_ROLES; i++) {
        enum leader_role role = (enum leader_role)i;
        const struct str name = str_from(leader_role_name(role));
        uint64_t term = leader_term(p->leader, role);
        metrics_gauge_set(metrics_series_get(p->shard, METER_LEADER, &name), term != 0);
        metrics_gauge_set(metrics_series_get(p->shard, METER_TERM, &name), (int64_t)term);
    }
    if (p->leader != NULL) {
        const struct leader_stats stats = leader_get_stats(p->leader);
        for (unsigned i = 0; i < LEADER_ROLES; i++) {
            const struct str name = str_from(leader_role_name((enum leader_role)i));
            metrics_gauge_set(metrics_series_get(p->shard, METER_DEPOSED, &name),
                              (int64_t)stats.deposed[i]);
        }
        set_gauge(p, METER_ETCD_ASKED, stats.etcd_asked);
        set_gauge(p, METER_ETCD_FAILED, stats.etcd_failed);
    }
}

static void collect_certificate(struct plane *p)
{
    int64_t ends;
    if (p->settings->sync_cert != NULL && rpc_tls_ends(p->settings->sync_cert, &ends) == 0)
        metrics_gauge_set(metrics_series_get(p->shard, METER_CERTIFICATE, NULL),
                          ends - clock_wall_us() / 1000000);
}

static void collect_waits(struct plane *p)
{
    const struct spread_stats stats =
        p->admin != NULL ? admin_spread_stats(p->admin) : (struct spread_stats){0};
    for (unsigned i = 0; i < SPREAD_ENDINGS; i++) {
        const struct str ended = str_from(spread_end_name((enum spread_ending)i));
        metrics_gauge_set(metrics_series_get(p->shard, METER_WAITS, &ended),
                          (int64_t)stats.ended[i]);
    }
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
        set_gauge(p, METER_DRIFT_PRINTS, e.prints);
        set_gauge(p, METER_DRIFT_OFFSETS, e.offsets);
        set_gauge(p, METER_DRIFT_STABILITY, (uint64_t)(1000 * e.stability));
        set_gauge(p, METER_LAMBDA_STEPS, e.lambda_steps);
        set_gauge(p, METER_EXPLORE_STEPS, e.explore_steps);
        set_gauge(p, METER_RETRAINS, e.retrains);
        set_gauge(p, METER_EVIDENCE_TURNS, e.turns);
        set_gauge(p, METER_EVIDENCE_ERRORS, e.errors);
    }
    collect_roles(p);
    collect_waits(p);
    collect_certificate(p);
    if (p->intake == NULL)
        return;
    const struct intake_stats stats = intake_stats(p->intake);
    set_gauge(p, METER_INGESTED, stats.records);
    set_gauge(p, METER_DUPLICATES, stats.duplicates);
    set_gauge(p, METER_QUARANTINED, stats.quarantined);
    set_gauge(p, METER_QUEUE, stats.queue_bytes);
}

static const struct str reload_results[] = {[false] = {"error", 5}, [true] = {"ok", 2}};

void plane_count_reload(struct plane *p, bool ok)
{
    metrics_inc(metrics_series_get(p->shard, METER_RELOADS, &reload_results[ok]));
}

int plane_metrics_create(struct plane *p, struct err *err)
{
    const struct str version = STR(STEELYARD_VERSION);
    p->metrics = metrics_create(plane_metrics_table, 0);
    p->shard = p->metrics != NULL ? metrics_shard_create(p->metrics) : NULL;
    if (p->shard == NULL)
        return err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    metrics_gauge_set(metrics_series_get(p->shard, METER_BUILD, &version), 1);
    /* Both are there from the start, so that the first error is seen as a change. */
    metrics_add(metrics_series_get(p->shard, METER_RELOADS, &reload_results[true]), 0);
    metrics_add(metrics_series_get(p->shard, METER_RELOADS, &reload_results[false]), 0);
    metrics_set_collector(p->metrics, collect, p);
    return 0;
}
