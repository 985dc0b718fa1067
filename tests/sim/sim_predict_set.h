/* sim_predict_set.h: a recorded set of answers, and policies that decide on its questions and are
 * trained from what they gave. Of sim_predict.c. */
#ifndef STEELYARD_TESTS_SIM_PREDICT_SET_H
#define STEELYARD_TESTS_SIM_PREDICT_SET_H

#include "common/route/policy.h"
#include "controlplane/learn/explain_version.h"
#include "controlplane/learn/pipeline.h"
#include "controlplane/learn/rowfile.h"

#define NANO 1e-9
#define Q16  65536.0

enum purpose { DRAW_SPLIT = 1, DRAW_HALF, DRAW_REQUEST };

struct predict_set {
    const char *name;
    struct rowfile_meta meta;
    struct dataset *data;
    struct dataset_view view;
    int64_t prices[ARTIFACT_MODELS_MAX][2];
    struct features_hasher *hasher;
};
struct predict_policy { /* artifact NULL: priors. */
    struct artifact *artifact;
    struct policy_params params;
    struct explain_version_training training;
};

struct predict_log_entry { /* One decision that was served. */
    uint32_t row;
    uint32_t model;
    double p[POLICY_CANDIDATES_MAX];
    double cost[POLICY_CANDIDATES_MAX]; /* Expected. */
    double quality[POLICY_CANDIDATES_MAX];
};
struct predict_log {
    struct predict_log_entry *entries;
    uint32_t count;
};

extern struct err predict_failure;
extern uint64_t predict_key; /* Of all draws. */

void predict_check(int rc, const char *what);
double predict_draw(uint64_t unit, enum purpose purpose, uint64_t round);
void predict_load_set(const char *directory, struct predict_set *out);
void predict_unload_set(struct predict_set *s);
const struct dataset_cell *predict_label_of(const struct predict_set *s, uint32_t row,
                                            uint32_t model);
double predict_charged(const struct predict_set *s, uint32_t row, uint32_t model);
void predict_decide(const struct predict_set *s, const struct predict_policy *p, uint32_t row,
                    uint64_t round, struct policy_decision *out);
double predict_chance(const struct policy_decision *d, uint32_t m);
void predict_serve(const struct predict_set *s, const struct predict_policy *p,
                   const uint32_t *rows, uint32_t count, uint64_t round, struct predict_log *io);
void predict_add_row(const struct predict_set *s, uint32_t row, const struct predict_log_entry *e,
                     struct dataset *out);
bool predict_train(const struct predict_set *s, const struct dataset *data, const double *targets,
                   struct predict_policy *out);

#endif
