/* Stop is a chain of states, each entered from the timer, which turns faster from the first on:
 *
 *   RUNNING -> DELAY (not ready, still accepting) -> DRAIN (no listener) -> ENDING (streams get
 * their error) -> STOPPING (workers end) -> FLUSH (spool to the control plane) -> CLOSING ->
 * STOPPED
 */
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/process.h"
#include "dataplane/node_internal.h"

#define ENDING_MS    2000U /* For the error events of the rest. */
#define FLUSH_MS     15000U
#define TURN_MS      50U /* While stopping. */
#define REAP_TURNS   20U
#define SECRET_TURNS 5U /* While running, each a second. */

static void enter(struct node *n, enum node_state state)
{
    n->state = state;
    n->since_ms = uv_now(n->loop);
}

static uint32_t still_active(const struct node *n)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < n->worker_count; i++)
        sum += worker_active(n->workers[i]) + worker_connections(n->workers[i]);
    return sum;
}

static void each_worker(struct node *n, void (*fn)(struct worker *w))
{
    for (uint32_t i = 0; i < n->worker_count; i++)
        fn(n->workers[i]);
}

static void on_part_closed(void *user);

/* Leases, limits, shipper and sync first, then their client, then the rest. */
static void close_next(struct node *n)
{
    if (n->leases != NULL) {
        struct lease_client *c = n->leases;
        n->leases = NULL;
        lease_client_close(c, on_part_closed, n);
    } else if (n->limits != NULL) {
        struct limits_client *c = n->limits;
        n->limits = NULL;
        limits_client_close(c, on_part_closed, n);
    } else if (n->shipper != NULL) {
        struct shipper *s = n->shipper;
        n->shipper = NULL;
        shipper_close(s, on_part_closed, n);
    } else if (n->sync != NULL) {
        struct sync *s = n->sync;
        n->sync = NULL;
        n->meters.sync = NULL;
        sync_close(s, on_part_closed, n);
    } else if (n->keeper != NULL) {
        struct keeper *k = n->keeper;
        n->keeper = NULL;
        n->meters.keeper = NULL;
        keeper_close(k, on_part_closed, n);
    } else if (n->targets != NULL) {
        struct control_targets *t = n->targets;
        n->targets = NULL;
        control_targets_close(t, on_part_closed, n);
    } else if (n->rates_client != NULL) {
        struct rpc_client *c = n->rates_client;
        n->rates_client = NULL;
        rpc_client_close(c, on_part_closed, n);
    } else if (n->client != NULL) {
        struct rpc_client *c = n->client;
        n->client = NULL;
        rpc_client_close(c, on_part_closed, n);
    } else if (n->httpd != NULL) {
        struct httpd *h = n->httpd;
        n->httpd = NULL;
        httpd_close(h, on_part_closed, n);
    } else {
        enter(n, NODE_STOPPED);
        uv_close((uv_handle_t *)&n->timer, NULL);
        n->on_stopped(n->on_stopped_arg);
    }
}

static void on_part_closed(void *user)
{
    close_next(user);
}

static bool all_finished(const struct node *n)
{
    for (uint32_t i = 0; i < n->worker_count; i++)
        if (!worker_finished(n->workers[i]))
            return false;
    return true;
}

static void join_workers(struct node *n)
{
    uint32_t count = n->worker_count;
    n->worker_count = 0;
    for (uint32_t i = 0; i < count; i++)
        worker_destroy(n->workers[i]);
}

static bool flushed(const struct node *n)
{
    struct shipper_status status;
    if (!lease_client_done(n->leases) || !limits_client_done(n->limits))
        return false;
    if (n->shipper == NULL)
        return true;
    shipper_get_status(n->shipper, &status);
    return status.idle || !status.connected;
}

static void drain_step(struct node *n)
{
    uint64_t in_state_ms = uv_now(n->loop) - n->since_ms;
    switch (n->state) {
    case NODE_RUNNING:
    case NODE_CLOSING:
    case NODE_STOPPED:
        break;
    case NODE_DELAY:
        if (in_state_ms < n->settings->drain_delay_ms)
            break;
        each_worker(n, worker_quiet);
        enter(n, NODE_DRAIN);
        break;
    case NODE_DRAIN:
        /* The counts are up to a fifth of a second old: two of those must have passed. */
        if (in_state_ms < n->settings->drain_timeout_ms &&
            (still_active(n) > 0 || in_state_ms < 450))
            break;
        atomic_store(&n->shared.ending, true);
        enter(n, NODE_ENDING);
        break;
    case NODE_ENDING:
        if (in_state_ms < ENDING_MS && still_active(n) > 0)
            break;
        each_worker(n, worker_stop);
        enter(n, NODE_STOPPING);
        break;
    case NODE_STOPPING:
        if (!all_finished(n))
            break;
        join_workers(n);
        lease_client_retire(n->leases);
        limits_client_leave(n->limits);
        if (n->shipper != NULL)
            shipper_kick(n->shipper);
        enter(n, NODE_FLUSH);
        break;
    case NODE_FLUSH:
        if (in_state_ms < FLUSH_MS && !flushed(n))
            break;
        enter(n, NODE_CLOSING);
        close_next(n);
        break;
    }
}

static void trim_when_due(struct node *n)
{
    uint64_t virtual_bytes, resident_bytes;
    process_memory(&virtual_bytes, &resident_bytes);
    const bool busy = spool_set_records(n->spools) != 0;
    if (trim_watch_due(&n->trim, mem_live_bytes(), resident_bytes, busy, uv_now(n->loop)))
        process_trim();
}

void node_on_timer(uv_timer_t *timer)
{
    struct node *n = container_of(timer, struct node, timer);
    if (n->state == NODE_RUNNING || ++n->turns % REAP_TURNS == 0) { /* Once a second. */
        snapshot_cell_reap(n->cell);
        trim_when_due(n);
    }
    if (n->state == NODE_RUNNING && ++n->turns % SECRET_TURNS == 0)
        (void)sync_refresh_secrets(n->sync);
    drain_step(n);
}

void node_drain(struct node *n, void (*on_stopped)(void *arg), void *arg)
{
    n->on_stopped = on_stopped;
    n->on_stopped_arg = arg;
    if (n->state == NODE_RUNNING) {
        log_event(LOG_INFO, "draining", LOG_U64("delay_ms", n->settings->drain_delay_ms),
                  LOG_U64("timeout_ms", n->settings->drain_timeout_ms));
        atomic_store(&n->shared.draining, true);
        enter(n, NODE_DELAY);
        uv_timer_start(&n->timer, node_on_timer, TURN_MS, TURN_MS);
    } else if (n->state == NODE_DELAY || n->state == NODE_DRAIN) {
        log_event(LOG_WARN, "draining cut short by a second signal");
        each_worker(n, worker_quiet);
        atomic_store(&n->shared.ending, true);
        enter(n, NODE_ENDING);
    }
    drain_step(n);
}
