#include "common/route/features.h"

#include <string.h>

#include "common/route/fixed.h"

/* Usual path: the window is read twice, once for counts and once for tokens. Each token costs a
 * SipHash-1-3 of one or two blocks and its bigram one of exactly 17 bytes; both are written out
 * here because they are most of a decision's time. The set is a bitmap of all 65,536 indices, which
 * also sorts it. */

#define BITMAP_WORDS (65536 / 64)

enum tag {
    TAG_UNIGRAM = 1,
    TAG_BIGRAM = 2,
    TAG_SYSTEM = 3,
    TAG_TOOL = 4,
    TAG_ALIAS = 5,
    TAG_SEGMENT = 6,
};

enum byte_class { BYTE_OTHER, BYTE_WORD, BYTE_SPACE };

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
    uint32_t n;
};

static void set_add(struct set *s, uint64_t hash)
{
    unsigned index = (unsigned)(hash >> 48);
    uint64_t bit = UINT64_C(1) << (index & 63);
    uint64_t *word = &s->bits[index >> 6];
    s->n += (*word & bit) == 0;
    *word |= bit;
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

/* tag || token in message[0..len); the bytes after it up to the next multiple of 8 are zero. */
static inline uint64_t hash_token(struct sip s, const uint8_t *message, size_t len)
{
    size_t at = 0;
    for (; at + 8 <= len; at += 8)
        s = sip_block(s, load_le64(message + at));
    return sip_final(sip_block(s, load_le64(message + at) | (uint64_t)len << 56));
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
        bool upper = b >= 'A' && b <= 'Z', lower = b >= 'a' && b <= 'z';
        bool space = (b >= 9 && b <= 13) || b == 32;
        uint8_t message[8] = {TAG_UNIGRAM, (uint8_t)(upper ? b + 32 : b)};
        hasher->single[b] = hash_token(begin, message, 2);
        hasher->lower[b] = message[1];
        hasher->byte_class[b] = upper || lower || b >= 0x80 ? BYTE_WORD
                                : space                     ? BYTE_SPACE
                                                            : BYTE_OTHER;
        hasher->counts[b] = (uint64_t)in_text("{}()[];=<>_#&|`", b) << COUNT_CODE |
                            (uint64_t)(b >= '0' && b <= '9') << COUNT_DIGIT |
                            (uint64_t)(b == '\n') << COUNT_NEWLINE |
                            (uint64_t)(b >= 0x80) << COUNT_NON_ASCII |
                            (uint64_t)in_text("+-*/=^%<>\\$", b) << COUNT_MATH;
    }
}

/* Adds the tokens of one piece of the window; stops once the set is full. */
static void add_tokens(const struct features_hasher *hasher, const uint8_t *text, size_t len,
                       struct set *set)
{
    const struct sip begin = sip_begin(hasher->key);
    uint64_t before = 0;
    bool has_before = false;
    for (size_t at = 0; at < len && set->n < FEATURES_SPARSE_MAX;) {
        unsigned class = hasher->byte_class[text[at]];
        if (class == BYTE_SPACE) {
            at++;
            continue;
        }
        size_t end = at + 1;
        uint64_t h = hasher->single[text[at]];
        if (class == BYTE_WORD) {
            size_t limit = len - at > FEATURES_TOKEN_BYTES ? at + FEATURES_TOKEN_BYTES : len;
            uint8_t message[64];
            memset(message, 0, sizeof message);
            message[0] = TAG_UNIGRAM;
            message[1] = hasher->lower[text[at]];
            while (end < limit && hasher->byte_class[text[end]] == BYTE_WORD) {
                message[1 + end - at] = hasher->lower[text[end]];
                end++;
            }
            if (end - at > 1)
                h = hash_token(begin, message, 1 + end - at);
        }
        set_add(set, h);
        if (has_before && set->n < FEATURES_SPARSE_MAX)
            set_add(set, hash_bigram(begin, before, h));
        before = h;
        has_before = true;
        at = end;
    }
}

struct window_counts {
    uint64_t packed;
    uint32_t bytes;
    uint32_t word_bytes;
    uint32_t word_runs;
    bool question;
};

static void count_bytes(const struct features_hasher *hasher, const uint8_t *text, size_t len,
                        struct window_counts *c)
{
    bool in_word = false;
    for (size_t i = 0; i < len; i++) {
        bool word = hasher->byte_class[text[i]] == BYTE_WORD;
        c->packed += hasher->counts[text[i]];
        c->word_bytes += word;
        c->word_runs += word && !in_word;
        in_word = word;
    }
    c->bytes += (uint32_t)len;
    if (len > 0 && memchr(text, '?', len) != NULL)
        c->question = true;
}

/* One hash of tag || text. */
static void add_category(const struct features_hasher *hasher, enum tag tag, struct str text,
                         struct set *set)
{
    uint8_t message[1 + FEATURES_SYSTEM_BYTES_MAX + 8];
    size_t len = 0;
    message[len++] = (uint8_t)tag;
    if (tag == TAG_SYSTEM && text.len > FEATURES_SYSTEM_BYTES_MAX) {
        const size_t half = FEATURES_SYSTEM_BYTES_MAX / 2;
        memcpy(message + len, text.data, half);
        len += half;
        for (unsigned i = 0; i < 8; i++)
            message[len++] = (uint8_t)((uint64_t)text.len >> (8 * i));
        memcpy(message + len, text.data + text.len - half, half);
        len += half;
    } else {
        size_t max = tag == TAG_SYSTEM ? FEATURES_SYSTEM_BYTES_MAX : FEATURES_NAME_BYTES_MAX;
        size_t take = text.len < max ? text.len : max;
        memcpy(message + len, text.data, take);
        len += take;
    }
    set_add(set, siphash_1_3(hasher->key, message, len));
}

static void add_categories(const struct features_hasher *hasher, const struct features_input *input,
                           struct set *set)
{
    if (input->system_prompt.len > 0)
        add_category(hasher, TAG_SYSTEM, input->system_prompt, set);
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
    struct set set;
    memset(&set, 0, sizeof set);
    find_window(text, len, &head, &tail);
    count_bytes(hasher, text, head, &counts);
    add_categories(hasher, input, &set);
    add_tokens(hasher, text, head, &set);
    if (tail < len) {
        count_bytes(hasher, text + tail, len - tail, &counts);
        add_tokens(hasher, text + tail, len - tail, &set);
    }
    uint16_t n = 0;
    for (unsigned w = 0; w < BITMAP_WORDS; w++)
        for (uint64_t bits = set.bits[w]; bits != 0; bits &= bits - 1)
            out_features->index[n++] = (uint16_t)(w * 64 + (unsigned)__builtin_ctzll(bits));
    out_features->n = n;
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
