/* race_upstream.h: a moody server (tests/lib/moody.h) on a thread of its own that answers each
 * request with that request's own nonce and keeps a ledger of what it was given and what it said.
 */
#ifndef STEELYARD_TESTS_UNIT_DATAPLANE_UPSTREAM_RACE_UPSTREAM_H
#define STEELYARD_TESTS_UNIT_DATAPLANE_UPSTREAM_RACE_UPSTREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"

#define RACE_STARTS_MAX 8U

/* What happened to one start of one request: the target of a request is "/NONCE/START". */
struct race_row {
    uint8_t delivered; /* Times it was read whole. */
    uint8_t replies;   /* ... of which some bytes of a reply left. */
    uint8_t whole;     /* ... and all of them, in peace. */
    bool on_used;      /* Its connection had carried a request before. */
};

struct race_upstream;
/* seed: of its moods. nonces: how many there will be. */
struct race_upstream *race_upstream_start(uint64_t seed, size_t nonces);
uint16_t race_upstream_port(const struct race_upstream *u);
/* Ends the thread; the ledger can be read from now on. */
void race_upstream_stop(struct race_upstream *u);
const struct race_row *race_upstream_row(const struct race_upstream *u, size_t nonce, size_t start);
uint64_t race_upstream_connections(const struct race_upstream *u);
void race_upstream_destroy(struct race_upstream *u);

/* The body that belongs to a nonce; 2 bytes to some 40 KB. */
void race_body(size_t nonce, struct buf *out);

#endif
