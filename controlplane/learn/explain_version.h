/* explain_version.h: what a policy version would change, from recorded decisions that were
 * recomputed with it: share by model, churn and its largest flows, expected cost and quality with
 * intervals.
 *
 * Cost. The version's own expectation of a call is corrected by model: k(m) = sum of what calls of
 * m cost / sum of what was expected of them, each call weighted by 1 / its propensity. So a head
 * that errs by a factor, an estimate of tokens that errs by a factor, and failed attempts are right
 * on average. On top of it stands the doubly robust estimate (estimate.h) with the actual cost as
 * the reward; a choice that had no alternative and that the version would repeat is its own
 * evidence. Quality. The same with scores, without k.
 *
 * Learned rows. On rows that a version has learned from it chooses what it knows to have gone well;
 * on others it cannot. Training measured by how much that makes it dearer (optimism.h), and of
 * quality the difference to rows left out: by that what such rows say is corrected.
 *
 * Joining. The version's word and the doubly robust correction are joined by their errors: of the
 * word, how little the calls behind its factors say. So are what the rows say that the version has
 * not learned from and what training measured. Two that are further apart than chance explains are
 * joined the less, in favour of the one that assumes less (random effects, DerSimonian and Laird
 * 1986): where a length model errs calls say so, where requests have changed the rows do. The
 * interval holds how far apart they are.
 *
 * Pure but for its own memory; one thread at a time. */
#ifndef STEELYARD_CONTROLPLANE_LEARN_EXPLAIN_VERSION_H
#define STEELYARD_CONTROLPLANE_LEARN_EXPLAIN_VERSION_H

#include "common/base/str.h"
#include "controlplane/learn/estimate.h"

#define EXPLAIN_VERSION_ROWS_MAX 50000
#define EXPLAIN_VERSION_MODELS   64
#define EXPLAIN_VERSION_TASKS    32 /* Reported apart; further ones together. */
#define EXPLAIN_VERSION_FLOWS    16
#define EXPLAIN_VERSION_OVERLAP  0.95 /* Part of the choices that the records may know about. */
#define EXPLAIN_VERSION_NONE     UINT32_MAX

/* What one policy makes of a row, by arm. */
struct explain_version_side {
    const double *p;    /* Chance of each arm; sums to 1. */
    const double *cost; /* Expected, USD; NAN: unknown price, counts as 0. */
    const double *quality;
};
struct explain_version_row { /* Borrowed for the call. */
    uint64_t unit;
    struct str task; /* The caller's tag; may be empty. */
    uint32_t arms;   /* 1..EXPLAIN_VERSION_MODELS */
    const struct str *models;
    const double *recorded_p; /* As it was decided. */
    struct explain_version_side now;
    struct explain_version_side then;
    bool learned;      /* `then` may have learned from it. */
    bool evidence;     /* served is what was chosen, and what it gave counts. */
    uint32_t served;   /* Arm, or EXPLAIN_VERSION_NONE. */
    double cost;       /* Of the request, USD; NAN: not known. */
    double score;      /* NAN: none. */
    double label_prob; /* Chance with which the score was asked for; 1 without one. */
};

struct explain_version;
/* now_recorded: `now` is what was recorded, so that its cost and quality are sums and no estimates.
 */
int explain_version_create(bool now_recorded, struct explain_version **out) MUST_CHECK;
void explain_version_destroy(struct explain_version *x);
/* ERR_LIMIT: more than EXPLAIN_VERSION_ROWS_MAX rows or EXPLAIN_VERSION_MODELS models; ERR_INVALID;
 * ERR_NOMEM. */
int explain_version_add(struct explain_version *x,
                        const struct explain_version_row *row) MUST_CHECK;
/* What training found out about `then`, on rows left out. */
struct explain_version_training {
    double cost_ratio;     /* Cost on other rows over that on the rows it has learned from ... */
    double ratio_error;    /* ... and the standard error of its logarithm. */
    double quality_excess; /* Mean quality likewise, own less left out. */
    double cost;           /* On other rows, USD a request; 0: not known. */
    double error;          /* Standard error, a part of it. */
};
void explain_version_trained(struct explain_version *x,
                             const struct explain_version_training *training);
/* A call of a model that somebody named: it tells what calls of it cost, and nothing else.
 * expected_now and expected_then: by both policies, USD. A model that is in no row is left out. */
void explain_version_call(struct explain_version *x, struct str model, double cost,
                          double expected_now, double expected_then);

enum explain_version_basis {
    EXPLAIN_RECORDED, /* A sum over what was. */
    EXPLAIN_DR,
    EXPLAIN_MIXED, /* Doubly robust where records know the choice, the model's word elsewhere. */
    EXPLAIN_MODEL, /* The model's word: NO_SUPPORT. */
};
const char *explain_version_basis_name(enum explain_version_basis basis);

struct explain_version_figure {
    struct estimate_value of; /* USD a request, or quality; NAN: nothing is known. */
    enum explain_version_basis basis;
    struct estimate_value direct;    /* The model's word, ... */
    struct estimate_value corrected; /* ... and doubly robust. */
    double ess;
    double weight_share;
    double overlap; /* Part of the choices that had a chance when they were recorded. */
    uint32_t rows;  /* That bear evidence. */
};
struct explain_version_model {
    struct str name;
    double share_now;
    double share_then;
    double factor;  /* k(m) of the version. */
    uint32_t calls; /* Behind it. */
};
struct explain_version_flow {
    uint32_t from;
    uint32_t to;
    double share; /* Of rows; of the likeliest choices. */
};
struct explain_version_task {
    struct str name; /* Empty: without a tag, and those beyond the table. */
    uint32_t rows;
    double churn;
    double cost_now;
    double cost_then;
    double quality_now;
    double quality_then;
};
struct explain_version_result { /* Names point into x. */
    uint32_t rows;
    uint32_t units;
    uint32_t learned; /* Rows that `then` may have learned from. */
    double
        optimism; /* Part by which its choices cost more on other rows, as training measured it, */
    double optimism_error; /* with its standard error. */
    double churn;          /* Rows whose likeliest choice is another. */
    struct explain_version_figure cost_now;
    struct explain_version_figure cost_then;
    struct explain_version_figure quality_now;
    struct explain_version_figure quality_then;
    uint32_t model_count;
    struct explain_version_model model[EXPLAIN_VERSION_MODELS];
    uint32_t flow_count;
    struct explain_version_flow flow[EXPLAIN_VERSION_FLOWS]; /* Largest first. */
    uint32_t task_count;
    struct explain_version_task task[EXPLAIN_VERSION_TASKS + 1]; /* Largest first. */
};
/* ERR_INVALID without rows; ERR_NOMEM. */
int explain_version_finish(struct explain_version *x, uint32_t bootstraps,
                           struct explain_version_result *out) MUST_CHECK;

#endif
