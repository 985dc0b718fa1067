/* cluster.h: the private PostgreSQL of `serve`: where it lives, how it is made once, how it is
 * started and found again. On a Unix socket only; the packaged cluster is never touched. */
#ifndef STEELYARD_CONTROLPLANE_CTL_CLUSTER_H
#define STEELYARD_CONTROLPLANE_CTL_CLUSTER_H

#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

#include "common/base/err.h"

#define CLUSTER_PATH_BYTES 4096
/* Only names the socket file: there is no TCP listener. */
#define CLUSTER_PORT       5469

struct child;
struct cluster {
    char data[CLUSTER_PATH_BYTES];  /* STATE/postgres/data */
    char fresh[CLUSTER_PATH_BYTES]; /* ... while it is being made. */
    char socket_dir[CLUSTER_PATH_BYTES];
    char bin[CLUSTER_PATH_BYTES]; /* Directory of initdb and postgres. */
    bool as_owner;                /* We are root: run as uid, gid. */
    uid_t uid;
    gid_t gid;
    bool exists; /* The data directory was made by an earlier run. */
};

/* Finds programs and owner, makes directories. Errors name what to do. */
int cluster_init(struct cluster *cl, const char *state_dir, struct err *err) MUST_CHECK;
/* initdb and the database, in a fresh directory that is renamed at the end: a crash half-way leaves
 * nothing that looks finished. Runs the loop until done; *stopping (set by a signal on the same
 * loop) ends it early. */
int cluster_create(struct cluster *cl, uv_loop_t *loop, const bool *stopping,
                   struct err *err) MUST_CHECK;
int cluster_args(const struct cluster *cl, struct child *c) MUST_CHECK;
pid_t cluster_running(const struct cluster *cl); /* 0: none. */
/* Postgres writes "ready" into its pid file once it takes connections. */
bool cluster_ready(const struct cluster *cl, pid_t pid);
int cluster_conninfo(const struct cluster *cl, char *out, size_t out_bytes) MUST_CHECK;

#endif
