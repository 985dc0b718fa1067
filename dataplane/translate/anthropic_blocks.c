/* Blocks of a caller's Messages body as parts. What a block of one type becomes depends on nothing
 * around it; a document that holds blocks becomes as many parts. */
#include "dataplane/translate/anthropic_internal.h"

#include "dataplane/translate/seal.h"

static const char *const no_block = "a block of this type cannot be translated";
static const char *const no_file =
    "a file's id is known only to the provider that holds the file: give it by value or by address";

static bool type_is(const struct tr_reading *r, uint32_t node, struct str type)
{
    return tr_says(r, tr_member(r, node, STR("type")), type);
}

/* The blocks that stand for a document, or JSON_NONE. */
static uint32_t document_blocks(const struct tr_reading *r, uint32_t block)
{
    uint32_t source = tr_member(r, block, STR("source"));
    uint32_t content = tr_member(r, source, STR("content"));
    return type_is(r, block, STR("document")) && json_kind(r->json, content) == JSON_ARRAY
               ? content
               : JSON_NONE;
}

/* Of a search result: its texts. */
static uint32_t search_blocks(const struct tr_reading *r, uint32_t block)
{
    uint32_t content = tr_member(r, block, STR("content"));
    return type_is(r, block, STR("search_result")) && json_kind(r->json, content) == JSON_ARRAY
               ? content
               : JSON_NONE;
}

static uint32_t blocks_within(const struct tr_reading *r, uint32_t block)
{
    uint32_t inner = document_blocks(r, block);
    return inner != JSON_NONE ? inner : search_blocks(r, block);
}

uint32_t anthropic_count_parts(const struct tr_reading *r, uint32_t content)
{
    uint32_t block, inner, count = 0;
    if (json_kind(r->json, content) != JSON_ARRAY)
        return 1;
    for (uint32_t at = 0; json_next_element(r->json, content, &at, &block);) {
        inner = blocks_within(r, block);
        count += inner != JSON_NONE ? json_count(r->json, inner) : 1;
    }
    return count;
}

static int read_text(struct tr_reading *r, uint32_t block, struct tr_part *part)
{
    part->kind = TR_PART_TEXT;
    if (json_count(r->json, tr_member(r, block, STR("citations"))) > 0) {
        int rc = tr_reading_unknown(r, "citations");
        if (rc != 0)
            return rc;
    }
    return tr_need_text(r, block, STR("text"), &part->text);
}

/* "source" by value, by address or by id. */
static int read_source(struct tr_reading *r, uint32_t block, struct tr_media *media)
{
    uint32_t source = tr_member(r, block, STR("source"));
    if (type_is(r, source, STR("base64"))) {
        int rc = tr_take_text(r, tr_member(r, source, STR("media_type")), &media->mime);
        return rc == 0 ? tr_need_text(r, source, STR("data"), &media->base64) : rc;
    }
    if (type_is(r, source, STR("url")))
        return tr_need_text(r, source, STR("url"), &media->url);
    if (type_is(r, source, STR("file")))
        return tr_reading_refuse(r, source, no_file);
    return tr_reading_refuse(r, source == JSON_NONE ? block : source, no_block);
}

static int read_image(struct tr_reading *r, uint32_t block, struct tr_part *part)
{
    part->kind = TR_PART_IMAGE;
    return read_source(r, block, &part->media);
}

/* A document that is text is one: the title first, if there is one. */
static int read_plain_document(struct tr_reading *r, uint32_t block, struct str data,
                               struct tr_part *part)
{
    struct str title = STR_NULL;
    int rc = tr_take_text(r, tr_member(r, block, STR("title")), &title);
    part->kind = TR_PART_TEXT;
    part->text = data;
    if (rc != 0 || title.len == 0)
        return rc;
    char *joined = arena_printf(r->arena, "%.*s\n\n%.*s", STR_ARG(title), STR_ARG(data));
    if (joined == NULL)
        return ERR_NOMEM;
    part->text = (struct str){joined, title.len + 2 + data.len};
    return 0;
}

static int read_document(struct tr_reading *r, uint32_t block, struct tr_part *part)
{
    uint32_t source = tr_member(r, block, STR("source"));
    struct str data;
    if (type_is(r, source, STR("text")) || type_is(r, source, STR("content"))) {
        struct str key = type_is(r, source, STR("text")) ? STR("data") : STR("content");
        int rc = tr_need_text(r, source, key, &data);
        return rc == 0 ? read_plain_document(r, block, data, part) : rc;
    }
    part->kind = TR_PART_FILE;
    int rc = tr_take_text(r, tr_member(r, block, STR("title")), &part->media.name);
    return rc == 0 ? read_source(r, block, &part->media) : rc;
}

/* An unsealed signature in this dialect is of a vendor whose dialect it is. */
static void take_seal(struct str *io_value, struct tr_reasoning *out)
{
    *io_value = tr_seal_take(*io_value, &out->vendor, &out->maker);
    if (out->vendor == DIALECTS && io_value->len > 0)
        out->vendor = DIALECT_ANTHROPIC;
}

static int read_thinking(struct tr_reading *r, uint32_t block, struct tr_part *part)
{
    part->kind = TR_PART_REASONING;
    int rc = tr_need_text(r, block, STR("thinking"), &part->reasoning.text);
    if (rc == 0)
        rc = tr_take_text(r, tr_member(r, block, STR("signature")), &part->reasoning.signature);
    if (rc == 0)
        take_seal(&part->reasoning.signature, &part->reasoning);
    return rc;
}

static int read_redacted(struct tr_reading *r, uint32_t block, struct tr_part *part)
{
    part->kind = TR_PART_REASONING;
    int rc = tr_need_text(r, block, STR("data"), &part->reasoning.opaque);
    if (rc == 0)
        take_seal(&part->reasoning.opaque, &part->reasoning);
    return rc;
}

static int read_use(struct tr_reading *r, uint32_t block, struct tr_part *part)
{
    part->kind = TR_PART_CALL;
    int rc = tr_need_text(r, block, STR("id"), &part->call.id);
    if (rc == 0)
        rc = tr_need_text(r, block, STR("name"), &part->call.name);
    if (rc == 0)
        rc = tr_take_object(r, tr_member(r, block, STR("input")), &part->call.arguments);
    return rc;
}

static int read_within(struct tr_reading *r, uint32_t content, struct tr_part *parts,
                       uint32_t *io_at);

/* A result holds a string, or texts, images and documents. */
static int read_result(struct tr_reading *r, uint32_t block, struct tr_part *part)
{
    uint32_t content = tr_member(r, block, STR("content"));
    part->kind = TR_PART_RESULT;
    int rc = tr_need_text(r, block, STR("tool_use_id"), &part->result.call_id);
    if (rc == 0)
        rc = tr_take_bool(r, tr_member(r, block, STR("is_error")), &part->result.is_error);
    if (rc != 0 || !tr_is_given(r, content))
        return rc;
    struct tr_part *parts = tr_make_parts(r, anthropic_count_parts(r, content), content, &rc);
    if (parts == NULL)
        return rc;
    part->result.parts = parts;
    return read_within(r, content, parts, &part->result.part_count);
}

enum where { IN_ASSISTANT = 1, IN_USER = 2, IN_RESULT = 4 };
static const struct block_type {
    struct str name;
    unsigned where;
    int (*read)(struct tr_reading *r, uint32_t block, struct tr_part *part);
} block_types[] = {
    {{"text", 4}, IN_ASSISTANT | IN_USER | IN_RESULT, read_text},
    {{"tool_use", 8}, IN_ASSISTANT, read_use},
    {{"tool_result", 11}, IN_USER, read_result},
    {{"thinking", 8}, IN_ASSISTANT, read_thinking},
    {{"redacted_thinking", 17}, IN_ASSISTANT, read_redacted},
    {{"image", 5}, IN_USER | IN_RESULT, read_image},
    {{"document", 8}, IN_USER | IN_RESULT, read_document},
};

static int read_block(struct tr_reading *r, uint32_t block, enum where where, struct tr_part *part)
{
    uint32_t type = tr_member(r, block, STR("type"));
    for (size_t i = 0; i < sizeof block_types / sizeof block_types[0]; i++)
        if (tr_says(r, type, block_types[i].name) && (block_types[i].where & where) != 0) {
            int rc = block_types[i].read(r, block, part);
            return rc == 0
                       ? tr_take_cache(r, tr_member(r, block, STR("cache_control")), &part->cache)
                       : rc;
        }
    return tr_reading_refuse(r, type == JSON_NONE ? block : type, no_block);
}

static int read_string(struct tr_reading *r, uint32_t content, struct tr_part *part)
{
    part->kind = TR_PART_TEXT;
    if (json_kind(r->json, content) != JSON_STRING)
        return tr_reading_refuse(r, content, NULL);
    return tr_take_text(r, content, &part->text);
}

/* As many parts as there are blocks: one that would be more is refused. */
static int read_leaves(struct tr_reading *r, uint32_t array, struct tr_part *parts, uint32_t *io_at)
{
    uint32_t block;
    int rc = 0;
    for (uint32_t at = 0; rc == 0 && json_next_element(r->json, array, &at, &block);)
        rc = read_block(r, block, IN_RESULT, &parts[(*io_at)++]);
    return rc;
}

/* What a result holds; as anthropic_count_parts counts. */
static int read_within(struct tr_reading *r, uint32_t content, struct tr_part *parts,
                       uint32_t *io_at)
{
    uint32_t block;
    int rc = 0;
    if (json_kind(r->json, content) != JSON_ARRAY)
        return read_string(r, content, &parts[(*io_at)++]);
    for (uint32_t at = 0; rc == 0 && json_next_element(r->json, content, &at, &block);) {
        uint32_t inner = blocks_within(r, block);
        rc = inner != JSON_NONE ? read_leaves(r, inner, parts, io_at)
                                : read_block(r, block, IN_RESULT, &parts[(*io_at)++]);
    }
    return rc;
}

/* A document or search result in a user's turn; its mark is that of its last part. */
static int read_opened(struct tr_reading *r, uint32_t block, uint32_t inner, struct tr_part *parts,
                       uint32_t *io_at)
{
    uint32_t from = *io_at;
    int rc = read_leaves(r, inner, parts, io_at);
    if (rc != 0 || *io_at == from)
        return rc;
    return tr_take_cache(r, tr_member(r, block, STR("cache_control")), &parts[*io_at - 1].cache);
}

int anthropic_read_blocks(struct tr_reading *r, uint32_t content, bool results, bool assistant,
                          struct tr_part *parts, uint32_t *io_at)
{
    enum where where = assistant ? IN_ASSISTANT : IN_USER;
    uint32_t block;
    int rc = 0;
    if (json_kind(r->json, content) != JSON_ARRAY)
        return read_string(r, content, &parts[(*io_at)++]);
    for (uint32_t at = 0; rc == 0 && json_next_element(r->json, content, &at, &block);) {
        if (!assistant && type_is(r, block, STR("tool_result")) != results)
            continue;
        uint32_t inner = assistant ? JSON_NONE : blocks_within(r, block);
        rc = inner != JSON_NONE ? read_opened(r, block, inner, parts, io_at)
                                : read_block(r, block, where, &parts[(*io_at)++]);
    }
    return rc;
}
