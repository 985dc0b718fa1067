/* What all readers of wishes need, and the readers of names. */
#include "dataplane/request/wishes_internal.h"

#include <string.h>

#define NAME_BYTES_MAX 256U

void wishes_init(struct wishes *w)
{
    memset(w, 0, sizeof *w);
    w->max_input = w->max_output = -1;
    w->position = -1;
    w->threshold_lambda = -1;
}

struct str wishes_path(const struct wishes_reading *r, uint32_t node)
{
    char path[JSON_PATH_BYTES];
    json_path(r->json, node, path);
    const bool plain = path[0] == '\0' || path[0] == '[';
    const char *text = arena_printf(r->arena, "%s%s%s", r->root, plain ? "" : ".", path);
    return text != NULL ? str_from(text) : STR_NULL;
}

int wishes_refuse(struct wishes_reading *r, uint32_t node, const char *message)
{
    r->refusal->param = node != JSON_NONE ? wishes_path(r, node) : str_from(r->root);
    r->refusal->message = message;
    return r->refusal->param.data != NULL ? ERR_INVALID : ERR_NOMEM;
}

int wishes_begin(struct wishes_reading *r, struct json *json, struct str text, const char *root,
                 struct arena *arena, struct wishes *w, struct wishes_refusal *refusal)
{
    *r = (struct wishes_reading){
        .json = json, .arena = arena, .w = w, .refusal = refusal, .root = root};
    *refusal = (struct wishes_refusal){.param = STR_NULL};
    if (text.len > WISHES_BYTES_MAX)
        return wishes_refuse(r, JSON_NONE, "This is too long. Say it in at most 16 KiB.");
    int rc = json_parse(json, text, NULL);
    if (rc == ERR_NOMEM)
        return rc;
    if (rc != 0)
        return wishes_refuse(r, JSON_NONE, "This is no JSON. Correct it.");
    if (json->count > WISHES_NODES_MAX)
        return wishes_refuse(r, JSON_NONE, "There are too many values in this. Leave some out.");
    return 0;
}

static const struct wishes_field *find(const struct wishes_reading *r, uint32_t key,
                                       const struct wishes_field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (json_string_is(r->json, key, fields[i].name))
            return &fields[i];
    return NULL;
}

int wishes_fields(struct wishes_reading *r, uint32_t object, const struct wishes_field *fields,
                  size_t count, const char *unknown)
{
    uint32_t key, value;
    if (json_kind(r->json, object) != JSON_OBJECT)
        return wishes_refuse(r, object, NULL);
    for (uint32_t at = 0; json_next_member(r->json, object, &at, &key, &value);) {
        const struct wishes_field *field = find(r, key, fields, count);
        if (field == NULL)
            return wishes_refuse(r, value, unknown);
        if (json_kind(r->json, value) == JSON_NULL)
            continue;
        int rc = field->read(r, value);
        if (rc != 0)
            return rc;
    }
    return 0;
}

bool wishes_is_there(const struct json *json, uint32_t node)
{
    return node != JSON_NONE && json_kind(json, node) != JSON_NULL;
}

int wishes_pass(struct wishes_reading *r, uint32_t node)
{
    (void)r;
    (void)node;
    return 0;
}

int wishes_check_bool(struct wishes_reading *r, uint32_t node)
{
    bool ignored;
    return wishes_take_bool(r, node, &ignored);
}

int wishes_take_bool(struct wishes_reading *r, uint32_t node, bool *out)
{
    return json_bool(r->json, node, out) == 0 ? 0 : wishes_refuse(r, node, NULL);
}

int wishes_take_name(struct wishes_reading *r, uint32_t node, struct str *out)
{
    if (json_kind(r->json, node) != JSON_STRING)
        return wishes_refuse(r, node, NULL);
    size_t len = json_text_length(r->json, node);
    if (len == 0 || len > NAME_BYTES_MAX)
        return wishes_refuse(r, node, NULL);
    if (json_text(r->json, node, r->arena, out) != 0)
        return ERR_NOMEM;
    for (size_t i = 0; i < out->len; i++)
        if (out->data[i] < ' ' || out->data[i] > '~')
            return wishes_refuse(r, node, NULL);
    return 0;
}

int wishes_take_decimal(struct wishes_reading *r, uint32_t node, unsigned scale, int64_t max,
                        int64_t *out)
{
    bool exact;
    struct str text;
    int rc = ERR_INVALID;
    if (json_kind(r->json, node) == JSON_NUMBER)
        rc = json_fixed(r->json, node, scale, out, &exact);
    else if (json_kind(r->json, node) == JSON_STRING) {
        rc = wishes_take_name(r, node, &text);
        if (rc != 0)
            return rc;
        rc = str_parse_fixed(text, scale, out);
    }
    return rc == 0 && *out >= 0 && *out <= max ? 0 : wishes_refuse(r, node, NULL);
}

int wishes_add_target(struct wishes_reading *r, uint32_t node, struct wishes_target target)
{
    struct wishes *w = r->w;
    if (w->target_count == WISHES_TARGETS_MAX)
        return wishes_refuse(r, node, "There are too many of these. Name at most 32.");
    target.path = wishes_path(r, node);
    if (target.path.data == NULL)
        return ERR_NOMEM;
    w->targets[w->target_count++] = target;
    return 0;
}

/* ---- names ---- */

bool wishes_read_suffix(struct str name, struct wishes *w, struct str *out_name)
{
    static const struct {
        struct str text;
        enum wishes_sort sort;
    } suffixes[] = {{{":floor", 6}, WISHES_SORT_PRICE}, {{":nitro", 6}, WISHES_SORT_THROUGHPUT}};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        const struct str s = suffixes[i].text;
        if (name.len <= s.len || !str_eq(str_slice(name, name.len - s.len, name.len), s))
            continue;
        w->sort = suffixes[i].sort;
        *out_name = str_slice(name, 0, name.len - s.len);
        return true;
    }
    return false;
}

bool wishes_read_router(struct str name, struct wishes *w, struct str *out_name)
{
    int64_t millionths;
    if (!str_starts(name, STR("router-")))
        return false;
    size_t dash = name.len;
    while (dash > 7 && name.data[dash - 1] != '-')
        dash--;
    if (dash <= 8) /* No name between the two. */
        return false;
    if (str_parse_fixed(str_slice(name, dash, name.len), 6, &millionths) != 0 || millionths < 0 ||
        millionths > 1000000)
        return false;
    w->has_threshold = true;
    w->threshold_q16 = (uint32_t)((millionths * 65536 + 500000) / 1000000);
    *out_name = str_slice(name, 7, dash - 1);
    return true;
}

static bool skipped(char c)
{
    return c == '-' || c == '_' || c == ' ' || c == '.';
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* Letters and digits alone, whatever their case. */
static bool alike(struct str a, struct str b)
{
    size_t i = 0, k = 0;
    bool any = false;
    for (;;) {
        while (i < a.len && skipped(a.data[i]))
            i++;
        while (k < b.len && skipped(b.data[k]))
            k++;
        if (i == a.len || k == b.len)
            return any && i == a.len && k == b.len;
        any = true;
        if (lower(a.data[i++]) != lower(b.data[k++]))
            return false;
    }
}

bool wishes_names_provider(struct str wish, struct str name, struct str type, struct str title)
{
    static const struct { /* OpenRouter's slugs that are not our types. */
        struct str slug, type;
    } others[] = {{{"amazon-bedrock", 14}, {"bedrock", 7}},
                  {{"google-vertex", 13}, {"vertex", 6}},
                  {{"google-ai-studio", 16}, {"gemini", 6}},
                  {{"mistralai", 9}, {"mistral", 7}},
                  {{"x-ai", 4}, {"xai", 3}}};
    struct str variant;
    if (alike(wish, name))
        return true;
    (void)str_cut(wish, '/', &wish, &variant);
    if (alike(wish, name) || alike(wish, type) || alike(wish, title))
        return true;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (alike(wish, others[i].slug) && str_eq(type, others[i].type))
            return true;
    return false;
}
