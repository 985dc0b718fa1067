/* train.h: training as a background job: rows from Postgres into controlplane/learn, the result
 * back as a policy version. Runs are asked for on any replica (train_queue.h) and taken by the one
 * that leads LEADER_TRAINER; one at a time, on a thread of its own (runs take seconds to minutes
 * and would starve libuv's pool). Progress is in memory, states are rows of `job`. A run whose
 * leader lost the role ends without a result, and the next leader begins it anew. */
#ifndef STEELYARD_CONTROLPLANE_RELEASE_TRAIN_H
#define STEELYARD_CONTROLPLANE_RELEASE_TRAIN_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "common/base/err.h"
#include "common/base/hash.h"
#include "common/base/str.h"
#include "common/crypto/uuid.h"
#include "controlplane/release/publish.h"

#define TRAIN_NAME_BYTES 65
#define TRAIN_BY_ITSELF  "schedule" /* Actor of a run that nobody asked for. */

enum train_target { TRAIN_QUALITY, TRAIN_FLOOR, TRAIN_SPEND_PER_DAY };
enum train_mode {
    TRAIN_OBSERVED, /* One label per request: of the model that served it. */
    TRAIN_FULL,     /* Several models' labels of one question, joined by its keyed hash. */
};

struct train_request {
    char job[UUID_TEXT_BYTES];
    char policy[TRAIN_NAME_BYTES];
    enum train_target target;
    double value; /* 0..1, or USD a day. */
    enum train_mode mode;
    int64_t since_us; /* 0: from the first row. */
    int64_t until_us; /* 0: now. */
    uint64_t maturity_ms;
    bool promote; /* When all gates are ok. */
    char actor[TRAIN_NAME_BYTES];
    char reason[256];
};

struct train_progress {
    const char *phase; /* Static. */
    uint64_t done;
    uint64_t total;
};

struct trainer_config {
    const char *conninfo;  /* Copied. */
    struct leader *leader; /* Borrowed: runs are this replica's while it leads LEADER_TRAINER. */
    struct work *work;     /* Borrowed, as is the leader. */
    uint32_t hash_key_id;
    struct siphash_key draw_key;                     /* Of the nodes: decisions are recomputed. */
    const struct publish_set *(*current)(void *arg); /* NULL: nothing is published yet. */
    /* Worker thread: a version that passed, of a run that nobody watches, is to go on by evidence.
     * NULL: it stays a candidate. An error is told in the job's message and changes nothing. */
    int (*start_rollout)(void *arg, struct pq_conn *c, const struct publish_actor *actor,
                         struct str policy, uint64_t version, struct str verdict, struct err *err);
    void (*on_published)(void *arg); /* Loop: a version was promoted. */
    void *arg;
};

struct trainer;
int trainer_create(uv_loop_t *loop, const struct trainer_config *config,
                   struct trainer **out_trainer, struct err *err) MUST_CHECK;
/* Something was put in line: look now rather than within a second. */
void trainer_look(struct trainer *t);
/* Of the run with this job id; false: it is not the one under way. */
bool trainer_progress(const struct trainer *t, const char *job,
                      struct train_progress *out_progress);
bool trainer_is_running(const struct trainer *t);
/* A run under way is cancelled; who leads next begins it anew. */
void trainer_close(struct trainer *t, void (*cb)(void *arg), void *arg);

#endif
