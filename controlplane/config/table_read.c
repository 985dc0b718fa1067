/* Tree + table -> structs. The recursion goes down the table, whose depth is fixed, not down the
 * input. Every finding is added and reading goes on, so that one run shows all of them. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/options.h"
#include "controlplane/config/table.h"

#define EXPANDED_BYTES_MAX 65536U
#define KNOWN_MAX          64
#define NAME_BYTES_MAX     128U
#define NANO_DIGITS        9

struct reader {
    struct arena *arena;
    struct findings *findings;
    enum config_origin origin;
    bool nomem;
};

/* --- positions ---------------------------------------------------------------------------------
 */

void table_path(const struct yaml_node *node, char *out, size_t out_bytes)
{
    const struct yaml_node *chain[CONFIG_DEPTH_MAX + 2];
    size_t depth = 0, at = 0;
    for (; node != NULL && node->parent != NULL && depth < CONFIG_DEPTH_MAX + 2;
         node = node->parent)
        chain[depth++] = node;
    out[0] = '\0';
    while (depth > 0 && at + 1 < out_bytes) {
        const struct yaml_node *n = chain[--depth];
        int len;
        if (n->parent->kind == YAML_MAP) {
            len = snprintf(out + at, out_bytes - at, "%s%.*s", at == 0 ? "" : ".",
                           STR_ARG(str_slice(n->key, 0, 64)));
        } else {
            unsigned index = 0;
            for (const struct yaml_node *s = n->parent->first; s != n; s = s->next)
                index++;
            len = snprintf(out + at, out_bytes - at, "[%u]", index);
        }
        at += len > 0 ? (size_t)len : 0;
    }
}

static void finding_at(struct findings *findings, const struct yaml_node *node, bool at_key,
                       const char *text)
{
    char path[256];
    table_path(node, path, sizeof path);
    if (at_key)
        findings_add(findings, node->key_line, node->key_column, path, "%s", text);
    else
        findings_add(findings, node->line, node->column, path, "%s", text);
}

void table_finding(struct findings *findings, const struct yaml_node *node, const char *format, ...)
{
    char text[384];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    finding_at(findings, node, false, text);
}

/* --- values from elsewhere ---------------------------------------------------------------------
 */

static bool is_variable_name(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];
        bool ok = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' ||
                  (i > 0 && c >= '0' && c <= '9');
        if (!ok)
            return false;
    }
    return s.len > 0;
}

/* "os.environ/NAME", "${env:NAME}", "${env:NAME:-default}", "${file:/path}" as a whole. */
enum reference { REF_NONE, REF_ENV, REF_FILE, REF_BAD };
static enum reference reference_of(struct str s, struct str *out_name, struct str *out_default)
{
    *out_default = STR_NULL;
    if (str_starts(s, STR("os.environ/"))) {
        *out_name = str_slice(s, 11, s.len);
        return is_variable_name(*out_name) ? REF_ENV : REF_BAD;
    }
    if (!str_starts(s, STR("${")) || !str_ends(s, STR("}")))
        return REF_NONE;
    struct str inner = str_slice(s, 2, s.len - 1);
    if (str_starts(inner, STR("file:"))) {
        *out_name = str_slice(inner, 5, inner.len);
        return out_name->len > 1 && out_name->data[0] == '/' ? REF_FILE : REF_BAD;
    }
    if (str_starts(inner, STR("env:"))) {
        inner = str_slice(inner, 4, inner.len);
        ptrdiff_t cut = str_search(inner, STR(":-"));
        *out_name = cut < 0 ? inner : str_slice(inner, 0, (size_t)cut);
        if (cut >= 0)
            *out_default = str_slice(inner, (size_t)cut + 2, inner.len);
        return is_variable_name(*out_name) ? REF_ENV : REF_BAD;
    }
    return REF_BAD;
}

static struct str keep(struct reader *r, struct str s)
{
    struct str copy = arena_copy(r->arena, s);
    if (copy.data == NULL)
        r->nomem = true;
    return copy;
}

static bool expand_env(struct reader *r, const struct yaml_node *node, struct str name,
                       struct str fallback, struct str *out)
{
    char text[NAME_BYTES_MAX];
    const char *value = str_copy(name, text, sizeof text) ? getenv(text) : NULL;
    if (value == NULL && fallback.data == NULL) {
        table_finding(r->findings, node, "environment variable %.*s is not set",
                      STR_ARG(str_slice(name, 0, 64)));
        return false;
    }
    *out = keep(r, value == NULL ? fallback : str_from(value));
    return !r->nomem;
}

static bool expand_file(struct reader *r, const struct yaml_node *node, struct str path,
                        struct str *out)
{
    char text[1024];
    struct buf bytes = {0};
    struct err err = {0};
    bool ok = str_copy(path, text, sizeof text);
    if (!ok) {
        table_finding(r->findings, node, "path too long");
        return false;
    }
    if (buf_read_file(&bytes, text, EXPANDED_BYTES_MAX, &err) != 0) {
        table_finding(r->findings, node, "%s", err.message);
        ok = false;
    } else {
        struct str s = buf_str(&bytes);
        if (s.len > 0 && s.data[s.len - 1] == '\n')
            s.len--;
        *out = keep(r, s);
    }
    buf_deinit(&bytes);
    return ok && !r->nomem;
}

/* The text a scalar stands for. false: a finding was added. */
static bool scalar_text(struct reader *r, const struct yaml_node *node, struct str *out)
{
    struct str name, fallback;
    if (node->kind != YAML_SCALAR) {
        table_finding(r->findings, node, "expected a single value, found a %s",
                      node->kind == YAML_MAP ? "map" : "list");
        return false;
    }
    *out = node->text;
    if (r->origin == CONFIG_REMOTE)
        return true;
    switch (reference_of(node->text, &name, &fallback)) {
    case REF_NONE:
        return true;
    case REF_ENV:
        return expand_env(r, node, name, fallback, out);
    case REF_FILE:
        return expand_file(r, node, name, out);
    case REF_BAD:
        table_finding(r->findings, node,
                      "not a reference: write os.environ/NAME, ${env:NAME} or ${file:/path}");
        return false;
    }
    return true;
}

/* --- scalars -----------------------------------------------------------------------------------
 */

static void bad_value(struct reader *r, const struct yaml_node *node, struct str text,
                      const struct field *f, const char *expected)
{
    table_finding(r->findings, node, "\"%.*s\" is not %s, e.g. %s", STR_ARG(str_slice(text, 0, 64)),
                  expected, f->example);
}

static bool read_bool(struct str s, bool *out)
{
    bool yes = str_is(s, "true") || str_is(s, "True") || str_is(s, "TRUE");
    bool no = str_is(s, "false") || str_is(s, "False") || str_is(s, "FALSE");
    *out = yes;
    return yes || no;
}

static bool read_money(struct str s, int64_t *out)
{
    struct str amount, unit;
    if (!str_cut(s, ' ', &amount, &unit) || !str_is(str_trim(unit), "USD"))
        return false;
    return str_parse_fixed(amount, NANO_DIGITS, out) == 0 && *out >= 0 &&
           *out <= INT64_C(1000000000000000);
}

/* 0..1 as a fraction of `one`, rounded to the nearest. */
static bool read_fraction(struct str s, uint64_t one, uint64_t *out)
{
    int64_t nano;
    if (str_parse_fixed(s, NANO_DIGITS, &nano) != 0 || nano < 0 || nano > 1000000000)
        return false;
    *out = (uint64_t)(((unsigned __int128)(uint64_t)nano * one + 500000000) / 1000000000);
    return true;
}

static const char *word_list(const char *const *words, char *out, size_t out_bytes)
{
    size_t at = 0;
    out[0] = '\0';
    for (size_t i = 0; words[i] != NULL && at + 1 < out_bytes; i++) {
        int n = snprintf(out + at, out_bytes - at, "%s%s", i == 0 ? "" : ", ", words[i]);
        at += n > 0 ? (size_t)n : 0;
    }
    return out;
}

static bool read_word(struct reader *r, const struct yaml_node *node, struct str s,
                      const char *const *words, uint64_t *out)
{
    char text[NAME_BYTES_MAX], list[256];
    for (uint64_t i = 0; words[i] != NULL; i++) {
        if (str_is(s, words[i])) {
            *out = i;
            return true;
        }
    }
    const char *near = str_copy(s, text, sizeof text) ? options_nearest(text, words) : NULL;
    table_finding(r->findings, node, "\"%.*s\" is not known, use one of: %s%s%s%s",
                  STR_ARG(str_slice(s, 0, 64)), word_list(words, list, sizeof list),
                  near == NULL ? "" : "; did you mean \"", near == NULL ? "" : near,
                  near == NULL ? "" : "\"?");
    return false;
}

void table_hosts(const char *out_words[TABLE_HOSTS_MAX + 1])
{
    size_t count = 0;
    for (; count < host_count() && count < TABLE_HOSTS_MAX; count++)
        out_words[count] = host_at(count)->name.data; /* A literal. */
    out_words[count] = NULL;
}

static void read_host(struct reader *r, const struct yaml_node *node, struct str s,
                      const struct host **out)
{
    const char *words[TABLE_HOSTS_MAX + 1];
    uint64_t ignored;
    table_hosts(words);
    *out = host_find(s);
    if (*out == NULL)
        (void)read_word(r, node, s, words, &ignored);
}

static bool is_url(struct str s)
{
    struct str rest;
    if (str_starts(s, STR("https://")))
        rest = str_slice(s, 8, s.len);
    else if (str_starts(s, STR("http://")))
        rest = str_slice(s, 7, s.len);
    else
        return false;
    for (size_t i = 0; i < rest.len; i++) {
        if ((uint8_t)rest.data[i] <= 0x20 || (uint8_t)rest.data[i] >= 0x7f ||
            strchr("\"<>\\^`{|}#?@", rest.data[i]) != NULL)
            return false;
    }
    return rest.len > 0 && rest.data[0] != '/' && rest.data[0] != ':';
}

static void read_secret(struct reader *r, const struct yaml_node *node, const struct field *f,
                        struct str *out)
{
    struct str name, fallback;
    enum reference kind = node->kind != YAML_SCALAR || r->origin == CONFIG_REMOTE
                              ? REF_BAD
                              : reference_of(node->text, &name, &fallback);
    if (kind == REF_BAD || kind == REF_NONE || fallback.data != NULL) {
        /* The value itself is never repeated. */
        table_finding(r->findings, node,
                      "a key must not stand in this file: put it into an environment variable or a "
                      "file and write %s or \"${file:/path}\"",
                      f->example);
        return;
    }
    char *text =
        arena_printf(r->arena, "%s%.*s", kind == REF_ENV ? "env:" : "file:", STR_ARG(name));
    r->nomem = r->nomem || text == NULL;
    *out = str_from(text);
}

static bool in_range(struct reader *r, const struct yaml_node *node, const struct field *f,
                     uint64_t value)
{
    if (f->max == 0 || (value >= f->min && value <= f->max))
        return true;
    if (f->kind == FIELD_NUMBER)
        table_finding(r->findings, node, "must be between %llu and %llu",
                      (unsigned long long)f->min, (unsigned long long)f->max);
    else
        table_finding(r->findings, node, "must be between %llu and %llu %s",
                      (unsigned long long)f->min, (unsigned long long)f->max,
                      f->kind == FIELD_SIZE ? "bytes" : "ms");
    return false;
}

static void read_chance(struct reader *r, const struct yaml_node *node, const struct field *f,
                        struct str s, uint64_t *member)
{
    uint64_t value;
    char most[64];
    if (read_fraction(s, UINT32_MAX, &value) && (f->max == 0 || value <= f->max)) {
        *member = value;
        return;
    }
    const uint64_t max = f->max != 0 ? f->max : UINT32_MAX;
    const unsigned long long millionth = (max * 1000000 + UINT32_MAX / 2) / UINT32_MAX;
    if (millionth >= 1000000)
        snprintf(most, sizeof most, "a number from 0 to 1");
    else
        snprintf(most, sizeof most, "a number from 0 to 0.%06llu", millionth);
    bad_value(r, node, s, f, most);
}

/* One value into *member, of the type the kind says. text: from the file or the fallback. */
static void read_scalar(struct reader *r, const struct yaml_node *node, const struct field *f,
                        struct str s, void *member)
{
    uint64_t number = 0;
    switch (f->kind) {
    case FIELD_TEXT:
        if (s.len == 0 || str_find(s, '\n') >= 0)
            table_finding(r->findings, node, "must be one line and not empty");
        else
            *(struct str *)member = s;
        break;
    case FIELD_URL:
        if (is_url(s))
            *(struct str *)member = s;
        else
            bad_value(r, node, s, f, "an http:// or https:// address without query");
        break;
    case FIELD_BOOL:
        if (!read_bool(s, member))
            bad_value(r, node, s, f, "true or false");
        break;
    case FIELD_NUMBER:
        if (str_parse_u64(s, UINT64_MAX, &number) != 0)
            bad_value(r, node, s, f, "a whole number");
        else if (in_range(r, node, f, number))
            *(uint64_t *)member = number;
        break;
    case FIELD_DURATION:
        if (str_parse_duration_ms(s, &number) != 0)
            bad_value(r, node, s, f, "a duration");
        else if (in_range(r, node, f, number))
            *(uint64_t *)member = number;
        break;
    case FIELD_DELAY:
        if (str_is(s, "p95"))
            *(uint64_t *)member = TABLE_DELAY_P95;
        else if (str_parse_duration_ms(s, &number) != 0)
            bad_value(r, node, s, f, "a duration or p95");
        else if (in_range(r, node, f, number))
            *(uint64_t *)member = number;
        break;
    case FIELD_SIZE:
        if (str_parse_size(s, &number) != 0)
            bad_value(r, node, s, f, "a size");
        else if (in_range(r, node, f, number))
            *(uint64_t *)member = number;
        break;
    case FIELD_MONEY:
        if (!read_money(s, member))
            bad_value(r, node, s, f, "an amount of money");
        break;
    case FIELD_SHARE:
        if (!read_fraction(s, 65536, member))
            bad_value(r, node, s, f, "a number from 0 to 1");
        break;
    case FIELD_CHANCE:
        read_chance(r, node, f, s, member);
        break;
    case FIELD_WORD:
        (void)read_word(r, node, s, f->words, member);
        break;
    case FIELD_HOST:
        read_host(r, node, s, member);
        break;
    case FIELD_SECRET:
    case FIELD_FLAGS:
    case FIELD_TEXTS:
    case FIELD_PAIRS:
    case FIELD_SECTION:
    case FIELD_MAP:
    case FIELD_LIST:
    case FIELD_NODE:
        break;
    }
}

/* --- lists and maps ------------------------------------------------------------------------------
 */

static bool want_list(struct reader *r, const struct yaml_node *node, const struct field *f)
{
    if (node->kind == YAML_LIST)
        return true;
    table_finding(r->findings, node, "expected a list%s%s", f->example == NULL ? "" : ", e.g. ",
                  f->example == NULL ? "" : f->example);
    return false;
}

static void read_flags(struct reader *r, const struct yaml_node *node, const struct field *f,
                       uint64_t *out)
{
    if (!want_list(r, node, f))
        return;
    for (const struct yaml_node *n = node->first; n != NULL; n = n->next) {
        struct str s;
        uint64_t index;
        if (scalar_text(r, n, &s) && read_word(r, n, s, f->words, &index))
            *out |= UINT64_C(1) << index;
    }
}

static void read_texts(struct reader *r, const struct yaml_node *node, const struct field *f,
                       struct texts *out)
{
    if (!want_list(r, node, f) || node->count == 0)
        return;
    struct str *items = arena_zalloc(r->arena, node->count, sizeof *items);
    const struct yaml_node **nodes = arena_zalloc(r->arena, node->count, sizeof *nodes);
    if (items == NULL || nodes == NULL) {
        r->nomem = true;
        return;
    }
    size_t count = 0;
    for (const struct yaml_node *n = node->first; n != NULL; n = n->next) {
        if (!scalar_text(r, n, &items[count]))
            continue;
        nodes[count++] = n;
    }
    *out = (struct texts){.items = items, .nodes = nodes, .count = count};
}

static void read_pairs(struct reader *r, const struct yaml_node *node, struct pairs *out)
{
    if (node->kind != YAML_MAP) {
        table_finding(r->findings, node, "expected a map of texts");
        return;
    }
    if (node->count == 0)
        return;
    struct str *names = arena_zalloc(r->arena, node->count, sizeof *names);
    struct str *values = arena_zalloc(r->arena, node->count, sizeof *values);
    const struct yaml_node **nodes = arena_zalloc(r->arena, node->count, sizeof *nodes);
    if (names == NULL || values == NULL || nodes == NULL) {
        r->nomem = true;
        return;
    }
    size_t count = 0;
    for (const struct yaml_node *n = node->first; n != NULL; n = n->next) {
        if (!scalar_text(r, n, &values[count]))
            continue;
        names[count] = n->key;
        nodes[count++] = n;
    }
    *out = (struct pairs){.names = names, .values = values, .nodes = nodes, .count = count};
}

static void read_section(struct reader *r, const struct yaml_node *node, const struct section *s,
                         void *out);

static void read_items(struct reader *r, const struct yaml_node *node, const struct field *f,
                       struct items *out)
{
    const struct section *s = f->section;
    enum yaml_kind want = f->kind == FIELD_MAP ? YAML_MAP : YAML_LIST;
    if (f->example != NULL && !want_list(r, node, f))
        return;
    if (node->kind != want) {
        table_finding(r->findings, node, "expected a %s of %s", want == YAML_MAP ? "map" : "list",
                      s->name);
        return;
    }
    if (node->count == 0)
        return;
    char *data = arena_zalloc(r->arena, node->count, s->size);
    if (data == NULL) {
        r->nomem = true;
        return;
    }
    size_t count = 0;
    for (const struct yaml_node *n = node->first; n != NULL; n = n->next) {
        void *item = data + count * s->size;
        ((struct item *)item)->name = n->key;
        if (want == YAML_MAP && (n->key.len == 0 || n->key.len > NAME_BYTES_MAX - 1))
            finding_at(r->findings, n, true, "names have 1 to 127 bytes");
        read_section(r, n, s, item);
        count++;
    }
    *out = (struct items){.data = data, .count = count};
}

static void read_field(struct reader *r, const struct yaml_node *node, const struct field *f,
                       void *member)
{
    struct str s;
    switch (f->kind) {
    case FIELD_TEXT:
    case FIELD_URL:
    case FIELD_BOOL:
    case FIELD_NUMBER:
    case FIELD_DURATION:
    case FIELD_DELAY:
    case FIELD_SIZE:
    case FIELD_MONEY:
    case FIELD_SHARE:
    case FIELD_CHANCE:
    case FIELD_WORD:
    case FIELD_HOST:
        if (scalar_text(r, node, &s))
            read_scalar(r, node, f, s, member);
        break;
    case FIELD_SECRET:
        read_secret(r, node, f, member);
        break;
    case FIELD_FLAGS:
        read_flags(r, node, f, member);
        break;
    case FIELD_TEXTS:
        read_texts(r, node, f, member);
        break;
    case FIELD_PAIRS:
        read_pairs(r, node, member);
        break;
    case FIELD_SECTION:
        read_section(r, node, f->section, member);
        break;
    case FIELD_MAP:
    case FIELD_LIST:
        read_items(r, node, f, member);
        break;
    case FIELD_NODE:
        *(const struct yaml_node **)member = node;
        break;
    }
}

static void set_fallbacks(struct reader *r, const struct section *s, char *out)
{
    for (const struct field *f = s->fields; f->name != NULL; f++) {
        if (f->kind == FIELD_MONEY)
            *(int64_t *)(void *)(out + f->offset) = -1;
        else if (f->kind == FIELD_SECTION)
            set_fallbacks(r, f->section, out + f->offset);
        else if (f->fallback != NULL)
            read_scalar(r, NULL, f, str_from(f->fallback), out + f->offset);
    }
}

static void unknown_key(struct reader *r, const struct yaml_node *node, const struct section *s)
{
    const char *known[KNOWN_MAX + 1];
    size_t count = 0;
    char text[NAME_BYTES_MAX], message[256];
    for (const struct field *f = s->fields; f->name != NULL && count < KNOWN_MAX; f++)
        known[count++] = f->name;
    known[count] = NULL;
    const char *near = str_copy(node->key, text, sizeof text) ? options_nearest(text, known) : NULL;
    if (near != NULL)
        snprintf(message, sizeof message, "unknown key; did you mean \"%s\"?", near);
    else
        snprintf(message, sizeof message, "unknown key");
    finding_at(r->findings, node, true, message);
}

static void read_section(struct reader *r, const struct yaml_node *node, const struct section *s,
                         void *out)
{
    ((struct item *)out)->node = node;
    set_fallbacks(r, s, out);
    bool is_empty = yaml_is_null(node);
    if (node->kind != YAML_MAP && s->shorthand != NULL && !is_empty) {
        read_field(r, node, s->shorthand, (char *)out + s->shorthand->offset);
        return;
    }
    if (node->kind != YAML_MAP && !is_empty) {
        table_finding(r->findings, node, "expected a map with the fields of %s", s->name);
        return;
    }
    for (const struct yaml_node *n = node->first; n != NULL; n = n->next) {
        const struct field *f = s->fields;
        while (f->name != NULL && !str_is(n->key, f->name))
            f++;
        if (f->name == NULL)
            unknown_key(r, n, s);
        else if (yaml_is_null(n) && f->kind != FIELD_SECTION)
            table_finding(r->findings, n, "has no value");
        else
            read_field(r, n, f, (char *)out + f->offset);
    }
    for (const struct field *f = s->fields; f->name != NULL; f++) {
        const struct yaml_node *n = node->first;
        while (n != NULL && !str_is(n->key, f->name))
            n = n->next;
        if (f->required && n == NULL)
            table_finding(r->findings, node, "\"%s\" is missing", f->name);
    }
}

int table_read(const struct yaml_node *tree, struct arena *arena, enum config_origin origin,
               struct findings *findings, struct root_config *out_root)
{
    struct reader r = {.arena = arena, .findings = findings, .origin = origin};
    read_section(&r, tree, &config_root_section, out_root);
    return r.nomem ? ERR_NOMEM : 0;
}
