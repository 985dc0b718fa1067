/* Usual path: the timer opens a stream, the user speaks on it; it ends, the client turns to its
 * next target, and the timer is started anew.
 *
 * Ways to fail: no memory for a stream -> the same wait, without on_opened; nobody there -> the
 * stream ends as RPC_UNAVAILABLE. */
#include "common/link/rpc_keep.h"

#include <assert.h>

#include "common/base/list.h"
#include "common/base/mem.h"

enum keep_state {
    KEEP_IDLE,
    KEEP_OPEN,    /* There is a stream. */
    KEEP_WAITING, /* The timer runs, unless no other stream is wanted. */
    KEEP_CLOSING,
};

struct rpc_keep {
    struct rpc_keep_options options;
    enum keep_state state;
    struct rpc_stream *stream;
    uint64_t turn;       /* Of the client, when the stream was opened. */
    uint32_t tried;      /* Targets since the backoff counted. */
    bool moving, enough; /* To the next target; with streams. */
    uv_timer_t timer;
    void (*on_closed)(void *user);
    void *closed_user;
};

static void on_timer(uv_timer_t *timer);

static uint64_t next_wait_ms(struct rpc_keep *k)
{
    struct rpc_backoff *b = &k->options.backoff;
    uint32_t failures = b->failures;
    uint64_t wait_ms = rpc_backoff_next_ms(b);
    if (++k->tried % rpc_client_target_count(k->options.client) != 0)
        b->failures = failures; /* Others of this round have not been asked. */
    return wait_ms;
}

static void open_later(struct rpc_keep *k, uint64_t wait_ms)
{
    k->state = KEEP_WAITING;
    if (!k->enough)
        (void)uv_timer_start(&k->timer, on_timer, wait_ms, 0);
}

/* ---- the stream ---- */

static void on_message(struct rpc_stream *stream, const ProtobufCMessage *m, void *user)
{
    (void)stream;
    struct rpc_keep *k = user;
    if (k->options.events->on_message != NULL && k->state == KEEP_OPEN)
        k->options.events->on_message(k, m, k->options.user);
}

static void on_writable(struct rpc_stream *stream, void *user)
{
    (void)stream;
    struct rpc_keep *k = user;
    if (k->options.events->on_writable != NULL && k->state == KEEP_OPEN)
        k->options.events->on_writable(k, k->options.user);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct rpc_keep *k = container_of((uv_timer_t *)handle, struct rpc_keep, timer);
    void (*on_closed)(void *) = k->on_closed;
    void *user = k->closed_user;
    mem_free(k);
    if (on_closed != NULL)
        on_closed(user);
}

static void on_close(struct rpc_stream *stream, const struct rpc_status *status, void *user)
{
    (void)stream;
    struct rpc_keep *k = user;
    bool closing = k->state == KEEP_CLOSING;
    k->stream = NULL;
    if (!closing)
        k->state = KEEP_WAITING;
    if (k->options.events->on_lost != NULL)
        k->options.events->on_lost(k, status, k->options.user);
    if (closing)
        uv_close((uv_handle_t *)&k->timer, on_timer_closed);
    if (k->state == KEEP_CLOSING)
        return; /* Perhaps it was on_lost that closed it. */
    rpc_client_turn_on(k->options.client, k->turn);
    if (k->moving)
        rpc_keep_proved(k);
    k->moving = false;
    open_later(k, next_wait_ms(k));
}

static const struct rpc_stream_events stream_events = {
    .on_message = on_message, .on_writable = on_writable, .on_close = on_close};

static void on_timer(uv_timer_t *timer)
{
    struct rpc_keep *k = container_of(timer, struct rpc_keep, timer);
    const struct rpc_keep_options *o = &k->options;
    k->turn = rpc_client_turn(o->client);
    if (rpc_client_open(o->client, o->method, 0, &stream_events, k, &k->stream) != 0) {
        open_later(k, next_wait_ms(k));
        return;
    }
    k->state = KEEP_OPEN;
    if (o->events->on_opened != NULL)
        o->events->on_opened(k, o->user);
}

/* ---- for the user ---- */

int rpc_keep_create(const struct rpc_keep_options *options, struct rpc_keep **out_keep,
                    struct err *err)
{
    struct rpc_keep *k = mem_zalloc(sizeof *k);
    if (k == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    k->options = *options;
    (void)uv_timer_init(options->loop, &k->timer);
    *out_keep = k;
    return 0;
}

void rpc_keep_start(struct rpc_keep *k)
{
    assert(k->state == KEEP_IDLE);
    if (k->options.client != NULL)
        open_later(k, 0);
}

int rpc_keep_send(struct rpc_keep *k, const ProtobufCMessage *m)
{
    return k->state == KEEP_OPEN ? rpc_stream_send(k->stream, m) : ERR_CLOSED;
}

struct rpc_stream *rpc_keep_stream(const struct rpc_keep *k)
{
    return k->stream;
}

void rpc_keep_proved(struct rpc_keep *k)
{
    rpc_backoff_reset(&k->options.backoff);
    k->tried = 0;
}

void rpc_keep_give_up(struct rpc_keep *k, int code, const char *detail)
{
    if (k->stream != NULL)
        rpc_stream_cancel(k->stream, code, detail);
}

void rpc_keep_move_on(struct rpc_keep *k)
{
    if (k->state != KEEP_OPEN)
        return;
    k->moving = true;
    rpc_stream_cancel(k->stream, RPC_CANCELLED, "moving on");
}

void rpc_keep_no_more(struct rpc_keep *k)
{
    k->enough = true;
    (void)uv_timer_stop(&k->timer);
}

void rpc_keep_close(struct rpc_keep *k, void (*cb)(void *user), void *user)
{
    assert(k->state != KEEP_CLOSING);
    k->on_closed = cb;
    k->closed_user = user;
    k->state = KEEP_CLOSING;
    (void)uv_timer_stop(&k->timer);
    if (k->stream != NULL)
        rpc_stream_cancel(k->stream, RPC_CANCELLED, "closing");
    else
        uv_close((uv_handle_t *)&k->timer, on_timer_closed);
}
