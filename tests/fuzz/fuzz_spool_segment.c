/* A segment's bytes after its header: whatever they are, the scan ends, every frame it gives lies
 * inside and has a good checksum, and damage never hides a frame that stands whole before it. */
#include <stdlib.h>

#include "common/link/wire.h"
#include "dataplane/telemetry/spool_format.h"
#include "telemetry.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t frames(struct str bytes, uint32_t salt, size_t *out_end)
{
    struct spool_scan scan;
    struct spool_frame frame;
    size_t count = 0;
    size_t last = 0;
    spool_scan_init(&scan, bytes, salt);
    while (spool_scan_next(&scan, &frame) == SPOOL_SCAN_FRAME) {
        size_t at = (size_t)(frame.whole.data - bytes.data);
        if (at < last || at + frame.whole.len > bytes.len || scan.offset != at + frame.whole.len)
            abort();
        last = scan.offset;
        count++;
        uint64_t intent;
        struct str record;
        ProtobufCMessage *m = NULL;
        if (spool_record_split(&frame, &intent, &record) &&
            wire_unpack(&steelyard__telemetry__v1__record__descriptor, record, &m) == 0)
            wire_free(m);
    }
    *out_end = last;
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str bytes = {.data = (const char *)data, .len = size};
    struct spool_header header;
    int rc = spool_header_decode(bytes, &header);
    uint32_t salt = rc == 0 ? spool_header_salt(&header) : 0;
    if (rc == 0) {
        uint8_t again[SPOOL_HEADER_BYTES];
        spool_header_encode(&header, again);
        struct spool_header back;
        if (spool_header_decode((struct str){.data = (char *)again, .len = sizeof(again)}, &back) !=
            0)
            abort();
    }
    size_t from = size < SPOOL_HEADER_BYTES ? size : SPOOL_HEADER_BYTES;
    bytes = str_slice(bytes, from, size);
    size_t end, cut_end;
    size_t whole = frames(bytes, salt, &end);
    /* Cutting behind the last good frame changes nothing. */
    if (frames(str_slice(bytes, 0, end), salt, &cut_end) != whole || cut_end != end)
        abort();
    return 0;
}
