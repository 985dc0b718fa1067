/* wire.h: unpacks messages of proto/ under a memory bound. protobuf-c trusts the sender with one
 * struct per two bytes received; here a message may take WIRE_AMPLIFICATION times its size plus a
 * constant, and everything comes from common/base/mem. Pure; thread-safe. */
#ifndef STEELYARD_COMMON_LINK_WIRE_H
#define STEELYARD_COMMON_LINK_WIRE_H

#include <protobuf-c/protobuf-c.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/str.h"

#define WIRE_AMPLIFICATION 16U
#define WIRE_CONSTANT      65536U

/* ERR_CORRUPT (malformed, or takes too much memory). The caller owns *out (wire_free). */
int wire_unpack(const ProtobufCMessageDescriptor *descriptor, struct str packed,
                ProtobufCMessage **out) MUST_CHECK;
void wire_free(ProtobufCMessage *m);                                  /* NULL is allowed. */
int wire_pack(const ProtobufCMessage *m, struct buf *out) MUST_CHECK; /* Appends. */
size_t wire_size(const ProtobufCMessage *m);

/* One field of a packed message as it lies there, for messages too many to be unpacked. */
struct wire_field {
    uint32_t number;
    enum wire_type {
        WIRE_TYPE_VARINT = 0,
        WIRE_TYPE_FIXED64 = 1,
        WIRE_TYPE_BYTES = 2,
        WIRE_TYPE_FIXED32 = 5,
    } type;
    uint64_t value;   /* Of a number. */
    struct str bytes; /* Of WIRE_TYPE_BYTES; borrowed from the message. */
};
/* Takes the first field off *io_rest. 1: a field, 0: the end, ERR_CORRUPT. Groups are corrupt. */
int wire_field_next(struct str *io_rest, struct wire_field *out) MUST_CHECK;

static inline struct str wire_bytes(ProtobufCBinaryData b)
{
    return (struct str){.data = (const char *)b.data, .len = b.len};
}
/* For messages that are packed and thrown away: protobuf-c's fields are not const. */
static inline ProtobufCBinaryData wire_data(struct str s)
{
    return (ProtobufCBinaryData){.len = s.len, .data = (uint8_t *)(uintptr_t)s.data};
}
static inline char *wire_text(const char *text)
{
    return (char *)(uintptr_t)text;
}

#endif
