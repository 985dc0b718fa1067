#include "dataplane/llm/tokens.h"

/* 1/256 tokens a byte. Letters: 4.6 to a token; digits: 3; punctuation: 1.6 (two or three often
 * join); a space belongs to the word after it, runs of spaces are cheap; UTF-8: 2.6 bytes a token.
 */
enum { LETTER = 56, DIGIT = 85, PUNCT = 160, SPACE = 14, WIDE = 98 };

static inline unsigned weight(unsigned char c)
{
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'z')
        return LETTER;
    if (c >= 0x80)
        return WIDE;
    if (c >= '0' && c <= '9')
        return DIGIT;
    return c <= ' ' ? SPACE : PUNCT;
}

uint64_t tokens_text_q8(struct str text)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < text.len; i++)
        sum += weight((unsigned char)text.data[i]);
    return sum;
}

uint32_t tokens_image(enum tokens_image detail)
{
    switch (detail) {
    case TOKENS_IMAGE_LOW:
        return 85;
    case TOKENS_IMAGE_AUTO:
    case TOKENS_IMAGE_HIGH: /* Four tiles of 170 on top of the base: a 1024 x 1024 picture. */
        return 765;
    }
    return 765;
}

uint32_t tokens_bytes(uint64_t bytes)
{
    uint64_t tokens = bytes / 4 + (bytes % 4 != 0);
    return tokens > UINT32_MAX ? UINT32_MAX : (uint32_t)tokens;
}

uint32_t tokens_round(uint64_t q8)
{
    uint64_t tokens = q8 / 256 + (q8 % 256 != 0);
    return tokens > UINT32_MAX ? UINT32_MAX : (uint32_t)tokens;
}
