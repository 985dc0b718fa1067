#include "common/route/features.h"

#include <string.h>

#include "common/route/fixed.h"

/* Usual path: one pass over the window lower-cases it into a padded copy and marks, a bit a byte,
 * what is a word and what is not white space; tokens are then found by counting zeros. Each costs a
 * SipHash-1-3 of its length and its bigram one of exactly 17 bytes, both written out here because
 * they are most of a decision's time. The set is a bitmap of all 65,536 indices, which also sorts
 * it. Nothing here branches on single bytes: mispredictions cost more than the arithmetic. */

#define BITMAP_WORDS (65536 / 64)

enum tag {
    TAG_UNIGRAM = 1,
    TAG_BIGRAM = 2,
    TAG_SYSTEM = 3,
    TAG_TOOL = 4,
    TAG_ALIAS = 5,
    TAG_SEGMENT = 6,
};

/* Counters of one window packed into a word: 1,536 needs 11 bits. */
enum {
    COUNT_CODE = 0,
    COUNT_DIGIT = 11,
    COUNT_NEWLINE = 22,
    COUNT_NON_ASCII = 33,
    COUNT_MATH = 44
};

struct set {
    uint64_t bits[BITMAP_WORDS];
    uint64_t used[BITMAP_WORDS / 64]; /* Which words of bits are not 0. */
    uint64_t pairs[128 * 128 / 64];   /* Pairs of one-byte ASCII tokens that are in already. */
    uint32_t n;
};

static inline void set_add(struct set *s, uint64_t hash)
{
    unsigned index = (unsigned)(hash >> 48);
    uint64_t bit = UINT64_C(1) << (index & 63);
    uint64_t *word = &s->bits[index >> 6];
    s->n += (*word & bit) == 0;
    *word |= bit;
    s->used[index >> 12] |= UINT64_C(1) << (index >> 6 & 63);
}

/* Whether the pair of one-byte tokens a, b comes for the first time. Text made of symbols has three
 * times the tokens of prose and few distinct pairs; this spares it most of its hashes. */
static inline bool set_pair_is_new(struct set *s, unsigned a, unsigned b)
{
    if ((a | b) >= 128)
        return true;
    uint64_t bit = UINT64_C(1) << (b & 63);
    uint64_t *word = &s->pairs[a * 2 + b / 64];
    bool new = (*word & bit) == 0;
    *word |= bit;
    return new;
}

/* Ascending. Most words hold one bit, some two, few more: the first two cost no branch. */
static uint16_t set_list(const struct set *s, uint16_t out[FEATURES_SPARSE_MAX])
{
    uint16_t list[FEATURES_SPARSE_MAX + 1]; /* One past the last may be written. */
    uint32_t n = 0;
    for (unsigned u = 0; u < BITMAP_WORDS / 64; u++)
        for (uint64_t words = s->used[u]; words != 0; words &= words - 1) {
            unsigned w = u * 64 + (unsigned)__builtin_ctzll(words);
            for (uint64_t bits = s->bits[w]; bits != 0;) {
                list[n++] = (uint16_t)(w * 64 + (unsigned)__builtin_ctzll(bits));
                bits &= bits - 1;
                list[n] = (uint16_t)(w * 64 + (unsigned)__builtin_ctzll(bits | UINT64_C(1) << 63));
                n += bits != 0;
                bits &= bits - 1;
            }
        }
    memcpy(out, list, n * sizeof list[0]);
    return (uint16_t)n;
}

struct sip {
    uint64_t v0, v1, v2, v3;
};

#define ROTL(x, b) ((x) << (b) | (x) >> (64 - (b)))

static inline struct sip sip_round(struct sip s)
{
    s.v0 += s.v1;
    s.v1 = ROTL(s.v1, 13) ^ s.v0;
    s.v0 = ROTL(s.v0, 32);
    s.v2 += s.v3;
    s.v3 = ROTL(s.v3, 16) ^ s.v2;
    s.v0 += s.v3;
    s.v3 = ROTL(s.v3, 21) ^ s.v0;
    s.v2 += s.v1;
    s.v1 = ROTL(s.v1, 17) ^ s.v2;
    s.v2 = ROTL(s.v2, 32);
    return s;
}

static inline struct sip sip_block(struct sip s, uint64_t m)
{
    s.v3 ^= m;
    s = sip_round(s);
    s.v0 ^= m;
    return s;
}

static inline uint64_t sip_final(struct sip s)
{
    s.v2 ^= 0xff;
    s = sip_round(sip_round(sip_round(s)));
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

static inline struct sip sip_begin(struct siphash_key key)
{
    return (struct sip){
        key.k0 ^ UINT64_C(0x736f6d6570736575), key.k1 ^ UINT64_C(0x646f72616e646f6d),
        key.k0 ^ UINT64_C(0x6c7967656e657261), key.k1 ^ UINT64_C(0x7465646279746573)};
}

static inline uint64_t load_le64(const uint8_t *p)
{
    uint64_t value;
    memcpy(&value, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    return value;
}

/* SipHash of TAG_UNIGRAM || text[0..len); seven bytes after the text may be read. */
static inline uint64_t hash_token(struct sip s, const uint8_t *text, size_t len)
{
    uint64_t block = TAG_UNIGRAM | load_le64(text) << 8;
    size_t total = len + 1, at = 8;
    for (; at <= total; at += 8) {
        s = sip_block(s, block);
        block = load_le64(text + at - 1);
    }
    uint64_t mask = (UINT64_C(1) << (total & 7) * 8) - 1;
    return sip_final(sip_block(s, (block & mask) | (uint64_t)total << 56));
}

/* SipHash of TAG_BIGRAM || before || h, each little endian: 17 bytes in three blocks. */
static inline uint64_t hash_bigram(struct sip s, uint64_t before, uint64_t h)
{
    s = sip_block(s, TAG_BIGRAM | before << 8);
    s = sip_block(s, before >> 56 | h << 8);
    return sip_final(sip_block(s, h >> 56 | UINT64_C(17) << 56));
}

static bool in_text(const char *text, unsigned byte)
{
    return byte != 0 && byte < 0x80 && strchr(text, (int)byte) != NULL;
}

void features_hasher_init(struct features_hasher *hasher, struct siphash_key key)
{
    hasher->key = key;
    struct sip begin = sip_begin(key);
    for (unsigned b = 0; b < 256; b++) {
        uint8_t message[8] = {(uint8_t)b};
        hasher->single[b] = hash_token(begin, message, 1);
        hasher->counts[b] = (uint64_t)in_text("{}()[];=<>_#&|`", b) << COUNT_CODE |
                            (uint64_t)(b >= '0' && b <= '9') << COUNT_DIGIT |
                            (uint64_t)(b == '\n') << COUNT_NEWLINE |
                            (uint64_t)(b >= 0x80) << COUNT_NON_ASCII |
                            (uint64_t)in_text("+-*/=^%<>\\$", b) << COUNT_MATH;
    }
}

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

#define PIECE_MAX   (FEATURES_HEAD_BYTES + FEATURES_TAIL_BYTES)
#define PIECE_WORDS (PIECE_MAX / 64 + 1) /* One more: the end is always found. */

/* A contiguous part of the window, lower-cased; a bit a byte. Past the end nothing is a word and
 * everything counts as not white space. */
struct piece {
    uint8_t text[PIECE_MAX + 64];
    uint64_t not_word[PIECE_WORDS];
    uint64_t not_space[PIECE_WORDS];
    size_t len;
};

struct window_counts {
    uint64_t packed;
    uint32_t bytes;
    uint32_t word_bytes;
    uint32_t word_runs;
    bool question;
};

/* Eight bytes at `at`: lower-cased in place, their two class bits returned. */
static inline void classify_eight(uint8_t *text, uint64_t *out_word, uint64_t *out_space)
{
    uint64_t x = load_le64(text);
    uint64_t high = x & HIGH, low7 = x & ~HIGH;
    x |= (in_range(low7, 'A', 'Z') & ~high) >> 2; /* 0x80 >> 2 is the bit of lower case. */
    *out_word = gather((in_range(x & ~HIGH, 'a', 'z') & ~high) | high);
    *out_space = gather((in_range(low7, 9, 13) | in_range(low7, 32, 32)) & ~high);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    x = __builtin_bswap64(x);
#endif
    memcpy(text, &x, 8);
}

static void read_piece(const struct features_hasher *hasher, const uint8_t *text, size_t len,
                       struct piece *p, struct window_counts *c)
{
    p->len = len;
    if (len > 0)
        memcpy(p->text, text, len);
    memset(p->text + len, ' ', 64);
    for (size_t i = 0; i < len; i++)
        c->packed += hasher->counts[p->text[i]];
    if (len > 0 && memchr(p->text, '?', len) != NULL)
        c->question = true;
    c->bytes += (uint32_t)len;
    uint64_t before = 0; /* The last byte of the word before was part of a word. */
    for (size_t w = 0; w <= len / 64; w++) {
        uint64_t word = 0, space = 0;
        for (size_t i = 0; i < 8 && w * 64 + i * 8 < len + 8; i++) {
            uint64_t word8, space8;
            classify_eight(p->text + w * 64 + i * 8, &word8, &space8);
            word |= word8 << (8 * i);
            space |= space8 << (8 * i);
        }
        size_t left = len - w * 64;
        if (left < 64) /* What comes after the end is not white space. */
            space &= (UINT64_C(1) << left) - 1;
        p->not_word[w] = ~word;
        p->not_space[w] = ~space;
        c->word_bytes += (uint32_t)__builtin_popcountll(word);
        c->word_runs += (uint32_t)__builtin_popcountll(word & ~(word << 1 | before));
        before = word >> 63;
    }
}

/* First set bit at or after `at`; one is known to be there. */
static inline size_t next_bit(const uint64_t *bits, size_t at)
{
    size_t w = at / 64;
    uint64_t word = bits[w] >> (at & 63);
    if (word != 0)
        return at + (size_t)__builtin_ctzll(word);
    do
        w++;
    while (bits[w] == 0);
    return w * 64 + (size_t)__builtin_ctzll(bits[w]);
}

static inline bool has_bit(const uint64_t *bits, size_t at)
{
    return (bits[at / 64] >> (at & 63) & 1) != 0;
}

/* Adds the tokens of one piece; stops once the set is full. The two tests that next_bit would make
 * superfluous let the processor guess the next position instead of waiting for it. */
static void add_tokens(const struct features_hasher *hasher, const struct piece *p, struct set *set)
{
    const struct sip begin = sip_begin(hasher->key);
    uint64_t before = 0;
    unsigned before_byte = 128, byte; /* Of a one-byte token, else 128. */
    bool has_before = false;
    size_t at = 0;
    while (set->n < FEATURES_SPARSE_MAX) {
        if (!has_bit(p->not_space, at))
            at = next_bit(p->not_space, at);
        if (at >= p->len)
            break;
        size_t len = 1;
        uint64_t h;
        byte = 128;
        if (has_bit(p->not_word, at)) {
            byte = p->text[at];
            h = hasher->single[p->text[at]];
        } else {
            len = next_bit(p->not_word, at) - at;
            len = len < FEATURES_TOKEN_BYTES ? len : FEATURES_TOKEN_BYTES;
            h = hash_token(begin, p->text + at, len);
        }
        set_add(set, h);
        if (has_before && set->n < FEATURES_SPARSE_MAX && set_pair_is_new(set, before_byte, byte))
            set_add(set, hash_bigram(begin, before, h));
        before = h;
        before_byte = byte;
        has_before = true;
        at += len;
    }
}

/* SipHash of tag || text: what the tag's block holds besides, then whole blocks from byte 7 on. */
static uint64_t hash_tagged(struct siphash_key key, enum tag tag, const uint8_t *text, size_t len)
{
    struct sip s = sip_begin(key);
    uint64_t block = tag;
    size_t at = 0, filled = 1;
    for (; at < len; at++) {
        block |= (uint64_t)text[at] << (8 * filled++);
        if (filled == 8) {
            s = sip_block(s, block);
            block = 0;
            filled = 0;
            for (at++; len - at >= 8; at += 8)
                s = sip_block(s, load_le64(text + at));
            at--;
        }
    }
    return sip_final(sip_block(s, block | (uint64_t)(len + 1) << 56));
}

/* Ends and length of a system prompt that is too long to be hashed whole for every call. */
static uint64_t hash_long_system(struct siphash_key key, struct str text, uint64_t len)
{
    enum { HALF = FEATURES_SYSTEM_BYTES_MAX / 2 };
    uint8_t ends[2 * HALF + 8];
    memcpy(ends, text.data, HALF);
    for (unsigned i = 0; i < 8; i++)
        ends[HALF + i] = (uint8_t)(len >> (8 * i));
    memcpy(ends + HALF + 8, text.data + text.len - HALF, HALF);
    return hash_tagged(key, TAG_SYSTEM, ends, sizeof ends);
}

static void add_category(const struct features_hasher *hasher, enum tag tag, struct str text,
                         struct set *set)
{
    size_t len = text.len;
    if (tag != TAG_SYSTEM && len > FEATURES_NAME_BYTES_MAX)
        len = FEATURES_NAME_BYTES_MAX;
    set_add(set, hash_tagged(hasher->key, tag, (const uint8_t *)text.data, len));
}

static void add_categories(const struct features_hasher *hasher, const struct features_input *input,
                           struct set *set)
{
    struct str system = input->system_prompt;
    uint64_t system_bytes = input->system_bytes > system.len ? input->system_bytes : system.len;
    if (system_bytes > FEATURES_SYSTEM_BYTES_MAX)
        set_add(set, hash_long_system(hasher->key, system, system_bytes));
    else if (system.len > 0)
        add_category(hasher, TAG_SYSTEM, system, set);
    if (input->alias.len > 0)
        add_category(hasher, TAG_ALIAS, input->alias, set);
    if (input->segment.len > 0)
        add_category(hasher, TAG_SEGMENT, input->segment, set);
    for (uint32_t i = 0; i < input->tool_count && i < FEATURES_TOOLS_MAX; i++)
        if (input->tools[i].len > 0)
            add_category(hasher, TAG_TOOL, input->tools[i], set);
}

static int16_t ratio_q8(uint64_t part, uint64_t whole)
{
    if (whole == 0)
        return 0;
    uint64_t q8 = part * 256 / whole;
    return (int16_t)(q8 > INT16_MAX ? INT16_MAX : q8);
}

static int16_t count_q8(uint64_t count)
{
    return (int16_t)(count > 127 ? 127 * 256 : count * 256);
}

static void fill_dense(const struct features_input *input, const struct window_counts *c,
                       int16_t dense[FEATURES_DENSE])
{
    const uint64_t mask = 2047;
    memset(dense, 0, sizeof(int16_t) * FEATURES_DENSE);
    dense[FEATURES_BIAS] = 256;
    dense[FEATURES_LOG_BYTES] = (int16_t)fixed_log2p1_q8(input->bytes);
    dense[FEATURES_LOG_T_IN] = (int16_t)fixed_log2p1_q8(input->t_in);
    dense[FEATURES_LOG_MAX_TOKENS] = (int16_t)fixed_log2p1_q8(input->max_tokens);
    dense[FEATURES_MESSAGES] = count_q8(input->messages);
    dense[FEATURES_TURNS] = count_q8(input->turns);
    dense[FEATURES_TOOLS] = count_q8(input->tool_count);
    dense[FEATURES_HAS_SYSTEM] = count_q8(input->system_prompt.len > 0);
    dense[FEATURES_JSON_MODE] = count_q8(input->json_mode);
    dense[FEATURES_IMAGES] = count_q8(input->images);
    dense[FEATURES_CODE] = ratio_q8(c->packed >> COUNT_CODE & mask, c->bytes);
    dense[FEATURES_DIGIT] = ratio_q8(c->packed >> COUNT_DIGIT & mask, c->bytes);
    dense[FEATURES_NEWLINE] = ratio_q8(c->packed >> COUNT_NEWLINE & mask, c->bytes);
    dense[FEATURES_NON_ASCII] = ratio_q8(c->packed >> COUNT_NON_ASCII & mask, c->bytes);
    dense[FEATURES_QUESTION] = count_q8(c->question);
    dense[FEATURES_MATH] = ratio_q8(c->packed >> COUNT_MATH & mask, c->bytes);
    dense[FEATURES_WORD_LEN] = ratio_q8(c->word_bytes, c->word_runs);
    int32_t temperature = input->temperature_q8 < 0 ? 256 : input->temperature_q8;
    dense[FEATURES_TEMPERATURE] = (int16_t)(temperature > INT16_MAX ? INT16_MAX : temperature);
    dense[FEATURES_PREVIOUS_FAILED] = count_q8(input->previous_failed);
}

static bool is_continuation(uint8_t byte)
{
    return (byte & 0xC0) == 0x80;
}

/* Lengths of the two pieces of the window; the second begins at *out_tail. A UTF-8 character has at
 * most three continuation bytes, so text that is not UTF-8 moves a cut by three bytes at most. */
static void find_window(const uint8_t *text, size_t len, size_t *out_head, size_t *out_tail)
{
    size_t head = len, tail = len;
    if (len > FEATURES_HEAD_BYTES + FEATURES_TAIL_BYTES) {
        head = FEATURES_HEAD_BYTES;
        tail = len - FEATURES_TAIL_BYTES;
        for (unsigned i = 0; i < 3 && is_continuation(text[head]); i++)
            head--;
        for (unsigned i = 0; i < 3 && is_continuation(text[tail]); i++)
            tail++;
    }
    *out_head = head;
    *out_tail = tail;
}

void features_extract(const struct features_hasher *hasher, const struct features_input *input,
                      struct features *out_features)
{
    const uint8_t *text = (const uint8_t *)input->text.data;
    size_t len = input->text.len, head, tail;
    struct window_counts counts = {0};
    struct piece piece;
    struct set set;
    memset(&set, 0, sizeof set);
    add_categories(hasher, input, &set);
    find_window(text, len, &head, &tail);
    read_piece(hasher, text, head, &piece, &counts);
    add_tokens(hasher, &piece, &set);
    if (tail < len) {
        read_piece(hasher, text + tail, len - tail, &piece, &counts);
        add_tokens(hasher, &piece, &set);
    }
    out_features->n = set_list(&set, out_features->index);
    fill_dense(input, &counts, out_features->dense);
}

const char *features_dense_name(uint32_t dense_index)
{
    static const char *const names[FEATURES_DENSE] = {
        "bias",     "log_bytes", "log_t_in",    "log_max_tokens",  "messages",
        "turns",    "tools",     "has_system",  "json_mode",       "images",
        "code",     "digit",     "newline",     "non_ascii",       "question",
        "math",     "word_len",  "temperature", "previous_failed", "reserved",
        "reserved", "reserved",  "reserved",    "reserved"};
    return dense_index < FEATURES_DENSE ? names[dense_index] : NULL;
}

static size_t put_varint(uint8_t *out, uint32_t value)
{
    size_t len = 0;
    for (; value >= 128; value >>= 7)
        out[len++] = (uint8_t)(value | 128);
    out[len++] = (uint8_t)value;
    return len;
}

/* Shortest form only, at most three bytes. */
static int take_varint(struct str *io, uint32_t *out_value)
{
    uint32_t value = 0;
    for (size_t i = 0; i < 3; i++) {
        if (i == io->len)
            return ERR_CORRUPT;
        uint8_t byte = (uint8_t)io->data[i];
        value |= (uint32_t)(byte & 127) << (7 * i);
        if (byte < 128) {
            if (byte == 0 && i > 0)
                return ERR_CORRUPT;
            *io = (struct str){.data = io->data + i + 1, .len = io->len - i - 1};
            *out_value = value;
            return 0;
        }
    }
    return ERR_CORRUPT;
}

size_t features_encode(const struct features *features, uint8_t out[FEATURES_ENCODED_MAX])
{
    size_t len = put_varint(out, features->n);
    uint32_t next = 0; /* Smallest index that may come. */
    for (uint32_t i = 0; i < features->n; i++) {
        len += put_varint(out + len, features->index[i] - next);
        next = features->index[i] + 1U;
    }
    return len;
}

int features_decode(struct str encoded, struct features *out_features)
{
    uint32_t n, gap, next = 0;
    int rc = take_varint(&encoded, &n);
    if (rc != 0)
        return rc;
    if (n > FEATURES_SPARSE_MAX)
        return ERR_TOO_LARGE;
    for (uint32_t i = 0; i < n; i++) {
        rc = take_varint(&encoded, &gap);
        if (rc != 0)
            return rc;
        if (gap > UINT16_MAX || next + gap > UINT16_MAX)
            return ERR_CORRUPT;
        out_features->index[i] = (uint16_t)(next + gap);
        next += gap + 1;
    }
    out_features->n = (uint16_t)n;
    return encoded.len == 0 ? 0 : ERR_CORRUPT;
}
