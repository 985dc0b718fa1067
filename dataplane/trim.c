#include "dataplane/trim.h"

static bool is_quiet(struct trim_watch *t, uint64_t live_bytes, uint64_t now_ms)
{
    uint64_t slack = t->level_bytes / 64 + TRIM_LEAST_BYTES / 4;
    bool moved = live_bytes > t->level_bytes + slack || live_bytes + slack < t->level_bytes;
    if (moved || t->level_ms == 0) {
        t->level_bytes = live_bytes;
        t->level_ms = now_ms;
        return false;
    }
    return now_ms - t->level_ms >= TRIM_QUIET_MS;
}

static bool has_grown(struct trim_watch *t, uint64_t beside_bytes, uint64_t now_ms)
{
    if (!t->trimmed)
        return false;
    if (!t->settled) {
        t->settled = true;
        t->beside_bytes = beside_bytes;
    }
    return beside_bytes >= t->beside_bytes + TRIM_GROWN_BYTES &&
           now_ms - t->trimmed_ms >= t->wait_ms;
}

bool trim_watch_due(struct trim_watch *t, uint64_t live_bytes, uint64_t resident_bytes, bool busy,
                    uint64_t now_ms)
{
    const bool quiet = is_quiet(t, live_bytes, now_ms);
    const bool grown =
        has_grown(t, resident_bytes > live_bytes ? resident_bytes - live_bytes : 0, now_ms);
    if (live_bytes > t->high_bytes)
        t->high_bytes = live_bytes;
    const bool fallen = !t->trimmed || t->high_bytes - live_bytes >= TRIM_LEAST_BYTES;
    const bool over = t->again && !busy && now_ms - t->trimmed_ms >= TRIM_QUIET_MS;
    if (!quiet || !(fallen || grown || over))
        return false;
    if (fallen)
        t->wait_ms = TRIM_QUIET_MS;
    else if (grown)
        t->wait_ms = t->wait_ms < TRIM_WAIT_MS_MAX / 2 ? 2 * t->wait_ms : TRIM_WAIT_MS_MAX;
    t->again = busy;
    t->trimmed = true;
    t->settled = false;
    t->trimmed_ms = now_ms;
    t->high_bytes = live_bytes;
    return true;
}
