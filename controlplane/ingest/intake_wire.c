/* The wire format of RecordList: repeated field 1, each `0a <varint length> <bytes>`. */
#include "controlplane/ingest/intake_rows.h"

static int varint_next(struct str *io, uint64_t *out_value)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < 10; i++) {
        if (i >= io->len)
            return ERR_CORRUPT;
        uint8_t byte = (uint8_t)io->data[i];
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if ((byte & 0x80) == 0) {
            *io = str_slice(*io, i + 1, io->len);
            *out_value = value;
            return 0;
        }
    }
    return ERR_CORRUPT;
}

static int field_bytes(struct str *io, struct str *out)
{
    uint64_t len;
    int rc = varint_next(io, &len);
    if (rc != 0 || len > io->len)
        return ERR_CORRUPT;
    *out = str_slice(*io, 0, (size_t)len);
    *io = str_slice(*io, (size_t)len, io->len);
    return 0;
}

int record_list_next(struct str *io_list, struct str *out_record)
{
    if (io_list->len == 0)
        return ERR_EOF;
    struct str rest = *io_list;
    uint64_t tag;
    if (varint_next(&rest, &tag) != 0 || tag != (1U << 3 | 2U) ||
        field_bytes(&rest, out_record) != 0)
        return ERR_CORRUPT;
    *io_list = rest;
    return 0;
}

struct str record_field(struct str record, uint32_t number)
{
    struct str found = STR_NULL;
    while (record.len > 0) {
        uint64_t tag, skipped;
        struct str body;
        if (varint_next(&record, &tag) != 0)
            return STR_NULL;
        switch (tag & 7) {
        case 0:
            if (varint_next(&record, &skipped) != 0)
                return STR_NULL;
            break;
        case 1:
        case 5: {
            size_t size = (tag & 7) == 1 ? 8 : 4;
            if (record.len < size)
                return STR_NULL;
            record = str_slice(record, size, record.len);
            break;
        }
        case 2:
            if (field_bytes(&record, &body) != 0)
                return STR_NULL;
            if (tag >> 3 == number)
                found = body.len > 0 ? body : STR("");
            break;
        default:
            return STR_NULL;
        }
    }
    return found;
}

uint64_t record_last_seq(struct str record, uint64_t seq, bool *out_gap)
{
    struct str body = record_field(record, 3);
    *out_gap = false;
    if (body.data == NULL)
        return seq;
    uint64_t from = 0, to = 0;
    while (body.len > 0) {
        uint64_t tag;
        struct str ignored;
        if (varint_next(&body, &tag) != 0)
            return seq;
        if ((tag & 7) == 0) {
            uint64_t value;
            if (varint_next(&body, &value) != 0)
                return seq;
            if (tag >> 3 == 1)
                from = value;
            else if (tag >> 3 == 2)
                to = value;
        } else if ((tag & 7) != 2 || field_bytes(&body, &ignored) != 0) {
            return seq;
        }
    }
    if (from != seq || to < from || to > INT64_MAX - 1)
        return seq; /* Not a gap that stands here: it will be read as a bad record. */
    *out_gap = true;
    return to;
}
