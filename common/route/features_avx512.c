/* features_avx512.c: the steps of feature extraction in blocks of 64 bytes, 16 tokens and 32 pairs,
 * for processors that can also look bytes up and pack them (Intel since 2019, AMD since 2022). The
 * older ones with AVX-512 slow down when they use it: they take features_avx2.c. */
#include "common/route/features_internal.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX512                                                                                     \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,"             \
                          "avx512vpopcntdq,bmi,bmi2,popcnt")))
#define INLINE AVX512 static inline __attribute__((always_inline))

INLINE __m512i load(const void *p)
{
    return _mm512_loadu_si512(p);
}

INLINE __m512i each(int byte)
{
    return _mm512_set1_epi8((char)byte);
}

INLINE uint32_t ones_of(uint64_t mask)
{
    return (uint32_t)__builtin_popcountll(mask);
}

/* ---- bytes ---- */

enum {
    UPPER = 1,
    LETTER = 2,
    SPACE = 4,
    CODE = 8,
    MATH = 16,
    DIGIT = 32,
    NEWLINE = 64,
    QUESTION = 128,
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
#define CLASS(b)                                                                                   \
    (uint8_t)((IS_UPPER(b) ? UPPER : 0) | (IS_UPPER(b) || IS_LOWER(b) ? LETTER : 0) |              \
              (IS_SPACE(b) ? SPACE : 0) | (IS_CODE(b) ? CODE : 0) | (IS_MATH(b) ? MATH : 0) |      \
              ((b) >= '0' && (b) <= '9' ? DIGIT : 0) | ((b) == '\n' ? NEWLINE : 0) |               \
              ((b) == '?' ? QUESTION : 0))
#define FOUR(b)    CLASS(b), CLASS((b) + 1), CLASS((b) + 2), CLASS((b) + 3)
#define SIXTEEN(b) FOUR(b), FOUR((b) + 4), FOUR((b) + 8), FOUR((b) + 12)

/* Of every byte below 128. */
static const uint8_t classes[128] = {SIXTEEN(0),  SIXTEEN(16), SIXTEEN(32), SIXTEEN(48),
                                     SIXTEEN(64), SIXTEEN(80), SIXTEEN(96), SIXTEEN(112)};

/* Spaces behind the text, which are in no count and no token, fill the last block. */
AVX512 static void read_piece(const uint8_t *text, size_t len, struct features_piece *p,
                              struct features_counts *c)
{
    const __m512i low = load(classes), high = load(classes + 64);
    const size_t words = len / 64 + 1;
    uint64_t before = 0, question = 0;
    struct features_counts sum = {.code = 0};
    p->len = len;
    for (size_t w = 0; w < words; w++) {
        __m512i v = w + 1 < words
                        ? load(text + 64 * w)
                        : _mm512_mask_loadu_epi8(each(' '), _bzhi_u64(~UINT64_C(0), len % 64),
                                                 len > 0 ? text + 64 * w : text);
        __mmask64 wide = _mm512_movepi8_mask(v);
        __m512i class = _mm512_maskz_permutex2var_epi8(~wide, low, v, high);
        __mmask64 upper = _mm512_test_epi8_mask(class, each(UPPER));
        uint64_t word = _mm512_test_epi8_mask(class, each(LETTER)) | wide;
        _mm512_storeu_si512(p->text + 64 * w, _mm512_mask_add_epi8(v, upper, v, each(0x20)));
        p->word[w] = word;
        p->other[w] = ~(word | _mm512_test_epi8_mask(class, each(SPACE)));
        sum.code += ones_of(_mm512_test_epi8_mask(class, each(CODE)));
        sum.math += ones_of(_mm512_test_epi8_mask(class, each(MATH)));
        sum.digit += ones_of(_mm512_test_epi8_mask(class, each(DIGIT)));
        sum.newline += ones_of(_mm512_test_epi8_mask(class, each(NEWLINE)));
        sum.non_ascii += ones_of(wide);
        sum.word_bytes += ones_of(word);
        sum.word_runs += ones_of(word & ~(word << 1 | before));
        question |= _mm512_test_epi8_mask(class, each(QUESTION));
        before = word >> 63;
    }
    c->code += sum.code;
    c->math += sum.math;
    c->digit += sum.digit;
    c->newline += sum.newline;
    c->non_ascii += sum.non_ascii;
    c->bytes += (uint32_t)len;
    c->word_bytes += sum.word_bytes;
    c->word_runs += sum.word_runs;
    c->question = c->question || question != 0;
}

/* Writes base + the place of each bit, and past them up to a multiple of 32; how many there are.
 * Packed in a register: some processors are slow to pack into memory. */
INLINE uint32_t list_bits(uint64_t bits, uint32_t base, uint16_t *to)
{
    static const uint8_t places[64] = {
        0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
        22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43,
        44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};
    const uint32_t n = ones_of(bits);
    __m512i from = _mm512_set1_epi16((short)base);
    __m512i packed = _mm512_maskz_compress_epi8(bits, load(places));
    __m512i first = _mm512_cvtepu8_epi16(_mm512_castsi512_si256(packed));
    _mm512_storeu_si512(to, _mm512_add_epi16(first, from));
    if (n > 32) {
        __m512i rest = _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64(packed, 1));
        _mm512_storeu_si512(to + 32, _mm512_add_epi16(rest, from));
    }
    return n;
}

/* First and last bytes come in the same order, so they are listed one after the other; len is where
 * each token ends. */
AVX512 static void find_tokens(const struct features_piece *p, struct features_tokens *t)
{
    const size_t words = p->len / 64 + 1;
    uint32_t firsts = 0, lasts = 0;
    uint64_t before = 0, word = p->word[0];
    for (size_t w = 0; w < words; w++) {
        uint64_t next = w + 1 < words ? p->word[w + 1] : 0, other = p->other[w];
        firsts +=
            list_bits(other | (word & ~(word << 1 | before)), (uint32_t)w * 64, t->at + firsts);
        lasts +=
            list_bits(other | (word & ~(word >> 1 | next << 63)), (uint32_t)w * 64, t->len + lasts);
        before = word >> 63;
        word = next;
    }
    t->count = firsts;
    __mmask32 over = 0;
    for (uint32_t i = 0; i < firsts; i += 32) {
        __mmask32 valid = _bzhi_u32(~0U, firsts - i < 32 ? firsts - i : 32);
        __m512i len = _mm512_sub_epi16(load(t->len + i), load(t->at + i));
        len = _mm512_add_epi16(len, _mm512_set1_epi16(1));
        _mm512_storeu_si512(t->len + i, len);
        over |= _mm512_mask_cmpgt_epu16_mask(valid, len, _mm512_set1_epi16(FEATURES_TOKEN_BYTES));
    }
    if (over != 0)
        features_split_long(t);
}

/* ---- 16 and 32 SipHash-1-3 at a time ---- */

/* Two of eight side by side: one alone would wait for each of its results. */
struct both {
    __m512i a, b;
};
struct sip16 {
    struct both v0, v1, v2, v3;
};

INLINE __m512i each_u64(uint64_t value)
{
    return _mm512_set1_epi64((long long)value);
}

INLINE struct both twice(uint64_t value)
{
    return (struct both){each_u64(value), each_u64(value)};
}

INLINE struct both add_both(struct both x, struct both y)
{
    return (struct both){_mm512_add_epi64(x.a, y.a), _mm512_add_epi64(x.b, y.b)};
}

INLINE struct both xor_both(struct both x, struct both y)
{
    return (struct both){_mm512_xor_si512(x.a, y.a), _mm512_xor_si512(x.b, y.b)};
}

#define ROTL(x, bits) ((struct both){_mm512_rol_epi64((x).a, bits), _mm512_rol_epi64((x).b, bits)})

INLINE struct sip16 begin16(struct siphash_key key)
{
    struct sip s = sip_begin(key);
    return (struct sip16){twice(s.v0), twice(s.v1), twice(s.v2), twice(s.v3)};
}

INLINE struct sip16 round16(struct sip16 s)
{
    s.v0 = add_both(s.v0, s.v1);
    s.v2 = add_both(s.v2, s.v3);
    s.v1 = xor_both(ROTL(s.v1, 13), s.v0);
    s.v3 = xor_both(ROTL(s.v3, 16), s.v2);
    s.v0 = add_both(ROTL(s.v0, 32), s.v3);
    s.v2 = add_both(s.v2, s.v1);
    s.v3 = xor_both(ROTL(s.v3, 21), s.v0);
    s.v1 = xor_both(ROTL(s.v1, 17), s.v2);
    s.v2 = ROTL(s.v2, 32);
    return s;
}

INLINE struct sip16 block16(struct sip16 s, struct both m)
{
    s.v3 = xor_both(s.v3, m);
    s = round16(s);
    s.v0 = xor_both(s.v0, m);
    return s;
}

/* The last round and the result, in which v0 cancels out. */
INLINE struct both last16(struct sip16 s)
{
    s.v0 = add_both(s.v0, s.v1);
    s.v2 = add_both(s.v2, s.v3);
    s.v1 = xor_both(ROTL(s.v1, 13), s.v0);
    s.v3 = xor_both(ROTL(s.v3, 16), s.v2);
    s.v2 = add_both(s.v2, s.v1);
    return xor_both(xor_both(ROTL(s.v1, 17), s.v2), xor_both(ROTL(s.v2, 32), ROTL(s.v3, 21)));
}

INLINE struct both final16(struct sip16 s)
{
    s.v2 = xor_both(s.v2, twice(0xff));
    return last16(round16(round16(s)));
}

/* The first 16 bytes of four texts, every other of eight. */
INLINE __m512i load_four(const uint8_t *text, const uint16_t *at)
{
#define AT(k) _mm_loadu_si128((const __m128i *)(const void *)(text + at[k]))
    __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(AT(0)), AT(2), 1);
    __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(AT(4)), AT(6), 1);
#undef AT
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

/* The blocks of eight tokens of at most 14 bytes: tag and text fill one or two, in those of `two`.
 */
struct blocks {
    __m512i first, second;
    __mmask8 two;
};

INLINE struct blocks short_blocks(const uint8_t *text, const uint16_t *at, __m512i len)
{
    const __m512i ones = each_u64(~UINT64_C(0));
    __m512i odd = load_four(text, at), even = load_four(text, at + 1);
    __m512i low = _mm512_unpacklo_epi64(odd, even), high = _mm512_unpackhi_epi64(odd, even);
    __m512i bytes = _mm512_add_epi64(len, each_u64(1));
    __m512i bits = _mm512_slli_epi64(bytes, 3);
    __m512i last = _mm512_slli_epi64(bytes, 56);
    __mmask8 two = _mm512_cmpgt_epu64_mask(bytes, each_u64(7));
    /* Shifts by 64 and more give 0. */
    __m512i keep_first = _mm512_srlv_epi64(ones, _mm512_subs_epu16(each_u64(64), bits));
    __m512i keep_second = _mm512_srlv_epi64(ones, _mm512_subs_epu16(each_u64(128), bits));
    __m512i first = _mm512_shldi_epi64(low, each_u64((uint64_t)FEATURES_TAG_UNIGRAM << 56), 8);
    __m512i second = _mm512_shldi_epi64(high, low, 8);
    first = _mm512_and_si512(first, keep_first);
    return (struct blocks){_mm512_mask_or_epi64(first, (__mmask8)~two, first, last),
                           _mm512_or_si512(_mm512_and_si512(second, keep_second), last), two};
}

INLINE struct both choose(__mmask8 a, __mmask8 b, struct both yes, struct both no)
{
    return (struct both){_mm512_mask_mov_epi64(no.a, a, yes.a),
                         _mm512_mask_mov_epi64(no.b, b, yes.b)};
}

INLINE struct both hash_short(struct sip16 s, struct blocks a, struct blocks b)
{
    s = block16(s, (struct both){a.first, b.first});
    struct sip16 t = block16(s, (struct both){a.second, b.second});
    s.v0 = choose(a.two, b.two, t.v0, s.v0);
    s.v1 = choose(a.two, b.two, t.v1, s.v1);
    s.v2 = choose(a.two, b.two, t.v2, s.v2);
    s.v3 = choose(a.two, b.two, t.v3, s.v3);
    return final16(s);
}

#define TOP(x) ((struct both){_mm512_srli_epi64((x).a, 56), _mm512_srli_epi64((x).b, 56)})
#define SHIFT_IN(x, below)                                                                         \
    ((struct both){_mm512_shldi_epi64((x).a, (below).a, 8),                                        \
                   _mm512_shldi_epi64((x).b, (below).b, 8)})

/* The pairs of the 16 tokens whose hashes stand at `here`, and of the 16 after them. */
INLINE void hash_pairs(struct sip16 begin, const uint64_t *here, struct both out_pairs[2])
{
    const struct both tag = twice((uint64_t)FEATURES_TAG_BIGRAM << 56);
    const struct both len = twice(UINT64_C(17) << 56);
    const struct both h0 = {load(here), load(here + 8)};
    const struct both h1 = {load(here + 16), load(here + 24)};
    const struct both before0 = {load(here - 1), load(here + 7)};
    const struct both before1 = {load(here + 15), load(here + 23)};
    struct sip16 s = block16(begin, SHIFT_IN(before0, tag));
    struct sip16 t = block16(begin, SHIFT_IN(before1, tag));
    s = block16(s, SHIFT_IN(h0, before0));
    t = block16(t, SHIFT_IN(h1, before1));
    s = block16(s, xor_both(TOP(h0), len));
    t = block16(t, xor_both(TOP(h1), len));
    s.v2 = xor_both(s.v2, twice(0xff));
    t.v2 = xor_both(t.v2, twice(0xff));
    s = round16(s);
    t = round16(t);
    s = round16(s);
    t = round16(t);
    out_pairs[0] = last16(s);
    out_pairs[1] = last16(t);
}

INLINE __m512i hash_singles(const struct features_hasher *h, const uint8_t *text)
{
    __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)text);
/* Without optimisation it is a macro of the compiler's, whose mask has a sign. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion"
    return _mm512_i64gather_epi64(_mm512_cvtepu8_epi64(bytes), h->single, 8);
#pragma GCC diagnostic pop
}

INLINE __m256i indices(__m512i hashes, __m512i pairs)
{
    __m512i heads = _mm512_and_si512(_mm512_srli_epi64(pairs, 32), each_u64(0xFFFF0000));
    return _mm512_cvtepi64_epi32(_mm512_or_si512(_mm512_srli_epi64(hashes, 48), heads));
}

INLINE void hash_each(const struct features_hasher *h, const struct features_piece *p,
                      const struct features_tokens *t, uint64_t *hash)
{
    const struct sip16 begin = begin16(h->key);
    for (uint32_t i = 0; i < t->count; i += 16) {
        const uint16_t *at = t->at + i, *len = t->len + i;
        if (at[15] - at[0] == 15 && len[15] == 1) { /* One byte each, side by side. */
            _mm512_storeu_si512(hash + i, hash_singles(h, p->text + at[0]));
            _mm512_storeu_si512(hash + i + 8, hash_singles(h, p->text + at[8]));
            continue;
        }
        __m256i lens = _mm256_loadu_si256((const __m256i *)(const void *)len);
        __m512i low = _mm512_cvtepu16_epi64(_mm256_castsi256_si128(lens));
        __m512i high = _mm512_cvtepu16_epi64(_mm256_extracti128_si256(lens, 1));
        struct both here =
            hash_short(begin, short_blocks(p->text, at, low), short_blocks(p->text, at + 8, high));
        _mm512_storeu_si512(hash + i, here.a);
        _mm512_storeu_si512(hash + i + 8, here.b);
        /* Those above 14 bytes were hashed wrong. */
        __mmask16 wrong = _mm256_cmpgt_epu16_mask(lens, _mm256_set1_epi16(14));
        for (; __builtin_expect(wrong != 0, 0); wrong = (__mmask16)(wrong & (wrong - 1U))) {
            const unsigned k = (unsigned)__builtin_ctz(wrong);
            hash[i + k] = features_hash_token(sip_begin(h->key), p->text + at[k], len[k]);
        }
    }
}

AVX512 static void hash_tokens(const struct features_hasher *h, const struct features_piece *p,
                               struct features_tokens *t, uint16_t *out_index)
{
    _Alignas(64) __attribute__((uninitialized)) uint64_t hash[8 + FEATURES_PIECE_MAX + 32];
    const struct sip16 begin = begin16(h->key);
    const uint32_t count = t->count;
    for (uint32_t i = count; i < count + 16; i++) { /* Up to 15 more are hashed. */
        t->at[i] = 0;
        t->len[i] = 1;
    }
    hash[7] = 0; /* Of no token. */
    hash_each(h, p, t, hash + 8);
    for (uint32_t i = 0; i < count; i += 32) { /* Up to 31 more, which may be anything. */
        const uint64_t *here = hash + 8 + i;
        uint16_t *to = out_index + (size_t)2 * i;
        struct both pairs[2];
        hash_pairs(begin, here, pairs);
        _mm256_storeu_si256((__m256i *)(void *)to, indices(load(here), pairs[0].a));
        _mm256_storeu_si256((__m256i *)(void *)(to + 16), indices(load(here + 8), pairs[0].b));
        _mm256_storeu_si256((__m256i *)(void *)(to + 32), indices(load(here + 16), pairs[1].a));
        _mm256_storeu_si256((__m256i *)(void *)(to + 48), indices(load(here + 24), pairs[1].b));
    }
    out_index[1] = out_index[0];
}

/* ---- the set ---- */

INLINE size_t count_set(const struct features_set *s)
{
    __m512i even = _mm512_setzero_si512(), odd = even;
    for (unsigned w = 0; w < FEATURES_SET_WORDS; w += 16) {
        even = _mm512_add_epi64(even, _mm512_popcnt_epi64(load(&s->bits[w])));
        odd = _mm512_add_epi64(odd, _mm512_popcnt_epi64(load(&s->bits[w + 8])));
    }
    return (size_t)_mm512_reduce_add_epi64(_mm512_add_epi64(even, odd));
}

/* As features_set_add does; counting the set once is cheaper than to see of many indices whether
 * they are new. */
AVX512 static void add(const uint16_t *index, uint32_t count, struct features_set *s)
{
    enum { MANY = 96 };
    const uint16_t *const end = index + count;
    size_t n = 0;
    while (index != end && n < FEATURES_SPARSE_MAX) {
        const size_t room = FEATURES_SPARSE_MAX - n, left = (size_t)(end - index);
        const size_t now = left < room ? left : room;
        const uint16_t *const stop = index + now;
        if (now >= MANY) {
            for (; index != stop; index++)
                (void)features_set_add_index(s, *index);
            n = index != end ? count_set(s) : n;
        } else {
            for (; index != stop; index++)
                n += features_set_add_index(s, *index);
        }
    }
}

/* The set is taken as 2,048 halves of 32 bits. First the places of those that are not 0, then 16 of
 * them a step: the index of the lowest bit of each, and behind it that of the second if there is
 * one.
 */
AVX512 static uint16_t list(struct features_set *s, uint16_t out_index[FEATURES_SPARSE_MAX])
{
    enum { HALVES = 2 * FEATURES_SET_WORDS, MOST = FEATURES_SPARSE_MAX + FEATURES_TOKENS_SLACK };
    __attribute__((uninitialized)) uint16_t place[MOST], to[MOST];
    __attribute__((uninitialized)) uint32_t half[MOST];
    uint32_t *const set_halves = (uint32_t *)(void *)s->bits;
    const __m512i one = _mm512_set1_epi32(1);
    uint32_t places = 0, n = 0;
    for (uint32_t h = 0; h < HALVES; h += 64) {
        uint64_t used = 0;
        for (unsigned i = 0; i < 64; i += 16) {
            __m512i halves = load(&s->bits[(h + i) / 2]);
            used |= (uint64_t)_mm512_test_epi32_mask(halves, halves) << i;
        }
        places += list_bits(used, h, place + places);
    }
    for (uint32_t i = 0; i < places; i++) { /* Quicker than to gather them and to clear it all. */
        half[i] = set_halves[place[i]];
        set_halves[place[i]] = 0;
    }
    for (uint32_t i = 0; i < places; i += 16) {
        const uint32_t now = places - i < 16 ? places - i : 16;
        const __mmask16 valid = (__mmask16)_bzhi_u32(0xFFFF, now);
        __m512i bits = _mm512_maskz_loadu_epi32(valid, half + i);
        __m512i base = _mm512_slli_epi32(
            _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(void *)(place + i))), 5);
        __m512i below = _mm512_sub_epi32(bits, one), second = _mm512_and_si512(bits, below);
        __m512i second_below = _mm512_sub_epi32(second, one);
        if (__builtin_expect(_mm512_test_epi32_mask(second, second_below) != 0, 0)) {
            for (uint32_t k = i; k < i + now; k++) /* One of them has three bits or more. */
                n = features_list_bits(half[k], place[k] * 32U, n, to);
            continue;
        }
        __m512i low = _mm512_popcnt_epi32(_mm512_andnot_si512(bits, below));
        __m512i high = _mm512_popcnt_epi32(_mm512_andnot_si512(second, second_below));
        __mmask16 more = _mm512_test_epi32_mask(second, second);
        low = _mm512_add_epi32(base, low);
        high = _mm512_slli_epi32(_mm512_add_epi32(base, high), 16);
        __mmask32 kept = _pdep_u32(valid, 0x55555555) | _pdep_u32(more, 0xAAAAAAAA);
        _mm512_storeu_si512(to + n, _mm512_maskz_compress_epi16(kept, _mm512_or_si512(low, high)));
        n += ones_of(kept);
    }
    memcpy(out_index, to, n * sizeof to[0]);
    return (uint16_t)n;
}

const struct features_way features_avx512 = {read_piece,           find_tokens, hash_tokens,
                                             features_sort_avx512, add,         list};
#else
extern int features_avx512_is_not_here; /* A file must declare something. */
#endif
