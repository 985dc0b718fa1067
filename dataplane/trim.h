/* trim.h: says when memory that a burst took should go back to the system. Pure: no I/O, no clock
 * of its own. */
#ifndef STEELYARD_DATAPLANE_TRIM_H
#define STEELYARD_DATAPLANE_TRIM_H

#include <stdbool.h>
#include <stdint.h>

#define TRIM_LEAST_BYTES (4U << 20) /* Less than that is not worth it. */
#define TRIM_QUIET_MS    3000U      /* So long the amount must have been about the same. */

struct trim_watch {       /* Zeroed is ready. */
    bool trimmed;         /* Once since the start, which is a burst too. */
    uint64_t high_bytes;  /* Since the last time. */
    uint64_t level_bytes; /* Now, roughly ... */
    uint64_t level_ms;    /* ... since then. */
};
/* Asked about once a second with what is allocated; after true it counts as trimmed. */
bool trim_watch_due(struct trim_watch *t, uint64_t live_bytes, uint64_t now_ms);

#endif
