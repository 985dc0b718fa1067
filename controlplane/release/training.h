/* training.h: one training run of one policy: labelled decisions from Postgres in, a stored policy
 * version out.
 *
 * Rows are read in one REPEATABLE READ snapshot and in a fixed order, so the same rows give the
 * same data digest and the same artifact. Blocking, for seconds to minutes: on a thread of its own
 * with a connection of its own, never on a loop or in the admin's pool. */
#ifndef STEELYARD_CONTROLPLANE_RELEASE_TRAINING_H
#define STEELYARD_CONTROLPLANE_RELEASE_TRAINING_H

#include <stdbool.h>
#include <stdint.h>

#include "controlplane/learn/pipeline.h"
#include "controlplane/release/publish.h"

enum training_mode {
    /* What the policy's routes decided, one answer a question, weighted by its propensity. */
    TRAINING_OBSERVED,
    /* Every answer of one of the policy's models, pinned ones too; answers to the same text are one
     * row with several labels. */
    TRAINING_FULL,
};
/* "observed" or "full"; ERR_INVALID. */
int training_mode_parse(struct str text, enum training_mode *out_mode) MUST_CHECK;

struct training_request { /* Borrowed for the call. */
    struct str policy;
    enum training_mode mode;
    struct learn_target target;
    struct str target_json; /* Kept with the version. */
    int64_t since_us;       /* 0: from the first row. */
    int64_t until_us;       /* Rows before this; ages are counted from here. Not 0. */
    uint32_t hash_key_id;   /* Rows with features of another key are passed over. */
    bool promote;           /* When all gates are passed. */
    const struct publish_actor *actor;
    learn_progress_cb on_progress; /* On the calling thread; false cancels. May be NULL. */
    void *progress_data;
};

struct training_result {
    uint64_t version;
    uint64_t rows; /* Labelled decisions read. */
    bool gates_ok; /* false: stored as rejected, with the reasons in its report. */
    bool promoted;
    uint64_t generation; /* When promoted. */
};

/* ERR_NOT_FOUND: no route uses the policy; ERR_INVALID: too few labelled rows (err says how many
 * there are and how to get more); ERR_RANGE: the target cannot be reached (err says what can);
 * ERR_CANCELED; errors of pq.h. Nothing is stored on error. */
int training_run(struct pq_conn *c, const struct training_request *request,
                 struct training_result *out_result, struct err *err) MUST_CHECK;

/* --- inside: what a policy chooses from, and its rows ------------------------------------------
 */

struct training_scope {
    char **models; /* Ids, in the order of the first route that names them. */
    uint32_t model_count;
    char **routes; /* That use the policy. */
    uint32_t route_count;
    struct learn_model *facts; /* By model. */
};
int training_scope_read(struct pq_conn *c, struct str policy, int64_t now_us,
                        struct training_scope *out_scope, struct err *err) MUST_CHECK;
void training_scope_deinit(struct training_scope *s);

int training_rows_read(struct pq_conn *c, const struct training_request *request,
                       const struct training_scope *scope, struct dataset *out_data,
                       uint64_t *out_read, struct err *err) MUST_CHECK;

#endif
