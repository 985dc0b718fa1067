/* lease_service.h: the allocation protocol's database work off the loop: reports on worker threads,
 * notifications of recalls (also from other replicas), and the sweep of lives that fell silent.
 * Loop thread only. */
#ifndef STEELYARD_CONTROLPLANE_BUDGETS_LEASE_SERVICE_H
#define STEELYARD_CONTROLPLANE_BUDGETS_LEASE_SERVICE_H

#include <uv.h>

#include "controlplane/budgets/lease_store.h"

struct lease_service;
struct lease_service_config {
    const char *conninfo;
    struct lease_settings settings;
    unsigned running_max; /* Transactions at once; 0: 2. */
    uint32_t sweep_ms;    /* 0: 30 s. */
    /* Something is recalled from this node: if it is connected here, take it (recalls). */
    void (*on_recall)(void *arg, struct str node_id);
    void *arg;
};
int lease_service_create(uv_loop_t *loop, const struct lease_service_config *config,
                         struct lease_service **out_service, struct err *err) MUST_CHECK;
const struct lease_settings *lease_service_settings(const struct lease_service *s);
/* Both: 0: cb exactly once, later; the reply is borrowed for the call. report and what it points to
 * are borrowed until then. ERR_BUSY: too many wait. */
typedef void (*lease_reply_cb)(void *user, int status, const struct lease_reply *reply);
int lease_service_report(struct lease_service *s, const struct lease_report *report,
                         lease_reply_cb cb, void *user) MUST_CHECK;
int lease_service_recalls(struct lease_service *s, const struct uuid *node_id, uint64_t epoch,
                          lease_reply_cb cb, void *user) MUST_CHECK;
/* What runs ends first. */
void lease_service_close(struct lease_service *s, void (*cb)(void *arg), void *arg);

#endif
