/* sse.h: event streams (HTML standard, section "Server-sent events"), incremental reader and
 * writer.
 *
 * The reader yields for each block, up to and with its blank line, both the parsed fields and the
 * exact bytes, so that a relay of the same dialect forwards the bytes unchanged: the raw spans of
 * all blocks, and of sse_finish, joined are the input. A block inside one input chunk is not
 * copied. Pure but for the buffers of blocks that span chunks or have several data lines; both are
 * bounded. Not thread-safe. */
#ifndef STEELYARD_COMMON_NET_SSE_H
#define STEELYARD_COMMON_NET_SSE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"

#define SSE_EVENT_BYTES_MAX 1048576U

/* Valid until the next call on the reader, or until the input it was cut from is gone. */
struct sse_event {
    struct str raw;  /* With its line ends. */
    struct str data; /* Data lines joined by LF. */
    struct str name; /* The event field; .data NULL: none, so "message". */
    struct str id;   /* .data NULL: none. */
    uint64_t retry_ms;
    bool has_data;    /* False: dispatches nothing (comment, lone blank line); relay raw only. */
    bool has_comment; /* At least one comment line: a keep-alive. */
    bool has_retry;
    bool cut;    /* From sse_finish: the stream ended inside this block. The standard drops it. */
    bool copied; /* raw lies in the reader, not in the input: it is gone with the next call. */
};

struct sse_reader {
    /* private */
    struct buf pending; /* A block whose beginning came in earlier chunks. */
    struct buf joined;  /* Data of a block with several data lines. */
    size_t event_bytes_max;
    size_t scan_at; /* How far the block at hand was looked through. */
    uint8_t state;
    bool bare_cr;    /* The last line ended in a CR without LF. */
    bool first;      /* A byte order mark is still possible. */
    bool clear_next; /* pending belongs to the event just yielded. */
    int status;
};

void sse_reader_init(struct sse_reader *r, size_t event_bytes_max); /* 0: SSE_EVENT_BYTES_MAX. */
void sse_reader_reset(struct sse_reader *r);                        /* For the next stream. */
void sse_reader_deinit(struct sse_reader *r);
/* Another maximum, from the next call on; 0: SSE_EVENT_BYTES_MAX. */
void sse_reader_allow(struct sse_reader *r, size_t event_bytes_max);
/* Consumes the front of *io_input. True: *out_event was filled; call again. False: the input is
 * used up, or sse_reader_status says what is wrong (then nothing more is ever yielded). A block
 * that ends in CR waits for one more byte, which may be the LF of CRLF, unless its line before
 * already ended in a bare CR. */
bool sse_reader_next(struct sse_reader *r, struct str *io_input, struct sse_event *out_event);
/* The input begins with a block, and nothing of it was seen yet: a caller that knows a whole block
 * by its look may take it off the input itself, says so, and goes on. It must be no larger than the
 * maximum, have LF line ends and no byte order mark. */
static inline bool sse_reader_at_block(const struct sse_reader *r)
{
    return (r->pending.len == 0 || r->clear_next) && !r->bare_cr && r->status == 0;
}
static inline void sse_reader_took(struct sse_reader *r)
{
    r->first = false;
}
/* 0, ERR_TOO_LARGE (a block over the maximum) or ERR_NOMEM. */
int sse_reader_status(const struct sse_reader *r);
/* The stream ended. True: bytes were left, and *out_event holds them. */
bool sse_finish(struct sse_reader *r, struct sse_event *out_event);

/* Writers append one whole frame with LF line ends; on an error out is as before. Each line of data
 * (CR, LF or CRLF) becomes a data line. name and id: .data NULL leaves the field out; ERR_INVALID
 * if they hold CR, LF or NUL. */
int sse_write_event(struct buf *out, struct str name, struct str data) MUST_CHECK;
int sse_write_event_id(struct buf *out, struct str id, struct str name, struct str data) MUST_CHECK;
int sse_write_comment(struct buf *out, struct str text) MUST_CHECK;
int sse_write_retry(struct buf *out, uint64_t retry_ms) MUST_CHECK;

#endif
