#include <string.h>

#include "common/route/artifact_format.h"

static bool names_fit(const struct str *names, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (names[i].len == 0 || names[i].len > ARTIFACT_NAME_BYTES_MAX)
            return false;
    return true;
}

/* Only what would make encoding itself go wrong; artifact_decode judges the rest. */
static int check_spec(const struct artifact_spec *s, struct err *err)
{
    if (s->index_bits < ARTIFACT_INDEX_BITS_MIN || s->index_bits > ARTIFACT_INDEX_BITS_MAX)
        return err_set(err, ERR_INVALID, "index bits %u, not 8..16", s->index_bits);
    if (s->model_count < 1 || s->model_count > ARTIFACT_MODELS_MAX)
        return err_set(err, ERR_INVALID, "%u models, not 1..64", s->model_count);
    if (s->task_count > ARTIFACT_TASKS_MAX)
        return err_set(err, ERR_INVALID, "%u tasks, more than 31", s->task_count);
    if (s->segment_count > ARTIFACT_SEGMENTS_MAX || s->vocab_count > ARTIFACT_VOCAB_MAX ||
        s->meta.metric_count > ARTIFACT_METRICS_MAX)
        return err_set(err, ERR_INVALID, "too many segments, words or metrics");
    bool fits = names_fit(s->models, s->model_count) && names_fit(s->tasks, s->task_count);
    for (uint32_t i = 0; i < s->meta.metric_count; i++)
        fits = fits && names_fit(&s->meta.metrics[i].name, 1);
    for (uint32_t i = 0; i < s->vocab_count; i++)
        fits = fits && names_fit(&s->vocab[i].text, 1);
    for (uint32_t i = 0; i < s->segment_count; i++)
        fits = fits && s->segments[i].name.len <= ARTIFACT_NAME_BYTES_MAX &&
               s->segments[i].point_count <= ARTIFACT_FRONTIER_MAX;
    for (uint32_t m = 0; m < s->model_count; m++)
        fits = fits && s->calib[m].count <= ARTIFACT_KNOTS_MAX;
    return fits ? 0 : err_set(err, ERR_INVALID, "a name is empty or too long, or a list too long");
}

static void put_i16s(struct bytes_writer *w, const int16_t *values, size_t count)
{
    uint8_t raw[2048];
    while (count > 0) {
        size_t take = count < sizeof raw / 2 ? count : sizeof raw / 2;
        for (size_t i = 0; i < take; i++) {
            raw[2 * i] = (uint8_t)values[i];
            raw[2 * i + 1] = (uint8_t)((uint16_t)values[i] >> 8);
        }
        bytes_put_raw(w, raw, 2 * take);
        values += take;
        count -= take;
    }
}

static void put_i32s(struct bytes_writer *w, const int32_t *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        bytes_put_i32(w, values[i]);
}

static void put_meta(struct bytes_writer *w, const struct artifact_spec *s)
{
    bytes_put_u32(w, s->meta.feature_spec);
    bytes_put_u64(w, s->meta.generation);
    bytes_put_raw(w, s->meta.parent.bytes, SHA256_BYTES);
    bytes_put_i64(w, s->meta.window_from_us);
    bytes_put_i64(w, s->meta.window_to_us);
    bytes_put_u64(w, s->meta.row_count);
    bytes_put_raw(w, s->meta.data_digest.bytes, SHA256_BYTES);
    bytes_put_u64(w, s->meta.hash_key_id);
    bytes_put_u8(w, s->index_bits);
    bytes_put_u8(w, s->model_count);
    bytes_put_u8(w, s->task_count);
    bytes_put_u8(w, 0);
    bytes_put_u8(w, s->scale.quality_shift);
    bytes_put_u8(w, s->scale.length_shift);
    bytes_put_u8(w, s->scale.task_shift);
    bytes_put_u8(w, s->scale.quality_dense_shift);
    bytes_put_u8(w, s->scale.length_dense_shift);
    bytes_put_u8(w, s->scale.task_dense_shift);
    for (uint32_t m = 0; m < s->model_count; m++)
        bytes_put_str(w, s->models[m]);
    for (uint32_t t = 0; t < s->task_count; t++)
        bytes_put_str(w, s->tasks[t]);
    bytes_put_u32(w, s->meta.metric_count);
    for (uint32_t i = 0; i < s->meta.metric_count; i++) {
        bytes_put_str(w, s->meta.metrics[i].name);
        bytes_put_i64(w, s->meta.metrics[i].value);
        bytes_put_u8(w, s->meta.metrics[i].decimals);
    }
}

static void put_dense(struct bytes_writer *w, const struct artifact_spec *s)
{
    put_i16s(w, s->quality_dense, (size_t)FEATURES_DENSE * s->model_count);
    put_i16s(w, s->length_dense, (size_t)FEATURES_DENSE * s->model_count);
    put_i16s(w, s->task_dense, (size_t)FEATURES_DENSE * s->task_count);
}

static void put_w(struct bytes_writer *w, const struct artifact_spec *s)
{
    put_i32s(w, s->quality_bias, s->model_count);
    put_i16s(w, s->quality, (size_t)s->model_count << s->index_bits);
}

static void put_len(struct bytes_writer *w, const struct artifact_spec *s)
{
    put_i32s(w, s->length_bias, s->model_count);
    put_i16s(w, s->length, (size_t)s->model_count << s->index_bits);
}

static void put_task(struct bytes_writer *w, const struct artifact_spec *s)
{
    put_i32s(w, s->task_bias, s->task_count);
    put_i16s(w, s->task, (size_t)s->task_count << s->index_bits);
    put_i32s(w, s->task_quality, (size_t)s->task_count * s->model_count);
    put_i32s(w, s->task_length, (size_t)s->task_count * s->model_count);
}

static void put_calib(struct bytes_writer *w, const struct artifact_spec *s)
{
    for (uint32_t m = 0; m < s->model_count; m++) {
        bytes_put_u32(w, s->calib[m].count);
        for (uint32_t k = 0; k < s->calib[m].count; k++) {
            bytes_put_i32(w, s->calib[m].z[k]);
            bytes_put_u32(w, s->calib[m].q[k]);
        }
    }
}

static void put_tables(struct bytes_writer *w, const struct artifact_spec *s)
{
    (void)s; /* The same in every policy of this version. */
    uint8_t tables[ARTIFACT_TABLES_BYTES];
    artifact_tables_bytes(tables);
    bytes_put_raw(w, tables, sizeof tables);
}

static void put_lambda(struct bytes_writer *w, const struct artifact_spec *s)
{
    bytes_put_u32(w, s->segment_count);
    for (uint32_t i = 0; i < s->segment_count; i++) {
        const struct artifact_segment *g = &s->segments[i];
        bytes_put_u32(w, g->id);
        bytes_put_str(w, g->name);
        bytes_put_i64(w, g->lambda);
        bytes_put_u32(w, g->floor_q16);
        bytes_put_u32(w, g->point_count);
        for (uint32_t k = 0; k < g->point_count; k++) {
            bytes_put_i64(w, g->points[k].lambda);
            bytes_put_i64(w, g->points[k].cost_nanousd);
            bytes_put_u32(w, g->points[k].quality_q16);
        }
    }
}

static void put_explore(struct bytes_writer *w, const struct artifact_spec *s)
{
    bytes_put_u32(w, s->explore.gamma);
    bytes_put_u32(w, s->explore.eps_cap);
    bytes_put_u32(w, s->explore.delta_q16);
    bytes_put_u32(w, s->explore.cost_ratio);
}

static void put_vocab(struct bytes_writer *w, const struct artifact_spec *s)
{
    bytes_put_u32(w, s->vocab_count);
    for (uint32_t i = 0; i < s->vocab_count; i++) {
        bytes_put_u16(w, s->vocab[i].index);
        bytes_put_str(w, s->vocab[i].text);
    }
}

static void put_selftest(struct bytes_writer *w, const struct artifact_spec *s)
{
    if (s->selftest.len > 0)
        bytes_put_raw(w, s->selftest.data, s->selftest.len);
    else
        bytes_put_u32(w, 0);
}

/* Overwrites what is already in the buffer. */
static void patch_u64(struct buf *out, size_t at, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++)
        out->data[at + i] = (char)(uint8_t)(value >> (8 * i));
}

static void put_section(struct bytes_writer *w, const struct artifact_spec *s, unsigned section)
{
    static void (*const put[ARTIFACT_SECTIONS])(struct bytes_writer *,
                                                const struct artifact_spec *) = {
        [ARTIFACT_META] = put_meta,
        [ARTIFACT_DENSE] = put_dense,
        [ARTIFACT_W] = put_w,
        [ARTIFACT_LEN] = put_len,
        [ARTIFACT_TASK] = put_task,
        [ARTIFACT_CALIB] = put_calib,
        [ARTIFACT_TABLES] = put_tables,
        [ARTIFACT_LAMBDA] = put_lambda,
        [ARTIFACT_EXPLORE] = put_explore,
        [ARTIFACT_VOCAB] = put_vocab,
        [ARTIFACT_SELFTEST] = put_selftest,
    };
    bytes_put_raw(w, artifact_section_tag[section], 4);
    bytes_put_u32(w, 0);
    bytes_put_u64(w, 0);
    size_t begin = w->out->len;
    put[section](w, s);
    if (w->rc != 0)
        return;
    size_t len = w->out->len - begin;
    patch_u64(w->out, begin - 8, len);
    for (size_t pad = (8 - len % 8) % 8; pad > 0; pad--)
        bytes_put_u8(w, 0);
}

int artifact_encode(const struct artifact_spec *spec, struct buf *out, struct err *err)
{
    int rc = check_spec(spec, err);
    if (rc != 0)
        return rc;
    struct bytes_writer w = {.out = out};
    size_t begin = out->len;
    uint8_t empty[8 + SHA256_BYTES] = {0}; /* body_len and digest, known at the end. */
    bytes_put_raw(&w, ARTIFACT_MAGIC, 8);
    bytes_put_u32(&w, ARTIFACT_VERSION);
    bytes_put_u32(&w, 0);
    bytes_put_raw(&w, empty, sizeof empty);
    for (unsigned section = 0; section < ARTIFACT_SECTIONS; section++) {
        if ((section == ARTIFACT_TASK && spec->task_count == 0) ||
            (section == ARTIFACT_VOCAB && spec->vocab_count == 0))
            continue;
        put_section(&w, spec, section);
    }
    if (w.rc != 0)
        return err_set(err, w.rc, "write policy file: %s", err_text(w.rc));
    size_t body = begin + ARTIFACT_HEADER_BYTES;
    struct sha256 digest = digest_sha256(out->data + body, out->len - body);
    patch_u64(out, begin + 16, out->len - body);
    memcpy(out->data + begin + 24, digest.bytes, SHA256_BYTES);
    return 0;
}
