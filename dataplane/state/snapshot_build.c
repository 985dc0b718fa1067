/* Order: limits, catalogue (providers, models, prices, routes), policies, keys. Each part unpacks
 * its resource, checks it whole and copies what stays into the snapshot's arena. The first fault
 * ends it: a snapshot is taken whole or not at all. */
#include "dataplane/state/snapshot_build.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/link/wire.h"
#include "common/route/selftest.h"
#include "control.pb-c.h"

#define ARENA_BYTES_MAX 1073741824U

typedef Steelyard__Control__V1__Catalogue Catalogue;
typedef Steelyard__Control__V1__Prices Prices;
typedef Steelyard__Control__V1__Keys Keys;
typedef Steelyard__Control__V1__Params Params;
typedef Steelyard__Control__V1__Limits Limits;
typedef Steelyard__Control__V1__Model Model;
typedef Steelyard__Control__V1__Route Route;
typedef Steelyard__Control__V1__Provider Provider;
typedef Steelyard__Control__V1__Key Key;

/* A decoded artifact, shared by the snapshots that use it. */
struct shared_artifact {
    atomic_uint refs;
    struct artifact *artifact;
    struct sha256 sha256;
};

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
    struct map prices;         /* "provider\0model" -> struct price_rows */
    struct map scopes;         /* Bits -> struct scope */
    Prices *price_message;
    uint32_t deployments;
};

static int refuse(struct builder *b, int rc, const char *code, const char *format, ...)
    PRINTF_LIKE(4, 5);
static int refuse(struct builder *b, int rc, const char *code, const char *format, ...)
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

static int no_memory(struct builder *b)
{
    return refuse(b, ERR_NOMEM, "NOMEM", "out of memory");
}

static void *take(struct builder *b, size_t count, size_t size)
{
    return arena_zalloc(&b->s->arena, count != 0 ? count : 1, size);
}

/* A name: not empty, bounded, printable. */
static int take_name(struct builder *b, const char *what, const char *text, struct str *out)
{
    struct str s = str_from(text);
    if (s.len == 0 || s.len > SNAPSHOT_NAME_BYTES_MAX)
        return refuse(b, ERR_INVALID, "INVALID", "%s: empty or longer than %d bytes", what,
                      SNAPSHOT_NAME_BYTES_MAX);
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.data[i] < 0x20 || s.data[i] == 0x7f)
            return refuse(b, ERR_INVALID, "INVALID", "%s: control byte in a name", what);
    *out = arena_copy(&b->s->arena, s);
    return out->data == NULL ? no_memory(b) : 0;
}

static int take_text(struct builder *b, struct str s, struct str *out)
{
    *out = arena_copy(&b->s->arena, s);
    return out->data == NULL ? no_memory(b) : 0;
}

static int put_unique(struct builder *b, struct map *map, struct str name, void *value,
                      const char *what)
{
    if (map_get(map, name) != NULL)
        return refuse(b, ERR_EXISTS, "DUPLICATE", "%s '%.*s' appears twice", what, STR_ARG(name));
    return map_put(map, name, value, NULL) != 0 ? no_memory(b) : 0;
}

/* Unpacks resource `key`; *out NULL when there is none. */
static int unpack(struct builder *b, const char *key, const ProtobufCMessageDescriptor *descriptor,
                  ProtobufCMessage **out)
{
    *out = NULL;
    b->at = resource_set_get(b->set, str_from(key));
    if (b->at == NULL)
        return 0;
    if (wire_unpack(descriptor, b->at->body, out) != 0)
        return refuse(b, ERR_CORRUPT, "MALFORMED", "the body cannot be read");
    return 0;
}

/* ---- limits ---- */

static int take_key(struct builder *b, const char *name, ProtobufCBinaryData bytes,
                    struct siphash_key *out)
{
    if (bytes.len != 16)
        return refuse(b, ERR_INVALID, "INVALID", "%s is not 16 bytes long", name);
    *out = siphash_key_from_bytes(bytes.data);
    return 0;
}

static int build_limits(struct builder *b)
{
    ProtobufCMessage *m;
    int rc = unpack(b, "limits", &steelyard__control__v1__limits__descriptor, &m);
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
    wire_free(m);
    return rc;
}

/* ---- providers ---- */

bool snapshot_parse_url(struct str url, bool *out_tls, struct str *out_host, uint16_t *out_port,
                        struct str *out_prefix)
{
    struct str rest;
    if (str_starts(url, STR("https://")))
        rest = str_slice(url, 8, url.len);
    else if (str_starts(url, STR("http://")))
        rest = str_slice(url, 7, url.len);
    else
        return false;
    bool tls = url.data[4] == 's';
    for (size_t i = 0; i < rest.len; i++) {
        unsigned char c = (unsigned char)rest.data[i];
        if (c <= 0x20 || c >= 0x7f || c == '@' || c == '?' || c == '#' || c == '\\')
            return false;
    }
    ptrdiff_t slash = str_find(rest, '/');
    struct str authority = slash < 0 ? rest : str_slice(rest, 0, (size_t)slash);
    struct str prefix = slash < 0 ? STR_NULL : str_slice(rest, (size_t)slash, rest.len);
    while (prefix.len > 0 && prefix.data[prefix.len - 1] == '/')
        prefix.len--;
    struct str host = authority;
    struct str port = STR_NULL;
    if (authority.len > 0 && authority.data[0] == '[') {
        ptrdiff_t end = str_find(authority, ']');
        if (end < 0)
            return false;
        host = str_slice(authority, 1, (size_t)end);
        struct str after = str_slice(authority, (size_t)end + 1, authority.len);
        if (after.len > 0 && after.data[0] != ':')
            return false;
        port = after.len > 0 ? str_slice(after, 1, after.len) : STR_NULL;
        if (after.len == 1)
            return false;
    } else {
        ptrdiff_t colon = str_find(authority, ':');
        if (colon >= 0) {
            host = str_slice(authority, 0, (size_t)colon);
            port = str_slice(authority, (size_t)colon + 1, authority.len);
            if (port.len == 0)
                return false;
        }
    }
    uint64_t number = tls ? 443 : 80;
    if (port.len > 0 && (str_parse_u64(port, 65535, &number) != 0 || number == 0))
        return false;
    if (host.len == 0 || host.len > 253)
        return false;
    *out_tls = tls;
    *out_host = host;
    *out_port = (uint16_t)number;
    *out_prefix = prefix;
    return true;
}

static uint32_t or_default(uint32_t value, uint32_t fallback)
{
    return value != 0 ? value : fallback;
}

static void take_timeouts(const Steelyard__Control__V1__Timeouts *t, struct snapshot_timeouts *out)
{
    static const Steelyard__Control__V1__Timeouts none = STEELYARD__CONTROL__V1__TIMEOUTS__INIT;
    if (t == NULL)
        t = &none;
    *out = (struct snapshot_timeouts){
        .connect_ms = or_default(t->connect_ms, 2000),
        .tls_ms = or_default(t->tls_ms, 3000),
        .head_ms = or_default(t->head_ms, 30000),
        .first_content_ms = or_default(t->first_content_ms, 60000),
        .between_events_ms = or_default(t->between_events_ms, 30000),
        .total_ms = or_default(t->total_ms, 600000),
    };
}

static int take_secret(struct builder *b, const Provider *m, struct snapshot_provider *p)
{
    if (m->secret_ref[0] == '\0')
        return 0;
    struct err err = {0};
    int (*resolve)(struct str, struct secret **, struct err *) =
        b->inputs->resolve != NULL ? b->inputs->resolve : secret_resolve;
    int rc = resolve(str_from(m->secret_ref), &p->secret, &err);
    if (rc == ERR_NOMEM)
        return no_memory(b);
    /* One provider without its key on this node must not stop the others, or a revocation. */
    p->secret_missing = rc != 0;
    return 0;
}

static int take_provider(struct builder *b, const Provider *m, struct snapshot_provider *p)
{
    int rc = take_name(b, "provider", m->name, &p->name);
    if (rc == 0)
        rc = take_name(b, "provider type", m->type, &p->type);
    if (rc == 0)
        rc = take_text(b, str_from(m->base_url), &p->base_url);
    if (rc != 0)
        return rc;
    if (p->base_url.len > 2048 ||
        !snapshot_parse_url(p->base_url, &p->tls, &p->host, &p->port, &p->prefix))
        return refuse(b, ERR_INVALID, "INVALID",
                      "provider '%.*s': base_url is no http or https URL without query",
                      STR_ARG(p->name));
    bool v6 = str_find(p->host, ':') >= 0;
    const char *origin =
        arena_printf(&b->s->arena, "%s://%s%.*s%s:%u", p->tls ? "https" : "http", v6 ? "[" : "",
                     STR_ARG(p->host), v6 ? "]" : "", (unsigned)p->port);
    if (origin == NULL)
        return no_memory(b);
    p->origin = str_from(origin);
    p->allow_private = m->allow_private;
    p->abort_stops_billing = m->abort_stops_billing;
    p->propagate = m->propagate;
    p->failure_domain = m->failure_domain;
    take_timeouts(m->timeouts, &p->timeouts);
    rc = take_text(b, str_from(m->ca_file), &p->ca_file);
    if (rc == 0)
        rc = put_unique(b, &b->providers, p->name, p, "provider");
    return rc == 0 ? take_secret(b, m, p) : rc;
}

static int build_providers(struct builder *b, const Catalogue *c)
{
    if (c->n_providers > SNAPSHOT_PROVIDERS_MAX)
        return refuse(b, ERR_LIMIT, "LIMIT", "more than %d providers", SNAPSHOT_PROVIDERS_MAX);
    struct snapshot_provider *list = take(b, c->n_providers, sizeof(*list));
    if (list == NULL)
        return no_memory(b);
    b->s->providers = list;
    for (size_t i = 0; i < c->n_providers; i++) {
        list[i].ordinal = (uint32_t)i;
        b->s->provider_count = (uint32_t)i + 1; /* So that a half-built one is freed. */
        int rc = take_provider(b, c->providers[i], &list[i]);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* ---- prices ---- */

struct price_rows {
    struct snapshot_price rows[SNAPSHOT_PRICES_MAX];
    uint32_t count;
};

static bool price_ok(int64_t v)
{
    return v == PRICE_UNKNOWN || (v >= 0 && v <= PRICE_RATE_MAX);
}

static int build_prices(struct builder *b)
{
    ProtobufCMessage *m;
    int rc = unpack(b, "prices", &steelyard__control__v1__prices__descriptor, &m);
    b->price_message = (Prices *)m;
    if (rc != 0 || m == NULL)
        return rc;
    const Prices *prices = (const Prices *)m;
    for (size_t i = 0; i < prices->n_prices; i++) {
        const Steelyard__Control__V1__Price *p = prices->prices[i];
        if (!price_ok(p->input) || !price_ok(p->output) || !price_ok(p->cached_input) ||
            !price_ok(p->cache_write))
            return refuse(b, ERR_INVALID, "INVALID", "price %llu is out of range",
                          (unsigned long long)p->price_id);
        const char *text = arena_printf(&b->s->arena, "%s\n%s", p->provider, p->model);
        if (text == NULL)
            return no_memory(b);
        struct str key = str_from(text);
        struct price_rows *rows = map_get(&b->prices, key);
        if (rows == NULL) {
            rows = take(b, 1, sizeof(*rows));
            if (rows == NULL || map_put(&b->prices, key, rows, NULL) != 0)
                return no_memory(b);
        }
        if (rows->count == SNAPSHOT_PRICES_MAX)
            return refuse(b, ERR_LIMIT, "LIMIT", "more than %d prices of one model at one provider",
                          SNAPSHOT_PRICES_MAX);
        uint32_t at = rows->count++;
        for (; at > 0 && rows->rows[at - 1].valid_from_us < p->valid_from_us; at--)
            rows->rows[at] = rows->rows[at - 1];
        rows->rows[at] = (struct snapshot_price){
            .id = p->price_id,
            .valid_from_us = p->valid_from_us,
            .price = {.input = p->input,
                      .output = p->output,
                      .cached_read = p->cached_input,
                      .cache_write = p->cache_write,
                      .reasoning = PRICE_UNKNOWN},
        };
    }
    return 0;
}

/* ---- models ---- */

static int take_deployment(struct builder *b, const Model *m, size_t index,
                           struct snapshot_deployment *d)
{
    const Steelyard__Control__V1__Deployment *p = m->deployments[index];
    d->provider = map_get(&b->providers, str_from(p->provider));
    if (d->provider == NULL)
        return refuse(b, ERR_NOT_FOUND, "REFERENCE", "model '%s' names unknown provider '%s'",
                      m->id, p->provider);
    int rc = take_name(b, "upstream model", p->upstream_model, &d->upstream_model);
    if (rc != 0)
        return rc;
    const char *name = arena_printf(&b->s->arena, "%s/%s", p->provider, p->upstream_model);
    if (name == NULL)
        return no_memory(b);
    d->name = str_from(name);
    d->weight = or_default(p->weight, 1);
    d->ordinal = b->deployments++;
    const char *key = arena_printf(&b->s->arena, "%s\n%s", p->provider, m->id);
    if (key == NULL)
        return no_memory(b);
    const struct price_rows *rows = map_get(&b->prices, str_from(key));
    if (rows != NULL) {
        d->prices = rows->rows;
        d->price_count = rows->count;
    }
    return 0;
}

static int take_model(struct builder *b, const Model *m, struct snapshot_model *out)
{
    int rc = take_name(b, "model", m->id, &out->id);
    if (rc != 0)
        return rc;
    out->display_name = out->id;
    if (m->display_name[0] != '\0')
        rc = take_name(b, "display name", m->display_name, &out->display_name);
    if (rc != 0)
        return rc;
    if (m->n_deployments == 0 || m->n_deployments > SNAPSHOT_DEPLOYMENTS_MAX)
        return refuse(b, ERR_INVALID, "INVALID", "model '%s' has %zu deployments (1 to %d)", m->id,
                      m->n_deployments, SNAPSHOT_DEPLOYMENTS_MAX);
    if (m->prior_quality_q16 > 65536)
        return refuse(b, ERR_INVALID, "INVALID", "model '%s': prior quality above 1", m->id);
    struct snapshot_deployment *list = take(b, m->n_deployments, sizeof(*list));
    if (list == NULL)
        return no_memory(b);
    out->deployments = list;
    out->deployment_count = (uint32_t)m->n_deployments;
    for (size_t i = 0; rc == 0 && i < m->n_deployments; i++)
        rc = take_deployment(b, m, i, &list[i]);
    out->context_window = m->context_window;
    out->max_output = m->max_output;
    out->capabilities = m->capabilities;
    out->prior_q16 = m->prior_quality_q16 != 0 ? m->prior_quality_q16 : POLICY_NO_PRIOR;
    out->prior_out = m->prior_output_tokens;
    out->created_s = m->created;
    return rc == 0 ? put_unique(b, &b->s->models_by_id, out->id, out, "model") : rc;
}

static int build_models(struct builder *b, const Catalogue *c)
{
    if (c->n_models > SNAPSHOT_MODELS_MAX)
        return refuse(b, ERR_LIMIT, "LIMIT", "more than %d models", SNAPSHOT_MODELS_MAX);
    struct snapshot_model *list = take(b, c->n_models, sizeof(*list));
    if (list == NULL)
        return no_memory(b);
    b->s->models = list;
    b->s->model_count = (uint32_t)c->n_models;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < c->n_models; i++) {
        list[i].ordinal = (uint32_t)i;
        rc = take_model(b, c->models[i], &list[i]);
    }
    b->s->deployment_count = b->deployments;
    return rc;
}

/* ---- policies ---- */

static void shared_unref(struct shared_artifact *shared)
{
    if (shared == NULL || atomic_fetch_sub(&shared->refs, 1) != 1)
        return;
    artifact_destroy(shared->artifact);
    mem_free(shared);
}

/* The one in service, if it is the same file. */
static struct shared_artifact *shared_find(const struct snapshot *previous,
                                           const struct sha256 *sha256, uint32_t hash_key_id)
{
    if (previous == NULL || previous->limits.hash_key_id != hash_key_id)
        return NULL;
    for (uint32_t i = 0; i < previous->policy_count; i++) {
        struct shared_artifact *shared = previous->policy_artifacts[i].shared;
        if (shared != NULL && memcmp(&shared->sha256, sha256, sizeof(*sha256)) == 0) {
            atomic_fetch_add(&shared->refs, 1);
            return shared;
        }
    }
    return NULL;
}

/* Decode, deployment, self-test (B42). */
static int load_artifact(struct builder *b, const struct resource *r,
                         struct shared_artifact **out_shared)
{
    const struct snapshot_limits *limits = &b->s->limits;
    *out_shared = shared_find(b->inputs->previous, &r->sha256, limits->hash_key_id);
    if (*out_shared != NULL)
        return 0;
    struct shared_artifact *shared = mem_zalloc(sizeof(*shared));
    if (shared == NULL)
        return no_memory(b);
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
        shared_unref(shared);
        if (rc == ERR_NOMEM)
            return no_memory(b);
        b->at = r;
        char code[48];
        (void)snprintf(code, sizeof(code), "ARTIFACT_%s", artifact_reason_name(reason));
        return refuse(b, rc, code, "%s",
                      err.message[0] != '\0' ? err.message : artifact_reason_text(reason));
    }
    *out_shared = shared;
    return 0;
}

static int take_artifact(struct builder *b, const Params *m, struct snapshot_policy *p,
                         struct snapshot_policy_private *private)
{
    if (m->artifact_sha256.len == 0)
        return 0;
    if (m->artifact_sha256.len != SHA256_BYTES)
        return refuse(b, ERR_INVALID, "INVALID", "artifact_sha256 is not 32 bytes long");
    const char *key = arena_printf(&b->s->arena, "artifact/%.*s", STR_ARG(p->name));
    if (key == NULL)
        return no_memory(b);
    const struct resource *r = resource_set_get(b->set, str_from(key));
    if (r == NULL || memcmp(r->sha256.bytes, m->artifact_sha256.data, SHA256_BYTES) != 0)
        return refuse(b, ERR_NOT_FOUND, "REFERENCE",
                      "policy '%.*s' names an artifact that is not here", STR_ARG(p->name));
    int rc = load_artifact(b, r, &private->shared);
    if (rc != 0)
        return rc;
    p->artifact = private->shared->artifact;
    return take_text(b, (struct str){.data = (const char *)r->sha256.bytes, .len = SHA256_BYTES},
                     &p->artifact_sha);
}

static int take_params(struct builder *b, const Params *m, struct snapshot_policy *p)
{
    struct policy_params *q = &p->params;
    policy_params_init(q);
    if (p->artifact != NULL)
        policy_params_from_artifact(q, p->artifact, 0);
    q->strategy = POLICY_LEARNED;
    q->lambda = m->lambda;
    q->mu = m->mu;
    q->floor_q16 = m->floor_q16;
    q->eps_cap = m->eps_cap;
    if (m->gamma != 0)
        q->gamma = m->gamma > UINT32_MAX ? UINT32_MAX : (uint32_t)m->gamma;
    if (m->delta_q16 != 0)
        q->delta_q16 = m->delta_q16;
    if (m->stick_margin != 0)
        q->stick_margin = m->stick_margin;
    q->draw_key = b->s->limits.draw_key;
    for (size_t i = 0; i < m->n_offsets; i++) {
        struct str model = str_from(m->offsets[i]->model);
        int32_t ordinal = p->artifact != NULL ? artifact_model(p->artifact, model) : -1;
        if (ordinal < 0)
            return refuse(b, ERR_NOT_FOUND, "REFERENCE",
                          "offset of model '%.*s', which the artifact does not know",
                          STR_ARG(model));
        q->off[ordinal] = m->offsets[i]->offset;
    }
    p->default_out_tokens = m->default_out_tokens;
    if (!policy_params_valid(q))
        return refuse(b, ERR_INVALID, "INVALID", "parameters of policy '%.*s' are out of range",
                      STR_ARG(p->name));
    return 0;
}

/* One number, one content; numbers only rise (P8). */
static int check_version(struct builder *b, const struct snapshot_policy *p)
{
    const struct snapshot *previous = b->inputs->previous;
    if (previous == NULL || previous->era != b->inputs->era)
        return 0;
    const struct snapshot_policy *old = snapshot_policy(previous, p->name);
    if (old == NULL || p->version > old->version)
        return 0;
    if (p->version < old->version)
        return refuse(b, ERR_VERSION, "VERSION", "version %llu is older than %llu in service",
                      (unsigned long long)p->version, (unsigned long long)old->version);
    if (memcmp(&p->params_sha, &old->params_sha, sizeof(p->params_sha)) != 0)
        return refuse(b, ERR_VERSION, "VERSION", "version %llu in service has another content",
                      (unsigned long long)p->version);
    return 0;
}

static int take_policy(struct builder *b, const struct resource *r, const Params *m,
                       struct snapshot_policy *p, struct snapshot_policy_private *private)
{
    int rc = take_name(b, "policy", m->policy, &p->name);
    if (rc != 0)
        return rc;
    if (!str_eq(str_slice(r->key, 7, r->key.len), p->name))
        return refuse(b, ERR_INVALID, "INVALID", "names policy '%.*s' under another key",
                      STR_ARG(p->name));
    p->version = m->version;
    p->params_sha = r->sha256;
    const char *text =
        arena_printf(&b->s->arena, "%.*s@%llu", STR_ARG(p->name), (unsigned long long)p->version);
    if (text == NULL)
        return no_memory(b);
    p->version_text = str_from(text);
    rc = check_version(b, p);
    if (rc == 0)
        rc = take_artifact(b, m, p, private);
    if (rc != 0)
        return rc;
    b->at = r;
    rc = take_params(b, m, p);
    return rc == 0 ? put_unique(b, &b->s->policies_by_name, p->name, p, "policy") : rc;
}

static int build_policies(struct builder *b)
{
    struct str prefix = STR("params/");
    size_t count = 0;
    const struct map_entry *e;
    for (size_t i = 0; (e = map_next(&b->set->by_key, &i)) != NULL;)
        count += str_starts(e->key, prefix);
    if (count > SNAPSHOT_POLICIES_MAX)
        return refuse(b, ERR_LIMIT, "LIMIT", "more than %d policies", SNAPSHOT_POLICIES_MAX);
    struct snapshot_policy *list = take(b, count, sizeof(*list));
    struct snapshot_policy_private *private = take(b, count, sizeof(*private));
    if (list == NULL || private == NULL)
        return no_memory(b);
    b->s->policies = list;
    b->s->policy_artifacts = private;
    int rc = 0;
    for (size_t i = 0; rc == 0 && (e = map_next(&b->set->by_key, &i)) != NULL;) {
        if (!str_starts(e->key, prefix))
            continue;
        const struct resource *r = e->value;
        ProtobufCMessage *m = NULL;
        b->at = r;
        uint32_t at = b->s->policy_count++;
        if (wire_unpack(&steelyard__control__v1__params__descriptor, r->body, &m) != 0)
            rc = refuse(b, ERR_CORRUPT, "MALFORMED", "the body cannot be read");
        else
            rc = take_policy(b, r, (const Params *)m, &list[at], &private[at]);
        wire_free(m);
    }
    return rc;
}

/* ---- routes ---- */

static int take_candidates(struct builder *b, const Route *m, struct snapshot_route *out)
{
    if (m->n_models == 0 || m->n_models > POLICY_CANDIDATES_MAX)
        return refuse(b, ERR_INVALID, "INVALID", "route '%s' has %zu models (1 to %d)", m->name,
                      m->n_models, POLICY_CANDIDATES_MAX);
    if (m->n_fallbacks > SNAPSHOT_FALLBACKS_MAX)
        return refuse(b, ERR_LIMIT, "LIMIT", "route '%s' has more than %d fallbacks", m->name,
                      SNAPSHOT_FALLBACKS_MAX);
    struct snapshot_candidate *list = take(b, m->n_models, sizeof(*list));
    const struct snapshot_model **fallbacks =
        take(b, m->n_fallbacks, sizeof(const struct snapshot_model *));
    if (list == NULL || fallbacks == NULL)
        return no_memory(b);
    out->candidates = list;
    out->candidate_count = (uint32_t)m->n_models;
    out->fallbacks = fallbacks;
    out->fallback_count = (uint32_t)m->n_fallbacks;
    for (size_t i = 0; i < m->n_models + m->n_fallbacks; i++) {
        bool fallback = i >= m->n_models;
        const char *id = fallback ? m->fallbacks[i - m->n_models] : m->models[i];
        const struct snapshot_model *model = snapshot_model(b->s, str_from(id));
        if (model == NULL)
            return refuse(b, ERR_NOT_FOUND, "REFERENCE", "route '%s' names unknown model '%s'",
                          m->name, id);
        if (fallback) {
            fallbacks[i - m->n_models] = model;
            continue;
        }
        for (size_t j = 0; j < i; j++)
            if (list[j].model == model)
                return refuse(b, ERR_EXISTS, "DUPLICATE", "route '%s' names model '%s' twice",
                              m->name, id);
        const struct artifact *a = out->policy != NULL ? out->policy->artifact : NULL;
        list[i] = (struct snapshot_candidate){.model = model,
                                              .ordinal = a != NULL ? artifact_model(a, model->id)
                                                                   : POLICY_UNKNOWN_MODEL};
    }
    return 0;
}

static int take_route(struct builder *b, const Route *m, struct snapshot_route *out)
{
    int rc = take_name(b, "route", m->name, &out->name);
    if (rc != 0)
        return rc;
    if (m->policy[0] != '\0') {
        out->policy = snapshot_policy(b->s, str_from(m->policy));
        if (out->policy == NULL)
            return refuse(b, ERR_NOT_FOUND, "REFERENCE", "route '%s' names unknown policy '%s'",
                          m->name, m->policy);
    }
    out->timeout_ms = m->timeout_ms;
    out->retries = m->retries;
    rc = take_candidates(b, m, out);
    return rc == 0 ? put_unique(b, &b->s->routes_by_name, out->name, out, "route") : rc;
}

static int build_routes(struct builder *b, const Catalogue *c)
{
    if (c->n_routes > SNAPSHOT_ROUTES_MAX)
        return refuse(b, ERR_LIMIT, "LIMIT", "more than %d routes", SNAPSHOT_ROUTES_MAX);
    struct snapshot_route *list = take(b, c->n_routes, sizeof(*list));
    if (list == NULL)
        return no_memory(b);
    b->s->routes = list;
    b->s->route_count = (uint32_t)c->n_routes;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < c->n_routes; i++) {
        list[i].ordinal = (uint32_t)i;
        rc = take_route(b, c->routes[i], &list[i]);
    }
    return rc;
}

static int build_catalogue(struct builder *b)
{
    ProtobufCMessage *m = NULL;
    int rc = build_prices(b);
    if (rc == 0)
        rc = unpack(b, "catalogue", &steelyard__control__v1__catalogue__descriptor, &m);
    static const Catalogue empty = STEELYARD__CONTROL__V1__CATALOGUE__INIT;
    const Catalogue *c = m != NULL ? (const Catalogue *)m : &empty;
    const struct resource *r = b->at;
    if (rc == 0)
        rc = build_providers(b, c);
    if (rc == 0)
        rc = build_models(b, c);
    if (rc == 0)
        rc = build_policies(b);
    if (rc == 0) {
        b->at = r;
        rc = build_routes(b, c);
    }
    wire_free(m);
    return rc;
}

/* ---- keys ---- */

typedef const void *(*lookup_fn)(const struct snapshot *s, struct str name, uint32_t *out_ordinal);

static const void *lookup_model(const struct snapshot *s, struct str name, uint32_t *out_ordinal)
{
    const struct snapshot_model *m = snapshot_model(s, name);
    if (m != NULL)
        *out_ordinal = m->ordinal;
    return m;
}

static const void *lookup_route(const struct snapshot *s, struct str name, uint32_t *out_ordinal)
{
    const struct snapshot_route *r = snapshot_route(s, name);
    if (r != NULL)
        *out_ordinal = r->ordinal;
    return r;
}

/* Equal sets share one bitmap: many keys, few scopes. */
static int take_scope(struct builder *b, char **names, size_t count, uint32_t bits,
                      lookup_fn lookup, const struct scope **out)
{
    *out = NULL;
    if (count == 0)
        return 0;
    size_t words = ((size_t)bits + 63) / 64;
    size_t size = sizeof(struct scope) + words * sizeof(uint64_t);
    struct arena_mark mark = arena_mark(&b->s->arena);
    struct scope *scope = take(b, 1, size);
    if (scope == NULL)
        return no_memory(b);
    scope->count = bits;
    for (size_t i = 0; i < count; i++) {
        uint32_t ordinal;
        /* An unknown name allows nothing: models come and go, keys stay. */
        if (lookup(b->s, str_from(names[i]), &ordinal) != NULL)
            scope->bits[ordinal / 64] |= UINT64_C(1) << (ordinal % 64);
    }
    struct str key = {.data = (const char *)scope, .len = size};
    struct scope *same = map_get(&b->scopes, key);
    if (same != NULL) {
        arena_rewind(&b->s->arena, mark);
        scope = same;
    } else if (map_put(&b->scopes, key, scope, NULL) != 0) {
        return no_memory(b);
    }
    *out = scope;
    return 0;
}

static int take_identity(struct builder *b, const Key *m, struct identity *out)
{
    if (m->sha256.len != SHA256_BYTES)
        return refuse(b, ERR_INVALID, "INVALID", "key %llu: hash is not 32 bytes long",
                      (unsigned long long)m->id);
    out->id = m->id;
    memcpy(out->hash.bytes, m->sha256.data, SHA256_BYTES);
    int rc = take_name(b, "public id of a key", m->public_id, &out->public_id);
    if (rc == 0)
        rc = take_text(b, str_slice(str_from(m->name), 0, SNAPSHOT_NAME_BYTES_MAX), &out->name);
    if (rc == 0)
        rc = take_scope(b, m->routes, m->n_routes, b->s->route_count, lookup_route, &out->routes);
    if (rc == 0)
        rc = take_scope(b, m->models, m->n_models, b->s->model_count, lookup_model, &out->models);
    if (rc != 0)
        return rc;
    if (m->n_accounts > 16)
        return refuse(b, ERR_LIMIT, "LIMIT", "key %llu has more than 16 accounts",
                      (unsigned long long)m->id);
    uint64_t *accounts = take(b, m->n_accounts, sizeof(*accounts));
    if (accounts == NULL)
        return no_memory(b);
    if (m->n_accounts > 0)
        memcpy(accounts, m->accounts, m->n_accounts * sizeof(*accounts));
    out->accounts = accounts;
    out->account_count = (uint32_t)m->n_accounts;
    out->segment = m->segment;
    out->expires_us = m->expires_us;
    out->disabled = m->disabled;
    out->no_explore = m->no_explore;
    out->may_no_log = m->may_no_log;
    return 0;
}

static int build_keys(struct builder *b)
{
    ProtobufCMessage *m;
    int rc = unpack(b, "keys", &steelyard__control__v1__keys__descriptor, &m);
    if (rc != 0 || m == NULL)
        return rc;
    const Keys *keys = (const Keys *)m;
    struct identity *list = NULL;
    if (keys->n_keys > KEYRING_KEYS_MAX)
        rc = refuse(b, ERR_LIMIT, "LIMIT", "more than %d keys", KEYRING_KEYS_MAX);
    else if ((list = take(b, keys->n_keys, sizeof(*list))) == NULL)
        rc = no_memory(b);
    for (size_t i = 0; rc == 0 && i < keys->n_keys; i++) {
        rc = take_identity(b, keys->keys[i], &list[i]);
        if (rc == 0)
            rc = keyring_add(&b->s->keyring, &list[i]);
        if (rc == ERR_EXISTS)
            rc = refuse(b, rc, "DUPLICATE", "public id '%s' appears twice",
                        keys->keys[i]->public_id);
        else if (rc == ERR_NOMEM)
            rc = no_memory(b);
    }
    wire_free(m);
    return rc;
}

/* ---- whole ---- */

void snapshot_free(struct snapshot *s)
{
    for (uint32_t i = 0; i < s->provider_count; i++)
        secret_destroy(s->providers[i].secret);
    for (uint32_t i = 0; i < s->policy_count; i++)
        shared_unref(s->policy_artifacts[i].shared);
    keyring_deinit(&s->keyring);
    map_deinit(&s->models_by_id);
    map_deinit(&s->routes_by_name);
    map_deinit(&s->policies_by_name);
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
        return no_memory(&b);
    struct snapshot *s = b.s;
    atomic_init(&s->refs, 1);
    arena_pool_init(&s->pool, 0);
    arena_init(&s->arena, &s->pool, ARENA_BYTES_MAX);
    keyring_init(&s->keyring);
    map_init(&s->models_by_id);
    map_init(&s->routes_by_name);
    map_init(&s->policies_by_name);
    map_init(&b.providers);
    map_init(&b.prices);
    map_init(&b.scopes);
    s->era = inputs->era;
    s->generation = inputs->generation;
    s->applied_us = clock_wall_us();
    s->applied_mono_ms = clock_mono_ms();
    int rc = build_limits(&b);
    if (rc == 0)
        rc = build_catalogue(&b);
    if (rc == 0)
        rc = build_keys(&b);
    map_deinit(&b.providers);
    map_deinit(&b.prices);
    map_deinit(&b.scopes);
    wire_free(b.price_message != NULL ? &b.price_message->base : NULL);
    if (rc != 0) {
        snapshot_unref(s);
        return rc;
    }
    s->resources = set;
    *out_snapshot = s;
    return 0;
}
