/* The load generator of the benchmarks: keeps a fixed number of connections busy for a fixed time
 * and reports what came back. Each connection sends the same request, waits for the whole answer
 * and sends it again.
 *
 *   bench_load PORT CONNECTIONS SECONDS REQUEST_FILE
 * REQUEST_FILE holds head and body as they go out. Prints one JSON object: requests, errors, events
 * ("data:" lines of streams), seconds, p50_us and p99_us of the time from request to whole answer.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/str.h"

#define READ_BYTES    65536U
#define HEAD_BYTES    8192U
#define LATENCIES_MAX 4000000U

enum body_state {
    BODY_HEAD,  /* Collecting the head. */
    BODY_FIXED, /* `left` bytes of a Content-Length body to come. */
    BODY_CHUNKED,
};

struct connection {
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_write_t write;
    enum body_state state;
    char head[HEAD_BYTES];
    size_t head_len;
    uint64_t left;
    char tail[8]; /* Last bytes of a chunked body: it ends with "0\r\n\r\n". */
    size_t tail_len;
    uint64_t started_ns;
    bool ok;
};

static struct buf request;
static struct sockaddr_in address;
static uint64_t deadline_ns, requests, errors, events;
static uint32_t *latencies;
static char read_buffer[READ_BYTES];

static void connection_open(struct connection *c);
static void on_written(uv_write_t *req, int status);

static void connection_send(struct connection *c)
{
    c->state = BODY_HEAD;
    c->head_len = 0;
    c->tail_len = 0;
    c->started_ns = clock_mono_ns();
    uv_buf_t buf = uv_buf_init(request.data, (unsigned)request.len);
    if (uv_write(&c->write, (uv_stream_t *)&c->tcp, &buf, 1, on_written) != 0)
        errors++;
}

static void on_written(uv_write_t *req, int status)
{
    (void)req;
    (void)status; /* A failed write shows as a failed read. */
}

static void on_closed(uv_handle_t *handle)
{
    if (clock_mono_ns() < deadline_ns)
        connection_open(handle->data);
}

static void connection_close(struct connection *c)
{
    if (!uv_is_closing((uv_handle_t *)&c->tcp))
        uv_close((uv_handle_t *)&c->tcp, on_closed);
}

static void connection_finish(struct connection *c)
{
    if (requests < LATENCIES_MAX)
        latencies[requests] = (uint32_t)((clock_mono_ns() - c->started_ns) / 1000);
    requests++;
    if (!c->ok)
        errors++;
    if (clock_mono_ns() >= deadline_ns)
        connection_close(c);
    else
        connection_send(c);
}

static void count_events(struct str data)
{
    for (ptrdiff_t at; (at = str_search(data, STR("data:"))) >= 0;) {
        events++;
        data = str_slice(data, (size_t)at + 5, data.len);
    }
}

static void connection_feed_chunked(struct connection *c, struct str data)
{
    count_events(data);
    size_t keep = data.len < 5 ? data.len : 5;
    if (c->tail_len + keep > sizeof c->tail) {
        size_t drop = c->tail_len + keep - sizeof c->tail;
        memmove(c->tail, c->tail + drop, c->tail_len - drop);
        c->tail_len -= drop;
    }
    memcpy(c->tail + c->tail_len, data.data + data.len - keep, keep);
    c->tail_len += keep;
    struct str tail = {.data = c->tail, .len = c->tail_len};
    if (str_ends(tail, STR("0\r\n\r\n")))
        connection_finish(c);
}

static void connection_feed_body(struct connection *c, struct str data)
{
    if (c->state == BODY_CHUNKED) {
        if (data.len > 0)
            connection_feed_chunked(c, data);
        return;
    }
    c->left -= data.len < c->left ? data.len : c->left;
    if (c->left == 0)
        connection_finish(c);
}

static bool connection_read_head(struct connection *c, size_t head_bytes)
{
    struct str line, rest = {.data = c->head, .len = head_bytes};
    c->ok = str_starts(rest, STR("HTTP/1.1 200"));
    c->state = BODY_FIXED;
    c->left = 0;
    while (str_cut(rest, '\n', &line, &rest)) {
        struct str name, value;
        if (!str_cut(line, ':', &name, &value))
            continue;
        value = str_trim(str_slice(value, 0, value.len - 1));
        if (str_eq_nocase(name, STR("transfer-encoding")))
            c->state = BODY_CHUNKED;
        else if (str_eq_nocase(name, STR("content-length")) &&
                 str_parse_u64(value, UINT32_MAX, &c->left) != 0)
            return false;
    }
    return true;
}

static void connection_feed(struct connection *c, struct str data)
{
    if (c->state != BODY_HEAD) {
        connection_feed_body(c, data);
        return;
    }
    size_t take = data.len < HEAD_BYTES - c->head_len ? data.len : HEAD_BYTES - c->head_len;
    size_t before = c->head_len;
    memcpy(c->head + c->head_len, data.data, take);
    c->head_len += take;
    ptrdiff_t end = str_search((struct str){.data = c->head, .len = c->head_len}, STR("\r\n\r\n"));
    if (end < 0)
        return;
    if (!connection_read_head(c, (size_t)end + 4)) {
        errors++;
        connection_close(c);
        return;
    }
    connection_feed_body(c, str_slice(data, (size_t)end + 4 - before, data.len));
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    (void)handle;
    (void)suggested;
    *out = uv_buf_init(read_buffer, READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct connection *c = stream->data;
    if (n >= 0) {
        connection_feed(c, (struct str){.data = buf->base, .len = (size_t)n});
        return;
    }
    if (c->state != BODY_HEAD || c->head_len > 0)
        errors++;
    connection_close(c);
}

static void on_connected(uv_connect_t *connect, int status)
{
    struct connection *c = connect->data;
    if (status != 0) {
        errors++;
        connection_close(c);
        return;
    }
    uv_tcp_nodelay(&c->tcp, 1);
    uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
    connection_send(c);
}

static void connection_open(struct connection *c)
{
    uv_tcp_init(uv_default_loop(), &c->tcp);
    c->tcp.data = c;
    c->connect.data = c;
    if (uv_tcp_connect(&c->connect, &c->tcp, (const struct sockaddr *)&address, on_connected) != 0)
        errors++;
}

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static uint32_t percentile(uint64_t count, unsigned percent)
{
    return count == 0 ? 0 : latencies[(count - 1) * percent / 100];
}

static void on_deadline(uv_timer_t *timer)
{
    uv_close((uv_handle_t *)timer, NULL);
}

int main(int argc, char **argv)
{
    uint64_t port, count, seconds;
    struct err err = {0};
    if (argc != 5 || str_parse_u64(str_from(argv[1]), 65535, &port) != 0 ||
        str_parse_u64(str_from(argv[2]), 20000, &count) != 0 ||
        str_parse_u64(str_from(argv[3]), 3600, &seconds) != 0) {
        fprintf(stderr, "usage: bench_load PORT CONNECTIONS SECONDS REQUEST_FILE\n");
        return 2;
    }
    if (buf_read_file(&request, argv[4], 1U << 20, &err) != 0) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    latencies = mem_alloc(LATENCIES_MAX * sizeof *latencies);
    struct connection *connections = mem_calloc(count, sizeof *connections);
    if (latencies == NULL || connections == NULL)
        return 1;
    uv_ip4_addr("127.0.0.1", (int)port, &address);
    uint64_t started_ns = clock_mono_ns();
    deadline_ns = started_ns + seconds * 1000000000U;
    for (uint64_t i = 0; i < count; i++)
        connection_open(&connections[i]);
    uv_timer_t timer;
    uv_timer_init(uv_default_loop(), &timer);
    uv_timer_start(&timer, on_deadline, seconds * 1000, 0);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    double took = (double)(clock_mono_ns() - started_ns) / 1e9;
    uint64_t kept = requests < LATENCIES_MAX ? requests : LATENCIES_MAX;
    qsort(latencies, kept, sizeof *latencies, compare_u32);
    printf("{\"requests\":%llu,\"errors\":%llu,\"events\":%llu,\"seconds\":%.3f,\"p50_us\":%u,"
           "\"p99_us\":%u}\n",
           (unsigned long long)requests, (unsigned long long)errors, (unsigned long long)events,
           took, percentile(kept, 50), percentile(kept, 99));
    mem_free(connections);
    mem_free(latencies);
    buf_deinit(&request);
    return 0;
}
