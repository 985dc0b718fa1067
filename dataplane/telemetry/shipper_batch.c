#include "dataplane/telemetry/shipper_batch.h"

#include <endian.h>
#include <string.h>

#include "common/base/mem.h"
#include "dataplane/telemetry/record.h"

/* The fast end of zstd: features are most of a record and do not compress. Level 1 makes batches a
 * quarter smaller for nearly four times the CPU (docs/decisions/0093). */
#define LEVEL       (-20)
#define BLOCK_BYTES 131072U /* Largest block of a frame. */
#define STORE_EXTRA 64U     /* Heads of frame and blocks. */

int shipper_batch_init(struct shipper_batch *b)
{
    *b = (struct shipper_batch){.zstd = ZSTD_createCCtx()};
    buf_init(&b->raw, SHIPPER_BATCH_BYTES + 2U * SPOOL_PAYLOAD_MAX);
    return b->zstd != NULL ? 0 : ERR_NOMEM;
}

void shipper_batch_deinit(struct shipper_batch *b)
{
    buf_deinit(&b->raw);
    mem_free(b->packed);
    ZSTD_freeCCtx(b->zstd);
}

static int add(struct shipper_batch *b, struct str record)
{
    uint8_t head[6] = {1 << 3 | 2}; /* RecordList.records */
    size_t n = 1;
    size_t v = record.len;
    for (; v >= 0x80; v >>= 7)
        head[n++] = (uint8_t)(v | 0x80);
    head[n++] = (uint8_t)v;
    int rc = buf_append(&b->raw, head, n);
    return rc == 0 ? buf_append_str(&b->raw, record) : rc;
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
    b->count = b->gaps = 0;
    buf_clear(&b->raw);
    while (b->count < SHIPPER_BATCH_RECORDS && b->raw.len < SHIPPER_BATCH_BYTES) {
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

/* A zstd frame of raw blocks (RFC 8878, 3.1.1): single segment, content size in four bytes. */
static size_t store(const struct buf *raw, uint8_t *out)
{
    uint8_t *at = out;
    const uint32_t magic = htole32(0xfd2fb528U), size = htole32((uint32_t)raw->len);
    memcpy(at, &magic, 4);
    at[4] = 0xa0;
    memcpy(at + 5, &size, 4);
    at += 9;
    for (size_t from = 0; from < raw->len;) {
        size_t len = raw->len - from < BLOCK_BYTES ? raw->len - from : BLOCK_BYTES;
        bool last = from + len == raw->len;
        uint32_t head = htole32((uint32_t)len << 3 | last); /* Type 0: as it is. */
        memcpy(at, &head, 3);
        memcpy(at + 3, raw->data + from, len);
        at += 3 + len;
        from += len;
    }
    return (size_t)(at - out);
}

int shipper_batch_pack(struct shipper_batch *b, bool compress)
{
    size_t bound = ZSTD_compressBound(b->raw.len) + STORE_EXTRA;
    if (bound > b->packed_cap) {
        uint8_t *packed = mem_realloc(b->packed, bound);
        if (packed == NULL)
            return ERR_NOMEM;
        b->packed = packed;
        b->packed_cap = bound;
    }
    if (!compress) {
        b->packed_len = store(&b->raw, b->packed);
        return 0;
    }
    size_t len =
        ZSTD_compressCCtx(b->zstd, b->packed, b->packed_cap, b->raw.data, b->raw.len, LEVEL);
    if (ZSTD_isError(len))
        return ERR_NOMEM;
    b->packed_len = len;
    return 0;
}
