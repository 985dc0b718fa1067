/* Usual path: the timer submits a turn (scan, claim, and a reconciliation when one is due) to the
 * workers; claimed messages are posted one after the other; each outcome is stored by a job of its
 * own, and the next turn waits for the timer.
 *
 *   IDLE -> TURN -> (POST -> MARK)... -> IDLE
 *
 * Ways to fail: the database is away: the next turn tries again. A receiver is away, slow, or does
 * not answer 2xx: the message is due again later; the same when its outcome could not be stored, so
 * that it may come twice. */
#include "controlplane/spend/keeper.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/net/fetch.h"
#include "controlplane/spend/notices.h"
#include "controlplane/spend/reconcile.h"

#define DAY_MS         86400000U
#define SCAN_MS        5000U
#define RETRY_FIRST_MS 30000U
#define POST_TOTAL_MS  10000U
#define ORIGIN_BYTES   300U

enum keeper_state { KEEPER_IDLE, KEEPER_TURN, KEEPER_POST, KEEPER_MARK };

struct keeper {
    uv_loop_t *loop;
    struct keeper_config config;
    enum keeper_state state;
    uv_timer_t timer;
    struct fetch_loop *fetch;
    struct fetch_origin *origin; /* Of the message under way. */
    struct notice notices[NOTICE_CLAIM_MAX];
    unsigned count, at;
    char problem[512]; /* "": delivered. */
    bool ran;          /* A check, in this turn. */
    struct reconcile_result check;
    int64_t noticed;
    struct leader_claim claim; /* Of this turn. */
    struct keeper_stats stats;
    bool closing;
    void (*close_cb)(void *arg);
    void *close_arg;
};

static void next_message(struct keeper *k);

/* --- messages -----------------------------------------------------------------------------------
 */

static int run_mark(void *arg, struct pq_conn *c, struct err *err)
{
    struct keeper *k = arg;
    return notices_done(c, k->notices[k->at].id, k->problem[0] == '\0' ? NULL : k->problem, err);
}

static void on_marked(void *arg, int status, const struct err *err)
{
    struct keeper *k = arg;
    assert(k->state == KEEPER_MARK);
    if (status != 0)
        log_event(LOG_WARN, "the outcome of a message about a budget was not stored",
                  LOG_TEXT_FIELD("error", err->message));
    k->at++;
    next_message(k);
}

static void mark(struct keeper *k)
{
    const struct notice *n = &k->notices[k->at];
    if (k->problem[0] == '\0') {
        k->stats.delivered++;
    } else {
        k->stats.failed++;
        log_event(LOG_WARN, "a message about a budget was not delivered",
                  LOG_TEXT_FIELD("id", n->id), LOG_TEXT_FIELD("error", k->problem),
                  LOG_U64("try", (uint64_t)n->attempts));
    }
    k->state = KEEPER_MARK;
    if (work_submit(k->config.work, run_mark, on_marked, k) != 0) {
        k->at++;
        next_message(k); /* It comes again. */
    }
}

static void on_origin_closed(void *arg)
{
    mark(arg);
}

static void on_reply(void *arg, const struct fetch_reply *reply)
{
    struct keeper *k = arg;
    assert(k->state == KEEPER_POST);
    k->problem[0] = '\0';
    if (reply->result.status != 0)
        snprintf(k->problem, sizeof k->problem, "%s", err_text(reply->result.status));
    else if (reply->result.http_status < 200 || reply->result.http_status > 299)
        snprintf(k->problem, sizeof k->problem, "answered %u", reply->result.http_status);
    struct fetch_origin *origin = k->origin;
    k->origin = NULL;
    fetch_origin_close(origin, on_origin_closed, k);
}

/* Not 0: nothing was started, k->problem says why. */
static int post(struct keeper *k, const struct notice *n)
{
    char origin[ORIGIN_BYTES];
    struct err err = {0};
    struct str url = str_from(n->url);
    const char *path = strstr(n->url, "://");
    path = path == NULL ? NULL : strpbrk(path + 3, "/?#");
    struct str base = path == NULL ? url : str_slice(url, 0, (size_t)(path - n->url));
    struct str target = path == NULL || *path != '/' ? STR("/") : str_from(path);
    const struct fetch_origin_config config = {.url = origin,
                                               .allow_private = k->config.allow_private,
                                               .allow_http = k->config.allow_private,
                                               .max_connections = 1};
    const struct fetch_field fields[] = {
        {STR("content-type"), STR("application/json")},
        {STR("user-agent"), STR("steelyard")},
        {STR("x-steelyard-notice-id"), str_from(n->id)},
    };
    const struct str body = str_from(n->body);
    const struct fetch_request request = {.method = STR("POST"),
                                          .target = target,
                                          .fields = fields,
                                          .field_count = sizeof fields / sizeof fields[0],
                                          .body = &body,
                                          .body_count = 1,
                                          .timeouts = {.total_ms = POST_TOTAL_MS},
                                          .body_max_bytes = 65536};
    int rc = str_copy(base, origin, sizeof origin)
                 ? fetch_origin_create(k->fetch, &config, &k->origin, &err)
                 : err_set(&err, ERR_INVALID, "the address is too long");
    if (rc != 0) {
        snprintf(k->problem, sizeof k->problem, "%s", err.message);
        return rc;
    }
    k->state = KEEPER_POST;
    rc = fetch_simple(k->origin, &request, on_reply, k, NULL);
    if (rc != 0) {
        snprintf(k->problem, sizeof k->problem, "%s", err_text(rc));
        fetch_origin_close(k->origin, NULL, NULL);
        k->origin = NULL;
    }
    return rc;
}

/* --- turns --------------------------------------------------------------------------------------
 */

static void on_fetch_closed(void *arg)
{
    struct keeper *k = arg;
    void (*cb)(void *) = k->close_cb;
    void *cb_arg = k->close_arg;
    mem_free(k);
    if (cb != NULL)
        cb(cb_arg);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct keeper *k = handle->data;
    fetch_loop_close(k->fetch, on_fetch_closed, k);
}

static void maybe_gone(struct keeper *k)
{
    if (k->closing && k->state == KEEPER_IDLE)
        uv_close((uv_handle_t *)&k->timer, on_timer_closed);
}

static void end_turn(struct keeper *k)
{
    for (unsigned i = 0; i < k->count; i++)
        notice_deinit(&k->notices[i]);
    k->count = k->at = 0;
    k->state = KEEPER_IDLE;
    maybe_gone(k);
}

static void next_message(struct keeper *k)
{
    /* What was claimed and not sent is due again, for whoever leads. */
    bool leads = leader_term(k->config.leader, LEADER_KEEPER) == k->claim.term;
    if (k->closing || !leads || k->at >= k->count) {
        end_turn(k);
        return;
    }
    if (post(k, &k->notices[k->at]) != 0)
        mark(k);
}

static int run_turn(void *arg, struct pq_conn *c, struct err *err)
{
    struct keeper *k = arg;
    int rc = leader_check(c, &k->claim, err); /* The steps are safe to be done by two. */
    if (rc == 0)
        rc = notices_scan(c, &k->noticed, err);
    if (rc == 0)
        rc = notices_claim(c, k->config.retry_first_ms, k->notices, &k->count, err);
    if (rc == 0)
        rc = reconcile_due(c, k->config.reconcile_every_ms, &k->check, &k->ran, err);
    return rc;
}

static void log_check(struct keeper *k)
{
    const struct reconcile_result *r = &k->check;
    k->stats.checks++;
    k->stats.trued_up += (uint64_t)r->trued_up;
    k->stats.last_worst_ppm = r->worst_ppm;
    k->stats.last_alarms = r->alarms;
    k->stats.last_check_wall_s = clock_wall_us() / 1000000;
    log_event(r->alarms > 0 ? LOG_ERROR : LOG_INFO,
              r->alarms > 0 ? "what was spent does not agree: see steelyard spend checks"
                            : "what was spent agrees",
              LOG_U64("check", (uint64_t)r->check_id), LOG_U64("budgets", (uint64_t)r->budgets),
              LOG_U64("days", (uint64_t)r->days), LOG_U64("differing", (uint64_t)r->differing),
              LOG_U64("alarms", (uint64_t)r->alarms), LOG_U64("worst_ppm", (uint64_t)r->worst_ppm));
}

static void on_turn(void *arg, int status, const struct err *err)
{
    struct keeper *k = arg;
    assert(k->state == KEEPER_TURN);
    if (status == ERR_CONFLICT && k->count == 0)
        leader_deposed(k->config.leader, LEADER_KEEPER, k->claim.term);
    if (status != 0) {
        k->stats.scan_errors++;
        log_event(LOG_WARN, "budgets were not looked at", LOG_TEXT_FIELD("error", err->message));
    }
    k->stats.noticed += (uint64_t)k->noticed;
    if (k->noticed > 0)
        log_event(LOG_WARN, "budgets reached a threshold", LOG_U64("count", (uint64_t)k->noticed));
    if (k->ran)
        log_check(k);
    next_message(k);
}

static void on_timer(uv_timer_t *timer)
{
    struct keeper *k = timer->data;
    if (k->state != KEEPER_IDLE || k->closing ||
        !leader_get_claim(k->config.leader, LEADER_KEEPER, &k->claim))
        return;
    k->noticed = 0;
    k->ran = false;
    if (work_submit(k->config.work, run_turn, on_turn, k) == 0)
        k->state = KEEPER_TURN;
}

int keeper_start(uv_loop_t *loop, const struct keeper_config *config, struct keeper **out_keeper,
                 struct err *err)
{
    struct keeper *k = mem_zalloc(sizeof *k);
    if (k == NULL)
        return err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    k->loop = loop;
    k->config = *config;
    if (k->config.scan_ms == 0)
        k->config.scan_ms = SCAN_MS;
    if (k->config.retry_first_ms == 0)
        k->config.retry_first_ms = RETRY_FIRST_MS;
    if (k->config.reconcile_every_ms == 0)
        k->config.reconcile_every_ms = DAY_MS;
    k->fetch = fetch_loop_create(loop);
    if (k->fetch == NULL) {
        mem_free(k);
        return err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    }
    (void)uv_timer_init(loop, &k->timer);
    k->timer.data = k;
    (void)uv_timer_start(&k->timer, on_timer, k->config.scan_ms, k->config.scan_ms);
    *out_keeper = k;
    return 0;
}

struct keeper_stats keeper_stats(const struct keeper *k)
{
    return k->stats;
}

void keeper_close(struct keeper *k, void (*cb)(void *arg), void *arg)
{
    k->closing = true;
    k->close_cb = cb;
    k->close_arg = arg;
    (void)uv_timer_stop(&k->timer);
    maybe_gone(k);
}
