/* shipper_read.h: reads one epoch's RECORD frames in order of seq, segment after segment, and says
 * where a seq is missing. Control loop. */
#ifndef STEELYARD_DATAPLANE_TELEMETRY_SHIPPER_READ_H
#define STEELYARD_DATAPLANE_TELEMETRY_SHIPPER_READ_H

#include "common/base/buf.h"
#include "dataplane/telemetry/spool_internal.h"

/* One read: no longer in the kernel than a request can wait, and still in the cache when it is
 * taken apart. */
#define SHIPPER_CHUNK_BYTES 131072U
_Static_assert(SHIPPER_CHUNK_BYTES > SPOOL_FRAME_BYTES + SPOOL_PAYLOAD_MAX, "holds a whole frame");

struct shipper_cursor {
    struct spool_set *set;
    struct spool_epoch *epoch;
    struct spool_segment *segment; /* NULL: before the first. */
    uint64_t offset;               /* In the segment's file, of the next frame. */
    uint64_t end;                  /* Known to be synced, so that not each record takes the lock. */
    uint64_t next_seq;             /* What comes next. */
    struct buf chunk;              /* Bytes of the file from chunk_offset on. */
    uint64_t chunk_offset;
    int fd; /* Of the segment; -1. */
    uint64_t quarantined;
};
void shipper_cursor_init(struct shipper_cursor *c, struct spool_set *set,
                         struct spool_epoch *epoch);
void shipper_cursor_deinit(struct shipper_cursor *c);
/* Goes to where seq is, or would be. */
void shipper_cursor_seek(struct shipper_cursor *c, uint64_t seq);
/* Forgets the segment if the cursor stands in it (it is about to be deleted). */
void shipper_cursor_leave(struct shipper_cursor *c, const struct spool_segment *segment);

enum shipper_next {
    SHIPPER_RECORD, /* *out_record is next_seq's; borrowed until the next call. */
    SHIPPER_GAP,    /* next_seq.. *out_gap_to are nowhere; the record after them comes next time. */
    SHIPPER_NOTHING, /* All that is synced was read. */
    SHIPPER_FAILED,  /* The file cannot be read now. */
};
/* RECORD and GAP move next_seq on. */
enum shipper_next shipper_cursor_next(struct shipper_cursor *c, struct str *out_record,
                                      uint64_t *out_gap_to);
/* The last segment was read to its end and nothing will be added: an old epoch's end. */
bool shipper_cursor_at_end(const struct shipper_cursor *c);

#endif
