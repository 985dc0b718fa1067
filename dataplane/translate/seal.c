#include "dataplane/translate/seal.h"

#include <string.h>

#define MAKER_DIGITS 8U

static const struct str names[DIALECTS] = {
    [DIALECT_OPENAI] = {"sy1.openai", 10},       [DIALECT_RESPONSES] = {"sy1.responses", 13},
    [DIALECT_ANTHROPIC] = {"sy1.anthropic", 13}, [DIALECT_GEMINI] = {"sy1.gemini", 10},
    [DIALECT_BEDROCK] = {"sy1.bedrock", 11},     [DIALECT_COHERE] = {"sy1.cohere", 10},
};
_Static_assert(TR_SEAL_BYTES_MAX >= 13 + 1 + MAKER_DIGITS + 1, "the longest prefix");

/* FNV-1a, with an end to each text: makers are told apart, not defended. */
static uint32_t hash(uint32_t h, struct str text)
{
    for (size_t i = 0; i < text.len; i++)
        h = (h ^ (unsigned char)text.data[i]) * UINT32_C(16777619);
    return h * UINT32_C(16777619);
}

uint32_t tr_seal_maker(enum dialect vendor, struct str type, struct str provider, struct str model)
{
    uint32_t h = hash(UINT32_C(2166136261), type);
    if (vendor == DIALECT_RESPONSES)
        h = hash(h, provider);
    h = hash(h, model);
    return h != 0 ? h : 1;
}

struct str tr_seal_prefix(enum dialect vendor, uint32_t maker, char room[TR_SEAL_BYTES_MAX])
{
    static const char digits[] = "0123456789abcdef";
    if ((size_t)vendor >= DIALECTS)
        return STR("");
    size_t len = names[vendor].len;
    memcpy(room, names[vendor].data, len);
    if (maker != 0) {
        room[len++] = '-';
        for (unsigned i = MAKER_DIGITS; i-- > 0;)
            room[len++] = digits[maker >> (4 * i) & 15];
    }
    room[len++] = '.';
    return (struct str){room, len};
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Behind the dialect's name: "." or "-01ab23cd.". Returns how many bytes; 0: neither. */
static size_t take_maker(struct str s, uint32_t *out_maker)
{
    uint32_t maker = 0;
    if (str_starts(s, STR("."))) {
        *out_maker = 0;
        return 1;
    }
    if (s.len < MAKER_DIGITS + 2 || s.data[0] != '-' || s.data[MAKER_DIGITS + 1] != '.')
        return 0;
    for (size_t i = 1; i <= MAKER_DIGITS; i++) {
        const int d = digit(s.data[i]);
        if (d < 0)
            return 0;
        maker = maker << 4 | (uint32_t)d;
    }
    *out_maker = maker;
    return maker != 0 ? MAKER_DIGITS + 2 : 0;
}

struct str tr_seal_take(struct str value, enum dialect *out_vendor, uint32_t *out_maker)
{
    *out_vendor = DIALECTS;
    *out_maker = 0;
    for (size_t i = 0; i < DIALECTS; i++) {
        if (!str_starts(value, names[i]))
            continue;
        const size_t behind = take_maker(str_slice(value, names[i].len, value.len), out_maker);
        if (behind == 0)
            return value;
        *out_vendor = (enum dialect)i;
        return str_slice(value, names[i].len + behind, value.len);
    }
    return value;
}
