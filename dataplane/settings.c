#include "dataplane/settings.h"

#include <unistd.h>

#include "common/base/process.h"
#include "common/base/str.h"
#include "common/crypto/uuid.h"

#define AT(member)         offsetof(struct settings, member)
#define DESCRIPTOR_RESERVE 256U /* Spool, admin, control stream. */
#define CONNECTIONS_MAX    65536U
#define CONNECTIONS_LEAST  64U

const struct option_row settings_table[] = {
    {"listen", OPTION_STRING, AT(listen), "127.0.0.1:8080", 0, 0, "", "0.0.0.0:8080",
     "Address of the API."},
    {"metrics-listen", OPTION_STRING, AT(metrics_listen), "127.0.0.1:9464", 0, 0, "",
     "0.0.0.0:9464", "Address of probes and metrics."},
    {"control", OPTION_STRING, AT(control), NULL, 0, 0, "", "control-0:8091,control-1:8091",
     "Sync addresses of control planes, also names with several addresses: the node spreads over "
     "them and goes on when one is gone. Without it it serves its stored configuration."},
    {"control-cert", OPTION_STRING, AT(control_cert), NULL, 0, 0, "", "/etc/steelyard/tls/tls.crt",
     "Client certificate towards the control plane (PEM)."},
    {"control-key", OPTION_STRING, AT(control_key), NULL, 0, 0, "", "/etc/steelyard/tls/tls.key",
     "Its private key (PEM)."},
    {"control-ca", OPTION_STRING, AT(control_ca), NULL, 0, 0, "", "/etc/steelyard/tls/ca.crt",
     "CA of the control plane's certificate (PEM)."},
    {"state-dir", OPTION_STRING, AT(state_dir), "/var/lib/steelyard", 0, 0, "",
     "/var/lib/steelyard", "Where the node keeps its configuration, id and spool."},
    {"node-id", OPTION_STRING, AT(node_id), NULL, 0, 0, "", "01890a5d-ac96-774b-bcce-b302099a8057",
     "Identity of the node (UUID); made and kept in the state directory when not given."},
    {"workers", OPTION_U64, AT(workers), "0", 0, 256, "threads", "4",
     "Event loop threads; 0: one per processor."},
    {"max-connections", OPTION_U64, AT(max_connections), "0", 0, 1000000, "connections", "10000",
     "Client connections of the node; 0: what the descriptor limit allows, at most 65536. Never "
     "more "
     "than half of that limit, less a reserve of 256."},
    {"max-requests", OPTION_U64, AT(max_requests), "0", 0, 1000000, "requests", "2000",
     "Requests under way on the node, beyond which more are answered 503; 0: as many as "
     "connections."},
    {"body-max", OPTION_SIZE, AT(body_max_bytes), "32MiB", 1024, 33554432, "bytes", "8MiB",
     "Largest request body."},
    {"forward-early", OPTION_SIZE, AT(forward_early_bytes), "64KiB", 0, 33554432, "bytes", "1MiB",
     "Request bodies larger than this go to their provider while they still come, if they name a "
     "model; 0: none does."},
    {"memory-max", OPTION_SIZE, AT(memory_max_bytes), "0", 0, 0, "bytes", "2GiB",
     "Memory at whose 85 % no request is admitted; 0: three quarters of the machine's."},
    {"spool-max-bytes", OPTION_SIZE, AT(spool_max_bytes), "4GiB", 16777216, 0, "bytes", "4GiB",
     "Largest size of the decision spool on disk."},
    {"stream-buffer", OPTION_SIZE, AT(stream_buffer_bytes), "32KiB", 1024, 16777216, "bytes",
     "32KiB", "Bytes of a stream that wait for its client before its provider is read no further."},
    {"client-unsent-max", OPTION_SIZE, AT(client_unsent_bytes), "16KiB", 0, 16777216, "bytes",
     "16KiB", "Bytes for a client that the kernel takes ahead of sending them; 0: the system's."},
    {"client-send-buffer", OPTION_SIZE, AT(client_send_buffer_bytes), "256KiB", 0, 16777216,
     "bytes", "256KiB",
     "Send buffer of a client's socket: bounds what a peer that acknowledges nothing holds; 0: the "
     "system's."},
    {"audit-strict", OPTION_BOOL, AT(audit_strict), "true", 0, 0, "", "true",
     "Refuse requests rather than lose their records when the spool is full."},
    {"durability", OPTION_STRING, AT(durability), "process", 0, 0, "", "host",
     "What an acknowledged answer survives: the end of the process, or of the host."},
    {"drain-delay", OPTION_DURATION, AT(drain_delay_ms), "10s", 0, 0, "ms", "10s",
     "How long new connections are still accepted after SIGTERM."},
    {"drain-timeout", OPTION_DURATION, AT(drain_timeout_ms), "10m", 0, 0, "ms", "10m",
     "How long running requests may take to end after that."},
    {"head-timeout", OPTION_DURATION, AT(head_timeout_ms), "10s", 1, 0, "ms", "10s",
     "Longest time for a request's head to arrive."},
    {"body-grace", OPTION_DURATION, AT(body_grace_ms), "10s", 1, 0, "ms", "10s",
     "How long a request's body may arrive slower than --body-rate-min."},
    {"body-rate-min", OPTION_SIZE, AT(body_rate_min), "1KiB", 0, 1073741824, "bytes", "1KiB",
     "Bytes a second of a request's body, on average since it began; 0: any rate will do."},
    {"idle-timeout", OPTION_DURATION, AT(idle_timeout_ms), "75s", 1, 0, "ms", "75s",
     "How long a connection may be idle between requests."},
    {"stall-timeout", OPTION_DURATION, AT(stall_timeout_ms), "30s", 1, 0, "ms", "30s",
     "How long a client may take no byte of its answer."},
    {"connection-age", OPTION_DURATION, AT(connection_age_ms), "5m", 0, 0, "ms", "5m",
     "Age at which connections are closed after an answer, +-10 %; 0: never."},
    {"stream-head-after", OPTION_DURATION, AT(stream_head_after_ms), "10s", 1, 0, "ms", "10s",
     "Wait after which a stream's head is sent before its first content."},
    {"keepalive", OPTION_DURATION, AT(keepalive_ms), "15s", 1, 0, "ms", "15s",
     "Silence after which a stream gets a comment."},
    {"request-timeout", OPTION_DURATION, AT(request_timeout_ms), "10m", 1, 0, "ms", "10m",
     "Longest time of a request whose route has no timeout."},
    {"feedback-rate", OPTION_U64, AT(feedback_rate), "200", 1, 1000000, "a second", "200",
     "Feedback taken from one key a second on each worker; more is answered 429."},
    {"budget-pressure-from", OPTION_U64, AT(pressure_from), "50", 0, 100, "percent", "80",
     "Part of a budget beyond which cost weighs more in the choice of a model."},
    {"budget-pressure-factor", OPTION_U64, AT(pressure_factor), "4", 1, 1000, "times", "10",
     "How much more it weighs where the budget is used up; it rises smoothly up to there; 1: never "
     "more."},
    {"access-log", OPTION_BOOL, AT(access_log), "true", 0, 0, "", "false",
     "Write one line a request."},
    {"log-level", OPTION_STRING, AT(log_level), "info", 0, 0, "", "debug",
     "debug, info, warn or error."},
    {"log-format", OPTION_STRING, AT(log_format), "auto", 0, 0, "", "json",
     "json, text, or auto: text on a terminal."},
    {"check-config", OPTION_BOOL, AT(check_config), "false", 0, 0, "", "true",
     "Check the options and exit."},
    {"help", OPTION_BOOL, AT(help), "false", 0, 0, "", "true", "Print this text and exit."},
    {"version", OPTION_BOOL, AT(version), "false", 0, 0, "", "true", "Print the version and exit."},
    {.name = NULL},
};

/* F25: one upstream for each client, and a reserve. */
static uint64_t connections_by_descriptors(void)
{
    uint64_t limit = process_descriptors();
    if (limit <= 2ULL * DESCRIPTOR_RESERVE)
        return CONNECTIONS_LEAST;
    return (limit - DESCRIPTOR_RESERVE) / 2;
}

static void set_connections(struct settings *s)
{
    uint64_t most = connections_by_descriptors();
    if (s->max_connections == 0)
        s->max_connections = most < CONNECTIONS_MAX ? most : CONNECTIONS_MAX;
    if (s->max_connections > most) {
        s->asked_connections = s->max_connections;
        s->max_connections = most;
    }
    if (s->max_connections < s->workers)
        s->max_connections = s->workers;
    if (s->max_requests == 0)
        s->max_requests = s->max_connections;
    if (s->max_requests < s->workers)
        s->max_requests = s->workers;
}

static uint64_t machine_memory(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    return pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
}

static int check_tls(const struct settings *s, struct err *err)
{
    int given = (s->control_cert != NULL) + (s->control_key != NULL) + (s->control_ca != NULL);
    if (given != 0 && given != 3)
        return err_set(err, ERR_INVALID,
                       "--control-cert, --control-key and --control-ca go together: give all three "
                       "or none");
    return 0;
}

int settings_check(struct settings *s, struct err *err)
{
    struct uuid id;
    if (log_parse_level(str_from(s->log_level), &s->level) != 0)
        return err_set(err, ERR_INVALID, "--log-level: '%s' is none of debug, info, warn, error",
                       s->log_level);
    if (log_parse_format(str_from(s->log_format), &s->format) != 0)
        return err_set(err, ERR_INVALID, "--log-format: '%s' is none of auto, json, text",
                       s->log_format);
    s->durability_host = str_is(str_from(s->durability), "host");
    if (!s->durability_host && !str_is(str_from(s->durability), "process"))
        return err_set(err, ERR_INVALID, "--durability: '%s' is none of process, host",
                       s->durability);
    if (s->node_id != NULL && uuid_parse(str_from(s->node_id), &id) != 0)
        return err_set(err, ERR_INVALID, "--node-id: '%s' is no UUID", s->node_id);
    int rc = check_tls(s, err);
    if (rc != 0)
        return rc;
    if (s->workers == 0) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        s->workers = cores > 0 ? (uint64_t)cores : 1;
    }
    set_connections(s);
    if (s->memory_max_bytes == 0)
        s->memory_max_bytes = machine_memory() / 4 * 3;
    return 0;
}
