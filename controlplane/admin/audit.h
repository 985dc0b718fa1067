/* audit.h: what the two halves of the audit questions share: audit.c asks decisions, audit_books.c
 * the books (money, rollouts, the log). Each question is one or a few statements over an index that
 * holds little more than its answer; docs/audit.md has their times and plans. */
#ifndef STEELYARD_CONTROLPLANE_ADMIN_AUDIT_H
#define STEELYARD_CONTROLPLANE_ADMIN_AUDIT_H

#include "controlplane/admin/call.h"

/* A range of decisions and a place in it. The time in an id is the decision's own, so a range of
 * time is a range of ids as well, and both an index and the partitions can use it. */
struct audit_range {
    int64_t since_us, until_us; /* [since, until); 0 and INT64_MAX: open. */
    bool has_cursor;
    char cursor[UUID_TEXT_BYTES];
    int64_t limit;
};
/* since, until, limit and cursor of the query. */
int audit_range_read(const struct admin_call *call, struct audit_range *out,
                     struct err *err) MUST_CHECK;
/* Four parameters: ids from and to, times from and to, for AUDIT_RANGE_SQL. descending: the list
 * goes back in time, so the cursor bounds it from above. */
void audit_range_params(const struct audit_range *r, bool descending, struct pq_params *p);
#define AUDIT_RANGE_SQL                                                                            \
    "d.request_id > $1::uuid AND d.request_id < $2::uuid AND d.ts >= $3::timestamptz AND d.ts < "  \
    "$4::timestamptz"

#endif
