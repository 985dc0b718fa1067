/* features_internal.h: what the files of features share. Private to this folder and its tests. */
#ifndef STEELYARD_COMMON_ROUTE_FEATURES_INTERNAL_H
#define STEELYARD_COMMON_ROUTE_FEATURES_INTERNAL_H

#include "common/base/siphash.h"
#include "common/route/features.h"

/* First byte of what is hashed. */
enum features_tag {
    FEATURES_TAG_UNIGRAM = 1,
    FEATURES_TAG_BIGRAM = 2,
    FEATURES_TAG_SYSTEM = 3,
    FEATURES_TAG_TOOL = 4,
    FEATURES_TAG_ALIAS = 5,
    FEATURES_TAG_SEGMENT = 6,
};

/* Bytes that count for a dense feature, as bits of a byte's class. */
#define FEATURES_CODE_BYTES "{}()[];=<>_#&|`"
#define FEATURES_MATH_BYTES "+-*/=^%<>\\$"

#define FEATURES_PIECE_MAX   (FEATURES_HEAD_BYTES + FEATURES_TAIL_BYTES)
#define FEATURES_PIECE_WORDS (FEATURES_PIECE_MAX / 64 + 1)
#define FEATURES_PAD_BYTES   128 /* Readable behind the text of a piece ... */
#define FEATURES_FRONT_BYTES 8   /* ... and before it, where they may be anything. */

/* A contiguous part of the window, lower-cased, and a bit a byte: part of a word (letters and bytes
 * above 127); neither a word nor white space. Nothing is set past the end. */
struct features_piece {
    uint8_t front[FEATURES_FRONT_BYTES];
    uint8_t text[FEATURES_PIECE_MAX + FEATURES_PAD_BYTES];
    uint64_t word[FEATURES_PIECE_WORDS];
    uint64_t other[FEATURES_PIECE_WORDS];
    size_t len;
};

/* Counts over all pieces of a window. */
struct features_counts {
    uint32_t code, digit, newline, non_ascii, math;
    uint32_t bytes;
    uint32_t word_bytes;
    uint32_t word_runs;
    bool question;
};

/* Tokens of one piece. Tag and text of a short one fill one block of its hash or two. */
#define FEATURES_SHORT_BYTES  14
#define FEATURES_TOKENS_SLACK 64 /* Written past the last one. */
struct features_tokens {
    uint32_t count;
    bool any_long; /* Some may be above FEATURES_SHORT_BYTES. Set and read by some ways only. */
    uint16_t at[FEATURES_PIECE_MAX + FEATURES_TOKENS_SLACK];
    uint16_t len[FEATURES_PIECE_MAX + FEATURES_TOKENS_SLACK];
};

/* Indices of a call in the order in which they count, some of them more than once. Of a window's
 * bytes each can be a token, and each token has two. */
#define FEATURES_FOUND_MAX (3 + FEATURES_TOOLS_MAX + 2 * FEATURES_PIECE_MAX)
struct features_found {
    uint32_t n;
    uint16_t index[FEATURES_FOUND_MAX + FEATURES_TOKENS_SLACK];
};

/* The set of indices as a bitmap, which also sorts it. A thread's, all zero between calls. */
#define FEATURES_SET_WORDS (65536 / 64)
struct features_set {
    _Alignas(64) uint64_t bits[FEATURES_SET_WORDS];
};

/* The steps that can be done in blocks, in the order they are taken. Each way gives the same. */
struct features_way {
    /* The text into the piece, its counts added, and its tokens; of the piece's marks some ways set
     * none. */
    void (*read_tokens)(const uint8_t *text, size_t len, struct features_piece *out_piece,
                        struct features_tokens *out_tokens, struct features_counts *io_counts);
    /* The indices of each token and of its pair with the token before; the first token has no pair,
     * so that its own index stands there again. Up to FEATURES_TOKENS_SLACK more are written. */
    void (*hash_tokens)(const struct features_hasher *h, const struct features_piece *p,
                        struct features_tokens *t, uint16_t *out_index);
    /* The first FEATURES_SPARSE_MAX different ones, ascending, and how many these are; what is
     * behind them in out_index may change. The set is empty before and after. */
    uint32_t (*sort)(const uint16_t *index, uint32_t n, struct features_set *set,
                     uint16_t out_index[FEATURES_SPARSE_MAX]);
};
enum features_ways { FEATURES_WAY_SCALAR, FEATURES_WAY_AVX2, FEATURES_WAY_AVX512, FEATURES_WAYS };
const struct features_way *
features_way_of(enum features_ways way); /* NULL: not on this processor. */
void features_extract_by(const struct features_way *way, const struct features_hasher *hasher,
                         const struct features_input *input, struct features *out_features);

extern const struct features_way *features_best; /* Set before main. */

/* The parts of the text that count. */
struct features_window {
    struct str head;
    struct str tail; /* len 0: the head is all. */
};
struct features_window features_window_of(struct str text);
/* Of a system prompt that is not empty. */
uint64_t features_system_hash(const struct features_hasher *hasher,
                              const struct features_input *input);
void features_fill_dense(const struct features_input *input, const struct features_counts *c,
                         int16_t out_dense[FEATURES_DENSE]);
/* system_hash is read if there is a system prompt. */
void features_extract_window(const struct features_way *way, const struct features_hasher *hasher,
                             const struct features_input *input, const struct features_window *w,
                             uint64_t system_hash, struct features *out_features,
                             struct features_counts *out_counts);

extern const struct features_way features_scalar;
extern const struct features_way features_avx2; /* These where the processor has what they need. */
extern const struct features_way features_avx512;
void features_hash_avx512(const struct features_hasher *h, const struct features_piece *p,
                          struct features_tokens *t, uint16_t *out_index);
uint32_t features_sort_avx2(const uint16_t *index, uint32_t n, struct features_set *set,
                            uint16_t out_index[FEATURES_SPARSE_MAX]);
uint32_t features_sort_avx512(const uint16_t *index, uint32_t n, struct features_set *set,
                              uint16_t out_index[FEATURES_SPARSE_MAX]);

/* What every way does in the same words, compiled for each. */

void features_split_long(struct features_tokens *t); /* Cuts what is above FEATURES_TOKEN_BYTES. */

static inline uint32_t features_list_bits(uint64_t bits, uint32_t base, uint32_t n, uint16_t *out)
{
    for (; bits != 0; bits &= bits - 1)
        out[n++] = (uint16_t)(base + (uint32_t)__builtin_ctzll(bits));
    return n;
}

/* Puts an index in; 1 if it was not in before, else 0. */
static inline uint32_t features_set_add(struct features_set *s, unsigned index)
{
    uint64_t *const word = &s->bits[index >> 6], before = *word;
    *word = before | UINT64_C(1) << (index & 63);
    return before < *word;
}

/* SipHash of the tag and text[0..len); seven bytes after the text may be read. */
static inline uint64_t features_hash_token(struct sip s, const uint8_t *text, size_t len)
{
    uint64_t block = FEATURES_TAG_UNIGRAM | sip_load(text) << 8;
    size_t total = len + 1, at = 8;
    for (; at <= total; at += 8) {
        s = sip_block(s, block);
        block = sip_load(text + at - 1);
    }
    uint64_t mask = (UINT64_C(1) << (total & 7) * 8) - 1;
    return sip_final(sip_block(s, (block & mask) | (uint64_t)total << 56));
}

/* SipHash of the tag, before and h, each little endian: 17 bytes in three blocks. */
static inline uint64_t features_hash_bigram(struct sip s, uint64_t before, uint64_t h)
{
    s = sip_block(s, FEATURES_TAG_BIGRAM | before << 8);
    s = sip_block(s, before >> 56 | h << 8);
    return sip_final(sip_block(s, h >> 56 | UINT64_C(17) << 56));
}

#endif
