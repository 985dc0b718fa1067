/* groups.h: task names to groups, and the tables of what each model does in each group. Part of
 * heads.h; see there. */
#ifndef STEELYARD_CONTROLPLANE_LEARN_GROUPS_H
#define STEELYARD_CONTROLPLANE_LEARN_GROUPS_H

#include "controlplane/learn/heads.h"

/* Sets group_count, group_of, group_task, group_size and both tables of io_heads (model_count set,
 * the rest zero). On error the caller still calls heads_deinit. */
int groups_build(const struct heads_input *input, double omega_scale,
                 struct heads *io_heads) MUST_CHECK;

#endif
