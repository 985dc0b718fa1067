/* What a dead process left in its ring. The first byte says what follows: a file's header, entries
 * (behind the position of the first), or the payload of one entry. Whatever it is, reading ends and
 * stays inside, and what reads as a record packs into messages that protobuf reads. */
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/link/wire.h"
#include "dataplane/telemetry/spool_internal.h"
#include "telemetry.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct flat_scratch scratch;

static void must(bool ok)
{
    if (!ok)
        abort();
}

/* One RECORD frame, whose record protobuf must read. */
static void check_record(struct buf *out)
{
    struct spool_scan scan;
    struct spool_frame frame;
    uint64_t intent;
    struct str record;
    ProtobufCMessage *m = NULL;
    spool_frames_seal(out->data, out->len, 0);
    spool_scan_init(&scan, buf_str(out), 0);
    must(spool_scan_next(&scan, &frame) == SPOOL_SCAN_FRAME);
    must(spool_record_split(&frame, &intent, &record));
    must(wire_unpack(&steelyard__telemetry__v1__record__descriptor, record, &m) == 0);
    wire_free(m);
    must(spool_scan_next(&scan, &frame) == SPOOL_SCAN_END);
    buf_clear(out);
}

static void check_payload(uint32_t type, struct str payload, struct buf *out)
{
    static const struct record_outcome nothing;
    struct record_decision d;
    struct record_outcome o;
    struct record_held held;
    struct record_attempt a;
    struct record_feedback f;
    struct spool_packing p = {.seq = 1, .d = &d, .o = &nothing};
    switch ((enum spool_ring_type)type) {
    case SPOOL_RING_INTENT:
        if (!flat_take_decision(&payload, &scratch, &d) || !flat_take_attempt(&payload, &held, &a))
            return;
        must(spool_pack_intent(out, 1, &d, RECORD_FULL) == 0);
        must(spool_pack_attempt(out, 1, &a) == 0);
        buf_clear(out);
        break;
    case SPOOL_RING_ATTEMPT:
        if (!flat_take_attempt(&payload, &held, &a))
            return;
        must(spool_pack_attempt(out, 1, &a) == 0);
        buf_clear(out);
        return;
    case SPOOL_RING_OUTCOME:
        memset(&d, 0, sizeof(d));
        if (!flat_take_outcome(&payload, &scratch, &o))
            return;
        p.o = &o;
        break;
    case SPOOL_RING_RECORD:
        if (!flat_take_decision(&payload, &scratch, &d) ||
            !flat_take_outcome(&payload, &scratch, &o))
            return;
        p.o = &o;
        break;
    case SPOOL_RING_FEEDBACK:
        if (!flat_take_feedback(&payload, &f))
            return;
        must(spool_pack_feedback(out, 1, &f) == 0);
        check_record(out);
        return;
    }
    must(spool_pack_record(out, &p) == 0);
    check_record(out);
}

static void check_entries(struct str bytes, struct buf *out)
{
    struct spool_ring_scan scan = {.data = bytes};
    struct spool_ring_entry e;
    struct str payload;
    if (bytes.len < 8)
        return;
    scan.position = spool_get_u64(bytes.data) & ~UINT64_C(15);
    size_t len = bytes.len - 8;
    char *aligned = mem_alloc(len + 1); /* Entries begin at multiples of 16. */
    must(aligned != NULL);
    memcpy(aligned, bytes.data + 8, len);
    scan.data = (struct str){.data = aligned, .len = len};
    size_t last = 0;
    while (spool_ring_next(&scan, &e, &payload) != NULL) {
        must(scan.offset > last && scan.offset <= len);
        must(payload.data >= aligned && payload.data + payload.len <= aligned + scan.offset);
        last = scan.offset;
        check_payload(e.type, payload, out);
    }
    mem_free(aligned);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct spool_ring_header header;
    struct buf out;
    if (size == 0)
        return 0;
    struct str rest = {.data = (const char *)data + 1, .len = size - 1};
    buf_init(&out, 16U << 20);
    if (data[0] == 0) {
        if (spool_ring_header_decode(rest, &header) == 0) {
            uint8_t again[SPOOL_RING_HEADER_BYTES];
            spool_ring_header_encode(&header, again);
            must(spool_ring_header_decode((struct str){.data = (char *)again, .len = sizeof(again)},
                                          &header) == 0);
        }
    } else if (data[0] <= SPOOL_RING_FEEDBACK) {
        check_payload(data[0], rest, &out);
    } else {
        check_entries(rest, &out);
    }
    buf_deinit(&out);
    return 0;
}
