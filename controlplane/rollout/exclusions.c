#include "controlplane/rollout/exclusions.h"

bool exclusion_is_heavy(uint64_t exposures, uint64_t total)
{
    /* exposures / total > share / 10,000, in a width that cannot overflow. */
    return total >= EXCLUSION_EXPOSURES_MIN &&
           (unsigned __int128)exposures * 10000U > (unsigned __int128)total * EXCLUSION_SHARE_BP;
}

size_t exclusions_mark(struct exclusion_unit *units, size_t count, uint64_t total)
{
    size_t marked = 0;
    for (size_t i = 0; i < count; i++) {
        if (units[i].apart || !exclusion_is_heavy(units[i].exposures, total))
            continue;
        units[i].apart = true;
        marked++;
    }
    return marked;
}
