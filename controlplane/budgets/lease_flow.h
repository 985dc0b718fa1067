/* lease_flow.h: shared by lease_store.c and lease_flow.c: one life's rows on their way through a
 * transaction. Private to controlplane/budgets. */
#ifndef STEELYARD_CONTROLPLANE_BUDGETS_LEASE_FLOW_H
#define STEELYARD_CONTROLPLANE_BUDGETS_LEASE_FLOW_H

#include "controlplane/budgets/lease_store.h"

enum lease_flow_kind {
    LEASE_FLOW_REPORT,
    LEASE_FLOW_FINAL,
    LEASE_FLOW_LOSE,
    LEASE_FLOW_RELEASE,
};

struct lease_flow {
    struct pq_conn *conn;
    enum lease_flow_kind kind;
    bool exact; /* Of a final. */
    bool open;  /* Of a report: the life is active. */
    char node[UUID_TEXT_BYTES];
    int64_t epoch;
    struct lease_moment moment;
    const struct lease_usage *usage; /* Borrowed. */
    uint32_t count;
    /* What the tables hold; ascending, usages of the same budget and period merged. */
    struct lease_item *items;
    bool *own; /* The life has a row already. */
    uint32_t item_count;
    struct pq_result *others;       /* A row each of holdings. */
    struct grant_holding *holdings; /* Of all items. */
};

/* In a transaction. ERR_AGAIN: periods are missing: roll back, make them, begin again with `made`;
 * what is missing then belongs to no budget. */
int lease_flow_run(struct lease_flow *f, bool made, struct err *err) MUST_CHECK;
/* Outside of any transaction. */
int lease_flow_make_periods(struct lease_flow *f, struct err *err) MUST_CHECK;
/* Frees what a run took; the flow may run again. */
void lease_flow_deinit(struct lease_flow *f);

#endif
