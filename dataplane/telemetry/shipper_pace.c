#include "dataplane/telemetry/shipper_pace.h"

static bool is_slow(const struct shipper_pace *p, uint64_t ms, uint64_t passed_bytes)
{
    return p->link_ms * 8 >= ms * SHIPPER_PACE_LINK_8 &&
           passed_bytes - p->passed_bytes < ms * SHIPPER_PACE_BYTES;
}

void shipper_pace_stopped(struct shipper_pace *p, enum shipper_stop stop, uint64_t now_ms,
                          uint64_t passed_bytes)
{
    if (p->behind && p->stop == SHIPPER_STOP_LINK)
        p->link_ms += now_ms - p->last_ms;
    p->stop = stop;
    p->last_ms = now_ms;
    if (p->behind) {
        const uint64_t ms = now_ms - p->since_ms;
        if (ms < SHIPPER_PACE_MS)
            return;
        p->slow = p->settled && is_slow(p, ms, passed_bytes);
        p->settled = true;
    }
    p->behind = true;
    p->since_ms = now_ms;
    p->link_ms = 0;
    p->passed_bytes = passed_bytes;
}

void shipper_pace_reset(struct shipper_pace *p)
{
    p->slow = p->behind = p->settled = false;
}
