/* options.h: one table per program gives its parser, its --help and docs/config.md.
 *
 * Every option is --name VALUE (or --name=VALUE; booleans also bare --name and --no-name) and the
 * environment variable STEELYARD_NAME (upper case, '-' becomes '_'). Order: flag, then environment,
 * then default. An error names the option, the bad value and a good one, in one line. Thread-safe
 * once parsed. */
#ifndef STEELYARD_COMMON_BASE_OPTIONS_H
#define STEELYARD_COMMON_BASE_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"

enum option_type {
    OPTION_STRING,   /* const char ** : points into argv, the environment or the table. */
    OPTION_BOOL,     /* bool *        */
    OPTION_U64,      /* uint64_t *    : min..max apply. */
    OPTION_DURATION, /* uint64_t *    : milliseconds. */
    OPTION_SIZE,     /* uint64_t *    : bytes. */
};

struct option_row {
    const char *name; /* "state-dir"; NULL ends the table. */
    enum option_type type;
    size_t offset;             /* offsetof(struct settings, member). */
    const char *default_value; /* As a person would write it; NULL for an unset string. */
    uint64_t min, max;         /* For U64, DURATION (ms) and SIZE (bytes); max 0 = no range. */
    const char *unit;          /* For the reference: "ms", "bytes", "" ... */
    const char *example;       /* A good value, shown in errors. */
    const char *help;          /* One sentence. */
};

/* Parses argv[1..argc) into settings. `--` ends options; what is left goes to *out_rest (an index
 * into argv), unknown options are errors with the nearest known name. */
int options_parse(const struct option_row *rows, void *settings, int argc, char **argv,
                  int *out_rest, struct err *err) MUST_CHECK;
int options_help(const struct option_row *rows, struct buf *out) MUST_CHECK;     /* For --help. */
int options_markdown(const struct option_row *rows, struct buf *out) MUST_CHECK; /* For docs. */

/* "did you mean" for any word list (NULL-terminated); NULL when nothing is near (edit distance 2).
 */
const char *options_nearest(const char *word, const char *const *known);

#endif
