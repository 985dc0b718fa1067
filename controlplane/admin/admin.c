/* A request's way: authenticate (a credential that is not the operator key is looked up on a
 * worker), route by method and path, check the role, read the body, prepare on the loop, run on a
 * worker, finish on the loop, answer. Unknown paths are 404 only for those who authenticated: to a
 * stranger every path is 401. */
#include "controlplane/admin/admin.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "controlplane/admin/spec.h"

#define OUT_BYTES_MAX (32U << 20)
#define BODY_MAX      65536U

struct admin {
    struct admin_config config;
    struct httpd *httpd;
    struct spread spread;
};

bool admin_route_at(size_t i, struct admin_route_facts *out_facts)
{
    size_t at = 0;
    while (at < i && admin_routes[at].method != NULL)
        at++;
    const struct admin_route *r = &admin_routes[at];
    if (r->method == NULL)
        return false;
    *out_facts =
        (struct admin_route_facts){r->method, r->prefix, r->pattern, r->role, r->scoped, r->fields};
    return true;
}

/* --- answers -----------------------------------------------------------------------------------
 */

static unsigned status_of(int code)
{
    switch (code) {
    case ERR_INVALID:
    case ERR_SYNTAX:
    case ERR_RANGE:
        return 400;
    case ERR_UNAUTHENTICATED:
        return 401;
    case ERR_DENIED:
        return 403;
    case ERR_NOT_FOUND:
        return 404;
    case ERR_CONFLICT:
    case ERR_EXISTS:
        return 409;
    case ERR_TOO_LARGE:
        return 413;
    case ERR_UNAVAILABLE:
    case ERR_BUSY:
    case ERR_CANCELED:
    case ERR_NOMEM:
        return 503;
    case ERR_TIMEOUT:
        return 504;
    default:
        return 500;
    }
}

static const char *title_of(unsigned status)
{
    switch (status) {
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 409:
        return "Conflict";
    case 413:
        return "Content Too Large";
    case 503:
        return "Service Unavailable";
    case 504:
        return "Gateway Timeout";
    default:
        return "Internal Server Error";
    }
}

static void lower(const char *in, char *out, size_t out_bytes)
{
    size_t i = 0;
    for (; in[i] != '\0' && i + 1 < out_bytes; i++)
        out[i] = in[i] >= 'A' && in[i] <= 'Z' ? (char)(in[i] - 'A' + 'a') : in[i];
    out[i] = '\0';
}

/* RFC 9457. */
static void reply_problem(struct httpd_request *req, unsigned status, const char *code,
                          const char *detail)
{
    struct buf out = {0};
    struct json_writer w;
    buf_init(&out, 8192);
    json_writer_init(&w, &out);
    json_writer_begin_object(&w);
    json_writer_key(&w, "type");
    json_writer_text(&w, "about:blank");
    json_writer_key(&w, "title");
    json_writer_text(&w, title_of(status));
    json_writer_key(&w, "status");
    json_writer_u64(&w, status);
    json_writer_key(&w, "code");
    json_writer_text(&w, code);
    json_writer_key(&w, "detail");
    json_writer_text(&w, detail);
    json_writer_end_object(&w);
    if (json_writer_finish(&w) != 0)
        httpd_abort(req);
    else
        httpd_reply(req, status, STR("application/problem+json"), buf_str(&out));
    buf_deinit(&out);
}

/* As LiteLLM's proxy writes them. */
static void reply_litellm(struct httpd_request *req, unsigned status, const char *code,
                          const char *detail)
{
    struct buf out = {0};
    struct json_writer w;
    char number[12];
    snprintf(number, sizeof number, "%u", status);
    buf_init(&out, 8192);
    json_writer_init(&w, &out);
    json_writer_begin_object(&w);
    json_writer_key(&w, "error");
    json_writer_begin_object(&w);
    json_writer_key(&w, "message");
    json_writer_text(&w, detail);
    json_writer_key(&w, "type");
    json_writer_text(&w, code);
    json_writer_key(&w, "param");
    json_writer_null(&w);
    json_writer_key(&w, "code");
    json_writer_text(&w, number);
    json_writer_end_object(&w);
    json_writer_end_object(&w);
    if (json_writer_finish(&w) != 0)
        httpd_abort(req);
    else
        httpd_reply(req, status, STR("application/json"), buf_str(&out));
    buf_deinit(&out);
}

static void reply_err(struct httpd_request *req, enum admin_dialect dialect, int status,
                      const struct err *err)
{
    char code[40];
    const char *detail = err->message[0] != '\0' ? err->message : err_text(status);
    lower(err_name(status), code, sizeof code);
    if (status == ERR_UNAUTHENTICATED &&
        httpd_add_header(req, STR("WWW-Authenticate"), STR("Bearer")) != 0) {
        httpd_abort(req);
        return;
    }
    switch (dialect) {
    case DIALECT_STEELYARD:
        reply_problem(req, status_of(status), code, detail);
        break;
    case DIALECT_LITELLM:
        reply_litellm(req, status_of(status), code, detail);
        break;
    }
}

/* --- one call ------------------------------------------------------------------------------------
 */

static void call_free(struct admin_call *call)
{
    json_decref(call->body);
    json_decref(call->reply);
    publish_set_unref(call->set);
    buf_deinit(&call->out);
    mem_free(call);
}

static void call_send(struct admin_call *call, int rc, const struct err *err)
{
    if (rc == 0 && call->reply != NULL)
        rc = write_json(call, call->reply);
    /* A replay writes its lines by itself. */
    if (rc == 0 && call->route->run != decisions_replay)
        rc = json_writer_finish(&call->w);
    if (rc != 0)
        reply_err(call->req, call->route->dialect, rc, err);
    else
        httpd_reply(call->req, call->status == 0 ? 200 : call->status,
                    call->route->run == decisions_replay ? STR("application/x-ndjson")
                                                         : STR("application/json"),
                    buf_str(&call->out));
    call_free(call);
}

/* The change is made, whoever has it: how many have is in the answer, and never an error. */
static void on_spread(struct spread_wait *wait)
{
    struct admin_call *call = container_of(wait, struct admin_call, wait);
    const struct err err = {0};
    json_t *nodes =
        json_pack("{s:I, s:I, s:s}", "connected", (json_int_t)wait->count.connected, "acked",
                  (json_int_t)wait->count.acked, "ended", spread_end_name(wait->end));
    httpd_on_gone(call->req, NULL, NULL);
    call_send(call, json_object_set_new(call->reply, "nodes", nodes) != 0 ? ERR_NOMEM : 0, &err);
}

static void on_gone(void *arg, struct httpd_request *req)
{
    struct admin_call *call = arg;
    (void)req;
    spread_end(&call->admin->spread, &call->wait, SPREAD_GONE);
}

static void call_answer(struct admin_call *call, int rc, struct err *err)
{
    /* finish may turn an error of run into an answer, but never a refusal. */
    if (call->route->finish != NULL && call->is_allowed)
        rc = call->route->finish(call, rc, err);
    if (rc == 0 && call->publish_changed)
        publish_refresh(call->config->publish);
    if (rc != 0 || call->generation == 0 || call->wait_ms == 0) {
        call_send(call, rc, err);
        return;
    }
    call->wait = (struct spread_wait){.generation = call->generation,
                                      .wait_ms = call->wait_ms,
                                      .is_gone = httpd_is_gone(call->req),
                                      .on_end = on_spread};
    httpd_on_gone(call->req, on_gone, call);
    spread_begin(&call->admin->spread, &call->wait);
}

static int on_work(void *arg, struct pq_conn *conn, struct err *err)
{
    struct admin_call *call = arg;
    return call->route->run(call, conn, err);
}

static void on_work_done(void *arg, int status, const struct err *err)
{
    struct err copy = *err;
    call_answer(arg, status, &copy);
}

static int read_body(struct admin_call *call, struct err *err)
{
    struct str body = httpd_body(call->req);
    json_error_t where;
    if (body.len == 0) {
        call->body = json_object();
        return call->body == NULL ? ERR_NOMEM : 0;
    }
    call->body = json_loadb(body.data, body.len, JSON_REJECT_DUPLICATES, &where);
    if (call->body == NULL)
        return err_set(err, ERR_SYNTAX, "body is not valid JSON: line %d, column %d", where.line,
                       where.column);
    if (!json_is_object(call->body))
        return err_set(err, ERR_INVALID, "body must be a JSON object");
    return 0;
}

static void call_begin(struct admin_call *call)
{
    struct err err = {0};
    const struct admin_route *route = call->route;
    const struct admin_config *config = call->config;
    call->label_maturity_ms = *config->label_maturity_ms;
    call->connected_nodes = *config->nodes == NULL ? 0 : nodes_connected(*config->nodes);
    call->set = publish_current(config->publish);
    if (call->set != NULL)
        publish_set_ref(call->set);
    int rc = auth_allow(call, &err);
    call->is_allowed = rc == 0;
    if (rc == 0 && route->changes) {
        rc = read_body(call, &err);
        if (rc == 0)
            rc = call_check_fields(call->body, route->fields, &err);
        if (rc == 0)
            rc = change_read_wait(call, &err);
    }
    if (rc == 0 && route->prepare != NULL)
        rc = route->prepare(call, &err);
    if (rc == 0 && route->run != NULL) {
        rc = work_submit(config->work, on_work, on_work_done, call);
        if (rc == 0)
            return;
    }
    call_answer(call, rc, &err);
}

/* --- routing -------------------------------------------------------------------------------------
 */

/* Matches segment by segment; {…} takes one segment of 1 to 127 plain bytes. */
static bool match(const char *pattern, struct str path, char param[2][CALL_PARAM_BYTES])
{
    struct str want = str_from(pattern), want_head, have_head;
    unsigned used = 0;
    bool more_want = true, more_have = true;
    param[0][0] = param[1][0] = '\0'; /* Of a pattern that matched half. */
    while (more_want && more_have) {
        more_want = str_cut(want, '/', &want_head, &want);
        more_have = str_cut(path, '/', &have_head, &path);
        if (more_want != more_have)
            return false;
        if (want_head.len > 0 && want_head.data[0] == '{') {
            if (have_head.len == 0 || used == 2 || str_find(have_head, '%') >= 0 ||
                !str_copy(have_head, param[used], CALL_PARAM_BYTES))
                return false;
            used++;
        } else if (!str_eq(want_head, have_head)) {
            return false;
        }
    }
    return true;
}

/* For those who authenticated. */
static void call_route(struct admin_call *call)
{
    struct str path = httpd_path(call->req);
    const char *method = http1_method_name(httpd_method(call->req));
    bool known_path = false;
    for (const struct admin_route *r = admin_routes; r->method != NULL; r++) {
        size_t prefix = strlen(r->prefix);
        if (!str_starts(path, str_from(r->prefix)) ||
            !match(r->pattern, str_slice(path, prefix, path.len), call->param))
            continue;
        known_path = true;
        if (strcmp(r->method, method) == 0) {
            call->route = r;
            call_begin(call);
            return;
        }
    }
    if (known_path)
        reply_problem(call->req, 405, "method_not_allowed", "not with this method");
    else
        reply_problem(call->req, 404, "not_found", "no such path");
    call_free(call);
}

static void call_refuse(struct admin_call *call, int rc, const struct err *err)
{
    reply_err(call->req, DIALECT_STEELYARD, rc, err);
    call_free(call);
}

static int on_credential(void *arg, struct pq_conn *conn, struct err *err)
{
    return auth_find(arg, conn, err);
}

static void on_credential_done(void *arg, int status, const struct err *err)
{
    if (status != 0)
        call_refuse(arg, status, err);
    else
        call_route(arg);
}

static void on_request(void *arg, struct httpd_request *req)
{
    struct admin *a = arg;
    struct err err = {0};
    bool is_operator = false;
    struct admin_call *call = mem_zalloc(sizeof *call);
    if (call == NULL) {
        httpd_abort(req);
        return;
    }
    call->admin = a;
    call->config = &a->config;
    call->req = req;
    buf_init(&call->out, OUT_BYTES_MAX);
    json_writer_init(&call->w, &call->out);
    if (!auth_read(call, httpd_header(req, STR("authorization")), &is_operator)) {
        (void)err_set(&err, ERR_UNAUTHENTICATED, "a valid operator key is needed");
        call_refuse(call, ERR_UNAUTHENTICATED, &err);
    } else if (is_operator) {
        call_route(call);
    } else {
        int rc = work_submit(a->config.work, on_credential, on_credential_done, call);
        if (rc != 0)
            call_refuse(call, rc, &err);
    }
}

/* --- the server ----------------------------------------------------------------------------------
 */

bool admin_is_loopback(struct str address)
{
    return str_starts(address, STR("127.")) || str_starts(address, STR("[::1]:")) ||
           str_starts(address, STR("localhost:")) || str_starts(address, STR("unix:"));
}

int admin_start(uv_loop_t *loop, const struct admin_config *config, struct admin **out_admin,
                struct err *err)
{
    if (!admin_is_loopback(str_from(config->address)) && !config->allow_remote)
        return err_set(err, ERR_INVALID,
                       "--listen %s is not a loopback address and the admin API speaks no TLS; use "
                       "127.0.0.1:8090, or --admin-allow-remote behind something that adds TLS",
                       config->address);
    struct admin *a = mem_zalloc(sizeof *a);
    if (a == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    a->config = *config;
    struct httpd_config http = {.address = config->address,
                                .max_connections = 256,
                                .body_max_bytes = BODY_MAX,
                                .on_request = on_request,
                                .arg = a};
    int rc = httpd_start(loop, &http, &a->httpd, err);
    if (rc != 0) {
        mem_free(a);
        return rc;
    }
    spread_init(&a->spread, loop, &a->config);
    *out_admin = a;
    return 0;
}

uint16_t admin_port(const struct admin *a)
{
    return httpd_port(a->httpd);
}

uint32_t admin_busy(const struct admin *a)
{
    return httpd_busy(a->httpd);
}

struct spread_stats admin_spread_stats(const struct admin *a)
{
    return a->spread.stats;
}

void admin_drain(struct admin *a)
{
    httpd_drain(a->httpd);
    spread_drain(&a->spread);
}

struct closing {
    struct admin *admin;
    httpd_close_cb cb;
    void *arg;
};

static void on_spread_closed(void *arg)
{
    struct closing c = *(struct closing *)arg;
    mem_free(arg);
    mem_free(c.admin);
    if (c.cb != NULL)
        c.cb(c.arg);
}

static void on_httpd_closed(void *arg)
{
    struct closing *c = arg;
    spread_close(&c->admin->spread, on_spread_closed, c);
}

void admin_close(struct admin *a, httpd_close_cb cb, void *arg)
{
    struct closing *c = mem_zalloc(sizeof *c);
    assert(c != NULL); /* 24 bytes at shutdown. */
    *c = (struct closing){.admin = a, .cb = cb, .arg = arg};
    httpd_close(a->httpd, on_httpd_closed, c);
}
