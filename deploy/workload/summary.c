/* Summaries of runs as JSON, and several of them side by side. */
#include <jansson.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/str.h"
#include "deploy/workload/workload.h"

#define FILE_BYTES_MAX 65536U
#define FILES_MAX      8U

int workload_write_json(const char *label, const struct workload_summary *s, struct buf *out)
{
    uint32_t answered = s->requests - s->failed;
    json_t *shares = json_object();
    for (unsigned i = 0; i < s->served_count; i++)
        json_object_set_new(shares, s->served[i].model, json_integer(s->served[i].requests));
    json_t *root = json_pack(
        "{s:s,s:i,s:i,s:i,s:f,s:f,s:f,s:i,s:f,s:f,s:f,s:s,s:s,s:o}", "label", label, "requests",
        (int)s->requests, "failed", (int)s->failed, "right", (int)s->right, "quality",
        answered > 0 ? (double)s->right / answered : 0.0, "cost_usd", (double)s->cost_nanousd / 1e9,
        "cost_usd_per_1000", answered > 0 ? (double)s->cost_nanousd / 1e6 / answered : 0.0,
        "unpriced", (int)s->unpriced, "p50_ms", s->p50_ms, "p95_ms", s->p95_ms, "seconds",
        s->seconds, "policy", s->policy, "decision_id", s->decision_id, "served", shares);
    char *text = root != NULL ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(root);
    if (text == NULL)
        return ERR_NOMEM;
    int rc = buf_append_text(out, text);
    mem_free(text);
    return rc != 0 ? rc : buf_append_char(out, '\n');
}

static json_t *load(const char *path, struct err *err)
{
    struct buf file;
    buf_init(&file, FILE_BYTES_MAX);
    json_t *root = NULL;
    if (buf_read_file(&file, path, FILE_BYTES_MAX, err) == 0) {
        root = json_loadb(file.data, file.len, 0, NULL);
        if (root == NULL)
            (void)err_set(err, ERR_SYNTAX, "%s is no summary", path);
    }
    buf_deinit(&file);
    return root;
}

static double number(const json_t *run, const char *name)
{
    return json_number_value(json_object_get(run, name));
}

/* "sim-small 41 %, sim-text 30 %, ...": the largest first. */
static int write_shares(const json_t *run, struct buf *out)
{
    const json_t *served = json_object_get(run, "served");
    double total = 0;
    const char *model;
    json_t *count;
    json_object_foreach((json_t *)served, model, count) total += (double)json_integer_value(count);
    json_int_t below = INT32_MAX;
    for (unsigned printed = 0; printed < json_object_size(served);) {
        json_int_t most = -1;
        json_object_foreach((json_t *)served, model, count) if (json_integer_value(count) < below &&
                                                                json_integer_value(count) > most)
            most = json_integer_value(count);
        json_object_foreach((json_t *)served, model, count)
        {
            if (json_integer_value(count) != most)
                continue;
            int rc = buf_printf(out, "%s%s %.0f %%", printed > 0 ? ", " : "", model,
                                100.0 * (double)most / total);
            if (rc != 0)
                return rc;
            printed++;
        }
        below = most;
    }
    return buf_append_char(out, '\n');
}

static int write_row(const json_t *run, double best_quality, double best_cost, struct buf *out)
{
    double quality = number(run, "quality"), cost = number(run, "cost_usd_per_1000");
    const char *label = json_string_value(json_object_get(run, "label"));
    int rc = buf_printf(out, "%-22s %9.4f  %8.1f %% %8.1f %% %8.1f %% %7.0f ms  ",
                        label != NULL ? label : "?", cost, quality * 100.0,
                        best_quality > 0 ? 100.0 * quality / best_quality : 0.0,
                        best_cost > 0 ? 100.0 * cost / best_cost : 0.0, number(run, "p50_ms"));
    return rc != 0 ? rc : write_shares(run, out);
}

int workload_compare(char *const *paths, unsigned count, const char *best_label, struct buf *out,
                     struct err *err)
{
    json_t *runs[FILES_MAX] = {NULL};
    double best_quality = 0, best_cost = 0;
    int rc = 0;
    if (count == 0 || count > FILES_MAX)
        return err_set(err, ERR_INVALID, "1 to %u files can be compared", FILES_MAX);
    for (unsigned i = 0; rc == 0 && i < count; i++) {
        runs[i] = load(paths[i], err);
        const char *label = json_string_value(json_object_get(runs[i], "label"));
        if (runs[i] == NULL)
            rc = ERR_INVALID;
        else if (label != NULL && strcmp(label, best_label) == 0) {
            best_quality = number(runs[i], "quality");
            best_cost = number(runs[i], "cost_usd_per_1000");
        }
    }
    if (rc == 0)
        rc = buf_printf(out, "%-22s %9s  %10s %10s %10s %10s  %s\n", "", "USD/1,000", "right",
                        "of best", "of cost", "median", "served by");
    for (unsigned i = 0; rc == 0 && i < count; i++)
        rc = write_row(runs[i], best_quality, best_cost, out);
    for (unsigned i = 0; i < count; i++)
        json_decref(runs[i]);
    return rc;
}
