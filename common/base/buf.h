/* buf.h: growable bytes with a maximum that is set when the buffer is made.
 * The owner calls buf_deinit. Growth past the maximum is ERR_TOO_LARGE, a failed allocation
 * ERR_NOMEM; in both cases the contents stay as they were. Not thread-safe. */
#ifndef STEELYARD_COMMON_BASE_BUF_H
#define STEELYARD_COMMON_BASE_BUF_H

#include <stdarg.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/str.h"

struct buf {
    char *data; /* Never NUL-terminated by itself; see buf_cstr. */
    size_t len;
    size_t cap;
    size_t max;
};

void buf_init(struct buf *b, size_t max_bytes);                /* Allocates nothing. */
void buf_deinit(struct buf *b);                                /* Also fine on a zeroed struct. */
/* len = 0, memory is kept. */
static inline void buf_clear(struct buf *b)
{
    b->len = 0;
}

int buf_reserve_more(struct buf *b, size_t extra_bytes) MUST_CHECK; /* buf_reserve's second half. */
/* Room for extra bytes after len. */
static inline int MUST_CHECK buf_reserve(struct buf *b, size_t extra_bytes)
{
    /* Memory may hold a NUL more than the maximum allows (buf_cstr). */
    const size_t room = b->cap < b->max ? b->cap : b->max;
    return b->len <= room && extra_bytes <= room - b->len ? 0 : buf_reserve_more(b, extra_bytes);
}

/* The same, but no more than that is allocated: for a size that is known. */
int buf_reserve_exact(struct buf *b, size_t extra_bytes) MUST_CHECK;
static inline int MUST_CHECK buf_append(struct buf *b, const void *data, size_t len)
{
    int rc = buf_reserve(b, len);
    if (rc != 0)
        return rc;
    if (len > 0)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    return 0;
}

static inline int MUST_CHECK buf_append_str(struct buf *b, struct str s)
{
    return buf_append(b, s.data, s.len);
}

static inline int MUST_CHECK buf_append_text(struct buf *b, const char *text)
{
    return buf_append(b, text, strlen(text));
}

static inline int MUST_CHECK buf_append_char(struct buf *b, char c)
{
    int rc = buf_reserve(b, 1);
    if (rc == 0)
        b->data[b->len++] = c;
    return rc;
}

int buf_append_u64(struct buf *b, uint64_t value) MUST_CHECK; /* Decimal. */
int buf_append_i64(struct buf *b, int64_t value) MUST_CHECK;
int buf_printf(struct buf *b, const char *format, ...) MUST_CHECK PRINTF_LIKE(2, 3);
int buf_vprintf(struct buf *b, const char *format, va_list args) MUST_CHECK PRINTF_LIKE(2, 0);
void buf_consume(struct buf *b, size_t len); /* Drops the first len bytes (len <= b->len). */
/* Contents as a C string (a NUL is kept past len); NULL when out of memory. */
const char *buf_cstr(struct buf *b);
static inline struct str buf_str(const struct buf *b)
{
    return (struct str){.data = b->data, .len = b->len};
}

/* Appends a whole file; more than max_bytes is ERR_TOO_LARGE. b must be initialised or zeroed (a
 * zeroed one gets max_bytes as its maximum). */
int buf_read_file(struct buf *b, const char *path, size_t max_bytes, struct err *err) MUST_CHECK;
/* Replaces path by temp file, fsync, rename, fsync of the directory: readers see old or new. A
 * death in here may leave the temp file; its name begins with BUF_TEMPORARY_PREFIX. */
#define BUF_TEMPORARY_PREFIX ".tmp-"
int buf_write_file(struct str data, const char *path, unsigned mode, struct err *err) MUST_CHECK;

#endif
