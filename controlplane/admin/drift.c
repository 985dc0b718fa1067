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
    int rc = 0;
    bool given = call_query(call, "model", model, sizeof model, &rc);
    if (rc != 0)
        return err_set(err, ERR_INVALID, "model: not readable");
    return query_few(call, c, prints_sql, given ? str_from(model) : STR_NULL, err);
}

int policies_drift(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    return query_few(call, c, drift_sql, str_from(call->param[0]), err);
}
