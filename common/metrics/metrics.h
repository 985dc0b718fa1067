/* metrics.h: counters, gauges and histograms for Prometheus (text 0.0.4 and OpenMetrics 1.0).
 *
 * Families come from one static table, from which the reference is generated too. Each thread that
 * counts has a shard; a series handle belongs to one shard and is incremented without lock or
 * atomic read-modify-write by that shard's thread only. A scrape adds the shards up. Values are
 * integers in the family's own small unit (nanoseconds, nano-USD), printed as decimal fractions of
 * the base unit. At most `series_max` series a family; what comes later is counted under label
 * values "_other". */
#ifndef STEELYARD_COMMON_METRICS_METRICS_H
#define STEELYARD_COMMON_METRICS_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"

#define METRICS_LABELS_MAX      8
#define METRICS_BUCKETS_MAX     20
#define METRICS_SERIES_MAX      2000U
#define METRICS_LABEL_BYTES_MAX 128U /* A longer label value is cut (at a UTF-8 boundary). */

enum metrics_type { METRICS_COUNTER, METRICS_GAUGE, METRICS_HISTOGRAM };

/* One row of the table; a row with name NULL ends it. */
struct metrics_family {
    const char *name; /* "steelyard_requests_total" */
    enum metrics_type type;
    const char *help;
    unsigned decimals;                      /* Value v is printed as v / 10^decimals: ns -> 9. */
    const char *labels[METRICS_LABELS_MAX]; /* NULL-terminated unless full. */
    uint64_t buckets[METRICS_BUCKETS_MAX];  /* Histogram: rising upper bounds, 0-terminated. */
};

#define METRICS_NS_DECIMALS 9U
/* Buckets L, P and F of INTERFACES section 4, in nanoseconds. */
#define METRICS_BUCKETS_L                                                                          \
    {                                                                                              \
        50000000ULL, 100000000ULL, 250000000ULL, 500000000ULL, 1000000000ULL, 2000000000ULL,       \
            4000000000ULL, 8000000000ULL, 15000000000ULL, 30000000000ULL, 60000000000ULL,          \
            120000000000ULL, 300000000000ULL, 600000000000ULL                                      \
    }
#define METRICS_BUCKETS_P                                                                          \
    {                                                                                              \
        5000000ULL, 10000000ULL, 20000000ULL, 30000000ULL, 50000000ULL, 75000000ULL, 100000000ULL, \
            150000000ULL, 250000000ULL, 500000000ULL, 1000000000ULL, 2500000000ULL                 \
    }
#define METRICS_BUCKETS_F                                                                          \
    {                                                                                              \
        50000ULL, 100000ULL, 250000ULL, 500000ULL, 1000000ULL, 2500000ULL, 5000000ULL,             \
            10000000ULL, 25000000ULL, 50000000ULL, 100000000ULL, 500000000ULL                      \
    }

struct metrics;
struct metrics_shard;
struct metrics_series;

/* families is borrowed (static). NULL: out of memory. series_max 0: METRICS_SERIES_MAX. */
struct metrics *metrics_create(const struct metrics_family *families, uint32_t series_max);
void metrics_destroy(struct metrics *m); /* After every thread that counts has ended. */

/* Any thread; the shard then belongs to one thread. Freed with m. NULL: out of memory. */
struct metrics_shard *metrics_shard_create(struct metrics *m);

/* The series of a family (index into the table) with these label values, in the order of the row's
 * labels; found without a lock when this shard has it, else made under one (once per series and
 * shard). Never NULL: when memory runs out, a series that is counted nowhere. Valid until destroy.
 */
struct metrics_series *metrics_series_get(struct metrics_shard *s, unsigned family,
                                          const struct str *label_values);

/* Only on the shard's thread. */
void metrics_add(struct metrics_series *c, uint64_t amount); /* Counter. */
void metrics_inc(struct metrics_series *c);
/* A gauge is the sum over its shards: add and subtract anywhere, or set in one shard only. */
void metrics_gauge_add(struct metrics_series *g, int64_t amount);
void metrics_gauge_set(struct metrics_series *g, int64_t value);
void metrics_gauge_hide(struct metrics_series *g); /* Not printed until it is set again. */
void metrics_observe(struct metrics_series *h, uint64_t value);
/* Also leaves an exemplar (OpenMetrics only): the trace the value came from. */
void metrics_observe_traced(struct metrics_series *h, uint64_t value, const uint8_t trace_id[16],
                            int64_t wall_us);

/* Called at each scrape on the scraping thread, before anything is read: for gauges that are looked
 * up rather than kept. It may use a shard that belongs to the scraping thread. */
typedef void (*metrics_collect_cb)(void *arg);
void metrics_set_collector(struct metrics *m, metrics_collect_cb cb, void *arg);

enum metrics_format { METRICS_PROMETHEUS, METRICS_OPENMETRICS };
/* What an Accept header asks for; .data NULL gives METRICS_PROMETHEUS. */
enum metrics_format metrics_negotiate(struct str accept);
struct str metrics_content_type(enum metrics_format format);
/* Appends the whole exposition (process_* included); one scrape at a time, any one thread. */
int metrics_write(struct metrics *m, enum metrics_format format, struct buf *out) MUST_CHECK;
/* The reference: one Markdown table row per family. */
int metrics_markdown(const struct metrics_family *families, struct buf *out) MUST_CHECK;

#endif
