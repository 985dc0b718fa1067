/* dialect.h: what differs by the caller's dialect in answers of our own: errors, as a body and as
 * the end of a broken stream (INTERFACES section 3). Writes bytes; sends nothing. Pure. */
#ifndef STEELYARD_DATAPLANE_REQUEST_DIALECT_H
#define STEELYARD_DATAPLANE_REQUEST_DIALECT_H

#include "common/hosts/hosts.h"
#include "common/net/http1.h"
#include "dataplane/llm/provider.h"
#include "dataplane/request/fault.h"

/* Of a head whose path says nothing, or is not known: by its prefix, else by its headers. */
enum dialect dialect_of_head(const struct http1_head *head);

unsigned dialect_status(enum dialect d, enum fault f);
/* Of the Anthropic error object. */
const char *dialect_anthropic_type(enum fault f);

/* What an error is told with, beside itself. */
struct dialect_error {
    enum fault fault;
    const struct fault_detail *detail;
    struct str request_id;             /* Plain. */
    struct str answer_id;              /* Of a stream's answer, where seen has none. */
    struct str model;                  /* That answers; empty: nobody yet. */
    const struct responses_seen *seen; /* Of a stream in that dialect; NULL: nothing. */
};
int dialect_write_error(enum dialect d, const struct dialect_error *e, struct buf *out) MUST_CHECK;
/* Neither end mark nor clean end follows it. */
int dialect_write_error_event(enum dialect d, const struct dialect_error *e,
                              struct buf *out) MUST_CHECK;

/* The number that follows the last "sequence_number" in these bytes of a stream, or `otherwise`.
 * In the text of a JSON string its quotation marks are escaped, so that text never counts. */
uint64_t dialect_next_sequence(struct str bytes, uint64_t otherwise);

#endif
