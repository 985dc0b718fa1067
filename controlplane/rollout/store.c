#include "controlplane/rollout/store.h"

#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/rand.h"
#include "control.pb-c.h"
#include "controlplane/ingest/intake_canary.h"

#define GUARDS_BYTES_MAX  65536U
#define US_PER_MS         INT64_C(1000)
#define FIRST_UNPROVEN_BP 100U /* Of a version whose rows could not tell (NO_SUPPORT). */

char *rollout_dump(const json_t *value)
{
    return json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS);
}

void rollout_dump_free(char *text)
{
    void (*release)(void *);
    void *(*take)(size_t);
    json_get_alloc_funcs(&take, &release);
    if (text != NULL)
        release(text);
}

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
}

int rollout_now(struct pq_conn *c, int64_t *out_us, struct err *err)
{
    struct pq_result *r = NULL;
    int rc = pq_conn_query(c, "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
                           NULL, &r, err);
    if (rc != 0)
        return rc;
    *out_us = pq_result_i64(r, 0, 0);
    pq_result_destroy(r);
    return 0;
}

/* --- what nodes get ----------------------------------------------------------------------------
 */

static uint32_t wire_state(enum rollout_state state)
{
    switch (state) {
    case ROLLOUT_STATE_SHADOW:
        return STEELYARD__CONTROL__V1__ROLLOUT_STATE__ROLLOUT_SHADOW;
    case ROLLOUT_STATE_CANARY:
        return STEELYARD__CONTROL__V1__ROLLOUT_STATE__ROLLOUT_CANARY;
    case ROLLOUT_STATE_HOLD:
        return STEELYARD__CONTROL__V1__ROLLOUT_STATE__ROLLOUT_HOLD;
    case ROLLOUT_STATE_HALTED:
    case ROLLOUT_STATE_PROMOTED:
    case ROLLOUT_STATE_ROLLED_BACK:
        break;
    }
    return STEELYARD__CONTROL__V1__ROLLOUT_STATE__ROLLOUT_UNKNOWN;
}

static int put_resource(struct pq_conn *c, const struct rollout *r, uint32_t state, int32_t stage,
                        uint32_t pct_bp, struct err *err)
{
    const struct publish_rollout out = {.id = (uint64_t)r->id,
                                        .policy = str_from(r->policy),
                                        .candidate = r->candidate,
                                        .state = state,
                                        .stage = (uint32_t)(stage + 1),
                                        .pct_bp = pct_bp,
                                        .salt = r->salt,
                                        .stable_params = str_from(r->stable_params),
                                        .candidate_params = str_from(r->candidate_params)};
    return publish_put_rollout(c, &out, err);
}

/* --- creation ------------------------------------------------------------------------------------
 */

/* What rows could not tell about has to be seen on few users first. An override is past the
 * evidence and says so in the audit log. */
static int check_first_stage(const struct rollout_new *in, const struct publish_version *candidate,
                             struct err *err)
{
    uint32_t first = in->plan->machine.stage[0].share_bp;
    if (in->expires_us != 0 || in->reverts || first <= FIRST_UNPROVEN_BP ||
        strcmp(candidate->verdict, "no_support") != 0)
        return 0;
    return err_set(err, ERR_INVALID,
                   "%.*s@%llu has the verdict no_support, so its first stage may be at most 1 %%, "
                   "and the plan begins at %u.%02u %%: put a stage of 1 %% first, or train with "
                   "more labels",
                   STR_ARG(in->policy), (unsigned long long)candidate->version, first / 100,
                   first % 100);
}

static int check_new(struct pq_conn *c, const struct rollout_new *in, struct rollout *r,
                     struct err *err)
{
    struct publish_version stable, candidate;
    int64_t id;
    if (!str_copy(in->policy, r->policy, sizeof r->policy))
        return err_set(err, ERR_NOT_FOUND, "there is no such policy");
    int rc = publish_policy_find(c, in->policy, 0, &stable, err);
    if (rc == 0)
        rc = publish_policy_find(c, in->policy, in->candidate, &candidate, err);
    if (rc != 0)
        return rc;
    if (strcmp(candidate.state, "rejected") == 0)
        return err_set(err, ERR_CONFLICT, "%s@%llu was rejected by its gates", r->policy,
                       (unsigned long long)in->candidate);
    if (candidate.version == stable.version)
        return err_set(err, ERR_CONFLICT, "%s@%llu is in service already", r->policy,
                       (unsigned long long)in->candidate);
    if (in->expires_us == 0 && candidate.version < stable.version)
        return err_set(err, ERR_CONFLICT,
                       "%s@%llu is older than the current @%llu and numbers only rise: roll back "
                       "to it instead",
                       r->policy, (unsigned long long)candidate.version,
                       (unsigned long long)stable.version);
    rc = check_first_stage(in, &candidate, err);
    if (rc != 0)
        return rc;
    rc = rollout_find_active(c, in->policy, &id, NULL);
    if (rc == 0)
        return err_set(err, ERR_CONFLICT, "%s has rollout or override %lld under way", r->policy,
                       (long long)id);
    if (rc != ERR_NOT_FOUND)
        return err_set(err, rc, "rollouts cannot be read");
    r->stable = stable.version;
    r->candidate = candidate.version;
    memcpy(r->stable_params, stable.params, sizeof r->stable_params);
    memcpy(r->candidate_params, candidate.params, sizeof r->candidate_params);
    return 0;
}

static int write_event(struct pq_conn *c, int64_t id, const char *from, int32_t from_stage,
                       const char *to, int32_t to_stage, uint32_t pct_bp, struct str actor,
                       struct str reason, const json_t *evidence, uint64_t term, int64_t ts_us,
                       struct err *err)
{
    struct pq_params p = {0};
    char *text = evidence == NULL ? NULL : rollout_dump(evidence);
    if (evidence != NULL && text == NULL)
        return no_memory(err);
    pq_params_i64(&p, id);
    pq_params_time_us(&p, ts_us);
    pq_params_text(&p, from == NULL ? STR_NULL : str_from(from));
    pq_params_i64(&p, from_stage);
    pq_params_text(&p, str_from(to));
    pq_params_i64(&p, to_stage);
    pq_params_i64(&p, pct_bp);
    pq_params_text(&p, actor);
    pq_params_text(&p, reason);
    pq_params_text(&p, text == NULL ? STR("{}") : str_from(text));
    pq_params_i64(&p, (int64_t)term);
    int rc = pq_conn_query(
        c,
        "INSERT INTO rollout_event (rollout_id, ts, from_state, from_stage, to_state, to_stage, "
        "pct_bp, actor, reason, evidence, term, generation) SELECT $1, $2, $3, CASE WHEN $3::text "
        "IS "
        "NOT NULL THEN $4::integer END, $5, $6, $7, $8, $9, $10::jsonb, $11, CASE WHEN "
        "coalesce(current_setting('steelyard.changed', true), '') = '1' THEN generation + 1 END "
        "FROM config_head",
        &p, NULL, err);
    rollout_dump_free(text);
    return rc;
}

static int insert_row(struct pq_conn *c, const struct publish_actor *actor,
                      const struct rollout_new *in, struct rollout *r, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *result = NULL;
    struct buf guards = {0};
    json_t *cfg = NULL, *baseline = NULL;
    uint8_t salt2[16];
    char *cfg_text = NULL, *baseline_text = NULL;
    buf_init(&guards, GUARDS_BYTES_MAX);
    int rc = plan_write(&r->plan, &cfg);
    if (rc == 0)
        rc = baseline_write(&r->baseline, &baseline);
    if (rc == 0)
        rc = guards_encode(&r->guards, &guards);
    cfg_text = cfg == NULL ? NULL : rollout_dump(cfg);
    baseline_text = baseline == NULL ? NULL : rollout_dump(baseline);
    if (rc != 0 || cfg_text == NULL || baseline_text == NULL) {
        rc = no_memory(err);
        goto out;
    }
    intake_canary_salt2((uint64_t)r->id, salt2);
    pq_params_i64(&p, r->id);
    pq_params_text(&p, r->is_override ? STR("override") : STR("rollout"));
    pq_params_text(&p, str_from(r->policy));
    pq_params_i64(&p, (int64_t)r->stable);
    pq_params_i64(&p, (int64_t)r->candidate);
    pq_params_text(&p, str_from(r->stable_params));
    pq_params_text(&p, str_from(r->candidate_params));
    pq_params_text(&p, r->is_override ? STR("override") : STR("shadow"));
    pq_params_i64(&p, r->is_override ? 0 : ROLLOUT_NO_STAGE);
    pq_params_i64(&p, r->is_override ? ROLLOUT_SHARE_ALL_BP : 0);
    pq_params_bytes(&p, (struct str){.data = (const char *)r->salt, .len = sizeof r->salt});
    pq_params_bytes(&p, (struct str){.data = (const char *)salt2, .len = sizeof salt2});
    pq_params_text(&p, str_from(cfg_text));
    pq_params_text(&p, str_from(baseline_text));
    pq_params_bytes(&p, buf_str(&guards));
    pq_params_time_us(&p, in->now_us);
    pq_params_text(&p, actor->name);
    pq_params_text(&p, actor->reason.data == NULL ? STR("") : actor->reason);
    if (r->is_override)
        pq_params_time_us(&p, in->expires_us);
    else
        pq_params_null(&p);
    rc = pq_conn_query(
        c,
        "INSERT INTO rollout (id, kind, policy, stable, candidate, stable_params, "
        "candidate_params, state, stage, pct_bp, salt, salt2, cfg, baseline, guards, created, "
        "state_since, stage_since, watched_at, created_by, reason, expires, folded_xid) SELECT "
        "greatest($1::bigint, coalesce(max(id), 0) + 1), $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, "
        "$12, $13::jsonb, $14::jsonb, $15, $16, $16, $16, $16, $17, $18, $19, "
        "pg_snapshot_xmin(pg_current_snapshot()) FROM rollout RETURNING id",
        &p, &result, err);
    if (rc == 0)
        r->id = pq_result_i64(result, 0, 0);
    pq_result_destroy(result);
out:
    rollout_dump_free(cfg_text);
    rollout_dump_free(baseline_text);
    json_decref(cfg);
    json_decref(baseline);
    buf_deinit(&guards);
    return rc;
}

int rollout_create(struct pq_conn *c, const struct publish_actor *actor,
                   const struct rollout_new *in, int64_t *out_id, struct err *err)
{
    struct guard_baseline start;
    struct rollout *r = mem_zalloc(sizeof *r);
    if (r == NULL)
        return no_memory(err);
    r->id = in->now_us / US_PER_MS;
    r->is_override = in->expires_us != 0;
    r->plan = *in->plan;
    int rc = rand_secure(r->salt, sizeof r->salt);
    if (rc == 0)
        rc = check_new(c, in, r, err);
    if (rc == 0)
        rc = baseline_take(c, str_from(r->stable_params), in->now_us, &r->baseline, err);
    if (rc == 0) {
        baseline_for_guards(&r->baseline, &start);
        guards_init(&r->guards, &r->plan.rules, &start);
        rc = insert_row(c, actor, in, r, err);
    }
    if (rc == 0)
        rc = r->is_override
                 ? put_resource(c, r, STEELYARD__CONTROL__V1__ROLLOUT_STATE__ROLLOUT_CANARY, 0,
                                ROLLOUT_SHARE_ALL_BP, err)
                 : put_resource(c, r, STEELYARD__CONTROL__V1__ROLLOUT_STATE__ROLLOUT_SHADOW,
                                ROLLOUT_NO_STAGE, 0, err);
    if (rc == 0)
        rc = write_event(c, r->id, NULL, 0, r->is_override ? "override" : "shadow",
                         r->is_override ? 0 : ROLLOUT_NO_STAGE,
                         r->is_override ? ROLLOUT_SHARE_ALL_BP : 0, actor->name, STR("operator"),
                         NULL, 0, in->now_us, err);
    if (rc == 0)
        *out_id = r->id;
    mem_free(r);
    return rc;
}

/* --- reading -----------------------------------------------------------------------------------
 */

static int read_json(const struct pq_result *r, int column, json_t **out, struct err *err)
{
    struct str text = pq_result_text(r, 0, column);
    *out = json_loadb(text.data, text.len, 0, NULL);
    return *out == NULL ? no_memory(err) : 0;
}

static int read_documents(const struct pq_result *r, struct rollout *out, struct err *err)
{
    json_t *cfg = NULL, *baseline = NULL, *counts = NULL;
    struct buf guards = {0};
    buf_init(&guards, GUARDS_BYTES_MAX);
    int rc = read_json(r, 14, &cfg, err);
    if (rc == 0)
        rc = read_json(r, 15, &baseline, err);
    if (rc == 0)
        rc = read_json(r, 16, &counts, err);
    plan_default(&out->plan);
    if (rc == 0)
        rc = plan_read(cfg, &out->plan, err);
    if (rc == 0) {
        baseline_read(baseline, &out->baseline);
        counts_read(counts, &out->counts);
        rc = pq_result_bytes(r, 0, 17, &guards);
    }
    if (rc == 0)
        rc = guards_decode(buf_str(&guards), &out->guards, err);
    json_decref(cfg);
    json_decref(baseline);
    json_decref(counts);
    buf_deinit(&guards);
    return rc;
}

/* "ended" is the past of an override and none of the machine's states. */
static enum rollout_state read_state(struct str name)
{
    enum rollout_state state = ROLLOUT_STATE_HALTED;
    (void)rollout_state_find(name, &state);
    return state;
}

static int read_row(const struct pq_result *r, struct rollout *out, struct err *err)
{
    struct buf salt = {0};
    enum rollout_reason why = ROLLOUT_REASON_NONE;
    buf_init(&salt, 64);
    memset(out, 0, sizeof *out);
    out->id = pq_result_i64(r, 0, 0);
    out->is_override = str_is(pq_result_text(r, 0, 1), "override");
    (void)str_copy(pq_result_text(r, 0, 2), out->policy, sizeof out->policy);
    out->stable = (uint64_t)pq_result_i64(r, 0, 3);
    out->candidate = (uint64_t)pq_result_i64(r, 0, 4);
    (void)str_copy(pq_result_text(r, 0, 5), out->stable_params, sizeof out->stable_params);
    (void)str_copy(pq_result_text(r, 0, 6), out->candidate_params, sizeof out->candidate_params);
    (void)rollout_reason_find(pq_result_text(r, 0, 8), &why);
    out->place = (struct rollout_place){.state = read_state(pq_result_text(r, 0, 7)),
                                        .stage = (int32_t)pq_result_i64(r, 0, 9),
                                        .state_since_ms = pq_result_time_us(r, 0, 10) / US_PER_MS,
                                        .stage_since_ms = pq_result_time_us(r, 0, 11) / US_PER_MS,
                                        .why = why};
    out->created_ms = pq_result_time_us(r, 0, 12) / US_PER_MS;
    out->watched_ms = pq_result_time_us(r, 0, 13) / US_PER_MS;
    out->fold = (uint64_t)pq_result_i64(r, 0, 18);
    (void)str_copy(pq_result_text(r, 0, 19), out->folded_xid, sizeof out->folded_xid);
    out->expires_us = pq_result_is_null(r, 0, 20) ? 0 : pq_result_time_us(r, 0, 20);
    out->has_ended = pq_result_bool(r, 0, 21);
    int rc = pq_result_bytes(r, 0, 22, &salt);
    if (rc == 0 && salt.len == sizeof out->salt)
        memcpy(out->salt, salt.data, sizeof out->salt);
    buf_deinit(&salt);
    if (rc != 0)
        return err_set(err, rc, "rollout: %s", err_text(rc));
    rc = read_documents(r, out, err);
    if (rc == 0 && (out->place.stage < ROLLOUT_NO_STAGE ||
                    out->place.stage >= (int32_t)out->plan.machine.stages))
        rc = err_set(err, ERR_CORRUPT, "rollout %lld has no stage %d", (long long)out->id,
                     out->place.stage);
    return rc;
}

#define COLUMNS                                                                                    \
    "SELECT id, kind, policy, stable, candidate, stable_params, candidate_params, state, why, "    \
    "stage, state_since, stage_since, created, watched_at, cfg, baseline, counts, guards, fold, "  \
    "folded_xid, expires, ended IS NOT NULL, salt FROM rollout WHERE id = $1"

int rollout_load(struct pq_conn *c, int64_t id, bool lock, struct rollout *out, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_i64(&p, id);
    int rc = pq_conn_query(c, lock ? COLUMNS " FOR UPDATE" : COLUMNS, &p, &r, err);
    if (rc != 0)
        return rc;
    rc = pq_result_rows(r) == 0
             ? err_set(err, ERR_NOT_FOUND, "there is no rollout %lld", (long long)id)
             : read_row(r, out, err);
    pq_result_destroy(r);
    return rc;
}

int rollout_list_active(struct pq_conn *c, int64_t ids[ROLLOUT_ACTIVE_MAX], size_t *out_count,
                        struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_i64(&p, ROLLOUT_ACTIVE_MAX);
    int rc = pq_conn_query(c, "SELECT id FROM rollout WHERE ended IS NULL ORDER BY id LIMIT $1", &p,
                           &r, err);
    if (rc != 0)
        return rc;
    *out_count = (size_t)pq_result_rows(r);
    for (int i = 0; i < pq_result_rows(r); i++)
        ids[i] = pq_result_i64(r, i, 0);
    pq_result_destroy(r);
    return 0;
}

int rollout_find_active(struct pq_conn *c, struct str policy, int64_t *out_id, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_text(&p, policy);
    int rc =
        pq_conn_query(c, "SELECT id FROM rollout WHERE policy = $1 AND ended IS NULL", &p, &r, err);
    if (rc != 0)
        return rc;
    if (pq_result_rows(r) == 0)
        rc = err_set(err, ERR_NOT_FOUND, "policy %.*s has no rollout under way", STR_ARG(policy));
    else
        *out_id = pq_result_i64(r, 0, 0);
    pq_result_destroy(r);
    return rc;
}

/* --- writing -----------------------------------------------------------------------------------
 */

int rollout_save(struct pq_conn *c, const struct rollout *r, uint64_t term, int64_t now_us,
                 const json_t *report, struct err *err)
{
    struct pq_params p = {0};
    struct buf guards = {0};
    json_t *counts = NULL, *baseline = NULL;
    char *counts_text = NULL, *baseline_text = NULL, *report_text = NULL;
    buf_init(&guards, GUARDS_BYTES_MAX);
    int rc = guards_encode(&r->guards, &guards);
    if (rc == 0)
        rc = counts_write(&r->counts, &counts);
    if (rc == 0)
        rc = baseline_write(&r->baseline, &baseline);
    if (rc == 0) {
        counts_text = rollout_dump(counts);
        baseline_text = rollout_dump(baseline);
        report_text = report == NULL ? NULL : rollout_dump(report);
    }
    if (rc != 0 || counts_text == NULL || baseline_text == NULL ||
        (report != NULL && report_text == NULL)) {
        rc = no_memory(err);
    } else {
        pq_params_i64(&p, r->id);
        pq_params_bytes(&p, buf_str(&guards));
        pq_params_text(&p, str_from(counts_text));
        pq_params_text(&p, str_from(baseline_text));
        pq_params_text(&p, report_text == NULL ? STR_NULL : str_from(report_text));
        pq_params_i64(&p, (int64_t)r->fold);
        pq_params_text(&p, str_from(r->folded_xid));
        pq_params_i64(&p, (int64_t)term);
        pq_params_time_us(&p, now_us);
        rc = pq_conn_query(c,
                           "UPDATE rollout SET guards = $2, counts = $3::jsonb, baseline = "
                           "$4::jsonb, report = coalesce($5::jsonb, report), fold = $6, folded_xid "
                           "= $7::xid8, term = $8, watched_at = $9 WHERE id = $1",
                           &p, NULL, err);
    }
    rollout_dump_free(counts_text);
    rollout_dump_free(baseline_text);
    rollout_dump_free(report_text);
    json_decref(counts);
    json_decref(baseline);
    buf_deinit(&guards);
    return rc;
}

static int update_place(struct pq_conn *c, const struct rollout *r,
                        const struct rollout_change *change, const struct str state,
                        uint32_t pct_bp, struct err *err)
{
    const struct rollout_place *to = &change->to;
    struct pq_params p = {0};
    pq_params_i64(&p, r->id);
    pq_params_text(&p, state);
    pq_params_text(&p, r->is_override ? STR("none") : rollout_reason_name(to->why));
    pq_params_i64(&p, to->stage);
    pq_params_i64(&p, pct_bp);
    pq_params_time_us(&p, to->state_since_ms * US_PER_MS);
    pq_params_time_us(&p, to->stage_since_ms * US_PER_MS);
    pq_params_time_us(&p, change->ts_us);
    return pq_conn_query(c,
                         "UPDATE rollout SET state = $2, why = $3, stage = $4, pct_bp = $5, "
                         "state_since = $6, stage_since = $7, ended = CASE WHEN $2 IN ('promoted', "
                         "'rolled_back', 'ended') THEN $8::timestamptz END WHERE id = $1",
                         &p, NULL, err);
}

/* The sample-ratio test begins anew; the rest of the guards goes on. */
static int reset_ratio(struct pq_conn *c, const struct rollout *r, struct err *err)
{
    struct pq_params p = {0};
    struct buf bytes = {0};
    struct guards *g = mem_alloc(sizeof *g);
    if (g == NULL)
        return no_memory(err);
    *g = r->guards;
    ratio_guard_init(&g->ratio);
    buf_init(&bytes, GUARDS_BYTES_MAX);
    int rc = guards_encode(g, &bytes);
    if (rc == 0) {
        pq_params_i64(&p, r->id);
        pq_params_bytes(&p, buf_str(&bytes));
        rc = pq_conn_query(c, "UPDATE rollout SET guards = $2 WHERE id = $1", &p, NULL, err);
    } else {
        rc = no_memory(err);
    }
    buf_deinit(&bytes);
    mem_free(g);
    return rc;
}

static int publish_place(struct pq_conn *c, const struct rollout *r, const struct rollout_place *to,
                         uint32_t pct_bp, struct err *err)
{
    struct str policy = str_from(r->policy);
    uint64_t from;
    int rc;
    switch (to->state) {
    case ROLLOUT_STATE_SHADOW:
    case ROLLOUT_STATE_CANARY:
    case ROLLOUT_STATE_HOLD:
        return put_resource(c, r, wire_state(to->state), to->stage, pct_bp, err);
    case ROLLOUT_STATE_PROMOTED:
        rc = publish_policy_install(c, policy, r->candidate, &from, err);
        return rc != 0 ? rc : publish_remove_rollout(c, policy, err);
    case ROLLOUT_STATE_HALTED:
    case ROLLOUT_STATE_ROLLED_BACK:
        break;
    }
    return publish_remove_rollout(c, policy, err);
}

int rollout_apply(struct pq_conn *c, const struct rollout *r, const struct rollout_change *change,
                  struct err *err)
{
    const struct rollout_place *to = &change->to;
    uint32_t pct_bp = rollout_share_bp(&r->plan.machine, to);
    int rc = 0;
    if (change->reset_ratio)
        rc = reset_ratio(c, r, err);
    if (rc == 0)
        rc = publish_place(c, r, to, pct_bp, err);
    if (rc == 0) /* Before the row is final. */
        rc = write_event(c, r->id, rollout_state_name(r->place.state).data, r->place.stage,
                         rollout_state_name(to->state).data, to->stage, pct_bp, change->actor,
                         change->reason, change->evidence, change->term, change->ts_us, err);
    return rc != 0 ? rc : update_place(c, r, change, rollout_state_name(to->state), pct_bp, err);
}

int rollout_end_override(struct pq_conn *c, const struct rollout *r, struct str actor,
                         struct str reason, uint64_t term, int64_t ts_us, struct err *err)
{
    const struct rollout_change change = {
        .to = {.state_since_ms = ts_us / US_PER_MS, .stage_since_ms = ts_us / US_PER_MS},
        .ts_us = ts_us};
    int rc = publish_remove_rollout(c, str_from(r->policy), err);
    if (rc == 0)
        rc = write_event(c, r->id, "override", 0, "ended", 0, 0, actor, reason, NULL, term, ts_us,
                         err);
    return rc != 0 ? rc : update_place(c, r, &change, STR("ended"), 0, err);
}

/* --- freeze ------------------------------------------------------------------------------------
 */

int rollout_is_frozen(struct pq_conn *c, struct str policy, bool *out_frozen, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_text(&p, policy);
    int rc = pq_conn_query(c,
                           "SELECT EXISTS (SELECT FROM rollout_freeze WHERE ended IS NULL AND "
                           "(policy IS NULL OR policy = $1))",
                           &p, &r, err);
    if (rc == 0)
        *out_frozen = pq_result_bool(r, 0, 0);
    pq_result_destroy(r);
    return rc;
}

int rollout_freeze(struct pq_conn *c, const struct publish_actor *actor, struct str policy,
                   struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_text(&p, policy.len == 0 ? STR_NULL : policy);
    pq_params_text(&p, actor->name);
    pq_params_text(&p, actor->reason);
    int rc = pq_conn_query(c,
                           "INSERT INTO rollout_freeze (policy, created_by, reason) VALUES ($1, "
                           "$2, $3) ON CONFLICT (coalesce(policy, '')) WHERE ended IS NULL DO "
                           "NOTHING",
                           &p, &r, err);
    if (rc == 0 && pq_result_affected(r) == 0)
        rc = err_set(err, ERR_CONFLICT, "it is frozen already");
    pq_result_destroy(r);
    return rc;
}

int rollout_unfreeze(struct pq_conn *c, const struct publish_actor *actor, struct str policy,
                     struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_text(&p, policy);
    pq_params_text(&p, actor->name);
    int rc = pq_conn_query(c,
                           "UPDATE rollout_freeze SET ended = now(), ended_by = $2 WHERE ended IS "
                           "NULL AND coalesce(policy, '') = $1",
                           &p, &r, err);
    if (rc == 0 && pq_result_affected(r) == 0)
        rc = err_set(err, ERR_NOT_FOUND, "it is not frozen");
    pq_result_destroy(r);
    return rc;
}
