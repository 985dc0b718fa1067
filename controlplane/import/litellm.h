/* litellm.h: one entry of LiteLLM's model_list while it is read. Private to litellm*.c. */
#ifndef STEELYARD_CONTROLPLANE_IMPORT_LITELLM_H
#define STEELYARD_CONTROLPLANE_IMPORT_LITELLM_H

#include "controlplane/import/internal.h"

struct litellm_entry {
    struct yaml_node *node, *params, *info, *credential; /* credential: its values, or NULL. */
    struct str name;                                     /* model_name */
    struct str upstream;                                 /* The model's name at the provider. */
    struct plan_provider draft;
    struct plan_model *model; /* NULL: a pattern, so no price is kept. */
    int64_t weight, rpm, tpm; /* Over WEIGHT_ONE; -1: not given. */
    uint64_t priority;
    struct str region;
    const char *told; /* What else the finding of `model` says; NULL: nothing. */
    bool manual;      /* ... and that it is a person's to do. */
};

/* Who serves it, from model, custom_llm_provider and api_base; the finding of what cannot be served
 * lies on the whole entry. */
bool litellm_resolve(struct import *i, struct litellm_entry *e);
/* Credentials, addresses and regions of the cloud it is in; after litellm_resolve. */
void litellm_cloud(struct import *i, struct litellm_entry *e);
/* All else of litellm_params and model_info, with its findings. */
void litellm_params(struct import *i, struct litellm_entry *e);
/* litellm_settings, router_settings, general_settings and the rest of the file. */
void litellm_settings(struct import *i, struct yaml_node *root);

#endif
