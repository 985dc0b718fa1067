/* look_fixture.h: a policy with a version in service and a candidate, a rollout of it, and traffic
 * as nodes would report it, as rows: for tests of folds and looks on a clock of integers. */
#ifndef STEELYARD_TESTS_LOOK_FIXTURE_H
#define STEELYARD_TESTS_LOOK_FIXTURE_H

#include "controlplane/ingest/intake_canary.h"
#include "controlplane/rollout/look.h"
#include "tests/unit/controlplane/fixture.h"

#define T0 INT64_C(1795233600000000)
#define S  INT64_C(1000000)

extern struct leader_claim look_claim;
extern const struct publish_actor look_person;

/* A cluster, a database, and the role of the claim. */
int look_setup(void **state, const char *database);
uint64_t look_store_version(struct pq_conn *c, const char *name, const char *artifact);
void look_make_policy(struct pq_conn *c, const char *name);
void look_short_plan(struct rollout_plan *plan);
int64_t look_start(struct pq_conn *c, const char *policy, const struct rollout_plan *plan,
                   int64_t now_us);

struct traffic {
    double error_rate[2], cost[2], quality[2]; /* Stable, candidate. */
    bool votes;
};
extern const struct traffic look_alike;
/* n requests of as many users as `units`, as they would be in the rollout's present stage. */
void look_add_traffic(struct pq_conn *c, int64_t id, const struct traffic *t, unsigned n,
                      unsigned units);
struct look_result look_now(struct pq_conn *c, int64_t id, int64_t now_us);
/* One number; in `format` the table x has the rollout's id. */
int64_t look_value(struct pq_conn *c, const char *format, int64_t id);

#endif
