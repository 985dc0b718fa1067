#include "dataplane/node_metrics.h"

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/link/rpc.h"
#include "dataplane/credential/keeper.h"

#define BUILD_VERSION STR("0.1.0")

static void collect_endpoint(void *arg, const struct endpoint_shared *e)
{
    struct node_metrics *m = arg;
    struct str name = str_from(e->name);
    const struct str labels[] = {str_slice(name, 0, e->provider_len), name};
    uint64_t until = atomic_load_explicit(&e->cooldown_until_ms, memory_order_relaxed);
    uint64_t now_ms = clock_mono_ms();
    bool open = atomic_load_explicit(&e->breaker_open, memory_order_relaxed);
    metrics_gauge_set(meter(&m->meters, METER_DEPLOYMENT_UP, labels), open ? 0 : 1);
    metrics_gauge_set(meter(&m->meters, METER_COOLDOWN, labels),
                      until > now_ms ? (int64_t)(until - now_ms) : 0);
    uint32_t limit = concurrency_limit(&e->concurrency);
    if (limit < CONCURRENCY_MAX)
        metrics_gauge_set(meter(&m->meters, METER_CONCURRENCY, labels), limit);
}

/* A policy that was replaced is no longer shown. */
static void collect_policies(struct node_metrics *m, const struct snapshot *s)
{
    const uint64_t now_ms = clock_mono_ms();
    for (uint32_t i = 0; i < s->policy_count; i++) {
        char digits[24];
        struct buf version = {.data = digits, .cap = sizeof digits, .max = sizeof digits};
        if (buf_append_u64(&version, s->policies[i].version) != 0)
            continue;
        const struct str labels[] = {s->policies[i].name, buf_str(&version), STR("stable")};
        metrics_gauge_set(meter(&m->meters, METER_POLICY_INFO, labels), 1);
        metrics_gauge_set(meter(&m->meters, METER_POLICY_AGE, labels), snapshot_age_s(s, now_ms));
    }
}

static void hide_policies(struct node_metrics *m, const struct snapshot *s)
{
    for (uint32_t i = 0; s != NULL && i < m->shown_count; i++) {
        const struct shown_policy *p = &m->shown[i];
        const struct str labels[] = {str_from(p->name), str_from(p->version), STR("stable")};
        metrics_gauge_hide(meter(&m->meters, METER_POLICY_INFO, labels));
        metrics_gauge_hide(meter(&m->meters, METER_POLICY_AGE, labels));
    }
    m->shown_count = 0;
    for (uint32_t i = 0; s != NULL && i < s->policy_count && i < NODE_METRICS_POLICIES_MAX; i++) {
        struct shown_policy *p = &m->shown[m->shown_count++];
        struct buf version = {
            .data = p->version, .cap = sizeof p->version - 1, .max = sizeof p->version - 1};
        str_copy(str_slice(s->policies[i].name, 0, sizeof p->name - 1), p->name, sizeof p->name);
        if (buf_append_u64(&version, s->policies[i].version) == 0)
            p->version[version.len] = '\0';
    }
    m->generation = s != NULL ? s->generation : 0;
}

static void collect_budgets(struct node_metrics *m)
{
    struct budget_table_stats stats;
    if (m->budgets == NULL)
        return;
    budget_table_get_stats(m->budgets, &stats);
    metrics_gauge_set(meter(&m->meters, METER_BUDGET_SLOTS, NULL), (int64_t)stats.slots);
    metrics_gauge_set(meter(&m->meters, METER_BUDGET_CONTACT, NULL),
                      stats.in_contact && !stats.fenced ? 1 : 0);
}

static void collect_rollouts(struct node_metrics *m, const struct sync_status *sync)
{
    static const struct str expired[] = {{"expired", 7}}, aborted[] = {{"aborted", 7}};
    metrics_gauge_set(meter(&m->meters, METER_ROLLOUTS_OPEN, NULL), (int64_t)sync->rollouts_open);
    metrics_add(meter(&m->meters, METER_ROLLOUT_REVERTS, expired),
                sync->rollouts_expired - m->rollouts_expired);
    metrics_add(meter(&m->meters, METER_ROLLOUT_REVERTS, aborted),
                sync->rollouts_aborted - m->rollouts_aborted);
    m->rollouts_expired = sync->rollouts_expired;
    m->rollouts_aborted = sync->rollouts_aborted;
}

/* Providers that want one; whose configuration goes keep their last word, as deployments do. */
static void collect_credentials(struct node_metrics *m, const struct snapshot *s)
{
    static const struct str ok[] = {{"ok", 2}}, failed[] = {{"failed", 6}};
    const uint64_t now_ms = clock_mono_ms();
    struct keeper_status status;
    for (uint32_t i = 0; s != NULL && i < s->provider_count; i++) {
        const struct snapshot_provider *p = &s->providers[i];
        const struct str labels[] = {p->name};
        if (p->secret_ref.len == 0 && p->credential == SNAPSHOT_CREDENTIAL_KEY)
            continue;
        metrics_gauge_set(meter(&m->meters, METER_CREDENTIAL, labels),
                          !p->secret_missing &&
                              (p->shown == NULL || credential_is_valid(p->shown, now_ms)));
    }
    if (m->keeper == NULL)
        return;
    keeper_get_status(m->keeper, &status);
    metrics_add(meter(&m->meters, METER_CREDENTIAL_FETCHES, ok),
                status.fetched - m->tokens_fetched);
    metrics_add(meter(&m->meters, METER_CREDENTIAL_FETCHES, failed),
                status.failed - m->tokens_failed);
    m->tokens_fetched = status.fetched;
    m->tokens_failed = status.failed;
}

static void collect_spool(struct node_metrics *m)
{
    uint64_t records = spool_set_records(m->spools), shipped = spool_set_shipped(m->spools);
    uint64_t now_ms = clock_mono_ms();
    if (records == 0 || shipped != m->shipped || m->shipped_mono_ms == 0) {
        m->shipped = shipped;
        m->shipped_mono_ms = now_ms;
    }
    metrics_gauge_set(meter(&m->meters, METER_SPOOL_RECORDS, NULL), (int64_t)records);
    metrics_gauge_set(meter(&m->meters, METER_SPOOL_LAG, NULL),
                      (int64_t)((now_ms - m->shipped_mono_ms) / 1000));
}

static void collect(void *arg)
{
    struct node_metrics *m = arg;
    struct sync_status sync = {0};
    const struct snapshot *s = snapshot_cell_current(m->cell);
    if (m->sync != NULL)
        sync_get_status(m->sync, &sync);
    metrics_gauge_set(meter(&m->meters, METER_SYNC_CONNECTED, NULL), sync.connected ? 1 : 0);
    if (m->is_ready != NULL)
        metrics_gauge_set(meter(&m->meters, METER_READY, NULL), m->is_ready(m->is_ready_arg));
    collect_spool(m);
    metrics_gauge_set(meter(&m->meters, METER_SPOOL_BYTES, NULL),
                      (int64_t)spool_set_bytes(m->spools));
    metrics_gauge_set(meter(&m->meters, METER_SPOOL_RING, NULL),
                      (int64_t)spool_set_ring_bytes(m->spools));
    uint64_t refused = spool_set_refused(m->spools);
    metrics_add(meter(&m->meters, METER_SPOOL_REFUSED, NULL), refused - m->spool_refused);
    m->spool_refused = refused;
    metrics_gauge_set(meter(&m->meters, METER_LEDGER, NULL), (int64_t)mem_live_bytes());
    int64_t ends;
    if (m->certificate != NULL && rpc_tls_ends(m->certificate, &ends) == 0)
        metrics_gauge_set(meter(&m->meters, METER_CERTIFICATE, NULL),
                          ends - clock_wall_us() / 1000000);
    collect_budgets(m);
    collect_credentials(m, s);
    if (m->sync != NULL)
        collect_rollouts(m, &sync);
    endpoint_registry_each(m->registry, collect_endpoint, m);
    if (s != NULL && s->generation != m->generation)
        hide_policies(m, s);
    if (s != NULL)
        collect_policies(m, s);
}

int node_metrics_init(struct node_metrics *m, struct metrics *metrics,
                      struct endpoint_registry *registry, struct snapshot_cell *cell,
                      struct spool_set *spools, struct sync *sync, struct budget_table *budgets,
                      struct err *err)
{
    struct metrics_shard *shard = metrics_shard_create(metrics);
    if (shard == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    m->registry = registry;
    m->cell = cell;
    m->spools = spools;
    m->sync = sync;
    m->budgets = budgets;
    m->generation = 0;
    m->is_ready = NULL;
    m->spool_refused = 0;
    m->shipped = m->shipped_mono_ms = 0;
    m->rollouts_expired = m->rollouts_aborted = 0;
    m->tokens_fetched = m->tokens_failed = 0;
    m->shown_count = 0;
    meters_init(&m->meters, shard);
    const struct str build[] = {BUILD_VERSION, STR("")};
    metrics_gauge_set(meter(&m->meters, METER_BUILD_INFO, build), 1);
    metrics_set_collector(metrics, collect, m);
    return 0;
}
