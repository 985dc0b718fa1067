#include "controlplane/catalog/read.h"

#include <string.h>

#include "common/json/json.h"

#define NODES_MAX 3000000U /* 16 bytes each. */

static const char *const names[] = {"auto", "models.dev", "litellm", "csv"};

bool catalog_format_parse(const char *text, enum catalog_format *out_format)
{
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out_format = (enum catalog_format)i;
            return true;
        }
    }
    return false;
}

const char *catalog_format_name(enum catalog_format format)
{
    return names[format];
}

/* models.dev: the values of the root have an object `models`. */
static enum catalog_format guess(const struct json *j)
{
    uint32_t at = 0, key, value;
    while (json_next_member(j, JSON_ROOT, &at, &key, &value)) {
        if (json_kind(j, json_get(j, value, STR("models"))) == JSON_OBJECT)
            return CATALOG_MODELSDEV;
        if (json_get(j, value, STR("litellm_provider")) != JSON_NONE)
            return CATALOG_LITELLM;
    }
    return CATALOG_AUTO;
}

static int read_json(struct str text, enum catalog_format format, struct catalog_rows *t,
                     enum catalog_format *out_format, struct err *err)
{
    struct json j;
    struct json_error fault;
    json_init(&j, NODES_MAX);
    int rc = json_parse(&j, text, &fault);
    if (rc != 0) {
        size_t line = 1;
        for (size_t i = 0; i < fault.offset && i < text.len; i++)
            line += text.data[i] == '\n';
        if (rc == ERR_EOF || rc == ERR_EXISTS)
            rc = ERR_SYNTAX;
        (void)err_set(err, rc, "line %zu: %s", line, json_problem_text(fault.problem));
    }
    if (rc == 0 && format == CATALOG_AUTO)
        format = guess(&j);
    if (rc == 0 && (format == CATALOG_AUTO || json_kind(&j, JSON_ROOT) != JSON_OBJECT))
        rc = err_set(err, ERR_SYNTAX,
                     "neither models.dev's api.json nor LiteLLM's price map: no provider with "
                     "`models` and no model with `litellm_provider`");
    if (rc == 0) {
        rc =
            format == CATALOG_LITELLM ? catalog_read_litellm(&j, t) : catalog_read_modelsdev(&j, t);
        if (rc != 0)
            (void)err_set(err, rc, "%s", err_text(rc));
    }
    json_deinit(&j);
    if (rc == 0)
        *out_format = format;
    return rc;
}

int catalog_read(struct str text, enum catalog_format format, struct catalog_rows *t,
                 enum catalog_format *out_format, struct err *err)
{
    size_t at = 0;
    enum catalog_format found = CATALOG_CSV;
    if (text.len > CATALOG_FILE_BYTES_MAX)
        return err_set(err, ERR_TOO_LARGE, "larger than %u MiB", CATALOG_FILE_BYTES_MAX >> 20);
    while (at < text.len && (text.data[at] == ' ' || text.data[at] == '\n' ||
                             text.data[at] == '\r' || text.data[at] == '\t'))
        at++;
    if (format == CATALOG_AUTO && (at == text.len || text.data[at] != '{'))
        format = CATALOG_CSV;
    int rc = format == CATALOG_CSV ? catalog_read_csv(text, t, err)
                                   : read_json(text, format, t, &found, err);
    if (rc != 0)
        return rc;
    catalog_rows_sort(t);
    if (out_format != NULL)
        *out_format = found;
    return 0;
}
