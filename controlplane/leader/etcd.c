/* Usual path: the question as JSON, POST to the endpoint that answered last, the answer read and
 * given on. Ways to fail: no answer in time, another status, garbage: the question ends with that,
 * and the next one goes to the next endpoint. */
#include "controlplane/leader/etcd.h"

#include <assert.h>

#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/net/fetch.h"

#define ANSWER_BYTES   262144U
#define ENDPOINT_BYTES 300U

struct call {
    struct etcd *etcd;
    struct election_op op;
    bool revoke;
    unsigned endpoint;
    etcd_cb cb; /* Or: */
    etcd_post_cb post_cb;
    void *arg;
};

struct etcd {
    struct fetch_loop *fetch;
    struct fetch_origin *origins[ETCD_ENDPOINTS_MAX];
    unsigned count, at, closed;
    struct etcd_stats stats;
    void (*close_cb)(void *arg);
    void *close_arg;
};

static int add_endpoint(struct etcd *e, const struct etcd_config *config, struct str url,
                        struct err *err)
{
    char text[ENDPOINT_BYTES];
    if (e->count == ETCD_ENDPOINTS_MAX)
        return err_set(err, ERR_LIMIT, "more than %u endpoints of etcd", ETCD_ENDPOINTS_MAX);
    if (str_ends(url, STR("/")))
        url.len--;
    if (!str_copy(url, text, sizeof text))
        return err_set(err, ERR_INVALID, "an endpoint of etcd is too long");
    const struct fetch_origin_config origin = {.url = text,
                                               .allow_private = true,
                                               .allow_http = true,
                                               .ca_file = config->ca_file,
                                               .client_cert_file = config->cert_file,
                                               .client_key_file = config->key_file,
                                               .max_connections = 4};
    int rc = fetch_origin_create(e->fetch, &origin, &e->origins[e->count], err);
    if (rc == 0)
        e->count++;
    return rc;
}

int etcd_create(uv_loop_t *loop, const struct etcd_config *config, struct etcd **out_etcd,
                struct err *err)
{
    struct str one, rest = str_from(config->endpoints);
    struct etcd *e = mem_zalloc(sizeof *e);
    if (e != NULL)
        e->fetch = fetch_loop_create(loop);
    if (e == NULL || e->fetch == NULL) {
        mem_free(e);
        return err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    }
    int rc = 0;
    while (rc == 0 && rest.len > 0) {
        (void)str_cut(rest, ',', &one, &rest);
        rc = add_endpoint(e, config, str_trim(one), err);
    }
    if (rc != 0) {
        etcd_close(e, NULL, NULL);
        return rc;
    }
    *out_etcd = e;
    return 0;
}

/* The next question goes to the next endpoint. */
static void note_failure(const struct call *call)
{
    struct etcd *e = call->etcd;
    e->stats.failed++;
    if (e->at == call->endpoint)
        e->at = (e->at + 1) % e->count;
}

static void on_post_reply(void *arg, const struct fetch_reply *reply)
{
    struct call *call = arg;
    if (reply->result.status != 0 || reply->result.http_status != 200)
        note_failure(call);
    call->post_cb(call->arg, reply->result.status, reply->result.http_status,
                  buf_str(&reply->body));
    mem_free(call);
}

static void on_reply(void *arg, const struct fetch_reply *reply)
{
    struct call *call = arg;
    struct election_answer answer = {.status = reply->result.status};
    struct election_key *keys = mem_calloc(ETCD_KEYS_MAX, sizeof *keys);
    if (keys == NULL)
        answer.status = ERR_NOMEM;
    if (answer.status == 0 && !call->revoke)
        etcd_answer(call->op.ask, reply->result.http_status, buf_str(&reply->body), keys, &answer);
    if (answer.status != 0 && answer.status != ERR_NOT_FOUND)
        note_failure(call);
    call->cb(call->arg, &call->op, &answer);
    mem_free(keys);
    mem_free(call);
}

static int post(struct etcd *e, struct call *call, const char *path, struct str body,
                uint32_t answer_ms)
{
    const struct fetch_field fields[] = {{STR("content-type"), STR("application/json")}};
    const struct fetch_request request = {.method = STR("POST"),
                                          .target = str_from(path),
                                          .fields = fields,
                                          .field_count = 1,
                                          .body = &body,
                                          .body_count = 1,
                                          .timeouts = {.total_ms = answer_ms},
                                          .body_max_bytes = ANSWER_BYTES};
    call->endpoint = e->at;
    e->stats.asked++;
    return fetch_simple(e->origins[e->at], &request,
                        call->post_cb != NULL ? on_post_reply : on_reply, call, NULL);
}

static int begin(struct etcd *e, const struct call *given, uint32_t ttl_s, const char *value,
                 uint32_t answer_ms)
{
    struct buf body;
    const char *path = "/v3/lease/revoke";
    struct call *call = mem_alloc(sizeof *call);
    if (call == NULL)
        return ERR_NOMEM;
    *call = *given;
    buf_init(&body, 4096);
    int rc = call->revoke ? buf_printf(&body, "{\"ID\":\"%lld\"}", (long long)call->op.lease)
                          : etcd_question(&call->op, ttl_s, value, &path, &body);
    if (rc == 0)
        rc = post(e, call, path, buf_str(&body), answer_ms);
    buf_deinit(&body);
    if (rc != 0)
        mem_free(call);
    return rc;
}

int etcd_ask(struct etcd *e, const struct election_op *op, uint32_t ttl_s, const char *value,
             uint32_t answer_ms, etcd_cb cb, void *arg)
{
    const struct call call = {.etcd = e, .op = *op, .cb = cb, .arg = arg};
    return begin(e, &call, ttl_s, value, answer_ms);
}

int etcd_revoke(struct etcd *e, int64_t lease, uint32_t answer_ms, etcd_cb cb, void *arg)
{
    const struct call call = {
        .etcd = e, .op = {.lease = lease}, .revoke = true, .cb = cb, .arg = arg};
    return begin(e, &call, 0, "", answer_ms);
}

int etcd_post(struct etcd *e, const char *path, struct str body, uint32_t answer_ms,
              etcd_post_cb cb, void *arg)
{
    struct call *call = mem_alloc(sizeof *call);
    if (call == NULL)
        return ERR_NOMEM;
    *call = (struct call){.etcd = e, .post_cb = cb, .arg = arg};
    int rc = post(e, call, path, body, answer_ms);
    if (rc != 0)
        mem_free(call);
    return rc;
}

struct etcd_stats etcd_stats(const struct etcd *e)
{
    return e->stats;
}

static void on_fetch_closed(void *arg)
{
    struct etcd *e = arg;
    void (*cb)(void *) = e->close_cb;
    void *cb_arg = e->close_arg;
    mem_free(e);
    if (cb != NULL)
        cb(cb_arg);
}

static void on_origin_closed(void *arg)
{
    struct etcd *e = arg;
    if (++e->closed == e->count)
        fetch_loop_close(e->fetch, on_fetch_closed, e);
}

void etcd_close(struct etcd *e, void (*cb)(void *arg), void *arg)
{
    e->close_cb = cb;
    e->close_arg = arg;
    if (e->count == 0) {
        fetch_loop_close(e->fetch, on_fetch_closed, e);
        return;
    }
    for (unsigned i = 0; i < e->count; i++)
        fetch_origin_close(e->origins[i], on_origin_closed, e);
}
