/* builder.h: a snapshot under construction; shared by snapshot_*.c only. Functions return 0 or an
 * ERR_* after builder_refuse has noted why. */
#ifndef STEELYARD_DATAPLANE_STATE_BUILDER_H
#define STEELYARD_DATAPLANE_STATE_BUILDER_H

#include <protobuf-c/protobuf-c.h>

#include "control.pb-c.h"
#include "dataplane/state/snapshot_build.h"

/* A decoded artifact, shared by the snapshots that use it. */
struct shared_artifact;
void shared_artifact_unref(struct shared_artifact *shared); /* NULL is allowed. */

struct snapshot_policy_private { /* Beside snapshot.policies. */
    struct shared_artifact *shared;
};

struct builder {
    struct snapshot *s;
    struct resource_set *set;
    const struct snapshot_inputs *inputs;
    struct snapshot_refusal *refusal;
    const struct resource *at; /* The resource being read. */
    struct map providers;      /* name -> struct snapshot_provider */
    struct map prices;         /* "provider\nmodel" -> rows */
    uint32_t deployments;
};

int builder_refuse(struct builder *b, int rc, const char *code, const char *format, ...)
    PRINTF_LIKE(4, 5);
int builder_no_memory(struct builder *b);
void *builder_alloc(struct builder *b, size_t count, size_t size); /* Zeroed, from the arena. */
/* A name: not empty, bounded, without control bytes; copied. */
int builder_name(struct builder *b, const char *what, const char *text, struct str *out) MUST_CHECK;
int builder_text(struct builder *b, struct str s, struct str *out) MUST_CHECK;
int builder_put(struct builder *b, struct map *map, struct str name, void *value,
                const char *what) MUST_CHECK;
/* Unpacks resource `key`; *out NULL when there is none. */
int builder_unpack(struct builder *b, const char *key, const ProtobufCMessageDescriptor *descriptor,
                   ProtobufCMessage **out) MUST_CHECK;

int build_catalogue(struct builder *b)
    MUST_CHECK; /* Prices, providers, models, policies, routes. */
int build_providers(struct builder *b, const Steelyard__Control__V1__Catalogue *c) MUST_CHECK;
int build_policies(struct builder *b) MUST_CHECK; /* Also candidates, and rollouts of both. */
int build_rollouts(struct builder *b) MUST_CHECK; /* After them; snapshot_rollout.c. */
int build_keys(struct builder *b) MUST_CHECK;
int build_accounts(struct builder *b) MUST_CHECK; /* accounts.c; after the models. */

#endif
