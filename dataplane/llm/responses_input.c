/* The input of a Responses body, item by item: counted and weighed. An item of a kind that is not
 * known passes in its dialect and binds the call to it. */
#include "dataplane/llm/responses_internal.h"

#define SEALED_BYTES_A_TOKEN 5U /* Of encrypted_content: base64 of about four bytes. */

static bool type_is(const struct call_reading *r, uint32_t type, const char *name)
{
    return json_string_is(r->json, type, str_from(name));
}

/* ---- parts of a message, and of what a tool gave ---- */

static int read_text(struct call_reading *r, uint32_t part, const char *member)
{
    uint32_t text = json_get(r->json, part, str_from(member));
    if (json_kind(r->json, text) != JSON_STRING)
        return reading_bad(r, text == JSON_NONE ? part : text);
    reading_weigh(r, text);
    return 0;
}

static bool given(const struct call_reading *r, uint32_t node)
{
    return node != JSON_NONE && json_kind(r->json, node) != JSON_NULL;
}

/* A file by its id is one account's. */
static int read_file_id(struct call_reading *r, uint32_t part, bool *out_given)
{
    uint32_t id = json_get(r->json, part, STR("file_id"));
    *out_given = given(r, id);
    if (!*out_given)
        return 0;
    return json_kind(r->json, id) == JSON_STRING ? reading_bind(r, id) : reading_bad(r, id);
}

static int read_image(struct call_reading *r, uint32_t part)
{
    uint32_t url = json_get(r->json, part, STR("image_url"));
    uint32_t detail = json_get(r->json, part, STR("detail"));
    bool by_id;
    int rc = read_file_id(r, part, &by_id);
    if (rc != 0)
        return rc;
    if (given(r, url) ? json_kind(r->json, url) != JSON_STRING : !by_id)
        return reading_bad(r, url == JSON_NONE ? part : url);
    if (given(r, url))
        r->image_bytes += json_raw(r->json, url).len;
    r->call->images++;
    r->call->has_images = true;
    r->tokens_q8 +=
        256ULL * tokens_image(type_is(r, detail, "low") ? TOKENS_IMAGE_LOW : TOKENS_IMAGE_AUTO);
    return 0;
}

static int read_file(struct call_reading *r, uint32_t part)
{
    bool by_id;
    int rc = read_file_id(r, part, &by_id);
    r->call->input_elsewhere |= by_id || given(r, json_get(r->json, part, STR("file_url")));
    r->tokens_q8 += 256ULL * tokens_bytes(json_raw(r->json, part).len / 16);
    return rc;
}

static int read_part(struct call_reading *r, uint32_t part)
{
    uint32_t type = json_get(r->json, part, STR("type"));
    if (type_is(r, type, "input_text") || type_is(r, type, "output_text") ||
        type_is(r, type, "text") || type_is(r, type, "summary_text") ||
        type_is(r, type, "reasoning_text"))
        return read_text(r, part, "text");
    if (type_is(r, type, "refusal"))
        return read_text(r, part, "refusal");
    if (type_is(r, type, "input_image"))
        return read_image(r, part);
    if (type_is(r, type, "input_file") || type_is(r, type, "input_audio"))
        return read_file(r, part);
    return reading_bad(r, type == JSON_NONE ? part : type);
}

/* A text or parts. */
static int read_content(struct call_reading *r, uint32_t content, uint32_t item)
{
    uint32_t part;
    int rc = 0;
    if (json_kind(r->json, content) == JSON_STRING) {
        reading_weigh(r, content);
        return 0;
    }
    if (json_kind(r->json, content) != JSON_ARRAY)
        return reading_bad(r, content == JSON_NONE ? item : content);
    for (uint32_t at = 0; rc == 0 && json_next_element(r->json, content, &at, &part);)
        rc = read_part(r, part);
    return rc;
}

/* ---- items ---- */

static int read_message(struct call_reading *r, uint32_t item)
{
    uint32_t role = json_get(r->json, item, STR("role"));
    uint32_t content = json_get(r->json, item, STR("content"));
    if (type_is(r, role, "user")) {
        r->call->turns++;
        r->user_content = content;
    } else if (type_is(r, role, "system") || type_is(r, role, "developer")) {
        if (r->system_content == JSON_NONE)
            r->system_content = content;
    } else if (!type_is(r, role, "assistant")) {
        return reading_bad(r, role == JSON_NONE ? item : role);
    }
    return read_content(r, content, item);
}

static int read_call_item(struct call_reading *r, uint32_t item, const char *said)
{
    int rc = read_text(r, item, "name");
    return rc != 0 ? rc : read_text(r, item, said);
}

static int read_output_item(struct call_reading *r, uint32_t item)
{
    return read_content(r, json_get(r->json, item, STR("output")), item);
}

/* An id that we gave: what kind of item it names ("rs_"), or NULL. */
static const char *own_id(const struct call_reading *r, uint32_t item)
{
    static const char *const kinds[] = {"rs_" RESPONSES_OWN_ID, "msg_" RESPONSES_OWN_ID,
                                        "fc_" RESPONSES_OWN_ID, "ctc_" RESPONSES_OWN_ID};
    char head[8];
    size_t len = json_text_head(r->json, json_get(r->json, item, STR("id")), sizeof head, head);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (str_starts((struct str){head, len}, str_from(kinds[i])))
            return kinds[i];
    return NULL;
}

static int read_reasoning(struct call_reading *r, uint32_t item)
{
    uint32_t lists[] = {json_get(r->json, item, STR("summary")),
                        json_get(r->json, item, STR("content"))};
    uint32_t sealed = json_get(r->json, item, STR("encrypted_content"));
    int rc = 0;
    if (reading_is_sealed(r, sealed) || (!given(r, sealed) && own_id(r, item) != NULL))
        rc = reading_cut(r, item);
    for (size_t i = 0; i < 2 && rc == 0; i++)
        if (given(r, lists[i]))
            rc = read_content(r, lists[i], item);
    if (rc == 0 && given(r, sealed)) {
        if (json_kind(r->json, sealed) != JSON_STRING)
            return reading_bad(r, sealed);
        r->tokens_q8 += 256ULL * (json_raw(r->json, sealed).len / SEALED_BYTES_A_TOKEN);
    }
    return rc;
}

static int read_reference(struct call_reading *r, uint32_t item, uint32_t type)
{
    const char *own = own_id(r, item);
    if (own != NULL && own[0] == 'r')
        return reading_cut(r, item);
    if (own != NULL) {
        int rc = reading_refuse(r, CALL_BAD_FIELD, item,
                                "names an item that is not kept: send the item itself, which "
                                "clients do with store: false");
        r->refusal->not_kept = true;
        return rc;
    }
    r->call->input_elsewhere = true;
    return reading_bind(r, type == JSON_NONE ? item : type);
}

static int read_other(struct call_reading *r, uint32_t item, uint32_t type)
{
    r->tokens_q8 += tokens_text_q8(json_raw(r->json, item));
    return reading_bind(r, type);
}

static int read_item(struct call_reading *r, uint32_t item)
{
    if (json_kind(r->json, item) != JSON_OBJECT)
        return reading_bad(r, item);
    uint32_t type = json_get(r->json, item, STR("type"));
    bool untyped = !given(r, type);
    if (!untyped && json_kind(r->json, type) != JSON_STRING)
        return reading_bad(r, type);
    r->call->messages++;
    r->tokens_q8 += 256ULL * TOKENS_PER_MESSAGE;
    if (type_is(r, type, "message") ||
        (untyped && json_get(r->json, item, STR("role")) != JSON_NONE))
        return read_message(r, item);
    if (type_is(r, type, "function_call"))
        return read_call_item(r, item, "arguments");
    if (type_is(r, type, "custom_tool_call"))
        return read_call_item(r, item, "input");
    if (type_is(r, type, "function_call_output") || type_is(r, type, "custom_tool_call_output"))
        return read_output_item(r, item);
    if (type_is(r, type, "reasoning"))
        return read_reasoning(r, item);
    /* {"id"} alone is a reference. */
    if (untyped && json_kind(r->json, json_get(r->json, item, STR("id"))) != JSON_STRING)
        return reading_bad(r, item);
    return untyped || type_is(r, type, "item_reference") ? read_reference(r, item, type)
                                                         : read_other(r, item, type);
}

int responses_read_input(struct call_reading *r, uint32_t node)
{
    uint32_t item;
    int rc = 0;
    if (reading_null(r, node))
        return 0;
    r->call->dialogue = json_raw(r->json, node);
    if (json_kind(r->json, node) == JSON_STRING) {
        r->call->messages = r->call->turns = 1;
        r->user_content = node;
        r->tokens_q8 += 256ULL * TOKENS_PER_MESSAGE;
        reading_weigh(r, node);
        return 0;
    }
    if (json_kind(r->json, node) != JSON_ARRAY)
        return reading_bad(r, node);
    for (uint32_t at = 0; rc == 0 && json_next_element(r->json, node, &at, &item);)
        rc = read_item(r, item);
    return rc;
}
