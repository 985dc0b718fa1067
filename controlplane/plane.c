/* Start and stop. Start: secrets and file, probes, then Postgres (awaited as long as it takes),
 * then the published generation, then nodes and operators. Stop: roles are given up, operators'
 * calls and nodes' batches under way are finished; then operators, nodes, rollouts, intake,
 * publisher, trainer, worker threads, probes end; each step starts when the one before has ended.
 */
#include "controlplane/plane.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/net/address.h"
#include "controlplane/identity.h"
#include "controlplane/plane_internal.h"

#define TIMER_MS       1000U
#define PARTITIONS_MS  3600000U
#define ERRORS_BYTES   65536U
#define NODES_GRACE    2000U
#define DRAIN_LOOK_MS  20U
#define DRAIN_CLOSE_MS 10000U

/* ---- configuration file ---- */

static void log_findings(const struct buf *errors)
{
    struct str line, rest = buf_str(errors);
    while (rest.len > 0) {
        (void)str_cut(rest, '\n', &line, &rest);
        if (line.len > 0)
            log_event(LOG_ERROR, "configuration file", LOG_STR("finding", line));
    }
}

static int load_file(const char *path, struct config **out_config, struct err *err)
{
    struct buf errors;
    buf_init(&errors, ERRORS_BYTES);
    int rc = config_load(path, out_config, &errors, err);
    log_findings(&errors);
    buf_deinit(&errors);
    return rc;
}

void plane_reload(struct plane *p)
{
    struct config *config = NULL;
    struct err err = {0};
    if (p->settings->config == NULL || p->state != PLANE_SERVING)
        return;
    if (load_file(p->settings->config, &config, &err) != 0) {
        plane_count_reload(p, false);
        log_event(LOG_ERROR, "configuration not reloaded: the old one stays",
                  LOG_TEXT_FIELD("error", err.message));
        return;
    }
    plane_apply(p, config);
}

/* A mounted ConfigMap is replaced whole by renaming a link, so that what is seen through it is
 * another file; inode and times tell. */
static void watch_file(struct plane *p)
{
    struct stat st;
    if (!p->settings->config_watch || p->settings->config == NULL || p->applying ||
        stat(p->settings->config, &st) != 0)
        return;
    if (st.st_ino == p->file_seen.st_ino && st.st_dev == p->file_seen.st_dev &&
        st.st_size == p->file_seen.st_size && st.st_mtim.tv_sec == p->file_seen.st_mtim.tv_sec &&
        st.st_mtim.tv_nsec == p->file_seen.st_mtim.tv_nsec)
        return;
    p->file_seen = st;
    plane_reload(p);
}

void plane_dump(const struct plane *p)
{
    const struct publish_set *set = p->publish != NULL ? publish_current(p->publish) : NULL;
    for (unsigned i = 0; p->leader != NULL && i < LEADER_ROLES; i++)
        log_event(LOG_INFO, "role", LOG_TEXT_FIELD("role", leader_role_name((enum leader_role)i)),
                  LOG_U64("term", leader_term(p->leader, (enum leader_role)i)));
    log_event(LOG_INFO, "state", LOG_U64("state", p->state),
              LOG_U64("generation", set != NULL ? set->generation : 0),
              LOG_U64("nodes", p->nodes != NULL ? nodes_connected(p->nodes) : 0),
              LOG_BOOL("database", p->intake != NULL && intake_is_up(p->intake)),
              LOG_U64("memory_bytes", mem_live_bytes()), LOG_U64("log_dropped", log_dropped()));
}

/* ---- probes ---- */

static bool check_database(void *arg)
{
    const struct plane *p = arg;
    return p->state == PLANE_SERVING && intake_is_up(p->intake);
}

static bool check_draining(void *arg)
{
    return ((const struct plane *)arg)->state < PLANE_LEAVING;
}

static bool check_started(void *arg)
{
    const struct plane *p = arg;
    return p->state >= PLANE_SERVING;
}

static int start_probes(struct plane *p, struct err *err)
{
    p->checks[0] = (struct probe_check){PROBE_READY, "database", check_database, p};
    p->checks[1] = (struct probe_check){PROBE_READY, "draining", check_draining, p};
    p->checks[2] = (struct probe_check){PROBE_STARTUP, "schema", check_started, p};
    p->probes = (struct probes){.checks = p->checks, .check_count = 3, .metrics = p->metrics};
    const struct httpd_config config = {
        .address = p->settings->metrics_listen, .on_request = probes_on_request, .arg = &p->probes};
    int rc = httpd_start(p->loop, &config, &p->probes_httpd, err);
    if (rc != 0)
        err_wrap(err, "--metrics-listen");
    return rc;
}

/* ---- start ---- */

static int write_addresses(struct plane *p, struct err *err)
{
    const struct address_entry entries[] = {
        {"admin", p->settings->listen, admin_port(p->admin)},
        {"sync", nodes_address(p->nodes), 0},
        {"metrics", p->settings->metrics_listen, httpd_port(p->probes_httpd)},
    };
    return addresses_write(p->settings->state_dir, entries, 3, err);
}

static void on_policy_published(void *arg)
{
    struct plane *p = arg;
    publish_refresh(p->publish);
}

static const struct publish_set *current_set(void *arg)
{
    const struct plane *p = arg;
    return p->publish != NULL ? publish_current(p->publish) : NULL;
}

static int start_nodes(struct plane *p, struct err *err)
{
    const struct settings *s = p->settings;
    const struct nodes_options options = {
        .loop = p->loop,
        .address = s->sync_listen,
        .tls = {.cert_file = s->sync_cert, .key_file = s->sync_key, .ca_file = s->sync_ca},
        .release = &plane_release_ops,
        .intake = &plane_intake_ops,
        .lease = &plane_lease_ops,
        .plane = p,
        .wave_healthy_ms = (uint32_t)s->wave_healthy_ms,
    };
    int rc = nodes_start(&options, &p->nodes, err);
    if (rc != 0)
        err_wrap(err, "--sync-listen");
    if (rc == 0)
        plane_on_role(p, LEADER_RATES, leader_term(p->leader, LEADER_RATES));
    return rc;
}

static int start_replicas(struct plane *p, struct err *err)
{
    const struct replicas_config config = {.work = p->work,
                                           .id = p->holder,
                                           .address = nodes_address(p->nodes),
                                           .build = STEELYARD_VERSION,
                                           .node_at = plane_node_at,
                                           .leads = plane_leads,
                                           .arg = p};
    return replicas_start(p->loop, &config, &p->replicas, err);
}

static int start_admin(struct plane *p, struct err *err)
{
    const struct admin_config config = {
        .address = p->settings->listen,
        .allow_remote = p->settings->allow_remote_admin,
        .key = p->operator_key,
        .work = p->work,
        .conninfo = p->conninfo,
        .publish = p->publish,
        .trainer = p->trainer,
        .replica_id = p->holder,
        .rollouts = p->rollouts,
        .nodes = &p->nodes,
        .draw_key = siphash_key_from_bytes(p->keys.draw),
        .version = STEELYARD_VERSION,
        .started_mono_ms = clock_mono_ms(),
        .config = &p->config,
        .label_maturity_ms = &p->label_maturity_ms,
    };
    if (p->config != NULL)
        p->label_maturity_ms = config_settings(p->config).label_maturity_ms;
    int rc = admin_start(p->loop, &config, &p->admin, err);
    if (rc != 0)
        err_wrap(err, "--listen");
    return rc;
}

static int start_words(struct plane *p, struct err *err)
{
    const struct words_config config = {.etcd = {.endpoints = p->settings->etcd,
                                                 .ca_file = p->settings->etcd_ca,
                                                 .cert_file = p->settings->etcd_cert,
                                                 .key_file = p->settings->etcd_key},
                                        .on_word = plane_on_word,
                                        .arg = p};
    return words_create(p->loop, &config, &p->words, err);
}

/* The schema is right and the file is applied: read what is published. */
static int start_stores(struct plane *p, struct err *err)
{
    const struct intake_config intake = {.conninfo = p->conninfo,
                                         .connections = (unsigned)p->settings->ingest_connections};
    const struct publish_config publish = {
        .conninfo = p->conninfo, .on_changed = plane_on_set, .arg = p};
    const struct leader_config leader = {.work = p->claims,
                                         .holder = p->holder,
                                         .etcd = p->settings->etcd,
                                         .etcd_ca = p->settings->etcd_ca,
                                         .etcd_cert = p->settings->etcd_cert,
                                         .etcd_key = p->settings->etcd_key,
                                         .ttl_ms = (uint32_t)p->settings->etcd_ttl_ms,
                                         .is_busy = plane_is_busy,
                                         .on_change = plane_on_role,
                                         .arg = p};
    int rc = leader_create(p->loop, &leader, &p->leader, err);
    if (rc != 0)
        return rc;
    const struct trainer_config trainer = {.conninfo = p->conninfo,
                                           .leader = p->leader,
                                           .work = p->work,
                                           .current = current_set,
                                           .hash_key_id = p->keys.hash_key_id,
                                           .draw_key = siphash_key_from_bytes(p->keys.draw),
                                           .start_rollout = evidence_start_rollout,
                                           .on_published = on_policy_published,
                                           .arg = p};
    const struct lease_service_config leases = {
        .conninfo = p->conninfo, .on_recall = plane_on_recall, .arg = p};
    const struct keeper_config keeper = {
        .work = p->work, .leader = p->leader, .allow_private = p->settings->private_webhooks};
    const struct evidence_config evidence = {.work = p->work,
                                             .leader = p->leader,
                                             .current = current_set,
                                             .policy = plane_policy,
                                             .on_published = on_policy_published,
                                             .arg = p,
                                             .tick_ms =
                                                 (uint32_t)p->settings->evidence_interval_ms};
    rc = intake_create(p->loop, &intake, &p->intake, err);
    if (rc == 0)
        rc = keeper_start(p->loop, &keeper, &p->keeper, err);
    if (rc == 0)
        rc = evidence_start(p->loop, &evidence, &p->evidence, err);
    if (rc == 0)
        rc = lease_service_create(p->loop, &leases, &p->leases, err);
    if (rc == 0)
        rc = trainer_create(p->loop, &trainer, &p->trainer, err);
    if (rc == 0)
        rc = publish_create(p->loop, &publish, &p->publish, err);
    const struct controller_config rollouts = {.work = p->work,
                                               .leader = p->leader,
                                               .state_dir = p->settings->state_dir,
                                               .draw_key = siphash_key_from_bytes(p->keys.draw),
                                               .on_watch = plane_on_watch,
                                               .on_abort = plane_on_abort,
                                               .on_wish = plane_on_wish,
                                               .on_published = on_policy_published,
                                               .arg = p};
    if (rc == 0)
        rc = controller_create(p->loop, &rollouts, &p->rollouts, err);
    if (rc == 0 && p->settings->etcd != NULL && p->settings->etcd[0] != '\0')
        rc = start_words(p, err);
    return rc;
}

static int start_servers(struct plane *p, struct err *err)
{
    int rc = start_nodes(p, err);
    if (rc == 0)
        rc = start_replicas(p, err);
    if (rc == 0)
        rc = start_admin(p, err);
    if (rc == 0)
        rc = write_addresses(p, err);
    if (rc == 0)
        log_event(LOG_INFO, "listening", LOG_TEXT_FIELD("admin", p->settings->listen),
                  LOG_TEXT_FIELD("sync", nodes_address(p->nodes)));
    return rc;
}

void plane_booted(struct plane *p)
{
    struct err err = {0};
    int rc = 0;
    switch (p->state) {
    case PLANE_BOOTING:
        p->state = PLANE_LOADING;
        rc = start_stores(p, &err);
        break;
    case PLANE_LOADING:
        p->state = PLANE_SERVING;
        rc = start_servers(p, &err);
        break;
    case PLANE_SERVING:
    case PLANE_LEAVING:
    case PLANE_CLOSING:
    case PLANE_CLOSED:
        break;
    }
    if (rc != 0) {
        log_event(LOG_ERROR, "cannot start", LOG_TEXT_FIELD("error", err.message));
        plane_fail(p, rc);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct plane *p = timer->data;
    log_tick();
    if (p->state == PLANE_BOOTING)
        plane_boot(p);
    if (p->state == PLANE_SERVING)
        watch_file(p);
    if (p->state == PLANE_SERVING)
        plane_read_books(p);
    if (p->state == PLANE_SERVING && clock_mono_ms() - p->last_partitions_ms > PARTITIONS_MS &&
        leader_get_claim(p->leader, LEADER_KEEPER, &p->keeper_claim)) {
        p->last_partitions_ms = clock_mono_ms();
        plane_maintain(p);
    }
}

static int find_database(struct plane *p, struct err *err)
{
    struct str database = str_from(p->settings->database);
    if (database.len == 0 && p->config != NULL)
        database = config_settings(p->config).database;
    if (database.len == 0)
        return err_set(err, ERR_INVALID,
                       "no database: give --database, or store.postgres in the configuration file");
    return str_copy(database, p->conninfo, sizeof p->conninfo)
               ? 0
               : err_set(err, ERR_TOO_LARGE, "--database is too long");
}

static void name_holder(struct plane *p)
{
    char host[64] = "localhost";
    if (p->settings->replica_id != NULL) {
        (void)snprintf(p->holder, sizeof p->holder, "%s", p->settings->replica_id);
        return;
    }
    (void)gethostname(host, sizeof host - 1);
    (void)snprintf(p->holder, sizeof p->holder, "%s/%ld", host, (long)getpid());
}

static int create_work(struct plane *p, struct err *err)
{
    const struct work_config work = {.conninfo = p->conninfo,
                                     .application_name = "steelyard-controlplane"};
    const struct work_config claims = {.conninfo = p->conninfo,
                                       .application_name = "steelyard-leader",
                                       .running_max = LEADER_WORKERS,
                                       .statement_timeout_ms = LEADER_STATEMENT_MS};
    int rc = work_create(p->loop, &work, &p->work);
    if (rc == 0)
        rc = work_create(p->loop, &claims, &p->claims);
    return rc == 0 ? 0 : err_set(err, rc, "%s", err_text(rc));
}

int plane_create(uv_loop_t *loop, const struct settings *settings, struct plane **out_plane,
                 struct err *err)
{
    struct plane *p = mem_zalloc(sizeof *p);
    if (p == NULL)
        return err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    p->loop = loop;
    p->settings = settings;
    name_holder(p);
    int rc = identity_load_keys(settings->state_dir, settings->hash_key_file, &p->keys, err);
    if (rc == 0)
        rc = identity_load_operator(settings->state_dir, settings->operator_key, &p->operator_key,
                                    err);
    if (settings->config != NULL)
        (void)stat(settings->config, &p->file_seen);
    if (rc == 0 && settings->config != NULL)
        rc = load_file(settings->config, &p->config, err);
    if (rc == 0)
        rc = find_database(p, err);
    if (rc == 0)
        rc = plane_metrics_create(p, err);
    if (rc == 0)
        rc = create_work(p, err);
    if (rc == 0)
        rc = start_probes(p, err);
    if (rc != 0) {
        plane_destroy(p);
        return rc;
    }
    uv_timer_init(loop, &p->timer);
    p->timer.data = p;
    uv_timer_start(&p->timer, on_timer, TIMER_MS, TIMER_MS);
    plane_boot(p);
    *out_plane = p;
    return 0;
}

/* ---- stop ---- */

static void close_next(void *arg);

static void on_timer_closed(uv_handle_t *handle)
{
    struct plane *p = handle->data;
    p->state = PLANE_CLOSED;
    if (p->on_closed != NULL)
        p->on_closed(p->on_closed_arg);
}

/* Each part's close leads to the next; a part that never started is passed over. */
static void close_next(void *arg)
{
    struct plane *p = arg;
    if (p->admin != NULL) {
        struct admin *admin = p->admin;
        p->admin = NULL;
        admin_close(admin, close_next, p);
    } else if (p->nodes != NULL) {
        struct nodes *nodes = p->nodes;
        p->nodes = NULL;
        nodes_close(nodes, NODES_GRACE, close_next, p);
    } else if (p->words != NULL) {
        struct words *words = p->words;
        p->words = NULL;
        words_close(words, close_next, p);
    } else if (p->rollouts != NULL) {
        struct controller *rollouts = p->rollouts;
        p->rollouts = NULL;
        controller_close(rollouts, close_next, p);
    } else if (p->leases != NULL) {
        struct lease_service *leases = p->leases;
        p->leases = NULL;
        lease_service_close(leases, close_next, p);
    } else if (p->trainer != NULL) {
        struct trainer *trainer = p->trainer;
        p->trainer = NULL;
        trainer_close(trainer, close_next, p);
    } else if (p->evidence != NULL) {
        struct evidence *evidence = p->evidence;
        p->evidence = NULL;
        evidence_close(evidence, close_next, p);
    } else if (p->intake != NULL) {
        struct intake *intake = p->intake;
        p->intake = NULL;
        intake_close(intake, close_next, p);
    } else if (p->publish != NULL) {
        struct publish *publish = p->publish;
        p->publish = NULL;
        publish_close(publish, close_next, p);
    } else if (p->replicas != NULL) {
        struct replicas *replicas = p->replicas;
        p->replicas = NULL;
        replicas_close(replicas, close_next, p);
    } else if (p->leader != NULL) {
        struct leader *leader = p->leader;
        p->leader = NULL;
        leader_close(leader, close_next, p);
    } else if (p->keeper != NULL) {
        struct keeper *keeper = p->keeper;
        p->keeper = NULL;
        keeper_close(keeper, close_next, p);
    } else if (p->work != NULL) {
        struct work *work = p->work;
        p->work = NULL;
        work_close(work, close_next, p);
    } else if (p->claims != NULL) {
        struct work *claims = p->claims;
        p->claims = NULL;
        work_close(claims, close_next, p);
    } else if (p->probes_httpd != NULL) {
        struct httpd *httpd = p->probes_httpd;
        p->probes_httpd = NULL;
        httpd_close(httpd, close_next, p);
    } else {
        uv_close((uv_handle_t *)&p->drain_timer, NULL);
        uv_close((uv_handle_t *)&p->timer, on_timer_closed);
    }
}

/* Admin calls and streams of nodes end; nodes go to another control plane. */
static void stop_accepting(struct plane *p, uint64_t now_ms)
{
    p->state = PLANE_CLOSING;
    if (p->admin != NULL)
        admin_drain(p->admin);
    if (p->nodes != NULL)
        nodes_drain(p->nodes);
    p->drain_until_ms = now_ms + p->settings->drain_timeout_ms;
}

/* Admin calls and batches are waited for, up to --drain-timeout. Whatever then still waits for
 * Postgres is not waited for much longer: it is committed or it is not, and this process has told
 * nobody that it is. */
static void on_drain(uv_timer_t *timer)
{
    struct plane *p = timer->data;
    uint64_t now_ms = clock_mono_ms();
    if (p->state == PLANE_LEAVING) {
        if (now_ms >= p->drain_until_ms)
            stop_accepting(p, now_ms);
        return;
    }
    uint32_t calls = p->admin != NULL ? admin_busy(p->admin) : 0;
    size_t words = p->words != NULL ? words_waiting(p->words) : 0;
    size_t batches = p->nodes != NULL ? nodes_outstanding(p->nodes) : 0;
    if (p->parts_closing) {
        if (now_ms < p->drain_until_ms + DRAIN_CLOSE_MS)
            return;
        log_event(LOG_WARN, "ended while work was under way in the database");
        log_flush();
        _exit(0);
    }
    if (calls + batches + words > 0 && now_ms < p->drain_until_ms)
        return;
    if (calls + batches > 0)
        log_event(LOG_WARN, "not everything ended within --drain-timeout", LOG_U64("calls", calls),
                  LOG_U64("batches", batches));
    p->parts_closing = true;
    p->drain_until_ms = now_ms;
    close_next(p);
}

void plane_drain(struct plane *p, void (*cb)(void *arg), void *arg)
{
    if (p->state >= PLANE_LEAVING) {
        log_event(LOG_WARN, "ended at once");
        log_flush();
        _exit(1); /* The second signal: nothing acknowledged is only in this process. */
    }
    p->state = PLANE_LEAVING; /* Not ready from here on. */
    p->on_closed = cb;
    p->on_closed_arg = arg;
    log_event(LOG_INFO, "draining");
    if (p->leader != NULL)
        leader_resign(p->leader);
    uint64_t now_ms = clock_mono_ms();
    p->drain_until_ms = now_ms + p->settings->drain_delay_ms;
    if (p->settings->drain_delay_ms == 0)
        stop_accepting(p, now_ms);
    uv_timer_init(p->loop, &p->drain_timer);
    p->drain_timer.data = p;
    uv_timer_start(&p->drain_timer, on_drain, 0, DRAIN_LOOK_MS);
}

void plane_fail(struct plane *p, int status)
{
    p->status = status;
    uv_stop(p->loop);
}

int plane_status(const struct plane *p)
{
    return p->status;
}

void plane_destroy(struct plane *p)
{
    if (p == NULL)
        return;
    nodes_resources_unref(p->resources);
    config_destroy(p->config);
    config_destroy(p->next_config);
    secret_destroy(p->operator_key);
    metrics_destroy(p->metrics);
    mem_free(p);
}
