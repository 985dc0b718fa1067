/* Providers of a snapshot: where secrets may go, and how long things may take. */
#include "common/base/url.h"
#include "dataplane/credential/aws.h"
#include "dataplane/state/builder.h"

#include "control.pb-c.h"

typedef Steelyard__Control__V1__Catalogue Catalogue;
typedef Steelyard__Control__V1__Provider Provider;

/* ---- providers ---- */

bool snapshot_parse_url(struct str text, bool *out_tls, struct str *out_host, uint16_t *out_port,
                        struct str *out_prefix)
{
    struct url url;
    if (url_parse(text, &url) != 0)
        return false;
    while (url.path.len > 0 && url.path.data[url.path.len - 1] == '/')
        url.path.len--;
    *out_tls = url.tls;
    *out_host = url.host;
    *out_port = url.port;
    *out_prefix = url.path;
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
    int rc = builder_text(b, str_from(m->secret_ref), &p->secret_ref);
    if (rc != 0)
        return rc;
    int (*resolve)(struct str, struct secret **, struct err *) =
        b->inputs->resolve != NULL ? b->inputs->resolve : secret_resolve;
    rc = resolve(str_from(m->secret_ref), &p->secret, &err);
    if (rc == ERR_NOMEM)
        return builder_no_memory(b);
    /* One provider without its key on this node must not stop the others, or a revocation. */
    p->secret_missing = rc != 0;
    return 0;
}

static bool is_region(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!((s.data[i] >= 'a' && s.data[i] <= 'z') || (s.data[i] >= '0' && s.data[i] <= '9') ||
              s.data[i] == '-'))
            return false;
    return s.len > 0 && s.len <= 32;
}

static bool needs_region(enum keeper_kind kind)
{
    return kind == KEEPER_AWS_KEYS || kind == KEEPER_AWS_WEB_IDENTITY;
}

/* What cannot be had is missing, as a key that cannot be read. */
static int take_kept(struct builder *b, enum keeper_kind kind, struct snapshot_provider *p)
{
    const bool secret_is_used = kind == KEEPER_AWS_KEYS || kind == KEEPER_GOOGLE_ACCOUNT;
    int rc = ERR_NOT_FOUND;
    if (p->secret_missing)
        return 0;
    if ((b->inputs->keeper != NULL || kind == KEEPER_AWS_KEYS) &&
        (!secret_is_used || p->secret != NULL) && (!needs_region(kind) || is_region(p->region)))
        rc = keeper_take(b->inputs->keeper, kind, secret_is_used ? secret_get(p->secret) : STR_NULL,
                         p->region, &p->shown);
    if (rc == ERR_NOMEM)
        return builder_no_memory(b);
    p->secret_missing = rc != 0;
    return 0;
}

static int take_credential(struct builder *b, const Provider *m, struct snapshot_provider *p)
{
    int rc = take_secret(b, m, p);
    if (rc != 0)
        return rc;
    if (p->kind != NULL && p->kind->auth == HOST_AUTH_SIGV4 && p->region.len == 0)
        p->region = aws_region_of(p->host);
    switch (p->credential) {
    case SNAPSHOT_CREDENTIAL_KEY:
        return 0;
    case SNAPSHOT_CREDENTIAL_AWS_KEYS:
        return take_kept(b, KEEPER_AWS_KEYS, p);
    case SNAPSHOT_CREDENTIAL_AWS_WEB_IDENTITY:
        return take_kept(b, KEEPER_AWS_WEB_IDENTITY, p);
    case SNAPSHOT_CREDENTIAL_GOOGLE_SERVICE_ACCOUNT:
        return take_kept(b, KEEPER_GOOGLE_ACCOUNT, p);
    case SNAPSHOT_CREDENTIAL_GOOGLE_METADATA:
        return take_kept(b, KEEPER_GOOGLE_METADATA, p);
    }
    return 0;
}

static enum snapshot_transport transport_of(const Provider *m)
{
    if (m->transport == STEELYARD__CONTROL__V1__TRANSPORT__TRANSPORT_LEAN)
        return SNAPSHOT_TRANSPORT_LEAN;
    if (m->transport == STEELYARD__CONTROL__V1__TRANSPORT__TRANSPORT_LIBCURL)
        return SNAPSHOT_TRANSPORT_LIBCURL;
    return SNAPSHOT_TRANSPORT_AUTO; /* What a newer control plane may know is not known here. */
}

static enum snapshot_credential credential_of(const Provider *m)
{
    switch (m->credential) {
    case STEELYARD__CONTROL__V1__CREDENTIAL__CREDENTIAL_AWS_KEYS:
        return SNAPSHOT_CREDENTIAL_AWS_KEYS;
    case STEELYARD__CONTROL__V1__CREDENTIAL__CREDENTIAL_AWS_WEB_IDENTITY:
        return SNAPSHOT_CREDENTIAL_AWS_WEB_IDENTITY;
    case STEELYARD__CONTROL__V1__CREDENTIAL__CREDENTIAL_GOOGLE_SERVICE_ACCOUNT:
        return SNAPSHOT_CREDENTIAL_GOOGLE_SERVICE_ACCOUNT;
    case STEELYARD__CONTROL__V1__CREDENTIAL__CREDENTIAL_GOOGLE_METADATA:
        return SNAPSHOT_CREDENTIAL_GOOGLE_METADATA;
    case STEELYARD__CONTROL__V1__CREDENTIAL__CREDENTIAL_KEY:
    case _STEELYARD__CONTROL__V1__CREDENTIAL_IS_INT_SIZE:
        break;
    }
    return SNAPSHOT_CREDENTIAL_KEY;
}

static bool is_field_value(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.data[i] < ' ' || s.data[i] == 0x7f)
            return false;
    return true;
}

static bool is_field_name(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!((s.data[i] >= 'a' && s.data[i] <= 'z') || (s.data[i] >= '0' && s.data[i] <= '9') ||
              s.data[i] == '-' || s.data[i] == '_'))
            return false;
    return s.len > 0;
}

/* They were checked where they were written; here only what would break a head. */
static int take_headers(struct builder *b, const Provider *m, struct snapshot_provider *p)
{
    int rc = 0;
    if (m->n_headers > SNAPSHOT_HEADERS_MAX)
        return builder_refuse(b, ERR_LIMIT, "LIMIT", "provider '%.*s': more than %d headers",
                              STR_ARG(p->name), SNAPSHOT_HEADERS_MAX);
    if (m->n_headers == 0)
        return 0;
    struct snapshot_header *list = builder_alloc(b, m->n_headers, sizeof *list);
    if (list == NULL)
        return builder_no_memory(b);
    for (size_t i = 0; rc == 0 && i < m->n_headers; i++) {
        struct str name = str_from(m->headers[i]->name), value = str_from(m->headers[i]->value);
        if (!is_field_name(name) || !is_field_value(value))
            return builder_refuse(b, ERR_INVALID, "INVALID",
                                  "provider '%.*s': a header is no field of HTTP",
                                  STR_ARG(p->name));
        rc = builder_text(b, name, &list[i].name);
        if (rc == 0)
            rc = builder_text(b, value, &list[i].value);
    }
    p->headers = list;
    p->header_count = (uint32_t)m->n_headers;
    return rc;
}

static int take_variant(struct builder *b, const Provider *m, struct snapshot_provider *p)
{
    p->kind = host_find(p->type);
    p->reject_unsupported = m->reject_unsupported;
    p->no_repair = m->no_repair;
    p->credential = credential_of(m);
    if (!is_field_value(str_from(m->version)))
        return builder_refuse(b, ERR_INVALID, "INVALID", "provider '%.*s': version is no text",
                              STR_ARG(p->name));
    int rc = builder_text(b, str_from(m->version), &p->version);
    if (rc == 0)
        rc = builder_text(b, str_from(m->region), &p->region);
    if (rc == 0)
        rc = builder_text(b, str_from(m->project), &p->project);
    return rc == 0 ? take_headers(b, m, p) : rc;
}

static int take_provider(struct builder *b, const Provider *m, struct snapshot_provider *p)
{
    int rc = builder_name(b, "provider", m->name, &p->name);
    if (rc == 0)
        rc = builder_name(b, "provider type", m->type, &p->type);
    if (rc == 0)
        rc = builder_text(b, str_from(m->base_url), &p->base_url);
    if (rc != 0)
        return rc;
    if (p->base_url.len > 2048 ||
        !snapshot_parse_url(p->base_url, &p->tls, &p->host, &p->port, &p->prefix))
        return builder_refuse(b, ERR_INVALID, "INVALID",
                              "provider '%.*s': base_url is no http or https URL without query",
                              STR_ARG(p->name));
    bool v6 = str_find(p->host, ':') >= 0;
    const char *origin =
        arena_printf(&b->s->arena, "%s://%s%.*s%s:%u", p->tls ? "https" : "http", v6 ? "[" : "",
                     STR_ARG(p->host), v6 ? "]" : "", (unsigned)p->port);
    if (origin == NULL)
        return builder_no_memory(b);
    p->origin = str_from(origin);
    p->allow_private = m->allow_private;
    p->abort_stops_billing = m->abort_stops_billing;
    p->propagate = m->propagate;
    p->collects_nothing = m->collects_nothing;
    p->failure_domain = m->failure_domain;
    p->transport = transport_of(m);
    take_timeouts(m->timeouts, &p->timeouts);
    rc = builder_text(b, str_from(m->ca_file), &p->ca_file);
    if (rc == 0)
        rc = take_variant(b, m, p);
    if (rc == 0)
        rc = builder_put(b, &b->providers, p->name, p, "provider");
    return rc == 0 ? take_credential(b, m, p) : rc;
}

int build_providers(struct builder *b, const Catalogue *c)
{
    if (c->n_providers > SNAPSHOT_PROVIDERS_MAX)
        return builder_refuse(b, ERR_LIMIT, "LIMIT", "more than %d providers",
                              SNAPSHOT_PROVIDERS_MAX);
    struct snapshot_provider *list = builder_alloc(b, c->n_providers, sizeof(*list));
    if (list == NULL)
        return builder_no_memory(b);
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

/* ---- keys that change while they are in service ---- */

bool snapshot_secrets_changed(const struct snapshot *s)
{
    bool changed = false;
    for (uint32_t i = 0; i < s->provider_count; i++) {
        const struct snapshot_provider *p = &s->providers[i];
        struct secret *now = NULL;
        struct err err = {0};
        if (!str_starts(p->secret_ref, STR("file:")))
            continue; /* The environment of a process does not change. */
        if (secret_resolve(p->secret_ref, &now, &err) != 0) {
            if (p->secret != NULL)
                return false; /* About to be replaced, or lost: the key at hand may still work. */
            continue;
        }
        changed = changed || p->secret == NULL || !str_eq(secret_get(now), secret_get(p->secret));
        secret_destroy(now);
    }
    return changed;
}
