/* Comma-separated values (RFC 4180), but lines end in LF alone, as everything else here. */
#include <string.h>

#include "common/base/mem.h"
#include "controlplane/ctl/output.h"

static void put_field(FILE *to, const char *text)
{
    if (text[strcspn(text, ",\"\r\n")] == '\0' && text[0] != ' ') {
        fputs(text, to);
        return;
    }
    fputc('"', to);
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '"')
            fputc('"', to);
        fputc(*p, to);
    }
    fputc('"', to);
}

static int put_value(FILE *to, const json_t *value)
{
    if (value == NULL || json_is_null(value))
        return 0;
    if (json_is_string(value)) {
        put_field(to, json_string_value(value));
        return 0;
    }
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    if (text == NULL)
        return ERR_NOMEM;
    put_field(to, text);
    mem_free(text);
    return 0;
}

enum ctl_exit output_csv_head(struct ctl *c, const struct column *columns)
{
    for (const struct column *k = columns; k->title != NULL; k++) {
        if (k != columns)
            fputc(',', c->out);
        put_field(c->out, k->path);
    }
    fputc('\n', c->out);
    return CTL_OK;
}

enum ctl_exit output_csv_rows(struct ctl *c, const struct column *columns, const json_t *items)
{
    size_t i;
    json_t *item;
    json_array_foreach(items, i, item)
    {
        for (const struct column *k = columns; k->title != NULL; k++) {
            if (k != columns)
                fputc(',', c->out);
            if (put_value(c->out, output_get(item, k->path)) != 0)
                return ctl_fail(c, CTL_FAILED, "%s", err_text(ERR_NOMEM));
        }
        fputc('\n', c->out);
    }
    return CTL_OK;
}
