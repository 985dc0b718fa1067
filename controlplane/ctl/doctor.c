/* Is it well? Asks the control plane and a node what a caller would ask, in this order, and says of
 * each what is wrong: control plane, schema, nodes; then, with a key made for it and taken back,
 * the node itself and, where a model is named, an answer whole and as a stream. What comes after a
 * failure that makes it pointless is skipped. With --in-cluster nothing is looked for on this
 * machine. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/net/fetch.h"
#include "controlplane/ctl/client.h"
#include "controlplane/ctl/discover.h"
#include "controlplane/ctl/nouns.h"
#include "controlplane/ctl/output.h"

#define POLL_MS        100U
#define ACCEPTED_TIMES 5U /* In a row: behind one address there may be several nodes. */
#define KEY_LIFE_S     600
#define URL_BYTES      512U
#define REPLY_BYTES    (1U << 20)

struct doctor {
    struct ctl *c;
    json_t *rows;
    bool failed;
    char node[URL_BYTES];
    char key[256], key_id[128];
};

static const struct column columns[] = {
    {.title = "CHECK", .path = "check"},
    {.title = "RESULT", .path = "result"},
    {.title = "DETAIL", .path = "detail"},
    {.title = NULL},
};

static void PRINTF_LIKE(4, 5)
    note(struct doctor *d, const char *check, const char *result, const char *format, ...)
{
    char detail[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    d->failed = d->failed || strcmp(result, "failed") == 0;
    (void)json_array_append_new(
        d->rows, json_pack("{s:s,s:s,s:s}", "check", check, "result", result, "detail", detail));
}

/* ---- the control plane's side ---- */

static void check_nodes(struct doctor *d, const json_t *status)
{
    size_t i;
    json_t *node;
    unsigned connected = 0, current = 0;
    json_array_foreach(json_object_get(status, "nodes"), i, node)
    {
        if (!json_is_true(json_object_get(node, "connected")))
            continue;
        connected++;
        current += json_integer_value(json_object_get(node, "lag_generations")) == 0;
    }
    note(d, "nodes", connected > 0 && current == connected ? "ok" : "failed",
         "%u connected, %u of them up to date", connected, current);
}

static enum ctl_exit check_control(struct doctor *d)
{
    json_t *status = NULL;
    enum ctl_exit code = client_call(d->c, "GET", "/status", NULL, &status);
    if (code != CTL_OK) {
        note(d, "control", "failed", "%s",
             code == CTL_AUTH ? "the operator key was refused" : "no answer");
        return code;
    }
    const char *version = json_string_value(json_object_get(status, "version"));
    const json_t *database = json_object_get(status, "database");
    bool up = json_is_true(json_object_get(database, "ok"));
    note(d, "control", "ok", "version %s", version != NULL ? version : "unknown");
    if (up)
        note(d, "schema", "ok", "%lld",
             (long long)json_integer_value(json_object_get(database, "schema")));
    else
        note(d, "schema", "failed", "the control plane has no database");
    check_nodes(d, status);
    json_decref(status);
    return CTL_OK;
}

/* ---- a caller's side ---- */

/* A request to the node as any caller makes it. */
static int ask(struct doctor *d, const char *method, const char *target, const char *body,
               unsigned *out_status, struct buf *out_reply, struct err *err)
{
    char bearer[sizeof d->key + 8];
    uint32_t limit = d->c->timeout_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)d->c->timeout_ms;
    (void)snprintf(bearer, sizeof bearer, "Bearer %s", d->key);
    const struct fetch_field fields[] = {{STR("authorization"), str_from(bearer)},
                                         {STR("content-type"), STR("application/json")}};
    struct str span = str_from(body);
    const struct fetch_origin_config origin = {
        .url = d->node, .allow_private = true, .allow_http = true, .max_connections = 1};
    const struct fetch_request request = {
        .method = str_from(method),
        .target = str_from(target),
        .fields = fields,
        .field_count = body != NULL ? 2 : 1,
        .body = body != NULL ? &span : NULL,
        .body_count = body != NULL ? 1 : 0,
        .timeouts = {.head_ms = limit, .first_byte_ms = limit, .idle_ms = limit, .total_ms = limit},
        .body_max_bytes = REPLY_BYTES};
    *out_status = 0;
    return fetch_blocking(&origin, &request, out_status, out_reply, err);
}

static bool make_key(struct doctor *d)
{
    char expires[40];
    json_t *made = NULL;
    clock_format_rfc3339(clock_wall_us() + KEY_LIFE_S * 1000000LL, expires);
    enum ctl_exit code =
        client_call(d->c, "POST", "/keys",
                    json_pack("{s:s,s:s}", "name", "steelyard doctor", "expires", expires), &made);
    const char *key = json_string_value(json_object_get(made, "key"));
    const char *id = json_string_value(json_object_get(made, "id"));
    bool ok = code == CTL_OK && key != NULL && id != NULL &&
              str_copy(str_from(key), d->key, sizeof d->key) &&
              str_copy(str_from(id), d->key_id, sizeof d->key_id);
    note(d, "key", ok ? "ok" : "failed", "%s",
         ok ? "made for this, and taken back" : "the control plane made none");
    json_decref(made);
    return ok;
}

static void take_key_back(struct doctor *d)
{
    struct buf path;
    json_t *reason = json_pack("{s:s}", "reason", "steelyard doctor is done");
    buf_init(&path, 1024);
    int rc = reason != NULL ? buf_append_text(&path, "/keys/") : ERR_NOMEM;
    if (rc == 0)
        rc = client_escape(d->key_id, &path);
    if (rc == 0)
        rc = buf_append_text(&path, "/delete");
    const char *text = rc == 0 ? buf_cstr(&path) : NULL;
    if (text == NULL)
        json_decref(reason); /* Else the call takes it. */
    if (text == NULL || client_call(d->c, "POST", text, reason, NULL) != CTL_OK)
        note(d, "key", "failed", "%s could not be taken back; it ends in ten minutes", d->key_id);
    buf_deinit(&path);
}

/* The key reaches nodes by push: asked until it is accepted several times in a row, as long as it
 * may still come. */
static bool check_node(struct doctor *d)
{
    unsigned status = 0, accepted = 0;
    struct err err = {0};
    for (uint64_t waited = 0; accepted < ACCEPTED_TIMES; waited += POLL_MS) {
        struct buf reply = {0};
        err = (struct err){0};
        int rc = ask(d, "GET", "/v1/models", NULL, &status, &reply, &err);
        buf_deinit(&reply);
        accepted = rc == 0 && status == 200 ? accepted + 1 : 0;
        bool may_come = rc != 0 || status == 401 || status == 503;
        if (accepted == 0 &&
            (!may_come || waited >= d->c->timeout_ms || client_wait(d->c, POLL_MS)))
            break;
    }
    if (accepted >= ACCEPTED_TIMES)
        note(d, "node", "ok", "%s takes the key", d->node);
    else if (status != 0)
        note(d, "node", "failed", "%s answers %u", d->node, status);
    else
        note(d, "node", "failed", "%s: %s", d->node, err.message);
    return accepted >= ACCEPTED_TIMES;
}

static bool has(struct str text, const char *part)
{
    return text.len > 0 && memmem(text.data, text.len, part, strlen(part)) != NULL;
}

static bool is_answer(struct str reply, bool stream)
{
    if (stream)
        return has(reply, "\"delta\"") && has(reply, "data: [DONE]");
    json_t *root = json_loadb(reply.data, reply.len, 0, NULL);
    const json_t *choice = json_array_get(json_object_get(root, "choices"), 0);
    bool ok = json_is_string(json_object_get(json_object_get(choice, "message"), "content"));
    json_decref(root);
    return ok;
}

static void check_answer(struct doctor *d, const char *model, bool stream)
{
    unsigned status = 0;
    struct buf reply = {0};
    struct err err = {0};
    const char *check = stream ? "stream" : "completion";
    json_t *asked =
        json_pack("{s:s,s:b,s:i,s:[{s:s,s:s}]}", "model", model, "stream", stream, "max_tokens", 64,
                  "messages", "role", "user", "content", "What is 17 * 23?");
    char *body = asked != NULL ? json_dumps(asked, JSON_COMPACT) : NULL;
    json_decref(asked);
    if (body == NULL) {
        note(d, check, "failed", "out of memory");
        return;
    }
    int rc = ask(d, "POST", "/v1/chat/completions", body, &status, &reply, &err);
    if (rc != 0)
        note(d, check, "failed", "%s", err.message);
    else if (status != 200)
        note(d, check, "failed", "%u: %.*s", status, (int)(reply.len < 300 ? reply.len : 300),
             reply.data);
    else if (!is_answer(buf_str(&reply), stream))
        note(d, check, "failed", "200, but not an answer");
    else
        note(d, check, "ok", "%s answered", model);
    buf_deinit(&reply);
    mem_free(body);
}

static void check_caller(struct doctor *d)
{
    const char *model = ctl_text(d->c, "model");
    if (!make_key(d))
        return;
    if (!check_node(d)) {
        note(d, "completion", "skipped", "the node is not well");
    } else if (model == NULL) {
        note(d, "completion", "skipped", "no --model is named; an answer may cost money");
    } else {
        check_answer(d, model, false);
        check_answer(d, model, true);
    }
    take_key_back(d);
}

/* ---- where things are ---- */

static int find_node(struct doctor *d, struct err *err)
{
    char dir[4096], address[256];
    const char *given = ctl_text(d->c, "node");
    if (given != NULL) {
        int n = snprintf(d->node, sizeof d->node, "%s%s",
                         strstr(given, "://") != NULL ? "" : "http://", given);
        return n > 0 && (size_t)n < sizeof d->node
                   ? 0
                   : err_set(err, ERR_TOO_LARGE, "--node is too long");
    }
    int rc = discover_state_dir(d->c, dir, sizeof dir, err);
    if (rc == 0 && discover_address(dir, "http", address, sizeof address) != 0)
        rc = err_set(err, ERR_NOT_FOUND, "no node is known in %s: give --node URL", dir);
    if (rc == 0)
        (void)snprintf(d->node, sizeof d->node, "http://%s", address);
    return rc;
}

enum ctl_exit doctor_run(struct ctl *c)
{
    struct doctor d = {.c = c, .rows = json_array()};
    struct err err = {0};
    if (d.rows == NULL)
        return ctl_fail(c, CTL_FAILED, "out of memory");
    if (ctl_bool(c, "in-cluster") &&
        (ctl_text(c, "server") == NULL || ctl_text(c, "node") == NULL)) {
        json_decref(d.rows);
        return ctl_fail(c, CTL_USAGE, "--in-cluster needs --server and --node");
    }
    if (find_node(&d, &err) != 0) {
        json_decref(d.rows);
        return ctl_fail(c, CTL_USAGE, "%s", err.message);
    }
    enum ctl_exit code = check_control(&d);
    if (code == CTL_OK)
        check_caller(&d);
    else if (c->client == NULL)
        d.failed = true; /* Told already: no server is known. */
    enum ctl_exit printed = output_list(c, columns, d.rows, "check");
    json_decref(d.rows);
    explicit_bzero(d.key, sizeof d.key);
    if (printed != CTL_OK)
        return printed;
    return !d.failed ? CTL_OK : code != CTL_OK ? code : CTL_NO;
}
