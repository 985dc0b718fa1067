/* wave.h: how a candidate spreads over the nodes of one control plane: first to one, then to a
 * tenth, then to all; each step once those that have it have served healthily for a while. It
 * protects the nodes' processes from an artifact that kills them; users are protected by the
 * rollout's share. Pure: counts in, a step out; no clock, no I/O.
 *
 *   ONE -> TENTH -> ALL; any -> STOPPED (a node refused it, or died of it)
 *
 * While a node that had just got it is away nobody takes its place: if it died of it, so would
 * they. A step is never taken back: who has it has it, and a node that comes while all may have it
 * gets it at once. Another candidate, or the same one published again after it was withdrawn,
 * begins anew. */
#ifndef STEELYARD_CONTROLPLANE_NODES_WAVE_H
#define STEELYARD_CONTROLPLANE_NODES_WAVE_H

#include <stdbool.h>
#include <stddef.h>

enum wave_step {
    WAVE_ONE,
    WAVE_TENTH,
    WAVE_ALL,
    WAVE_STOPPED,
};

struct wave_census {
    size_t connected;
    size_t holding; /* Of these: have acknowledged it, or are being sent it. */
    size_t settled; /* Of these: have acknowledged it and stayed connected for so long. */
    bool waiting;   /* One that had it and was not settled went away not long ago: did it die? */
};

/* How many of so many may have it in this step. */
size_t wave_quota(enum wave_step step, size_t connected);
/* The step that follows from the census: the same, or the next. */
enum wave_step wave_next(enum wave_step step, const struct wave_census *census);
/* How many more may be sent it now. */
size_t wave_room(enum wave_step step, const struct wave_census *census);

#endif
