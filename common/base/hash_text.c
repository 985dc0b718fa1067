/* hash_text.c: NH of every chunk (Black, Halevi, Krawczyk, Krovetz, Rogaway: "UMAC: Fast and Secure
 * Message Authentication", 1999), then SipHash-1-3 over what the chunks gave and the length. NH
 * multiplies pairs of 32-bit words, each with a word of the key added, and adds the products up; a
 * second sum with the key moved by one pair doubles the bits (Toeplitz, section 5.4 there). */
#include <string.h>

#include "common/base/hash.h"
#include "common/base/hash_internal.h"
#include "common/base/siphash.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define KEY_WORDS (HASH_TEXT_CHUNK_BYTES / 4 + 2)
#define STEP      32U

static inline uint32_t low(uint64_t pair, uint32_t key)
{
    return (uint32_t)pair + key;
}

static inline uint32_t high(uint64_t pair, uint32_t key)
{
    return (uint32_t)(pair >> 32) + key;
}

/* The steps of 32 bytes that fit; what is left is filled up with zeros to one more. */
static void add_end(hash_nh_fn steps, const uint32_t *key, const uint8_t *chunk, size_t len,
                    uint64_t io_sums[2])
{
    const size_t whole = len / STEP * STEP;
    uint8_t end[STEP] = {0};
    uint64_t rest[2];
    if (len == whole)
        return;
    memcpy(end, chunk + whole, len - whole);
    steps(key + whole / 4, end, STEP, rest);
    io_sums[0] += rest[0];
    io_sums[1] += rest[1];
}

static void nh_scalar(const uint32_t *key, const uint8_t *chunk, size_t len, uint64_t out_sums[2])
{
    const uint32_t *const start = key;
    const size_t whole = len / STEP * STEP;
    uint64_t first = 0, second = 0;
    for (size_t at = 0; at < whole; at += 8, key += 2) {
        uint64_t m = sip_load(chunk + at);
        first += (uint64_t)low(m, key[0]) * high(m, key[1]);
        second += (uint64_t)low(m, key[2]) * high(m, key[3]);
    }
    out_sums[0] = first;
    out_sums[1] = second;
    add_end(nh_scalar, start, chunk, len, out_sums);
}

#if defined(__x86_64__)
static inline __m128i sse2_load(const void *p)
{
    return _mm_loadu_si128((const __m128i *)p);
}

static inline __m128i sse2_products(__m128i m, const uint32_t *key)
{
    __m128i t = _mm_add_epi32(m, sse2_load(key));
    return _mm_mul_epu32(t, _mm_srli_epi64(t, 32));
}

static inline uint64_t sse2_total(__m128i v)
{
    return (uint64_t)_mm_cvtsi128_si64(_mm_add_epi64(v, _mm_unpackhi_epi64(v, v)));
}

static void nh_sse2(const uint32_t *key, const uint8_t *chunk, size_t len, uint64_t out_sums[2])
{
    const uint32_t *const start = key;
    const size_t whole = len / STEP * STEP;
    __m128i first = _mm_setzero_si128(), second = first;
    for (size_t at = 0; at < whole; at += 16, key += 4) {
        __m128i m = sse2_load(chunk + at);
        first = _mm_add_epi64(first, sse2_products(m, key));
        second = _mm_add_epi64(second, sse2_products(m, key + 2));
    }
    out_sums[0] = sse2_total(first);
    out_sums[1] = sse2_total(second);
    add_end(nh_sse2, start, chunk, len, out_sums);
}

#define AVX2 __attribute__((target("avx2")))

AVX2 static inline __m256i avx2_load(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

AVX2 static inline __m256i avx2_products(__m256i m, const uint32_t *key)
{
    __m256i t = _mm256_add_epi32(m, avx2_load(key));
    return _mm256_mul_epu32(t, _mm256_srli_epi64(t, 32));
}

AVX2 static inline uint64_t avx2_total(__m256i v)
{
    return sse2_total(_mm_add_epi64(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1)));
}

AVX2 static void nh_avx2(const uint32_t *key, const uint8_t *chunk, size_t len,
                         uint64_t out_sums[2])
{
    __m256i first = _mm256_setzero_si256(), second = first, third = first, fourth = first;
    const uint32_t *const start = key;
    const size_t whole = len / STEP * STEP;
    size_t at = 0;
    for (; at + 64 <= whole; at += 64, key += 16) {
        __m256i m = avx2_load(chunk + at), n = avx2_load(chunk + at + 32);
        first = _mm256_add_epi64(first, avx2_products(m, key));
        second = _mm256_add_epi64(second, avx2_products(m, key + 2));
        third = _mm256_add_epi64(third, avx2_products(n, key + 8));
        fourth = _mm256_add_epi64(fourth, avx2_products(n, key + 10));
    }
    if (at < whole) {
        __m256i m = avx2_load(chunk + at);
        first = _mm256_add_epi64(first, avx2_products(m, key));
        second = _mm256_add_epi64(second, avx2_products(m, key + 2));
    }
    out_sums[0] = avx2_total(_mm256_add_epi64(first, third));
    out_sums[1] = avx2_total(_mm256_add_epi64(second, fourth));
    add_end(nh_avx2, start, chunk, len, out_sums);
}

/* Those with VBMI2 do not slow down for wide registers (docs/decisions/0105). */
#define AVX512 __attribute__((target("avx512f,avx512bw,bmi2")))

AVX512 static inline __m512i avx512_products(__m512i m, __m512i key)
{
    __m512i t = _mm512_add_epi32(m, key);
    return _mm512_mul_epu32(t, _mm512_srli_epi64(t, 32));
}

struct avx512_sums {
    __m512i first, second;
};

AVX512 static inline __attribute__((always_inline)) struct avx512_sums
avx512_add(struct avx512_sums s, __m512i m, __m512i key, __m512i key_2)
{
    return (struct avx512_sums){_mm512_add_epi64(s.first, avx512_products(m, key)),
                                _mm512_add_epi64(s.second, avx512_products(m, key_2))};
}

AVX512 static inline __attribute__((always_inline)) struct avx512_sums
avx512_add_block(struct avx512_sums s, const uint8_t *block, const uint32_t *key)
{
    return avx512_add(s, _mm512_loadu_si512(block), _mm512_loadu_si512(key),
                      _mm512_loadu_si512(key + 2));
}

/* Of what is left at the end the key is masked, too, if it fills no more than one step. */
AVX512 static void nh_avx512(const uint32_t *key, const uint8_t *chunk, size_t len,
                             uint64_t out_sums[2])
{
    struct avx512_sums s = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    size_t at = 0;
    for (; at + 256 <= len; at += 256, key += 64)
#pragma GCC unroll 4
        for (size_t block = 0; block < 256; block += 64)
            s = avx512_add_block(s, chunk + at + block, key + block / 4);
    for (; at + 64 <= len; at += 64, key += 16)
        s = avx512_add_block(s, chunk + at, key);
    if (at < len) {
        const __mmask8 steps = len - at > STEP ? 0xFF : 0x0F;
        const __mmask64 there = _bzhi_u64(~UINT64_C(0), (uint32_t)(len - at));
        s = avx512_add(s, _mm512_maskz_loadu_epi8(there, chunk + at),
                       _mm512_maskz_loadu_epi64(steps, key),
                       _mm512_maskz_loadu_epi64(steps, key + 2));
    }
    out_sums[0] = (uint64_t)_mm512_reduce_add_epi64(s.first);
    out_sums[1] = (uint64_t)_mm512_reduce_add_epi64(s.second);
}
#endif

hash_nh_fn hash_nh_of(enum hash_way way)
{
    switch (way) {
    case HASH_WAY_SCALAR:
        return nh_scalar;
#if defined(__x86_64__)
    case HASH_WAY_SSE2:
        return nh_sse2;
    case HASH_WAY_AVX2:
        return __builtin_cpu_supports("avx2") ? nh_avx2 : NULL;
    case HASH_WAY_AVX512:
        return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vbmi2") &&
                       __builtin_cpu_supports("bmi2")
                   ? nh_avx512
                   : NULL;
#else
    case HASH_WAY_SSE2:
    case HASH_WAY_AVX2:
    case HASH_WAY_AVX512:
#endif
    case HASH_WAYS:
        break;
    }
    return NULL;
}

static hash_nh_fn nh_best = nh_scalar; /* Set before main. */

__attribute__((constructor)) static void choose_best(void)
{
    for (int way = HASH_WAY_SCALAR; way < HASH_WAYS; way++)
        if (hash_nh_of((enum hash_way)way) != NULL)
            nh_best = hash_nh_of((enum hash_way)way);
}

/* Every word of the key is a SipHash of its number. */
void hash_text_key_init(struct hash_text_key *key, struct siphash_key secret)
{
    for (uint32_t i = 0; i < KEY_WORDS; i += 2) {
        uint64_t words = siphash_2_4(secret, &(uint64_t){i}, 8);
        key->nh[i] = (uint32_t)words;
        key->nh[i + 1] = (uint32_t)(words >> 32);
    }
    key->finish.k0 = siphash_2_4(secret, &(uint64_t){KEY_WORDS}, 8);
    key->finish.k1 = siphash_2_4(secret, &(uint64_t){KEY_WORDS + 1}, 8);
}

static struct sip add_chunk(struct sip s, const uint32_t *nh, const uint8_t *chunk, size_t len)
{
    uint64_t sums[2];
    nh_best(nh, chunk, len, sums);
    return sip_block(sip_block(s, sums[0]), sums[1]);
}

/* The length tells apart what the zeros make equal. */
uint64_t hash_text(const struct hash_text_key *key, const void *data, size_t len)
{
    const uint8_t *p = data;
    struct sip s = sip_begin(key->finish);
    size_t left = len;
    for (; left >= HASH_TEXT_CHUNK_BYTES; left -= HASH_TEXT_CHUNK_BYTES, p += HASH_TEXT_CHUNK_BYTES)
        s = add_chunk(s, key->nh, p, HASH_TEXT_CHUNK_BYTES);
    if (left > 0)
        s = add_chunk(s, key->nh, p, left);
    return sip_final(sip_block(s, (uint64_t)len));
}
