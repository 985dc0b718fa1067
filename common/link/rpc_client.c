/* A channel for each target (it connects when it is first used) and the streams on them. gRPC's own
 * reconnecting is kept short: a stream opened while the peer is away fails at once, and its user
 * decides when to try again. */
#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/link/rpc_internal.h"
#include <grpc/support/time.h>

struct target {
    char *address;     /* As it was given. */
    char *name;        /* As gRPC wants it. */
    char *server_name; /* NULL: that of the client, or of the address. */
    grpc_channel *channel;
};

struct rpc_client {
    struct rpc_bridge *bridge;
    struct target *targets;
    size_t target_count, at;
    uint64_t turn;
    struct rpc_tls_files *files; /* NULL: plain text. */
    char *server_name;
    struct list streams;
    bool closing;
    bool bridge_closing;
    struct rpc_op op_close;
    struct rpc_leave leave;
    void (*on_closed)(void *user);
    void *user;
};

/* Streams keep what they need of a channel. */
static void targets_free(struct target *targets, size_t count)
{
    for (size_t i = 0; targets != NULL && i < count; i++) {
        if (targets[i].channel != NULL)
            grpc_channel_destroy(targets[i].channel);
        mem_free(targets[i].address);
        mem_free(targets[i].name);
        mem_free(targets[i].server_name);
    }
    mem_free(targets);
}

static void client_free(struct rpc_client *c)
{
    targets_free(c->targets, c->target_count);
    rpc_tls_files_destroy(c->files);
    mem_free(c->server_name);
    mem_free(c);
}

/* gRPC's names: a literal needs no resolver. */
static char *target_name(const char *target)
{
    struct buf b;
    buf_init(&b, 4096);
    struct str t = str_from(target);
    const char *scheme = "dns:///";
    if (str_starts(t, STR("unix:")))
        scheme = "";
    else if (str_starts(t, STR("[")))
        scheme = "ipv6:";
    else if (t.len > 0 && t.data[0] >= '0' && t.data[0] <= '9')
        scheme = "ipv4:";
    char *copy = NULL;
    if (buf_append_text(&b, scheme) == 0 && buf_append_str(&b, t) == 0)
        copy = mem_strndup(b.data, b.len);
    buf_deinit(&b);
    return copy;
}

#define INT_ARG(k, v)                                                                              \
    {                                                                                              \
        .type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)(k), .value.integer = (v)              \
    }

static int make_channel(struct rpc_client *c, struct target *t, struct err *err)
{
    grpc_channel_credentials *credentials = NULL;
    char *server_name = t->server_name != NULL ? t->server_name : c->server_name;
    if (c->files != NULL) {
        int rc = rpc_tls_client_credentials(c->files, &credentials, err);
        if (rc != 0)
            return rc;
    } else {
        credentials = grpc_insecure_credentials_create();
    }
    grpc_arg args[] = {
        INT_ARG(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, (int)RPC_MESSAGE_BYTES_MAX),
        INT_ARG(GRPC_ARG_MAX_METADATA_SIZE, RPC_METADATA_BYTES),
        INT_ARG(GRPC_ARG_KEEPALIVE_TIME_MS, 10000),
        INT_ARG(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5000),
        INT_ARG(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
        INT_ARG(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
        INT_ARG(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200),
        /* What it is to gRPC: how long a connection may take, handshake and all. */
        INT_ARG(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 3000),
        INT_ARG(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000),
        INT_ARG(GRPC_ARG_ENABLE_RETRIES, 0),
        INT_ARG(GRPC_ARG_ENABLE_HTTP_PROXY, 0), /* Never by an environment variable. */
        INT_ARG(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1),
        {.type = GRPC_ARG_STRING,
         .key = (char *)(uintptr_t)GRPC_SSL_TARGET_NAME_OVERRIDE_ARG,
         .value.string = server_name},
    };
    size_t count = sizeof(args) / sizeof(args[0]);
    if (c->files == NULL || server_name == NULL)
        count--;
    grpc_channel_args channel_args = {.num_args = count, .args = args};
    grpc_channel *channel = grpc_channel_create(t->name, credentials, &channel_args);
    grpc_channel_credentials_release(credentials);
    if (channel == NULL)
        return err_set(err, ERR_INVALID, "cannot make a channel to '%s'", t->address);
    if (t->channel != NULL)
        grpc_channel_destroy(t->channel);
    t->channel = channel;
    return 0;
}

static int make_target(struct rpc_client *c, const char *address, const char *server_name,
                       struct target *t, struct err *err)
{
    if (c->files == NULL && !rpc_address_is_local(address))
        return err_set(err, ERR_DENIED,
                       "'%s' is not a loopback address: it needs TLS (certificate, key, CA)",
                       address);
    t->address = mem_strdup(address);
    t->name = target_name(address);
    if (server_name != NULL)
        t->server_name = mem_strdup(server_name);
    if (t->address == NULL || t->name == NULL || (server_name != NULL && t->server_name == NULL))
        return err_set(err, ERR_NOMEM, "out of memory");
    return make_channel(c, t, err);
}

static size_t find_target(const struct target *list, size_t count, const char *address)
{
    for (size_t i = 0; i < count; i++)
        if (str_is(str_from(list[i].address), address))
            return i;
    return count;
}

int rpc_client_set_targets(struct rpc_client *c, const char *const *targets,
                           const char *const *names, size_t count, struct err *err)
{
    if (count == 0 || count > RPC_TARGETS_MAX)
        return err_set(err, ERR_INVALID, "%zu addresses: there may be 1 to %u", count,
                       RPC_TARGETS_MAX);
    struct target *list = mem_calloc(count, sizeof *list);
    int rc = list != NULL ? 0 : err_set(err, ERR_NOMEM, "out of memory");
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = make_target(c, targets[i], names != NULL ? names[i] : NULL, &list[i], err);
    if (rc != 0) {
        targets_free(list, count);
        return rc;
    }
    size_t at = c->target_count > 0 ? find_target(list, count, c->targets[c->at].address) : count;
    if (at == count) {
        at = (size_t)rand_below(count);
        c->turn++;
    }
    targets_free(c->targets, c->target_count);
    c->targets = list;
    c->target_count = count;
    c->at = at;
    return 0;
}

const char *rpc_client_target(const struct rpc_client *c)
{
    return c->targets[c->at].address;
}

size_t rpc_client_target_count(const struct rpc_client *c)
{
    return c->target_count;
}

uint64_t rpc_client_turn(const struct rpc_client *c)
{
    return c->turn;
}

void rpc_client_turn_on(struct rpc_client *c, uint64_t turn)
{
    if (turn != c->turn)
        return;
    c->turn++;
    c->at = (c->at + 1) % c->target_count;
}

int rpc_client_create_list(uv_loop_t *loop, const char *const *targets, const char *const *names,
                           size_t count, const struct rpc_tls *tls, struct rpc_client *beside,
                           struct rpc_client **out_client, struct err *err)
{
    bool plain = tls == NULL || tls->cert_file == NULL;
    struct rpc_client *c = mem_zalloc(sizeof(*c));
    if (c == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    list_init(&c->streams);
    int rc = plain ? 0 : rpc_tls_files_create(tls, &c->files, err);
    if (rc == 0 && !plain && tls->server_name != NULL) {
        c->server_name = mem_strdup(tls->server_name);
        if (c->server_name == NULL)
            rc = err_set(err, ERR_NOMEM, "out of memory");
    }
    if (rc == 0)
        rc = rpc_client_set_targets(c, targets, names, count, err);
    if (rc == 0 && beside != NULL)
        c->bridge = rpc_bridge_share(beside->bridge);
    else if (rc == 0)
        rc = rpc_bridge_start(loop, &c->bridge, err);
    if (rc != 0) {
        client_free(c);
        return rc;
    }
    *out_client = c;
    return 0;
}

int rpc_client_create(uv_loop_t *loop, const char *target, const struct rpc_tls *tls,
                      struct rpc_client **out_client, struct err *err)
{
    return rpc_client_create_list(loop, &target, NULL, 1, tls, NULL, out_client, err);
}

static void on_bridge_closed(void *user)
{
    struct rpc_client *c = user;
    void (*on_closed)(void *) = c->on_closed;
    void *on_closed_user = c->user;
    client_free(c);
    on_closed(on_closed_user);
}

static void close_if_idle(struct rpc_client *c)
{
    if (!c->closing || c->bridge_closing || !list_empty(&c->streams))
        return;
    c->bridge_closing = true;
    targets_free(c->targets, c->target_count);
    c->targets = NULL;
    c->target_count = 0;
    rpc_bridge_leave(c->bridge, &c->leave, on_bridge_closed, c);
}

static void on_stream_gone(struct rpc_stream *stream, void *owner)
{
    (void)stream;
    close_if_idle(owner);
}

int rpc_client_open(struct rpc_client *c, const struct rpc_method *method, uint64_t deadline_ms,
                    const struct rpc_stream_events *events, void *user,
                    struct rpc_stream **out_stream)
{
    if (c->closing)
        return ERR_CLOSED;
    if (c->files != NULL && rpc_tls_files_changed(c->files))
        for (size_t i = 0; i < c->target_count; i++)
            (void)make_channel(c, &c->targets[i], NULL); /* Unusable files: on with the old ones. */
    struct rpc_stream *s = rpc_stream_create(c->bridge, false, method->response);
    if (s == NULL)
        return ERR_NOMEM;
    gpr_timespec deadline = gpr_inf_future(GPR_CLOCK_MONOTONIC);
    if (deadline_ms != 0)
        deadline = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                gpr_time_from_millis((int64_t)deadline_ms, GPR_TIMESPAN));
    s->call = grpc_channel_create_call(c->targets[c->at].channel, NULL, GRPC_PROPAGATE_DEFAULTS,
                                       c->bridge->cq, grpc_slice_from_static_string(method->path),
                                       NULL, deadline, NULL);
    if (s->call == NULL) {
        rpc_stream_destroy_unstarted(s);
        return ERR_INTERNAL;
    }
    s->events = events;
    s->user = user;
    s->on_gone = on_stream_gone;
    s->owner = c;
    list_push_back(&c->streams, &s->link);
    rpc_stream_start_client(s);
    *out_stream = s;
    return 0;
}

static void on_close_turn(struct rpc_op *op, bool ok)
{
    (void)ok;
    close_if_idle(container_of(op, struct rpc_client, op_close));
}

void rpc_client_close(struct rpc_client *c, void (*cb)(void *user), void *user)
{
    c->closing = true;
    c->on_closed = cb;
    c->user = user;
    LIST_FOREACH (it, &c->streams)
        rpc_stream_cancel(container_of(it, struct rpc_stream, link), RPC_CANCELLED, "closing");
    c->op_close.on_done = on_close_turn;
    rpc_bridge_post(c->bridge, &c->op_close);
}

uint64_t rpc_backoff_next_ms(struct rpc_backoff *b)
{
    uint64_t base = b->base_ms != 0 ? b->base_ms : RPC_BACKOFF_BASE_MS;
    uint64_t cap = b->cap_ms != 0 ? b->cap_ms : RPC_BACKOFF_CAP_MS;
    uint64_t ceiling = b->failures < 32 ? base << b->failures : cap;
    if (ceiling > cap)
        ceiling = cap;
    b->failures++;
    return rand_below(ceiling + 1);
}

void rpc_backoff_reset(struct rpc_backoff *b)
{
    b->failures = 0;
}
