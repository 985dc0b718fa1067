/* TLS on a connection: cipher bytes come in the loop's read buffer, are opened into its plain one a
 * part at a time and go on from there; what the engine has for the peer is sent at once. The end of
 * a reply is acted on only when all that came with it has been opened, so that a ticket behind it
 * does no harm and stray plain bytes are seen (F20). */
#include <assert.h>

#include "common/base/mem.h"
#include "dataplane/upstream/lean_internal.h"

void lean_tls_open(struct lean_conn *conn)
{
    struct transport_origin *o = conn->origin;
    struct transport_call *c = conn->call;
    struct buf *cipher = &o->transport->cipher;
    int rc = ERR_NOMEM;
    conn->secure = mem_zalloc(sizeof *conn->secure);
    if (conn->secure != NULL) {
        buf_init(&conn->secure->rest, LEAN_REST_BYTES_MAX);
        conn->secure->tls = tls_create(o->tls);
        if (conn->secure->tls != NULL)
            rc = tls_start(conn->secure->tls, cipher);
        if (rc == 0)
            rc = lean_send_cipher(conn);
    }
    if (rc == 0 || rc == ERR_AGAIN)
        lean_conn_watch(conn);
    else
        lean_call_fail(c, rc == ERR_NOMEM ? rc : ERR_TLS);
    buf_clear(cipher);
}

/* Saying goodbye is a courtesy: what the socket does not take of it is dropped. */
void lean_tls_close(struct lean_conn *conn)
{
    struct lean_tls *s = conn->secure;
    if (s == NULL)
        return;
    if (s->tls != NULL && s->rest.len == 0 && tls_state(s->tls) == TLS_OPEN) {
        struct buf *cipher = &conn->origin->transport->cipher;
        int rc = tls_close(s->tls, cipher);
        if (rc == 0)
            rc = lean_send_cipher(conn);
        (void)rc;
        buf_clear(cipher);
    }
    conn->secure = NULL;
    tls_destroy(s->tls);
    buf_deinit(&s->rest);
    mem_free(s);
}

/* The engine has no more to say: by the peer's wish, by a fault, or because the peer is gone. */
static void tls_over(struct lean_conn *conn)
{
    struct transport_call *c = conn->call;
    enum tls_state state = tls_state(conn->secure->tls);
    if (c == NULL)
        lean_conn_close(conn);
    else if (state == TLS_FAILED || c->state == LEAN_DIALING)
        lean_call_fail(c, ERR_TLS);
    else
        lean_reply_end(c, state == TLS_CLOSED);
}

void lean_tls_end(struct lean_conn *conn)
{
    tls_feed_end(conn->secure->tls);
    tls_over(conn);
}

/* What became of the reply while a read's worth of cipher bytes was opened. */
struct progress {
    bool complete;
    bool exact; /* Nothing came behind it. */
};

/* false: the connection is closed. */
static bool take_plain(struct lean_conn *conn, struct str bytes, struct progress *p)
{
    struct transport_call *c = conn->call;
    if (c == NULL || c->state == LEAN_DIALING) { /* Nobody asked for them. */
        if (c != NULL)
            lean_call_fail(c, ERR_PROTOCOL);
        else
            lean_conn_close(conn);
        return false;
    }
    if (p->complete) {
        p->exact = false;
        return true;
    }
    if (c->paused || conn->kept.len > 0) {
        lean_reply_keep(c, bytes);
        return conn->fd >= 0;
    }
    switch (lean_reply_input(c, &bytes)) {
    case LEAN_REPLY_MORE:
        return true;
    case LEAN_REPLY_PAUSED:
        lean_reply_keep(c, bytes);
        return conn->fd >= 0;
    case LEAN_REPLY_COMPLETE:
        *p = (struct progress){.complete = true, .exact = bytes.len == 0};
        return true;
    case LEAN_REPLY_ENDED:
        return false;
    }
    return false;
}

void lean_tls_input(struct lean_conn *conn, struct str cipher)
{
    struct transport *t = conn->origin->transport;
    struct progress progress = {0};
    int rc = 0;
    int sent = 0;
    bool full = true;
    while (rc == 0 && full) {
        size_t got = 0;
        rc = tls_feed(conn->secure->tls, &cipher, t->plain, LEAN_PLAIN_BYTES, &got, &t->cipher);
        full = got == LEAN_PLAIN_BYTES;
        struct transport_call *c = conn->call;
        if (t->cipher.len > 0) {
            conn->secure->answered = c != NULL && c->state != LEAN_DIALING;
            sent = lean_send_cipher(conn);
        }
        if (c != NULL && c->state == LEAN_DIALING && tls_state(conn->secure->tls) == TLS_OPEN)
            lean_conn_ready(conn);
        if (conn->fd < 0)
            return;
        if (got > 0 && !take_plain(conn, (struct str){t->plain, got}, &progress))
            return;
    }
    bool open = rc == 0 && tls_state(conn->secure->tls) <= TLS_OPEN;
    bool broken = sent != 0 && sent != ERR_AGAIN; /* What the peer awaits never goes out. */
    if (progress.complete)
        lean_call_complete(conn->call, progress.exact && open && !broken);
    else if (broken && conn->call != NULL)
        lean_call_fail(conn->call, ERR_CLOSED);
    else if (broken)
        lean_conn_close(conn);
    else if (!open && !(conn->call != NULL && conn->kept.len > 0))
        tls_over(conn);
    else
        lean_conn_watch(conn);
}
