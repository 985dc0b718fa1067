/* shipper_pace.h: whether bytes or CPU are what is short on the way to the control plane. Who is
 * stopped by window or credit is either ahead of a plane that commits in steps, or at the end of a
 * link; only the latter gains by compressed batches. So it must go on for a second in which less was
 * acknowledged than a usual link carries in it. Pure. */
#ifndef STEELYARD_DATAPLANE_TELEMETRY_SHIPPER_PACE_H
#define STEELYARD_DATAPLANE_TELEMETRY_SHIPPER_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define SHIPPER_PACE_MS    1000U  /* Looked at for so long. */
#define SHIPPER_PACE_BYTES 16384U /* What came through in a millisecond: more is not slow. */

struct shipper_pace { /* Zeros: nothing is known. */
    bool slow;
    bool behind;
    uint64_t since_ms;     /* While behind: when the second began ... */
    uint64_t passed_bytes; /* ... and how much had come through by then. */
};
/* There was more to send than may be. passed_bytes: of payload acknowledged so far, ever. */
void shipper_pace_stopped(struct shipper_pace *p, uint64_t now_ms, uint64_t passed_bytes);
/* Nothing is left to send. */
void shipper_pace_caught_up(struct shipper_pace *p);

#endif
