#include "dataplane/translate/aws_frames.h"

#include <zlib.h>

#define PRELUDE_BYTES 12U
#define FRAME_BYTES   16U /* Of an empty one. */

enum { /* Types of header values. */
       TYPE_TRUE,
       TYPE_FALSE,
       TYPE_BYTE,
       TYPE_SHORT,
       TYPE_INTEGER,
       TYPE_LONG,
       TYPE_BYTES,
       TYPE_STRING,
       TYPE_TIMESTAMP,
       TYPE_UUID,
};

uint32_t aws_frames_crc(const void *data, size_t len)
{
    return (uint32_t)crc32_z(0, data, len);
}

static uint32_t read_u32(const char *at)
{
    const unsigned char *b = (const unsigned char *)at;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* A value off the front of *io_rest; *out is empty unless it is a string. */
static bool take_value(struct str *io_rest, struct str *out)
{
    static const size_t widths[] = {
        [TYPE_TRUE] = 0,    [TYPE_FALSE] = 0, [TYPE_BYTE] = 1,      [TYPE_SHORT] = 2,
        [TYPE_INTEGER] = 4, [TYPE_LONG] = 8,  [TYPE_TIMESTAMP] = 8, [TYPE_UUID] = 16};
    *out = STR_NULL;
    if (io_rest->len < 1)
        return false;
    unsigned type = (unsigned char)io_rest->data[0];
    size_t at = 1, len;
    if (type == TYPE_BYTES || type == TYPE_STRING) {
        if (io_rest->len < 3)
            return false;
        const unsigned char *b = (const unsigned char *)io_rest->data;
        len = (size_t)b[1] << 8 | b[2];
        at = 3;
    } else if (type <= TYPE_UUID) {
        len = widths[type];
    } else {
        return false;
    }
    if (io_rest->len - at < len)
        return false;
    if (type == TYPE_STRING)
        *out = str_slice(*io_rest, at, at + len);
    *io_rest = str_slice(*io_rest, at + len, io_rest->len);
    return true;
}

static bool take_header(struct str *io_rest, struct str *out_name, struct str *out_value)
{
    if (io_rest->len < 1)
        return false;
    size_t len = (unsigned char)io_rest->data[0];
    if (io_rest->len - 1 < len)
        return false;
    *out_name = str_slice(*io_rest, 1, 1 + len);
    *io_rest = str_slice(*io_rest, 1 + len, io_rest->len);
    return take_value(io_rest, out_value);
}

static bool read_headers(struct str headers, struct tr_frame *out)
{
    struct str name, value, event = STR_NULL, exception = STR_NULL, code = STR_NULL;
    struct str type = STR_NULL;
    while (headers.len > 0) {
        if (!take_header(&headers, &name, &value))
            return false;
        if (str_is(name, ":message-type"))
            type = value;
        else if (str_is(name, ":event-type"))
            event = value;
        else if (str_is(name, ":exception-type"))
            exception = value;
        else if (str_is(name, ":error-code"))
            code = value;
    }
    out->exception = str_is(type, "exception") || str_is(type, "error");
    out->name = !out->exception ? event : exception.len > 0 ? exception : code;
    return true;
}

/* Length of the frame that begins with this prelude; 0: it is none. */
static int read_prelude(const char *at, uint32_t *out_total)
{
    uint32_t total = read_u32(at), headers = read_u32(at + 4);
    if (read_u32(at + 8) != aws_frames_crc(at, 8))
        return ERR_CORRUPT;
    if (total > AWS_FRAME_BYTES_MAX)
        return ERR_TOO_LARGE;
    if (total < FRAME_BYTES || headers > total - FRAME_BYTES)
        return ERR_CORRUPT;
    *out_total = total;
    return 0;
}

static int read_frame(struct str bytes, struct tr_frame *out)
{
    size_t headers = read_u32(bytes.data + 4), end = bytes.len - 4;
    if (read_u32(bytes.data + end) != aws_frames_crc(bytes.data, end))
        return ERR_CORRUPT;
    *out = (struct tr_frame){.data = str_slice(bytes, PRELUDE_BYTES + headers, end)};
    struct str block = str_slice(bytes, PRELUDE_BYTES, PRELUDE_BYTES + headers);
    return read_headers(block, out) ? 0 : ERR_CORRUPT;
}

/* Moves bytes from the input to what is kept, until that is `want` long. False: not yet, or not. */
static bool keep(struct aws_frames *f, struct str *io_input, size_t want)
{
    size_t missing = want - f->kept.len;
    size_t take = missing < io_input->len ? missing : io_input->len;
    f->kept.max = AWS_FRAME_BYTES_MAX;
    f->status = buf_append(&f->kept, io_input->data, take);
    if (f->status != 0)
        return false;
    *io_input = str_slice(*io_input, take, io_input->len);
    return take == missing;
}

static bool next_kept(struct aws_frames *f, struct str *io_input, struct tr_frame *out)
{
    if (f->expected == 0) {
        if (!keep(f, io_input, PRELUDE_BYTES))
            return false;
        f->status = read_prelude(f->kept.data, &f->expected);
        if (f->status != 0)
            return false;
    }
    if (!keep(f, io_input, f->expected))
        return false;
    f->status = read_frame(buf_str(&f->kept), out);
    f->yielded = true;
    return f->status == 0;
}

/* A frame that lies in the input as a whole is not copied. */
static bool next_whole(struct aws_frames *f, struct str *io_input, struct tr_frame *out)
{
    uint32_t total;
    f->status = read_prelude(io_input->data, &total);
    if (f->status != 0)
        return false;
    if (io_input->len < total)
        return next_kept(f, io_input, out);
    f->status = read_frame(str_slice(*io_input, 0, total), out);
    *io_input = str_slice(*io_input, total, io_input->len);
    return f->status == 0;
}

static bool next(void *state, struct str *io_input, struct tr_frame *out)
{
    struct aws_frames *f = state;
    if (f->yielded) {
        if (f->kept.cap > AWS_FRAME_KEEP)
            buf_deinit(&f->kept);
        buf_clear(&f->kept);
        f->yielded = false;
        f->expected = 0;
    }
    if (f->status != 0 || io_input->len == 0)
        return false;
    return f->kept.len == 0 && io_input->len >= PRELUDE_BYTES ? next_whole(f, io_input, out)
                                                              : next_kept(f, io_input, out);
}

static int status(const void *state)
{
    const struct aws_frames *f = state;
    return f->status;
}

static bool is_cut(const void *state)
{
    const struct aws_frames *f = state;
    return f->kept.len > 0 && !f->yielded;
}

static void deinit(void *state)
{
    struct aws_frames *f = state;
    buf_deinit(&f->kept);
}

const struct tr_frames aws_frames = {
    .state_bytes = sizeof(struct aws_frames),
    .next = next,
    .status = status,
    .is_cut = is_cut,
    .deinit = deinit,
};
