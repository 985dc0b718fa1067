/* Usual path: a job waits in line until fewer than running_max run, then goes to libuv's threads
 * with an idle connection (or none yet: the worker connects), runs, and comes back. A connection
 * that is no longer usable afterwards is closed; so is one with an open transaction, unless
 * ROLLBACK cleans it. */
#include "controlplane/store/work.h"

#include <assert.h>

#include "common/base/list.h"
#include "common/base/mem.h"

#define IDLE_MAX    4
#define RUNNING_MAX 3U

struct job {
    struct list node;
    uv_work_t req;
    struct work *work;
    struct pq_conn *conn;
    work_run_cb run;
    work_done_cb done;
    void *arg;
    int status;
    struct err err;
};

struct work {
    uv_loop_t *loop;
    struct work_config config;
    char *conninfo;
    char *application_name;
    struct list waiting;
    unsigned waiting_count;
    unsigned running;
    struct pq_conn *idle[IDLE_MAX];
    unsigned idle_count;
    bool closing;
    uv_timer_t closed; /* Only to leave work_close before its callback. */
    pq_close_cb close_cb;
    void *close_arg;
};

static void work_next(struct work *w);

int work_create(uv_loop_t *loop, const struct work_config *config, struct work **out_work)
{
    struct work *w = mem_zalloc(sizeof *w);
    if (w == NULL)
        return ERR_NOMEM;
    w->loop = loop;
    w->config = *config;
    if (w->config.running_max == 0)
        w->config.running_max = RUNNING_MAX;
    if (w->config.queue_max == 0)
        w->config.queue_max = 256;
    if (w->config.connect_timeout_ms == 0)
        w->config.connect_timeout_ms = 5000;
    if (w->config.statement_timeout_ms == 0)
        w->config.statement_timeout_ms = 30000;
    list_init(&w->waiting);
    w->conninfo = mem_strdup(config->conninfo);
    w->application_name = mem_strdup(config->application_name);
    if (w->conninfo == NULL || w->application_name == NULL) {
        mem_free(w->conninfo);
        mem_free(w->application_name);
        mem_free(w);
        return ERR_NOMEM;
    }
    (void)uv_timer_init(loop, &w->closed);
    *out_work = w;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct work *w = container_of(handle, struct work, closed);
    pq_close_cb cb = w->close_cb;
    void *arg = w->close_arg;
    while (w->idle_count > 0)
        pq_conn_close(w->idle[--w->idle_count]);
    mem_free(w->conninfo);
    mem_free(w->application_name);
    mem_free(w);
    if (cb != NULL)
        cb(arg);
}

static void run_on_worker(uv_work_t *req)
{
    struct job *job = container_of(req, struct job, req);
    const struct work *w = job->work;
    /* A connection that lay idle may have died meanwhile; asking is cheaper than failing. */
    if (job->conn != NULL && pq_conn_script(job->conn, "SELECT 1", NULL) != 0) {
        pq_conn_close(job->conn);
        job->conn = NULL;
    }
    if (job->conn == NULL)
        job->status = pq_conn_open(w->conninfo, w->application_name, w->config.connect_timeout_ms,
                                   w->config.statement_timeout_ms, &job->conn, &job->err);
    if (job->status == 0)
        job->status = job->run(job->arg, job->conn, &job->err);
    if (job->conn != NULL && pq_conn_in_transaction(job->conn))
        pq_conn_attempt(job->conn, "ROLLBACK");
    if (job->conn != NULL && !pq_conn_is_usable(job->conn)) {
        pq_conn_close(job->conn);
        job->conn = NULL;
    }
}

static void on_done(uv_work_t *req, int status)
{
    struct job *job = container_of(req, struct job, req);
    struct work *w = job->work;
    (void)status; /* Never cancelled once queued. */
    w->running--;
    if (job->conn != NULL) {
        if (w->idle_count < IDLE_MAX && !w->closing)
            w->idle[w->idle_count++] = job->conn;
        else
            pq_conn_close(job->conn);
    }
    job->done(job->arg, job->status, &job->err);
    mem_free(job);
    if (!w->closing)
        work_next(w);
    else if (w->running == 0)
        uv_close((uv_handle_t *)&w->closed, on_closed);
}

static void work_next(struct work *w)
{
    while (w->running < w->config.running_max && !list_empty(&w->waiting)) {
        struct job *job = container_of(list_pop_front(&w->waiting), struct job, node);
        w->waiting_count--;
        w->running++;
        if (w->idle_count > 0)
            job->conn = w->idle[--w->idle_count];
        int rc = uv_queue_work(w->loop, &job->req, run_on_worker, on_done);
        assert(rc == 0); /* Fails only for a missing callback. */
        (void)rc;
    }
}

int work_submit(struct work *w, work_run_cb run, work_done_cb done, void *arg)
{
    if (w->closing)
        return ERR_CANCELED;
    if (w->waiting_count >= w->config.queue_max)
        return ERR_BUSY;
    struct job *job = mem_zalloc(sizeof *job);
    if (job == NULL)
        return ERR_NOMEM;
    job->work = w;
    job->run = run;
    job->done = done;
    job->arg = arg;
    list_push_back(&w->waiting, &job->node);
    w->waiting_count++;
    work_next(w);
    return 0;
}

void work_close(struct work *w, pq_close_cb cb, void *arg)
{
    assert(!w->closing);
    w->closing = true;
    w->close_cb = cb;
    w->close_arg = arg;
    for (struct list *it; (it = list_pop_front(&w->waiting)) != NULL;) {
        struct job *job = container_of(it, struct job, node);
        w->waiting_count--;
        err_set(&job->err, ERR_CANCELED, "shutting down");
        job->done(job->arg, ERR_CANCELED, &job->err);
        mem_free(job);
    }
    if (w->running == 0)
        uv_close((uv_handle_t *)&w->closed, on_closed);
}
