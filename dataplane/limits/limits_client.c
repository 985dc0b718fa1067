/* Usual path: a report twice a second while something limited is asked for, else once a second; its
 * answer comes down and is applied; the next report acknowledges it.
 *
 * Ways to fail: the stream ends, or nothing comes down for longer than a new plane learns -> the
 * stream is given up and another one opened (rpc_keep). Shares end by their time meanwhile. */
#include "dataplane/limits/limits_client.h"

#include <assert.h>
#include <stdio.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/link/rpc_keep.h"
#include "common/link/wire.h"
#include "rates.pb-c.h"

#define TICK_MS    100U
#define REST_MS    500U /* Between ticks while nothing is shared nor asked for. */
#define BUSY_MS    500U
#define IDLE_MS    1000U
#define ANSWER_MS  2000U  /* An answer is waited for before the next report, for so long. */
#define SILENT_MS  30000U /* Without any answer the stream is given up. */
#define PATH_BYTES 4096U
#define FILE_BYTES 128U

typedef Steelyard__Rates__V1__RateUp RateUp;
typedef Steelyard__Rates__V1__RateDown RateDown;
typedef Steelyard__Rates__V1__RateDemand RateDemand;

static const struct rpc_method share_method = {
    .path = "/steelyard.rates.v1.Rates/Share",
    .request = &steelyard__rates__v1__rate_up__descriptor,
    .response = &steelyard__rates__v1__rate_down__descriptor,
};

struct limits_client {
    struct limits_client_options options;
    struct rpc_keep *keep;
    bool closing;
    bool hello_sent;
    bool heard; /* An answer came on this stream. */
    bool leaving, left;
    uint64_t life;
    uint64_t sent_ms, heard_ms;
    bool under_way;
    uint32_t kept_safe, kept_nodes; /* In the file. */
    char path[PATH_BYTES];
    uint64_t full_seen;
    uv_timer_t tick_timer;
    uint64_t tick_ms;
    struct limits_report report;
    RateDemand demands[LIMITS_REPORT_MAX];
    RateDemand *demand_list[LIMITS_REPORT_MAX];
    struct limits_share shares[LIMITS_REPORT_MAX];
    void (*on_closed)(void *user);
    void *closed_user;
};

/* ---- the file ---- */

static void read_file(struct limits_client *c)
{
    struct buf text;
    struct err err;
    struct str first, rest, second, third;
    uint64_t safe = 0, nodes = 0;
    buf_init(&text, FILE_BYTES);
    if (buf_read_file(&text, c->path, FILE_BYTES - 1, &err) == 0 &&
        str_cut(str_trim(buf_str(&text)), ' ', &first, &rest) && str_eq(first, STR("1")) &&
        str_cut(rest, ' ', &second, &third) &&
        str_parse_u64(second, BUCKET_SHARE_ONE, &safe) == 0 &&
        str_parse_u64(third, UINT32_MAX, &nodes) == 0) {
        c->kept_safe = (uint32_t)safe;
        c->kept_nodes = (uint32_t)nodes;
        limits_remember(c->options.table, c->kept_safe, c->kept_nodes);
    }
    buf_deinit(&text);
}

static void write_file(struct limits_client *c)
{
    char text[FILE_BYTES];
    struct err err;
    uint32_t safe = limits_safe(c->options.table), nodes = limits_nodes(c->options.table);
    if (safe == c->kept_safe && nodes == c->kept_nodes)
        return;
    int len = snprintf(text, sizeof text, "1 %u %u\n", safe, nodes);
    struct str data = {.data = text, .len = (size_t)len};
    if (buf_write_file(data, c->path, 0600, &err) != 0) {
        log_event(LOG_WARN, "the share of rate limits cannot be kept for the next start",
                  LOG_TEXT_FIELD("error", err.message));
        (void)unlink(c->path); /* An older, larger one would be worse than none. */
    }
    c->kept_safe = safe;
    c->kept_nodes = nodes;
}

/* ---- up ---- */

static int send_report(struct limits_client *c)
{
    const struct limits_report *r = &c->report;
    Steelyard__Rates__V1__RateHello hello = STEELYARD__RATES__V1__RATE_HELLO__INIT;
    RateUp up = STEELYARD__RATES__V1__RATE_UP__INIT;
    for (uint32_t i = 0; i < r->count; i++) {
        RateDemand *d = &c->demands[i];
        steelyard__rates__v1__rate_demand__init(d);
        d->account = r->demands[i].account;
        d->requests = r->demands[i].want[LIMITS_REQUESTS];
        d->tokens = r->demands[i].want[LIMITS_TOKENS];
        d->concurrency = r->demands[i].want[LIMITS_CONCURRENCY];
        d->held = r->demands[i].held;
    }
    if (!c->hello_sent) {
        hello.node_id = wire_text(c->options.node_id);
        hello.build = wire_text(c->options.build);
        hello.life = c->life;
        up.hello = &hello;
    }
    up.report_no = r->report_no;
    up.term = r->term;
    up.applied = r->applied;
    up.safe = r->safe;
    up.nodes = r->nodes;
    up.leaving = c->leaving;
    up.demands = c->demand_list;
    up.n_demands = r->count;
    int rc = rpc_keep_send(c->keep, &up.base);
    c->hello_sent |= rc == 0;
    return rc;
}

static void report(struct limits_client *c, uint64_t now_ms)
{
    limits_report(c->options.table, clock_mono_ns(), &c->report);
    c->under_way = true;
    c->sent_ms = now_ms;
    if (send_report(c) != 0)
        rpc_keep_give_up(c->keep, RPC_INTERNAL, "cannot send");
}

/* ---- down ---- */

static void on_message(struct rpc_keep *keep, const ProtobufCMessage *base, void *user)
{
    struct limits_client *c = user;
    const RateDown *m = (const RateDown *)base;
    if (m->n_shares > LIMITS_REPORT_MAX) {
        rpc_keep_give_up(keep, RPC_INVALID, "too many shares");
        return;
    }
    for (size_t i = 0; i < m->n_shares; i++)
        c->shares[i] = (struct limits_share){
            .account = m->shares[i]->account,
            .share = {m->shares[i]->requests, m->shares[i]->tokens, m->shares[i]->concurrency}};
    const struct limits_answer a = {.report_no = m->report_no,
                                    .answer_no = m->answer_no,
                                    .term = m->term,
                                    .safe = m->safe,
                                    .nodes = m->nodes,
                                    .count = (uint32_t)m->n_shares,
                                    .shares = c->shares};
    c->under_way = false;
    c->heard = true;
    c->heard_ms = clock_mono_ms();
    rpc_keep_proved(keep);
    if (limits_apply(c->options.table, &a, clock_mono_ns()) && !c->left)
        write_file(c);
}

/* ---- the stream ---- */

static void on_opened(struct rpc_keep *keep, void *user)
{
    (void)keep;
    struct limits_client *c = user;
    c->hello_sent = false;
    c->heard_ms = clock_mono_ms();
    report(c, c->heard_ms);
}

static void on_lost(struct rpc_keep *keep, const struct rpc_status *status, void *user)
{
    (void)keep;
    (void)status;
    ((struct limits_client *)user)->heard = false;
}

static const struct rpc_keep_events keep_events = {
    .on_opened = on_opened, .on_message = on_message, .on_lost = on_lost};

/* ---- time ---- */

static void warn_if_full(struct limits_client *c)
{
    struct limits_stats stats;
    limits_get_stats(c->options.table, &stats);
    if (stats.full != 0 && c->full_seen == 0)
        log_event(LOG_ERROR, "no room for another limited key or team on this node: its requests "
                             "are refused until the node restarts");
    c->full_seen = stats.full;
}

static void on_tick(uv_timer_t *timer);

static void set_tick(struct limits_client *c, uint64_t ms)
{
    if (c->tick_ms == ms)
        return;
    c->tick_ms = ms;
    (void)uv_timer_start(&c->tick_timer, on_tick, ms, ms);
}

static void on_tick(uv_timer_t *timer)
{
    struct limits_client *c = container_of(timer, struct limits_client, tick_timer);
    uint64_t now_ms = clock_mono_ms();
    limits_tick(c->options.table, clock_mono_ns());
    warn_if_full(c);
    set_tick(c, limits_busy(c->options.table) ? TICK_MS : REST_MS);
    if (rpc_keep_stream(c->keep) == NULL || c->left)
        return;
    uint64_t every_ms = limits_busy(c->options.table) ? BUSY_MS : IDLE_MS;
    if (now_ms - c->heard_ms > SILENT_MS)
        rpc_keep_give_up(c->keep, RPC_DEADLINE, "no answer");
    else if (now_ms - c->sent_ms >= (c->under_way ? ANSWER_MS : every_ms))
        report(c, now_ms);
}

/* ---- life ---- */

static void on_tick_closed(uv_handle_t *handle)
{
    struct limits_client *c = container_of((uv_timer_t *)handle, struct limits_client, tick_timer);
    void (*on_closed)(void *) = c->on_closed;
    void *user = c->closed_user;
    mem_free(c);
    if (on_closed != NULL)
        on_closed(user);
}

static void on_keep_closed(void *user)
{
    uv_close((uv_handle_t *)&((struct limits_client *)user)->tick_timer, on_tick_closed);
}

int limits_client_create(const struct limits_client_options *options,
                         struct limits_client **out_client, struct err *err)
{
    struct limits_client *c = mem_zalloc(sizeof(*c));
    if (c == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    c->options = *options;
    c->life = rand_u64() | 1;
    int len = snprintf(c->path, sizeof c->path, "%s/limits", options->state_dir);
    if (len < 0 || (size_t)len >= sizeof c->path) {
        mem_free(c);
        return err_set(err, ERR_TOO_LARGE, "the path of the state directory is too long");
    }
    const struct rpc_keep_options keep = {.loop = options->loop,
                                          .client = options->client,
                                          .method = &share_method,
                                          .events = &keep_events,
                                          .user = c,
                                          .backoff = options->backoff};
    int rc = rpc_keep_create(&keep, &c->keep, err);
    if (rc != 0) {
        mem_free(c);
        return rc;
    }
    if (options->client != NULL)
        read_file(c);
    else
        limits_alone(options->table, clock_mono_ns());
    (void)uv_timer_init(options->loop, &c->tick_timer);
    for (uint32_t i = 0; i < LIMITS_REPORT_MAX; i++)
        c->demand_list[i] = &c->demands[i];
    *out_client = c;
    return 0;
}

void limits_client_start(struct limits_client *c)
{
    set_tick(c, TICK_MS);
    rpc_keep_start(c->keep);
}

void limits_client_leave(struct limits_client *c)
{
    if (rpc_keep_stream(c->keep) == NULL || !c->heard || c->left)
        return; /* It may come back while the plane is away: its share stays its own. */
    /* Gone before the plane can give it to others. */
    if (unlink(c->path) != 0 && c->kept_safe != 0)
        return;
    c->leaving = true;
    report(c, clock_mono_ms());
    c->left = true;
    rpc_keep_no_more(c->keep);
}

bool limits_client_done(const struct limits_client *c)
{
    struct rpc_stream *stream = rpc_keep_stream(c->keep);
    return stream == NULL || !c->left || rpc_stream_queued_bytes(stream) == 0;
}

void limits_client_close(struct limits_client *c, void (*cb)(void *user), void *user)
{
    assert(!c->closing);
    c->on_closed = cb;
    c->closed_user = user;
    c->closing = true;
    (void)uv_timer_stop(&c->tick_timer);
    rpc_keep_close(c->keep, on_keep_closed, c);
}
