/* The static provider of the benchmarks: answers every POST with one fixed chat completion, or,
 * when the body asks for a stream, with SSE events. It does as little as it can, so that what is
 * measured is the proxy in front of it.
 *
 *   bench_upstream [--tls CERT_PEM KEY_PEM] [--sndbuf BYTES] PORT    prints "listening"
 *
 * At /v1/messages it says the same in the dialect of Anthropic.
 *
 * The request says what stream it wants, so that one process serves every case: "max_tokens":N is
 * the number of events, "seed":M the milliseconds between two of them (0: as fast as the client
 * reads). What is translated on the way may lose those or have them elsewhere: the model
 * "bench-events-N-pace-M" says the same and asks for a stream. Each event carries the time it was
 * sent, CLOCK_MONOTONIC in nanoseconds, 19 digits after
 * "@", for bench_load on the same machine to tell how long it was under way.
 *
 * Not hardened and not part of the product: it trusts its clients to send Content-Length. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <uv.h>

#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/base/str.h"

#define REQUEST_BYTES_MAX (1U << 20)
#define REQUEST_BYTES_MIN 4096U
#define WISH_BYTES    2048 /* A gateway that writes the body anew may have put the model last. */
#define BLAST_EVENTS      32U  /* Written at once when there is no pace. */
#define TLS_RECORD_BYTES  16384U

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
    "\"model\":\"bench\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" @%019llu\"},"
    "\"finish_reason\":null}]}\n\n";
static const char finish_text[] =
    "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"
    "\"model\":\"bench\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
    "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"
    "\"model\":\"bench\",\"choices\":[],\"usage\":{\"prompt_tokens\":210,\"completion_tokens\":96,"
    "\"total_tokens\":306}}\n\ndata: [DONE]\n\n";

static const char message[] =
    "{\"id\":\"msg_bench\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"bench\","
    "\"content\":"
    "[{\"type\":\"text\",\"text\":\""
    "A steelyard is a straight-beam balance with arms of unequal length. The object to be weighed "
    "hangs from the shorter arm, and a counterpoise slides along the longer arm until the beam is "
    "level. Because the arms differ, a small weight can balance a large one, and the place of the "
    "counterpoise on the graduated arm tells the weight. It was known in Greece and Rome and is "
    "still used where a scale must be simple, strong and easy to carry from place to place.\"}],"
    "\"stop_reason\":\"end_turn\",\"stop_sequence\":null,\"usage\":{\"input_tokens\":210,"
    "\"output_tokens\":96}}";
#define FRAME(type, rest) "event: " type "\ndata: {\"type\":\"" type "\"" rest "}\n\n"
static const char message_start[] =
    FRAME("message_start", ",\"message\":{\"id\":\"msg_bench\",\"type\":\"message\",\"role\":"
                           "\"assistant\",\"model\":\"bench\",\"content\":[],\"stop_reason\":null,"
                           "\"usage\":{\"input_tokens\":210,\"output_tokens\":1}}")
        FRAME("content_block_start",
              ",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}");
static const char message_event[] =
    FRAME("content_block_delta",
          ",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\" @%019llu\"}");
static const char message_finish[] = FRAME("content_block_stop", ",\"index\":0")
    FRAME("message_delta", ",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},"
                           "\"usage\":{\"output_tokens\":96}") FRAME("message_stop", "");

static const char stream_head[] = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                                  "transfer-encoding: chunked\r\n\r\n";

/* What is said in one dialect, framed. */
struct voice {
    const char *whole, *start, *event, *finish;
    char whole_reply[4096], head[1024], event_chunk[1024], last_chunk[2048];
    size_t whole_reply_len, head_len, event_chunk_len, last_chunk_len, stamp_at;
};
static struct voice chat = {
    .whole = completion, .start = "", .event = event_text, .finish = finish_text};
static struct voice messages = {
    .whole = message, .start = message_start, .event = message_event, .finish = message_finish};
static SSL_CTX *tls; /* NULL: plain. */
static int sndbuf_bytes;

struct client {
    uv_tcp_t tcp;
    uv_timer_t pace;
    SSL *ssl;
    char *in;
    size_t in_len, in_size;
    uint64_t events_left;
    uint32_t interval_ms;
    unsigned writes_waiting; /* In libuv's queue: the socket did not take them at once. */
    unsigned handles_open;
    bool streaming;
    struct voice *voice;
};

struct write {
    uv_write_t req;
    struct client *client;
    char data[];
};

static void client_go_on(struct client *c);

static void render(struct voice *v)
{
    char event[1024];
    v->whole_reply_len = (size_t)snprintf(v->whole_reply, sizeof v->whole_reply,
                                          "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                                          "content-length: %zu\r\n\r\n%s",
                                          strlen(v->whole), v->whole);
    v->head_len = (size_t)snprintf(v->head, sizeof v->head, "%s", stream_head);
    if (v->start[0] != '\0')
        v->head_len += (size_t)snprintf(v->head + v->head_len, sizeof v->head - v->head_len,
                                        "%zx\r\n%s\r\n", strlen(v->start), v->start);
    const char *at = strstr(v->event, "%019llu");
    int len = snprintf(event, sizeof event, "%.*s%019d%s", (int)(at - v->event), v->event, 0,
                       at + strlen("%019llu"));
    v->event_chunk_len = (size_t)snprintf(v->event_chunk, sizeof v->event_chunk, "%x\r\n%s\r\n",
                                          (unsigned)len, event);
    v->stamp_at = (size_t)(strchr(v->event_chunk, '@') - v->event_chunk) + 1;
    v->last_chunk_len = (size_t)snprintf(v->last_chunk, sizeof v->last_chunk,
                                         "%zx\r\n%s\r\n0\r\n\r\n", strlen(v->finish), v->finish);
}

static void stamp(struct voice *v)
{
    uint64_t now = clock_mono_ns();
    for (size_t i = 19; i-- > 0; now /= 10)
        v->event_chunk[v->stamp_at + i] = (char)('0' + now % 10);
}

static void on_written(uv_write_t *req, int status)
{
    struct write *w = container_of(req, struct write, req);
    struct client *c = w->client;
    mem_free(w);
    c->writes_waiting--;
    if (status == 0 && !uv_is_closing((uv_handle_t *)&c->tcp))
        client_go_on(c);
}

/* The fast path is one system call; a copy of what the socket does not take waits in libuv's
 * queue. */
static void client_send_wire(struct client *c, const char *data, size_t len)
{
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)data, (unsigned)len);
    int sent = c->writes_waiting == 0 ? uv_try_write((uv_stream_t *)&c->tcp, &buf, 1) : 0;
    size_t done = sent > 0 ? (size_t)sent : 0;
    if (done == len)
        return;
    struct write *w = mem_alloc(sizeof *w + len - done);
    if (w == NULL)
        return;
    w->client = c;
    memcpy(w->data, data + done, len - done);
    buf = uv_buf_init(w->data, (unsigned)(len - done));
    if (uv_write(&w->req, (uv_stream_t *)&c->tcp, &buf, 1, on_written) != 0)
        mem_free(w);
    else
        c->writes_waiting++;
}

/* Sends what the TLS engine has made. */
static void client_flush_tls(struct client *c)
{
    static char record[4 * TLS_RECORD_BYTES];
    for (int n; (n = BIO_read(SSL_get_wbio(c->ssl), record, sizeof record)) > 0;)
        client_send_wire(c, record, (size_t)n);
}

static void client_send(struct client *c, const char *data, size_t len)
{
    if (c->ssl == NULL) {
        client_send_wire(c, data, len);
        return;
    }
    (void)SSL_write(c->ssl, data, (int)len);
    client_flush_tls(c);
}

static void on_closed(uv_handle_t *handle)
{
    struct client *c = handle->data;
    if (--c->handles_open > 0)
        return;
    SSL_free(c->ssl);
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

static void client_end_stream(struct client *c)
{
    c->streaming = false;
    uv_timer_stop(&c->pace);
    client_send(c, c->voice->last_chunk, c->voice->last_chunk_len);
    client_take_requests(c);
}

static void on_pace(uv_timer_t *timer)
{
    struct client *c = timer->data;
    if (c->events_left == 0) {
        client_end_stream(c);
        return;
    }
    c->events_left--;
    stamp(c->voice);
    client_send(c, c->voice->event_chunk, c->voice->event_chunk_len);
}

/* A stream without pace: the next events once the socket took the ones before. */
static void client_go_on(struct client *c)
{
    static char block[BLAST_EVENTS * sizeof chat.event_chunk];
    while (c->streaming && c->interval_ms == 0 && c->writes_waiting == 0) {
        size_t len = 0;
        for (unsigned i = 0; i < BLAST_EVENTS && c->events_left > 0; i++, c->events_left--) {
            stamp(c->voice);
            memcpy(block + len, c->voice->event_chunk, c->voice->event_chunk_len);
            len += c->voice->event_chunk_len;
        }
        if (len > 0)
            client_send(c, block, len);
        else
            client_end_stream(c);
    }
}

static uint64_t wish(struct str body, struct str name, uint64_t otherwise)
{
    ptrdiff_t at = str_search(body, name);
    uint64_t value = 0;
    if (at < 0)
        return otherwise;
    for (size_t i = (size_t)at + name.len; i < body.len; i++) {
        if (body.data[i] < '0' || body.data[i] > '9')
            break;
        value = value * 10 + (uint64_t)(body.data[i] - '0');
    }
    return value;
}

static void client_answer(struct client *c, struct str body)
{
    const bool named = str_search(body, STR("bench-events-")) >= 0;
    if (!named && str_search(body, STR("\"stream\":true")) < 0) {
        client_send(c, c->voice->whole_reply, c->voice->whole_reply_len);
        return;
    }
    client_send(c, c->voice->head, c->voice->head_len);
    c->streaming = true;
    c->events_left = wish(body, named ? STR("bench-events-") : STR("\"max_tokens\":"), 50);
    c->interval_ms = (uint32_t)wish(body, named ? STR("-pace-") : STR("\"seed\":"), 20);
    if (c->interval_ms > 0)
        uv_timer_start(&c->pace, on_pace, c->interval_ms, c->interval_ms);
    else
        client_go_on(c);
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
    while (!c->streaming) {
        struct str body;
        size_t used = request_bytes((struct str){.data = c->in, .len = c->in_len}, &body);
        if (used == 0)
            return;
        char wishes[WISH_BYTES];
        body = str_slice(body, 0, sizeof wishes);
        memcpy(wishes, body.data, body.len);
        const struct str line = {.data = c->in, .len = used < 64 ? used : 64};
        c->voice = str_search(line, STR("/v1/messages ")) >= 0 ? &messages : &chat;
        memmove(c->in, c->in + used, c->in_len - used);
        c->in_len -= used;
        client_answer(c, (struct str){.data = wishes, .len = body.len}); /* May come back here. */
    }
}

/* The request buffer starts small: thousands of clients stay connected. */
static bool client_make_room(struct client *c)
{
    if (c->in_len < c->in_size)
        return true;
    size_t size = c->in_size == 0 ? REQUEST_BYTES_MIN : 2 * c->in_size;
    char *in = size <= REQUEST_BYTES_MAX ? mem_realloc(c->in, size) : NULL;
    if (in == NULL)
        return false;
    c->in = in;
    c->in_size = size;
    return true;
}

static char wire[65536]; /* What was read; one loop, used up before the next read. */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    (void)handle;
    (void)suggested;
    *out = uv_buf_init(wire, sizeof wire);
}

static bool client_feed(struct client *c, struct str data)
{
    while (data.len > 0) {
        if (!client_make_room(c))
            return false;
        size_t room = c->in_size - c->in_len, take = data.len < room ? data.len : room;
        memcpy(c->in + c->in_len, data.data, take);
        c->in_len += take;
        data = str_slice(data, take, data.len);
    }
    return true;
}

static bool client_feed_tls(struct client *c, struct str data)
{
    static char plain[TLS_RECORD_BYTES];
    int n;
    if (BIO_write(SSL_get_rbio(c->ssl), data.data, (int)data.len) != (int)data.len)
        return false;
    while ((n = SSL_read(c->ssl, plain, sizeof plain)) > 0)
        if (!client_feed(c, (struct str){.data = plain, .len = (size_t)n}))
            return false;
    int why = SSL_get_error(c->ssl, n);
    ERR_clear_error();
    client_flush_tls(c); /* The handshake's answers. */
    return why == SSL_ERROR_WANT_READ;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct client *c = stream->data;
    if (n == 0)
        return;
    struct str data = {.data = buf->base, .len = n > 0 ? (size_t)n : 0};
    if (n < 0 || !(c->ssl != NULL ? client_feed_tls(c, data) : client_feed(c, data))) {
        client_close(c);
        return;
    }
    client_take_requests(c);
}

static bool client_start_tls(struct client *c)
{
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    c->ssl = SSL_new(tls);
    if (c->ssl == NULL || in == NULL || out == NULL)
        return false;
    SSL_set_bio(c->ssl, in, out);
    SSL_set_accept_state(c->ssl);
    return true;
}

static void on_connection(uv_stream_t *server, int status)
{
    struct client *c = status == 0 ? mem_zalloc(sizeof *c) : NULL;
    if (c == NULL)
        return;
    uv_tcp_init(server->loop, &c->tcp);
    uv_timer_init(server->loop, &c->pace);
    c->handles_open = 2;
    c->tcp.data = c;
    c->pace.data = c;
    if (uv_accept(server, (uv_stream_t *)&c->tcp) != 0 || (tls != NULL && !client_start_tls(c))) {
        client_close(c);
        return;
    }
    int bytes = sndbuf_bytes;
    if (bytes > 0)
        (void)uv_send_buffer_size((uv_handle_t *)&c->tcp, &bytes);
    uv_tcp_nodelay(&c->tcp, 1);
    uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
}

static bool tls_open(const char *certificate, const char *key)
{
    tls = SSL_CTX_new(TLS_server_method());
    return tls != NULL && SSL_CTX_use_certificate_chain_file(tls, certificate) == 1 &&
           SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) == 1;
}

int main(int argc, char **argv)
{
    uint64_t port = 0, bytes;
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "--tls") == 0 && i + 2 < argc) {
            if (!tls_open(argv[i + 1], argv[i + 2])) {
                ERR_print_errors_fp(stderr);
                return 1;
            }
            i += 2;
        } else if (strcmp(argv[i], "--sndbuf") == 0 && i + 1 < argc &&
                   str_parse_u64(str_from(argv[i + 1]), 1U << 20, &bytes) == 0) {
            sndbuf_bytes = (int)bytes;
            i++;
        } else {
            break;
        }
    }
    if (i + 1 != argc || str_parse_u64(str_from(argv[i]), 65535, &port) != 0) {
        fprintf(stderr, "usage: bench_upstream [--tls CERT_PEM KEY_PEM] [--sndbuf BYTES] PORT\n");
        return 2;
    }
    render(&chat);
    render(&messages);
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
