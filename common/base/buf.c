/* buf.c: growable bytes; reading and replacing whole files.
 *
 * buf_write_file writes a temporary file beside the target, syncs it, renames it over the target
 * and syncs the directory. It fails on a full or read-only disk; then the target is as it was and
 * the temporary file is gone. */
#include "common/base/buf.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/checked.h"
#include "common/base/mem.h"
#include "common/base/rand.h"

#define BUF_FIRST_BYTES 64U
#define BUF_READ_BYTES  65536U

void buf_init(struct buf *b, size_t max_bytes)
{
    *b = (struct buf){.max = max_bytes};
}

void buf_deinit(struct buf *b)
{
    mem_free(b->data);
    *b = (struct buf){.max = b->max};
}

/* Room for `need` bytes in all. Doubles, but never past `ceiling`. */
static int buf_grow(struct buf *b, size_t need, size_t ceiling)
{
    if (need <= b->cap)
        return 0;
    size_t cap = b->cap > 0 ? b->cap : BUF_FIRST_BYTES;
    while (cap < need && cap <= SIZE_MAX / 2)
        cap *= 2;
    if (cap > ceiling || cap < need)
        cap = ceiling;
    char *grown = mem_realloc(b->data, cap);
    if (grown == NULL)
        return ERR_NOMEM;
    b->data = grown;
    b->cap = cap;
    return 0;
}

int buf_reserve_more(struct buf *b, size_t extra_bytes)
{
    size_t need = 0;
    if (!checked_add(b->len, extra_bytes, &need) || need > b->max)
        return ERR_TOO_LARGE;
    return buf_grow(b, need, b->max);
}

int buf_reserve_exact(struct buf *b, size_t extra_bytes)
{
    size_t need = 0;
    if (!checked_add(b->len, extra_bytes, &need) || need > b->max)
        return ERR_TOO_LARGE;
    return buf_grow(b, need, need);
}

int buf_append_u64(struct buf *b, uint64_t value)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + (char)(value % 10));
        value /= 10;
    } while (value > 0);
    return buf_append(b, digits + at, sizeof digits - at);
}

int buf_append_i64(struct buf *b, int64_t value)
{
    if (value >= 0)
        return buf_append_u64(b, (uint64_t)value);
    size_t len = b->len;
    int rc = buf_append_char(b, '-');
    if (rc == 0)
        rc = buf_append_u64(b, 0 - (uint64_t)value);
    if (rc != 0)
        b->len = len;
    return rc;
}

int buf_printf(struct buf *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int rc = buf_vprintf(b, format, args);
    va_end(args);
    return rc;
}

int buf_vprintf(struct buf *b, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    size_t room = b->cap - b->len;
    int n = vsnprintf(b->data != NULL ? b->data + b->len : NULL, room, format, args);
    int rc = n < 0 ? ERR_INVALID : 0;
    if (rc == 0 && (size_t)n >= room) {
        /* vsnprintf wants room for its NUL, which the maximum does not count. */
        size_t need = 0;
        if (!checked_add(b->len, (size_t)n, &need) || need > b->max)
            rc = ERR_TOO_LARGE;
        else
            rc = buf_grow(b, need + 1, b->max < SIZE_MAX ? b->max + 1 : SIZE_MAX);
        if (rc == 0)
            (void)vsnprintf(b->data + b->len, b->cap - b->len, format, again);
    }
    va_end(again);
    if (rc == 0)
        b->len += (size_t)n;
    return rc;
}

void buf_consume(struct buf *b, size_t len)
{
    assert(len <= b->len);
    if (len > 0 && len < b->len)
        memmove(b->data, b->data + len, b->len - len);
    b->len -= len;
}

const char *buf_cstr(struct buf *b)
{
    if (b->len >= b->cap && buf_grow(b, b->len + 1, b->max < SIZE_MAX ? b->max + 1 : SIZE_MAX) != 0)
        return NULL;
    b->data[b->len] = '\0';
    return b->data;
}

/* One read of a file that may grow while it is read: the limit decides, not fstat. */
static int buf_read_some(struct buf *b, int fd, size_t max_bytes, size_t *io_total, bool *out_end)
{
    size_t want = max_bytes - *io_total;
    char probe = 0;
    char *to = &probe;
    if (want == 0) {
        want = 1; /* One byte more tells "exactly at the limit" from "too large". */
    } else {
        want = want < BUF_READ_BYTES ? want : BUF_READ_BYTES;
        int rc = buf_reserve(b, want);
        if (rc != 0)
            return rc;
        to = b->data + b->len;
    }
    ssize_t n = read(fd, to, want);
    if (n < 0)
        return errno == EINTR ? 0 : err_from_errno(errno);
    *out_end = n == 0;
    if (n > 0 && to == &probe)
        return ERR_TOO_LARGE;
    b->len += (size_t)n;
    *io_total += (size_t)n;
    return 0;
}

int buf_read_file(struct buf *b, const char *path, size_t max_bytes, struct err *err)
{
    size_t len = b->len;
    size_t total = 0;
    bool end = false;
    if (b->data == NULL && b->max == 0)
        b->max = max_bytes;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        int code = errno;
        return err_set(err, err_from_errno(code), "read '%s': %s", path, strerror(code));
    }
    int rc = 0;
    while (rc == 0 && !end) {
        size_t room = b->max - b->len;
        size_t limit = max_bytes - total < room ? max_bytes : total + room;
        rc = buf_read_some(b, fd, limit, &total, &end);
    }
    close(fd);
    if (rc == 0)
        return 0;
    b->len = len;
    return err_set(err, rc, "read '%s': %s", path, err_text(rc));
}

static int write_all(int fd, struct str data)
{
    while (data.len > 0) {
        ssize_t n = write(fd, data.data, data.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data = str_slice(data, (size_t)n, data.len);
    }
    return 0;
}

/* The three below return 0 or a negated errno. */
static int write_temporary(int directory, const char *name, struct str data, unsigned mode)
{
    int fd =
        openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, (mode_t)mode);
    if (fd < 0)
        return -errno;
    int rc = write_all(fd, data);
    if (rc == 0 && fchmod(fd, (mode_t)mode) != 0) /* The umask took bits away. */
        rc = -errno;
    if (rc == 0 && fsync(fd) != 0)
        rc = -errno;
    if (close(fd) != 0 && rc == 0)
        rc = -errno;
    if (rc != 0)
        (void)unlinkat(directory, name, 0);
    return rc;
}

static int replace_in_directory(int directory, const char *name, struct str data, unsigned mode)
{
    char temporary[64];
    uint64_t nonce = 0;
    if (rand_secure(&nonce, sizeof nonce) != 0)
        return -EIO;
    (void)snprintf(temporary, sizeof temporary, BUF_TEMPORARY_PREFIX "%016llx",
                   (unsigned long long)nonce);
    int rc = write_temporary(directory, temporary, data, mode);
    if (rc != 0)
        return rc;
    if (renameat(directory, temporary, directory, name) != 0) {
        rc = -errno;
        (void)unlinkat(directory, temporary, 0);
        return rc;
    }
    return fsync(directory) == 0 ? 0 : -errno;
}

int buf_write_file(struct str data, const char *path, unsigned mode, struct err *err)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    char *parent = slash == NULL ? mem_strdup(".") : mem_strndup(path, (size_t)(slash - path) + 1);
    if (parent == NULL)
        return err_set(err, ERR_NOMEM, "write '%s': %s", path, err_text(ERR_NOMEM));
    int rc = 0;
    int directory = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) {
        rc = -errno;
    } else {
        rc = replace_in_directory(directory, name, data, mode);
        close(directory);
    }
    mem_free(parent);
    if (rc == 0)
        return 0;
    return err_set(err, err_from_errno(-rc), "write '%s': %s", path, strerror(-rc));
}
