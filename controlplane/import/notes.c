/* What became of each value. A finding at a map or list speaks for all inside, so it is made only
 * where nothing inside is looked at. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "controlplane/config/table.h"
#include "controlplane/import/internal.h"

#define TEXT_BYTES 384

void note_add(struct import *i, struct yaml_node *node, enum import_verdict verdict,
              const char *format, ...)
{
    char text[TEXT_BYTES], path[256];
    va_list args;
    if (node == NULL || (node->marks & MARK_TOLD) != 0)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    table_path(node, path, sizeof path);
    struct note *n = arena_zalloc(&i->arena, 1, sizeof *n);
    struct str shown = n == NULL ? STR_NULL : value_shown(i, str_from(text), TEXT_BYTES);
    struct str at = n == NULL ? STR_NULL : value_shown(i, str_from(path), sizeof path);
    if (shown.data == NULL || at.data == NULL) {
        i->status = ERR_NOMEM;
        return;
    }
    bool keyed = node->kind != YAML_SCALAR && node->key.data != NULL;
    n->finding = (struct import_finding){.verdict = verdict,
                                         .line = keyed ? node->key_line : node->line,
                                         .column = keyed ? node->key_column : node->column,
                                         .path = at,
                                         .text = shown};
    n->order = (unsigned)i->note_count++;
    if (i->last_note == NULL)
        i->notes = n;
    else
        i->last_note->next = n;
    i->last_note = n;
    i->counts[verdict]++;
    node->marks |= MARK_TOLD;
    for (struct yaml_node *up = node->parent; up != NULL && (up->marks & MARK_ABOVE) == 0;
         up = up->parent)
        up->marks |= MARK_ABOVE;
}

static bool is_repeated_before(const struct yaml_node *node)
{
    if (node->parent == NULL || node->parent->kind != YAML_MAP)
        return false;
    for (const struct yaml_node *n = node->next; n != NULL; n = n->next) {
        if (str_eq(n->key, node->key))
            return true;
    }
    return false;
}

void note_rest(struct import *i)
{
    struct yaml_node *at = i->root;
    while (at != NULL) {
        bool told = (at->marks & MARK_TOLD) != 0;
        bool within = (at->marks & MARK_ABOVE) != 0 || at == i->root;
        if (!told && (!within || (at->first == NULL && at != i->root))) {
            if (yaml_is_null(at) || within)
                note_add(i, at, IMPORT_EXACT, "empty: says nothing");
            else if (is_repeated_before(at))
                note_add(i, at, IMPORT_UNSUPPORTED, "left out: the key comes again below");
            else
                note_add(i, at, IMPORT_UNSUPPORTED, "left out: not known to this importer");
            told = true;
        }
        if (!told && at->first != NULL) {
            at = at->first;
            continue;
        }
        while (at != NULL && at->next == NULL)
            at = at->parent;
        at = at == NULL ? NULL : at->next;
    }
}

static int by_place(const void *a, const void *b)
{
    const struct note *const *x = a, *const *y = b;
    const struct import_finding *p = &(*x)->finding, *q = &(*y)->finding;
    if (p->line != q->line)
        return p->line < q->line ? -1 : 1;
    if (p->column != q->column)
        return p->column < q->column ? -1 : 1;
    return (*x)->order < (*y)->order ? -1 : 1;
}

int notes_sort(struct import *i)
{
    size_t at = 0;
    if (i->note_count == 0)
        return 0;
    i->sorted = arena_zalloc(&i->arena, i->note_count, sizeof(struct note *));
    if (i->sorted == NULL)
        return ERR_NOMEM;
    for (struct note *n = i->notes; n != NULL; n = n->next)
        i->sorted[at++] = n;
    qsort(i->sorted, at, sizeof(struct note *), by_place);
    return 0;
}

static bool rule_matches(const struct rule *r, struct str key)
{
    struct str name = str_from(r->key);
    if (str_ends(name, STR("*")))
        return str_starts(key, str_slice(name, 0, name.len - 1));
    return str_eq(key, name);
}

void rules_apply(struct import *i, struct yaml_node *map, const struct rule *rules, void *data)
{
    if (map == NULL || map->kind != YAML_MAP)
        return;
    /* It is known itself, even if nothing in it is. */
    for (struct yaml_node *up = map; up != NULL && (up->marks & MARK_ABOVE) == 0; up = up->parent)
        up->marks |= MARK_ABOVE;
    for (struct yaml_node *n = map->first; n != NULL; n = n->next) {
        if ((n->marks & MARK_TOLD) != 0 || yaml_is_null(n) || is_repeated_before(n))
            continue;
        const struct rule *r = rules;
        while (r->key != NULL && !rule_matches(r, n->key))
            r++;
        if (r->key == NULL)
            continue;
        if (r->text != NULL && n->marks == 0)
            note_add(i, n, r->verdict, "%s", r->text);
        else if (r->text == NULL)
            r->run(i, n, data);
    }
}
