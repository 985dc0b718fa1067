/* migrate.h: brings the schema to this program's version and keeps the daily partitions.
 *
 * Migrations are numbered files, embedded at build, forward only, each in its own transaction, all
 * under one advisory lock: safe to run twice and by several programs at once. They expand, they do
 * not break the version before. Blocking: on a worker thread or before the loop runs. */
#ifndef STEELYARD_CONTROLPLANE_STORE_MIGRATE_H
#define STEELYARD_CONTROLPLANE_STORE_MIGRATE_H

#include <stdbool.h>
#include <stdint.h>

#include "controlplane/store/pq.h"

struct migrate_status {
    int version;   /* Of the database; 0: empty. */
    int known_min; /* This program works with known_min..known_max. */
    int known_max;
};

/* Applies what is missing. *out_applied (may be NULL): how many were applied by this call. */
int migrate_run(struct pq_conn *c, int *out_applied, struct err *err) MUST_CHECK;
int migrate_status(struct pq_conn *c, struct migrate_status *out_status,
                   struct err *err) MUST_CHECK;
/* 0 when version is within the known range, else ERR_VERSION. */
int migrate_check(struct pq_conn *c, struct err *err) MUST_CHECK;

struct partitions_config {
    unsigned days_ahead;     /* 7 */
    unsigned retention_days; /* 0: keep for ever. */
};
/* Creates the partitions of yesterday .. today + days_ahead (UTC days of now_us), drops those whose
 * newest row is older than the retention. One caller at a time works, others return at once. */
int partitions_maintain(struct pq_conn *c, const struct partitions_config *config, int64_t now_us,
                        unsigned *out_created, unsigned *out_dropped, struct err *err) MUST_CHECK;
/* Rows that fell into DEFAULT partitions: more than 0 wants an operator's look. */
int partitions_default_rows(struct pq_conn *c, uint64_t *out_rows, struct err *err) MUST_CHECK;

#endif
