#include "tests/unit/dataplane/upstream/race_upstream.h"

#include <assert.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/net/http1.h"

#define IN_BYTES_MAX (1U << 20)

/* What it will do with the connection, drawn before each request. */
enum mood {
    MOOD_KEEP,
    MOOD_CLOSE_BEFORE,   /* Without reading. */
    MOOD_CLOSE_PART,     /* After some bytes. */
    MOOD_CLOSE_SILENT,   /* After all of it, no reply. */
    MOOD_CLOSE_IN_REPLY, /* After some of the reply. */
    MOOD_CLOSE_AFTER,    /* Right behind the reply. */
    MOOD_DOOM,           /* A few milliseconds from now, whatever is going on. */
};

struct race_upstream {
    uv_thread_t thread;
    uv_loop_t loop;
    uv_tcp_t listener;
    uv_async_t stop;
    struct list peers;
    uint16_t port;
    uint64_t seed;
    size_t nonces;
    uint64_t connections;
    struct race_row *rows;
};

struct peer {
    struct list link;
    struct race_upstream *upstream;
    uv_tcp_t tcp;
    uv_timer_t timer;
    unsigned handles;
    enum mood mood;
    size_t part_bytes;
    unsigned served;
    struct buf in;
    struct http1_head head;
    struct http1_body body;
    bool in_body;
    size_t scanned;
    bool closing;
};

struct reply {
    uv_write_t write;
    struct peer *peer;
    struct race_row *row; /* Set: this was all of it. */
    bool then_close;
    char bytes[];
};

static void check(bool ok)
{
    if (!ok)
        abort();
}

void race_body(size_t nonce, struct buf *out)
{
    size_t times = nonce % 61 == 0 ? 6000 : nonce * 7919 % 200;
    buf_clear(out);
    for (size_t i = 0; i <= times; i++)
        check(buf_printf(out, "%zu;", nonce) == 0);
}

static void on_closed(uv_handle_t *handle)
{
    struct peer *p = handle->data;
    if (--p->handles > 0)
        return;
    list_remove(&p->link);
    buf_deinit(&p->in);
    mem_free(p);
}

static void close_peer(struct peer *p)
{
    if (p->closing)
        return;
    p->closing = true;
    if (rand_below(3) != 0 || uv_tcp_close_reset(&p->tcp, on_closed) != 0)
        uv_close((uv_handle_t *)&p->tcp, on_closed);
    uv_close((uv_handle_t *)&p->timer, on_closed);
}

static void on_doom(uv_timer_t *timer)
{
    close_peer(timer->data);
}

/* Three of four requests go well. */
static void draw_mood(struct peer *p)
{
    uint64_t n = rand_below(100);
    p->mood = n < 75   ? MOOD_KEEP
              : n < 79 ? MOOD_CLOSE_BEFORE
              : n < 83 ? MOOD_CLOSE_PART
              : n < 87 ? MOOD_CLOSE_SILENT
              : n < 91 ? MOOD_CLOSE_IN_REPLY
              : n < 95 ? MOOD_CLOSE_AFTER
                       : MOOD_DOOM;
    p->part_bytes = 1 + (size_t)rand_below(120);
    if (p->mood == MOOD_CLOSE_BEFORE)
        (void)uv_read_stop((uv_stream_t *)&p->tcp);
    if (p->mood == MOOD_CLOSE_BEFORE || p->mood == MOOD_DOOM)
        check(uv_timer_start(&p->timer, on_doom, rand_below(4), 0) == 0);
}

static void on_replied(uv_write_t *write, int status)
{
    struct reply *r = container_of(write, struct reply, write);
    if (status == 0 && r->row != NULL)
        r->row->whole++;
    if (r->then_close && !r->peer->closing) { /* In peace: a reset might take the reply back. */
        r->peer->closing = true;
        uv_close((uv_handle_t *)&r->peer->tcp, on_closed);
        uv_close((uv_handle_t *)&r->peer->timer, on_closed);
    }
    mem_free(r);
}

static void send_reply(struct peer *p, struct race_row *row, struct str bytes)
{
    bool cut = p->mood == MOOD_CLOSE_IN_REPLY;
    size_t len = cut ? 1 + (size_t)rand_below(bytes.len - 1) : bytes.len;
    struct reply *r = mem_alloc(sizeof(*r) + len);
    check(r != NULL);
    r->peer = p;
    r->row = cut || p->mood == MOOD_DOOM ? NULL : row;
    r->then_close = cut || p->mood == MOOD_CLOSE_AFTER;
    memcpy(r->bytes, bytes.data, len);
    row->replies++;
    uv_buf_t data = uv_buf_init(r->bytes, (unsigned)len);
    check(uv_write(&r->write, (uv_stream_t *)&p->tcp, &data, 1, on_replied) == 0);
}

static void write_reply(size_t nonce, struct buf *out)
{
    struct buf body;
    buf_init(&body, IN_BYTES_MAX);
    race_body(nonce, &body);
    if (nonce % 2 == 0) {
        check(buf_printf(out, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", body.len) == 0);
        check(buf_append_str(out, buf_str(&body)) == 0);
    } else {
        size_t half = body.len / 2;
        check(buf_append_text(out, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n") == 0);
        check(http1_write_chunk(out, str_slice(buf_str(&body), 0, half)) == 0);
        check(http1_write_chunk(out, str_slice(buf_str(&body), half, body.len)) == 0);
        check(buf_append_str(out, HTTP1_LAST_CHUNK) == 0);
    }
    buf_deinit(&body);
}

static void on_request(struct peer *p, struct str target)
{
    struct race_upstream *u = p->upstream;
    struct str nonce_text, start_text;
    uint64_t nonce, start;
    struct buf out;
    check(str_cut(str_slice(target, 1, target.len), '/', &nonce_text, &start_text));
    check(str_parse_u64(nonce_text, u->nonces - 1, &nonce) == 0);
    check(str_parse_u64(start_text, RACE_STARTS_MAX - 1, &start) == 0);
    struct race_row *row = &u->rows[nonce * RACE_STARTS_MAX + start];
    row->delivered++;
    row->on_used = p->served++ > 0;
    if (p->mood == MOOD_CLOSE_SILENT) {
        close_peer(p);
        return;
    }
    buf_init(&out, IN_BYTES_MAX);
    write_reply((size_t)nonce, &out);
    send_reply(p, row, buf_str(&out));
    buf_deinit(&out);
}

static void take_bytes(struct peer *p)
{
    if (!p->in_body) {
        enum http1_result result = http1_head_parse(&p->head, p->in.data, p->in.len);
        check(result != HTTP1_REJECTED);
        if (result != HTTP1_DONE)
            return;
        p->in_body = true;
        p->scanned = p->head.head_bytes;
        http1_body_init(&p->body, &p->head, IN_BYTES_MAX);
    }
    for (;;) {
        struct str rest = {p->in.data + p->scanned, p->in.len - p->scanned};
        struct str piece;
        enum http1_result result = http1_body_next(&p->body, &rest, &piece);
        p->scanned = p->in.len - rest.len;
        check(result != HTTP1_REJECTED);
        if (result == HTTP1_MORE)
            return;
        if (result == HTTP1_DONE)
            break;
    }
    check(p->scanned == p->in.len); /* Nobody pipelines. */
    http1_head_rebase(&p->head, p->in.data);
    on_request(p, p->head.target);
    buf_clear(&p->in);
    http1_request_init(&p->head);
    p->in_body = false;
    bool last = p->mood == MOOD_CLOSE_AFTER || p->mood == MOOD_CLOSE_IN_REPLY;
    if (!p->closing && !last && p->mood != MOOD_DOOM)
        draw_mood(p);
}

static char scratch[65536]; /* One upstream at a time. */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    const struct peer *p = handle->data;
    (void)suggested;
    *out = uv_buf_init(scratch, p->mood == MOOD_CLOSE_PART ? (unsigned)p->part_bytes
                                                           : (unsigned)sizeof(scratch));
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *data)
{
    struct peer *p = stream->data;
    if (count < 0 || (count > 0 && p->mood == MOOD_CLOSE_PART)) {
        close_peer(p);
        return;
    }
    if (count == 0)
        return;
    check(buf_append(&p->in, data->base, (size_t)count) == 0);
    take_bytes(p);
}

static void on_connection(uv_stream_t *server, int status)
{
    struct race_upstream *u = server->data;
    struct peer *p = mem_zalloc(sizeof(*p));
    check(status == 0 && p != NULL);
    p->upstream = u;
    p->handles = 2;
    u->connections++;
    list_init(&p->link);
    list_push_back(&u->peers, &p->link);
    buf_init(&p->in, IN_BYTES_MAX);
    http1_request_init(&p->head);
    check(uv_tcp_init(&u->loop, &p->tcp) == 0 && uv_timer_init(&u->loop, &p->timer) == 0);
    p->tcp.data = p->timer.data = p;
    check(uv_accept(server, (uv_stream_t *)&p->tcp) == 0);
    check(uv_read_start((uv_stream_t *)&p->tcp, on_alloc, on_read) == 0);
    draw_mood(p);
}

static void on_stop(uv_async_t *async)
{
    struct race_upstream *u = async->data;
    uv_close((uv_handle_t *)&u->listener, NULL);
    uv_close((uv_handle_t *)&u->stop, NULL);
    LIST_FOREACH (node, &u->peers)
        close_peer(container_of(node, struct peer, link));
}

static void run(void *arg)
{
    struct race_upstream *u = arg;
    rand_seed_thread(u->seed);
    (void)uv_run(&u->loop, UV_RUN_DEFAULT);
    check(uv_loop_close(&u->loop) == 0);
}

struct race_upstream *race_upstream_start(uint64_t seed, size_t nonces)
{
    struct race_upstream *u = mem_zalloc(sizeof(*u));
    struct sockaddr_in address;
    struct sockaddr_storage bound;
    int len = sizeof(bound);
    check(u != NULL);
    u->rows = mem_calloc(nonces * RACE_STARTS_MAX, sizeof(*u->rows));
    check(u->rows != NULL);
    u->seed = seed;
    u->nonces = nonces;
    list_init(&u->peers);
    check(uv_loop_init(&u->loop) == 0 && uv_tcp_init(&u->loop, &u->listener) == 0);
    check(uv_async_init(&u->loop, &u->stop, on_stop) == 0);
    u->listener.data = u->stop.data = u;
    check(uv_ip4_addr("127.0.0.1", 0, &address) == 0);
    check(uv_tcp_bind(&u->listener, (const struct sockaddr *)&address, 0) == 0);
    check(uv_listen((uv_stream_t *)&u->listener, 1024, on_connection) == 0);
    check(uv_tcp_getsockname(&u->listener, (struct sockaddr *)&bound, &len) == 0);
    memcpy(&address, &bound, sizeof(address));
    u->port = ntohs(address.sin_port);
    check(uv_thread_create(&u->thread, run, u) == 0);
    return u;
}

uint16_t race_upstream_port(const struct race_upstream *u)
{
    return u->port;
}

void race_upstream_stop(struct race_upstream *u)
{
    check(uv_async_send(&u->stop) == 0);
    check(uv_thread_join(&u->thread) == 0);
}

const struct race_row *race_upstream_row(const struct race_upstream *u, size_t nonce, size_t start)
{
    return &u->rows[nonce * RACE_STARTS_MAX + start];
}

uint64_t race_upstream_connections(const struct race_upstream *u)
{
    return u->connections;
}

void race_upstream_destroy(struct race_upstream *u)
{
    mem_free(u->rows);
    mem_free(u);
}
