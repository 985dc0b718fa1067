#include "common/route/features.h"

#include <string.h>

#include "common/route/features_internal.h"
#include "common/route/fixed.h"

/* Usual path: one pass over the window lower-cases it into a padded copy and marks, a bit a byte,
 * what is a word and what is neither word nor white space; tokens are then found by counting zeros,
 * and all of them hashed, each with its pair. The indices are sorted, and what stands there twice
 * is left out. Where bytes and hashes are handled in blocks: features_avx512.c and features_avx2.c,
 * sorting beside each; in plain C: features_scalar.c. */

struct extraction {
    const struct features_way *way;
    struct features_found *found;
    struct features_counts counts;
};

static void add_one(struct extraction *x, uint64_t hash)
{
    x->found->index[x->found->n++] = (uint16_t)(hash >> 48);
}

void features_hasher_init(struct features_hasher *hasher, struct siphash_key key)
{
    hasher->key = key;
    struct sip begin = sip_begin(key);
    for (unsigned b = 0; b < 256; b++) {
        uint8_t message[8] = {(uint8_t)b};
        hasher->single[b] = features_hash_token(begin, message, 1);
    }
}

void features_split_long(struct features_tokens *t)
{
    __attribute__((uninitialized)) uint16_t at[FEATURES_PIECE_MAX], len[FEATURES_PIECE_MAX];
    const uint32_t count = t->count;
    uint32_t n = 0;
    memcpy(at, t->at, count * sizeof at[0]);
    memcpy(len, t->len, count * sizeof len[0]);
    for (uint32_t i = 0; i < count; i++)
        for (unsigned done = 0; done < len[i]; done += FEATURES_TOKEN_BYTES) {
            unsigned left = len[i] - done;
            t->at[n] = (uint16_t)(at[i] + done);
            t->len[n++] = (uint16_t)(left < FEATURES_TOKEN_BYTES ? left : FEATURES_TOKEN_BYTES);
        }
    t->count = n;
}

static void add_piece(struct extraction *x, const struct features_hasher *hasher, struct str text)
{
    __attribute__((uninitialized)) struct features_piece piece;
    __attribute__((uninitialized)) struct features_tokens tokens;
    x->way->read_tokens((const uint8_t *)text.data, text.len, &piece, &tokens, &x->counts);
    x->way->hash_tokens(hasher, &piece, &tokens, x->found->index + x->found->n);
    x->found->n += 2 * tokens.count;
}

/* SipHash of tag || text: what the tag's block holds besides, then whole blocks from byte 7 on. */
static uint64_t hash_tagged(struct siphash_key key, enum features_tag tag, const uint8_t *text,
                            size_t len)
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
                s = sip_block(s, sip_load(text + at));
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
    return hash_tagged(key, FEATURES_TAG_SYSTEM, ends, sizeof ends);
}

uint64_t features_system_hash(const struct features_hasher *hasher,
                              const struct features_input *input)
{
    struct str system = input->system_prompt;
    uint64_t len = input->system_bytes > system.len ? input->system_bytes : system.len;
    if (len > FEATURES_SYSTEM_BYTES_MAX)
        return hash_long_system(hasher->key, system, len);
    return hash_tagged(hasher->key, FEATURES_TAG_SYSTEM, (const uint8_t *)system.data, system.len);
}

static void add_name(const struct features_hasher *hasher, enum features_tag tag, struct str name,
                     struct extraction *x)
{
    size_t len = name.len < FEATURES_NAME_BYTES_MAX ? name.len : FEATURES_NAME_BYTES_MAX;
    if (len > 0)
        add_one(x, hash_tagged(hasher->key, tag, (const uint8_t *)name.data, len));
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

void features_fill_dense(const struct features_input *input, const struct features_counts *c,
                         int16_t dense[FEATURES_DENSE])
{
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
    dense[FEATURES_CODE] = ratio_q8(c->code, c->bytes);
    dense[FEATURES_DIGIT] = ratio_q8(c->digit, c->bytes);
    dense[FEATURES_NEWLINE] = ratio_q8(c->newline, c->bytes);
    dense[FEATURES_NON_ASCII] = ratio_q8(c->non_ascii, c->bytes);
    dense[FEATURES_QUESTION] = count_q8(c->question);
    dense[FEATURES_MATH] = ratio_q8(c->math, c->bytes);
    dense[FEATURES_WORD_LEN] = ratio_q8(c->word_bytes, c->word_runs);
    int32_t temperature = input->temperature_q8 < 0 ? 256 : input->temperature_q8;
    dense[FEATURES_TEMPERATURE] = (int16_t)(temperature > INT16_MAX ? INT16_MAX : temperature);
    dense[FEATURES_PREVIOUS_FAILED] = count_q8(input->previous_failed);
}

static bool is_continuation(uint8_t byte)
{
    return (byte & 0xC0) == 0x80;
}

/* A UTF-8 character has at most three continuation bytes, so text that is not UTF-8 moves a cut by
 * three bytes at most. */
struct features_window features_window_of(struct str text)
{
    if (text.len <= FEATURES_HEAD_BYTES + FEATURES_TAIL_BYTES)
        return (struct features_window){.head = text};
    const uint8_t *p = (const uint8_t *)text.data;
    size_t head = FEATURES_HEAD_BYTES, tail = text.len - FEATURES_TAIL_BYTES;
    for (unsigned i = 0; i < 3 && is_continuation(p[head]); i++)
        head--;
    for (unsigned i = 0; i < 3 && is_continuation(p[tail]); i++)
        tail++;
    return (struct features_window){.head = str_slice(text, 0, head),
                                    .tail = str_slice(text, tail, text.len)};
}

void features_extract_window(const struct features_way *way, const struct features_hasher *hasher,
                             const struct features_input *input, const struct features_window *w,
                             uint64_t system_hash, struct features *out_features,
                             struct features_counts *out_counts)
{
    static _Thread_local struct features_set set;
    __attribute__((uninitialized)) struct features_found found;
    struct extraction x = {.way = way, .found = &found};
    found.n = 0;
    if (input->system_prompt.len > 0)
        add_one(&x, system_hash);
    add_name(hasher, FEATURES_TAG_ALIAS, input->alias, &x);
    add_name(hasher, FEATURES_TAG_SEGMENT, input->segment, &x);
    for (uint32_t i = 0; i < input->tool_count && i < FEATURES_TOOLS_MAX; i++)
        add_name(hasher, FEATURES_TAG_TOOL, input->tools[i], &x);
    add_piece(&x, hasher, w->head);
    if (w->tail.len > 0)
        add_piece(&x, hasher, w->tail);
    out_features->n = (uint16_t)way->sort(found.index, found.n, &set, out_features->index);
    features_fill_dense(input, &x.counts, out_features->dense);
    *out_counts = x.counts;
}

void features_extract_by(const struct features_way *way, const struct features_hasher *hasher,
                         const struct features_input *input, struct features *out_features)
{
    struct features_window w = features_window_of(input->text);
    struct features_counts counts;
    uint64_t system_hash = input->system_prompt.len > 0 ? features_system_hash(hasher, input) : 0;
    features_extract_window(way, hasher, input, &w, system_hash, out_features, &counts);
}

const struct features_way *features_best = &features_scalar;

/* __builtin_cpu_supports also asks whether the system keeps the wide registers. */
const struct features_way *features_way_of(enum features_ways way)
{
    switch (way) {
    case FEATURES_WAY_SCALAR:
        return &features_scalar;
    case FEATURES_WAY_AVX2:
#if defined(__x86_64__)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
                       __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt")
                   ? &features_avx2
                   : NULL;
#endif
    case FEATURES_WAY_AVX512:
#if defined(__x86_64__)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                       __builtin_cpu_supports("avx512vbmi") &&
                       __builtin_cpu_supports("avx512vbmi2") &&
                       __builtin_cpu_supports("avx512vpopcntdq") &&
                       __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("gfni") &&
                       __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
                       __builtin_cpu_supports("popcnt")
                   ? &features_avx512
                   : NULL;
#endif
    case FEATURES_WAYS:
        break;
    }
    return NULL;
}

__attribute__((constructor)) static void choose_best(void)
{
    for (int way = FEATURES_WAY_SCALAR; way < FEATURES_WAYS; way++)
        if (features_way_of((enum features_ways)way) != NULL)
            features_best = features_way_of((enum features_ways)way);
}

void features_extract(const struct features_hasher *hasher, const struct features_input *input,
                      struct features *out_features)
{
    features_extract_by(features_best, hasher, input, out_features);
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
