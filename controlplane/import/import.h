/* import.h: a configuration of another program -> the text of a steelyard.yaml, and what became of
 * every value of the original.
 *
 * Pure: reads no file, no environment, no network. The input is foreign: bounded as reliability row
 * B30 says (1 MiB, 32 levels, YAML_NODES_MAX values), and nothing in it is resolved: "${env:X}" and
 * "${file:/x}" are text that is refused where this program would take it for a reference. The one
 * reference that passes is LiteLLM's own os.environ/NAME. Secrets that stand in the file are never
 * copied, neither to the text nor to a finding: os.environ/NAME stands in their place.
 *
 * Formats: LiteLLM's proxy configuration (YAML), Portkey's gateway configs (JSON), OpenRouter's
 * presets (JSON), route-switch's configuration (YAML or JSON). One thread at a time. */
#ifndef STEELYARD_CONTROLPLANE_IMPORT_IMPORT_H
#define STEELYARD_CONTROLPLANE_IMPORT_IMPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"

enum import_format {
    IMPORT_LITELLM,
    IMPORT_PORTKEY,
    IMPORT_OPENROUTER,
    IMPORT_ROUTE_SWITCH,
};
/* "litellm", "portkey", "openrouter", "route-switch"; false: none of them. */
bool import_format_parse(const char *text, enum import_format *out_format);
const char *import_format_name(enum import_format format);

enum import_verdict {
    IMPORT_EXACT,       /* Means the same here. */
    IMPORT_APPROXIMATE, /* Nearly: the text says how it differs. */
    IMPORT_MANUAL,      /* A person has something to do. */
    IMPORT_UNSUPPORTED, /* Left out. */
};
#define IMPORT_VERDICTS 4
const char *import_verdict_name(enum import_verdict verdict);

struct import_finding {
    enum import_verdict verdict;
    unsigned line, column; /* Of the original, from 1. */
    struct str path;       /* "model_list[0].litellm_params.rpm"; of a map or list: all of it. */
    struct str text;       /* What became of it, printable, for people. */
};

struct import_options {
    const char *file;  /* What errors and the head of the text call the original. */
    const char *model; /* Portkey: asked where a target names no model; NULL: nobody knows. */
    const char *name;  /* Of the route of a file that names none; NULL: the format's name. */
};

struct import;

/* ERR_SYNTAX: the file cannot be read; out_errors (may be NULL) got a line each, err the first.
 * ERR_LIMIT: more than this program's configuration can hold. ERR_NOMEM. The result is destroyed
 * by the caller; what its getters return lives as long. */
int import_run(enum import_format format, struct str text, const struct import_options *options,
               struct import **out_import, struct buf *out_errors, struct err *err) MUST_CHECK;
void import_destroy(struct import *i); /* NULL is allowed. */

struct str import_yaml(const struct import *i);
/* In the order of the original. Every value of it is told of by its own path or by that of a map or
 * list it stands in. */
size_t import_finding_count(const struct import *i);
struct import_finding import_finding_at(const struct import *i, size_t index);
size_t import_count(const struct import *i, enum import_verdict verdict);

#endif
