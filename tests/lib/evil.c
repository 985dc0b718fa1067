#include "tests/lib/evil.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "tests/lib/fault.h"

#define SEND_BUFFER_BYTES 65536
#define FLOOD_BYTES       65536U /* A turn. */
#define REQUEST_BYTES_MAX (64U << 20)

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void advance(struct evil_peer *p);

/* ---- closing ---- */

static void on_peer_closed(uv_handle_t *handle)
{
    struct evil_peer *p = container_of(handle, struct evil_peer, tcp);
    p->closed = true;
    p->evil->handles--;
}

static void close_peer(struct evil_peer *p, bool reset)
{
    if (p->closing)
        return;
    p->closing = true;
    list_remove(&p->ticking);
    if (!reset || uv_tcp_close_reset(&p->tcp, on_peer_closed) != 0)
        uv_close((uv_handle_t *)&p->tcp, on_peer_closed);
}

static void note_gone(struct evil_peer *p)
{
    if (!p->gone && !p->closing) {
        p->gone = true;
        p->evil->gone++;
    }
    close_peer(p, false);
}

/* ---- turns ---- */

static void on_idle(uv_idle_t *idle)
{
    (void)idle; /* Being active is its whole work. */
}

static void tick(struct evil_peer *p)
{
    struct evil *e = p->evil;
    if (p->closing || !list_empty(&p->ticking))
        return;
    list_push_back(&e->ticking, &p->ticking);
    check(uv_idle_start(&e->idle, on_idle) == 0);
}

/* After the poll of a turn, so that the client had the chance to read what was sent before. */
static void on_check(uv_check_t *handle)
{
    struct evil *e = container_of(handle, struct evil, check);
    struct list now;
    struct list *node;
    fault_suspend();
    list_init(&now);
    while ((node = list_pop_front(&e->ticking)) != NULL)
        list_push_back(&now, node);
    (void)uv_idle_stop(&e->idle);
    while ((node = list_pop_front(&now)) != NULL)
        advance(container_of(node, struct evil_peer, ticking));
    fault_continue();
}

/* ---- sending ---- */

struct sending {
    uv_write_t write;
    struct evil_peer *peer;
    bool of_script;
    char bytes[];
};

/* Pieces are a turn apart; what is sent whole goes on at once. */
static bool is_turnwise(const struct evil_step *step)
{
    return step->what == EVIL_FLOOD || (step->what == EVIL_SEND && step->count != 0);
}

static void on_sent(uv_write_t *write, int status)
{
    struct sending *s = container_of(write, struct sending, write);
    struct evil_peer *p = s->peer;
    bool of_script = s->of_script;
    fault_suspend();
    mem_free(s);
    if (of_script)
        p->pending--;
    if (status != 0 && status != UV_ECANCELED)
        note_gone(p);
    else if (of_script && !p->closing && is_turnwise(&p->script->steps[p->at]))
        tick(p);
    else if (of_script && !p->closing)
        advance(p);
    fault_continue();
}

void evil_write_raw(struct evil_peer *p, struct str bytes, bool of_script)
{
    struct sending *s = mem_alloc(sizeof(*s) + bytes.len);
    check(s != NULL);
    s->peer = p;
    s->of_script = of_script;
    if (bytes.len > 0)
        memcpy(s->bytes, bytes.data, bytes.len);
    uv_buf_t data = uv_buf_init(s->bytes, (unsigned)bytes.len);
    if (of_script)
        p->pending++;
    if (uv_write(&s->write, (uv_stream_t *)&p->tcp, &data, 1, on_sent) != 0) {
        p->pending -= of_script;
        mem_free(s);
        note_gone(p);
    }
}

static void send_plain(struct evil_peer *p, struct str bytes)
{
    p->sent += bytes.len;
    if (p->tls != NULL)
        evil_tls_send(p, bytes);
    else
        evil_write_raw(p, bytes, true);
}

static void on_shut(uv_shutdown_t *shutdown, int status)
{
    (void)status;
    mem_free(shutdown);
}

static void shut(struct evil_peer *p)
{
    if (p->tls != NULL)
        evil_tls_shut(p);
    uv_shutdown_t *s = mem_alloc(sizeof(*s));
    check(s != NULL);
    if (uv_shutdown(s, (uv_stream_t *)&p->tcp, on_shut) != 0)
        mem_free(s);
}

/* ---- steps ---- */

static bool head_came(struct evil_peer *p)
{
    if (p->in_body)
        return true;
    enum http1_result result = http1_head_parse(&p->head, p->in.data, p->in.len);
    check(result != HTTP1_REJECTED); /* The client's fault, and never wanted. */
    if (result != HTTP1_DONE)
        return false;
    p->in_body = true;
    p->scanned = p->head.head_bytes;
    http1_body_init(&p->body, &p->head, REQUEST_BYTES_MAX);
    return true;
}

static bool request_came(struct evil_peer *p)
{
    struct evil *e = p->evil;
    if (!head_came(p))
        return false;
    for (;;) {
        struct str rest = {p->in.data + p->scanned, p->in.len - p->scanned};
        struct str piece;
        enum http1_result result = http1_body_next(&p->body, &rest, &piece);
        p->scanned = p->in.len - rest.len;
        check(result != HTTP1_REJECTED);
        if (result == HTTP1_MORE)
            return false;
        if (result == HTTP1_DONE)
            break;
    }
    buf_clear(&e->last);
    check(buf_append(&e->last, p->in.data, p->scanned) == 0);
    buf_consume(&p->in, p->scanned);
    http1_request_init(&p->head);
    p->in_body = false;
    p->requests++;
    e->requests++;
    return true;
}

static void flood(struct evil_peer *p, const struct evil_step *step)
{
    static char wave[FLOOD_BYTES];
    size_t len = 0;
    check(step->bytes.len <= sizeof(wave));
    do {
        memcpy(wave + len, step->bytes.data, step->bytes.len);
        len += step->bytes.len;
        p->progress++;
    } while (len + step->bytes.len <= sizeof(wave) && p->progress != step->count);
    send_plain(p, (struct str){.data = wave, .len = len});
}

/* true: the step is done, false: it waits. */
static bool send_step(struct evil_peer *p, const struct evil_step *step)
{
    if (p->pending > 0)
        return false;
    if (step->what == EVIL_FLOOD) {
        if (step->count != 0 && p->progress == step->count)
            return true;
        flood(p, step);
        return false;
    }
    if (p->progress == step->bytes.len)
        return true;
    size_t n = step->count != 0 ? step->count : step->bytes.len;
    struct str piece = str_slice(step->bytes, p->progress, p->progress + n);
    p->progress += piece.len;
    send_plain(p, piece);
    return false;
}

static bool run_step(struct evil_peer *p, const struct evil_step *step)
{
    switch (step->what) {
    case EVIL_END:
        return false;
    case EVIL_HEAD:
        return head_came(p);
    case EVIL_REQUEST:
        return request_came(p);
    case EVIL_TAKE:
        if (p->in.len < step->count)
            return false;
        buf_consume(&p->in, step->count);
        return true;
    case EVIL_SEND:
    case EVIL_FLOOD:
        return send_step(p, step);
    case EVIL_TURNS:
        if (p->progress++ >= step->count)
            return true;
        tick(p);
        return false;
    case EVIL_HOLD:
        if (p->progress == 0)
            p->evil->notes++;
        p->progress = p->progress == 0 ? 1 : p->progress;
        return p->progress == 2;
    case EVIL_DEAF:
        (void)uv_read_stop((uv_stream_t *)&p->tcp);
        return true;
    case EVIL_SHUT:
        shut(p);
        return true;
    case EVIL_CLOSE:
    case EVIL_RESET:
        close_peer(p, step->what == EVIL_RESET);
        return false;
    case EVIL_AGAIN:
        return true;
    }
    return false;
}

static void advance(struct evil_peer *p)
{
    while (!p->closing) {
        const struct evil_step *step = &p->script->steps[p->at];
        if (!run_step(p, step))
            return;
        p->progress = 0;
        p->at = step->what == EVIL_AGAIN ? 0 : p->at + 1;
    }
}

/* ---- connections ---- */

static char scratch[65536];

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    (void)handle;
    (void)suggested;
    *out = uv_buf_init(scratch, sizeof(scratch));
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *data)
{
    struct evil_peer *p = container_of((uv_tcp_t *)stream, struct evil_peer, tcp);
    if (count < 0) {
        note_gone(p);
        return;
    }
    if (count == 0)
        return;
    fault_suspend();
    size_t before = p->in.len;
    if (p->tls != NULL)
        evil_tls_feed(p, (struct str){.data = data->base, .len = (size_t)count});
    else
        check(buf_append(&p->in, data->base, (size_t)count) == 0);
    p->received += p->in.len - before;
    advance(p);
    fault_continue();
}

static void on_connection(uv_stream_t *server, int status)
{
    struct evil *e = container_of((uv_tcp_t *)server, struct evil, tcp);
    check(status == 0 && e->script_count > 0 && e->connections < EVIL_CONNECTIONS_MAX);
    fault_suspend();
    struct evil_peer *p = mem_zalloc(sizeof(*p));
    int fd, bytes = SEND_BUFFER_BYTES;
    check(p != NULL);
    p->evil = e;
    p->script =
        &e->scripts[e->connections < e->script_count ? e->connections : e->script_count - 1];
    list_init(&p->ticking);
    buf_init(&p->in, REQUEST_BYTES_MAX);
    http1_request_init(&p->head);
    e->peers[e->connections++] = p;
    e->handles++;
    check(uv_tcp_init(e->loop, &p->tcp) == 0);
    check(uv_accept(server, (uv_stream_t *)&p->tcp) == 0);
    check(uv_tcp_nodelay(&p->tcp, 1) == 0);
    check(uv_fileno((uv_handle_t *)&p->tcp, &fd) == 0);
    check(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)) == 0);
    if (e->tls != NULL)
        evil_tls_open(p);
    check(uv_read_start((uv_stream_t *)&p->tcp, on_alloc, on_read) == 0);
    advance(p);
    fault_continue();
}

void evil_start(struct evil *e, uv_loop_t *loop, SSL_CTX *tls)
{
    struct sockaddr_in address;
    struct sockaddr_storage bound;
    int len = sizeof(bound);
    memset(e, 0, sizeof(*e));
    e->loop = loop;
    e->tls = tls;
    list_init(&e->ticking);
    buf_init(&e->last, REQUEST_BYTES_MAX);
    check(uv_ip4_addr("127.0.0.1", 0, &address) == 0);
    check(uv_tcp_init(loop, &e->tcp) == 0 && uv_check_init(loop, &e->check) == 0);
    check(uv_idle_init(loop, &e->idle) == 0 && uv_check_start(&e->check, on_check) == 0);
    uv_unref((uv_handle_t *)&e->check);
    e->handles = 3;
    check(uv_tcp_bind(&e->tcp, (const struct sockaddr *)&address, 0) == 0);
    check(uv_listen((uv_stream_t *)&e->tcp, 1024, on_connection) == 0);
    check(uv_tcp_getsockname(&e->tcp, (struct sockaddr *)&bound, &len) == 0);
    memcpy(&address, &bound, sizeof(address));
    e->port = ntohs(address.sin_port);
}

void evil_script(struct evil *e, const struct evil_step *steps, size_t count)
{
    check(e->script_count < EVIL_SCRIPTS_MAX && count < EVIL_STEPS_MAX);
    struct evil_script *s = &e->scripts[e->script_count++];
    *s = (struct evil_script){0};
    memcpy(s->steps, steps, count * sizeof(*steps));
}

void evil_go(struct evil *e)
{
    for (unsigned i = 0; i < e->connections; i++) {
        struct evil_peer *p = e->peers[i];
        if (p->closing || p->script->steps[p->at].what != EVIL_HOLD)
            continue;
        p->progress = 2;
        advance(p);
    }
}

uint64_t evil_sent(const struct evil *e)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < e->connections; i++) {
        const struct evil_peer *p = e->peers[i];
        sum += p->sent;
        if (!p->closing)
            sum -= uv_stream_get_write_queue_size((const uv_stream_t *)&p->tcp);
    }
    return sum;
}

static void on_handle_closed(uv_handle_t *handle)
{
    ((struct evil *)handle->data)->handles--;
}

void evil_stop(struct evil *e)
{
    uv_handle_t *own[] = {(uv_handle_t *)&e->tcp, (uv_handle_t *)&e->check,
                          (uv_handle_t *)&e->idle};
    for (size_t i = 0; i < 3; i++) {
        own[i]->data = e;
        uv_close(own[i], on_handle_closed);
    }
    for (unsigned i = 0; i < e->connections; i++)
        close_peer(e->peers[i], false);
    while (e->handles > 0)
        (void)uv_run(e->loop, UV_RUN_ONCE);
    for (unsigned i = 0; i < e->connections; i++) {
        SSL_free(e->peers[i]->tls);
        buf_deinit(&e->peers[i]->in);
        mem_free(e->peers[i]);
    }
    buf_deinit(&e->last);
}

/* ---- the wall ---- */

void evil_wall_start(struct evil_wall *w)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    const struct sockaddr *to = (const struct sockaddr *)(const void *)&address;
    w->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(w->listener >= 0 && bind(w->listener, to, len) == 0 && listen(w->listener, 0) == 0);
    check(getsockname(w->listener, (struct sockaddr *)(void *)&address, &len) == 0);
    w->port = ntohs(address.sin_port);
    for (size_t i = 0; i < sizeof(w->fillers) / sizeof(w->fillers[0]); i++) {
        w->fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        check(w->fillers[i] >= 0);
        (void)connect(w->fillers[i], to, len); /* Under way for ever. */
    }
}

void evil_wall_stop(struct evil_wall *w)
{
    for (size_t i = 0; i < sizeof(w->fillers) / sizeof(w->fillers[0]); i++)
        (void)close(w->fillers[i]);
    (void)close(w->listener);
}
