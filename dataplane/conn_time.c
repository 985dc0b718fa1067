/* What is due with time, and cuts from above. Each tick looks at a part of the connections, so that
 * thousands of idle ones cost next to nothing; deadlines are kept to about a second. */
#include "common/base/mem.h"
#include "dataplane/conn_internal.h"

/* Less does not count: a full receiver still takes a few bytes of the kernel's probes. */
#define PROGRESS_BYTES 1024U

/* The next look would come after the limit, and progress may have been seen up to a round late. So
 * a stall is cut at most a round before its time, and less where the limit is short. */
static uint32_t stall_limit_ms(const struct conn_config *config)
{
    const uint32_t early_ms = config->stall_ms / 8;
    return config->stall_ms - (early_ms < ROUND_MS ? early_ms : ROUND_MS);
}

/* B10: a peer that takes nothing of what waits for it. */
static bool stalled(struct conn *c, uint64_t now_ms)
{
    struct conn_output *o = c->out;
    if (!c->writing)
        return false;
    size_t unsent = uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp);
    if (unsent + PROGRESS_BYTES <= o->unsent_seen) {
        o->unsent_seen = unsent;
        o->progress_ms = now_ms;
    }
    return now_ms - o->progress_ms >= stall_limit_ms(&c->pool->config);
}

static void cut(struct conn *c)
{
    struct request *r = c->request;
    conn_close(c, true);
    if (r != NULL)
        request_gone(r);
}

static void conn_tick(struct conn *c, uint64_t now_ms)
{
    const struct conn_config *config = &c->pool->config;
    uint64_t in_state = now_ms - c->since_ms;
    if (stalled(c, now_ms)) {
        meters_cut(&c->pool->env->meters, "stall");
        cut(c);
        return;
    }
    switch ((enum conn_state)c->state) {
    case CONN_IDLE:
        if (in_state >= config->idle_ms || (c->retire_ms != 0 && now_ms >= c->retire_ms))
            conn_close(c, false);
        break;
    case CONN_HEAD:
        if (in_state >= config->head_ms)
            conn_reject(c, FAULT_HEAD_TIMEOUT);
        break;
    case CONN_BODY:
        if (in_state >= config->body_grace_ms &&
            c->message->body.payload_bytes < in_state * config->body_min_rate / 1000) {
            c->close_after = true;
            conn_state_set(c, CONN_BUSY);
            meters_reject(&c->pool->env->meters, "slow_body");
            request_reject(c->request, FAULT_HEAD_TIMEOUT);
        }
        break;
    case CONN_LINGER:
        if (c->shut && in_state >= config->linger_ms)
            conn_close(c, false);
        break;
    case CONN_BUSY:
    case CONN_CLOSING:
        break;
    }
}

/* The front goes to the back before it is looked at, for it may go away by that. */
void conn_pool_tick(struct conn_pool *p, uint64_t now_ms)
{
    uint32_t part = round_part(&p->round, p->open_count, now_ms);
    for (struct list *front; part > 0 && (front = list_pop_front(&p->open)) != NULL; part--) {
        list_push_back(&p->open, front);
        conn_tick(container_of(front, struct conn, link), now_ms);
    }
}

void conn_pool_drain(struct conn_pool *p)
{
    p->closing = true;
    LIST_FOREACH_SAFE (it, tmp, &p->open) {
        struct conn *c = container_of(it, struct conn, link);
        c->close_after = true;
        if (c->state == CONN_IDLE)
            conn_close(c, false);
    }
}

void conn_pool_cut(struct conn_pool *p)
{
    p->closing = true;
    LIST_FOREACH_SAFE (it, tmp, &p->open)
        cut(container_of(it, struct conn, link));
}

static size_t held_bytes(const struct conn *c)
{
    size_t held = c->message != NULL ? c->message->in.cap : 0;
    held += c->ahead != NULL ? c->ahead->in.cap : 0;
    return held + (c->out != NULL ? c->out->sending.cap + c->out->waiting.cap : 0);
}

void conn_pool_cut_largest(struct conn_pool *p)
{
    struct conn *largest = NULL;
    size_t most = 0;
    LIST_FOREACH (it, &p->open) {
        struct conn *c = container_of(it, struct conn, link);
        size_t held = held_bytes(c);
        if (c->state != CONN_CLOSING && held > most) {
            most = held;
            largest = c;
        }
    }
    if (largest == NULL)
        return;
    meters_cut(&p->env->meters, "memory");
    cut(largest);
}
