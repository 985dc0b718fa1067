/* training_store.h: labelled decisions for training, streamed from one snapshot of the database in
 * an order that depends on the rows alone. Worker thread. */
#ifndef STEELYARD_CONTROLPLANE_STORE_TRAINING_STORE_H
#define STEELYARD_CONTROLPLANE_STORE_TRAINING_STORE_H

#include "controlplane/store/pq.h"

enum training_order {
    TRAINING_BY_TIME,     /* ts, node, epoch, seq */
    TRAINING_BY_QUESTION, /* text_hash first, so that answers to one question stand together. */
};

struct training_row { /* Borrowed for the callback. */
    int64_t ts_us;
    struct str detail;    /* Packed telemetry.Decision. */
    struct str text_hash; /* May be empty. */
    struct str source;    /* Of the label: the best of eval, judge, thumb, implicit. */
    int32_t score_q16;
    double label_prob; /* Chance with which it was asked for. */
};
/* Non-zero ends the stream and is returned. */
typedef int (*training_row_cb)(void *arg, const struct training_row *row);

struct training_query {
    int64_t since_us;
    int64_t until_us;
    int64_t label_before_us;  /* Labels received later are left to the next run. */
    const struct str *routes; /* BY_TIME: only these; count 0: all. */
    size_t route_count;
    enum training_order order;
};
int training_stream(struct pq_conn *c, const struct training_query *query, training_row_cb cb,
                    void *arg, struct err *err) MUST_CHECK;

#endif
