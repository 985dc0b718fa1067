/* What must be true before anything is served, and what is kept true later: schema, partitions, the
 * fence, the configuration file. All of it is blocking database work on a worker thread. */
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "controlplane/plane_internal.h"
#include "controlplane/store/migrate.h"

#define DAYS_AHEAD 7U

static struct publish_actor config_actor(void)
{
    return (struct publish_actor){.name = STR("config"), .reason = STR("configuration file")};
}

/* The worker's thread; logging is for any thread. */
static void on_partition(void *arg, enum partitions_event event, const char *name, uint64_t rows,
                         uint64_t bytes)
{
    static const char *const texts[] = {
        [PARTITIONS_ADOPTED] = "rows without a partition have one now",
        [PARTITIONS_DETACHED] = "an expired partition is detached",
        [PARTITIONS_DROPPED] = "an expired partition is dropped",
        [PARTITIONS_IN_USE] = "a partitioned table is in use: the next hour tries again",
    };
    (void)arg;
    log_event(LOG_INFO, texts[event], LOG_TEXT_FIELD("partition", name), LOG_U64("rows", rows),
              LOG_U64("bytes", bytes));
}

static int keep_partitions(const struct plane *p, struct pq_conn *c, struct err *err)
{
    const struct settings *s = p->settings;
    const struct partitions_config config = {.days_ahead = DAYS_AHEAD,
                                             .retention_days = (unsigned)p->retention_days,
                                             .attempt_days = (unsigned)s->attempt_days,
                                             .feedback_days = (unsigned)s->feedback_days,
                                             .on_event = on_partition};
    unsigned created, dropped;
    return partitions_maintain(c, &config, clock_wall_us(), &created, &dropped, err);
}

/* Worker thread. The loop does not touch what is written here until the job is done. */
static int run_boot(void *arg, struct pq_conn *c, struct err *err)
{
    struct plane *p = arg;
    uint64_t generation;
    int rc = p->settings->auto_migrate ? migrate_run(c, NULL, err) : 0;
    if (rc == 0)
        rc = migrate_check(c, err);
    if (rc == 0)
        rc = keep_partitions(p, c, err);
    if (rc == 0) {
        const struct publish_actor actor = config_actor();
        rc = apply_config(c, &actor, p->config, &p->keys, &generation, err);
    }
    return rc;
}

static void on_booted(void *arg, int status, const struct err *err)
{
    struct plane *p = arg;
    p->booting = false;
    if (status == 0) {
        p->last_partitions_ms = clock_mono_ms();
        plane_booted(p);
    } else if (status == ERR_UNAVAILABLE || status == ERR_TIMEOUT || status == ERR_CONFLICT) {
        log_event(LOG_WARN, "postgres is awaited", LOG_TEXT_FIELD("error", err->message));
    } else if (status != ERR_CANCELED) {
        log_event(LOG_ERROR, "cannot start", LOG_TEXT_FIELD("error", err->message));
        plane_fail(p, status);
    }
}

/* On the loop: the job reads it while another file may come into force. */
static void take_retention(struct plane *p)
{
    uint64_t of_file = p->config != NULL ? config_settings(p->config).retention_days : 0;
    p->retention_days = settings_retention_days(p->settings, of_file);
}

void plane_boot(struct plane *p)
{
    if (!p->booting)
        take_retention(p);
    if (!p->booting && work_submit(p->work, run_boot, on_booted, p) == 0)
        p->booting = true;
}

static int run_apply(void *arg, struct pq_conn *c, struct err *err)
{
    struct plane *p = arg;
    uint64_t generation;
    const struct publish_actor actor = config_actor();
    return apply_config(c, &actor, p->next_config, &p->keys, &generation, err);
}

static void on_applied(void *arg, int status, const struct err *err)
{
    struct plane *p = arg;
    p->applying = false;
    plane_count_reload(p, status == 0);
    if (status == 0) {
        config_destroy(p->config);
        p->config = p->next_config;
        p->next_config = NULL;
        p->label_maturity_ms = config_settings(p->config).label_maturity_ms;
        publish_refresh(p->publish);
        log_event(LOG_INFO, "configuration reloaded");
        return;
    }
    config_destroy(p->next_config);
    p->next_config = NULL;
    log_event(LOG_ERROR, "configuration not applied: the old one stays",
              LOG_TEXT_FIELD("error", err->message));
}

void plane_apply(struct plane *p, struct config *config)
{
    if (p->applying || p->state != PLANE_SERVING) {
        plane_count_reload(p, false);
        log_event(LOG_WARN, "reload ignored: the control plane is busy with another one");
        config_destroy(config);
        return;
    }
    p->next_config = config;
    p->applying = true;
    if (work_submit(p->work, run_apply, on_applied, p) != 0) {
        p->applying = false;
        p->next_config = NULL;
        config_destroy(config);
        plane_count_reload(p, false);
        log_event(LOG_ERROR, "reload refused: the work queue is full");
    }
}

static int run_maintain(void *arg, struct pq_conn *c, struct err *err)
{
    const struct plane *p = arg;
    int rc = leader_check(c, &p->keeper_claim, err); /* Two may do it; a deposed one finds out. */
    return rc == 0 ? keep_partitions(p, c, err) : rc;
}

static void on_maintained(void *arg, int status, const struct err *err)
{
    struct plane *p = arg;
    if (status == ERR_CONFLICT)
        leader_deposed(p->leader, LEADER_KEEPER, p->keeper_claim.term);
    if (status != 0 && status != ERR_CANCELED)
        log_event(LOG_WARN, "partitions not checked", LOG_TEXT_FIELD("error", err->message));
}

void plane_maintain(struct plane *p)
{
    take_retention(p);
    if (work_submit(p->work, run_maintain, on_maintained, p) != 0)
        log_event(LOG_WARN, "partitions not checked: the work queue is full");
}
