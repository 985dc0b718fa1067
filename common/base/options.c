#include "common/base/options.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/str.h"

#define NAME_BYTES_MAX 64U
#define ENV_BYTES      (sizeof "STEELYARD_" + NAME_BYTES_MAX)

/* One argument of argv, taken apart. */
struct option_arg {
    const struct option_row *row; /* NULL: not in the table. */
    const char *value;            /* NULL: a value was due and argv has ended. */
    bool known_negation;          /* --no-name */
    unsigned words;               /* How many of argv it uses. */
};

static void option_env_name(const struct option_row *row, char out[ENV_BYTES])
{
    size_t len = strlen(row->name);
    assert(len <= NAME_BYTES_MAX);
    memcpy(out, "STEELYARD_", sizeof "STEELYARD_" - 1);
    char *to = out + sizeof "STEELYARD_" - 1;
    for (size_t i = 0; i < len; i++) {
        char c = row->name[i];
        to[i] = (char)(c == '-' ? '_' : (c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c));
    }
    to[len] = '\0';
}

static const struct option_row *option_find(const struct option_row *rows, struct str name)
{
    for (; rows->name != NULL; rows++) {
        if (str_is(name, rows->name))
            return rows;
    }
    return NULL;
}

static bool option_parse_bool(struct str s, bool *out_value)
{
    if (str_is(s, "true") || str_is(s, "yes") || str_is(s, "on") || str_is(s, "1"))
        *out_value = true;
    else if (str_is(s, "false") || str_is(s, "no") || str_is(s, "off") || str_is(s, "0"))
        *out_value = false;
    else
        return false;
    return true;
}

/* next: the word after it, or NULL. */
static struct option_arg option_split(const struct option_row *rows, const char *word,
                                      const char *next)
{
    struct str name;
    struct str value;
    bool ignored = false;
    bool has_value = str_cut(str_slice(str_from(word), 2, SIZE_MAX), '=', &name, &value);
    struct option_arg arg = {.row = option_find(rows, name), .words = 1};
    if (arg.row == NULL && !has_value && str_starts(name, STR("no-"))) {
        arg.row = option_find(rows, str_slice(name, 3, name.len));
        if (arg.row != NULL && arg.row->type != OPTION_BOOL)
            arg.row = NULL;
        arg.known_negation = arg.row != NULL;
    }
    if (arg.row == NULL)
        return arg;
    if (has_value)
        arg.value = value.data; /* The end of a C string is its end too. */
    else if (arg.known_negation)
        arg.value = "false";
    else if (arg.row->type == OPTION_BOOL &&
             (next == NULL || !option_parse_bool(str_from(next), &ignored)))
        arg.value = "true";
    else if (next != NULL)
        arg = (struct option_arg){.row = arg.row, .value = next, .words = 2};
    return arg;
}

static size_t edit_distance(struct str a, struct str b)
{
    size_t rows[2][NAME_BYTES_MAX + 1];
    if (a.len > NAME_BYTES_MAX || b.len > NAME_BYTES_MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= b.len; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        const size_t *above = rows[(i - 1) & 1];
        size_t *row = rows[i & 1];
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t best = above[j - 1] + (a.data[i - 1] != b.data[j - 1] ? 1 : 0);
            best = above[j] + 1 < best ? above[j] + 1 : best;
            row[j] = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
        }
    }
    return rows[a.len & 1][b.len];
}

static void nearest_try(struct str word, const char *candidate, size_t *io_best,
                        const char **io_nearest)
{
    size_t distance = edit_distance(word, str_from(candidate));
    if (distance < *io_best) {
        *io_best = distance;
        *io_nearest = candidate;
    }
}

const char *options_nearest(const char *word, const char *const *known)
{
    size_t best = 3;
    const char *nearest = NULL;
    for (; *known != NULL; known++)
        nearest_try(str_from(word), *known, &best, &nearest);
    return nearest;
}

static int option_unknown(const struct option_row *rows, const char *word, struct err *err)
{
    struct str name;
    struct str value;
    size_t best = 3;
    const char *nearest = NULL;
    (void)str_cut(str_slice(str_from(word), 2, SIZE_MAX), '=', &name, &value);
    for (; rows->name != NULL; rows++)
        nearest_try(name, rows->name, &best, &nearest);
    if (nearest == NULL)
        return err_set(err, ERR_INVALID, "unknown option '--%.*s'; --help lists all",
                       STR_ARG(name));
    return err_set(err, ERR_INVALID, "unknown option '--%.*s'; did you mean '--%s'?", STR_ARG(name),
                   nearest);
}

static const char *option_wants(const struct option_row *row)
{
    switch (row->type) {
    case OPTION_STRING:
        return "a text";
    case OPTION_BOOL:
        return "true or false";
    case OPTION_U64:
        return "a whole number";
    case OPTION_DURATION:
        return "a duration (ms, s, m, h, d)";
    case OPTION_SIZE:
        return "a size (B, KiB, MiB, GiB)";
    }
    return "a value";
}

/* Writes the member only when the value is good. */
static int option_store(const struct option_row *row, void *settings, const char *value)
{
    void *member = (char *)settings + row->offset;
    struct str s = str_from(value);
    uint64_t number = 0;
    bool flag = false;
    int rc = 0;
    switch (row->type) {
    case OPTION_STRING:
        memcpy(member, &value, sizeof value);
        return 0;
    case OPTION_BOOL:
        if (!option_parse_bool(s, &flag))
            return ERR_SYNTAX;
        memcpy(member, &flag, sizeof flag);
        return 0;
    case OPTION_U64:
        rc = str_parse_u64(s, UINT64_MAX, &number);
        break;
    case OPTION_DURATION:
        rc = str_parse_duration_ms(s, &number);
        break;
    case OPTION_SIZE:
        rc = str_parse_size(s, &number);
        break;
    }
    if (rc == 0 && row->max != 0 && (number < row->min || number > row->max))
        rc = ERR_RANGE;
    if (rc == 0)
        memcpy(member, &number, sizeof number);
    return rc;
}

/* where: "--port " or "STEELYARD_PORT=", as the person typed it. */
static int option_apply(const struct option_row *row, void *settings, const char *where,
                        const char *value, struct err *err)
{
    int rc = option_store(row, settings, value);
    const char *example = row->example != NULL ? row->example : row->default_value;
    char range[64] = "";
    if (rc == 0)
        return 0;
    if (rc == ERR_RANGE && row->max != 0)
        (void)snprintf(range, sizeof range, " in %llu..%llu%s", (unsigned long long)row->min,
                       (unsigned long long)row->max,
                       row->type == OPTION_DURATION ? " ms"
                       : row->type == OPTION_SIZE   ? " bytes"
                                                    : "");
    return err_set(err, ERR_INVALID, "%s'%s': want %s%s, for example %s%s", where, value,
                   option_wants(row), range, where, example != NULL ? example : "true");
}

/* The last occurrence wins. */
static const char *option_from_argv(const struct option_row *rows, const struct option_row *row,
                                    char **argv, int end)
{
    const char *value = NULL;
    for (int i = 1; i < end;) {
        struct option_arg arg = option_split(rows, argv[i], i + 1 < end ? argv[i + 1] : NULL);
        if (arg.row == row)
            value = arg.value;
        i += (int)arg.words;
    }
    return value;
}

/* Finds where the options end and refuses what is not in the table. */
static int options_scan(const struct option_row *rows, int argc, char **argv, int *out_end,
                        int *out_rest, struct err *err)
{
    int i = 1;
    while (i < argc && argv[i][0] == '-' && argv[i][1] != '\0') {
        if (strcmp(argv[i], "--") == 0) {
            *out_end = i;
            *out_rest = i + 1;
            return 0;
        }
        if (argv[i][1] != '-')
            return err_set(err, ERR_INVALID, "unknown option '%s'; --help lists all", argv[i]);
        struct option_arg arg = option_split(rows, argv[i], i + 1 < argc ? argv[i + 1] : NULL);
        if (arg.row == NULL)
            return option_unknown(rows, argv[i], err);
        if (arg.value == NULL)
            return err_set(err, ERR_INVALID, "'%s' needs %s, for example %s %s", argv[i],
                           option_wants(arg.row), argv[i],
                           arg.row->example != NULL ? arg.row->example : "VALUE");
        i += (int)arg.words;
    }
    *out_end = i;
    *out_rest = i;
    return 0;
}

int options_parse(const struct option_row *rows, void *settings, int argc, char **argv,
                  int *out_rest, struct err *err)
{
    int end = 0;
    int rest = 0;
    int rc = options_scan(rows, argc, argv, &end, &rest, err);
    if (rc != 0)
        return rc;
    for (const struct option_row *row = rows; row->name != NULL && rc == 0; row++) {
        char env_name[ENV_BYTES];
        char where[ENV_BYTES + 4];
        option_env_name(row, env_name);
        const char *flag = option_from_argv(rows, row, argv, end);
        const char *env = flag == NULL ? getenv(env_name) : NULL;
        if (flag != NULL)
            (void)snprintf(where, sizeof where, "--%s ", row->name);
        else
            (void)snprintf(where, sizeof where, "%s=", env_name);
        const char *value = flag != NULL ? flag : (env != NULL ? env : row->default_value);
        if (value != NULL)
            rc = option_apply(row, settings, where, value, err);
    }
    if (rc == 0)
        *out_rest = rest;
    return rc;
}

static const char *option_placeholder(const struct option_row *row)
{
    switch (row->type) {
    case OPTION_STRING:
        return " TEXT";
    case OPTION_BOOL:
        return "";
    case OPTION_U64:
        return " NUMBER";
    case OPTION_DURATION:
        return " DURATION";
    case OPTION_SIZE:
        return " SIZE";
    }
    return "";
}

static int option_append_range(const struct option_row *row, struct buf *out)
{
    if (row->max == 0)
        return 0;
    const char *unit = row->unit != NULL ? row->unit : "";
    return buf_printf(out, "%llu to %llu%s%s", (unsigned long long)row->min,
                      (unsigned long long)row->max, unit[0] != '\0' ? " " : "", unit);
}

int options_help(const struct option_row *rows, struct buf *out)
{
    int rc = 0;
    for (; rows->name != NULL && rc == 0; rows++) {
        char env_name[ENV_BYTES];
        option_env_name(rows, env_name);
        rc =
            buf_printf(out, "  --%s%s\n      %s", rows->name, option_placeholder(rows), rows->help);
        if (rc == 0 && rows->max != 0) {
            rc = buf_append_text(out, " Range: ");
            if (rc == 0)
                rc = option_append_range(rows, out);
            if (rc == 0)
                rc = buf_append_char(out, '.');
        }
        if (rc == 0 && rows->default_value != NULL)
            rc = buf_printf(out, " Default: %s.", rows->default_value);
        if (rc == 0)
            rc = buf_printf(out, " [%s]\n", env_name);
    }
    return rc;
}

/* '|' would end the cell. */
static int markdown_cell(struct buf *out, const char *text)
{
    int rc = 0;
    for (; *text != '\0' && rc == 0; text++)
        rc = *text == '|' ? buf_append_text(out, "\\|") : buf_append_char(out, *text);
    return rc;
}

static int markdown_row(const struct option_row *row, struct buf *out)
{
    char env_name[ENV_BYTES];
    option_env_name(row, env_name);
    const char *value = row->default_value;
    int rc = buf_printf(out, "| `--%s%s` | `%s` | ", row->name, option_placeholder(row), env_name);
    if (rc == 0 && value != NULL && value[0] != '\0')
        rc = buf_printf(out, "`%s`", value);
    if (rc == 0)
        rc = buf_append_text(out, " | ");
    if (rc == 0)
        rc = option_append_range(row, out);
    if (rc == 0)
        rc = buf_append_text(out, " | ");
    if (rc == 0)
        rc = markdown_cell(out, row->help);
    return rc == 0 ? buf_append_text(out, " |\n") : rc;
}

int options_markdown(const struct option_row *rows, struct buf *out)
{
    int rc = buf_append_text(out, "| Option | Variable | Default | Range | Meaning |\n"
                                  "| --- | --- | --- | --- | --- |\n");
    for (; rows->name != NULL && rc == 0; rows++)
        rc = markdown_row(rows, out);
    return rc;
}
