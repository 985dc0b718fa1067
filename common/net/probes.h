/* probes.h: /livez (and /healthz), /readyz[?verbose], /startupz and /metrics as one table over
 * callbacks (INTERFACES section 7). Names of checks are shown only with ?verbose and must be
 * generic: these paths reveal no key, model or upstream. On the thread of the httpd that serves
 * them. */
#ifndef STEELYARD_COMMON_NET_PROBES_H
#define STEELYARD_COMMON_NET_PROBES_H

#include <stdbool.h>
#include <stddef.h>

#include "common/net/httpd.h"

struct metrics;

enum probe_kind { PROBE_LIVE, PROBE_READY, PROBE_STARTUP };

/* True: fine. Must not block. */
typedef bool (*probe_check_cb)(void *arg);

struct probe_check {
    enum probe_kind kind;
    const char *name; /* "policy", "keys", "draining": static. */
    probe_check_cb check;
    void *arg;
};

/* All borrowed: must outlive the server. */
struct probes {
    const struct probe_check *checks;
    size_t check_count;
    struct metrics *metrics; /* NULL: /metrics is 404. */
};

/* Answers and returns true if the path is one of ours (GET and HEAD; other methods 405). False: the
 * request is untouched. A kind without any check is always fine. */
bool probes_handle(const struct probes *p, struct httpd_request *req);
/* The same as an httpd_handler_cb (arg: struct probes); everything else is 404. */
void probes_on_request(void *probes, struct httpd_request *req);

#endif
