/* Start: directories and id, spool (recovered), configuration from disk, workers, probes,
 * addresses, then the control stream. node_stop.c has the way back. */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "dataplane/node_internal.h"

#define TIMER_MS         1000U
#define HEARTBEAT_MAX_MS 10000U
#define HOST_SYNC_MS     5U

/* ---- identity and directories ---- */

static int make_path(const char *dir, const char *name, char *out, size_t bytes, struct err *err)
{
    struct buf b = {.data = out, .cap = bytes, .max = bytes};
    if (buf_append_text(&b, dir) != 0 || buf_append_char(&b, '/') != 0 ||
        buf_append_text(&b, name) != 0 || buf_append_char(&b, '\0') != 0)
        return err_set(err, ERR_TOO_LARGE, "--state-dir: '%s' is too long", dir);
    return 0;
}

static int load_id(struct node *n, struct err *err)
{
    char path[4096];
    struct buf file = {0};
    if (n->settings->node_id != NULL) {
        int rc = uuid_parse(str_from(n->settings->node_id), &n->uuid);
        uuid_format(&n->uuid, n->id);
        return rc;
    }
    int rc = make_path(n->settings->state_dir, "node.id", path, sizeof path, err);
    if (rc != 0)
        return rc;
    rc = buf_read_file(&file, path, 64, NULL);
    struct str text = str_slice(buf_str(&file), 0, UUID_TEXT_BYTES - 1);
    if (rc == 0 && uuid_parse(text, &n->uuid) == 0) {
        uuid_format(&n->uuid, n->id);
    } else {
        n->uuid = uuid_v7(clock_wall_us());
        uuid_format(&n->uuid, n->id);
        rc = buf_write_file(str_from(n->id), path, 0600, err);
    }
    buf_deinit(&file);
    return rc;
}

static int make_state_dir(const struct settings *s, struct err *err)
{
    if (mkdir(s->state_dir, 0700) != 0 && errno != EEXIST)
        return err_set(err, err_from_errno(errno), "--state-dir: cannot make '%s': %s",
                       s->state_dir, strerror(errno));
    return 0;
}

/* ---- probes ---- */

static bool workers_turn(void *arg)
{
    const struct node *n = arg;
    uint64_t now_ms = clock_mono_ms();
    for (uint32_t i = 0; i < n->worker_count; i++)
        if (!worker_finished(n->workers[i]) &&
            now_ms - worker_heartbeat_ms(n->workers[i]) > HEARTBEAT_MAX_MS)
            return false;
    return true;
}

static bool is_configured(void *arg)
{
    const struct node *n = arg;
    return snapshot_cell_generation(n->cell) != 0;
}

static bool is_not_draining(void *arg)
{
    const struct node *n = arg;
    return n->state == NODE_RUNNING;
}

static bool is_spool_ready(void *arg)
{
    const struct node *n = arg;
    return spool_set_ready(n->spools);
}

static bool is_ready(void *arg)
{
    return is_configured(arg) && is_not_draining(arg) && is_spool_ready(arg);
}

static int start_probes(struct node *n, struct err *err)
{
    const struct probe_check checks[] = {
        {PROBE_LIVE, "loops", workers_turn, n},        {PROBE_READY, "policy", is_configured, n},
        {PROBE_READY, "draining", is_not_draining, n}, {PROBE_READY, "spool", is_spool_ready, n},
        {PROBE_STARTUP, "policy", is_configured, n},
    };
    memcpy(n->checks, checks, sizeof checks);
    n->probes = (struct probes){.checks = n->checks,
                                .check_count = sizeof checks / sizeof checks[0],
                                .metrics = n->metrics};
    const struct httpd_config config = {
        .address = n->settings->metrics_listen,
        .max_connections = 64,
        .body_max_bytes = 1024,
        .on_request = probes_on_request,
        .arg = &n->probes,
    };
    int rc = httpd_start(n->loop, &config, &n->httpd, err);
    if (rc != 0)
        err_wrap(err, "--metrics-listen");
    return rc;
}

/* ---- start ---- */

static void fill_shared(struct node *n)
{
    const struct settings *s = n->settings;
    struct request_settings *r = &n->shared.settings;
    n->connections.max = (uint32_t)s->max_connections;
    r->body_max_bytes = s->body_max_bytes;
    r->requests_max = s->max_requests < s->max_connections ? (uint32_t)s->max_requests : 0;
    r->buffer_mark_bytes = (uint32_t)s->stream_buffer_bytes;
    r->access_log = s->access_log;
    r->durability_host = s->durability_host;
    r->stream_head_after_ms = (uint32_t)s->stream_head_after_ms;
    r->keepalive_ms = (uint32_t)s->keepalive_ms;
    r->total_ms = (uint32_t)s->request_timeout_ms;
    r->pressure_from_q16 = (uint32_t)(s->pressure_from * BUDGET_PRESSURE_ONE / 100);
    r->pressure_factor = (uint32_t)s->pressure_factor;
    r->feedback_rate = (uint32_t)s->feedback_rate;
    r->forward_early_bytes = s->forward_early_bytes;
}

static int start_spools(struct node *n, struct err *err)
{
    char dir[4096];
    struct spool_recovery found;
    int rc = make_path(n->settings->state_dir, "spool", dir, sizeof dir, err);
    if (rc != 0)
        return rc;
    const struct spool_options options = {
        .dir = dir,
        .node_id = n->uuid,
        .spools = (uint32_t)n->settings->workers,
        .max_bytes = n->settings->spool_max_bytes,
        .sync_ms = n->settings->durability_host ? HOST_SYNC_MS : 0,
        .audit_strict = n->settings->audit_strict,
    };
    rc = spool_set_create(&options, &n->spools, &found, err);
    if (rc == 0 && found.epochs > 0)
        log_event(LOG_INFO, "spool recovered", LOG_U64("records", found.records),
                  LOG_U64("crashed", found.crashed), LOG_U64("quarantined", found.quarantined),
                  LOG_U64("refused_files", found.refused_files));
    return rc;
}

static int start_budgets(struct node *n, struct err *err)
{
    char dir[4096];
    struct budget_recovery found;
    int rc = make_path(n->settings->state_dir, "budget", dir, sizeof dir, err);
    if (rc != 0)
        return rc;
    struct budget_table_options options = {.dir = dir, .node_id = n->uuid};
    budget_boot_id(&options.boot_id);
    rc = budget_table_create(&options, &n->budgets, &found, err);
    if (rc == 0 && (found.epochs > 0 || found.quarantined > 0))
        log_event(LOG_INFO, "budgets of earlier lives recovered", LOG_U64("lives", found.epochs),
                  LOG_U64("host_crash", found.host_crash), LOG_U64("slots", found.slots),
                  LOG_U64("quarantined", found.quarantined));
    return rc;
}

static void on_applied(void *user, const struct snapshot *s)
{
    (void)user;
    log_event(LOG_INFO, "configuration in service", LOG_U64("generation", s->generation),
              LOG_U64("models", s->model_count), LOG_U64("routes", s->route_count));
}

static void on_health(void *user, struct sync_health *out)
{
    struct node *n = user;
    out->spool_records = spool_set_records(n->spools);
    out->spool_bytes = spool_set_bytes(n->spools);
    for (uint32_t i = 0; i < n->worker_count; i++) {
        out->inflight += worker_active(n->workers[i]);
        out->requests += worker_served(n->workers[i]);
    }
}

static int start_link(struct node *n, struct err *err)
{
    const struct settings *s = n->settings;
    const struct rpc_tls tls = {
        .cert_file = s->control_cert, .key_file = s->control_key, .ca_file = s->control_ca};
    bool loaded;
    int rc = 0;
    if (s->control != NULL)
        rc = control_targets_create(n->loop, s->control, s->control_cert != NULL ? &tls : NULL,
                                    &n->targets, err);
    if (rc == 0 && n->targets != NULL)
        rc = control_targets_client(n->targets, &n->client, err);
    if (rc == 0 && n->targets != NULL)
        rc = control_targets_client(n->targets, &n->rates_client, err);
    if (rc != 0) {
        err_wrap(err, "--control");
        return rc;
    }
    const struct keeper_options credentials = {.loop = n->loop};
    n->keeper = keeper_create(&credentials);
    if (n->keeper == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    n->meters.keeper = n->keeper;
    const struct sync_options sync = {
        .loop = n->loop,
        .keeper = n->keeper,
        .client = n->client,
        .state_dir = s->state_dir,
        .node_id = n->id,
        .build = NODE_BUILD,
        .epoch = spool_epoch(spool_set_spool(n->spools, 0)),
        .cell = n->cell,
        .health = on_health,
        .on_applied = on_applied,
        .user = n,
    };
    rc = sync_create(&sync, &n->sync, &loaded, err);
    if (rc != 0)
        return rc;
    const struct lease_client_options leases = {
        .loop = n->loop,
        .client = n->client,
        .table = n->budgets,
        .node_id = n->id,
        .build = NODE_BUILD,
    };
    rc = lease_client_create(&leases, &n->leases, err);
    if (rc != 0)
        return rc;
    const struct limits_client_options limits = {
        .loop = n->loop,
        .client = n->rates_client,
        .table = n->shared.limits,
        .state_dir = s->state_dir,
        .node_id = n->id,
        .build = NODE_BUILD,
    };
    rc = limits_client_create(&limits, &n->limits, err);
    if (rc != 0 || n->client == NULL)
        return rc;
    const struct shipper_options shipper = {
        .loop = n->loop,
        .client = n->client,
        .spools = n->spools,
        .node_id = n->id,
        .build = NODE_BUILD,
    };
    return shipper_create(&shipper, &n->shipper, err);
}

static int start_worker(struct node *n, uint32_t i, struct err *err)
{
    const struct settings *s = n->settings;
    struct worker_config config = {
        .shared = &n->shared,
        .reader = snapshot_cell_reader(n->cell, i),
        .spool = spool_set_spool(n->spools, i),
        .shard = metrics_shard_create(n->metrics),
        .registry = n->registry,
        .listen = n->listen,
        .limit = &n->connections,
        .memory_max_bytes = s->memory_max_bytes,
        .unsent_max_bytes = (uint32_t)s->client_unsent_bytes,
        .send_buffer_bytes = (uint32_t)s->client_send_buffer_bytes,
        .conn = conn_defaults,
    };
    config.conn.head_ms = (uint32_t)s->head_timeout_ms;
    config.conn.body_grace_ms = (uint32_t)s->body_grace_ms;
    config.conn.body_min_rate = (uint32_t)s->body_rate_min;
    config.conn.idle_ms = (uint32_t)s->idle_timeout_ms;
    config.conn.stall_ms = (uint32_t)s->stall_timeout_ms;
    config.conn.max_age_ms = (uint32_t)s->connection_age_ms;
    config.conn.body_max_bytes = s->body_max_bytes;
    config.conn.memory_max_bytes = s->memory_max_bytes;
    if (config.shard == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    int rc = worker_create(&config, &n->workers[i], err);
    if (rc != 0) {
        err_wrap(err, "--listen");
        return rc;
    }
    n->worker_count++;
    return i > 0 ? 0 : address_with_port(s->listen, worker_port(n->workers[0]), n->listen, err);
}

static int start_workers(struct node *n, struct err *err)
{
    uint32_t count = (uint32_t)n->settings->workers;
    n->workers = mem_calloc(count, sizeof *n->workers);
    if (n->workers == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    int rc = 0;
    if (!str_copy(str_from(n->settings->listen), n->listen, sizeof n->listen))
        rc = err_set(err, ERR_TOO_LARGE, "--listen is too long");
    for (uint32_t i = 0; rc == 0 && i < count; i++)
        rc = start_worker(n, i, err);
    for (uint32_t i = 0; rc == 0 && i < count; i++)
        rc = worker_start(n->workers[i], err);
    return rc;
}

static int write_addresses(struct node *n, struct err *err)
{
    const struct address_entry entries[] = {
        {"http", n->listen, 0},
        {"metrics", n->settings->metrics_listen, httpd_port(n->httpd)},
    };
    return addresses_write(n->settings->state_dir, entries, 2, err);
}

static int create_parts(struct node *n, struct err *err)
{
    n->registry = endpoint_registry_create();
    n->metrics = metrics_create(meters_table, 0);
    n->cell = snapshot_cell_create((uint32_t)n->settings->workers);
    if (n->registry == NULL || n->metrics == NULL || n->cell == NULL ||
        request_shared_init(&n->shared, n->settings->memory_max_bytes) != 0 ||
        (n->shared.limits = limits_create(0, clock_mono_ns())) == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    fill_shared(n);
    return 0;
}

int node_create(uv_loop_t *loop, const struct settings *settings, struct node **out_node,
                struct err *err)
{
    struct node *n = mem_zalloc(sizeof *n);
    if (n == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    n->settings = settings;
    n->loop = loop;
    uv_timer_init(loop, &n->timer);
    int rc = make_state_dir(settings, err);
    if (rc == 0)
        rc = load_id(n, err);
    if (rc == 0)
        rc = create_parts(n, err);
    if (rc == 0)
        rc = start_spools(n, err);
    if (rc == 0)
        rc = start_budgets(n, err);
    n->shared.budgets = n->budgets;
    if (rc == 0)
        rc = start_link(n, err);
    if (rc == 0)
        rc = start_probes(n, err);
    if (rc == 0)
        rc = start_workers(n, err);
    if (rc == 0)
        rc = node_metrics_init(&n->meters, n->metrics, n->registry, n->cell, n->spools, n->sync,
                               n->budgets, err);
    if (rc == 0) {
        n->meters.is_ready = is_ready;
        n->meters.is_ready_arg = n;
    }
    n->meters.certificate = n->settings->control_cert;
    if (rc == 0)
        rc = write_addresses(n, err);
    if (rc != 0) {
        /* The process ends: what has threads is stopped, the rest goes with it. */
        for (uint32_t i = 0; i < n->worker_count; i++)
            worker_destroy(n->workers[i]);
        return rc;
    }
    sync_start(n->sync);
    lease_client_start(n->leases);
    limits_client_start(n->limits);
    if (n->shipper != NULL)
        shipper_start(n->shipper);
    uv_timer_start(&n->timer, node_on_timer, TIMER_MS, TIMER_MS);
    if (settings->asked_connections != 0)
        log_event(LOG_WARN, "fewer connections than asked for: the descriptor limit is low",
                  LOG_U64("asked", settings->asked_connections),
                  LOG_U64("connections", settings->max_connections));
    log_event(LOG_INFO, "listening", LOG_TEXT_FIELD("http", n->listen),
              LOG_U64("workers", n->worker_count), LOG_TEXT_FIELD("node_id", n->id));
    *out_node = n;
    return 0;
}

void node_reload(struct node *n)
{
    /* Configuration comes from the control plane by itself; the keys of providers are here. */
    if (!sync_refresh_secrets(n->sync))
        log_event(LOG_INFO,
                  "nothing to reload: provider keys are the same, configuration comes from "
                  "the control plane",
                  LOG_U64("generation", snapshot_cell_generation(n->cell)));
}

void node_dump(struct node *n)
{
    struct sync_status sync = {0};
    if (n->sync != NULL)
        sync_get_status(n->sync, &sync);
    log_event(LOG_INFO, "state", LOG_U64("state", n->state), LOG_U64("generation", sync.generation),
              LOG_BOOL("control_connected", sync.connected), LOG_U64("acked", sync.acked),
              LOG_U64("nacked", sync.nacked), LOG_TEXT_FIELD("last_nack", sync.last_nack),
              LOG_U64("spool_records", spool_set_records(n->spools)),
              LOG_U64("spool_bytes", spool_set_bytes(n->spools)),
              LOG_U64("memory_bytes", mem_live_bytes()), LOG_U64("log_dropped", log_dropped()));
    for (uint32_t i = 0; i < n->worker_count; i++)
        log_event(
            LOG_INFO, "worker state", LOG_U64("worker", i),
            LOG_U64("active", worker_active(n->workers[i])),
            LOG_U64("connections", worker_connections(n->workers[i])),
            LOG_U64("served", worker_served(n->workers[i])),
            LOG_U64("heartbeat_age_ms", clock_mono_ms() - worker_heartbeat_ms(n->workers[i])));
}

void node_destroy(struct node *n)
{
    assert(n->state == NODE_STOPPED);
    mem_free(n->workers);
    snapshot_cell_destroy(n->cell);
    spool_set_destroy(n->spools);
    budget_table_destroy(n->budgets);
    metrics_destroy(n->metrics);
    endpoint_registry_destroy(n->registry);
    limits_destroy(n->shared.limits);
    request_shared_deinit(&n->shared);
    mem_free(n);
}
