/* JSON as block YAML 1.2. Strings that are not plainly words are written as JSON writes them, which
 * YAML reads the same way. */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "controlplane/ctl/output.h"

#define DEPTH_MAX 32 /* Deeper values are written in flow style, which is JSON. */

struct level {
    const json_t *value;
    void *member; /* Of an object: the next one. */
    size_t index; /* Of an array. */
    unsigned indent;
    bool on_line; /* The first entry goes on the line that "- " began. */
};

static bool is_plain(const char *text)
{
    static const char *const taken[] = {"true", "false", "null", "yes", "no",  "on",
                                        "off",  "y",     "n",    "nan", "inf", NULL};
    if (!isalpha((unsigned char)text[0]) && text[0] != '_' && text[0] != '/')
        return false;
    for (const char *c = text; *c != '\0'; c++) {
        if (!isalnum((unsigned char)*c) && strchr("_-./", *c) == NULL)
            return false;
    }
    for (size_t i = 0; taken[i] != NULL; i++) {
        if (strcasecmp(text, taken[i]) == 0)
            return false;
    }
    return true;
}

static int put_scalar(FILE *out, const json_t *value)
{
    if (json_is_string(value) && is_plain(json_string_value(value)))
        return fputs(json_string_value(value), out) < 0 ? -1 : 0;
    return json_dumpf(value, out, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15));
}

static bool is_block(const json_t *value, size_t depth)
{
    return depth < DEPTH_MAX && ((json_is_object(value) && json_object_size(value) > 0) ||
                                 (json_is_array(value) && json_array_size(value) > 0));
}

static struct level level_of(const json_t *value, unsigned indent, bool on_line)
{
    return (struct level){
        .value = value,
        .member = json_is_object(value) ? json_object_iter((json_t *)(uintptr_t)value) : NULL,
        .indent = indent,
        .on_line = on_line};
}

/* The next entry of a level; NULL: no more. key: of a member. */
static const json_t *next_entry(struct level *l, const char **out_key)
{
    *out_key = NULL;
    if (!json_is_object(l->value))
        return json_array_get(l->value, l->index++);
    if (l->member == NULL)
        return NULL;
    const json_t *entry = json_object_iter_value(l->member);
    *out_key = json_object_iter_key(l->member);
    l->member = json_object_iter_next((json_t *)(uintptr_t)l->value, l->member);
    return entry;
}

int output_yaml(FILE *out, const json_t *value)
{
    struct level stack[DEPTH_MAX];
    size_t depth = 0;
    int rc = 0;
    if (!is_block(value, 0)) {
        rc = put_scalar(out, value);
        fputc('\n', out);
        return rc;
    }
    stack[depth++] = level_of(value, 0, false);
    while (depth > 0 && rc == 0) {
        struct level *l = &stack[depth - 1];
        const char *key;
        const json_t *entry = next_entry(l, &key);
        if (entry == NULL) {
            depth--;
            continue;
        }
        fprintf(out, "%*s", l->on_line ? 0 : (int)l->indent, "");
        l->on_line = false;
        if (key != NULL) {
            json_t *name = json_string(key);
            rc = put_scalar(out, name);
            json_decref(name);
            fputc(':', out);
        } else {
            fputc('-', out);
        }
        if (is_block(entry, depth)) {
            fputc(key != NULL ? '\n' : ' ', out);
            stack[depth] = level_of(entry, l->indent + 2, key == NULL);
            depth++;
        } else {
            fputc(' ', out);
            if (rc == 0)
                rc = put_scalar(out, entry);
            fputc('\n', out);
        }
    }
    return rc;
}
