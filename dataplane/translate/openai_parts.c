/* Parts of a message, in both of OpenAI's dialects: they differ in the names of kinds and in how
 * deep a value lies, and each is read wherever the other would have it; llm's read_call has refused
 * what is no kind of its own dialect. */
#include "dataplane/translate/media.h"
#include "dataplane/translate/openai_internal.h"

int tr_openai_unsupported(struct tr_reading *r, uint32_t node, const char *message)
{
    int rc = tr_reading_refuse(r, node, message);
    if (rc == ERR_INVALID)
        r->refusal->defect = CALL_FORBIDDEN_FIELD;
    return rc;
}

static int read_text(struct tr_reading *r, uint32_t node, struct tr_part *out)
{
    out->kind = TR_PART_TEXT;
    return tr_need_text(r, node, STR("text"), &out->text);
}

static int read_refusal(struct tr_reading *r, uint32_t node, struct tr_part *out)
{
    out->kind = TR_PART_REFUSAL;
    return tr_need_text(r, node, STR("refusal"), &out->text);
}

/* The member that holds what a part says, or the part itself. */
static uint32_t inner(const struct tr_reading *r, uint32_t node, struct str key)
{
    uint32_t member = tr_member(r, node, key);
    return json_kind(r->json, member) == JSON_OBJECT ? member : node;
}

static int refuse_file_id(struct tr_reading *r, uint32_t node)
{
    uint32_t id = tr_member(r, node, STR("file_id"));
    if (!tr_is_given(r, id))
        return 0;
    return tr_openai_unsupported(r, id, "names a file that one provider keeps; send its bytes");
}

/* By value if it is a data URL. */
static int read_address(struct tr_reading *r, uint32_t node, struct str url, struct tr_media *out)
{
    if (!tr_media_is_data_url(url)) {
        out->url = url;
        return 0;
    }
    return tr_media_read_data_url(url, out) ? 0
                                            : tr_reading_refuse(r, node, "not a base64 data URL");
}

static int read_image(struct tr_reading *r, uint32_t node, struct tr_part *out)
{
    struct str url = STR_NULL, key = STR("image_url");
    uint32_t image = inner(r, node, key);
    if (image != node)
        key = STR("url");
    out->kind = TR_PART_IMAGE;
    int rc = refuse_file_id(r, image);
    if (rc == 0)
        rc = tr_need_text(r, image, key, &url);
    if (rc == 0)
        rc = read_address(r, tr_member(r, image, key), url, &out->media);
    if (rc == 0)
        rc = tr_take_text(r, tr_member(r, image, STR("detail")), &out->media.detail);
    return rc;
}

static bool is_address(struct str data)
{
    return str_starts(data, STR("https://")) || str_starts(data, STR("http://"));
}

static int read_file(struct tr_reading *r, uint32_t node, struct tr_part *out)
{
    struct str data = STR_NULL;
    uint32_t file = inner(r, node, STR("file"));
    uint32_t at = tr_member(r, file, STR("file_data"));
    out->kind = TR_PART_FILE;
    int rc = refuse_file_id(r, file);
    if (rc == 0)
        rc = tr_take_text(r, tr_member(r, file, STR("filename")), &out->media.name);
    if (rc == 0)
        rc = tr_take_text(r, at, &data);
    if (rc == 0 && data.len == 0)
        rc = tr_take_text(r, tr_member(r, file, STR("file_url")), &out->media.url);
    if (rc != 0)
        return rc;
    if (data.len == 0)
        return out->media.url.len > 0 ? 0 : tr_reading_refuse(r, file, "names no file");
    if (is_address(data) || tr_media_is_data_url(data))
        return read_address(r, at, data, &out->media);
    out->media.base64 = data;
    return 0;
}

static int read_audio(struct tr_reading *r, uint32_t node, struct tr_part *out)
{
    struct str format = STR_NULL;
    uint32_t audio = inner(r, node, STR("input_audio"));
    out->kind = TR_PART_AUDIO;
    int rc = tr_need_text(r, audio, STR("data"), &out->media.base64);
    if (rc == 0)
        rc = tr_need_text(r, audio, STR("format"), &format);
    if (rc == 0)
        out->media.mime = tr_media_of_format(format);
    return rc;
}

static const struct {
    struct str type;
    int (*read)(struct tr_reading *r, uint32_t node, struct tr_part *out);
} part_types[] = {
    {{"text", 4}, read_text},          {{"input_text", 10}, read_text},
    {{"output_text", 11}, read_text},  {{"image_url", 9}, read_image},
    {{"input_image", 11}, read_image}, {{"file", 4}, read_file},
    {{"input_file", 10}, read_file},   {{"input_audio", 11}, read_audio},
    {{"refusal", 7}, read_refusal},
};

int tr_openai_read_mark(struct tr_reading *r, uint32_t node, struct tr_cache *out)
{
    uint32_t point = tr_member(r, node, STR("prompt_cache_breakpoint"));
    if (tr_is_given(r, point) && json_kind(r->json, point) != JSON_FALSE)
        out->ttl_s = 300;
    return tr_take_cache(r, tr_member(r, node, STR("cache_control")), out);
}

static int read_part(struct tr_reading *r, uint32_t node, struct tr_part *out)
{
    uint32_t type = tr_member(r, node, STR("type"));
    for (size_t i = 0; i < sizeof part_types / sizeof part_types[0]; i++) {
        if (!tr_says(r, type, part_types[i].type))
            continue;
        int rc = part_types[i].read(r, node, out);
        return rc == 0 ? tr_openai_read_mark(r, node, &out->cache) : rc;
    }
    return tr_reading_refuse(r, type == JSON_NONE ? node : type,
                             "a kind of content part that is not known");
}

uint32_t tr_openai_content_count(const struct tr_reading *r, uint32_t content)
{
    return json_kind(r->json, content) == JSON_ARRAY ? json_count(r->json, content) : 1;
}

_Static_assert(TR_PART_TEXT == 0, "a zeroed part is a text");

int tr_openai_read_content(struct tr_reading *r, uint32_t content, struct tr_part *parts,
                           uint32_t *io_count)
{
    uint32_t one;
    int rc = 0;
    if (!tr_is_given(r, content))
        return 0;
    if (json_kind(r->json, content) == JSON_STRING)
        return tr_take_text(r, content, &parts[(*io_count)++].text);
    if (json_kind(r->json, content) != JSON_ARRAY)
        return tr_reading_refuse(r, content, NULL);
    for (uint32_t at = 0; rc == 0 && json_next_element(r->json, content, &at, &one);)
        rc = read_part(r, one, &parts[(*io_count)++]);
    return rc;
}
