/* Texts of the original: names, addresses, secrets. Nothing here resolves a reference. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "controlplane/import/internal.h"

#define NAME_MAX_BYTES 120U
#define VARIABLES_MAX  1000U
#define DAY_MS         86400000

struct str value_join(struct import *i, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    struct str copy = STR_NULL;
    if (len >= 0 && (size_t)len < sizeof text)
        copy = arena_copy(&i->arena, (struct str){.data = text, .len = (size_t)len});
    if (copy.data == NULL)
        i->status = len >= 0 && (size_t)len < sizeof text ? ERR_NOMEM : ERR_LIMIT;
    return copy;
}

static struct str replaced(struct import *i, struct str s, size_t max, char from, const char *bad,
                           char with)
{
    struct str copy = arena_copy(&i->arena, str_slice(s, 0, max));
    char *to = (char *)(uintptr_t)copy.data; /* Our own copy. */
    if (to == NULL) {
        i->status = ERR_NOMEM;
        return STR_NULL;
    }
    for (size_t c = 0; c < copy.len; c++) {
        if (to[c] < from || to[c] >= 0x7f || strchr(bad, to[c]) != NULL)
            to[c] = with;
    }
    return copy;
}

struct str value_shown(struct import *i, struct str s, size_t max)
{
    return replaced(i, s, max, ' ', "", '?');
}

struct str value_name(struct import *i, struct str s)
{
    struct str name = replaced(i, s, NAME_MAX_BYTES, '!', "\"\\,@", '_');
    return name.len == 0 ? STR("unnamed") : name;
}

bool value_is_environment(struct str s, struct str *out_name)
{
    if (!str_starts(s, STR("os.environ/")))
        return false;
    *out_name = str_slice(s, 11, s.len);
    for (size_t c = 0; c < out_name->len; c++) {
        char b = out_name->data[c];
        bool ok = (b >= 'A' && b <= 'Z') || (b >= 'a' && b <= 'z') || b == '_' ||
                  (c > 0 && b >= '0' && b <= '9');
        if (!ok)
            return false;
    }
    return out_name->len > 0 && out_name->len < 128;
}

bool value_is_plain(struct str s)
{
    for (size_t c = 0; c < s.len; c++) {
        if (s.data[c] < ' ' || s.data[c] >= 0x7f)
            return false;
    }
    return s.len > 0 && s.len <= 512 && !str_starts(s, STR("${")) &&
           !str_starts(s, STR("os.environ/"));
}

static bool is_placeholder(struct str s)
{
    static const char *const words[] = {"none",  "null",  "fake",     "fake-key",   "fake_key",
                                        "empty", "dummy", "anything", "not-needed", "no-key",
                                        "na",    "n/a",   "test",     "dummy-key"};
    for (size_t w = 0; w < sizeof words / sizeof words[0]; w++) {
        if (str_eq_nocase(s, str_from(words[w])))
            return true;
    }
    return s.len == 0;
}

static bool is_variable_taken(const struct import *i, struct str name)
{
    for (const struct plan_text *t = i->literals; t != NULL; t = t->next) {
        if (str_eq(t->value, name))
            return true;
    }
    return false;
}

void values_reserve(struct import *i)
{
    unsigned count = 0;
    for (const struct yaml_node *at = i->root;
         at != NULL && count < VARIABLES_MAX && i->status == 0; at = tree_next(i->root, at)) {
        struct str name;
        if (at->kind == YAML_SCALAR && value_is_environment(at->text, &name))
            count += plan_text_add(i, &i->literals, at->text, name);
    }
}

/* The variable for a literal secret: the same one for the same secret. */
static struct str variable_for(struct import *i, struct str secret, struct str suggested)
{
    for (const struct plan_text *t = i->literals; t != NULL; t = t->next) {
        if (str_eq(t->text, secret))
            return t->value;
    }
    struct str base = suggested.len > 0 ? suggested : STR("PROVIDER_API_KEY"), name = base;
    for (unsigned n = 2; is_variable_taken(i, name) && i->status == 0; n++)
        name = value_join(i, "%.*s_%u", STR_ARG(base), n);
    (void)plan_text_add(i, &i->literals, secret, name);
    return name;
}

struct str value_secret(struct import *i, struct yaml_node *node, struct str suggested)
{
    struct str s = tree_text(node), name;
    if (value_is_environment(s, &name)) {
        note_add(i, node, IMPORT_EXACT, "read from the variable %.*s of every node", STR_ARG(name));
        return s;
    }
    if (is_placeholder(s)) {
        note_add(i, node, IMPORT_EXACT, "no key: none is sent");
        return STR_NULL;
    }
    name = variable_for(i, s, suggested);
    note_add(i, node, IMPORT_MANUAL,
             "a secret is not copied: put it into the variable %.*s of every node", STR_ARG(name));
    return value_join(i, "os.environ/%.*s", STR_ARG(name));
}

static struct str host_of(struct str url)
{
    ptrdiff_t cut = str_search(url, STR("://"));
    struct str host = cut < 0 ? url : str_slice(url, (size_t)cut + 3, url.len);
    cut = str_find(host, '/');
    if (cut >= 0)
        host = str_slice(host, 0, (size_t)cut);
    if (str_starts(host, STR("[")))
        return host;
    cut = str_find(host, ':');
    return cut < 0 ? host : str_slice(host, 0, (size_t)cut);
}

bool value_is_own_network(struct str url)
{
    static const char *const starts[] = {"127.",    "10.",   "192.168.", "169.254.",
                                         "0.0.0.0", "[::1]", "[fd",      "[fe80"};
    static const char *const ends[] = {".local", ".internal", ".lan", ".cluster.local", ".svc"};
    struct str host = host_of(url);
    uint64_t second;
    if (str_starts(host, STR("172.")) && host.len > 7 && host.data[6] == '.' &&
        str_parse_u64(str_slice(host, 4, 6), 99, &second) == 0 && second >= 16 && second <= 31)
        return true;
    for (size_t k = 0; k < sizeof starts / sizeof starts[0]; k++) {
        if (str_starts(host, str_from(starts[k])))
            return true;
    }
    for (size_t k = 0; k < sizeof ends / sizeof ends[0]; k++) {
        if (str_ends(host, str_from(ends[k])))
            return true;
    }
    return host.len > 0 && str_find(host, '.') < 0 && str_find(host, '[') < 0;
}

static bool is_address(struct str s)
{
    struct str rest = str_slice(s, str_starts(s, STR("https://")) ? 8 : 7, s.len);
    if (!str_starts(s, STR("https://")) && !str_starts(s, STR("http://")))
        return false;
    for (size_t c = 0; c < rest.len; c++) {
        if (rest.data[c] <= ' ' || rest.data[c] >= 0x7f ||
            strchr("\"<>\\^`{|}#?@", rest.data[c]) != NULL)
            return false;
    }
    return rest.len > 0 && rest.len < 1000 && rest.data[0] != '/' && rest.data[0] != ':';
}

/* Without query and credentials. */
static struct str bare_address(struct import *i, struct str s)
{
    ptrdiff_t cut = str_find(s, '?');
    if (cut >= 0)
        s = str_slice(s, 0, (size_t)cut);
    ptrdiff_t scheme = str_search(s, STR("://"));
    if (scheme < 0)
        return s;
    struct str rest = str_slice(s, (size_t)scheme + 3, s.len);
    ptrdiff_t slash = str_find(rest, '/');
    size_t end = slash < 0 ? rest.len : (size_t)slash, from = 0;
    for (size_t c = 0; c < end; c++) {
        if (rest.data[c] == '@')
            from = c + 1;
    }
    if (from == 0 || rest.len > 900)
        return s;
    return value_join(i, "%.*s%.*s", STR_ARG(str_slice(s, 0, (size_t)scheme + 3)),
                      STR_ARG(str_slice(rest, from, rest.len)));
}

struct str value_address(struct import *i, struct yaml_node *node, const char *suffix)
{
    struct str s = tree_text(node), name;
    if (value_is_environment(s, &name)) {
        note_add(i, node, IMPORT_EXACT,
                 "read from the variable %.*s of the control plane when the file is read",
                 STR_ARG(name));
        return s;
    }
    struct str bare = bare_address(i, s);
    bool cut = bare.len != s.len;
    while (bare.len > 0 && bare.data[bare.len - 1] == '/')
        bare.len--;
    if (!is_address(bare)) {
        note_add(i, node, IMPORT_MANUAL,
                 "left out: no http:// or https:// address; give the provider's base_url");
        return STR_NULL;
    }
    bool added = suffix != NULL && !str_ends(bare, str_from(suffix));
    struct str whole = added ? value_join(i, "%.*s%s", STR_ARG(bare), suffix) : bare;
    if (cut)
        note_add(i, node, IMPORT_MANUAL,
                 "without its query and credentials, which an address does not carry here");
    else if (added)
        note_add(i, node, IMPORT_APPROXIMATE, "asked at its OpenAI paths: %s was added", suffix);
    else if (value_is_own_network(bare))
        note_add(i, node, IMPORT_APPROXIMATE,
                 "base_url; private: true lets it be on the own network");
    else
        note_add(i, node, IMPORT_EXACT, "base_url");
    return whole;
}

bool value_is_region(struct str s)
{
    for (size_t c = 0; c < s.len; c++) {
        char b = s.data[c];
        if (!((b >= 'a' && b <= 'z') || (b >= '0' && b <= '9') || b == '-'))
            return false;
    }
    return s.len > 0 && s.len < 40;
}

bool value_seconds(const struct yaml_node *node, uint64_t *out_ms)
{
    int64_t ms;
    if (!tree_fixed(node, 3, &ms) || ms < 1 || ms > DAY_MS)
        return false;
    *out_ms = (uint64_t)ms;
    return true;
}

bool value_names_secret(struct str key)
{
    static const char *const words[] = {"key",    "token",  "secret",     "password",
                                        "auth",   "cookie", "credential", "passwd",
                                        "bearer", "jwt",    "signature"};
    for (size_t w = 0; w < sizeof words / sizeof words[0]; w++) {
        struct str word = str_from(words[w]);
        for (size_t c = 0; c + word.len <= key.len; c++) {
            if (str_eq_nocase(str_slice(key, c, c + word.len), word))
                return true;
        }
    }
    return false;
}
