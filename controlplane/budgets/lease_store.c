/* Usual path of a report: the era, then one transaction: a piece of a life that ended (its own
 * life's lock and rows first), the life that reports, its rows (lease_flow.c), the recalls that
 * wait for it, commit. Anything that went wrong rolls all of it back. */
#include "controlplane/budgets/lease_store.h"

#include <string.h>

#include "common/base/mem.h"
#include "controlplane/budgets/lease_flow.h"

#define TRIES       6
#define SWEEP_LIVES 64

static int64_t fence_us(const struct lease_settings *s)
{
    uint32_t fence = s->fence_after_s != 0 ? s->fence_after_s : GRANT_FENCE_AFTER_S;
    uint32_t stream = s->stream_max_s != 0 ? s->stream_max_s : GRANT_STREAM_MAX_S;
    return ((int64_t)fence + stream) * 1000000;
}

/* ---- eras ---- */

#define TIMELINE "('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int"

static const char era_now[] =
    "SELECT steelyard_us(clock_timestamp()), " TIMELINE ", coalesce(max(era), 0), "
    "coalesce(max(steelyard_us(since)), 0), coalesce(bool_or(failover), false) FROM lease_era";
/* Of the first era nothing can be missing. */
static const char era_begin[] =
    "INSERT INTO lease_era (era) SELECT " TIMELINE " ON CONFLICT (one) DO UPDATE "
    "SET era = excluded.era, since = clock_timestamp(), failover = true "
    "WHERE lease_era.era < excluded.era";

/* Not in the transaction: the row would be locked for all. A failover in between breaks the
 * connection. */
static int era_read(struct pq_conn *c, struct lease_reply *out, int64_t *out_failover_us,
                    struct err *err)
{
    for (int turn = 0;; turn++) {
        struct pq_result *r = NULL;
        int rc = pq_conn_query(c, era_now, NULL, &r, err);
        if (rc != 0)
            return rc;
        bool known = pq_result_i64(r, 0, 1) <= pq_result_i64(r, 0, 2);
        out->now_us = pq_result_i64(r, 0, 0);
        out->era = (uint32_t)pq_result_i64(r, 0, 2);
        *out_failover_us = pq_result_bool(r, 0, 4) ? pq_result_i64(r, 0, 3) : 0;
        pq_result_destroy(r);
        if (known)
            return 0;
        if (turn > 2)
            return err_set(err, ERR_DATABASE, "the era of the database cannot be written");
        rc = pq_conn_script(c, era_begin, err);
        if (rc != 0)
            return rc;
    }
}

static int some_life_unechoed(struct pq_conn *c, uint32_t era, bool *out, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_i64(&p, era);
    int rc = pq_conn_query(
        c, "SELECT EXISTS (SELECT FROM lease_life WHERE state = 0 AND echo_era <> $1)", &p, &r,
        err);
    if (rc == 0)
        *out = pq_result_bool(r, 0, 0);
    pq_result_destroy(r);
    return rc;
}

/* ---- lives ---- */

enum { LIFE_ACTIVE = 0, LIFE_CLOSED = 1, LIFE_LOST = 2 };

struct life {
    int state;
    int64_t registered_us;
    uint32_t echo_era;
};

/* Makes it if it is new, and locks it. */
static int life_lock(struct pq_conn *c, const char *node, int64_t epoch, struct life *out,
                     struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_text(&p, str_from(node));
    pq_params_i64(&p, epoch);
    int rc = pq_conn_query(c,
                           "INSERT INTO lease_life AS l (node_id, epoch) VALUES ($1::uuid, $2) "
                           "ON CONFLICT (node_id, epoch) DO UPDATE SET last_report = "
                           "CASE l.state WHEN 0 THEN clock_timestamp() ELSE l.last_report END "
                           "RETURNING state, steelyard_us(registered), echo_era",
                           &p, &r, err);
    if (rc == 0)
        *out = (struct life){.state = (int)pq_result_i64(r, 0, 0),
                             .registered_us = pq_result_i64(r, 0, 1),
                             .echo_era = (uint32_t)pq_result_i64(r, 0, 2)};
    pq_result_destroy(r);
    return rc;
}

static int life_set(struct pq_conn *c, const char *node, int64_t epoch, const char *sql,
                    int64_t value, struct err *err)
{
    struct pq_params p = {0};
    pq_params_text(&p, str_from(node));
    pq_params_i64(&p, epoch);
    pq_params_i64(&p, value);
    return pq_conn_query(c, sql, &p, NULL, err);
}

static const char set_state[] =
    "UPDATE lease_life SET state = $3 WHERE node_id = $1::uuid AND epoch = $2";
static const char set_echo[] =
    "UPDATE lease_life SET echo_era = $3 WHERE node_id = $1::uuid AND epoch = $2";

/* The rows of a life that are in such a state, as usages that say nothing. */
static int life_rows(struct pq_conn *c, const char *node, int64_t epoch, const char *where,
                     struct lease_usage *out, uint32_t *out_count, struct err *err)
{
    char sql[256];
    struct buf b = {.data = sql, .cap = sizeof(sql), .max = sizeof(sql)};
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_text(&p, str_from(node));
    pq_params_i64(&p, epoch);
    pq_params_i64(&p, LEASE_USAGE_MAX);
    int rc = buf_printf(&b,
                        "SELECT budget_id, steelyard_us(period_start), cfg FROM budget_alloc "
                        "WHERE node_id = $1::uuid AND epoch = $2 AND %s LIMIT $3%c",
                        where, '\0');
    if (rc != 0) {
        pq_params_deinit(&p);
        return rc;
    }
    rc = pq_conn_query(c, sql, &p, &r, err);
    for (int i = 0; rc == 0 && i < pq_result_rows(r); i++)
        out[i] = (struct lease_usage){.budget = (uint64_t)pq_result_i64(r, i, 0),
                                      .start_us = pq_result_i64(r, i, 1),
                                      .cfg = (uint32_t)pq_result_i64(r, i, 2)};
    if (rc == 0)
        *out_count = (uint32_t)pq_result_rows(r);
    pq_result_destroy(r);
    return rc;
}

/* Takes all rows of a life, locked by the caller, through this kind of end. */
static int life_end_rows(struct lease_flow *f, const char *where, struct err *err)
{
    int rc = 0;
    struct lease_usage *rows = mem_calloc(LEASE_USAGE_MAX, sizeof(*rows));
    if (rows == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    f->usage = rows;
    do {
        rc = life_rows(f->conn, f->node, f->epoch, where, rows, &f->count, err);
        if (rc == 0)
            rc = lease_flow_run(f, true, err);
        lease_flow_deinit(f);
    } while (rc == 0 && f->count == LEASE_USAGE_MAX);
    mem_free(rows);
    return rc;
}

/* ---- a piece of a life that ended ---- */

static int final_run(struct lease_flow *f, const struct lease_report *report, bool made,
                     struct err *err)
{
    struct life life;
    f->kind = LEASE_FLOW_FINAL;
    f->exact = report->final_exact;
    f->epoch = (int64_t)report->final_epoch;
    f->usage = report->final;
    f->count = report->final_count;
    int rc = life_lock(f->conn, f->node, f->epoch, &life, err);
    if (rc == 0)
        rc = lease_flow_run(f, made, err);
    if (rc != 0)
        return rc; /* The flow is kept for making the periods. */
    lease_flow_deinit(f);
    if (!report->final_last)
        return 0;
    /* What it did not name it never used. */
    rc = life_end_rows(f, report->final_exact ? "state <> 1" : "state = 0", err);
    return rc != 0 ? rc : life_set(f->conn, f->node, f->epoch, set_state, LIFE_CLOSED, err);
}

/* ---- recalls and replies ---- */

static int reply_room(struct lease_reply *reply, uint32_t more)
{
    struct lease_alloc *a =
        mem_realloc(reply->allocs, (reply->alloc_count + more + 1) * sizeof(*a));
    if (a == NULL)
        return ERR_NOMEM;
    reply->allocs = a;
    return 0;
}

static const char take_recalls[] =
    "WITH t AS (SELECT budget_id, period_start, cfg, node_id, epoch, recall_keep FROM budget_alloc "
    "WHERE node_id = $1::uuid AND epoch = $2 AND recall_keep IS NOT NULL "
    "ORDER BY budget_id, period_start, cfg LIMIT 512 FOR UPDATE SKIP LOCKED), "
    "done AS (UPDATE budget_alloc a SET recall_keep = NULL FROM t WHERE a.budget_id = t.budget_id "
    "AND a.period_start = t.period_start AND a.cfg = t.cfg AND a.node_id = t.node_id AND "
    "a.epoch = t.epoch RETURNING a.*, t.recall_keep AS keep) "
    "SELECT d.budget_id, steelyard_us(d.period_start), steelyard_us(p.period_end), d.cfg, d.g, "
    "d.keep, greatest(p.limit_nano - p.adjust, 1), p.settled - d.s, b.offline_nano "
    "FROM done d JOIN budget_period p USING (budget_id, period_start, cfg) "
    "JOIN budget b ON b.id = d.budget_id WHERE d.state = 0";

static int recalls_take(struct pq_conn *c, const char *node, int64_t epoch,
                        struct lease_reply *reply, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_text(&p, str_from(node));
    pq_params_i64(&p, epoch);
    int rc = pq_conn_query(c, take_recalls, &p, &r, err);
    if (rc == 0)
        rc = reply_room(reply, (uint32_t)pq_result_rows(r));
    for (int i = 0; rc == 0 && i < pq_result_rows(r); i++)
        reply->allocs[reply->alloc_count++] =
            (struct lease_alloc){.budget = (uint64_t)pq_result_i64(r, i, 0),
                                 .start_us = pq_result_i64(r, i, 1),
                                 .end_us = pq_result_i64(r, i, 2),
                                 .cfg = (uint32_t)pq_result_i64(r, i, 3),
                                 .granted = pq_result_i64(r, i, 4),
                                 .recall = true,
                                 .keep = pq_result_i64(r, i, 5),
                                 .limit = pq_result_i64(r, i, 6),
                                 .spent_others = pq_result_i64(r, i, 7),
                                 .offline = pq_result_i64(r, i, 8)};
    pq_result_destroy(r);
    return rc;
}

static bool answered(const struct lease_flow *f, uint64_t budget)
{
    for (uint32_t i = 0; i < f->item_count; i++)
        if (f->items[i].budget == budget)
            return true;
    return false;
}

static int reply_fill(const struct lease_flow *f, struct lease_reply *reply)
{
    int rc = reply_room(reply, f->item_count + f->count);
    if (rc != 0)
        return rc;
    for (uint32_t i = 0; i < f->item_count; i++)
        if (f->items[i].tell)
            reply->allocs[reply->alloc_count++] = f->items[i].alloc;
    for (uint32_t i = 0; f->open && i < f->count; i++)
        if (!f->usage[i].next && !answered(f, f->usage[i].budget))
            reply->allocs[reply->alloc_count++] =
                (struct lease_alloc){.budget = f->usage[i].budget, .unknown = true};
    return 0;
}

/* ---- a report ---- */

static int usage_run(struct lease_flow *f, const struct lease_settings *settings,
                     const struct lease_report *report, int64_t failover_us, bool made,
                     struct lease_reply *reply, struct err *err)
{
    struct life life;
    f->kind = LEASE_FLOW_REPORT;
    f->epoch = (int64_t)report->epoch;
    f->usage = report->usage;
    f->count = report->usage_count;
    int rc = life_lock(f->conn, f->node, f->epoch, &life, err);
    if (rc != 0)
        return rc;
    f->open = life.state == LIFE_ACTIVE;
    reply->epoch_closed = !f->open;
    uint32_t begun = report->echo_begin ? reply->era : report->echo_era;
    if (f->open && report->echo_end && begun == reply->era) {
        rc = life_set(f->conn, f->node, f->epoch, set_echo, reply->era, err);
        life.echo_era = reply->era;
    }
    reply->echo = f->open && life.echo_era != reply->era && begun != reply->era;
    f->moment = (struct lease_moment){.now_us = reply->now_us,
                                      .failover_us = failover_us,
                                      .young = settings->loss_window_us > 0 &&
                                               reply->now_us - life.registered_us <
                                                   settings->loss_window_us};
    if (rc == 0 && failover_us != 0)
        rc = some_life_unechoed(f->conn, reply->era, &f->moment.unechoed, err);
    if (rc == 0)
        rc = lease_flow_run(f, made, err);
    if (rc == 0)
        rc = reply_fill(f, reply);
    if (rc == 0 && f->open)
        rc = recalls_take(f->conn, f->node, f->epoch, reply, err);
    return rc;
}

static int report_once(struct lease_flow *f, const struct lease_settings *settings,
                       const struct lease_report *report, bool made_final, bool made,
                       struct lease_reply *reply, bool *out_final, struct err *err)
{
    int64_t failover_us = 0;
    reply->alloc_count = 0;
    *out_final = false;
    int rc = era_read(f->conn, reply, &failover_us, err);
    if (rc == 0)
        rc = pq_conn_script(f->conn, "BEGIN", err);
    if (rc == 0 && report->final_epoch != 0) {
        rc = final_run(f, report, made_final, err);
        *out_final = rc != 0;
    }
    if (rc == 0 && report->epoch != 0)
        rc = usage_run(f, settings, report, failover_us, made, reply, err);
    if (rc == 0)
        rc = pq_conn_script(f->conn, "COMMIT", err);
    else
        pq_conn_attempt(f->conn, "ROLLBACK");
    return rc;
}

static bool usages_valid(const struct lease_usage *u, uint32_t count)
{
    if (count > LEASE_USAGE_MAX)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!grant_usage_valid(&u[i].usage) || u[i].budget == 0 || u[i].budget > INT64_MAX ||
            u[i].start_us < 0 || u[i].start_us > INT64_C(8000000000000000) || u[i].cfg > INT32_MAX)
            return false;
    return true;
}

int lease_store_report(struct pq_conn *c, const struct lease_settings *settings,
                       const struct lease_report *report, struct lease_reply *out_reply,
                       struct err *err)
{
    struct lease_flow f = {.conn = c};
    bool made_final = false, made = false, of_final;
    *out_reply = (struct lease_reply){0};
    if (!usages_valid(report->usage, report->usage_count) ||
        !usages_valid(report->final, report->final_count))
        return err_set(err, ERR_INVALID, "a node reports counters that cannot be");
    uuid_format(&report->node_id, f.node);
    int rc = ERR_CONFLICT;
    for (int turn = 0; turn < TRIES && (rc == ERR_CONFLICT || rc == ERR_AGAIN); turn++) {
        rc = report_once(&f, settings, report, made_final, made, out_reply, &of_final, err);
        if (rc == ERR_AGAIN) {
            int bad = lease_flow_make_periods(&f, err);
            rc = bad != 0 && bad != ERR_CONFLICT ? bad : ERR_AGAIN;
            if (of_final)
                made_final = true;
            else
                made = true;
        }
        lease_flow_deinit(&f);
    }
    if (rc != 0)
        lease_reply_deinit(out_reply);
    return rc;
}

int lease_store_recalls(struct pq_conn *c, const struct uuid *node_id, uint64_t epoch,
                        struct lease_reply *out_reply, struct err *err)
{
    char node[UUID_TEXT_BYTES];
    *out_reply = (struct lease_reply){0};
    uuid_format(node_id, node);
    int rc = recalls_take(c, node, (int64_t)epoch, out_reply, err);
    if (rc != 0)
        lease_reply_deinit(out_reply);
    return rc;
}

void lease_reply_deinit(struct lease_reply *reply)
{
    mem_free(reply->allocs);
    *reply = (struct lease_reply){0};
}

/* ---- lives that end from here ---- */

static int end_in_transaction(struct lease_flow *f, const char *where, int state, struct err *err)
{
    int rc = life_end_rows(f, where, err);
    if (rc == 0)
        rc = life_set(f->conn, f->node, f->epoch, set_state, state, err);
    if (rc == 0)
        rc = pq_conn_script(f->conn, "COMMIT", err);
    else
        pq_conn_attempt(f->conn, "ROLLBACK");
    return rc;
}

/* *out_found: there was one. */
static int sweep_one(struct pq_conn *c, int64_t silent_us, bool *out_found, struct err *err)
{
    struct lease_flow f = {.conn = c, .kind = LEASE_FLOW_LOSE};
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_i64(&p, silent_us / 1000000);
    int rc = pq_conn_script(c, "BEGIN", err);
    if (rc == 0)
        rc = pq_conn_query(c,
                           "SELECT node_id, epoch FROM lease_life WHERE state = 0 AND last_report "
                           "< clock_timestamp() - $1 * interval '1 second' ORDER BY last_report "
                           "LIMIT 1 FOR UPDATE SKIP LOCKED",
                           &p, &r, err);
    else
        pq_params_deinit(&p);
    *out_found = rc == 0 && pq_result_rows(r) > 0;
    if (*out_found) {
        (void)str_copy(pq_result_text(r, 0, 0), f.node, sizeof(f.node));
        f.epoch = pq_result_i64(r, 0, 1);
    }
    pq_result_destroy(r);
    if (!*out_found) {
        pq_conn_attempt(c, "ROLLBACK");
        return rc;
    }
    return end_in_transaction(&f, "state = 0", LIFE_LOST, err);
}

int lease_store_sweep(struct pq_conn *c, const struct lease_settings *settings, unsigned *out_lost,
                      struct err *err)
{
    bool found = true;
    *out_lost = 0;
    for (int rc; found && *out_lost < SWEEP_LIVES; *out_lost += found) {
        rc = sweep_one(c, fence_us(settings), &found, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int lease_store_release(struct pq_conn *c, const struct uuid *node_id, uint64_t epoch,
                        struct err *err)
{
    struct lease_flow f = {.conn = c, .kind = LEASE_FLOW_RELEASE, .epoch = (int64_t)epoch};
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    uuid_format(node_id, f.node);
    pq_params_text(&p, str_from(f.node));
    pq_params_i64(&p, f.epoch);
    int rc = pq_conn_script(c, "BEGIN", err);
    if (rc == 0)
        rc = pq_conn_query(c,
                           "SELECT EXISTS (SELECT FROM budget_alloc WHERE node_id = l.node_id AND "
                           "epoch = l.epoch AND state = 2) FROM lease_life l "
                           "WHERE node_id = $1::uuid AND epoch = $2 AND state <> 0 FOR UPDATE",
                           &p, &r, err);
    else
        pq_params_deinit(&p);
    if (rc == 0 && (pq_result_rows(r) == 0 || !pq_result_bool(r, 0, 0)))
        rc = err_set(err, ERR_NOT_FOUND, "no such life of a node is lost");
    pq_result_destroy(r);
    if (rc != 0) {
        pq_conn_attempt(c, "ROLLBACK");
        return rc;
    }
    return end_in_transaction(&f, "state = 2", LIFE_CLOSED, err);
}
