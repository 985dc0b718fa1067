/* The messages of a body: counted, weighed, and the texts that features are made of. */
#include "common/route/features.h"
#include "dataplane/llm/openai_internal.h"

/* Inside of a string's quotes, still escaped: good enough to be weighed. */
static struct str inside(const struct openai_reading *r, uint32_t node)
{
    struct str raw = json_raw(r->json, node);
    return str_slice(raw, 1, raw.len - 1);
}

static void weigh(struct openai_reading *r, uint32_t string)
{
    r->tokens_q8 += tokens_text_q8(inside(r, string));
    r->call->text_bytes += json_text_length(r->json, string);
}

static int read_image(struct openai_reading *r, uint32_t part)
{
    uint32_t image = json_get(r->json, part, STR("image_url"));
    uint32_t detail = json_get(r->json, image, STR("detail"));
    enum tokens_image kind =
        json_string_is(r->json, detail, STR("low")) ? TOKENS_IMAGE_LOW : TOKENS_IMAGE_AUTO;
    uint32_t url = json_get(r->json, image, STR("url"));
    if (json_kind(r->json, url) != JSON_STRING)
        return openai_bad(r, image == JSON_NONE ? part : image);
    r->image_bytes += json_raw(r->json, url).len;
    r->call->images++;
    r->call->has_images = true;
    r->tokens_q8 += 256ULL * tokens_image(kind);
    return 0;
}

/* Bytes of a part that is not text count by their size: audio, files. */
static int read_blob(struct openai_reading *r, uint32_t part)
{
    r->tokens_q8 += 256ULL * tokens_bytes(json_raw(r->json, part).len / 16);
    return 0;
}

static int read_text(struct openai_reading *r, uint32_t part)
{
    uint32_t text = json_get(r->json, part, STR("text"));
    if (json_kind(r->json, text) != JSON_STRING)
        return openai_bad(r, text == JSON_NONE ? part : text);
    weigh(r, text);
    return 0;
}

static int read_refusal(struct openai_reading *r, uint32_t part)
{
    uint32_t text = json_get(r->json, part, STR("refusal"));
    if (json_kind(r->json, text) != JSON_STRING)
        return openai_bad(r, text == JSON_NONE ? part : text);
    weigh(r, text);
    return 0;
}

static const struct part_type {
    struct str name;
    int (*read)(struct openai_reading *r, uint32_t part);
} part_types[] = {
    {{"text", 4}, read_text},      {{"image_url", 9}, read_image}, {{"input_audio", 11}, read_blob},
    {{"file", 4}, read_blob},      {{"refusal", 7}, read_refusal}, {{"video_url", 9}, read_blob},
    {{"audio_url", 9}, read_blob},
};

static int read_part(struct openai_reading *r, uint32_t part)
{
    uint32_t type = json_get(r->json, part, STR("type"));
    struct str name = json_plain(r->json, type);
    for (size_t i = 0; i < sizeof part_types / sizeof part_types[0]; i++)
        if (openai_name_is(r->json, type, name, part_types[i].name))
            return part_types[i].read(r, part);
    return openai_bad(r, type == JSON_NONE ? part : type);
}

static int read_content(struct openai_reading *r, uint32_t content)
{
    uint32_t part;
    int rc = 0;
    switch (json_kind(r->json, content)) {
    case JSON_STRING:
        weigh(r, content);
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
    return openai_bad(r, content);
}

static const struct str roles[] = {{"system", 6},    {"developer", 9}, {"user", 4},
                                   {"assistant", 9}, {"tool", 4},      {"function", 8}};
enum { ROLE_SYSTEM, ROLE_DEVELOPER, ROLE_USER, ROLE_COUNT = 6 };

static int read_message(struct openai_reading *r, uint32_t message)
{
    if (json_kind(r->json, message) != JSON_OBJECT)
        return openai_bad(r, message);
    uint32_t role = json_get(r->json, message, STR("role"));
    unsigned kind = 0;
    struct str name = json_plain(r->json, role);
    while (kind < ROLE_COUNT && !openai_name_is(r->json, role, name, roles[kind]))
        kind++;
    if (kind == ROLE_COUNT)
        return openai_bad(r, role == JSON_NONE ? message : role);
    uint32_t content = json_get(r->json, message, STR("content"));
    r->call->messages++;
    r->tokens_q8 += 256ULL * TOKENS_PER_MESSAGE;
    if (kind == ROLE_USER) {
        r->call->turns++;
        r->user_content = content;
    } else if (kind <= ROLE_DEVELOPER && r->system_content == JSON_NONE) {
        r->system_content = content;
    }
    uint32_t calls = json_get(r->json, message, STR("tool_calls"));
    if (json_kind(r->json, calls) == JSON_ARRAY)
        r->tokens_q8 += tokens_text_q8(json_raw(r->json, calls)) / 2;
    return read_content(r, content);
}

int openai_read_messages(struct openai_reading *r, uint32_t node)
{
    uint32_t message;
    int rc = 0;
    if (json_kind(r->json, node) != JSON_ARRAY || json_count(r->json, node) == 0)
        return openai_bad(r, node);
    r->call->dialogue = json_raw(r->json, node);
    for (uint32_t at = 0; rc == 0 && json_next_element(r->json, node, &at, &message);)
        rc = read_message(r, message);
    return rc;
}

/* Walks the texts of a content: its string, or those of its parts. */
static bool next_text(const struct openai_reading *r, uint32_t content, uint32_t *io_at,
                      uint32_t *out_text)
{
    uint32_t part;
    if (json_kind(r->json, content) == JSON_STRING) {
        *out_text = content;
        return (*io_at)++ == 0;
    }
    while (json_next_element(r->json, content, io_at, &part)) {
        *out_text = json_get(r->json, part, STR("text"));
        if (json_kind(r->json, *out_text) == JSON_STRING)
            return true;
    }
    return false;
}

/* Of a text that is put together from pieces: where its ends go. */
struct ends {
    char *out;    /* head + tail bytes, or the whole. */
    size_t head;  /* Wanted of the first bytes ... */
    size_t tail;  /* ... and of the last. */
    size_t total; /* Of the whole text. */
    size_t at;
};

static void ends_add(struct ends *e, const struct json *j, uint32_t text)
{
    size_t len = json_text_length(j, text);
    size_t end = e->at + len, tail_from = e->total - e->tail;
    if (e->at < e->head && len > 0)
        (void)json_text_head(j, text, e->head - e->at, e->out + e->at);
    if (end > tail_from && len > 0) {
        size_t n = end - tail_from < len ? end - tail_from : len;
        (void)json_text_tail(j, text, n, e->out + e->head + (end - n - tail_from));
    }
    if (end < e->total) { /* Another follows. */
        if (end < e->head)
            e->out[end] = '\n';
        if (end >= tail_from)
            e->out[e->head + end - tail_from] = '\n';
        end++;
    }
    e->at = end;
}

/* The texts of a content with line ends between them, unescaped; of a long one that has to be
 * copied only the first `head` and last `tail` bytes. */
static int text_of(struct openai_reading *r, uint32_t content, size_t head, size_t tail,
                   struct str *out_text, uint64_t *out_total)
{
    struct ends e = {.head = head, .tail = tail};
    uint32_t text, first = JSON_NONE, count = 0;
    for (uint32_t at = 0; next_text(r, content, &at, &text); count++) {
        if (count == 0)
            first = text;
        e.total += json_text_length(r->json, text) + (count > 0);
    }
    *out_total = e.total;
    *out_text = STR_NULL;
    if (count == 0)
        return 0;
    if (count == 1 && (e.total <= head + tail || !json_is_escaped(r->json, first)))
        return json_text(r->json, first, r->arena, out_text);
    if (e.total <= head + tail) {
        e.head = e.total;
        e.tail = 0;
    }
    e.out = arena_alloc(r->arena, e.head + e.tail);
    if (e.out == NULL)
        return ERR_NOMEM;
    for (uint32_t at = 0; next_text(r, content, &at, &text);)
        ends_add(&e, r->json, text);
    *out_text = (struct str){.data = e.out, .len = e.head + e.tail};
    return 0;
}

bool openai_take_texts(struct openai_reading *r)
{
    enum { SYSTEM_HALF = FEATURES_SYSTEM_BYTES_MAX / 2 };
    uint64_t user_bytes;
    return text_of(r, r->user_content, FEATURES_TEXT_HEAD_BYTES, FEATURES_TAIL_BYTES,
                   &r->call->text, &user_bytes) == 0 &&
           text_of(r, r->system_content, SYSTEM_HALF, SYSTEM_HALF, &r->call->system,
                   &r->call->system_bytes) == 0;
}
