#include "dataplane/llm/tokens.h"

/* 1/256 tokens a byte. Letters: 4.6 to a token; digits: 3; punctuation: 1.6 (two or three often
 * join); a space belongs to the word after it, runs of spaces are cheap; UTF-8: 2.6 bytes a token.
 */
enum { LETTER = 56, DIGIT = 85, PUNCT = 160, SPACE = 14, WIDE = 98 };

static const uint8_t weights[256] = {
    [0 ... ' '] = SPACE,    ['!' ... '/'] = PUNCT,  ['0' ... '9'] = DIGIT,
    [':' ... '@'] = PUNCT,  ['A' ... 'Z'] = LETTER, ['[' ... '`'] = PUNCT,
    ['a' ... 'z'] = LETTER, ['{' ... 0x7f] = PUNCT, [0x80 ... 0xff] = WIDE,
};

/* Four sums, so that the additions of neighbouring bytes do not wait for each other. */
uint64_t tokens_text_q8(struct str text)
{
    const uint8_t *p = (const uint8_t *)text.data;
    uint64_t a = 0, b = 0, c = 0, d = 0;
    size_t i = 0;
    for (; i + 4 <= text.len; i += 4) {
        a += weights[p[i]];
        b += weights[p[i + 1]];
        c += weights[p[i + 2]];
        d += weights[p[i + 3]];
    }
    for (; i < text.len; i++)
        a += weights[p[i]];
    return a + b + c + d;
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
