/* Decoding: header, then the sections in their order, then the proof of bounds. Usual path: every
 * section is read once into its place; strings point into one copy of META, LAMBDA, VOCAB and
 * SELFTEST. It fails with the reason of the first rule that is broken and frees what it had. */
#include <string.h>

#include "common/base/mem.h"
#include "common/route/artifact_format.h"

struct decoding {
    struct artifact *a;
    struct str section[ARTIFACT_SECTIONS]; /* Payloads; data NULL: not there. */
    struct artifact_metric *metrics;
    struct artifact_segment *segments;
    struct artifact_vocab *vocab;
};

static enum artifact_reason check_header(struct str file, struct str *out_body)
{
    struct bytes_reader r = bytes_reader(file);
    if (file.len < ARTIFACT_HEADER_BYTES)
        return ARTIFACT_TRUNCATED_REASON;
    if (memcmp(bytes_take(&r, 8), ARTIFACT_MAGIC, 8) != 0)
        return ARTIFACT_MAGIC_REASON;
    if (bytes_get_u32(&r) != ARTIFACT_VERSION)
        return ARTIFACT_VERSION_REASON;
    if (bytes_get_u32(&r) != 0)
        return ARTIFACT_FLAGS_REASON;
    uint64_t body_len = bytes_get_u64(&r);
    const uint8_t *digest = bytes_take(&r, SHA256_BYTES);
    if (file.len > ARTIFACT_BYTES_MAX || body_len != r.left)
        return ARTIFACT_SIZE_REASON;
    struct sha256 actual = digest_sha256(r.p, r.left);
    if (memcmp(actual.bytes, digest, SHA256_BYTES) != 0)
        return ARTIFACT_CHECKSUM_REASON;
    *out_body = (struct str){.data = (const char *)r.p, .len = r.left};
    return ARTIFACT_OK_REASON;
}

static enum artifact_reason split_sections(struct decoding *d, struct str body)
{
    struct bytes_reader r = bytes_reader(body);
    unsigned next = 0;
    while (r.left > 0) {
        const uint8_t *tag = bytes_take(&r, 4);
        uint32_t reserved = bytes_get_u32(&r);
        uint64_t len = bytes_get_u64(&r);
        if (r.bad || reserved != 0 || len > r.left)
            return ARTIFACT_SECTIONS_REASON;
        while (next < ARTIFACT_SECTIONS && memcmp(tag, artifact_section_tag[next], 4) != 0) {
            if (!artifact_section_optional(next))
                return ARTIFACT_SECTIONS_REASON;
            next++;
        }
        if (next == ARTIFACT_SECTIONS)
            return ARTIFACT_SECTIONS_REASON;
        d->section[next] = (struct str){.data = (const char *)bytes_take(&r, len), .len = len};
        d->a->section_bytes[next] = len;
        for (size_t pad = (8 - len % 8) % 8; pad > 0; pad--)
            if (bytes_get_u8(&r) != 0 || r.bad)
                return ARTIFACT_SECTIONS_REASON;
        next++;
    }
    for (; next < ARTIFACT_SECTIONS; next++)
        if (!artifact_section_optional(next))
            return ARTIFACT_SECTIONS_REASON;
    return ARTIFACT_OK_REASON;
}

/* The strings of a decoded artifact live in a copy of these sections. */
static const enum artifact_section kept[] = {ARTIFACT_META, ARTIFACT_LAMBDA, ARTIFACT_VOCAB,
                                             ARTIFACT_SELFTEST};
#define KEPT_COUNT (sizeof kept / sizeof kept[0])

static uint32_t peek_count(struct str section, uint32_t max)
{
    struct bytes_reader r = bytes_reader(section);
    uint32_t count = bytes_get_u32(&r);
    return count < max ? count : max; /* Too many is found when they are read. */
}

/* One block: metrics (at their maximum), segments, vocabulary, then the copy of the text. */
static enum artifact_reason keep_text(struct decoding *d)
{
    size_t text_len = 0;
    for (size_t i = 0; i < KEPT_COUNT; i++)
        text_len += d->section[kept[i]].len;
    size_t metrics = ARTIFACT_METRICS_MAX * sizeof(struct artifact_metric);
    size_t segments = peek_count(d->section[ARTIFACT_LAMBDA], ARTIFACT_SEGMENTS_MAX) *
                      sizeof(struct artifact_segment);
    size_t vocab =
        peek_count(d->section[ARTIFACT_VOCAB], ARTIFACT_VOCAB_MAX) * sizeof(struct artifact_vocab);
    char *block = mem_zalloc(metrics + segments + vocab + text_len);
    if (block == NULL)
        return ARTIFACT_NOMEM_REASON;
    d->a->block = block;
    d->metrics = (struct artifact_metric *)(void *)block;
    d->segments = (struct artifact_segment *)(void *)(block + metrics);
    d->vocab = (struct artifact_vocab *)(void *)(block + metrics + segments);
    char *text = block + metrics + segments + vocab;
    for (size_t i = 0; i < KEPT_COUNT; i++) {
        struct str *s = &d->section[kept[i]];
        if (s->len == 0)
            continue;
        memcpy(text, s->data, s->len);
        s->data = text;
        text += s->len;
    }
    return ARTIFACT_OK_REASON;
}

static bool read_names(struct bytes_reader *r, struct str *names, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        names[i] = bytes_get_str(r, ARTIFACT_NAME_BYTES_MAX);
        if (r->bad || names[i].len == 0 || !str_valid_utf8(names[i]))
            return false;
        for (uint32_t k = 0; k < i; k++)
            if (str_eq(names[i], names[k]))
                return false;
    }
    return true;
}

static bool scale_valid(const struct artifact_scale *s)
{
    const uint8_t sparse[] = {s->quality_shift, s->length_shift, s->task_shift};
    const uint8_t dense[] = {s->quality_dense_shift, s->length_dense_shift, s->task_dense_shift};
    for (unsigned i = 0; i < 3; i++)
        if (sparse[i] > ARTIFACT_SHIFT_MAX || dense[i] > ARTIFACT_DENSE_SHIFT_MAX)
            return false;
    return true;
}

static void read_sha256(struct bytes_reader *r, struct sha256 *out)
{
    const uint8_t *p = bytes_take(r, SHA256_BYTES);
    if (p != NULL)
        memcpy(out->bytes, p, SHA256_BYTES);
}

/* Few models without task classes have rows as narrow as they can be (score_narrow.h). */
static void set_lanes(struct artifact *a)
{
    if (a->task_count == 0 && a->model_count <= 4) {
        a->model_pad = a->model_count <= 2 ? 2 : 4;
        a->task_pad = 0;
        a->row_lanes = 2 * a->model_pad;
        return;
    }
    a->model_pad = artifact_pad(a->model_count, 8);
    a->task_pad = artifact_pad(a->task_count, 8);
    a->row_lanes = artifact_pad(2 * a->model_pad + a->task_pad, 16);
}

static enum artifact_reason read_dimensions(struct bytes_reader *r, struct artifact *a)
{
    a->index_bits = bytes_get_u8(r);
    a->model_count = bytes_get_u8(r);
    a->task_count = bytes_get_u8(r);
    uint8_t reserved = bytes_get_u8(r);
    a->scale.quality_shift = bytes_get_u8(r);
    a->scale.length_shift = bytes_get_u8(r);
    a->scale.task_shift = bytes_get_u8(r);
    a->scale.quality_dense_shift = bytes_get_u8(r);
    a->scale.length_dense_shift = bytes_get_u8(r);
    a->scale.task_dense_shift = bytes_get_u8(r);
    if (r->bad || reserved != 0)
        return ARTIFACT_META_FORMAT_REASON;
    if (a->index_bits < ARTIFACT_INDEX_BITS_MIN || a->index_bits > ARTIFACT_INDEX_BITS_MAX ||
        a->model_count < 1 || a->model_count > ARTIFACT_MODELS_MAX ||
        a->task_count > ARTIFACT_TASKS_MAX || !scale_valid(&a->scale))
        return ARTIFACT_DIMENSIONS_REASON;
    set_lanes(a);
    return ARTIFACT_OK_REASON;
}

static enum artifact_reason read_meta(struct decoding *d)
{
    struct artifact *a = d->a;
    struct bytes_reader r = bytes_reader(d->section[ARTIFACT_META]);
    a->meta.feature_spec = bytes_get_u32(&r);
    a->meta.generation = bytes_get_u64(&r);
    read_sha256(&r, &a->meta.parent);
    a->meta.window_from_us = bytes_get_i64(&r);
    a->meta.window_to_us = bytes_get_i64(&r);
    a->meta.row_count = bytes_get_u64(&r);
    read_sha256(&r, &a->meta.data_digest);
    a->meta.hash_key_id = bytes_get_u64(&r);
    if (r.bad)
        return ARTIFACT_META_FORMAT_REASON;
    if (a->meta.feature_spec != FEATURES_SPEC)
        return ARTIFACT_FEATURE_SPEC_REASON;
    enum artifact_reason reason = read_dimensions(&r, a);
    if (reason != ARTIFACT_OK_REASON)
        return reason;
    if (!read_names(&r, a->models, a->model_count) || !read_names(&r, a->tasks, a->task_count))
        return ARTIFACT_META_FORMAT_REASON;
    uint32_t count = bytes_get_u32(&r);
    if (count > ARTIFACT_METRICS_MAX)
        return ARTIFACT_META_FORMAT_REASON;
    for (uint32_t i = 0; i < count; i++) {
        struct artifact_metric *m = &d->metrics[i];
        m->name = bytes_get_str(&r, ARTIFACT_NAME_BYTES_MAX);
        m->value = bytes_get_i64(&r);
        m->decimals = bytes_get_u8(&r);
        if (m->name.len == 0 || !str_valid_utf8(m->name) || m->decimals > 18)
            return ARTIFACT_META_FORMAT_REASON;
    }
    a->meta.metrics = d->metrics;
    a->meta.metric_count = count;
    return r.bad || r.left != 0 ? ARTIFACT_META_FORMAT_REASON : ARTIFACT_OK_REASON;
}

/* Exact sizes of the weight sections, so that reading them cannot run out. */
static bool sizes_match(const struct decoding *d)
{
    const struct artifact *a = d->a;
    uint64_t rows = UINT64_C(1) << a->index_bits, models = a->model_count, tasks = a->task_count;
    return d->section[ARTIFACT_DENSE].len == FEATURES_DENSE * 2 * (2 * models + tasks) &&
           d->section[ARTIFACT_W].len == models * 4 + rows * models * 2 &&
           d->section[ARTIFACT_LEN].len == models * 4 + rows * models * 2 &&
           (d->section[ARTIFACT_TASK].data != NULL) == (tasks > 0) &&
           d->section[ARTIFACT_TASK].len == tasks * 4 + rows * tasks * 2 + tasks * models * 8;
}

static void read_lanes(struct artifact *a, struct bytes_reader *r, int16_t *rows, uint32_t lane,
                       uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        a->bias[lane + i] = bytes_get_i32(r);
    for (uint32_t row = 0; row < UINT32_C(1) << a->index_bits; row++) {
        const uint8_t *p = bytes_take(r, 2 * (size_t)count);
        int16_t *to = rows + (size_t)row * a->row_lanes + lane;
        for (uint32_t i = 0; p != NULL && i < count; i++)
            to[i] = bytes_i16_at(p + 2 * (size_t)i);
    }
}

static void read_dense(struct artifact *a, struct bytes_reader *r, uint32_t lane, uint32_t count)
{
    for (unsigned f = 0; f < FEATURES_DENSE; f++)
        for (uint32_t i = 0; i < count; i++)
            a->dense[f][lane + i] = bytes_get_i16(r);
}

static enum artifact_reason read_weights(struct decoding *d)
{
    struct artifact *a = d->a;
    if (!sizes_match(d))
        return ARTIFACT_DIMENSIONS_REASON;
    size_t bytes = ((size_t)a->row_lanes << a->index_bits) * sizeof(int16_t);
    a->row_block = mem_zalloc(bytes + 63); /* Padding lanes stay 0. */
    if (a->row_block == NULL)
        return ARTIFACT_NOMEM_REASON;
    int16_t *rows = (int16_t *)(((uintptr_t)a->row_block + 63) & ~(uintptr_t)63);
    a->rows = rows;
    const uint32_t length_lane = a->model_pad, task_lane = 2 * a->model_pad;
    struct bytes_reader r = bytes_reader(d->section[ARTIFACT_DENSE]);
    read_dense(a, &r, 0, a->model_count);
    read_dense(a, &r, length_lane, a->model_count);
    read_dense(a, &r, task_lane, a->task_count);
    r = bytes_reader(d->section[ARTIFACT_W]);
    read_lanes(a, &r, rows, 0, a->model_count);
    r = bytes_reader(d->section[ARTIFACT_LEN]);
    read_lanes(a, &r, rows, length_lane, a->model_count);
    if (a->task_count == 0)
        return ARTIFACT_OK_REASON;
    r = bytes_reader(d->section[ARTIFACT_TASK]);
    read_lanes(a, &r, rows, task_lane, a->task_count);
    for (uint32_t t = 0; t < a->task_count; t++)
        for (uint32_t m = 0; m < a->model_count; m++)
            a->task_quality[t][m] = bytes_get_i32(&r);
    for (uint32_t t = 0; t < a->task_count; t++)
        for (uint32_t m = 0; m < a->model_count; m++)
            a->task_length[t][m] = bytes_get_i32(&r);
    return ARTIFACT_OK_REASON;
}

static enum artifact_reason read_calib(struct decoding *d)
{
    struct artifact *a = d->a;
    struct bytes_reader r = bytes_reader(d->section[ARTIFACT_CALIB]);
    for (uint32_t m = 0; m < a->model_count; m++) {
        struct artifact_calib *c = &a->calib[m];
        c->count = bytes_get_u32(&r);
        if (r.bad || c->count < 1 || c->count > ARTIFACT_KNOTS_MAX)
            return ARTIFACT_CALIBRATION_REASON;
        for (uint32_t k = 0; k < c->count; k++) {
            c->z[k] = bytes_get_i32(&r);
            c->q[k] = bytes_get_u32(&r);
            if (r.bad || c->q[k] > 65536 ||
                (k > 0 && (c->z[k] <= c->z[k - 1] || c->q[k] < c->q[k - 1])))
                return ARTIFACT_CALIBRATION_REASON;
        }
    }
    return r.left != 0 ? ARTIFACT_CALIBRATION_REASON : ARTIFACT_OK_REASON;
}

static enum artifact_reason read_tables(struct decoding *d)
{
    uint8_t tables[ARTIFACT_TABLES_BYTES];
    artifact_tables_bytes(tables);
    struct str s = d->section[ARTIFACT_TABLES];
    return s.len == sizeof tables && memcmp(s.data, tables, s.len) == 0
               ? ARTIFACT_OK_REASON
               : ARTIFACT_TABLES_DIFFER_REASON;
}

static bool read_segment(struct bytes_reader *r, struct artifact_segment *s)
{
    s->id = bytes_get_u32(r);
    s->name = bytes_get_str(r, ARTIFACT_NAME_BYTES_MAX);
    s->lambda = bytes_get_i64(r);
    s->floor_q16 = bytes_get_u32(r);
    s->point_count = bytes_get_u32(r);
    if (r->bad || !str_valid_utf8(s->name) || s->lambda < 0 || s->lambda > ARTIFACT_LAMBDA_MAX ||
        s->floor_q16 > 65536 || s->point_count > ARTIFACT_FRONTIER_MAX)
        return false;
    for (uint32_t i = 0; i < s->point_count; i++) {
        struct artifact_point *p = &s->points[i];
        p->lambda = bytes_get_i64(r);
        p->cost_nanousd = bytes_get_i64(r);
        p->quality_q16 = bytes_get_u32(r);
        if (r->bad || p->lambda < 0 || p->lambda > ARTIFACT_LAMBDA_MAX || p->cost_nanousd < 0 ||
            p->quality_q16 > 65536)
            return false;
        if (i > 0 && (p->lambda <= p[-1].lambda || p->cost_nanousd > p[-1].cost_nanousd))
            return false;
    }
    return true;
}

static enum artifact_reason read_lambda(struct decoding *d)
{
    struct bytes_reader r = bytes_reader(d->section[ARTIFACT_LAMBDA]);
    uint32_t count = bytes_get_u32(&r);
    if (r.bad || count > ARTIFACT_SEGMENTS_MAX)
        return ARTIFACT_FRONTIER_REASON;
    for (uint32_t i = 0; i < count; i++) {
        if (!read_segment(&r, &d->segments[i]))
            return ARTIFACT_FRONTIER_REASON;
        if (i > 0 && d->segments[i].id <= d->segments[i - 1].id)
            return ARTIFACT_FRONTIER_REASON;
    }
    d->a->segments = d->segments;
    d->a->segment_count = count;
    return r.left != 0 ? ARTIFACT_FRONTIER_REASON : ARTIFACT_OK_REASON;
}

static enum artifact_reason read_explore(struct decoding *d)
{
    struct bytes_reader r = bytes_reader(d->section[ARTIFACT_EXPLORE]);
    struct artifact_explore *e = &d->a->explore;
    e->gamma = bytes_get_u32(&r);
    e->eps_cap = bytes_get_u32(&r);
    e->delta_q16 = bytes_get_u32(&r);
    e->cost_ratio = bytes_get_u32(&r);
    return r.bad || r.left != 0 || e->delta_q16 > 65536 ? ARTIFACT_EXPLORATION_REASON
                                                        : ARTIFACT_OK_REASON;
}

static enum artifact_reason read_vocab(struct decoding *d)
{
    if (d->section[ARTIFACT_VOCAB].data == NULL)
        return ARTIFACT_OK_REASON;
    struct bytes_reader r = bytes_reader(d->section[ARTIFACT_VOCAB]);
    uint32_t count = bytes_get_u32(&r);
    if (r.bad || count > ARTIFACT_VOCAB_MAX)
        return ARTIFACT_VOCABULARY_REASON;
    for (uint32_t i = 0; i < count; i++) {
        struct artifact_vocab *v = &d->vocab[i];
        v->index = bytes_get_u16(&r);
        v->text = bytes_get_str(&r, ARTIFACT_NAME_BYTES_MAX);
        if (r.bad || v->text.len == 0 || !str_valid_utf8(v->text) ||
            (i > 0 && v->index <= v[-1].index))
            return ARTIFACT_VOCABULARY_REASON;
    }
    d->a->vocab = d->vocab;
    d->a->vocab_count = count;
    return r.left != 0 ? ARTIFACT_VOCABULARY_REASON : ARTIFACT_OK_REASON;
}

static enum artifact_reason decode_body(struct decoding *d, struct str body)
{
    static enum artifact_reason (*const step[])(struct decoding *) = {
        keep_text,   read_meta,   read_weights, read_calib,
        read_tables, read_lambda, read_explore, read_vocab,
    };
    enum artifact_reason reason = split_sections(d, body);
    for (size_t i = 0; reason == ARTIFACT_OK_REASON && i < sizeof step / sizeof step[0]; i++)
        reason = step[i](d);
    if (reason == ARTIFACT_OK_REASON && !artifact_bounds_hold(d->a))
        reason = ARTIFACT_BOUNDS_REASON;
    return reason;
}

static int reason_code(enum artifact_reason reason)
{
    if (reason == ARTIFACT_NOMEM_REASON)
        return ERR_NOMEM;
    if (reason == ARTIFACT_VERSION_REASON || reason == ARTIFACT_FEATURE_SPEC_REASON)
        return ERR_VERSION;
    return ERR_CORRUPT;
}

int artifact_decode(struct str file, struct artifact **out_artifact,
                    enum artifact_reason *out_reason, struct err *err)
{
    struct decoding d = {0};
    struct str body = STR_NULL;
    enum artifact_reason reason = check_header(file, &body);
    if (reason == ARTIFACT_OK_REASON) {
        d.a = mem_zalloc(sizeof *d.a);
        reason = d.a == NULL ? ARTIFACT_NOMEM_REASON : decode_body(&d, body);
    }
    *out_reason = reason;
    if (reason != ARTIFACT_OK_REASON) {
        artifact_destroy(d.a);
        return err_set(err, reason_code(reason), "policy file: %s", artifact_reason_text(reason));
    }
    d.a->selftest = d.section[ARTIFACT_SELFTEST];
    d.a->id = digest_sha256(file.data, file.len);
    *out_artifact = d.a;
    return 0;
}
