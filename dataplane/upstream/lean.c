/* Transport and origins: what is made before calls and goes after them. Closing an origin ends its
 * calls, each with its on_done on the next turn, and its connections; it is gone when the last of
 * both is. Nothing is freed or called back from inside an owner's call. */
#include "dataplane/upstream/lean.h"

#include <assert.h>
#include <string.h>

#include "common/base/mem.h"
#include "dataplane/upstream/lean_internal.h"

#define CIPHER_BYTES_MAX (4U * LEAN_SEAL_BYTES)

/* ---- transport ---- */

static void transport_free(struct transport *t)
{
    slab_deinit(&t->call_slab);
    slab_deinit(&t->conn_slab);
    slab_deinit(&t->unsent_slab);
    for (void *p; (p = freelist_take(&t->gathers)) != NULL;)
        mem_free(p);
    buf_deinit(&t->cipher);
    mem_free(t->in);
    mem_free(t->plain);
    mem_free(t);
}

static void transport_trim(struct transport *t)
{
    slab_trim(&t->call_slab);
    slab_trim(&t->conn_slab);
    slab_trim(&t->unsent_slab);
}

static struct transport *transport_create(uv_loop_t *loop)
{
    struct transport *t = mem_zalloc(sizeof *t);
    if (t == NULL)
        return NULL;
    slab_init(&t->call_slab, sizeof(struct transport_call));
    slab_init(&t->conn_slab, sizeof(struct lean_conn));
    slab_init(&t->unsent_slab, LEAN_UNSENT_BYTES);
    buf_init(&t->cipher, CIPHER_BYTES_MAX);
    t->in = mem_alloc(LEAN_HOLD_BYTES + LEAN_READ_BYTES);
    t->resolver = t->in != NULL ? resolver_create(loop, NULL) : NULL;
    if (t->resolver == NULL) {
        transport_free(t);
        return NULL;
    }
    t->loop = loop;
    list_init(&t->due);
    list_init(&t->origins);
    lean_wheel_init(&t->wheel, loop);
    (void)uv_idle_init(loop, &t->idle);
    t->parts = 3;
    return t;
}

static void part_gone(struct transport *t)
{
    if (--t->parts > 0)
        return;
    fetch_close_cb cb = t->on_closed;
    void *arg = t->on_closed_arg;
    transport_free(t);
    if (cb != NULL)
        cb(arg);
}

static void on_idle_closed(uv_handle_t *handle)
{
    part_gone(container_of(handle, struct transport, idle));
}

static void on_timer_closed(uv_handle_t *handle)
{
    part_gone(container_of(handle, struct transport, wheel.timer));
}

static void on_resolver_closed(void *arg)
{
    part_gone(arg);
}

static void transport_close_parts(struct transport *t)
{
    uv_close((uv_handle_t *)&t->idle, on_idle_closed);
    uv_close((uv_handle_t *)&t->wheel.timer, on_timer_closed);
    resolver_close(t->resolver, on_resolver_closed, t);
}

static void transport_close(struct transport *t, fetch_close_cb cb, void *arg)
{
    assert(!t->closing);
    t->closing = true;
    t->holds = false;
    t->on_closed = cb;
    t->on_closed_arg = arg;
    if (list_empty(&t->origins))
        transport_close_parts(t);
}

/* ---- origins ---- */

static void origin_free(struct transport_origin *o)
{
    tls_context_destroy(o->tls);
    mem_free(o->host);
    mem_free(o->after_target);
    buf_deinit(&o->asked.text);
    mem_free(o);
}

static bool is_gone(const struct transport_origin *o)
{
    return o->closing && o->structs == 0 && o->unfinished == 0;
}

void lean_origin_check(struct transport_origin *o)
{
    if (is_gone(o))
        lean_transport_wake(o->transport);
}

static void free_gone(struct transport *t)
{
    LIST_FOREACH_SAFE (it, tmp, &t->origins) {
        struct transport_origin *o = container_of(it, struct transport_origin, link);
        if (!is_gone(o))
            continue;
        fetch_close_cb cb = o->on_closed;
        void *arg = o->on_closed_arg;
        list_remove(&o->link);
        origin_free(o);
        if (cb == NULL)
            continue;
        cb(arg);
        lean_transport_wake(t); /* That may have closed others: looked at next turn. */
        break;
    }
    if (t->closing && list_empty(&t->origins) && !uv_is_closing((uv_handle_t *)&t->idle))
        transport_close_parts(t);
}

static void on_turn(uv_idle_t *idle)
{
    struct transport *t = container_of(idle, struct transport, idle);
    (void)uv_idle_stop(idle);
    lean_call_run_due(t);
    free_gone(t);
}

void lean_transport_wake(struct transport *t)
{
    if (!uv_is_closing((uv_handle_t *)&t->idle))
        (void)uv_idle_start(&t->idle, on_turn);
}

/* What became due in the turn need not wait for the loop's next one. */
static void transport_send(struct transport *t)
{
    t->in_turn = false; /* What becomes due from here on does. */
    lean_call_run_due(t);
}

static bool compose_after_target(struct transport_origin *o, struct str authority)
{
    struct buf text;
    buf_init(&text, FETCH_URL_BYTES + 64);
    int rc = buf_printf(&text, " HTTP/1.1\r\nHost: %.*s\r\nAccept: */*\r\n", STR_ARG(authority));
    o->after_target = rc == 0 ? mem_strndup(text.data, text.len) : NULL;
    o->after_target_bytes = (uint32_t)text.len;
    buf_deinit(&text);
    return o->after_target != NULL;
}

static int set_up_tls(struct transport_origin *o, const struct fetch_origin_config *config,
                      struct err *err)
{
    struct transport *t = o->transport;
    const struct tls_client_config tls = {
        .host = str_from(o->host),
        .ca_file = config->ca_file,
        .client_cert_file = config->client_cert_file,
        .client_key_file = config->client_key_file,
    };
    if (t->plain == NULL)
        t->plain = mem_alloc(LEAN_PLAIN_BYTES);
    if (t->plain == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    return tls_context_create_client(&tls, &o->tls, err);
}

static int origin_create(struct transport *t, const struct fetch_origin_config *config,
                         struct transport_origin **out_origin, struct err *err)
{
    struct fetch_url url;
    int rc = fetch_check_origin(config, &url, err);
    if (rc != 0)
        return rc;
    struct transport_origin *o = mem_zalloc(sizeof *o);
    if (o == NULL)
        return err_set(err, ERR_NOMEM, "origin '%s': out of memory", config->url);
    o->transport = t;
    o->port = url.port;
    o->allow_private = config->allow_private;
    o->max_connections = config->max_connections != 0 ? config->max_connections : 256;
    o->max_idle = config->max_idle_connections != 0 ? config->max_idle_connections : 64;
    o->idle_ms = LEAN_IDLE_MS;
    o->receive_buffer_bytes =
        config->receive_buffer_bytes != 0 ? config->receive_buffer_bytes : 32768;
    list_init(&o->link);
    list_init(&o->calls);
    buf_init(&o->asked.text, FETCH_TEXT_BYTES_MAX);
    lean_pool_init(o);
    o->host = mem_strndup(url.host.data, url.host.len);
    if (o->host == NULL ||
        !compose_after_target(o, url.port == (url.tls ? 443 : 80) ? url.host : url.authority))
        rc = err_set(err, ERR_NOMEM, "out of memory");
    else if (url.tls)
        rc = set_up_tls(o, config, err);
    if (rc != 0) {
        err_wrap(err, "origin '%s'", config->url);
        origin_free(o);
        return rc;
    }
    list_push_back(&t->origins, &o->link);
    *out_origin = o;
    return 0;
}

static void end_calls(struct list *calls)
{
    LIST_FOREACH_SAFE (it, tmp, calls)
        lean_call_fail(container_of(it, struct transport_call, link), ERR_CANCELED);
}

static void origin_close(struct transport_origin *o, fetch_close_cb cb, void *arg)
{
    assert(!o->closing);
    o->closing = true;
    o->on_closed = cb;
    o->on_closed_arg = arg;
    end_calls(&o->waiting);
    end_calls(&o->calls);
    lean_pool_close(o);
    lean_origin_check(o);
}

/* ---- calls ---- */

static void call_cancel(struct transport_call *c)
{
    lean_call_fail(c, ERR_CANCELED);
}

static bool call_sent(const struct transport_call *c)
{
    return (c->unsent == NULL && c->growing_left == 0) || c->send_failed;
}

static struct str call_header(const struct transport_call *c, struct str name)
{
    const struct http1_head *h = c->origin->transport->reply;
    return h != NULL ? http1_field_get(h, name) : STR_NULL;
}

static bool call_field(const struct transport_call *c, size_t index, struct str *out_name,
                       struct str *out_value)
{
    const struct http1_head *h = c->origin->transport->reply;
    if (h == NULL || index >= h->field_count)
        return false;
    *out_name = http1_field_name(h, index);
    *out_value = http1_field_value(h, index);
    return true;
}

struct lean_stats lean_origin_stats(const struct transport_origin *o)
{
    return o->stats;
}

size_t lean_stream_bytes(void)
{
    return sizeof(struct transport_call) + sizeof(struct lean_conn) - sizeof(uv_poll_t);
}

const struct transport_ops transport_lean = {
    .create = transport_create,
    .close = transport_close,
    .origin_create = origin_create,
    .origin_close = origin_close,
    .start = lean_call_start,
    .cancel = call_cancel,
    .resume = lean_call_resume,
    .sent = call_sent,
    .offer = lean_call_offer,
    .whole = lean_call_whole,
    .work = lean_conn_work,
    .send = transport_send,
    .trim = transport_trim,
    .header = call_header,
    .field = call_field,
};
