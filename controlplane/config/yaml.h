/* yaml.h: YAML text -> a tree of nodes with positions. Refuses what reliability row B30 names:
 * anchors, aliases, tags, repeated keys, keys that are not scalars, depth above 32, files above
 * 1 MiB, several documents, invalid UTF-8 and NUL. Text only: what a scalar means is the reader's
 * business. Pure.
 *
 * Files of other programs (yaml_parse_foreign) may have anchors, aliases, merge keys and repeated
 * keys: they are resolved here, within bounds. */
#ifndef STEELYARD_CONTROLPLANE_CONFIG_YAML_H
#define STEELYARD_CONTROLPLANE_CONFIG_YAML_H

#include <stdbool.h>

#include "common/base/arena.h"
#include "common/base/str.h"
#include "controlplane/config/findings.h"

enum yaml_kind { YAML_SCALAR, YAML_MAP, YAML_LIST };

struct yaml_node {
    enum yaml_kind kind;
    struct str text;       /* SCALAR */
    bool plain;            /* SCALAR without quotes. */
    unsigned line, column; /* From 1. */
    struct str key;        /* Inside a MAP. */
    unsigned key_line, key_column;
    struct yaml_node *next; /* Sibling. */
    struct yaml_node *first, *last;
    struct yaml_node *parent;
    unsigned count; /* Children. */
    unsigned marks; /* A reader's own; 0 at first. */
};

#define YAML_NODES_MAX 100000U /* Of a foreign file, aliases resolved. */

/* The tree lives in the arena. Findings were added: ERR_SYNTAX (the tree is not to be used);
 * ERR_NOMEM. An empty document gives an empty map. */
int yaml_parse(struct str text, struct arena *arena, struct findings *findings,
               struct yaml_node **out_root) MUST_CHECK;
/* The same for files of other programs. An alias becomes a copy of what it names (never of what it
 * stands in), with the positions of the original; entries of a merge key (<<) are copied unless the
 * map has the key itself. A repeated key stays twice: the last one counts. ERR_SYNTAX also for more
 * than YAML_NODES_MAX nodes or 256 anchors. */
int yaml_parse_foreign(struct str text, struct arena *arena, struct findings *findings,
                       struct yaml_node **out_root) MUST_CHECK;
bool yaml_is_null(const struct yaml_node *node); /* Plain empty, "~" or "null". */

#endif
