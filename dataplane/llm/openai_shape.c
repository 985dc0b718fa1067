#include "dataplane/llm/openai_shape.h"

#include <string.h>

#include "dataplane/llm/openai_scan.h"
#include "dataplane/llm/tokens.h"

/* The closing quote of the string whose first byte is at p; NULL: it is none that is usual. */
static inline const unsigned char *string_end(const unsigned char *p, const unsigned char *end,
                                              size_t *out_escapes)
{
    uint32_t escapes = 0;
    const unsigned char *q = p + json_short_length(p, (size_t)(end - p), &escapes);
    *out_escapes = escapes;
    if (q < end && *q == '"')
        return q;
    struct scan s = {.p = p - 1, .end = end}; /* read_text begins at the opening quote. */
    struct text t;
    if (!read_text(&s, &t))
        return NULL;
    *out_escapes = t.escapes;
    return s.p - 1;
}

static inline const unsigned char *number_end(const unsigned char *p, const unsigned char *end)
{
    const unsigned char *q = p;
#if defined(__SSE2__)
    if (end - p >= 16) {
        __m128i v =
            _mm_sub_epi8(_mm_loadu_si128((const __m128i *)(const void *)p), _mm_set1_epi8('0'));
        __m128i digit = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(9)), v);
        q += __builtin_ctz(~(unsigned)_mm_movemask_epi8(digit)); /* Bit 16 ends it. */
        if (q - p < 16)
            return q == p || (*p == '0' && q - p > 1) ? NULL : q;
    }
#endif
    while (q < end && (unsigned)*q - '0' <= 9)
        q++;
    return q == p || (*p == '0' && q - p > 1) ? NULL : q;
}

/* The same of a number that is read, of a few digits. */
static inline const unsigned char *count_end(const unsigned char *p, const unsigned char *end,
                                             uint64_t *out_count)
{
    const unsigned char *q = p;
    uint64_t v = 0;
    if ((size_t)(end - p) > COUNT_DIGITS_MAX)
        end = p + COUNT_DIGITS_MAX + 1; /* One more is too many. */
    for (; q < end && (unsigned)*q - '0' <= 9; q++)
        v = v * 10 + (uint64_t)(*q - '0');
    *out_count = v;
    return q == p || (*p == '0' && q - p > 1) || q - p > (ptrdiff_t)COUNT_DIGITS_MAX ? NULL : q;
}

static bool fits(const struct openai_shape *h, struct str text, struct openai_fit *out)
{
    const unsigned char *p = (const unsigned char *)text.data, *end = p + text.len;
    const char *fixed = h->fixed;
    uint64_t counts[OPENAI_COUNTS] = {0};
    for (unsigned i = 0;; i++) {
        const size_t n = h->before[i];
        const unsigned char *q;
        size_t escapes;
        if ((size_t)(end - p) < n || !str_same((const char *)p, fixed, n))
            return false;
        if (i == h->model_hole)
            out->model.data = (const char *)p + h->model_at;
        fixed += n;
        p += n;
        if (i == h->hole_count)
            break;
        const uint8_t kind = h->kind[i];
        if (kind >= OPENAI_HOLE_COUNT)
            q = count_end(p, end, &counts[kind - OPENAI_HOLE_COUNT]);
        else if (kind == OPENAI_HOLE_NUMBER)
            q = number_end(p, end);
        else
            q = string_end(p, end, &escapes);
        if (q == NULL)
            return false;
        if (kind == OPENAI_HOLE_TEXT) {
            if (q == p)
                return false;
            out->text_q8 = tokens_text_q8((struct str){(const char *)p, (size_t)(q - p)});
            out->content_bytes = (size_t)(q - p) - escapes;
        }
        p = q;
    }
    out->end = (const char *)p;
    out->model.len = h->model_len;
    if (h->model_len == UINT16_MAX)
        out->model = STR_NULL;
    out->print = h->print;
    out->finish_seen = h->finish_seen;
    out->finish = h->finish;
    out->usage_object = h->usage_object;
    out->usage.known = false;
    if (h->usage_known)
        out->usage = openai_usage_of(counts);
    return true;
}

const struct openai_fit *openai_shapes_fit(struct openai_shapes *s, struct str text,
                                           uint8_t *io_last)
{
    const struct openai_shape *last = &s->shapes[*io_last % OPENAI_SHAPES];
    if (last->hole_count > 0 && fits(last, text, &s->fit))
        return &s->fit;
    for (uint8_t i = 0; i < OPENAI_SHAPES; i++) {
        const struct openai_shape *h = &s->shapes[i];
        if (h != last && h->hole_count > 0 && fits(h, text, &s->fit)) {
            *io_last = i;
            return &s->fit;
        }
    }
    return NULL;
}

void openai_shapes_learn(struct openai_shapes *s, struct str text, const struct openai_facts *f,
                         uint8_t *out_last)
{
    struct openai_shape *h = &s->shapes[s->next];
    const char *from = text.data;
    size_t len = 0;
    if (f->choices != 1 || !f->content || f->texts != 1 || f->hole_count == 0 ||
        f->hole_count > OPENAI_HOLES_MAX)
        return;
    h->hole_count = 0;
    h->model_hole = f->hole_count;
    for (unsigned i = 0; i <= f->hole_count; i++) {
        const bool end = i == f->hole_count;
        const char *to = end ? text.data + text.len : f->holes[i].data;
        size_t n = (size_t)(to - from);
        if (n > OPENAI_SHAPE_BYTES - len)
            return;
        memcpy(h->fixed + len, from, n);
        if (f->model.data >= from && f->model.data < to) {
            h->model_hole = (uint8_t)i;
            h->model_at = (uint16_t)(f->model.data - from);
        }
        len += n;
        h->before[i] = (uint16_t)n;
        if (end)
            break;
        h->kind[i] = f->holes[i].kind;
        from = to + f->holes[i].len;
    }
    h->model_len =
        f->model.data != NULL && f->model.len < UINT16_MAX ? (uint16_t)f->model.len : UINT16_MAX;
    h->print = f->print;
    h->finish_seen = f->finish_seen;
    h->finish = f->finish;
    h->usage_object = f->usage_object;
    h->usage_known = f->usage.known;
    h->hole_count = f->hole_count;
    *out_last = s->next;
    s->next = (uint8_t)((s->next + 1) % OPENAI_SHAPES);
}

void openai_shapes_forget(struct openai_shapes *s, uint8_t last)
{
    s->shapes[last % OPENAI_SHAPES].hole_count = 0;
}
