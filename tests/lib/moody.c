#include "tests/lib/moody.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/net/http1.h"

#define IN_BYTES_MAX (1U << 20)
#define DOOM_MS      4U

/* What it will do with the connection, drawn before each request. */
enum mood {
    MOOD_KEEP,
    MOOD_CLOSE_BEFORE,   /* Without reading. */
    MOOD_CLOSE_PART,     /* After some bytes. */
    MOOD_CLOSE_SILENT,   /* After all of it, no reply. */
    MOOD_CLOSE_IN_REPLY, /* After some of the reply. */
    MOOD_CLOSE_AFTER,    /* Right behind the reply. */
    MOOD_DOOM,           /* A few milliseconds from now, whatever is going on. */
    MOOD_COUNT,
};

struct peer {
    struct list link;
    struct moody *moody;
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
    struct buf text; /* The request's body, without its framing. */
    bool closing;
};

struct sending {
    uv_write_t write;
    struct peer *peer;
    void *token;
    enum moody_end end;
    bool then_close;
    char bytes[];
};

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void on_closed(uv_handle_t *handle)
{
    struct peer *p = handle->data;
    if (--p->handles > 0)
        return;
    list_remove(&p->link);
    buf_deinit(&p->in);
    buf_deinit(&p->text);
    mem_free(p);
}

/* A reset takes back what the other side's kernel does not have yet: a reply that was said to be
 * whole among it. */
static bool all_arrived(const struct peer *p)
{
    uv_os_fd_t fd;
    int left = 0;
    return uv_fileno((const uv_handle_t *)&p->tcp, &fd) == 0 && ioctl(fd, SIOCOUTQ, &left) == 0 &&
           left == 0;
}

static void close_peer(struct peer *p, bool reset)
{
    if (p->closing)
        return;
    p->closing = true;
    if (!reset || !all_arrived(p) || uv_tcp_close_reset(&p->tcp, on_closed) != 0)
        uv_close((uv_handle_t *)&p->tcp, on_closed);
    uv_close((uv_handle_t *)&p->timer, on_closed);
}

static void close_somehow(struct peer *p)
{
    close_peer(p, rand_below(3) != 0);
}

static void on_doom(uv_timer_t *timer)
{
    close_somehow(timer->data);
}

static void draw_mood(struct peer *p)
{
    unsigned keep = p->moody->config.keep_percent;
    p->mood = rand_below(100) < keep ? MOOD_KEEP : 1 + (enum mood)rand_below(MOOD_COUNT - 1);
    p->part_bytes = 1 + (size_t)rand_below(120);
    if (p->mood == MOOD_CLOSE_BEFORE)
        (void)uv_read_stop((uv_stream_t *)&p->tcp);
    if (p->mood == MOOD_CLOSE_BEFORE || p->mood == MOOD_DOOM)
        check(uv_timer_start(&p->timer, on_doom, rand_below(DOOM_MS), 0) == 0);
}

static void on_sent(uv_write_t *write, int status)
{
    struct sending *s = container_of(write, struct sending, write);
    const struct moody_config *config = &s->peer->moody->config;
    config->on_end(config->arg, s->token, status == 0 ? s->end : MOODY_CUT);
    if (s->then_close)
        close_peer(s->peer, false); /* In peace: a reset might take the reply back. */
    mem_free(s);
}

static void send_reply(struct peer *p, void *token, struct str reply)
{
    bool cut = p->mood == MOOD_CLOSE_IN_REPLY;
    size_t len = cut ? 1 + (size_t)rand_below(reply.len - 1) : reply.len;
    struct sending *s = mem_alloc(sizeof(*s) + len);
    check(s != NULL);
    s->peer = p;
    s->token = token;
    s->end = cut ? MOODY_CUT : p->mood == MOOD_DOOM ? MOODY_DOOMED : MOODY_WHOLE;
    s->then_close = cut || p->mood == MOOD_CLOSE_AFTER;
    memcpy(s->bytes, reply.data, len);
    uv_buf_t data = uv_buf_init(s->bytes, (unsigned)len);
    check(uv_write(&s->write, (uv_stream_t *)&p->tcp, &data, 1, on_sent) == 0);
}

static void answer(struct peer *p)
{
    const struct moody_config *config = &p->moody->config;
    struct buf reply;
    void *token = NULL;
    http1_head_rebase(&p->head, p->in.data);
    const struct moody_request request = {
        .target = p->head.target, .body = buf_str(&p->text), .on_used = p->served++ > 0};
    buf_init(&reply, IN_BYTES_MAX);
    config->on_request(config->arg, &request, &reply, &token);
    if (p->mood == MOOD_CLOSE_SILENT) {
        config->on_end(config->arg, token, MOODY_SILENT);
        close_somehow(p);
    } else {
        send_reply(p, token, buf_str(&reply));
    }
    buf_deinit(&reply);
}

static bool request_came(struct peer *p)
{
    if (!p->in_body) {
        enum http1_result result = http1_head_parse(&p->head, p->in.data, p->in.len);
        check(result != HTTP1_REJECTED);
        if (result != HTTP1_DONE)
            return false;
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
        if (result == HTTP1_DATA)
            check(buf_append_str(&p->text, piece) == 0);
        else
            return result == HTTP1_DONE;
    }
}

static void take_bytes(struct peer *p)
{
    if (!request_came(p))
        return;
    check(p->scanned == p->in.len); /* Nobody pipelines. */
    answer(p);
    buf_clear(&p->in);
    buf_clear(&p->text);
    http1_request_init(&p->head);
    p->in_body = false;
    bool last = p->mood == MOOD_CLOSE_AFTER || p->mood == MOOD_CLOSE_IN_REPLY;
    if (!p->closing && !last && p->mood != MOOD_DOOM)
        draw_mood(p);
}

static char scratch[65536];

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
        close_somehow(p);
        return;
    }
    if (count == 0)
        return;
    check(buf_append(&p->in, data->base, (size_t)count) == 0);
    take_bytes(p);
}

static void on_connection(uv_stream_t *server, int status)
{
    struct moody *m = server->data;
    struct peer *p = mem_zalloc(sizeof(*p));
    check(status == 0 && p != NULL);
    p->moody = m;
    p->handles = 2;
    m->connections++;
    list_init(&p->link);
    list_push_back(&m->peers, &p->link);
    buf_init(&p->in, IN_BYTES_MAX);
    buf_init(&p->text, IN_BYTES_MAX);
    http1_request_init(&p->head);
    check(uv_tcp_init(m->loop, &p->tcp) == 0 && uv_timer_init(m->loop, &p->timer) == 0);
    p->tcp.data = p->timer.data = p;
    check(uv_accept(server, (uv_stream_t *)&p->tcp) == 0);
    check(uv_read_start((uv_stream_t *)&p->tcp, on_alloc, on_read) == 0);
    draw_mood(p);
}

void moody_start(struct moody *m, uv_loop_t *loop, const struct moody_config *config)
{
    struct sockaddr_in address;
    struct sockaddr_storage bound;
    int len = sizeof(bound);
    *m = (struct moody){.loop = loop, .config = *config};
    list_init(&m->peers);
    check(uv_tcp_init(loop, &m->tcp) == 0 && uv_ip4_addr("127.0.0.1", 0, &address) == 0);
    m->tcp.data = m;
    check(uv_tcp_bind(&m->tcp, (const struct sockaddr *)&address, 0) == 0);
    check(uv_listen((uv_stream_t *)&m->tcp, 1024, on_connection) == 0);
    check(uv_tcp_getsockname(&m->tcp, (struct sockaddr *)&bound, &len) == 0);
    memcpy(&address, &bound, sizeof(address));
    m->port = ntohs(address.sin_port);
}

void moody_close(struct moody *m)
{
    uv_close((uv_handle_t *)&m->tcp, NULL);
    LIST_FOREACH (node, &m->peers)
        close_peer(container_of(node, struct peer, link), false);
}
