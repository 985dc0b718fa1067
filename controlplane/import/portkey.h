/* portkey.h: the tree of targets while it is read. Private to portkey*.c. */
#ifndef STEELYARD_CONTROLPLANE_IMPORT_PORTKEY_H
#define STEELYARD_CONTROLPLANE_IMPORT_PORTKEY_H

#include "controlplane/import/internal.h"

struct member {
    struct member *next;
    const struct plan_provider *provider;
    struct str model;
    uint64_t weight; /* Over WEIGHT_ONE: its part of the group. */
};
struct group {
    struct group *next;
    struct member *members;
    bool is_whole; /* One target alone. */
};

struct target {
    struct yaml_node *node;
    size_t parent; /* Index; its own for the root. */
    struct str model;
    uint64_t timeout_ms, weight;
    struct group *chain;
    struct plan_provider settings; /* Inherited: headers and the like. */
};

struct portkey {
    struct import *import;
    struct target *targets;
    size_t count;
    struct str route;
    int retries;
    uint64_t timeout_ms;
};

/* Either way of writing a key. */
struct yaml_node *portkey_get(const struct yaml_node *map, const char *a, const char *b);
struct str portkey_text(const struct yaml_node *map, const char *key);
/* A target that has none inside: a provider and a model, as a chain of one. */
void portkey_leaf(struct portkey *p, struct target *t);
/* What else stands at a target: retries, time limits, and what has no place here. */
void portkey_rest(struct portkey *p, struct target *t);
/* Its weight, with the finding. */
void portkey_weight(struct portkey *p, struct target *t);
/* The model that a group is; made when it is first asked for. */
struct str portkey_name_group(struct portkey *p, struct group *g);
void portkey_note_codes(struct portkey *p, size_t index); /* on_status_codes of a strategy. */
/* portkey_tree.c: is the order more than one list? Then a route with targets and conditions is
 * made; the targets that have none inside are there. */
bool portkey_needs_tree(const struct portkey *p);
void portkey_tree(struct portkey *p);
/* Retries and the time limit of the whole, which routes need when they are made. */
void portkey_limits(struct portkey *p);

#endif
