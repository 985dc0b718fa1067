/* steering.h: the request headers by which a caller steers (INTERFACES section 2, RELIABILITY B46).
 * What is malformed is refused; what is well formed but not granted is for the caller of this to
 * ignore with a warning. Slices point into the head. Pure. */
#ifndef STEELYARD_DATAPLANE_REQUEST_STEERING_H
#define STEELYARD_DATAPLANE_REQUEST_STEERING_H

#include <stdbool.h>
#include <stdint.h>

#include "common/net/http1.h"
#include "dataplane/telemetry/record.h"

#define STEERING_NAME_BYTES_MAX    128
#define STEERING_SESSION_BYTES_MAX 256
#define STEERING_IDEMPOTENCY_MAX   255

struct steering {
    struct str policy;       /* NAME; len 0: none. */
    uint64_t policy_version; /* 0: any. */
    struct str tags[RECORD_TAGS_MAX];
    uint32_t tag_count;
    struct str task;
    int64_t max_cost_nanousd; /* 0: none. */
    uint32_t quality_q16;     /* 0: none. */
    struct str session;       /* x-steelyard-session, else a coding agent's; len 0: none. */
    bool compacted;           /* A coding agent's context is a new one: no prompt cache holds it. */
    struct str idempotency_key; /* Printable; the first one; len 0: none. */
    bool no_log;
    bool usage;             /* x-steelyard-usage: 1 */
    bool client_retry;      /* x-stainless-retry-count above 0. */
    struct str traceparent; /* Well-formed version 00, else len 0. */
    /* Of wishes (wishes.h), as they came; len 0: none. */
    struct str preferences;      /* x-steelyard-preferences */
    struct str portkey_config;   /* x-portkey-config */
    struct str portkey_metadata; /* x-portkey-metadata */
};

/* *out_bad: name of the header that is malformed (static), NULL when all are well. */
void steering_read(const struct http1_head *head, struct steering *out_steering,
                   const char **out_bad);

/* One more tag; false: it may be none, or there are too many. */
bool steering_add_tag(struct steering *s, struct str tag);

/* x-request-id as the caller may choose it. */
bool steering_request_id_valid(struct str s);

#endif
