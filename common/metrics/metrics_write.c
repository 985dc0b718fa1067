/* The exposition: Prometheus text 0.0.4, and OpenMetrics 1.0 for those who ask for it. */
#include <stdio.h>

#include "common/metrics/metrics_internal.h"

int metrics_write_decimal(struct buf *out, uint64_t value, unsigned decimals)
{
    uint64_t scale = 1;
    for (unsigned i = 0; i < decimals; i++)
        scale *= 10;
    int rc = buf_append_u64(out, value / scale);
    uint64_t rest = value % scale;
    if (rest == 0 || rc != 0)
        return rc;
    unsigned width = decimals;
    for (; rest % 10 == 0; rest /= 10)
        width--;
    return buf_printf(out, ".%0*llu", (int)width, (unsigned long long)rest);
}

static int write_signed(struct buf *out, uint64_t value, unsigned decimals)
{
    int rc = 0;
    if ((int64_t)value < 0) {
        rc = buf_append_char(out, '-');
        value = 0 - value;
    }
    return rc == 0 ? metrics_write_decimal(out, value, decimals) : rc;
}

/* OpenMetrics names a counter's family without its suffix. */
static struct str family_name(const struct metrics_family *f, enum metrics_format format)
{
    struct str name = str_from(f->name);
    if (format == METRICS_OPENMETRICS && f->type == METRICS_COUNTER &&
        str_ends(name, STR("_total")))
        name.len -= 6;
    return name;
}

static const char *type_name(enum metrics_type type)
{
    switch (type) {
    case METRICS_COUNTER:
        return "counter";
    case METRICS_GAUGE:
        return "gauge";
    case METRICS_HISTOGRAM:
        return "histogram";
    }
    return "untyped";
}

struct totals {
    uint64_t value;
    uint64_t count;
    bool shown;
    uint64_t buckets[METRICS_BUCKETS_MAX + 1];
    const struct metrics_series *traced; /* Has an exemplar. */
};

static void add_up(const struct metrics_entry *e, struct totals *t)
{
    *t = (struct totals){0};
    for (const struct metrics_series *c = e->cells; c != NULL; c = c->next) {
        t->value += metrics_load(&c->value);
        t->shown = t->shown || __atomic_load_n(&c->shown, __ATOMIC_RELAXED) != 0;
        for (unsigned i = 0; i <= METRICS_BUCKETS_MAX; i++) {
            uint64_t n = metrics_load(&c->buckets[i]);
            t->buckets[i] += n;
            t->count += n; /* From the buckets, so that +Inf and _count always agree. */
        }
        if (__atomic_load_n(&c->exemplar.version, __ATOMIC_SEQ_CST) != 0)
            t->traced = c;
    }
}

static int write_name(struct buf *out, const char *name, const char *suffix, struct str labels)
{
    int rc = buf_printf(out, "%s%s", name, suffix);
    if (rc == 0 && labels.len > 0)
        rc = buf_printf(out, "{%.*s}", STR_ARG(labels));
    return rc == 0 ? buf_append_char(out, ' ') : rc;
}

/* False: none, or it was being written. */
static bool read_exemplar(const struct metrics_series *c, struct metrics_exemplar *out)
{
    const struct metrics_exemplar *x = &c->exemplar;
    uint32_t before = __atomic_load_n(&x->version, __ATOMIC_SEQ_CST);
    out->trace_high = __atomic_load_n(&x->trace_high, __ATOMIC_SEQ_CST);
    out->trace_low = __atomic_load_n(&x->trace_low, __ATOMIC_SEQ_CST);
    out->value = __atomic_load_n(&x->value, __ATOMIC_SEQ_CST);
    out->wall_us = __atomic_load_n(&x->wall_us, __ATOMIC_SEQ_CST);
    return before % 2 == 0 && before != 0 &&
           __atomic_load_n(&x->version, __ATOMIC_SEQ_CST) == before;
}

static int write_exemplar(struct buf *out, const struct metrics_exemplar *x, unsigned decimals)
{
    int rc = buf_printf(out, " # {trace_id=\"%016llx%016llx\"} ", (unsigned long long)x->trace_high,
                        (unsigned long long)x->trace_low);
    if (rc == 0)
        rc = metrics_write_decimal(out, x->value, decimals);
    if (rc == 0)
        rc = buf_append_char(out, ' ');
    return rc == 0 ? metrics_write_decimal(out, (uint64_t)x->wall_us, 6) : rc;
}

static int write_bucket(struct buf *out, const struct metrics_family *f, struct str labels,
                        unsigned index, unsigned last, uint64_t count)
{
    int rc = buf_printf(out, "%s_bucket{%.*s%sle=\"", f->name, STR_ARG(labels),
                        labels.len > 0 ? "," : "");
    if (rc == 0 && index == last)
        rc = buf_append_text(out, "+Inf");
    else if (rc == 0)
        rc = metrics_write_decimal(out, f->buckets[index], f->decimals);
    return rc == 0 ? buf_printf(out, "\"} %llu", (unsigned long long)count) : rc;
}

static int write_histogram(struct buf *out, const struct metrics_family *f, struct str labels,
                           const struct totals *t, enum metrics_format format)
{
    struct metrics_exemplar x = {0};
    unsigned last = metrics_bucket_count(f);
    uint64_t running = 0;
    uint64_t below = 0;
    bool traced =
        format == METRICS_OPENMETRICS && t->traced != NULL && read_exemplar(t->traced, &x);
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i <= last; i++) {
        running += t->buckets[i];
        rc = write_bucket(out, f, labels, i, last, running);
        bool here =
            traced && (i == 0 || x.value > below) && (i == last || x.value <= f->buckets[i]);
        if (rc == 0 && here)
            rc = write_exemplar(out, &x, f->decimals);
        if (rc == 0)
            rc = buf_append_char(out, '\n');
        below = i < last ? f->buckets[i] : below;
    }
    if (rc == 0)
        rc = write_name(out, f->name, "_sum", labels);
    if (rc == 0)
        rc = metrics_write_decimal(out, t->value, f->decimals);
    if (rc == 0)
        rc = buf_append_char(out, '\n');
    if (rc == 0)
        rc = write_name(out, f->name, "_count", labels);
    return rc == 0 ? buf_printf(out, "%llu\n", (unsigned long long)t->count) : rc;
}

static int write_series(struct buf *out, const struct metrics_family *f,
                        const struct metrics_entry *e, enum metrics_format format)
{
    struct totals t;
    add_up(e, &t);
    if (f->type == METRICS_HISTOGRAM)
        return write_histogram(out, f, e->labels, &t, format);
    if (f->type == METRICS_GAUGE && !t.shown)
        return 0;
    int rc = write_name(out, f->name, "", e->labels);
    if (rc == 0 && f->type == METRICS_GAUGE)
        rc = write_signed(out, t.value, f->decimals);
    else if (rc == 0)
        rc = metrics_write_decimal(out, t.value, f->decimals);
    return rc == 0 ? buf_append_char(out, '\n') : rc;
}

static int write_all(struct metrics *m, enum metrics_format format, struct buf *out)
{
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < m->family_count; i++) {
        const struct metrics_family *f = &m->families[i];
        struct str name = family_name(f, format);
        if (m->rows[i].first == NULL)
            continue;
        rc = buf_printf(out, "# HELP %.*s %s\n# TYPE %.*s %s\n", STR_ARG(name), f->help,
                        STR_ARG(name), type_name(f->type));
        for (const struct metrics_entry *e = m->rows[i].first; rc == 0 && e != NULL; e = e->next)
            rc = write_series(out, f, e, format);
    }
    return rc;
}

int metrics_write(struct metrics *m, enum metrics_format format, struct buf *out)
{
    size_t before = out->len;
    if (m->collect != NULL)
        m->collect(m->collect_arg);
    (void)pthread_mutex_lock(&m->lock);
    int rc = write_all(m, format, out);
    (void)pthread_mutex_unlock(&m->lock);
    if (rc == 0)
        rc = metrics_write_process(m, format, out);
    if (rc == 0 && format == METRICS_OPENMETRICS)
        rc = buf_append_text(out, "# EOF\n");
    if (rc != 0)
        out->len = before;
    return rc;
}

enum metrics_format metrics_negotiate(struct str accept)
{
    return str_search(accept, STR("application/openmetrics-text")) >= 0 ? METRICS_OPENMETRICS
                                                                        : METRICS_PROMETHEUS;
}

struct str metrics_content_type(enum metrics_format format)
{
    return format == METRICS_OPENMETRICS
               ? STR("application/openmetrics-text; version=1.0.0; charset=utf-8")
               : STR("text/plain; version=0.0.4; charset=utf-8");
}

int metrics_markdown(const struct metrics_family *families, struct buf *out)
{
    int rc =
        buf_append_text(out, "| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n");
    for (const struct metrics_family *f = families; rc == 0 && f->name != NULL; f++) {
        rc = buf_printf(out, "| `%s` | %s | ", f->name, type_name(f->type));
        for (unsigned i = 0; rc == 0 && i < METRICS_LABELS_MAX && f->labels[i] != NULL; i++)
            rc = buf_printf(out, "%s%s", i > 0 ? ", " : "", f->labels[i]);
        if (rc == 0)
            rc = buf_printf(out, " | %s |\n", f->help);
    }
    return rc;
}
