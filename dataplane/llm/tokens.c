#include "dataplane/llm/tokens.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* 1/256 tokens a byte. Letters: 4.6 to a token; digits: 3; punctuation: 1.6 (two or three often
 * join); a space belongs to the word after it, runs of spaces are cheap; UTF-8: 2.6 bytes a token.
 */
enum { LETTER = 56, DIGIT = 85, PUNCT = 160, SPACE = 14, WIDE = 98 };

static const uint8_t weights[256] = {
    [0 ... ' '] = SPACE,    ['!' ... '/'] = PUNCT,  ['0' ... '9'] = DIGIT,
    [':' ... '@'] = PUNCT,  ['A' ... 'Z'] = LETTER, ['[' ... '`'] = PUNCT,
    ['a' ... 'z'] = LETTER, ['{' ... 0x7f] = PUNCT, [0x80 ... 0xff] = WIDE,
};

/* Four sums, so that the additions of neighbouring bytes do not wait for each other. */
static uint64_t sum_scalar(const uint8_t *p, size_t len)
{
    uint64_t a = 0, b = 0, c = 0, d = 0;
    size_t i = 0;
    for (; i + 4 <= len; i += 4) {
        a += weights[p[i]];
        b += weights[p[i + 1]];
        c += weights[p[i + 2]];
        d += weights[p[i + 3]];
    }
    for (; i < len; i++)
        a += weights[p[i]];
    return a + b + c + d;
}

#if defined(__x86_64__)
static inline __m128i sse2_choose(__m128i mask, __m128i yes, __m128i no)
{
    return _mm_or_si128(_mm_and_si128(mask, yes), _mm_andnot_si128(mask, no));
}

/* A range is found with one signed compare once its end has been moved to 127. */
static inline __m128i sse2_weights(__m128i v)
{
    __m128i lower = _mm_or_si128(v, _mm_set1_epi8(0x20));
    __m128i letter =
        _mm_cmpgt_epi8(_mm_add_epi8(lower, _mm_set1_epi8(127 - 'z')), _mm_set1_epi8(127 - 26));
    __m128i digit =
        _mm_cmpgt_epi8(_mm_add_epi8(v, _mm_set1_epi8(127 - '9')), _mm_set1_epi8(127 - 10));
    __m128i visible = _mm_cmpgt_epi8(v, _mm_set1_epi8(' '));
    __m128i wide = _mm_cmpgt_epi8(_mm_setzero_si128(), v);
    __m128i w = sse2_choose(visible, _mm_set1_epi8((char)PUNCT), _mm_set1_epi8(SPACE));
    w = sse2_choose(letter, _mm_set1_epi8(LETTER), w);
    w = sse2_choose(digit, _mm_set1_epi8(DIGIT), w);
    return sse2_choose(wide, _mm_set1_epi8(WIDE), w);
}

/* Sixteen loaded from the n-th on: the last n of them are set. */
static const uint8_t last_of[32] = {[16 ... 31] = 0xff};

static uint64_t sum_sse2(const uint8_t *p, size_t len)
{
    __m128i total = _mm_setzero_si128();
    if (len < 16)
        return sum_scalar(p, len);
    size_t i = 0;
    for (; i + 16 <= len; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
        total = _mm_add_epi64(total, _mm_sad_epu8(sse2_weights(v), _mm_setzero_si128()));
    }
    if (i < len) { /* The last sixteen, those not counted yet. */
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + len - 16));
        __m128i rest = _mm_loadu_si128((const __m128i *)(const void *)(last_of + len % 16));
        v = _mm_and_si128(sse2_weights(v), rest);
        total = _mm_add_epi64(total, _mm_sad_epu8(v, _mm_setzero_si128()));
    }
    total = _mm_add_epi64(total, _mm_unpackhi_epi64(total, total));
    return (uint64_t)_mm_cvtsi128_si64(total);
}

#define AVX2 __attribute__((target("avx2")))

/* By tables of the high four bits and the low: what most bytes of a row of 16 weigh, and of the
 * four kinds of bytes that weigh something else both say which it is. None of those is above 127,
 * and of a byte above it the table of the low bits gives 0. */
AVX2 static inline __attribute__((always_inline)) __m256i avx2_weights(__m256i v)
{
    enum { BLANK = 1, NO_DIGIT = 2, NO_LETTER = 4, PAST_LETTERS = 8 };
    const __m256i row = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(SPACE, SPACE, (char)PUNCT, DIGIT, LETTER, LETTER, LETTER, LETTER, WIDE, WIDE,
                      WIDE, WIDE, WIDE, WIDE, WIDE, WIDE));
    const __m256i kind_by_row =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 0, BLANK, NO_DIGIT, NO_LETTER, PAST_LETTERS,
                                                  NO_LETTER, PAST_LETTERS, 0, 0, 0, 0, 0, 0, 0, 0));
    const char end = NO_DIGIT | PAST_LETTERS;
    const __m256i kind_by_low = _mm256_broadcastsi128_si256(_mm_setr_epi8(
        BLANK | NO_LETTER, 0, 0, 0, 0, 0, 0, 0, 0, 0, NO_DIGIT, end, end, end, end, end));
    const __m256i more = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, (char)(SPACE - PUNCT), PUNCT - DIGIT, 0, PUNCT - LETTER, 0, 0, 0,
                      PUNCT - LETTER, 0, 0, 0, 0, 0, 0, 0));
    const __m256i high = _mm256_and_si256(_mm256_srli_epi16(v, 4), _mm256_set1_epi8(0x0F));
    const __m256i kind = _mm256_and_si256(_mm256_shuffle_epi8(kind_by_low, v),
                                          _mm256_shuffle_epi8(kind_by_row, high));
    return _mm256_add_epi8(_mm256_shuffle_epi8(row, high), _mm256_shuffle_epi8(more, kind));
}

AVX2 static uint64_t sum_avx2(const uint8_t *p, size_t len)
{
    __m256i total = _mm256_setzero_si256();
    size_t i = 0;
#pragma GCC unroll 2
    for (; i + 32 <= len; i += 32) {
        __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)(p + i));
        total = _mm256_add_epi64(total, _mm256_sad_epu8(avx2_weights(v), _mm256_setzero_si256()));
    }
    __m128i half = _mm_add_epi64(_mm256_castsi256_si128(total), _mm256_extracti128_si256(total, 1));
    half = _mm_add_epi64(half, _mm_unpackhi_epi64(half, half));
    return (uint64_t)_mm_cvtsi128_si64(half) + sum_sse2(p + i, len - i);
}

/* Those with VBMI2 do not slow down for wide registers (docs/decisions/0105). */
#define AVX512        __attribute__((target("avx512f,avx512bw,avx512vbmi,bmi2")))
#define INLINE_AVX512 AVX512 static inline __attribute__((always_inline))

/* Looked up in the half of the table that is of ASCII; 0 of what is not valid. */
INLINE_AVX512 __m512i avx512_weights(__m512i v, __mmask64 valid)
{
    const __m512i low = _mm512_loadu_si512(weights), high = _mm512_loadu_si512(weights + 64);
    const __m512i ascii = _mm512_maskz_permutex2var_epi8(valid, low, v, high);
    return _mm512_mask_mov_epi8(ascii, _mm512_movepi8_mask(v), _mm512_set1_epi8(WIDE));
}

INLINE_AVX512 __m512i avx512_add(__m512i total, __m512i w)
{
    return _mm512_add_epi64(total, _mm512_sad_epu8(w, _mm512_setzero_si512()));
}

AVX512 static uint64_t sum_avx512(const uint8_t *p, size_t len)
{
    __m512i total = _mm512_setzero_si512();
    size_t i = 0;
    for (; len - i >= 64; i += 64)
        total = avx512_add(total, avx512_weights(_mm512_loadu_si512(p + i), ~UINT64_C(0)));
    if (i < len) {
        const __mmask64 valid = _bzhi_u64(~UINT64_C(0), (unsigned)(len - i));
        total = avx512_add(total, avx512_weights(_mm512_maskz_loadu_epi8(valid, p + i), valid));
    }
    return (uint64_t)_mm512_reduce_add_epi64(total);
}
#endif

tokens_sum_fn tokens_sum_of(enum tokens_way way)
{
    switch (way) {
    case TOKENS_WAY_SCALAR:
        return sum_scalar;
#if defined(__x86_64__)
    case TOKENS_WAY_SSE2:
        return sum_sse2;
    case TOKENS_WAY_AVX2:
        return __builtin_cpu_supports("avx2") ? sum_avx2 : NULL;
    case TOKENS_WAY_AVX512:
        return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vbmi") &&
                       __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("bmi2")
                   ? sum_avx512
                   : NULL;
#else
    case TOKENS_WAY_SSE2:
    case TOKENS_WAY_AVX2:
    case TOKENS_WAY_AVX512:
#endif
    case TOKENS_WAYS:
        break;
    }
    return NULL;
}

static tokens_sum_fn best = sum_scalar; /* Set before main. */

__attribute__((constructor)) static void choose_best(void)
{
    for (int way = TOKENS_WAY_SCALAR; way < TOKENS_WAYS; way++)
        if (tokens_sum_of((enum tokens_way)way) != NULL)
            best = tokens_sum_of((enum tokens_way)way);
}

uint64_t tokens_text_q8(struct str text)
{
    return best((const uint8_t *)text.data, text.len);
}

uint32_t tokens_image(enum tokens_image detail)
{
    switch (detail) {
    case TOKENS_IMAGE_LOW:
        return 85;
    case TOKENS_IMAGE_AUTO:
    case TOKENS_IMAGE_HIGH: /* Four tiles of 170 on top of the base: a 1024 x 1024 picture. */
        return 765;
    }
    return 765;
}

uint32_t tokens_bytes(uint64_t bytes)
{
    uint64_t tokens = bytes / 4 + (bytes % 4 != 0);
    return tokens > UINT32_MAX ? UINT32_MAX : (uint32_t)tokens;
}

uint32_t tokens_round(uint64_t q8)
{
    uint64_t tokens = q8 / 256 + (q8 % 256 != 0);
    return tokens > UINT32_MAX ? UINT32_MAX : (uint32_t)tokens;
}
