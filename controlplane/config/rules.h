/* rules.h: a route's conditions and nested targets, from the tree of the file. Private. */
#ifndef STEELYARD_CONTROLPLANE_CONFIG_RULES_H
#define STEELYARD_CONTROLPLANE_CONFIG_RULES_H

#include "common/route/rule.h"
#include "common/route/tree.h"
#include "controlplane/config/table.h"

/* out_steps has room for RULE_STEPS_MAX. Values borrow from the tree and the arena. Returns how
 * many; 0: findings were added, or no memory. */
uint32_t rules_compile(struct findings *f, const struct yaml_node *node, struct arena *arena,
                       struct rule_step *out_steps);

/* A candidate's place, or as tree.h counts targets; UINT32_MAX: neither has that name. */
uint32_t rules_find(const struct route_config *r, struct str name);

#endif
