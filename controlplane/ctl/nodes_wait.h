/* nodes_wait.h: what a change's answer says about the nodes. The control plane answers when every
 * connected node has the change on its disk, or after what --wait of the command says (0s: it does
 * not wait, and says nothing). Who makes a key and uses it in the next line is not refused, and who
 * disables one knows who still takes it. A node that is away gets it with the first message after
 * its return. */
#ifndef STEELYARD_CONTROLPLANE_CTL_NODES_WAIT_H
#define STEELYARD_CONTROLPLANE_CTL_NODES_WAIT_H

#include "controlplane/ctl/ctl.h"

/* For what lets in: the change is made whoever knows it, so a node too few is only told. CTL_OK. */
enum ctl_exit nodes_take(struct ctl *c, const json_t *reply);
/* For what keeps out: CTL_NO (told) when a connected node may still let it in. */
enum ctl_exit nodes_refuse(struct ctl *c, const json_t *reply);
/* After the call that made a change: prints its answer, then tells of the nodes, which must refuse
 * what is disabled now and know what is not. reply is taken over; print takes over what it is
 * given, and passes on a code that is not CTL_OK. */
enum ctl_exit nodes_after(struct ctl *c, enum ctl_exit code, json_t *reply,
                          enum ctl_exit (*print)(struct ctl *c, enum ctl_exit code, json_t *reply));

#endif
