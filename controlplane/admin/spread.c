/* Usual path: a wait begins, the rows of the other control planes are read on a worker, the nodes
 * here acknowledge within some ms, a tick sees it and ends the wait. The rows are read again only
 * while a node elsewhere owes its answer. Looking at ticks, and not at each acknowledgement, bounds
 * what many nodes and many waits cost the loop. Postgres away: what is elsewhere is not known, and
 * the wait ends at its limit. */
#include "controlplane/admin/spread.h"

#include <assert.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

#define TICK_MS    10U
#define READ_TICKS 5U

static const char *const names[] = {
    [SPREAD_ALL] = "all",   [SPREAD_SOME] = "some", [SPREAD_TIMEOUT] = "timeout",
    [SPREAD_BUSY] = "busy", [SPREAD_GONE] = "gone", [SPREAD_STOPPING] = "stopping"};

const char *spread_end_name(enum spread_ending end)
{
    return names[end];
}

/* A row of our own may be older than what is known here. */
static bool is_elsewhere(const struct admin_config *config, const struct replicas_node *n)
{
    const struct nodes *nodes = *config->nodes;
    return n->connected &&
           (config->replica_id == NULL || strcmp(n->replica, config->replica_id) != 0) &&
           (nodes == NULL || !nodes_is_connected(nodes, str_from(n->node_id)));
}

static struct nodes_spread count_elsewhere(const struct admin_config *config,
                                           const struct replicas_node *rows, size_t row_count,
                                           uint64_t generation)
{
    struct nodes_spread s = {0};
    for (size_t i = 0; i < row_count; i++) {
        if (!is_elsewhere(config, &rows[i]))
            continue;
        bool acked = rows[i].applied >= generation;
        s.connected++;
        s.acked += acked;
        s.owing += !acked && rows[i].nacked < generation;
    }
    return s;
}

struct nodes_spread spread_count(const struct admin_config *config,
                                 const struct replicas_node *rows, size_t row_count,
                                 uint64_t generation)
{
    const struct nodes *nodes = *config->nodes;
    struct nodes_spread s = count_elsewhere(config, rows, row_count, generation);
    if (nodes != NULL) {
        const struct nodes_spread here = nodes_spread(nodes, generation, SPREAD_SILENT_MS);
        s.connected += here.connected;
        s.acked += here.acked;
        s.owing += here.owing;
    }
    return s;
}

/* --- waiting ------------------------------------------------------------------------------------
 */

static void end_now(struct spread *s, struct spread_wait *wait, enum spread_ending end)
{
    wait->count = spread_count(s->config, s->rows, s->row_count, wait->generation);
    wait->end = end;
    s->stats.ended[end]++;
    wait->on_end(wait); /* The wait is its owner's again. */
}

void spread_end(struct spread *s, struct spread_wait *wait, enum spread_ending end)
{
    list_remove(&wait->link);
    if (--s->waiting == 0)
        (void)uv_timer_stop(&s->timer);
    end_now(s, wait, end);
}

static void look(struct spread *s)
{
    uint64_t now_ms = clock_mono_ms();
    LIST_FOREACH_SAFE (it, tmp, &s->waits) {
        struct spread_wait *w = container_of(it, struct spread_wait, link);
        const struct nodes_spread c = spread_count(s->config, s->rows, s->row_count, w->generation);
        if (s->finished >= w->reading && c.owing == 0)
            spread_end(s, w, c.acked == c.connected ? SPREAD_ALL : SPREAD_SOME);
        else if (now_ms >= w->until_ms)
            spread_end(s, w, SPREAD_TIMEOUT);
    }
}

/* --- what is elsewhere --------------------------------------------------------------------------
 */

static int run_read(void *arg, struct pq_conn *c, struct err *err)
{
    struct spread *s = arg; /* The loop leaves read_rows alone meanwhile. */
    return replicas_nodes(c, &s->read_rows, &s->read_count, err);
}

static void maybe_closed(struct spread *s)
{
    if (!s->timer_closed || s->started != s->finished)
        return;
    mem_free(s->rows);
    s->rows = NULL;
    s->on_closed(s->closed_arg);
}

static void on_read(void *arg, int status, const struct err *err)
{
    struct spread *s = arg;
    (void)err; /* What cannot be read is not known: the answers say so. */
    if (status == 0) {
        mem_free(s->rows);
        s->rows = s->read_rows;
        s->row_count = s->read_count;
        s->finished = s->started;
        s->read_rows = NULL;
    } else {
        s->started = s->finished; /* Did not count: a wait needs one that succeeds. */
    }
    look(s);
    maybe_closed(s);
}

static bool wants_read(const struct spread *s)
{
    LIST_FOREACH (it, &s->waits) {
        const struct spread_wait *w = container_of(it, struct spread_wait, link);
        if (w->reading > s->finished)
            return true;
        if (s->ticks % READ_TICKS == 0 &&
            count_elsewhere(s->config, s->rows, s->row_count, w->generation).owing > 0)
            return true;
    }
    return false;
}

static void read_rows(struct spread *s)
{
    if (s->started == s->finished && wants_read(s) &&
        work_submit(s->config->work, run_read, on_read, s) == 0)
        s->started++;
}

static void on_tick(uv_timer_t *timer)
{
    struct spread *s = timer->data;
    s->ticks++;
    look(s);
    read_rows(s);
}

/* --- life ---------------------------------------------------------------------------------------
 */

void spread_init(struct spread *s, uv_loop_t *loop, const struct admin_config *config)
{
    *s = (struct spread){.config = config};
    list_init(&s->waits);
    (void)uv_timer_init(loop, &s->timer);
    s->timer.data = s;
}

void spread_begin(struct spread *s, struct spread_wait *wait)
{
    if (s->stopping || wait->is_gone || s->waiting >= SPREAD_WAITS_MAX) {
        end_now(s, wait, s->stopping ? SPREAD_STOPPING : wait->is_gone ? SPREAD_GONE : SPREAD_BUSY);
        return;
    }
    wait->until_ms = clock_mono_ms() + wait->wait_ms;
    wait->reading = s->started + 1;
    list_push_back(&s->waits, &wait->link);
    if (s->waiting++ == 0)
        (void)uv_timer_start(&s->timer, on_tick, TICK_MS, TICK_MS);
    read_rows(s);
}

void spread_drain(struct spread *s)
{
    s->stopping = true;
    LIST_FOREACH_SAFE (it, tmp, &s->waits)
        spread_end(s, container_of(it, struct spread_wait, link), SPREAD_STOPPING);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct spread *s = handle->data;
    s->timer_closed = true;
    maybe_closed(s);
}

void spread_close(struct spread *s, void (*cb)(void *arg), void *arg)
{
    assert(list_empty(&s->waits));
    s->stopping = true;
    s->on_closed = cb;
    s->closed_arg = arg;
    uv_close((uv_handle_t *)&s->timer, on_timer_closed);
}
