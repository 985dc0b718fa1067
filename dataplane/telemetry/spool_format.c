#include "dataplane/telemetry/spool_format.h"

#include <endian.h>
#include <string.h>

#include "common/base/hash.h"

static const char magic[8] = {'S', 'Y', 'S', 'P', 'O', 'O', 'L', '1'};
#define MARKER_OFFSET 9U
#define MARKER_BYTES  3U

static void marker_of(uint32_t salt, uint8_t out[MARKER_BYTES])
{
    out[0] = 0xa5;
    out[1] = (uint8_t)('S' ^ salt >> 16);
    out[2] = (uint8_t)('Y' ^ salt >> 24);
}

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
    put_u32(out + 64, h->flags);
    put_u32(out + 68, crc32c(0, out, 68));
}

int spool_header_decode(struct str data, struct spool_header *out_header)
{
    if (data.len < SPOOL_HEADER_BYTES)
        return ERR_EOF;
    const uint8_t *p = (const uint8_t *)data.data;
    if (memcmp(p, magic, sizeof(magic)) != 0 || get_u32(p + 68) != crc32c(0, p, 68))
        return ERR_CORRUPT;
    uint32_t version = get_u32(p + 8);
    if (version < 1 || version > SPOOL_VERSION)
        return ERR_VERSION;
    struct spool_header h = {.version = version,
                             .flags = get_u32(p + 64),
                             .number = get_u32(p + 12),
                             .epoch = spool_get_u64(p + 16),
                             .first_seq = spool_get_u64(p + 24)};
    memcpy(h.node_id.bytes, p + 32, 16);
    memcpy(h.boot_id.bytes, p + 48, 16);
    *out_header = h;
    return 0;
}

uint32_t spool_salt(uint64_t epoch, uint32_t number)
{
    uint8_t bytes[12];
    spool_put_u64(bytes, epoch);
    put_u32(bytes + 8, number);
    return crc32c(0, bytes, sizeof(bytes));
}

uint32_t spool_header_salt(const struct spool_header *h)
{
    return h->version == 1 ? 0 : spool_salt(h->epoch, h->number);
}

static uint32_t frame_crc(const uint8_t *frame, size_t payload_len, uint32_t salt)
{
    uint32_t crc = crc32c(salt, frame, 4);
    return crc32c(crc, frame + 8, SPOOL_FRAME_BYTES - 8 + payload_len);
}

void spool_frame_head(uint8_t *frame, enum spool_frame_type type, uint64_t id, size_t payload_len)
{
    put_u32(frame, (uint32_t)payload_len);
    put_u32(frame + 4, 0);
    put_u32(frame + 8, (uint32_t)type);
    spool_put_u64(frame + 12, id);
}

struct str spool_frame_payload(const uint8_t *frame)
{
    return (struct str){.data = (const char *)frame + SPOOL_FRAME_BYTES, .len = get_u32(frame)};
}

void spool_frames_seal(char *data, size_t len, uint32_t salt)
{
    uint8_t *p = (uint8_t *)data;
    uint8_t marker[MARKER_BYTES];
    marker_of(salt, marker);
    for (size_t at = 0; at < len;) {
        size_t payload_len = get_u32(p + at);
        memcpy(p + at + MARKER_OFFSET, marker, sizeof(marker));
        put_u32(p + at + 4, frame_crc(p + at, payload_len, salt));
        at += SPOOL_FRAME_BYTES + payload_len;
    }
}

/* Is there a whole good frame at the start of data? */
static bool frame_read(struct str data, uint32_t salt, struct spool_frame *out)
{
    uint8_t marker[MARKER_BYTES];
    if (data.len < SPOOL_FRAME_BYTES)
        return false;
    const uint8_t *p = (const uint8_t *)data.data;
    size_t len = get_u32(p);
    if (len > SPOOL_PAYLOAD_MAX || len > data.len - SPOOL_FRAME_BYTES)
        return false;
    marker_of(salt, marker);
    if (memcmp(p + MARKER_OFFSET, marker, sizeof(marker)) != 0)
        return false;
    if (p[8] < SPOOL_INTENT || p[8] > SPOOL_RECORD || get_u32(p + 4) != frame_crc(p, len, salt))
        return false;
    *out = (struct spool_frame){
        .type = (enum spool_frame_type)p[8],
        .id = spool_get_u64(p + 12),
        .payload = {.data = data.data + SPOOL_FRAME_BYTES, .len = len},
        .whole = {.data = data.data, .len = SPOOL_FRAME_BYTES + len},
    };
    return true;
}

void spool_scan_init(struct spool_scan *scan, struct str data, uint32_t salt)
{
    *scan = (struct spool_scan){.data = data, .salt = salt};
}

/* Offset of the next good frame after scan->offset, or data.len. */
static size_t resync(const struct spool_scan *scan, struct spool_frame *out)
{
    struct str data = scan->data;
    size_t at = scan->offset + 1;
    uint8_t marker[MARKER_BYTES];
    marker_of(scan->salt, marker);
    while (at + SPOOL_FRAME_BYTES <= data.len) {
        const char *hit = memmem(data.data + at + MARKER_OFFSET, data.len - at - MARKER_OFFSET,
                                 marker, sizeof(marker));
        if (hit == NULL)
            break;
        at = (size_t)(hit - data.data) - MARKER_OFFSET;
        if (frame_read(str_slice(data, at, data.len), scan->salt, out))
            return at;
        at++;
    }
    return data.len;
}

enum spool_scan_result spool_scan_next(struct spool_scan *scan, struct spool_frame *out_frame)
{
    if (scan->offset >= scan->data.len)
        return SPOOL_SCAN_END;
    struct str rest = str_slice(scan->data, scan->offset, scan->data.len);
    if (!frame_read(rest, scan->salt, out_frame)) {
        size_t at = resync(scan, out_frame);
        if (at == scan->data.len)
            return SPOOL_SCAN_TORN;
        scan->quarantined++;
        scan->skipped_bytes += at - scan->offset;
        scan->offset = at;
    }
    scan->offset += out_frame->whole.len;
    return SPOOL_SCAN_FRAME;
}

size_t spool_scan_torn(const struct spool_scan *scan, bool recycled)
{
    struct str rest = str_slice(scan->data, scan->offset, scan->data.len);
    if (!recycled)
        return rest.len;
    uint8_t marker[MARKER_BYTES];
    marker_of(scan->salt, marker);
    if (rest.len < SPOOL_FRAME_BYTES ||
        memcmp(rest.data + MARKER_OFFSET, marker, sizeof(marker)) != 0)
        return 0;
    uint64_t len = SPOOL_FRAME_BYTES + (uint64_t)get_u32((const uint8_t *)rest.data);
    return len < rest.len ? (size_t)len : rest.len;
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
