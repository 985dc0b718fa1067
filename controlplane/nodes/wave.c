#include "controlplane/nodes/wave.h"

size_t wave_quota(enum wave_step step, size_t connected)
{
    switch (step) {
    case WAVE_ONE:
        return connected < 1 ? connected : 1;
    case WAVE_TENTH:
        return connected / 10 + (connected % 10 != 0);
    case WAVE_ALL:
        return connected;
    case WAVE_STOPPED:
        break;
    }
    return 0;
}

enum wave_step wave_next(enum wave_step step, const struct wave_census *c)
{
    if (c->connected == 0 || c->waiting || c->settled < wave_quota(step, c->connected))
        return step;
    switch (step) {
    case WAVE_ONE:
        return WAVE_TENTH;
    case WAVE_TENTH:
        return WAVE_ALL;
    case WAVE_ALL:
    case WAVE_STOPPED:
        break;
    }
    return step;
}

size_t wave_room(enum wave_step step, const struct wave_census *c)
{
    size_t quota = wave_quota(step, c->connected);
    if (c->waiting && step != WAVE_ALL)
        return 0;
    return quota > c->holding ? quota - c->holding : 0;
}
