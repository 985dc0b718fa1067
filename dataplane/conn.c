/* Usual path: on_read appends to a message borrowed from the pool; conn_message.c parses its head,
 * begins a request and hands the body over; the request sends through conn_write.c and ends with
 * done(), which looks for the next message in what came ahead. For a small request these are one
 * read and, at the end of the turn, one write; between requests a connection holds nothing but
 * itself.
 *
 * Failures: a malformed head or body is answered once and the connection lingers, reading and
 * dropping, so that the answer is not lost to a reset; a peer that leaves while a request runs
 * makes the request cancel; a peer that reads nothing for stall_ms is cut (conn_time.c). */
#include "dataplane/conn.h"

#include <assert.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/rand.h"
#include "dataplane/conn_internal.h"

#define FREE_SPARE 16U /* Kept by a trim beyond what is in use. */

const struct conn_config conn_defaults = {
    .head_ms = 10000,
    .body_grace_ms = 10000,
    .body_min_rate = 1024,
    .stall_ms = 30000,
    .idle_ms = 75000,
    .max_age_ms = 300000,
    .linger_ms = 2000,
    .body_max_bytes = 32U << 20,
};

/* ---- the pool ---- */

void conn_pool_init(struct conn_pool *p, uv_loop_t *loop, struct request_env *env,
                    const struct conn_config *config)
{
    memset(p, 0, offsetof(struct conn_pool, read_buffer));
    p->env = env;
    p->config = *config;
    p->loop = loop;
    list_init(&p->open);
    list_init(&p->again);
    list_init(&p->brought);
    env->cohort.bring = conn_bring;
    env->cohort.send = conn_end_turn;
    env->cohort.clients = p;
    slab_init(&p->slab, sizeof(struct conn));
    uv_idle_init(loop, &p->idle);
    uv_prepare_init(loop, &p->turn);
    uv_unref((uv_handle_t *)&p->turn);
}

void conn_pool_close(struct conn_pool *p)
{
    assert(list_empty(&p->open) && list_empty(&p->again) && list_empty(&p->brought));
    uv_close((uv_handle_t *)&p->idle, NULL);
    uv_close((uv_handle_t *)&p->turn, NULL);
}

static void message_free(struct conn_message *m)
{
    buf_deinit(&m->in);
    mem_free(m);
}

static void output_free(struct conn_output *o)
{
    buf_deinit(&o->sending);
    buf_deinit(&o->waiting);
    mem_free(o);
}

static void trim_to(struct conn_pool *p, size_t messages, size_t outputs)
{
    while (p->messages.count > messages)
        message_free(freelist_take(&p->messages));
    while (p->outputs.count > outputs)
        output_free(freelist_take(&p->outputs));
}

void conn_pool_trim(struct conn_pool *p)
{
    trim_to(p, p->messages_used + FREE_SPARE, p->outputs_used + FREE_SPARE);
    slab_trim(&p->slab);
}

void conn_pool_deinit(struct conn_pool *p)
{
    assert(list_empty(&p->open));
    trim_to(p, 0, 0);
    slab_deinit(&p->slab);
}

struct conn_message *conn_message_take(struct conn_pool *p)
{
    struct conn_message *m = freelist_take(&p->messages);
    if (m == NULL) {
        m = mem_alloc(sizeof *m);
        if (m == NULL)
            return NULL;
        buf_init(&m->in, p->config.body_max_bytes + 2 * HTTP1_REQUEST_HEAD_BYTES_MAX);
    }
    p->messages_used++;
    m->in_place = false;
    http1_request_init(&m->head);
    return m;
}

void conn_message_put(struct conn_pool *p, struct conn_message *m)
{
    if (m == NULL)
        return;
    p->messages_used--;
    buf_clear(&m->in);
    if (m->in.cap > CONN_KEPT_BYTES)
        buf_deinit(&m->in);
    if (p->messages.count < CONN_FREE_MAX)
        freelist_put(&p->messages, m);
    else
        message_free(m);
}

/* ---- a connection's life ---- */

void conn_release(struct conn *c)
{
    struct conn_pool *p = c->pool;
    list_remove(&c->link);
    p->open_count--;
    conn_message_put(p, c->message);
    conn_message_put(p, c->ahead);
    conn_output_put(c);
    slab_give(&p->slab, c);
}

static void on_closed(uv_handle_t *handle)
{
    struct conn *c = container_of((uv_tcp_t *)handle, struct conn, tcp);
    c->socket_closed = true;
    if (c->pool->listener != NULL)
        listener_release(c->pool->listener);
    if (c->request == NULL)
        conn_release(c);
}

void conn_state_set(struct conn *c, enum conn_state state)
{
    c->state = (uint8_t)state;
    c->since_ms = uv_now(c->pool->loop);
}

void conn_close(struct conn *c, bool reset)
{
    if (c->state == CONN_CLOSING)
        return;
    reset = conn_flush(c) != 0 || reset; /* What was said before goes out, as far as it can. */
    conn_state_set(c, CONN_CLOSING);
    list_remove(&c->again_link);
    if (reset && !c->shut && uv_tcp_close_reset(&c->tcp, on_closed) == 0)
        return;
    if (!uv_is_closing((uv_handle_t *)&c->tcp))
        uv_close((uv_handle_t *)&c->tcp, on_closed);
}

void conn_gone(struct conn *c)
{
    struct request *r = c->request;
    conn_close(c, false);
    if (r != NULL)
        request_gone(r);
}

/* ---- reading ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    conn_room(container_of((uv_tcp_t *)handle, struct conn, tcp), buf);
}

/* Where the bytes belong that are there now; NULL: nowhere, or no memory. */
static struct conn_message *message_for_read(struct conn *c)
{
    switch ((enum conn_state)c->state) {
    case CONN_IDLE:
        c->message = conn_message_take(c->pool);
        conn_state_set(c, CONN_HEAD);
        return c->message;
    case CONN_HEAD:
    case CONN_BODY:
        return c->message;
    case CONN_BUSY:
        if (c->ahead == NULL)
            c->ahead = conn_message_take(c->pool);
        return c->ahead;
    case CONN_LINGER:
    case CONN_CLOSING:
        break;
    }
    return NULL;
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    struct conn *c = container_of((uv_tcp_t *)stream, struct conn, tcp);
    if (nread == 0)
        return;
    if (nread < 0) {
        conn_gone(c);
        return;
    }
    if (c->state == CONN_LINGER || c->state == CONN_CLOSING) /* Dropped. */
        return;
    struct conn_message *m = message_for_read(c);
    if (m == NULL) {
        conn_gone(c);
        return;
    }
    if (buf->base != c->pool->read_buffer) {
        m->in.len += (size_t)nread; /* Read into its place. */
    } else if (c->state == CONN_BODY && m->in.len + (size_t)nread > m->in.cap &&
               !conn_may_grow(c, m->in.len)) {
        c->close_after = true;
        conn_state_set(c, CONN_BUSY);
        request_reject(c->request, FAULT_OVERLOAD);
        return;
    } else if (buf_append(&m->in, buf->base, (size_t)nread) != 0) {
        conn_gone(c);
        return;
    }
    if (c->state == CONN_HEAD && nread <= CONN_BROUGHT_BYTES && list_empty(&c->again_link)) {
        list_push_back(&c->pool->brought, &c->again_link);
    } else if (c->state != CONN_BUSY && list_empty(&c->again_link)) {
        conn_advance(c);
    } else if (m->in.len > CONN_AHEAD_BYTES_MAX) {
        uv_read_stop(stream);
        c->reading = false;
    }
}

void conn_read(struct conn *c)
{
    if (c->reading || c->state == CONN_CLOSING)
        return;
    c->reading = uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) == 0;
    if (!c->reading)
        conn_gone(c);
}

void conn_open(struct conn_pool *p, int fd)
{
    struct conn *c = p->closing ? NULL : slab_take(&p->slab);
    if (c == NULL) {
        close(fd);
        if (p->listener != NULL)
            listener_release(p->listener);
        return;
    }
    memset(c, 0, offsetof(struct conn, tcp));
    c->pool = p;
    c->fd = fd;
    list_init(&c->again_link);
    list_push_back(&p->open, &c->link);
    p->open_count++;
    conn_state_set(c, CONN_IDLE);
    if (p->config.max_age_ms != 0)
        c->retire_ms = c->since_ms + p->config.max_age_ms * 9ULL / 10 +
                       rand_below(p->config.max_age_ms / 5ULL + 1);
    uv_tcp_init(p->loop, &c->tcp);
    int rc = uv_tcp_open(&c->tcp, fd);
    if (rc != 0) {
        close(fd);
        conn_close(c, false);
    } else {
        conn_read(c);
    }
}
