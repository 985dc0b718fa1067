/* Parameters of a policy from the wire. */
#include "common/route/params_wire.h"

const char *policy_params_read(struct policy_params *params, const struct artifact *artifact,
                               const Steelyard__Control__V1__Params *m)
{
    const char *unknown = NULL;
    if (artifact != NULL)
        policy_params_from_artifact(params, artifact, 0);
    params->strategy = POLICY_LEARNED;
    params->lambda = m->lambda;
    params->mu = m->mu;
    params->floor_q16 = m->floor_q16;
    params->eps_cap = m->eps_cap;
    if (m->gamma != 0)
        params->gamma = m->gamma > UINT32_MAX ? UINT32_MAX : (uint32_t)m->gamma;
    if (m->delta_q16 != 0)
        params->delta_q16 = m->delta_q16;
    if (m->stick_margin != 0)
        params->stick_margin = m->stick_margin;
    for (size_t i = 0; i < m->n_offsets; i++) {
        const char *model = m->offsets[i]->model;
        int32_t ordinal = artifact != NULL ? artifact_model(artifact, str_from(model)) : -1;
        if (ordinal >= 0)
            params->off[ordinal] = m->offsets[i]->offset;
        else if (unknown == NULL)
            unknown = model;
    }
    return unknown;
}
