/* Rows in the binary COPY format: big endian, each field a length and its bytes. */
#include <string.h>

#include "controlplane/store/pq.h"

/* Microseconds from the Unix epoch to PostgreSQL's, 2000-01-01. */
#define PG_EPOCH_US INT64_C(946684800000000)

void pq_copy_init(struct pq_copy *c, size_t max_bytes)
{
    buf_init(&c->data, max_bytes);
    c->status = 0;
}

void pq_copy_deinit(struct pq_copy *c)
{
    buf_deinit(&c->data);
}

void pq_copy_reset(struct pq_copy *c)
{
    buf_clear(&c->data);
    c->status = 0;
}

static void put(struct pq_copy *c, const void *data, size_t len)
{
    if (c->status == 0)
        c->status = buf_append(&c->data, data, len);
}

static void put_be(struct pq_copy *c, uint64_t value, unsigned bytes)
{
    uint8_t raw[8];
    for (unsigned i = 0; i < bytes; i++)
        raw[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
    put(c, raw, bytes);
}

static void put_field(struct pq_copy *c, uint64_t value, unsigned bytes)
{
    put_be(c, bytes, 4);
    put_be(c, value, bytes);
}

void pq_copy_begin(struct pq_copy *c)
{
    static const char signature[] = "PGCOPY\n\377\r\n"; /* Its NUL belongs to it. */
    put(c, signature, sizeof signature);
    put_be(c, 0, 4); /* Flags. */
    put_be(c, 0, 4); /* Header extension. */
}

void pq_copy_row(struct pq_copy *c, uint16_t columns)
{
    put_be(c, columns, 2);
}

void pq_copy_i16(struct pq_copy *c, int16_t value)
{
    put_field(c, (uint16_t)value, 2);
}

void pq_copy_i32(struct pq_copy *c, int32_t value)
{
    put_field(c, (uint32_t)value, 4);
}

void pq_copy_i64(struct pq_copy *c, int64_t value)
{
    put_field(c, (uint64_t)value, 8);
}

void pq_copy_bool(struct pq_copy *c, bool value)
{
    put_field(c, value ? 1 : 0, 1);
}

void pq_copy_time_us(struct pq_copy *c, int64_t unix_us)
{
    put_field(c, (uint64_t)(unix_us - PG_EPOCH_US), 8);
}

void pq_copy_bytes(struct pq_copy *c, struct str value)
{
    if (value.len > INT32_MAX) {
        c->status = ERR_TOO_LARGE;
        return;
    }
    put_be(c, value.len, 4);
    put(c, value.data, value.len);
}

void pq_copy_null(struct pq_copy *c)
{
    put_be(c, UINT32_MAX, 4);
}

void pq_copy_end(struct pq_copy *c)
{
    put_be(c, UINT16_MAX, 2);
}
