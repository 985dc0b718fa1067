#include "tests/unit/dataplane/upstream/race_upstream.h"

#include <stdlib.h>

#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/net/http1.h"
#include "tests/lib/moody.h"

#define BODY_BYTES_MAX (1U << 20)
#define KEEP_PERCENT   75U

struct race_upstream {
    uv_thread_t thread;
    uv_loop_t loop;
    uv_async_t stop;
    struct moody moody;
    uint64_t seed;
    size_t nonces;
    struct race_row *rows;
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

/* Half of them with a length, half in chunks. */
static void write_reply(size_t nonce, struct buf *out)
{
    struct buf body;
    buf_init(&body, BODY_BYTES_MAX);
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

static void on_request(void *arg, const struct moody_request *request, struct buf *reply,
                       void **out_token)
{
    struct race_upstream *u = arg;
    struct str nonce_text, start_text;
    uint64_t nonce, start;
    struct str path = str_slice(request->target, 1, request->target.len);
    check(str_cut(path, '/', &nonce_text, &start_text));
    check(str_parse_u64(nonce_text, u->nonces - 1, &nonce) == 0);
    check(str_parse_u64(start_text, RACE_STARTS_MAX - 1, &start) == 0);
    struct race_row *row = &u->rows[nonce * RACE_STARTS_MAX + start];
    row->delivered++;
    row->on_used = request->on_used;
    write_reply((size_t)nonce, reply);
    *out_token = row;
}

static void on_end(void *arg, void *token, enum moody_end end)
{
    struct race_row *row = token;
    (void)arg;
    if (end != MOODY_SILENT)
        row->replies++;
    if (end == MOODY_WHOLE)
        row->whole++;
}

static void on_stop(uv_async_t *async)
{
    struct race_upstream *u = async->data;
    uv_close((uv_handle_t *)&u->stop, NULL);
    moody_close(&u->moody);
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
    check(u != NULL);
    u->rows = mem_calloc(nonces * RACE_STARTS_MAX, sizeof(*u->rows));
    check(u->rows != NULL);
    u->seed = seed;
    u->nonces = nonces;
    const struct moody_config config = {
        .keep_percent = KEEP_PERCENT, .on_request = on_request, .on_end = on_end, .arg = u};
    check(uv_loop_init(&u->loop) == 0);
    check(uv_async_init(&u->loop, &u->stop, on_stop) == 0);
    u->stop.data = u;
    moody_start(&u->moody, &u->loop, &config);
    check(uv_thread_create(&u->thread, run, u) == 0);
    return u;
}

uint16_t race_upstream_port(const struct race_upstream *u)
{
    return u->moody.port;
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
    return u->moody.connections;
}

void race_upstream_destroy(struct race_upstream *u)
{
    mem_free(u->rows);
    mem_free(u);
}
