/* Usual path: a sync that brought more starts the batch timer; that builds batches from what is
 * synced, oldest epoch first, and sends them as far as window and credit reach, one after the other
 * as the stream takes them; acknowledgements move each epoch's `acked` on, free the window and age
 * segments out. When nothing comes, the timer only looks now and then for what has become old.
 *
 * Ways to fail: the stream closes -> everything unacknowledged is read again from the spool for the
 * next one (rpc_keep). The plane expects another seq -> the epoch is rewound (or, past what is
 * still kept, a gap says what is lost). A record that is damaged on disk -> a gap in its place. */
#include <assert.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/link/wire.h"
#include "dataplane/telemetry/shipper_internal.h"
#include "telemetry.pb-c.h"

#define BATCH_MS_DEFAULT   200U
#define KEEP_MS_DEFAULT    600000U
#define KEEP_BYTES_DEFAULT 67108864U
#define WINDOW_DEFAULT     8388608U
#define REWIND_QUIET_MS    1000U
#define IDLE_MS            5000U /* Between two looks for old segments. */
#define EPOCHS_IN_HELLO    1024U

typedef Steelyard__Telemetry__V1__PushUp PushUp;
typedef Steelyard__Telemetry__V1__PushDown PushDown;

static const struct rpc_method push_method = {
    .path = "/steelyard.telemetry.v1.Telemetry/Push",
    .request = &steelyard__telemetry__v1__push_up__descriptor,
    .response = &steelyard__telemetry__v1__push_down__descriptor,
};

/* ---- epochs ---- */

static struct ship_epoch *epoch_find(struct shipper *s, uint64_t id)
{
    LIST_FOREACH (it, &s->epochs) {
        struct ship_epoch *e = container_of(it, struct ship_epoch, link);
        if (e->epoch->id == id)
            return e;
    }
    return NULL;
}

static int epochs_load(struct shipper *s)
{
    struct spool_set *set = s->options.spools;
    int rc = 0;
    /* Only this thread removes epochs and all are there from the set's creation on. */
    LIST_FOREACH (it, &set->epochs) {
        struct ship_epoch *e = mem_zalloc(sizeof(*e));
        if (e == NULL) {
            rc = ERR_NOMEM;
            break;
        }
        e->epoch = container_of(it, struct spool_epoch, link);
        shipper_cursor_init(&e->cursor, set, e->epoch);
        e->acked = e->counted = e->cursor.next_seq - 1;
        list_push_back(&s->epochs, &e->link);
    }
    return rc;
}

static void batches_drop(struct shipper *s, const struct ship_epoch *epoch)
{
    LIST_FOREACH_SAFE (it, tmp, &s->batches) {
        struct ship_batch *b = container_of(it, struct ship_batch, link);
        if (epoch != NULL && b->epoch != epoch)
            continue;
        s->status.unacked_bytes -= b->bytes;
        list_remove(&b->link);
        mem_free(b);
    }
}

void shipper_epoch_free(struct shipper *s, struct ship_epoch *e)
{
    batches_drop(s, e);
    list_remove(&e->link);
    shipper_cursor_deinit(&e->cursor);
    mem_free(e);
}

/* ---- batches ---- */

static int batch_send(struct shipper *s, struct ship_epoch *e)
{
    struct ship_batch *b = mem_zalloc(sizeof(*b));
    if (b == NULL || shipper_batch_pack(&s->batch, e->pace.slow || !e->epoch->live) != 0) {
        mem_free(b);
        return ERR_NOMEM;
    }
    Steelyard__Telemetry__V1__PushBatch batch = STEELYARD__TELEMETRY__V1__PUSH_BATCH__INIT;
    batch.epoch = e->epoch->id;
    batch.first_seq = s->batch.first_seq;
    batch.count = s->batch.count;
    batch.raw_bytes = s->batch.raw_bytes;
    batch.payload = (ProtobufCBinaryData){.len = s->batch.payload_len,
                                          .data = (uint8_t *)(uintptr_t)s->batch.payload};
    PushUp up = STEELYARD__TELEMETRY__V1__PUSH_UP__INIT;
    up.body_case = STEELYARD__TELEMETRY__V1__PUSH_UP__BODY_BATCH;
    up.batch = &batch;
    int rc = rpc_keep_send(s->keep, &up.base);
    if (rc != 0) {
        mem_free(b);
        return rc;
    }
    *b = (struct ship_batch){
        .epoch = e, .last_seq = e->cursor.next_seq - 1, .bytes = s->batch.payload_len};
    list_push_back(&s->batches, &b->link);
    s->sent_bytes += b->bytes;
    s->status.unacked_bytes += b->bytes;
    s->status.sent_records += s->batch.count;
    s->status.gaps += s->batch.gaps;
    return 0;
}

/* The plane would take more. */
static bool is_wanted(const struct shipper *s)
{
    return s->status.unacked_bytes < s->options.window_bytes && s->sent_bytes < s->credit_bytes;
}

/* One batch is with gRPC and one waits behind it, so that what is sent was read a moment ago and is
 * in the cache, and its memory serves again at once. */
static bool may_send(const struct shipper *s)
{
    struct rpc_stream *stream = rpc_keep_stream(s->keep);
    return !s->closing && stream != NULL && is_wanted(s) &&
           rpc_stream_has_room(stream, SHIPPER_BATCH_BYTES);
}

static void note_stop(const struct shipper *s, struct ship_epoch *e)
{
    e->more = true;
    if (rpc_keep_stream(s->keep) == NULL)
        shipper_pace_reset(&e->pace);
    else
        shipper_pace_stopped(&e->pace, is_wanted(s) ? SHIPPER_STOP_LINK : SHIPPER_STOP_PLANE,
                             clock_mono_ms(), s->passed_bytes);
}

/* Synced records not yet read; SIZE_MAX where nobody counts. */
static uint64_t waiting_records(struct ship_epoch *e)
{
    const struct spool *spool = spool_of_epoch(e->cursor.set, e->epoch);
    if (spool == NULL)
        return UINT64_MAX;
    uint64_t end = atomic_load_explicit(&spool->synced_seq, memory_order_acquire);
    return end > e->cursor.next_seq ? end - e->cursor.next_seq : 0;
}

/* all: also a batch that could be fuller; it has waited for the timer. */
static void pump_epoch(struct shipper *s, struct ship_epoch *e, bool all)
{
    e->more = false;
    for (;;) {
        if (!all && waiting_records(e) < SHIPPER_BATCH_LEAST) {
            shipper_pace_reset(&e->pace);
            return;
        }
        if (!may_send(s)) {
            note_stop(s, e);
            return;
        }
        if (shipper_batch_collect(&s->batch, &e->cursor) == 0) {
            shipper_pace_reset(&e->pace);
            return;
        }
        if (batch_send(s, e) != 0) {
            shipper_cursor_seek(&e->cursor, s->batch.first_seq);
            e->more = true;
            return;
        }
    }
}

static void pump(struct shipper *s)
{
    LIST_FOREACH (it, &s->epochs)
        pump_epoch(s, container_of(it, struct ship_epoch, link), true);
}

/* ---- the timer ---- */

static void on_batch_timer(uv_timer_t *timer);

/* It is running always; `soon` brings it forward. */
static void timer_arm(struct shipper *s, bool soon)
{
    uint64_t wait_ms = s->options.batch_ms;
    if (!soon && s->options.keep_ms / 2 > wait_ms)
        wait_ms = s->options.keep_ms / 2 < IDLE_MS ? s->options.keep_ms / 2 : IDLE_MS;
    if (s->closing)
        return;
    if (!uv_is_active((uv_handle_t *)&s->batch_timer) ||
        uv_timer_get_due_in(&s->batch_timer) > wait_ms)
        (void)uv_timer_start(&s->batch_timer, on_batch_timer, wait_ms, 0);
}

/* Something is left that no message will ask for. */
static bool has_more(struct shipper *s)
{
    if (rpc_keep_stream(s->keep) == NULL)
        return false; /* A new stream arms the timer. */
    LIST_FOREACH (it, &s->epochs) {
        struct ship_epoch *e = container_of(it, struct ship_epoch, link);
        if (e->more ||
            (e->epoch->live ? waiting_records(e) > 0 : e->acked + 1 != e->cursor.next_seq))
            return true;
    }
    return false;
}

static void on_batch_timer(uv_timer_t *timer)
{
    struct shipper *s = container_of(timer, struct shipper, batch_timer);
    pump(s);
    shipper_age(s);
    timer_arm(s, has_more(s));
}

static void on_synced(uv_async_t *async)
{
    timer_arm(container_of(async, struct shipper, synced), true);
}

/* The sync thread's. */
static void wake(void *user)
{
    struct shipper *s = user;
    (void)uv_async_send(&s->synced);
}

/* ---- the stream ---- */

static void on_acked(struct shipper *s, struct ship_epoch *e, uint64_t through)
{
    if (through <= e->acked)
        return;
    if (through > e->counted) {
        atomic_fetch_add(&s->options.spools->shipped, through - e->counted);
        s->status.acked_records += through - e->counted;
        e->counted = through;
    }
    rpc_keep_proved(s->keep); /* Only this shows that the store works. */
    e->acked = through;
    e->acked_at_ms = clock_mono_ms();
    if (e->cursor.next_seq <= through)
        shipper_cursor_seek(&e->cursor, through + 1);
    LIST_FOREACH_SAFE (it, tmp, &s->batches) {
        struct ship_batch *b = container_of(it, struct ship_batch, link);
        if (b->epoch != e || b->last_seq > through)
            continue;
        s->status.unacked_bytes -= b->bytes;
        s->passed_bytes += b->bytes;
        list_remove(&b->link);
        mem_free(b);
    }
}

static void on_expected(struct shipper *s, struct ship_epoch *e, uint64_t seq)
{
    uint64_t now_ms = clock_mono_ms();
    /* Each batch after a hole is answered alike: one rewind serves them all. */
    if (seq == e->rewound_to && now_ms - e->rewound_at_ms < REWIND_QUIET_MS && e->acked < seq)
        return;
    e->rewound_to = seq;
    e->rewound_at_ms = now_ms;
    batches_drop(s, e);
    e->acked = seq - 1;
    shipper_cursor_seek(&e->cursor, seq);
}

/* What stopped may have gone away. */
static void go_on(struct shipper *s)
{
    LIST_FOREACH (it, &s->epochs) {
        struct ship_epoch *waiting = container_of(it, struct ship_epoch, link);
        if (waiting->more)
            pump_epoch(s, waiting, false);
    }
    timer_arm(s, true);
}

static void on_message(struct rpc_keep *keep, const ProtobufCMessage *m, void *user)
{
    (void)keep;
    struct shipper *s = user;
    const PushDown *down = (const PushDown *)m;
    s->contacted = true;
    if (down->credit_bytes > s->credit_bytes)
        s->credit_bytes = down->credit_bytes;
    struct ship_epoch *e = epoch_find(s, down->epoch);
    if (e != NULL && down->expected_seq != 0)
        on_expected(s, e, down->expected_seq);
    else if (e != NULL)
        on_acked(s, e, down->acked_through);
    go_on(s);
}

static void on_writable(struct rpc_keep *keep, void *user)
{
    (void)keep;
    go_on(user);
}

static void on_lost(struct rpc_keep *keep, const struct rpc_status *status, void *user)
{
    (void)keep;
    (void)status;
    struct shipper *s = user;
    s->status.connected = false;
    batches_drop(s, NULL);
    LIST_FOREACH (it, &s->epochs) {
        struct ship_epoch *e = container_of(it, struct ship_epoch, link);
        e->rewound_to = 0;
        shipper_cursor_seek(&e->cursor, e->acked + 1);
    }
}

static int send_hello(struct shipper *s)
{
    uint64_t epochs[EPOCHS_IN_HELLO];
    size_t n = 0;
    LIST_FOREACH (it, &s->epochs) {
        if (n < EPOCHS_IN_HELLO)
            epochs[n++] = container_of(it, struct ship_epoch, link)->epoch->id;
    }
    Steelyard__Telemetry__V1__PushHello hello = STEELYARD__TELEMETRY__V1__PUSH_HELLO__INIT;
    hello.node_id = wire_text(s->options.node_id);
    hello.build = wire_text(s->options.build);
    hello.epochs = epochs;
    hello.n_epochs = n;
    PushUp up = STEELYARD__TELEMETRY__V1__PUSH_UP__INIT;
    up.body_case = STEELYARD__TELEMETRY__V1__PUSH_UP__BODY_HELLO;
    up.hello = &hello;
    return rpc_keep_send(s->keep, &up.base);
}

static void on_opened(struct rpc_keep *keep, void *user)
{
    struct shipper *s = user;
    s->sent_bytes = 0;
    s->credit_bytes = 0;
    s->contacted = false;
    s->status.connected = true;
    s->status.reconnects++;
    rpc_stream_set_send_max(rpc_keep_stream(keep), SHIPPER_BATCH_BYTES);
    if (send_hello(s) != 0)
        rpc_keep_give_up(keep, RPC_INTERNAL, "out of memory");
    timer_arm(s, true);
}

static const struct rpc_keep_events keep_events = {
    .on_opened = on_opened,
    .on_message = on_message,
    .on_writable = on_writable,
    .on_lost = on_lost};

/* ---- life ---- */

int shipper_create(const struct shipper_options *options, struct shipper **out_shipper,
                   struct err *err)
{
    struct shipper *s = mem_zalloc(sizeof(*s));
    if (s == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    s->options = *options;
    if (s->options.batch_ms == 0)
        s->options.batch_ms = BATCH_MS_DEFAULT;
    if (s->options.keep_ms == 0)
        s->options.keep_ms = KEEP_MS_DEFAULT;
    if (s->options.keep_bytes == 0)
        s->options.keep_bytes = KEEP_BYTES_DEFAULT;
    if (s->options.window_bytes == 0)
        s->options.window_bytes = WINDOW_DEFAULT;
    list_init(&s->epochs);
    list_init(&s->batches);
    const struct rpc_keep_options keep = {.loop = options->loop,
                                          .client = options->client,
                                          .method = &push_method,
                                          .events = &keep_events,
                                          .user = s,
                                          .backoff = options->backoff};
    int rc = shipper_batch_init(&s->batch);
    if (rc == 0)
        rc = epochs_load(s);
    if (rc == 0)
        rc = rpc_keep_create(&keep, &s->keep, err);
    if (rc == 0)
        rc = err_from_uv(uv_async_init(options->loop, &s->synced, on_synced));
    if (rc != 0) {
        while (!list_empty(&s->epochs))
            shipper_epoch_free(s, container_of(s->epochs.next, struct ship_epoch, link));
        shipper_batch_deinit(&s->batch);
        if (s->keep != NULL)
            rpc_keep_close(s->keep, NULL, NULL);
        mem_free(s);
        return err_set(err, rc, "cannot make the shipper: %s", err_text(rc));
    }
    (void)uv_timer_init(options->loop, &s->batch_timer);
    s->handles = 2;
    spool_set_on_synced(s->options.spools, wake, s);
    *out_shipper = s;
    return 0;
}

void shipper_start(struct shipper *s)
{
    timer_arm(s, true);
    rpc_keep_start(s->keep);
}

void shipper_kick(struct shipper *s)
{
    pump(s);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct shipper *s = handle->data;
    if (--s->handles > 0)
        return;
    while (!list_empty(&s->epochs))
        shipper_epoch_free(s, container_of(s->epochs.next, struct ship_epoch, link));
    shipper_batch_deinit(&s->batch);
    void (*on_closed)(void *) = s->on_closed;
    void *user = s->closed_user;
    mem_free(s);
    on_closed(user);
}

static void on_keep_closed(void *user)
{
    struct shipper *s = user;
    s->batch_timer.data = s;
    s->synced.data = s;
    uv_close((uv_handle_t *)&s->synced, on_handle_closed);
    uv_close((uv_handle_t *)&s->batch_timer, on_handle_closed);
}

void shipper_close(struct shipper *s, void (*cb)(void *user), void *user)
{
    assert(!s->closing);
    s->on_closed = cb;
    s->closed_user = user;
    s->closing = true;
    spool_set_on_synced(s->options.spools, NULL, NULL);
    (void)uv_timer_stop(&s->batch_timer);
    rpc_keep_close(s->keep, on_keep_closed, s);
}

void shipper_get_status(const struct shipper *s, struct shipper_status *out_status)
{
    *out_status = s->status;
    out_status->connected = rpc_keep_stream(s->keep) != NULL && s->contacted;
    out_status->idle = list_empty(&s->batches);
    out_status->quarantined = 0;
    LIST_FOREACH (it, &s->epochs) {
        struct ship_epoch *e = container_of(it, struct ship_epoch, link);
        out_status->quarantined += e->cursor.quarantined;
        if (e->more || e->acked + 1 != e->cursor.next_seq)
            out_status->idle = false;
    }
}
