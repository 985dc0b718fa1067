/* The server and what is known of each node. Usual path: accept a stream, hand it to sync_rpc or
 * telemetry_rpc; nodes_changed starts the debounce, whose end lets every sync peer compute its
 * difference. Closing: no new streams, the grace, then everything is cancelled; batches that are at
 * the intake are waited for, because their callbacks point here. */
#include "controlplane/nodes/nodes.h"

#include <assert.h>
#include <string.h>

#include "budget.pb-c.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "control.pb-c.h"
#include "controlplane/nodes/nodes_internal.h"
#include "rates.pb-c.h"
#include "telemetry.pb-c.h"

#define NODES_MAX_DEFAULT       1000U
#define DEBOUNCE_MS_DEFAULT     100U
#define DEBOUNCE_MAX_MS_DEFAULT 10000U
#define HEARTBEAT_MS_DEFAULT    10000U
#define STREAM_MAX_MS_DEFAULT   1800000U
#define CREDIT_BYTES_DEFAULT    8388608U
#define WAVE_HEALTHY_MS_DEFAULT 30000U

const struct rpc_method nodes_methods[4] = {
    [NODES_METHOD_SYNC] = {.path = "/steelyard.control.v1.Control/Sync",
                           .request = &steelyard__control__v1__node_msg__descriptor,
                           .response = &steelyard__control__v1__plane_msg__descriptor},
    [NODES_METHOD_PUSH] = {.path = "/steelyard.telemetry.v1.Telemetry/Push",
                           .request = &steelyard__telemetry__v1__push_up__descriptor,
                           .response = &steelyard__telemetry__v1__push_down__descriptor},
    [NODES_METHOD_LEASE] = {.path = "/steelyard.budget.v1.Budget/Lease",
                            .request = &steelyard__budget__v1__lease_up__descriptor,
                            .response = &steelyard__budget__v1__lease_down__descriptor},
    [NODES_METHOD_RATES] = {.path = "/steelyard.rates.v1.Rates/Share",
                            .request = &steelyard__rates__v1__rate_up__descriptor,
                            .response = &steelyard__rates__v1__rate_down__descriptor},
};

/* ---- known nodes ---- */

static void entry_free(struct nodes *n, struct node_entry *entry)
{
    (void)map_remove(&n->by_id, str_from(entry->id));
    list_remove(&entry->link);
    mem_free(entry);
}

static void forget_old(struct nodes *n, bool make_room)
{
    int64_t now_us = clock_wall_us();
    LIST_FOREACH_SAFE (it, tmp, &n->entries) {
        struct node_entry *entry = container_of(it, struct node_entry, link);
        if (entry->sync != NULL || entry->push != NULL || entry->lease != NULL ||
            entry->rates != NULL)
            continue;
        if (now_us - entry->last_seen_us < NODES_FORGET_US && !make_room)
            continue;
        entry_free(n, entry);
        make_room = false;
    }
}

struct node_entry *nodes_entry(struct nodes *n, const char *id)
{
    struct node_entry *entry = map_get(&n->by_id, str_from(id));
    if (entry != NULL)
        return entry;
    forget_old(n, n->by_id.count >= n->options.nodes_max);
    if (n->by_id.count >= n->options.nodes_max)
        return NULL;
    entry = mem_zalloc(sizeof(*entry));
    if (entry == NULL)
        return NULL;
    (void)str_copy(str_from(id), entry->id, sizeof(entry->id)); /* Its length was checked. */
    entry->last_seen_us = clock_wall_us();
    if (map_put(&n->by_id, str_from(entry->id), entry, NULL) != 0) {
        mem_free(entry);
        return NULL;
    }
    list_push_back(&n->entries, &entry->link);
    return entry;
}

int nodes_check_id(const struct rpc_stream *stream, const char *id)
{
    struct str s = str_from(id);
    if (s.len == 0 || s.len >= NODES_ID_BYTES)
        return RPC_INVALID;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '_' || c == '.';
        if (!ok)
            return RPC_INVALID;
    }
    /* Without TLS (loopback only) the id is taken as it is. */
    if (rpc_stream_authenticated(stream) && !rpc_stream_peer_is(stream, s) &&
        !rpc_stream_peer_is(stream, STR(NODES_ROLE_NAME)))
        return RPC_DENIED;
    return 0;
}

const char *nodes_refusal(int code)
{
    return code == RPC_DENIED ? "the certificate names neither this node (DNS name or URI "
                                "urn:uuid:ID) nor the role " NODES_ROLE_NAME
                              : "node id refused";
}

uint64_t nodes_stream_expiry(const struct nodes *n)
{
    uint64_t max = n->options.stream_max_ms;
    return clock_mono_ms() + max - max / 5 + rand_below(max / 5 * 2 + 1);
}

void nodes_stream_end(struct rpc_stream *stream, void *user)
{
    (void)user;
    rpc_stream_finish(stream, RPC_OK, NULL);
}

/* ---- pushing ---- */

static void push_now(struct nodes *n)
{
    n->changed_since_ms = 0;
    (void)uv_timer_stop(&n->debounce_timer);
    sync_peers_push(n);
}

static void on_debounced(uv_timer_t *timer)
{
    push_now(container_of(timer, struct nodes, debounce_timer));
}

void nodes_changed(struct nodes *n, bool urgent)
{
    if (n->closing)
        return;
    if (urgent) {
        push_now(n);
        return;
    }
    uint64_t now_ms = clock_mono_ms();
    if (n->changed_since_ms == 0)
        n->changed_since_ms = now_ms;
    uint64_t waited = now_ms - n->changed_since_ms;
    uint64_t left = waited < n->options.debounce_max_ms ? n->options.debounce_max_ms - waited : 0;
    uint64_t wait = left < n->options.debounce_ms ? left : n->options.debounce_ms;
    (void)uv_timer_start(&n->debounce_timer, on_debounced, wait, 0);
}

static void on_heartbeat(uv_timer_t *timer)
{
    struct nodes *n = container_of(timer, struct nodes, heartbeat_timer);
    sync_peers_heartbeat(n);
    forget_old(n, false);
}

static void on_tick(uv_timer_t *timer)
{
    struct nodes *n = container_of(timer, struct nodes, tick_timer);
    sync_peers_tick(n);
    push_peers_tick(n);
    lease_peers_tick(n);
    rates_peers_tick(n);
}

/* ---- life ---- */

static void on_accept(struct rpc_stream *stream, const struct rpc_method *method, void *user)
{
    const struct nodes *n = user;
    if (n->draining || n->closing)
        rpc_stream_cancel(stream, RPC_UNAVAILABLE, "this control plane is ending");
    else if (method == &nodes_methods[NODES_METHOD_SYNC])
        sync_peer_accept(user, stream);
    else if (method == &nodes_methods[NODES_METHOD_PUSH])
        push_peer_accept(user, stream);
    else if (method == &nodes_methods[NODES_METHOD_LEASE])
        lease_peer_accept(user, stream);
    else
        rates_peer_accept(user, stream);
}

static uint32_t or_default(uint32_t value, uint32_t fallback)
{
    return value != 0 ? value : fallback;
}

int nodes_start(const struct nodes_options *options, struct nodes **out_nodes, struct err *err)
{
    struct nodes *n = mem_zalloc(sizeof(*n));
    if (n == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    n->options = *options;
    n->options.nodes_max = or_default(options->nodes_max, NODES_MAX_DEFAULT);
    n->options.debounce_ms = or_default(options->debounce_ms, DEBOUNCE_MS_DEFAULT);
    n->options.debounce_max_ms = or_default(options->debounce_max_ms, DEBOUNCE_MAX_MS_DEFAULT);
    n->options.heartbeat_ms = or_default(options->heartbeat_ms, HEARTBEAT_MS_DEFAULT);
    if (n->options.stream_max_ms == 0)
        n->options.stream_max_ms = STREAM_MAX_MS_DEFAULT;
    if (n->options.credit_bytes == 0)
        n->options.credit_bytes = CREDIT_BYTES_DEFAULT;
    n->options.wave_healthy_ms = or_default(options->wave_healthy_ms, WAVE_HEALTHY_MS_DEFAULT);
    list_init(&n->entries);
    list_init(&n->sync_peers);
    list_init(&n->push_peers);
    list_init(&n->lease_peers);
    list_init(&n->rates_peers);
    list_init(&n->waves);
    map_init(&n->by_id);
    struct rpc_server_options server = {
        .address = options->address, .tls = options->tls, .streams_max = n->options.nodes_max * 4};
    int rc =
        rpc_server_create(options->loop, &server, nodes_methods, 4, on_accept, n, &n->server, err);
    if (rc != 0) {
        map_deinit(&n->by_id);
        mem_free(n);
        return rc;
    }
    (void)uv_timer_init(options->loop, &n->debounce_timer);
    (void)uv_timer_init(options->loop, &n->heartbeat_timer);
    (void)uv_timer_init(options->loop, &n->tick_timer);
    n->handles = 3;
    (void)uv_timer_start(&n->heartbeat_timer, on_heartbeat, n->options.heartbeat_ms,
                         n->options.heartbeat_ms);
    (void)uv_timer_start(&n->tick_timer, on_tick, NODES_TICK_MS, NODES_TICK_MS);
    *out_nodes = n;
    return 0;
}

const char *nodes_address(const struct nodes *n)
{
    return rpc_server_address(n->server);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct nodes *n = handle->data;
    if (--n->handles > 0)
        return;
    while (!list_empty(&n->entries))
        entry_free(n, container_of(n->entries.next, struct node_entry, link));
    rates_destroy(n->rates);
    waves_clear(n);
    map_deinit(&n->by_id);
    void (*on_closed)(void *) = n->on_closed;
    void *user = n->closed_user;
    mem_free(n);
    on_closed(user);
}

static void close_if_done(struct nodes *n)
{
    if (!n->server_closed || n->outstanding > 0)
        return;
    uv_timer_t *timers[] = {&n->debounce_timer, &n->heartbeat_timer, &n->tick_timer};
    for (size_t i = 0; i < sizeof(timers) / sizeof(timers[0]); i++) {
        timers[i]->data = n;
        uv_close((uv_handle_t *)timers[i], on_handle_closed);
    }
}

static void on_server_closed(void *user)
{
    struct nodes *n = user;
    n->server_closed = true;
    n->server = NULL;
    close_if_done(n);
}

void nodes_batch_done(struct nodes *n)
{
    assert(n->outstanding > 0);
    n->outstanding--;
    if (n->closing)
        close_if_done(n);
}

void nodes_drain(struct nodes *n)
{
    if (n->draining || n->closing)
        return;
    n->draining = true;
    push_peers_drain(n);
    lease_peers_drain(n);
}

size_t nodes_outstanding(const struct nodes *n)
{
    return n->outstanding;
}

void nodes_close(struct nodes *n, uint64_t grace_ms, void (*cb)(void *user), void *user)
{
    assert(!n->closing);
    nodes_drain(n);
    n->closing = true;
    n->on_closed = cb;
    n->closed_user = user;
    (void)uv_timer_stop(&n->debounce_timer);
    (void)uv_timer_stop(&n->heartbeat_timer);
    (void)uv_timer_stop(&n->tick_timer);
    sync_peers_end(n);
    rates_peers_end(n);
    rpc_server_close(n->server, grace_ms, on_server_closed, n);
}

/* ---- status ---- */

size_t nodes_count(const struct nodes *n)
{
    return n->by_id.count;
}

void nodes_get_info(const struct nodes *n, size_t index, struct nodes_info *out_info)
{
    LIST_FOREACH (it, &n->entries) {
        if (index-- > 0)
            continue;
        const struct node_entry *e = container_of(it, struct node_entry, link);
        *out_info = (struct nodes_info){
            .node_id = e->id,
            .connected = e->sync != NULL,
            .shipping = e->push != NULL,
            .build = e->build,
            .peer = e->peer,
            .era = e->era,
            .generation = e->generation,
            .nacked_generation = e->nacked_generation,
            .epoch = e->epoch,
            .last_seen_us = e->last_seen_us,
            .spool_records = e->spool_records,
            .spool_bytes = e->spool_bytes,
            .inflight = e->inflight,
            .requests = e->requests,
        };
        return;
    }
    assert(!"index is below nodes_count");
}

size_t nodes_connected(const struct nodes *n)
{
    size_t count = 0;
    LIST_FOREACH (it, &n->entries)
        count += container_of(it, struct node_entry, link)->sync != NULL;
    return count;
}

bool nodes_is_connected(const struct nodes *n, struct str node_id)
{
    const struct node_entry *e = map_get(&n->by_id, node_id);
    return e != NULL && e->sync != NULL;
}

struct nodes_spread nodes_spread(const struct nodes *n, uint64_t generation, uint64_t silent_ms)
{
    struct nodes_spread s = {0};
    uint64_t now_ns = clock_mono_ns();
    LIST_FOREACH (it, &n->entries) {
        const struct node_entry *e = container_of(it, struct node_entry, link);
        if (e->sync == NULL)
            continue;
        bool acked = e->generation >= generation;
        bool silent =
            e->sync->sending != NULL && now_ns - e->sync->sent_at_ns > silent_ms * 1000000U;
        s.connected++;
        s.acked += acked;
        s.owing += !acked && !silent && e->sync->refused < generation;
    }
    return s;
}

size_t nodes_holding(const struct nodes *n, struct str key, struct str version)
{
    size_t count = 0;
    LIST_FOREACH (it, &n->entries) {
        const struct sync_peer *p = container_of(it, struct node_entry, link)->sync;
        count += p != NULL && sync_peer_holds(p, key, version);
    }
    return count;
}
