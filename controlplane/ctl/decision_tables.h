/* decision_tables.h: the parts of one decision as `audit request` and `decisions why` show them:
 * who was in question, and who was tried. For people: not for -o json and its like. */
#ifndef STEELYARD_CONTROLPLANE_CTL_DECISION_TABLES_H
#define STEELYARD_CONTROLPLANE_CTL_DECISION_TABLES_H

#include "controlplane/ctl/output.h"

/* A table after an empty line and, unless NULL, a heading; nothing of an empty list. */
enum ctl_exit decision_tables_part(struct ctl *c, const char *heading, const struct column *columns,
                                   const json_t *items);
/* `candidates` of a decision; its utilities only where the answer explains them. */
enum ctl_exit decision_tables_candidates(struct ctl *c, const char *heading, bool with_utility,
                                         const json_t *decision);
/* `attempts` of a decision. */
enum ctl_exit decision_tables_attempts(struct ctl *c, const char *heading, const json_t *decision);

#endif
