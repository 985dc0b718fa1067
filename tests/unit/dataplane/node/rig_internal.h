/* rig_internal.h: shared by rig*.c only. */
#ifndef STEELYARD_TESTS_UNIT_DATAPLANE_NODE_RIG_INTERNAL_H
#define STEELYARD_TESTS_UNIT_DATAPLANE_NODE_RIG_INTERNAL_H

#include "dataplane/state/resources.h"
#include "tests/unit/dataplane/node/rig.h"

#define RIG_PACK(type, message, out)                                                               \
    do {                                                                                           \
        size_t len = type##__get_packed_size(&message);                                            \
        assert_int_equal(buf_reserve(&(out), len), 0);                                             \
        (out).len += type##__pack(&message, (uint8_t *)(out).data + (out).len);                    \
    } while (0)

void rig_put(struct resource_set *set, uint32_t type, const char *key, const struct buf *body);

/* rig_catalogue.c */
void rig_put_catalogue(struct rig *r, struct resource_set *set, const struct rig_options *o);

/* rig_rollout.c */
void rig_put_limits(struct resource_set *set);
void rig_put_rollout(struct resource_set *set, struct rig_rollout *rollout);

/* rig_budget.c */
void rig_put_prices(struct resource_set *set, const struct rig_options *o);
void rig_put_accounts(struct resource_set *set, const struct rig_options *o);
void rig_start_budgets(struct rig *r);
/* As a new process finds them. */
void rig_read_rows(struct rig *r, const struct spool_options *options);

#endif
