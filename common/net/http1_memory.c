#include "common/net/http1_memory.h"

#include <string.h>

#include "common/net/http1_internal.h"
#include "common/net/http1_scan.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define HEAD_BYTES_MIN 64U
#define DIGITS_MAX     18U /* So many are always in range. */
#define LEARNS_EVERY   8U  /* Of what nobody sends again not each is worth it. */
#define DELETE         0x7F

/* ---- alike ---- */

static bool alike_scalar(const struct http1_known *known, const uint8_t *data)
{
    for (size_t i = 0; i < known->len; i++) {
        const uint8_t c = data[i], t = known->text[i];
        if (c != t && (known->free[i] == 0 || c < t || c == DELETE))
            return false;
    }
    return true;
}

#if defined(__x86_64__)
static inline bool alike_16(const struct http1_known *known, const uint8_t *data, size_t at)
{
    const __m128i v = http1_load16((const char *)data + at);
    const __m128i t = http1_load16((const char *)known->text + at);
    const __m128i free = http1_load16((const char *)known->free + at);
    const __m128i enough = _mm_cmpeq_epi8(_mm_max_epu8(v, t), v);
    const __m128i fine = _mm_andnot_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8(DELETE)), enough);
    const __m128i ok = _mm_or_si128(_mm_cmpeq_epi8(v, t), _mm_and_si128(free, fine));
    return _mm_movemask_epi8(ok) == 0xFFFF;
}

/* The last block overlaps the one before it. */
static bool alike_sse2(const struct http1_known *known, const uint8_t *data)
{
    for (size_t at = 0; at + 16 <= known->len; at += 16)
        if (!alike_16(known, data, at))
            return false;
    return alike_16(known, data, known->len - 16);
}

/* Those with VBMI2 do not slow down for wide registers (docs/decisions/0105). */
#define AVX512 __attribute__((target("avx512f,avx512bw,bmi2")))

AVX512 static inline __attribute__((always_inline)) bool alike_64(const struct http1_known *known,
                                                                  const uint8_t *data, size_t at)
{
    const __m512i v = _mm512_loadu_si512(data + at);
    const __m512i t = _mm512_loadu_si512(known->text + at);
    const __mmask64 free = _mm512_movepi8_mask(_mm512_loadu_si512(known->free + at));
    const __mmask64 other = _mm512_cmpneq_epi8_mask(v, t);
    const __mmask64 wrong =
        _mm512_cmplt_epu8_mask(v, t) | _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8(DELETE)) | ~free;
    return (other & wrong) == 0;
}

AVX512 static bool alike_avx512(const struct http1_known *known, const uint8_t *data)
{
    for (size_t at = 0; at + 64 <= known->len; at += 64)
        if (!alike_64(known, data, at))
            return false;
    return alike_64(known, data, known->len - 64);
}
#endif

http1_alike_fn http1_alike_of(enum http1_way way)
{
    switch (way) {
    case HTTP1_WAY_SCALAR:
        return alike_scalar;
#if defined(__x86_64__)
    case HTTP1_WAY_SSE2:
        return alike_sse2;
    case HTTP1_WAY_AVX512:
        return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vbmi2") &&
                       __builtin_cpu_supports("bmi2")
                   ? alike_avx512
                   : NULL;
#else
    case HTTP1_WAY_SSE2:
    case HTTP1_WAY_AVX512:
#endif
    case HTTP1_WAYS:
        break;
    }
    return NULL;
}

http1_alike_fn http1_alike_best = alike_scalar;

__attribute__((constructor)) static void choose_best(void)
{
    for (int way = HTTP1_WAY_SCALAR; way < HTTP1_WAYS; way++)
        if (http1_alike_of((enum http1_way)way) != NULL)
            http1_alike_best = http1_alike_of((enum http1_way)way);
}

/* ---- to know and to learn ---- */

/* The fields behind field_count mean nothing. */
static inline void copy_head(struct http1_head *to, const struct http1_head *from)
{
    const size_t fields = offsetof(struct http1_head, fields);
    const size_t behind = fields + sizeof from->fields;
    memcpy(to, from, fields);
    for (size_t i = 0; i < from->field_count; i++)
        to->fields[i] = from->fields[i];
    memcpy((char *)to + behind, (const char *)from + behind, sizeof *from - behind);
}

/* false: no number above 0, which would mean something else. */
static bool read_length(const struct http1_known *k, const char *data, uint64_t *out_length)
{
    uint64_t length = 0;
    for (size_t i = 0; i < k->length_len; i++) {
        unsigned digit = (unsigned char)data[k->length_at + i] - (unsigned)'0';
        if (digit > 9)
            return false;
        length = length * 10 + digit;
    }
    *out_length = length;
    return length > 0;
}

static bool recall(const struct http1_known *k, struct http1_head *h, const char *data, size_t len)
{
    uint64_t length = k->head.content_length;
    if (k->len == 0 || k->len > len || !http1_alike_best(k, (const uint8_t *)data) ||
        (k->length_len > 0 && !read_length(k, data, &length)))
        return false;
    copy_head(h, &k->head);
    http1_head_rebase(h, data);
    h->content_length = length;
    return true;
}

static void learn_value(struct http1_known *k, const char *data, const struct http1_field *f)
{
    uint8_t *text = k->text + f->value_at;
    const char *name = data + f->name_at;
    if (f->value_len == 0)
        return;
    if (f->name_len == 14 && http1_name_is(name, "content-length", 14)) {
        if (k->head.content_length == 0 || f->value_len > DIGITS_MAX)
            return;
        k->length_at = f->value_at;
        k->length_len = f->value_len;
        memset(text, '0', f->value_len);
    } else if (!http1_is_noted((struct str){name, f->name_len})) {
        memset(text, ' ', f->value_len);
        text[0] = text[f->value_len - 1] = ' ' + 1; /* Or the value were shorter. */
    } else {
        return;
    }
    memset(k->free + f->value_at, 0xFF, f->value_len);
}

static void learn(struct http1_memory *m, const struct http1_head *h, const char *data)
{
    const uint32_t len = h->head_bytes;
    if (len < HEAD_BYTES_MIN || len > HTTP1_MEMORY_BYTES || h->start_at != 0 ||
        h->query.data != NULL) /* Who knows what is in it. */
        return;
    if (m->known[m->next].len != 0 && ++m->missed % LEARNS_EVERY != 0)
        return;
    struct http1_known *k = &m->known[m->next];
    m->last = m->next;
    m->next = (m->next + 1) % HTTP1_MEMORY_HEADS;
    copy_head(&k->head, h);
    http1_head_rebase(&k->head, (const char *)k->text);
    k->len = len;
    k->length_len = 0;
    memcpy(k->text, data, len);
    memset(k->free, 0, len);
    for (size_t i = 0; i < h->field_count; i++)
        learn_value(k, data, &h->fields[i]);
}

enum http1_result http1_head_parse_known(struct http1_memory *m, struct http1_head *h,
                                         const char *data, size_t len)
{
    if (h->reply_to_head || h->scan_at != 0 || http1_head_begun(h))
        return http1_head_parse(h, data, len);
    if (recall(&m->known[m->last], h, data, len))
        return HTTP1_DONE;
    for (uint32_t i = 0; i < HTTP1_MEMORY_HEADS; i++) {
        if (i != m->last && recall(&m->known[i], h, data, len)) {
            m->last = i;
            return HTTP1_DONE;
        }
    }
    enum http1_result result = http1_head_parse(h, data, len);
    if (result == HTTP1_DONE)
        learn(m, h, data);
    return result;
}
