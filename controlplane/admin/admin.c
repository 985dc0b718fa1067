/* A request's way: route by method and path, authenticate, read the body, prepare on the loop, run
 * on a worker, finish on the loop, answer. Unknown paths are 404 only for those who authenticated:
 * to a stranger every path is 401. */
#include "controlplane/admin/admin.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/crypto/digest.h"
#include "controlplane/admin/call.h"

#define PREFIX        "/api/v1"
#define OUT_BYTES_MAX (32U << 20)
#define BODY_MAX      65536U

/* A row whose role is ROLE_NONE has an array of negative size in it. */
#define ROLE(r) ((enum admin_role)((r) + 0 * (int)sizeof(char[(r) != ROLE_NONE ? 1 : -1])))
#define READ(path, role_, prepare_, run_, finish_)                                                 \
    {                                                                                              \
        "GET", path, ROLE(role_), false, prepare_, run_, finish_                                   \
    }
#define CHANGE(path, role_, run_, finish_)                                                         \
    {                                                                                              \
        "POST", path, ROLE(role_), true, NULL, run_, finish_                                       \
    }

static const struct admin_route routes[] = {
    READ("/status", ROLE_OPERATOR, NULL, status_run, status_finish),
    READ("/keys", ROLE_OPERATOR, NULL, keys_list, NULL),
    CHANGE("/keys", ROLE_OPERATOR, keys_create, NULL),
    CHANGE("/keys/{id}/disable", ROLE_OPERATOR, keys_disable, NULL),
    READ("/models", ROLE_OPERATOR, models_list, NULL, NULL),
    READ("/policies", ROLE_OPERATOR, NULL, policies_list, NULL),
    READ("/policies/{name}/frontier", ROLE_OPERATOR, NULL, policies_frontier, NULL),
    READ("/policies/{name}/{version}", ROLE_OPERATOR, NULL, policies_show, NULL),
    CHANGE("/policies/{name}/train", ROLE_OPERATOR, train_run, train_finish),
    CHANGE("/policies/{name}/rollback", ROLE_OPERATOR, policies_rollback, NULL),
    CHANGE("/policies/{name}/{version}/promote", ROLE_OPERATOR, policies_promote, NULL),
    READ("/jobs/{id}", ROLE_OPERATOR, NULL, jobs_show, NULL),
    READ("/decisions", ROLE_OPERATOR, NULL, decisions_list, NULL),
    CHANGE("/decisions/replay", ROLE_OPERATOR, decisions_replay, NULL),
    READ("/decisions/{id}", ROLE_OPERATOR, NULL, decisions_show, NULL),
    READ("/decisions/{id}/why", ROLE_OPERATOR, NULL, decisions_why, NULL),
    READ("/report", ROLE_OPERATOR, NULL, report_run, NULL),
    READ("/audit", ROLE_OPERATOR, NULL, audit_list, NULL),
};
#define ROUTES (sizeof routes / sizeof routes[0])

struct admin {
    struct admin_config config;
    struct httpd *httpd;
};

bool admin_route_at(size_t i, const char **out_method, const char **out_pattern)
{
    if (i >= ROUTES)
        return false;
    *out_method = routes[i].method;
    *out_pattern = routes[i].pattern;
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

static void reply_err(struct httpd_request *req, int status, const struct err *err)
{
    char code[40];
    lower(err_name(status), code, sizeof code);
    reply_problem(req, status_of(status), code,
                  err != NULL && err->message[0] != '\0' ? err->message : err_text(status));
}

/* --- one call ------------------------------------------------------------------------------------
 */

static void call_free(struct admin_call *call)
{
    json_decref(call->body);
    publish_set_unref(call->set);
    buf_deinit(&call->out);
    mem_free(call);
}

static void call_answer(struct admin_call *call, int rc, struct err *err)
{
    if (call->route->finish != NULL)
        rc = call->route->finish(call, rc, err);
    /* A replay writes its lines by itself. */
    if (rc == 0 && call->route->run != decisions_replay)
        rc = json_writer_finish(&call->w);
    if (rc != 0)
        reply_err(call->req, rc, err);
    else
        httpd_reply(call->req, call->status == 0 ? 200 : call->status,
                    call->route->run == decisions_replay ? STR("application/x-ndjson")
                                                         : STR("application/json"),
                    buf_str(&call->out));
    if (rc == 0 && call->publish_changed)
        publish_refresh(call->config->publish);
    call_free(call);
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

static void call_begin(struct admin *a, const struct admin_route *route, struct httpd_request *req,
                       const char param[2][CALL_PARAM_BYTES])
{
    struct err err = {0};
    struct admin_call *call = mem_zalloc(sizeof *call);
    if (call == NULL) {
        httpd_abort(req);
        return;
    }
    call->admin = a;
    call->config = &a->config;
    call->route = route;
    call->req = req;
    call->term = *a->config.term;
    call->label_maturity_ms = *a->config.label_maturity_ms;
    call->connected_nodes = *a->config.nodes == NULL ? 0 : nodes_connected(*a->config.nodes);
    memcpy(call->param, param, sizeof call->param);
    buf_init(&call->out, OUT_BYTES_MAX);
    json_writer_init(&call->w, &call->out);
    call->set = publish_current(a->config.publish);
    if (call->set != NULL)
        publish_set_ref(call->set);
    int rc = 0;
    if (route->changes) {
        rc = read_body(call, &err);
        if (rc == 0 && call->term == 0 && route->run != decisions_replay)
            rc = err_set(&err, ERR_UNAVAILABLE, "the database is not ready for changes");
    }
    if (rc == 0 && route->prepare != NULL)
        rc = route->prepare(call, &err);
    if (rc == 0 && route->run != NULL) {
        rc = work_submit(a->config.work, on_work, on_work_done, call);
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

static bool authenticated(const struct admin *a, struct str header)
{
    struct str expected = secret_get(a->config.key);
    struct str given =
        str_starts(header, STR("Bearer ")) ? str_slice(header, 7, header.len) : STR_NULL;
    /* Digests are compared, so neither length nor content decides how long it takes. */
    struct sha256 have = digest_sha256(given.data, given.len);
    struct sha256 want = digest_sha256(expected.data, expected.len);
    bool equal = digest_equal(have.bytes, want.bytes, SHA256_BYTES);
    return equal && expected.len > 0 && given.len > 0;
}

static void on_request(void *arg, struct httpd_request *req)
{
    struct admin *a = arg;
    char param[2][CALL_PARAM_BYTES] = {"", ""};
    struct str path = httpd_path(req);
    const char *method = http1_method_name(httpd_method(req));
    bool known_path = false;
    if (!authenticated(a, httpd_header(req, STR("authorization")))) {
        if (httpd_add_header(req, STR("WWW-Authenticate"), STR("Bearer")) != 0)
            httpd_abort(req);
        else
            reply_problem(req, 401, "unauthenticated", "a valid operator key is needed");
        return;
    }
    if (!str_starts(path, STR(PREFIX))) {
        reply_problem(req, 404, "not_found", "no such path");
        return;
    }
    path = str_slice(path, sizeof PREFIX - 1, path.len);
    for (size_t i = 0; i < ROUTES; i++) {
        if (!match(routes[i].pattern, path, param))
            continue;
        known_path = true;
        if (strcmp(routes[i].method, method) == 0) {
            call_begin(a, &routes[i], req, (const char(*)[CALL_PARAM_BYTES])param);
            return;
        }
    }
    if (known_path)
        reply_problem(req, 405, "method_not_allowed", "not with this method");
    else
        reply_problem(req, 404, "not_found", "no such path");
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
    *out_admin = a;
    return 0;
}

uint16_t admin_port(const struct admin *a)
{
    return httpd_port(a->httpd);
}

void admin_drain(struct admin *a)
{
    httpd_drain(a->httpd);
}

struct closing {
    struct admin *admin;
    httpd_close_cb cb;
    void *arg;
};

static void on_closed(void *arg)
{
    struct closing c = *(struct closing *)arg;
    mem_free(arg);
    mem_free(c.admin);
    if (c.cb != NULL)
        c.cb(c.arg);
}

void admin_close(struct admin *a, httpd_close_cb cb, void *arg)
{
    struct closing *c = mem_zalloc(sizeof *c);
    assert(c != NULL); /* 24 bytes at shutdown. */
    *c = (struct closing){.admin = a, .cb = cb, .arg = arg};
    httpd_close(a->httpd, on_closed, c);
}
