/* One RPC on either side. A stream is made by its client or server, lives until its last tag came
 * back, and tells its user once, by on_close, that it is over. What a handler may do to the stream
 * it was called for: anything; memory is held by the tag being handled. */
#include <assert.h>
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/support/alloc.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/link/rpc_internal.h"
#include "common/link/wire.h"

static void stream_unref(struct rpc_stream *s)
{
    assert(s->refs > 0);
    if (--s->refs > 0)
        return;
    while (s->queue != NULL) {
        struct rpc_send *next = s->queue->next;
        grpc_byte_buffer_destroy(s->queue->bytes);
        mem_free(s->queue);
        s->queue = next;
    }
    if (s->received != NULL)
        grpc_byte_buffer_destroy(s->received);
    if (s->held != NULL)
        grpc_byte_buffer_destroy(s->held);
    grpc_metadata_array_destroy(&s->metadata_in);
    grpc_metadata_array_destroy(&s->trailing);
    grpc_slice_unref(s->detail);
    if (s->call != NULL)
        grpc_call_unref(s->call);
    if (s->peer != NULL)
        gpr_free(s->peer);
    mem_free(s->end_detail);
    mem_free(s);
}

/* A batch of valid operations on a live call is refused only by a bug here. */
static void stream_batch(struct rpc_stream *s, const grpc_op *ops, size_t count, struct rpc_op *tag)
{
    s->refs++;
    rpc_op_release(tag);
    grpc_call_error rc = grpc_call_start_batch(s->call, ops, count, tag, NULL);
    assert(rc == GRPC_CALL_OK);
    (void)rc;
}

static void stream_pump(struct rpc_stream *s)
{
    if (s->sending || s->closed || s->end_sent || !s->opened)
        return;
    grpc_op op = {0};
    if (s->queue != NULL) {
        struct rpc_send *first = s->queue;
        op.op = GRPC_OP_SEND_MESSAGE;
        op.data.send_message.send_message = first->bytes;
        s->sending = true;
        stream_batch(s, &op, 1, &s->op_send);
        s->queue = first->next;
        if (s->queue == NULL)
            s->queue_tail = &s->queue;
        s->queued_bytes -= first->size;
        grpc_byte_buffer_destroy(first->bytes); /* The core took references of its own. */
        mem_free(first);
    } else if (s->finishing) {
        s->end_sent = true;
        grpc_slice detail = grpc_empty_slice();
        if (s->is_server) {
            op.op = GRPC_OP_SEND_STATUS_FROM_SERVER;
            op.data.send_status_from_server.status = s->end_code;
            if (s->end_detail != NULL) {
                detail = grpc_slice_from_copied_string(s->end_detail);
                op.data.send_status_from_server.status_details = &detail;
            }
        } else {
            op.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
        }
        stream_batch(s, &op, 1, &s->op_end);
        grpc_slice_unref(detail);
    }
}

void rpc_stream_arm_receive(struct rpc_stream *s)
{
    if (s->receiving || s->paused || s->ended || s->closed || s->held != NULL)
        return;
    s->receiving = true;
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &s->received;
    stream_batch(s, &op, 1, &s->op_receive);
}

static int unpack(const struct rpc_stream *s, grpc_byte_buffer *bytes, ProtobufCMessage **out)
{
    grpc_byte_buffer_reader reader;
    if (!grpc_byte_buffer_reader_init(&reader, bytes))
        return ERR_CORRUPT;
    grpc_slice whole = grpc_byte_buffer_reader_readall(&reader);
    struct str packed = {.data = (const char *)GRPC_SLICE_START_PTR(whole),
                         .len = GRPC_SLICE_LENGTH(whole)};
    int rc = wire_unpack(s->receives, packed, out);
    grpc_slice_unref(whole);
    grpc_byte_buffer_reader_destroy(&reader);
    return rc;
}

static void stream_deliver(struct rpc_stream *s, grpc_byte_buffer *bytes)
{
    ProtobufCMessage *m = NULL;
    int rc = unpack(s, bytes, &m);
    grpc_byte_buffer_destroy(bytes);
    if (rc != 0) {
        rpc_stream_cancel(s, RPC_INVALID, "malformed message");
        return;
    }
    if (s->events != NULL && s->events->on_message != NULL)
        s->events->on_message(s, m, s->user);
    wire_free(m);
}

static void on_receive(struct rpc_op *op, bool ok)
{
    struct rpc_stream *s = container_of(op, struct rpc_stream, op_receive);
    s->receiving = false;
    grpc_byte_buffer *bytes = s->received;
    s->received = NULL;
    if (s->closed) {
        if (bytes != NULL)
            grpc_byte_buffer_destroy(bytes);
    } else if (!ok || bytes == NULL) {
        s->ended = true;
        if (s->events != NULL && s->events->on_end != NULL)
            s->events->on_end(s, s->user);
    } else if (s->paused) {
        s->held = bytes;
    } else {
        stream_deliver(s, bytes);
        rpc_stream_arm_receive(s);
    }
    stream_unref(s);
}

static void on_resume(struct rpc_op *op, bool ok)
{
    (void)ok;
    struct rpc_stream *s = container_of(op, struct rpc_stream, op_resume);
    s->resuming = false;
    if (!s->closed && !s->paused) {
        grpc_byte_buffer *held = s->held;
        s->held = NULL;
        if (held != NULL)
            stream_deliver(s, held);
        rpc_stream_arm_receive(s);
    }
    stream_unref(s);
}

static void on_send(struct rpc_op *op, bool ok)
{
    struct rpc_stream *s = container_of(op, struct rpc_stream, op_send);
    s->sending = false;
    if (ok) {
        stream_pump(s);
        if (s->refused && !s->closed && s->queued_bytes <= s->queue_max_bytes / 2) {
            s->refused = false;
            if (s->events != NULL && s->events->on_writable != NULL)
                s->events->on_writable(s, s->user);
        }
    }
    stream_unref(s);
}

static void on_open(struct rpc_op *op, bool ok)
{
    struct rpc_stream *s = container_of(op, struct rpc_stream, op_open);
    s->opened = ok;
    stream_pump(s);
    stream_unref(s);
}

static void on_metadata(struct rpc_op *op, bool ok)
{
    (void)ok;
    stream_unref(container_of(op, struct rpc_stream, op_metadata));
}

static void on_end_sent(struct rpc_op *op, bool ok)
{
    (void)ok;
    stream_unref(container_of(op, struct rpc_stream, op_end));
}

static void on_closed(struct rpc_op *op, bool ok)
{
    (void)ok;
    struct rpc_stream *s = container_of(op, struct rpc_stream, op_close);
    s->closed = true;
    char detail[256];
    size_t len = GRPC_SLICE_LENGTH(s->detail);
    if (len >= sizeof(detail))
        len = sizeof(detail) - 1;
    memcpy(detail, GRPC_SLICE_START_PTR(s->detail), len);
    detail[len] = '\0';
    struct rpc_status status = {.code = (int)s->code, .detail = detail};
    if (s->is_server)
        status.code = s->cancelled != 0 ? RPC_CANCELLED : RPC_OK;
    if (s->events != NULL && s->events->on_close != NULL)
        s->events->on_close(s, &status, s->user);
    list_remove(&s->link);
    if (s->on_gone != NULL)
        s->on_gone(s, s->owner);
    stream_unref(s); /* The tag's. */
    stream_unref(s); /* The owner's. */
}

struct rpc_stream *rpc_stream_create(struct rpc_bridge *bridge, bool is_server,
                                     const ProtobufCMessageDescriptor *receives)
{
    struct rpc_stream *s = mem_zalloc(sizeof(*s));
    if (s == NULL)
        return NULL;
    list_init(&s->link);
    s->bridge = bridge;
    s->is_server = is_server;
    s->receives = receives;
    s->refs = 1;
    s->queue_tail = &s->queue;
    s->queue_max_bytes = RPC_SEND_BYTES_MAX;
    s->detail = grpc_empty_slice();
    grpc_metadata_array_init(&s->metadata_in);
    grpc_metadata_array_init(&s->trailing);
    s->op_open.on_done = on_open;
    s->op_metadata.on_done = on_metadata;
    s->op_receive.on_done = on_receive;
    s->op_send.on_done = on_send;
    s->op_end.on_done = on_end_sent;
    s->op_close.on_done = on_closed;
    s->op_resume.on_done = on_resume;
    return s;
}

void rpc_stream_destroy_unstarted(struct rpc_stream *s)
{
    stream_unref(s);
}

void rpc_stream_start_client(struct rpc_stream *s)
{
    grpc_op open = {.op = GRPC_OP_SEND_INITIAL_METADATA};
    stream_batch(s, &open, 1, &s->op_open);
    grpc_op metadata = {.op = GRPC_OP_RECV_INITIAL_METADATA};
    metadata.data.recv_initial_metadata.recv_initial_metadata = &s->metadata_in;
    stream_batch(s, &metadata, 1, &s->op_metadata);
    grpc_op status = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};
    status.data.recv_status_on_client.trailing_metadata = &s->trailing;
    status.data.recv_status_on_client.status = &s->code;
    status.data.recv_status_on_client.status_details = &s->detail;
    stream_batch(s, &status, 1, &s->op_close);
    rpc_stream_arm_receive(s);
}

void rpc_stream_start_server(struct rpc_stream *s)
{
    grpc_op closed = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    closed.data.recv_close_on_server.cancelled = &s->cancelled;
    stream_batch(s, &closed, 1, &s->op_close);
    grpc_op open = {.op = GRPC_OP_SEND_INITIAL_METADATA};
    stream_batch(s, &open, 1, &s->op_open);
}

bool rpc_stream_has_room(struct rpc_stream *s, size_t bytes)
{
    if (s->queue == NULL || s->queued_bytes + bytes <= s->queue_max_bytes)
        return true;
    s->refused = true;
    return false;
}

int rpc_stream_send(struct rpc_stream *s, const ProtobufCMessage *m)
{
    if (s->closed || s->finishing)
        return ERR_CLOSED;
    size_t size = wire_size(m);
    if (size > RPC_MESSAGE_BYTES_MAX)
        return ERR_TOO_LARGE;
    if (!rpc_stream_has_room(s, size))
        return ERR_BUSY;
    struct rpc_send *item = mem_zalloc(sizeof(*item));
    if (item == NULL)
        return ERR_NOMEM;
    grpc_slice slice = grpc_slice_malloc(size);
    (void)protobuf_c_message_pack(m, GRPC_SLICE_START_PTR(slice));
    item->bytes = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    item->size = size;
    *s->queue_tail = item;
    s->queue_tail = &item->next;
    s->queued_bytes += size;
    stream_pump(s);
    return 0;
}

size_t rpc_stream_queued_bytes(const struct rpc_stream *s)
{
    return s->queued_bytes;
}

void rpc_stream_pause(struct rpc_stream *s)
{
    s->paused = true;
}

void rpc_stream_resume(struct rpc_stream *s)
{
    if (!s->paused)
        return;
    s->paused = false;
    if (s->resuming || s->closed)
        return;
    s->resuming = true;
    s->refs++;
    rpc_bridge_post(s->bridge, &s->op_resume);
}

void rpc_stream_finish(struct rpc_stream *s, int code, const char *detail)
{
    if (s->finishing || s->closed)
        return;
    s->finishing = true;
    s->end_code = (grpc_status_code)code;
    if (detail != NULL)
        s->end_detail = mem_strdup(detail); /* Without memory: the code alone. */
    stream_pump(s);
}

void rpc_stream_cancel(struct rpc_stream *s, int code, const char *detail)
{
    if (s->closed)
        return;
    (void)grpc_call_cancel_with_status(s->call, (grpc_status_code)code,
                                       detail != NULL ? detail : "", NULL);
}

void rpc_stream_set_user(struct rpc_stream *s, const struct rpc_stream_events *events, void *user)
{
    s->events = events;
    s->user = user;
}

void rpc_stream_set_send_max(struct rpc_stream *s, size_t bytes)
{
    s->queue_max_bytes = bytes;
}

const char *rpc_stream_peer(const struct rpc_stream *s)
{
    struct rpc_stream *mutable_stream = (struct rpc_stream *)(uintptr_t)s; /* A cache. */
    if (mutable_stream->peer == NULL)
        mutable_stream->peer = grpc_call_get_peer(s->call);
    return mutable_stream->peer != NULL ? mutable_stream->peer : "";
}
