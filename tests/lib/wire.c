#include "tests/lib/wire.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/list.h"
#include "common/base/mem.h"

#define GOT_BYTES_MAX (256U << 20)
#define DEADLINE_MS   120000U
#define BEAT_MS       20U

static char scratch[65536];

static void check(int rc)
{
    if (rc != 0)
        abort();
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    (void)handle;
    (void)suggested;
    *out = uv_buf_init(scratch, sizeof(scratch));
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *data)
{
    struct wire *w = container_of(stream, struct wire, tcp);
    if (count > 0)
        check(buf_append(&w->got, data->base, (size_t)count));
    if (count < 0) {
        w->ended = true;
        w->status = count == UV_EOF ? 0 : (int)count;
        (void)uv_read_stop(stream);
    }
}

static void begin(struct wire *w)
{
    w->connected = true;
    check(uv_read_start((uv_stream_t *)&w->tcp, on_alloc, on_read));
}

static void on_connected(uv_connect_t *connect, int status)
{
    struct wire *w = container_of(connect, struct wire, connect);
    if (status == 0) {
        begin(w);
        return;
    }
    w->ended = true;
    w->status = status;
}

static void prepare(struct wire *w, uv_loop_t *loop)
{
    memset(w, 0, sizeof(*w));
    buf_init(&w->got, GOT_BYTES_MAX);
    check(uv_tcp_init(loop, &w->tcp));
}

void wire_open(struct wire *w, uv_loop_t *loop, uint16_t port)
{
    struct sockaddr_in address;
    prepare(w, loop);
    check(uv_ip4_addr("127.0.0.1", port, &address));
    check(uv_tcp_connect(&w->connect, &w->tcp, (const struct sockaddr *)&address, on_connected));
}

void wire_open_unix(struct wire *w, uv_loop_t *loop, const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    prepare(w, loop);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || !str_copy(str_from(path), un.sun_path, sizeof(un.sun_path)))
        abort();
    check(connect(fd, (const struct sockaddr *)(const void *)&un, sizeof(un)));
    check(uv_tcp_open(&w->tcp, fd));
    begin(w);
}

struct sending {
    uv_write_t write;
    char bytes[];
};

static void on_sent(uv_write_t *write, int status)
{
    (void)status; /* A peer that is gone shows on the read side. */
    mem_free(container_of(write, struct sending, write));
}

void wire_send(struct wire *w, struct str bytes)
{
    struct sending *s = mem_alloc(sizeof(*s) + bytes.len);
    if (s == NULL)
        abort();
    memcpy(s->bytes, bytes.data, bytes.len);
    uv_buf_t data = uv_buf_init(s->bytes, (unsigned)bytes.len);
    check(uv_write(&s->write, (uv_stream_t *)&w->tcp, &data, 1, on_sent));
}

static void on_shut(uv_shutdown_t *shutdown, int status)
{
    (void)status;
    mem_free(shutdown);
}

void wire_shut(struct wire *w)
{
    uv_shutdown_t *s = mem_alloc(sizeof(*s));
    if (s == NULL)
        abort();
    check(uv_shutdown(s, (uv_stream_t *)&w->tcp, on_shut));
}

void wire_pause(struct wire *w, bool paused)
{
    if (paused)
        (void)uv_read_stop((uv_stream_t *)&w->tcp);
    else
        check(uv_read_start((uv_stream_t *)&w->tcp, on_alloc, on_read));
}

static void on_closed(uv_handle_t *handle)
{
    container_of(handle, struct wire, tcp)->closed = true;
}

static bool is_closed(void *arg)
{
    return ((struct wire *)arg)->closed;
}

void wire_close(struct wire *w)
{
    uv_loop_t *loop = w->tcp.loop;
    uv_close((uv_handle_t *)&w->tcp, on_closed);
    if (!wire_run(loop, is_closed, w))
        abort();
    buf_deinit(&w->got);
}

bool wire_has(struct wire *w, const char *text)
{
    return str_search(buf_str(&w->got), str_from(text)) >= 0;
}

static void on_beat(uv_timer_t *timer)
{
    (void)timer; /* That the loop turned is all. */
}

static void on_timer_closed(uv_handle_t *handle)
{
    *(bool *)handle->data = true;
}

/* A turn that begins with a timer that is due waits for descriptors all the same, so the timer here
 * comes often: done is asked BEAT_MS after such a one. */
static bool run_for(uv_loop_t *loop, wire_done_cb done, void *arg, uint64_t ms)
{
    uv_timer_t timer;
    bool ok = false, closed = false;
    check(uv_timer_init(loop, &timer));
    uv_update_time(loop);
    uint64_t until_ms = uv_now(loop) + ms;
    check(uv_timer_start(&timer, on_beat, ms < BEAT_MS ? ms : BEAT_MS, BEAT_MS));
    while (!(ok = done != NULL && done(arg)) && uv_now(loop) < until_ms)
        (void)uv_run(loop, UV_RUN_ONCE);
    timer.data = &closed;
    uv_close((uv_handle_t *)&timer, on_timer_closed);
    while (!closed)
        (void)uv_run(loop, UV_RUN_NOWAIT);
    return ok;
}

bool wire_run(uv_loop_t *loop, wire_done_cb done, void *arg)
{
    return run_for(loop, done, arg, DEADLINE_MS);
}

static bool has_ended(void *arg)
{
    return ((struct wire *)arg)->ended;
}

bool wire_run_until_ended(struct wire *w)
{
    return wire_run(w->tcp.loop, has_ended, w);
}

struct wanted {
    struct wire *wire;
    const char *text;
};

static bool has_wanted(void *arg)
{
    const struct wanted *wanted = arg;
    return wire_has(wanted->wire, wanted->text);
}

bool wire_run_until_has(struct wire *w, const char *text)
{
    struct wanted wanted = {.wire = w, .text = text};
    return wire_run(w->tcp.loop, has_wanted, &wanted);
}

void wire_run_turns(uv_loop_t *loop, int turns)
{
    for (int i = 0; i < turns; i++)
        (void)uv_run(loop, UV_RUN_NOWAIT);
}

void wire_run_ms(uv_loop_t *loop, uint64_t ms)
{
    (void)run_for(loop, NULL, NULL, ms);
}
