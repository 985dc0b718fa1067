/* What a plan comes to for one request: an order of its targets. */
#include "dataplane/request/wishes_plan.h"

#include "common/route/way.h"

_Static_assert(PLAN_GROUPS_MAX <= TREE_TARGETS_MAX, "groups");
_Static_assert(WISHES_TARGETS_MAX <= WAY_CANDIDATES_MAX, "leaves");
_Static_assert(PLAN_NODES_MAX <= TREE_MEMBERS_MAX, "members");

bool wishes_plan_asks(const struct wishes_plan *plan, bool *out_params)
{
    *out_params = plan != NULL && plan->asks_params;
    return plan != NULL && plan->condition_count > 0;
}

/* The child that the first condition that holds names; UINT32_MAX: none does. */
static uint32_t choose_child(const struct wishes_plan *plan, const struct plan_node *group,
                             wishes_holds holds, void *arg)
{
    for (uint32_t i = 0; i < group->condition_count; i++) {
        const struct plan_condition *c = &plan->conditions[group->condition + i];
        if (holds(arg, c->steps, c->count))
            return c->then;
    }
    return group->chosen_by_default;
}

/* Thousandths to what shares are counted in, the largest in range. */
static void scale_weights(const struct wishes_plan *plan, const struct plan_node *group,
                          struct tree_member *members)
{
    uint32_t largest = 0;
    for (uint32_t i = 0; i < group->count; i++)
        largest = plan->nodes[group->first + i].weight > largest
                      ? plan->nodes[group->first + i].weight
                      : largest;
    const uint32_t unit = largest / WAY_WEIGHT_MAX + 1;
    for (uint32_t i = 0; i < group->count; i++) {
        const uint32_t weight = plan->nodes[group->first + i].weight;
        members[i].weight = weight > 0 && weight < unit ? 1 : weight / unit;
    }
}

static uint32_t what_of(const struct wishes_plan *plan, const struct plan_node *n)
{
    return n->is_group ? plan->leaf_count + n->index : n->index;
}

/* members: of the group alone. Who is not chosen is not there. */
static struct tree_target target_of(const struct wishes_plan *plan, const struct plan_node *group,
                                    wishes_holds holds, void *arg, struct tree_member *members)
{
    struct tree_target t = {
        .balance = group->mode == PLAN_LOADBALANCE, .count = group->count, .members = members};
    for (uint32_t i = 0; i < group->count; i++)
        members[i].what = what_of(plan, &plan->nodes[group->first + i]);
    scale_weights(plan, group, members);
    if (group->mode == PLAN_SINGLE)
        t.count = 1;
    if (group->mode == PLAN_CONDITIONAL) {
        const uint32_t child = choose_child(plan, group, holds, arg);
        t.count = child < group->count ? 1 : 0;
        members[0].what = t.count == 1 ? members[child].what : 0;
    }
    return t;
}

int wishes_choose(struct wishes *w, wishes_holds holds, void *arg, uint64_t seed,
                  struct wishes_refusal *refusal)
{
    const struct wishes_plan *plan = w->plan;
    struct tree_target targets[PLAN_GROUPS_MAX];
    struct tree_member members[PLAN_NODES_MAX];
    uint8_t order[WISHES_TARGETS_MAX];
    const struct tree tree = {
        .models = plan->leaf_count, .count = plan->group_count, .targets = targets};
    for (uint32_t i = 0; i < plan->count; i++) {
        const struct plan_node *n = &plan->nodes[i];
        if (n->is_group)
            targets[n->index] = target_of(plan, n, holds, arg, &members[n->first]);
    }
    w->target_count = tree_order(&tree, plan->leaf_count, seed, order);
    for (uint32_t i = 0; i < w->target_count; i++)
        w->targets[i] = plan->leaves[order[i]];
    w->plan = NULL;
    if (w->target_count > 0)
        return 0;
    *refusal =
        (struct wishes_refusal){.param = STR("x-portkey-config.strategy"),
                                .message = "No condition holds, and there is no default. Add one."};
    return ERR_INVALID;
}
