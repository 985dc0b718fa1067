/* settings.h: the options of steelyard-dataplane, one table. Everything else a node needs comes
 * over the control stream. */
#ifndef STEELYARD_DATAPLANE_SETTINGS_H
#define STEELYARD_DATAPLANE_SETTINGS_H

#include "common/base/log.h"
#include "common/base/options.h"

struct settings {
    bool help;
    bool version;
    bool check_config;
    const char *listen;
    const char *metrics_listen;
    const char *control;
    const char *control_cert;
    const char *control_key;
    const char *control_ca;
    const char *state_dir;
    const char *node_id;
    const char *log_level;
    const char *log_format;
    const char *durability;
    bool audit_strict;
    bool access_log;
    uint64_t workers;
    uint64_t max_connections;
    uint64_t body_max_bytes;
    uint64_t forward_early_bytes;
    uint64_t memory_max_bytes;
    uint64_t spool_max_bytes;
    uint64_t max_requests;
    uint64_t stream_buffer_bytes;
    uint64_t client_unsent_bytes;
    uint64_t client_send_buffer_bytes;
    uint64_t body_rate_min;
    uint64_t drain_delay_ms;
    uint64_t drain_timeout_ms;
    uint64_t head_timeout_ms;
    uint64_t body_grace_ms;
    uint64_t idle_timeout_ms;
    uint64_t stall_timeout_ms;
    uint64_t connection_age_ms;
    uint64_t stream_head_after_ms;
    uint64_t keepalive_ms;
    uint64_t request_timeout_ms;
    uint64_t pressure_from;
    uint64_t pressure_factor;
    uint64_t feedback_rate;
    /* Worked out from the above. */
    enum log_level level;
    enum log_format format;
    bool durability_host;
    uint64_t asked_connections; /* More than there are descriptors for; 0: no. */
};
extern const struct option_row settings_table[];

/* Checks what the table cannot, and fills the last members; no side effects. */
int settings_check(struct settings *s, struct err *err) MUST_CHECK;

#endif
