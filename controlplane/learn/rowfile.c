#include "controlplane/learn/rowfile.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <zlib.h>

#include "common/base/buf.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/route/price.h"

#define CHUNK_BYTES     65536
#define BYTES_PER_TOKEN 4
#define NANO_PER_USD    1e9

static struct str string_of(const json_t *value)
{
    return json_is_string(value)
               ? (struct str){.data = json_string_value(value), .len = json_string_length(value)}
               : STR_NULL;
}

/* USD per million tokens; missing or null is unknown. */
static int read_price(const json_t *model, const char *name, int64_t *out_price, struct err *err)
{
    const json_t *value = json_object_get(model, name);
    *out_price = PRICE_UNKNOWN;
    if (value == NULL || json_is_null(value))
        return 0;
    double usd = json_is_number(value) ? json_number_value(value) : -1;
    if (!(usd >= 0 && usd * NANO_PER_USD <= (double)PRICE_RATE_MAX))
        return err_set(err, ERR_INVALID, "%s is not a price in USD per million tokens", name);
    *out_price = llrint(usd * NANO_PER_USD);
    return 0;
}

static int read_model(const json_t *model, struct str *out_name, struct learn_model *out,
                      struct err *err)
{
    const json_t *prior = json_object_get(model, "prior_quality");
    *out_name = string_of(json_object_get(model, "name"));
    if (out_name->len == 0)
        return err_set(err, ERR_INVALID, "a model has no \"name\"");
    out->prior_quality = -1;
    out->prior_out_tok = 0;
    if (json_is_number(prior)) {
        out->prior_quality = json_number_value(prior);
        if (!(out->prior_quality >= 0 && out->prior_quality <= 1))
            return err_set(err, ERR_INVALID, "prior_quality of '%.*s' is not within 0..1",
                           STR_ARG(*out_name));
    }
    int rc = read_price(model, "price_in", &out->price_in, err);
    return rc != 0 ? rc : read_price(model, "price_out", &out->price_out, err);
}

static int parse_meta(struct str text, struct rowfile_meta *meta, struct err *err)
{
    json_error_t error;
    meta->json = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES, &error);
    if (meta->json == NULL)
        return err_set(err, ERR_SYNTAX, "line %d: %s", error.line, error.text);
    const json_t *models = json_object_get(meta->json, "models");
    if (!json_is_array(models) || json_array_size(models) == 0 ||
        json_array_size(models) > ARTIFACT_MODELS_MAX)
        return err_set(err, ERR_INVALID, "\"models\" must list 1 to %d models",
                       ARTIFACT_MODELS_MAX);
    meta->model_count = (uint32_t)json_array_size(models);
    for (uint32_t m = 0; m < meta->model_count; m++) {
        int rc = read_model(json_array_get(models, m), &meta->names[m], &meta->models[m], err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int rowfile_read_meta(const char *path, struct rowfile_meta *out_meta, struct err *err)
{
    struct buf file;
    struct rowfile_meta meta = {0};
    buf_init(&file, ROWFILE_META_BYTES_MAX);
    int rc = buf_read_file(&file, path, ROWFILE_META_BYTES_MAX, err);
    if (rc == 0) {
        rc = parse_meta(buf_str(&file), &meta, err);
        if (rc != 0)
            err_wrap(err, "%s", path);
    }
    buf_deinit(&file);
    if (rc == 0)
        *out_meta = meta;
    else
        rowfile_meta_deinit(&meta);
    return rc;
}

void rowfile_meta_deinit(struct rowfile_meta *meta)
{
    json_decref(meta->json);
    memset(meta, 0, sizeof(*meta));
}

static int handle_line(struct str line, uint64_t number, rowfile_line_cb on_line, void *data,
                       struct err *err)
{
    json_error_t error;
    if (str_trim(line).len == 0 || str_is(line, "\r"))
        return 0;
    json_t *row = json_loadb(line.data, line.len, JSON_REJECT_DUPLICATES, &error);
    int rc;
    if (row == NULL)
        rc = err_set(err, ERR_SYNTAX, "%s", error.text);
    else if (!json_is_object(row))
        rc = err_set(err, ERR_SYNTAX, "not a JSON object");
    else
        rc = on_line(row, number, data, err);
    json_decref(row);
    return rc;
}

/* Lines of what has been read so far; the last one may go on. */
static int handle_lines(struct buf *pending, bool end, uint64_t *io_number, rowfile_line_cb on_line,
                        void *data, struct err *err)
{
    size_t from = 0;
    while (from < pending->len) {
        struct str rest = str_slice(buf_str(pending), from, pending->len);
        ptrdiff_t newline = str_find(rest, '\n');
        if (newline < 0 && !end)
            break;
        struct str line = newline < 0 ? rest : str_slice(rest, 0, (size_t)newline);
        ++*io_number;
        int rc = handle_line(line, *io_number, on_line, data, err);
        if (rc != 0)
            return rc;
        from += line.len + 1;
    }
    buf_consume(pending, from < pending->len ? from : pending->len);
    return 0;
}

static int read_lines(gzFile file, rowfile_line_cb on_line, void *data, uint64_t *io_number,
                      struct err *err)
{
    struct buf pending;
    int rc = 0;
    int got = 1;
    buf_init(&pending, ROWFILE_LINE_BYTES_MAX + CHUNK_BYTES);
    while (rc == 0 && got > 0) {
        rc = buf_reserve(&pending, CHUNK_BYTES);
        if (rc != 0) {
            ++*io_number;
            rc = err_set(err, rc, rc == ERR_TOO_LARGE ? "line too long" : "out of memory");
            break;
        }
        got = gzread(file, pending.data + pending.len, CHUNK_BYTES);
        if (got < 0) {
            int code = 0;
            rc = err_set(err, ERR_IO, "%s", gzerror(file, &code));
            break;
        }
        pending.len += (size_t)got;
        rc = handle_lines(&pending, got == 0, io_number, on_line, data, err);
    }
    buf_deinit(&pending);
    return rc;
}

int rowfile_each(const char *path, rowfile_line_cb on_line, void *data, struct err *err)
{
    uint64_t number = 0;
    errno = 0;
    gzFile file = gzopen(path, "rb");
    if (file == NULL)
        return err_set(err, errno != 0 ? err_from_errno(errno) : ERR_NOMEM, "%s: %s", path,
                       errno != 0 ? strerror(errno) : "out of memory");
    int rc = read_lines(file, on_line, data, &number, err);
    int code = Z_OK;
    if (rc == 0) {
        const char *text = gzerror(file, &code);
        if (code != Z_OK && code != Z_STREAM_END)
            rc = err_set(err, code == Z_BUF_ERROR ? ERR_EOF : ERR_IO, "%s",
                         code == Z_BUF_ERROR ? "file ends too early" : text);
    }
    if (rc != 0)
        err_wrap(err, "%s: line %llu", path, (unsigned long long)number);
    (void)gzclose(file);
    return rc;
}

static int read_tokens(const json_t *row, size_t query_bytes, uint32_t *out_tokens, struct err *err)
{
    const json_t *value = json_object_get(row, "in_tok");
    if (value == NULL || json_is_null(value)) {
        *out_tokens = (uint32_t)(query_bytes / BYTES_PER_TOKEN + 1);
        return 0;
    }
    double tokens = json_is_number(value) ? json_number_value(value) : -1;
    if (!(tokens >= 0 && tokens <= 1e9))
        return err_set(err, ERR_INVALID, "\"in_tok\" is not a count of tokens");
    *out_tokens = (uint32_t)tokens;
    return 0;
}

int rowfile_parse_query(const json_t *row, const struct features_hasher *hasher,
                        struct rowfile_query *out_query, struct err *err)
{
    const json_t *query = json_object_get(row, "query");
    struct features_input input = {
        .messages = 1, .turns = 1, .temperature_q8 = FEATURES_TEMPERATURE_UNSET};
    if (!json_is_string(query))
        return err_set(err, ERR_INVALID, "\"query\" is missing or not a string");
    input.text = string_of(query);
    input.bytes = input.text.len;
    int rc = read_tokens(row, input.text.len, &out_query->in_tok, err);
    if (rc != 0)
        return rc;
    input.t_in = out_query->in_tok;
    out_query->id = string_of(json_object_get(row, "id"));
    out_query->task = string_of(json_object_get(row, "task"));
    features_extract(hasher, &input, &out_query->features);
    return 0;
}

struct loading {
    const struct rowfile_meta *meta;
    const struct features_hasher *hasher;
    struct dataset *dataset;
};

/* A number, or NAN for null and missing. Infinite ones cannot be written in JSON. */
static int number_or_nan(const json_t *value, const char *what, double *out, struct err *err)
{
    *out = NAN;
    if (value == NULL || json_is_null(value))
        return 0;
    if (json_is_boolean(value)) {
        *out = json_is_true(value) ? 1 : 0;
        return 0;
    }
    if (!json_is_number(value))
        return err_set(err, ERR_INVALID, "\"%s\" is not a number", what);
    *out = json_number_value(value);
    return 0;
}

static int array_of(const json_t *row, const char *name, uint32_t models, const json_t **out_array,
                    struct err *err)
{
    const json_t *array = json_object_get(row, name);
    *out_array = array;
    if (array == NULL || (json_is_array(array) && json_array_size(array) == models))
        return 0;
    return err_set(err, ERR_INVALID, "\"%s\" is not an array of %u values", name, models);
}

static int read_arrays(const json_t *row, uint32_t models, struct dataset_label *out_labels,
                       struct err *err)
{
    static const char *const names[] = {"score", "out_tok", "cost_usd"};
    for (unsigned k = 0; k < 3; k++) {
        const json_t *array = NULL;
        int rc = array_of(row, names[k], models, &array, err);
        for (uint32_t m = 0; rc == 0 && m < models; m++) {
            struct dataset_label *l = &out_labels[m];
            double *to = k == 0 ? &l->score : k == 1 ? &l->out_tok : &l->cost_usd;
            l->model = m;
            rc = number_or_nan(json_array_get(array, m), names[k], to, err);
        }
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int read_observed(const json_t *row, const struct rowfile_meta *meta,
                         struct dataset_label *out_label, struct err *err)
{
    struct str name = string_of(json_object_get(row, "model"));
    uint32_t m = 0;
    while (m < meta->model_count && !str_eq(meta->names[m], name))
        m++;
    if (m == meta->model_count)
        return err_set(err, ERR_INVALID, "model '%.*s' is not in the meta file", STR_ARG(name));
    out_label->model = m;
    int rc = number_or_nan(json_object_get(row, "score"), "score", &out_label->score, err);
    if (rc == 0)
        rc = number_or_nan(json_object_get(row, "out_tok"), "out_tok", &out_label->out_tok, err);
    if (rc == 0)
        rc = number_or_nan(json_object_get(row, "cost_usd"), "cost_usd", &out_label->cost_usd, err);
    return rc;
}

/* Rows without an id get one from their text: equal questions then stay in one fold. */
static uint64_t unit_of(const struct rowfile_query *query, const json_t *row)
{
    static const struct siphash_key key = {.k0 = 0x756e6974, .k1 = 0};
    struct str s = query->id.len != 0 ? query->id : string_of(json_object_get(row, "query"));
    return siphash_1_3(key, s.data, s.len);
}

static int one_or(const json_t *row, const char *name, double *out, struct err *err)
{
    int rc = number_or_nan(json_object_get(row, name), name, out, err);
    if (rc == 0 && isnan(*out))
        *out = 1;
    return rc;
}

static int on_row(const json_t *json, uint64_t line, void *data, struct err *err)
{
    const struct loading *l = data;
    struct dataset_label labels[ARTIFACT_MODELS_MAX];
    struct rowfile_query query;
    struct dataset_row row = {.label_prob = 1};
    (void)line;
    int rc = rowfile_parse_query(json, l->hasher, &query, err);
    if (rc == 0)
        rc = one_or(json, "propensity", &row.propensity, err);
    if (rc == 0)
        rc = one_or(json, "weight", &row.weight, err);
    if (rc != 0)
        return rc;
    if (json_object_get(json, "model") != NULL) {
        row.label_count = 1;
        rc = read_observed(json, l->meta, labels, err);
    } else {
        row.label_count = l->meta->model_count;
        rc = read_arrays(json, l->meta->model_count, labels, err);
    }
    if (rc != 0)
        return rc;
    row.features = &query.features;
    row.unit = unit_of(&query, json);
    row.in_tok = query.in_tok;
    row.task = query.task;
    row.labels = labels;
    return dataset_add(l->dataset, &row, err);
}

int rowfile_load(const char *path, const struct rowfile_meta *meta,
                 const struct features_hasher *hasher, struct dataset *io_dataset, struct err *err)
{
    struct loading loading = {.meta = meta, .hasher = hasher, .dataset = io_dataset};
    return rowfile_each(path, on_row, &loading, err);
}
