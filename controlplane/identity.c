#include "controlplane/identity.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/rand.h"
#include "common/crypto/digest.h"

#define ROOT_KEY_BYTES     32U
#define OPERATOR_BYTES     32U
#define OPERATOR_MIN_BYTES 16U
#define OPERATOR_MAX_BYTES 512U
#define PATH_BYTES         4096U

static int path_of(const char *state_dir, const char *name, char out[PATH_BYTES], struct err *err)
{
    int n = snprintf(out, PATH_BYTES, "%s/%s", state_dir, name);
    return n > 0 && (size_t)n < PATH_BYTES ? 0
                                           : err_set(err, ERR_TOO_LARGE, "--state-dir is too long");
}

static int make_directory(const char *state_dir, struct err *err)
{
    if (mkdir(state_dir, 0755) == 0 || errno == EEXIST)
        return 0;
    return err_set(err, err_from_errno(errno), "--state-dir %s: %s", state_dir, strerror(errno));
}

/* The file's bytes; when there is none, `fresh` is written and returned. */
static int read_or_make(const char *path, struct str fresh, struct buf *out, struct err *err)
{
    if (access(path, F_OK) == 0)
        return buf_read_file(out, path, OPERATOR_MAX_BYTES, err);
    int rc = buf_write_file(fresh, path, 0600, err);
    return rc == 0 ? buf_append_str(out, fresh) : rc;
}

/* A key that people handle is hex; it becomes the bytes it stands for. */
static void take_hex(struct buf *key)
{
    uint8_t bytes[ROOT_KEY_BYTES];
    struct str text = buf_str(key);
    while (text.len > 0 && (text.data[text.len - 1] == '\n' || text.data[text.len - 1] == '\r'))
        text.len--;
    if (text.len == 2 * sizeof bytes && hex_decode(text, bytes, sizeof bytes) == 0) {
        memcpy(key->data, bytes, sizeof bytes);
        key->len = sizeof bytes;
    }
    explicit_bzero(bytes, sizeof bytes);
}

static int read_key_file(const char *path, struct config_keys *out_keys, struct err *err)
{
    struct buf key;
    buf_init(&key, OPERATOR_MAX_BYTES);
    int rc = buf_read_file(&key, path, OPERATOR_MAX_BYTES, err);
    if (rc == 0 && key.len != ROOT_KEY_BYTES)
        take_hex(&key);
    if (rc == 0 && key.len != ROOT_KEY_BYTES)
        rc = err_set(err, ERR_INVALID, "%s holds neither %u bytes nor %u hex digits", path,
                     ROOT_KEY_BYTES, 2 * ROOT_KEY_BYTES);
    if (rc == 0)
        config_keys_derive((const uint8_t *)key.data, out_keys);
    else
        err_wrap(err, "--hash-key-file");
    if (key.data != NULL)
        explicit_bzero(key.data, key.cap);
    buf_deinit(&key);
    return rc;
}

int identity_load_keys(const char *state_dir, const char *key_file, struct config_keys *out_keys,
                       struct err *err)
{
    char path[PATH_BYTES];
    uint8_t fresh[ROOT_KEY_BYTES];
    struct buf key;
    buf_init(&key, OPERATOR_MAX_BYTES);
    int rc = make_directory(state_dir, err);
    if (rc == 0 && key_file != NULL)
        return read_key_file(key_file, out_keys, err);
    if (rc == 0)
        rc = path_of(state_dir, "hash.key", path, err);
    if (rc == 0 && rand_secure(fresh, sizeof fresh) != 0)
        rc = err_set(err, ERR_IO, "the kernel gives no random bytes");
    if (rc == 0)
        rc = read_or_make(path, (struct str){.data = (const char *)fresh, .len = sizeof fresh},
                          &key, err);
    if (rc == 0 && key.len != ROOT_KEY_BYTES)
        rc = err_set(err, ERR_CORRUPT, "%s holds %zu bytes, not %u: restore it from a copy", path,
                     key.len, ROOT_KEY_BYTES);
    if (rc == 0)
        config_keys_derive((const uint8_t *)key.data, out_keys);
    explicit_bzero(fresh, sizeof fresh);
    if (key.data != NULL)
        explicit_bzero(key.data, key.len);
    buf_deinit(&key);
    return rc;
}

static int make_operator_key(char out[7 + 2 * OPERATOR_BYTES])
{
    uint8_t bytes[OPERATOR_BYTES];
    if (rand_secure(bytes, sizeof bytes) != 0)
        return ERR_IO;
    memcpy(out, "sk-op-", 6);
    hex_encode(bytes, sizeof bytes, out + 6);
    explicit_bzero(bytes, sizeof bytes);
    return 0;
}

int identity_load_operator(const char *state_dir, const char *given, struct secret **out_secret,
                           struct err *err)
{
    char path[PATH_BYTES], fresh[7 + 2 * OPERATOR_BYTES];
    struct buf key;
    struct str value = str_from(given);
    buf_init(&key, OPERATOR_MAX_BYTES);
    int rc = 0;
    if (given == NULL) {
        rc = path_of(state_dir, "operator.key", path, err);
        if (rc == 0 && make_operator_key(fresh) != 0)
            rc = err_set(err, ERR_IO, "the kernel gives no random bytes");
        if (rc == 0)
            rc = read_or_make(path, str_from(fresh), &key, err);
        value = buf_str(&key);
        while (value.len > 0 && value.data[value.len - 1] == '\n')
            value.len--;
    }
    if (rc == 0 && value.len < OPERATOR_MIN_BYTES)
        rc = err_set(err, ERR_INVALID, "the operator key has %zu characters; it needs %u or more",
                     value.len, OPERATOR_MIN_BYTES);
    if (rc == 0 && (*out_secret = secret_create(value)) == NULL)
        rc = err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    explicit_bzero(fresh, sizeof fresh);
    if (key.data != NULL)
        explicit_bzero(key.data, key.len);
    buf_deinit(&key);
    return rc;
}
