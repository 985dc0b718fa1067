/* wishes_plan.h: a config of Portkey's as it was read: a tree of targets, level by level, and the
 * conditions that choose among them. In the arena. Private to wishes_*.c. */
#ifndef STEELYARD_DATAPLANE_REQUEST_WISHES_PLAN_H
#define STEELYARD_DATAPLANE_REQUEST_WISHES_PLAN_H

#include "common/route/rule.h"
#include "common/route/tree.h"
#include "dataplane/request/wishes_internal.h"

#define PLAN_GROUPS_MAX     32 /* Targets that have others inside. */
#define PLAN_NODES_MAX      (PLAN_GROUPS_MAX + WISHES_TARGETS_MAX)
#define PLAN_CONDITIONS_MAX 32
#define PLAN_PATTERNS_MAX   8
#define PLAN_QUERY_DEPTH    8

enum plan_mode { PLAN_SINGLE, PLAN_FALLBACK, PLAN_LOADBALANCE, PLAN_CONDITIONAL };

struct plan_condition {
    const struct rule_step *steps; /* Valid. */
    uint32_t count;
    uint32_t then; /* Which child of its group. */
};
struct plan_node {
    bool is_group;
    uint32_t index; /* Among the groups, or among the leaves. */
    uint32_t depth;
    uint32_t json;
    uint32_t weight; /* Thousandths. */
    struct str name;
    struct str model; /* Its own or inherited; len 0: the call's. */
    const struct wishes_terms *terms;
    /* Of a group: its children are nodes[first] to nodes[first + count - 1]. */
    enum plan_mode mode;
    uint32_t first, count;
    uint32_t condition, condition_count; /* The first of its own, and how many. */
    uint32_t chosen_by_default;          /* Which child; UINT32_MAX: none. */
};
struct wishes_plan {
    uint32_t count, group_count, leaf_count;
    uint32_t condition_count, pattern_count;
    bool asks_params;
    struct plan_node nodes[PLAN_NODES_MAX]; /* The first is the config. */
    struct wishes_target leaves[WISHES_TARGETS_MAX];
    struct plan_condition conditions[PLAN_CONDITIONS_MAX];
};

/* wishes_query.c: a condition's query to steps. */
int plan_read_query(struct wishes_reading *r, uint32_t node, struct wishes_plan *plan,
                    struct plan_condition *out);
/* wishes_terms_read.c: what else stands at a target: *io_terms is what it inherits, then its own.
 */
int plan_read_terms(struct wishes_reading *r, uint32_t node, const struct wishes_terms **io_terms,
                    struct str *io_model);
int plan_read_codes(struct wishes_reading *r, uint32_t node, const struct wishes_codes **out);

#endif
