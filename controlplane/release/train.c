/* A training run: queued -> running -> done or failed.
 *
 * The thread has a connection of its own. Usual path: read which models the policy's routes choose
 * among and what the catalogue knows of them, stream the labelled rows of one snapshot into a data
 * set, learn, store artifact, parameters and report as a version, promote when asked and all gates
 * are ok. A target that cannot be reached is a failed job whose message says what can be; rows that
 * are of no use (a model the policy no longer has, a fallback that served) are counted, not
 * refused. */
#include "controlplane/release/train.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "controlplane/learn/pipeline.h"
#include "controlplane/release/explain_run.h"
#include "controlplane/release/replay_gate.h"
#include "controlplane/release/train_queue.h"
#include "controlplane/release/train_rows.h"

#include "controlplane/store/training_store.h"

#define LOOK_MS 1000U

struct run {
    struct trainer *trainer;
    struct train_request request;
    const struct publish_set *set; /* A reference; its memory is immutable. */
    char *conninfo;
    struct leader_claim claim;
    uint32_t hash_key_id;
    struct siphash_key draw_key;
    int status;
    struct err err;
    bool deposed; /* status came of the fence. */
    uint64_t version;
    bool passed;
    bool promoted;
    bool rolling;
};

struct trainer {
    uv_loop_t *loop;
    struct trainer_config config;
    char *conninfo;
    uv_thread_t thread;
    uv_async_t done;
    uv_mutex_t lock; /* Of what follows. */
    struct run *run; /* NULL: none. */
    struct train_progress progress;
    bool cancel;
    /* Of the loop alone. */
    uv_timer_t timer;
    bool taking; /* A job looks for the next run; it alone writes what follows. */
    bool found, deposed;
    struct leader_claim claim;
    struct train_request next;
    unsigned handles;
    bool closing;
    void (*close_cb)(void *arg);
    void *close_arg;
};

/* --- progress ----------------------------------------------------------------------------------
 */

/* false: cancelled. */
static bool report(struct run *run, const char *phase, uint64_t done, uint64_t total)
{
    struct trainer *t = run->trainer;
    uv_mutex_lock(&t->lock);
    t->progress = (struct train_progress){.phase = phase, .done = done, .total = total};
    bool cancel = t->cancel;
    uv_mutex_unlock(&t->lock);
    return !cancel;
}

static bool on_learn_progress(const struct learn_progress *p, void *data)
{
    return report(data, p->phase, p->done, p->total);
}

bool trainer_progress(const struct trainer *t, const char *job, struct train_progress *out_progress)
{
    uv_mutex_t *lock = (uv_mutex_t *)(uintptr_t)&t->lock;
    uv_mutex_lock(lock);
    bool ours = t->run != NULL && strcmp(t->run->request.job, job) == 0;
    if (ours)
        *out_progress = t->progress;
    uv_mutex_unlock(lock);
    return ours;
}

bool trainer_is_running(const struct trainer *t)
{
    uv_mutex_t *lock = (uv_mutex_t *)(uintptr_t)&t->lock;
    uv_mutex_lock(lock);
    bool runs = t->run != NULL;
    uv_mutex_unlock(lock);
    return runs || t->taking;
}

/* --- job rows ----------------------------------------------------------------------------------
 */

static void job_finished(struct pq_conn *c, const struct run *run)
{
    struct err ignored;
    char result[160] = "{}", message[600];
    if (run->version > 0)
        snprintf(result, sizeof result, "{\"policy\":\"%s\",\"version\":%llu,\"promoted\":%s}",
                 run->request.policy, (unsigned long long)run->version,
                 run->promoted ? "true" : "false");
    if (run->status != 0)
        snprintf(message, sizeof message, "%s", run->err.message);
    else
        snprintf(message, sizeof message, "%s",
                 run->rolling    ? "a rollout began"
                 : run->promoted ? "promoted"
                                 : (run->passed ? "all gates passed" : "rejected by its gates"));
    int rc = train_queue_end(c, &run->claim, run->request.job, run->status == 0, str_from(message),
                             str_from(result), &ignored);
    (void)rc; /* Whoever looks next, here or elsewhere, finds it running and runs it again. */
}

/* --- learning ----------------------------------------------------------------------------------
 */

/* USD a day -> USD a request, by the requests of the last seven days. */
static int spend_per_request(struct pq_conn *c, const struct train_facts *facts, double per_day,
                             double *out, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    int rc = train_facts_routes(facts, &p);
    if (rc == 0)
        rc =
            pq_conn_query(c,
                          "SELECT coalesce(sum(decisions), 0), greatest(extract(epoch FROM now() - "
                          "min(hour)) / 86400, 0.04) FROM usage_hour WHERE hour > now() - "
                          "interval '7 days' AND route = ANY (string_to_array($1, chr(10)))",
                          &p, &r, err);
    if (rc != 0)
        return rc;
    double n = (double)pq_result_i64(r, 0, 0), days = pq_result_double(r, 0, 1);
    pq_result_destroy(r);
    if (n < 1)
        return err_set(err, ERR_INVALID,
                       "no traffic in the last 7 days to tell what a request may cost; give a "
                       "quality target instead");
    *out = per_day * days / n;
    return 0;
}

static int set_target(struct pq_conn *c, const struct run *run, const struct train_facts *facts,
                      struct learn_target *out, struct err *err)
{
    out->value = run->request.value;
    switch (run->request.target) {
    case TRAIN_QUALITY:
        out->kind = LEARN_TARGET_QUALITY;
        return 0;
    case TRAIN_FLOOR:
        out->kind = LEARN_TARGET_FLOOR;
        return 0;
    case TRAIN_SPEND_PER_DAY:
        out->kind = LEARN_TARGET_SPEND;
        return spend_per_request(c, facts, run->request.value, &out->value, err);
    }
    return ERR_INVALID;
}

static int store_result(struct pq_conn *c, struct run *run, const struct train_facts *facts,
                        const struct dataset *data, const struct learn_result *result,
                        struct err *err)
{
    static const char *const targets[] = {"quality", "quality_floor", "spend_usd_per_day"};
    struct buf params = {0};
    struct sha256 digest;
    char target[96];
    buf_init(&params, 65536);
    snprintf(target, sizeof target, "{\"%s\":%.9g}", targets[run->request.target],
             run->request.value);
    int rc = dataset_digest(data, &digest);
    if (rc == 0)
        rc = train_params(facts, buf_str(&result->artifact), &params, err);
    if (rc == 0) {
        struct publish_actor actor = {.name = str_from(run->request.actor),
                                      .reason = str_from(run->request.reason),
                                      .claim = &run->claim};
        struct publish_policy policy = {
            .name = str_from(run->request.policy),
            .artifact = buf_str(&result->artifact),
            .params = buf_str(&params),
            .report_json = buf_str(&result->report),
            .target_json = str_from(target),
            .data_digest = {.data = (const char *)digest.bytes, .len = sizeof digest.bytes},
            .rows = dataset_rows(data),
            .verdict = str_from(learn_verdict_name(result->verdict)),
            .gates_ok = result->passed};
        uint64_t generation;
        rc = publish_policy_store(c, &actor, &policy, &run->version, err);
        run->passed = result->passed;
        if (rc == 0 && run->request.promote && result->passed) {
            rc = publish_policy_promote(c, &actor, policy.name, run->version, &generation, err);
            run->promoted = rc == 0;
        }
    }
    buf_deinit(&params);
    return rc;
}

static void real_or_null(struct pq_params *p, double value)
{
    char text[40];
    snprintf(text, sizeof text, "%.17g", value);
    pq_params_text(p, isfinite(value) ? str_from(text) : STR_NULL);
}

static int insert_estimate(struct pq_conn *c, const struct run *run,
                           const struct explain_version_result *r, struct err *err)
{
    struct pq_params p = {0};
    pq_params_text(&p, str_from(run->request.policy));
    pq_params_i64(&p, (int64_t)run->version);
    pq_params_i64(&p, r->rows);
    real_or_null(&p, r->churn);
    real_or_null(&p, r->cost_now.of.value);
    real_or_null(&p, r->cost_then.of.value);
    real_or_null(&p, r->cost_then.of.low);
    real_or_null(&p, r->cost_then.of.high);
    pq_params_text(&p, str_from(explain_version_basis_name(r->cost_then.basis)));
    real_or_null(&p, r->quality_then.of.value);
    real_or_null(&p, r->quality_then.of.low);
    real_or_null(&p, r->quality_then.of.high);
    pq_params_text(&p, str_from(explain_version_basis_name(r->quality_then.basis)));
    return pq_conn_query(c,
                         "INSERT INTO policy_estimate (name, version, decisions, churn, cost_now, "
                         "cost_then, cost_low, cost_high, cost_basis, quality_then, quality_low, "
                         "quality_high, quality_basis) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, "
                         "$10, $11, $12, $13)",
                         &p, NULL, err);
}

/* What is said of the version the moment it is made stays with it. It decides nothing, so that a
 * version whose decisions cannot be explained (there are none yet) is as good as before. */
static void keep_estimate(struct pq_conn *c, const struct run *run)
{
    const struct explain_run_request request = {.conninfo = run->conninfo,
                                                .set = run->set,
                                                .policy = run->request.policy,
                                                .version = run->version,
                                                .decisions = EXPLAIN_RUN_DEFAULT,
                                                .draw_key = run->draw_key};
    struct err ignored = {0};
    struct explain_run *x = mem_zalloc(sizeof *x);
    if (x == NULL)
        return;
    if (explain_run(c, &request, x, &ignored) == 0) {
        if (insert_estimate(c, run, &x->result, &ignored) != 0)
            log_event(LOG_WARN, "the estimate of a new version was not kept",
                      LOG_TEXT_FIELD("error", ignored.message));
        explain_run_deinit(x);
    }
    mem_free(x);
}

/* Nobody waits for what the schedule made: it goes on by evidence, or stays a candidate. */
static void start_rollout(struct pq_conn *c, struct run *run, const char *verdict)
{
    const struct trainer_config *config = &run->trainer->config;
    struct publish_actor actor = {.name = str_from(run->request.actor),
                                  .reason = str_from(run->request.reason),
                                  .claim = &run->claim};
    struct err err = {0};
    if (strcmp(run->request.actor, TRAIN_BY_ITSELF) != 0 || !run->passed ||
        config->start_rollout == NULL)
        return;
    if (config->start_rollout(config->arg, c, &actor, str_from(run->request.policy), run->version,
                              str_from(verdict), &err) == 0)
        run->rolling = true;
    else
        log_event(LOG_WARN, "a trained version stays a candidate",
                  LOG_TEXT_FIELD("policy", run->request.policy), LOG_U64("version", run->version),
                  LOG_TEXT_FIELD("error", err.message));
}

static int learn(struct pq_conn *c, struct run *run, struct train_facts *facts,
                 struct dataset *data, struct err *err)
{
    struct learn_options options;
    struct learn_result result = {0};
    struct learn_gate replayed;
    learn_options_init(&options);
    options.models = facts->models;
    options.generation = facts->next_version;
    options.window_from_us = run->request.since_us;
    options.window_to_us = run->request.until_us;
    options.hash_key_id = run->hash_key_id;
    options.incumbent = buf_str(&facts->incumbent);
    options.on_progress = on_learn_progress;
    options.on_progress_data = run;
    int rc = set_target(c, run, facts, &options.target, err);
    if (rc == 0 && facts->incumbent.len > 0) {
        rc = replay_gate(c, run->conninfo, buf_str(&facts->incumbent), run->draw_key, &replayed,
                         err);
        options.gates = &replayed;
        options.gate_count = 1;
    }
    if (rc == 0)
        rc = learn_run(data, &options, &result, err);
    if (rc == 0 && result.artifact.len == 0)
        rc = err_set(err, ERR_RANGE, "the target cannot be reached");
    if (rc == 0)
        rc = store_result(c, run, facts, data, &result, err);
    if (rc == 0)
        keep_estimate(c, run);
    if (rc == 0)
        start_rollout(c, run, learn_verdict_name(result.verdict));
    learn_result_deinit(&result);
    return rc;
}

static int run_all(struct pq_conn *c, struct run *run, struct err *err)
{
    struct train_facts facts = {0};
    struct dataset *data = NULL;
    struct train_rows rows = {0};
    if (run->request.until_us == 0)
        run->request.until_us = clock_wall_us() + 1000000;
    int rc = train_facts_load(c, run->set, run->request.policy, &facts, err);
    if (rc == 0)
        rc = dataset_create(facts.model_ids, facts.model_count, 0, &data, err);
    if (rc == 0) {
        struct training_query query = {
            .since_us = run->request.since_us,
            .until_us = run->request.until_us,
            .label_before_us = clock_wall_us() - (int64_t)run->request.maturity_ms * 1000,
            .routes = run->request.mode == TRAIN_OBSERVED ? facts.routes : NULL,
            .route_count = run->request.mode == TRAIN_OBSERVED ? facts.route_count : 0,
            .order = run->request.mode == TRAIN_FULL ? TRAINING_BY_QUESTION : TRAINING_BY_TIME};
        train_rows_init(&rows, &facts, data, run->request.mode, run->request.until_us);
        (void)report(run, "rows", 0, 1);
        rc = training_stream(c, &query, train_rows_add, &rows, err);
        if (rc == 0)
            rc = train_rows_finish(&rows);
        if (rc != 0 && rows.err.message[0] != '\0')
            *err = rows.err;
    }
    if (rc == 0 && dataset_rows(data) == 0)
        rc = err_set(err, ERR_INVALID,
                     "no labelled requests to learn from (%llu labels seen, %llu not usable)",
                     (unsigned long long)rows.seen, (unsigned long long)rows.unusable);
    if (rc == 0)
        rc = learn(c, run, &facts, data, err);
    train_rows_deinit(&rows);
    dataset_destroy(data);
    train_facts_deinit(&facts);
    return rc;
}

/* Deposed, or told to stop: the run is the next leader's. */
static bool is_interrupted(const struct run *run)
{
    struct trainer *t = run->trainer;
    uv_mutex_lock(&t->lock);
    bool cancel = t->cancel;
    uv_mutex_unlock(&t->lock);
    return run->status != 0 && (cancel || run->deposed);
}

static void run_thread(void *arg)
{
    struct run *run = arg;
    struct pq_conn *c = NULL;
    run->status = pq_conn_open(run->conninfo, "steelyard-train", 10000, 300000, &c, &run->err);
    if (run->status == 0)
        run->status = run_all(c, run, &run->err);
    if (run->status != 0 && run->err.message[0] == '\0')
        (void)err_set(&run->err, run->status, "%s", err_text(run->status));
    if (c != NULL && pq_conn_in_transaction(c))
        pq_conn_attempt(c, "ROLLBACK");
    /* Somebody may also have put another version in service meanwhile. */
    run->deposed = c != NULL && run->status == ERR_CONFLICT && leader_is_deposed(c, &run->claim);
    if (c != NULL && !is_interrupted(run))
        job_finished(c, run);
    pq_conn_close(c);
    (void)uv_async_send(&run->trainer->done);
}

/* --- the trainer on the loop --------------------------------------------------------------------
 *
 *   IDLE -> taking (a job) -> running (a thread) -> IDLE; only while the role is held.
 */

static void on_handle_closed(uv_handle_t *handle)
{
    struct trainer *t = handle->data;
    void (*cb)(void *) = t->close_cb;
    void *arg = t->close_arg;
    if (--t->handles > 0)
        return;
    uv_mutex_destroy(&t->lock);
    mem_free(t->conninfo);
    mem_free(t);
    if (cb != NULL)
        cb(arg);
}

static void maybe_gone(struct trainer *t)
{
    if (!t->closing || t->run != NULL || t->taking)
        return;
    uv_close((uv_handle_t *)&t->done, on_handle_closed);
    uv_close((uv_handle_t *)&t->timer, on_handle_closed);
}

static void run_destroy(struct run *run)
{
    publish_set_unref(run->set);
    mem_free(run->conninfo);
    mem_free(run);
}

/* Whoever asks for progress, on any thread, sees a run whole or none. */
static void set_run(struct trainer *t, struct run *run)
{
    uv_mutex_lock(&t->lock);
    t->cancel = false;
    t->progress = (struct train_progress){.phase = "queued", .total = 1};
    t->run = run;
    uv_mutex_unlock(&t->lock);
}

static void on_done(uv_async_t *async)
{
    struct trainer *t = async->data;
    struct run *run = t->run;
    if (run == NULL)
        return;
    (void)uv_thread_join(&t->thread);
    set_run(t, NULL);
    bool promoted = run->promoted || run->rolling;
    if (run->deposed)
        leader_deposed(t->config.leader, LEADER_TRAINER, run->claim.term);
    if (run->status != 0)
        log_event(LOG_WARN, "a training run ended", LOG_TEXT_FIELD("job", run->request.job),
                  LOG_TEXT_FIELD("error", run->err.message));
    run_destroy(run);
    if (promoted && t->config.on_published != NULL && !t->closing)
        t->config.on_published(t->config.arg);
    maybe_gone(t);
}

/* 0, or why the run that was taken cannot begin here: the next leader takes it. */
static int begin(struct trainer *t, const struct publish_set *set)
{
    struct run *run = mem_zalloc(sizeof *run);
    char *conninfo = mem_strdup(t->conninfo);
    if (run == NULL || conninfo == NULL) {
        mem_free(run);
        mem_free(conninfo);
        return ERR_NOMEM;
    }
    run->trainer = t;
    run->request = t->next;
    run->set = set;
    run->conninfo = conninfo;
    run->claim = t->claim;
    run->hash_key_id = t->config.hash_key_id;
    run->draw_key = t->config.draw_key;
    publish_set_ref(set);
    set_run(t, run);
    if (uv_thread_create(&t->thread, run_thread, run) != 0) {
        set_run(t, NULL);
        run_destroy(run);
        return ERR_NOMEM;
    }
    return 0;
}

/* Worker thread. */
static int run_take(void *arg, struct pq_conn *c, struct err *err)
{
    struct trainer *t = arg;
    int rc = train_queue_take(c, &t->claim, &t->next, &t->found, err);
    t->deposed = rc == ERR_CONFLICT && leader_is_deposed(c, &t->claim);
    return rc;
}

static void on_taken(void *arg, int status, const struct err *err)
{
    struct trainer *t = arg;
    t->taking = false;
    if (t->deposed)
        leader_deposed(t->config.leader, LEADER_TRAINER, t->claim.term);
    else if (status != 0 && status != ERR_CANCELED)
        log_event(LOG_WARN, "training runs were not looked for",
                  LOG_TEXT_FIELD("error", err->message));
    const struct publish_set *set = t->config.current(t->config.arg);
    if (status == 0 && t->found && !t->closing && set != NULL && begin(t, set) != 0)
        log_event(LOG_ERROR, "a training run cannot begin: out of memory",
                  LOG_TEXT_FIELD("job", t->next.job));
    maybe_gone(t);
}

void trainer_look(struct trainer *t)
{
    if (t->taking || t->run != NULL || t->closing || t->config.current(t->config.arg) == NULL ||
        !leader_get_claim(t->config.leader, LEADER_TRAINER, &t->claim))
        return;
    t->found = t->deposed = false;
    t->taking = work_submit(t->config.work, run_take, on_taken, t) == 0;
}

/* A run whose role went ends without a result, as soon as it looks. */
static void on_timer(uv_timer_t *timer)
{
    struct trainer *t = timer->data;
    if (t->run != NULL && leader_term(t->config.leader, LEADER_TRAINER) != t->run->claim.term) {
        uv_mutex_lock(&t->lock);
        t->cancel = true;
        uv_mutex_unlock(&t->lock);
    }
    trainer_look(t);
}

int trainer_create(uv_loop_t *loop, const struct trainer_config *config,
                   struct trainer **out_trainer, struct err *err)
{
    struct trainer *t = mem_zalloc(sizeof *t);
    if (t == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    t->loop = loop;
    t->config = *config;
    t->conninfo = mem_strdup(config->conninfo);
    if (t->conninfo == NULL || uv_mutex_init(&t->lock) != 0) {
        mem_free(t->conninfo);
        mem_free(t);
        return err_set(err, ERR_NOMEM, "out of memory");
    }
    (void)uv_async_init(loop, &t->done, on_done);
    (void)uv_timer_init(loop, &t->timer);
    t->done.data = t->timer.data = t;
    t->handles = 2;
    (void)uv_timer_start(&t->timer, on_timer, LOOK_MS, LOOK_MS);
    *out_trainer = t;
    return 0;
}

void trainer_close(struct trainer *t, void (*cb)(void *arg), void *arg)
{
    assert(!t->closing);
    t->closing = true;
    t->close_cb = cb;
    t->close_arg = arg;
    (void)uv_timer_stop(&t->timer);
    uv_mutex_lock(&t->lock);
    t->cancel = true;
    uv_mutex_unlock(&t->lock);
    maybe_gone(t);
}
