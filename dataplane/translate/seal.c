#include "dataplane/translate/seal.h"

static const struct str prefixes[DIALECTS] = {
    [DIALECT_OPENAI] = {"sy1.openai.", 11},       [DIALECT_RESPONSES] = {"sy1.responses.", 14},
    [DIALECT_ANTHROPIC] = {"sy1.anthropic.", 14}, [DIALECT_GEMINI] = {"sy1.gemini.", 11},
    [DIALECT_BEDROCK] = {"sy1.bedrock.", 12},     [DIALECT_COHERE] = {"sy1.cohere.", 11},
};

struct str tr_seal_prefix(enum dialect vendor)
{
    return (size_t)vendor < DIALECTS ? prefixes[vendor] : STR("");
}

int tr_seal_put(struct buf *out, enum dialect vendor, struct str value)
{
    enum dialect sealed;
    if (value.len == 0)
        return 0;
    (void)tr_seal_take(value, &sealed);
    size_t begin = out->len;
    int rc = sealed == DIALECTS ? buf_append_str(out, tr_seal_prefix(vendor)) : 0;
    if (rc == 0)
        rc = buf_append_str(out, value);
    if (rc != 0)
        out->len = begin;
    return rc;
}

struct str tr_seal_take(struct str value, enum dialect *out_vendor)
{
    for (size_t i = 0; i < DIALECTS; i++)
        if (str_starts(value, prefixes[i])) {
            *out_vendor = (enum dialect)i;
            return str_slice(value, prefixes[i].len, value.len);
        }
    *out_vendor = DIALECTS;
    return value;
}
