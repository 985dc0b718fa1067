/* metrics_internal.h: what the files of metrics share. Not for other modules. */
#ifndef STEELYARD_COMMON_METRICS_METRICS_INTERNAL_H
#define STEELYARD_COMMON_METRICS_METRICS_INTERNAL_H

#include <pthread.h>

#include "common/base/map.h"
#include "common/metrics/metrics.h"

/* Family, then each label value with its length in front: no two lists give the same bytes. */
#define METRICS_KEY_BYTES_MAX (4U + METRICS_LABELS_MAX * (1U + METRICS_LABEL_BYTES_MAX))

struct metrics_exemplar {
    uint32_t version; /* Odd while it is written (a sequence lock with one writer). */
    uint64_t trace_high;
    uint64_t trace_low;
    uint64_t value;
    int64_t wall_us;
};

/* What one shard counts of one series. Written by its thread alone, with plain relaxed stores; read
 * by the scrape. */
struct metrics_series {
    struct metrics_series *next; /* Same series, other shards. */
    struct metrics_series *next_owned;
    const struct metrics_family *family;
    struct str key; /* Behind the buckets. */
    uint64_t value; /* Counter; gauge in two's complement; sum of a histogram. */
    uint64_t count;
    uint32_t shown; /* Gauge: has been set. */
    struct metrics_exemplar exemplar;
    uint64_t buckets[METRICS_BUCKETS_MAX + 1]; /* Not cumulative; the last used one is +Inf. */
};

/* One series over all shards; made under the lock, never removed. */
struct metrics_entry {
    struct metrics_entry *next;
    struct metrics_series *cells;
    struct str labels; /* a="b",c="d" */
    struct str key;
};

struct metrics_shard {
    struct metrics *metrics;
    struct metrics_shard *next;
    struct map series; /* By key; this thread's alone. */
    struct metrics_series *owned;
    struct metrics_series lost; /* Counted here and shown nowhere when memory ran out. */
};

struct metrics_rows {
    struct metrics_entry *first;
    struct metrics_entry **last;
    uint32_t count;
};

struct metrics {
    const struct metrics_family *families;
    unsigned family_count;
    uint32_t series_max;
    pthread_mutex_t lock;      /* Over everything below but the cells' numbers. */
    struct map entries;        /* By key. */
    struct metrics_rows *rows; /* By family. */
    struct metrics_shard *shards;
    metrics_collect_cb collect;
    void *collect_arg;
    int64_t started_us;
};

static inline uint64_t metrics_load(const uint64_t *p)
{
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}

unsigned metrics_bucket_count(const struct metrics_family *f);
/* v / 10^decimals, exact, without zeros at the end. */
int metrics_write_decimal(struct buf *out, uint64_t value, unsigned decimals) MUST_CHECK;
int metrics_write_process(const struct metrics *m, enum metrics_format format,
                          struct buf *out) MUST_CHECK;

#endif
