/* What a configuration says, one fact a field, off the same table that reads it. The recursion goes
 * down the table, whose depth is fixed. Not said is what the file does not say and has no default.
 */
#include <stdio.h>
#include <string.h>

#include "controlplane/catalog/rows.h"
#include "controlplane/config/config.h"
#include "controlplane/config/model.h"

#define PATH_BYTES 1024

struct facts {
    config_fact_cb cb;
    void *arg;
    char path[PATH_BYTES];
    int status;
};

static void fact(struct facts *f, struct str value)
{
    if (f->status == 0)
        f->status = f->cb(f->arg, str_from(f->path), value);
}

/* Both add to the path and return its length before, to go back to. */
static size_t added(struct facts *f, size_t at, int len)
{
    if (len < 0 || (size_t)len >= PATH_BYTES - at)
        f->status = ERR_TOO_LARGE;
    return at;
}

static size_t enter_name(struct facts *f, struct str name)
{
    size_t at = strlen(f->path);
    return added(
        f, at,
        snprintf(f->path + at, PATH_BYTES - at, "%s%.*s", at == 0 ? "" : ".", STR_ARG(name)));
}

static size_t enter_index(struct facts *f, size_t index)
{
    size_t at = strlen(f->path);
    return added(f, at, snprintf(f->path + at, PATH_BYTES - at, "[%zu]", index));
}

static void fact_u64(struct facts *f, uint64_t value, const char *unit)
{
    char text[64];
    int len = snprintf(text, sizeof text, "%llu%s", (unsigned long long)value, unit);
    fact(f, (struct str){.data = text, .len = len > 0 ? (size_t)len : 0});
}

static void fact_share(struct facts *f, uint64_t value, uint64_t one)
{
    char text[32];
    uint64_t millionth = (uint64_t)(((unsigned __int128)value * 1000000 + one / 2) / one);
    int len = snprintf(text, sizeof text, "%llu.%06llu", (unsigned long long)(millionth / 1000000),
                       (unsigned long long)(millionth % 1000000));
    fact(f, (struct str){.data = text, .len = len > 0 ? (size_t)len : 0});
}

static void fact_number(struct facts *f, const struct field *field, uint64_t value)
{
    if (value == 0 && field->fallback == NULL)
        return; /* Not given. */
    bool seconds = field->kind == FIELD_DURATION && value % 1000 == 0;
    fact_u64(f, seconds ? value / 1000 : value,
             field->kind != FIELD_DURATION ? ""
             : seconds                     ? "s"
                                           : "ms");
}

static void fact_flags(struct facts *f, const struct field *field, uint64_t bits)
{
    for (size_t i = 0; field->words[i] != NULL; i++) {
        if ((bits >> i & 1) == 0)
            continue;
        size_t at = enter_name(f, str_from(field->words[i]));
        fact(f, STR("yes"));
        f->path[at] = '\0';
    }
}

static void fact_texts(struct facts *f, const struct texts *t)
{
    for (size_t i = 0; i < t->count; i++) {
        size_t at = enter_index(f, i);
        fact(f, t->items[i]);
        f->path[at] = '\0';
    }
}

static void fact_pairs(struct facts *f, const struct pairs *p)
{
    for (size_t i = 0; i < p->count; i++) {
        size_t at = enter_name(f, p->names[i]);
        fact(f, p->values[i]);
        f->path[at] = '\0';
    }
}

static void walk(struct facts *f, const struct section *s, const char *data);

static void walk_items(struct facts *f, const struct field *field, const struct items *items)
{
    for (size_t i = 0; i < items->count && f->status == 0; i++) {
        const char *item = (const char *)items->data + i * field->section->size;
        struct str name = ((const struct item *)(const void *)item)->name;
        size_t at = field->kind == FIELD_MAP ? enter_name(f, name) : enter_index(f, i);
        walk(f, field->section, item);
        f->path[at] = '\0';
    }
}

/* May hold a password: only that there is one is said. */
static bool is_hidden(const struct field *field)
{
    return strcmp(field->name, "postgres") == 0;
}

/* The one behind it, in the order of the text; NULL: it was the last below top. */
static const struct yaml_node *node_after(const struct yaml_node *n, const struct yaml_node *top)
{
    if (n->kind != YAML_SCALAR && n->first != NULL)
        return n->first;
    while (n != top && n->next == NULL)
        n = n->parent;
    return n == top ? NULL : n->next;
}

/* Its values, each under its own path. */
static void fact_node(struct facts *f, const struct yaml_node *top)
{
    const size_t len = strlen(f->path);
    char path[PATH_BYTES];
    memcpy(path, f->path, len + 1);
    for (const struct yaml_node *n = top; n != NULL && f->status == 0; n = node_after(n, top)) {
        if (n->kind != YAML_SCALAR)
            continue;
        table_path(n, f->path, sizeof f->path);
        fact(f, n->text);
    }
    memcpy(f->path, path, len + 1);
}

static void walk_field(struct facts *f, const struct field *field, const void *member)
{
    const struct host *host;
    struct str text;
    char money[32];
    switch (field->kind) {
    case FIELD_TEXT:
    case FIELD_SECRET:
    case FIELD_URL:
        text = *(const struct str *)member;
        if (text.len > 0)
            fact(f, is_hidden(field) ? STR("(given)") : text);
        break;
    case FIELD_BOOL:
        fact(f, *(const bool *)member ? STR("true") : STR("false"));
        break;
    case FIELD_NUMBER:
    case FIELD_DURATION:
    case FIELD_SIZE:
        fact_number(f, field, *(const uint64_t *)member);
        break;
    case FIELD_DELAY:
        if (*(const uint64_t *)member == TABLE_DELAY_P95)
            fact(f, STR("p95"));
        else if (*(const uint64_t *)member > 0)
            fact_u64(f, *(const uint64_t *)member, "ms");
        break;
    case FIELD_MONEY:
        if (*(const int64_t *)member >= 0)
            fact(f, str_from(catalog_rate_text(*(const int64_t *)member, money)));
        break;
    case FIELD_SHARE:
        if (*(const uint64_t *)member > 0)
            fact_share(f, *(const uint64_t *)member, 65536);
        break;
    case FIELD_CHANCE:
        fact_share(f, *(const uint64_t *)member, UINT64_C(1) << 32);
        break;
    case FIELD_WORD:
        fact(f, str_from(field->words[*(const uint64_t *)member]));
        break;
    case FIELD_HOST:
        host = *(const struct host *const *)member;
        if (host != NULL)
            fact(f, host->name);
        break;
    case FIELD_FLAGS:
        fact_flags(f, field, *(const uint64_t *)member);
        break;
    case FIELD_TEXTS:
        fact_texts(f, member);
        break;
    case FIELD_PAIRS:
        fact_pairs(f, member);
        break;
    case FIELD_SECTION:
        walk(f, field->section, member);
        break;
    case FIELD_MAP:
    case FIELD_LIST:
        walk_items(f, field, member);
        break;
    case FIELD_NODE:
        if (*(const struct yaml_node *const *)member != NULL)
            fact_node(f, *(const struct yaml_node *const *)member);
        break;
    }
}

static void walk(struct facts *f, const struct section *s, const char *data)
{
    for (const struct field *field = s->fields; field->name != NULL && f->status == 0; field++) {
        size_t at = enter_name(f, str_from(field->name));
        walk_field(f, field, data + field->offset);
        f->path[at] = '\0';
    }
}

int config_facts(const struct config *c, config_fact_cb cb, void *arg)
{
    struct facts f = {.cb = cb, .arg = arg};
    walk(&f, &config_root_section, (const char *)&c->root);
    return f.status;
}
