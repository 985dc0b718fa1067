/* admin.h: the HTTP API of operators, prefix /api/v1, JSON. One table of routes, each with the role
 * it needs (a row without one does not compile); database work runs on worker threads; every change
 * writes its audit row in its own transaction.
 *
 * One credential today: the operator key, `Authorization: Bearer`, compared in constant time;
 * without one configured every request is refused. A change that nodes go by is answered when they
 * have it, or at its limit (spread.h). Without TLS the address must be loopback or a
 * Unix socket unless the caller says otherwise. Loop thread. */
#ifndef STEELYARD_CONTROLPLANE_ADMIN_ADMIN_H
#define STEELYARD_CONTROLPLANE_ADMIN_ADMIN_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "common/base/err.h"
#include "common/base/str.h"
#include "common/crypto/secret.h"
#include "common/net/httpd.h"
#include "controlplane/nodes/nodes.h"
#include "controlplane/release/publish.h"
#include "controlplane/release/train.h"
#include "controlplane/rollout/controller.h"
#include "controlplane/store/work.h"

struct admin;
struct config;
struct spread_stats;

struct admin_config { /* All borrowed until admin_close. */
    const char *address;
    bool allow_remote;        /* An address beyond loopback without TLS. */
    const struct secret *key; /* NULL: closed. */
    struct work *work;
    const char *conninfo; /* For jobs that read with two connections. */
    struct publish *publish;
    struct trainer *trainer;
    const char *replica_id;      /* NULL: "". */
    struct controller *rollouts; /* NULL: none. */
    struct nodes *const *nodes;  /* Points to NULL while the sync server is not up. */
    struct siphash_key draw_key; /* For recomputing decisions. */
    const char *version;
    uint64_t started_mono_ms;
    struct config *const *config;      /* What is in force; NULL, or points to NULL: no file. */
    const uint64_t *label_maturity_ms; /* Unless a training request says otherwise. */
};

int admin_start(uv_loop_t *loop, const struct admin_config *config, struct admin **out_admin,
                struct err *err) MUST_CHECK;
uint16_t admin_port(const struct admin *a);
/* No new connections. Calls go on; admin_busy says how many there still are. */
void admin_drain(struct admin *a);
uint32_t admin_busy(const struct admin *a);
struct spread_stats admin_spread_stats(const struct admin *a);
void admin_close(struct admin *a, httpd_close_cb cb, void *arg);

/* "127.0.0.1:0", "[::1]:1", "localhost:1", "unix:/path": yes. */
bool admin_is_loopback(struct str address);

enum admin_role { ROLE_NONE, ROLE_VIEWER, ROLE_OPERATOR, ROLE_ADMIN };

/* The table of routes, for tests and the reference page; false past the end. */
struct admin_route_facts {
    const char *method, *prefix, *pattern;
    enum admin_role role;      /* The least that may call it. */
    bool scoped;               /* Also for credentials bound to an account, about that alone. */
    const char *const *fields; /* Of the body; NULL: takes none. */
};
bool admin_route_at(size_t i, struct admin_route_facts *out_facts);

#endif
