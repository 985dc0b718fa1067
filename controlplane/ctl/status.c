#include "controlplane/ctl/client.h"
#include "controlplane/ctl/nouns.h"
#include "controlplane/ctl/output.h"

#define POLL_MS 200U

static const struct column columns[] = {
    {.title = "Version", .path = "version"},
    {.title = "Up", .path = "uptime_s"},
    {.title = "Database", .path = "database.ok", .kind = COLUMN_BOOL},
    {.title = "Schema", .path = "database.schema", .wide = true},
    {.title = "Generation", .path = "generation"},
    {.title = "Decisions", .path = "decisions.total"},
    {.title = "  last hour", .path = "decisions.last_hour"},
    {.title = "Feedback", .path = "feedback.total"},
    {.title = NULL},
};
static const struct column node_columns[] = {
    {.title = "NODE", .path = "node_id", .kind = COLUMN_SHORT},
    {.title = "CONNECTED", .path = "connected", .kind = COLUMN_BOOL},
    {.title = "GENERATION", .path = "generation", .kind = COLUMN_NUMBER},
    {.title = "BEHIND", .path = "lag_generations", .kind = COLUMN_NUMBER},
    {.title = "SPOOL", .path = "spool_records", .kind = COLUMN_NUMBER},
    {.title = "LAST SEEN", .path = "last_seen"},
    {.title = "BUILD", .path = "build", .wide = true},
    {.title = NULL},
};
static const struct column policy_columns[] = {
    {.title = "POLICY", .path = "name"},
    {.title = "VERSION", .path = "version", .kind = COLUMN_NUMBER},
    {.title = "STATE", .path = "state"},
    {.title = "ARTIFACT", .path = "artifact", .kind = COLUMN_SHORT},
    {.title = "ON NODES", .path = "acked_nodes", .kind = COLUMN_NUMBER},
    {.title = "OF", .path = "connected_nodes", .kind = COLUMN_NUMBER},
    {.title = NULL},
};

static bool is_ready(const json_t *status)
{
    size_t i;
    json_t *node;
    json_array_foreach(json_object_get(status, "nodes"), i,
                       node) if (json_is_true(json_object_get(node, "connected")) &&
                                 json_integer_value(json_object_get(node, "lag_generations")) ==
                                     0) return true;
    return false;
}

/* Polls until a connected node has the newest generation. */
static enum ctl_exit wait_ready(struct ctl *c, uint64_t wait_ms, json_t **out_status)
{
    for (uint64_t waited = 0;; waited += POLL_MS) {
        enum ctl_exit code = client_try(c, "GET", "/status", out_status);
        if (code == CTL_OK && is_ready(*out_status))
            return CTL_OK;
        if (code == CTL_OK)
            json_decref(*out_status);
        *out_status = NULL;
        if (c->client == NULL)
            return code; /* Told already: no server is known. */
        if (code == CTL_AUTH)
            return ctl_fail(c, code, "the operator key was refused");
        if (waited >= wait_ms)
            return ctl_fail(c, CTL_UNREACHABLE, "no node was ready in time");
        if (client_wait(c, POLL_MS))
            return ctl_fail(c, CTL_FAILED, "interrupted");
    }
}

enum ctl_exit status_show(struct ctl *c)
{
    json_t *status = NULL;
    uint64_t wait_ms = ctl_u64(c, "wait");
    enum ctl_exit code = wait_ms > 0 ? wait_ready(c, wait_ms, &status)
                                     : client_call(c, "GET", "/status", NULL, &status);
    if (code == CTL_OK)
        code = output_object(c, columns, status, "version");
    if (code == CTL_OK && output_is_table(c)) {
        fputc('\n', c->out);
        code = output_list(c, node_columns, json_object_get(status, "nodes"), "node_id");
        fputc('\n', c->out);
        if (code == CTL_OK)
            code = output_list(c, policy_columns, json_object_get(status, "policies"), "name");
    }
    json_decref(status);
    return code;
}
