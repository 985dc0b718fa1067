/* Policies of a snapshot and the candidates that may follow them: artifact, parameters, version
 * rules. "params/<policy>" is the version in service, "params/<policy>/candidate" the one that a
 * rollout brings. */
#include "dataplane/state/builder.h"

#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/link/wire.h"
#include "common/route/params_wire.h"
#include "common/route/selftest.h"

typedef Steelyard__Control__V1__Params Params;

#define PREFIX STR("params/")
#define SUFFIX STR("/candidate")

struct shared_artifact {
    atomic_uint refs;
    struct artifact *artifact;
    struct sha256 sha256;
};

/* ---- policies ---- */

void shared_artifact_unref(struct shared_artifact *shared)
{
    if (shared == NULL || atomic_fetch_sub(&shared->refs, 1) != 1)
        return;
    artifact_destroy(shared->artifact);
    mem_free(shared);
}

static struct shared_artifact *find_among(const struct snapshot_policy_private *list,
                                          uint32_t count, const struct sha256 *sha256)
{
    for (uint32_t i = 0; i < count; i++) {
        struct shared_artifact *shared = list[i].shared;
        if (shared != NULL && memcmp(&shared->sha256, sha256, sizeof(*sha256)) == 0) {
            atomic_fetch_add(&shared->refs, 1);
            return shared;
        }
    }
    return NULL;
}

static struct shared_artifact *find_in(const struct snapshot *s, const struct sha256 *sha256)
{
    struct shared_artifact *found = find_among(s->policy_artifacts, s->policy_count, sha256);
    return found != NULL ? found
                         : find_among(s->next_policy_artifacts, s->next_policy_count, sha256);
}

/* The one in service, or of another policy here, if it is the same file. */
static struct shared_artifact *shared_find(const struct builder *b, const struct sha256 *sha256)
{
    const struct snapshot *previous = b->inputs->previous;
    struct shared_artifact *found = find_in(b->s, sha256);
    if (found == NULL && previous != NULL &&
        previous->limits.hash_key_id == b->s->limits.hash_key_id)
        found = find_in(previous, sha256);
    return found;
}

/* Decode, deployment, self-test (B42). */
static int load_artifact(struct builder *b, const struct resource *r,
                         struct shared_artifact **out_shared)
{
    const struct snapshot_limits *limits = &b->s->limits;
    *out_shared = shared_find(b, &r->sha256);
    if (*out_shared != NULL)
        return 0;
    struct shared_artifact *shared = mem_zalloc(sizeof(*shared));
    if (shared == NULL)
        return builder_no_memory(b);
    atomic_init(&shared->refs, 1);
    shared->sha256 = r->sha256;
    enum artifact_reason reason = ARTIFACT_OK_REASON;
    struct err err = {0};
    int rc;
    if (limits->has_keys) {
        struct artifact_expect expect = {.hash_key_id = limits->hash_key_id};
        rc = artifact_load(r->body, &expect, &shared->artifact, &reason, &err);
    } else {
        rc = artifact_decode(r->body, &shared->artifact, &reason, &err);
        if (rc == 0)
            rc = selftest_run(shared->artifact, &reason, &err);
    }
    if (rc != 0) {
        shared_artifact_unref(shared);
        if (rc == ERR_NOMEM)
            return builder_no_memory(b);
        b->at = r;
        char code[48];
        (void)snprintf(code, sizeof(code), "ARTIFACT_%s", artifact_reason_name(reason));
        return builder_refuse(b, rc, code, "%s",
                              err.message[0] != '\0' ? err.message : artifact_reason_text(reason));
    }
    *out_shared = shared;
    return 0;
}

/* NULL: not here. */
static const struct resource *artifact_at(const struct builder *b, const char *key, const Params *m)
{
    const struct resource *r = resource_set_get(b->set, str_from(key));
    bool same = r != NULL && memcmp(r->sha256.bytes, m->artifact_sha256.data, SHA256_BYTES) == 0;
    return same ? r : NULL;
}

/* A candidate brings its own, or has that of the version in service. */
static int take_artifact(struct builder *b, const Params *m, bool is_next,
                         struct snapshot_policy *p, struct snapshot_policy_private *private)
{
    if (m->artifact_sha256.len == 0)
        return 0;
    if (m->artifact_sha256.len != SHA256_BYTES)
        return builder_refuse(b, ERR_INVALID, "INVALID", "artifact_sha256 is not 32 bytes long");
    const char *key = arena_printf(&b->s->arena, "artifact/%.*s", STR_ARG(p->name));
    const char *next = arena_printf(&b->s->arena, "artifact/%.*s/candidate", STR_ARG(p->name));
    if (key == NULL || next == NULL)
        return builder_no_memory(b);
    const struct resource *r = is_next ? artifact_at(b, next, m) : NULL;
    if (r == NULL)
        r = artifact_at(b, key, m);
    if (r == NULL)
        return builder_refuse(b, ERR_NOT_FOUND, "REFERENCE",
                              "policy '%.*s' names an artifact that is not here", STR_ARG(p->name));
    int rc = load_artifact(b, r, &private->shared);
    if (rc != 0)
        return rc;
    p->artifact = private->shared->artifact;
    return builder_text(b, (struct str){.data = (const char *)r->sha256.bytes, .len = SHA256_BYTES},
                        &p->artifact_sha);
}

static int take_params(struct builder *b, const Params *m, struct snapshot_policy *p)
{
    struct policy_params *q = &p->params;
    policy_params_init(q);
    const char *unknown = policy_params_read(q, p->artifact, m);
    q->draw_key = b->s->limits.draw_key;
    if (unknown != NULL)
        return builder_refuse(b, ERR_NOT_FOUND, "REFERENCE",
                              "offset of model '%s', which the artifact does not know", unknown);
    p->default_out_tokens = m->default_out_tokens;
    if (!policy_params_valid(q))
        return builder_refuse(b, ERR_INVALID, "INVALID",
                              "parameters of policy '%.*s' are out of range", STR_ARG(p->name));
    return 0;
}

/* One number, one content. */
static int check_content(struct builder *b, const struct snapshot_policy *p,
                         const struct snapshot_policy *other)
{
    if (other == NULL || p->version != other->version ||
        memcmp(&p->params_sha, &other->params_sha, sizeof(p->params_sha)) == 0)
        return 0;
    return builder_refuse(b, ERR_VERSION, "VERSION", "version %llu in service has another content",
                          (unsigned long long)p->version);
}

/* And numbers in service only rise (P8); a candidate may be an older one that comes back. */
static int check_version(struct builder *b, const struct snapshot_policy *p, bool is_next)
{
    const struct snapshot *previous = b->inputs->previous;
    int rc = is_next ? check_content(b, p, snapshot_policy(b->s, p->name)) : 0;
    if (rc != 0 || previous == NULL || previous->era != b->inputs->era)
        return rc;
    const struct snapshot_policy *old = snapshot_policy(previous, p->name);
    if (!is_next && old != NULL && p->version < old->version)
        return builder_refuse(b, ERR_VERSION, "VERSION",
                              "version %llu is older than %llu in service",
                              (unsigned long long)p->version, (unsigned long long)old->version);
    rc = check_content(b, p, old);
    return rc == 0 ? check_content(b, p, snapshot_next_policy(previous, p->name)) : rc;
}

/* The policy's name in "params/<policy>" or "params/<policy>/candidate". */
static struct str name_in(struct str key, bool *out_next)
{
    struct str name = str_slice(key, PREFIX.len, key.len);
    *out_next = str_ends(name, SUFFIX);
    return *out_next ? str_slice(name, 0, name.len - SUFFIX.len) : name;
}

static int take_policy(struct builder *b, const struct resource *r, const Params *m,
                       struct snapshot_policy *p, struct snapshot_policy_private *private)
{
    bool is_next;
    struct str name = name_in(r->key, &is_next);
    int rc = builder_name(b, "policy", m->policy, &p->name);
    if (rc != 0)
        return rc;
    if (!str_eq(name, p->name))
        return builder_refuse(b, ERR_INVALID, "INVALID", "names policy '%.*s' under another key",
                              STR_ARG(p->name));
    p->version = m->version;
    p->params_sha = r->sha256;
    const char *text =
        arena_printf(&b->s->arena, "%.*s@%llu", STR_ARG(p->name), (unsigned long long)p->version);
    if (text == NULL)
        return builder_no_memory(b);
    p->version_text = str_from(text);
    rc = check_version(b, p, is_next);
    if (rc == 0)
        rc = take_artifact(b, m, is_next, p, private);
    if (rc != 0)
        return rc;
    b->at = r;
    rc = take_params(b, m, p);
    return rc == 0 && !is_next ? builder_put(b, &b->s->policies_by_name, p->name, p, "policy") : rc;
}

static bool holds_params(struct str key, bool is_next)
{
    bool next;
    return str_starts(key, PREFIX) && (name_in(key, &next), next == is_next);
}

/* *count grows with each that is begun: what it holds by then is given back with the snapshot. */
static int build_versions(struct builder *b, bool is_next, struct snapshot_policy *list,
                          struct snapshot_policy_private *private, uint32_t *count)
{
    int rc = 0;
    const struct map_entry *e;
    for (size_t i = 0; rc == 0 && (e = map_next(&b->set->by_key, &i)) != NULL;) {
        if (!holds_params(e->key, is_next))
            continue;
        const struct resource *r = e->value;
        ProtobufCMessage *m = NULL;
        b->at = r;
        uint32_t at = (*count)++;
        if (wire_unpack(&steelyard__control__v1__params__descriptor, r->body, &m) != 0)
            rc = builder_refuse(b, ERR_CORRUPT, "MALFORMED", "the body cannot be read");
        else
            rc = take_policy(b, r, (const Params *)m, &list[at], &private[at]);
        wire_free(m);
    }
    return rc;
}

int build_policies(struct builder *b)
{
    struct snapshot *s = b->s;
    size_t counts[2] = {0, 0}; /* In service, candidates. */
    const struct map_entry *e;
    for (size_t i = 0; (e = map_next(&b->set->by_key, &i)) != NULL;) {
        counts[0] += holds_params(e->key, false);
        counts[1] += holds_params(e->key, true);
    }
    if (counts[0] > SNAPSHOT_POLICIES_MAX || counts[1] > SNAPSHOT_POLICIES_MAX)
        return builder_refuse(b, ERR_LIMIT, "LIMIT", "more than %d policies",
                              SNAPSHOT_POLICIES_MAX);
    struct snapshot_policy *list = builder_alloc(b, counts[0], sizeof(*list));
    struct snapshot_policy *next = builder_alloc(b, counts[1], sizeof(*next));
    s->policy_artifacts = builder_alloc(b, counts[0], sizeof(*s->policy_artifacts));
    s->next_policy_artifacts = builder_alloc(b, counts[1], sizeof(*s->next_policy_artifacts));
    if (list == NULL || next == NULL || s->policy_artifacts == NULL ||
        s->next_policy_artifacts == NULL)
        return builder_no_memory(b);
    s->policies = list;
    s->next_policies = next;
    int rc = build_versions(b, false, list, s->policy_artifacts, &s->policy_count);
    if (rc == 0)
        rc = build_versions(b, true, next, s->next_policy_artifacts, &s->next_policy_count);
    return rc;
}
