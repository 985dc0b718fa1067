/* url.h: takes an http or https URL apart, as far as a provider's address goes: scheme, host, port,
 * path. No user, query, fragment, space or control byte, nothing beyond ASCII (RFC 3986, less what
 * nobody needs). Pure; thread-safe. */
#ifndef STEELYARD_COMMON_BASE_URL_H
#define STEELYARD_COMMON_BASE_URL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/str.h"

#define URL_HOST_BYTES_MAX 253U

struct url { /* Parts of the text that was read. */
    bool tls;
    struct str authority; /* Host and port as they stand there. */
    struct str host;      /* Without the brackets of an IPv6 address. */
    struct str path;      /* From the first slash; may be empty. */
    uint16_t port;        /* 443 or 80 where none is given. */
};
/* ERR_INVALID: it is none of these. */
int url_parse(struct str text, struct url *out) MUST_CHECK;

#endif
