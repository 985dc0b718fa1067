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

enum partitions_event {
    PARTITIONS_ADOPTED,  /* Rows moved from DEFAULT into the day they belong to. */
    PARTITIONS_DETACHED, /* No query sees it any more. */
    PARTITIONS_DROPPED,
    PARTITIONS_IN_USE, /* Left to the next run: something holds it. */
};
/* The calling thread. rows is the server's estimate; 0: not told. */
typedef void (*partitions_event_cb)(void *arg, enum partitions_event event, const char *name,
                                    uint64_t rows, uint64_t bytes);
struct partitions_config {
    unsigned days_ahead;     /* 7 */
    unsigned retention_days; /* Of decisions; 0: keep for ever. */
    unsigned attempt_days;   /* Of the others; 0: as decisions. */
    unsigned feedback_days;
    partitions_event_cb on_event; /* May be NULL. */
    void *arg;
};
/* Creates the partitions of yesterday .. today + days_ahead (UTC days of now_us), gives rows in
 * DEFAULT partitions days of their own, detaches and drops days that lie wholly before the
 * retention; each has a row in audit_log. One caller at a time works, others return at once. */
int partitions_maintain(struct pq_conn *c, const struct partitions_config *config, int64_t now_us,
                        unsigned *out_created, unsigned *out_dropped, struct err *err) MUST_CHECK;
/* How many days after today have partitions, of the table with the fewest. */
int partitions_days_ahead(struct pq_conn *c, int64_t now_us, uint64_t *out_days,
                          struct err *err) MUST_CHECK;
/* Rows that fell into DEFAULT partitions: more than 0 wants an operator's look. */
int partitions_default_rows(struct pq_conn *c, uint64_t *out_rows, struct err *err) MUST_CHECK;

#endif
