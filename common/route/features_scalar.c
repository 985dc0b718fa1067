/* features_scalar.c: the steps of feature extraction in plain C, eight bytes at a time: the
 * reference of every other way, and the way of processors without AVX2. */
#include "common/route/features_internal.h"

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))
#define HIGH       EACH(0x80)

/* 0x80 in every byte of low7 (all below 0x80) that is in [from, to]. */
static inline uint64_t in_range(uint64_t low7, unsigned from, unsigned to)
{
    return (low7 + EACH(0x80 - from)) & ~(low7 + EACH(0x7f - to)) & HIGH;
}

/* Bit i of the result: the top bit of byte i. */
static inline uint64_t gather(uint64_t tops)
{
    return (tops >> 7) * UINT64_C(0x0102040810204080) >> 56;
}

/* Eight bytes: lower-cased in place, their two class bits returned. */
static inline void classify_eight(uint8_t *text, uint64_t *out_word, uint64_t *out_other)
{
    uint64_t x = sip_load(text);
    uint64_t high = x & HIGH, low7 = x & ~HIGH;
    x |= (in_range(low7, 'A', 'Z') & ~high) >> 2; /* 0x80 >> 2 is the bit of lower case. */
    uint64_t word = (in_range(x & ~HIGH, 'a', 'z') & ~high) | high;
    uint64_t space = (in_range(low7, 9, 13) | in_range(low7, 32, 32)) & ~high;
    *out_word = gather(word);
    *out_other = gather(~(word | space) & HIGH);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    x = __builtin_bswap64(x);
#endif
    memcpy(text, &x, 8);
}

static bool is_one_of(const char *bytes, uint8_t byte)
{
    return byte != 0 && byte < 0x80 && strchr(bytes, byte) != NULL;
}

static void count_bytes(const uint8_t *text, size_t len, struct features_counts *c)
{
    for (size_t i = 0; i < len; i++) {
        uint8_t b = text[i];
        c->code += is_one_of(FEATURES_CODE_BYTES, b);
        c->math += is_one_of(FEATURES_MATH_BYTES, b);
        c->digit += b >= '0' && b <= '9';
        c->newline += b == '\n';
        c->non_ascii += b >= 0x80;
    }
    c->question = c->question || (len > 0 && memchr(text, '?', len) != NULL);
}

static void read_piece(const uint8_t *text, size_t len, struct features_piece *p,
                       struct features_counts *c)
{
    p->len = len;
    if (len > 0)
        memcpy(p->text, text, len);
    memset(p->text + len, ' ', FEATURES_PAD_BYTES);
    count_bytes(text, len, c);
    c->bytes += (uint32_t)len;
    uint64_t before = 0; /* The last byte of the block before was part of a word. */
    for (size_t w = 0; w <= len / 64; w++) {
        uint64_t word = 0, other = 0;
        for (size_t i = 0; i < 8 && w * 64 + i * 8 < len; i++) {
            uint64_t word8, other8;
            classify_eight(p->text + w * 64 + i * 8, &word8, &other8);
            word |= word8 << (8 * i);
            other |= other8 << (8 * i);
        }
        p->word[w] = word;
        p->other[w] = other;
        c->word_bytes += (uint32_t)__builtin_popcountll(word);
        c->word_runs += (uint32_t)__builtin_popcountll(word & ~(word << 1 | before));
        before = word >> 63;
    }
}

static void hash_tokens(const struct features_hasher *h, const struct features_piece *p,
                        struct features_tokens *t, uint16_t *out_index)
{
    const struct sip begin = sip_begin(h->key);
    uint64_t before = 0;
    for (uint32_t i = 0; i < t->count; i++) {
        const uint8_t *text = p->text + t->at[i];
        uint64_t hash =
            t->len[i] == 1 ? h->single[*text] : features_hash_token(begin, text, t->len[i]);
        out_index[2 * i] = (uint16_t)(hash >> 48);
        out_index[2 * i + 1] = (uint16_t)(features_hash_bigram(begin, before, hash) >> 48);
        before = hash;
    }
    out_index[1] = out_index[0];
}

/* First and last bytes come in the same order, so they are listed one after the other; len is where
 * each token ends. */
static void find_ends(const struct features_piece *p, struct features_tokens *t)
{
    uint32_t firsts = 0, lasts = 0;
    uint64_t before = 0;
    const size_t words = p->len / 64 + 1;
    for (size_t w = 0; w < words; w++) {
        uint64_t word = p->word[w];
        uint64_t after = w + 1 < words ? p->word[w + 1] << 63 : 0;
        firsts = features_list_bits(p->other[w] | (word & ~(word << 1 | before)), (uint32_t)w * 64,
                                    firsts, t->at);
        lasts = features_list_bits(p->other[w] | (word & ~(word >> 1 | after)), (uint32_t)w * 64,
                                   lasts, t->len);
        before = word >> 63;
    }
    t->count = firsts;
}

static void find_tokens(const struct features_piece *p, struct features_tokens *t)
{
    unsigned longest = 0;
    find_ends(p, t);
    for (uint32_t i = 0; i < t->count; i++) {
        t->len[i] = (uint16_t)(t->len[i] - t->at[i] + 1);
        longest = t->len[i] > longest ? t->len[i] : longest;
    }
    if (longest > FEATURES_TOKEN_BYTES)
        features_split_long(t);
}

/* In their order, as long as there is room. */
static void add(const uint16_t *index, uint32_t n, struct features_set *s)
{
    const uint16_t *const end = index + n;
    for (uint32_t in = 0; index != end && in < FEATURES_SPARSE_MAX; index++)
        in += features_set_add(s, *index);
}

/* Lists the bits of the given words, ascending and none of them 0, and clears them. Most words have
 * one bit and some two, which nothing could foretell, so there is no branch on it: both are
 * written, and the second is overwritten where there is none. The last word has nobody to overwrite
 * it. */
static uint32_t list_words(struct features_set *s, const uint16_t *words, uint32_t count,
                           uint16_t *out_index)
{
    uint16_t *to = out_index;
    if (count == 0)
        return 0;
    const uint16_t *const last = words + count - 1;
    for (; words != last; words++) {
        const uint32_t base = *words * 64U;
        const uint64_t bits = s->bits[*words], second = bits & (bits - 1);
        s->bits[*words] = 0;
        to[0] = (uint16_t)(base + (uint32_t)__builtin_ctzll(bits));
        to[1] = (uint16_t)(base + (uint32_t)__builtin_ctzll(second | UINT64_C(1) << 63));
        to += 1 + ((second | (0 - second)) >> 63);
        const uint64_t rest = second & (second - 1);
        if (__builtin_expect(rest != 0, 0))
            to += features_list_bits(rest, base, 0, to);
    }
    to += features_list_bits(s->bits[*last], *last * 64U, 0, to);
    s->bits[*last] = 0;
    return (uint32_t)(to - out_index);
}

static uint32_t list(struct features_set *s, uint16_t out_index[FEATURES_SPARSE_MAX])
{
    __attribute__((uninitialized)) uint16_t words[FEATURES_SET_WORDS + 1];
    uint32_t n = 0;
    for (unsigned w = 0; w < FEATURES_SET_WORDS; w++) {
        words[n] = (uint16_t)w;
        n += s->bits[w] != 0;
    }
    return list_words(s, words, n, out_index);
}

static uint32_t sort(const uint16_t *index, uint32_t n, struct features_set *set,
                     uint16_t out_index[FEATURES_SPARSE_MAX])
{
    add(index, n, set);
    return list(set, out_index);
}

static void read_tokens(const uint8_t *text, size_t len, struct features_piece *p,
                        struct features_tokens *t, struct features_counts *c)
{
    read_piece(text, len, p, c);
    find_tokens(p, t);
}

const struct features_way features_scalar = {read_tokens, hash_tokens, sort};
