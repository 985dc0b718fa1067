/* One node's Budget.Lease stream. A message is checked, handed to the lease service and answered
 * after its commit; meanwhile the stream is not read, so that a node has one transaction at a time.
 * Recalls go down between answers. If a report cannot be stored the stream is closed: the node
 * comes back with everything it knows, and its counters make up for what was lost. */
#include <string.h>

#include "budget.pb-c.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/link/wire.h"
#include "controlplane/nodes/nodes_internal.h"

typedef Steelyard__Budget__V1__LeaseUp LeaseUp;
typedef Steelyard__Budget__V1__LeaseDown LeaseDown;
typedef Steelyard__Budget__V1__Usage Usage;
typedef Steelyard__Budget__V1__Alloc Alloc;

struct lease_peer {
    struct list link; /* Of nodes->lease_peers, while the stream is open. */
    struct nodes *nodes;
    struct rpc_stream *stream; /* NULL: closed, a job still runs. */
    struct node_entry *entry;  /* NULL before hello. */
    struct uuid node_id;
    uint64_t epoch; /* Of the last report. */
    uint32_t echo_era;
    bool running; /* A report or recalls are at the service; the stream is paused. */
    bool recall_wanted;
    uint64_t report_no;
    bool echo_began;
    struct lease_report report;
    struct lease_usage usage[LEASE_USAGE_MAX];
    struct lease_usage final[LEASE_USAGE_MAX];
    uint64_t expires_ms;
};

static void peer_free_if_done(struct lease_peer *p)
{
    if (p->stream == NULL && !p->running)
        mem_free(p);
}

/* ---- answers ---- */

static void fill(Alloc *out, const struct lease_alloc *a)
{
    steelyard__budget__v1__alloc__init(out);
    out->budget = a->budget;
    out->period_start_us = a->start_us;
    out->period_end_us = a->end_us;
    out->cfg = a->cfg;
    out->granted = a->granted;
    out->exhausted = a->exhausted;
    out->recall = a->recall;
    out->keep = a->keep;
    out->limit = a->limit;
    out->spent_others = a->spent_others;
    out->unknown = a->unknown;
    out->stale = a->stale;
    out->offline = a->offline;
    out->recalling = a->recalling;
}

static int send_down(struct lease_peer *p, const struct lease_reply *reply, LeaseDown *down)
{
    Alloc *allocs = mem_calloc((size_t)reply->alloc_count + 1, sizeof(*allocs));
    Alloc **list = mem_calloc((size_t)reply->alloc_count + 1, sizeof(*list));
    int rc = allocs != NULL && list != NULL ? 0 : ERR_NOMEM;
    for (uint32_t i = 0; rc == 0 && i < reply->alloc_count; i++) {
        fill(&allocs[i], &reply->allocs[i]);
        list[i] = &allocs[i];
    }
    if (rc == 0) {
        down->lease_epoch = p->epoch;
        down->alloc = list;
        down->n_alloc = reply->alloc_count;
        rc = rpc_stream_send(p->stream, &down->base);
    }
    mem_free(list);
    mem_free(allocs);
    return rc;
}

static void answer(struct lease_peer *p, const struct lease_reply *reply)
{
    LeaseDown down = STEELYARD__BUDGET__V1__LEASE_DOWN__INIT;
    uint32_t fence_s = p->nodes->options.lease->fence_after_s;
    if (p->echo_began)
        p->echo_era = reply->era;
    down.acked_report = p->report_no;
    down.epoch_closed = reply->epoch_closed ? p->epoch : 0;
    down.echo = reply->echo;
    down.now_us = clock_wall_us();
    down.fence_after_s = fence_s != 0 ? fence_s : GRANT_FENCE_AFTER_S;
    if (send_down(p, reply, &down) != 0)
        rpc_stream_cancel(p->stream, RPC_INTERNAL, "cannot send");
}

static void take_recalls(struct lease_peer *p);

/* The next message, or the end of the stream. */
static void go_on(struct lease_peer *p)
{
    if (p->running || p->stream == NULL)
        return;
    if (p->nodes->draining)
        rpc_stream_finish(p->stream, RPC_OK, "this control plane is ending");
    else
        rpc_stream_resume(p->stream);
}

static void on_report_done(void *user, int status, const struct lease_reply *reply)
{
    struct lease_peer *p = user;
    if (p->stream != NULL && status == 0)
        answer(p, reply);
    else if (p->stream != NULL)
        rpc_stream_cancel(p->stream, status == ERR_INVALID ? RPC_INVALID : RPC_UNAVAILABLE,
                          status == ERR_INVALID ? "report refused" : "the store is away");
    struct nodes *n = p->nodes;
    p->running = false;
    if (p->recall_wanted && status == 0 && p->stream != NULL && !n->draining)
        take_recalls(p);
    go_on(p);
    peer_free_if_done(p);
    nodes_batch_done(n);
}

/* ---- recalls ---- */

static void on_recalls_done(void *user, int status, const struct lease_reply *reply)
{
    struct lease_peer *p = user;
    LeaseDown down = STEELYARD__BUDGET__V1__LEASE_DOWN__INIT;
    /* What cannot be sent now is asked for again by who needs it. */
    if (p->stream != NULL && status == 0 && reply->alloc_count > 0 &&
        send_down(p, reply, &down) != 0)
        rpc_stream_cancel(p->stream, RPC_INTERNAL, "cannot send");
    struct nodes *n = p->nodes;
    p->running = false;
    go_on(p);
    peer_free_if_done(p);
    nodes_batch_done(n);
}

static void take_recalls(struct lease_peer *p)
{
    const struct nodes_lease_ops *ops = p->nodes->options.lease;
    p->recall_wanted = false;
    if (ops->recalls(p->nodes->options.plane, &p->node_id, p->epoch, on_recalls_done, p) != 0)
        return;
    p->running = true;
    p->nodes->outstanding++;
    rpc_stream_pause(p->stream);
}

void nodes_recall(struct nodes *n, struct str node_id)
{
    struct node_entry *entry = map_get(&n->by_id, node_id);
    struct lease_peer *p = entry != NULL ? entry->lease : NULL;
    if (p == NULL || p->stream == NULL || p->epoch == 0 || n->draining)
        return;
    p->recall_wanted = true;
    if (!p->running)
        take_recalls(p);
}

/* ---- reports ---- */

static int take_usages(struct lease_usage *out, Usage *const *list, size_t count)
{
    if (count > LEASE_USAGE_MAX)
        return ERR_INVALID;
    for (size_t i = 0; i < count; i++)
        out[i] = (struct lease_usage){.budget = list[i]->budget,
                                      .start_us = list[i]->period_start_us,
                                      .cfg = list[i]->cfg,
                                      .next = list[i]->next,
                                      .usage = {.settled = list[i]->settled,
                                                .returned = list[i]->returned,
                                                .reserved = list[i]->reserved,
                                                .want = list[i]->want,
                                                .need = list[i]->need,
                                                .granted = list[i]->granted}};
    return 0;
}

static int take_report(struct lease_peer *p, const LeaseUp *m)
{
    p->report = (struct lease_report){.node_id = p->node_id,
                                      .epoch = m->lease_epoch,
                                      .echo_begin = m->echo_begin,
                                      .echo_end = m->echo_end,
                                      .echo_era = p->echo_era,
                                      .usage = p->usage,
                                      .usage_count = (uint32_t)m->n_usage,
                                      .final = p->final};
    int rc = m->n_final > 1 ? ERR_INVALID : take_usages(p->usage, m->usage, m->n_usage);
    if (rc == 0 && m->n_final == 1) {
        const Steelyard__Budget__V1__FinalEpoch *f = m->final[0];
        rc = f->lease_epoch == 0 || f->lease_epoch == m->lease_epoch
                 ? ERR_INVALID
                 : take_usages(p->final, f->usage, f->n_usage);
        p->report.final_epoch = f->lease_epoch;
        p->report.final_exact = f->exact;
        p->report.final_last = f->last;
        p->report.final_count = (uint32_t)f->n_usage;
    }
    return rc;
}

static int on_hello(struct lease_peer *p, const Steelyard__Budget__V1__LeaseHello *hello)
{
    int code = p->entry != NULL ? RPC_INVALID : nodes_check_id(p->stream, hello->node_id);
    if (code == 0 && uuid_parse(str_from(hello->node_id), &p->node_id) != 0)
        code = RPC_INVALID;
    if (code != 0)
        return code;
    p->entry = nodes_entry(p->nodes, hello->node_id);
    if (p->entry == NULL)
        return RPC_EXHAUSTED;
    if (p->entry->lease != NULL) {
        struct lease_peer *old = p->entry->lease;
        old->entry = NULL;
        rpc_stream_cancel(old->stream, RPC_CANCELLED, "replaced by a newer stream");
    }
    p->entry->lease = p;
    return 0;
}

static void on_message(struct rpc_stream *stream, const ProtobufCMessage *base, void *user)
{
    struct lease_peer *p = user;
    const LeaseUp *m = (const LeaseUp *)base;
    if (p->nodes->draining)
        return; /* Read before the pause. */
    int code = m->hello != NULL ? on_hello(p, m->hello) : 0;
    if (code == 0 && p->entry == NULL)
        code = RPC_INVALID;
    /* At most one message that was taken before the pause may still arrive. */
    if (code == 0 && (p->running || m->report_no == 0 || take_report(p, m) != 0))
        code = p->running ? RPC_EXHAUSTED : RPC_INVALID;
    if (code != 0) {
        rpc_stream_cancel(stream, code, "report refused");
        return;
    }
    p->epoch = m->lease_epoch;
    p->report_no = m->report_no;
    p->echo_began = m->echo_begin;
    const struct nodes_lease_ops *ops = p->nodes->options.lease;
    if (ops->report(p->nodes->options.plane, &p->report, on_report_done, p) != 0) {
        rpc_stream_cancel(stream, RPC_UNAVAILABLE, "too many reports wait");
        return;
    }
    p->running = true;
    p->nodes->outstanding++;
    rpc_stream_pause(stream);
}

static void on_close(struct rpc_stream *stream, const struct rpc_status *status, void *user)
{
    (void)stream;
    (void)status;
    struct lease_peer *p = user;
    if (p->entry != NULL && p->entry->lease == p)
        p->entry->lease = NULL;
    p->entry = NULL;
    list_remove(&p->link);
    p->stream = NULL;
    peer_free_if_done(p);
}

static const struct rpc_stream_events lease_events = {
    .on_message = on_message, .on_end = nodes_stream_end, .on_close = on_close};

void lease_peer_accept(struct nodes *n, struct rpc_stream *stream)
{
    struct lease_peer *p = n->options.lease != NULL ? mem_zalloc(sizeof(*p)) : NULL;
    if (p == NULL) {
        rpc_stream_cancel(stream, n->options.lease != NULL ? RPC_EXHAUSTED : RPC_UNIMPLEMENTED,
                          "no budgets here");
        return;
    }
    p->nodes = n;
    p->stream = stream;
    p->expires_ms = nodes_stream_expiry(n);
    list_push_back(&n->lease_peers, &p->link);
    rpc_stream_set_user(stream, &lease_events, p);
}

void lease_peers_drain(struct nodes *n)
{
    LIST_FOREACH_SAFE (it, tmp, &n->lease_peers) {
        struct lease_peer *p = container_of(it, struct lease_peer, link);
        rpc_stream_pause(p->stream);
        go_on(p);
    }
}

void lease_peers_tick(struct nodes *n)
{
    uint64_t now_ms = clock_mono_ms();
    LIST_FOREACH_SAFE (it, tmp, &n->lease_peers) {
        struct lease_peer *p = container_of(it, struct lease_peer, link);
        if (now_ms >= p->expires_ms && !p->running)
            rpc_stream_finish(p->stream, RPC_OK, "streams are spread again");
    }
}
