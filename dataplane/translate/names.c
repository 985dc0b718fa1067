#include "dataplane/translate/names.h"

#include <string.h>

#include "common/base/mem.h"
#include "dataplane/translate/notes.h"

#define ENTRIES_MAX       512U
#define OUTSIDE_BYTES_MAX 1024U
#define INSIDE_BYTES_MAX  128U

struct names_entry {
    uint16_t at; /* Of bytes: the caller's name, and behind it the provider's. */
    uint16_t outside_len;
    uint16_t inside_len;
};

struct tr_names {
    uint32_t count;
    uint32_t used;
    struct names_entry entries[ENTRIES_MAX];
    char bytes[TR_NAMES_BYTES_MAX - ENTRIES_MAX * sizeof(struct names_entry) - 8];
};

struct naming {
    struct tr_terms *terms;
    const struct tr_request *request;
    enum tr_name_class name_class;
    struct call_refusal *refusal;
};

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_allowed(enum tr_name_class name_class, char c)
{
    bool common = is_letter(c) || (c >= '0' && c <= '9') || c == '_' || c == '-';
    return common || (name_class == TR_NAME_GEMINI && (c == '.' || c == ':'));
}

static bool is_first(enum tr_name_class name_class, char c)
{
    return name_class != TR_NAME_GEMINI || is_letter(c) || c == '_';
}

static size_t longest(enum tr_name_class name_class)
{
    return name_class == TR_NAME_ANTHROPIC ? 128 : 64;
}

static bool fits(enum tr_name_class name_class, struct str name)
{
    if (name.len > longest(name_class) || !is_first(name_class, name.data[0]))
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (!is_allowed(name_class, name.data[i]))
            return false;
    return true;
}

static struct str outside_at(const struct tr_names *names, uint32_t i)
{
    const struct names_entry *e = &names->entries[i];
    return (struct str){names->bytes + e->at, e->outside_len};
}

static struct str inside_at(const struct tr_names *names, uint32_t i)
{
    const struct names_entry *e = &names->entries[i];
    return (struct str){names->bytes + e->at + e->outside_len, e->inside_len};
}

/* Somebody's already: of a tool that keeps its name, or of one that was given it. */
static bool is_used(const struct naming *n, struct str inside)
{
    for (uint32_t i = 0; i < n->request->tool_count; i++)
        if (str_eq(n->request->tools[i].name, inside))
            return true;
    const struct tr_names *names = n->terms->names;
    for (uint32_t i = 0; i < names->count; i++)
        if (str_eq(inside_at(names, i), inside))
            return true;
    return false;
}

/* The name with what is not allowed replaced; from the second try on with a number behind it. */
static struct str change(const struct naming *n, struct str name, uint32_t attempt,
                         char out[INSIDE_BYTES_MAX])
{
    char digits[12];
    size_t digit_count = 0;
    for (uint32_t rest = attempt; rest > 0; rest /= 10)
        digits[digit_count++] = (char)('0' + rest % 10);
    if (digit_count > 0)
        digits[digit_count++] = '_';
    size_t max = longest(n->name_class) - digit_count;
    size_t len = 0;
    if (!is_first(n->name_class, name.data[0]))
        out[len++] = '_';
    for (size_t i = 0; i < name.len && len < max; i++)
        out[len++] = is_allowed(n->name_class, name.data[i]) ? name.data[i] : '_';
    while (digit_count > 0)
        out[len++] = digits[--digit_count];
    return (struct str){out, len};
}

static int keep(const struct naming *n, struct str outside)
{
    struct tr_names *names = n->terms->names;
    char room[INSIDE_BYTES_MAX];
    struct str inside = change(n, outside, 0, room);
    for (uint32_t attempt = 2; is_used(n, inside); attempt++)
        inside = change(n, outside, attempt, room);
    if (names->count == ENTRIES_MAX || names->used + outside.len + inside.len > sizeof names->bytes)
        return tr_refuse(n->refusal, "tools", "has too many names that the provider cannot take");
    names->entries[names->count++] =
        (struct names_entry){(uint16_t)names->used, (uint16_t)outside.len, (uint16_t)inside.len};
    memcpy(names->bytes + names->used, outside.data, outside.len);
    memcpy(names->bytes + names->used + outside.len, inside.data, inside.len);
    names->used += (uint32_t)(outside.len + inside.len);
    return 0;
}

static int look_at(const struct naming *n, struct str name, const char *param)
{
    if (name.len == 0 || name.len > OUTSIDE_BYTES_MAX)
        return tr_refuse(n->refusal, param, "must have a name of 1 to 1024 bytes");
    if (fits(n->name_class, name))
        return 0;
    if (n->terms->names == NULL) {
        n->terms->names = mem_zalloc(sizeof(struct tr_names));
        if (n->terms->names == NULL)
            return ERR_NOMEM;
        tr_note(n->terms, "renamed_tool");
    }
    if (!str_eq(tr_names_inside(n->terms, name), name))
        return 0;
    return keep(n, name);
}

static int look_at_parts(const struct naming *n, const struct tr_turn *turn)
{
    for (uint32_t i = 0; i < turn->part_count; i++) {
        const struct tr_part *part = &turn->parts[i];
        int rc = 0;
        if (part->kind == TR_PART_CALL)
            rc = look_at(n, part->call.name, "messages");
        else if (part->kind == TR_PART_RESULT && part->result.name.len > 0)
            rc = look_at(n, part->result.name, "messages");
        if (rc != 0)
            return rc;
    }
    return 0;
}

int tr_names_build(struct tr_terms *terms, const struct tr_request *request,
                   enum tr_name_class name_class, struct call_refusal *refusal)
{
    const struct naming n = {terms, request, name_class, refusal};
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < request->tool_count; i++)
        rc = look_at(&n, request->tools[i].name, "tools");
    if (rc == 0 && request->tool_choice == TR_CHOICE_NAMED)
        rc = look_at(&n, request->tool_name, "tool_choice");
    for (uint32_t i = 0; rc == 0 && i < request->turn_count; i++)
        rc = look_at_parts(&n, &request->turns[i]);
    return rc;
}

struct str tr_names_inside(const struct tr_terms *terms, struct str name)
{
    const struct tr_names *names = terms->names;
    for (uint32_t i = 0; names != NULL && i < names->count; i++)
        if (str_eq(outside_at(names, i), name))
            return inside_at(names, i);
    return name;
}

struct str tr_names_outside(const struct tr_terms *terms, struct str name)
{
    const struct tr_names *names = terms->names;
    for (uint32_t i = 0; names != NULL && i < names->count; i++)
        if (str_eq(inside_at(names, i), name))
            return outside_at(names, i);
    return name;
}

void tr_names_destroy(struct tr_names *names)
{
    mem_free(names);
}
