/* features_hash_avx512.c: SipHash-1-3 of eight tokens and of eight pairs at a time, for the same
 * processors as features_avx512.c. Each step waits for the one before it, so a group of tokens is
 * hashed beside the pairs of the group before. docs/decisions/0269. */
#include "common/route/features_internal.h"

#if defined(__x86_64__)
#include "common/route/features_avx512.h"

struct sip8 {
    __m512i v0, v1, v2, v3;
};

/* As in features_avx2.c: what the first round makes of the key before it needs the block. */
struct begin8 {
    __m512i v2, v3, sum, v1, v1_turned;
};

INLINE __m512i each_u64(uint64_t value)
{
    return _mm512_set1_epi64((long long)value);
}

INLINE struct begin8 begin8(struct siphash_key key)
{
    const struct sip s = sip_begin(key);
    const uint64_t sum = s.v0 + s.v1, v1 = SIP_ROTL(s.v1, 13) ^ sum;
    return (struct begin8){each_u64(s.v2), each_u64(s.v3), each_u64(SIP_ROTL(sum, 32)),
                           each_u64(v1), each_u64(SIP_ROTL(v1, 17))};
}

INLINE struct sip8 first8(const struct begin8 *b, __m512i m)
{
    struct sip8 s;
    s.v3 = _mm512_xor_si512(b->v3, m);
    s.v2 = _mm512_add_epi64(b->v2, s.v3);
    s.v3 = _mm512_xor_si512(_mm512_rol_epi64(s.v3, 16), s.v2);
    s.v0 = _mm512_add_epi64(b->sum, s.v3);
    s.v3 = _mm512_xor_si512(_mm512_rol_epi64(s.v3, 21), s.v0);
    s.v2 = _mm512_add_epi64(s.v2, b->v1);
    s.v1 = _mm512_xor_si512(b->v1_turned, s.v2);
    s.v2 = _mm512_rol_epi64(s.v2, 32);
    s.v0 = _mm512_xor_si512(s.v0, m);
    return s;
}

/* A round but for its last turns and what is done with them. */
INLINE struct sip8 most8(struct sip8 s)
{
    s.v0 = _mm512_add_epi64(s.v0, s.v1);
    s.v2 = _mm512_add_epi64(s.v2, s.v3);
    s.v1 = _mm512_xor_si512(_mm512_rol_epi64(s.v1, 13), s.v0);
    s.v3 = _mm512_xor_si512(_mm512_rol_epi64(s.v3, 16), s.v2);
    s.v0 = _mm512_add_epi64(_mm512_rol_epi64(s.v0, 32), s.v3);
    s.v2 = _mm512_add_epi64(s.v2, s.v1);
    return s;
}

INLINE struct sip8 round8(struct sip8 s)
{
    s = most8(s);
    s.v3 = _mm512_xor_si512(_mm512_rol_epi64(s.v3, 21), s.v0);
    s.v1 = _mm512_xor_si512(_mm512_rol_epi64(s.v1, 17), s.v2);
    s.v2 = _mm512_rol_epi64(s.v2, 32);
    return s;
}

INLINE struct sip8 block8(struct sip8 s, __m512i m)
{
    s.v3 = _mm512_xor_si512(s.v3, m);
    s = round8(s);
    s.v0 = _mm512_xor_si512(s.v0, m);
    return s;
}

/* A block that only `some` have; the others stay as they are. */
INLINE struct sip8 block_of_some(struct sip8 s, __mmask8 some, __m512i m)
{
    struct sip8 t = s;
    t.v3 = _mm512_xor_si512(t.v3, m);
    t = most8(t);
    s.v0 = _mm512_mask_xor_epi64(s.v0, some, t.v0, m);
    s.v1 = _mm512_mask_xor_epi64(s.v1, some, _mm512_rol_epi64(t.v1, 17), t.v2);
    s.v2 = _mm512_mask_rol_epi64(s.v2, some, t.v2, 32);
    s.v3 = _mm512_mask_xor_epi64(s.v3, some, _mm512_rol_epi64(t.v3, 21), t.v0);
    return s;
}

/* All but the last steps, from which v1, v2 and v3 give the result: v0 cancels out of it. */
INLINE struct sip8 final8(struct sip8 s)
{
    s.v2 = _mm512_xor_si512(s.v2, each_u64(0xff));
    return most8(round8(round8(s)));
}

INLINE __m512i result8(struct sip8 s)
{
    return _mm512_xor_si512(
        _mm512_xor_si512(_mm512_rol_epi64(s.v1, 17), _mm512_rol_epi64(s.v3, 21)),
        _mm512_xor_si512(s.v2, _mm512_rol_epi64(s.v2, 32)));
}

/* Of the bytes of a token's two blocks those that are text, and tag and length beside them, by the
 * lowest three bits of the token's length; for the first block all from 7 on count as 7. */
#define LOWEST(bytes) ((UINT64_C(1) << 8 * (bytes)) - 1)
#define TEXT(bytes)   (LOWEST(bytes) << 8)
#define LENGTH(bytes) (UINT64_C(bytes) << 56)
#define ALONE(bytes)  (LENGTH(bytes) | FEATURES_TAG_UNIGRAM)
static const uint64_t first_text[8] = {0,       TEXT(1), TEXT(2), TEXT(3),
                                       TEXT(4), TEXT(5), TEXT(6), ~LOWEST(1)};
static const uint64_t first_rest[8] = {ALONE(1), ALONE(2), ALONE(3), ALONE(4),
                                       ALONE(5), ALONE(6), ALONE(7), FEATURES_TAG_UNIGRAM};
static const uint64_t second_text[8] = {LOWEST(1), LOWEST(2), LOWEST(3), LOWEST(4),
                                        LOWEST(5), LOWEST(6), LOWEST(7), 0};
static const uint64_t second_rest[8] = {LENGTH(9),  LENGTH(10), LENGTH(11), LENGTH(12),
                                        LENGTH(13), LENGTH(14), LENGTH(15), LENGTH(8)};

/* Eight bytes each from the one before eight tokens on, and the eight after them. The tokens begin
 * within WINDOW bytes, so that of 128 bytes all of it can be picked. */
struct words {
    __m512i first, second;
};
enum { WINDOW = 112 };

INLINE struct words pick_words(const uint8_t *text, const uint16_t *at)
{
    static const uint8_t spread[64] = {
        0,  0,  0,  0,  0,  0,  0,  0,  2,  2,  2,  2,  2,  2,  2,  2,  4,  4,  4,  4,  4,  4,
        4,  4,  6,  6,  6,  6,  6,  6,  6,  6,  8,  8,  8,  8,  8,  8,  8,  8,  10, 10, 10, 10,
        10, 10, 10, 10, 12, 12, 12, 12, 12, 12, 12, 12, 14, 14, 14, 14, 14, 14, 14, 14};
    const uint8_t *const from = text + at[0] - 1;
    const __m512i places = _mm512_sub_epi8(each_u64(UINT64_C(0x0706050403020100)), each(at[0]));
    const __m512i byte = _mm512_add_epi8(_mm512_permutexvar_epi8(load(spread), load(at)), places);
    const __m512i low = load(from), high = load(from + 64);
    const __m512i second = _mm512_permutex2var_epi8(low, _mm512_add_epi8(byte, each(8)), high);
    return (struct words){_mm512_permutex2var_epi8(low, byte, high), second};
}

/* Without optimisation a gather is a macro of the compiler's, whose mask has a sign. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion"
INLINE struct words fetch_words(const uint8_t *text, const uint16_t *at)
{
    const __m512i place = _mm512_cvtepu16_epi64(_mm_loadu_si128((const __m128i *)(const void *)at));
    return (struct words){_mm512_i64gather_epi64(place, text - 1, 1),
                          _mm512_i64gather_epi64(place, text + 7, 1)};
}

INLINE __m512i hash_singles(const struct features_hasher *h, const uint8_t *text)
{
    __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)text);
    return _mm512_i64gather_epi64(_mm512_cvtepu8_epi64(bytes), h->single, 8);
}
#pragma GCC diagnostic pop

/* What is hashed of eight tokens of at most 14 bytes: tag and text fill one block, or two. */
struct blocks {
    __m512i first, second;
    __mmask8 two;
};

INLINE struct blocks blocks_of(struct words w, __m512i len)
{
    const __m512i seven = each_u64(7), capped = _mm512_min_epu64(len, seven);
    const __m512i first = _mm512_permutexvar_epi64(capped, load(first_text));
    const __m512i second = _mm512_permutexvar_epi64(len, load(second_text));
    return (struct blocks){
        _mm512_or_si512(_mm512_and_si512(first, w.first),
                        _mm512_permutexvar_epi64(capped, load(first_rest))),
        _mm512_or_si512(_mm512_and_si512(second, w.second),
                        _mm512_permutexvar_epi64(len, load(second_rest))),
        _mm512_cmpge_epu64_mask(len, seven),
    };
}

/* The longer ones were hashed wrong. */
AVX512 static __attribute__((noinline)) __m512i hash_long(const struct features_hasher *h,
                                                          const uint8_t *text, const uint16_t *at,
                                                          const uint16_t *len, __m512i hashes)
{
    uint64_t hash[8];
    _mm512_storeu_si512(hash, hashes);
    for (uint32_t i = 0; i < 8; i++)
        if (len[i] > FEATURES_SHORT_BYTES)
            hash[i] = features_hash_token(sip_begin(h->key), text + at[i], len[i]);
    return load(hash);
}

INLINE __m512i hash_short(const struct begin8 *begin, struct blocks b)
{
    return result8(final8(block_of_some(first8(begin, b.first), b.two, b.second)));
}

/* What is hashed of pairs: 17 bytes in three blocks. */
struct pairs {
    __m512i first, second, third;
};

INLINE struct pairs pairs_of(__m512i before, __m512i hash)
{
    const __m512i tag = each_u64((uint64_t)FEATURES_TAG_BIGRAM << 56);
    const __m512i len = each_u64(LENGTH(17) >> 8);
    return (struct pairs){_mm512_shldi_epi64(before, tag, 8), _mm512_shldi_epi64(hash, before, 8),
                          _mm512_shldi_epi64(len, hash, 8)};
}

INLINE __m512i hash_pairs(const struct begin8 *begin, struct pairs p)
{
    struct sip8 s = first8(begin, p.first);
    s = block8(s, p.second);
    return result8(final8(block8(s, p.third)));
}

/* Pairs of eight tokens and the next eight tokens side by side, step by step, for each alone waits
 * for each of its results. */
INLINE __m512i hash_both(const struct begin8 *begin, struct pairs p, struct blocks b,
                         __m512i *out_pairs)
{
    struct sip8 s = first8(begin, p.first), t = first8(begin, b.first);
    s = block8(s, p.second);
    t = block_of_some(t, b.two, b.second);
    s = block8(s, p.third);
    s.v2 = _mm512_xor_si512(s.v2, each_u64(0xff));
    t.v2 = _mm512_xor_si512(t.v2, each_u64(0xff));
    s = round8(s);
    t = round8(t);
    s = round8(s);
    t = round8(t);
    *out_pairs = result8(most8(s));
    return result8(most8(t));
}

/* The highest 16 bits of each token's hash and of its pair's. */
INLINE __m256i indices(__m512i hash, __m512i pair)
{
    static const uint16_t highest[32] = {3,  35, 7,  39, 11, 43, 15, 47,
                                         19, 51, 23, 55, 27, 59, 31, 63};
    return _mm512_castsi512_si256(_mm512_permutex2var_epi16(hash, load(highest), pair));
}

INLINE struct blocks read_eight(const uint8_t *text, const uint16_t *at, const uint16_t *len)
{
    const unsigned apart = (unsigned)at[7] - at[0];
    const __m128i lens = _mm_loadu_si128((const __m128i *)(const void *)len);
    return blocks_of(apart <= WINDOW ? pick_words(text, at) : fetch_words(text, at),
                     _mm512_cvtepu16_epi64(lens));
}

/* Of the tokens from `next` on and, into *out_pairs, of the pairs of the eight before them. */
INLINE __m512i hash_next(const struct features_hasher *h, const struct begin8 *begin,
                         const uint8_t *text, const struct features_tokens *t, size_t next,
                         struct pairs p, __m512i *out_pairs)
{
    const uint16_t *const at = t->at + next, *const len = t->len + next;
    /* None, or one byte each, side by side. */
    if (next >= t->count || (at[7] - at[0] == 7 && len[7] == 1)) {
        *out_pairs = hash_pairs(begin, p);
        return hash_singles(h, text + at[0]);
    }
    return hash_both(begin, p, read_eight(text, at, len), out_pairs);
}

AVX512 void features_hash_avx512(const struct features_hasher *h, const struct features_piece *p,
                                 struct features_tokens *t, uint16_t *out_index)
{
    const struct begin8 begin = begin8(h->key);
    const size_t count = t->count;
    if (count == 0)
        return;
    /* Up to 7 more are hashed, and 8 looked up; of two bytes, so that they are not taken for one of
     * those that stand side by side. */
    _mm256_storeu_si256((__m256i *)(void *)(t->at + count),
                        _mm256_set1_epi16((short)t->at[count - 1]));
    _mm256_storeu_si256((__m256i *)(void *)(t->len + count), _mm256_set1_epi16(2));
    __m512i before = _mm512_setzero_si512(), of_pairs; /* Of no token. */
    __m512i hash = hash_short(&begin, read_eight(p->text, t->at, t->len));
    for (size_t i = 0; i < count; i += 8) {
        if (__builtin_expect(t->any_long, 0))
            hash = hash_long(h, p->text, t->at + i, t->len + i, hash);
        const struct pairs pairs = pairs_of(_mm512_alignr_epi64(hash, before, 7), hash);
        before = hash;
        hash = hash_next(h, &begin, p->text, t, i + 8, pairs, &of_pairs);
        _mm256_storeu_si256((__m256i *)(void *)(out_index + 2 * i), indices(before, of_pairs));
    }
    out_index[1] = out_index[0];
}
#else
extern int features_hash_avx512_is_not_here; /* A file must declare something. */
#endif
