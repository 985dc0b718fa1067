/* nodes_wait.h: a change returns when the nodes know it. Who makes a key and uses it in the next
 * line is not refused, and who disables one knows who still takes it.
 *
 * Both wait for what --wait of the command says (0s: not at all) until every connected node has the
 * generation on its disk; 0, of a dry run, is known already. A node that is away gets it with the
 * first message after its return. */
#ifndef STEELYARD_CONTROLPLANE_CTL_NODES_WAIT_H
#define STEELYARD_CONTROLPLANE_CTL_NODES_WAIT_H

#include "controlplane/ctl/ctl.h"

json_int_t nodes_generation(const json_t *reply); /* Of a change; 0: none was made. */
/* For what lets in: the change is made whoever knows it, so a node too few is only told. CTL_OK. */
enum ctl_exit nodes_take(struct ctl *c, json_int_t generation);
/* For what keeps out: CTL_NO (told) when a connected node may still let it in. */
enum ctl_exit nodes_refuse(struct ctl *c, json_int_t generation);

#endif
