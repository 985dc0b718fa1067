/* JSON and YAML to the same tree, with positions. JSON by common/json, which knows its escapes; a
 * file is JSON when its first byte that is no blank opens an object or a list. */
#include <string.h>

#include "common/json/json.h"
#include "controlplane/config/config.h"
#include "controlplane/import/internal.h"

/* Where an offset is; offsets only go up. */
struct place {
    struct str text;
    size_t at;
    unsigned line, column;
};

static void place_move(struct place *p, size_t to)
{
    for (; p->at < to && p->at < p->text.len; p->at++) {
        if (p->text.data[p->at] == '\n') {
            p->line++;
            p->column = 1;
        } else if (((unsigned char)p->text.data[p->at] & 0xc0U) != 0x80U) {
            p->column++;
        }
    }
}

struct level {
    uint32_t node, at;
    struct yaml_node *into;
};

struct json_walk {
    struct import *import;
    struct json json;
    struct place place;
    struct level levels[CONFIG_DEPTH_MAX];
    unsigned depth;
};

static void place_node(struct json_walk *w, uint32_t node, unsigned *line, unsigned *column)
{
    place_move(&w->place, (size_t)(json_raw(&w->json, node).data - w->place.text.data));
    *line = w->place.line;
    *column = w->place.column;
}

static struct yaml_node *json_node(struct json_walk *w, uint32_t node, uint32_t key,
                                   struct yaml_node *parent)
{
    struct arena *arena = &w->import->arena;
    enum json_kind kind = json_kind(&w->json, node);
    struct yaml_node *n = arena_zalloc(arena, 1, sizeof *n);
    if (n == NULL)
        return NULL;
    n->parent = parent;
    if (key != JSON_NONE) {
        place_node(w, key, &n->key_line, &n->key_column);
        if (json_text(&w->json, key, arena, &n->key) != 0)
            return NULL;
    }
    place_node(w, node, &n->line, &n->column);
    n->kind = kind == JSON_OBJECT ? YAML_MAP : kind == JSON_ARRAY ? YAML_LIST : YAML_SCALAR;
    n->plain = kind != JSON_STRING;
    if (kind == JSON_STRING && json_text(&w->json, node, arena, &n->text) != 0)
        return NULL;
    if (n->kind == YAML_SCALAR && kind != JSON_STRING)
        n->text = json_raw(&w->json, node);
    if (parent != NULL) {
        if (parent->last == NULL)
            parent->first = n;
        else
            parent->last->next = n;
        parent->last = n;
        parent->count++;
    }
    return n;
}

static bool json_step(struct json_walk *w, struct level *l, uint32_t *out_key, uint32_t *out_node)
{
    *out_key = JSON_NONE;
    return l->into->kind == YAML_MAP
               ? json_next_member(&w->json, l->node, &l->at, out_key, out_node)
               : json_next_element(&w->json, l->node, &l->at, out_node);
}

static int json_walk_all(struct json_walk *w, struct findings *findings)
{
    uint32_t key, node;
    struct yaml_node *root = json_node(w, JSON_ROOT, JSON_NONE, NULL);
    if (root == NULL)
        return ERR_NOMEM;
    w->import->root = root;
    w->levels[0] = (struct level){.node = JSON_ROOT, .into = root};
    w->depth = 1;
    while (w->depth > 0) {
        struct level *l = &w->levels[w->depth - 1];
        if (!json_step(w, l, &key, &node)) {
            w->depth--;
            continue;
        }
        struct yaml_node *n = json_node(w, node, key, l->into);
        if (n == NULL)
            return ERR_NOMEM;
        if (n->kind == YAML_SCALAR)
            continue;
        if (w->depth == CONFIG_DEPTH_MAX) {
            findings_add(findings, n->line, n->column, "", "nested deeper than 32 levels");
            return ERR_SYNTAX;
        }
        w->levels[w->depth++] = (struct level){.node = node, .into = n};
    }
    return 0;
}

static int read_json(struct import *i, struct str text, struct findings *findings)
{
    struct json_walk w = {.import = i, .place = {.text = text, .line = 1, .column = 1}};
    struct json_error error = {0};
    json_init(&w.json, YAML_NODES_MAX);
    int rc = json_parse(&w.json, text, &error);
    if (rc == 0) {
        rc = json_walk_all(&w, findings);
    } else if (rc != ERR_NOMEM) {
        place_move(&w.place, error.offset);
        findings_add(findings, w.place.line, w.place.column, error.path, "%s",
                     json_problem_text(error.problem));
        rc = ERR_SYNTAX;
    }
    json_deinit(&w.json);
    return rc;
}

int tree_read(struct import *i, struct str text, struct findings *findings)
{
    if (str_starts(text, STR("\xef\xbb\xbf")))
        text = str_slice(text, 3, text.len);
    if (text.len > CONFIG_BYTES_MAX) {
        findings_add(findings, 1, 1, "", "larger than 1 MiB");
        return ERR_SYNTAX;
    }
    /* What is plain in JSON is borrowed by the tree: it must live as long. */
    struct str copy = arena_copy(&i->arena, text);
    if (copy.data == NULL)
        return ERR_NOMEM;
    size_t at = 0;
    while (at < copy.len && strchr(" \t\r\n", copy.data[at]) != NULL && copy.data[at] != '\0')
        at++;
    bool is_json = at < copy.len && (copy.data[at] == '{' || copy.data[at] == '[');
    int rc = is_json ? read_json(i, copy, findings)
                     : yaml_parse_foreign(copy, &i->arena, findings, &i->root);
    if (rc == 0 && i->root->kind == YAML_SCALAR) {
        findings_add(findings, i->root->line, i->root->column, "", "a single value, no map");
        rc = ERR_SYNTAX;
    }
    return rc;
}

struct yaml_node *tree_get_str(const struct yaml_node *map, struct str key)
{
    struct yaml_node *found = NULL;
    if (map == NULL || map->kind != YAML_MAP)
        return NULL;
    for (struct yaml_node *n = map->first; n != NULL; n = n->next) {
        if (str_eq(n->key, key))
            found = n;
    }
    return found == NULL || yaml_is_null(found) ? NULL : found;
}

struct yaml_node *tree_get(const struct yaml_node *map, const char *key)
{
    return tree_get_str(map, str_from(key));
}

const struct yaml_node *tree_next(const struct yaml_node *root, const struct yaml_node *at)
{
    if (at->first != NULL)
        return at->first;
    while (at != root && at->next == NULL)
        at = at->parent;
    return at == root ? NULL : at->next;
}

struct str tree_text(const struct yaml_node *node)
{
    return node == NULL || node->kind != YAML_SCALAR || yaml_is_null(node) ? STR_NULL : node->text;
}

bool tree_bool(const struct yaml_node *node, bool *out)
{
    static const char *const words[] = {"true", "yes", "on", "false", "no", "off"};
    struct str s = tree_text(node);
    for (size_t w = 0; w < sizeof words / sizeof words[0]; w++) {
        if (str_eq_nocase(s, str_from(words[w]))) {
            *out = w < 3;
            return true;
        }
    }
    return false;
}

bool tree_fixed(const struct yaml_node *node, unsigned scale, int64_t *out)
{
    int64_t value;
    struct str s = tree_text(node);
    ptrdiff_t dot = str_find(s, '.');
    if (s.len == 0 || s.len > 30)
        return false;
    if (dot >= 0 && s.len - (size_t)dot - 1 > scale) /* What is finer is cut. */
        s.len = (size_t)dot + 1 + scale;
    if (s.len > 0 && s.data[s.len - 1] == '.')
        s.len--;
    if (str_parse_fixed(s, scale, &value) != 0 || value < 0)
        return false;
    *out = value;
    return true;
}
