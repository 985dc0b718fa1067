/* The recorded forms of a feature vector. */
#include <string.h>

#include "common/base/varint.h"
#include "common/route/features.h"

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
    uint8_t *at = varint_write(out, features->n);
    uint32_t next = 0; /* Smallest index that may come. */
    for (uint32_t i = 0; i < features->n; i++) {
        at = varint_write(at, features->index[i] - next);
        next = features->index[i] + 1U;
    }
    return (size_t)(at - out);
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

/* ---- packed ---- */

size_t features_pack(const struct features *features, uint8_t out[FEATURES_PACKED_MAX])
{
    const uint32_t n = features->n, row_bytes = (n + 7) / 8;
    uint8_t *low = varint_write(out, n), *row = low + n, *far = row + 2 * (size_t)row_bytes;
    memset(row, 0, 2 * (size_t)row_bytes);
    uint32_t before = 0;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t upper = features->index[i] >> 8;
        const uint8_t step = (uint8_t)(upper - before);
        const uint32_t code = step < FEATURES_FAR_STEP ? step : FEATURES_FAR_STEP;
        low[i] = (uint8_t)features->index[i];
        row[i / 8] |= (uint8_t)((code & 1) << i % 8);
        row[row_bytes + i / 8] |= (uint8_t)((code >> 1) << i % 8);
        if (code == FEATURES_FAR_STEP)
            *far++ = (uint8_t)(step - FEATURES_FAR_STEP);
        before = upper;
    }
    return (size_t)(far - out);
}

int features_unpack(struct str packed, struct features *out_features)
{
    uint32_t n;
    int rc = take_varint(&packed, &n);
    if (rc != 0)
        return rc;
    if (n > FEATURES_SPARSE_MAX)
        return ERR_TOO_LARGE;
    const uint32_t row_bytes = (n + 7) / 8;
    if (packed.len < n + 2 * (size_t)row_bytes)
        return ERR_CORRUPT;
    const uint8_t *low = (const uint8_t *)packed.data, *row = low + n;
    const uint8_t *far = row + 2 * (size_t)row_bytes, *const end = low + packed.len;
    uint32_t upper = 0, next = 0; /* Smallest index that may come. */
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t low_bits = row[i / 8], high_bits = row[row_bytes + i / 8];
        const uint32_t code = (low_bits >> i % 8 & 1) | (high_bits >> i % 8 & 1) << 1;
        if (code == FEATURES_FAR_STEP && far == end)
            return ERR_CORRUPT;
        upper += code == FEATURES_FAR_STEP ? FEATURES_FAR_STEP + *far++ : code;
        const uint32_t index = upper << 8 | low[i];
        if (index < next || index > UINT16_MAX)
            return ERR_CORRUPT;
        out_features->index[i] = (uint16_t)index;
        next = index + 1;
    }
    if (n % 8 != 0 && ((row[row_bytes - 1] | row[2 * row_bytes - 1]) >> n % 8) != 0)
        return ERR_CORRUPT; /* What fills a row. */
    out_features->n = (uint16_t)n;
    return far == end ? 0 : ERR_CORRUPT;
}
