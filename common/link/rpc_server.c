/* One generic accept is kept armed: it takes calls of every method, known ones become streams, the
 * others are answered UNIMPLEMENTED (the core itself would let them hang).
 * Closing: GOAWAY and no new calls; after the grace all calls are cancelled; when gRPC says it is
 * done and every stream told its user, the queue is shut down and its thread ends. */
#include <assert.h>
#include <grpc/support/alloc.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/link/rpc_internal.h"

struct rpc_server {
    struct rpc_bridge *bridge;
    grpc_server *server;
    struct rpc_tls_files *files;
    char *address;
    const struct rpc_method *methods;
    uint32_t method_count;
    rpc_accept_cb on_accept;
    void *user;
    struct list streams;
    uint32_t stream_count;
    uint32_t streams_max;
    uint32_t refusals; /* Calls being answered without becoming a stream. */
    /* The armed accept. */
    grpc_call *call;
    grpc_call_details details;
    grpc_metadata_array metadata;
    struct rpc_op op_accept;
    /* Closing. */
    bool closing, shut_down, bridge_closing, accept_armed;
    struct rpc_op op_shutdown;
    struct rpc_leave leave;
    uv_timer_t grace;
    void (*on_closed)(void *user);
    void *closed_user;
};

/* A call that is answered at once and never becomes a stream. */
struct refusal {
    struct rpc_op op;
    struct rpc_server *server;
    grpc_call *call;
    int cancelled;
};

static void close_if_idle(struct rpc_server *s);

static void on_refused(struct rpc_op *op, bool ok)
{
    (void)ok;
    struct refusal *r = container_of(op, struct refusal, op);
    struct rpc_server *s = r->server;
    grpc_call_unref(r->call);
    mem_free(r);
    s->refusals--;
    close_if_idle(s);
}

static void refuse(struct rpc_server *s, grpc_call *call, grpc_status_code code, const char *detail)
{
    struct refusal *r = mem_zalloc(sizeof(*r));
    if (r == NULL) {
        grpc_call_cancel(call, NULL);
        grpc_call_unref(call);
        return;
    }
    *r = (struct refusal){.op.on_done = on_refused, .server = s, .call = call};
    grpc_slice text = grpc_slice_from_static_string(detail);
    grpc_op ops[3] = {{.op = GRPC_OP_SEND_INITIAL_METADATA},
                      {.op = GRPC_OP_SEND_STATUS_FROM_SERVER},
                      {.op = GRPC_OP_RECV_CLOSE_ON_SERVER}};
    ops[1].data.send_status_from_server.status = code;
    ops[1].data.send_status_from_server.status_details = &text;
    ops[2].data.recv_close_on_server.cancelled = &r->cancelled;
    s->refusals++;
    rpc_op_release(&r->op);
    grpc_call_error rc = grpc_call_start_batch(call, ops, 3, &r->op, NULL);
    assert(rc == GRPC_CALL_OK);
    (void)rc;
}

static void arm_accept(struct rpc_server *s)
{
    grpc_call_details_init(&s->details);
    grpc_metadata_array_init(&s->metadata);
    s->call = NULL;
    s->accept_armed = true;
    rpc_op_release(&s->op_accept);
    grpc_call_error rc = grpc_server_request_call(s->server, &s->call, &s->details, &s->metadata,
                                                  s->bridge->cq, s->bridge->cq, &s->op_accept);
    assert(rc == GRPC_CALL_OK);
    (void)rc;
}

static void on_stream_gone(struct rpc_stream *stream, void *owner)
{
    (void)stream;
    struct rpc_server *s = owner;
    s->stream_count--;
    close_if_idle(s);
}

static const struct rpc_method *find_method(const struct rpc_server *s, grpc_slice path)
{
    struct str name = {.data = (const char *)GRPC_SLICE_START_PTR(path),
                       .len = GRPC_SLICE_LENGTH(path)};
    for (uint32_t i = 0; i < s->method_count; i++)
        if (str_is(name, s->methods[i].path))
            return &s->methods[i];
    return NULL;
}

static void take_call(struct rpc_server *s, grpc_call *call, const struct rpc_method *method)
{
    if (method == NULL) {
        refuse(s, call, GRPC_STATUS_UNIMPLEMENTED, "no such method");
        return;
    }
    if (s->closing) {
        refuse(s, call, GRPC_STATUS_UNAVAILABLE, "closing");
        return;
    }
    struct rpc_stream *stream = s->stream_count < s->streams_max
                                    ? rpc_stream_create(s->bridge, true, method->request)
                                    : NULL;
    if (stream == NULL) {
        refuse(s, call, GRPC_STATUS_RESOURCE_EXHAUSTED, "too many streams");
        return;
    }
    stream->call = call;
    stream->on_gone = on_stream_gone;
    stream->owner = s;
    s->stream_count++;
    list_push_back(&s->streams, &stream->link);
    rpc_stream_start_server(stream);
    s->on_accept(stream, method, s->user);
    rpc_stream_arm_receive(stream);
}

static void on_accept_op(struct rpc_op *op, bool ok)
{
    struct rpc_server *s = container_of(op, struct rpc_server, op_accept);
    s->accept_armed = false;
    if (ok)
        take_call(s, s->call, find_method(s, s->details.method));
    grpc_call_details_destroy(&s->details);
    grpc_metadata_array_destroy(&s->metadata);
    if (ok && !s->closing)
        arm_accept(s);
    else
        close_if_idle(s);
}

#define INT_ARG(k, v)                                                                              \
    {                                                                                              \
        .type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)(k), .value.integer = (v)              \
    }

static void server_free(struct rpc_server *s)
{
    rpc_tls_files_destroy(s->files);
    mem_free(s->address);
    mem_free(s);
}

/* "host" of "host:port" with the bound port. */
static char *bound_address(const char *address, int port)
{
    struct str a = str_from(address);
    if (str_starts(a, STR("unix:")))
        return mem_strdup(address);
    size_t end = a.len;
    while (end > 0 && a.data[end - 1] != ':')
        end--;
    struct buf b;
    buf_init(&b, 1024);
    char *copy = NULL;
    if (buf_append(&b, a.data, end) == 0 && buf_append_u64(&b, (uint64_t)port) == 0)
        copy = mem_strndup(b.data, b.len);
    buf_deinit(&b);
    return copy;
}

static int bind_server(struct rpc_server *s, const struct rpc_server_options *options,
                       struct err *err)
{
    grpc_arg args[] = {
        INT_ARG(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, (int)RPC_MESSAGE_BYTES_MAX),
        INT_ARG(GRPC_ARG_MAX_METADATA_SIZE, RPC_METADATA_BYTES),
        INT_ARG(GRPC_ARG_MAX_CONCURRENT_STREAMS, 100),
        INT_ARG(GRPC_ARG_KEEPALIVE_TIME_MS, 10000),
        INT_ARG(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5000),
        INT_ARG(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
        /* Else clients that ping are sent away: "too_many_pings". */
        INT_ARG(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5000),
        INT_ARG(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
        INT_ARG(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 10000),
        INT_ARG(GRPC_ARG_ALLOW_REUSEPORT, 0),
    };
    grpc_channel_args server_args = {.num_args = sizeof(args) / sizeof(args[0]), .args = args};
    grpc_server_credentials *credentials = NULL;
    if (options->tls.cert_file != NULL) {
        int rc = rpc_tls_files_create(&options->tls, &s->files, err);
        if (rc == 0)
            rc = rpc_tls_server_credentials(s->files, &credentials, err);
        if (rc != 0)
            return rc;
    } else {
        credentials = grpc_insecure_server_credentials_create();
    }
    s->server = grpc_server_create(&server_args, NULL);
    grpc_server_register_completion_queue(s->server, s->bridge->cq, NULL);
    int port = grpc_server_add_http2_port(s->server, options->address, credentials);
    grpc_server_credentials_release(credentials);
    if (port == 0)
        return err_set(err, ERR_UNAVAILABLE, "cannot listen on '%s'", options->address);
    s->address = bound_address(options->address, port);
    if (s->address == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    return 0;
}

static void on_failed_bridge_closed(void *user)
{
    *(bool *)user = true;
}

/* A server that never started: its queue holds at most the shutdown's tag. */
static void on_nothing(struct rpc_op *op, bool ok)
{
    (void)op;
    (void)ok;
}

static void abandon(struct rpc_server *s)
{
    uv_loop_t *loop = s->bridge->loop;
    if (s->server != NULL) {
        s->op_shutdown.on_done = on_nothing;
        rpc_op_release(&s->op_shutdown);
        grpc_server_shutdown_and_notify(s->server, s->bridge->cq, &s->op_shutdown);
        grpc_server_cancel_all_calls(s->server);
        grpc_server_destroy(s->server);
    }
    bool closed = false;
    rpc_bridge_leave(s->bridge, &s->leave, on_failed_bridge_closed, &closed);
    while (!closed)
        uv_run(loop, UV_RUN_ONCE);
    server_free(s);
}

int rpc_server_create(uv_loop_t *loop, const struct rpc_server_options *options,
                      const struct rpc_method *methods, uint32_t method_count,
                      rpc_accept_cb on_accept, void *user, struct rpc_server **out_server,
                      struct err *err)
{
    if (options->tls.cert_file == NULL && !rpc_address_is_local(options->address))
        return err_set(err, ERR_DENIED,
                       "'%s' is not a loopback address: it needs TLS (certificate, key, CA)",
                       options->address);
    struct rpc_server *s = mem_zalloc(sizeof(*s));
    if (s == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    list_init(&s->streams);
    s->methods = methods;
    s->method_count = method_count;
    s->on_accept = on_accept;
    s->user = user;
    s->streams_max = options->streams_max != 0 ? options->streams_max : RPC_STREAMS_MAX;
    s->op_accept.on_done = on_accept_op;
    int rc = rpc_bridge_start(loop, &s->bridge, err);
    if (rc != 0) {
        server_free(s);
        return rc;
    }
    rc = bind_server(s, options, err);
    if (rc != 0) {
        abandon(s);
        return rc;
    }
    grpc_server_start(s->server);
    arm_accept(s);
    *out_server = s;
    return 0;
}

const char *rpc_server_address(const struct rpc_server *s)
{
    return s->address;
}

static void on_bridge_closed(void *user)
{
    struct rpc_server *s = user;
    void (*on_closed)(void *) = s->on_closed;
    void *closed_user = s->closed_user;
    server_free(s);
    on_closed(closed_user);
}

static void on_grace_closed(uv_handle_t *handle)
{
    struct rpc_server *s = container_of((uv_timer_t *)handle, struct rpc_server, grace);
    rpc_bridge_leave(s->bridge, &s->leave, on_bridge_closed, s);
}

static void close_if_idle(struct rpc_server *s)
{
    if (!s->shut_down || s->bridge_closing || s->accept_armed || s->stream_count > 0 ||
        s->refusals > 0)
        return;
    s->bridge_closing = true;
    grpc_server_destroy(s->server);
    uv_close((uv_handle_t *)&s->grace, on_grace_closed);
}

static void on_shut_down(struct rpc_op *op, bool ok)
{
    (void)ok;
    struct rpc_server *s = container_of(op, struct rpc_server, op_shutdown);
    s->shut_down = true;
    close_if_idle(s);
}

static void on_grace_over(uv_timer_t *timer)
{
    struct rpc_server *s = container_of(timer, struct rpc_server, grace);
    grpc_server_cancel_all_calls(s->server);
}

void rpc_server_close(struct rpc_server *s, uint64_t grace_ms, void (*cb)(void *user), void *user)
{
    assert(!s->closing);
    s->closing = true;
    s->on_closed = cb;
    s->closed_user = user;
    s->op_shutdown.on_done = on_shut_down;
    (void)uv_timer_init(s->bridge->loop, &s->grace);
    (void)uv_timer_start(&s->grace, on_grace_over, grace_ms, 0);
    rpc_op_release(&s->op_shutdown);
    grpc_server_shutdown_and_notify(s->server, s->bridge->cq, &s->op_shutdown);
}
