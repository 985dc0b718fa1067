/* output.h: answers as tables for people and as JSON for programs. What came from outside is made
 * harmless before a terminal sees it: control bytes become '?'. */
#ifndef STEELYARD_CONTROLPLANE_CTL_OUTPUT_H
#define STEELYARD_CONTROLPLANE_CTL_OUTPUT_H

#include "controlplane/ctl/ctl.h"

enum column_kind {
    COLUMN_TEXT,
    COLUMN_NUMBER,
    COLUMN_USD,     /* A number or a decimal string: "$0.00123". */
    COLUMN_PERCENT, /* 0..1 -> "93.1 %". */
    COLUMN_MS,      /* "123 ms" */
    COLUMN_BOOL,    /* "yes" or "no". */
    COLUMN_LIST,    /* Strings, or objects' `model`: joined by commas. */
    COLUMN_SHORT,   /* A hash: its first 12 characters. */
};

struct column {
    const char *title; /* NULL ends a table. */
    const char *path;  /* "price.input" */
    enum column_kind kind;
    bool wide; /* Only with -o wide. */
};

/* Value at a dotted path; NULL: not there. Borrowed. */
const json_t *output_get(const json_t *object, const char *path);
/* One cell as text; "-" for a missing or null value. */
int output_cell(const json_t *object, const struct column *column, struct buf *out) MUST_CHECK;

/* A list in c->format. name_path: what `-o name` prints. */
enum ctl_exit output_list(struct ctl *c, const struct column *columns, const json_t *items,
                          const char *name_path);
/* One object: "Title   value" lines, or JSON. */
enum ctl_exit output_object(struct ctl *c, const struct column *columns, const json_t *object,
                            const char *name_path);
/* RFC 4180: a head of the columns' paths, then a row an item; values as JSON has them, texts bare,
 * lists and objects as JSON text. Every column, also wide ones. */
enum ctl_exit output_csv_head(struct ctl *c, const struct column *columns);
enum ctl_exit output_csv_rows(struct ctl *c, const struct column *columns, const json_t *items);
enum ctl_exit output_json(struct ctl *c, const json_t *value); /* -o json or yaml of anything. */
int output_yaml(FILE *out, const json_t *value) MUST_CHECK;    /* Not 0: could not be written. */
static inline bool output_is_json(const struct ctl *c)
{
    return c->format == CTL_JSON || c->format == CTL_JSONL || c->format == CTL_YAML;
}
static inline bool output_is_table(const struct ctl *c)
{
    return c->format == CTL_TABLE || c->format == CTL_WIDE;
}
/* Prints text with control bytes replaced. */
void output_text(FILE *to, const char *text);
const char *output_bold(const struct ctl *c); /* "" without colour. */
const char *output_dim(const struct ctl *c);
const char *output_plain(const struct ctl *c);

#endif
