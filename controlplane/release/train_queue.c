/* What a run needs is kept in the row as it was understood when it was asked for (ages like 7d are
 * times by then), so that it may run anywhere and later. */
#include "controlplane/release/train_queue.h"

#include <stdio.h>

int train_queue_put(struct pq_conn *c, const struct train_request *t, struct str body,
                    struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    char value[40];
    (void)snprintf(value, sizeof value, "%.17g", t->value);
    pq_params_text(&p, str_from(t->job));
    pq_params_text(&p, str_from(t->policy));
    pq_params_text(&p, body);
    pq_params_text(&p, str_from(t->actor));
    pq_params_i64(&p, (int64_t)t->target);
    pq_params_text(&p, str_from(value));
    pq_params_i64(&p, (int64_t)t->mode);
    pq_params_i64(&p, t->since_us);
    pq_params_i64(&p, t->until_us);
    pq_params_i64(&p, (int64_t)t->maturity_ms);
    pq_params_bool(&p, t->promote);
    pq_params_text(&p, str_from(t->reason));
    int rc = pq_conn_script(c, "BEGIN; LOCK TABLE job IN SHARE ROW EXCLUSIVE MODE", err);
    if (rc == 0)
        rc = pq_conn_query(
            c,
            "WITH facts AS (SELECT EXISTS (SELECT FROM policy_version WHERE name = $2) AS known, "
            "EXISTS (SELECT FROM job WHERE kind = 'train' AND state IN ('queued', 'running')) AS "
            "busy), "
            "entry AS (INSERT INTO job (id, kind, subject, state, phase, request, actor, spec) "
            "SELECT $1::uuid, 'train', $2, 'queued', 'queued', $3, $4, jsonb_build_object("
            "'target', $5::integer, 'value', $6::float8, 'mode', $7::integer, 'since', $8::bigint, "
            "'until', $9::bigint, 'maturity', $10::bigint, 'promote', $11::boolean, 'reason', "
            "$12::text) FROM facts WHERE known AND NOT busy) SELECT known, busy FROM facts",
            &p, &r, err);
    pq_params_deinit(&p);
    if (rc == 0 && !pq_result_bool(r, 0, 0))
        rc = err_set(err, ERR_NOT_FOUND, "there is no policy %s", t->policy);
    else if (rc == 0 && pq_result_bool(r, 0, 1))
        rc = err_set(err, ERR_CONFLICT, "a training run is under way; wait for it to end");
    pq_result_destroy(r);
    if (rc == 0)
        return pq_conn_script(c, "COMMIT", err);
    pq_conn_attempt(c, "ROLLBACK");
    return rc;
}

/* Nothing runs where this is asked: what says that it runs under this term or an older one ended
 * without being able to write it. */
static int requeue_lost(struct pq_conn *c, const struct leader_claim *claim, struct err *err)
{
    struct pq_params p = {0};
    pq_params_i64(&p, (int64_t)claim->term);
    pq_params_i64(&p, TRAIN_TRIES_MAX);
    return pq_conn_query(
        c,
        "UPDATE job SET "
        "state = CASE WHEN tries >= $2 THEN 'failed' ELSE 'queued' END, "
        "phase = CASE WHEN tries >= $2 THEN 'failed' ELSE 'queued' END, "
        "message = CASE WHEN tries >= $2 THEN 'its control plane ended each time' ELSE '' END, "
        "finished = CASE WHEN tries >= $2 THEN now() END, touched = now() "
        "WHERE kind = 'train' AND state = 'running' AND term <= $1",
        &p, NULL, err);
}

static void read_request(const struct pq_result *r, struct train_request *out)
{
    *out = (struct train_request){.target = (enum train_target)pq_result_i64(r, 0, 3),
                                  .value = pq_result_double(r, 0, 4),
                                  .mode = (enum train_mode)pq_result_i64(r, 0, 5),
                                  .since_us = pq_result_i64(r, 0, 6),
                                  .until_us = pq_result_i64(r, 0, 7),
                                  .maturity_ms = (uint64_t)pq_result_i64(r, 0, 8),
                                  .promote = pq_result_bool(r, 0, 9)};
    (void)str_copy(pq_result_text(r, 0, 0), out->job, sizeof out->job);
    (void)str_copy(pq_result_text(r, 0, 1), out->policy, sizeof out->policy);
    (void)str_copy(pq_result_text(r, 0, 2), out->actor, sizeof out->actor);
    (void)str_copy(pq_result_text(r, 0, 10), out->reason, sizeof out->reason);
}

int train_queue_take(struct pq_conn *c, const struct leader_claim *claim,
                     struct train_request *out_request, bool *out_found, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    int rc = pq_conn_script(c, "BEGIN", err);
    if (rc == 0)
        rc = leader_fence(c, claim, err);
    if (rc == 0)
        rc = requeue_lost(c, claim, err);
    pq_params_i64(&p, (int64_t)claim->term);
    if (rc == 0)
        rc = pq_conn_query(
            c,
            "UPDATE job SET state = 'running', phase = 'rows', started = now(), touched = now(), "
            "term = $1, tries = tries + 1 WHERE id = (SELECT id FROM job WHERE kind = 'train' AND "
            "state = 'queued' ORDER BY created, id LIMIT 1) RETURNING id, subject, actor, "
            "spec->>'target', spec->>'value', spec->>'mode', spec->>'since', spec->>'until', "
            "spec->>'maturity', (spec->>'promote')::boolean, spec->>'reason'",
            &p, &r, err);
    pq_params_deinit(&p);
    bool found = rc == 0 && pq_result_rows(r) == 1;
    if (found)
        read_request(r, out_request);
    pq_result_destroy(r);
    if (rc == 0)
        rc = pq_conn_script(c, "COMMIT", err);
    else
        pq_conn_attempt(c, "ROLLBACK");
    if (rc == 0)
        *out_found = found;
    return rc;
}

int train_queue_end(struct pq_conn *c, const struct leader_claim *claim, const char *job, bool ok,
                    struct str message, struct str result, struct err *err)
{
    struct pq_params p = {0};
    pq_params_text(&p, str_from(job));
    pq_params_text(&p, ok ? STR("done") : STR("failed"));
    pq_params_text(&p, message);
    pq_params_text(&p, result);
    pq_params_i64(&p, (int64_t)claim->term);
    int rc = pq_conn_script(c, "BEGIN", err);
    if (rc == 0)
        rc = leader_fence(c, claim, err);
    if (rc == 0)
        rc = pq_conn_query(c,
                           "UPDATE job SET state = $2, phase = $2, message = $3, result = $4, "
                           "done = greatest(total, 1), total = greatest(total, 1), "
                           "finished = now(), touched = now() WHERE id = $1::uuid AND term = $5",
                           &p, NULL, err);
    pq_params_deinit(&p);
    if (rc == 0)
        return pq_conn_script(c, "COMMIT", err);
    pq_conn_attempt(c, "ROLLBACK");
    return rc;
}
