/* The least that a proxy on libuv can do: what comes from a client goes to its own connection to
 * the provider, unread, and back. tests/bench/run has it beside the others, so that one can tell
 * what of a proxy's figure is the kernel's way through two connections, and what is the proxy's
 * own.
 *
 *   bench_relay [-d] PORT PROVIDER_PORT    prints "listening"
 *
 * -d: each request is also decided and recorded (bench_deciding.h), what comes of a client at once
 * being one and what comes of the provider its answer. So one can tell how much of the node's
 * figure that part is.
 *
 * Not part of the product: it has no limits and no timers. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <uv.h>

#include "bench_deciding.h"
#include "common/base/mem.h"
#include "common/base/str.h"

#define READ_BYTES 65536U
#define BACKLOG    4096

/* A client's connection and the one to the provider that belongs to it; data of both handles. */
struct pair {
    uv_tcp_t client, provider;
    uv_connect_t connect;
    struct spool_intent *intent; /* With -d, of the request under way. */
    int open;                    /* Handles not yet closed; the pair is freed with the last. */
};

/* What the socket did not take at once; the side that it came from is not read meanwhile. */
struct rest {
    uv_write_t write;
    uv_stream_t *from;
    char bytes[];
};

static uv_loop_t *loop;
static bool deciding;
static struct sockaddr_in provider_address;
static char read_bytes[READ_BYTES]; /* Of all connections: a read is passed on before the next. */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)handle;
    (void)suggested;
    *buf = uv_buf_init(read_bytes, sizeof read_bytes);
}

static void on_closed(uv_handle_t *handle)
{
    struct pair *pair = handle->data;

    if (--pair->open > 0)
        return;
    if (pair->intent != NULL)
        bench_deciding_reply(pair->intent);
    mem_free(pair);
}

static void close_pair(struct pair *pair)
{
    if (!uv_is_closing((uv_handle_t *)&pair->client))
        uv_close((uv_handle_t *)&pair->client, on_closed);
    if (!uv_is_closing((uv_handle_t *)&pair->provider))
        uv_close((uv_handle_t *)&pair->provider, on_closed);
}

static void on_read(uv_stream_t *from, ssize_t bytes, const uv_buf_t *buf);

static void on_rest_written(uv_write_t *write, int status)
{
    struct rest *rest = write->data;

    if (status == 0)
        uv_read_start(rest->from, on_alloc, on_read);
    mem_free(rest);
}

static void write_later(uv_stream_t *from, uv_stream_t *to, const char *bytes, size_t n)
{
    struct rest *rest = mem_alloc(sizeof *rest + n);

    if (rest == NULL) {
        close_pair(from->data);
        return;
    }
    rest->from = from;
    rest->write.data = rest;
    memcpy(rest->bytes, bytes, n);
    uv_read_stop(from);
    uv_write(&rest->write, to, &(uv_buf_t){.base = rest->bytes, .len = n}, 1, on_rest_written);
}

static void decide(struct pair *pair, bool by_client, const char *bytes, size_t n)
{
    if (by_client && pair->intent == NULL) {
        pair->intent = bench_deciding_request(bytes, n);
    } else if (!by_client && pair->intent != NULL) {
        bench_deciding_reply(pair->intent);
        pair->intent = NULL;
    }
}

static void on_read(uv_stream_t *from, ssize_t bytes, const uv_buf_t *buf)
{
    struct pair *pair = from->data;
    bool by_client = from == (uv_stream_t *)&pair->client;
    uv_stream_t *to = (uv_stream_t *)(by_client ? &pair->provider : &pair->client);
    ssize_t taken = 0;

    if (bytes < 0) {
        close_pair(pair);
        return;
    }
    if (bytes > 0 && deciding)
        decide(pair, by_client, buf->base, (size_t)bytes);
    if (bytes > 0)
        taken = uv_try_write(to, &(uv_buf_t){.base = buf->base, .len = (size_t)bytes}, 1);
    if (taken == UV_EAGAIN)
        taken = 0;
    if (taken < 0)
        close_pair(pair);
    else if (taken < bytes)
        write_later(from, to, buf->base + taken, (size_t)(bytes - taken));
}

static void on_connected(uv_connect_t *connect, int status)
{
    struct pair *pair = connect->data;

    if (status != 0) {
        close_pair(pair);
        return;
    }
    uv_tcp_nodelay(&pair->provider, 1);
    uv_read_start((uv_stream_t *)&pair->provider, on_alloc, on_read);
    uv_read_start((uv_stream_t *)&pair->client, on_alloc, on_read);
}

static void on_client(uv_stream_t *listener, int status)
{
    struct pair *pair = mem_zalloc(sizeof *pair);

    if (pair == NULL)
        return; /* The connection stays in the queue. */
    uv_tcp_init(loop, &pair->client);
    uv_tcp_init(loop, &pair->provider);
    pair->open = 2;
    pair->client.data = pair->provider.data = pair->connect.data = pair;
    if (status != 0 || uv_accept(listener, (uv_stream_t *)&pair->client) != 0 ||
        uv_tcp_connect(&pair->connect, &pair->provider, (const struct sockaddr *)&provider_address,
                       on_connected) != 0) {
        close_pair(pair);
        return;
    }
    uv_tcp_nodelay(&pair->client, 1);
}

static void on_signal(uv_signal_t *signal, int number)
{
    (void)signal;
    (void)number;
    uv_stop(loop);
}

int main(int argc, char **argv)
{
    struct sockaddr_in address;
    uv_tcp_t listener;
    uv_signal_t terminate;
    uint64_t port, provider_port;

    deciding = argc > 1 && strcmp(argv[1], "-d") == 0;
    argv += deciding;
    if (argc - deciding != 3 || str_parse_u64(str_from(argv[1]), 65535, &port) != 0 ||
        str_parse_u64(str_from(argv[2]), 65535, &provider_port) != 0) {
        fprintf(stderr, "usage: bench_relay [-d] PORT PROVIDER_PORT\n");
        return 2;
    }
    if (deciding)
        bench_deciding_start();
    loop = uv_default_loop();
    uv_ip4_addr("127.0.0.1", (int)port, &address);
    uv_ip4_addr("127.0.0.1", (int)provider_port, &provider_address);
    uv_tcp_init(loop, &listener);
    if (uv_tcp_bind(&listener, (const struct sockaddr *)&address, 0) != 0 ||
        uv_listen((uv_stream_t *)&listener, BACKLOG, on_client) != 0) {
        fprintf(stderr, "bench_relay: port %s cannot be listened on\n", argv[1]);
        return 1;
    }
    uv_signal_init(loop, &terminate);
    uv_signal_start(&terminate, on_signal, SIGTERM);
    printf("listening\n");
    fflush(stdout);
    uv_run(loop, UV_RUN_DEFAULT);
    if (deciding)
        bench_deciding_stop();
    return 0;
}
