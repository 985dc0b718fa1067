/* The life of a request, and what is due with time.
 *
 * Usual path: request_begin runs `authenticate` and stops in `receive`; request_body goes on; the
 * attempt's callbacks re-enter the driver (driver.c); `report` sends the end; request_end gives
 * everything back. While a request waits its work is driven by three things only: the transport's
 * callbacks, the client (gone, writable) and the tick. */
#include "dataplane/request/request.h"

#include <assert.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "dataplane/limits/limits.h"
#include "dataplane/request/answer.h"
#include "dataplane/request/attempt.h"
#include "dataplane/request/charge.h"
#include "dataplane/request/dialect.h"
#include "dataplane/request/early.h"
#include "dataplane/request/generations.h"
#include "dataplane/request/hedge.h"
#include "dataplane/request/idempotency.h"
#include "dataplane/request/idempotency_table.h"
#include "dataplane/request/recall.h"
#include "dataplane/request/scan.h"
#include "dataplane/request/steps.h"
#include "dataplane/request/throttle.h"
#include "dataplane/request/workspace.h"

#define HEAD_SCRATCH_BYTES 16384U
#define OUT_SCRATCH_BYTES  (2U << 20)
#define CHUNKS_KEPT        256U
#define FEATURES_KEPT      64 /* Calls of which a worker remembers the features: 72 KiB. */
#define REQUESTS_KEPT      256U
#define REFUSED_BODY_MAX   65536U
#define TRIM_SPARE         16U
#define TRIM_BEGUN         64U
#define WALL_READ_NS       100000000U

void request_settings_init(struct request_settings *s)
{
    *s = (struct request_settings){
        .body_max_bytes = 32U << 20,
        .stream_head_after_ms = 10000,
        .keepalive_ms = 15000,
        .total_ms = 600000,
        .unseen_ms = 60000,
        .unseen_max = 64,
        .unseen_bytes = 8U << 20,
        .buffer_mark_bytes = 32768,
        .forward_early_bytes = 65536,
        .pressure_from_q16 = BUDGET_PRESSURE_ONE / 2,
        .pressure_factor = 4,
        .feedback_rate = 200,
        .access_log = true,
    };
}

int request_shared_init(struct request_shared *shared, uint64_t memory_max)
{
    memset(shared, 0, sizeof *shared);
    request_settings_init(&shared->settings);
    shared->started_s = clock_wall_us() / 1000000;
    shared->sticky = mem_calloc(REQUEST_STICKY_SLOTS, sizeof *shared->sticky);
    shared->places = mem_calloc(REQUEST_STICKY_SLOTS, sizeof *shared->places);
    shared->votes = mem_calloc(REQUEST_VOTES_SLOTS, sizeof *shared->votes);
    shared->generations = generations_create();
    shared->recall = recall_create(memory_max);
    shared->idempotency = idempotency_table_create(memory_max);
    if (shared->sticky != NULL && shared->places != NULL && shared->votes != NULL &&
        shared->generations != NULL && shared->recall != NULL && shared->idempotency != NULL)
        return 0;
    request_shared_deinit(shared);
    return ERR_NOMEM;
}

void request_shared_deinit(struct request_shared *shared)
{
    mem_free(shared->sticky);
    mem_free(shared->places);
    mem_free(shared->votes);
    generations_destroy(shared->generations);
    recall_destroy(shared->recall);
    idempotency_table_destroy(shared->idempotency);
    shared->idempotency = NULL;
    shared->recall = NULL;
    shared->generations = NULL;
    shared->sticky = NULL;
    shared->places = NULL;
    shared->votes = NULL;
}

void request_env_init(struct request_env *env, struct request_shared *shared, uv_loop_t *loop,
                      struct spool *spool, struct metrics_shard *shard)
{
    memset(env, 0, sizeof *env);
    env->shared = shared;
    env->loop = loop;
    env->spool = spool;
    env->mark_most = UINT32_MAX;
    env->shapes.prints = env->reply_shapes.prints = &env->prints;
    meters_init(&env->meters, shard);
    env->lane = atomic_fetch_add_explicit(&shared->lanes, 1, memory_order_relaxed);
    slab_init(&env->slab, sizeof(struct request));
    slab_init(&env->holds, sizeof(struct limits_hold));
    arena_pool_init(&env->chunks, CHUNKS_KEPT);
    list_init(&env->active);
    list_init(&env->hedge_waits);
    driver_init(env);
    uv_timer_init(loop, &env->hedge_timer);
    buf_init(&env->head, HEAD_SCRATCH_BYTES);
    buf_init(&env->out, OUT_SCRATCH_BYTES);
    json_init(&env->json, JSON_NODES_MAX);
    env->features = features_memo_create(FEATURES_KEPT);
    keyring_memory_init(&env->keys);
}

void request_env_close(struct request_env *env)
{
    driver_close(env);
    uv_close((uv_handle_t *)&env->hedge_timer, NULL);
}

static void request_free(struct request_env *env, struct request *r)
{
    attempt_deinit(&r->attempt);
    slab_give(&env->slab, r);
}

void request_env_trim(struct request_env *env)
{
    while (env->requests.count > env->active_count + TRIM_SPARE)
        request_free(env, freelist_take(&env->requests));
    /* Live streams have neither. */
    const size_t begun = env->active_count < TRIM_BEGUN ? env->active_count : TRIM_BEGUN;
    arena_pool_trim(&env->chunks, begun + TRIM_SPARE);
    workspace_trim(env, begun / 2 + TRIM_SPARE);
    slab_trim(&env->slab);
    slab_trim(&env->holds);
    upstream_trim(&env->upstream);
}

void request_env_deinit(struct request_env *env)
{
    assert(list_empty(&env->active));
    for (struct request *r; (r = freelist_take(&env->requests)) != NULL;)
        request_free(env, r);
    slab_deinit(&env->slab);
    slab_deinit(&env->holds);
    workspace_deinit(env);
    charge_deinit(env);
    hedge_deinit(env);
    scan_deinit(env);
    arena_pool_deinit(&env->chunks);
    buf_deinit(&env->head);
    buf_deinit(&env->out);
    json_deinit(&env->json);
    features_memo_destroy(env->features);
    pattern_room_destroy(env->patterns);
    keyring_memory_deinit(&env->keys);
}

uint64_t request_now_ms(void)
{
    return clock_mono_ms();
}

enum step_result request_fail(struct request *r, enum fault fault)
{
    if (r->fault == FAULT_NONE) /* The first one wins. */
        r->fault = fault;
    return STEP_FAIL;
}

void request_warn(struct request *r, const char *code)
{
    if (r->warning_count < REQUEST_WARNINGS_MAX)
        r->work->warnings[r->warning_count++] = code;
}

static void set_request_id(struct request *r)
{
    struct str given = http1_field_get(r->head, STR("x-request-id"));
    if (given.data == NULL)
        given = http1_field_get(r->head, STR("x-portkey-trace-id"));
    if (given.data != NULL && steering_request_id_valid(given)) {
        r->request_id = (struct str){r->id_space, given.len};
        if (given.len <= sizeof r->id_space)
            memcpy(r->id_space, given.data, given.len);
        else
            r->request_id = arena_copy(&r->arena, given);
        if (r->request_id.data != NULL)
            return;
    }
    r->id = uuid_v7(r->start_us);
    uuid_format(&r->id, r->id_space);
    r->request_id = (struct str){r->id_space, UUID_TEXT_BYTES - 1};
}

enum client_end request_client_end(const struct request *r)
{
    if (r->stream_broken)
        return CLIENT_CUT;
    return r->keep_alive ? CLIENT_KEEP : CLIENT_CLOSE;
}

void request_end(struct request *r)
{
    struct request_env *env = r->env;
    const struct client_ops *client = r->client;
    void *client_arg = r->client_arg;
    enum client_end end = request_client_end(r);
    attempt_release(&r->attempt);
    charge_give(r);
    scan_give(r);
    workspace_give(r);
    throttle_give(r);
    idempotency_give(r);
    if (r->view != NULL)
        upstream_unpin(&env->upstream, r->view);
    arena_reset(&r->arena);
    list_remove(&r->link);
    list_remove(&r->poll_link);
    env->active_count--;
    if (r->counted)
        atomic_fetch_sub_explicit(&env->shared->counted, 1, memory_order_relaxed);
    env->served++;
    metrics_gauge_add(env->meters.inflight, -1);
    if (env->requests.count < REQUESTS_KEPT)
        freelist_put(&env->requests, r);
    else
        request_free(env, r);
    client->done(client_arg, end);
}

int64_t request_wall_us(const struct request *r)
{
    return r->start_us + (int64_t)((r->now_ns - r->start_ns) / 1000);
}

int64_t request_steady_us(const struct request *r)
{
    return clock_steady_at_us(r->now_ns);
}

/* All members but buffers are zero at the start. */
static void request_clear(struct request *r)
{
    const size_t first = offsetof(struct request, attempt.reply);
    const size_t behind = offsetof(struct request, attempt) + sizeof r->attempt;
    _Static_assert(offsetof(struct attempt, body) + sizeof r->attempt.body == sizeof r->attempt &&
                       offsetof(struct attempt, body) ==
                           offsetof(struct attempt, reply) + sizeof r->attempt.reply,
                   "the buffers of an attempt are its end");
    memset(r, 0, first);
    memset((char *)r + behind, 0, sizeof *r - behind);
}

static enum dialect dialect_spoken(const struct request_path *path, const struct http1_head *head)
{
    return path->any_dialect ? dialect_of_head(head) : path->dialect;
}

/* The path before this one is tried first. */
static void find_path(struct request *r, const struct http1_head *head, enum fault *out_fault)
{
    struct request_env *env = r->env;
    struct str rest;
    if (env->last_path != NULL && head->method == env->last_path->method &&
        str_eq(head->path, env->last_path_text)) {
        r->path = env->last_path;
        r->path_text = env->last_path_text;
        r->path_is_static = true;
        r->dialect = dialect_spoken(r->path, head);
        return;
    }
    r->path = request_path_find(head, &rest, out_fault);
    if (r->path == NULL)
        r->path = &request_path_none;
    r->dialect = dialect_spoken(r->path, head);
    r->path_text = request_path_text(r->path, head->path);
    r->path_is_static = r->path_text.data != head->path.data;
    if (*out_fault == FAULT_NONE && r->path_is_static) {
        env->last_path = r->path;
        env->last_path_text = r->path_text;
    }
}

/* The wall clock is read ten times a second; in between it goes as the other one does. */
static int64_t wall_us_at(struct request_env *env, uint64_t mono_ns)
{
    int64_t mono_us = (int64_t)(mono_ns / 1000);
    if (!env->wall_known || mono_ns - env->wall_read_ns >= WALL_READ_NS) {
        env->wall_ahead_us = clock_wall_us() - mono_us;
        env->wall_read_ns = mono_ns;
        env->wall_known = true;
    }
    return mono_us + env->wall_ahead_us;
}

/* The bound is the node's: a worker has no share of it that another might need. */
static bool count_in(struct request *r)
{
    struct request_shared *s = r->env->shared;
    r->counted =
        atomic_fetch_add_explicit(&s->counted, 1, memory_order_relaxed) < s->settings.requests_max;
    if (!r->counted)
        atomic_fetch_sub_explicit(&s->counted, 1, memory_order_relaxed);
    return r->counted;
}

struct request *request_begin(struct request_env *env, const struct client_ops *ops, void *client,
                              const struct http1_head *head)
{
    struct request *r = freelist_take(&env->requests);
    if (r != NULL) {
        request_clear(r);
    } else {
        r = slab_take(&env->slab);
        if (r == NULL)
            return NULL;
        memset(r, 0, sizeof *r);
    }
    r->env = env;
    if (env->shared->settings.requests_max != 0 && !count_in(r)) {
        freelist_put(&env->requests, r);
        return NULL;
    }
    r->client = ops;
    r->client_arg = client;
    r->head = head;
    r->minor_version = head->minor_version;
    r->method = head->method;
    r->start_ns = r->now_ns = clock_mono_ns();
    r->start_us = wall_us_at(env, r->start_ns);
    r->sent_ms = r->start_ns / 1000000;
    r->detail = FAULT_DETAIL_NONE;
    r->at_position = POLICY_NONE;
    r->content_type = STR("application/json");
    r->keep_alive =
        head->keep_alive && !atomic_load_explicit(&env->shared->draining, memory_order_relaxed);
    arena_init(&r->arena, &env->chunks, REQUEST_ARENA_BYTES_MAX);
    list_push_back(&env->active, &r->link);
    list_init(&r->poll_link);
    env->active_count++;
    metrics_gauge_add(env->meters.inflight, 1);
    attempt_init(&r->attempt);
    set_request_id(r);

    enum fault fault = FAULT_NONE;
    find_path(r, head, &fault);
    if (!r->path_is_static) /* The head moves while the body comes. */
        r->path_text = arena_copy(&r->arena, head->path);
    if (r->path->steps[0] == step_authenticate && step_authenticate(r) == STEP_FAIL)
        fault = r->fault;
    else if (r->path->steps[0] == step_authenticate)
        r->step = 1;
    if (fault == FAULT_NONE && head->body_kind == HTTP1_BODY_LENGTH &&
        head->content_length > env->shared->settings.body_max_bytes)
        fault = FAULT_TOO_LARGE;
    if (fault != FAULT_NONE) {
        bool small = !head->expect_continue && head->body_kind == HTTP1_BODY_LENGTH &&
                     head->content_length <= REFUSED_BODY_MAX;
        request_fail(r, fault);
        r->failed = true;
        r->step = request_tail(r->path);
        if (small) {
            r->refused = r->body_wanted = true;
            return r;
        }
        if (head->body_kind != HTTP1_BODY_NONE)
            r->keep_alive = false;
        request_run(r);
        return NULL;
    }
    r->body_wanted = head->body_kind != HTTP1_BODY_NONE;
    env->begun = r;
    return r;
}

bool request_wants_body(const struct request *r)
{
    return r->body_wanted;
}

bool request_body_part(struct request *r, struct str so_far)
{
    if (!r->path->takes_call || r->failed)
        return false;
    r->body = so_far;
    if (scan_feed(r, so_far))
        return true;
    if (r->early && r->work != NULL)
        early_send(r);
    return false;
}

void request_body_wrong(struct request *r, struct str so_far)
{
    r->keep_alive = r->early_keep = false;
    request_body(r, so_far);
}

void request_body(struct request *r, struct str body)
{
    r->body = body;
    r->body_ready = true;
    r->body_wanted = false;
    if (r->early) {
        r->keep_alive = r->early_keep;
        early_whole(r);
        return;
    }
    /* Usually head and body came together: then it is still the time it was at the head. */
    request_go_on(r, r->env->begun == r ? r->now_ns : clock_mono_ns());
}

enum step_result step_receive(struct request *r)
{
    if (!r->body_ready && !r->early)
        return STEP_WAIT;
    return workspace_take(r) ? STEP_NEXT : request_fail(r, FAULT_OVERLOAD);
}

void request_reject(struct request *r, enum fault fault)
{
    r->keep_alive = r->early_keep = false;
    r->body_wanted = false;
    if (r->early && !r->failed) {
        early_refuse(r, fault);
        return;
    }
    if (!r->failed) {
        request_fail(r, fault);
        r->failed = true;
        r->step = request_tail(r->path);
    }
    request_run(r);
}

void request_gone(struct request *r)
{
    if (r->client_gone)
        return;
    r->client_gone = true;
    r->keep_alive = r->early_keep = false;
    /* Nothing was started, nobody is there to be answered. */
    if (!r->body_ready && !r->failed && !r->early) {
        r->failed = true;
        r->step = request_tail(r->path);
        request_run(r);
        return;
    }
    if (r->refused && !r->body_ready) {
        request_run(r);
        return;
    }
    attempt_client_gone(r);
}

void request_writable(struct request *r)
{
    attempt_client_writable(r);
}

/* The front goes to the back before it is looked at, for it may go away by that. */
void request_env_tick(struct request_env *env)
{
    const uint64_t now_ms = request_now_ms();
    uint32_t part = round_part(&env->round, env->active_count, now_ms);
    for (struct list *front; part > 0 && (front = list_pop_front(&env->active)) != NULL; part--) {
        list_push_back(&env->active, front);
        attempt_tick(container_of(front, struct request, link), now_ms);
    }
}
