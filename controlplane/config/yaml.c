/* Walks libfyaml's events (its parser is a state machine and does not recurse) and builds the tree
 * with an explicit parent pointer, so depth costs no stack. The only file that sees libfyaml. */
#include "controlplane/config/yaml.h"

#include <libfyaml.h>
#include <string.h>

#include "controlplane/config/config.h"

#define ANCHORS_MAX 256U

struct anchor {
    struct str name;
    const struct yaml_node *node;
};

struct builder {
    bool foreign;
    struct anchor *anchors; /* ANCHORS_MAX of them, in the arena; foreign files alone. */
    unsigned anchor_count;
    unsigned nodes;
    struct arena *arena;
    struct findings *findings;
    struct yaml_node *root;
    struct yaml_node *parent; /* Container being filled. */
    unsigned depth;
    struct str key; /* A key waits for its value. */
    bool has_key;
    unsigned key_line, key_column;
    unsigned documents;
};

static void position(struct fy_event *event, unsigned *line, unsigned *column)
{
    const struct fy_mark *mark = fy_event_start_mark(event);
    *line = mark == NULL ? 1 : (unsigned)mark->line + 1;
    *column = mark == NULL ? 1 : (unsigned)mark->column + 1;
}

static void refuse(struct builder *b, struct fy_event *event, const char *what)
{
    unsigned line, column;
    position(event, &line, &column);
    findings_add(b->findings, line, column, "", "%s", what);
}

static void check_properties(struct builder *b, struct fy_event *event, struct fy_token *anchor,
                             struct fy_token *tag)
{
    if (anchor != NULL && !b->foreign)
        refuse(b, event, "anchors (&name) are not supported: write the value where it is used");
    if (tag != NULL)
        refuse(b, event, "tags (!name) are not supported");
}

static bool is_repeated(const struct yaml_node *map, struct str key)
{
    for (const struct yaml_node *n = map->first; n != NULL; n = n->next) {
        if (str_eq(n->key, key))
            return true;
    }
    return false;
}

/* Large maps would make is_repeated quadratic. */
#define MAP_ENTRIES_MAX 10000

static int attach(struct builder *b, struct yaml_node *node)
{
    struct yaml_node *parent = b->parent;
    node->parent = parent;
    if (parent == NULL) {
        if (b->root == NULL)
            b->root = node;
        return 0;
    }
    if (parent->kind == YAML_MAP) {
        node->key = b->key;
        node->key_line = b->key_line;
        node->key_column = b->key_column;
        b->has_key = false;
        if (parent->count >= MAP_ENTRIES_MAX) {
            findings_add(b->findings, node->key_line, node->key_column, "", "more than %d entries",
                         MAP_ENTRIES_MAX);
            return ERR_SYNTAX;
        }
        if (!b->foreign && is_repeated(parent, node->key))
            findings_add(b->findings, node->key_line, node->key_column, "",
                         "key \"%.*s\" is repeated", STR_ARG(str_slice(node->key, 0, 64)));
    }
    if (parent->last == NULL)
        parent->first = node;
    else
        parent->last->next = node;
    parent->last = node;
    parent->count++;
    return 0;
}

/* Of a foreign file: what an alias may name from now on. */
static int remember(struct builder *b, struct fy_event *event, struct fy_token *anchor,
                    const struct yaml_node *node)
{
    size_t len = 0;
    const char *name = anchor == NULL || !b->foreign ? NULL : fy_token_get_text(anchor, &len);
    if (name == NULL)
        return 0;
    if (b->anchors == NULL)
        b->anchors = arena_zalloc(b->arena, ANCHORS_MAX, sizeof *b->anchors);
    if (b->anchors == NULL)
        return ERR_NOMEM;
    if (b->anchor_count == ANCHORS_MAX) {
        refuse(b, event, "more than 256 anchors");
        return ERR_SYNTAX;
    }
    struct anchor *a = &b->anchors[b->anchor_count];
    *a = (struct anchor){.name = arena_copy(b->arena, (struct str){name, len}), .node = node};
    if (a->name.data == NULL)
        return ERR_NOMEM;
    b->anchor_count++;
    return 0;
}

static struct yaml_node *make_node(struct builder *b)
{
    struct yaml_node *node = arena_zalloc(b->arena, 1, sizeof *node);
    b->nodes++;
    return node;
}

static int check_count(struct builder *b, const struct yaml_node *at)
{
    if (!b->foreign || b->nodes <= YAML_NODES_MAX)
        return 0;
    findings_add(b->findings, at->line, at->column, "", "more than %u values, aliases resolved",
                 YAML_NODES_MAX);
    return ERR_SYNTAX;
}

static int copy_node(struct builder *b, const struct yaml_node *from, struct yaml_node *parent,
                     struct yaml_node **out)
{
    struct yaml_node *to = make_node(b);
    if (to == NULL)
        return ERR_NOMEM;
    *to = *from;
    to->parent = parent;
    to->next = to->first = to->last = NULL;
    to->count = 0;
    if (parent != NULL) {
        if (parent->last == NULL)
            parent->first = to;
        else
            parent->last->next = to;
        parent->last = to;
        parent->count++;
    }
    *out = to;
    return check_count(b, from);
}

/* A copy of a tree under parent (NULL: nowhere yet); depth is where it will stand. */
static int copy_tree(struct builder *b, const struct yaml_node *from, struct yaml_node *parent,
                     unsigned depth, struct yaml_node **out)
{
    const struct yaml_node *at = from;
    struct yaml_node *top, *to;
    int rc = copy_node(b, from, parent, &top);
    for (to = top; rc == 0;) {
        if (at->first != NULL) {
            if (++depth >= CONFIG_DEPTH_MAX) {
                findings_add(b->findings, at->line, at->column, "", "nested deeper than 32 levels");
                return ERR_SYNTAX;
            }
            at = at->first;
            rc = copy_node(b, at, to, &to);
            continue;
        }
        while (at != from && at->next == NULL) {
            at = at->parent;
            to = to->parent;
            depth--;
        }
        if (at == from)
            break;
        at = at->next;
        rc = copy_node(b, at, to->parent, &to);
    }
    if (rc == 0)
        *out = top;
    return rc;
}

static bool wants_key(const struct builder *b)
{
    return b->parent != NULL && b->parent->kind == YAML_MAP && !b->has_key;
}

static int on_scalar(struct builder *b, struct fy_event *event)
{
    size_t len = 0;
    const char *text =
        event->scalar.value == NULL ? "" : fy_token_get_text(event->scalar.value, &len);
    check_properties(b, event, event->scalar.anchor, event->scalar.tag);
    if (text == NULL)
        return ERR_NOMEM;
    struct str copy = arena_copy(b->arena, (struct str){.data = text, .len = len});
    if (copy.data == NULL)
        return ERR_NOMEM;
    if (wants_key(b)) {
        b->key = copy;
        b->has_key = true;
        position(event, &b->key_line, &b->key_column);
        if (str_is(copy, "<<") && !b->foreign)
            refuse(b, event, "merge keys (<<) are not supported");
        return 0;
    }
    struct yaml_node *node = make_node(b);
    if (node == NULL)
        return ERR_NOMEM;
    node->kind = YAML_SCALAR;
    node->text = copy;
    node->plain =
        event->scalar.value == NULL || fy_token_scalar_style(event->scalar.value) == FYSS_PLAIN;
    position(event, &node->line, &node->column);
    if (event->scalar.value == NULL) { /* An empty value: where its key stands. */
        node->line = b->has_key ? b->key_line : node->line;
        node->column = b->has_key ? b->key_column : node->column;
    }
    int rc = check_count(b, node);
    if (rc == 0)
        rc = remember(b, event, event->scalar.anchor, node);
    return rc == 0 ? attach(b, node) : rc;
}

static int on_start(struct builder *b, struct fy_event *event, struct fy_token *anchor,
                    enum yaml_kind kind)
{
    if (wants_key(b)) {
        refuse(b, event, "a key must be a plain word");
        return ERR_SYNTAX;
    }
    if (b->depth == CONFIG_DEPTH_MAX) {
        refuse(b, event, "nested deeper than 32 levels");
        return ERR_SYNTAX;
    }
    struct yaml_node *node = make_node(b);
    if (node == NULL)
        return ERR_NOMEM;
    node->kind = kind;
    position(event, &node->line, &node->column);
    int rc = check_count(b, node);
    if (rc == 0)
        rc = remember(b, event, anchor, node);
    if (rc == 0)
        rc = attach(b, node);
    b->parent = node;
    b->depth++;
    return rc;
}

static bool is_open(const struct builder *b, const struct yaml_node *node)
{
    for (const struct yaml_node *n = b->parent; n != NULL; n = n->parent) {
        if (n == node)
            return true;
    }
    return false;
}

static int on_alias(struct builder *b, struct fy_event *event)
{
    size_t len = 0;
    const char *text = fy_token_get_text(event->alias.anchor, &len);
    struct str name = {.data = text, .len = text == NULL ? 0 : len};
    const struct yaml_node *target = NULL;
    struct yaml_node *node;
    if (!b->foreign) {
        refuse(b, event, "aliases (*name) are not supported: write the value where it is used");
        return ERR_SYNTAX;
    }
    for (unsigned i = 0; i < b->anchor_count; i++) { /* The last of a name counts. */
        if (str_eq(b->anchors[i].name, name))
            target = b->anchors[i].node;
    }
    if (target == NULL || wants_key(b) || is_open(b, target)) {
        refuse(b, event, "an alias (*name) that names nothing, a key, or what it stands in");
        return ERR_SYNTAX;
    }
    int rc = copy_tree(b, target, NULL, b->depth, &node);
    return rc == 0 ? attach(b, node) : rc;
}

static bool has_key_before(const struct yaml_node *map, struct str key)
{
    for (const struct yaml_node *n = map->first; n != NULL; n = n->next) {
        if (str_eq(n->key, key))
            return true;
    }
    return false;
}

static int merge_from(struct builder *b, struct yaml_node *map, const struct yaml_node *from)
{
    struct yaml_node *copy;
    int rc = 0;
    for (const struct yaml_node *n = from->first; n != NULL && rc == 0; n = n->next) {
        if (map->count >= MAP_ENTRIES_MAX) {
            findings_add(b->findings, n->line, n->column, "", "more than %d entries",
                         MAP_ENTRIES_MAX);
            return ERR_SYNTAX;
        }
        if (!has_key_before(map, n->key))
            rc = copy_tree(b, n, map, b->depth, &copy);
    }
    return rc;
}

static struct yaml_node *take_merge(struct yaml_node *map)
{
    struct yaml_node *before = NULL;
    for (struct yaml_node *n = map->first; n != NULL; before = n, n = n->next) {
        if (!str_is(n->key, "<<") || n->kind == YAML_SCALAR)
            continue;
        if (before == NULL)
            map->first = n->next;
        else
            before->next = n->next;
        if (map->last == n)
            map->last = before;
        map->count--;
        return n;
    }
    return NULL;
}

/* A map of a foreign file is closed: its merge keys are resolved. */
static int merge(struct builder *b, struct yaml_node *map)
{
    struct yaml_node *source;
    int rc = 0;
    while (rc == 0 && (source = take_merge(map)) != NULL) {
        if (source->kind == YAML_MAP)
            rc = merge_from(b, map, source);
        for (const struct yaml_node *n = source->first;
             source->kind == YAML_LIST && n != NULL && rc == 0; n = n->next) {
            if (n->kind == YAML_MAP)
                rc = merge_from(b, map, n);
        }
    }
    return rc;
}

static int on_end(struct builder *b)
{
    struct yaml_node *node = b->parent;
    if (node == NULL)
        return 0;
    int rc = b->foreign && node->kind == YAML_MAP ? merge(b, node) : 0;
    b->parent = node->parent;
    b->depth -= b->depth > 0;
    return rc;
}

static int on_event(struct builder *b, struct fy_event *event)
{
    switch (event->type) {
    case FYET_SCALAR:
        return on_scalar(b, event);
    case FYET_MAPPING_START:
        check_properties(b, event, event->mapping_start.anchor, event->mapping_start.tag);
        return on_start(b, event, event->mapping_start.anchor, YAML_MAP);
    case FYET_SEQUENCE_START:
        check_properties(b, event, event->sequence_start.anchor, event->sequence_start.tag);
        return on_start(b, event, event->sequence_start.anchor, YAML_LIST);
    case FYET_MAPPING_END:
    case FYET_SEQUENCE_END:
        return on_end(b);
    case FYET_ALIAS:
        return on_alias(b, event);
    case FYET_DOCUMENT_START:
        if (++b->documents > 1) {
            refuse(b, event, "one document a file");
            return ERR_SYNTAX;
        }
        return 0;
    case FYET_NONE:
    case FYET_STREAM_START:
    case FYET_STREAM_END:
    case FYET_DOCUMENT_END:
        return 0;
    }
    return 0;
}

/* libfyaml says "<memory...>:LINE:COLUMN: error: TEXT", then shows the source in further calls.
 * Taken from its output, since the errors it can collect instead are never freed. */
static void on_diagnostic(struct fy_diag *diag, void *user, const char *text, size_t len)
{
    struct findings *findings = user;
    struct str all = {.data = text, .len = len};
    struct str marker = STR(": error: ");
    uint64_t line = 1, column = 1;
    ptrdiff_t cut = str_search(all, marker);
    (void)diag;
    if (cut < 0)
        return;
    struct str message = str_slice(all, (size_t)cut + marker.len, len);
    while (message.len > 0 && message.data[message.len - 1] == '\n')
        message.len--;
    size_t end = (size_t)cut, colon = end;
    while (colon > 0 && text[colon - 1] != ':')
        colon--;
    if (str_parse_u64(str_slice(all, colon, end), UINT32_MAX, &column) != 0)
        column = 1;
    end = colon > 0 ? colon - 1 : 0;
    for (colon = end; colon > 0 && text[colon - 1] != ':';)
        colon--;
    if (str_parse_u64(str_slice(all, colon, end), UINT32_MAX, &line) != 0)
        line = 1;
    findings_add(findings, (unsigned)line, (unsigned)column, "", "%.*s", STR_ARG(message));
}

static int check_bytes(struct str text, struct findings *findings)
{
    if (text.len > CONFIG_BYTES_MAX) {
        findings_add(findings, 1, 1, "", "larger than 1 MiB");
        return ERR_SYNTAX;
    }
    unsigned line = 1;
    size_t start = 0;
    for (size_t i = 0; i <= text.len; i++) {
        if (i < text.len && text.data[i] != '\n')
            continue;
        struct str row = str_slice(text, start, i);
        if (str_find(row, '\0') >= 0 || !str_valid_utf8(row)) {
            findings_add(findings, line, 1, "", "not UTF-8 text");
            return ERR_SYNTAX;
        }
        line++;
        start = i + 1;
    }
    return 0;
}

static int parse(struct str text, bool foreign, struct arena *arena, struct findings *findings,
                 struct yaml_node **out_root)
{
    struct builder b = {.foreign = foreign, .arena = arena, .findings = findings};
    int rc = check_bytes(text, findings);
    if (rc != 0)
        return rc;
    struct fy_diag_cfg diag_cfg;
    fy_diag_cfg_default(&diag_cfg);
    diag_cfg.fp = NULL;
    diag_cfg.output_fn = on_diagnostic;
    diag_cfg.user = findings;
    diag_cfg.level = FYET_ERROR;
    diag_cfg.colorize = false;
    struct fy_diag *diag = fy_diag_create(&diag_cfg);
    if (diag == NULL)
        return ERR_NOMEM;
    struct fy_parse_cfg cfg = {.flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG |
                                        FYPCF_DEFAULT_VERSION_1_2 | FYPCF_JSON_NONE |
                                        FYPCF_ALLOW_DUPLICATE_KEYS | FYPCF_DISABLE_MMAP_OPT,
                               .diag = diag};
    struct fy_parser *parser = fy_parser_create(&cfg);
    if (parser == NULL ||
        fy_parser_set_string(parser, text.len == 0 ? "" : text.data, text.len) != 0)
        rc = ERR_NOMEM;
    while (rc == 0) {
        struct fy_event *event = fy_parser_parse(parser);
        if (event == NULL)
            break;
        rc = on_event(&b, event);
        fy_parser_event_free(parser, event);
    }
    if (parser != NULL && fy_parser_get_stream_error(parser)) {
        if (findings->count == 0)
            findings_add(findings, 1, 1, "", "not readable as YAML");
        if (rc == 0)
            rc = ERR_SYNTAX;
    }
    fy_parser_destroy(parser);
    fy_diag_destroy(diag);
    if (rc == 0 && findings->count > 0)
        rc = ERR_SYNTAX;
    if (rc == 0 && (b.root == NULL || yaml_is_null(b.root))) {
        b.root = arena_zalloc(arena, 1, sizeof *b.root);
        if (b.root == NULL)
            return ERR_NOMEM;
        *b.root = (struct yaml_node){.kind = YAML_MAP, .line = 1, .column = 1};
    }
    if (rc == 0)
        *out_root = b.root;
    return rc;
}

int yaml_parse(struct str text, struct arena *arena, struct findings *findings,
               struct yaml_node **out_root)
{
    return parse(text, false, arena, findings, out_root);
}

int yaml_parse_foreign(struct str text, struct arena *arena, struct findings *findings,
                       struct yaml_node **out_root)
{
    return parse(text, true, arena, findings, out_root);
}

bool yaml_is_null(const struct yaml_node *node)
{
    return node->kind == YAML_SCALAR && node->plain &&
           (node->text.len == 0 || str_is(node->text, "~") || str_is(node->text, "null") ||
            str_is(node->text, "Null") || str_is(node->text, "NULL"));
}
