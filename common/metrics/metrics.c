/* Counting. The usual path touches one cell of the calling thread's shard and nothing else. A
 * series a shard does not know yet is looked up, or made, under the lock; cells are linked to their
 * series there and live until the end. */
#include "common/metrics/metrics.h"

#include <assert.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/metrics/metrics_internal.h"

#define LABELS_TEXT_BYTES_MAX 8192U

unsigned metrics_bucket_count(const struct metrics_family *f)
{
    unsigned n = 0;
    while (n < METRICS_BUCKETS_MAX && f->buckets[n] != 0)
        n++;
    return n;
}

static unsigned label_count(const struct metrics_family *f)
{
    unsigned n = 0;
    while (n < METRICS_LABELS_MAX && f->labels[n] != NULL)
        n++;
    return n;
}

struct metrics *metrics_create(const struct metrics_family *families, uint32_t series_max)
{
    struct metrics *m = mem_zalloc(sizeof(*m));
    if (m == NULL)
        return NULL;
    while (families[m->family_count].name != NULL)
        m->family_count++;
    m->families = families;
    m->series_max = series_max != 0 ? series_max : METRICS_SERIES_MAX;
    m->rows = mem_calloc(m->family_count, sizeof(*m->rows));
    if ((m->rows == NULL && m->family_count > 0) || pthread_mutex_init(&m->lock, NULL) != 0) {
        mem_free(m->rows);
        mem_free(m);
        return NULL;
    }
    for (unsigned i = 0; i < m->family_count; i++)
        m->rows[i].last = &m->rows[i].first;
    map_init(&m->entries);
    m->started_us = clock_wall_us();
    return m;
}

static void shard_destroy(struct metrics_shard *s)
{
    while (s->owned != NULL) {
        struct metrics_series *next = s->owned->next_owned;
        mem_free(s->owned);
        s->owned = next;
    }
    map_deinit(&s->series);
    mem_free(s);
}

void metrics_destroy(struct metrics *m)
{
    if (m == NULL)
        return;
    while (m->shards != NULL) {
        struct metrics_shard *next = m->shards->next;
        shard_destroy(m->shards);
        m->shards = next;
    }
    for (unsigned i = 0; i < m->family_count; i++) {
        while (m->rows[i].first != NULL) {
            struct metrics_entry *next = m->rows[i].first->next;
            mem_free(m->rows[i].first);
            m->rows[i].first = next;
        }
    }
    map_deinit(&m->entries);
    (void)pthread_mutex_destroy(&m->lock);
    mem_free(m->rows);
    mem_free(m);
}

struct metrics_shard *metrics_shard_create(struct metrics *m)
{
    struct metrics_shard *s = mem_zalloc(sizeof(*s));
    if (s == NULL)
        return NULL;
    s->metrics = m;
    map_init(&s->series);
    (void)pthread_mutex_lock(&m->lock);
    s->next = m->shards;
    m->shards = s;
    (void)pthread_mutex_unlock(&m->lock);
    return s;
}

void metrics_set_collector(struct metrics *m, metrics_collect_cb cb, void *arg)
{
    m->collect = cb;
    m->collect_arg = arg;
}

/* Cut at a character's beginning, so that what was UTF-8 stays UTF-8. */
static struct str clamp_label(struct str value)
{
    size_t len = value.len;
    if (len <= METRICS_LABEL_BYTES_MAX)
        return value;
    len = METRICS_LABEL_BYTES_MAX;
    while (len > 0 && ((unsigned char)value.data[len] & 0xc0) == 0x80)
        len--;
    return str_slice(value, 0, len);
}

static struct str make_key(unsigned family, const struct str *values, unsigned count, char *out)
{
    size_t at = 0;
    memcpy(out, &family, sizeof(family));
    at += sizeof(family);
    for (unsigned i = 0; i < count; i++) {
        struct str v = clamp_label(values[i]);
        out[at++] = (char)v.len;
        if (v.len > 0)
            memcpy(out + at, v.data, v.len);
        at += v.len;
    }
    return (struct str){.data = out, .len = at};
}

static int append_escaped(struct buf *b, struct str value)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < value.len; i++) {
        char c = value.data[i];
        if (c == '\n')
            rc = buf_append_text(b, "\\n");
        else if (c == '\\' || c == '"')
            rc = buf_printf(b, "\\%c", c);
        else
            rc = buf_append_char(b, (unsigned char)c < 0x20 || c == 0x7f ? ' ' : c);
    }
    return rc;
}

static int write_labels(const struct metrics_family *f, const struct str *values, struct buf *b)
{
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < label_count(f); i++) {
        struct str v = clamp_label(values[i]);
        rc = buf_printf(b, "%s%s=\"", i > 0 ? "," : "", f->labels[i]);
        if (rc == 0) /* What is no UTF-8 would spoil the whole scrape. */
            rc = str_valid_utf8(v) ? append_escaped(b, v) : buf_append_text(b, "_invalid");
        if (rc == 0)
            rc = buf_append_char(b, '"');
    }
    return rc;
}

static struct metrics_entry *make_entry(struct metrics *m, unsigned family,
                                        const struct str *values, struct str key)
{
    struct buf labels;
    struct metrics_entry *e = NULL;
    buf_init(&labels, LABELS_TEXT_BYTES_MAX);
    if (write_labels(&m->families[family], values, &labels) == 0)
        e = mem_zalloc(sizeof(*e) + labels.len + key.len);
    if (e != NULL) {
        char *text = (char *)(e + 1);
        memcpy(text, key.data, key.len);
        if (labels.len > 0)
            memcpy(text + key.len, labels.data, labels.len);
        e->key = (struct str){.data = text, .len = key.len};
        e->labels = (struct str){.data = text + key.len, .len = labels.len};
        if (map_put(&m->entries, e->key, e, NULL) != 0) {
            mem_free(e);
            e = NULL;
        }
    }
    buf_deinit(&labels);
    if (e != NULL) {
        *m->rows[family].last = e;
        m->rows[family].last = &e->next;
        m->rows[family].count++;
    }
    return e;
}

/* Under the lock. Past the maximum everything new is one series whose label values are "_other". */
static struct metrics_entry *find_entry(struct metrics *m, unsigned family,
                                        const struct str *values, struct str *io_key, char *scratch)
{
    struct str others[METRICS_LABELS_MAX];
    struct metrics_entry *e = map_get(&m->entries, *io_key);
    if (e != NULL)
        return e;
    unsigned count = label_count(&m->families[family]);
    if (m->rows[family].count >= m->series_max && count > 0) {
        for (unsigned i = 0; i < count; i++)
            others[i] = STR("_other");
        values = others;
        *io_key = make_key(family, values, count, scratch);
        e = map_get(&m->entries, *io_key);
    }
    return e != NULL ? e : make_entry(m, family, values, *io_key);
}

static struct metrics_series *make_cells(struct metrics_shard *s, struct metrics_entry *e,
                                         unsigned family)
{
    struct metrics_series *c = mem_zalloc(sizeof(*c));
    if (c == NULL)
        return NULL;
    c->family = &s->metrics->families[family];
    c->key = e->key;
    if (map_put(&s->series, c->key, c, NULL) != 0) {
        mem_free(c);
        return NULL;
    }
    c->next_owned = s->owned;
    s->owned = c;
    c->next = e->cells;
    e->cells = c;
    return c;
}

struct metrics_series *metrics_series_get(struct metrics_shard *s, unsigned family,
                                          const struct str *label_values)
{
    struct metrics *m = s->metrics;
    char scratch[METRICS_KEY_BYTES_MAX];
    assert(family < m->family_count);
    struct str key = make_key(family, label_values, label_count(&m->families[family]), scratch);
    struct metrics_series *c = map_get(&s->series, key);
    if (c != NULL)
        return c;
    (void)pthread_mutex_lock(&m->lock);
    struct metrics_entry *e = find_entry(m, family, label_values, &key, scratch);
    c = e != NULL ? map_get(&s->series, e->key) : NULL;
    if (c == NULL && e != NULL)
        c = make_cells(s, e, family);
    (void)pthread_mutex_unlock(&m->lock);
    if (c != NULL)
        return c;
    s->lost.family = &m->families[family];
    return &s->lost;
}

/* One writer: a load and a store, no locked instruction. */
static void bump(uint64_t *p, uint64_t amount)
{
    __atomic_store_n(p, __atomic_load_n(p, __ATOMIC_RELAXED) + amount, __ATOMIC_RELAXED);
}

void metrics_add(struct metrics_series *c, uint64_t amount)
{
    bump(&c->value, amount);
}

void metrics_inc(struct metrics_series *c)
{
    bump(&c->value, 1);
}

void metrics_gauge_add(struct metrics_series *g, int64_t amount)
{
    bump(&g->value, (uint64_t)amount);
    __atomic_store_n(&g->shown, 1, __ATOMIC_RELAXED);
}

void metrics_gauge_set(struct metrics_series *g, int64_t value)
{
    __atomic_store_n(&g->value, (uint64_t)value, __ATOMIC_RELAXED);
    __atomic_store_n(&g->shown, 1, __ATOMIC_RELAXED);
}

void metrics_gauge_hide(struct metrics_series *g)
{
    __atomic_store_n(&g->value, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&g->shown, 0, __ATOMIC_RELAXED);
}

void metrics_observe(struct metrics_series *h, uint64_t value)
{
    const struct metrics_family *f = h->family;
    unsigned i = 0;
    while (i < METRICS_BUCKETS_MAX && f->buckets[i] != 0 && value > f->buckets[i])
        i++;
    bump(&h->buckets[i], 1);
    bump(&h->value, value);
    bump(&h->count, 1);
}

void metrics_observe_traced(struct metrics_series *h, uint64_t value, const uint8_t trace_id[16],
                            int64_t wall_us)
{
    struct metrics_exemplar *x = &h->exemplar;
    uint64_t high = 0;
    uint64_t low = 0;
    metrics_observe(h, value);
    for (unsigned i = 0; i < 8; i++) {
        high = high << 8 | trace_id[i];
        low = low << 8 | trace_id[8 + i];
    }
    uint32_t version = __atomic_load_n(&x->version, __ATOMIC_RELAXED);
    __atomic_store_n(&x->version, version + 1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&x->trace_high, high, __ATOMIC_SEQ_CST);
    __atomic_store_n(&x->trace_low, low, __ATOMIC_SEQ_CST);
    __atomic_store_n(&x->value, value, __ATOMIC_SEQ_CST);
    __atomic_store_n(&x->wall_us, wall_us, __ATOMIC_SEQ_CST);
    __atomic_store_n(&x->version, version + 2, __ATOMIC_SEQ_CST);
}
