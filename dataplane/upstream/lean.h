/* lean.h: the transport of our own: HTTP/1.1 with kept connections over non-blocking sockets, TLS
 * by common/net/tls. It does what the one over libcurl does, with the same words and the same
 * faults, for a fraction of the instructions: a call on a kept connection takes its struct from a
 * free list, writes head and body spans with one system call at the end of the turn, and hands the
 * reply on from the loop's read buffer with one more. No proxy, no HTTP/2: those are libcurl's. */
#ifndef STEELYARD_DATAPLANE_UPSTREAM_LEAN_H
#define STEELYARD_DATAPLANE_UPSTREAM_LEAN_H

#include "dataplane/upstream/transport.h"

extern const struct transport_ops transport_lean;

struct lean_stats {
    uint64_t started;
    uint64_t reused; /* Calls that got an open connection. */
    uint64_t connections_opened;
    uint64_t addresses_refused; /* B40. */
    uint32_t open_connections;  /* Those being dialled too. */
    uint32_t idle_connections;
    uint32_t waiting;
};
struct lean_stats lean_origin_stats(const struct transport_origin *o);

/* Bytes that a call and its connection take, the latter's uv handle apart. */
size_t lean_stream_bytes(void);

#endif
