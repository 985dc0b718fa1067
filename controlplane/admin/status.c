/* GET /status: answers also while the database is away; then `database.ok` says so. */
#include <string.h>

#include "common/base/clock.h"
#include "controlplane/admin/call.h"

int status_run(struct admin_call *call, struct pq_conn *c, struct err *err)
{
    struct pq_result *r = NULL;
    int rc = pq_conn_query(
        c,
        "SELECT (SELECT max(version) FROM schema_version), "
        "(SELECT coalesce(sum(decisions), 0) FROM usage_hour), "
        "(SELECT count(*) FROM (SELECT 1 FROM decision WHERE ts > now() - interval '1 hour' "
        "LIMIT 1000000) d), (SELECT count(*) FROM (SELECT 1 FROM feedback LIMIT 1000000) f), "
        "(SELECT extract(epoch FROM now() - changed)::bigint FROM config_head)",
        NULL, &r, err);
    if (rc != 0)
        return rc;
    call->state.status_facts.schema = pq_result_i64(r, 0, 0);
    call->state.status_facts.decisions = pq_result_i64(r, 0, 1);
    call->state.status_facts.last_hour = pq_result_i64(r, 0, 2);
    call->state.status_facts.feedback = pq_result_i64(r, 0, 3);
    call->state.status_facts.config_age_s = pq_result_i64(r, 0, 4);
    pq_result_destroy(r);
    r = NULL;
    rc = pq_conn_query(c,
                       "SELECT v.name || ' ' || v.version || ' ' || v.state || ' ' || "
                       "coalesce(encode(v.artifact, 'hex'), '-') || ' ' || "
                       "coalesce(r.generation, 0) FROM policy_version v LEFT JOIN resource r "
                       "ON r.key = 'params/' || v.name WHERE v.state = 'current' ORDER BY v.name",
                       NULL, &r, err);
    if (rc != 0)
        return rc;
    struct buf *out = &call->state.status_facts.policies;
    buf_init(out, 1U << 20);
    for (int i = 0; i < pq_result_rows(r) && rc == 0; i++) {
        rc = buf_append_str(out, pq_result_text(r, i, 0));
        if (rc == 0)
            rc = buf_append_char(out, '\n');
    }
    pq_result_destroy(r);
    call->state.status_facts.ok = rc == 0;
    return rc;
}

static void write_nodes(struct json_writer *w, const struct nodes *nodes, uint64_t generation)
{
    json_writer_key(w, "nodes");
    json_writer_begin_array(w);
    for (size_t i = 0; nodes != NULL && i < nodes_count(nodes); i++) {
        struct nodes_info n;
        char seen[CLOCK_RFC3339_BYTES];
        nodes_get_info(nodes, i, &n);
        json_writer_begin_object(w);
        json_writer_key(w, "node_id");
        json_writer_text(w, n.node_id);
        json_writer_key(w, "connected");
        json_writer_bool(w, n.connected);
        json_writer_key(w, "build");
        json_writer_text(w, n.build == NULL ? "" : n.build);
        json_writer_key(w, "generation");
        json_writer_u64(w, n.generation);
        json_writer_key(w, "lag_generations");
        json_writer_u64(w, generation > n.generation ? generation - n.generation : 0);
        json_writer_key(w, "last_seen");
        clock_format_rfc3339(n.last_seen_us, seen);
        json_writer_text(w, seen);
        json_writer_key(w, "epoch");
        json_writer_u64(w, n.epoch);
        json_writer_key(w, "spool_records");
        json_writer_u64(w, n.spool_records);
        json_writer_key(w, "inflight");
        json_writer_u64(w, n.inflight);
        json_writer_end_object(w);
    }
    json_writer_end_array(w);
}

/* "name version state artifact generation". The generation is the database's, like the version: the
 * one this program pushes may still be the one before, which every node has acknowledged. */
static void write_policy(struct admin_call *call, struct str line, const struct nodes *nodes)
{
    struct json_writer *w = &call->w;
    struct str name, version, state, artifact, rest = line;
    uint64_t generation = 0;
    (void)str_cut(rest, ' ', &name, &rest);
    (void)str_cut(rest, ' ', &version, &rest);
    (void)str_cut(rest, ' ', &state, &rest);
    (void)str_cut(rest, ' ', &artifact, &rest);
    bool known = str_parse_u64(rest, INT64_MAX, &generation) == 0 && generation > 0;
    json_writer_begin_object(w);
    json_writer_key(w, "name");
    json_writer_string(w, name);
    json_writer_key(w, "version");
    json_writer_raw(w, version);
    json_writer_key(w, "artifact");
    if (str_is(artifact, "-"))
        json_writer_null(w);
    else
        json_writer_string(w, artifact);
    json_writer_key(w, "state");
    json_writer_string(w, state);
    json_writer_key(w, "acked_nodes");
    json_writer_u64(w, nodes == NULL || !known ? 0 : nodes_acked(nodes, generation));
    json_writer_key(w, "connected_nodes");
    json_writer_u64(w, nodes == NULL ? 0 : nodes_connected(nodes));
    json_writer_end_object(w);
}

int status_finish(struct admin_call *call, int status, struct err *err)
{
    struct json_writer *w = &call->w;
    const struct nodes *nodes = *call->config->nodes;
    bool ok = status == 0 && call->state.status_facts.ok;
    uint64_t generation = call->set == NULL ? 0 : call->set->generation;
    json_writer_begin_object(w);
    json_writer_key(w, "version");
    json_writer_text(w, call->config->version);
    json_writer_key(w, "uptime_s");
    json_writer_u64(w, (clock_mono_ms() - call->config->started_mono_ms) / 1000);
    json_writer_key(w, "database");
    json_writer_begin_object(w);
    json_writer_key(w, "ok");
    json_writer_bool(w, ok);
    json_writer_key(w, "schema");
    json_writer_i64(w, ok ? call->state.status_facts.schema : 0);
    if (!ok) {
        json_writer_key(w, "error");
        json_writer_text(w, err->message);
    }
    json_writer_end_object(w);
    write_nodes(w, nodes, generation);
    json_writer_key(w, "generation");
    json_writer_u64(w, generation);
    json_writer_key(w, "policies");
    json_writer_begin_array(w);
    struct str rest = buf_str(&call->state.status_facts.policies), line;
    while (ok && rest.len > 0) {
        (void)str_cut(rest, '\n', &line, &rest);
        write_policy(call, line, nodes);
    }
    json_writer_end_array(w);
    json_writer_key(w, "decisions");
    json_writer_begin_object(w);
    json_writer_key(w, "total");
    json_writer_i64(w, call->state.status_facts.decisions);
    json_writer_key(w, "last_hour");
    json_writer_i64(w, call->state.status_facts.last_hour);
    json_writer_end_object(w);
    json_writer_key(w, "feedback");
    json_writer_begin_object(w);
    json_writer_key(w, "total");
    json_writer_i64(w, call->state.status_facts.feedback);
    json_writer_end_object(w);
    json_writer_key(w, "config_age_s");
    json_writer_i64(w, call->state.status_facts.config_age_s);
    json_writer_end_object(w);
    buf_deinit(&call->state.status_facts.policies);
    return 0;
}
