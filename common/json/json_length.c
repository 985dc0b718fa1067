/* json_length.c: how far a text needs no look byte by byte, three ways. The wide ones take whole
 * blocks and leave what is left over to the scalar ones, so that all say the same. UTF-8 in blocks
 * after Keiser and Lemire, "Validating UTF-8 in less than one instruction per byte" (2021). */
#include <string.h>

#include "common/json/json_internal.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

static inline bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

size_t json_bare_length(const unsigned char *p, size_t len)
{
    size_t i = 0;
#if defined(__SSE2__)
    for (; len - i >= 16; i += 16) {
        unsigned mask = json_special_16(p + i);
        if (mask != 0)
            return i + (unsigned)__builtin_ctz(mask);
    }
#endif
    while (i < len && is_plain(p[i]))
        i++;
    return i;
}

/* What may stand behind a backslash when the escape is of two bytes. */
static const bool short_escape[256] = {['"'] = true, ['\\'] = true, ['/'] = true, ['b'] = true,
                                       ['f'] = true, ['n'] = true,  ['r'] = true, ['t'] = true};

static inline bool is_short_escape(const unsigned char *p, size_t left)
{
    return left >= 2 && p[0] == '\\' && short_escape[p[1]];
}

static size_t plain_scalar(const unsigned char *p, size_t len, uint32_t *io_escapes)
{
    size_t i = 0;
    for (; i < len; i++) {
        if (is_plain(p[i]))
            continue;
        if (!is_short_escape(p + i, len - i))
            break;
        ++*io_escapes;
        i++;
    }
    return i;
}

static inline bool is_space(unsigned char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static size_t space_scalar(const unsigned char *p, size_t len)
{
    size_t i = 0;
    while (i < len && is_space(p[i]))
        i++;
    return i;
}

/* From i on, which is the first byte of a character. */
static size_t wide_from(const unsigned char *p, size_t len, size_t i)
{
    const struct str text = {.data = (const char *)p, .len = len};
    while (i < len) {
        if (p[i] < 0x80) {
            if (!is_plain(p[i]))
                break;
            i++;
            continue;
        }
        size_t n = str_utf8_length(text, i);
        if (n == 0)
            break;
        i += n;
    }
    return i;
}

static size_t wide_scalar(const unsigned char *p, size_t len)
{
    return wide_from(p, len, 0);
}

#if defined(__x86_64__)
static size_t plain_sse2(const unsigned char *p, size_t len, uint32_t *io_escapes)
{
    size_t i = 0;
    while (len - i > 16) { /* One more, for the second byte of an escape. */
        unsigned mask = json_special_16(p + i);
        size_t at = 16;
        while (mask != 0) {
            unsigned first = (unsigned)__builtin_ctz(mask);
            if (!is_short_escape(p + i + first, 2))
                return i + first;
            ++*io_escapes;
            mask &= ~0U << first << 2;
            at = first == 15 ? 17 : 16; /* The escape's second byte is in the next block. */
        }
        i += at;
    }
    return i + plain_scalar(p + i, len - i, io_escapes);
}

static size_t space_sse2(const unsigned char *p, size_t len)
{
    size_t i = 0;
    /* Mostly there is none, or one. */
    if (len == 0 || !is_space(p[0]))
        return 0;
    for (; len - i >= 16; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
        __m128i space = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8(' ')),
                                                  _mm_cmpeq_epi8(v, _mm_set1_epi8('\n'))),
                                     _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('\r')),
                                                  _mm_cmpeq_epi8(v, _mm_set1_epi8('\t'))));
        unsigned mask = (unsigned)_mm_movemask_epi8(space) ^ 0xFFFFU;
        if (mask != 0)
            return i + (unsigned)__builtin_ctz(mask);
    }
    return i + space_scalar(p + i, len - i);
}

#define AVX2 __attribute__((target("avx2")))

AVX2 static inline __m256i avx2_load(const unsigned char *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

/* 0xFF in every byte that is special; non-ASCII is below the space when compared as signed. */
AVX2 static inline __m256i avx2_special(__m256i v)
{
    return _mm256_or_si256(_mm256_cmpgt_epi8(_mm256_set1_epi8(' '), v),
                           _mm256_or_si256(_mm256_cmpeq_epi8(v, _mm256_set1_epi8('"')),
                                           _mm256_cmpeq_epi8(v, _mm256_set1_epi8('\\'))));
}

AVX2 static size_t plain_avx2(const unsigned char *p, size_t len, uint32_t *io_escapes)
{
    size_t i = 0;
    while (len - i > 64) {
        __m256i a = avx2_special(avx2_load(p + i));
        __m256i b = avx2_special(avx2_load(p + i + 32));
        __m256i both = _mm256_or_si256(a, b);
        size_t at = 64;
        if (_mm256_testz_si256(both, both)) {
            i += 64;
            continue;
        }
        uint64_t mask =
            (uint32_t)_mm256_movemask_epi8(a) | (uint64_t)(uint32_t)_mm256_movemask_epi8(b) << 32;
        while (mask != 0) {
            unsigned first = (unsigned)__builtin_ctzll(mask);
            if (!is_short_escape(p + i + first, 2))
                return i + first;
            ++*io_escapes;
            mask &= ~UINT64_C(0) << first << 2;
            at = first == 63 ? 65 : 64;
        }
        i += at;
    }
    return i + plain_sse2(p + i, len - i, io_escapes);
}

/* Those with VBMI2 do not slow down for wide registers (docs/decisions/0105). */
#define AVX512 __attribute__((target("avx512f,avx512bw,bmi2")))

#define INLINE_AVX512 AVX512 static inline __attribute__((always_inline))

/* What is no quote mark and no backslash becomes something else: the table holds them at their low
 * four bits, and elsewhere what is nowhere its own. */
INLINE_AVX512 __m512i avx512_marks(__m512i v)
{
    const __m512i table =
        _mm512_broadcast_i32x4(_mm_setr_epi8(1, 0, '"', 0, 0, 0, 0, 0, 0, 0, 0, 0, '\\', 0, 0, 0));
    return _mm512_shuffle_epi8(table, v);
}

/* A bit for each byte that may stand in a string as it is; as signed bytes non-ASCII is below the
 * space, too. */
INLINE_AVX512 __mmask64 avx512_fine(__m512i v)
{
    const __mmask64 above = _mm512_cmpge_epi8_mask(v, _mm512_set1_epi8(' '));
    return _mm512_mask_cmpneq_epi8_mask(above, v, avx512_marks(v));
}

/* Whether all of four blocks may stand as they are: the least byte of each place stands for all
 * four when they are compared with the space, and each block's comparison is made where those
 * before it found nothing. */
INLINE_AVX512 bool avx512_fine_4(const unsigned char *p)
{
    const __m512i a = _mm512_loadu_si512(p), b = _mm512_loadu_si512(p + 64),
                  c = _mm512_loadu_si512(p + 128), d = _mm512_loadu_si512(p + 192);
    const __m512i least = _mm512_min_epi8(_mm512_min_epi8(a, b), _mm512_min_epi8(c, d));
    __mmask64 fine = _mm512_cmpge_epi8_mask(least, _mm512_set1_epi8(' '));
    fine = _mm512_mask_cmpneq_epi8_mask(fine, a, avx512_marks(a));
    fine = _mm512_mask_cmpneq_epi8_mask(fine, b, avx512_marks(b));
    fine = _mm512_mask_cmpneq_epi8_mask(fine, c, avx512_marks(c));
    fine = _mm512_mask_cmpneq_epi8_mask(fine, d, avx512_marks(d));
    return fine == ~UINT64_C(0);
}

/* Whole blocks without anything special, from p on; by fours, as long as all four are. */
INLINE_AVX512 size_t avx512_plain_blocks(const unsigned char *p, size_t len)
{
    size_t i = 0;
    while (len - i >= 256 && avx512_fine_4(p + i))
        i += 256;
    while (len - i >= 64 && avx512_fine(_mm512_loadu_si512(p + i)) == ~UINT64_C(0))
        i += 64;
    return i;
}

/* Behind the end zeros are read, which are special. */
AVX512 static size_t plain_avx512(const unsigned char *p, size_t len, uint32_t *io_escapes)
{
    for (size_t i = 0;;) {
        i += avx512_plain_blocks(p + i, len - i);
        const size_t left = len - i;
        const __mmask64 there = left < 64 ? _bzhi_u64(~UINT64_C(0), (unsigned)left) : ~UINT64_C(0);
        uint64_t mask = ~avx512_fine(_mm512_maskz_loadu_epi8(there, p + i));
        size_t at = 64;
        while (mask != 0) {
            unsigned first = (unsigned)__builtin_ctzll(mask);
            if (!is_short_escape(p + i + first, left - first))
                return i + first;
            ++*io_escapes;
            mask &= ~UINT64_C(0) << first << 2;
            at = first == 63 ? 65 : 64;
        }
        i += at;
    }
}

AVX2 static size_t space_avx2(const unsigned char *p, size_t len)
{
    size_t i = 0;
    if (len == 0 || !is_space(p[0]))
        return 0;
    for (; len - i >= 32; i += 32) {
        __m256i v = avx2_load(p + i);
        /* The table holds each kind of white space at its low four bits; 0 is nowhere its own. */
        const __m256i table = _mm256_broadcastsi128_si256(
            _mm_setr_epi8(' ', 0, 0, 0, 0, 0, 0, 0, 0, '\t', '\n', 0, 0, '\r', 0, 0));
        __m256i space = _mm256_cmpeq_epi8(v, _mm256_shuffle_epi8(table, v));
        unsigned mask = ~(unsigned)_mm256_movemask_epi8(space);
        if (mask != 0)
            return i + (unsigned)__builtin_ctz(mask);
    }
    return i + space_sse2(p + i, len - i);
}

/* The block's bytes moved up by n, filled from the end of the block before. */
#define AVX2_BEFORE(v, before, n)                                                                  \
    _mm256_alignr_epi8(v, _mm256_permute2x128_si256(before, v, 0x21), 16 - (n))

/* What is wrong at a byte, by it and the one before it: section 4 of the paper. */
enum {
    TOO_SHORT = 1 << 0,  /* A lead byte, then no continuation. */
    TOO_LONG = 1 << 1,   /* ASCII, then a continuation. */
    OVERLONG_3 = 1 << 2, /* E0 80..9F */
    SURROGATE = 1 << 4,  /* ED A0..BF */
    OVERLONG_2 = 1 << 5, /* C0, C1 */
    TWO_CONTS = 1 << 7,  /* Two continuations: right in the middle of long characters only. */
    TOO_LARGE = 1 << 3,  /* F4 90.. and above */
    TOO_LARGE_1000 = 1 << 6,
    OVERLONG_4 = 1 << 6, /* F0 80..8F */
    CARRY = TOO_SHORT | TOO_LONG | TWO_CONTS,
};

AVX2 static inline __m256i avx2_table(__m256i index, __m128i table)
{
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), index);
}

#define B(x) ((char)(x))
AVX2 static inline __m256i avx2_utf8_errors(__m256i v, __m256i before)
{
    const __m256i low_bits = _mm256_set1_epi8(0x0F);
    const __m128i first_high = _mm_setr_epi8(
        TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG,
        B(TWO_CONTS), B(TWO_CONTS), B(TWO_CONTS), B(TWO_CONTS), TOO_SHORT | OVERLONG_2, TOO_SHORT,
        TOO_SHORT | OVERLONG_3 | SURROGATE, TOO_SHORT | TOO_LARGE | TOO_LARGE_1000 | OVERLONG_4);
    const __m128i first_low = _mm_setr_epi8(
        B(CARRY | OVERLONG_3 | OVERLONG_2 | OVERLONG_4), B(CARRY | OVERLONG_2), B(CARRY), B(CARRY),
        B(CARRY | TOO_LARGE), B(CARRY | TOO_LARGE | TOO_LARGE_1000),
        B(CARRY | TOO_LARGE | TOO_LARGE_1000), B(CARRY | TOO_LARGE | TOO_LARGE_1000),
        B(CARRY | TOO_LARGE | TOO_LARGE_1000), B(CARRY | TOO_LARGE | TOO_LARGE_1000),
        B(CARRY | TOO_LARGE | TOO_LARGE_1000), B(CARRY | TOO_LARGE | TOO_LARGE_1000),
        B(CARRY | TOO_LARGE | TOO_LARGE_1000), B(CARRY | TOO_LARGE | TOO_LARGE_1000 | SURROGATE),
        B(CARRY | TOO_LARGE | TOO_LARGE_1000), B(CARRY | TOO_LARGE | TOO_LARGE_1000));
    const __m128i second_high = _mm_setr_epi8(
        TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT,
        B(TOO_LONG | OVERLONG_2 | TWO_CONTS | OVERLONG_3 | TOO_LARGE_1000 | OVERLONG_4),
        B(TOO_LONG | OVERLONG_2 | TWO_CONTS | OVERLONG_3 | TOO_LARGE),
        B(TOO_LONG | OVERLONG_2 | TWO_CONTS | SURROGATE | TOO_LARGE),
        B(TOO_LONG | OVERLONG_2 | TWO_CONTS | SURROGATE | TOO_LARGE), TOO_SHORT, TOO_SHORT,
        TOO_SHORT, TOO_SHORT);
    __m256i one = AVX2_BEFORE(v, before, 1);
    __m256i one_high = _mm256_and_si256(_mm256_srli_epi16(one, 4), low_bits);
    __m256i v_high = _mm256_and_si256(_mm256_srli_epi16(v, 4), low_bits);
    __m256i special =
        _mm256_and_si256(_mm256_and_si256(avx2_table(one_high, first_high),
                                          avx2_table(_mm256_and_si256(one, low_bits), first_low)),
                         avx2_table(v_high, second_high));
    /* Two continuations are right just where a lead of three or four bytes is two or three back. */
    __m256i third = _mm256_subs_epu8(AVX2_BEFORE(v, before, 2), _mm256_set1_epi8(0x60));
    __m256i fourth = _mm256_subs_epu8(AVX2_BEFORE(v, before, 3), _mm256_set1_epi8(0x70));
    __m256i must = _mm256_and_si256(_mm256_or_si256(third, fourth), _mm256_set1_epi8(B(0x80)));
    return _mm256_xor_si256(must, special);
}

/* A byte of ASCII that is not plain. */
AVX2 static inline __m256i avx2_stops(__m256i v)
{
    __m256i control =
        _mm256_cmpeq_epi8(_mm256_max_epu8(v, _mm256_set1_epi8(0x1F)), _mm256_set1_epi8(0x1F));
    return _mm256_or_si256(control, _mm256_or_si256(_mm256_cmpeq_epi8(v, _mm256_set1_epi8('"')),
                                                    _mm256_cmpeq_epi8(v, _mm256_set1_epi8('\\'))));
}

AVX2 static size_t wide_avx2(const unsigned char *p, size_t len)
{
    __m256i before = _mm256_setzero_si256();
    size_t i = 0;
    for (; len - i >= 32; i += 32) {
        __m256i v = avx2_load(p + i);
        __m256i bad = _mm256_or_si256(avx2_stops(v), avx2_utf8_errors(v, before));
        if (!_mm256_testz_si256(bad, bad))
            break;
        before = v;
    }
    /* Back to the start of the character that the last block may have cut. */
    size_t back = 0;
    while (back < 3 && back < i && (p[i - back - 1] & 0xC0) == 0x80)
        back++;
    if (back < i && p[i - back - 1] >= 0xC0)
        back++;
    else
        back = 0;
    return wide_from(p, len, i - back);
}
#endif

static const struct json_lengths ways[JSON_WAYS] = {
    {plain_scalar, space_scalar, wide_scalar},
#if defined(__x86_64__)
    {plain_sse2, space_sse2, wide_scalar},
    {plain_avx2, space_avx2, wide_avx2},
    {plain_avx512, space_avx2, wide_avx2},
#endif
};

const struct json_lengths *json_lengths_of(enum json_way way)
{
    switch (way) {
    case JSON_WAY_SCALAR:
        return &ways[way];
    case JSON_WAY_SSE2:
        return ways[way].plain != NULL ? &ways[way] : NULL;
    case JSON_WAY_AVX2:
#if defined(__x86_64__)
        return __builtin_cpu_supports("avx2") ? &ways[way] : NULL;
#else
        return NULL;
#endif
    case JSON_WAY_AVX512:
#if defined(__x86_64__)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") &&
                       __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vbmi2")
                   ? &ways[way]
                   : NULL;
#else
        return NULL;
#endif
    case JSON_WAYS:
        break;
    }
    return NULL;
}

struct json_lengths json_best = {plain_scalar, space_scalar, wide_scalar};

__attribute__((constructor)) static void choose_best(void)
{
    for (int way = JSON_WAY_SCALAR; way < JSON_WAYS; way++) {
        const struct json_lengths *lengths = json_lengths_of((enum json_way)way);
        if (lengths != NULL)
            json_best = *lengths;
    }
}
