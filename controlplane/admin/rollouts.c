/* Rollouts, freezes and overrides: what people start, stop and ask. {id} is a rollout's number, or
 * the name of a policy: then the one under way is meant. */
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "control.pb-c.h"
#include "controlplane/admin/spec.h"

#define US_PER_MS 1000

/* --- reading -----------------------------------------------------------------------------------
 */

/* clang-format off */
#define STATUS_JSON                                                                                \
    "'id', r.id, 'kind', r.kind, 'policy', r.policy, 'stable', r.stable, 'candidate', "            \
    "r.candidate, 'state', r.state, 'stage', r.stage + 1, 'stages', jsonb_array_length(r.cfg -> "  \
    "'stages'), 'percent', trim_scale(round(r.pct_bp / 100.0, 2)), 'why', r.why, 'waits_for', "    \
    "CASE WHEN r.ended IS NULL AND r.watched_at >= r.state_since THEN r.report ->> 'reason' "      \
    "END, 'metric', r.report ->> 'metric', "                                                       \
    "'breached', r.why IN ('breach', 'trip_wire'), 'created', " SQL_TIME("r.created") ", "         \
    "'created_by', r.created_by, 'reason', r.reason, 'state_since', " SQL_TIME("r.state_since")    \
    ", 'stage_since', " SQL_TIME("r.stage_since") ", 'watched', " SQL_TIME("r.watched_at") ", "    \
    "'expires', " SQL_TIME("r.expires") ", 'ended', " SQL_TIME("r.ended") ", 'frozen', "           \
    "EXISTS (SELECT FROM rollout_freeze z WHERE z.ended IS NULL AND coalesce(z.policy, r.policy) " \
    "= r.policy)"
#define EVENT_JSON                                                                                 \
    "'id', e.id, 'ts', " SQL_TIME("e.ts") ", 'from', e.from_state, 'from_stage', e.from_stage + "  \
    "1, 'to', e.to_state, 'stage', e.to_stage + 1, 'percent', trim_scale(round(e.pct_bp / 100.0, " \
    "2)), 'actor', e.actor, 'reason', e.reason, 'evidence', e.evidence, 'term', e.term, "          \
    "'generation', e.generation"
/* clang-format on */

int rollouts_list(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    struct pq_params p = {0};
    char cursor[32];
    int64_t limit;
    uint64_t before = INT64_MAX;
    int rc = call_limit(call, &limit, err);
    if (rc != 0)
        return rc;
    bool has_cursor = call_query(call, "cursor", cursor, sizeof cursor, &rc);
    if (rc != 0 || (has_cursor && str_parse_u64(str_from(cursor), INT64_MAX, &before) != 0))
        return err_set(err, ERR_INVALID, "cursor: not readable");
    bool all = call->param[0][0] == '\0';
    pq_params_text(&p, all ? STR_NULL : str_from(call->param[0]));
    pq_params_i64(&p, (int64_t)before);
    pq_params_i64(&p, limit);
    return query_page(
        call, c,
        "SELECT json_build_object(" STATUS_JSON "), r.id FROM rollout r WHERE CASE "
        "WHEN $1::text IS NULL THEN r.ended IS NULL ELSE r.policy = $1 END AND r.id < "
        "$2 ORDER BY r.id DESC LIMIT $3",
        &p, limit, err);
}

static int find_id(const struct admin_call *call, struct pq_conn *c, int64_t *out_id,
                   struct err *err)
{
    struct str text = str_from(call->param[0]);
    if (str_parse_i64(text, 1, INT64_MAX, out_id) == 0)
        return 0;
    return rollout_find_active(c, text, out_id, err);
}

/* Of a policy without one under way the last one is shown. */
static int find_shown(const struct admin_call *call, struct pq_conn *c, int64_t *out_id,
                      struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    int rc = find_id(call, c, out_id, err);
    if (rc != ERR_NOT_FOUND)
        return rc;
    pq_params_text(&p, str_from(call->param[0]));
    rc = pq_conn_query(c, "SELECT max(id) FROM rollout WHERE policy = $1", &p, &r, err);
    if (rc == 0 && pq_result_is_null(r, 0, 0))
        rc = err_set(err, ERR_NOT_FOUND, "policy %s had no rollout yet", call->param[0]);
    else if (rc == 0)
        *out_id = pq_result_i64(r, 0, 0);
    pq_result_destroy(r);
    return rc;
}

static int write_status(struct admin_call *call, struct pq_conn *c, int64_t id, struct err *err)
{
    struct pq_params p = {0};
    json_t *json = NULL;
    pq_params_i64(&p, id);
    int rc = query_json(
        c,
        "SELECT json_build_object(" STATUS_JSON ", 'report', r.report, 'baseline', r.baseline, "
        "'config', r.cfg, 'events', (SELECT coalesce(json_agg(json_build_object(" EVENT_JSON
        ") ORDER BY e.id), '[]') FROM rollout_event e WHERE e.rollout_id = r.id)) FROM rollout r "
        "WHERE r.id = $1",
        &p, &json, err);
    if (rc == ERR_NOT_FOUND)
        return err_set(err, rc, "there is no rollout %lld", (long long)id);
    if (rc == 0)
        rc = write_json(call, json);
    json_decref(json);
    return rc;
}

int rollouts_show(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    int64_t id = 0;
    int rc = find_shown(call, c, &id, err);
    return rc != 0 ? rc : write_status(call, c, id, err);
}

/* Edges of all its rollouts, and what people did past them. */
int rollouts_history(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    return query_few(
        call, c,
        "SELECT line, NULL FROM (SELECT e.ts, json_build_object('rollout', r.id, 'version', "
        "r.candidate, " EVENT_JSON ") AS line FROM rollout_event e JOIN rollout r ON r.id = "
        "e.rollout_id WHERE r.policy = $1 UNION ALL SELECT a.ts, json_build_object('rollout', "
        "NULL, "
        "'version', split_part(a.subject, '@', 2)::bigint, 'ts', " SQL_TIME(
            "a.ts") ", 'from', NULL, 'to', a.action, 'stage', NULL, 'percent', NULL, 'actor', "
                    "a.actor, 'reason', a.reason, 'evidence', a.detail::json, 'generation', "
                    "a.generation) FROM audit_log a WHERE split_part(a.subject, '@', 1) = $1 AND "
                    "a.action IN ('policy.store', 'policy.promote', 'policy.rollback')) h ORDER BY "
                    "ts DESC LIMIT $2",
        str_from(call->param[0]), err);
}

/* --- starting ----------------------------------------------------------------------------------
 */

static int read_version(const struct admin_call *call, uint64_t *out_version, struct err *err)
{
    const json_t *version = json_object_get(call->body, "version");
    if (!json_is_integer(version) || json_integer_value(version) < 1)
        return err_set(err, ERR_INVALID, "\"version\" must be a version number");
    *out_version = (uint64_t)json_integer_value(version);
    return 0;
}

/* The version that a revert goes to, under a new number; detail says which it was. */
static int copy_version(struct pq_conn *c, const struct publish_actor *actor,
                        struct rollout_new *in, uint64_t to, json_t *detail, struct err *err)
{
    bool frozen = false;
    int rc = rollout_is_frozen(c, in->policy, &frozen, err);
    if (rc == 0 && frozen)
        rc = err_set(err, ERR_CONFLICT,
                     "a freeze blocks every rollout, back ones too: `policies rollback` does not "
                     "wait for any");
    if (rc == 0)
        rc = publish_policy_copy(c, actor, in->policy, &to, &in->candidate, err);
    if (rc == 0 && json_object_set_new(detail, "to", json_integer((json_int_t)to)) != 0)
        rc = err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    return rc;
}

static int create(struct admin_call *call, struct pq_conn *c, struct rollout_new *in, uint64_t to,
                  const char *action, json_t *detail, struct err *err)
{
    const struct publish_actor actor = call_actor(call);
    char subject[CALL_PARAM_BYTES + 32];
    int64_t id = 0;
    in->policy = str_from(call->param[0]);
    int rc = change_begin(call, c, err);
    if (rc == 0)
        rc = rollout_now(c, &in->now_us, err);
    if (rc == 0 && in->reverts)
        rc = copy_version(c, &actor, in, to, detail, err);
    snprintf(subject, sizeof subject, "%s@%llu", call->param[0], (unsigned long long)in->candidate);
    if (rc == 0 && in->expires_us != 0 && in->expires_us <= in->now_us)
        rc = err_set(err, ERR_INVALID, "\"expires\" must be a time to come");
    if (rc == 0)
        rc = rollout_create(c, &actor, in, &id, err);
    if (rc == 0)
        rc = change_end(call, c, action, subject, detail,
                        json_pack("{s:I, s:s, s:I}", "id", (json_int_t)id, "policy", call->param[0],
                                  "version", (json_int_t)in->candidate),
                        err);
    if (rc != 0)
        publish_abort(c);
    return rc;
}

int rollouts_start(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    struct rollout_plan plan;
    struct rollout_new in = {.plan = &plan};
    json_t *detail = NULL;
    plan_default(&plan);
    int rc = read_version(call, &in.candidate, err);
    if (rc == 0)
        rc = plan_read(call->body, &plan, err);
    if (rc == 0)
        rc = plan_write(&plan, &detail);
    if (rc == 0)
        rc = create(call, c, &in, 0, "rollout.start", detail, err);
    json_decref(detail);
    return rc;
}

int rollouts_revert(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    struct rollout_plan plan;
    struct rollout_new in = {.plan = &plan, .reverts = true};
    const json_t *to = json_object_get(call->body, "to");
    json_t *detail = NULL;
    const char *reason;
    plan_revert(&plan);
    int rc = call_text(call->body, "reason", true, 500, &reason, err);
    if (rc == 0 && to != NULL && (!json_is_integer(to) || json_integer_value(to) < 1))
        rc = err_set(err, ERR_INVALID, "\"to\" must be a version number");
    if (rc == 0)
        rc = plan_read(call->body, &plan, err);
    if (rc == 0)
        rc = plan_write(&plan, &detail);
    if (rc == 0)
        rc = create(call, c, &in, (uint64_t)json_integer_value(to), "rollout.revert", detail, err);
    json_decref(detail);
    return rc;
}

static int read_expires(const struct admin_call *call, int64_t *out_us, struct err *err)
{
    const char *text;
    uint64_t ms;
    int rc = call_text(call->body, "expires", true, 40, &text, err);
    if (rc != 0)
        return rc;
    if (str_parse_duration_ms(str_from(text), &ms) == 0 && ms <= 1000ULL * 86400 * 90)
        *out_us = clock_wall_us() + (int64_t)ms * US_PER_MS;
    else if (call_time(str_from(text), out_us) != 0)
        return err_set(err, ERR_INVALID,
                       "\"expires\" must be a time like 2027-01-01T00:00:00Z, or like 4h");
    return 0;
}

int rollouts_override(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    struct rollout_plan plan;
    struct rollout_new in = {.plan = &plan};
    const char *reason;
    plan_default(&plan);
    int rc = call_text(call->body, "reason", true, 500, &reason, err);
    if (rc == 0)
        rc = read_version(call, &in.candidate, err);
    if (rc == 0)
        rc = read_expires(call, &in.expires_us, err);
    return rc != 0 ? rc : create(call, c, &in, 0, "policy.override", call->body, err);
}

/* --- commands ----------------------------------------------------------------------------------
 */

static int command(struct admin_call *call, struct pq_conn *c, enum rollout_command what,
                   bool override_only, struct err *err)
{
    const struct publish_actor actor = call_actor(call);
    struct look_result result;
    const char *reason;
    int64_t id = 0;
    int rc = call_text(call->body, "reason", false, 500, &reason, err);
    if (rc == 0)
        rc = find_id(call, c, &id, err);
    if (rc == 0 && override_only) {
        struct pq_params p = {0};
        struct pq_result *r = NULL;
        pq_params_i64(&p, id);
        rc = pq_conn_query(c, "SELECT kind = 'override' FROM rollout WHERE id = $1", &p, &r, err);
        if (rc == 0 && !pq_result_bool(r, 0, 0))
            rc = err_set(err, ERR_CONFLICT, "%lld is a rollout and no override: abort it",
                         (long long)id);
        pq_result_destroy(r);
    }
    if (rc == 0)
        rc = rollout_command(c, &actor, id, what, 0, &result, err);
    if (rc != 0)
        return rc;
    call->publish_changed = true;
    return write_status(call, c, id, err);
}

int rollouts_pause(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    return command(call, c, ROLLOUT_COMMAND_HOLD, false, err);
}

int rollouts_resume(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    return command(call, c, ROLLOUT_COMMAND_RESUME, false, err);
}

int rollouts_advance(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    return command(call, c, ROLLOUT_COMMAND_ADVANCE, false, err);
}

int rollouts_override_end(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    return command(call, c, ROLLOUT_COMMAND_ROLLBACK, true, err);
}

/* --- abort: on the loop first, so that it needs nothing but this process and its nodes -----------
 */

/* The rollout of a policy as it is published: what nodes have. */
static int published_id(const struct admin_call *call, int64_t *out_id)
{
    char key[CALL_PARAM_BYTES + 16];
    snprintf(key, sizeof key, "rollout/%s", call->param[0]);
    for (size_t i = 0; call->set != NULL && i < call->set->count; i++) {
        const struct publish_resource *item = &call->set->items[i];
        if (!str_is(item->key, key))
            continue;
        Steelyard__Control__V1__Rollout *m = steelyard__control__v1__rollout__unpack(
            NULL, item->body.len, (const uint8_t *)item->body.data);
        if (m == NULL)
            return ERR_NOMEM;
        *out_id = (int64_t)m->id;
        steelyard__control__v1__rollout__free_unpacked(m, NULL);
        return 0;
    }
    return ERR_NOT_FOUND;
}

int rollouts_abort_prepare(struct admin_call *call, struct err *err)
{
    struct abort_wish *wish = &call->state.abort;
    const char *reason;
    int rc = call_text(call->body, "reason", false, 500, &reason, err);
    if (rc != 0)
        return rc;
    if (str_parse_i64(str_from(call->param[0]), 1, INT64_MAX, &wish->id) != 0 &&
        published_id(call, &wish->id) != 0)
        return err_set(err, ERR_NOT_FOUND, "policy %s has no rollout under way", call->param[0]);
    wish->ts_us = clock_wall_us();
    (void)str_copy(str_from(call->caller.name), wish->actor, sizeof wish->actor);
    (void)str_copy(reason == NULL ? STR("") : str_from(reason), wish->reason, sizeof wish->reason);
    if (call->config->rollouts == NULL)
        return 0;
    struct err kept = {0};
    rc = controller_abort(call->config->rollouts, wish, &kept);
    (void)rc; /* The nodes were told; whether it can be written is seen next. */
    return 0;
}

int rollouts_abort(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    const struct abort_wish *wish = &call->state.abort;
    const struct publish_actor actor = call_actor(call);
    struct look_result result;
    int rc =
        rollout_command(c, &actor, wish->id, ROLLOUT_COMMAND_ROLLBACK, wish->ts_us, &result, err);
    if (rc != 0)
        return rc;
    call->publish_changed = true;
    return write_status(call, c, wish->id, err);
}

int rollouts_abort_finish(struct admin_call *call, int status, struct err *err)
{
    const struct abort_wish *wish = &call->state.abort;
    struct controller *rollouts = call->config->rollouts;
    bool settled =
        status == 0 || status == ERR_CONFLICT || status == ERR_NOT_FOUND || status == ERR_INVALID;
    (void)err;
    if (wish->id == 0 || rollouts == NULL)
        return status;
    if (settled) {
        controller_settle(rollouts, wish->id);
        return status;
    }
    buf_clear(&call->out);
    json_writer_init(&call->w, &call->out);
    json_writer_begin_object(&call->w);
    json_writer_key(&call->w, "id");
    json_writer_i64(&call->w, wish->id);
    json_writer_key(&call->w, "state");
    json_writer_text(&call->w, "rolling_back");
    json_writer_key(&call->w, "written");
    json_writer_bool(&call->w, false);
    json_writer_end_object(&call->w);
    call->status = 202;
    return 0;
}

/* --- freezes -----------------------------------------------------------------------------------
 */

static int freeze(struct admin_call *call, struct pq_conn *c, bool begin, struct err *err)
{
    const struct publish_actor actor = call_actor(call);
    const char *reason;
    struct str policy = str_from(call->param[0]);
    int rc = call_text(call->body, "reason", begin, 500, &reason, err);
    if (rc == 0)
        rc = change_begin(call, c, err);
    if (rc == 0 && policy.len > 0) {
        struct publish_version ignored;
        rc = publish_policy_find(c, policy, 0, &ignored, err);
    }
    if (rc == 0)
        rc = begin ? rollout_freeze(c, &actor, policy, err)
                   : rollout_unfreeze(c, &actor, policy, err);
    if (rc == 0)
        rc = change_end(call, c, begin ? "rollout.freeze" : "rollout.unfreeze",
                        policy.len > 0 ? call->param[0] : "*", NULL,
                        json_pack("{s:b}", "frozen", begin), err);
    if (rc != 0)
        publish_abort(c);
    return rc;
}

int rollouts_freeze(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    return freeze(call, c, true, err);
}

int rollouts_unfreeze(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    return freeze(call, c, false, err);
}
