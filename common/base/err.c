#include "common/base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <uv.h>

static const char *const err_names[] = {
#define X(name, text) #name,
    ERR_TABLE(X)
#undef X
};

static const char *const err_texts[] = {
#define X(name, text) text,
    ERR_TABLE(X)
#undef X
};

static bool err_index_of(int code, size_t *out_index)
{
    if (code >= 0 || code < -(int)ERR_INDEX_COUNT)
        return false;
    *out_index = (size_t)(-1 - code);
    return true;
}

const char *err_name(int code)
{
    size_t i = 0;
    if (code == ERR_OK)
        return "OK";
    return err_index_of(code, &i) ? err_names[i] : "UNKNOWN";
}

const char *err_text(int code)
{
    size_t i = 0;
    if (code == ERR_OK)
        return "success";
    return err_index_of(code, &i) ? err_texts[i] : "unknown error";
}

int err_set(struct err *err, int code, const char *format, ...)
{
    if (err == NULL)
        return code;
    va_list args;
    va_start(args, format);
    err->code = code;
    /* Through a second buffer, because an argument may be the old message itself. */
    char message[ERR_MESSAGE_BYTES];
    if (vsnprintf(message, sizeof message, format, args) < 0)
        message[0] = '\0';
    va_end(args);
    memcpy(err->message, message, sizeof message);
    return code;
}

/* Appends what fits at `used`; returns the new length. */
static size_t message_join(char message[ERR_MESSAGE_BYTES], size_t used, const char *text)
{
    size_t room = ERR_MESSAGE_BYTES - 1 - used;
    size_t len = strlen(text) < room ? strlen(text) : room;
    memcpy(message + used, text, len);
    message[used + len] = '\0';
    return used + len;
}

void err_wrap(struct err *err, const char *format, ...)
{
    if (err == NULL)
        return;
    char message[ERR_MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (n < 0)
        return;
    size_t used = (size_t)n < sizeof message ? (size_t)n : sizeof message - 1;
    const char *inner = err->message[0] != '\0' ? err->message : err_text(err->code);
    used = message_join(message, used, ": ");
    (void)message_join(message, used, inner);
    memcpy(err->message, message, sizeof message);
}

struct err_translation {
    int foreign;
    int code;
};

static int err_translate(const struct err_translation *table, size_t count, int foreign)
{
    for (size_t i = 0; i < count; i++) {
        if (table[i].foreign == foreign)
            return table[i].code;
    }
    return ERR_IO;
}

int err_from_errno(int errno_value)
{
    static const struct err_translation table[] = {
        {ENOMEM, ERR_NOMEM},
        {ENOBUFS, ERR_NOMEM},
        {EMFILE, ERR_LIMIT},
        {ENFILE, ERR_LIMIT},
        {EDQUOT, ERR_NO_SPACE},
        {ENOSPC, ERR_NO_SPACE},
        {EINVAL, ERR_INVALID},
        {ENAMETOOLONG, ERR_INVALID},
        {ENOENT, ERR_NOT_FOUND},
        {ENOTDIR, ERR_NOT_FOUND},
        {ESRCH, ERR_NOT_FOUND},
        {EEXIST, ERR_EXISTS},
        {EADDRINUSE, ERR_CONFLICT},
        {ENOTEMPTY, ERR_CONFLICT},
        {EACCES, ERR_DENIED},
        {EPERM, ERR_DENIED},
        {EROFS, ERR_DENIED},
        {EBUSY, ERR_BUSY},
        {EAGAIN, ERR_AGAIN},
        {EINTR, ERR_AGAIN},
        {EINPROGRESS, ERR_AGAIN},
        {ECANCELED, ERR_CANCELED},
        {ETIMEDOUT, ERR_TIMEOUT},
        {EPIPE, ERR_CLOSED},
        {ECONNRESET, ERR_CLOSED},
        {ECONNABORTED, ERR_CLOSED},
        {ENOTCONN, ERR_CLOSED},
        {ECONNREFUSED, ERR_REFUSED},
        {EHOSTUNREACH, ERR_UNREACHABLE},
        {ENETUNREACH, ERR_UNREACHABLE},
        {EHOSTDOWN, ERR_UNREACHABLE},
        {ENETDOWN, ERR_UNREACHABLE},
        {EADDRNOTAVAIL, ERR_UNREACHABLE},
        {EPROTO, ERR_PROTOCOL},
        {EFBIG, ERR_TOO_LARGE},
        {E2BIG, ERR_TOO_LARGE},
        {EMSGSIZE, ERR_TOO_LARGE},
        {ERANGE, ERR_RANGE},
        {EOVERFLOW, ERR_OVERFLOW},
        {ENOSYS, ERR_UNSUPPORTED},
        {EOPNOTSUPP, ERR_UNSUPPORTED},
        {EPROTONOSUPPORT, ERR_UNSUPPORTED},
        {EAFNOSUPPORT, ERR_UNSUPPORTED},
    };
    if (errno_value == 0)
        return 0;
    return err_translate(table, sizeof table / sizeof table[0], errno_value);
}

int err_from_uv(int uv_status)
{
    /* libuv's own codes; on Unix all others are negated errno values. */
    static const struct err_translation table[] = {
        {UV_EOF, ERR_EOF},
        {UV_ECANCELED, ERR_CANCELED},
        {UV_EAI_ADDRFAMILY, ERR_UNREACHABLE},
        {UV_EAI_AGAIN, ERR_UNREACHABLE},
        {UV_EAI_BADFLAGS, ERR_INVALID},
        {UV_EAI_BADHINTS, ERR_INVALID},
        {UV_EAI_CANCELED, ERR_CANCELED},
        {UV_EAI_FAIL, ERR_UNREACHABLE},
        {UV_EAI_FAMILY, ERR_UNSUPPORTED},
        {UV_EAI_MEMORY, ERR_NOMEM},
        {UV_EAI_NODATA, ERR_UNREACHABLE},
        {UV_EAI_NONAME, ERR_UNREACHABLE},
        {UV_EAI_OVERFLOW, ERR_TOO_LARGE},
        {UV_EAI_PROTOCOL, ERR_UNSUPPORTED},
        {UV_EAI_SERVICE, ERR_INVALID},
        {UV_EAI_SOCKTYPE, ERR_UNSUPPORTED},
        {UV_ECHARSET, ERR_INVALID},
        {UV_UNKNOWN, ERR_IO},
    };
    if (uv_status >= 0)
        return 0;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (table[i].foreign == uv_status)
            return table[i].code;
    }
    return err_from_errno(-uv_status);
}
