/* secret.c: a secret lives in pages of its own from mmap, so that locking, MADV_DONTDUMP and
 * erasing touch nothing else. mlock may be refused (RLIMIT_MEMLOCK); the secret is then still
 * usable. */
#include "common/crypto/secret.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/checked.h"
#include "common/base/mem.h"

#define SECRET_FILE_BYTES_MAX 65536U

struct secret {
    size_t mapped_bytes;
    size_t len;
    char bytes[]; /* NUL-terminated. */
};

struct secret *secret_create(struct str value)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t need = 0;
    if (!checked_add(sizeof(struct secret) + 1 + page - 1, value.len, &need))
        return NULL;
    need -= need % page;
    /* Pages of the kernel's own pass mem.h by; its hook still decides, so that tests see it fail.
     */
    if (mem_fail_hook != NULL && mem_fail_hook())
        return NULL;
    void *p = mmap(NULL, need, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    (void)mlock(p, need);
    (void)madvise(p, need, MADV_DONTDUMP);
    struct secret *s = p;
    s->mapped_bytes = need;
    s->len = value.len;
    if (value.len > 0)
        memcpy(s->bytes, value.data, value.len);
    s->bytes[value.len] = '\0';
    return s;
}

void secret_destroy(struct secret *s)
{
    if (s == NULL)
        return;
    size_t mapped_bytes = s->mapped_bytes;
    explicit_bzero(s, mapped_bytes);
    (void)munmap(s, mapped_bytes); /* Unlocks as well. */
}

struct str secret_get(const struct secret *s)
{
    return s != NULL ? (struct str){.data = s->bytes, .len = s->len} : STR_NULL;
}

static int secret_from_file(const char *path, struct secret **out_secret, struct err *err)
{
    struct buf file;
    buf_init(&file, SECRET_FILE_BYTES_MAX);
    /* All room at once: growing would leave copies behind in freed memory. */
    int rc = buf_reserve(&file, SECRET_FILE_BYTES_MAX);
    if (rc == 0)
        rc = buf_read_file(&file, path, SECRET_FILE_BYTES_MAX, err);
    else
        (void)err_set(err, rc, "%s", err_text(rc));
    struct str value = buf_str(&file);
    if (rc == 0 && str_ends(value, STR("\r\n")))
        value.len -= 2;
    else if (rc == 0 && str_ends(value, STR("\n")))
        value.len -= 1;
    if (rc == 0) {
        *out_secret = secret_create(value);
        if (*out_secret == NULL)
            rc = err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    }
    if (file.data != NULL)
        explicit_bzero(file.data, file.cap);
    buf_deinit(&file);
    return rc;
}

static int secret_from_env(const char *name, struct secret **out_secret, struct err *err)
{
    const char *value = getenv(name);
    if (value == NULL)
        return err_set(err, ERR_NOT_FOUND, "environment variable '%s' is not set", name);
    *out_secret = secret_create(str_from(value));
    return *out_secret != NULL ? 0 : err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
}

int secret_resolve(struct str reference, struct secret **out_secret, struct err *err)
{
    struct str scheme;
    struct str rest;
    char path[4096];
    struct secret *secret = NULL;
    int rc = ERR_INVALID;
    (void)str_cut(reference, ':', &scheme, &rest);
    if (!str_copy(rest, path, sizeof path) || rest.len == 0)
        scheme = STR_NULL;
    if (str_is(scheme, "env"))
        rc = secret_from_env(path, &secret, err);
    else if (str_is(scheme, "file"))
        rc = secret_from_file(path, &secret, err);
    else /* Not echoed: someone may have put the secret itself here. */
        (void)err_set(err, rc, "a secret is given as env:NAME or file:/path");
    if (rc == 0)
        *out_secret = secret;
    return rc;
}
