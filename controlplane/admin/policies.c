/* Policy versions, their reports, and the changes of what is in use. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/rand.h"
#include "control.pb-c.h"
#include "controlplane/admin/call.h"
#include "controlplane/release/train_queue.h"

static int param_version(const struct admin_call *call, uint64_t *out_version, struct err *err)
{
    if (str_parse_u64(str_from(call->param[1]), INT64_MAX, out_version) != 0 || *out_version == 0)
        return err_set(err, ERR_NOT_FOUND, "%s is not a version number", call->param[1]);
    return 0;
}

/* A member of a report, or null. */
static void write_member(struct json_writer *w, const char *key, const json_t *object,
                         const char *member)
{
    const json_t *value = json_object_get(object, member);
    char *text = value == NULL ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    json_writer_key(w, key);
    if (text == NULL)
        json_writer_null(w);
    else
        json_writer_raw(w, str_from(text));
    if (text != NULL) {
        void (*release)(void *);
        void *(*take)(size_t);
        json_get_alloc_funcs(&take, &release);
        release(text);
    }
}

static json_t *parse_report(const struct pq_result *r, int row, int column)
{
    struct str s = pq_result_text(r, row, column);
    return json_loadb(s.data, s.len, 0, NULL);
}

#define VERSION_COLUMNS                                                                            \
    "v.name, v.version, v.state, encode(v.artifact, 'hex'), v.created, v.rows, v.target, "         \
    "v.report, "                                                                                   \
    "v.copy_of, v.promoted"

static void write_version(struct json_writer *w, const struct pq_result *r, int row,
                          const json_t *report)
{
    call_write_column(w, "name", r, row, 0);
    json_writer_key(w, "version");
    json_writer_i64(w, pq_result_i64(r, row, 1));
    call_write_column(w, "state", r, row, 2);
    call_write_column(w, "artifact", r, row, 3);
    call_write_time(w, "created", r, row, 4);
    json_writer_key(w, "rows");
    json_writer_i64(w, pq_result_i64(r, row, 5));
    write_member(w, "metrics", report, "metrics");
    json_writer_key(w, "target");
    json_writer_raw(w, pq_result_text(r, row, 6));
    json_writer_key(w, "copy_of");
    if (pq_result_is_null(r, row, 8))
        json_writer_null(w);
    else
        json_writer_i64(w, pq_result_i64(r, row, 8));
    call_write_time(w, "promoted", r, row, 9);
}

int policies_list(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    struct json_writer *w = &call->w;
    char name[CALL_PARAM_BYTES], cursor[32];
    int64_t limit;
    uint64_t offset = 0;
    int rc = call_limit(call, &limit, err);
    if (rc != 0)
        return rc;
    bool has_name = call_query(call, "name", name, sizeof name, &rc);
    bool has_cursor = call_query(call, "cursor", cursor, sizeof cursor, &rc);
    if (rc != 0 || (has_cursor && str_parse_u64(str_from(cursor), 1000000, &offset) != 0))
        return err_set(err, ERR_INVALID, "cursor or name: not readable");
    pq_params_text(&p, has_name ? str_from(name) : STR_NULL);
    pq_params_i64(&p, limit);
    pq_params_i64(&p, (int64_t)offset);
    rc = pq_conn_query(c,
                       "SELECT " VERSION_COLUMNS " FROM policy_version v WHERE $1::text IS NULL OR "
                       "v.name = $1 ORDER BY v.name, v.version DESC LIMIT $2 OFFSET $3",
                       &p, &r, err);
    if (rc != 0)
        return rc;
    json_writer_begin_object(w);
    json_writer_key(w, "items");
    json_writer_begin_array(w);
    for (int i = 0; i < pq_result_rows(r); i++) {
        json_t *report = parse_report(r, i, 7);
        json_writer_begin_object(w);
        write_version(w, r, i, report);
        json_writer_end_object(w);
        json_decref(report);
    }
    json_writer_end_array(w);
    json_writer_key(w, "next");
    if (pq_result_rows(r) < limit) {
        json_writer_null(w);
    } else {
        snprintf(cursor, sizeof cursor, "%llu", (unsigned long long)offset + (uint64_t)limit);
        json_writer_text(w, cursor);
    }
    json_writer_end_object(w);
    pq_result_destroy(r);
    return 0;
}

static void write_params(struct json_writer *w, struct str body)
{
    Steelyard__Control__V1__Params *m =
        steelyard__control__v1__params__unpack(NULL, body.len, (const uint8_t *)body.data);
    json_writer_key(w, "params");
    if (m == NULL) {
        json_writer_null(w);
        return;
    }
    json_writer_begin_object(w);
    json_writer_key(w, "lambda");
    json_writer_i64(w, m->lambda);
    json_writer_key(w, "lambda_quality_per_usd");
    json_writer_fixed(w, (int64_t)((double)m->lambda * 1e9 / 1152921504606846976.0 * 1e6 + 0.5), 6);
    json_writer_key(w, "mu");
    json_writer_i64(w, m->mu);
    json_writer_key(w, "floor");
    json_writer_fixed(w, call_q16(m->floor_q16), 4);
    json_writer_key(w, "explore");
    json_writer_fixed(w, (int64_t)(((uint64_t)m->eps_cap * 10000 + UINT32_MAX / 2) / UINT32_MAX),
                      4);
    json_writer_key(w, "gamma");
    json_writer_u64(w, m->gamma);
    json_writer_key(w, "stick_margin");
    json_writer_i64(w, m->stick_margin);
    json_writer_end_object(w);
    steelyard__control__v1__params__free_unpacked(m, NULL);
}

/* In which generation the policy last changed. By the database, as the version's state is: what
 * this program pushes follows a moment later, and until then the acknowledgements of the generation
 * before must not count for this one. */
static int read_generation(const char *policy, struct pq_conn *c, uint64_t *out_generation,
                           struct err *err)
{
    char key[CALL_PARAM_BYTES + 16];
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    snprintf(key, sizeof key, "params/%s", policy);
    pq_params_text(&p, str_from(key));
    int rc = pq_conn_query(c, "SELECT generation FROM resource WHERE key = $1", &p, &r, err);
    if (rc == 0)
        *out_generation = pq_result_rows(r) == 0 ? 0 : (uint64_t)pq_result_i64(r, 0, 0);
    pq_result_destroy(r);
    return rc;
}

/* How the generation in which the policy last changed was taken by the nodes. */
static int write_push(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    uint64_t generation = 0;
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    struct json_writer *w = &call->w;
    int rc = read_generation(call->param[0], c, &generation, err);
    if (rc != 0)
        return rc;
    pq_params_i64(&p, (int64_t)generation);
    rc = pq_conn_query(c,
                       "SELECT DISTINCT ON (node_id) node_id, accepted, code, detail FROM "
                       "push_log WHERE generation >= $1 ORDER BY node_id, id DESC",
                       &p, &r, err);
    if (rc != 0)
        return rc;
    uint64_t acked = 0;
    for (int i = 0; i < pq_result_rows(r); i++)
        acked += pq_result_bool(r, i, 1);
    json_writer_key(w, "push");
    json_writer_begin_object(w);
    json_writer_key(w, "generation");
    json_writer_u64(w, generation);
    json_writer_key(w, "connected");
    json_writer_u64(w, call->connected_nodes);
    json_writer_key(w, "acked");
    json_writer_u64(w, acked);
    json_writer_key(w, "nacked");
    json_writer_begin_array(w);
    for (int i = 0; i < pq_result_rows(r); i++) {
        if (pq_result_bool(r, i, 1))
            continue;
        json_writer_begin_object(w);
        call_write_column(w, "node_id", r, i, 0);
        call_write_column(w, "code", r, i, 2);
        call_write_column(w, "detail", r, i, 3);
        json_writer_end_object(w);
    }
    json_writer_end_array(w);
    json_writer_end_object(w);
    pq_result_destroy(r);
    return 0;
}

int policies_show(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    uint64_t version;
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    struct buf body = {0};
    struct json_writer *w = &call->w;
    int rc = param_version(call, &version, err);
    if (rc != 0)
        return rc;
    buf_init(&body, 1U << 20);
    pq_params_text(&p, str_from(call->param[0]));
    pq_params_i64(&p, (int64_t)version);
    rc = pq_conn_query(c,
                       "SELECT " VERSION_COLUMNS
                       ", q.body FROM policy_version v JOIN policy_params q "
                       "ON q.sha256 = v.params WHERE v.name = $1 AND v.version = $2",
                       &p, &r, err);
    if (rc == 0 && pq_result_rows(r) == 0)
        rc = err_set(err, ERR_NOT_FOUND, "there is no policy version %s@%llu", call->param[0],
                     (unsigned long long)version);
    if (rc == 0)
        rc = pq_result_bytes(r, 0, 10, &body);
    if (rc == 0) {
        json_t *report = parse_report(r, 0, 7);
        json_writer_begin_object(w);
        write_version(w, r, 0, report);
        write_member(w, "frontier", report, "frontier");
        write_member(w, "gates", report, "gates");
        json_writer_key(w, "report");
        json_writer_raw(w, pq_result_text(r, 0, 7));
        write_params(w, buf_str(&body));
        rc = write_push(call, c, err);
        json_writer_end_object(w);
        json_decref(report);
    }
    buf_deinit(&body);
    pq_result_destroy(r);
    return rc;
}

int policies_frontier(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    char text[32];
    uint64_t version = 0;
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    struct json_writer *w = &call->w;
    int rc = 0;
    bool given = call_query(call, "version", text, sizeof text, &rc);
    if (rc != 0 || (given && str_parse_u64(str_from(text), INT64_MAX, &version) != 0))
        return err_set(err, ERR_INVALID, "version: must be a number");
    pq_params_text(&p, str_from(call->param[0]));
    pq_params_i64(&p, (int64_t)version);
    rc = pq_conn_query(c,
                       "SELECT version, report FROM policy_version WHERE name = $1 AND CASE WHEN "
                       "$2::bigint > 0 THEN version = $2 ELSE report LIKE '%\"frontier\"%' END "
                       "ORDER BY (state = 'current') DESC, version DESC LIMIT 1",
                       &p, &r, err);
    if (rc == 0 && pq_result_rows(r) == 0)
        rc = err_set(err, ERR_NOT_FOUND, "policy %s has no frontier yet: train it first",
                     call->param[0]);
    if (rc == 0) {
        json_t *report = parse_report(r, 0, 1);
        json_writer_begin_object(w);
        json_writer_key(w, "version");
        json_writer_i64(w, pq_result_i64(r, 0, 0));
        write_member(w, "points", report, "frontier");
        write_member(w, "singles", report, "singles");
        write_member(w, "random_mix", report, "random_mix");
        write_member(w, "oracle", report, "oracle");
        write_member(w, "chosen", report, "chosen");
        json_writer_end_object(w);
        json_decref(report);
    }
    pq_result_destroy(r);
    return rc;
}

static void write_generation(struct admin_call *call, uint64_t version, uint64_t generation)
{
    struct json_writer *w = &call->w;
    json_writer_begin_object(w);
    json_writer_key(w, "version");
    json_writer_u64(w, version);
    json_writer_key(w, "generation");
    json_writer_u64(w, generation);
    json_writer_end_object(w);
    call->publish_changed = true;
}

int policies_promote(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    struct publish_actor actor = call_actor(call);
    const char *reason;
    uint64_t version = 0, generation = 0;
    int rc = call_text(call->body, "reason", true, 500, &reason, err);
    if (rc == 0)
        rc = param_version(call, &version, err);
    if (rc == 0)
        rc = publish_policy_promote(c, &actor, str_from(call->param[0]), version, &generation, err);
    if (rc == 0)
        write_generation(call, version, generation);
    return rc;
}

int policies_rollback(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    struct publish_actor actor = call_actor(call);
    const json_t *to = json_object_get(call->body, "to");
    const char *reason;
    uint64_t version = 0, generation = 0;
    int rc = call_text(call->body, "reason", true, 500, &reason, err);
    if (rc == 0 && to != NULL && (!json_is_integer(to) || json_integer_value(to) < 1))
        rc = err_set(err, ERR_INVALID, "\"to\" must be a version number");
    if (rc == 0)
        rc = publish_policy_rollback(c, &actor, str_from(call->param[0]),
                                     to == NULL ? 0 : (uint64_t)json_integer_value(to), &version,
                                     &generation, err);
    if (rc == 0)
        write_generation(call, version, generation);
    return rc;
}

/* --- training ------------------------------------------------------------------------------------
 */

static int read_target(const json_t *target, struct train_request *t, struct err *err)
{
    static const char *const names[] = {"quality", "quality_floor", "spend_usd_per_day", NULL};
    int rc = json_is_object(target) && json_object_size(target) == 1
                 ? call_check_fields(target, names, err)
                 : ERR_INVALID;
    if (rc != 0)
        return err_set(err, ERR_INVALID,
                       "\"target\" must hold one of quality, quality_floor, spend_usd_per_day");
    for (int i = 0; names[i] != NULL; i++) {
        const json_t *value = json_object_get(target, names[i]);
        if (value == NULL)
            continue;
        double v = json_is_number(value) ? json_number_value(value) : -1;
        bool share = i != TRAIN_SPEND_PER_DAY;
        if (!isfinite(v) || v <= 0 || (share && v > 1))
            return err_set(err, ERR_INVALID, "target.%s must be above 0%s", names[i],
                           share ? " and at most 1" : "");
        t->target = (enum train_target)i;
        t->value = v;
    }
    return 0;
}

static int read_data(const json_t *data, struct train_request *t, struct err *err)
{
    static const char *const names[] = {"mode", "since", "until", "label_maturity", NULL};
    const char *mode = NULL, *since = NULL, *until = NULL, *maturity = NULL;
    if (data == NULL)
        return 0;
    if (!json_is_object(data))
        return err_set(err, ERR_INVALID, "\"data\" must be an object");
    int rc = call_check_fields(data, names, err);
    if (rc == 0)
        rc = call_text(data, "mode", false, 16, &mode, err);
    if (rc == 0)
        rc = call_text(data, "since", false, 40, &since, err);
    if (rc == 0)
        rc = call_text(data, "until", false, 40, &until, err);
    if (rc == 0)
        rc = call_text(data, "label_maturity", false, 20, &maturity, err);
    if (rc != 0)
        return rc;
    if (mode != NULL && strcmp(mode, "full") == 0)
        t->mode = TRAIN_FULL;
    else if (mode != NULL && strcmp(mode, "observed") != 0)
        return err_set(err, ERR_INVALID, "data.mode must be observed or full");
    if ((since != NULL && call_time(str_from(since), &t->since_us) != 0) ||
        (until != NULL && call_time(str_from(until), &t->until_us) != 0))
        return err_set(err, ERR_INVALID, "data.since and data.until are times or ages like 7d");
    if (maturity != NULL && str_parse_duration_ms(str_from(maturity), &t->maturity_ms) != 0)
        return err_set(err, ERR_INVALID, "data.label_maturity must be a duration like 30m");
    return 0;
}

int train_run(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    struct train_request *t = &call->state.train;
    const json_t *promote = json_object_get(call->body, "promote");
    struct uuid id = uuid_v7(clock_wall_us());
    const char *reason;
    int rc = call_text(call->body, "reason", false, 255, &reason, err);
    if (rc == 0)
        rc = read_target(json_object_get(call->body, "target"), t, err);
    t->maturity_ms = call->label_maturity_ms;
    if (rc == 0)
        rc = read_data(json_object_get(call->body, "data"), t, err);
    if (rc == 0 && promote != NULL && !json_is_boolean(promote))
        rc = err_set(err, ERR_INVALID, "\"promote\" must be true or false");
    if (rc != 0)
        return rc;
    t->promote = json_is_true(promote);
    if (!str_copy(str_from(call->param[0]), t->policy, sizeof t->policy))
        return err_set(err, ERR_NOT_FOUND, "there is no policy %s", call->param[0]);
    (void)str_copy(STR("operator"), t->actor, sizeof t->actor);
    if (reason != NULL)
        (void)str_copy(str_from(reason), t->reason, sizeof t->reason);
    uuid_format(&id, t->job);
    char *request = json_dumps(call->body, JSON_COMPACT | JSON_ENSURE_ASCII);
    rc = train_queue_put(c, t, request == NULL ? STR("{}") : str_from(request), err);
    void (*release)(void *);
    void *(*take)(size_t);
    json_get_alloc_funcs(&take, &release);
    release(request);
    return rc;
}

int train_finish(struct admin_call *call, int status, struct err *err)
{
    (void)err;
    if (status != 0)
        return status;
    trainer_look(call->config->trainer);
    json_writer_begin_object(&call->w);
    json_writer_key(&call->w, "job");
    json_writer_text(&call->w, call->state.train.job);
    json_writer_end_object(&call->w);
    call->status = 202;
    return 0;
}

int jobs_show(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    struct uuid id;
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    struct json_writer *w = &call->w;
    if (uuid_parse(str_from(call->param[0]), &id) != 0)
        return err_set(err, ERR_NOT_FOUND, "there is no job %s", call->param[0]);
    pq_params_text(&p, str_from(call->param[0]));
    int rc =
        pq_conn_query(c,
                      "SELECT id, state, phase, done, total, message, result, created, finished "
                      "FROM job WHERE id = $1::uuid",
                      &p, &r, err);
    if (rc == 0 && pq_result_rows(r) == 0)
        rc = err_set(err, ERR_NOT_FOUND, "there is no job %s", call->param[0]);
    if (rc == 0) {
        struct train_progress live;
        bool running = str_is(pq_result_text(r, 0, 1), "running") &&
                       trainer_progress(call->config->trainer, call->param[0], &live);
        json_writer_begin_object(w);
        call_write_column(w, "id", r, 0, 0);
        call_write_column(w, "state", r, 0, 1);
        json_writer_key(w, "phase");
        if (running)
            json_writer_text(w, live.phase);
        else
            json_writer_string(w, pq_result_text(r, 0, 2));
        json_writer_key(w, "done");
        json_writer_i64(w, running ? (int64_t)live.done : pq_result_i64(r, 0, 3));
        json_writer_key(w, "total");
        json_writer_i64(w, running ? (int64_t)live.total : pq_result_i64(r, 0, 4));
        call_write_column(w, "message", r, 0, 5);
        json_writer_key(w, "result");
        json_writer_raw(w, pq_result_text(r, 0, 6));
        call_write_time(w, "created", r, 0, 7);
        call_write_time(w, "finished", r, 0, 8);
        json_writer_end_object(w);
    }
    pq_result_destroy(r);
    return rc;
}
