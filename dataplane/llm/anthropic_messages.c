/* The messages and the system of a Messages body: counted and weighed. A block of a type that is
 * not known is weighed by its bytes and passes. */
#include "dataplane/llm/anthropic_internal.h"

/* What a block holds in turn: tool results and documents hold blocks, which hold none. */
enum { LEVELS = 3 };

static void weigh_json(struct call_reading *r, uint32_t node)
{
    r->tokens_q8 += tokens_text_q8(json_raw(r->json, node));
    r->call->text_bytes += json_raw(r->json, node).len;
}

static int weigh_string(struct call_reading *r, uint32_t block, struct str key)
{
    uint32_t text = json_get(r->json, block, key);
    if (json_kind(r->json, text) != JSON_STRING)
        return reading_bad(r, text == JSON_NONE ? block : text);
    reading_weigh(r, text);
    return 0;
}

static int read_text(struct call_reading *r, uint32_t block)
{
    return weigh_string(r, block, STR("text"));
}

static int read_thinking(struct call_reading *r, uint32_t block)
{
    r->call->sealed |= anthropic_is_sealed(r->json, block);
    return weigh_string(r, block, STR("thinking"));
}

static int read_image(struct call_reading *r, uint32_t block)
{
    uint32_t source = json_get(r->json, block, STR("source"));
    if (json_kind(r->json, source) != JSON_OBJECT)
        return reading_bad(r, source == JSON_NONE ? block : source);
    uint32_t data = json_get(r->json, source, STR("data"));
    if (json_kind(r->json, data) == JSON_STRING)
        r->image_bytes += json_raw(r->json, data).len;
    r->call->images++;
    r->call->has_images = true;
    r->tokens_q8 += 256ULL * tokens_image(TOKENS_IMAGE_AUTO);
    return 0;
}

static int read_use(struct call_reading *r, uint32_t block)
{
    uint32_t name = json_get(r->json, block, STR("name"));
    uint32_t input = json_get(r->json, block, STR("input"));
    if (json_kind(r->json, name) != JSON_STRING)
        return reading_bad(r, name == JSON_NONE ? block : name);
    reading_weigh(r, name);
    if (input != JSON_NONE)
        weigh_json(r, input);
    return 0;
}

/* Bytes that are no text count by their size: PDFs, opaque results. */
static int read_blob(struct call_reading *r, uint32_t block)
{
    r->tokens_q8 += 256ULL * tokens_bytes(json_raw(r->json, block).len / 16);
    return 0;
}

static int read_redacted(struct call_reading *r, uint32_t block)
{
    r->call->sealed |= anthropic_is_sealed(r->json, block);
    return read_blob(r, block);
}

static int read_document(struct call_reading *r, uint32_t block)
{
    uint32_t source = json_get(r->json, block, STR("source"));
    if (json_kind(r->json, source) != JSON_OBJECT)
        return reading_bad(r, source == JSON_NONE ? block : source);
    if (json_string_is(r->json, json_get(r->json, source, STR("type")), STR("text")))
        return weigh_string(r, source, STR("data"));
    return read_blob(r, block);
}

static const struct block_type {
    struct str name;
    int (*read)(struct call_reading *r, uint32_t block);
} block_types[] = {
    {{"text", 4}, read_text},         {{"tool_use", 8}, read_use},
    {{"thinking", 8}, read_thinking}, {{"redacted_thinking", 17}, read_redacted},
    {{"image", 5}, read_image},       {{"document", 8}, read_document},
};

static int read_block(struct call_reading *r, uint32_t block)
{
    uint32_t type = json_get(r->json, block, STR("type"));
    struct str name = json_plain(r->json, type);
    if (json_kind(r->json, type) != JSON_STRING)
        return reading_bad(r, type == JSON_NONE ? block : type);
    for (size_t i = 0; i < sizeof block_types / sizeof block_types[0]; i++)
        if (reading_name_is(r->json, type, name, block_types[i].name))
            return block_types[i].read(r, block);
    return read_blob(r, block);
}

/* Where a block's own blocks are, if it has some; JSON_NONE. */
static uint32_t inner_of(const struct json *j, uint32_t block)
{
    uint32_t type = json_get(j, block, STR("type"));
    if (json_string_is(j, type, STR("tool_result")))
        return json_get(j, block, STR("content"));
    if (json_string_is(j, type, STR("document")))
        return json_get(j, json_get(j, block, STR("source")), STR("content"));
    if (json_string_is(j, type, STR("search_result")))
        return json_get(j, block, STR("content"));
    return JSON_NONE;
}

/* A string, or blocks and what is in them. */
static int read_content(struct call_reading *r, uint32_t content)
{
    struct {
        uint32_t array;
        uint32_t at;
    } levels[LEVELS] = {{content, 0}};
    uint32_t depth = 1, block;
    if (json_kind(r->json, content) == JSON_STRING) {
        reading_weigh(r, content);
        return 0;
    }
    if (json_kind(r->json, content) != JSON_ARRAY)
        return reading_bad(r, content);
    while (depth > 0) {
        if (!json_next_element(r->json, levels[depth - 1].array, &levels[depth - 1].at, &block)) {
            depth--;
            continue;
        }
        uint32_t inner = inner_of(r->json, block);
        int rc = 0;
        if (json_kind(r->json, inner) == JSON_STRING)
            reading_weigh(r, inner);
        else if (json_kind(r->json, inner) != JSON_ARRAY || depth == LEVELS)
            rc = read_block(r, block);
        else {
            levels[depth].array = inner;
            levels[depth++].at = 0;
        }
        if (rc != 0)
            return rc;
    }
    return 0;
}

bool anthropic_has_own_words(const struct json *j, uint32_t content)
{
    uint32_t block;
    if (json_kind(j, content) == JSON_STRING)
        return true;
    for (uint32_t at = 0; json_next_element(j, content, &at, &block);)
        if (!json_string_is(j, json_get(j, block, STR("type")), STR("tool_result")))
            return true;
    return false;
}

static int read_message(struct call_reading *r, uint32_t message)
{
    if (json_kind(r->json, message) != JSON_OBJECT)
        return reading_bad(r, message);
    uint32_t role = json_get(r->json, message, STR("role"));
    uint32_t content = json_get(r->json, message, STR("content"));
    struct str name = json_plain(r->json, role);
    r->call->messages++;
    r->tokens_q8 += 256ULL * TOKENS_PER_MESSAGE;
    if (content == JSON_NONE)
        return reading_bad(r, message);
    if (reading_name_is(r->json, role, name, STR("user"))) {
        if (anthropic_has_own_words(r->json, content)) {
            r->call->turns++;
            r->user_content = content;
        }
    } else if (reading_name_is(r->json, role, name, STR("system"))) {
        if (r->system_content == JSON_NONE)
            r->system_content = content;
    } else if (!reading_name_is(r->json, role, name, STR("assistant"))) {
        return reading_bad(r, role == JSON_NONE ? message : role);
    }
    return read_content(r, content);
}

int anthropic_read_messages(struct call_reading *r, uint32_t node)
{
    return reading_messages(r, node, read_message);
}

/* Before or after the messages: it is the first system text either way. */
int anthropic_read_system(struct call_reading *r, uint32_t node)
{
    if (reading_null(r, node))
        return 0;
    if (json_count(r->json, node) > 0 || json_text_length(r->json, node) > 0)
        r->system_content = node;
    r->tokens_q8 += 256ULL * TOKENS_PER_MESSAGE;
    return read_content(r, node);
}
