/* notices.h: thresholds of budgets that were crossed, and the messages about them. Each threshold
 * (the budget's warn_permille, and the limit itself) is noticed once in a period; its message is
 * queued in the same transaction, exactly once, and delivered at least once: its id tells
 * repetitions apart. Blocking; worker thread. */
#ifndef STEELYARD_CONTROLPLANE_SPEND_NOTICES_H
#define STEELYARD_CONTROLPLANE_SPEND_NOTICES_H

#include <stdint.h>

#include "controlplane/store/pq.h"

#define NOTICE_TRIES_MAX 14
#define NOTICE_CLAIM_MAX 8

struct notice {
    char id[40];
    char *url; /* Owned, as is body. */
    char *body;
    int64_t attempts; /* With the one that begins. */
};

/* Notices what was crossed; *out_count new ones. */
int notices_scan(struct pq_conn *c, int64_t *out_count, struct err *err) MUST_CHECK;
/* Up to NOTICE_CLAIM_MAX that are due. They are nobody else's until their next try is due, which
 * comes after retry_first_ms, then twice that, ... at most an hour. */
int notices_claim(struct pq_conn *c, uint64_t retry_first_ms, struct notice out[NOTICE_CLAIM_MAX],
                  unsigned *out_count, struct err *err) MUST_CHECK;
/* problem NULL: it was delivered. */
int notices_done(struct pq_conn *c, const char *id, const char *problem,
                 struct err *err) MUST_CHECK;
void notice_deinit(struct notice *n);

#endif
