#include "dataplane/telemetry/shipper_batch.h"

#include <endian.h>
#include <string.h>

#include "common/base/mem.h"
#include "dataplane/telemetry/record.h"

/* The fast end of zstd: features are most of a record and do not compress. Level 1 makes batches a
 * quarter smaller for nearly four times the CPU (docs/decisions/0093). */
#define LEVEL       (-20)
#define BLOCK_BYTES 131072U /* Largest block of a frame. */

#define FRAME_HEAD 9U /* Of a frame with its content's size in four bytes. */
#define BLOCK_HEAD 3U

int shipper_batch_init(struct shipper_batch *b)
{
    *b = (struct shipper_batch){.zstd = ZSTD_createCCtx()};
    buf_init(&b->frame, SHIPPER_BATCH_BYTES + 2U * SPOOL_PAYLOAD_MAX);
    buf_init(&b->plain, SHIPPER_BATCH_BYTES + 2U * SPOOL_PAYLOAD_MAX);
    return b->zstd != NULL ? 0 : ERR_NOMEM;
}

void shipper_batch_deinit(struct shipper_batch *b)
{
    buf_deinit(&b->frame);
    buf_deinit(&b->plain);
    mem_free(b->packed);
    ZSTD_freeCCtx(b->zstd);
}

/* ---- the frame (RFC 8878, 3.1.1): single segment, content size in four bytes, raw blocks ---- */

static void frame_begin(struct shipper_batch *b)
{
    buf_clear(&b->frame);
    b->count = b->gaps = 0;
    b->raw_bytes = 0;
    b->block_at = 0; /* No block yet. */
}

static void block_end(struct shipper_batch *b, bool last)
{
    uint32_t len = (uint32_t)(b->frame.len - b->block_at - BLOCK_HEAD);
    uint32_t head = htole32(len << 3 | last); /* Type 0: as it is. */
    memcpy(b->frame.data + b->block_at, &head, BLOCK_HEAD);
}

static void frame_end(struct shipper_batch *b)
{
    const uint32_t magic = htole32(0xfd2fb528U), size = htole32(b->raw_bytes);
    memcpy(b->frame.data, &magic, 4);
    b->frame.data[4] = (char)0xa0;
    memcpy(b->frame.data + 5, &size, 4);
    block_end(b, true);
}

static int add(struct shipper_batch *b, struct str record)
{
    uint8_t head[6] = {1 << 3 | 2}; /* RecordList.records */
    size_t n = 1;
    size_t v = record.len;
    for (; v >= 0x80; v >>= 7)
        head[n++] = (uint8_t)(v | 0x80);
    head[n++] = (uint8_t)v;
    size_t len = n + record.len;
    if (buf_reserve(&b->frame, FRAME_HEAD + BLOCK_HEAD + len) != 0)
        return ERR_NOMEM;
    bool first = b->raw_bytes == 0;
    if (first || b->frame.len - b->block_at - BLOCK_HEAD + len > BLOCK_BYTES) {
        if (!first)
            block_end(b, false);
        else
            b->frame.len = FRAME_HEAD;
        b->block_at = b->frame.len;
        b->frame.len += BLOCK_HEAD;
    }
    memcpy(b->frame.data + b->frame.len, head, n);
    memcpy(b->frame.data + b->frame.len + n, record.data, record.len);
    b->frame.len += len;
    b->raw_bytes += (uint32_t)len;
    return 0;
}

static int add_gap(struct shipper_batch *b, uint64_t from, uint64_t to)
{
    uint8_t gap[64];
    size_t len;
    int rc = record_encode_gap(from, to, "lost on the node", gap + 2, sizeof(gap) - 2, &len);
    if (rc != 0)
        return rc;
    gap[0] = 3 << 3 | 2; /* Record.gap */
    gap[1] = (uint8_t)len;
    return add(b, (struct str){.data = (char *)gap, .len = len + 2});
}

uint32_t shipper_batch_collect(struct shipper_batch *b, struct shipper_cursor *c)
{
    b->first_seq = c->next_seq;
    frame_begin(b);
    while (b->count < SHIPPER_BATCH_RECORDS && b->raw_bytes < SHIPPER_BATCH_BYTES) {
        struct str record;
        uint64_t gap_to = 0;
        uint64_t seq = c->next_seq;
        switch (shipper_cursor_next(c, &record, &gap_to)) {
        case SHIPPER_RECORD:
            if (add(b, record) != 0) {
                shipper_cursor_seek(c, b->first_seq);
                return b->count = 0;
            }
            b->count++;
            break;
        case SHIPPER_GAP:
            /* A gap stands alone: what was collected goes first, the gap next time. */
            if (b->count > 0) {
                c->next_seq = seq;
                return b->count;
            }
            if (add_gap(b, seq, gap_to) == 0)
                return b->gaps = b->count = 1;
            shipper_cursor_seek(c, b->first_seq);
            return 0;
        case SHIPPER_NOTHING:
        case SHIPPER_FAILED:
            return b->count;
        }
    }
    return b->count;
}

/* The blocks' contents in one piece. */
static int join_blocks(struct shipper_batch *b)
{
    buf_clear(&b->plain);
    int rc = 0;
    for (size_t at = FRAME_HEAD; at < b->frame.len && rc == 0;) {
        uint32_t head = 0;
        memcpy(&head, b->frame.data + at, BLOCK_HEAD);
        size_t len = le32toh(head) >> 3;
        rc = buf_append(&b->plain, b->frame.data + at + BLOCK_HEAD, len);
        at += BLOCK_HEAD + len;
    }
    return rc;
}

static int squeeze(struct shipper_batch *b)
{
    size_t bound = ZSTD_compressBound(b->raw_bytes);
    if (bound > b->packed_cap) {
        uint8_t *packed = mem_realloc(b->packed, bound);
        if (packed == NULL)
            return ERR_NOMEM;
        b->packed = packed;
        b->packed_cap = bound;
    }
    if (join_blocks(b) != 0)
        return ERR_NOMEM;
    size_t len =
        ZSTD_compressCCtx(b->zstd, b->packed, b->packed_cap, b->plain.data, b->plain.len, LEVEL);
    if (ZSTD_isError(len))
        return ERR_NOMEM;
    b->payload = b->packed;
    b->payload_len = len;
    return 0;
}

int shipper_batch_pack(struct shipper_batch *b, bool compress)
{
    frame_end(b);
    if (compress)
        return squeeze(b);
    b->payload = b->frame.data;
    b->payload_len = b->frame.len;
    return 0;
}
