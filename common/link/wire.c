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
