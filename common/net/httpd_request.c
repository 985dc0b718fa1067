/* The handler's side: what a request says, and the answer on its way into the connection's buffer.
 */
#include <assert.h>

#include "common/net/httpd_internal.h"

enum http1_method httpd_method(const struct httpd_request *req)
{
    return httpd_conn_of(req)->head.method;
}

struct str httpd_path(const struct httpd_request *req)
{
    return httpd_conn_of(req)->head.path;
}

struct str httpd_query(const struct httpd_request *req)
{
    return httpd_conn_of(req)->head.query;
}

struct str httpd_body(const struct httpd_request *req)
{
    return req->body;
}

struct str httpd_header(const struct httpd_request *req, struct str name)
{
    return http1_field_get(&httpd_conn_of(req)->head, name);
}

const struct http1_head *httpd_head(const struct httpd_request *req)
{
    return &httpd_conn_of(req)->head;
}

uv_loop_t *httpd_loop(const struct httpd_request *req)
{
    return httpd_conn_of(req)->server->loop;
}

struct str httpd_query_get(const struct httpd_request *req, struct str name)
{
    struct str rest = httpd_query(req);
    bool more = rest.data != NULL;
    while (more) {
        struct str pair;
        struct str key;
        struct str value;
        more = str_cut(rest, '&', &pair, &rest);
        bool has_value = str_cut(pair, '=', &key, &value);
        if (str_eq(key, name))
            return has_value ? value : STR("");
    }
    return STR_NULL;
}

void httpd_set_user(struct httpd_request *req, void *user)
{
    req->user = user;
}

void *httpd_user(const struct httpd_request *req)
{
    return req->user;
}

void httpd_on_gone(struct httpd_request *req, httpd_event_cb cb, void *arg)
{
    req->gone_cb = cb;
    req->gone_arg = arg;
}

void httpd_on_drain(struct httpd_request *req, httpd_event_cb cb, void *arg)
{
    req->drain_cb = cb;
    req->drain_arg = arg;
}

bool httpd_is_gone(const struct httpd_request *req)
{
    return req->gone;
}

int httpd_add_header(struct httpd_request *req, struct str name, struct str value)
{
    assert(req->open && !req->streaming);
    if (str_eq_nocase(name, STR("content-length")) || str_eq_nocase(name, STR("connection")) ||
        str_eq_nocase(name, STR("transfer-encoding")) || str_eq_nocase(name, STR("date")))
        return ERR_INVALID;
    return http1_write_field(&req->headers, name, value);
}

int httpd_write_head(struct httpd_conn *c, unsigned status, struct str content_type,
                     bool has_length, uint64_t length, bool chunked)
{
    struct buf *out = &c->out;
    size_t before = out->len;
    int rc = http1_write_status_line(out, status);
    if (rc == 0)
        rc = http1_write_field(out, STR("Date"), str_from(httpd_date(c->server)));
    if (rc == 0 && content_type.data != NULL)
        rc = http1_write_field(out, STR("Content-Type"), content_type);
    if (rc == 0 && has_length)
        rc = http1_write_field_u64(out, STR("Content-Length"), length);
    if (rc == 0 && chunked)
        rc = http1_write_field(out, STR("Transfer-Encoding"), STR("chunked"));
    if (rc == 0 && c->close_after)
        rc = http1_write_field(out, STR("Connection"), STR("close"));
    if (rc == 0)
        rc = buf_append_str(out, buf_str(&c->req.headers));
    if (rc == 0)
        rc = http1_write_head_end(out);
    if (rc != 0)
        out->len = before;
    return rc;
}

static void decide_reuse(struct httpd_conn *c)
{
    if (!c->head.keep_alive || c->server->state != HTTPD_RUNNING)
        c->close_after = true;
}

static bool has_no_body(const struct httpd_conn *c, unsigned status)
{
    return c->head.method == HTTP1_HEAD || status == 204 || status == 304;
}

/* Nothing sensible can follow on this connection. */
static void give_up(struct httpd_conn *c, int rc)
{
    c->req.status = rc;
    c->close_after = true;
}

void httpd_reply(struct httpd_request *req, unsigned status, struct str content_type,
                 struct str body)
{
    struct httpd_conn *c = httpd_conn_of(req);
    assert(req->open && !req->streaming);
    if (!req->gone) {
        decide_reuse(c);
        size_t before = c->out.len;
        bool has_length = status != 204 && status != 304;
        int rc = httpd_write_head(c, status, content_type, has_length, body.len, false);
        if (rc == 0 && !has_no_body(c, status))
            rc = buf_append_str(&c->out, body);
        if (rc != 0) {
            c->out.len = before;
            give_up(c, rc);
        }
    }
    httpd_conn_finished(c);
}

static void flush_unless_processing(struct httpd_conn *c)
{
    if (!c->processing)
        httpd_conn_flush(c);
}

int httpd_start_stream(struct httpd_request *req, unsigned status, struct str content_type)
{
    struct httpd_conn *c = httpd_conn_of(req);
    assert(req->open && !req->streaming);
    req->streaming = true;
    if (req->status != 0)
        return req->status;
    if (c->head.minor_version == 0)
        c->close_after = true; /* HTTP/1.0 knows no chunks: the close ends it. */
    decide_reuse(c);
    req->chunked = c->head.minor_version == 1 && !has_no_body(c, status);
    req->raw = c->head.minor_version == 0 && !has_no_body(c, status);
    int rc = httpd_write_head(c, status, content_type, false, 0, req->chunked);
    if (rc != 0) {
        give_up(c, rc);
        return rc;
    }
    c->close_after = false; /* Not before the stream has ended; httpd_end decides again. */
    flush_unless_processing(c);
    return 0;
}

int httpd_write(struct httpd_request *req, struct str piece)
{
    struct httpd_conn *c = httpd_conn_of(req);
    const uint64_t mark = c->server->config.stream_mark_bytes;
    assert(req->open && req->streaming);
    if (req->status != 0)
        return req->status;
    if (c->broken)
        return ERR_CLOSED; /* The gone event is on its way. */
    if (httpd_conn_queued(c) + piece.len > mark * HTTPD_STREAM_LIMIT_FACTOR)
        return ERR_LIMIT;
    int rc = 0;
    if (req->chunked)
        rc = http1_write_chunk(&c->out, piece);
    else if (req->raw)
        rc = buf_append_str(&c->out, piece);
    if (rc != 0) {
        req->status = rc;
        return rc;
    }
    flush_unless_processing(c);
    if (httpd_conn_queued(c) <= mark)
        return 0;
    req->wants_drain = true;
    return ERR_AGAIN;
}

void httpd_end(struct httpd_request *req)
{
    struct httpd_conn *c = httpd_conn_of(req);
    assert(req->open && req->streaming);
    if (!req->gone) {
        decide_reuse(c);
        if (c->head.minor_version == 0 || req->status != 0 || c->broken)
            c->close_after = true;
        else if (req->chunked && buf_append_str(&c->out, HTTP1_LAST_CHUNK) != 0)
            c->close_after = true;
    }
    httpd_conn_finished(c);
}

void httpd_abort(struct httpd_request *req)
{
    struct httpd_conn *c = httpd_conn_of(req);
    assert(req->open);
    c->close_after = true;
    c->linger_after = false;
    httpd_conn_finished(c);
}
