#include "dataplane/trim.h"

bool trim_watch_due(struct trim_watch *t, uint64_t live_bytes, uint64_t now_ms)
{
    uint64_t slack = t->level_bytes / 64 + TRIM_LEAST_BYTES / 4;
    bool moved = live_bytes > t->level_bytes + slack || live_bytes + slack < t->level_bytes;
    if (live_bytes > t->high_bytes)
        t->high_bytes = live_bytes;
    if (moved || t->level_ms == 0) {
        t->level_bytes = live_bytes;
        t->level_ms = now_ms;
        return false;
    }
    if (now_ms - t->level_ms < TRIM_QUIET_MS ||
        (t->trimmed && t->high_bytes - live_bytes < TRIM_LEAST_BYTES))
        return false;
    t->trimmed = true;
    t->high_bytes = live_bytes;
    return true;
}
