/* trim.h: says when memory that a burst took should go back to the system. Pure: no I/O, no clock
 * of its own.
 *
 * Two things tell that there is some: less is allocated than was at the height of a burst; or more
 * is resident beside what is allocated than was after the last time. The second finds what the
 * first cannot see: what others than mem.h allocated, what came and went between two looks or after
 * the last time, and code that served once. It is also what a node under load always shows a
 * while after its memory went, so the more often it was the reason, the longer it has to wait.
 * What is still to be done when memory goes brings some of it back at once: then it goes once more
 * when that is done. */
#ifndef STEELYARD_DATAPLANE_TRIM_H
#define STEELYARD_DATAPLANE_TRIM_H

#include <stdbool.h>
#include <stdint.h>

#define TRIM_LEAST_BYTES (4U << 20) /* Less than that is not worth it. */
#define TRIM_GROWN_BYTES (2U << 20) /* Nor less than that of what is resident beside. */
#define TRIM_QUIET_MS    3000U      /* So long the amount must have been about the same. */
#define TRIM_WAIT_MS_MAX 600000U

struct trim_watch {        /* Zeroed is ready. */
    bool trimmed;          /* Once since the start, which is a burst too. */
    bool settled;          /* beside_bytes is known. */
    bool again;            /* The last time there was something left to do. */
    uint64_t high_bytes;   /* Since the last time. */
    uint64_t level_bytes;  /* Now, roughly ... */
    uint64_t level_ms;     /* ... since then. */
    uint64_t beside_bytes; /* Resident beside what was allocated, when it was asked after the last
                            * time: what is in use had come back. */
    uint64_t trimmed_ms;
    uint64_t wait_ms; /* From then on, for what has grown. */
};
/* Asked about once a second with what is allocated, what is resident and whether something is left
 * to do (records to be stored); after true it counts as trimmed. */
bool trim_watch_due(struct trim_watch *t, uint64_t live_bytes, uint64_t resident_bytes, bool busy,
                    uint64_t now_ms);

#endif
