/* Loop and origin. Usual path: fetch_start puts an exchange on its origin's list and wakes the
 * loop; before the next poll (or right after the one it was called from) the origin gives it to
 * curl. uv tells curl about sockets and time; whenever curl returns, its results are taken and
 * on_done runs, never from inside curl and never from inside a caller's call. Closing an origin
 * cancels what it has, then closes connections and handles, and ends when the last handle has. */
#include "common/net/fetch.h"

#include <arpa/inet.h>
#include <assert.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/net/fetch_internal.h"

int fetch_global_init(struct err *err)
{
    CURLcode rc = curl_global_init_mem(CURL_GLOBAL_DEFAULT, mem_alloc, mem_free, mem_realloc,
                                       mem_strdup, mem_calloc);
    return rc == CURLE_OK ? 0 : err_set(err, ERR_INTERNAL, "curl: %s", curl_easy_strerror(rc));
}

void fetch_global_deinit(void)
{
    curl_global_cleanup();
}

const char *fetch_phase_name(enum fetch_phase phase)
{
    switch (phase) {
    case FETCH_RESOLVE:
        return "resolve";
    case FETCH_CONNECT:
        return "connect";
    case FETCH_TLS:
        return "tls";
    case FETCH_HEAD:
        return "head";
    case FETCH_BODY:
        return "body";
    case FETCH_COMPLETE:
        return "complete";
    }
    return "";
}

static void run_busy(struct fetch_loop *fl)
{
    struct list *node;
    while ((node = list_pop_front(&fl->busy)) != NULL)
        fetch_origin_run(container_of(node, struct fetch_origin, work));
    (void)uv_idle_stop(&fl->idle);
}

static void on_prepare(uv_prepare_t *prepare)
{
    run_busy(container_of(prepare, struct fetch_loop, prepare));
}

static void on_check(uv_check_t *check)
{
    run_busy(container_of(check, struct fetch_loop, check));
}

static void on_idle(uv_idle_t *idle)
{
    (void)idle; /* Being active is its whole work. */
}

void fetch_origin_wake(struct fetch_origin *o)
{
    if (!list_empty(&o->work))
        return;
    list_push_back(&o->loop->busy, &o->work);
    (void)uv_idle_start(&o->loop->idle, on_idle);
}

struct fetch_loop *fetch_loop_create(uv_loop_t *loop)
{
    struct fetch_loop *fl = mem_zalloc(sizeof(*fl));
    if (fl == NULL)
        return NULL;
    fl->uv = loop;
    list_init(&fl->origins);
    list_init(&fl->busy);
    for (size_t i = 0; i < FETCH_PORT_BUCKETS; i++)
        list_init(&fl->by_port[i]);
    (void)uv_prepare_init(loop, &fl->prepare);
    (void)uv_check_init(loop, &fl->check);
    (void)uv_idle_init(loop, &fl->idle);
    fl->handles = 3;
    (void)uv_prepare_start(&fl->prepare, on_prepare);
    (void)uv_check_start(&fl->check, on_check);
    uv_unref((uv_handle_t *)&fl->prepare); /* They alone keep no loop running. */
    uv_unref((uv_handle_t *)&fl->check);
    return fl;
}

static void on_loop_handle_closed(uv_handle_t *handle)
{
    struct fetch_loop *fl = handle->data;
    if (--fl->handles > 0)
        return;
    fetch_close_cb cb = fl->close_cb;
    void *arg = fl->close_arg;
    mem_free(fl->sockets);
    mem_free(fl);
    if (cb != NULL)
        cb(arg);
}

static void loop_close_handles(struct fetch_loop *fl)
{
    fl->prepare.data = fl;
    fl->check.data = fl;
    fl->idle.data = fl;
    uv_close((uv_handle_t *)&fl->prepare, on_loop_handle_closed);
    uv_close((uv_handle_t *)&fl->check, on_loop_handle_closed);
    uv_close((uv_handle_t *)&fl->idle, on_loop_handle_closed);
}

void fetch_loop_close(struct fetch_loop *fl, fetch_close_cb cb, void *arg)
{
    assert(!fl->closing);
    fl->closing = true;
    fl->close_cb = cb;
    fl->close_arg = arg;
    if (list_empty(&fl->origins))
        loop_close_handles(fl);
}

static void on_timer(uv_timer_t *timer)
{
    struct fetch_origin *o = container_of(timer, struct fetch_origin, timer);
    int running = 0;
    o->curl_depth++;
    (void)curl_multi_socket_action(o->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    o->curl_depth--;
    fetch_origin_run(o);
}

static int on_curl_timer(CURLM *multi, long timeout_ms, void *origin)
{
    struct fetch_origin *o = origin;
    (void)multi;
    if (timeout_ms < 0)
        (void)uv_timer_stop(&o->timer);
    else
        (void)uv_timer_start(&o->timer, on_timer, (uint64_t)timeout_ms, 0);
    return 0;
}

static bool copy_text(const char *text, char **out)
{
    *out = text != NULL ? mem_strdup(text) : NULL;
    return text == NULL || *out != NULL;
}

static void free_origin(struct fetch_origin *o)
{
    (void)curl_multi_cleanup(o->multi);
    mem_free(o->ca_file);
    mem_free(o->client_cert_file);
    mem_free(o->client_key_file);
    mem_free(o);
}

static bool set_up_multi(struct fetch_origin *o, const struct fetch_origin_config *c)
{
    long max = c->max_connections != 0 ? (long)c->max_connections : 256L;
    long idle = c->max_idle_connections != 0 ? (long)c->max_idle_connections : 64L;
    o->multi = curl_multi_init();
    return o->multi != NULL &&
           curl_multi_setopt(o->multi, CURLMOPT_SOCKETFUNCTION, fetch_on_socket) == CURLM_OK &&
           curl_multi_setopt(o->multi, CURLMOPT_SOCKETDATA, o) == CURLM_OK &&
           curl_multi_setopt(o->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer) == CURLM_OK &&
           curl_multi_setopt(o->multi, CURLMOPT_TIMERDATA, o) == CURLM_OK &&
           curl_multi_setopt(o->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING) == CURLM_OK &&
           curl_multi_setopt(o->multi, CURLMOPT_MAXCONNECTS, idle) == CURLM_OK &&
           curl_multi_setopt(o->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, max) == CURLM_OK;
}

int fetch_origin_create(struct fetch_loop *fl, const struct fetch_origin_config *config,
                        struct fetch_origin **out_origin, struct err *err)
{
    struct fetch_url url;
    int rc = fetch_check_origin(config, &url, err);
    if (rc != 0)
        return rc;
    struct fetch_origin *o = mem_zalloc(sizeof(*o));
    if (o == NULL)
        return err_set(err, ERR_NOMEM, "origin: out of memory");
    (void)str_copy(url.origin, o->url, sizeof(o->url)); /* It fits: that was checked. */
    o->https = url.tls;
    o->loop = fl;
    o->allow_private = config->allow_private;
    o->allow_metadata = config->allow_metadata;
    o->receive_buffer_bytes =
        config->receive_buffer_bytes != 0 ? config->receive_buffer_bytes : 65536;
    list_init(&o->work);
    list_init(&o->starting);
    list_init(&o->running);
    list_init(&o->ending);
    list_init(&o->resuming);
    list_init(&o->spare);
    if (!copy_text(config->ca_file, &o->ca_file) ||
        !copy_text(config->client_cert_file, &o->client_cert_file) ||
        !copy_text(config->client_key_file, &o->client_key_file) || !set_up_multi(o, config)) {
        free_origin(o);
        return err_set(err, ERR_NOMEM, "origin '%s': out of memory", config->url);
    }
    (void)uv_timer_init(fl->uv, &o->timer);
    o->handles = 1;
    list_push_back(&fl->origins, &o->node);
    *out_origin = o;
    return 0;
}

void fetch_origin_handle_closed(struct fetch_origin *o)
{
    assert(o->handles > 0);
    if (--o->handles > 0 || !o->closing)
        return;
    struct fetch_loop *fl = o->loop;
    fetch_close_cb cb = o->close_cb;
    void *arg = o->close_arg;
    list_remove(&o->node);
    list_remove(&o->work);
    free_origin(o);
    if (cb != NULL)
        cb(arg);
    if (fl->closing && list_empty(&fl->origins) && !uv_is_closing((uv_handle_t *)&fl->idle))
        loop_close_handles(fl);
}

static void on_origin_timer_closed(uv_handle_t *handle)
{
    fetch_origin_handle_closed(container_of(handle, struct fetch_origin, timer));
}

/* Nothing runs any more: connections, spare handles, timer. */
static void origin_close_handles(struct fetch_origin *o)
{
    struct list *node;
    while ((node = list_pop_front(&o->spare)) != NULL)
        fetch_destroy(container_of(node, struct fetch, node));
    o->spare_count = 0;
    o->curl_depth++;
    (void)curl_multi_cleanup(o->multi); /* Closes each connection through fetch_on_close. */
    o->multi = NULL;
    o->curl_depth--;
    uv_close((uv_handle_t *)&o->timer, on_origin_timer_closed);
}

static void take_results(struct fetch_origin *o)
{
    CURLMsg *message;
    int left = 0;
    while ((message = curl_multi_info_read(o->multi, &left)) != NULL) {
        char *f = NULL;
        if (message->msg == CURLMSG_DONE &&
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &f) == CURLE_OK && f != NULL)
            fetch_end_curl((struct fetch *)(void *)f, message->data.result);
    }
}

static void start_waiting(struct fetch_origin *o)
{
    struct list *node;
    int running = 0;
    bool any = false;
    while ((node = list_pop_front(&o->starting)) != NULL) {
        fetch_begin(container_of(node, struct fetch, node));
        any = true;
    }
    if (!any)
        return;
    o->curl_depth++;
    (void)curl_multi_socket_action(o->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    o->curl_depth--;
}

void fetch_origin_run(struct fetch_origin *o)
{
    struct list *node;
    if (o->curl_depth > 0 || o->multi == NULL)
        return;
    if (o->closing) {
        while ((node = list_pop_front(&o->starting)) != NULL)
            fetch_end(container_of(node, struct fetch, node), ERR_CANCELED);
        while ((node = list_pop_front(&o->running)) != NULL)
            fetch_end(container_of(node, struct fetch, node), ERR_CANCELED);
    }
    start_waiting(o);
    while ((node = list_pop_front(&o->resuming)) != NULL)
        fetch_unpause(container_of(node, struct fetch, resume));
    take_results(o);
    struct list
        ready; /* on_done may end others and start new ones: those wait for the next turn. */
    list_init(&ready);
    while ((node = list_pop_front(&o->ending)) != NULL)
        list_push_back(&ready, node);
    list_remove(&o->work);
    while ((node = list_pop_front(&ready)) != NULL)
        fetch_finish(container_of(node, struct fetch, node));
    if (o->closing && !o->closed && o->stats.running == 0) {
        o->closed = true;
        origin_close_handles(o);
    } else if (o->closing && !o->closed) {
        fetch_origin_wake(o);
    }
}

void fetch_origin_close(struct fetch_origin *o, fetch_close_cb cb, void *arg)
{
    assert(!o->closing);
    o->closing = true;
    o->close_cb = cb;
    o->close_arg = arg;
    fetch_origin_wake(o);
}

struct fetch_origin_stats fetch_origin_stats(const struct fetch_origin *o)
{
    return o->stats;
}

int fetch_start(struct fetch_origin *o, const struct fetch_request *request,
                const struct fetch_callbacks *callbacks, void *arg, struct fetch **out_fetch)
{
    assert(callbacks->on_done != NULL);
    if (o->closing)
        return ERR_CANCELED;
    struct fetch *f = fetch_take_spare(o);
    if (f == NULL)
        return ERR_NOMEM;
    int rc = fetch_prepare(f, request);
    if (rc != 0) {
        f->state = FETCH_SPARE;
        o->spare_count++;
        list_push_front(&o->spare, &f->node);
        return rc;
    }
    f->callbacks = callbacks;
    f->arg = arg;
    f->body_max_bytes = request->body_max_bytes != 0 ? request->body_max_bytes : 16U << 20;
    f->timeouts = fetch_timeouts_or_default(&request->timeouts);
    f->started_ms = uv_now(o->loop->uv);
    o->stats.started++;
    o->stats.running++;
    list_push_back(&o->starting, &f->node);
    fetch_arm(f);
    fetch_origin_wake(o);
    if (out_fetch != NULL)
        *out_fetch = f;
    return 0;
}
