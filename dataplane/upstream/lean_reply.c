/* What the bytes of a reply mean. Usual path: the head came in one piece and is parsed where it
 * lies, in the loop's read buffer, with the loop's own parser state, or known by one before it;
 * on_head reads its fields; the body's pieces are handed on from the same buffer. Only half a head
 * is copied, with the parser's state, so that no byte is looked at twice. The strict reader of
 * common/net/http1 refuses what is doubtful (B32, B34); its limits are ours (B33, B36). */
#include <assert.h>

#include "common/base/mem.h"
#include "dataplane/upstream/lean_internal.h"

/* ---- half heads ---- */

static struct lean_gather *gather_create(struct transport *t)
{
    struct lean_gather *g = freelist_take(&t->gathers);
    if (g == NULL)
        g = mem_alloc(sizeof *g);
    if (g != NULL)
        buf_init(&g->bytes, HTTP1_RESPONSE_HEAD_BYTES_MAX + LEAN_READ_BYTES);
    return g;
}

static void gather_free(struct transport *t, struct lean_gather *g)
{
    buf_deinit(&g->bytes);
    if (t->gathers.count < LEAN_GATHERS_KEPT)
        freelist_put(&t->gathers, g);
    else
        mem_free(g);
}

static struct buf kept_take(struct lean_conn *conn)
{
    struct buf kept = conn->kept;
    conn->origin->transport->kept -= kept.len > 0;
    buf_init(&conn->kept, kept.max);
    return kept;
}

void lean_reply_forget(struct lean_conn *conn)
{
    if (conn->gather != NULL)
        gather_free(conn->origin->transport, conn->gather);
    conn->gather = NULL;
    struct buf kept = kept_take(conn);
    buf_deinit(&kept);
}

/* ---- head ---- */

static enum lean_reply fail(struct transport_call *c, int status)
{
    lean_call_fail(c, status);
    return LEAN_REPLY_ENDED;
}

static int fault_of(enum http1_reason reason)
{
    bool large = reason == HTTP1_REASON_HEAD_TOO_LARGE || reason == HTTP1_REASON_FIELD_TOO_LONG ||
                 reason == HTTP1_REASON_FIELDS_TOO_MANY || reason == HTTP1_REASON_BODY_TOO_LARGE;
    return large ? ERR_TOO_LARGE : ERR_PROTOCOL;
}

/* The head is there: MORE when the body may go on. */
static enum lean_reply head_done(struct transport_call *c, const struct http1_head *h)
{
    struct transport *t = c->origin->transport;
    c->result.phase = FETCH_BODY;
    c->result.http_status = h->status;
    if (h->body_encoded) /* Never asked for, and nothing here decompresses. */
        return fail(c, ERR_PROTOCOL);
    c->state = LEAN_BODY;
    c->keep_alive = h->keep_alive;
    c->last_byte_ms = uv_now(t->loop);
    http1_body_init(&c->body, h, c->body_max_bytes);
    if (c->callbacks->on_head != NULL) {
        t->reply = h;
        enum fetch_flow flow = c->callbacks->on_head(c->arg, c, h->status);
        t->reply = NULL;
        if (c->state == LEAN_ENDED)
            return LEAN_REPLY_ENDED;
        c->paused = flow == FETCH_PAUSE;
    }
    return LEAN_REPLY_MORE;
}

/* Later bytes of a head. What follows the head in them is *io_bytes then. */
static enum lean_reply head_more(struct transport_call *c, struct str *io_bytes)
{
    struct lean_conn *conn = c->conn;
    struct lean_gather *g = conn->gather;
    size_t before = g->bytes.len;
    int rc = buf_append_str(&g->bytes, *io_bytes);
    if (rc != 0)
        return fail(c, rc);
    switch (http1_head_parse(&g->head, g->bytes.data, g->bytes.len)) {
    case HTTP1_MORE:
        *io_bytes = str_slice(*io_bytes, io_bytes->len, io_bytes->len);
        return LEAN_REPLY_MORE;
    case HTTP1_DONE:
        break;
    case HTTP1_DATA:
    case HTTP1_REJECTED:
        return fail(c, fault_of(g->head.reason));
    }
    *io_bytes = str_slice(*io_bytes, g->head.head_bytes - before, io_bytes->len);
    conn->gather = NULL; /* on_head may end the call, and reads the head all the same. */
    struct transport *t = c->origin->transport;
    enum lean_reply reply = head_done(c, &g->head);
    gather_free(t, g);
    return reply;
}

static enum lean_reply head_first(struct transport_call *c, struct str *io_bytes)
{
    struct transport *t = c->origin->transport;
    struct http1_head *h = &t->head;
    http1_response_init(h, c->reply_to_head ? HTTP1_HEAD : HTTP1_GET);
    switch (http1_head_parse_known(&t->heads, h, io_bytes->data, io_bytes->len)) {
    case HTTP1_DONE:
        *io_bytes = str_slice(*io_bytes, h->head_bytes, io_bytes->len);
        return head_done(c, h);
    case HTTP1_MORE:
        break;
    case HTTP1_DATA:
    case HTTP1_REJECTED:
        return fail(c, fault_of(h->reason));
    }
    struct lean_gather *g = gather_create(t);
    if (g == NULL)
        return fail(c, ERR_NOMEM);
    c->conn->gather = g;
    g->head = *h;
    int rc = buf_append_str(&g->bytes, *io_bytes);
    if (rc != 0)
        return fail(c, rc);
    *io_bytes = str_slice(*io_bytes, io_bytes->len, io_bytes->len);
    return LEAN_REPLY_MORE;
}

/* ---- body ---- */

static enum lean_reply give(struct transport_call *c, struct str piece)
{
    c->result.body_bytes += piece.len;
    c->last_byte_ms = uv_now(c->origin->transport->loop);
    if (c->callbacks->on_body == NULL)
        return LEAN_REPLY_MORE;
    enum fetch_flow flow = c->callbacks->on_body(c->arg, c, piece);
    if (c->state == LEAN_ENDED)
        return LEAN_REPLY_ENDED;
    c->paused = flow == FETCH_PAUSE;
    return LEAN_REPLY_MORE;
}

/* While paused the framing is still looked at: an end that is there needs nobody's leave. */
static enum lean_reply take_paused(struct transport_call *c, struct str *io_bytes)
{
    const struct http1_body before = c->body;
    const struct str rest = *io_bytes;
    struct str piece;
    switch (http1_body_next(&c->body, io_bytes, &piece)) {
    case HTTP1_MORE:
        return LEAN_REPLY_PAUSED;
    case HTTP1_DONE:
        return LEAN_REPLY_COMPLETE;
    case HTTP1_REJECTED:
        return fail(c, fault_of(c->body.reason));
    case HTTP1_DATA:
        break;
    }
    c->body = before;
    *io_bytes = rest;
    return LEAN_REPLY_PAUSED;
}

static enum lean_reply take_body(struct transport_call *c, struct str *io_bytes)
{
    while (!c->paused) {
        struct str piece;
        switch (http1_body_next(&c->body, io_bytes, &piece)) {
        case HTTP1_MORE:
            return LEAN_REPLY_MORE;
        case HTTP1_DONE:
            return LEAN_REPLY_COMPLETE;
        case HTTP1_REJECTED:
            return fail(c, fault_of(c->body.reason));
        case HTTP1_DATA:
            if (give(c, piece) == LEAN_REPLY_ENDED)
                return LEAN_REPLY_ENDED;
            if (io_bytes->len == 0 && c->body.kind == HTTP1_BODY_CHUNKED && !c->paused)
                return LEAN_REPLY_MORE; /* Chunks end with one of their own. */
            break;
        }
    }
    return take_paused(c, io_bytes);
}

enum lean_reply lean_reply_input(struct transport_call *c, struct str *io_bytes)
{
    c->result.reply_seen = true;
    if (c->state == LEAN_HEAD) {
        enum lean_reply reply =
            c->conn->gather == NULL ? head_first(c, io_bytes) : head_more(c, io_bytes);
        if (reply == LEAN_REPLY_ENDED || c->state == LEAN_HEAD)
            return reply;
    }
    return take_body(c, io_bytes);
}

/* ---- pauses and ends ---- */

void lean_reply_keep(struct transport_call *c, struct str bytes)
{
    struct lean_conn *conn = c->conn;
    const bool first = conn->kept.len == 0;
    int rc = 0;
    if (bytes.len > 0) /* Mostly all there is: no more memory than that. */
        rc = first ? buf_reserve_exact(&conn->kept, bytes.len) : 0;
    if (rc == 0 && bytes.len > 0)
        rc = buf_append_str(&conn->kept, bytes);
    conn->origin->transport->kept += first && conn->kept.len > 0;
    if (rc != 0)
        lean_call_fail(c, rc);
    else
        lean_conn_watch(conn);
}

void lean_reply_go_on(struct transport_call *c)
{
    struct lean_conn *conn = c->conn;
    struct buf kept = kept_take(conn);
    struct str bytes = buf_str(&kept);
    switch (lean_reply_input(c, &bytes)) {
    case LEAN_REPLY_MORE:
        lean_conn_watch(conn);
        break;
    case LEAN_REPLY_PAUSED:
        lean_reply_keep(c, bytes);
        break;
    case LEAN_REPLY_COMPLETE:
        lean_call_complete(c, bytes.len == 0);
        break;
    case LEAN_REPLY_ENDED:
        break;
    }
    buf_deinit(&kept);
}

void lean_reply_end(struct transport_call *c, bool clean)
{
    if (c->state == LEAN_BODY && clean && http1_body_close(&c->body) == HTTP1_DONE)
        lean_call_complete(c, false);
    else
        lean_call_fail(c, ERR_CLOSED);
}
