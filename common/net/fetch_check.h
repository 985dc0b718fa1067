/* fetch_check.h: what is asked of an origin and of a request before either is used, by whatever
 * carries it out: fetch over libcurl, or a transport of its own. Pure; thread-safe. */
#ifndef STEELYARD_COMMON_NET_FETCH_CHECK_H
#define STEELYARD_COMMON_NET_FETCH_CHECK_H

#include "common/net/fetch.h"

#define FETCH_URL_BYTES      320U
#define FETCH_FIELDS_MAX     126U    /* Of one request. */
#define FETCH_TEXT_BYTES_MAX 262144U /* Method, target and fields of one request. */

/* Slices of the url. */
struct fetch_url {
    bool tls;
    struct str origin;    /* "https://host:port" as given, without a slash at the end. */
    struct str authority; /* "host" or "host:port", as the Host field says it. */
    struct str host;      /* With its brackets, if it has some. */
    uint16_t port;        /* 443 or 80 when none was given. */
};

/* The url of a config and the rules that need no network: ERR_INVALID or ERR_DENIED, with a
 * message. out_url borrows config->url. */
int fetch_check_origin(const struct fetch_origin_config *config, struct fetch_url *out_url,
                       struct err *err) MUST_CHECK;
/* ERR_INVALID as fetch_start says. */
int fetch_check_request(const struct fetch_request *r) MUST_CHECK;
/* Those that say how the message is framed and where it goes: not the caller's. */
bool fetch_field_is_reserved(struct str name);
/* Every 0 replaced by its default (F12). */
struct fetch_timeouts fetch_timeouts_or_default(const struct fetch_timeouts *t);

#endif
