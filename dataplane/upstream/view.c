#include "dataplane/upstream/view.h"

#include <string.h>

#include "common/base/mem.h"
#include "dataplane/upstream/lean.h"

/* Not the bound: each connection serves a request, and those are bounded (--max-requests). */
#define ORIGIN_CONNECTIONS_MAX 65536U

static const struct transport_ops *const wire_ops[UPSTREAM_WIRE_COUNT] = {
    [UPSTREAM_WIRE_LEAN] = &transport_lean,
    [UPSTREAM_WIRE_LIBCURL] = &transport_over_fetch,
};

/* NULL: out of memory. */
static struct upstream_wire *wire_use(struct upstream *u, enum upstream_wire_kind kind)
{
    struct upstream_wire *w = &u->wires[kind];
    if (w->transport == NULL)
        w->transport = w->ops->create(u->loop);
    return w->transport != NULL ? w : NULL;
}

int upstream_init(struct upstream *u, uv_loop_t *loop, struct snapshot_reader *reader,
                  struct endpoint_registry *registry)
{
    *u = (struct upstream){.loop = loop, .reader = reader};
    list_init(&u->origins);
    endpoint_table_init(&u->endpoints, registry);
    for (size_t i = 0; i < UPSTREAM_WIRE_COUNT; i++)
        u->wires[i].ops = wire_ops[i];
    return wire_use(u, UPSTREAM_WIRE_DEFAULT) != NULL ? 0 : ERR_NOMEM;
}

static void origin_free(struct upstream_origin *o)
{
    list_remove(&o->link);
    if (o->origin != NULL)
        o->ops->origin_close(o->origin, NULL, NULL);
    mem_free(o->url);
    mem_free(o->ca_file);
    mem_free(o);
}

static bool text_is(const char *text, struct str s)
{
    return text == NULL ? s.len == 0 : str_is(s, text);
}

static enum upstream_wire_kind wire_of(const struct snapshot_provider *p)
{
    switch (p->transport) {
    case SNAPSHOT_TRANSPORT_LEAN:
        return UPSTREAM_WIRE_LEAN;
    case SNAPSHOT_TRANSPORT_LIBCURL:
        return UPSTREAM_WIRE_LIBCURL;
    case SNAPSHOT_TRANSPORT_AUTO:
        break;
    }
    return UPSTREAM_WIRE_DEFAULT;
}

static struct upstream_origin *origin_create(struct upstream *u, const struct snapshot_provider *p)
{
    struct upstream_wire *w = wire_use(u, wire_of(p));
    struct upstream_origin *o = w != NULL ? mem_zalloc(sizeof *o) : NULL;
    if (o == NULL)
        return NULL;
    list_init(&o->link);
    o->ops = w->ops;
    o->allow_private = p->allow_private;
    o->url = mem_strndup(p->origin.data, p->origin.len);
    if (p->ca_file.len > 0)
        o->ca_file = mem_strndup(p->ca_file.data, p->ca_file.len);
    if (o->url == NULL || (p->ca_file.len > 0 && o->ca_file == NULL)) {
        origin_free(o);
        return NULL;
    }
    const struct fetch_origin_config config = {
        .url = o->url,
        .allow_private = p->allow_private,
        .allow_http = !p->tls,
        .ca_file = o->ca_file,
        .max_connections = ORIGIN_CONNECTIONS_MAX,
        .max_idle_connections = 256,
    };
    if (w->ops->origin_create(w->transport, &config, &o->origin, NULL) != 0) {
        u->origins_refused++;
        o->origin = NULL;
        origin_free(o);
        return NULL;
    }
    list_push_back(&u->origins, &o->link);
    return o;
}

static struct upstream_origin *origin_use(struct upstream *u, const struct snapshot_provider *p)
{
    LIST_FOREACH (it, &u->origins) {
        struct upstream_origin *o = container_of(it, struct upstream_origin, link);
        if (text_is(o->url, p->origin) && text_is(o->ca_file, p->ca_file) &&
            o->allow_private == p->allow_private && o->ops == wire_ops[wire_of(p)]) {
            o->uses++;
            return o;
        }
    }
    struct upstream_origin *o = origin_create(u, p);
    if (o != NULL)
        o->uses++;
    return o;
}

static void view_drop(struct upstream_view *v)
{
    if (--v->uses > 0)
        return;
    for (uint32_t i = 0; i < v->snapshot->deployment_count; i++) {
        struct upstream_origin *o = v->targets[i].origin;
        if (o != NULL && --o->uses == 0)
            origin_free(o);
    }
    snapshot_unpin(v->pin);
    mem_free(v->targets);
    mem_free(v->turns);
    mem_free(v);
}

/* Takes over the pin; NULL leaves it with the caller. */
static struct upstream_view *view_create(struct upstream *u, struct snapshot_pin *pin)
{
    const struct snapshot *s = pin->snapshot;
    struct upstream_view *v = mem_zalloc(sizeof *v);
    struct upstream_target *targets = mem_calloc(s->deployment_count + 1, sizeof *targets);
    uint32_t *turns = mem_calloc((size_t)s->route_count + s->model_count + 1, sizeof *turns);
    if (v == NULL || targets == NULL || turns == NULL) {
        mem_free(v);
        mem_free(targets);
        mem_free(turns);
        return NULL;
    }
    *v = (struct upstream_view){
        .snapshot = s, .targets = targets, .turns = turns, .pin = pin, .uses = 1};
    for (uint32_t m = 0; m < s->model_count; m++) {
        for (uint32_t i = 0; i < s->models[m].deployment_count; i++) {
            const struct snapshot_deployment *d = &s->models[m].deployments[i];
            struct upstream_target *t = &targets[d->ordinal];
            t->deployment = d;
            t->endpoint = endpoint_table_get(&u->endpoints, d->provider->name, d->upstream_model);
            t->origin = origin_use(u, d->provider);
            if (t->endpoint == NULL) {
                v->pin = NULL;
                for (uint32_t k = 0; k < s->deployment_count; k++)
                    if (targets[k].origin != NULL && --targets[k].origin->uses == 0)
                        origin_free(targets[k].origin);
                mem_free(targets);
                mem_free(turns);
                mem_free(v);
                return NULL;
            }
        }
    }
    return v;
}

static void renew(struct upstream *u)
{
    struct snapshot_pin *pin = snapshot_pin(u->reader);
    struct upstream_view *old = u->current;
    struct upstream_view *fresh = pin != NULL ? view_create(u, pin) : NULL;
    if (fresh == NULL) { /* Without memory for it the view before serves on. */
        if (pin != NULL)
            snapshot_unpin(pin);
        return;
    }
    u->current = fresh; /* The pin is the view's now. */
    if (old != NULL)
        view_drop(old);
}

struct upstream_view *upstream_pin(struct upstream *u)
{
    if (u->current == NULL || u->current->snapshot != snapshot_newest(u->reader))
        renew(u);
    if (u->current != NULL)
        u->current->uses++;
    return u->current;
}

void upstream_unpin(struct upstream *u, struct upstream_view *view)
{
    (void)u;
    view_drop(view);
}

void upstream_refresh(struct upstream *u)
{
    struct upstream_view *v = upstream_pin(u);
    if (v != NULL)
        upstream_unpin(u, v);
    snapshot_reader_refresh(u->reader);
}

static void on_wire_closed(void *arg)
{
    struct upstream *u = arg;
    if (--u->wires_closing == 0 && u->on_closed != NULL)
        u->on_closed(u->on_closed_arg);
}

void upstream_close(struct upstream *u, fetch_close_cb cb, void *arg)
{
    u->on_closed = cb;
    u->on_closed_arg = arg;
    if (u->current != NULL) {
        struct upstream_view *v = u->current;
        u->current = NULL;
        view_drop(v);
    }
    LIST_FOREACH_SAFE (it, tmp, &u->origins)
        origin_free(container_of(it, struct upstream_origin, link));
    for (size_t i = 0; i < UPSTREAM_WIRE_COUNT; i++)
        u->wires_closing += u->wires[i].transport != NULL;
    for (size_t i = 0; i < UPSTREAM_WIRE_COUNT; i++)
        if (u->wires[i].transport != NULL)
            u->wires[i].ops->close(u->wires[i].transport, on_wire_closed, u);
}

void upstream_work(struct upstream *u)
{
    for (size_t i = 0; i < UPSTREAM_WIRE_COUNT; i++) {
        const struct upstream_wire *w = &u->wires[i];
        if (w->transport != NULL && w->ops->work != NULL)
            w->ops->work(w->transport);
    }
}

void upstream_send(struct upstream *u)
{
    for (size_t i = 0; i < UPSTREAM_WIRE_COUNT; i++) {
        const struct upstream_wire *w = &u->wires[i];
        if (w->transport != NULL && w->ops->send != NULL)
            w->ops->send(w->transport);
    }
}

void upstream_trim(struct upstream *u)
{
    for (size_t i = 0; i < UPSTREAM_WIRE_COUNT; i++) {
        const struct upstream_wire *w = &u->wires[i];
        if (w->transport != NULL && w->ops->trim != NULL)
            w->ops->trim(w->transport);
    }
}

void upstream_deinit(struct upstream *u)
{
    endpoint_table_deinit(&u->endpoints);
}
