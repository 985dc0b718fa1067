/* settings.h: the options of steelyard-controlplane, one table. What is pushed to nodes comes from
 * --config and from operators. */
#ifndef STEELYARD_CONTROLPLANE_SETTINGS_H
#define STEELYARD_CONTROLPLANE_SETTINGS_H

#include "common/base/log.h"
#include "common/base/options.h"

struct settings {
    bool help;
    bool version;
    bool check_config;
    const char *config;
    const char *database;
    const char *listen;
    const char *sync_listen;
    const char *metrics_listen;
    const char *state_dir;
    const char *sync_cert;
    const char *sync_key;
    const char *sync_ca;
    const char *etcd;
    const char *etcd_ca;
    const char *etcd_cert;
    const char *etcd_key;
    uint64_t etcd_ttl_ms;
    const char *replica_id;
    const char *hash_key_file; /* NULL: hash.key of the state directory. */
    const char *operator_key;  /* From the environment; NULL: the state directory's file. */
    const char *log_level;
    const char *log_format;
    bool allow_remote_admin;
    bool auto_migrate;
    bool config_watch;
    const char *retention_text; /* NULL: not given, the configuration file says it. */
    uint64_t attempt_days;      /* 0: as decisions. */
    uint64_t feedback_days;     /* The same. */
    bool private_webhooks;
    uint64_t ingest_connections;
    uint64_t drain_delay_ms;
    uint64_t drain_timeout_ms;
    uint64_t wave_healthy_ms;
    uint64_t evidence_interval_ms;
    /* Worked out from the above. */
    uint64_t retention_days; /* Of retention_text. */
    enum log_level level;
    enum log_format format;
};
extern const struct option_row settings_table[];

/* Checks what the table cannot, and fills the last members; no side effects. */
int settings_check(struct settings *s, struct err *err) MUST_CHECK;

/* How long decisions are kept; 0: for ever. The option wins, then what the configuration file says
 * (0: there is none), then 395 days. */
uint64_t settings_retention_days(const struct settings *s, uint64_t of_file);

#endif
