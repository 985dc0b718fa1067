/* The server: accepts, watches the clock for all its connections with one timer, and ends once the
 * listener, the timers and every connection are gone. */
#include "common/net/httpd.h"

#include <assert.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/net/httpd_internal.h"

#define SWEEP_MS_MAX 250U
#define SWEEP_MS_MIN 5U

static void finish_closing(struct httpd *h)
{
    if (h->state != HTTPD_CLOSING || !h->listener_gone || h->timers > 0 || !list_empty(&h->conns))
        return;
    httpd_close_cb cb = h->close_cb;
    void *arg = h->close_arg;
    mem_free(h);
    if (cb != NULL)
        cb(arg);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct httpd *h = handle->data;
    h->timers--;
    finish_closing(h);
}

static void close_timers(struct httpd *h)
{
    h->sweep.data = h;
    h->kick.data = h;
    uv_close((uv_handle_t *)&h->sweep, on_timer_closed);
    uv_close((uv_handle_t *)&h->kick, on_timer_closed);
}

/* One turn after something was asked for: cut (closing), close the idle ones (draining), or go on
 * with connections whose next request is in the buffer already. */
static void on_kick(uv_timer_t *timer)
{
    struct httpd *h = container_of(timer, struct httpd, kick);
    LIST_FOREACH_SAFE (it, next, &h->conns) {
        struct httpd_conn *c = container_of(it, struct httpd_conn, node);
        if (h->state == HTTPD_CLOSING)
            httpd_conn_cut(c);
        else if (h->state == HTTPD_DRAINING && httpd_conn_is_idle(c))
            httpd_conn_cut(c);
        else if (c->state == CONN_HEAD)
            httpd_conn_process(c);
        if (c->broken)
            httpd_conn_cut(c);
    }
    LIST_FOREACH_SAFE (it, next, &h->conns) /* Nothing here calls out. */
    {
        struct httpd_conn *c = container_of(it, struct httpd_conn, node);
        if (httpd_conn_is_over(c))
            httpd_conn_free(c);
    }
    if (h->state == HTTPD_CLOSING && list_empty(&h->conns))
        close_timers(h);
}

void httpd_kick(struct httpd *h)
{
    if (!uv_is_active((uv_handle_t *)&h->kick) && !uv_is_closing((uv_handle_t *)&h->kick))
        (void)uv_timer_start(&h->kick, on_kick, 0, 0);
}

static void on_sweep(uv_timer_t *timer)
{
    struct httpd *h = container_of(timer, struct httpd, sweep);
    uint64_t now_ms = uv_now(h->loop);
    LIST_FOREACH_SAFE (it, next, &h->conns) {
        httpd_conn_sweep(container_of(it, struct httpd_conn, node), now_ms);
    }
}

const char *httpd_date(struct httpd *h)
{
    int64_t wall_us = clock_wall_us();
    if (wall_us / 1000000 != h->date_s) {
        h->date_s = wall_us / 1000000;
        http1_format_date(wall_us, h->date);
    }
    return h->date;
}

static uint32_t or_default(uint32_t value, uint32_t fallback)
{
    return value != 0 ? value : fallback;
}

static void fill_defaults(struct httpd_config *c)
{
    c->address = NULL;
    c->max_connections = or_default(c->max_connections, 1024);
    c->body_max_bytes = c->body_max_bytes != 0 ? c->body_max_bytes : 1U << 20;
    c->stream_mark_bytes = or_default(c->stream_mark_bytes, 65536);
    c->head_timeout_ms = or_default(c->head_timeout_ms, 10000);
    c->body_grace_ms = or_default(c->body_grace_ms, 10000);
    c->body_min_bytes_per_s = or_default(c->body_min_bytes_per_s, 1024);
    c->stall_ms = or_default(c->stall_ms, 30000);
    c->idle_ms = or_default(c->idle_ms, 75000);
}

/* A quarter of the shortest deadline: late by at most that much. */
static uint64_t sweep_period(const struct httpd_config *c)
{
    uint32_t shortest = c->head_timeout_ms;
    shortest = c->body_grace_ms < shortest ? c->body_grace_ms : shortest;
    shortest = c->stall_ms < shortest ? c->stall_ms : shortest;
    shortest = c->idle_ms < shortest ? c->idle_ms : shortest;
    uint32_t period = shortest / 4;
    return period > SWEEP_MS_MAX ? SWEEP_MS_MAX : period < SWEEP_MS_MIN ? SWEEP_MS_MIN : period;
}

int httpd_start(uv_loop_t *loop, const struct httpd_config *config, struct httpd **out_httpd,
                struct err *err)
{
    assert(config->on_request != NULL);
    struct httpd *h = mem_zalloc(sizeof(*h));
    if (h == NULL)
        return err_set(err, ERR_NOMEM, "http server: out of memory");
    h->loop = loop;
    h->config = *config;
    fill_defaults(&h->config);
    list_init(&h->conns);
    const struct listener_config listen = {
        .address = config->address,
        .max_connections = h->config.max_connections,
        .reuse_port = config->reuse_port,
        .unix_mode = config->unix_mode,
        .on_accept = httpd_conn_accept,
        .arg = h,
    };
    int rc = listener_start(loop, &listen, &h->listener, err);
    if (rc != 0) {
        mem_free(h);
        return rc;
    }
    (void)uv_timer_init(loop, &h->sweep);
    (void)uv_timer_init(loop, &h->kick);
    h->timers = 2;
    uint64_t period = sweep_period(&h->config);
    (void)uv_timer_start(&h->sweep, on_sweep, period, period);
    *out_httpd = h;
    return 0;
}

static void on_listener_closed(void *arg)
{
    struct httpd *h = arg;
    h->listener_gone = true;
    finish_closing(h);
}

static void close_listener(struct httpd *h)
{
    if (h->listener == NULL)
        return;
    h->stats.listener = listener_stats(h->listener);
    listener_close(h->listener, on_listener_closed, h);
    h->listener = NULL;
}

void httpd_drain(struct httpd *h)
{
    if (h->state != HTTPD_RUNNING)
        return;
    h->state = HTTPD_DRAINING;
    close_listener(h);
    httpd_kick(h);
}

void httpd_close(struct httpd *h, httpd_close_cb cb, void *arg)
{
    assert(h->state != HTTPD_CLOSING);
    h->state = HTTPD_CLOSING;
    h->close_cb = cb;
    h->close_arg = arg;
    close_listener(h);
    httpd_kick(h);
}

uint16_t httpd_port(const struct httpd *h)
{
    return h->listener != NULL ? listener_port(h->listener) : 0;
}

uint32_t httpd_running(const struct httpd *h)
{
    return h->running;
}

uint32_t httpd_busy(const struct httpd *h)
{
    uint32_t busy = 0;
    LIST_FOREACH (it, &h->conns) {
        const struct httpd_conn *c = container_of(it, struct httpd_conn, node);
        bool over = c->state == CONN_CLOSED || (c->state == CONN_LINGER && !c->req.open);
        busy += c->req.open || httpd_conn_queued(c) > 0 || (!over && !httpd_conn_is_idle(c));
    }
    return busy;
}

struct httpd_stats httpd_stats(const struct httpd *h)
{
    struct httpd_stats stats = h->stats;
    if (h->listener != NULL)
        stats.listener = listener_stats(h->listener);
    return stats;
}
