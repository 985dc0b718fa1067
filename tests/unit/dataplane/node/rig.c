#include "tests/unit/dataplane/node/rig_internal.h"

#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/crypto/digest.h"
#include "common/net/http1.h"
#include "control.pb-c.h"
#include "dataplane/budget/allocation.h"
#include "dataplane/limits/limits.h"
#include "dataplane/state/snapshot_build.h"
#include "tests/lib/calm.h"

#define RING_BYTES  (UINT64_C(256) << 10)
#define WATCHDOG_MS 120000

/* ---- the scripted provider ---- */

struct peer {
    struct list link;
    struct rig_provider *provider;
    uv_tcp_t tcp;
    uv_write_t write;
    struct buf in;
    struct http1_head head;
    struct http1_body body;
    bool in_body;
    bool replied; /* At its head. */
    size_t at;
    const struct rig_script *script;
    size_t sent;
    bool closing;
    bool holds; /* A request that rig_say answers. */
};

static void peer_free(uv_handle_t *handle)
{
    struct peer *p = container_of((uv_tcp_t *)handle, struct peer, tcp);
    list_remove(&p->link);
    if (p->provider->listener != NULL)
        listener_release(p->provider->listener);
    buf_deinit(&p->in);
    mem_free(p);
}

static void peer_close(struct peer *p, bool reset)
{
    if (p->closing)
        return;
    p->closing = true;
    if (!reset || uv_tcp_close_reset(&p->tcp, peer_free) != 0)
        uv_close((uv_handle_t *)&p->tcp, peer_free);
}

static void peer_write(struct peer *p);

static void on_peer_written(uv_write_t *req, int status)
{
    struct peer *p = container_of(req, struct peer, write);
    if (status == 0 && !p->closing)
        peer_write(p);
}

static void peer_write(struct peer *p)
{
    const struct rig_script *s = p->script;
    size_t len = s->reply == NULL ? 0 : s->reply_len != 0 ? s->reply_len : strlen(s->reply);
    if (p->sent < len) {
        size_t n = len - p->sent;
        if (s->piece != 0 && n > s->piece)
            n = s->piece;
        uv_buf_t b = uv_buf_init((char *)(uintptr_t)(s->reply + p->sent), (unsigned)n);
        p->sent += n;
        uv_write(&p->write, (uv_stream_t *)&p->tcp, &b, 1, on_peer_written);
        return;
    }
    switch (s->then) {
    case RIG_KEEP:
    case RIG_HOLD:
        break;
    case RIG_CLOSE:
    case RIG_RESET:
        peer_close(p, s->then == RIG_RESET);
        break;
    }
}

static const struct rig_script *next_script(const struct rig_provider *v)
{
    assert_true(v->script_count > 0);
    return &v->scripts[v->replies < v->script_count ? v->replies : v->script_count - 1];
}

static void peer_reply(struct peer *p)
{
    p->script = next_script(p->provider);
    p->provider->replies++;
    p->sent = 0;
    p->holds = p->script->then == RIG_HOLD;
    peer_write(p);
}

static void peer_request(struct peer *p, size_t end)
{
    struct rig_provider *v = p->provider;
    bool replied = p->replied;
    buf_clear(&v->last);
    assert_int_equal(buf_append(&v->last, p->in.data, end), 0);
    buf_consume(&p->in, end);
    p->in_body = p->replied = false;
    http1_request_init(&p->head);
    v->requests++;
    if (!replied)
        peer_reply(p);
}

static void peer_advance(struct peer *p)
{
    if (p->script == NULL && next_script(p->provider)->at_once) {
        peer_reply(p);
        return;
    }
    if (p->script != NULL && p->script->at_once)
        return;
    if (!p->in_body) {
        enum http1_result result = http1_head_parse(&p->head, p->in.data, p->in.len);
        assert_int_not_equal(result, HTTP1_REJECTED);
        if (result != HTTP1_DONE)
            return;
        p->in_body = true;
        if (next_script(p->provider)->at_head) {
            p->replied = true;
            peer_reply(p);
            if (p->closing)
                return;
        }
        p->at = p->head.head_bytes;
        http1_body_init(&p->body, &p->head, 64U << 20);
    }
    for (;;) {
        struct str rest = {p->in.data + p->at, p->in.len - p->at}, piece;
        enum http1_result result = http1_body_next(&p->body, &rest, &piece);
        p->at = p->in.len - rest.len;
        assert_int_not_equal(result, HTTP1_REJECTED);
        if (result == HTTP1_MORE)
            return;
        if (result == HTTP1_DONE) {
            peer_request(p, p->at);
            return;
        }
    }
}

static char read_space[65536];

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)handle;
    (void)suggested;
    *buf = uv_buf_init(read_space, sizeof read_space);
}

static void on_peer_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    struct peer *p = container_of((uv_tcp_t *)stream, struct peer, tcp);
    fault_suspend();
    if (nread < 0) {
        p->provider->gone++;
        peer_close(p, false);
    } else if (nread > 0) {
        p->provider->received += (size_t)nread;
        assert_int_equal(buf_append(&p->in, buf->base, (size_t)nread), 0);
        peer_advance(p);
    }
    fault_continue();
}

static void on_provider_accept(void *arg, int fd)
{
    struct rig_provider *v = arg;
    fault_suspend();
    struct peer *p = mem_zalloc(sizeof *p);
    fault_continue();
    assert_non_null(p);
    p->provider = v;
    v->connections++;
    buf_init(&p->in, 64U << 20);
    http1_request_init(&p->head);
    list_init(&p->link);
    list_push_back(&v->peers, &p->link);
    uv_tcp_init(&v->rig->loop, &p->tcp);
    assert_int_equal(uv_tcp_open(&p->tcp, fd), 0);
    if (!v->deaf)
        uv_read_start((uv_stream_t *)&p->tcp, on_alloc, on_peer_read);
}

void rig_hear(struct rig *r, size_t provider)
{
    r->providers[provider].deaf = false;
    LIST_FOREACH (it, &r->providers[provider].peers)
        uv_read_start((uv_stream_t *)&container_of(it, struct peer, link)->tcp, on_alloc,
                      on_peer_read);
}

void rig_cut(struct rig *r, size_t provider)
{
    LIST_FOREACH_SAFE (it, tmp, &r->providers[provider].peers)
        peer_close(container_of(it, struct peer, link), false);
}

void rig_say(struct rig *r, size_t provider, const char *bytes, bool last)
{
    LIST_FOREACH (it, &r->providers[provider].peers) {
        struct peer *p = container_of(it, struct peer, link);
        uv_buf_t b = uv_buf_init((char *)(uintptr_t)bytes, (unsigned)strlen(bytes));
        if (!p->holds || p->closing)
            continue;
        p->holds = !last;
        (void)uv_try_write((uv_stream_t *)&p->tcp, &b, 1);
    }
}

void rig_script(struct rig *r, size_t provider, struct rig_script script)
{
    struct rig_provider *v = &r->providers[provider];
    assert_true(v->script_count < 8);
    v->scripts[v->script_count++] = script;
}

/* ---- the snapshot ---- */

void rig_put(struct resource_set *set, uint32_t type, const char *key, const struct buf *body)
{
    struct resource *res = resource_create(type, str_from(key), buf_str(body));
    assert_non_null(res);
    assert_int_equal(resource_set_put(set, res), 0);
}

static void put_keys(struct resource_set *set, const struct rig_options *o)
{
    const char *text = o->key != NULL ? o->key : RIG_KEY;
    struct sha256 hash = digest_sha256(text, strlen(text)), before;
    Steelyard__Control__V1__Key key = STEELYARD__CONTROL__V1__KEY__INIT;
    Steelyard__Control__V1__Key *ptr = &key;
    Steelyard__Control__V1__Keys keys = STEELYARD__CONTROL__V1__KEYS__INIT;
    struct buf body;
    key.id = 77;
    key.public_id = (char *)(uintptr_t) "0123456789";
    key.sha256 = (ProtobufCBinaryData){sizeof hash.bytes, hash.bytes};
    key.name = (char *)(uintptr_t) "test";
    key.endpoints = (char **)(uintptr_t)&o->key_endpoint;
    key.n_endpoints = o->key_endpoint != NULL;
    key.models = (char **)(uintptr_t)&o->key_model;
    key.n_models = o->key_model != NULL;
    key.max_cost = o->key_max_cost;
    key.rpm = o->key_rpm;
    key.tpm = o->key_tpm;
    key.concurrency = o->key_concurrency;
    if (o->on_key != NULL)
        o->on_key(&key);
    if (o->key_before != NULL) {
        before = digest_sha256(o->key_before, strlen(o->key_before));
        key.prev_sha256 = (ProtobufCBinaryData){sizeof before.bytes, before.bytes};
        key.prev_until_us = clock_wall_us() + INT64_C(3600000000);
    }
    uint64_t path[RIG_ACCOUNTS];
    char *tag = (char *)(uintptr_t)o->key_tag;
    for (size_t i = 0; i < o->account_count; i++)
        if (o->accounts[i].kind <= 3)
            path[key.n_accounts++] = o->accounts[i].id;
    key.accounts = path;
    key.tags = &tag;
    key.n_tags = tag != NULL ? 1 : 0;
    keys.keys = &ptr;
    keys.n_keys = text[0] != '\0' ? 1 : 0;
    buf_init(&body, 4096);
    RIG_PACK(steelyard__control__v1__keys, keys, body);
    rig_put(set, STEELYARD__CONTROL__V1__RESOURCE_TYPE__RESOURCE_KEYS, "keys", &body);
    buf_deinit(&body);
}

void rig_publish(struct rig *r, const struct rig_options *o)
{
    struct resource_set *set = resource_set_create();
    struct snapshot *s = NULL;
    struct snapshot_refusal refusal = {0};
    const struct snapshot_inputs inputs = {
        .keeper = o->keeper, .era = 1, .generation = o->generation != 0 ? o->generation : 1};
    assert_non_null(set);
    rig_put_catalogue(r, set, o);
    rig_put_prices(set, o);
    if (o->account_count > 0)
        rig_put_accounts(set, o);
    put_keys(set, o);
    rig_put_limits(set);
    if (o->rollout != NULL)
        rig_put_rollout(set, o->rollout);
    if (snapshot_build(set, &inputs, &s, &refusal) != 0)
        fail_msg("%s %s: %s", refusal.code, refusal.key, refusal.detail);
    for (uint32_t i = 0; i < s->rollout_count; i++)
        atomic_store(&s->rollouts[i].gate->open, !o->rollout->closed);
    assert_int_equal(snapshot_cell_publish(r->cell, s), 0);
    snapshot_unref(s);
}

/* ---- the rig ---- */

/* In memory where there is such a place: a test makes hundreds of rigs, and each one syncs. */
static void make_dir(struct rig *r)
{
    assert_true(str_copy(STR("/dev/shm/steelyard-rig-XXXXXX"), r->dir, sizeof r->dir));
    if (mkdtemp(r->dir) != NULL)
        return;
    assert_true(str_copy(STR("/tmp/steelyard-rig-XXXXXX"), r->dir, sizeof r->dir));
    assert_non_null(mkdtemp(r->dir));
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)kind;
    (void)where;
    return remove(path);
}

static void remove_dir(struct rig *r)
{
    nftw(r->dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static void on_tick(uv_timer_t *timer)
{
    struct rig *r = container_of(timer, struct rig, tick);
    conn_pool_tick(&r->conns, uv_now(&r->loop));
    request_env_tick(&r->env);
}

static void on_watchdog(uv_timer_t *timer)
{
    container_of(timer, struct rig, watchdog)->timed_out = true;
}

static void on_accept(void *arg, int fd)
{
    conn_open(&((struct rig *)arg)->conns, fd);
}

static struct spool_options spool_options(const struct rig *r, const struct rig_options *options)
{
    return (struct spool_options){.dir = r->dir,
                                  .spools = 1,
                                  .max_bytes = 64U << 20,
                                  .sync_ms = 1,
                                  .audit_strict = true,
                                  .ring_bytes =
                                      options->ring_bytes != 0 ? options->ring_bytes : RING_BYTES};
}

void rig_start(struct rig *r, const struct rig_options *options)
{
    static const struct rig_options defaults = {.abort_stops_billing = true};
    struct spool_recovery recovery;
    struct err err = {0};
    if (options == NULL)
        options = &defaults;
    memset(r, 0, sizeof *r);
    calm_clock();
    setenv("RIG_SECRET", options->secret != NULL ? options->secret : "upstream-secret", 1);
    assert_int_equal(fetch_global_init(&err), 0);
    assert_int_equal(uv_loop_init(&r->loop), 0);
    uv_timer_init(&r->loop, &r->tick);
    uv_timer_init(&r->loop, &r->watchdog);
    uv_timer_start(&r->tick, on_tick, 10, 10);
    uv_timer_start(&r->watchdog, on_watchdog, WATCHDOG_MS, 0);
    for (size_t i = 0; i < RIG_PROVIDERS; i++) {
        struct rig_provider *v = &r->providers[i];
        v->rig = r;
        list_init(&v->peers);
        buf_init(&v->last, 64U << 20);
        const struct listener_config config = {.address = "127.0.0.1:0",
                                               .max_connections = 100,
                                               .on_accept = on_provider_accept,
                                               .arg = v};
        assert_int_equal(listener_start(&r->loop, &config, &v->listener, &err), 0);
    }
    r->cell = snapshot_cell_create(1);
    r->reader = snapshot_cell_reader(r->cell, 0);
    r->registry = endpoint_registry_create();
    r->metrics = metrics_create(meters_table, 0);
    make_dir(r);
    r->spool = spool_options(r, options);
    assert_int_equal(spool_set_create(&r->spool, &r->spools, &recovery, &err), 0);
    const uint64_t memory_max =
        options->memory_max_bytes != 0 ? options->memory_max_bytes : UINT64_MAX;
    assert_int_equal(request_shared_init(&r->shared, memory_max), 0);
    if (options->account_count > 0 && !options->without_budgets)
        rig_start_budgets(r);
    r->shared.settings.access_log = false;
    r->shared.limits = limits_create(64, clock_mono_ns());
    assert_non_null(r->shared.limits);
    limits_alone(r->shared.limits, clock_mono_ns());
    if (options->body_max_bytes != 0)
        r->shared.settings.body_max_bytes = options->body_max_bytes;
    request_env_init(&r->env, &r->shared, &r->loop, spool_set_spool(r->spools, 0),
                     metrics_shard_create(r->metrics));
    assert_int_equal(upstream_init(&r->env.upstream, &r->loop, r->reader, r->registry), 0);
    struct conn_config conn = conn_defaults;
    conn.linger_ms = 50;
    if (options->stall_ms != 0)
        conn.stall_ms = options->stall_ms;
    if (options->head_timeout_ms != 0)
        conn.head_ms = options->head_timeout_ms;
    if (options->body_max_bytes != 0)
        conn.body_max_bytes = options->body_max_bytes;
    conn_pool_init(&r->conns, &r->loop, &r->env, &conn);
    const struct listener_config config = {
        .address = "127.0.0.1:0", .max_connections = 100, .on_accept = on_accept, .arg = r};
    assert_int_equal(listener_start(&r->loop, &config, &r->listener, &err), 0);
    r->conns.listener = r->listener;
    if (!options->without_snapshot)
        rig_publish(r, options);
}

bool rig_turn(struct rig *r)
{
    uv_run(&r->loop, UV_RUN_ONCE);
    return !r->timed_out;
}

static void note(void *arg)
{
    *(bool *)arg = true;
}

void rig_stop(struct rig *r)
{
    bool closed = false;
    r->conns.listener = NULL;
    listener_close(r->listener, NULL, NULL);
    conn_pool_cut(&r->conns);
    rig_until(r, r->conns.open_count == 0 && r->env.active_count == 0);
    conn_pool_close(&r->conns);
    request_env_close(&r->env);
    upstream_close(&r->env.upstream, note, &closed);
    rig_until(r, closed);
    for (size_t i = 0; i < RIG_PROVIDERS; i++) {
        struct rig_provider *v = &r->providers[i];
        listener_close(v->listener, NULL, NULL);
        v->listener = NULL;
        LIST_FOREACH_SAFE (it, tmp, &v->peers)
            peer_close(container_of(it, struct peer, link), false);
        rig_until(r, list_empty(&v->peers));
        buf_deinit(&v->last);
    }
    uv_close((uv_handle_t *)&r->tick, NULL);
    uv_close((uv_handle_t *)&r->watchdog, NULL);
    assert_int_equal(uv_run(&r->loop, UV_RUN_DEFAULT), 0);
    conn_pool_deinit(&r->conns);
    upstream_deinit(&r->env.upstream);
    request_env_deinit(&r->env);
    assert_int_equal(uv_loop_close(&r->loop), 0);
    snapshot_reader_close(r->reader);
    snapshot_cell_destroy(r->cell);
    if (r->on_row != NULL || r->on_vote != NULL)
        rig_read_rows(r, &r->spool);
    spool_set_destroy(r->spools);
    limits_destroy(r->shared.limits);
    budget_table_destroy(r->budgets);
    request_shared_deinit(&r->shared);
    metrics_destroy(r->metrics);
    endpoint_registry_destroy(r->registry);
    fetch_global_deinit();
    remove_dir(r);
}

uint64_t rig_records(struct rig *r)
{
    return spool_set_records(r->spools);
}

/* Of its first deployment; it lives as long as the rig. */
static struct endpoint *endpoint_of(struct rig *r, size_t provider)
{
    static const char *const names[RIG_PROVIDERS] = {"one", "two"};
    struct upstream_view *v = upstream_pin(&r->env.upstream);
    struct endpoint *found = NULL;
    assert_non_null(v);
    for (uint32_t i = 0; i < v->snapshot->deployment_count && found == NULL; i++)
        if (str_is(v->targets[i].deployment->provider->name, names[provider]))
            found = v->targets[i].endpoint;
    upstream_unpin(&r->env.upstream, v);
    assert_non_null(found);
    return found;
}

uint64_t rig_cooldown_ms(struct rig *r, size_t provider)
{
    return endpoint_cooldown_ms(endpoint_of(r, provider), clock_mono_ns() / 1000000);
}

void rig_forgive(struct rig *r, size_t provider)
{
    struct endpoint *e = endpoint_of(r, provider);
    breaker_init(&e->breaker);
    atomic_store(&e->shared->cooldown_until_ms, 0);
    for (int i = 0; i < 1000; i++)
        retry_budget_request(&r->shared.retries, 0, clock_mono_ns() / 1000000);
    while (retry_budget_take(&r->shared.retries, clock_mono_ns() / 1000000)) {
    }
    memset(r->shared.retries.lanes, 0, sizeof r->shared.retries.lanes);
}

/* ---- the client ---- */

static void on_client_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    struct rig_client *c = container_of((uv_tcp_t *)stream, struct rig_client, tcp);
    fault_suspend();
    if (nread == UV_EOF)
        c->ended = true;
    else if (nread < 0)
        c->broken = true;
    else if (nread > 0)
        assert_int_equal(buf_append(&c->in, buf->base, (size_t)nread), 0);
    if (nread < 0)
        uv_read_stop(stream);
    fault_continue();
}

static void on_client_connected(uv_connect_t *req, int status)
{
    struct rig_client *c = container_of(req, struct rig_client, connect);
    assert_int_equal(status, 0);
    rig_read_start(c);
}

void rig_read_start(struct rig_client *c)
{
    c->reading = uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_client_read) == 0;
}

void rig_read_stop(struct rig_client *c)
{
    uv_read_stop((uv_stream_t *)&c->tcp);
    c->reading = false;
}

void rig_connect(struct rig *r, struct rig_client *c)
{
    struct sockaddr_in a;
    memset(c, 0, sizeof *c);
    buf_init(&c->in, 256U << 20);
    uv_tcp_init(&r->loop, &c->tcp);
    uv_ip4_addr("127.0.0.1", listener_port(r->listener), &a);
    assert_int_equal(
        uv_tcp_connect(&c->connect, &c->tcp, (const struct sockaddr *)&a, on_client_connected), 0);
    rig_until(r, c->reading);
}

static void on_sent(uv_write_t *req, int status)
{
    (void)status;
    mem_free(req);
}

void rig_send(struct rig_client *c, const char *bytes, size_t len)
{
    uv_write_t *req = mem_alloc(sizeof *req + len);
    assert_non_null(req);
    memcpy(req + 1, bytes, len);
    uv_buf_t b = uv_buf_init((char *)(req + 1), (unsigned)len);
    assert_int_equal(uv_write(req, (uv_stream_t *)&c->tcp, &b, 1, on_sent), 0);
}

static void on_client_closed(uv_handle_t *handle)
{
    container_of((uv_tcp_t *)handle, struct rig_client, tcp)->closed = true;
}

void rig_disconnect(struct rig *r, struct rig_client *c)
{
    uv_close((uv_handle_t *)&c->tcp, on_client_closed);
    rig_until(r, c->closed);
    buf_deinit(&c->in);
}

void rig_answer_read(const struct rig_client *c, struct rig_answer *a)
{
    struct http1_head head;
    struct http1_body body;
    memset(a, 0, sizeof *a);
    buf_init(&a->body, 256U << 20);
    http1_response_init(&head, HTTP1_POST);
    if (http1_head_parse(&head, c->in.data, c->in.len) != HTTP1_DONE)
        return;
    a->status = head.status;
    a->head = (struct str){c->in.data, head.head_bytes};
    http1_body_init(&body, &head, 256U << 20);
    struct str rest = {c->in.data + head.head_bytes, c->in.len - head.head_bytes}, piece;
    enum http1_result result;
    while ((result = http1_body_next(&body, &rest, &piece)) == HTTP1_DATA)
        assert_int_equal(buf_append_str(&a->body, piece), 0);
    a->complete = result == HTTP1_DONE;
    a->bytes = c->in.len - rest.len;
    (void)buf_cstr(&a->body);
}

bool rig_answered(const struct rig_client *c)
{
    struct rig_answer a;
    rig_answer_read(c, &a);
    buf_deinit(&a.body);
    return a.complete;
}

bool rig_has_header(const struct rig_answer *a, const char *line)
{
    return str_search(a->head, str_from(line)) >= 0;
}

void rig_ask(struct rig_client *c, const char *body)
{
    char head[512];
    int n =
        snprintf(head, sizeof head,
                 "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " RIG_KEY
                 "\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                 strlen(body));
    rig_send(c, head, (size_t)n);
    rig_send(c, body, strlen(body));
}

static void finish(struct rig *r, struct rig_client *c, struct rig_answer *out)
{
    static char head[65536];
    rig_until(r, rig_answered(c) || c->ended || c->broken);
    rig_answer_read(c, out);
    assert_true(out->head.len < sizeof head);
    memcpy(head, out->head.data, out->head.len);
    out->head.data = head;
    rig_disconnect(r, c);
}

void rig_exchange(struct rig *r, const char *body, struct rig_answer *out)
{
    struct rig_client c;
    rig_connect(r, &c);
    rig_ask(&c, body);
    finish(r, &c, out);
}

void rig_exchange_raw(struct rig *r, const char *request, size_t len, struct rig_answer *out)
{
    struct rig_client c;
    rig_connect(r, &c);
    rig_send(&c, request, len);
    finish(r, &c, out);
}
