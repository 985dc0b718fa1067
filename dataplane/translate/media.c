#include "dataplane/translate/media.h"

#include <string.h>

#define HEAD_BYTES 64U /* As many as any of the marks needs. */

struct mark {
    const char *mime;
    struct str first;
    uint8_t at;        /* Where the second one stands. */
    struct str second; /* May be empty. */
};

#define S(text)                                                                                    \
    {                                                                                              \
        "" text, sizeof(text) - 1                                                                  \
    }
static const struct mark marks[] = {
    {"image/png", S("\x89PNG\r\n\x1a\n"), 0, S("")},
    {"image/jpeg", S("\xff\xd8\xff"), 0, S("")},
    {"image/gif", S("GIF87a"), 0, S("")},
    {"image/gif", S("GIF89a"), 0, S("")},
    {"image/webp", S("RIFF"), 8, S("WEBP")},
    {"image/bmp", S("BM"), 6, S("\0\0\0\0")},
    {"image/tiff", S("II*\0"), 0, S("")},
    {"image/tiff", S("MM\0*"), 0, S("")},
    {"image/avif", S(""), 4, S("ftypavif")},
    {"image/heic", S(""), 4, S("ftypheic")},
    {"image/heic", S(""), 4, S("ftypheix")},
    {"application/pdf", S("%PDF-"), 0, S("")},
    {"audio/wav", S("RIFF"), 8, S("WAVE")},
    {"audio/mpeg", S("ID3"), 0, S("")},
    {"audio/mpeg", S("\xff\xfb"), 0, S("")},
    {"audio/mpeg", S("\xff\xf3"), 0, S("")},
    {"audio/mpeg", S("\xff\xf2"), 0, S("")},
    {"audio/flac", S("fLaC"), 0, S("")},
    {"audio/ogg", S("OggS"), 0, S("")},
    {"audio/aac", S("\xff\xf1"), 0, S("")},
    {"audio/aac", S("\xff\xf9"), 0, S("")},
    {"audio/aiff", S("FORM"), 8, S("AIFF")},
    {"audio/mp4", S(""), 4, S("ftypM4A")},
    {"video/mp4", S(""), 4, S("ftyp")},
    {"video/webm", S("\x1a\x45\xdf\xa3"), 0, S("")},
};

/* A mime type, the short name of its format, and how names of such files end. */
static const struct {
    struct str mime, format, ending;
} formats[] = {
    {S("image/png"), S("png"), S(".png")},
    {S("image/jpeg"), S("jpeg"), S(".jpg")},
    {S("image/jpeg"), S("jpeg"), S(".jpeg")},
    {S("image/gif"), S("gif"), S(".gif")},
    {S("image/webp"), S("webp"), S(".webp")},
    {S("image/bmp"), S("bmp"), S(".bmp")},
    {S("image/tiff"), S("tiff"), S(".tiff")},
    {S("image/heic"), S("heic"), S(".heic")},
    {S("image/avif"), S("avif"), S(".avif")},
    {S("application/pdf"), S("pdf"), S(".pdf")},
    {S("text/plain"), S("txt"), S(".txt")},
    {S("text/markdown"), S("md"), S(".md")},
    {S("text/html"), S("html"), S(".html")},
    {S("text/csv"), S("csv"), S(".csv")},
    {S("application/json"), S("json"), S(".json")},
    {S("application/msword"), S("doc"), S(".doc")},
    {S("application/vnd.openxmlformats-officedocument.wordprocessingml.document"), S("docx"),
     S(".docx")},
    {S("application/vnd.ms-excel"), S("xls"), S(".xls")},
    {S("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"), S("xlsx"), S(".xlsx")},
    {S("audio/wav"), S("wav"), S(".wav")},
    {S("audio/x-wav"), S("wav"), S("")},
    {S("audio/mpeg"), S("mp3"), S(".mp3")},
    {S("audio/mp3"), S("mp3"), S("")},
    {S("audio/flac"), S("flac"), S(".flac")},
    {S("audio/ogg"), S("ogg"), S(".ogg")},
    {S("audio/aac"), S("aac"), S(".aac")},
    {S("audio/aiff"), S("aiff"), S(".aiff")},
    {S("audio/mp4"), S("m4a"), S(".m4a")},
    {S("audio/pcm"), S("pcm16"), S("")},
    {S("video/mp4"), S("mp4"), S(".mp4")},
    {S("video/webm"), S("webm"), S(".webm")},
};
#undef S
#define FORMATS (sizeof formats / sizeof formats[0])

bool tr_media_is_data_url(struct str url)
{
    return url.len >= 5 && str_eq_nocase(str_slice(url, 0, 5), STR("data:"));
}

bool tr_media_read_data_url(struct str url, struct tr_media *out)
{
    if (!tr_media_is_data_url(url))
        return false;
    struct str head, data, parameters;
    if (!str_cut(str_slice(url, 5, url.len), ',', &head, &data))
        return false;
    if (head.len < 7 || !str_eq_nocase(str_slice(head, head.len - 7, head.len), STR(";base64")))
        return false;
    str_cut(head, ';', &out->mime, &parameters);
    out->base64 = data;
    return true;
}

int tr_media_print_data_url(const struct tr_media *media, struct buf *out)
{
    struct str mime = tr_media_mime(media);
    size_t begin = out->len;
    int rc = buf_append_text(out, "data:");
    if (rc == 0)
        rc = buf_append_str(out, mime.len > 0 ? mime : STR("application/octet-stream"));
    if (rc == 0)
        rc = buf_append_text(out, ";base64,");
    if (rc == 0)
        rc = buf_append_str(out, media->base64);
    if (rc != 0)
        out->len = begin;
    return rc;
}

void tr_media_put_data_url(struct json_writer *w, const struct tr_media *media)
{
    struct str mime = tr_media_mime(media);
    json_writer_begin_string(w);
    json_writer_part(w, STR("data:"));
    json_writer_part(w, mime.len > 0 ? mime : STR("application/octet-stream"));
    json_writer_part(w, STR(";base64,"));
    json_writer_part(w, media->base64);
    json_writer_end_string(w);
}

static int sextet(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    return c == '/' || c == '_' ? 63 : -1;
}

size_t tr_media_head(struct str base64, size_t max, uint8_t *out)
{
    size_t count = 0;
    uint32_t word = 0;
    unsigned bits = 0;
    for (size_t i = 0; i < base64.len && count < max; i++) {
        int six = sextet(base64.data[i]);
        if (six < 0) {
            if (base64.data[i] == '=')
                break;
            return 0;
        }
        word = (word << 6 | (uint32_t)six) & 0xffffff;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out[count++] = (uint8_t)(word >> bits);
        }
    }
    return count;
}

int tr_media_decode(struct str base64, struct arena *arena, struct str *out)
{
    size_t max = base64.len / 4 * 3 + 3;
    uint8_t *bytes = arena_alloc(arena, max);
    if (bytes == NULL)
        return ERR_TOO_LARGE;
    size_t count = tr_media_head(base64, max, bytes);
    if (count == 0 && base64.len > 0)
        return ERR_INVALID;
    *out = (struct str){(const char *)bytes, count};
    return 0;
}

static bool has_mark(const struct mark *m, const uint8_t *head, size_t len)
{
    return m->first.len <= len && m->at + m->second.len <= len &&
           memcmp(head, m->first.data, m->first.len) == 0 &&
           memcmp(head + m->at, m->second.data, m->second.len) == 0;
}

struct str tr_media_sniff(struct str base64)
{
    uint8_t head[HEAD_BYTES];
    size_t len = tr_media_head(base64, sizeof head, head);
    for (size_t i = 0; len > 0 && i < sizeof marks / sizeof marks[0]; i++)
        if (has_mark(&marks[i], head, len))
            return str_from(marks[i].mime);
    return STR("");
}

/* Text has no marks, and is not to be taken for sound or pictures by its first letters. */
static bool is_text(struct str mime)
{
    return str_starts(mime, STR("text/")) || str_eq(mime, STR("application/json"));
}

static struct str mime_of_ending(struct str name)
{
    ptrdiff_t end = str_find(name, '?');
    if (end >= 0)
        name.len = (size_t)end;
    for (size_t i = 0; i < FORMATS; i++) {
        struct str ending = formats[i].ending;
        if (ending.len > 0 && name.len > ending.len &&
            str_eq_nocase(str_slice(name, name.len - ending.len, name.len), ending))
            return formats[i].mime;
    }
    return STR("");
}

struct str tr_media_mime(const struct tr_media *media)
{
    if (!is_text(media->mime)) {
        struct str found = tr_media_sniff(media->base64);
        if (found.len > 0)
            return found;
    }
    if (media->mime.len > 0)
        return media->mime;
    struct str found = mime_of_ending(media->name);
    return found.len > 0 ? found : mime_of_ending(media->url);
}

struct str tr_media_format(struct str mime)
{
    for (size_t i = 0; i < FORMATS; i++)
        if (str_eq_nocase(mime, formats[i].mime))
            return formats[i].format;
    return STR("");
}

struct str tr_media_of_format(struct str format)
{
    for (size_t i = 0; i < FORMATS; i++)
        if (str_eq_nocase(format, formats[i].format))
            return formats[i].mime;
    return STR("");
}
