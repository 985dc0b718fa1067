#include "controlplane/spend/notices.h"

#include "common/base/mem.h"

/* clang-format off */
#define TIME(x) "to_char(" x " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
#define USD(x)  "trim_scale(" x " * 0.000000001)::text"

/* What was spent is the larger of what nodes say and what decisions say: both only lag. */
static const char scan_sql[] =
    "WITH spent AS (SELECT p.*, b.account_id, b.limit_nano AS lim, b.webhook, b.warn_permille, "
    "b.period, a.kind || ':' || a.name AS account, greatest(p.settled, coalesce((SELECT "
    "sum(l.cost) FROM budget_ledger l WHERE l.budget_id = p.budget_id AND l.period_start = "
    "p.period_start AND l.cfg = p.cfg), 0)::bigint) + p.adjust AS sum FROM budget_period p JOIN "
    "budget b ON b.id = p.budget_id AND b.cfg = p.cfg AND b.removed IS NULL JOIN account a ON "
    "a.id = b.account_id WHERE p.period_end > now() AND p.period_start <= now()), "
    "due AS MATERIALIZED (SELECT s.*, t.permille, gen_random_uuid() AS id FROM spent s CROSS JOIN "
    "LATERAL (SELECT s.warn_permille UNION SELECT 1000) t (permille) WHERE s.sum::numeric * 1000 "
    ">= s.lim::numeric * t.permille AND NOT EXISTS (SELECT FROM spend_notice n WHERE n.budget_id "
    "= s.budget_id AND n.period_start = s.period_start AND n.cfg = s.cfg AND n.permille = "
    "t.permille)), "
    "made AS (INSERT INTO spend_notice (id, budget_id, period_start, cfg, permille, account_id, "
    "limit_nano, spent_nano, url, body, state) SELECT id, budget_id, period_start, cfg, permille, "
    "account_id, lim, sum, webhook, json_build_object('id', id, 'event', 'budget.threshold', "
    "'account', account, 'budget', budget_id, 'period', period, "
    "'period_start', " TIME("period_start") ", "
    "'period_end', " TIME("nullif(period_end, 'infinity')") ", "
    "'limit_usd', " USD("lim") ", 'spent_usd', " USD("sum") ", "
    "'threshold_percent', permille * 0.1, 'at', " TIME("now()") ")::text, "
    "CASE WHEN webhook IS NULL THEN 'quiet' ELSE 'queued' END FROM due "
    "ORDER BY budget_id, period_start, cfg, permille "
    "ON CONFLICT (budget_id, period_start, cfg, permille) DO NOTHING RETURNING budget_id, body), "
    "audit AS (INSERT INTO audit_log (actor, action, subject, detail) SELECT 'spend', "
    "'budget.threshold', budget_id::text, body FROM made) "
    "SELECT count(*) FROM made";
/* clang-format on */

int notices_scan(struct pq_conn *c, int64_t *out_count, struct err *err)
{
    struct pq_result *r = NULL;
    int rc = pq_conn_query(c, scan_sql, NULL, &r, err);
    if (rc == 0)
        *out_count = pq_result_i64(r, 0, 0);
    pq_result_destroy(r);
    return rc;
}

static const char claim_sql[] =
    "UPDATE spend_notice n SET attempts = n.attempts + 1, next_try = now() + least($1 * (1 << "
    "least(n.attempts, 20))::bigint, greatest($1, 3600000)) * interval '1 millisecond' WHERE n.id "
    "IN (SELECT id FROM spend_notice WHERE state = 'queued' AND next_try <= now() ORDER BY "
    "next_try "
    "LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING n.id, n.url, n.body, n.attempts";

int notices_claim(struct pq_conn *c, uint64_t retry_first_ms, struct notice out[NOTICE_CLAIM_MAX],
                  unsigned *out_count, struct err *err)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    unsigned n = 0;
    pq_params_i64(&p, (int64_t)retry_first_ms);
    pq_params_i64(&p, NOTICE_CLAIM_MAX);
    int rc = pq_conn_query(c, claim_sql, &p, &r, err);
    for (int i = 0; rc == 0 && i < pq_result_rows(r); i++) {
        struct notice *to = &out[n];
        *to = (struct notice){.url = mem_strdup(pq_result_text(r, i, 1).data),
                              .body = mem_strdup(pq_result_text(r, i, 2).data),
                              .attempts = pq_result_i64(r, i, 3)};
        if (to->url == NULL || to->body == NULL ||
            !str_copy(pq_result_text(r, i, 0), to->id, sizeof to->id))
            notice_deinit(to); /* It comes again. */
        else
            n++;
    }
    pq_result_destroy(r);
    *out_count = n;
    return rc;
}

static const char done_sql[] =
    "UPDATE spend_notice SET last_error = coalesce($2, ''), delivered = CASE WHEN $2::text IS NULL "
    "THEN now() END, state = CASE WHEN $2::text IS NULL THEN 'delivered' WHEN attempts >= $3 THEN "
    "'given_up' ELSE state END WHERE id = $1::uuid AND state = 'queued'";

int notices_done(struct pq_conn *c, const char *id, const char *problem, struct err *err)
{
    struct pq_params p = {0};
    pq_params_text(&p, str_from(id));
    pq_params_text(&p, problem != NULL ? str_from(problem) : STR_NULL);
    pq_params_i64(&p, NOTICE_TRIES_MAX);
    return pq_conn_query(c, done_sql, &p, NULL, err);
}

void notice_deinit(struct notice *n)
{
    mem_free(n->url);
    mem_free(n->body);
    *n = (struct notice){.attempts = 0};
}
