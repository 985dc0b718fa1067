/* The recorded form of a feature vector. */
#include "common/route/features.h"

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
