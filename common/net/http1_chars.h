/* http1_chars.h: byte classes of RFC 9110, shared by the files of http1. Not for other modules. */
#ifndef STEELYARD_COMMON_NET_HTTP1_CHARS_H
#define STEELYARD_COMMON_NET_HTTP1_CHARS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

extern const uint8_t http1_token_bytes[256]; /* Bit 0: tchar. Bit 1: in a host's name. */

static inline bool http1_is_tchar(char c)
{
    return http1_token_bytes[(unsigned char)c] != 0;
}

static inline bool http1_is_hostchar(char c)
{
    return (http1_token_bytes[(unsigned char)c] & 2) != 0;
}

/* Offset in [at, end) of the first byte below 0x20, or 0x7f; end when there is none. */
size_t http1_find_control(const char *data, size_t at, size_t end);

/* uri-host [ ":" port ] (RFC 3986 section 3.2). */
bool http1_is_host(const char *data, size_t len);

#endif
