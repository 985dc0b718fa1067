/* Usual path: client_call -> exchange on the client's own loop until on_done -> reply as JSON.
 * Every failure is told once, where it is known: no server, no answer, an error answer. */
#include "controlplane/ctl/client.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/net/fetch.h"
#include "controlplane/ctl/discover.h"

#define REPLY_BYTES_MAX (256U << 20)
#define LINE_BYTES_MAX  (1U << 20)
#define PATH_PREFIX     "/api/v1"

struct client {
    uv_loop_t loop;
    uv_signal_t interrupt;
    struct fetch_loop *fetch;
    struct fetch_origin *origin;
    struct discovered where;
    bool interrupted;
    struct exchange *running;
    uv_timer_t timer;
    bool timer_fired;
};

struct exchange {
    struct client *client;
    struct fetch *fetch;
    struct buf body;
    unsigned status;
    struct fetch_result result;
    bool done, stopped;
    client_line_cb on_line;
    void *line_arg;
};

static void on_interrupt(uv_signal_t *handle, int number)
{
    struct client *cl = container_of(handle, struct client, interrupt);
    (void)number;
    cl->interrupted = true;
    if (cl->running != NULL && cl->running->fetch != NULL)
        fetch_cancel(cl->running->fetch);
    uv_stop(&cl->loop);
}

static int client_create(const struct ctl *c, struct client **out, struct err *err)
{
    struct client *cl = mem_zalloc(sizeof(*cl));
    if (cl == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    int rc = discover_server(c, &cl->where, err);
    if (rc != 0) {
        mem_free(cl);
        return rc;
    }
    bool loop_ready = uv_loop_init(&cl->loop) == 0;
    cl->fetch = loop_ready ? fetch_loop_create(&cl->loop) : NULL;
    struct fetch_origin_config config = {
        .url = cl->where.server, .allow_private = true, .allow_http = true, .max_connections = 2};
    rc = cl->fetch == NULL ? err_set(err, ERR_NOMEM, "out of memory")
                           : fetch_origin_create(cl->fetch, &config, &cl->origin, err);
    if (rc != 0) {
        if (cl->fetch != NULL)
            fetch_loop_close(cl->fetch, NULL, NULL);
        if (loop_ready) {
            uv_run(&cl->loop, UV_RUN_DEFAULT);
            uv_loop_close(&cl->loop);
        }
        mem_free(cl);
        return rc;
    }
    uv_signal_init(&cl->loop, &cl->interrupt);
    uv_signal_start(&cl->interrupt, on_interrupt, SIGINT);
    uv_timer_init(&cl->loop, &cl->timer);
    *out = cl;
    return 0;
}

void client_destroy(struct client *cl)
{
    if (cl == NULL)
        return;
    fetch_origin_close(cl->origin, NULL, NULL);
    fetch_loop_close(cl->fetch, NULL, NULL);
    uv_close((uv_handle_t *)&cl->interrupt, NULL);
    uv_close((uv_handle_t *)&cl->timer, NULL);
    uv_run(&cl->loop, UV_RUN_DEFAULT);
    uv_loop_close(&cl->loop);
    mem_free(cl);
}

static enum fetch_flow on_head(void *arg, struct fetch *f, unsigned status)
{
    (void)f;
    ((struct exchange *)arg)->status = status;
    return FETCH_GO;
}

/* Hands over the whole lines that have come. False: the receiver wants no more. */
static bool deliver_lines(struct exchange *x)
{
    ptrdiff_t end;
    while ((end = str_find(buf_str(&x->body), '\n')) >= 0) {
        json_t *line = json_loadb(x->body.data, (size_t)end, 0, NULL);
        bool more = line == NULL || x->on_line(x->line_arg, line);
        json_decref(line);
        buf_consume(&x->body, (size_t)end + 1);
        if (!more)
            return false;
    }
    return true;
}

static enum fetch_flow on_body(void *arg, struct fetch *f, struct str piece)
{
    struct exchange *x = arg;
    if (x->stopped)
        return FETCH_GO;
    if (buf_append_str(&x->body, piece) != 0 ||
        (x->on_line != NULL && x->status == 200 && !deliver_lines(x))) {
        x->stopped = true;
        fetch_cancel(f);
    }
    return FETCH_GO;
}

static void on_done(void *arg, struct fetch *f, const struct fetch_result *result)
{
    struct exchange *x = arg;
    (void)f;
    x->result = *result;
    x->fetch = NULL;
    x->done = true;
    uv_stop(&x->client->loop);
}

static const struct fetch_callbacks callbacks = {
    .on_head = on_head, .on_body = on_body, .on_done = on_done};

static int exchange_run(struct client *cl, struct exchange *x, const char *method, const char *path,
                        const json_t *body, uint64_t timeout_ms)
{
    char bearer[300], target[2048];
    char *text = NULL;
    int n = snprintf(target, sizeof(target), "%s%s", PATH_PREFIX, path);
    if (n < 0 || (size_t)n >= sizeof(target))
        return ERR_TOO_LARGE;
    snprintf(bearer, sizeof(bearer), "Bearer %s", cl->where.key);
    struct fetch_field fields[2];
    size_t field_count = 0;
    if (cl->where.key[0] != '\0')
        fields[field_count++] = (struct fetch_field){STR("authorization"), str_from(bearer)};
    if (body != NULL) {
        text = json_dumps(body, JSON_COMPACT | JSON_REAL_PRECISION(15));
        if (text == NULL)
            return ERR_NOMEM;
        fields[field_count++] = (struct fetch_field){STR("content-type"), STR("application/json")};
    }
    struct str span = str_from(text);
    uint32_t limit = timeout_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)timeout_ms;
    struct fetch_request request = {
        .method = str_from(method),
        .target = str_from(target),
        .fields = fields,
        .field_count = field_count,
        .body = text != NULL ? &span : NULL,
        .body_count = text != NULL ? 1 : 0,
        .timeouts = {.head_ms = limit,
                     .first_byte_ms = limit,
                     .idle_ms = limit,
                     .total_ms = x->on_line != NULL ? 86400000U : limit},
        .body_max_bytes = REPLY_BYTES_MAX};
    int rc = fetch_start(cl->origin, &request, &callbacks, x, &x->fetch);
    if (rc == 0) {
        cl->running = x;
        while (!x->done)
            uv_run(&cl->loop, UV_RUN_DEFAULT);
        cl->running = NULL;
        rc = x->result.status;
    }
    mem_free(text);
    return rc;
}

static enum ctl_exit exit_of_status(unsigned status)
{
    if (status >= 200 && status < 300)
        return CTL_OK;
    if (status == 401 || status == 403)
        return CTL_AUTH;
    if (status == 404)
        return CTL_NOT_FOUND;
    if (status == 409 || status == 412)
        return CTL_CONFLICT;
    return status == 502 || status == 503 || status == 504 ? CTL_UNREACHABLE : CTL_FAILED;
}

/* Who asked for a change and does not hear how it went has to look, and not just ask again. */
static const char *hint(const struct exchange *x, const char *method, int rc)
{
    if (x->result.request_taken && strcmp(method, "GET") != 0)
        return "; it may have been done all the same: look before you try again";
    return rc == ERR_REFUSED ? "; is it running?" : "";
}

static enum ctl_exit tell_transport(struct ctl *c, const struct exchange *x, const char *method,
                                    int rc)
{
    if (c->client->interrupted)
        return ctl_fail(c, CTL_FAILED, "interrupted%s", hint(x, method, rc));
    enum ctl_exit code = rc == ERR_TOO_LARGE || rc == ERR_NOMEM ? CTL_FAILED : CTL_UNREACHABLE;
    return ctl_fail(c, code, "no answer from %s (%s): %s%s", c->client->where.server,
                    c->client->where.source, err_text(rc), hint(x, method, rc));
}

/* RFC 9457 members, and `code`. */
static enum ctl_exit tell_problem(struct ctl *c, const struct exchange *x, const json_t *problem)
{
    const char *detail = json_string_value(json_object_get(problem, "detail"));
    const char *title = json_string_value(json_object_get(problem, "title"));
    const char *code = json_string_value(json_object_get(problem, "code"));
    enum ctl_exit result = exit_of_status(x->status);
    if (result == CTL_AUTH && c->client->where.key[0] == '\0')
        return ctl_fail(c, result, "%s needs an operator key: set STEELYARD_OPERATOR_KEY",
                        c->client->where.server);
    if (detail == NULL)
        detail = title != NULL ? title : "the server refused";
    return ctl_fail(c, result, "%s (%u%s%s)", detail, x->status, code != NULL ? ", " : "",
                    code != NULL ? code : "");
}

static enum ctl_exit open_client(struct ctl *c)
{
    struct err err = {0};
    if (c->client != NULL)
        return CTL_OK;
    int rc = client_create(c, &c->client, &err);
    if (rc == 0)
        return CTL_OK;
    return ctl_fail(c, rc == ERR_NOT_FOUND ? CTL_UNREACHABLE : CTL_USAGE, "%s", err.message);
}

static enum ctl_exit call(struct ctl *c, const char *method, const char *path, json_t *body,
                          client_line_cb on_line, void *arg, bool silent, json_t **out_reply)
{
    enum ctl_exit code = open_client(c);
    struct exchange x = {.on_line = on_line, .line_arg = arg};
    if (code != CTL_OK) {
        json_decref(body);
        return code;
    }
    x.client = c->client;
    buf_init(&x.body, on_line != NULL ? LINE_BYTES_MAX : REPLY_BYTES_MAX);
    int rc = exchange_run(c->client, &x, method, path, body, c->timeout_ms);
    json_decref(body);
    json_t *reply = rc == 0 && x.body.len > 0 ? json_loadb(x.body.data, x.body.len, 0, NULL) : NULL;
    if (x.stopped && !c->client->interrupted)
        code = CTL_OK; /* The receiver had enough. */
    else if (rc != 0)
        code = silent ? CTL_UNREACHABLE : tell_transport(c, &x, method, rc);
    else if (exit_of_status(x.status) != CTL_OK)
        code = silent ? exit_of_status(x.status) : tell_problem(c, &x, reply);
    else if (on_line == NULL && reply == NULL && out_reply != NULL)
        code = silent ? CTL_FAILED : ctl_fail(c, CTL_FAILED, "the server's answer is not JSON");
    if (code == CTL_OK && out_reply != NULL)
        *out_reply = reply;
    else
        json_decref(reply);
    buf_deinit(&x.body);
    return code;
}

enum ctl_exit client_call(struct ctl *c, const char *method, const char *path, json_t *body,
                          json_t **out_reply)
{
    return call(c, method, path, body, NULL, NULL, false, out_reply);
}

enum ctl_exit client_try(struct ctl *c, const char *method, const char *path, json_t **out_reply)
{
    return call(c, method, path, NULL, NULL, NULL, true, out_reply);
}

enum ctl_exit client_stream(struct ctl *c, const char *method, const char *path, json_t *body,
                            client_line_cb on_line, void *arg)
{
    assert(on_line != NULL);
    return call(c, method, path, body, on_line, arg, false, NULL);
}

static void on_timer(uv_timer_t *timer)
{
    struct client *cl = container_of(timer, struct client, timer);
    cl->timer_fired = true;
    uv_stop(&cl->loop);
}

bool client_wait(struct ctl *c, unsigned ms)
{
    struct client *cl = c->client;
    assert(cl != NULL && "after the first call");
    cl->timer_fired = false;
    uv_timer_start(&cl->timer, on_timer, ms, 0);
    while (!cl->timer_fired && !cl->interrupted)
        uv_run(&cl->loop, UV_RUN_DEFAULT);
    uv_timer_stop(&cl->timer);
    return cl->interrupted;
}

bool client_interrupted(const struct ctl *c)
{
    return c->client != NULL && c->client->interrupted;
}

enum ctl_exit client_list(struct ctl *c, const char *path_with_query, uint64_t limit,
                          json_t **out_items)
{
    json_t *all = json_array();
    struct buf path;
    buf_init(&path, 4096);
    enum ctl_exit code = all != NULL ? CTL_OK : CTL_FAILED;
    char cursor[512] = "";
    for (bool more = true; more && code == CTL_OK;) {
        json_t *page = NULL;
        buf_clear(&path);
        int rc = buf_append_text(&path, path_with_query);
        if (rc == 0 && cursor[0] != '\0') {
            rc = buf_printf(&path, "%scursor=", strchr(path_with_query, '?') != NULL ? "&" : "?");
            if (rc == 0)
                rc = client_escape(cursor, &path);
        }
        const char *text = rc == 0 ? buf_cstr(&path) : NULL;
        code = text != NULL ? client_call(c, "GET", text, NULL, &page)
                            : ctl_fail(c, CTL_FAILED, "the request is too long");
        if (code != CTL_OK)
            break;
        (void)json_array_extend(all, json_object_get(page, "items"));
        const char *next = json_string_value(json_object_get(page, "next"));
        more = next != NULL && next[0] != '\0' && strcmp(next, cursor) != 0 &&
               str_copy(str_from(next), cursor, sizeof(cursor)) &&
               (limit == 0 || json_array_size(all) < limit);
        json_decref(page);
    }
    while (limit > 0 && json_array_size(all) > limit)
        (void)json_array_remove(all, json_array_size(all) - 1);
    buf_deinit(&path);
    if (code == CTL_OK)
        *out_items = all;
    else
        json_decref(all);
    return code;
}

int client_escape(const char *text, struct buf *out)
{
    for (const char *p = text; *p != '\0'; p++) {
        unsigned char ch = (unsigned char)*p;
        bool plain = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
                     (ch >= '0' && ch <= '9') || ch == '-' || ch == '.' || ch == '_' || ch == '~';
        int rc = plain ? buf_append_char(out, *p) : buf_printf(out, "%%%02X", ch);
        if (rc != 0)
            return rc;
    }
    return 0;
}
