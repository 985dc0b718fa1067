/* A call's life. Usual path: start takes an idle connection and composes the head; in the turn's
 * end, or before the loop waits, head and body go in one system call, those of all calls of the
 * turn together (decisions 0195, 0288); the reply comes through lean_reply.c; on_done. Without an
 * idle connection the request waits for one. What waits is copied (head and span array, not the
 * body). It ends early when a deadline passes, the connection fails, the reply breaks a rule or the
 * owner cancels: then the connection is closed and on_done is left to the turn's end or the next
 * turn, so that no callback ever runs inside a call of the owner's. */
#include <assert.h>

#include "common/base/mem.h"
#include "common/net/undelivered.h"
#include "dataplane/upstream/lean_internal.h"

static uint64_t now_of(const struct transport_call *c)
{
    return uv_now(c->origin->transport->loop);
}

/* ---- deadlines ---- */

static uint64_t deadline_of(const struct transport_call *c)
{
    const struct fetch_timeouts *t = &c->timeouts;
    uint64_t total = c->started_ms + t->total_ms;
    uint64_t phase = total;
    switch (c->result.phase) {
    case FETCH_RESOLVE:
    case FETCH_CONNECT:
        phase = c->started_ms + t->connect_ms;
        break;
    case FETCH_TLS:
        phase = c->ready_ms + t->tls_ms;
        break;
    case FETCH_HEAD:
        if (!c->growing)
            phase = c->ready_ms + t->head_ms;
        break;
    case FETCH_BODY:
        if (!c->paused)
            phase = c->result.body_bytes == 0 ? c->ready_ms + t->first_byte_ms
                                              : c->last_byte_ms + t->idle_ms;
        break;
    case FETCH_COMPLETE:
        break;
    }
    return phase < total ? phase : total;
}

/* None of the times that may follow is shorter: what is armed once need not be where one begins. */
static uint32_t soonest_ms(const struct fetch_timeouts *t)
{
    uint32_t ms = t->head_ms < t->first_byte_ms ? t->head_ms : t->first_byte_ms;
    return ms < t->idle_ms ? ms : t->idle_ms;
}

void lean_call_arm(struct transport_call *c)
{
    const uint64_t deadline = deadline_of(c), soonest = now_of(c) + soonest_ms(&c->timeouts);
    lean_wheel_set(&c->origin->transport->wheel, &c->alarm,
                   deadline < soonest ? deadline : soonest);
}

/* Deadlines that moved back are found out here. */
static void on_alarm(struct lean_alarm *alarm)
{
    struct transport_call *c = container_of(alarm, struct transport_call, alarm);
    assert(c->state != LEAN_ENDED);
    if (now_of(c) >= deadline_of(c))
        lean_call_fail(c, ERR_TIMEOUT);
    else
        lean_call_arm(c);
}

/* ---- the end ---- */

void lean_call_due(struct transport_call *c)
{
    struct transport *t = c->origin->transport;
    if (!list_empty(&c->due))
        return;
    list_push_back(&t->due, &c->due);
    if (!t->in_turn)
        lean_transport_wake(t);
}

/* Out of its list, no longer with its connection. */
static struct lean_conn *call_end(struct transport_call *c)
{
    struct lean_conn *conn = c->conn;
    assert(c->state != LEAN_ENDED);
    if (c->state == LEAN_WAITING)
        c->origin->stats.waiting--;
    list_remove(&c->link);
    lean_wheel_unset(&c->alarm);
    c->state = LEAN_ENDED;
    c->conn = NULL;
    if (conn != NULL)
        conn->call = NULL;
    return conn;
}

/* May the peer have all of the request? Not if it ended the connection before that had come, and
 * without a byte of a reply: who answers has read. */
static bool is_taken(const struct transport_call *c)
{
    const struct lean_conn *conn = c->conn;
    if (!c->result.request_sent || c->unsent != NULL || c->growing_left != 0 || c->send_failed ||
        lean_send_pending(conn))
        return false;
    if (c->result.status != ERR_CLOSED || c->result.reply_seen ||
        (conn->secure != NULL && conn->secure->answered))
        return true;
    return !undelivered_at_end(conn->fd);
}

void lean_call_fail(struct transport_call *c, int status)
{
    if (c->state == LEAN_ENDED) /* The first end counts. */
        return;
    if (c->result.phase == FETCH_RESOLVE && c->conn != NULL && c->conn->dial != NULL &&
        (c->conn->dial->dial.state == DIAL_CONNECTING || c->conn->dial->dial.result.resolved))
        c->result.phase = FETCH_CONNECT;
    c->result.status = status;
    c->result.request_taken = is_taken(c);
    struct lean_conn *conn = call_end(c);
    lean_unsent_free(c);
    if (conn != NULL)
        lean_conn_close(conn);
    lean_call_due(c);
}

void lean_call_finish(struct transport_call *c)
{
    struct transport_origin *o = c->origin;
    list_remove(&c->due);
    c->callbacks->on_done(c->arg, c, &c->result);
    slab_give(&o->transport->call_slab, c);
    o->unfinished--;
    lean_origin_check(o);
}

void lean_call_complete(struct transport_call *c, bool reusable)
{
    reusable =
        reusable && c->keep_alive && c->unsent == NULL && c->growing_left == 0 && !c->send_failed;
    c->result.phase = FETCH_COMPLETE;
    c->result.request_taken = is_taken(c);
    struct lean_conn *conn = call_end(c);
    lean_unsent_free(c);
    if (reusable && !lean_send_pending(conn))
        lean_pool_release(conn);
    else
        lean_conn_close(conn);
    lean_call_finish(c);
}

void lean_call_run_due(struct transport *t)
{
    struct list due; /* What becomes due meanwhile waits for the next turn. */
    struct list *link;
    list_init(&due);
    while ((link = list_pop_front(&t->due)) != NULL)
        list_push_back(&due, link);
    while ((link = list_pop_front(&due)) != NULL) {
        struct transport_call *c = container_of(link, struct transport_call, due);
        if (c->state == LEAN_ENDED)
            lean_call_finish(c);
        else if (!c->paused && c->conn->kept.len > 0)
            lean_reply_go_on(c);
        else if (c->send_failed)
            lean_conn_drain(c->conn);
        else if (c->unsent != NULL && c->state == LEAN_HEAD)
            lean_call_send(c); /* What start had left. */
    }
}

/* ---- the beginning ---- */

/* A peer that takes no more may have said why before it closed: what it said is read first. */
static void note_sent(struct transport_call *c, int rc)
{
    if (rc == 0 || rc == ERR_AGAIN)
        return;
    if (rc == ERR_NOMEM) {
        lean_call_fail(c, rc);
        return;
    }
    c->send_failed = true;
    lean_call_due(c);
}

void lean_call_send(struct transport_call *c)
{
    if (c->send_failed)
        return;
    int rc = lean_send_more(c);
    note_sent(c, rc);
    if (rc != 0 || !c->wants_room)
        return;
    c->wants_room = false;
    c->callbacks->on_room(c->arg, c);
    if (c->conn != NULL)
        lean_conn_watch(c->conn);
}

/* ---- a body that grows ---- */

/* What came before goes first: the head, and what TLS has sealed. */
static bool may_send(const struct transport_call *c)
{
    return (c->state == LEAN_HEAD || c->state == LEAN_BODY) && c->unsent == NULL &&
           !c->send_failed && !lean_send_pending(c->conn);
}

size_t lean_call_offer(struct transport_call *c, const struct str *pieces, size_t count)
{
    size_t total = 0, taken = 0;
    for (size_t i = 0; i < count; i++)
        total += pieces[i].len;
    assert(total <= c->growing_left);
    if (may_send(c)) {
        ssize_t n = lean_send_some(c, pieces, count);
        if (n < 0)
            note_sent(c, (int)n);
        else
            taken = (size_t)n;
    }
    c->growing_left -= taken;
    c->result.sent_bytes += taken;
    c->wants_room = taken < total;
    if (c->state == LEAN_HEAD || c->state == LEAN_BODY)
        lean_conn_watch(c->conn);
    return taken;
}

void lean_call_whole(struct transport_call *c, const struct fetch_timeouts *timeouts)
{
    uint32_t total_ms = c->timeouts.total_ms;
    c->growing = false;
    c->timeouts = fetch_timeouts_or_default(timeouts);
    c->timeouts.total_ms = total_ms;
    if (c->state == LEAN_HEAD)
        c->ready_ms = now_of(c);
    if (c->state == LEAN_HEAD || c->state == LEAN_BODY)
        lean_call_arm(c); /* The new times may be shorter. */
}

void lean_call_begin(struct transport_call *c, struct lean_conn *conn)
{
    struct transport_origin *o = c->origin;
    assert(conn->call == NULL || conn->call == c);
    conn->call = c;
    c->conn = conn;
    c->state = LEAN_HEAD;
    c->result.phase = FETCH_HEAD;
    c->result.request_sent = true;
    c->result.reused = conn->used;
    o->stats.reused += conn->used;
    conn->used = true;
    c->ready_ms = now_of(c);
    lean_call_arm(c);
}

static struct transport_call *call_create(struct transport_origin *o,
                                          const struct fetch_request *request)
{
    struct transport *t = o->transport;
    struct transport_call *c = slab_take(&t->call_slab);
    if (c == NULL)
        return NULL;
    *c = (struct transport_call){
        .origin = o,
        .alarm = {.at_ms = UINT64_MAX, .ring = on_alarm},
        .body_max_bytes = request->body_max_bytes != 0 ? request->body_max_bytes : 16U << 20,
        .timeouts = fetch_timeouts_or_default(&request->timeouts),
        .started_ms = uv_now(t->loop),
        .reply_to_head = str_is(request->method, "HEAD"),
        .fresh = request->fresh,
        .growing = request->growing_bytes != 0,
        .growing_left = request->growing_bytes,
    };
    list_init(&c->link);
    list_init(&c->due);
    return c;
}

int lean_call_start(struct transport_origin *o, const struct fetch_request *request,
                    const struct transport_callbacks *callbacks, void *arg,
                    struct transport_call **out_call)
{
    struct str head;
    if (o->closing)
        return ERR_CANCELED;
    int rc = lean_request_compose(o, request, &head);
    if (rc != 0)
        return rc;
    assert(callbacks->on_done != NULL);
    struct transport_call *c = call_create(o, request);
    if (c == NULL)
        return ERR_NOMEM;
    c->callbacks = callbacks;
    c->arg = arg;
    c->unsent = lean_unsent_create(o->transport, head, request->body, request->body_count);
    if (c->unsent == NULL) {
        slab_give(&o->transport->call_slab, c);
        return ERR_NOMEM;
    }
    struct lean_conn *conn = c->fresh ? NULL : lean_pool_take(o);
    if (conn != NULL) {
        list_push_back(&o->calls, &c->link);
        lean_call_begin(c, conn);
        if (c->growing)
            lean_call_send(c); /* What there is of the body is offered next. */
        else
            lean_call_due(c);
    } else {
        c->started_ns = uv_hrtime();
        lean_pool_ask(c);
        if (c->state != LEAN_ENDED)
            lean_call_arm(c);
    }
    o->stats.started++;
    o->unfinished++;
    *out_call = c;
    return 0;
}

void lean_call_resume(struct transport_call *c)
{
    if (!c->paused || c->state == LEAN_ENDED)
        return;
    c->paused = false;
    c->last_byte_ms = now_of(c);
    c->ready_ms = c->last_byte_ms; /* Where the wait for the first byte starts anew. */
    lean_call_arm(c);
    if (c->conn->kept.len > 0)
        lean_call_due(c);
    else
        lean_conn_watch(c->conn);
}
