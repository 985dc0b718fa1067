/* aws_frames.h: application/vnd.amazon.eventstream, the binary frames in which AWS streams: total
 * length, length of the headers, CRC-32 of both, headers, payload, CRC-32 of all before; numbers
 * are big-endian. Source: "Amazon event stream encoding" in the guide of Transcribe, smithy's event
 * stream specification. Bytes are kept only while a frame is split between two reads, and never
 * more of them than have come; a frame that claims more than AWS_FRAME_BYTES_MAX is refused. */
#ifndef STEELYARD_DATAPLANE_TRANSLATE_AWS_FRAMES_H
#define STEELYARD_DATAPLANE_TRANSLATE_AWS_FRAMES_H

#include "dataplane/translate/dialects.h"

#define AWS_FRAME_BYTES_MAX 16777216U
#define AWS_FRAME_KEEP      65536U /* A larger buffer is given back with the next frame. */

struct aws_frames {    /* Private; zeroed is a new one. */
    struct buf kept;   /* The front of a frame that is not whole yet. */
    bool yielded;      /* What is kept was given out, and goes with the next call. */
    uint32_t expected; /* Bytes of the frame under way; 0: its prelude is not whole. */
    int status;
};

/* A frame's name is its :event-type, :exception-type or :error-code. */
extern const struct tr_frames aws_frames;

/* Crc-32 as the frames have it (ISO 3309). */
uint32_t aws_frames_crc(const void *data, size_t len);

#endif
