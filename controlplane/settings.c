#include "controlplane/settings.h"

#include "common/base/str.h"

#define RETENTION_DAYS     395U
#define RETENTION_DAYS_MAX 36500U

#define AT(member) offsetof(struct settings, member)

const struct option_row settings_table[] = {
    {"config", OPTION_STRING, AT(config), NULL, 0, 0, "", "/etc/steelyard/steelyard.yaml",
     "Configuration file: providers, models, routes, policies; read again on SIGHUP."},
    {"config-watch", OPTION_BOOL, AT(config_watch), "false", 0, 0, "", "true",
     "Read the configuration file again when it was replaced, as where it is mounted from a "
     "ConfigMap; a bad one keeps the old."},
    {"database", OPTION_STRING, AT(database), NULL, 0, 0, "", "postgresql://steelyard@db/steelyard",
     "Postgres, as libpq keywords or URI; without it store.postgres of the file."},
    {"auto-migrate", OPTION_BOOL, AT(auto_migrate), "true", 0, 0, "", "false",
     "Bring the schema up to date at start; otherwise `migrate` must have done it."},
    {"listen", OPTION_STRING, AT(listen), "127.0.0.1:8090", 0, 0, "", "127.0.0.1:8090",
     "Address of the admin API."},
    {"allow-remote-admin", OPTION_BOOL, AT(allow_remote_admin), "false", 0, 0, "", "true",
     "Let --listen be an address beyond loopback; something in front must then end TLS."},
    {"sync-listen", OPTION_STRING, AT(sync_listen), "127.0.0.1:8091", 0, 0, "", "0.0.0.0:8091",
     "Address for nodes (gRPC); beyond loopback only with the three files below."},
    {"sync-cert", OPTION_STRING, AT(sync_cert), NULL, 0, 0, "", "/etc/steelyard/tls/tls.crt",
     "Certificate towards nodes (PEM)."},
    {"sync-key", OPTION_STRING, AT(sync_key), NULL, 0, 0, "", "/etc/steelyard/tls/tls.key",
     "Its private key (PEM)."},
    {"sync-ca", OPTION_STRING, AT(sync_ca), NULL, 0, 0, "", "/etc/steelyard/tls/ca.crt",
     "CA that nodes' certificates must come from (PEM)."},
    {"etcd", OPTION_STRING, AT(etcd), NULL, 0, 0, "", "http://127.0.0.1:2379,http://10.0.0.2:2379",
     "Endpoints of etcd, for several control planes on one database: they elect who trains, rolls "
     "out, shares rates and keeps house. Without it this one leads everything."},
    {"etcd-ca", OPTION_STRING, AT(etcd_ca), NULL, 0, 0, "", "/etc/steelyard/etcd/ca.crt",
     "CA of etcd's certificates (PEM); without it the system's."},
    {"etcd-cert", OPTION_STRING, AT(etcd_cert), NULL, 0, 0, "", "/etc/steelyard/etcd/tls.crt",
     "Certificate towards etcd (PEM)."},
    {"etcd-key", OPTION_STRING, AT(etcd_key), NULL, 0, 0, "", "/etc/steelyard/etcd/tls.key",
     "Its private key (PEM)."},
    {"etcd-ttl", OPTION_DURATION, AT(etcd_ttl_ms), "10s", 1000, 60000, "ms", "10s",
     "How long etcd waits for a silent leader before another one is elected; whole seconds. The "
     "leader itself stops after seven tenths."},
    {"replica-id", OPTION_STRING, AT(replica_id), NULL, 0, 0, "", "steelyard-control-0",
     "Name of this control plane among the others; without it host name and process id."},
    {"metrics-listen", OPTION_STRING, AT(metrics_listen), "127.0.0.1:9464", 0, 0, "",
     "0.0.0.0:9464", "Address of probes and metrics."},
    {"state-dir", OPTION_STRING, AT(state_dir), "/var/lib/steelyard", 0, 0, "",
     "/var/lib/steelyard", "Where the deployment key and the operator key are kept."},
    {"hash-key-file", OPTION_STRING, AT(hash_key_file), NULL, 0, 0, "",
     "/etc/steelyard/keys/encryption-key",
     "File with the deployment's root key, 32 bytes or 64 hex digits, the same for every replica. "
     "Without it the state directory's hash.key, made at the first start."},
    {"operator-key", OPTION_STRING, AT(operator_key), NULL, 0, 0, "", "sk-op-...",
     "Key of the admin API; better given as STEELYARD_OPERATOR_KEY than as a flag. Without it the "
     "state directory's operator.key, made at the first start."},
    {"retention-days", OPTION_STRING, AT(retention_text), NULL, 0, 0, "days", "395",
     "How many days decisions are kept, 0 to 36500; 0: for ever. Without it store.retention of the "
     "configuration file, 395 days."},
    {"retention-attempt-days", OPTION_U64, AT(attempt_days), "0", 0, 36500, "days", "90",
     "How long attempts are kept; 0: as long as decisions."},
    {"retention-feedback-days", OPTION_U64, AT(feedback_days), "0", 0, 36500, "days", "395",
     "How long feedback is kept; 0: as long as decisions."},
    {"ingest-connections", OPTION_U64, AT(ingest_connections), "4", 1, 32, "connections", "4",
     "Connections to Postgres for telemetry."},
    {"private-webhooks", OPTION_BOOL, AT(private_webhooks), "false", 0, 0, "", "true",
     "Let budgets' webhooks be at loopback and private addresses, and there without TLS."},
    {"wave-healthy", OPTION_DURATION, AT(wave_healthy_ms), "30s", 1, 3600000, "ms", "30s",
     "Time that a rollout's candidate must have served on one node before a tenth of them get it, "
     "and there before all do."},
    {"evidence-interval", OPTION_DURATION, AT(evidence_interval_ms), "5m", 100, 3600000, "ms", "5m",
     "How often the trainer's leader looks at each policy: spend and exploration every time, "
     "training again every second time, drift every twelfth."},
    {"drain-delay", OPTION_DURATION, AT(drain_delay_ms), "0s", 0, 600000, "ms", "10s",
     "How long nodes and admin requests are still let in after SIGTERM, while load balancers learn "
     "that this control plane is not ready. Its roles are given up at once."},
    {"drain-timeout", OPTION_DURATION, AT(drain_timeout_ms), "15s", 0, 600000, "ms", "15s",
     "How long running admin requests and batches may take to end after SIGTERM."},
    {"log-level", OPTION_STRING, AT(log_level), "info", 0, 0, "", "info",
     "debug, info, warn or error."},
    {"log-format", OPTION_STRING, AT(log_format), "auto", 0, 0, "", "json", "auto, json or text."},
    {"check-config", OPTION_BOOL, AT(check_config), "false", 0, 0, "", "true",
     "Check options and configuration file, and end."},
    {"version", OPTION_BOOL, AT(version), "false", 0, 0, "", "true", "Print the version and end."},
    {"help", OPTION_BOOL, AT(help), "false", 0, 0, "", "true", "Print this and end."},
    {0},
};

uint64_t settings_retention_days(const struct settings *s, uint64_t of_file)
{
    if (s->retention_text != NULL)
        return s->retention_days;
    return of_file != 0 ? of_file : RETENTION_DAYS;
}

int settings_check(struct settings *s, struct err *err)
{
    if (s->retention_text != NULL &&
        str_parse_u64(str_from(s->retention_text), RETENTION_DAYS_MAX, &s->retention_days) != 0)
        return err_set(err, ERR_INVALID,
                       "--retention-days: '%s' is not a number of days from 0 to 36500, e.g. 395",
                       s->retention_text);
    if (log_parse_level(str_from(s->log_level), &s->level) != 0)
        return err_set(err, ERR_INVALID, "--log-level: '%s' is not debug, info, warn or error",
                       s->log_level);
    if (log_parse_format(str_from(s->log_format), &s->format) != 0)
        return err_set(err, ERR_INVALID, "--log-format: '%s' is not auto, json or text",
                       s->log_format);
    bool some = s->sync_cert != NULL || s->sync_key != NULL || s->sync_ca != NULL;
    bool all = s->sync_cert != NULL && s->sync_key != NULL && s->sync_ca != NULL;
    if (some && !all)
        return err_set(err, ERR_INVALID,
                       "--sync-cert, --sync-key and --sync-ca go together: give all three");
    if ((s->etcd_cert != NULL) != (s->etcd_key != NULL))
        return err_set(err, ERR_INVALID, "--etcd-cert and --etcd-key go together: give both");
    if (s->etcd_ttl_ms % 1000 != 0)
        return err_set(err, ERR_INVALID, "--etcd-ttl: etcd counts in whole seconds, e.g. 10s");
    return 0;
}
