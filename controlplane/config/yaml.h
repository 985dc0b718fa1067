/* yaml.h: YAML text -> a tree of nodes with positions. Refuses what reliability row B30 names:
 * anchors, aliases, tags, repeated keys, keys that are not scalars, depth above 32, files above
 * 1 MiB, several documents, invalid UTF-8 and NUL. Text only: what a scalar means is the reader's
 * business. Pure. */
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
};

/* The tree lives in the arena. Findings were added: ERR_SYNTAX (the tree is not to be used);
 * ERR_NOMEM. An empty document gives an empty map. */
int yaml_parse(struct str text, struct arena *arena, struct findings *findings,
               struct yaml_node **out_root) MUST_CHECK;
bool yaml_is_null(const struct yaml_node *node); /* Plain empty, "~" or "null". */

#endif
