/* Two transactions, both fenced. The first folds, looks and says so (watched_at); what it counted
 * stays whatever comes of the second. The second, only when the machine says that an edge is due,
 * loads the row again under the lock of the head, steps again if anything moved meanwhile, and
 * writes row, event and resources together. */
#include "controlplane/rollout/look.h"

#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"

#define US_PER_MS INT64_C(1000)
#define US_PER_S  INT64_C(1000000)

/* --- facts -----------------------------------------------------------------------------------
 */

/* Which nodes are there, which have the candidate, whether one refused it. A resource that comes
 * anew has a new generation: what was refused before a halt is not held against it after a resume.
 */
static int read_nodes(struct pq_conn *c, const struct rollout *r, struct rollout_facts *f,
                      struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *q = NULL;
    pq_params_text(&p, str_from(r->policy));
    int rc = pq_conn_query(
        c,
        "WITH wanted AS (SELECT max(generation) AS g, min(generation) AS first FROM resource WHERE "
        "key IN ('params/' || $1 || '/candidate', 'artifact/' || $1 || '/candidate')), "
        "node AS (SELECT n.* FROM node_presence n JOIN replica r ON r.id = n.replica WHERE "
        "n.connected AND r.seen > now() - interval '1 minute') "
        "SELECT (SELECT count(*) FROM node), "
        "(SELECT count(*) FROM node, wanted WHERE applied >= g), "
        "EXISTS (SELECT FROM push_log l, wanted WHERE NOT l.accepted AND l.generation >= first AND "
        "(l.key IN ('rollout/' || $1, 'params/' || $1 || '/candidate', 'artifact/' || $1 || "
        "'/candidate') OR l.code = 'CRASHED')), "
        "coalesce((SELECT (extract(epoch FROM max(now() - s.last_ts)))::bigint FROM node n JOIN "
        "(SELECT node_id::text AS node_id, max(last_ts) AS last_ts FROM ingest_stream GROUP BY 1) "
        "s USING (node_id) WHERE n.spool_bytes > 0), 0)",
        &p, &q, err);
    if (rc != 0)
        return rc;
    f->nodes = (uint32_t)pq_result_i64(q, 0, 0);
    f->nodes_ready = (uint32_t)pq_result_i64(q, 0, 1);
    f->nack = pq_result_bool(q, 0, 2);
    f->data_age_s = pq_result_i64(q, 0, 3);
    pq_result_destroy(q);
    return 0;
}

/* The candidate's last minute, for the trip wire: by the folds that took it. */
static int read_recent(struct pq_conn *c, const struct rollout *r, int64_t now_us,
                       struct guard_look *look, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *q = NULL;
    pq_params_i64(&p, r->id);
    pq_params_time_us(&p, now_us - GUARD_TRIP_WINDOW_S * US_PER_S);
    int rc = pq_conn_query(
        c,
        "WITH recent AS (SELECT min(from_xid) AS low, max(to_xid) AS high FROM (SELECT from_xid, "
        "to_xid FROM canary_fold WHERE rollout_id = $1 AND fold > (SELECT coalesce(max(fold), 0) - "
        "600 FROM canary_fold WHERE rollout_id = $1) AND bucket > $2::timestamptz ORDER BY fold "
        "DESC) f) SELECT count(*), count(*) FILTER (WHERE o.flags & 1 <> 0), count(DISTINCT "
        "o.unit_hash) FROM canary_obs o, recent WHERE "
        "o.rollout_id = $1 AND o.arm = 2 AND o.xid >= recent.low AND o.xid < recent.high",
        &p, &q, err);
    if (rc != 0)
        return rc;
    look->recent_requests = (uint64_t)pq_result_i64(q, 0, 0);
    look->recent_errors = (uint64_t)pq_result_i64(q, 0, 1);
    look->recent_units = (uint64_t)pq_result_i64(q, 0, 2);
    pq_result_destroy(q);
    return 0;
}

/* r's guards take part: the first look with enough data fixes their width. */
static int gather(struct pq_conn *c, struct rollout *r, int64_t now_us, struct rollout_facts *f,
                  struct err *err)
{
    struct guard_look look = {.units = r->counts.units};
    const uint64_t *requests = r->counts.requests[r->place.stage + 1];
    memcpy(look.units_event, r->counts.units_event, sizeof look.units_event);
    memcpy(look.units_valued, r->counts.units_valued, sizeof look.units_valued);
    *f = (struct rollout_facts){.now_ms = now_us / US_PER_MS,
                                .last_look_ms = r->watched_ms,
                                .shadow_requests = r->counts.shadowed,
                                .requests = {requests[0], requests[1]},
                                .units = r->counts.units};
    int rc = read_nodes(c, r, f, err);
    if (rc == 0)
        rc = rollout_is_frozen(c, str_from(r->policy), &f->frozen, err);
    if (rc == 0)
        rc = read_recent(c, r, now_us, &look, err);
    if (rc == 0)
        guards_look(&r->guards, &look, &f->guards);
    return rc;
}

/* Rows that are there and cannot be folded because some transaction does not end are as good as
 * late. */
static void count_waiting(struct rollout_facts *f, const struct fold_result *fold, int64_t wall_us)
{
    int64_t age_s = fold->waiting_us == 0 ? 0 : (wall_us - fold->waiting_us) / US_PER_S;
    if (age_s > f->data_age_s)
        f->data_age_s = age_s;
}

/* --- edges -----------------------------------------------------------------------------------
 */

static void subject_of(const struct rollout *r, char out[96])
{
    snprintf(out, 96, "%s@%llu", r->policy, (unsigned long long)r->candidate);
}

static int commit(struct pq_conn *c, const struct publish_actor *actor, const struct rollout *r,
                  const char *state, const char *why, uint64_t *out_generation, struct err *err)
{
    char action[64], subject[96], detail[160];
    subject_of(r, subject);
    snprintf(action, sizeof action, "rollout.%s", state);
    snprintf(detail, sizeof detail, "{\"rollout\":%lld,\"why\":\"%s\",\"from\":%llu}",
             (long long)r->id, why, (unsigned long long)r->stable);
    return publish_commit(c, actor, str_from(action), str_from(subject), str_from(detail),
                          out_generation, err);
}

/* Too little was known of stable when the rollout began; what the shadow saw is stable's too, and
 * the guards have seen no candidate yet. */
static int freeze_baseline(struct pq_conn *c, struct rollout *r, uint64_t term, int64_t now_us,
                           struct err *err)
{
    struct guard_baseline start;
    int rc = baseline_take(c, str_from(r->stable_params), now_us, &r->baseline, err);
    if (rc != 0)
        return rc;
    baseline_for_guards(&r->baseline, &start);
    guards_init(&r->guards, &r->plan.rules, &start);
    return rollout_save(c, r, term, now_us, NULL, err);
}

/* Inside a change, with the row locked. */
static int take_edge(struct pq_conn *c, const struct publish_actor *actor, struct rollout *r,
                     const struct rollout_facts *f, const struct rollout_edge *edge, uint64_t term,
                     int64_t now_us, struct err *err)
{
    json_t *evidence = NULL;
    int rc = 0;
    if (r->place.stage == ROLLOUT_NO_STAGE && edge->to.state == ROLLOUT_STATE_CANARY &&
        r->baseline.rows < BASELINE_ROWS_MIN)
        rc = freeze_baseline(c, r, term, now_us, err);
    if (rc == 0 && report_write(r, f, edge, &evidence) != 0)
        rc = err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    if (rc == 0) {
        const struct rollout_change change = {.to = edge->to,
                                              .actor = actor->name,
                                              .reason = rollout_reason_name(edge->reason),
                                              .evidence = evidence,
                                              .term = term,
                                              .ts_us = now_us,
                                              .reset_ratio = edge->reset_ratio};
        rc = rollout_apply(c, r, &change, err);
    }
    json_decref(evidence);
    return rc;
}

static int edge_by_leader(struct pq_conn *c, const struct leader_claim *claim, struct rollout *r,
                          const struct rollout_facts *f, const struct rollout_edge *edge,
                          int64_t now_us, struct look_result *out, struct err *err)
{
    const struct publish_actor actor = {
        .name = STR("controller"), .reason = rollout_reason_name(edge->reason), .claim = claim};
    const struct rollout_place before = r->place;
    const uint64_t fold = r->fold;
    int rc = publish_begin(c, &actor, err);
    if (rc == 0)
        rc = rollout_load(c, r->id, true, r, err);
    if (rc == 0 &&
        (r->has_ended || r->fold != fold || r->place.state != before.state ||
         r->place.stage != before.stage || r->place.state_since_ms != before.state_since_ms)) {
        publish_abort(c); /* Someone was faster: the next look sees what became of it. */
        out->ended = r->has_ended;
        return 0;
    }
    if (rc == 0)
        rc = take_edge(c, &actor, r, f, edge, claim->term, now_us, err);
    if (rc == 0)
        rc = commit(c, &actor, r, rollout_state_name(edge->to.state).data,
                    rollout_reason_name(edge->reason).data, &out->generation, err);
    if (rc != 0) {
        publish_abort(c);
        return rc;
    }
    out->edge = *edge;
    out->ended = rollout_is_terminal(edge->to.state);
    return 0;
}

/* --- overrides -------------------------------------------------------------------------------
 */

static int end_override(struct pq_conn *c, const struct publish_actor *actor, struct rollout *r,
                        const char *why, uint64_t term, int64_t now_us, struct look_result *out,
                        struct err *err)
{
    int rc = publish_begin(c, actor, err);
    if (rc == 0)
        rc = rollout_load(c, r->id, true, r, err);
    if (rc == 0 && !r->has_ended)
        rc = rollout_end_override(c, r, actor->name, str_from(why), term, now_us, err);
    if (rc == 0)
        rc = commit(c, actor, r, "ended", why, &out->generation, err);
    if (rc != 0)
        publish_abort(c);
    else
        out->ended = true;
    return rc;
}

/* --- the look --------------------------------------------------------------------------------
 */

static int look_and_save(struct pq_conn *c, const struct leader_claim *claim, struct rollout *r,
                         int64_t now_us, int64_t wall_us, const struct replay_result *replayed,
                         struct rollout_facts *f, struct rollout_edge *edge,
                         struct look_result *out, struct err *err)
{
    struct fold_result fold = {0};
    json_t *report = NULL;
    int rc = rollout_fold(c, r, now_us, claim->term, &fold, err);
    if (rc == 0)
        rc = gather(c, r, now_us, f, err);
    if (rc != 0)
        return rc;
    count_waiting(f, &fold, wall_us);
    f->replayed = replayed != NULL ? replayed->same + replayed->differ : 0;
    f->replay_mismatch = replayed != NULL && replayed->differ > 0;
    if (fold.went_back) /* Nothing that comes can be counted: as stale as can be. */
        f->data_age_s = INT32_MAX;
    *edge = rollout_step(&r->plan.machine, &r->place, f);
    out->rows = fold.rows;
    out->more = fold.more;
    if (report_write(r, f, edge, &report) != 0)
        return err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    rc = rollout_save(c, r, claim->term, now_us, report, err);
    json_decref(report);
    return rc;
}

static int look(struct pq_conn *c, const struct leader_claim *claim, struct rollout *r, int64_t id,
                int64_t now_us, const struct replay_result *replayed, struct look_result *out,
                struct err *err)
{
    struct rollout_facts f = {0};
    struct rollout_edge edge = {.changes = false};
    int64_t wall_us = 0;
    int rc = pq_conn_script(c, "BEGIN", err);
    if (rc == 0)
        rc = leader_fence(c, claim, err);
    if (rc == 0)
        rc = rollout_now(c, &wall_us, err);
    if (now_us == 0)
        now_us = wall_us;
    if (rc == 0)
        rc = rollout_load(c, id, true, r, err);
    if (rc == 0) {
        out->is_override = r->is_override;
        out->from = r->place;
        out->ended = r->has_ended;
        (void)str_copy(str_from(r->policy), out->policy, sizeof out->policy);
    }
    if (rc == 0 && !r->has_ended)
        rc = r->is_override
                 ? rollout_save(c, r, claim->term, now_us, NULL, err) /* It is watched. */
                 : look_and_save(c, claim, r, now_us, wall_us, replayed, &f, &edge, out, err);
    if (rc == 0)
        rc = pq_conn_script(c, "COMMIT", err);
    if (rc != 0) {
        pq_conn_attempt(c, "ROLLBACK");
        return rc;
    }
    out->edge = edge;
    out->edge.changes = false;
    if (out->ended)
        return 0;
    if (r->is_override && r->expires_us <= now_us) {
        const struct publish_actor actor = {
            .name = STR("controller"), .reason = STR("expired"), .claim = claim};
        return end_override(c, &actor, r, "expired", claim->term, now_us, out, err);
    }
    return edge.changes ? edge_by_leader(c, claim, r, &f, &edge, now_us, out, err) : 0;
}

int rollout_look(struct pq_conn *c, const struct leader_claim *claim, int64_t id, int64_t now_us,
                 const struct replay_result *replayed, struct look_result *out, struct err *err)
{
    struct rollout *r = mem_zalloc(sizeof *r);
    if (r == NULL)
        return err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    *out = (struct look_result){.id = id};
    int rc = look(c, claim, r, id, now_us, replayed, out, err);
    mem_free(r);
    return rc;
}

/* --- people ----------------------------------------------------------------------------------
 */

static int refuse(const struct rollout *r, const struct rollout_edge *edge, struct err *err)
{
    return err_set(err, ERR_CONFLICT, "rollout %lld is in %s: %s", (long long)r->id,
                   rollout_state_name(r->place.state).data,
                   edge->reason == ROLLOUT_REASON_FROZEN        ? "a freeze blocks it"
                   : edge->reason == ROLLOUT_REASON_WANTS_NODES ? "too few nodes have the candidate"
                   : edge->reason == ROLLOUT_REASON_REFUSED     ? "that is not possible there"
                                                                : "what halted it still holds");
}

static int command_locked(struct pq_conn *c, const struct publish_actor *actor, struct rollout *r,
                          enum rollout_command command, int64_t now_us, struct look_result *out,
                          struct err *err)
{
    struct rollout_facts f;
    int rc = gather(c, r, now_us, &f, err);
    if (rc != 0)
        return rc;
    f.command = command;
    const struct rollout_edge edge = rollout_step(&r->plan.machine, &r->place, &f);
    if (!edge.changes)
        return refuse(r, &edge, err);
    rc = take_edge(c, actor, r, &f, &edge, 0, now_us, err);
    if (rc == 0)
        rc = commit(c, actor, r, rollout_state_name(edge.to.state).data,
                    rollout_reason_name(edge.reason).data, &out->generation, err);
    out->edge = edge;
    out->ended = rollout_is_terminal(edge.to.state);
    return rc;
}

static int run_command(struct pq_conn *c, const struct publish_actor *actor, struct rollout *r,
                       int64_t id, enum rollout_command command, int64_t now_us,
                       struct look_result *out, struct err *err)
{
    int rc = publish_begin(c, actor, err);
    if (rc == 0 && now_us == 0)
        rc = rollout_now(c, &now_us, err);
    if (rc == 0)
        rc = rollout_load(c, id, true, r, err);
    if (rc == 0) {
        out->is_override = r->is_override;
        out->from = r->place;
        (void)str_copy(str_from(r->policy), out->policy, sizeof out->policy);
        if (r->has_ended)
            rc = err_set(err, ERR_CONFLICT, "rollout %lld has ended", (long long)id);
        else if (r->is_override && command != ROLLOUT_COMMAND_ROLLBACK)
            rc = err_set(err, ERR_CONFLICT, "%lld is an override: it can only be ended",
                         (long long)id);
    }
    if (rc == 0 && r->is_override) {
        rc = rollout_end_override(c, r, actor->name, STR("operator"), 0, now_us, err);
        if (rc == 0)
            rc = commit(c, actor, r, "ended", "operator", &out->generation, err);
        out->ended = rc == 0;
    } else if (rc == 0) {
        rc = command_locked(c, actor, r, command, now_us, out, err);
    }
    if (rc != 0)
        publish_abort(c);
    return rc;
}

int rollout_command(struct pq_conn *c, const struct publish_actor *actor, int64_t id,
                    enum rollout_command command, int64_t now_us, struct look_result *out,
                    struct err *err)
{
    struct rollout *r = mem_zalloc(sizeof *r);
    if (r == NULL)
        return err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    *out = (struct look_result){.id = id};
    int rc = run_command(c, actor, r, id, command, now_us, out, err);
    mem_free(r);
    return rc;
}
