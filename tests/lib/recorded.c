#include "tests/lib/recorded.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <zlib.h>

#include "common/base/buf.h"
#include "common/base/mem.h"

#define FILE_BYTES_MAX (1U << 30)

static void *must(void *p, const char *what)
{
    if (p == NULL) {
        fprintf(stderr, "recorded answers: %s\n", what);
        exit(1);
    }
    return p;
}

/* Whole text of a gzip file; .len 0 when there is no such file. */
static struct buf read_gz(const char *directory, const char *file)
{
    char path[4096];
    struct buf text;
    buf_init(&text, FILE_BYTES_MAX);
    snprintf(path, sizeof path, "%s/%s", directory, file);
    gzFile gz = gzopen(path, "rb");
    if (gz == NULL)
        return text;
    for (;;) {
        if (buf_reserve(&text, 1U << 16) != 0)
            must(NULL, "out of memory");
        int n = gzread(gz, text.data + text.len, 1U << 16);
        if (n <= 0)
            break;
        text.len += (size_t)n;
    }
    gzclose(gz);
    return text;
}

static json_t *next_line(struct str *rest)
{
    struct str line;
    if (rest->len == 0)
        return NULL;
    str_cut(*rest, '\n', &line, rest);
    json_error_t error;
    return must(json_loadb(line.data, line.len, JSON_ALLOW_NUL, &error), "bad JSON line");
}

static double number_at(const json_t *array, size_t i)
{
    const json_t *value = json_array_get(array, i);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static void read_row(const struct recorded_set *set, const json_t *line, struct recorded_row *row)
{
    size_t n = set->model_count;
    row->id = must(mem_strdup(json_string_value(json_object_get(line, "id"))), "row without id");
    const char *task = json_string_value(json_object_get(line, "task"));
    row->task = must(mem_strdup(task != NULL ? task : ""), "out of memory");
    row->query = must(mem_strdup(json_string_value(json_object_get(line, "query"))), "no query");
    row->in_tok = (uint32_t)json_integer_value(json_object_get(line, "in_tok"));
    row->score = must(mem_calloc(n, sizeof(double)), "out of memory");
    row->out_tok = must(mem_calloc(n, sizeof(uint32_t)), "out of memory");
    row->cost_usd = must(mem_calloc(n, sizeof(double)), "out of memory");
    row->response = must(mem_calloc(n, sizeof(char *)), "out of memory");
    for (size_t m = 0; m < n; m++) {
        row->score[m] = number_at(json_object_get(line, "score"), m);
        row->cost_usd[m] = number_at(json_object_get(line, "cost_usd"), m);
        double out = number_at(json_object_get(line, "out_tok"), m);
        row->out_tok[m] = out > 0 ? (uint32_t)out : 0;
    }
}

static void read_rows(struct recorded_set *set, const char *directory, const char *file,
                      struct recorded_row **out_rows, size_t *out_count)
{
    struct buf text = read_gz(directory, file);
    size_t lines = 0;
    for (size_t i = 0; i < text.len; i++)
        lines += text.data[i] == '\n';
    *out_rows = must(mem_calloc(lines + 1, sizeof **out_rows), "out of memory");
    *out_count = 0;
    struct str rest = buf_str(&text);
    for (json_t *line; (line = next_line(&rest)) != NULL; json_decref(line))
        read_row(set, line, &(*out_rows)[(*out_count)++]);
    buf_deinit(&text);
    for (size_t i = 0; i < *out_count; i++)
        if (map_put(&set->by_query, str_from((*out_rows)[i].query), &(*out_rows)[i], NULL) != 0)
            must(NULL, "out of memory");
}

static void read_models(struct recorded_set *set, const char *directory)
{
    char path[4096];
    json_error_t error;
    snprintf(path, sizeof path, "%s/meta.json", directory);
    json_t *meta = must(json_load_file(path, 0, &error), "cannot read meta.json");
    const json_t *models = json_object_get(meta, "models");
    set->model_count = json_array_size(models);
    if (set->model_count == 0 || set->model_count > RECORDED_MODELS_MAX)
        must(NULL, "meta.json names no models, or too many");
    for (size_t m = 0; m < set->model_count; m++) {
        const json_t *name = json_object_get(json_array_get(models, m), "name");
        set->models[m] = must(mem_strdup(json_string_value(name)), "model without name");
    }
    json_decref(meta);
}

/* Answers belong to rows by id; those of rows that are not here are passed over. */
static void read_responses(struct recorded_set *set, const char *directory)
{
    struct map by_id;
    map_init(&by_id);
    for (size_t i = 0; i < set->train_count; i++)
        if (map_put(&by_id, str_from(set->train[i].id), &set->train[i], NULL) != 0)
            must(NULL, "out of memory");
    for (size_t i = 0; i < set->valid_count; i++)
        if (map_put(&by_id, str_from(set->valid[i].id), &set->valid[i], NULL) != 0)
            must(NULL, "out of memory");
    struct buf text = read_gz(directory, "responses.jsonl.gz");
    struct str rest = buf_str(&text);
    for (json_t *line; (line = next_line(&rest)) != NULL; json_decref(line)) {
        const char *id = json_string_value(json_object_get(line, "id"));
        struct recorded_row *row = map_get(&by_id, str_from(id));
        for (size_t m = 0; row != NULL && m < set->model_count; m++) {
            const json_t *answers = json_object_get(line, "response");
            const char *answer = json_string_value(json_object_get(answers, set->models[m]));
            if (answer != NULL)
                row->response[m] = must(mem_strdup(answer), "out of memory");
        }
    }
    buf_deinit(&text);
    map_deinit(&by_id);
}

struct recorded_set *recorded_load(const char *directory)
{
    struct recorded_set *set = must(mem_zalloc(sizeof *set), "out of memory");
    const char *slash = strrchr(directory, '/');
    set->name = must(mem_strdup(slash != NULL ? slash + 1 : directory), "out of memory");
    map_init(&set->by_query);
    read_models(set, directory);
    read_rows(set, directory, "train.jsonl.gz", &set->train, &set->train_count);
    read_rows(set, directory, "valid.jsonl.gz", &set->valid, &set->valid_count);
    read_responses(set, directory);
    return set;
}

int recorded_model(const struct recorded_set *set, struct str name)
{
    for (size_t m = 0; m < set->model_count; m++)
        if (str_is(name, set->models[m]))
            return (int)m;
    return -1;
}
