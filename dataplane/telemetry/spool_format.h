/* spool_format.h: bytes of a spool segment. Pure: no I/O.
 *
 *   state-dir/spool/<epoch, 16 hex digits>/<number, 8 digits>.seg
 *   segment = header | frame ...
 *   header  = "SYSPOOL1" | u32 version | u32 number | u64 epoch | u64 first_seq | node id (16)
 *             | boot id (16) | u32 flags | u32 crc32c of all before
 *   frame   = u32 len | u32 crc32c | u8 type | 0xa5 | u16 mark | u64 id | payload (len bytes)
 * All little endian. The checksum covers len and everything after it. 0xa5 and the mark let a
 * reader find the next frame after a damaged one.
 *
 * A file grows by pieces of zeros, and may have been another segment of its epoch before
 * (docs/decisions/0287, 0112): what stands behind the last frame are zeros, or the rest of that
 * one. So the checksums do not start from 0 but from the segment's salt, a CRC of epoch and number,
 * and the mark is "SY" with the salt's upper half added (exclusive or). CRC-32C tells messages that
 * differ in 32 bits in a row apart, and starting values too: numbers of an epoch never share a
 * salt, and a frame never has a good checksum under two salts. Version 1 is the same with the salt
 * 0, and is still read.
 *
 *   INTENT   id = intent, payload = telemetry.Decision as far as known
 *   ATTEMPT  id = intent, payload = server (u16 length, bytes) | telemetry.Attempt
 *   RECORD   id = seq, payload = u64 intent it closes (0: none) | telemetry.Record */
#ifndef STEELYARD_DATAPLANE_TELEMETRY_SPOOL_FORMAT_H
#define STEELYARD_DATAPLANE_TELEMETRY_SPOOL_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/str.h"
#include "common/crypto/uuid.h"
#include "dataplane/telemetry/record.h"

#define SPOOL_VERSION             2U
#define SPOOL_HEADER_BYTES        72U
#define SPOOL_FRAME_BYTES         20U
#define SPOOL_RECORD_PREFIX_BYTES 8U /* The intent's id in a RECORD's payload. */
#define SPOOL_PAYLOAD_MAX         (RECORD_BYTES_MAX + 1024U)

enum spool_frame_type {
    SPOOL_INTENT = 1,
    SPOOL_ATTEMPT = 2,
    SPOOL_RECORD = 3,
};

enum spool_header_flag {
    SPOOL_HEADER_RECYCLED =
        1, /* Behind the last frame is the rest of an earlier segment, or zeros. */
};

struct spool_header {
    uint32_t version; /* Set by decode; encode writes SPOOL_VERSION. */
    uint32_t flags;
    uint32_t number;
    uint64_t epoch;
    uint64_t first_seq; /* Seq of the first RECORD that follows, if one does. */
    struct uuid node_id;
    struct uuid boot_id;
};
void spool_header_encode(const struct spool_header *h, uint8_t out[SPOOL_HEADER_BYTES]);
/* ERR_VERSION, ERR_CORRUPT (magic, checksum), ERR_EOF (shorter than a header). */
int spool_header_decode(struct str data, struct spool_header *out_header) MUST_CHECK;

/* What the frames of a segment are told from another's by. */
uint32_t spool_salt(uint64_t epoch, uint32_t number);
uint32_t spool_header_salt(const struct spool_header *h);

/* Writes the header of a frame whose payload stands at frame + SPOOL_FRAME_BYTES, but for checksum
 * and mark: those depend on the segment. */
void spool_frame_head(uint8_t *frame, enum spool_frame_type type, uint64_t id, size_t payload_len);
/* Of a frame in memory that was never on a disk. */
struct str spool_frame_payload(const uint8_t *frame);
/* Marks and sums whole frames in a row for the segment of that salt; again is fine. */
void spool_frames_seal(char *data, size_t len, uint32_t salt);

struct spool_frame {
    enum spool_frame_type type;
    uint64_t id;
    struct str payload;
    struct str whole; /* Header and payload. */
};

/* Walks the frames of a segment's bytes (without its header). */
struct spool_scan {
    struct str data;
    uint32_t salt;
    size_t offset;          /* Of the next frame. */
    uint64_t quarantined;   /* Damaged stretches that were jumped over. */
    uint64_t skipped_bytes; /* Their bytes. */
};
void spool_scan_init(struct spool_scan *scan, struct str data, uint32_t salt);
enum spool_scan_result {
    SPOOL_SCAN_FRAME,
    SPOOL_SCAN_END,  /* The data ended after a whole frame. */
    SPOOL_SCAN_TORN, /* No good frame from scan->offset on: what is left is a torn tail. */
};
enum spool_scan_result spool_scan_next(struct spool_scan *scan, struct spool_frame *out_frame);
/* Behind SPOOL_SCAN_TORN: bytes of a frame that was begun; the rest of an earlier segment is none.
 */
size_t spool_scan_torn(const struct spool_scan *scan, bool recycled);

/* RECORD payload: the intent it closes and the telemetry.Record. false: malformed. */
bool spool_record_split(const struct spool_frame *frame, uint64_t *out_intent,
                        struct str *out_record);

uint64_t spool_get_u64(const void *p);
void spool_put_u64(void *p, uint64_t v);

#endif
