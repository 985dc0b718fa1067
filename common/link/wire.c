#include "common/link/wire.h"

#include "common/base/mem.h"

struct budget {
    size_t left;
};

static void *budget_alloc(void *data, size_t size)
{
    struct budget *b = data;
    if (size > b->left)
        return NULL;
    b->left -= size;
    return mem_alloc(size);
}

static void budget_free(void *data, void *p)
{
    (void)data;
    mem_free(p);
}

int wire_unpack(const ProtobufCMessageDescriptor *descriptor, struct str packed,
                ProtobufCMessage **out)
{
    struct budget b = {.left = packed.len * WIRE_AMPLIFICATION + WIRE_CONSTANT};
    ProtobufCAllocator allocator = {
        .alloc = budget_alloc, .free = budget_free, .allocator_data = &b};
    ProtobufCMessage *m =
        protobuf_c_message_unpack(descriptor, &allocator, packed.len, (const uint8_t *)packed.data);
    if (m == NULL)
        return ERR_CORRUPT;
    *out = m;
    return 0;
}

void wire_free(ProtobufCMessage *m)
{
    ProtobufCAllocator allocator = {.alloc = budget_alloc, .free = budget_free};
    if (m != NULL)
        protobuf_c_message_free_unpacked(m, &allocator);
}

size_t wire_size(const ProtobufCMessage *m)
{
    return protobuf_c_message_get_packed_size(m);
}

int wire_pack(const ProtobufCMessage *m, struct buf *out)
{
    size_t size = wire_size(m);
    int rc = buf_reserve(out, size);
    if (rc != 0)
        return rc;
    out->len += protobuf_c_message_pack(m, (uint8_t *)out->data + out->len);
    return 0;
}

static bool take_varint(struct str *io, uint64_t *out)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < 10 && i < io->len; i++) {
        uint64_t byte = (uint8_t)io->data[i];
        value |= (byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *out = value;
            *io = str_slice(*io, i + 1, io->len);
            return true;
        }
    }
    return false;
}

/* Little endian, `size` bytes. */
static bool take_fixed(struct str *io, size_t size, uint64_t *out)
{
    if (io->len < size)
        return false;
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++)
        value |= (uint64_t)(uint8_t)io->data[i] << (8 * i);
    *out = value;
    *io = str_slice(*io, size, io->len);
    return true;
}

int wire_field_next(struct str *io_rest, struct wire_field *out)
{
    struct str rest = *io_rest;
    uint64_t tag;
    if (rest.len == 0)
        return 0;
    if (!take_varint(&rest, &tag) || tag >> 3 == 0 || tag >> 3 > UINT32_MAX >> 3)
        return ERR_CORRUPT;
    struct wire_field f = {.number = (uint32_t)(tag >> 3)};
    bool ok = false;
    switch (tag & 7) {
    case WIRE_TYPE_VARINT:
        f.type = WIRE_TYPE_VARINT;
        ok = take_varint(&rest, &f.value);
        break;
    case WIRE_TYPE_FIXED64:
        f.type = WIRE_TYPE_FIXED64;
        ok = take_fixed(&rest, 8, &f.value);
        break;
    case WIRE_TYPE_FIXED32:
        f.type = WIRE_TYPE_FIXED32;
        ok = take_fixed(&rest, 4, &f.value);
        break;
    case WIRE_TYPE_BYTES:
        f.type = WIRE_TYPE_BYTES;
        ok = take_varint(&rest, &f.value) && f.value <= rest.len;
        if (ok) {
            f.bytes = str_slice(rest, 0, (size_t)f.value);
            rest = str_slice(rest, (size_t)f.value, rest.len);
        }
        break;
    default:
        break;
    }
    if (!ok)
        return ERR_CORRUPT;
    *out = f;
    *io_rest = rest;
    return 1;
}
