/* late.h: are too many answers late? A cumulative sum (Page, Continuous Inspection Schemes, 1954):
 * a late answer adds its weight, any other takes one away, down to nothing. It climbs only while
 * more than one in weight + 1 are late, so a few very late ones, however many answers come, are no
 * sign: an average would jump with each. Pure; one thread. */
#ifndef STEELYARD_DATAPLANE_UPSTREAM_LATE_H
#define STEELYARD_DATAPLANE_UPSTREAM_LATE_H

#include <stdbool.h>
#include <stdint.h>

struct late { /* All zero at first. */
    uint32_t sum;
};

/* More than `times` as long as is usual (0: nobody knows), and by more than more_ms. */
static inline bool late_is(uint32_t took_ms, uint32_t usual_ms, uint32_t times, uint32_t more_ms)
{
    return usual_ms != 0 && took_ms / times > usual_ms && took_ms - usual_ms > more_ms;
}

/* True: weight * row or more, as after `row` late ones in a row; counted anew from here on. */
static inline bool late_too_many(struct late *l, bool late, uint32_t weight, uint32_t row)
{
    if (late)
        l->sum += weight;
    else if (l->sum > 0)
        l->sum--;
    if (l->sum < weight * row)
        return false;
    l->sum = 0;
    return true;
}

#endif
