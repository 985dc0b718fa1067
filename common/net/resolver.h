/* resolver.h: names to addresses for one uv loop, with a cache. getaddrinfo runs on libuv's thread
 * pool and never on the loop; numeric addresses and "localhost" (RFC 6761 section 6.3) need
 * neither. Says what a name's addresses are, not whether they may be connected to: dial.h does.
 *
 * A good answer is used for positive_ms. When a name is asked for in the last quarter of that, the
 * answer is renewed in the background. After it ran out a question waits for DNS, but not longer
 * than patience_ms while there is an old answer of at most stale_ms: that is given when DNS is slow
 * or fails (RELIABILITY F26; the idea is RFC 8767's). "There is no such name" is an answer as well
 * and ends the old one. Failures are remembered for negative_ms. Equal questions are asked once.
 *
 * All calls on the loop's thread; they may be made from inside the callbacks. */
#ifndef STEELYARD_COMMON_NET_RESOLVER_H
#define STEELYARD_COMMON_NET_RESOLVER_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <uv.h>

#include "common/base/err.h"
#include "common/base/list.h"
#include "common/base/str.h"

#define RESOLVER_HOST_BYTES_MAX 253U /* RFC 1035 section 2.3.4, without the root's dot. */
#define RESOLVER_ADDRESSES_MAX  8U   /* Of one name; more are not looked at. */

/* sin_port / sin6_port are 0. */
union resolver_address {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

/* At least one address. In the system's order of preference (RFC 6724), then the families taken in
 * turn (RFC 8305 section 4), so that the first two differ in family if both are there. */
struct resolver_answer {
    unsigned count;
    bool stale; /* It had run out; DNS did not give a better one in time. */
    union resolver_address addresses[RESOLVER_ADDRESSES_MAX];
};

struct resolver;
struct resolver_query;

/* status 0: answer is there, borrowed until the callback returns. Else answer is NULL:
 * ERR_NOT_FOUND (no such name, or DNS failed), ERR_NOMEM, ERR_CANCELED (the resolver closes). The
 * query is the caller's again. */
typedef void (*resolver_cb)(struct resolver_query *q, int status,
                            const struct resolver_answer *answer);

/* Embedded by who asks. The fields are the resolver's; zeroed before the first use. */
struct resolver_query {
    struct list node;
    resolver_cb cb;
};

/* Where answers come from; a test or a simulation puts its own here. */
struct resolver_question;
struct resolver_source {
    /* host: lower case, NUL-terminated, valid until answered. 0: exactly one resolver_reply follows
     * for q, later, on the loop's thread. */
    int (*ask)(void *arg, struct resolver_question *q, const char *host);
    /* The resolver closes; the reply must still come (with ERR_CANCELED, say). May be NULL. */
    void (*hurry)(void *arg, struct resolver_question *q);
    void *arg;
};
/* status: 0 with count > 0, ERR_NOT_FOUND (there is no such name: ends an old answer), any other
 * error (DNS failed). Addresses are copied. */
void resolver_reply(struct resolver_question *q, int status,
                    const union resolver_address *addresses, size_t count);

/* 0 takes the default. */
struct resolver_config {
    uint32_t positive_ms;                 /* 30 s. */
    uint32_t negative_ms;                 /* 1 s. */
    uint32_t stale_ms;                    /* 1 h, from when the answer was given. */
    uint32_t patience_ms;                 /* 250 ms. */
    uint32_t names_max;                   /* 256; the one unused for longest makes room. */
    const struct resolver_source *source; /* NULL: getaddrinfo. Borrowed. */
};

/* config may be NULL. NULL: out of memory. */
struct resolver *resolver_create(uv_loop_t *loop, const struct resolver_config *config);
typedef void (*resolver_close_cb)(void *arg);
/* Every query that waits gets ERR_CANCELED, later. A getaddrinfo that runs cannot be stopped: cb
 * (may be NULL) comes after the last has returned. */
void resolver_close(struct resolver *r, resolver_close_cb cb, void *arg);

/* host: a name or an IPv4 or IPv6 address (also in brackets).
 * 0: *out_answer is written, no callback comes. ERR_AGAIN: cb comes exactly once, later.
 * Anything else: no callback. ERR_INVALID: empty, over RESOLVER_HOST_BYTES_MAX, bytes that no name
 * has. ERR_NOT_FOUND: it failed less than negative_ms ago. ERR_BUSY: names_max names are being
 * asked for. ERR_NOMEM. ERR_CANCELED: closing. */
int resolver_lookup(struct resolver *r, struct str host, struct resolver_answer *out_answer,
                    struct resolver_query *q, resolver_cb cb) MUST_CHECK;
/* No callback comes any more; what was asked is still learnt. Fine on a query that waits for
 * nothing (zeroed, or its callback came). */
void resolver_forget(struct resolver_query *q);

struct resolver_stats {
    uint64_t hits;      /* Answered from the cache at once. */
    uint64_t asked;     /* Questions to the source. */
    uint64_t joined;    /* Queries that waited for a question another had asked. */
    uint64_t failures;  /* Replies other than good ones. */
    uint64_t stale;     /* Answers given after they had run out. */
    uint32_t names;     /* Now in the cache. */
    uint32_t questions; /* Now under way. */
};
struct resolver_stats resolver_stats(const struct resolver *r);

#endif
