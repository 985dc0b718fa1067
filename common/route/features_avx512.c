/* features_avx512.c: the steps of feature extraction in blocks of 64 bytes, for processors that can
 * also look bytes up and pack them (Intel since 2019, AMD since 2022). The older ones with AVX-512
 * slow down when they use it: they take features_avx2.c. */
#include "common/route/features_internal.h"

#if defined(__x86_64__)
#include "common/route/features_avx512.h"

INLINE uint32_t ones_of(uint64_t mask)
{
    return (uint32_t)__builtin_popcountll(mask);
}

/* ---- bytes ---- */

/* UPPER is what makes a lower-case letter of an upper-case one. */
enum {
    WORD = 1,
    OTHER = 2, /* Neither of a word nor white space. */
    CODE = 4,
    MATH = 8,
    DIGIT = 16,
    UPPER = 32,
    NEWLINE = 64,
    QUESTION = 128,
    WIDE = 128, /* Of the byte itself. */
};

#define IS_UPPER(b) ((b) >= 'A' && (b) <= 'Z')
#define IS_LOWER(b) ((b) >= 'a' && (b) <= 'z')
#define IS_SPACE(b) ((b) == ' ' || ((b) >= 9 && (b) <= 13))
#define IS_CODE(b)                                                                                 \
    ((b) == '{' || (b) == '}' || (b) == '(' || (b) == ')' || (b) == '[' || (b) == ']' ||           \
     (b) == ';' || (b) == '=' || (b) == '<' || (b) == '>' || (b) == '_' || (b) == '#' ||           \
     (b) == '&' || (b) == '|' || (b) == '`')
#define IS_MATH(b)                                                                                 \
    ((b) == '+' || (b) == '-' || (b) == '*' || (b) == '/' || (b) == '=' || (b) == '^' ||           \
     (b) == '%' || (b) == '<' || (b) == '>' || (b) == '\\' || (b) == '$')
#define IS_LETTER(b) (IS_UPPER(b) || IS_LOWER(b))
#define CLASS(b)                                                                                   \
    (uint8_t)((IS_UPPER(b) ? UPPER : 0) | (IS_LETTER(b) ? WORD : 0) |                              \
              (IS_LETTER(b) || IS_SPACE(b) ? 0 : OTHER) | (IS_CODE(b) ? CODE : 0) |                \
              (IS_MATH(b) ? MATH : 0) | ((b) >= '0' && (b) <= '9' ? DIGIT : 0) |                   \
              ((b) == '\n' ? NEWLINE : 0) | ((b) == '?' ? QUESTION : 0))
#define FOUR(b)    CLASS(b), CLASS((b) + 1), CLASS((b) + 2), CLASS((b) + 3)
#define SIXTEEN(b) FOUR(b), FOUR((b) + 4), FOUR((b) + 8), FOUR((b) + 12)

/* Of every byte below 128. */
static const uint8_t classes[128] = {SIXTEEN(0),  SIXTEEN(16), SIXTEEN(32), SIXTEEN(48),
                                     SIXTEEN(64), SIXTEEN(80), SIXTEEN(96), SIXTEEN(112)};

/* How many bytes of all blocks have a bit and how many another one, in each place of 32 bits of the
 * four bytes there: the second count from bit 7 on. */
struct sums {
    __m512i word_other, code_math, digit_newline, wide, any;
};
_Static_assert(4 * FEATURES_PIECE_WORDS < 128, "a place has room for the counts of a piece");

/* The matrix takes one bit to the lowest and the other to the highest, and leaves the rest out. */
INLINE __m512i count(__m512i sum, __m512i bytes, uint64_t bit, uint64_t other)
{
    const __m512i matrix = _mm512_set1_epi64((long long)(bit << 56 | other));
    return _mm512_dpbusd_epi32(sum, _mm512_gf2p8affine_epi64_epi8(bytes, matrix, 0), each(1));
}

INLINE __m512i count_of_bit(__m512i sum)
{
    return _mm512_and_si512(sum, _mm512_set1_epi32(127));
}

INLINE __m512i count_of_other(__m512i sum)
{
    return _mm512_srli_epi32(sum, 7);
}

/* The sums of all places of four counts, which are below 256 in each. */
INLINE __m128i total(__m512i a, __m512i b, __m512i c, __m512i d)
{
    const __m512i bytewise =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    const __m512i ab = _mm512_or_si512(a, _mm512_slli_epi32(b, 8));
    const __m512i cd = _mm512_or_si512(_mm512_slli_epi32(c, 16), _mm512_slli_epi32(d, 24));
    const __m512i all = _mm512_shuffle_epi8(_mm512_or_si512(ab, cd), bytewise);
    const __m512i sum = _mm512_dpbusd_epi32(_mm512_setzero_si512(), all, each(1));
    const __m256i half =
        _mm256_add_epi32(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64(sum, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

INLINE void add_sums(const struct sums *s, size_t len, uint32_t tokens, struct features_counts *c)
{
    const __m128i first = total(count_of_bit(s->code_math), count_of_other(s->code_math),
                                count_of_bit(s->digit_newline), count_of_other(s->digit_newline));
    const __m128i second = total(count_of_bit(s->word_other), count_of_other(s->word_other),
                                 s->wide, _mm512_setzero_si512());
    c->code += (uint32_t)_mm_extract_epi32(first, 0);
    c->math += (uint32_t)_mm_extract_epi32(first, 1);
    c->digit += (uint32_t)_mm_extract_epi32(first, 2);
    c->newline += (uint32_t)_mm_extract_epi32(first, 3);
    c->non_ascii += (uint32_t)_mm_extract_epi32(second, 2);
    c->bytes += (uint32_t)len;
    c->word_bytes += (uint32_t)_mm_extract_epi32(second, 0);
    c->word_runs += tokens - (uint32_t)_mm_extract_epi32(second, 1);
    c->question = c->question || _mm512_test_epi8_mask(s->any, each(QUESTION)) != 0;
}

/* A block's bytes, lower-cased, and which of them are of words and which are tokens by themselves.
 */
struct block {
    __m512i lower;
    uint64_t word, other;
};

INLINE struct block read_block(__m512i v, struct sums *s)
{
    const __m512i ascii = _mm512_permutex2var_epi8(load(classes), v, load(classes + 64));
    const __m512i class = _mm512_mask_mov_epi8(ascii, _mm512_movepi8_mask(v), each(WORD));
    s->word_other = count(s->word_other, class, WORD, OTHER);
    s->code_math = count(s->code_math, class, CODE, MATH);
    s->digit_newline = count(s->digit_newline, class, DIGIT, NEWLINE);
    s->wide = count(s->wide, v, WIDE, 0);
    s->any = _mm512_or_si512(s->any, class);
    return (struct block){
        .lower = _mm512_or_si512(v, _mm512_and_si512(class, each(UPPER))),
        .word = _mm512_test_epi8_mask(class, each(WORD)),
        .other = _mm512_test_epi8_mask(class, each(OTHER)),
    };
}

/* Writes base + the place of each bit, and past them up to a multiple of 32; returns the end.
 * Packed in a register: some processors are slow to pack into memory. */
INLINE uint16_t *list_bits(uint64_t bits, __m512i base, uint16_t *to)
{
    static const uint8_t places[64] = {
        0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
        22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43,
        44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};
    const uint32_t n = ones_of(bits);
    __m512i packed = _mm512_maskz_compress_epi8(bits, load(places));
    __m512i first = _mm512_cvtepu8_epi16(_mm512_castsi512_si256(packed));
    _mm512_storeu_si512(to, _mm512_add_epi16(first, base));
    if (__builtin_expect(n > 32, 0)) {
        __m512i rest = _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64(packed, 1));
        _mm512_storeu_si512(to + 32, _mm512_add_epi16(rest, base));
    }
    return to + n;
}

/* First bytes and those after the last ones come in the same order, so they are listed one after
 * the other, these in len. Spaces behind the text, which are in no count and no token, fill the
 * last block, so that every token ends in a block. */
struct reading {
    struct sums sums;
    __m512i base;
    uint64_t word_before, other_before;
    uint8_t *lower;
    uint16_t *first, *end;
};

INLINE void take_block(struct reading *r, __m512i v)
{
    const struct block b = read_block(v, &r->sums);
    const uint64_t after_word = b.word << 1 | r->word_before;
    const uint64_t after_other = b.other << 1 | r->other_before;
    _mm512_storeu_si512(r->lower, b.lower);
    r->first = list_bits(b.other | (b.word & ~after_word), r->base, r->first);
    r->end = list_bits(after_other | (after_word & ~b.word), r->base, r->end);
    r->word_before = b.word >> 63;
    r->other_before = b.other >> 63;
    r->base = _mm512_add_epi16(r->base, _mm512_set1_epi16(64));
    r->lower += 64;
}

INLINE struct sums list_tokens(const uint8_t *text, size_t len, uint8_t *lower,
                               struct features_tokens *t)
{
    const __m512i zero = _mm512_setzero_si512();
    struct reading r = {{zero, zero, zero, zero, zero}, zero, 0, 0, lower, t->at, t->len};
    for (; len >= 64; len -= 64, text += 64)
        take_block(&r, load(text));
    take_block(&r, _mm512_mask_loadu_epi8(each(' '), _bzhi_u64(~UINT64_C(0), len), text));
    t->count = (uint32_t)(r.first - t->at);
    return r.sums;
}

AVX512 static void read_tokens(const uint8_t *text, size_t len, struct features_piece *p,
                               struct features_tokens *t, struct features_counts *io_counts)
{
    const struct sums s = list_tokens(text, len, p->text, t);
    add_sums(&s, len, t->count, io_counts);
    __m512i longest = _mm512_setzero_si512();
    _mm512_storeu_si512(t->at + t->count, longest); /* So that a block can be taken whole. */
    _mm512_storeu_si512(t->len + t->count, longest);
    for (uint32_t i = 0; i < t->count; i += 32) {
        const __m512i lens = _mm512_sub_epi16(load(t->len + i), load(t->at + i));
        _mm512_storeu_si512(t->len + i, lens);
        longest = _mm512_max_epu16(longest, lens);
    }
    t->any_long = _mm512_cmpgt_epu16_mask(longest, _mm512_set1_epi16(FEATURES_SHORT_BYTES)) != 0;
    if (_mm512_cmpgt_epu16_mask(longest, _mm512_set1_epi16(FEATURES_TOKEN_BYTES)) != 0)
        features_split_long(t);
}

const struct features_way features_avx512 = {read_tokens, features_hash_avx512,
                                             features_sort_avx512};
#else
extern int features_avx512_is_not_here; /* A file must declare something. */
#endif
