/* What a response repeats of its request. Clients read little of it, but their types promise all;
 * long texts (instructions, tools) are repeated only as far as there is room for them. */
#include <string.h>

#include "common/json/json_writer.h"
#include "dataplane/translate/arguments.h"
#include "dataplane/translate/asking.h"
#include "dataplane/translate/effort.h"
#include "dataplane/translate/responses_internal.h"

#define ROOM_FOR_THE_REST 6144U /* Kept free of instructions and tools. */

static void put_number(struct json_writer *w, const char *key, int64_t value)
{
    json_writer_key(w, key);
    if (value == TR_UNSET)
        json_writer_null(w);
    else
        json_writer_fixed(w, value, TR_NUMBER_SCALE);
}

static void put_text(struct json_writer *w, const char *key, struct str text)
{
    json_writer_key(w, key);
    if (text.len > 0)
        json_writer_string(w, text);
    else
        json_writer_null(w);
}

static void put_whole(struct json_writer *w, const char *key, int64_t value)
{
    json_writer_key(w, key);
    if (value == TR_UNSET)
        json_writer_null(w);
    else
        json_writer_i64(w, value);
}

static void put_metadata(struct json_writer *w, const struct tr_request *q)
{
    json_writer_key(w, "metadata");
    json_writer_begin_object(w);
    for (uint32_t i = 0; i < q->metadata_count; i++) {
        json_writer_key_str(w, q->metadata[i].key);
        json_writer_string(w, q->metadata[i].value);
    }
    json_writer_end_object(w);
}

static void put_choice(struct json_writer *w, const struct tr_request *q)
{
    json_writer_key(w, "tool_choice");
    switch (q->tool_choice) {
    case TR_CHOICE_UNSET:
    case TR_CHOICE_AUTO:
        json_writer_text(w, "auto");
        return;
    case TR_CHOICE_NONE:
        json_writer_text(w, "none");
        return;
    case TR_CHOICE_REQUIRED:
        json_writer_text(w, "required");
        return;
    case TR_CHOICE_NAMED:
        break;
    }
    json_writer_begin_object(w);
    tr_put_text(w, "type", tr_names_custom(q) ? STR("custom") : STR("function"));
    tr_put_text(w, "name", q->tool_name);
    json_writer_end_object(w);
}

static void put_reasoning(struct json_writer *w, const struct tr_request *q)
{
    json_writer_key(w, "reasoning");
    json_writer_begin_object(w);
    put_text(w, "effort", str_from(tr_effort_name(q->effort)));
    put_text(w, "summary", q->think_shown == 1 ? STR("auto") : STR_NULL);
    json_writer_end_object(w);
}

static void put_format(struct json_writer *w, const struct tr_request *q, bool schema)
{
    json_writer_key(w, "text");
    json_writer_begin_object(w);
    json_writer_key(w, "format");
    json_writer_begin_object(w);
    switch (q->format) {
    case TR_FORMAT_TEXT:
        tr_put_text(w, "type", STR("text"));
        break;
    case TR_FORMAT_JSON:
        tr_put_text(w, "type", STR("json_object"));
        break;
    case TR_FORMAT_SCHEMA:
        tr_put_text(w, "type", STR("json_schema"));
        tr_put_text(w, "name", q->format_name.len > 0 ? q->format_name : STR("answer"));
        tr_put_text(w, "description", q->format_description);
        tr_put_raw(w, "schema", schema ? q->format_schema : STR("{}"));
        json_writer_key(w, "strict");
        json_writer_bool(w, q->format_strict == 1);
        break;
    }
    json_writer_end_object(w);
    tr_put_text(w, "verbosity", q->verbosity);
    json_writer_end_object(w);
}

static void put_custom(struct json_writer *w, const struct tr_tool *t)
{
    const bool grammar = t->grammar.len > 0;
    json_writer_begin_object(w);
    tr_put_text(w, "type", STR("custom"));
    tr_put_text(w, "name", t->name);
    put_text(w, "description", t->description);
    json_writer_key(w, "format");
    json_writer_begin_object(w);
    tr_put_text(w, "type", grammar ? STR("grammar") : STR("text"));
    tr_put_text(w, "syntax", grammar ? t->syntax : STR_NULL);
    tr_put_text(w, "definition", t->grammar);
    json_writer_end_object(w);
    json_writer_end_object(w);
}

static void put_tools(struct json_writer *w, const struct tr_request *q, bool all)
{
    json_writer_key(w, "tools");
    json_writer_begin_array(w);
    for (uint32_t i = 0; all && i < q->tool_count; i++) {
        const struct tr_tool *t = &q->tools[i];
        if (t->custom) {
            put_custom(w, t);
            continue;
        }
        json_writer_begin_object(w);
        tr_put_text(w, "type", STR("function"));
        tr_put_text(w, "name", t->name);
        put_text(w, "description", t->description);
        tr_put_raw(w, "parameters", t->schema.len > 0 ? t->schema : STR("{}"));
        json_writer_key(w, "strict");
        json_writer_bool(w, t->strict == 1);
        json_writer_end_object(w);
    }
    json_writer_end_array(w);
}

static size_t tools_bytes(const struct tr_request *q)
{
    size_t n = 0;
    for (uint32_t i = 0; i < q->tool_count; i++)
        n += 128 + q->tools[i].name.len + 2 * q->tools[i].description.len + q->tools[i].schema.len +
             2 * q->tools[i].grammar.len;
    return n;
}

/* Takes so many bytes of the room, if there are as many. */
static bool fits(size_t *io_room, size_t bytes)
{
    if (bytes > *io_room)
        return false;
    *io_room -= bytes;
    return true;
}

int tr_responses_print_echo(const struct tr_request *q, struct buf *out)
{
    struct json_writer w;
    const struct str instructions = q->system_apart > 0 ? q->system[0].text : STR_NULL;
    size_t begin = out->len, free = out->max - out->len;
    size_t room = free > ROOM_FOR_THE_REST ? free - ROOM_FOR_THE_REST : 0;
    const bool schema = fits(&room, q->format_schema.len);
    const bool tools = fits(&room, tools_bytes(q));
    const bool words = fits(&room, 2 * instructions.len);
    json_writer_init(&w, out);
    json_writer_begin_object(&w);
    put_text(&w, "instructions", words ? instructions : STR_NULL);
    put_metadata(&w, q);
    json_writer_key(&w, "parallel_tool_calls");
    json_writer_bool(&w, q->parallel != 0);
    put_number(&w, "temperature", q->temperature);
    put_choice(&w, q);
    put_tools(&w, q, tools);
    put_number(&w, "top_p", q->top_p);
    json_writer_key(&w, "background");
    json_writer_bool(&w, false);
    put_whole(&w, "max_output_tokens", q->max_output);
    put_text(&w, "previous_response_id", STR_NULL);
    put_reasoning(&w, q);
    tr_put_text(&w, "service_tier", STR("default"));
    json_writer_key(&w, "store");
    json_writer_bool(&w, false);
    put_format(&w, q, schema);
    tr_put_text(&w, "truncation", STR("disabled"));
    put_text(&w, "safety_identifier", q->user);
    put_text(&w, "prompt_cache_key", q->cache_key);
    json_writer_end_object(&w);
    int rc = json_writer_finish(&w);
    if (rc != 0)
        return rc;
    /* Members go into an object that is there already. */
    out->len -= 2;
    memmove(out->data + begin, out->data + begin + 1, out->len - begin);
    return 0;
}
