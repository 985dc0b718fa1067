/* One node's Telemetry.Push stream. A batch is checked (sizes, framing, decompression), handed to
 * the intake and acknowledged when the intake says that it is committed. Back-pressure: at most
 * NODES_OUTSTANDING batches of a stream are at the intake, then the stream is not read; and the
 * node may send no more than the credit, which grows only with what was committed. While the store
 * is away there is no credit. */
#include <string.h>
#include <zstd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/link/wire.h"
#include "controlplane/nodes/nodes_internal.h"
#include "telemetry.pb-c.h"

typedef Steelyard__Telemetry__V1__PushUp PushUp;
typedef Steelyard__Telemetry__V1__PushDown PushDown;
typedef Steelyard__Telemetry__V1__PushBatch PushBatch;

struct push_peer {
    struct list link; /* Of nodes->push_peers, while the stream is open. */
    struct nodes *nodes;
    struct rpc_stream *stream; /* NULL: closed, batches are still at the intake. */
    struct node_entry *entry;
    char node_id[NODES_ID_BYTES];
    unsigned outstanding;
    uint64_t done_bytes; /* Payload bytes that were dealt with. */
    uint64_t credit_bytes;
    struct pending *waiting; /* The intake was busy: offered again at the next tick. */
    bool paused;
    uint64_t expires_ms;
};

struct pending { /* One batch on its way through the intake. */
    struct push_peer *peer;
    struct nodes *nodes;
    struct nodes_batch batch;
    uint64_t payload_bytes;
};

/* ---- answers ---- */

static void send_down(struct push_peer *p, uint64_t epoch, uint64_t acked, uint64_t expected)
{
    if (p->stream == NULL)
        return;
    struct nodes *n = p->nodes;
    bool ready = n->options.intake->ready == NULL || n->options.intake->ready(n->options.plane);
    if (ready)
        p->credit_bytes = p->done_bytes + n->options.credit_bytes;
    PushDown down = STEELYARD__TELEMETRY__V1__PUSH_DOWN__INIT;
    down.epoch = epoch;
    down.acked_through = acked;
    down.expected_seq = expected;
    down.credit_bytes = p->credit_bytes;
    if (rpc_stream_send(p->stream, &down.base) != 0)
        rpc_stream_cancel(p->stream, RPC_INTERNAL, "cannot send");
}

static void peer_free_if_done(struct push_peer *p)
{
    if (p->stream == NULL && p->outstanding == 0)
        mem_free(p);
}

static void pending_free(struct pending *b)
{
    buf_deinit(&b->batch.records);
    mem_free(b);
}

/* What waits was not taken: the node has it still, for another control plane. */
static void end_if_drained(struct push_peer *p)
{
    if (p->waiting != NULL)
        pending_free(p->waiting);
    p->waiting = NULL;
    if (p->outstanding == 0)
        rpc_stream_finish(p->stream, RPC_OK, "this control plane is ending");
}

static void pause_or_resume(struct push_peer *p)
{
    if (p->stream == NULL)
        return;
    if (p->nodes->draining) {
        end_if_drained(p);
        return;
    }
    bool pause = p->waiting != NULL || p->outstanding >= NODES_OUTSTANDING;
    if (pause && !p->paused)
        rpc_stream_pause(p->stream);
    else if (!pause && p->paused)
        rpc_stream_resume(p->stream);
    p->paused = pause;
}

static void on_stored(void *user, const struct nodes_intake_result *result)
{
    struct pending *b = user;
    struct push_peer *p = b->peer;
    struct nodes *n = b->nodes;
    uint64_t epoch = b->batch.epoch;
    p->outstanding--;
    p->done_bytes += b->payload_bytes;
    pending_free(b);
    if (p->stream != NULL) {
        if (result->status == 0)
            send_down(p, epoch, result->acked_through, 0);
        else if (result->status == ERR_CONFLICT)
            send_down(p, epoch, 0, result->expected_seq);
        else if (result->status == ERR_INVALID)
            rpc_stream_cancel(p->stream, RPC_INVALID, "malformed batch");
        else
            rpc_stream_cancel(p->stream, RPC_UNAVAILABLE, "the store is away");
    }
    pause_or_resume(p);
    peer_free_if_done(p);
    nodes_batch_done(n);
}

/* ---- batches ---- */

static void submit(struct push_peer *p, struct pending *b)
{
    struct nodes *n = p->nodes;
    p->outstanding++;
    n->outstanding++;
    int rc = n->options.intake->submit(n->options.plane, &b->batch, on_stored, b);
    if (rc == 0)
        return;
    p->outstanding--;
    n->outstanding--;
    if (rc == ERR_BUSY) {
        p->waiting = b;
        return;
    }
    pending_free(b);
    rpc_stream_cancel(p->stream, RPC_UNAVAILABLE, "the store does not take records");
}

/* The framing of a RecordList: `count` entries of field 1, each bounded, nothing else. */
static bool list_is_framed(struct str list, uint32_t count)
{
    size_t at = 0;
    uint32_t entries = 0;
    while (at < list.len) {
        if ((uint8_t)list.data[at++] != (1 << 3 | 2))
            return false;
        uint64_t len = 0;
        unsigned shift = 0;
        for (;; shift += 7) {
            if (at == list.len || shift > 28)
                return false;
            uint8_t byte = (uint8_t)list.data[at++];
            len |= (uint64_t)(byte & 0x7f) << shift;
            if (byte < 0x80)
                break;
        }
        if (len > NODES_RECORD_BYTES_MAX || len > list.len - at)
            return false;
        at += len;
        entries++;
    }
    return entries == count;
}

/* NULL: refused (B43), *out_code says how. */
static struct pending *batch_take(struct push_peer *p, const PushBatch *m, int *out_code)
{
    *out_code = RPC_INVALID;
    if (m->count == 0 || m->count > NODES_BATCH_RECORDS_MAX || m->first_seq == 0 ||
        m->first_seq > UINT64_MAX - m->count || m->raw_bytes == 0 ||
        m->raw_bytes > NODES_BATCH_RAW_MAX)
        return NULL;
    if (ZSTD_getFrameContentSize(m->payload.data, m->payload.len) != m->raw_bytes)
        return NULL;
    struct pending *b = mem_zalloc(sizeof(*b));
    *out_code = RPC_EXHAUSTED;
    if (b == NULL)
        return NULL;
    *b = (struct pending){.peer = p,
                          .nodes = p->nodes,
                          .payload_bytes = m->payload.len,
                          .batch = {.node_id = p->node_id,
                                    .epoch = m->epoch,
                                    .first_seq = m->first_seq,
                                    .count = m->count}};
    buf_init(&b->batch.records, NODES_BATCH_RAW_MAX);
    if (buf_reserve(&b->batch.records, m->raw_bytes) != 0) {
        pending_free(b);
        return NULL;
    }
    size_t len =
        ZSTD_decompress(b->batch.records.data, m->raw_bytes, m->payload.data, m->payload.len);
    b->batch.records.len = ZSTD_isError(len) ? 0 : len;
    *out_code = RPC_INVALID;
    if (len != m->raw_bytes || !list_is_framed(buf_str(&b->batch.records), m->count)) {
        pending_free(b);
        return NULL;
    }
    return b;
}

static void on_batch(struct push_peer *p, const PushBatch *m)
{
    int code;
    if (p->nodes->draining)
        return; /* Read before the pause. */
    struct pending *b = batch_take(p, m, &code);
    if (b == NULL) {
        rpc_stream_cancel(p->stream, code, "batch refused");
        return;
    }
    submit(p, b);
    pause_or_resume(p);
}

static void on_hello(struct push_peer *p, const Steelyard__Telemetry__V1__PushHello *hello)
{
    int code = p->entry != NULL ? RPC_INVALID : nodes_check_id(p->stream, hello->node_id);
    if (code != 0) {
        rpc_stream_cancel(p->stream, code, nodes_refusal(code));
        return;
    }
    p->entry = nodes_entry(p->nodes, hello->node_id);
    if (p->entry == NULL) {
        rpc_stream_cancel(p->stream, RPC_EXHAUSTED, "too many nodes");
        return;
    }
    if (p->entry->push != NULL) {
        p->entry->push->entry = NULL;
        rpc_stream_cancel(p->entry->push->stream, RPC_CANCELLED, "replaced by a newer stream");
    }
    memcpy(p->node_id, p->entry->id, sizeof(p->node_id));
    p->entry->push = p;
    send_down(p, 0, 0, 0); /* The first credit. */
}

static void on_message(struct rpc_stream *stream, const ProtobufCMessage *base, void *user)
{
    struct push_peer *p = user;
    const PushUp *m = (const PushUp *)base;
    switch (m->body_case) {
    case STEELYARD__TELEMETRY__V1__PUSH_UP__BODY_HELLO:
        on_hello(p, m->hello);
        break;
    case STEELYARD__TELEMETRY__V1__PUSH_UP__BODY_BATCH:
        if (p->entry == NULL)
            rpc_stream_cancel(stream, RPC_INVALID, "hello comes first");
        else
            on_batch(p, m->batch);
        break;
    case STEELYARD__TELEMETRY__V1__PUSH_UP__BODY__NOT_SET:
    case _STEELYARD__TELEMETRY__V1__PUSH_UP__BODY__CASE_IS_INT_SIZE:
        break; /* Newer than this program. */
    }
}

static void on_close(struct rpc_stream *stream, const struct rpc_status *status, void *user)
{
    (void)stream;
    (void)status;
    struct push_peer *p = user;
    if (p->entry != NULL && p->entry->push == p)
        p->entry->push = NULL;
    list_remove(&p->link);
    if (p->waiting != NULL)
        pending_free(p->waiting);
    p->waiting = NULL;
    p->stream = NULL;
    peer_free_if_done(p);
}

static const struct rpc_stream_events push_events = {
    .on_message = on_message, .on_end = nodes_stream_end, .on_close = on_close};

void push_peer_accept(struct nodes *n, struct rpc_stream *stream)
{
    struct push_peer *p = mem_zalloc(sizeof(*p));
    if (p == NULL) {
        rpc_stream_cancel(stream, RPC_EXHAUSTED, "out of memory");
        return;
    }
    p->nodes = n;
    p->stream = stream;
    p->expires_ms = nodes_stream_expiry(n);
    list_push_back(&n->push_peers, &p->link);
    rpc_stream_set_user(stream, &push_events, p);
}

void push_peers_drain(struct nodes *n)
{
    LIST_FOREACH_SAFE (it, tmp, &n->push_peers) {
        struct push_peer *p = container_of(it, struct push_peer, link);
        rpc_stream_pause(p->stream);
        end_if_drained(p);
    }
}

void push_peers_tick(struct nodes *n)
{
    uint64_t now_ms = clock_mono_ms();
    LIST_FOREACH_SAFE (it, tmp, &n->push_peers) {
        struct push_peer *p = container_of(it, struct push_peer, link);
        struct pending *b = p->waiting;
        if (b != NULL) {
            p->waiting = NULL;
            submit(p, b);
            pause_or_resume(p);
        }
        bool starved = p->entry != NULL && p->credit_bytes <= p->done_bytes;
        if (starved &&
            (n->options.intake->ready == NULL || n->options.intake->ready(n->options.plane)))
            send_down(p, 0, 0, 0);
        if (now_ms >= p->expires_ms && p->outstanding == 0 && p->waiting == NULL)
            rpc_stream_finish(p->stream, RPC_OK, "streams are spread again");
    }
}
