/* Order: limits, catalogue (providers, models, prices, routes), policies, accounts, keys. Each part
 * unpacks its resource, checks it whole and copies what stays into the snapshot's arena; keys are
 * shared with the snapshot before. The first fault ends it: a snapshot is taken whole or not at
 * all.
 */
#include "dataplane/state/builder.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/link/wire.h"
#include "control.pb-c.h"

#define ARENA_BYTES_MAX 1073741824U

typedef Steelyard__Control__V1__Limits Limits;

int builder_refuse(struct builder *b, int rc, const char *code, const char *format, ...)
{
    struct snapshot_refusal *r = b->refusal;
    if (b->at != NULL) {
        (void)str_copy(b->at->key, r->key, sizeof(r->key));
        memcpy(r->version, b->at->version, sizeof(r->version));
    }
    (void)snprintf(r->code, sizeof(r->code), "%s", code);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(r->detail, sizeof(r->detail), format, args);
    va_end(args);
    return rc;
}

int builder_no_memory(struct builder *b)
{
    return builder_refuse(b, ERR_NOMEM, "NOMEM", "out of memory");
}

void *builder_alloc(struct builder *b, size_t count, size_t size)
{
    return arena_zalloc(&b->s->arena, count != 0 ? count : 1, size);
}

/* A name: not empty, bounded, printable. */
int builder_name(struct builder *b, const char *what, const char *text, struct str *out)
{
    struct str s = str_from(text);
    if (s.len == 0 || s.len > SNAPSHOT_NAME_BYTES_MAX)
        return builder_refuse(b, ERR_INVALID, "INVALID", "%s: empty or longer than %d bytes", what,
                              SNAPSHOT_NAME_BYTES_MAX);
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.data[i] < 0x20 || s.data[i] == 0x7f)
            return builder_refuse(b, ERR_INVALID, "INVALID", "%s: control byte in a name", what);
    *out = arena_copy(&b->s->arena, s);
    return out->data == NULL ? builder_no_memory(b) : 0;
}

int builder_text(struct builder *b, struct str s, struct str *out)
{
    *out = arena_copy(&b->s->arena, s);
    return out->data == NULL ? builder_no_memory(b) : 0;
}

int builder_put(struct builder *b, struct map *map, struct str name, void *value, const char *what)
{
    if (map_get(map, name) != NULL)
        return builder_refuse(b, ERR_EXISTS, "DUPLICATE", "%s '%.*s' appears twice", what,
                              STR_ARG(name));
    return map_put(map, name, value, NULL) != 0 ? builder_no_memory(b) : 0;
}

/* Unpacks resource `key`; *out NULL when there is none. */
int builder_unpack(struct builder *b, const char *key, const ProtobufCMessageDescriptor *descriptor,
                   ProtobufCMessage **out)
{
    *out = NULL;
    b->at = resource_set_get(b->set, str_from(key));
    if (b->at == NULL)
        return 0;
    if (wire_unpack(descriptor, b->at->body, out) != 0)
        return builder_refuse(b, ERR_CORRUPT, "MALFORMED", "the body cannot be read");
    return 0;
}

/* ---- limits ---- */

static int take_key(struct builder *b, const char *name, ProtobufCBinaryData bytes,
                    struct siphash_key *out)
{
    if (bytes.len != 16)
        return builder_refuse(b, ERR_INVALID, "INVALID", "%s is not 16 bytes long", name);
    *out = siphash_key_from_bytes(bytes.data);
    return 0;
}

static int build_limits(struct builder *b)
{
    ProtobufCMessage *m;
    int rc = builder_unpack(b, "limits", &steelyard__control__v1__limits__descriptor, &m);
    struct snapshot_limits *l = &b->s->limits;
    if (rc == 0 && m != NULL) {
        const Limits *p = (const Limits *)m;
        l->has_keys = true;
        l->hash_key_id = p->hash_key_id;
        l->body_max_bytes = p->body_max_bytes;
        l->stream_head_after_ms = p->stream_head_after_ms;
        l->keepalive_ms = p->keepalive_ms;
        rc = take_key(b, "feature_key", p->feature_key, &l->feature_key);
        if (rc == 0)
            rc = take_key(b, "draw_key", p->draw_key, &l->draw_key);
        if (rc == 0)
            rc = take_key(b, "decision_id_key", p->decision_id_key, &l->decision_id_key);
        if (rc == 0)
            rc = take_key(b, "text_key", p->text_key, &l->text_key);
    }
    features_hasher_init(&l->hasher, l->feature_key);
    hash_text_key_init(&l->text_hasher, l->text_key);
    wire_free(m);
    return rc;
}

/* ---- whole ---- */

void snapshot_free(struct snapshot *s)
{
    for (uint32_t i = 0; i < s->provider_count; i++) {
        secret_destroy(s->providers[i].secret);
        credential_unref(s->providers[i].shown);
    }
    for (uint32_t i = 0; i < s->policy_count; i++)
        shared_artifact_unref(s->policy_artifacts[i].shared);
    for (uint32_t i = 0; i < s->next_policy_count; i++)
        shared_artifact_unref(s->next_policy_artifacts[i].shared);
    for (uint32_t i = 0; i < s->rollout_count; i++)
        rollout_gate_unref(s->rollouts[i].gate);
    keyring_deinit(&s->keyring);
    map_deinit(&s->models_by_id);
    map_deinit(&s->routes_by_name);
    map_deinit(&s->policies_by_name);
    map_deinit(&s->accounts.users_by_name);
    map_deinit(&s->accounts.tags_by_name);
    resource_set_destroy(s->resources);
    arena_reset(&s->arena);
    arena_pool_deinit(&s->pool);
    mem_free(s);
}

int snapshot_build(struct resource_set *set, const struct snapshot_inputs *inputs,
                   struct snapshot **out_snapshot, struct snapshot_refusal *out_refusal)
{
    struct builder b = {.set = set, .inputs = inputs, .refusal = out_refusal};
    *out_refusal = (struct snapshot_refusal){0};
    b.s = mem_zalloc(sizeof(*b.s));
    if (b.s == NULL)
        return builder_no_memory(&b);
    struct snapshot *s = b.s;
    atomic_init(&s->refs, 1);
    arena_pool_init(&s->pool, 0);
    arena_init(&s->arena, &s->pool, ARENA_BYTES_MAX);
    keyring_init(&s->keyring);
    map_init(&s->models_by_id);
    map_init(&s->routes_by_name);
    map_init(&s->policies_by_name);
    map_init(&s->accounts.users_by_name);
    map_init(&s->accounts.tags_by_name);
    map_init(&b.providers);
    map_init(&b.prices);
    s->era = inputs->era;
    s->generation = inputs->generation;
    s->applied_us = clock_wall_us();
    s->applied_mono_ms = clock_mono_ms();
    int rc = build_limits(&b);
    if (rc == 0)
        rc = build_catalogue(&b);
    if (rc == 0)
        rc = build_accounts(&b);
    if (rc == 0)
        rc = build_keys(&b);
    map_deinit(&b.providers);
    map_deinit(&b.prices);
    if (rc != 0) {
        snapshot_unref(s);
        return rc;
    }
    s->resources = set;
    *out_snapshot = s;
    return 0;
}
