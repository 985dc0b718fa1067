/* crossfit.h: K-fold cross-fitting. Every evaluated row gets predictions from weights that have
 * seen neither it nor any other row of its unit; with them the strength of the linear quality part
 * is chosen, by what counts in the end: the area under the curve of quality over cost. A linear
 * part fitted too freely predicts each score better and still routes worse, because the best of
 * many noisy guesses is the luckiest one (winner's curse). */
#ifndef STEELYARD_CONTROLPLANE_LEARN_CROSSFIT_H
#define STEELYARD_CONTROLPLANE_LEARN_CROSSFIT_H

#include "controlplane/learn/heads.h"
#include "controlplane/learn/outcome.h"
#include "controlplane/learn/quantise.h"

#define CROSSFIT_FOLDS_MAX 10
#define CROSSFIT_ROWS_MAX  40000 /* Evaluated; further rows are only trained on. */
#define CROSSFIT_TRAIN_ALL UINT8_MAX
#define CROSSFIT_DELTAS    4 /* Penalties of u_m that are tried ... */
#define CROSSFIT_GAINS     5 /* ... and shares of the linear part. */
double crossfit_delta(uint32_t index);
double crossfit_gain(uint32_t index);

struct crossfit_config {
    double shared_penalty;
    double delta_penalty;
    double gain;
};

struct crossfit {
    uint32_t fold_count;
    uint8_t *fold;  /* By row of the view; CROSSFIT_TRAIN_ALL: never left out. */
    uint32_t *rows; /* Evaluated rows of the view, ascending. */
    uint32_t row_count;
    uint32_t model_count;
    struct heads heads[CROSSFIT_FOLDS_MAX];
    struct artifact *artifacts[CROSSFIT_FOLDS_MAX]; /* After crossfit_quantise. */
    float *table;                                   /* [row_count][model_count], logits */
    float *linear[CROSSFIT_DELTAS];                 /* Same, by penalty, without gain. */
    float *tokens;                                  /* Expected output tokens. */
    int32_t *z;                                     /* By the integer engine. */
    uint32_t *out_tok;
    struct outcome outcome;
    struct crossfit_config chosen;
    double aiq[CROSSFIT_DELTAS]
              [CROSSFIT_GAINS]; /* Held-out area by penalty and gain, best model = 1. */
};

/* Called before each of crossfit_steps() fits; false cancels. */
typedef bool (*crossfit_step_cb)(void *data);
uint32_t crossfit_steps(uint32_t fold_count);

struct crossfit_input {
    const struct fit_design *design;
    const struct heads_prior *priors;
    const int64_t (*prices)[2];
    const struct str *models;
    uint32_t folds; /* 0: by the number of rows. */
    crossfit_step_cb on_step;
    fit_continue_fn keep_going;
    void *data; /* Of both. */
};
uint32_t crossfit_fold_count(uint32_t rows, uint32_t wanted);
/* Runs everything up to z and out_tok. The caller calls crossfit_deinit in any case. */
int crossfit_run(const struct crossfit_input *input, struct crossfit *out,
                 struct err *err) MUST_CHECK;
void crossfit_deinit(struct crossfit *c);

#endif
