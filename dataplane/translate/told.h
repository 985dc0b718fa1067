/* told.h: what an error means that a provider tells under a status of success, in a stream or
 * instead of a reply, where the caller's bytes pass and no exchange stands between (exchange.h has
 * tr_exchange_error). Pure. */
#ifndef STEELYARD_DATAPLANE_TRANSLATE_TOLD_H
#define STEELYARD_DATAPLANE_TRANSLATE_TOLD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/hosts/hosts.h"
#include "common/json/json.h"
#include "dataplane/translate/neutral.h"

struct tr_told {
    enum tr_error_kind kind;
    int64_t wait_ms; /* That it names; -1. */
};

/* data: of one event of a stream, or a whole body. json is scratch. False: it holds no error that
 * the dialect knows, or there was no memory to find out. */
bool tr_told_in_event(enum dialect provider, struct json *json, struct str data,
                      struct tr_told *out);
bool tr_told_in_reply(enum dialect provider, struct json *json, struct str body,
                      struct tr_told *out);

#endif
