/* What nodes get of a rollout: its own resource and, beside the stable version's, the candidate's.
 */
#include <stdio.h>
#include <string.h>

#include "control.pb-c.h"
#include "controlplane/release/policy_internal.h"

#define CANDIDATE "/candidate"

static int put_body(struct pq_conn *c, const struct publish_rollout *r, const char *policy,
                    const char *stable, const char *candidate, struct err *err)
{
    char key[POLICY_NAME_MAX + 16];
    uint8_t body[1024], salt[PUBLISH_SALT_BYTES];
    Steelyard__Control__V1__Rollout m = STEELYARD__CONTROL__V1__ROLLOUT__INIT;
    memcpy(salt, r->salt, sizeof salt);
    m.id = r->id;
    m.policy = (char *)(uintptr_t)policy;
    m.state = (Steelyard__Control__V1__RolloutState)r->state;
    m.stage = r->stage;
    m.pct_bp = r->pct_bp;
    m.salt = (ProtobufCBinaryData){sizeof salt, salt};
    m.stable_params = (char *)(uintptr_t)stable;
    m.candidate_params = (char *)(uintptr_t)candidate;
    size_t len = steelyard__control__v1__rollout__get_packed_size(&m);
    if (len > sizeof body)
        return err_set(err, ERR_TOO_LARGE, "rollout of policy %s", policy);
    len = steelyard__control__v1__rollout__pack(&m, body);
    snprintf(key, sizeof key, "rollout/%s", policy);
    return publish_put(
        c,
        &(struct publish_change){.key = str_from(key),
                                 .type = STEELYARD__CONTROL__V1__RESOURCE_TYPE__RESOURCE_ROLLOUT,
                                 .body = {.data = (const char *)body, .len = len}},
        err);
}

static bool same_artifact(const struct policy_content *a, const struct policy_content *b)
{
    return str_eq(buf_str(&a->artifact_sha), buf_str(&b->artifact_sha));
}

int publish_put_rollout(struct pq_conn *c, const struct publish_rollout *r, struct err *err)
{
    struct policy_content stable, candidate;
    uint64_t version = 0;
    char state[POLICY_STATE_BYTES], policy[POLICY_NAME_MAX + 1], hex[2][SHA256_HEX_BYTES];
    if (!str_copy(r->policy, policy, sizeof policy) ||
        !str_copy(r->stable_params, hex[0], sizeof hex[0]) ||
        !str_copy(r->candidate_params, hex[1], sizeof hex[1]))
        return err_set(err, ERR_TOO_LARGE, "rollout of policy %.*s", STR_ARG(r->policy));
    policy_content_init(&stable);
    policy_content_init(&candidate);
    int rc = policy_load_version(c, r->policy, 0, "current", &version, state, &stable, err);
    if (rc == 0)
        rc = policy_load_version(c, r->policy, r->candidate, "", &version, state, &candidate, err);
    if (rc == 0) {
        if (same_artifact(&stable, &candidate))
            buf_clear(&candidate.artifact_sha);
        rc = policy_put_resources(c, r->policy, CANDIDATE, &candidate.artifact_sha,
                                  buf_str(&candidate.params), err);
    }
    if (rc == 0)
        rc = put_body(c, r, policy, hex[0], hex[1], err);
    policy_content_deinit(&stable);
    policy_content_deinit(&candidate);
    return rc;
}

int publish_remove_rollout(struct pq_conn *c, struct str policy, struct err *err)
{
    static const struct {
        const char *kind, *suffix;
    } keys[] = {{"rollout", ""}, {"params", CANDIDATE}, {"artifact", CANDIDATE}};
    int rc = 0;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0] && rc == 0; i++) {
        char key[POLICY_NAME_MAX + 32];
        snprintf(key, sizeof key, "%s/%.*s%s", keys[i].kind, STR_ARG(policy), keys[i].suffix);
        rc = publish_put(c, &(struct publish_change){.key = str_from(key)}, err);
    }
    return rc;
}

static int end_it(struct pq_conn *c, const struct publish_actor *actor, int64_t id, const char *to,
                  const char *reason, struct err *err)
{
    struct pq_params p = {0};
    pq_params_i64(&p, id);
    pq_params_text(&p, str_from(to));
    pq_params_text(&p, actor->name);
    pq_params_text(&p, str_from(reason));
    return pq_conn_query(c,
                         "WITH old AS (SELECT id, state, stage FROM rollout WHERE id = $1), "
                         "new AS (UPDATE rollout SET state = $2, why = 'operator', pct_bp = CASE "
                         "WHEN $2 = 'promoted' THEN 10000 ELSE 0 END, state_since = now(), "
                         "ended = now() WHERE id = $1 RETURNING id, state, stage, pct_bp) "
                         "INSERT INTO rollout_event (rollout_id, from_state, from_stage, to_state, "
                         "to_stage, pct_bp, actor, reason, evidence, generation) SELECT new.id, "
                         "old.state, old.stage, new.state, new.stage, new.pct_bp, $3, 'operator', "
                         "jsonb_build_object('note', $4::text), (SELECT generation + 1 FROM "
                         "config_head) FROM new, old",
                         &p, NULL, err);
}

int publish_rollout_overtake(struct pq_conn *c, const struct publish_actor *actor,
                             struct str policy, uint64_t version, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_text(&p, policy);
    int rc = pq_conn_query(c,
                           "SELECT id, candidate, kind = 'override' FROM rollout WHERE "
                           "policy = $1 AND ended IS NULL FOR UPDATE",
                           &p, &r, err);
    if (rc != 0)
        return rc;
    if (pq_result_rows(r) > 0) {
        int64_t id = pq_result_i64(r, 0, 0), candidate = pq_result_i64(r, 0, 1);
        bool is_override = pq_result_bool(r, 0, 2);
        if (version == 0)
            rc = end_it(c, actor, id, is_override ? "ended" : "rolled_back",
                        "the version in service was changed", err);
        else if (is_override)
            rc = err_set(err, ERR_CONFLICT, "an override pins %.*s@%lld: end it first",
                         STR_ARG(policy), (long long)candidate);
        else if ((uint64_t)candidate != version)
            rc = err_set(err, ERR_CONFLICT, "a rollout of %.*s@%lld is under way: abort it first",
                         STR_ARG(policy), (long long)candidate);
        else
            rc = end_it(c, actor, id, "promoted", "made current by hand", err);
        if (rc == 0)
            rc = publish_remove_rollout(c, policy, err);
    }
    pq_result_destroy(r);
    return rc;
}

int publish_policy_find(struct pq_conn *c, struct str name, uint64_t version,
                        struct publish_version *out, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    pq_params_text(&p, name);
    pq_params_i64(&p, (int64_t)version);
    int rc = pq_conn_query(
        c,
        "SELECT version, state, encode(params, 'hex'), verdict FROM "
        "policy_version WHERE name = $1 AND CASE WHEN $2::bigint > 0 THEN version = $2 ELSE "
        "state = 'current' END",
        &p, &r, err);
    if (rc != 0)
        return rc;
    if (pq_result_rows(r) == 0) {
        rc = version > 0 ? err_set(err, ERR_NOT_FOUND, "there is no policy version %.*s@%llu",
                                   STR_ARG(name), (unsigned long long)version)
                         : err_set(err, ERR_NOT_FOUND, "there is no policy %.*s", STR_ARG(name));
    } else {
        *out = (struct publish_version){.version = (uint64_t)pq_result_i64(r, 0, 0)};
        (void)str_copy(pq_result_text(r, 0, 1), out->state, sizeof out->state);
        (void)str_copy(pq_result_text(r, 0, 2), out->params, sizeof out->params);
        (void)str_copy(pq_result_text(r, 0, 3), out->verdict, sizeof out->verdict);
    }
    pq_result_destroy(r);
    return rc;
}
