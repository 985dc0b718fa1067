/* The current set in memory.
 *
 * Usual path: a connection that LISTENs looks at config_head every poll_ms and at each NOTIFY; when
 * the head differs from what is held, head and resources are read in one statement (one snapshot,
 * so never half of a generation) and replace the set; bodies that are held already stay where they
 * are, so a change of one key reads one shard. While Postgres is away the last set stays.
 * What nodes acknowledge is written to push_log without waiting: a lost line there costs a
 * statistic. */
#include <assert.h>
#include <string.h>

#include "common/base/map.h"
#include "common/base/mem.h"
#include "controlplane/release/publish.h"

#define PUBLISH_CHANNEL "steelyard_head"
#define BODY_BYTES_MAX  (64U << 20)

/* Timeline in front of the log's file name: it rises with every failover (section 2.2). */
#define ERA_SQL                                                                                    \
    "greatest(h.era, ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int)"

/* A resource; sets of later generations share it as long as it does not change. */
struct owned_item {
    int references;
    size_t key_len, body_len;
    char bytes[]; /* Key, NUL, body. */
};

struct owned_set {
    struct publish_set set; /* First: what is handed out. */
    int references;
    struct publish_resource *items;
    struct owned_item **owned; /* Beside items. */
    struct map by_key;         /* Key -> index in items + 1 */
};

struct publish {
    uv_loop_t *loop;
    struct publish_config config;
    struct pq_pool *pool;
    uv_timer_t poll;
    struct owned_set *current;
    bool looking; /* A query is under way. */
    bool look_again;
    bool whole; /* What is held does not fit: read all bodies. */
    bool closing;
    bool poll_closed;
    publish_close_cb close_cb;
    void *close_arg;
};

/* --- sets --------------------------------------------------------------------------------------
 */

static struct owned_set *owner_of(const struct publish_set *set)
{
    return (struct owned_set *)(uintptr_t)set;
}

static void item_unref(struct owned_item *item)
{
    if (--item->references == 0)
        mem_free(item);
}

void publish_set_ref(const struct publish_set *set)
{
    owner_of(set)->references++;
}

void publish_set_unref(const struct publish_set *set)
{
    if (set == NULL)
        return;
    struct owned_set *s = owner_of(set);
    if (--s->references > 0)
        return;
    for (size_t i = 0; i < s->set.count; i++)
        item_unref(s->owned[i]);
    map_deinit(&s->by_key);
    mem_free(s->owned);
    mem_free(s->items);
    mem_free(s);
}

static struct owned_set *set_create(size_t rows)
{
    struct owned_set *s = mem_zalloc(sizeof *s);
    if (s == NULL)
        return NULL;
    s->references = 1;
    map_init(&s->by_key);
    s->items = mem_calloc(rows + 1, sizeof *s->items);
    s->owned = mem_calloc(rows + 1, sizeof(struct owned_item *));
    if (s->items == NULL || s->owned == NULL) {
        publish_set_unref(&s->set);
        return NULL;
    }
    s->set.items = s->items;
    return s;
}

/* Columns from here on: era, generation, key, type, version, generation, body (NULL: as it is
 * held), and a rollout's ttl. */
static int item_read(const struct pq_result *r, int row, struct owned_item **out_item)
{
    struct buf body;
    struct str key = pq_result_text(r, row, 2);
    buf_init(&body, BODY_BYTES_MAX);
    int rc = pq_result_bytes(r, row, 6, &body);
    struct owned_item *item = rc == 0 ? mem_alloc(sizeof *item + key.len + 1 + body.len) : NULL;
    if (item != NULL) {
        *item = (struct owned_item){.references = 1, .key_len = key.len, .body_len = body.len};
        (void)str_copy(key, item->bytes, key.len + 1);
        if (body.len > 0)
            memcpy(item->bytes + key.len + 1, body.data, body.len);
        *out_item = item;
    } else if (rc == 0) {
        rc = ERR_NOMEM;
    }
    buf_deinit(&body);
    return rc;
}

/* The one that is held. ERR_NOT_FOUND: not in this version. */
static int item_share(const struct owned_set *held, struct str key, struct str version,
                      struct owned_item **out_item)
{
    size_t at = held != NULL ? (size_t)(uintptr_t)map_get(&held->by_key, key) : 0;
    if (at == 0 || !str_eq(str_from(held->items[at - 1].version), version))
        return ERR_NOT_FOUND;
    *out_item = held->owned[at - 1];
    (*out_item)->references++;
    return 0;
}

static int set_add(struct owned_set *s, const struct owned_set *held, const struct pq_result *r,
                   int row)
{
    size_t at = s->set.count;
    struct owned_item *owned = NULL;
    int rc = pq_result_is_null(r, row, 6)
                 ? item_share(held, pq_result_text(r, row, 2), pq_result_text(r, row, 4), &owned)
                 : item_read(r, row, &owned);
    if (rc != 0)
        return rc;
    s->owned[at] = owned;
    s->set.count++;
    struct publish_resource *item = &s->items[at];
    item->type = (uint32_t)pq_result_i64(r, row, 3);
    item->generation = (uint64_t)pq_result_i64(r, row, 5);
    item->key = (struct str){.data = owned->bytes, .len = owned->key_len};
    item->body = (struct str){.data = owned->bytes + owned->key_len + 1, .len = owned->body_len};
    (void)str_copy(pq_result_text(r, row, 4), item->version, sizeof item->version);
    uint64_t ttl_ms;
    if (str_parse_duration_ms(pq_result_text(r, row, 7), &ttl_ms) == 0)
        item->ttl_s = (uint32_t)(ttl_ms / 1000);
    return map_put(&s->by_key, item->key, (void *)(uintptr_t)(at + 1), NULL);
}

static int set_from_rows(const struct pq_result *r, const struct owned_set *held,
                         struct owned_set **out_set)
{
    int rows = pq_result_rows(r);
    int rc = 0;
    struct owned_set *s = set_create((size_t)rows);
    if (s == NULL)
        return ERR_NOMEM;
    for (int i = 0; i < rows && rc == 0; i++) {
        s->set.era = (uint32_t)pq_result_i64(r, i, 0);
        s->set.generation = (uint64_t)pq_result_i64(r, i, 1);
        if (pq_result_is_null(r, i, 2))
            break; /* A head without resources. */
        rc = set_add(s, held, r, i);
    }
    if (rc == 0)
        *out_set = s;
    else
        publish_set_unref(&s->set);
    return rc;
}

/* --- looking -----------------------------------------------------------------------------------
 */

static void look(struct publish *p);

static void look_done(struct publish *p)
{
    p->looking = false;
    if (p->look_again && !p->closing) {
        p->look_again = false;
        look(p);
    }
}

static void on_set(void *arg, const struct pq_reply *reply)
{
    struct publish *p = arg;
    struct owned_set *s = NULL;
    if (p->closing) {
        p->looking = false;
        return;
    }
    int rc = reply->status == 0 ? set_from_rows(reply->result, p->current, &s) : reply->status;
    if (rc == ERR_NOT_FOUND) { /* A database that was set back, or another one. */
        p->whole = true;
        p->look_again = true;
    }
    if (rc == 0) {
        p->whole = false;
        struct owned_set *old = p->current;
        p->current = s;
        if (p->config.on_changed != NULL)
            p->config.on_changed(p->config.arg, &s->set);
        if (old != NULL)
            publish_set_unref(&old->set);
    }
    look_done(p);
}

static void on_head(void *arg, const struct pq_reply *reply)
{
    struct publish *p = arg;
    if (p->closing || reply->status != 0 || pq_result_rows(reply->result) == 0) {
        look_done(p);
        return;
    }
    uint32_t era = (uint32_t)pq_result_i64(reply->result, 0, 0);
    uint64_t generation = (uint64_t)pq_result_i64(reply->result, 0, 1);
    if (p->current != NULL && p->current->set.era == era &&
        p->current->set.generation == generation) {
        look_done(p);
        return;
    }
    struct pq_params params = {0};
    bool shared = p->current != NULL && p->current->set.era == era && !p->whole;
    pq_params_i64(&params, shared ? (int64_t)p->current->set.generation : -1);
    int rc = pq_query(p->pool,
                      "SELECT " ERA_SQL ", h.generation, r.key, r.type, r.version, r.generation, "
                      "CASE WHEN r.generation > $1 THEN r.body END, t.cfg ->> 'ttl' "
                      "FROM config_head h LEFT JOIN resource r ON true LEFT JOIN rollout t ON "
                      "r.key = 'rollout/' || t.policy AND t.ended IS NULL ORDER BY "
                      "array_position(ARRAY[1, 2, 9, 4, 6, 5, 10, 3, 7, 8], r.type), r.key",
                      &params, on_set, p);
    if (rc != 0)
        look_done(p);
}

static void look(struct publish *p)
{
    if (p->looking) {
        p->look_again = true;
        return;
    }
    p->looking = true;
    if (pq_query(p->pool, "SELECT " ERA_SQL ", h.generation FROM config_head h", NULL, on_head,
                 p) != 0)
        p->looking = false;
}

static void on_poll(uv_timer_t *timer)
{
    struct publish *p = timer->data;
    if (pq_pool_is_up(p->pool))
        look(p);
}

static void on_notify(void *arg, struct str channel, struct str payload)
{
    (void)channel;
    (void)payload;
    look(arg);
}

static void on_state(void *arg, bool up, const char *message)
{
    (void)message;
    if (up)
        look(arg);
}

int publish_create(uv_loop_t *loop, const struct publish_config *config,
                   struct publish **out_publish, struct err *err)
{
    struct publish *p = mem_zalloc(sizeof *p);
    if (p == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    p->loop = loop;
    p->config = *config;
    if (p->config.poll_ms == 0)
        p->config.poll_ms = 2000;
    struct pq_pool_config pool = {.conninfo = config->conninfo,
                                  .application_name = "steelyard-head",
                                  .size = 1,
                                  .setup = "LISTEN " PUBLISH_CHANNEL,
                                  .on_notify = on_notify,
                                  .on_state = on_state,
                                  .arg = p};
    int rc = pq_pool_create(loop, &pool, &p->pool, err);
    if (rc != 0) {
        mem_free(p);
        return rc;
    }
    (void)uv_timer_init(loop, &p->poll);
    p->poll.data = p;
    (void)uv_timer_start(&p->poll, on_poll, p->config.poll_ms, p->config.poll_ms);
    *out_publish = p;
    return 0;
}

static void on_pool_closed(void *arg)
{
    struct publish *p = arg;
    publish_close_cb cb = p->close_cb;
    void *close_arg = p->close_arg;
    if (p->current != NULL)
        publish_set_unref(&p->current->set);
    mem_free(p);
    if (cb != NULL)
        cb(close_arg);
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct publish *p = handle->data;
    pq_pool_close(p->pool, on_pool_closed, p);
}

void publish_close(struct publish *p, publish_close_cb cb, void *arg)
{
    assert(!p->closing);
    p->closing = true;
    p->close_cb = cb;
    p->close_arg = arg;
    uv_close((uv_handle_t *)&p->poll, on_poll_closed);
}

const struct publish_set *publish_current(const struct publish *p)
{
    return p->current == NULL ? NULL : &p->current->set;
}

void publish_refresh(struct publish *p)
{
    if (!p->closing)
        look(p);
}

bool publish_is_up(const struct publish *p)
{
    return pq_pool_is_up(p->pool);
}

/* --- what nodes said ---------------------------------------------------------------------------
 */

static void on_logged(void *arg, const struct pq_reply *reply)
{
    (void)arg;
    (void)reply;
}

/* Text of a node for a text column: what it cannot hold becomes '?'. */
static void add_text(struct pq_params *params, struct str s)
{
    char clean[256];
    s = str_slice(s, 0, sizeof clean);
    for (size_t i = 0; i < s.len; i++)
        clean[i] = s.data[i] >= 0x20 && s.data[i] < 0x7f ? s.data[i] : '?';
    pq_params_text(params, (struct str){.data = clean, .len = s.len});
}

static void log_push(struct publish *p, const char *node_id, uint64_t generation, bool accepted,
                     struct str key, struct str version, struct str code, struct str detail)
{
    struct pq_params params = {0};
    if (p->closing || !pq_pool_is_up(p->pool))
        return;
    add_text(&params, str_from(node_id));
    pq_params_i64(&params, (int64_t)generation);
    pq_params_bool(&params, accepted);
    add_text(&params, key);
    add_text(&params, version);
    add_text(&params, code);
    add_text(&params, detail);
    int rc = pq_query(p->pool,
                      "INSERT INTO push_log (node_id, generation, accepted, key, version, code, "
                      "detail, after_ms) SELECT $1::text, $2::bigint, $3::boolean, $4::text, "
                      "$5::text, $6::text, $7::text, CASE WHEN h.generation = $2::bigint THEN "
                      "least(greatest(extract(epoch FROM clock_timestamp() - h.changed) * 1000, "
                      "0), 2147483647)::integer END FROM config_head h",
                      &params, on_logged, NULL);
    (void)rc; /* Full queue or no memory: a statistic is lost. */
}

void publish_acked(struct publish *p, const char *node_id, uint64_t generation)
{
    log_push(p, node_id, generation, true, STR(""), STR(""), STR(""), STR(""));
}

void publish_nacked(struct publish *p, const char *node_id, uint64_t generation, struct str key,
                    struct str version, struct str code, struct str detail)
{
    log_push(p, node_id, generation, false, key, version, code, detail);
}
