/* access.h: one line of the log for each request that is answered. What the lines of requests that
 * are alike have in common is written once and copied from then on; a text that needs care goes the
 * way of every other line. Pure but for the log. */
#ifndef STEELYARD_DATAPLANE_REQUEST_ACCESS_H
#define STEELYARD_DATAPLANE_REQUEST_ACCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/str.h"

#define ACCESS_COMMON_BYTES 384U /* With names that are longer nothing is kept. */

/* Beside the same kind (tally.h), lines whose method, path and server lie at the same place are
 * alike. Zeroed: none was written yet. */
struct access_common {
    const char *method, *path, *served;
    uint16_t head_len; /* 0: none. */
    uint16_t tail_len; /* Right behind it. */
    char text[ACCESS_COMMON_BYTES];
};

struct access {
    struct str method, path;
    bool path_stays; /* Where it lies nothing else will. */
    unsigned status;
    struct str request_id, decision_id; /* Checked, or ours: never need care. */
    struct str route, served, key_id, cost_usd;
    uint64_t ttft_ms, duration_ms;
    uint64_t tokens_in, tokens_out;
    uint32_t attempts;
    bool client_gone;
};

void access_write(struct access_common *common, const struct access *a, int64_t wall_us);

#endif
