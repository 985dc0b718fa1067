/* vendors.h: who sells a model, under one name: that of models.dev. Maps what other catalogues call
 * them and the hosts they answer at. Pure tables. */
#ifndef STEELYARD_CONTROLPLANE_CATALOG_VENDORS_H
#define STEELYARD_CONTROLPLANE_CATALOG_VENDORS_H

#include "common/base/str.h"

/* Of a host ("api.openai.com"); STR_NULL: not known. A port must have been cut off. */
struct str vendor_of_host(struct str host);
/* Of a base URL: "https://api.openai.com/v1". */
struct str vendor_of_url(struct str url);
/* LiteLLM's name of a provider in ours; itself where both are the same. */
struct str vendor_of_litellm(struct str provider);
/* "gemini/gemini-2.5-pro" without the routing prefix that LiteLLM puts before a model's name. */
struct str vendor_litellm_model(struct str provider, struct str model);

#endif
