/* openai_scan.h: the steps of openai_usual.c: strings, scalars, members, elements. Each takes what
 * JSON has there in its usual form and answers false to anything else, JSON or not. Private to it.
 */
#ifndef STEELYARD_DATAPLANE_LLM_OPENAI_SCAN_H
#define STEELYARD_DATAPLANE_LLM_OPENAI_SCAN_H

#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "common/json/json_length.h"
#include "dataplane/llm/openai_usual.h"

#define COUNT_DIGITS_MAX 12U /* Below the 2^40 that the strict reader takes for a count. */

struct scan {
    const unsigned char *p;
    const unsigned char *end;
    struct openai_facts *facts;
};

struct text { /* A string between its quotes. */
    const char *data;
    size_t len;
    size_t escapes; /* Of two bytes each. */
};

/* The byte after white space, or -1: the end, or another control byte. */
static inline int token(struct scan *s)
{
    for (; s->p < s->end; s->p++) {
        unsigned char c = *s->p;
        if (c > ' ')
            return c;
        if (c != ' ' && c != '\n' && c != '\r' && c != '\t')
            break;
    }
    return -1;
}

static bool read_text_on(struct scan *s, struct text *out);

/* At an opening quote. */
static inline bool read_text(struct scan *s, struct text *out)
{
    const unsigned char *const from = s->p + 1;
    uint32_t escapes = 0;
    const unsigned char *p = from + json_plain_length(from, (size_t)(s->end - from), &escapes);
    if (p == s->end || *p != '"')
        return read_text_on(s, out);
    *out = (struct text){(const char *)from, (size_t)(p - from), escapes};
    s->p = p + 1;
    return true;
}

/* The same with non-ASCII in it. */
static bool read_text_on(struct scan *s, struct text *out)
{
    const unsigned char *p = ++s->p;
    uint32_t escapes = 0;
    for (;;) {
        p += json_plain_length(p, (size_t)(s->end - p), &escapes);
        if (p == s->end)
            return false;
        if (*p == '"')
            break;
        if (*p == '\\') /* An escape that is cut off, or of more than two bytes. */
            return false;
        size_t n =
            str_utf8_length((struct str){.data = (const char *)p, .len = (size_t)(s->end - p)}, 0);
        if (n == 0) /* Control bytes are none, either. */
            return false;
        p += n;
        if (n == 1)
            return false;
    }
    *out = (struct text){(const char *)s->p, (size_t)(p - s->p), escapes};
    s->p = p + 1;
    return true;
}

static inline bool read_word(struct scan *s, const char *word, size_t len)
{
    if ((size_t)(s->end - s->p) < len || memcmp(s->p, word, len) != 0)
        return false;
    s->p += len;
    return true;
}

static inline bool is_digit(const struct scan *s)
{
    return s->p < s->end && *s->p >= '0' && *s->p <= '9';
}

/* An integer; a fraction or exponent behind it fails where a comma or bracket is expected. */
static inline bool skip_number(struct scan *s)
{
    if (s->p < s->end && *s->p == '-')
        s->p++;
    if (!is_digit(s))
        return false;
    if (*s->p++ == '0')
        return !is_digit(s);
    while (is_digit(s))
        s->p++;
    return true;
}

static inline bool skip_scalar(struct scan *s)
{
    struct text ignored;
    switch (token(s)) {
    case '"':
        return read_text(s, &ignored);
    case 'n':
        return read_word(s, "null", 4);
    case 't':
        return read_word(s, "true", 4);
    case 'f':
        return read_word(s, "false", 5);
    case -1:
        return false;
    default:
        return skip_number(s);
    }
}

static inline bool read_null(struct scan *s)
{
    return token(s) == 'n' && read_word(s, "null", 4);
}

/* A short key without escapes and the colon right behind it, which is nearly every one. */
static inline bool read_key(struct scan *s, struct text *key)
{
#if defined(__SSE2__)
    const unsigned char *p = s->p + 1;
    if (s->end - p >= 18 && p[-1] == '"') {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i hit = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')),
                                   _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
        hit = _mm_or_si128(hit, _mm_cmplt_epi8(v, _mm_set1_epi8(' ')));
        unsigned mask = (unsigned)_mm_movemask_epi8(hit);
        unsigned n = (unsigned)__builtin_ctz(mask | 0x10000);
        if (p[n] == '"' && p[n + 1] == ':') {
            key->data = (const char *)p;
            key->len = n;
            s->p = p + n + 2;
            return true;
        }
    }
#endif
    if (!read_text(s, key) || key->escapes != 0 || token(s) != ':')
        return false;
    s->p++;
    return true;
}

enum step { STEP_BAD, STEP_END, STEP_ONE };

/* Behind '{' or a value: the next key and its colon, or the end. */
static inline enum step next_member(struct scan *s, bool first, struct text *key)
{
    int c = token(s);
    if (c == '}') {
        s->p++;
        return STEP_END;
    }
    if (!first) {
        if (c != ',')
            return STEP_BAD;
        s->p++;
        c = token(s);
    }
    return c == '"' && read_key(s, key) ? STEP_ONE : STEP_BAD;
}

static inline enum step next_element(struct scan *s, bool first)
{
    int c = token(s);
    if (c == ']') {
        s->p++;
        return STEP_END;
    }
    if (first)
        return STEP_ONE;
    if (c != ',')
        return STEP_BAD;
    s->p++;
    return STEP_ONE;
}

static inline bool opens(struct scan *s, int bracket)
{
    if (token(s) != bracket)
        return false;
    s->p++;
    return true;
}

#define IS(key, literal)                                                                           \
    ((key)->len == sizeof(literal) - 1 && memcmp((key)->data, literal, sizeof(literal) - 1) == 0)

/* False for a member that was there already. */
static inline bool note(unsigned *mask, unsigned bit)
{
    bool again = (*mask & bit) != 0;
    *mask |= bit;
    return !again;
}

#endif
