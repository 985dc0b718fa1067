#include "dataplane/telemetry/spool_format.h"

#include <endian.h>
#include <string.h>

#include "common/base/hash.h"

static const char magic[8] = {'S', 'Y', 'S', 'P', 'O', 'O', 'L', '1'};
static const uint8_t marker[3] = {0xa5, 'S', 'Y'};
#define MARKER_OFFSET 9U

static void put_u32(uint8_t *p, uint32_t v)
{
    v = htole32(v);
    memcpy(p, &v, sizeof(v));
}

static uint32_t get_u32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return le32toh(v);
}

void spool_put_u64(void *out, uint64_t v)
{
    v = htole64(v);
    memcpy(out, &v, sizeof(v));
}

uint64_t spool_get_u64(const void *in)
{
    uint64_t v;
    memcpy(&v, in, sizeof(v));
    return le64toh(v);
}

void spool_header_encode(const struct spool_header *h, uint8_t out[SPOOL_HEADER_BYTES])
{
    memcpy(out, magic, sizeof(magic));
    put_u32(out + 8, SPOOL_VERSION);
    put_u32(out + 12, h->number);
    spool_put_u64(out + 16, h->epoch);
    spool_put_u64(out + 24, h->first_seq);
    memcpy(out + 32, h->node_id.bytes, 16);
    memcpy(out + 48, h->boot_id.bytes, 16);
    put_u32(out + 64, 0);
    put_u32(out + 68, crc32c(0, out, 68));
}

int spool_header_decode(struct str data, struct spool_header *out_header)
{
    if (data.len < SPOOL_HEADER_BYTES)
        return ERR_EOF;
    const uint8_t *p = (const uint8_t *)data.data;
    if (memcmp(p, magic, sizeof(magic)) != 0 || get_u32(p + 68) != crc32c(0, p, 68))
        return ERR_CORRUPT;
    if (get_u32(p + 8) != SPOOL_VERSION)
        return ERR_VERSION;
    struct spool_header h = {.number = get_u32(p + 12),
                             .epoch = spool_get_u64(p + 16),
                             .first_seq = spool_get_u64(p + 24)};
    memcpy(h.node_id.bytes, p + 32, 16);
    memcpy(h.boot_id.bytes, p + 48, 16);
    *out_header = h;
    return 0;
}

static uint32_t frame_crc(const uint8_t *frame, size_t payload_len)
{
    uint32_t crc = crc32c(0, frame, 4);
    return crc32c(crc, frame + 8, SPOOL_FRAME_BYTES - 8 + payload_len);
}

void spool_frame_seal(uint8_t *frame, enum spool_frame_type type, uint64_t id, size_t payload_len)
{
    put_u32(frame, (uint32_t)payload_len);
    frame[8] = (uint8_t)type;
    memcpy(frame + MARKER_OFFSET, marker, sizeof(marker));
    spool_put_u64(frame + 12, id);
    put_u32(frame + 4, frame_crc(frame, payload_len));
}

/* Is there a whole good frame at the start of data? */
static bool frame_read(struct str data, struct spool_frame *out)
{
    if (data.len < SPOOL_FRAME_BYTES)
        return false;
    const uint8_t *p = (const uint8_t *)data.data;
    size_t len = get_u32(p);
    if (len > SPOOL_PAYLOAD_MAX || len > data.len - SPOOL_FRAME_BYTES)
        return false;
    if (memcmp(p + MARKER_OFFSET, marker, sizeof(marker)) != 0)
        return false;
    if (p[8] < SPOOL_INTENT || p[8] > SPOOL_RECORD || get_u32(p + 4) != frame_crc(p, len))
        return false;
    *out = (struct spool_frame){
        .type = (enum spool_frame_type)p[8],
        .id = spool_get_u64(p + 12),
        .payload = {.data = data.data + SPOOL_FRAME_BYTES, .len = len},
        .whole = {.data = data.data, .len = SPOOL_FRAME_BYTES + len},
    };
    return true;
}

void spool_scan_init(struct spool_scan *scan, struct str data)
{
    *scan = (struct spool_scan){.data = data};
}

/* Offset of the next good frame after `from`, or data.len. */
static size_t resync(struct str data, size_t from, struct spool_frame *out)
{
    size_t at = from + 1;
    while (at + SPOOL_FRAME_BYTES <= data.len) {
        const char *hit = memmem(data.data + at + MARKER_OFFSET, data.len - at - MARKER_OFFSET,
                                 marker, sizeof(marker));
        if (hit == NULL)
            break;
        at = (size_t)(hit - data.data) - MARKER_OFFSET;
        if (frame_read(str_slice(data, at, data.len), out))
            return at;
        at++;
    }
    return data.len;
}

enum spool_scan_result spool_scan_next(struct spool_scan *scan, struct spool_frame *out_frame)
{
    if (scan->offset >= scan->data.len)
        return SPOOL_SCAN_END;
    if (!frame_read(str_slice(scan->data, scan->offset, scan->data.len), out_frame)) {
        size_t at = resync(scan->data, scan->offset, out_frame);
        if (at == scan->data.len)
            return SPOOL_SCAN_TORN;
        scan->quarantined++;
        scan->skipped_bytes += at - scan->offset;
        scan->offset = at;
    }
    scan->offset += out_frame->whole.len;
    return SPOOL_SCAN_FRAME;
}

bool spool_record_split(const struct spool_frame *frame, uint64_t *out_intent,
                        struct str *out_record)
{
    if (frame->type != SPOOL_RECORD || frame->payload.len < SPOOL_RECORD_PREFIX_BYTES)
        return false;
    *out_intent = spool_get_u64(frame->payload.data);
    *out_record = str_slice(frame->payload, SPOOL_RECORD_PREFIX_BYTES, frame->payload.len);
    return true;
}
