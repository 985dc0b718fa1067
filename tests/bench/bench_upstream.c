/* The static provider of the benchmarks: answers every POST with one fixed chat completion, or,
 * when the body asks for a stream, with a fixed number of SSE events at a fixed pace. It does as
 * little as it can, so that what is measured is the proxy in front of it.
 *
 *   bench_upstream PORT EVENTS INTERVAL_MS      prints "listening" once it accepts
 *
 * Not hardened and not part of the product: it trusts its clients to send Content-Length. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/base/str.h"

#define REQUEST_BYTES_MAX (1U << 20)

static const char completion[] =
    "{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1700000000,"
    "\"model\":\"bench\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"
    "\""
    "A steelyard is a straight-beam balance with arms of unequal length. The object to be weighed "
    "hangs from the shorter arm, and a counterpoise slides along the longer arm until the beam is "
    "level. Because the arms differ, a small weight can balance a large one, and the place of the "
    "counterpoise on the graduated arm tells the weight. It was known in Greece and Rome and is "
    "still used where a scale must be simple, strong and easy to carry from place to place.\"},"
    "\"finish_reason\":\"stop\",\"logprobs\":null}],\"usage\":{\"prompt_tokens\":210,"
    "\"completion_tokens\":96,\"total_tokens\":306}}";
static const char event_text[] =
    "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"
    "\"model\":\"bench\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" weight\"},"
    "\"finish_reason\":null}]}\n\n";
static const char finish_text[] =
    "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"
    "\"model\":\"bench\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
    "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"
    "\"model\":\"bench\",\"choices\":[],\"usage\":{\"prompt_tokens\":210,\"completion_tokens\":96,"
    "\"total_tokens\":306}}\n\ndata: [DONE]\n\n";

static char whole_reply[4096];
static size_t whole_reply_len;
static char event_chunk[1024];
static size_t event_chunk_len;
static char last_chunk[2048];
static size_t last_chunk_len;
static const char stream_head[] = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                                  "transfer-encoding: chunked\r\n\r\n";
static unsigned events_per_stream;
static unsigned interval_ms;

struct client {
    uv_tcp_t tcp;
    uv_timer_t pace;
    char *in;
    size_t in_len;
    unsigned events_left;
    unsigned handles_open;
};

struct write {
    uv_write_t req;
};

static void render_replies(void)
{
    whole_reply_len = (size_t)snprintf(whole_reply, sizeof whole_reply,
                                       "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                                       "content-length: %zu\r\n\r\n%s",
                                       sizeof completion - 1, completion);
    event_chunk_len = (size_t)snprintf(event_chunk, sizeof event_chunk, "%zx\r\n%s\r\n",
                                       sizeof event_text - 1, event_text);
    last_chunk_len = (size_t)snprintf(last_chunk, sizeof last_chunk, "%zx\r\n%s\r\n0\r\n\r\n",
                                      sizeof finish_text - 1, finish_text);
}

static void on_written(uv_write_t *req, int status)
{
    (void)status;
    mem_free(container_of(req, struct write, req));
}

/* The fast path is one system call; what the socket does not take waits in libuv's queue. */
static void client_send(struct client *c, const char *data, size_t len)
{
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)data, (unsigned)len);
    int sent = uv_try_write((uv_stream_t *)&c->tcp, &buf, 1);
    if (sent == (int)len)
        return;
    if (sent > 0)
        buf = uv_buf_init(buf.base + sent, (unsigned)(len - (size_t)sent));
    struct write *w = mem_alloc(sizeof *w);
    if (w == NULL || uv_write(&w->req, (uv_stream_t *)&c->tcp, &buf, 1, on_written) != 0)
        mem_free(w);
}

static void on_closed(uv_handle_t *handle)
{
    struct client *c = handle->data;
    if (--c->handles_open > 0)
        return;
    mem_free(c->in);
    mem_free(c);
}

static void client_close(struct client *c)
{
    if (uv_is_closing((uv_handle_t *)&c->tcp))
        return;
    uv_close((uv_handle_t *)&c->tcp, on_closed);
    uv_close((uv_handle_t *)&c->pace, on_closed);
}

static void client_take_requests(struct client *c);

static void on_pace(uv_timer_t *timer)
{
    struct client *c = timer->data;
    if (c->events_left > 0) {
        c->events_left--;
        client_send(c, event_chunk, event_chunk_len);
        return;
    }
    uv_timer_stop(timer);
    client_send(c, last_chunk, last_chunk_len);
    client_take_requests(c);
}

static void client_answer(struct client *c, struct str body)
{
    if (str_search(body, STR("\"stream\":true")) < 0) {
        client_send(c, whole_reply, whole_reply_len);
        return;
    }
    client_send(c, stream_head, sizeof stream_head - 1);
    c->events_left = events_per_stream;
    if (interval_ms > 0) {
        uv_timer_start(&c->pace, on_pace, interval_ms, interval_ms);
        return;
    }
    while (c->events_left-- > 0)
        client_send(c, event_chunk, event_chunk_len);
    client_send(c, last_chunk, last_chunk_len);
}

/* Bytes of the first whole request in the buffer, 0 when it is not all there yet. */
static size_t request_bytes(struct str in, struct str *out_body)
{
    ptrdiff_t end = str_search(in, STR("\r\n\r\n"));
    if (end < 0)
        return 0;
    size_t head = (size_t)end + 4;
    uint64_t length = 0;
    struct str line, rest = str_slice(in, 0, head);
    while (str_cut(rest, '\n', &line, &rest)) {
        struct str name, value;
        if (str_cut(line, ':', &name, &value) && str_eq_nocase(name, STR("content-length"))) {
            value = str_trim(str_slice(value, 0, value.len - 1));
            if (str_parse_u64(value, REQUEST_BYTES_MAX, &length) != 0)
                return 0;
        }
    }
    if (in.len < head + length)
        return 0;
    *out_body = str_slice(in, head, head + (size_t)length);
    return head + (size_t)length;
}

static void client_take_requests(struct client *c)
{
    while (!uv_is_active((uv_handle_t *)&c->pace)) {
        struct str body;
        size_t used = request_bytes((struct str){.data = c->in, .len = c->in_len}, &body);
        if (used == 0)
            return;
        client_answer(c, body);
        memmove(c->in, c->in + used, c->in_len - used);
        c->in_len -= used;
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    (void)suggested;
    struct client *c = handle->data;
    *out = uv_buf_init(c->in + c->in_len, (unsigned)(REQUEST_BYTES_MAX - c->in_len));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    (void)buf;
    struct client *c = stream->data;
    if (n < 0) {
        client_close(c);
        return;
    }
    c->in_len += (size_t)n;
    client_take_requests(c);
}

static void on_connection(uv_stream_t *server, int status)
{
    struct client *c = status == 0 ? mem_zalloc(sizeof *c) : NULL;
    if (c == NULL)
        return;
    c->in = mem_alloc(REQUEST_BYTES_MAX);
    uv_tcp_init(server->loop, &c->tcp);
    uv_timer_init(server->loop, &c->pace);
    c->handles_open = 2;
    c->tcp.data = c;
    c->pace.data = c;
    if (c->in == NULL || uv_accept(server, (uv_stream_t *)&c->tcp) != 0) {
        client_close(c);
        return;
    }
    uv_tcp_nodelay(&c->tcp, 1);
    uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
}

int main(int argc, char **argv)
{
    uint64_t port, events, interval;
    if (argc != 4 || str_parse_u64(str_from(argv[1]), 65535, &port) != 0 ||
        str_parse_u64(str_from(argv[2]), 100000, &events) != 0 ||
        str_parse_u64(str_from(argv[3]), 60000, &interval) != 0) {
        fprintf(stderr, "usage: bench_upstream PORT EVENTS INTERVAL_MS\n");
        return 2;
    }
    events_per_stream = (unsigned)events;
    interval_ms = (unsigned)interval;
    render_replies();
    uv_loop_t *loop = uv_default_loop();
    uv_tcp_t server;
    struct sockaddr_in address;
    uv_tcp_init(loop, &server);
    uv_ip4_addr("127.0.0.1", (int)port, &address);
    if (uv_tcp_bind(&server, (const struct sockaddr *)&address, 0) != 0 ||
        uv_listen((uv_stream_t *)&server, 4096, on_connection) != 0) {
        fprintf(stderr, "cannot listen on port %d\n", (int)port);
        return 1;
    }
    printf("listening\n");
    fflush(stdout);
    return uv_run(loop, UV_RUN_DEFAULT);
}
