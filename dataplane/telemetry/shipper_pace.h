/* shipper_pace.h: whether bytes or CPU are what is short on the way to the control plane. Who has
 * more to send than may be sent either waits for a plane that has all it may have and has not
 * committed it, or for a link that still carries what it was given; only the latter gains by
 * compressed batches. So the link must be what is waited for during nearly all of a second in which
 * less was acknowledged than a usual one carries in it. Pure. */
#ifndef STEELYARD_DATAPLANE_TELEMETRY_SHIPPER_PACE_H
#define STEELYARD_DATAPLANE_TELEMETRY_SHIPPER_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define SHIPPER_PACE_MS     1000U  /* Looked at for so long. */
#define SHIPPER_PACE_BYTES  16384U /* What came through in a millisecond: more is not slow. */
#define SHIPPER_PACE_LINK_8 7U     /* Eighths of the time that a slow link is waited for. */

enum shipper_stop { SHIPPER_STOP_LINK, SHIPPER_STOP_PLANE };

struct shipper_pace { /* Zeros: nothing is known. */
    bool slow;
    bool behind;
    bool settled; /* For more than the first second: what that one sent is acknowledged. */
    enum shipper_stop stop; /* Since last_ms. */
    uint64_t since_ms;      /* While behind: when the second began, ... */
    uint64_t last_ms;
    uint64_t link_ms;      /* ... how much of it the link was waited for, ... */
    uint64_t passed_bytes; /* ... and how much had come through by then. */
};
/* There was more to send than may be, for `stop`. passed_bytes: of payload acknowledged so far,
 * ever. */
void shipper_pace_stopped(struct shipper_pace *p, enum shipper_stop stop, uint64_t now_ms,
                          uint64_t passed_bytes);
/* Nothing is left to send, or nobody there to send it to. */
void shipper_pace_reset(struct shipper_pace *p);

#endif
