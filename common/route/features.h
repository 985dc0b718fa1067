/* features.h: the feature vector of a call, specification 1. What it is for: the router sees only
 * these numbers, and a decision is recomputed from them alone, without the text.
 *
 * Sparse part: at most 512 indices of 16 bits, a set. They are the top 16 bits of keyed SipHash-1-3
 * values, so that a vector does not give away words to those without the key. In this order (the
 * first 512 distinct ones stay): whole system prompt, alias, segment, tool names, then for each
 * token of the text its unigram and its bigram with the token before it.
 *   unigram  SipHash(K, 0x01 || token)            bigram  SipHash(K, 0x02 || h_before || h)
 *   system   SipHash(K, 0x03 || text)             alias   SipHash(K, 0x05 || alias)
 *   tool     SipHash(K, 0x04 || name)             segment SipHash(K, 0x06 || segment)
 * A system prompt above 4,096 bytes counts by its first and last 2,048 bytes and its length (u64
 * little endian in between). Tokens: runs of [A-Za-z] or of bytes >= 0x80 (mixed runs are one run),
 * cut every 48 bytes, ASCII lower-cased; any other byte but white space (9-13, 32) is one token.
 * Text above 1,536 bytes counts by its first 1,024 and last 512 bytes, cut at UTF-8 boundaries; no
 * bigram spans the gap.
 *
 * Dense part: 24 int16 in Q8.8, named by features_dense_name. Pure, no allocation, thread-safe. */
#ifndef STEELYARD_COMMON_ROUTE_FEATURES_H
#define STEELYARD_COMMON_ROUTE_FEATURES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/hash.h"
#include "common/base/str.h"

#define FEATURES_SPEC       1
#define FEATURES_SPARSE_MAX 512
#define FEATURES_DENSE      24
#define FEATURES_INDEX_BITS 16
#define FEATURES_HEAD_BYTES 1024
#define FEATURES_TAIL_BYTES 512
#define FEATURES_TEXT_HEAD_BYTES                                                                   \
    (FEATURES_HEAD_BYTES + 4) /* The head, and what its cut depends on. */
#define FEATURES_TOKEN_BYTES      48
#define FEATURES_SYSTEM_BYTES_MAX 4096
#define FEATURES_NAME_BYTES_MAX   256 /* Of alias, segment, tool name; the rest is not looked at. */
#define FEATURES_TOOLS_MAX        64  /* Names beyond this one are only counted. */

enum features_dense {
    FEATURES_BIAS, /* 1.0 */
    FEATURES_LOG_BYTES,
    FEATURES_LOG_T_IN,
    FEATURES_LOG_MAX_TOKENS,
    FEATURES_MESSAGES,
    FEATURES_TURNS,
    FEATURES_TOOLS,
    FEATURES_HAS_SYSTEM,
    FEATURES_JSON_MODE,
    FEATURES_IMAGES,
    FEATURES_CODE,  /* Share of code punctuation in the window. */
    FEATURES_DIGIT, /* Shares of the window's bytes ... */
    FEATURES_NEWLINE,
    FEATURES_NON_ASCII,
    FEATURES_QUESTION, /* 1.0 if the window holds a '?'. */
    FEATURES_MATH,     /* Share of + - * / = ^ % < > \ $ . */
    FEATURES_WORD_LEN, /* Mean bytes of a word token. */
    FEATURES_TEMPERATURE,
    FEATURES_PREVIOUS_FAILED,
    /* 19-23 are reserved and 0. */
};

/* What the caller knows of a call. All slices are borrowed for the call only. */
struct features_input {
    /* The user's last message; not rendered demos or templates. Whole, or of one longer than both
     * together its first FEATURES_TEXT_HEAD_BYTES and last FEATURES_TAIL_BYTES bytes. */
    struct str text;
    /* len 0: none. Whole, or of one longer than FEATURES_SYSTEM_BYTES_MAX its first and last half
     * of that many bytes; then system_bytes is its length, which may be left 0 for a whole one. */
    struct str system_prompt;
    uint64_t system_bytes;
    struct str alias; /* Left empty by the data plane: docs/decisions/0034. */
    struct str segment;
    const struct str *tools; /* Names; may be NULL if tool_count is 0. */
    uint32_t tool_count;
    uint64_t bytes;      /* Text bytes of all messages together. */
    uint32_t t_in;       /* Input tokens as estimated at admission. */
    uint32_t max_tokens; /* 0: not set. */
    uint32_t messages;
    uint32_t turns;  /* User messages. */
    uint32_t images; /* Count. */
    bool json_mode;
    bool previous_failed;   /* The conversation's last turn ended in an error or a client retry. */
    int32_t temperature_q8; /* Q8.8; FEATURES_TEMPERATURE_UNSET counts as 1.0. */
};
#define FEATURES_TEMPERATURE_UNSET (-1)

struct features {
    uint16_t n;                          /* Valid entries of index. */
    uint16_t index[FEATURES_SPARSE_MAX]; /* Strictly ascending. */
    int16_t dense[FEATURES_DENSE];
};

/* The key and what follows from one byte. Build once a key; immutable afterwards. Private fields.
 */
struct features_hasher {
    struct siphash_key key;
    uint64_t single[256]; /* Hash of the one-byte token. */
};
void features_hasher_init(struct features_hasher *hasher, struct siphash_key key);

void features_extract(const struct features_hasher *hasher, const struct features_input *input,
                      struct features *out_features);

/* "bias", "log_bytes", ...; "reserved" for 19-23, NULL outside 0..23. Static strings. */
const char *features_dense_name(uint32_t dense_index);

/* The form of older nodes' records, and of the self-test's vectors: varint n, varint first index,
 * then varint (difference - 1). */
#define FEATURES_ENCODED_MAX (2 + 3 * FEATURES_SPARSE_MAX)
size_t features_encode(const struct features *features, uint8_t out[FEATURES_ENCODED_MAX]);
/* Sets n and index and leaves dense alone. Only the shortest form of an ascending list of at most
 * 512 is accepted: ERR_CORRUPT otherwise, ERR_TOO_LARGE for n > 512; out is then unspecified. */
int features_decode(struct str encoded, struct features *out_features) MUST_CHECK;

/* The record's shorter form, which is written since docs/decisions/0286 and takes no loop over
 * single values: varint n | the lower byte of each index | low bits | high bits | far ones.
 * A step is an index's upper byte less the one before it (the first: less 0). The two rows of n
 * bits, from the lowest bit of a byte up and filled with 0, say how far it goes: 0, 1, 2, or 3 for
 * a byte (step - 3) among the far ones, in order. */
#define FEATURES_FAR_STEP 3U
#define FEATURES_PACKED_MAX                                                                        \
    (2 + FEATURES_SPARSE_MAX + 2 * (FEATURES_SPARSE_MAX / 8) + 255 / FEATURES_FAR_STEP)
size_t features_pack(const struct features *features, uint8_t out[FEATURES_PACKED_MAX]);
/* As features_decode. */
int features_unpack(struct str packed, struct features *out_features) MUST_CHECK;

#endif
