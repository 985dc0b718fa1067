#include "tests/unit/net/fetch_fixture.h"
#include "tests/lib/calm.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/list.h"
#include "common/base/mem.h"
#include "tests/lib/fault.h"
#include "tests/lib/wire.h"

static enum fetch_flow on_head(void *arg, struct fetch *f, unsigned status)
{
    struct fixture *x = arg;
    assert_true(status >= 200);
    x->heads++;
    (void)str_copy(fetch_header(f, STR("content-type")), x->type, sizeof(x->type));
    if (x->cancel_in_head)
        fetch_cancel(f);
    return FETCH_GO;
}

static enum fetch_flow on_body(void *arg, struct fetch *f, struct str piece)
{
    struct fixture *x = arg;
    (void)f;
    assert_int_equal(buf_append_str(&x->body, piece), 0);
    return ++x->pieces == x->pause_at ? FETCH_PAUSE : FETCH_GO;
}

static void on_done(void *arg, struct fetch *f, const struct fetch_result *result)
{
    struct fixture *x = arg;
    assert_ptr_equal(x->fetch, f);
    x->result = *result;
    x->fetch = NULL;
    x->dones++;
}

const struct fetch_callbacks fetch_fixture_callbacks = {
    .on_head = on_head, .on_body = on_body, .on_done = on_done};

static void on_gone(void *arg, struct httpd_request *req)
{
    ((struct fixture *)arg)->gone++;
    httpd_abort(req);
}

static void on_request(void *arg, struct httpd_request *req)
{
    struct fixture *x = arg;
    static char large[1U << 20];
    if (str_is(httpd_path(req), "/never")) {
        httpd_on_gone(req, on_gone, x);
        return;
    }
    if (str_is(httpd_path(req), "/part")) {
        httpd_on_gone(req, on_gone, x);
        assert_int_equal(httpd_start_stream(req, 200, STR("text/plain")), 0);
        if (!str_is(httpd_query(req), "empty"))
            assert_int_equal(httpd_write(req, STR("part")), 0);
        return;
    }
    if (str_is(httpd_path(req), "/cut")) {
        assert_int_equal(httpd_start_stream(req, 200, STR("text/plain")), 0);
        assert_int_equal(httpd_write(req, STR("part")), 0);
        httpd_abort(req);
        return;
    }
    if (str_is(httpd_path(req), "/large")) {
        memset(large, 'L', sizeof(large));
        httpd_reply(req, 200, STR("text/plain"), (struct str){.data = large, .len = sizeof(large)});
        return;
    }
    struct buf b;
    buf_init(&b, 8U << 20);
    assert_int_equal(buf_printf(&b, "%s %.*s|", http1_method_name(httpd_method(req)),
                                STR_ARG(httpd_head(req)->target)),
                     0);
    for (size_t i = 0; i < httpd_head(req)->field_count; i++)
        assert_int_equal(buf_printf(&b, "%.*s=%.*s|", STR_ARG(http1_field_name(httpd_head(req), i)),
                                    STR_ARG(http1_field_value(httpd_head(req), i))),
                         0);
    assert_int_equal(buf_append_str(&b, httpd_body(req)), 0);
    httpd_reply(req, 200, STR("text/plain"), buf_str(&b));
    buf_deinit(&b);
}

static void on_peer_closed(uv_handle_t *handle)
{
    mem_free(container_of(handle, struct peer, tcp));
}

void fetch_fixture_close_peer(struct peer *p)
{
    if (p->open)
        uv_close((uv_handle_t *)&p->tcp, on_peer_closed);
    p->open = false;
}

static void on_peer_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    struct peer *p = container_of(handle, struct peer, tcp);
    (void)suggested;
    *out = uv_buf_init(p->in, sizeof(p->in));
}

static void on_peer_written(uv_write_t *write, int status)
{
    struct peer *p = container_of(write, struct peer, write);
    (void)status;
    for (size_t i = 0; i < p->fixture->peer_count && p->open; i++)
        if (p->fixture->peers[i] == p && p->fixture->close_after) {
            p->fixture->peers[i] = NULL;
            fetch_fixture_close_peer(p);
            return;
        }
}

static void on_peer_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *data)
{
    struct peer *p = container_of(stream, struct peer, tcp);
    (void)data;
    if (count < 0) {
        (void)uv_read_stop(stream);
        return;
    }
    if (count == 0 || p->answered)
        return;
    p->answered = true;
    if (p->fixture->canned.len == 0)
        return;
    uv_buf_t out =
        uv_buf_init((char *)(uintptr_t)p->fixture->canned.data, (unsigned)p->fixture->canned.len);
    assert_int_equal(uv_write(&p->write, stream, &out, 1, on_peer_written), 0);
}

static void on_accept(void *arg, int fd)
{
    struct fixture *x = arg;
    struct peer *p = mem_zalloc(sizeof(*p));
    assert_non_null(p);
    p->fixture = x;
    p->open = true;
    assert_int_equal(uv_tcp_init(&x->loop, &p->tcp), 0);
    assert_int_equal(uv_tcp_open(&p->tcp, fd), 0);
    assert_true(x->peer_count < PEERS_MAX);
    x->peers[x->peer_count++] = p;
    assert_int_equal(uv_read_start((uv_stream_t *)&p->tcp, on_peer_alloc, on_peer_read), 0);
}

void fetch_fixture_make_origin(struct fixture *x, uint16_t port)
{
    (void)snprintf(x->url, sizeof(x->url), "http://127.0.0.1:%u", port);
    const struct fetch_origin_config config = {
        .url = x->url, .allow_private = true, .allow_http = true};
    assert_int_equal(fetch_origin_create(x->fl, &config, &x->origin, NULL), 0);
}

void fetch_fixture_serve(struct fixture *x)
{
    const struct httpd_config config = {
        .address = "127.0.0.1:0", .body_max_bytes = 4U << 20, .on_request = on_request, .arg = x};
    assert_int_equal(httpd_start(&x->loop, &config, &x->server, NULL), 0);
    fetch_fixture_make_origin(x, httpd_port(x->server));
}

void fetch_fixture_serve_bytes(struct fixture *x, struct str canned, bool close_after)
{
    const struct listener_config config = {
        .address = "127.0.0.1:0", .max_connections = PEERS_MAX, .on_accept = on_accept, .arg = x};
    x->canned = canned;
    x->close_after = close_after;
    assert_int_equal(listener_start(&x->loop, &config, &x->listener, NULL), 0);
    fetch_fixture_make_origin(x, listener_port(x->listener));
}

int fetch_fixture_set_up(void **state)
{
    struct fixture *x = mem_zalloc(sizeof(*x));
    assert_non_null(x);
    calm_clock();
    assert_int_equal(uv_loop_init(&x->loop), 0);
    x->fl = fetch_loop_create(&x->loop);
    assert_non_null(x->fl);
    buf_init(&x->body, 64U << 20);
    *state = x;
    return 0;
}

void fetch_fixture_set_true(void *flag)
{
    *(bool *)flag = true;
}

bool fetch_fixture_is_true(void *flag)
{
    return *(bool *)flag;
}

int fetch_fixture_tear_down(void **state)
{
    struct fixture *x = *state;
    if (x->origin != NULL)
        fetch_origin_close(x->origin, NULL, NULL);
    fetch_loop_close(x->fl, fetch_fixture_set_true, &x->loop_gone);
    assert_true(wire_run(&x->loop, fetch_fixture_is_true, &x->loop_gone));
    if (x->server != NULL) {
        httpd_close(x->server, fetch_fixture_set_true, &x->server_gone);
        assert_true(wire_run(&x->loop, fetch_fixture_is_true, &x->server_gone));
    }
    for (size_t i = 0; i < x->peer_count; i++)
        if (x->peers[i] != NULL)
            fetch_fixture_close_peer(x->peers[i]);
    if (x->listener != NULL) {
        listener_close(x->listener, fetch_fixture_set_true, &x->listener_gone);
        assert_true(wire_run(&x->loop, fetch_fixture_is_true, &x->listener_gone));
    }
    wire_run_turns(&x->loop, 3);
    assert_int_equal(uv_loop_close(&x->loop), 0);
    buf_deinit(&x->body);
    mem_free(x);
    return 0;
}

void fetch_fixture_begin(struct fixture *x, struct fetch_request request)
{
    if (request.method.data == NULL)
        request.method = STR("GET");
    if (request.target.data == NULL)
        request.target = STR("/");
    buf_clear(&x->body);
    x->dones = 0;
    x->heads = 0;
    x->pieces = 0;
    uv_update_time(&x->loop);
    assert_int_equal(fetch_start(x->origin, &request, &fetch_fixture_callbacks, x, &x->fetch), 0);
}

bool fetch_fixture_is_done(void *arg)
{
    return ((struct fixture *)arg)->dones > 0;
}

int fetch_fixture_run(struct fixture *x, struct fetch_request request)
{
    fetch_fixture_begin(x, request);
    assert_int_equal(x->dones, 0);
    assert_true(wire_run(&x->loop, fetch_fixture_is_done, x));
    wire_run_turns(&x->loop, 3);
    assert_int_equal(x->dones, 1);
    return x->result.status;
}
