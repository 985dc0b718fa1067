/* An update arrives as one or more messages of one nonce; `staging` is a copy of the resources in
 * service with the changes laid over it. The last message (more = false) ends it: build, save,
 * publish, ACK - or NACK with the first fault, and everything stays as it was. */
#include "dataplane/state/sync.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/link/rpc_keep.h"
#include "common/link/wire.h"
#include "control.pb-c.h"
#include "dataplane/state/rollouts.h"
#include "dataplane/state/snapshot_build.h"
#include "dataplane/state/snapshot_disk.h"

#define HEALTH_MS_DEFAULT 10000U
#define SETTLE_MS_DEFAULT 30000U
#define PATH_BYTES        4096

typedef Steelyard__Control__V1__NodeMsg NodeMsg;
typedef Steelyard__Control__V1__PlaneMsg PlaneMsg;
typedef Steelyard__Control__V1__Resource Resource;

static const struct rpc_method sync_method = {
    .path = "/steelyard.control.v1.Control/Sync",
    .request = &steelyard__control__v1__node_msg__descriptor,
    .response = &steelyard__control__v1__plane_msg__descriptor,
};

/* The update being received. */
struct staging {
    bool active;
    uint64_t nonce;
    struct resource_set *set;
    struct snapshot_refusal refusal; /* code[0] != 0: refused already, the rest is passed over. */
    /* A body that comes in chunks. */
    char key[RESOURCE_KEY_BYTES_MAX + 1];
    struct buf body;
    uint32_t next_chunk;
};

struct sync {
    struct sync_options options;
    char dir[PATH_BYTES];
    struct rpc_keep *keep;
    bool closing;
    struct staging staging;
    bool has_crashed;
    uint32_t crashed_era;
    uint64_t crashed_generation;
    /* On disk, and so what Hello says; behind status while the disk refuses. */
    uint32_t saved_era;
    uint64_t saved_generation;
    bool unsaved;
    /* Nothing older is taken: keys of it may be on disk though the rest is of an earlier one. */
    uint32_t newest_era;
    uint64_t newest_generation;
    struct rollouts rollouts;
    uv_timer_t health_timer, settle_timer, ttl_timer;
    unsigned handles;
    struct sync_status status;
    void (*on_closed)(void *user);
    void *closed_user;
};

/* ---- rollouts: what no snapshot says ---- */

static void on_rollout(void *user, uint64_t id, enum rollouts_event event)
{
    struct sync *s = user;
    switch (event) {
    case ROLLOUTS_OPENED:
        log_event(LOG_INFO, "rollout: its candidate is in use", LOG_U64("rollout", id));
        break;
    case ROLLOUTS_EXPIRED:
        s->status.rollouts_expired++;
        log_event(LOG_WARN, "rollout: nobody watches it, back to the stable version",
                  LOG_U64("rollout", id));
        break;
    case ROLLOUTS_ABORTED:
        s->status.rollouts_aborted++;
        log_event(LOG_WARN, "rollout: aborted, back to the stable version", LOG_U64("rollout", id));
        break;
    case ROLLOUTS_REVIVED:
        log_event(LOG_INFO, "rollout: watched again, its candidate is in use",
                  LOG_U64("rollout", id));
        break;
    }
}

static struct rollouts_time rollouts_now(void)
{
    return (struct rollouts_time){.mono_ms = clock_mono_ms(), .wall_us = clock_wall_us()};
}

static int rollouts_path(const struct sync *s, char out[PATH_BYTES])
{
    int n = snprintf(out, PATH_BYTES, "%s/rollouts", s->dir);
    return n < 0 || n >= PATH_BYTES ? ERR_TOO_LARGE : 0;
}

/* What cannot be written is tried again with the next Health. Until then a start could take up an
 * aborted rollout again, for what was left of its ttl. */
static void rollouts_save(struct sync *s)
{
    char path[PATH_BYTES];
    struct buf b;
    struct err err = {0};
    if (!rollouts_need_save(&s->rollouts))
        return;
    buf_init(&b, ROLLOUTS_FILE_BYTES_MAX);
    int rc = rollouts_path(s, path);
    if (rc == 0)
        rc = rollouts_encode(&s->rollouts, &b);
    if (rc == 0)
        rc = buf_write_file(buf_str(&b), path, 0600, &err);
    if (rc == 0)
        rollouts_saved(&s->rollouts);
    else
        log_event(LOG_ERROR, "rollouts cannot be saved", LOG_TEXT_FIELD("detail", err.message));
    buf_deinit(&b);
}

/* Without a file nothing was watched: what a snapshot from disk lists stays closed. */
static void rollouts_load(struct sync *s)
{
    char path[PATH_BYTES];
    struct buf b = {0};
    if (rollouts_path(s, path) == 0 &&
        buf_read_file(&b, path, ROLLOUTS_FILE_BYTES_MAX, NULL) == 0 &&
        rollouts_decode(&s->rollouts, buf_str(&b)) != 0)
        log_event(LOG_ERROR, "the file of rollouts is damaged: none is served until it is watched",
                  LOG_TEXT_FIELD("path", path));
    buf_deinit(&b);
}

static void on_ttl(uv_timer_t *timer);

/* Closes what is due, and comes back when the next one is. */
static void rollouts_look(struct sync *s)
{
    uint64_t next_ms = rollouts_expire(&s->rollouts, clock_mono_ms());
    if (s->closing)
        return;
    if (next_ms != 0)
        (void)uv_timer_start(&s->ttl_timer, on_ttl, next_ms, 0);
    else
        (void)uv_timer_stop(&s->ttl_timer);
}

static void on_ttl(uv_timer_t *timer)
{
    rollouts_look(container_of(timer, struct sync, ttl_timer));
}

/* Of any message. Aborts first: who aborts does not watch. */
static void rollouts_hear(struct sync *s, const PlaneMsg *m)
{
    uint64_t id;
    if (m->n_abort_rollout == 0 && m->n_watched_rollout == 0)
        return;
    for (size_t i = 0; i < m->n_abort_rollout; i++)
        if (str_parse_u64(str_from(m->abort_rollout[i]), UINT64_MAX, &id) == 0)
            rollouts_abort(&s->rollouts, id);
    bool listed = m->era == s->status.era && m->generation == s->status.generation;
    for (size_t i = 0; i < m->n_watched_rollout; i++)
        if (str_parse_u64(str_from(m->watched_rollout[i]), UINT64_MAX, &id) == 0)
            rollouts_watch(&s->rollouts, id, listed, rollouts_now());
    rollouts_save(s);
    rollouts_look(s);
}

/* ---- putting into service ---- */

static void on_settled(uv_timer_t *timer)
{
    snapshot_disk_settle(container_of(timer, struct sync, settle_timer)->dir);
}

static int put_in_service(struct sync *s, struct snapshot *snapshot, bool fresh)
{
    rollouts_take(&s->rollouts, snapshot, fresh, rollouts_now());
    rollouts_save(s);
    rollouts_look(s);
    int rc = snapshot_cell_publish(s->options.cell, snapshot);
    if (rc != 0)
        return rc;
    s->status.era = snapshot->era;
    s->status.generation = snapshot->generation;
    if (s->options.on_applied != NULL)
        s->options.on_applied(s->options.user, snapshot);
    for (uint32_t i = 0; i < snapshot->provider_count; i++)
        if (snapshot->providers[i].secret_missing)
            log_event(LOG_WARN, "provider key cannot be resolved on this node",
                      LOG_STR("provider", snapshot->providers[i].name));
    return 0;
}

static void note_newest(struct sync *s, uint32_t era, uint64_t generation)
{
    if (era > s->newest_era || (era == s->newest_era && generation > s->newest_generation)) {
        s->newest_era = era;
        s->newest_generation = generation;
    }
}

static int save(struct sync *s, const struct snapshot *snapshot)
{
    struct err err = {0};
    int rc =
        snapshot_disk_save(s->dir, snapshot->resources, snapshot->era, snapshot->generation, &err);
    s->unsaved = rc != 0;
    if (rc != 0) {
        log_event(LOG_ERROR, "snapshot cannot be saved", LOG_TEXT_FIELD("detail", err.message));
        return rc;
    }
    s->saved_era = snapshot->era;
    s->saved_generation = snapshot->generation;
    return 0;
}

static int load(struct sync *s, bool *out_loaded, struct err *err)
{
    struct snapshot_loaded loaded;
    int rc = snapshot_disk_load(s->dir, &loaded, err);
    *out_loaded = false;
    if (rc != 0)
        return rc;
    s->has_crashed = loaded.has_crashed;
    s->crashed_era = loaded.crashed_era;
    s->crashed_generation = loaded.crashed_generation;
    s->newest_era = loaded.newest_era;
    s->newest_generation = loaded.newest_generation;
    if (loaded.lost > 0)
        log_event(LOG_ERROR,
                  "saved keys are damaged: they are refused until the control plane "
                  "sends them again",
                  LOG_U64("shards", loaded.lost));
    if (loaded.set == NULL)
        return 0;
    struct snapshot_inputs inputs = {
        .keeper = s->options.keeper, .era = loaded.era, .generation = loaded.generation};
    struct snapshot *snapshot = NULL;
    struct snapshot_refusal refusal;
    if (snapshot_build(loaded.set, &inputs, &snapshot, &refusal) != 0) {
        log_event(LOG_WARN, "saved snapshot is not usable", LOG_TEXT_FIELD("code", refusal.code),
                  LOG_TEXT_FIELD("detail", refusal.detail));
        resource_set_destroy(loaded.set);
        return 0;
    }
    rc = put_in_service(s, snapshot, false);
    snapshot_unref(snapshot);
    if (rc != 0)
        return err_set(err, rc, "out of memory");
    *out_loaded = true;
    s->saved_era = loaded.era;
    s->saved_generation = loaded.generation;
    note_newest(s, loaded.era, loaded.generation);
    if (loaded.unsettled)
        (void)uv_timer_start(&s->settle_timer, on_settled, s->options.settle_ms, 0);
    return 0;
}

/* ---- providers' keys, which are not the control plane's to send ---- */

bool sync_refresh_secrets(struct sync *s)
{
    struct snapshot *current = snapshot_cell_current(s->options.cell), *next = NULL;
    if (current == NULL || !snapshot_secrets_changed(current))
        return false;
    struct resource_set *set = resource_set_clone(current->resources);
    struct snapshot_inputs inputs = {.keeper = s->options.keeper,
                                     .era = current->era,
                                     .generation = current->generation,
                                     .previous = current};
    struct snapshot_refusal refusal = {.code = "NOMEM", .detail = "out of memory"};
    int rc = set != NULL ? snapshot_build(set, &inputs, &next, &refusal) : ERR_NOMEM;
    if (rc != 0)
        resource_set_destroy(set);
    if (rc == 0)
        rc = snapshot_cell_publish(s->options.cell, next);
    snapshot_unref(next);
    if (rc != 0)
        log_event(LOG_ERROR, "new provider keys are not in service",
                  LOG_TEXT_FIELD("code", refusal.code), LOG_TEXT_FIELD("detail", refusal.detail));
    else
        log_event(LOG_INFO, "provider keys read again",
                  LOG_U64("generation", s->status.generation));
    return rc == 0;
}

/* ---- answers ---- */

static void send_message(struct sync *s, const NodeMsg *m)
{
    if (rpc_keep_stream(s->keep) != NULL && rpc_keep_send(s->keep, &m->base) != 0)
        rpc_keep_give_up(s->keep, RPC_INTERNAL, "cannot send");
}

static void send_ack(struct sync *s, uint64_t nonce, const struct snapshot_refusal *refusal)
{
    Steelyard__Control__V1__Nack nack = STEELYARD__CONTROL__V1__NACK__INIT;
    Steelyard__Control__V1__Nack *nacks[1] = {&nack};
    Steelyard__Control__V1__Ack ack = STEELYARD__CONTROL__V1__ACK__INIT;
    ack.nonce = nonce;
    ack.applied_generation = s->status.generation;
    if (refusal != NULL) {
        nack.key = wire_text(refusal->key);
        nack.version = wire_text(refusal->version);
        nack.code = wire_text(refusal->code);
        nack.detail = wire_text(refusal->detail);
        ack.nack = nacks;
        ack.n_nack = 1;
        s->status.nacked++;
        (void)snprintf(s->status.last_nack, sizeof(s->status.last_nack), "%.40s %.100s: %.100s",
                       refusal->code, refusal->key, refusal->detail);
        log_event(LOG_WARN, "control plane's update refused", LOG_TEXT_FIELD("code", refusal->code),
                  LOG_TEXT_FIELD("key", refusal->key), LOG_TEXT_FIELD("detail", refusal->detail));
    } else {
        s->status.acked++;
    }
    NodeMsg m = STEELYARD__CONTROL__V1__NODE_MSG__INIT;
    m.body_case = STEELYARD__CONTROL__V1__NODE_MSG__BODY_ACK;
    m.ack = &ack;
    send_message(s, &m);
}

/* ---- an update ---- */

static void staging_clear(struct staging *g)
{
    resource_set_destroy(g->set);
    buf_deinit(&g->body);
    *g = (struct staging){0};
}

static void staging_refuse(struct staging *g, const char *key, const char *version,
                           const char *code, const char *detail)
{
    if (g->refusal.code[0] != '\0')
        return; /* The first fault is the one that is reported. */
    struct snapshot_refusal *r = &g->refusal;
    (void)snprintf(r->key, sizeof(r->key), "%.*s", (int)sizeof(r->key) - 1, key);
    (void)snprintf(r->version, sizeof(r->version), "%.64s", version);
    (void)snprintf(r->code, sizeof(r->code), "%s", code);
    (void)snprintf(r->detail, sizeof(r->detail), "%s", detail);
}

static void staging_put(struct staging *g, const Resource *m, struct str body)
{
    struct resource *r = resource_create((uint32_t)m->type, str_from(m->key), body);
    if (r == NULL) {
        staging_refuse(g, m->key, m->version, "NOMEM", "out of memory");
        return;
    }
    r->ttl_s = m->ttl_s;
    if (!str_is(str_from(r->version), m->version)) {
        resource_unref(r);
        staging_refuse(g, m->key, m->version, "CHECKSUM", "the body's sha256 is not its version");
    } else if (resource_set_put(g->set, r) != 0) {
        staging_refuse(g, m->key, m->version, "LIMIT", "too many or too large resources");
    }
}

static void staging_chunk(struct staging *g, const Resource *m)
{
    if (m->chunk == 0) {
        buf_deinit(&g->body);
        buf_init(&g->body, RESOURCE_BODY_MAX);
        (void)snprintf(g->key, sizeof(g->key), "%s", m->key);
        g->next_chunk = 0;
    }
    if (m->chunk != g->next_chunk || !str_is(str_from(g->key), m->key)) {
        staging_refuse(g, m->key, m->version, "CHUNKS", "a chunk is missing");
        return;
    }
    if (buf_append_str(&g->body, wire_bytes(m->body)) != 0) {
        staging_refuse(g, m->key, m->version, "LIMIT", "the body is too large");
        return;
    }
    g->next_chunk++;
    if (g->next_chunk == m->chunks) {
        staging_put(g, m, buf_str(&g->body));
        buf_deinit(&g->body);
    }
}

static void staging_take(struct staging *g, const PlaneMsg *m)
{
    for (size_t i = 0; i < m->n_set && g->refusal.code[0] == '\0'; i++) {
        const Resource *r = m->set[i];
        size_t len = strlen(r->key);
        if (len == 0 || len > RESOURCE_KEY_BYTES_MAX)
            staging_refuse(g, "", "", "INVALID", "a resource's key is empty or too long");
        else if (r->chunks <= 1)
            staging_put(g, r, wire_bytes(r->body));
        else
            staging_chunk(g, r);
    }
    for (size_t i = 0; i < m->n_removed; i++)
        resource_set_remove(g->set, str_from(m->removed[i]));
}

static void check_generation(struct sync *s, const PlaneMsg *m)
{
    struct staging *g = &s->staging;
    if (m->era < s->newest_era || (m->era == s->newest_era && m->generation < s->newest_generation))
        staging_refuse(g, "", "", "STALE", "an older generation than the one in service");
    else if (s->has_crashed && m->era == s->crashed_era && m->generation == s->crashed_generation)
        staging_refuse(g, "", "", "CRASHED", "this node died twice soon after applying it");
    else if (g->next_chunk != 0 && g->body.data != NULL)
        staging_refuse(g, g->key, "", "CHUNKS", "the last chunk did not come");
}

static void apply(struct sync *s, const PlaneMsg *m)
{
    struct staging *g = &s->staging;
    check_generation(s, m);
    struct snapshot *snapshot = NULL;
    struct snapshot_inputs inputs = {.keeper = s->options.keeper,
                                     .era = m->era,
                                     .generation = m->generation,
                                     .previous = snapshot_cell_current(s->options.cell)};
    if (g->refusal.code[0] == '\0' &&
        snapshot_build(g->set, &inputs, &snapshot, &g->refusal) == 0) {
        g->set = NULL; /* The snapshot's now. */
        /* A disk that refuses must not keep a revocation out: it is served from memory. But it is
         * not acknowledged: after the next start a revoked key could work again. */
        int saved = save(s, snapshot);
        if (put_in_service(s, snapshot, true) != 0)
            staging_refuse(g, "", "", "NOMEM", "out of memory");
        else
            (void)uv_timer_start(&s->settle_timer, on_settled, s->options.settle_ms, 0);
        if (saved != 0)
            staging_refuse(g, "", "", "DISK", "served, but the state directory cannot be written");
        note_newest(s, m->era, m->generation);
        snapshot_unref(snapshot);
    }
    send_ack(s, m->nonce, g->refusal.code[0] != '\0' ? &g->refusal : NULL);
    staging_clear(g);
}

static void on_message(struct rpc_keep *keep, const ProtobufCMessage *base, void *user)
{
    struct sync *s = user;
    const PlaneMsg *m = (const PlaneMsg *)base;
    s->status.last_contact_us = clock_wall_us();
    s->status.connected = true;
    rpc_keep_proved(keep);
    snapshot_cell_reap(s->options.cell);
    rollouts_hear(s, m);
    if (m->heartbeat && m->n_set == 0 && m->n_removed == 0)
        return;
    struct staging *g = &s->staging;
    if (!g->active || g->nonce != m->nonce) {
        staging_clear(g);
        struct snapshot *current = snapshot_cell_current(s->options.cell);
        g->set = resource_set_clone(current != NULL ? current->resources : NULL);
        if (g->set == NULL) {
            rpc_keep_give_up(keep, RPC_EXHAUSTED, "out of memory");
            return;
        }
        g->active = true;
        g->nonce = m->nonce;
    }
    staging_take(g, m);
    if (!m->more)
        apply(s, m);
}

/* ---- the stream ---- */

static int send_hello(struct sync *s)
{
    typedef Steelyard__Control__V1__Hello__HaveEntry HaveEntry;
    const struct snapshot *current = snapshot_cell_current(s->options.cell);
    size_t count = current != NULL ? current->resources->by_key.count : 0;
    HaveEntry *entries = mem_calloc(count + 1, sizeof(*entries));
    HaveEntry **list = mem_calloc(count + 1, sizeof(*list));
    struct buf keys;
    buf_init(&keys, (count + 1) * (RESOURCE_KEY_BYTES_MAX + 1));
    int rc = entries == NULL || list == NULL
                 ? ERR_NOMEM
                 : buf_reserve(&keys, (count + 1) * (RESOURCE_KEY_BYTES_MAX + 1));
    const struct map_entry *e;
    size_t n = 0;
    for (size_t i = 0;
         rc == 0 && count > 0 && (e = map_next(&current->resources->by_key, &i)) != NULL; n++) {
        struct resource *r = e->value;
        steelyard__control__v1__hello__have_entry__init(&entries[n]);
        entries[n].key = keys.data + keys.len;
        entries[n].value = r->version;
        list[n] = &entries[n];
        rc = buf_append_str(&keys, r->key);
        if (rc == 0)
            rc = buf_append_char(&keys, '\0');
    }
    if (rc == 0) {
        Steelyard__Control__V1__Hello hello = STEELYARD__CONTROL__V1__HELLO__INIT;
        hello.node_id = wire_text(s->options.node_id);
        hello.epoch = s->options.epoch;
        hello.build = wire_text(s->options.build);
        hello.have = list;
        hello.n_have = n;
        hello.era = s->saved_era;
        hello.applied_generation = s->saved_generation;
        NodeMsg m = STEELYARD__CONTROL__V1__NODE_MSG__INIT;
        m.body_case = STEELYARD__CONTROL__V1__NODE_MSG__BODY_HELLO;
        m.hello = &hello;
        rc = rpc_keep_send(s->keep, &m.base);
    }
    buf_deinit(&keys);
    mem_free(list);
    mem_free(entries);
    return rc;
}

static void send_health(struct sync *s)
{
    struct sync_health h = {0};
    if (s->options.health != NULL)
        s->options.health(s->options.user, &h);
    Steelyard__Control__V1__Health health = STEELYARD__CONTROL__V1__HEALTH__INIT;
    health.ts_us = clock_wall_us();
    health.spool_records = h.spool_records;
    health.spool_bytes = h.spool_bytes;
    health.inflight = h.inflight;
    health.requests = h.requests;
    NodeMsg m = STEELYARD__CONTROL__V1__NODE_MSG__INIT;
    m.body_case = STEELYARD__CONTROL__V1__NODE_MSG__BODY_HEALTH;
    m.health = &health;
    send_message(s, &m);
}

static void on_health(uv_timer_t *timer)
{
    struct sync *s = container_of(timer, struct sync, health_timer);
    snapshot_cell_reap(s->options.cell);
    rollouts_save(s);
    /* The disk is back: a new Hello says what it holds. */
    const struct snapshot *current = snapshot_cell_current(s->options.cell);
    if (s->unsaved && current != NULL && save(s, current) == 0 && rpc_keep_stream(s->keep) != NULL)
        rpc_keep_give_up(s->keep, RPC_CANCELLED, "saved at last");
    else if (rpc_keep_stream(s->keep) != NULL)
        send_health(s);
}

static void on_opened(struct rpc_keep *keep, void *user)
{
    struct sync *s = user;
    s->status.reconnects++;
    if (send_hello(s) != 0)
        rpc_keep_give_up(keep, RPC_INTERNAL, "cannot send");
    else
        send_health(s);
}

static void on_lost(struct rpc_keep *keep, const struct rpc_status *status, void *user)
{
    (void)keep;
    (void)status;
    struct sync *s = user;
    s->status.connected = false;
    staging_clear(&s->staging); /* Nonces do not survive a stream. */
}

static const struct rpc_keep_events keep_events = {
    .on_opened = on_opened, .on_message = on_message, .on_lost = on_lost};

/* ---- life ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct sync *s = handle->data;
    if (--s->handles > 0)
        return;
    staging_clear(&s->staging);
    rollouts_deinit(&s->rollouts);
    void (*on_closed)(void *) = s->on_closed;
    void *user = s->closed_user;
    mem_free(s);
    if (on_closed != NULL)
        on_closed(user);
}

static void on_keep_closed(void *user)
{
    struct sync *s = user;
    uv_timer_t *timers[] = {&s->health_timer, &s->settle_timer, &s->ttl_timer};
    for (size_t i = 0; i < sizeof(timers) / sizeof(timers[0]); i++) {
        timers[i]->data = s;
        uv_close((uv_handle_t *)timers[i], on_handle_closed);
    }
}

int sync_create(const struct sync_options *options, struct sync **out_sync, bool *out_loaded,
                struct err *err)
{
    struct sync *s = mem_zalloc(sizeof(*s));
    if (s == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    s->options = *options;
    if (s->options.health_ms == 0)
        s->options.health_ms = HEALTH_MS_DEFAULT;
    if (s->options.settle_ms == 0)
        s->options.settle_ms = SETTLE_MS_DEFAULT;
    int n = snprintf(s->dir, sizeof(s->dir), "%s/snapshot", options->state_dir);
    if (n < 0 || (size_t)n >= sizeof(s->dir)) {
        mem_free(s);
        return err_set(err, ERR_TOO_LARGE, "state directory's path is too long");
    }
    const struct rpc_keep_options keep = {.loop = options->loop,
                                          .client = options->client,
                                          .method = &sync_method,
                                          .events = &keep_events,
                                          .user = s,
                                          .backoff = options->backoff};
    int rc = rpc_keep_create(&keep, &s->keep, err);
    if (rc != 0) {
        mem_free(s);
        return rc;
    }
    (void)uv_timer_init(options->loop, &s->health_timer);
    (void)uv_timer_init(options->loop, &s->settle_timer);
    (void)uv_timer_init(options->loop, &s->ttl_timer);
    s->handles = 3;
    rollouts_init(&s->rollouts, on_rollout, s);
    rollouts_load(s);
    rc = load(s, out_loaded, err);
    if (rc != 0) {
        s->closing = true;
        rpc_keep_close(s->keep, on_keep_closed, s); /* Freed in the loop's next turns. */
        return rc;
    }
    *out_sync = s;
    return 0;
}

void sync_start(struct sync *s)
{
    if (s->options.client == NULL)
        return;
    (void)uv_timer_start(&s->health_timer, on_health, s->options.health_ms, s->options.health_ms);
    rpc_keep_start(s->keep);
}

void sync_close(struct sync *s, void (*cb)(void *user), void *user)
{
    assert(!s->closing);
    s->on_closed = cb;
    s->closed_user = user;
    s->closing = true;
    snapshot_disk_settle(s->dir); /* An end in order is no crash. */
    (void)uv_timer_stop(&s->health_timer);
    (void)uv_timer_stop(&s->settle_timer);
    (void)uv_timer_stop(&s->ttl_timer);
    rollouts_save(s);
    rpc_keep_close(s->keep, on_keep_closed, s);
}

void sync_get_status(const struct sync *s, struct sync_status *out_status)
{
    *out_status = s->status;
    out_status->rollouts_open = rollouts_open(&s->rollouts);
}
