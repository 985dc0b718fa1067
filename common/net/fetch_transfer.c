/* One exchange. Usual path: waits for its turn, is given to curl, connects (the phases are seen by
 * the callbacks for opening a socket and for readiness to send), sends its spans, the head is
 * collected and parsed by our own strict parser, the body handed on piece by piece, curl says done,
 * on_done. It ends early when a deadline passes, the reply breaks a rule or a cap, the peer goes
 * away or the owner cancels; then the connection is closed, and on_done tells how far it had come.
 */
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "common/base/mem.h"
#include "common/net/fetch_internal.h"

static uint64_t now_of(const struct fetch *f)
{
    return uv_now(f->origin->loop->uv);
}

void fetch_note_status(struct fetch *f, int status)
{
    if (f->result.status == 0)
        f->result.status = status;
}

static size_t on_read(char *out, size_t size, size_t count, void *fetch)
{
    struct fetch *f = fetch;
    size_t room = size * count;
    size_t done = 0;
    while (done < room && f->span_at < f->span_count) {
        struct str span = f->spans[f->span_at];
        struct str piece = str_slice(span, f->span_offset, f->span_offset + (room - done));
        if (piece.len > 0)
            memcpy(out + done, piece.data, piece.len);
        done += piece.len;
        f->span_offset += piece.len;
        if (f->span_offset == span.len) {
            f->span_at++;
            f->span_offset = 0;
        }
    }
    f->result.sent_bytes += done;
    return done;
}

bool fetch_sent(const struct fetch *f)
{
    return f->span_at == f->span_count;
}

/* curl would send a request again on a new connection when an old one turned out dead. Whether a
 * body may be sent twice is not its decision (each attempt is recorded and billed): refused. */
static int on_seek(void *fetch, curl_off_t offset, int origin)
{
    struct fetch *f = fetch;
    if (origin == SEEK_SET && offset == 0 && f->result.sent_bytes == 0)
        return CURL_SEEKFUNC_OK;
    fetch_note_status(f, ERR_CLOSED);
    return CURL_SEEKFUNC_FAIL;
}

/* The last moment before the request goes out, also on a connection that was used before: curl
 * looks whether such a one was closed, but takes waiting bytes for a good sign. They were sent
 * before anything was asked, so they are no reply (F20): the exchange ends as if the peer had
 * closed. */
static int on_ready_to_send(void *fetch, char *remote_ip, char *local_ip, int remote_port,
                            int local_port)
{
    struct fetch *f = fetch;
    (void)remote_ip;
    (void)local_ip;
    (void)remote_port;
    if (f->result.phase >= FETCH_HEAD) { /* curl's own second try; see on_seek. */
        fetch_note_status(f, ERR_CLOSED);
        return CURL_PREREQFUNC_ABORT;
    }
    struct fetch_socket *s = fetch_socket_at(f->origin, f->fd, local_port);
    f->on_used = s != NULL && s->used;
    if (f->on_used && fetch_socket_has_bytes(s)) {
        fetch_note_status(f, ERR_CLOSED);
        return CURL_PREREQFUNC_ABORT;
    }
    if (s != NULL)
        fetch_socket_use(s, f);
    f->result.phase = FETCH_HEAD;
    f->ready_ms = now_of(f);
    fetch_arm(f);
    return CURL_PREREQFUNC_OK;
}

/* Options that hold for every exchange with this origin. */
static CURLcode set_fixed_options(struct fetch *f)
{
    struct fetch_origin *o = f->origin;
    CURLcode rc = CURLE_OK;
#define SET(option, value)                                                                         \
    do {                                                                                           \
        if (rc == CURLE_OK)                                                                        \
            rc = curl_easy_setopt(f->easy, option, value);                                         \
    } while (0)
    SET(CURLOPT_URL, o->url);
    SET(CURLOPT_PRIVATE, f);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L);
    SET(CURLOPT_PROTOCOLS_STR, o->https ? "https" : "http");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_HTTP09_ALLOWED, 0L);
    SET(CURLOPT_PATH_AS_IS, 1L);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_CONNECTTIMEOUT_MS, 3600000L); /* Deadlines are ours, per phase. */
    SET(CURLOPT_OPENSOCKETFUNCTION, fetch_on_open);
    SET(CURLOPT_OPENSOCKETDATA, f);
    SET(CURLOPT_CLOSESOCKETFUNCTION, fetch_on_close);
    SET(CURLOPT_CLOSESOCKETDATA, o);
    SET(CURLOPT_PREREQFUNCTION, on_ready_to_send);
    SET(CURLOPT_PREREQDATA, f);
    SET(CURLOPT_READFUNCTION, on_read);
    SET(CURLOPT_READDATA, f);
    SET(CURLOPT_SEEKFUNCTION, on_seek);
    SET(CURLOPT_SEEKDATA, f);
    SET(CURLOPT_HEADERFUNCTION, fetch_on_head_line);
    SET(CURLOPT_HEADERDATA, f);
    SET(CURLOPT_HTTP_TRANSFER_DECODING, 0L); /* Chunks come raw, for our own strict reader. */
    SET(CURLOPT_WRITEFUNCTION, fetch_on_body);
    SET(CURLOPT_WRITEDATA, f);
    if (o->ca_file != NULL)
        SET(CURLOPT_CAINFO, o->ca_file);
    if (o->client_cert_file != NULL)
        SET(CURLOPT_SSLCERT, o->client_cert_file);
    if (o->client_key_file != NULL)
        SET(CURLOPT_SSLKEY, o->client_key_file);
#undef SET
    return rc;
}

static struct fetch *fetch_create(struct fetch_origin *o)
{
    struct fetch *f = mem_zalloc(sizeof(*f));
    if (f == NULL)
        return NULL;
    f->origin = o;
    list_init(&f->node);
    list_init(&f->resume);
    list_init(&f->opening);
    buf_init(&f->text, FETCH_TEXT_BYTES_MAX);
    buf_init(&f->head_bytes, HTTP1_RESPONSE_HEAD_BYTES_MAX);
    f->easy = curl_easy_init();
    if (f->easy == NULL || set_fixed_options(f) != CURLE_OK) {
        curl_easy_cleanup(f->easy);
        mem_free(f);
        return NULL;
    }
    (void)uv_timer_init(o->loop->uv, &f->timer);
    o->handles++;
    return f;
}

struct fetch *fetch_take_spare(struct fetch_origin *o)
{
    struct list *node = list_pop_front(&o->spare);
    struct fetch *f = NULL;
    if (node != NULL) {
        f = container_of(node, struct fetch, node);
        o->spare_count--;
    } else {
        f = fetch_create(o);
    }
    if (f == NULL)
        return NULL;
    f->state = FETCH_WAITING;
    f->head_done = false;
    f->paused = false;
    f->curl_paused = false;
    f->denied = false;
    f->silent = false;
    f->on_used = false;
    f->taken_bytes = 0;
    fetch_forbid_reuse(f, false);
    f->with_curl = false;
    f->fd = -1;
    f->tls_ms = 0;
    f->ready_ms = 0;
    f->last_byte_ms = 0;
    f->armed_ms = UINT64_MAX;
    f->result = (struct fetch_result){0};
    buf_clear(&f->head_bytes);
    return f;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct fetch *f = container_of(handle, struct fetch, timer);
    struct fetch_origin *o = f->origin;
    mem_free(f);
    fetch_origin_handle_closed(o);
}

void fetch_destroy(struct fetch *f)
{
    list_remove(&f->node);
    list_remove(&f->resume);
    curl_easy_cleanup(f->easy);
    f->easy = NULL;
    buf_deinit(&f->text);
    buf_deinit(&f->head_bytes);
    uv_close((uv_handle_t *)&f->timer, on_timer_closed);
}

/* curl has no callback between TCP and TLS, but the kernel knows whether the connection stands, and
 * how long ago the first bytes of the handshake were sent. */
static void notice_tls(struct fetch *f)
{
    struct sockaddr_storage peer;
    struct tcp_info info;
    socklen_t peer_len = sizeof(peer);
    socklen_t info_len = sizeof(info);
    if (f->result.phase != FETCH_CONNECT || !f->origin->https ||
        !fetch_socket_is_open(f->origin, f->fd) ||
        getpeername(f->fd, (struct sockaddr *)(void *)&peer, &peer_len) != 0 ||
        getsockopt(f->fd, IPPROTO_TCP, TCP_INFO, &info, &info_len) != 0)
        return;
    uint64_t now = now_of(f);
    f->result.phase = FETCH_TLS;
    f->tls_ms = now - (info.tcpi_last_data_sent < now ? info.tcpi_last_data_sent : 0);
    f->tls_ms = f->tls_ms > f->started_ms ? f->tls_ms : f->started_ms;
}

static uint64_t deadline_of(const struct fetch *f)
{
    const struct fetch_timeouts *t = &f->timeouts;
    uint64_t total = f->started_ms + t->total_ms;
    uint64_t phase = total;
    switch (f->result.phase) {
    case FETCH_RESOLVE:
    case FETCH_CONNECT:
        phase = f->started_ms + t->connect_ms;
        break;
    case FETCH_TLS:
        phase = f->tls_ms + t->tls_ms;
        break;
    case FETCH_HEAD:
        phase = f->ready_ms + t->head_ms;
        break;
    case FETCH_BODY:
        if (!f->paused)
            phase = f->result.body_bytes == 0 ? f->ready_ms + t->first_byte_ms
                                              : f->last_byte_ms + t->idle_ms;
        break;
    case FETCH_COMPLETE:
        break;
    }
    return phase < total ? phase : total;
}

static void on_deadline(uv_timer_t *timer)
{
    struct fetch *f = container_of(timer, struct fetch, timer);
    f->armed_ms = UINT64_MAX;
    if (f->state == FETCH_RUNNING)
        notice_tls(f);
    if (f->state == FETCH_ENDING)
        return;
    if (now_of(f) >= deadline_of(f))
        fetch_end(f, ERR_TIMEOUT);
    else
        fetch_arm(f);
}

/* The timer is only ever moved forward: a deadline that moved back is looked at when it fires. */
void fetch_arm(struct fetch *f)
{
    uint64_t deadline = deadline_of(f);
    if (deadline >= f->armed_ms)
        return;
    uint64_t now = now_of(f);
    f->armed_ms = deadline;
    (void)uv_timer_start(&f->timer, on_deadline, deadline > now ? deadline - now : 0, 0);
}

void fetch_begin(struct fetch *f)
{
    struct fetch_origin *o = f->origin;
    assert(f->state == FETCH_WAITING && o->curl_depth == 0);
    list_remove(&f->node);
    list_push_back(&o->running, &f->node);
    f->state = FETCH_RUNNING;
    f->with_curl = curl_multi_add_handle(o->multi, f->easy) == CURLM_OK;
    if (!f->with_curl)
        fetch_end(f, ERR_NOMEM);
}

void fetch_end(struct fetch *f, int status)
{
    struct fetch_origin *o = f->origin;
    if (f->state == FETCH_ENDING)
        return;
    fetch_note_status(f, status);
    /* Taking it back from curl may have to wait until curl is done with it: see fetch_finish. */
    f->silent = f->silent || status != 0;
    list_remove(&f->node);
    list_push_back(&o->ending, &f->node);
    if (f->with_curl)
        notice_tls(f);
    f->curl_paused = false;
    f->state = FETCH_ENDING;
    fetch_origin_wake(o);
}

static int connect_fault(const struct fetch *f)
{
    long os_errno = 0;
    if (f->denied)
        return ERR_DENIED;
    (void)curl_easy_getinfo(f->easy, CURLINFO_OS_ERRNO, &os_errno);
    if (os_errno == ECONNREFUSED)
        return ERR_REFUSED;
    return os_errno == ECONNRESET ? ERR_CLOSED : ERR_UNREACHABLE;
}

static int fault_of(const struct fetch *f, CURLcode code)
{
    switch ((int)code) {
    case CURLE_OK:
        return f->head_done ? 0 : ERR_CLOSED; /* curl takes half a head for a whole one. */
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return ERR_NOT_FOUND;
    case CURLE_COULDNT_CONNECT:
        return connect_fault(f);
    case CURLE_OPERATION_TIMEDOUT:
        return ERR_TIMEOUT;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ENGINE_INITFAILED:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
        return ERR_TLS;
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_SEND_FAIL_REWIND:
        return ERR_CLOSED;
    case CURLE_OUT_OF_MEMORY: /* Its word for a line of a head that is too long, too. */
        return f->result.phase == FETCH_HEAD ? ERR_TOO_LARGE : ERR_NOMEM;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_WRITE_ERROR:
    case CURLE_BAD_CONTENT_ENCODING:
        return ERR_PROTOCOL;
    default: /* Dozens of codes for what is not used here. */
        return ERR_UPSTREAM;
    }
}

void fetch_end_curl(struct fetch *f, CURLcode code)
{
    int status = fault_of(f, code);
    if (status == 0 && f->result.status == 0)
        f->result.phase = FETCH_COMPLETE;
    if (status == ERR_TLS && f->result.phase == FETCH_CONNECT)
        f->result.phase = FETCH_TLS; /* The socket is gone: too late for notice_tls. */
    fetch_end(f, status);
}

static void fill_result(struct fetch *f)
{
    struct fetch_origin *o = f->origin;
    struct fetch_result *r = &f->result;
    curl_off_t ready_us = 0;
    (void)curl_easy_getinfo(f->easy, CURLINFO_PRETRANSFER_TIME_T, &ready_us);
    r->request_sent = r->phase >= FETCH_HEAD;
    r->request_taken = r->request_sent && fetch_sent(f) &&
                       !(r->status == ERR_CLOSED && f->undelivered && !r->reply_seen);
    /* curl judges a first line before it hands it out. */
    r->reply_seen = r->reply_seen || (r->request_sent && r->status == ERR_PROTOCOL);
    r->reused = f->on_used;
    r->connect_ns = r->request_sent && !r->reused ? (uint64_t)ready_us * 1000 : 0;
    if (r->reused)
        o->stats.reused++;
}

void fetch_finish(struct fetch *f)
{
    struct fetch_origin *o = f->origin;
    assert(f->state == FETCH_ENDING && o->curl_depth == 0);
    if (f->with_curl) {
        fill_result(f);
        f->with_curl = false;
        (void)curl_multi_remove_handle(o->multi, f->easy);
    }
    fetch_socket_forget_opened(f);
    if (f->socket != NULL)
        f->socket->user = NULL;
    f->socket = NULL;
    (void)uv_timer_stop(&f->timer);
    list_remove(&f->node);
    list_remove(&f->resume);
    o->stats.running--;
    f->callbacks->on_done(f->arg, f, &f->result);
    f->state = FETCH_SPARE;
    if (o->spare_count >= FETCH_SPARE_MAX || o->closing) {
        fetch_destroy(f);
        return;
    }
    o->spare_count++;
    list_push_front(&o->spare, &f->node);
}

void fetch_unpause(struct fetch *f)
{
    if (f->state != FETCH_RUNNING || f->paused || !f->curl_paused)
        return;
    f->curl_paused = false;
    f->origin->curl_depth++;
    CURLcode rc = curl_easy_pause(f->easy, CURLPAUSE_CONT);
    f->origin->curl_depth--;
    if (rc != CURLE_OK)
        fetch_end(f, fault_of(f, rc));
}

void fetch_resume(struct fetch *f)
{
    if (!f->paused || f->state == FETCH_ENDING)
        return;
    f->paused = false;
    f->last_byte_ms = now_of(f);
    if (f->result.phase == FETCH_BODY)
        f->ready_ms = f->last_byte_ms; /* Where the wait for the first byte starts anew. */
    fetch_arm(f);
    if (!f->curl_paused)
        return;
    list_remove(&f->resume);
    list_push_back(&f->origin->resuming, &f->resume);
    fetch_origin_wake(f->origin);
}

void fetch_cancel(struct fetch *f)
{
    fetch_end(f, ERR_CANCELED);
}

struct str fetch_header(const struct fetch *f, struct str name)
{
    return f->head_done ? http1_field_get(&f->head, name) : STR_NULL;
}

size_t fetch_header_count(const struct fetch *f)
{
    return f->head_done ? f->head.field_count : 0;
}

void fetch_header_at(const struct fetch *f, size_t index, struct str *out_name,
                     struct str *out_value)
{
    *out_name = http1_field_name(&f->head, index);
    *out_value = http1_field_value(&f->head, index);
}

enum fetch_phase fetch_phase(const struct fetch *f)
{
    return f->result.phase;
}
