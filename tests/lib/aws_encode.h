/* aws_encode.h: an event stream of AWS out of lines, for tests and fuzzers: "name {...}" is an
 * event, "!name {...}" an exception. Lines end in LF. */
#ifndef STEELYARD_TESTS_AWS_ENCODE_H
#define STEELYARD_TESTS_AWS_ENCODE_H

#include "common/base/buf.h"
#include "dataplane/translate/aws_frames.h"

static inline int aws_encode_u32(struct buf *out, uint32_t v)
{
    const char bytes[4] = {(char)(v >> 24), (char)(v >> 16), (char)(v >> 8), (char)v};
    return buf_append(out, bytes, 4);
}

static inline int aws_encode_header(struct buf *out, const char *name, struct str value)
{
    struct str key = str_from(name);
    int rc = buf_append_char(out, (char)key.len);
    if (rc == 0)
        rc = buf_append_str(out, key);
    const char head[3] = {7, (char)(value.len >> 8), (char)value.len};
    if (rc == 0)
        rc = buf_append(out, head, 3);
    return rc == 0 ? buf_append_str(out, value) : rc;
}

/* headers: as they stand in a frame. */
static inline MUST_CHECK int aws_encode_frame(struct buf *out, struct str headers,
                                              struct str payload)
{
    const size_t begin = out->len;
    int rc = aws_encode_u32(out, (uint32_t)(16 + headers.len + payload.len));
    if (rc == 0)
        rc = aws_encode_u32(out, (uint32_t)headers.len);
    if (rc == 0)
        rc = aws_encode_u32(out, aws_frames_crc(out->data + begin, 8));
    if (rc == 0)
        rc = buf_append_str(out, headers);
    if (rc == 0)
        rc = buf_append_str(out, payload);
    return rc == 0 ? aws_encode_u32(out, aws_frames_crc(out->data + begin, out->len - begin)) : rc;
}

static inline MUST_CHECK int aws_encode_line(struct buf *out, struct str line)
{
    char room[512];
    struct str name, data;
    struct buf headers = {.data = room, .cap = sizeof room, .max = sizeof room};
    bool exception = str_starts(line, STR("!"));
    (void)str_cut(str_slice(line, exception ? 1 : 0, line.len), ' ', &name, &data);
    name = str_slice(name, 0, 128);
    int rc = aws_encode_header(&headers, exception ? ":exception-type" : ":event-type", name);
    if (rc == 0)
        rc = aws_encode_header(&headers, ":content-type", STR("application/json"));
    if (rc == 0)
        rc = aws_encode_header(&headers, ":message-type",
                               exception ? STR("exception") : STR("event"));
    return rc == 0 ? aws_encode_frame(out, buf_str(&headers), data) : rc;
}

static inline MUST_CHECK int aws_encode_lines(struct buf *out, struct str lines)
{
    int rc = 0;
    for (struct str line; rc == 0 && lines.len > 0;) {
        (void)str_cut(lines, '\n', &line, &lines);
        if (line.len > 0)
            rc = aws_encode_line(out, line);
    }
    return rc;
}

#endif
