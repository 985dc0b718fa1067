/* GET /status: answers also while the database is away; then `database.ok` says so. */
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "controlplane/admin/call.h"

static int read_array(struct pq_conn *c, const char *sql, struct buf *out, struct err *err)
{
    struct pq_result *r = NULL;
    int rc = pq_conn_query(c, sql, NULL, &r, err);
    buf_init(out, 1U << 20);
    if (rc == 0)
        rc = buf_append_str(out, pq_result_text(r, 0, 0));
    pq_result_destroy(r);
    return rc;
}

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
    if (rc == 0)
        rc = replicas_nodes(c, &call->state.status_facts.nodes,
                            &call->state.status_facts.node_count, err);
    if (rc == 0)
        rc = read_array(c,
                        "SELECT coalesce(json_agg(json_build_object('id', id, 'address', address, "
                        "'build', build, 'leads', leads, 'alive', seen > now() - interval '30 s', "
                        "'seen', to_char(seen AT TIME ZONE 'UTC', "
                        "'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')) "
                        "ORDER BY id), '[]') FROM replica",
                        &call->state.status_facts.replicas, err);
    if (rc == 0)
        rc = read_array(
            c,
            "SELECT coalesce(json_agg(json_build_object('role', role, 'holder', "
            "coalesce(holder, ''), 'term', term) ORDER BY role), '[]') FROM leader_fence",
            &call->state.status_facts.roles, err);
    call->state.status_facts.ok = rc == 0;
    return rc;
}

static void write_node(struct json_writer *w, const struct replicas_node *n, uint64_t generation)
{
    char seen[CLOCK_RFC3339_BYTES];
    json_writer_begin_object(w);
    json_writer_key(w, "node_id");
    json_writer_text(w, n->node_id);
    json_writer_key(w, "connected");
    json_writer_bool(w, n->connected);
    json_writer_key(w, "replica");
    json_writer_text(w, n->replica);
    json_writer_key(w, "build");
    json_writer_text(w, n->build);
    json_writer_key(w, "generation");
    json_writer_u64(w, n->applied);
    json_writer_key(w, "lag_generations");
    json_writer_u64(w, generation > n->applied ? generation - n->applied : 0);
    json_writer_key(w, "last_seen");
    clock_format_rfc3339(n->seen_us, seen);
    json_writer_text(w, seen);
    json_writer_key(w, "epoch");
    json_writer_u64(w, n->epoch);
    json_writer_key(w, "spool_records");
    json_writer_u64(w, n->spool_records);
    json_writer_key(w, "inflight");
    json_writer_u64(w, n->inflight);
    json_writer_end_object(w);
}

static bool is_known(const struct admin_call *call, const char *node_id)
{
    for (size_t i = 0; i < call->state.status_facts.node_count; i++)
        if (strcmp(call->state.status_facts.nodes[i].node_id, node_id) == 0)
            return true;
    return false;
}

static void write_nodes(struct admin_call *call, const struct nodes *nodes, uint64_t generation)
{
    json_writer_key(&call->w, "nodes");
    json_writer_begin_array(&call->w);
    for (size_t i = 0; nodes != NULL && i < nodes_count(nodes); i++) {
        struct nodes_info n;
        nodes_get_info(nodes, i, &n);
        struct replicas_node row = {.connected = n.connected,
                                    .applied = n.generation,
                                    .epoch = n.epoch,
                                    .spool_records = n.spool_records,
                                    .inflight = n.inflight,
                                    .seen_us = n.last_seen_us};
        if (!n.connected && is_known(call, n.node_id))
            continue;
        (void)str_copy(str_from(n.node_id), row.node_id, sizeof row.node_id);
        if (n.build != NULL)
            (void)str_copy(str_from(n.build), row.build, sizeof row.build);
        if (call->config->replica_id != NULL)
            (void)str_copy(str_from(call->config->replica_id), row.replica, sizeof row.replica);
        write_node(&call->w, &row, generation);
    }
    /* What is connected here is known here as of now; of the others there are the rows. */
    for (size_t i = 0; i < call->state.status_facts.node_count; i++) {
        const struct replicas_node *n = &call->state.status_facts.nodes[i];
        if (nodes == NULL || !nodes_is_connected(nodes, str_from(n->node_id)))
            write_node(&call->w, n, generation);
    }
    json_writer_end_array(&call->w);
}

/* "name version state artifact generation". The generation is the database's, like the version: the
 * one this program pushes may still be the one before, which every node has acknowledged. */
static void write_policy(struct admin_call *call, struct str line)
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
    const struct nodes_spread spread =
        spread_count(call->config, call->state.status_facts.nodes,
                     call->state.status_facts.node_count, generation);
    json_writer_key(w, "acked_nodes");
    json_writer_u64(w, known ? spread.acked : 0);
    json_writer_key(w, "connected_nodes");
    json_writer_u64(w, spread.connected);
    json_writer_end_object(w);
}

static void write_array(struct json_writer *w, const char *key, struct buf *json)
{
    json_writer_key(w, key);
    json_writer_raw(w, json->len == 0 ? STR("[]") : buf_str(json));
    buf_deinit(json);
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
    write_nodes(call, nodes, generation);
    write_array(w, "replicas", &call->state.status_facts.replicas);
    write_array(w, "roles", &call->state.status_facts.roles);
    json_writer_key(w, "generation");
    json_writer_u64(w, generation);
    json_writer_key(w, "policies");
    json_writer_begin_array(w);
    struct str rest = buf_str(&call->state.status_facts.policies), line;
    while (ok && rest.len > 0) {
        (void)str_cut(rest, '\n', &line, &rest);
        write_policy(call, line);
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
    mem_free(call->state.status_facts.nodes);
    return 0;
}
