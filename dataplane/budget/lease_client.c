/* Usual path: a worker's wake or the tick asks the table for a message; it goes up; its answer
 * comes down and is applied, and the next message may follow.
 *
 * Ways to fail: the stream ends, or an answer is overdue -> the stream is given up, and with the
 * next one (rpc_keep) the table tells everything once more. */
#include "dataplane/budget/lease_client.h"

#include <assert.h>

#include "budget.pb-c.h"
#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/link/rpc_keep.h"
#include "common/link/wire.h"

#define TICK_MS 100U
#define IDLE_MS 500U /* Between ticks while nothing is held: who asks wakes it. */

typedef Steelyard__Budget__V1__LeaseUp LeaseUp;
typedef Steelyard__Budget__V1__LeaseDown LeaseDown;
typedef Steelyard__Budget__V1__Usage Usage;
typedef Steelyard__Budget__V1__Alloc Alloc;

static const struct rpc_method lease_method = {
    .path = "/steelyard.budget.v1.Budget/Lease",
    .request = &steelyard__budget__v1__lease_up__descriptor,
    .response = &steelyard__budget__v1__lease_down__descriptor,
};

struct lease_client {
    struct lease_client_options options;
    struct rpc_keep *keep;
    bool closing;
    bool heard; /* An answer came on this stream. */
    uv_timer_t tick_timer;
    uint64_t tick_ms;
    uv_async_t wake;
    unsigned handles;
    bool was_fenced;
    uint64_t refused_slots;
    /* One message at a time. */
    struct budget_report report;
    Usage usages[2 * BUDGET_REPORT_MAX];
    Usage *usage_list[2 * BUDGET_REPORT_MAX];
    void (*on_closed)(void *user);
    void *closed_user;
};

/* ---- up ---- */

static void fill(Usage *out, const struct budget_usage *u)
{
    steelyard__budget__v1__usage__init(out);
    out->budget = u->budget;
    out->period_start_us = u->period_start_us;
    out->cfg = u->cfg;
    out->settled = u->settled;
    out->returned = u->returned;
    out->reserved = u->reserved;
    out->want = u->want;
    out->need = u->need;
    out->granted = u->granted;
    out->next = u->next;
}

static int send_report(struct lease_client *c)
{
    const struct budget_report *r = &c->report;
    Steelyard__Budget__V1__LeaseHello hello = STEELYARD__BUDGET__V1__LEASE_HELLO__INIT;
    Steelyard__Budget__V1__FinalEpoch final = STEELYARD__BUDGET__V1__FINAL_EPOCH__INIT;
    Steelyard__Budget__V1__FinalEpoch *finals[1] = {&final};
    LeaseUp up = STEELYARD__BUDGET__V1__LEASE_UP__INIT;
    for (uint32_t i = 0; i < r->usage_count; i++)
        fill(&c->usages[i], &r->usage[i]);
    for (uint32_t i = 0; i < r->final_count; i++)
        fill(&c->usages[BUDGET_REPORT_MAX + i], &r->final[i]);
    if (r->report_no == 1) {
        hello.node_id = wire_text(c->options.node_id);
        hello.build = wire_text(c->options.build);
        hello.lease_epoch = r->lease_epoch;
        up.hello = &hello;
    }
    up.lease_epoch = r->lease_epoch;
    up.report_no = r->report_no;
    up.usage = c->usage_list;
    up.n_usage = r->usage_count;
    up.echo_begin = r->echo_begin;
    up.echo_end = r->echo_end;
    if (r->final_epoch != 0) {
        final.lease_epoch = r->final_epoch;
        final.exact = r->final_exact;
        final.last = r->final_last;
        final.usage = c->usage_list + BUDGET_REPORT_MAX;
        final.n_usage = r->final_count;
        up.final = finals;
        up.n_final = 1;
    }
    return rpc_keep_send(c->keep, &up.base);
}

static void pump(struct lease_client *c)
{
    if (c->closing || rpc_keep_stream(c->keep) == NULL)
        return;
    if (budget_table_report(c->options.table, clock_mono_ms(), clock_steady_us(), &c->report) &&
        send_report(c) != 0)
        rpc_keep_give_up(c->keep, RPC_INTERNAL, "cannot send");
}

/* ---- down ---- */

static void apply(struct lease_client *c, const Alloc *m, uint64_t mono_ms, int64_t wall_us)
{
    const struct budget_alloc a = {
        .budget = m->budget,
        .period_start_us = m->period_start_us,
        .period_end_us = m->period_end_us,
        .cfg = m->cfg,
        .granted = m->granted,
        .exhausted = m->exhausted,
        .recall = m->recall,
        .keep = m->keep,
        .limit = m->limit,
        .spent_others = m->spent_others,
        .unknown = m->unknown,
        .stale = m->stale,
        .offline = m->offline,
        .recalling = m->recalling,
    };
    int rc = budget_table_apply(c->options.table, &a, mono_ms, wall_us);
    if (rc != 0 && c->refused_slots++ == 0)
        log_event(LOG_ERROR, "no room for a budget on this node: its requests are refused",
                  LOG_U64("budget", a.budget), LOG_TEXT_FIELD("error", err_text(rc)));
}

static void on_message(struct rpc_keep *keep, const ProtobufCMessage *base, void *user)
{
    struct lease_client *c = user;
    const LeaseDown *m = (const LeaseDown *)base;
    uint64_t mono_ms = clock_mono_ms();
    int64_t wall_us = clock_steady_us();
    const struct budget_answer a = {
        .acked_report = m->acked_report,
        .lease_epoch = m->lease_epoch,
        .epoch_closed = m->epoch_closed,
        .echo = m->echo,
        .now_us = m->now_us,
        .fence_after_s = m->fence_after_s,
    };
    if (m->acked_report != 0) {
        c->heard = true;
        rpc_keep_proved(keep);
    }
    if (m->epoch_closed != 0)
        log_event(LOG_WARN, "the control plane closed this node's allocations: new ones are begun",
                  LOG_U64("lease_epoch", m->epoch_closed));
    if (budget_table_answered(c->options.table, &a, mono_ms, wall_us))
        for (size_t i = 0; i < m->n_alloc; i++)
            apply(c, m->alloc[i], mono_ms, wall_us);
    pump(c);
}

/* ---- the stream ---- */

static void on_opened(struct rpc_keep *keep, void *user)
{
    (void)keep;
    struct lease_client *c = user;
    budget_table_opened(c->options.table);
    pump(c);
}

static void on_lost(struct rpc_keep *keep, const struct rpc_status *status, void *user)
{
    (void)keep;
    (void)status;
    struct lease_client *c = user;
    c->heard = false;
    budget_table_lost(c->options.table);
}

static const struct rpc_keep_events keep_events = {
    .on_opened = on_opened, .on_message = on_message, .on_lost = on_lost};

/* ---- time ---- */

static void on_tick(uv_timer_t *timer);

static void set_tick(struct lease_client *c, uint64_t ms)
{
    if (c->closing || c->tick_ms == ms)
        return;
    c->tick_ms = ms;
    (void)uv_timer_start(&c->tick_timer, on_tick, ms, ms);
}

static void on_tick(uv_timer_t *timer)
{
    struct lease_client *c = container_of(timer, struct lease_client, tick_timer);
    struct budget_table_stats stats;
    uint64_t mono_ms = clock_mono_ms();
    budget_table_tick(c->options.table, mono_ms, clock_steady_us());
    budget_table_get_stats(c->options.table, &stats);
    if (stats.fenced && !c->was_fenced)
        log_event(LOG_ERROR, "the control plane was silent for too long: budgets are not used "
                             "beyond their offline allowance");
    c->was_fenced = stats.fenced;
    if (rpc_keep_stream(c->keep) != NULL && budget_table_overdue(c->options.table, mono_ms))
        rpc_keep_give_up(c->keep, RPC_DEADLINE, "no answer");
    else
        pump(c);
    bool idle = stats.slots == 0 && stats.epochs == 0 && stats.asks == 0 &&
                budget_table_idle(c->options.table);
    set_tick(c, idle ? IDLE_MS : TICK_MS);
}

/* The drain of asks is part of making a report. */
static void on_wake(uv_async_t *wake)
{
    struct lease_client *c = container_of(wake, struct lease_client, wake);
    set_tick(c, TICK_MS);
    pump(c);
}

static void wake_up(void *user)
{
    (void)uv_async_send(user);
}

/* ---- life ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct lease_client *c = handle->data;
    if (--c->handles > 0)
        return;
    void (*on_closed)(void *) = c->on_closed;
    void *user = c->closed_user;
    mem_free(c);
    if (on_closed != NULL)
        on_closed(user);
}

static void on_keep_closed(void *user)
{
    struct lease_client *c = user;
    uv_handle_t *handles[] = {(uv_handle_t *)&c->tick_timer, (uv_handle_t *)&c->wake};
    for (size_t i = 0; i < sizeof(handles) / sizeof(handles[0]); i++) {
        handles[i]->data = c;
        uv_close(handles[i], on_handle_closed);
    }
}

int lease_client_create(const struct lease_client_options *options,
                        struct lease_client **out_client, struct err *err)
{
    struct lease_client *c = mem_zalloc(sizeof(*c));
    if (c == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    c->options = *options;
    const struct rpc_keep_options keep = {.loop = options->loop,
                                          .client = options->client,
                                          .method = &lease_method,
                                          .events = &keep_events,
                                          .user = c,
                                          .backoff = options->backoff};
    int rc = rpc_keep_create(&keep, &c->keep, err);
    if (rc != 0) {
        mem_free(c);
        return rc;
    }
    rc = uv_async_init(options->loop, &c->wake, on_wake);
    if (rc != 0) {
        rpc_keep_close(c->keep, NULL, NULL);
        mem_free(c);
        return err_set(err, err_from_uv(rc), "cannot make a bell: %s", uv_strerror(rc));
    }
    (void)uv_timer_init(options->loop, &c->tick_timer);
    c->handles = 2;
    for (uint32_t i = 0; i < 2 * BUDGET_REPORT_MAX; i++)
        c->usage_list[i] = &c->usages[i];
    budget_table_set_wake(options->table, wake_up, &c->wake);
    *out_client = c;
    return 0;
}

void lease_client_start(struct lease_client *c)
{
    set_tick(c, TICK_MS);
    rpc_keep_start(c->keep);
}

void lease_client_retire(struct lease_client *c)
{
    budget_table_retire(c->options.table);
    pump(c);
}

bool lease_client_connected(const struct lease_client *c)
{
    return rpc_keep_stream(c->keep) != NULL && c->heard;
}

bool lease_client_done(const struct lease_client *c)
{
    return !lease_client_connected(c) || budget_table_idle(c->options.table);
}

void lease_client_close(struct lease_client *c, void (*cb)(void *user), void *user)
{
    assert(!c->closing);
    c->on_closed = cb;
    c->closed_user = user;
    c->closing = true;
    budget_table_set_wake(c->options.table, NULL, NULL);
    (void)uv_timer_stop(&c->tick_timer);
    rpc_keep_close(c->keep, on_keep_closed, c);
}
