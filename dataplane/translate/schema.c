#include "dataplane/translate/schema.h"

#include "common/json/json.h"
#include "common/json/json_writer.h"
#include "dataplane/translate/schema_internal.h"

int schema_open(struct json *j, struct str schema)
{
    json_init(j, JSON_NODES_MAX);
    int rc = json_parse(j, schema, NULL);
    if (rc == 0 && json_kind(j, JSON_ROOT) != JSON_OBJECT)
        rc = ERR_INVALID;
    if (rc != 0)
        json_deinit(j);
    return rc == 0 || rc == ERR_NOMEM ? rc : ERR_INVALID;
}

int schema_close(struct json *j, struct json_writer *w, struct buf *b, struct arena *arena,
                 struct str *out)
{
    int rc = json_writer_finish(w);
    if (rc == ERR_LIMIT)
        rc = ERR_TOO_LARGE;
    if (rc == 0) {
        struct str text = arena_copy(arena, buf_str(b));
        if (text.data == NULL)
            rc = ERR_TOO_LARGE;
        else
            *out = text;
    }
    json_deinit(j);
    buf_deinit(b);
    return rc;
}

bool schema_is_type(const struct json *j, uint32_t node, struct str type)
{
    uint32_t value = json_get(j, node, STR("type")), at = 0, element;
    if (json_kind(j, value) == JSON_STRING)
        return json_string_is(j, value, type);
    while (json_next_element(j, value, &at, &element))
        if (json_string_is(j, element, type))
            return true;
    return false;
}

int tr_schema_object(struct str schema, struct arena *arena, struct str *out)
{
    struct json j;
    if (schema.len == 0) {
        *out = STR("{\"type\":\"object\",\"properties\":{}}");
        return 0;
    }
    int rc = schema_open(&j, schema);
    if (rc != 0)
        return rc;
    if (json_kind(&j, json_get(&j, JSON_ROOT, STR("type"))) == JSON_STRING) {
        *out = schema;
        json_deinit(&j);
        return 0;
    }
    struct buf b;
    struct json_writer w;
    buf_init(&b, TR_SCHEMA_BYTES_MAX);
    json_writer_init(&w, &b);
    json_writer_begin_object(&w);
    json_writer_key(&w, "type");
    json_writer_text(&w, "object");
    uint32_t at = 0, key, value;
    struct str name;
    while (rc == 0 && json_next_member(&j, JSON_ROOT, &at, &key, &value)) {
        if (json_string_is(&j, key, STR("type")))
            continue;
        rc = json_text(&j, key, arena, &name);
        if (rc == 0)
            json_writer_key_str(&w, name);
        if (rc == 0)
            json_writer_raw(&w, json_raw(&j, value));
    }
    if (rc != 0) {
        json_deinit(&j);
        buf_deinit(&b);
        return rc;
    }
    json_writer_end_object(&w);
    return schema_close(&j, &w, &b, arena, out);
}
