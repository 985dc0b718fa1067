/* tokens.h: input tokens as estimated before a provider has counted them. Pure, integers only.
 *
 * A byte costs a fraction of a token by its class (letters, digits, punctuation, spaces, bytes
 * of multi-byte characters), calibrated on byte-pair vocabularies: English prose comes out within
 * about 10 %, code and other scripts within 25 %. Raw JSON string bytes may be given: an escape
 * counts as what it stands for to that precision. */
#ifndef STEELYARD_DATAPLANE_LLM_TOKENS_H
#define STEELYARD_DATAPLANE_LLM_TOKENS_H

#include <stdint.h>

#include "common/base/str.h"

#define TOKENS_PER_MESSAGE  4U  /* Role and separators. */
#define TOKENS_PER_REPLY    3U  /* The primed answer. */
#define TOKENS_PER_TOOL     12U /* On top of the tool's own text. */
#define TOKENS_PER_NAME     1U
/* For what must not be exceeded: frames of a message, and of an image 1536 patches at 2.46 each. */
#define TOKENS_MESSAGE_MOST 16U
#define TOKENS_IMAGE_MOST   3779U

enum tokens_image { TOKENS_IMAGE_LOW, TOKENS_IMAGE_AUTO, TOKENS_IMAGE_HIGH };

/* Text in 1/256 tokens, so that many short pieces do not each round up. */
uint64_t tokens_text_q8(struct str text);
uint32_t tokens_image(enum tokens_image detail); /* Whole tokens. */
/* Of anything given by its size in bytes (files, audio as base64). */
uint32_t tokens_bytes(uint64_t bytes);
uint32_t tokens_round(uint64_t q8); /* Up, saturating. */

/* The ways to the sum of a text, the best of which is taken; NULL: not on this processor. For
 * tests: all give the same. */
enum tokens_way {
    TOKENS_WAY_SCALAR,
    TOKENS_WAY_SSE2,
    TOKENS_WAY_AVX2,
    TOKENS_WAY_AVX512,
    TOKENS_WAYS
};
typedef uint64_t (*tokens_sum_fn)(const uint8_t *p, size_t len);
tokens_sum_fn tokens_sum_of(enum tokens_way way);

#endif
