/* intake_print.h: what answers said that made them, summed over a transaction by model, deployment
 * and fingerprint. Private to controlplane/ingest. */
#ifndef STEELYARD_CONTROLPLANE_INGEST_INTAKE_PRINT_H
#define STEELYARD_CONTROLPLANE_INGEST_INTAKE_PRINT_H

#include "common/base/arena.h"
#include "common/base/map.h"
#include "controlplane/store/pq.h"
#include "telemetry.pb-c.h"

struct intake_prints {
    struct arena *arena; /* Borrowed. */
    struct map sums;
    struct pq_copy copy; /* Rows of print_in. */
};
void intake_prints_init(struct intake_prints *p, struct arena *arena, size_t max_bytes);
void intake_prints_deinit(struct intake_prints *p);
/* Before the arena is. */
void intake_prints_reset(struct intake_prints *p);
/* An attempt that says something. server: of the record. */
int intake_prints_add(struct intake_prints *p, struct str model, struct str server, int64_t ts_us,
                      const Steelyard__Telemetry__V1__Attempt *a) MUST_CHECK;
int intake_prints_finish(struct intake_prints *p) MUST_CHECK;

/* print_in, and from there to the table `fingerprint`. A row is written at most once a minute, once
 * it is established: no transaction waits for another's. What providers make up anew for each
 * request stops at 256 rows of a deployment. */
#define INTAKE_PRINTS_SETUP                                                                        \
    "CREATE TEMP TABLE print_in (model text, server text, print bigint, text text, "               \
    "first timestamptz, last timestamptz, requests bigint) ON COMMIT DELETE ROWS"
extern const char intake_prints_sql[];

#endif
