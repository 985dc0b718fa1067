/* read.h: readers of published price files -> rows. Strict about form, forgiving about fields that
 * this program does not use: a row with something wrong is a skip with its reason, a file that is
 * not what it claims to be is an error. No recursion, bounded input, money never through floating
 * point; what a file can make this allocate is bounded by its size and CATALOG_ROWS_MAX. */
#ifndef STEELYARD_CONTROLPLANE_CATALOG_READ_H
#define STEELYARD_CONTROLPLANE_CATALOG_READ_H

#include "controlplane/catalog/rows.h"

enum catalog_format {
    CATALOG_AUTO,      /* By what the file looks like. */
    CATALOG_MODELSDEV, /* api.json of models.dev: USD per million tokens. */
    CATALOG_LITELLM,   /* model_prices_and_context_window.json: USD per token. */
    CATALOG_CSV,       /* A header line, then a model a line: USD per million tokens. */
};
/* "auto", "models.dev", "litellm", "csv"; false: none of them. */
bool catalog_format_parse(const char *text, enum catalog_format *out_format);
const char *catalog_format_name(enum catalog_format format);

/* Adds the rows of a file to t (initialised, maybe not empty) and sorts it. *out_format (may be
 * NULL): what it was. ERR_SYNTAX: not such a file, with the line of the fault where there is one;
 * ERR_TOO_LARGE, ERR_LIMIT, ERR_NOMEM. */
int catalog_read(struct str text, enum catalog_format format, struct catalog_rows *t,
                 enum catalog_format *out_format, struct err *err) MUST_CHECK;

/* Private to the readers. */
struct json;
int catalog_read_modelsdev(const struct json *j, struct catalog_rows *t) MUST_CHECK;
int catalog_read_litellm(const struct json *j, struct catalog_rows *t) MUST_CHECK;
int catalog_read_csv(struct str text, struct catalog_rows *t, struct err *err) MUST_CHECK;

#endif
