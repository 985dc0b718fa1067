/* features_avx2.c: the steps of feature extraction in blocks of 32 bytes and four hashes. */
#include "common/route/features_internal.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX2   __attribute__((target("avx2,bmi,bmi2,popcnt")))
#define INLINE AVX2 static inline __attribute__((always_inline))

INLINE __m256i load(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

INLINE __m256i each(int byte)
{
    return _mm256_set1_epi8((char)byte);
}

/* 0xFF in every byte in [from, to], all below 128: one signed compare once `to` is moved to 127. */
INLINE __m256i in_range(__m256i v, int from, int to)
{
    return _mm256_cmpgt_epi8(_mm256_add_epi8(v, each(127 - to)), each(127 - (to - from) - 1));
}

/* Classes by two tables, of the low and the high four bits: bits 0-4 are code bytes of rows 2, 3,
 * 5, 6 and 7, bits 5-7 mathematics of rows 2, 3 and 5. A byte is of a class if both tables say so.
 */
enum { CODE_BITS = 0x1F, MATH_BITS = 0xE0 };

INLINE __m256i classes(__m256i v)
{
    const __m256i by_low = _mm256_broadcastsi128_si256(_mm_setr_epi8(
        /* `  ..  #     $     %  &  .  (  )     *  +;[{         <\|   -=]}         >^    /_ */
        8, 0, 0, 1, 0x20, 0x20, 1, 0, 1, 1, 0x20, 0x36, (char)0xD2, 0x76, (char)0xC2, 0x24));
    const __m256i by_high = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 0, 0x21, 0x42, 0, (char)0x84, 8, 16, 0, 0, 0, 0, 0, 0, 0, 0));
    __m256i low = _mm256_and_si256(v, each(0x0F));
    __m256i high = _mm256_and_si256(_mm256_srli_epi16(v, 4), each(0x0F));
    return _mm256_and_si256(_mm256_shuffle_epi8(by_low, low), _mm256_shuffle_epi8(by_high, high));
}

INLINE uint64_t mask_of(__m256i v)
{
    return (uint32_t)_mm256_movemask_epi8(v);
}

INLINE uint32_t total(__m256i bytes)
{
    __m256i sums = _mm256_sad_epu8(bytes, _mm256_setzero_si256());
    __m128i half = _mm_add_epi64(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
    return (uint32_t)(_mm_cvtsi128_si32(half) + _mm_extract_epi16(half, 4));
}

/* Counts of one byte each: a piece has at most 48 blocks. */
struct sums {
    __m256i no_code, no_math, digit, newline, question;
};

/* A block's bits; its bytes are lower-cased into the piece. */
INLINE void read_block(__m256i v, uint8_t *text, struct sums *s, uint64_t *out_word,
                       uint64_t *out_other)
{
    const __m256i zero = _mm256_setzero_si256();
    __m256i letter = in_range(_mm256_or_si256(v, each(0x20)), 'a', 'z');
    __m256i lower = _mm256_or_si256(v, _mm256_and_si256(letter, each(0x20)));
    __m256i class = classes(v);
    __m256i space = _mm256_or_si256(in_range(v, 9, 13), _mm256_cmpeq_epi8(v, each(' ')));
    s->no_code = _mm256_sub_epi8(s->no_code,
                                 _mm256_cmpeq_epi8(_mm256_and_si256(class, each(CODE_BITS)), zero));
    s->no_math = _mm256_sub_epi8(s->no_math,
                                 _mm256_cmpeq_epi8(_mm256_and_si256(class, each(MATH_BITS)), zero));
    s->digit = _mm256_sub_epi8(s->digit, in_range(v, '0', '9'));
    s->newline = _mm256_sub_epi8(s->newline, _mm256_cmpeq_epi8(v, each('\n')));
    s->question = _mm256_or_si256(s->question, _mm256_cmpeq_epi8(v, each('?')));
    _mm256_storeu_si256((__m256i *)(void *)text, lower);
    __m256i word = _mm256_or_si256(letter, v); /* Their top bits. */
    *out_word = mask_of(word);
    *out_other = mask_of(_mm256_or_si256(word, space)) ^ 0xFFFFFFFFU;
}

/* The text is copied first, spaces behind it, so that every block can be read whole. Spaces are in
 * no count and no token. */
AVX2 static void read_piece(const uint8_t *text, size_t len, struct features_piece *p,
                            struct features_counts *c)
{
    struct sums s;
    s.no_code = s.no_math = s.digit = s.newline = s.question = _mm256_setzero_si256();
    size_t wide = 0, blocks = 2 * (len / 64 + 1);
    uint64_t before = 0;
    p->len = len;
    if (len > 0)
        memcpy(p->text, text, len);
    for (size_t i = 0; i < FEATURES_PAD_BYTES; i += 32)
        _mm256_storeu_si256((__m256i *)(void *)(p->text + len + i), each(' '));
    for (size_t w = 0; w < blocks / 2; w++) {
        uint64_t word_low, other_low, word_high, other_high;
        uint8_t *at = p->text + 64 * w;
        __m256i v = load(at), u = load(at + 32);
        wide += (size_t)__builtin_popcountll(mask_of(v) | mask_of(u) << 32);
        read_block(v, at, &s, &word_low, &other_low);
        read_block(u, at + 32, &s, &word_high, &other_high);
        uint64_t word = word_low | word_high << 32;
        p->word[w] = word;
        p->other[w] = other_low | other_high << 32;
        c->word_bytes += (uint32_t)__builtin_popcountll(word);
        c->word_runs += (uint32_t)__builtin_popcountll(word & ~(word << 1 | before));
        before = word >> 63;
    }
    c->code += (uint32_t)(32 * blocks) - total(s.no_code);
    c->math += (uint32_t)(32 * blocks) - total(s.no_math);
    c->digit += total(s.digit);
    c->newline += total(s.newline);
    c->non_ascii += (uint32_t)wide;
    c->bytes += (uint32_t)len;
    c->question = c->question || !_mm256_testz_si256(s.question, s.question);
}

/* The places of the bits of every byte, one after the other: filled before main. */
static uint64_t packed[256];

__attribute__((constructor)) static void pack_places(void)
{
    for (unsigned bits = 0; bits < 256; bits++)
        for (unsigned place = 0, n = 0; place < 8; place++)
            if ((bits >> place & 1) != 0)
                packed[bits] |= (uint64_t)place << (8 * n++);
}

/* Writes base + the place of each bit, and up to seven numbers past them; returns the end. No
 * branch: how many bits there are, nothing could foretell. */
INLINE uint16_t *list_eight(uint8_t bits, __m128i base, uint16_t *to)
{
    const __m128i *from = (const __m128i *)(const void *)&packed[bits];
    __m128i places = _mm_add_epi16(_mm_cvtepu8_epi16(_mm_loadl_epi64(from)), base);
    _mm_storeu_si128((__m128i *)(void *)to, places);
    return to + __builtin_popcount(bits);
}

/* Of text without spaces there are often two or fewer. */
INLINE uint16_t *list_bits(uint64_t bits, uint32_t base, uint16_t *to)
{
    const uint64_t second = _blsr_u64(bits);
    if (_blsr_u64(second) == 0) {
        to[0] = (uint16_t)(base + (uint32_t)_tzcnt_u64(bits));
        to[1] = (uint16_t)(base + (uint32_t)_tzcnt_u64(second));
        return to + __builtin_popcountll(bits);
    }
    __m128i from = _mm_set1_epi16((short)base);
    uint8_t eight[8]; /* Through memory: quicker than to shift them out. */
    memcpy(eight, &bits, sizeof eight);
#pragma GCC unroll 8
    for (unsigned i = 0; i < 8; i++) {
        to = list_eight(eight[i], from, to);
        from = _mm_add_epi16(from, _mm_set1_epi16(8));
    }
    return to;
}

/* First and last bytes come in the same order, so they are listed one after the other; len is where
 * each token ends. */
INLINE void find_ends(const struct features_piece *p, struct features_tokens *t)
{
    uint16_t *firsts = t->at, *lasts = t->len;
    const size_t words = p->len / 64 + 1;
    uint64_t before = 0, word = p->word[0];
    for (size_t w = 0; w < words; w++) {
        const uint64_t next = w + 1 < words ? p->word[w + 1] : 0, other = p->other[w];
        const uint32_t base = (uint32_t)w * 64;
        firsts = list_bits(other | (word & ~(word << 1 | before)), base, firsts);
        lasts = list_bits(other | (word & ~(word >> 1 | next << 63)), base, lasts);
        before = word >> 63;
        word = next;
    }
    t->count = (uint32_t)(firsts - t->at);
}

INLINE bool is_any_above(__m256i v, int limit)
{
    const __m256i over = _mm256_subs_epu16(v, _mm256_set1_epi16((short)limit));
    return _mm256_testz_si256(over, over) == 0;
}

AVX2 static void find_tokens(const struct features_piece *p, struct features_tokens *t)
{
    __m256i longest = _mm256_setzero_si256();
    find_ends(p, t);
    for (uint32_t i = t->count; i < t->count + 15; i++)
        t->at[i] = t->len[i] = 0; /* So that a block can be taken whole. */
    for (uint32_t i = 0; i < t->count; i += 16) {
        __m256i len = _mm256_sub_epi16(load(t->len + i), load(t->at + i));
        len = _mm256_add_epi16(len, _mm256_set1_epi16(1));
        _mm256_storeu_si256((__m256i *)(void *)(t->len + i), len);
        longest = _mm256_max_epu16(longest, len);
    }
    t->any_long = is_any_above(longest, FEATURES_SHORT_BYTES);
    if (t->any_long && is_any_above(longest, FEATURES_TOKEN_BYTES))
        features_split_long(t);
}

AVX2 static void read_tokens(const uint8_t *text, size_t len, struct features_piece *p,
                             struct features_tokens *t, struct features_counts *c)
{
    read_piece(text, len, p, c);
    find_tokens(p, t);
}

/* ---- four SipHash-1-3 at a time ---- */

struct sip4 {
    __m256i v0, v1, v2, v3;
};

#define ROTL4(x, b) _mm256_or_si256(_mm256_slli_epi64(x, b), _mm256_srli_epi64(x, 64 - (b)))

INLINE __m256i rotl16(__m256i x)
{
    const __m256i order = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(6, 7, 0, 1, 2, 3, 4, 5, 14, 15, 8, 9, 10, 11, 12, 13));
    return _mm256_shuffle_epi8(x, order);
}

INLINE __m256i rotl32(__m256i x)
{
    return _mm256_shuffle_epi32(x, 0xB1);
}

/* The state before the first block, and what the first round makes of it before it needs the block:
 * v0 + v1 turned, v1 after its first step, and that turned. The same for every message. */
struct begin4 {
    __m256i v2, v3, sum, v1, v1_turned;
};

INLINE struct begin4 begin4(struct siphash_key key)
{
    const struct sip s = sip_begin(key);
    const uint64_t sum = s.v0 + s.v1, v1 = SIP_ROTL(s.v1, 13) ^ sum;
    return (struct begin4){_mm256_set1_epi64x((long long)s.v2), _mm256_set1_epi64x((long long)s.v3),
                           _mm256_set1_epi64x((long long)SIP_ROTL(sum, 32)),
                           _mm256_set1_epi64x((long long)v1),
                           _mm256_set1_epi64x((long long)SIP_ROTL(v1, 17))};
}

INLINE struct sip4 first4(const struct begin4 *b, __m256i m)
{
    struct sip4 s;
    s.v3 = _mm256_xor_si256(b->v3, m);
    s.v2 = _mm256_add_epi64(b->v2, s.v3);
    s.v3 = _mm256_xor_si256(rotl16(s.v3), s.v2);
    s.v0 = _mm256_add_epi64(b->sum, s.v3);
    s.v3 = _mm256_xor_si256(ROTL4(s.v3, 21), s.v0);
    s.v2 = _mm256_add_epi64(s.v2, b->v1);
    s.v1 = _mm256_xor_si256(b->v1_turned, s.v2);
    s.v2 = rotl32(s.v2);
    s.v0 = _mm256_xor_si256(s.v0, m);
    return s;
}

INLINE struct sip4 round4(struct sip4 s)
{
    s.v0 = _mm256_add_epi64(s.v0, s.v1);
    s.v1 = _mm256_xor_si256(ROTL4(s.v1, 13), s.v0);
    s.v0 = rotl32(s.v0);
    s.v2 = _mm256_add_epi64(s.v2, s.v3);
    s.v3 = _mm256_xor_si256(rotl16(s.v3), s.v2);
    s.v0 = _mm256_add_epi64(s.v0, s.v3);
    s.v3 = _mm256_xor_si256(ROTL4(s.v3, 21), s.v0);
    s.v2 = _mm256_add_epi64(s.v2, s.v1);
    s.v1 = _mm256_xor_si256(ROTL4(s.v1, 17), s.v2);
    s.v2 = rotl32(s.v2);
    return s;
}

INLINE struct sip4 block4(struct sip4 s, __m256i m)
{
    s.v3 = _mm256_xor_si256(s.v3, m);
    s = round4(s);
    s.v0 = _mm256_xor_si256(s.v0, m);
    return s;
}

/* All but the last steps, from which v1, v2 and v3 give the result: v0 cancels out of it. */
INLINE struct sip4 final4(struct sip4 s)
{
    s.v2 = _mm256_xor_si256(s.v2, _mm256_set1_epi64x(0xff));
    s = round4(round4(s));
    s.v0 = _mm256_add_epi64(s.v0, s.v1);
    s.v1 = _mm256_xor_si256(ROTL4(s.v1, 13), s.v0);
    s.v2 = _mm256_add_epi64(s.v2, s.v3);
    s.v3 = _mm256_xor_si256(rotl16(s.v3), s.v2);
    s.v2 = _mm256_add_epi64(s.v2, s.v1);
    return s;
}

INLINE __m256i result4(struct sip4 s)
{
    return _mm256_xor_si256(_mm256_xor_si256(ROTL4(s.v1, 17), s.v2),
                            _mm256_xor_si256(rotl32(s.v2), ROTL4(s.v3, 21)));
}

/* Its highest 16 bits, in the second lowest: what is turned around is not needed. */
INLINE __m256i index4(struct sip4 s)
{
    __m256i x = _mm256_xor_si256(_mm256_srli_epi64(s.v1, 15), _mm256_srli_epi64(s.v3, 11));
    return _mm256_xor_si256(_mm256_xor_si256(x, s.v2), _mm256_srli_epi64(s.v2, 32));
}

INLINE __m256i choose(__m256i mask, __m256i yes, __m256i no)
{
    return _mm256_blendv_epi8(no, yes, mask);
}

/* The two blocks that tag and text of four tokens of at most 14 bytes fill, tag and length not yet
 * in them. What is read of each token begins with the byte before it and is cut by its length. */
INLINE void load_four(const uint8_t *text, const uint16_t *at, __m256i lens, __m256i *out_first,
                      __m256i *out_second)
{
    const __m256i place = _mm256_broadcastsi128_si256(/* Of a byte in the token; -: not of it. */
                                                      _mm_setr_epi8(127, 0, 1, 2, 3, 4, 5, 6, 7, 8,
                                                                    9, 10, 11, 12, 13, 14));
    const __m256i len_odd = _mm256_setr_epi64x(0, 0, 0x0404040404040404, 0x0404040404040404);
    const __m256i two = _mm256_set1_epi8(2);
    const __m128i *one = (const __m128i *)(const void *)(text + at[0] - 1);
    const __m128i *second = (const __m128i *)(const void *)(text + at[1] - 1);
    const __m128i *third = (const __m128i *)(const void *)(text + at[2] - 1);
    const __m128i *fourth = (const __m128i *)(const void *)(text + at[3] - 1);
    __m256i odd = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(one)),
                                          _mm_loadu_si128(third), 1);
    __m256i even = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(second)),
                                           _mm_loadu_si128(fourth), 1);
    __m256i odd_len = _mm256_shuffle_epi8(lens, len_odd);
    __m256i even_len = _mm256_shuffle_epi8(lens, _mm256_add_epi8(len_odd, two));
    odd = _mm256_and_si256(odd, _mm256_cmpgt_epi8(odd_len, place));
    even = _mm256_and_si256(even, _mm256_cmpgt_epi8(even_len, place));
    *out_first = _mm256_unpacklo_epi64(odd, even);
    *out_second = _mm256_unpackhi_epi64(odd, even);
}

/* Four tokens of at most 14 bytes: tag and text fill one block or two. */
INLINE __m256i hash_short(const struct begin4 *begin, const uint8_t *text, const uint16_t *at,
                          uint64_t four)
{
    const __m128i lens = _mm_cvtsi64_si128((long long)four);
    const __m256i len = _mm256_cvtepu16_epi64(lens);
    __m256i first, second;
    load_four(text, at, _mm256_broadcastq_epi64(lens), &first, &second);
    __m256i last = _mm256_slli_epi64(_mm256_add_epi64(len, _mm256_set1_epi64x(1)), 56);
    __m256i two = _mm256_cmpgt_epi64(len, _mm256_set1_epi64x(6));
    first = _mm256_or_si256(first, _mm256_set1_epi64x(FEATURES_TAG_UNIGRAM));
    struct sip4 s = first4(begin, _mm256_or_si256(first, _mm256_andnot_si256(two, last)));
    struct sip4 t = block4(s, _mm256_or_si256(second, last));
    s.v0 = choose(two, t.v0, s.v0);
    s.v1 = choose(two, t.v1, s.v1);
    s.v2 = choose(two, t.v2, s.v2);
    s.v3 = choose(two, t.v3, s.v3);
    return result4(final4(s));
}

/* The pairs of the four tokens whose hashes stand at `here`, one before them: their blocks are what
 * lies there in memory, beginning a byte earlier. The last bytes of two 16-bit numbers are each
 * token's index and its pair's. */
INLINE __m256i hash_pairs(const struct begin4 *begin, const uint64_t *here)
{
    const __m256i tag = _mm256_set1_epi64x(FEATURES_TAG_BIGRAM);
    const __m256i is_text = _mm256_set1_epi64x(~INT64_C(0xFF));
    const __m256i len = _mm256_set1_epi64x((long long)(UINT64_C(17) << 56));
    const __m256i first = load((const uint8_t *)(here - 1) - 1);
    const __m256i second = load((const uint8_t *)here - 1), hashes = load(here);
    struct sip4 s = first4(begin, choose(is_text, first, tag));
    s = block4(s, second);
    s = block4(s, _mm256_or_si256(_mm256_srli_epi64(hashes, 56), len));
    return _mm256_blend_epi16(index4(final4(s)), _mm256_srli_epi64(hashes, 48), 0x55);
}

INLINE uint64_t four_lengths(const uint16_t *len)
{
    uint64_t four;
    memcpy(&four, len, sizeof four);
    return four;
}

#define FOUR(x) (UINT64_C(0x0001000100010001) * (x))

INLINE void hash_each(const struct features_hasher *h, const struct features_piece *p,
                      const struct features_tokens *t, const struct begin4 *begin, uint64_t *hash)
{
    for (uint32_t i = 0; i < t->count; i += 4) {
        const uint64_t four = four_lengths(t->len + i);
        const uint16_t *at = t->at + i;
        if (four == FOUR(1)) {
            for (unsigned k = 0; k < 4; k++)
                hash[i + k] = h->single[p->text[at[k]]];
            continue;
        }
        _mm256_storeu_si256((__m256i *)(void *)(hash + i), hash_short(begin, p->text, at, four));
        if (!t->any_long)
            continue;
        for (unsigned k = 0; k < 4; k++)
            if (t->len[i + k] > FEATURES_SHORT_BYTES)
                hash[i + k] =
                    features_hash_token(sip_begin(h->key), p->text + at[k], t->len[i + k]);
    }
}

AVX2 static void hash_tokens(const struct features_hasher *h, const struct features_piece *p,
                             struct features_tokens *t, uint16_t *out_index)
{
    __attribute__((uninitialized)) uint64_t hash[2 + FEATURES_PIECE_MAX + 8];
    const struct begin4 begin = begin4(h->key);
    const uint32_t count = t->count;
    for (uint32_t i = count; i < count + 8; i++) { /* Up to seven more are hashed. */
        t->at[i] = 0;
        t->len[i] = 1;
    }
    hash[0] = hash[1] = 0;
    hash_each(h, p, t, &begin, hash + 2);
    for (uint32_t i = 0; i < count; i += 8) {
        const uint64_t *here = hash + 2 + i;
        __m256 low = _mm256_castsi256_ps(hash_pairs(&begin, here));
        __m256 high = _mm256_castsi256_ps(hash_pairs(&begin, here + 4));
        __m256i both = _mm256_castps_si256(_mm256_shuffle_ps(low, high, 0x88));
        both = _mm256_permute4x64_epi64(both, 0xD8);
        _mm256_storeu_si256((__m256i *)(void *)(out_index + (size_t)2 * i), both);
    }
    out_index[1] = out_index[0];
}

const struct features_way features_avx2 = {read_tokens, hash_tokens, features_sort_avx2};
#else
extern int features_avx2_is_not_here; /* A file must declare something. */
#endif
