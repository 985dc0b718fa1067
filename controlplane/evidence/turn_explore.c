/* The chance of exploring follows what was learned and what exploring has cost: sums by hour, which
 * the intake adds to as records come (usage_hour), so that a late record counts too. */
#include <stdio.h>
#include <string.h>

#include "common/route/policy.h"
#include "controlplane/evidence/pace.h"
#include "controlplane/evidence/turn_internal.h"

struct step {
    const struct turn *turn;
    struct explore_account account;
    uint64_t labels;
    uint64_t least;
    uint32_t to;
};

static int insert_step(void *arg, struct pq_conn *c, uint64_t version, struct err *err)
{
    const struct step *s = arg;
    char share[40];
    struct pq_params p = {0};
    snprintf(share, sizeof share, "%.17g", s->account.share);
    pq_params_text(&p, str_from(s->turn->policy->name));
    pq_params_i64(&p, (int64_t)version);
    pq_params_i64(&p, s->turn->explore);
    pq_params_i64(&p, s->to);
    pq_params_i64(&p, (int64_t)s->labels);
    pq_params_i64(&p, (int64_t)s->least);
    pq_params_i64(&p, (int64_t)s->account.spend);
    pq_params_i64(&p, (int64_t)s->account.extra);
    pq_params_text(&p, str_from(share));
    return pq_conn_query(c,
                         "INSERT INTO explore_step (policy, version, cap_from, cap_to, labels, "
                         "least, spend, extra, share) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                         &p, NULL, err);
}

static int read_account(struct turn *t, struct explore_account *out)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    int rc = train_facts_routes(t->facts, &p);
    pq_params_time_us(&p, t->now_us);
    *out = (struct explore_account){.share = t->policy->explore_spend};
    if (rc == 0)
        rc = pq_conn_query(
            t->c,
            "SELECT coalesce(sum(decisions), 0)::bigint, coalesce(sum(cost), 0)::double precision, "
            "coalesce(sum(explore_cost), 0)::double precision, coalesce(sum(explored), 0)::bigint "
            "FROM usage_hour WHERE hour > "
            "$2::timestamptz - interval '24 hours' AND hour <= $2 AND route = ANY "
            "(string_to_array($1, chr(10)))",
            &p, &r, t->err);
    if (rc == 0) {
        out->requests = (uint64_t)pq_result_i64(r, 0, 0);
        out->spend = pq_result_double(r, 0, 1);
        out->extra = pq_result_double(r, 0, 2);
        out->explored = (uint64_t)pq_result_i64(r, 0, 3);
    }
    pq_result_destroy(r);
    return rc;
}

int turn_explore(struct turn *t)
{
    struct step step = {
        .turn = t, .labels = t->has_artifact ? t->rows : 0, .least = turn_least_labels(t)};
    uint64_t version = 0;
    char detail[320];
    if (!t->quiet || (t->explore == 0 && t->explore_most == 0))
        return 0;
    int rc = read_account(t, &step.account);
    step.to = pace_explore(
        &step.account, policy_explore_cap(t->explore_most, step.labels, step.least), t->explore);
    if (rc != 0 || step.to == t->explore)
        return rc;
    snprintf(detail, sizeof detail,
             "{\"explore\":%.6g,\"was\":%.6g,\"labels\":%llu,\"least\":%llu,\"extra_usd\":%.9g,"
             "\"spend_usd\":%.9g,\"share\":%.6g}",
             step.to / 4294967295.0, t->explore / 4294967295.0, (unsigned long long)step.labels,
             (unsigned long long)step.least, step.account.extra * 1e-9, step.account.spend * 1e-9,
             step.account.share);
    struct publish_actor actor = {
        .name = STR("explore"), .reason = STR("labels and account"), .claim = t->claim};
    struct publish_tune tune = {.name = str_from(t->policy->name),
                                .current = t->version,
                                .approved = t->approved,
                                .lambda = -1,
                                .explore = step.to,
                                .detail = str_from(detail),
                                .also = insert_step,
                                .arg = &step};
    rc = publish_policy_tune(t->c, &actor, &tune, &version, t->err);
    if (rc == 0) {
        t->version = version;
        t->explore = step.to;
        t->seen->explore_steps++;
    }
    return rc;
}
