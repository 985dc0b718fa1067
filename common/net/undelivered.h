/* undelivered.h: a connection whose peer has ended it: may the peer have all that was sent? TCP
 * knows: what a peer sends last, its end included, says how much it had by then (RFC 9293, 3.10.7).
 * Linux; read from the socket, before it is closed. */
#ifndef STEELYARD_COMMON_NET_UNDELIVERED_H
#define STEELYARD_COMMON_NET_UNDELIVERED_H

#include <stdbool.h>

/* true: the peer ended its side before all that was sent had come to it, so whatever read there
 * never saw the end of it. false: it may have all; also wherever nobody knows, as after a reset,
 * which says nothing about what came before. */
bool undelivered_at_end(int fd);

#endif
