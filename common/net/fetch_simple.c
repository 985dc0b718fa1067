/* Small exchanges with whole bodies, on top of fetch_start alone. */
#include <assert.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/net/fetch.h"

struct simple {
    fetch_simple_cb cb;
    void *arg;
    struct buf body; /* Of the request. */
    struct fetch_reply reply;
    int status;
};

static enum fetch_flow on_body(void *arg, struct fetch *f, struct str piece)
{
    struct simple *s = arg;
    int rc = buf_append_str(&s->reply.body, piece);
    if (rc != 0) {
        s->status = rc;
        fetch_cancel(f);
    }
    return FETCH_GO;
}

static void simple_destroy(struct simple *s)
{
    buf_deinit(&s->body);
    buf_deinit(&s->reply.body);
    mem_free(s);
}

static void on_done(void *arg, struct fetch *f, const struct fetch_result *result)
{
    struct simple *s = arg;
    s->reply.result = *result;
    if (s->status != 0)
        s->reply.result.status = s->status;
    s->reply.content_type = fetch_header(f, STR("content-type"));
    s->cb(s->arg, &s->reply);
    simple_destroy(s);
}

int fetch_simple(struct fetch_origin *o, const struct fetch_request *request, fetch_simple_cb cb,
                 void *arg, struct fetch **out_fetch)
{
    static const struct fetch_callbacks callbacks = {.on_body = on_body, .on_done = on_done};
    struct simple *s = mem_zalloc(sizeof(*s));
    if (s == NULL)
        return ERR_NOMEM;
    s->cb = cb;
    s->arg = arg;
    buf_init(&s->reply.body, request->body_max_bytes != 0 ? request->body_max_bytes : 16U << 20);
    buf_init(&s->body, SIZE_MAX >> 2);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < request->body_count; i++)
        rc = buf_append_str(&s->body, request->body[i]);
    struct str whole = buf_str(&s->body);
    struct fetch_request copy = *request;
    copy.body = &whole;
    copy.body_count = whole.len > 0 ? 1 : 0;
    if (rc == 0)
        rc = fetch_start(o, &copy, &callbacks, s, out_fetch);
    if (rc != 0)
        simple_destroy(s);
    return rc;
}

struct blocking {
    struct fetch_result result;
    struct buf *body;
    int status;
    bool done;
};

static void on_blocking_done(void *arg, const struct fetch_reply *reply)
{
    struct blocking *b = arg;
    b->result = reply->result;
    b->status = buf_append_str(b->body, buf_str(&reply->body));
    b->done = true;
}

static int run_blocking(struct fetch_origin *o, uv_loop_t *loop, struct blocking *b,
                        const struct fetch_origin_config *config,
                        const struct fetch_request *request, struct err *err)
{
    int rc = fetch_simple(o, request, on_blocking_done, b, NULL);
    if (rc != 0)
        return err_set(err, rc, "request to %s: %s", config->url, err_text(rc));
    while (!b->done)
        (void)uv_run(loop, UV_RUN_ONCE);
    rc = b->result.status != 0 ? b->result.status : b->status;
    if (rc != 0)
        return err_set(err, rc, "request to %s: %s (%s)", config->url, err_text(rc),
                       fetch_phase_name(b->result.phase));
    return 0;
}

int fetch_blocking(const struct fetch_origin_config *config, const struct fetch_request *request,
                   unsigned *out_http_status, struct buf *out_body, struct err *err)
{
    uv_loop_t loop;
    struct fetch_origin *o = NULL;
    struct blocking b = {.body = out_body};
    int rc = err_from_uv(uv_loop_init(&loop));
    if (rc != 0)
        return err_set(err, rc, "event loop: %s", err_text(rc));
    buf_init(out_body, request->body_max_bytes != 0 ? request->body_max_bytes : 16U << 20);
    struct fetch_loop *fl = fetch_loop_create(&loop);
    if (fl == NULL) {
        rc = err_set(err, ERR_NOMEM, "event loop: out of memory");
        goto out;
    }
    rc = fetch_origin_create(fl, config, &o, err);
    if (rc == 0) {
        rc = run_blocking(o, &loop, &b, config, request, err);
        fetch_origin_close(o, NULL, NULL);
    }
    fetch_loop_close(fl, NULL, NULL);
    (void)uv_run(&loop, UV_RUN_DEFAULT); /* Until every handle is closed. */
    if (rc == 0)
        *out_http_status = b.result.http_status;
out:
    if (uv_loop_close(&loop) != 0)
        assert(!"a handle is still open");
    return rc;
}
