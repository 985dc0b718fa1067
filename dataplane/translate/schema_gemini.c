#include <string.h>

#include "dataplane/translate/schema.h"
#include "dataplane/translate/schema_internal.h"

#define HOPS_MAX          64U  /* References of references. */
#define REQUIRED_MAX      512U /* Names that are checked against the properties. */
#define POINTER_BYTES_MAX 256U /* Of one step of a reference. */

struct gemini {
    struct json j;
    struct json_writer w;
    struct buf out;
    struct arena *arena;
    struct schema_frame stack[SCHEMA_DEPTH_MAX];
    uint32_t depth;
    uint32_t steps;
};

/* A schema with references and wrappers taken off. */
struct bare {
    uint32_t node;
    uint32_t description; /* Of the outermost that had one. */
    bool nullable;
};

static bool is_null_schema(const struct json *j, uint32_t node)
{
    return json_string_is(j, json_get(j, node, STR("type")), STR("null"));
}

static uint32_t choices_of(const struct json *j, uint32_t node)
{
    uint32_t list = json_get(j, node, STR("anyOf"));
    if (json_kind(j, list) != JSON_ARRAY)
        list = json_get(j, node, STR("oneOf"));
    return json_kind(j, list) == JSON_ARRAY ? list : JSON_NONE;
}

/* One step of a JSON pointer (RFC 6901): "~1" is '/', "~0" is '~'. */
static bool read_step(struct str step, char room[POINTER_BYTES_MAX], struct str *out)
{
    size_t len = 0;
    if (step.len > POINTER_BYTES_MAX)
        return false;
    for (size_t i = 0; i < step.len; i++) {
        char c = step.data[i];
        if (c == '~' && i + 1 < step.len && (step.data[i + 1] == '0' || step.data[i + 1] == '1'))
            c = step.data[++i] == '1' ? '/' : '~';
        room[len++] = c;
    }
    *out = (struct str){room, len};
    return true;
}

/* "#/$defs/address"; JSON_NONE: nothing in this text. */
static uint32_t follow(const struct json *j, struct str reference)
{
    uint32_t node = JSON_ROOT;
    struct str rest = reference, step, name;
    char room[POINTER_BYTES_MAX];
    if (str_is(reference, "#"))
        return node;
    if (!str_starts(reference, STR("#/")))
        return JSON_NONE;
    rest = str_slice(rest, 2, rest.len);
    for (bool more = true; more;) {
        uint64_t index;
        more = str_cut(rest, '/', &step, &rest);
        if (!read_step(step, room, &name))
            return JSON_NONE;
        if (json_kind(j, node) == JSON_ARRAY)
            node = str_parse_u64(name, UINT32_MAX, &index) == 0 ? json_at(j, node, (uint32_t)index)
                                                                : JSON_NONE;
        else
            node = json_get(j, node, name);
    }
    return json_kind(j, node) == JSON_OBJECT ? node : JSON_NONE;
}

/* The only one of the list that is not null; *out_nullable if there is null as well. JSON_NONE:
 * there are more, or none. */
static uint32_t only_choice(const struct json *j, uint32_t list, bool *out_nullable)
{
    uint32_t at = 0, element, only = JSON_NONE, count = 0;
    bool null = false;
    while (json_next_element(j, list, &at, &element)) {
        if (is_null_schema(j, element)) {
            null = true;
            continue;
        }
        only = element;
        count++;
    }
    if (null)
        *out_nullable = true;
    return count == 1 && json_kind(j, only) == JSON_OBJECT ? only : JSON_NONE;
}

static bool is_open(const struct gemini *g, uint32_t node)
{
    for (uint32_t i = 0; i < g->depth; i++)
        if (g->stack[i].level == SCHEMA_LEVEL_SCHEMA && g->stack[i].node == node)
            return true;
    return false;
}

static int bare_of(struct gemini *g, uint32_t node, struct bare *out)
{
    const struct json *j = &g->j;
    *out = (struct bare){node, JSON_NONE, false};
    for (uint32_t hops = 0;; hops++) {
        uint32_t told = json_get(j, out->node, STR("description"));
        if (out->description == JSON_NONE && json_kind(j, told) == JSON_STRING)
            out->description = told;
        uint32_t reference = json_get(j, out->node, STR("$ref")), next;
        struct str text;
        if (json_kind(j, reference) == JSON_STRING) {
            int rc = json_text(j, reference, g->arena, &text);
            if (rc != 0)
                return rc;
            next = follow(j, text);
            if (next == JSON_NONE)
                return ERR_UNSUPPORTED;
        } else {
            next = only_choice(j, choices_of(j, out->node), &out->nullable);
            bool null = false;
            if (next == JSON_NONE)
                next = only_choice(j, json_get(j, out->node, STR("allOf")), &null);
        }
        if (next == JSON_NONE)
            break;
        if (hops == HOPS_MAX)
            return ERR_UNSUPPORTED;
        out->node = next;
    }
    return is_open(g, out->node) ? ERR_UNSUPPORTED : 0;
}

static int put_text(struct gemini *g, const char *key, uint32_t node)
{
    struct str text;
    if (json_kind(&g->j, node) != JSON_STRING)
        return 0;
    int rc = json_text(&g->j, node, g->arena, &text);
    if (rc != 0)
        return rc;
    json_writer_key(&g->w, key);
    json_writer_string(&g->w, text);
    return 0;
}

/* Values as strings; null is no value. */
static int put_value(struct gemini *g, uint32_t node)
{
    struct str text = json_raw(&g->j, node);
    if (json_kind(&g->j, node) == JSON_NULL)
        return 0;
    int rc = json_kind(&g->j, node) == JSON_STRING ? json_text(&g->j, node, g->arena, &text) : 0;
    if (rc == 0)
        json_writer_string(&g->w, text);
    return rc;
}

/* enum or const, with the type that goes with it. False: there is neither. */
static int put_enum(struct gemini *g, uint32_t node, bool *io_nullable, bool *out_any)
{
    const struct json *j = &g->j;
    uint32_t list = json_get(j, node, STR("enum")), one = json_get(j, node, STR("const"));
    uint32_t at = 0, element;
    bool others = false, values = false;
    int rc = 0;
    *out_any = false;
    if (json_kind(j, list) == JSON_ARRAY) {
        while (json_next_element(j, list, &at, &element)) {
            bool null = json_kind(j, element) == JSON_NULL;
            *io_nullable |= null;
            values |= !null;
            others |= !null && json_kind(j, element) != JSON_STRING;
        }
    } else if (one != JSON_NONE) {
        values = json_kind(j, one) != JSON_NULL;
        *io_nullable |= !values;
        others = values && json_kind(j, one) != JSON_STRING;
    }
    if (!values)
        return 0;
    *out_any = true;
    json_writer_key(&g->w, "type");
    json_writer_text(&g->w, "string");
    if (others) {
        json_writer_key(&g->w, "format");
        json_writer_text(&g->w, "enum");
    }
    json_writer_key(&g->w, "enum");
    json_writer_begin_array(&g->w);
    at = 0;
    if (json_kind(j, list) == JSON_ARRAY)
        while (rc == 0 && json_next_element(j, list, &at, &element))
            rc = put_value(g, element);
    else
        rc = put_value(g, one);
    json_writer_end_array(&g->w);
    return rc;
}

/* type, which may be a list there and is one word here. */
static void put_type(struct gemini *g, uint32_t node, bool *io_nullable)
{
    const struct json *j = &g->j;
    uint32_t type = json_get(j, node, STR("type")), at = 0, element, only = JSON_NONE, count = 0;
    if (json_kind(j, type) == JSON_STRING) {
        json_writer_key(&g->w, "type");
        json_writer_raw(&g->w, json_raw(j, type));
        return;
    }
    while (json_next_element(j, type, &at, &element)) {
        if (json_string_is(j, element, STR("null"))) {
            *io_nullable = true;
            continue;
        }
        only = element;
        count++;
    }
    if (count == 1) {
        json_writer_key(&g->w, "type");
        json_writer_raw(&g->w, json_raw(j, only));
    } else if (count > 1 && choices_of(j, node) == JSON_NONE) {
        json_writer_key(&g->w, "anyOf");
        json_writer_begin_array(&g->w);
        at = 0;
        while (json_next_element(j, type, &at, &element)) {
            if (json_string_is(j, element, STR("null")))
                continue;
            json_writer_begin_object(&g->w);
            json_writer_key(&g->w, "type");
            json_writer_raw(&g->w, json_raw(j, element));
            json_writer_end_object(&g->w);
        }
        json_writer_end_array(&g->w);
    } else if (count == 0 && json_kind(j, json_get(j, node, STR("properties"))) == JSON_OBJECT) {
        json_writer_key(&g->w, "type");
        json_writer_text(&g->w, "object");
    } else if (count == 0 && json_kind(j, json_get(j, node, STR("items"))) == JSON_OBJECT) {
        json_writer_key(&g->w, "type");
        json_writer_text(&g->w, "array");
    }
}

/* Those that are among the properties: others are refused. */
static int put_required(struct gemini *g, uint32_t node)
{
    const struct json *j = &g->j;
    uint32_t list = json_get(j, node, STR("required")), at = 0, element;
    uint32_t properties = json_get(j, node, STR("properties"));
    struct str name;
    int rc = 0;
    if (json_count(j, list) == 0 || json_count(j, properties) == 0)
        return 0;
    bool all = json_count(j, list) > REQUIRED_MAX || json_count(j, properties) > REQUIRED_MAX;
    json_writer_key(&g->w, "required");
    json_writer_begin_array(&g->w);
    while (rc == 0 && json_next_element(j, list, &at, &element)) {
        rc = json_kind(j, element) == JSON_STRING ? json_text(j, element, g->arena, &name)
                                                  : ERR_UNSUPPORTED;
        if (rc == 0 && (all || json_get(j, properties, name) != JSON_NONE))
            json_writer_string(&g->w, name);
    }
    json_writer_end_array(&g->w);
    return rc;
}

static void put_format(struct gemini *g, uint32_t node)
{
    static const struct str known[] = {{"date-time", 9}, {"enum", 4},  {"float", 5},
                                       {"double", 6},    {"int32", 5}, {"int64", 5}};
    uint32_t format = json_get(&g->j, node, STR("format"));
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (json_string_is(&g->j, format, known[i])) {
            json_writer_key(&g->w, "format");
            json_writer_string(&g->w, known[i]);
        }
}

/* What stands in an OpenAPI schema as it does here. */
static void put_plain(struct gemini *g, uint32_t node)
{
    static const char *const kept[] = {
        "title",     "minimum", "maximum",       "minItems",      "maxItems",        "minLength",
        "maxLength", "pattern", "minProperties", "maxProperties", "propertyOrdering"};
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        uint32_t value = json_get(&g->j, node, str_from(kept[i]));
        if (value == JSON_NONE)
            continue;
        json_writer_key(&g->w, kept[i]);
        json_writer_raw(&g->w, json_raw(&g->j, value));
    }
}

/* All of a schema but what holds schemas itself. */
static int put_keywords(struct gemini *g, const struct bare *bare)
{
    bool nullable = bare->nullable, values;
    int rc = put_text(g, "description", bare->description);
    if (rc == 0)
        rc = put_enum(g, bare->node, &nullable, &values);
    if (rc != 0)
        return rc;
    if (!values) {
        put_type(g, bare->node, &nullable);
        put_format(g, bare->node);
    }
    if (json_kind(&g->j, json_get(&g->j, bare->node, STR("nullable"))) == JSON_TRUE)
        nullable = true;
    if (nullable) {
        json_writer_key(&g->w, "nullable");
        json_writer_bool(&g->w, true);
    }
    put_plain(g, bare->node);
    return put_required(g, bare->node);
}

static int push(struct gemini *g, enum schema_level level, uint32_t node)
{
    if (g->depth == SCHEMA_DEPTH_MAX || ++g->steps > SCHEMA_STEPS_MAX)
        return ERR_TOO_LARGE;
    g->stack[g->depth++] = (struct schema_frame){.level = level, .node = node};
    if (level == SCHEMA_LEVEL_LIST)
        json_writer_begin_array(&g->w);
    else
        json_writer_begin_object(&g->w);
    return 0;
}

static int enter_schema(struct gemini *g, uint32_t node)
{
    struct bare bare;
    if (json_kind(&g->j, node) != JSON_OBJECT) { /* true: anything. */
        json_writer_raw(&g->w, STR("{}"));
        return 0;
    }
    int rc = bare_of(g, node, &bare);
    if (rc == 0)
        rc = push(g, SCHEMA_LEVEL_SCHEMA, bare.node);
    return rc == 0 ? put_keywords(g, &bare) : rc;
}

/* The parts of a schema that hold others, one after the other: f->at counts them. */
static int step_schema(struct gemini *g, struct schema_frame *f)
{
    const struct json *j = &g->j;
    uint32_t value;
    switch (f->at++) {
    case 0:
        value = json_get(j, f->node, STR("properties"));
        if (json_count(j, value) == 0 || json_kind(j, value) != JSON_OBJECT)
            return 0;
        json_writer_key(&g->w, "properties");
        return push(g, SCHEMA_LEVEL_MAP, value);
    case 1:
        value = json_get(j, f->node, STR("items"));
        if (json_kind(j, value) != JSON_OBJECT && !schema_is_type(j, f->node, STR("array")))
            return 0;
        json_writer_key(&g->w, "items");
        if (json_kind(j, value) == JSON_OBJECT)
            return enter_schema(g, value);
        json_writer_raw(&g->w, STR("{\"type\":\"string\"}"));
        return 0;
    case 2:
        value = choices_of(j, f->node);
        if (json_count(j, value) == 0)
            return 0;
        json_writer_key(&g->w, "anyOf");
        return push(g, SCHEMA_LEVEL_LIST, value);
    case 3:
        value = json_get(j, f->node, STR("allOf"));
        if (json_kind(j, value) != JSON_ARRAY || json_count(j, value) < 2)
            return 0;
        json_writer_key(&g->w, "allOf");
        return push(g, SCHEMA_LEVEL_LIST, value);
    default:
        break;
    }
    g->depth--;
    json_writer_end_object(&g->w);
    return 0;
}

static int step(struct gemini *g)
{
    struct schema_frame *f = &g->stack[g->depth - 1];
    uint32_t key, value;
    struct str name;
    int rc;
    switch (f->level) {
    case SCHEMA_LEVEL_SCHEMA:
        return step_schema(g, f);
    case SCHEMA_LEVEL_MAP:
        if (json_next_member(&g->j, f->node, &f->at, &key, &value)) {
            rc = json_text(&g->j, key, g->arena, &name);
            if (rc != 0)
                return rc;
            json_writer_key_str(&g->w, name);
            return enter_schema(g, value);
        }
        json_writer_end_object(&g->w);
        break;
    case SCHEMA_LEVEL_LIST:
        while (json_next_element(&g->j, f->node, &f->at, &value))
            if (!is_null_schema(&g->j, value)) /* It made the schema nullable. */
                return enter_schema(g, value);
        json_writer_end_array(&g->w);
        break;
    }
    g->depth--;
    return 0;
}

static bool is_empty_object(const struct json *j)
{
    uint32_t properties = json_get(j, JSON_ROOT, STR("properties"));
    return json_get(j, JSON_ROOT, STR("$ref")) == JSON_NONE &&
           choices_of(j, JSON_ROOT) == JSON_NONE &&
           json_get(j, JSON_ROOT, STR("allOf")) == JSON_NONE && json_count(j, properties) == 0 &&
           json_get(j, JSON_ROOT, STR("items")) == JSON_NONE &&
           json_get(j, JSON_ROOT, STR("enum")) == JSON_NONE &&
           (json_get(j, JSON_ROOT, STR("type")) == JSON_NONE ||
            schema_is_type(j, JSON_ROOT, STR("object")));
}

int tr_schema_gemini(struct str schema, struct arena *arena, struct str *out)
{
    struct gemini g = {.arena = arena};
    if (schema.len == 0) {
        *out = STR("");
        return 0;
    }
    int rc = schema_open(&g.j, schema);
    if (rc != 0)
        return rc;
    if (is_empty_object(&g.j)) {
        json_deinit(&g.j);
        *out = STR("");
        return 0;
    }
    buf_init(&g.out, TR_SCHEMA_BYTES_MAX);
    json_writer_init(&g.w, &g.out);
    rc = enter_schema(&g, JSON_ROOT);
    while (rc == 0 && g.depth > 0)
        rc = step(&g);
    if (rc != 0) {
        json_deinit(&g.j);
        buf_deinit(&g.out);
        return rc;
    }
    return schema_close(&g.j, &g.w, &g.out, arena, out);
}
