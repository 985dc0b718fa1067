/* bytes.h: little-endian fields of the policy file, read with bounds and written into a buf. A
 * reader that ran out or met a bad field stays bad and gives zeros, so that one check at the end of
 * a structure is enough. Pure. */
#ifndef STEELYARD_COMMON_ROUTE_BYTES_H
#define STEELYARD_COMMON_ROUTE_BYTES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/str.h"

struct bytes_reader {
    const uint8_t *p;
    size_t left;
    bool bad;
};

static inline struct bytes_reader bytes_reader(struct str s)
{
    return (struct bytes_reader){.p = (const uint8_t *)s.data, .left = s.len};
}

/* NULL (and bad) when fewer than len are left. */
static inline const uint8_t *bytes_take(struct bytes_reader *r, size_t len)
{
    if (r->bad || len > r->left) {
        r->bad = true;
        return NULL;
    }
    const uint8_t *p = r->p;
    r->p += len;
    r->left -= len;
    return p;
}

static inline uint64_t bytes_get(struct bytes_reader *r, unsigned len)
{
    const uint8_t *p = bytes_take(r, len);
    uint64_t value = 0;
    for (unsigned i = 0; p != NULL && i < len; i++)
        value |= (uint64_t)p[i] << (8 * i);
    return value;
}

static inline uint8_t bytes_get_u8(struct bytes_reader *r)
{
    return (uint8_t)bytes_get(r, 1);
}
static inline uint16_t bytes_get_u16(struct bytes_reader *r)
{
    return (uint16_t)bytes_get(r, 2);
}
static inline uint32_t bytes_get_u32(struct bytes_reader *r)
{
    return (uint32_t)bytes_get(r, 4);
}
static inline uint64_t bytes_get_u64(struct bytes_reader *r)
{
    return bytes_get(r, 8);
}
static inline int16_t bytes_get_i16(struct bytes_reader *r)
{
    return (int16_t)bytes_get_u16(r);
}
static inline int32_t bytes_get_i32(struct bytes_reader *r)
{
    return (int32_t)bytes_get_u32(r);
}
static inline int64_t bytes_get_i64(struct bytes_reader *r)
{
    return (int64_t)bytes_get_u64(r);
}
static inline bool bytes_get_bool(struct bytes_reader *r)
{
    uint8_t value = bytes_get_u8(r);
    if (value > 1)
        r->bad = true;
    return value == 1;
}

/* u16 length and bytes; borrowed from what is read. */
static inline struct str bytes_get_str(struct bytes_reader *r, size_t max_bytes)
{
    size_t len = bytes_get_u16(r);
    if (len > max_bytes)
        r->bad = true;
    const uint8_t *p = bytes_take(r, len);
    return p != NULL ? (struct str){.data = (const char *)p, .len = len} : STR_NULL;
}

static inline int16_t bytes_i16_at(const uint8_t *p)
{
    return (int16_t)(uint16_t)(p[0] | (unsigned)p[1] << 8);
}

/* Collects the first error of a row of appends. */
struct bytes_writer {
    struct buf *out;
    int rc;
};

static inline void bytes_put_raw(struct bytes_writer *w, const void *data, size_t len)
{
    if (w->rc == 0 && len > 0)
        w->rc = buf_append(w->out, data, len);
}

static inline void bytes_put(struct bytes_writer *w, uint64_t value, unsigned len)
{
    uint8_t raw[8];
    for (unsigned i = 0; i < len; i++)
        raw[i] = (uint8_t)(value >> (8 * i));
    bytes_put_raw(w, raw, len);
}

static inline void bytes_put_u8(struct bytes_writer *w, unsigned value)
{
    bytes_put(w, value, 1);
}
static inline void bytes_put_u16(struct bytes_writer *w, unsigned value)
{
    bytes_put(w, value, 2);
}
static inline void bytes_put_u32(struct bytes_writer *w, uint32_t value)
{
    bytes_put(w, value, 4);
}
static inline void bytes_put_u64(struct bytes_writer *w, uint64_t value)
{
    bytes_put(w, value, 8);
}
static inline void bytes_put_i32(struct bytes_writer *w, int32_t value)
{
    bytes_put(w, (uint32_t)value, 4);
}
static inline void bytes_put_i64(struct bytes_writer *w, int64_t value)
{
    bytes_put(w, (uint64_t)value, 8);
}
static inline void bytes_put_str(struct bytes_writer *w, struct str s)
{
    bytes_put_u16(w, (unsigned)s.len);
    bytes_put_raw(w, s.data, s.len);
}

#endif
