/* The messages of a body: counted and weighed. */
#include "dataplane/llm/openai_internal.h"

static int read_image(struct call_reading *r, uint32_t part)
{
    uint32_t image = json_get(r->json, part, STR("image_url"));
    uint32_t detail = json_get(r->json, image, STR("detail"));
    enum tokens_image kind =
        json_string_is(r->json, detail, STR("low")) ? TOKENS_IMAGE_LOW : TOKENS_IMAGE_AUTO;
    uint32_t url = json_get(r->json, image, STR("url"));
    if (json_kind(r->json, url) != JSON_STRING)
        return reading_bad(r, image == JSON_NONE ? part : image);
    r->image_bytes += json_raw(r->json, url).len;
    r->call->images++;
    r->call->has_images = true;
    r->tokens_q8 += 256ULL * tokens_image(kind);
    return 0;
}

/* Bytes of a part that is not text count by their size: audio, files. */
static int read_blob(struct call_reading *r, uint32_t part)
{
    r->tokens_q8 += 256ULL * tokens_bytes(json_raw(r->json, part).len / 16);
    return 0;
}

static int read_text(struct call_reading *r, uint32_t part)
{
    uint32_t text = json_get(r->json, part, STR("text"));
    if (json_kind(r->json, text) != JSON_STRING)
        return reading_bad(r, text == JSON_NONE ? part : text);
    reading_weigh(r, text);
    return 0;
}

static int read_refusal(struct call_reading *r, uint32_t part)
{
    uint32_t text = json_get(r->json, part, STR("refusal"));
    if (json_kind(r->json, text) != JSON_STRING)
        return reading_bad(r, text == JSON_NONE ? part : text);
    reading_weigh(r, text);
    return 0;
}

static const struct part_type {
    struct str name;
    int (*read)(struct call_reading *r, uint32_t part);
} part_types[] = {
    {{"text", 4}, read_text},      {{"image_url", 9}, read_image}, {{"input_audio", 11}, read_blob},
    {{"file", 4}, read_blob},      {{"refusal", 7}, read_refusal}, {{"video_url", 9}, read_blob},
    {{"audio_url", 9}, read_blob},
};

static int read_part(struct call_reading *r, uint32_t part)
{
    uint32_t type = json_get(r->json, part, STR("type"));
    struct str name = json_plain(r->json, type);
    for (size_t i = 0; i < sizeof part_types / sizeof part_types[0]; i++)
        if (reading_name_is(r->json, type, name, part_types[i].name))
            return part_types[i].read(r, part);
    return reading_bad(r, type == JSON_NONE ? part : type);
}

static int read_content(struct call_reading *r, uint32_t content)
{
    uint32_t part;
    int rc = 0;
    switch (json_kind(r->json, content)) {
    case JSON_STRING:
        reading_weigh(r, content);
        return 0;
    case JSON_ARRAY:
        for (uint32_t at = 0; rc == 0 && json_next_element(r->json, content, &at, &part);)
            rc = read_part(r, part);
        return rc;
    case JSON_MISSING: /* An assistant turn with tool calls alone. */
    case JSON_NULL:
        return 0;
    case JSON_FALSE:
    case JSON_TRUE:
    case JSON_NUMBER:
    case JSON_OBJECT:
        break;
    }
    return reading_bad(r, content);
}

/* The usual first. */
static const struct str roles[] = {{"user", 4},     {"assistant", 9}, {"tool", 4},
                                   {"function", 8}, {"system", 6},    {"developer", 9}};
enum { ROLE_USER, ROLE_SYSTEM = 4, ROLE_COUNT = 6 };

struct message {
    uint32_t role;
    uint32_t content;
    uint32_t tool_calls;
};

/* What is read of a message, with one look at each of its members. */
static struct message members_of(const struct json *j, uint32_t message)
{
    struct message m = {JSON_NONE, JSON_NONE, JSON_NONE};
    uint32_t key, value;
    for (uint32_t at = 0; json_next_member(j, message, &at, &key, &value);) {
        struct str name = json_plain(j, key);
        if (reading_name_is(j, key, name, STR("role")))
            m.role = value;
        else if (reading_name_is(j, key, name, STR("content")))
            m.content = value;
        else if (reading_name_is(j, key, name, STR("tool_calls")))
            m.tool_calls = value;
    }
    return m;
}

static int read_message(struct call_reading *r, uint32_t message)
{
    if (json_kind(r->json, message) != JSON_OBJECT)
        return reading_bad(r, message);
    const struct message m = members_of(r->json, message);
    unsigned kind = 0;
    struct str name = json_plain(r->json, m.role);
    while (kind < ROLE_COUNT && !reading_name_is(r->json, m.role, name, roles[kind]))
        kind++;
    if (kind == ROLE_COUNT)
        return reading_bad(r, m.role == JSON_NONE ? message : m.role);
    r->call->messages++;
    r->tokens_q8 += 256ULL * TOKENS_PER_MESSAGE;
    if (kind == ROLE_USER) {
        r->call->turns++;
        r->user_content = m.content;
    } else if (kind >= ROLE_SYSTEM && r->system_content == JSON_NONE) {
        r->system_content = m.content;
    }
    if (json_kind(r->json, m.tool_calls) == JSON_ARRAY)
        r->tokens_q8 += tokens_text_q8(json_raw(r->json, m.tool_calls)) / 2;
    return read_content(r, m.content);
}

int openai_read_messages(struct call_reading *r, uint32_t node)
{
    return reading_messages(r, node, read_message);
}
