#include "controlplane/budgets/lease_service.h"

#include <assert.h>

#include "common/base/list.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "controlplane/store/work.h"

#define SWEEP_MS_DEFAULT 30000U
#define RUNNING_DEFAULT  2U
#define QUEUE_MAX        4096U

struct lease_service {
    struct lease_service_config config;
    struct work *work;
    struct pq_pool *pool; /* Only to listen. */
    uv_timer_t sweep_timer;
    bool sweeping;
    bool closing;
    void (*on_closed)(void *arg);
    void *closed_arg;
};

struct lease_job {
    struct lease_service *service;
    const struct lease_report *report; /* NULL: recalls. */
    struct uuid node_id;
    uint64_t epoch;
    struct lease_reply reply;
    lease_reply_cb cb;
    void *user;
};

/* ---- jobs ---- */

static int run_job(void *arg, struct pq_conn *c, struct err *err)
{
    struct lease_job *j = arg;
    if (j->report == NULL)
        return lease_store_recalls(c, &j->node_id, j->epoch, &j->reply, err);
    return lease_store_report(c, &j->service->config.settings, j->report, &j->reply, err);
}

static void job_done(void *arg, int status, const struct err *err)
{
    struct lease_job *j = arg;
    if (status != 0 && status != ERR_CANCELED && status != ERR_UNAVAILABLE)
        log_event(LOG_WARN, "a node's report on budgets was not stored",
                  LOG_TEXT_FIELD("error", err->message));
    j->cb(j->user, status, &j->reply);
    lease_reply_deinit(&j->reply);
    mem_free(j);
}

static int submit(struct lease_service *s, const struct lease_job *job)
{
    struct lease_job *j = mem_alloc(sizeof(*j));
    if (j == NULL)
        return ERR_NOMEM;
    *j = *job;
    int rc = work_submit(s->work, run_job, job_done, j);
    if (rc != 0)
        mem_free(j);
    return rc;
}

int lease_service_report(struct lease_service *s, const struct lease_report *report,
                         lease_reply_cb cb, void *user)
{
    return submit(s, &(struct lease_job){.service = s, .report = report, .cb = cb, .user = user});
}

int lease_service_recalls(struct lease_service *s, const struct uuid *node_id, uint64_t epoch,
                          lease_reply_cb cb, void *user)
{
    return submit(s,
                  &(struct lease_job){
                      .service = s, .node_id = *node_id, .epoch = epoch, .cb = cb, .user = user});
}

/* ---- the sweep ---- */

struct sweep {
    struct lease_service *service;
    unsigned lost;
};

static int run_sweep(void *arg, struct pq_conn *c, struct err *err)
{
    struct sweep *w = arg;
    return lease_store_sweep(c, &w->service->config.settings, &w->lost, err);
}

static void sweep_done(void *arg, int status, const struct err *err)
{
    struct sweep *w = arg;
    w->service->sweeping = false;
    if (w->lost > 0)
        log_event(LOG_WARN, "nodes fell silent: what they held of strict budgets stays committed",
                  LOG_U64("lives", w->lost));
    if (status != 0 && status != ERR_CANCELED && status != ERR_UNAVAILABLE)
        log_event(LOG_WARN, "silent nodes were not looked for",
                  LOG_TEXT_FIELD("error", err->message));
    mem_free(w);
}

static void on_sweep(uv_timer_t *timer)
{
    struct lease_service *s = container_of(timer, struct lease_service, sweep_timer);
    struct sweep *w = s->sweeping ? NULL : mem_zalloc(sizeof(*w));
    if (w == NULL)
        return;
    w->service = s;
    if (work_submit(s->work, run_sweep, sweep_done, w) == 0)
        s->sweeping = true;
    else
        mem_free(w);
}

/* ---- notifications ---- */

static void on_notify(void *arg, struct str channel, struct str payload)
{
    struct lease_service *s = arg;
    (void)channel;
    if (!s->closing && s->config.on_recall != NULL)
        s->config.on_recall(s->config.arg, payload);
}

/* ---- life ---- */

int lease_service_create(uv_loop_t *loop, const struct lease_service_config *config,
                         struct lease_service **out_service, struct err *err)
{
    struct lease_service *s = mem_zalloc(sizeof(*s));
    if (s == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    s->config = *config;
    const struct work_config work = {.conninfo = config->conninfo,
                                     .application_name = "steelyard-budgets",
                                     .running_max = config->running_max != 0 ? config->running_max
                                                                             : RUNNING_DEFAULT,
                                     .queue_max = QUEUE_MAX,
                                     .statement_timeout_ms = 10000};
    const struct pq_pool_config pool = {.conninfo = config->conninfo,
                                        .application_name = "steelyard-recalls",
                                        .size = 1,
                                        .setup = "LISTEN " LEASE_RECALL_CHANNEL,
                                        .on_notify = on_notify,
                                        .arg = s};
    int rc = pq_pool_create(loop, &pool, &s->pool, err);
    if (rc == 0 && (rc = work_create(loop, &work, &s->work)) != 0) {
        pq_pool_close(s->pool, NULL, NULL);
        (void)err_set(err, rc, "out of memory");
    }
    if (rc != 0) {
        mem_free(s);
        return rc;
    }
    uint32_t sweep_ms = config->sweep_ms != 0 ? config->sweep_ms : SWEEP_MS_DEFAULT;
    (void)uv_timer_init(loop, &s->sweep_timer);
    (void)uv_timer_start(&s->sweep_timer, on_sweep, sweep_ms, sweep_ms);
    *out_service = s;
    return 0;
}

const struct lease_settings *lease_service_settings(const struct lease_service *s)
{
    return &s->config.settings;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct lease_service *s = container_of(handle, struct lease_service, sweep_timer);
    void (*cb)(void *) = s->on_closed;
    void *arg = s->closed_arg;
    mem_free(s);
    cb(arg);
}

static void on_work_closed(void *arg)
{
    struct lease_service *s = arg;
    uv_close((uv_handle_t *)&s->sweep_timer, on_timer_closed);
}

static void on_pool_closed(void *arg)
{
    struct lease_service *s = arg;
    work_close(s->work, on_work_closed, s);
}

void lease_service_close(struct lease_service *s, void (*cb)(void *arg), void *arg)
{
    assert(!s->closing);
    s->closing = true;
    s->on_closed = cb;
    s->closed_arg = arg;
    (void)uv_timer_stop(&s->sweep_timer);
    pq_pool_close(s->pool, on_pool_closed, s);
}
