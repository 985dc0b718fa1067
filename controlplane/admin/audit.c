/* The audit questions about decisions: one request with all that is known of it, a key's in an
 * hour, those that did not take the best candidate, those that another model served; and the export
 * of all. Lists are ordered by id, which is the order of time, and go on from a cursor. */
#include "controlplane/admin/audit.h"

#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "controlplane/admin/decision_json.h"
#include "controlplane/admin/spec.h"
#include "controlplane/release/record.h"

#define MINUTE_US        INT64_C(60000000)
#define HOUR_US          (60 * MINUTE_US)
#define EXPORT_BYTES_MAX (8U << 20)                /* A page ends here, or at its limit. */
#define TIME_MAX_US      INT64_C(4102444800000000) /* 2100-01-01 */

/* --- ranges --------------------------------------------------------------------------------------
 */

int audit_range_read(const struct admin_call *call, struct audit_range *out, struct err *err)
{
    struct uuid id;
    struct call_page page = {.until_us = INT64_MAX};
    int rc = call_query_page(call, &page, err);
    if (rc != 0)
        return rc;
    *out = (struct audit_range){
        .since_us = page.since_us, .until_us = page.until_us, .limit = page.limit};
    out->has_cursor = call_query(call, "cursor", out->cursor, sizeof out->cursor, &rc);
    if (rc != 0 || (out->has_cursor && uuid_parse(str_from(out->cursor), &id) != 0))
        return err_set(err, ERR_INVALID, "cursor: not one of ours");
    if (out->since_us < 0 || out->since_us > TIME_MAX_US || out->until_us < out->since_us)
        return err_set(err, ERR_INVALID, "until: must not be before since");
    return 0;
}

/* The lowest id of a millisecond. */
static void id_at(int64_t us, char out[UUID_TEXT_BYTES])
{
    uint64_t ms = us <= 0 ? 0 : (uint64_t)us / 1000;
    (void)snprintf(out, UUID_TEXT_BYTES, "%08llx-%04llx-0000-0000-000000000000",
                   (unsigned long long)(ms >> 16 & 0xffffffff), (unsigned long long)(ms & 0xffff));
}

void audit_range_params(const struct audit_range *r, bool descending, struct pq_params *p)
{
    char from[UUID_TEXT_BYTES], to[UUID_TEXT_BYTES];
    struct uuid id;
    int64_t since = r->since_us, until = r->until_us > TIME_MAX_US ? TIME_MAX_US : r->until_us;
    /* A record that says another time than its id does was not written by a node of ours; within a
     * minute it is found nevertheless. */
    id_at(since - MINUTE_US, from);
    id_at(until + MINUTE_US, to);
    if (r->has_cursor && uuid_parse(str_from(r->cursor), &id) == 0) {
        int64_t at = uuid_time_ms(&id) * 1000;
        memcpy(descending ? to : from, r->cursor, sizeof to);
        if (descending && at + MINUTE_US < until)
            until = at + MINUTE_US;
        if (!descending && at - MINUTE_US > since)
            since = at - MINUTE_US;
    }
    pq_params_text(p, str_from(from));
    pq_params_text(p, str_from(to));
    pq_params_time_us(p, since);
    pq_params_time_us(p, until);
}

/* --- lists ---------------------------------------------------------------------------------------
 */

#define RECORD_COLUMN DECISION_COLUMN_COUNT
#define GREEDY_COLUMN (DECISION_COLUMN_COUNT + 1)

typedef void (*audit_row_cb)(struct json_writer *w, const struct pq_result *r, int row,
                             const Steelyard__Telemetry__V1__Decision *d);

/* where: SQL over AUDIT_RANGE_SQL's parameters and $5, which takes `value` (NULL: there is none).
 */
static int write_list(struct admin_call *call, struct pq_conn *c, const struct audit_range *range,
                      const char *where, const char *value, audit_row_cb more, struct err *err)
{
    char sql[3072];
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    struct json_writer *w = &call->w;
    int n = snprintf(sql, sizeof sql,
                     "SELECT " DECISION_COLUMNS ", d.detail, d.greedy_model" DECISION_FROM
                     "WHERE " AUDIT_RANGE_SQL "%s ORDER BY d.request_id DESC LIMIT %lld",
                     where, (long long)range->limit);
    if (n < 0 || (size_t)n >= sizeof sql)
        return ERR_INTERNAL;
    audit_range_params(range, true, &p);
    if (value != NULL)
        pq_params_text(&p, str_from(value));
    int rc = pq_conn_query(c, sql, &p, &r, err);
    if (rc != 0)
        return rc;
    int rows = pq_result_rows(r);
    json_writer_begin_object(w);
    json_writer_key(w, "items");
    json_writer_begin_array(w);
    for (int i = 0; i < rows && rc == 0; i++) {
        Steelyard__Telemetry__V1__Decision *d = NULL;
        rc = decision_unpack(r, i, RECORD_COLUMN, &d, err);
        if (rc != 0)
            break;
        json_writer_begin_object(w);
        decision_write_row(w, r, i);
        more(w, r, i, d);
        json_writer_end_object(w);
        steelyard__telemetry__v1__decision__free_unpacked(d, NULL);
    }
    json_writer_end_array(w);
    json_writer_key(w, "next");
    if (rows < range->limit)
        json_writer_null(w);
    else
        json_writer_string(w, pq_result_text(r, rows - 1, 0));
    json_writer_end_object(w);
    pq_result_destroy(r);
    return rc;
}

static void write_key_row(struct json_writer *w, const struct pq_result *r, int row,
                          const Steelyard__Telemetry__V1__Decision *d)
{
    (void)r;
    (void)row;
    decision_write_exclusions(w, d);
}

/* The id that stands in decisions for a key: of a live or a deleted one, by its public id or name.
 */
static int find_key(struct pq_conn *c, const char *name, char out[24], struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_text(&p, str_from(name));
    int rc = pq_conn_query(c,
                           "SELECT id FROM api_key WHERE public_id = $1 OR name = $1 ORDER BY "
                           "public_id = $1 DESC, removed IS NULL DESC, created LIMIT 1",
                           &p, &r, err);
    if (rc == 0 && pq_result_rows(r) == 0)
        rc = err_set(err, ERR_NOT_FOUND, "there is no key \"%.100s\"", name);
    if (rc == 0 && !str_copy(pq_result_text(r, 0, 0), out, 24))
        rc = ERR_INTERNAL;
    pq_result_destroy(r);
    return rc;
}

int audit_key(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    struct audit_range range;
    char key[24] = "";
    bool has_hour;
    int64_t hour = 0;
    int rc = audit_range_read(call, &range, err);
    if (rc == 0)
        rc = call_query_time(call, "hour", &has_hour, &hour, err);
    if (rc == 0)
        rc = find_key(c, call->param[0], key, err);
    if (rc != 0)
        return rc;
    if (has_hour) {
        range.since_us = hour - hour % HOUR_US;
        range.until_us = range.since_us + HOUR_US;
    }
    return write_list(call, c, &range, " AND d.key_id = $5", key, write_key_row, err);
}

static void write_off_greedy(struct json_writer *w, const struct pq_result *r, int row,
                             const Steelyard__Telemetry__V1__Decision *d)
{
    uint32_t explored = STEELYARD__TELEMETRY__V1__DECISION_FLAG__FLAG_EXPLORED;
    uint32_t sticky = STEELYARD__TELEMETRY__V1__DECISION_FLAG__FLAG_STICKY;
    call_write_column(w, "greedy", r, row, GREEDY_COLUMN);
    json_writer_key(w, "because");
    json_writer_text(w, (d->flags & explored) != 0 ? "explored"
                        : (d->flags & sticky) != 0 ? "sticky"
                                                   : "other");
    json_writer_key(w, "probability");
    if (d->chosen >= d->n_cand || d->cand[d->chosen]->p == UINT32_MAX)
        json_writer_i64(w, 1);
    else
        json_writer_fixed(w, (int64_t)((uint64_t)d->cand[d->chosen]->p * 1000000000 >> 32), 9);
}

int audit_off_greedy(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    struct audit_range range;
    char policy[200], params[2 * SHA256_BYTES + 3] = "";
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    int rc = audit_range_read(call, &range, err);
    if (rc != 0)
        return rc;
    if (!call_query(call, "policy", policy, sizeof policy, &rc) || rc != 0)
        return err_set(err, ERR_INVALID, "policy: which version, like default@3?");
    pq_params_text(&p, str_from(policy));
    rc = pq_conn_query(c, "SELECT params FROM policy_version WHERE name || '@' || version = $1", &p,
                       &r, err);
    if (rc == 0 && pq_result_rows(r) == 0)
        rc = err_set(err, ERR_NOT_FOUND, "there is no policy version \"%.100s\"", policy);
    if (rc == 0 && !str_copy(pq_result_text(r, 0, 0), params, sizeof params))
        rc = ERR_INTERNAL;
    pq_result_destroy(r);
    if (rc != 0)
        return rc;
    return write_list(call, c, &range,
                      " AND d.params_sha = $5::bytea AND d.greedy_model IS NOT NULL", params,
                      write_off_greedy, err);
}

static void write_elsewhere(struct json_writer *w, const struct pq_result *r, int row,
                            const Steelyard__Telemetry__V1__Decision *d)
{
    (void)r;
    (void)row;
    json_writer_key(w, "failed_attempts");
    json_writer_begin_array(w);
    for (size_t i = 0; i + 1 < d->n_attempt; i++) {
        json_writer_begin_object(w);
        json_writer_key(w, "model");
        json_writer_text(w, decision_model(d, d->attempt[i]->model));
        json_writer_key(w, "status");
        json_writer_u64(w, d->attempt[i]->status);
        json_writer_key(w, "reason");
        json_writer_text(w, record_reason_name(d->attempt[i]->reason));
        json_writer_end_object(w);
    }
    json_writer_end_array(w);
}

int audit_served_elsewhere(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    struct audit_range range;
    int rc = audit_range_read(call, &range, err);
    if (rc != 0)
        return rc;
    return write_list(call, c, &range, " AND d.served_model <> d.chosen_model", NULL,
                      write_elsewhere, err);
}

/* --- one request ---------------------------------------------------------------------------------
 */

static void write_charges(struct json_writer *w, Steelyard__Telemetry__V1__Charge **charges,
                          size_t count, const char *model)
{
    for (size_t i = 0; i < count; i++) {
        char start[CLOCK_RFC3339_BYTES];
        json_writer_begin_object(w);
        json_writer_key(w, "budget");
        json_writer_u64(w, charges[i]->budget);
        clock_format_rfc3339(charges[i]->period_start_us, start);
        json_writer_key(w, "period_start");
        json_writer_text(w, start);
        json_writer_key(w, "cfg");
        json_writer_u64(w, charges[i]->cfg);
        json_writer_key(w, "model"); /* null: the whole cost; else only of attempts at it. */
        json_writer_text(w, model);
        json_writer_end_object(w);
    }
}

static void write_arm(struct json_writer *w, const Steelyard__Telemetry__V1__Decision *d)
{
    if (!decision_begin_rollout(w, d))
        return;
    decision_write_arm(w, d);
    json_writer_key(w, "stage");
    json_writer_u64(w, d->stage);
    decision_end_rollout(w, d, DECISION_SHADOW_EXCLUDED);
}

/* From the record alone: what follows the list's columns and the facts. */
static void write_ledger(struct json_writer *w, const Steelyard__Telemetry__V1__Decision *d)
{
    json_writer_key(w, "charges");
    json_writer_begin_array(w);
    write_charges(w, d->charge, d->n_charge, NULL);
    for (size_t i = 0; i < d->n_attempt; i++)
        write_charges(w, d->attempt[i]->charge, d->attempt[i]->n_charge,
                      decision_model(d, d->attempt[i]->model));
    json_writer_end_array(w);
    call_write_usd(w, "reserved_usd", d->reserved);
    json_writer_key(w, "accounts");
    json_writer_begin_array(w);
    for (size_t i = 0; i < d->n_accounts; i++)
        json_writer_u64(w, d->accounts[i]);
    json_writer_end_array(w);
    json_writer_key(w, "greedy");
    json_writer_text(w, d->n_cand == 0 ? NULL : decision_model(d, d->greedy));
    write_arm(w, d);
}

/* Rows of JSON text that statements give, as one member; $1 id, $2 and $3 times around it. */
static int write_related(struct admin_call *call, struct pq_conn *c, const char *key,
                         const char *sql, int64_t at_us, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_text(&p, str_from(call->param[0]));
    pq_params_time_us(&p, at_us - MINUTE_US);
    pq_params_time_us(&p, at_us + MINUTE_US);
    int rc = pq_conn_query(c, sql, &p, &r, err);
    if (rc != 0)
        return rc;
    json_writer_key(&call->w, key);
    json_writer_raw(&call->w, pq_result_text(r, 0, 0));
    pq_result_destroy(r);
    return 0;
}

static int write_request(struct admin_call *call, struct pq_conn *c, const struct pq_result *r,
                         int64_t at_us, struct err *err)
{
    Steelyard__Telemetry__V1__Decision *d = NULL;
    struct json_writer *w = &call->w;
    int rc = decision_unpack(r, 0, RECORD_COLUMN, &d, err);
    if (rc != 0)
        return rc;
    json_writer_begin_object(w);
    decision_write_columns(w, r, 0);
    call_write_column(w, "node_id", r, 0, DECISION_COLUMN_COUNT + 2);
    json_writer_key(w, "epoch");
    json_writer_u64(w, (uint64_t)pq_result_i64(r, 0, DECISION_COLUMN_COUNT + 3));
    json_writer_key(w, "seq");
    json_writer_i64(w, pq_result_i64(r, 0, DECISION_COLUMN_COUNT + 4));
    decision_write_facts(w, d);
    decision_write_candidates(w, d);
    decision_write_attempts(w, d);
    write_ledger(w, d);
    steelyard__telemetry__v1__decision__free_unpacked(d, NULL);
    rc = write_related(call, c, "feedback",
                       "SELECT coalesce(json_agg(json_build_object('source', f.source, 'score', "
                       "round(f.score_q16 / 65536.0, 4), 'label', f.label, 'received', " SQL_TIME(
                           "f.received") ") ORDER BY f.received), '[]') FROM feedback f WHERE "
                                         "f.request_id = $1::uuid AND f.ts BETWEEN $2 AND $3",
                       at_us, err);
    if (rc == 0)
        rc = write_related(
            call, c, "repriced",
            "SELECT coalesce(json_agg(json_build_object('attempt', a.n, 'price_id', a.price_id, "
            "'cost_usd', " SQL_USD("a.cost") ", 'actor', a.actor, 'created', " SQL_TIME(
                "a.created") ") ORDER BY "
                             "a.id), '[]') "
                             "FROM "
                             "attempt_reprice "
                             "a WHERE "
                             "a.request_id = "
                             "$1::uuid AND "
                             "a.ts BETWEEN $2 "
                             "AND $3",
            at_us, err);
    json_writer_end_object(w);
    return rc;
}

int audit_request(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    struct uuid id;
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    if (uuid_parse(str_from(call->param[0]), &id) != 0)
        return err_set(err, ERR_NOT_FOUND, "there is no decision %s", call->param[0]);
    int64_t at_us = uuid_time_ms(&id) * 1000;
    pq_params_text(&p, str_from(call->param[0]));
    pq_params_time_us(&p, at_us - MINUTE_US);
    pq_params_time_us(&p, at_us + 24 * HOUR_US);
    if (at_us > TIME_MAX_US || p.status != 0) {
        pq_params_deinit(&p);
        return err_set(err, ERR_NOT_FOUND, "there is no decision %s", call->param[0]);
    }
    int rc = pq_conn_query(
        c,
        "SELECT " DECISION_COLUMNS
        ", d.detail, d.greedy_model, d.node_id, d.epoch, d.seq" DECISION_FROM
        "WHERE d.request_id = $1::uuid AND d.ts BETWEEN $2::timestamptz AND $3::timestamptz",
        &p, &r, err);
    if (rc == 0 && pq_result_rows(r) == 0)
        rc = err_set(err, ERR_NOT_FOUND, "there is no decision %s", call->param[0]);
    if (rc == 0)
        rc = write_request(call, c, r, at_us, err);
    pq_result_destroy(r);
    return rc;
}

/* --- export --------------------------------------------------------------------------------------
 */

struct export
{
    struct admin_call *call;
    struct err *err;
    char last[UUID_TEXT_BYTES];
    int64_t rows;
};

static int on_export_row(void *arg, const struct pq_result *r)
{
    static const char *const numbers[] = {"seq", "segment", "generation", "flags"};
    struct export *e = arg;
    struct json_writer *w = &e->call->w;
    Steelyard__Telemetry__V1__Decision *d = NULL;
    int rc = decision_unpack(r, 0, RECORD_COLUMN, &d, e->err);
    if (rc != 0)
        return rc;
    json_writer_begin_object(w);
    decision_write_row(w, r, 0);
    decision_write_bits(w, "excluded_any", (uint32_t)pq_result_i64(r, 0, GREEDY_COLUMN));
    call_write_column(w, "node_id", r, 0, GREEDY_COLUMN + 1);
    json_writer_key(w, "epoch");
    json_writer_u64(w, (uint64_t)pq_result_i64(r, 0, GREEDY_COLUMN + 2));
    for (int i = 0; i < 4; i++) {
        json_writer_key(w, numbers[i]);
        json_writer_i64(w, pq_result_i64(r, 0, GREEDY_COLUMN + 3 + i));
    }
    json_writer_key(w, "record");
    json_writer_begin_object(w);
    decision_write_facts(w, d);
    decision_write_candidates(w, d);
    decision_write_attempts(w, d);
    write_ledger(w, d);
    json_writer_end_object(w);
    json_writer_end_object(w);
    steelyard__telemetry__v1__decision__free_unpacked(d, NULL);
    e->rows++;
    (void)str_copy(pq_result_text(r, 0, 0), e->last, sizeof e->last);
    return e->call->out.len > EXPORT_BYTES_MAX ? ERR_EOF : 0;
}

int decisions_export(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    char sql[3072];
    struct audit_range range;
    struct export e = {.call = call, .err = err};
    struct pq_params p = {0};
    struct json_writer *w = &call->w;
    int rc = audit_range_read(call, &range, err);
    if (rc != 0)
        return rc;
    int n = snprintf(sql, sizeof sql,
                     "SELECT " DECISION_COLUMNS
                     ", d.detail, d.excl_any, d.node_id, d.epoch, d.seq, d.segment, d.generation, "
                     "d.flags" DECISION_FROM "WHERE " AUDIT_RANGE_SQL
                     " ORDER BY d.request_id LIMIT %lld",
                     (long long)range.limit);
    if (n < 0 || (size_t)n >= sizeof sql)
        return ERR_INTERNAL;
    audit_range_params(&range, false, &p);
    json_writer_begin_object(w);
    json_writer_key(w, "items");
    json_writer_begin_array(w);
    rc = pq_conn_stream(c, sql, &p, on_export_row, &e, err);
    bool cut = rc == ERR_EOF;
    if (cut)
        rc = 0;
    json_writer_end_array(w);
    json_writer_key(w, "next");
    if (cut || e.rows == range.limit)
        json_writer_text(w, e.last);
    else
        json_writer_null(w);
    json_writer_end_object(w);
    return rc;
}
