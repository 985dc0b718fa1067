/* discover.h: where the admin API is and with which key. Reads the environment and small files. */
#ifndef STEELYARD_CONTROLPLANE_CTL_DISCOVER_H
#define STEELYARD_CONTROLPLANE_CTL_DISCOVER_H

#include "common/base/buf.h"
#include "controlplane/ctl/ctl.h"

struct discovered {
    char server[512]; /* "http://127.0.0.1:8090" */
    char key[256];    /* "" when none was found. */
    char source[512]; /* For messages: "--server", "context 'prod'", "state directory ...". */
};
int discover_server(const struct ctl *c, struct discovered *out, struct err *err) MUST_CHECK;

/* State directory of serve on this machine: --state-dir, STEELYARD_STATE_DIR, then
 * ~/.local/state/steelyard and /var/lib/steelyard, whichever has an addresses.json.
 * ERR_NOT_FOUND without one. */
int discover_state_dir(const struct ctl *c, char *out, size_t out_bytes,
                       struct err *err) MUST_CHECK;
/* Field of STATE/addresses.json, e.g. "http"; ERR_NOT_FOUND. */
int discover_address(const char *state_dir, const char *field, char *out,
                     size_t out_bytes) MUST_CHECK;

#endif
