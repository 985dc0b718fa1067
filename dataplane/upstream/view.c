#include "dataplane/upstream/view.h"

#include <string.h>

#include "common/base/mem.h"

int upstream_init(struct upstream *u, uv_loop_t *loop, const struct transport_ops *ops,
                  struct snapshot_reader *reader, struct endpoint_registry *registry)
{
    *u = (struct upstream){.ops = ops, .reader = reader};
    list_init(&u->origins);
    endpoint_table_init(&u->endpoints, registry);
    u->transport = ops->create(loop);
    return u->transport != NULL ? 0 : ERR_NOMEM;
}

static void origin_free(struct upstream *u, struct upstream_origin *o)
{
    list_remove(&o->link);
    if (o->origin != NULL)
        u->ops->origin_close(o->origin, NULL, NULL);
    mem_free(o->url);
    mem_free(o->ca_file);
    mem_free(o);
}

static bool text_is(const char *text, struct str s)
{
    return text == NULL ? s.len == 0 : str_is(s, text);
}

static struct upstream_origin *origin_create(struct upstream *u, const struct snapshot_provider *p)
{
    struct upstream_origin *o = mem_zalloc(sizeof *o);
    if (o == NULL)
        return NULL;
    list_init(&o->link);
    o->allow_private = p->allow_private;
    o->url = mem_strndup(p->origin.data, p->origin.len);
    if (p->ca_file.len > 0)
        o->ca_file = mem_strndup(p->ca_file.data, p->ca_file.len);
    if (o->url == NULL || (p->ca_file.len > 0 && o->ca_file == NULL)) {
        origin_free(u, o);
        return NULL;
    }
    const struct fetch_origin_config config = {
        .url = o->url,
        .allow_private = p->allow_private,
        .allow_http = !p->tls,
        .ca_file = o->ca_file,
        .max_connections = 4096,
        .max_idle_connections = 256,
    };
    if (u->ops->origin_create(u->transport, &config, &o->origin, NULL) != 0) {
        u->origins_refused++;
        o->origin = NULL;
        origin_free(u, o);
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
            o->allow_private == p->allow_private) {
            o->uses++;
            return o;
        }
    }
    struct upstream_origin *o = origin_create(u, p);
    if (o != NULL)
        o->uses++;
    return o;
}

static void view_drop(struct upstream *u, struct upstream_view *v)
{
    if (--v->uses > 0)
        return;
    for (uint32_t i = 0; i < v->snapshot->deployment_count; i++) {
        struct upstream_origin *o = v->targets[i].origin;
        if (o != NULL && --o->uses == 0)
            origin_free(u, o);
    }
    snapshot_unpin(v->pin);
    mem_free(v->targets);
    mem_free(v);
}

/* Takes over the pin; NULL leaves it with the caller. */
static struct upstream_view *view_create(struct upstream *u, struct snapshot_pin *pin)
{
    const struct snapshot *s = pin->snapshot;
    struct upstream_view *v = mem_zalloc(sizeof *v);
    struct upstream_target *targets = mem_calloc(s->deployment_count + 1, sizeof *targets);
    if (v == NULL || targets == NULL) {
        mem_free(v);
        mem_free(targets);
        return NULL;
    }
    *v = (struct upstream_view){.snapshot = s, .targets = targets, .pin = pin, .uses = 1};
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
                        origin_free(u, targets[k].origin);
                mem_free(targets);
                mem_free(v);
                return NULL;
            }
        }
    }
    return v;
}

struct upstream_view *upstream_pin(struct upstream *u)
{
    struct snapshot_pin *pin = snapshot_pin(u->reader);
    struct upstream_view *old = u->current;
    if (pin != NULL && (old == NULL || old->snapshot != pin->snapshot)) {
        struct upstream_view *fresh = view_create(u, pin);
        if (fresh != NULL) {
            u->current = fresh;
            pin = NULL; /* The view's now. */
            if (old != NULL)
                view_drop(u, old);
        } /* Without memory for it the view before serves on. */
    }
    if (pin != NULL)
        snapshot_unpin(pin);
    if (u->current != NULL)
        u->current->uses++;
    return u->current;
}

void upstream_unpin(struct upstream *u, struct upstream_view *view)
{
    view_drop(u, view);
}

void upstream_refresh(struct upstream *u)
{
    struct upstream_view *v = upstream_pin(u);
    if (v != NULL)
        upstream_unpin(u, v);
    snapshot_reader_refresh(u->reader);
}

void upstream_close(struct upstream *u, fetch_close_cb cb, void *arg)
{
    if (u->current != NULL) {
        struct upstream_view *v = u->current;
        u->current = NULL;
        view_drop(u, v);
    }
    LIST_FOREACH_SAFE (it, tmp, &u->origins)
        origin_free(u, container_of(it, struct upstream_origin, link));
    u->ops->close(u->transport, cb, arg);
}

void upstream_deinit(struct upstream *u)
{
    endpoint_table_deinit(&u->endpoints);
}
