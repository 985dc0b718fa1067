/* Decisions: lists, one record, why it came out so, and replay of many. */
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/crypto/uuid.h"
#include "controlplane/admin/decision_json.h"
#include "controlplane/release/record.h"

#define DETAIL_MAX     (4U << 20)
#define EXAMPLES_MAX   5
#define REPLAY_MAX     1000000
#define REPLAY_DEFAULT 10000
#define REPLAY_STEP    1000

static int status_from_name(const char *name, int64_t *out)
{
    for (uint32_t i = 1; i <= 6; i++) {
        if (strcmp(record_status_name(i), name) == 0) {
            *out = i;
            return 0;
        }
    }
    return ERR_INVALID;
}

static void text_or_null(struct pq_params *p, bool given, const char *text)
{
    pq_params_text(p, given ? str_from(text) : STR_NULL);
}

int decisions_list(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    char cursor[64], key[128], route[128], model[128], status[32];
    int64_t status_number = 0;
    struct call_page page = {0};
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    struct json_writer *w = &call->w;
    struct uuid id;
    int rc = call_query_page(call, &page, err);
    if (rc != 0)
        return rc;
    bool has_cursor = call_query(call, "cursor", cursor, sizeof cursor, &rc);
    bool has_key = call_query(call, "key", key, sizeof key, &rc);
    bool has_route = call_query(call, "route", route, sizeof route, &rc);
    bool has_model = call_query(call, "model", model, sizeof model, &rc);
    bool has_status = call_query(call, "status", status, sizeof status, &rc);
    if (rc != 0 || (has_cursor && uuid_parse(str_from(cursor), &id) != 0))
        return err_set(err, ERR_INVALID, "cursor or filter: not readable");
    if (has_status && status_from_name(status, &status_number) != 0)
        return err_set(err, ERR_INVALID,
                       "status: one of ok, cancelled, partial, failed, node_crash, decided");
    text_or_null(&p, has_cursor, cursor);
    call_page_params(&page, &p);
    text_or_null(&p, has_key, key);
    text_or_null(&p, has_route, route);
    text_or_null(&p, has_model, model);
    if (has_status)
        pq_params_i64(&p, status_number);
    else
        pq_params_null(&p);
    pq_params_i64(&p, page.limit);
    /* The cursor bounds ts too, so that later partitions are left out. */
    if (has_cursor)
        pq_params_time_us(&p, uuid_time_ms(&id) * 1000 + INT64_C(86400000000));
    else
        pq_params_null(&p);
    rc = pq_conn_query(
        c,
        "SELECT " DECISION_COLUMNS DECISION_FROM
        "WHERE ($1::uuid IS NULL OR d.request_id < $1) AND ($2::timestamptz IS NULL OR d.ts >= $2) "
        "AND ($3::timestamptz IS NULL OR d.ts < $3) AND ($4::text IS NULL OR d.key_id = (SELECT id "
        "FROM api_key WHERE public_id = $4 OR name = $4 ORDER BY created LIMIT 1)) "
        "AND ($5::text IS NULL OR d.route = $5) "
        "AND ($6::text IS NULL OR d.served_model = $6) AND ($7::int IS NULL OR d.status = $7) "
        "AND ($9::timestamptz IS NULL OR d.ts <= $9) ORDER BY d.request_id DESC LIMIT $8",
        &p, &r, err);
    if (rc != 0)
        return rc;
    int rows = pq_result_rows(r);
    json_writer_begin_object(w);
    json_writer_key(w, "items");
    json_writer_begin_array(w);
    for (int i = 0; i < rows; i++) {
        json_writer_begin_object(w);
        decision_write_row(w, r, i);
        json_writer_end_object(w);
    }
    json_writer_end_array(w);
    json_writer_key(w, "next");
    if (rows < page.limit)
        json_writer_null(w);
    else
        json_writer_string(w, pq_result_text(r, rows - 1, 0));
    json_writer_end_object(w);
    pq_result_destroy(r);
    return 0;
}

/* One decision by id: the list's columns, then detail. The id's time says which partitions. */
static int load_one(struct admin_call *call, struct pq_conn *c, struct pq_result **out_result,
                    struct buf *detail, struct err *err)
{
    struct uuid id;
    struct pq_params p = {0};
    if (uuid_parse(str_from(call->param[0]), &id) != 0)
        return err_set(err, ERR_NOT_FOUND, "there is no decision %s", call->param[0]);
    int64_t us = uuid_time_ms(&id) * 1000;
    pq_params_text(&p, str_from(call->param[0]));
    pq_params_time_us(&p, us - INT64_C(60000000));
    pq_params_time_us(&p, us + INT64_C(86400000000));
    if (p.status != 0) {
        pq_params_deinit(&p);
        return err_set(err, ERR_NOT_FOUND, "there is no decision %s", call->param[0]);
    }
    int rc = pq_conn_query(c,
                           "SELECT " DECISION_COLUMNS
                           ", d.detail, d.node_id, d.epoch, d.seq" DECISION_FROM
                           "WHERE d.request_id = $1::uuid AND d.ts BETWEEN $2 AND $3",
                           &p, out_result, err);
    if (rc != 0)
        return rc;
    if (pq_result_rows(*out_result) == 0)
        return err_set(err, ERR_NOT_FOUND, "there is no decision %s", call->param[0]);
    buf_init(detail, DETAIL_MAX);
    return pq_result_bytes(*out_result, 0, 18, detail);
}

int decisions_show(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    struct pq_result *r = NULL;
    struct buf detail = {0};
    struct json_writer *w = &call->w;
    int rc = load_one(call, c, &r, &detail, err);
    Steelyard__Telemetry__V1__Decision *d =
        rc != 0 ? NULL
                : steelyard__telemetry__v1__decision__unpack(NULL, detail.len,
                                                             (const uint8_t *)detail.data);
    if (rc == 0 && d == NULL)
        rc = err_set(err, ERR_CORRUPT, "the record cannot be read");
    if (rc == 0) {
        json_writer_begin_object(w);
        decision_write_columns(w, r, 0);
        call_write_column(w, "node_id", r, 0, 19);
        json_writer_key(w, "epoch");
        json_writer_u64(w, (uint64_t)pq_result_i64(r, 0, 20));
        json_writer_key(w, "seq");
        json_writer_i64(w, pq_result_i64(r, 0, 21));
        decision_write_facts(w, d);
        decision_write_candidates(w, d);
        decision_write_attempts(w, d);
        json_writer_end_object(w);
    }
    if (d != NULL)
        steelyard__telemetry__v1__decision__free_unpacked(d, NULL);
    buf_deinit(&detail);
    pq_result_destroy(r);
    return rc;
}

/* --- why ---------------------------------------------------------------------------------------
 */

static void write_term(struct json_writer *w, const struct explain_term *t, const char *a,
                       const char *b)
{
    char name[128];
    if (t->word.len > 0)
        snprintf(name, sizeof name, "%s: %.*s", explain_kind_name(t->kind), STR_ARG(t->word));
    else if (t->kind == EXPLAIN_SPARSE)
        snprintf(name, sizeof name, "word #%u", t->index);
    else
        snprintf(name, sizeof name, "%s", explain_kind_name(t->kind));
    json_writer_begin_object(w);
    json_writer_key(w, "name");
    json_writer_text(w, name);
    json_writer_key(w, "value");
    json_writer_fixed(w, (int64_t)((__int128)t->u * 1000000 / (INT64_C(1) << 36)), 6);
    json_writer_key(w, "for");
    json_writer_text(w, t->u >= 0 ? a : b);
    json_writer_key(w, "against");
    json_writer_text(w, t->u >= 0 ? b : a);
    json_writer_end_object(w);
}

static void write_counterfactual(struct json_writer *w, struct record *r,
                                 const struct policy_decision *d)
{
    struct explain_threshold t;
    char text[256];
    json_writer_key(w, "counterfactual");
    explain_threshold(&r->input, d, &t);
    bool cheaper = t.above_position != POLICY_NONE;
    uint32_t other = cheaper ? t.above_position : t.below_position;
    if (other == POLICY_NONE || decision_model(r->pb, other) == NULL) {
        json_writer_null(w);
        return;
    }
    int64_t at = cheaper ? t.above : t.below;
    snprintf(text, sizeof text, "would have chosen %s if lambda were %s %lld (it was %lld)",
             decision_model(r->pb, other), cheaper ? "at least" : "at most", (long long)at,
             (long long)r->request.lambda);
    json_writer_begin_object(w);
    json_writer_key(w, "text");
    json_writer_text(w, text);
    json_writer_key(w, cheaper ? "lambda_above" : "lambda_below");
    json_writer_i64(w, at);
    json_writer_key(w, "model");
    json_writer_text(w, decision_model(r->pb, other));
    json_writer_end_object(w);
}

static void write_mismatch(struct json_writer *w, const struct record *r,
                           const struct explain_mismatch *m)
{
    json_writer_key(w, "mismatch");
    if (m->field == NULL) {
        json_writer_null(w);
        return;
    }
    json_writer_begin_object(w);
    json_writer_key(w, "field");
    json_writer_text(w, m->field);
    json_writer_key(w, "model");
    json_writer_text(w, m->position == POLICY_NONE ? NULL : decision_model(r->pb, m->position));
    json_writer_key(w, "recorded");
    json_writer_i64(w, m->recorded);
    json_writer_key(w, "recomputed");
    json_writer_i64(w, m->recomputed);
    json_writer_end_object(w);
}

static void write_reasoning(struct json_writer *w, struct record *r)
{
    struct policy_decision d;
    struct explain_mismatch mismatch = {0};
    struct explain_terms terms = {.b = POLICY_NONE};
    bool done = r->skip == RECORD_USABLE && record_replay(r, &d, &mismatch) == 0;
    if (done && d.chosen != POLICY_NONE)
        explain_terms(&r->input, &d, d.chosen, POLICY_NONE, &terms);
    json_writer_key(w, "reproduced");
    if (!done)
        json_writer_null(w);
    else
        json_writer_bool(w, mismatch.field == NULL);
    write_mismatch(w, r, &mismatch);
    json_writer_key(w, "terms");
    json_writer_begin_array(w);
    for (uint32_t i = 0; i < terms.count; i++)
        write_term(w, &terms.term[i], decision_model(r->pb, terms.a),
                   decision_model(r->pb, terms.b));
    json_writer_end_array(w);
    if (done && d.chosen != POLICY_NONE) {
        write_counterfactual(w, r, &d);
    } else {
        json_writer_key(w, "counterfactual");
        json_writer_null(w);
    }
}

int decisions_why(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    struct pq_result *r = NULL;
    struct buf detail = {0};
    struct record_cache cache = {0};
    struct json_writer *w = &call->w;
    struct record *record = mem_zalloc(sizeof *record);
    int rc = record == NULL ? ERR_NOMEM : load_one(call, c, &r, &detail, err);
    if (rc == 0)
        rc = record_open(c, &cache, buf_str(&detail), call->config->draw_key, record, err);
    if (rc == 0) {
        const Steelyard__Telemetry__V1__Decision *d = record->pb;
        json_writer_begin_object(w);
        json_writer_key(w, "request");
        json_writer_begin_object(w);
        call_write_column(w, "id", r, 0, 0);
        call_write_time(w, "ts", r, 0, 1);
        call_write_column(w, "key_id", r, 0, 2);
        call_write_column(w, "route", r, 0, 3);
        call_write_column(w, "alias", r, 0, 4);
        decision_write_facts(w, d);
        json_writer_end_object(w);
        decision_write_candidates(w, d);
        call_write_column(w, "chosen", r, 0, 5);
        json_writer_key(w, "greedy");
        json_writer_text(w, d->n_cand == 0 ? NULL : decision_model(d, d->greedy));
        json_writer_key(w, "explored");
        json_writer_bool(w,
                         (d->flags & STEELYARD__TELEMETRY__V1__DECISION_FLAG__FLAG_EXPLORED) != 0);
        call_write_column(w, "policy", r, 0, 7);
        write_reasoning(w, record);
        decision_write_attempts(w, d);
        json_writer_key(w, "outcome");
        json_writer_begin_object(w);
        decision_write_row(w, r, 0);
        json_writer_end_object(w);
        json_writer_end_object(w);
    }
    if (record != NULL)
        record_close(record);
    mem_free(record);
    record_cache_deinit(&cache);
    buf_deinit(&detail);
    pq_result_destroy(r);
    return rc;
}

/* --- replay ------------------------------------------------------------------------------------
 */

struct replay {
    struct admin_call *call;
    struct pq_conn *lookups; /* Artifacts are read while rows stream in on the other connection. */
    struct record_cache cache;
    struct record record;
    uint64_t checked, equal, differ, skipped;
    unsigned examples;
    char example[EXAMPLES_MAX][UUID_TEXT_BYTES];
    struct err *err;
};

static void replay_line(struct replay *p)
{
    struct json_writer w;
    json_writer_init(&w, &p->call->out);
    json_writer_begin_object(&w);
    json_writer_key(&w, "checked");
    json_writer_u64(&w, p->checked);
    json_writer_key(&w, "equal");
    json_writer_u64(&w, p->equal);
    json_writer_key(&w, "differ");
    json_writer_u64(&w, p->differ);
    json_writer_key(&w, "skipped");
    json_writer_u64(&w, p->skipped);
    json_writer_key(&w, "examples");
    json_writer_begin_array(&w);
    for (unsigned i = 0; i < p->examples; i++)
        json_writer_text(&w, p->example[i]);
    json_writer_end_array(&w);
    json_writer_end_object(&w);
    if (json_writer_finish(&w) == 0 && buf_append_char(&p->call->out, '\n') != 0)
        p->call->out.len = 0;
}

static int replay_one(struct replay *p, struct str detail, struct str id)
{
    struct policy_decision d;
    struct explain_mismatch mismatch = {0};
    int rc =
        record_open(p->lookups, &p->cache, detail, p->call->config->draw_key, &p->record, p->err);
    if (rc != 0 && rc != ERR_CORRUPT)
        return rc;
    p->checked++;
    if (rc == ERR_CORRUPT || p->record.skip != RECORD_USABLE) {
        p->skipped++;
    } else {
        rc = record_replay(&p->record, &d, &mismatch);
        if (rc == 0 && mismatch.field == NULL) {
            p->equal++;
        } else {
            p->differ++;
            if (p->examples < EXAMPLES_MAX)
                (void)str_copy(id, p->example[p->examples++], UUID_TEXT_BYTES);
        }
    }
    record_close(&p->record);
    return 0;
}

static int on_replay_row(void *arg, const struct pq_result *row)
{
    struct replay *p = arg;
    struct buf detail = {0};
    buf_init(&detail, DETAIL_MAX);
    int rc = pq_result_bytes(row, 0, 1, &detail);
    if (rc == 0)
        rc = replay_one(p, buf_str(&detail), pq_result_text(row, 0, 0));
    buf_deinit(&detail);
    if (rc == 0 && p->checked % REPLAY_STEP == 0)
        replay_line(p);
    return rc;
}

int decisions_replay(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    const json_t *limit = json_object_get(call->body, "limit");
    const char *since;
    int64_t since_us = 0;
    struct pq_params params = {0};
    int rc = call_text(call->body, "since", false, 40, &since, err);
    if (rc == 0 && since != NULL && call_time(str_from(since), &since_us) != 0)
        rc = err_set(err, ERR_INVALID, "\"since\" must be a time or an age like 7d");
    if (rc == 0 && limit != NULL &&
        (!json_is_integer(limit) || json_integer_value(limit) < 1 ||
         json_integer_value(limit) > REPLAY_MAX))
        rc = err_set(err, ERR_INVALID, "\"limit\" must be 1 to %d", REPLAY_MAX);
    if (rc != 0)
        return rc;
    struct replay *p = mem_zalloc(sizeof *p);
    if (p == NULL)
        return ERR_NOMEM;
    p->call = call;
    p->err = err;
    rc = pq_conn_open(call->config->conninfo, "steelyard-replay", 5000, 60000, &p->lookups, err);
    if (rc == 0) {
        call_params_time(&params, since_us != 0, since_us);
        pq_params_i64(&params, limit == NULL ? REPLAY_DEFAULT : json_integer_value(limit));
        rc = pq_conn_stream(c,
                            "SELECT request_id, detail FROM decision WHERE $1::timestamptz IS NULL "
                            "OR ts >= $1 ORDER BY request_id DESC LIMIT $2",
                            &params, on_replay_row, p, err);
    }
    if (rc == 0)
        replay_line(p);
    record_cache_deinit(&p->cache);
    pq_conn_close(p->lookups);
    mem_free(p);
    return rc;
}
