/* Messages: the head is parsed where it was read to, the body decoded in place behind it. A body
 * with a length that is too large for one read gets its room ahead of time, and the socket is read
 * straight into it; room is given in step with what arrived (eightfold), so that a promise of much
 * costs nothing (RELIABILITY section 3, amplification).
 *
 * A connection may have many small messages ahead; after some of them the others' turn comes. */
#include <string.h>

#include "common/base/mem.h"
#include "dataplane/conn_internal.h"
#include "dataplane/request/answer.h"

#define MESSAGES_PER_TURN 16U   /* Of one connection. */
#define DIRECT_BYTES_MIN  4096U /* Less room than this is not worth a read of its own. */
#define ROOM_PER_BYTE     8U
#define ROOM_LARGE_BYTES  (1U << 20) /* From here on room is doubled only. */
#define GROWTH_FREE_BYTES 65536U     /* So much is not asked about. */
#define MEMORY_PERCENT    95U
#define ROOM_SLACK        64U /* So that a read which ends the body is not a full one. */
#define REFUSAL_BYTES_MAX 4096U
#define REST_READ_MAX     65536U /* Of a wrong body, to keep the connection. */

static void drop_input(struct conn *c)
{
    conn_message_put(c->pool, c->message);
    conn_message_put(c->pool, c->ahead);
    c->message = NULL;
    c->ahead = NULL;
}

void conn_reject(struct conn *c, enum fault fault)
{
    struct buf out;
    int rc;
    buf_init(&out, REFUSAL_BYTES_MAX);
    rc = answer_write_refusal(fault, &out);
    if (rc == 0) {
        struct str piece = buf_str(&out);
        rc = conn_send(c, &piece, 1);
    }
    buf_deinit(&out);
    drop_input(c);
    meters_reject(&c->pool->env->meters, fault == FAULT_OVERLOAD       ? "overload"
                                         : fault == FAULT_HEAD_TIMEOUT ? "slow_head"
                                                                       : "head");
    if (rc != 0)
        conn_close(c, false);
    else
        conn_linger(c);
}

static void release_input(void *client)
{
    struct conn *c = client;
    if (c->state == CONN_BUSY || c->state == CONN_CLOSING) {
        conn_message_put(c->pool, c->message);
        c->message = NULL;
    }
}

static void on_done(void *client, enum client_end end)
{
    struct conn *c = client;
    c->request = NULL;
    if (c->socket_closed) {
        conn_release(c);
        return;
    }
    if (c->state == CONN_CLOSING)
        return;
    /* A chunked answer without its last chunk is visibly broken, and the error frame before it
     * still arrives; HTTP/1.0 knows only the reset. */
    if (end == CLIENT_CUT && c->minor_version == 0) {
        conn_close(c, true);
        return;
    }
    /* In state BODY the rest of the body was never read: the next message cannot be found. */
    bool unread = c->state == CONN_BODY && c->message->head.body_kind != HTTP1_BODY_NONE;
    if (end != CLIENT_KEEP || c->close_after || unread) {
        drop_input(c);
        conn_linger(c);
        return;
    }
    if (c->state == CONN_BODY && c->message->in.len > c->message->raw_at) {
        /* No body, and answered from its head: what follows is the next message. */
        buf_consume(&c->message->in, c->message->raw_at);
        http1_request_init(&c->message->head);
    } else {
        conn_message_put(c->pool, c->message);
        c->message = c->ahead;
        c->ahead = NULL;
    }
    conn_state_set(c, c->message != NULL ? CONN_HEAD : CONN_IDLE);
    conn_read(c);
    if (!c->parsing && c->state == CONN_HEAD)
        conn_advance(c);
}

static const struct client_ops client_ops = {
    .send = conn_send,
    .queued = conn_queued,
    .release_input = release_input,
    .done = on_done,
};

static enum fault fault_of_reason(enum http1_reason reason)
{
    switch (http1_reason_status(reason)) {
    case 405:
        return FAULT_METHOD;
    case 408:
        return FAULT_HEAD_TIMEOUT;
    case 413:
        return FAULT_TOO_LARGE;
    case 414:
        return FAULT_URI_TOO_LONG;
    case 415:
        return FAULT_MEDIA_TYPE;
    case 417:
        return FAULT_EXPECTATION;
    case 431:
        return FAULT_HEADERS_TOO_LARGE;
    case 505:
        return FAULT_HTTP_VERSION;
    default:
        return FAULT_BAD_HEAD;
    }
}

/* true: the head is complete and a request was begun (it may have ended already). */
static bool read_head(struct conn *c)
{
    struct conn_message *m = c->message;
    switch (http1_head_parse_known(&c->pool->heads, &m->head, m->in.data, m->in.len)) {
    case HTTP1_MORE:
        return false;
    case HTTP1_REJECTED:
        conn_reject(c, fault_of_reason(m->head.reason));
        return false;
    case HTTP1_DATA:
    case HTTP1_DONE:
        break;
    }
    if (c->pool->env->shedding) {
        conn_reject(c, FAULT_OVERLOAD);
        return false;
    }
    m->body_at = m->raw_at = m->head.head_bytes;
    http1_body_init(&m->body, &m->head, c->pool->config.body_max_bytes);
    c->minor_version = m->head.minor_version;
    conn_state_set(c, CONN_BODY);
    if (!m->head.keep_alive || c->pool->closing ||
        (c->retire_ms != 0 && c->since_ms >= c->retire_ms))
        c->close_after = true;
    c->request = request_begin(c->pool->env, &client_ops, c, &m->head);
    if (c->request == NULL) {
        if (c->state == CONN_BODY) /* Not begun at all, rather than begun and ended. */
            conn_reject(c, FAULT_OVERLOAD);
        return c->state == CONN_HEAD;
    }
    if (m->head.expect_continue && request_wants_body(c->request)) {
        const struct str go_on = STR("HTTP/1.1 100 Continue\r\n\r\n");
        if (conn_send(c, &go_on, 1) != 0)
            conn_gone(c);
    }
    return c->state == CONN_BODY || c->state == CONN_HEAD;
}

/* What lies behind the message is another's. */
static int set_ahead(struct conn *c)
{
    struct conn_message *m = c->message;
    if (m->in.len == m->raw_at)
        return 0;
    c->ahead = conn_message_take(c->pool);
    if (c->ahead == NULL)
        return ERR_NOMEM;
    return buf_append(&c->ahead->in, m->in.data + m->raw_at, m->in.len - m->raw_at);
}

static struct str body_so_far(const struct conn_message *m)
{
    return (struct str){.data = m->in.data + m->head.head_bytes,
                        .len = m->body_at - m->head.head_bytes};
}

static void body_done(struct conn *c)
{
    struct conn_message *m = c->message;
    struct request *r = c->request;
    conn_state_set(c, CONN_BUSY);
    if (set_ahead(c) != 0) {
        c->close_after = true;
        request_reject(r, FAULT_OVERLOAD);
        return;
    }
    http1_head_rebase(&m->head, m->in.data);
    request_body(r, body_so_far(m));
}

/* So much more may be asked for at once by what has come (RELIABILITY section 3). */
static uint64_t room_max(const struct conn_message *m)
{
    return (uint64_t)m->in.len * (m->in.len < ROOM_LARGE_BYTES ? ROOM_PER_BYTE : 1);
}

/* Of a body that is wrong already and has much to come the rest is not awaited; not where its
 * length is unknown, for it may turn out too large or badly framed, and then that is the answer. */
static bool refuse_part(struct conn *c, uint64_t left)
{
    struct conn_message *m = c->message;
    if (left <= REST_READ_MAX)
        return false;
    http1_head_rebase(&m->head, m->in.data);
    c->close_after = true;
    conn_state_set(c, CONN_BUSY);
    request_body_wrong(c->request, body_so_far(m));
    return true;
}

/* Who goes up early looks at head and body for as long as it runs: they stay where they are. */
static bool forward_part(struct conn *c, uint64_t left)
{
    struct conn_message *m = c->message;
    uint64_t want = left + ROOM_SLACK;
    http1_head_rebase(&m->head, m->in.data);
    if (!request_may_forward(c->request) || want > room_max(m) || !conn_may_grow(c, (size_t)want) ||
        buf_reserve_exact(&m->in, (size_t)want) != 0)
        return false;
    http1_head_rebase(&m->head, m->in.data);
    m->in_place = true;
    request_forward(c->request, body_so_far(m));
    return true;
}

/* What has come is scanned while it is in the cache. true: something else is next. */
static bool scan_part(struct conn *c)
{
    struct conn_message *m = c->message;
    bool wrong = request_body_part(c->request, body_so_far(m));
    if (m->head.body_kind != HTTP1_BODY_LENGTH)
        return false;
    uint64_t left = m->head.content_length - m->body.payload_bytes;
    if (wrong)
        return refuse_part(c, left);
    return !m->in_place && forward_part(c, left) && c->state != CONN_BODY;
}

/* Decodes what is there; true: progress was made and something else is next. */
static bool read_body(struct conn *c)
{
    struct conn_message *m = c->message;
    for (;;) {
        struct str rest = {.data = m->in.data + m->raw_at, .len = m->in.len - m->raw_at};
        struct str piece = STR_NULL;
        enum http1_result result = http1_body_next(&m->body, &rest, &piece);
        m->raw_at = m->in.len - rest.len;
        switch (result) {
        case HTTP1_DATA: /* Chunk heads vanish: the payload closes up. */
            if (piece.data != m->in.data + m->body_at)
                memmove(m->in.data + m->body_at, piece.data, piece.len);
            m->body_at += piece.len;
            break;
        case HTTP1_MORE:
            /* Chunk heads must not pile up in the buffer. */
            if (m->raw_at > m->body_at && m->raw_at == m->in.len)
                m->in.len = m->raw_at = m->body_at;
            return scan_part(c);
        case HTTP1_REJECTED: {
            struct request *r = c->request;
            enum fault f = fault_of_reason(m->body.reason);
            c->close_after = true;
            conn_state_set(c, CONN_BUSY);
            request_reject(r, f == FAULT_BAD_HEAD ? FAULT_BAD_BODY : f);
            return true;
        }
        case HTTP1_DONE:
            body_done(c);
            return true;
        }
    }
}

/* Goes on with what was read, iteratively: a request may end inside, and the next begin. */
void conn_advance(struct conn *c)
{
    bool again = true;
    unsigned messages = 0;
    c->pool->env->begun = NULL;
    c->parsing = true;
    while (again) {
        again = false;
        if (c->state == CONN_HEAD && messages++ == MESSAGES_PER_TURN) {
            struct conn_pool *p = c->pool;
            if (list_empty(&p->again))
                uv_idle_start(&p->idle, conn_on_idle);
            if (list_empty(&c->again_link))
                list_push_back(&p->again, &c->again_link);
        } else if (c->state == CONN_HEAD) {
            again = read_head(c);
        } else if (c->state == CONN_BODY && c->request != NULL) {
            again = read_body(c);
        }
    }
    c->parsing = false;
}

/* One turn for each; who has still more is at the end again. */
static void advance_all(struct list *from)
{
    struct list due;
    list_init(&due);
    for (struct list *n; (n = list_pop_front(from)) != NULL;)
        list_push_back(&due, n);
    for (struct list *n; (n = list_pop_front(&due)) != NULL;) {
        struct conn *c = container_of(n, struct conn, again_link);
        if (c->state == CONN_HEAD)
            conn_advance(c);
        if (list_empty(n))
            conn_read(c);
    }
}

void conn_on_idle(uv_idle_t *idle)
{
    struct conn_pool *p = container_of(idle, struct conn_pool, idle);
    advance_all(&p->again);
    if (list_empty(&p->again))
        uv_idle_stop(idle);
}

void conn_bring(void *pool)
{
    struct conn_pool *p = pool;
    p->in_turn = true;
    advance_all(&p->brought);
}

bool conn_may_grow(const struct conn *c, size_t bytes)
{
    uint64_t max_bytes = c->pool->config.memory_max_bytes;
    return max_bytes == 0 || bytes <= GROWTH_FREE_BYTES ||
           mem_live_bytes() + bytes <= max_bytes / 100 * MEMORY_PERCENT;
}

void conn_room(struct conn *c, uv_buf_t *out)
{
    struct conn_message *m = c->message;
    *out = uv_buf_init(c->pool->read_buffer, sizeof c->pool->read_buffer);
    if (c->state != CONN_BODY || m->head.body_kind != HTTP1_BODY_LENGTH)
        return;
    uint64_t left = m->head.content_length - m->body.payload_bytes;
    if (m->body.reason != HTTP1_REASON_NONE || left == 0)
        return;
    size_t room = m->in.cap - m->in.len;
    if (m->in_place) { /* And no byte beyond it: the next message waits in the socket. */
        *out =
            uv_buf_init(m->in.data + m->in.len, (unsigned)(room < UINT32_MAX ? room : UINT32_MAX));
        return;
    }
    if (room < left && room < sizeof c->pool->read_buffer) {
        uint64_t most = room_max(m);
        uint64_t want = left + ROOM_SLACK < most ? left + ROOM_SLACK : most;
        if (want >= DIRECT_BYTES_MIN && conn_may_grow(c, (size_t)want) &&
            buf_reserve_exact(&m->in, (size_t)want) == 0)
            room = m->in.cap - m->in.len;
    }
    if (room >= DIRECT_BYTES_MIN)
        *out =
            uv_buf_init(m->in.data + m->in.len, (unsigned)(room < UINT32_MAX ? room : UINT32_MAX));
}
