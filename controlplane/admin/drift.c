/* What was found to have changed: of models, of what a policy is asked, and of who answers at a
 * deployment. */
#include "controlplane/admin/call.h"
#include "controlplane/admin/spec.h"

/* The text is told for one model of a deployment; it is the same for all. */
static const char prints_sql[] =
    "SELECT json_build_object('model', f.model, 'server', f.server, 'fingerprint', "
    "lpad(to_hex(f.print), 16, '0'), 'text', coalesce(f.text, (SELECT x.text FROM fingerprint x "
    "WHERE x.print = f.print AND x.text IS NOT NULL LIMIT 1)), "
    "'first_seen', " SQL_TIME(
        "f.first_seen") ", "
                        "'since', " SQL_TIME(
                            "f.since") ", "
                                       "'last_seen', " SQL_TIME(
                                           "f.last_seen") ", "
                                                          "'requests', f.requests, 'drift', "
                                                          "(SELECT " SQL_TIME(
                                                              "max(e.ts)") " "
                                                                           "FROM drift_event e "
                                                                           "WHERE e.kind = "
                                                                           "'fingerprint' AND "
                                                                           "e.model = f.model AND "
                                                                           "e.server = f.server "
                                                                           "AND e.print = f.print "
                                                                           "AND e.ts >= f.since)), "
                                                                           "NULL FROM fingerprint "
                                                                           "f WHERE $1::text IS "
                                                                           "NULL OR "
                                                                           "f.model = $1 ORDER BY "
                                                                           "f.model, f.server, "
                                                                           "f.last_seen DESC, "
                                                                           "f.print LIMIT $2";

static const char drift_sql[] = "SELECT json_build_object('id', e.id, 'ts', " SQL_TIME(
    "e.ts") ", "
            "'model', nullif(e.model, ''), 'kind', e.kind, 'value', e.value, 'bias', e.bias, "
            "'version', "
            "e.version, 'server', nullif(e.server, ''), 'fingerprint', lpad(to_hex(e.print), 16, "
            "'0'), "
            "'text', (SELECT x.text FROM fingerprint x WHERE x.print = e.print AND x.text IS NOT "
            "NULL "
            "LIMIT 1)), NULL FROM drift_event e WHERE e.policy = $1 ORDER BY e.id DESC LIMIT $2";

int models_fingerprints(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    char model[CALL_PARAM_BYTES];
    struct pq_params p = {0};
    int64_t limit;
    int rc = call_limit(call, &limit, err);
    if (rc != 0)
        return rc;
    bool given = call_query(call, "model", model, sizeof model, &rc);
    if (rc != 0)
        return err_set(err, ERR_INVALID, "model: not readable");
    pq_params_text(&p, given ? str_from(model) : STR_NULL);
    pq_params_i64(&p, limit);
    return query_page(call, c, prints_sql, &p, limit + 1, err);
}

int policies_drift(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    struct pq_params p = {0};
    int64_t limit;
    int rc = call_limit(call, &limit, err);
    if (rc != 0)
        return rc;
    pq_params_text(&p, str_from(call->param[0]));
    pq_params_i64(&p, limit);
    return query_page(call, c, drift_sql, &p, limit + 1, err);
}
