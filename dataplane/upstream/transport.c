/* The implementation over common/net/fetch. struct fetch has exactly one user here, so a transport
 * call is that fetch with the caller's callbacks beside it. */
#include "dataplane/upstream/transport.h"

#include "common/base/list.h"
#include "common/base/mem.h"

#define CALLS_KEPT 256U

struct transport {
    struct fetch_loop *loop;
    struct freelist calls;
    fetch_close_cb on_closed;
    void *on_closed_arg;
};

struct transport_origin {
    struct transport *transport;
    struct fetch_origin *origin;
    fetch_close_cb on_closed;
    void *on_closed_arg;
};

struct transport_call {
    struct transport *transport; /* First: the free list's link overlays it. */
    struct fetch *fetch;
    const struct transport_callbacks *callbacks;
    void *arg;
};

static struct transport *over_fetch_create(uv_loop_t *loop)
{
    struct transport *t = mem_zalloc(sizeof *t);
    if (t == NULL)
        return NULL;
    t->loop = fetch_loop_create(loop);
    if (t->loop == NULL) {
        mem_free(t);
        return NULL;
    }
    return t;
}

static void on_loop_closed(void *arg)
{
    struct transport *t = arg;
    fetch_close_cb cb = t->on_closed;
    void *cb_arg = t->on_closed_arg;
    for (struct transport_call *c; (c = freelist_take(&t->calls)) != NULL;)
        mem_free(c);
    mem_free(t);
    if (cb != NULL)
        cb(cb_arg);
}

/* Pending on_done calls still use t, so it goes with the loop's own callback. */
static void over_fetch_close(struct transport *t, fetch_close_cb cb, void *arg)
{
    t->on_closed = cb;
    t->on_closed_arg = arg;
    fetch_loop_close(t->loop, on_loop_closed, t);
}

static int over_fetch_origin_create(struct transport *t, const struct fetch_origin_config *config,
                                    struct transport_origin **out_origin, struct err *err)
{
    struct transport_origin *o = mem_zalloc(sizeof *o);
    if (o == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    o->transport = t;
    int rc = fetch_origin_create(t->loop, config, &o->origin, err);
    if (rc != 0) {
        mem_free(o);
        return rc;
    }
    *out_origin = o;
    return 0;
}

static void on_origin_closed(void *arg)
{
    struct transport_origin *o = arg;
    fetch_close_cb cb = o->on_closed;
    void *cb_arg = o->on_closed_arg;
    mem_free(o);
    if (cb != NULL)
        cb(cb_arg);
}

static void over_fetch_origin_close(struct transport_origin *o, fetch_close_cb cb, void *arg)
{
    o->on_closed = cb;
    o->on_closed_arg = arg;
    fetch_origin_close(o->origin, on_origin_closed, o);
}

static enum fetch_flow on_head(void *arg, struct fetch *f, unsigned status)
{
    (void)f;
    struct transport_call *c = arg;
    return c->callbacks->on_head(c->arg, c, status);
}

static enum fetch_flow on_body(void *arg, struct fetch *f, struct str piece)
{
    (void)f;
    struct transport_call *c = arg;
    return c->callbacks->on_body(c->arg, c, piece);
}

static void on_done(void *arg, struct fetch *f, const struct fetch_result *result)
{
    (void)f;
    struct transport_call *c = arg;
    struct transport *t = c->transport;
    c->callbacks->on_done(c->arg, c, result);
    if (t->calls.count < CALLS_KEPT)
        freelist_put(&t->calls, c);
    else
        mem_free(c);
}

static const struct fetch_callbacks fetch_callbacks = {
    .on_head = on_head,
    .on_body = on_body,
    .on_done = on_done,
};

static int over_fetch_start(struct transport_origin *o, const struct fetch_request *request,
                            const struct transport_callbacks *callbacks, void *arg,
                            struct transport_call **out_call)
{
    if (request->growing_bytes != 0)
        return ERR_UNSUPPORTED;
    struct transport *t = o->transport;
    struct transport_call *c = freelist_take(&t->calls);
    if (c == NULL)
        c = mem_alloc(sizeof *c);
    if (c == NULL)
        return ERR_NOMEM;
    *c = (struct transport_call){.transport = t, .callbacks = callbacks, .arg = arg};
    int rc = fetch_start(o->origin, request, &fetch_callbacks, c, &c->fetch);
    if (rc != 0) {
        mem_free(c);
        return rc;
    }
    *out_call = c;
    return 0;
}

static void over_fetch_cancel(struct transport_call *c)
{
    fetch_cancel(c->fetch);
}

static void over_fetch_resume(struct transport_call *c)
{
    fetch_resume(c->fetch);
}

static bool over_fetch_sent(const struct transport_call *c)
{
    return fetch_sent(c->fetch);
}

static struct str over_fetch_header(const struct transport_call *c, struct str name)
{
    return fetch_header(c->fetch, name);
}

static bool over_fetch_field(const struct transport_call *c, size_t index, struct str *out_name,
                             struct str *out_value)
{
    if (index >= fetch_header_count(c->fetch))
        return false;
    fetch_header_at(c->fetch, index, out_name, out_value);
    return true;
}

const struct transport_ops transport_over_fetch = {
    .create = over_fetch_create,
    .close = over_fetch_close,
    .origin_create = over_fetch_origin_create,
    .origin_close = over_fetch_origin_close,
    .start = over_fetch_start,
    .cancel = over_fetch_cancel,
    .resume = over_fetch_resume,
    .sent = over_fetch_sent,
    .header = over_fetch_header,
    .field = over_fetch_field,
};
