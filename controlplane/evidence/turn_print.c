/* What a deployment says that makes its answers (docs/evidence.md): another one that stays is
 * drift. It is another if nobody had seen it for 14 days (since of its row begins anew then), it
 * has made 100 answers, and one that was there for at least a day before has served since it was
 * last seen: what a deployment says on its first day is what it is. So machines that take turns
 * behind one address are drift once for each that is new, and not each time. Of one deployment at
 * most one a day: each starts a training run. */
#include "controlplane/evidence/turn_internal.h"

/* As intake_prints_sql counts them. */
#define PRINT_REQUESTS "100"

static const char insert_sql[] =
    "INSERT INTO drift_event (policy, model, kind, value, server, print) "
    "SELECT DISTINCT ON (f.model, f.server) $1, f.model, 'fingerprint', f.requests, f.server, "
    "f.print FROM fingerprint f WHERE f.model = ANY (string_to_array($2, chr(10))) AND f.requests "
    ">= " PRINT_REQUESTS " AND f.since > $3::timestamptz - interval '1 day' AND EXISTS (SELECT "
    "FROM fingerprint o WHERE o.model = f.model AND o.server = f.server AND o.print <> f.print AND "
    "o.requests >= " PRINT_REQUESTS " AND o.since <= f.since - interval '1 day' AND o.last_seen >= "
    "coalesce(f.away, '-infinity')) AND NOT EXISTS (SELECT FROM drift_event e WHERE e.policy = $1 "
    "AND e.kind = 'fingerprint' AND e.model = f.model AND e.server = f.server AND ((e.print = "
    "f.print AND e.ts > f.since) OR e.ts > now() - interval '1 day')) "
    "ORDER BY f.model, f.server, f.requests DESC, f.print RETURNING id";

/* What nobody says any more; and what a provider makes up anew for each answer, where it fills the
 * room of those that stay. */
static const char forget_sql[] =
    "DELETE FROM fingerprint f WHERE f.model = ANY (string_to_array($1, chr(10))) AND (f.last_seen "
    "< $2::timestamptz - interval '90 days' OR (f.requests < 5 AND f.last_seen < $2 - interval "
    "'1 hour' AND (SELECT count(*) FROM fingerprint o WHERE o.model = f.model AND o.server = "
    "f.server) >= 200))";

static int names_param(const struct turn *t, struct buf *names, struct pq_params *p)
{
    int rc = 0;
    for (uint32_t m = 0; rc == 0 && m < t->facts->model_count; m++) {
        if (m > 0)
            rc = buf_append_char(names, '\n');
        if (rc == 0)
            rc = buf_append_str(names, t->facts->model_ids[m]);
    }
    if (rc == 0)
        pq_params_text(p, buf_str(names));
    return rc;
}

static int forget(struct turn *t, struct buf *names)
{
    struct pq_params p = {0};
    pq_params_text(&p, buf_str(names));
    pq_params_time_us(&p, t->now_us);
    return pq_conn_query(t->c, forget_sql, &p, NULL, t->err);
}

int turn_prints(struct turn *t)
{
    struct pq_params p = {0};
    struct pq_result *r = NULL;
    struct buf names;
    if (!t->has_artifact)
        return 0;
    buf_init(&names, 65536);
    pq_params_text(&p, str_from(t->policy->name));
    int rc = names_param(t, &names, &p);
    pq_params_time_us(&p, t->created_us);
    if (rc == 0)
        rc = pq_conn_query(t->c, insert_sql, &p, &r, t->err);
    if (rc == 0) {
        t->seen->prints += (uint64_t)pq_result_rows(r);
        t->seen->drifts += (uint64_t)pq_result_rows(r);
    }
    pq_result_destroy(r);
    if (rc == 0)
        rc = forget(t, &names);
    buf_deinit(&names);
    return rc;
}
