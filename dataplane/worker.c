/* The control thread sets an atomic wish and wakes the loop; on_wake carries it out. Stopping takes
 * turns: listener, connections, requests (each waits for its transport), transport, handles; the
 * loop then has nothing left and uv_run returns. */
#include "dataplane/worker.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"

/* A tick is taken in a turn of the loop that something else began, if there is one in time: a
 * wake-up costs more than the tick. */
#define TICK_MS             100U
#define TICK_LATE_MS        200U
#define TICK_REST_MS        1000U /* Nothing happened since the last one. */
#define MEMORY_SHED_PERCENT 85U
#define MEMORY_CUT_PERCENT  95U
/* Of what waits for clients, roughly: with more of them waiting each has less (F23). */
#define WAITING_BYTES       (32U << 20)
#define WAITING_BYTES_LEAST 4096U
#define REFRESH_MS          2000U
#define TRIM_MS             1000U

enum worker_wish { WISH_RUN, WISH_QUIET, WISH_STOP };

struct worker {
    struct worker_config config;
    uv_loop_t loop;
    uv_thread_t thread;
    uv_async_t wake;
    uv_timer_t tick;
    uv_check_t turn;
    struct listener *listener;
    uint16_t port;
    struct conn_pool conns;
    struct request_env env;
    bool resting; /* Since the last tick, as far as that could see. */
    uint64_t ticked_ms;
    uint64_t trimmed_ms;
    uint64_t refreshed_ms;
    unsigned trims_seen;  /* mem_trims() */
    uint64_t served_seen; /* At the last tick, as are the connections. */
    uint32_t connections_seen;
    struct metrics_series *open_connections;
    struct listener_stats seen; /* Of what was counted. */
    enum worker_wish state;     /* Worker's thread. */
    bool upstream_closing;
    bool started;
    _Atomic int wish; /* enum worker_wish */
    _Atomic uint64_t heartbeat_ms;
    _Atomic uint32_t active;
    _Atomic uint32_t connections;
    _Atomic uint64_t served;
    _Atomic bool finished;
};

static void on_accept(void *arg, int fd)
{
    struct worker *w = arg;
    conn_open(&w->conns, fd);
}

static void on_upstream_closed(void *arg)
{
    struct worker *w = arg;
    uv_close((uv_handle_t *)&w->tick, NULL);
    uv_close((uv_handle_t *)&w->turn, NULL);
    uv_close((uv_handle_t *)&w->wake, NULL);
}

/* Once nothing runs any more, what ran it goes. */
static void finish_when_idle(struct worker *w)
{
    if (w->state != WISH_STOP || w->upstream_closing || w->conns.open_count != 0 ||
        w->env.active_count != 0)
        return;
    w->upstream_closing = true;
    conn_pool_close(&w->conns);
    request_env_close(&w->env);
    upstream_close(&w->env.upstream, on_upstream_closed, w);
}

static void close_listener(struct worker *w)
{
    struct listener *l = w->listener;
    w->listener = NULL;
    w->conns.listener = NULL;
    if (l != NULL)
        listener_close(l, NULL, NULL);
}

static void obey(struct worker *w)
{
    enum worker_wish wish = (enum worker_wish)atomic_load(&w->wish);
    if (wish > w->state) {
        w->state = wish;
        close_listener(w);
        conn_pool_drain(&w->conns);
        if (wish == WISH_STOP)
            conn_pool_cut(&w->conns);
    }
    finish_when_idle(w);
}

static void publish(struct worker *w)
{
    atomic_store_explicit(&w->heartbeat_ms, clock_mono_ms(), memory_order_relaxed);
    atomic_store_explicit(&w->active, w->env.active_count, memory_order_relaxed);
    atomic_store_explicit(&w->connections, w->conns.open_count, memory_order_relaxed);
    atomic_store_explicit(&w->served, w->env.served, memory_order_relaxed);
}

static void on_wake(uv_async_t *async)
{
    struct worker *w = container_of(async, struct worker, wake);
    obey(w);
    publish(w);
}

/* F24: above 85 % heads are refused, above 95 % the largest goes. */
static void watch_memory(struct worker *w)
{
    uint64_t limit = w->config.memory_max_bytes;
    uint64_t live = limit != 0 ? mem_live_bytes() : 0;
    w->env.shedding = live > limit / 100 * MEMORY_SHED_PERCENT;
    if (live > limit / 100 * MEMORY_CUT_PERCENT)
        conn_pool_cut_largest(&w->conns);
}

static void share_marks(struct worker *w)
{
    uint32_t waiting = w->conns.outputs_used;
    uint32_t share = waiting > 0 ? WAITING_BYTES / waiting : UINT32_MAX;
    w->env.mark_most = share > WAITING_BYTES_LEAST ? share : WAITING_BYTES_LEAST;
}

static void count_paused(struct worker *w, const char *reason, uint64_t times)
{
    const struct str labels[] = {str_from(reason)};
    if (times > 0)
        metrics_add(meter(&w->env.meters, METER_ACCEPT_PAUSED, labels), times);
}

static void count_connections(struct worker *w)
{
    metrics_gauge_set(w->open_connections, w->conns.open_count);
    if (w->listener == NULL)
        return;
    struct listener_stats now = listener_stats(w->listener);
    count_paused(w, "limit", now.paused_limit - w->seen.paused_limit);
    count_paused(w, "descriptors", now.paused_descriptors - w->seen.paused_descriptors);
    w->seen = now;
}

static void on_tick(uv_timer_t *timer);

static bool has_work(struct worker *w)
{
    bool moved = w->env.served != w->served_seen || w->conns.open_count != w->connections_seen;
    w->served_seen = w->env.served;
    w->connections_seen = w->conns.open_count;
    return moved || w->env.active_count > 0 || w->env.shedding;
}

static void tick(struct worker *w)
{
    uint64_t now_ms = uv_now(&w->loop);
    w->ticked_ms = now_ms;
    conn_pool_tick(&w->conns, now_ms);
    request_env_tick(&w->env);
    watch_memory(w);
    share_marks(w);
    count_connections(w);
    log_gather_flush();
    if (now_ms - w->trimmed_ms >= TRIM_MS) {
        w->trimmed_ms = now_ms;
        conn_pool_trim(&w->conns);
        request_env_trim(&w->env);
    }
    if (w->trims_seen != mem_trims()) {
        w->trims_seen = mem_trims();
        mem_trim_end();
    }
    if (now_ms - w->refreshed_ms >= REFRESH_MS && !w->upstream_closing) {
        w->refreshed_ms = now_ms;
        upstream_refresh(&w->env.upstream);
    }
    publish(w);
    obey(w);
    w->resting = !has_work(w) && w->state == WISH_RUN;
    (void)uv_timer_start(&w->tick, on_tick, w->resting ? TICK_REST_MS : TICK_LATE_MS, 0);
}

static void on_tick(uv_timer_t *timer)
{
    tick(container_of(timer, struct worker, tick));
}

/* After the events of a turn. What wakes a loop at rest is the beginning of something. */
static void on_turn(uv_check_t *check)
{
    struct worker *w = container_of(check, struct worker, turn);
    uint64_t since_ms = uv_now(&w->loop) - w->ticked_ms;
    if (since_ms >= TICK_MS || (w->resting && since_ms > 0))
        tick(w);
}

static void close_all_handles(struct worker *w)
{
    if (uv_run(&w->loop, UV_RUN_DEFAULT) != 0 || uv_loop_close(&w->loop) != 0)
        assert(!"a handle of the worker was left open");
}

static int start_listening(struct worker *w, struct err *err)
{
    const struct listener_config config = {
        .address = w->config.listen,
        .limit = w->config.limit,
        .reuse_port = strncmp(w->config.listen, "unix:", 5) != 0,
        .notsent_lowat_bytes = w->config.unsent_max_bytes,
        .send_buffer_bytes = w->config.send_buffer_bytes,
        .on_accept = on_accept,
        .arg = w,
    };
    int rc = listener_start(&w->loop, &config, &w->listener, err);
    if (rc == 0) {
        w->port = listener_port(w->listener);
        w->conns.listener = w->listener;
    }
    return rc;
}

int worker_create(const struct worker_config *config, struct worker **out_worker, struct err *err)
{
    struct worker *w = mem_zalloc(sizeof *w);
    if (w == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    w->config = *config;
    int rc = uv_loop_init(&w->loop);
    if (rc != 0) {
        mem_free(w);
        return err_set(err, err_from_uv(rc), "event loop: %s", uv_strerror(rc));
    }
    request_env_init(&w->env, config->shared, &w->loop, config->spool, config->shard);
    w->open_connections = meter(&w->env.meters, METER_CONNECTIONS, NULL);
    conn_pool_init(&w->conns, &w->loop, &w->env, &config->conn);
    uv_async_init(&w->loop, &w->wake, on_wake);
    uv_timer_init(&w->loop, &w->tick);
    uv_timer_start(&w->tick, on_tick, TICK_MS, 0);
    uv_check_init(&w->loop, &w->turn);
    uv_check_start(&w->turn, on_turn);
    rc = upstream_init(&w->env.upstream, &w->loop, config->reader, config->registry);
    if (rc != 0) {
        err_set(err, rc, "out of memory");
        conn_pool_close(&w->conns);
        request_env_close(&w->env);
        on_upstream_closed(w);
        close_all_handles(w);
        request_env_deinit(&w->env);
        upstream_deinit(&w->env.upstream);
        mem_free(w);
        return rc;
    }
    publish(w);
    rc = start_listening(w, err);
    if (rc != 0) {
        worker_destroy(w);
        return rc;
    }
    *out_worker = w;
    return 0;
}

static void thread_main(void *arg)
{
    struct worker *w = arg;
    (void)pthread_setname_np(pthread_self(), "worker"); /* For `top -H`. */
    log_gather_begin();
    uv_run(&w->loop, UV_RUN_DEFAULT);
    log_gather_end();
    publish(w);
    atomic_store(&w->finished, true);
}

int worker_start(struct worker *w, struct err *err)
{
    int rc = uv_thread_create(&w->thread, thread_main, w);
    if (rc != 0)
        return err_set(err, err_from_uv(rc), "thread: %s", uv_strerror(rc));
    w->started = true;
    return 0;
}

static void wish_for(struct worker *w, enum worker_wish wish)
{
    if (atomic_load(&w->finished))
        return;
    atomic_store(&w->wish, (int)wish);
    uv_async_send(&w->wake);
}

void worker_quiet(struct worker *w)
{
    wish_for(w, WISH_QUIET);
}

void worker_stop(struct worker *w)
{
    wish_for(w, WISH_STOP);
}

void worker_destroy(struct worker *w)
{
    if (w == NULL)
        return;
    worker_stop(w);
    if (w->started)
        uv_thread_join(&w->thread);
    close_all_handles(w);
    conn_pool_deinit(&w->conns);
    upstream_deinit(&w->env.upstream);
    request_env_deinit(&w->env);
    snapshot_reader_close(w->config.reader);
    mem_free(w);
}

uint16_t worker_port(const struct worker *w)
{
    return w->port;
}

uint64_t worker_heartbeat_ms(const struct worker *w)
{
    return atomic_load_explicit(&w->heartbeat_ms, memory_order_relaxed);
}

uint32_t worker_active(const struct worker *w)
{
    return atomic_load_explicit(&w->active, memory_order_relaxed);
}

uint32_t worker_connections(const struct worker *w)
{
    return atomic_load_explicit(&w->connections, memory_order_relaxed);
}

uint64_t worker_served(const struct worker *w)
{
    return atomic_load_explicit(&w->served, memory_order_relaxed);
}

bool worker_finished(const struct worker *w)
{
    return atomic_load(&w->finished);
}
