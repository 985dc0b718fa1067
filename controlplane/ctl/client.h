/* client.h: the admin API, called from the command line. Blocks; SIGINT cancels the call at hand
 * (the exchange is cut and everything freed) and is then reported as CTL_FAILED. An answer that did
 * not come to what may change something is told as such: the change may have been made.
 *
 * The server is found in this order: --server / STEELYARD_SERVER with STEELYARD_OPERATOR_KEY; a
 * context of ~/.config/steelyard/config.yaml; the state directory of a `steelyard serve` on this
 * machine (addresses.json and control/operator.key). Errors are printed where they happen. */
#ifndef STEELYARD_CONTROLPLANE_CTL_CLIENT_H
#define STEELYARD_CONTROLPLANE_CTL_CLIENT_H

#include "common/base/str.h"
#include "controlplane/ctl/ctl.h"

/* body may be NULL; it is taken over. out_reply may be NULL; else the caller decrefs it. */
enum ctl_exit client_call(struct ctl *c, const char *method, const char *path, json_t *body,
                          json_t **out_reply);
/* As client_call, but errors are neither printed nor final: for polling. */
enum ctl_exit client_try(struct ctl *c, const char *method, const char *path, json_t **out_reply);

/* Calls on_line for each line of an NDJSON reply; false from it cancels. */
typedef bool (*client_line_cb)(void *arg, const json_t *line);
enum ctl_exit client_stream(struct ctl *c, const char *method, const char *path, json_t *body,
                            client_line_cb on_line, void *arg);

/* Waits, but not longer than SIGINT: true when interrupted (sticky). */
bool client_wait(struct ctl *c, unsigned ms);
bool client_interrupted(const struct ctl *c);
void client_destroy(struct client *cl);

/* All pages of a list, up to limit items (0: all): a new array under *out_items. */
enum ctl_exit client_list(struct ctl *c, const char *path_with_query, uint64_t limit,
                          json_t **out_items);

/* Appends text to a path or query value, percent-encoded (RFC 3986 unreserved bytes stay). */
int client_escape(const char *text, struct buf *out) MUST_CHECK;

#endif
