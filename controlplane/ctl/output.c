#include "controlplane/ctl/output.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/str.h"

#define CELL_BYTES_MAX  4096U
#define TABLE_BYTES_MAX (64U << 20)
#define COLUMNS_MAX     24U

const json_t *output_get(const json_t *object, const char *path)
{
    struct str rest = str_from(path), head;
    bool more = true;
    while (more && object != NULL) {
        char key[64];
        more = str_cut(rest, '.', &head, &rest);
        if (!str_copy(head, key, sizeof(key)))
            return NULL;
        object = json_object_get(object, key);
    }
    return json_is_null(object) ? NULL : object;
}

static int append_safe(struct buf *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        int rc = buf_append_char(out, c < 0x20 || c == 0x7f ? '?' : (char)c);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int append_scalar(const json_t *value, struct buf *out)
{
    if (json_is_string(value))
        return append_safe(out, json_string_value(value), json_string_length(value));
    if (json_is_integer(value))
        return buf_append_i64(out, (int64_t)json_integer_value(value));
    if (json_is_real(value))
        return buf_printf(out, "%.6g", json_real_value(value));
    if (json_is_boolean(value))
        return buf_append_text(out, json_is_true(value) ? "yes" : "no");
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
    if (text == NULL)
        return ERR_NOMEM;
    int rc = append_safe(out, text, strlen(text));
    mem_free(text);
    return rc;
}

static int append_list(const json_t *list, struct buf *out)
{
    size_t i;
    json_t *item;
    int rc = 0;
    if (!json_is_array(list))
        return append_scalar(list, out);
    if (json_array_size(list) == 0)
        return buf_append_char(out, '-');
    json_array_foreach(list, i, item)
    {
        const json_t *named = json_object_get(item, "model");
        if (i > 0)
            rc = buf_append_text(out, ", ");
        if (rc == 0)
            rc = append_scalar(named != NULL ? named : item, out);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* Money as the server gives it: a decimal string stays as it is, so nothing is rounded. */
static int append_usd(const json_t *value, struct buf *out)
{
    if (json_is_string(value)) {
        int rc = buf_append_char(out, '$');
        return rc != 0 ? rc : append_scalar(value, out);
    }
    double usd = json_number_value(value);
    return buf_printf(out, fabs(usd) < 0.01 ? "$%.6f" : "$%.4f", usd);
}

int output_cell(const json_t *object, const struct column *column, struct buf *out)
{
    const json_t *value = output_get(object, column->path);
    if (value == NULL)
        return buf_append_char(out, '-');
    switch (column->kind) {
    case COLUMN_TEXT:
    case COLUMN_NUMBER:
    case COLUMN_BOOL:
        return append_scalar(value, out);
    case COLUMN_USD:
        return append_usd(value, out);
    case COLUMN_PERCENT:
        return buf_printf(out, "%.1f %%", json_number_value(value) * 100.0);
    case COLUMN_MS:
        return buf_printf(out, "%.0f ms", json_number_value(value));
    case COLUMN_LIST:
        return append_list(value, out);
    case COLUMN_SHORT:
        if (json_is_string(value))
            return append_safe(out, json_string_value(value),
                               json_string_length(value) < 12 ? json_string_length(value) : 12);
        return append_scalar(value, out);
    }
    return 0;
}

static bool is_right_aligned(enum column_kind kind)
{
    return kind == COLUMN_NUMBER || kind == COLUMN_USD || kind == COLUMN_PERCENT ||
           kind == COLUMN_MS;
}

static size_t display_width(struct str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += ((unsigned char)s.data[i] & 0xc0) != 0x80 ? 1 : 0;
    return n;
}

struct cells {
    struct buf text; /* All cells back to back. */
    size_t *ends;    /* rows * columns. */
    size_t columns;
    const struct column *shown[COLUMNS_MAX];
    size_t widths[COLUMNS_MAX];
};

static struct str cell_at(const struct cells *t, size_t row, size_t column)
{
    size_t i = row * t->columns + column;
    size_t start = i > 0 ? t->ends[i - 1] : 0;
    return str_slice(buf_str(&t->text), start, t->ends[i]);
}

static int fill_cells(struct cells *t, const json_t *items)
{
    size_t rows = json_array_size(items);
    t->ends = mem_calloc(rows * t->columns + 1, sizeof(size_t));
    if (t->ends == NULL)
        return ERR_NOMEM;
    for (size_t r = 0; r < rows; r++) {
        for (size_t k = 0; k < t->columns; k++) {
            int rc = output_cell(json_array_get(items, r), t->shown[k], &t->text);
            if (rc != 0)
                return rc;
            t->ends[r * t->columns + k] = t->text.len;
        }
    }
    for (size_t k = 0; k < t->columns; k++) {
        t->widths[k] = display_width(str_from(t->shown[k]->title));
        for (size_t r = 0; r < rows; r++) {
            size_t w = display_width(cell_at(t, r, k));
            t->widths[k] = w > t->widths[k] ? w : t->widths[k];
        }
    }
    return 0;
}

static void print_cell(FILE *to, struct str text, size_t width, bool right, bool last)
{
    int pad = (int)(width - display_width(text));
    if (right)
        fprintf(to, "%*s%.*s", pad, "", STR_ARG(text));
    else
        fprintf(to, "%.*s%*s", STR_ARG(text), last ? 0 : pad, "");
    fputs(last ? "\n" : "  ", to);
}

static enum ctl_exit print_table(struct ctl *c, const struct column *columns, const json_t *items)
{
    struct cells t = {0};
    buf_init(&t.text, TABLE_BYTES_MAX);
    for (const struct column *k = columns; k->title != NULL; k++) {
        assert(t.columns < COLUMNS_MAX);
        if (!k->wide || c->format == CTL_WIDE)
            t.shown[t.columns++] = k;
    }
    int rc = fill_cells(&t, items);
    if (rc == 0) {
        fputs(output_bold(c), c->out);
        for (size_t k = 0; k < t.columns; k++)
            print_cell(c->out, str_from(t.shown[k]->title), t.widths[k],
                       is_right_aligned(t.shown[k]->kind), k + 1 == t.columns);
        fputs(output_plain(c), c->out);
        for (size_t r = 0; r < json_array_size(items); r++)
            for (size_t k = 0; k < t.columns; k++)
                print_cell(c->out, cell_at(&t, r, k), t.widths[k],
                           is_right_aligned(t.shown[k]->kind), k + 1 == t.columns);
    }
    mem_free(t.ends);
    buf_deinit(&t.text);
    return rc == 0 ? CTL_OK : ctl_fail(c, CTL_FAILED, "%s", err_text(rc));
}

static enum ctl_exit dump(struct ctl *c, const json_t *value, size_t flags)
{
    if (json_dumpf(value, c->out, flags | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15)) != 0)
        return ctl_fail(c, CTL_FAILED, "the output could not be written");
    fputc('\n', c->out);
    return CTL_OK;
}

enum ctl_exit output_json(struct ctl *c, const json_t *value)
{
    if (c->format == CTL_YAML)
        return output_yaml(c->out, value) == 0
                   ? CTL_OK
                   : ctl_fail(c, CTL_FAILED, "the output could not be written");
    return dump(c, value, c->format == CTL_JSONL ? JSON_COMPACT : JSON_INDENT(2));
}

static void print_name(struct ctl *c, const json_t *item, const char *name_path)
{
    const json_t *name = output_get(item, name_path);
    if (json_is_string(name))
        output_text(c->out, json_string_value(name));
    else if (json_is_integer(name))
        fprintf(c->out, "%lld", (long long)json_integer_value(name));
    fputc('\n', c->out);
}

enum ctl_exit output_list(struct ctl *c, const struct column *columns, const json_t *items,
                          const char *name_path)
{
    size_t i;
    json_t *item;
    switch (c->format) {
    case CTL_JSON:
    case CTL_YAML:
        return output_json(c, items);
    case CTL_JSONL:
        json_array_foreach(items, i,
                           item) if (dump(c, item, JSON_COMPACT) != CTL_OK) return CTL_FAILED;
        return CTL_OK;
    case CTL_NAME:
        json_array_foreach(items, i, item) print_name(c, item, name_path);
        return CTL_OK;
    case CTL_CSV: {
        enum ctl_exit code = output_csv_head(c, columns);
        return code == CTL_OK ? output_csv_rows(c, columns, items) : code;
    }
    case CTL_TABLE:
    case CTL_WIDE:
        if (json_array_size(items) == 0) {
            ctl_note(c, "none");
            return CTL_OK;
        }
        return print_table(c, columns, items);
    }
    return CTL_FAILED;
}

static enum ctl_exit print_object(struct ctl *c, const struct column *columns, const json_t *object)
{
    size_t width = 0;
    for (const struct column *k = columns; k->title != NULL; k++)
        width =
            display_width(str_from(k->title)) > width ? display_width(str_from(k->title)) : width;
    for (const struct column *k = columns; k->title != NULL; k++) {
        struct buf cell;
        if (k->wide && c->format != CTL_WIDE)
            continue;
        buf_init(&cell, CELL_BYTES_MAX * 16);
        int rc = output_cell(object, k, &cell);
        if (rc == 0)
            fprintf(c->out, "%s%s%s%*s  %.*s\n", output_dim(c), k->title, output_plain(c),
                    (int)(width - display_width(str_from(k->title))), "", STR_ARG(buf_str(&cell)));
        buf_deinit(&cell);
        if (rc != 0)
            return ctl_fail(c, CTL_FAILED, "%s", err_text(rc));
    }
    return CTL_OK;
}

enum ctl_exit output_object(struct ctl *c, const struct column *columns, const json_t *object,
                            const char *name_path)
{
    switch (c->format) {
    case CTL_JSON:
    case CTL_JSONL:
    case CTL_YAML:
        return output_json(c, object);
    case CTL_NAME:
        print_name(c, object, name_path);
        return CTL_OK;
    case CTL_CSV: {
        json_t *items = json_pack("[O]", object);
        enum ctl_exit code = output_list(c, columns, items, name_path);
        json_decref(items);
        return code;
    }
    case CTL_TABLE:
    case CTL_WIDE:
        return print_object(c, columns, object);
    }
    return CTL_FAILED;
}

void output_text(FILE *to, const char *text)
{
    for (const char *p = text; *p != '\0'; p++)
        fputc(((unsigned char)*p < 0x20 && *p != '\n') || *p == 0x7f ? '?' : *p, to);
}

const char *output_bold(const struct ctl *c)
{
    return c->color ? "\033[1m" : "";
}

const char *output_dim(const struct ctl *c)
{
    return c->color ? "\033[2m" : "";
}

const char *output_plain(const struct ctl *c)
{
    return c->color ? "\033[0m" : "";
}
