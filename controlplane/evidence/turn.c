#include "controlplane/evidence/turn_internal.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/crypto/uuid.h"
#include "control.pb-c.h"
#include "controlplane/evidence/pace.h"
#include "controlplane/release/train_queue.h"

#define SPEND_REQUESTS_MIN 50 /* Of the last hour, to tell a pace by. */
#define HOURS_A_DAY        24.0
#define LABELS_COUNTED     1000000

/* --- what is in service --------------------------------------------------------------------------
 */

struct numbers {
    int64_t lambda;
    uint32_t explore;
    uint32_t explore_most;
};

static struct numbers numbers_of(const struct pq_result *r, int column)
{
    struct buf body = {0};
    struct numbers n = {0};
    buf_init(&body, 65536);
    if (pq_result_bytes(r, 0, column, &body) == 0) {
        Steelyard__Control__V1__Params *m =
            steelyard__control__v1__params__unpack(NULL, body.len, (const uint8_t *)body.data);
        if (m != NULL) {
            n = (struct numbers){m->lambda, m->eps_cap, m->explore_most};
            steelyard__control__v1__params__free_unpacked(m, NULL);
        }
    }
    buf_deinit(&body);
    return n;
}

uint64_t turn_least_labels(const struct turn *t)
{
    const json_t *models = json_object_get(t->report, "models");
    const json_t *model;
    size_t i;
    uint64_t least = json_array_size(models) > 0 ? UINT64_MAX : 0;
    json_array_foreach(models, i, model)
    {
        json_int_t labels = json_integer_value(json_object_get(model, "labels"));
        if (labels >= 0 && (uint64_t)labels < least)
            least = (uint64_t)labels;
    }
    return least;
}

/* The target that the version was made for, else the file's. */
static void read_target(struct turn *t, struct str text)
{
    static const char *const names[] = {"quality", "quality_floor", "spend_usd_per_day"};
    json_t *target = json_loadb(text.data, text.len, 0, NULL);
    t->target = t->policy->target;
    t->target_value = t->policy->target_value;
    for (int i = 0; i < 3; i++) {
        const json_t *value = json_object_get(target, names[i]);
        if (!json_is_number(value) || !(json_number_value(value) > 0))
            continue;
        t->target = (enum train_target)i;
        t->target_value = json_number_value(value);
    }
    if (t->target == TRAIN_SPEND_PER_DAY)
        t->spend_target = t->target_value;
    json_decref(target);
}

static int read_version(struct turn *t, bool *out_found)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    struct buf sha = {0};
    pq_params_text(&p, str_from(t->policy->name));
    int rc = pq_conn_query(
        t->c,
        "SELECT v.version, o.version, coalesce(v.promoted, v.created), o.created, o.rows, q.body, "
        "oq.body, v.target, v.artifact, NOT EXISTS (SELECT FROM rollout x WHERE x.policy = v.name "
        "AND x.state IN ('shadow', 'canary', 'hold', 'halted', 'override')), o.report FROM "
        "policy_version v "
        "JOIN policy_version o ON o.name = v.name AND o.version = CASE WHEN v.created_by IN "
        "('lambda', 'drift', 'explore') AND v.copy_of IS NOT NULL THEN v.copy_of ELSE v.version "
        "END "
        "JOIN policy_params q ON q.sha256 = v.params JOIN policy_params oq ON oq.sha256 = o.params "
        "WHERE v.name = $1 AND v.state = 'current'",
        &p, &r, t->err);
    *out_found = rc == 0 && pq_result_rows(r) == 1;
    if (*out_found) {
        t->version = (uint64_t)pq_result_i64(r, 0, 0);
        t->approved = (uint64_t)pq_result_i64(r, 0, 1);
        t->promoted_us = pq_result_time_us(r, 0, 2);
        t->created_us = pq_result_time_us(r, 0, 3);
        t->rows = (uint64_t)pq_result_i64(r, 0, 4);
        struct numbers n = numbers_of(r, 5);
        t->lambda = n.lambda;
        t->explore = n.explore;
        t->explore_most = n.explore_most;
        t->approved_lambda = numbers_of(r, 6).lambda;
        struct str report = pq_result_text(r, 0, 10);
        t->report = json_loadb(report.data, report.len, 0, NULL);
        read_target(t, pq_result_text(r, 0, 7));
        t->quiet = pq_result_bool(r, 0, 9);
        buf_init(&sha, SHA256_BYTES);
        t->has_artifact = !pq_result_is_null(r, 0, 8) && pq_result_bytes(r, 0, 8, &sha) == 0 &&
                          sha.len == SHA256_BYTES;
        if (t->has_artifact)
            memcpy(t->artifact, sha.data, SHA256_BYTES);
        buf_deinit(&sha);
    }
    pq_result_destroy(r);
    return rc;
}

/* --- lambda --------------------------------------------------------------------------------------
 */

struct step {
    const struct turn *turn;
    struct pace_envelope envelope;
    int64_t to;
    double spend;
};

static int insert_step(void *arg, struct pq_conn *c, uint64_t version, struct err *err)
{
    const struct step *s = arg;
    char spend[40], target[40];
    struct pq_params p = {0};
    snprintf(spend, sizeof spend, "%.17g", s->spend);
    snprintf(target, sizeof target, "%.17g", s->turn->spend_target);
    pq_params_text(&p, str_from(s->turn->policy->name));
    pq_params_i64(&p, (int64_t)s->turn->approved);
    pq_params_i64(&p, (int64_t)version);
    pq_params_i64(&p, s->turn->lambda);
    pq_params_i64(&p, s->to);
    pq_params_i64(&p, s->envelope.low);
    pq_params_i64(&p, s->envelope.high);
    pq_params_text(&p, str_from(spend));
    pq_params_text(&p, str_from(target));
    return pq_conn_query(c,
                         "INSERT INTO lambda_step (policy, approved, version, lambda_from, "
                         "lambda_to, lambda_low, lambda_high, spend, target) VALUES ($1, $2, $3, "
                         "$4, $5, $6, $7, $8, $9)",
                         &p, NULL, err);
}

/* USD a day at the pace of the last hour, and how many requests tell it. */
static int read_pace(struct turn *t, double *out_spend, int64_t *out_requests)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    int rc = train_facts_routes(t->facts, &p);
    pq_params_time_us(&p, t->now_us);
    if (rc == 0)
        rc = pq_conn_query(t->c,
                           "SELECT coalesce(sum(cost), 0) / 1e9, count(*) FROM decision WHERE ts > "
                           "$2::timestamptz - interval '1 hour' AND ts <= $2 AND route = ANY "
                           "(string_to_array($1, chr(10)))",
                           &p, &r, t->err);
    if (rc == 0) {
        *out_spend = pq_result_double(r, 0, 0) * HOURS_A_DAY;
        *out_requests = pq_result_i64(r, 0, 1);
    }
    pq_result_destroy(r);
    return rc;
}

int turn_lambda(struct turn *t)
{
    struct step step = {.turn = t, .envelope = pace_envelope_of(t->approved_lambda)};
    int64_t requests = 0;
    uint64_t version = 0;
    char detail[256];
    if (!(t->spend_target > 0) || !t->quiet)
        return 0;
    int rc = read_pace(t, &step.spend, &requests);
    if (rc != 0 || requests < SPEND_REQUESTS_MIN)
        return rc;
    step.to = pace_lambda(t->lambda, step.spend, t->spend_target, &step.envelope);
    if (step.to == t->lambda)
        return 0;
    snprintf(detail, sizeof detail,
             "{\"lambda\":%lld,\"was\":%lld,\"low\":%lld,\"high\":%lld,\"spend_usd_per_day\":%.9g,"
             "\"target_usd_per_day\":%.9g}",
             (long long)step.to, (long long)t->lambda, (long long)step.envelope.low,
             (long long)step.envelope.high, step.spend, t->spend_target);
    struct publish_actor actor = {
        .name = STR("lambda"), .reason = STR("spend against its target"), .claim = t->claim};
    struct publish_tune tune = {.name = str_from(t->policy->name),
                                .current = t->version,
                                .approved = t->approved,
                                .lambda = step.to,
                                .explore = -1,
                                .detail = str_from(detail),
                                .also = insert_step,
                                .arg = &step};
    rc = publish_policy_tune(t->c, &actor, &tune, &version, t->err);
    if (rc == 0) {
        t->version = version;
        t->lambda = step.to;
        t->seen->lambda_steps++;
    }
    return rc;
}

/* --- training again ------------------------------------------------------------------------------
 */

/* Of the policy's routes, of any age, received since the last run began. */
static int read_retrain(struct turn *t, struct retrain_facts *out)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    int rc = train_facts_routes(t->facts, &p);
    pq_params_text(&p, str_from(t->policy->name));
    pq_params_time_us(&p, t->created_us);
    pq_params_time_us(&p, t->now_us - (int64_t)t->policy->label_maturity_s * 1000000);
    pq_params_time_us(&p, t->now_us);
    pq_params_i64(&p, LABELS_COUNTED);
    if (rc == 0)
        rc = pq_conn_query(
            t->c,
            "WITH last AS (SELECT greatest($3::timestamptz, (SELECT max(created) FROM job WHERE "
            "kind = 'train' AND subject = $2)) AS at) SELECT extract(epoch FROM $5::timestamptz - "
            "last.at)::bigint, (SELECT count(*) FROM (SELECT FROM feedback f JOIN decision d ON "
            "d.request_id = f.request_id AND d.ts BETWEEN f.ts - interval '1 minute' AND f.ts + "
            "interval '1 minute' WHERE f.received > last.at AND f.received <= $4 AND d.route = ANY "
            "(string_to_array($1, chr(10))) LIMIT $6) x), EXISTS (SELECT FROM drift_event e WHERE "
            "e.policy = $2 AND e.ts > last.at), EXISTS (SELECT FROM job WHERE kind = 'train' AND "
            "state IN ('queued', 'running')) FROM last",
            &p, &r, t->err);
    if (rc == 0) {
        int64_t since = pq_result_i64(r, 0, 0);
        bool busy = pq_result_bool(r, 0, 3);
        *out = (struct retrain_facts){.every_s = busy ? 0 : t->policy->retrain_every_s,
                                      .since_s = since > 0 ? (uint64_t)since : 0,
                                      .new_labels = (uint64_t)pq_result_i64(r, 0, 1),
                                      .rows = t->rows,
                                      .drifted = pq_result_bool(r, 0, 2)};
    }
    pq_result_destroy(r);
    return rc;
}

int turn_retrain(struct turn *t)
{
    struct retrain_facts facts = {0};
    if (t->policy->retrain_every_s == 0 || !(t->target_value > 0) || !t->quiet)
        return 0;
    int rc = read_retrain(t, &facts);
    enum retrain_reason reason = rc == 0 ? retrain_due(&facts) : RETRAIN_NOT;
    if (reason == RETRAIN_NOT)
        return rc;
    struct uuid id = uuid_v7(t->now_us);
    struct train_request request = {.target = t->target,
                                    .value = t->target_value,
                                    .mode = TRAIN_OBSERVED,
                                    .maturity_ms = t->policy->label_maturity_s * 1000};
    uuid_format(&id, request.job);
    (void)str_copy(str_from(t->policy->name), request.policy, sizeof request.policy);
    (void)str_copy(STR(TRAIN_BY_ITSELF), request.actor, sizeof request.actor);
    snprintf(request.reason, sizeof request.reason,
             "%s: %llu new labels, %llu s since the last run",
             reason == RETRAIN_DRIFT ? "drift" : "schedule", (unsigned long long)facts.new_labels,
             (unsigned long long)facts.since_s);
    rc = train_queue_put(t->c, &request, STR("{}"), t->err);
    if (rc == ERR_CONFLICT) /* Somebody was first. */
        return 0;
    if (rc == 0)
        t->seen->retrains++;
    return rc;
}

/* --- all of it -----------------------------------------------------------------------------------
 */

int evidence_turn(struct pq_conn *c, const struct leader_claim *claim,
                  const struct publish_set *set, const struct evidence_policy *policy,
                  unsigned parts, int64_t now_us, struct evidence_seen *io_seen, struct err *err)
{
    bool found = false;
    struct train_facts facts = {0};
    struct turn t = {.c = c,
                     .claim = claim,
                     .policy = policy,
                     .facts = &facts,
                     .seen = io_seen,
                     .err = err,
                     .now_us = now_us};
    int rc = read_version(&t, &found);
    if (rc == 0 && found) {
        rc = train_facts_load(c, set, policy->name, &facts, err);
        if (rc == ERR_INVALID) { /* No route uses it. */
            json_decref(t.report);
            train_facts_deinit(&facts);
            return 0;
        }
        if (rc == 0 && (parts & EVIDENCE_DRIFT) != 0)
            rc = turn_drift(&t);
        if (rc == 0 && (parts & EVIDENCE_DRIFT) != 0)
            rc = turn_prints(&t);
        if (rc == 0 && (parts & EVIDENCE_LAMBDA) != 0)
            rc = turn_lambda(&t);
        if (rc == 0 && (parts & EVIDENCE_EXPLORE) != 0)
            rc = turn_explore(&t);
        if (rc == 0 && (parts & EVIDENCE_RETRAIN) != 0)
            rc = turn_retrain(&t);
    }
    json_decref(t.report);
    train_facts_deinit(&facts);
    return rc;
}
