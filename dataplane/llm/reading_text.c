/* Texts of a body: weighed, and of those that features are made of the ends taken. */
#include "common/route/features.h"
#include "dataplane/llm/reading.h"

/* Inside of its quotes it is weighed as it stands: escaped is good enough. */
void reading_weigh(struct call_reading *r, uint32_t string)
{
    const struct str plain = json_plain(r->json, string), raw = json_raw(r->json, string);
    r->tokens_q8 += tokens_text_q8((struct str){raw.data + 1, raw.len - 2});
    r->call->text_bytes += plain.data != NULL ? plain.len : json_text_length(r->json, string);
}

/* Walks the texts of a content: its string, or those of its parts. */
static bool next_text(const struct call_reading *r, uint32_t content, uint32_t *io_at,
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
static int text_with_ends(struct call_reading *r, uint32_t content, size_t head, size_t tail,
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

/* The same; mostly it lies there as it is, or there is none. */
static inline int text_of(struct call_reading *r, uint32_t content, size_t head, size_t tail,
                          struct str *out_text, uint64_t *out_total)
{
    *out_text = json_plain(r->json, content);
    *out_total = out_text->len;
    if (out_text->data != NULL || content == JSON_NONE)
        return 0;
    return text_with_ends(r, content, head, tail, out_text, out_total);
}

bool reading_take_texts(struct call_reading *r)
{
    enum { SYSTEM_HALF = FEATURES_SYSTEM_BYTES_MAX / 2 };
    uint64_t user_bytes;
    return text_of(r, r->user_content, FEATURES_TEXT_HEAD_BYTES, FEATURES_TAIL_BYTES,
                   &r->call->text, &user_bytes) == 0 &&
           text_of(r, r->system_content, SYSTEM_HALF, SYSTEM_HALF, &r->call->system,
                   &r->call->system_bytes) == 0;
}
