/* tree.h: nested targets of a route, flattened into an order of its candidates. A member is a
 * candidate (below `models`) or another target (`models` + its index). A fallback's members come
 * one after the other, a load balance's in an order drawn by weight. Pure; no recursion. */
#ifndef STEELYARD_COMMON_ROUTE_TREE_H
#define STEELYARD_COMMON_ROUTE_TREE_H

#include <stdbool.h>
#include <stdint.h>

#define TREE_TARGETS_MAX 64
#define TREE_MEMBERS_MAX 64 /* Of one target. */
#define TREE_DEPTH_MAX   8  /* Targets on the way to a candidate. */

struct tree_member {
    uint32_t what;
    uint32_t weight; /* Up to WAY_WEIGHT_MAX. */
};
struct tree_target {
    bool balance; /* Else fallback. */
    uint32_t count;
    const struct tree_member *members;
};
struct tree {
    uint32_t models;
    uint32_t count;
    const struct tree_target *targets;
};

/* Members exist, weights are in range, nothing contains itself, and nothing is deeper than
 * TREE_DEPTH_MAX. */
bool tree_valid(const struct tree *t);
/* Candidates below `what`, best first, each once; drawn by `seed`. out_order has room for
 * t->models (at most 64). Returns how many. Members that a tree repeats too often are left out:
 * after 1024 steps it ends. */
uint32_t tree_order(const struct tree *t, uint32_t what, uint64_t seed, uint8_t *out_order);

#endif
