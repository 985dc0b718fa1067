#include "tests/unit/dataplane/troubled_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum trouble trouble;
int calls_left;
bool fired;

#define DIRTY_MAX 4096
static ino_t dirty[DIRTY_MAX];
size_t dirty_count;
bool out_of_order;

static void die(void)
{
    (void)kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* true: the call must fail. *out_now: it is the one. */
static bool call_begins(bool *out_now)
{
    *out_now = trouble != TROUBLE_NONE && calls_left-- == 0;
    fired = fired || *out_now;
    if (*out_now && trouble == DIE_BEFORE)
        die();
    if (*out_now && trouble == TROUBLE_FAIL)
        errno = EIO;
    return *out_now && trouble == TROUBLE_FAIL;
}

static void call_ends(bool now)
{
    if (now)
        die();
}

static bool is_dirty(ino_t ino)
{
    for (size_t i = 0; i < dirty_count; i++)
        if (dirty[i] == ino)
            return true;
    return false;
}

static void make_dirty(ino_t ino)
{
    if (!is_dirty(ino) && dirty_count < DIRTY_MAX)
        dirty[dirty_count++] = ino;
}

static void make_clean(ino_t ino)
{
    for (size_t i = 0; i < dirty_count; i++)
        if (dirty[i] == ino)
            dirty[i--] = dirty[--dirty_count];
}

static ino_t inode(int dir, const char *path)
{
    struct stat st = {0};
    return fstatat(dir, path, &st, AT_EMPTY_PATH) == 0 ? st.st_ino : 0;
}

static ino_t parent(int dir, const char *path)
{
    char text[4096];
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return dir == AT_FDCWD ? 0 : inode(dir, "");
    (void)snprintf(text, sizeof text, "%.*s", (int)(slash - path), path);
    return inode(dir, text);
}

int __real_open(const char *path, int flags, unsigned mode);
int __real_openat(int dir, const char *path, int flags, unsigned mode);
ssize_t __real_write(int fd, const void *data, size_t len);
int __real_rename(const char *from, const char *to);
int __real_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __real_unlink(const char *path);
int __real_unlinkat(int dir, const char *path, int flags);
int __wrap_open(const char *path, int flags, unsigned mode);
int __wrap_openat(int dir, const char *path, int flags, unsigned mode);
ssize_t __wrap_write(int fd, const void *data, size_t len);
int __wrap_fsync(int fd);
int __wrap_rename(const char *from, const char *to);
int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __wrap_unlink(const char *path);
int __wrap_unlinkat(int dir, const char *path, int flags);

int __wrap_openat(int dir, const char *path, int flags, unsigned mode)
{
    bool now;
    if (call_begins(&now))
        return -1;
    int fd = __real_openat(dir, path, flags, mode);
    call_ends(now);
    return fd;
}

int __wrap_open(const char *path, int flags, unsigned mode)
{
    return __wrap_openat(AT_FDCWD, path, flags, mode);
}

ssize_t __wrap_write(int fd, const void *data, size_t len)
{
    bool now;
    if (call_begins(&now))
        return -1;
    make_dirty(inode(fd, ""));
    ssize_t n = __real_write(fd, data, now && trouble == DIE_HALF ? len / 2 : len);
    call_ends(now);
    return n;
}

int __wrap_fsync(int fd)
{
    bool now;
    if (call_begins(&now))
        return -1;
    make_clean(inode(fd, "")); /* A killed process loses nothing that was written: no real sync. */
    call_ends(now);
    return 0;
}

int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    bool now;
    if (call_begins(&now))
        return -1;
    const char *name = strrchr(to, '/') != NULL ? strrchr(to, '/') + 1 : to;
    out_of_order = out_of_order || is_dirty(inode(from_dir, from));
    /* A manifest names bodies: their names are on disk before it is. */
    if (strcmp(name, "keys") == 0 || strcmp(name, "next") == 0)
        out_of_order = out_of_order || dirty_count > 0;
    int rc = __real_renameat(from_dir, from, to_dir, to);
    make_dirty(parent(to_dir, to));
    call_ends(now);
    return rc;
}

int __wrap_rename(const char *from, const char *to)
{
    return __wrap_renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int __wrap_unlinkat(int dir, const char *path, int flags)
{
    bool now;
    if (call_begins(&now))
        return -1;
    int rc = __real_unlinkat(dir, path, flags);
    call_ends(now);
    return rc;
}

int __wrap_unlink(const char *path)
{
    return __wrap_unlinkat(AT_FDCWD, path, 0);
}
