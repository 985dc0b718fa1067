#include "dataplane/translate/schema.h"

#include "dataplane/translate/schema_internal.h"

struct strict {
    struct json j;
    struct json_writer w;
    struct buf out;
    struct arena *arena;
    struct schema_frame stack[SCHEMA_DEPTH_MAX];
    uint32_t depth;
};

enum keyword {
    KEYWORD_KEPT, /* Its value as it stands. */
    KEYWORD_TOLD, /* In the description, in words. */
    KEYWORD_GONE,
    KEYWORD_SCHEMA,
    KEYWORD_MAP,
    KEYWORD_LIST,
};

#define S(text)                                                                                    \
    {                                                                                              \
        "" text, sizeof(text) - 1                                                                  \
    }
static const struct {
    struct str name;
    enum keyword what;
} keywords[] = {
    {S("minimum"), KEYWORD_TOLD},
    {S("maximum"), KEYWORD_TOLD},
    {S("exclusiveMinimum"), KEYWORD_TOLD},
    {S("exclusiveMaximum"), KEYWORD_TOLD},
    {S("multipleOf"), KEYWORD_TOLD},
    {S("minLength"), KEYWORD_TOLD},
    {S("maxLength"), KEYWORD_TOLD},
    {S("pattern"), KEYWORD_TOLD},
    {S("minItems"), KEYWORD_TOLD},
    {S("maxItems"), KEYWORD_TOLD},
    {S("uniqueItems"), KEYWORD_TOLD},
    {S("minProperties"), KEYWORD_TOLD},
    {S("maxProperties"), KEYWORD_TOLD},
    {S("description"), KEYWORD_GONE}, /* Written first. */
    {S("additionalProperties"), KEYWORD_GONE},
    {S("patternProperties"), KEYWORD_GONE},
    {S("unevaluatedProperties"), KEYWORD_GONE},
    {S("unevaluatedItems"), KEYWORD_GONE},
    {S("propertyNames"), KEYWORD_GONE},
    {S("dependentRequired"), KEYWORD_GONE},
    {S("dependentSchemas"), KEYWORD_GONE},
    {S("if"), KEYWORD_GONE},
    {S("then"), KEYWORD_GONE},
    {S("else"), KEYWORD_GONE},
    {S("not"), KEYWORD_GONE},
    {S("contains"), KEYWORD_GONE},
    {S("items"), KEYWORD_SCHEMA},
    {S("properties"), KEYWORD_MAP},
    {S("$defs"), KEYWORD_MAP},
    {S("definitions"), KEYWORD_MAP},
    {S("anyOf"), KEYWORD_LIST},
    {S("oneOf"), KEYWORD_LIST},
    {S("allOf"), KEYWORD_LIST},
    {S("prefixItems"), KEYWORD_LIST},
};
static const struct str formats[] = {
    S("date-time"), S("time"), S("date"), S("duration"), S("email"),
    S("hostname"),  S("uri"),  S("ipv4"), S("ipv6"),     S("uuid"),
};
#undef S

static bool is_known_format(const struct json *j, uint32_t node)
{
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++)
        if (json_string_is(j, node, formats[i]))
            return true;
    return false;
}

static enum keyword look_up(const struct json *j, uint32_t key, uint32_t value)
{
    if (json_string_is(j, key, STR("format")))
        return is_known_format(j, value) ? KEYWORD_KEPT : KEYWORD_TOLD;
    for (size_t i = 0; i < sizeof keywords / sizeof keywords[0]; i++)
        if (json_string_is(j, key, keywords[i].name))
            return keywords[i].what;
    return KEYWORD_KEPT;
}

/* What it was, and what may not be said otherwise: "A name. (minLength: 3, pattern: ^[a-z]+$)" */
static int describe(struct strict *s, uint32_t node)
{
    uint32_t at = 0, key, value;
    struct str text = STR_NULL;
    uint32_t told = json_get(&s->j, node, STR("description"));
    int rc = json_kind(&s->j, told) == JSON_STRING ? json_text(&s->j, told, s->arena, &text) : 0;
    bool any = text.len > 0;
    if (rc == 0 && any) {
        json_writer_key(&s->w, "description");
        json_writer_begin_string(&s->w);
        json_writer_part(&s->w, text);
    }
    bool open = false;
    while (rc == 0 && json_next_member(&s->j, node, &at, &key, &value)) {
        if (look_up(&s->j, key, value) != KEYWORD_TOLD)
            continue;
        if (!any) {
            json_writer_key(&s->w, "description");
            json_writer_begin_string(&s->w);
        }
        json_writer_part(&s->w, open ? STR(", ") : any ? STR(" (") : STR("("));
        any = open = true;
        rc = json_text(&s->j, key, s->arena, &text);
        if (rc == 0) {
            json_writer_part(&s->w, text);
            json_writer_part(&s->w, STR(": "));
            text = json_raw(&s->j, value);
            if (json_kind(&s->j, value) == JSON_STRING)
                rc = json_text(&s->j, value, s->arena, &text);
        }
        if (rc == 0)
            json_writer_part(&s->w, text);
    }
    if (open)
        json_writer_part(&s->w, STR(")"));
    if (any)
        json_writer_end_string(&s->w);
    return rc;
}

/* Opens a level, or writes what is none: a schema may be true or false. */
static int enter(struct strict *s, enum schema_level level, uint32_t node)
{
    bool list = level == SCHEMA_LEVEL_LIST;
    if (json_kind(&s->j, node) != (list ? JSON_ARRAY : JSON_OBJECT)) {
        json_writer_raw(&s->w, json_raw(&s->j, node));
        return 0;
    }
    if (s->depth == SCHEMA_DEPTH_MAX)
        return ERR_TOO_LARGE;
    s->stack[s->depth++] = (struct schema_frame){.level = level, .node = node};
    if (list) {
        json_writer_begin_array(&s->w);
        return 0;
    }
    json_writer_begin_object(&s->w);
    if (level == SCHEMA_LEVEL_MAP)
        return 0;
    int rc = describe(s, node);
    if (schema_is_type(&s->j, node, STR("object")) ||
        json_get(&s->j, node, STR("properties")) != JSON_NONE) {
        json_writer_key(&s->w, "additionalProperties");
        json_writer_bool(&s->w, false);
    }
    return rc;
}

static void leave(struct strict *s)
{
    if (s->stack[--s->depth].level == SCHEMA_LEVEL_LIST)
        json_writer_end_array(&s->w);
    else
        json_writer_end_object(&s->w);
}

/* A keyword of a schema. */
static int step_keyword(struct strict *s, uint32_t node, uint32_t key, uint32_t value)
{
    enum keyword what = look_up(&s->j, key, value);
    struct str name;
    if (what == KEYWORD_TOLD || what == KEYWORD_GONE)
        return 0;
    int rc = json_text(&s->j, key, s->arena, &name);
    if (rc != 0)
        return rc;
    if (str_is(name, "oneOf")) {
        if (json_get(&s->j, node, STR("anyOf")) != JSON_NONE)
            return 0;
        name = STR("anyOf");
    }
    json_writer_key_str(&s->w, name);
    switch (what) {
    case KEYWORD_SCHEMA:
        return enter(s, SCHEMA_LEVEL_SCHEMA, value);
    case KEYWORD_MAP:
        return enter(s, SCHEMA_LEVEL_MAP, value);
    case KEYWORD_LIST:
        return enter(s, SCHEMA_LEVEL_LIST, value);
    case KEYWORD_KEPT:
    case KEYWORD_TOLD:
    case KEYWORD_GONE:
        break;
    }
    json_writer_raw(&s->w, json_raw(&s->j, value));
    return 0;
}

static int step(struct strict *s)
{
    struct schema_frame *f = &s->stack[s->depth - 1];
    uint32_t key, value;
    struct str name;
    int rc;
    switch (f->level) {
    case SCHEMA_LEVEL_LIST:
        if (json_next_element(&s->j, f->node, &f->at, &value))
            return enter(s, SCHEMA_LEVEL_SCHEMA, value);
        break;
    case SCHEMA_LEVEL_MAP:
        if (!json_next_member(&s->j, f->node, &f->at, &key, &value))
            break;
        rc = json_text(&s->j, key, s->arena, &name);
        if (rc != 0)
            return rc;
        json_writer_key_str(&s->w, name);
        return enter(s, SCHEMA_LEVEL_SCHEMA, value);
    case SCHEMA_LEVEL_SCHEMA:
        if (json_next_member(&s->j, f->node, &f->at, &key, &value))
            return step_keyword(s, f->node, key, value);
        break;
    }
    leave(s);
    return 0;
}

int tr_schema_strict(struct str schema, struct arena *arena, struct str *out)
{
    struct strict s = {.arena = arena};
    int rc = schema_open(&s.j, schema);
    if (rc != 0)
        return rc;
    buf_init(&s.out, TR_SCHEMA_BYTES_MAX);
    json_writer_init(&s.w, &s.out);
    rc = enter(&s, SCHEMA_LEVEL_SCHEMA, JSON_ROOT);
    while (rc == 0 && s.depth > 0)
        rc = step(&s);
    if (rc != 0) { /* Finish asks for what was begun to be ended. */
        json_deinit(&s.j);
        buf_deinit(&s.out);
        return rc;
    }
    return schema_close(&s.j, &s.w, &s.out, arena, out);
}
