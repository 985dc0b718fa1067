/* shipper_batch.h: one batch for the control plane: records of one epoch in order of seq, packed as
 * a RecordList and compressed. No I/O but the cursor's. */
#ifndef STEELYARD_DATAPLANE_TELEMETRY_SHIPPER_BATCH_H
#define STEELYARD_DATAPLANE_TELEMETRY_SHIPPER_BATCH_H

#include <zstd.h>

#include "dataplane/telemetry/shipper_read.h"

#define SHIPPER_BATCH_RECORDS 500U
#define SHIPPER_BATCH_BYTES   262144U
#define SHIPPER_BATCH_LEAST   32U /* Fewer are sent only when they have waited. */

struct shipper_batch {
    uint64_t first_seq;
    uint32_t count;
    uint32_t gaps;       /* Of count: 1 when the batch is a gap, which stands alone. */
    uint32_t raw_bytes;  /* Of the RecordList. */
    struct buf frame;    /* The RecordList as it is collected: a zstd frame of raw blocks. */
    size_t block_at;     /* Head of the block that is being filled. */
    const void *payload; /* Set by pack: the frame, or what it was compressed to. */
    size_t payload_len;
    struct buf plain; /* For compression: the blocks in one piece. */
    uint8_t *packed;
    size_t packed_cap;
    ZSTD_CCtx *zstd;
};
int shipper_batch_init(struct shipper_batch *b) MUST_CHECK; /* ERR_NOMEM. */
void shipper_batch_deinit(struct shipper_batch *b);         /* Also fine on a zeroed one. */
/* Takes what comes next, up to the maxima. 0 records: nothing there, no memory, or the disk; the
 * cursor stands where it was. */
uint32_t shipper_batch_collect(struct shipper_batch *b, struct shipper_cursor *c);
/* Makes the payload, a zstd frame: of raw blocks unless it is to be compressed. May be called again
 * with the other choice. ERR_NOMEM. */
int shipper_batch_pack(struct shipper_batch *b, bool compress) MUST_CHECK;

#endif
