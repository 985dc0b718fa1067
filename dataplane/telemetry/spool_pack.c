/* Frames of a segment, packed where they will be written from; they are sealed when they are. */
#include <string.h>

#include "dataplane/telemetry/spool_internal.h"

#define FIELD_DECISION 1U /* Of telemetry.Record. */
#define FIELD_FEEDBACK 2U
#define FIELD_GAP      3U

/* Room for the largest frame, its start; NULL: out of memory. */
static uint8_t *frame_begin(struct buf *out)
{
    if (buf_reserve(out, SPOOL_FRAME_BYTES + SPOOL_PAYLOAD_MAX) != 0)
        return NULL;
    return (uint8_t *)out->data + out->len;
}

static void frame_end(struct buf *out, uint8_t *frame, enum spool_frame_type type, uint64_t id,
                      size_t payload_len)
{
    spool_frame_head(frame, type, id, payload_len);
    out->len += SPOOL_FRAME_BYTES + payload_len;
}

int spool_pack_intent(struct buf *out, uint64_t id, const struct record_decision *d,
                      enum record_detail detail)
{
    uint8_t *frame = frame_begin(out);
    size_t len;
    if (frame == NULL)
        return ERR_NOMEM;
    int rc = record_encode_decision(d, detail, frame + SPOOL_FRAME_BYTES, RECORD_BYTES_MAX, &len);
    if (rc == 0)
        frame_end(out, frame, SPOOL_INTENT, id, len);
    return rc;
}

int spool_pack_attempt(struct buf *out, uint64_t id, const struct record_attempt *a)
{
    uint8_t *frame = frame_begin(out);
    if (frame == NULL)
        return ERR_NOMEM;
    uint8_t *payload = frame + SPOOL_FRAME_BYTES;
    size_t server_len =
        a->server.len < RECORD_TEXT_BYTES_MAX ? a->server.len : RECORD_TEXT_BYTES_MAX;
    payload[0] = (uint8_t)server_len;
    payload[1] = (uint8_t)(server_len >> 8);
    if (server_len > 0)
        memcpy(payload + 2, a->server.data, server_len);
    size_t len;
    int rc =
        record_encode_attempt(a, payload + 2 + server_len, RECORD_BYTES_MAX - 2 - server_len, &len);
    if (rc == 0)
        frame_end(out, frame, SPOOL_ATTEMPT, id, 2 + server_len + len);
    return rc;
}

/* Where a record's only field goes; two bytes are kept for its length. */
static uint8_t *field_at(uint8_t *frame)
{
    return frame + SPOOL_FRAME_BYTES + SPOOL_RECORD_PREFIX_BYTES + 3;
}

static void record_end(struct buf *out, uint8_t *frame, uint32_t field, uint64_t seq,
                       uint64_t intent, size_t len)
{
    uint8_t *head = field_at(frame) - 3;
    size_t head_len = len < 0x80 ? 2 : len < 0x4000 ? 3 : 4;
    if (head_len != 3)
        memmove(head + head_len, head + 3, len);
    *head++ = (uint8_t)(field << 3 | 2);
    size_t v = len;
    for (; v >= 0x80; v >>= 7)
        *head++ = (uint8_t)(v | 0x80);
    *head = (uint8_t)v;
    spool_put_u64(frame + SPOOL_FRAME_BYTES, intent);
    frame_end(out, frame, SPOOL_RECORD, seq, SPOOL_RECORD_PREFIX_BYTES + head_len + len);
}

int spool_pack_record(struct buf *out, const struct spool_packing *p)
{
    uint8_t *frame = frame_begin(out);
    if (frame == NULL)
        return ERR_NOMEM;
    uint8_t *at = field_at(frame);
    size_t first = p->packed.len, second;
    bool dropped = p->dropped;
    int rc = 0;
    if (p->d != NULL) {
        rc = record_encode_decision(p->d, p->detail, at, RECORD_BYTES_MAX, &first);
        dropped = p->detail == RECORD_NO_FEATURES && p->d->features != NULL;
    } else if (first <= RECORD_BYTES_MAX) {
        memcpy(at, p->packed.data, first);
    } else {
        rc = ERR_TOO_LARGE;
    }
    if (rc == 0)
        rc = record_encode_outcome(p->o, dropped ? RECORD_FLAG_FEATURES_DROPPED : 0, at + first,
                                   RECORD_BYTES_MAX - first, &second);
    if (rc == 0)
        record_end(out, frame, FIELD_DECISION, p->seq, p->intent, first + second);
    return rc;
}

int spool_pack_feedback(struct buf *out, uint64_t seq, const struct record_feedback *f)
{
    uint8_t *frame = frame_begin(out);
    size_t len;
    if (frame == NULL)
        return ERR_NOMEM;
    int rc = record_encode_feedback(f, field_at(frame), RECORD_BYTES_MAX, &len);
    if (rc == 0)
        record_end(out, frame, FIELD_FEEDBACK, seq, 0, len);
    return rc;
}

int spool_pack_gap(struct buf *out, uint64_t seq)
{
    uint8_t *frame = frame_begin(out);
    size_t len;
    if (frame == NULL)
        return ERR_NOMEM;
    int rc = record_encode_gap(seq, seq, "unreadable on the node", field_at(frame),
                               RECORD_BYTES_MAX, &len);
    if (rc == 0)
        record_end(out, frame, FIELD_GAP, seq, 0, len);
    return rc;
}
