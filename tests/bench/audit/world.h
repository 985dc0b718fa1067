/* world.h: a made-up deployment and its decisions, by the encoder of the nodes' own records. Number
 * i always gives the same decision, so that a test knows what it must find.
 *
 * Keys differ in traffic as a power law; traffic follows the hours of a day; a policy gets a new
 * version every four days, rolled out in five stages; a fifth of the requests belong to
 * conversations; 2 % of the free choices are explored. One thread. */
#ifndef STEELYARD_TESTS_BENCH_AUDIT_WORLD_H
#define STEELYARD_TESTS_BENCH_AUDIT_WORLD_H

#include <stdint.h>

#include "common/base/buf.h"
#include "common/crypto/uuid.h"

#define WORLD_KEYS     2000U
#define WORLD_TEAMS    40U
#define WORLD_ORGS     5U
#define WORLD_POLICIES 2U
#define WORLD_MODELS   8U
#define WORLD_KEY(k)   (UINT64_C(100000) + (k))
#define WORLD_TEAM(t)  (UINT64_C(1000) + (t))
#define WORLD_ORG(o)   (UINT64_C(10) + (o))
#define WORLD_DAY_US   INT64_C(86400000000)

struct world {
    uint64_t decisions;
    unsigned days;
    int64_t start_us; /* Midnight, UTC. */
    double key_weight[WORLD_KEYS + 1];
};
void world_init(struct world *w, uint64_t decisions, unsigned days, int64_t now_us);

unsigned world_versions(const struct world *w); /* Of each policy. */
/* Hex of the hash that stands in decisions of a version (from 1). */
void world_params_hex(unsigned policy, unsigned version, char out[65]);
uint64_t world_rollout_id(const struct world *w, unsigned policy, unsigned version);

struct world_facts {
    struct uuid id;
    int64_t ts_us;
    unsigned key, policy, version; /* version 0: a model was named. */
    bool off_greedy, elsewhere, excluded;
};
/* Appends record i to a packed RecordList, and a vote on it for one in fifty. *io_count: records.
 */
void world_add(const struct world *w, uint64_t i, struct buf *list, uint32_t *io_count,
               struct world_facts *out_facts);

#endif
