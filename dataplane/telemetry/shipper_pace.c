#include "dataplane/telemetry/shipper_pace.h"

void shipper_pace_stopped(struct shipper_pace *p, uint64_t now_ms, uint64_t passed_bytes)
{
    if (p->behind) {
        const uint64_t ms = now_ms - p->since_ms;
        if (ms < SHIPPER_PACE_MS)
            return;
        p->slow = passed_bytes - p->passed_bytes < ms * SHIPPER_PACE_BYTES;
    }
    p->behind = true;
    p->since_ms = now_ms;
    p->passed_bytes = passed_bytes;
}

void shipper_pace_caught_up(struct shipper_pace *p)
{
    p->slow = p->behind = false;
}
